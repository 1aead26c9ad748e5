
/*
 * Reading of many intents those that have changed.
 */


#include "ngx_http_intent_store_private.h"


typedef struct {
    ngx_pool_t                       *pool;
    ngx_http_intent_store_list_pt     handler;
    void                             *data;
    double                            start;
    ngx_uint_t                        retried;
    ngx_http_intent_pg_query_t        query;
} ngx_http_intent_store_newer_t;


static ngx_int_t ngx_http_intent_store_newer_build(
    ngx_http_intent_store_newer_t *nw, ngx_http_intent_known_t *known,
    ngx_uint_t n);
static ngx_int_t ngx_http_intent_store_newer_send(
    ngx_http_intent_store_newer_t *nw);
static void ngx_http_intent_store_newer_handler(ngx_http_intent_pg_query_t *q,
    ngx_int_t rc, PGresult *res);
static ngx_array_t *ngx_http_intent_store_newer_rows(PGresult *res,
    ngx_pool_t *pool);


static ngx_http_intent_pg_stmt_t  ngx_http_intent_store_newer_stmt = {
    "intent_newer",

    "SELECT " NGX_HTTP_INTENT_STORE_COLUMNS
    " FROM unnest($1::uuid[], $2::int8[]) AS k (known_id, known_version)"
    " JOIN intents ON id = known_id WHERE version > known_version",

    2,

    { NGX_HTTP_INTENT_PG_UUID_ARRAY, NGX_HTTP_INTENT_PG_INT8_ARRAY }
};


ngx_int_t
ngx_http_intent_store_newer(ngx_http_intent_known_t *known, ngx_uint_t n,
    ngx_pool_t *pool, ngx_http_intent_store_list_pt handler, void *data)
{
    ngx_http_intent_store_newer_t  *nw;

    nw = ngx_pcalloc(pool, sizeof(ngx_http_intent_store_newer_t));
    if (nw == NULL) {
        return NGX_ERROR;
    }

    nw->pool = pool;
    nw->handler = handler;
    nw->data = data;
    nw->start = ngx_http_intent_seconds();

    if (ngx_http_intent_store_newer_build(nw, known, n) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_intent_store_newer_send(nw);
}


static ngx_int_t
ngx_http_intent_store_newer_build(ngx_http_intent_store_newer_t *nw,
    ngx_http_intent_known_t *known, ngx_uint_t n)
{
    u_char                      id[16];
    ngx_uint_t                  i;
    ngx_http_intent_pg_array_t  ids, versions;

    if (ngx_http_intent_pg_array_begin(&ids, nw->pool, NGX_HTTP_INTENT_PG_UUID,
                                       n * (4 + 16))
        != NGX_OK
        || ngx_http_intent_pg_array_begin(&versions, nw->pool,
                                          NGX_HTTP_INTENT_PG_INT8, n * (4 + 8))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        if (ngx_http_intent_id_parse(known[i].id.data, known[i].id.len, id)
            != NGX_OK
            || ngx_http_intent_pg_array_bytes(&ids, id, 16) != NGX_OK
            || ngx_http_intent_pg_array_int8(&versions,
                                             (int64_t) known[i].version)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    nw->query.stmt = &ngx_http_intent_store_newer_stmt;
    nw->query.handler = ngx_http_intent_store_newer_handler;
    nw->query.data = nw;

    ngx_http_intent_pg_param_array(&nw->query, 0, &ids);
    ngx_http_intent_pg_param_array(&nw->query, 1, &versions);

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_store_newer_send(ngx_http_intent_store_newer_t *nw)
{
    ngx_http_intent_store_session_t  *session;

    session = ngx_http_intent_store_session();

    if (session == NULL) {
        return NGX_DECLINED;
    }

    return ngx_http_intent_pg_query(session->pg, &nw->query);
}


static void
ngx_http_intent_store_newer_handler(ngx_http_intent_pg_query_t *q,
    ngx_int_t rc, PGresult *res)
{
    ngx_array_t                    *intents;
    ngx_http_intent_store_newer_t  *nw;

    nw = q->data;
    intents = NULL;

    switch (rc) {

    case NGX_OK:
        intents = ngx_http_intent_store_newer_rows(res, nw->pool);
        break;

    case NGX_ERROR:
        ngx_log_error(NGX_LOG_ERR, nw->pool->log, 0,
                      "intent store: the server refused to read: %s: %s",
                      ngx_http_intent_pg_sqlstate(res),
                      ngx_http_intent_pg_message(res));
        break;

    default:

        /* the session was lost, another may be up; a read does no harm */

        if (!nw->retried) {
            nw->retried = 1;

            if (ngx_http_intent_store_newer_send(nw) == NGX_OK) {
                return;
            }
        }
    }

    ngx_http_intent_store_observe(NGX_HTTP_INTENT_STORE_GET, nw->start);

    nw->handler(nw->data, intents ? NGX_OK : NGX_ERROR, intents);
}


static ngx_array_t *
ngx_http_intent_store_newer_rows(PGresult *res, ngx_pool_t *pool)
{
    int                 row, nrows;
    ngx_array_t        *intents;
    ngx_http_intent_t  *in;

    nrows = PQntuples(res);

    intents = ngx_array_create(pool, nrows ? nrows : 1,
                               sizeof(ngx_http_intent_t));
    if (intents == NULL) {
        return NULL;
    }

    for (row = 0; row < nrows; row++) {
        in = ngx_array_push(intents);

        if (in == NULL
            || ngx_http_intent_store_read_row(res, row, pool, in) != NGX_OK)
        {
            return NULL;
        }
    }

    return intents;
}
