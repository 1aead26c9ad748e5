// What the node itself can take: transactions signed beforehand, in JSON-RPC
// batches over one keepalive connection, until the last of them is mined.
//
//     node ceiling.cjs sign KEY COUNT RECIPIENT FILE
//     node ceiling.cjs send PORT ADDRESS FILE         prints seconds, and blocks

const fs = require('fs');
const http = require('http');
const { createRequire } = require('module');

const BATCH = 100;
const POLL = 50;                         // ms, between looks at the nonce

const load = createRequire(process.env.INTENT_NODE_MODULES + '/');
const [verb, ...args] = process.argv.slice(2);

async function sign(key, count, to, file) {
    const { privateKeyToAccount } = load('viem/accounts');
    const account = privateKeyToAccount(key);
    const raw = [];

    for (let nonce = 0; nonce < Number(count); nonce++) {
        raw.push(await account.signTransaction({
            type: 'eip1559', chainId: 31337, nonce, to, value: 1n, gas: 21000n,
            maxFeePerGas: 3000000000n, maxPriorityFeePerGas: 1000000000n,
        }));
    }

    fs.writeFileSync(file, raw.join('\n'));
}

async function send(port, address, file) {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const raw = fs.readFileSync(file, 'utf8').split('\n');

    const ask = (call) => new Promise((resolve, reject) => {
        const body = JSON.stringify(call);
        const request = http.request({
            agent, port, host: '127.0.0.1', method: 'POST',
            headers: { 'Content-Type': 'application/json',
                       'Content-Length': Buffer.byteLength(body) },
        }, (response) => {
            const parts = [];
            response.on('data', (part) => parts.push(part));
            response.on('end', () => resolve(JSON.parse(Buffer.concat(parts))));
        });
        request.on('error', reject);
        request.end(body);
    });

    const call = (method, params, id = 1) => ({ jsonrpc: '2.0', id, method, params });
    const batches = [];

    for (let i = 0; i < raw.length; i += BATCH) {
        batches.push(raw.slice(i, i + BATCH).map(
            (tx, n) => call('eth_sendRawTransaction', [tx], n)));
    }

    await ask(call('eth_chainId', []));  // the connection is there
    const begin = process.hrtime.bigint();

    for (const batch of batches) {
        const refused = (await ask(batch)).find((item) => item.error);
        if (refused) throw new Error(JSON.stringify(refused));
    }

    const sent = process.hrtime.bigint();

    for (;;) {
        const { result } = await ask(call('eth_getTransactionCount', [address, 'latest']));
        if (Number(result) >= raw.length) break;
        await new Promise((resolve) => setTimeout(resolve, POLL));
    }

    const end = process.hrtime.bigint();
    console.log(Number(end - begin) / 1e9, Number(sent - begin) / 1e9);
    agent.destroy();
}

({ sign, send })[verb](...args).catch((error) => { console.error(error); process.exit(1); });
