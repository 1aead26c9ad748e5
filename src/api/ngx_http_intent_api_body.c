
/*
 * The body of a POST: JSON into an intent, or everything that is wrong.
 */


#include "ngx_http_intent_api.h"


typedef struct {
    ngx_pool_t                      *pool;
    ngx_http_intent_api_item_t      *item;
    ngx_http_intent_t               *intent;
    ngx_array_t                     *faults;
    json_t                          *root;
    ngx_http_intent_api_loc_conf_t  *conf;
} ngx_http_intent_api_body_t;


typedef ngx_int_t (*ngx_http_intent_api_member_pt)(
    ngx_http_intent_api_body_t *body, json_t *json);

typedef struct {
    const char                      *name;
    const char                      *pointer;
    ngx_http_intent_api_member_pt    handler;
} ngx_http_intent_api_member_t;


static ngx_int_t ngx_http_intent_api_read_body(
    ngx_http_intent_api_body_t *body);
static ngx_int_t ngx_http_intent_api_required(
    ngx_http_intent_api_body_t *body);
static ngx_int_t ngx_http_intent_api_unknown(ngx_http_intent_api_body_t *body);
static ngx_int_t ngx_http_intent_api_type(ngx_http_intent_api_body_t *body,
    json_t *json);
static ngx_int_t ngx_http_intent_api_params(ngx_http_intent_api_body_t *body,
    json_t *json);
static ngx_int_t ngx_http_intent_api_chain(ngx_http_intent_api_body_t *body,
    json_t *json);
static ngx_int_t ngx_http_intent_api_user_id(ngx_http_intent_api_body_t *body,
    json_t *json);
static ngx_int_t ngx_http_intent_api_expires_at(
    ngx_http_intent_api_body_t *body, json_t *json);
static ngx_int_t ngx_http_intent_api_nonce(ngx_http_intent_api_body_t *body,
    json_t *json);
static ngx_int_t ngx_http_intent_api_signature(
    ngx_http_intent_api_body_t *body, json_t *json);
static ngx_int_t ngx_http_intent_api_signed(ngx_http_intent_api_body_t *body);
static ngx_int_t ngx_http_intent_api_integer(json_t *json, int64_t *value);
static ngx_int_t ngx_http_intent_api_copy(ngx_http_intent_api_body_t *body,
    const char *text, size_t len, ngx_str_t *s);
static ngx_int_t ngx_http_intent_api_caller(ngx_http_intent_api_body_t *body);


/* in the order in which they are judged: params need the type */

static ngx_http_intent_api_member_t  ngx_http_intent_api_members[] = {
    { "type", "/type", ngx_http_intent_api_type },
    { "params", "/params", ngx_http_intent_api_params },
    { "chain", "/chain", ngx_http_intent_api_chain },
    { "userId", "/userId", ngx_http_intent_api_user_id },
    { "expiresAt", "/expiresAt", ngx_http_intent_api_expires_at },
    { "nonce", "/nonce", ngx_http_intent_api_nonce },
    { "signature", "/signature", ngx_http_intent_api_signature },
    { NULL, NULL, NULL }
};


/* those that must be there are the first ones */
#define NGX_HTTP_INTENT_API_REQUIRED  2


static const char  ngx_http_intent_api_no_signatures[] =
    "signatures are not enabled here";


ngx_int_t
ngx_http_intent_api_parse(ngx_http_intent_api_item_t *item, json_t *json)
{
    ngx_int_t                   rc;
    ngx_uint_t                  batch;
    ngx_http_request_t         *r;
    ngx_http_intent_api_body_t  body;

    r = item->ctx->request;
    batch = item->ctx->post->batch;

    ngx_http_intent_clear(&item->intent);

    item->problem.status = NGX_HTTP_BAD_REQUEST;
    item->problem.reason = NGX_HTTP_INTENT_REJECTED_INVALID;

    if (ngx_array_init(&item->problem.faults, r->pool, 2,
                       sizeof(ngx_http_intent_fault_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (!json_is_object(json)) {
        return ngx_http_intent_api_deny(item, NGX_HTTP_BAD_REQUEST,
                                        batch
                                        ? NGX_HTTP_INTENT_REJECTED_INVALID
                                        : NGX_HTTP_INTENT_REJECTED_JSON, "",
                                        batch
                                        ? "an intent must be a JSON object"
                                        : "the body must be a JSON object");
    }

    body.pool = r->pool;
    body.item = item;
    body.intent = &item->intent;
    body.faults = &item->problem.faults;
    body.root = json;
    body.conf = ngx_http_get_module_loc_conf(r, ngx_http_intent_api_module);

    if (ngx_http_intent_api_read_body(&body) != NGX_OK) {
        return NGX_ERROR;
    }

    if (item->problem.faults.nelts) {
        return NGX_DECLINED;
    }

    if (!item->is_signed
        && body.conf->signature == NGX_HTTP_INTENT_SIGNATURE_REQUIRED)
    {
        return ngx_http_intent_api_deny(item, NGX_HTTP_UNAUTHORIZED,
                                        NGX_HTTP_INTENT_REJECTED_SIGNATURE,
                                        "/signature",
                                        "a signature is required here");
    }

    rc = ngx_http_intent_api_caller(&body);

    if (rc == NGX_OK) {
        rc = ngx_http_intent_type_bound(item->type, &item->intent,
                                        &item->problem.faults);
    }

    return (rc == NGX_OK && item->problem.faults.nelts) ? NGX_DECLINED : rc;
}


static ngx_int_t
ngx_http_intent_api_read_body(ngx_http_intent_api_body_t *body)
{
    json_t                        *json;
    ngx_http_intent_api_member_t  *member;

    if (ngx_http_intent_api_required(body) != NGX_OK) {
        return NGX_ERROR;
    }

    for (member = ngx_http_intent_api_members; member->name; member++) {
        json = json_object_get(body->root, member->name);

        if (json && member->handler(body, json) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (ngx_http_intent_api_signed(body) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_intent_api_unknown(body);
}


static ngx_int_t
ngx_http_intent_api_required(ngx_http_intent_api_body_t *body)
{
    ngx_uint_t                     i, missing;
    ngx_http_intent_api_member_t  *member;

    missing = 0;
    member = ngx_http_intent_api_members;

    for (i = 0; i < NGX_HTTP_INTENT_API_REQUIRED; i++) {

        if (json_object_get(body->root, member[i].name)) {
            continue;
        }

        if (missing++ == 0
            && ngx_http_intent_type_fault(body->faults, "",
                                          "Missing required fields")
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (ngx_http_intent_type_fault(body->faults, member[i].pointer,
                                       "is required")
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_api_unknown(ngx_http_intent_api_body_t *body)
{
    json_t                        *json;
    const char                    *name;
    ngx_http_intent_api_member_t  *member;

    json_object_foreach(body->root, name, json) {

        member = ngx_http_intent_api_members;

        while (member->name && ngx_strcmp(member->name, name) != 0) {
            member++;
        }

        if (member->name == NULL
            && ngx_http_intent_type_fault_member(body->faults, "", name,
                                                 "unknown member \"%s\"", name)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_api_type(ngx_http_intent_api_body_t *body, json_t *json)
{
    ngx_str_t  name, *chain;

    if (!json_is_string(json)) {
        return ngx_http_intent_type_fault(body->faults, "/type",
                                          "type must be a string");
    }

    name.data = (u_char *) json_string_value(json);
    name.len = json_string_length(json);

    body->item->type = ngx_http_intent_type_find(&name);

    if (body->item->type == NULL) {
        return ngx_http_intent_type_fault(body->faults, "/type",
                                          "unknown type \"%V\"", &name);
    }

    body->intent->type = *ngx_http_intent_type_name(body->item->type);

    chain = ngx_http_intent_chain_find(
                                 ngx_http_intent_type_chain(body->item->type));
    if (chain) {
        body->intent->chain = *chain;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_api_params(ngx_http_intent_api_body_t *body, json_t *json)
{
    ngx_int_t  rc;

    /* of no type that is known there is nothing to say */

    if (body->item->type == NULL) {
        return NGX_OK;
    }

    rc = ngx_http_intent_type_check(body->item->type, json, body->faults,
                                    body->pool, &body->intent->params);

    return (rc == NGX_ERROR) ? NGX_ERROR : NGX_OK;
}


static ngx_int_t
ngx_http_intent_api_chain(ngx_http_intent_api_body_t *body, json_t *json)
{
    ngx_str_t  name, *chain;

    if (!json_is_string(json)) {
        return ngx_http_intent_type_fault(body->faults, "/chain",
                                          "chain must be a string");
    }

    name.data = (u_char *) json_string_value(json);
    name.len = json_string_length(json);

    chain = name.len ? ngx_http_intent_chain_find(&name) : NULL;

    if (chain == NULL) {
        return ngx_http_intent_type_fault(body->faults, "/chain",
                                          "unknown chain \"%V\"", &name);
    }

    body->intent->chain = *chain;

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_api_user_id(ngx_http_intent_api_body_t *body, json_t *json)
{
    size_t   len;
    u_char  *p;

    if (!json_is_string(json)) {
        goto invalid;
    }

    p = (u_char *) json_string_value(json);
    len = json_string_length(json);

    if (len == 0 || ngx_utf8_length(p, len) > NGX_HTTP_INTENT_API_MAX_USER) {
        goto invalid;
    }

    return ngx_http_intent_api_copy(body, (char *) p, len,
                                    &body->intent->user_id);

invalid:

    return ngx_http_intent_type_fault(body->faults, "/userId",
                                      "userId must be a string of 1 to "
                                      "%d characters",
                                      NGX_HTTP_INTENT_API_MAX_USER);
}


static ngx_int_t
ngx_http_intent_api_expires_at(ngx_http_intent_api_body_t *body, json_t *json)
{
    int64_t     msec, seconds;
    ngx_uint_t  whole;

    whole = 1;

    if (ngx_http_intent_api_integer(json, &seconds) == NGX_OK) {

        if (seconds < 0 || seconds > NGX_HTTP_INTENT_API_MAX_SECONDS) {
            goto invalid;
        }

        msec = seconds * 1000;

    } else if (!json_is_string(json)
               || ngx_http_intent_api_time((u_char *) json_string_value(json),
                                           json_string_length(json), &msec,
                                           &whole)
                  != NGX_OK)
    {
        goto invalid;
    }

    if (msec <= ngx_http_intent_now()) {
        return ngx_http_intent_type_fault(body->faults, "/expiresAt",
                                          "expiresAt must be in the future");
    }

    body->intent->expires_at = msec;
    body->item->whole_seconds = whole;

    return NGX_OK;

invalid:

    return ngx_http_intent_type_fault(body->faults, "/expiresAt",
                                      "expiresAt must be a time like "
                                      "\"2030-01-31T09:00:00Z\" (RFC 3339) "
                                      "or Unix seconds");
}


static ngx_int_t
ngx_http_intent_api_nonce(ngx_http_intent_api_body_t *body, json_t *json)
{
    size_t       len;
    u_char       text[NGX_INT64_LEN];
    int64_t      value;
    evm_u256_t   nonce;
    const char  *p;

    if (body->conf->signature == NGX_HTTP_INTENT_SIGNATURE_OFF) {
        return ngx_http_intent_type_fault(body->faults, "/nonce",
                                          ngx_http_intent_api_no_signatures);
    }

    if (json_is_string(json)) {
        p = json_string_value(json);
        len = json_string_length(json);

    } else if (ngx_http_intent_api_integer(json, &value) == NGX_OK
               && value >= 0 && value <= NGX_HTTP_INTENT_API_MAX_EXACT)
    {
        p = (char *) text;
        len = ngx_sprintf(text, "%L", value) - text;

    } else {
        goto invalid;
    }

    if (evm_u256_from_dec(&nonce, p, len) != EVM_OK) {
        goto invalid;
    }

    return ngx_http_intent_api_copy(body, p, len, &body->intent->nonce);

invalid:

    return ngx_http_intent_type_fault(body->faults, "/nonce",
                                      "nonce must be a whole number below "
                                      "2^256, in a string of decimal digits");
}


static ngx_int_t
ngx_http_intent_api_signature(ngx_http_intent_api_body_t *body, json_t *json)
{
    size_t      n, len;
    ngx_str_t  *signature;

    if (body->conf->signature == NGX_HTTP_INTENT_SIGNATURE_OFF) {
        return ngx_http_intent_type_fault(body->faults, "/signature",
                                          ngx_http_intent_api_no_signatures);
    }

    body->item->is_signed = 1;

    len = json_is_string(json) ? json_string_length(json) : 0;

    if (len < 2 || len > 2 + 2 * NGX_HTTP_INTENT_API_MAX_SIGNATURE) {
        goto invalid;
    }

    signature = &body->intent->signature;

    n = len / 2;
    signature->data = ngx_pnalloc(body->pool, n);

    if (signature->data == NULL) {
        return NGX_ERROR;
    }

    if (evm_hex_decode(json_string_value(json), len, signature->data, &n)
        != EVM_OK)
    {
        goto invalid;
    }

    signature->len = n;

    return NGX_OK;

invalid:

    return ngx_http_intent_type_fault(body->faults, "/signature",
                                      "signature must be a string of 0x and "
                                      "an even number of hex digits, "
                                      "for at most %d bytes",
                                      NGX_HTTP_INTENT_API_MAX_SIGNATURE);
}


/*
 * What a signature asks of other members: its deadline, after which its digest
 * may be forgotten, not too far away and in the unit in which it was signed; a
 * user that can have signed, for the user is signed, too.
 */

static ngx_int_t
ngx_http_intent_api_signed(ngx_http_intent_api_body_t *body)
{
    u_char              address[EVM_ADDRESS_LEN];
    ngx_int_t           rc;
    ngx_http_intent_t  *in;

    in = body->intent;

    if (!body->item->is_signed) {
        return (in->nonce.len == 0)
               ? NGX_OK
               : ngx_http_intent_type_fault(body->faults, "/nonce",
                                            "nonce is that of a signed intent,"
                                            " and there is no signature");
    }

    rc = NGX_OK;

    if (json_object_get(body->root, "expiresAt") == NULL) {
        rc |= ngx_http_intent_type_fault(body->faults, "/expiresAt",
                                         "is required in a signed intent");

    } else if (in->expires_at >= 0 && !body->item->whole_seconds) {
        rc |= ngx_http_intent_type_fault(body->faults, "/expiresAt",
                                         "expiresAt of a signed intent must "
                                         "be whole seconds");

    } else if (in->expires_at > ngx_http_intent_now()
                                + NGX_HTTP_INTENT_API_MAX_DAYS * 86400000LL)
    {
        rc |= ngx_http_intent_type_fault(body->faults, "/expiresAt",
                                         "expiresAt of a signed intent must "
                                         "be at most %d days ahead",
                                         NGX_HTTP_INTENT_API_MAX_DAYS);
    }

    /* where intent_user says who calls, that is who signs */

    if (json_object_get(body->root, "userId") == NULL
        && body->item->ctx->user.len == 0)
    {
        rc |= ngx_http_intent_type_fault(body->faults, "/userId",
                                         "is required in a signed intent");

    } else if (in->user_id.len
               && !ngx_http_intent_api_is_address(&in->user_id, address))
    {
        rc |= ngx_http_intent_type_fault(body->faults, "/userId",
                                         "userId of a signed intent must be "
                                         "the signer's address");
    }

    if (in->nonce.len == 0) {
        ngx_str_set(&in->nonce, "0");
    }

    return (rc == NGX_OK) ? NGX_OK : NGX_ERROR;
}


/* 4e9 and 5.0 are integers to JSON Schema */

static ngx_int_t
ngx_http_intent_api_integer(json_t *json, int64_t *value)
{
    double  real;

    if (json_is_integer(json)) {
        *value = json_integer_value(json);
        return NGX_OK;
    }

    real = json_is_real(json) ? json_real_value(json) : 0.5;

    if (real < -NGX_HTTP_INTENT_API_MAX_EXACT
        || real > NGX_HTTP_INTENT_API_MAX_EXACT
        || real != (double) (int64_t) real)
    {
        return NGX_ERROR;
    }

    *value = (int64_t) real;

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_api_copy(ngx_http_intent_api_body_t *body, const char *text,
    size_t len, ngx_str_t *s)
{
    s->data = ngx_pnalloc(body->pool, len);

    if (s->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(s->data, text, len);
    s->len = len;

    return NGX_OK;
}


/* where intent_user says who calls, nobody can say it is somebody else */

static ngx_int_t
ngx_http_intent_api_caller(ngx_http_intent_api_body_t *body)
{
    u_char       address[EVM_ADDRESS_LEN];
    ngx_str_t   *user, *user_id;
    ngx_uint_t   is_signed;

    user = &body->item->ctx->user;
    user_id = &body->intent->user_id;
    is_signed = body->item->is_signed;

    if (is_signed && user->len == 0) {

        /* who signs writes the own address in any case */

        if (!ngx_http_intent_api_is_address(user_id, address)) {
            return NGX_ERROR;
        }

        evm_address_format(address, (char *) body->item->user_buffer);
        user_id->data = body->item->user_buffer;

        return NGX_OK;
    }

    if (body->conf->user == NULL) {
        return NGX_OK;
    }

    if (user_id->len && !ngx_http_intent_api_same_user(user_id, user)) {

        /* the log names who asked, not whom they named */

        *user_id = *user;

        return ngx_http_intent_api_deny(body->item, NGX_HTTP_FORBIDDEN,
                                        NGX_HTTP_INTENT_REJECTED_USER,
                                        "/userId",
                                        "userId must be the caller's own");
    }

    if (is_signed && !ngx_http_intent_api_is_address(user, address)) {
        return ngx_http_intent_api_deny(body->item, NGX_HTTP_FORBIDDEN,
                                        NGX_HTTP_INTENT_REJECTED_USER,
                                        "/signature",
                                        "signature must be the caller's "
                                        "own, whose name is no address");
    }

    *user_id = *user;

    return NGX_OK;
}
