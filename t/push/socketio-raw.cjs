// Engine.IO by hand: node socketio-raw.cjs URL PINGS
//
// Below PINGS there are pings often.

'use strict';

const WebSocket = require('ws');

const [, , url, pings] = process.argv;
const query = '/socket.io/?EIO=4&transport=';
const base = url + query;

async function get(sid) {
    const r = await fetch(`${base}polling&sid=${sid}`, { headers: { Connection: 'close' } });
    return { status: r.status, text: await r.text() };
}

async function post(sid, body) {
    return (await fetch(`${base}polling&sid=${sid}`, { method: 'POST', body })).text();
}

async function session() {
    const text = await (await fetch(`${base}polling`)).text();
    return JSON.parse(text.slice(1)).sid;
}

function socket(sid, from = base) {
    const ws = new WebSocket((from + 'websocket' + (sid ? `&sid=${sid}` : '')).replace('http', 'ws'));
    const queue = [], waiting = [];
    const put = (text) => { if (waiting.length) { waiting.shift()(text); } else { queue.push(text); } };

    ws.on('message', (data) => put(String(data)));
    ws.on('close', (code) => put(`close ${code}`));
    ws.on('error', () => {});
    ws.next = () => new Promise((resolve) => queue.length ? resolve(queue.shift()) : waiting.push(resolve));

    return new Promise((resolve) => { ws.on('open', () => resolve(ws)); ws.on('close', () => resolve(ws)); });
}

setTimeout(() => { console.log('{"timeout":true}'); process.exit(1); }, 30000);

(async () => {
    const out = {};

    let sid = await session();
    const first = get(sid);
    await new Promise((resolve) => setTimeout(resolve, 100));
    const second = await get(sid);
    const answer = await first;
    out.overlap = `${answer.status} ${answer.text}, ${second.status}`;

    sid = await session();
    const poll = get(sid);
    let ws = await socket(sid);
    ws.send('2probe');
    const probe = await ws.next();
    const noop = await poll;
    out.probe = `${probe} ${noop.status} ${noop.text}`;
    await post(sid, '40');
    ws.send('5');
    out.upgraded = (await ws.next()).slice(0, 2);
    const after = await get(sid);
    out.after = `${after.status} ${JSON.parse(after.text).code}`;
    ws.close();

    ws = await socket();
    await ws.next();
    ws.send(Buffer.from([1]));
    out.binary = await ws.next();

    ws = await socket();
    await ws.next();
    ws.send('4junk');
    out.junk = await ws.next();

    ws = await socket(null, url + pings + query);
    await ws.next();
    out.ping = await ws.next();
    ws.send('3');
    await ws.next();
    out.timeout = await ws.next();

    console.log(JSON.stringify(out));
    process.exit(0);
})();
