
/*
 * From a saved transaction to one that a node has.
 */


#include "ngx_http_intent_lane.h"


/* how often a node may refuse a transaction before it is given up */
#define NGX_HTTP_INTENT_REFUSED    20


static int64_t ngx_http_intent_send_limit(ngx_http_intent_lane_t *lane);
static ngx_int_t ngx_http_intent_send_ask(ngx_http_intent_jsonrpc_t *j,
    ngx_http_intent_job_t *job);
static void ngx_http_intent_send_done(void *data,
    ngx_http_intent_jsonrpc_t *j, ngx_int_t rc);
static void ngx_http_intent_send_answer(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job, ngx_http_intent_jsonrpc_t *j, ngx_uint_t i);
static void ngx_http_intent_send_refused(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job, ngx_uint_t class, ngx_str_t *message);
static void ngx_http_intent_send_taken(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job);
static void ngx_http_intent_send_cancel(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job, ngx_uint_t class, ngx_str_t *message);
static void ngx_http_intent_send_later(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job, ngx_uint_t class, ngx_str_t *message);


void
ngx_http_intent_lane_send(ngx_http_intent_lane_t *lane)
{
    int64_t                     limit;
    ngx_uint_t                  n;
    ngx_queue_t                *q;
    ngx_http_intent_job_t      *job;
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

    limit = ngx_http_intent_send_limit(lane);

    for (n = 0; n < lane->batch && !ngx_queue_empty(&lane->unsent); n++) {
        q = ngx_queue_head(&lane->unsent);

        job = ngx_http_intent_job(q);

        if (job->tx.nonce >= limit) {
            break;
        }

        ngx_queue_remove(q);
        ngx_queue_insert_tail(&step->jobs, q);
    }

    if (n == 0) {
        return;
    }

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


/*
 * What is behind a nonce that no node has would only be queued, and some
 * nodes keep few of those.
 */

static int64_t
ngx_http_intent_send_limit(ngx_http_intent_lane_t *lane)
{
    int64_t                 limit;
    ngx_uint_t              i;
    ngx_queue_t            *q, *queues[] = { &lane->ready, &lane->save.jobs };
    ngx_http_intent_job_t  *job;

    limit = INT64_MAX;

    for (i = 0; i < sizeof(queues) / sizeof(queues[0]); i++) {

        for (q = ngx_queue_head(queues[i]);
             q != ngx_queue_sentinel(queues[i]);
             q = ngx_queue_next(q))
        {
            job = ngx_http_intent_job(q);

            if (job->tx.nonce < 0) {
                break;
            }

            if (!job->pooled) {
                limit = ngx_min(limit, job->tx.nonce);
                break;
            }
        }
    }

    return limit;
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

    case NGX_HTTP_INTENT_RPC_REPLACEMENT:

        /* one of ours has it, and more has to be paid than for that one */

        if (job->old && ngx_http_intent_job_bump(lane, job) == NGX_OK) {
            return;
        }

        /* fall through */

    case NGX_HTTP_INTENT_RPC_NONCE_LOW:

        /* the receipts will tell whose transaction has the nonce */

        lane->confirm_due = 1;
        break;

    case NGX_HTTP_INTENT_RPC_UNDERPRICED:

        /* a new look at what the chain wants, once, and then another price */

        lane->poll_due |= !job->underpriced;
        job->underpriced = 1;
        ngx_http_intent_job_demand(job, &message);
        ngx_http_intent_send_later(lane, job, class, &message);
        return;

    case NGX_HTTP_INTENT_RPC_REVERT:
    case NGX_HTTP_INTENT_RPC_FATAL:
    case NGX_HTTP_INTENT_RPC_FUNDS:
    case NGX_HTTP_INTENT_RPC_FEE_CAP:
    case NGX_HTTP_INTENT_RPC_UNKNOWN:
        ngx_http_intent_send_refused(lane, job, class, &message);
        return;

    default:
        ngx_http_intent_send_later(lane, job, class, &message);
        return;
    }

    ngx_http_intent_send_taken(lane, job);
}


static void
ngx_http_intent_send_refused(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job, ngx_uint_t class, ngx_str_t *message)
{
    ngx_uint_t  never;

    /* the one before it pays less, and is where it was */

    if (job->bump && job->pooled) {
        ngx_log_error(NGX_LOG_WARN, lane->log, 0,
                      "intent chain \"%V\" does not take nonce %L for "
                      "more: %V, the cheaper one stays", &lane->conf->name,
                      job->tx.nonce, message);

        ngx_http_intent_send_taken(lane, job);
        return;
    }

    never = class != NGX_HTTP_INTENT_RPC_FEE_CAP
            && class != NGX_HTTP_INTENT_RPC_UNKNOWN;

    /* or said plainly and again and again, in whatever words */

    if (!job->cancel
        && !ngx_http_intent_job_is_filler(job)
        && (never || ++job->refused >= NGX_HTTP_INTENT_REFUSED))
    {
        ngx_http_intent_send_cancel(lane, job, class, message);
        return;
    }

    ngx_http_intent_send_later(lane, job, class, message);
}


static void
ngx_http_intent_send_taken(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job)
{
    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, lane->log, 0,
                   "intent lane \"%V\" sent nonce %L of %V",
                   &lane->conf->name, job->tx.nonce, &job->intent.id);

    job->sent_at = ngx_current_msec;
    job->sent_head = lane->head;
    job->refused = 0;
    job->bump = 0;
    job->underpriced = 0;
    job->pooled = 1;
    lane->refusals = 0;

    if (job->taken_at == 0) {
        job->taken_at = ngx_current_msec;
        job->taken_head = lane->head;
    }

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
    ngx_log_error(NGX_LOG_ERR, lane->log, 0,
                  "intent chain \"%V\" refused nonce %L, intent \"%V\": %V",
                  &lane->conf->name, job->tx.nonce, &job->intent.id, message);

    job->intent.error.len = message->len;
    job->intent.error.data = ngx_pstrdup(job->pool, message);

    if (job->intent.error.data == NULL
        || ngx_http_intent_job_replace(job) != NGX_OK)
    {
        ngx_queue_insert_tail(&lane->unsent, &job->queue);
        ngx_http_intent_lane_lose(lane);
        return;
    }

    job->cancel = 1;
    job->bump = 0;
    job->pooled = 0;

    /* what lacks is money: it may be there by then */

    job->again = (class == NGX_HTTP_INTENT_RPC_FUNDS);

    ngx_http_intent_job_ready(lane, job);
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

    /* another node may have room for it, or other words */

    if (!lane->send_held) {
        lane->endpoint = ngx_http_intent_endpoint_next(&lane->conf->endpoints,
                                                       lane->endpoint);
    }

    lane->send_held = 1;

    ngx_http_intent_job_insert(&lane->unsent, job);
}
