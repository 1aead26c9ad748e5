
/*
 * The WebSocket protocol's frames, as a server sees them.
 *
 * Reading is a machine of three states that can stop and go on at any byte.
 * A text is checked as it comes, so that a wrong one fails at its first wrong
 * byte, and its message is never longer than allowed in memory.
 */


#include <stdlib.h>
#include <string.h>

#include "ngx_http_intent_push_frame.h"


#define INTENT_FRAME_FIN      0x80
#define INTENT_FRAME_RSV      0x70
#define INTENT_FRAME_OPCODE   0x0f
#define INTENT_FRAME_MASKED   0x80
#define INTENT_FRAME_LENGTH   0x7f
#define INTENT_FRAME_CONTROL  0x08      /* this bit of an opcode */

#define INTENT_FRAME_MASK     10        /* where it is in the header */

#define INTENT_FRAME_MIN_MESSAGE  256   /* allocated at the least */


enum {
    intent_frame_header_state = 0,
    intent_frame_payload_state,
    intent_frame_end_state
};


static int intent_frame_read_header(intent_frame_reader_t *reader,
    const uint8_t **pos, const uint8_t *last);
static int intent_frame_begin(intent_frame_reader_t *reader);
static int intent_frame_check(intent_frame_reader_t *reader);
static int intent_frame_read_payload(intent_frame_reader_t *reader,
    const uint8_t **pos, const uint8_t *last);
static int intent_frame_grow(intent_frame_reader_t *reader, size_t more);
static void intent_frame_unmask(intent_frame_reader_t *reader, uint8_t *out,
    const uint8_t *in, size_t len);
static int intent_frame_end(intent_frame_reader_t *reader);
static int intent_frame_end_close(intent_frame_reader_t *reader);
static int intent_frame_fail(intent_frame_reader_t *reader, uint16_t code,
    const char *reason);


int
intent_frame_read(intent_frame_reader_t *reader, const uint8_t **pos,
    const uint8_t *last)
{
    int  rc;

    /* what was given by the call before has been used by now */

    if (reader->data && reader->data == reader->message) {
        intent_frame_reset(reader);
    }

    reader->data = NULL;
    reader->len = 0;

    do {
        switch (reader->state) {

        case intent_frame_header_state:
            rc = intent_frame_read_header(reader, pos, last);
            break;

        case intent_frame_payload_state:
            rc = intent_frame_read_payload(reader, pos, last);
            break;

        default: /* intent_frame_end_state */
            rc = intent_frame_end(reader);

            if (rc != 0) {
                return rc;
            }
        }

    } while (rc == 0);

    return rc;
}


void
intent_frame_reset(intent_frame_reader_t *reader)
{
    size_t  max_message;

    free(reader->message);

    max_message = reader->max_message;
    memset(reader, 0, sizeof(intent_frame_reader_t));
    reader->max_message = max_message;
}


/* 0: go on; else what intent_frame_read() returns */

static int
intent_frame_read_header(intent_frame_reader_t *reader, const uint8_t **pos,
    const uint8_t *last)
{
    int     rc;
    size_t  need;

    for ( ;; ) {
        need = 2;

        if (reader->header_len >= 2) {
            need += 4;

            switch (reader->header[1] & INTENT_FRAME_LENGTH) {
            case 126:
                need += 2;
                break;
            case 127:
                need += 8;
                break;
            }
        }

        while (reader->header_len < need) {
            if (*pos == last) {
                return INTENT_FRAME_AGAIN;
            }

            reader->header[reader->header_len++] = *(*pos)++;
        }

        if (need > 2) {
            return intent_frame_begin(reader);
        }

        /* what is wrong in the first two bytes needs no more to be told */

        rc = intent_frame_check(reader);

        if (rc != 0) {
            return rc;
        }
    }
}


static int
intent_frame_check(intent_frame_reader_t *reader)
{
    uint8_t  first, opcode, len;

    first = reader->header[0];
    opcode = first & INTENT_FRAME_OPCODE;
    len = reader->header[1] & INTENT_FRAME_LENGTH;

    if (first & INTENT_FRAME_RSV) {
        return intent_frame_fail(reader, INTENT_CLOSE_PROTOCOL,
                                 "a reserved bit is set");
    }

    if (!(reader->header[1] & INTENT_FRAME_MASKED)) {
        return intent_frame_fail(reader, INTENT_CLOSE_PROTOCOL,
                                 "a frame is not masked");
    }

    switch (opcode) {

    case INTENT_FRAME_CONTINUATION:
        if (reader->kind == 0) {
            return intent_frame_fail(reader, INTENT_CLOSE_PROTOCOL,
                                     "nothing to continue");
        }

        break;

    case INTENT_FRAME_TEXT:
    case INTENT_FRAME_BINARY:
        if (reader->kind) {
            return intent_frame_fail(reader, INTENT_CLOSE_PROTOCOL,
                                     "a message begins within another");
        }

        break;

    case INTENT_FRAME_CLOSE:
    case INTENT_FRAME_PING:
    case INTENT_FRAME_PONG:
        if (!(first & INTENT_FRAME_FIN)) {
            return intent_frame_fail(reader, INTENT_CLOSE_PROTOCOL,
                                     "a control frame is fragmented");
        }

        if (len > INTENT_FRAME_MAX_CONTROL) {
            return intent_frame_fail(reader, INTENT_CLOSE_PROTOCOL,
                                     "a control frame is too long");
        }

        break;

    default:
        return intent_frame_fail(reader, INTENT_CLOSE_PROTOCOL,
                                 "an unknown opcode");
    }

    return 0;
}


/* the header is complete */

static int
intent_frame_begin(intent_frame_reader_t *reader)
{
    int       i, n;
    uint8_t  *p;
    uint64_t  len;

    p = reader->header + 2;
    len = reader->header[1] & INTENT_FRAME_LENGTH;
    n = (len == 126) ? 2 : (len == 127) ? 8 : 0;

    if (n) {
        for (len = 0, i = 0; i < n; i++) {
            len = len << 8 | *p++;
        }

        /* section 5.2: the most significant bit is 0, the form the shortest */

        if (len >> 63) {
            return intent_frame_fail(reader, INTENT_CLOSE_PROTOCOL,
                                     "a length is negative");
        }

        if (len < ((n == 2) ? 126 : 65536)) {
            return intent_frame_fail(reader, INTENT_CLOSE_PROTOCOL,
                                     "a length is not in its shortest form");
        }
    }

    /* where it is behind the longest length */
    memmove(reader->header + INTENT_FRAME_MASK, p, 4);

    reader->fin = reader->header[0] & INTENT_FRAME_FIN;
    reader->opcode = reader->header[0] & INTENT_FRAME_OPCODE;
    reader->header_len = 0;
    reader->left = len;
    reader->mask_at = 0;
    reader->state = intent_frame_payload_state;

    if (reader->opcode & INTENT_FRAME_CONTROL) {
        reader->control_len = 0;
        return 0;
    }

    if (reader->opcode != INTENT_FRAME_CONTINUATION) {
        reader->kind = reader->opcode;
        reader->utf8 = 0;
    }

    if (len > reader->max_message - reader->message_len) {
        return intent_frame_fail(reader, INTENT_CLOSE_TOO_BIG,
                                 "a message is too long");
    }

    return 0;
}


static int
intent_frame_read_payload(intent_frame_reader_t *reader, const uint8_t **pos,
    const uint8_t *last)
{
    size_t   len;
    uint8_t  *out;

    len = last - *pos;

    if (len > reader->left) {
        len = reader->left;
    }

    if (reader->opcode & INTENT_FRAME_CONTROL) {
        out = reader->control + reader->control_len;
        reader->control_len += len;

    } else {
        if (intent_frame_grow(reader, len) != 0) {
            return intent_frame_fail(reader, INTENT_CLOSE_INTERNAL,
                                     "no memory");
        }

        out = reader->message + reader->message_len;
        reader->message_len += len;
    }

    if (len) {
        intent_frame_unmask(reader, out, *pos, len);
        *pos += len;
        reader->left -= len;

        if (!(reader->opcode & INTENT_FRAME_CONTROL)
            && reader->kind == INTENT_FRAME_TEXT
            && intent_frame_utf8(&reader->utf8, out, len) != 0)
        {
            return intent_frame_fail(reader, INTENT_CLOSE_UTF8,
                                     "a text is not UTF-8");
        }
    }

    if (reader->left) {
        return INTENT_FRAME_AGAIN;
    }

    reader->state = intent_frame_end_state;

    return 0;
}


/* room for more bytes, and one that makes memory of an empty message */

static int
intent_frame_grow(intent_frame_reader_t *reader, size_t more)
{
    size_t    size;
    uint8_t  *p;

    size = reader->message_len + more;

    if (reader->message && size <= reader->message_size) {
        return 0;
    }

    if (size < 2 * reader->message_size) {
        size = 2 * reader->message_size;
    }

    if (size < INTENT_FRAME_MIN_MESSAGE) {
        size = INTENT_FRAME_MIN_MESSAGE;
    }

    p = realloc(reader->message, size);
    if (p == NULL) {
        return -1;
    }

    reader->message = p;
    reader->message_size = size;

    return 0;
}


static void
intent_frame_unmask(intent_frame_reader_t *reader, uint8_t *out,
    const uint8_t *in, size_t len)
{
    size_t          i;
    unsigned        at;
    const uint8_t  *mask;

    mask = reader->header + INTENT_FRAME_MASK;
    at = reader->mask_at;

    for (i = 0; i < len; i++) {
        out[i] = in[i] ^ mask[(at + i) & 3];
    }

    reader->mask_at = (at + len) & 3;
}


/* a frame has come as a whole */

static int
intent_frame_end(intent_frame_reader_t *reader)
{
    int  kind;

    reader->state = intent_frame_header_state;

    if (reader->opcode & INTENT_FRAME_CONTROL) {
        reader->data = reader->control;
        reader->len = reader->control_len;

        return (reader->opcode == INTENT_FRAME_CLOSE)
               ? intent_frame_end_close(reader) : reader->opcode;
    }

    if (!reader->fin) {
        return 0;
    }

    if (reader->utf8 != 0) {
        return intent_frame_fail(reader, INTENT_CLOSE_UTF8,
                                 "a text ends within a character");
    }

    kind = reader->kind;

    reader->data = reader->message;
    reader->len = reader->message_len;
    reader->kind = 0;

    return kind;
}


/* section 5.5.1: nothing, or a code and a text */

static int
intent_frame_end_close(intent_frame_reader_t *reader)
{
    uint8_t  utf8;

    if (reader->len == 0) {
        reader->code = INTENT_CLOSE_NO_STATUS;
        return INTENT_FRAME_CLOSE;
    }

    if (reader->len == 1) {
        return intent_frame_fail(reader, INTENT_CLOSE_PROTOCOL,
                                 "half of a close code");
    }

    reader->code = reader->data[0] << 8 | reader->data[1];

    if (!intent_frame_close_code(reader->code)) {
        return intent_frame_fail(reader, INTENT_CLOSE_PROTOCOL,
                                 "a close code that nobody may send");
    }

    utf8 = 0;

    if (intent_frame_utf8(&utf8, reader->data + 2, reader->len - 2) != 0
        || utf8 != 0)
    {
        return intent_frame_fail(reader, INTENT_CLOSE_UTF8,
                                 "the reason of a close is not UTF-8");
    }

    return INTENT_FRAME_CLOSE;
}


static int
intent_frame_fail(intent_frame_reader_t *reader, uint16_t code,
    const char *reason)
{
    intent_frame_reset(reader);

    reader->code = code;
    reader->reason = reason;

    return INTENT_FRAME_FAILED;
}


size_t
intent_frame_header(uint8_t *p, uint8_t opcode, uint64_t len)
{
    int  i, n;

    p[0] = INTENT_FRAME_FIN | opcode;

    if (len < 126) {
        p[1] = (uint8_t) len;
        return 2;
    }

    n = (len < 65536) ? 2 : 8;
    p[1] = (n == 2) ? 126 : 127;

    for (i = 0; i < n; i++) {
        p[2 + i] = (uint8_t) (len >> (8 * (n - 1 - i)));
    }

    return 2 + n;
}


/*
 * Sections 7.4.1 and 7.4.2, and the registry: 1004 to 1006 and 1015 are not
 * for the wire, 1012 to 1014 were registered later, 3000 to 4999 are free.
 */

int
intent_frame_close_code(uint16_t code)
{
    return (code >= 1000 && code <= 1003)
           || (code >= 1007 && code <= 1014)
           || (code >= 3000 && code <= 4999);
}


/*
 * The state says what has to follow: how many bytes (1 to 3), and, in the
 * upper half, that the next one has narrower bounds than 80..BF, for a form
 * that is too long, a surrogate, or what is above U+10FFFF.
 */

#define INTENT_FRAME_UTF8_E0  0x10      /* A0..BF */
#define INTENT_FRAME_UTF8_ED  0x20      /* 80..9F */
#define INTENT_FRAME_UTF8_F0  0x30      /* 90..BF */
#define INTENT_FRAME_UTF8_F4  0x40      /* 80..8F */

int
intent_frame_utf8(uint8_t *state, const uint8_t *p, size_t len)
{
    uint8_t         s, low, high;
    const uint8_t  *last;

    s = *state;

    for (last = p + len; p < last; p++) {

        if (s == 0) {
            if (*p < 0x80) {
                continue;
            }

            if (*p >= 0xc2 && *p <= 0xdf) {
                s = 1;

            } else if (*p >= 0xe0 && *p <= 0xef) {
                s = 2 | ((*p == 0xe0) ? INTENT_FRAME_UTF8_E0
                         : (*p == 0xed) ? INTENT_FRAME_UTF8_ED : 0);

            } else if (*p >= 0xf0 && *p <= 0xf4) {
                s = 3 | ((*p == 0xf0) ? INTENT_FRAME_UTF8_F0
                         : (*p == 0xf4) ? INTENT_FRAME_UTF8_F4 : 0);

            } else {
                return -1;
            }

            continue;
        }

        low = 0x80;
        high = 0xbf;

        switch (s & 0xf0) {
        case INTENT_FRAME_UTF8_E0:
            low = 0xa0;
            break;
        case INTENT_FRAME_UTF8_ED:
            high = 0x9f;
            break;
        case INTENT_FRAME_UTF8_F0:
            low = 0x90;
            break;
        case INTENT_FRAME_UTF8_F4:
            high = 0x8f;
            break;
        }

        if (*p < low || *p > high) {
            return -1;
        }

        s = (s & 0x0f) - 1;
    }

    *state = s;

    return 0;
}
