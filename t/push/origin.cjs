// A page uses the API of another origin: node origin.cjs FOLDER PAGE API
//
// Tells in JSON what it got, as far as Chromium lets the page see it.

'use strict';

const { chromium } = require('../lib/chromium.cjs');

const [, , folder, url, api] = process.argv;
const LIMIT = 20000;

// all of it in the page

async function use(api, limit) {
    const json = { 'Content-Type': 'application/json' };
    const mine = { Authorization: 'alice' };
    const intent = (amount) => JSON.stringify({ type: 'transfer',
        params: { recipient: '0x70997970C51812dc3A010C7d01b50e0d17dc79C8', amount } });

    async function ask(path, options = {}) {
        try {
            const response = await fetch(api + path, { ...options, cache: 'no-store' });
            return { status: response.status, headers: Object.fromEntries(response.headers), body: await response.text() };
        } catch (e) {
            return { failed: String(e) };
        }
    }

    const post = (headers, body) => ask('', { method: 'POST', headers: { ...json, ...mine, ...headers }, body });

    function events(id) {
        return new Promise((resolve, reject) => {
            const told = [];
            const source = new EventSource(`${api}/${id}/events`);
            setTimeout(() => reject(new Error('no end of events')), limit);
            source.onerror = () => reject(new Error('no events'));
            source.addEventListener('intentUpdate', (e) => {
                told.push(JSON.parse(e.data));
                if (told[told.length - 1].status === 'success') { source.close(); resolve(told); }
            });
        });
    }

    function websocket(id) {
        return new Promise((resolve) => {
            const socket = new WebSocket(`${api.replace(/^http/, 'ws')}/stream`);
            socket.onopen = () => socket.send(JSON.stringify({ subscribe: id }));
            socket.onmessage = (e) => { resolve(JSON.parse(e.data).status); socket.close(); };
            socket.onerror = () => resolve('refused');
        });
    }

    const out = {};

    out.post = await post({ 'Idempotency-Key': 'first' }, intent('1'));
    out.types = await ask('/types');
    out.list = await ask('?limit=1', { headers: mine });

    if (out.post.failed) {
        out.websocket = await websocket('01a203c2-0000-7000-8000-000000000000');
        return out;
    }

    const { intentId } = JSON.parse(out.post.body);

    out.again = await post({ 'Idempotency-Key': 'first' }, intent('1'));
    out.wrong = await post({}, '{}');
    out.unchanged = await ask('/types', { headers: { 'If-None-Match': out.types.headers.etag } });
    out.events = await events(intentId);
    out.websocket = await websocket(intentId);
    await post({}, intent('2'));
    out.list = await ask('?limit=1', { headers: mine });
    out.cancel = await ask(`/${intentId}`, { method: 'DELETE', headers: mine });
    await post({}, intent('3'));
    await post({}, '{}');
    out.many = await post({}, intent('5'));

    return out;
}

(async () => {
    const browser = await chromium(folder);

    try {
        const page = await browser.open(url);
        console.log(JSON.stringify(await page.run(use, api, LIMIT)));
    } catch (e) {
        console.log(JSON.stringify({ error: e.message }));
    } finally {
        await browser.close();
    }
})();
