// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

/// What an intent "swap" calls in the demo: an exchange that gives two tokens
/// for one, from what it holds, and refuses as real ones do.

interface IToken {
    function transfer(address to, uint256 value) external returns (bool);
    function transferFrom(address from, address to, uint256 value) external returns (bool);
}

contract Exchange {
    uint256 public constant RATE = 2;

    event Swap(address indexed recipient, address tokenIn, address tokenOut,
               uint256 amountIn, uint256 amountOut);

    function swap(address tokenIn, address tokenOut, uint256 amountIn, uint256 minAmountOut,
                  address recipient, uint256 deadline)
        external
        returns (uint256 amountOut)
    {
        require(block.timestamp <= deadline, "too late");

        amountOut = amountIn * RATE;
        require(amountOut >= minAmountOut, "too little would come out");

        IToken(tokenIn).transferFrom(msg.sender, address(this), amountIn);
        IToken(tokenOut).transfer(recipient, amountOut);

        emit Swap(recipient, tokenIn, tokenOut, amountIn, amountOut);
    }
}
