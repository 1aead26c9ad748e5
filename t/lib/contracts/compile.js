// Writes Token.json (creation bytecode and ABI) from Token.sol:
//
//     NODE_PATH=build/node/node_modules node t/lib/contracts/compile.js
//
// evmVersion is an old one, so that it runs on any chain under test.

const fs = require('fs');
const path = require('path');
const solc = require('solc');

const file = path.join(__dirname, 'Token.sol');
const out = JSON.parse(solc.compile(JSON.stringify({
    language: 'Solidity',
    sources: { 'Token.sol': { content: fs.readFileSync(file, 'utf8') } },
    settings: {
        evmVersion: 'paris',
        optimizer: { enabled: true, runs: 200 },
        metadata: { bytecodeHash: 'none', appendCBOR: false },
        outputSelection: { '*': { '*': ['abi', 'evm.bytecode.object'] } },
    },
})));

for (const e of out.errors || []) {
    console.error(e.formattedMessage);
}

const token = out.contracts['Token.sol'].Token;
fs.writeFileSync(path.join(__dirname, 'Token.json'), JSON.stringify({
    compiler: solc.version(),
    abi: token.abi,
    bytecode: '0x' + token.evm.bytecode.object,
}, null, 1) + '\n');
