
/*
 * Signatures of a remote signer: eth_signTransaction, for many transactions
 * in one call.  Between the nonce and the commit, as with a key that is here:
 * what comes back is read, and saved only if it is what was asked for, to the
 * last field.  Until then nothing has happened: a nonce that was meant for it
 * is given to another, and a transaction that it was to replace stays.
 */


#include "ngx_http_intent_endpoint.h"
#include "ngx_http_intent_lane.h"


#define NGX_HTTP_INTENT_SIGN_REASON  512

/* ms; so long one that has not taken a batch is asked one by one */
#define NGX_HTTP_INTENT_SIGN_SINGLY  600000

/* ms; how often it is looked who waits for a signer for too long */
#define NGX_HTTP_INTENT_SIGN_LOOK    1000


static void ngx_http_intent_sign_ask(ngx_http_intent_lane_t *lane);
static ngx_int_t ngx_http_intent_sign_add(ngx_http_intent_lane_t *lane,
    ngx_http_intent_jsonrpc_t *j, ngx_http_intent_job_t *job);
static void ngx_http_intent_sign_done(void *data,
    ngx_http_intent_jsonrpc_t *j, ngx_int_t rc);
static ngx_int_t ngx_http_intent_sign_answers(ngx_http_intent_lane_t *lane,
    ngx_http_intent_jsonrpc_t *j);
static ngx_int_t ngx_http_intent_sign_answer(ngx_http_intent_lane_t *lane,
    ngx_http_intent_jsonrpc_t *j, ngx_uint_t i, ngx_http_intent_job_t *job);
static const char *ngx_http_intent_sign_read(ngx_http_intent_lane_t *lane,
    ngx_http_intent_jsonrpc_t *j, json_t *result,
    ngx_http_intent_job_t *job);
static const char *ngx_http_intent_sign_differs(evm_tx_t *asked,
    evm_tx_t *tx);
static ngx_int_t ngx_http_intent_sign_declined(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job, ngx_str_t *words);
static ngx_uint_t ngx_http_intent_sign_refusal(ngx_http_intent_jsonrpc_t *j,
    ngx_str_t *words);
static ngx_uint_t ngx_http_intent_sign_takes_no_batch(
    ngx_http_intent_lane_t *lane, ngx_http_intent_jsonrpc_t *j);
static void ngx_http_intent_sign_failed(ngx_http_intent_lane_t *lane,
    ngx_str_t *reason);
static void ngx_http_intent_sign_works(ngx_http_intent_lane_t *lane);
static void ngx_http_intent_sign_finish(ngx_http_intent_lane_t *lane);
static ngx_int_t ngx_http_intent_sign_back(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job);
static ngx_int_t ngx_http_intent_sign_no_nonce(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job);
static void ngx_http_intent_sign_first(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job);
static ngx_uint_t ngx_http_intent_sign_undo(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job);


#define ngx_http_intent_sign_uri(lane)                                        \
    (&((ngx_http_intent_rpc_endpoint_t *) (lane)->signer->remote->elts)->uri)


ngx_uint_t
ngx_http_intent_lane_sign_waits(ngx_http_intent_lane_t *lane)
{
    if (lane->signer->remote == NULL) {
        return 0;
    }

    return (lane->sign_failures
            && (ngx_msec_int_t) (lane->sign_at - ngx_current_msec) > 0)
           || ngx_http_intent_endpoint_wait(lane->signer->remote);
}


void
ngx_http_intent_lane_sign_late(ngx_http_intent_lane_t *lane)
{
    ngx_queue_t            *q, *next;
    ngx_http_intent_job_t  *job;

    if (ngx_current_msec - lane->sign_looked_at < NGX_HTTP_INTENT_SIGN_LOOK) {
        return;
    }

    lane->sign_looked_at = ngx_current_msec;

    for (q = ngx_queue_head(&lane->ready);
         q != ngx_queue_sentinel(&lane->ready);
         q = next)
    {
        next = ngx_queue_next(q);
        job = ngx_http_intent_job(q);

        if (job->tx.nonce < 0) {
            (void) ngx_http_intent_job_give_back(lane, job);
        }
    }
}


void
ngx_http_intent_lane_sign(ngx_http_intent_lane_t *lane)
{
    if (lane->sign_singly
        && ngx_current_msec - lane->sign_singly_at
           > NGX_HTTP_INTENT_SIGN_SINGLY)
    {
        lane->sign_singly = 0;
    }

    ngx_http_intent_sign_ask(lane);
}


/* the first of those that are not signed yet */

static void
ngx_http_intent_sign_ask(ngx_http_intent_lane_t *lane)
{
    ngx_uint_t                  most;
    ngx_queue_t                *q;
    ngx_http_intent_job_t      *job;
    ngx_http_intent_step_t     *step;
    ngx_http_intent_jsonrpc_t  *j;

    step = &lane->save;
    most = lane->sign_singly ? 1 : NGX_HTTP_INTENT_LANE_SIGN;

    j = ngx_http_intent_jsonrpc_create();
    if (j == NULL) {
        ngx_http_intent_lane_lose(lane);
        return;
    }

    for (q = ngx_queue_head(&step->jobs);
         q != ngx_queue_sentinel(&step->jobs) && j->n < most;
         q = ngx_queue_next(q))
    {
        job = ngx_http_intent_job(q);

        if (job->signed_raw.len) {
            continue;
        }

        if (ngx_http_intent_sign_add(lane, j, job) != NGX_OK) {
            ngx_http_intent_jsonrpc_destroy(j);
            ngx_http_intent_lane_lose(lane);
            return;
        }
    }

    step->rpc = j;

    if (ngx_http_intent_jsonrpc_send(j, lane->signer->remote->elts,
                                     ngx_http_intent_sign_done, step)
        != NGX_OK)
    {
        step->rpc = NULL;
        ngx_http_intent_lane_lose(lane);
    }
}


static ngx_int_t
ngx_http_intent_sign_add(ngx_http_intent_lane_t *lane,
    ngx_http_intent_jsonrpc_t *j, ngx_http_intent_job_t *job)
{
    u_char    *data;
    char       to[EVM_ADDRESS_STR_LEN], value[EVM_U256_HEX_LEN],
               fee[EVM_U256_HEX_LEN], tip[EVM_U256_HEX_LEN];
    size_t     data_len, value_len, fee_len, tip_len, size;
    evm_tx_t  *tx;

    tx = &job->asked;

    data = ngx_pnalloc(j->pool, 2 + 2 * tx->data_len);
    if (data == NULL) {
        return NGX_ERROR;
    }

    data_len = evm_hex_encode(tx->data, tx->data_len, (char *) data);
    value_len = evm_u256_to_hex(&tx->value, value);
    fee_len = evm_u256_to_hex(&tx->max_fee_per_gas, fee);
    tip_len = evm_u256_to_hex(&tx->max_priority_fee_per_gas, tip);
    evm_address_format(tx->to, to);

    size = 512 + value_len + fee_len + tip_len + data_len;

    if (tx->legacy) {
        return ngx_http_intent_jsonrpc_add(j, "eth_signTransaction", size,
                   "{\"from\":\"%V\",\"to\":\"%*s\",\"gas\":\"0x%xL\","
                   "\"gasPrice\":\"%*s\",\"value\":\"%*s\","
                   "\"nonce\":\"0x%xL\",\"chainId\":\"0x%xL\","
                   "\"data\":\"%*s\"}",
                   &lane->signer->name, (size_t) EVM_ADDRESS_STR_LEN, to,
                   (int64_t) tx->gas_limit, fee_len, fee, value_len, value,
                   (int64_t) tx->nonce, (int64_t) tx->chain_id,
                   data_len, data);
    }

    return ngx_http_intent_jsonrpc_add(j, "eth_signTransaction", size,
               "{\"from\":\"%V\",\"to\":\"%*s\",\"gas\":\"0x%xL\","
               "\"maxFeePerGas\":\"%*s\",\"maxPriorityFeePerGas\":\"%*s\","
               "\"value\":\"%*s\",\"nonce\":\"0x%xL\",\"chainId\":\"0x%xL\","
               "\"data\":\"%*s\"}",
               &lane->signer->name, (size_t) EVM_ADDRESS_STR_LEN, to,
               (int64_t) tx->gas_limit, fee_len, fee, tip_len, tip,
               value_len, value, (int64_t) tx->nonce,
               (int64_t) tx->chain_id, data_len, data);
}


static void
ngx_http_intent_sign_done(void *data, ngx_http_intent_jsonrpc_t *j,
    ngx_int_t rc)
{
    ngx_http_intent_step_t  *step = data;

    ngx_str_t                words;
    ngx_http_intent_job_t   *job;
    ngx_http_intent_lane_t  *lane;

    lane = step->lane;
    step->rpc = NULL;

    if (lane->state == NGX_HTTP_INTENT_LANE_CLOSING) {
        ngx_http_intent_lane_post(lane);
        return;
    }

    if (rc == NGX_OK) {
        rc = ngx_http_intent_sign_answers(lane, j);

    } else if (ngx_http_intent_sign_takes_no_batch(lane, j)) {
        rc = NGX_AGAIN;

    } else if (ngx_http_intent_sign_refusal(j, &words)) {

        for (job = ngx_http_intent_job(ngx_queue_head(&step->jobs));
             job->signed_raw.len;
             job = ngx_http_intent_job(ngx_queue_next(&job->queue)))
        {
            /* the first that is not signed is the one */
        }

        rc = ngx_http_intent_sign_declined(lane, job, &words);

        if (rc == NGX_DECLINED && !job->fresh) {
            ngx_http_intent_sign_failed(lane, &words);
        }

    } else {
        ngx_http_intent_sign_failed(lane, &j->reason);
        rc = NGX_DECLINED;
    }

    switch (rc) {

    case NGX_AGAIN:
        ngx_http_intent_sign_ask(lane);
        return;

    case NGX_ERROR:
        ngx_http_intent_lane_lose(lane);
        return;

    default: /* NGX_OK, NGX_DECLINED */
        ngx_http_intent_sign_finish(lane);
    }
}


/*
 * NGX_AGAIN: there are more to be signed; NGX_DECLINED: not all were; nobody
 * is asked for those behind, whose nonces may have to change.
 */

static ngx_int_t
ngx_http_intent_sign_answers(ngx_http_intent_lane_t *lane,
    ngx_http_intent_jsonrpc_t *j)
{
    ngx_int_t               rc;
    ngx_str_t               reason;
    ngx_uint_t              i, good, declined, blocked;
    ngx_queue_t            *q;
    ngx_http_intent_job_t  *job;

    i = 0;
    good = 0;
    declined = 0;
    blocked = 0;

    for (q = ngx_queue_head(&lane->save.jobs);
         q != ngx_queue_sentinel(&lane->save.jobs);
         q = ngx_queue_next(q))
    {
        job = ngx_http_intent_job(q);

        if (job->signed_raw.len) {
            continue;
        }

        if (i == j->n) {
            break;
        }

        rc = ngx_http_intent_sign_answer(lane, j, i++, job);

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        good += (rc == NGX_OK);
        declined += job->declined;

        /* what can be neither saved nor left, or is not to be trusted */

        blocked += (rc != NGX_OK && (!job->fresh || !job->declined));
    }

    if (good == 0 && blocked) {
        ngx_str_set(&reason, "it does not sign what it is asked to");
        ngx_http_intent_sign_failed(lane, &reason);

    } else if (good || declined) {
        ngx_http_intent_sign_works(lane);
    }

    if (good < j->n) {
        return NGX_DECLINED;
    }

    return (q == ngx_queue_sentinel(&lane->save.jobs)) ? NGX_OK : NGX_AGAIN;
}


static ngx_int_t
ngx_http_intent_sign_answer(ngx_http_intent_lane_t *lane,
    ngx_http_intent_jsonrpc_t *j, ngx_uint_t i, ngx_http_intent_job_t *job)
{
    json_t      *result;
    ngx_str_t    words;
    const char  *wrong;

    result = ngx_http_intent_jsonrpc_result(j, i);

    if (result == NULL) {
        words = ngx_http_intent_jsonrpc_error(j, i);
        return ngx_http_intent_sign_declined(lane, job, &words);
    }

    wrong = ngx_http_intent_sign_read(lane, j, result, job);

    if (wrong == NULL) {
        return NGX_OK;
    }

    job->wrong = 1;

    ngx_log_error(NGX_LOG_ALERT, lane->log, 0,
                  "intent chain \"%V\": what signer \"%V\" of %V gives for "
                  "nonce %L, intent \"%V\", is not what it was asked for: "
                  "%s; it is not used", &lane->conf->name,
                  ngx_http_intent_sign_uri(lane), &lane->signer->name,
                  job->tx.nonce, &job->intent.id, wrong);

    return NGX_DECLINED;
}


/* NULL: job->signed_raw is what was asked for; else what is wrong */

static const char *
ngx_http_intent_sign_read(ngx_http_intent_lane_t *lane,
    ngx_http_intent_jsonrpc_t *j, json_t *result, ngx_http_intent_job_t *job)
{
    u_char      *raw, from[EVM_ADDRESS_LEN];
    size_t       len, n;
    evm_tx_t     tx;
    const char  *wrong, *hex;

    /* geth has an object, with the transaction read in it */

    if (json_is_object(result)) {
        result = json_object_get(result, "raw");
    }

    hex = json_string_value(result);
    if (hex == NULL) {
        return "there are no bytes in it";
    }

    len = json_string_length(result);

    if (len / 2 > EVM_TX_MAX_LEN(job->asked.data_len)) {
        return "it is too long";
    }

    n = len / 2 + 1;
    raw = ngx_pnalloc(j->pool, n);
    if (raw == NULL) {
        return "there is no memory to read it";
    }

    if (evm_hex_decode(hex, len, raw, &n) != EVM_OK
        || evm_tx_decode(raw, n, &tx, from, job->signed_hash) != EVM_OK)
    {
        return "it is no signed transaction of the type";
    }

    wrong = ngx_http_intent_sign_differs(&job->asked, &tx);
    if (wrong) {
        return wrong;
    }

    if (ngx_memcmp(from, lane->signer->address, EVM_ADDRESS_LEN) != 0) {
        return "another key has signed it";
    }

    job->signed_raw.data = ngx_pnalloc(job->pool, n);
    if (job->signed_raw.data == NULL) {
        return "there is no memory to keep it";
    }

    ngx_memcpy(job->signed_raw.data, raw, n);
    job->signed_raw.len = n;

    return NULL;
}


static const char *
ngx_http_intent_sign_differs(evm_tx_t *asked, evm_tx_t *tx)
{
    if (tx->legacy != asked->legacy) {
        return "its type differs";
    }

    if (tx->chain_id != asked->chain_id) {
        return "its chain id differs";
    }

    if (tx->nonce != asked->nonce) {
        return "its nonce differs";
    }

    if (tx->create != asked->create
        || ngx_memcmp(tx->to, asked->to, EVM_ADDRESS_LEN) != 0)
    {
        return "its \"to\" differs";
    }

    if (evm_u256_cmp(&tx->value, &asked->value) != 0) {
        return "its value differs";
    }

    if (tx->data_len != asked->data_len
        || (tx->data_len
            && ngx_memcmp(tx->data, asked->data, tx->data_len) != 0))
    {
        return "its data differs";
    }

    if (tx->gas_limit != asked->gas_limit) {
        return "its gas differs";
    }

    if (evm_u256_cmp(&tx->max_fee_per_gas, &asked->max_fee_per_gas) != 0) {
        return "its price of gas differs";
    }

    if (!tx->legacy
        && evm_u256_cmp(&tx->max_priority_fee_per_gas,
                        &asked->max_priority_fee_per_gas)
           != 0)
    {
        return "its priority fee differs";
    }

    return NULL;
}


/* by its rules, or by the person who is asked */

static ngx_int_t
ngx_http_intent_sign_declined(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job, ngx_str_t *words)
{
    u_char     *p, text[NGX_HTTP_INTENT_SIGN_REASON];
    ngx_str_t   message;

    p = ngx_snprintf(text, sizeof(text), "the signer refuses it: %V", words);

    message.data = text;
    message.len = p - text;

    job->declined = 1;

    if (!job->fresh) {
        ngx_log_error(NGX_LOG_WARN, lane->log, 0,
                      "intent chain \"%V\": nonce %L, intent \"%V\": %V, it "
                      "is asked again", &lane->conf->name, job->tx.nonce,
                      &job->intent.id, &message);
        return NGX_DECLINED;
    }

    /* until it goes back; who tries it again copies it */

    job->declined_words.data = ngx_pstrdup(job->pool, &message);
    job->declined_words.len = job->declined_words.data ? message.len : 0;

    return job->declined_words.data ? NGX_DECLINED : NGX_ERROR;
}


/* Web3Signer has a status of HTTP for its errors, too */

static ngx_uint_t
ngx_http_intent_sign_refusal(ngx_http_intent_jsonrpc_t *j, ngx_str_t *words)
{
    size_t        i;
    u_char        ch;
    json_t       *root, *message;
    ngx_uint_t    status;

    status = j->rpc->status;

    if (j->n != 1
        || j->rpc->rc != NGX_OK
        || j->limited
        || status < NGX_HTTP_BAD_REQUEST
        || status >= NGX_HTTP_INTERNAL_SERVER_ERROR
        || status == NGX_HTTP_UNAUTHORIZED
        || status == NGX_HTTP_REQUEST_TIME_OUT
        || status == NGX_HTTP_TOO_MANY_REQUESTS)
    {
        return 0;
    }

    root = json_loadb((char *) j->rpc->body.data, j->rpc->body.len, 0, NULL);
    message = json_object_get(json_object_get(root, "error"), "message");

    words->len = 0;

    if (json_is_string(message)) {
        words->len = ngx_min(json_string_length(message),
                             NGX_HTTP_INTENT_SIGN_REASON / 2);
        words->data = ngx_pnalloc(j->pool, words->len + 1);

        if (words->data == NULL) {
            words->len = 0;
        }

        for (i = 0; i < words->len; i++) {
            ch = (u_char) json_string_value(message)[i];
            words->data[i] = (ch < 0x20 || ch > 0x7e) ? '?' : ch;
        }
    }

    json_decref(root);

    return words->len != 0;
}


/* it answers, and not to many at once: one by one, then */

static ngx_uint_t
ngx_http_intent_sign_takes_no_batch(ngx_http_intent_lane_t *lane,
    ngx_http_intent_jsonrpc_t *j)
{
    if (j->n == 1
        || j->rpc->rc != NGX_OK
        || j->limited
        || j->rpc->status == NGX_HTTP_BAD_GATEWAY
        || j->rpc->status == NGX_HTTP_SERVICE_UNAVAILABLE
        || j->rpc->status == NGX_HTTP_GATEWAY_TIME_OUT)
    {
        return 0;
    }

    ngx_log_error(NGX_LOG_NOTICE, lane->log, 0,
                  "intent chain \"%V\": signer \"%V\" of %V does not take "
                  "%ui transactions at once: %V, it is asked for one by one",
                  &lane->conf->name, ngx_http_intent_sign_uri(lane),
                  &lane->signer->name, j->n, &j->reason);

    lane->sign_singly = 1;
    lane->sign_singly_at = ngx_current_msec;

    return 1;
}


/* nobody's intent is to blame: all wait */

static void
ngx_http_intent_sign_failed(ngx_http_intent_lane_t *lane, ngx_str_t *reason)
{
    ngx_uint_t              i, level;
    ngx_msec_t              delay;
    ngx_queue_t            *q, *next;
    ngx_http_intent_job_t  *job;

    level = lane->sign_failures++ ? NGX_LOG_INFO : NGX_LOG_ERR;
    delay = lane->conf->backoff;

    for (i = 1;
         i < lane->sign_failures && delay < lane->conf->max_backoff;
         i++)
    {
        delay *= 2;
    }

    delay = ngx_min(delay, lane->conf->max_backoff);
    delay += ngx_random() % (delay / 10 + 1);

    lane->sign_at = ngx_current_msec + delay;

    ngx_http_intent_stat_inc(lane->retries[NGX_HTTP_INTENT_RETRY_SIGNER], 1);

    ngx_log_error(level, lane->log, 0,
                  "intent chain \"%V\": signer \"%V\" of %V does not sign: "
                  "%V, it is asked again in %M ms", &lane->conf->name,
                  ngx_http_intent_sign_uri(lane), &lane->signer->name, reason,
                  delay);

    /* what was to be replaced may be mined meanwhile: it is not kept here */

    for (q = ngx_queue_head(&lane->ready);
         q != ngx_queue_sentinel(&lane->ready);
         q = next)
    {
        next = ngx_queue_next(q);
        job = ngx_http_intent_job(q);

        if (job->bump && !job->unsaved) {
            ngx_queue_remove(q);
            (void) ngx_http_intent_sign_undo(lane, job);
        }
    }
}


static void
ngx_http_intent_sign_works(ngx_http_intent_lane_t *lane)
{
    if (lane->sign_failures == 0) {
        return;
    }

    ngx_log_error(NGX_LOG_NOTICE, lane->log, 0,
                  "intent chain \"%V\": signer \"%V\" of %V signs again",
                  &lane->conf->name, ngx_http_intent_sign_uri(lane),
                  &lane->signer->name);

    lane->sign_failures = 0;
}


/*
 * Saves what is signed.  Behind the first new nonce that is not there are no
 * others: nothing waits for a nonce that may never come.
 */

static void
ngx_http_intent_sign_finish(ngx_http_intent_lane_t *lane)
{
    ngx_uint_t              missing;
    ngx_queue_t            *q, *prev;
    ngx_http_intent_job_t  *job;

    missing = 0;

    for (q = ngx_queue_head(&lane->save.jobs);
         q != ngx_queue_sentinel(&lane->save.jobs);
         q = ngx_queue_next(q))
    {
        job = ngx_http_intent_job(q);

        if (!job->fresh) {
            continue;
        }

        /* it may have taken minutes */

        missing |= (job->signed_raw.len == 0
                    || ngx_http_intent_job_is_late(job));

        if (missing) {
            job->signed_raw.len = 0;
        }
    }

    for (q = ngx_queue_last(&lane->save.jobs);
         q != ngx_queue_sentinel(&lane->save.jobs);
         q = prev)
    {
        prev = ngx_queue_prev(q);
        job = ngx_http_intent_job(q);

        if (job->signed_raw.len == 0
            && ngx_http_intent_sign_back(lane, job) != NGX_OK)
        {
            ngx_http_intent_lane_lose(lane);
            return;
        }
    }

    if (ngx_queue_empty(&lane->save.jobs)) {
        ngx_http_intent_lane_post(lane);
        return;
    }

    ngx_http_intent_lane_save_write(lane);
}


/* the last one first */

static ngx_int_t
ngx_http_intent_sign_back(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job)
{
    if (job->fresh) {
        return ngx_http_intent_sign_no_nonce(lane, job);
    }

    ngx_queue_remove(&job->queue);

    if (!ngx_http_intent_sign_undo(lane, job)) {
        ngx_http_intent_job_ready(lane, job);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_sign_no_nonce(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job)
{
    if (job->tx.nonce == lane->store.next_nonce - 1) {
        lane->store.next_nonce--;

    } else if (ngx_http_intent_job_fill(lane, job->tx.nonce) != NGX_OK) {
        return NGX_ERROR;
    }

    if (job->unsaved) {
        job->intent.tx_hash.len = 0;
    }

    job->tx.nonce = -1;
    job->tx.raw.len = 0;
    job->fresh = 0;
    job->unsaved = 0;

    ngx_http_intent_job_spend(lane, job, NULL);

    ngx_queue_remove(&job->queue);

    if (job->declined) {
        job->declined = 0;
        ngx_http_intent_job_retry(lane, job, NGX_HTTP_INTENT_RETRY_SIGNER,
                                  &job->declined_words);
        return NGX_OK;
    }

    /* others shall not wait until this one is signed as it should be */

    if (job->wrong) {
        ngx_queue_insert_tail(&lane->ready, &job->queue);

    } else {
        ngx_http_intent_sign_first(lane, job);
    }

    return NGX_OK;
}


/* before all others that have no nonce */

static void
ngx_http_intent_sign_first(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job)
{
    ngx_queue_t            *q;
    ngx_http_intent_job_t  *j;

    for (q = ngx_queue_head(&lane->ready);
         q != ngx_queue_sentinel(&lane->ready);
         q = ngx_queue_next(q))
    {
        j = ngx_http_intent_job(q);

        if (j->tx.nonce < 0) {
            break;
        }
    }

    /* the macro looks at its first argument again and again */

    q = ngx_queue_prev(q);
    ngx_queue_insert_after(q, &job->queue);
}


/* the saved transaction that was to be replaced is the one again */

static ngx_uint_t
ngx_http_intent_sign_undo(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job)
{
    evm_u256_t  cost;

    if (!job->bump || job->unsaved || job->old == NULL) {
        return 0;
    }

    job->old = job->old->next;
    job->bump = 0;
    job->declined = 0;

    ngx_http_intent_job_cost(job, &cost);
    ngx_http_intent_job_spend(lane, job, &cost);

    /* another try when it is due again */

    if (job->taken_at) {
        job->taken_at = ngx_current_msec;
    }

    ngx_http_intent_job_insert(&lane->unsent, job);

    return 1;
}
