
/*
 * GET of the collection: the caller's own intents, newest first, a page at a
 * time.
 */


#include "ngx_http_intent_api.h"


#define NGX_HTTP_INTENT_API_PAGE      20
#define NGX_HTTP_INTENT_API_MAX_PAGE  100

/* base64url of a UUID's bytes, without padding */
#define NGX_HTTP_INTENT_API_CURSOR    22


typedef struct {
    ngx_http_intent_api_ctx_t     *ctx;
    ngx_http_intent_list_t         list;      /* limit: one more than shown */
    u_char                         before[NGX_HTTP_INTENT_ID_LEN];
} ngx_http_intent_api_list_t;


static ngx_int_t ngx_http_intent_api_list_args(ngx_http_request_t *r,
    ngx_http_intent_api_list_t *list, ngx_array_t *faults);
static ngx_int_t ngx_http_intent_api_list_arg(ngx_http_request_t *r,
    const char *name, ngx_str_t *value);
static ngx_int_t ngx_http_intent_api_list_status(ngx_str_t *value,
    ngx_uint_t *statuses);
static ngx_int_t ngx_http_intent_api_list_cursor(ngx_str_t *value,
    ngx_http_intent_api_list_t *list);
static void ngx_http_intent_api_list_handler(void *data, ngx_int_t rc,
    ngx_array_t *intents);
static ngx_int_t ngx_http_intent_api_list_answer(ngx_http_request_t *r,
    ngx_array_t *intents, ngx_uint_t limit);
static ngx_int_t ngx_http_intent_api_list_send(ngx_http_request_t *r,
    ngx_str_t *parts, ngx_uint_t n, ngx_str_t *cursor);
static ngx_int_t ngx_http_intent_api_list_link(ngx_http_request_t *r,
    ngx_str_t *cursor);
static u_char *ngx_http_intent_api_list_link_args(u_char *p, ngx_str_t *args);


static const char  ngx_http_intent_api_no_list[] =
    "intents cannot be read at the moment, please try again later";


ngx_int_t
ngx_http_intent_api_list(ngx_http_request_t *r, ngx_http_intent_api_ctx_t *ctx)
{
    ngx_int_t                    rc;
    ngx_array_t                  faults;
    ngx_http_intent_api_list_t  *list;

    if (ngx_http_intent_api_enter(r, ctx, &rc) != NGX_OK) {
        return rc;
    }

    list = ngx_pcalloc(r->pool, sizeof(ngx_http_intent_api_list_t));

    if (list == NULL
        || ngx_array_init(&faults, r->pool, 1, sizeof(ngx_http_intent_fault_t))
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ctx->user.len == 0) {
        return ngx_http_intent_api_problem(r, NGX_HTTP_FORBIDDEN,
                                           "only a known caller has intents "
                                           "to be listed", NULL);
    }

    list->ctx = ctx;
    list->list.user_id = ctx->user;

    rc = ngx_http_intent_api_list_args(r, list, &faults);

    if (rc == NGX_DECLINED) {
        return ngx_http_intent_api_problem(r, NGX_HTTP_BAD_REQUEST, NULL,
                                           &faults);
    }

    if (rc != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_intent_store_list(&list->list, r->pool,
                                    ngx_http_intent_api_list_handler, list);

    if (rc == NGX_OK) {
        ngx_http_intent_api_wait(r);
        r->main->count++;
        return NGX_DONE;
    }

    return ngx_http_intent_api_problem(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                                       ngx_http_intent_api_no_list, NULL);
}


/* NGX_DECLINED: faults were added */

static ngx_int_t
ngx_http_intent_api_list_args(ngx_http_request_t *r,
    ngx_http_intent_api_list_t *list, ngx_array_t *faults)
{
    ngx_int_t  rc, limit;
    ngx_str_t  value;

    rc = NGX_OK;

    if (ngx_http_intent_api_list_arg(r, "status", &value) == NGX_OK
        && ngx_http_intent_api_list_status(&value, &list->list.statuses)
           != NGX_OK)
    {
        rc |= ngx_http_intent_type_fault(faults, "?status",
                                         "status must be one or several of "
                                         "pending, executing, success, "
                                         "failed, expired and cancelled, "
                                         "separated by commas");
    }

    limit = NGX_HTTP_INTENT_API_PAGE;

    if (ngx_http_intent_api_list_arg(r, "limit", &value) == NGX_OK) {
        limit = ngx_atoi(value.data, value.len);

        if (limit < 1 || limit > NGX_HTTP_INTENT_API_MAX_PAGE) {
            rc |= ngx_http_intent_type_fault(faults, "?limit",
                                             "limit must be a number from 1 "
                                             "to %d",
                                             NGX_HTTP_INTENT_API_MAX_PAGE);
        }
    }

    list->list.limit = limit + 1;

    if (ngx_http_intent_api_list_arg(r, "cursor", &value) == NGX_OK
        && ngx_http_intent_api_list_cursor(&value, list) != NGX_OK)
    {
        rc |= ngx_http_intent_type_fault(faults, "?cursor",
                                         "cursor must be that of an answer "
                                         "before");
    }

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    return faults->nelts ? NGX_DECLINED : NGX_OK;
}


/* NGX_OK: there is such an argument, and this is what it says */

static ngx_int_t
ngx_http_intent_api_list_arg(ngx_http_request_t *r, const char *name,
    ngx_str_t *value)
{
    u_char     *src, *dst;
    ngx_str_t   arg;

    if (ngx_http_arg(r, (u_char *) name, ngx_strlen(name), &arg) != NGX_OK) {
        return NGX_DECLINED;
    }

    dst = ngx_pnalloc(r->pool, arg.len + 1);

    if (dst == NULL) {

        /* what cannot be read is wrong, at any rate */

        ngx_str_set(value, "?");
        return NGX_OK;
    }

    value->data = dst;
    src = arg.data;

    ngx_unescape_uri(&dst, &src, arg.len, 0);

    value->len = dst - value->data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_api_list_status(ngx_str_t *value, ngx_uint_t *statuses)
{
    u_char     *p, *last, *comma;
    ngx_int_t   status;
    ngx_str_t   word;

    last = value->data + value->len;

    for (p = value->data; /* void */ ; p = comma + 1) {

        comma = ngx_strlchr(p, last, ',');

        word.data = p;
        word.len = (comma ? comma : last) - p;

        status = ngx_http_intent_status_parse(&word);

        if (status == NGX_ERROR) {
            return NGX_ERROR;
        }

        *statuses |= 1 << status;

        if (comma == NULL) {
            return NGX_OK;
        }
    }
}


static ngx_int_t
ngx_http_intent_api_list_cursor(ngx_str_t *value,
    ngx_http_intent_api_list_t *list)
{
    u_char     id[16 + 3];
    ngx_str_t  bytes;

    bytes.data = id;

    if (value->len != NGX_HTTP_INTENT_API_CURSOR
        || ngx_decode_base64url(&bytes, value) != NGX_OK
        || bytes.len != 16)
    {
        return NGX_ERROR;
    }

    ngx_http_intent_id_format(id, list->before);

    list->list.before.data = list->before;
    list->list.before.len = NGX_HTTP_INTENT_ID_LEN;

    return NGX_OK;
}


static void
ngx_http_intent_api_list_handler(void *data, ngx_int_t rc,
    ngx_array_t *intents)
{
    ngx_http_intent_api_list_t  *list = data;

    ngx_http_request_t  *r;

    r = list->ctx->request;

    ngx_http_intent_api_resume(r);

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "intent api list: %i", rc);

    if (r->connection->error) {
        rc = NGX_ERROR;

    } else if (rc == NGX_OK) {
        rc = ngx_http_intent_api_list_answer(r, intents, list->list.limit - 1);

    } else {
        rc = ngx_http_intent_api_problem(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                                         ngx_http_intent_api_no_list, NULL);
    }

    ngx_http_intent_api_finalize(r, rc);
}


static ngx_int_t
ngx_http_intent_api_list_answer(ngx_http_request_t *r, ngx_array_t *intents,
    ngx_uint_t limit)
{
    u_char              text[NGX_HTTP_INTENT_API_CURSOR + 2], id[16];
    ngx_str_t          *parts, cursor, bytes;
    ngx_uint_t          i, n;
    ngx_http_intent_t  *in;

    in = intents->elts;
    n = ngx_min(intents->nelts, limit);

    cursor.len = 0;
    cursor.data = text;

    if (intents->nelts > limit) {
        (void) ngx_http_intent_id_parse(in[n - 1].id.data, in[n - 1].id.len,
                                        id);
        bytes.data = id;
        bytes.len = 16;

        ngx_encode_base64url(&cursor, &bytes);

        if (ngx_http_intent_api_list_link(r, &cursor) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    parts = ngx_palloc(r->pool, (n + 1) * sizeof(ngx_str_t));
    if (parts == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    for (i = 0; i < n; i++) {
        parts[i] = ngx_http_intent_json(r->pool, &in[i]);

        if (parts[i].data == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    return ngx_http_intent_api_list_send(r, parts, n, &cursor);
}


static ngx_int_t
ngx_http_intent_api_list_send(ngx_http_request_t *r, ngx_str_t *parts,
    ngx_uint_t n, ngx_str_t *cursor)
{
    u_char      *p;
    size_t       len;
    ngx_str_t    json;
    ngx_uint_t   i;

    len = sizeof("{\"intents\":[],\"cursor\":null}") + 2 + cursor->len;

    for (i = 0; i < n; i++) {
        len += 1 + parts[i].len;
    }

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    json.data = p;

    p = ngx_sprintf(p, "{\"intents\":[");

    for (i = 0; i < n; i++) {

        if (i) {
            *p++ = ',';
        }

        p = ngx_cpymem(p, parts[i].data, parts[i].len);
    }

    p = cursor->len ? ngx_sprintf(p, "],\"cursor\":\"%V\"}", cursor)
                    : ngx_sprintf(p, "],\"cursor\":null}");

    json.len = p - json.data;

    return ngx_http_intent_api_send_current(r, &json);
}


/* the same request with the next cursor: RFC 8288 */

static ngx_int_t
ngx_http_intent_api_list_link(ngx_http_request_t *r, ngx_str_t *cursor)
{
    u_char                          *p;
    ngx_str_t                        value;
    ngx_http_intent_api_loc_conf_t  *alcf;

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_intent_api_module);

    p = ngx_pnalloc(r->pool, sizeof("</?&cursor=>; rel=\"next\"")
                             + alcf->prefix.len + 3 * r->args.len
                             + cursor->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    value.data = p;

    /* "location /api/intents/" takes it with the slash alone */

    p = ngx_sprintf(p, "<%V%s?", &alcf->prefix,
                    r->uri.len > alcf->skip ? "/" : "");
    p = ngx_http_intent_api_list_link_args(p, &r->args);
    p = ngx_sprintf(p, "cursor=%V>; rel=\"next\"", cursor);

    value.len = p - value.data;

    return ngx_http_intent_add_header(r, "Link", &value);
}


/* all but the cursor, and what no URI may hold escaped */

static u_char *
ngx_http_intent_api_list_link_args(u_char *p, ngx_str_t *args)
{
    u_char         *arg, *last, *end;
    static u_char   hex[] = "0123456789ABCDEF";

    last = args->data + args->len;

    for (arg = args->data; arg < last; arg = end + 1) {

        end = ngx_strlchr(arg, last, '&');

        if (end == NULL) {
            end = last;
        }

        if (end == arg
            || (end - arg >= (ssize_t) sizeof("cursor=") - 1
                && ngx_strncasecmp(arg, (u_char *) "cursor=",
                                   sizeof("cursor=") - 1)
                   == 0))
        {
            continue;
        }

        for ( /* void */ ; arg < end; arg++) {

            if (*arg > 0x20 && *arg < 0x7f && *arg != '<' && *arg != '>'
                && *arg != '"')
            {
                *p++ = *arg;
                continue;
            }

            *p++ = '%';
            *p++ = hex[*arg >> 4];
            *p++ = hex[*arg & 0xf];
        }

        *p++ = '&';
    }

    return p;
}
