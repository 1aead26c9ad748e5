
/*
 * Reading what is watched: once when it begins, and again whenever changes
 * may have been missed; once a second while Redis does not tell them.
 *
 * The first time the cache may answer, as it does to a GET.  After an outage
 * it may still hold what was before it, so Postgres is asked then.
 */


#include "ngx_http_intent_push_private.h"
#include "ngx_http_intent_store.h"


#define NGX_HTTP_INTENT_PUSH_POLL        1000   /* ms */
#define NGX_HTTP_INTENT_PUSH_READS       512    /* intents under way */
#define NGX_HTTP_INTENT_PUSH_LIST        100    /* intents of a user */
#define NGX_HTTP_INTENT_PUSH_UNFINISHED  512    /* of them, for snapshots */
#define NGX_HTTP_INTENT_PUSH_READ_POOL   2048


/* the intents of one statement, and who asks for each */
struct ngx_http_intent_push_batch_s {
    ngx_pool_t                    *pool;
    ngx_array_t                    known;       /* ngx_http_intent_known_t */
    ngx_array_t                    topics;      /* of these, pointers */
};


/* the list of a user */
typedef struct {
    ngx_http_intent_push_topic_t  *topic;
    ngx_pool_t                    *pool;
    ngx_uint_t                     round;
} ngx_http_intent_push_read_t;


static void ngx_http_intent_push_poll_handler(ngx_event_t *ev);
static void ngx_http_intent_push_pump(ngx_event_t *ev);
static void ngx_http_intent_push_start(ngx_http_intent_push_topic_t *topic);
static void ngx_http_intent_push_cache_handler(void *data, ngx_int_t rc,
    ngx_str_t *json);
static ngx_int_t ngx_http_intent_push_get(ngx_http_intent_push_topic_t *topic,
    ngx_str_t *id, ngx_uint_t version);
static ngx_http_intent_push_batch_t *ngx_http_intent_push_batch(void);
static void ngx_http_intent_push_send(ngx_http_intent_push_batch_t *batch);
static void ngx_http_intent_push_get_handler(void *data, ngx_int_t rc,
    ngx_array_t *intents);
static ngx_http_intent_push_message_t *ngx_http_intent_push_row(
    ngx_pool_t *pool, ngx_http_intent_t *in, ngx_str_t *json);
static ngx_int_t ngx_http_intent_push_list(
    ngx_http_intent_push_topic_t *topic);
static void ngx_http_intent_push_list_handler(void *data, ngx_int_t rc,
    ngx_array_t *intents);
static ngx_int_t ngx_http_intent_push_list_row(
    ngx_http_intent_push_topic_t *topic, ngx_pool_t *pool,
    ngx_http_intent_t *in);
static void ngx_http_intent_push_get_unlisted(
    ngx_http_intent_push_topic_t *topic);
static ngx_http_intent_push_read_t *ngx_http_intent_push_read_create(
    ngx_http_intent_push_topic_t *topic);
static void ngx_http_intent_push_done(ngx_http_intent_push_topic_t *topic,
    ngx_int_t rc);


void
ngx_http_intent_push_read_init(ngx_http_intent_push_hub_t *hub)
{
    ngx_queue_init(&hub->polled);
    ngx_queue_init(&hub->reads);

    hub->poll.handler = ngx_http_intent_push_poll_handler;
    hub->poll.data = &hub->dumb;
    hub->poll.log = hub->log;
    hub->poll.cancelable = 1;

    hub->pump.handler = ngx_http_intent_push_pump;
    hub->pump.data = &hub->dumb;
    hub->pump.log = hub->log;
}


void
ngx_http_intent_push_poll(ngx_http_intent_push_topic_t *topic)
{
    ngx_http_intent_push_hub_t  *hub;

    hub = ngx_http_intent_push_hub;

    if (topic->in_polled || topic->final || topic->dead) {
        return;
    }

    topic->in_polled = 1;
    ngx_queue_insert_tail(&hub->polled, &topic->polled);

    if (!hub->poll.timer_set) {
        ngx_add_timer(&hub->poll, NGX_HTTP_INTENT_PUSH_POLL);
    }
}


static void
ngx_http_intent_push_poll_handler(ngx_event_t *ev)
{
    ngx_queue_t                   *q;
    ngx_http_intent_push_hub_t    *hub;
    ngx_http_intent_push_topic_t  *topic;

    hub = ngx_http_intent_push_hub;

    if (ngx_queue_empty(&hub->polled)) {
        return;
    }

    ngx_add_timer(ev, NGX_HTTP_INTENT_PUSH_POLL);

    /* more than Postgres gives in a second: the round before goes on */

    if (!ngx_queue_empty(&hub->reads)) {
        return;
    }

    for (q = ngx_queue_head(&hub->polled);
         q != ngx_queue_sentinel(&hub->polled);
         q = ngx_queue_next(q))
    {
        topic = ngx_queue_data(q, ngx_http_intent_push_topic_t, polled);

        if (topic->reading == 0) {
            ngx_http_intent_push_read(topic);
        }
    }
}


void
ngx_http_intent_push_read(ngx_http_intent_push_topic_t *topic)
{
    ngx_http_intent_push_hub_t  *hub;

    hub = ngx_http_intent_push_hub;

    if (topic->in_read || topic->final || topic->dead) {
        return;
    }

    topic->in_read = 1;
    ngx_queue_insert_tail(&hub->reads, &topic->read);

    if (hub->nreads < NGX_HTTP_INTENT_PUSH_READS) {
        ngx_post_event(&hub->pump, &ngx_posted_events);
    }
}


void
ngx_http_intent_push_read_cancel(ngx_http_intent_push_topic_t *topic)
{
    if (topic->in_read) {
        ngx_queue_remove(&topic->read);
        topic->in_read = 0;
    }

    if (topic->in_polled) {
        ngx_queue_remove(&topic->polled);
        topic->in_polled = 0;
    }
}


static void
ngx_http_intent_push_pump(ngx_event_t *ev)
{
    ngx_queue_t                   *q;
    ngx_http_intent_push_hub_t    *hub;
    ngx_http_intent_push_topic_t  *topic;

    hub = ngx_http_intent_push_hub;

    while (hub->nreads < NGX_HTTP_INTENT_PUSH_READS
           && !ngx_queue_empty(&hub->reads))
    {
        q = ngx_queue_head(&hub->reads);
        ngx_queue_remove(q);

        topic = ngx_queue_data(q, ngx_http_intent_push_topic_t, read);
        topic->in_read = 0;

        ngx_http_intent_push_start(topic);
    }

    if (hub->batch) {
        ngx_http_intent_push_send(hub->batch);
    }
}


static void
ngx_http_intent_push_start(ngx_http_intent_push_topic_t *topic)
{
    ngx_int_t  rc;

    topic->reading++;
    ngx_http_intent_push_hub->nreads++;

    if (topic->entries) {
        rc = ngx_http_intent_push_list(topic);

    } else {
        rc = NGX_DECLINED;

        if (topic->up && !topic->live) {
            rc = ngx_http_intent_cache_get(&topic->node.str,
                                          ngx_http_intent_push_cache_handler,
                                          topic);
        }

        if (rc != NGX_OK) {
            rc = ngx_http_intent_push_get(topic, &topic->node.str,
                                          topic->last ? topic->last->version
                                                      : 0);
        }
    }

    if (rc != NGX_OK) {
        ngx_http_intent_push_done(topic, NGX_ERROR);
    }
}


static void
ngx_http_intent_push_cache_handler(void *data, ngx_int_t rc, ngx_str_t *json)
{
    ngx_http_intent_push_topic_t  *topic = data;

    ngx_http_intent_push_message_t  *m;

    if (rc == NGX_OK) {
        m = ngx_http_intent_push_message(json, ngx_http_intent_push_hub->log);

        if (m) {
            ngx_http_intent_push_told(topic, m);
            ngx_http_intent_push_message_free(m);
            ngx_http_intent_push_done(topic, NGX_OK);
            return;
        }
    }

    if (topic->dead
        || ngx_http_intent_push_get(topic, &topic->node.str, 0) != NGX_OK)
    {
        ngx_http_intent_push_done(topic, NGX_ERROR);
    }
}


/* takes it into the batch that leaves in this turn of the loop */

static ngx_int_t
ngx_http_intent_push_get(ngx_http_intent_push_topic_t *topic, ngx_str_t *id,
    ngx_uint_t version)
{
    ngx_http_intent_known_t        *known;
    ngx_http_intent_push_batch_t   *batch;
    ngx_http_intent_push_topic_t  **t;

    batch = ngx_http_intent_push_batch();
    if (batch == NULL) {
        return NGX_ERROR;
    }

    known = ngx_array_push(&batch->known);
    if (known == NULL) {
        return NGX_ERROR;
    }

    known->version = version;
    known->id.len = id->len;
    known->id.data = ngx_pstrdup(batch->pool, id);
    t = known->id.data ? ngx_array_push(&batch->topics) : NULL;

    if (t == NULL) {
        batch->known.nelts--;
        return NGX_ERROR;
    }

    *t = topic;

    return NGX_OK;
}


static ngx_http_intent_push_batch_t *
ngx_http_intent_push_batch(void)
{
    ngx_pool_t                    *pool;
    ngx_http_intent_push_hub_t    *hub;
    ngx_http_intent_push_batch_t  *batch;

    hub = ngx_http_intent_push_hub;

    if (hub->batch) {
        return hub->batch;
    }

    pool = ngx_create_pool(NGX_HTTP_INTENT_PUSH_READ_POOL, hub->log);
    if (pool == NULL) {
        return NULL;
    }

    batch = ngx_palloc(pool, sizeof(ngx_http_intent_push_batch_t));

    if (batch == NULL
        || ngx_array_init(&batch->known, pool, 4,
                          sizeof(ngx_http_intent_known_t))
           != NGX_OK
        || ngx_array_init(&batch->topics, pool, 4,
                          sizeof(ngx_http_intent_push_topic_t *))
           != NGX_OK)
    {
        ngx_destroy_pool(pool);
        return NULL;
    }

    batch->pool = pool;
    hub->batch = batch;

    ngx_post_event(&hub->pump, &ngx_posted_events);

    return batch;
}


static void
ngx_http_intent_push_send(ngx_http_intent_push_batch_t *batch)
{
    ngx_http_intent_push_hub->batch = NULL;

    if (ngx_http_intent_store_newer(batch->known.elts, batch->known.nelts,
                                    batch->pool,
                                    ngx_http_intent_push_get_handler, batch)
        != NGX_OK)
    {
        ngx_http_intent_push_get_handler(batch, NGX_ERROR, NULL);
    }
}


static void
ngx_http_intent_push_get_handler(void *data, ngx_int_t rc,
    ngx_array_t *intents)
{
    ngx_http_intent_push_batch_t  *batch = data;

    ngx_int_t                       told;
    ngx_uint_t                      i;
    ngx_http_intent_t              *in;
    ngx_http_intent_known_t        *known;
    ngx_http_intent_push_topic_t   *topic, **topics;

    known = batch->known.elts;
    topics = batch->topics.elts;

    for (i = 0; i < batch->topics.nelts; i++) {
        topic = topics[i];
        told = rc;

        if (rc == NGX_OK && !topic->dead) {
            in = ngx_http_intent_push_found(intents, &known[i].id);

            if (in) {
                told = ngx_http_intent_push_tell_row(topic, batch->pool, in);

            } else if (known[i].version == 0 && topic->entries == NULL) {
                ngx_http_intent_push_nothing(topic);
            }
        }

        ngx_http_intent_push_done(topic, told);
    }

    ngx_destroy_pool(batch->pool);
}


ngx_http_intent_t *
ngx_http_intent_push_found(ngx_array_t *intents, ngx_str_t *id)
{
    ngx_uint_t          i;
    ngx_http_intent_t  *in;

    in = intents->elts;

    for (i = 0; i < intents->nelts; i++) {
        if (ngx_memcmp(in[i].id.data, id->data, NGX_HTTP_INTENT_ID_LEN) == 0) {
            return &in[i];
        }
    }

    return NULL;
}


static ngx_http_intent_push_message_t *
ngx_http_intent_push_row(ngx_pool_t *pool, ngx_http_intent_t *in,
    ngx_str_t *json)
{
    *json = ngx_http_intent_json(pool, in);

    return json->data ? ngx_http_intent_push_message(json, pool->log) : NULL;
}


/* NGX_ERROR: no memory, to be read again; the topic may be gone then */

ngx_int_t
ngx_http_intent_push_tell_row(ngx_http_intent_push_topic_t *topic,
    ngx_pool_t *pool, ngx_http_intent_t *in)
{
    ngx_str_t                        json;
    ngx_http_intent_push_message_t  *m;

    m = ngx_http_intent_push_row(pool, in, &json);

    if (m == NULL) {
        return NGX_ERROR;
    }

    if (topic->up && topic->entries == NULL) {
        ngx_http_intent_cache_fill(&in->id, &json);
    }

    ngx_http_intent_push_told(topic, m);
    ngx_http_intent_push_message_free(m);

    return NGX_OK;
}


/*
 * At first what is unfinished; later everything of late, for an intent may
 * have come and been finished unseen.
 */

static ngx_int_t
ngx_http_intent_push_list(ngx_http_intent_push_topic_t *topic)
{
    ngx_int_t                     rc;
    ngx_http_intent_list_t        list;
    ngx_http_intent_push_read_t  *read;

    read = ngx_http_intent_push_read_create(topic);
    if (read == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(&list, sizeof(ngx_http_intent_list_t));

    list.limit = topic->live ? NGX_HTTP_INTENT_PUSH_LIST
                             : NGX_HTTP_INTENT_PUSH_UNFINISHED;
    list.user_id = topic->node.str;
    list.user_id.data += sizeof(NGX_HTTP_INTENT_CACHE_USER) - 1;
    list.user_id.len -= sizeof(NGX_HTTP_INTENT_CACHE_USER) - 1;

    if (!topic->live) {
        list.statuses = 1 << NGX_HTTP_INTENT_PENDING
                        | 1 << NGX_HTTP_INTENT_EXECUTING;
    }

    read->round = ++topic->entries->round;

    rc = ngx_http_intent_store_list(&list, read->pool,
                                    ngx_http_intent_push_list_handler, read);
    if (rc != NGX_OK) {
        ngx_destroy_pool(read->pool);
    }

    return rc;
}


static void
ngx_http_intent_push_list_handler(void *data, ngx_int_t rc,
    ngx_array_t *intents)
{
    ngx_http_intent_push_read_t  *read = data;

    ngx_uint_t                     i;
    ngx_http_intent_t             *in;
    ngx_http_intent_push_topic_t  *topic;

    topic = read->topic;

    if (rc != NGX_OK || topic->dead) {
        ngx_destroy_pool(read->pool);
        ngx_http_intent_push_done(topic, NGX_ERROR);
        return;
    }

    in = intents->elts;

    /* the oldest first */

    for (i = intents->nelts; i > 0 && !topic->dead; i--) {

        if (ngx_http_intent_push_is_news(topic, &in[i - 1])) {
            rc |= ngx_http_intent_push_list_row(topic, read->pool, &in[i - 1]);
        }
    }

    if (!topic->dead) {
        if (topic->live && read->round == topic->entries->round) {
            ngx_http_intent_push_get_unlisted(topic);
        }

        if (!topic->live && rc == NGX_OK) {
            topic->live = 1;
            ngx_http_intent_push_snapshots_go(topic);
        }
    }

    ngx_destroy_pool(read->pool);
    ngx_http_intent_push_done(topic, rc);
}


/* the first time each client is told as it takes it */

static ngx_int_t
ngx_http_intent_push_list_row(ngx_http_intent_push_topic_t *topic,
    ngx_pool_t *pool, ngx_http_intent_t *in)
{
    ngx_int_t                        rc;
    ngx_str_t                        json;
    ngx_http_intent_push_message_t  *m;

    if (topic->live) {
        return ngx_http_intent_push_tell_row(topic, pool, in);
    }

    m = ngx_http_intent_push_row(pool, in, &json);

    if (m == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_http_intent_push_known(topic, m);
    ngx_http_intent_push_message_free(m);

    return rc;
}


ngx_uint_t
ngx_http_intent_push_is_news(ngx_http_intent_push_topic_t *topic,
    ngx_http_intent_t *in)
{
    ngx_http_intent_push_entry_t    *entry;
    ngx_http_intent_push_entries_t  *entries;

    entries = topic->entries;
    entry = ngx_http_intent_push_entry(entries, &in->id);

    if (entry) {
        entry->round = entries->round;
        return in->version > entry->version;
    }

    return !ngx_http_intent_is_final(in->status)
           || in->updated_at > entries->since;
}


/* the unfinished ones that are too old for the list */

static void
ngx_http_intent_push_get_unlisted(ngx_http_intent_push_topic_t *topic)
{
    ngx_queue_t                     *q;
    ngx_http_intent_push_entry_t    *entry;
    ngx_http_intent_push_entries_t  *entries;

    entries = topic->entries;

    for (q = ngx_queue_head(&entries->queue);
         q != ngx_queue_sentinel(&entries->queue);
         q = ngx_queue_next(q))
    {
        entry = ngx_queue_data(q, ngx_http_intent_push_entry_t, queue);

        if (entry->message == NULL || entry->round == entries->round) {
            continue;
        }

        topic->reading++;
        ngx_http_intent_push_hub->nreads++;

        if (ngx_http_intent_push_get(topic, &entry->node.str, entry->version)
            != NGX_OK)
        {

            /* the topic is not gone, for its list is still being read */
            ngx_http_intent_push_done(topic, NGX_ERROR);
            return;
        }
    }
}


static ngx_http_intent_push_read_t *
ngx_http_intent_push_read_create(ngx_http_intent_push_topic_t *topic)
{
    ngx_pool_t                   *pool;
    ngx_http_intent_push_read_t  *read;

    pool = ngx_create_pool(NGX_HTTP_INTENT_PUSH_READ_POOL,
                           ngx_http_intent_push_hub->log);
    if (pool == NULL) {
        return NULL;
    }

    read = ngx_pcalloc(pool, sizeof(ngx_http_intent_push_read_t));
    if (read == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    read->pool = pool;
    read->topic = topic;

    return read;
}


/* where Postgres was away, it is asked again; the topic may be gone then */

static void
ngx_http_intent_push_done(ngx_http_intent_push_topic_t *topic, ngx_int_t rc)
{
    ngx_http_intent_push_hub_t  *hub;

    hub = ngx_http_intent_push_hub;

    if (rc == NGX_ERROR) {
        ngx_http_intent_push_poll(topic);

        if (!topic->live && !topic->dead) {
            ngx_http_intent_push_failed(topic);
        }

    } else if (topic->up && topic->in_polled) {
        ngx_queue_remove(&topic->polled);
        topic->in_polled = 0;
    }

    hub->nreads--;
    topic->reading--;

    ngx_http_intent_push_topic_release(topic);

    if (!ngx_queue_empty(&hub->reads)) {
        ngx_post_event(&hub->pump, &ngx_posted_events);
    }
}
