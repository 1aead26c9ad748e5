
/*
 * GET of one intent: from the cache, else from the store.
 */


#include "ngx_http_intent_api.h"
#include "ngx_http_intent_cache.h"
#include "ngx_http_intent_store.h"


static void ngx_http_intent_api_cache_handler(void *data, ngx_int_t rc,
    ngx_str_t *json);
static ngx_int_t ngx_http_intent_api_ask_store(ngx_http_intent_api_ctx_t *ctx);
static void ngx_http_intent_api_store_handler(void *data, ngx_int_t rc,
    ngx_http_intent_t *in);


static const char  ngx_http_intent_api_no_store[] =
    "the intent cannot be read at the moment, please try again later";


ngx_int_t
ngx_http_intent_api_get(ngx_http_request_t *r, ngx_http_intent_api_ctx_t *ctx)
{
    ngx_int_t  rc;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_http_intent_cache_get(&ctx->id, ngx_http_intent_api_cache_handler,
                                  ctx)
        == NGX_OK)
    {
        ngx_http_intent_api_wait(r);
        r->main->count++;
        return NGX_DONE;
    }

    ctx->cache_status = NGX_HTTP_INTENT_CACHE_BYPASS;

    if (ngx_http_intent_api_ask_store(ctx) == NGX_OK) {
        ngx_http_intent_api_wait(r);
        r->main->count++;
        return NGX_DONE;
    }

    return ngx_http_intent_api_problem(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                                       ngx_http_intent_api_no_store, NULL);
}


static void
ngx_http_intent_api_cache_handler(void *data, ngx_int_t rc, ngx_str_t *json)
{
    ngx_http_intent_api_ctx_t  *ctx = data;

    ngx_http_request_t  *r;

    r = ctx->request;

    ngx_http_intent_api_resume(r);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "intent api cache: %i, intent %V", rc, &ctx->id);

    if (r->connection->error) {
        ngx_http_intent_api_finalize(r, NGX_ERROR);
        return;
    }

    if (rc == NGX_OK) {
        ctx->cache_status = NGX_HTTP_INTENT_CACHE_HIT;
        ctx->json.len = json->len;
        ctx->json.data = ngx_pstrdup(r->pool, json);

        ngx_http_intent_api_finalize(r, (ctx->json.data == NULL)
                                     ? NGX_HTTP_INTERNAL_SERVER_ERROR
                                     : ngx_http_intent_api_send_current(r,
                                                                 &ctx->json));
        return;
    }

    ctx->cache_status = (rc == NGX_DECLINED) ? NGX_HTTP_INTENT_CACHE_MISS
                                             : NGX_HTTP_INTENT_CACHE_BYPASS;

    if (ngx_http_intent_api_ask_store(ctx) == NGX_OK) {
        ngx_http_intent_api_wait(r);
        return;
    }

    rc = ngx_http_intent_api_problem(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                                     ngx_http_intent_api_no_store, NULL);

    ngx_http_intent_api_finalize(r, rc);
}


static ngx_int_t
ngx_http_intent_api_ask_store(ngx_http_intent_api_ctx_t *ctx)
{
    return ngx_http_intent_store_get(&ctx->id, ctx->request->pool,
                                     ngx_http_intent_api_store_handler, ctx);
}


static void
ngx_http_intent_api_store_handler(void *data, ngx_int_t rc,
    ngx_http_intent_t *in)
{
    ngx_http_intent_api_ctx_t  *ctx = data;

    ngx_str_t            json;
    ngx_http_request_t  *r;

    r = ctx->request;

    ngx_http_intent_api_resume(r);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "intent api store: %i, intent %V", rc, &ctx->id);

    if (r->connection->error) {
        ngx_http_intent_api_finalize(r, NGX_ERROR);
        return;
    }

    switch (rc) {

    case NGX_OK:
        ctx->intent = in;
        json = ngx_http_intent_json(r->pool, in);

        if (json.data == NULL) {
            rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
            break;
        }

        ngx_http_intent_cache_fill(&ctx->id, &json);

        rc = ngx_http_intent_api_send_current(r, &json);
        break;

    case NGX_DECLINED:
        rc = ngx_http_intent_api_problem(r, NGX_HTTP_NOT_FOUND,
                                         "there is no such intent", NULL);
        break;

    default: /* NGX_ERROR */
        rc = ngx_http_intent_api_problem(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                                         ngx_http_intent_api_no_store, NULL);
    }

    ngx_http_intent_api_finalize(r, rc);
}
