// Three clients of one intent: npm's ws, EventSource in Chromium, and the stock socket.io-client with
// its default options (polling first, then the upgrade).
//
//     node three.cjs FOLDER ANVIL
//
// prints { "port": n }, where a gateway is to have its node: a gate before ANVIL, which holds the
// estimate of an intent's gas, and so the intent as pending, until its three clients have told that it is.
// Then takes a line { "pairs": [[POST URL, WATCH URL], …], "runs": n, "parallel": n } and prints one of
// what was seen. A run is one of three kinds, with new connections each:
//
//     id      submitted; watched by its id at once, as pages do
//     user    watched as all of a user's, and known to be (an earlier intent of the user was seen);
//             then submitted, and not held
//     race    submitted; watched by its id, and let go in the same moment: what comes first may be
//             any status, from there on all must come
//
// half of RUNS is id, half is user; as many as there are of each come as race, beside them. The
// EventSources of five runs at a time share a page, for a browser has six connections to a server.

'use strict';

const { chromium } = require('../lib/chromium.cjs');
const { io } = require('socket.io-client');
const WebSocket = require('ws');
const crypto = require('crypto');
const http = require('http');
const https = require('https');
const readline = require('readline');

const [, , folder, anvil] = process.argv;
const SECONDS = 30;
const QUIET = 300;                       // ms in which nothing may follow a final status
const CLIENTS = ['ws', 'sse', 'socketio'];
const SHARE = 5;

let browser;


// --- the gate -------------------------------------------------------------------

const held = new Map();                  // recipient => { promise, open }
const agent = new http.Agent({ keepAlive: true });

function hold() {
    const recipient = address();
    const gate = { recipient };
    gate.promise = new Promise((resolve) => { gate.open = resolve; });
    held.set(recipient, gate);
    return gate;
}

const server = http.createServer((request, response) => {
    const chunks = [];

    request.on('data', (d) => chunks.push(d));
    request.on('end', async () => {
        const body = Buffer.concat(chunks);
        const gates = [].concat(JSON.parse(body)).filter((call) => call.method === 'eth_estimateGas')
            .map((call) => held.get(call.params[0].to.toLowerCase())).filter(Boolean);

        await Promise.all(gates.map((gate) => gate.promise));

        const onward = http.request(anvil, { method: 'POST', agent, headers: {
            'Content-Type': 'application/json', 'Content-Length': body.length } }, (answer) => {
            response.writeHead(answer.statusCode, answer.headers);
            answer.pipe(response);
        });
        onward.on('error', () => response.destroy());
        onward.end(body);
    });
});


// --- clients: each says told(intent), and fault(text); returns how to close it ----

function byWs(base, user, id, told, fault) {
    const ws = new WebSocket(`${base.replace(/^http/, 'ws')}/api/intents/stream${user}`);
    let closing = false;

    ws.on('open', () => ws.send(JSON.stringify({ subscribe: id || 'user' })));
    ws.on('message', (data) => {
        const message = JSON.parse(data);
        if (message.event === 'intentUpdate') { told(message); } else { fault(message.detail); }
    });
    ws.on('close', (code) => { if (!closing) { fault(`closed, ${code}`); } });
    ws.on('error', (e) => fault(e.message));
    return () => { closing = true; ws.close(); };
}

function bySocketIO(base, user, id, told, fault) {
    const socket = io(base, { forceNew: true, query: Object.fromEntries(new URLSearchParams(user)) });

    socket.emit('subscribe', id || 'user');
    socket.on('intentUpdate', told);
    socket.on('intentError', (e) => fault(e.detail));
    socket.on('connect_error', (e) => fault(`connect_error, ${e.message}`));
    socket.on('disconnect', (why) => { if (why !== 'io client disconnect') { fault(why); } });
    // on a busy machine the upgrade may come later than the end
    return async () => {
        const transport = () => (socket.io.engine ? socket.io.engine.transport.name : 'none');
        for (const end = Date.now() + 10000; transport() === 'polling' && Date.now() < end;) { await sleep(20); }
        const name = transport();
        socket.close();
        return name;
    };
}

async function bySse(page, base, user, id, told, fault) {
    const key = crypto.randomUUID();
    let opened = 0;

    page.heard.set(key, (what, data) => {
        if (what === 'update') { told(JSON.parse(data)); }
        if (what === 'open' && opened++) { fault('was opened anew'); }
    });

    await page.run((name, url) => {
        const events = window[name] = new EventSource(url);
        const tell = (...words) => window.told(JSON.stringify([name, ...words]));
        events.addEventListener('intentUpdate', (e) => tell('update', e.data));
        events.onopen = () => tell('open');
    }, key, `${base}/api/intents/${id ? `${id}/` : ''}events${user}`);

    // the stream of one intent ends with it; the browser comes back, and is told 204: no more
    return async () => {
        try {
            if (id) { await page.until((name) => window[name].readyState === EventSource.CLOSED, 10000, key); }
        } catch (e) { fault(e.message); }
        await page.run((name) => { window[name].close(); delete window[name]; }, key);
        page.heard.delete(key);
    };
}

// pages of an origin, opened when the first run needs one

const pages = new Map();

function pageFor(base, slot) {
    const name = `${base} ${Math.floor(slot / SHARE)}`;

    if (!pages.has(name)) {
        pages.set(name, (async () => {
            const page = await browser.open(`${base}/blank`);
            page.heard = new Map();
            await page.bind('told', (text) => {
                const [key, ...words] = JSON.parse(text);
                page.heard.get(key)(...words);
            });
            return page;
        })());
    }
    return pages.get(name);
}

async function closePages(out) {
    for (const opened of pages.values()) {
        const page = await opened;
        for (const error of page.console) { out.faults.push(`console: ${error.text}`); }
        await page.close();
    }
    pages.clear();
}


// --- runs -------------------------------------------------------------------------

const post = (base, user, recipient) => new Promise((resolve, reject) => {
    const body = JSON.stringify({ type: 'transfer', params: { recipient, amount: '1' } });
    const scheme = base.startsWith('https') ? https : http;
    const r = scheme.request(`${base}/api/intents${user}`, { method: 'POST', agent: false,
        headers: { 'Content-Type': 'application/json' } }, (answer) => {
        let text = '';
        answer.on('data', (d) => text += d);
        answer.on('end', () => answer.statusCode === 202 ? resolve(JSON.parse(text).intentId)
            : reject(new Error(`${answer.statusCode} ${text}`)));
    });
    r.on('error', reject);
    r.end(body);
});

const address = () => `0x${crypto.randomBytes(20).toString('hex')}`;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function within(promise, what) {
    let timer;
    return Promise.race([promise, new Promise((resolve, reject) => {
        timer = setTimeout(() => reject(new Error(`waited in vain for ${what()}`)), SECONDS * 1000);
    })]).finally(() => clearTimeout(timer));
}

// what the three were told of each intent, and those who wait for it

function listener(fault) {
    const heard = Object.fromEntries(CLIENTS.map((name) => [name, new Map()]));
    const waiting = new Set();

    return {
        told: (name) => (intent) => {
            const list = heard[name].get(intent.intentId) || [];
            heard[name].set(intent.intentId, list);
            list.push(`${intent.version} ${intent.status}`);
            for (const check of waiting) { check(); }
        },
        fault: (name) => (text) => fault(`${name}: ${text}`),
        of: (name, id) => heard[name].get(id) || [],
        others: (name, ids) => [...heard[name].keys()].filter((id) => !ids.includes(id)),
        all(id, status) {
            return within(new Promise((resolve) => {
                const check = () => {
                    if (CLIENTS.every((name) => this.of(name, id).some((line) => line.endsWith(status)))) {
                        waiting.delete(check);
                        resolve();
                    }
                };
                waiting.add(check);
                check();
            }), () => `${status} of ${id}: ${CLIENTS.map((name) => `${name} ${this.of(name, id)}`).join('; ')}`);
        },
    };
}

async function connect(page, base, user, id, ear) {
    const add = (name) => [ear.told(name), ear.fault(name)];
    const closers = [bySocketIO(base, user, id, ...add('socketio')), byWs(base, user, id, ...add('ws')),
                     await bySse(page, base, user, id, ...add('sse'))];

    return async () => {
        const [transport] = await Promise.all(closers.map((close) => close()));
        return transport;
    };
}

async function run(kind, n, slot, [submit, watch], out) {
    const fault = (text) => out.faults.push(`${kind} ${n}: ${text}`);
    const ear = listener(fault);
    const page = await pageFor(watch, slot);
    const user = kind === 'user' ? `?user=u${process.pid}-${n}` : '';
    const ids = [];
    const submitTo = async (recipient) => { const id = await post(submit, user, recipient); ids.push(id); return id; };
    let close, id;

    try {
        const gate = hold();

        id = await submitTo(gate.recipient);
        if (kind === 'race') { setTimeout(gate.open, Math.random() * 30); }
        close = await connect(page, watch, user, kind === 'user' ? '' : id, ear);

        if (kind !== 'race') {
            await ear.all(id, 'pending');
            if (kind === 'user') { id = await submitTo(address()); }
            gate.open();
        }

        await ear.all(id, 'success');
        await sleep(QUIET);
    } catch (e) { fault(e.message); }

    const transport = close ? await close() : 'none';
    out.transports[transport] = (out.transports[transport] || 0) + 1;

    for (const name of CLIENTS) { judge(kind, name, ear, id, ids, fault, out); }
}

// Each version follows the one before, from the first where nothing was to be missed

function judge(kind, name, ear, id, ids, fault, out) {
    const lines = ear.of(name, id);
    const versions = lines.map((line) => parseInt(line, 10));
    const statuses = lines.map((line) => line.replace(/^\d+ /, '')).filter((s, i, all) => s !== all[i - 1]).join(' ');
    const first = kind === 'race' ? versions[0] : 1;

    if (!versions.every((v, i) => v === first + i)) { fault(`${name}: ${lines}`); }
    for (const other of ear.others(name, ids)) { fault(`${name}: was told of ${other}`); }
    out.seen[kind][name][statuses] = (out.seen[kind][name][statuses] || 0) + 1;
}

async function main() {
    await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
    browser = await chromium(folder);
    console.log(JSON.stringify({ port: server.address().port }));

    const lines = readline.createInterface({ input: process.stdin });
    for await (const line of lines) {
        const { pairs, runs, parallel } = JSON.parse(line);
        const kinds = [];
        for (let i = 0; i < runs; i++) { kinds.push(i % 2 ? 'user' : 'id', ...(i % 2 ? ['race'] : [])); }

        const out = { faults: [], transports: {}, seen: Object.fromEntries(['id', 'user', 'race'].map((kind) =>
            [kind, Object.fromEntries(CLIENTS.map((name) => [name, {}]))])) };
        let next = 0;

        await Promise.all(Array.from({ length: parallel }, async (_, slot) => {
            while (next < kinds.length) {
                const n = next++;
                await run(kinds[n], n, slot, pairs[n % pairs.length], out);
            }
        }));
        await closePages(out);

        console.log(JSON.stringify({ ...out, nfaults: out.faults.length, faults: out.faults.slice(0, 10) }));
    }

    await browser.close();
    process.exit(0);
}

main().catch((e) => { console.log(JSON.stringify({ error: e.stack })); process.exit(1); });
