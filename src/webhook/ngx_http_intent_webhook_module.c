
/*
 * The intent_webhook directive.
 */


#include "ngx_http_intent_webhook_private.h"


#define NGX_HTTP_INTENT_WEBHOOK_IN_FLIGHT  16
#define NGX_HTTP_INTENT_WEBHOOK_MOST       1000
#define NGX_HTTP_INTENT_WEBHOOK_URI        200       /* bytes */

#define NGX_HTTP_INTENT_WEBHOOK_TIMEOUT    30000     /* ms */
#define NGX_HTTP_INTENT_WEBHOOK_AGE        (3 * 24 * 60 * 60)
/* what is older than 31 days is deleted by the sweeper, whoever's it is */
#define NGX_HTTP_INTENT_WEBHOOK_MAX_AGE    (30 * 24 * 60 * 60)


typedef struct {
    ngx_array_t                 webhooks;   /* ngx_http_intent_webhook_t * */
} ngx_http_intent_webhook_main_conf_t;


typedef struct {
    ngx_http_intent_webhook_t  *webhook;    /* NULL: off */
} ngx_http_intent_webhook_loc_conf_t;


static void ngx_http_intent_webhook_observer(ngx_http_intent_t *in,
    ngx_uint_t from);
static void *ngx_http_intent_webhook_create_main_conf(ngx_conf_t *cf);
static void *ngx_http_intent_webhook_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_intent_webhook_merge_loc_conf(ngx_conf_t *cf,
    void *parent, void *child);
static char *ngx_http_intent_webhook_set(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_http_intent_webhook_is_uri(ngx_str_t *uri);
static ngx_int_t ngx_http_intent_webhook_same(ngx_conf_t *cf,
    ngx_http_intent_webhook_t *wh);
static ngx_http_intent_webhook_t *ngx_http_intent_webhook_add(ngx_conf_t *cf,
    ngx_http_intent_webhook_main_conf_t *wmcf);
static char *ngx_http_intent_webhook_option(ngx_conf_t *cf,
    ngx_http_intent_webhook_t *wh, ngx_str_t *option);
static ngx_int_t ngx_http_intent_webhook_postconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_intent_webhook_add_stats(ngx_conf_t *cf,
    ngx_http_intent_webhook_t *wh);
static ngx_http_intent_stat_t *ngx_http_intent_webhook_result(ngx_conf_t *cf,
    ngx_http_intent_webhook_t *wh, const char *result);
static ngx_int_t ngx_http_intent_webhook_init_process(ngx_cycle_t *cycle);
static void ngx_http_intent_webhook_exit_process(ngx_cycle_t *cycle);


static double  ngx_http_intent_webhook_seconds_buckets[] = {
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30
};

static double  ngx_http_intent_webhook_delay_buckets[] = {
    0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300, 3600, 86400
};


static ngx_command_t  ngx_http_intent_webhook_commands[] = {

    { ngx_string("intent_webhook"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_intent_webhook_set,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_intent_webhook_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_intent_webhook_postconfiguration, /* postconfiguration */

    ngx_http_intent_webhook_create_main_conf, /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_intent_webhook_create_loc_conf, /* create location
                                                configuration */
    ngx_http_intent_webhook_merge_loc_conf /* merge location configuration */
};


ngx_module_t  ngx_http_intent_webhook_module = {
    NGX_MODULE_V1,
    &ngx_http_intent_webhook_module_ctx,   /* module context */
    ngx_http_intent_webhook_commands,      /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_http_intent_webhook_init_process,  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_intent_webhook_exit_process,  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


ngx_str_t
ngx_http_intent_webhook_uri(ngx_http_request_t *r)
{
    ngx_str_t                            none = ngx_null_string;
    ngx_http_intent_webhook_loc_conf_t  *wlcf;

    wlcf = ngx_http_get_module_loc_conf(r, ngx_http_intent_webhook_module);

    return wlcf->webhook ? wlcf->webhook->uri : none;
}


ngx_http_intent_webhook_t *
ngx_http_intent_webhook_find(ngx_str_t *uri)
{
    ngx_uint_t                             i;
    ngx_http_intent_webhook_t            **wh;
    ngx_http_intent_webhook_main_conf_t   *wmcf;

    wmcf = ngx_http_cycle_get_module_main_conf(ngx_cycle,
                                              ngx_http_intent_webhook_module);
    wh = wmcf->webhooks.elts;

    for (i = 0; i < wmcf->webhooks.nelts; i++) {
        if (wh[i]->uri.len == uri->len
            && ngx_memcmp(wh[i]->uri.data, uri->data, uri->len) == 0)
        {
            return wh[i];
        }
    }

    return NULL;
}


/* a change was committed: whoever tells it need not wait for his next look */

static void
ngx_http_intent_webhook_observer(ngx_http_intent_t *in, ngx_uint_t from)
{
    ngx_http_intent_webhook_t  *wh;

    if (in->webhook.len == 0) {
        return;
    }

    wh = ngx_http_intent_webhook_find(&in->webhook);

    if (wh == NULL || wh->queue == NULL) {
        return;
    }

    if (wh->queue->held) {
        ngx_http_intent_webhook_queue_wake(wh->queue);
        return;
    }

    ngx_http_intent_cache_wake(&wh->uri);
}


/* ---- configuration ---- */


static void *
ngx_http_intent_webhook_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_intent_webhook_main_conf_t  *wmcf;

    wmcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_intent_webhook_main_conf_t));
    if (wmcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&wmcf->webhooks, cf->pool, 2,
                       sizeof(ngx_http_intent_webhook_t *))
        != NGX_OK)
    {
        return NULL;
    }

    return wmcf;
}


static void *
ngx_http_intent_webhook_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_intent_webhook_loc_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_http_intent_webhook_loc_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->webhook = NGX_CONF_UNSET_PTR;

    return conf;
}


static char *
ngx_http_intent_webhook_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child)
{
    ngx_http_intent_webhook_loc_conf_t  *prev = parent;
    ngx_http_intent_webhook_loc_conf_t  *conf = child;

    ngx_conf_merge_ptr_value(conf->webhook, prev->webhook, NULL);

    return NGX_CONF_OK;
}


static char *
ngx_http_intent_webhook_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_intent_webhook_loc_conf_t  *wlcf = conf;

    ngx_str_t                             *value;
    ngx_uint_t                             i;
    ngx_http_intent_webhook_t            **wh;
    ngx_http_intent_webhook_main_conf_t   *wmcf;

    if (wlcf->webhook != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        wlcf->webhook = NULL;
        return NGX_CONF_OK;
    }

    if (ngx_http_intent_webhook_is_uri(&value[1]) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid webhook \"%V\", it should be the uri of "
                           "an internal location, like \"/_webhook/shop\", "
                           "or \"off\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    wmcf = ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_intent_webhook_module);
    wh = wmcf->webhooks.elts;

    for (i = 0; i < wmcf->webhooks.nelts; i++) {

        if (wh[i]->uri.len != value[1].len
            || ngx_memcmp(wh[i]->uri.data, value[1].data, value[1].len) != 0)
        {
            continue;
        }

        wlcf->webhook = wh[i];

        return ngx_http_intent_webhook_same(cf, wh[i]) == NGX_OK
               ? NGX_CONF_OK : NGX_CONF_ERROR;
    }

    wlcf->webhook = ngx_http_intent_webhook_add(cf, wmcf);

    if (wlcf->webhook == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 2; i < cf->args->nelts; i++) {
        if (ngx_http_intent_webhook_option(cf, wlcf->webhook, &value[i])
            != NGX_CONF_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_intent_webhook_is_uri(ngx_str_t *uri)
{
    u_char      c;
    ngx_uint_t  i;

    if (uri->len < 2
        || uri->len > NGX_HTTP_INTENT_WEBHOOK_URI
        || uri->data[0] != '/')
    {
        return NGX_ERROR;
    }

    for (i = 0; i < uri->len; i++) {
        c = uri->data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
              || (c >= '0' && c <= '9') || ngx_strchr("/_.-", c)))
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* one that was given before: with the same words, or none but its uri */

static ngx_int_t
ngx_http_intent_webhook_same(ngx_conf_t *cf, ngx_http_intent_webhook_t *wh)
{
    ngx_str_t   *ours, *theirs;
    ngx_uint_t   i;

    ours = cf->args->elts;
    theirs = wh->args->elts;

    if (cf->args->nelts == 2) {
        return NGX_OK;
    }

    for (i = 2; i < cf->args->nelts && i < wh->args->nelts; i++) {
        if (ours[i].len != theirs[i].len
            || ngx_memcmp(ours[i].data, theirs[i].data, ours[i].len) != 0)
        {
            break;
        }
    }

    if (i == cf->args->nelts && i == wh->args->nelts) {
        return NGX_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "webhook \"%V\" has other parameters in %V:%ui, it "
                       "should have the same, or none here", &wh->uri,
                       &wh->file, wh->line);

    return NGX_ERROR;
}


static ngx_http_intent_webhook_t *
ngx_http_intent_webhook_add(ngx_conf_t *cf,
    ngx_http_intent_webhook_main_conf_t *wmcf)
{
    ngx_str_t                   *value, *arg;
    ngx_uint_t                   i;
    ngx_http_intent_webhook_t   *wh, **whp;

    value = cf->args->elts;

    wh = ngx_pcalloc(cf->pool, sizeof(ngx_http_intent_webhook_t));
    whp = ngx_array_push(&wmcf->webhooks);

    if (wh == NULL || whp == NULL) {
        return NULL;
    }

    *whp = wh;

    wh->args = ngx_array_create(cf->pool, cf->args->nelts, sizeof(ngx_str_t));
    if (wh->args == NULL) {
        return NULL;
    }

    for (i = 0; i < cf->args->nelts; i++) {
        arg = ngx_array_push(wh->args);
        if (arg == NULL) {
            return NULL;
        }

        *arg = value[i];
    }

    wh->uri = value[1];
    wh->file = cf->conf_file->file.name;
    wh->line = cf->conf_file->line;
    wh->max_in_flight = NGX_HTTP_INTENT_WEBHOOK_IN_FLIGHT;
    wh->timeout = NGX_HTTP_INTENT_WEBHOOK_TIMEOUT;
    wh->max_age = NGX_HTTP_INTENT_WEBHOOK_AGE;

    return ngx_http_intent_add_webhook(cf, &wh->uri) ? wh : NULL;
}


static char *
ngx_http_intent_webhook_option(ngx_conf_t *cf, ngx_http_intent_webhook_t *wh,
    ngx_str_t *option)
{
    time_t      age;
    ngx_int_t   n;
    ngx_str_t   s;
    ngx_msec_t  ms;

    if (ngx_strncmp(option->data, "secret_file=", 12) == 0) {
        s.data = option->data + 12;
        s.len = option->len - 12;

        return ngx_http_intent_webhook_secret(cf, wh, &s);
    }

    if (ngx_strncmp(option->data, "max_in_flight=", 14) == 0) {
        n = ngx_atoi(option->data + 14, option->len - 14);

        if (n >= 1 && n <= NGX_HTTP_INTENT_WEBHOOK_MOST) {
            wh->max_in_flight = (ngx_uint_t) n;
            return NGX_CONF_OK;
        }
    }

    if (ngx_strncmp(option->data, "timeout=", 8) == 0) {
        s.data = option->data + 8;
        s.len = option->len - 8;

        ms = ngx_parse_time(&s, 0);

        if (ms != (ngx_msec_t) NGX_ERROR && ms >= 1) {
            wh->timeout = ms;
            return NGX_CONF_OK;
        }
    }

    if (ngx_strncmp(option->data, "max_age=", 8) == 0) {
        s.data = option->data + 8;
        s.len = option->len - 8;

        age = ngx_parse_time(&s, 1);

        if (age != (time_t) NGX_ERROR && age >= 1
            && age <= NGX_HTTP_INTENT_WEBHOOK_MAX_AGE)
        {
            wh->max_age = age;
            return NGX_CONF_OK;
        }
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\" of \"intent_webhook\", there "
                       "are \"secret_file=/path\", \"max_in_flight=%d\" (1 to "
                       "%d), \"timeout=30s\" and \"max_age=3d\" (30d at the "
                       "most)", option, NGX_HTTP_INTENT_WEBHOOK_IN_FLIGHT,
                       NGX_HTTP_INTENT_WEBHOOK_MOST);

    return NGX_CONF_ERROR;
}


static ngx_int_t
ngx_http_intent_webhook_postconfiguration(ngx_conf_t *cf)
{
    ngx_uint_t                             i, internal;
    ngx_http_intent_webhook_t            **webhooks, *wh;
    ngx_http_intent_webhook_main_conf_t   *wmcf;

    wmcf = ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_intent_webhook_module);
    webhooks = wmcf->webhooks.elts;

    if (wmcf->webhooks.nelts == 0) {
        return NGX_OK;
    }

    if (!ngx_http_intent_store_configured(cf)) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"intent_webhook\" needs \"intent_postgres\", in which "
                      "what is to be told waits, in %V:%ui",
                      &webhooks[0]->file, webhooks[0]->line);
        return NGX_ERROR;
    }

    for (i = 0; i < wmcf->webhooks.nelts; i++) {
        wh = webhooks[i];

        wh->ctx = ngx_http_intent_post_find_server(cf, &wh->uri, &internal);

        if (wh->ctx == NULL) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "no server has a location for webhook \"%V\", add "
                          "\"location %V { internal; proxy_pass ...; }\" "
                          "in %V:%ui", &wh->uri, &wh->uri, &wh->file,
                          wh->line);
            return NGX_ERROR;
        }

        if (!internal) {
            ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                          "the location of webhook \"%V\" is not internal: "
                          "clients can call the receiver in %V:%ui", &wh->uri,
                          &wh->file, wh->line);
        }

        if (ngx_http_intent_webhook_add_stats(cf, wh) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return ngx_http_intent_observe(cf, ngx_http_intent_webhook_observer);
}


static ngx_int_t
ngx_http_intent_webhook_add_stats(ngx_conf_t *cf,
    ngx_http_intent_webhook_t *wh)
{
    u_char     text[sizeof("webhook=\"\"") + NGX_HTTP_INTENT_WEBHOOK_URI];
    ngx_str_t  labels;

    labels.data = text;
    labels.len = ngx_sprintf(text, "webhook=\"%V\"", &wh->uri) - text;

    wh->delivered = ngx_http_intent_webhook_result(cf, wh, "delivered");
    wh->failed = ngx_http_intent_webhook_result(cf, wh, "failed");
    wh->given_up = ngx_http_intent_webhook_result(cf, wh, "given_up");

    wh->waiting = ngx_http_intent_stat_add(cf, NGX_HTTP_INTENT_GAUGE,
                      "intent_webhook_waiting",
                      "Changes that wait, on the host that tells them.",
                      &labels);

    wh->breaker = ngx_http_intent_stat_add(cf, NGX_HTTP_INTENT_GAUGE,
                      "intent_webhook_breaker",
                      "Of a webhook: 0 closed, 1 half-open, 2 open.",
                      &labels);

    wh->seconds = ngx_http_intent_histogram_add(cf, "intent_webhook_seconds",
                      "Time that a webhook took to answer.", &labels,
                      ngx_http_intent_webhook_seconds_buckets,
                      sizeof(ngx_http_intent_webhook_seconds_buckets)
                      / sizeof(double));

    wh->delay = ngx_http_intent_histogram_add(cf,
                      "intent_webhook_delay_seconds",
                      "Time from a change to when its webhook had taken it.",
                      &labels, ngx_http_intent_webhook_delay_buckets,
                      sizeof(ngx_http_intent_webhook_delay_buckets)
                      / sizeof(double));

    return wh->delivered && wh->failed && wh->given_up && wh->waiting
           && wh->breaker && wh->seconds && wh->delay ? NGX_OK : NGX_ERROR;
}


static ngx_http_intent_stat_t *
ngx_http_intent_webhook_result(ngx_conf_t *cf, ngx_http_intent_webhook_t *wh,
    const char *result)
{
    u_char     text[sizeof("webhook=\"\",result=\"delivered\"")
                    + NGX_HTTP_INTENT_WEBHOOK_URI];
    ngx_str_t  labels;

    labels.data = text;
    labels.len = ngx_sprintf(text, "webhook=\"%V\",result=\"%s\"", &wh->uri,
                             result)
                 - text;

    return ngx_http_intent_stat_add(cf, NGX_HTTP_INTENT_COUNTER,
                            "intent_webhook_deliveries_total",
                            "Changes told to webhooks, by what came of it.",
                            &labels);
}


static ngx_int_t
ngx_http_intent_webhook_init_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                             i, n;
    ngx_http_intent_webhook_t            **wh;
    ngx_http_intent_webhook_main_conf_t   *wmcf;

    wmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                              ngx_http_intent_webhook_module);

    if (wmcf == NULL || wmcf->webhooks.nelts == 0
        || !ngx_http_intent_is_worker())
    {
        return NGX_OK;
    }

    wh = wmcf->webhooks.elts;

    for (i = 0; i < wmcf->webhooks.nelts; i++) {

        for (n = 0; n < wh[i]->nsecrets; n++) {
            ngx_http_intent_secret_lock(wh[i]->secrets[n].key);
        }

        if (ngx_http_intent_webhook_queue_init(cycle, wh[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static void
ngx_http_intent_webhook_exit_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                             i;
    ngx_http_intent_webhook_t            **wh;
    ngx_http_intent_webhook_main_conf_t   *wmcf;

    wmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                              ngx_http_intent_webhook_module);

    if (wmcf == NULL) {
        return;
    }

    wh = wmcf->webhooks.elts;

    for (i = 0; i < wmcf->webhooks.nelts; i++) {
        ngx_http_intent_webhook_queue_exit(wh[i]);
    }
}
