
/*
 * Who calls.
 */


#include "ngx_http_intent_api.h"


const char  ngx_http_intent_api_bad_user[] =
    "the caller's name must be UTF-8 of up to 256 characters";


ngx_int_t
ngx_http_intent_api_user(ngx_http_request_t *r, ngx_http_intent_api_ctx_t *ctx)
{
    u_char                           address[EVM_ADDRESS_LEN];
    ngx_http_intent_api_loc_conf_t  *alcf;

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_intent_api_module);

    if (alcf->user == NULL) {
        return NGX_OK;
    }

    if (ngx_http_complex_value(r, alcf->user, &ctx->user) != NGX_OK) {
        return NGX_ERROR;
    }

    if (!ngx_http_intent_api_is_utf8(&ctx->user)
        || ngx_utf8_length(ctx->user.data, ctx->user.len)
           > NGX_HTTP_INTENT_API_MAX_USER)
    {
        ngx_str_null(&ctx->user);
        return NGX_DECLINED;
    }

    /* one user, in whichever case a client or a proxy writes it */

    if (ngx_http_intent_api_is_address(&ctx->user, address)) {
        ctx->user.data = ngx_pnalloc(r->pool, EVM_ADDRESS_STR_LEN);
        if (ctx->user.data == NULL) {
            ctx->user.len = 0;
            return NGX_ERROR;
        }

        evm_address_format(address, (char *) ctx->user.data);
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_intent_api_enter(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx, ngx_int_t *answer)
{
    *answer = ngx_http_discard_request_body(r);

    if (*answer != NGX_OK) {
        return NGX_DECLINED;
    }

    switch (ngx_http_intent_api_user(r, ctx)) {

    case NGX_OK:
        return NGX_OK;

    case NGX_DECLINED:
        *answer = ngx_http_intent_api_problem(r, NGX_HTTP_FORBIDDEN,
                                              ngx_http_intent_api_bad_user,
                                              NULL);
        return NGX_DECLINED;

    default: /* NGX_ERROR */
        *answer = NGX_HTTP_INTERNAL_SERVER_ERROR;
        return NGX_DECLINED;
    }
}


ngx_uint_t
ngx_http_intent_api_is_utf8(ngx_str_t *s)
{
    u_char    *p, *last;
    uint32_t   ch;

    p = s->data;
    last = p + s->len;

    while (p < last) {

        if (*p < 0x80) {
            if (*p++ == '\0') {
                return 0;
            }

            continue;
        }

        ch = ngx_utf8_decode(&p, last - p);

        /* surrogates are not characters, and Postgres knows */

        if (ch > 0x10ffff || (ch >= 0xd800 && ch <= 0xdfff)) {
            return 0;
        }
    }

    return 1;
}


ngx_uint_t
ngx_http_intent_api_is_address(ngx_str_t *s, u_char address[EVM_ADDRESS_LEN])
{
    size_t  n;

    n = EVM_ADDRESS_LEN;

    return s->len == EVM_ADDRESS_STR_LEN
           && evm_hex_decode((char *) s->data, s->len, address, &n) == EVM_OK;
}


ngx_uint_t
ngx_http_intent_api_same_user(ngx_str_t *a, ngx_str_t *b)
{
    u_char  one[EVM_ADDRESS_LEN], other[EVM_ADDRESS_LEN];

    if (a->len == b->len && ngx_memcmp(a->data, b->data, a->len) == 0) {
        return 1;
    }

    return ngx_http_intent_api_is_address(a, one)
           && ngx_http_intent_api_is_address(b, other)
           && ngx_memcmp(one, other, EVM_ADDRESS_LEN) == 0;
}
