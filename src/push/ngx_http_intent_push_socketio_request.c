
/*
 * The requests of Engine.IO: handshakes, polls, and what clients post.
 *
 * A poll waits in any worker; that becomes the owner of its session.
 */


#include "ngx_http_intent_push_socketio.h"


#define NGX_HTTP_INTENT_SOCKETIO_OPEN                                         \
    "0{\"sid\":\"%V\",\"upgrades\":[%s],\"pingInterval\":%M,"                 \
    "\"pingTimeout\":%M,\"maxPayload\":%uz}"


/* what may be wrong, by its number in the protocol */
enum {
    ngx_http_intent_socketio_unknown_transport = 0,
    ngx_http_intent_socketio_unknown_session,
    ngx_http_intent_socketio_bad_method,
    ngx_http_intent_socketio_bad_request,
    ngx_http_intent_socketio_forbidden,
    ngx_http_intent_socketio_bad_version
};


static ngx_int_t ngx_http_intent_socketio_cors(ngx_http_request_t *r);
static ngx_int_t ngx_http_intent_socketio_options(ngx_http_request_t *r);
static ngx_int_t ngx_http_intent_socketio_verify(
    ngx_http_intent_socketio_request_t *sr);
static ngx_uint_t ngx_http_intent_socketio_arg(ngx_http_request_t *r,
    const char *name, const char *value);
static ngx_int_t ngx_http_intent_socketio_handshake(
    ngx_http_intent_socketio_request_t *sr);
static ngx_int_t ngx_http_intent_socketio_poll(
    ngx_http_intent_socketio_request_t *sr);
static ngx_int_t ngx_http_intent_socketio_claim(
    ngx_http_intent_socketio_request_t *sr, ngx_uint_t polling);
static void ngx_http_intent_socketio_poll_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_intent_socketio_take(
    ngx_http_intent_socketio_request_t *sr, ngx_str_t *payload);
static void ngx_http_intent_socketio_poll_cleanup(void *data);
static ngx_int_t ngx_http_intent_socketio_post(ngx_http_request_t *r);
static void ngx_http_intent_socketio_post_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_intent_socketio_body(ngx_http_request_t *r,
    ngx_str_t *body);
static ngx_int_t ngx_http_intent_socketio_respond(ngx_http_request_t *r,
    ngx_uint_t status, const char *type, ngx_str_t *body);


static ngx_str_t  ngx_http_intent_socketio_errors[] = {
    ngx_string("{\"code\":0,\"message\":\"Transport unknown\"}"),
    ngx_string("{\"code\":1,\"message\":\"Session ID unknown\"}"),
    ngx_string("{\"code\":2,\"message\":\"Bad handshake method\"}"),
    ngx_string("{\"code\":3,\"message\":\"Bad request\"}"),
    ngx_string("{\"code\":4,\"message\":\"Forbidden\"}"),
    ngx_string("{\"code\":5,\"message\":\"Unsupported protocol version\"}")
};


ngx_int_t
ngx_http_intent_socketio_handler(ngx_http_request_t *r)
{
    ngx_int_t                            rc;
    ngx_http_intent_socketio_request_t  *sr;

    if (ngx_http_intent_push_check_origin(r) != NGX_OK) {
        return ngx_http_intent_socketio_error(r,
                                           ngx_http_intent_socketio_forbidden);
    }

    if (ngx_http_intent_socketio_cors(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (r->method == NGX_HTTP_OPTIONS) {
        return ngx_http_intent_socketio_options(r);
    }

    sr = ngx_pcalloc(r->pool, sizeof(ngx_http_intent_socketio_request_t));
    if (sr == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    sr->request = r;
    sr->conf = ngx_http_get_module_loc_conf(r, ngx_http_intent_push_module);

    ngx_http_set_ctx(r, sr, ngx_http_intent_socketio_module);

    rc = ngx_http_intent_push_user(r, &sr->user);

    if (rc == NGX_DECLINED) {
        return ngx_http_intent_socketio_error(r,
                                           ngx_http_intent_socketio_forbidden);
    }

    if (rc != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_intent_socketio_verify(sr);

    if (rc != NGX_DECLINED) {
        return ngx_http_intent_socketio_error(r, rc);
    }

    if (ngx_http_intent_socketio_arg(r, "transport", "websocket")) {
        return ngx_http_intent_socketio_websocket(sr);
    }

    if (sr->id.len == 0) {
        return ngx_http_intent_socketio_handshake(sr);
    }

    return (r->method == NGX_HTTP_GET) ? ngx_http_intent_socketio_poll(sr)
                                       : ngx_http_intent_socketio_post(r);
}


static ngx_int_t
ngx_http_intent_socketio_cors(ngx_http_request_t *r)
{
    ngx_str_t  *origin;

    if (ngx_http_intent_push_add_header(r, "Cache-Control", "no-store",
                                        sizeof("no-store") - 1)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    origin = ngx_http_intent_push_header(r, "origin");

    if (origin == NULL) {
        return NGX_OK;
    }

    if (ngx_http_intent_push_add_header(r, "Access-Control-Allow-Origin",
                                        (char *) origin->data, origin->len)
        != NGX_OK
        || ngx_http_intent_push_add_header(r,
                                           "Access-Control-Allow-Credentials",
                                           "true", 4)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_intent_push_add_header(r, "Vary", "Origin", 6);
}


/* may the page send this?  those from where none may come are gone by now */

static ngx_int_t
ngx_http_intent_socketio_options(ngx_http_request_t *r)
{
    ngx_int_t   rc;
    ngx_str_t  *headers;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_http_intent_push_add_header(r, "Access-Control-Allow-Methods",
                                        "GET, POST", sizeof("GET, POST") - 1)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    headers = ngx_http_intent_push_header(r, "access-control-request-headers");

    if (headers
        && ngx_http_intent_push_add_header(r, "Access-Control-Allow-Headers",
                                           (char *) headers->data,
                                           headers->len)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->headers_out.status = NGX_HTTP_NO_CONTENT;
    r->header_only = 1;

    return ngx_http_send_header(r);
}


/* NGX_DECLINED: nothing is wrong; else the number of an error */

static ngx_int_t
ngx_http_intent_socketio_verify(ngx_http_intent_socketio_request_t *sr)
{
    ngx_uint_t                          websocket;
    ngx_http_request_t                 *r;
    ngx_http_intent_socketio_record_t  *record;

    r = sr->request;
    websocket = ngx_http_intent_socketio_arg(r, "transport", "websocket");

    if (!websocket && !ngx_http_intent_socketio_arg(r, "transport", "polling"))
    {
        return ngx_http_intent_socketio_unknown_transport;
    }

    if (!ngx_http_intent_socketio_arg(r, "EIO", "4")) {
        return ngx_http_intent_socketio_bad_version;
    }

    if (ngx_http_arg(r, (u_char *) "sid", 3, &sr->id) != NGX_OK) {
        ngx_str_null(&sr->id);

        return (r->method != NGX_HTTP_GET)
               ? ngx_http_intent_socketio_bad_method : NGX_DECLINED;
    }

    /* whose it is not, to him it is unknown */

    record = ngx_http_intent_socketio_lock(&sr->id);

    if (record == NULL) {
        return ngx_http_intent_socketio_unknown_session;
    }

    if (record->user.len != sr->user.len
        || ngx_memcmp(record->user.data, sr->user.data, sr->user.len) != 0)
    {
        ngx_http_intent_socketio_unlock();
        return ngx_http_intent_socketio_unknown_session;
    }

    if (record->websocket
        || (r->method != NGX_HTTP_GET
            && (websocket || r->method != NGX_HTTP_POST)))
    {
        ngx_http_intent_socketio_unlock();
        return ngx_http_intent_socketio_bad_request;
    }

    ngx_http_intent_socketio_unlock();

    return NGX_DECLINED;
}


static ngx_uint_t
ngx_http_intent_socketio_arg(ngx_http_request_t *r, const char *name,
    const char *value)
{
    ngx_str_t  arg;

    return ngx_http_arg(r, (u_char *) name, ngx_strlen(name), &arg) == NGX_OK
           && arg.len == ngx_strlen(value)
           && ngx_memcmp(arg.data, value, arg.len) == 0;
}


/* ---- a new session ---- */

static ngx_int_t
ngx_http_intent_socketio_handshake(ngx_http_intent_socketio_request_t *sr)
{
    u_char                               id[NGX_HTTP_INTENT_SOCKETIO_ID_LEN];
    ngx_int_t                            rc;
    ngx_str_t                            packet;
    ngx_http_request_t                  *r;
    ngx_http_intent_socketio_session_t  *session;

    r = sr->request;

    rc = ngx_http_intent_socketio_create(id, &sr->user, 0, sr->conf);

    if (rc != NGX_OK) {
        return ngx_http_intent_socketio_refused(r, NGX_ABORT);
    }

    sr->id.data = id;
    sr->id.len = NGX_HTTP_INTENT_SOCKETIO_ID_LEN;

    rc = ngx_http_intent_socketio_session(r, &sr->id, &sr->user, &session);

    if (rc != NGX_OK) {
        ngx_http_intent_socketio_end(&sr->id);
        return ngx_http_intent_socketio_refused(r, rc);
    }

    if (ngx_http_intent_socketio_claim(sr, 0) != NGX_OK
        || ngx_http_intent_socketio_open_packet(r, &sr->id, 0, &packet)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_post_event(&session->event, &ngx_posted_events);

    return ngx_http_intent_socketio_respond(r, NGX_HTTP_OK,
                                            "text/plain; charset=UTF-8",
                                            &packet);
}


ngx_int_t
ngx_http_intent_socketio_open_packet(ngx_http_request_t *r, ngx_str_t *id,
    ngx_uint_t websocket, ngx_str_t *packet)
{
    ngx_http_intent_push_loc_conf_t  *conf;

    conf = ngx_http_get_module_loc_conf(r, ngx_http_intent_push_module);

    packet->data = ngx_pnalloc(r->pool, sizeof(NGX_HTTP_INTENT_SOCKETIO_OPEN)
                                        + NGX_HTTP_INTENT_SOCKETIO_ID_LEN
                                        + sizeof("\"websocket\"")
                                        + 3 * NGX_INT64_LEN);
    if (packet->data == NULL) {
        return NGX_ERROR;
    }

    packet->len = ngx_sprintf(packet->data, NGX_HTTP_INTENT_SOCKETIO_OPEN, id,
                              websocket ? "" : "\"websocket\"", conf->ping,
                              conf->ping_timeout, conf->message_size)
                  - packet->data;

    return NGX_OK;
}


ngx_int_t
ngx_http_intent_socketio_refused(ngx_http_request_t *r, ngx_int_t rc)
{
    switch (rc) {

    case NGX_DECLINED:
        return NGX_HTTP_TOO_MANY_REQUESTS;

    case NGX_ABORT:
        return NGX_HTTP_SERVICE_UNAVAILABLE;

    default: /* NGX_ERROR */
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
}


/* ---- polls ---- */

static ngx_int_t
ngx_http_intent_socketio_poll(ngx_http_intent_socketio_request_t *sr)
{
    ngx_int_t                            rc;
    ngx_str_t                            noop;
    ngx_http_request_t                  *r;
    ngx_http_cleanup_t                  *cln;
    ngx_http_intent_socketio_session_t  *session;

    r = sr->request;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_intent_socketio_session(r, &sr->id, &sr->user, &session);

    if (rc == NGX_ABORT) {

        /* the next one will be another worker's */

        ngx_str_set(&noop, "6");
        r->keepalive = 0;

        return ngx_http_intent_socketio_respond(r, NGX_HTTP_OK,
                                                "text/plain; charset=UTF-8",
                                                &noop);
    }

    if (rc != NGX_OK) {
        return ngx_http_intent_socketio_refused(r, rc);
    }

    if (ngx_http_intent_socketio_claim(sr, 1) != NGX_OK) {
        ngx_post_event(&session->event, &ngx_posted_events);

        return ngx_http_intent_socketio_error(r,
                                         ngx_http_intent_socketio_bad_request);
    }

    cln->handler = ngx_http_intent_socketio_poll_cleanup;
    cln->data = sr;

    sr->session = session;
    session->poll = sr;

    ngx_post_event(&session->event, &ngx_posted_events);

    r->main->count++;
    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_intent_socketio_poll_handler;

    if (ngx_handle_read_event(r->connection->read, 0) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (r->connection->read->ready) {
        ngx_post_event(r->connection->read, &ngx_posted_events);
    }

    return NGX_DONE;
}


/*
 * This worker is the owner of the session from now on.  Two polls at a time
 * are a client's fault for which the protocol ends the session.
 */

static ngx_int_t
ngx_http_intent_socketio_claim(ngx_http_intent_socketio_request_t *sr,
    ngx_uint_t polling)
{
    ngx_pid_t                           owner;
    ngx_uint_t                          worker;
    ngx_http_intent_socketio_record_t  *record;

    record = ngx_http_intent_socketio_lock(&sr->id);

    if (record == NULL) {
        return NGX_DECLINED;
    }

    if (record->polling) {
        ngx_http_intent_socketio_unlock();
        ngx_http_intent_socketio_end(&sr->id);
        return NGX_DECLINED;
    }

    owner = record->owner;
    worker = record->worker;

    record->polling = polling;

    ngx_http_intent_socketio_own(record);
    ngx_http_intent_socketio_unlock();

    if (owner != ngx_pid && owner != NGX_INVALID_PID) {
        ngx_http_intent_socketio_wake_there(&sr->id, worker);
    }

    return NGX_OK;
}


void
ngx_http_intent_socketio_poll_wake(ngx_http_intent_socketio_request_t *sr)
{
    sr->ready = 1;

    ngx_post_event(sr->request->connection->write, &ngx_posted_events);
}


static void
ngx_http_intent_socketio_poll_handler(ngx_http_request_t *r)
{
    ngx_int_t                            rc;
    ngx_str_t                            payload;
    ngx_http_intent_socketio_request_t  *sr;

    sr = ngx_http_get_module_ctx(r, ngx_http_intent_socketio_module);

    if (r->connection->error) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }

    if (!sr->ready) {
        return;
    }

    rc = ngx_http_intent_socketio_take(sr, &payload);

    if (rc == NGX_AGAIN) {
        sr->ready = 0;
        return;
    }

    ngx_http_intent_socketio_detach(sr);

    if (rc != NGX_OK) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    rc = ngx_http_intent_socketio_respond(r, NGX_HTTP_OK,
                                          "text/plain; charset=UTF-8",
                                          &payload);

    ngx_http_finalize_request(r, rc);
}


static ngx_int_t
ngx_http_intent_socketio_take(ngx_http_intent_socketio_request_t *sr,
    ngx_str_t *payload)
{
    u_char                             *p;
    ngx_uint_t                          n;
    ngx_http_intent_socketio_out_t     *out;
    ngx_http_intent_socketio_record_t  *record;

    record = sr->over ? NULL : ngx_http_intent_socketio_lock(&sr->id);

    if (record == NULL) {
        ngx_str_set(payload, "1");

        if (sr->noop) {
            ngx_str_set(payload, "6");
        }

        return NGX_OK;
    }

    if (record->out == NULL || record->websocket) {

        if (!record->upgrading && !record->websocket) {
            ngx_http_intent_socketio_unlock();
            return NGX_AGAIN;
        }

        record->polling = 0;
        ngx_http_intent_socketio_unlock();

        ngx_str_set(payload, "6");
        return NGX_OK;
    }

    n = 0;

    for (out = record->out; out; out = out->next) {
        n++;
    }

    p = ngx_pnalloc(sr->request->pool, record->queued + n);

    if (p == NULL) {
        ngx_http_intent_socketio_unlock();
        return NGX_ERROR;
    }

    payload->data = p;

    for (out = record->out; out; out = out->next) {
        p = ngx_cpymem(p, out->data, out->len);
        *p++ = INTENT_ENGINEIO_SEPARATOR;
    }

    payload->len = p - 1 - payload->data;

    record->polling = 0;
    ngx_http_intent_socketio_sent(record, n);

    ngx_http_intent_socketio_unlock();

    return NGX_OK;
}


static void
ngx_http_intent_socketio_poll_cleanup(void *data)
{
    ngx_http_intent_socketio_request_t *sr = data;

    ngx_http_intent_socketio_record_t  *record;

    if (sr->session == NULL) {
        return;
    }

    record = sr->over ? NULL : ngx_http_intent_socketio_lock(&sr->id);

    if (record) {
        if (record->owner == ngx_pid) {
            record->polling = 0;
        }

        ngx_http_intent_socketio_unlock();
    }

    ngx_http_intent_socketio_detach(sr);
}


/* ---- what is posted ---- */

static ngx_int_t
ngx_http_intent_socketio_post(ngx_http_request_t *r)
{
    ngx_int_t                            rc;
    ngx_http_intent_socketio_request_t  *sr;

    sr = ngx_http_get_module_ctx(r, ngx_http_intent_socketio_module);

    if (r->headers_in.content_length_n > (off_t) sr->conf->message_size) {
        return NGX_HTTP_REQUEST_ENTITY_TOO_LARGE;
    }

    r->request_body_in_single_buf = 1;

    rc = ngx_http_read_client_request_body(r,
                                        ngx_http_intent_socketio_post_handler);

    return (rc >= NGX_HTTP_SPECIAL_RESPONSE) ? rc : NGX_DONE;
}


static void
ngx_http_intent_socketio_post_handler(ngx_http_request_t *r)
{
    size_t                               len;
    ngx_int_t                            rc;
    ngx_str_t                            body, ok;
    const uint8_t                       *pos, *packet;
    ngx_http_intent_socketio_request_t  *sr;

    sr = ngx_http_get_module_ctx(r, ngx_http_intent_socketio_module);

    rc = ngx_http_intent_socketio_body(r, &body);

    if (rc != NGX_OK) {
        ngx_http_finalize_request(r, rc);
        return;
    }

    pos = body.data;

    while (intent_engineio_next(&pos, body.data + body.len, &packet, &len)) {

        rc = ngx_http_intent_socketio_packet(&sr->id, packet, len, sr->conf,
                                             r->connection->log);
        if (rc == NGX_DONE) {
            break;
        }

        if (rc != NGX_OK) {
            ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                          "client sent an invalid Socket.IO packet, "
                          "its session is ended");

            ngx_http_intent_socketio_end(&sr->id);

            ngx_http_finalize_request(r, ngx_http_intent_socketio_error(r,
                                        ngx_http_intent_socketio_bad_request));
            return;
        }
    }

    ngx_str_set(&ok, "ok");

    ngx_http_finalize_request(r, ngx_http_intent_socketio_respond(r,
                                               NGX_HTTP_OK, "text/html", &ok));
}


/* from memory: a file would hold the worker up */

static ngx_int_t
ngx_http_intent_socketio_body(ngx_http_request_t *r, ngx_str_t *body)
{
    u_char                              *p;
    size_t                               len;
    ngx_chain_t                         *cl;
    ngx_http_intent_socketio_request_t  *sr;

    sr = ngx_http_get_module_ctx(r, ngx_http_intent_socketio_module);
    len = 0;

    for (cl = r->request_body ? r->request_body->bufs : NULL;
         cl;
         cl = cl->next)
    {
        if (cl->buf->in_file) {
            ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                          "client_body_buffer_size is less than a Socket.IO "
                          "client has sent, which is refused");
            return NGX_HTTP_REQUEST_ENTITY_TOO_LARGE;
        }

        len += cl->buf->last - cl->buf->pos;
    }

    if (len > sr->conf->message_size) {
        return NGX_HTTP_REQUEST_ENTITY_TOO_LARGE;
    }

    body->data = ngx_pnalloc(r->pool, len + 1);
    if (body->data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    p = body->data;

    for (cl = r->request_body ? r->request_body->bufs : NULL;
         cl;
         cl = cl->next)
    {
        p = ngx_cpymem(p, cl->buf->pos, cl->buf->last - cl->buf->pos);
    }

    body->len = len;

    return NGX_OK;
}


/* ---- responses ---- */

ngx_int_t
ngx_http_intent_socketio_error(ngx_http_request_t *r, ngx_uint_t code)
{
    return ngx_http_intent_socketio_respond(r,
                           (code == ngx_http_intent_socketio_forbidden)
                           ? NGX_HTTP_FORBIDDEN : NGX_HTTP_BAD_REQUEST,
                           "application/json",
                           &ngx_http_intent_socketio_errors[code]);
}


static ngx_int_t
ngx_http_intent_socketio_respond(ngx_http_request_t *r, ngx_uint_t status,
    const char *type, ngx_str_t *body)
{
    ngx_str_t                 content_type;
    ngx_http_complex_value_t  cv;

    content_type.data = (u_char *) type;
    content_type.len = ngx_strlen(type);

    ngx_memzero(&cv, sizeof(ngx_http_complex_value_t));
    cv.value = *body;

    return ngx_http_send_response(r, status, &content_type, &cv);
}
