
/*
 * The JSON Schema of a type's params (2020-12).  What the check in
 * ngx_http_intent_type_check.c takes, this takes, and nothing else:
 * t/22-agreement.t compares their verdicts.
 */


#include "ngx_http_intent_type_conf.h"


/* what a call asks, given that it is the one; an empty object: nothing */
typedef json_t *(*ngx_http_intent_schema_asks_pt)(ngx_http_intent_type_t *type,
    ngx_http_intent_type_call_t *call);


#define NGX_HTTP_INTENT_SCHEMA_ADDRESS  "^0x[0-9a-fA-F]{40}$"
#define NGX_HTTP_INTENT_SCHEMA_BYTES    "^0x(?:[0-9a-fA-F]{2})*$"
#define NGX_HTTP_INTENT_SCHEMA_BYTES32  "^0x[0-9a-fA-F]{64}$"


static json_t *ngx_http_intent_schema_param(ngx_http_intent_param_t *param);
static json_t *ngx_http_intent_schema_value(ngx_http_intent_param_t *param);
static json_t *ngx_http_intent_schema_number(ngx_http_intent_range_t *range,
    ngx_uint_t places);
static json_t *ngx_http_intent_schema_text(ngx_http_intent_param_t *param,
    const char *pattern, size_t before, size_t each);
static json_t *ngx_http_intent_schema_enum(ngx_http_intent_param_t *param);
static ngx_int_t ngx_http_intent_schema_annotate(
    ngx_http_intent_param_t *param, json_t *schema);
static json_t *ngx_http_intent_schema_description(
    ngx_http_intent_param_t *param);
static ngx_int_t ngx_http_intent_schema_calls(ngx_http_intent_type_t *type,
    json_t *schema, const char *member, ngx_http_intent_schema_asks_pt asks);
static json_t *ngx_http_intent_schema_call(ngx_http_intent_type_t *type,
    ngx_uint_t i, const char *member, ngx_http_intent_schema_asks_pt asks);
static ngx_uint_t ngx_http_intent_schema_is_empty(json_t *schema);
static json_t *ngx_http_intent_schema_guard(ngx_http_intent_type_t *type,
    ngx_http_intent_type_call_t *call);
static ngx_int_t ngx_http_intent_schema_holds(ngx_http_intent_param_t *param,
    ngx_uint_t when, json_t *properties, json_t *required);
static json_t *ngx_http_intent_schema_fits(ngx_http_intent_type_t *type,
    ngx_http_intent_type_call_t *call);
static ngx_int_t ngx_http_intent_schema_fits_param(
    ngx_http_intent_type_t *type, ngx_http_intent_type_call_t *call,
    ngx_uint_t n, json_t *properties, json_t *required);
static json_t *ngx_http_intent_schema_user_asks(ngx_http_intent_type_t *type,
    ngx_http_intent_type_call_t *call);
static json_t *ngx_http_intent_schema_others_ask(ngx_http_intent_type_t *type,
    ngx_http_intent_type_call_t *call);
static json_t *ngx_http_intent_schema_bound(ngx_http_intent_type_call_t *call,
    ngx_uint_t named);
static ngx_int_t ngx_http_intent_schema_operand(ngx_http_intent_operand_t *op,
    json_t *properties);
static json_t *ngx_http_intent_schema_object(json_t *properties,
    json_t *required);
static ngx_int_t ngx_http_intent_schema_set(json_t *object, ngx_str_t *name,
    json_t *value);
static ngx_int_t ngx_http_intent_schema_add(json_t *array, ngx_str_t *name);
static json_t *ngx_http_intent_schema_string(ngx_str_t *text);


json_t *
ngx_http_intent_type_schema(ngx_http_intent_type_t *type)
{
    json_t                   *schema, *properties, *required;
    ngx_int_t                 rc;
    ngx_uint_t                i;
    ngx_http_intent_param_t  *param;

    properties = json_object();
    required = json_array();
    rc = NGX_OK;

    param = type->params.elts;

    for (i = 0; i < type->params.nelts && rc == NGX_OK; i++) {
        rc = ngx_http_intent_schema_set(properties, &param[i].name,
                                     ngx_http_intent_schema_param(&param[i]));

        if (rc == NGX_OK && !param[i].optional) {
            rc = ngx_http_intent_schema_add(required, &param[i].name);
        }
    }

    schema = json_pack("{s:s, s:o, s:o, s:o, s:b}",
                       "type", "object",
                       "title", ngx_http_intent_schema_string(&type->title),
                       "properties", properties,
                       "required", required,
                       "additionalProperties", 0);

    if (rc != NGX_OK || schema == NULL
        || ngx_http_intent_schema_calls(type, schema, NULL,
                                        ngx_http_intent_schema_fits)
           != NGX_OK)
    {
        json_decref(schema);
        return NULL;
    }

    return schema;
}


ngx_int_t
ngx_http_intent_type_schema_body(ngx_http_intent_type_t *type,
    ngx_uint_t named, json_t *schema)
{
    if (!type->bound) {
        return NGX_OK;
    }

    return ngx_http_intent_schema_calls(type, schema, "params",
                                        named
                                        ? ngx_http_intent_schema_user_asks
                                        : ngx_http_intent_schema_others_ask);
}


static json_t *
ngx_http_intent_schema_param(ngx_http_intent_param_t *param)
{
    json_t  *schema;

    schema = ngx_http_intent_schema_value(param);

    if (!json_is_object(schema)) {
        return schema;
    }

    if (ngx_http_intent_schema_annotate(param, schema) != NGX_OK) {
        json_decref(schema);
        return NULL;
    }

    return schema;
}


static json_t *
ngx_http_intent_schema_value(ngx_http_intent_param_t *param)
{
    ngx_http_intent_range_t  range;

    if (param->type->flags & NGX_HTTP_INTENT_VALUE_MIN) {
        ngx_http_intent_range(param, &range);
        return ngx_http_intent_schema_number(&range, param->places);
    }

    if (param->type->flags & NGX_HTTP_INTENT_VALUE_BARE) {
        return json_pack("{s:s}", "type", "boolean");
    }

    if (param->words) {
        return ngx_http_intent_schema_enum(param);
    }

    switch (param->type->member.data[0]) {

    case 'a':
        return json_pack("{s:s, s:s, s:s}", "type", "string",
                         "pattern", NGX_HTTP_INTENT_SCHEMA_ADDRESS,
                         "format", "eip55");

    case 'b':

        if (!(param->type->flags & NGX_HTTP_INTENT_VALUE_LENGTH)) {
            return json_pack("{s:s, s:s}", "type", "string",
                             "pattern", NGX_HTTP_INTENT_SCHEMA_BYTES32);
        }

        return ngx_http_intent_schema_text(param,
                                           NGX_HTTP_INTENT_SCHEMA_BYTES, 2, 2);

    default: /* string */
        return ngx_http_intent_schema_text(param,
                                           NGX_HTTP_INTENT_TYPE_TEXT, 0, 1);
    }
}


static json_t *
ngx_http_intent_schema_number(ngx_http_intent_range_t *range,
    ngx_uint_t places)
{
    json_t  *schema;
    size_t   len;
    u_char   pattern[NGX_HTTP_INTENT_PATTERN_LEN];
    int64_t  low, high;

    if (ngx_http_intent_range_is_empty(range)) {
        return json_false();
    }

    len = ngx_http_intent_range_pattern(range, places, pattern);
    if (len == 0) {
        return NULL;
    }

    schema = json_pack("{s:[{s:s, s:s%}]}", "anyOf", "type", "string",
                       "pattern", pattern, len);

    if (schema
        && ngx_http_intent_range_exact(range, places, &low, &high)
        && json_array_append_new(json_object_get(schema, "anyOf"),
                                 json_pack("{s:s, s:I, s:I}",
                                           "type", "integer",
                                           "minimum", (json_int_t) low,
                                           "maximum", (json_int_t) high))
           != 0)
    {
        json_decref(schema);
        return NULL;
    }

    return schema;
}


/* length= in characters: those before, and as many for each of its units */

static json_t *
ngx_http_intent_schema_text(ngx_http_intent_param_t *param,
    const char *pattern, size_t before, size_t each)
{
    json_t  *schema;
    size_t   min, max;

    schema = json_pack("{s:s, s:s}", "type", "string", "pattern", pattern);

    if (schema == NULL || param->length_why == NULL) {
        return schema;
    }

    /* nobody has a string of the length that is out of all proportion */

    min = ngx_min(param->min_length, NGX_HTTP_INTENT_MAX_EXACT / 4);
    max = ngx_min(param->max_length, NGX_HTTP_INTENT_MAX_EXACT / 4);

    if (json_object_set_new(schema, "minLength",
                            json_integer(before + each * min))
        != 0
        || json_object_set_new(schema, "maxLength",
                               json_integer(before + each * max))
           != 0)
    {
        json_decref(schema);
        return NULL;
    }

    return schema;
}


static json_t *
ngx_http_intent_schema_enum(ngx_http_intent_param_t *param)
{
    json_t      *words;
    ngx_str_t   *word;
    ngx_uint_t   i;

    words = json_array();
    word = param->words->elts;

    for (i = 0; i < param->words->nelts; i++) {
        if (ngx_http_intent_schema_add(words, &word[i]) != NGX_OK) {
            json_decref(words);
            return NULL;
        }
    }

    return json_pack("{s:s, s:o}", "type", "string", "enum", words);
}


/* what judges nothing: words for people, and what programs calculate with */

static ngx_int_t
ngx_http_intent_schema_annotate(ngx_http_intent_param_t *param, json_t *schema)
{
    json_t  *preset;

    if (json_object_set_new(schema, "description",
                            ngx_http_intent_schema_description(param))
        != 0)
    {
        return NGX_ERROR;
    }

    if (param->places
        && json_object_set_new(schema, "decimals",
                               json_integer(param->places))
           != 0)
    {
        return NGX_ERROR;
    }

    if (param->preset == NULL) {
        return NGX_OK;
    }

    preset = (param->type->flags & NGX_HTTP_INTENT_VALUE_BARE)
             ? json_boolean(!evm_u256_is_zero(&param->preset->number))
             : ngx_http_intent_schema_string(&param->preset->text);

    return (json_object_set_new(schema, "default", preset) == 0) ? NGX_OK
                                                                 : NGX_ERROR;
}


/* the sentences of the faults, which a user would be told */

static json_t *
ngx_http_intent_schema_description(ngx_http_intent_param_t *param)
{
    return json_sprintf("%s%s%s%s%s%s%s%s%s",
                        param->expects,
                        param->positive ? "; " : "",
                        param->positive ? NGX_HTTP_INTENT_VALUE_NOT_POSITIVE
                                        : "",
                        param->min_why ? "; " : "",
                        param->min_why ? param->min_why : "",
                        param->max_why ? "; " : "",
                        param->max_why ? param->max_why : "",
                        param->length_why ? "; " : "",
                        param->length_why ? param->length_why : "");
}


/*
 * Adds to a schema what the calls ask of its object, or of the one whose
 * member has the params.
 */

static ngx_int_t
ngx_http_intent_schema_calls(ngx_http_intent_type_t *type, json_t *schema,
    const char *member, ngx_http_intent_schema_asks_pt asks)
{
    json_t  *calls;

    calls = ngx_http_intent_schema_call(type, 0, member, asks);

    if (calls == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_intent_schema_is_empty(calls)) {
        json_decref(calls);
        return NGX_OK;
    }

    return (json_object_set_new(schema, "allOf", json_pack("[o]", calls)) == 0)
           ? NGX_OK : NGX_ERROR;
}


/*
 * From the i-th call on: if its guards hold, this is what it asks, else it is
 * for the calls below it; with none left there is nothing that such an intent
 * would do.
 */

static json_t *
ngx_http_intent_schema_call(ngx_http_intent_type_t *type, ngx_uint_t i,
    const char *member, ngx_http_intent_schema_asks_pt asks)
{
    json_t                       *guard, *fits, *others;
    ngx_http_intent_type_call_t  *call;

    if (i == type->calls.nelts) {
        return member ? json_object() : json_false();
    }

    call = type->calls.elts;
    call += i;

    fits = asks(type, call);

    if (call->when == 0 && call->unless == 0) {
        return fits;
    }

    others = ngx_http_intent_schema_call(type, i + 1, member, asks);

    if (fits == NULL || others == NULL) {
        json_decref(fits);
        json_decref(others);
        return NULL;
    }

    /* what says nothing is left out */

    if (ngx_http_intent_schema_is_empty(fits)) {

        if (ngx_http_intent_schema_is_empty(others)) {
            json_decref(fits);
            return others;
        }

        json_decref(fits);
        fits = NULL;

    } else if (ngx_http_intent_schema_is_empty(others)) {
        json_decref(others);
        others = NULL;
    }

    guard = ngx_http_intent_schema_guard(type, call);

    if (member && guard) {
        (void) json_object_set_new(guard, "type", json_string("object"));
        guard = json_pack("{s:{s:o}}", "properties", member, guard);
    }

    return json_pack("{s:o, s:o*, s:o*}", "if", guard, "then", fits,
                     "else", others);
}


/* false is no object */

static ngx_uint_t
ngx_http_intent_schema_is_empty(json_t *schema)
{
    return json_is_object(schema) && json_object_size(schema) == 0;
}


static json_t *
ngx_http_intent_schema_guard(ngx_http_intent_type_t *type,
    ngx_http_intent_type_call_t *call)
{
    json_t                   *properties, *required;
    uint64_t                  bit;
    ngx_int_t                 rc;
    ngx_uint_t                i;
    ngx_http_intent_param_t  *param;

    properties = json_object();
    required = json_array();
    rc = NGX_OK;

    param = type->params.elts;

    for (i = 0; i < type->params.nelts && rc == NGX_OK; i++) {
        bit = (uint64_t) 1 << i;

        if ((call->when | call->unless) & bit) {
            rc = ngx_http_intent_schema_holds(&param[i],
                                              (call->when & bit) ? 1 : 0,
                                              properties, required);
        }
    }

    if (rc != NGX_OK) {
        json_decref(properties);
        json_decref(required);
        return NULL;
    }

    return ngx_http_intent_schema_object(properties, required);
}


/* as ngx_http_intent_type_choose() has it: a bool is there if it is true */

static ngx_int_t
ngx_http_intent_schema_holds(ngx_http_intent_param_t *param, ngx_uint_t when,
    json_t *properties, json_t *required)
{
    ngx_uint_t  absent;

    if (!(param->type->flags & NGX_HTTP_INTENT_VALUE_BARE)) {
        return when ? ngx_http_intent_schema_add(required, &param->name)
                    : ngx_http_intent_schema_set(properties, &param->name,
                                                 json_false());
    }

    absent = (param->preset && !evm_u256_is_zero(&param->preset->number));

    if (absent != when
        && ngx_http_intent_schema_add(required, &param->name) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_intent_schema_set(properties, &param->name,
                                      json_pack("{s:b}", "const", (int) when));
}


static json_t *
ngx_http_intent_schema_fits(ngx_http_intent_type_t *type,
    ngx_http_intent_type_call_t *call)
{
    json_t      *properties, *required;
    ngx_int_t    rc;
    ngx_uint_t   i;

    properties = json_object();
    required = json_array();
    rc = NGX_OK;

    if (call->function) {
        for (i = 0; i < type->params.nelts && rc == NGX_OK; i++) {
            rc = ngx_http_intent_schema_fits_param(type, call, i, properties,
                                                   required);
        }
    }

    if (rc != NGX_OK) {
        json_decref(properties);
        json_decref(required);
        return NULL;
    }

    return ngx_http_intent_schema_object(properties, required);
}


static ngx_int_t
ngx_http_intent_schema_fits_param(ngx_http_intent_type_t *type,
    ngx_http_intent_type_call_t *call, ngx_uint_t n, json_t *properties,
    json_t *required)
{
    ngx_uint_t                 i, narrowed;
    ngx_http_intent_param_t   *param;
    ngx_http_intent_range_t    range;

    param = type->params.elts;
    param += n;

    if (!(param->type->flags & NGX_HTTP_INTENT_VALUE_MIN)) {
        return NGX_OK;
    }

    narrowed = 0;
    ngx_http_intent_range(param, &range);

    for (i = 0; i < call->function->nargs; i++) {
        if (call->args[i].source == NGX_HTTP_INTENT_OPERAND_PARAM
            && call->args[i].param == n)
        {
            narrowed |= ngx_http_intent_range_narrow(&range,
                                                     &call->args[i].abi);
        }
    }

    if (!narrowed) {
        return NGX_OK;
    }

    /* a default that does not fit is as good as none */

    if (param->preset && !ngx_http_intent_range_has(&range, param->preset)
        && ngx_http_intent_schema_add(required, &param->name) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_intent_schema_set(properties, &param->name,
                                ngx_http_intent_schema_number(&range,
                                                              param->places));
}


/* where a body says who its user is, it has to; intent_user may say it */

static json_t *
ngx_http_intent_schema_user_asks(ngx_http_intent_type_t *type,
    ngx_http_intent_type_call_t *call)
{
    return ngx_http_intent_schema_bound(call, 1);
}


static json_t *
ngx_http_intent_schema_others_ask(ngx_http_intent_type_t *type,
    ngx_http_intent_type_call_t *call)
{
    return ngx_http_intent_schema_bound(call, 0);
}


/* as ngx_http_intent_type_bound() has it */

static json_t *
ngx_http_intent_schema_bound(ngx_http_intent_type_call_t *call,
    ngx_uint_t named)
{
    json_t      *schema, *properties, *required;
    ngx_int_t    rc;
    ngx_uint_t   i;

    properties = json_object();
    required = json_array();

    rc = ngx_http_intent_schema_operand(&call->to, properties);

    for (i = 0; call->function && i < call->function->nargs && rc == NGX_OK;
         i++)
    {
        rc = ngx_http_intent_schema_operand(&call->args[i], properties);
    }

    named &= (json_object_get(properties, "userId") != NULL);

    if (rc == NGX_OK && named
        && json_array_append_new(required, json_string("userId")) != 0)
    {
        rc = NGX_ERROR;
    }

    if (rc != NGX_OK) {
        json_decref(properties);
        json_decref(required);
        return NULL;
    }

    schema = ngx_http_intent_schema_object(properties, required);

    /* in which case it is written does not matter where somebody has signed */

    if (named
        && json_object_set_new(schema, "anyOf",
                               json_pack("[{s:[s]}, {s:{s:{s:s, s:s}}}]",
                                         "required", "signature",
                                         "properties", "userId",
                                         "type", "string", "format", "eip55"))
           != 0)
    {
        json_decref(schema);
        return NULL;
    }

    return schema;
}


/*
 * A member that two operands need has the narrower type.  Of a deadline it is
 * only the number that a schema can compare: a date as text depends on its
 * offset.
 */

static ngx_int_t
ngx_http_intent_schema_operand(ngx_http_intent_operand_t *op,
    json_t *properties)
{
    json_t                   *schema, *all;
    const char               *name;
    ngx_http_intent_range_t   range;

    switch (op->source) {

    case NGX_HTTP_INTENT_OPERAND_USER:

        if (op->abi.type != EVM_ABI_ADDRESS) {
            return NGX_OK;
        }

        name = "userId";
        schema = json_pack("{s:s, s:s}", "type", "string",
                           "pattern", NGX_HTTP_INTENT_SCHEMA_ADDRESS);
        break;

    case NGX_HTTP_INTENT_OPERAND_DEADLINE:

        /* all dates there are, up to the year 9999, fit 40 bits */

        if (op->abi.size >= 40) {
            return NGX_OK;
        }

        name = "expiresAt";
        schema = json_pack("{s:[{s:s, s:I}, {s:s}]}", "anyOf",
                           "type", "integer",
                           "maximum",
                           (json_int_t) ((1ULL << op->abi.size) - 1),

                           "type", "string");
        break;

    case NGX_HTTP_INTENT_OPERAND_NONCE:

        if (op->abi.size == 256) {
            return NGX_OK;
        }

        name = "nonce";
        ngx_http_intent_range_type(&range, &op->abi);
        schema = ngx_http_intent_schema_number(&range, 0);
        break;

    default:
        return NGX_OK;
    }

    all = json_object_get(properties, name);

    if (all == NULL) {
        return (json_object_set_new(properties, name, schema) == 0) ? NGX_OK
                                                                    : NGX_ERROR;
    }

    if (json_equal(all, schema)) {
        json_decref(schema);
        return NGX_OK;
    }

    return (json_object_set_new(properties, name,
                                json_pack("{s:[O, o]}", "allOf", all, schema))
            == 0)
           ? NGX_OK : NGX_ERROR;
}


/* takes both */

static json_t *
ngx_http_intent_schema_object(json_t *properties, json_t *required)
{
    json_t  *schema;

    schema = json_object();

    if (json_object_size(properties)) {
        (void) json_object_set(schema, "properties", properties);
    }

    if (json_array_size(required)) {
        (void) json_object_set(schema, "required", required);
    }

    json_decref(properties);
    json_decref(required);

    return schema;
}


static ngx_int_t
ngx_http_intent_schema_set(json_t *object, ngx_str_t *name, json_t *value)
{
    /* names stand in the configuration, a zero behind them */

    return (json_object_set_new(object, (char *) name->data, value) == 0)
           ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_intent_schema_add(json_t *array, ngx_str_t *name)
{
    return (json_array_append_new(array, ngx_http_intent_schema_string(name))
            == 0)
           ? NGX_OK : NGX_ERROR;
}


static json_t *
ngx_http_intent_schema_string(ngx_str_t *text)
{
    return json_stringn((char *) text->data, text->len);
}
