
/*
 * From a sent transaction to the truth about it.
 *
 * The signer's nonce at the head tells which nonces are used; only for those
 * are receipts asked.  A receipt counts when it is as deep as the
 * configuration wants it and its block is the one that the chain has at that
 * height.
 */


#include "ngx_http_intent_lane.h"


/* at how many heads there is no receipt before another user is looked for */
#define NGX_HTTP_INTENT_MISSING  3


static ngx_uint_t ngx_http_intent_confirm_take(ngx_http_intent_step_t *step);
static ngx_int_t ngx_http_intent_confirm_ask(ngx_http_intent_jsonrpc_t *j,
    ngx_http_intent_step_t *step);
static ngx_int_t ngx_http_intent_confirm_receipt(
    ngx_http_intent_jsonrpc_t *j, u_char hash[32]);
static void ngx_http_intent_confirm_done(void *data,
    ngx_http_intent_jsonrpc_t *j, ngx_int_t rc);
static void ngx_http_intent_confirm_answer(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job, ngx_http_intent_jsonrpc_t *j, ngx_uint_t *i);
static ngx_int_t ngx_http_intent_confirm_read(ngx_http_intent_job_t *job,
    json_t *receipt);
static void ngx_http_intent_confirm_mined(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job);
static void ngx_http_intent_confirm_missing(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job, int64_t deep_nonce);
static void ngx_http_intent_confirm_unmined(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job);


/*
 * Several batches at a time: each takes a round trip, and a node may need
 * long for receipts of a large block
 */

void
ngx_http_intent_lane_confirm(ngx_http_intent_lane_t *lane)
{
    ngx_uint_t                  i;
    ngx_http_intent_step_t     *step;
    ngx_http_intent_jsonrpc_t  *j;

    for (i = 0; i < NGX_HTTP_INTENT_LANE_CONFIRMS; i++) {

        if (lane->state != NGX_HTTP_INTENT_LANE_RUNNING
            || !lane->rpc_ok
            || !lane->confirm_due)
        {
            return;
        }

        step = &lane->confirm[i];

        if (step->rpc) {
            continue;
        }

        lane->confirm_due = 0;

        if (ngx_http_intent_confirm_take(step) == 0) {
            return;
        }

        j = ngx_http_intent_jsonrpc_create();

        if (j && ngx_http_intent_confirm_ask(j, step) != NGX_OK) {
            ngx_http_intent_jsonrpc_destroy(j);
            j = NULL;
        }

        ngx_http_intent_step_ask(step, j, ngx_http_intent_confirm_done);
    }
}


static ngx_uint_t
ngx_http_intent_confirm_take(ngx_http_intent_step_t *step)
{
    ngx_uint_t                 n, items;
    ngx_queue_t               *q, *next;
    ngx_http_intent_job_t     *job;
    ngx_http_intent_lane_t    *lane;
    ngx_http_intent_old_tx_t  *old;

    lane = step->lane;

    /* one for each hash, and the nonce */

    n = 0;
    items = 1;

    for (q = ngx_queue_head(&lane->sent);
         q != ngx_queue_sentinel(&lane->sent);
         q = next)
    {
        next = ngx_queue_next(q);
        job = ngx_http_intent_job(q);

        if (job->tx.nonce >= lane->nonce) {

            /* a node that is behind its own block knows no better */

            if (job->block_number >= 0 && lane->head >= job->block_number) {
                ngx_queue_remove(q);
                ngx_http_intent_confirm_unmined(lane, job);
            }

            continue;
        }

        if (job->recorded
            && lane->head - job->block_number + 1
               < (int64_t) lane->conf->confirmations)
        {
            continue;
        }

        items++;

        for (old = job->old; old; old = old->next) {
            items++;
        }

        if (items > lane->batch && n) {
            lane->confirm_due = 1;
            break;
        }

        ngx_queue_remove(q);
        ngx_queue_insert_tail(&step->jobs, q);
        n++;
    }

    return n;
}


static ngx_int_t
ngx_http_intent_confirm_ask(ngx_http_intent_jsonrpc_t *j,
    ngx_http_intent_step_t *step)
{
    int64_t                    deep;
    ngx_queue_t               *q;
    ngx_http_intent_job_t     *job;
    ngx_http_intent_lane_t    *lane;
    ngx_http_intent_old_tx_t  *old;

    lane = step->lane;

    for (q = ngx_queue_head(&step->jobs);
         q != ngx_queue_sentinel(&step->jobs);
         q = ngx_queue_next(q))
    {
        job = ngx_http_intent_job(q);

        if (ngx_http_intent_confirm_receipt(j, job->tx.hash) != NGX_OK) {
            return NGX_ERROR;
        }

        for (old = job->old; old; old = old->next) {
            if (ngx_http_intent_confirm_receipt(j, old->hash) != NGX_OK) {
                return NGX_ERROR;
            }
        }
    }

    /*
     * Last, the nonce as deep as a receipt has to be: what is below it and
     * has no receipt of ours was used by somebody else, for good
     */

    deep = lane->head + 1 - (int64_t) lane->conf->confirmations;

    return ngx_http_intent_jsonrpc_add(j, "eth_getTransactionCount",
                                       64 + NGX_INT64_LEN,
                                       "\"%V\",\"0x%xL\"",
                                       &lane->signer->name,
                                       ngx_max(deep, 0));
}


static ngx_int_t
ngx_http_intent_confirm_receipt(ngx_http_intent_jsonrpc_t *j, u_char hash[32])
{
    char  text[EVM_HASH_STR_LEN];

    (void) evm_hex_encode(hash, 32, text);

    return ngx_http_intent_jsonrpc_add(j, "eth_getTransactionReceipt",
                                       EVM_HASH_STR_LEN + 2, "\"%*s\"",
                                       (size_t) EVM_HASH_STR_LEN, text);
}


static void
ngx_http_intent_confirm_done(void *data, ngx_http_intent_jsonrpc_t *j,
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

    i = 0;

    while (!ngx_queue_empty(&step->jobs)) {
        q = ngx_queue_head(&step->jobs);
        ngx_queue_remove(q);
        job = ngx_http_intent_job(q);

        if (rc != NGX_OK) {
            ngx_http_intent_job_insert(&lane->sent, job);
            lane->confirm_due = 1;
            continue;
        }

        ngx_http_intent_confirm_answer(lane, job, j, &i);
    }

    ngx_http_intent_lane_post(lane);
}


static void
ngx_http_intent_confirm_answer(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job, ngx_http_intent_jsonrpc_t *j, ngx_uint_t *i)
{
    json_t                    *receipt, *found;
    int64_t                    deep_nonce;
    ngx_uint_t                 known;
    ngx_http_intent_old_tx_t  *old;

    found = NULL;
    known = 1;
    old = job->old;

    for ( ;; ) {
        receipt = ngx_http_intent_jsonrpc_result(j, (*i)++);

        if (receipt == NULL) {
            known = 0;

        } else if (json_is_object(receipt)) {
            found = receipt;
        }

        if (old == NULL) {
            break;
        }

        old = old->next;
    }

    if (found && ngx_http_intent_confirm_read(job, found) == NGX_OK) {
        ngx_http_intent_confirm_mined(lane, job);
        return;
    }

    if (found || !known
        || ngx_http_intent_json_int(
                   ngx_http_intent_jsonrpc_result(j, j->n - 1), &deep_nonce)
           != NGX_OK)
    {
        deep_nonce = -1;
    }

    ngx_http_intent_confirm_missing(lane, job, deep_nonce);
}


static ngx_int_t
ngx_http_intent_confirm_read(ngx_http_intent_job_t *job, json_t *receipt)
{
    u_char                     hash[32], block_hash[32];
    int64_t                    block, gas, status;
    ngx_str_t                 *cost;
    evm_u256_t                 price;
    ngx_http_intent_old_tx_t  *old;

    if (ngx_http_intent_json_hash(json_object_get(receipt, "transactionHash"),
                                  hash)
        != NGX_OK
        || ngx_http_intent_json_hash(json_object_get(receipt, "blockHash"),
                                     block_hash)
           != NGX_OK
        || ngx_http_intent_json_int(json_object_get(receipt, "blockNumber"),
                                    &block)
           != NGX_OK
        || ngx_http_intent_json_int(json_object_get(receipt, "status"),
                                    &status)
           != NGX_OK
        || ngx_http_intent_json_int(json_object_get(receipt, "gasUsed"), &gas)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_memcmp(hash, job->tx.hash, 32) != 0) {

        for (old = job->old; old; old = old->next) {
            if (ngx_memcmp(hash, old->hash, 32) == 0) {
                break;
            }
        }

        if (old == NULL) {
            return NGX_ERROR;
        }
    }

    cost = &job->gas_cost;
    cost->len = 0;

    if (ngx_http_intent_json_u256(json_object_get(receipt,
                                                  "effectiveGasPrice"),
                                  &price)
        == NGX_OK
        && evm_u256_mul_u64(&price, &price, (uint64_t) gas) == EVM_OK)
    {
        if (cost->data == NULL) {
            cost->data = ngx_pnalloc(job->pool, EVM_U256_DEC_LEN);
        }

        if (cost->data) {
            cost->len = evm_u256_to_dec(&price, (char *) cost->data);
        }
    }

    ngx_memcpy(job->mined_hash, hash, 32);
    ngx_memcpy(job->block_hash, block_hash, 32);
    job->block_number = block;
    job->gas_used = gas;
    job->reverted = (status == 0);

    return NGX_OK;
}


static void
ngx_http_intent_confirm_mined(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job)
{
    int64_t  depth;

    job->missing = 0;

    /* what it cost is in the balance now */

    ngx_http_intent_job_spend(lane, job, NULL);

    depth = lane->head - job->block_number + 1;

    if (depth >= (int64_t) lane->conf->confirmations) {
        ngx_queue_insert_tail(&lane->mined, &job->queue);
        return;
    }

    if (ngx_http_intent_job_is_filler(job)
        || (job->recorded && job->intent.block_number == job->block_number))
    {
        job->recorded = 1;
        ngx_http_intent_job_insert(&lane->sent, job);
        return;
    }

    job->to = NGX_HTTP_INTENT_EXECUTING;
    job->delay = -1;
    job->intent.block_number = job->block_number;
    job->intent.confirmations = (ngx_uint_t) ngx_max(depth, 1);

    ngx_queue_insert_tail(&lane->outcome, &job->queue);
}


/* deep_nonce -1: the node did not say enough to conclude anything */

static void
ngx_http_intent_confirm_missing(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job, int64_t deep_nonce)
{
    /* at as many heads: between two of them the same is not news */

    if (deep_nonce >= 0 && lane->head > job->missing_at) {
        job->missing_at = lane->head;
        job->missing++;
    }

    if (job->missing < NGX_HTTP_INTENT_MISSING) {
        ngx_http_intent_job_insert(&lane->sent, job);
        return;
    }

    if (job->block_number >= 0) {
        job->missing = 0;
        ngx_http_intent_confirm_unmined(lane, job);
        return;
    }

    if (deep_nonce <= job->tx.nonce) {
        ngx_http_intent_job_insert(&lane->sent, job);
        return;
    }

    ngx_queue_insert_tail(&lane->suspect, &job->queue);
}


static void
ngx_http_intent_confirm_unmined(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job)
{
    evm_u256_t  cost;

    ngx_log_error(NGX_LOG_WARN, lane->log, 0,
                  "intent chain \"%V\": nonce %L, intent \"%V\", fell out of "
                  "block %L, it is sent again", &lane->conf->name,
                  job->tx.nonce, &job->intent.id, job->block_number);

    /* and is to be paid for again */

    ngx_http_intent_job_cost(job, &cost);
    ngx_http_intent_job_spend(lane, job, &cost);

    job->block_number = -1;
    job->taken_at = 0;

    if (ngx_http_intent_job_is_filler(job) || job->intent.block_number < 0) {
        job->recorded = 0;
        ngx_http_intent_job_insert(&lane->unsent, job);
        return;
    }

    job->to = NGX_HTTP_INTENT_EXECUTING;
    job->delay = -1;
    job->intent.block_number = -1;
    job->intent.confirmations = 0;

    ngx_queue_insert_tail(&lane->outcome, &job->queue);
}
