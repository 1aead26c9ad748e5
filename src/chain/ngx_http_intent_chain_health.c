
/*
 * What is to be known of the chains from outside: which nodes are used, which
 * lanes somebody has, and whose money runs low.
 */


#include "ngx_http_intent_lane.h"


/* a worker that has no lane asks for it every 2.5 seconds at the least */
#define NGX_HTTP_INTENT_LANE_UNSEEN  10000


static json_t *ngx_http_intent_chain_health_endpoints(
    ngx_http_intent_chain_conf_t *chain, ngx_uint_t *health, json_t *down);
static json_t *ngx_http_intent_chain_health_lanes(
    ngx_http_intent_chain_conf_t *chain, ngx_uint_t *health, json_t *down);
static void ngx_http_intent_chain_health_say(json_t *down, const char *fmt,
    ...);


ngx_int_t
ngx_http_intent_chain_health_init(ngx_conf_t *cf,
    ngx_http_intent_lane_t *lane, ngx_str_t *labels)
{
    u_char     text[256];
    ngx_str_t  key;

    key.data = text;
    key.len = ngx_snprintf(text, sizeof(text), "lane:%uL:%V",
                           lane->conf->chain_id, &lane->signer->name)
              - text;

    lane->seen = ngx_http_intent_shared_add(cf, &key, sizeof(ngx_atomic_t));

    lane->low = ngx_http_intent_stat_add(cf, NGX_HTTP_INTENT_GAUGE,
                    "intent_signer_balance_low",
                    "1: the signer has less than \"min_balance\".", labels);

    return (lane->seen && lane->low) ? NGX_OK : NGX_ERROR;
}


void
ngx_http_intent_lane_seen(ngx_http_intent_lane_t *lane)
{
    ngx_atomic_t  *seen;

    seen = lane->seen->addr;

    /* 0 is never */

    *seen = ngx_current_msec | 1;
}


ngx_uint_t
ngx_http_intent_lane_is_seen(ngx_http_intent_lane_t *lane)
{
    ngx_msec_t     unseen;
    ngx_atomic_t  *seen;

    seen = lane->seen->addr;
    unseen = ngx_max(NGX_HTTP_INTENT_LANE_UNSEEN,
                     3 * lane->conf->poll_interval);

    /* another worker's clock may be ahead by a turn of its loop */

    return *seen
           && (ngx_msec_int_t) (ngx_current_msec - *seen)
              < (ngx_msec_int_t) unseen;
}


void
ngx_http_intent_lane_check_balance(ngx_http_intent_lane_t *lane)
{
    ngx_uint_t                     low;
    ngx_http_intent_chain_conf_t  *conf;

    conf = lane->conf;

    low = evm_u256_cmp(&lane->funds, &conf->min_balance) < 0;

    ngx_http_intent_stat_set(lane->low, low);

    if (low && !lane->is_low) {
        ngx_log_error(NGX_LOG_WARN, lane->log, 0,
                      "intent chain \"%V\": %V has less than its "
                      "\"min_balance\"", &conf->name, &lane->signer->name);

    } else if (!low && lane->is_low) {
        ngx_log_error(NGX_LOG_NOTICE, lane->log, 0,
                      "intent chain \"%V\": %V has its \"min_balance\" again",
                      &conf->name, &lane->signer->name);
    }

    lane->is_low = low;
}


json_t *
ngx_http_intent_chain_health(ngx_uint_t *health, json_t *down)
{
    json_t                              *chains, *chain;
    ngx_uint_t                           i, own;
    ngx_http_intent_chain_conf_t       **confs;
    ngx_http_intent_chain_main_conf_t   *cmcf;

    cmcf = ngx_http_cycle_get_module_main_conf(ngx_cycle,
                                               ngx_http_intent_chain_module);
    confs = cmcf->chains.elts;
    chains = json_array();

    for (i = 0; i < cmcf->chains.nelts; i++) {

        own = NGX_HTTP_INTENT_HEALTH_UP;
        chain = json_object();

        json_object_set_new(chain, "chain",
                            json_stringn((char *) confs[i]->name.data,
                                         confs[i]->name.len));
        json_object_set_new(chain, "rpc",
                   ngx_http_intent_chain_health_endpoints(confs[i], &own,
                                                          down));
        json_object_set_new(chain, "lanes",
                   ngx_http_intent_chain_health_lanes(confs[i], &own, down));
        json_object_set_new(chain, "status",
                   json_string(ngx_http_intent_chain_health_name(own)));

        json_array_append_new(chains, chain);

        *health = ngx_max(*health, own);
    }

    return chains;
}


const char *
ngx_http_intent_chain_health_name(ngx_uint_t health)
{
    static const char  *names[] = { "up", "degraded", "down" };

    return names[ngx_min(health, NGX_HTTP_INTENT_HEALTH_DOWN)];
}


static json_t *
ngx_http_intent_chain_health_endpoints(ngx_http_intent_chain_conf_t *chain,
    ngx_uint_t *health, json_t *down)
{
    json_t                          *list, *item;
    int64_t                          head;
    ngx_uint_t                       i, state, slow, used;
    ngx_http_intent_rpc_endpoint_t  *e;

    list = json_array();
    used = 0;
    e = chain->endpoints.elts;

    for (i = 0; i < chain->endpoints.nelts; i++) {

        item = json_object();
        state = ngx_http_intent_endpoint_state(&e[i]);
        slow = ngx_http_intent_endpoint_is_slow(&e[i]);
        head = ngx_http_intent_endpoint_head(&e[i]);

        json_object_set_new(item, "rpc",
                            json_stringn((char *) e[i].uri.data,
                                         e[i].uri.len));
        json_object_set_new(item, "breaker",
                      json_string(ngx_http_intent_endpoint_state_name(state)));
        json_object_set_new(item, "slow", json_boolean(slow));
        json_object_set_new(item, "head",
                            head < 0 ? json_null() : json_integer(head));

        json_array_append_new(list, item);

        if (state == NGX_HTTP_INTENT_ENDPOINT_CLOSED && !slow) {
            used++;
            continue;
        }

        *health = ngx_max(*health, NGX_HTTP_INTENT_HEALTH_DEGRADED);

        ngx_http_intent_chain_health_say(down, "rpc %V of chain %V", &e[i].uri,
                                         &chain->name);
    }

    if (used == 0) {
        *health = NGX_HTTP_INTENT_HEALTH_DOWN;
    }

    return list;
}


static json_t *
ngx_http_intent_chain_health_lanes(ngx_http_intent_chain_conf_t *chain,
    ngx_uint_t *health, json_t *down)
{
    json_t                  *list, *item;
    ngx_uint_t               i, owned;
    ngx_http_intent_lane_t  *lane;

    list = json_array();

    for (i = 0; i < chain->signers.nelts; i++) {

        lane = &chain->lanes[i];
        owned = ngx_http_intent_lane_is_seen(lane);

        item = json_object();

        json_object_set_new(item, "signer",
                            json_stringn((char *) lane->signer->name.data,
                                         lane->signer->name.len));
        json_object_set_new(item, "owner", json_boolean(owned));

        json_array_append_new(list, item);

        if (!owned) {
            *health = NGX_HTTP_INTENT_HEALTH_DOWN;

            ngx_http_intent_chain_health_say(down, "lane of %V of chain %V",
                                             &lane->signer->name,
                                             &chain->name);
        }
    }

    return list;
}


static void
ngx_http_intent_chain_health_say(json_t *down, const char *fmt, ...)
{
    u_char   text[256], *p;
    va_list  args;

    va_start(args, fmt);
    p = ngx_vslprintf(text, text + sizeof(text), fmt, args);
    va_end(args);

    json_array_append_new(down, json_stringn((char *) text, p - text));
}
