
/*
 * Rate limiting: the directives and the variables.
 */


#include "ngx_http_intent_limit_private.h"


#define NGX_HTTP_INTENT_LIMIT_MAX      1000000000
#define NGX_HTTP_INTENT_LIMIT_NAME     64


typedef struct {
    ngx_uint_t                         used;
} ngx_http_intent_limit_main_conf_t;


static ngx_int_t ngx_http_intent_limit_status_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_intent_limit_remaining_variable(
    ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data);

static ngx_int_t ngx_http_intent_limit_add_variables(ngx_conf_t *cf);
static ngx_int_t ngx_http_intent_limit_init(ngx_conf_t *cf);
static void *ngx_http_intent_limit_create_main_conf(ngx_conf_t *cf);
static void *ngx_http_intent_limit_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_intent_limit_merge_loc_conf(ngx_conf_t *cf,
    void *parent, void *child);
static char *ngx_http_intent_limit_resolve(ngx_conf_t *cf,
    ngx_http_intent_limit_loc_conf_t *conf);
static ngx_int_t ngx_http_intent_limit_cmp(const void *one, const void *two);

static char *ngx_http_intent_limit_zone(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_intent_limit_zone_size(ngx_conf_t *cf, ngx_str_t *value,
    ngx_str_t *name, ssize_t *size);
static char *ngx_http_intent_limit_zone_name(ngx_conf_t *cf, ngx_str_t *name,
    ngx_http_intent_limit_zone_t *zone);
static char *ngx_http_intent_limit_zone_rate(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_intent_limit_zone_t *zone);
static char *ngx_http_intent_limit_zone_stats(ngx_conf_t *cf,
    ngx_http_intent_limit_zone_t *zone);
static char *ngx_http_intent_limit(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


static ngx_command_t  ngx_http_intent_limit_commands[] = {

    { ngx_string("intent_limit_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE3,
      ngx_http_intent_limit_zone,
      0,
      0,
      NULL },

    { ngx_string("intent_limit"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE12,
      ngx_http_intent_limit,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_intent_limit_module_ctx = {
    ngx_http_intent_limit_add_variables,   /* preconfiguration */
    ngx_http_intent_limit_init,            /* postconfiguration */

    ngx_http_intent_limit_create_main_conf,/* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_intent_limit_create_loc_conf, /* create location configuration */
    ngx_http_intent_limit_merge_loc_conf   /* merge location configuration */
};


ngx_module_t  ngx_http_intent_limit_module = {
    NGX_MODULE_V1,
    &ngx_http_intent_limit_module_ctx,     /* module context */
    ngx_http_intent_limit_commands,        /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_http_variable_t  ngx_http_intent_limit_variables[] = {

    { ngx_string("intent_limit_status"), NULL,
      ngx_http_intent_limit_status_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("intent_limit_remaining"), NULL,
      ngx_http_intent_limit_remaining_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


static ngx_str_t  ngx_http_intent_limit_statuses[] = {
    ngx_null_string,
    ngx_string("PASSED"),
    ngx_string("REJECTED"),
    ngx_string("REJECTED_DRY_RUN")
};


static const char  *ngx_http_intent_limit_results[] = {
    NULL,
    "passed",
    "rejected",
    "rejected_dry_run"
};


static ngx_int_t
ngx_http_intent_limit_status_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_intent_limit_ctx_t  *ctx;

    ctx = ngx_http_intent_limit_get_ctx(r);

    if (ctx == NULL || ctx->result == NGX_HTTP_INTENT_LIMIT_NONE) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;
    v->len = ngx_http_intent_limit_statuses[ctx->result].len;
    v->data = ngx_http_intent_limit_statuses[ctx->result].data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_limit_remaining_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_uint_t                    i, remaining;
    ngx_http_intent_limit_ctx_t  *ctx;

    ctx = ngx_http_intent_limit_get_ctx(r);

    if (ctx == NULL || ctx->nstates == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    remaining = ctx->states[0].remaining;

    for (i = 1; i < ctx->nstates; i++) {
        remaining = ngx_min(remaining, ctx->states[i].remaining);
    }

    v->data = ngx_pnalloc(r->pool, NGX_INT_T_LEN);
    if (v->data == NULL) {
        return NGX_ERROR;
    }

    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;
    v->len = ngx_sprintf(v->data, "%ui", remaining) - v->data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_limit_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_intent_limit_variables; v->name.len; v++) {
        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_limit_init(ngx_conf_t *cf)
{
    ngx_array_t                        *handlers;
    ngx_http_handler_pt                *h;
    ngx_http_core_main_conf_t          *cmcf;
    ngx_http_intent_limit_main_conf_t  *lmcf;

    lmcf = ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_intent_limit_module);

    if (!lmcf->used) {
        return NGX_OK;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    handlers = &cmcf->phases[NGX_HTTP_PREACCESS_PHASE].handlers;

    if (ngx_array_push(handlers) == NULL) {
        return NGX_ERROR;
    }

    /*
     * The last one runs first, and we come after all of nginx's own.  A key is
     * often the address, which realip may change in this phase, too.
     */

    h = handlers->elts;

    ngx_memmove(h + 1, h, (handlers->nelts - 1) * sizeof(ngx_http_handler_pt));
    h[0] = ngx_http_intent_limit_handler;

    return ngx_http_intent_limit_header_filter_init(cf);
}


static void *
ngx_http_intent_limit_create_main_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_http_intent_limit_main_conf_t));
}


static void *
ngx_http_intent_limit_create_loc_conf(ngx_conf_t *cf)
{
    /*
     * set by ngx_pcalloc():
     *
     *     conf->limits.elts = NULL;
     */

    return ngx_pcalloc(cf->pool, sizeof(ngx_http_intent_limit_loc_conf_t));
}


static char *
ngx_http_intent_limit_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_intent_limit_loc_conf_t  *prev = parent;
    ngx_http_intent_limit_loc_conf_t  *conf = child;

    /*
     * All zones are known by now.  What is set at the level of http is merged
     * into each server, so it is resolved there more than once.
     */

    if (conf->limits.elts == NULL) {
        conf->limits = prev->limits;
    }

    return ngx_http_intent_limit_resolve(cf, conf);
}


static char *
ngx_http_intent_limit_resolve(ngx_conf_t *cf,
    ngx_http_intent_limit_loc_conf_t *conf)
{
    ngx_uint_t                i;
    ngx_http_intent_limit_t  *limit;

    limit = conf->limits.elts;

    for (i = 0; i < conf->limits.nelts; i++) {
        limit[i].zone = limit[i].shm_zone->data;

        if (limit[i].zone == NULL) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "there is no zone \"%V\" for intent_limit, it "
                          "should be one of an intent_limit_zone in %V:%ui",
                          &limit[i].shm_zone->shm.name, &limit[i].file,
                          limit[i].line);
            return NGX_CONF_ERROR;
        }
    }

    /* that is the order in which zones are locked */

    ngx_sort(conf->limits.elts, conf->limits.nelts,
             sizeof(ngx_http_intent_limit_t), ngx_http_intent_limit_cmp);

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_intent_limit_cmp(const void *one, const void *two)
{
    const ngx_http_intent_limit_t  *a = one;
    const ngx_http_intent_limit_t  *b = two;

    return ngx_memn2cmp(a->zone->name.data, b->zone->name.data,
                              a->zone->name.len, b->zone->name.len);
}


static char *
ngx_http_intent_limit_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char                              *rv;
    ssize_t                            size;
    ngx_str_t                         *value, name;
    ngx_uint_t                         i;
    ngx_shm_zone_t                    *shm_zone;
    ngx_http_intent_limit_zone_t      *zone, *other;
    ngx_http_compile_complex_value_t   ccv;

    value = cf->args->elts;

    zone = ngx_pcalloc(cf->pool, sizeof(ngx_http_intent_limit_zone_t));
    if (zone == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = &value[1];
    ccv.complex_value = &zone->key;

    if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    size = 0;
    name.len = 0;
    rv = NGX_CONF_OK;

    for (i = 2; i < cf->args->nelts && rv == NGX_CONF_OK; i++) {

        if (ngx_strncmp(value[i].data, "zone=", 5) == 0) {
            rv = ngx_http_intent_limit_zone_size(cf, &value[i], &name, &size);
            continue;
        }

        if (ngx_strncmp(value[i].data, "rate=", 5) == 0) {
            rv = ngx_http_intent_limit_zone_rate(cf, &value[i], zone);
            continue;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\", it should be "
                           "\"zone=name:size\" or \"rate=100r/15m\"",
                           &value[i]);
        return NGX_CONF_ERROR;
    }

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (name.len == 0 || zone->limit == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" must have a \"%s\" parameter, like \"%s\"",
                           &cmd->name, name.len ? "rate" : "zone",
                           name.len ? "rate=100r/15m" : "zone=submit:10m");
        return NGX_CONF_ERROR;
    }

    shm_zone = ngx_shared_memory_add(cf, &name, size,
                                     &ngx_http_intent_limit_module);
    if (shm_zone == NULL) {
        return NGX_CONF_ERROR;
    }

    if (shm_zone->data) {
        other = shm_zone->data;

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%V \"%V\" is already bound to key \"%V\"",
                           &cmd->name, &name, &other->key.value);
        return NGX_CONF_ERROR;
    }

    rv = ngx_http_intent_limit_zone_name(cf, &name, zone);
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    shm_zone->init = ngx_http_intent_limit_init_zone;
    shm_zone->data = zone;

    return ngx_http_intent_limit_zone_stats(cf, zone);
}


static char *
ngx_http_intent_limit_zone_size(ngx_conf_t *cf, ngx_str_t *value,
    ngx_str_t *name, ssize_t *size)
{
    u_char     *p;
    ngx_str_t   s;

    name->data = value->data + 5;

    p = (u_char *) ngx_strchr(name->data, ':');

    if (p == NULL || p == name->data) {
        goto invalid;
    }

    name->len = p - name->data;

    s.data = p + 1;
    s.len = value->data + value->len - s.data;

    *size = ngx_parse_size(&s);

    if (*size == NGX_ERROR) {
        goto invalid;
    }

    if (*size < (ssize_t) (8 * ngx_pagesize)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "zone \"%V\" is too small, it should be \"%uzk\" "
                           "at the least", value, 8 * ngx_pagesize / 1024);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid zone \"%V\", it should be like "
                       "\"zone=submit:10m\"", value);
    return NGX_CONF_ERROR;
}


static char *
ngx_http_intent_limit_zone_name(ngx_conf_t *cf, ngx_str_t *name,
    ngx_http_intent_limit_zone_t *zone)
{
    u_char      *p;
    ngx_uint_t   i;

    zone->name = *name;

    p = ngx_pnalloc(cf->pool, 2 * (2 * name->len + 2) + sizeof(";q=;w=") - 1
                              + 2 * NGX_INT_T_LEN);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    zone->quoted.data = p;
    *p++ = '"';

    for (i = 0; i < name->len; i++) {

        if (name->len > NGX_HTTP_INTENT_LIMIT_NAME
            || name->data[i] < 0x20 || name->data[i] > 0x7e)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid zone name \"%V\", it is sent in "
                               "a header and should be of %d printable "
                               "ASCII characters at the most",
                               name, NGX_HTTP_INTENT_LIMIT_NAME);
            return NGX_CONF_ERROR;
        }

        if (name->data[i] == '"' || name->data[i] == '\\') {
            *p++ = '\\';
        }

        *p++ = name->data[i];
    }

    *p++ = '"';
    zone->quoted.len = p - zone->quoted.data;

    zone->policy.data = p;
    zone->policy.len = ngx_sprintf(p, "%V;q=%ui;w=%ui", &zone->quoted,
                                   zone->limit,
                                   ngx_http_intent_limit_seconds(zone->period))
                       - p;

    return NGX_CONF_OK;
}


static char *
ngx_http_intent_limit_zone_rate(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_intent_limit_zone_t *zone)
{
    u_char     *p, *last;
    ngx_int_t   limit, seconds;
    ngx_str_t   s;

    s.data = value->data + 5;
    last = value->data + value->len;

    p = (u_char *) ngx_strnstr(s.data, "r/", last - s.data);

    if (p == NULL) {
        goto invalid;
    }

    limit = ngx_atoi(s.data, p - s.data);

    s.data = p + 2;
    s.len = last - s.data;

    seconds = ngx_parse_time(&s, 1);

    if (limit == NGX_ERROR || limit == 0 || seconds == NGX_ERROR) {
        goto invalid;
    }

    if (limit > NGX_HTTP_INTENT_LIMIT_MAX
        || seconds < 1
        || seconds > (ngx_int_t) NGX_HTTP_INTENT_LIMIT_PERIOD / 1000)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid rate \"%V\", it should be %d at the most, "
                           "in a time from 1s to 24d", value,
                           NGX_HTTP_INTENT_LIMIT_MAX);
        return NGX_CONF_ERROR;
    }

    zone->limit = limit;
    zone->period = (uint32_t) (seconds * 1000);

    return NGX_CONF_OK;

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid rate \"%V\", it should be like "
                       "\"rate=100r/15m\"", value);
    return NGX_CONF_ERROR;
}


static char *
ngx_http_intent_limit_zone_stats(ngx_conf_t *cf,
    ngx_http_intent_limit_zone_t *zone)
{
    ngx_str_t   labels;
    ngx_uint_t  i;

    labels.data = ngx_pnalloc(cf->pool, zone->quoted.len
                              + sizeof("zone=,result=\"rejected_dry_run\""));
    if (labels.data == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = NGX_HTTP_INTENT_LIMIT_PASSED;
         i < NGX_HTTP_INTENT_LIMIT_RESULTS;
         i++)
    {
        labels.len = ngx_sprintf(labels.data, "zone=%V,result=\"%s\"",
                                 &zone->quoted,
                                 ngx_http_intent_limit_results[i])
                     - labels.data;

        zone->stats[i] = ngx_http_intent_stat_add(cf, NGX_HTTP_INTENT_COUNTER,
                             "intent_limit_requests_total",
                             "Intents that a limit counted or turned away.",
                             &labels);
        if (zone->stats[i] == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_intent_limit(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_intent_limit_loc_conf_t  *lcf = conf;

    ngx_str_t                          *value, name;
    ngx_uint_t                          i, dry_run;
    ngx_shm_zone_t                     *shm_zone;
    ngx_http_intent_limit_t            *limit;
    ngx_http_intent_limit_main_conf_t  *lmcf;

    value = cf->args->elts;

    name.len = 0;
    dry_run = 0;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "zone=", 5) == 0 && name.len == 0) {
            name.len = value[i].len - 5;
            name.data = value[i].data + 5;
            continue;
        }

        if (ngx_strcmp(value[i].data, "dry_run") == 0 && !dry_run) {
            dry_run = 1;
            continue;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\", it should be "
                           "\"zone=name\", and \"dry_run\" after it where "
                           "nothing is to be rejected", &value[i]);
        return NGX_CONF_ERROR;
    }

    if (name.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" must have a \"zone\" parameter, like "
                           "\"zone=submit\"", &cmd->name);
        return NGX_CONF_ERROR;
    }

    shm_zone = ngx_shared_memory_add(cf, &name, 0,
                                     &ngx_http_intent_limit_module);
    if (shm_zone == NULL) {
        return NGX_CONF_ERROR;
    }

    if (lcf->limits.elts == NULL
        && ngx_array_init(&lcf->limits, cf->pool, 2,
                          sizeof(ngx_http_intent_limit_t))
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    limit = lcf->limits.elts;

    for (i = 0; i < lcf->limits.nelts; i++) {
        if (limit[i].shm_zone == shm_zone) {
            return "is duplicate";
        }
    }

    limit = ngx_array_push(&lcf->limits);
    if (limit == NULL) {
        return NGX_CONF_ERROR;
    }

    limit->shm_zone = shm_zone;
    limit->zone = NULL;
    limit->dry_run = dry_run;
    limit->file = cf->conf_file->file.name;
    limit->line = cf->conf_file->line;

    lmcf = ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_intent_limit_module);
    lmcf->used = 1;

    return NGX_CONF_OK;
}
