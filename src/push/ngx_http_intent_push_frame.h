
/*
 * The WebSocket protocol's frames (RFC 6455, sections 5 to 7), as a server
 * sees them.  Plain C without nginx: built and fuzzed on its own.
 */


#ifndef _NGX_HTTP_INTENT_PUSH_FRAME_H_INCLUDED_
#define _NGX_HTTP_INTENT_PUSH_FRAME_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>


/* opcodes, section 5.2 */
#define INTENT_FRAME_CONTINUATION   0x0
#define INTENT_FRAME_TEXT           0x1
#define INTENT_FRAME_BINARY         0x2
#define INTENT_FRAME_CLOSE          0x8
#define INTENT_FRAME_PING           0x9
#define INTENT_FRAME_PONG           0xa

/* what reading came to, when it was none of these opcodes */
#define INTENT_FRAME_AGAIN          -1      /* all was read, go on with more */
#define INTENT_FRAME_FAILED         -2      /* close with reader->code */

/* why a connection is closed, section 7.4.1 */
#define INTENT_CLOSE_NORMAL         1000
#define INTENT_CLOSE_PROTOCOL       1002
#define INTENT_CLOSE_UNSUPPORTED    1003
#define INTENT_CLOSE_NO_STATUS      1005    /* never sent */
#define INTENT_CLOSE_UTF8           1007
#define INTENT_CLOSE_POLICY         1008
#define INTENT_CLOSE_TOO_BIG        1009
#define INTENT_CLOSE_INTERNAL       1011
#define INTENT_CLOSE_RESTART        1012
#define INTENT_CLOSE_TRY_LATER      1013

#define INTENT_FRAME_MAX_CONTROL    125
#define INTENT_FRAME_MAX_HEADER     10      /* of a frame that we send */


/*
 * All zero is its beginning, with max_message set.  What a frame holds is
 * given when it has come as a whole, a text or binary message when its last
 * frame has.
 */
typedef struct {
    size_t       max_message;

    /* what was read, until the next call: a message, or a control frame */
    uint8_t     *data;
    size_t       len;
    uint16_t     code;          /* of a close: the peer's, or NO_STATUS; of a
                                   failure: ours */
    const char  *reason;        /* of a failure */

    /* private */
    uint8_t     *message;
    size_t       message_len;
    size_t       message_size;
    uint64_t     left;          /* of the frame's payload */
    uint8_t      header[14];
    uint8_t      header_len;
    uint8_t      state;
    uint8_t      opcode;        /* of the frame */
    uint8_t      kind;          /* of the message; 0: none has begun */
    uint8_t      fin;
    uint8_t      mask_at;
    uint8_t      utf8;
    uint8_t      control_len;
    uint8_t      control[INTENT_FRAME_MAX_CONTROL];
} intent_frame_reader_t;


/*
 * Reads from *pos, which is moved on, up to the end of a frame that completes
 * something: an opcode (TEXT, BINARY, PING, PONG, CLOSE), or AGAIN when last
 * was reached.  After FAILED, and after CLOSE, nothing more is to be read.
 * The input is not changed.
 */
int intent_frame_read(intent_frame_reader_t *reader, const uint8_t **pos,
    const uint8_t *last);

/* frees what it holds of a message; it may be read with again, from the start */
void intent_frame_reset(intent_frame_reader_t *reader);

/*
 * The header of an unfragmented frame that a server sends, at most
 * INTENT_FRAME_MAX_HEADER bytes; returns how many.
 */
size_t intent_frame_header(uint8_t *p, uint8_t opcode, uint64_t len);

/* may a peer send this code? */
int intent_frame_close_code(uint16_t code);

/*
 * Goes through a piece of text; state is 0 at its beginning, and again where
 * it may end.  -1: this is no UTF-8.
 */
int intent_frame_utf8(uint8_t *state, const uint8_t *p, size_t len);


#endif /* _NGX_HTTP_INTENT_PUSH_FRAME_H_INCLUDED_ */
