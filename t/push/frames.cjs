// RFC 6455, sections 4 to 7, as a list: node frames.cjs PORT PATH MAX
//
// Every case is sent as a whole, together with the opening handshake, byte by byte, and cut in
// two at every byte. MAX is intent_push_message_size. Prints "ok N" or the cases that failed.

'use strict';

const net = require('net');
const crypto = require('crypto');

const [, , port, path, max] = process.argv;
const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';
const HANDSHAKE = `GET ${path} HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\n`
    + `Connection: Upgrade\r\nSec-WebSocket-Key: ${KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n`;

// --- what is sent -----------------------------------------------------------

function frame(op, payload = '', { fin = 1, rsv = 0, mask = true, form } = {}) {
    const data = Buffer.from(payload);
    const n = data.length;
    form = form || (n < 126 ? 7 : n < 65536 ? 16 : 64);
    const head = Buffer.alloc(2 + (form === 16 ? 2 : form === 64 ? 8 : 0));
    head[0] = fin << 7 | rsv << 4 | op;
    head[1] = (mask ? 0x80 : 0) | (form === 7 ? n : form === 16 ? 126 : 127);
    if (form === 16) { head.writeUInt16BE(n, 2); }
    if (form === 64) { head.writeBigUInt64BE(BigInt(n), 2); }
    if (!mask) { return Buffer.concat([head, data]); }
    const key = crypto.randomBytes(4);
    return Buffer.concat([head, key, data.map((b, i) => b ^ key[i & 3])]);
}

const text = (s, o) => frame(1, s, o);
const more = (s, o) => frame(0, s, o);
const first = (s) => frame(1, s, { fin: 0 });
const next = (s) => frame(0, s, { fin: 0 });
const ping = (s, o) => frame(9, s, o);
const close = (code, reason = '') => frame(8, Buffer.concat([
    Buffer.from([code >> 8, code & 255]), Buffer.from(reason)]));
const head = (...bytes) => Buffer.from(bytes);
const hex = (s) => Buffer.from(s.replace(/ /g, ''), 'hex');
const quoted = (b) => Buffer.concat([Buffer.from('"'), b, Buffer.from('"')]);

// --- the cases: [name, frames, what is answered] ------------------------------
// T: an error message (so the text was read), P:… a pong, C:… a close. Where the
// answer has no close, a ping and a close follow and have to be answered.

const T = 'T', failed = (code) => [`C:${code}`];
const cases = [];
const it = (name, frames, answer) => cases.push([name, [].concat(frames), answer]);

it('a text', text('[]'), [T]);
it('an empty text', text(''), [T]);
it('two texts', [text('[]'), text('[]')], [T, T]);
for (const n of [1, 124, 125, 126, 127, 128, 254, 1000, 65534, 65535, 65536, 65537]) {
    it(`a text of ${n} bytes`, text('7'.repeat(n)), [T]);
}
it('a text as long as allowed', text('7'.repeat(max)), [T]);
it('a longer one', text('7'.repeat(+max + 1)).subarray(0, 14), failed(1009));
it('a frame that says 2^63-1', head(0x81, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4), failed(1009));
it('fragments longer than allowed', [first('7'.repeat(max)), next('7')], failed(1009));

for (const op of [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]) {
    it(`opcode ${op}`, frame(op, 'x'), failed(1002));
    it(`opcode ${op} between fragments`, [first('"a'), frame(op)], failed(1002));
}
for (const rsv of [1, 2, 4, 7]) {
    for (const op of [1, 8, 9, 10]) { it(`opcode ${op}, rsv ${rsv}`, frame(op, '', { rsv }), failed(1002)); }
}
for (const op of [0, 1, 2, 8, 9, 10]) {
    it(`opcode ${op}, not masked`, frame(op, '', { mask: false }), failed(1002));
}

it('16 bits for 0', text('', { form: 16 }), failed(1002));
it('16 bits for 125', text('7'.repeat(125), { form: 16 }).subarray(0, 8), failed(1002));
it('64 bits for 0', text('', { form: 64 }), failed(1002));
it('64 bits for 125', text('7'.repeat(125), { form: 64 }).subarray(0, 14), failed(1002));
it('64 bits for 65535', text('7'.repeat(65535), { form: 64 }).subarray(0, 14), failed(1002));
it('a negative length', head(0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4), failed(1002));

it('a binary message', frame(2, 'x'), failed(1003));
it('an empty binary message', frame(2), failed(1003));
it('a binary message in fragments', [frame(2, 'x', { fin: 0 }), more('\xff')], failed(1003));

for (const n of [0, 1, 124, 125]) { it(`a ping of ${n}`, ping('p'.repeat(n)), [`P:${'p'.repeat(n)}`]); }
it('a ping of bytes that are no text', ping(hex('ff00c0')), [`P:${hex('ff00c0')}`]);
it('a ping of 126', ping('p'.repeat(126)).subarray(0, 8), failed(1002));
it('a pong of 126', frame(10, 'p'.repeat(126)).subarray(0, 8), failed(1002));
it('a close of 126', frame(8, 'p'.repeat(126)).subarray(0, 8), failed(1002));
it('a ping, its length in 64 bits', ping('', { form: 64 }), failed(1002));
it('a ping in fragments', ping('x', { fin: 0 }), failed(1002));
it('a pong in fragments', frame(10, 'x', { fin: 0 }), failed(1002));
it('a close in fragments', frame(8, '', { fin: 0 }), failed(1002));
it('ten pings', Array.from({ length: 10 }, (_, i) => ping(`${i}`)), Array.from({ length: 10 }, (_, i) => `P:${i}`));
it('a pong that nobody asked for', frame(10, 'x'), []);
it('a ping after a pong', [frame(10, ''), ping('x')], ['P:x']);

it('two fragments', [first('['), more(']')], [T]);
it('three fragments', [first('['), next('7'), more(']')], [T]);
it('empty fragments', [first(''), next(''), next('[]'), next(''), more('')], [T]);
it('nothing in fragments', [first(''), more('')], [T]);
it('a ping between fragments', [first('['), ping('x'), more(']')], ['P:x', T]);
it('control frames between fragments', [first('['), ping('1'), next(''), frame(10, 'y'), ping('2'), more(']'), text('[]')], ['P:1', 'P:2', T, T]);
it('a close between fragments', [first('['), close(1000)], failed(1000));
it('a continuation of nothing', more('x'), failed(1002));
it('a continuation of nothing, not the last', next('x'), failed(1002));
it('a continuation after a message', [text('[]'), more('x')], [T, 'C:1002']);
it('a text within a text', [first('['), text('[]')], failed(1002));
it('a binary message within a text', [first('['), frame(2, 'x')], failed(1002));
it('a text within a binary message', [frame(2, 'x', { fin: 0 }), text('[]')], failed(1002));

it('a close without a code', frame(8), failed(''));
it('a close with half a code', frame(8, '\x03'), failed(1002));
for (const code of [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]) {
    it(`a close, ${code}`, close(code), failed(code));
}
for (const code of [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 65535]) {
    it(`a close, ${code}, that nobody may send`, close(code), failed(1002));
}
it('a close with a reason', close(1000, 'bye'), failed(1000));
it('a close with the longest reason', close(4000, 'é'.repeat(61) + 'x'), failed(4000));
it('a close, its reason no UTF-8', close(1000, hex('c328')), failed(1007));
it('a close, its reason cut', close(1000, hex('e282')), failed(1007));
it('a text after a close', [close(1000), text('[]')], failed(1000));
it('a wrong frame after a close', [close(1000), head(0xff, 0xff, 0xff)], failed(1000));
it('two closes', [close(1000), close(4000)], failed(1000));

const good = ['ce ba', 'e1 bd b9', '7f', 'c2 80', 'df bf', 'e0 a0 80', 'ec bf bf', 'ed 80 80', 'ed 9f bf', 'ee 80 80',
    'ef bf bd', 'ef bf be', 'ef bf bf', 'f0 90 80 80', 'f0 9f 92 a9', 'f3 bf bf bf', 'f4 80 80 80', 'f4 8f bf bf'];
const wrong = ['80', 'bf', 'c0 80', 'c1 bf', 'c2', 'c2 00', 'c2 7f', 'c2 c0', 'c3 28', 'e0 80 80', 'e0 9f bf', 'e0 a0', 'e1 80 00',
    'e1 28 a1', 'e2 82 28', 'ed a0 80', 'ed ad bf', 'ed ae 80', 'ed bf bf', 'ef bf', 'f0 80 80 80', 'f0 8f bf bf', 'f0 90 80',
    'f0 28 8c bc', 'f0 90 28 bc', 'f0 90 8c 28', 'f1 80 80 41', 'f4 90 80 80', 'f5 80 80 80', 'f8 88 80 80 80', 'fc 84 80 80 80 80', 'fe', 'ff'];

for (const s of good) {
    const b = hex(s), q = quoted(b);
    it(`text ${s}`, text(q), [T]);
    for (let i = 1; i < b.length; i++) {
        it(`text ${s}, a fragment ends after ${i}`, [first(q.subarray(0, 1 + i)), ping('x'), more(q.subarray(1 + i))], ['P:x', T]);
    }
}
for (const s of wrong) {
    const b = hex(s), q = quoted(b);
    it(`text ${s}`, text(q), failed(1007));
    it(`text ${s}, at the end`, text(b), failed(1007));
    for (let i = 1; i < b.length; i++) {
        it(`text ${s}, a fragment ends after ${i}`, [first(b.subarray(0, i)), more(b.subarray(i))], failed(1007));
    }
}
it('a wrong text fails before its end', first(hex('22 c0')), failed(1007));
it('and within a frame', text(Buffer.concat([hex('22 ff'), Buffer.alloc(100)])).subarray(0, 10), failed(1007));

// --- how it is asked -----------------------------------------------------------

// pieces: the first goes with the handshake, where it is not empty
function ask(pieces) {
    return new Promise((resolve) => {
        const s = net.connect({ port, host: '127.0.0.1', noDelay: true });
        const answers = [];
        let buffer = Buffer.alloc(0), open = false;
        const timer = setTimeout(() => finish('no end'), 20000);
        const finish = (why) => { clearTimeout(timer); s.destroy(); resolve(answers.concat(why || []).join(' | ')); };

        async function send() {
            for (const piece of pieces.slice(1)) {
                if (s.destroyed || s.writableEnded) { return; }
                s.write(piece);
                await new Promise((r) => setTimeout(r, pieces.length > 20 ? 0 : 2));
            }
        }

        s.on('error', (e) => finish(e.code));
        s.on('end', () => finish(buffer.length ? `rest ${buffer.toString('hex')}` : ''));
        s.on('data', (d) => {
            buffer = Buffer.concat([buffer, d]);
            if (!open) {
                const at = buffer.indexOf('\r\n\r\n');
                if (at < 0) { return; }
                const header = buffer.subarray(0, at).toString();
                if (!/^HTTP\/1.1 101 [^]*s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=/.test(header)) { finish(header); return; }
                buffer = buffer.subarray(at + 4);
                open = true;
                send();
            }
            for (;;) {
                if (buffer.length < 2) { return; }
                let n = buffer[1], at = 2;
                if (n === 126) { if (buffer.length < 4) { return; } n = buffer.readUInt16BE(2); at = 4; }
                if (n > 126) { finish('a server does not mask'); return; }
                if (buffer.length < at + n) { return; }
                const op = buffer[0], data = buffer.subarray(at, at + n);
                buffer = buffer.subarray(at + n);
                if (op === 0x81) { answers.push(/"event":"error"/.test(data) ? 'T' : `${data}`);
                } else if (op === 0x8a) { answers.push(`P:${data}`);
                } else if (op === 0x88) { answers.push(`C:${n ? data.readUInt16BE(0) : ''}`);
                } else { answers.push(`frame ${op}`); }
            }
        });
        s.write(HANDSHAKE + pieces[0].toString('latin1'), 'latin1');
    });
}

const none = Buffer.alloc(0);
const jobs = [];

for (const [name, frames, answer] of cases) {
    const closes = answer.some((a) => /^C/.test(a));
    const all = Buffer.concat(closes ? frames : frames.concat(ping('end'), close(1000)));
    const expected = answer.concat(closes ? [] : ['P:end', 'C:1000']).join(' | ');
    const add = (how, pieces) => jobs.push([`${name}, ${how}`, pieces, expected]);

    add('whole', [none, all]);
    add('with the handshake', all.length < 3000 ? [all] : [none, all]);
    if (all.length < 300) { add('byte by byte', [none, ...Array.from(all, (b) => Buffer.from([b]))]); }
    for (let i = 1; i < Math.min(all.length, 64); i++) {
        add(`cut after ${i}`, [none, all.subarray(0, i), all.subarray(i)]);
        if (i % 8 === 1) { add(`${i} with the handshake`, [all.subarray(0, i), all.subarray(i)]); }
    }
}

async function main() {
    let at = 0, wrongs = 0;
    await Promise.all(Array.from({ length: 64 }, async () => {
        while (at < jobs.length) {
            const [name, pieces, expected] = jobs[at++];
            const got = await ask(pieces);
            if (got !== expected && wrongs++ < 20) { console.log(`not ok ${name}: ${got}; expected ${expected}`); }
        }
    }));
    console.log(`${wrongs ? 'not ok' : 'ok'} ${cases.length} cases ${jobs.length} connections ${wrongs} wrong`);
    process.exit(0);
}

main();
