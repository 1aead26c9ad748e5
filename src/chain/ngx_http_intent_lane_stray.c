
/*
 * Intents that nothing will carry on: their chain, or the signer that has
 * them, was taken out of the configuration.  Told when the first of all
 * lanes is opened: after each start, and each time it changes hands.
 */


#include "ngx_http_intent_lane.h"


static void ngx_http_intent_stray_told(void *data, ngx_int_t rc,
    ngx_http_intent_store_rows_t *rows);


void
ngx_http_intent_lane_strays(ngx_http_intent_lane_t *lane)
{
    ngx_uint_t                           i, n, k, nlanes;
    ngx_http_intent_chain_conf_t       **chains;
    ngx_http_intent_store_lane_t       **store;
    ngx_http_intent_chain_main_conf_t   *cmcf;

    cmcf = ngx_http_cycle_get_module_main_conf(ngx_cycle,
                                               ngx_http_intent_chain_module);
    chains = cmcf->chains.elts;

    if (lane != &chains[0]->lanes[0]) {
        return;
    }

    nlanes = 0;

    for (i = 0; i < cmcf->chains.nelts; i++) {
        nlanes += chains[i]->signers.nelts;
    }

    store = ngx_alloc(nlanes * sizeof(ngx_http_intent_store_lane_t *),
                      lane->log);
    if (store == NULL) {
        return;
    }

    k = 0;

    for (i = 0; i < cmcf->chains.nelts; i++) {
        for (n = 0; n < chains[i]->signers.nelts; n++) {
            store[k++] = &chains[i]->lanes[n].store;
        }
    }

    if (ngx_http_intent_store_lane_strays(store, nlanes,
                                          ngx_http_intent_stray_told, lane)
        == NGX_OK)
    {
        lane->ops++;
    }

    ngx_free(store);
}


static void
ngx_http_intent_stray_told(void *data, ngx_int_t rc,
    ngx_http_intent_store_rows_t *rows)
{
    ngx_http_intent_lane_t  *lane = data;

    u_char      text[2 + 2 * EVM_ADDRESS_LEN], *p;
    int64_t     count;
    ngx_str_t   chain, signer;
    ngx_uint_t  i;

    lane->ops--;

    for (i = 0; rc == NGX_OK && i < ngx_http_intent_store_rows(rows); i++) {

        count = ngx_http_intent_store_stray(rows, i, &chain, &signer);

        if (signer.len != EVM_ADDRESS_LEN) {
            ngx_log_error(NGX_LOG_WARN, lane->log, 0,
                          "%L intents wait for the intent chain \"%V\", which "
                          "is not configured here", count, &chain);
            continue;
        }

        p = ngx_cpymem(text, "0x", 2);
        (void) ngx_hex_dump(p, signer.data, signer.len);

        ngx_log_error(NGX_LOG_WARN, lane->log, 0,
                      "%L executing intents of chain \"%V\" are those of "
                      "signer %*s, which is not configured here: unless "
                      "another host has it, they stand still", count, &chain,
                      sizeof(text), text);
    }

    if (lane->state == NGX_HTTP_INTENT_LANE_CLOSING) {
        ngx_http_intent_lane_post(lane);
    }
}
