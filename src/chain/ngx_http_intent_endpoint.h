
/*
 * Which of a chain's nodes to ask.  What each is like (how often it fails, how
 * fast it answers, how far behind it is) is in shared memory: all workers of a
 * host learn from what one of them meets.  Private to src/chain.
 *
 * A breaker for each: closed, it is used; open, it is left, for longer each
 * time; half-open, it is tried.  Where there are several nodes, those that
 * nothing was asked of are probed now and then.
 */


#ifndef _NGX_HTTP_INTENT_ENDPOINT_H_INCLUDED_
#define _NGX_HTTP_INTENT_ENDPOINT_H_INCLUDED_


#include "ngx_http_intent_rpc.h"


/* of one chain, at most */
#define NGX_HTTP_INTENT_ENDPOINTS  16


typedef enum {
    NGX_HTTP_INTENT_ENDPOINT_CLOSED = 0,
    NGX_HTTP_INTENT_ENDPOINT_HALF_OPEN,
    NGX_HTTP_INTENT_ENDPOINT_OPEN
} ngx_http_intent_endpoint_state_e;


typedef enum {
    NGX_HTTP_INTENT_ENDPOINT_READ = 0,
    NGX_HTTP_INTENT_ENDPOINT_SEND
} ngx_http_intent_endpoint_purpose_e;


/*
 * During configuration, when all endpoints of a chain are known: their place
 * in shared memory, and their statistics.
 */
ngx_int_t ngx_http_intent_endpoints_init(ngx_conf_t *cf,
    ngx_array_t *endpoints, ngx_str_t *chain, uint64_t chain_id);

/* in init_process: begins to probe, what is left or not asked otherwise */
ngx_int_t ngx_http_intent_endpoints_start(ngx_cycle_t *cycle,
    ngx_array_t *endpoints);

/*
 * The healthiest, one of the equals by weight; another one than except if
 * that is no worse (NULL: no exception).  Never NULL: where none is well, the
 * least bad, in turn.
 */
ngx_http_intent_rpc_endpoint_t *ngx_http_intent_endpoint_choose(
    ngx_array_t *endpoints, ngx_uint_t purpose,
    ngx_http_intent_rpc_endpoint_t *except);

/*
 * For who asks one node again and again, to see one state of the chain: the
 * index of the endpoint to go on with.  It is the same one while it is well,
 * but for a new choice now and then, which keeps the weights.
 */
ngx_uint_t ngx_http_intent_endpoint_keep(ngx_array_t *endpoints,
    ngx_uint_t current, ngx_msec_t *chosen_at);

/* the one to send transactions to: current, if it takes any */
ngx_http_intent_rpc_endpoint_t *ngx_http_intent_endpoint_for_send(
    ngx_array_t *endpoints, ngx_uint_t current);

/* after a failure of current, the index of the one to go on with */
ngx_uint_t ngx_http_intent_endpoint_next(ngx_array_t *endpoints,
    ngx_uint_t current);

/* ms for which every one of them has asked not to be asked; 0: ask */
ngx_msec_t ngx_http_intent_endpoint_wait(ngx_array_t *endpoints);

ngx_uint_t ngx_http_intent_endpoint_state(ngx_http_intent_rpc_endpoint_t *e);
/* it was asked, and has given no usable answer to anything for some seconds */
ngx_uint_t ngx_http_intent_endpoint_is_slow(ngx_http_intent_rpc_endpoint_t *e);
/* -1: not known */
int64_t ngx_http_intent_endpoint_head(ngx_http_intent_rpc_endpoint_t *e);
/* what the state is called */
char *ngx_http_intent_endpoint_state_name(ngx_uint_t state);

/* for jsonrpc: a call begins, and is over (rc as its handler is told) */
void ngx_http_intent_endpoint_asked(ngx_http_intent_jsonrpc_t *j);
void ngx_http_intent_endpoint_answered(ngx_http_intent_jsonrpc_t *j,
    ngx_int_t rc);


#endif /* _NGX_HTTP_INTENT_ENDPOINT_H_INCLUDED_ */
