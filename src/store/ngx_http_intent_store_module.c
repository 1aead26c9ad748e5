
/*
 * The intent_postgres and intent_retention directives, and the sessions of a
 * worker.
 */


#include "ngx_http_intent_store_private.h"


#define NGX_HTTP_INTENT_STORE_CONNECTIONS      2
#define NGX_HTTP_INTENT_STORE_MAX_CONNECTIONS  64
#define NGX_HTTP_INTENT_STORE_TIMEOUT          5000   /* ms */
#define NGX_HTTP_INTENT_STORE_MIN_TIMEOUT      100
#define NGX_HTTP_INTENT_STORE_MIN_IDLE         5000   /* ms */
#define NGX_HTTP_INTENT_STORE_DEFAULT_RETENTION  (30 * 24 * 60 * 60)   /* s */
#define NGX_HTTP_INTENT_STORE_MAX_RETENTION      (100LL * 366 * 24 * 60 * 60)


typedef struct {
    ngx_http_intent_pg_state_pt   state;
    void                         *data;
} ngx_http_intent_store_listener_t;


typedef struct {
    ngx_uint_t                    off;
    u_char                        value[NGX_INT_T_LEN];
    ngx_http_intent_pg_query_t    query;
} ngx_http_intent_store_idle_t;


static void ngx_http_intent_store_state(ngx_http_intent_pg_t *pg,
    ngx_uint_t up, void *data);
static void ngx_http_intent_store_executor_state(ngx_http_intent_pg_t *pg,
    ngx_uint_t up, void *data);
static void ngx_http_intent_store_executor_idle(ngx_http_intent_pg_t *pg,
    ngx_http_intent_store_idle_t *idle);
static void ngx_http_intent_store_executor_idle_handler(
    ngx_http_intent_pg_query_t *q, ngx_int_t rc, PGresult *res);
static void ngx_http_intent_store_executor_drain(void *data);

static void *ngx_http_intent_store_create_main_conf(ngx_conf_t *cf);
static char *ngx_http_intent_store_postgres(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_intent_store_option(ngx_conf_t *cf,
    ngx_http_intent_store_main_conf_t *smcf, ngx_str_t *option);
static char *ngx_http_intent_store_set_retention(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_intent_store_init_main_conf(ngx_conf_t *cf, void *conf);
static ngx_int_t ngx_http_intent_store_add_stats(ngx_conf_t *cf,
    ngx_http_intent_store_main_conf_t *smcf);
static ngx_int_t ngx_http_intent_store_init_process(ngx_cycle_t *cycle);
static void ngx_http_intent_store_exit_process(ngx_cycle_t *cycle);


static ngx_http_intent_store_worker_t  *ngx_http_intent_store_own;

static ngx_http_intent_pg_t            *ngx_http_intent_store_lanes;
static ngx_array_t                     *ngx_http_intent_store_listeners;

/* of the executor session: when it comes up, when this worker drains */
static ngx_http_intent_store_idle_t     ngx_http_intent_store_idle;
static ngx_http_intent_store_idle_t     ngx_http_intent_store_drain = { .off = 1 };


/*
 * A worker that is stopped, or hangs, keeps its sockets, and with them the
 * locks of its executor session: its lanes, the sweeper's, those of webhooks.
 * Something is asked on that session every two seconds or so; when nothing was
 * for much longer, the server ends it, from version 14 on.
 */

static ngx_http_intent_pg_stmt_t  ngx_http_intent_store_idle_stmt = {
    "executor_idle",
    "SELECT set_config('idle_session_timeout', $1, false)"
    " WHERE current_setting('server_version_num')::int >= 140000",
    1, { NGX_HTTP_INTENT_PG_TEXT }
};


static double  ngx_http_intent_store_seconds_buckets[] = {
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5
};

static double  ngx_http_intent_store_size_buckets[] = {
    1, 2, 4, 8, 16, 32, 64, 128, 256, 512
};

/* by ngx_http_intent_store_operation_e */
static ngx_str_t  ngx_http_intent_store_operations[] = {
    ngx_string("operation=\"create\""),
    ngx_string("operation=\"admit\""),
    ngx_string("operation=\"duplicate\""),
    ngx_string("operation=\"update\""),
    ngx_string("operation=\"get\""),
    ngx_string("operation=\"list\""),
    ngx_string("operation=\"revoke\""),
    ngx_string("operation=\"expire\""),
    ngx_string("operation=\"retention\""),
    ngx_string("operation=\"lane\""),
    ngx_string("operation=\"claim\""),
    ngx_string("operation=\"save\""),
    ngx_string("operation=\"receipt\""),
    ngx_string("operation=\"webhook\"")
};


static ngx_command_t  ngx_http_intent_store_commands[] = {

    { ngx_string("intent_postgres"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_intent_store_postgres,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("intent_retention"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_intent_store_set_retention,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_intent_store_module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    ngx_http_intent_store_create_main_conf,  /* create main configuration */
    ngx_http_intent_store_init_main_conf,  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_intent_store_module = {
    NGX_MODULE_V1,
    &ngx_http_intent_store_module_ctx,     /* module context */
    ngx_http_intent_store_commands,        /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_http_intent_store_init_process,    /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_intent_store_exit_process,    /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


ngx_uint_t
ngx_http_intent_store_configured(ngx_conf_t *cf)
{
    ngx_http_intent_store_main_conf_t  *smcf;

    if (cf) {
        smcf = ngx_http_conf_get_module_main_conf(cf,
                                                ngx_http_intent_store_module);
    } else {
        smcf = ngx_http_cycle_get_module_main_conf(ngx_cycle,
                                                ngx_http_intent_store_module);
    }

    return smcf && smcf->pg.conninfos;
}


ngx_uint_t
ngx_http_intent_store_is_up(void)
{
    return ngx_http_intent_store_own && ngx_http_intent_store_own->nup;
}


ngx_http_intent_store_worker_t *
ngx_http_intent_store_worker(void)
{
    return ngx_http_intent_store_own;
}


ngx_http_intent_store_session_t *
ngx_http_intent_store_session(void)
{
    ngx_uint_t                        i;
    ngx_http_intent_store_worker_t   *w;
    ngx_http_intent_store_session_t  *s, *best;

    w = ngx_http_intent_store_own;

    if (w == NULL) {
        return NULL;
    }

    best = NULL;

    for (i = 0; i < w->nsessions; i++) {
        s = &w->sessions[i];

        if (ngx_http_intent_pg_is_up(s->pg)
            && (best == NULL
                || ngx_http_intent_pg_pending(s->pg)
                   < ngx_http_intent_pg_pending(best->pg)))
        {
            best = s;
        }
    }

    return best;
}


void
ngx_http_intent_store_observe(ngx_uint_t operation, double start)
{
    ngx_http_intent_stat_observe(
                     ngx_http_intent_store_own->conf->seconds[operation],
                     ngx_http_intent_seconds() - start);
}


void
ngx_http_intent_store_observe_batch(ngx_uint_t size)
{
    ngx_http_intent_stat_observe(ngx_http_intent_store_own->conf->batch_size,
                                 (double) size);
}


ngx_http_intent_pg_t *
ngx_http_intent_store_executor(ngx_http_intent_pg_state_pt state, void *data)
{
    ngx_http_intent_store_worker_t    *w;
    ngx_http_intent_store_listener_t  *listener;

    w = ngx_http_intent_store_own;

    if (w == NULL) {
        return NULL;
    }

    listener = ngx_array_push(ngx_http_intent_store_listeners);
    if (listener == NULL) {
        return NULL;
    }

    listener->state = state;
    listener->data = data;

    if (ngx_http_intent_store_lanes == NULL) {
        ngx_http_intent_store_lanes = ngx_http_intent_pg_create(w->pool,
                                        &w->conf->pg, "executor",
                                        ngx_http_intent_store_executor_state,
                                        NULL);
    }

    return ngx_http_intent_store_lanes;
}


static void
ngx_http_intent_store_state(ngx_http_intent_pg_t *pg, ngx_uint_t up,
    void *data)
{
    ngx_http_intent_store_worker_t *w = data;

    if (up) {
        w->nup++;

    } else if (--w->nup == 0) {
        w->down_since = ngx_current_msec;
    }

    ngx_http_intent_store_create_wake();
    ngx_http_intent_store_read_wake();
}


static void
ngx_http_intent_store_executor_state(ngx_http_intent_pg_t *pg, ngx_uint_t up,
    void *data)
{
    ngx_uint_t                         i;
    ngx_http_intent_store_listener_t  *listener;

    if (up) {
        ngx_http_intent_store_executor_idle(pg, &ngx_http_intent_store_idle);
    }

    listener = ngx_http_intent_store_listeners->elts;

    for (i = 0; i < ngx_http_intent_store_listeners->nelts; i++) {
        listener[i].state(pg, up, listener[i].data);
    }
}


static void
ngx_http_intent_store_executor_idle(ngx_http_intent_pg_t *pg,
    ngx_http_intent_store_idle_t *idle)
{
    ngx_msec_t  limit;

    limit = 0;

    if (!idle->off) {
        limit = 4 * ngx_http_intent_store_own->conf->pg.timeout;
        limit = ngx_max(limit, NGX_HTTP_INTENT_STORE_MIN_IDLE);
        limit = ngx_min(limit, NGX_MAX_INT32_VALUE);
    }

    ngx_memzero(&idle->query, sizeof(ngx_http_intent_pg_query_t));

    ngx_http_intent_pg_param_bytes(&idle->query, 0, idle->value,
                                   ngx_sprintf(idle->value, "%M", limit)
                                   - idle->value);

    idle->query.stmt = &ngx_http_intent_store_idle_stmt;
    idle->query.handler = ngx_http_intent_store_executor_idle_handler;

    /* else it was lost a moment ago */

    (void) ngx_http_intent_pg_query(pg, &idle->query);
}


static void
ngx_http_intent_store_executor_idle_handler(ngx_http_intent_pg_query_t *q,
    ngx_int_t rc, PGresult *res)
{
    if (rc == NGX_ERROR) {
        ngx_log_error(NGX_LOG_WARN, ngx_http_intent_store_own->log, 0,
                      "intent store: the server does not limit how long the "
                      "executor session may be idle: %s: %s",
                      ngx_http_intent_pg_sqlstate(res),
                      ngx_http_intent_pg_message(res));
    }
}


/* who drains has no sweeper any more that asks, and may have work for long */

static void
ngx_http_intent_store_executor_drain(void *data)
{
    ngx_http_intent_store_idle.off = 1;

    ngx_http_intent_store_executor_idle(ngx_http_intent_store_lanes,
                                        &ngx_http_intent_store_drain);
}


static void *
ngx_http_intent_store_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_intent_store_main_conf_t  *smcf;

    /* pg.conninfos NULL: there is no intent_postgres */

    smcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_intent_store_main_conf_t));
    if (smcf == NULL) {
        return NULL;
    }

    smcf->connections = NGX_HTTP_INTENT_STORE_CONNECTIONS;
    smcf->pg.timeout = NGX_HTTP_INTENT_STORE_TIMEOUT;
    smcf->pg.setup = ngx_http_intent_store_schema;
    smcf->retention = NGX_CONF_UNSET;

    return smcf;
}


static char *
ngx_http_intent_store_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_http_intent_store_main_conf_t  *smcf = conf;

    if (smcf->retention != NGX_CONF_UNSET && smcf->pg.conninfos == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"intent_retention\" is for what is kept in Postgres, "
                      "add \"intent_postgres\" to the http block");
        return NGX_CONF_ERROR;
    }

    ngx_conf_init_value(smcf->retention,
                        NGX_HTTP_INTENT_STORE_DEFAULT_RETENTION);

    return NGX_CONF_OK;
}


/* 0: for ever */

static char *
ngx_http_intent_store_set_retention(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_intent_store_main_conf_t  *smcf = conf;

    ngx_int_t   retention;
    ngx_str_t  *value;

    if (smcf->retention != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        smcf->retention = 0;
        return NGX_CONF_OK;
    }

    retention = ngx_parse_time(&value[1], 1);

    /* years that a timestamp cannot hold would be no help either */

    if (retention == NGX_ERROR
        || retention > NGX_HTTP_INTENT_STORE_MAX_RETENTION)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid time \"%V\" in \"intent_retention\", it "
                           "should be whole seconds like \"30d\", at most "
                           "\"100y\", or \"off\" to keep all", &value[1]);
        return NGX_CONF_ERROR;
    }

    smcf->retention = (time_t) retention;

    return NGX_CONF_OK;
}


static char *
ngx_http_intent_store_postgres(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_intent_store_main_conf_t  *smcf = conf;

    char        *rv;
    ngx_str_t   *value;
    ngx_uint_t   i;

    if (smcf->pg.conninfos) {
        return "is duplicate";
    }

    if (ngx_http_intent_conf_unique(cf, 2) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    for (i = 2; i < cf->args->nelts; i++) {
        rv = ngx_http_intent_store_option(cf, smcf, &value[i]);

        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    smcf->pg.conninfos = ngx_http_intent_store_conninfos(cf, &value[1]);

    if (smcf->pg.conninfos == NULL) {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_intent_store_add_stats(cf, smcf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_intent_store_option(ngx_conf_t *cf,
    ngx_http_intent_store_main_conf_t *smcf, ngx_str_t *option)
{
    ngx_int_t   n;
    ngx_str_t   s;
    ngx_msec_t  timeout;

    if (ngx_strncmp(option->data, "connections=", 12) == 0) {

        n = ngx_atoi(option->data + 12, option->len - 12);

        if (n < 1 || n > NGX_HTTP_INTENT_STORE_MAX_CONNECTIONS) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid number of connections in \"%V\", it "
                               "should be from 1 to %d, for each worker",
                               option, NGX_HTTP_INTENT_STORE_MAX_CONNECTIONS);
            return NGX_CONF_ERROR;
        }

        smcf->connections = (ngx_uint_t) n;

        return NGX_CONF_OK;
    }

    if (ngx_strncmp(option->data, "timeout=", 8) == 0) {

        s.data = option->data + 8;
        s.len = option->len - 8;

        timeout = ngx_parse_time(&s, 0);

        if (timeout == (ngx_msec_t) NGX_ERROR
            || timeout < NGX_HTTP_INTENT_STORE_MIN_TIMEOUT)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid time in \"%V\", it should be like "
                               "\"timeout=5s\", and \"%dms\" at the least",
                               option, NGX_HTTP_INTENT_STORE_MIN_TIMEOUT);
            return NGX_CONF_ERROR;
        }

        smcf->pg.timeout = timeout;

        return NGX_CONF_OK;
    }

    if (ngx_strcmp(option->data, "schema=auto") == 0) {
        smcf->pg.setup = ngx_http_intent_store_schema;
        return NGX_CONF_OK;
    }

    if (ngx_strcmp(option->data, "schema=off") == 0) {
        smcf->pg.setup = NULL;
        return NGX_CONF_OK;
    }

    /* it may be a piece of a conninfo that lacks its quotes: not repeated */

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter of \"intent_postgres\" after the "
                       "conninfo, which is one string in quotes; there are "
                       "\"connections=\", \"timeout=\", \"schema=auto\" and "
                       "\"schema=off\"");
    return NGX_CONF_ERROR;
}


static ngx_int_t
ngx_http_intent_store_add_stats(ngx_conf_t *cf,
    ngx_http_intent_store_main_conf_t *smcf)
{
    ngx_str_t   none;
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_INTENT_STORE_OPERATIONS; i++) {
        smcf->seconds[i] = ngx_http_intent_histogram_add(cf,
                               "intent_store_seconds",
                               "Time that Postgres took for an operation.",
                               &ngx_http_intent_store_operations[i],
                               ngx_http_intent_store_seconds_buckets,
                               sizeof(ngx_http_intent_store_seconds_buckets)
                               / sizeof(double));

        if (smcf->seconds[i] == NULL) {
            return NGX_ERROR;
        }
    }

    ngx_str_null(&none);

    smcf->batch_size = ngx_http_intent_histogram_add(cf,
                           "intent_store_batch_size",
                           "New intents in one INSERT.", &none,
                           ngx_http_intent_store_size_buckets,
                           sizeof(ngx_http_intent_store_size_buckets)
                           / sizeof(double));

    smcf->deleted = ngx_http_intent_stat_add(cf, NGX_HTTP_INTENT_COUNTER,
                           "intents_deleted_total",
                           "Finished intents deleted after intent_retention.",
                           &none);

    return smcf->batch_size && smcf->deleted ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_intent_store_init_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                          i;
    ngx_http_intent_store_worker_t     *w;
    ngx_http_intent_store_session_t    *s;
    ngx_http_intent_store_main_conf_t  *smcf;

    smcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_intent_store_module);

    if (smcf == NULL || smcf->pg.conninfos == NULL
        || !ngx_http_intent_is_worker())
    {
        return NGX_OK;
    }

    w = ngx_pcalloc(cycle->pool, sizeof(ngx_http_intent_store_worker_t));
    s = ngx_pcalloc(cycle->pool, smcf->connections
                                 * sizeof(ngx_http_intent_store_session_t));
    ngx_http_intent_store_listeners = ngx_array_create(cycle->pool, 4,
                                    sizeof(ngx_http_intent_store_listener_t));

    if (w == NULL || s == NULL || ngx_http_intent_store_listeners == NULL) {
        return NGX_ERROR;
    }

    w->conf = smcf;
    w->sessions = s;
    w->pool = cycle->pool;
    w->log = cycle->log;
    w->down_since = ngx_current_msec;

    ngx_http_intent_store_own = w;

    if (ngx_http_intent_store_create_init(w) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_intent_store_read_init(w);

    for (i = 0; i < smcf->connections; i++) {
        s[i].pg = ngx_http_intent_pg_create(cycle->pool, &smcf->pg, "store",
                                            ngx_http_intent_store_state, w);
        if (s[i].pg == NULL) {
            return NGX_ERROR;
        }

        w->nsessions++;
    }

    if (ngx_http_intent_store_sweep_init(w) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_intent_on_drain(ngx_http_intent_store_executor_drain,
                                    NULL);
}


static void
ngx_http_intent_store_exit_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                       i;
    ngx_http_intent_store_worker_t  *w;

    w = ngx_http_intent_store_own;

    if (w == NULL) {
        return;
    }

    ngx_http_intent_store_revoke_exit();

    for (i = 0; i < w->nsessions; i++) {
        ngx_http_intent_pg_close(w->sessions[i].pg);
    }

    if (ngx_http_intent_store_lanes) {
        ngx_http_intent_pg_close(ngx_http_intent_store_lanes);
    }

    ngx_http_intent_store_own = NULL;
    ngx_http_intent_store_lanes = NULL;
}
