
/* what nodes mean by their error messages; private to src/chain */


#ifndef _NGX_HTTP_INTENT_RPC_CLASS_H_INCLUDED_
#define _NGX_HTTP_INTENT_RPC_CLASS_H_INCLUDED_


#include "ngx_http_intent.h"


typedef enum {
    NGX_HTTP_INTENT_RPC_KNOWN = 0,     /* the node has it already: sent */
    NGX_HTTP_INTENT_RPC_NONCE_LOW,     /* ours was mined, or another's */
    NGX_HTTP_INTENT_RPC_GAP,           /* an earlier nonce is missing */
    NGX_HTTP_INTENT_RPC_REPLACEMENT,   /* another one of this nonce pays more */
    NGX_HTTP_INTENT_RPC_UNDERPRICED,
    NGX_HTTP_INTENT_RPC_BACKPRESSURE,  /* later, or another node */
    NGX_HTTP_INTENT_RPC_FUNDS,
    NGX_HTTP_INTENT_RPC_FEE_CAP,       /* the node's own limit */
    NGX_HTTP_INTENT_RPC_REVERT,        /* the call cannot succeed */
    NGX_HTTP_INTENT_RPC_FATAL,         /* this transaction is never taken */
    NGX_HTTP_INTENT_RPC_UNKNOWN,       /* anything may have happened */
    NGX_HTTP_INTENT_RPC_CLASSES
} ngx_http_intent_rpc_class_e;

ngx_uint_t ngx_http_intent_rpc_classify(ngx_str_t *message);
ngx_str_t *ngx_http_intent_rpc_class_name(ngx_uint_t class);

/*
 * The code that was run said no.  With a revert's data besides, any message is
 * one; whoever has the whole error sees to that, see jsonrpc.c.
 */
ngx_uint_t ngx_http_intent_rpc_is_revert(int64_t code, ngx_str_t *message);

/* errors that say something of the node, and not of what it was asked */
ngx_uint_t ngx_http_intent_rpc_is_limit(int64_t code, ngx_str_t *message);
ngx_uint_t ngx_http_intent_rpc_is_unknown_method(int64_t code,
    ngx_str_t *message);
/* it does not have the block, or what was at it; another node may */
ngx_uint_t ngx_http_intent_rpc_is_no_state(ngx_str_t *message);


#endif /* _NGX_HTTP_INTENT_RPC_CLASS_H_INCLUDED_ */
