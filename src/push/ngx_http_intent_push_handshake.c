
/*
 * The opening handshake of a WebSocket, RFC 6455, section 4.2.
 *
 * After the 101 has left, HTTP is over for the connection: the request is
 * freed with its pool and the buffers of its header, as a keepalive does it,
 * and what remains is the socket and what this transport keeps of it.  So an
 * idle WebSocket costs little more than an idle keepalive.
 */


#include "ngx_http_intent_push_websocket.h"

#include <ngx_sha1.h>


#define NGX_HTTP_INTENT_PUSH_KEY_LEN      24        /* base64 of 16 bytes */
#define NGX_HTTP_INTENT_PUSH_GUID                                             \
    "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#define NGX_HTTP_INTENT_PUSH_SHA1_LEN     20


static ngx_int_t ngx_http_intent_push_accept(ngx_http_request_t *r,
    ngx_str_t *key);
static ngx_int_t ngx_http_intent_push_upgrade_required(ngx_http_request_t *r,
    ngx_http_intent_push_caller_t *caller, const char *detail);
static ngx_int_t ngx_http_intent_push_origin_is(ngx_str_t *origin,
    ngx_str_t *pattern);
static ngx_uint_t ngx_http_intent_push_has_token(ngx_http_request_t *r,
    const char *name, const char *token);
static void ngx_http_intent_push_write_handshake(ngx_http_request_t *r);
static void ngx_http_intent_push_take(ngx_http_intent_push_ws_t *ws);
static void ngx_http_intent_push_free_buffers(ngx_connection_t *c,
    ngx_http_connection_t *hc);
static void ngx_http_intent_push_handshake_cleanup(void *data);


ngx_int_t
ngx_http_intent_push_websocket(ngx_http_request_t *r,
    ngx_http_intent_push_caller_t *caller)
{
    ngx_int_t                   rc, answer;
    ngx_str_t                   key;
    ngx_http_intent_push_ws_t  *ws;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_http_intent_push_check(r, caller, &key, &answer) != NGX_OK) {
        return answer;
    }

    ws = ngx_calloc(sizeof(ngx_http_intent_push_ws_t) + caller->user.len,
                    r->connection->log);
    if (ws == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ws->request = r;
    ws->connection = r->connection;
    ws->conf = ngx_http_get_module_loc_conf(r, ngx_http_intent_push_module);
    ws->reader.max_message = ws->conf->message_size;
    ws->last = &ws->out;

    ngx_memcpy(ws->user, caller->user.data, caller->user.len);
    ws->client.user.data = ws->user;
    ws->client.user.len = caller->user.len;

    rc = ngx_http_intent_push_open(&ws->client,
                                   &ngx_http_intent_push_ws_transport, r);
    if (rc != NGX_OK) {
        ngx_free(ws);

        return (rc == NGX_DECLINED)
               ? caller->problem(r, NGX_HTTP_TOO_MANY_REQUESTS,
                                 "there are too many connections from your "
                                 "address")
               : caller->problem(r, NGX_HTTP_SERVICE_UNAVAILABLE, NULL);
    }

    ws->cleanup = ngx_http_cleanup_add(r, 0);

    if (ws->cleanup == NULL) {
        ngx_http_intent_push_close(&ws->client);
        ngx_free(ws);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ws->cleanup->handler = ngx_http_intent_push_handshake_cleanup;
    ws->cleanup->data = ws;

    rc = ngx_http_intent_push_switch(r, &key);

    if (rc != NGX_OK) {
        return rc;
    }

    /* on, when nothing of the request's phases is on the stack any more */

    ngx_http_set_ctx(r, ws, ngx_http_intent_push_module);

    r->main->count++;
    r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = ngx_http_intent_push_write_handshake;

    ngx_post_event(r->connection->write, &ngx_posted_events);

    return NGX_DONE;
}


/* NGX_DECLINED: it has been answered, and *answer is what that returned */

ngx_int_t
ngx_http_intent_push_check(ngx_http_request_t *r,
    ngx_http_intent_push_caller_t *caller, ngx_str_t *key, ngx_int_t *answer)
{
    u_char      buf[NGX_HTTP_INTENT_PUSH_KEY_LEN];
    ngx_str_t   decoded, *value;

    if (r != r->main
#if (NGX_HTTP_V2)
        || r->stream
#endif
        || r->http_version < NGX_HTTP_VERSION_11
        || r->method != NGX_HTTP_GET
        || !ngx_http_intent_push_has_token(r, "upgrade", "websocket")
        || !ngx_http_intent_push_has_token(r, "connection", "upgrade"))
    {
        *answer = ngx_http_intent_push_upgrade_required(r, caller,
                      "this is a WebSocket, to be opened with "
                      "\"Upgrade: websocket\" over HTTP/1.1");
        return NGX_DECLINED;
    }

    value = ngx_http_intent_push_header(r, "sec-websocket-version");

    if (value == NULL || value->len != 2
        || ngx_memcmp(value->data, "13", 2) != 0)
    {
        *answer = ngx_http_intent_push_upgrade_required(r, caller,
                      "only \"Sec-WebSocket-Version: 13\" is spoken here");
        return NGX_DECLINED;
    }

    value = ngx_http_intent_push_header(r, "sec-websocket-key");
    decoded.data = buf;

    if (value == NULL || value->len != NGX_HTTP_INTENT_PUSH_KEY_LEN
        || ngx_decode_base64(&decoded, value) != NGX_OK
        || decoded.len != 16)
    {
        *answer = caller->problem(r, NGX_HTTP_BAD_REQUEST,
                               "Sec-WebSocket-Key is not the base64 of 16 "
                               "bytes");
        return NGX_DECLINED;
    }

    *key = *value;

    /* content_length_n is what was not discarded yet */

    value = r->headers_in.content_length ? &r->headers_in.content_length->value
                                         : NULL;

    if (r->headers_in.chunked
        || (value && ngx_atoof(value->data, value->len) != 0))
    {
        *answer = caller->problem(r, NGX_HTTP_BAD_REQUEST,
                               "an opening handshake has no body");
        return NGX_DECLINED;
    }

    if (ngx_http_intent_push_check_origin(r) != NGX_OK) {
        *answer = caller->problem(r, NGX_HTTP_FORBIDDEN,
                               "pages from this origin may not connect");
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_push_upgrade_required(ngx_http_request_t *r,
    ngx_http_intent_push_caller_t *caller, const char *detail)
{
    if (ngx_http_intent_push_add_header(r, "Upgrade", "websocket",
                                        sizeof("websocket") - 1)
        != NGX_OK
        || ngx_http_intent_push_add_header(r, "Sec-WebSocket-Version", "13", 2)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return caller->problem(r, NGX_HTTP_INTENT_PUSH_UPGRADE_REQUIRED, detail);
}


/*
 * Browsers let any page connect anywhere and send their cookies along; they
 * say from where.  What is not a browser need not.
 */

ngx_int_t
ngx_http_intent_push_check_origin(ngx_http_request_t *r)
{
    u_char                           *p;
    ngx_str_t                        *origin, *host, authority, *pattern;
    ngx_uint_t                        i;
    ngx_http_intent_push_loc_conf_t  *plcf;

    plcf = ngx_http_get_module_loc_conf(r, ngx_http_intent_push_module);
    origin = ngx_http_intent_push_header(r, "origin");

    if (origin == NULL || (plcf->origin & NGX_HTTP_INTENT_PUSH_ORIGIN_ANY)) {
        return NGX_OK;
    }

    if ((plcf->origin & NGX_HTTP_INTENT_PUSH_ORIGIN_SELF)
        && r->headers_in.host)
    {
        host = &r->headers_in.host->value;
        p = ngx_strnstr(origin->data, "://", origin->len);

        if (p) {
            authority.data = p + 3;
            authority.len = origin->data + origin->len - authority.data;

            if (authority.len == host->len
                && ngx_strncasecmp(authority.data, host->data, host->len)
                   == 0)
            {
                return NGX_OK;
            }
        }
    }

    if (plcf->origins) {
        pattern = plcf->origins->elts;

        for (i = 0; i < plcf->origins->nelts; i++) {
            if (ngx_http_intent_push_origin_is(origin, &pattern[i])
                == NGX_OK)
            {
                return NGX_OK;
            }
        }
    }

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "intent push: origin \"%V\" is not allowed by "
                  "intent_push_origin", origin);

    return NGX_DECLINED;
}


/* "*." after "://" stands for one name or more, and a dot */

static ngx_int_t
ngx_http_intent_push_origin_is(ngx_str_t *origin, ngx_str_t *pattern)
{
    u_char  *star;
    size_t   before, after;

    star = ngx_strnstr(pattern->data, "://*.", pattern->len);

    if (star == NULL) {
        return (origin->len == pattern->len
                && ngx_strncasecmp(origin->data, pattern->data, origin->len)
                   == 0)
               ? NGX_OK : NGX_DECLINED;
    }

    before = star + 3 - pattern->data;
    after = pattern->len - before - 1;

    if (origin->len <= before + after
        || ngx_strncasecmp(origin->data, pattern->data, before) != 0
        || ngx_strncasecmp(origin->data + origin->len - after, star + 4, after)
           != 0)
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/* the first one; name is in lower case */

ngx_str_t *
ngx_http_intent_push_header(ngx_http_request_t *r, const char *name)
{
    size_t            len;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    len = ngx_strlen(name);
    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return NULL;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].key.len == len
            && ngx_memcmp(h[i].lowcase_key, name, len) == 0)
        {
            return &h[i].value;
        }
    }
}


/* one of the words of a list, in any of the headers of this name */

static ngx_uint_t
ngx_http_intent_push_has_token(ngx_http_request_t *r, const char *name,
    const char *token)
{
    u_char           *p, *word, *last;
    size_t            len, name_len;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    len = ngx_strlen(token);
    name_len = ngx_strlen(name);

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (h[i].key.len != name_len
                || ngx_memcmp(h[i].lowcase_key, name, name_len) != 0)
            {
                continue;
            }

            p = h[i].value.data;
            last = p + h[i].value.len;

            while (p < last) {
                while (p < last && (*p == ' ' || *p == '\t' || *p == ',')) {
                    p++;
                }

                word = p;

                while (p < last && *p != ' ' && *p != '\t' && *p != ',') {
                    p++;
                }

                if ((size_t) (p - word) == len
                    && ngx_strncasecmp(word, (u_char *) token, len) == 0)
                {
                    return 1;
                }
            }
        }
    }

    return 0;
}


ngx_int_t
ngx_http_intent_push_add_header(ngx_http_request_t *r, const char *name,
    const char *value, size_t len)
{
    ngx_str_t  v;

    v.data = (u_char *) value;
    v.len = len;

    return ngx_http_intent_add_header(r, name, &v);
}


ngx_int_t
ngx_http_intent_push_switch(ngx_http_request_t *r, ngx_str_t *key)
{
    ngx_int_t  rc;

    if (ngx_http_intent_push_accept(r, key) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->keepalive = 0;
    r->headers_out.status = NGX_HTTP_SWITCHING_PROTOCOLS;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK) {
        return rc;
    }

    if (ngx_http_send_special(r, NGX_HTTP_FLUSH) == NGX_ERROR) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_push_accept(ngx_http_request_t *r, ngx_str_t *key)
{
    u_char      digest[NGX_HTTP_INTENT_PUSH_SHA1_LEN];
    ngx_str_t   hash, accept;
    ngx_sha1_t  sha1;

    ngx_sha1_init(&sha1);
    ngx_sha1_update(&sha1, key->data, key->len);
    ngx_sha1_update(&sha1, NGX_HTTP_INTENT_PUSH_GUID,
                    sizeof(NGX_HTTP_INTENT_PUSH_GUID) - 1);
    ngx_sha1_final(digest, &sha1);

    hash.data = digest;
    hash.len = NGX_HTTP_INTENT_PUSH_SHA1_LEN;

    accept.data = ngx_pnalloc(r->pool, ngx_base64_encoded_length(hash.len));
    if (accept.data == NULL) {
        return NGX_ERROR;
    }

    ngx_encode_base64(&accept, &hash);

    if (ngx_http_intent_push_add_header(r, "Upgrade", "websocket",
                                        sizeof("websocket") - 1)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_intent_push_add_header(r, "Sec-WebSocket-Accept",
                                           (char *) accept.data, accept.len);
}


static void
ngx_http_intent_push_write_handshake(ngx_http_request_t *r)
{
    ngx_event_t                *wev;
    ngx_connection_t           *c;
    ngx_http_core_loc_conf_t   *clcf;
    ngx_http_intent_push_ws_t  *ws;

    c = r->connection;
    wev = c->write;
    ws = ngx_http_get_module_ctx(r, ngx_http_intent_push_module);

    if (wev->timedout) {
        c->timedout = 1;
        ngx_http_finalize_request(r, NGX_HTTP_REQUEST_TIME_OUT);
        return;
    }

    if (c->error || ngx_http_output_filter(r, NULL) == NGX_ERROR) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }

    if (!c->buffered && !r->buffered) {
        ngx_http_intent_push_take(ws);
        return;
    }

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    ngx_add_timer(wev, clcf->send_timeout);

    if (ngx_handle_write_event(wev, clcf->send_lowat) != NGX_OK) {
        ngx_http_finalize_request(r, NGX_ERROR);
    }
}


static void
ngx_http_intent_push_take(ngx_http_intent_push_ws_t *ws)
{
    u_char                 *pos, *last;
    ngx_connection_t       *c;
    ngx_http_request_t     *r;
    ngx_http_connection_t  *hc;

    r = ws->request;
    c = r->connection;
    hc = r->http_connection;

    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, c->log, 0,
                   "intent push websocket takes the connection");

    /* the memory of the header is not the request's */

    pos = r->header_in->pos;
    last = r->header_in->last;

    ws->request = NULL;
    ws->cleanup->handler = NULL;

    /* c->destroyed stays set: who was called with the request leaves it then */

    ngx_http_free_request(r, 0);

    ws->state = ngx_http_intent_push_ws_open;

    c->data = ws;
    c->log->action = "serving a WebSocket";

    ngx_http_intent_push_ws_start(ws, pos, last);

    ngx_http_intent_push_free_buffers(c, hc);
}


/* as ngx_http_set_keepalive() does it */

static void
ngx_http_intent_push_free_buffers(ngx_connection_t *c,
    ngx_http_connection_t *hc)
{
    ngx_chain_t  *cl, *ln, *chains[2];
    ngx_uint_t    i;

    (void) ngx_pfree(c->pool, c->buffer->start);

    chains[0] = hc->free;
    chains[1] = hc->busy;

    for (i = 0; i < 2; i++) {
        for (cl = chains[i]; cl; /* void */) {
            ln = cl;
            cl = cl->next;
            (void) ngx_pfree(c->pool, ln->buf->start);
            ngx_free_chain(c->pool, ln);
        }
    }

    hc->free = NULL;
    hc->busy = NULL;
    hc->nbusy = 0;

#if (NGX_HTTP_SSL)
    if (c->ssl) {
        ngx_ssl_free_buffer(c);
    }
#endif
}


/* the request ends before the connection was taken */

static void
ngx_http_intent_push_handshake_cleanup(void *data)
{
    ngx_http_intent_push_ws_t  *ws = data;

    ngx_http_intent_push_close(&ws->client);
    ngx_free(ws);
}
