
/*
 * Carrying out: the intent_chain blocks and the lanes behind them.
 */


#ifndef _NGX_HTTP_INTENT_CHAIN_H_INCLUDED_
#define _NGX_HTTP_INTENT_CHAIN_H_INCLUDED_


#include "ngx_http_intent.h"


/*
 * The chain an intent goes to: named (by the body or by its type), or, where
 * name is empty, the first in the configuration.  Returns its name, NULL
 * where there is none.
 */
ngx_str_t *ngx_http_intent_chain_find(ngx_str_t *name);

/* there is something new to claim: wakes this host's and others' lanes */
void ngx_http_intent_chain_wake(ngx_str_t *chain);


extern ngx_module_t  ngx_http_intent_chain_module;


#endif /* _NGX_HTTP_INTENT_CHAIN_H_INCLUDED_ */
