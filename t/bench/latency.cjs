// From a client's POST to the node's receipt of eth_sendRawTransaction.
//
//     node latency.cjs PROXY_PORT NODE_PORT GATEWAY_PORT COUNT BODY
//
// A proxy in front of the node notes when a transaction arrives, and how long
// the node took over what the gateway had to ask it before (eth_estimateGas).
// Client and proxy are one process, so there is one clock. Intents are sent
// one at a time, each a random moment after the last one has ended, and the
// node makes a block at once: so nothing else is under way.
// Prints a line for each: milliseconds in all, and of the node.

const http = require('http');

const [proxyPort, nodePort, gatewayPort, count] = process.argv.slice(2, 6).map(Number);
const body = process.argv[6];

const toNode = new http.Agent({ keepAlive: true });
const toGateway = new http.Agent({ keepAlive: true, maxSockets: 1 });

let arrived;                             // called with the moment
let asked = 0;                           // ms that eth_estimateGas took

const now = () => Number(process.hrtime.bigint()) / 1e6;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const proxy = http.createServer((request, response) => {
    const moment = now();
    const parts = [];

    request.on('data', (part) => parts.push(part));
    request.on('end', () => {
        const text = Buffer.concat(parts);
        const estimate = text.includes('"eth_estimateGas"');

        if (text.includes('"eth_sendRawTransaction"') && arrived) {
            arrived(moment);
            arrived = null;
        }

        const onward = http.request({
            agent: toNode, port: nodePort, host: '127.0.0.1', method: 'POST',
            headers: { 'Content-Type': 'application/json', 'Content-Length': text.length },
        }, (answer) => {
            const back = [];
            answer.on('data', (part) => back.push(part));
            answer.on('end', () => {
                const whole = Buffer.concat(back);
                response.writeHead(answer.statusCode, {
                    'Content-Type': 'application/json', 'Content-Length': whole.length });
                response.end(whole);
                if (estimate) asked += now() - moment;
            });
        });

        onward.on('error', () => response.destroy());
        onward.end(text);
    });
});

proxy.keepAliveTimeout = 600000;

function ask(method, path, text) {
    return new Promise((resolve, reject) => {
        const request = http.request({
            agent: toGateway, port: gatewayPort, host: '127.0.0.1', method, path,
            headers: text === undefined ? {} : {
                'Content-Type': 'application/json', 'Content-Length': text.length },
        }, (answer) => {
            const parts = [];
            answer.on('data', (part) => parts.push(part));
            answer.on('end', () => resolve(
                { status: answer.statusCode, body: Buffer.concat(parts).toString() }));
        });
        request.on('error', reject);
        request.end(text);
    });
}

async function one() {
    asked = 0;
    const arrival = new Promise((resolve) => { arrived = resolve; });

    const begin = now();
    const answer = await ask('POST', '/api/intents', body);

    if (answer.status !== 202) {
        throw new Error(`POST: ${answer.status} ${answer.body}`);
    }

    const end = await arrival;
    const node = asked;
    const { intentId } = JSON.parse(answer.body);

    for (;;) {
        const { status } = JSON.parse((await ask('GET', `/api/intents/${intentId}`)).body);
        if (status === 'success') break;
        if (!/^(pending|executing)$/.test(status)) throw new Error(`intent ended: ${status}`);
        await pause(10);
    }

    return [end - begin, node];
}

proxy.listen(proxyPort, '127.0.0.1', async () => {
    console.log('ready');

    try {
        await new Promise((resolve) => process.stdin.once('data', resolve));

        for (let i = -5; i < count; i++) {
            const [all, node] = await one();
            if (i >= 0) console.log(all.toFixed(3), node.toFixed(3));
            await pause(20 + Math.random() * 100);
        }

        process.exit(0);

    } catch (error) {
        console.error(error);
        process.exit(1);
    }
});
