// A JSON-RPC node that has faults: stands before a real one (anvil), passes
// calls on, and now and then does one of the things that real nodes and what
// stands before them do.
//
//     node faulty-rpc.mjs --upstream http://127.0.0.1:8545/ [--seed 1]
//
// prints {"port":n,"control":n} when it listens, on 127.0.0.1. On the control
// port, POST with a JSON object changes settings, GET tells them, what was
// done how often, and what was asked:
//
//     rates     { fault: share of calls, 0 to 1 }, one fault at most for a call:
//       delay         the answer comes late, up to delay_ms
//       reset_before  the connection is reset, nothing was passed on
//       reset_after   the connection is reset, the call was passed on
//       error_5xx     500, 502, 503 or 504, passed on or not
//       limit         429 without Retry-After
//       limit_after   429 with Retry-After: retry_after
//       limit_200     200, one item says "rate limit exceeded" and is not
//                     passed on
//       truncate      half of the body, then the end of the connection
//       junk          200 and bytes that are not JSON
//       html          200 and a page for people
//       duplicate     one item is there twice (of a batch)
//       contradict    one item is there twice, with another result
//       reorder       the items in any order
//       missing       one item is not there
//       wrong_id      one item has an id that was not asked for
//       no_method     one item says "method not found", it is not passed on
//       stale         as with lag: stale_blocks, for this call alone
//     delay_ms, retry_after, stale_blocks
//     lag       answers all as a node so many blocks behind
//     frozen    true: answers all as a node that stopped now; false: it goes on
//     status    answers all with this status; 0: no
//     slow_ms   answers all so much later; 0: at once
//     gone      true: resets all connections
//     chain_id  what eth_chainId tells instead; null: the truth
//     ahead     blocks that are added to the head it tells
//     lacks     [ methods that are not found ]
//     seed      of the next random number

import http from 'node:http';

const args = new Map();
for (let i = 2; i < process.argv.length; i += 2) {
    args.set(process.argv[i].replace(/^--/, ''), process.argv[i + 1]);
}

const upstream = new URL(args.get('upstream'));
const agent = new http.Agent({ keepAlive: true, maxSockets: 256 });

const settings = {
    rates: {}, delay_ms: 300, retry_after: 1, stale_blocks: 5, lag: 0,
    frozen: false, status: 0, slow_ms: 0, gone: false, chain_id: null, ahead: 0, lacks: [],
};
const counts = { calls: 0, items: 0, faults: {}, methods: {} };
let frozenAt = 0;


// --- chance, the same for the same seed (mulberry32) --------------------------

let state = Number(args.get('seed') ?? 1) >>> 0;

function random() {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
}

const pick = (list) => list[Math.floor(random() * list.length)];

function draw() {
    let at = random();

    for (const [fault, rate] of Object.entries(settings.rates)) {
        if ((at -= rate) < 0) {
            return fault;
        }
    }

    return null;
}


// --- the node behind ----------------------------------------------------------

function post(text) {
    return new Promise((resolve, reject) => {
        const request = http.request(upstream, {
            agent, method: 'POST',
            headers: { 'Content-Type': 'application/json',
                       'Content-Length': Buffer.byteLength(text) },
        }, (response) => {
            const parts = [];
            response.on('data', (part) => parts.push(part));
            response.on('end', () => resolve(Buffer.concat(parts).toString()));
            response.on('error', reject);
        });

        request.on('error', reject);
        request.end(text);
    });
}

async function ask(method, params) {
    const answer = JSON.parse(await post(JSON.stringify(
        { jsonrpc: '2.0', id: 1, method, params })));
    return answer.result;
}

const hex = (n) => '0x' + Math.max(0, n).toString(16);

// What a node says whose head is that many blocks back.

function rewind(items, head) {
    for (const item of items) {
        const p = item.params ?? [];

        switch (item.method) {
        case 'eth_getBlockByNumber':
        case 'eth_getTransactionCount':
        case 'eth_getBalance':
        case 'eth_feeHistory':
            for (let i = 0; i < p.length; i++) {
                if (p[i] === 'latest' || p[i] === 'pending') {
                    p[i] = hex(head);
                }
            }
        }
    }
}

function hide(items, answers, head) {
    const by = new Map(items.map((item) => [item.id, item]));

    for (const answer of answers) {
        const method = by.get(answer.id)?.method;
        const result = answer.result;

        if (method === 'eth_blockNumber') {
            answer.result = hex(head);
        }

        if (method === 'eth_getTransactionReceipt' && result
            && Number(result.blockNumber) > head)
        {
            answer.result = null;
        }

        if (method === 'eth_getTransactionByHash' && result
            && Number(result.blockNumber ?? 0) > head)
        {
            result.blockNumber = result.blockHash = result.transactionIndex = null;
        }

        if (method === 'eth_getBlockByNumber' && result
            && Number(result.number) > head)
        {
            answer.result = null;
        }
    }
}

function lie(items, answers) {
    const by = new Map(items.map((item) => [item.id, item]));

    for (const answer of answers) {
        const item = by.get(answer.id);

        if (item?.method === 'eth_chainId' && settings.chain_id !== null) {
            answer.result = hex(settings.chain_id);
        }

        if (settings.ahead && item?.method === 'eth_getBlockByNumber'
            && item.params[0] === 'latest' && answer.result)
        {
            answer.result.number = hex(Number(answer.result.number) + settings.ahead);
        }
    }
}


// --- a call -------------------------------------------------------------------

const failure = (item, code, message) =>
    ({ jsonrpc: '2.0', id: item.id, error: { code, message } });

async function serve(request, response, body) {
    counts.calls++;

    if (settings.slow_ms) {
        await new Promise((done) => setTimeout(done, settings.slow_ms));
    }

    if (settings.gone) {
        return request.socket.resetAndDestroy();
    }

    if (settings.status) {
        return answer(response, settings.status, 'an error', 'text/plain');
    }

    const fault = draw();

    if (fault) {
        counts.faults[fault] = (counts.faults[fault] ?? 0) + 1;
    }

    const asked = JSON.parse(body);
    const batch = Array.isArray(asked);
    let items = batch ? asked : [asked];

    for (const item of items) {
        counts.items++;
        counts.methods[item.method] = (counts.methods[item.method] ?? 0) + 1;
    }

    switch (fault) {
    case 'reset_before':
        return request.socket.resetAndDestroy();
    case 'limit':
        return answer(response, 429, '{"error":"slow down"}');
    case 'limit_after':
        response.setHeader('Retry-After', String(settings.retry_after));
        return answer(response, 429, '{"error":"slow down"}');
    case 'error_5xx':
        if (random() < 0.5) {
            await post(body);
        }
        return answer(response, pick([500, 502, 503, 504]), 'an error', 'text/plain');
    }

    // items that are not passed on

    const refused = [];

    const refuse = (chosen, code, message) => {
        items = items.filter((item) => !chosen.includes(item));
        refused.push(...chosen.map((item) => failure(item, code, message)));
    };

    const lacking = items.filter((item) => settings.lacks.includes(item.method));
    refuse(lacking, -32601, 'the method does not exist/is not available');

    if (fault === 'limit_200' && items.length) {
        refuse([pick(items)], -32005, 'rate limit exceeded');
    }

    if (fault === 'no_method' && items.length) {
        refuse([pick(items)], -32601, 'Method not found');
    }

    // what it knows

    let lag = settings.lag;

    if (fault === 'stale') {
        lag = Math.max(lag, settings.stale_blocks);
    }

    let known = null;

    if (settings.frozen) {
        known = frozenAt;

    } else if (lag) {
        known = Math.max(0, Number(await ask('eth_blockNumber', [])) - lag);
    }

    const original = structuredClone(items);

    if (known !== null) {
        rewind(items, known);
    }

    let answers = [];

    if (items.length) {
        const text = await post(JSON.stringify(items));
        answers = JSON.parse(text);
    }

    if (known !== null) {
        hide(items, answers, known);
    }

    lie(original, answers);
    answers.push(...refused);

    const order = new Map((batch ? asked : [asked]).map((item, i) => [item.id, i]));
    answers.sort((a, b) => order.get(a.id) - order.get(b.id));

    switch (fault) {
    case 'delay':
        await new Promise((done) => setTimeout(done, random() * settings.delay_ms));
        break;
    case 'duplicate':
        answers.push(pick(answers));
        break;
    case 'contradict':
        answers.push({ ...pick(answers), error: undefined, result: '0xdead' });
        break;
    case 'reorder':
        answers = answers.map((a) => [random(), a]).sort((a, b) => a[0] - b[0])
                         .map((pair) => pair[1]);
        break;
    case 'missing':
        answers.splice(Math.floor(random() * answers.length), 1);
        break;
    case 'wrong_id':
        answers[Math.floor(random() * answers.length)].id += 100000;
        break;
    }

    const text = JSON.stringify(batch || answers.length !== 1 ? answers : answers[0]);

    switch (fault) {
    case 'reset_after':
        return request.socket.resetAndDestroy();
    case 'truncate':
        response.writeHead(200, { 'Content-Type': 'application/json',
                                  'Content-Length': Buffer.byteLength(text) });
        response.write(text.slice(0, text.length / 2),
                       () => request.socket.destroySoon());
        return;
    case 'junk':
        return answer(response, 200, text.replaceAll(/["{]/g, '\u0001'));
    case 'html':
        return answer(response, 200, '<html><h1>Welcome to our provider</h1></html>',
                      'text/html');
    }

    answer(response, 200, text);
}

function answer(response, status, text, type = 'application/json') {
    response.writeHead(status, { 'Content-Type': type,
                                 'Content-Length': Buffer.byteLength(text) });
    response.end(text);
}

function server(handler) {
    return http.createServer({ keepAliveTimeout: 60000 }, (request, response) => {
        const parts = [];

        request.on('data', (part) => parts.push(part));
        request.on('end', () => {
            Promise.resolve(handler(request, response, Buffer.concat(parts).toString()))
                .catch(() => request.socket.destroy());    // anvil is away
        });
    });
}

async function control(request, response, body) {
    if (request.method === 'POST') {
        const changes = JSON.parse(body);

        if (changes.frozen) {
            frozenAt = Number(await ask('eth_blockNumber', []));
        }

        if (changes.seed !== undefined) {
            state = changes.seed >>> 0;
        }

        Object.assign(settings, changes);
    }

    answer(response, 200, JSON.stringify({ settings, counts }));
}

const listen = (handler, port) => new Promise((done) => {
    const s = server(handler).listen(port, '127.0.0.1', () => done(s.address().port));
});

const port = await listen(serve, Number(args.get('port') ?? 0));
const controlPort = await listen(control, Number(args.get('control') ?? 0));

console.log(JSON.stringify({ port, control: controlPort }));
