
/*
 * The reading side of the cache.
 *
 * A GET of its own for each request would cost Redis and us a command, a
 * reply and their system calls.  The keys that are asked for within one turn
 * of the event loop, and while earlier ones are under way, go into one MGET;
 * an idle worker asks at once, a busy one asks for many at a time.
 */


#include "ngx_http_intent_cache_private.h"


#define NGX_HTTP_INTENT_CACHE_KEYS       64     /* in an MGET */
#define NGX_HTTP_INTENT_CACHE_UNDER_WAY  4      /* MGETs */
#define NGX_HTTP_INTENT_CACHE_WAITING    128    /* MGETs */
#define NGX_HTTP_INTENT_CACHE_SLOTS      256    /* a power of 2, > 2 * KEYS */


typedef struct ngx_http_intent_cache_reader_s  ngx_http_intent_cache_reader_t;

struct ngx_http_intent_cache_reader_s {
    ngx_http_intent_cache_reader_t  *next;
    ngx_http_intent_cache_get_pt     handler;
    void                            *data;
};


typedef struct {
    u_char                           id[NGX_HTTP_INTENT_ID_LEN];
    ngx_http_intent_cache_reader_t  *readers;
} ngx_http_intent_cache_key_t;


typedef struct {
    ngx_queue_t                      queue;
    ngx_uint_t                       nkeys;
    ngx_http_intent_cache_key_t      keys[NGX_HTTP_INTENT_CACHE_KEYS];
    u_char                           slots[NGX_HTTP_INTENT_CACHE_SLOTS];
} ngx_http_intent_cache_batch_t;


typedef struct {
    ngx_queue_t                      waiting;   /* batches */
    ngx_uint_t                       nwaiting;
    ngx_uint_t                       under_way;

    ngx_queue_t                      free;      /* batches */
    ngx_http_intent_cache_reader_t  *free_readers;

    ngx_event_t                      send;
    ngx_connection_t                 dumb;
} ngx_http_intent_cache_reads_t;


static ngx_http_intent_cache_batch_t *ngx_http_intent_cache_batch(void);
static ngx_http_intent_cache_key_t *ngx_http_intent_cache_find(
    ngx_http_intent_cache_batch_t *batch, u_char *id);
static void ngx_http_intent_cache_send_handler(ngx_event_t *ev);
static ngx_int_t ngx_http_intent_cache_send(
    ngx_http_intent_cache_batch_t *batch);
static void ngx_http_intent_cache_mget_handler(void *data, redisReply *reply);
static void ngx_http_intent_cache_answer(ngx_http_intent_cache_batch_t *batch,
    redisReply *reply);


static ngx_http_intent_cache_reads_t  *ngx_http_intent_cache_reads;


ngx_int_t
ngx_http_intent_cache_get_init(ngx_http_intent_cache_t *cache)
{
    ngx_http_intent_cache_reads_t  *reads;

    reads = ngx_pcalloc(cache->pool, sizeof(ngx_http_intent_cache_reads_t));
    if (reads == NULL) {
        return NGX_ERROR;
    }

    ngx_queue_init(&reads->waiting);
    ngx_queue_init(&reads->free);

    reads->dumb.fd = (ngx_socket_t) -1;
    reads->send.handler = ngx_http_intent_cache_send_handler;
    reads->send.data = &reads->dumb;
    reads->send.log = cache->log;

    ngx_http_intent_cache_reads = reads;

    return NGX_OK;
}


ngx_int_t
ngx_http_intent_cache_get(ngx_str_t *id, ngx_http_intent_cache_get_pt handler,
    void *data)
{
    ngx_http_intent_cache_t         *cache;
    ngx_http_intent_cache_key_t     *key;
    ngx_http_intent_cache_batch_t   *batch;
    ngx_http_intent_cache_reads_t   *reads;
    ngx_http_intent_cache_reader_t  *reader;

    cache = ngx_http_intent_cache;
    reads = ngx_http_intent_cache_reads;

    if (cache == NULL) {
        return NGX_DECLINED;
    }

    if (id->len != NGX_HTTP_INTENT_ID_LEN
        || !ngx_http_intent_redis_is_up(cache->commands))
    {
        goto declined;
    }

    reader = reads->free_readers;

    if (reader) {
        reads->free_readers = reader->next;

    } else {
        reader = ngx_palloc(cache->pool,
                            sizeof(ngx_http_intent_cache_reader_t));
        if (reader == NULL) {
            goto declined;
        }
    }

    batch = ngx_http_intent_cache_batch();

    if (batch == NULL) {
        reader->next = reads->free_readers;
        reads->free_readers = reader;
        goto declined;
    }

    key = ngx_http_intent_cache_find(batch, id->data);

    reader->handler = handler;
    reader->data = data;
    reader->next = key->readers;
    key->readers = reader;

    if (reads->under_way < NGX_HTTP_INTENT_CACHE_UNDER_WAY) {
        ngx_post_event(&reads->send, &ngx_posted_events);
    }

    return NGX_OK;

declined:

    ngx_http_intent_stat_inc(cache->conf->errors, 1);

    return NGX_DECLINED;
}


/* the batch that still takes keys */

static ngx_http_intent_cache_batch_t *
ngx_http_intent_cache_batch(void)
{
    ngx_queue_t                    *q;
    ngx_http_intent_cache_batch_t  *batch;
    ngx_http_intent_cache_reads_t  *reads;

    reads = ngx_http_intent_cache_reads;

    if (!ngx_queue_empty(&reads->waiting)) {
        batch = ngx_queue_data(ngx_queue_last(&reads->waiting),
                               ngx_http_intent_cache_batch_t, queue);

        if (batch->nkeys < NGX_HTTP_INTENT_CACHE_KEYS) {
            return batch;
        }

        if (reads->nwaiting == NGX_HTTP_INTENT_CACHE_WAITING) {
            return NULL;
        }
    }

    if (!ngx_queue_empty(&reads->free)) {
        q = ngx_queue_head(&reads->free);
        ngx_queue_remove(q);
        batch = ngx_queue_data(q, ngx_http_intent_cache_batch_t, queue);

    } else {
        batch = ngx_palloc(ngx_http_intent_cache->pool,
                           sizeof(ngx_http_intent_cache_batch_t));
        if (batch == NULL) {
            return NULL;
        }
    }

    batch->nkeys = 0;
    ngx_memzero(batch->slots, NGX_HTTP_INTENT_CACHE_SLOTS);

    ngx_queue_insert_tail(&reads->waiting, &batch->queue);
    reads->nwaiting++;

    return batch;
}


/*
 * Many may ask for one intent at a time.  The slots are a hash of the keys:
 * 0, or the number of a key plus 1; the last characters of an id are random.
 */

static ngx_http_intent_cache_key_t *
ngx_http_intent_cache_find(ngx_http_intent_cache_batch_t *batch, u_char *id)
{
    uint32_t                      hash;
    ngx_uint_t                    i;
    ngx_http_intent_cache_key_t  *key;

    ngx_memcpy(&hash, &id[NGX_HTTP_INTENT_ID_LEN - 4], 4);

    i = (hash * 2654435761U) >> 24;

    for ( ;; ) {
        i &= NGX_HTTP_INTENT_CACHE_SLOTS - 1;

        if (batch->slots[i] == 0) {
            break;
        }

        key = &batch->keys[batch->slots[i] - 1];

        if (ngx_memcmp(key->id, id, NGX_HTTP_INTENT_ID_LEN) == 0) {
            return key;
        }

        i++;
    }

    key = &batch->keys[batch->nkeys++];

    batch->slots[i] = (u_char) batch->nkeys;

    ngx_memcpy(key->id, id, NGX_HTTP_INTENT_ID_LEN);
    key->readers = NULL;

    return key;
}


static void
ngx_http_intent_cache_send_handler(ngx_event_t *ev)
{
    ngx_queue_t                    *q;
    ngx_http_intent_cache_batch_t  *batch;
    ngx_http_intent_cache_reads_t  *reads;

    reads = ngx_http_intent_cache_reads;

    while (!ngx_queue_empty(&reads->waiting)
           && reads->under_way < NGX_HTTP_INTENT_CACHE_UNDER_WAY)
    {
        q = ngx_queue_head(&reads->waiting);
        ngx_queue_remove(q);
        reads->nwaiting--;

        batch = ngx_queue_data(q, ngx_http_intent_cache_batch_t, queue);

        if (ngx_http_intent_cache_send(batch) == NGX_OK) {
            reads->under_way++;
            continue;
        }

        ngx_http_intent_cache_answer(batch, NULL);
    }
}


static ngx_int_t
ngx_http_intent_cache_send(ngx_http_intent_cache_batch_t *batch)
{
    u_char                             *p;
    ngx_uint_t                          i;
    ngx_http_intent_cache_t            *cache;
    ngx_http_intent_cache_main_conf_t  *conf;

    cache = ngx_http_intent_cache;
    conf = cache->conf;

    p = ngx_http_intent_redis_begin(cache->commands,
                     NGX_HTTP_INTENT_REDIS_HEAD_LEN
                     + ngx_http_intent_redis_bulk_len(sizeof("MGET"))
                     + batch->nkeys * ngx_http_intent_cache_key_len(conf));
    if (p == NULL) {
        return NGX_DECLINED;
    }

    p = ngx_http_intent_redis_head(p, batch->nkeys + 1);
    p = ngx_http_intent_redis_literal(p, "MGET");

    for (i = 0; i < batch->nkeys; i++) {
        p = ngx_http_intent_cache_key(p, conf, batch->keys[i].id);
    }

    ngx_http_intent_redis_commit(cache->commands, p,
                                 ngx_http_intent_cache_mget_handler, batch);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, cache->log, 0,
                   "intent cache mget, keys:%ui waiting:%ui",
                   batch->nkeys, ngx_http_intent_cache_reads->nwaiting);

    return NGX_OK;
}


static void
ngx_http_intent_cache_mget_handler(void *data, redisReply *reply)
{
    ngx_http_intent_cache_batch_t  *batch = data;

    ngx_uint_t                      level;
    ngx_http_intent_cache_t        *cache;
    ngx_http_intent_cache_reads_t  *reads;

    cache = ngx_http_intent_cache;
    reads = ngx_http_intent_cache_reads;

    reads->under_way--;

    if (reply && reply->type == REDIS_REPLY_ERROR) {
        level = cache->reads_refused ? NGX_LOG_INFO : NGX_LOG_ERR;
        ngx_log_error(level, cache->log, 0,
                      "redis %V refused to read: \"%*s\"",
                      &cache->conf->redis.name, reply->len, reply->str);
        cache->reads_refused = 1;
        reply = NULL;
    }

    if (reply
        && (reply->type != REDIS_REPLY_ARRAY
            || reply->elements != batch->nkeys))
    {
        reply = NULL;
    }

    if (reply) {
        cache->reads_refused = 0;
    }

    ngx_http_intent_cache_answer(batch, reply);

    if (!ngx_queue_empty(&reads->waiting)) {
        ngx_post_event(&reads->send, &ngx_posted_events);
    }
}


/* reply: NULL, or an array of nkeys elements */

static void
ngx_http_intent_cache_answer(ngx_http_intent_cache_batch_t *batch,
    redisReply *reply)
{
    ngx_int_t                           rc;
    ngx_str_t                           json;
    ngx_uint_t                          i, hits, misses, errors, *count;
    redisReply                         *element;
    ngx_http_intent_cache_reads_t      *reads;
    ngx_http_intent_cache_reader_t     *reader, *next;
    ngx_http_intent_cache_main_conf_t  *conf;

    reads = ngx_http_intent_cache_reads;

    hits = 0;
    misses = 0;
    errors = 0;

    for (i = 0; i < batch->nkeys; i++) {

        ngx_str_null(&json);

        element = reply ? reply->element[i] : NULL;

        if (element == NULL) {
            rc = NGX_ERROR;
            count = &errors;

        } else if (element->type == REDIS_REPLY_STRING) {
            rc = NGX_OK;
            count = &hits;
            json.len = element->len;
            json.data = (u_char *) element->str;

        } else {
            rc = NGX_DECLINED;
            count = &misses;
        }

        for (reader = batch->keys[i].readers; reader; reader = next) {
            next = reader->next;
            (*count)++;

            reader->handler(reader->data, rc, &json);

            reader->next = reads->free_readers;
            reads->free_readers = reader;
        }
    }

    ngx_queue_insert_head(&reads->free, &batch->queue);

    conf = ngx_http_intent_cache->conf;

    if (hits) {
        ngx_http_intent_stat_inc(conf->hits, hits);
    }

    if (misses) {
        ngx_http_intent_stat_inc(conf->misses, misses);
    }

    if (errors) {
        ngx_http_intent_stat_inc(conf->errors, errors);
    }
}


void
ngx_http_intent_cache_get_lost(void)
{
    ngx_queue_t                    *q;
    ngx_http_intent_cache_batch_t  *batch;
    ngx_http_intent_cache_reads_t  *reads;

    reads = ngx_http_intent_cache_reads;

    while (!ngx_queue_empty(&reads->waiting)) {
        q = ngx_queue_head(&reads->waiting);
        ngx_queue_remove(q);
        reads->nwaiting--;

        batch = ngx_queue_data(q, ngx_http_intent_cache_batch_t, queue);
        ngx_http_intent_cache_answer(batch, NULL);
    }
}
