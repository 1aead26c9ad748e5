
/*
 * The directive "call", checked against the params above it.
 */


#include "ngx_http_intent_type_conf.h"


/* what any transaction costs: no gas limit below it is of use */
#define NGX_HTTP_INTENT_MIN_GAS  21000


/* the words of the directive, as they stand there */
typedef struct {
    ngx_str_t                     to;
    ngx_str_t                     value;
    ngx_str_t                     function;
    ngx_str_t                     args;
    ngx_str_t                     gas;
} ngx_http_intent_call_words_t;


static char *ngx_http_intent_call_words(ngx_conf_t *cf,
    ngx_http_intent_type_t *type, ngx_http_intent_type_call_t *call,
    ngx_http_intent_call_words_t *words);
static char *ngx_http_intent_call_guard(ngx_conf_t *cf,
    ngx_http_intent_type_t *type, ngx_http_intent_type_call_t *call,
    ngx_str_t *word);
static char *ngx_http_intent_call_target(ngx_conf_t *cf,
    ngx_http_intent_type_t *type, ngx_http_intent_type_call_t *call,
    ngx_http_intent_call_words_t *words);
static char *ngx_http_intent_call_function(ngx_conf_t *cf,
    ngx_http_intent_type_t *type, ngx_http_intent_type_call_t *call,
    ngx_http_intent_call_words_t *words);
static char *ngx_http_intent_call_args(ngx_conf_t *cf,
    ngx_http_intent_type_t *type, ngx_http_intent_type_call_t *call,
    ngx_http_intent_call_words_t *words);
static char *ngx_http_intent_call_operand(ngx_conf_t *cf,
    ngx_http_intent_type_t *type, ngx_http_intent_type_call_t *call,
    const char *what, ngx_str_t *abi_name, ngx_str_t *word,
    ngx_http_intent_operand_t *op);
static char *ngx_http_intent_call_literal(ngx_conf_t *cf, const char *what,
    ngx_str_t *word, ngx_http_intent_operand_t *op);
static char *ngx_http_intent_call_param(ngx_conf_t *cf,
    ngx_http_intent_type_t *type, ngx_http_intent_type_call_t *call,
    const char *what, ngx_str_t *abi_name, ngx_str_t *word,
    ngx_http_intent_operand_t *op);
static ngx_uint_t ngx_http_intent_call_builtin(ngx_str_t *name);
static ngx_uint_t ngx_http_intent_call_fits(ngx_http_intent_param_t *param,
    evm_abi_type_t *abi);
static char *ngx_http_intent_call_guarded(ngx_conf_t *cf,
    ngx_http_intent_type_t *type, ngx_http_intent_type_call_t *call);
static char *ngx_http_intent_call_reached(ngx_conf_t *cf,
    ngx_http_intent_type_t *type, ngx_http_intent_type_call_t *call);


static ngx_str_t  ngx_http_intent_call_address = ngx_string("address");
static ngx_str_t  ngx_http_intent_call_uint256 = ngx_string("uint256");


/* the values that no param carries, and the ABI types that take each */

static struct {
    ngx_str_t       name;
    ngx_uint_t      source;
    ngx_uint_t      abi;       /* bits of evm_abi_type_e */
    const char     *expects;
} ngx_http_intent_call_builtins[] = {

    { ngx_string("user"), NGX_HTTP_INTENT_OPERAND_USER,
      (1 << EVM_ABI_STRING)|(1 << EVM_ABI_ADDRESS), "a string or an address" },

    { ngx_string("id"), NGX_HTTP_INTENT_OPERAND_ID,
      1 << EVM_ABI_STRING, "a string" },

    { ngx_string("deadline"), NGX_HTTP_INTENT_OPERAND_DEADLINE,
      1 << EVM_ABI_UINT, "a uint256, or a uint of 32 bits at least" },

    { ngx_string("nonce"), NGX_HTTP_INTENT_OPERAND_NONCE,
      1 << EVM_ABI_UINT, "a uint256" },

    { ngx_string("signature"), NGX_HTTP_INTENT_OPERAND_SIGNATURE,
      1 << EVM_ABI_BYTES, "bytes" },

    { ngx_null_string, 0, 0, NULL }
};


char *
ngx_http_intent_type_call_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_intent_type_main_conf_t  *tmcf = conf;

    char                          *rv;
    ngx_http_intent_type_t        *type;
    ngx_http_intent_type_call_t    call, *c;
    ngx_http_intent_call_words_t   words;

    type = ngx_http_intent_type_current(tmcf);

    ngx_memzero(&call, sizeof(ngx_http_intent_type_call_t));
    ngx_memzero(&words, sizeof(ngx_http_intent_call_words_t));

    rv = ngx_http_intent_call_words(cf, type, &call, &words);

    if (rv == NGX_CONF_OK) {
        rv = ngx_http_intent_call_target(cf, type, &call, &words);
    }

    if (rv == NGX_CONF_OK) {
        rv = ngx_http_intent_call_function(cf, type, &call, &words);
    }

    if (rv == NGX_CONF_OK) {
        rv = ngx_http_intent_call_guarded(cf, type, &call);
    }

    if (rv == NGX_CONF_OK) {
        rv = ngx_http_intent_call_reached(cf, type, &call);
    }

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    c = ngx_array_push(&type->calls);
    if (c == NULL) {
        return NGX_CONF_ERROR;
    }

    *c = call;

    return NGX_CONF_OK;
}


static char *
ngx_http_intent_call_words(ngx_conf_t *cf, ngx_http_intent_type_t *type,
    ngx_http_intent_type_call_t *call, ngx_http_intent_call_words_t *words)
{
    ngx_str_t   *value, *word;
    ngx_uint_t   i, n;

    static struct {
        ngx_str_t  name;
        size_t     offset;
    } known[] = {
        { ngx_string("to="), offsetof(ngx_http_intent_call_words_t, to) },
        { ngx_string("value="),
          offsetof(ngx_http_intent_call_words_t, value) },
        { ngx_string("function="),
          offsetof(ngx_http_intent_call_words_t, function) },
        { ngx_string("args="), offsetof(ngx_http_intent_call_words_t, args) },
        { ngx_string("gas="), offsetof(ngx_http_intent_call_words_t, gas) },
        { ngx_null_string, 0 }
    };

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "when=", 5) == 0
            || ngx_strncmp(value[i].data, "unless=", 7) == 0)
        {
            if (ngx_http_intent_call_guard(cf, type, call, &value[i])
                != NGX_CONF_OK)
            {
                return NGX_CONF_ERROR;
            }

            continue;
        }

        for (n = 0; known[n].name.len; n++) {
            if (ngx_strncmp(value[i].data, known[n].name.data,
                            known[n].name.len)
                == 0)
            {
                break;
            }
        }

        if (known[n].name.len == 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "unknown word \"%V\" of call, it should be "
                               "to=, value=, function=, args=, gas=, when= "
                               "or unless=, without spaces within",
                               &value[i]);
            return NGX_CONF_ERROR;
        }

        word = (ngx_str_t *) ((u_char *) words + known[n].offset);

        if (word->data) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate \"%V\" of call, "
                               "one should be taken away", &known[n].name);
            return NGX_CONF_ERROR;
        }

        word->data = value[i].data + known[n].name.len;
        word->len = value[i].len - known[n].name.len;

        ngx_http_intent_type_unquote(word);
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_intent_call_guard(ngx_conf_t *cf, ngx_http_intent_type_t *type,
    ngx_http_intent_type_call_t *call, ngx_str_t *word)
{
    u_char     *p, *last;
    uint64_t   *set;
    ngx_int_t   n;

    set = (word->data[0] == 'w') ? &call->when : &call->unless;

    last = word->data + word->len;
    p = ngx_strlchr(word->data, last, '=') + 1;

    n = NGX_ERROR;

    if (p < last && *p == '$') {
        n = ngx_http_intent_param_find(type, p + 1, last - p - 1);
    }

    if (n == NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\" of call, it should name a param "
                           "above it in intent_type \"%V\", like when=$token",
                           word, &type->name->name);
        return NGX_CONF_ERROR;
    }

    *set |= (uint64_t) 1 << n;

    return NGX_CONF_OK;
}


static char *
ngx_http_intent_call_target(ngx_conf_t *cf, ngx_http_intent_type_t *type,
    ngx_http_intent_type_call_t *call, ngx_http_intent_call_words_t *words)
{
    if (words->to.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no \"to=\" of call, it should be "
                           "an address or a param of type address");
        return NGX_CONF_ERROR;
    }

    if (words->value.len == 0 && words->function.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "call does nothing, it should have "
                           "\"value=\" or \"function=\"");
        return NGX_CONF_ERROR;
    }

    if (ngx_http_intent_call_operand(cf, type, call, "to=",
                                     &ngx_http_intent_call_address,
                                     &words->to, &call->to)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (words->value.len == 0) {
        ngx_str_set(&words->value, "0");
    }

    if (ngx_http_intent_call_operand(cf, type, call, "value=",
                                     &ngx_http_intent_call_uint256,
                                     &words->value, &call->value)
        != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (words->gas.data) {
        call->gas = ngx_atoof(words->gas.data, words->gas.len);

        if (call->gas == (uint64_t) NGX_ERROR
            || call->gas < NGX_HTTP_INTENT_MIN_GAS)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid \"gas=%V\" of call, it should be a "
                               "number of gas from 21000 on", &words->gas);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_intent_call_function(ngx_conf_t *cf, ngx_http_intent_type_t *type,
    ngx_http_intent_type_call_t *call, ngx_http_intent_call_words_t *words)
{
    const char  *err;

    if (words->function.len == 0) {

        if (words->args.data) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"args=\" of call without a \"function=\", "
                               "it should have both");
            return NGX_CONF_ERROR;
        }

        return NGX_CONF_OK;
    }

    call->function = ngx_pcalloc(cf->pool, sizeof(evm_abi_function_t));
    if (call->function == NULL) {
        return NGX_CONF_ERROR;
    }

    if (evm_abi_function_parse((char *) words->function.data,
                               words->function.len, call->function, &err)
        != EVM_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid function \"%V\" of call: %s; it should be "
                           "like \"transfer(address,uint256)\"",
                           &words->function, err);
        return NGX_CONF_ERROR;
    }

    call->args = ngx_pcalloc(cf->pool, (call->function->nargs + 1)
                                       * sizeof(ngx_http_intent_operand_t));
    if (call->args == NULL) {
        return NGX_CONF_ERROR;
    }

    return ngx_http_intent_call_args(cf, type, call, words);
}


static char *
ngx_http_intent_call_args(ngx_conf_t *cf, ngx_http_intent_type_t *type,
    ngx_http_intent_type_call_t *call, ngx_http_intent_call_words_t *words)
{
    u_char      what[sizeof("argument ") + NGX_INT_T_LEN];
    u_char     *p, *end, *last, *abi;
    ngx_str_t   word, abi_name;
    ngx_uint_t  n, given;

    p = words->args.data;
    last = p + words->args.len;

    for (given = words->args.len ? 1 : 0; p < last; p++) {
        given += (*p == ',');
    }

    if (given != call->function->nargs) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "function \"%V\" of call takes %ud arguments, "
                           "\"args=\" gives %ui; it should give one for each",
                           &words->function, call->function->nargs, given);
        return NGX_CONF_ERROR;
    }

    /* the types stand between the parentheses as the words stand in args= */

    p = words->args.data;
    abi = ngx_strlchr(words->function.data,
                      words->function.data + words->function.len, '(') + 1;

    for (n = 0; n < given; n++) {
        end = ngx_strlchr(p, last, ',');
        word.data = p;
        word.len = (end ? end : last) - p;
        p = word.data + word.len + 1;

        abi_name.data = abi;
        abi_name.len = strcspn((char *) abi, ",)");
        abi += abi_name.len + 1;

        call->args[n].abi = call->function->args[n];

        ngx_sprintf(what, "argument %ui%Z", n + 1);

        if (ngx_http_intent_call_operand(cf, type, call, (char *) what,
                                         &abi_name, &word, &call->args[n])
            != NGX_CONF_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_intent_call_operand(ngx_conf_t *cf, ngx_http_intent_type_t *type,
    ngx_http_intent_type_call_t *call, const char *what, ngx_str_t *abi_name,
    ngx_str_t *word, ngx_http_intent_operand_t *op)
{
    ngx_str_t   name;
    ngx_uint_t  i;

    if (evm_abi_type_parse((char *) abi_name->data, abi_name->len, &op->abi)
        != EVM_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (word->len == 0 || word->data[0] != '$') {
        return ngx_http_intent_call_literal(cf, what, word, op);
    }

    name.data = word->data + 1;
    name.len = word->len - 1;

    i = ngx_http_intent_call_builtin(&name);

    if (ngx_http_intent_call_builtins[i].name.len == 0) {
        return ngx_http_intent_call_param(cf, type, call, what, abi_name,
                                          &name, op);
    }

    op->source = ngx_http_intent_call_builtins[i].source;

    /* a value= that is a date or a nonce is a mistake, and 24 bits are 1970 */

    if (!(ngx_http_intent_call_builtins[i].abi & (1 << op->abi.type))
        || abi_name == &ngx_http_intent_call_uint256
        || (op->source == NGX_HTTP_INTENT_OPERAND_DEADLINE
            && op->abi.size < 32))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" does not fit %s of call, it should be "
                           "used where the function takes %s", word, what,
                           ngx_http_intent_call_builtins[i].expects);
        return NGX_CONF_ERROR;
    }

    if (op->abi.type == EVM_ABI_ADDRESS
        || (op->abi.type == EVM_ABI_UINT && op->abi.size < 256))
    {
        type->bound = 1;
    }

    return NGX_CONF_OK;
}


static ngx_uint_t
ngx_http_intent_call_builtin(ngx_str_t *name)
{
    ngx_uint_t  i;
    ngx_str_t  *builtin;

    for (i = 0; ngx_http_intent_call_builtins[i].name.len; i++) {
        builtin = &ngx_http_intent_call_builtins[i].name;

        if (builtin->len == name->len
            && ngx_strncmp(builtin->data, name->data, name->len) == 0)
        {
            break;
        }
    }

    return i;
}


static char *
ngx_http_intent_call_literal(ngx_conf_t *cf, const char *what, ngx_str_t *word,
    ngx_http_intent_operand_t *op)
{
    const char               *why;
    ngx_http_intent_param_t   param;
    ngx_http_intent_value_t   value;

    ngx_memzero(&param, sizeof(ngx_http_intent_param_t));
    ngx_memzero(&value, sizeof(ngx_http_intent_value_t));

    param.type = ngx_http_intent_value_type_abi(&op->abi);
    param.expects = param.type->expects;

    if (ngx_http_intent_value_literal(&param, word, cf->pool, &value, &why)
        != NGX_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\" for %s of call, it should be a "
                           "param like \"$name\", or a literal, which %s",
                           word, what, why);
        return NGX_CONF_ERROR;
    }

    if (ngx_http_intent_value_abi(&value, &op->abi, &op->literal) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" for %s of call does not fit, it should "
                           "have %s", word, what,
                           (op->abi.type == EVM_ABI_FIXED_BYTES)
                           ? "as many bytes as the function takes"
                           : "no more bits than the function takes");
        return NGX_CONF_ERROR;
    }

    op->source = NGX_HTTP_INTENT_OPERAND_LITERAL;

    return NGX_CONF_OK;
}


static char *
ngx_http_intent_call_param(ngx_conf_t *cf, ngx_http_intent_type_t *type,
    ngx_http_intent_type_call_t *call, const char *what, ngx_str_t *abi_name,
    ngx_str_t *word, ngx_http_intent_operand_t *op)
{
    ngx_int_t                 n;
    ngx_http_intent_param_t  *params;

    n = ngx_http_intent_param_find(type, word->data, word->len);

    if (n == NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "unknown param \"$%V\" in %s of call, it should be "
                           "declared above, like \"param %V %V;\"",
                           word, what, word, abi_name);
        return NGX_CONF_ERROR;
    }

    params = type->params.elts;

    if (!ngx_http_intent_call_fits(&params[n], &op->abi)
        || (abi_name == &ngx_http_intent_call_uint256 && params[n].words))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "param \"%V\" does not fit %s of call: it is of "
                           "type \"%V\" and should fit \"%V\"",
                           &params[n].name, what, &params[n].type->name,
                           abi_name);
        return NGX_CONF_ERROR;
    }

    op->source = NGX_HTTP_INTENT_OPERAND_PARAM;
    op->param = n;

    call->used |= (uint64_t) 1 << n;

    return NGX_CONF_OK;
}


static ngx_uint_t
ngx_http_intent_call_fits(ngx_http_intent_param_t *param, evm_abi_type_t *abi)
{
    if (!(param->type->abi & (1 << abi->type))) {
        return 0;
    }

    return abi->type != EVM_ABI_FIXED_BYTES
           || (param->min_length == abi->size
               && param->max_length == abi->size);
}


/* is every param that is used there whenever the call is made? */

static char *
ngx_http_intent_call_guarded(ngx_conf_t *cf, ngx_http_intent_type_t *type,
    ngx_http_intent_type_call_t *call)
{
    uint64_t                  bit;
    ngx_uint_t                i;
    ngx_http_intent_param_t  *param;

    param = type->params.elts;

    for (i = 0; i < type->params.nelts; i++) {
        bit = (uint64_t) 1 << i;

        if (ngx_http_intent_param_may_lack(&param[i])) {

            if ((call->used & bit) && !(call->when & bit)) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "call uses the optional param \"%V\", it "
                                   "should have \"when=$%V\", or the param "
                                   "a \"default=\"",
                                   &param[i].name, &param[i].name);
                return NGX_CONF_ERROR;
            }

            continue;
        }

        /* a bool is asked whether it is true, and may be either */

        if (param[i].type->flags & NGX_HTTP_INTENT_VALUE_BARE) {
            continue;
        }

        if (call->unless & bit) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "call with \"unless=$%V\" is never made, for "
                               "the param is always there, it should be "
                               "\"optional\"", &param[i].name);
            return NGX_CONF_ERROR;
        }

        call->when &= ~bit;
    }

    if (call->when & call->unless) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "call is never made, \"when=\" and \"unless=\" "
                           "should not name the same param");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_intent_call_reached(ngx_conf_t *cf, ngx_http_intent_type_t *type,
    ngx_http_intent_type_call_t *call)
{
    ngx_uint_t                    i;
    ngx_http_intent_type_call_t  *before;

    before = type->calls.elts;

    for (i = 0; i < type->calls.nelts; i++) {

        /* whenever the later one would hold, the earlier one does */

        if ((before[i].when & ~call->when) == 0
            && (before[i].unless & ~call->unless) == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "call is never made, for a call before it "
                               "holds whenever it does; that one should have "
                               "a \"when=\" or \"unless=\", or stand below");
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}
