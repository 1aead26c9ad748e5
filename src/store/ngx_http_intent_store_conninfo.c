
/*
 * The conninfo of intent_postgres.  Names are resolved here, while the
 * configuration is read, for libpq would block a worker on them; and each
 * address becomes a conninfo of its own, for libpq's own way through a list
 * of them may close and open sockets unseen.
 */


#include "ngx_http_intent_store_private.h"


typedef struct {
    ngx_array_t        *conninfos;     /* of char * */
    PQconninfoOption   *options;
    ngx_array_t         hosts;         /* of ngx_str_t, and so on */
    ngx_array_t         hostaddrs;
    ngx_array_t         ports;
} ngx_http_intent_store_conninfo_t;


typedef struct {
    char               *name;
    char               *value;
} ngx_http_intent_store_default_t;


static ngx_int_t ngx_http_intent_store_conninfo_unique(ngx_conf_t *cf,
    ngx_str_t *conninfo);
static u_char *ngx_http_intent_store_conninfo_next(u_char *p,
    ngx_str_t *name);
static ngx_int_t ngx_http_intent_store_conninfo_split(ngx_conf_t *cf,
    ngx_http_intent_store_conninfo_t *ctx);
static ngx_int_t ngx_http_intent_store_conninfo_list(ngx_conf_t *cf,
    ngx_array_t *list, char *value);
static ngx_int_t ngx_http_intent_store_conninfo_hosts(ngx_conf_t *cf,
    ngx_http_intent_store_conninfo_t *ctx);
static ngx_int_t ngx_http_intent_store_conninfo_resolve(ngx_conf_t *cf,
    ngx_http_intent_store_conninfo_t *ctx, ngx_str_t *host, ngx_str_t *port);
static ngx_int_t ngx_http_intent_store_conninfo_add(ngx_conf_t *cf,
    ngx_http_intent_store_conninfo_t *ctx, ngx_str_t *host,
    ngx_str_t *hostaddr, ngx_str_t *port);
static size_t ngx_http_intent_store_conninfo_size(
    ngx_http_intent_store_conninfo_t *ctx);
static u_char *ngx_http_intent_store_conninfo_put(u_char *p,
    const char *name, u_char *value, size_t len);
static char *ngx_http_intent_store_conninfo_get(PQconninfoOption *options,
    const char *name);
static void ngx_http_intent_store_conninfo_hide(ngx_str_t *conninfo,
    char *message);


/* what we need otherwise than libpq has it, unless the user has said it */

static ngx_http_intent_store_default_t
    ngx_http_intent_store_conninfo_defaults[] =
{
    { "application_name", "nginx-intent" },
    { "client_encoding", "UTF8" },
    { "gssencmode", "disable" },
    { "keepalives_idle", "30" },
    { "keepalives_interval", "10" },
    { "keepalives_count", "3" },
    { NULL, NULL }
};


ngx_array_t *
ngx_http_intent_store_conninfos(ngx_conf_t *cf, ngx_str_t *conninfo)
{
    char                              *err;
    ngx_int_t                          rc;
    ngx_http_intent_store_conninfo_t   ctx;

    ngx_memzero(&ctx, sizeof(ngx_http_intent_store_conninfo_t));

    ctx.conninfos = ngx_array_create(cf->pool, 2, sizeof(char *));
    if (ctx.conninfos == NULL) {
        return NULL;
    }

    err = NULL;
    ctx.options = PQconninfoParse((char *) conninfo->data, &err);

    if (ctx.options == NULL) {

        if (err) {
            ngx_http_intent_store_conninfo_hide(conninfo, err);
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid conninfo in \"intent_postgres\": %s",
                           err ? err : "no memory");
        PQfreemem(err);
        return NULL;
    }

    rc = ngx_http_intent_store_conninfo_unique(cf, conninfo);

    if (rc == NGX_OK) {
        rc = ngx_http_intent_store_conninfo_split(cf, &ctx);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_intent_store_conninfo_hosts(cf, &ctx);
    }

    PQconninfoFree(ctx.options);

    return rc == NGX_OK ? ctx.conninfos : NULL;
}


/* libpq would take the last one of two */

static ngx_int_t
ngx_http_intent_store_conninfo_unique(ngx_conf_t *cf, ngx_str_t *conninfo)
{
    u_char     *p, *q;
    ngx_str_t   one, two;

    if (ngx_strstr(conninfo->data, "://")) {
        return NGX_OK;
    }

    p = conninfo->data;

    while ((p = ngx_http_intent_store_conninfo_next(p, &one))) {

        q = p;

        while ((q = ngx_http_intent_store_conninfo_next(q, &two))) {

            if (one.len == two.len
                && ngx_strncmp(one.data, two.data, one.len) == 0)
            {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "duplicate parameter \"%V=\" in the "
                                   "conninfo of \"intent_postgres\"", &one);
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


/* behind the next name and its value; NULL: there is none.  libpq took it */

static u_char *
ngx_http_intent_store_conninfo_next(u_char *p, ngx_str_t *name)
{
    u_char  quote;

    p += strspn((char *) p, " \t\r\n\f\v");

    if (*p == '\0') {
        return NULL;
    }

    name->data = p;
    name->len = strcspn((char *) p, "= \t\r\n\f\v");

    p += name->len;
    p += strspn((char *) p, "= \t\r\n\f\v");

    quote = (*p == '\'') ? *p++ : 0;

    while (*p && (quote ? *p != quote : !isspace(*p))) {

        if (*p++ == '\\' && *p) {
            p++;
        }
    }

    return (quote && *p) ? p + 1 : p;
}


static ngx_int_t
ngx_http_intent_store_conninfo_split(ngx_conf_t *cf,
    ngx_http_intent_store_conninfo_t *ctx)
{
    PQconninfoOption  *options;

    options = ctx->options;

    if (ngx_http_intent_store_conninfo_get(options, "service")) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"service\" is not supported in "
                           "\"intent_postgres\", name the host and the "
                           "database instead");
        return NGX_ERROR;
    }

    if (ngx_http_intent_store_conninfo_list(cf, &ctx->hosts,
            ngx_http_intent_store_conninfo_get(options, "host"))
        != NGX_OK
        || ngx_http_intent_store_conninfo_list(cf, &ctx->hostaddrs,
               ngx_http_intent_store_conninfo_get(options, "hostaddr"))
           != NGX_OK
        || ngx_http_intent_store_conninfo_list(cf, &ctx->ports,
               ngx_http_intent_store_conninfo_get(options, "port"))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* a,b,c; an absent value is a list of nothing */

static ngx_int_t
ngx_http_intent_store_conninfo_list(ngx_conf_t *cf, ngx_array_t *list,
    char *value)
{
    size_t      len;
    ngx_str_t  *s;

    if (ngx_array_init(list, cf->pool, 2, sizeof(ngx_str_t)) != NGX_OK) {
        return NGX_ERROR;
    }

    while (value) {
        len = strcspn(value, ",");

        s = ngx_array_push(list);
        if (s == NULL) {
            return NGX_ERROR;
        }

        s->len = len;
        s->data = ngx_pnalloc(cf->pool, len + 1);
        if (s->data == NULL) {
            return NGX_ERROR;
        }

        (void) ngx_cpystrn(s->data, (u_char *) value, len + 1);

        value = value[len] ? value + len + 1 : NULL;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_store_conninfo_hosts(ngx_conf_t *cf,
    ngx_http_intent_store_conninfo_t *ctx)
{
    ngx_int_t    rc, number;
    ngx_str_t   *hosts, *hostaddrs, *ports, *host, *hostaddr, *port;
    ngx_uint_t   i, n;

    hosts = ctx->hosts.elts;
    hostaddrs = ctx->hostaddrs.elts;
    ports = ctx->ports.elts;

    n = ngx_max(ctx->hosts.nelts, ctx->hostaddrs.nelts);
    n = ngx_max(n, 1);

    if ((ctx->hosts.nelts && ctx->hostaddrs.nelts
         && ctx->hosts.nelts != ctx->hostaddrs.nelts)
        || (ctx->ports.nelts > 1 && ctx->ports.nelts != n))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"intent_postgres\" has %ui hosts, %ui hostaddrs "
                           "and %ui ports, there should be as many of each, "
                           "or one port for all", ctx->hosts.nelts,
                           ctx->hostaddrs.nelts, ctx->ports.nelts);
        return NGX_ERROR;
    }

    for (i = 0; i < ctx->ports.nelts; i++) {
        number = ngx_atoi(ports[i].data, ports[i].len);

        if (ports[i].len && (number < 1 || number > 65535)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid port \"%V\" in \"intent_postgres\", "
                               "it should be a number from 1 to 65535",
                               &ports[i]);
            return NGX_ERROR;
        }
    }

    for (i = 0; i < n; i++) {
        host = ctx->hosts.nelts && hosts[i].len ? &hosts[i] : NULL;
        hostaddr = ctx->hostaddrs.nelts && hostaddrs[i].len ? &hostaddrs[i]
                                                            : NULL;
        port = ctx->ports.nelts > 1 ? &ports[i] : ports;

        if (hostaddr || host == NULL
            || host->data[0] == '/' || host->data[0] == '@')
        {
            rc = ngx_http_intent_store_conninfo_add(cf, ctx, host, hostaddr,
                                                    port);
        } else {
            rc = ngx_http_intent_store_conninfo_resolve(cf, ctx, host, port);
        }

        if (rc != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_store_conninfo_resolve(ngx_conf_t *cf,
    ngx_http_intent_store_conninfo_t *ctx, ngx_str_t *host, ngx_str_t *port)
{
    u_char      text[NGX_SOCKADDR_STRLEN];
    ngx_str_t   hostaddr;
    ngx_url_t   u;
    ngx_uint_t  i;
    ngx_addr_t  addr;

    if (ngx_parse_addr(cf->pool, &addr, host->data, host->len) == NGX_OK) {
        return ngx_http_intent_store_conninfo_add(cf, ctx, host, host, port);
    }

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.host = *host;

    if (ngx_inet_resolve_host(cf->pool, &u) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%s in \"intent_postgres\" \"%V\"",
                           u.err ? u.err : "host not found", host);
        return NGX_ERROR;
    }

    hostaddr.data = text;

    for (i = 0; i < u.naddrs; i++) {
        hostaddr.len = ngx_sock_ntop(u.addrs[i].sockaddr, u.addrs[i].socklen,
                                     text, NGX_SOCKADDR_STRLEN, 0);

        if (ngx_http_intent_store_conninfo_add(cf, ctx, host, &hostaddr, port)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_store_conninfo_add(ngx_conf_t *cf,
    ngx_http_intent_store_conninfo_t *ctx, ngx_str_t *host,
    ngx_str_t *hostaddr, ngx_str_t *port)
{
    size_t                             size;
    u_char                           **conninfo, *p;
    PQconninfoOption                  *o;
    ngx_http_intent_store_default_t   *d;

    size = ngx_http_intent_store_conninfo_size(ctx)
           + (host ? 2 * host->len : 0) + (hostaddr ? 2 * hostaddr->len : 0)
           + (port ? 2 * port->len : 0)
           + sizeof("host='' hostaddr='' port='' ");

    conninfo = ngx_array_push(ctx->conninfos);
    if (conninfo == NULL) {
        return NGX_ERROR;
    }

    p = ngx_pnalloc(cf->pool, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    *conninfo = p;

    if (host) {
        p = ngx_http_intent_store_conninfo_put(p, "host", host->data,
                                               host->len);
    }

    if (hostaddr) {
        p = ngx_http_intent_store_conninfo_put(p, "hostaddr", hostaddr->data,
                                               hostaddr->len);
    }

    if (port && port->len) {
        p = ngx_http_intent_store_conninfo_put(p, "port", port->data,
                                               port->len);
    }

    for (o = ctx->options; o->keyword; o++) {

        if (o->val == NULL
            || ngx_strcmp(o->keyword, "host") == 0
            || ngx_strcmp(o->keyword, "hostaddr") == 0
            || ngx_strcmp(o->keyword, "port") == 0)
        {
            continue;
        }

        p = ngx_http_intent_store_conninfo_put(p, o->keyword,
                                               (u_char *) o->val,
                                               ngx_strlen(o->val));
    }

    for (d = ngx_http_intent_store_conninfo_defaults; d->name; d++) {

        if (ngx_http_intent_store_conninfo_get(ctx->options, d->name)
            == NULL)
        {
            p = ngx_http_intent_store_conninfo_put(p, d->name,
                                                   (u_char *) d->value,
                                                   ngx_strlen(d->value));
        }
    }

    *p = '\0';

    return NGX_OK;
}


/* of all options, every character escaped */

static size_t
ngx_http_intent_store_conninfo_size(ngx_http_intent_store_conninfo_t *ctx)
{
    size_t                            size;
    PQconninfoOption                 *o;
    ngx_http_intent_store_default_t  *d;

    size = 1;

    for (o = ctx->options; o->keyword; o++) {
        if (o->val) {
            size += ngx_strlen(o->keyword) + 2 * ngx_strlen(o->val)
                    + sizeof("='' ") - 1;
        }
    }

    for (d = ngx_http_intent_store_conninfo_defaults; d->name; d++) {
        size += ngx_strlen(d->name) + ngx_strlen(d->value)
                + sizeof("='' ") - 1;
    }

    return size;
}


static u_char *
ngx_http_intent_store_conninfo_put(u_char *p, const char *name, u_char *value,
    size_t len)
{
    p = ngx_sprintf(p, "%s='", name);

    for ( /* void */ ; len; len--) {

        if (*value == '\'' || *value == '\\') {
            *p++ = '\\';
        }

        *p++ = *value++;
    }

    *p++ = '\'';
    *p++ = ' ';

    return p;
}


static char *
ngx_http_intent_store_conninfo_get(PQconninfoOption *options,
    const char *name)
{
    PQconninfoOption  *o;

    for (o = options; o->keyword; o++) {
        if (ngx_strcmp(o->keyword, name) == 0) {
            return o->val && *o->val ? o->val : NULL;
        }
    }

    return NULL;
}


/*
 * libpq quotes what it could not read, which may be a piece of the password;
 * so where there may be one, its message ends before the quotation.
 */

static void
ngx_http_intent_store_conninfo_hide(ngx_str_t *conninfo, char *message)
{
    char        *p;
    ngx_uint_t   hide;

    hide = ngx_strstr(conninfo->data, "pass") != NULL
           || ngx_strstr(conninfo->data, "://") != NULL;

    for (p = message; *p; p++) {

        if (*p == '\n') {
            *p = p[1] ? ' ' : '\0';

        } else if (*p == '"' && hide) {

            /* "=" and the like are libpq's own words */

            if (p[1] == '\0' || strchr("=:/", p[1]) == NULL || p[2] != '"') {
                (void) ngx_cpystrn((u_char *) p, (u_char *) "...",
                                   ngx_strlen(p) + 1);
                return;
            }

            p += 2;
        }

        if (*p == '\0') {
            return;
        }
    }
}
