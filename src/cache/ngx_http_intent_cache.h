
/*
 * The fast read side, in Redis.  Nothing here is needed for correctness:
 * every call may fail at once, and Postgres gives everything back.
 */


#ifndef _NGX_HTTP_INTENT_CACHE_H_INCLUDED_
#define _NGX_HTTP_INTENT_CACHE_H_INCLUDED_


#include "ngx_http_intent.h"


/* is there an intent_redis?  during and after configuration */
ngx_uint_t ngx_http_intent_cache_configured(ngx_conf_t *cf);

/* does it take commands of this worker? */
ngx_uint_t ngx_http_intent_cache_is_up(void);


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

/*
 * PUBLISH {prefix}wake:{chain}, or the uri of a webhook; several within one
 * loop become one
 */
void ngx_http_intent_cache_wake(ngx_str_t *chain);


/* ---- subscriptions ---- */

/*
 * The channels, below the prefix: that of an intent is its id, that of a user
 * NGX_HTTP_INTENT_CACHE_USER and who it is; both carry the JSON at every
 * change.  A message on NGX_HTTP_INTENT_CACHE_MISSED tells that somebody could
 * not publish changes, and that everything watched has to be read again.
 */
#define NGX_HTTP_INTENT_CACHE_USER    "user:"
#define NGX_HTTP_INTENT_CACHE_MISSED  "missed"


typedef void (*ngx_http_intent_cache_message_pt)(void *data,
    ngx_str_t *message);

/*
 * up 1: Redis has confirmed the subscription, whatever is published from now
 * on will be told; 0: it does not hold any more, the next 1 will follow by
 * itself.  A handler does not watch nor unwatch when it is told 0.
 */
typedef void (*ngx_http_intent_cache_ready_pt)(void *data, ngx_uint_t up);


/*
 * A subscription, in memory of its owner.  He sets the channel, without the
 * prefix, handler, ready (or NULL) and data, everything else zeroed.
 */
typedef struct {
    ngx_str_node_t                     node;       /* node.str: channel */
    ngx_http_intent_cache_message_pt   handler;
    ngx_http_intent_cache_ready_pt     ready;
    void                              *data;

    /* private */
    ngx_queue_t                        queue;
    ngx_uint_t                         serial;
    unsigned                           watched:1;
    unsigned                           waiting:1;  /* in the queue */
    unsigned                           sent:1;
    unsigned                           up:1;
} ngx_http_intent_cache_watch_t;


/*
 * Subscribes, after each reconnection again; from init_process on.  A worker
 * watches a channel once.  Nothing is called before this has returned.
 * NGX_DECLINED: there is no intent_redis; NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_intent_cache_watch(ngx_http_intent_cache_watch_t *w);

/* will a subscription be confirmed soon? */
ngx_uint_t ngx_http_intent_cache_watching(void);

/* nothing is called any more */
void ngx_http_intent_cache_unwatch(ngx_http_intent_cache_watch_t *w);

/*
 * A watch for the life of the process.  channel and data must live as long;
 * returns as the above does.
 */
ngx_int_t ngx_http_intent_cache_subscribe(ngx_str_t *channel,
    ngx_http_intent_cache_message_pt handler, void *data);


extern ngx_module_t  ngx_http_intent_cache_module;


#endif /* _NGX_HTTP_INTENT_CACHE_H_INCLUDED_ */
