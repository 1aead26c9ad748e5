
/*
 * GET .../types: what a client needs to make a body, and to sign it.
 */


#include "ngx_http_intent_api.h"

#include <openssl/evp.h>


#define NGX_HTTP_INTENT_API_DIALECT                                           \
    "https://json-schema.org/draft/2020-12/schema"


static ngx_int_t ngx_http_intent_api_types_build(
    ngx_http_intent_api_loc_conf_t *conf, ngx_pool_t *pool, ngx_log_t *log);
static ngx_int_t ngx_http_intent_api_types_keep(
    ngx_http_intent_api_types_t *types, json_t *root, ngx_pool_t *pool);
static json_t *ngx_http_intent_api_types_json(
    ngx_http_intent_api_loc_conf_t *conf);
static json_t *ngx_http_intent_api_type_json(ngx_http_intent_type_t *type,
    ngx_http_intent_api_loc_conf_t *conf);
static json_t *ngx_http_intent_api_schema(ngx_http_intent_type_t *type,
    ngx_http_intent_api_loc_conf_t *conf);
static json_t *ngx_http_intent_api_schema_required(
    ngx_http_intent_api_loc_conf_t *conf);
static json_t *ngx_http_intent_api_schema_properties(
    ngx_http_intent_type_t *type, ngx_uint_t signature);
static json_t *ngx_http_intent_api_schema_chain(void);
static json_t *ngx_http_intent_api_schema_expires_at(void);
static json_t *ngx_http_intent_api_schema_nonce(void);
static json_t *ngx_http_intent_api_schema_signed(void);
static json_t *ngx_http_intent_api_eip712(ngx_http_intent_type_t *type,
    ngx_str_t *chain);
static json_t *ngx_http_intent_api_domain_fields(
    ngx_http_intent_domain_t *domain);
static json_t *ngx_http_intent_api_domain(ngx_http_intent_domain_t *domain);
static json_t *ngx_http_intent_api_domains(void);
static json_t *ngx_http_intent_api_json_str(ngx_str_t *s);
static ngx_int_t ngx_http_intent_api_types_send(ngx_http_request_t *r,
    ngx_http_intent_api_types_t *types);


ngx_int_t
ngx_http_intent_api_get_types(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx)
{
    ngx_int_t                        rc;
    ngx_http_intent_api_loc_conf_t  *alcf;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_intent_api_module);

    /* once in the life of a worker, and of its configuration */

    if (alcf->types->json.data == NULL
        && ngx_http_intent_api_types_build(alcf, ngx_cycle->pool,
                                           r->connection->log)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_intent_api_types_send(r, alcf->types);
}


static ngx_int_t
ngx_http_intent_api_types_build(ngx_http_intent_api_loc_conf_t *conf,
    ngx_pool_t *pool, ngx_log_t *log)
{
    json_t     *root;
    ngx_int_t   rc;

    root = ngx_http_intent_api_types_json(conf);

    rc = root ? ngx_http_intent_api_types_keep(conf->types, root, pool)
              : NGX_ERROR;

    json_decref(root);

    if (rc != NGX_OK) {
        ngx_log_error(NGX_LOG_CRIT, log, 0,
                      "intent api: the types of \"%V\" could not be told, "
                      "no memory", &conf->prefix);
    }

    return rc;
}


static ngx_int_t
ngx_http_intent_api_types_keep(ngx_http_intent_api_types_t *types,
    json_t *root, ngx_pool_t *pool)
{
    char       *text;
    u_char      hash[EVM_HASH_LEN], *p;
    ngx_int_t   rc;
    ngx_str_t   json;

    text = json_dumps(root, JSON_COMPACT);
    if (text == NULL) {
        return NGX_ERROR;
    }

    rc = NGX_ERROR;

    json.len = ngx_strlen(text);
    json.data = ngx_pnalloc(pool, json.len);
    p = ngx_pnalloc(pool, 2 + EVM_HASH_LEN);

    if (json.data && p
        && EVP_Digest(text, json.len, hash, NULL, EVP_sha256(), NULL) == 1)
    {
        ngx_memcpy(json.data, text, json.len);

        /* half of it is enough to tell one from another */

        types->etag.data = p;

        *p++ = '"';
        p = ngx_hex_dump(p, hash, EVM_HASH_LEN / 2);
        *p++ = '"';

        types->etag.len = p - types->etag.data;
        types->json = json;

        rc = NGX_OK;
    }

    free(text);

    return rc;
}


/*
 * json_pack() with "o" takes a reference, also where it fails, and fails where
 * it is given none: so a lack of memory anywhere is a NULL here.
 */

static json_t *
ngx_http_intent_api_types_json(ngx_http_intent_api_loc_conf_t *conf)
{
    json_t                  *list, *json;
    ngx_str_t               *name;
    ngx_uint_t               i;
    ngx_array_t             *names;
    ngx_http_intent_type_t  *type;

    list = json_array();

    names = ngx_http_intent_api_type_names();
    name = names->elts;

    for (i = 0; i < names->nelts; i++) {
        type = ngx_http_intent_type_find(&name[i]);

        if (type == NULL) {
            continue;
        }

        json = ngx_http_intent_api_type_json(type, conf);

        if (json_array_append_new(list, json) != 0) {
            json_decref(list);
            return NULL;
        }
    }

    return json_pack("{s:o}", "types", list);
}


static json_t *
ngx_http_intent_api_type_json(ngx_http_intent_type_t *type,
    ngx_http_intent_api_loc_conf_t *conf)
{
    json_t     *json;
    ngx_str_t  *chain;

    chain = ngx_http_intent_chain_find(ngx_http_intent_type_chain(type));

    if (chain == NULL) {
        return NULL;
    }

    json = json_pack("{s:o, s:o, s:o, s:o}",
              "name", ngx_http_intent_api_json_str(
                                             ngx_http_intent_type_name(type)),
              "label", ngx_http_intent_api_json_str(
                                            ngx_http_intent_type_label(type)),
              "chain", ngx_http_intent_api_json_str(chain),
              "schema", ngx_http_intent_api_schema(type, conf));

    if (json && conf->signature != NGX_HTTP_INTENT_SIGNATURE_OFF
        && json_object_set_new(json, "eip712",
                               ngx_http_intent_api_eip712(type, chain))
           != 0)
    {
        json_decref(json);
        return NULL;
    }

    return json;
}


/* ---- the body ---- */


static json_t *
ngx_http_intent_api_schema(ngx_http_intent_type_t *type,
    ngx_http_intent_api_loc_conf_t *conf)
{
    int      rc;
    json_t  *schema;

    schema = json_pack("{s:s, s:o, s:s, s:o, s:o, s:b}",
              "$schema", NGX_HTTP_INTENT_API_DIALECT,
              "title", ngx_http_intent_api_json_str(
                                            ngx_http_intent_type_label(type)),
              "type", "object",
              "properties", ngx_http_intent_api_schema_properties(type,
                                                            conf->signature),
              "required", ngx_http_intent_api_schema_required(conf),
              "additionalProperties", 0);

    if (schema == NULL
        || ngx_http_intent_type_schema_body(type, conf->user == NULL, schema)
           != NGX_OK)
    {
        json_decref(schema);
        return NULL;
    }

    if (conf->signature == NGX_HTTP_INTENT_SIGNATURE_OFF) {
        return schema;
    }

    /* who signs must be told where intent_user does not */

    rc = json_object_set_new(schema, "dependentRequired",
                             json_pack("{s:[s], s:[s, s*]}",
                                       "nonce", "signature",
                                       "signature", "expiresAt",
                                       conf->user ? NULL : "userId"));

    rc |= json_object_set_new(schema, "dependentSchemas",
                              ngx_http_intent_api_schema_signed());

    if (rc != 0) {
        json_decref(schema);
        return NULL;
    }

    return schema;
}


static json_t *
ngx_http_intent_api_schema_required(ngx_http_intent_api_loc_conf_t *conf)
{
    if (conf->signature != NGX_HTTP_INTENT_SIGNATURE_REQUIRED) {
        return json_pack("[s, s]", "type", "params");
    }

    return json_pack("[s, s, s, s, s*]", "type", "params", "expiresAt",
                     "signature", conf->user ? NULL : "userId");
}


static json_t *
ngx_http_intent_api_schema_properties(ngx_http_intent_type_t *type,
    ngx_uint_t signature)
{
    int      rc;
    json_t  *properties;

    properties = json_pack("{s:{s:o}, s:o, s:o, s:o, s:o}",
              "type",
                  "const", ngx_http_intent_api_json_str(
                                             ngx_http_intent_type_name(type)),
              "params", ngx_http_intent_type_schema(type),
              "chain", ngx_http_intent_api_schema_chain(),
              "userId", json_pack("{s:s, s:i, s:i, s:s}",
                  "type", "string", "minLength", 1,
                  "maxLength", NGX_HTTP_INTENT_API_MAX_USER,
                  "pattern", NGX_HTTP_INTENT_TYPE_TEXT),
              "expiresAt", ngx_http_intent_api_schema_expires_at());

    if (properties == NULL || signature == NGX_HTTP_INTENT_SIGNATURE_OFF) {
        return properties;
    }

    rc = json_object_set_new(properties, "nonce",
                             ngx_http_intent_api_schema_nonce());

    rc |= json_object_set_new(properties, "signature",
                              json_pack("{s:s, s:i, s:s}",
                  "type", "string",
                  "maxLength", 2 + 2 * NGX_HTTP_INTENT_API_MAX_SIGNATURE,
                  "pattern", "^0x([0-9a-fA-F]{2})*$"));

    if (rc != 0) {
        json_decref(properties);
        return NULL;
    }

    return properties;
}


static json_t *
ngx_http_intent_api_schema_chain(void)
{
    json_t       *list;
    ngx_str_t    *name;
    ngx_uint_t    i;
    ngx_array_t  *names;

    list = json_array();

    names = ngx_http_intent_api_chains();
    name = names->elts;

    for (i = 0; i < names->nelts; i++) {
        if (json_array_append_new(list, ngx_http_intent_api_json_str(&name[i]))
            != 0)
        {
            json_decref(list);
            return NULL;
        }
    }

    return json_pack("{s:o}", "enum", list);
}


static json_t *
ngx_http_intent_api_schema_expires_at(void)
{
    return json_pack("{s:s, s:[{s:s, s:i, s:I}, {s:s, s:s, s:s}]}",
              "description", "in the future",
              "anyOf",
                  "type", "integer",
                  "minimum", 0,
                  "maximum", (json_int_t) NGX_HTTP_INTENT_API_MAX_SECONDS,

                  "type", "string",
                  "format", "date-time",
                  "pattern", ngx_http_intent_api_time_pattern);
}


/* below 2^256, digit by digit: fewer of them, or a smaller one before */

static json_t *
ngx_http_intent_api_schema_nonce(void)
{
    char        max[EVM_U256_DEC_LEN], *p;
    char        pattern[sizeof("^([0-9]{0,77}|)$") + EVM_U256_DEC_LEN
                        * (EVM_U256_DEC_LEN + sizeof("[0-9][0-9]{00}|"))];
    size_t      i, n;
    evm_u256_t  last;

    ngx_memset(&last, 0xff, sizeof(evm_u256_t));
    n = evm_u256_to_dec(&last, max);

    p = (char *) ngx_sprintf((u_char *) pattern, "^(0|[1-9][0-9]{0,%uz}",
                             n - 2);

    for (i = 0; i < n; i++) {

        if (max[i] == '0' || (i == 0 && max[i] == '1')) {
            continue;
        }

        *p++ = '|';
        p = (char *) ngx_cpymem(p, max, i);
        p = (char *) ngx_sprintf((u_char *) p, "[%c-%c][0-9]{%uz}",
                                 (i == 0) ? '1' : '0', max[i] - 1, n - i - 1);
    }

    *p++ = '|';
    p = (char *) ngx_cpymem(p, max, n);
    ngx_sprintf((u_char *) p, ")$%Z");

    return json_pack("{s:s, s:[{s:s, s:i, s:I}, {s:s, s:s}]}",
              "default", "0",
              "anyOf",
                  "type", "integer",
                  "minimum", 0,
                  "maximum", (json_int_t) NGX_HTTP_INTENT_API_MAX_EXACT,

                  "type", "string",
                  "pattern", pattern);
}


/* what a signature asks of the other members */

static json_t *
ngx_http_intent_api_schema_signed(void)
{
    return json_pack("{s:{s:{s:{s:s, s:s}, s:{s:[{s:s}, {s:s, s:s}]}}}}",
              "signature",
                  "properties",
                      "userId",
                          "type", "string",
                          "pattern", "^0x[0-9a-fA-F]{40}$",
                      "expiresAt",
                          "anyOf",
                              "type", "integer",

                              "type", "string",
                              "pattern", "^[^.]*(\\.0+[^.0-9][^.]*)?$");
}


/* ---- what is signed ---- */


static json_t *
ngx_http_intent_api_eip712(ngx_http_intent_type_t *type, ngx_str_t *chain)
{
    json_t                    *types;
    ngx_str_t                 *name;
    ngx_http_intent_domain_t  *domain;

    name = ngx_http_intent_type_struct(type);
    domain = ngx_http_intent_chain_domain(chain);

    types = json_pack("{s:o, s%:o}",
              "EIP712Domain", ngx_http_intent_api_domain_fields(domain),
              name->data, name->len,
                              ngx_http_intent_type_struct_fields(type));

    return json_pack("{s:o, s:o, s:o, s:o}",
              "primaryType", ngx_http_intent_api_json_str(name),
              "types", types,
              "domain", ngx_http_intent_api_domain(domain),
              "domains", ngx_http_intent_api_domains());
}


static json_t *
ngx_http_intent_api_domain_fields(ngx_http_intent_domain_t *domain)
{
    json_t  *fields;

    fields = json_pack("[{s:s, s:s}, {s:s, s:s}, {s:s, s:s}]",
              "name", "name", "type", "string",
              "name", "version", "type", "string",
              "name", "chainId", "type", "uint256");

    if (fields && domain->has_contract
        && json_array_append_new(fields, json_pack("{s:s, s:s}",
                                                "name", "verifyingContract",
                                                "type", "address"))
           != 0)
    {
        json_decref(fields);
        return NULL;
    }

    return fields;
}


static json_t *
ngx_http_intent_api_domain(ngx_http_intent_domain_t *domain)
{
    char     address[EVM_ADDRESS_STR_LEN];
    json_t  *json;

    json = json_pack("{s:o, s:o, s:I}",
              "name", ngx_http_intent_api_json_str(&domain->name),
              "version", ngx_http_intent_api_json_str(&domain->version),
              "chainId", (json_int_t) domain->chain_id);

    if (json == NULL || !domain->has_contract) {
        return json;
    }

    evm_address_format(domain->verifying_contract, address);

    if (json_object_set_new(json, "verifyingContract",
                            json_stringn(address, EVM_ADDRESS_STR_LEN))
        != 0)
    {
        json_decref(json);
        return NULL;
    }

    return json;
}


static json_t *
ngx_http_intent_api_domains(void)
{
    json_t       *json, *one;
    ngx_str_t    *name, *chain;
    ngx_uint_t    i;
    ngx_array_t  *names;

    json = json_object();

    names = ngx_http_intent_api_chains();
    name = names->elts;

    for (i = 0; i < names->nelts; i++) {
        chain = ngx_http_intent_chain_find(&name[i]);

        if (chain == NULL) {
            continue;
        }

        one = ngx_http_intent_api_domain(ngx_http_intent_chain_domain(chain));

        /* names of the configuration end with a zero */

        if (json_object_set_new(json, (char *) name[i].data, one) != 0) {
            json_decref(json);
            return NULL;
        }
    }

    return json;
}


static json_t *
ngx_http_intent_api_json_str(ngx_str_t *s)
{
    return json_stringn((char *) s->data, s->len);
}


/* ---- the answer ---- */


/* If-None-Match is nginx's own to compare, and a weak ETag gzip's to make */

static ngx_int_t
ngx_http_intent_api_types_send(ngx_http_request_t *r,
    ngx_http_intent_api_types_t *types)
{
    ngx_table_elt_t  *etag;

    etag = ngx_list_push(&r->headers_out.headers);
    if (etag == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    etag->hash = 1;
#if (nginx_version >= 1023000)
    etag->next = NULL;
#endif
    ngx_str_set(&etag->key, "ETag");
    etag->value = types->etag;

    r->headers_out.etag = etag;

    return ngx_http_intent_api_send_current(r, &types->json);
}
