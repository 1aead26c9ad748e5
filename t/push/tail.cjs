// Watches, and tells in lines: node tail.cjs URL KIND WHAT [USER [COUNT]]
//
// KIND is ws or sse, WHAT an id or "user"; COUNT connections, of which each tells for itself.
// "open", "ID VERSION STATUS", "close CODE" (ws), "end" (sse), "error WHY".
// An sse connection that ends is opened again, as a browser does it, until 204: "gone".

'use strict';

const WebSocket = require('ws');
const http = require('http');

const [, , base, kind, what, user = '', count = '1'] = process.argv;
const headers = user ? { 'X-User': user } : {};
const say = (...words) => console.log(words.join(' '));
const told = (i) => say(i.intentId, i.version, i.status);

function socket() {
    const ws = new WebSocket(base.replace(/^http/, 'ws') + '/stream', { headers });
    ws.on('open', () => { ws.send(JSON.stringify({ subscribe: what })); say('open'); });
    ws.on('message', (data) => {
        const m = JSON.parse(data);
        if (m.event === 'intentUpdate') { told(m); } else { say('error', m.detail); }
    });
    ws.on('close', (code) => say('close', code));
    ws.on('error', (e) => say('error', e.message));
}

function events(last, retry) {
    const path = what === 'user' ? '/events' : `/${what}/events`;
    const r = http.get(base + path, { headers: { ...headers, ...(last && { 'Last-Event-ID': last }) },
                                      agent: false }, (res) => {
        let buffer = '';
        if (res.statusCode === 204) { say('gone'); res.resume(); return; }
        if (res.statusCode !== 200) { say('error', res.statusCode); res.resume(); return; }
        say('open');
        res.setEncoding('utf8');
        res.on('data', (d) => {
            buffer += d;
            for (let at; (at = buffer.indexOf('\n\n')) >= 0; buffer = buffer.slice(at + 2)) {
                for (const line of buffer.slice(0, at).split('\n')) {
                    if (line.startsWith('id: ')) { last = line.slice(4); }
                    if (line.startsWith('retry: ')) { retry = +line.slice(7); }
                    if (line.startsWith('data: ')) { told(JSON.parse(line.slice(6))); }
                }
            }
        });
        res.on('end', () => { say('end'); setTimeout(() => events(last, retry), retry); });
        res.on('error', (e) => say('error', e.message));
    });
    r.on('error', (e) => { say('error', e.message); setTimeout(() => events(last, retry), retry); });
}

for (let i = 0; i < +count; i++) { kind === 'ws' ? socket() : events('', 100); }
