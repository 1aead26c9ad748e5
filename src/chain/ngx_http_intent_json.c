
/*
 * Values in questions to nodes, and in their answers.
 */


#include "ngx_http_intent_lane.h"


ngx_int_t
ngx_http_intent_lane_ask_call(ngx_http_intent_lane_t *lane,
    ngx_http_intent_jsonrpc_t *j, const char *method,
    ngx_http_intent_job_t *job, int64_t block)
{
    u_char  *data;
    char     to[EVM_ADDRESS_STR_LEN], value[EVM_U256_HEX_LEN];
    size_t   value_len, data_len, size;

    evm_address_format(job->call.to, to);
    value_len = evm_u256_to_hex(&job->call.value, value);

    data = ngx_pnalloc(j->pool, 2 + 2 * job->call.data.len);
    if (data == NULL) {
        return NGX_ERROR;
    }

    data_len = evm_hex_encode(job->call.data.data, job->call.data.len,
                              (char *) data);

    size = 256 + value_len + data_len;

    /*
     * "latest" is said, for some nodes take "pending" when nothing is, and
     * run all of their pool for each item of a batch
     */

    if (block < 0) {
        return ngx_http_intent_jsonrpc_add(j, method, size,
                   "{\"from\":\"%V\",\"to\":\"%*s\",\"value\":\"%*s\","
                   "\"data\":\"%*s\"},\"latest\"",
                   &lane->signer->name, (size_t) EVM_ADDRESS_STR_LEN, to,
                   value_len, value, data_len, data);
    }

    return ngx_http_intent_jsonrpc_add(j, method, size,
               "{\"from\":\"%V\",\"to\":\"%*s\",\"value\":\"%*s\","
               "\"gas\":\"0x%xL\",\"data\":\"%*s\"},\"0x%xL\"",
               &lane->signer->name, (size_t) EVM_ADDRESS_STR_LEN, to,
               value_len, value, (int64_t) job->call.gas, data_len, data,
               block);
}


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
