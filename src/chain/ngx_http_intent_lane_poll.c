
/*
 * What the chain is like now: its head, the signer's nonce, the fees.
 */


#include "ngx_http_intent_lane.h"


#define NGX_HTTP_INTENT_DEFAULT_TIP     1000000000      /* 1 gwei */
#define NGX_HTTP_INTENT_MIN_RESEND      15000
#define NGX_HTTP_INTENT_FORGOTTEN       5       /* polls */


static void ngx_http_intent_poll_done(void *data,
    ngx_http_intent_jsonrpc_t *j, ngx_int_t rc);
static ngx_int_t ngx_http_intent_poll_head(ngx_http_intent_lane_t *lane,
    ngx_http_intent_jsonrpc_t *j);
static void ngx_http_intent_poll_fees(ngx_http_intent_lane_t *lane,
    json_t *history);
static void ngx_http_intent_poll_funds(ngx_http_intent_lane_t *lane);
static ngx_uint_t ngx_http_intent_poll_forgotten(
    ngx_http_intent_lane_t *lane);
static void ngx_http_intent_poll_resend(ngx_http_intent_lane_t *lane);


void
ngx_http_intent_lane_poll(ngx_http_intent_lane_t *lane)
{
    ngx_str_t                  *name;
    ngx_http_intent_step_t     *step;
    ngx_http_intent_jsonrpc_t  *j;

    step = &lane->poll;

    if (step->rpc || !lane->poll_due) {
        return;
    }

    lane->poll_due = 0;

    name = &lane->signer->name;

    j = ngx_http_intent_jsonrpc_create();
    if (j == NULL) {
        return;
    }

    if (ngx_http_intent_jsonrpc_add(j, "eth_getBlockByNumber", 16,
                                    "\"latest\",false")
        != NGX_OK
        || ngx_http_intent_jsonrpc_add(j, "eth_getTransactionCount", 64,
                                       "\"%V\",\"latest\"", name)
           != NGX_OK
        || ngx_http_intent_jsonrpc_add(j, "eth_feeHistory", 32,
                                       "\"0x5\",\"latest\",[50]")
           != NGX_OK
        || ngx_http_intent_jsonrpc_add(j, "eth_getBalance", 64,
                                       "\"%V\",\"latest\"", name)
           != NGX_OK
        || ngx_http_intent_jsonrpc_add(j, "eth_chainId", 1, "") != NGX_OK)
    {
        ngx_http_intent_jsonrpc_destroy(j);
        return;
    }

    step->rpc = j;

    if (ngx_http_intent_jsonrpc_send(j, ngx_http_intent_lane_endpoint(lane),
                                     ngx_http_intent_poll_done, step)
        != NGX_OK)
    {
        step->rpc = NULL;
    }
}


static void
ngx_http_intent_poll_done(void *data, ngx_http_intent_jsonrpc_t *j,
    ngx_int_t rc)
{
    ngx_http_intent_step_t  *step = data;

    int64_t                  head, nonce;
    ngx_http_intent_lane_t  *lane;

    lane = step->lane;
    head = lane->head;
    nonce = lane->nonce;

    if (rc == NGX_OK && j->endpoint != ngx_http_intent_lane_endpoint(lane)) {

        /* the lane has left this node meanwhile */

        lane->poll_due = 1;
        (void) ngx_http_intent_lane_answered(step, j, NGX_OK);
        return;
    }

    if (rc == NGX_OK) {
        rc = ngx_http_intent_poll_head(lane, j);

        if (rc != NGX_OK) {
            ngx_str_set(&j->reason, "it is of another chain, or does not tell "
                                    "the head, the base fee, the nonce or "
                                    "the balance");
        }
    }

    if (!ngx_http_intent_lane_answered(step, j, rc)) {
        return;
    }

    if (rc != NGX_OK) {
        return;
    }

    lane->rpc_ok = 1;
    lane->head_at = ngx_current_msec;
    lane->send_held = 0;

    ngx_http_intent_poll_fees(lane, ngx_http_intent_jsonrpc_result(j, 2));
    ngx_http_intent_poll_funds(lane);

    if (ngx_http_intent_poll_forgotten(lane)) {
        ngx_http_intent_lane_lose(lane);
        return;
    }

    if (head != lane->head || nonce != lane->nonce) {
        ngx_log_debug3(NGX_LOG_DEBUG_HTTP, lane->log, 0,
                       "intent lane \"%V\": head %L, nonce %L",
                       &lane->conf->name, lane->head, lane->nonce);

        ngx_http_intent_stat_set(ngx_http_intent_lane_endpoint(lane)->head,
                                 (double) lane->head);
    }

    lane->confirm_due = 1;

    ngx_http_intent_poll_resend(lane);
    ngx_http_intent_lane_post(lane);
}


static ngx_int_t
ngx_http_intent_poll_head(ngx_http_intent_lane_t *lane,
    ngx_http_intent_jsonrpc_t *j)
{
    u_char       hash[32];
    json_t      *block;
    int64_t      head, nonce, id;
    evm_u256_t   base_fee, funds;

    block = ngx_http_intent_jsonrpc_result(j, 0);

    if (ngx_http_intent_json_int(json_object_get(block, "number"), &head)
        != NGX_OK
        || ngx_http_intent_json_hash(json_object_get(block, "hash"), hash)
           != NGX_OK
        || ngx_http_intent_json_u256(json_object_get(block, "baseFeePerGas"),
                                     &base_fee)
           != NGX_OK
        || ngx_http_intent_json_int(ngx_http_intent_jsonrpc_result(j, 1),
                                    &nonce)
           != NGX_OK
        || ngx_http_intent_json_u256(ngx_http_intent_jsonrpc_result(j, 3),
                                     &funds)
           != NGX_OK
        || ngx_http_intent_json_int(ngx_http_intent_jsonrpc_result(j, 4), &id)
           != NGX_OK
        || id != (int64_t) lane->conf->chain_id)
    {
        return NGX_ERROR;
    }

    lane->funds = funds;
    lane->head = head;
    lane->nonce = nonce;
    lane->base_fee = base_fee;
    ngx_memcpy(lane->head_hash, hash, 32);

    return NGX_OK;
}


/* history NULL: the node does not know the method */

static void
ngx_http_intent_poll_fees(ngx_http_intent_lane_t *lane, json_t *history)
{
    size_t       i, n;
    json_t      *list, *reward;
    evm_u256_t   fee, tip;

    evm_u256_set(&tip, 0);

    /* one more than was asked for: that of the block to come */

    list = json_object_get(history, "baseFeePerGas");
    n = json_array_size(list);

    if (n && ngx_http_intent_json_u256(json_array_get(list, n - 1), &fee)
             == NGX_OK)
    {
        lane->base_fee = fee;
    }

    /* empty blocks say 0: the highest of the medians */

    json_array_foreach(json_object_get(history, "reward"), i, reward) {

        if (ngx_http_intent_json_u256(json_array_get(reward, 0), &fee)
            == NGX_OK
            && evm_u256_cmp(&fee, &tip) > 0)
        {
            tip = fee;
        }
    }

    if (evm_u256_is_zero(&tip)) {
        evm_u256_set(&tip, NGX_HTTP_INTENT_DEFAULT_TIP);
    }

    lane->tip = tip;
}


static void
ngx_http_intent_poll_funds(ngx_http_intent_lane_t *lane)
{
    ngx_uint_t  broke;
    evm_u256_t  least;

    ngx_http_intent_stat_set(lane->balance, evm_u256_to_double(&lane->funds));

    /* the price of doing nothing: without that, nobody's intent is to blame */

    broke = evm_u256_mul_u64(&least, &lane->base_fee, 21000) == EVM_OK
            && evm_u256_cmp(&lane->funds, &least) < 0;

    if (broke && !lane->broke) {
        ngx_log_error(NGX_LOG_ERR, lane->log, 0,
                      "intent chain \"%V\": %V cannot pay for gas, its "
                      "lane waits until it is funded", &lane->conf->name,
                      &lane->signer->name);

    } else if (!broke && lane->broke) {
        ngx_log_error(NGX_LOG_NOTICE, lane->log, 0,
                      "intent chain \"%V\": %V can pay for gas again",
                      &lane->conf->name, &lane->signer->name);
    }

    lane->broke = broke;
}


/*
 * A node that is some blocks behind knows no better.  One that is far below
 * what was seen, and has forgotten nonces that were settled, is of a test
 * chain that was started anew: the lane begins anew, too.
 */

static ngx_uint_t
ngx_http_intent_poll_forgotten(ngx_http_intent_lane_t *lane)
{
    lane->top = ngx_max(lane->top, lane->head);

    if (lane->nonce >= lane->floor
        || lane->head + (int64_t) lane->conf->confirmations >= lane->top)
    {
        lane->behind = 0;
        return 0;
    }

    if (++lane->behind < NGX_HTTP_INTENT_FORGOTTEN) {
        return 0;
    }

    ngx_log_error(NGX_LOG_ERR, lane->log, 0,
                  "intent chain \"%V\" has gone back from block %L to %L and "
                  "has forgotten settled transactions of %V, its lane begins "
                  "anew", &lane->conf->name, lane->top, lane->head,
                  &lane->signer->name);

    return 1;
}


/* nodes forget what they have not mined: the same bytes again, in order */

static void
ngx_http_intent_poll_resend(ngx_http_intent_lane_t *lane)
{
    ngx_msec_t              age;
    ngx_uint_t              n;
    ngx_queue_t            *q, *next;
    ngx_http_intent_job_t  *job;

    age = ngx_max(20 * lane->conf->poll_interval,
                  NGX_HTTP_INTENT_MIN_RESEND);
    n = 0;

    for (q = ngx_queue_head(&lane->sent);
         q != ngx_queue_sentinel(&lane->sent)
         && n < NGX_HTTP_INTENT_LANE_RPC;
         q = next)
    {
        next = ngx_queue_next(q);
        job = ngx_http_intent_job(q);

        if (job->tx.nonce < lane->nonce
            || job->block_number >= 0
            || ngx_current_msec - job->sent_at < age)
        {
            continue;
        }

        ngx_queue_remove(q);
        ngx_http_intent_job_insert(&lane->unsent, job);
        n++;
    }

    if (n) {
        ngx_log_error(NGX_LOG_INFO, lane->log, 0,
                      "intent chain \"%V\": %ui transactions are not mined "
                      "after %M ms, they are sent again", &lane->conf->name,
                      n, age);
    }
}
