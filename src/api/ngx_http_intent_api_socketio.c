
/*
 * Who calls, for the transports that are not below intent_api.
 */


#include "ngx_http_intent_api.h"
#include "ngx_http_intent_push.h"


ngx_int_t
ngx_http_intent_push_user(ngx_http_request_t *r, ngx_str_t *user)
{
    ngx_int_t                   rc;
    ngx_http_intent_api_ctx_t  *ctx;

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_intent_api_ctx_t));
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_http_intent_api_user(r, ctx);

    *user = ctx->user;

    return rc;
}
