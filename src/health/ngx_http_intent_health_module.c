
/*
 * What works and what does not, for load balancers and for who is called in
 * the night.
 */


#include "ngx_http_intent.h"
#include "ngx_http_intent_cache.h"
#include "ngx_http_intent_chain.h"
#include "ngx_http_intent_store.h"


static ngx_int_t ngx_http_intent_health_handler(ngx_http_request_t *r);
static json_t *ngx_http_intent_health_report(ngx_uint_t *health);
static ngx_int_t ngx_http_intent_health_send(ngx_http_request_t *r,
    ngx_uint_t status, json_t *report);

static char *ngx_http_intent_health(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


static ngx_command_t  ngx_http_intent_health_commands[] = {

    { ngx_string("intent_health"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_intent_health,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_intent_health_module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_intent_health_module = {
    NGX_MODULE_V1,
    &ngx_http_intent_health_module_ctx,    /* module context */
    ngx_http_intent_health_commands,       /* module directives */
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


static ngx_int_t
ngx_http_intent_health_handler(ngx_http_request_t *r)
{
    json_t      *report;
    ngx_int_t    rc;
    ngx_uint_t   health;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    report = ngx_http_intent_health_report(&health);

    if (report == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_intent_health_send(r,
                                     health == NGX_HTTP_INTENT_HEALTH_DOWN
                                     ? NGX_HTTP_SERVICE_UNAVAILABLE
                                     : NGX_HTTP_OK,
                                     report);
    json_decref(report);

    return rc;
}


static json_t *
ngx_http_intent_health_report(ngx_uint_t *health)
{
    char    *store, *cache;
    json_t  *down, *chains;

    *health = NGX_HTTP_INTENT_HEALTH_UP;

    down = json_array();
    store = "up";
    cache = "up";

    /* without it everything goes on, slower */

    if (!ngx_http_intent_cache_configured(NULL)) {
        cache = NULL;

    } else if (!ngx_http_intent_cache_is_up()) {
        cache = "down";
        *health = NGX_HTTP_INTENT_HEALTH_DEGRADED;
        json_array_append_new(down, json_string("cache"));
    }

    if (!ngx_http_intent_store_configured(NULL)) {
        store = NULL;

    } else if (!ngx_http_intent_store_is_up()) {
        store = "down";
        *health = NGX_HTTP_INTENT_HEALTH_DOWN;
        json_array_append_new(down, json_string("store"));
    }

    chains = ngx_http_intent_chain_health(health, down);

    /* s? is null where there is no string; o takes the reference */

    return json_pack("{s:s, s:o, s:s?, s:s?, s:o}",
                     "status", ngx_http_intent_chain_health_name(*health),
                     "down", down, "store", store, "cache", cache,
                     "chains", chains);
}


static ngx_int_t
ngx_http_intent_health_send(ngx_http_request_t *r, ngx_uint_t status,
    json_t *report)
{
    size_t        size;
    ngx_buf_t    *b;
    ngx_int_t     rc;
    ngx_str_t     no_store = ngx_string("no-store");
    ngx_chain_t   out;

    size = json_dumpb(report, NULL, 0, JSON_COMPACT);

    b = ngx_create_temp_buf(r->pool, size + 1);

    if (size == 0 || b == NULL
        || ngx_http_intent_add_header(r, "Cache-Control", &no_store) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->last += json_dumpb(report, (char *) b->pos, size, JSON_COMPACT);
    *b->last++ = LF;

    b->last_buf = (r == r->main) ? 1 : 0;
    b->last_in_chain = 1;

    r->headers_out.status = status;
    r->headers_out.content_length_n = b->last - b->pos;
    ngx_str_set(&r->headers_out.content_type, "application/json");
    r->headers_out.content_type_len = r->headers_out.content_type.len;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


static char *
ngx_http_intent_health(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler) {
        return "is duplicate, or conflicts with another handler here";
    }

    clcf->handler = ngx_http_intent_health_handler;

    return NGX_CONF_OK;
}
