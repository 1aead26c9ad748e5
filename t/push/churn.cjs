// Clients that come and go while they are told: node churn.cjs PORT PATH COUNT SECONDS ID...
//
// COUNT WebSockets, each of which subscribes, unsubscribes and now and then connects anew, at
// random. Of each subscription the versions told of an intent have to grow. Prints a line of JSON:
// how many messages came, how many connections there were, and what was wrong.

'use strict';

const WebSocket = require('ws');

const [, , port, path, count, seconds, ...ids] = process.argv;
const out = { messages: 0, connections: 0, wrong: [] };
const end = Date.now() + seconds * 1000;
let open = 0;

const any = (n) => Math.floor(Math.random() * n);

function client() {
    const ws = new WebSocket(`ws://127.0.0.1:${port}${path}`);
    const last = new Map();
    let timer;

    const step = () => {
        if (ws.readyState !== 1) { return; }
        if (Date.now() > end || any(20) === 0) { any(2) ? ws.close() : ws.terminate(); return; }
        const id = ids[any(ids.length)];
        if (any(3)) {
            ws.send(JSON.stringify({ subscribe: id }));
        } else {
            ws.send(JSON.stringify({ unsubscribe: id }));
            ws.send(JSON.stringify({ subscribe: 'x' + id }));       // an answer that comes behind
        }
        timer = setTimeout(step, any(40));
    };

    open++;
    out.connections++;
    ws.on('open', step);
    ws.on('message', (data) => {
        const m = JSON.parse(data);
        if (m.event === 'error') { last.clear(); return; }
        out.messages++;

        // who has left may be told the last again when he comes; of all his it is forgotten then
        if (last.get(m.intentId) >= m.version && out.wrong.length < 10) {
            out.wrong.push(`${m.intentId} ${last.get(m.intentId)} ${m.version}`);
        }
        last.set(m.intentId, m.version);
    });
    ws.on('error', (e) => { if (out.wrong.length < 10) { out.wrong.push(e.message); } });
    ws.on('close', () => {
        clearTimeout(timer);
        open--;
        if (Date.now() < end) { client(); } else if (open === 0) { console.log(JSON.stringify(out)); process.exit(0); }
    });
}

for (let i = 0; i < +count; i++) { client(); }
setTimeout(() => { console.log(JSON.stringify({ ...out, wrong: [`${open} are still open`] })); process.exit(1); },
           seconds * 1000 + 10000);
