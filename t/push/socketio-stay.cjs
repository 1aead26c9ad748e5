// Two clients that come back: node socketio-stay.cjs URL ID
// Prints "polling executing", "websocket disconnect …" and so on, as it comes.

'use strict';

const { io } = require('socket.io-client');

const [, , base, id] = process.argv;

for (const transport of ['polling', 'websocket']) {
    const socket = io(base, { transports: [transport], forceNew: true, reconnectionDelay: 100,
                              reconnectionDelayMax: 500 });

    socket.on('connect', () => socket.emit('subscribe', id));
    socket.on('intentUpdate', (data) => console.log(transport, data.status));
    socket.on('disconnect', (reason) => console.log(transport, 'disconnect', reason));
}

setTimeout(() => process.exit(1), 60000);
