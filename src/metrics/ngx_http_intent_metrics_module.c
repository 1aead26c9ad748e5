
/*
 * What the intents of this host add up to, for Prometheus and for people.
 */


#include "ngx_http_intent.h"


#define NGX_HTTP_INTENT_METRICS_DOUBLE_LEN  32

#define NGX_HTTP_INTENT_METRICS_BREAKER     "intent_rpc_breaker_state"
#define NGX_HTTP_INTENT_METRICS_HEAD        "intent_chain_head_block"
#define NGX_HTTP_INTENT_METRICS_HOOK        "intent_webhook_breaker"
#define NGX_HTTP_INTENT_METRICS_WAITING     "intent_webhook_waiting"

/* integers up to here are exact in a double, and written without exponent */
#define NGX_HTTP_INTENT_METRICS_EXACT       1e15


/* of one type; the names of chains are those of the configuration */
typedef struct {
    ngx_str_t                 name;
    ngx_http_intent_stat_t   *submitted[NGX_HTTP_INTENT_STATUSES];
    ngx_http_intent_stat_t   *resolution;
    ngx_http_intent_stat_t  **gas_used;         /* one for each chain */
    ngx_http_intent_stat_t  **gas_cost;
} ngx_http_intent_metrics_type_t;


typedef struct {
    ngx_uint_t                used;             /* by some location */
    ngx_array_t               types;  /* ngx_http_intent_metrics_type_t */
    ngx_array_t              *chains;           /* ngx_http_intent_name_t * */
    ngx_http_intent_stat_t   *build_info;
} ngx_http_intent_metrics_main_conf_t;


static void ngx_http_intent_metrics_observer(ngx_http_intent_t *in,
    ngx_uint_t from);
static ngx_http_intent_metrics_type_t *ngx_http_intent_metrics_find(
    ngx_http_intent_metrics_main_conf_t *immcf, ngx_str_t *name);
static void ngx_http_intent_metrics_gas(
    ngx_http_intent_metrics_main_conf_t *immcf,
    ngx_http_intent_metrics_type_t *type, ngx_http_intent_t *in);
static double ngx_http_intent_metrics_decimal(ngx_str_t *s);

static ngx_int_t ngx_http_intent_metrics_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_intent_stub_status_handler(ngx_http_request_t *r);
static size_t ngx_http_intent_metrics_peers_size(void);
static u_char *ngx_http_intent_metrics_peers(u_char *p, const char *what,
    const char *breaker, const char *name, const char *family);
static double ngx_http_intent_metrics_reached(
    ngx_http_intent_metrics_main_conf_t *immcf, ngx_uint_t status);
static ngx_int_t ngx_http_intent_metrics_send(ngx_http_request_t *r,
    ngx_buf_t *b);

static size_t ngx_http_intent_metrics_size(ngx_array_t *stats);
static u_char *ngx_http_intent_metrics_head(u_char *p,
    ngx_http_intent_stat_t *st);
static u_char *ngx_http_intent_metrics_value(u_char *p,
    ngx_http_intent_stat_t *st);
static u_char *ngx_http_intent_metrics_histogram(u_char *p,
    ngx_http_intent_stat_t *st, uint64_t *counts);
static u_char *ngx_http_intent_metrics_sample(u_char *p,
    ngx_http_intent_stat_t *st, char *suffix);
static u_char *ngx_http_intent_metrics_double(u_char *p, double v);

static ngx_int_t ngx_http_intent_metrics_postconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_intent_metrics_add_type(ngx_conf_t *cf,
    ngx_http_intent_metrics_main_conf_t *immcf, ngx_str_t *name);
static ngx_int_t ngx_http_intent_metrics_add_gas(ngx_conf_t *cf,
    ngx_http_intent_metrics_main_conf_t *immcf,
    ngx_http_intent_metrics_type_t *type);
static ngx_int_t ngx_http_intent_metrics_add_build_info(ngx_conf_t *cf,
    ngx_http_intent_metrics_main_conf_t *immcf);
static ngx_int_t ngx_http_intent_metrics_label(ngx_conf_t *cf,
    ngx_str_t *labels, const char *name, ngx_str_t *value);
static ngx_int_t ngx_http_intent_metrics_init_process(ngx_cycle_t *cycle);
static void *ngx_http_intent_metrics_create_main_conf(ngx_conf_t *cf);
static char *ngx_http_intent_metrics(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


/* seconds from the submission to the final status */
static double  ngx_http_intent_metrics_resolution[] = {
    1, 5, 10, 30, 60, 300, 600, 1800
};


static ngx_command_t  ngx_http_intent_metrics_commands[] = {

    { ngx_string("intent_metrics"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_intent_metrics,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      ngx_http_intent_metrics_handler },

    { ngx_string("intent_stub_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_intent_metrics,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      ngx_http_intent_stub_status_handler },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_intent_metrics_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_intent_metrics_postconfiguration, /* postconfiguration */

    ngx_http_intent_metrics_create_main_conf, /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_intent_metrics_module = {
    NGX_MODULE_V1,
    &ngx_http_intent_metrics_module_ctx,   /* module context */
    ngx_http_intent_metrics_commands,      /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_http_intent_metrics_init_process,  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static void
ngx_http_intent_metrics_observer(ngx_http_intent_t *in, ngx_uint_t from)
{
    int64_t                               elapsed;
    ngx_http_intent_metrics_type_t       *type;
    ngx_http_intent_metrics_main_conf_t  *immcf;

    if (in->status == from || in->status >= NGX_HTTP_INTENT_STATUSES) {
        return;
    }

    immcf = ngx_http_cycle_get_module_main_conf(ngx_cycle,
                                              ngx_http_intent_metrics_module);

    /* label values come from the configuration only: others are not counted */

    type = ngx_http_intent_metrics_find(immcf, &in->type);
    if (type == NULL) {
        return;
    }

    ngx_http_intent_stat_inc(type->submitted[in->status], 1);

    if (!ngx_http_intent_is_final(in->status)) {
        return;
    }

    /* the clock that told created_at may have been another host's */

    elapsed = ngx_max(ngx_http_intent_now() - in->created_at, 0);

    ngx_http_intent_stat_observe(type->resolution, (double) elapsed / 1000);

    if (in->gas_used >= 0) {
        ngx_http_intent_metrics_gas(immcf, type, in);
    }
}


static ngx_http_intent_metrics_type_t *
ngx_http_intent_metrics_find(ngx_http_intent_metrics_main_conf_t *immcf,
    ngx_str_t *name)
{
    ngx_uint_t                       i;
    ngx_http_intent_metrics_type_t  *types;

    types = immcf->types.elts;

    for (i = 0; i < immcf->types.nelts; i++) {
        if (types[i].name.len == name->len
            && ngx_memcmp(types[i].name.data, name->data, name->len) == 0)
        {
            return &types[i];
        }
    }

    return NULL;
}


static void
ngx_http_intent_metrics_gas(ngx_http_intent_metrics_main_conf_t *immcf,
    ngx_http_intent_metrics_type_t *type, ngx_http_intent_t *in)
{
    ngx_str_t                *name;
    ngx_uint_t                i;
    ngx_http_intent_name_t  **chains;

    chains = immcf->chains->elts;

    for (i = 0; i < immcf->chains->nelts; i++) {
        name = &chains[i]->name;

        if (name->len == in->chain.len
            && ngx_memcmp(name->data, in->chain.data, name->len) == 0)
        {
            ngx_http_intent_stat_inc(type->gas_used[i],
                                     (ngx_uint_t) in->gas_used);
            ngx_http_intent_stat_sum(type->gas_cost[i],
                              ngx_http_intent_metrics_decimal(&in->gas_cost));
            return;
        }
    }
}


/* wei of many transactions: a double's 53 bits are as much as a sum can use */

static double
ngx_http_intent_metrics_decimal(ngx_str_t *s)
{
    double      v;
    ngx_uint_t  i;

    v = 0;

    for (i = 0; i < s->len; i++) {
        if (s->data[i] < '0' || s->data[i] > '9') {
            return 0;
        }

        v = v * 10 + (s->data[i] - '0');
    }

    return v;
}


static ngx_int_t
ngx_http_intent_metrics_handler(ngx_http_request_t *r)
{
    uint64_t                 *counts;
    ngx_buf_t                *b;
    ngx_uint_t                i, n;
    ngx_array_t              *stats;
    ngx_http_intent_stat_t  **st;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    stats = ngx_http_intent_stats();
    st = stats->elts;

    n = 0;

    for (i = 0; i < stats->nelts; i++) {
        n = ngx_max(n, st[i]->nbuckets);
    }

    counts = ngx_palloc(r->pool, (n + 1) * sizeof(uint64_t));
    b = ngx_create_temp_buf(r->pool, ngx_http_intent_metrics_size(stats));

    if (counts == NULL || b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    for (i = 0; i < stats->nelts; i++) {

        if (i == 0
            || ngx_strcmp(st[i]->family.data, st[i - 1]->family.data) != 0)
        {
            b->last = ngx_http_intent_metrics_head(b->last, st[i]);
        }

        if (st[i]->kind == NGX_HTTP_INTENT_HISTOGRAM) {
            b->last = ngx_http_intent_metrics_histogram(b->last, st[i],
                                                        counts);
        } else {
            b->last = ngx_http_intent_metrics_value(b->last, st[i]);
        }
    }

    ngx_str_set(&r->headers_out.content_type,
                "text/plain; version=0.0.4; charset=utf-8");

    return ngx_http_intent_metrics_send(r, b);
}


static ngx_int_t
ngx_http_intent_stub_status_handler(ngx_http_request_t *r)
{
    double                                executing, pending;
    double                                reached[NGX_HTTP_INTENT_STATUSES];
    ngx_buf_t                            *b;
    ngx_uint_t                            i;
    ngx_http_intent_metrics_main_conf_t  *immcf;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    b = ngx_create_temp_buf(r->pool, ngx_http_intent_metrics_peers_size()
                            + sizeof("Active intents:  \n"
                                   "submitted success failed expired "
                                   "cancelled\n      \n"
                                   "Pending:  Executing:  \n")
                            + 8 * NGX_HTTP_INTENT_METRICS_DOUBLE_LEN);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    immcf = ngx_http_get_module_main_conf(r, ngx_http_intent_metrics_module);

    for (i = 0; i < NGX_HTTP_INTENT_STATUSES; i++) {
        reached[i] = ngx_http_intent_metrics_reached(immcf, i);
    }

    executing = reached[NGX_HTTP_INTENT_EXECUTING]
                - reached[NGX_HTTP_INTENT_SUCCESS]
                - reached[NGX_HTTP_INTENT_FAILED];

    pending = reached[NGX_HTTP_INTENT_PENDING]
              - reached[NGX_HTTP_INTENT_EXECUTING]
              - reached[NGX_HTTP_INTENT_EXPIRED]
              - reached[NGX_HTTP_INTENT_CANCELLED];

    /* what was submitted elsewhere, or before the start, may end here */

    executing = ngx_max(executing, 0);
    pending = ngx_max(pending, 0);

    b->last = ngx_sprintf(b->last, "Active intents: %.0f \n",
                          pending + executing);
    b->last = ngx_sprintf(b->last,
                          "submitted success failed expired cancelled\n"
                          " %.0f %.0f %.0f %.0f %.0f \n",
                          reached[NGX_HTTP_INTENT_PENDING],
                          reached[NGX_HTTP_INTENT_SUCCESS],
                          reached[NGX_HTTP_INTENT_FAILED],
                          reached[NGX_HTTP_INTENT_EXPIRED],
                          reached[NGX_HTTP_INTENT_CANCELLED]);
    b->last = ngx_sprintf(b->last, "Pending: %.0f Executing: %.0f \n",
                          pending, executing);

    b->last = ngx_http_intent_metrics_peers(b->last, "Node",
                                            NGX_HTTP_INTENT_METRICS_BREAKER,
                                            "head",
                                            NGX_HTTP_INTENT_METRICS_HEAD);
    b->last = ngx_http_intent_metrics_peers(b->last, "Webhook",
                                            NGX_HTTP_INTENT_METRICS_HOOK,
                                            "waiting",
                                            NGX_HTTP_INTENT_METRICS_WAITING);

    ngx_str_set(&r->headers_out.content_type, "text/plain");

    return ngx_http_intent_metrics_send(r, b);
}


/* chain nodes and webhooks, from what their rooms count of them */

static size_t
ngx_http_intent_metrics_peers_size(void)
{
    size_t                    size;
    ngx_uint_t                i;
    ngx_array_t              *stats;
    ngx_http_intent_stat_t  **st;

    size = 0;
    stats = ngx_http_intent_stats();
    st = stats->elts;

    for (i = 0; i < stats->nelts; i++) {
        if (ngx_strcmp(st[i]->family.data,
                       NGX_HTTP_INTENT_METRICS_BREAKER) == 0
            || ngx_strcmp(st[i]->family.data,
                          NGX_HTTP_INTENT_METRICS_HOOK) == 0)
        {
            size += st[i]->labels.len
                    + sizeof("Webhook  half-open waiting \n")
                    + NGX_HTTP_INTENT_METRICS_DOUBLE_LEN;
        }
    }

    return size;
}


/* each with its state and another number of the same labels */

static u_char *
ngx_http_intent_metrics_peers(u_char *p, const char *what,
    const char *breaker, const char *name, const char *family)
{
    static char  *states[] = { "closed", "half-open", "open" };

    double                    value;
    ngx_uint_t                i, n, state;
    ngx_array_t              *stats;
    ngx_http_intent_stat_t  **st;

    stats = ngx_http_intent_stats();
    st = stats->elts;

    for (i = 0; i < stats->nelts; i++) {

        if (ngx_strcmp(st[i]->family.data, breaker) != 0) {
            continue;
        }

        value = 0;

        for (n = 0; n < stats->nelts; n++) {
            if (ngx_strcmp(st[n]->family.data, family) == 0
                && st[n]->labels.len == st[i]->labels.len
                && ngx_memcmp(st[n]->labels.data, st[i]->labels.data,
                              st[i]->labels.len)
                   == 0)
            {
                value = ngx_http_intent_stat_value(st[n]);
            }
        }

        state = (ngx_uint_t) ngx_http_intent_stat_value(st[i]);

        p = ngx_sprintf(p, "%s %V %s %s %.0f \n", what, &st[i]->labels,
                        states[ngx_min(state, 2)], name, value);
    }

    return p;
}


static double
ngx_http_intent_metrics_reached(ngx_http_intent_metrics_main_conf_t *immcf,
    ngx_uint_t status)
{
    double                           n;
    ngx_uint_t                       i;
    ngx_http_intent_metrics_type_t  *types;

    n = 0;
    types = immcf->types.elts;

    for (i = 0; i < immcf->types.nelts; i++) {
        n += ngx_http_intent_stat_value(types[i].submitted[status]);
    }

    return n;
}


static ngx_int_t
ngx_http_intent_metrics_send(ngx_http_request_t *r, ngx_buf_t *b)
{
    ngx_int_t    rc;
    ngx_chain_t  out;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = b->last - b->pos;

    /* the type as such: nginx adds no second charset then, and can gzip it */

    r->headers_out.content_type_len = sizeof("text/plain") - 1;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b->last_buf = (r == r->main) ? 1 : 0;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


static size_t
ngx_http_intent_metrics_size(ngx_array_t *stats)
{
    size_t                    size, line;
    ngx_uint_t                i;
    ngx_http_intent_stat_t  **st;

    st = stats->elts;
    size = 1;

    for (i = 0; i < stats->nelts; i++) {

        line = st[i]->family.len + sizeof("_bucket{,le=\"\"} \n")
               + st[i]->labels.len + 2 * NGX_HTTP_INTENT_METRICS_DOUBLE_LEN;

        /* a histogram has its buckets, +Inf, sum and count */

        size += line * (st[i]->nbuckets + 3);

        if (i == 0
            || ngx_strcmp(st[i]->family.data, st[i - 1]->family.data) != 0)
        {
            size += 2 * st[i]->family.len + st[i]->help.len
                    + sizeof("# HELP  \n# TYPE  histogram\n");
        }
    }

    return size;
}


static u_char *
ngx_http_intent_metrics_head(u_char *p, ngx_http_intent_stat_t *st)
{
    static char  *kinds[] = { "counter", "counter", "gauge", "histogram" };

    return ngx_sprintf(p, "# HELP %V %V\n# TYPE %V %s\n",
                       &st->family, &st->help, &st->family, kinds[st->kind]);
}


static u_char *
ngx_http_intent_metrics_value(u_char *p, ngx_http_intent_stat_t *st)
{
    p = ngx_http_intent_metrics_sample(p, st, "");

    if (st->labels.len) {
        *p++ = '}';
    }

    *p++ = ' ';
    p = ngx_http_intent_metrics_double(p, ngx_http_intent_stat_value(st));
    *p++ = LF;

    return p;
}


static u_char *
ngx_http_intent_metrics_histogram(u_char *p, ngx_http_intent_stat_t *st,
    uint64_t *counts)
{
    double      sum;
    ngx_uint_t  i;

    ngx_http_intent_stat_histogram(st, counts, &sum);

    for (i = 0; i <= st->nbuckets; i++) {
        p = ngx_http_intent_metrics_sample(p, st, "_bucket");
        *p++ = st->labels.len ? ',' : '{';
        p = ngx_cpymem(p, "le=\"", sizeof("le=\"") - 1);

        if (i < st->nbuckets) {
            p = ngx_http_intent_metrics_double(p, st->buckets[i]);

        } else {
            p = ngx_cpymem(p, "+Inf", sizeof("+Inf") - 1);
        }

        p = ngx_sprintf(p, "\"} %uL\n", counts[i]);
    }

    p = ngx_http_intent_metrics_sample(p, st, "_sum");
    p = ngx_sprintf(p, "%s ", st->labels.len ? "}" : "");
    p = ngx_http_intent_metrics_double(p, sum);
    *p++ = LF;

    p = ngx_http_intent_metrics_sample(p, st, "_count");

    return ngx_sprintf(p, "%s %uL\n", st->labels.len ? "}" : "",
                       counts[st->nbuckets]);
}


/* "family_suffix{labels", or "family_suffix" where there are none */

static u_char *
ngx_http_intent_metrics_sample(u_char *p, ngx_http_intent_stat_t *st,
    char *suffix)
{
    p = ngx_cpymem(p, st->family.data, st->family.len);
    p = ngx_cpymem(p, suffix, ngx_strlen(suffix));

    if (st->labels.len) {
        *p++ = '{';
        p = ngx_cpymem(p, st->labels.data, st->labels.len);
    }

    return p;
}


/* the shortest text that reads back as the same number */

static u_char *
ngx_http_intent_metrics_double(u_char *p, double v)
{
    char  *s, text[NGX_HTTP_INTENT_METRICS_DOUBLE_LEN];
    int    digits;

    if (v != v) {
        return ngx_cpymem(p, "NaN", sizeof("NaN") - 1);
    }

    if (v - v != 0) {
        return ngx_cpymem(p, (v > 0) ? "+Inf" : "-Inf", sizeof("+Inf") - 1);
    }

    if (v > -NGX_HTTP_INTENT_METRICS_EXACT && v < NGX_HTTP_INTENT_METRICS_EXACT
        && v == (double) (int64_t) v)
    {
        return ngx_sprintf(p, "%L", (int64_t) v);
    }

    for (digits = 15; digits <= 17; digits++) {
        (void) snprintf(text, sizeof(text), "%.*g", digits, v);

        if (strtod(text, NULL) == v) {
            break;
        }
    }

    for (s = text; *s; s++) {

        /* another module may have set a locale with a comma */
        *p++ = (*s == ',') ? '.' : (u_char) *s;
    }

    return p;
}


static ngx_int_t
ngx_http_intent_metrics_postconfiguration(ngx_conf_t *cf)
{
    ngx_uint_t                            i;
    ngx_array_t                          *types;
    ngx_http_intent_name_t              **name;
    ngx_http_intent_metrics_main_conf_t  *immcf;

    immcf = ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_intent_metrics_module);

    if (immcf->used
        && ngx_http_intent_need_zone(cf, "intent_metrics") != NGX_OK)
    {
        return NGX_ERROR;
    }

    immcf->chains = ngx_http_intent_chains(cf);
    types = ngx_http_intent_types(cf);
    name = types->elts;

    if (ngx_array_init(&immcf->types, cf->pool, types->nelts + 1,
                       sizeof(ngx_http_intent_metrics_type_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < types->nelts; i++) {
        if (ngx_http_intent_metrics_add_type(cf, immcf, &name[i]->name)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (ngx_http_intent_metrics_add_build_info(cf, immcf) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_intent_observe(cf, ngx_http_intent_metrics_observer);
}


static ngx_int_t
ngx_http_intent_metrics_add_type(ngx_conf_t *cf,
    ngx_http_intent_metrics_main_conf_t *immcf, ngx_str_t *name)
{
    ngx_str_t                        labels;
    ngx_uint_t                       i;
    ngx_http_intent_metrics_type_t  *type;

    type = ngx_array_push(&immcf->types);
    if (type == NULL) {
        return NGX_ERROR;
    }

    type->name = *name;

    for (i = 0; i < NGX_HTTP_INTENT_STATUSES; i++) {
        ngx_str_null(&labels);

        if (ngx_http_intent_metrics_label(cf, &labels, "type", name)
            != NGX_OK
            || ngx_http_intent_metrics_label(cf, &labels, "status",
                                             ngx_http_intent_status_name(i))
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        type->submitted[i] = ngx_http_intent_stat_add(cf,
                                   NGX_HTTP_INTENT_COUNTER,
                                   "intents_submitted_total",
                                   "Intents that reached a status.", &labels);
        if (type->submitted[i] == NULL) {
            return NGX_ERROR;
        }
    }

    ngx_str_null(&labels);

    if (ngx_http_intent_metrics_label(cf, &labels, "type", name) != NGX_OK) {
        return NGX_ERROR;
    }

    type->resolution = ngx_http_intent_histogram_add(cf,
                           "intent_resolution_time_seconds",
                           "Time from the submission to the final status.",
                           &labels, ngx_http_intent_metrics_resolution,
                           sizeof(ngx_http_intent_metrics_resolution)
                           / sizeof(double));
    if (type->resolution == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_intent_metrics_add_gas(cf, immcf, type);
}


static ngx_int_t
ngx_http_intent_metrics_add_gas(ngx_conf_t *cf,
    ngx_http_intent_metrics_main_conf_t *immcf,
    ngx_http_intent_metrics_type_t *type)
{
    ngx_str_t                 labels;
    ngx_uint_t                i, n;
    ngx_http_intent_name_t  **chains;

    n = immcf->chains->nelts;
    chains = immcf->chains->elts;

    type->gas_used = ngx_palloc(cf->pool, 2 * (n + 1)
                                          * sizeof(ngx_http_intent_stat_t *));
    if (type->gas_used == NULL) {
        return NGX_ERROR;
    }

    type->gas_cost = type->gas_used + n;

    for (i = 0; i < n; i++) {
        ngx_str_null(&labels);

        if (ngx_http_intent_metrics_label(cf, &labels, "type", &type->name)
            != NGX_OK
            || ngx_http_intent_metrics_label(cf, &labels, "chain",
                                             &chains[i]->name)
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        type->gas_used[i] = ngx_http_intent_stat_add(cf,
                                  NGX_HTTP_INTENT_COUNTER,
                                  "intent_gas_used_total",
                                  "Gas used by finished intents.", &labels);

        type->gas_cost[i] = ngx_http_intent_stat_add(cf,
                                  NGX_HTTP_INTENT_SUM,
                                  "intent_gas_cost_wei_total",
                                  "Wei paid for the gas of finished intents.",
                                  &labels);

        if (type->gas_used[i] == NULL || type->gas_cost[i] == NULL) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_metrics_add_build_info(ngx_conf_t *cf,
    ngx_http_intent_metrics_main_conf_t *immcf)
{
    ngx_str_t  labels;

    ngx_str_set(&labels, "version=\"" NGX_HTTP_INTENT_VERSION "\","
                         "nginx=\"" NGINX_VERSION "\"");

    immcf->build_info = ngx_http_intent_stat_add(cf, NGX_HTTP_INTENT_GAUGE,
                                    "intent_build_info",
                                    "1, and what is running, in the labels.",
                                    &labels);

    return immcf->build_info ? NGX_OK : NGX_ERROR;
}


/* appends name="value" to labels, with a comma where one is due */

static ngx_int_t
ngx_http_intent_metrics_label(ngx_conf_t *cf, ngx_str_t *labels,
    const char *name, ngx_str_t *value)
{
    u_char      *p;
    ngx_str_t    before;
    ngx_uint_t   i;

    before = *labels;

    p = ngx_pnalloc(cf->pool, before.len + sizeof(",=\"\"") - 1
                              + ngx_strlen(name) + 2 * value->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    labels->data = p;

    p = ngx_cpymem(p, before.data, before.len);

    if (before.len) {
        *p++ = ',';
    }

    p = ngx_sprintf(p, "%s=\"", name);

    for (i = 0; i < value->len; i++) {
        switch (value->data[i]) {

        case LF:
            *p++ = '\\';
            *p++ = 'n';
            break;

        case '\\':
        case '"':
            *p++ = '\\';

            /* fall through */

        default:
            *p++ = value->data[i];
        }
    }

    *p++ = '"';

    labels->len = p - labels->data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_metrics_init_process(ngx_cycle_t *cycle)
{
    ngx_http_intent_metrics_main_conf_t  *immcf;

    immcf = ngx_http_cycle_get_module_main_conf(cycle,
                                              ngx_http_intent_metrics_module);

    if (immcf && ngx_http_intent_is_worker()) {
        ngx_http_intent_stat_set(immcf->build_info, 1);
    }

    return NGX_OK;
}


static void *
ngx_http_intent_metrics_create_main_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_http_intent_metrics_main_conf_t));
}


static char *
ngx_http_intent_metrics(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_intent_metrics_main_conf_t  *immcf = conf;

    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = (ngx_http_handler_pt) cmd->post;

    immcf->used = 1;

    return NGX_CONF_OK;
}
