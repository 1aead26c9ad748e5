
/*
 * What the limits of a request say, and what they count: all, or none.  What
 * a request counted when it came stays counted, whatever it is found to hold.
 */


#include "ngx_http_intent_limit_private.h"


static void ngx_http_intent_limit_lock(ngx_http_intent_limit_ctx_t *ctx,
    ngx_log_t *log);
static void ngx_http_intent_limit_unlock(ngx_http_intent_limit_ctx_t *ctx);
static ngx_uint_t ngx_http_intent_limit_look(ngx_http_intent_limit_ctx_t *ctx,
    uint32_t n);
static void ngx_http_intent_limit_commit(ngx_http_intent_limit_ctx_t *ctx,
    uint32_t n);
static void ngx_http_intent_limit_touch(ngx_http_intent_limit_ctx_t *ctx);
static void ngx_http_intent_limit_measure(ngx_http_intent_limit_state_t *state,
    uint32_t n);
static void ngx_http_intent_limit_stats(ngx_http_intent_limit_ctx_t *ctx,
    uint32_t n);


void
ngx_http_intent_limit_peek(ngx_http_intent_limit_ctx_t *ctx, ngx_log_t *log)
{
    ngx_uint_t                      i;
    ngx_http_intent_limit_zone_t   *zone;
    ngx_http_intent_limit_state_t  *state;

    for (i = 0; i < ctx->nstates; i++) {
        state = &ctx->states[i];
        zone = state->limit->zone;

        ngx_http_intent_limit_zone_lock(zone, log);

        state->entry = ngx_http_intent_limit_zone_find(zone, state->hash);
        ngx_http_intent_limit_measure(state, 1);

        ngx_http_intent_limit_zone_unlock(zone);
    }
}


void
ngx_http_intent_limit_count(ngx_http_intent_limit_ctx_t *ctx, uint32_t n,
    ngx_log_t *log)
{
    uint32_t    wanted;
    ngx_uint_t  i, result;

    ngx_http_intent_limit_lock(ctx, log);

    result = ngx_http_intent_limit_look(ctx, n);

    for (i = 0; i < ctx->nstates; i++) {
        ngx_http_intent_limit_zone_begin(ctx->states[i].limit->zone);
    }

    if (result == NGX_HTTP_INTENT_LIMIT_REJECTED) {

        /* it will come again as a whole */

        wanted = (ctx->result == NGX_HTTP_INTENT_LIMIT_NONE) ? n : n + 1;
        ngx_http_intent_limit_touch(ctx);

    } else {
        wanted = 1;
        ngx_http_intent_limit_commit(ctx, n);
    }

    for (i = 0; i < ctx->nstates; i++) {
        ngx_http_intent_limit_measure(&ctx->states[i], wanted);
        ngx_http_intent_limit_zone_end(ctx->states[i].limit->zone);
    }

    ngx_http_intent_limit_unlock(ctx);

    if (ctx->result != NGX_HTTP_INTENT_LIMIT_REJECTED_DRY_RUN
        || result == NGX_HTTP_INTENT_LIMIT_REJECTED)
    {
        ctx->result = result;
    }

    ngx_http_intent_limit_stats(ctx, n);
}


static void
ngx_http_intent_limit_lock(ngx_http_intent_limit_ctx_t *ctx, ngx_log_t *log)
{
    ngx_uint_t  i;

    /* the same order in all workers: the limits are sorted by name */

    for (i = 0; i < ctx->nstates; i++) {
        ngx_http_intent_limit_zone_lock(ctx->states[i].limit->zone, log);
    }
}


static void
ngx_http_intent_limit_unlock(ngx_http_intent_limit_ctx_t *ctx)
{
    ngx_uint_t  i;

    for (i = ctx->nstates; i-- > 0; ) {
        ngx_http_intent_limit_zone_unlock(ctx->states[i].limit->zone);
    }
}


static ngx_uint_t
ngx_http_intent_limit_look(ngx_http_intent_limit_ctx_t *ctx, uint32_t n)
{
    uint64_t                         used;
    ngx_uint_t                       i, result;
    ngx_http_intent_limit_zone_t    *zone;
    ngx_http_intent_limit_state_t   *state;

    result = NGX_HTTP_INTENT_LIMIT_PASSED;

    for (i = 0; i < ctx->nstates; i++) {
        state = &ctx->states[i];
        zone = state->limit->zone;

        state->entry = ngx_http_intent_limit_zone_find(zone, state->hash);

        used = state->entry
               ? ngx_http_intent_limit_window_used(
                     &zone->entries[state->entry].window,
                     zone->shared->clock, zone->period)
               : 0;

        state->refused = (used + n > zone->limit);

        if (state->refused && !state->limit->dry_run) {
            result = NGX_HTTP_INTENT_LIMIT_REJECTED;

        } else if (state->refused && result == NGX_HTTP_INTENT_LIMIT_PASSED) {
            result = NGX_HTTP_INTENT_LIMIT_REJECTED_DRY_RUN;
        }
    }

    return result;
}


static void
ngx_http_intent_limit_commit(ngx_http_intent_limit_ctx_t *ctx, uint32_t n)
{
    ngx_uint_t                       i;
    ngx_http_intent_limit_zone_t    *zone;
    ngx_http_intent_limit_state_t   *state;

    for (i = 0; i < ctx->nstates; i++) {
        state = &ctx->states[i];
        zone = state->limit->zone;

        if (state->entry) {
            ngx_http_intent_limit_zone_touch(zone, state->entry);
        }

        if (state->refused) {
            continue;
        }

        if (state->entry == 0) {
            state->entry = ngx_http_intent_limit_zone_insert(zone,
                                                             state->hash);
        }

        ngx_http_intent_limit_window_add(&zone->entries[state->entry].window,
                                         zone->shared->clock, zone->period,
                                         zone->limit, n);
    }
}


/* who keeps knocking is not forgotten for it */

static void
ngx_http_intent_limit_touch(ngx_http_intent_limit_ctx_t *ctx)
{
    ngx_uint_t                      i;
    ngx_http_intent_limit_state_t  *state;

    for (i = 0; i < ctx->nstates; i++) {
        state = &ctx->states[i];

        if (state->entry) {
            ngx_http_intent_limit_zone_touch(state->limit->zone,
                                             state->entry);
        }
    }
}


static void
ngx_http_intent_limit_measure(ngx_http_intent_limit_state_t *state, uint32_t n)
{
    uint64_t                         now, used;
    ngx_http_intent_limit_zone_t    *zone;
    ngx_http_intent_limit_window_t  *window;

    zone = state->limit->zone;
    now = zone->shared->clock;

    if (state->entry == 0) {
        state->remaining = zone->limit;
        state->until = zone->period;
        state->wait = (n > zone->limit) ? zone->period : 0;
        return;
    }

    window = &zone->entries[state->entry].window;

    used = ngx_http_intent_limit_window_used(window, now, zone->period);

    state->remaining = (used < zone->limit) ? zone->limit - used : 0;

    state->wait = ngx_http_intent_limit_window_wait(window, now, zone->period,
                                                    zone->limit, n);

    if (state->wait == NGX_HTTP_INTENT_LIMIT_NEVER) {
        state->wait = zone->period;
    }

    if (used == 0) {
        state->until = zone->period;

    } else if (state->remaining) {
        state->until = ngx_http_intent_limit_window_until(window, now,
                                                          zone->period);

    } else {
        state->until = ngx_http_intent_limit_window_wait(window, now,
                                                         zone->period,
                                                         zone->limit, 1);
    }
}


static void
ngx_http_intent_limit_stats(ngx_http_intent_limit_ctx_t *ctx, uint32_t n)
{
    ngx_uint_t                      i, result;
    ngx_http_intent_limit_state_t  *state;

    for (i = 0; i < ctx->nstates; i++) {
        state = &ctx->states[i];

        if (state->refused) {
            result = state->limit->dry_run
                         ? NGX_HTTP_INTENT_LIMIT_REJECTED_DRY_RUN
                         : NGX_HTTP_INTENT_LIMIT_REJECTED;

        } else if (ctx->result != NGX_HTTP_INTENT_LIMIT_REJECTED) {
            result = NGX_HTTP_INTENT_LIMIT_PASSED;

        } else {
            /* it had room, and another had not: nothing was counted here */
            continue;
        }

        ngx_http_intent_stat_inc(state->limit->zone->stats[result], n);
    }
}
