
/*
 * Carrying out: the intent_chain blocks and the lanes behind them.
 */


#ifndef _NGX_HTTP_INTENT_CHAIN_H_INCLUDED_
#define _NGX_HTTP_INTENT_CHAIN_H_INCLUDED_


#include "ngx_http_intent.h"
#include "evm.h"

#include <jansson.h>


/*
 * The chain an intent goes to: named (by the body or by its type), or, where
 * name is empty, the first in the configuration.  Returns its name, NULL
 * where there is none.
 */
ngx_str_t *ngx_http_intent_chain_find(ngx_str_t *name);

/* there is something new to claim: wakes this host's and others' lanes */
void ngx_http_intent_chain_wake(ngx_str_t *chain);


/* ---- signed intents ---- */

/* the EIP-712 domain of a chain ("eip712_domain") */
typedef struct {
    ngx_str_t           name;
    ngx_str_t           version;
    uint64_t            chain_id;
    u_char              verifying_contract[EVM_ADDRESS_LEN];
    unsigned            has_contract:1;
    u_char              separator[EVM_HASH_LEN];
} ngx_http_intent_domain_t;

/* in the running configuration; name as chain_find gave it; never NULL then */
ngx_http_intent_domain_t *ngx_http_intent_chain_domain(ngx_str_t *name);

/*
 * While the configuration is read: intents are signed somewhere.  A chain that
 * has no domain of its own is warned of then, at the end.
 */
void ngx_http_intent_chain_need_domain(ngx_conf_t *cf);

/*
 * rc NGX_OK: the contract says that the signature is good; NGX_DECLINED: it
 * is not, or there is no such contract; NGX_ERROR: no node could be asked.
 */
typedef void (*ngx_http_intent_signature_pt)(void *data, ngx_int_t rc);

/*
 * EIP-1271: asks the wallet, on the chain, at its latest block.  NGX_OK:
 * handler will be called exactly once, never before this returns, within some
 * seconds; else it is not called: NGX_DECLINED, hundreds wait to be asked
 * already, or the nodes have asked to be left alone; NGX_ERROR, no memory.
 * Everything is copied; data must live until the handler is called.
 */
ngx_int_t ngx_http_intent_chain_check_signature(ngx_str_t *chain,
    u_char wallet[EVM_ADDRESS_LEN], u_char digest[EVM_HASH_LEN],
    ngx_str_t *signature, ngx_http_intent_signature_pt handler, void *data);


/* ---- health ---- */

typedef enum {
    NGX_HTTP_INTENT_HEALTH_UP = 0,
    NGX_HTTP_INTENT_HEALTH_DEGRADED,    /* it works, with less than all */
    NGX_HTTP_INTENT_HEALTH_DOWN
} ngx_http_intent_health_e;

/*
 * A new array with an object for each chain: its nodes, its lanes.  *health is
 * raised to the worst that was met (a node that is left: degraded; none that
 * is used, or a lane that nobody in the fleet has: down), and what is down is
 * appended to the array down, in words.
 */
json_t *ngx_http_intent_chain_health(ngx_uint_t *health, json_t *down);

const char *ngx_http_intent_chain_health_name(ngx_uint_t health);


extern ngx_module_t  ngx_http_intent_chain_module;


#endif /* _NGX_HTTP_INTENT_CHAIN_H_INCLUDED_ */
