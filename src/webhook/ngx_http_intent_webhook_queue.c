
/*
 * The queue of a webhook, in the worker that tells it.
 *
 * Of each intent one version at a time is here, and the next is read when that
 * one is settled: so they are told in order.  What was taken is deleted from
 * Postgres, what was not is due later; several share a statement while another
 * is under way.
 *
 * Where nobody answers, the webhook as a whole pauses, longer each time, and
 * then one delivery goes to see.
 */


#include "ngx_http_intent_webhook_private.h"



/* ms between looks at what is due, without a wake-up; and without Redis */
#define NGX_HTTP_INTENT_WEBHOOK_POLL       1000
#define NGX_HTTP_INTENT_WEBHOOK_POLL_ONLY  200

#define NGX_HTTP_INTENT_WEBHOOK_PAUSE      1000     /* ms, the first */
#define NGX_HTTP_INTENT_WEBHOOK_LONGEST    5000

#define NGX_HTTP_INTENT_WEBHOOK_COUNT      5000     /* ms between */
#define NGX_HTTP_INTENT_WEBHOOK_COUNTED    20000    /* rows */
#define NGX_HTTP_INTENT_WEBHOOK_FORGET     60000    /* ms between */

/* of what is to be sent: where it is more, no more is read ahead */
#define NGX_HTTP_INTENT_WEBHOOK_BYTES      (4 * 1024 * 1024)

/* ms that a worker which exits waits for answers */
#define NGX_HTTP_INTENT_WEBHOOK_GRACE      5000


static void ngx_http_intent_webhook_timer(
    ngx_http_intent_webhook_queue_t *q, ngx_event_t *ev,
    ngx_event_handler_pt handler);
static ngx_int_t ngx_http_intent_webhook_channel(ngx_cycle_t *cycle,
    ngx_http_intent_webhook_queue_t *q);
static void ngx_http_intent_webhook_held(void *data, ngx_uint_t held);
static void ngx_http_intent_webhook_lost(ngx_http_intent_webhook_queue_t *q);
static void ngx_http_intent_webhook_up(void *data, ngx_uint_t up);
static void ngx_http_intent_webhook_message(void *data, ngx_str_t *message);
static void ngx_http_intent_webhook_wake_handler(ngx_event_t *ev);
static void ngx_http_intent_webhook_poll_handler(ngx_event_t *ev);
static void ngx_http_intent_webhook_open_handler(ngx_event_t *ev);
static ngx_uint_t ngx_http_intent_webhook_may_fly(
    ngx_http_intent_webhook_queue_t *q);
static void ngx_http_intent_webhook_settle(
    ngx_http_intent_webhook_queue_t *q);
static void ngx_http_intent_webhook_settled(void *data, ngx_int_t rc,
    ngx_uint_t n);
static void ngx_http_intent_webhook_fetch(ngx_http_intent_webhook_queue_t *q);
static ngx_uint_t ngx_http_intent_webhook_ids(ngx_queue_t *queue,
    u_char *ids, ngx_uint_t n);
static void ngx_http_intent_webhook_fetched(void *data, ngx_int_t rc,
    void *rows, ngx_uint_t n);
static void ngx_http_intent_webhook_counted(void *data, ngx_int_t rc,
    ngx_uint_t n);
static void ngx_http_intent_webhook_forgot(void *data, ngx_int_t rc,
    ngx_uint_t n);
static void ngx_http_intent_webhook_drain(void *data);
static void ngx_http_intent_webhook_grace_handler(ngx_event_t *ev);
static void ngx_http_intent_webhook_drained(
    ngx_http_intent_webhook_queue_t *q);
static void ngx_http_intent_webhook_clear(ngx_queue_t *queue);


ngx_int_t
ngx_http_intent_webhook_queue_init(ngx_cycle_t *cycle,
    ngx_http_intent_webhook_t *wh)
{
    ngx_http_intent_webhook_queue_t  *q;

    q = ngx_pcalloc(cycle->pool, sizeof(ngx_http_intent_webhook_queue_t));
    if (q == NULL) {
        return NGX_ERROR;
    }

    wh->queue = q;

    q->webhook = wh;
    q->log = cycle->log;
    q->dumb.fd = (ngx_socket_t) -1;
    q->dumb.data = q;

    ngx_queue_init(&q->ready);
    ngx_queue_init(&q->flying);
    ngx_queue_init(&q->told);
    ngx_queue_init(&q->settling);

    ngx_http_intent_webhook_timer(q, &q->poll,
                                  ngx_http_intent_webhook_poll_handler);
    ngx_http_intent_webhook_timer(q, &q->open,
                                  ngx_http_intent_webhook_open_handler);
    ngx_http_intent_webhook_timer(q, &q->grace,
                                  ngx_http_intent_webhook_grace_handler);
    ngx_http_intent_webhook_timer(q, &q->wake,
                                  ngx_http_intent_webhook_wake_handler);

    /* a worker that was killed may have left another number */

    ngx_http_intent_stat_set(wh->waiting, 0);
    ngx_http_intent_stat_set(wh->breaker, 0);

    if (ngx_http_intent_webhook_channel(cycle, q) != NGX_OK
        || ngx_http_intent_on_drain(ngx_http_intent_webhook_drain, q)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    q->store = ngx_http_intent_store_webhook_create(&wh->uri,
                                                 ngx_http_intent_webhook_held,
                                                 ngx_http_intent_webhook_up,
                                                 q);

    return q->store ? NGX_OK : NGX_ERROR;
}


static void
ngx_http_intent_webhook_timer(ngx_http_intent_webhook_queue_t *q,
    ngx_event_t *ev, ngx_event_handler_pt handler)
{
    ev->handler = handler;
    ev->data = &q->dumb;
    ev->log = q->log;
    ev->cancelable = 1;
}


static ngx_int_t
ngx_http_intent_webhook_channel(ngx_cycle_t *cycle,
    ngx_http_intent_webhook_queue_t *q)
{
    u_char     *p;
    ngx_str_t  *channel;

    channel = &q->watch.node.str;

    channel->len = sizeof("wake:") - 1 + q->webhook->uri.len;
    channel->data = ngx_pnalloc(cycle->pool, channel->len);

    if (channel->data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(channel->data, "wake:", sizeof("wake:") - 1);
    ngx_memcpy(p, q->webhook->uri.data, q->webhook->uri.len);

    q->watch.handler = ngx_http_intent_webhook_message;
    q->watch.data = q;

    return NGX_OK;
}


void
ngx_http_intent_webhook_queue_exit(ngx_http_intent_webhook_t *wh)
{
    ngx_queue_t                         *item;
    ngx_http_intent_webhook_queue_t     *q;
    ngx_http_intent_webhook_delivery_t  *d;

    q = wh->queue;

    if (q == NULL) {
        return;
    }

    /* what is under way has been ended with all background posts */

    for (item = ngx_queue_head(&q->flying);
         item != ngx_queue_sentinel(&q->flying);
         item = ngx_queue_next(item))
    {
        d = ngx_queue_data(item, ngx_http_intent_webhook_delivery_t, queue);
        d->post = NULL;
    }

    ngx_http_intent_webhook_clear(&q->ready);
    ngx_http_intent_webhook_clear(&q->flying);
    ngx_http_intent_webhook_clear(&q->told);
    ngx_http_intent_webhook_clear(&q->settling);

    wh->queue = NULL;
}


/* ---- who tells it ---- */


static void
ngx_http_intent_webhook_held(void *data, ngx_uint_t held)
{
    ngx_http_intent_webhook_queue_t *q = data;

    if (!held) {
        ngx_log_error(NGX_LOG_NOTICE, q->log, 0,
                      "intent webhook \"%V\" is told by this worker no "
                      "longer, its session was lost", &q->webhook->uri);

        ngx_http_intent_webhook_lost(q);
        return;
    }

    ngx_log_error(NGX_LOG_NOTICE, q->log, 0,
                  "intent webhook \"%V\" is told by this worker",
                  &q->webhook->uri);

    q->held = 1;
    q->due = 1;
    q->row = 0;
    q->counted_at = ngx_current_msec - NGX_HTTP_INTENT_WEBHOOK_COUNT;
    q->forgot_at = ngx_current_msec;

    ngx_http_intent_webhook_queue_pause(q, 0);

    if (!q->watched && ngx_http_intent_cache_watch(&q->watch) == NGX_OK) {
        q->watched = 1;
    }

    ngx_add_timer(&q->poll, 1);
}


/*
 * What has been told is still to be settled.  What is under way is ended, for
 * another worker will tell it, and what comes after it.
 */

static void
ngx_http_intent_webhook_lost(ngx_http_intent_webhook_queue_t *q)
{
    q->held = 0;

    ngx_http_intent_webhook_clear(&q->ready);
    ngx_http_intent_webhook_clear(&q->flying);

    if (q->poll.timer_set) {
        ngx_del_timer(&q->poll);
    }

    if (q->watched) {
        ngx_http_intent_cache_unwatch(&q->watch);
        q->watched = 0;
    }

    ngx_http_intent_webhook_queue_pause(q, 0);

    ngx_http_intent_stat_set(q->webhook->waiting, 0);
}


static void
ngx_http_intent_webhook_up(void *data, ngx_uint_t up)
{
    ngx_http_intent_webhook_queue_t *q = data;

    q->up = up;
    q->later = 0;

    ngx_http_intent_webhook_queue_run(q);
}


/* ---- what makes it run ---- */


static void
ngx_http_intent_webhook_message(void *data, ngx_str_t *message)
{
    ngx_http_intent_webhook_queue_wake(data);
}


void
ngx_http_intent_webhook_queue_wake(ngx_http_intent_webhook_queue_t *q)
{
    if (q->held) {
        ngx_post_event(&q->wake, &ngx_posted_events);
    }
}


static void
ngx_http_intent_webhook_wake_handler(ngx_event_t *ev)
{
    ngx_connection_t                 *dumb;
    ngx_http_intent_webhook_queue_t  *q;

    dumb = ev->data;
    q = dumb->data;

    q->due = 1;

    ngx_http_intent_webhook_queue_run(q);
}


static void
ngx_http_intent_webhook_poll_handler(ngx_event_t *ev)
{
    ngx_connection_t                 *dumb;
    ngx_http_intent_webhook_queue_t  *q;

    dumb = ev->data;
    q = dumb->data;

    q->due = 1;
    q->later = 0;

    if (q->up && !q->counting
        && ngx_current_msec - q->counted_at >= NGX_HTTP_INTENT_WEBHOOK_COUNT
        && ngx_http_intent_store_webhook_count(q->store,
                                           NGX_HTTP_INTENT_WEBHOOK_COUNTED,
                                           ngx_http_intent_webhook_counted)
           == NGX_OK)
    {
        q->counting = 1;
    }

    /* while it takes what it is told, old ones are told, too */

    if (q->up && !q->forgetting
        && q->breaker != NGX_HTTP_INTENT_WEBHOOK_CLOSED
        && ngx_current_msec - q->forgot_at >= NGX_HTTP_INTENT_WEBHOOK_FORGET
        && ngx_http_intent_store_webhook_forget(q->store, q->webhook->max_age,
                                                ngx_http_intent_webhook_forgot)
           == NGX_OK)
    {
        q->forgetting = 1;
    }

    ngx_add_timer(&q->poll, ngx_http_intent_cache_watching()
                            ? NGX_HTTP_INTENT_WEBHOOK_POLL
                            : NGX_HTTP_INTENT_WEBHOOK_POLL_ONLY);

    ngx_http_intent_webhook_queue_run(q);
}


/* pause 0: no more; else for so long at the least, doubled each time */

void
ngx_http_intent_webhook_queue_pause(ngx_http_intent_webhook_queue_t *q,
    ngx_msec_t pause)
{
    ngx_msec_t  ms;

    if (q->open.timer_set) {
        ngx_del_timer(&q->open);
    }

    if (pause == 0) {
        q->breaker = NGX_HTTP_INTENT_WEBHOOK_CLOSED;
        q->pause = 0;
        q->row = 0;
        q->due = 1;

    } else {
        q->breaker = NGX_HTTP_INTENT_WEBHOOK_OPEN;

        q->pause = q->pause ? ngx_min(q->pause * 2,
                                      NGX_HTTP_INTENT_WEBHOOK_LONGEST)
                            : NGX_HTTP_INTENT_WEBHOOK_PAUSE;

        ms = q->pause * (80 + (ngx_msec_t) ngx_random() % 41) / 100;

        ngx_add_timer(&q->open, ngx_max(ms, pause));
    }

    ngx_http_intent_stat_set(q->webhook->breaker, q->breaker);
}


static void
ngx_http_intent_webhook_open_handler(ngx_event_t *ev)
{
    ngx_connection_t                 *dumb;
    ngx_http_intent_webhook_queue_t  *q;

    dumb = ev->data;
    q = dumb->data;

    q->breaker = NGX_HTTP_INTENT_WEBHOOK_HALF_OPEN;
    q->due = 1;

    ngx_http_intent_stat_set(q->webhook->breaker, q->breaker);

    ngx_http_intent_webhook_queue_run(q);
}


void
ngx_http_intent_webhook_queue_run(ngx_http_intent_webhook_queue_t *q)
{
    ngx_queue_t                         *queue;
    ngx_http_intent_webhook_delivery_t  *d;

    if (q->up && !q->later && q->nsettling == 0
        && !ngx_queue_empty(&q->told))
    {
        ngx_http_intent_webhook_settle(q);
    }

    if (q->draining) {
        ngx_http_intent_webhook_drained(q);
        return;
    }

    if (!q->held) {
        return;
    }

    while (!ngx_queue_empty(&q->ready) && ngx_http_intent_webhook_may_fly(q)) {
        queue = ngx_queue_head(&q->ready);
        d = ngx_queue_data(queue, ngx_http_intent_webhook_delivery_t, queue);

        if (ngx_http_intent_webhook_delivery_send(d) != NGX_OK) {

            /* no memory: it is tried again when the queue is looked at */

            break;
        }
    }

    if (q->due && q->up && !q->fetching) {
        ngx_http_intent_webhook_fetch(q);
    }
}


static ngx_uint_t
ngx_http_intent_webhook_may_fly(ngx_http_intent_webhook_queue_t *q)
{
    switch (q->breaker) {

    case NGX_HTTP_INTENT_WEBHOOK_CLOSED:
        return q->nflying < q->webhook->max_in_flight;

    case NGX_HTTP_INTENT_WEBHOOK_HALF_OPEN:
        return q->nflying == 0;

    default:
        return 0;
    }
}


/* ---- what was told ---- */


static void
ngx_http_intent_webhook_settle(ngx_http_intent_webhook_queue_t *q)
{
    ngx_uint_t                           n;
    ngx_pool_t                          *pool;
    ngx_queue_t                         *queue;
    ngx_http_intent_store_told_t        *told;
    ngx_http_intent_webhook_delivery_t  *d;

    pool = ngx_create_pool(NGX_MIN_POOL_SIZE, q->log);
    if (pool == NULL) {
        return;
    }

    told = ngx_palloc(pool, q->n * sizeof(ngx_http_intent_store_told_t));

    if (told) {
        n = 0;

        for (queue = ngx_queue_head(&q->told);
             queue != ngx_queue_sentinel(&q->told);
             queue = ngx_queue_next(queue))
        {
            d = ngx_queue_data(queue, ngx_http_intent_webhook_delivery_t,
                               queue);
            told[n++] = d->told;
        }

        if (ngx_http_intent_store_webhook_settle(q->store, told, n,
                                              ngx_http_intent_webhook_settled)
            == NGX_OK)
        {
            q->nsettling = n;

            ngx_queue_add(&q->settling, &q->told);
            ngx_queue_init(&q->told);
        }
    }

    ngx_destroy_pool(pool);
}


static void
ngx_http_intent_webhook_settled(void *data, ngx_int_t rc, ngx_uint_t n)
{
    ngx_http_intent_webhook_queue_t *q = data;

    q->nsettling = 0;

    if (rc == NGX_OK) {
        ngx_http_intent_webhook_clear(&q->settling);

        /* perhaps the next version of one of them */

        q->due = 1;

    } else {

        /* twice does no harm: with a new session, or soon */

        ngx_queue_add(&q->told, &q->settling);
        ngx_queue_init(&q->settling);

        q->later = 1;
    }

    ngx_http_intent_webhook_queue_run(q);
}


/* ---- what is to be told ---- */


static void
ngx_http_intent_webhook_fetch(ngx_http_intent_webhook_queue_t *q)
{
    u_char      *ids;
    ngx_uint_t   n, asked, which;
    ngx_pool_t  *pool;

    which = NGX_HTTP_INTENT_STORE_WEBHOOK_DUE;
    asked = NGX_HTTP_INTENT_STORE_WEBHOOK_BATCH;

    if (q->breaker == NGX_HTTP_INTENT_WEBHOOK_CLOSED) {

        /* read ahead, so that Postgres need not be waited for */

        if (q->n > q->webhook->max_in_flight * 2 + asked
            || q->bytes > NGX_HTTP_INTENT_WEBHOOK_BYTES)
        {
            return;
        }

    } else {

        /* one to see, of those that are due, if there is none at hand */

        if (q->breaker == NGX_HTTP_INTENT_WEBHOOK_OPEN
            || q->nflying || !ngx_queue_empty(&q->ready))
        {
            return;
        }

        which = NGX_HTTP_INTENT_STORE_WEBHOOK_NEXT;
        asked = 1;
    }

    pool = ngx_create_pool(NGX_MIN_POOL_SIZE, q->log);
    if (pool == NULL) {
        return;
    }

    ids = ngx_pnalloc(pool, q->n * 16 + 1);

    if (ids) {
        n = ngx_http_intent_webhook_ids(&q->ready, ids, 0);
        n = ngx_http_intent_webhook_ids(&q->flying, ids, n);
        n = ngx_http_intent_webhook_ids(&q->told, ids, n);
        n = ngx_http_intent_webhook_ids(&q->settling, ids, n);

        if (ngx_http_intent_store_webhook_fetch(q->store, which, ids, n,
                                              ngx_http_intent_webhook_fetched)
            == NGX_OK)
        {
            q->fetching = 1;
            q->asked = asked;
            q->due = 0;
        }
    }

    ngx_destroy_pool(pool);
}


static ngx_uint_t
ngx_http_intent_webhook_ids(ngx_queue_t *queue, u_char *ids, ngx_uint_t n)
{
    ngx_queue_t                         *item;
    ngx_http_intent_webhook_delivery_t  *d;

    for (item = ngx_queue_head(queue);
         item != ngx_queue_sentinel(queue);
         item = ngx_queue_next(item))
    {
        d = ngx_queue_data(item, ngx_http_intent_webhook_delivery_t, queue);
        ngx_memcpy(ids + n++ * 16, d->told.id, 16);
    }

    return n;
}


static void
ngx_http_intent_webhook_fetched(void *data, ngx_int_t rc, void *rows,
    ngx_uint_t n)
{
    ngx_http_intent_webhook_queue_t *q = data;

    size_t      before;
    ngx_uint_t  i, more;

    q->fetching = 0;

    if (!q->held || q->draining) {
        return;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, q->log, 0,
                   "intent webhook \"%V\": %ui to be told", &q->webhook->uri,
                   n);

    more = 0;
    before = q->bytes;

    for (i = 0; i < n; i++) {
        if (ngx_http_intent_webhook_delivery(q, rows, i) != NGX_ERROR) {
            more = 1;
        }
    }

    /* there may be more; those without memory are looked at again, later */

    if (more && (n == q->asked
                 || q->bytes - before >= NGX_HTTP_INTENT_STORE_WEBHOOK_BYTES))
    {
        q->due = 1;
    }

    ngx_http_intent_webhook_queue_run(q);
}


/* ---- what is counted, and what is too old ---- */


static void
ngx_http_intent_webhook_counted(void *data, ngx_int_t rc, ngx_uint_t n)
{
    ngx_http_intent_webhook_queue_t *q = data;

    q->counting = 0;
    q->counted_at = ngx_current_msec;

    if (rc == NGX_OK && q->held) {
        ngx_http_intent_stat_set(q->webhook->waiting, n);
    }
}


static void
ngx_http_intent_webhook_forgot(void *data, ngx_int_t rc, ngx_uint_t n)
{
    ngx_http_intent_webhook_queue_t *q = data;

    q->forgetting = 0;

    /* where there were many, the rest soon */

    if (rc != NGX_OK || n == 0) {
        q->forgot_at = ngx_current_msec;
        return;
    }

    ngx_http_intent_stat_inc(q->webhook->given_up, n);

    ngx_log_error(NGX_LOG_ERR, q->log, 0,
                  "intent webhook \"%V\": %ui changes are given up, they are "
                  "older than max_age", &q->webhook->uri, n);
}


/* ---- the end ---- */


static void
ngx_http_intent_webhook_drain(void *data)
{
    ngx_http_intent_webhook_queue_t *q = data;

    q->draining = 1;

    ngx_http_intent_webhook_clear(&q->ready);

    if (q->poll.timer_set) {
        ngx_del_timer(&q->poll);
    }

    if (q->open.timer_set) {
        ngx_del_timer(&q->open);
    }

    ngx_http_intent_hold();

    ngx_add_timer(&q->grace, NGX_HTTP_INTENT_WEBHOOK_GRACE);

    ngx_http_intent_webhook_drained(q);
}


/* those that have not been answered are told again, by another worker */

static void
ngx_http_intent_webhook_grace_handler(ngx_event_t *ev)
{
    ngx_connection_t                 *dumb;
    ngx_http_intent_webhook_queue_t  *q;

    dumb = ev->data;
    q = dumb->data;

    ngx_http_intent_webhook_clear(&q->flying);

    ngx_http_intent_webhook_drained(q);
}


static void
ngx_http_intent_webhook_drained(ngx_http_intent_webhook_queue_t *q)
{
    /* after the grace, what could not be settled is told twice */

    if (!q->grace.timer_set && q->nsettling == 0) {
        ngx_http_intent_webhook_clear(&q->told);
    }

    /* once: the timer is set until then */

    if (q->n || (!q->grace.timer_set && !q->grace.timedout)) {
        return;
    }

    if (q->grace.timer_set) {
        ngx_del_timer(&q->grace);
    }

    q->grace.timedout = 0;

    if (q->held) {
        q->held = 0;
        ngx_http_intent_stat_set(q->webhook->waiting, 0);
        ngx_http_intent_store_webhook_release(q->store);
    }

    ngx_http_intent_release();
}


static void
ngx_http_intent_webhook_clear(ngx_queue_t *queue)
{
    ngx_queue_t                         *item;
    ngx_http_intent_webhook_delivery_t  *d;

    while (!ngx_queue_empty(queue)) {
        item = ngx_queue_head(queue);
        d = ngx_queue_data(item, ngx_http_intent_webhook_delivery_t, queue);

        ngx_http_intent_webhook_delivery_destroy(d);
    }
}
