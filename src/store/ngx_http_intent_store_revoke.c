
/*
 * Intents whose commit was not known when their clients had waited long
 * enough.  What got no 202 is not to be carried out, so they are deleted
 * when Postgres answers again, if nothing was done with them yet.
 */


#include "ngx_http_intent_store_private.h"


#define NGX_HTTP_INTENT_STORE_REVOKE_MAX   8192
#define NGX_HTTP_INTENT_STORE_REVOKE_POOL  1024


typedef struct {
    u_char                           *ids;      /* of 16 bytes each */
    ngx_uint_t                        n;
    ngx_uint_t                        asked;    /* the first, under way */
    ngx_pool_t                       *pool;     /* of what is under way */
    double                            start;
    ngx_http_intent_pg_query_t        query;
} ngx_http_intent_store_revoking_t;


static ngx_int_t ngx_http_intent_store_revoke_build(
    ngx_http_intent_store_revoking_t *rv);
static void ngx_http_intent_store_revoke_handler(
    ngx_http_intent_pg_query_t *q, ngx_int_t rc, PGresult *res);


/* version 1: as it was born, so that no attempt was ever made */

static ngx_http_intent_pg_stmt_t  ngx_http_intent_store_delete = {
    "intent_revoke",

    "DELETE FROM intents WHERE id = ANY($1) AND status = 'pending'"
    " AND claimed_by IS NULL AND version = 1",

    1,

    { NGX_HTTP_INTENT_PG_UUID_ARRAY }
};


static ngx_http_intent_store_revoking_t  ngx_http_intent_store_revoking;


void
ngx_http_intent_store_revoke(ngx_http_intent_transition_t *t)
{
    ngx_str_t                         *id;
    ngx_uint_t                         i;
    ngx_http_intent_store_revoking_t  *rv;

    rv = &ngx_http_intent_store_revoking;

    if (rv->ids == NULL) {
        rv->ids = ngx_palloc(ngx_http_intent_store_worker()->pool,
                             NGX_HTTP_INTENT_STORE_REVOKE_MAX * 16);
    }

    for (i = 0; i < t->nchanges; i++) {
        id = &t->changes[i].intent->id;

        if (rv->ids == NULL || rv->n == NGX_HTTP_INTENT_STORE_REVOKE_MAX) {
            ngx_log_error(NGX_LOG_ERR, t->log, 0,
                          "intent store: intent \"%V\" may have been kept "
                          "and will not be revoked, there are too many", id);
            continue;
        }

        if (ngx_http_intent_id_parse(id->data, id->len, rv->ids + rv->n * 16)
            != NGX_OK)
        {
            continue;
        }

        /* an exiting worker waits for it */

        if (rv->n++ == 0) {
            ngx_http_intent_hold();
        }
    }

    ngx_http_intent_store_create_wake();
}


void
ngx_http_intent_store_revoke_wake(void)
{
    ngx_http_intent_store_session_t   *session;
    ngx_http_intent_store_revoking_t  *rv;

    rv = &ngx_http_intent_store_revoking;

    if (rv->n == 0 || rv->asked) {
        return;
    }

    session = ngx_http_intent_store_session();

    if (session == NULL) {
        return;
    }

    rv->start = ngx_http_intent_seconds();

    if (ngx_http_intent_store_revoke_build(rv) == NGX_OK
        && ngx_http_intent_pg_query(session->pg, &rv->query) == NGX_OK)
    {
        rv->asked = rv->n;
        return;
    }

    if (rv->pool) {
        ngx_destroy_pool(rv->pool);
        rv->pool = NULL;
    }
}


void
ngx_http_intent_store_revoke_exit(void)
{
    u_char                             id[NGX_HTTP_INTENT_ID_LEN];
    ngx_uint_t                         i;
    ngx_http_intent_store_revoking_t  *rv;

    rv = &ngx_http_intent_store_revoking;

    for (i = 0; i < rv->n; i++) {
        ngx_http_intent_id_format(rv->ids + i * 16, id);

        ngx_log_error(NGX_LOG_ERR, ngx_http_intent_store_worker()->log, 0,
                      "intent store: intent \"%*s\" may have been kept and "
                      "was not revoked, Postgres did not answer",
                      sizeof(id), id);
    }
}


static ngx_int_t
ngx_http_intent_store_revoke_build(ngx_http_intent_store_revoking_t *rv)
{
    ngx_uint_t                  i;
    ngx_http_intent_pg_array_t  a;

    rv->pool = ngx_create_pool(NGX_HTTP_INTENT_STORE_REVOKE_POOL,
                               ngx_http_intent_store_worker()->log);
    if (rv->pool == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_intent_pg_array_begin(&a, rv->pool, NGX_HTTP_INTENT_PG_UUID,
                                       rv->n * (4 + 16))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < rv->n; i++) {
        if (ngx_http_intent_pg_array_bytes(&a, rv->ids + i * 16, 16)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    ngx_memzero(&rv->query, sizeof(ngx_http_intent_pg_query_t));

    ngx_http_intent_pg_param_array(&rv->query, 0, &a);

    rv->query.stmt = &ngx_http_intent_store_delete;
    rv->query.handler = ngx_http_intent_store_revoke_handler;
    rv->query.data = rv;

    return NGX_OK;
}


static void
ngx_http_intent_store_revoke_handler(ngx_http_intent_pg_query_t *q,
    ngx_int_t rc, PGresult *res)
{
    ngx_log_t                         *log;
    ngx_uint_t                         asked;
    ngx_http_intent_store_revoking_t  *rv;

    rv = q->data;
    log = ngx_http_intent_store_worker()->log;

    asked = rv->asked;
    rv->asked = 0;

    ngx_destroy_pool(rv->pool);
    rv->pool = NULL;

    ngx_http_intent_store_observe(NGX_HTTP_INTENT_STORE_REVOKE, rv->start);

    switch (rc) {

    case NGX_OK:
        ngx_log_error(NGX_LOG_NOTICE, log, 0,
                      "intent store: %s intents revoked, of %ui whose commit "
                      "was not known", PQcmdTuples(res), asked);
        break;

    case NGX_ERROR:
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "intent store: %ui intents whose commit was not known "
                      "could not be revoked: %s: %s", asked,
                      ngx_http_intent_pg_sqlstate(res),
                      ngx_http_intent_pg_message(res));
        break;

    default:

        /* to do it twice does no harm; the next session will be asked */

        ngx_http_intent_store_create_wake();
        return;
    }

    rv->n -= asked;
    ngx_memmove(rv->ids, rv->ids + asked * 16, rv->n * 16);

    if (rv->n == 0) {
        ngx_http_intent_release();
        return;
    }

    ngx_http_intent_store_create_wake();
}
