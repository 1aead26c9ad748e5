
/*
 * Calls to chain nodes.
 */


#include "ngx_http_intent_rpc.h"


ngx_http_intent_rpc_t *
ngx_http_intent_rpc_create(void)
{
    ngx_http_intent_rpc_t  *rpc;

    rpc = ngx_http_intent_post_create("rpc");

    if (rpc) {
        rpc->max_body = NGX_HTTP_INTENT_RPC_MAX_BODY;
    }

    return rpc;
}


ngx_int_t
ngx_http_intent_rpc_send(ngx_http_intent_rpc_t *rpc,
    ngx_http_intent_rpc_endpoint_t *endpoint, ngx_str_t *body,
    ngx_http_intent_rpc_pt handler, void *data)
{
    if (rpc->timeout == 0) {
        rpc->timeout = NGX_HTTP_INTENT_RPC_DEADLINE;
    }

    return ngx_http_intent_post_send(rpc, &endpoint->uri, endpoint->ctx, body,
                                     handler, data);
}
