
/*
 * Reading several intents: a user's, newest first, or which of these have
 * changed since a time; and of many those that have changed.
 */


#include "ngx_http_intent_store_private.h"


typedef struct {
    u_char                            before[16];
    ngx_uint_t                        operation;
    ngx_pool_t                       *pool;
    ngx_http_intent_store_list_pt     handler;
    ngx_http_intent_store_changed_pt  changed;    /* instead of handler */
    ngx_uint_t                        limit;      /* of that */
    void                             *data;
    double                            start;
    ngx_http_intent_store_read_t      read;
} ngx_http_intent_store_listing_t;


static ngx_http_intent_store_listing_t *ngx_http_intent_store_list_create(
    ngx_uint_t operation, ngx_pool_t *pool,
    ngx_http_intent_store_list_pt handler, void *data);
static ngx_int_t ngx_http_intent_store_list_build(
    ngx_http_intent_store_listing_t *ls, ngx_http_intent_list_t *list);
static ngx_int_t ngx_http_intent_store_list_statuses(
    ngx_http_intent_store_listing_t *ls, ngx_http_intent_list_t *list);
static ngx_int_t ngx_http_intent_store_newer_build(
    ngx_http_intent_store_listing_t *ls, ngx_http_intent_known_t *known,
    ngx_uint_t n);
static void ngx_http_intent_store_list_handler(
    ngx_http_intent_store_read_t *rd, ngx_int_t rc, PGresult *res);
static void ngx_http_intent_store_list_read(
    ngx_http_intent_store_listing_t *ls, ngx_int_t rc, PGresult *res);
static ngx_array_t *ngx_http_intent_store_list_rows(PGresult *res,
    ngx_pool_t *pool);
static void ngx_http_intent_store_changed_handler(
    ngx_http_intent_store_read_t *rd, ngx_int_t rc, PGresult *res);
static ngx_array_t *ngx_http_intent_store_changed_rows(
    ngx_http_intent_store_listing_t *ls, PGresult *res, ngx_uint_t *complete);


/*
 * Of a user who has much of the table the server would go through the ids of
 * all users, or through the user's of any status, and hope to find enough soon.
 * So the order that is wanted is that of the one index which does not look at
 * more than it returns; it is given by no other because to the planner
 * = ANY, and < and >= together, are not what = is.
 */

static ngx_http_intent_pg_stmt_t  ngx_http_intent_store_list_any = {
    "intent_list",

    "SELECT " NGX_HTTP_INTENT_STORE_COLUMNS " FROM intents"
    " WHERE user_id = ANY (ARRAY[$1]) AND id < $2"
    " ORDER BY user_id DESC, id DESC LIMIT $3",

    3,

    { NGX_HTTP_INTENT_PG_TEXT, NGX_HTTP_INTENT_PG_UUID,
      NGX_HTTP_INTENT_PG_INT8 }
};


/*
 * The first of each status, and of those the first: what is read does not
 * depend on how many there are of others.
 */

static ngx_http_intent_pg_stmt_t  ngx_http_intent_store_list_some = {
    "intent_list_status",

    "SELECT " NGX_HTTP_INTENT_STORE_COLUMNS
    " FROM unnest($4::text[]) AS s (wanted)"
    " CROSS JOIN LATERAL ("
        "SELECT * FROM intents"
        " WHERE user_id = ANY (ARRAY[$1])"
        " AND (status, id) < (wanted, $2) AND status >= wanted"
        " ORDER BY user_id DESC, status DESC, id DESC LIMIT $3"
    ") AS i ORDER BY id DESC LIMIT $3",

    4,

    { NGX_HTTP_INTENT_PG_TEXT, NGX_HTTP_INTENT_PG_UUID,
      NGX_HTTP_INTENT_PG_INT8, NGX_HTTP_INTENT_PG_TEXT_ARRAY }
};


/*
 * No index has a user's by the time of their change: most of what has changed
 * of late was made of late, too.  One more than is wanted of a status says that
 * it was not looked through to its end.
 */

static ngx_http_intent_pg_stmt_t  ngx_http_intent_store_changed_stmt = {
    "intent_changed",

    "SELECT id, n > $3"
    " FROM unnest($4::text[]) AS s (wanted)"
    " CROSS JOIN LATERAL ("
        "SELECT id, updated_at, row_number() OVER"
            " (ORDER BY user_id DESC, status DESC, id DESC) AS n"
        " FROM intents"
        " WHERE user_id = ANY (ARRAY[$1])"
        " AND (status, id) < (wanted, $2) AND status >= wanted"
        " ORDER BY user_id DESC, status DESC, id DESC LIMIT $3 + 1"
    ") AS i WHERE n > $3 OR updated_at >= $5 ORDER BY id DESC",

    5,

    { NGX_HTTP_INTENT_PG_TEXT, NGX_HTTP_INTENT_PG_UUID,
      NGX_HTTP_INTENT_PG_INT8, NGX_HTTP_INTENT_PG_TEXT_ARRAY,
      NGX_HTTP_INTENT_PG_TIMESTAMPTZ }
};


static ngx_http_intent_pg_stmt_t  ngx_http_intent_store_newer_stmt = {
    "intent_newer",

    "SELECT " NGX_HTTP_INTENT_STORE_COLUMNS
    " FROM unnest($1::uuid[], $2::int8[]) AS k (known_id, known_version)"
    " JOIN intents ON id = known_id WHERE version > known_version",

    2,

    { NGX_HTTP_INTENT_PG_UUID_ARRAY, NGX_HTTP_INTENT_PG_INT8_ARRAY }
};


ngx_int_t
ngx_http_intent_store_list(ngx_http_intent_list_t *list, ngx_pool_t *pool,
    ngx_http_intent_store_list_pt handler, void *data)
{
    ngx_http_intent_store_listing_t  *ls;

    ls = ngx_http_intent_store_list_create(NGX_HTTP_INTENT_STORE_LIST, pool,
                                           handler, data);

    if (ls == NULL || ngx_http_intent_store_list_build(ls, list) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_intent_store_read(&ls->read);
}


ngx_int_t
ngx_http_intent_store_changed(ngx_http_intent_list_t *list, ngx_pool_t *pool,
    ngx_http_intent_store_changed_pt handler, void *data)
{
    ngx_http_intent_store_listing_t  *ls;

    ls = ngx_http_intent_store_list_create(NGX_HTTP_INTENT_STORE_LIST, pool,
                                           NULL, data);

    if (ls == NULL
        || ngx_http_intent_store_list_build(ls, list) != NGX_OK
        || ngx_http_intent_pg_param_time(&ls->read.query, 4, pool,
                                         list->since)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    ls->changed = handler;
    ls->limit = list->limit;

    ls->read.query.stmt = &ngx_http_intent_store_changed_stmt;
    ls->read.handler = ngx_http_intent_store_changed_handler;

    return ngx_http_intent_store_read(&ls->read);
}


ngx_int_t
ngx_http_intent_store_newer(ngx_http_intent_known_t *known, ngx_uint_t n,
    ngx_pool_t *pool, ngx_http_intent_store_list_pt handler, void *data)
{
    ngx_http_intent_store_listing_t  *ls;

    ls = ngx_http_intent_store_list_create(NGX_HTTP_INTENT_STORE_GET, pool,
                                           handler, data);

    if (ls == NULL
        || ngx_http_intent_store_newer_build(ls, known, n) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_intent_store_read(&ls->read);
}


static ngx_http_intent_store_listing_t *
ngx_http_intent_store_list_create(ngx_uint_t operation, ngx_pool_t *pool,
    ngx_http_intent_store_list_pt handler, void *data)
{
    ngx_http_intent_store_listing_t  *ls;

    ls = ngx_pcalloc(pool, sizeof(ngx_http_intent_store_listing_t));
    if (ls == NULL) {
        return NULL;
    }

    ls->operation = operation;
    ls->pool = pool;
    ls->handler = handler;
    ls->data = data;
    ls->start = ngx_http_intent_seconds();

    ls->read.handler = ngx_http_intent_store_list_handler;
    ls->read.data = ls;

    return ls;
}


static ngx_int_t
ngx_http_intent_store_list_build(ngx_http_intent_store_listing_t *ls,
    ngx_http_intent_list_t *list)
{
    u_char  *user;

    if (list->before.len == 0) {
        ngx_memset(ls->before, 0xff, 16);

    } else if (ngx_http_intent_id_parse(list->before.data, list->before.len,
                                        ls->before)
               != NGX_OK)
    {
        return NGX_ERROR;
    }

    user = ngx_pstrdup(ls->pool, &list->user_id);
    if (user == NULL) {
        return NGX_ERROR;
    }

    ngx_http_intent_pg_param_bytes(&ls->read.query, 0, user,
                                   list->user_id.len);
    ngx_http_intent_pg_param_bytes(&ls->read.query, 1, ls->before, 16);

    if (ngx_http_intent_pg_param_int8(&ls->read.query, 2, ls->pool,
                                      (int64_t) list->limit)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ls->read.query.stmt = &ngx_http_intent_store_list_any;

    return list->statuses
           ? ngx_http_intent_store_list_statuses(ls, list) : NGX_OK;
}


static ngx_int_t
ngx_http_intent_store_list_statuses(ngx_http_intent_store_listing_t *ls,
    ngx_http_intent_list_t *list)
{
    ngx_str_t                   *name;
    ngx_uint_t                   i;
    ngx_http_intent_pg_array_t   a;

    if (ngx_http_intent_pg_array_begin(&a, ls->pool, NGX_HTTP_INTENT_PG_TEXT,
                                       NGX_HTTP_INTENT_STATUSES * (4 + 16))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < NGX_HTTP_INTENT_STATUSES; i++) {

        if (!(list->statuses & ((ngx_uint_t) 1 << i))) {
            continue;
        }

        name = ngx_http_intent_status_name(i);

        if (ngx_http_intent_pg_array_bytes(&a, name->data, name->len)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    ngx_http_intent_pg_param_array(&ls->read.query, 3, &a);

    ls->read.query.stmt = &ngx_http_intent_store_list_some;

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_store_newer_build(ngx_http_intent_store_listing_t *ls,
    ngx_http_intent_known_t *known, ngx_uint_t n)
{
    u_char                      id[16];
    ngx_uint_t                  i;
    ngx_http_intent_pg_array_t  ids, versions;

    if (ngx_http_intent_pg_array_begin(&ids, ls->pool, NGX_HTTP_INTENT_PG_UUID,
                                       n * (4 + 16))
        != NGX_OK
        || ngx_http_intent_pg_array_begin(&versions, ls->pool,
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

    ls->read.query.stmt = &ngx_http_intent_store_newer_stmt;

    ngx_http_intent_pg_param_array(&ls->read.query, 0, &ids);
    ngx_http_intent_pg_param_array(&ls->read.query, 1, &versions);

    return NGX_OK;
}


static void
ngx_http_intent_store_list_handler(ngx_http_intent_store_read_t *rd,
    ngx_int_t rc, PGresult *res)
{
    ngx_array_t                      *intents;
    ngx_http_intent_store_listing_t  *ls;

    ls = rd->data;
    intents = (rc == NGX_OK) ? ngx_http_intent_store_list_rows(res, ls->pool)
                             : NULL;

    ngx_http_intent_store_list_read(ls, rc, res);

    ls->handler(ls->data, intents ? NGX_OK : NGX_ERROR, intents);
}


static void
ngx_http_intent_store_list_read(ngx_http_intent_store_listing_t *ls,
    ngx_int_t rc, PGresult *res)
{
    if (rc == NGX_ERROR) {
        ngx_log_error(NGX_LOG_ERR, ls->pool->log, 0,
                      "intent store: the server refused to read: %s: %s",
                      ngx_http_intent_pg_sqlstate(res),
                      ngx_http_intent_pg_message(res));
    }

    ngx_http_intent_store_observe(ls->operation, ls->start);
}


static ngx_array_t *
ngx_http_intent_store_list_rows(PGresult *res, ngx_pool_t *pool)
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


static void
ngx_http_intent_store_changed_handler(ngx_http_intent_store_read_t *rd,
    ngx_int_t rc, PGresult *res)
{
    ngx_uint_t                        complete;
    ngx_array_t                      *ids;
    ngx_http_intent_store_listing_t  *ls;

    ls = rd->data;
    complete = 0;
    ids = (rc == NGX_OK) ? ngx_http_intent_store_changed_rows(ls, res,
                                                              &complete)
                         : NULL;

    ngx_http_intent_store_list_read(ls, rc, res);

    ls->changed(ls->data, ids ? NGX_OK : NGX_ERROR, ids, complete);
}


static ngx_array_t *
ngx_http_intent_store_changed_rows(ngx_http_intent_store_listing_t *ls,
    PGresult *res, ngx_uint_t *complete)
{
    int           row, nrows;
    u_char       *id;
    ngx_str_t     uuid;
    ngx_array_t  *ids;

    nrows = PQntuples(res);
    *complete = 1;

    ids = ngx_array_create(ls->pool, nrows ? nrows : 1, 16);
    if (ids == NULL) {
        return NULL;
    }

    for (row = 0; row < nrows; row++) {

        if (ids->nelts == ls->limit || ngx_http_intent_pg_bool(res, row, 1)) {
            *complete = 0;
            continue;
        }

        uuid = ngx_http_intent_pg_bytes(res, row, 0);
        id = (uuid.len == 16) ? ngx_array_push(ids) : NULL;

        if (id == NULL) {
            return NULL;
        }

        ngx_memcpy(id, uuid.data, 16);
    }

    return ids;
}
