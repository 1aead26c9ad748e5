
/*
 * JSON-RPC 2.0 over background requests: many questions in one body, the
 * answers in any order, and a clear word where an answer is none.
 */


#include "ngx_http_intent_endpoint.h"
#include "ngx_http_intent_lane.h"


#define NGX_HTTP_INTENT_JSONRPC_REASON  512


static void ngx_http_intent_jsonrpc_done(void *data,
    ngx_http_intent_rpc_t *rpc);
static ngx_int_t ngx_http_intent_jsonrpc_parse(ngx_http_intent_jsonrpc_t *j);
static ngx_int_t ngx_http_intent_jsonrpc_answer(ngx_http_intent_jsonrpc_t *j,
    json_t *answer);
static ngx_int_t ngx_http_intent_jsonrpc_check(ngx_http_intent_jsonrpc_t *j);
static ngx_uint_t ngx_http_intent_jsonrpc_is_limit(json_t *error);
static ngx_uint_t ngx_http_intent_jsonrpc_is_revert(
    ngx_http_intent_jsonrpc_t *j, ngx_uint_t i);
static const char *ngx_http_intent_jsonrpc_data(json_t *error);
static void ngx_http_intent_jsonrpc_message(json_t *error, ngx_str_t *text);
static void ngx_http_intent_jsonrpc_count(ngx_http_intent_jsonrpc_t *j,
    ngx_int_t rc);
static void ngx_http_intent_jsonrpc_reason(ngx_http_intent_jsonrpc_t *j,
    const char *fmt, ...);
static void ngx_http_intent_jsonrpc_clean(ngx_str_t *text);


static ngx_uint_t  ngx_http_intent_jsonrpc_id = 1;

/* what lanes can do without */
static const char  *ngx_http_intent_jsonrpc_optional[] = {
    "eth_feeHistory",
    "eth_gasPrice",
    "eth_maxPriorityFeePerGas",
    NULL
};


ngx_http_intent_jsonrpc_t *
ngx_http_intent_jsonrpc_create(void)
{
    ngx_http_intent_rpc_t      *rpc;
    ngx_http_intent_jsonrpc_t  *j;

    rpc = ngx_http_intent_rpc_create();
    if (rpc == NULL) {
        return NULL;
    }

    j = ngx_pcalloc(rpc->pool, sizeof(ngx_http_intent_jsonrpc_t));

    if (j == NULL
        || ngx_array_init(&j->methods, rpc->pool, 8, sizeof(const char *))
           != NGX_OK
        || ngx_array_init(&j->body, rpc->pool, 1024, 1) != NGX_OK)
    {
        ngx_http_intent_rpc_destroy(rpc);
        return NULL;
    }

    j->rpc = rpc;
    j->pool = rpc->pool;

    return j;
}


void
ngx_http_intent_jsonrpc_destroy(ngx_http_intent_jsonrpc_t *j)
{
    ngx_http_intent_rpc_destroy(j->rpc);
}


ngx_int_t
ngx_http_intent_jsonrpc_add(ngx_http_intent_jsonrpc_t *j, const char *method,
    size_t size, const char *params, ...)
{
    u_char       *p, *last, *start;
    size_t        room;
    va_list       args;
    const char  **mp;

    /* an answer to another batch shall not fit this one */

    if (j->n == 0) {
        j->first_id = ngx_http_intent_jsonrpc_id;
    }

    ngx_http_intent_jsonrpc_id++;

    room = sizeof(",{\"jsonrpc\":\"2.0\",\"id\":,\"method\":\"\",\"params\":[]}")
           + NGX_INT_T_LEN + ngx_strlen(method) + size;

    mp = ngx_array_push(&j->methods);
    start = ngx_array_push_n(&j->body, room);

    if (mp == NULL || start == NULL) {
        return NGX_ERROR;
    }

    *mp = method;

    last = start + room;

    p = ngx_slprintf(start, last,
                     "%s{\"jsonrpc\":\"2.0\",\"id\":%ui,\"method\":\"%s\","
                     "\"params\":[", j->n ? "," : "[", j->first_id + j->n,
                     method);

    va_start(args, params);
    p = ngx_vslprintf(p, last, params, args);
    va_end(args);

    p = ngx_cpymem(p, "]}", 2);

    j->body.nelts -= last - p;
    j->n++;

    if (ngx_strcmp(method, "eth_chainId") == 0) {
        j->chain_item = j->n;

    } else if (ngx_strcmp(method, "eth_getBlockByNumber") == 0
               && ngx_strncmp(params, "\"latest\"", 8) == 0)
    {
        j->head_item = j->n;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_intent_jsonrpc_send(ngx_http_intent_jsonrpc_t *j,
    ngx_http_intent_rpc_endpoint_t *endpoint,
    ngx_http_intent_jsonrpc_pt handler, void *data)
{
    u_char     *p;
    ngx_str_t   body;

    p = ngx_array_push(&j->body);
    j->answers = ngx_pcalloc(j->pool, j->n * sizeof(json_t *));

    if (p == NULL || j->answers == NULL) {
        ngx_http_intent_rpc_destroy(j->rpc);
        return NGX_ERROR;
    }

    *p = ']';

    body.data = j->body.elts;
    body.len = j->body.nelts;

    if (j->n == 1) {
        body.data++;
        body.len -= 2;
    }

    j->endpoint = endpoint;
    j->handler = handler;
    j->data = data;
    j->start = ngx_http_intent_seconds();

    ngx_http_intent_endpoint_asked(j);

    return ngx_http_intent_rpc_send(j->rpc, endpoint, &body,
                                    ngx_http_intent_jsonrpc_done, j);
}


static void
ngx_http_intent_jsonrpc_done(void *data, ngx_http_intent_rpc_t *rpc)
{
    ngx_http_intent_jsonrpc_t  *j = data;

    ngx_int_t  rc;

    if (rpc->rc != NGX_OK) {
        ngx_http_intent_jsonrpc_reason(j, rpc->late ? "no answer in time"
                                                    : "no whole answer");
        rc = NGX_ERROR;

    } else if (rpc->status != NGX_HTTP_OK) {
        ngx_http_intent_jsonrpc_reason(j, "HTTP status %ui", rpc->status);
        j->limited = (rpc->status == NGX_HTTP_TOO_MANY_REQUESTS);
        rc = NGX_ERROR;

    } else {
        rc = ngx_http_intent_jsonrpc_parse(j);

        if (rc == NGX_OK) {
            rc = ngx_http_intent_jsonrpc_check(j);
        }
    }

    ngx_http_intent_jsonrpc_count(j, rc);
    ngx_http_intent_endpoint_answered(j, rc);

    j->handler(j->data, j, rc);

    json_decref(j->root);
}


static ngx_int_t
ngx_http_intent_jsonrpc_parse(ngx_http_intent_jsonrpc_t *j)
{
    size_t        i;
    json_t       *answer, *error;
    ngx_str_t    *body;
    json_error_t  err;

    body = &j->rpc->body;

    /* "\u0000" is in a message where a contract wrote it */

    j->root = json_loadb((char *) body->data, body->len, JSON_ALLOW_NUL, &err);

    if (j->root == NULL) {

        if (body->len && body->data[0] == '<') {
            ngx_http_intent_jsonrpc_reason(j, "a page for people");

        } else {
            ngx_http_intent_jsonrpc_reason(j, "not JSON: %s", err.text);
        }

        return NGX_ERROR;
    }

    if (json_is_object(j->root) && j->n == 1) {
        return ngx_http_intent_jsonrpc_answer(j, j->root);
    }

    if (json_is_object(j->root)) {

        /* an error for the batch as a whole */

        error = json_object_get(j->root, "error");
        answer = json_object_get(error, "message");
        j->limited = ngx_http_intent_jsonrpc_is_limit(error);

        ngx_http_intent_jsonrpc_reason(j, "%s",
                         json_is_string(answer) ? json_string_value(answer)
                                                : "an object for a batch");
        return NGX_ERROR;
    }

    json_array_foreach(j->root, i, answer) {
        if (ngx_http_intent_jsonrpc_answer(j, answer) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    for (i = 0; i < j->n; i++) {
        if (j->answers[i] == NULL) {
            ngx_http_intent_jsonrpc_reason(j, "no answer to item %uz of %ui",
                                           i, j->n);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_jsonrpc_answer(ngx_http_intent_jsonrpc_t *j, json_t *answer)
{
    json_t      *id, *error;
    json_int_t   n;

    id = json_object_get(answer, "id");
    n = json_is_integer(id)
        ? json_integer_value(id) - (json_int_t) j->first_id : -1;

    if (n >= 0 && (ngx_uint_t) n < j->n && j->answers[n]
        && json_equal(j->answers[n], answer))
    {
        /* said twice */
        return NGX_OK;
    }

    if (n < 0 || (ngx_uint_t) n >= j->n || j->answers[n]) {

        error = json_object_get(answer, "error");
        j->limited = ngx_http_intent_jsonrpc_is_limit(error);
        id = json_object_get(error, "message");

        if (json_is_string(id)) {
            ngx_http_intent_jsonrpc_reason(j, "%s", json_string_value(id));

        } else {
            ngx_http_intent_jsonrpc_reason(j, "an answer with a wrong id");
        }

        return NGX_ERROR;
    }

    if (json_object_get(answer, "result") == NULL
        && !json_is_object(json_object_get(answer, "error")))
    {
        ngx_http_intent_jsonrpc_reason(j, "neither result nor error");
        return NGX_ERROR;
    }

    j->answers[n] = answer;

    return NGX_OK;
}


/* what one item says of the node, and not of what was asked */

static ngx_int_t
ngx_http_intent_jsonrpc_check(ngx_http_intent_jsonrpc_t *j)
{
    json_t       *error;
    ngx_str_t     message;
    ngx_uint_t    i, n;
    const char  **methods, **optional;

    methods = j->methods.elts;
    optional = ngx_http_intent_jsonrpc_optional;

    for (i = 0; i < j->n; i++) {

        if (ngx_http_intent_jsonrpc_result(j, i)) {
            continue;
        }

        /* whose words are a contract's, and not the node's */

        if (ngx_http_intent_jsonrpc_is_revert(j, i)) {
            continue;
        }

        error = json_object_get(j->answers[i], "error");
        message = ngx_http_intent_jsonrpc_error(j, i);

        if (ngx_http_intent_jsonrpc_is_limit(error)) {
            j->limited = 1;
            j->reason = message;
            return NGX_ERROR;
        }

        if (!ngx_http_intent_rpc_is_unknown_method(
                       json_integer_value(json_object_get(error, "code")),
                       &message))
        {
            continue;
        }

        for (n = 0; optional[n]; n++) {
            if (ngx_strcmp(optional[n], methods[i]) == 0) {
                break;
            }
        }

        if (optional[n] == NULL) {
            j->lacks = methods[i];
            ngx_http_intent_jsonrpc_reason(j, "it does not know %s: %V",
                                           methods[i], &message);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_intent_jsonrpc_is_limit(json_t *error)
{
    ngx_str_t  text;

    ngx_http_intent_jsonrpc_message(error, &text);

    return ngx_http_intent_rpc_is_limit(
                      json_integer_value(json_object_get(error, "code")),
                      &text);
}


/*
 * By its code, its words, or the data: where code was run, no error but a
 * revert has bytes to show.  Of a transaction that is sent, they may be its
 * hash.
 */

static ngx_uint_t
ngx_http_intent_jsonrpc_is_revert(ngx_http_intent_jsonrpc_t *j, ngx_uint_t i)
{
    json_t       *error;
    ngx_str_t     text;
    const char  **methods;

    error = json_object_get(j->answers[i], "error");
    methods = j->methods.elts;

    if (ngx_http_intent_jsonrpc_data(error)
        && (ngx_strcmp(methods[i], "eth_call") == 0
            || ngx_strcmp(methods[i], "eth_estimateGas") == 0))
    {
        return 1;
    }

    ngx_http_intent_jsonrpc_message(error, &text);

    return ngx_http_intent_rpc_is_revert(
                      json_integer_value(json_object_get(error, "code")),
                      &text);
}


/*
 * The bytes of a revert, in hex: a string, or (some nodes) an object with the
 * string in it; openethereum writes a word before it
 */

static const char *
ngx_http_intent_jsonrpc_data(json_t *error)
{
    json_t      *data;
    const char  *hex;

    data = json_object_get(error, "data");

    if (json_is_object(data)) {
        data = json_object_get(data, "data");
    }

    hex = json_string_value(data);

    if (hex && ngx_strncmp(hex, "Reverted ", 9) == 0) {
        hex += 9;
    }

    return (hex && hex[0] == '0' && hex[1] == 'x') ? hex : NULL;
}


/* up to a NUL, which Postgres would not take either */

static void
ngx_http_intent_jsonrpc_message(json_t *error, ngx_str_t *text)
{
    const char  *message;

    message = json_string_value(json_object_get(error, "message"));

    if (message == NULL) {
        message = "";
    }

    text->data = (u_char *) message;
    text->len = ngx_strlen(message);
}


static void
ngx_http_intent_jsonrpc_count(ngx_http_intent_jsonrpc_t *j, ngx_int_t rc)
{
    ngx_uint_t                       i, refused;
    ngx_http_intent_rpc_endpoint_t  *e;

    e = j->endpoint;

    ngx_http_intent_stat_observe(e->seconds,
                                 ngx_http_intent_seconds() - j->start);

    if (rc != NGX_OK) {
        ngx_http_intent_stat_inc(j->limited ? e->limited : e->failed, j->n);
        return;
    }

    refused = 0;

    for (i = 0; i < j->n; i++) {
        if (ngx_http_intent_jsonrpc_result(j, i) == NULL) {
            refused++;
        }
    }

    ngx_http_intent_stat_inc(e->ok, j->n - refused);
    ngx_http_intent_stat_inc(e->refused, refused);
}


static void
ngx_http_intent_jsonrpc_reason(ngx_http_intent_jsonrpc_t *j, const char *fmt,
    ...)
{
    u_char   *p;
    va_list   args;

    p = ngx_pnalloc(j->pool, NGX_HTTP_INTENT_JSONRPC_REASON);
    if (p == NULL) {
        ngx_str_set(&j->reason, "no memory");
        return;
    }

    j->reason.data = p;

    va_start(args, fmt);
    p = ngx_vslprintf(p, p + NGX_HTTP_INTENT_JSONRPC_REASON, fmt, args);
    va_end(args);

    j->reason.len = p - j->reason.data;

    ngx_http_intent_jsonrpc_clean(&j->reason);
}


/* cut text is still UTF-8, and one line: it goes to the log and to Postgres */

static void
ngx_http_intent_jsonrpc_clean(ngx_str_t *text)
{
    u_char  *p, *last, *start;

    p = text->data;
    last = p + text->len;

    while (p < last) {
        start = p;

        if (*p < 0x80) {
            if (*p < 0x20 || *p == 0x7f) {
                *p = ' ';
            }

            p++;
            continue;
        }

        if (ngx_utf8_decode(&p, last - p) > 0x10ffff) {

            if (last - start < 4) {
                text->len = start - text->data;
                return;
            }

            *start = '?';
            p = start + 1;
        }
    }
}


json_t *
ngx_http_intent_jsonrpc_result(ngx_http_intent_jsonrpc_t *j, ngx_uint_t i)
{
    if (json_is_object(json_object_get(j->answers[i], "error"))) {
        return NULL;
    }

    return json_object_get(j->answers[i], "result");
}


ngx_str_t
ngx_http_intent_jsonrpc_error(ngx_http_intent_jsonrpc_t *j, ngx_uint_t i)
{
    u_char      *p, *last;
    char         reason[NGX_HTTP_INTENT_JSONRPC_REASON / 2];
    size_t       n, len;
    json_t      *error;
    uint8_t     *bytes;
    ngx_str_t    text, message;
    ngx_uint_t   revert;
    const char  *hex;

    error = json_object_get(j->answers[i], "error");
    revert = ngx_http_intent_jsonrpc_is_revert(j, i);

    ngx_http_intent_jsonrpc_message(error, &message);

    if (message.len == 0) {
        ngx_str_set(&message, "an error without a message");
    }

    text.len = 0;
    text.data = ngx_pnalloc(j->pool, NGX_HTTP_INTENT_JSONRPC_REASON);
    if (text.data == NULL) {
        ngx_str_set(&text, "no memory");
        return text;
    }

    last = text.data + NGX_HTTP_INTENT_JSONRPC_REASON;

    hex = revert ? ngx_http_intent_jsonrpc_data(error) : NULL;

    if (hex && hex[2] != '\0') {
        len = ngx_strlen(hex);
        n = len / 2;
        bytes = ngx_pnalloc(j->pool, n);

        if (bytes && evm_hex_decode(hex, len, bytes, &n) == EVM_OK) {
            n = evm_abi_revert_reason(bytes, n, reason, sizeof(reason));
            p = ngx_slprintf(text.data, last, "execution reverted: %*s",
                             n, reason);
            text.len = p - text.data;
            return text;
        }
    }

    /* the text is all that is kept of it: it says by itself that it is one */

    p = ngx_slprintf(text.data, last, "%s%V",
                     revert && ngx_http_intent_rpc_classify(&message)
                               != NGX_HTTP_INTENT_RPC_REVERT
                     ? "execution reverted: " : "", &message);
    text.len = p - text.data;

    ngx_http_intent_jsonrpc_clean(&text);

    return text;
}
