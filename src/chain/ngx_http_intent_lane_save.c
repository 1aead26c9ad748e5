
/*
 * From a call to a transaction that Postgres has: nonce, fees, signature,
 * commit.  Only then a node may see it.
 */


#include "ngx_http_intent_lane.h"


#define NGX_HTTP_INTENT_STEP_POOL  16384


static ngx_uint_t ngx_http_intent_save_take(ngx_http_intent_lane_t *lane);
static ngx_int_t ngx_http_intent_save_affords(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job, evm_u256_t *max_fee);
static void ngx_http_intent_save_too_dear(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job);
static void ngx_http_intent_save_nonces(ngx_http_intent_lane_t *lane);
static ngx_http_intent_job_t *ngx_http_intent_save_spare(ngx_queue_t *queue);
static ngx_int_t ngx_http_intent_save_sign(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job);
static void ngx_http_intent_save_tx(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job);
static ngx_int_t ngx_http_intent_save_signed(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job);
static ngx_int_t ngx_http_intent_save_intent(ngx_http_intent_job_t *job);
static ngx_str_t ngx_http_intent_save_decimal(ngx_pool_t *pool,
    evm_u256_t *n);
static ngx_uint_t ngx_http_intent_save_count(ngx_queue_t *queue);
static ngx_int_t ngx_http_intent_save_record(ngx_http_intent_step_t *step,
    ngx_uint_t n);
static void ngx_http_intent_save_done(ngx_http_intent_transition_t *t,
    ngx_int_t rc);
static ngx_uint_t ngx_http_intent_save_refused(
    ngx_http_intent_transition_t *t, ngx_http_intent_job_t *job);
static ngx_int_t ngx_http_intent_save_left_over(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job);
static ngx_int_t ngx_http_intent_save_again(ngx_http_intent_step_t *step);
static void ngx_http_intent_save_unsign(ngx_http_intent_job_t *job);


void
ngx_http_intent_lane_save(ngx_http_intent_lane_t *lane)
{
    ngx_queue_t             *q;
    ngx_http_intent_step_t  *step;

    step = &lane->save;

    if (step->busy
        || step->rpc
        || lane->head < 0
        || !lane->priced
        || ngx_queue_empty(&lane->ready))
    {
        return;
    }

    if (ngx_http_intent_lane_sign_waits(lane)) {
        ngx_http_intent_lane_sign_late(lane);
        return;
    }

    if (ngx_http_intent_save_take(lane) == 0) {
        return;
    }

    ngx_http_intent_save_nonces(lane);

    if (ngx_queue_empty(&step->jobs)) {
        ngx_http_intent_lane_post(lane);
        return;
    }

    for (q = ngx_queue_head(&step->jobs);
         q != ngx_queue_sentinel(&step->jobs);
         q = ngx_queue_next(q))
    {
        ngx_http_intent_save_tx(lane, ngx_http_intent_job(q));
    }

    if (lane->signer->remote) {
        ngx_http_intent_lane_sign(lane);
        return;
    }

    for (q = ngx_queue_head(&step->jobs);
         q != ngx_queue_sentinel(&step->jobs);
         q = ngx_queue_next(q))
    {
        if (ngx_http_intent_save_sign(lane, ngx_http_intent_job(q))
            != NGX_OK)
        {
            ngx_http_intent_lane_lose(lane);
            return;
        }
    }

    ngx_http_intent_lane_save_write(lane);
}


void
ngx_http_intent_lane_save_write(ngx_http_intent_lane_t *lane)
{
    ngx_uint_t               n;
    ngx_queue_t             *q;
    ngx_http_intent_step_t  *step;

    step = &lane->save;
    n = 0;

    step->pool = ngx_create_pool(NGX_HTTP_INTENT_STEP_POOL, lane->log);
    if (step->pool == NULL) {
        ngx_http_intent_lane_lose(lane);
        return;
    }

    for (q = ngx_queue_head(&step->jobs);
         q != ngx_queue_sentinel(&step->jobs);
         q = ngx_queue_next(q))
    {
        if (ngx_http_intent_save_signed(lane, ngx_http_intent_job(q))
            != NGX_OK)
        {
            goto failed;
        }

        n++;
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
ngx_http_intent_save_take(ngx_http_intent_lane_t *lane)
{
    ngx_uint_t               n, most;
    evm_u256_t               max_fee, tip;
    ngx_queue_t             *q, *next;
    ngx_http_intent_job_t   *job;
    ngx_http_intent_step_t  *step;

    step = &lane->save;
    most = NGX_HTTP_INTENT_LANE_SIGN;

    if (step->singly) {
        step->singly--;
        most = 1;
    }

    ngx_http_intent_lane_market(lane, &max_fee, &tip);

    n = 0;

    for (q = ngx_queue_head(&lane->ready);
         q != ngx_queue_sentinel(&lane->ready) && n < most;
         q = next)
    {
        next = ngx_queue_next(q);
        job = ngx_http_intent_job(q);

        /* a nonce that is taken already has to be used, whatever it costs */

        if (job->tx.nonce < 0) {

            if (ngx_http_intent_job_give_back(lane, job)) {
                continue;
            }

            switch (ngx_http_intent_save_affords(lane, job, &max_fee)) {

            case NGX_OK:
                break;

            case NGX_AGAIN:
                return n;

            default: /* NGX_DECLINED */

                if (!lane->broke) {
                    ngx_queue_remove(q);
                    ngx_http_intent_save_too_dear(lane, job);
                }

                continue;
            }
        }

        ngx_queue_remove(q);
        ngx_queue_insert_tail(&step->jobs, q);
        n++;
    }

    return n;
}


/* NGX_AGAIN: when others have been paid for; NGX_DECLINED: never */

static ngx_int_t
ngx_http_intent_save_affords(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job, evm_u256_t *max_fee)
{
    evm_u256_t  cost, total;

    if (evm_u256_mul_u64(&cost, max_fee, job->call.gas) != EVM_OK
        || evm_u256_add(&cost, &cost, &job->call.value) != EVM_OK
        || evm_u256_cmp(&cost, &lane->funds) > 0)
    {
        return NGX_DECLINED;
    }

    if (evm_u256_add(&total, &lane->spent, &cost) != EVM_OK
        || evm_u256_cmp(&total, &lane->funds) > 0)
    {
        return NGX_AGAIN;
    }

    ngx_http_intent_job_spend(lane, job, &cost);

    return NGX_OK;
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


/*
 * Nonces that are left over come first: others wait behind them.  The last
 * ones have nothing behind them, and are just not used; what is left is for
 * empty transfers.
 */

static void
ngx_http_intent_save_nonces(ngx_http_intent_lane_t *lane)
{
    ngx_queue_t             *q;
    ngx_http_intent_job_t   *job, *spare;
    ngx_http_intent_step_t  *step;

    step = &lane->save;

    for (q = ngx_queue_head(&step->jobs);
         q != ngx_queue_sentinel(&step->jobs);
         q = ngx_queue_next(q))
    {
        job = ngx_http_intent_job(q);

        if (job->tx.nonce >= 0) {
            continue;
        }

        job->fresh = 1;
        spare = ngx_http_intent_save_spare(&step->jobs);

        if (spare == NULL) {
            job->tx.nonce = lane->store.next_nonce++;
            continue;
        }

        job->tx.nonce = spare->tx.nonce;

        ngx_queue_remove(&spare->queue);
        ngx_http_intent_job_destroy(lane, spare);
    }

    while (!ngx_queue_empty(&step->jobs)) {
        job = ngx_http_intent_job(ngx_queue_last(&step->jobs));

        if (!ngx_http_intent_job_is_spare(job)
            || job->tx.nonce != lane->store.next_nonce - 1)
        {
            return;
        }

        lane->store.next_nonce--;

        ngx_queue_remove(&job->queue);
        ngx_http_intent_job_destroy(lane, job);
    }
}


/* the lowest one, or NULL */

static ngx_http_intent_job_t *
ngx_http_intent_save_spare(ngx_queue_t *queue)
{
    ngx_queue_t            *q;
    ngx_http_intent_job_t  *job;

    for (q = ngx_queue_head(queue);
         q != ngx_queue_sentinel(queue);
         q = ngx_queue_next(q))
    {
        job = ngx_http_intent_job(q);

        if (ngx_http_intent_job_is_spare(job)) {
            return job;
        }
    }

    return NULL;
}


static ngx_int_t
ngx_http_intent_save_sign(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job)
{
    if (ngx_http_intent_signer_sign(lane->signer, job->pool, &job->asked,
                                    &job->signed_raw, job->signed_hash)
        != NGX_OK)
    {
        ngx_log_error(NGX_LOG_ALERT, lane->log, 0,
                      "intent chain \"%V\": nonce %L could not be signed",
                      &lane->conf->name, job->tx.nonce);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* what is to be signed; the job itself stays as it is until it was */

static void
ngx_http_intent_save_tx(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job)
{
    evm_tx_t  *tx;

    job->wrong = 0;
    job->declined = 0;
    job->signed_raw.len = 0;

    tx = &job->asked;
    ngx_memzero(tx, sizeof(evm_tx_t));

    /* at the highest fee it may still be the only way to use the nonce up */

    (void) ngx_http_intent_job_fees(lane, job, &tx->max_fee_per_gas,
                                    &tx->max_priority_fee_per_gas);

    tx->legacy = lane->legacy;
    tx->chain_id = lane->conf->chain_id;
    tx->nonce = (uint64_t) job->tx.nonce;

    if (job->cancel) {
        ngx_memcpy(tx->to, lane->signer->address, EVM_ADDRESS_LEN);
        tx->gas_limit = 21000;
        return;
    }

    ngx_memcpy(tx->to, job->call.to, EVM_ADDRESS_LEN);
    tx->gas_limit = job->call.gas;
    tx->value = job->call.value;
    tx->data = job->call.data.data;
    tx->data_len = job->call.data.len;
}


/* the signed bytes are the job's from now on */

static ngx_int_t
ngx_http_intent_save_signed(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job)
{
    evm_u256_t                   cost;
    ngx_http_intent_store_tx_t  *stx;

    stx = &job->tx;

    if (ngx_http_intent_job_is_spare(job)) {
        ngx_log_error(NGX_LOG_WARN, lane->log, 0,
                      "intent chain \"%V\": nonce %L of %V has nothing to "
                      "send, it is filled with an empty transfer",
                      &lane->conf->name, stx->nonce, &lane->signer->name);
    }

    job->max_fee = job->asked.max_fee_per_gas;
    job->tip = job->asked.max_priority_fee_per_gas;

    ngx_http_intent_job_cost(job, &cost);
    ngx_http_intent_job_spend(lane, job, &cost);

    stx->raw = job->signed_raw;
    ngx_memcpy(stx->hash, job->signed_hash, 32);
    stx->gas_limit = (int64_t) job->asked.gas_limit;
    stx->max_fee = ngx_http_intent_save_decimal(job->pool, &job->max_fee);
    stx->max_priority_fee = ngx_http_intent_save_decimal(job->pool,
                                                         &job->tip);

    if (stx->max_fee.data == NULL || stx->max_priority_fee.data == NULL) {
        return NGX_ERROR;
    }

    job->unsaved = 1;
    job->taken_at = 0;

    if (ngx_http_intent_job_is_filler(job)) {
        return NGX_OK;
    }

    return ngx_http_intent_save_intent(job);
}


static ngx_int_t
ngx_http_intent_save_intent(ngx_http_intent_job_t *job)
{
    ngx_http_intent_t  *in;

    in = &job->intent;

    job->tx.intent_id = in->id;
    job->to = NGX_HTTP_INTENT_EXECUTING;
    job->delay = -1;

    in->tx_hash.len = EVM_HASH_STR_LEN;
    in->tx_hash.data = ngx_pnalloc(job->pool, EVM_HASH_STR_LEN);
    if (in->tx_hash.data == NULL) {
        return NGX_ERROR;
    }

    (void) evm_hex_encode(job->tx.hash, 32, (char *) in->tx_hash.data);

    /* another price is not another attempt */

    if (!job->cancel && !job->bump) {
        in->attempts++;
        in->error.len = 0;
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


static ngx_uint_t
ngx_http_intent_save_count(ngx_queue_t *queue)
{
    ngx_uint_t    n;
    ngx_queue_t  *q;

    n = 0;

    for (q = ngx_queue_head(queue);
         q != ngx_queue_sentinel(queue);
         q = ngx_queue_next(q))
    {
        n++;
    }

    return n;
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
    ngx_queue_t             *q;
    ngx_http_intent_job_t   *job;
    ngx_http_intent_lane_t  *lane;
    ngx_http_intent_step_t  *step = t->data;

    lane = step->lane;

    if (rc == NGX_ERROR && step->write.refused) {
        rc = ngx_http_intent_save_again(step);
    }

    while (rc == NGX_OK && !ngx_queue_empty(&step->jobs)) {
        q = ngx_queue_head(&step->jobs);
        job = ngx_http_intent_job(q);
        ngx_queue_remove(q);

        if (!ngx_http_intent_save_refused(t, job)) {
            job->fresh = 0;
            job->unsaved = 0;
            ngx_http_intent_job_insert(&lane->unsent, job);
            continue;
        }

        rc = ngx_http_intent_save_left_over(lane, job);
    }

    ngx_http_intent_step_written(step);

    if (rc != NGX_OK) {
        ngx_http_intent_lane_lose(lane);
        return;
    }

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


/*
 * A pending intent that was cancelled, or whose claim ran out: its
 * transaction was not saved, and its nonce is left over.
 */

static ngx_int_t
ngx_http_intent_save_left_over(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job)
{
    int64_t     nonce;
    ngx_uint_t  pending, level;

    nonce = job->tx.nonce;
    pending = (job->intent.status == NGX_HTTP_INTENT_PENDING);
    level = pending ? NGX_LOG_INFO : NGX_LOG_ALERT;

    ngx_log_error(level, lane->log, 0,
                  "intent %V was changed by somebody else while a lane had "
                  "it, nonce %L is left over", &job->intent.id, nonce);

    ngx_http_intent_job_destroy(lane, job);

    if (!pending) {
        return NGX_ERROR;
    }

    return ngx_http_intent_job_fill(lane, nonce);
}


/*
 * Postgres does not take a row, nothing was written: each goes alone, and
 * the one that is refused then fails alone.
 */

static ngx_int_t
ngx_http_intent_save_again(ngx_http_intent_step_t *step)
{
    ngx_str_t                message;
    ngx_uint_t               n;
    ngx_queue_t             *q;
    ngx_http_intent_job_t   *job;
    ngx_http_intent_lane_t  *lane;

    lane = step->lane;
    n = ngx_http_intent_save_count(&step->jobs);

    if (n > 1 || step->write.transient) {
        step->singly = n;

        while (!ngx_queue_empty(&step->jobs)) {
            q = ngx_queue_head(&step->jobs);
            ngx_queue_remove(q);
            job = ngx_http_intent_job(q);

            ngx_http_intent_save_unsign(job);
            ngx_http_intent_job_ready(lane, job);
        }

        return NGX_OK;
    }

    q = ngx_queue_head(&step->jobs);
    job = ngx_http_intent_job(q);

    /* as Postgres knows the nonce, another transaction has it: read again */

    if (job->old || ngx_http_intent_job_is_filler(job)) {
        return NGX_ERROR;
    }

    ngx_queue_remove(q);

    if (ngx_http_intent_job_fill(lane, job->tx.nonce) != NGX_OK) {
        ngx_http_intent_job_destroy(lane, job);
        return NGX_ERROR;
    }

    ngx_http_intent_save_unsign(job);

    job->fresh = 0;
    job->unsaved = 0;
    job->tx.nonce = -1;
    job->intent.tx_hash.len = 0;
    job->intent.attempts++;
    ngx_http_intent_job_spend(lane, job, NULL);

    ngx_str_set(&message, "its transaction could not be saved");
    ngx_http_intent_job_fail(lane, job, &message);

    return NGX_OK;
}


/* what was signed and not saved was never there */

static void
ngx_http_intent_save_unsign(ngx_http_intent_job_t *job)
{
    if (ngx_http_intent_job_is_filler(job)) {
        job->tx.raw.len = job->old ? job->tx.raw.len : 0;
        return;
    }

    if (!job->cancel && !job->bump) {
        job->intent.attempts--;
        job->tx.raw.len = 0;
    }
}
