
/*
 * The REST API: the directives, who answers which path, the variables.
 */


#include "ngx_http_intent_api.h"
#include "ngx_http_intent_store.h"


typedef ngx_int_t (*ngx_http_intent_api_handler_pt)(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx);


typedef struct {
    ngx_uint_t                       methods;
    ngx_http_intent_api_handler_pt   handler;
} ngx_http_intent_api_method_t;


typedef struct {
    ngx_str_t                        allow;
    ngx_http_intent_api_method_t    *methods;
} ngx_http_intent_api_route_t;


/* the counters of one type; those of no type have an empty name */
typedef struct {
    ngx_str_t                        type;
    ngx_http_intent_stat_t          *rejected
                                         [NGX_HTTP_INTENT_REJECTED_REASONS];
} ngx_http_intent_api_stats_t;


typedef struct {
    ngx_uint_t                       used;
    ngx_array_t                      stats;  /* ngx_http_intent_api_stats_t */
} ngx_http_intent_api_main_conf_t;


typedef ngx_int_t (*ngx_http_intent_api_variable_pt)(
    ngx_http_intent_api_ctx_t *ctx, ngx_str_t *value);


static ngx_int_t ngx_http_intent_api_handler(ngx_http_request_t *r);
static ngx_http_intent_api_route_t *ngx_http_intent_api_find_route(
    ngx_http_request_t *r, ngx_http_intent_api_ctx_t *ctx);
static ngx_int_t ngx_http_intent_api_not_allowed(ngx_http_request_t *r,
    ngx_http_intent_api_route_t *route);

static ngx_int_t ngx_http_intent_api_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_intent_api_variable_id(
    ngx_http_intent_api_ctx_t *ctx, ngx_str_t *value);
static ngx_int_t ngx_http_intent_api_variable_type(
    ngx_http_intent_api_ctx_t *ctx, ngx_str_t *value);
static ngx_int_t ngx_http_intent_api_variable_status(
    ngx_http_intent_api_ctx_t *ctx, ngx_str_t *value);
static ngx_int_t ngx_http_intent_api_variable_user(
    ngx_http_intent_api_ctx_t *ctx, ngx_str_t *value);
static ngx_int_t ngx_http_intent_api_variable_cache_status(
    ngx_http_intent_api_ctx_t *ctx, ngx_str_t *value);
static ngx_int_t ngx_http_intent_api_member(ngx_str_t *json, const char *key,
    ngx_str_t *value);

static ngx_int_t ngx_http_intent_api_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_intent_api_postconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_intent_api_add_stats(ngx_conf_t *cf,
    ngx_http_intent_api_main_conf_t *amcf, ngx_str_t *type);
static void *ngx_http_intent_api_create_main_conf(ngx_conf_t *cf);
static void *ngx_http_intent_api_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_intent_api_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_http_intent_api(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_http_intent_api_init_process(ngx_cycle_t *cycle);


static ngx_command_t  ngx_http_intent_api_commands[] = {

    { ngx_string("intent_api"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_intent_api,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("intent_user"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_HTTP_LIF_CONF
                        |NGX_CONF_TAKE1,
      ngx_http_set_complex_value_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_intent_api_loc_conf_t, user),
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_intent_api_module_ctx = {
    ngx_http_intent_api_preconfiguration,  /* preconfiguration */
    ngx_http_intent_api_postconfiguration, /* postconfiguration */

    ngx_http_intent_api_create_main_conf,  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_intent_api_create_loc_conf,   /* create location configuration */
    ngx_http_intent_api_merge_loc_conf     /* merge location configuration */
};


ngx_module_t  ngx_http_intent_api_module = {
    NGX_MODULE_V1,
    &ngx_http_intent_api_module_ctx,       /* module context */
    ngx_http_intent_api_commands,          /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_http_intent_api_init_process,      /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_http_intent_api_method_t  ngx_http_intent_api_collection[] = {
    { NGX_HTTP_POST, ngx_http_intent_api_create },
    { 0, NULL }
};


static ngx_http_intent_api_method_t  ngx_http_intent_api_item[] = {
    { NGX_HTTP_GET|NGX_HTTP_HEAD, ngx_http_intent_api_get },
    { 0, NULL }
};


static ngx_http_intent_api_route_t  ngx_http_intent_api_routes[] = {
    { ngx_string("POST"), ngx_http_intent_api_collection },
    { ngx_string("GET, HEAD"), ngx_http_intent_api_item }
};


/* in the order of ngx_http_intent_rejected_e */

static const char  *ngx_http_intent_api_reasons[] = {
    "json",
    "invalid",
    "user",
    "media_type",
    "too_large",
    "store"
};


/* in the order of ngx_http_intent_cache_status_e */

static ngx_str_t  ngx_http_intent_api_cache_statuses[] = {
    ngx_null_string,
    ngx_string("HIT"),
    ngx_string("MISS"),
    ngx_string("BYPASS")
};


static ngx_http_variable_t  ngx_http_intent_api_variables[] = {

    { ngx_string("intent_id"), NULL, ngx_http_intent_api_variable,
      (uintptr_t) ngx_http_intent_api_variable_id,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("intent_type"), NULL, ngx_http_intent_api_variable,
      (uintptr_t) ngx_http_intent_api_variable_type,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("intent_status"), NULL, ngx_http_intent_api_variable,
      (uintptr_t) ngx_http_intent_api_variable_status,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("intent_user"), NULL, ngx_http_intent_api_variable,
      (uintptr_t) ngx_http_intent_api_variable_user,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("intent_cache_status"), NULL, ngx_http_intent_api_variable,
      (uintptr_t) ngx_http_intent_api_variable_cache_status,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


static ngx_int_t
ngx_http_intent_api_handler(ngx_http_request_t *r)
{
    ngx_int_t                      rc;
    ngx_http_intent_api_ctx_t     *ctx;
    ngx_http_intent_api_route_t   *route;
    ngx_http_intent_api_method_t  *method;

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_intent_api_ctx_t));
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->request = r;
    ngx_http_set_ctx(r, ctx, ngx_http_intent_api_module);

    route = ngx_http_intent_api_find_route(r, ctx);

    if (route) {
        for (method = route->methods; method->methods; method++) {
            if (r->method & method->methods) {
                return method->handler(r, ctx);
            }
        }
    }

    r->expect_tested = 1;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    if (route) {
        return ngx_http_intent_api_not_allowed(r, route);
    }

    return ngx_http_intent_api_problem(r, NGX_HTTP_NOT_FOUND,
                                       "there is nothing at this path", NULL);
}


/* who answers what is below the location; NULL: nobody */

static ngx_http_intent_api_route_t *
ngx_http_intent_api_find_route(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx)
{
    u_char                          *p, id[16];
    size_t                           len;
    ngx_http_intent_api_loc_conf_t  *alcf;

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_intent_api_module);

    if (r->uri.len < alcf->skip) {
        return NULL;
    }

    p = r->uri.data + alcf->skip;
    len = r->uri.len - alcf->skip;

    if (len == 0 || (len == 1 && *p == '/')) {
        return &ngx_http_intent_api_routes[0];
    }

    /* what is not a UUID never was an intent */

    if (*p != '/'
        || ngx_http_intent_id_parse(p + 1, len - 1, id) != NGX_OK)
    {
        return NULL;
    }

    ngx_http_intent_id_format(id, ctx->id_buffer);

    ctx->id.data = ctx->id_buffer;
    ctx->id.len = NGX_HTTP_INTENT_ID_LEN;

    return &ngx_http_intent_api_routes[1];
}


static ngx_int_t
ngx_http_intent_api_not_allowed(ngx_http_request_t *r,
    ngx_http_intent_api_route_t *route)
{
    if (ngx_http_intent_api_header(r, "Allow", &route->allow) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_intent_api_problem(r, NGX_HTTP_NOT_ALLOWED,
                                       "this path does not take the method",
                                       NULL);
}


/*
 * As the aio of nginx does it: a request that is blocked is never freed, and
 * one that was terminated meanwhile has c->error set.
 */

void
ngx_http_intent_api_wait(ngx_http_request_t *r)
{
    r->main->blocked++;
}


void
ngx_http_intent_api_resume(ngx_http_request_t *r)
{
    r->main->blocked--;

    ngx_http_set_log_request(r->connection->log, r);
}


void
ngx_http_intent_api_finalize(ngx_http_request_t *r, ngx_int_t rc)
{
    ngx_connection_t  *c;

    c = r->connection;

    ngx_http_finalize_request(r, rc);
    ngx_http_run_posted_requests(c);
}


void
ngx_http_intent_api_rejected(ngx_http_intent_type_t *type, ngx_uint_t reason)
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
            ngx_http_intent_stat_inc(stats[i].rejected[reason], 1);
            return;
        }
    }
}


static ngx_int_t
ngx_http_intent_api_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_intent_api_variable_pt  get =
                                     (ngx_http_intent_api_variable_pt) data;

    ngx_str_t                   value;
    ngx_http_intent_api_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_intent_api_module);

    if (ctx == NULL || get(ctx, &value) != NGX_OK || value.len == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->data = value.data;
    v->len = value.len;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_api_variable_id(ngx_http_intent_api_ctx_t *ctx,
    ngx_str_t *value)
{
    *value = ctx->intent ? ctx->intent->id : ctx->id;

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_api_variable_type(ngx_http_intent_api_ctx_t *ctx,
    ngx_str_t *value)
{
    if (ctx->intent) {
        *value = ctx->intent->type;
        return NGX_OK;
    }

    if (ctx->type) {
        *value = *ngx_http_intent_type_name(ctx->type);
        return NGX_OK;
    }

    return ngx_http_intent_api_member(&ctx->json, "\"type\":\"", value);
}


static ngx_int_t
ngx_http_intent_api_variable_status(ngx_http_intent_api_ctx_t *ctx,
    ngx_str_t *value)
{
    if (ctx->intent && ctx->intent->status != NGX_HTTP_INTENT_NEW) {
        *value = *ngx_http_intent_status_name(ctx->intent->status);
        return NGX_OK;
    }

    return ngx_http_intent_api_member(&ctx->json, "\"status\":\"", value);
}


static ngx_int_t
ngx_http_intent_api_variable_user(ngx_http_intent_api_ctx_t *ctx,
    ngx_str_t *value)
{
    if (ctx->intent && ctx->intent->user_id.len) {
        *value = ctx->intent->user_id;
        return NGX_OK;
    }

    if (ctx->user.len) {
        *value = ctx->user;
        return NGX_OK;
    }

    return ngx_http_intent_api_member(&ctx->json, "\"userId\":\"", value);
}


static ngx_int_t
ngx_http_intent_api_variable_cache_status(ngx_http_intent_api_ctx_t *ctx,
    ngx_str_t *value)
{
    *value = ngx_http_intent_api_cache_statuses[ctx->cache_status];

    return NGX_OK;
}


/*
 * A string of JSON that we made ourselves, with the escapes it has there.
 * No string before can hold the key, for its quotes would be escaped.
 */

static ngx_int_t
ngx_http_intent_api_member(ngx_str_t *json, const char *key, ngx_str_t *value)
{
    u_char  *p, *last;

    if (json->len == 0) {
        return NGX_DECLINED;
    }

    last = json->data + json->len;
    p = ngx_strnstr(json->data, (char *) key, json->len);

    if (p == NULL) {
        return NGX_DECLINED;
    }

    p += ngx_strlen(key);
    value->data = p;

    while (p < last && *p != '"') {
        p += (*p == '\\') ? 2 : 1;
    }

    if (p >= last) {
        return NGX_DECLINED;
    }

    value->len = p - value->data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_api_preconfiguration(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_intent_api_variables; v->name.len; v++) {
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
ngx_http_intent_api_postconfiguration(ngx_conf_t *cf)
{
    ngx_str_t                         none;
    ngx_uint_t                        i;
    ngx_array_t                      *types;
    ngx_http_intent_name_t          **type;
    ngx_http_intent_api_main_conf_t  *amcf;

    amcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_intent_api_module);

    if (!amcf->used) {
        return NGX_OK;
    }

    if (ngx_http_intent_need_zone(cf, "intent_api") != NGX_OK) {
        return NGX_ERROR;
    }

    if (!ngx_http_intent_store_configured(cf)) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "intent_api needs \"intent_postgres\", in which "
                      "intents are kept, in the http block");
        return NGX_ERROR;
    }

    types = ngx_http_intent_types(cf);

    if (types->nelts == 0) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "intent_api needs an \"intent_type\", "
                      "which says what it takes, in the http block");
        return NGX_ERROR;
    }

    if (ngx_http_intent_chains(cf)->nelts == 0) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "intent_api needs an \"intent_chain\", "
                      "on which intents are made, in the http block");
        return NGX_ERROR;
    }

    ngx_str_null(&none);

    if (ngx_http_intent_api_add_stats(cf, amcf, &none) != NGX_OK) {
        return NGX_ERROR;
    }

    type = types->elts;

    for (i = 0; i < types->nelts; i++) {
        if (ngx_http_intent_api_add_stats(cf, amcf, &type[i]->name) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_api_add_stats(ngx_conf_t *cf,
    ngx_http_intent_api_main_conf_t *amcf, ngx_str_t *type)
{
    u_char                       *p;
    size_t                        len;
    ngx_str_t                     labels;
    ngx_uint_t                    i;
    const char                   *reason;
    ngx_http_intent_api_stats_t  *stats;

    stats = ngx_array_push(&amcf->stats);
    if (stats == NULL) {
        return NGX_ERROR;
    }

    stats->type = *type;

    for (i = 0; i < NGX_HTTP_INTENT_REJECTED_REASONS; i++) {
        reason = ngx_http_intent_api_reasons[i];

        len = sizeof("type=\"\",reason=\"\"") + type->len + ngx_strlen(reason);

        p = ngx_pnalloc(cf->pool, len);
        if (p == NULL) {
            return NGX_ERROR;
        }

        labels.data = p;
        labels.len = ngx_sprintf(p, "type=\"%V\",reason=\"%s\"", type, reason)
                     - p;

        stats->rejected[i] = ngx_http_intent_stat_add(cf,
                                         NGX_HTTP_INTENT_COUNTER,
                                         "intents_rejected_total",
                                         "Intents that were not accepted.",
                                         &labels);
        if (stats->rejected[i] == NULL) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static void *
ngx_http_intent_api_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_intent_api_main_conf_t  *amcf;

    amcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_intent_api_main_conf_t));
    if (amcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&amcf->stats, cf->pool, 4,
                       sizeof(ngx_http_intent_api_stats_t))
        != NGX_OK)
    {
        return NULL;
    }

    return amcf;
}


static void *
ngx_http_intent_api_create_loc_conf(ngx_conf_t *cf)
{
    /*
     * set by ngx_pcalloc():
     *
     *     conf->prefix = { 0, NULL };
     *     conf->skip = 0;
     *     conf->max_body = 0;
     *     conf->user = NULL;
     */

    return ngx_pcalloc(cf->pool, sizeof(ngx_http_intent_api_loc_conf_t));
}


static char *
ngx_http_intent_api_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_intent_api_loc_conf_t  *prev = parent;
    ngx_http_intent_api_loc_conf_t  *conf = child;

    ngx_http_core_loc_conf_t  *clcf;

    if (conf->user == NULL) {
        conf->user = prev->user;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    /* an "if" in our location is still our location */

    if (conf->prefix.data == NULL && clcf->noname) {
        conf->prefix = prev->prefix;
        conf->skip = prev->skip;
        conf->max_body = prev->max_body;
    }

    if (conf->prefix.data == NULL) {
        return NGX_CONF_OK;
    }

    /*
     * We keep the limit of bodies ourselves: a body is never written to disk
     * here, and what is too large is told as any other fault is.  The core
     * would answer with a page of HTML before we are asked.
     */

    if (conf->max_body == 0) {
        conf->max_body = clcf->client_body_buffer_size;

        if (clcf->client_max_body_size
            && clcf->client_max_body_size < (off_t) conf->max_body)
        {
            conf->max_body = (size_t) clcf->client_max_body_size;
        }
    }

    clcf->client_max_body_size = 0;

    return NGX_CONF_OK;
}


static char *
ngx_http_intent_api(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_intent_api_loc_conf_t  *alcf = conf;

    u_char                           *p;
    size_t                            len;
    ngx_http_core_loc_conf_t         *clcf;
    ngx_http_intent_api_main_conf_t  *amcf;

    if (alcf->prefix.data) {
        return "is duplicate";
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

#if (NGX_PCRE)
    if (clcf->regex) {
        return "cannot be used in a location given by a regular expression, "
               "it should be like \"location /api/intents\"";
    }
#endif

    if (clcf->named || clcf->noname) {
        return "cannot be used in a named location, "
               "it should be like \"location /api/intents\"";
    }

    /* "location /api/intents/" is the same API */

    len = clcf->name.len;

    if (len && clcf->name.data[len - 1] == '/') {
        len--;
    }

    p = ngx_pnalloc(cf->pool, len + 2 * ngx_escape_uri(NULL, clcf->name.data,
                                                       len, NGX_ESCAPE_URI)
                              + 1);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    alcf->skip = len;
    alcf->prefix.data = p;
    alcf->prefix.len = (u_char *) ngx_escape_uri(p, clcf->name.data, len,
                                                 NGX_ESCAPE_URI)
                       - p;

    clcf->handler = ngx_http_intent_api_handler;

    amcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_intent_api_module);
    amcf->used = 1;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_intent_api_init_process(ngx_cycle_t *cycle)
{
    /* so that nobody can choose member names that collide; from the system */

    json_object_seed(0);

    return NGX_OK;
}
