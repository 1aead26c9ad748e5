
/*
 * Signed intents: the EIP-712 domain of a chain, and wallets that are
 * contracts.  Private to src/chain; what other rooms see is in
 * ngx_http_intent_chain.h.
 */


#ifndef _NGX_HTTP_INTENT_SIGNED_H_INCLUDED_
#define _NGX_HTTP_INTENT_SIGNED_H_INCLUDED_


#include "ngx_http_intent.h"
#include "ngx_http_intent_chain.h"


/* sets the ngx_http_intent_domain_t at cmd->offset in conf */
char *ngx_http_intent_signed_domain(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* what was not set, and the separator; when the chain id is known */
void ngx_http_intent_signed_init_domain(ngx_http_intent_domain_t *domain,
    uint64_t chain_id);


#endif /* _NGX_HTTP_INTENT_SIGNED_H_INCLUDED_ */
