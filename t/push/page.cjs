// The page of docs/demo in Chromium: node page.cjs FOLDER URL ANVIL [PIDFILE]
//
// Submits by the form, an intent for each transport, and tells in JSON what the page showed; with
// PIDFILE nginx is reloaded while they are watched. Mining is by hand, in one go for all.

'use strict';

const { chromium } = require('../lib/chromium.cjs');
const fs = require('fs');

const [, , folder, url, anvil, pidfile] = process.argv;
const TRANSPORTS = ['socketio', 'sse', 'websocket'];
const LIMIT = 20000;

let page;

async function rpc(method, ...params) {
    const response = await fetch(anvil, { method: 'POST', headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }) });
    const { result, error } = await response.json();
    if (error) { throw new Error(error.message); }
    return result;
}

// as a person does: a click, the keys, the button

async function fill(fields) {
    for (const [name, value] of Object.entries(fields)) {
        await page.run((id) => { const e = document.getElementById(id); e.focus(); e.select(); }, `param-${name}`);
        if (value === '') { await page.run(() => { document.activeElement.value = ''; }); }
        await page.send('Input.insertText', { text: value });
    }
}

async function choose(type, transport) {
    await page.run((name, value) => {
        const select = document.getElementById('type');
        select.value = name;
        select.dispatchEvent(new Event('change', { bubbles: true }));
        document.querySelector(`input[value=${value}]`).click();
    }, type, transport);
}

const press = () => page.run(() => document.getElementById('submit').click());
const pressable = () => page.until(() => !document.getElementById('submit').disabled, LIMIT);

// every status that a card was ever seen with, from the moment it is there, and whether its
// connection was lost

const record = () => page.run(() => {
    window.seen = {};
    window.lost = new Set();
    new MutationObserver((changes) => {
        for (const { target, addedNodes } of changes) {
            if (target.dataset.state === 'waiting') { window.lost.add(target); }
            for (const card of [target, ...addedNodes]) {
                if (!card.dataset || !card.dataset.intent) { continue; }
                const list = window.seen[card.dataset.intent] = window.seen[card.dataset.intent] || [];
                if (list[list.length - 1] !== card.dataset.status) { list.push(card.dataset.status); }
            }
        }
    }).observe(document.getElementById('intents'),
               { childList: true, subtree: true, attributeFilter: ['data-status', 'data-state'] });
});

const cards = () => page.run(() => [...document.querySelectorAll('article')].map((card) => ({
    id: card.dataset.intent,
    title: card.querySelector('h3').textContent,
    status: card.dataset.status,
    seen: window.seen[card.dataset.intent].join(' '),
    steps: [...card.querySelectorAll('.steps li')].map((e) => `${e.textContent} ${e.className}`).join(', '),
    connection: card.querySelector('.connection').textContent,
    message: card.querySelector('.message').textContent,
    fault: card.querySelector('.fault').textContent,
    shown: Object.fromEntries([...card.querySelectorAll('dt')].map((e) => [e.textContent, e.nextElementSibling.textContent])),
    updates: [...card.querySelectorAll('tbody tr')].map((row) => [...row.children].map((e) => e.textContent)),
    markup: card.querySelectorAll('b, img, script').length,
})));

const all = (state, ms = LIMIT) => page.until((s) => {
    const found = [...document.querySelectorAll('article')];
    return found.length && found.every((card) => card.dataset.status === s);
}, ms, state);

const connections = (state) => page.until((s) =>
    [...document.querySelectorAll('.connection')].every((e) => e.dataset.state === s), LIMIT, state);

const problem = () => page.until(() => document.getElementById('problem').textContent, LIMIT);

async function watch() {
    const n = TRANSPORTS.length;

    for (const [i, transport] of TRANSPORTS.entries()) {
        await choose('transfer', transport);
        await fill({ recipient: `0x${String(i + 1).repeat(40)}`, amount: String(70 + i) });
        await press();
        await pressable();
        await page.until((count) => document.querySelectorAll('article').length === count, LIMIT, i + 1);
    }

    await all('executing');
    await connections('open');
    // the update itself, not only the answer to the POST
    await page.until((count) => [...document.querySelectorAll('tbody')].filter((body) =>
        [...body.rows].some((row) => row.cells[0].textContent === 'executing')).length === count, LIMIT, n);

    const open = (await cards()).map((card) => card.connection);

    if (pidfile) {
        process.kill(Number(fs.readFileSync(pidfile, 'utf8')), 'SIGHUP');
        await page.until((count) => window.lost.size === count, LIMIT, n);
        await connections('open');
    }

    await rpc('anvil_mine', '0x3');
    await all('success');
    await connections('done');
    return { cards: await cards(), open };
}

async function mistakes() {
    const out = {};

    await choose('transfer', 'websocket');
    await fill({ recipient: 'Bob', amount: '-1' });
    await press();
    out.problem = await problem();
    out.faults = await page.run(() => Object.fromEntries(['recipient', 'amount', 'token'].map((name) =>
        [name, document.getElementById(`fault-${name}`).textContent
               + ` ${document.getElementById(`param-${name}`).getAttribute('aria-invalid')}`])));
    out.role = await page.run(() => document.getElementById('problem').getAttribute('role'));

    // what somebody else has written is text, whatever it looks like
    await pressable();
    await choose('note', 'websocket');
    await fill({ text: '<b>bold</b><img src=x onerror=alert(1)>' });
    await press();
    await pressable();
    await page.until(() => document.querySelector('h3').textContent.startsWith('note'), LIMIT);
    out.after = await page.run(() => document.getElementById('problem').textContent);
    out.note = (await cards())[0];

    // and in the end there were too many
    out.left = await page.run(() => document.getElementById('limit').textContent);
    await press();
    out.many = await problem();
    return out;
}

async function main() {
    const browser = await chromium(folder);
    page = await browser.open(url);
    await page.until(() => document.querySelectorAll('#params input').length > 0, LIMIT);
    await record();

    const out = await watch();
    if (!pidfile && process.env.INTENT_PAGE_MISTAKES) { out.mistakes = await mistakes(); }
    if (process.env.INTENT_SCREENSHOT) {
        const { data } = await page.send('Page.captureScreenshot', { captureBeyondViewport: true });
        fs.writeFileSync(process.env.INTENT_SCREENSHOT, Buffer.from(data, 'base64'));
    }

    out.console = page.console;
    out.protocols = await page.run(() => performance.getEntriesByType('resource')
        .filter((e) => /api/.test(e.name)).map((e) => e.nextHopProtocol));
    console.log(JSON.stringify(out));
    await browser.close();
    process.exit(0);
}

main().catch((e) => { console.log(JSON.stringify({ error: e.stack })); process.exit(1); });
