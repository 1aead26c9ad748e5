
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
    ngx_str_t                        path;     /* below the location */
    ngx_str_t                        allow;
    ngx_http_intent_api_method_t    *methods;
} ngx_http_intent_api_route_t;


static ngx_int_t ngx_http_intent_api_handler(ngx_http_request_t *r);
static ngx_http_intent_api_route_t *ngx_http_intent_api_find_route(
    ngx_http_request_t *r, ngx_http_intent_api_ctx_t *ctx);
static ngx_int_t ngx_http_intent_api_not_allowed(ngx_http_request_t *r,
    ngx_http_intent_api_route_t *route);

static ngx_int_t ngx_http_intent_api_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_intent_api_postconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_intent_api_add_names(ngx_conf_t *cf,
    ngx_array_t *names, ngx_array_t *from);
static void *ngx_http_intent_api_create_main_conf(ngx_conf_t *cf);
static void *ngx_http_intent_api_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_intent_api_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_http_intent_api(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_intent_signature(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_http_intent_api_init_process(ngx_cycle_t *cycle);


static ngx_conf_enum_t  ngx_http_intent_api_signatures[] = {
    { ngx_string("off"), NGX_HTTP_INTENT_SIGNATURE_OFF },
    { ngx_string("optional"), NGX_HTTP_INTENT_SIGNATURE_OPTIONAL },
    { ngx_string("required"), NGX_HTTP_INTENT_SIGNATURE_REQUIRED },
    { ngx_null_string, 0 }
};


/* each one of a batch costs some 2 kB until it is answered */

static ngx_conf_num_bounds_t  ngx_http_intent_api_batch_bounds = {
    ngx_conf_check_num_bounds, 0, 1000
};


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

    { ngx_string("intent_signature"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_intent_signature,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_intent_api_loc_conf_t, signature),
      &ngx_http_intent_api_signatures },

    { ngx_string("intent_batch"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_intent_api_loc_conf_t, batch),
      &ngx_http_intent_api_batch_bounds },

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


static ngx_http_intent_api_method_t  ngx_http_intent_api_of_collection[] = {
    { NGX_HTTP_POST, ngx_http_intent_api_create },
    { NGX_HTTP_GET|NGX_HTTP_HEAD, ngx_http_intent_api_list },
    { 0, NULL }
};


static ngx_http_intent_api_method_t  ngx_http_intent_api_of_types[] = {
    { NGX_HTTP_GET|NGX_HTTP_HEAD, ngx_http_intent_api_get_types },
    { 0, NULL }
};


static ngx_http_intent_api_method_t  ngx_http_intent_api_of_intent[] = {
    { NGX_HTTP_GET|NGX_HTTP_HEAD, ngx_http_intent_api_get },
    { NGX_HTTP_DELETE, ngx_http_intent_api_cancel },
    { 0, NULL }
};


static ngx_http_intent_api_method_t  ngx_http_intent_api_of_stream[] = {
    { NGX_HTTP_GET, ngx_http_intent_api_stream },
    { 0, NULL }
};


static ngx_http_intent_api_method_t  ngx_http_intent_api_of_events[] = {
    { NGX_HTTP_GET|NGX_HTTP_HEAD, ngx_http_intent_api_events },
    { 0, NULL }
};


/* fixed paths; none of them can be an id */

static ngx_http_intent_api_route_t  ngx_http_intent_api_paths[] = {

    { ngx_string(""), ngx_string("GET, HEAD, POST"),
      ngx_http_intent_api_of_collection },

    { ngx_string("/"), ngx_string("GET, HEAD, POST"),
      ngx_http_intent_api_of_collection },

    { ngx_string("/types"), ngx_string("GET, HEAD"),
      ngx_http_intent_api_of_types },

    { ngx_string("/stream"), ngx_string("GET"),
      ngx_http_intent_api_of_stream },

    { ngx_string("/events"), ngx_string("GET, HEAD"),
      ngx_http_intent_api_of_events },

    { ngx_null_string, ngx_null_string, NULL }
};


/* paths of an intent: what follows the id */

static ngx_http_intent_api_route_t  ngx_http_intent_api_intent_paths[] = {

    { ngx_string(""), ngx_string("GET, HEAD, DELETE"),
      ngx_http_intent_api_of_intent },

    { ngx_string("/events"), ngx_string("GET, HEAD"),
      ngx_http_intent_api_of_events },

    { ngx_null_string, ngx_null_string, NULL }
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

    rc = ngx_http_intent_api_discard(r);

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
    u_char                           id[16];
    ngx_str_t                        path;
    ngx_http_intent_api_route_t     *route;
    ngx_http_intent_api_loc_conf_t  *alcf;

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_intent_api_module);

    if (r->uri.len < alcf->skip) {
        return NULL;
    }

    path.data = r->uri.data + alcf->skip;
    path.len = r->uri.len - alcf->skip;

    route = ngx_http_intent_api_paths;

    /* what is not a UUID never was an intent */

    if (path.len > NGX_HTTP_INTENT_ID_LEN
        && path.data[0] == '/'
        && ngx_http_intent_id_parse(path.data + 1, NGX_HTTP_INTENT_ID_LEN, id)
           == NGX_OK)
    {
        ngx_http_intent_id_format(id, ctx->id_buffer);

        ctx->id.data = ctx->id_buffer;
        ctx->id.len = NGX_HTTP_INTENT_ID_LEN;

        path.data += 1 + NGX_HTTP_INTENT_ID_LEN;
        path.len -= 1 + NGX_HTTP_INTENT_ID_LEN;

        route = ngx_http_intent_api_intent_paths;
    }

    for ( /* void */ ; route->methods; route++) {
        if (path.len == route->path.len
            && ngx_memcmp(path.data, route->path.data, path.len) == 0)
        {
            return route;
        }
    }

    return NULL;
}


static ngx_int_t
ngx_http_intent_api_not_allowed(ngx_http_request_t *r,
    ngx_http_intent_api_route_t *route)
{
    if (ngx_http_intent_add_header(r, "Allow", &route->allow) != NGX_OK) {
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


ngx_array_t *
ngx_http_intent_api_chains(void)
{
    ngx_http_intent_api_main_conf_t  *amcf;

    amcf = ngx_http_cycle_get_module_main_conf(ngx_cycle,
                                               ngx_http_intent_api_module);
    return &amcf->chains;
}


ngx_array_t *
ngx_http_intent_api_type_names(void)
{
    ngx_http_intent_api_main_conf_t  *amcf;

    amcf = ngx_http_cycle_get_module_main_conf(ngx_cycle,
                                               ngx_http_intent_api_module);
    return &amcf->types;
}


static ngx_int_t
ngx_http_intent_api_preconfiguration(ngx_conf_t *cf)
{
    return ngx_http_intent_api_add_variables(cf);
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

    if (ngx_http_intent_api_add_names(cf, &amcf->types, types) != NGX_OK
        || ngx_http_intent_api_add_names(cf, &amcf->chains,
                                         ngx_http_intent_chains(cf))
           != NGX_OK)
    {
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
ngx_http_intent_api_add_names(ngx_conf_t *cf, ngx_array_t *names,
    ngx_array_t *from)
{
    ngx_str_t                *name;
    ngx_uint_t                i;
    ngx_http_intent_name_t  **n;

    if (ngx_array_init(names, cf->pool, from->nelts, sizeof(ngx_str_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    n = from->elts;

    for (i = 0; i < from->nelts; i++) {
        name = ngx_array_push(names);

        name->len = n[i]->name.len;
        name->data = ngx_pnalloc(cf->pool, name->len + 1);

        if (name->data == NULL) {
            return NGX_ERROR;
        }

        (void) ngx_cpystrn(name->data, n[i]->name.data, name->len + 1);
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
    ngx_http_intent_api_loc_conf_t  *conf;

    /*
     * set by ngx_pcalloc():
     *
     *     conf->prefix = { 0, NULL };
     *     conf->skip = 0;
     *     conf->max_body = 0;
     *     conf->user = NULL;
     *     conf->types = NULL;
     */

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_http_intent_api_loc_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->signature = NGX_CONF_UNSET_UINT;
    conf->batch = NGX_CONF_UNSET;

    return conf;
}


static char *
ngx_http_intent_api_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_intent_api_loc_conf_t  *prev = parent;
    ngx_http_intent_api_loc_conf_t  *conf = child;

    ngx_http_core_loc_conf_t         *clcf;
    ngx_http_intent_api_main_conf_t  *amcf;

    if (conf->user == NULL) {
        conf->user = prev->user;
    }

    ngx_conf_merge_uint_value(conf->signature, prev->signature,
                              NGX_HTTP_INTENT_SIGNATURE_OFF);
    ngx_conf_merge_value(conf->batch, prev->batch, 100);

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    /* an "if" or a "limit_except" in our location is still our location */

    if (conf->prefix.data == NULL && clcf->noname) {
        conf->prefix = prev->prefix;
        conf->skip = prev->skip;
        conf->max_body = prev->max_body;

        if (conf->prefix.data && clcf->lmt_excpt) {
            clcf->handler = ngx_http_intent_api_handler;
        }

        /* whose schemas say whether userId is needed */

        if (conf->user == prev->user) {
            conf->types = prev->types;
        }
    }

    if (conf->prefix.data == NULL) {
        return NGX_CONF_OK;
    }

    if (conf->user) {
        amcf = ngx_http_conf_get_module_main_conf(cf,
                                                  ngx_http_intent_api_module);
        amcf->has_users = 1;
    }

    if (conf->types == NULL) {
        conf->types = ngx_pcalloc(cf->pool,
                                  sizeof(ngx_http_intent_api_types_t));
        if (conf->types == NULL) {
            return NGX_CONF_ERROR;
        }
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


static char *
ngx_http_intent_signature(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_intent_api_loc_conf_t  *alcf = conf;

    char  *rv;

    rv = ngx_conf_set_enum_slot(cf, cmd, conf);

    if (rv == NGX_CONF_OK
        && alcf->signature != NGX_HTTP_INTENT_SIGNATURE_OFF)
    {
        ngx_http_intent_type_need_signable(cf);
        ngx_http_intent_chain_need_domain(cf);
    }

    return rv;
}


static ngx_int_t
ngx_http_intent_api_init_process(ngx_cycle_t *cycle)
{
    /* so that nobody can choose member names that collide; from the system */

    json_object_seed(0);

    return NGX_OK;
}
