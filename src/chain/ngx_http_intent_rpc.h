
/*
 * Calls to chain nodes: posts of JSON-RPC to the operator's internal
 * locations.  Private to src/chain.
 */


#ifndef _NGX_HTTP_INTENT_RPC_H_INCLUDED_
#define _NGX_HTTP_INTENT_RPC_H_INCLUDED_


#include "ngx_http_intent.h"
#include "ngx_http_intent_post.h"

#include <jansson.h>


/* larger answers are refused: 256 receipts have 300 kB or so */
#define NGX_HTTP_INTENT_RPC_MAX_BODY  (32 * 1024 * 1024)

/*
 * The proxy's time limits are between two reads; this one is for a call as a
 * whole, and above their default
 */
#define NGX_HTTP_INTENT_RPC_DEADLINE  75000


typedef struct {
    ngx_str_t                  uri;
    ngx_uint_t                 weight;
    ngx_http_conf_ctx_t       *ctx;         /* of the server it is in */
    ngx_uint_t                 line;
    ngx_str_t                  file;

    ngx_array_t               *peers;       /* all of the chain, this too */
    ngx_str_t                  chain;
    uint64_t                   chain_id;

    ngx_http_intent_shared_t  *health;

    ngx_http_intent_stat_t    *ok;
    ngx_http_intent_stat_t    *failed;      /* no usable answer */
    ngx_http_intent_stat_t    *refused;     /* JSON-RPC errors */
    ngx_http_intent_stat_t    *limited;     /* too many requests */
    ngx_http_intent_stat_t    *seconds;
    ngx_http_intent_stat_t    *head;
    ngx_http_intent_stat_t    *breaker;
} ngx_http_intent_rpc_endpoint_t;


/* the call itself is a background post, with what that has for its handler */
typedef ngx_http_intent_post_t   ngx_http_intent_rpc_t;
typedef ngx_http_intent_post_pt  ngx_http_intent_rpc_pt;

#define ngx_http_intent_rpc_destroy      ngx_http_intent_post_destroy
#define ngx_http_intent_rpc_give_up      ngx_http_intent_post_give_up
#define ngx_http_intent_rpc_cancel       ngx_http_intent_post_cancel
#define ngx_http_intent_rpc_find_server  ngx_http_intent_post_find_server


/*
 * A pool for the call and what the caller puts into it; he may set timeout, in
 * ms for the call as a whole.  NULL: no memory.
 */
ngx_http_intent_rpc_t *ngx_http_intent_rpc_create(void);

/* posts body to the endpoint, as ngx_http_intent_post_send() does */
ngx_int_t ngx_http_intent_rpc_send(ngx_http_intent_rpc_t *rpc,
    ngx_http_intent_rpc_endpoint_t *endpoint, ngx_str_t *body,
    ngx_http_intent_rpc_pt handler, void *data);


/* ---- JSON-RPC 2.0 ---- */

typedef struct ngx_http_intent_jsonrpc_s  ngx_http_intent_jsonrpc_t;

/*
 * rc NGX_OK: every item has an answer, a result or an error; NGX_ERROR: there
 * is no usable answer, reason says why.  A node that says "too many requests",
 * or that it does not know a method that cannot be done without, to any of
 * the items has not given a usable answer.
 */
typedef void (*ngx_http_intent_jsonrpc_pt)(void *data,
    ngx_http_intent_jsonrpc_t *j, ngx_int_t rc);

struct ngx_http_intent_jsonrpc_s {
    ngx_http_intent_rpc_t           *rpc;
    ngx_pool_t                      *pool;
    ngx_uint_t                       n;
    ngx_str_t                        reason;
    ngx_http_intent_rpc_endpoint_t  *endpoint;  /* that was asked */

    /* private */
    ngx_array_t                      methods;   /* of const char * */
    ngx_array_t                      body;      /* of u_char */
    ngx_uint_t                       head_item; /* + 1; 0: not asked for */
    ngx_uint_t                       chain_item; /* + 1 */
    int64_t                          best;      /* head known when asked */
    const char                      *lacks;     /* a method */
    unsigned                         limited:1; /* too many requests */
    unsigned                         probe:1;
    json_t                          *root;
    json_t                         **answers;
    ngx_uint_t                       first_id;
    ngx_http_intent_jsonrpc_pt       handler;
    void                            *data;
    double                           start;
};


ngx_http_intent_jsonrpc_t *ngx_http_intent_jsonrpc_create(void);

/*
 * Adds an item; method is static, params is the inside of the brackets, made
 * as ngx_sprintf() does with at most size bytes.  NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_intent_jsonrpc_add(ngx_http_intent_jsonrpc_t *j,
    const char *method, size_t size, const char *params, ...);

/* as ngx_http_intent_rpc_send(); one item goes without the array */
ngx_int_t ngx_http_intent_jsonrpc_send(ngx_http_intent_jsonrpc_t *j,
    ngx_http_intent_rpc_endpoint_t *endpoint,
    ngx_http_intent_jsonrpc_pt handler, void *data);

void ngx_http_intent_jsonrpc_destroy(ngx_http_intent_jsonrpc_t *j);

/* NULL for an error; json null for a null result; borrowed */
json_t *ngx_http_intent_jsonrpc_result(ngx_http_intent_jsonrpc_t *j,
    ngx_uint_t i);

/*
 * Words for a person and for the table of error classes: the message, with
 * the decoded revert reason where there is one; from j->pool.
 */
ngx_str_t ngx_http_intent_jsonrpc_error(ngx_http_intent_jsonrpc_t *j,
    ngx_uint_t i);


#endif /* _NGX_HTTP_INTENT_RPC_H_INCLUDED_ */
