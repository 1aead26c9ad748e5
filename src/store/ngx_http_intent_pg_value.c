
/*
 * Parameters and results of Postgres in binary form: integers in network
 * byte order, times in microseconds from 2000-01-01, arrays as array_recv()
 * of the server takes them.
 */


#include "ngx_http_intent_pg.h"


/* dimensions, has nulls, element type; elements, lower bound */
#define NGX_HTTP_INTENT_PG_ARRAY_HEAD  20

/* 2000-01-01 from 1970-01-01, in milliseconds */
#define NGX_HTTP_INTENT_PG_EPOCH       946684800000LL


static u_char *ngx_http_intent_pg_put4(u_char *p, uint32_t v);
static u_char *ngx_http_intent_pg_put8(u_char *p, uint64_t v);
static uint64_t ngx_http_intent_pg_get(u_char *p, ngx_uint_t len);


ngx_int_t
ngx_http_intent_pg_param_int8(ngx_http_intent_pg_query_t *q, ngx_uint_t n,
    ngx_pool_t *pool, int64_t v)
{
    u_char  *p;

    p = ngx_pnalloc(pool, 8);
    if (p == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_http_intent_pg_put8(p, (uint64_t) v);

    ngx_http_intent_pg_param_bytes(q, n, p, 8);

    return NGX_OK;
}


ngx_int_t
ngx_http_intent_pg_param_time(ngx_http_intent_pg_query_t *q, ngx_uint_t n,
    ngx_pool_t *pool, int64_t msec)
{
    return ngx_http_intent_pg_param_int8(q, n, pool,
                                   (msec - NGX_HTTP_INTENT_PG_EPOCH) * 1000);
}


void
ngx_http_intent_pg_param_bytes(ngx_http_intent_pg_query_t *q, ngx_uint_t n,
    u_char *data, size_t len)
{
    q->values[n] = (const char *) data;
    q->lengths[n] = (int) len;
}


ngx_int_t
ngx_http_intent_pg_array_begin(ngx_http_intent_pg_array_t *a,
    ngx_pool_t *pool, Oid element, size_t size_hint)
{
    a->count = 0;
    a->nulls = 0;
    a->element = element;

    if (ngx_array_init(&a->bytes, pool,
                       NGX_HTTP_INTENT_PG_ARRAY_HEAD + size_hint, 1)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* the head is written when the number of elements is known */

    a->bytes.nelts = NGX_HTTP_INTENT_PG_ARRAY_HEAD;

    return NGX_OK;
}


ngx_int_t
ngx_http_intent_pg_array_int8(ngx_http_intent_pg_array_t *a, int64_t v)
{
    u_char  p[8];

    (void) ngx_http_intent_pg_put8(p, (uint64_t) v);

    return ngx_http_intent_pg_array_bytes(a, p, 8);
}


ngx_int_t
ngx_http_intent_pg_array_time(ngx_http_intent_pg_array_t *a, int64_t msec)
{
    return ngx_http_intent_pg_array_int8(a,
                                   (msec - NGX_HTTP_INTENT_PG_EPOCH) * 1000);
}


ngx_int_t
ngx_http_intent_pg_array_bytes(ngx_http_intent_pg_array_t *a, u_char *data,
    size_t len)
{
    u_char  *p;

    p = ngx_array_push_n(&a->bytes, 4 + len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    p = ngx_http_intent_pg_put4(p, (uint32_t) len);

    if (len) {
        ngx_memcpy(p, data, len);
    }

    a->count++;

    return NGX_OK;
}


ngx_int_t
ngx_http_intent_pg_array_null(ngx_http_intent_pg_array_t *a)
{
    u_char  *p;

    p = ngx_array_push_n(&a->bytes, 4);
    if (p == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_http_intent_pg_put4(p, (uint32_t) -1);

    a->count++;
    a->nulls = 1;

    return NGX_OK;
}


void
ngx_http_intent_pg_param_array(ngx_http_intent_pg_query_t *q, ngx_uint_t n,
    ngx_http_intent_pg_array_t *a)
{
    u_char  *p;
    size_t   len;

    p = a->bytes.elts;

    /* an array of nothing has no dimensions */

    p = ngx_http_intent_pg_put4(p, a->count ? 1 : 0);
    p = ngx_http_intent_pg_put4(p, (uint32_t) a->nulls);
    p = ngx_http_intent_pg_put4(p, a->element);

    if (a->count) {
        p = ngx_http_intent_pg_put4(p, (uint32_t) a->count);
        p = ngx_http_intent_pg_put4(p, 1);
        len = a->bytes.nelts;

    } else {
        len = p - (u_char *) a->bytes.elts;
    }

    ngx_http_intent_pg_param_bytes(q, n, a->bytes.elts, len);
}


int64_t
ngx_http_intent_pg_int8(PGresult *res, int row, int col, int64_t null)
{
    u_char  *p;

    if (PQgetisnull(res, row, col)) {
        return null;
    }

    p = (u_char *) PQgetvalue(res, row, col);

    switch (PQgetlength(res, row, col)) {

    case 2:
        return (int16_t) ngx_http_intent_pg_get(p, 2);

    case 4:
        return (int32_t) ngx_http_intent_pg_get(p, 4);

    case 8:
        return (int64_t) ngx_http_intent_pg_get(p, 8);

    default:
        return null;
    }
}


ngx_uint_t
ngx_http_intent_pg_bool(PGresult *res, int row, int col)
{
    return PQgetlength(res, row, col) == 1 && *PQgetvalue(res, row, col);
}


int64_t
ngx_http_intent_pg_time(PGresult *res, int row, int col, int64_t null)
{
    int64_t  v;

    if (PQgetisnull(res, row, col) || PQgetlength(res, row, col) != 8) {
        return null;
    }

    v = (int64_t) ngx_http_intent_pg_get((u_char *) PQgetvalue(res, row, col),
                                         8);

    if (v == INT64_MAX || v == INT64_MIN) {
        return null;
    }

    /* rounded down also before 2000 */

    return (v >= 0 ? v / 1000 : -((-v + 999) / 1000))
           + NGX_HTTP_INTENT_PG_EPOCH;
}


ngx_str_t
ngx_http_intent_pg_bytes(PGresult *res, int row, int col)
{
    ngx_str_t  s;

    if (PQgetisnull(res, row, col)) {
        ngx_str_null(&s);
        return s;
    }

    s.data = (u_char *) PQgetvalue(res, row, col);
    s.len = PQgetlength(res, row, col);

    return s;
}


const char *
ngx_http_intent_pg_sqlstate(PGresult *res)
{
    char  *p;

    p = PQresultErrorField(res, PG_DIAG_SQLSTATE);

    return p ? p : "-----";
}


const char *
ngx_http_intent_pg_message(PGresult *res)
{
    char  *p;

    p = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);

    /* an error of libpq itself has no fields, and no row in it */

    return p ? p : PQresultErrorMessage(res);
}


static u_char *
ngx_http_intent_pg_put4(u_char *p, uint32_t v)
{
    *p++ = (u_char) (v >> 24);
    *p++ = (u_char) (v >> 16);
    *p++ = (u_char) (v >> 8);
    *p++ = (u_char) v;

    return p;
}


static u_char *
ngx_http_intent_pg_put8(u_char *p, uint64_t v)
{
    p = ngx_http_intent_pg_put4(p, (uint32_t) (v >> 32));

    return ngx_http_intent_pg_put4(p, (uint32_t) v);
}


static uint64_t
ngx_http_intent_pg_get(u_char *p, ngx_uint_t len)
{
    uint64_t  v;

    for (v = 0; len; len--) {
        v = v << 8 | *p++;
    }

    return v;
}
