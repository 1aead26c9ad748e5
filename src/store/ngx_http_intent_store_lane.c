
/*
 * The lanes' side of the store.  Every statement that writes begins by
 * asking whether the lane's epoch still holds, and locks that row, so that a
 * lane which lost its lock without knowing it can write nothing.
 */


#include "ngx_http_intent_store_lane_private.h"


#define NGX_HTTP_INTENT_STORE_LANE_POOL  4096

/*
 * How long a claim is honoured that nothing follows: a preflight is over in
 * seconds, or its node's time limit is
 */
#define NGX_HTTP_INTENT_STORE_LEASE      "interval '5 minutes'"

/* nonces, or intents, that are read in one go when a lane is opened */
#define NGX_HTTP_INTENT_STORE_PAGE       "1000"

/* columns of a transaction, behind those of its intent */
#define NGX_HTTP_INTENT_STORE_TX_COLUMNS                                      \
    "t_hash, t_nonce, t_raw, t_state, t_gas_limit, t_max_fee, "               \
    "t_max_priority_fee"


typedef struct {
    ngx_http_intent_store_session_pt  handler;
    void                             *data;
} ngx_http_intent_store_lane_session_t;


static void ngx_http_intent_store_lane_state(ngx_http_intent_pg_t *pg,
    ngx_uint_t up, void *data);
static void ngx_http_intent_store_lane_done(ngx_http_intent_pg_query_t *q,
    ngx_int_t rc, PGresult *res);
static int64_t ngx_http_intent_store_lane_key(
    ngx_http_intent_store_lane_t *lane);
static void ngx_http_intent_store_lane_lock_done(
    ngx_http_intent_pg_query_t *q, ngx_int_t rc, PGresult *res);
static void ngx_http_intent_store_lane_open_done(
    ngx_http_intent_pg_query_t *q, ngx_int_t rc, PGresult *res);
static void ngx_http_intent_store_lane_claim_done(
    ngx_http_intent_pg_query_t *q, ngx_int_t rc, PGresult *res);


static ngx_http_intent_pg_stmt_t  ngx_http_intent_store_lock_stmt = {
    "lane_lock",

    "SELECT pg_try_advisory_lock($1)",

    1, { NGX_HTTP_INTENT_PG_INT8 }
};


static ngx_http_intent_pg_stmt_t  ngx_http_intent_store_open_stmt = {
    "lane_open",

    "WITH lane AS ("
        "INSERT INTO intent_lanes AS l (chain_id, signer, epoch)"
        " VALUES ($1, $2, 1)"
        " ON CONFLICT (chain_id, signer) DO UPDATE"
        " SET epoch = l.epoch + 1, updated_at = now()"
        " RETURNING epoch, next_nonce"
    "), released AS ("
        "UPDATE intents SET claimed_by = NULL, next_attempt_at = now()"
        " WHERE chain = $3 AND status = 'pending' AND claimed_by = $2"
    ") SELECT epoch, next_nonce FROM lane",

    3, { NGX_HTTP_INTENT_PG_INT8, NGX_HTTP_INTENT_PG_BYTEA,
         NGX_HTTP_INTENT_PG_TEXT }
};


static ngx_http_intent_pg_stmt_t  ngx_http_intent_store_load_stmt = {
    "lane_load",

    "SELECT " NGX_HTTP_INTENT_STORE_COLUMNS ", "
        NGX_HTTP_INTENT_STORE_TX_COLUMNS
    " FROM ("
        "SELECT i.*, t.hash AS t_hash, t.nonce AS t_nonce, t.raw AS t_raw,"
        " t.state AS t_state, t.gas_limit AS t_gas_limit,"
        " t.max_fee_per_gas::text AS t_max_fee,"
        " t.max_priority_fee_per_gas::text AS t_max_priority_fee"
        " FROM intent_transactions t LEFT JOIN intents i ON i.id = t.intent_id"
        " WHERE t.chain_id = $1 AND t.signer = $2"
        " AND t.state IN ('live', 'replaced') AND t.nonce > $3"
        /* all of a nonce, or none; it may be null only of no rows */
        " AND t.nonce <= (SELECT max(n.nonce) FROM ("
            "SELECT DISTINCT nonce FROM intent_transactions"
            " WHERE chain_id = $1 AND signer = $2"
            " AND state IN ('live', 'replaced') AND nonce > $3"
            " ORDER BY nonce LIMIT " NGX_HTTP_INTENT_STORE_PAGE ") n)"
    ") x ORDER BY t_nonce, t_state",

    3, { NGX_HTTP_INTENT_PG_INT8, NGX_HTTP_INTENT_PG_BYTEA,
         NGX_HTTP_INTENT_PG_INT8 }
};


static ngx_http_intent_pg_stmt_t  ngx_http_intent_store_load_rest_stmt = {
    "lane_load_rest",

    "SELECT " NGX_HTTP_INTENT_STORE_COLUMNS ", NULL::bytea, -1::int8,"
    " NULL::bytea, NULL::text, NULL::int8, NULL::text, NULL::text"
    " FROM intents i"
    " WHERE i.chain = $1 AND i.claimed_by = $2 AND i.status = 'executing'"
    " AND ($3::uuid IS NULL OR i.id > $3)"
    " AND NOT EXISTS (SELECT 1 FROM intent_transactions t"
        " WHERE t.intent_id = i.id AND t.state IN ('live', 'replaced'))"
    " ORDER BY i.id LIMIT " NGX_HTTP_INTENT_STORE_PAGE,

    3, { NGX_HTTP_INTENT_PG_TEXT, NGX_HTTP_INTENT_PG_BYTEA,
         NGX_HTTP_INTENT_PG_UUID }
};


static ngx_http_intent_pg_stmt_t  ngx_http_intent_store_strays_stmt = {
    "lane_strays",

    "SELECT i.chain, i.claimed_by, count(*)"
    " FROM intents i WHERE i.status = 'executing'"
    " AND NOT EXISTS (SELECT 1 FROM unnest($1::text[], $2::bytea[])"
        " AS c(chain, signer)"
        " WHERE c.chain = i.chain AND c.signer = i.claimed_by)"
    " GROUP BY i.chain, i.claimed_by"
    " UNION ALL"
    " SELECT i.chain, NULL, count(*)"
    " FROM intents i WHERE i.status = 'pending' AND i.chain <> ALL ($1)"
    " GROUP BY i.chain"
    " LIMIT 20",

    2, { NGX_HTTP_INTENT_PG_TEXT_ARRAY, NGX_HTTP_INTENT_PG_BYTEA_ARRAY }
};


/*
 * A claim need not outlive a crash of the server: the session, and the lane
 * with it, does not either.  So its commit waits for no disk.
 */

static ngx_http_intent_pg_stmt_t  ngx_http_intent_store_claim_stmt = {
    "lane_claim",

    "WITH lane AS ("
        "SELECT set_config('synchronous_commit', 'off', true)"
        " FROM intent_lanes"
        " WHERE chain_id = $1 AND signer = $2 AND epoch = $3"
    "), claimable AS ("
        "SELECT c.id AS claim_id FROM intents c, lane"
        " WHERE c.status = 'pending' AND c.chain = $4"
        " AND c.next_attempt_at <= now()"
        " AND c.claimed_by IS DISTINCT FROM $2"
        " AND (c.expires_at IS NULL OR c.expires_at > now())"
        " ORDER BY c.next_attempt_at LIMIT $5"
        " FOR UPDATE OF c SKIP LOCKED"
    "), claimed AS ("
        "UPDATE intents SET claimed_by = $2,"
        " next_attempt_at = now() + " NGX_HTTP_INTENT_STORE_LEASE
        " FROM claimable WHERE id = claim_id"
        " RETURNING " NGX_HTTP_INTENT_STORE_COLUMNS
    /* a row of nulls: nothing to claim; no row: the epoch does not hold */
    ") SELECT claimed.* FROM lane LEFT JOIN claimed ON true",

    5, { NGX_HTTP_INTENT_PG_INT8, NGX_HTTP_INTENT_PG_BYTEA,
         NGX_HTTP_INTENT_PG_INT8, NGX_HTTP_INTENT_PG_TEXT,
         NGX_HTTP_INTENT_PG_INT8 }
};


static ngx_http_intent_pg_stmt_t  ngx_http_intent_store_close_stmt = {
    "lane_close",

    "WITH lane AS ("
        "SELECT 1 FROM intent_lanes"
        " WHERE chain_id = $1 AND signer = $2 AND epoch = $3"
    "), released AS ("
        "UPDATE intents SET claimed_by = NULL, next_attempt_at = now()"
        " FROM lane"
        " WHERE chain = $4 AND status = 'pending' AND claimed_by = $2"
    ") SELECT pg_advisory_unlock($5)",

    5, { NGX_HTTP_INTENT_PG_INT8, NGX_HTTP_INTENT_PG_BYTEA,
         NGX_HTTP_INTENT_PG_INT8, NGX_HTTP_INTENT_PG_TEXT,
         NGX_HTTP_INTENT_PG_INT8 }
};


static ngx_http_intent_pg_t  *ngx_http_intent_store_lane_pg;


ngx_int_t
ngx_http_intent_store_lane_session(ngx_http_intent_store_session_pt handler,
    void *data)
{
    ngx_http_intent_store_lane_session_t  *s;

    s = ngx_palloc(ngx_cycle->pool,
                   sizeof(ngx_http_intent_store_lane_session_t));
    if (s == NULL) {
        return NGX_ERROR;
    }

    s->handler = handler;
    s->data = data;

    ngx_http_intent_store_lane_pg = ngx_http_intent_store_executor(
                                         ngx_http_intent_store_lane_state, s);

    return ngx_http_intent_store_lane_pg ? NGX_OK : NGX_ERROR;
}


static void
ngx_http_intent_store_lane_state(ngx_http_intent_pg_t *pg, ngx_uint_t up,
    void *data)
{
    ngx_http_intent_store_lane_session_t  *s = data;

    s->handler(s->data, up);
}


ngx_http_intent_store_lane_op_t *
ngx_http_intent_store_lane_op(ngx_http_intent_store_lane_t *lane,
    ngx_http_intent_pg_stmt_t *stmt, ngx_uint_t operation)
{
    ngx_pool_t                       *pool;
    ngx_http_intent_store_lane_op_t  *op;

    pool = ngx_create_pool(NGX_HTTP_INTENT_STORE_LANE_POOL, ngx_cycle->log);
    if (pool == NULL) {
        return NULL;
    }

    op = ngx_pcalloc(pool, sizeof(ngx_http_intent_store_lane_op_t));
    if (op == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    op->pool = pool;
    op->lane = lane;
    op->operation = operation;
    op->query.stmt = stmt;
    op->query.handler = ngx_http_intent_store_lane_done;
    op->query.data = op;

    return op;
}


ngx_int_t
ngx_http_intent_store_lane_run(ngx_http_intent_store_lane_op_t *op,
    ngx_http_intent_store_lane_pt handler, void *data)
{
    op->handler = handler;
    op->data = data;
    op->start = ngx_http_intent_seconds();

    if (ngx_http_intent_pg_query(ngx_http_intent_store_lane_pg, &op->query)
        != NGX_OK)
    {
        ngx_destroy_pool(op->pool);
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static void
ngx_http_intent_store_lane_done(ngx_http_intent_pg_query_t *q, ngx_int_t rc,
    PGresult *res)
{
    ngx_http_intent_store_rows_t      rows;
    ngx_http_intent_store_lane_op_t  *op = q->data;

    ngx_http_intent_store_observe(op->operation, op->start);

    if (rc == NGX_ERROR) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "intent store refused \"%s\" of chain \"%V\": %s %s",
                      q->stmt->name, &op->lane->chain,
                      ngx_http_intent_pg_sqlstate(res),
                      ngx_http_intent_pg_message(res));
    }

    rows.res = (rc == NGX_OK) ? res : NULL;
    rows.has_tx = (q->stmt == &ngx_http_intent_store_load_stmt
                   || q->stmt == &ngx_http_intent_store_load_rest_stmt);

    op->handler(op->data, (rc == NGX_OK) ? NGX_OK : NGX_ERROR, &rows);

    ngx_destroy_pool(op->pool);
}


/* FNV-1a: any worker of any host and version must come to the same number */

static int64_t
ngx_http_intent_store_lane_key(ngx_http_intent_store_lane_t *lane)
{
    u_char      text[sizeof("intent lane ") - 1 + 8 + 20], *p;
    uint64_t    h;
    ngx_uint_t  i;

    p = ngx_cpymem(text, "intent lane ", sizeof("intent lane ") - 1);

    for (i = 0; i < 8; i++) {
        *p++ = (u_char) ((uint64_t) lane->chain_id >> (8 * i));
    }

    ngx_memcpy(p, lane->signer, 20);

    h = 0xcbf29ce484222325ULL;

    for (i = 0; i < sizeof(text); i++) {
        h = (h ^ text[i]) * 0x100000001b3ULL;
    }

    return (int64_t) h;
}


ngx_int_t
ngx_http_intent_store_lane_lock(ngx_http_intent_store_lane_t *lane,
    ngx_http_intent_store_lane_pt handler, void *data)
{
    ngx_http_intent_store_lane_op_t  *op;

    op = ngx_http_intent_store_lane_op(lane, &ngx_http_intent_store_lock_stmt,
                                       NGX_HTTP_INTENT_STORE_LANE);
    if (op == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_intent_pg_param_int8(&op->query, 0, op->pool,
                                      ngx_http_intent_store_lane_key(lane))
        != NGX_OK)
    {
        ngx_destroy_pool(op->pool);
        return NGX_ERROR;
    }

    op->query.handler = ngx_http_intent_store_lane_lock_done;

    return ngx_http_intent_store_lane_run(op, handler, data);
}


static void
ngx_http_intent_store_lane_lock_done(ngx_http_intent_pg_query_t *q,
    ngx_int_t rc, PGresult *res)
{
    ngx_http_intent_store_rows_t      rows;
    ngx_http_intent_store_lane_op_t  *op = q->data;

    /* asked for again and again while somebody else has the lane */

    if (rc == NGX_OK
        && (PQntuples(res) != 1 || *PQgetvalue(res, 0, 0) == 0))
    {
        ngx_memzero(&rows, sizeof(ngx_http_intent_store_rows_t));
        op->handler(op->data, NGX_DECLINED, &rows);
        ngx_destroy_pool(op->pool);
        return;
    }

    ngx_http_intent_store_lane_done(q, rc, res);
}


ngx_int_t
ngx_http_intent_store_lane_open(ngx_http_intent_store_lane_t *lane,
    ngx_http_intent_store_lane_pt handler, void *data)
{
    ngx_http_intent_store_lane_op_t  *op;

    op = ngx_http_intent_store_lane_op(lane, &ngx_http_intent_store_open_stmt,
                                       NGX_HTTP_INTENT_STORE_LANE);
    if (op == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_intent_pg_param_int8(&op->query, 0, op->pool, lane->chain_id)
        != NGX_OK)
    {
        ngx_destroy_pool(op->pool);
        return NGX_ERROR;
    }

    ngx_http_intent_pg_param_bytes(&op->query, 1, lane->signer, 20);
    ngx_http_intent_pg_param_bytes(&op->query, 2, lane->chain.data,
                                   lane->chain.len);

    op->query.handler = ngx_http_intent_store_lane_open_done;

    return ngx_http_intent_store_lane_run(op, handler, data);
}


static void
ngx_http_intent_store_lane_open_done(ngx_http_intent_pg_query_t *q,
    ngx_int_t rc, PGresult *res)
{
    ngx_http_intent_store_lane_op_t  *op = q->data;

    if (rc == NGX_OK && PQntuples(res) == 1) {
        op->lane->epoch = ngx_http_intent_pg_int8(res, 0, 0, 0);
        op->lane->next_nonce = ngx_http_intent_pg_int8(res, 0, 1, 0);
    }

    ngx_http_intent_store_lane_done(q, rc, res);
}


ngx_int_t
ngx_http_intent_store_lane_load(ngx_http_intent_store_lane_t *lane,
    int64_t after, ngx_http_intent_store_lane_pt handler, void *data)
{
    ngx_http_intent_store_lane_op_t  *op;

    op = ngx_http_intent_store_lane_op(lane, &ngx_http_intent_store_load_stmt,
                                       NGX_HTTP_INTENT_STORE_LANE);
    if (op == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_intent_pg_param_int8(&op->query, 0, op->pool, lane->chain_id)
        != NGX_OK
        || ngx_http_intent_pg_param_int8(&op->query, 2, op->pool, after)
           != NGX_OK)
    {
        ngx_destroy_pool(op->pool);
        return NGX_ERROR;
    }

    ngx_http_intent_pg_param_bytes(&op->query, 1, lane->signer, 20);

    return ngx_http_intent_store_lane_run(op, handler, data);
}


ngx_int_t
ngx_http_intent_store_lane_load_rest(ngx_http_intent_store_lane_t *lane,
    ngx_str_t *after, ngx_http_intent_store_lane_pt handler, void *data)
{
    u_char                           *id;
    ngx_http_intent_store_lane_op_t  *op;

    op = ngx_http_intent_store_lane_op(lane,
                                       &ngx_http_intent_store_load_rest_stmt,
                                       NGX_HTTP_INTENT_STORE_LANE);
    if (op == NULL) {
        return NGX_ERROR;
    }

    ngx_http_intent_pg_param_bytes(&op->query, 0, lane->chain.data,
                                   lane->chain.len);
    ngx_http_intent_pg_param_bytes(&op->query, 1, lane->signer, 20);
    ngx_http_intent_pg_param_bytes(&op->query, 2, NULL, 0);

    if (after) {
        id = ngx_pnalloc(op->pool, 16);

        if (id == NULL
            || ngx_http_intent_id_parse(after->data, after->len, id)
               != NGX_OK)
        {
            ngx_destroy_pool(op->pool);
            return NGX_ERROR;
        }

        ngx_http_intent_pg_param_bytes(&op->query, 2, id, 16);
    }

    return ngx_http_intent_store_lane_run(op, handler, data);
}


ngx_int_t
ngx_http_intent_store_lane_strays(ngx_http_intent_store_lane_t **lanes,
    ngx_uint_t n, ngx_http_intent_store_lane_pt handler, void *data)
{
    ngx_uint_t                        i;
    ngx_http_intent_pg_array_t        chains, signers;
    ngx_http_intent_store_lane_op_t  *op;

    op = ngx_http_intent_store_lane_op(lanes[0],
                                       &ngx_http_intent_store_strays_stmt,
                                       NGX_HTTP_INTENT_STORE_LANE);
    if (op == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_intent_pg_array_begin(&chains, op->pool,
                                       NGX_HTTP_INTENT_PG_TEXT, n * 16 + 1)
        != NGX_OK
        || ngx_http_intent_pg_array_begin(&signers, op->pool,
                                          NGX_HTTP_INTENT_PG_BYTEA,
                                          n * 24 + 1)
           != NGX_OK)
    {
        goto failed;
    }

    for (i = 0; i < n; i++) {
        if (ngx_http_intent_pg_array_bytes(&chains, lanes[i]->chain.data,
                                           lanes[i]->chain.len)
            != NGX_OK
            || ngx_http_intent_pg_array_bytes(&signers, lanes[i]->signer, 20)
               != NGX_OK)
        {
            goto failed;
        }
    }

    ngx_http_intent_pg_param_array(&op->query, 0, &chains);
    ngx_http_intent_pg_param_array(&op->query, 1, &signers);

    return ngx_http_intent_store_lane_run(op, handler, data);

failed:

    ngx_destroy_pool(op->pool);

    return NGX_ERROR;
}


ngx_int_t
ngx_http_intent_store_lane_claim(ngx_http_intent_store_lane_t *lane,
    ngx_uint_t n, ngx_http_intent_store_lane_pt handler, void *data)
{
    ngx_http_intent_store_lane_op_t  *op;

    op = ngx_http_intent_store_lane_op(lane,
                                       &ngx_http_intent_store_claim_stmt,
                                       NGX_HTTP_INTENT_STORE_CLAIM);
    if (op == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_intent_pg_param_int8(&op->query, 0, op->pool, lane->chain_id)
        != NGX_OK
        || ngx_http_intent_pg_param_int8(&op->query, 2, op->pool, lane->epoch)
           != NGX_OK
        || ngx_http_intent_pg_param_int8(&op->query, 4, op->pool, n) != NGX_OK)
    {
        ngx_destroy_pool(op->pool);
        return NGX_ERROR;
    }

    ngx_http_intent_pg_param_bytes(&op->query, 1, lane->signer, 20);
    ngx_http_intent_pg_param_bytes(&op->query, 3, lane->chain.data,
                                   lane->chain.len);

    op->query.handler = ngx_http_intent_store_lane_claim_done;

    return ngx_http_intent_store_lane_run(op, handler, data);
}


static void
ngx_http_intent_store_lane_claim_done(ngx_http_intent_pg_query_t *q,
    ngx_int_t rc, PGresult *res)
{
    ngx_http_intent_store_lane_op_t  *op = q->data;

    if (rc == NGX_OK && PQntuples(res) == 0) {
        ngx_http_intent_store_lane_taken(op->lane);
        rc = NGX_ABORT;
    }

    ngx_http_intent_store_lane_done(q, rc, res);
}


void
ngx_http_intent_store_lane_taken(ngx_http_intent_store_lane_t *lane)
{
    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                  "intent lane of chain \"%V\" was taken over: "
                  "epoch %L does not hold any more",
                  &lane->chain, lane->epoch);
}


void
ngx_http_intent_store_lane_reset(void)
{
    ngx_http_intent_pg_reset(ngx_http_intent_store_lane_pg);
}


ngx_int_t
ngx_http_intent_store_lane_close(ngx_http_intent_store_lane_t *lane,
    ngx_http_intent_store_lane_pt handler, void *data)
{
    ngx_http_intent_store_lane_op_t  *op;

    op = ngx_http_intent_store_lane_op(lane,
                                       &ngx_http_intent_store_close_stmt,
                                       NGX_HTTP_INTENT_STORE_LANE);
    if (op == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_intent_pg_param_int8(&op->query, 0, op->pool, lane->chain_id)
        != NGX_OK
        || ngx_http_intent_pg_param_int8(&op->query, 2, op->pool, lane->epoch)
           != NGX_OK
        || ngx_http_intent_pg_param_int8(&op->query, 4, op->pool,
                                         ngx_http_intent_store_lane_key(lane))
           != NGX_OK)
    {
        ngx_destroy_pool(op->pool);
        return NGX_ERROR;
    }

    ngx_http_intent_pg_param_bytes(&op->query, 1, lane->signer, 20);
    ngx_http_intent_pg_param_bytes(&op->query, 3, lane->chain.data,
                                   lane->chain.len);

    return ngx_http_intent_store_lane_run(op, handler, data);
}
