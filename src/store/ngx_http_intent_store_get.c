
/*
 * Reading an intent by its id.
 */


#include "ngx_http_intent_store_private.h"


typedef struct {
    u_char                            id[16];
    ngx_pool_t                       *pool;
    ngx_http_intent_store_get_pt      handler;
    void                             *data;
    double                            start;
    ngx_http_intent_t                 intent;
    ngx_http_intent_store_read_t      read;
} ngx_http_intent_store_get_t;


static void ngx_http_intent_store_get_handler(
    ngx_http_intent_store_read_t *rd, ngx_int_t rc, PGresult *res);


static ngx_http_intent_pg_stmt_t  ngx_http_intent_store_select = {
    "intent_get",

    "SELECT " NGX_HTTP_INTENT_STORE_COLUMNS " FROM intents WHERE id = $1",

    1,

    { NGX_HTTP_INTENT_PG_UUID }
};


ngx_int_t
ngx_http_intent_store_get(ngx_str_t *id, ngx_pool_t *pool,
    ngx_http_intent_store_get_pt handler, void *data)
{
    ngx_http_intent_store_get_t  *get;

    get = ngx_pcalloc(pool, sizeof(ngx_http_intent_store_get_t));
    if (get == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_intent_id_parse(id->data, id->len, get->id) != NGX_OK) {
        return NGX_ERROR;
    }

    get->pool = pool;
    get->handler = handler;
    get->data = data;
    get->start = ngx_http_intent_seconds();

    get->read.query.stmt = &ngx_http_intent_store_select;
    get->read.handler = ngx_http_intent_store_get_handler;
    get->read.data = get;

    ngx_http_intent_pg_param_bytes(&get->read.query, 0, get->id, 16);

    return ngx_http_intent_store_read(&get->read);
}


static void
ngx_http_intent_store_get_handler(ngx_http_intent_store_read_t *rd,
    ngx_int_t rc, PGresult *res)
{
    ngx_http_intent_store_get_t  *get;

    get = rd->data;

    switch (rc) {

    case NGX_OK:

        rc = NGX_DECLINED;

        if (PQntuples(res)) {
            rc = ngx_http_intent_store_read_row(res, 0, get->pool,
                                                &get->intent);
        }

        break;

    case NGX_ERROR:
        ngx_log_error(NGX_LOG_ERR, get->pool->log, 0,
                      "intent store: the server refused to read: %s: %s",
                      ngx_http_intent_pg_sqlstate(res),
                      ngx_http_intent_pg_message(res));
        break;

    default:
        rc = NGX_ERROR;
    }

    ngx_http_intent_store_observe(NGX_HTTP_INTENT_STORE_GET, get->start);

    get->handler(get->data, rc, rc == NGX_OK ? &get->intent : NULL);
}
