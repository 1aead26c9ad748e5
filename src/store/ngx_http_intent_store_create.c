
/*
 * New intents.
 *
 * Each session has one INSERT under way at the most; what comes meanwhile
 * gathers, and leaves as the next one.  So an idle gateway adds no wait, and
 * a busy one shares each commit among many.
 *
 * The statement of a batch is made in ngx_http_intent_store_insert.c; what it
 * did not keep, because it was there before, is looked for by what comes in
 * ngx_http_intent_store_first.c.
 */


#include "ngx_http_intent_store_create.h"


#define NGX_HTTP_INTENT_STORE_QUEUE        8192        /* intents */
#define NGX_HTTP_INTENT_STORE_BATCH        512         /* intents */
#define NGX_HTTP_INTENT_STORE_BATCH_BYTES  (1024 * 1024)
#define NGX_HTTP_INTENT_STORE_POOL         4096
#define NGX_HTTP_INTENT_STORE_PATIENCE     20          /* ms */
#define NGX_HTTP_INTENT_STORE_AGAIN        10          /* ms */


typedef struct {
    ngx_http_intent_store_worker_t   *worker;
    ngx_queue_t                       queue;    /* by deadline */
    ngx_queue_t                       later;    /* to be sent again soon */
    ngx_queue_t                       free;
    ngx_uint_t                        rows;     /* waiting or in batches */
    ngx_uint_t                        under_way; /* rows in batches */
    ngx_msec_t                        sent_at;  /* the last batch */
    ngx_event_t                       wake;     /* posted */
    ngx_event_t                       timer;    /* of the first in the queue */
    ngx_event_t                       again;    /* timer of those for later */
    ngx_connection_t                  dumb;     /* the events' own data */
} ngx_http_intent_store_creating_t;


static ngx_http_intent_store_item_t *ngx_http_intent_store_create_item(void);
static void ngx_http_intent_store_create_handler(ngx_event_t *ev);
static ngx_http_intent_store_session_t *
    ngx_http_intent_store_create_session(void);

static ngx_int_t ngx_http_intent_store_batch_send(
    ngx_http_intent_store_session_t *session, ngx_queue_t *from,
    ngx_uint_t max);
static ngx_http_intent_store_batch_t *ngx_http_intent_store_batch_gather(
    ngx_queue_t *from, ngx_uint_t max);

static void ngx_http_intent_store_batch_handler(
    ngx_http_intent_pg_query_t *q, ngx_int_t rc, PGresult *res);
static void ngx_http_intent_store_batch_unknown(
    ngx_http_intent_store_batch_t *b);
static void ngx_http_intent_store_batch_done(
    ngx_http_intent_store_batch_t *b, ngx_int_t rc);
static void ngx_http_intent_store_batch_late(
    ngx_http_intent_store_batch_t *b);
static void ngx_http_intent_store_batch_refused(
    ngx_http_intent_store_batch_t *b, PGresult *res);
static ngx_uint_t ngx_http_intent_store_batch_is_poisoned(PGresult *res);
static void ngx_http_intent_store_requeue(ngx_queue_t *items);
static void ngx_http_intent_store_create_again(ngx_event_t *ev);
static void ngx_http_intent_store_create_timeout(ngx_event_t *ev);


static ngx_http_intent_store_creating_t  ngx_http_intent_store_creating;


ngx_int_t
ngx_http_intent_store_create_init(ngx_http_intent_store_worker_t *w)
{
    ngx_http_intent_store_creating_t  *cr;

    cr = &ngx_http_intent_store_creating;

    ngx_memzero(cr, sizeof(ngx_http_intent_store_creating_t));

    cr->worker = w;

    ngx_queue_init(&cr->queue);
    ngx_queue_init(&cr->later);
    ngx_queue_init(&cr->free);

    cr->dumb.fd = (ngx_socket_t) -1;
    cr->dumb.data = cr;

    cr->wake.handler = ngx_http_intent_store_create_handler;
    cr->wake.data = &cr->dumb;
    cr->wake.log = w->log;

    /* not cancelable: an exiting worker waits for what it has taken */

    cr->timer.handler = ngx_http_intent_store_create_timeout;
    cr->timer.data = &cr->dumb;
    cr->timer.log = w->log;

    cr->again.handler = ngx_http_intent_store_create_again;
    cr->again.data = &cr->dumb;
    cr->again.log = w->log;

    return NGX_OK;
}


ngx_int_t
ngx_http_intent_store_create(ngx_http_intent_transition_t *t)
{
    ngx_msec_t                         timeout;
    ngx_http_intent_store_item_t      *item;
    ngx_http_intent_store_worker_t    *w;
    ngx_http_intent_store_creating_t  *cr;

    w = ngx_http_intent_store_worker();

    if (w == NULL) {
        return NGX_DECLINED;
    }

    cr = &ngx_http_intent_store_creating;
    timeout = w->conf->pg.timeout;

    if (w->nup == 0 && ngx_current_msec - w->down_since >= timeout) {
        return NGX_DECLINED;
    }

    if (cr->rows + t->nchanges > NGX_HTTP_INTENT_STORE_QUEUE) {
        ngx_log_debug1(NGX_LOG_DEBUG_HTTP, t->log, 0,
                       "intent store: queue full, rows:%ui", cr->rows);
        return NGX_DECLINED;
    }

    item = ngx_http_intent_store_create_item();
    if (item == NULL) {
        return NGX_DECLINED;
    }

    item->transition = t;
    item->deadline = ngx_current_msec + timeout;
    item->unknown = 0;

    ngx_queue_insert_tail(&cr->queue, &item->queue);
    cr->rows += t->nchanges;

    if (!cr->timer.timer_set) {
        ngx_add_timer(&cr->timer, timeout);
    }

    ngx_http_intent_store_create_wake();

    return NGX_OK;
}


void
ngx_http_intent_store_create_wake(void)
{
    /* at the end of the loop's turn, when all that it brought has gathered */

    ngx_post_event(&ngx_http_intent_store_creating.wake, &ngx_posted_events);
}


static ngx_http_intent_store_item_t *
ngx_http_intent_store_create_item(void)
{
    ngx_queue_t                       *queue;
    ngx_http_intent_store_creating_t  *cr;

    cr = &ngx_http_intent_store_creating;

    /* there are never more than the queue is long */

    if (ngx_queue_empty(&cr->free)) {
        return ngx_palloc(cr->worker->pool,
                          sizeof(ngx_http_intent_store_item_t));
    }

    queue = ngx_queue_head(&cr->free);
    ngx_queue_remove(queue);

    return ngx_queue_data(queue, ngx_http_intent_store_item_t, queue);
}


static void
ngx_http_intent_store_create_handler(ngx_event_t *ev)
{
    ngx_http_intent_store_session_t   *session;
    ngx_http_intent_store_creating_t  *cr;

    cr = &ngx_http_intent_store_creating;

    while (!ngx_queue_empty(&cr->queue)) {

        session = ngx_http_intent_store_create_session();

        if (session == NULL
            || ngx_http_intent_store_batch_send(session, &cr->queue,
                                                NGX_HTTP_INTENT_STORE_BATCH)
               != NGX_OK)
        {
            break;
        }
    }

    if (ngx_queue_empty(&cr->queue) && cr->timer.timer_set) {
        ngx_del_timer(&cr->timer);
    }

    ngx_http_intent_store_revoke_wake();
}


/*
 * Two small batches at a time cost Postgres more than one of both: another
 * session is used only for what is a whole batch by itself, or when the one
 * under way takes long.
 */

static ngx_http_intent_store_session_t *
ngx_http_intent_store_create_session(void)
{
    ngx_uint_t                         i;
    ngx_http_intent_store_worker_t    *w;
    ngx_http_intent_store_creating_t  *cr;

    cr = &ngx_http_intent_store_creating;
    w = cr->worker;

    if (cr->under_way
        && cr->rows - cr->under_way < NGX_HTTP_INTENT_STORE_BATCH
        && ngx_current_msec - cr->sent_at < NGX_HTTP_INTENT_STORE_PATIENCE)
    {
        return NULL;
    }

    for (i = 0; i < w->nsessions; i++) {
        if (w->sessions[i].batches == 0
            && ngx_http_intent_pg_is_up(w->sessions[i].pg))
        {
            return &w->sessions[i];
        }
    }

    return NULL;
}


/* ---- a batch ---- */


/*
 * Sends the first of a queue.  If that cannot be done they stay in it, in
 * order.
 */

static ngx_int_t
ngx_http_intent_store_batch_send(ngx_http_intent_store_session_t *session,
    ngx_queue_t *from, ngx_uint_t max)
{
    ngx_queue_t                    *queue;
    ngx_http_intent_store_batch_t  *b;

    b = ngx_http_intent_store_batch_gather(from, max);

    if (b == NULL) {
        return NGX_ERROR;
    }

    b->session = session;
    b->start = ngx_http_intent_seconds();

    b->query.handler = ngx_http_intent_store_batch_handler;
    b->query.data = b;

    if (ngx_http_intent_store_insert(b) == NGX_OK
        && ngx_http_intent_pg_query(session->pg, &b->query) == NGX_OK)
    {
        ngx_log_debug2(NGX_LOG_DEBUG_HTTP, b->pool->log, 0,
                       "intent store: batch of %ui transitions, %ui rows",
                       b->nitems, b->rows);

        session->batches++;
        ngx_http_intent_store_creating.under_way += b->rows;
        ngx_http_intent_store_creating.sent_at = ngx_current_msec;
        ngx_http_intent_store_observe_batch(b->rows);

        return NGX_OK;
    }

    while (!ngx_queue_empty(&b->items)) {
        queue = ngx_queue_last(&b->items);
        ngx_queue_remove(queue);
        ngx_queue_insert_head(from, queue);
    }

    ngx_destroy_pool(b->pool);

    return NGX_ERROR;
}


static ngx_http_intent_store_batch_t *
ngx_http_intent_store_batch_gather(ngx_queue_t *from, ngx_uint_t max)
{
    ngx_uint_t                      i;
    ngx_pool_t                     *pool;
    ngx_queue_t                    *queue;
    ngx_http_intent_store_item_t   *item;
    ngx_http_intent_admission_t    *adm;
    ngx_http_intent_transition_t   *t;
    ngx_http_intent_store_batch_t  *b;

    pool = ngx_create_pool(NGX_HTTP_INTENT_STORE_POOL,
                           ngx_http_intent_store_creating.worker->log);
    if (pool == NULL) {
        return NULL;
    }

    b = ngx_pcalloc(pool, sizeof(ngx_http_intent_store_batch_t));
    if (b == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    b->pool = pool;
    ngx_queue_init(&b->items);

    /* a transition is never divided, so the first is taken in any case */

    do {
        queue = ngx_queue_head(from);
        item = ngx_queue_data(queue, ngx_http_intent_store_item_t, queue);
        t = item->transition;

        if (b->nitems && b->rows + t->nchanges > max) {
            break;
        }

        ngx_queue_remove(queue);
        ngx_queue_insert_tail(&b->items, queue);

        item->row = b->rows;

        b->nitems++;
        b->rows += t->nchanges;

        for (i = 0; i < t->nchanges; i++) {
            b->bytes += t->changes[i].intent->params.len;

            /* what was said of it before may hold no longer */

            t->changes[i].refused = 0;

            adm = t->changes[i].data;

            if (adm && (adm->key.len || adm->digest)) {
                b->admission = 1;
            }
        }

    } while (!ngx_queue_empty(from)
             && b->rows < max
             && b->bytes < NGX_HTTP_INTENT_STORE_BATCH_BYTES);

    return b;
}


/* ---- its answer ---- */


static void
ngx_http_intent_store_batch_handler(ngx_http_intent_pg_query_t *q,
    ngx_int_t rc, PGresult *res)
{
    ngx_http_intent_store_batch_t  *b;

    b = q->data;

    b->session->batches--;
    ngx_http_intent_store_creating.under_way -= b->rows;

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, b->pool->log, 0,
                   "intent store: batch of %ui transitions, %ui rows, rc:%i",
                   b->nitems, b->rows, rc);

    ngx_http_intent_store_observe(b->admission ? NGX_HTTP_INTENT_STORE_ADMIT
                                               : NGX_HTTP_INTENT_STORE_CREATE,
                                  b->start);

    switch (rc) {

    case NGX_OK:

        if (!ngx_http_intent_pg_bool(res, 0, b->admission ? 1 : 0)) {
            ngx_http_intent_store_batch_late(b);
            break;
        }

        if (b->admission && PQntuples(res) > 1) {
            ngx_http_intent_store_first(b, res);
            ngx_http_intent_store_create_wake();
            return;
        }

        ngx_http_intent_store_batch_done(b, NGX_OK);
        break;

    case NGX_ERROR:
        ngx_http_intent_store_batch_refused(b, res);
        break;

    case NGX_ABORT:
        ngx_http_intent_store_batch_unknown(b);

        /* fall through */

    default: /* NGX_DECLINED */
        ngx_http_intent_store_requeue(&b->items);
    }

    ngx_destroy_pool(b->pool);

    ngx_http_intent_store_create_wake();
}


static void
ngx_http_intent_store_batch_unknown(ngx_http_intent_store_batch_t *b)
{
    ngx_queue_t                   *queue;
    ngx_http_intent_store_item_t  *item;

    for (queue = ngx_queue_head(&b->items);
         queue != ngx_queue_sentinel(&b->items);
         queue = ngx_queue_next(queue))
    {
        item = ngx_queue_data(queue, ngx_http_intent_store_item_t, queue);
        item->unknown = 1;
    }
}


static void
ngx_http_intent_store_batch_done(ngx_http_intent_store_batch_t *b,
    ngx_int_t rc)
{
    ngx_queue_t                   *queue;
    ngx_http_intent_store_item_t  *item;

    while (!ngx_queue_empty(&b->items)) {
        queue = ngx_queue_head(&b->items);
        item = ngx_queue_data(queue, ngx_http_intent_store_item_t, queue);

        ngx_queue_remove(queue);

        ngx_http_intent_store_item_done(item, rc);
    }
}


/*
 * We were in time by our clock, so the server's has been changed: the next
 * session reads it again.
 */

static void
ngx_http_intent_store_batch_late(ngx_http_intent_store_batch_t *b)
{
    ngx_log_error(NGX_LOG_WARN, b->pool->log, 0,
                  "intent store: %ui new intents were too late by the clock "
                  "of Postgres, reading it again", b->rows);

    ngx_http_intent_pg_reset(b->session->pg);

    ngx_http_intent_store_requeue(&b->items);
}


/*
 * If it is a row that the server did not like, each transition is sent
 * again on its own, all at once, so that only that one fails.  If two batches
 * waited for each other's keys, this one is sent again, and so is one that an
 * operator or a time limit ended: that may have been when it was committed
 * here, and waited for a standby.  If it is the server's own trouble, all have
 * to come again later.
 */

static void
ngx_http_intent_store_batch_refused(ngx_http_intent_store_batch_t *b,
    PGresult *res)
{
    ngx_uint_t                     poisoned, ended, level;
    ngx_queue_t                   *queue;
    ngx_http_intent_store_item_t  *item;

    ended = (ngx_strncmp(ngx_http_intent_pg_sqlstate(res), "57", 2) == 0);

    level = NGX_LOG_INFO;

    if (ended) {
        ngx_http_intent_store_batch_unknown(b);
        level = NGX_LOG_WARN;
    }

    /* deadlock_detected, serialization_failure */

    if (ended || ngx_strncmp(ngx_http_intent_pg_sqlstate(res), "40", 2) == 0) {

        ngx_log_error(level, b->pool->log, 0,
                      "intent store: a batch of %ui is sent again: %s: %s",
                      b->nitems, ngx_http_intent_pg_sqlstate(res),
                      ngx_http_intent_pg_message(res));

        ngx_http_intent_store_create_later(&b->items);
        return;
    }

    poisoned = ngx_http_intent_store_batch_is_poisoned(res);

    if (poisoned && b->nitems > 1) {

        ngx_log_error(NGX_LOG_WARN, b->pool->log, 0,
                      "intent store: a batch of %ui was refused: %s: %s, "
                      "sending them one by one", b->nitems,
                      ngx_http_intent_pg_sqlstate(res),
                      ngx_http_intent_pg_message(res));

        while (!ngx_queue_empty(&b->items)) {
            if (ngx_http_intent_store_batch_send(b->session, &b->items, 1)
                != NGX_OK)
            {
                ngx_http_intent_store_requeue(&b->items);
                return;
            }
        }

        return;
    }

    queue = ngx_queue_head(&b->items);
    item = ngx_queue_data(queue, ngx_http_intent_store_item_t, queue);

    /*
     * A row that is refused was not kept by a lost session before, either; of
     * several, others may have been kept when one was found to be there
     */

    if (poisoned && item->transition->nchanges == 1) {
        item->unknown = 0;
    }

    ngx_log_error(NGX_LOG_ERR, b->pool->log, 0,
                  "intent store: %ui new intents, \"%V\" the first, were "
                  "refused: %s: %s", b->rows,
                  &item->transition->changes[0].intent->id,
                  ngx_http_intent_pg_sqlstate(res),
                  ngx_http_intent_pg_message(res));

    ngx_http_intent_store_batch_done(b, poisoned ? NGX_ERROR : NGX_DECLINED);
}


/*
 * Data exceptions, constraints, program limits, a trigger's own errors.  All
 * others, as a full disk, would be the same for each row.
 */

static ngx_uint_t
ngx_http_intent_store_batch_is_poisoned(PGresult *res)
{
    const char  *state;

    state = ngx_http_intent_pg_sqlstate(res);

    return ngx_strncmp(state, "22", 2) == 0
           || ngx_strncmp(state, "23", 2) == 0
           || ngx_strncmp(state, "54", 2) == 0
           || ngx_strncmp(state, "P0", 2) == 0;
}


/* back into the queue, which is in the order of deadlines, as they are */

static void
ngx_http_intent_store_requeue(ngx_queue_t *items)
{
    ngx_queue_t                       *queue, *next;
    ngx_http_intent_store_item_t      *item, *other;
    ngx_http_intent_store_creating_t  *cr;

    cr = &ngx_http_intent_store_creating;
    next = ngx_queue_head(&cr->queue);

    while (!ngx_queue_empty(items)) {
        queue = ngx_queue_head(items);
        item = ngx_queue_data(queue, ngx_http_intent_store_item_t, queue);

        ngx_queue_remove(queue);

        while (next != ngx_queue_sentinel(&cr->queue)) {
            other = ngx_queue_data(next, ngx_http_intent_store_item_t, queue);

            if ((ngx_msec_int_t) (other->deadline - item->deadline) > 0) {
                break;
            }

            next = ngx_queue_next(next);
        }

        ngx_queue_insert_tail(next, queue);
    }

    /* sets itself for the first of them */

    ngx_http_intent_store_create_timeout(&cr->timer);
}


void
ngx_http_intent_store_create_later(ngx_queue_t *items)
{
    ngx_http_intent_store_creating_t  *cr;

    if (ngx_queue_empty(items)) {
        return;
    }

    cr = &ngx_http_intent_store_creating;

    ngx_queue_add(&cr->later, items);
    ngx_queue_init(items);

    if (!cr->again.timer_set) {
        ngx_add_timer(&cr->again, NGX_HTTP_INTENT_STORE_AGAIN);
    }
}


static void
ngx_http_intent_store_create_again(ngx_event_t *ev)
{
    ngx_queue_t                        items, *queue;
    ngx_http_intent_store_creating_t  *cr;

    cr = &ngx_http_intent_store_creating;

    /* one by one: two batches of them need not be in the order of deadlines */

    while (!ngx_queue_empty(&cr->later)) {
        queue = ngx_queue_head(&cr->later);
        ngx_queue_remove(queue);

        ngx_queue_init(&items);
        ngx_queue_insert_tail(&items, queue);

        ngx_http_intent_store_requeue(&items);
    }

    ngx_http_intent_store_create_wake();
}


void
ngx_http_intent_store_item_done(ngx_http_intent_store_item_t *item,
    ngx_int_t rc)
{
    ngx_http_intent_transition_t      *t;
    ngx_http_intent_store_creating_t  *cr;

    cr = &ngx_http_intent_store_creating;
    t = item->transition;

    /* what a lost session did with it is not known, whatever another said */

    if (rc != NGX_OK && item->unknown) {
        ngx_http_intent_store_revoke(t);
        rc = NGX_ABORT;
    }

    cr->rows -= t->nchanges;
    ngx_queue_insert_head(&cr->free, &item->queue);

    ngx_http_intent_transition_done(t, rc);
}


static void
ngx_http_intent_store_create_timeout(ngx_event_t *ev)
{
    ngx_uint_t                         n;
    ngx_queue_t                       *queue;
    ngx_msec_int_t                     left;
    ngx_http_intent_store_item_t      *item;
    ngx_http_intent_store_creating_t  *cr;

    cr = &ngx_http_intent_store_creating;
    n = 0;

    while (!ngx_queue_empty(&cr->queue)) {
        queue = ngx_queue_head(&cr->queue);
        item = ngx_queue_data(queue, ngx_http_intent_store_item_t, queue);

        left = (ngx_msec_int_t) (item->deadline - ngx_current_msec);

        if (left > 0) {
            ngx_add_timer(&cr->timer, (ngx_msec_t) left);
            break;
        }

        ngx_queue_remove(queue);
        n++;

        ngx_http_intent_store_item_done(item, NGX_DECLINED);
    }

    if (n) {
        ngx_log_error(NGX_LOG_ERR, ev->log, 0,
                      "intent store: Postgres did not take %ui new intents "
                      "in time", n);

        ngx_http_intent_store_create_wake();
    }
}
