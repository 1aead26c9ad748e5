
/*
 * The call that a type makes of an intent.
 */


#include "ngx_http_intent_type_conf.h"


static ngx_int_t ngx_http_intent_operand_bound(ngx_http_intent_operand_t *op,
    ngx_http_intent_t *in, ngx_array_t *faults);
static ngx_int_t ngx_http_intent_operand_user(ngx_http_intent_t *in,
    evm_abi_value_t *out);
static ngx_int_t ngx_http_intent_operand_deadline(
    ngx_http_intent_operand_t *op, ngx_http_intent_t *in,
    evm_abi_value_t *out);
static ngx_int_t ngx_http_intent_operand_nonce(ngx_http_intent_operand_t *op,
    ngx_http_intent_t *in, evm_abi_value_t *out);
static ngx_int_t ngx_http_intent_call_read(ngx_http_intent_type_t *type,
    ngx_http_intent_type_call_t *call, json_t *params, ngx_pool_t *pool,
    ngx_http_intent_value_t **values, ngx_str_t *err);
static ngx_int_t ngx_http_intent_call_build(ngx_http_intent_type_t *type,
    ngx_http_intent_type_call_t *call, ngx_http_intent_t *in,
    ngx_http_intent_value_t **values, ngx_pool_t *pool,
    ngx_http_intent_call_t *out, ngx_str_t *err);
static ngx_int_t ngx_http_intent_call_data(ngx_http_intent_type_t *type,
    ngx_http_intent_type_call_t *call, ngx_http_intent_t *in,
    ngx_http_intent_value_t **values, ngx_pool_t *pool, ngx_str_t *data,
    ngx_str_t *err);
static ngx_int_t ngx_http_intent_call_refuse(ngx_http_intent_type_t *type,
    ngx_http_intent_operand_t *op, ngx_pool_t *pool, ngx_str_t *err);
static ngx_int_t ngx_http_intent_call_error(ngx_pool_t *pool, ngx_str_t *err,
    const char *fmt, ngx_str_t *name, const char *why);


ngx_http_intent_type_call_t *
ngx_http_intent_type_choose(ngx_http_intent_type_t *type, json_t *params)
{
    json_t                       *json;
    uint64_t                      holds;
    ngx_uint_t                    i;
    ngx_http_intent_param_t      *param;
    ngx_http_intent_type_call_t  *call;

    holds = 0;
    param = type->params.elts;

    for (i = 0; i < type->params.nelts; i++) {
        json = json_object_get(params, (char *) param[i].name.data);

        if (json ? !json_is_false(json)
                 : (param[i].preset
                    && (!(param[i].type->flags & NGX_HTTP_INTENT_VALUE_BARE)
                        || !evm_u256_is_zero(&param[i].preset->number))))
        {
            holds |= (uint64_t) 1 << i;
        }
    }

    call = type->calls.elts;

    for (i = 0; i < type->calls.nelts; i++) {
        if ((holds & call[i].when) == call[i].when
            && (holds & call[i].unless) == 0)
        {
            return &call[i];
        }
    }

    return NULL;
}


ngx_int_t
ngx_http_intent_operand_value(ngx_http_intent_operand_t *op,
    ngx_http_intent_value_t **values, ngx_http_intent_t *in,
    evm_abi_value_t *out)
{
    switch (op->source) {

    case NGX_HTTP_INTENT_OPERAND_PARAM:
        return ngx_http_intent_value_abi(values[op->param], &op->abi, out);

    case NGX_HTTP_INTENT_OPERAND_USER:

        if (op->abi.type == EVM_ABI_ADDRESS) {
            return ngx_http_intent_operand_user(in, out);
        }

        out->data = in->user_id.data;
        out->len = in->user_id.len;
        return NGX_OK;

    case NGX_HTTP_INTENT_OPERAND_ID:
        out->data = in->id.data;
        out->len = in->id.len;
        return NGX_OK;

    case NGX_HTTP_INTENT_OPERAND_DEADLINE:
        return ngx_http_intent_operand_deadline(op, in, out);

    case NGX_HTTP_INTENT_OPERAND_NONCE:
        return ngx_http_intent_operand_nonce(op, in, out);

    case NGX_HTTP_INTENT_OPERAND_SIGNATURE:
        out->data = in->signature.data;
        out->len = in->signature.len;
        return NGX_OK;

    default: /* NGX_HTTP_INTENT_OPERAND_LITERAL */
        *out = op->literal;
        return NGX_OK;
    }
}


/* of a signed intent it is the signer's address; others may say anything */

static ngx_int_t
ngx_http_intent_operand_user(ngx_http_intent_t *in, evm_abi_value_t *out)
{
    ngx_memzero(out->word, 32 - EVM_ADDRESS_LEN);

    return (evm_address_parse((char *) in->user_id.data, in->user_id.len,
                              out->word + 32 - EVM_ADDRESS_LEN)
            == EVM_OK)
           ? NGX_OK : NGX_DECLINED;
}


static ngx_int_t
ngx_http_intent_operand_deadline(ngx_http_intent_operand_t *op,
    ngx_http_intent_t *in, evm_abi_value_t *out)
{
    evm_u256_t               word;
    ngx_http_intent_value_t  value;

    /* an intent that does not expire has the last date there is */

    if (in->expires_at < 0) {
        ngx_memset(&word, 0xff, sizeof(evm_u256_t));
        evm_u256_to_be(&word, out->word);
        ngx_memzero(out->word, 32 - op->abi.size / 8);
        return NGX_OK;
    }

    value.negative = 0;
    evm_u256_set(&value.number, in->expires_at / 1000);

    return ngx_http_intent_value_abi(&value, &op->abi, out);
}


/* 0 of an intent that has none */

static ngx_int_t
ngx_http_intent_operand_nonce(ngx_http_intent_operand_t *op,
    ngx_http_intent_t *in, evm_abi_value_t *out)
{
    ngx_http_intent_value_t  value;

    value.negative = 0;
    evm_u256_set(&value.number, 0);

    if (in->nonce.len
        && evm_u256_from_dec(&value.number, (char *) in->nonce.data,
                             in->nonce.len)
           != EVM_OK)
    {
        return NGX_DECLINED;
    }

    return ngx_http_intent_value_abi(&value, &op->abi, out);
}


/* better told now than found by the lane */

ngx_int_t
ngx_http_intent_type_bound(ngx_http_intent_type_t *type, ngx_http_intent_t *in,
    ngx_array_t *faults)
{
    json_t                       *params;
    ngx_uint_t                    i;
    json_error_t                  error;
    ngx_http_intent_type_call_t  *call;

    if (!type->bound) {
        return NGX_OK;
    }

    params = json_loadb((char *) in->params.data, in->params.len, 0, &error);
    if (params == NULL) {
        return NGX_ERROR;
    }

    call = ngx_http_intent_type_choose(type, params);

    json_decref(params);

    if (call == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_intent_operand_bound(&call->to, in, faults) != NGX_OK) {
        return NGX_ERROR;
    }

    for (i = 0; call->function && i < call->function->nargs; i++) {
        if (ngx_http_intent_operand_bound(&call->args[i], in, faults)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_operand_bound(ngx_http_intent_operand_t *op,
    ngx_http_intent_t *in, ngx_array_t *faults)
{
    evm_abi_value_t  ignored;

    switch (op->source) {

    case NGX_HTTP_INTENT_OPERAND_USER:
    case NGX_HTTP_INTENT_OPERAND_DEADLINE:
    case NGX_HTTP_INTENT_OPERAND_NONCE:
        break;

    default:
        return NGX_OK;
    }

    if (ngx_http_intent_operand_value(op, NULL, in, &ignored) == NGX_OK) {
        return NGX_OK;
    }

    switch (op->source) {

    case NGX_HTTP_INTENT_OPERAND_USER:
        return ngx_http_intent_type_fault(faults, "/userId",
                                          "userId must be an address, as the "
                                          "call needs it");

    case NGX_HTTP_INTENT_OPERAND_DEADLINE:
        return ngx_http_intent_type_fault(faults, "/expiresAt",
                                          "expiresAt must fit uint%ud of the "
                                          "call", op->abi.size);

    default: /* NGX_HTTP_INTENT_OPERAND_NONCE */
        return ngx_http_intent_type_fault(faults, "/nonce",
                                          "nonce must fit uint%ud of the "
                                          "call", op->abi.size);
    }
}


ngx_int_t
ngx_http_intent_type_call(ngx_http_intent_type_t *type, ngx_http_intent_t *in,
    ngx_pool_t *pool, ngx_http_intent_call_t *call, ngx_str_t *err)
{
    json_t                       *params;
    ngx_int_t                     rc;
    json_error_t                  error;
    ngx_http_intent_value_t      *values[NGX_HTTP_INTENT_TYPE_MAX_PARAMS];
    ngx_http_intent_type_call_t  *c;

    params = json_loadb((char *) in->params.data, in->params.len, 0, &error);

    if (!json_is_object(params)) {
        json_decref(params);
        ngx_str_set(err, "the params are not readable");
        return NGX_DECLINED;
    }

    c = ngx_http_intent_type_choose(type, params);

    if (c == NULL) {
        rc = ngx_http_intent_call_error(pool, err,
                                        "no call of type \"%V\" takes these "
                                        "params%s", &type->name->name, "");

    } else {
        rc = ngx_http_intent_call_read(type, c, params, pool, values, err);

        if (rc == NGX_OK) {
            rc = ngx_http_intent_call_build(type, c, in, values, pool, call,
                                            err);
        }
    }

    json_decref(params);

    return rc;
}


/*
 * The values that the call uses.  They were right when the intent was taken,
 * but the configuration may be another one by now.
 */

static ngx_int_t
ngx_http_intent_call_read(ngx_http_intent_type_t *type,
    ngx_http_intent_type_call_t *call, json_t *params, ngx_pool_t *pool,
    ngx_http_intent_value_t **values, ngx_str_t *err)
{
    json_t                   *json;
    ngx_int_t                 rc;
    ngx_uint_t                i;
    const char               *why;
    ngx_http_intent_param_t  *param;

    param = type->params.elts;

    for (i = 0; i < type->params.nelts; i++) {

        if (!(call->used & ((uint64_t) 1 << i))) {
            continue;
        }

        json = json_object_get(params, (char *) param[i].name.data);

        if (json == NULL && param[i].preset) {
            values[i] = param[i].preset;
            continue;
        }

        if (json == NULL) {
            return ngx_http_intent_call_error(pool, err, "param \"%V\" %s",
                                              &param[i].name, "is missing");
        }

        values[i] = ngx_pcalloc(pool, sizeof(ngx_http_intent_value_t));
        if (values[i] == NULL) {
            return NGX_ERROR;
        }

        rc = param[i].type->parse(&param[i], json, pool, values[i], &why);

        if (rc == NGX_DECLINED) {
            return ngx_http_intent_call_error(pool, err, "param \"%V\" %s",
                                              &param[i].name, why);
        }

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_call_build(ngx_http_intent_type_t *type,
    ngx_http_intent_type_call_t *call, ngx_http_intent_t *in,
    ngx_http_intent_value_t **values, ngx_pool_t *pool,
    ngx_http_intent_call_t *out, ngx_str_t *err)
{
    evm_abi_value_t  v;

    if (ngx_http_intent_operand_value(&call->to, values, in, &v) != NGX_OK) {
        return ngx_http_intent_call_refuse(type, &call->to, pool, err);
    }

    ngx_memcpy(out->to, v.word + 32 - EVM_ADDRESS_LEN, EVM_ADDRESS_LEN);

    if (ngx_http_intent_operand_value(&call->value, values, in, &v)
        != NGX_OK
        || evm_u256_from_be(&out->value, v.word, 32) != EVM_OK)
    {
        return ngx_http_intent_call_refuse(type, &call->value, pool, err);
    }

    out->gas = call->gas;
    ngx_str_null(&out->data);

    if (call->function == NULL) {
        return NGX_OK;
    }

    return ngx_http_intent_call_data(type, call, in, values, pool, &out->data,
                                     err);
}


static ngx_int_t
ngx_http_intent_call_data(ngx_http_intent_type_t *type,
    ngx_http_intent_type_call_t *call, ngx_http_intent_t *in,
    ngx_http_intent_value_t **values, ngx_pool_t *pool, ngx_str_t *data,
    ngx_str_t *err)
{
    ngx_uint_t           i;
    evm_abi_value_t      args[EVM_ABI_MAX_ARGS];
    evm_abi_function_t  *fn;

    fn = call->function;

    for (i = 0; i < fn->nargs; i++) {
        if (ngx_http_intent_operand_value(&call->args[i], values, in, &args[i])
            != NGX_OK)
        {
            return ngx_http_intent_call_refuse(type, &call->args[i], pool,
                                               err);
        }
    }

    data->len = evm_abi_encoded_len(fn, args);
    data->data = ngx_pnalloc(pool, data->len);
    if (data->data == NULL) {
        return NGX_ERROR;
    }

    if (evm_abi_encode(fn, args, data->data, &data->len) != EVM_OK) {
        ngx_str_set(err, "the params do not fit the function");
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_call_refuse(ngx_http_intent_type_t *type,
    ngx_http_intent_operand_t *op, ngx_pool_t *pool, ngx_str_t *err)
{
    ngx_http_intent_param_t  *param;

    switch (op->source) {

    case NGX_HTTP_INTENT_OPERAND_USER:
        ngx_str_set(err, "userId is not an address, as the call needs it");
        return NGX_DECLINED;

    case NGX_HTTP_INTENT_OPERAND_DEADLINE:
        ngx_str_set(err, "the deadline does not fit the function");
        return NGX_DECLINED;

    case NGX_HTTP_INTENT_OPERAND_NONCE:
        ngx_str_set(err, "the nonce does not fit the function");
        return NGX_DECLINED;

    default: /* NGX_HTTP_INTENT_OPERAND_PARAM, literals were looked at */
        break;
    }

    param = type->params.elts;

    return ngx_http_intent_call_error(pool, err,
                                      "param \"%V\" does not fit %s",
                                      &param[op->param].name, "the function");
}


static ngx_int_t
ngx_http_intent_call_error(ngx_pool_t *pool, ngx_str_t *err, const char *fmt,
    ngx_str_t *name, const char *why)
{
    size_t  size;

    size = ngx_strlen(fmt) + name->len + ngx_strlen(why);

    err->data = ngx_pnalloc(pool, size);
    if (err->data == NULL) {
        return NGX_ERROR;
    }

    err->len = ngx_snprintf(err->data, size, fmt, name, why) - err->data;

    return NGX_DECLINED;
}
