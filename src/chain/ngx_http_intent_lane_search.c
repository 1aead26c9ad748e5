
/*
 * Who has used a nonce?  A nonce of ours that the chain has passed without a
 * receipt of ours is given up only for a transaction that was seen: a node
 * that is between two states counts a nonce as used long before it shows the
 * receipt, and who believes the count alone carries an intent out twice.
 *
 * The block is found by halving: the signer's nonce at a height tells on
 * which side of it the block is.  A height the node has forgotten counts as
 * too low.
 */


#include "ngx_http_intent_lane.h"


/* every which time that there is nothing to be seen it is told */
#define NGX_HTTP_INTENT_UNSEEN  10


static void ngx_http_intent_search_ask(ngx_http_intent_lane_t *lane);
static void ngx_http_intent_search_done(void *data,
    ngx_http_intent_jsonrpc_t *j, ngx_int_t rc);
static void ngx_http_intent_search_block(ngx_http_intent_lane_t *lane,
    json_t *block);
static ngx_int_t ngx_http_intent_search_match(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job, json_t *tx, u_char hash[32]);
static ngx_uint_t ngx_http_intent_search_is_ours(ngx_http_intent_job_t *job,
    u_char hash[32]);
static void ngx_http_intent_search_unseen(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job);
static void ngx_http_intent_search_end(ngx_http_intent_lane_t *lane);
static void ngx_http_intent_search_lost(ngx_http_intent_lane_t *lane,
    u_char hash[32]);


void
ngx_http_intent_lane_search(ngx_http_intent_lane_t *lane)
{
    ngx_http_intent_step_t  *step;

    step = &lane->search;

    if (step->rpc || !lane->rpc_ok) {
        return;
    }

    if (ngx_queue_empty(&step->jobs)) {

        if (ngx_http_intent_jobs_move(&step->jobs, &lane->suspect, 1) == 0) {
            return;
        }

        /* the block is in (low, high] */

        lane->search_low = -1;
        lane->search_high = lane->head + 1
                            - (int64_t) lane->conf->confirmations;
    }

    ngx_http_intent_search_ask(lane);
}


static void
ngx_http_intent_search_ask(ngx_http_intent_lane_t *lane)
{
    ngx_int_t                   rc;
    ngx_http_intent_step_t     *step;
    ngx_http_intent_jsonrpc_t  *j;

    step = &lane->search;

    j = ngx_http_intent_jsonrpc_create();
    if (j == NULL) {
        ngx_http_intent_search_end(lane);
        return;
    }

    if (lane->search_high - lane->search_low > 1) {
        rc = ngx_http_intent_jsonrpc_add(j, "eth_getTransactionCount",
                 64 + NGX_INT64_LEN, "\"%V\",\"0x%xL\"", &lane->signer->name,
                 lane->search_low
                 + (lane->search_high - lane->search_low) / 2);

    } else {
        rc = ngx_http_intent_jsonrpc_add(j, "eth_getBlockByNumber", 32,
                                         "\"0x%xL\",true",
                                         lane->search_high);
    }

    if (rc != NGX_OK) {
        ngx_http_intent_jsonrpc_destroy(j);
        ngx_http_intent_search_end(lane);
        return;
    }

    step->rpc = j;

    if (ngx_http_intent_jsonrpc_send(j, ngx_http_intent_lane_endpoint(lane),
                                     ngx_http_intent_search_done, step)
        != NGX_OK)
    {
        step->rpc = NULL;
        ngx_http_intent_search_end(lane);
    }
}


static void
ngx_http_intent_search_done(void *data, ngx_http_intent_jsonrpc_t *j,
    ngx_int_t rc)
{
    ngx_http_intent_step_t  *step = data;

    int64_t                  nonce, middle;
    json_t                  *result;
    ngx_http_intent_job_t   *job;
    ngx_http_intent_lane_t  *lane;

    lane = step->lane;

    if (!ngx_http_intent_lane_answered(step, j, rc)) {
        return;
    }

    if (rc != NGX_OK) {
        ngx_http_intent_search_end(lane);
        return;
    }

    job = ngx_http_intent_job(ngx_queue_head(&step->jobs));
    result = ngx_http_intent_jsonrpc_result(j, 0);

    if (lane->search_high - lane->search_low > 1) {

        middle = lane->search_low
                 + (lane->search_high - lane->search_low) / 2;

        if (ngx_http_intent_json_int(result, &nonce) == NGX_OK
            && nonce > job->tx.nonce)
        {
            lane->search_high = middle;

        } else {
            lane->search_low = middle;
        }

    } else {
        ngx_http_intent_search_block(lane, result);
    }

    ngx_http_intent_lane_post(lane);
}


static void
ngx_http_intent_search_block(ngx_http_intent_lane_t *lane, json_t *block)
{
    u_char                  hash[32];
    size_t                  i;
    json_t                 *tx;
    ngx_http_intent_job_t  *job;

    job = ngx_http_intent_job(ngx_queue_head(&lane->search.jobs));

    json_array_foreach(json_object_get(block, "transactions"), i, tx) {

        if (ngx_http_intent_search_match(lane, job, tx, hash) != NGX_OK) {
            continue;
        }

        if (!ngx_http_intent_search_is_ours(job, hash)) {
            ngx_http_intent_search_lost(lane, hash);
            return;
        }

        /* ours after all: its receipt is asked for again */

        ngx_http_intent_search_end(lane);
        return;
    }

    ngx_http_intent_search_unseen(lane, job);
    ngx_http_intent_search_end(lane);
}


/*
 * A node that is between two states, or one whose data is damaged: whether
 * the intent was carried out cannot be known, so it stays where it is.
 */

static void
ngx_http_intent_search_unseen(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job)
{
    if (job->unseen++ % NGX_HTTP_INTENT_UNSEEN != NGX_HTTP_INTENT_UNSEEN / 2) {
        return;
    }

    ngx_log_error(NGX_LOG_ERR, lane->log, 0,
                  "intent chain \"%V\": nonce %L of %V is used, but no "
                  "transaction of it is in block %L, intent \"%V\" and those "
                  "behind it wait until there is one", &lane->conf->name,
                  job->tx.nonce, &lane->signer->name, lane->search_high,
                  &job->intent.id);
}


static ngx_int_t
ngx_http_intent_search_match(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job, json_t *tx, u_char hash[32])
{
    u_char   from[EVM_ADDRESS_LEN];
    size_t   len;
    json_t  *v;
    int64_t  nonce;

    v = json_object_get(tx, "from");
    len = sizeof(from);

    if (!json_is_string(v)
        || evm_hex_decode(json_string_value(v), json_string_length(v), from,
                          &len)
           != EVM_OK
        || len != EVM_ADDRESS_LEN
        || ngx_memcmp(from, lane->signer->address, EVM_ADDRESS_LEN) != 0
        || ngx_http_intent_json_int(json_object_get(tx, "nonce"), &nonce)
           != NGX_OK
        || nonce != job->tx.nonce)
    {
        return NGX_DECLINED;
    }

    return ngx_http_intent_json_hash(json_object_get(tx, "hash"), hash);
}


static ngx_uint_t
ngx_http_intent_search_is_ours(ngx_http_intent_job_t *job, u_char hash[32])
{
    ngx_http_intent_old_tx_t  *old;

    if (ngx_memcmp(hash, job->tx.hash, 32) == 0) {
        return 1;
    }

    for (old = job->old; old; old = old->next) {
        if (ngx_memcmp(hash, old->hash, 32) == 0) {
            return 1;
        }
    }

    return 0;
}


static void
ngx_http_intent_search_end(ngx_http_intent_lane_t *lane)
{
    ngx_queue_t            *q;
    ngx_http_intent_job_t  *job;

    /*
     * What was wrong about this one is likely to be wrong about the others:
     * they go back, too, instead of being searched for one by one
     */

    (void) ngx_http_intent_jobs_move(&lane->search.jobs, &lane->suspect,
                                     lane->conf->max_in_flight);

    while (!ngx_queue_empty(&lane->search.jobs)) {
        q = ngx_queue_head(&lane->search.jobs);
        ngx_queue_remove(q);

        job = ngx_http_intent_job(q);
        job->missing = 0;

        ngx_http_intent_job_insert(&lane->sent, job);
    }
}


static void
ngx_http_intent_search_lost(ngx_http_intent_lane_t *lane, u_char hash[32])
{
    char                    text[EVM_HASH_STR_LEN];
    ngx_queue_t            *q;
    ngx_http_intent_job_t  *job;

    q = ngx_queue_head(&lane->search.jobs);
    ngx_queue_remove(q);
    job = ngx_http_intent_job(q);

    (void) evm_hex_encode(hash, 32, text);

    ngx_log_error(NGX_LOG_WARN, lane->log, 0,
                  "intent chain \"%V\": nonce %L of %V was used by somebody "
                  "else, in %*s, intent \"%V\" gets another one",
                  &lane->conf->name, job->tx.nonce, &lane->signer->name,
                  (size_t) EVM_HASH_STR_LEN, text, &job->intent.id);

    ngx_http_intent_stat_inc(lane->retries[NGX_HTTP_INTENT_RPC_NONCE_LOW], 1);

    lane->floor = ngx_max(lane->floor, job->tx.nonce + 1);

    job->lost = 1;
    job->settled = 1;
    job->to = NGX_HTTP_INTENT_EXECUTING;
    job->delay = -1;
    job->intent.tx_hash.len = 0;

    ngx_queue_insert_tail(&lane->outcome, &job->queue);
}
