
/*
 * Pending intents that nobody has begun in time become expired, as soon as
 * their time is over by the clock of Postgres.  That is also the clock by
 * which lanes claim.  One that a lane has claimed, and not saved yet, is
 * expired as well: whoever writes first wins, the other one's version does
 * not hold.
 */


#include "ngx_http_intent_store_private.h"


#define NGX_HTTP_INTENT_STORE_EXPIRE_POOL   16384
#define NGX_HTTP_INTENT_STORE_EXPIRE_BATCH  256

/*
 * It sleeps until the next one's time, and not longer than this, for another
 * worker may be given one that is earlier; and so long if somebody else has
 * a row
 */
#define NGX_HTTP_INTENT_STORE_EXPIRE_SLEEP  1000    /* ms */
#define NGX_HTTP_INTENT_STORE_EXPIRE_AGAIN  100


typedef struct {
    ngx_pool_t                      *pool;
    ngx_http_intent_change_t        *changes;
    ngx_http_intent_transition_t     transition;
    ngx_msec_t                       next;
    double                           start;
    ngx_http_intent_pg_query_t       query;
} ngx_http_intent_store_expiring_t;


static void ngx_http_intent_store_expire_run(
    ngx_http_intent_store_task_t *task);
static void ngx_http_intent_store_expire_handler(
    ngx_http_intent_pg_query_t *q, ngx_int_t rc, PGresult *res);
static ngx_int_t ngx_http_intent_store_expire_due(
    ngx_http_intent_store_expiring_t *ex, PGresult *res);
static void ngx_http_intent_store_expired(ngx_http_intent_transition_t *t,
    ngx_int_t rc);
static void ngx_http_intent_store_expire_done(ngx_msec_t delay);


/* what is due, if anything, and when the next one will be */

static ngx_http_intent_pg_stmt_t  ngx_http_intent_store_expire_stmt = {
    "sweep_expire",

    "WITH next AS ("
    "SELECT (extract(epoch FROM least(min(expires_at),"
    " now() + interval '1 minute') - now()) * 1000)::int8 AS wait"
    " FROM intents WHERE status = 'pending' AND expires_at > now()"
    "), due AS ("
    "SELECT * FROM intents WHERE status = 'pending' AND expires_at <= now()"
    " ORDER BY expires_at LIMIT $1"
    ") SELECT " NGX_HTTP_INTENT_STORE_COLUMNS ", wait"
    " FROM next LEFT JOIN due ON true",

    1, { NGX_HTTP_INTENT_PG_INT8 }
};


ngx_http_intent_store_task_t  ngx_http_intent_store_expire = {
    .run = ngx_http_intent_store_expire_run
};


static ngx_http_intent_store_expiring_t  ngx_http_intent_store_expiring;


static void
ngx_http_intent_store_expire_run(ngx_http_intent_store_task_t *task)
{
    ngx_http_intent_store_expiring_t  *ex;

    ex = &ngx_http_intent_store_expiring;

    ngx_memzero(ex, sizeof(ngx_http_intent_store_expiring_t));

    ex->start = ngx_http_intent_seconds();
    ex->pool = ngx_create_pool(NGX_HTTP_INTENT_STORE_EXPIRE_POOL,
                               ngx_http_intent_store_worker()->log);

    if (ex->pool == NULL
        || ngx_http_intent_pg_param_int8(&ex->query, 0, ex->pool,
                                         NGX_HTTP_INTENT_STORE_EXPIRE_BATCH)
           != NGX_OK)
    {
        ngx_http_intent_store_expire_done(NGX_HTTP_INTENT_STORE_EXPIRE_SLEEP);
        return;
    }

    ex->query.stmt = &ngx_http_intent_store_expire_stmt;
    ex->query.handler = ngx_http_intent_store_expire_handler;

    if (ngx_http_intent_pg_query(ngx_http_intent_store_sweep_session(),
                                 &ex->query)
        != NGX_OK)
    {
        ngx_http_intent_store_expire_done(NGX_HTTP_INTENT_STORE_EXPIRE_SLEEP);
    }
}


static void
ngx_http_intent_store_expire_handler(ngx_http_intent_pg_query_t *q,
    ngx_int_t rc, PGresult *res)
{
    int64_t                            next;
    ngx_http_intent_store_expiring_t  *ex;

    ex = &ngx_http_intent_store_expiring;

    ngx_http_intent_store_observe(NGX_HTTP_INTENT_STORE_EXPIRE, ex->start);

    if (rc == NGX_OK) {
        next = ngx_http_intent_pg_int8(res, 0, NGX_HTTP_INTENT_STORE_NCOLUMNS,
                                       NGX_HTTP_INTENT_STORE_EXPIRE_SLEEP);

        ex->next = ngx_min(ngx_max(next, 0) + 1,
                           NGX_HTTP_INTENT_STORE_EXPIRE_SLEEP);

        if (PQgetisnull(res, 0, 0)) {
            ngx_http_intent_store_expire_done(ex->next);
            return;
        }

        if (ngx_http_intent_store_expire_due(ex, res) == NGX_OK) {
            return;
        }

    } else if (rc == NGX_ERROR) {
        ngx_log_error(NGX_LOG_ERR, ex->pool->log, 0,
                      "intent sweeper: the server refused to say what has "
                      "expired: %s: %s", ngx_http_intent_pg_sqlstate(res),
                      ngx_http_intent_pg_message(res));
    }

    ngx_http_intent_store_expire_done(NGX_HTTP_INTENT_STORE_EXPIRE_SLEEP);
}


static ngx_int_t
ngx_http_intent_store_expire_due(ngx_http_intent_store_expiring_t *ex,
    PGresult *res)
{
    ngx_uint_t                     i, n;
    ngx_http_intent_t             *intents;
    ngx_http_intent_transition_t  *t;

    n = (ngx_uint_t) PQntuples(res);

    intents = ngx_palloc(ex->pool, n * sizeof(ngx_http_intent_t));
    ex->changes = ngx_pcalloc(ex->pool, n * sizeof(ngx_http_intent_change_t));

    if (intents == NULL || ex->changes == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        if (ngx_http_intent_store_read_row(res, (int) i, ex->pool, &intents[i])
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        ex->changes[i].intent = &intents[i];
        ex->changes[i].to = NGX_HTTP_INTENT_EXPIRED;
    }

    t = &ex->transition;

    t->changes = ex->changes;
    t->nchanges = n;
    t->record = ngx_http_intent_store_update_free;
    t->handler = ngx_http_intent_store_expired;
    t->data = ex;
    t->log = ex->pool->log;

    return ngx_http_intent_transition(t);
}


static void
ngx_http_intent_store_expired(ngx_http_intent_transition_t *t, ngx_int_t rc)
{
    ngx_uint_t                         i, n;
    ngx_msec_t                         delay;
    ngx_http_intent_store_expiring_t  *ex = t->data;

    if (rc != NGX_OK) {
        ngx_http_intent_store_expire_done(NGX_HTTP_INTENT_STORE_EXPIRE_SLEEP);
        return;
    }

    n = 0;

    for (i = 0; i < t->nchanges; i++) {
        if (!t->changes[i].refused) {
            n++;
        }
    }

    if (n) {
        ngx_log_error(NGX_LOG_INFO, t->log, 0,
                      "intent sweeper: %ui intents expired", n);
    }

    if (n == NGX_HTTP_INTENT_STORE_EXPIRE_BATCH) {
        delay = 1;

    } else if (n < t->nchanges) {
        delay = NGX_HTTP_INTENT_STORE_EXPIRE_AGAIN;

    } else {
        delay = ex->next;
    }

    ngx_http_intent_store_expire_done(delay);
}


static void
ngx_http_intent_store_expire_done(ngx_msec_t delay)
{
    ngx_pool_t                        *pool;
    ngx_http_intent_store_expiring_t  *ex;

    ex = &ngx_http_intent_store_expiring;

    pool = ex->pool;
    ex->pool = NULL;

    if (pool) {
        ngx_destroy_pool(pool);
    }

    ngx_http_intent_store_task_done(&ngx_http_intent_store_expire, delay);
}
