
/*
 * The params of a body: every fault at once, or the text that is kept.
 */


#include "ngx_http_intent_type_conf.h"


/* beyond this a body is not a user's mistake, and the answer stays small */
#define NGX_HTTP_INTENT_MAX_FAULTS    100

#define NGX_HTTP_INTENT_FAULT_LEN     512


static ngx_int_t ngx_http_intent_type_fault_add(ngx_array_t *faults,
    ngx_str_t *pointer, const char *fmt, va_list args);
static size_t ngx_http_intent_type_cut(u_char *text, size_t len);
static size_t ngx_http_intent_type_escape(u_char *dst, const char *member);
static ngx_int_t ngx_http_intent_type_missing(ngx_http_intent_type_t *type,
    json_t *params, ngx_array_t *faults);
static ngx_int_t ngx_http_intent_type_read(ngx_http_intent_type_t *type,
    json_t *params, ngx_http_intent_value_t **values, ngx_array_t *faults,
    ngx_pool_t *pool);
static ngx_int_t ngx_http_intent_type_unknown(ngx_http_intent_type_t *type,
    json_t *params, ngx_array_t *faults);
static ngx_int_t ngx_http_intent_type_fits(ngx_http_intent_type_t *type,
    json_t *params, ngx_http_intent_value_t **values, ngx_array_t *faults);
static ngx_int_t ngx_http_intent_type_fits_operand(
    ngx_http_intent_type_t *type, ngx_http_intent_operand_t *op,
    ngx_http_intent_value_t **values, ngx_array_t *faults);
static ngx_int_t ngx_http_intent_type_canonical(ngx_http_intent_type_t *type,
    ngx_http_intent_value_t **values, ngx_pool_t *pool, ngx_str_t *canonical);


ngx_int_t
ngx_http_intent_type_fault(ngx_array_t *faults, const char *pointer,
    const char *fmt, ...)
{
    va_list    args;
    ngx_int_t  rc;
    ngx_str_t  p;

    p.len = ngx_strlen(pointer);
    p.data = ngx_pnalloc(faults->pool, p.len + 1);
    if (p.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(p.data, pointer, p.len);

    va_start(args, fmt);
    rc = ngx_http_intent_type_fault_add(faults, &p, fmt, args);
    va_end(args);

    return rc;
}


ngx_int_t
ngx_http_intent_type_fault_member(ngx_array_t *faults, const char *parent,
    const char *member, const char *fmt, ...)
{
    u_char     *last;
    va_list     args;
    ngx_int_t   rc;
    ngx_str_t   p;

    p.data = ngx_pnalloc(faults->pool, ngx_strlen(parent) + 1
                                + ngx_http_intent_type_escape(NULL, member));
    if (p.data == NULL) {
        return NGX_ERROR;
    }

    last = ngx_cpymem(p.data, parent, ngx_strlen(parent));
    *last++ = '/';
    last += ngx_http_intent_type_escape(last, member);

    p.len = last - p.data;

    va_start(args, fmt);
    rc = ngx_http_intent_type_fault_add(faults, &p, fmt, args);
    va_end(args);

    return rc;
}


static ngx_int_t
ngx_http_intent_type_fault_add(ngx_array_t *faults, ngx_str_t *pointer,
    const char *fmt, va_list args)
{
    u_char                   *p, text[NGX_HTTP_INTENT_FAULT_LEN];
    size_t                    len;
    ngx_http_intent_fault_t  *fault;

    if (faults->nelts >= NGX_HTTP_INTENT_MAX_FAULTS) {
        return NGX_OK;
    }

    len = ngx_vslprintf(text, text + NGX_HTTP_INTENT_FAULT_LEN, fmt, args)
          - text;
    len = ngx_http_intent_type_cut(text, len);

    p = ngx_pnalloc(faults->pool, len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    fault = ngx_array_push(faults);
    if (fault == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(p, text, len);

    fault->pointer = *pointer;
    fault->detail.data = p;
    fault->detail.len = len;

    return NGX_OK;
}


/* the length without a character that the end of the buffer cut in two */

static size_t
ngx_http_intent_type_cut(u_char *text, size_t len)
{
    size_t  n;

    if (len < NGX_HTTP_INTENT_FAULT_LEN) {
        return len;
    }

    n = len;

    while (n && (text[n - 1] & 0xc0) == 0x80) {
        n--;
    }

    if (n && text[n - 1] >= 0xc0) {
        return n - 1;
    }

    return (n == len) ? len : n;
}


/* RFC 6901, 3: "~" and "/" of a member's name; returns the length */

static size_t
ngx_http_intent_type_escape(u_char *dst, const char *member)
{
    size_t       len;
    const char  *p;

    len = 0;

    for (p = member; *p; p++) {

        if (*p == '~' || *p == '/') {
            if (dst) {
                *dst++ = '~';
                *dst++ = (*p == '~') ? '0' : '1';
            }

            len += 2;
            continue;
        }

        if (dst) {
            *dst++ = *p;
        }

        len++;
    }

    return len;
}


ngx_int_t
ngx_http_intent_type_check(ngx_http_intent_type_t *type, json_t *params,
    ngx_array_t *faults, ngx_pool_t *pool, ngx_str_t *canonical)
{
    ngx_uint_t                 n;
    ngx_http_intent_value_t  **values;

    n = faults->nelts;

    if (!json_is_object(params)) {
        return (ngx_http_intent_type_fault(faults, "/params",
                                           "params must be an object")
                == NGX_OK) ? NGX_DECLINED : NGX_ERROR;
    }

    values = ngx_pcalloc(pool, (type->params.nelts + 1)
                               * sizeof(ngx_http_intent_value_t *));
    if (values == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_intent_type_missing(type, params, faults) != NGX_OK
        || ngx_http_intent_type_read(type, params, values, faults, pool)
           != NGX_OK
        || ngx_http_intent_type_unknown(type, params, faults) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (faults->nelts == n
        && ngx_http_intent_type_fits(type, params, values, faults) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (faults->nelts != n) {
        return NGX_DECLINED;
    }

    return ngx_http_intent_type_canonical(type, values, pool, canonical);
}


static ngx_int_t
ngx_http_intent_type_missing(ngx_http_intent_type_t *type, json_t *params,
    ngx_array_t *faults)
{
    ngx_uint_t                i, missing;
    ngx_http_intent_param_t  *param;

    missing = 0;
    param = type->params.elts;

    for (i = 0; i < type->params.nelts; i++) {

        if (param[i].optional
            || json_object_get(params, (char *) param[i].name.data))
        {
            continue;
        }

        if (missing++ == 0
            && ngx_http_intent_type_fault(faults, "/params", "%V requires %V",
                                          &type->title, &type->required)
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (ngx_http_intent_type_fault_member(faults, "/params",
                                              (char *) param[i].name.data,
                                              "is required")
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_type_read(ngx_http_intent_type_t *type, json_t *params,
    ngx_http_intent_value_t **values, ngx_array_t *faults, ngx_pool_t *pool)
{
    json_t                   *json;
    ngx_int_t                 rc;
    ngx_uint_t                i;
    const char               *why;
    ngx_http_intent_param_t  *param;

    param = type->params.elts;

    for (i = 0; i < type->params.nelts; i++) {
        json = json_object_get(params, (char *) param[i].name.data);

        if (json == NULL) {
            values[i] = param[i].preset;
            continue;
        }

        values[i] = ngx_pcalloc(pool, sizeof(ngx_http_intent_value_t));
        if (values[i] == NULL) {
            return NGX_ERROR;
        }

        rc = ngx_http_intent_param_check(&param[i], json, pool, values[i],
                                         &why);

        if (rc == NGX_DECLINED) {
            rc = ngx_http_intent_type_fault_member(faults, "/params",
                                                   (char *) param[i].name.data,
                                                   "%V %V %s", &type->title,
                                                   &param[i].name, why);
        }

        if (rc != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_type_unknown(ngx_http_intent_type_t *type, json_t *params,
    ngx_array_t *faults)
{
    json_t      *json;
    const char  *name;

    json_object_foreach(params, name, json) {

        if (ngx_http_intent_param_find(type, (u_char *) name,
                                       ngx_strlen(name))
            != NGX_ERROR)
        {
            continue;
        }

        if (ngx_http_intent_type_fault_member(faults, "/params", name,
                                              "%V has no param \"%s\"",
                                              &type->title, name)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/*
 * Is there a call for these params, and do they fit its function?  Better
 * told now than found by the lane that is to make it.
 */

static ngx_int_t
ngx_http_intent_type_fits(ngx_http_intent_type_t *type, json_t *params,
    ngx_http_intent_value_t **values, ngx_array_t *faults)
{
    ngx_uint_t                    i;
    ngx_http_intent_type_call_t  *call;

    call = ngx_http_intent_type_choose(type, params);

    if (call == NULL) {
        return ngx_http_intent_type_fault(faults, "/params",
                                          "no call of type \"%V\" takes "
                                          "these params", &type->name->name);
    }

    if (call->function == NULL) {
        return NGX_OK;
    }

    for (i = 0; i < call->function->nargs; i++) {
        if (ngx_http_intent_type_fits_operand(type, &call->args[i], values,
                                              faults)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_type_fits_operand(ngx_http_intent_type_t *type,
    ngx_http_intent_operand_t *op, ngx_http_intent_value_t **values,
    ngx_array_t *faults)
{
    evm_abi_value_t           ignored;
    ngx_http_intent_param_t  *param;

    /* only numbers can be of a size that the configuration could not know */

    if (op->source != NGX_HTTP_INTENT_OPERAND_PARAM
        || ngx_http_intent_value_abi(values[op->param], &op->abi, &ignored)
           == NGX_OK)
    {
        return NGX_OK;
    }

    param = type->params.elts;
    param += op->param;

    return ngx_http_intent_type_fault_member(faults, "/params",
                                             (char *) param->name.data,
                                             "%V %V must fit %sint%ud",
                                             &type->title, &param->name,
                                             (op->abi.type == EVM_ABI_UINT)
                                             ? "u" : "", op->abi.size);
}


static ngx_int_t
ngx_http_intent_type_canonical(ngx_http_intent_type_t *type,
    ngx_http_intent_value_t **values, ngx_pool_t *pool, ngx_str_t *canonical)
{
    u_char                   *p;
    size_t                    len;
    ngx_str_t                *text;
    ngx_uint_t                i, quote;
    ngx_http_intent_param_t  *param;

    len = 2;
    param = type->params.elts;

    for (i = 0; i < type->params.nelts; i++) {
        if (values[i]) {
            text = &values[i]->text;
            len += sizeof("\"\":\"\",") - 1 + param[i].name.len + text->len
                   + ngx_escape_json(NULL, text->data, text->len);
        }
    }

    p = ngx_pnalloc(pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    canonical->data = p;
    *p++ = '{';

    for (i = 0; i < type->params.nelts; i++) {

        if (values[i] == NULL) {
            continue;
        }

        text = &values[i]->text;
        quote = !(param[i].type->flags & NGX_HTTP_INTENT_VALUE_BARE);

        if (p != canonical->data + 1) {
            *p++ = ',';
        }

        p = ngx_sprintf(p, "\"%V\":", &param[i].name);

        if (quote) {
            *p++ = '"';
        }

        p = (u_char *) ngx_escape_json(p, text->data, text->len);

        if (quote) {
            *p++ = '"';
        }
    }

    *p++ = '}';

    canonical->len = p - canonical->data;

    return NGX_OK;
}
