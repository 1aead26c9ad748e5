// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

/// A contract wallet as EIP-1271 has it, for the tests: of two owners, who both
/// have to sign (two signatures of 65 bytes, one after the other), or who have
/// said yes on the chain before (no signature). It says no in two ways: with
/// another value, and by reverting.

contract Wallet {
    address public immutable one;
    address public immutable other;
    mapping(bytes32 => bool) public approved;

    constructor(address a, address b) {
        one = a;
        other = b;
    }

    function approve(bytes32 hash) external {
        require(msg.sender == one, "not an owner");
        approved[hash] = true;
    }

    function isValidSignature(bytes32 hash, bytes calldata signature)
        external view returns (bytes4)
    {
        if (signature.length == 0) {
            return approved[hash] ? bytes4(0x1626ba7e) : bytes4(0xffffffff);
        }

        require(signature.length == 130, "two signatures are needed");

        return recover(hash, signature[:65]) == one && recover(hash, signature[65:]) == other
            ? bytes4(0x1626ba7e) : bytes4(0xffffffff);
    }

    function recover(bytes32 hash, bytes calldata s) private pure returns (address) {
        return ecrecover(hash, uint8(s[64]), bytes32(s[:32]), bytes32(s[32:64]));
    }
}
