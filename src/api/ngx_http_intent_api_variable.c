
/*
 * Variables, for logs and headers.
 */


#include "ngx_http_intent_api.h"


typedef ngx_int_t (*ngx_http_intent_api_variable_pt)(
    ngx_http_intent_api_ctx_t *ctx, ngx_str_t *value);


static ngx_int_t ngx_http_intent_api_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_intent_api_variable_id(
    ngx_http_intent_api_ctx_t *ctx, ngx_str_t *value);
static ngx_int_t ngx_http_intent_api_variable_type(
    ngx_http_intent_api_ctx_t *ctx, ngx_str_t *value);
static ngx_int_t ngx_http_intent_api_variable_status(
    ngx_http_intent_api_ctx_t *ctx, ngx_str_t *value);
static ngx_int_t ngx_http_intent_api_variable_user(
    ngx_http_intent_api_ctx_t *ctx, ngx_str_t *value);
static ngx_int_t ngx_http_intent_api_variable_cache_status(
    ngx_http_intent_api_ctx_t *ctx, ngx_str_t *value);
static ngx_int_t ngx_http_intent_api_escaped(ngx_http_intent_api_ctx_t *ctx,
    ngx_str_t *text, ngx_str_t *value);
static ngx_int_t ngx_http_intent_api_member(ngx_str_t *json, const char *key,
    ngx_str_t *value);


/* in the order of ngx_http_intent_cache_status_e */

static ngx_str_t  ngx_http_intent_api_cache_statuses[] = {
    ngx_null_string,
    ngx_string("HIT"),
    ngx_string("MISS"),
    ngx_string("BYPASS")
};


static ngx_http_variable_t  ngx_http_intent_api_variables[] = {

    { ngx_string("intent_id"), NULL, ngx_http_intent_api_variable,
      (uintptr_t) ngx_http_intent_api_variable_id,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("intent_type"), NULL, ngx_http_intent_api_variable,
      (uintptr_t) ngx_http_intent_api_variable_type,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("intent_status"), NULL, ngx_http_intent_api_variable,
      (uintptr_t) ngx_http_intent_api_variable_status,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("intent_user"), NULL, ngx_http_intent_api_variable,
      (uintptr_t) ngx_http_intent_api_variable_user,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("intent_cache_status"), NULL, ngx_http_intent_api_variable,
      (uintptr_t) ngx_http_intent_api_variable_cache_status,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


ngx_int_t
ngx_http_intent_api_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_intent_api_variables; v->name.len; v++) {
        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_api_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_intent_api_variable_pt  get =
                                     (ngx_http_intent_api_variable_pt) data;

    ngx_str_t                   value;
    ngx_http_intent_api_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_intent_api_module);

    if (ctx == NULL || get(ctx, &value) != NGX_OK || value.len == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->data = value.data;
    v->len = value.len;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_api_variable_id(ngx_http_intent_api_ctx_t *ctx,
    ngx_str_t *value)
{
    *value = ctx->intent ? ctx->intent->id : ctx->id;

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_api_variable_type(ngx_http_intent_api_ctx_t *ctx,
    ngx_str_t *value)
{
    if (ctx->intent) {
        *value = ctx->intent->type;
        return NGX_OK;
    }

    if (ctx->type) {
        *value = *ngx_http_intent_type_name(ctx->type);
        return NGX_OK;
    }

    return ngx_http_intent_api_member(&ctx->json, "\"type\":\"", value);
}


static ngx_int_t
ngx_http_intent_api_variable_status(ngx_http_intent_api_ctx_t *ctx,
    ngx_str_t *value)
{
    if (ctx->intent && ctx->intent->status != NGX_HTTP_INTENT_NEW) {
        *value = *ngx_http_intent_status_name(ctx->intent->status);
        return NGX_OK;
    }

    return ngx_http_intent_api_member(&ctx->json, "\"status\":\"", value);
}


static ngx_int_t
ngx_http_intent_api_variable_user(ngx_http_intent_api_ctx_t *ctx,
    ngx_str_t *value)
{
    if (ctx->intent && ctx->intent->user_id.len) {
        return ngx_http_intent_api_escaped(ctx, &ctx->intent->user_id, value);
    }

    if (ctx->user.len) {
        return ngx_http_intent_api_escaped(ctx, &ctx->user, value);
    }

    return ngx_http_intent_api_member(&ctx->json, "\"userId\":\"", value);
}


/*
 * A userId may hold anything, line ends too, and a header that is made of it
 * must not end there: it has the escapes of JSON, wherever it comes from.
 */

static ngx_int_t
ngx_http_intent_api_escaped(ngx_http_intent_api_ctx_t *ctx, ngx_str_t *text,
    ngx_str_t *value)
{
    size_t  escapes;

    *value = *text;

    escapes = ngx_escape_json(NULL, text->data, text->len);

    if (escapes == 0) {
        return NGX_OK;
    }

    value->len += escapes;
    value->data = ngx_pnalloc(ctx->request->pool, value->len);

    if (value->data == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_escape_json(value->data, text->data, text->len);

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_api_variable_cache_status(ngx_http_intent_api_ctx_t *ctx,
    ngx_str_t *value)
{
    *value = ngx_http_intent_api_cache_statuses[ctx->cache_status];

    return NGX_OK;
}


/*
 * A string of JSON that we made ourselves, with the escapes it has there.
 * No string before can hold the key, for its quotes would be escaped.
 */

static ngx_int_t
ngx_http_intent_api_member(ngx_str_t *json, const char *key, ngx_str_t *value)
{
    u_char  *p, *last;

    if (json->len == 0) {
        return NGX_DECLINED;
    }

    last = json->data + json->len;
    p = ngx_strnstr(json->data, (char *) key, json->len);

    if (p == NULL) {
        return NGX_DECLINED;
    }

    p += ngx_strlen(key);
    value->data = p;

    while (p < last && *p != '"') {
        p += (*p == '\\') ? 2 : 1;
    }

    if (p >= last) {
        return NGX_DECLINED;
    }

    value->len = p - value->data;

    return NGX_OK;
}
