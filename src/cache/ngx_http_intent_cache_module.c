
/*
 * The intent_redis directive, the sessions of a worker, and the wake-ups that
 * are told through Redis.
 */


#include "ngx_http_intent_cache_private.h"


#define NGX_HTTP_INTENT_CACHE_PORT      6379
#define NGX_HTTP_INTENT_CACHE_TTL       30       /* s */
#define NGX_HTTP_INTENT_CACHE_TIMEOUT   500      /* ms */
#define NGX_HTTP_INTENT_CACHE_PASSWORD  4096


typedef struct {
    ngx_str_t     name;
    char       *(*set)(ngx_conf_t *cf,
                       ngx_http_intent_cache_main_conf_t *icmcf,
                       ngx_str_t *value);
} ngx_http_intent_redis_parameter_t;


static void ngx_http_intent_cache_wake_handler(ngx_event_t *ev);
static void ngx_http_intent_cache_state_handler(void *data, ngx_uint_t up);

static ngx_int_t ngx_http_intent_cache_postconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_intent_cache_set_key(ngx_conf_t *cf,
    ngx_http_intent_cache_main_conf_t *icmcf);
static ngx_int_t ngx_http_intent_cache_add_chains(ngx_conf_t *cf,
    ngx_http_intent_cache_main_conf_t *icmcf, ngx_array_t *names);
static ngx_int_t ngx_http_intent_cache_init_process(ngx_cycle_t *cycle);
static void ngx_http_intent_cache_exit_process(ngx_cycle_t *cycle);
static void *ngx_http_intent_cache_create_main_conf(ngx_conf_t *cf);

static char *ngx_http_intent_redis(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_intent_redis_address(ngx_conf_t *cf,
    ngx_http_intent_redis_conf_t *redis, ngx_str_t *address);
static char *ngx_http_intent_redis_db(ngx_conf_t *cf,
    ngx_http_intent_cache_main_conf_t *icmcf, ngx_str_t *value);
static char *ngx_http_intent_redis_user(ngx_conf_t *cf,
    ngx_http_intent_cache_main_conf_t *icmcf, ngx_str_t *value);
static char *ngx_http_intent_redis_password_file(ngx_conf_t *cf,
    ngx_http_intent_cache_main_conf_t *icmcf, ngx_str_t *value);
static char *ngx_http_intent_redis_prefix(ngx_conf_t *cf,
    ngx_http_intent_cache_main_conf_t *icmcf, ngx_str_t *value);
static char *ngx_http_intent_redis_ttl(ngx_conf_t *cf,
    ngx_http_intent_cache_main_conf_t *icmcf, ngx_str_t *value);
static char *ngx_http_intent_redis_timeout(ngx_conf_t *cf,
    ngx_http_intent_cache_main_conf_t *icmcf, ngx_str_t *value);


static ngx_http_intent_redis_parameter_t
    ngx_http_intent_redis_parameters[] =
{
    { ngx_string("db="), ngx_http_intent_redis_db },
    { ngx_string("user="), ngx_http_intent_redis_user },
    { ngx_string("password_file="), ngx_http_intent_redis_password_file },
    { ngx_string("prefix="), ngx_http_intent_redis_prefix },
    { ngx_string("ttl="), ngx_http_intent_redis_ttl },
    { ngx_string("timeout="), ngx_http_intent_redis_timeout },
    { ngx_null_string, NULL }
};


static ngx_command_t  ngx_http_intent_cache_commands[] = {

    { ngx_string("intent_redis"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_intent_redis,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_intent_cache_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_intent_cache_postconfiguration, /* postconfiguration */

    ngx_http_intent_cache_create_main_conf, /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_intent_cache_module = {
    NGX_MODULE_V1,
    &ngx_http_intent_cache_module_ctx,     /* module context */
    ngx_http_intent_cache_commands,        /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_http_intent_cache_init_process,    /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_intent_cache_exit_process,    /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


ngx_http_intent_cache_t  *ngx_http_intent_cache;


ngx_uint_t
ngx_http_intent_cache_configured(ngx_conf_t *cf)
{
    ngx_http_intent_cache_main_conf_t  *icmcf;

    if (cf) {
        icmcf = ngx_http_conf_get_module_main_conf(cf,
                                                ngx_http_intent_cache_module);
    } else {
        icmcf = ngx_http_cycle_get_module_main_conf(ngx_cycle,
                                                ngx_http_intent_cache_module);
    }

    return icmcf && icmcf->redis.naddrs;
}


ngx_uint_t
ngx_http_intent_cache_is_up(void)
{
    return ngx_http_intent_cache
           && ngx_http_intent_redis_is_up(ngx_http_intent_cache->commands);
}


void
ngx_http_intent_cache_wake(ngx_str_t *chain)
{
    ngx_uint_t                      i;
    ngx_http_intent_cache_t        *cache;
    ngx_http_intent_cache_chain_t  *chains;

    cache = ngx_http_intent_cache;

    if (cache == NULL) {
        return;
    }

    chains = cache->conf->chains.elts;

    for (i = 0; i < cache->conf->chains.nelts; i++) {

        if (chains[i].name.len == chain->len
            && ngx_memcmp(chains[i].name.data, chain->data, chain->len) == 0)
        {
            chains[i].wake = 1;
            ngx_post_event(&cache->wake, &ngx_posted_events);
            return;
        }
    }
}


static void
ngx_http_intent_cache_wake_handler(ngx_event_t *ev)
{
    ngx_str_t                       empty = ngx_null_string;
    ngx_uint_t                      i;
    ngx_http_intent_cache_t        *cache;
    ngx_http_intent_cache_chain_t  *chains;

    cache = ngx_http_intent_cache;
    chains = cache->conf->chains.elts;

    for (i = 0; i < cache->conf->chains.nelts; i++) {
        if (chains[i].wake) {
            chains[i].wake = 0;
            ngx_http_intent_cache_publish(&chains[i].channel, &empty);
        }
    }
}


u_char *
ngx_http_intent_cache_key(u_char *p, ngx_http_intent_cache_main_conf_t *conf,
    u_char *id)
{
    p = ngx_cpymem(p, conf->key.data, conf->key.len);
    p = ngx_cpymem(p, id, NGX_HTTP_INTENT_ID_LEN);

    return ngx_cpymem(p, NGX_HTTP_INTENT_CACHE_SUFFIX CRLF,
                      sizeof(NGX_HTTP_INTENT_CACHE_SUFFIX CRLF) - 1);
}


static void
ngx_http_intent_cache_state_handler(void *data, ngx_uint_t up)
{
    if (up) {
        ngx_http_intent_cache_put_restored();

    } else {
        ngx_http_intent_cache_get_lost();
    }
}


static ngx_int_t
ngx_http_intent_cache_postconfiguration(ngx_conf_t *cf)
{
    ngx_str_t                           labels;
    ngx_uint_t                          i;
    ngx_http_intent_stat_t            **st[3];
    ngx_http_intent_cache_main_conf_t  *icmcf;

    static ngx_str_t  results[] = {
        ngx_string("result=\"hit\""),
        ngx_string("result=\"miss\""),
        ngx_string("result=\"error\"")
    };

    icmcf = ngx_http_conf_get_module_main_conf(cf,
                                               ngx_http_intent_cache_module);

    if (icmcf->redis.naddrs == 0) {
        return NGX_OK;
    }

    st[0] = &icmcf->hits;
    st[1] = &icmcf->misses;
    st[2] = &icmcf->errors;

    for (i = 0; i < 3; i++) {
        labels = results[i];

        *st[i] = ngx_http_intent_stat_add(cf, NGX_HTTP_INTENT_COUNTER,
                             "intent_cache_requests_total",
                             "Statuses asked of Redis, by what came of it.",
                             &labels);
        if (*st[i] == NULL) {
            return NGX_ERROR;
        }
    }

    if (ngx_http_intent_cache_set_key(cf, icmcf) != NGX_OK
        || ngx_array_init(&icmcf->chains, cf->pool, 4,
                          sizeof(ngx_http_intent_cache_chain_t))
           != NGX_OK
        || ngx_http_intent_cache_add_chains(cf, icmcf,
                                            ngx_http_intent_chains(cf))
           != NGX_OK
        || ngx_http_intent_cache_add_chains(cf, icmcf,
                                            ngx_http_intent_webhooks(cf))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_intent_observe(cf, ngx_http_intent_cache_observer);
}


static ngx_int_t
ngx_http_intent_cache_set_key(ngx_conf_t *cf,
    ngx_http_intent_cache_main_conf_t *icmcf)
{
    size_t   len;
    u_char  *p;

    len = icmcf->prefix.len + NGX_HTTP_INTENT_ID_LEN
          + sizeof(NGX_HTTP_INTENT_CACHE_SUFFIX) - 1;

    p = ngx_pnalloc(cf->pool, ngx_http_intent_redis_bulk_len(len));
    if (p == NULL) {
        return NGX_ERROR;
    }

    icmcf->key.data = p;
    icmcf->key.len = ngx_sprintf(p, "$%uz\r\n%V", len, &icmcf->prefix) - p;

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_cache_add_chains(ngx_conf_t *cf,
    ngx_http_intent_cache_main_conf_t *icmcf, ngx_array_t *names)
{
    u_char                          *p;
    ngx_uint_t                       i;
    ngx_http_intent_name_t         **name;
    ngx_http_intent_cache_chain_t   *chain;

    name = names->elts;

    for (i = 0; i < names->nelts; i++) {
        chain = ngx_array_push(&icmcf->chains);
        if (chain == NULL) {
            return NGX_ERROR;
        }

        p = ngx_pnalloc(cf->pool, icmcf->prefix.len + sizeof("wake:")
                                  + name[i]->name.len);
        if (p == NULL) {
            return NGX_ERROR;
        }

        chain->name = name[i]->name;
        chain->wake = 0;
        chain->channel.data = p;
        chain->channel.len = ngx_sprintf(p, "%Vwake:%V", &icmcf->prefix,
                                         &name[i]->name)
                             - p;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_cache_init_process(ngx_cycle_t *cycle)
{
    ngx_http_intent_cache_t            *cache;
    ngx_http_intent_cache_main_conf_t  *icmcf;

    icmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                                ngx_http_intent_cache_module);

    if (icmcf == NULL
        || icmcf->redis.naddrs == 0
        || !ngx_http_intent_is_worker())
    {
        return NGX_OK;
    }

    cache = ngx_pcalloc(cycle->pool, sizeof(ngx_http_intent_cache_t));
    if (cache == NULL) {
        return NGX_ERROR;
    }

    cache->conf = icmcf;
    cache->pool = cycle->pool;
    cache->log = cycle->log;

    cache->dumb.fd = (ngx_socket_t) -1;
    cache->wake.handler = ngx_http_intent_cache_wake_handler;
    cache->wake.data = &cache->dumb;
    cache->wake.log = cycle->log;

    if (ngx_http_intent_cache_get_init(cache) != NGX_OK
        || ngx_http_intent_cache_put_init(cache) != NGX_OK
        || ngx_http_intent_cache_watch_init(cache) != NGX_OK)
    {
        return NGX_ERROR;
    }

    cache->commands = ngx_http_intent_redis_create(cache->pool, &icmcf->redis,
                                         cache->log,
                                         ngx_http_intent_cache_state_handler,
                                         NULL);
    if (cache->commands == NULL) {
        return NGX_ERROR;
    }

    ngx_http_intent_cache = cache;

    return NGX_OK;
}


static void
ngx_http_intent_cache_exit_process(ngx_cycle_t *cycle)
{
    ngx_http_intent_cache_t  *cache;

    cache = ngx_http_intent_cache;

    if (cache == NULL) {
        return;
    }

    ngx_http_intent_cache = NULL;

    ngx_http_intent_redis_close(cache->commands);

    if (cache->subscriber) {
        ngx_http_intent_redis_close(cache->subscriber);
    }

    ngx_http_intent_cache_put_exit();
}


static void *
ngx_http_intent_cache_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_intent_cache_main_conf_t  *icmcf;

    icmcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_intent_cache_main_conf_t));
    if (icmcf == NULL) {
        return NULL;
    }

    ngx_str_set(&icmcf->prefix, "intent:");
    icmcf->ttl = NGX_HTTP_INTENT_CACHE_TTL;
    icmcf->redis.timeout = NGX_HTTP_INTENT_CACHE_TIMEOUT;

    return icmcf;
}


static char *
ngx_http_intent_redis(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_intent_cache_main_conf_t  *icmcf = conf;

    char                               *rv;
    ngx_str_t                          *value, s;
    ngx_uint_t                          i;
    ngx_http_intent_redis_parameter_t  *pr;

    if (icmcf->redis.naddrs) {
        return "is duplicate";
    }

    if (ngx_http_intent_conf_unique(cf, 2) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    rv = ngx_http_intent_redis_address(cf, &icmcf->redis, &value[1]);

    for (i = 2; i < cf->args->nelts && rv == NGX_CONF_OK; i++) {

        for (pr = ngx_http_intent_redis_parameters; pr->name.len; pr++) {

            if (value[i].len > pr->name.len
                && ngx_strncmp(value[i].data, pr->name.data, pr->name.len)
                   == 0)
            {
                break;
            }
        }

        if (pr->name.len == 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter of \"intent_redis\", which "
                               "is not repeated here, for it may be a "
                               "password: it should be one of db=number, "
                               "user=name, password_file=path, prefix=text, "
                               "ttl=time, timeout=time");
            return NGX_CONF_ERROR;
        }

        s.data = value[i].data + pr->name.len;
        s.len = value[i].len - pr->name.len;

        rv = pr->set(cf, icmcf, &s);
    }

    if (rv == NGX_CONF_OK
        && icmcf->redis.user.len && icmcf->redis.password.len == 0)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "user \"%V\" has no password, "
                           "add \"password_file=path\"", &icmcf->redis.user);
        return NGX_CONF_ERROR;
    }

    return rv;
}


static char *
ngx_http_intent_redis_address(ngx_conf_t *cf,
    ngx_http_intent_redis_conf_t *redis, ngx_str_t *address)
{
    ngx_url_t  u;

    /* a worker never looks up a name: that would block it */

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url = *address;
    u.default_port = NGX_HTTP_INTENT_CACHE_PORT;

    if (ngx_parse_url(cf->pool, &u) != NGX_OK || u.naddrs == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%s in the address \"%V\" of redis, it should be "
                           "like \"127.0.0.1:6379\" or \"unix:/path\"",
                           u.err ? u.err : "no host", address);
        return NGX_CONF_ERROR;
    }

    redis->name = *address;
    redis->addrs = u.addrs;
    redis->naddrs = u.naddrs;

    return NGX_CONF_OK;
}


static char *
ngx_http_intent_redis_db(ngx_conf_t *cf,
    ngx_http_intent_cache_main_conf_t *icmcf, ngx_str_t *value)
{
    ngx_int_t  n;

    n = ngx_atoi(value->data, value->len);

    if (n == NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid redis database \"%V\", "
                           "it should be a number like \"0\"", value);
        return NGX_CONF_ERROR;
    }

    icmcf->redis.db = n;

    return NGX_CONF_OK;
}


static char *
ngx_http_intent_redis_user(ngx_conf_t *cf,
    ngx_http_intent_cache_main_conf_t *icmcf, ngx_str_t *value)
{
    icmcf->redis.user = *value;

    return NGX_CONF_OK;
}


static char *
ngx_http_intent_redis_password_file(ngx_conf_t *cf,
    ngx_http_intent_cache_main_conf_t *icmcf, ngx_str_t *value)
{
    ssize_t           n;
    u_char           *p;
    ngx_fd_t          fd;
    ngx_str_t         name;
    ngx_file_info_t   fi;

    name = *value;

    if (ngx_conf_full_name(cf->cycle, &name, 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    p = ngx_pnalloc(cf->pool, NGX_HTTP_INTENT_CACHE_PASSWORD);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    fd = ngx_open_file(name.data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_open_file_n " \"%V\" failed", &name);
        return NGX_CONF_ERROR;
    }

    if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_fd_info_n " \"%V\" failed", &name);
        goto failed;
    }

    if (ngx_file_access(&fi) & (S_IROTH|S_IWOTH)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "others can read the password in \"%V\", "
                           "chmod it to 0600 or 0640", &name);
        goto failed;
    }

    n = ngx_read_fd(fd, p, NGX_HTTP_INTENT_CACHE_PASSWORD);

    if (n == -1) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_read_fd_n " \"%V\" failed", &name);
        goto failed;
    }

    while (n && (p[n - 1] == LF || p[n - 1] == CR)) {
        n--;
    }

    if (n == 0 || n == NGX_HTTP_INTENT_CACHE_PASSWORD) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" should hold a password of 1 to %d bytes",
                           &name, NGX_HTTP_INTENT_CACHE_PASSWORD - 1);
        goto failed;
    }

    icmcf->redis.password.data = p;
    icmcf->redis.password.len = n;

    (void) ngx_close_file(fd);

    return NGX_CONF_OK;

failed:

    (void) ngx_close_file(fd);

    return NGX_CONF_ERROR;
}


static char *
ngx_http_intent_redis_prefix(ngx_conf_t *cf,
    ngx_http_intent_cache_main_conf_t *icmcf, ngx_str_t *value)
{
    icmcf->prefix = *value;

    return NGX_CONF_OK;
}


static char *
ngx_http_intent_redis_ttl(ngx_conf_t *cf,
    ngx_http_intent_cache_main_conf_t *icmcf, ngx_str_t *value)
{
    icmcf->ttl = ngx_parse_time(value, 1);

    if (icmcf->ttl == (time_t) NGX_ERROR || icmcf->ttl == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid ttl \"%V\", "
                           "it should be whole seconds like \"30s\"", value);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_intent_redis_timeout(ngx_conf_t *cf,
    ngx_http_intent_cache_main_conf_t *icmcf, ngx_str_t *value)
{
    icmcf->redis.timeout = ngx_parse_time(value, 0);

    if (icmcf->redis.timeout == (ngx_msec_t) NGX_ERROR
        || icmcf->redis.timeout == 0)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid timeout \"%V\", "
                           "it should be a time like \"500ms\"", value);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}
