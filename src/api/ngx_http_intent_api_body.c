
/*
 * The body of a POST: JSON into an intent, or everything that is wrong.
 */


#include "ngx_http_intent_api.h"
#include "ngx_http_intent_chain.h"


/* an intent has three levels; the parser recurses, and memory is not free */
#define NGX_HTTP_INTENT_API_MAX_DEPTH    16

#define NGX_HTTP_INTENT_API_MAX_USER     256

/* the last second of the year 9999, which is the last that RFC 3339 has */
#define NGX_HTTP_INTENT_API_MAX_SECONDS  253402300799LL


typedef struct {
    ngx_http_request_t            *request;
    ngx_http_intent_api_ctx_t     *ctx;
    ngx_http_intent_problem_t     *problem;
    ngx_array_t                   *faults;
    json_t                        *root;
} ngx_http_intent_api_body_t;


typedef ngx_int_t (*ngx_http_intent_api_member_pt)(
    ngx_http_intent_api_body_t *body, json_t *json);

typedef struct {
    const char                      *name;
    const char                      *pointer;
    ngx_http_intent_api_member_pt    handler;
} ngx_http_intent_api_member_t;


static json_t *ngx_http_intent_api_load(ngx_http_intent_api_ctx_t *ctx,
    ngx_http_intent_problem_t *problem);
static ngx_int_t ngx_http_intent_api_scan(ngx_str_t *body,
    json_error_t *error);
static ngx_int_t ngx_http_intent_api_unreadable(
    ngx_http_intent_problem_t *problem, json_error_t *error);
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
static ngx_int_t ngx_http_intent_api_signature(
    ngx_http_intent_api_body_t *body, json_t *json);
static ngx_int_t ngx_http_intent_api_copy(ngx_http_intent_api_body_t *body,
    json_t *json, ngx_str_t *s);
static ngx_int_t ngx_http_intent_api_caller(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx, ngx_http_intent_problem_t *problem);
static ngx_int_t ngx_http_intent_api_new(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx);


/* in the order in which they are judged: params need the type */

static ngx_http_intent_api_member_t  ngx_http_intent_api_members[] = {
    { "type", "/type", ngx_http_intent_api_type },
    { "params", "/params", ngx_http_intent_api_params },
    { "chain", "/chain", ngx_http_intent_api_chain },
    { "userId", "/userId", ngx_http_intent_api_user_id },
    { "expiresAt", "/expiresAt", ngx_http_intent_api_expires_at },
    { "nonce", "/nonce", ngx_http_intent_api_signature },
    { "signature", "/signature", ngx_http_intent_api_signature },
    { NULL, NULL, NULL }
};


/* those that must be there are the first ones */
#define NGX_HTTP_INTENT_API_REQUIRED  2


ngx_int_t
ngx_http_intent_api_parse(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx, ngx_http_intent_problem_t *problem)
{
    ngx_int_t                   rc;
    ngx_http_intent_api_body_t  body;

    problem->status = NGX_HTTP_BAD_REQUEST;
    problem->reason = NGX_HTTP_INTENT_REJECTED_JSON;

    if (ngx_array_init(&problem->faults, r->pool, 2,
                       sizeof(ngx_http_intent_fault_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    body.root = ngx_http_intent_api_load(ctx, problem);

    if (body.root == NULL) {
        return problem->faults.nelts ? NGX_DECLINED : NGX_ERROR;
    }

    problem->reason = NGX_HTTP_INTENT_REJECTED_INVALID;

    ctx->intent = ngx_palloc(r->pool, sizeof(ngx_http_intent_t));

    if (ctx->intent == NULL) {
        json_decref(body.root);
        return NGX_ERROR;
    }

    ngx_http_intent_clear(ctx->intent);

    body.request = r;
    body.ctx = ctx;
    body.problem = problem;
    body.faults = &problem->faults;

    rc = ngx_http_intent_api_read_body(&body);

    json_decref(body.root);

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    if (problem->faults.nelts) {
        return NGX_DECLINED;
    }

    rc = ngx_http_intent_api_caller(r, ctx, problem);

    return (rc == NGX_OK) ? ngx_http_intent_api_new(r, ctx) : rc;
}


/* NULL: there is a fault that says why; without one there was no memory */

static json_t *
ngx_http_intent_api_load(ngx_http_intent_api_ctx_t *ctx,
    ngx_http_intent_problem_t *problem)
{
    json_t        *root;
    json_error_t   error;

    ngx_memzero(&error, sizeof(json_error_t));

    if (ctx->body.len == 0) {
        (void) ngx_http_intent_type_fault(&problem->faults, "",
                                          "the body is empty, "
                                          "it must be a JSON object");
        return NULL;
    }

    if (ngx_http_intent_api_scan(&ctx->body, &error) != NGX_OK) {
        (void) ngx_http_intent_api_unreadable(problem, &error);
        return NULL;
    }

    root = json_loadb((char *) ctx->body.data, ctx->body.len,
                      JSON_REJECT_DUPLICATES, &error);

    if (root == NULL) {
        (void) ngx_http_intent_api_unreadable(problem, &error);
        return NULL;
    }

    if (!json_is_object(root)) {
        json_decref(root);
        (void) ngx_http_intent_type_fault(&problem->faults, "",
                                          "the body must be a JSON object");
        return NULL;
    }

    return root;
}


/* what the parser would take, or not name */

static ngx_int_t
ngx_http_intent_api_scan(ngx_str_t *body, json_error_t *error)
{
    u_char      *p, *last, *line;
    ngx_uint_t   depth, quoted, lines;

    depth = 0;
    quoted = 0;
    lines = 1;
    line = body->data;
    last = body->data + body->len;

    for (p = body->data; p < last; p++) {

        switch (*p) {

        case '\0':
            ngx_sprintf((u_char *) error->text, "a NUL byte%Z");
            goto found;

        case '\n':
            lines++;
            line = p + 1;
            break;

        case '\\':
            p += quoted;
            break;

        case '"':
            quoted = !quoted;
            break;

        case '[':
        case '{':

            if (!quoted && ++depth > NGX_HTTP_INTENT_API_MAX_DEPTH) {
                ngx_sprintf((u_char *) error->text, "more than %d levels%Z",
                            NGX_HTTP_INTENT_API_MAX_DEPTH);
                goto found;
            }

            break;

        case ']':
        case '}':
            depth -= (!quoted && depth);
            break;

        default:
            break;
        }
    }

    return NGX_OK;

found:

    error->line = lines;
    error->column = p - line + 1;
    error->position = p - body->data + 1;

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_intent_api_unreadable(ngx_http_intent_problem_t *problem,
    json_error_t *error)
{
    char  *text;

    /* "\u0000 is not allowed without JSON_ALLOW_NUL" helps no user */

    if (json_error_code(error) == json_error_null_character) {
        ngx_sprintf((u_char *) error->text, "\\u0000 is not allowed%Z");
    }

    /* jansson cites the body, which may be anything */

    for (text = error->text; *text; text++) {
        if (*text < 0x20 || *text > 0x7e) {
            *text = '?';
        }
    }

    return ngx_http_intent_type_fault(&problem->faults, "",
                                      "the body cannot be read as JSON: %s, "
                                      "at line %d, column %d (byte %d)",
                                      error->text, error->line,
                                      error->column, error->position);
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

    body->ctx->type = ngx_http_intent_type_find(&name);

    if (body->ctx->type == NULL) {
        return ngx_http_intent_type_fault(body->faults, "/type",
                                          "unknown type \"%V\"", &name);
    }

    body->ctx->intent->type = *ngx_http_intent_type_name(body->ctx->type);

    chain = ngx_http_intent_chain_find(
                                  ngx_http_intent_type_chain(body->ctx->type));
    if (chain) {
        body->ctx->intent->chain = *chain;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_api_params(ngx_http_intent_api_body_t *body, json_t *json)
{
    ngx_int_t  rc;

    /* of no type that is known there is nothing to say */

    if (body->ctx->type == NULL) {
        return NGX_OK;
    }

    rc = ngx_http_intent_type_check(body->ctx->type, json, body->faults,
                                    body->request->pool,
                                    &body->ctx->intent->params);

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

    body->ctx->intent->chain = *chain;

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_api_user_id(ngx_http_intent_api_body_t *body, json_t *json)
{
    if (!json_is_string(json)
        || json_string_length(json) == 0
        || json_string_length(json) > NGX_HTTP_INTENT_API_MAX_USER)
    {
        return ngx_http_intent_type_fault(body->faults, "/userId",
                                          "userId must be a string of 1 to "
                                          "%d bytes",
                                          NGX_HTTP_INTENT_API_MAX_USER);
    }

    return ngx_http_intent_api_copy(body, json, &body->ctx->intent->user_id);
}


static ngx_int_t
ngx_http_intent_api_expires_at(ngx_http_intent_api_body_t *body, json_t *json)
{
    int64_t     msec;
    json_int_t  seconds;

    if (json_is_integer(json)) {
        seconds = json_integer_value(json);

        if (seconds < 0 || seconds > NGX_HTTP_INTENT_API_MAX_SECONDS) {
            goto invalid;
        }

        msec = (int64_t) seconds * 1000;

    } else if (!json_is_string(json)
               || ngx_http_intent_api_time((u_char *) json_string_value(json),
                                           json_string_length(json), &msec)
                  != NGX_OK
               || msec / 1000 > NGX_HTTP_INTENT_API_MAX_SECONDS)
    {
        goto invalid;
    }

    if (msec <= ngx_http_intent_now()) {
        return ngx_http_intent_type_fault(body->faults, "/expiresAt",
                                          "expiresAt must be in the future");
    }

    body->ctx->intent->expires_at = msec;

    return NGX_OK;

invalid:

    return ngx_http_intent_type_fault(body->faults, "/expiresAt",
                                      "expiresAt must be a time like "
                                      "\"2030-01-31T09:00:00Z\" (RFC 3339) "
                                      "or Unix seconds");
}


static ngx_int_t
ngx_http_intent_api_signature(ngx_http_intent_api_body_t *body, json_t *json)
{
    const char  *pointer;

    pointer = (json == json_object_get(body->root, "nonce")) ? "/nonce"
                                                             : "/signature";

    return ngx_http_intent_type_fault(body->faults, pointer,
                                      "signatures are not enabled here");
}


static ngx_int_t
ngx_http_intent_api_copy(ngx_http_intent_api_body_t *body, json_t *json,
    ngx_str_t *s)
{
    s->len = json_string_length(json);
    s->data = ngx_pnalloc(body->request->pool, s->len);

    if (s->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(s->data, json_string_value(json), s->len);

    return NGX_OK;
}


/* where intent_user says who calls, nobody can say it is somebody else */

static ngx_int_t
ngx_http_intent_api_caller(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx, ngx_http_intent_problem_t *problem)
{
    ngx_str_t                       *user_id;
    ngx_http_intent_api_loc_conf_t  *alcf;

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_intent_api_module);

    if (alcf->user == NULL) {
        return NGX_OK;
    }

    if (ngx_http_complex_value(r, alcf->user, &ctx->user) != NGX_OK) {
        return NGX_ERROR;
    }

    user_id = &ctx->intent->user_id;

    problem->status = NGX_HTTP_FORBIDDEN;
    problem->reason = NGX_HTTP_INTENT_REJECTED_USER;

    if (ctx->user.len > NGX_HTTP_INTENT_API_MAX_USER
        || !ngx_http_intent_api_is_utf8(&ctx->user))
    {
        ngx_str_null(&ctx->user);
        problem->detail = "the caller's name must be UTF-8 "
                          "of up to 256 bytes";
        return NGX_DECLINED;
    }

    if (user_id->len
        && (user_id->len != ctx->user.len
            || ngx_memcmp(user_id->data, ctx->user.data, user_id->len) != 0))
    {
        if (ngx_http_intent_type_fault(&problem->faults, "/userId",
                                       "userId must be the caller's own")
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        /* the log names who asked, not whom they named */

        *user_id = ctx->user;

        return NGX_DECLINED;
    }

    *user_id = ctx->user;

    return NGX_OK;
}


ngx_uint_t
ngx_http_intent_api_is_utf8(ngx_str_t *s)
{
    u_char    *p, *last;
    uint32_t   ch;

    p = s->data;
    last = p + s->len;

    while (p < last) {

        if (*p < 0x80) {
            if (*p++ == '\0') {
                return 0;
            }

            continue;
        }

        ch = ngx_utf8_decode(&p, last - p);

        /* surrogates are not characters, and Postgres knows */

        if (ch > 0x10ffff || (ch >= 0xd800 && ch <= 0xdfff)) {
            return 0;
        }
    }

    return 1;
}


static ngx_int_t
ngx_http_intent_api_new(ngx_http_request_t *r, ngx_http_intent_api_ctx_t *ctx)
{
    ngx_http_intent_t  *in;

    in = ctx->intent;

    if (ngx_http_intent_id(ctx->id_buffer) != NGX_OK) {
        return NGX_ERROR;
    }

    in->id.data = ctx->id_buffer;
    in->id.len = NGX_HTTP_INTENT_ID_LEN;

    in->created_at = ngx_http_intent_now();
    in->updated_at = in->created_at;

    return NGX_OK;
}
