
/*
 * The way of a request through the limits: counted in the preaccess phase,
 * turned away there, told what is left in its headers.
 */


#include "ngx_http_intent_limit_private.h"


static ngx_http_intent_limit_ctx_t *ngx_http_intent_limit_create_ctx(
    ngx_http_request_t *r, ngx_http_intent_limit_loc_conf_t *lcf);
static void ngx_http_intent_limit_cleanup(void *data);
static void ngx_http_intent_limit_log(ngx_http_request_t *r,
    ngx_http_intent_limit_ctx_t *ctx, ngx_uint_t n);
static ngx_int_t ngx_http_intent_limit_reject(ngx_http_request_t *r);
static ngx_int_t ngx_http_intent_limit_send(ngx_http_request_t *r);
static ngx_uint_t ngx_http_intent_limit_has_error_page(ngx_http_request_t *r);
static ngx_int_t ngx_http_intent_limit_header_filter(ngx_http_request_t *r);
static ngx_int_t ngx_http_intent_limit_add_ratelimit(ngx_http_request_t *r,
    ngx_http_intent_limit_ctx_t *ctx);
static ngx_int_t ngx_http_intent_limit_add_retry_after(ngx_http_request_t *r,
    ngx_http_intent_limit_ctx_t *ctx);


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;


static ngx_str_t  ngx_http_intent_limit_problem_type =
    ngx_string("application/problem+json");

static ngx_str_t  ngx_http_intent_limit_problem =
    ngx_string("{\"type\":\"about:blank\",\"title\":\"Too Many Requests\","
               "\"status\":429,\"detail\":\"" NGX_HTTP_INTENT_LIMIT_DETAIL
               "\"}");


ngx_int_t
ngx_http_intent_limit_handler(ngx_http_request_t *r)
{
    ngx_http_intent_limit_ctx_t       *ctx;
    ngx_http_intent_limit_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_intent_limit_module);

    if (lcf->limits.nelts == 0 || r != r->main) {
        return NGX_DECLINED;
    }

    /* once a request, wherever it is redirected; an empty key is no limit */

    ctx = ngx_http_intent_limit_get_ctx(r);

    if (ctx && ctx->nstates) {
        return NGX_DECLINED;
    }

    ctx = ngx_http_intent_limit_create_ctx(r, lcf);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (r->method != NGX_HTTP_POST) {
        ngx_http_intent_limit_peek(ctx, r->connection->log);
        return NGX_DECLINED;
    }

    if (ctx->nstates == 0) {
        return NGX_DECLINED;
    }

    ngx_http_intent_limit_count(ctx, 1, r->connection->log);

    ngx_http_intent_limit_log(r, ctx, 1);

    if (ctx->result == NGX_HTTP_INTENT_LIMIT_REJECTED) {
        return ngx_http_intent_limit_reject(r);
    }

    return NGX_DECLINED;
}


ngx_int_t
ngx_http_intent_limit_charge(ngx_http_request_t *r, ngx_uint_t n)
{
    ngx_http_intent_limit_ctx_t  *ctx;

    ctx = ngx_http_intent_limit_get_ctx(r);

    if (ctx == NULL || ctx->result == NGX_HTTP_INTENT_LIMIT_NONE || n == 0) {
        return NGX_OK;
    }

    ngx_http_intent_limit_count(ctx, (uint32_t) ngx_min(n, UINT32_MAX / 2),
                                r->connection->log);

    ngx_http_intent_limit_log(r, ctx, n);

    return (ctx->result == NGX_HTTP_INTENT_LIMIT_REJECTED) ? NGX_DECLINED
                                                           : NGX_OK;
}


ngx_http_intent_limit_ctx_t *
ngx_http_intent_limit_get_ctx(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t           *cln;
    ngx_http_intent_limit_ctx_t  *ctx;

    r = r->main;

    ctx = ngx_http_get_module_ctx(r, ngx_http_intent_limit_module);

    if (ctx == NULL && (r->internal || r->filter_finalize)) {

        /* a redirect resets the contexts of modules, but not the pool */

        for (cln = r->pool->cleanup; cln; cln = cln->next) {
            if (cln->handler == ngx_http_intent_limit_cleanup) {
                return cln->data;
            }
        }
    }

    return ctx;
}


static ngx_http_intent_limit_ctx_t *
ngx_http_intent_limit_create_ctx(ngx_http_request_t *r,
    ngx_http_intent_limit_loc_conf_t *lcf)
{
    ngx_str_t                       key;
    ngx_uint_t                      i;
    ngx_pool_cleanup_t             *cln;
    ngx_http_intent_limit_t        *limits;
    ngx_http_intent_limit_ctx_t    *ctx;
    ngx_http_intent_limit_zone_t   *zone;
    ngx_http_intent_limit_state_t  *state;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_intent_limit_ctx_t)
              + lcf->limits.nelts * sizeof(ngx_http_intent_limit_state_t));
    if (cln == NULL) {
        return NULL;
    }

    ctx = cln->data;

    ctx->result = NGX_HTTP_INTENT_LIMIT_NONE;
    ctx->states = (ngx_http_intent_limit_state_t *) (ctx + 1);
    ctx->nstates = 0;

    limits = lcf->limits.elts;

    for (i = 0; i < lcf->limits.nelts; i++) {
        zone = limits[i].zone;

        if (ngx_http_complex_value(r, &zone->key, &key) != NGX_OK) {
            return NULL;
        }

        if (key.len == 0) {
            continue;
        }

        state = &ctx->states[ctx->nstates++];

        ngx_memzero(state, sizeof(ngx_http_intent_limit_state_t));

        state->limit = &limits[i];
        state->hash = ngx_http_intent_limit_hash(zone->shared->secret,
                                                 key.data, key.len);
    }

    cln->handler = ngx_http_intent_limit_cleanup;
    ngx_http_set_ctx(r, ctx, ngx_http_intent_limit_module);

    return ctx;
}


static void
ngx_http_intent_limit_cleanup(void *data)
{
    /* there is nothing to free: see ngx_http_intent_limit_get_ctx() */
}


static void
ngx_http_intent_limit_log(ngx_http_request_t *r,
    ngx_http_intent_limit_ctx_t *ctx, ngx_uint_t n)
{
    ngx_uint_t                      i, level, rejected;
    ngx_http_intent_limit_zone_t   *zone;
    ngx_http_intent_limit_state_t  *state;

    rejected = (ctx->result == NGX_HTTP_INTENT_LIMIT_REJECTED);
    level = rejected ? NGX_LOG_ERR : NGX_LOG_WARN;

    for (i = 0; i < ctx->nstates; i++) {
        state = &ctx->states[i];
        zone = state->limit->zone;

        ngx_log_debug3(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                       "intent limit \"%V\": refused:%ui remaining:%ui",
                       &zone->name, state->refused, state->remaining);

        /* one line a request: the limit that turned it away, if one did */

        if (state->refused && !(rejected && state->limit->dry_run)) {
            ngx_log_error(level, r->connection->log, 0,
                          "limiting intents%s by zone \"%V\", %ui more, "
                          "%ui of %ui remain, retry in %ui s",
                          rejected ? "" : ", dry run,", &zone->name,
                          n, state->remaining, zone->limit,
                          ngx_http_intent_limit_seconds(state->wait));
            return;
        }
    }
}


static ngx_int_t
ngx_http_intent_limit_reject(ngx_http_request_t *r)
{
    if (ngx_http_intent_limit_has_error_page(r)) {
        return NGX_HTTP_TOO_MANY_REQUESTS;
    }

    if (r->headers_in.expect && !r->expect_tested
        && r->http_version < NGX_HTTP_VERSION_20)
    {
        /*
         * Nobody is asked to send a body that nobody will read.  Nobody knows
         * then if the client sends it all the same, so no other request can
         * follow on this connection: RFC 9110, 10.1.1.
         */

        r->expect_tested = 1;
        r->keepalive = 0;

    } else if (ngx_http_discard_request_body(r) != NGX_OK) {
        r->keepalive = 0;
    }

    ngx_http_finalize_request(r, ngx_http_intent_limit_send(r));

    return NGX_DONE;
}


static ngx_int_t
ngx_http_intent_limit_send(ngx_http_request_t *r)
{
    ngx_int_t     rc;
    ngx_buf_t    *b;
    ngx_chain_t   out;

    r->headers_out.status = NGX_HTTP_TOO_MANY_REQUESTS;
    r->headers_out.content_length_n = ngx_http_intent_limit_problem.len;
    r->headers_out.content_type = ngx_http_intent_limit_problem_type;
    r->headers_out.content_type_len = ngx_http_intent_limit_problem_type.len;
    r->headers_out.content_type_lowcase = NULL;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->pos = ngx_http_intent_limit_problem.data;
    b->last = b->pos + ngx_http_intent_limit_problem.len;
    b->memory = 1;
    b->last_buf = 1;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


/* an error_page for it is the operator's wish: core does the rest */

static ngx_uint_t
ngx_http_intent_limit_has_error_page(ngx_http_request_t *r)
{
    ngx_uint_t                 i;
    ngx_http_err_page_t       *err_page;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (clcf->error_pages == NULL || r->error_page) {
        return 0;
    }

    err_page = clcf->error_pages->elts;

    for (i = 0; i < clcf->error_pages->nelts; i++) {
        if (err_page[i].status == NGX_HTTP_TOO_MANY_REQUESTS) {
            return 1;
        }
    }

    return 0;
}


ngx_uint_t
ngx_http_intent_limit_seconds(uint32_t ms)
{
    return ms / 1000 + (ms % 1000 != 0);
}


/*
 * Headers are added as the answer goes out, whoever made it: redirects and
 * error pages may have thrown away what was there before.
 */

ngx_int_t
ngx_http_intent_limit_header_filter_init(ngx_conf_t *cf)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_intent_limit_header_filter;

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_limit_header_filter(ngx_http_request_t *r)
{
    ngx_http_intent_limit_ctx_t       *ctx;
    ngx_http_intent_limit_loc_conf_t  *lcf;

    if (r != r->main) {
        return ngx_http_next_header_filter(r);
    }

    ctx = ngx_http_intent_limit_get_ctx(r);

    if (ctx == NULL) {
        lcf = ngx_http_get_module_loc_conf(r, ngx_http_intent_limit_module);

        if (lcf->limits.nelts == 0) {
            return ngx_http_next_header_filter(r);
        }

        /* answered before the limits: a body that is too large, a "return" */

        ctx = ngx_http_intent_limit_create_ctx(r, lcf);
        if (ctx == NULL) {
            return NGX_ERROR;
        }

        ngx_http_intent_limit_peek(ctx, r->connection->log);
    }

    if (ngx_http_intent_limit_add_ratelimit(r, ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ctx->result == NGX_HTTP_INTENT_LIMIT_REJECTED
        && r->headers_out.status >= NGX_HTTP_BAD_REQUEST
        && ngx_http_intent_limit_add_retry_after(r, ctx) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_next_header_filter(r);
}


/*
 * draft-ietf-httpapi-ratelimit-headers-11: r is what is left of the quota, and
 * t how long that is to last, that is, until there is more.
 */

static ngx_int_t
ngx_http_intent_limit_add_ratelimit(ngx_http_request_t *r,
    ngx_http_intent_limit_ctx_t *ctx)
{
    u_char                         *p;
    size_t                          len;
    ngx_str_t                       policy, value;
    ngx_uint_t                      i;
    ngx_http_intent_limit_zone_t   *zone;
    ngx_http_intent_limit_state_t  *state;

    len = 0;

    for (i = 0; i < ctx->nstates; i++) {
        len += sizeof(", ") - 1 + ctx->states[i].limit->zone->policy.len;
    }

    /* r and t have no more digits than q and w */

    policy.data = ngx_pnalloc(r->pool, 2 * len);
    if (policy.data == NULL) {
        return NGX_ERROR;
    }

    policy.len = 0;
    value.data = policy.data + len;
    p = value.data;

    for (i = 0; i < ctx->nstates; i++) {
        state = &ctx->states[i];
        zone = state->limit->zone;

        /* a dry run changes nothing for clients */

        if (state->limit->dry_run) {
            continue;
        }

        policy.len = ngx_sprintf(policy.data + policy.len, "%s%V",
                                 policy.len ? ", " : "", &zone->policy)
                     - policy.data;

        p = ngx_sprintf(p, "%s%V;r=%ui;t=%ui", p != value.data ? ", " : "",
                        &zone->quoted, state->remaining,
                        ngx_http_intent_limit_seconds(state->until));
    }

    if (policy.len == 0) {
        return NGX_OK;
    }

    value.len = p - value.data;

    if (ngx_http_intent_add_header(r, "RateLimit-Policy", &policy) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_intent_add_header(r, "RateLimit", &value);
}


static ngx_int_t
ngx_http_intent_limit_add_retry_after(ngx_http_request_t *r,
    ngx_http_intent_limit_ctx_t *ctx)
{
    uint32_t                        wait;
    ngx_str_t                       value;
    ngx_uint_t                      i;
    ngx_http_intent_limit_state_t  *state;

    wait = 1;

    for (i = 0; i < ctx->nstates; i++) {
        state = &ctx->states[i];

        if (!state->limit->dry_run) {
            wait = ngx_max(wait, state->wait);
        }
    }

    value.data = ngx_pnalloc(r->pool, NGX_INT_T_LEN);
    if (value.data == NULL) {
        return NGX_ERROR;
    }

    value.len = ngx_sprintf(value.data, "%ui",
                            ngx_http_intent_limit_seconds(wait))
                - value.data;

    return ngx_http_intent_add_header(r, "Retry-After", &value);
}
