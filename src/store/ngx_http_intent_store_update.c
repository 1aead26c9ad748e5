
/*
 * Changes of pending intents that no lane makes.
 */


#include "ngx_http_intent_store_private.h"


#define NGX_HTTP_INTENT_STORE_UPDATE_POOL        1024
#define NGX_HTTP_INTENT_STORE_UPDATE_PARAMETERS  5

/* ms from one look at a row that somebody has to the next, and how many */
#define NGX_HTTP_INTENT_STORE_UPDATE_AGAIN       25
#define NGX_HTTP_INTENT_STORE_UPDATE_TRIES       40


typedef struct {
    ngx_pool_t                    *pool;
    ngx_http_intent_transition_t  *transition;
    ngx_uint_t                     tries;    /* that are left */
    double                         start;
    ngx_event_t                    again;
    ngx_connection_t               dumb;     /* the event's own data */
    ngx_http_intent_pg_query_t     query;
} ngx_http_intent_store_update_t;


static ngx_int_t ngx_http_intent_store_update_send(
    ngx_http_intent_transition_t *t, ngx_uint_t tries);
static ngx_int_t ngx_http_intent_store_update_build(
    ngx_http_intent_store_update_t *u);
static ngx_int_t ngx_http_intent_store_update_row(
    ngx_http_intent_pg_array_t *a, ngx_http_intent_t *in);
static void ngx_http_intent_store_update_handler(
    ngx_http_intent_pg_query_t *q, ngx_int_t rc, PGresult *res);
static ngx_uint_t ngx_http_intent_store_update_written(PGresult *res,
    ngx_str_t *id);
static ngx_uint_t ngx_http_intent_store_update_is_locked(
    ngx_http_intent_store_update_t *u, PGresult *res);
static void ngx_http_intent_store_update_later(
    ngx_http_intent_store_update_t *u);
static void ngx_http_intent_store_update_again(ngx_event_t *ev);


/* the ids that were written, and those that were not and might have been */

#define NGX_HTTP_INTENT_STORE_UPDATE_SQL                                      \
    "WITH new AS MATERIALIZED ("                                              \
    "SELECT * FROM unnest($1::uuid[], $2::text[], $3::int8[], $4::text[],"    \
    " $5::timestamptz[])"                                                     \
    " AS u (n_id, n_status, n_version, n_error, n_updated_at)"                \
    "), free AS MATERIALIZED ("                                               \
    "SELECT i.id FROM intents i JOIN new ON i.id = n_id"                      \
    " WHERE i.status = 'pending' AND i.version = n_version - 1"               \
    " FOR NO KEY UPDATE OF i SKIP LOCKED"                                     \
    "), written AS ("                                                         \
    "UPDATE intents i SET status = n_status, version = n_version,"          \
    " error = n_error, updated_at = n_updated_at, claimed_by = NULL"          \
    " FROM free JOIN new ON free.id = n_id WHERE i.id = free.id"              \
    " RETURNING i.id"                                                         \
    ") SELECT id, true FROM written UNION ALL"                                \
    " SELECT i.id, false FROM intents i JOIN new ON i.id = n_id"              \
    " WHERE i.status = 'pending' AND i.version = n_version - 1"               \
    " AND i.id NOT IN (SELECT id FROM written)"


#define NGX_HTTP_INTENT_STORE_UPDATE_TYPES                                    \
    { NGX_HTTP_INTENT_PG_UUID_ARRAY, NGX_HTTP_INTENT_PG_TEXT_ARRAY,           \
      NGX_HTTP_INTENT_PG_INT8_ARRAY, NGX_HTTP_INTENT_PG_TEXT_ARRAY,           \
      NGX_HTTP_INTENT_PG_TIMESTAMPTZ_ARRAY }


/*
 * A row that somebody has is not waited for in Postgres: whatever else is
 * asked on the session would wait, too, and several rows that a lane writes in
 * another order would make a deadlock.
 */

static ngx_http_intent_pg_stmt_t  ngx_http_intent_store_update_stmt = {
    "intent_update",
    NGX_HTTP_INTENT_STORE_UPDATE_SQL,
    NGX_HTTP_INTENT_STORE_UPDATE_PARAMETERS,
    NGX_HTTP_INTENT_STORE_UPDATE_TYPES
};


ngx_int_t
ngx_http_intent_store_update(ngx_http_intent_transition_t *t)
{
    return ngx_http_intent_store_update_send(t, t->nchanges > 1
                                       ? 0
                                       : NGX_HTTP_INTENT_STORE_UPDATE_TRIES);
}


ngx_int_t
ngx_http_intent_store_update_free(ngx_http_intent_transition_t *t)
{
    return ngx_http_intent_store_update_send(t, 0);
}


static ngx_int_t
ngx_http_intent_store_update_send(ngx_http_intent_transition_t *t,
    ngx_uint_t tries)
{
    ngx_pool_t                       *pool;
    ngx_http_intent_store_update_t   *u;
    ngx_http_intent_store_session_t  *session;

    session = ngx_http_intent_store_session();

    if (session == NULL) {
        return NGX_DECLINED;
    }

    pool = ngx_create_pool(NGX_HTTP_INTENT_STORE_UPDATE_POOL,
                           ngx_http_intent_store_worker()->log);
    if (pool == NULL) {
        return NGX_DECLINED;
    }

    u = ngx_pcalloc(pool, sizeof(ngx_http_intent_store_update_t));

    if (u) {
        u->pool = pool;
        u->transition = t;
        u->tries = tries;
        u->start = ngx_http_intent_seconds();

        u->query.stmt = &ngx_http_intent_store_update_stmt;
        u->query.handler = ngx_http_intent_store_update_handler;
        u->query.data = u;

        if (ngx_http_intent_store_update_build(u) == NGX_OK
            && ngx_http_intent_pg_query(session->pg, &u->query) == NGX_OK)
        {
            return NGX_OK;
        }
    }

    ngx_destroy_pool(pool);

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_intent_store_update_build(ngx_http_intent_store_update_t *u)
{
    static const Oid  types[] = {
        NGX_HTTP_INTENT_PG_UUID, NGX_HTTP_INTENT_PG_TEXT,
        NGX_HTTP_INTENT_PG_INT8, NGX_HTTP_INTENT_PG_TEXT,
        NGX_HTTP_INTENT_PG_TIMESTAMPTZ
    };

    ngx_uint_t                     i;
    ngx_http_intent_transition_t  *t;
    ngx_http_intent_pg_array_t     a[NGX_HTTP_INTENT_STORE_UPDATE_PARAMETERS];

    t = u->transition;

    for (i = 0; i < NGX_HTTP_INTENT_STORE_UPDATE_PARAMETERS; i++) {
        if (ngx_http_intent_pg_array_begin(&a[i], u->pool, types[i],
                                           t->nchanges * (4 + 16))
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    for (i = 0; i < t->nchanges; i++) {
        if (ngx_http_intent_store_update_row(a, t->changes[i].intent)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    for (i = 0; i < NGX_HTTP_INTENT_STORE_UPDATE_PARAMETERS; i++) {
        ngx_http_intent_pg_param_array(&u->query, i, &a[i]);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_store_update_row(ngx_http_intent_pg_array_t *a,
    ngx_http_intent_t *in)
{
    u_char      id[16];
    ngx_int_t   rc;
    ngx_str_t  *status;

    if (ngx_http_intent_id_parse(in->id.data, in->id.len, id) != NGX_OK) {
        return NGX_ERROR;
    }

    status = ngx_http_intent_status_name(in->status);

    rc = ngx_http_intent_pg_array_bytes(&a[0], id, 16);
    rc |= ngx_http_intent_pg_array_bytes(&a[1], status->data, status->len);
    rc |= ngx_http_intent_pg_array_int8(&a[2], (int64_t) in->version);

    rc |= in->error.len == 0
          ? ngx_http_intent_pg_array_null(&a[3])
          : ngx_http_intent_pg_array_bytes(&a[3], in->error.data,
                                           in->error.len);

    rc |= ngx_http_intent_pg_array_time(&a[4], in->updated_at);

    return rc == NGX_OK ? NGX_OK : NGX_ERROR;
}


static void
ngx_http_intent_store_update_handler(ngx_http_intent_pg_query_t *q,
    ngx_int_t rc, PGresult *res)
{
    ngx_uint_t                       i;
    ngx_http_intent_transition_t    *t;
    ngx_http_intent_store_update_t  *u;

    u = q->data;
    t = u->transition;

    ngx_http_intent_store_observe(NGX_HTTP_INTENT_STORE_UPDATE, u->start);

    if (rc == NGX_OK && ngx_http_intent_store_update_is_locked(u, res)) {
        ngx_http_intent_store_update_later(u);
        return;
    }

    if (rc == NGX_OK) {
        for (i = 0; i < t->nchanges; i++) {
            t->changes[i].refused = !ngx_http_intent_store_update_written(res,
                                                &t->changes[i].intent->id);
        }

    } else if (rc == NGX_ERROR) {
        ngx_log_error(NGX_LOG_ERR, t->log, 0,
                      "intent store: the server refused to change %ui "
                      "intents, \"%V\" the first: %s: %s",
                      t->nchanges, &t->changes[0].intent->id,
                      ngx_http_intent_pg_sqlstate(res),
                      ngx_http_intent_pg_message(res));

        /* the server was stopped: it may be written, and waited for a standby */

        if (ngx_strncmp(ngx_http_intent_pg_sqlstate(res), "57P", 3) == 0) {
            rc = NGX_ABORT;
        }
    }

    if (rc == NGX_ABORT) {
        ngx_http_intent_store_doubt(t);
    }

    ngx_destroy_pool(u->pool);

    ngx_http_intent_transition_done(t, rc);
}


static ngx_uint_t
ngx_http_intent_store_update_written(PGresult *res, ngx_str_t *id)
{
    int        row;
    u_char     uuid[16];
    ngx_str_t  field;

    (void) ngx_http_intent_id_parse(id->data, id->len, uuid);

    for (row = 0; row < PQntuples(res); row++) {
        field = ngx_http_intent_pg_bytes(res, row, 0);

        if (field.len == 16 && ngx_memcmp(field.data, uuid, 16) == 0) {
            return ngx_http_intent_pg_bool(res, row, 1);
        }
    }

    return 0;
}


static ngx_uint_t
ngx_http_intent_store_update_is_locked(ngx_http_intent_store_update_t *u,
    PGresult *res)
{
    return u->tries
           && PQntuples(res) == 1
           && !ngx_http_intent_pg_bool(res, 0, 1);
}


static void
ngx_http_intent_store_update_later(ngx_http_intent_store_update_t *u)
{
    u->tries--;
    u->dumb.fd = (ngx_socket_t) -1;
    u->dumb.data = u;

    u->again.handler = ngx_http_intent_store_update_again;
    u->again.data = &u->dumb;
    u->again.log = ngx_http_intent_store_worker()->log;

    ngx_add_timer(&u->again, NGX_HTTP_INTENT_STORE_UPDATE_AGAIN);
}


static void
ngx_http_intent_store_update_again(ngx_event_t *ev)
{
    ngx_connection_t                 *dumb;
    ngx_http_intent_store_update_t   *u;
    ngx_http_intent_transition_t     *t;
    ngx_http_intent_store_session_t  *session;

    dumb = ev->data;
    u = dumb->data;
    t = u->transition;

    session = ngx_http_intent_store_session();

    if (session == NULL
        || ngx_http_intent_pg_query(session->pg, &u->query) != NGX_OK)
    {
        ngx_destroy_pool(u->pool);
        ngx_http_intent_transition_done(t, NGX_DECLINED);
    }
}
