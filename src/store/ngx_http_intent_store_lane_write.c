
/*
 * What a lane writes: in one commit, what became of intents, which
 * transactions are about to be sent, and what became of others.
 */


#include "ngx_http_intent_store_lane_private.h"
#include "evm.h"


static ngx_int_t ngx_http_intent_store_write_changes(
    ngx_http_intent_store_lane_op_t *op, ngx_uint_t n);
static ngx_int_t ngx_http_intent_store_write_states(
    ngx_http_intent_store_lane_op_t *op, ngx_uint_t n);
static ngx_int_t ngx_http_intent_store_write_txs(
    ngx_http_intent_store_lane_op_t *op, ngx_uint_t n);
static void ngx_http_intent_store_lane_write_done(
    ngx_http_intent_pg_query_t *q, ngx_int_t rc, PGresult *res);
static ngx_uint_t ngx_http_intent_store_lane_is_row(PGresult *res);
static void ngx_http_intent_store_lane_refused(
    ngx_http_intent_transition_t *t, PGresult *res);


/*
 * The insert looks at "told", so that a transaction which takes the place of
 * another is not live at the same moment as that one.  The same bytes are
 * saved again only where a test chain has forgotten them.
 */

static ngx_http_intent_pg_stmt_t  ngx_http_intent_store_write_stmt = {
    "lane_write",

    "WITH lane AS ("
        "UPDATE intent_lanes SET next_nonce = $4, updated_at = now()"
        " WHERE chain_id = $1 AND signer = $2 AND epoch = $3"
        " RETURNING 1"
    "), changed AS ("
        "UPDATE intents i SET status = u.status, version = u.version,"
        " attempts = u.attempts, tx_hash = u.tx_hash,"
        " block_number = u.block_number, confirmations = u.confirmations,"
        " gas_used = u.gas_used, gas_cost = u.gas_cost::numeric,"
        " error = u.error, updated_at = u.updated_at,"
        " claimed_by = CASE WHEN u.delay < 0 THEN $2 END,"
        " next_attempt_at = CASE WHEN u.delay < 0 THEN i.next_attempt_at"
            " ELSE now() + u.delay * interval '1 ms' END"
        " FROM lane, unnest($5::uuid[], $6::text[], $7::int8[], $8::int8[],"
            " $9::bytea[], $10::int8[], $11::int8[], $12::int8[],"
            " $13::text[], $14::text[], $15::timestamptz[], $16::int8[])"
            " AS u(id, status, version, attempts, tx_hash, block_number,"
            " confirmations, gas_used, gas_cost, error, updated_at, delay)"
        " WHERE i.id = u.id AND i.version = u.version - 1"
        " AND i.claimed_by = $2"
        " RETURNING i.id"
    "), told AS ("
        "UPDATE intent_transactions t SET state = u.state,"
        " block_number = u.block_number, block_hash = u.block_hash"
        " FROM lane, unnest($17::bytea[], $18::text[], $19::int8[],"
            " $20::bytea[]) AS u(hash, state, block_number, block_hash)"
        " WHERE t.hash = u.hash AND (t.intent_id IS NULL"
            " OR t.intent_id IN (SELECT id FROM changed)"
            " OR t.intent_id <> ALL ($5))"
        " RETURNING 1"
    "), saved AS ("
        "INSERT INTO intent_transactions (hash, chain_id, signer, nonce,"
        " intent_id, raw, gas_limit, max_fee_per_gas,"
        " max_priority_fee_per_gas)"
        " SELECT u.hash, $1, $2, u.nonce, u.intent_id, u.raw, u.gas_limit,"
        " u.max_fee::numeric, u.max_priority_fee::numeric"
        " FROM lane, unnest($21::bytea[], $22::int8[], $23::uuid[],"
            " $24::bytea[], $25::int8[], $26::text[], $27::text[])"
            " AS u(hash, nonce, intent_id, raw, gas_limit, max_fee,"
            " max_priority_fee)"
        " WHERE (SELECT count(*) FROM told) >= 0"
        " AND (u.intent_id IS NULL"
            " OR u.intent_id IN (SELECT id FROM changed))"
        " ON CONFLICT (hash) DO UPDATE SET state = 'live',"
        " intent_id = EXCLUDED.intent_id, block_number = NULL,"
        " block_hash = NULL, created_at = now()"
        " RETURNING 1"
    ") SELECT NULL::uuid FROM lane UNION ALL SELECT id FROM changed",

    27, { NGX_HTTP_INTENT_PG_INT8, NGX_HTTP_INTENT_PG_BYTEA,
          NGX_HTTP_INTENT_PG_INT8, NGX_HTTP_INTENT_PG_INT8,
          NGX_HTTP_INTENT_PG_UUID_ARRAY, NGX_HTTP_INTENT_PG_TEXT_ARRAY,
          NGX_HTTP_INTENT_PG_INT8_ARRAY, NGX_HTTP_INTENT_PG_INT8_ARRAY,
          NGX_HTTP_INTENT_PG_BYTEA_ARRAY, NGX_HTTP_INTENT_PG_INT8_ARRAY,
          NGX_HTTP_INTENT_PG_INT8_ARRAY, NGX_HTTP_INTENT_PG_INT8_ARRAY,
          NGX_HTTP_INTENT_PG_TEXT_ARRAY, NGX_HTTP_INTENT_PG_TEXT_ARRAY,
          NGX_HTTP_INTENT_PG_TIMESTAMPTZ_ARRAY, NGX_HTTP_INTENT_PG_INT8_ARRAY,
          NGX_HTTP_INTENT_PG_BYTEA_ARRAY, NGX_HTTP_INTENT_PG_TEXT_ARRAY,
          NGX_HTTP_INTENT_PG_INT8_ARRAY, NGX_HTTP_INTENT_PG_BYTEA_ARRAY,
          NGX_HTTP_INTENT_PG_BYTEA_ARRAY, NGX_HTTP_INTENT_PG_INT8_ARRAY,
          NGX_HTTP_INTENT_PG_UUID_ARRAY, NGX_HTTP_INTENT_PG_BYTEA_ARRAY,
          NGX_HTTP_INTENT_PG_INT8_ARRAY, NGX_HTTP_INTENT_PG_TEXT_ARRAY,
          NGX_HTTP_INTENT_PG_TEXT_ARRAY }
};


ngx_int_t
ngx_http_intent_store_lane_write(ngx_http_intent_transition_t *t)
{
    ngx_http_intent_store_write_t    *w = t->record_data;

    ngx_http_intent_store_lane_op_t  *op;

    op = ngx_http_intent_store_lane_op(w->lane,
                                       &ngx_http_intent_store_write_stmt,
                                       w->ntxs ? NGX_HTTP_INTENT_STORE_SAVE
                                           : NGX_HTTP_INTENT_STORE_RECEIPT);
    if (op == NULL) {
        return NGX_DECLINED;
    }

    op->transition = t;

    if (ngx_http_intent_pg_param_int8(&op->query, 0, op->pool,
                                      w->lane->chain_id)
        != NGX_OK
        || ngx_http_intent_pg_param_int8(&op->query, 2, op->pool,
                                         w->lane->epoch)
           != NGX_OK
        || ngx_http_intent_pg_param_int8(&op->query, 3, op->pool,
                                         w->lane->next_nonce)
           != NGX_OK
        || ngx_http_intent_store_write_changes(op, 4) != NGX_OK
        || ngx_http_intent_store_write_states(op, 16) != NGX_OK
        || ngx_http_intent_store_write_txs(op, 20) != NGX_OK)
    {
        ngx_destroy_pool(op->pool);
        return NGX_DECLINED;
    }

    ngx_http_intent_pg_param_bytes(&op->query, 1, w->lane->signer, 20);

    op->query.handler = ngx_http_intent_store_lane_write_done;

    return ngx_http_intent_store_lane_run(op, NULL, NULL);
}


#define ngx_http_intent_store_array_str(a, s)                                 \
    ((s)->len ? ngx_http_intent_pg_array_bytes(a, (s)->data, (s)->len)        \
              : ngx_http_intent_pg_array_null(a))

#define ngx_http_intent_store_array_n(a, v)                                   \
    ((v) < 0 ? ngx_http_intent_pg_array_null(a)                               \
             : ngx_http_intent_pg_array_int8(a, v))


static ngx_int_t
ngx_http_intent_store_write_changes(ngx_http_intent_store_lane_op_t *op,
    ngx_uint_t n)
{
    static const Oid  types[] = {
        NGX_HTTP_INTENT_PG_UUID, NGX_HTTP_INTENT_PG_TEXT,
        NGX_HTTP_INTENT_PG_INT8, NGX_HTTP_INTENT_PG_INT8,
        NGX_HTTP_INTENT_PG_BYTEA, NGX_HTTP_INTENT_PG_INT8,
        NGX_HTTP_INTENT_PG_INT8, NGX_HTTP_INTENT_PG_INT8,
        NGX_HTTP_INTENT_PG_TEXT, NGX_HTTP_INTENT_PG_TEXT,
        NGX_HTTP_INTENT_PG_TIMESTAMPTZ, NGX_HTTP_INTENT_PG_INT8
    };

    u_char                          id[16], hash[32];
    size_t                          len;
    ngx_str_t                      *status;
    ngx_uint_t                      i;
    ngx_http_intent_t              *in;
    ngx_http_intent_pg_array_t      a[12];
    ngx_http_intent_transition_t   *t;
    ngx_http_intent_store_write_t  *w;

    t = op->transition;
    w = t->record_data;

    for (i = 0; i < 12; i++) {
        if (ngx_http_intent_pg_array_begin(&a[i], op->pool, types[i],
                                           t->nchanges * 16 + 1)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    for (i = 0; i < t->nchanges; i++) {
        in = t->changes[i].intent;
        status = ngx_http_intent_status_name(in->status);
        len = sizeof(hash);

        if (ngx_http_intent_id_parse(in->id.data, in->id.len, id) != NGX_OK) {
            return NGX_ERROR;
        }

        if (in->tx_hash.len
            && evm_hex_decode((char *) in->tx_hash.data, in->tx_hash.len,
                              hash, &len)
               != EVM_OK)
        {
            return NGX_ERROR;
        }

        if (ngx_http_intent_pg_array_bytes(&a[0], id, 16) != NGX_OK
            || ngx_http_intent_store_array_str(&a[1], status) != NGX_OK
            || ngx_http_intent_pg_array_int8(&a[2], in->version) != NGX_OK
            || ngx_http_intent_pg_array_int8(&a[3], in->attempts) != NGX_OK
            || (in->tx_hash.len
                ? ngx_http_intent_pg_array_bytes(&a[4], hash, len)
                : ngx_http_intent_pg_array_null(&a[4])) != NGX_OK
            || ngx_http_intent_store_array_n(&a[5], in->block_number)
               != NGX_OK
            || ngx_http_intent_pg_array_int8(&a[6], in->confirmations)
               != NGX_OK
            || ngx_http_intent_store_array_n(&a[7], in->gas_used) != NGX_OK
            || ngx_http_intent_store_array_str(&a[8], &in->gas_cost) != NGX_OK
            || ngx_http_intent_store_array_str(&a[9], &in->error) != NGX_OK
            || ngx_http_intent_pg_array_time(&a[10], in->updated_at) != NGX_OK
            || ngx_http_intent_pg_array_int8(&a[11],
                                             w->delays ? w->delays[i] : -1)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    for (i = 0; i < 12; i++) {
        ngx_http_intent_pg_param_array(&op->query, n + i, &a[i]);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_store_write_states(ngx_http_intent_store_lane_op_t *op,
    ngx_uint_t n)
{
    static const Oid  types[] = {
        NGX_HTTP_INTENT_PG_BYTEA, NGX_HTTP_INTENT_PG_TEXT,
        NGX_HTTP_INTENT_PG_INT8, NGX_HTTP_INTENT_PG_BYTEA
    };

    ngx_uint_t                         i;
    ngx_http_intent_pg_array_t         a[4];
    ngx_http_intent_store_write_t     *w;
    ngx_http_intent_store_tx_state_t  *s;

    w = op->transition->record_data;

    for (i = 0; i < 4; i++) {
        if (ngx_http_intent_pg_array_begin(&a[i], op->pool, types[i],
                                           w->nstates * 36 + 1)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    for (i = 0; i < w->nstates; i++) {
        s = &w->states[i];

        if (ngx_http_intent_pg_array_bytes(&a[0], s->hash, 32) != NGX_OK
            || ngx_http_intent_pg_array_bytes(&a[1], (u_char *) s->state,
                                              ngx_strlen(s->state))
               != NGX_OK
            || ngx_http_intent_store_array_n(&a[2], s->block_number) != NGX_OK
            || (s->block_number < 0
                ? ngx_http_intent_pg_array_null(&a[3])
                : ngx_http_intent_pg_array_bytes(&a[3], s->block_hash, 32))
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    for (i = 0; i < 4; i++) {
        ngx_http_intent_pg_param_array(&op->query, n + i, &a[i]);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_store_write_txs(ngx_http_intent_store_lane_op_t *op,
    ngx_uint_t n)
{
    static const Oid  types[] = {
        NGX_HTTP_INTENT_PG_BYTEA, NGX_HTTP_INTENT_PG_INT8,
        NGX_HTTP_INTENT_PG_UUID, NGX_HTTP_INTENT_PG_BYTEA,
        NGX_HTTP_INTENT_PG_INT8, NGX_HTTP_INTENT_PG_TEXT,
        NGX_HTTP_INTENT_PG_TEXT
    };

    u_char                          id[16];
    ngx_int_t                       rc;
    ngx_uint_t                      i;
    ngx_http_intent_pg_array_t      a[7];
    ngx_http_intent_store_tx_t     *tx;
    ngx_http_intent_store_write_t  *w;

    w = op->transition->record_data;

    for (i = 0; i < 7; i++) {
        if (ngx_http_intent_pg_array_begin(&a[i], op->pool, types[i],
                                           w->ntxs * 36 + 1)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    for (i = 0; i < w->ntxs; i++) {
        tx = &w->txs[i];

        if (tx->intent_id.len == 0) {
            rc = ngx_http_intent_pg_array_null(&a[2]);

        } else if (ngx_http_intent_id_parse(tx->intent_id.data,
                                            tx->intent_id.len, id)
                   == NGX_OK)
        {
            rc = ngx_http_intent_pg_array_bytes(&a[2], id, 16);

        } else {
            rc = NGX_ERROR;
        }

        if (rc != NGX_OK
            || ngx_http_intent_pg_array_bytes(&a[0], tx->hash, 32) != NGX_OK
            || ngx_http_intent_pg_array_int8(&a[1], tx->nonce) != NGX_OK
            || ngx_http_intent_pg_array_bytes(&a[3], tx->raw.data,
                                              tx->raw.len)
               != NGX_OK
            || ngx_http_intent_pg_array_int8(&a[4], tx->gas_limit) != NGX_OK
            || ngx_http_intent_store_array_str(&a[5], &tx->max_fee) != NGX_OK
            || ngx_http_intent_store_array_str(&a[6], &tx->max_priority_fee)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    for (i = 0; i < 7; i++) {
        ngx_http_intent_pg_param_array(&op->query, n + i, &a[i]);
    }

    return NGX_OK;
}


static void
ngx_http_intent_store_lane_write_done(ngx_http_intent_pg_query_t *q,
    ngx_int_t rc, PGresult *res)
{
    ngx_http_intent_store_lane_op_t  *op = q->data;

    ngx_http_intent_store_lane_t     *lane;
    ngx_http_intent_transition_t     *t;
    ngx_http_intent_store_write_t    *w;

    t = op->transition;
    w = t->record_data;
    lane = op->lane;

    ngx_http_intent_store_observe(op->operation, op->start);

    switch (rc) {

    case NGX_OK:
        if (PQntuples(res) == 0) {
            ngx_http_intent_store_lane_taken(lane);
            rc = NGX_ERROR;
            break;
        }

        ngx_http_intent_store_lane_refused(t, res);
        break;

    case NGX_ERROR:
        ngx_log_error(NGX_LOG_ERR, t->log, 0,
                      "intent store refused \"%s\" of chain \"%V\": %s %s",
                      q->stmt->name, &lane->chain,
                      ngx_http_intent_pg_sqlstate(res),
                      ngx_http_intent_pg_message(res));

        w->transient = ngx_strncmp(ngx_http_intent_pg_sqlstate(res), "40", 2)
                       == 0;
        w->refused = w->transient || ngx_http_intent_store_lane_is_row(res);
        break;

    case NGX_ABORT:
        ngx_http_intent_store_doubt(t);
        break;

    default: /* NGX_DECLINED */
        rc = NGX_ABORT;
    }

    ngx_destroy_pool(op->pool);

    ngx_http_intent_transition_done(t, rc);
}


/*
 * SQLSTATE classes of what a single row may be the reason for: data
 * exceptions, violated constraints, limits, raised by a trigger; but not
 * unique_violation: a nonce that is live already is to be read again
 */

static ngx_uint_t
ngx_http_intent_store_lane_is_row(PGresult *res)
{
    ngx_uint_t          i;
    const char         *state;
    static const char  *classes[] = { "22", "23", "54", "P0" };

    state = ngx_http_intent_pg_sqlstate(res);

    if (ngx_strcmp(state, "23505") == 0) {
        return 0;
    }

    for (i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
        if (ngx_strncmp(state, classes[i], 2) == 0) {
            return 1;
        }
    }

    return 0;
}


static void
ngx_http_intent_store_lane_refused(ngx_http_intent_transition_t *t,
    PGresult *res)
{
    int         row, nrows;
    u_char      id[16];
    ngx_str_t   field;
    ngx_uint_t  i;

    nrows = PQntuples(res);

    if ((ngx_uint_t) nrows == t->nchanges + 1) {
        return;
    }

    for (i = 0; i < t->nchanges; i++) {

        (void) ngx_http_intent_id_parse(t->changes[i].intent->id.data,
                                        t->changes[i].intent->id.len, id);
        t->changes[i].refused = 1;

        for (row = 0; row < nrows; row++) {
            field = ngx_http_intent_pg_bytes(res, row, 0);

            if (field.len == 16 && ngx_memcmp(field.data, id, 16) == 0) {
                t->changes[i].refused = 0;
                break;
            }
        }
    }
}
