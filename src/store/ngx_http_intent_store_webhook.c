
/*
 * The outbox of webhooks.  One worker of the fleet reads that of a webhook,
 * under an advisory lock for its uri: so its order is that worker's to keep,
 * and no row need say who has it.
 */


#include "ngx_http_intent_store_private.h"
#include "ngx_http_intent_store_webhook.h"


#define NGX_HTTP_INTENT_STORE_WEBHOOK_POOL    2048
#define NGX_HTTP_INTENT_STORE_WEBHOOK_FORGET  500       /* rows */

/* nobody has told these, whoever's they were: longer than any max_age */
#define NGX_HTTP_INTENT_STORE_WEBHOOK_UNTOLD   "interval '31 days'"
#define NGX_HTTP_INTENT_STORE_UNTOLD_BATCH     1000      /* rows */
#define NGX_HTTP_INTENT_STORE_UNTOLD_OFTEN     1000      /* ms */
#define NGX_HTTP_INTENT_STORE_UNTOLD_RARE      3600000


/* columns behind those of an intent */
typedef enum {
    NGX_HTTP_INTENT_STORE_WEBHOOK_FAILURES = NGX_HTTP_INTENT_STORE_NCOLUMNS,
    NGX_HTTP_INTENT_STORE_WEBHOOK_AGE,
    NGX_HTTP_INTENT_STORE_WEBHOOK_VERSION
} ngx_http_intent_store_webhook_column_e;


typedef struct {
    ngx_http_intent_store_webhook_t        *wh;
    ngx_pool_t                             *pool;
    double                                  start;
    ngx_http_intent_store_webhook_rows_pt   rows;
    ngx_http_intent_store_webhook_pt        handler;
    ngx_http_intent_pg_query_t              query;
} ngx_http_intent_store_webhook_op_t;


struct ngx_http_intent_store_webhook_s {
    ngx_str_t                              *uri;
    ngx_http_intent_store_webhook_up_pt     up;
    void                                   *data;
    ngx_http_intent_store_lock_t            lock;
};


static void ngx_http_intent_store_webhook_state(ngx_http_intent_pg_t *pg,
    ngx_uint_t up, void *data);
static ngx_http_intent_store_webhook_op_t *ngx_http_intent_store_webhook_op(
    ngx_http_intent_store_webhook_t *wh, ngx_http_intent_pg_stmt_t *stmt);
static ngx_int_t ngx_http_intent_store_webhook_run(
    ngx_http_intent_store_webhook_op_t *op);
static ngx_int_t ngx_http_intent_store_webhook_run_aside(
    ngx_http_intent_store_webhook_op_t *op);
static void ngx_http_intent_store_webhook_done(ngx_http_intent_pg_query_t *q,
    ngx_int_t rc, PGresult *res);
static ngx_int_t ngx_http_intent_store_webhook_told(
    ngx_http_intent_pg_array_t *a, ngx_http_intent_store_told_t *told);
static void ngx_http_intent_store_untold_run(
    ngx_http_intent_store_task_t *task);
static void ngx_http_intent_store_untold_done(ngx_http_intent_pg_query_t *q,
    ngx_int_t rc, PGresult *res);


#define NGX_HTTP_INTENT_STORE_WEBHOOK_FETCH(limit)                            \
    "SELECT " NGX_HTTP_INTENT_STORE_COLUMNS ", failures, age, version FROM (" \
    "SELECT w.*, w.intent_id AS id, NULL::bytea AS signature,"                \
    " NULL::numeric AS nonce,"                                                \
    " (extract(epoch FROM clock_timestamp() - w.queued_at) * 1000)::int8"     \
    " AS age FROM intent_webhook_due($1, $2, " limit ") AS w"                 \
    ") AS due"


static ngx_http_intent_pg_stmt_t  ngx_http_intent_store_webhook_due_stmt = {
    "webhook_due",
    NGX_HTTP_INTENT_STORE_WEBHOOK_FETCH(
        ngx_value(NGX_HTTP_INTENT_STORE_WEBHOOK_BATCH)),
    2, { NGX_HTTP_INTENT_PG_TEXT, NGX_HTTP_INTENT_PG_UUID_ARRAY }
};


static ngx_http_intent_pg_stmt_t  ngx_http_intent_store_webhook_next_stmt = {
    "webhook_next",
    NGX_HTTP_INTENT_STORE_WEBHOOK_FETCH("1"),
    2, { NGX_HTTP_INTENT_PG_TEXT, NGX_HTTP_INTENT_PG_UUID_ARRAY }
};


/*
 * Its commit waits for no disk: what a crash of the server forgets is told
 * twice.
 */

static ngx_http_intent_pg_stmt_t  ngx_http_intent_store_webhook_settle_stmt = {
    "webhook_settle",

    "SELECT intent_webhook_settle($1, $2, $3, $4)"
    " FROM set_config('synchronous_commit', 'off', true)",

    4, { NGX_HTTP_INTENT_PG_UUID_ARRAY, NGX_HTTP_INTENT_PG_INT8_ARRAY,
         NGX_HTTP_INTENT_PG_INT8_ARRAY, NGX_HTTP_INTENT_PG_INT8_ARRAY }
};


static ngx_http_intent_pg_stmt_t  ngx_http_intent_store_webhook_count_stmt = {
    "webhook_count",

    "SELECT count(*) FROM (SELECT 1 FROM intent_webhooks WHERE webhook = $1"
    " LIMIT $2) AS waiting",

    2, { NGX_HTTP_INTENT_PG_TEXT, NGX_HTTP_INTENT_PG_INT8 }
};


static ngx_http_intent_pg_stmt_t  ngx_http_intent_store_webhook_forget_stmt = {
    "webhook_forget",

    "SELECT intent_webhook_forget($1, now() - $2 * interval '1 second', $3)",

    3, { NGX_HTTP_INTENT_PG_TEXT, NGX_HTTP_INTENT_PG_INT8,
         NGX_HTTP_INTENT_PG_INT8 }
};


static ngx_http_intent_pg_stmt_t  ngx_http_intent_store_untold_stmt = {
    "sweep_webhooks",

    "WITH old AS MATERIALIZED ("
    "SELECT intent_id, version FROM intent_webhooks"
    " WHERE queued_at < now() - " NGX_HTTP_INTENT_STORE_WEBHOOK_UNTOLD
    " ORDER BY queued_at LIMIT $1"
    "), gone AS ("
    "DELETE FROM intent_webhooks w USING old"
    " WHERE w.intent_id = old.intent_id AND w.version = old.version"
    " RETURNING webhook"
    ") SELECT webhook, count(*) FROM gone GROUP BY webhook",

    1, { NGX_HTTP_INTENT_PG_INT8 }
};


ngx_http_intent_store_task_t  ngx_http_intent_store_untold = {
    .run = ngx_http_intent_store_untold_run
};


static ngx_http_intent_pg_query_t  ngx_http_intent_store_untold_query;
static u_char                      ngx_http_intent_store_untold_limit[8];


ngx_http_intent_store_webhook_t *
ngx_http_intent_store_webhook_create(ngx_str_t *uri,
    ngx_http_intent_store_webhook_held_pt held,
    ngx_http_intent_store_webhook_up_pt up, void *data)
{
    u_char                           *p, *text;
    size_t                            len;
    ngx_http_intent_store_webhook_t  *wh;

    len = sizeof("intent webhook ") - 1 + uri->len;

    wh = ngx_pcalloc(ngx_cycle->pool,
                     sizeof(ngx_http_intent_store_webhook_t));
    text = ngx_pnalloc(ngx_cycle->pool, len);

    if (wh == NULL || text == NULL) {
        return NULL;
    }

    p = ngx_cpymem(text, "intent webhook ", sizeof("intent webhook ") - 1);
    ngx_memcpy(p, uri->data, uri->len);

    wh->uri = uri;
    wh->up = up;
    wh->data = data;
    wh->lock.key = ngx_http_intent_store_lock_key(text, len);
    wh->lock.handler = held;
    wh->lock.data = data;

    if (ngx_http_intent_store_lock_init(&wh->lock) != NGX_OK
        || ngx_http_intent_store_executor(ngx_http_intent_store_webhook_state,
                                          wh)
           == NULL)
    {
        return NULL;
    }

    return wh;
}


void
ngx_http_intent_store_webhook_release(ngx_http_intent_store_webhook_t *wh)
{
    ngx_http_intent_store_lock_release(&wh->lock);
}


static void
ngx_http_intent_store_webhook_state(ngx_http_intent_pg_t *pg, ngx_uint_t up,
    void *data)
{
    ngx_http_intent_store_webhook_t *wh = data;

    wh->up(wh->data, up);
}


static ngx_http_intent_store_webhook_op_t *
ngx_http_intent_store_webhook_op(ngx_http_intent_store_webhook_t *wh,
    ngx_http_intent_pg_stmt_t *stmt)
{
    ngx_pool_t                          *pool;
    ngx_http_intent_store_webhook_op_t  *op;

    pool = ngx_create_pool(NGX_HTTP_INTENT_STORE_WEBHOOK_POOL,
                           ngx_http_intent_store_worker()->log);
    if (pool == NULL) {
        return NULL;
    }

    op = ngx_pcalloc(pool, sizeof(ngx_http_intent_store_webhook_op_t));
    if (op == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    op->wh = wh;
    op->pool = pool;
    op->query.stmt = stmt;
    op->query.handler = ngx_http_intent_store_webhook_done;
    op->query.data = op;

    ngx_http_intent_pg_param_bytes(&op->query, 0, wh->uri->data,
                                   wh->uri->len);

    return op;
}


static ngx_int_t
ngx_http_intent_store_webhook_run(ngx_http_intent_store_webhook_op_t *op)
{
    op->start = ngx_http_intent_seconds();

    if (ngx_http_intent_pg_query(op->wh->lock.pg, &op->query) != NGX_OK) {
        ngx_destroy_pool(op->pool);
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/* what may take a while, and may be behind: not where lanes would wait */

static ngx_int_t
ngx_http_intent_store_webhook_run_aside(
    ngx_http_intent_store_webhook_op_t *op)
{
    ngx_http_intent_store_session_t  *session;

    op->start = ngx_http_intent_seconds();

    session = ngx_http_intent_store_session();

    if (session == NULL
        || ngx_http_intent_pg_query(session->pg, &op->query) != NGX_OK)
    {
        ngx_destroy_pool(op->pool);
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static void
ngx_http_intent_store_webhook_done(ngx_http_intent_pg_query_t *q,
    ngx_int_t rc, PGresult *res)
{
    ngx_uint_t                           n;
    ngx_http_intent_store_webhook_op_t  *op;

    op = q->data;

    ngx_http_intent_store_observe(NGX_HTTP_INTENT_STORE_WEBHOOKS, op->start);

    if (rc == NGX_ERROR) {
        ngx_log_error(NGX_LOG_ERR, op->pool->log, 0,
                      "intent store refused \"%s\" of webhook \"%V\": %s: %s",
                      q->stmt->name, op->wh->uri,
                      ngx_http_intent_pg_sqlstate(res),
                      ngx_http_intent_pg_message(res));
    }

    rc = (rc == NGX_OK) ? NGX_OK : NGX_ERROR;

    if (op->rows) {
        n = (rc == NGX_OK) ? (ngx_uint_t) PQntuples(res) : 0;
        op->rows(op->wh->data, rc, res, n);

    } else {
        n = (rc == NGX_OK) ? (ngx_uint_t) ngx_http_intent_pg_int8(res, 0, 0, 0)
                           : 0;
        op->handler(op->wh->data, rc, n);
    }

    ngx_destroy_pool(op->pool);
}


ngx_int_t
ngx_http_intent_store_webhook_fetch(ngx_http_intent_store_webhook_t *wh,
    ngx_uint_t which, u_char *ids, ngx_uint_t n,
    ngx_http_intent_store_webhook_rows_pt handler)
{
    ngx_uint_t                           i;
    ngx_http_intent_pg_array_t           a;
    ngx_http_intent_store_webhook_op_t  *op;

    op = ngx_http_intent_store_webhook_op(wh,
                               which == NGX_HTTP_INTENT_STORE_WEBHOOK_DUE
                               ? &ngx_http_intent_store_webhook_due_stmt
                               : &ngx_http_intent_store_webhook_next_stmt);
    if (op == NULL) {
        return NGX_ERROR;
    }

    op->rows = handler;

    if (ngx_http_intent_pg_array_begin(&a, op->pool, NGX_HTTP_INTENT_PG_UUID,
                                       n * (4 + 16))
        != NGX_OK)
    {
        goto failed;
    }

    for (i = 0; i < n; i++) {
        if (ngx_http_intent_pg_array_bytes(&a, ids + i * 16, 16) != NGX_OK) {
            goto failed;
        }
    }

    ngx_http_intent_pg_param_array(&op->query, 1, &a);

    return ngx_http_intent_store_webhook_run(op);

failed:

    ngx_destroy_pool(op->pool);

    return NGX_ERROR;
}


ngx_int_t
ngx_http_intent_store_webhook_row(void *rows, ngx_uint_t i, ngx_pool_t *pool,
    ngx_http_intent_t *in, ngx_uint_t *failures, ngx_msec_t *age)
{
    int64_t    ms;
    PGresult  *res;
    ngx_int_t  rc;

    res = rows;

    *failures = (ngx_uint_t) ngx_http_intent_pg_int8(res, (int) i,
                                   NGX_HTTP_INTENT_STORE_WEBHOOK_FAILURES, 0);

    ms = ngx_http_intent_pg_int8(res, (int) i,
                                 NGX_HTTP_INTENT_STORE_WEBHOOK_AGE, 0);
    *age = (ngx_msec_t) ngx_max(ms, 0);

    rc = ngx_http_intent_store_read_row(res, (int) i, pool, in);

    in->version = (ngx_uint_t) ngx_http_intent_pg_int8(res, (int) i,
                                    NGX_HTTP_INTENT_STORE_WEBHOOK_VERSION, 0);

    return rc;
}


ngx_int_t
ngx_http_intent_store_webhook_settle(ngx_http_intent_store_webhook_t *wh,
    ngx_http_intent_store_told_t *told, ngx_uint_t n,
    ngx_http_intent_store_webhook_pt handler)
{
    static const Oid  types[] = {
        NGX_HTTP_INTENT_PG_UUID, NGX_HTTP_INTENT_PG_INT8,
        NGX_HTTP_INTENT_PG_INT8, NGX_HTTP_INTENT_PG_INT8
    };

    ngx_uint_t                           i;
    ngx_http_intent_pg_array_t           a[4];
    ngx_http_intent_store_webhook_op_t  *op;

    op = ngx_http_intent_store_webhook_op(wh,
                                  &ngx_http_intent_store_webhook_settle_stmt);
    if (op == NULL) {
        return NGX_ERROR;
    }

    op->handler = handler;

    for (i = 0; i < 4; i++) {
        if (ngx_http_intent_pg_array_begin(&a[i], op->pool, types[i],
                                           n * (4 + 16))
            != NGX_OK)
        {
            goto failed;
        }
    }

    for (i = 0; i < n; i++) {
        if (ngx_http_intent_store_webhook_told(a, &told[i]) != NGX_OK) {
            goto failed;
        }
    }

    for (i = 0; i < 4; i++) {
        ngx_http_intent_pg_param_array(&op->query, i, &a[i]);
    }

    return ngx_http_intent_store_webhook_run(op);

failed:

    ngx_destroy_pool(op->pool);

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_intent_store_webhook_told(ngx_http_intent_pg_array_t *a,
    ngx_http_intent_store_told_t *told)
{
    ngx_int_t  rc;

    rc = ngx_http_intent_pg_array_bytes(&a[0], told->id, 16);
    rc |= ngx_http_intent_pg_array_int8(&a[1], (int64_t) told->version);
    rc |= ngx_http_intent_pg_array_int8(&a[2], told->done
                                               ? -1 : (int64_t) told->delay);
    rc |= ngx_http_intent_pg_array_int8(&a[3], (int64_t) told->counts);

    return rc == NGX_OK ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_http_intent_store_webhook_count(ngx_http_intent_store_webhook_t *wh,
    ngx_uint_t max, ngx_http_intent_store_webhook_pt handler)
{
    ngx_http_intent_store_webhook_op_t  *op;

    op = ngx_http_intent_store_webhook_op(wh,
                                   &ngx_http_intent_store_webhook_count_stmt);
    if (op == NULL) {
        return NGX_ERROR;
    }

    op->handler = handler;

    if (ngx_http_intent_pg_param_int8(&op->query, 1, op->pool, (int64_t) max)
        != NGX_OK)
    {
        ngx_destroy_pool(op->pool);
        return NGX_ERROR;
    }

    return ngx_http_intent_store_webhook_run_aside(op);
}


ngx_int_t
ngx_http_intent_store_webhook_forget(ngx_http_intent_store_webhook_t *wh,
    time_t max_age, ngx_http_intent_store_webhook_pt handler)
{
    ngx_http_intent_store_webhook_op_t  *op;

    op = ngx_http_intent_store_webhook_op(wh,
                                  &ngx_http_intent_store_webhook_forget_stmt);
    if (op == NULL) {
        return NGX_ERROR;
    }

    op->handler = handler;

    if (ngx_http_intent_pg_param_int8(&op->query, 1, op->pool,
                                      (int64_t) max_age)
        != NGX_OK
        || ngx_http_intent_pg_param_int8(&op->query, 2, op->pool,
                                         NGX_HTTP_INTENT_STORE_WEBHOOK_FORGET)
           != NGX_OK)
    {
        ngx_destroy_pool(op->pool);
        return NGX_ERROR;
    }

    return ngx_http_intent_store_webhook_run_aside(op);
}


/* ---- what nobody tells: a task of the sweeper ---- */


static void
ngx_http_intent_store_untold_run(ngx_http_intent_store_task_t *task)
{
    ngx_http_intent_pg_query_t  *q;

    q = &ngx_http_intent_store_untold_query;

    ngx_memzero(q, sizeof(ngx_http_intent_pg_query_t));

    ngx_http_intent_store_untold_limit[6] =
                                     NGX_HTTP_INTENT_STORE_UNTOLD_BATCH >> 8;
    ngx_http_intent_store_untold_limit[7] =
                                     NGX_HTTP_INTENT_STORE_UNTOLD_BATCH & 0xff;

    ngx_http_intent_pg_param_bytes(q, 0, ngx_http_intent_store_untold_limit,
                                   sizeof(ngx_http_intent_store_untold_limit));

    q->stmt = &ngx_http_intent_store_untold_stmt;
    q->handler = ngx_http_intent_store_untold_done;

    if (ngx_http_intent_pg_query(ngx_http_intent_store_sweep_session(), q)
        != NGX_OK)
    {
        ngx_http_intent_store_task_done(task,
                                        NGX_HTTP_INTENT_STORE_UNTOLD_RARE);
    }
}


static void
ngx_http_intent_store_untold_done(ngx_http_intent_pg_query_t *q, ngx_int_t rc,
    PGresult *res)
{
    int         row;
    int64_t     n, all;
    ngx_str_t   uri;
    ngx_log_t  *log;

    all = 0;
    log = ngx_http_intent_store_worker()->log;

    if (rc == NGX_ERROR) {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "intent sweeper: the server refused to delete what no "
                      "webhook was told: %s: %s",
                      ngx_http_intent_pg_sqlstate(res),
                      ngx_http_intent_pg_message(res));
    }

    for (row = 0; rc == NGX_OK && row < PQntuples(res); row++) {
        uri = ngx_http_intent_pg_bytes(res, row, 0);
        n = ngx_http_intent_pg_int8(res, row, 1, 0);
        all += n;

        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "intent sweeper: %L changes for webhook \"%V\" are "
                      "given up, in 31 days nobody has told it", n, &uri);
    }

    ngx_http_intent_store_task_done(&ngx_http_intent_store_untold,
                                    all == NGX_HTTP_INTENT_STORE_UNTOLD_BATCH
                                    ? NGX_HTTP_INTENT_STORE_UNTOLD_OFTEN
                                    : NGX_HTTP_INTENT_STORE_UNTOLD_RARE);
}
