
/*
 * How many intents may come: zones in shared memory, counted in the preaccess
 * phase, before a body is read.
 */


#ifndef _NGX_HTTP_INTENT_LIMIT_H_INCLUDED_
#define _NGX_HTTP_INTENT_LIMIT_H_INCLUDED_


#include "ngx_http_intent.h"


/*
 * The request was counted as one intent when it came; it turns out to hold n
 * more.  They are counted by all limits of the location, NGX_OK, or by none:
 * NGX_DECLINED, and the headers and variables of the request say so.  The one
 * stays counted: what is turned away is not free to try again.  An answer
 * below 400 has no Retry-After.
 */
ngx_int_t ngx_http_intent_limit_charge(ngx_http_request_t *r, ngx_uint_t n);

/* the text of a 429, for those who answer one */
#define NGX_HTTP_INTENT_LIMIT_DETAIL                                          \
    "Too many intents created, please try again later"


extern ngx_module_t  ngx_http_intent_limit_module;


#endif /* _NGX_HTTP_INTENT_LIMIT_H_INCLUDED_ */
