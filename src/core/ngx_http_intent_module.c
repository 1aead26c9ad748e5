
/*
 * The intent_zone directive, and what the rooms register with each other
 * during configuration.
 */


#include "ngx_http_intent_core.h"


#define NGX_HTTP_INTENT_MIN_ZONE  (1024 * 1024)


static ngx_http_intent_name_t *ngx_http_intent_add_name(ngx_conf_t *cf,
    ngx_array_t *names, ngx_str_t *name);

static ngx_int_t ngx_http_intent_postconfiguration(ngx_conf_t *cf);
static void *ngx_http_intent_create_main_conf(ngx_conf_t *cf);
static char *ngx_http_intent_zone(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_http_intent_init_process(ngx_cycle_t *cycle);
static void ngx_http_intent_exit_process(ngx_cycle_t *cycle);


static ngx_command_t  ngx_http_intent_commands[] = {

    { ngx_string("intent_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE2,
      ngx_http_intent_zone,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_intent_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_intent_postconfiguration,     /* postconfiguration */

    ngx_http_intent_create_main_conf,      /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_intent_module = {
    NGX_MODULE_V1,
    &ngx_http_intent_module_ctx,           /* module context */
    ngx_http_intent_commands,              /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_http_intent_init_process,          /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_intent_exit_process,          /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


ngx_http_intent_main_conf_t *
ngx_http_intent_main_conf(void)
{
    return ngx_http_cycle_get_module_main_conf(ngx_cycle,
                                               ngx_http_intent_module);
}


static ngx_http_intent_name_t *
ngx_http_intent_add_name(ngx_conf_t *cf, ngx_array_t *names, ngx_str_t *name)
{
    ngx_http_intent_name_t  *n, **np;

    n = ngx_pcalloc(cf->pool, sizeof(ngx_http_intent_name_t));
    if (n == NULL) {
        return NULL;
    }

    np = ngx_array_push(names);
    if (np == NULL) {
        return NULL;
    }

    n->name = *name;
    n->label = *name;
    *np = n;

    return n;
}


ngx_http_intent_name_t *
ngx_http_intent_add_type(ngx_conf_t *cf, ngx_str_t *name)
{
    ngx_http_intent_main_conf_t  *imcf;

    imcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_intent_module);

    return ngx_http_intent_add_name(cf, &imcf->types, name);
}


ngx_http_intent_name_t *
ngx_http_intent_add_chain(ngx_conf_t *cf, ngx_str_t *name)
{
    ngx_http_intent_main_conf_t  *imcf;

    imcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_intent_module);

    return ngx_http_intent_add_name(cf, &imcf->chains, name);
}


ngx_http_intent_name_t *
ngx_http_intent_add_webhook(ngx_conf_t *cf, ngx_str_t *uri)
{
    ngx_http_intent_main_conf_t  *imcf;

    imcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_intent_module);

    return ngx_http_intent_add_name(cf, &imcf->webhooks, uri);
}


ngx_array_t *
ngx_http_intent_types(ngx_conf_t *cf)
{
    ngx_http_intent_main_conf_t  *imcf;

    imcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_intent_module);

    return &imcf->types;
}


ngx_array_t *
ngx_http_intent_chains(ngx_conf_t *cf)
{
    ngx_http_intent_main_conf_t  *imcf;

    imcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_intent_module);

    return &imcf->chains;
}


ngx_array_t *
ngx_http_intent_webhooks(ngx_conf_t *cf)
{
    ngx_http_intent_main_conf_t  *imcf;

    imcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_intent_module);

    return &imcf->webhooks;
}


ngx_int_t
ngx_http_intent_observe(ngx_conf_t *cf, ngx_http_intent_observer_pt observer)
{
    ngx_http_intent_observer_pt  *op;
    ngx_http_intent_main_conf_t  *imcf;

    imcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_intent_module);

    op = ngx_array_push(&imcf->observers);
    if (op == NULL) {
        return NGX_ERROR;
    }

    *op = observer;

    return NGX_OK;
}


ngx_int_t
ngx_http_intent_conf_unique(ngx_conf_t *cf, ngx_uint_t first)
{
    u_char      *end;
    size_t       len;
    ngx_str_t   *value;
    ngx_uint_t   i, j;

    value = cf->args->elts;

    for (i = first; i < cf->args->nelts; i++) {
        end = ngx_strlchr(value[i].data, value[i].data + value[i].len, '=');

        if (end == NULL) {
            continue;
        }

        len = end + 1 - value[i].data;

        for (j = i + 1; j < cf->args->nelts; j++) {

            if (value[j].len < len
                || ngx_strncmp(value[i].data, value[j].data, len) != 0)
            {
                continue;
            }

            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate parameter \"%*s\" of \"%V\"", len,
                               value[i].data, &value[0]);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_intent_need_zone(ngx_conf_t *cf, char *who)
{
    ngx_http_intent_main_conf_t  *imcf;

    imcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_intent_module);

    if (imcf->zone == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"%s\" needs a zone, add "
                      "\"intent_zone intents 32m;\" to the http block", who);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_postconfiguration(ngx_conf_t *cf)
{
    ngx_http_intent_main_conf_t  *imcf;

    ngx_http_intent_post_init_filter();

    imcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_intent_module);

    if (imcf->zone) {
        imcf->zone->data = imcf;
    }

    return NGX_OK;
}


static void *
ngx_http_intent_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_intent_main_conf_t  *imcf;

    imcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_intent_main_conf_t));
    if (imcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&imcf->types, cf->pool, 4,
                       sizeof(ngx_http_intent_name_t *))
        != NGX_OK
        || ngx_array_init(&imcf->chains, cf->pool, 4,
                          sizeof(ngx_http_intent_name_t *))
           != NGX_OK
        || ngx_array_init(&imcf->webhooks, cf->pool, 4,
                          sizeof(ngx_http_intent_name_t *))
           != NGX_OK
        || ngx_array_init(&imcf->observers, cf->pool, 4,
                          sizeof(ngx_http_intent_observer_pt))
           != NGX_OK
        || ngx_array_init(&imcf->stats, cf->pool, 64,
                          sizeof(ngx_http_intent_stat_t *))
           != NGX_OK
        || ngx_array_init(&imcf->shared, cf->pool, 8,
                          sizeof(ngx_http_intent_shared_t *))
           != NGX_OK)
    {
        return NULL;
    }

    return imcf;
}


static char *
ngx_http_intent_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_intent_main_conf_t  *imcf = conf;

    ssize_t     size;
    ngx_str_t  *value;

    if (imcf->zone) {
        return "is duplicate";
    }

    value = cf->args->elts;

    size = ngx_parse_size(&value[2]);

    if (size == NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid zone size \"%V\", "
                           "it should be like \"32m\"", &value[2]);
        return NGX_CONF_ERROR;
    }

    if (size < NGX_HTTP_INTENT_MIN_ZONE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "zone \"%V\" is too small, "
                           "it should be \"1m\" at the least", &value[1]);
        return NGX_CONF_ERROR;
    }

    imcf->zone = ngx_shared_memory_add(cf, &value[1], size,
                                       &ngx_http_intent_module);
    if (imcf->zone == NULL) {
        return NGX_CONF_ERROR;
    }

    imcf->zone->init = ngx_http_intent_stat_init_zone;

    return NGX_CONF_OK;
}


ngx_uint_t
ngx_http_intent_is_worker(void)
{
    return ngx_process == NGX_PROCESS_WORKER
           || ngx_process == NGX_PROCESS_SINGLE;
}


static ngx_int_t
ngx_http_intent_init_process(ngx_cycle_t *cycle)
{
    ngx_http_intent_main_conf_t  *imcf;

    imcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_intent_module);

    if (imcf == NULL || !ngx_http_intent_is_worker()) {
        return NGX_OK;
    }

    ngx_http_intent_stat_init_process(imcf);
    ngx_http_intent_id_init_process();
    ngx_http_intent_post_init_process();

    return ngx_http_intent_drain_init_process(cycle);
}


static void
ngx_http_intent_exit_process(ngx_cycle_t *cycle)
{
    ngx_http_intent_post_abort_all();
    ngx_http_intent_drain_exit_process();
}
