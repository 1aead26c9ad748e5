
/*
 * The body of a POST, into one buffer, never to disk.
 */


#include "ngx_http_intent_api.h"


static ngx_uint_t ngx_http_intent_api_is_json(ngx_http_request_t *r);
static ngx_uint_t ngx_http_intent_api_is_encoded(ngx_http_request_t *r);
static ngx_int_t ngx_http_intent_api_refuse(ngx_http_request_t *r,
    ngx_uint_t status, ngx_uint_t reason, const char *detail);
static void ngx_http_intent_api_body_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_intent_api_collect(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx);
static ngx_int_t ngx_http_intent_api_append(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx, ngx_buf_t *b);
static ngx_int_t ngx_http_intent_api_unread(ngx_http_request_t *r,
    ngx_int_t rc);


static const char  ngx_http_intent_api_too_large[] =
    "the body is larger than this server takes";


ngx_int_t
ngx_http_intent_api_read(ngx_http_request_t *r, ngx_http_intent_api_ctx_t *ctx)
{
    ngx_int_t                        rc;
    ngx_http_intent_api_loc_conf_t  *alcf;

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_intent_api_module);

    if (!ngx_http_intent_api_is_json(r)) {
        return ngx_http_intent_api_refuse(r, NGX_HTTP_UNSUPPORTED_MEDIA_TYPE,
                                        NGX_HTTP_INTENT_REJECTED_MEDIA_TYPE,
                                        "the body must be application/json");
    }

    if (ngx_http_intent_api_is_encoded(r)) {
        return ngx_http_intent_api_refuse(r, NGX_HTTP_UNSUPPORTED_MEDIA_TYPE,
                                        NGX_HTTP_INTENT_REJECTED_MEDIA_TYPE,
                                        "the body must have no "
                                        "Content-Encoding");
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


/* nginx has no field of it; "identity" is none: RFC 9110, 12.5.3 */

static ngx_uint_t
ngx_http_intent_api_is_encoded(ngx_http_request_t *r)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *header;

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        header = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (header[i].key.len == sizeof("Content-Encoding") - 1
                && ngx_strncasecmp(header[i].key.data,
                                   (u_char *) "Content-Encoding",
                                   sizeof("Content-Encoding") - 1)
                   == 0
                && (header[i].value.len != sizeof("identity") - 1
                    || ngx_strncasecmp(header[i].value.data,
                                       (u_char *) "identity",
                                       sizeof("identity") - 1)
                       != 0))
            {
                return 1;
            }
        }
    }

    return 0;
}


/* before the body was read */

static ngx_int_t
ngx_http_intent_api_refuse(ngx_http_request_t *r, ngx_uint_t status,
    ngx_uint_t reason, const char *detail)
{
    ngx_int_t  rc;

    ngx_http_intent_api_rejected(NULL, reason);

    rc = ngx_http_intent_api_discard(r);

    if (rc != NGX_OK) {
        return rc;
    }

    if (status == NGX_HTTP_REQUEST_ENTITY_TOO_LARGE) {
        r->keepalive = 0;
    }

    return ngx_http_intent_api_problem(r, status, detail, NULL);
}


ngx_int_t
ngx_http_intent_api_discard(ngx_http_request_t *r)
{
    if (r->headers_in.expect == NULL || r->expect_tested
#if (NGX_HTTP_V2)
        || r->stream
#endif
       )
    {
        return ngx_http_discard_request_body(r);
    }

    r->expect_tested = 1;
    r->keepalive = 0;

    /* what comes all the same must not reset the connection */

    r->lingering_close = 1;

    return NGX_OK;
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

    if (rc != NGX_BUSY) {
        ngx_http_finalize_request(r, rc);
    }
}


/*
 * NGX_OK: the body is whole; NGX_AGAIN: more is to come; NGX_DECLINED: it
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
    ngx_http_intent_api_post_t      *post;
    ngx_http_intent_api_loc_conf_t  *alcf;

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_intent_api_module);
    post = ctx->post;

    if (b->in_file) {
        return NGX_DECLINED;
    }

    len = b->last - b->pos;

    if (len == 0) {
        return NGX_OK;
    }

    if (len > alcf->max_body - post->body.len) {
        return NGX_DECLINED;
    }

    /* most bodies came with the headers, whole: they can stay there */

    if (post->body.len == 0 && b->last_buf) {
        post->body.data = b->pos;
        post->body.len = len;
        return NGX_OK;
    }

    if (post->body_size == 0) {
        post->body_size = (r->headers_in.chunked || r != r->main
                          || r->headers_in.content_length_n < 0)
                         ? alcf->max_body
                         : (size_t) r->headers_in.content_length_n;

        post->body.data = ngx_pnalloc(r->pool, post->body_size);
        if (post->body.data == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    /* the length is what the client said, and what came cannot be more */

    if (len > post->body_size - post->body.len) {
        return NGX_HTTP_BAD_REQUEST;
    }

    ngx_memcpy(post->body.data + post->body.len, b->pos, len);
    post->body.len += len;

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
