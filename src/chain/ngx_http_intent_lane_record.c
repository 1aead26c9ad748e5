
/*
 * Commits of a lane: what became of jobs, and the way back from a commit.
 */


#include "ngx_http_intent_lane.h"


#define NGX_HTTP_INTENT_STEP_POOL  8192


static ngx_int_t ngx_http_intent_record_states(ngx_http_intent_step_t *step);
static ngx_int_t ngx_http_intent_record_state(ngx_array_t *states,
    ngx_http_intent_job_t *job, u_char hash[32]);
static void ngx_http_intent_record_done(ngx_http_intent_transition_t *t,
    ngx_int_t rc);
static void ngx_http_intent_record_again(ngx_http_intent_step_t *step);
static void ngx_http_intent_record_next(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job);


ngx_int_t
ngx_http_intent_step_write(ngx_http_intent_step_t *step, ngx_uint_t njobs,
    void (*handler)(ngx_http_intent_transition_t *t, ngx_int_t rc))
{
    int64_t                       *delay;
    ngx_int_t                      rc;
    ngx_queue_t                   *q;
    ngx_http_intent_job_t         *job;
    ngx_http_intent_lane_t        *lane;
    ngx_http_intent_change_t      *ch;
    ngx_http_intent_transition_t  *t;

    lane = step->lane;
    t = &step->transition;

    ngx_memzero(t, sizeof(ngx_http_intent_transition_t));

    ch = ngx_pcalloc(step->pool, njobs * sizeof(ngx_http_intent_change_t));
    delay = ngx_palloc(step->pool, njobs * sizeof(int64_t));

    if (ch == NULL || delay == NULL) {
        return NGX_DECLINED;
    }

    t->changes = ch;
    step->write.delays = delay;

    for (q = ngx_queue_head(&step->jobs);
         q != ngx_queue_sentinel(&step->jobs);
         q = ngx_queue_next(q))
    {
        job = ngx_http_intent_job(q);

        if (ngx_http_intent_job_is_filler(job)) {
            continue;
        }

        ch->intent = &job->intent;
        ch->to = job->to;
        ch++;

        *delay++ = job->delay;

        t->nchanges++;
    }

    step->write.lane = &lane->store;

    t->record = ngx_http_intent_store_lane_write;
    t->record_data = &step->write;
    t->handler = handler;
    t->data = step;
    t->log = lane->log;

    rc = ngx_http_intent_transition(t);

    if (rc == NGX_OK) {
        step->busy = 1;
        lane->ops++;
    }

    return rc;
}


void
ngx_http_intent_step_written(ngx_http_intent_step_t *step)
{
    step->busy = 0;
    step->lane->ops--;

    ngx_destroy_pool(step->pool);
    step->pool = NULL;
}


void
ngx_http_intent_lane_record(ngx_http_intent_lane_t *lane)
{
    ngx_uint_t               n;
    ngx_queue_t             *q;
    ngx_http_intent_job_t   *job;
    ngx_http_intent_step_t  *step;

    step = &lane->record;

    if (step->busy || ngx_queue_empty(&lane->outcome)) {
        return;
    }

    step->pool = ngx_create_pool(NGX_HTTP_INTENT_STEP_POOL, lane->log);
    if (step->pool == NULL) {
        return;
    }

    n = NGX_HTTP_INTENT_LANE_RECORD;

    if (step->singly) {
        step->singly--;
        n = 1;
    }

    n = ngx_http_intent_jobs_move(&step->jobs, &lane->outcome, n);

    for (q = ngx_queue_head(&step->jobs);
         q != ngx_queue_sentinel(&step->jobs);
         q = ngx_queue_next(q))
    {
        job = ngx_http_intent_job(q);

        /* nobody fails who was not seen to execute: two commits then */

        if (job->failing) {
            job->to = (job->intent.status == NGX_HTTP_INTENT_PENDING)
                      ? NGX_HTTP_INTENT_EXECUTING : NGX_HTTP_INTENT_FAILED;
        }
    }

    ngx_memzero(&step->write, sizeof(ngx_http_intent_store_write_t));

    if (ngx_http_intent_record_states(step) == NGX_OK
        && ngx_http_intent_step_write(step, n, ngx_http_intent_record_done)
           == NGX_OK)
    {
        return;
    }

    /* the session is gone, and so is the lane; or there is no memory */

    ngx_destroy_pool(step->pool);
    step->pool = NULL;

    ngx_http_intent_lane_lose(lane);
}


static ngx_int_t
ngx_http_intent_record_states(ngx_http_intent_step_t *step)
{
    ngx_queue_t               *q;
    ngx_array_t                states;
    ngx_http_intent_job_t     *job;
    ngx_http_intent_old_tx_t  *old;

    if (ngx_array_init(&states, step->pool, NGX_HTTP_INTENT_LANE_RECORD,
                       sizeof(ngx_http_intent_store_tx_state_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (q = ngx_queue_head(&step->jobs);
         q != ngx_queue_sentinel(&step->jobs);
         q = ngx_queue_next(q))
    {
        job = ngx_http_intent_job(q);

        if (!job->settled) {
            continue;
        }

        if (ngx_http_intent_record_state(&states, job, job->tx.hash)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        for (old = job->old; old; old = old->next) {
            if (ngx_http_intent_record_state(&states, job, old->hash)
                != NGX_OK)
            {
                return NGX_ERROR;
            }
        }
    }

    step->write.states = states.elts;
    step->write.nstates = states.nelts;

    return NGX_OK;
}


/* of all transactions of a nonce at most one was mined */

static ngx_int_t
ngx_http_intent_record_state(ngx_array_t *states, ngx_http_intent_job_t *job,
    u_char hash[32])
{
    ngx_http_intent_store_tx_state_t  *s;

    s = ngx_array_push(states);
    if (s == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(s->hash, hash, 32);

    if (!job->lost && ngx_memcmp(hash, job->mined_hash, 32) == 0) {
        s->state = "mined";
        s->block_number = job->block_number;
        ngx_memcpy(s->block_hash, job->block_hash, 32);

    } else {
        s->state = "dropped";
        s->block_number = -1;
    }

    return NGX_OK;
}


static void
ngx_http_intent_record_done(ngx_http_intent_transition_t *t, ngx_int_t rc)
{
    ngx_uint_t               i, refused;
    ngx_queue_t             *q;
    ngx_http_intent_job_t   *job;
    ngx_http_intent_lane_t  *lane;
    ngx_http_intent_step_t  *step = t->data;

    lane = step->lane;
    refused = 0;

    for (i = 0; i < t->nchanges; i++) {

        /* one that is pending may have been cancelled, or claimed by others */

        if (t->changes[i].refused
            && t->changes[i].from == NGX_HTTP_INTENT_PENDING)
        {
            job = (ngx_http_intent_job_t *)
                      ((u_char *) t->changes[i].intent
                       - offsetof(ngx_http_intent_job_t, intent));

            job->given_up = 1;

        } else if (t->changes[i].refused) {
            ngx_log_error(NGX_LOG_ALERT, lane->log, 0,
                          "intent %V was changed by somebody else while a "
                          "lane had it", &t->changes[i].intent->id);
            refused = 1;
        }
    }

    if (rc == NGX_ERROR && step->write.refused) {
        ngx_http_intent_record_again(step);
        rc = NGX_OK;
    }

    ngx_http_intent_step_written(step);

    if (rc != NGX_OK || refused) {
        ngx_http_intent_lane_lose(lane);
        return;
    }

    while (!ngx_queue_empty(&step->jobs)) {
        q = ngx_queue_head(&step->jobs);
        job = ngx_http_intent_job(q);
        ngx_queue_remove(q);

        ngx_http_intent_record_next(lane, job);
    }

    ngx_http_intent_lane_post(lane);
}


/*
 * Postgres does not take a row, nothing was written: each goes alone.  One
 * that is refused alone is tried without what is not needed, and then left
 * as Postgres has it, until the lane is opened again.
 */

static void
ngx_http_intent_record_again(ngx_http_intent_step_t *step)
{
    ngx_uint_t               n;
    ngx_queue_t             *q;
    ngx_http_intent_job_t   *job;
    ngx_http_intent_lane_t  *lane;

    lane = step->lane;
    q = NULL;

    for (n = 0; !ngx_queue_empty(&step->jobs); n++) {
        q = ngx_queue_last(&step->jobs);
        ngx_queue_remove(q);
        ngx_queue_insert_head(&lane->outcome, q);
    }

    step->singly += n;

    if (n > 1 || step->write.transient) {
        return;
    }

    job = ngx_http_intent_job(q);

    if (!job->stripped) {
        job->stripped = 1;
        job->intent.gas_cost.len = 0;

        if (job->intent.error.len) {
            ngx_str_set(&job->intent.error, "its reason could not be kept");
        }

        return;
    }

    ngx_log_error(NGX_LOG_CRIT, lane->log, 0,
                  "intent chain \"%V\": what became of nonce %L, intent "
                  "\"%V\", cannot be recorded, it is set aside until the lane "
                  "is opened again", &lane->conf->name, job->tx.nonce,
                  &job->intent.id);

    step->singly--;
    ngx_queue_remove(q);
    ngx_http_intent_job_destroy(lane, job);
}


/* where a job goes on when Postgres knows how far it is */

static void
ngx_http_intent_record_next(ngx_http_intent_lane_t *lane,
    ngx_http_intent_job_t *job)
{
    if (job->delay >= 0
        || job->given_up
        || ngx_http_intent_is_final(job->intent.status)
        || (ngx_http_intent_job_is_filler(job) && job->settled))
    {
        ngx_http_intent_job_destroy(lane, job);
        return;
    }

    if (job->failing) {
        ngx_queue_insert_tail(&lane->outcome, &job->queue);
        return;
    }

    if (job->settled) {

        /* its nonce is gone, the intent is not: another one */

        ngx_http_intent_job_spend(lane, job, NULL);

        job->lost = 0;
        job->settled = 0;
        job->cancel = 0;
        job->again = 0;
        job->recorded = 0;
        job->reverted = 0;
        job->old = NULL;
        job->missing = 0;
        job->block_number = -1;
        job->refused = 0;
        job->bump = 0;
        job->pooled = 0;
        job->underpriced = 0;
        job->taken_at = 0;
        evm_u256_set(&job->least_tip, 0);
        job->tx.nonce = -1;
        job->tx.raw.len = 0;

        /* its call may be known from the bytes of an empty transfer only */

        job->not_before = 0;
        ngx_queue_insert_tail(&lane->claimed, &job->queue);
        return;
    }

    if (job->block_number >= 0) {
        job->recorded = 1;
        ngx_http_intent_job_insert(&lane->sent, job);
        return;
    }

    job->recorded = 0;
    ngx_http_intent_job_insert(&lane->unsent, job);
}
