
/* private to src/cache */


#ifndef _NGX_HTTP_INTENT_CACHE_PRIVATE_H_INCLUDED_
#define _NGX_HTTP_INTENT_CACHE_PRIVATE_H_INCLUDED_


#include "ngx_http_intent_cache.h"
#include "ngx_http_intent_redis.h"


/* what an id becomes the key of */
#define NGX_HTTP_INTENT_CACHE_SUFFIX  ":status"


typedef struct {
    ngx_str_t                      name;
    ngx_str_t                      channel;    /* "{prefix}wake:{name}" */
    ngx_uint_t                     wake;       /* in this turn of the loop */
} ngx_http_intent_cache_chain_t;


typedef struct {
    ngx_http_intent_redis_conf_t   redis;      /* naddrs 0: not configured */
    ngx_str_t                      prefix;
    ngx_str_t                      key;        /* RESP of a key up to the id */
    time_t                         ttl;        /* seconds */

    ngx_array_t                    chains;  /* ngx_http_intent_cache_chain_t */

    ngx_http_intent_stat_t        *hits;
    ngx_http_intent_stat_t        *misses;
    ngx_http_intent_stat_t        *errors;
} ngx_http_intent_cache_main_conf_t;


typedef struct {
    ngx_http_intent_cache_main_conf_t  *conf;
    ngx_pool_t                         *pool;      /* of the process */
    ngx_log_t                          *log;

    ngx_event_t                         wake;      /* posted */
    ngx_connection_t                    dumb;      /* of that event */

    ngx_http_intent_redis_t            *commands;
    ngx_http_intent_redis_t            *subscriber;    /* NULL: not needed */

    unsigned                            reads_refused:1;   /* logged once */
    unsigned                            writes_refused:1;
    unsigned                            watch_refused:1;
} ngx_http_intent_cache_t;


/* of this worker; NULL where there is no Redis */
extern ngx_http_intent_cache_t  *ngx_http_intent_cache;


/* RESP of "{prefix}{id}:status" as one bulk string, and the room it needs */
#define ngx_http_intent_cache_key_len(conf)                                   \
    ngx_http_intent_redis_bulk_len((conf)->prefix.len                         \
                                   + NGX_HTTP_INTENT_ID_LEN                   \
                                   + sizeof(NGX_HTTP_INTENT_CACHE_SUFFIX))

u_char *ngx_http_intent_cache_key(u_char *p,
    ngx_http_intent_cache_main_conf_t *conf, u_char *id);


/* the reading side; lost: the command session is down */
ngx_int_t ngx_http_intent_cache_get_init(ngx_http_intent_cache_t *cache);
void ngx_http_intent_cache_get_lost(void);


/* the writing side; restored: the command session is up, maybe again */
ngx_int_t ngx_http_intent_cache_put_init(ngx_http_intent_cache_t *cache);
void ngx_http_intent_cache_put_exit(void);
void ngx_http_intent_cache_put_restored(void);

void ngx_http_intent_cache_observer(ngx_http_intent_t *in, ngx_uint_t from);

/*
 * Nobody waits for it; what Redis says against it is logged once.  What did
 * not get there is made up for by a call to read again.
 */
void ngx_http_intent_cache_publish(ngx_str_t *channel, ngx_str_t *message);


/* the subscriptions */
ngx_int_t ngx_http_intent_cache_watch_init(ngx_http_intent_cache_t *cache);


#endif /* _NGX_HTTP_INTENT_CACHE_PRIVATE_H_INCLUDED_ */
