
/*
 * What is counted of requests.
 */


#include "ngx_http_intent_api.h"


static ngx_http_intent_api_stats_t *ngx_http_intent_api_find_stats(
    ngx_http_intent_type_t *type);
static ngx_http_intent_stat_t *ngx_http_intent_api_add_stat(ngx_conf_t *cf,
    const char *family, const char *help, ngx_str_t *type, const char *label,
    const char *value);


/* in the order of ngx_http_intent_rejected_e */

static const char  *ngx_http_intent_api_reasons[] = {
    "json",
    "invalid",
    "signature",
    "user",
    "duplicate",
    "batch",
    "limit",
    "media_type",
    "too_large",
    "store"
};


void
ngx_http_intent_api_rejected(ngx_http_intent_type_t *type, ngx_uint_t reason)
{
    ngx_http_intent_api_stats_t  *stats;

    stats = ngx_http_intent_api_find_stats(type);

    if (stats) {
        ngx_http_intent_stat_inc(stats->rejected[reason], 1);
    }
}


void
ngx_http_intent_api_replayed(ngx_http_intent_type_t *type,
    ngx_uint_t by_signature)
{
    ngx_http_intent_api_stats_t  *stats;

    stats = ngx_http_intent_api_find_stats(type);

    if (stats && type) {
        ngx_http_intent_stat_inc(stats->replayed[by_signature], 1);
    }
}


static ngx_http_intent_api_stats_t *
ngx_http_intent_api_find_stats(ngx_http_intent_type_t *type)
{
    ngx_str_t                         name;
    ngx_uint_t                        i;
    ngx_http_intent_api_stats_t      *stats;
    ngx_http_intent_api_main_conf_t  *amcf;

    ngx_str_null(&name);

    if (type) {
        name = *ngx_http_intent_type_name(type);
    }

    amcf = ngx_http_cycle_get_module_main_conf(ngx_cycle,
                                               ngx_http_intent_api_module);
    stats = amcf->stats.elts;

    for (i = 0; i < amcf->stats.nelts; i++) {
        if (stats[i].type.len == name.len
            && ngx_memcmp(stats[i].type.data, name.data, name.len) == 0)
        {
            return &stats[i];
        }
    }

    return NULL;
}


ngx_int_t
ngx_http_intent_api_add_stats(ngx_conf_t *cf,
    ngx_http_intent_api_main_conf_t *amcf, ngx_str_t *type)
{
    ngx_uint_t                    i;
    ngx_http_intent_api_stats_t  *stats;

    static const char  *by[] = { "key", "signature" };

    stats = ngx_array_push(&amcf->stats);
    if (stats == NULL) {
        return NGX_ERROR;
    }

    stats->type = *type;

    for (i = 0; i < NGX_HTTP_INTENT_REJECTED_REASONS; i++) {
        stats->rejected[i] = ngx_http_intent_api_add_stat(cf,
                                  "intents_rejected_total",
                                  "Intents that were not accepted.", type,
                                  "reason", ngx_http_intent_api_reasons[i]);

        if (stats->rejected[i] == NULL) {
            return NGX_ERROR;
        }
    }

    /* what names no type is no intent, and there was none before */

    for (i = 0; i < 2 && type->len; i++) {
        stats->replayed[i] = ngx_http_intent_api_add_stat(cf,
                                  "intents_replayed_total",
                                  "Intents that were there already.", type,
                                  "by", by[i]);

        if (stats->replayed[i] == NULL) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_http_intent_stat_t *
ngx_http_intent_api_add_stat(ngx_conf_t *cf, const char *family,
    const char *help, ngx_str_t *type, const char *label, const char *value)
{
    u_char     *p;
    ngx_str_t   labels;

    p = ngx_pnalloc(cf->pool, sizeof("type=\"\",=\"\"") + type->len
                              + ngx_strlen(label) + ngx_strlen(value));
    if (p == NULL) {
        return NULL;
    }

    labels.data = p;
    labels.len = ngx_sprintf(p, "type=\"%V\",%s=\"%s\"", type, label, value)
                 - p;

    return ngx_http_intent_stat_add(cf, NGX_HTTP_INTENT_COUNTER, family, help,
                                    &labels);
}
