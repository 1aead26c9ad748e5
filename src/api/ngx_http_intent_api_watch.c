
/*
 * Watching intents live: who calls, and over to the push room.
 */


#include "ngx_http_intent_api.h"
#include "ngx_http_intent_push.h"


static ngx_int_t ngx_http_intent_api_caller(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx, ngx_http_intent_push_caller_t *caller,
    ngx_int_t *answer);
static ngx_int_t ngx_http_intent_api_watch_problem(ngx_http_request_t *r,
    ngx_uint_t status, const char *detail);


ngx_int_t
ngx_http_intent_api_stream(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx)
{
    ngx_int_t                      answer;
    ngx_http_intent_push_caller_t  caller;

    if (ngx_http_intent_api_caller(r, ctx, &caller, &answer) != NGX_OK) {
        return answer;
    }

    return ngx_http_intent_push_websocket(r, &caller);
}


ngx_int_t
ngx_http_intent_api_events(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx)
{
    ngx_int_t                      answer;
    ngx_http_intent_push_caller_t  caller;

    if (ngx_http_intent_api_caller(r, ctx, &caller, &answer) != NGX_OK) {
        return answer;
    }

    return ngx_http_intent_push_sse(r, ctx->id.len ? &ctx->id : NULL, &caller);
}


/* NGX_DECLINED: it has been answered, and *answer is what that returned */

static ngx_int_t
ngx_http_intent_api_caller(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx, ngx_http_intent_push_caller_t *caller,
    ngx_int_t *answer)
{
    switch (ngx_http_intent_api_user(r, ctx)) {

    case NGX_OK:
        break;

    case NGX_DECLINED:
        *answer = ngx_http_discard_request_body(r);

        if (*answer == NGX_OK) {
            *answer = ngx_http_intent_api_problem(r, NGX_HTTP_FORBIDDEN,
                                                  ngx_http_intent_api_bad_user,
                                                  NULL);
        }

        return NGX_DECLINED;

    default: /* NGX_ERROR */
        *answer = NGX_HTTP_INTERNAL_SERVER_ERROR;
        return NGX_DECLINED;
    }

    caller->user = ctx->user;
    caller->problem = ngx_http_intent_api_watch_problem;

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_api_watch_problem(ngx_http_request_t *r, ngx_uint_t status,
    const char *detail)
{
    /* nginx has no words for it */

    if (status == NGX_HTTP_INTENT_PUSH_UPGRADE_REQUIRED) {
        ngx_str_set(&r->headers_out.status_line, "426 Upgrade Required");
    }

    return ngx_http_intent_api_problem(r, status, detail, NULL);
}


ngx_int_t
ngx_http_intent_push_time(u_char *p, size_t len, int64_t *msec)
{
    ngx_uint_t  whole;

    return ngx_http_intent_api_time(p, len, msec, &whole);
}
