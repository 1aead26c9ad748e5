
/*
 * Who of the fleet does what only one should: whoever has the advisory lock of
 * it, on its executor session.  With that session it loses the lock, at once,
 * and another worker finds it free when it next tries.
 */


#include "ngx_http_intent_store_private.h"


#define NGX_HTTP_INTENT_STORE_LOCK_RETRY  2000      /* ms, more or less */


typedef enum {
    NGX_HTTP_INTENT_STORE_LOCK_AWAY = 0,            /* no session */
    NGX_HTTP_INTENT_STORE_LOCK_WAITING,             /* for the next attempt */
    NGX_HTTP_INTENT_STORE_LOCK_ASKING,
    NGX_HTTP_INTENT_STORE_LOCK_HELD,
    NGX_HTTP_INTENT_STORE_LOCK_ENDED                /* this worker drains */
} ngx_http_intent_store_lock_step_e;


static void ngx_http_intent_store_lock_state(ngx_http_intent_pg_t *pg,
    ngx_uint_t up, void *data);
static void ngx_http_intent_store_lock_wait(
    ngx_http_intent_store_lock_t *lock);
static void ngx_http_intent_store_lock_ask(ngx_event_t *ev);
static ngx_int_t ngx_http_intent_store_lock_query(
    ngx_http_intent_store_lock_t *lock, ngx_http_intent_pg_stmt_t *stmt,
    ngx_http_intent_pg_query_pt handler);
static void ngx_http_intent_store_lock_asked(ngx_http_intent_pg_query_t *q,
    ngx_int_t rc, PGresult *res);
static void ngx_http_intent_store_lock_drain(void *data);
static void ngx_http_intent_store_lock_released(
    ngx_http_intent_pg_query_t *q, ngx_int_t rc, PGresult *res);


static ngx_http_intent_pg_stmt_t  ngx_http_intent_store_try_lock_stmt = {
    "try_lock",
    "SELECT pg_try_advisory_lock($1)",
    1, { NGX_HTTP_INTENT_PG_INT8 }
};


static ngx_http_intent_pg_stmt_t  ngx_http_intent_store_unlock_stmt = {
    "unlock",
    "SELECT pg_advisory_unlock($1)",
    1, { NGX_HTTP_INTENT_PG_INT8 }
};


/* FNV-1a */

int64_t
ngx_http_intent_store_lock_key(u_char *text, size_t len)
{
    size_t    i;
    uint64_t  h;

    h = 0xcbf29ce484222325ULL;

    for (i = 0; i < len; i++) {
        h = (h ^ text[i]) * 0x100000001b3ULL;
    }

    return (int64_t) h;
}


ngx_int_t
ngx_http_intent_store_lock_init(ngx_http_intent_store_lock_t *lock)
{
    lock->dumb.fd = (ngx_socket_t) -1;
    lock->dumb.data = lock;

    lock->timer.handler = ngx_http_intent_store_lock_ask;
    lock->timer.data = &lock->dumb;
    lock->timer.log = ngx_cycle->log;
    lock->timer.cancelable = 1;

    lock->pg = ngx_http_intent_store_executor(ngx_http_intent_store_lock_state,
                                              lock);
    if (lock->pg == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_intent_on_drain(ngx_http_intent_store_lock_drain, lock);
}


static void
ngx_http_intent_store_lock_state(ngx_http_intent_pg_t *pg, ngx_uint_t up,
    void *data)
{
    ngx_http_intent_store_lock_t *lock = data;

    ngx_uint_t  held;

    if (lock->step == NGX_HTTP_INTENT_STORE_LOCK_ENDED) {
        return;
    }

    if (up) {
        ngx_http_intent_store_lock_wait(lock);
        return;
    }

    held = (lock->step == NGX_HTTP_INTENT_STORE_LOCK_HELD);

    lock->step = lock->draining ? NGX_HTTP_INTENT_STORE_LOCK_ENDED
                                : NGX_HTTP_INTENT_STORE_LOCK_AWAY;

    if (lock->timer.timer_set) {
        ngx_del_timer(&lock->timer);
    }

    if (held) {
        lock->handler(lock->data, 0);
    }
}


/* not all at once: the workers of a host come up together */

static void
ngx_http_intent_store_lock_wait(ngx_http_intent_store_lock_t *lock)
{
    ngx_msec_t  delay;

    delay = lock->step == NGX_HTTP_INTENT_STORE_LOCK_AWAY
            ? (ngx_msec_t) ngx_random() % 100 + 1
            : NGX_HTTP_INTENT_STORE_LOCK_RETRY
              * (80 + (ngx_msec_t) ngx_random() % 41) / 100;

    lock->step = NGX_HTTP_INTENT_STORE_LOCK_WAITING;

    ngx_add_timer(&lock->timer, delay);
}


static void
ngx_http_intent_store_lock_ask(ngx_event_t *ev)
{
    ngx_connection_t              *dumb;
    ngx_http_intent_store_lock_t  *lock;

    dumb = ev->data;
    lock = dumb->data;

    if (ngx_http_intent_store_lock_query(lock,
                                         &ngx_http_intent_store_try_lock_stmt,
                                         ngx_http_intent_store_lock_asked)
        == NGX_OK)
    {
        lock->step = NGX_HTTP_INTENT_STORE_LOCK_ASKING;
    }

    /* else it was lost a moment ago, and that will be told */
}


static ngx_int_t
ngx_http_intent_store_lock_query(ngx_http_intent_store_lock_t *lock,
    ngx_http_intent_pg_stmt_t *stmt, ngx_http_intent_pg_query_pt handler)
{
    ngx_uint_t  i;

    /* in network order */

    for (i = 0; i < sizeof(lock->param); i++) {
        lock->param[i] = (u_char) ((uint64_t) lock->key >> (8 * (7 - i)));
    }

    ngx_memzero(&lock->query, sizeof(ngx_http_intent_pg_query_t));

    ngx_http_intent_pg_param_bytes(&lock->query, 0, lock->param,
                                   sizeof(lock->param));

    lock->query.stmt = stmt;
    lock->query.handler = handler;
    lock->query.data = lock;

    return ngx_http_intent_pg_query(lock->pg, &lock->query);
}


static void
ngx_http_intent_store_lock_asked(ngx_http_intent_pg_query_t *q, ngx_int_t rc,
    PGresult *res)
{
    ngx_http_intent_store_lock_t  *lock;

    lock = q->data;

    if (rc == NGX_OK && ngx_http_intent_pg_bool(res, 0, 0)) {

        lock->step = NGX_HTTP_INTENT_STORE_LOCK_HELD;

        if (lock->draining) {
            ngx_http_intent_store_lock_release(lock);
            return;
        }

        lock->handler(lock->data, 1);
        return;
    }

    if (lock->draining) {
        lock->step = NGX_HTTP_INTENT_STORE_LOCK_ENDED;
        return;
    }

    if (rc == NGX_OK || rc == NGX_ERROR) {
        ngx_http_intent_store_lock_wait(lock);
    }

    /* else the session was lost, and that will be told */
}


/* what is held is the owner's to release */

static void
ngx_http_intent_store_lock_drain(void *data)
{
    ngx_http_intent_store_lock_t *lock = data;

    lock->draining = 1;

    if (lock->timer.timer_set) {
        ngx_del_timer(&lock->timer);
    }

    if (lock->step != NGX_HTTP_INTENT_STORE_LOCK_HELD
        && lock->step != NGX_HTTP_INTENT_STORE_LOCK_ASKING)
    {
        lock->step = NGX_HTTP_INTENT_STORE_LOCK_ENDED;
    }
}


void
ngx_http_intent_store_lock_release(ngx_http_intent_store_lock_t *lock)
{
    if (lock->step != NGX_HTTP_INTENT_STORE_LOCK_HELD) {
        return;
    }

    lock->step = NGX_HTTP_INTENT_STORE_LOCK_ENDED;

    /* whatever comes of it: with the session, the lock is free as well */

    (void) ngx_http_intent_store_lock_query(lock,
                                       &ngx_http_intent_store_unlock_stmt,
                                       ngx_http_intent_store_lock_released);
}


static void
ngx_http_intent_store_lock_released(ngx_http_intent_pg_query_t *q,
    ngx_int_t rc, PGresult *res)
{
    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "intent store: lock released, rc:%i", rc);
}
