
/*
 * What transactions pay, and which are signed again to pay more.
 *
 * A transaction that takes the place of another of the same nonce does the
 * same thing, or nothing; nodes want a tenth more for it, and get an eighth,
 * in both fields, or what the market wants by then, if that is more.
 */


#include "ngx_http_intent_lane.h"


/* so many of the lowest nonces may be on their way to a higher fee at once */
#define NGX_HTTP_INTENT_REPLACE_MAX    NGX_HTTP_INTENT_LANE_SIGN

/* a chain that makes no blocks does not do so for more money */
#define NGX_HTTP_INTENT_REPLACE_HEADS  2


static void ngx_http_intent_fee_raise(evm_u256_t *fee);
static ngx_uint_t ngx_http_intent_replace_under_way(
    ngx_http_intent_lane_t *lane);
static ngx_uint_t ngx_http_intent_replace_refused(
    ngx_http_intent_lane_t *lane, ngx_uint_t room);
static ngx_uint_t ngx_http_intent_replace_is_due(
    ngx_http_intent_lane_t *lane, ngx_http_intent_job_t *job);


/* room for six full blocks: each may raise the base fee by an eighth */

void
ngx_http_intent_lane_market(ngx_http_intent_lane_t *lane,
    evm_u256_t *max_fee, evm_u256_t *tip)
{
    evm_u256_t  limit;

    evm_u256_set(&limit, lane->conf->max_fee);

    /* a legacy transaction pays all of its price */

    if (lane->legacy) {
        *max_fee = lane->gas_price;

        if (evm_u256_cmp(max_fee, &limit) > 0) {
            *max_fee = limit;
        }

        *tip = *max_fee;
        return;
    }

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


ngx_int_t
ngx_http_intent_job_fees(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job, evm_u256_t *max_fee, evm_u256_t *tip)
{
    ngx_int_t   rc;
    evm_u256_t  limit, least;

    ngx_http_intent_lane_market(lane, max_fee, tip);

    if (job->tx.raw.len == 0) {
        return NGX_OK;
    }

    rc = NGX_OK;
    evm_u256_set(&limit, lane->conf->max_fee);

    least = job->max_fee;
    ngx_http_intent_fee_raise(&least);

    if (evm_u256_cmp(&least, max_fee) > 0) {
        *max_fee = least;
    }

    least = job->tip;
    ngx_http_intent_fee_raise(&least);

    if (evm_u256_cmp(&least, &job->least_tip) < 0) {
        least = job->least_tip;
    }

    if (evm_u256_cmp(&least, tip) > 0) {
        *tip = least;
    }

    if (evm_u256_cmp(tip, max_fee) > 0) {
        *max_fee = *tip;
    }

    if (evm_u256_cmp(max_fee, &limit) > 0) {
        *max_fee = limit;
        rc = NGX_DECLINED;
    }

    if (lane->legacy || evm_u256_cmp(tip, max_fee) > 0) {
        *tip = *max_fee;
    }

    return rc;
}


/* by an eighth, and by one wei at the least */

static void
ngx_http_intent_fee_raise(evm_u256_t *fee)
{
    evm_u256_t  part, one;

    evm_u256_set(&one, 1);

    (void) evm_u256_div_u64(&part, fee, 8);

    if (evm_u256_add(&part, &part, &one) == EVM_OK) {
        (void) evm_u256_add(fee, fee, &part);
    }
}


ngx_int_t
ngx_http_intent_job_bump(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job)
{
    u_char        text[2][EVM_U256_DEC_LEN];
    size_t        len[2];
    evm_u256_t    max_fee, tip, fee, cost, total;

    /* what waits for a signature is not asked after: it stays where it was */

    if (ngx_http_intent_lane_sign_waits(lane)
        || ngx_http_intent_job_fees(lane, job, &max_fee, &tip) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    /* of all transactions of a nonce one is paid for: the dearest counts */

    fee = job->max_fee;
    job->max_fee = max_fee;
    ngx_http_intent_job_cost(job, &cost);
    job->max_fee = fee;

    if (evm_u256_sub(&total, &lane->spent, &job->cost) != EVM_OK
        || evm_u256_add(&total, &total, &cost) != EVM_OK
        || evm_u256_cmp(&total, &lane->funds) > 0
        || ngx_http_intent_job_replace(job) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    ngx_http_intent_job_spend(lane, job, &cost);

    len[0] = evm_u256_to_dec(&fee, (char *) text[0]);
    len[1] = evm_u256_to_dec(&max_fee, (char *) text[1]);

    ngx_log_error(NGX_LOG_INFO, lane->log, 0,
                  "intent chain \"%V\": nonce %L, intent \"%V\", is signed "
                  "again: at most %*s wei for a unit of gas, not %*s",
                  &lane->conf->name, job->tx.nonce, &job->intent.id,
                  len[1], text[1], len[0], text[0]);

    ngx_http_intent_stat_inc(lane->retries[NGX_HTTP_INTENT_RPC_UNDERPRICED],
                             1);

    job->bump = 1;
    job->underpriced = 0;

    ngx_http_intent_job_ready(lane, job);

    return NGX_OK;
}


/*
 * What waits for others is not late: while nonces are mined, only those are
 * whose fee is below what the next block takes.
 */

void
ngx_http_intent_lane_replace(ngx_http_intent_lane_t *lane)
{
    ngx_uint_t              n, seen;
    ngx_queue_t            *q, *next;
    ngx_http_intent_job_t  *job;

    if (lane->nonce != lane->moved_nonce || lane->moved_at == 0) {
        lane->moved_nonce = lane->nonce;
        lane->moved_at = ngx_current_msec;
    }

    n = ngx_http_intent_replace_under_way(lane);
    n = (n < NGX_HTTP_INTENT_REPLACE_MAX) ? NGX_HTTP_INTENT_REPLACE_MAX - n
                                          : 0;

    n -= ngx_http_intent_replace_refused(lane, n);

    seen = 0;

    for (q = ngx_queue_head(&lane->sent);
         q != ngx_queue_sentinel(&lane->sent)
         && n
         && seen < NGX_HTTP_INTENT_REPLACE_MAX;
         q = next)
    {
        next = ngx_queue_next(q);
        job = ngx_http_intent_job(q);

        if (job->tx.nonce < lane->nonce || job->block_number >= 0) {
            continue;
        }

        seen++;

        if (!ngx_http_intent_replace_is_due(lane, job)) {
            continue;
        }

        ngx_queue_remove(q);

        if (ngx_http_intent_job_bump(lane, job) != NGX_OK) {

            /* the old bytes are sent again now and then */

            ngx_http_intent_job_insert(&lane->sent, job);
            continue;
        }

        n--;
    }
}


static ngx_uint_t
ngx_http_intent_replace_under_way(ngx_http_intent_lane_t *lane)
{
    ngx_uint_t              i, n;
    ngx_queue_t            *q, *queues[] = { &lane->ready, &lane->save.jobs,
                                             &lane->unsent,
                                             &lane->send.jobs };
    ngx_http_intent_job_t  *job;

    n = 0;

    for (i = 0; i < sizeof(queues) / sizeof(queues[0]); i++) {

        for (q = ngx_queue_head(queues[i]);
             q != ngx_queue_sentinel(queues[i]);
             q = ngx_queue_next(q))
        {
            job = ngx_http_intent_job(q);
            n += job->bump;
        }
    }

    return n;
}


/* those that a node has not taken for their fee; how many */

static ngx_uint_t
ngx_http_intent_replace_refused(ngx_http_intent_lane_t *lane,
    ngx_uint_t room)
{
    ngx_uint_t              n;
    ngx_queue_t            *q, *next;
    ngx_http_intent_job_t  *job;

    n = 0;

    for (q = ngx_queue_head(&lane->unsent);
         q != ngx_queue_sentinel(&lane->unsent) && n < room;
         q = next)
    {
        next = ngx_queue_next(q);
        job = ngx_http_intent_job(q);

        if (!job->underpriced) {
            continue;
        }

        ngx_queue_remove(q);

        if (ngx_http_intent_job_bump(lane, job) != NGX_OK) {
            ngx_http_intent_job_insert(&lane->unsent, job);
            continue;
        }

        n++;
    }

    return n;
}


static ngx_uint_t
ngx_http_intent_replace_is_due(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job)
{
    ngx_msec_t  after;

    after = lane->conf->replace_after;

    if (after == 0
        || job->taken_at == 0
        || ngx_current_msec - job->taken_at < after
        || lane->head < job->taken_head + NGX_HTTP_INTENT_REPLACE_HEADS)
    {
        return 0;
    }

    if (!lane->legacy && evm_u256_cmp(&job->max_fee, &lane->base_fee) < 0) {
        return 1;
    }

    return ngx_current_msec - lane->moved_at >= after;
}


/* reth: "transaction priority fee below minimum required priority fee N" */

void
ngx_http_intent_job_demand(ngx_http_intent_job_t *job, ngx_str_t *message)
{
    u_char      *p, *last;
    evm_u256_t   fee;

    static u_char  words[] = "minimum required priority fee ";

    p = ngx_strlcasestrn(message->data, message->data + message->len, words,
                         sizeof(words) - 2);
    if (p == NULL) {
        return;
    }

    p += sizeof(words) - 1;

    for (last = p;
         last < message->data + message->len && *last >= '0' && *last <= '9';
         last++)
    {
        /* void */
    }

    if (evm_u256_from_dec(&fee, (char *) p, last - p) == EVM_OK) {
        job->least_tip = fee;
    }
}
