
/*
 * Duplicates: new intents that were not kept, because there is one with the
 * same key or of the same signature, or because they were kept before, by a
 * batch whose answer was lost.
 *
 * Why there is exactly one intent of a key, whatever is lost:
 *
 * - The unique indexes let one row in.  It may be a row that its own client
 *   was not told of: its batch was lost, the client got a 503, and the row is
 *   to be revoked (ngx_http_intent_store_revoke.c).  Then the client comes
 *   again with the same key.
 * - If it was revoked by then, nothing is found here, and the new intent is
 *   inserted again.
 * - If not, the new one is answered with that row; and in the same statement,
 *   before that answer, the row is marked "replayed", after which nobody
 *   revokes it.  Both statements lock the row, so one of them is first.  The
 *   mark is needed only while the row could be revoked: at version 1.
 * - A row that is locked is not waited for: a statement that waits for one row
 *   while it has another would make deadlocks with those of the lanes.  It is
 *   looked for again.
 * - The INSERT of the lost batch may still be at work in the server, until its
 *   deadline.  It meets the same unique indexes: if the new one was quicker,
 *   it does nothing.
 *
 * What is revoked is always named by its own id, so a duplicate whose fate is
 * not known can take nobody else's intent with it.  What remains: a row whose
 * own client got a 503, that was marked for a duplicate, and the answer to
 * that was lost as well, for all of its time.  It is kept, and both clients
 * were told to come again; when they do, they find it.
 */


#include "ngx_http_intent_store_create.h"


/* by what it was found */
typedef enum {
    NGX_HTTP_INTENT_STORE_BY_ID = 0,
    NGX_HTTP_INTENT_STORE_BY_KEY,
    NGX_HTTP_INTENT_STORE_BY_DIGEST
} ngx_http_intent_store_why_e;


/* the columns behind those of the intent */
typedef enum {
    NGX_HTTP_INTENT_STORE_FIRST_NUMBER = NGX_HTTP_INTENT_STORE_NCOLUMNS,
    NGX_HTTP_INTENT_STORE_FIRST_WHY,
    NGX_HTTP_INTENT_STORE_FIRST_SAME,
    NGX_HTTP_INTENT_STORE_FIRST_SURE
} ngx_http_intent_store_first_column_e;


#define NGX_HTTP_INTENT_STORE_FIRST_PARAMETERS  6


/* keys that are looked for alone */
typedef struct {
    ngx_http_intent_admission_t     **admissions;
    ngx_uint_t                        n;
    ngx_http_intent_store_recall_pt   handler;
    void                             *data;
    double                            start;
    ngx_http_intent_store_read_t      read;
} ngx_http_intent_store_recall_t;


static ngx_int_t ngx_http_intent_store_first_missing(
    ngx_http_intent_store_batch_t *b, PGresult *res);
static void ngx_http_intent_store_first_done(
    ngx_http_intent_store_batch_t *b);
static ngx_uint_t ngx_http_intent_store_first_lacks(
    ngx_http_intent_store_batch_t *b, ngx_http_intent_store_item_t *item);
static ngx_int_t ngx_http_intent_store_first_send(
    ngx_http_intent_store_batch_t *b);
static ngx_int_t ngx_http_intent_store_first_begin(
    ngx_http_intent_pg_array_t *a, ngx_pool_t *pool, ngx_uint_t rows);
static ngx_int_t ngx_http_intent_store_first_row(
    ngx_http_intent_pg_array_t *a, ngx_uint_t row,
    ngx_http_intent_change_t *ch);
static ngx_int_t ngx_http_intent_store_first_admission(
    ngx_http_intent_pg_array_t *a, ngx_http_intent_admission_t *adm);
static void ngx_http_intent_store_first_query(ngx_http_intent_pg_query_t *q,
    ngx_http_intent_pg_array_t *a);
static void ngx_http_intent_store_first_handler(
    ngx_http_intent_pg_query_t *q, ngx_int_t rc, PGresult *res);
static void ngx_http_intent_store_first_found(
    ngx_http_intent_store_batch_t *b, PGresult *res, int row);
static ngx_int_t ngx_http_intent_store_first_known(
    ngx_http_intent_admission_t *adm, PGresult *res, int row);
static void ngx_http_intent_store_first_as_created(ngx_http_intent_t *in);
static void ngx_http_intent_store_first_refused(
    ngx_http_intent_store_batch_t *b, PGresult *res);
static void ngx_http_intent_store_recall_handler(
    ngx_http_intent_store_read_t *rd, ngx_int_t rc, PGresult *res);
static ngx_int_t ngx_http_intent_store_recall_row(
    ngx_http_intent_store_recall_t *rl, PGresult *res, int row);


/*
 * One row for each that is found.  "sure": it is there, and cannot be revoked
 * any more, or need not be held.  What is neither found nor sure was, or is
 * being, deleted or changed at this moment.
 */

static ngx_http_intent_pg_stmt_t  ngx_http_intent_store_find_first = {
    "intent_first",

    "WITH found AS MATERIALIZED ("
    "SELECT i.*, n_number, (why = 2 OR fingerprint = n_fingerprint) AS same"
    " FROM unnest($1::int8[], $2::uuid[], $3::text[], $4::text[],"
    " $5::bytea[], $6::bytea[])"
    " AS n (n_number, n_id, n_scope, n_key, n_fingerprint, n_digest)"
    " CROSS JOIN LATERAL ("
        "SELECT 0 AS why, intents.* FROM intents WHERE id = n_id"
        " UNION ALL"
        " SELECT 1, intents.* FROM intents"
        " WHERE idempotency_scope = n_scope AND idempotency_key = n_key"
        " UNION ALL"
        " SELECT 2, intents.* FROM intents WHERE digest = n_digest"
        " ORDER BY why LIMIT 1"
    ") AS i"
    "), free AS MATERIALIZED ("
    "SELECT id FROM intents"
    " WHERE id IN (SELECT id FROM found WHERE why > 0 AND same)"
    " AND version = 1 AND replayed IS NULL"
    " FOR NO KEY UPDATE SKIP LOCKED"
    "), held AS ("
    "UPDATE intents SET replayed = true"
    " WHERE id IN (SELECT id FROM free) RETURNING id"
    ") SELECT " NGX_HTTP_INTENT_STORE_COLUMNS ", n_number, why,"
    " coalesce(same, false),"
    " why = 0 OR coalesce(NOT same, true) OR version > 1"
    " OR coalesce(replayed, false) OR id IN (SELECT id FROM held)"
    " FROM found",

    NGX_HTTP_INTENT_STORE_FIRST_PARAMETERS,

    { NGX_HTTP_INTENT_PG_INT8_ARRAY, NGX_HTTP_INTENT_PG_UUID_ARRAY,
      NGX_HTTP_INTENT_PG_TEXT_ARRAY, NGX_HTTP_INTENT_PG_TEXT_ARRAY,
      NGX_HTTP_INTENT_PG_BYTEA_ARRAY, NGX_HTTP_INTENT_PG_BYTEA_ARRAY }
};


void
ngx_http_intent_store_first(ngx_http_intent_store_batch_t *b, PGresult *res)
{
    if (ngx_http_intent_store_first_missing(b, res) == NGX_OK) {

        ngx_http_intent_store_first_done(b);

        if (ngx_http_intent_store_first_send(b) == NGX_OK) {
            return;
        }
    }

    ngx_http_intent_store_create_later(&b->items);

    ngx_destroy_pool(b->pool);
}


static ngx_int_t
ngx_http_intent_store_first_missing(ngx_http_intent_store_batch_t *b,
    PGresult *res)
{
    int                            n;
    int64_t                        number;
    ngx_uint_t                     i;
    ngx_queue_t                   *queue;
    ngx_http_intent_change_t     **changes;
    ngx_http_intent_store_item_t  *item;

    changes = ngx_palloc(b->pool, b->rows * sizeof(void *));
    b->missing = ngx_pcalloc(b->pool, b->rows * sizeof(void *));

    if (changes == NULL || b->missing == NULL) {
        return NGX_ERROR;
    }

    for (queue = ngx_queue_head(&b->items);
         queue != ngx_queue_sentinel(&b->items);
         queue = ngx_queue_next(queue))
    {
        item = ngx_queue_data(queue, ngx_http_intent_store_item_t, queue);

        /* of several intents the others have been kept */

        if (item->transition->nchanges > 1) {
            item->unknown = 1;
        }

        for (i = 0; i < item->transition->nchanges; i++) {
            changes[item->row + i] = &item->transition->changes[i];
        }
    }

    for (n = 1; n < PQntuples(res); n++) {
        number = ngx_http_intent_pg_int8(res, n, 0, 0);

        if (number < 1 || number > (int64_t) b->rows) {
            return NGX_ERROR;
        }

        b->missing[number - 1] = changes[number - 1];
    }

    return NGX_OK;
}


/* answers those that lack nothing more */

static void
ngx_http_intent_store_first_done(ngx_http_intent_store_batch_t *b)
{
    ngx_queue_t                   *queue, *next;
    ngx_http_intent_store_item_t  *item;

    for (queue = ngx_queue_head(&b->items);
         queue != ngx_queue_sentinel(&b->items);
         queue = next)
    {
        next = ngx_queue_next(queue);
        item = ngx_queue_data(queue, ngx_http_intent_store_item_t, queue);

        if (!ngx_http_intent_store_first_lacks(b, item)) {
            ngx_queue_remove(queue);
            ngx_http_intent_store_item_done(item, NGX_OK);
        }
    }
}


static ngx_uint_t
ngx_http_intent_store_first_lacks(ngx_http_intent_store_batch_t *b,
    ngx_http_intent_store_item_t *item)
{
    ngx_uint_t  i;

    for (i = 0; i < item->transition->nchanges; i++) {
        if (b->missing[item->row + i]) {
            return 1;
        }
    }

    return 0;
}


static ngx_int_t
ngx_http_intent_store_first_send(ngx_http_intent_store_batch_t *b)
{
    ngx_uint_t                        i;
    ngx_http_intent_pg_array_t        a[NGX_HTTP_INTENT_STORE_FIRST_PARAMETERS];
    ngx_http_intent_store_session_t  *session;

    session = ngx_http_intent_store_session();

    if (session == NULL) {
        return NGX_DECLINED;
    }

    if (ngx_http_intent_store_first_begin(a, b->pool, b->rows) != NGX_OK) {
        return NGX_ERROR;
    }

    for (i = 0; i < b->rows; i++) {
        if (b->missing[i]
            && ngx_http_intent_store_first_row(a, i, b->missing[i]) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    ngx_http_intent_store_first_query(&b->query, a);

    b->query.handler = ngx_http_intent_store_first_handler;
    b->query.data = b;

    b->start = ngx_http_intent_seconds();

    return ngx_http_intent_pg_query(session->pg, &b->query);
}


static ngx_int_t
ngx_http_intent_store_first_begin(ngx_http_intent_pg_array_t *a,
    ngx_pool_t *pool, ngx_uint_t rows)
{
    static const Oid  types[] = {
        NGX_HTTP_INTENT_PG_INT8, NGX_HTTP_INTENT_PG_UUID,
        NGX_HTTP_INTENT_PG_TEXT, NGX_HTTP_INTENT_PG_TEXT,
        NGX_HTTP_INTENT_PG_BYTEA, NGX_HTTP_INTENT_PG_BYTEA
    };

    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_INTENT_STORE_FIRST_PARAMETERS; i++) {
        if (ngx_http_intent_pg_array_begin(&a[i], pool, types[i],
                                           rows * (4 + 16))
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_store_first_row(ngx_http_intent_pg_array_t *a, ngx_uint_t row,
    ngx_http_intent_change_t *ch)
{
    u_char                        id[16];
    ngx_http_intent_admission_t  *adm, none;

    if (ngx_http_intent_id_parse(ch->intent->id.data, ch->intent->id.len, id)
        != NGX_OK
        || ngx_http_intent_pg_array_int8(&a[0], (int64_t) row) != NGX_OK
        || ngx_http_intent_pg_array_bytes(&a[1], id, 16) != NGX_OK)
    {
        return NGX_ERROR;
    }

    adm = ch->data;

    if (adm == NULL) {
        ngx_memzero(&none, sizeof(ngx_http_intent_admission_t));
        adm = &none;
    }

    return ngx_http_intent_store_first_admission(a, adm);
}


static ngx_int_t
ngx_http_intent_store_first_admission(ngx_http_intent_pg_array_t *a,
    ngx_http_intent_admission_t *adm)
{
    ngx_int_t  rc;

    if (adm->key.len) {
        rc = ngx_http_intent_pg_array_bytes(&a[2], adm->scope.data,
                                            adm->scope.len);
        rc |= ngx_http_intent_pg_array_bytes(&a[3], adm->key.data,
                                             adm->key.len);
        rc |= ngx_http_intent_pg_array_bytes(&a[4], adm->fingerprint,
                                             sizeof(adm->fingerprint));
    } else {
        rc = ngx_http_intent_pg_array_null(&a[2]);
        rc |= ngx_http_intent_pg_array_null(&a[3]);
        rc |= ngx_http_intent_pg_array_null(&a[4]);
    }

    rc |= adm->digest
          ? ngx_http_intent_pg_array_bytes(&a[5], adm->digest, 32)
          : ngx_http_intent_pg_array_null(&a[5]);

    return rc == NGX_OK ? NGX_OK : NGX_ERROR;
}


static void
ngx_http_intent_store_first_query(ngx_http_intent_pg_query_t *q,
    ngx_http_intent_pg_array_t *a)
{
    ngx_uint_t  i;

    ngx_memzero(q, sizeof(ngx_http_intent_pg_query_t));

    for (i = 0; i < NGX_HTTP_INTENT_STORE_FIRST_PARAMETERS; i++) {
        ngx_http_intent_pg_param_array(q, i, &a[i]);
    }

    q->stmt = &ngx_http_intent_store_find_first;
}


static void
ngx_http_intent_store_first_handler(ngx_http_intent_pg_query_t *q,
    ngx_int_t rc, PGresult *res)
{
    int                             row;
    ngx_http_intent_store_batch_t  *b;

    b = q->data;

    ngx_http_intent_store_observe(NGX_HTTP_INTENT_STORE_DUPLICATE, b->start);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, b->pool->log, 0,
                   "intent store: duplicates, rc:%i, found:%d",
                   rc, rc == NGX_OK ? PQntuples(res) : 0);

    if (rc == NGX_OK) {
        for (row = 0; row < PQntuples(res); row++) {
            ngx_http_intent_store_first_found(b, res, row);
        }

        ngx_http_intent_store_first_done(b);

    } else if (rc == NGX_ERROR
               && ngx_strncmp(ngx_http_intent_pg_sqlstate(res), "40", 2) != 0)
    {
        ngx_http_intent_store_first_refused(b, res);
    }

    /* the others again, from the beginning: what was there may have gone */

    ngx_http_intent_store_create_later(&b->items);

    ngx_destroy_pool(b->pool);
}


static void
ngx_http_intent_store_first_found(ngx_http_intent_store_batch_t *b,
    PGresult *res, int row)
{
    int64_t                    number, why;
    ngx_http_intent_change_t  *ch;

    number = ngx_http_intent_pg_int8(res, row,
                                     NGX_HTTP_INTENT_STORE_FIRST_NUMBER, -1);
    why = ngx_http_intent_pg_int8(res, row, NGX_HTTP_INTENT_STORE_FIRST_WHY,
                                  0);

    if (number < 0 || number >= (int64_t) b->rows) {
        return;
    }

    ch = b->missing[number];

    if (ch == NULL
        || !ngx_http_intent_pg_bool(res, row,
                                    NGX_HTTP_INTENT_STORE_FIRST_SURE))
    {
        return;
    }

    if (why == NGX_HTTP_INTENT_STORE_BY_ID) {
        b->missing[number] = NULL;
        ch->refused = 0;
        return;
    }

    if (ngx_http_intent_store_first_known(ch->data, res, row) != NGX_OK) {
        return;
    }

    b->missing[number] = NULL;
    ch->refused = 1;
}


static ngx_int_t
ngx_http_intent_store_first_known(ngx_http_intent_admission_t *adm,
    PGresult *res, int row)
{
    if (ngx_http_intent_store_read_row(res, row, adm->pool, &adm->first)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_http_intent_store_first_as_created(&adm->first);

    if (ngx_http_intent_pg_int8(res, row, NGX_HTTP_INTENT_STORE_FIRST_WHY, 0)
        == NGX_HTTP_INTENT_STORE_BY_DIGEST)
    {
        adm->duplicate = NGX_HTTP_INTENT_DUPLICATE_DIGEST;

    } else if (ngx_http_intent_pg_bool(res, row,
                                       NGX_HTTP_INTENT_STORE_FIRST_SAME))
    {
        adm->duplicate = NGX_HTTP_INTENT_DUPLICATE_KEY;

    } else {
        adm->duplicate = NGX_HTTP_INTENT_DUPLICATE_OTHER;
    }

    return NGX_OK;
}


static void
ngx_http_intent_store_first_as_created(ngx_http_intent_t *in)
{
    in->status = NGX_HTTP_INTENT_PENDING;
    in->version = 1;
    in->updated_at = in->created_at;

    in->attempts = 0;
    in->confirmations = 0;
    in->block_number = -1;
    in->gas_used = -1;

    ngx_str_null(&in->tx_hash);
    ngx_str_null(&in->gas_cost);
    ngx_str_null(&in->error);
}


static void
ngx_http_intent_store_first_refused(ngx_http_intent_store_batch_t *b,
    PGresult *res)
{
    ngx_queue_t                   *queue;
    ngx_http_intent_store_item_t  *item;

    ngx_log_error(NGX_LOG_ERR, b->pool->log, 0,
                  "intent store: the server refused to look for duplicates: "
                  "%s: %s", ngx_http_intent_pg_sqlstate(res),
                  ngx_http_intent_pg_message(res));

    while (!ngx_queue_empty(&b->items)) {
        queue = ngx_queue_head(&b->items);
        item = ngx_queue_data(queue, ngx_http_intent_store_item_t, queue);

        ngx_queue_remove(queue);

        ngx_http_intent_store_item_done(item, NGX_DECLINED);
    }
}


/* ---- keys alone ---- */


ngx_int_t
ngx_http_intent_store_recall(ngx_http_intent_admission_t **admissions,
    ngx_uint_t n, ngx_http_intent_store_recall_pt handler, void *data)
{
    ngx_uint_t                       i;
    ngx_pool_t                      *pool;
    ngx_http_intent_pg_array_t       a[NGX_HTTP_INTENT_STORE_FIRST_PARAMETERS];
    ngx_http_intent_store_recall_t  *rl;

    pool = admissions[0]->pool;
    rl = ngx_pcalloc(pool, sizeof(ngx_http_intent_store_recall_t));

    if (rl == NULL || ngx_http_intent_store_first_begin(a, pool, n) != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        if (ngx_http_intent_pg_array_int8(&a[0], (int64_t) i) != NGX_OK
            || ngx_http_intent_pg_array_null(&a[1]) != NGX_OK
            || ngx_http_intent_store_first_admission(a, admissions[i])
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    ngx_http_intent_store_first_query(&rl->read.query, a);

    rl->admissions = admissions;
    rl->n = n;
    rl->handler = handler;
    rl->data = data;
    rl->start = ngx_http_intent_seconds();

    rl->read.handler = ngx_http_intent_store_recall_handler;
    rl->read.data = rl;

    return ngx_http_intent_store_read(&rl->read);
}


static void
ngx_http_intent_store_recall_handler(ngx_http_intent_store_read_t *rd,
    ngx_int_t rc, PGresult *res)
{
    int                              row;
    ngx_http_intent_store_recall_t  *rl;

    rl = rd->data;

    ngx_http_intent_store_observe(NGX_HTTP_INTENT_STORE_DUPLICATE, rl->start);

    if (rc == NGX_ERROR) {
        ngx_log_error(NGX_LOG_ERR, rl->admissions[0]->pool->log, 0,
                      "intent store: the server refused to look for a key: "
                      "%s: %s", ngx_http_intent_pg_sqlstate(res),
                      ngx_http_intent_pg_message(res));
    }

    for (row = 0; rc == NGX_OK && row < PQntuples(res); row++) {
        rc = ngx_http_intent_store_recall_row(rl, res, row);
    }

    rl->handler(rl->data, rc == NGX_OK ? NGX_OK : NGX_ERROR);
}


/* a row that somebody has at this moment is not sure, and not waited for */

static ngx_int_t
ngx_http_intent_store_recall_row(ngx_http_intent_store_recall_t *rl,
    PGresult *res, int row)
{
    int64_t  number;

    number = ngx_http_intent_pg_int8(res, row,
                                     NGX_HTTP_INTENT_STORE_FIRST_NUMBER, -1);

    if (number < 0 || number >= (int64_t) rl->n
        || !ngx_http_intent_pg_bool(res, row,
                                    NGX_HTTP_INTENT_STORE_FIRST_SURE))
    {
        return NGX_ERROR;
    }

    return ngx_http_intent_store_first_known(rl->admissions[number], res, row);
}
