
/*
 * The directive "param", and what its words demand of a value.
 */


#include "ngx_http_intent_type_conf.h"


typedef struct ngx_http_intent_param_word_s  ngx_http_intent_param_word_t;

struct ngx_http_intent_param_word_s {
    ngx_str_t                      name;      /* with "=" where it has one */
    ngx_uint_t                     flag;      /* the row must have it */
    char                        *(*set)(ngx_conf_t *cf,
                                        ngx_http_intent_param_t *param,
                                        ngx_str_t *value);
};


static char *ngx_http_intent_param_name(ngx_conf_t *cf,
    ngx_http_intent_type_t *type, ngx_str_t *name);
static ngx_uint_t ngx_http_intent_param_is_one_of(ngx_str_t *name,
    ngx_str_t *names);
static char *ngx_http_intent_param_type(ngx_conf_t *cf,
    ngx_http_intent_param_t *param, ngx_str_t *value);
static char *ngx_http_intent_param_word(ngx_conf_t *cf,
    ngx_http_intent_param_t *param, ngx_str_t *value);
static char *ngx_http_intent_param_optional(ngx_conf_t *cf,
    ngx_http_intent_param_t *param, ngx_str_t *value);
static char *ngx_http_intent_param_default(ngx_conf_t *cf,
    ngx_http_intent_param_t *param, ngx_str_t *value);
static char *ngx_http_intent_param_positive(ngx_conf_t *cf,
    ngx_http_intent_param_t *param, ngx_str_t *value);
static char *ngx_http_intent_param_min(ngx_conf_t *cf,
    ngx_http_intent_param_t *param, ngx_str_t *value);
static char *ngx_http_intent_param_max(ngx_conf_t *cf,
    ngx_http_intent_param_t *param, ngx_str_t *value);
static char *ngx_http_intent_param_length(ngx_conf_t *cf,
    ngx_http_intent_param_t *param, ngx_str_t *value);
static ngx_http_intent_value_t *ngx_http_intent_param_literal(ngx_conf_t *cf,
    ngx_http_intent_param_t *param, ngx_str_t *value);
static const char *ngx_http_intent_param_sentence(ngx_conf_t *cf,
    const char *before, ngx_str_t *value);
static char *ngx_http_intent_param_agree(ngx_conf_t *cf,
    ngx_http_intent_param_t *param);
static const char *ngx_http_intent_param_constrain(
    ngx_http_intent_param_t *param, ngx_http_intent_value_t *value);


static ngx_http_intent_param_word_t  ngx_http_intent_param_words[] = {

    { ngx_string("optional"), 0, ngx_http_intent_param_optional },

    { ngx_string("default="), 0, ngx_http_intent_param_default },

    { ngx_string("positive"), NGX_HTTP_INTENT_VALUE_POSITIVE,
      ngx_http_intent_param_positive },

    { ngx_string("min="), NGX_HTTP_INTENT_VALUE_MIN,
      ngx_http_intent_param_min },

    { ngx_string("max="), NGX_HTTP_INTENT_VALUE_MAX,
      ngx_http_intent_param_max },

    { ngx_string("length="), NGX_HTTP_INTENT_VALUE_LENGTH,
      ngx_http_intent_param_length },

    { ngx_null_string, 0, NULL }
};


/*
 * What "$name" means already in a call; user, nonce and deadline are also
 * members of the struct that is signed.
 */

static ngx_str_t  ngx_http_intent_param_reserved[] = {
    ngx_string("user"),
    ngx_string("id"),
    ngx_string("deadline"),
    ngx_string("nonce"),
    ngx_string("signature"),
    ngx_null_string
};


/*
 * What every object of JavaScript has: clients there, and ajv, see a param of
 * such a name where there is none, or none where there is one.
 */

static ngx_str_t  ngx_http_intent_param_inherited[] = {
    ngx_string("__proto__"),
    ngx_string("constructor"),
    ngx_string("hasOwnProperty"),
    ngx_string("isPrototypeOf"),
    ngx_string("propertyIsEnumerable"),
    ngx_string("toLocaleString"),
    ngx_string("toString"),
    ngx_string("valueOf"),
    ngx_string("__defineGetter__"),
    ngx_string("__defineSetter__"),
    ngx_string("__lookupGetter__"),
    ngx_string("__lookupSetter__"),
    ngx_null_string
};


ngx_int_t
ngx_http_intent_param_find(ngx_http_intent_type_t *type, const u_char *name,
    size_t len)
{
    ngx_uint_t                i;
    ngx_http_intent_param_t  *params;

    params = type->params.elts;

    for (i = 0; i < type->params.nelts; i++) {
        if (params[i].name.len == len
            && ngx_memcmp(params[i].name.data, name, len) == 0)
        {
            return i;
        }
    }

    return NGX_ERROR;
}


ngx_int_t
ngx_http_intent_param_check(ngx_http_intent_param_t *param, json_t *json,
    ngx_pool_t *pool, ngx_http_intent_value_t *value, const char **why)
{
    ngx_int_t  rc;

    rc = param->type->parse(param, json, pool, value, why);

    /* of the two things that are wrong with -1, the one that helps more */

    if (rc == NGX_DECLINED
        && param->positive
        && ngx_strcmp(*why, NGX_HTTP_INTENT_VALUE_NEGATIVE) == 0)
    {
        *why = NGX_HTTP_INTENT_VALUE_NOT_POSITIVE;
    }

    if (rc != NGX_OK) {
        return rc;
    }

    *why = ngx_http_intent_param_constrain(param, value);

    return *why ? NGX_DECLINED : NGX_OK;
}


/* NULL, or what the value must be */

static const char *
ngx_http_intent_param_constrain(ngx_http_intent_param_t *param,
    ngx_http_intent_value_t *value)
{
    size_t  len;

    if (param->positive
        && (value->negative || evm_u256_is_zero(&value->number)))
    {
        return NGX_HTTP_INTENT_VALUE_NOT_POSITIVE;
    }

    if (param->min && ngx_http_intent_value_cmp(value, param->min) < 0) {
        return param->min_why;
    }

    if (param->max && ngx_http_intent_value_cmp(value, param->max) > 0) {
        return param->max_why;
    }

    if (param->length_why) {

        /* as JSON Schema counts: characters of a string, bytes of bytes */

        len = (value->text.data == value->data.data)
              ? ngx_utf8_length(value->data.data, value->data.len)
              : value->data.len;

        if (len < param->min_length || len > param->max_length) {
            return param->length_why;
        }
    }

    return NULL;
}


char *
ngx_http_intent_type_param(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_intent_type_main_conf_t  *tmcf = conf;

    char                     *rv;
    ngx_str_t                *value;
    ngx_uint_t                i;
    ngx_http_intent_type_t   *type;
    ngx_http_intent_param_t  *param;

    value = cf->args->elts;
    type = ngx_http_intent_type_current(tmcf);

    if (ngx_http_intent_param_name(cf, type, &value[1]) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    if (type->params.nelts == NGX_HTTP_INTENT_TYPE_MAX_PARAMS) {
        return "is one too many, an intent_type should have at most 64";
    }

    param = ngx_array_push(&type->params);
    if (param == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(param, sizeof(ngx_http_intent_param_t));
    param->name = value[1];

    rv = ngx_http_intent_param_type(cf, param, &value[2]);

    for (i = 3; rv == NGX_CONF_OK && i < cf->args->nelts; i++) {
        rv = ngx_http_intent_param_word(cf, param, &value[i]);
    }

    return (rv == NGX_CONF_OK) ? ngx_http_intent_param_agree(cf, param) : rv;
}


static char *
ngx_http_intent_param_name(ngx_conf_t *cf, ngx_http_intent_type_t *type,
    ngx_str_t *name)
{
    if (!ngx_http_intent_type_is_identifier(name)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid param name \"%V\", it should be up to "
                           "64 letters, digits and \"_\", no digit first",
                           name);
        return NGX_CONF_ERROR;
    }

    if (ngx_http_intent_param_is_one_of(name, ngx_http_intent_param_reserved))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "param cannot be called \"%V\", for \"$%V\" "
                           "in a call means something else", name, name);
        return NGX_CONF_ERROR;
    }

    if (ngx_http_intent_param_is_one_of(name,
                                        ngx_http_intent_param_inherited))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "param cannot be called \"%V\", for every object "
                           "of a client in JavaScript has something of "
                           "that name", name);
        return NGX_CONF_ERROR;
    }

    if (ngx_http_intent_param_find(type, name->data, name->len) != NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate param \"%V\" in intent_type \"%V\", "
                           "each needs a name of its own",
                           name, &type->name->name);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static ngx_uint_t
ngx_http_intent_param_is_one_of(ngx_str_t *name, ngx_str_t *names)
{
    for ( /* void */ ; names->len; names++) {
        if (names->len == name->len
            && ngx_strncmp(names->data, name->data, name->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


static char *
ngx_http_intent_param_type(ngx_conf_t *cf, ngx_http_intent_param_t *param,
    ngx_str_t *value)
{
    u_char      *p;
    ngx_str_t    name, argument;
    const char  *err;

    name = *value;
    p = ngx_strlchr(value->data, value->data + value->len, '=');

    if (p) {
        name.len = p - name.data;
        argument.data = p + 1;
        argument.len = value->len - name.len - 1;

        ngx_http_intent_type_unquote(&argument);
    }

    param->type = ngx_http_intent_value_type(&name);

    if (param->type == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "unknown type \"%V\" of param \"%V\", it should "
                           "be address, uint256, int256, decimal=N, bytes, "
                           "bytes32, bool, string or enum=a|b|c",
                           value, &param->name);
        return NGX_CONF_ERROR;
    }

    param->expects = param->type->expects;
    err = NULL;

    if (p == NULL) {
        ngx_str_null(&argument);
    }

    if (param->type->setup) {

        /* a row whose sentence is not fixed makes it from the argument */

        err = param->type->setup(cf, param,
                                 (p || param->expects == NULL) ? &argument
                                                               : NULL);

    } else if (p) {
        err = "it should have no \"=\"";
    }

    if (err) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid type \"%V\" of param \"%V\", %s",
                           value, &param->name, err);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_intent_param_word(ngx_conf_t *cf, ngx_http_intent_param_t *param,
    ngx_str_t *value)
{
    size_t                         len;
    ngx_str_t                      rest;
    ngx_http_intent_param_word_t  *word;

    for (word = ngx_http_intent_param_words; word->name.len; word++) {

        len = word->name.len;

        if (value->len < len
            || ngx_strncmp(value->data, word->name.data, len) != 0
            || (word->name.data[len - 1] != '=' && value->len != len))
        {
            continue;
        }

        if ((param->type->flags & word->flag) != word->flag) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" of param \"%V\" has no meaning "
                               "for type \"%V\", take it away", value,
                               &param->name, &param->type->name);
            return NGX_CONF_ERROR;
        }

        rest.data = value->data + len;
        rest.len = value->len - len;

        ngx_http_intent_type_unquote(&rest);

        return word->set(cf, param, &rest);
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "unknown word \"%V\" of param \"%V\", it should be "
                       "optional, default=, positive, min=, max= or length=",
                       value, &param->name);

    return NGX_CONF_ERROR;
}


static char *
ngx_http_intent_param_optional(ngx_conf_t *cf, ngx_http_intent_param_t *param,
    ngx_str_t *value)
{
    param->optional = 1;

    return NGX_CONF_OK;
}


static char *
ngx_http_intent_param_default(ngx_conf_t *cf, ngx_http_intent_param_t *param,
    ngx_str_t *value)
{
    param->optional = 1;
    param->preset = ngx_http_intent_param_literal(cf, param, value);

    return param->preset ? NGX_CONF_OK : NGX_CONF_ERROR;
}


static char *
ngx_http_intent_param_positive(ngx_conf_t *cf, ngx_http_intent_param_t *param,
    ngx_str_t *value)
{
    param->positive = 1;

    return NGX_CONF_OK;
}


static char *
ngx_http_intent_param_min(ngx_conf_t *cf, ngx_http_intent_param_t *param,
    ngx_str_t *value)
{
    param->min = ngx_http_intent_param_literal(cf, param, value);
    if (param->min == NULL) {
        return NGX_CONF_ERROR;
    }

    param->min_why = ngx_http_intent_param_sentence(cf, "must be at least ",
                                                    &param->min->text);

    return param->min_why ? NGX_CONF_OK : NGX_CONF_ERROR;
}


static char *
ngx_http_intent_param_max(ngx_conf_t *cf, ngx_http_intent_param_t *param,
    ngx_str_t *value)
{
    param->max = ngx_http_intent_param_literal(cf, param, value);
    if (param->max == NULL) {
        return NGX_CONF_ERROR;
    }

    param->max_why = ngx_http_intent_param_sentence(cf, "must be at most ",
                                                    &param->max->text);

    return param->max_why ? NGX_CONF_OK : NGX_CONF_ERROR;
}


/* "32", "1-64" */

static char *
ngx_http_intent_param_length(ngx_conf_t *cf, ngx_http_intent_param_t *param,
    ngx_str_t *value)
{
    u_char      *p, *dash, *last;
    ngx_int_t    min, max;
    const char  *unit;

    last = value->data + value->len;
    dash = ngx_strlchr(value->data, last, '-');

    min = ngx_atoi(value->data, (dash ? dash : last) - value->data);
    max = dash ? ngx_atoi(dash + 1, last - dash - 1) : min;

    if (min == NGX_ERROR || max == NGX_ERROR || max < min) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"length=%V\" of param \"%V\", it should "
                           "be like length=32 or length=1-64",
                           value, &param->name);
        return NGX_CONF_ERROR;
    }

    param->min_length = min;
    param->max_length = max;

    p = ngx_pnalloc(cf->pool, 64 + 2 * NGX_INT_T_LEN);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    param->length_why = (const char *) p;

    unit = (param->type->abi & (1 << EVM_ABI_STRING)) ? "characters" : "bytes";

    if (min == max) {
        ngx_sprintf(p, "must have %i %s%Z", min, unit);

    } else {
        ngx_sprintf(p, "must have %i to %i %s%Z", min, max, unit);
    }

    return NGX_CONF_OK;
}


static ngx_http_intent_value_t *
ngx_http_intent_param_literal(ngx_conf_t *cf, ngx_http_intent_param_t *param,
    ngx_str_t *value)
{
    const char               *why;
    ngx_http_intent_value_t  *v;

    v = ngx_pcalloc(cf->pool, sizeof(ngx_http_intent_value_t));
    if (v == NULL) {
        return NULL;
    }

    if (ngx_http_intent_value_literal(param, value, cf->pool, v, &why)
        != NGX_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" for param \"%V\", it %s",
                           value, &param->name, why);
        return NULL;
    }

    return v;
}


static const char *
ngx_http_intent_param_sentence(ngx_conf_t *cf, const char *before,
    ngx_str_t *value)
{
    u_char  *p;
    size_t   len;

    len = ngx_strlen(before) + value->len + 1;

    p = ngx_pnalloc(cf->pool, len);
    if (p == NULL) {
        return NULL;
    }

    ngx_sprintf(p, "%s%V%Z", before, value);

    return (const char *) p;
}


/* do the words of a param, each right alone, leave it a value? */

static char *
ngx_http_intent_param_agree(ngx_conf_t *cf, ngx_http_intent_param_t *param)
{
    const char  *why;

    if (param->min && param->max
        && ngx_http_intent_value_cmp(param->min, param->max) > 0)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"min=\" of param \"%V\" is above its \"max=\", "
                           "it should be below", &param->name);
        return NGX_CONF_ERROR;
    }

    if (param->preset == NULL) {
        return NGX_CONF_OK;
    }

    why = ngx_http_intent_param_constrain(param, param->preset);

    if (why) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the default of param \"%V\" %s",
                           &param->name, why);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}
