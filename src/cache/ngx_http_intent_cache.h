
/*
 * The fast read side, in Redis.  Nothing here is needed for correctness:
 * every call may fail at once, and Postgres gives everything back.
 */


#ifndef _NGX_HTTP_INTENT_CACHE_H_INCLUDED_
#define _NGX_HTTP_INTENT_CACHE_H_INCLUDED_


#include "ngx_http_intent.h"


/* is there an intent_redis?  during and after configuration */
ngx_uint_t ngx_http_intent_cache_configured(ngx_conf_t *cf);


/*
 * rc NGX_OK: json points to the cached JSON, valid during the call only;
 * NGX_DECLINED: not there; NGX_ERROR: Redis could not be asked in time.
 */
typedef void (*ngx_http_intent_cache_get_pt)(void *data, ngx_int_t rc,
    ngx_str_t *json);

/*
 * Asks for the status of an intent.  NGX_OK: handler will be called exactly
 * once, after this call has returned; NGX_DECLINED: Redis is away, handler
 * is not called.  id is copied.
 */
ngx_int_t ngx_http_intent_cache_get(ngx_str_t *id,
    ngx_http_intent_cache_get_pt handler, void *data);

/*
 * Puts what was read from Postgres into the cache, unless something is there
 * already (SET NX): a read may be older than a change under way.
 */
void ngx_http_intent_cache_fill(ngx_str_t *id, ngx_str_t *json);

/* PUBLISH {prefix}wake:{chain}; several within one loop become one */
void ngx_http_intent_cache_wake(ngx_str_t *chain);


typedef void (*ngx_http_intent_cache_message_pt)(void *data,
    ngx_str_t *message);

/*
 * SUBSCRIBE to {prefix}{channel}, again after each reconnection; handler is
 * called for every message.  channel and data must live as long as the
 * process; called in init_process.
 */
ngx_int_t ngx_http_intent_cache_subscribe(ngx_str_t *channel,
    ngx_http_intent_cache_message_pt handler, void *data);


extern ngx_module_t  ngx_http_intent_cache_module;


#endif /* _NGX_HTTP_INTENT_CACHE_H_INCLUDED_ */
