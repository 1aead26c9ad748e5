
/*
 * The packets of Engine.IO and Socket.IO.
 *
 * <type>[/<namespace>,][<id>][JSON]; binary ones, whose attachments would
 * follow, are not taken.
 */


#include <string.h>

#include "ngx_http_intent_push_socketio_packet.h"


int
intent_engineio_next(const uint8_t **pos, const uint8_t *last,
    const uint8_t **packet, size_t *len)
{
    const uint8_t  *p;

    if (*pos == NULL) {
        return 0;
    }

    p = memchr(*pos, INTENT_ENGINEIO_SEPARATOR, last - *pos);

    *packet = *pos;

    if (p) {
        *len = p - *pos;
        *pos = p + 1;

    } else {
        *len = last - *pos;
        *pos = NULL;
    }

    return 1;
}


int
intent_socketio_parse(intent_socketio_packet_t *packet, const uint8_t *data,
    size_t len)
{
    const uint8_t  *p, *last;

    static const uint8_t  root[] = "/";

    if (len == 0 || data[0] < INTENT_SOCKETIO_CONNECT
        || data[0] > INTENT_SOCKETIO_ACK)
    {
        return -1;
    }

    p = data + 1;
    last = data + len;

    packet->type = data[0];
    packet->name = root;
    packet->name_len = 1;

    if (p < last && *p == '/') {
        packet->name = p;

        while (p < last && *p != ',') {
            p++;
        }

        packet->name_len = p - packet->name;

        if (p < last) {
            p++;
        }
    }

    packet->id = p;

    while (p < last && *p >= '0' && *p <= '9') {
        p++;
    }

    packet->id_len = p - packet->id;
    packet->data = p;
    packet->data_len = last - p;

    return (packet->id_len > INTENT_SOCKETIO_MAX_ID) ? -1 : 0;
}
