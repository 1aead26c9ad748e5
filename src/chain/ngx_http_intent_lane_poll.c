
/*
 * What the chain is like now: its head, the signer's nonce, the fees.
 */


#include "ngx_http_intent_lane.h"


#define NGX_HTTP_INTENT_DEFAULT_TIP     1000000000      /* 1 gwei */
#define NGX_HTTP_INTENT_FEE_BLOCKS      5
#define NGX_HTTP_INTENT_MIN_RESEND      15000
#define NGX_HTTP_INTENT_STALL_HEADS     2       /* doubled so often: */
#define NGX_HTTP_INTENT_STALL_DOUBLED   6
#define NGX_HTTP_INTENT_STALL           1000    /* ms */
#define NGX_HTTP_INTENT_FORGOTTEN       5       /* polls */
#define NGX_HTTP_INTENT_GAP             10000   /* ms */

/* the item of a poll that is not in all of them */
#define NGX_HTTP_INTENT_POLL_PENDING    5


static void ngx_http_intent_poll_done(void *data,
    ngx_http_intent_jsonrpc_t *j, ngx_int_t rc);
static ngx_int_t ngx_http_intent_poll_ask_fees(ngx_http_intent_lane_t *lane,
    ngx_http_intent_jsonrpc_t *j);
static ngx_int_t ngx_http_intent_poll_head(ngx_http_intent_lane_t *lane,
    ngx_http_intent_jsonrpc_t *j);
static void ngx_http_intent_poll_fees(ngx_http_intent_lane_t *lane,
    json_t *said);
static void ngx_http_intent_poll_history(ngx_http_intent_lane_t *lane,
    json_t *history);
static ngx_int_t ngx_http_intent_poll_cmp(const void *one,
    const void *two);
static void ngx_http_intent_poll_funds(ngx_http_intent_lane_t *lane);
static ngx_uint_t ngx_http_intent_poll_forgotten(
    ngx_http_intent_lane_t *lane);
static ngx_int_t ngx_http_intent_poll_gap(ngx_http_intent_lane_t *lane,
    ngx_http_intent_jsonrpc_t *j);
static ngx_uint_t ngx_http_intent_poll_gap_is_old(
    ngx_http_intent_lane_t *lane);
static int64_t ngx_http_intent_poll_lowest(ngx_http_intent_lane_t *lane);
static int64_t ngx_http_intent_poll_lower(int64_t lowest,
    ngx_queue_t *queue);
static int64_t ngx_http_intent_poll_pending(ngx_http_intent_jsonrpc_t *j);
static ngx_uint_t ngx_http_intent_poll_stalls(ngx_http_intent_lane_t *lane);
static ngx_uint_t ngx_http_intent_poll_waits(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job);
static void ngx_http_intent_poll_resend(ngx_http_intent_lane_t *lane,
    int64_t pending);


void
ngx_http_intent_lane_poll(ngx_http_intent_lane_t *lane)
{
    ngx_str_t                  *name;
    ngx_http_intent_step_t     *step;
    ngx_http_intent_jsonrpc_t  *j;

    step = &lane->poll;

    if (step->rpc
        || !lane->poll_due
        || ngx_http_intent_endpoint_wait(&lane->conf->endpoints))
    {
        return;
    }

    lane->poll_due = 0;
    lane->endpoint = ngx_http_intent_endpoint_keep(&lane->conf->endpoints,
                                                   lane->endpoint,
                                                   &lane->chosen_at);

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
        || ngx_http_intent_poll_ask_fees(lane, j) != NGX_OK
        || ngx_http_intent_jsonrpc_add(j, "eth_getBalance", 64,
                                       "\"%V\",\"latest\"", name)
           != NGX_OK
        || ngx_http_intent_jsonrpc_add(j, "eth_chainId", 1, "") != NGX_OK
        || ((ngx_http_intent_poll_gap_is_old(lane)
             || ngx_http_intent_poll_stalls(lane))
            && ngx_http_intent_jsonrpc_add(j, "eth_getTransactionCount", 64,
                                           "\"%V\",\"pending\"", name)
               != NGX_OK))
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


static ngx_int_t
ngx_http_intent_poll_ask_fees(ngx_http_intent_lane_t *lane,
    ngx_http_intent_jsonrpc_t *j)
{
    if (lane->legacy) {
        return ngx_http_intent_jsonrpc_add(j, "eth_gasPrice", 1, "");
    }

    return ngx_http_intent_jsonrpc_add(j, "eth_feeHistory", 32,
                                       "\"0x5\",\"latest\",[50]");
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

    if (ngx_http_intent_poll_gap(lane, j) != NGX_OK) {
        ngx_http_intent_lane_lose(lane);
        return;
    }

    ngx_http_intent_lane_replace(lane);
    ngx_http_intent_poll_resend(lane, ngx_http_intent_poll_pending(j));
    ngx_http_intent_lane_post(lane);
}


static ngx_int_t
ngx_http_intent_poll_head(ngx_http_intent_lane_t *lane,
    ngx_http_intent_jsonrpc_t *j)
{
    u_char       hash[32];
    json_t      *block, *fee;
    int64_t      head, nonce, id;
    evm_u256_t   base_fee, funds;

    block = ngx_http_intent_jsonrpc_result(j, 0);

    if (ngx_http_intent_json_int(json_object_get(block, "number"), &head)
        != NGX_OK
        || ngx_http_intent_json_hash(json_object_get(block, "hash"), hash)
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

    /* before EIP-1559 there was none */

    fee = json_object_get(block, "baseFeePerGas");
    lane->legacy = (fee == NULL || json_is_null(fee));

    if (lane->legacy) {
        evm_u256_set(&base_fee, 0);

    } else if (ngx_http_intent_json_u256(fee, &base_fee) != NGX_OK) {
        return NGX_ERROR;
    }

    lane->funds = funds;
    lane->head = head;
    lane->nonce = nonce;
    lane->base_fee = base_fee;
    ngx_memcpy(lane->head_hash, hash, 32);

    return NGX_OK;
}


/* what the node said, NULL: it does not know the method */

static void
ngx_http_intent_poll_fees(ngx_http_intent_lane_t *lane, json_t *said)
{
    if (!lane->legacy) {
        ngx_http_intent_poll_history(lane, said);
        lane->priced = 1;
        return;
    }

    if (ngx_http_intent_json_u256(said, &lane->gas_price) == NGX_OK) {
        lane->priced = 1;

    } else if (!lane->priced) {

        /* it was asked for the history, for it was not known before */

        lane->poll_due = 1;
    }
}


static void
ngx_http_intent_poll_history(ngx_http_intent_lane_t *lane, json_t *history)
{
    size_t       i, n;
    json_t      *list, *reward;
    evm_u256_t   fee, tip, tips[NGX_HTTP_INTENT_FEE_BLOCKS];

    /* one more than was asked for: that of the block to come */

    list = json_object_get(history, "baseFeePerGas");
    n = json_array_size(list);

    if (n && ngx_http_intent_json_u256(json_array_get(list, n - 1), &fee)
             == NGX_OK)
    {
        lane->base_fee = fee;
    }

    /*
     * The median of the blocks' medians; empty ones say 0.  Not the highest:
     * that would be what this lane paid itself when it was in a hurry
     */

    n = 0;

    json_array_foreach(json_object_get(history, "reward"), i, reward) {

        if (n < NGX_HTTP_INTENT_FEE_BLOCKS
            && ngx_http_intent_json_u256(json_array_get(reward, 0), &tip)
               == NGX_OK
            && !evm_u256_is_zero(&tip))
        {
            tips[n++] = tip;
        }
    }

    if (n == 0) {
        evm_u256_set(&lane->tip, NGX_HTTP_INTENT_DEFAULT_TIP);
        return;
    }

    ngx_sort(tips, n, sizeof(evm_u256_t), ngx_http_intent_poll_cmp);

    lane->tip = tips[n / 2];
}


static ngx_int_t
ngx_http_intent_poll_cmp(const void *one, const void *two)
{
    return evm_u256_cmp(one, two);
}


static void
ngx_http_intent_poll_funds(ngx_http_intent_lane_t *lane)
{
    ngx_uint_t  broke;
    evm_u256_t  least;

    ngx_http_intent_stat_set(lane->balance, evm_u256_to_double(&lane->funds));
    ngx_http_intent_lane_check_balance(lane);

    /* the price of doing nothing: without that, nobody's intent is to blame */

    broke = evm_u256_mul_u64(&least, lane->legacy ? &lane->gas_price
                                                  : &lane->base_fee, 21000)
            == EVM_OK
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


/*
 * Nonces that nothing of ours will use, and nobody else has: transactions
 * that were settled fell out of the chain, or it was started anew.  A node
 * that is behind shows the same for a while.
 */

static ngx_int_t
ngx_http_intent_poll_gap(ngx_http_intent_lane_t *lane,
    ngx_http_intent_jsonrpc_t *j)
{
    int64_t  nonce, pending, lowest;

    lowest = ngx_http_intent_poll_lowest(lane);

    if (lane->nonce >= lowest || lane->head < lane->top) {
        lane->gap = 0;
        return NGX_OK;
    }

    if (lane->gap++ == 0) {
        lane->gap_at = ngx_current_msec;
    }

    pending = ngx_http_intent_poll_pending(j);

    if (pending < 0
        || pending >= lowest
        || !ngx_http_intent_poll_gap_is_old(lane))
    {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_WARN, lane->log, 0,
                  "intent chain \"%V\": it has forgotten nonces %L to %L of "
                  "%V", &lane->conf->name, pending, lowest - 1,
                  &lane->signer->name);

    lane->gap = 0;

    if (lowest == lane->store.next_nonce) {

        /* none of ours is behind them */

        lane->store.next_nonce = pending;
        return NGX_OK;
    }

    for (nonce = pending; nonce < lowest; nonce++) {
        if (ngx_http_intent_job_fill(lane, nonce) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_intent_poll_gap_is_old(ngx_http_intent_lane_t *lane)
{
    return lane->gap >= NGX_HTTP_INTENT_FORGOTTEN
           && ngx_current_msec - lane->gap_at >= NGX_HTTP_INTENT_GAP;
}


/* nonce of the lane's jobs, or the next one */

static int64_t
ngx_http_intent_poll_lowest(ngx_http_intent_lane_t *lane)
{
    int64_t                 lowest;
    ngx_uint_t              i;
    ngx_queue_t            *queues[] = {
                                &lane->ready, &lane->unsent, &lane->sent,
                                &lane->mined, &lane->suspect,
                                &lane->outcome };

    lowest = lane->store.next_nonce;

    for (i = 0; i < sizeof(queues) / sizeof(queues[0]); i++) {
        lowest = ngx_http_intent_poll_lower(lowest, queues[i]);
    }

    for (i = 0; i < NGX_HTTP_INTENT_LANE_STEPS; i++) {
        lowest = ngx_http_intent_poll_lower(lowest, &lane->steps[i]->jobs);
    }

    return lowest;
}


static int64_t
ngx_http_intent_poll_lower(int64_t lowest, ngx_queue_t *queue)
{
    ngx_queue_t            *q;
    ngx_http_intent_job_t  *job;

    for (q = ngx_queue_head(queue);
         q != ngx_queue_sentinel(queue);
         q = ngx_queue_next(q))
    {
        job = ngx_http_intent_job(q);

        if (job->tx.nonce >= 0) {
            lowest = ngx_min(lowest, job->tx.nonce);
        }
    }

    return lowest;
}


/* the first nonce that the node has no transaction of; -1: it was not asked */

static int64_t
ngx_http_intent_poll_pending(ngx_http_intent_jsonrpc_t *j)
{
    int64_t  pending;

    if (j->n <= NGX_HTTP_INTENT_POLL_PENDING
        || ngx_http_intent_json_int(
                 ngx_http_intent_jsonrpc_result(j,
                                             NGX_HTTP_INTENT_POLL_PENDING),
                 &pending)
           != NGX_OK)
    {
        return -1;
    }

    return pending;
}


/* what is to be mined next was not, in blocks that had time for it */

static ngx_uint_t
ngx_http_intent_poll_stalls(ngx_http_intent_lane_t *lane)
{
    ngx_http_intent_job_t  *job;

    if (ngx_queue_empty(&lane->sent)) {
        return 0;
    }

    job = ngx_http_intent_job(ngx_queue_head(&lane->sent));

    return job->tx.nonce >= lane->nonce
           && ngx_http_intent_poll_waits(lane, job);
}


/*
 * Longer, where to send again has not helped: the node may not tell its pool.
 * What pays too little waits for another price.
 */

static ngx_uint_t
ngx_http_intent_poll_waits(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job)
{
    int64_t  heads;

    heads = NGX_HTTP_INTENT_STALL_HEADS;

    if (lane->forgotten_nonce == lane->nonce) {
        heads <<= ngx_min(lane->forgotten, NGX_HTTP_INTENT_STALL_DOUBLED);
    }

    return lane->head >= job->sent_head + heads
           && evm_u256_cmp(&job->max_fee, &lane->base_fee) >= 0
           && ngx_current_msec - job->sent_at >= NGX_HTTP_INTENT_STALL;
}


/*
 * Nodes forget what they have not mined: the same bytes again, in order.  One
 * that says it has nothing from some nonce on, pending, gets them soon; others
 * after a while, for what they say of it may be wrong.
 */

static void
ngx_http_intent_poll_resend(ngx_http_intent_lane_t *lane, int64_t pending)
{
    ngx_msec_t              age;
    ngx_uint_t              n, forgotten;
    ngx_queue_t            *q, *next;
    ngx_http_intent_job_t  *job;

    age = ngx_max(20 * lane->conf->poll_interval,
                  NGX_HTTP_INTENT_MIN_RESEND);
    n = 0;
    forgotten = 0;

    for (q = ngx_queue_head(&lane->sent);
         q != ngx_queue_sentinel(&lane->sent)
         && n < NGX_HTTP_INTENT_LANE_RPC;
         q = next)
    {
        next = ngx_queue_next(q);
        job = ngx_http_intent_job(q);

        if (job->tx.nonce < lane->nonce || job->block_number >= 0) {
            continue;
        }

        if (pending >= 0
            && job->tx.nonce >= pending
            && ngx_http_intent_poll_waits(lane, job))
        {
            forgotten++;

        } else if (ngx_current_msec - job->sent_at >= age) {
            n++;

        } else {
            continue;
        }

        ngx_queue_remove(q);
        ngx_http_intent_job_insert(&lane->unsent, job);
    }

    if (forgotten) {
        lane->forgotten = (lane->forgotten_nonce == lane->nonce)
                          ? lane->forgotten + 1 : 1;
        lane->forgotten_nonce = lane->nonce;

        ngx_log_error(NGX_LOG_INFO, lane->log, 0,
                      "intent chain \"%V\": the node has forgotten %ui "
                      "transactions from nonce %L on, they are sent again",
                      &lane->conf->name, forgotten, pending);
    }

    if (n) {
        ngx_log_error(NGX_LOG_INFO, lane->log, 0,
                      "intent chain \"%V\": %ui transactions are not mined "
                      "after %M ms, they are sent again", &lane->conf->name,
                      n, age);
    }
}
