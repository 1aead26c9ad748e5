
/*
 * The packets of Engine.IO 4 and Socket.IO 5 in their text form.  Plain C
 * without nginx: built and fuzzed on its own.
 *
 * https://socket.io/docs/v4/engine-io-protocol/
 * https://socket.io/docs/v4/socket-io-protocol/
 */


#ifndef _NGX_HTTP_INTENT_PUSH_SOCKETIO_PACKET_H_INCLUDED_
#define _NGX_HTTP_INTENT_PUSH_SOCKETIO_PACKET_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>


/* Engine.IO */
#define INTENT_ENGINEIO_OPEN        '0'
#define INTENT_ENGINEIO_CLOSE       '1'
#define INTENT_ENGINEIO_PING        '2'
#define INTENT_ENGINEIO_PONG        '3'
#define INTENT_ENGINEIO_MESSAGE     '4'
#define INTENT_ENGINEIO_UPGRADE     '5'
#define INTENT_ENGINEIO_NOOP        '6'

#define INTENT_ENGINEIO_SEPARATOR   '\x1e'

/* Socket.IO, within a message */
#define INTENT_SOCKETIO_CONNECT     '0'
#define INTENT_SOCKETIO_DISCONNECT  '1'
#define INTENT_SOCKETIO_EVENT       '2'
#define INTENT_SOCKETIO_ACK         '3'

#define INTENT_SOCKETIO_MAX_ID      16      /* digits */


/* it points into what was parsed */
typedef struct {
    uint8_t         type;
    const uint8_t  *name;           /* of the namespace */
    size_t          name_len;
    const uint8_t  *id;             /* digits; id_len 0: no ack is wanted */
    size_t          id_len;
    const uint8_t  *data;           /* JSON, or nothing */
    size_t          data_len;
} intent_socketio_packet_t;


/*
 * The next Engine.IO packet of a payload of long-polling, its type first;
 * moves *pos on.  0: there is no other one.
 */
int intent_engineio_next(const uint8_t **pos, const uint8_t *last,
    const uint8_t **packet, size_t *len);

/* what is in a message, its "4" left out; -1: that is no packet */
int intent_socketio_parse(intent_socketio_packet_t *packet,
    const uint8_t *data, size_t len);


#endif /* _NGX_HTTP_INTENT_PUSH_SOCKETIO_PACKET_H_INCLUDED_ */
