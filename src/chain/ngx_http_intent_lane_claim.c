
/*
 * Claiming and preflight: from a pending intent to a call that is known to
 * go through, with its gas.
 */


#include "ngx_http_intent_lane.h"


#define NGX_HTTP_INTENT_TRANSFER_GAS  21000


static void ngx_http_intent_claim_done(void *data, ngx_int_t rc,
    ngx_http_intent_store_rows_t *rows);
static ngx_uint_t ngx_http_intent_preflight_take(
    ngx_http_intent_lane_t *lane);
static ngx_int_t ngx_http_intent_preflight_call(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job);
static void ngx_http_intent_preflight_done(void *data,
    ngx_http_intent_jsonrpc_t *j, ngx_int_t rc);
static void ngx_http_intent_preflight_answer(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job, ngx_http_intent_jsonrpc_t *j, ngx_uint_t i);


void
ngx_http_intent_lane_claim(ngx_http_intent_lane_t *lane)
{
    ngx_uint_t               n;
    ngx_http_intent_step_t  *step;

    step = &lane->claim;

    if (step->busy
        || !lane->claim_due
        || !lane->rpc_ok
        || lane->broke
        || lane->njobs >= lane->conf->max_in_flight)
    {
        return;
    }

    n = lane->conf->max_in_flight - lane->njobs;
    n = ngx_min(n, NGX_HTTP_INTENT_LANE_CLAIM);

    n = ngx_http_intent_share_claim(lane, n);
    if (n == 0) {
        return;
    }

    lane->claim_due = 0;

    if (ngx_http_intent_store_lane_claim(&lane->store, n,
                                         ngx_http_intent_claim_done, lane)
        == NGX_OK)
    {
        step->busy = n;
        lane->ops++;
    }
}


static void
ngx_http_intent_claim_done(void *data, ngx_int_t rc,
    ngx_http_intent_store_rows_t *rows)
{
    ngx_http_intent_lane_t  *lane = data;

    ngx_uint_t              i, n, more;
    ngx_http_intent_job_t  *job;

    lane->ops--;

    if (rc != NGX_OK) {
        lane->claim.busy = 0;
        ngx_http_intent_lane_lose(lane);
        ngx_http_intent_share_claimed(lane, 0, 1);
        return;
    }

    n = ngx_http_intent_store_rows(rows);
    more = (n == lane->claim.busy);

    if (more) {
        lane->claim_due = 1;
    }

    lane->claim.busy = 0;

    /*
     * Rows read while the lane is closing are dropped: the statement that
     * gives its lock up gives up what it has claimed, too
     */

    for (i = 0; i < n && lane->state == NGX_HTTP_INTENT_LANE_RUNNING; i++) {

        job = ngx_http_intent_job_create(lane);
        if (job == NULL) {
            ngx_http_intent_lane_lose(lane);
            return;
        }

        if (ngx_http_intent_store_row(rows, i, job->pool, &job->intent, NULL)
            != NGX_OK)
        {
            ngx_http_intent_job_destroy(lane, job);
            ngx_http_intent_lane_lose(lane);
            return;
        }

        ngx_log_debug2(NGX_LOG_DEBUG_HTTP, lane->log, 0,
                       "intent lane \"%V\" claimed %V", &lane->conf->name,
                       &job->intent.id);

        job->claimed_at = ngx_current_msec;

        ngx_queue_insert_tail(&lane->claimed, &job->queue);
    }

    ngx_http_intent_share_claimed(lane, n, more);
    ngx_http_intent_lane_post(lane);
}


void
ngx_http_intent_lane_preflight(ngx_http_intent_lane_t *lane)
{
    ngx_queue_t                *q;
    ngx_http_intent_step_t     *step;
    ngx_http_intent_jsonrpc_t  *j;

    step = &lane->preflight;

    if (step->rpc || !lane->rpc_ok || ngx_queue_empty(&lane->claimed)) {
        return;
    }

    if (ngx_http_intent_preflight_take(lane) == 0) {
        return;
    }

    j = ngx_http_intent_jsonrpc_create();

    for (q = ngx_queue_head(&step->jobs);
         j && q != ngx_queue_sentinel(&step->jobs);
         q = ngx_queue_next(q))
    {
        if (ngx_http_intent_lane_ask_call(lane, j, "eth_estimateGas",
                                          ngx_http_intent_job(q), -1)
            != NGX_OK)
        {
            ngx_http_intent_jsonrpc_destroy(j);
            j = NULL;
        }
    }

    ngx_http_intent_step_ask(step, j, ngx_http_intent_preflight_done);
}


/* moves to the step what has to be estimated, and on what has not */

static ngx_uint_t
ngx_http_intent_preflight_take(ngx_http_intent_lane_t *lane)
{
    ngx_uint_t              n, done;
    ngx_queue_t            *q, *next;
    ngx_http_intent_job_t  *job;

    n = 0;
    done = 0;

    for (q = ngx_queue_head(&lane->claimed);
         q != ngx_queue_sentinel(&lane->claimed)
         && n < lane->batch
         && done < NGX_HTTP_INTENT_LANE_CLAIM;
         q = next)
    {
        next = ngx_queue_next(q);
        job = ngx_http_intent_job(q);

        if (job->not_before
            && (ngx_msec_int_t) (job->not_before - ngx_current_msec) > 0)
        {
            continue;
        }

        if (ngx_http_intent_job_give_back(lane, job)) {
            continue;
        }

        ngx_queue_remove(q);
        done++;

        if (ngx_http_intent_preflight_call(lane, job) != NGX_OK) {
            continue;
        }

        if (job->call.gas) {
            ngx_queue_insert_tail(&lane->ready, q);
            continue;
        }

        ngx_queue_insert_tail(&lane->preflight.jobs, q);
        n++;
    }

    if (done == NGX_HTTP_INTENT_LANE_CLAIM) {
        ngx_http_intent_lane_post(lane);
    }

    return n;
}


static ngx_int_t
ngx_http_intent_preflight_call(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job)
{
    ngx_int_t                rc;
    ngx_str_t                err;
    ngx_http_intent_type_t  *type;

    type = ngx_http_intent_type_find(&job->intent.type);

    if (type == NULL) {
        ngx_str_set(&err, "its type is not configured any more");
        ngx_http_intent_job_fail(lane, job, &err);
        return NGX_DECLINED;
    }

    rc = ngx_http_intent_type_call(type, &job->intent, job->pool, &job->call,
                                   &err);

    if (rc == NGX_OK) {
        return NGX_OK;
    }

    if (rc == NGX_ERROR) {
        ngx_str_set(&err, "no memory");
        ngx_http_intent_job_retry(lane, job, NGX_HTTP_INTENT_RPC_UNKNOWN,
                                  &err);
        return NGX_DECLINED;
    }

    ngx_http_intent_job_fail(lane, job, &err);

    return NGX_DECLINED;
}


static void
ngx_http_intent_preflight_done(void *data, ngx_http_intent_jsonrpc_t *j,
    ngx_int_t rc)
{
    ngx_http_intent_step_t  *step = data;

    ngx_uint_t               i, run;
    ngx_queue_t             *q;
    ngx_http_intent_job_t   *job;
    ngx_http_intent_lane_t  *lane;

    lane = step->lane;
    run = ngx_http_intent_lane_answered(step, j, rc);

    if (!run) {
        return;
    }

    for (i = 0; !ngx_queue_empty(&step->jobs); i++) {
        q = ngx_queue_head(&step->jobs);
        ngx_queue_remove(q);
        job = ngx_http_intent_job(q);

        if (rc != NGX_OK) {
            ngx_http_intent_job_retry(lane, job, NGX_HTTP_INTENT_RPC_UNKNOWN,
                                      &j->reason);
            continue;
        }

        ngx_http_intent_preflight_answer(lane, job, j, i);
    }

    ngx_http_intent_lane_post(lane);
}


static void
ngx_http_intent_preflight_answer(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job, ngx_http_intent_jsonrpc_t *j, ngx_uint_t i)
{
    int64_t      gas;
    json_t      *result;
    ngx_str_t    message;
    ngx_uint_t   class;

    result = ngx_http_intent_jsonrpc_result(j, i);

    if (result == NULL) {
        message = ngx_http_intent_jsonrpc_error(j, i);
        class = ngx_http_intent_rpc_classify(&message);

        if (class == NGX_HTTP_INTENT_RPC_REVERT
            || class == NGX_HTTP_INTENT_RPC_FATAL)
        {
            job->intent.attempts++;
            ngx_http_intent_job_fail(lane, job, &message);
            return;
        }

        ngx_http_intent_job_retry(lane, job, class, &message);
        return;
    }

    if (ngx_http_intent_json_int(result, &gas) != NGX_OK || gas <= 0) {
        ngx_str_set(&message, "the node answered with junk to "
                              "eth_estimateGas");
        ngx_http_intent_job_retry(lane, job, NGX_HTTP_INTENT_RPC_UNKNOWN,
                                  &message);
        return;
    }

    /*
     * A quarter more, for state may change until the block is made; a plain
     * transfer has a fixed price
     */

    job->call.gas = (gas == NGX_HTTP_INTENT_TRANSFER_GAS)
                    ? (uint64_t) gas : (uint64_t) gas + gas / 4;

    ngx_queue_insert_tail(&lane->ready, &job->queue);
}
