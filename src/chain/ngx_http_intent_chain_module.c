
/*
 * The chain module: what a configuration with intent_chain blocks leads to,
 * and who wakes whose lanes.
 */


#include "ngx_http_intent_lane.h"
#include "ngx_http_intent_cache.h"
#include "ngx_http_intent_endpoint.h"
#include "ngx_http_intent_store.h"


#define NGX_HTTP_INTENT_CHAIN_LABELS  256


static void *ngx_http_intent_chain_create_main_conf(ngx_conf_t *cf);
static ngx_int_t ngx_http_intent_chain_postconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_intent_chain_check_signers(ngx_conf_t *cf,
    ngx_http_intent_chain_conf_t **chains, ngx_uint_t n);
static ngx_int_t ngx_http_intent_chain_remotes(ngx_conf_t *cf,
    ngx_http_intent_chain_conf_t *chain);
static ngx_int_t ngx_http_intent_chain_lanes(ngx_conf_t *cf,
    ngx_http_intent_chain_conf_t *chain);
static ngx_int_t ngx_http_intent_chain_init_process(ngx_cycle_t *cycle);
static ngx_int_t ngx_http_intent_chain_start(ngx_cycle_t *cycle,
    ngx_http_intent_chain_conf_t *chain);
static void ngx_http_intent_chain_exit_process(ngx_cycle_t *cycle);
static void ngx_http_intent_chain_woken(void *data, ngx_str_t *message);


static ngx_http_module_t  ngx_http_intent_chain_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_intent_chain_postconfiguration, /* postconfiguration */

    ngx_http_intent_chain_create_main_conf, /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_intent_chain_module = {
    NGX_MODULE_V1,
    &ngx_http_intent_chain_module_ctx,     /* module context */
    ngx_http_intent_chain_commands,        /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_http_intent_chain_init_process,    /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_intent_chain_exit_process,    /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


ngx_str_t *
ngx_http_intent_chain_find(ngx_str_t *name)
{
    ngx_uint_t                           i;
    ngx_http_intent_chain_conf_t       **chains;
    ngx_http_intent_chain_main_conf_t   *cmcf;

    cmcf = ngx_http_cycle_get_module_main_conf(ngx_cycle,
                                               ngx_http_intent_chain_module);
    chains = cmcf->chains.elts;

    for (i = 0; i < cmcf->chains.nelts; i++) {

        if (name->len == 0
            || (name->len == chains[i]->name.len
                && ngx_memcmp(name->data, chains[i]->name.data, name->len)
                   == 0))
        {
            return &chains[i]->name;
        }
    }

    return NULL;
}


void
ngx_http_intent_chain_wake(ngx_str_t *chain)
{
    ngx_uint_t                           i, n, elsewhere;
    ngx_http_intent_lane_t              *lanes;
    ngx_http_intent_chain_conf_t       **chains;
    ngx_http_intent_chain_main_conf_t   *cmcf;

    cmcf = ngx_http_cycle_get_module_main_conf(ngx_cycle,
                                               ngx_http_intent_chain_module);
    chains = cmcf->chains.elts;

    for (i = 0; i < cmcf->chains.nelts; i++) {

        if (chain->len != chains[i]->name.len
            || ngx_memcmp(chain->data, chains[i]->name.data, chain->len) != 0)
        {
            continue;
        }

        lanes = chains[i]->lanes;
        elsewhere = 0;

        for (n = 0; n < chains[i]->signers.nelts; n++) {

            if (lanes[n].state != NGX_HTTP_INTENT_LANE_RUNNING) {
                elsewhere = 1;
                continue;
            }

            lanes[n].claim_due = 1;
            ngx_http_intent_lane_post(&lanes[n]);
        }

        if (elsewhere) {
            ngx_http_intent_cache_wake(chain);
        }

        return;
    }
}


static void
ngx_http_intent_chain_woken(void *data, ngx_str_t *message)
{
    ngx_http_intent_chain_conf_t  *chain = data;

    ngx_uint_t  i;

    for (i = 0; i < chain->signers.nelts; i++) {
        chain->lanes[i].claim_due = 1;

        if (chain->lanes[i].state == NGX_HTTP_INTENT_LANE_RUNNING) {
            ngx_http_intent_lane_post(&chain->lanes[i]);
        }
    }
}


static void *
ngx_http_intent_chain_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_intent_chain_main_conf_t  *cmcf;

    cmcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_intent_chain_main_conf_t));
    if (cmcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&cmcf->chains, cf->pool, 2,
                       sizeof(ngx_http_intent_chain_conf_t *))
        != NGX_OK)
    {
        return NULL;
    }

    return cmcf;
}


static ngx_int_t
ngx_http_intent_chain_postconfiguration(ngx_conf_t *cf)
{
    ngx_uint_t                           i, n, internal;
    ngx_http_intent_chain_conf_t       **chains, *chain;
    ngx_http_intent_rpc_endpoint_t      *e;
    ngx_http_intent_chain_main_conf_t   *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_intent_chain_module);
    chains = cmcf->chains.elts;

    for (i = 0; i < cmcf->chains.nelts; i++) {
        chain = chains[i];

        if (ngx_http_intent_need_zone(cf, "intent_chain") != NGX_OK) {
            return NGX_ERROR;
        }

        if (!ngx_http_intent_store_configured(cf)) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"intent_chain\" needs \"intent_postgres\" "
                          "in %s:%ui", chain->file, chain->line);
            return NGX_ERROR;
        }

        if (cmcf->need_domain && !chain->own_domain) {
            ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                          "intents are signed, and intent_chain \"%V\" has no "
                          "\"eip712_domain\": what is signed for any other "
                          "gateway that has none is good here too, write "
                          "\"eip712_domain 'Name of your service';\" "
                          "in %s:%ui",
                          &chain->name, chain->file, chain->line);
        }

        e = chain->endpoints.elts;

        for (n = 0; n < chain->endpoints.nelts; n++) {

            e[n].ctx = ngx_http_intent_rpc_find_server(cf, &e[n].uri,
                                                       &internal);
            if (e[n].ctx == NULL) {
                ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                              "no server has a location for rpc \"%V\", add "
                              "\"location %V { internal; proxy_pass ...; }\" "
                              "in %V:%ui", &e[n].uri, &e[n].uri, &e[n].file,
                              e[n].line);
                return NGX_ERROR;
            }

            if (!internal) {
                ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                              "the location of rpc \"%V\" is not internal: "
                              "clients can call the node in %V:%ui",
                              &e[n].uri, &e[n].file, e[n].line);
            }
        }

        if (ngx_http_intent_chain_check_signers(cf, chains, i) != NGX_OK
            || ngx_http_intent_chain_remotes(cf, chain) != NGX_OK
            || ngx_http_intent_endpoints_init(cf, &chain->endpoints,
                                              &chain->name, chain->chain_id)
               != NGX_OK
            || ngx_http_intent_chain_lanes(cf, chain) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* one lane for one (chain id, signer), whatever the chains are called */

static ngx_int_t
ngx_http_intent_chain_check_signers(ngx_conf_t *cf,
    ngx_http_intent_chain_conf_t **chains, ngx_uint_t n)
{
    ngx_uint_t                  i, a, b;
    ngx_http_intent_signer_t  **ours, **theirs;

    ours = chains[n]->signers.elts;

    for (i = 0; i < n; i++) {

        if (chains[i]->chain_id != chains[n]->chain_id) {
            continue;
        }

        theirs = chains[i]->signers.elts;

        for (a = 0; a < chains[n]->signers.nelts; a++) {
            for (b = 0; b < chains[i]->signers.nelts; b++) {

                if (ngx_memcmp(ours[a]->address, theirs[b]->address,
                               EVM_ADDRESS_LEN)
                    != 0)
                {
                    continue;
                }

                ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                              "signer %V of chain id %uL is in intent_chain "
                              "\"%V\" and \"%V\", it should be in one of "
                              "them", &ours[a]->name, chains[n]->chain_id,
                              &chains[i]->name, &chains[n]->name);
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_chain_remotes(ngx_conf_t *cf,
    ngx_http_intent_chain_conf_t *chain)
{
    ngx_uint_t                       i, internal;
    ngx_http_intent_signer_t       **signers;
    ngx_http_intent_rpc_endpoint_t  *e;

    signers = chain->signers.elts;

    for (i = 0; i < chain->signers.nelts; i++) {

        if (signers[i]->remote == NULL) {
            continue;
        }

        e = signers[i]->remote->elts;

        if (e->ctx) {
            continue;
        }

        e->ctx = ngx_http_intent_rpc_find_server(cf, &e->uri, &internal);

        if (e->ctx == NULL) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "no server has a location for signer \"remote=%V\", "
                          "add \"location %V { internal; proxy_pass ...; }\" "
                          "in %V:%ui", &e->uri, &e->uri, &e->file, e->line);
            return NGX_ERROR;
        }

        /* who can call it has anything signed */

        if (!internal) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "the location of signer \"remote=%V\" is not "
                          "internal: clients could have anything signed, add "
                          "\"internal;\" to it in %V:%ui", &e->uri, &e->file,
                          e->line);
            return NGX_ERROR;
        }

        if (ngx_http_intent_endpoints_init(cf, signers[i]->remote,
                                           &chain->name, chain->chain_id)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_chain_lanes(ngx_conf_t *cf,
    ngx_http_intent_chain_conf_t *chain)
{
    u_char                     text[NGX_HTTP_INTENT_CHAIN_LABELS], *p;
    ngx_str_t                  labels, signer, *reason;
    ngx_uint_t                 i, n;
    ngx_http_intent_lane_t    *lane;
    ngx_http_intent_stat_t   **retries;
    ngx_http_intent_signer_t **signers;

    labels.data = text;
    ngx_str_set(&signer, "signer");
    signers = chain->signers.elts;

    chain->lanes = ngx_pcalloc(cf->pool, chain->signers.nelts
                                         * sizeof(ngx_http_intent_lane_t));
    retries = ngx_palloc(cf->pool, NGX_HTTP_INTENT_RETRIES
                                   * sizeof(ngx_http_intent_stat_t *));

    if (chain->lanes == NULL || retries == NULL) {
        return NGX_ERROR;
    }

    for (n = 0; n < NGX_HTTP_INTENT_RETRIES; n++) {

        reason = (n == NGX_HTTP_INTENT_RETRY_SIGNER)
                 ? &signer : ngx_http_intent_rpc_class_name(n);

        p = ngx_snprintf(text, sizeof(text), "chain=\"%V\",reason=\"%V\"",
                         &chain->name, reason);
        labels.len = p - text;

        retries[n] = ngx_http_intent_stat_add(cf, NGX_HTTP_INTENT_COUNTER,
                         "intent_retries_total",
                         "What was tried again, by the reason.", &labels);

        if (retries[n] == NULL) {
            return NGX_ERROR;
        }
    }

    for (i = 0; i < chain->signers.nelts; i++) {
        lane = &chain->lanes[i];

        p = ngx_snprintf(text, sizeof(text), "chain=\"%V\",signer=\"%V\"",
                         &chain->name, &signers[i]->name);
        labels.len = p - text;

        lane->conf = chain;
        lane->signer = signers[i];
        lane->retries = retries;

        lane->in_flight = ngx_http_intent_stat_add(cf, NGX_HTTP_INTENT_GAUGE,
                              "intent_lane_in_flight",
                              "Intents that a lane is carrying out.",
                              &labels);

        lane->balance = ngx_http_intent_stat_add(cf, NGX_HTTP_INTENT_GAUGE,
                              "intent_signer_balance_wei",
                              "What the signer has to pay gas with.",
                              &labels);

        if (lane->in_flight == NULL || lane->balance == NULL
            || ngx_http_intent_chain_health_init(cf, lane, &labels) != NGX_OK
            || ngx_http_intent_share_init(cf, lane) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_chain_init_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                           i;
    ngx_http_intent_chain_conf_t       **chains;
    ngx_http_intent_chain_main_conf_t   *cmcf;

    cmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_intent_chain_module);

    if (cmcf == NULL || cmcf->chains.nelts == 0
        || !ngx_http_intent_is_worker())
    {
        return NGX_OK;
    }

    if (ngx_http_intent_signer_init(cycle->log) != NGX_OK) {
        return NGX_ERROR;
    }

    chains = cmcf->chains.elts;

    for (i = 0; i < cmcf->chains.nelts; i++) {
        if (ngx_http_intent_chain_start(cycle, chains[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_chain_start(ngx_cycle_t *cycle,
    ngx_http_intent_chain_conf_t *chain)
{
    u_char      *p;
    ngx_str_t   *channel;
    ngx_uint_t   i;

    for (i = 0; i < chain->signers.nelts; i++) {
        ngx_http_intent_signer_lock(chain->lanes[i].signer);

        if (ngx_http_intent_lane_init(&chain->lanes[i], cycle->log)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (ngx_http_intent_endpoints_start(cycle, &chain->endpoints) != NGX_OK) {
        return NGX_ERROR;
    }

    channel = ngx_palloc(cycle->pool, sizeof(ngx_str_t));
    if (channel == NULL) {
        return NGX_ERROR;
    }

    channel->len = sizeof("wake:") - 1 + chain->name.len;
    channel->data = ngx_pnalloc(cycle->pool, channel->len);
    if (channel->data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(channel->data, "wake:", sizeof("wake:") - 1);
    ngx_memcpy(p, chain->name.data, chain->name.len);

    (void) ngx_http_intent_cache_subscribe(channel,
                                           ngx_http_intent_chain_woken, chain);

    return NGX_OK;
}


static void
ngx_http_intent_chain_exit_process(ngx_cycle_t *cycle)
{
    ngx_http_intent_chain_main_conf_t  *cmcf;

    cmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_intent_chain_module);

    if (cmcf == NULL || cmcf->chains.nelts == 0
        || !ngx_http_intent_is_worker())
    {
        return;
    }

    evm_secp256k1_done();
}
