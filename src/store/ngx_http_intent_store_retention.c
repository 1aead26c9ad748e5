
/*
 * Finished intents that are older than intent_retention are deleted, and with
 * them their transactions; so are the transactions that filled a gap.
 *
 * A signed intent stays until an hour after its deadline, however old it is:
 * its digest is what keeps it from being taken a second time.
 *
 * Each batch is a commit of its own, small enough to be over soon, and there
 * is a pause after it: what users wait for comes first.  Those that may not go
 * yet are passed over, so a pass remembers where it is in the index.
 *
 * What grows old does so at the end of the index, so the next pass goes on
 * from there.  Those that were passed over are looked at again by a pass from
 * the beginning, the later the more they are.
 */


#include "ngx_http_intent_store_private.h"


#define NGX_HTTP_INTENT_STORE_RETENTION_POOL   512
#define NGX_HTTP_INTENT_STORE_RETENTION_FIRST  100      /* rows */
#define NGX_HTTP_INTENT_STORE_RETENTION_MIN    10
#define NGX_HTTP_INTENT_STORE_RETENTION_MAX    500
#define NGX_HTTP_INTENT_STORE_RETENTION_LONG   0.05     /* s, of a batch */
#define NGX_HTTP_INTENT_STORE_RETENTION_PAUSE  20       /* ms */

/* from the end of a pass to the next: a tenth of the time, within limits */
#define NGX_HTTP_INTENT_STORE_RETENTION_OFTEN  1000     /* ms */
#define NGX_HTTP_INTENT_STORE_RETENTION_RARE   60000
#define NGX_HTTP_INTENT_STORE_RETENTION_RETRY  10000

/* ms, for each row that was passed over; at most */
#define NGX_HTTP_INTENT_STORE_RETENTION_KEPT   20
#define NGX_HTTP_INTENT_STORE_RETENTION_WHOLE  3600000


/* the parameters, both statements have the first two */
typedef enum {
    NGX_HTTP_INTENT_STORE_OLD_AGE = 0,
    NGX_HTTP_INTENT_STORE_OLD_LIMIT,
    NGX_HTTP_INTENT_STORE_OLD_TIME,
    NGX_HTTP_INTENT_STORE_OLD_ID,
    NGX_HTTP_INTENT_STORE_OLD_PARAMETERS
} ngx_http_intent_store_old_e;


typedef struct {
    ngx_pool_t                      *pool;
    ngx_http_intent_pg_stmt_t       *stmt;
    ngx_uint_t                       limit;     /* rows of a batch */
    ngx_uint_t                       deleted;   /* intents, in this pass */
    ngx_uint_t                       kept;      /* passed over, since the last
                                                   one from the beginning */
    ngx_msec_t                       passed_at; /* by that one */
    ngx_uint_t                       whole;     /* this is one */
    double                           start;
    u_char                           time[8];   /* where the pass is, as the
                                                   server says it */
    u_char                           id[16];
    ngx_http_intent_pg_query_t       query;
} ngx_http_intent_store_retaining_t;


static void ngx_http_intent_store_retention_run(
    ngx_http_intent_store_task_t *task);
static void ngx_http_intent_store_retention_begin(
    ngx_http_intent_store_retaining_t *rt);
static ngx_int_t ngx_http_intent_store_retention_send(
    ngx_http_intent_store_retaining_t *rt);
static void ngx_http_intent_store_retention_handler(
    ngx_http_intent_pg_query_t *q, ngx_int_t rc, PGresult *res);
static ngx_uint_t ngx_http_intent_store_retention_intents(
    ngx_http_intent_store_retaining_t *rt, PGresult *res);
static ngx_msec_t ngx_http_intent_store_retention_pace(
    ngx_http_intent_store_retaining_t *rt);
static ngx_msec_t ngx_http_intent_store_retention_rest(
    ngx_http_intent_store_retaining_t *rt);
static void ngx_http_intent_store_retention_done(ngx_msec_t delay);


/*
 * No row where there is nothing old behind the place of the pass; else how
 * many were looked at, how many deleted, and the place of the last.  A
 * transaction that is not finished keeps its intent; that is asked as it is
 * because for an EXISTS the server may choose to read all of that table.  A row
 * that somebody has is passed over: what waits behind it on this session are
 * the lanes.
 */

static ngx_http_intent_pg_stmt_t  ngx_http_intent_store_old_intents = {
    "sweep_intents",

    "WITH old AS MATERIALIZED ("
    "SELECT id, updated_at,"
    " (digest IS NULL OR expires_at < now() - interval '1 hour')"
    " AND coalesce((SELECT bool_and(state IN ('mined', 'dropped'))"
        " FROM intent_transactions WHERE intent_id = i.id), true)"
    " AS free FROM intents i"
    " WHERE status IN " NGX_HTTP_INTENT_STORE_FINISHED
    " AND updated_at < now() - $1 * interval '1 second'"
    " AND (updated_at, id) > ($3, $4)"
    " ORDER BY updated_at, id LIMIT $2"
    "), mine AS MATERIALIZED ("
    "SELECT id FROM intents WHERE id IN (SELECT id FROM old WHERE free)"
    " AND status IN " NGX_HTTP_INTENT_STORE_FINISHED " FOR UPDATE SKIP LOCKED"
    "), gone AS ("
    "DELETE FROM intents WHERE id IN (SELECT id FROM mine) RETURNING 1"
    ") SELECT (SELECT count(*) FROM old), (SELECT count(*) FROM gone),"
    " updated_at, id FROM old ORDER BY updated_at DESC, id DESC LIMIT 1",

    NGX_HTTP_INTENT_STORE_OLD_PARAMETERS,

    { NGX_HTTP_INTENT_PG_INT8, NGX_HTTP_INTENT_PG_INT8,
      NGX_HTTP_INTENT_PG_TIMESTAMPTZ, NGX_HTTP_INTENT_PG_UUID }
};


static ngx_http_intent_pg_stmt_t  ngx_http_intent_store_old_fillers = {
    "sweep_fillers",

    "DELETE FROM intent_transactions WHERE hash IN ("
    "SELECT hash FROM intent_transactions"
    " WHERE intent_id IS NULL AND state IN ('mined', 'dropped')"
    " AND created_at < now() - $1 * interval '1 second'"
    " ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED)",

    2, { NGX_HTTP_INTENT_PG_INT8, NGX_HTTP_INTENT_PG_INT8 }
};


ngx_http_intent_store_task_t  ngx_http_intent_store_retention = {
    .run = ngx_http_intent_store_retention_run
};


static ngx_http_intent_store_retaining_t  ngx_http_intent_store_retaining;


static void
ngx_http_intent_store_retention_run(ngx_http_intent_store_task_t *task)
{
    ngx_http_intent_store_retaining_t  *rt;

    rt = &ngx_http_intent_store_retaining;

    if (rt->stmt == NULL) {
        ngx_http_intent_store_retention_begin(rt);
    }

    rt->start = ngx_http_intent_seconds();
    rt->pool = ngx_create_pool(NGX_HTTP_INTENT_STORE_RETENTION_POOL,
                               ngx_http_intent_store_worker()->log);

    if (rt->pool == NULL
        || ngx_http_intent_store_retention_send(rt) != NGX_OK)
    {
        ngx_http_intent_store_retention_done(
                                       NGX_HTTP_INTENT_STORE_RETENTION_RETRY);
    }
}


/* a pass: from where the last one ended, or from the time "-infinity" */

static void
ngx_http_intent_store_retention_begin(ngx_http_intent_store_retaining_t *rt)
{
    ngx_msec_t  wait;

    rt->stmt = &ngx_http_intent_store_old_intents;
    rt->deleted = 0;

    if (rt->limit == 0) {
        rt->limit = NGX_HTTP_INTENT_STORE_RETENTION_FIRST;
    }

    wait = ngx_min(rt->kept, NGX_HTTP_INTENT_STORE_RETENTION_WHOLE
                             / NGX_HTTP_INTENT_STORE_RETENTION_KEPT)
           * NGX_HTTP_INTENT_STORE_RETENTION_KEPT;

    if (rt->kept && ngx_current_msec - rt->passed_at < wait) {
        return;
    }

    rt->whole = 1;
    rt->kept = 0;

    ngx_memzero(rt->time, sizeof(rt->time));
    rt->time[0] = 0x80;

    ngx_memzero(rt->id, sizeof(rt->id));
}


static ngx_int_t
ngx_http_intent_store_retention_send(ngx_http_intent_store_retaining_t *rt)
{
    time_t  age;

    age = ngx_http_intent_store_worker()->conf->retention;

    ngx_memzero(&rt->query, sizeof(ngx_http_intent_pg_query_t));

    if (ngx_http_intent_pg_param_int8(&rt->query,
                                      NGX_HTTP_INTENT_STORE_OLD_AGE, rt->pool,
                                      (int64_t) age)
        != NGX_OK
        || ngx_http_intent_pg_param_int8(&rt->query,
                                         NGX_HTTP_INTENT_STORE_OLD_LIMIT,
                                         rt->pool, (int64_t) rt->limit)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_http_intent_pg_param_bytes(&rt->query, NGX_HTTP_INTENT_STORE_OLD_TIME,
                                   rt->time, sizeof(rt->time));
    ngx_http_intent_pg_param_bytes(&rt->query, NGX_HTTP_INTENT_STORE_OLD_ID,
                                   rt->id, sizeof(rt->id));

    rt->query.stmt = rt->stmt;
    rt->query.handler = ngx_http_intent_store_retention_handler;

    return ngx_http_intent_pg_query(ngx_http_intent_store_sweep_session(),
                                    &rt->query);
}


static void
ngx_http_intent_store_retention_handler(ngx_http_intent_pg_query_t *q,
    ngx_int_t rc, PGresult *res)
{
    ngx_uint_t                          full;
    ngx_msec_t                          delay;
    ngx_http_intent_store_retaining_t  *rt;

    rt = &ngx_http_intent_store_retaining;

    ngx_http_intent_store_observe(NGX_HTTP_INTENT_STORE_RETENTION, rt->start);

    if (rc != NGX_OK) {

        if (rc == NGX_ERROR) {
            ngx_log_error(NGX_LOG_ERR, rt->pool->log, 0,
                          "intent retention: the server refused to delete "
                          "%ui: %s: %s", rt->limit,
                          ngx_http_intent_pg_sqlstate(res),
                          ngx_http_intent_pg_message(res));

            rt->limit = ngx_max(rt->limit / 2,
                                NGX_HTTP_INTENT_STORE_RETENTION_MIN);
        }

        rt->stmt = NULL;

        ngx_http_intent_store_retention_done(
                                       NGX_HTTP_INTENT_STORE_RETENTION_RETRY);
        return;
    }

    if (rt->stmt == &ngx_http_intent_store_old_intents) {
        full = ngx_http_intent_store_retention_intents(rt, res);
        delay = ngx_http_intent_store_retention_pace(rt);

        if (!full) {
            rt->stmt = &ngx_http_intent_store_old_fillers;
        }

    } else {
        full = ngx_atoi((u_char *) PQcmdTuples(res),
                        ngx_strlen(PQcmdTuples(res)))
               == (ngx_int_t) rt->limit;

        delay = full ? ngx_http_intent_store_retention_pace(rt)
                     : ngx_http_intent_store_retention_rest(rt);
    }

    ngx_http_intent_store_retention_done(delay);
}


/* is there more to look at, perhaps? */

static ngx_uint_t
ngx_http_intent_store_retention_intents(ngx_http_intent_store_retaining_t *rt,
    PGresult *res)
{
    ngx_str_t   time, id;
    ngx_uint_t  seen, deleted;

    if (PQntuples(res) == 0) {
        return 0;
    }

    seen = (ngx_uint_t) ngx_http_intent_pg_int8(res, 0, 0, 0);
    deleted = (ngx_uint_t) ngx_http_intent_pg_int8(res, 0, 1, 0);
    time = ngx_http_intent_pg_bytes(res, 0, 2);
    id = ngx_http_intent_pg_bytes(res, 0, 3);

    rt->deleted += deleted;
    rt->kept += seen - ngx_min(seen, deleted);

    ngx_http_intent_stat_inc(ngx_http_intent_store_worker()->conf->deleted,
                             deleted);

    if (time.len != sizeof(rt->time) || id.len != sizeof(rt->id)) {
        return 0;
    }

    ngx_memcpy(rt->time, time.data, sizeof(rt->time));
    ngx_memcpy(rt->id, id.data, sizeof(rt->id));

    return seen == rt->limit;
}


/* the more a batch took, the fewer are in the next, and the later it is */

static ngx_msec_t
ngx_http_intent_store_retention_pace(ngx_http_intent_store_retaining_t *rt)
{
    double  took;

    took = ngx_http_intent_seconds() - rt->start;

    if (took > NGX_HTTP_INTENT_STORE_RETENTION_LONG) {
        rt->limit = ngx_max(rt->limit / 2,
                            NGX_HTTP_INTENT_STORE_RETENTION_MIN);

    } else if (took < NGX_HTTP_INTENT_STORE_RETENTION_LONG / 2) {
        rt->limit = ngx_min(rt->limit * 3 / 2,
                            NGX_HTTP_INTENT_STORE_RETENTION_MAX);
    }

    return (ngx_msec_t) (took * 3000)
           + NGX_HTTP_INTENT_STORE_RETENTION_PAUSE;
}


static ngx_msec_t
ngx_http_intent_store_retention_rest(ngx_http_intent_store_retaining_t *rt)
{
    time_t  age;

    if (rt->deleted) {
        ngx_log_error(NGX_LOG_INFO, rt->pool->log, 0,
                      "intent retention: %ui finished intents deleted",
                      rt->deleted);
    }

    rt->stmt = NULL;

    if (rt->whole) {
        rt->whole = 0;
        rt->passed_at = ngx_current_msec;
    }

    age = ngx_http_intent_store_worker()->conf->retention;

    if (age * 100 < NGX_HTTP_INTENT_STORE_RETENTION_OFTEN) {
        return NGX_HTTP_INTENT_STORE_RETENTION_OFTEN;
    }

    return (ngx_msec_t) ngx_min(age * 100,
                                NGX_HTTP_INTENT_STORE_RETENTION_RARE);
}


static void
ngx_http_intent_store_retention_done(ngx_msec_t delay)
{
    ngx_pool_t                         *pool;
    ngx_http_intent_store_retaining_t  *rt;

    rt = &ngx_http_intent_store_retaining;

    pool = rt->pool;
    rt->pool = NULL;

    if (pool) {
        ngx_destroy_pool(pool);
    }

    ngx_http_intent_store_task_done(&ngx_http_intent_store_retention, delay);
}
