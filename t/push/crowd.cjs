// Many WebSockets on raw sockets: node crowd.cjs PORT PATH COUNT [SUBSCRIBE...]
//
// SUBSCRIBE: what is sent once each is open, in turn (of one connection one). Prints "open COUNT",
// then, after each burst of messages, "MESSAGES in SECONDS": how many frames came, from the first to
// the last of them.

'use strict';

const net = require('net');

const [, , port, path, count, ...subscribe] = process.argv;
const HANDSHAKE = `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n`
    + 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n';

let opened = 0, begun = 0, messages = 0, first = 0n, last = 0n, shown = 0;

function text(s) {
    const n = Buffer.byteLength(s);
    const head = n < 126 ? [0x81, 0x80 | n] : [0x81, 0xfe, n >> 8, n & 255];
    return Buffer.concat([Buffer.from([...head, 0, 0, 0, 0]), Buffer.from(s)]);
}

function start() {
    if (begun === +count) { return; }
    const i = begun++;
    const s = net.connect({ port, host: `127.0.0.${1 + i % 4}`, noDelay: true });
    let rest = null, open = false;

    s.on('connect', () => s.write(HANDSHAKE));
    s.on('data', (d) => {
        if (rest) { d = Buffer.concat([rest, d]); rest = null; }
        if (!open) {
            const at = d.indexOf('\r\n\r\n');
            if (at < 0) { rest = d; return; }
            if (!d.subarray(0, 12).equals(Buffer.from('HTTP/1.1 101'))) { console.log(`refused ${d.subarray(0, at)}`); process.exit(1); }
            open = true;
            d = d.subarray(at + 4);
            if (subscribe.length) { s.write(text(subscribe[i % subscribe.length])); }
            if (++opened === +count) { console.log(`open ${opened}`); }
            start();
        }
        while (d.length >= 2) {
            const n = d[1] < 126 ? d[1] + 2 : d.length < 4 ? Infinity : d[1] === 126 ? d.readUInt16BE(2) + 4 : Infinity;
            if (d.length < n) { break; }
            if (d[0] === 0x81) { if (!messages) { first = process.hrtime.bigint(); } messages++; }
            if (d[0] === 0x89) { s.write(Buffer.from([0x8a, 0x80, 0, 0, 0, 0])); }
            d = d.subarray(n);
        }
        if (d.length) { rest = Buffer.from(d); }
        last = process.hrtime.bigint();
    });
    s.on('error', (e) => { console.log(`error ${e.code}`); process.exit(1); });
    s.on('close', () => { console.log('closed'); });
}

for (let i = 0; i < 100; i++) { start(); }

setInterval(() => {
    if (messages && process.hrtime.bigint() - last > 500000000n) {
        console.log(`${messages} in ${Number(last - first) / 1e9}`);
        messages = 0;
    }
}, 100);
