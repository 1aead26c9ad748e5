// Writes the .json (creation bytecode and ABI) of each contract from the .sol
// beside it:
//
//     NODE_PATH=build/node/node_modules node t/lib/contracts/compile.js
//
// evmVersion is an old one, so that it runs on any chain under test.

const fs = require('fs');
const path = require('path');
const solc = require('solc');

for (const name of ['Exchange', 'Staking', 'Token', 'Wallet']) {
    const source = `${name}.sol`;
    const out = JSON.parse(solc.compile(JSON.stringify({
        language: 'Solidity',
        sources: { [source]: { content: fs.readFileSync(path.join(__dirname, source), 'utf8') } },
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

    const contract = out.contracts[source][name];
    fs.writeFileSync(path.join(__dirname, `${name}.json`), JSON.stringify({
        compiler: solc.version(),
        abi: contract.abi,
        bytecode: '0x' + contract.evm.bytecode.object,
    }, null, 1) + '\n');
}
