
/*
 * Whose a lane is.  Every worker of every host tries to get each lane's lock
 * in Postgres; who has it opens the lane, which shuts out whoever had it
 * before, reads what is unfinished, asks the chain where it stands, sends
 * again what was sent or may have been, and only then takes new work.
 */


#include "ngx_http_intent_lane.h"


#define NGX_HTTP_INTENT_LANE_TRY      250    /* ms, when somebody has it */
#define NGX_HTTP_INTENT_LANE_TRIES    120    /* so often, and then */
#define NGX_HTTP_INTENT_LANE_LATER    2000
#define NGX_HTTP_INTENT_LANE_IDLE    5000
#define NGX_HTTP_INTENT_LANE_AGAIN   1000    /* after it was given up */


static void ngx_http_intent_lane_init_steps(ngx_http_intent_lane_t *lane);
static void ngx_http_intent_lane_timer(ngx_event_t *ev);
static void ngx_http_intent_lane_posted(ngx_event_t *ev);
static void ngx_http_intent_lane_leave(ngx_http_intent_lane_t *lane,
    ngx_http_intent_rpc_endpoint_t *endpoint);
static void ngx_http_intent_lane_session(void *data, ngx_uint_t up);
static ngx_uint_t ngx_http_intent_lane_is_own(ngx_http_intent_lane_t *lane);
static void ngx_http_intent_lane_drain(void *data);
static void ngx_http_intent_lane_try(ngx_http_intent_lane_t *lane,
    ngx_msec_t delay);
static void ngx_http_intent_lane_locked(void *data, ngx_int_t rc,
    ngx_http_intent_store_rows_t *rows);
static void ngx_http_intent_lane_opened(void *data, ngx_int_t rc,
    ngx_http_intent_store_rows_t *rows);
static void ngx_http_intent_lane_loaded(void *data, ngx_int_t rc,
    ngx_http_intent_store_rows_t *rows);
static void ngx_http_intent_lane_loaded_rest(void *data, ngx_int_t rc,
    ngx_http_intent_store_rows_t *rows);
static ngx_int_t ngx_http_intent_lane_load_rows(ngx_http_intent_lane_t *lane,
    ngx_int_t rc, ngx_http_intent_store_rows_t *rows);
static ngx_int_t ngx_http_intent_lane_load_row(ngx_http_intent_lane_t *lane,
    ngx_http_intent_store_rows_t *rows, ngx_uint_t i);
static void ngx_http_intent_lane_load_call(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job);
static void ngx_http_intent_lane_load_old(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job, ngx_http_intent_old_tx_t *old,
    ngx_http_intent_store_tx_t *stx);
static ngx_uint_t ngx_http_intent_lane_is_empty(ngx_http_intent_lane_t *lane,
    evm_tx_t *tx);
static void ngx_http_intent_lane_ask_chain(ngx_http_intent_lane_t *lane);
static void ngx_http_intent_lane_chain_done(void *data,
    ngx_http_intent_jsonrpc_t *j, ngx_int_t rc);
static ngx_int_t ngx_http_intent_lane_check_chain(
    ngx_http_intent_lane_t *lane, ngx_http_intent_jsonrpc_t *j);
static ngx_int_t ngx_http_intent_lane_reconcile(ngx_http_intent_lane_t *lane);
static void ngx_http_intent_lane_closing(ngx_http_intent_lane_t *lane);
static void ngx_http_intent_lane_closed(void *data, ngx_int_t rc,
    ngx_http_intent_store_rows_t *rows);
static void ngx_http_intent_lane_away(ngx_http_intent_lane_t *lane);
static void ngx_http_intent_lane_clear(ngx_http_intent_lane_t *lane,
    ngx_queue_t *queue);


/*
 * What one of them moves on without waiting stands in the queue of a later
 * one, but for what has to wait anyway.
 */
static void  (*ngx_http_intent_lane_steps[])(ngx_http_intent_lane_t *lane) = {
    ngx_http_intent_lane_poll,
    ngx_http_intent_lane_search,
    ngx_http_intent_lane_verify,
    ngx_http_intent_lane_confirm,
    ngx_http_intent_lane_send,
    ngx_http_intent_lane_share,
    ngx_http_intent_lane_claim,
    ngx_http_intent_lane_preflight,
    ngx_http_intent_lane_save,
    ngx_http_intent_lane_record,
    NULL
};

/* what a timer's debug message reads the fd of */
static ngx_connection_t  ngx_http_intent_lane_dumb;


ngx_int_t
ngx_http_intent_lane_init(ngx_http_intent_lane_t *lane, ngx_log_t *log)
{
    ngx_uint_t               i;
    ngx_queue_t             *queues[] = { &lane->claimed, &lane->ready,
                                          &lane->unsent, &lane->sent,
                                          &lane->mined, &lane->suspect,
                                          &lane->outcome };

    for (i = 0; i < sizeof(queues) / sizeof(queues[0]); i++) {
        ngx_queue_init(queues[i]);
    }

    ngx_http_intent_lane_init_steps(lane);

    ngx_http_intent_lane_dumb.fd = (ngx_socket_t) -1;

    lane->log = log;
    lane->head = -1;

    lane->store.chain = lane->conf->name;
    lane->store.chain_id = (int64_t) lane->conf->chain_id;
    ngx_memcpy(lane->store.signer, lane->signer->address, EVM_ADDRESS_LEN);

    lane->timer.handler = ngx_http_intent_lane_timer;
    lane->timer.data = &ngx_http_intent_lane_dumb;
    lane->timer.log = log;
    lane->timer.cancelable = 1;

    lane->work.handler = ngx_http_intent_lane_posted;
    lane->work.data = &ngx_http_intent_lane_dumb;
    lane->work.log = log;

    if (ngx_http_intent_on_drain(ngx_http_intent_lane_drain, lane) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_intent_store_lane_session(ngx_http_intent_lane_session,
                                              lane);
}


static void
ngx_http_intent_lane_init_steps(ngx_http_intent_lane_t *lane)
{
    ngx_uint_t               i, n;
    ngx_http_intent_step_t  *steps[] = { &lane->open, &lane->claim,
                                         &lane->preflight, &lane->save,
                                         &lane->send, &lane->poll,
                                         &lane->verify, &lane->search,
                                         &lane->record };

    n = sizeof(steps) / sizeof(steps[0]);

    for (i = 0; i < NGX_HTTP_INTENT_LANE_STEPS; i++) {
        lane->steps[i] = (i < n) ? steps[i] : &lane->confirm[i - n];
        lane->steps[i]->lane = lane;
        ngx_queue_init(&lane->steps[i]->jobs);
    }
}


static void
ngx_http_intent_lane_timer(ngx_event_t *ev)
{
    ngx_msec_t               idle;
    ngx_http_intent_lane_t  *lane;

    lane = (ngx_http_intent_lane_t *)
                   ((u_char *) ev - offsetof(ngx_http_intent_lane_t, timer));

    switch (lane->state) {

    case NGX_HTTP_INTENT_LANE_AWAY:

        if (!lane->session || ngx_exiting) {
            return;
        }

        if (ngx_http_intent_store_lane_lock(&lane->store,
                                            ngx_http_intent_lane_locked, lane)
            == NGX_OK)
        {
            lane->state = NGX_HTTP_INTENT_LANE_OPENING;
            lane->ops++;
            return;
        }

        ngx_http_intent_lane_try(lane, NGX_HTTP_INTENT_LANE_TRY);
        return;

    case NGX_HTTP_INTENT_LANE_OPENING:

        ngx_http_intent_lane_seen(lane);
        ngx_http_intent_lane_ask_chain(lane);
        return;

    case NGX_HTTP_INTENT_LANE_RUNNING:

        ngx_http_intent_lane_seen(lane);

        /* an idle lane does not need every block, and nodes are paid for */

        idle = ngx_max(lane->conf->poll_interval, NGX_HTTP_INTENT_LANE_IDLE);

        lane->claim_due = 1;
        lane->poll_due = lane->njobs
                         || !lane->rpc_ok
                         || ngx_current_msec - lane->head_at >= idle;

        ngx_add_timer(&lane->timer, lane->conf->poll_interval);
        ngx_http_intent_lane_work(lane);
        return;

    default: /* NGX_HTTP_INTENT_LANE_CLOSING */
        return;
    }
}


static void
ngx_http_intent_lane_posted(ngx_event_t *ev)
{
    ngx_http_intent_lane_work((ngx_http_intent_lane_t *)
                   ((u_char *) ev - offsetof(ngx_http_intent_lane_t, work)));
}


void
ngx_http_intent_lane_post(ngx_http_intent_lane_t *lane)
{
    if (!lane->work.posted) {
        ngx_post_event(&lane->work, &ngx_posted_events);
    }
}


void
ngx_http_intent_lane_work(ngx_http_intent_lane_t *lane)
{
    ngx_uint_t  i;

    if (lane->state == NGX_HTTP_INTENT_LANE_CLOSING) {
        ngx_http_intent_lane_closing(lane);
        return;
    }

    /* any of them may give the lane up */

    for (i = 0;
         ngx_http_intent_lane_steps[i]
         && lane->state == NGX_HTTP_INTENT_LANE_RUNNING;
         i++)
    {
        ngx_http_intent_lane_steps[i](lane);
    }
}


ngx_http_intent_rpc_endpoint_t *
ngx_http_intent_lane_endpoint(ngx_http_intent_lane_t *lane)
{
    ngx_http_intent_rpc_endpoint_t  *endpoints;

    endpoints = lane->conf->endpoints.elts;

    return &endpoints[lane->endpoint % lane->conf->endpoints.nelts];
}


void
ngx_http_intent_step_ask(ngx_http_intent_step_t *step,
    ngx_http_intent_jsonrpc_t *j, ngx_http_intent_jsonrpc_pt handler)
{
    ngx_http_intent_lane_t          *lane;
    ngx_http_intent_rpc_endpoint_t  *e;

    lane = step->lane;
    step->rpc = j;

    e = (step == &lane->send)
        ? ngx_http_intent_endpoint_for_send(&lane->conf->endpoints,
                                            lane->endpoint)
        : ngx_http_intent_lane_endpoint(lane);

    if (j == NULL
        || ngx_http_intent_jsonrpc_send(j, e, handler, step) != NGX_OK)
    {
        step->rpc = NULL;
        ngx_http_intent_lane_lose(lane);
    }
}


ngx_uint_t
ngx_http_intent_lane_answered(ngx_http_intent_step_t *step,
    ngx_http_intent_jsonrpc_t *j, ngx_int_t rc)
{
    ngx_uint_t               level, *failures;
    ngx_http_intent_lane_t  *lane;

    lane = step->lane;
    step->rpc = NULL;

    failures = (step == &lane->poll) ? &lane->poll_failures
                                     : &lane->rpc_failures;

    if (rc == NGX_OK) {
        *failures = 0;

        if (step != &lane->poll) {
            lane->batch = ngx_min(lane->batch * 2, NGX_HTTP_INTENT_LANE_RPC);
        }

    } else {

        /* an outage is one line in the log */

        level = *failures ? NGX_LOG_INFO : NGX_LOG_ERR;

        ngx_log_error(level, lane->log, 0,
                      "intent chain \"%V\": rpc \"%V\" failed: %V",
                      &lane->conf->name, &j->endpoint->uri, &j->reason);

        /*
         * Nothing goes to the node until it has answered the poll that the
         * timer makes, and then in smaller pieces: it may be the size that
         * it does not take
         */

        lane->rpc_ok = 0;
        (*failures)++;

        if (step != &lane->poll) {
            lane->batch = ngx_max(lane->batch / 2, 1);
        }

        /* the first of several to fail: the others had begun before */

        if (j->endpoint == ngx_http_intent_lane_endpoint(lane)) {
            lane->endpoint = ngx_http_intent_endpoint_next(
                                 &lane->conf->endpoints, lane->endpoint);
        }

        if (step == &lane->poll
            && ngx_http_intent_endpoint_is_slow(j->endpoint))
        {
            ngx_http_intent_lane_leave(lane, j->endpoint);
        }
    }

    if (lane->state == NGX_HTTP_INTENT_LANE_CLOSING) {
        ngx_http_intent_lane_post(lane);
        return 0;
    }

    return lane->state != NGX_HTTP_INTENT_LANE_AWAY;
}


/* what a node that hangs was asked besides is asked of the next one */

static void
ngx_http_intent_lane_leave(ngx_http_intent_lane_t *lane,
    ngx_http_intent_rpc_endpoint_t *endpoint)
{
    ngx_uint_t               i;
    ngx_http_intent_step_t  *step;

    if (lane->conf->endpoints.nelts == 1) {
        return;
    }

    for (i = 0; i < NGX_HTTP_INTENT_LANE_STEPS; i++) {
        step = lane->steps[i];

        if (step->rpc && step->rpc->endpoint == endpoint) {
            ngx_http_intent_rpc_give_up(step->rpc->rpc);
        }
    }
}


static void
ngx_http_intent_lane_session(void *data, ngx_uint_t up)
{
    ngx_http_intent_lane_t  *lane = data;

    lane->session = up;

    if (up) {
        if (lane->state == NGX_HTTP_INTENT_LANE_AWAY) {
            ngx_http_intent_lane_try(lane,
                                     ngx_http_intent_lane_is_own(lane)
                                     ? 0 : NGX_HTTP_INTENT_LANE_TRY);
        }

        return;
    }

    /* and with the session its locks: somebody else may have the lane now */

    if (lane->state != NGX_HTTP_INTENT_LANE_AWAY) {
        ngx_log_error(NGX_LOG_WARN, lane->log, 0,
                      "intent chain \"%V\": the lane of %V is lost with the "
                      "session to Postgres", &lane->conf->name,
                      &lane->signer->name);

        ngx_http_intent_lane_lose(lane);
        ngx_http_intent_lane_closing(lane);
    }
}


/* with several workers each begins with its share of a chain's lanes */

static ngx_uint_t
ngx_http_intent_lane_is_own(ngx_http_intent_lane_t *lane)
{
    ngx_uint_t        i;
    ngx_core_conf_t  *ccf;

    i = lane - lane->conf->lanes;
    ccf = (ngx_core_conf_t *) ngx_get_conf(ngx_cycle->conf_ctx,
                                           ngx_core_module);

    return ccf->worker_processes <= 1
           || lane->conf->signers.nelts == 1
           || i % ccf->worker_processes == ngx_worker;
}


static void
ngx_http_intent_lane_drain(void *data)
{
    ngx_http_intent_lane_t  *lane = data;

    if (lane->timer.timer_set) {
        ngx_del_timer(&lane->timer);
    }

    if (lane->state == NGX_HTTP_INTENT_LANE_AWAY) {
        return;
    }

    /* what is under way ends first: an answer thrown away is asked for again */

    ngx_http_intent_hold();
    lane->held = 1;

    lane->state = NGX_HTTP_INTENT_LANE_CLOSING;
    ngx_http_intent_lane_post(lane);
}


static void
ngx_http_intent_lane_try(ngx_http_intent_lane_t *lane, ngx_msec_t delay)
{
    /* workers that start together do not stay together */

    delay += ngx_random() % (delay / 4 + 1);

    if (!ngx_exiting) {
        ngx_add_timer(&lane->timer, delay);
    }
}


static void
ngx_http_intent_lane_locked(void *data, ngx_int_t rc,
    ngx_http_intent_store_rows_t *rows)
{
    ngx_http_intent_lane_t  *lane = data;

    lane->ops--;
    lane->locked = (rc == NGX_OK);

    if (rc != NGX_ERROR) {
        ngx_http_intent_lane_seen(lane);
    }

    if (lane->state == NGX_HTTP_INTENT_LANE_CLOSING) {
        ngx_http_intent_lane_post(lane);
        return;
    }

    if (rc != NGX_OK) {

        /* often at first: the one who has it may be about to leave */

        lane->state = NGX_HTTP_INTENT_LANE_AWAY;
        ngx_http_intent_lane_try(lane,
                                 lane->tries++ < NGX_HTTP_INTENT_LANE_TRIES
                                 ? NGX_HTTP_INTENT_LANE_TRY
                                 : NGX_HTTP_INTENT_LANE_LATER);
        return;
    }

    lane->tries = 0;

    if (ngx_http_intent_store_lane_open(&lane->store,
                                        ngx_http_intent_lane_opened, lane)
        != NGX_OK)
    {
        ngx_http_intent_lane_lose(lane);
        return;
    }

    lane->ops++;
}


static void
ngx_http_intent_lane_opened(void *data, ngx_int_t rc,
    ngx_http_intent_store_rows_t *rows)
{
    ngx_http_intent_lane_t  *lane = data;

    lane->ops--;

    if (rc != NGX_OK
        || lane->state == NGX_HTTP_INTENT_LANE_CLOSING
        || ngx_http_intent_store_lane_load(&lane->store, -1,
                                           ngx_http_intent_lane_loaded, lane)
           != NGX_OK)
    {
        ngx_http_intent_lane_lose(lane);
        return;
    }

    lane->ops++;
}


/* page by page: there may be more than is good for one statement */

static void
ngx_http_intent_lane_loaded(void *data, ngx_int_t rc,
    ngx_http_intent_store_rows_t *rows)
{
    ngx_http_intent_lane_t  *lane = data;

    ngx_int_t               n;
    ngx_http_intent_job_t  *last;

    n = ngx_http_intent_lane_load_rows(lane, rc, rows);

    if (n == 0) {
        rc = ngx_http_intent_store_lane_load_rest(&lane->store, NULL,
                                         ngx_http_intent_lane_loaded_rest,
                                         lane);

    } else if (n > 0) {
        last = ngx_http_intent_job(ngx_queue_last(&lane->unsent));

        rc = ngx_http_intent_store_lane_load(&lane->store, last->tx.nonce,
                                             ngx_http_intent_lane_loaded,
                                             lane);
    }

    if (n < 0 || rc != NGX_OK) {
        ngx_http_intent_lane_lose(lane);
        return;
    }

    lane->ops++;
}


static void
ngx_http_intent_lane_loaded_rest(void *data, ngx_int_t rc,
    ngx_http_intent_store_rows_t *rows)
{
    ngx_http_intent_lane_t  *lane = data;

    ngx_int_t               n;
    ngx_http_intent_job_t  *last;

    n = ngx_http_intent_lane_load_rows(lane, rc, rows);

    if (n < 0) {
        ngx_http_intent_lane_lose(lane);
        return;
    }

    if (n > 0) {
        last = ngx_http_intent_job(ngx_queue_last(&lane->claimed));

        if (ngx_http_intent_store_lane_load_rest(&lane->store,
                                         &last->intent.id,
                                         ngx_http_intent_lane_loaded_rest,
                                         lane)
            != NGX_OK)
        {
            ngx_http_intent_lane_lose(lane);
            return;
        }

        lane->ops++;
        return;
    }

    ngx_log_error(NGX_LOG_NOTICE, lane->log, 0,
                  "intent chain \"%V\": this worker has the lane of %V, "
                  "epoch %L, %ui unfinished", &lane->conf->name,
                  &lane->signer->name, lane->store.epoch, lane->njobs);

    ngx_http_intent_lane_strays(lane);
    ngx_http_intent_lane_ask_chain(lane);
}


/* how many rows there were */

static ngx_int_t
ngx_http_intent_lane_load_rows(ngx_http_intent_lane_t *lane, ngx_int_t rc,
    ngx_http_intent_store_rows_t *rows)
{
    ngx_uint_t  i, n;

    lane->ops--;

    if (rc != NGX_OK || lane->state == NGX_HTTP_INTENT_LANE_CLOSING) {
        return NGX_ERROR;
    }

    n = ngx_http_intent_store_rows(rows);

    for (i = 0; i < n; i++) {
        if (ngx_http_intent_lane_load_row(lane, rows, i) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return (ngx_int_t) n;
}


static ngx_int_t
ngx_http_intent_lane_load_row(ngx_http_intent_lane_t *lane,
    ngx_http_intent_store_rows_t *rows, ngx_uint_t i)
{
    ngx_queue_t                 *q;
    ngx_http_intent_job_t       *job, *last;
    ngx_http_intent_old_tx_t    *old;
    ngx_http_intent_store_tx_t   tx;

    job = ngx_http_intent_job_create(lane);
    if (job == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_intent_store_row(rows, i, job->pool, &job->intent, &tx)
        != NGX_OK)
    {
        ngx_http_intent_job_destroy(lane, job);
        return NGX_ERROR;
    }

    if (tx.nonce < 0) {
        ngx_queue_insert_tail(&lane->claimed, &job->queue);
        return NGX_OK;
    }

    /* rows come by nonce, the live one first */

    if (!ngx_queue_empty(&lane->unsent)) {
        q = ngx_queue_last(&lane->unsent);
        last = ngx_http_intent_job(q);

        if (last->tx.nonce == tx.nonce) {
            old = ngx_http_intent_job_old(last, tx.hash);

            if (old) {
                ngx_http_intent_lane_load_old(lane, last, old, &tx);
            }

            ngx_http_intent_job_destroy(lane, job);
            return old ? NGX_OK : NGX_ERROR;
        }
    }

    job->tx = tx;
    job->tx.intent_id = job->intent.id;
    ngx_http_intent_lane_load_call(lane, job);

    ngx_queue_insert_tail(&lane->unsent, &job->queue);

    return NGX_OK;
}


/* what the transaction does, from its bytes, should it be signed again */

static void
ngx_http_intent_lane_load_call(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job)
{
    u_char      from[EVM_ADDRESS_LEN], hash[32];
    evm_tx_t    tx;
    evm_u256_t  cost;

    if (evm_tx_decode(job->tx.raw.data, job->tx.raw.len, &tx, from, hash)
        != EVM_OK)
    {
        ngx_log_error(NGX_LOG_ALERT, lane->log, 0,
                      "intent chain \"%V\": the saved bytes of nonce %L are "
                      "not a transaction", &lane->conf->name, job->tx.nonce);
        return;
    }

    ngx_memcpy(job->call.to, tx.to, EVM_ADDRESS_LEN);
    job->call.value = tx.value;
    job->call.gas = tx.gas_limit;
    job->call.data.data = (u_char *) tx.data;
    job->call.data.len = tx.data_len;

    job->max_fee = tx.max_fee_per_gas;
    job->tip = tx.max_priority_fee_per_gas;

    ngx_http_intent_job_cost(job, &cost);
    ngx_http_intent_job_spend(lane, job, &cost);

    job->cancel = !ngx_http_intent_job_is_filler(job)
                  && ngx_http_intent_lane_is_empty(lane, &tx)
                  && job->intent.error.len;

    job->again = job->cancel
                 && ngx_http_intent_rpc_classify(&job->intent.error)
                    == NGX_HTTP_INTENT_RPC_FUNDS;
}


static void
ngx_http_intent_lane_load_old(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job, ngx_http_intent_old_tx_t *old,
    ngx_http_intent_store_tx_t *stx)
{
    u_char    from[EVM_ADDRESS_LEN], hash[32];
    evm_tx_t  tx;

    if (evm_tx_decode(stx->raw.data, stx->raw.len, &tx, from, hash)
        != EVM_OK)
    {
        return;
    }

    old->max_fee = tx.max_fee_per_gas;
    old->cancel = job->cancel && ngx_http_intent_lane_is_empty(lane, &tx);
}


static ngx_uint_t
ngx_http_intent_lane_is_empty(ngx_http_intent_lane_t *lane, evm_tx_t *tx)
{
    return tx->data_len == 0
           && evm_u256_is_zero(&tx->value)
           && ngx_memcmp(tx->to, lane->signer->address, EVM_ADDRESS_LEN) == 0;
}


/* is it the chain it should be, and which nonces has it seen? */

static void
ngx_http_intent_lane_ask_chain(ngx_http_intent_lane_t *lane)
{
    ngx_str_t                  *name;
    ngx_msec_t                  wait;
    ngx_http_intent_step_t     *step;
    ngx_http_intent_jsonrpc_t  *j;

    step = &lane->open;
    name = &lane->signer->name;

    if (step->rpc) {
        return;
    }

    wait = ngx_http_intent_endpoint_wait(&lane->conf->endpoints);

    if (wait) {
        ngx_add_timer(&lane->timer, wait);
        return;
    }

    lane->endpoint = ngx_http_intent_endpoint_keep(&lane->conf->endpoints,
                                                   lane->endpoint,
                                                   &lane->chosen_at);

    j = ngx_http_intent_jsonrpc_create();
    if (j == NULL) {
        ngx_http_intent_lane_lose(lane);
        return;
    }

    if (ngx_http_intent_jsonrpc_add(j, "eth_chainId", 1, "") != NGX_OK
        || ngx_http_intent_jsonrpc_add(j, "eth_getTransactionCount", 64,
                                       "\"%V\",\"latest\"", name)
           != NGX_OK
        || ngx_http_intent_jsonrpc_add(j, "eth_getTransactionCount", 64,
                                       "\"%V\",\"pending\"", name)
           != NGX_OK)
    {
        ngx_http_intent_jsonrpc_destroy(j);
        ngx_http_intent_lane_lose(lane);
        return;
    }

    ngx_http_intent_step_ask(step, j, ngx_http_intent_lane_chain_done);
}


static void
ngx_http_intent_lane_chain_done(void *data, ngx_http_intent_jsonrpc_t *j,
    ngx_int_t rc)
{
    ngx_http_intent_step_t  *step = data;

    ngx_http_intent_lane_t  *lane;

    lane = step->lane;

    if (rc == NGX_OK) {
        rc = ngx_http_intent_lane_check_chain(lane, j);
    }

    if (!ngx_http_intent_lane_answered(step, j, rc)) {
        return;
    }

    if (rc != NGX_OK) {

        /* the lane stays ours meanwhile: nobody else would do better */

        ngx_add_timer(&lane->timer, ngx_max(lane->conf->poll_interval,
                                            NGX_HTTP_INTENT_LANE_TRY));
        return;
    }

    if (ngx_http_intent_lane_reconcile(lane) != NGX_OK) {
        ngx_http_intent_lane_lose(lane);
        return;
    }

    lane->state = NGX_HTTP_INTENT_LANE_RUNNING;
    lane->rpc_ok = 1;
    lane->poll_failures = 0;
    lane->batch = NGX_HTTP_INTENT_LANE_RPC;
    lane->claim_due = 1;
    lane->poll_due = 1;
    lane->confirm_due = 1;
    lane->send_held = 0;
    lane->short_at = 0;

    ngx_http_intent_share_begin(lane);
    ngx_add_timer(&lane->timer, lane->conf->poll_interval);
    ngx_http_intent_lane_work(lane);
}


static ngx_int_t
ngx_http_intent_lane_check_chain(ngx_http_intent_lane_t *lane,
    ngx_http_intent_jsonrpc_t *j)
{
    int64_t     id, latest, pending;
    ngx_uint_t  level;

    if (ngx_http_intent_json_int(ngx_http_intent_jsonrpc_result(j, 0), &id)
        != NGX_OK
        || ngx_http_intent_json_int(ngx_http_intent_jsonrpc_result(j, 1),
                                    &latest)
           != NGX_OK)
    {
        ngx_str_set(&j->reason, "it does not tell its chain id and the "
                                "signer's nonce");
        return NGX_ERROR;
    }

    if (id != (int64_t) lane->conf->chain_id) {
        level = lane->rpc_failures ? NGX_LOG_INFO : NGX_LOG_ERR;

        ngx_log_error(level, lane->log, 0,
                      "intent chain \"%V\": rpc \"%V\" is on chain %L, "
                      "\"chain_id\" says %uL", &lane->conf->name,
                      &j->endpoint->uri, id, lane->conf->chain_id);

        ngx_str_set(&j->reason, "the wrong chain");
        return NGX_ERROR;
    }

    /* not every node has a pending block */

    if (ngx_http_intent_json_int(ngx_http_intent_jsonrpc_result(j, 2),
                                 &pending)
        != NGX_OK)
    {
        pending = latest;
    }

    lane->nonce = latest;
    lane->pending_nonce = ngx_max(pending, latest);

    return NGX_OK;
}


/*
 * The next nonce is the first one that neither the chain, nor its pool, nor
 * an unfinished transaction has.  Where Postgres remembers more than that,
 * the chain has forgotten it: a test chain started anew.  Nonces below it
 * that nothing of ours will use are filled.
 */

static ngx_int_t
ngx_http_intent_lane_reconcile(ngx_http_intent_lane_t *lane)
{
    int64_t                 nonce, next;
    ngx_queue_t            *q;
    ngx_http_intent_job_t  *job;

    next = lane->pending_nonce;

    if (!ngx_queue_empty(&lane->unsent)) {
        q = ngx_queue_last(&lane->unsent);
        job = ngx_http_intent_job(q);
        next = ngx_max(next, job->tx.nonce + 1);
    }

    if (next != lane->store.next_nonce) {
        ngx_log_error(NGX_LOG_NOTICE, lane->log, 0,
                      "intent chain \"%V\": the next nonce of %V is %L, not "
                      "%L: the chain is at %L, its pool at %L",
                      &lane->conf->name, &lane->signer->name, next,
                      lane->store.next_nonce, lane->nonce,
                      lane->pending_nonce);
    }

    lane->store.next_nonce = next;

    nonce = lane->pending_nonce;

    for (q = ngx_queue_head(&lane->unsent);
         q != ngx_queue_sentinel(&lane->unsent);
         q = ngx_queue_next(q))
    {
        job = ngx_http_intent_job(q);

        for ( /* void */ ; nonce < job->tx.nonce; nonce++) {
            if (ngx_http_intent_job_fill(lane, nonce) != NGX_OK) {
                return NGX_ERROR;
            }
        }

        nonce = ngx_max(nonce, job->tx.nonce + 1);
    }

    return NGX_OK;
}


void
ngx_http_intent_lane_lose(ngx_http_intent_lane_t *lane)
{
    if (lane->state == NGX_HTTP_INTENT_LANE_AWAY) {
        return;
    }

    lane->state = NGX_HTTP_INTENT_LANE_CLOSING;
    ngx_http_intent_lane_post(lane);
}


/* when nothing refers to the jobs any more they go, and then the lock */

static void
ngx_http_intent_lane_closing(ngx_http_intent_lane_t *lane)
{
    ngx_uint_t               i;
    ngx_queue_t             *queues[] = { &lane->claimed, &lane->ready,
                                          &lane->unsent, &lane->sent,
                                          &lane->mined, &lane->suspect,
                                          &lane->outcome };
    ngx_http_intent_step_t  *step;

    if (lane->timer.timer_set) {
        ngx_del_timer(&lane->timer);
    }

    for (i = 0; i < NGX_HTTP_INTENT_LANE_STEPS; i++) {
        step = lane->steps[i];

        if (step->rpc == NULL) {
            continue;
        }

        /* a transaction on its way is worth waiting for, a question is not */

        if (lane->held && step == &lane->send) {
            return;
        }

        ngx_http_intent_rpc_cancel(step->rpc->rpc);
        step->rpc = NULL;
    }

    if (lane->ops) {
        return;
    }

    for (i = 0; i < sizeof(queues) / sizeof(queues[0]); i++) {
        ngx_http_intent_lane_clear(lane, queues[i]);
    }

    for (i = 0; i < NGX_HTTP_INTENT_LANE_STEPS; i++) {
        ngx_http_intent_lane_clear(lane, &lane->steps[i]->jobs);
    }

    if (lane->session
        && lane->locked
        && ngx_http_intent_store_lane_close(&lane->store,
                                            ngx_http_intent_lane_closed, lane)
           == NGX_OK)
    {
        lane->ops++;
        return;
    }

    ngx_http_intent_lane_away(lane);
}


static void
ngx_http_intent_lane_closed(void *data, ngx_int_t rc,
    ngx_http_intent_store_rows_t *rows)
{
    ngx_http_intent_lane_t  *lane = data;

    lane->ops--;

    /* whatever kept it from giving the lock up does not keep the session */

    if (rc != NGX_OK && lane->session) {
        ngx_http_intent_store_lane_reset();
    }

    ngx_http_intent_lane_away(lane);
}


static void
ngx_http_intent_lane_away(ngx_http_intent_lane_t *lane)
{
    ngx_http_intent_share_end(lane);

    lane->state = NGX_HTTP_INTENT_LANE_AWAY;
    lane->locked = 0;
    lane->head = -1;
    lane->rpc_ok = 0;
    lane->broke = 0;
    lane->refusals = 0;
    lane->top = 0;
    lane->floor = 0;
    lane->behind = 0;
    lane->gap = 0;
    lane->forgotten = 0;
    lane->moved_at = 0;
    lane->priced = 0;
    lane->save.singly = 0;
    lane->sign_failures = 0;
    lane->sign_singly = 0;
    lane->record.singly = 0;
    evm_u256_set(&lane->spent, 0);

    if (lane->work.posted) {
        ngx_delete_posted_event(&lane->work);
    }

    ngx_log_error(NGX_LOG_NOTICE, lane->log, 0,
                  "intent chain \"%V\": this worker gave up the lane of %V",
                  &lane->conf->name, &lane->signer->name);

    if (lane->held) {
        lane->held = 0;
        ngx_http_intent_release();
        return;
    }

    if (lane->session) {
        ngx_http_intent_lane_try(lane, NGX_HTTP_INTENT_LANE_AGAIN);
    }
}


static void
ngx_http_intent_lane_clear(ngx_http_intent_lane_t *lane, ngx_queue_t *queue)
{
    ngx_queue_t  *q;

    while (!ngx_queue_empty(queue)) {
        q = ngx_queue_head(queue);
        ngx_queue_remove(q);
        ngx_http_intent_job_destroy(lane, ngx_http_intent_job(q));
    }
}
