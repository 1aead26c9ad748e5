
/*
 * Calls to chain nodes: a POST to one of the operator's internal locations,
 * made from a timer or anywhere else, without a client's request.  Private
 * to src/chain.
 */


#ifndef _NGX_HTTP_INTENT_RPC_H_INCLUDED_
#define _NGX_HTTP_INTENT_RPC_H_INCLUDED_


#include "ngx_http_intent.h"

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


typedef struct ngx_http_intent_rpc_s  ngx_http_intent_rpc_t;

typedef void (*ngx_http_intent_rpc_pt)(void *data, ngx_http_intent_rpc_t *rpc);

/* what the handler may read; what it points to lives as long as the call */
struct ngx_http_intent_rpc_s {
    ngx_pool_t                *pool;
    ngx_int_t                  rc;          /* NGX_OK: a whole answer */
    ngx_uint_t                 status;      /* of HTTP; 0: none came */
    ngx_msec_t                 retry_after; /* as the node asks; 0: it does not */
    ngx_str_t                  body;

    /* what the caller may set: ms for the call as a whole; 0: the above */
    ngx_msec_t                 timeout;

    /* private */
    ngx_queue_t                queue;
    ngx_http_intent_rpc_pt     handler;
    void                      *data;
    ngx_str_t                 *uri;
    ngx_connection_t          *connection;
    ngx_http_request_t        *request;
    ngx_http_request_t        *subrequest;
    ngx_log_t                  log;
    ngx_http_log_ctx_t         log_ctx;
    ngx_event_t                done;
    ngx_event_t                deadline;
    size_t                     size;        /* of body.data */
    unsigned                   late:1;      /* given up */
    unsigned                   overflow:1;
    unsigned                   no_memory:1;
};


/* a pool for the call and what the caller puts into it; NULL: no memory */
ngx_http_intent_rpc_t *ngx_http_intent_rpc_create(void);

/*
 * Posts body (application/json) to the endpoint.  NGX_OK: handler will be
 * called exactly once, never before this returns, and then everything is
 * freed.  NGX_ERROR: it will not be called, and everything is freed.
 */
ngx_int_t ngx_http_intent_rpc_send(ngx_http_intent_rpc_t *rpc,
    ngx_http_intent_rpc_endpoint_t *endpoint, ngx_str_t *body,
    ngx_http_intent_rpc_pt handler, void *data);

/* frees a call that was not sent */
void ngx_http_intent_rpc_destroy(ngx_http_intent_rpc_t *rpc);

/* ends a call soon: the handler will not be called */
void ngx_http_intent_rpc_cancel(ngx_http_intent_rpc_t *rpc);

/* ends all calls at once, for exit_process: no handler is called */
void ngx_http_intent_rpc_abort_all(void);

/* in postconfiguration: the filter that gathers the answers */
void ngx_http_intent_rpc_init_filter(void);

void ngx_http_intent_rpc_init_process(void);

/* in which server is the location of uri?  NULL: in none */
ngx_http_conf_ctx_t *ngx_http_intent_rpc_find_server(ngx_conf_t *cf,
    ngx_str_t *uri, ngx_uint_t *internal);


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
