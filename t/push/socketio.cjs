// Watches intents with the stock socket.io-client:
//
//     node socketio.cjs URL MODE RUNS PARALLEL SECONDS
//
// URL is that of the gateway; MODE is one of
//     default     polling, then the upgrade, as io() does without options
//     polling     polling only
//     websocket   WebSocket only
//     user        default, subscribed to "user" before the POST
//
// Prints one line of JSON: { runs, seen: { "pending executing success": 12 }, nfaults, faults,
// transports: { websocket: 12 }, workers: {…} }

'use strict';

const { io } = require('socket.io-client');
const http = require('http');
const crypto = require('crypto');

const [, , base, mode, runs, parallel = '8', seconds = '60'] = process.argv;
const agent = new http.Agent({ keepAlive: true });

function post(user) {
    const body = JSON.stringify({ type: 'transfer',
        params: { recipient: '0x' + crypto.randomBytes(20).toString('hex'), amount: '1' } });

    return new Promise((resolve, reject) => {
        const r = http.request(base + '/api/intents', { method: 'POST', agent,
            headers: { 'Content-Type': 'application/json', 'X-User': user } }, (res) => {
            let text = '';
            res.on('data', (d) => text += d);
            res.on('end', () => res.statusCode === 202
                ? resolve(JSON.parse(text)) : reject(new Error(`${res.statusCode} ${text}`)));
        });
        r.on('error', reject);
        r.end(body);
    });
}

function options(user) {
    const o = { forceNew: true, extraHeaders: { 'X-User': user } };
    if (mode === 'polling') { o.transports = ['polling']; }
    if (mode === 'websocket') { o.transports = ['websocket']; }
    return o;
}

async function run(n, faults, seen, transports) {
    const user = `user-${process.pid}-${n}`;
    const socket = io(base, options(user));
    let id, last = 0, finished;
    const statuses = [];
    const done = new Promise((resolve) => { finished = resolve; });

    socket.on('intentUpdate', (data) => {
        if (mode === 'user' && !id) { id = data.intentId; }
        if (data.intentId !== id) { faults.push(`${n}: ${data.intentId} is not ${id}`); return; }
        if (data.version <= last) { faults.push(`${n}: version ${data.version} after ${last}`); }
        if (last && data.version !== last + 1) { faults.push(`${n}: ${data.version} follows ${last}`); }
        last = data.version;
        if (statuses[statuses.length - 1] !== data.status) { statuses.push(data.status); }
        if (['success', 'failed'].includes(data.status)) { finished(); }
    });
    socket.on('intentError', (e) => faults.push(`${n}: ${JSON.stringify(e)}`));
    socket.on('disconnect', (reason) => {
        if (reason !== 'io client disconnect') { faults.push(`${n}: disconnect, ${reason}`); }
    });
    socket.on('connect_error', (e) => faults.push(`${n}: connect_error ${e.message}`));

    if (mode === 'user') {
        await socket.emitWithAck('subscribe', 'user');
        await post(user);
    } else {
        const intent = await post(user);
        id = intent.intentId;
        socket.emit('subscribe', id);
    }

    let timer;
    await Promise.race([done, new Promise((resolve) => {
        timer = setTimeout(() => { faults.push(`${n}: timeout, ${statuses} of ${id}`); resolve(); }, seconds * 1000);
    })]);
    clearTimeout(timer);

    // nothing may follow
    await new Promise((resolve) => setTimeout(resolve, 200));

    // on a busy machine the upgrade may come later than the end

    const upgrades = mode === 'default' || mode === 'user';
    for (const end = Date.now() + 10000; upgrades && Date.now() < end && socket.io.engine
         && socket.io.engine.transport.name === 'polling';) {
        await new Promise((resolve) => setTimeout(resolve, 20));
    }

    const key = statuses.join(' ');
    seen[key] = (seen[key] || 0) + 1;
    const name = socket.io.engine ? socket.io.engine.transport.name : 'none';
    transports[name] = (transports[name] || 0) + 1;
    socket.close();
}

(async () => {
    const faults = [], seen = {}, transports = {};
    let next = 0;

    await Promise.all(Array.from({ length: Number(parallel) }, async () => {
        while (next < Number(runs)) {
            const n = next++;
            try { await run(n, faults, seen, transports); } catch (e) { faults.push(`${n}: ${e.message}`); }
        }
    }));

    console.log(JSON.stringify({ runs: Number(runs), seen, transports,
                                 nfaults: faults.length, faults: faults.slice(0, 10) }));
    process.exit(0);
})();
