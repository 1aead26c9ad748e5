
/*
 * POST of one intent: its body, the store, 202.
 */


#include "ngx_http_intent_api.h"
#include "ngx_http_intent_chain.h"
#include "ngx_http_intent_store.h"


static ngx_uint_t ngx_http_intent_api_is_json(ngx_http_request_t *r);
static ngx_int_t ngx_http_intent_api_refuse(ngx_http_request_t *r,
    ngx_uint_t status, ngx_uint_t reason, const char *detail);
static void ngx_http_intent_api_body_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_intent_api_collect(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx);
static ngx_int_t ngx_http_intent_api_append(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx, ngx_buf_t *b);
static ngx_int_t ngx_http_intent_api_unread(ngx_http_request_t *r,
    ngx_int_t rc);
static ngx_int_t ngx_http_intent_api_accept(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx);
static ngx_int_t ngx_http_intent_api_keep(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx);
static void ngx_http_intent_api_kept_handler(ngx_http_intent_transition_t *t,
    ngx_int_t rc);
static ngx_int_t ngx_http_intent_api_accepted(ngx_http_request_t *r,
    ngx_http_intent_t *in);


static const char  ngx_http_intent_api_too_large[] =
    "the body is larger than this server takes";

static const char  ngx_http_intent_api_not_kept[] =
    "the intent could not be kept, please try again later";


ngx_int_t
ngx_http_intent_api_create(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx)
{
    ngx_int_t                        rc;
    ngx_http_intent_api_loc_conf_t  *alcf;

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_intent_api_module);

    if (!ngx_http_intent_api_is_json(r)) {
        return ngx_http_intent_api_refuse(r, NGX_HTTP_UNSUPPORTED_MEDIA_TYPE,
                                        NGX_HTTP_INTENT_REJECTED_MEDIA_TYPE,
                                        "the body must be application/json");
    }

    if (r->headers_in.content_length_n > (off_t) alcf->max_body) {
        return ngx_http_intent_api_refuse(r, NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                                        NGX_HTTP_INTENT_REJECTED_TOO_LARGE,
                                        ngx_http_intent_api_too_large);
    }

    /* nothing is written to disk, and the limit is ours to see */

    r->request_body_no_buffering = 1;

    rc = ngx_http_read_client_request_body(r,
                                           ngx_http_intent_api_body_handler);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return ngx_http_intent_api_unread(r, rc);
    }

    return NGX_DONE;
}


/* "application/json", "application/anything+json" */

static ngx_uint_t
ngx_http_intent_api_is_json(ngx_http_request_t *r)
{
    u_char     *p;
    size_t      len;
    ngx_str_t  *type;

    if (r->headers_in.content_type == NULL) {
        return 0;
    }

    type = &r->headers_in.content_type->value;

    p = ngx_strlchr(type->data, type->data + type->len, ';');
    len = p ? (size_t) (p - type->data) : type->len;

    while (len && (type->data[len - 1] == ' ' || type->data[len - 1] == '\t'))
    {
        len--;
    }

    if (len < sizeof("application/json") - 1
        || ngx_strncasecmp(type->data, (u_char *) "application/",
                           sizeof("application/") - 1)
           != 0)
    {
        return 0;
    }

    if (len == sizeof("application/json") - 1) {
        return ngx_strncasecmp(type->data + len - 4, (u_char *) "json", 4)
               == 0;
    }

    return ngx_strncasecmp(type->data + len - 5, (u_char *) "+json", 5) == 0;
}


/* before the body was read */

static ngx_int_t
ngx_http_intent_api_refuse(ngx_http_request_t *r, ngx_uint_t status,
    ngx_uint_t reason, const char *detail)
{
    ngx_int_t  rc;

    ngx_http_intent_api_rejected(NULL, reason);

    /* who asks before it sends is not told to */

    r->expect_tested = 1;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    if (status == NGX_HTTP_REQUEST_ENTITY_TOO_LARGE) {
        r->keepalive = 0;
    }

    return ngx_http_intent_api_problem(r, status, detail, NULL);
}


/* called whenever there is something of the body to read */

static void
ngx_http_intent_api_body_handler(ngx_http_request_t *r)
{
    ngx_int_t                   rc;
    ngx_http_intent_api_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_intent_api_module);

    rc = ngx_http_intent_api_collect(r, ctx);

    if (rc == NGX_AGAIN) {
        r->read_event_handler = ngx_http_intent_api_body_handler;
        return;
    }

    r->read_event_handler = ngx_http_block_reading;

    switch (rc) {

    case NGX_OK:
        rc = ngx_http_intent_api_accept(r, ctx);
        break;

    case NGX_DECLINED:
        ngx_http_intent_api_rejected(NULL, NGX_HTTP_INTENT_REJECTED_TOO_LARGE);

        r->keepalive = 0;
        rc = ngx_http_intent_api_problem(r, NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                                         ngx_http_intent_api_too_large, NULL);
        break;

    default: /* NGX_ERROR, 400, 408, 500 */
        rc = ngx_http_intent_api_unread(r, rc);
        break;
    }

    if (rc != NGX_AGAIN) {
        ngx_http_finalize_request(r, rc);
    }
}


/*
 * NGX_OK: ctx->body is whole; NGX_AGAIN: more is to come; NGX_DECLINED: it
 * is too large; else an error as nginx has them.
 */

static ngx_int_t
ngx_http_intent_api_collect(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx)
{
    ngx_int_t     rc;
    ngx_chain_t  *cl, *next;

    /* a subrequest without a body */

    if (r->request_body == NULL) {
        return NGX_OK;
    }

    for ( ;; ) {

        for (cl = r->request_body->bufs; cl; cl = next) {
            next = cl->next;

            rc = ngx_http_intent_api_append(r, ctx, cl->buf);

            if (rc != NGX_OK) {
                return rc;
            }

            /* a body that was whole before may be read by others too */

            if (r->reading_body) {
                cl->buf->pos = cl->buf->last;
                ngx_free_chain(r->pool, cl);
            }
        }

        if (!r->reading_body) {
            return NGX_OK;
        }

        r->request_body->bufs = NULL;

        rc = ngx_http_read_unbuffered_request_body(r);

        if (rc >= NGX_HTTP_SPECIAL_RESPONSE || rc == NGX_ERROR) {
            return rc;
        }

        if (r->reading_body && r->request_body->bufs == NULL) {
            return NGX_AGAIN;
        }
    }
}


static ngx_int_t
ngx_http_intent_api_append(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx, ngx_buf_t *b)
{
    size_t                           len;
    ngx_http_intent_api_loc_conf_t  *alcf;

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_intent_api_module);

    if (b->in_file) {
        return NGX_DECLINED;
    }

    len = b->last - b->pos;

    if (len == 0) {
        return NGX_OK;
    }

    if (len > alcf->max_body - ctx->body.len) {
        return NGX_DECLINED;
    }

    /* most bodies came with the headers, whole: they can stay there */

    if (ctx->body.len == 0 && b->last_buf) {
        ctx->body.data = b->pos;
        ctx->body.len = len;
        return NGX_OK;
    }

    if (ctx->body_size == 0) {
        ctx->body_size = (r->headers_in.chunked || r != r->main
                          || r->headers_in.content_length_n < 0)
                         ? alcf->max_body
                         : (size_t) r->headers_in.content_length_n;

        ctx->body.data = ngx_pnalloc(r->pool, ctx->body_size);
        if (ctx->body.data == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    /* the length is what the client said, and what came cannot be more */

    if (len > ctx->body_size - ctx->body.len) {
        return NGX_HTTP_BAD_REQUEST;
    }

    ngx_memcpy(ctx->body.data + ctx->body.len, b->pos, len);
    ctx->body.len += len;

    return NGX_OK;
}


/* what nginx says of a body, in our words where there is a client to read */

static ngx_int_t
ngx_http_intent_api_unread(ngx_http_request_t *r, ngx_int_t rc)
{
    if (rc != NGX_HTTP_BAD_REQUEST || r->connection->error) {
        return rc;
    }

    r->keepalive = 0;

    return ngx_http_intent_api_problem(r, rc, "the body is not framed "
                                       "as HTTP demands", NULL);
}


/* NGX_AGAIN: the store has the intent now */

static ngx_int_t
ngx_http_intent_api_accept(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx)
{
    ngx_int_t                  rc;
    ngx_http_intent_problem_t  problem;

    ngx_memzero(&problem, sizeof(ngx_http_intent_problem_t));

    rc = ngx_http_intent_api_parse(r, ctx, &problem);

    if (rc == NGX_DECLINED) {
        ngx_http_intent_api_rejected(ctx->type, problem.reason);

        return ngx_http_intent_api_problem(r, problem.status, problem.detail,
                                           &problem.faults);
    }

    if (rc != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_intent_api_keep(r, ctx);
}


static ngx_int_t
ngx_http_intent_api_keep(ngx_http_request_t *r, ngx_http_intent_api_ctx_t *ctx)
{
    ngx_http_intent_transition_t  *t;

    ctx->change.intent = ctx->intent;
    ctx->change.to = NGX_HTTP_INTENT_PENDING;

    t = &ctx->transition;

    t->changes = &ctx->change;
    t->nchanges = 1;
    t->record = ngx_http_intent_store_create;
    t->handler = ngx_http_intent_api_kept_handler;
    t->data = ctx;
    t->log = r->connection->log;

    if (ngx_http_intent_transition(t) == NGX_OK) {
        ngx_http_intent_api_wait(r);
        return NGX_AGAIN;
    }

    ngx_http_intent_api_rejected(ctx->type, NGX_HTTP_INTENT_REJECTED_STORE);

    return ngx_http_intent_api_problem(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                                       ngx_http_intent_api_not_kept, NULL);
}


static void
ngx_http_intent_api_kept_handler(ngx_http_intent_transition_t *t, ngx_int_t rc)
{
    ngx_http_intent_api_ctx_t  *ctx = t->data;

    ngx_http_request_t  *r;

    r = ctx->request;

    ngx_http_intent_api_resume(r);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "intent api kept: %i, intent %V", rc, &ctx->intent->id);

    if (rc == NGX_OK && !ctx->change.refused) {

        /* it is there and will be made, whether or not the client is */

        ngx_http_intent_chain_wake(&ctx->intent->chain);

        rc = r->connection->error ? NGX_ERROR
                                  : ngx_http_intent_api_accepted(r,
                                                                 ctx->intent);
    } else {
        ngx_http_intent_api_rejected(ctx->type,
                                     NGX_HTTP_INTENT_REJECTED_STORE);

        rc = r->connection->error ? NGX_ERROR
                                  : ngx_http_intent_api_problem(r,
                                               NGX_HTTP_SERVICE_UNAVAILABLE,
                                               ngx_http_intent_api_not_kept,
                                               NULL);
    }

    ngx_http_intent_api_finalize(r, rc);
}


static ngx_int_t
ngx_http_intent_api_accepted(ngx_http_request_t *r, ngx_http_intent_t *in)
{
    u_char                          *p;
    ngx_str_t                        json, location;
    ngx_http_intent_api_loc_conf_t  *alcf;

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_intent_api_module);

    json = ngx_http_intent_json(r->pool, in);
    if (json.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    location.len = alcf->prefix.len + 1 + in->id.len;
    location.data = ngx_pnalloc(r->pool, location.len);
    if (location.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    p = ngx_cpymem(location.data, alcf->prefix.data, alcf->prefix.len);
    *p++ = '/';
    ngx_memcpy(p, in->id.data, in->id.len);

    /* not headers_out.location: nginx would put its own scheme and host on */

    if (ngx_http_intent_api_header(r, "Location", &location) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_intent_api_send(r, NGX_HTTP_ACCEPTED, &json);
}
