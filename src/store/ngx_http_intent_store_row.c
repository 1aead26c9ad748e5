
/*
 * A row of the table intents becomes an intent.
 */


#include "ngx_http_intent_store_private.h"


/* in the order of NGX_HTTP_INTENT_STORE_COLUMNS */

typedef enum {
    NGX_HTTP_INTENT_STORE_ID = 0,
    NGX_HTTP_INTENT_STORE_TYPE,
    NGX_HTTP_INTENT_STORE_STATUS,
    NGX_HTTP_INTENT_STORE_CHAIN,
    NGX_HTTP_INTENT_STORE_USER_ID,
    NGX_HTTP_INTENT_STORE_PARAMS,
    NGX_HTTP_INTENT_STORE_ATTEMPTS,
    NGX_HTTP_INTENT_STORE_TX_HASH,
    NGX_HTTP_INTENT_STORE_BLOCK_NUMBER,
    NGX_HTTP_INTENT_STORE_CONFIRMATIONS,
    NGX_HTTP_INTENT_STORE_GAS_USED,
    NGX_HTTP_INTENT_STORE_GAS_COST,
    NGX_HTTP_INTENT_STORE_ERROR,
    NGX_HTTP_INTENT_STORE_VERSION,
    NGX_HTTP_INTENT_STORE_CREATED_AT,
    NGX_HTTP_INTENT_STORE_UPDATED_AT,
    NGX_HTTP_INTENT_STORE_EXPIRES_AT,
    NGX_HTTP_INTENT_STORE_SIGNATURE,
    NGX_HTTP_INTENT_STORE_NONCE,
    NGX_HTTP_INTENT_STORE_WEBHOOK
} ngx_http_intent_store_column_e;


static ngx_int_t ngx_http_intent_store_row_strings(PGresult *res, int row,
    ngx_pool_t *pool, ngx_http_intent_t *in);
static void ngx_http_intent_store_row_numbers(PGresult *res, int row,
    ngx_http_intent_t *in);
static ngx_int_t ngx_http_intent_store_row_id(PGresult *res, int row,
    ngx_pool_t *pool, ngx_http_intent_t *in);
static ngx_int_t ngx_http_intent_store_row_status(PGresult *res, int row,
    ngx_pool_t *pool, ngx_http_intent_t *in);
static ngx_int_t ngx_http_intent_store_row_tx_hash(PGresult *res, int row,
    ngx_pool_t *pool, ngx_http_intent_t *in);
static ngx_int_t ngx_http_intent_store_row_text(PGresult *res, int row,
    int col, ngx_pool_t *pool, ngx_str_t *s);


ngx_int_t
ngx_http_intent_store_read_row(PGresult *res, int row, ngx_pool_t *pool,
    ngx_http_intent_t *in)
{
    ngx_http_intent_clear(in);

    if (PQnfields(res) < NGX_HTTP_INTENT_STORE_NCOLUMNS) {
        ngx_log_error(NGX_LOG_ALERT, pool->log, 0,
                      "an intent's row has %d columns, it should have %d",
                      PQnfields(res), NGX_HTTP_INTENT_STORE_NCOLUMNS);
        return NGX_ERROR;
    }

    if (ngx_http_intent_store_row_id(res, row, pool, in) != NGX_OK
        || ngx_http_intent_store_row_status(res, row, pool, in) != NGX_OK
        || ngx_http_intent_store_row_tx_hash(res, row, pool, in) != NGX_OK
        || ngx_http_intent_store_row_strings(res, row, pool, in) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_http_intent_store_row_numbers(res, row, in);

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_store_row_strings(PGresult *res, int row, ngx_pool_t *pool,
    ngx_http_intent_t *in)
{
    if (ngx_http_intent_store_row_text(res, row, NGX_HTTP_INTENT_STORE_TYPE,
                                       pool, &in->type)
        != NGX_OK
        || ngx_http_intent_store_row_text(res, row,
               NGX_HTTP_INTENT_STORE_CHAIN, pool, &in->chain)
           != NGX_OK
        || ngx_http_intent_store_row_text(res, row,
               NGX_HTTP_INTENT_STORE_USER_ID, pool, &in->user_id)
           != NGX_OK
        || ngx_http_intent_store_row_text(res, row,
               NGX_HTTP_INTENT_STORE_PARAMS, pool, &in->params)
           != NGX_OK
        || ngx_http_intent_store_row_text(res, row,
               NGX_HTTP_INTENT_STORE_GAS_COST, pool, &in->gas_cost)
           != NGX_OK
        || ngx_http_intent_store_row_text(res, row,
               NGX_HTTP_INTENT_STORE_ERROR, pool, &in->error)
           != NGX_OK
        || ngx_http_intent_store_row_text(res, row,
               NGX_HTTP_INTENT_STORE_SIGNATURE, pool, &in->signature)
           != NGX_OK
        || ngx_http_intent_store_row_text(res, row,
               NGX_HTTP_INTENT_STORE_NONCE, pool, &in->nonce)
           != NGX_OK
        || ngx_http_intent_store_row_text(res, row,
               NGX_HTTP_INTENT_STORE_WEBHOOK, pool, &in->webhook)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_http_intent_store_row_numbers(PGresult *res, int row,
    ngx_http_intent_t *in)
{
    in->attempts = (ngx_uint_t) ngx_http_intent_pg_int8(res, row,
                                        NGX_HTTP_INTENT_STORE_ATTEMPTS, 0);
    in->confirmations = (ngx_uint_t) ngx_http_intent_pg_int8(res, row,
                                   NGX_HTTP_INTENT_STORE_CONFIRMATIONS, 0);
    in->version = (ngx_uint_t) ngx_http_intent_pg_int8(res, row,
                                         NGX_HTTP_INTENT_STORE_VERSION, 0);

    in->block_number = ngx_http_intent_pg_int8(res, row,
                                   NGX_HTTP_INTENT_STORE_BLOCK_NUMBER, -1);
    in->gas_used = ngx_http_intent_pg_int8(res, row,
                                       NGX_HTTP_INTENT_STORE_GAS_USED, -1);

    in->created_at = ngx_http_intent_pg_time(res, row,
                                      NGX_HTTP_INTENT_STORE_CREATED_AT, 0);
    in->updated_at = ngx_http_intent_pg_time(res, row,
                                      NGX_HTTP_INTENT_STORE_UPDATED_AT, 0);
    in->expires_at = ngx_http_intent_pg_time(res, row,
                                     NGX_HTTP_INTENT_STORE_EXPIRES_AT, -1);
}


static ngx_int_t
ngx_http_intent_store_row_id(PGresult *res, int row, ngx_pool_t *pool,
    ngx_http_intent_t *in)
{
    ngx_str_t  uuid;

    uuid = ngx_http_intent_pg_bytes(res, row, NGX_HTTP_INTENT_STORE_ID);

    if (uuid.len != 16) {
        ngx_log_error(NGX_LOG_ALERT, pool->log, 0,
                      "an intent's row has an id of %uz bytes", uuid.len);
        return NGX_ERROR;
    }

    in->id.data = ngx_pnalloc(pool, NGX_HTTP_INTENT_ID_LEN);
    if (in->id.data == NULL) {
        return NGX_ERROR;
    }

    in->id.len = NGX_HTTP_INTENT_ID_LEN;
    ngx_http_intent_id_format(uuid.data, in->id.data);

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_store_row_status(PGresult *res, int row, ngx_pool_t *pool,
    ngx_http_intent_t *in)
{
    ngx_int_t  status;
    ngx_str_t  name;

    name = ngx_http_intent_pg_bytes(res, row, NGX_HTTP_INTENT_STORE_STATUS);

    status = ngx_http_intent_status_parse(&name);

    if (status == NGX_ERROR) {
        ngx_log_error(NGX_LOG_ERR, pool->log, 0,
                      "intent %V has the unknown status \"%V\" in Postgres",
                      &in->id, &name);
        return NGX_ERROR;
    }

    in->status = (ngx_uint_t) status;

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_store_row_tx_hash(PGresult *res, int row, ngx_pool_t *pool,
    ngx_http_intent_t *in)
{
    u_char     *p;
    ngx_str_t   hash;

    hash = ngx_http_intent_pg_bytes(res, row, NGX_HTTP_INTENT_STORE_TX_HASH);

    if (hash.len == 0) {
        return NGX_OK;
    }

    p = ngx_pnalloc(pool, 2 + 2 * hash.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    in->tx_hash.data = p;
    in->tx_hash.len = 2 + 2 * hash.len;

    *p++ = '0';
    *p++ = 'x';
    (void) ngx_hex_dump(p, hash.data, hash.len);

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_store_row_text(PGresult *res, int row, int col,
    ngx_pool_t *pool, ngx_str_t *s)
{
    ngx_str_t  text;

    text = ngx_http_intent_pg_bytes(res, row, col);

    if (text.len == 0) {
        return NGX_OK;
    }

    s->data = ngx_pstrdup(pool, &text);
    s->len = text.len;

    return s->data ? NGX_OK : NGX_ERROR;
}
