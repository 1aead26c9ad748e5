
/*
 * Engine.IO over a WebSocket: a session of its own, or one that goes on from
 * polls after a probe.  The request lives as long as the connection.
 */


#include "ngx_http_intent_push_socketio.h"


#define NGX_HTTP_INTENT_SOCKETIO_READ     16384
#define NGX_HTTP_INTENT_SOCKETIO_PROBE    10000     /* ms */
#define NGX_HTTP_INTENT_SOCKETIO_GOODBYE  3000      /* ms */


static ngx_int_t ngx_http_intent_socketio_problem(ngx_http_request_t *r,
    ngx_uint_t status, const char *detail);
static ngx_int_t ngx_http_intent_socketio_new(
    ngx_http_intent_socketio_request_t *sr);
static void ngx_http_intent_socketio_write_handler(ngx_http_request_t *r);
static void ngx_http_intent_socketio_open(
    ngx_http_intent_socketio_request_t *sr);
static void ngx_http_intent_socketio_read_handler(ngx_http_request_t *r);
static void ngx_http_intent_socketio_input(
    ngx_http_intent_socketio_request_t *sr, u_char *pos, u_char *last);
static void ngx_http_intent_socketio_text(
    ngx_http_intent_socketio_request_t *sr);
static void ngx_http_intent_socketio_probe(
    ngx_http_intent_socketio_request_t *sr);
static void ngx_http_intent_socketio_probing(
    ngx_http_intent_socketio_request_t *sr, ngx_uint_t upgrading);
static ngx_int_t ngx_http_intent_socketio_upgrade(
    ngx_http_intent_socketio_request_t *sr);
static void ngx_http_intent_socketio_frame(
    ngx_http_intent_socketio_request_t *sr, uint8_t opcode,
    const u_char *data, size_t len);
static void ngx_http_intent_socketio_write(
    ngx_http_intent_socketio_request_t *sr);
static void ngx_http_intent_socketio_half_close(
    ngx_http_intent_socketio_request_t *sr);
static void ngx_http_intent_socketio_die(
    ngx_http_intent_socketio_request_t *sr);
static void ngx_http_intent_socketio_websocket_cleanup(void *data);


ngx_int_t
ngx_http_intent_socketio_websocket(ngx_http_intent_socketio_request_t *sr)
{
    ngx_int_t                       rc, answer;
    ngx_str_t                       key;
    ngx_http_request_t             *r;
    ngx_http_cleanup_t             *cln;
    ngx_http_intent_push_caller_t   caller;

    r = sr->request;

    caller.user = sr->user;
    caller.problem = ngx_http_intent_socketio_problem;

    if (ngx_http_intent_push_check(r, &caller, &key, &answer) != NGX_OK) {
        return answer;
    }

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    sr->reader.max_message = sr->conf->message_size;

    if (sr->id.len) {
        sr->probing = 1;

    } else {
        rc = ngx_http_intent_socketio_new(sr);

        if (rc != NGX_OK) {
            return ngx_http_intent_socketio_refused(r, rc);
        }
    }

    cln->handler = ngx_http_intent_socketio_websocket_cleanup;
    cln->data = sr;

    rc = ngx_http_intent_push_switch(r, &key);

    if (rc != NGX_OK) {
        return rc;
    }

    r->main->count++;
    r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = ngx_http_intent_socketio_write_handler;

    ngx_post_event(r->connection->write, &ngx_posted_events);

    return NGX_DONE;
}


static ngx_int_t
ngx_http_intent_socketio_problem(ngx_http_request_t *r, ngx_uint_t status,
    const char *detail)
{
    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "Socket.IO over WebSocket refused: %s", detail);

    return ngx_http_intent_socketio_error(r,
                                      (status == NGX_HTTP_FORBIDDEN) ? 4 : 3);
}


/* a session without any polls */

static ngx_int_t
ngx_http_intent_socketio_new(ngx_http_intent_socketio_request_t *sr)
{
    ngx_int_t                            rc;
    ngx_str_t                            packet;
    ngx_http_intent_socketio_record_t   *record;
    ngx_http_intent_socketio_session_t  *session;

    sr->id.data = ngx_pnalloc(sr->request->pool,
                              NGX_HTTP_INTENT_SOCKETIO_ID_LEN);
    if (sr->id.data == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_http_intent_socketio_create(sr->id.data, &sr->user, 1, sr->conf);

    if (rc != NGX_OK) {
        return NGX_ABORT;
    }

    sr->id.len = NGX_HTTP_INTENT_SOCKETIO_ID_LEN;

    rc = ngx_http_intent_socketio_open_packet(sr->request, &sr->id, 1,
                                              &packet);
    if (rc == NGX_OK) {
        rc = ngx_http_intent_socketio_session(sr->request, &sr->id, &sr->user,
                                              &session);
    }

    record = (rc == NGX_OK) ? ngx_http_intent_socketio_lock(&sr->id) : NULL;

    if (record == NULL) {
        ngx_http_intent_socketio_end(&sr->id);
        return rc;
    }

    ngx_http_intent_socketio_own(record);
    rc = ngx_http_intent_socketio_send(record, &packet, 1, sr->conf);

    ngx_http_intent_socketio_unlock();

    sr->session = session;
    session->websocket = sr;

    ngx_post_event(&session->event, &ngx_posted_events);

    return NGX_OK;
}


/* ---- the request ---- */

static void
ngx_http_intent_socketio_write_handler(ngx_http_request_t *r)
{
    ngx_event_t                         *wev;
    ngx_connection_t                    *c;
    ngx_http_core_loc_conf_t            *clcf;
    ngx_http_intent_socketio_request_t  *sr;

    c = r->connection;
    wev = c->write;
    sr = ngx_http_get_module_ctx(r, ngx_http_intent_socketio_module);

    if (sr->dead || c->error || wev->timedout) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }

    if (!sr->open) {

        if (ngx_http_output_filter(r, NULL) == NGX_ERROR) {
            ngx_http_finalize_request(r, NGX_ERROR);
            return;
        }

        if (c->buffered || r->buffered) {
            clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
            ngx_add_timer(wev, clcf->send_timeout);

        } else {
            if (wev->timer_set) {
                ngx_del_timer(wev);
            }

            ngx_http_intent_socketio_open(sr);
        }

    } else {
        ngx_http_intent_socketio_write(sr);
        ngx_http_intent_socketio_websocket_flush(sr);
    }

    if (sr->dead || ngx_handle_write_event(wev, 0) != NGX_OK) {
        ngx_http_finalize_request(r, NGX_ERROR);
    }
}


static void
ngx_http_intent_socketio_open(ngx_http_intent_socketio_request_t *sr)
{
    ngx_buf_t           *b;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = sr->request;
    c = r->connection;

    sr->open = 1;
    r->read_event_handler = ngx_http_intent_socketio_read_handler;
    c->log->action = "serving Socket.IO";

    if (ngx_tcp_nodelay(c) != NGX_OK) {
        ngx_http_intent_socketio_die(sr);
        return;
    }

    if (sr->probing) {
        ngx_add_timer(c->read, NGX_HTTP_INTENT_SOCKETIO_PROBE);
    }

    ngx_http_intent_socketio_websocket_flush(sr);

    /* a client need not wait for the 101 before it sends */

    b = r->header_in;

    if (b->pos < b->last) {
        ngx_http_intent_socketio_input(sr, b->pos, b->last);
        b->pos = b->last;
    }

    ngx_post_event(c->read, &ngx_posted_events);
}


static void
ngx_http_intent_socketio_read_handler(ngx_http_request_t *r)
{
    ssize_t                              n;
    ngx_event_t                         *rev;
    ngx_connection_t                    *c;
    ngx_http_intent_socketio_request_t  *sr;

    /* one for all: empty whenever anything else runs */
    static u_char                        buf[NGX_HTTP_INTENT_SOCKETIO_READ];

    c = r->connection;
    rev = c->read;
    sr = ngx_http_get_module_ctx(r, ngx_http_intent_socketio_module);

    if (rev->timedout) {
        rev->timedout = 0;
        ngx_http_intent_socketio_die(sr);
        return;
    }

    while (rev->ready && !sr->dead) {

        n = c->recv(c, buf, NGX_HTTP_INTENT_SOCKETIO_READ);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == NGX_ERROR || n == 0) {
            ngx_http_intent_socketio_die(sr);
            return;
        }

        if (!sr->closing) {
            ngx_http_intent_socketio_input(sr, buf, buf + n);

#if (NGX_HTTP_SSL)
        } else if (c->ssl && sr->half) {

            /* most likely the peer's close, after which it waits for us */
            ngx_http_intent_socketio_die(sr);
#endif
        }
    }

    if (!sr->dead && ngx_handle_read_event(rev, 0) != NGX_OK) {
        ngx_http_intent_socketio_die(sr);
    }
}


static void
ngx_http_intent_socketio_input(ngx_http_intent_socketio_request_t *sr,
    u_char *pos, u_char *last)
{
    const uint8_t          *p;
    intent_frame_reader_t  *reader;

    p = pos;
    reader = &sr->reader;

    while (!sr->dead && !sr->closing) {

        switch (intent_frame_read(reader, &p, last)) {

        case INTENT_FRAME_AGAIN:
            return;

        case INTENT_FRAME_TEXT:
            ngx_http_intent_socketio_text(sr);
            break;

        case INTENT_FRAME_BINARY:
            ngx_http_intent_socketio_websocket_close(sr,
                                                     INTENT_CLOSE_UNSUPPORTED);
            break;

        case INTENT_FRAME_PING:
            ngx_http_intent_socketio_frame(sr, INTENT_FRAME_PONG, reader->data,
                                           reader->len);
            ngx_http_intent_socketio_write(sr);
            break;

        case INTENT_FRAME_PONG:
            break;

        case INTENT_FRAME_CLOSE:
            ngx_http_intent_socketio_websocket_close(sr, INTENT_CLOSE_NORMAL);
            break;

        default: /* INTENT_FRAME_FAILED */
            ngx_log_error(NGX_LOG_INFO, sr->request->connection->log, 0,
                          "client sent an invalid WebSocket frame: %s",
                          reader->reason);
            ngx_http_intent_socketio_websocket_close(sr, reader->code);
        }
    }

    intent_frame_reset(reader);
}


static void
ngx_http_intent_socketio_text(ngx_http_intent_socketio_request_t *sr)
{
    if (sr->probing) {
        ngx_http_intent_socketio_probe(sr);
        return;
    }

    if (ngx_http_intent_socketio_packet(&sr->id, sr->reader.data,
                                        sr->reader.len, sr->conf,
                                        sr->request->connection->log)
        == NGX_ERROR)
    {
        ngx_log_error(NGX_LOG_INFO, sr->request->connection->log, 0,
                      "client sent an invalid Socket.IO packet, "
                      "its session is ended");

        ngx_http_intent_socketio_end(&sr->id);
    }
}


/* ---- from polls to here ---- */

/*
 * "2probe" is answered by "3probe", and the poll that waits ends; when the
 * client has seen both it says "5", and does not poll any more.
 */

static void
ngx_http_intent_socketio_probe(ngx_http_intent_socketio_request_t *sr)
{
    u_char  *p;
    size_t   len;

    p = sr->reader.data;
    len = sr->reader.len;

    if (len == 6 && ngx_memcmp(p, "2probe", 6) == 0) {
        ngx_http_intent_socketio_frame(sr, INTENT_FRAME_TEXT,
                                       (u_char *) "3probe", 6);
        ngx_http_intent_socketio_write(sr);

        sr->probed = 1;
        ngx_http_intent_socketio_probing(sr, 1);
        return;
    }

    if (len != 1 || *p != INTENT_ENGINEIO_UPGRADE || !sr->probed
        || ngx_http_intent_socketio_upgrade(sr) != NGX_OK)
    {
        ngx_http_intent_socketio_websocket_close(sr, INTENT_CLOSE_POLICY);
    }
}


static void
ngx_http_intent_socketio_probing(ngx_http_intent_socketio_request_t *sr,
    ngx_uint_t upgrading)
{
    ngx_pid_t                           owner;
    ngx_uint_t                          worker;
    ngx_http_intent_socketio_record_t  *record;

    record = ngx_http_intent_socketio_lock(&sr->id);

    if (record) {
        record->upgrading = upgrading;
        owner = record->owner;
        worker = record->worker;

        ngx_http_intent_socketio_unlock();

        ngx_http_intent_socketio_wake(&sr->id, owner, worker);
    }
}


static ngx_int_t
ngx_http_intent_socketio_upgrade(ngx_http_intent_socketio_request_t *sr)
{
    ngx_pid_t                            owner;
    ngx_uint_t                           worker;
    ngx_http_intent_socketio_record_t   *record;
    ngx_http_intent_socketio_session_t  *session;

    if (ngx_http_intent_socketio_session(sr->request, &sr->id, &sr->user,
                                         &session)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    record = ngx_http_intent_socketio_lock(&sr->id);

    if (record == NULL || record->websocket) {

        if (record) {
            ngx_http_intent_socketio_unlock();
        }

        ngx_post_event(&session->event, &ngx_posted_events);
        return NGX_DECLINED;
    }

    owner = record->owner;
    worker = record->worker;

    record->websocket = 1;
    record->upgrading = 0;

    ngx_http_intent_socketio_own(record);
    ngx_http_intent_socketio_unlock();

    if (owner != ngx_pid && owner != NGX_INVALID_PID) {
        ngx_http_intent_socketio_wake_there(&sr->id, worker);
    }

    ngx_del_timer(sr->request->connection->read);

    sr->probing = 0;
    sr->session = session;
    session->websocket = sr;

    ngx_post_event(&session->event, &ngx_posted_events);

    return NGX_OK;
}


/* ---- writing ---- */

/* what waits in the record, when nothing waits here any more */

void
ngx_http_intent_socketio_websocket_flush(
    ngx_http_intent_socketio_request_t *sr)
{
    ngx_uint_t                          n;
    ngx_http_intent_socketio_out_t     *out;
    ngx_http_intent_socketio_record_t  *record;

    if (!sr->open || sr->closing || sr->dead || sr->out || sr->session == NULL)
    {
        return;
    }

    record = ngx_http_intent_socketio_lock(&sr->id);

    if (record == NULL) {
        return;
    }

    n = 0;

    for (out = record->out; out && !sr->dead; out = out->next) {
        ngx_http_intent_socketio_frame(sr, INTENT_FRAME_TEXT, out->data,
                                       out->len);
        n++;
    }

    ngx_http_intent_socketio_sent(record, n);

    ngx_http_intent_socketio_unlock();

    ngx_http_intent_socketio_write(sr);

    /* there is room again, maybe for what waits for that */

    if (n && sr->out == NULL && sr->session
        && (sr->session->held || sr->session->client.snapshot))
    {
        ngx_post_event(&sr->session->event, &ngx_posted_next_events);
    }
}


static void
ngx_http_intent_socketio_frame(ngx_http_intent_socketio_request_t *sr,
    uint8_t opcode, const u_char *data, size_t len)
{
    u_char  *p;
    size_t   left;

    left = sr->last - sr->pos;

    /* pongs for a peer that does not read them */

    if (opcode != INTENT_FRAME_TEXT && left > sr->conf->buffer) {
        ngx_http_intent_socketio_die(sr);
        return;
    }

    p = ngx_alloc(left + INTENT_FRAME_MAX_HEADER + len,
                  sr->request->connection->log);
    if (p == NULL) {
        ngx_http_intent_socketio_die(sr);
        return;
    }

    if (left) {
        ngx_memcpy(p, sr->pos, left);
    }

    if (sr->out) {
        ngx_free(sr->out);
    }

    sr->out = p;
    sr->pos = p;

    p += left;
    p += intent_frame_header(p, opcode, len);

    sr->last = ngx_cpymem(p, data, len);
}


static void
ngx_http_intent_socketio_write(ngx_http_intent_socketio_request_t *sr)
{
    ssize_t            n;
    ngx_connection_t  *c;

    c = sr->request->connection;

    while (sr->out && c->write->ready && !sr->dead) {

        n = c->send(c, sr->pos, sr->last - sr->pos);

        if (n == NGX_ERROR) {
            ngx_http_intent_socketio_die(sr);
            return;
        }

        if (n == NGX_AGAIN) {
            break;
        }

        sr->pos += n;

        if (sr->pos == sr->last) {
            ngx_free(sr->out);

            sr->out = NULL;
            sr->pos = NULL;
            sr->last = NULL;
        }
    }

    if (sr->closing) {
        ngx_http_intent_socketio_half_close(sr);
    }

    if (sr->out && !sr->dead && ngx_handle_write_event(c->write, 0) != NGX_OK)
    {
        ngx_http_intent_socketio_die(sr);
    }
}


/* ---- the end ---- */

/*
 * Says goodbye, and waits a while for the peer to end the connection: bytes
 * that are left unread would reset it, and the goodbye be lost.
 */

void
ngx_http_intent_socketio_websocket_close(
    ngx_http_intent_socketio_request_t *sr, ngx_uint_t code)
{
    u_char  status[2];

    if (!sr->open) {
        ngx_http_intent_socketio_die(sr);
        return;
    }

    if (sr->closing || sr->dead) {
        return;
    }

    ngx_http_intent_socketio_detach(sr);

    status[0] = (u_char) (code >> 8);
    status[1] = (u_char) code;

    ngx_http_intent_socketio_frame(sr, INTENT_FRAME_CLOSE, status, 2);

    if (sr->dead) {
        return;
    }

    sr->closing = 1;

    ngx_add_timer(sr->request->connection->read,
                  NGX_HTTP_INTENT_SOCKETIO_GOODBYE);

    ngx_http_intent_socketio_write(sr);
}


static void
ngx_http_intent_socketio_half_close(ngx_http_intent_socketio_request_t *sr)
{
    ngx_connection_t  *c;

    c = sr->request->connection;

    if (sr->out || sr->half || sr->dead) {
        return;
    }

    sr->half = 1;

#if (NGX_HTTP_SSL)
    if (c->ssl) {
        return;
    }
#endif

    if (ngx_shutdown_socket(c->fd, NGX_WRITE_SHUTDOWN) == -1) {
        ngx_http_intent_socketio_die(sr);
    }
}


/* the request ends in its own write handler, in a turn of its own */

static void
ngx_http_intent_socketio_die(ngx_http_intent_socketio_request_t *sr)
{
    if (sr->dead) {
        return;
    }

    sr->dead = 1;

    ngx_http_intent_socketio_detach(sr);

    ngx_post_event(sr->request->connection->write, &ngx_posted_events);
}


static void
ngx_http_intent_socketio_websocket_cleanup(void *data)
{
    ngx_http_intent_socketio_request_t *sr = data;

    sr->dead = 1;

    ngx_http_intent_socketio_detach(sr);

    /* the client goes on with its polls */

    if (sr->probing && sr->probed) {
        ngx_http_intent_socketio_probing(sr, 0);
    }

    intent_frame_reset(&sr->reader);

    if (sr->out) {
        ngx_free(sr->out);
        sr->out = NULL;
    }
}
