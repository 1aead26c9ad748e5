// Clients that come back: node back.cjs URL USER COUNT ID...
//
// COUNT WebSockets that watch what is USER's. One that is closed waits for a line of standard input,
// then connects again and asks for what it has missed since its last message. Prints "open COUNT",
// "closed COUNT CODES", and, when each has been told success of each ID and that it has caught up,
// "back COUNT"; "wrong WHAT" for a version that is not later than the one before.

'use strict';

const WebSocket = require('ws');

const [, , base, user, count, ...ids] = process.argv;
const clients = [];
const codes = {};
let opened = 0, closed = 0, back = 0;

function connect(c) {
    const ws = new WebSocket(base.replace(/^http/, 'ws') + '/stream', { headers: { 'X-User': user } });
    ws.on('open', () => ws.send(JSON.stringify({ subscribe: 'user', since: c.since })));
    ws.on('message', (data) => {
        const m = JSON.parse(data);
        if (m.event === 'caughtUp') {
            c.since = m.since;
            c.caught = m.complete;
            if (!c.away && ++opened === +count) { console.log(`open ${opened}`); }
        } else if (m.event === 'intentUpdate') {
            const last = c.versions.get(m.intentId) || 0;

            // one that was finished shortly before may be told again
            if (m.version < last || (m.version === last && !c.away)) { console.log(`wrong ${m.intentId} ${last} ${m.version}`); }
            c.versions.set(m.intentId, m.version);
            if (c.since < m.updatedAt && (!c.away || c.caught)) { c.since = m.updatedAt; }
            if (m.status === 'success') { c.success.add(m.intentId); }
        } else {
            console.log(`wrong ${data}`);
        }
        if (c.away && c.caught && !c.back && ids.every((id) => c.success.has(id))) {
            c.back = true;
            if (++back === +count) { console.log(`back ${back}`); }
        }
    });
    ws.on('close', (code) => {
        codes[code] = (codes[code] || 0) + 1;
        c.away = true;
        c.caught = false;
        if (c.going) { setTimeout(connect, 100 + Math.random() * 500, c); return; }
        if (++closed === +count) { console.log(`closed ${closed} ${Object.keys(codes).join(' ')}`); }
    });
    ws.on('error', () => {});
}

function begin(i) {
    if (i === +count) { return; }
    clients.push({ since: null, versions: new Map(), success: new Set() });
    connect(clients[i]);
    i % 50 ? begin(i + 1) : setTimeout(begin, 5, i + 1);
}

begin(0);
process.stdin.once('data', () => { for (const c of clients) { c.going = true; setTimeout(connect, Math.random() * 1000, c); } });
