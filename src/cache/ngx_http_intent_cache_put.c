
/*
 * The writing side of the cache: what each change of an intent puts there
 * and tells.
 *
 * A status that could not be written would leave the one before it in Redis,
 * to be served for up to the ttl.  So the ids of such intents are kept, and
 * their keys deleted as soon as Redis takes commands again.
 */


#include "ngx_http_intent_cache_private.h"


#define NGX_HTTP_INTENT_CACHE_OUTDATED  8192    /* ids kept at the most */


typedef struct ngx_http_intent_cache_write_s  ngx_http_intent_cache_write_t;

struct ngx_http_intent_cache_write_s {
    ngx_http_intent_cache_write_t  *next;
    u_char                          id[NGX_HTTP_INTENT_ID_LEN];
};


typedef struct {
    ngx_http_intent_cache_write_t  *free;
    ngx_http_intent_cache_write_t  *outdated;
    ngx_uint_t                      noutdated;

    ngx_pool_t                     *scratch;    /* reset after each use */
    ngx_str_t                       channel;    /* "{prefix}{id}" */
    ngx_str_t                       missed;     /* "{prefix}missed" */
    ngx_uint_t                      nmissed;    /* changes not published */
} ngx_http_intent_cache_writes_t;


static void ngx_http_intent_cache_publish_user(ngx_str_t *user,
    ngx_str_t *json);
static void ngx_http_intent_cache_publish_missed(void);
static ngx_int_t ngx_http_intent_cache_set(u_char *id, ngx_str_t *json,
    ngx_uint_t nx, ngx_http_intent_cache_write_t *w);
static void ngx_http_intent_cache_set_handler(void *data, redisReply *reply);
static void ngx_http_intent_cache_delete(ngx_http_intent_cache_write_t *w);
static void ngx_http_intent_cache_delete_handler(void *data,
    redisReply *reply);
static void ngx_http_intent_cache_written(void *data, redisReply *reply);
static ngx_uint_t ngx_http_intent_cache_refused(redisReply *reply);

static ngx_http_intent_cache_write_t *ngx_http_intent_cache_write(u_char *id);
static void ngx_http_intent_cache_free_write(
    ngx_http_intent_cache_write_t *w);
static void ngx_http_intent_cache_outdated(ngx_http_intent_cache_write_t *w);


static ngx_http_intent_cache_writes_t  *ngx_http_intent_cache_writes;


ngx_int_t
ngx_http_intent_cache_put_init(ngx_http_intent_cache_t *cache)
{
    ngx_str_t                       *channel;
    ngx_http_intent_cache_writes_t  *writes;

    writes = ngx_pcalloc(cache->pool, sizeof(ngx_http_intent_cache_writes_t));
    if (writes == NULL) {
        return NGX_ERROR;
    }

    channel = &writes->channel;

    channel->len = cache->conf->prefix.len + NGX_HTTP_INTENT_ID_LEN;
    channel->data = ngx_pnalloc(cache->pool, channel->len);
    if (channel->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(channel->data, cache->conf->prefix.data,
               cache->conf->prefix.len);

    writes->missed.data = ngx_pnalloc(cache->pool, cache->conf->prefix.len
                                      + sizeof(NGX_HTTP_INTENT_CACHE_MISSED));
    if (writes->missed.data == NULL) {
        return NGX_ERROR;
    }

    writes->missed.len = ngx_sprintf(writes->missed.data,
                                     "%V" NGX_HTTP_INTENT_CACHE_MISSED,
                                     &cache->conf->prefix)
                         - writes->missed.data;

    writes->scratch = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, cache->log);
    if (writes->scratch == NULL) {
        return NGX_ERROR;
    }

    ngx_http_intent_cache_writes = writes;

    return NGX_OK;
}


void
ngx_http_intent_cache_put_exit(void)
{
    ngx_destroy_pool(ngx_http_intent_cache_writes->scratch);
}


void
ngx_http_intent_cache_observer(ngx_http_intent_t *in, ngx_uint_t from)
{
    ngx_str_t                        json, *channel;
    ngx_uint_t                       nx;
    ngx_http_intent_cache_write_t   *w;
    ngx_http_intent_cache_writes_t  *writes;

    if (ngx_http_intent_cache == NULL
        || in->id.len != NGX_HTTP_INTENT_ID_LEN)
    {
        return;
    }

    writes = ngx_http_intent_cache_writes;
    channel = &writes->channel;

    /*
     * A lane of another worker may be quicker than the news of a birth, so
     * that must not replace what is there; nor can it leave anything behind.
     */

    nx = (from == NGX_HTTP_INTENT_NEW);
    w = nx ? NULL : ngx_http_intent_cache_write(in->id.data);

    ngx_str_null(&json);

    if (ngx_http_intent_redis_is_up(ngx_http_intent_cache->commands)) {
        json = ngx_http_intent_json(writes->scratch, in);
    }

    if (json.data == NULL
        || ngx_http_intent_cache_set(in->id.data, &json, nx, w) != NGX_OK)
    {
        ngx_http_intent_cache_outdated(w);
    }

    if (json.data) {
        ngx_memcpy(channel->data + channel->len - NGX_HTTP_INTENT_ID_LEN,
                   in->id.data, NGX_HTTP_INTENT_ID_LEN);

        ngx_http_intent_cache_publish(channel, &json);

        if (in->user_id.len) {
            ngx_http_intent_cache_publish_user(&in->user_id, &json);
        }

        ngx_reset_pool(writes->scratch);

    } else {
        writes->nmissed++;
    }
}


/*
 * Channels are compared byte by byte and RESP tells lengths, so a user may be
 * called anything.
 */

static void
ngx_http_intent_cache_publish_user(ngx_str_t *user, ngx_str_t *json)
{
    ngx_str_t   channel, *prefix;

    prefix = &ngx_http_intent_cache->conf->prefix;

    channel.data = ngx_pnalloc(ngx_http_intent_cache_writes->scratch,
                               prefix->len
                               + sizeof(NGX_HTTP_INTENT_CACHE_USER)
                               + user->len);
    if (channel.data == NULL) {
        ngx_http_intent_cache_writes->nmissed++;
        return;
    }

    channel.len = ngx_sprintf(channel.data,
                              "%V" NGX_HTTP_INTENT_CACHE_USER "%V",
                              prefix, user)
                  - channel.data;

    ngx_http_intent_cache_publish(&channel, json);
}


void
ngx_http_intent_cache_fill(ngx_str_t *id, ngx_str_t *json)
{
    if (ngx_http_intent_cache && id->len == NGX_HTTP_INTENT_ID_LEN) {
        (void) ngx_http_intent_cache_set(id->data, json, 1, NULL);
    }
}


/* SET {key} {json} EX {ttl} [NX] */

static ngx_int_t
ngx_http_intent_cache_set(u_char *id, ngx_str_t *json, ngx_uint_t nx,
    ngx_http_intent_cache_write_t *w)
{
    u_char                             *p, ttl[NGX_TIME_T_LEN];
    size_t                              size;
    ngx_http_intent_redis_t            *rd;
    ngx_http_intent_cache_main_conf_t  *conf;

    rd = ngx_http_intent_cache->commands;
    conf = ngx_http_intent_cache->conf;

    size = NGX_HTTP_INTENT_REDIS_HEAD_LEN
           + ngx_http_intent_redis_bulk_len(sizeof("SET"))
           + ngx_http_intent_cache_key_len(conf)
           + ngx_http_intent_redis_bulk_len(json->len)
           + ngx_http_intent_redis_bulk_len(sizeof("EX"))
           + ngx_http_intent_redis_bulk_len(NGX_TIME_T_LEN)
           + ngx_http_intent_redis_bulk_len(sizeof("NX"));

    p = ngx_http_intent_redis_begin(rd, size);
    if (p == NULL) {
        return NGX_DECLINED;
    }

    p = ngx_http_intent_redis_head(p, nx ? 6 : 5);
    p = ngx_http_intent_redis_literal(p, "SET");
    p = ngx_http_intent_cache_key(p, conf, id);
    p = ngx_http_intent_redis_bulk(p, json->data, json->len);
    p = ngx_http_intent_redis_literal(p, "EX");
    p = ngx_http_intent_redis_bulk(p, ttl,
                                   ngx_sprintf(ttl, "%T", conf->ttl) - ttl);
    if (nx) {
        p = ngx_http_intent_redis_literal(p, "NX");
    }

    ngx_http_intent_redis_commit(rd, p, ngx_http_intent_cache_set_handler, w);

    return NGX_OK;
}


static void
ngx_http_intent_cache_set_handler(void *data, redisReply *reply)
{
    ngx_http_intent_cache_write_t  *w = data;

    if (reply == NULL) {
        ngx_http_intent_cache_outdated(w);
        return;
    }

    if (ngx_http_intent_cache_refused(reply) && w) {

        /* a Redis that is full takes no SET, but a DEL */
        ngx_http_intent_cache_delete(w);
        return;
    }

    ngx_http_intent_cache_free_write(w);
}


static void
ngx_http_intent_cache_delete(ngx_http_intent_cache_write_t *w)
{
    u_char                             *p;
    ngx_http_intent_redis_t            *rd;
    ngx_http_intent_cache_main_conf_t  *conf;

    rd = ngx_http_intent_cache->commands;
    conf = ngx_http_intent_cache->conf;

    p = ngx_http_intent_redis_begin(rd, NGX_HTTP_INTENT_REDIS_HEAD_LEN
                                + ngx_http_intent_redis_bulk_len(sizeof("DEL"))
                                + ngx_http_intent_cache_key_len(conf));
    if (p == NULL) {
        ngx_http_intent_cache_outdated(w);
        return;
    }

    p = ngx_http_intent_redis_head(p, 2);
    p = ngx_http_intent_redis_literal(p, "DEL");
    p = ngx_http_intent_cache_key(p, conf, w->id);

    ngx_http_intent_redis_commit(rd, p, ngx_http_intent_cache_delete_handler,
                                 w);
}


static void
ngx_http_intent_cache_delete_handler(void *data, redisReply *reply)
{
    ngx_http_intent_cache_write_t  *w = data;

    if (reply == NULL) {
        ngx_http_intent_cache_outdated(w);
        return;
    }

    (void) ngx_http_intent_cache_refused(reply);

    ngx_http_intent_cache_free_write(w);
}


void
ngx_http_intent_cache_publish(ngx_str_t *channel, ngx_str_t *message)
{
    u_char                   *p;
    ngx_http_intent_redis_t  *rd;

    rd = ngx_http_intent_cache->commands;

    p = ngx_http_intent_redis_begin(rd, NGX_HTTP_INTENT_REDIS_HEAD_LEN
                            + ngx_http_intent_redis_bulk_len(sizeof("PUBLISH"))
                            + ngx_http_intent_redis_bulk_len(channel->len)
                            + ngx_http_intent_redis_bulk_len(message->len));
    if (p == NULL) {
        ngx_http_intent_cache_writes->nmissed++;
        return;
    }

    p = ngx_http_intent_redis_head(p, 3);
    p = ngx_http_intent_redis_literal(p, "PUBLISH");
    p = ngx_http_intent_redis_bulk(p, channel->data, channel->len);
    p = ngx_http_intent_redis_bulk(p, message->data, message->len);

    ngx_http_intent_redis_commit(rd, p, ngx_http_intent_cache_written, NULL);
}


static void
ngx_http_intent_cache_written(void *data, redisReply *reply)
{
    ngx_http_intent_cache_writes_t  *writes;

    writes = ngx_http_intent_cache_writes;

    if (reply == NULL || ngx_http_intent_cache_refused(reply)) {
        writes->nmissed++;
        return;
    }

    if (writes->nmissed) {
        ngx_http_intent_cache_publish_missed();
    }
}


/* who watches has missed something, and nobody but us knows it */

static void
ngx_http_intent_cache_publish_missed(void)
{
    ngx_str_t                        empty = ngx_null_string;
    ngx_http_intent_cache_writes_t  *writes;

    writes = ngx_http_intent_cache_writes;

    if (!ngx_http_intent_redis_is_up(ngx_http_intent_cache->commands)) {
        return;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, ngx_http_intent_cache->log, 0,
                   "intent cache changes not published:%ui", writes->nmissed);

    writes->nmissed = 0;

    ngx_http_intent_cache_publish(&writes->missed, &empty);
}


static ngx_uint_t
ngx_http_intent_cache_refused(redisReply *reply)
{
    ngx_uint_t                level;
    ngx_http_intent_cache_t  *cache;

    cache = ngx_http_intent_cache;

    if (reply->type != REDIS_REPLY_ERROR) {
        return 0;
    }

    level = cache->writes_refused ? NGX_LOG_INFO : NGX_LOG_ERR;
    ngx_log_error(level, cache->log, 0,
                  "redis %V refused to write: \"%*s\"",
                  &cache->conf->redis.name, reply->len, reply->str);

    cache->writes_refused = 1;

    return 1;
}


void
ngx_http_intent_cache_put_restored(void)
{
    ngx_http_intent_cache_write_t   *w, *next;
    ngx_http_intent_cache_writes_t  *writes;

    writes = ngx_http_intent_cache_writes;

    /* one outage, one message */
    ngx_http_intent_cache->writes_refused = 0;

    if (writes->nmissed) {
        ngx_http_intent_cache_publish_missed();
    }

    w = writes->outdated;

    if (w == NULL) {
        return;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, ngx_http_intent_cache->log, 0,
                   "intent cache outdated keys:%ui", writes->noutdated);

    writes->outdated = NULL;
    writes->noutdated = 0;

    for ( /* void */ ; w; w = next) {
        next = w->next;
        ngx_http_intent_cache_delete(w);
    }
}


static ngx_http_intent_cache_write_t *
ngx_http_intent_cache_write(u_char *id)
{
    ngx_http_intent_cache_write_t   *w;
    ngx_http_intent_cache_writes_t  *writes;

    writes = ngx_http_intent_cache_writes;

    w = writes->free;

    if (w) {
        writes->free = w->next;

    } else {
        w = ngx_palloc(ngx_http_intent_cache->pool,
                       sizeof(ngx_http_intent_cache_write_t));
        if (w == NULL) {
            return NULL;
        }
    }

    ngx_memcpy(w->id, id, NGX_HTTP_INTENT_ID_LEN);

    return w;
}


static void
ngx_http_intent_cache_free_write(ngx_http_intent_cache_write_t *w)
{
    if (w) {
        w->next = ngx_http_intent_cache_writes->free;
        ngx_http_intent_cache_writes->free = w;
    }
}


static void
ngx_http_intent_cache_outdated(ngx_http_intent_cache_write_t *w)
{
    ngx_http_intent_cache_writes_t  *writes;

    writes = ngx_http_intent_cache_writes;

    /* after a long outage the keys are gone by themselves */

    if (w == NULL || writes->noutdated == NGX_HTTP_INTENT_CACHE_OUTDATED) {
        ngx_http_intent_cache_free_write(w);
        return;
    }

    w->next = writes->outdated;
    writes->outdated = w;
    writes->noutdated++;
}
