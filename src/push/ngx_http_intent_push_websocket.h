
/*
 * private to src/push: the two halves of the WebSocket transport, and what
 * that of Socket.IO does in the same way
 */


#ifndef _NGX_HTTP_INTENT_PUSH_WEBSOCKET_H_INCLUDED_
#define _NGX_HTTP_INTENT_PUSH_WEBSOCKET_H_INCLUDED_


#include "ngx_http_intent_push_private.h"
#include "ngx_http_intent_push_frame.h"

#include <jansson.h>


/* what could not be sent at once */
typedef struct ngx_http_intent_push_out_s  ngx_http_intent_push_out_t;

struct ngx_http_intent_push_out_s {
    ngx_http_intent_push_out_t       *next;
    ngx_http_intent_push_message_t   *message;     /* NULL: data */
    u_char                           *pos;
    u_char                           *last;
    u_char                            data[1];
};


typedef enum {
    ngx_http_intent_push_ws_handshake = 0,
    ngx_http_intent_push_ws_open,
    ngx_http_intent_push_ws_closing,    /* our close is sent, or waits */
    ngx_http_intent_push_ws_dead        /* to be freed by the write handler */
} ngx_http_intent_push_ws_state_e;


typedef struct {
    ngx_http_intent_push_client_t     client;
    ngx_connection_t                 *connection;
    ngx_http_request_t               *request;     /* of the handshake */
    ngx_http_cleanup_t               *cleanup;
    ngx_http_intent_push_loc_conf_t  *conf;
    intent_frame_reader_t             reader;
    ngx_http_intent_push_out_t       *out;
    ngx_http_intent_push_out_t      **last;
    size_t                            queued;      /* bytes in out */
    ngx_http_intent_push_ws_state_e   state;
    unsigned                          heard:1;     /* since the last ping */
    unsigned                          pinged:1;
    unsigned                          half:1;      /* we have said the end */
    unsigned                          answered:1;  /* the peer has, too */
    unsigned                          since:1;     /* wants to know when it has
                                                      caught up */
    u_char                            user[1];
} ngx_http_intent_push_ws_t;


/*
 * The connection is ours; pos to last came with the handshake.  Nothing is
 * freed before this has returned.
 */
void ngx_http_intent_push_ws_start(ngx_http_intent_push_ws_t *ws, u_char *pos,
    u_char *last);


/* ---- what is said alike ---- */

/* of a time, or null: for ngx_http_intent_push_subscribe_user() */
ngx_int_t ngx_http_intent_push_since_parse(json_t *value, int64_t *since);


/* ---- the opening handshake ---- */

/* NGX_DECLINED: it has been answered, and *answer is what that returned */
ngx_int_t ngx_http_intent_push_check(ngx_http_request_t *r,
    ngx_http_intent_push_caller_t *caller, ngx_str_t *key, ngx_int_t *answer);

/* by intent_push_origin; NGX_DECLINED: pages from there may not connect */
ngx_int_t ngx_http_intent_push_check_origin(ngx_http_request_t *r);

/* sends the 101; other than NGX_OK is what the handler returns */
ngx_int_t ngx_http_intent_push_switch(ngx_http_request_t *r, ngx_str_t *key);


#endif /* _NGX_HTTP_INTENT_PUSH_WEBSOCKET_H_INCLUDED_ */
