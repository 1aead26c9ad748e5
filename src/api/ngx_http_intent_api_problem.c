
/*
 * Answers: JSON, and problems as RFC 9457 has them.
 */


#include "ngx_http_intent_api.h"


typedef struct {
    ngx_uint_t                     status;
    const char                    *title;
} ngx_http_intent_api_title_t;


static ngx_int_t ngx_http_intent_api_answer(ngx_http_request_t *r,
    ngx_uint_t status, ngx_str_t *type, ngx_str_t *body);
static ngx_int_t ngx_http_intent_api_challenge(ngx_http_request_t *r);
static const char *ngx_http_intent_api_title(ngx_uint_t status);
static size_t ngx_http_intent_api_problem_len(ngx_str_t *detail,
    ngx_array_t *faults);
static u_char *ngx_http_intent_api_faults(u_char *p, ngx_array_t *faults);
static u_char *ngx_http_intent_api_string(u_char *p, ngx_str_t *s);


static ngx_str_t  ngx_http_intent_api_json_type =
    ngx_string("application/json");

static ngx_str_t  ngx_http_intent_api_problem_type =
    ngx_string("application/problem+json");

static ngx_str_t  ngx_http_intent_api_retry_after = ngx_string("1");


static ngx_http_intent_api_title_t  ngx_http_intent_api_titles[] = {
    { NGX_HTTP_BAD_REQUEST, "Bad Request" },
    { NGX_HTTP_UNAUTHORIZED, "Unauthorized" },
    { NGX_HTTP_FORBIDDEN, "Forbidden" },
    { NGX_HTTP_NOT_FOUND, "Not Found" },
    { NGX_HTTP_NOT_ALLOWED, "Method Not Allowed" },
    { NGX_HTTP_CONFLICT, "Conflict" },
    { NGX_HTTP_REQUEST_ENTITY_TOO_LARGE, "Content Too Large" },
    { NGX_HTTP_UNSUPPORTED_MEDIA_TYPE, "Unsupported Media Type" },
    { 426, "Upgrade Required" },
    { NGX_HTTP_TOO_MANY_REQUESTS, "Too Many Requests" },
    { NGX_HTTP_SERVICE_UNAVAILABLE, "Service Unavailable" },
    { 0, "Internal Server Error" }
};


ngx_int_t
ngx_http_intent_api_send(ngx_http_request_t *r, ngx_uint_t status,
    ngx_str_t *json)
{
    return ngx_http_intent_api_answer(r, status,
                                      &ngx_http_intent_api_json_type, json);
}


ngx_int_t
ngx_http_intent_api_send_current(ngx_http_request_t *r, ngx_str_t *json)
{
    static ngx_str_t  no_cache = ngx_string("no-cache");

    if (ngx_http_intent_add_header(r, "Cache-Control", &no_cache) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_intent_api_send(r, NGX_HTTP_OK, json);
}


ngx_int_t
ngx_http_intent_api_problem(ngx_http_request_t *r, ngx_uint_t status,
    const char *detail, ngx_array_t *faults)
{
    ngx_int_t  rc;
    ngx_str_t  body;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "intent api problem: %ui, faults:%ui", status,
                   faults ? faults->nelts : 0);

    switch (status) {

    case NGX_HTTP_SERVICE_UNAVAILABLE:
        rc = ngx_http_intent_add_header(r, "Retry-After",
                                        &ngx_http_intent_api_retry_after);
        break;

    case NGX_HTTP_UNAUTHORIZED:
        rc = ngx_http_intent_api_challenge(r);
        break;

    default:
        rc = NGX_OK;
    }

    if (rc != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    body = ngx_http_intent_api_problem_json(r->pool, status, detail, faults);

    if (body.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_intent_api_answer(r, status,
                                      &ngx_http_intent_api_problem_type,
                                      &body);
}


/*
 * RFC 9110, 15.5.2, wants a challenge with each 401; none of the registered
 * schemes is a signature of the body, so that it has a name of its own.
 */

static ngx_int_t
ngx_http_intent_api_challenge(ngx_http_request_t *r)
{
    ngx_str_t                        value;
    ngx_http_intent_api_loc_conf_t  *alcf;

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_intent_api_module);

    value.data = ngx_pnalloc(r->pool, sizeof("EIP712 types=\"/types\"")
                                      + alcf->prefix.len);
    if (value.data == NULL) {
        return NGX_ERROR;
    }

    value.len = ngx_sprintf(value.data, "EIP712 types=\"%V/types\"",
                            &alcf->prefix)
                - value.data;

    return ngx_http_intent_add_header(r, "WWW-Authenticate", &value);
}


ngx_str_t
ngx_http_intent_api_problem_json(ngx_pool_t *pool, ngx_uint_t status,
    const char *detail, ngx_array_t *faults)
{
    u_char                   *p;
    ngx_str_t                 json, sentence;
    const char               *title;
    ngx_http_intent_fault_t  *fault;

    title = ngx_http_intent_api_title(status);

    if (faults && faults->nelts == 0) {
        faults = NULL;
    }

    if (detail == NULL && faults) {
        fault = faults->elts;
        sentence = fault[0].detail;

    } else {
        sentence.data = (u_char *) (detail ? detail : title);
        sentence.len = ngx_strlen(sentence.data);
    }

    json.len = 0;
    json.data = ngx_pnalloc(pool, ngx_strlen(title)
                                  + ngx_http_intent_api_problem_len(&sentence,
                                                                    faults));
    if (json.data == NULL) {
        return json;
    }

    p = ngx_sprintf(json.data, "{\"type\":\"about:blank\",\"title\":\"%s\","
                    "\"status\":%ui,\"detail\":", title, status);
    p = ngx_http_intent_api_string(p, &sentence);
    p = ngx_http_intent_api_faults(p, faults);
    *p++ = '}';

    json.len = p - json.data;

    return json;
}


static ngx_int_t
ngx_http_intent_api_answer(ngx_http_request_t *r, ngx_uint_t status,
    ngx_str_t *type, ngx_str_t *body)
{
    ngx_int_t     rc;
    ngx_buf_t    *b;
    ngx_chain_t   out;

    r->headers_out.status = status;
    r->headers_out.content_length_n = body->len;
    r->headers_out.content_type = *type;
    r->headers_out.content_type_len = type->len;
    r->headers_out.content_type_lowcase = NULL;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->pos = body->data;
    b->last = body->data + body->len;
    b->memory = 1;
    b->last_buf = (r == r->main) ? 1 : 0;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


static const char *
ngx_http_intent_api_title(ngx_uint_t status)
{
    ngx_http_intent_api_title_t  *t;

    t = ngx_http_intent_api_titles;

    while (t->status && t->status != status) {
        t++;
    }

    return t->title;
}


static size_t
ngx_http_intent_api_problem_len(ngx_str_t *detail, ngx_array_t *faults)
{
    size_t                    len;
    ngx_uint_t                i;
    ngx_http_intent_fault_t  *fault;

    len = 128 + detail->len + ngx_escape_json(NULL, detail->data, detail->len);

    if (faults == NULL) {
        return len;
    }

    fault = faults->elts;

    for (i = 0; i < faults->nelts; i++) {
        len += sizeof("{\"parameter\":\"\",\"detail\":\"\"},") - 1;
        len += fault[i].pointer.len
               + ngx_escape_json(NULL, fault[i].pointer.data,
                                 fault[i].pointer.len);
        len += fault[i].detail.len
               + ngx_escape_json(NULL, fault[i].detail.data,
                                 fault[i].detail.len);
    }

    return len;
}


static u_char *
ngx_http_intent_api_faults(u_char *p, ngx_array_t *faults)
{
    ngx_str_t                 where;
    ngx_uint_t                i;
    ngx_http_intent_fault_t  *fault;

    if (faults == NULL) {
        return p;
    }

    p = ngx_cpymem(p, ",\"errors\":[", sizeof(",\"errors\":[") - 1);

    fault = faults->elts;

    for (i = 0; i < faults->nelts; i++) {

        if (i) {
            *p++ = ',';
        }

        where = fault[i].pointer;

        if (where.len && where.data[0] == '?') {
            where.data++;
            where.len--;

            p = ngx_sprintf(p, "{\"parameter\":");

        } else {
            p = ngx_sprintf(p, "{\"pointer\":");
        }

        p = ngx_http_intent_api_string(p, &where);
        p = ngx_cpymem(p, ",\"detail\":", sizeof(",\"detail\":") - 1);
        p = ngx_http_intent_api_string(p, &fault[i].detail);
        *p++ = '}';
    }

    *p++ = ']';

    return p;
}


static u_char *
ngx_http_intent_api_string(u_char *p, ngx_str_t *s)
{
    *p++ = '"';
    p = (u_char *) ngx_escape_json(p, s->data, s->len);
    *p++ = '"';

    return p;
}
