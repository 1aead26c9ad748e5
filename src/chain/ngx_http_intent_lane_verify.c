
/*
 * The last look before "success" or "failed": is the receipt's block the one
 * that the chain has at that height?  What reverted is called again as it was
 * then, for the reason, which receipts do not have.
 */


#include "ngx_http_intent_lane.h"


static ngx_int_t ngx_http_intent_verify_ask(ngx_http_intent_lane_t *lane,
    ngx_http_intent_jsonrpc_t *j);
static ngx_int_t ngx_http_intent_verify_ask_block(
    ngx_http_intent_lane_t *lane, ngx_http_intent_jsonrpc_t *j,
    ngx_http_intent_job_t *job);
static void ngx_http_intent_verify_done(void *data,
    ngx_http_intent_jsonrpc_t *j, ngx_int_t rc);
static void ngx_http_intent_verify_all(ngx_http_intent_step_t *step,
    ngx_http_intent_jsonrpc_t *j);
static ngx_uint_t ngx_http_intent_verify_canonical(
    ngx_http_intent_lane_t *lane, ngx_http_intent_jsonrpc_t *j,
    ngx_http_intent_job_t *job);
static void ngx_http_intent_verify_final(ngx_http_intent_lane_t *lane,
    ngx_http_intent_jsonrpc_t *j, ngx_http_intent_job_t *job);


void
ngx_http_intent_lane_verify(ngx_http_intent_lane_t *lane)
{
    ngx_http_intent_step_t     *step;
    ngx_http_intent_jsonrpc_t  *j;

    step = &lane->verify;

    if (step->rpc || !lane->rpc_ok || ngx_queue_empty(&lane->mined)) {
        return;
    }

    /* two items each at the most */

    (void) ngx_http_intent_jobs_move(&step->jobs, &lane->mined,
                                     (lane->batch + 1) / 2);

    ngx_memcpy(lane->verify_hash, lane->head_hash, 32);

    j = ngx_http_intent_jsonrpc_create();

    if (j && ngx_http_intent_verify_ask(lane, j) != NGX_OK) {
        ngx_http_intent_jsonrpc_destroy(j);
        j = NULL;
    }

    if (j && j->n == 0) {

        /* all of them are in the block that was just read as the head */

        ngx_http_intent_verify_all(step, j);
        ngx_http_intent_jsonrpc_destroy(j);
        return;
    }

    ngx_http_intent_step_ask(step, j, ngx_http_intent_verify_done);
}


static ngx_int_t
ngx_http_intent_verify_ask(ngx_http_intent_lane_t *lane,
    ngx_http_intent_jsonrpc_t *j)
{
    ngx_queue_t            *q;
    ngx_http_intent_job_t  *job;

    for (q = ngx_queue_head(&lane->verify.jobs);
         q != ngx_queue_sentinel(&lane->verify.jobs);
         q = ngx_queue_next(q))
    {
        job = ngx_http_intent_job(q);

        job->block_item = -1;
        job->call_item = -1;

        if (job->block_number != lane->head
            && ngx_http_intent_verify_ask_block(lane, j, job) != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (!job->reverted || job->cancel || job->call.gas == 0) {
            continue;
        }

        job->call_item = j->n;

        if (ngx_http_intent_lane_ask_call(lane, j, "eth_call", job,
                                          job->block_number)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_verify_ask_block(ngx_http_intent_lane_t *lane,
    ngx_http_intent_jsonrpc_t *j, ngx_http_intent_job_t *job)
{
    ngx_queue_t            *q;
    ngx_http_intent_job_t  *earlier;

    for (q = ngx_queue_head(&lane->verify.jobs);
         q != &job->queue;
         q = ngx_queue_next(q))
    {
        earlier = ngx_http_intent_job(q);

        if (earlier->block_number == job->block_number) {
            job->block_item = earlier->block_item;
            return NGX_OK;
        }
    }

    job->block_item = j->n;

    return ngx_http_intent_jsonrpc_add(j, "eth_getBlockByNumber",
                                       32, "\"0x%xL\",false",
                                       job->block_number);
}


static void
ngx_http_intent_verify_done(void *data, ngx_http_intent_jsonrpc_t *j,
    ngx_int_t rc)
{
    ngx_http_intent_step_t  *step = data;

    ngx_http_intent_lane_t  *lane;

    lane = step->lane;

    if (!ngx_http_intent_lane_answered(step, j, rc)) {
        return;
    }

    if (rc != NGX_OK) {
        (void) ngx_http_intent_jobs_move(&lane->mined, &step->jobs,
                                         NGX_HTTP_INTENT_LANE_RPC);
        return;
    }

    ngx_http_intent_verify_all(step, j);
    ngx_http_intent_lane_post(lane);
}


static void
ngx_http_intent_verify_all(ngx_http_intent_step_t *step,
    ngx_http_intent_jsonrpc_t *j)
{
    ngx_queue_t             *q;
    ngx_http_intent_job_t   *job;
    ngx_http_intent_lane_t  *lane;

    lane = step->lane;

    while (!ngx_queue_empty(&step->jobs)) {
        q = ngx_queue_head(&step->jobs);
        ngx_queue_remove(q);
        job = ngx_http_intent_job(q);

        /* another node may have told a lower head meanwhile */

        if (lane->head - job->block_number + 1
            < (int64_t) lane->conf->confirmations)
        {
            ngx_http_intent_job_insert(&lane->sent, job);
            continue;
        }

        if (ngx_http_intent_verify_canonical(lane, j, job)) {
            ngx_http_intent_verify_final(lane, j, job);
            continue;
        }

        /* asked again with the next head: receipt and block */

        ngx_log_error(NGX_LOG_WARN, lane->log, 0,
                      "intent chain \"%V\": the receipt of nonce %L is of a "
                      "block %L that the chain does not have",
                      &lane->conf->name, job->tx.nonce, job->block_number);

        ngx_http_intent_job_insert(&lane->sent, job);
    }
}


static ngx_uint_t
ngx_http_intent_verify_canonical(ngx_http_intent_lane_t *lane,
    ngx_http_intent_jsonrpc_t *j, ngx_http_intent_job_t *job)
{
    u_char   hash[32];
    json_t  *block;

    if (job->block_item < 0) {
        return ngx_memcmp(job->block_hash, lane->verify_hash, 32) == 0;
    }

    block = ngx_http_intent_jsonrpc_result(j, job->block_item);

    return ngx_http_intent_json_hash(json_object_get(block, "hash"), hash)
           == NGX_OK
           && ngx_memcmp(job->block_hash, hash, 32) == 0;
}


static void
ngx_http_intent_verify_final(ngx_http_intent_lane_t *lane,
    ngx_http_intent_jsonrpc_t *j, ngx_http_intent_job_t *job)
{
    ngx_str_t           reason;
    ngx_http_intent_t  *in;

    job->settled = 1;
    job->delay = -1;

    lane->floor = ngx_max(lane->floor, job->tx.nonce + 1);

    if (ngx_http_intent_job_is_filler(job)) {
        ngx_queue_insert_tail(&lane->outcome, &job->queue);
        return;
    }

    in = &job->intent;

    if (job->again
        && in->attempts < lane->conf->attempts
        && ngx_http_intent_job_mined_empty(job))
    {

        /* the nonce is used up, nothing has come of it */

        job->to = NGX_HTTP_INTENT_EXECUTING;
        in->tx_hash.len = 0;
        in->block_number = -1;
        in->confirmations = 0;
        ngx_queue_insert_tail(&lane->outcome, &job->queue);
        return;
    }

    in->block_number = job->block_number;
    in->confirmations = (ngx_uint_t) (lane->head - job->block_number + 1);
    in->gas_used = job->gas_used;
    in->gas_cost = job->gas_cost;

    if (in->tx_hash.len == EVM_HASH_STR_LEN) {
        (void) evm_hex_encode(job->mined_hash, 32,
                              (char *) in->tx_hash.data);
    }

    /* the empty transfer that took its place */

    if (ngx_http_intent_job_mined_empty(job)) {
        ngx_http_intent_job_fail(lane, job, &in->error);
        return;
    }

    if (!job->reverted) {
        in->error.len = 0;
        job->to = NGX_HTTP_INTENT_SUCCESS;
        ngx_queue_insert_tail(&lane->outcome, &job->queue);
        return;
    }

    ngx_str_set(&reason, "execution reverted");

    if (job->call_item >= 0
        && ngx_http_intent_jsonrpc_result(j, job->call_item) == NULL)
    {
        reason = ngx_http_intent_jsonrpc_error(j, job->call_item);
    }

    ngx_http_intent_job_fail(lane, job, &reason);
}
