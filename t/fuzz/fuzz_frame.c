
/*
 * The frames of a WebSocket under libFuzzer: whatever comes, read as a whole
 * or in pieces, it has to come to the same, and what is given as a text, a
 * control frame or a close has to be one.
 *
 * The first byte of the input says how it is cut into pieces.
 */


#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ngx_http_intent_push_frame.h"


#define FUZZ_MAX_MESSAGE  300
#define FUZZ_MAX_EVENTS   4096


#define fuzz_check(expr)                                                      \
    if (!(expr)) {                                                            \
        fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #expr);    \
        abort();                                                              \
    }


/* what reading came to, in a row */
typedef struct {
    uint8_t  *data;
    size_t    len;
    size_t    size;
} fuzz_log_t;


static void fuzz_read(fuzz_log_t *log, const uint8_t *data, size_t len,
    uint8_t cut);
static int fuzz_event(fuzz_log_t *log, intent_frame_reader_t *reader, int rc);
static void fuzz_add(fuzz_log_t *log, const void *data, size_t len);
static int fuzz_utf8(const uint8_t *p, size_t len);
static void fuzz_header(size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    fuzz_log_t  whole, pieces;

    if (len == 0) {
        return 0;
    }

    memset(&whole, 0, sizeof(fuzz_log_t));
    memset(&pieces, 0, sizeof(fuzz_log_t));

    fuzz_read(&whole, data + 1, len - 1, 0);
    fuzz_read(&pieces, data + 1, len - 1, data[0] | 1);

    fuzz_check(whole.len == pieces.len);
    fuzz_check(whole.len == 0
               || memcmp(whole.data, pieces.data, whole.len) == 0);

    fuzz_header(len * (data[0] + 1));

    free(whole.data);
    free(pieces.data);

    return 0;
}


/* cut 0: all at once; else pieces of lengths that follow from it */

static void
fuzz_read(fuzz_log_t *log, const uint8_t *data, size_t len, uint8_t cut)
{
    int                    rc;
    size_t                 n;
    uint8_t               *piece;
    const uint8_t         *pos, *last;
    intent_frame_reader_t  reader;

    memset(&reader, 0, sizeof(intent_frame_reader_t));
    reader.max_message = FUZZ_MAX_MESSAGE;
    rc = INTENT_FRAME_AGAIN;

    while (len && rc != INTENT_FRAME_FAILED && rc != INTENT_FRAME_CLOSE) {
        n = len;

        if (cut) {
            n = 1 + (cut & 7) % len;
            n = (n > len) ? len : n;
            cut = cut * 5 + 1;
        }

        /* in memory of its own, so that a byte too many is seen */

        piece = malloc(n);
        fuzz_check(piece);
        memcpy(piece, data, n);

        pos = piece;
        last = piece + n;

        do {
            rc = intent_frame_read(&reader, &pos, last);
            fuzz_check(pos >= piece && pos <= last);
        } while (fuzz_event(log, &reader, rc));

        fuzz_check(rc != INTENT_FRAME_AGAIN || pos == last);

        free(piece);
        data += n;
        len -= n;
    }

    intent_frame_reset(&reader);
}


/* is there more to be read? */

static int
fuzz_event(fuzz_log_t *log, intent_frame_reader_t *reader, int rc)
{
    uint8_t  state;

    if (rc == INTENT_FRAME_AGAIN) {
        return 0;
    }

    fuzz_add(log, &rc, sizeof(int));

    switch (rc) {

    case INTENT_FRAME_FAILED:
        fuzz_check(intent_frame_close_code(reader->code));
        fuzz_check(reader->reason && strlen(reader->reason)
                                     <= INTENT_FRAME_MAX_CONTROL - 2);
        fuzz_add(log, &reader->code, sizeof(uint16_t));
        return 0;

    case INTENT_FRAME_TEXT:
        state = 0;
        fuzz_check(fuzz_utf8(reader->data, reader->len));
        fuzz_check(intent_frame_utf8(&state, reader->data, reader->len) == 0
                   && state == 0);

        /* fall through */

    case INTENT_FRAME_BINARY:
        fuzz_check(reader->data && reader->len <= FUZZ_MAX_MESSAGE);
        break;

    case INTENT_FRAME_CLOSE:
        fuzz_check(reader->code == INTENT_CLOSE_NO_STATUS
                   || intent_frame_close_code(reader->code));
        fuzz_add(log, &reader->code, sizeof(uint16_t));

        /* fall through */

    case INTENT_FRAME_PING:
    case INTENT_FRAME_PONG:
        fuzz_check(reader->len <= INTENT_FRAME_MAX_CONTROL);
        break;

    default:
        fuzz_check(0);
    }

    fuzz_add(log, &reader->len, sizeof(size_t));
    fuzz_add(log, reader->data, reader->len);

    return rc != INTENT_FRAME_CLOSE;
}


static void
fuzz_add(fuzz_log_t *log, const void *data, size_t len)
{
    if (log->len + len > log->size) {
        log->size = 2 * (log->len + len);
        log->data = realloc(log->data, log->size);
        fuzz_check(log->data);
    }

    if (len) {
        memcpy(log->data + log->len, data, len);
        log->len += len;
    }
}


/* the table of RFC 3629, by value */

static int
fuzz_utf8(const uint8_t *p, size_t len)
{
    size_t    i, n;
    uint32_t  c, least;

    while (len) {
        c = *p++;
        len--;

        if (c < 0x80) {
            continue;
        }

        if ((c & 0xe0) == 0xc0) {
            n = 1; least = 0x80; c &= 0x1f;

        } else if ((c & 0xf0) == 0xe0) {
            n = 2; least = 0x800; c &= 0x0f;

        } else if ((c & 0xf8) == 0xf0) {
            n = 3; least = 0x10000; c &= 0x07;

        } else {
            return 0;
        }

        if (n > len) {
            return 0;
        }

        for (i = 0; i < n; i++) {
            if ((*p & 0xc0) != 0x80) {
                return 0;
            }

            c = c << 6 | (*p++ & 0x3f);
            len--;
        }

        if (c < least || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) {
            return 0;
        }
    }

    return 1;
}


/* what a server says of a length is what a reader makes of it */

static void
fuzz_header(size_t len)
{
    size_t    n, i, said;
    uint8_t   p[INTENT_FRAME_MAX_HEADER];

    n = intent_frame_header(p, INTENT_FRAME_TEXT, len);

    fuzz_check(n <= INTENT_FRAME_MAX_HEADER && p[0] == 0x81);

    said = p[1];

    if (said > 125) {
        for (said = 0, i = 2; i < n; i++) {
            said = said << 8 | p[i];
        }
    }

    fuzz_check(said == len);
}
