// Debian's Chromium, without a window, spoken to over its DevTools protocol by a pipe: no port, and
// it ends with the process that started it.
//
//     const browser = await chromium(FOLDER)      what it keeps goes into FOLDER
//     const page = await browser.open(URL)        in a profile of its own; when the page is loaded
//     await page.run(function, ...arguments)      in the page: its value, awaited
//     await page.until(function, ms, ...arguments)  until it is true, or throws what the page shows
//     await page.bind(name, heard)                window[name](text) in the page is heard(text) here
//     page.console                                what the console has as errors: { text, url }
//     await page.close()
//     await browser.close()
//
// INTENT_CHROMIUM names another program.

'use strict';

const { spawn, spawnSync } = require('child_process');
const path = require('path');

const SECONDS = 30;
const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'chromium-headless-shell'];

// Nothing but what a test asks for: no updates, no reports, no name but the loopback's is resolved.

const FLAGS = [
    '--headless', '--remote-debugging-pipe', '--no-first-run', '--no-default-browser-check',
    '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-extensions',
    '--disable-background-networking', '--disable-component-update', '--disable-default-apps',
    '--disable-sync', '--disable-breakpad', '--disable-crash-reporter', '--mute-audio',
    '--disable-features=Translate,OptimizationHints,MediaRouter,DialMediaRouteProvider',
    '--disable-background-timer-throttling', '--disable-renderer-backgrounding',
    '--disable-backgrounding-occluded-windows',
    '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1', '--ignore-certificate-errors',
    '--window-size=1200,900',
];

function program() {
    if (process.env.INTENT_CHROMIUM) { return process.env.INTENT_CHROMIUM; }
    const name = NAMES.find((n) => spawnSync('sh', ['-c', 'command -v "$1"', 'sh', n]).status === 0);
    if (!name) { throw new Error('there is no Chromium here (Debian: apt-get install chromium)'); }
    return name;
}

async function chromium(folder) {
    const child = spawn(program(), [...FLAGS, `--user-data-dir=${path.join(folder, 'chromium')}`], {
        stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'],
        env: { ...process.env, HOME: folder },
    });
    const [, , errors, input, output] = child.stdio;
    const waiting = new Map(), sessions = new Map();
    let last = 0, said = '', buffer = [];

    child.on('error', (e) => { said += e.message; });
    child.on('exit', () => {
        for (const { reject } of waiting.values()) { reject(new Error(`Chromium has ended: ${said.slice(-2000)}`)); }
        waiting.clear();
    });
    errors.on('data', (d) => { said += d; });
    input.on('error', () => {});
    process.on('exit', () => child.kill('SIGKILL'));

    // messages are JSON, each with a NUL behind it

    output.on('data', (data) => {
        for (let at; (at = data.indexOf(0)) >= 0; data = data.subarray(at + 1)) {
            buffer.push(data.subarray(0, at));
            receive(JSON.parse(Buffer.concat(buffer)));
            buffer = [];
        }
        buffer.push(data);
    });

    function receive(message) {
        const call = waiting.get(message.id);

        if (call) {
            waiting.delete(message.id);
            if (message.error) { call.reject(new Error(message.error.message)); } else { call.resolve(message.result); }
        } else if (sessions.has(message.sessionId)) {
            sessions.get(message.sessionId)(message.method, message.params);
        }
    }

    function send(method, params = {}, sessionId = undefined) {
        return new Promise((resolve, reject) => {
            const id = ++last;
            const timer = setTimeout(() => reject(new Error(`Chromium does not answer ${method}`)), SECONDS * 1000);
            const settle = (f) => (value) => { clearTimeout(timer); f(value); };
            waiting.set(id, { resolve: settle(resolve), reject: settle(reject) });
            input.write(JSON.stringify({ id, method, params, sessionId }) + '\0');
        });
    }

    await send('Browser.getVersion');

    return {
        open: async (url) => {
            const { browserContextId } = await send('Target.createBrowserContext');
            const { targetId } = await send('Target.createTarget', { url: 'about:blank', browserContextId });
            const { sessionId } = await send('Target.attachToTarget', { targetId, flatten: true });
            const page = newPage((method, params) => send(method, params, sessionId),
                                 (heard) => sessions.set(sessionId, heard));

            page.close = async () => {
                sessions.delete(sessionId);
                await send('Target.disposeBrowserContext', { browserContextId });
            };
            await page.load(url);
            return page;
        },
        // of itself, for it has children, and in a container nobody may be there to bury them
        close: async () => {
            const gone = new Promise((resolve) => child.on('exit', resolve));
            const timer = setTimeout(() => child.kill('SIGKILL'), 5000);
            send('Browser.close').catch(() => {});
            await gone;
            clearTimeout(timer);
        },
    };
}

function newPage(send, listen) {
    const page = { console: [], send };
    const bound = {};
    let loaded;

    listen((method, params) => {
        if (method === 'Page.loadEventFired') { loaded(); }
        if (method === 'Runtime.bindingCalled') { bound[params.name](params.payload); }
        if (method === 'Log.entryAdded' && params.entry.level === 'error') {
            page.console.push({ text: params.entry.text, url: params.entry.url });
        }
        if (method === 'Runtime.consoleAPICalled' && ['error', 'assert'].includes(params.type)) {
            page.console.push({ text: params.args.map((a) => a.value ?? a.description).join(' ') });
        }
        // nothing goes on in the page until it is closed
        if (method === 'Page.javascriptDialogOpening') {
            page.console.push({ text: `a dialog: ${params.message}` });
            send('Page.handleJavaScriptDialog', { accept: true }).catch(() => {});
        }
        if (method === 'Runtime.exceptionThrown') {
            const { exception, text } = params.exceptionDetails;
            page.console.push({ text: (exception && exception.description) || text });
        }
    });

    page.run = async (what, ...args) => {
        const { result, exceptionDetails } = await send('Runtime.evaluate', {
            expression: `(${what})(...${JSON.stringify(args)})`, awaitPromise: true, returnByValue: true });
        if (exceptionDetails) {
            throw new Error((exceptionDetails.exception && exceptionDetails.exception.description)
                            || exceptionDetails.text);
        }
        return result.value;
    };

    page.until = async (what, ms, ...args) => {
        for (const end = Date.now() + ms; ;) {
            const value = await page.run(what, ...args);
            if (value) { return value; }
            if (Date.now() > end) {
                throw new Error(`waited ${ms} ms in vain for ${what} ${args}; the page shows:\n`
                                + await page.run(() => document.body.innerText));
            }
            await new Promise((resolve) => setTimeout(resolve, 20));
        }
    };

    page.bind = async (name, heard) => {
        bound[name] = heard;
        await send('Runtime.addBinding', { name });
    };

    page.load = async (url) => {
        const load = new Promise((resolve) => { loaded = resolve; });

        for (const domain of ['Page', 'Runtime', 'Log']) { await send(`${domain}.enable`); }
        const { errorText } = await send('Page.navigate', { url });
        if (errorText) { throw new Error(`${url}: ${errorText}`); }
        await load;
    };

    return page;
}

module.exports = { chromium };
