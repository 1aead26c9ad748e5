
/*
 * From a call to a transaction the node has: nonce, fees, signature, commit,
 * and only then the sending.
 */


#include "ngx_http_intent_lane.h"


#define NGX_HTTP_INTENT_STEP_POOL  16384

/* how often a node may refuse a transaction before it is given up */
#define NGX_HTTP_INTENT_REFUSED    20


static ngx_uint_t ngx_http_intent_save_take(ngx_http_intent_lane_t *lane,
    evm_u256_t *max_fee);
static void ngx_http_intent_save_too_dear(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job);
static void ngx_http_intent_save_fees(ngx_http_intent_lane_t *lane,
    evm_u256_t *max_fee, evm_u256_t *tip);
static ngx_int_t ngx_http_intent_save_sign(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job, evm_u256_t *max_fee, evm_u256_t *tip);
static ngx_str_t ngx_http_intent_save_decimal(ngx_pool_t *pool,
    evm_u256_t *n);
static ngx_int_t ngx_http_intent_save_record(ngx_http_intent_step_t *step,
    ngx_uint_t n);
static void ngx_http_intent_save_done(ngx_http_intent_transition_t *t,
    ngx_int_t rc);
static ngx_uint_t ngx_http_intent_save_refused(
    ngx_http_intent_transition_t *t, ngx_http_intent_job_t *job);
static ngx_int_t ngx_http_intent_send_ask(ngx_http_intent_jsonrpc_t *j,
    ngx_http_intent_job_t *job);
static void ngx_http_intent_send_done(void *data,
    ngx_http_intent_jsonrpc_t *j, ngx_int_t rc);
static void ngx_http_intent_send_answer(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job, ngx_http_intent_jsonrpc_t *j, ngx_uint_t i);
static void ngx_http_intent_send_cancel(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job, ngx_uint_t class, ngx_str_t *message);
static void ngx_http_intent_send_later(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job, ngx_uint_t class, ngx_str_t *message);


void
ngx_http_intent_lane_save(ngx_http_intent_lane_t *lane)
{
    ngx_uint_t               n;
    evm_u256_t               max_fee, tip;
    ngx_queue_t             *q;
    ngx_http_intent_step_t  *step;

    step = &lane->save;

    if (step->busy || lane->head < 0 || ngx_queue_empty(&lane->ready)) {
        return;
    }

    step->pool = ngx_create_pool(NGX_HTTP_INTENT_STEP_POOL, lane->log);
    if (step->pool == NULL) {
        return;
    }

    ngx_http_intent_save_fees(lane, &max_fee, &tip);

    n = ngx_http_intent_save_take(lane, &max_fee);

    if (n == 0) {
        ngx_destroy_pool(step->pool);
        step->pool = NULL;
        return;
    }

    for (q = ngx_queue_head(&step->jobs);
         q != ngx_queue_sentinel(&step->jobs);
         q = ngx_queue_next(q))
    {
        if (ngx_http_intent_save_sign(lane, ngx_http_intent_job(q), &max_fee,
                                      &tip)
            != NGX_OK)
        {
            goto failed;
        }
    }

    if (ngx_http_intent_save_record(step, n) == NGX_OK
        && ngx_http_intent_step_write(step, n, ngx_http_intent_save_done)
           == NGX_OK)
    {
        return;
    }

failed:

    /* nothing was saved: the nonces are read again with the lane */

    ngx_destroy_pool(step->pool);
    step->pool = NULL;

    ngx_http_intent_lane_lose(lane);
}


/*
 * Takes what the signer can pay for.  What it can pay for when others are
 * done waits; what it cannot pay for at all is tried again later, and fails
 * at last, without a nonce: one transaction that no node takes would hold up
 * all behind it.
 */

static ngx_uint_t
ngx_http_intent_save_take(ngx_http_intent_lane_t *lane, evm_u256_t *max_fee)
{
    ngx_uint_t              n;
    evm_u256_t              cost, total;
    ngx_queue_t            *q, *next;
    ngx_http_intent_job_t  *job;

    n = 0;

    for (q = ngx_queue_head(&lane->ready);
         q != ngx_queue_sentinel(&lane->ready)
         && n < NGX_HTTP_INTENT_LANE_SIGN;
         q = next)
    {
        next = ngx_queue_next(q);
        job = ngx_http_intent_job(q);

        /* a nonce that is taken already has to be used, whatever it costs */

        if (job->tx.nonce >= 0) {
            ngx_queue_remove(q);
            ngx_queue_insert_tail(&lane->save.jobs, q);
            n++;
            continue;
        }

        if (ngx_http_intent_job_give_back(lane, job)) {
            continue;
        }

        if (evm_u256_mul_u64(&cost, max_fee, job->call.gas) != EVM_OK
            || evm_u256_add(&cost, &cost, &job->call.value) != EVM_OK
            || evm_u256_cmp(&cost, &lane->funds) > 0)
        {
            if (!lane->broke) {
                ngx_queue_remove(q);
                ngx_http_intent_save_too_dear(lane, job);
            }

            continue;
        }

        if (evm_u256_add(&total, &lane->spent, &cost) != EVM_OK
            || evm_u256_cmp(&total, &lane->funds) > 0)
        {
            break;
        }

        ngx_http_intent_job_spend(lane, job, &cost);

        ngx_queue_remove(q);
        ngx_queue_insert_tail(&lane->save.jobs, q);
        n++;
    }

    return n;
}


static void
ngx_http_intent_save_too_dear(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job)
{
    ngx_str_t  message;

    ngx_str_set(&message, "insufficient funds of the signer for gas and "
                          "value");

    ngx_http_intent_job_retry(lane, job, NGX_HTTP_INTENT_RPC_FUNDS, &message);
}


/* room for six full blocks: each may raise the base fee by an eighth */

static void
ngx_http_intent_save_fees(ngx_http_intent_lane_t *lane, evm_u256_t *max_fee,
    evm_u256_t *tip)
{
    evm_u256_t  limit;

    evm_u256_set(&limit, lane->conf->max_fee);

    *tip = lane->tip;

    if (lane->conf->priority_fee) {
        evm_u256_set(tip, lane->conf->priority_fee);
    }

    if (evm_u256_mul_u64(max_fee, &lane->base_fee, 2) != EVM_OK
        || evm_u256_add(max_fee, max_fee, tip) != EVM_OK
        || evm_u256_cmp(max_fee, &limit) > 0)
    {
        *max_fee = limit;
    }

    if (evm_u256_cmp(tip, max_fee) > 0) {
        *tip = *max_fee;
    }
}


static ngx_int_t
ngx_http_intent_save_sign(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job, evm_u256_t *max_fee, evm_u256_t *tip)
{
    evm_tx_t                     tx;
    ngx_http_intent_store_tx_t  *stx;

    stx = &job->tx;

    if (stx->nonce < 0) {
        stx->nonce = lane->store.next_nonce++;
    }

    ngx_memzero(&tx, sizeof(evm_tx_t));

    tx.chain_id = lane->conf->chain_id;
    tx.nonce = (uint64_t) stx->nonce;
    tx.max_fee_per_gas = *max_fee;
    tx.max_priority_fee_per_gas = *tip;

    if (job->cancel) {
        ngx_memcpy(tx.to, lane->signer->address, EVM_ADDRESS_LEN);
        tx.gas_limit = 21000;

    } else {
        ngx_memcpy(tx.to, job->call.to, EVM_ADDRESS_LEN);
        tx.gas_limit = job->call.gas;
        tx.value = job->call.value;
        tx.data = job->call.data.data;
        tx.data_len = job->call.data.len;
    }

    if (ngx_http_intent_signer_sign(lane->signer, job->pool, &tx, &stx->raw,
                                    stx->hash)
        != NGX_OK)
    {
        ngx_log_error(NGX_LOG_ALERT, lane->log, 0,
                      "intent chain \"%V\": nonce %L could not be signed",
                      &lane->conf->name, stx->nonce);
        return NGX_ERROR;
    }

    stx->gas_limit = (int64_t) tx.gas_limit;
    stx->max_fee = ngx_http_intent_save_decimal(job->pool, max_fee);
    stx->max_priority_fee = ngx_http_intent_save_decimal(job->pool, tip);

    if (stx->max_fee.data == NULL || stx->max_priority_fee.data == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_intent_job_is_filler(job)) {
        return NGX_OK;
    }

    stx->intent_id = job->intent.id;

    job->to = NGX_HTTP_INTENT_EXECUTING;
    job->delay = -1;

    job->intent.tx_hash.len = EVM_HASH_STR_LEN;
    job->intent.tx_hash.data = ngx_pnalloc(job->pool, EVM_HASH_STR_LEN);
    if (job->intent.tx_hash.data == NULL) {
        return NGX_ERROR;
    }

    (void) evm_hex_encode(stx->hash, 32, (char *) job->intent.tx_hash.data);

    if (!job->cancel) {
        job->intent.attempts++;
        job->intent.error.len = 0;
    }

    return NGX_OK;
}


static ngx_str_t
ngx_http_intent_save_decimal(ngx_pool_t *pool, evm_u256_t *n)
{
    ngx_str_t  s;

    s.len = 0;
    s.data = ngx_pnalloc(pool, EVM_U256_DEC_LEN);

    if (s.data) {
        s.len = evm_u256_to_dec(n, (char *) s.data);
    }

    return s;
}


static ngx_int_t
ngx_http_intent_save_record(ngx_http_intent_step_t *step, ngx_uint_t n)
{
    ngx_queue_t                       *q;
    ngx_http_intent_job_t             *job;
    ngx_http_intent_store_tx_t        *tx;
    ngx_http_intent_store_tx_state_t  *s;

    tx = ngx_palloc(step->pool, n * sizeof(ngx_http_intent_store_tx_t));
    s = ngx_pcalloc(step->pool, n * sizeof(ngx_http_intent_store_tx_state_t));

    if (tx == NULL || s == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(&step->write, sizeof(ngx_http_intent_store_write_t));

    step->write.txs = tx;
    step->write.states = s;

    for (q = ngx_queue_head(&step->jobs);
         q != ngx_queue_sentinel(&step->jobs);
         q = ngx_queue_next(q))
    {
        job = ngx_http_intent_job(q);

        *tx++ = job->tx;
        step->write.ntxs++;

        /* the newest of the old ones was the live one until now */

        if (job->old) {
            ngx_memcpy(s->hash, job->old->hash, 32);
            s->state = "replaced";
            s->block_number = -1;
            s++;
            step->write.nstates++;
        }
    }

    return NGX_OK;
}


static void
ngx_http_intent_save_done(ngx_http_intent_transition_t *t, ngx_int_t rc)
{
    int64_t                  nonce;
    ngx_queue_t             *q;
    ngx_http_intent_job_t   *job;
    ngx_http_intent_lane_t  *lane;
    ngx_http_intent_step_t  *step = t->data;

    lane = step->lane;

    if (rc != NGX_OK) {
        ngx_http_intent_step_written(step);
        ngx_http_intent_lane_lose(lane);
        return;
    }

    while (!ngx_queue_empty(&step->jobs)) {
        q = ngx_queue_head(&step->jobs);
        job = ngx_http_intent_job(q);
        ngx_queue_remove(q);

        if (!ngx_http_intent_save_refused(t, job)) {
            ngx_http_intent_job_insert(&lane->unsent, job);
            continue;
        }

        /* cancelled, or the claim ran out: its nonce is left over */

        nonce = job->tx.nonce;
        ngx_http_intent_job_destroy(lane, job);

        if (ngx_http_intent_job_fill(lane, nonce) != NGX_OK) {
            ngx_http_intent_step_written(step);
            ngx_http_intent_lane_lose(lane);
            return;
        }
    }

    ngx_http_intent_step_written(step);
    ngx_http_intent_lane_post(lane);
}


static ngx_uint_t
ngx_http_intent_save_refused(ngx_http_intent_transition_t *t,
    ngx_http_intent_job_t *job)
{
    ngx_uint_t  i;

    for (i = 0; i < t->nchanges; i++) {
        if (t->changes[i].intent == &job->intent) {
            return t->changes[i].refused;
        }
    }

    return 0;
}


void
ngx_http_intent_lane_send(ngx_http_intent_lane_t *lane)
{
    ngx_queue_t                *q;
    ngx_http_intent_step_t     *step;
    ngx_http_intent_jsonrpc_t  *j;

    step = &lane->send;

    if (step->rpc
        || !lane->rpc_ok
        || lane->send_held
        || ngx_queue_empty(&lane->unsent))
    {
        return;
    }

    (void) ngx_http_intent_jobs_move(&step->jobs, &lane->unsent, lane->batch);

    j = ngx_http_intent_jsonrpc_create();

    for (q = ngx_queue_head(&step->jobs);
         j && q != ngx_queue_sentinel(&step->jobs);
         q = ngx_queue_next(q))
    {
        if (ngx_http_intent_send_ask(j, ngx_http_intent_job(q)) != NGX_OK) {
            ngx_http_intent_jsonrpc_destroy(j);
            j = NULL;
        }
    }

    ngx_http_intent_step_ask(step, j, ngx_http_intent_send_done);
}


static ngx_int_t
ngx_http_intent_send_ask(ngx_http_intent_jsonrpc_t *j,
    ngx_http_intent_job_t *job)
{
    u_char  *raw;
    size_t   len;

    raw = ngx_pnalloc(j->pool, 2 + 2 * job->tx.raw.len);
    if (raw == NULL) {
        return NGX_ERROR;
    }

    len = evm_hex_encode(job->tx.raw.data, job->tx.raw.len, (char *) raw);

    return ngx_http_intent_jsonrpc_add(j, "eth_sendRawTransaction", len + 2,
                                       "\"%*s\"", len, raw);
}


static void
ngx_http_intent_send_done(void *data, ngx_http_intent_jsonrpc_t *j,
    ngx_int_t rc)
{
    ngx_http_intent_step_t  *step = data;

    ngx_uint_t               i;
    ngx_queue_t             *q;
    ngx_http_intent_job_t   *job;
    ngx_http_intent_lane_t  *lane;

    lane = step->lane;

    if (!ngx_http_intent_lane_answered(step, j, rc)) {
        return;
    }

    for (i = 0; !ngx_queue_empty(&step->jobs); i++) {
        q = ngx_queue_head(&step->jobs);
        ngx_queue_remove(q);
        job = ngx_http_intent_job(q);

        if (rc != NGX_OK) {

            /* it may have been taken: the same bytes again, later */

            ngx_http_intent_job_insert(&lane->unsent, job);
            continue;
        }

        ngx_http_intent_send_answer(lane, job, j, i);
    }

    ngx_http_intent_lane_post(lane);
}


static void
ngx_http_intent_send_answer(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job, ngx_http_intent_jsonrpc_t *j, ngx_uint_t i)
{
    ngx_str_t   message;
    ngx_uint_t  class;

    if (ngx_http_intent_jsonrpc_result(j, i)) {
        class = NGX_HTTP_INTENT_RPC_KNOWN;

    } else {
        message = ngx_http_intent_jsonrpc_error(j, i);
        class = ngx_http_intent_rpc_classify(&message);
    }

    switch (class) {

    case NGX_HTTP_INTENT_RPC_KNOWN:
        break;

    case NGX_HTTP_INTENT_RPC_NONCE_LOW:
    case NGX_HTTP_INTENT_RPC_REPLACEMENT:

        /* the receipts will tell whose transaction has the nonce */

        lane->confirm_due = 1;
        break;

    case NGX_HTTP_INTENT_RPC_REVERT:
    case NGX_HTTP_INTENT_RPC_FATAL:
    case NGX_HTTP_INTENT_RPC_FUNDS:

        if (!job->cancel && !ngx_http_intent_job_is_filler(job)) {
            ngx_http_intent_send_cancel(lane, job, class, &message);
            return;
        }

        /* fall through */

    case NGX_HTTP_INTENT_RPC_UNKNOWN:
    case NGX_HTTP_INTENT_RPC_FEE_CAP:

        /* said plainly and again and again, in whatever words */

        if (!job->cancel
            && !ngx_http_intent_job_is_filler(job)
            && ++job->refused >= NGX_HTTP_INTENT_REFUSED)
        {
            ngx_http_intent_send_cancel(lane, job, class, &message);
            return;
        }

        /* fall through */

    default:
        ngx_http_intent_send_later(lane, job, class, &message);
        return;
    }

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, lane->log, 0,
                   "intent lane \"%V\" sent nonce %L of %V",
                   &lane->conf->name, job->tx.nonce, &job->intent.id);

    job->sent_at = ngx_current_msec;
    job->refused = 0;
    lane->refusals = 0;

    ngx_http_intent_job_insert(&lane->sent, job);
}


/*
 * The node does not take this transaction, and those behind it wait for its
 * nonce.  An empty transfer uses the nonce up.  Should another node have the
 * real one all the same, only one of the two is mined, and the receipts of
 * both are asked for: whichever it is decides what the intent came to.
 */

static void
ngx_http_intent_send_cancel(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job, ngx_uint_t class, ngx_str_t *message)
{
    evm_u256_t  cost;

    ngx_log_error(NGX_LOG_ERR, lane->log, 0,
                  "intent chain \"%V\" refused nonce %L, intent \"%V\": %V",
                  &lane->conf->name, job->tx.nonce, &job->intent.id, message);

    job->intent.error.len = message->len;
    job->intent.error.data = ngx_pstrdup(job->pool, message);

    if (job->intent.error.data == NULL
        || ngx_http_intent_job_replace(job, job->tx.hash) != NGX_OK)
    {
        ngx_queue_insert_tail(&lane->unsent, &job->queue);
        ngx_http_intent_lane_lose(lane);
        return;
    }

    job->cancel = 1;

    /* what lacks is money: it may be there by then */

    job->again = (class == NGX_HTTP_INTENT_RPC_FUNDS);

    evm_u256_set(&cost, 21000);
    (void) evm_u256_mul_u64(&cost, &cost, lane->conf->max_fee);
    ngx_http_intent_job_spend(lane, job, &cost);

    ngx_queue_insert_head(&lane->ready, &job->queue);
}


static void
ngx_http_intent_send_later(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job, ngx_uint_t class, ngx_str_t *message)
{
    ngx_uint_t  level;

    /* told once until something is taken, and by the metric */

    level = lane->refusals++ ? NGX_LOG_INFO : NGX_LOG_WARN;

    ngx_log_error(level, lane->log, 0,
                  "intent chain \"%V\" does not take nonce %L now: %V, "
                  "it is sent again", &lane->conf->name, job->tx.nonce,
                  message);

    ngx_http_intent_stat_inc(lane->retries[class], 1);

    lane->send_held = 1;

    ngx_http_intent_job_insert(&lane->unsent, job);
}
