
/*
 * Values in the answers of nodes.
 */


#include "ngx_http_intent_lane.h"


ngx_int_t
ngx_http_intent_json_u256(json_t *v, evm_u256_t *n)
{
    if (!json_is_string(v)) {
        return NGX_ERROR;
    }

    return evm_u256_from_hex(n, json_string_value(v), json_string_length(v))
           == EVM_OK ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_http_intent_json_int(json_t *v, int64_t *n)
{
    uint64_t    u;
    evm_u256_t  big;

    if (ngx_http_intent_json_u256(v, &big) != NGX_OK
        || evm_u256_to_u64(&big, &u) != EVM_OK
        || u > INT64_MAX)
    {
        return NGX_ERROR;
    }

    *n = (int64_t) u;

    return NGX_OK;
}


ngx_int_t
ngx_http_intent_json_hash(json_t *v, u_char hash[32])
{
    size_t  len;

    if (!json_is_string(v) || json_string_length(v) != EVM_HASH_STR_LEN) {
        return NGX_ERROR;
    }

    len = 32;

    return evm_hex_decode(json_string_value(v), json_string_length(v), hash,
                          &len)
           == EVM_OK ? NGX_OK : NGX_ERROR;
}
