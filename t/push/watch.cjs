// Submits intents and watches them: node watch.cjs URL KIND RUNS [PARALLEL [SECONDS]]
//
// URL is that of the API; KIND is one of
//     ws        subscribe to the id, after the POST
//     ws-user   subscribe to "user" before the POST, and be told of an earlier intent
//     sse       events of the id, after the POST
//     sse-user  events of the user, likewise
//
// Each run has to see versions one by one, none twice, none left out, and of the statuses
// pending (the first, for a user), executing, success. Prints one line of JSON:
// { runs, ok, seen: { "pending executing success": 12 }, faults: [...] }

'use strict';

const WebSocket = require('ws');
const http = require('http');
const crypto = require('crypto');

const [, , base, kind, runs, parallel = '8', seconds = '60'] = process.argv;
const agent = new http.Agent({ keepAlive: true });

function post(user) {
    const body = JSON.stringify({
        type: 'transfer',
        params: { recipient: '0x' + crypto.randomBytes(20).toString('hex'), amount: '1' },
    });

    return new Promise((resolve, reject) => {
        const r = http.request(base, {
            method: 'POST', agent,
            headers: { 'Content-Type': 'application/json', 'X-User': user },
        }, (res) => {
            let text = '';
            res.on('data', (d) => text += d);
            res.on('end', () => res.statusCode === 202
                ? resolve(JSON.parse(text)) : reject(new Error(`${res.statusCode} ${text}`)));
        });
        r.on('error', reject);
        r.end(body);
    });
}

// on(intent) for each update; both return a function that closes

function watchSocket(user, what, on, fail) {
    return new Promise((resolve) => {
        const ws = new WebSocket(base.replace(/^http/, 'ws') + '/stream',
            { headers: { 'X-User': user }, perMessageDeflate: false });

        ws.on('open', () => {
            if (what) { ws.send(JSON.stringify({ subscribe: what })); }
            resolve({ close: () => ws.close(), subscribe: (id) =>
                ws.send(JSON.stringify({ subscribe: id })) });
        });
        ws.on('message', (data) => {
            const m = JSON.parse(data);
            if (m.event === 'intentUpdate') { on(m); } else { fail(String(data)); }
        });
        ws.on('error', (e) => { fail(String(e)); resolve({ close: () => {} }); });
    });
}

function watchEvents(user, path, on, fail) {
    return new Promise((resolve) => {
        const r = http.get(base + path, { headers: { 'X-User': user }, agent: false }, (res) => {
            let buffer = '';
            resolve({ close: () => r.destroy(), ended: new Promise((done) => res.on('end', done)) });
            if (res.statusCode !== 200) { fail(`status ${res.statusCode}`); return; }
            if (!/^text\/event-stream/.test(res.headers['content-type'])) { fail('content type'); }
            res.setEncoding('utf8');
            res.on('data', (d) => {
                buffer += d;
                for (let at; (at = buffer.indexOf('\n\n')) >= 0; buffer = buffer.slice(at + 2)) {
                    const event = {};
                    for (const line of buffer.slice(0, at).split('\n')) {
                        const [, name, value] = /^([^:]*):? ?(.*)$/.exec(line);
                        event[name] = value;
                    }
                    if (!event.data) { continue; }
                    const intent = JSON.parse(event.data);
                    if (event.event !== 'intentUpdate'
                        || !`:${event.id}`.endsWith(`:${intent.version}`)) {
                        fail(`event ${JSON.stringify(event)}`);
                    }
                    on(intent);
                }
            });
            res.on('error', () => {});
        });
        r.on('error', (e) => { fail(String(e)); resolve({ close: () => {} }); });
    });
}

async function run() {
    const user = crypto.randomUUID();
    const updates = new Map();                  // what was told, of each intent
    const of = (intent) => updates.get(intent.intentId) || [];
    let heard = () => {}, fail;
    const over = new Promise((resolve, reject) => { fail = reject; });
    over.catch(() => {});
    const on = (intent) => { updates.set(intent.intentId, [...of(intent), intent]); heard(); };
    const until = (done) => Promise.race([over, new Promise((resolve) => {
        heard = () => { if (done()) { resolve(); } };
        heard();
    })]);
    const bad = (why) => fail(new Error(why));
    const timer = setTimeout(() => bad('time is up, told: '
        + [...updates.values()].flat().map((i) => `${i.version}:${i.status}`).join(' ')), seconds * 1000);
    let watching, intent, earlier;

    if (kind === 'ws' || kind === 'sse') {
        intent = await post(user);
        watching = kind === 'ws' ? await watchSocket(user, intent.intentId, on, bad)
            : await watchEvents(user, `/${intent.intentId}/events`, on, bad);
    } else {
        watching = kind === 'ws-user' ? await watchSocket(user, 'user', on, bad)
            : await watchEvents(user, '/events', on, bad);
        // who is told of one is told of all that follow
        earlier = await post(user);
        await until(() => of(earlier).length);
        intent = await post(user);
    }

    await until(() => of(intent).some((i) => /success|failed/.test(i.status)));
    await new Promise((resolve) => setTimeout(resolve, 50));       // nothing may follow
    clearTimeout(timer);
    if (kind === 'sse') { await Promise.race([over, watching.ended]); }
    watching.close();

    const told = of(intent);

    if (updates.size > (earlier ? 2 : 1)) { throw new Error('another intent'); }
    told.forEach((i, n) => {
        if (n && i.version !== told[n - 1].version + 1) {
            throw new Error('versions ' + told.map((x) => x.version).join(' '));
        }
    });
    if (/user/.test(kind) && told[0].version !== 1) { throw new Error('not from the first'); }
    if (!/user/.test(kind) && told[0].version > 2) { return 'late'; }

    return told.map((i) => i.status).filter((s, n, all) => s !== all[n - 1]).join(' ');
}

async function main() {
    const seen = {}, faults = [];
    let left = +runs;

    await Promise.all(Array.from({ length: +parallel }, async () => {
        while (left-- > 0) {
            try {
                const statuses = await run();
                seen[statuses] = (seen[statuses] || 0) + 1;
            } catch (e) { faults.push(e.message); }
        }
    }));

    console.log(JSON.stringify({ runs: +runs, seen, faults: faults.slice(0, 10),
                                 nfaults: faults.length }));
    process.exit(0);
}

main();
