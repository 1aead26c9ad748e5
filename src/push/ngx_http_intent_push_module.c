
/*
 * The directives of the push room, and its statistics.
 */


#include "ngx_http_intent_push_socketio.h"


typedef struct {
    ngx_http_intent_push_stats_t  stats[NGX_HTTP_INTENT_PUSH_TRANSPORTS];
} ngx_http_intent_push_main_conf_t;


static ngx_int_t ngx_http_intent_push_postconfiguration(ngx_conf_t *cf);
static void *ngx_http_intent_push_create_main_conf(ngx_conf_t *cf);
static void *ngx_http_intent_push_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_intent_push_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_http_intent_push_origin(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_intent_push_ping(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_http_intent_push_init_process(ngx_cycle_t *cycle);


static ngx_command_t  ngx_http_intent_push_commands[] = {

    { ngx_string("intent_push_origin"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_intent_push_origin,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("intent_push_connections"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_intent_push_loc_conf_t, connections),
      NULL },

    { ngx_string("intent_push_subscriptions"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_intent_push_loc_conf_t, subscriptions),
      NULL },

    { ngx_string("intent_push_buffer_size"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_intent_push_loc_conf_t, buffer),
      NULL },

    { ngx_string("intent_push_message_size"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_intent_push_loc_conf_t, message_size),
      NULL },

    { ngx_string("intent_push_ping"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE12,
      ngx_http_intent_push_ping,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("intent_socketio_connect_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_intent_push_loc_conf_t, connect_timeout),
      NULL },

    { ngx_string("intent_push_retry"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_intent_push_loc_conf_t, retry),
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_intent_push_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_intent_push_postconfiguration, /* postconfiguration */

    ngx_http_intent_push_create_main_conf, /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_intent_push_create_loc_conf,  /* create location configuration */
    ngx_http_intent_push_merge_loc_conf    /* merge location configuration */
};


ngx_module_t  ngx_http_intent_push_module = {
    NGX_MODULE_V1,
    &ngx_http_intent_push_module_ctx,      /* module context */
    ngx_http_intent_push_commands,         /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_http_intent_push_init_process,     /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_http_intent_push_transport_t  *ngx_http_intent_push_transports
                                          [NGX_HTTP_INTENT_PUSH_TRANSPORTS] =
{
    &ngx_http_intent_push_ws_transport,
    &ngx_http_intent_push_sse_transport,
    &ngx_http_intent_socketio_transport
};


static ngx_int_t
ngx_http_intent_push_postconfiguration(ngx_conf_t *cf)
{
    ngx_uint_t                         i;
    ngx_http_intent_push_main_conf_t  *pmcf;

    pmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_intent_push_module);

    for (i = 0; i < NGX_HTTP_INTENT_PUSH_TRANSPORTS; i++) {
        if (ngx_http_intent_push_stats_add(cf, &pmcf->stats[i],
                                     &ngx_http_intent_push_transports[i]->name)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return ngx_http_intent_observe(cf, ngx_http_intent_push_observer);
}


static void *
ngx_http_intent_push_create_main_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_http_intent_push_main_conf_t));
}


static void *
ngx_http_intent_push_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_intent_push_loc_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_http_intent_push_loc_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     conf->origin = 0;
     */

    conf->origins = NGX_CONF_UNSET_PTR;
    conf->connections = NGX_CONF_UNSET_UINT;
    conf->subscriptions = NGX_CONF_UNSET_UINT;
    conf->buffer = NGX_CONF_UNSET_SIZE;
    conf->message_size = NGX_CONF_UNSET_SIZE;
    conf->ping = NGX_CONF_UNSET_MSEC;
    conf->ping_timeout = NGX_CONF_UNSET_MSEC;
    conf->retry = NGX_CONF_UNSET_MSEC;
    conf->connect_timeout = NGX_CONF_UNSET_MSEC;

    return conf;
}


static char *
ngx_http_intent_push_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_intent_push_loc_conf_t  *prev = parent;
    ngx_http_intent_push_loc_conf_t  *conf = child;

    if (conf->origins == NGX_CONF_UNSET_PTR) {

        if (prev->origins == NGX_CONF_UNSET_PTR) {
            prev->origins = NULL;
            prev->origin = NGX_HTTP_INTENT_PUSH_ORIGIN_SELF;
        }

        conf->origins = prev->origins;
        conf->origin = prev->origin;
    }

    ngx_conf_merge_uint_value(conf->connections, prev->connections, 1024);
    ngx_conf_merge_uint_value(conf->subscriptions, prev->subscriptions, 256);
    ngx_conf_merge_size_value(conf->buffer, prev->buffer, 65536);
    ngx_conf_merge_size_value(conf->message_size, prev->message_size, 16384);
    ngx_conf_merge_msec_value(conf->ping, prev->ping, 30000);
    ngx_conf_merge_msec_value(conf->ping_timeout, prev->ping_timeout, 10000);
    ngx_conf_merge_msec_value(conf->retry, prev->retry, 2000);
    ngx_conf_merge_msec_value(conf->connect_timeout, prev->connect_timeout,
                              45000);

    if (conf->subscriptions == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"intent_push_subscriptions\" should be 1 at the "
                           "least");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_intent_push_origin(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_intent_push_loc_conf_t  *plcf = conf;

    ngx_str_t   *value, *origin;
    ngx_uint_t   i;

    if (plcf->origins != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    plcf->origins = ngx_array_create(cf->pool, 4, sizeof(ngx_str_t));
    if (plcf->origins == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strcmp(value[i].data, "self") == 0) {
            plcf->origin |= NGX_HTTP_INTENT_PUSH_ORIGIN_SELF;
            continue;
        }

        if (ngx_strcmp(value[i].data, "any") == 0) {
            plcf->origin |= NGX_HTTP_INTENT_PUSH_ORIGIN_ANY;
            continue;
        }

        if (ngx_strstr(value[i].data, "://") == NULL
            || value[i].data[value[i].len - 1] == '/')
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid origin \"%V\", it should be \"self\", "
                               "\"any\", or as a browser sends it, like "
                               "\"https://example.com\"", &value[i]);
            return NGX_CONF_ERROR;
        }

        origin = ngx_array_push(plcf->origins);
        if (origin == NULL) {
            return NGX_CONF_ERROR;
        }

        *origin = value[i];
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_intent_push_ping(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_intent_push_loc_conf_t  *plcf = conf;

    ngx_str_t   *value;
    ngx_uint_t   i;
    ngx_msec_t  *ms;

    if (plcf->ping != NGX_CONF_UNSET_MSEC) {
        return "is duplicate";
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        ms = (i == 1) ? &plcf->ping : &plcf->ping_timeout;
        *ms = ngx_parse_time(&value[i], 0);

        if (*ms == (ngx_msec_t) NGX_ERROR || *ms == 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid time \"%V\", "
                               "it should be like \"30s\"", &value[i]);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_intent_push_init_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                         i;
    ngx_http_intent_push_main_conf_t  *pmcf;

    pmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_intent_push_module);

    if (pmcf == NULL || !ngx_http_intent_is_worker()) {
        return NGX_OK;
    }

    for (i = 0; i < NGX_HTTP_INTENT_PUSH_TRANSPORTS; i++) {
        ngx_http_intent_push_stats_init(ngx_http_intent_push_transports[i],
                                        &pmcf->stats[i], i);
    }

    return ngx_http_intent_push_hub_init(cycle);
}
