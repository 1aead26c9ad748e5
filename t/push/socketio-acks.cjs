// What subscribe and unsubscribe answer: node socketio-acks.cjs URL ID
// Prints { polling: {…}, websocket: {…} }; two subscriptions are allowed.

'use strict';

const { io } = require('socket.io-client');

const [, , base, id] = process.argv;
const other = '01890000-0000-7000-8000-00000000000';

function once(socket, event) {
    return new Promise((resolve) => socket.once(event, resolve));
}

// the first that is wanted; a subscription to what does not exist may tell so any time

function fault(socket, id) {
    return new Promise((resolve) => socket.on('intentError', (e) => {
        if (e.intentId === id) { resolve(e); }
    }));
}

async function run(transport) {
    const socket = io(base, { transports: [transport], forceNew: true });
    const out = {};

    let update = once(socket, 'intentUpdate');
    out.subscribe = await socket.emitWithAck('subscribe', id);
    out.update = (await update).intentId;

    await socket.emitWithAck('unsubscribe', id);
    update = once(socket, 'intentUpdate');
    await socket.emitWithAck('subscribe', [id]);
    out.again = (await update).intentId;

    out.bad = await socket.emitWithAck('subscribe', 'nothing');
    out.user = await socket.emitWithAck('subscribe', 'user');
    out.event = await socket.emitWithAck('dance', 1);
    out.many = await socket.emitWithAck('subscribe', [1, 2].map((n) => other + n));

    let error = fault(socket, other + 3);
    socket.emit('unsubscribe', [1, 2].map((n) => other + n));
    socket.emit('subscribe', other + 3);
    out.missing = await error;

    error = fault(socket, null);
    socket.emit('subscribe', {});
    out.error = await error;

    const admin = io(base + '/admin', { transports: [transport] });
    out.namespace = (await once(admin, 'connect_error')).message;
    admin.close();
    socket.close();
    return out;
}

setTimeout(() => { console.log('{"timeout":true}'); process.exit(1); }, 30000);

(async () => {
    console.log(JSON.stringify({ polling: await run('polling'), websocket: await run('websocket') }));
    process.exit(0);
})();
