
/*
 * The rows that lanes read: intents, and with them their transactions.
 */


#include "ngx_http_intent_store_lane_private.h"


ngx_uint_t
ngx_http_intent_store_rows(ngx_http_intent_store_rows_t *rows)
{
    if (rows->res == NULL
        || (!rows->has_tx && PQntuples(rows->res) == 1
            && PQgetisnull(rows->res, 0, 0)))
    {
        return 0;
    }

    return (ngx_uint_t) PQntuples(rows->res);
}


int64_t
ngx_http_intent_store_stray(ngx_http_intent_store_rows_t *rows, ngx_uint_t i,
    ngx_str_t *chain, ngx_str_t *signer)
{
    *chain = ngx_http_intent_pg_bytes(rows->res, (int) i, 0);
    *signer = ngx_http_intent_pg_bytes(rows->res, (int) i, 1);

    return ngx_http_intent_pg_int8(rows->res, (int) i, 2, 0);
}


ngx_int_t
ngx_http_intent_store_row(ngx_http_intent_store_rows_t *rows, ngx_uint_t i,
    ngx_pool_t *pool, ngx_http_intent_t *in, ngx_http_intent_store_tx_t *tx)
{
    int         row, col;
    ngx_str_t   field;
    PGresult   *res;

    res = rows->res;
    row = (int) i;

    ngx_http_intent_clear(in);

    if (!PQgetisnull(res, row, 0)
        && ngx_http_intent_store_read_row(res, row, pool, in) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (tx == NULL || !rows->has_tx) {
        return NGX_OK;
    }

    ngx_memzero(tx, sizeof(ngx_http_intent_store_tx_t));

    col = PQnfields(res) - 7;

    tx->nonce = ngx_http_intent_pg_int8(res, row, col + 1, -1);

    if (tx->nonce < 0) {
        return NGX_OK;
    }

    field = ngx_http_intent_pg_bytes(res, row, col);
    if (field.len != sizeof(tx->hash)) {
        return NGX_ERROR;
    }

    ngx_memcpy(tx->hash, field.data, field.len);

    field = ngx_http_intent_pg_bytes(res, row, col + 2);
    tx->raw.len = field.len;
    tx->raw.data = ngx_pstrdup(pool, &field);

    field = ngx_http_intent_pg_bytes(res, row, col + 3);
    tx->state.len = field.len;
    tx->state.data = ngx_pstrdup(pool, &field);

    tx->gas_limit = ngx_http_intent_pg_int8(res, row, col + 4, 0);

    field = ngx_http_intent_pg_bytes(res, row, col + 5);
    tx->max_fee.len = field.len;
    tx->max_fee.data = ngx_pstrdup(pool, &field);

    field = ngx_http_intent_pg_bytes(res, row, col + 6);
    tx->max_priority_fee.len = field.len;
    tx->max_priority_fee.data = ngx_pstrdup(pool, &field);

    if (tx->raw.data == NULL || tx->state.data == NULL
        || tx->max_fee.data == NULL || tx->max_priority_fee.data == NULL)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}
