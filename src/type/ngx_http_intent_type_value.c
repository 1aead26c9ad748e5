
/*
 * The types of params, one row each: how a JSON value is read, what is kept
 * of it, and which ABI types take it.
 */


#include "ngx_http_intent_type_conf.h"


#define NGX_HTTP_INTENT_ABI(type)  (1 << (type))

/* 10^77 is the last power of ten below 2^256 */
#define NGX_HTTP_INTENT_MAX_PLACES  77


static const char *ngx_http_intent_value_decimal_setup(ngx_conf_t *cf,
    ngx_http_intent_param_t *param, ngx_str_t *argument);
static const char *ngx_http_intent_value_bytes32_setup(ngx_conf_t *cf,
    ngx_http_intent_param_t *param, ngx_str_t *argument);
static const char *ngx_http_intent_value_enum_setup(ngx_conf_t *cf,
    ngx_http_intent_param_t *param, ngx_str_t *argument);

static ngx_int_t ngx_http_intent_value_address(ngx_http_intent_param_t *param,
    json_t *json, ngx_pool_t *pool, ngx_http_intent_value_t *value,
    const char **why);
static ngx_int_t ngx_http_intent_value_uint256(ngx_http_intent_param_t *param,
    json_t *json, ngx_pool_t *pool, ngx_http_intent_value_t *value,
    const char **why);
static ngx_int_t ngx_http_intent_value_int256(ngx_http_intent_param_t *param,
    json_t *json, ngx_pool_t *pool, ngx_http_intent_value_t *value,
    const char **why);
static ngx_int_t ngx_http_intent_value_decimal(ngx_http_intent_param_t *param,
    json_t *json, ngx_pool_t *pool, ngx_http_intent_value_t *value,
    const char **why);
static ngx_int_t ngx_http_intent_value_bytes(ngx_http_intent_param_t *param,
    json_t *json, ngx_pool_t *pool, ngx_http_intent_value_t *value,
    const char **why);
static ngx_int_t ngx_http_intent_value_bytes32(ngx_http_intent_param_t *param,
    json_t *json, ngx_pool_t *pool, ngx_http_intent_value_t *value,
    const char **why);
static ngx_int_t ngx_http_intent_value_bool(ngx_http_intent_param_t *param,
    json_t *json, ngx_pool_t *pool, ngx_http_intent_value_t *value,
    const char **why);
static ngx_int_t ngx_http_intent_value_string(ngx_http_intent_param_t *param,
    json_t *json, ngx_pool_t *pool, ngx_http_intent_value_t *value,
    const char **why);
static ngx_int_t ngx_http_intent_value_enum(ngx_http_intent_param_t *param,
    json_t *json, ngx_pool_t *pool, ngx_http_intent_value_t *value,
    const char **why);

static ngx_int_t ngx_http_intent_value_digits(ngx_http_intent_param_t *param,
    json_t *json, ngx_pool_t *pool, ngx_http_intent_value_t *value,
    const char **why);
static ngx_int_t ngx_http_intent_value_inexact(
    ngx_http_intent_param_t *param, ngx_pool_t *pool, const char **why);
static ngx_int_t ngx_http_intent_value_scale(ngx_str_t *text,
    ngx_uint_t places, evm_u256_t *number);


static ngx_http_intent_value_type_t  ngx_http_intent_value_types[] = {

    { ngx_string("address"),
      0,
      NGX_HTTP_INTENT_ABI(EVM_ABI_ADDRESS),
      ngx_string("address"),
      "must be an address, a string of 0x and 40 hex digits",
      NULL,
      ngx_http_intent_value_address },

    { ngx_string("uint256"),
      NGX_HTTP_INTENT_VALUE_NUMBER,
      NGX_HTTP_INTENT_ABI(EVM_ABI_UINT),
      ngx_string("uint256"),
      "must be a whole number, in a string of decimal digits",
      NULL,
      ngx_http_intent_value_uint256 },

    { ngx_string("int256"),
      NGX_HTTP_INTENT_VALUE_NUMBER,
      NGX_HTTP_INTENT_ABI(EVM_ABI_INT),
      ngx_string("int256"),
      "must be a whole number, in a string of decimal digits",
      NULL,
      ngx_http_intent_value_int256 },

    { ngx_string("decimal"),
      NGX_HTTP_INTENT_VALUE_NUMBER,
      NGX_HTTP_INTENT_ABI(EVM_ABI_UINT)|NGX_HTTP_INTENT_ABI(EVM_ABI_INT),
      ngx_string("uint256"),
      NULL,
      ngx_http_intent_value_decimal_setup,
      ngx_http_intent_value_decimal },

    { ngx_string("bytes"),
      NGX_HTTP_INTENT_VALUE_LENGTH,
      NGX_HTTP_INTENT_ABI(EVM_ABI_BYTES)
      |NGX_HTTP_INTENT_ABI(EVM_ABI_FIXED_BYTES),
      ngx_string("bytes"),
      "must be a string of 0x and an even number of hex digits",
      NULL,
      ngx_http_intent_value_bytes },

    { ngx_string("bytes32"),
      0,
      NGX_HTTP_INTENT_ABI(EVM_ABI_FIXED_BYTES),
      ngx_string("bytes32"),
      "must be a string of 0x and 64 hex digits",
      ngx_http_intent_value_bytes32_setup,
      ngx_http_intent_value_bytes32 },

    { ngx_string("bool"),
      NGX_HTTP_INTENT_VALUE_BARE,
      NGX_HTTP_INTENT_ABI(EVM_ABI_BOOL),
      ngx_string("bool"),
      "must be true or false",
      NULL,
      ngx_http_intent_value_bool },

    { ngx_string("string"),
      NGX_HTTP_INTENT_VALUE_LENGTH,
      NGX_HTTP_INTENT_ABI(EVM_ABI_STRING),
      ngx_string("string"),
      "must be a string",
      NULL,
      ngx_http_intent_value_string },

    /* as a Solidity enum, by its index, or as its word */

    { ngx_string("enum"),
      0,
      NGX_HTTP_INTENT_ABI(EVM_ABI_UINT)|NGX_HTTP_INTENT_ABI(EVM_ABI_STRING),
      ngx_string("string"),
      NULL,
      ngx_http_intent_value_enum_setup,
      ngx_http_intent_value_enum },

    { ngx_null_string, 0, 0, ngx_null_string, NULL, NULL, NULL }
};


/* by evm_abi_type_e */

static ngx_str_t  ngx_http_intent_value_abi_names[] = {
    ngx_string("uint256"),
    ngx_string("int256"),
    ngx_string("address"),
    ngx_string("bool"),
    ngx_string("bytes"),
    ngx_string("bytes"),
    ngx_string("string")
};


ngx_http_intent_value_type_t *
ngx_http_intent_value_type(ngx_str_t *name)
{
    ngx_http_intent_value_type_t  *type;

    for (type = ngx_http_intent_value_types; type->name.len; type++) {
        if (type->name.len == name->len
            && ngx_strncmp(type->name.data, name->data, name->len) == 0)
        {
            return type;
        }
    }

    return NULL;
}


ngx_http_intent_value_type_t *
ngx_http_intent_value_type_abi(evm_abi_type_t *abi)
{
    return ngx_http_intent_value_type(
                                  &ngx_http_intent_value_abi_names[abi->type]);
}


ngx_int_t
ngx_http_intent_value_literal(ngx_http_intent_param_t *param, ngx_str_t *text,
    ngx_pool_t *pool, ngx_http_intent_value_t *value, const char **why)
{
    json_t     *json;
    ngx_int_t   rc;

    *why = "must be valid UTF-8";

    if (param->type->flags & NGX_HTTP_INTENT_VALUE_BARE) {

        if (text->len == 4 && ngx_strncmp(text->data, "true", 4) == 0) {
            json = json_true();

        } else if (text->len == 5 && ngx_strncmp(text->data, "false", 5) == 0)
        {
            json = json_false();

        } else {
            json = json_null();
        }

    } else {
        json = json_stringn((char *) text->data, text->len);
        if (json == NULL) {
            return NGX_DECLINED;
        }
    }

    rc = param->type->parse(param, json, pool, value, why);

    if (rc == NGX_OK && value->data.data
        && value->data.data == (u_char *) json_string_value(json))
    {
        /* text outlives the JSON */
        value->data = *text;
        value->text = *text;
    }

    json_decref(json);

    return rc;
}


ngx_int_t
ngx_http_intent_value_cmp(ngx_http_intent_value_t *a,
    ngx_http_intent_value_t *b)
{
    if (a->negative != b->negative) {
        return a->negative ? -1 : 1;
    }

    return evm_u256_cmp(&a->number, &b->number);
}


ngx_int_t
ngx_http_intent_value_abi(ngx_http_intent_value_t *value, evm_abi_type_t *abi,
    evm_abi_value_t *out)
{
    u_char      sign;
    ngx_uint_t  i, high;

    switch (abi->type) {

    case EVM_ABI_UINT:
    case EVM_ABI_INT:
        evm_u256_to_be(&value->number, out->word);

        /* what stands above the type's bits is the sign and nothing else */

        high = 32 - abi->size / 8;
        sign = value->negative ? 0xff : 0;

        for (i = 0; i < high; i++) {
            if (out->word[i] != sign) {
                return NGX_DECLINED;
            }
        }

        if (abi->type == EVM_ABI_UINT) {
            return value->negative ? NGX_DECLINED : NGX_OK;
        }

        return ((out->word[high] ^ sign) & 0x80) ? NGX_DECLINED : NGX_OK;

    case EVM_ABI_BOOL:
        evm_u256_to_be(&value->number, out->word);
        return NGX_OK;

    case EVM_ABI_ADDRESS:
        ngx_memzero(out->word, 32 - EVM_ADDRESS_LEN);
        ngx_memcpy(out->word + 32 - EVM_ADDRESS_LEN, value->data.data,
                   EVM_ADDRESS_LEN);
        return NGX_OK;

    case EVM_ABI_FIXED_BYTES:

        if (value->data.len != abi->size) {
            return NGX_DECLINED;
        }

        ngx_memzero(out->word, 32);
        ngx_memcpy(out->word, value->data.data, abi->size);
        return NGX_OK;

    default: /* EVM_ABI_BYTES, EVM_ABI_STRING */
        out->data = value->data.data;
        out->len = value->data.len;
        return NGX_OK;
    }
}


static const char *
ngx_http_intent_value_decimal_setup(ngx_conf_t *cf,
    ngx_http_intent_param_t *param, ngx_str_t *argument)
{
    u_char     *p;
    ngx_int_t   n;

    n = ngx_atoi(argument->data, argument->len);

    if (n < 1 || n > NGX_HTTP_INTENT_MAX_PLACES) {
        return "it should be decimal=N, with 1 to 77 places, like decimal=18";
    }

    param->places = n;

    p = ngx_pnalloc(cf->pool, 128);
    if (p == NULL) {
        return "no memory";
    }

    ngx_sprintf(p, "must be a number like \"1.5\" with at most %i places, "
                "in a string of decimal digits%Z", n);
    param->expects = (const char *) p;

    return NULL;
}


static const char *
ngx_http_intent_value_bytes32_setup(ngx_conf_t *cf,
    ngx_http_intent_param_t *param, ngx_str_t *argument)
{
    if (argument) {
        return "it should be bytes32 alone";
    }

    /* as "bytes length=32" has them */

    param->min_length = 32;
    param->max_length = 32;

    return NULL;
}


static const char *
ngx_http_intent_value_enum_setup(ngx_conf_t *cf,
    ngx_http_intent_param_t *param, ngx_str_t *argument)
{
    u_char     *p, *end, *last;
    ngx_str_t  *word, *first, list;

    param->words = ngx_array_create(cf->pool, 4, sizeof(ngx_str_t));
    if (param->words == NULL) {
        return "no memory";
    }

    last = argument->data + argument->len;

    for (p = argument->data; p <= last; p = end + 1) {
        end = ngx_strlchr(p, last, '|');
        if (end == NULL) {
            end = last;
        }

        /* a Solidity enum has no more either */

        if (end == p || param->words->nelts == 256) {
            return "it should be enum=a|b|c, with 1 to 256 words";
        }

        word = ngx_array_push(param->words);
        if (word == NULL) {
            return "no memory";
        }

        word->data = p;
        word->len = end - p;

        if (!ngx_http_intent_type_is_utf8(word)) {
            return "its words should be valid UTF-8";
        }

        first = param->words->elts;

        while (first->len != word->len
               || ngx_memcmp(first->data, word->data, word->len) != 0)
        {
            first++;
        }

        if (first != word) {
            return "it should have each of its words once";
        }
    }

    list = ngx_http_intent_type_list(cf->pool, param->words,
                                     "must be one of ");
    if (list.data == NULL) {
        return "no memory";
    }

    param->expects = (const char *) list.data;

    return NULL;
}


static ngx_int_t
ngx_http_intent_value_address(ngx_http_intent_param_t *param, json_t *json,
    ngx_pool_t *pool, ngx_http_intent_value_t *value, const char **why)
{
    u_char  *address;

    *why = param->expects;

    if (!json_is_string(json)) {
        return NGX_DECLINED;
    }

    address = value->buffer + EVM_ADDRESS_STR_LEN;

    switch (evm_address_parse(json_string_value(json),
                              json_string_length(json), address))
    {

    case EVM_OK:
        break;

    case EVM_CHECKSUM:
        *why = "is in mixed case and does not match its EIP-55 checksum";
        return NGX_DECLINED;

    default:
        return NGX_DECLINED;
    }

    evm_address_format(address, (char *) value->buffer);

    value->text.data = value->buffer;
    value->text.len = EVM_ADDRESS_STR_LEN;
    value->data.data = address;
    value->data.len = EVM_ADDRESS_LEN;

    return NGX_OK;
}


/*
 * The text of a number, from a string or from an integer that no reader of
 * JSON on the way can have rounded.
 */

static ngx_int_t
ngx_http_intent_value_digits(ngx_http_intent_param_t *param, json_t *json,
    ngx_pool_t *pool, ngx_http_intent_value_t *value, const char **why)
{
    json_int_t  n;

    *why = param->expects;

    value->negative = 0;

    if (json_is_string(json)) {
        value->text.data = (u_char *) json_string_value(json);
        value->text.len = json_string_length(json);

    } else if (json_is_integer(json)) {
        n = json_integer_value(json);

        if (n > NGX_HTTP_INTENT_MAX_EXACT || n < -NGX_HTTP_INTENT_MAX_EXACT) {
            *why = "must be in a string, for a JSON number of this size "
                   "is not exact everywhere";
            return NGX_DECLINED;
        }

        value->text.data = value->buffer;
        value->text.len = ngx_sprintf(value->buffer, "%L", (int64_t) n)
                          - value->buffer;

    } else {

        return json_is_real(json)
               ? ngx_http_intent_value_inexact(param, pool, why)
               : NGX_DECLINED;
    }

    return value->text.len ? NGX_OK : NGX_DECLINED;
}


/* 5.0 and 1e3 may be whole numbers, but were doubles when they got here */

static ngx_int_t
ngx_http_intent_value_inexact(ngx_http_intent_param_t *param, ngx_pool_t *pool,
    const char **why)
{
    u_char             *p;
    static const char   because[] = ", for a JSON number with a fraction or "
                                    "an exponent is not exact everywhere";

    p = ngx_pnalloc(pool, ngx_strlen(param->expects) + sizeof(because));
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(p, "%s%s%Z", param->expects, because);
    *why = (const char *) p;

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_intent_value_uint256(ngx_http_intent_param_t *param, json_t *json,
    ngx_pool_t *pool, ngx_http_intent_value_t *value, const char **why)
{
    ngx_int_t  rc;

    rc = ngx_http_intent_value_digits(param, json, pool, value, why);
    if (rc != NGX_OK) {
        return rc;
    }

    switch (evm_u256_from_dec(&value->number, (char *) value->text.data,
                              value->text.len))
    {

    case EVM_OK:
        break;

    case EVM_RANGE:
        *why = "must be below 2^256";
        return NGX_DECLINED;

    default:

        if (value->text.data[0] == '-') {
            *why = NGX_HTTP_INTENT_VALUE_NEGATIVE;
        }

        return NGX_DECLINED;
    }

    /* the number has its only form, at most EVM_U256_DEC_LEN digits */

    if (value->text.data != value->buffer) {
        ngx_memcpy(value->buffer, value->text.data, value->text.len);
        value->text.data = value->buffer;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_value_int256(ngx_http_intent_param_t *param, json_t *json,
    ngx_pool_t *pool, ngx_http_intent_value_t *value, const char **why)
{
    ngx_int_t    rc;
    ngx_str_t    digits;
    ngx_uint_t   negative;
    evm_u256_t   limit;

    rc = ngx_http_intent_value_digits(param, json, pool, value, why);
    if (rc != NGX_OK) {
        return rc;
    }

    digits = value->text;
    negative = (digits.data[0] == '-');

    digits.data += negative;
    digits.len -= negative;

    rc = evm_u256_from_dec(&value->number, (char *) digits.data, digits.len);

    if (rc == EVM_ERROR || (negative && digits.data[0] == '0')) {
        return NGX_DECLINED;
    }

    /* 2^255, or 2^255 - 1 */

    evm_u256_set(&limit, 0);
    limit.w[3] = 1ULL << 63;

    if (rc != EVM_OK
        || evm_u256_cmp(&value->number, &limit) >= (negative ? 1 : 0))
    {
        *why = "must be from -2^255 to 2^255 - 1";
        return NGX_DECLINED;
    }

    if (negative) {
        ngx_http_intent_value_negate(&value->number);
    }

    if (value->text.data != value->buffer) {
        ngx_memcpy(value->buffer, value->text.data, value->text.len);
        value->text.data = value->buffer;
    }

    value->negative = negative;

    return NGX_OK;
}


void
ngx_http_intent_value_negate(evm_u256_t *number)
{
    ngx_uint_t  i, carry;

    carry = 1;

    for (i = 0; i < 4; i++) {
        number->w[i] = ~number->w[i] + carry;
        carry = (carry && number->w[i] == 0);
    }
}


static ngx_int_t
ngx_http_intent_value_decimal(ngx_http_intent_param_t *param, json_t *json,
    ngx_pool_t *pool, ngx_http_intent_value_t *value, const char **why)
{
    u_char     *point;
    ngx_int_t   rc;
    ngx_str_t   text;

    rc = ngx_http_intent_value_digits(param, json, pool, value, why);
    if (rc != NGX_OK) {
        return rc;
    }

    text = value->text;

    switch (ngx_http_intent_value_scale(&text, param->places, &value->number))
    {

    case NGX_OK:
        break;

    case NGX_DECLINED:
        *why = "must be below 2^256 when it is scaled";
        return NGX_DECLINED;

    default:

        if (text.data[0] == '-') {
            *why = NGX_HTTP_INTENT_VALUE_NEGATIVE;
        }

        return NGX_DECLINED;
    }

    point = ngx_strlchr(text.data, text.data + text.len, '.');

    if (point) {
        while (text.data[text.len - 1] == '0') {
            text.len--;
        }

        if (text.data[text.len - 1] == '.') {
            text.len--;
        }
    }

    /* at most EVM_U256_DEC_LEN digits, a zero before the point, the point */

    if (text.data != value->buffer) {
        ngx_memcpy(value->buffer, text.data, text.len);
    }

    value->text.data = value->buffer;
    value->text.len = text.len;

    return NGX_OK;
}


/*
 * "1.5" with 3 places into 1500.  NGX_DECLINED: above 256 bits; NGX_ERROR:
 * not such a number.
 */

static ngx_int_t
ngx_http_intent_value_scale(ngx_str_t *text, ngx_uint_t places,
    evm_u256_t *number)
{
    int          rc;
    u_char      *p, *point, *last, digits[EVM_U256_DEC_LEN + 1];
    size_t       whole, fraction;
    evm_u256_t   zero;

    last = text->data + text->len;
    point = ngx_strlchr(text->data, last, '.');

    whole = (point ? point : last) - text->data;
    fraction = point ? last - point - 1 : 0;

    if (fraction > places || (point && fraction == 0)) {
        return NGX_ERROR;
    }

    /* says whether the part before the point is well formed */

    rc = evm_u256_from_dec(&zero, (char *) text->data, whole);

    if (rc == EVM_ERROR) {
        return NGX_ERROR;
    }

    for (p = last - fraction; p < last; p++) {
        if (*p < '0' || *p > '9') {
            return NGX_ERROR;
        }
    }

    if (rc != EVM_OK) {
        return NGX_DECLINED;
    }

    if (evm_u256_is_zero(&zero)) {
        whole = 0;
    }

    if (whole + places > EVM_U256_DEC_LEN) {
        return NGX_DECLINED;
    }

    p = ngx_cpymem(digits, text->data, whole);
    p = ngx_cpymem(p, last - fraction, fraction);
    ngx_memset(p, '0', places - fraction);

    /* there is only one form without zeros before it */

    p = digits;
    last = digits + whole + places;

    while (p < last - 1 && *p == '0') {
        p++;
    }

    return (evm_u256_from_dec(number, (char *) p, last - p) == EVM_OK)
           ? NGX_OK : NGX_DECLINED;
}


static ngx_int_t
ngx_http_intent_value_bytes(ngx_http_intent_param_t *param, json_t *json,
    ngx_pool_t *pool, ngx_http_intent_value_t *value, const char **why)
{
    size_t  len;

    *why = param->expects;

    if (!json_is_string(json)) {
        return NGX_DECLINED;
    }

    /* the bytes and then their text, in half a string and a string */

    len = json_string_length(json);

    value->data.len = len / 2;
    value->data.data = ngx_pnalloc(pool, len / 2 + len + 2);
    if (value->data.data == NULL) {
        return NGX_ERROR;
    }

    if (evm_hex_decode(json_string_value(json), len, value->data.data,
                       &value->data.len)
        != EVM_OK)
    {
        return NGX_DECLINED;
    }

    value->text.data = value->data.data + len / 2;
    value->text.len = evm_hex_encode(value->data.data, value->data.len,
                                     (char *) value->text.data);

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_value_bytes32(ngx_http_intent_param_t *param, json_t *json,
    ngx_pool_t *pool, ngx_http_intent_value_t *value, const char **why)
{
    *why = param->expects;

    if (json_is_string(json) && json_string_length(json) == EVM_HASH_STR_LEN) {
        return ngx_http_intent_value_bytes(param, json, pool, value, why);
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_intent_value_bool(ngx_http_intent_param_t *param, json_t *json,
    ngx_pool_t *pool, ngx_http_intent_value_t *value, const char **why)
{
    *why = param->expects;

    if (!json_is_boolean(json)) {
        return NGX_DECLINED;
    }

    evm_u256_set(&value->number, json_is_true(json));

    if (json_is_true(json)) {
        ngx_str_set(&value->text, "true");

    } else {
        ngx_str_set(&value->text, "false");
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_value_string(ngx_http_intent_param_t *param, json_t *json,
    ngx_pool_t *pool, ngx_http_intent_value_t *value, const char **why)
{
    *why = param->expects;

    if (!json_is_string(json)) {
        return NGX_DECLINED;
    }

    value->data.data = (u_char *) json_string_value(json);
    value->data.len = json_string_length(json);
    value->text = value->data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_value_enum(ngx_http_intent_param_t *param, json_t *json,
    ngx_pool_t *pool, ngx_http_intent_value_t *value, const char **why)
{
    size_t       len;
    ngx_str_t   *word;
    ngx_uint_t   i;
    const char  *text;

    *why = param->expects;

    if (!json_is_string(json)) {
        return NGX_DECLINED;
    }

    text = json_string_value(json);
    len = json_string_length(json);
    word = param->words->elts;

    for (i = 0; i < param->words->nelts; i++) {
        if (word[i].len == len && ngx_memcmp(word[i].data, text, len) == 0) {
            evm_u256_set(&value->number, i);
            value->data = word[i];
            value->text = word[i];
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}
