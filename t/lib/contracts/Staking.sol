// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

/// What an intent "stake" calls in the demo: it keeps ether for a validator, of
/// its own choice where none is named.

contract Staking {
    address public constant HOUSE = 0x000000000000000000000000000000000000dEaD;

    mapping(address => uint256) public staked;

    event Staked(address indexed validator, uint256 amount, string referral);

    function stake(address validator, string calldata referral) external payable {
        require(msg.value > 0, "nothing to stake");

        address of_ = validator == address(0) ? HOUSE : validator;
        staked[of_] += msg.value;

        emit Staked(of_, msg.value, referral);
    }
}
