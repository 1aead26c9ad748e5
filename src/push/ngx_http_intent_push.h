
/*
 * Watching intents live: what the API hands over to the transports.
 */


#ifndef _NGX_HTTP_INTENT_PUSH_H_INCLUDED_
#define _NGX_HTTP_INTENT_PUSH_H_INCLUDED_


#include "ngx_http_intent.h"


#define NGX_HTTP_INTENT_PUSH_UPGRADE_REQUIRED  426


/* who calls, and how he is told what went wrong */
typedef struct {
    ngx_str_t    user;      /* intent_user, empty: nobody in particular; need
                               not outlive the call */

    /* RFC 9457; returns what ngx_http_finalize_request() takes */
    ngx_int_t  (*problem)(ngx_http_request_t *r, ngx_uint_t status,
                          const char *detail);
} ngx_http_intent_push_caller_t;


/*
 * Content handlers for GET (the second for HEAD, too), without a body: they
 * return what such handlers return.  The first upgrades the connection to
 * WebSocket (RFC 6455); the second streams Server-Sent Events of one intent,
 * whose id is in lower case, or, where id is NULL, of those of the caller.
 */
ngx_int_t ngx_http_intent_push_websocket(ngx_http_request_t *r,
    ngx_http_intent_push_caller_t *caller);
ngx_int_t ngx_http_intent_push_sse(ngx_http_request_t *r, ngx_str_t *id,
    ngx_http_intent_push_caller_t *caller);


/*
 * Who calls, by intent_user; the API's to say, not the room's.  NGX_DECLINED:
 * it cannot be a user's name; NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_intent_push_user(ngx_http_request_t *r, ngx_str_t *user);

/*
 * A time as users write it, the API's to read, too: milliseconds since the
 * epoch; NGX_ERROR: that is none.
 */
ngx_int_t ngx_http_intent_push_time(u_char *p, size_t len, int64_t *msec);


extern ngx_module_t  ngx_http_intent_push_module;


#endif /* _NGX_HTTP_INTENT_PUSH_H_INCLUDED_ */
