
/*
 * Snapshots: what a client that begins to watch its user's intents is told of
 * what was before: those that are unfinished, and, to who comes back, those
 * that were finished meanwhile.
 *
 * Of the latter, which are of interest to this client only, no more is kept
 * than their ids: they are read as they can be told, a few at a time, and what
 * the client does not take then is read again.
 *
 * It is told as the client takes it, while changes are told at once: an intent
 * that has changed since the client came is left out.
 */


#include "ngx_http_intent_push_private.h"
#include "ngx_http_intent_store.h"


#define NGX_HTTP_INTENT_PUSH_FINISHED     512     /* intents, of each status */
#define NGX_HTTP_INTENT_PUSH_RETRY        1000    /* ms */
#define NGX_HTTP_INTENT_PUSH_SINCE_READS  128     /* under way, of all */
#define NGX_HTTP_INTENT_PUSH_SINCE_POOL   4096

/* of these are read together */
#define NGX_HTTP_INTENT_PUSH_PAGE         16
#define NGX_HTTP_INTENT_PUSH_PAGE_SIZE    65536   /* bytes, or fewer of them */

/*
 * What a change's time may be behind that of one told before it: clocks of
 * hosts differ, and a commit may wait
 */
#define NGX_HTTP_INTENT_PUSH_BEFORE       10000   /* ms */


struct ngx_http_intent_push_snapshot_s {
    ngx_queue_t                        queue;      /* of the topic */
    ngx_queue_t                        wait;       /* for its read */
    ngx_http_intent_push_topic_t      *topic;
    ngx_http_intent_push_client_t     *client;     /* NULL: does not want it,
                                                      while a read is under
                                                      way */
    ngx_http_intent_push_client_t     *owner;      /* then, unless it is gone */
    ngx_queue_t                       *at;         /* the next entry; NULL: the
                                                      topic is not read yet */
    ngx_uint_t                         serial;     /* of the topic, then */
    int64_t                            began;

    int64_t                            since;      /* 0: of no interest */
    u_char                            *ids;        /* of finished ones, newest
                                                      first, 16 bytes each */
    ngx_uint_t                         left;       /* of these */
    ngx_pool_t                        *pool;       /* of what is read */
    ngx_array_t                       *page;       /* the last ones of these;
                                                      NULL: not read */
    ngx_uint_t                         npage;      /* of them, not told */
    ngx_uint_t                         told;       /* of them */
    size_t                             size;       /* of these */
    ngx_uint_t                         limit;      /* of a page */
    ngx_event_t                        event;
    unsigned                           listed:1;   /* the ids are read */
    unsigned                           waiting:1;
    unsigned                           reading:1;
    unsigned                           complete:1;
};


static void ngx_http_intent_push_snapshot_handler(ngx_event_t *ev);
static ngx_int_t ngx_http_intent_push_snapshot_next(
    ngx_http_intent_push_snapshot_t *sn);
static void ngx_http_intent_push_snapshot_entry(
    ngx_http_intent_push_snapshot_t *sn);
static void ngx_http_intent_push_snapshot_finished(
    ngx_http_intent_push_snapshot_t *sn);
static void ngx_http_intent_push_snapshot_row(
    ngx_http_intent_push_snapshot_t *sn, ngx_http_intent_t *in);
static ngx_uint_t ngx_http_intent_push_by_id(
    ngx_http_intent_push_client_t *client, ngx_str_t *id);
static void ngx_http_intent_push_since(ngx_http_intent_push_snapshot_t *sn);
static void ngx_http_intent_push_since_next(void);
static void ngx_http_intent_push_since_read(
    ngx_http_intent_push_snapshot_t *sn);
static ngx_int_t ngx_http_intent_push_since_list(
    ngx_http_intent_push_snapshot_t *sn);
static ngx_int_t ngx_http_intent_push_since_page(
    ngx_http_intent_push_snapshot_t *sn);
static void ngx_http_intent_push_since_list_handler(void *data, ngx_int_t rc,
    ngx_array_t *ids, ngx_uint_t complete);
static void ngx_http_intent_push_since_page_handler(void *data, ngx_int_t rc,
    ngx_array_t *intents);
static ngx_int_t ngx_http_intent_push_since_done(
    ngx_http_intent_push_snapshot_t *sn, ngx_int_t rc);
static void ngx_http_intent_push_page_free(
    ngx_http_intent_push_snapshot_t *sn);
static void ngx_http_intent_push_snapshot_free(
    ngx_http_intent_push_snapshot_t *sn);


ngx_int_t
ngx_http_intent_push_snapshot(ngx_http_intent_push_subscription_t *sub,
    int64_t since)
{
    ngx_http_intent_push_topic_t     *topic;
    ngx_http_intent_push_snapshot_t  *sn;

    topic = sub->topic;

    sn = ngx_calloc(sizeof(ngx_http_intent_push_snapshot_t),
                    ngx_http_intent_push_hub->log);
    if (sn == NULL) {
        return NGX_ERROR;
    }

    sn->topic = topic;
    sn->client = sub->client;
    sn->serial = sub->serial;
    sn->since = (since == NGX_HTTP_INTENT_PUSH_ANEW) ? 0 : since;
    sn->began = ngx_http_intent_now();
    sn->complete = 1;
    sn->limit = 1;

    sn->event.handler = ngx_http_intent_push_snapshot_handler;
    sn->event.data = &ngx_http_intent_push_hub->dumb;
    sn->event.log = ngx_http_intent_push_hub->log;
    sn->event.cancelable = 1;

    sub->client->snapshot = sn;
    ngx_queue_insert_tail(&topic->entries->snapshots, &sn->queue);

    if (topic->live) {
        sn->at = ngx_queue_head(&topic->entries->queue);
    }

    if (sn->since) {
        ngx_http_intent_push_since(sn);
    }

    if (topic->live) {
        ngx_post_event(&sn->event, &ngx_posted_events);
    }

    return NGX_OK;
}


void
ngx_http_intent_push_snapshot_end(ngx_http_intent_push_client_t *client)
{
    ngx_http_intent_push_snapshot_t  *sn;

    sn = client->snapshot;

    if (sn == NULL) {
        return;
    }

    client->snapshot = NULL;

    ngx_queue_remove(&sn->queue);
    sn->client = NULL;

    if (sn->waiting) {
        ngx_queue_remove(&sn->wait);
    }

    if (sn->event.timer_set) {
        ngx_del_timer(&sn->event);
    }

    if (sn->event.posted) {
        ngx_delete_posted_event(&sn->event);
    }

    if (!sn->reading) {
        ngx_http_intent_push_snapshot_free(sn);
        return;
    }

    sn->owner = client;
    client->ended = sn;
}


void
ngx_http_intent_push_snapshot_disown(ngx_http_intent_push_client_t *client)
{
    if (client->ended) {
        client->ended->owner = NULL;
        client->ended = NULL;
    }
}


void
ngx_http_intent_push_snapshots_go(ngx_http_intent_push_topic_t *topic)
{
    ngx_queue_t                      *q;
    ngx_http_intent_push_snapshot_t  *sn;

    for (q = ngx_queue_head(&topic->entries->snapshots);
         q != ngx_queue_sentinel(&topic->entries->snapshots);
         q = ngx_queue_next(q))
    {
        sn = ngx_queue_data(q, ngx_http_intent_push_snapshot_t, queue);

        sn->at = ngx_queue_head(&topic->entries->queue);
        ngx_post_event(&sn->event, &ngx_posted_events);
    }
}


void
ngx_http_intent_push_snapshots_skip(ngx_http_intent_push_entries_t *entries,
    ngx_http_intent_push_entry_t *entry)
{
    ngx_queue_t                      *q;
    ngx_http_intent_push_snapshot_t  *sn;

    for (q = ngx_queue_head(&entries->snapshots);
         q != ngx_queue_sentinel(&entries->snapshots);
         q = ngx_queue_next(q))
    {
        sn = ngx_queue_data(q, ngx_http_intent_push_snapshot_t, queue);

        if (sn->at == &entry->queue) {
            sn->at = ngx_queue_next(sn->at);
        }
    }
}


void
ngx_http_intent_push_more(ngx_http_intent_push_client_t *client)
{
    /* others come before, however fast this client reads */

    if (client->snapshot) {
        ngx_post_event(&client->snapshot->event, &ngx_posted_next_events);
    }
}


/* a part of it, as much as the client and the others allow */

static void
ngx_http_intent_push_snapshot_handler(ngx_event_t *ev)
{
    int64_t                           began;
    ngx_int_t                         rc;
    ngx_uint_t                        complete;
    ngx_http_intent_push_client_t    *client;
    ngx_http_intent_push_snapshot_t  *sn;

    sn = (ngx_http_intent_push_snapshot_t *)
             ((u_char *) ev - offsetof(ngx_http_intent_push_snapshot_t, event));
    client = sn->client;

    if (ev->timedout) {
        ev->timedout = 0;

        if (!sn->listed) {
            ngx_http_intent_push_since(sn);
        }
    }

    do {
        if (!client->transport->ready(client)) {
            ngx_http_intent_push_page_free(sn);
            return;
        }

        if (ngx_http_intent_push_enough()) {
            ngx_post_event(ev, &ngx_posted_next_events);
            return;
        }

        rc = ngx_http_intent_push_snapshot_next(sn);

        /* what it was told may have made the client leave */

    } while (rc == NGX_AGAIN && client->snapshot == sn);

    if (rc != NGX_OK || client->snapshot != sn) {
        return;
    }

    began = sn->began;
    complete = sn->complete;

    ngx_http_intent_push_snapshot_end(client);

    if (client->transport->caught_up) {
        client->transport->caught_up(client, began, complete);
    }
}


/* NGX_AGAIN: there is more; NGX_BUSY: that is still being read */

static ngx_int_t
ngx_http_intent_push_snapshot_next(ngx_http_intent_push_snapshot_t *sn)
{
    if (sn->page) {
        ngx_http_intent_push_snapshot_finished(sn);
        return NGX_AGAIN;
    }

    if (sn->left) {
        if (!sn->reading && !sn->waiting && !sn->event.timer_set) {
            ngx_http_intent_push_since(sn);
        }

        return NGX_BUSY;
    }

    if (sn->at == NULL) {
        return NGX_BUSY;
    }

    if (sn->at != ngx_queue_sentinel(&sn->topic->entries->queue)) {
        ngx_http_intent_push_snapshot_entry(sn);
        return NGX_AGAIN;
    }

    return (sn->since && !sn->listed) ? NGX_BUSY : NGX_OK;
}


static void
ngx_http_intent_push_snapshot_entry(ngx_http_intent_push_snapshot_t *sn)
{
    ngx_http_intent_push_entry_t    *entry;
    ngx_http_intent_push_message_t  *m;

    entry = ngx_queue_data(sn->at, ngx_http_intent_push_entry_t, queue);
    sn->at = ngx_queue_next(sn->at);
    m = entry->message;

    if (m == NULL || entry->serial > sn->serial
        || ngx_http_intent_push_by_id(sn->client, &m->id))
    {
        return;
    }

    /* it is not the entry's any more where telling it forgets that */

    ngx_http_intent_push_message_keep(m);
    ngx_http_intent_push_tell(sn->client, m);
    ngx_http_intent_push_message_free(m);
}


/* the first to be finished first */

static void
ngx_http_intent_push_snapshot_finished(ngx_http_intent_push_snapshot_t *sn)
{
    u_char              id[NGX_HTTP_INTENT_ID_LEN];
    ngx_str_t           name;
    ngx_http_intent_t  *in;

    if (sn->npage == 0) {

        /* as many as the client takes, and fewer of large ones */

        sn->limit = (sn->size > NGX_HTTP_INTENT_PUSH_PAGE_SIZE)
                    ? ngx_max(sn->limit / 2, 1)
                    : ngx_min(sn->limit * 2, NGX_HTTP_INTENT_PUSH_PAGE);
        sn->told = 0;

        ngx_http_intent_push_page_free(sn);
        return;
    }

    sn->npage--;
    sn->left--;
    sn->told++;

    ngx_http_intent_id_format(sn->ids + sn->left * 16, id);

    name.data = id;
    name.len = NGX_HTTP_INTENT_ID_LEN;

    /* it may have been deleted meanwhile */

    in = ngx_http_intent_push_found(sn->page, &name);

    if (in) {
        ngx_http_intent_push_snapshot_row(sn, in);
    }
}


/* the snapshot may be gone then */

static void
ngx_http_intent_push_snapshot_row(ngx_http_intent_push_snapshot_t *sn,
    ngx_http_intent_t *in)
{
    ngx_str_t                        json;
    ngx_pool_t                      *pool;
    ngx_http_intent_push_entry_t    *entry;
    ngx_http_intent_push_message_t  *m;

    entry = ngx_http_intent_push_entry(sn->topic->entries, &in->id);

    if ((entry && entry->serial > sn->serial)
        || ngx_http_intent_push_by_id(sn->client, &in->id))
    {
        return;
    }

    pool = ngx_create_pool(NGX_HTTP_INTENT_PUSH_SINCE_POOL,
                           ngx_http_intent_push_hub->log);
    if (pool == NULL) {
        sn->complete = 0;
        return;
    }

    /* news are for all, and on their way from Redis */

    if (ngx_http_intent_push_is_news(sn->topic, in)) {
        (void) ngx_http_intent_push_tell_row(sn->topic, pool, in);
        ngx_destroy_pool(pool);
        return;
    }

    json = ngx_http_intent_json(pool, in);
    m = json.data ? ngx_http_intent_push_message(&json, pool->log) : NULL;

    sn->size += json.len;
    ngx_destroy_pool(pool);

    if (m == NULL) {
        sn->complete = 0;
        return;
    }

    ngx_http_intent_push_tell(sn->client, m);
    ngx_http_intent_push_message_free(m);
}


/* by that the client is told of it */

static ngx_uint_t
ngx_http_intent_push_by_id(ngx_http_intent_push_client_t *client,
    ngx_str_t *id)
{
    ngx_http_intent_push_topic_t  *topic;

    topic = ngx_http_intent_push_find(id);

    return topic && ngx_http_intent_push_subscription(client, topic) != NULL;
}


u_char *
ngx_http_intent_push_caught_up(u_char *p, int64_t at, ngx_uint_t complete)
{
    p = ngx_cpymem(p, "\"since\":\"", sizeof("\"since\":\"") - 1);
    p = ngx_http_intent_time(p, at);

    return ngx_sprintf(p, "\",\"complete\":%s}", complete ? "true" : "false");
}


/* ---- what was finished meanwhile ---- */

/*
 * After a reload all clients may come at once; what others read in Postgres
 * is not to wait for that.  Nor does a client have two reads under way, however
 * often it comes and goes.
 */

static void
ngx_http_intent_push_since(ngx_http_intent_push_snapshot_t *sn)
{
    ngx_http_intent_push_hub_t  *hub;

    hub = ngx_http_intent_push_hub;

    if (sn->client->ended) {
        return;
    }

    if (hub->nsince < NGX_HTTP_INTENT_PUSH_SINCE_READS) {
        ngx_http_intent_push_since_read(sn);
        return;
    }

    sn->waiting = 1;
    ngx_queue_insert_tail(&hub->since, &sn->wait);
}


static void
ngx_http_intent_push_since_next(void)
{
    ngx_queue_t                      *q;
    ngx_http_intent_push_hub_t       *hub;
    ngx_http_intent_push_snapshot_t  *sn;

    hub = ngx_http_intent_push_hub;

    while (!ngx_queue_empty(&hub->since)
           && hub->nsince < NGX_HTTP_INTENT_PUSH_SINCE_READS)
    {
        q = ngx_queue_head(&hub->since);
        ngx_queue_remove(q);

        sn = ngx_queue_data(q, ngx_http_intent_push_snapshot_t, wait);
        sn->waiting = 0;

        ngx_http_intent_push_since_read(sn);
    }
}


static void
ngx_http_intent_push_since_read(ngx_http_intent_push_snapshot_t *sn)
{
    ngx_int_t  rc;

    sn->pool = ngx_create_pool(NGX_HTTP_INTENT_PUSH_SINCE_POOL,
                               ngx_http_intent_push_hub->log);

    rc = NGX_ERROR;

    if (sn->pool) {
        rc = sn->listed ? ngx_http_intent_push_since_page(sn)
                        : ngx_http_intent_push_since_list(sn);
    }

    if (rc == NGX_OK) {
        sn->reading = 1;
        ngx_http_intent_push_hub->nsince++;
        return;
    }

    ngx_http_intent_push_page_free(sn);
    ngx_add_timer(&sn->event, NGX_HTTP_INTENT_PUSH_RETRY);
}


static ngx_int_t
ngx_http_intent_push_since_list(ngx_http_intent_push_snapshot_t *sn)
{
    ngx_http_intent_list_t  list;

    ngx_memzero(&list, sizeof(ngx_http_intent_list_t));

    list.user_id = sn->client->user;
    list.limit = NGX_HTTP_INTENT_PUSH_FINISHED;
    list.since = ngx_max(sn->since - NGX_HTTP_INTENT_PUSH_BEFORE, 1);
    list.statuses = 1 << NGX_HTTP_INTENT_SUCCESS
                    | 1 << NGX_HTTP_INTENT_FAILED
                    | 1 << NGX_HTTP_INTENT_EXPIRED
                    | 1 << NGX_HTTP_INTENT_CANCELLED;

    return ngx_http_intent_store_changed(&list, sn->pool,
                                      ngx_http_intent_push_since_list_handler,
                                      sn);
}


static ngx_int_t
ngx_http_intent_push_since_page(ngx_http_intent_push_snapshot_t *sn)
{
    u_char                   *p;
    ngx_uint_t                i;
    ngx_http_intent_known_t  *known;

    sn->npage = ngx_min(sn->left, sn->limit);
    sn->told = 0;
    sn->size = 0;

    known = ngx_pcalloc(sn->pool, sn->npage * (sizeof(ngx_http_intent_known_t)
                                               + NGX_HTTP_INTENT_ID_LEN));
    if (known == NULL) {
        return NGX_ERROR;
    }

    p = (u_char *) &known[sn->npage];

    for (i = 0; i < sn->npage; i++) {
        known[i].id.data = p;
        known[i].id.len = NGX_HTTP_INTENT_ID_LEN;

        ngx_http_intent_id_format(sn->ids + (sn->left - 1 - i) * 16, p);
        p += NGX_HTTP_INTENT_ID_LEN;
    }

    return ngx_http_intent_store_newer(known, sn->npage, sn->pool,
                                      ngx_http_intent_push_since_page_handler,
                                      sn);
}


static void
ngx_http_intent_push_since_list_handler(void *data, ngx_int_t rc,
    ngx_array_t *ids, ngx_uint_t complete)
{
    ngx_http_intent_push_snapshot_t *sn = data;

    if (rc == NGX_OK && sn->client && ids->nelts) {
        sn->ids = ngx_alloc(ids->nelts * 16, ngx_http_intent_push_hub->log);

        if (sn->ids) {
            ngx_memcpy(sn->ids, ids->elts, ids->nelts * 16);
            sn->left = ids->nelts;

        } else {
            rc = NGX_ERROR;
        }
    }

    if (ngx_http_intent_push_since_done(sn, rc) == NGX_OK) {
        sn->listed = 1;
        sn->complete = complete;

        ngx_http_intent_push_page_free(sn);
        ngx_http_intent_push_more(sn->client);
    }
}


static void
ngx_http_intent_push_since_page_handler(void *data, ngx_int_t rc,
    ngx_array_t *intents)
{
    ngx_http_intent_push_snapshot_t *sn = data;

    if (ngx_http_intent_push_since_done(sn, rc) == NGX_OK) {
        sn->page = intents;

        ngx_post_event(&sn->event, &ngx_posted_events);
    }
}


/* NGX_DECLINED: the snapshot is gone, or what it wants will be read again */

static ngx_int_t
ngx_http_intent_push_since_done(ngx_http_intent_push_snapshot_t *sn,
    ngx_int_t rc)
{
    ngx_http_intent_push_client_t  *client;

    sn->reading = 0;
    client = sn->client;

    if (client == NULL) {
        client = sn->owner;
        ngx_http_intent_push_snapshot_free(sn);

        sn = NULL;
    }

    ngx_http_intent_push_hub->nsince--;
    ngx_http_intent_push_since_next();

    if (sn == NULL) {
        if (client) {
            client->ended = NULL;

            /* what it has asked for since has waited for this */

            if (client->snapshot && client->snapshot->since) {
                ngx_http_intent_push_since(client->snapshot);
            }
        }

        return NGX_DECLINED;
    }

    if (rc == NGX_OK) {
        return NGX_OK;
    }

    ngx_http_intent_push_page_free(sn);
    ngx_add_timer(&sn->event, NGX_HTTP_INTENT_PUSH_RETRY);

    if (!sn->listed && client->transport->failed) {
        client->transport->failed(client);
    }

    return NGX_DECLINED;
}


/* what is left of it is read when the client takes more */

static void
ngx_http_intent_push_page_free(ngx_http_intent_push_snapshot_t *sn)
{
    if (sn->reading || sn->pool == NULL) {
        return;
    }

    if (sn->page && sn->npage) {
        sn->limit = ngx_max(sn->told, 1);
    }

    ngx_destroy_pool(sn->pool);

    sn->pool = NULL;
    sn->page = NULL;
    sn->npage = 0;
}


static void
ngx_http_intent_push_snapshot_free(ngx_http_intent_push_snapshot_t *sn)
{
    if (sn->pool) {
        ngx_destroy_pool(sn->pool);
    }

    if (sn->ids) {
        ngx_free(sn->ids);
    }

    ngx_free(sn);
}
