
/*
 * The INSERT of a batch of new intents.
 *
 * A batch in which an intent may be a duplicate takes another statement, which
 * says what it did not keep.
 */


#include "ngx_http_intent_store_create.h"


static ngx_int_t ngx_http_intent_store_insert_begin(
    ngx_http_intent_store_batch_t *b, ngx_http_intent_pg_array_t *a,
    ngx_uint_t ncolumns);
static ngx_int_t ngx_http_intent_store_insert_row(
    ngx_http_intent_pg_array_t *a, ngx_http_intent_t *in);
static ngx_int_t ngx_http_intent_store_insert_admission(
    ngx_http_intent_pg_array_t *a, ngx_http_intent_change_t *ch);


/* the parameters of the INSERT */
typedef enum {
    NGX_HTTP_INTENT_STORE_NEW_ID = 0,
    NGX_HTTP_INTENT_STORE_NEW_TYPE,
    NGX_HTTP_INTENT_STORE_NEW_CHAIN,
    NGX_HTTP_INTENT_STORE_NEW_USER_ID,
    NGX_HTTP_INTENT_STORE_NEW_PARAMS,
    NGX_HTTP_INTENT_STORE_NEW_CREATED_AT,
    NGX_HTTP_INTENT_STORE_NEW_UPDATED_AT,
    NGX_HTTP_INTENT_STORE_NEW_EXPIRES_AT,
    NGX_HTTP_INTENT_STORE_NEW_WEBHOOK,
    NGX_HTTP_INTENT_STORE_NEW_COLUMNS,

    /* of those that may be duplicates */
    NGX_HTTP_INTENT_STORE_NEW_SCOPE = NGX_HTTP_INTENT_STORE_NEW_COLUMNS,
    NGX_HTTP_INTENT_STORE_NEW_KEY,
    NGX_HTTP_INTENT_STORE_NEW_FINGERPRINT,
    NGX_HTTP_INTENT_STORE_NEW_DIGEST,
    NGX_HTTP_INTENT_STORE_NEW_SIGNATURE,
    NGX_HTTP_INTENT_STORE_NEW_NONCE,
    NGX_HTTP_INTENT_STORE_NEW_ALL_COLUMNS
} ngx_http_intent_store_new_e;


/*
 * A batch may be sent twice, and was kept the first time perhaps: hence the
 * ON CONFLICT.  And a server that was stopped for a while may get to it when
 * the clients have long been told that nothing was kept: hence the deadline.
 */

static ngx_http_intent_pg_stmt_t  ngx_http_intent_store_insert_stmt = {
    "intent_create",

    "WITH kept AS ("
    "INSERT INTO intents (id, type, status, chain, user_id, params, version,"
    " created_at, updated_at, expires_at, next_attempt_at, webhook)"
    " SELECT id, type, 'pending', chain, user_id, params::json, 1,"
    " created_at, updated_at, expires_at, created_at, webhook"
    " FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[],"
    " $5::text[], $6::timestamptz[], $7::timestamptz[], $8::timestamptz[],"
    " $9::text[])"
    " AS new (id, type, chain, user_id, params, created_at, updated_at,"
    " expires_at, webhook)"
    " WHERE statement_timestamp() < $10::timestamptz"
    " ON CONFLICT (id) DO NOTHING)"
    " SELECT statement_timestamp() < $10::timestamptz",

    NGX_HTTP_INTENT_STORE_NEW_COLUMNS + 1,

    { NGX_HTTP_INTENT_PG_UUID_ARRAY, NGX_HTTP_INTENT_PG_TEXT_ARRAY,
      NGX_HTTP_INTENT_PG_TEXT_ARRAY, NGX_HTTP_INTENT_PG_TEXT_ARRAY,
      NGX_HTTP_INTENT_PG_TEXT_ARRAY, NGX_HTTP_INTENT_PG_TIMESTAMPTZ_ARRAY,
      NGX_HTTP_INTENT_PG_TIMESTAMPTZ_ARRAY,
      NGX_HTTP_INTENT_PG_TIMESTAMPTZ_ARRAY, NGX_HTTP_INTENT_PG_TEXT_ARRAY,
      NGX_HTTP_INTENT_PG_TIMESTAMPTZ }
};


/*
 * The same for a batch with duplicates, perhaps.  An INSERT waits for another
 * that has its key until that one has committed; so that two batches do not
 * wait for each other, each inserts in the order of the keys.  With digests
 * besides, that is rare and not impossible.
 *
 * The first row says whether it was in time; those after it are the numbers
 * of what was not kept, from one.
 */

static ngx_http_intent_pg_stmt_t  ngx_http_intent_store_admit_stmt = {
    "intent_admit",

    "WITH new AS MATERIALIZED ("
    "SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[],"
    " $5::text[], $6::timestamptz[], $7::timestamptz[], $8::timestamptz[],"
    " $9::text[], $10::text[], $11::text[], $12::bytea[], $13::bytea[],"
    " $14::bytea[], $15::text[]) WITH ORDINALITY"
    " AS u (id, type, chain, user_id, params, created_at, updated_at,"
    " expires_at, webhook, scope, key, fingerprint, digest, signature, nonce,"
    " number)"
    "), kept AS ("
    "INSERT INTO intents (id, type, status, chain, user_id, params, version,"
    " created_at, updated_at, expires_at, next_attempt_at, webhook,"
    " idempotency_scope, idempotency_key, fingerprint, digest, signature,"
    " nonce)"
    " SELECT id, type, 'pending', chain, user_id, params::json, 1,"
    " created_at, updated_at, expires_at, created_at, webhook,"
    " scope, key, fingerprint, digest, signature, nonce::numeric"
    " FROM new WHERE statement_timestamp() < $16::timestamptz"
    " ORDER BY key, scope, digest, id"
    " ON CONFLICT DO NOTHING RETURNING id)"
    " SELECT NULL::int8, statement_timestamp() < $16::timestamptz"
    " UNION ALL"
    " SELECT number, true FROM new WHERE id NOT IN (SELECT id FROM kept)",

    NGX_HTTP_INTENT_STORE_NEW_ALL_COLUMNS + 1,

    { NGX_HTTP_INTENT_PG_UUID_ARRAY, NGX_HTTP_INTENT_PG_TEXT_ARRAY,
      NGX_HTTP_INTENT_PG_TEXT_ARRAY, NGX_HTTP_INTENT_PG_TEXT_ARRAY,
      NGX_HTTP_INTENT_PG_TEXT_ARRAY, NGX_HTTP_INTENT_PG_TIMESTAMPTZ_ARRAY,
      NGX_HTTP_INTENT_PG_TIMESTAMPTZ_ARRAY,
      NGX_HTTP_INTENT_PG_TIMESTAMPTZ_ARRAY, NGX_HTTP_INTENT_PG_TEXT_ARRAY,
      NGX_HTTP_INTENT_PG_TEXT_ARRAY, NGX_HTTP_INTENT_PG_TEXT_ARRAY,
      NGX_HTTP_INTENT_PG_BYTEA_ARRAY,
      NGX_HTTP_INTENT_PG_BYTEA_ARRAY, NGX_HTTP_INTENT_PG_BYTEA_ARRAY,
      NGX_HTTP_INTENT_PG_TEXT_ARRAY, NGX_HTTP_INTENT_PG_TIMESTAMPTZ }
};


ngx_int_t
ngx_http_intent_store_insert(ngx_http_intent_store_batch_t *b)
{
    int64_t                        deadline;
    ngx_uint_t                     i, ncolumns;
    ngx_queue_t                   *queue;
    ngx_http_intent_store_item_t  *item;
    ngx_http_intent_transition_t  *t;
    ngx_http_intent_pg_array_t     a[NGX_HTTP_INTENT_STORE_NEW_ALL_COLUMNS];

    ncolumns = b->admission ? NGX_HTTP_INTENT_STORE_NEW_ALL_COLUMNS
                            : NGX_HTTP_INTENT_STORE_NEW_COLUMNS;

    if (ngx_http_intent_store_insert_begin(b, a, ncolumns) != NGX_OK) {
        return NGX_ERROR;
    }

    for (queue = ngx_queue_head(&b->items);
         queue != ngx_queue_sentinel(&b->items);
         queue = ngx_queue_next(queue))
    {
        item = ngx_queue_data(queue, ngx_http_intent_store_item_t, queue);
        t = item->transition;

        for (i = 0; i < t->nchanges; i++) {
            if (ngx_http_intent_store_insert_row(a, t->changes[i].intent)
                != NGX_OK)
            {
                return NGX_ERROR;
            }

            if (b->admission
                && ngx_http_intent_store_insert_admission(a, &t->changes[i])
                   != NGX_OK)
            {
                return NGX_ERROR;
            }
        }
    }

    for (i = 0; i < ncolumns; i++) {
        ngx_http_intent_pg_param_array(&b->query, i, &a[i]);
    }

    b->query.stmt = b->admission ? &ngx_http_intent_store_admit_stmt
                                 : &ngx_http_intent_store_insert_stmt;

    deadline = ngx_http_intent_pg_server_time(b->session->pg)
               + (int64_t) ngx_http_intent_store_worker()->conf->pg.timeout;

    return ngx_http_intent_pg_param_time(&b->query, ncolumns, b->pool,
                                         deadline);
}


static ngx_int_t
ngx_http_intent_store_insert_begin(ngx_http_intent_store_batch_t *b,
    ngx_http_intent_pg_array_t *a, ngx_uint_t ncolumns)
{
    Oid         element;
    size_t      size;
    ngx_uint_t  i;

    for (i = 0; i < ncolumns; i++) {

        switch (i) {

        case NGX_HTTP_INTENT_STORE_NEW_ID:
            element = NGX_HTTP_INTENT_PG_UUID;
            size = b->rows * (4 + 16);
            break;

        case NGX_HTTP_INTENT_STORE_NEW_PARAMS:
            element = NGX_HTTP_INTENT_PG_TEXT;
            size = b->rows * 4 + b->bytes;
            break;

        case NGX_HTTP_INTENT_STORE_NEW_CREATED_AT:
        case NGX_HTTP_INTENT_STORE_NEW_UPDATED_AT:
        case NGX_HTTP_INTENT_STORE_NEW_EXPIRES_AT:
            element = NGX_HTTP_INTENT_PG_TIMESTAMPTZ;
            size = b->rows * (4 + 8);
            break;

        case NGX_HTTP_INTENT_STORE_NEW_FINGERPRINT:
        case NGX_HTTP_INTENT_STORE_NEW_DIGEST:
        case NGX_HTTP_INTENT_STORE_NEW_SIGNATURE:
            element = NGX_HTTP_INTENT_PG_BYTEA;
            size = b->rows * (4 + 32);
            break;

        default:
            element = NGX_HTTP_INTENT_PG_TEXT;
            size = b->rows * (4 + 16);
        }

        if (ngx_http_intent_pg_array_begin(&a[i], b->pool, element, size)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_store_insert_row(ngx_http_intent_pg_array_t *a,
    ngx_http_intent_t *in)
{
    u_char      id[16];
    ngx_int_t   rc;

    if (ngx_http_intent_id_parse(in->id.data, in->id.len, id) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = ngx_http_intent_pg_array_bytes(&a[NGX_HTTP_INTENT_STORE_NEW_ID],
                                        id, 16);

    rc |= ngx_http_intent_pg_array_bytes(&a[NGX_HTTP_INTENT_STORE_NEW_TYPE],
                                         in->type.data, in->type.len);

    rc |= ngx_http_intent_pg_array_bytes(&a[NGX_HTTP_INTENT_STORE_NEW_CHAIN],
                                         in->chain.data, in->chain.len);

    rc |= in->user_id.len == 0
          ? ngx_http_intent_pg_array_null(
                                     &a[NGX_HTTP_INTENT_STORE_NEW_USER_ID])
          : ngx_http_intent_pg_array_bytes(
                                     &a[NGX_HTTP_INTENT_STORE_NEW_USER_ID],
                                     in->user_id.data, in->user_id.len);

    rc |= ngx_http_intent_pg_array_bytes(&a[NGX_HTTP_INTENT_STORE_NEW_PARAMS],
                                         in->params.data, in->params.len);

    rc |= ngx_http_intent_pg_array_time(
                                   &a[NGX_HTTP_INTENT_STORE_NEW_CREATED_AT],
                                   in->created_at);

    rc |= ngx_http_intent_pg_array_time(
                                   &a[NGX_HTTP_INTENT_STORE_NEW_UPDATED_AT],
                                   in->updated_at);

    rc |= in->expires_at == -1
          ? ngx_http_intent_pg_array_null(
                                   &a[NGX_HTTP_INTENT_STORE_NEW_EXPIRES_AT])
          : ngx_http_intent_pg_array_time(
                                   &a[NGX_HTTP_INTENT_STORE_NEW_EXPIRES_AT],
                                   in->expires_at);

    rc |= in->webhook.len == 0
          ? ngx_http_intent_pg_array_null(
                                     &a[NGX_HTTP_INTENT_STORE_NEW_WEBHOOK])
          : ngx_http_intent_pg_array_bytes(
                                     &a[NGX_HTTP_INTENT_STORE_NEW_WEBHOOK],
                                     in->webhook.data, in->webhook.len);

    return rc == NGX_OK ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_intent_store_insert_admission(ngx_http_intent_pg_array_t *a,
    ngx_http_intent_change_t *ch)
{
    ngx_int_t                     rc;
    ngx_http_intent_t            *in;
    ngx_http_intent_admission_t  *adm, none;

    in = ch->intent;
    adm = ch->data;

    if (adm == NULL) {
        ngx_memzero(&none, sizeof(ngx_http_intent_admission_t));
        adm = &none;
    }

    if (adm->key.len) {
        rc = ngx_http_intent_pg_array_bytes(
                                     &a[NGX_HTTP_INTENT_STORE_NEW_SCOPE],
                                     adm->scope.data, adm->scope.len);

        rc |= ngx_http_intent_pg_array_bytes(
                                     &a[NGX_HTTP_INTENT_STORE_NEW_KEY],
                                     adm->key.data, adm->key.len);

        rc |= ngx_http_intent_pg_array_bytes(
                               &a[NGX_HTTP_INTENT_STORE_NEW_FINGERPRINT],
                               adm->fingerprint, sizeof(adm->fingerprint));
    } else {
        rc = ngx_http_intent_pg_array_null(
                               &a[NGX_HTTP_INTENT_STORE_NEW_SCOPE]);
        rc |= ngx_http_intent_pg_array_null(
                               &a[NGX_HTTP_INTENT_STORE_NEW_KEY]);
        rc |= ngx_http_intent_pg_array_null(
                               &a[NGX_HTTP_INTENT_STORE_NEW_FINGERPRINT]);
    }

    rc |= adm->digest == NULL
          ? ngx_http_intent_pg_array_null(
                                     &a[NGX_HTTP_INTENT_STORE_NEW_DIGEST])
          : ngx_http_intent_pg_array_bytes(
                                     &a[NGX_HTTP_INTENT_STORE_NEW_DIGEST],
                                     adm->digest, 32);

    rc |= in->signature.len == 0
          ? ngx_http_intent_pg_array_null(
                                     &a[NGX_HTTP_INTENT_STORE_NEW_SIGNATURE])
          : ngx_http_intent_pg_array_bytes(
                                     &a[NGX_HTTP_INTENT_STORE_NEW_SIGNATURE],
                                     in->signature.data, in->signature.len);

    rc |= in->nonce.len == 0
          ? ngx_http_intent_pg_array_null(
                                     &a[NGX_HTTP_INTENT_STORE_NEW_NONCE])
          : ngx_http_intent_pg_array_bytes(
                                     &a[NGX_HTTP_INTENT_STORE_NEW_NONCE],
                                     in->nonce.data, in->nonce.len);

    return rc == NGX_OK ? NGX_OK : NGX_ERROR;
}
