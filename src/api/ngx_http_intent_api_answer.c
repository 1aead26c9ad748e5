
/*
 * What a POST is answered with: an intent, a problem, or an array of both.
 */


#include "ngx_http_intent_api.h"


typedef struct {
    ngx_uint_t                     status;
    ngx_str_t                      location;  /* of an intent, else empty */
    ngx_str_t                      json;
} ngx_http_intent_api_part_t;


static ngx_int_t ngx_http_intent_api_answer_one(ngx_http_request_t *r,
    ngx_http_intent_api_item_t *item);
static ngx_int_t ngx_http_intent_api_answer_batch(ngx_http_request_t *r,
    ngx_http_intent_api_post_t *post);
static ngx_int_t ngx_http_intent_api_part(ngx_http_request_t *r,
    ngx_http_intent_api_item_t *item, ngx_http_intent_api_part_t *part);
static ngx_int_t ngx_http_intent_api_send_parts(ngx_http_request_t *r,
    ngx_http_intent_api_part_t *parts, ngx_uint_t n);
static ngx_int_t ngx_http_intent_api_header_replayed(ngx_http_request_t *r);


ngx_int_t
ngx_http_intent_api_answer_post(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx)
{
    return ctx->post->batch ? ngx_http_intent_api_answer_batch(r, ctx->post)
                            : ngx_http_intent_api_answer_one(r,
                                                        &ctx->post->items[0]);
}


static ngx_int_t
ngx_http_intent_api_answer_one(ngx_http_request_t *r,
    ngx_http_intent_api_item_t *item)
{
    ngx_str_t  json, location;

    if (item->status >= NGX_HTTP_BAD_REQUEST) {
        return ngx_http_intent_api_problem(r, item->status,
                                           item->problem.detail,
                                           &item->problem.faults);
    }

    json = ngx_http_intent_json(r->pool, &item->intent);
    location = ngx_http_intent_api_location(r, &item->intent);

    if (json.data == NULL || location.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* not headers_out.location: nginx would put its own scheme and host on */

    if (ngx_http_intent_add_header(r, "Location", &location) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (item->replayed && ngx_http_intent_api_header_replayed(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_intent_api_send(r, item->status, &json);
}


static ngx_int_t
ngx_http_intent_api_answer_batch(ngx_http_request_t *r,
    ngx_http_intent_api_post_t *post)
{
    ngx_uint_t                   i, replayed;
    ngx_http_intent_api_part_t  *parts;

    parts = ngx_pcalloc(r->pool, post->nitems
                                 * sizeof(ngx_http_intent_api_part_t));
    if (parts == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    replayed = 0;

    for (i = 0; i < post->nitems; i++) {
        if (ngx_http_intent_api_part(r, &post->items[i], &parts[i])
            != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        replayed |= post->items[i].replayed;
    }

    if (replayed && ngx_http_intent_api_header_replayed(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_intent_api_send_parts(r, parts, post->nitems);
}


static ngx_int_t
ngx_http_intent_api_part(ngx_http_request_t *r,
    ngx_http_intent_api_item_t *item, ngx_http_intent_api_part_t *part)
{
    part->status = item->status;

    if (item->status >= NGX_HTTP_BAD_REQUEST) {
        part->json = ngx_http_intent_api_problem_json(r->pool, item->status,
                                                      item->problem.detail,
                                                      &item->problem.faults);

    } else {
        part->json = ngx_http_intent_json(r->pool, &item->intent);
        part->location = ngx_http_intent_api_location(r, &item->intent);

        if (part->location.data == NULL) {
            return NGX_ERROR;
        }
    }

    return part->json.data ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_intent_api_send_parts(ngx_http_request_t *r,
    ngx_http_intent_api_part_t *parts, ngx_uint_t n)
{
    u_char      *p;
    size_t       len;
    ngx_str_t    json;
    ngx_uint_t   i;

    len = sizeof("[]");

    for (i = 0; i < n; i++) {
        len += sizeof("{\"status\":202,\"location\":\"\",\"problem\":},")
               + parts[i].location.len + parts[i].json.len;
    }

    json.data = ngx_pnalloc(r->pool, len);
    if (json.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    p = json.data;
    *p++ = '[';

    for (i = 0; i < n; i++) {

        if (i) {
            *p++ = ',';
        }

        /* the location is an escaped URI, so that JSON has nothing to add */

        p = parts[i].location.len
            ? ngx_sprintf(p, "{\"status\":%ui,\"location\":\"%V\",\"intent\":",
                          parts[i].status, &parts[i].location)
            : ngx_sprintf(p, "{\"status\":%ui,\"problem\":", parts[i].status);

        p = ngx_cpymem(p, parts[i].json.data, parts[i].json.len);
        *p++ = '}';
    }

    *p++ = ']';

    json.len = p - json.data;

    return ngx_http_intent_api_send(r, NGX_HTTP_OK, &json);
}


static ngx_int_t
ngx_http_intent_api_header_replayed(ngx_http_request_t *r)
{
    static ngx_str_t  value = ngx_string("true");

    return ngx_http_intent_add_header(r, "Idempotency-Replayed", &value);
}


ngx_str_t
ngx_http_intent_api_location(ngx_http_request_t *r, ngx_http_intent_t *in)
{
    u_char                          *p;
    ngx_str_t                        location;
    ngx_http_intent_api_loc_conf_t  *alcf;

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_intent_api_module);

    location.len = alcf->prefix.len + 1 + in->id.len;
    location.data = ngx_pnalloc(r->pool, location.len);

    if (location.data) {
        p = ngx_cpymem(location.data, alcf->prefix.data, alcf->prefix.len);
        *p++ = '/';
        ngx_memcpy(p, in->id.data, in->id.len);
    }

    return location;
}
