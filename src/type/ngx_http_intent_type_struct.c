
/*
 * The struct that the owner of an intent signs, as EIP-712 has it: the params,
 * the owner's address, a nonce and a deadline.
 */


#include "ngx_http_intent_type_conf.h"


/* behind the params; a type has no params of these names */

typedef struct {
    ngx_str_t    name;
    ngx_str_t    solidity;
} ngx_http_intent_struct_member_t;


static ngx_http_intent_struct_member_t  ngx_http_intent_struct_last[] = {
    { ngx_string("user"), ngx_string("address") },
    { ngx_string("nonce"), ngx_string("uint256") },
    { ngx_string("deadline"), ngx_string("uint256") }
};

#define NGX_HTTP_INTENT_STRUCT_LAST                                           \
    (sizeof(ngx_http_intent_struct_last)                                      \
     / sizeof(ngx_http_intent_struct_member_t))

#define NGX_HTTP_INTENT_STRUCT_MAX                                            \
    (NGX_HTTP_INTENT_TYPE_MAX_PARAMS + NGX_HTTP_INTENT_STRUCT_LAST)


static ngx_uint_t ngx_http_intent_struct_member(ngx_http_intent_type_t *type,
    ngx_uint_t i, ngx_str_t **name, ngx_str_t **solidity);
static ngx_int_t ngx_http_intent_struct_value(ngx_http_intent_type_t *type,
    ngx_uint_t i, json_t *params, ngx_array_t *faults, ngx_pool_t *pool,
    evm_abi_value_t *out);
static ngx_uint_t ngx_http_intent_struct_is_zero(evm_abi_type_t *abi,
    evm_abi_value_t *value);


ngx_int_t
ngx_http_intent_type_struct_init(ngx_conf_t *cf, ngx_http_intent_type_t *type)
{
    u_char      *p;
    size_t       len;
    ngx_str_t   *name, *solidity;
    ngx_uint_t   i;

    type->struct_name.len = type->name->name.len;
    type->struct_name.data = ngx_pstrdup(cf->pool, &type->name->name);
    if (type->struct_name.data == NULL) {
        return NGX_ERROR;
    }

    type->struct_name.data[0] = ngx_toupper(type->struct_name.data[0]);

    len = type->struct_name.len + 2;

    for (i = 0; ngx_http_intent_struct_member(type, i, &name, &solidity); i++)
    {
        len += solidity->len + 1 + name->len + 1;
    }

    type->members = ngx_pcalloc(cf->pool, i * sizeof(evm_abi_type_t));
    if (type->members == NULL) {
        return NGX_ERROR;
    }

    p = ngx_pnalloc(cf->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    type->struct_type.data = p;
    p = ngx_sprintf(p, "%V", &type->struct_name);

    for (i = 0; ngx_http_intent_struct_member(type, i, &name, &solidity); i++)
    {
        p = ngx_sprintf(p, "%c%V %V", i ? ',' : '(', solidity, name);

        if (evm_abi_type_parse((char *) solidity->data, solidity->len,
                               &type->members[i])
            != EVM_OK)
        {
            return NGX_ERROR;
        }
    }

    *p++ = ')';
    type->struct_type.len = p - type->struct_type.data;

    return NGX_OK;
}


/* 0: there are no more */

static ngx_uint_t
ngx_http_intent_struct_member(ngx_http_intent_type_t *type, ngx_uint_t i,
    ngx_str_t **name, ngx_str_t **solidity)
{
    ngx_http_intent_param_t  *param;

    if (i < type->params.nelts) {
        param = type->params.elts;
        *name = &param[i].name;
        *solidity = &param[i].type->member;
        return 1;
    }

    i -= type->params.nelts;

    if (i == NGX_HTTP_INTENT_STRUCT_LAST) {
        return 0;
    }

    *name = &ngx_http_intent_struct_last[i].name;
    *solidity = &ngx_http_intent_struct_last[i].solidity;

    return 1;
}


ngx_str_t *
ngx_http_intent_type_struct(ngx_http_intent_type_t *type)
{
    return &type->struct_name;
}


json_t *
ngx_http_intent_type_struct_fields(ngx_http_intent_type_t *type)
{
    json_t      *fields;
    ngx_str_t   *name, *solidity;
    ngx_uint_t   i;

    fields = json_array();

    for (i = 0; ngx_http_intent_struct_member(type, i, &name, &solidity); i++)
    {
        if (json_array_append_new(fields,
                                  json_pack("{s:s%, s:s%}",
                                            "name", name->data, name->len,
                                            "type", solidity->data,
                                            solidity->len))
            != 0)
        {
            json_decref(fields);
            return NULL;
        }
    }

    return fields;
}


ngx_int_t
ngx_http_intent_type_hash(ngx_http_intent_type_t *type, ngx_str_t *params,
    u_char user[EVM_ADDRESS_LEN], evm_u256_t *nonce, uint64_t deadline,
    ngx_array_t *faults, ngx_pool_t *pool, u_char hash[32])
{
    json_t           *root;
    ngx_int_t         rc;
    ngx_uint_t        i, n;
    evm_u256_t        seconds;
    json_error_t      error;
    evm_abi_value_t   values[NGX_HTTP_INTENT_STRUCT_MAX];

    ngx_memzero(values, sizeof(values));

    root = json_loadb((char *) params->data, params->len, 0, &error);
    if (root == NULL) {
        return NGX_ERROR;
    }

    rc = NGX_OK;
    n = type->params.nelts;

    for (i = 0; i < n && rc != NGX_ERROR; i++) {
        switch (ngx_http_intent_struct_value(type, i, root, faults, pool,
                                             &values[i]))
        {
        case NGX_OK:
            break;

        case NGX_DECLINED:
            rc = NGX_DECLINED;
            break;

        default:
            rc = NGX_ERROR;
            break;
        }
    }

    if (rc == NGX_OK) {
        ngx_memcpy(values[n].word + 32 - EVM_ADDRESS_LEN, user,
                   EVM_ADDRESS_LEN);
        evm_u256_to_be(nonce, values[n + 1].word);
        evm_u256_set(&seconds, deadline);
        evm_u256_to_be(&seconds, values[n + 2].word);

        /* strings are still those of root */

        if (evm_eip712_struct((char *) type->struct_type.data,
                              type->struct_type.len, type->members, values,
                              n + NGX_HTTP_INTENT_STRUCT_LAST, hash)
            != EVM_OK)
        {
            rc = NGX_ERROR;
        }
    }

    json_decref(root);

    return rc;
}


static ngx_int_t
ngx_http_intent_struct_value(ngx_http_intent_type_t *type, ngx_uint_t i,
    json_t *params, ngx_array_t *faults, ngx_pool_t *pool,
    evm_abi_value_t *out)
{
    json_t                   *json;
    ngx_int_t                 rc;
    const char               *why;
    ngx_http_intent_value_t   value, *v;
    ngx_http_intent_param_t  *param;

    param = type->params.elts;
    param += i;

    json = json_object_get(params, (char *) param->name.data);

    if (json == NULL) {
        v = param->preset;

        if (v == NULL) {
            return NGX_OK;
        }

    } else {
        v = &value;
        ngx_memzero(v, sizeof(ngx_http_intent_value_t));

        /* what was taken is of its type, and of all that fits the type */

        rc = param->type->parse(param, json, pool, v, &why);
        if (rc != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (ngx_http_intent_value_abi(v, &type->members[i], out) != NGX_OK) {
        return NGX_ERROR;
    }

    if (!ngx_http_intent_param_may_lack(param)
        || !ngx_http_intent_struct_is_zero(&type->members[i], out))
    {
        return NGX_OK;
    }

    return (ngx_http_intent_type_fault_member(faults, "/params",
                                              (char *) param->name.data,
                                              "%V %V must be left out of a "
                                              "signed intent rather than be "
                                              "zero or empty, for both would "
                                              "have the same signature",
                                              &type->title, &param->name)
            == NGX_OK)
           ? NGX_DECLINED : NGX_ERROR;
}


static ngx_uint_t
ngx_http_intent_struct_is_zero(evm_abi_type_t *abi, evm_abi_value_t *value)
{
    ngx_uint_t  i;

    if (abi->type == EVM_ABI_BYTES || abi->type == EVM_ABI_STRING) {
        return value->len == 0;
    }

    for (i = 0; i < 32; i++) {
        if (value->word[i]) {
            return 0;
        }
    }

    return 1;
}


void
ngx_http_intent_type_need_signable(ngx_conf_t *cf)
{
    ngx_http_intent_type_main_conf_t  *tmcf;

    tmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_intent_type_module);

    if (tmcf->signable.file == NULL) {
        tmcf->signable = ngx_http_intent_type_place(cf);
    }
}


/*
 * "transfer" and "Transfer" would have one struct: who signed an intent of
 * one of them had signed one of the other, too.
 */

ngx_int_t
ngx_http_intent_type_check_signable(ngx_conf_t *cf,
    ngx_http_intent_type_main_conf_t *tmcf)
{
    ngx_str_t                *name;
    ngx_uint_t                i, n;
    ngx_http_intent_type_t  **types;

    types = tmcf->types.elts;

    for (i = 0; i < tmcf->types.nelts; i++) {
        name = &types[i]->struct_name;

        if (name->len == sizeof("EIP712Domain") - 1
            && ngx_memcmp(name->data, "EIP712Domain", name->len) == 0)
        {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "intent_type \"%V\" in %s:%ui cannot be signed, "
                          "as intent_signature in %s:%ui demands, for its "
                          "struct would be that of the domain; it should "
                          "have another name", &types[i]->name->name,
                          types[i]->place.file, types[i]->place.line,
                          tmcf->signable.file, tmcf->signable.line);
            return NGX_ERROR;
        }

        for (n = 0; n < i; n++) {
            if (types[n]->struct_name.len != name->len
                || ngx_memcmp(types[n]->struct_name.data, name->data,
                              name->len)
                   != 0)
            {
                continue;
            }

            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "intent_type \"%V\" in %s:%ui and \"%V\" in %s:%ui "
                          "cannot be told apart by a signature, as "
                          "intent_signature in %s:%ui demands, for both "
                          "would sign a struct \"%V\"; one should have "
                          "another name",
                          &types[n]->name->name, types[n]->place.file,
                          types[n]->place.line, &types[i]->name->name,
                          types[i]->place.file, types[i]->place.line,
                          tmcf->signable.file, tmcf->signable.line, name);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}
