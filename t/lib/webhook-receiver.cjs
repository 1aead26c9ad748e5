// A receiver of webhooks, as anybody would write one: verifies each POST with
// the stock library, and writes what came and what was answered to a file, a
// line of JSON each.
//
//     node webhook-receiver.cjs PORT FILE SECRET...
//
// A POST to /_mode with JSON changes how it behaves:
//     { fail: 0.3 }        so many are answered 500, none more than twice
//     { status: 410 }      all are answered with that
//     { refuse: {"0x…": 400} }  those with that recipient are
//     { hang: 0.2 }        so many are never answered
//     { delay: 20 }        ms before an answer

'use strict';

const fs = require('fs');
const http = require('http');
const { Webhook } = require('standardwebhooks');

const [port, file, ...secrets] = process.argv.slice(2);
const out = fs.openSync(file, 'a');
const failed = {};
let mode = {};

function good(body, headers) {
    if (!secrets.length) return null;
    return secrets.every((secret) => {
        try {
            new Webhook(secret).verify(body, headers);
            return true;
        } catch (e) {
            return false;
        }
    });
}

function answer(event) {
    const refused = mode.refuse && event.params && mode.refuse[event.params.recipient.toLowerCase()];

    if (refused) return refused;
    if (mode.status) return mode.status;
    if (mode.hang && Math.random() < mode.hang) return 0;

    const id = `${event.intentId}.${event.version}`;

    if (mode.fail && Math.random() < mode.fail && (failed[id] || 0) < 2) {
        failed[id] = (failed[id] || 0) + 1;
        return 500;
    }

    return 204;
}

const server = http.createServer((req, res) => {
    const chunks = [];

    req.on('data', (chunk) => chunks.push(chunk));
    req.on('end', () => {
        const body = Buffer.concat(chunks).toString();

        if (req.url === '/_mode') {
            mode = JSON.parse(body);
            res.end('{}');
            return;
        }

        let event = {};
        try { event = JSON.parse(body); } catch (e) { /* it is told */ }

        const status = answer(event);
        let timer;
        const tell = () => {
            clearTimeout(timer);
            res.off('close', tell);
            fs.writeSync(out, JSON.stringify({
                at: Date.now(), method: req.method, path: req.url, answered: status,
                good: good(body, req.headers), headers: req.headers, event,
            }) + '\n');

            if (status) {
                res.writeHead(status, mode.headers || {});
                res.end();
            }
        };

        if (!mode.delay) {
            tell();
            return;
        }

        // who hangs up does not wait, and may soon tell it again: what was taken
        // of it is written before that

        timer = setTimeout(tell, mode.delay);
        res.on('close', tell);
    });
});

server.keepAliveTimeout = 60000;
server.listen(Number(port), '127.0.0.1', () => console.log('listening'));
