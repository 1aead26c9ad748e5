
/*
 * Jobs: an intent's way through a lane.
 */


#include "ngx_http_intent_lane.h"


#define NGX_HTTP_INTENT_JOB_POOL   1024

/* ms; Postgres honours a claim for five minutes */
#define NGX_HTTP_INTENT_JOB_CLAIM  240000


ngx_http_intent_job_t *
ngx_http_intent_job_create(ngx_http_intent_lane_t *lane)
{
    ngx_pool_t             *pool;
    ngx_http_intent_job_t  *job;

    pool = ngx_create_pool(NGX_HTTP_INTENT_JOB_POOL, lane->log);
    if (pool == NULL) {
        return NULL;
    }

    job = ngx_pcalloc(pool, sizeof(ngx_http_intent_job_t));
    if (job == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    job->pool = pool;
    job->tx.nonce = -1;
    job->block_number = -1;
    job->delay = -1;

    ngx_http_intent_clear(&job->intent);

    lane->njobs++;
    ngx_http_intent_stat_set(lane->in_flight, (double) lane->njobs);

    return job;
}


void
ngx_http_intent_job_destroy(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job)
{
    lane->njobs--;
    ngx_http_intent_stat_set(lane->in_flight, (double) lane->njobs);

    ngx_http_intent_job_spend(lane, job, NULL);

    ngx_destroy_pool(job->pool);
}


/* cost is what the job may cost from now on; NULL: nothing more */

void
ngx_http_intent_job_spend(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job, evm_u256_t *cost)
{
    (void) evm_u256_sub(&lane->spent, &lane->spent, &job->cost);

    evm_u256_set(&job->cost, 0);

    if (cost && evm_u256_add(&lane->spent, &lane->spent, cost) == EVM_OK) {
        job->cost = *cost;
    }
}


void
ngx_http_intent_job_insert(ngx_queue_t *queue, ngx_http_intent_job_t *job)
{
    ngx_queue_t            *q;
    ngx_http_intent_job_t  *j, *last;

    if (ngx_queue_empty(queue)) {
        ngx_queue_insert_head(queue, &job->queue);
        return;
    }

    /* new ones belong to the tail, those looked at again to the head */

    j = ngx_http_intent_job(ngx_queue_head(queue));
    last = ngx_http_intent_job(ngx_queue_last(queue));

    if (job->tx.nonce - j->tx.nonce < last->tx.nonce - job->tx.nonce) {

        /* the last one has a higher nonce: this ends */

        while (j->tx.nonce < job->tx.nonce) {
            j = ngx_http_intent_job(ngx_queue_next(&j->queue));
        }

        /* the macro looks at its first argument again and again */

        q = ngx_queue_prev(&j->queue);
        ngx_queue_insert_after(q, &job->queue);
        return;
    }

    for (q = ngx_queue_last(queue);
         q != ngx_queue_sentinel(queue);
         q = ngx_queue_prev(q))
    {
        j = ngx_http_intent_job(q);

        if (j->tx.nonce <= job->tx.nonce) {
            break;
        }
    }

    ngx_queue_insert_after(q, &job->queue);
}


void
ngx_http_intent_job_ready(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job)
{
    ngx_queue_t            *q;
    ngx_http_intent_job_t  *j;

    if (job->tx.nonce < 0) {
        ngx_queue_insert_tail(&lane->ready, &job->queue);
        return;
    }

    for (q = ngx_queue_head(&lane->ready);
         q != ngx_queue_sentinel(&lane->ready);
         q = ngx_queue_next(q))
    {
        j = ngx_http_intent_job(q);

        if (j->tx.nonce < 0 || j->tx.nonce > job->tx.nonce) {
            break;
        }
    }

    /* before q; the macro looks at its first argument again and again */

    q = ngx_queue_prev(q);
    ngx_queue_insert_after(q, &job->queue);
}


ngx_uint_t
ngx_http_intent_jobs_move(ngx_queue_t *to, ngx_queue_t *from, ngx_uint_t n)
{
    ngx_uint_t    i;
    ngx_queue_t  *q;

    for (i = 0; i < n && !ngx_queue_empty(from); i++) {
        q = ngx_queue_head(from);
        ngx_queue_remove(q);
        ngx_queue_insert_tail(to, q);
    }

    return i;
}


ngx_uint_t
ngx_http_intent_job_is_late(ngx_http_intent_job_t *job)
{
    if (job->intent.status != NGX_HTTP_INTENT_PENDING) {
        return 0;
    }

    return (job->intent.expires_at >= 0
            && job->intent.expires_at <= ngx_http_intent_now())
           || ngx_current_msec - job->claimed_at >= NGX_HTTP_INTENT_JOB_CLAIM;
}


ngx_uint_t
ngx_http_intent_job_give_back(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job)
{
    if (!ngx_http_intent_job_is_late(job)) {
        return 0;
    }

    ngx_http_intent_job_release(lane, job);

    return 1;
}


void
ngx_http_intent_job_release(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job)
{
    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, lane->log, 0,
                   "intent %V is given back", &job->intent.id);

    job->to = NGX_HTTP_INTENT_PENDING;
    job->delay = 0;

    ngx_queue_remove(&job->queue);
    ngx_queue_insert_tail(&lane->outcome, &job->queue);
}


ngx_int_t
ngx_http_intent_job_fill(ngx_http_intent_lane_t *lane, int64_t nonce)
{
    ngx_http_intent_job_t  *job;

    job = ngx_http_intent_job_create(lane);
    if (job == NULL) {
        return NGX_ERROR;
    }

    job->tx.nonce = nonce;
    ngx_memcpy(job->call.to, lane->signer->address, EVM_ADDRESS_LEN);
    job->call.gas = 21000;

    ngx_http_intent_job_ready(lane, job);

    return NGX_OK;
}


ngx_http_intent_old_tx_t *
ngx_http_intent_job_old(ngx_http_intent_job_t *job, u_char hash[32])
{
    ngx_http_intent_old_tx_t  *old;

    old = ngx_pcalloc(job->pool, sizeof(ngx_http_intent_old_tx_t));
    if (old == NULL) {
        return NULL;
    }

    ngx_memcpy(old->hash, hash, 32);
    old->next = job->old;
    job->old = old;

    return old;
}


ngx_int_t
ngx_http_intent_job_replace(ngx_http_intent_job_t *job)
{
    ngx_http_intent_old_tx_t  *old;

    old = ngx_http_intent_job_old(job, job->tx.hash);
    if (old == NULL) {
        return NGX_ERROR;
    }

    old->max_fee = job->max_fee;
    old->cancel = job->cancel;

    return NGX_OK;
}


void
ngx_http_intent_job_cost(ngx_http_intent_job_t *job, evm_u256_t *cost)
{
    if (job->cancel) {
        (void) evm_u256_mul_u64(cost, &job->max_fee, 21000);
        return;
    }

    if (evm_u256_mul_u64(cost, &job->max_fee, job->call.gas) != EVM_OK
        || evm_u256_add(cost, cost, &job->call.value) != EVM_OK)
    {
        /* no signer has that much, and no node takes it */

        evm_u256_set(cost, 0);
    }
}


ngx_uint_t
ngx_http_intent_job_mined_empty(ngx_http_intent_job_t *job)
{
    ngx_http_intent_old_tx_t  *old;

    if (ngx_memcmp(job->mined_hash, job->tx.hash, 32) == 0) {
        return job->cancel;
    }

    for (old = job->old; old; old = old->next) {
        if (ngx_memcmp(job->mined_hash, old->hash, 32) == 0) {
            return old->cancel;
        }
    }

    return 0;
}


void
ngx_http_intent_job_fail(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job, ngx_str_t *message)
{
    job->intent.error.len = message->len;
    job->intent.error.data = ngx_pstrdup(job->pool, message);

    if (job->intent.error.data == NULL) {
        ngx_str_set(&job->intent.error, "failed");
    }

    ngx_log_error(NGX_LOG_INFO, lane->log, 0,
                  "intent %V failed: %V", &job->intent.id, message);

    job->failing = 1;
    job->delay = -1;

    ngx_queue_insert_tail(&lane->outcome, &job->queue);
}


void
ngx_http_intent_job_retry(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job, ngx_uint_t class, ngx_str_t *message)
{
    ngx_uint_t                     i;
    ngx_msec_t                     delay;
    ngx_http_intent_chain_conf_t  *conf;

    conf = lane->conf;

    if (class == NGX_HTTP_INTENT_RPC_FUNDS) {
        lane->short_at = ngx_current_msec | 1;
    }

    job->intent.attempts++;

    if (job->intent.attempts >= conf->attempts) {
        ngx_http_intent_job_fail(lane, job, message);
        return;
    }

    delay = conf->backoff;

    for (i = 1; i < job->intent.attempts && delay < conf->max_backoff; i++) {
        delay *= 2;
    }

    delay = ngx_min(delay, conf->max_backoff);

    /* up to a tenth more, so that what failed together does not come back so */

    delay += ngx_random() % (delay / 10 + 1);

    ngx_http_intent_stat_inc(lane->retries[class], 1);

    ngx_log_error(NGX_LOG_INFO, lane->log, 0,
                  "intent %V: attempt %ui failed: %V, again in %M ms",
                  &job->intent.id, job->intent.attempts, message, delay);

    job->intent.error.len = message->len;
    job->intent.error.data = ngx_pstrdup(job->pool, message);

    if (job->intent.error.data == NULL) {
        job->intent.error.len = 0;
    }

    if (job->intent.status == NGX_HTTP_INTENT_EXECUTING) {

        /* this lane's for good, and not to be claimed by another one */

        job->not_before = ngx_current_msec + delay;
        ngx_queue_insert_tail(&lane->claimed, &job->queue);
        return;
    }

    job->to = NGX_HTTP_INTENT_PENDING;
    job->delay = (int64_t) delay;

    ngx_queue_insert_tail(&lane->outcome, &job->queue);
}
