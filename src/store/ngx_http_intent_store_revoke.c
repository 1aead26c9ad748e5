
/*
 * Intents whose commit was not known when their clients had waited long
 * enough.  What got no 202 is not to be carried out, so they are deleted
 * when Postgres answers again, if nothing was done with them yet.
 */


#include "ngx_http_intent_store_private.h"


#define NGX_HTTP_INTENT_STORE_REVOKE_MAX   8192
#define NGX_HTTP_INTENT_STORE_REVOKE_POOL  1024

/* ms, until it is tried again: at first, at most */
#define NGX_HTTP_INTENT_STORE_REVOKE_SOON  100
#define NGX_HTTP_INTENT_STORE_REVOKE_LATE  2000


typedef struct {
    u_char                           *ids;      /* of 16 bytes each */
    ngx_uint_t                        n;
    ngx_uint_t                        asked;    /* the first, under way */
    ngx_pool_t                       *pool;     /* of what is under way */
    double                            start;
    ngx_msec_t                        delay;
    ngx_event_t                       again;
    ngx_connection_t                  dumb;     /* the event's own data */
    ngx_http_intent_pg_query_t        query;
} ngx_http_intent_store_revoking_t;


static ngx_int_t ngx_http_intent_store_revoke_build(
    ngx_http_intent_store_revoking_t *rv);
static void ngx_http_intent_store_revoke_handler(
    ngx_http_intent_pg_query_t *q, ngx_int_t rc, PGresult *res);
static void ngx_http_intent_store_revoke_refused(
    ngx_http_intent_store_revoking_t *rv, ngx_uint_t asked, PGresult *res);
static void ngx_http_intent_store_revoke_drop(
    ngx_http_intent_store_revoking_t *rv, ngx_uint_t asked, PGresult *left);
static void ngx_http_intent_store_revoke_later(
    ngx_http_intent_store_revoking_t *rv);
static void ngx_http_intent_store_revoke_again(ngx_event_t *ev);


#define NGX_HTTP_INTENT_STORE_REVOCABLE                                       \
    "id = ANY($1) AND status = 'pending'"                                     \
    " AND claimed_by IS NULL AND version = 1 AND replayed IS NULL"


/*
 * version 1: as it was born, so that no attempt was ever made.  replayed: its
 * client was not told of it, but that of a duplicate was.
 *
 * A row that somebody has at this moment is not waited for, it is told: how
 * many are gone, and which are left, in rows, or one row without any.
 */

static ngx_http_intent_pg_stmt_t  ngx_http_intent_store_delete = {
    "intent_revoke",

    "WITH free AS MATERIALIZED ("
    "SELECT id FROM intents WHERE " NGX_HTTP_INTENT_STORE_REVOCABLE
    " FOR UPDATE SKIP LOCKED"
    "), gone AS ("
    "DELETE FROM intents WHERE id IN (SELECT id FROM free) RETURNING id"
    "), kept AS ("
    "SELECT id FROM intents WHERE " NGX_HTTP_INTENT_STORE_REVOCABLE
    " AND id NOT IN (SELECT id FROM gone)"
    ") SELECT (SELECT count(*) FROM gone), kept.id"
    " FROM (VALUES (1)) AS one LEFT JOIN kept ON true",

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

    if (rv->n == 0 || rv->asked || rv->again.timer_set) {
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
    ngx_uint_t                         asked, gone;
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
        gone = (ngx_uint_t) ngx_http_intent_pg_int8(res, 0, 0, 0);

        if (gone || PQgetisnull(res, 0, 1)) {
            rv->delay = 0;

            ngx_log_error(NGX_LOG_NOTICE, log, 0,
                          "intent store: %ui intents revoked, of %ui whose "
                          "commit was not known", gone, asked);
        }

        ngx_http_intent_store_revoke_drop(rv, asked, res);
        break;

    case NGX_ERROR:
        ngx_http_intent_store_revoke_refused(rv, asked, res);
        break;

    default:

        /* to do it twice does no harm; the next session will be asked */

        break;
    }

    ngx_http_intent_store_create_wake();
}


/* what is the server's own trouble passes, and they are still there then */

static void
ngx_http_intent_store_revoke_refused(ngx_http_intent_store_revoking_t *rv,
    ngx_uint_t asked, PGresult *res)
{
    ngx_uint_t    i;
    const char   *state;
    static char  *passing[] = { "25", "40", "53", "55", "57", "58" };

    state = ngx_http_intent_pg_sqlstate(res);

    for (i = 0; i < sizeof(passing) / sizeof(passing[0]); i++) {
        if (ngx_strncmp(state, passing[i], 2) == 0) {

            ngx_log_error(NGX_LOG_WARN, ngx_http_intent_store_worker()->log, 0,
                          "intent store: %ui intents whose commit was not "
                          "known are not revoked yet: %s: %s", asked, state,
                          ngx_http_intent_pg_message(res));

            ngx_http_intent_store_revoke_later(rv);
            return;
        }
    }

    ngx_log_error(NGX_LOG_ERR, ngx_http_intent_store_worker()->log, 0,
                  "intent store: %ui intents whose commit was not known "
                  "could not be revoked: %s: %s", asked, state,
                  ngx_http_intent_pg_message(res));

    ngx_http_intent_store_revoke_drop(rv, asked, NULL);
}


/* those that were asked for go, but for what is left of them */

static void
ngx_http_intent_store_revoke_drop(ngx_http_intent_store_revoking_t *rv,
    ngx_uint_t asked, PGresult *left)
{
    int         row;
    ngx_str_t   id;
    ngx_uint_t  n;

    n = 0;

    for (row = 0; left && row < PQntuples(left); row++) {
        id = ngx_http_intent_pg_bytes(left, row, 1);

        if (id.len == 16 && n < asked) {
            ngx_memcpy(rv->ids + n++ * 16, id.data, 16);
        }
    }

    if (n) {
        ngx_http_intent_store_revoke_later(rv);
    }

    ngx_memmove(rv->ids + n * 16, rv->ids + asked * 16,
                (rv->n - asked) * 16);
    rv->n -= asked - n;

    if (rv->n == 0) {
        ngx_http_intent_release();
    }
}


/* a worker that exits is kept by the hold, and not by the timer */

static void
ngx_http_intent_store_revoke_later(ngx_http_intent_store_revoking_t *rv)
{
    rv->delay = rv->delay
                ? ngx_min(rv->delay * 2, NGX_HTTP_INTENT_STORE_REVOKE_LATE)
                : NGX_HTTP_INTENT_STORE_REVOKE_SOON;

    rv->dumb.fd = (ngx_socket_t) -1;

    rv->again.handler = ngx_http_intent_store_revoke_again;
    rv->again.data = &rv->dumb;
    rv->again.log = ngx_http_intent_store_worker()->log;
    rv->again.cancelable = 1;

    ngx_add_timer(&rv->again, rv->delay);
}


static void
ngx_http_intent_store_revoke_again(ngx_event_t *ev)
{
    ngx_http_intent_store_create_wake();
}
