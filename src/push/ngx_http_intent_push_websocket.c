
/*
 * An open WebSocket: what the peer says, what it is told, and the end of it.
 *
 * A connection is freed by its write handler only, in a turn of its own:
 * whoever finds that it is over marks it dead and posts that event.
 */


#include "ngx_http_intent_push_websocket.h"


#define NGX_HTTP_INTENT_PUSH_READ      16384
#define NGX_HTTP_INTENT_PUSH_TURNS     8        /* reads in a row */
#define NGX_HTTP_INTENT_PUSH_GOODBYE   3000     /* ms, for the peer's close */
#define NGX_HTTP_INTENT_PUSH_DETAIL    512

#define NGX_HTTP_INTENT_PUSH_USER      "user"


/* what "subscribe" and "unsubscribe" do with what they are given */
typedef struct {
    const char    *name;
    ngx_int_t    (*intent)(ngx_http_intent_push_ws_t *ws, ngx_str_t *id);
    ngx_int_t    (*user)(ngx_http_intent_push_ws_t *ws, int64_t since);
} ngx_http_intent_push_verb_t;


static void ngx_http_intent_push_ws_read_handler(ngx_event_t *rev);
static void ngx_http_intent_push_ws_timer(ngx_http_intent_push_ws_t *ws);
static void ngx_http_intent_push_ws_input(ngx_http_intent_push_ws_t *ws,
    u_char *pos, u_char *last);

static void ngx_http_intent_push_ws_text(ngx_http_intent_push_ws_t *ws);
static ngx_int_t ngx_http_intent_push_ws_since(ngx_http_intent_push_ws_t *ws,
    json_t *json, int64_t *since);
static void ngx_http_intent_push_ws_verb(ngx_http_intent_push_ws_t *ws,
    ngx_http_intent_push_verb_t *verb, json_t *what, int64_t since);
static void ngx_http_intent_push_ws_id(ngx_http_intent_push_ws_t *ws,
    ngx_http_intent_push_verb_t *verb, json_t *what);
static ngx_int_t ngx_http_intent_push_ws_subscribe(
    ngx_http_intent_push_ws_t *ws, ngx_str_t *id);
static ngx_int_t ngx_http_intent_push_ws_subscribe_user(
    ngx_http_intent_push_ws_t *ws, int64_t since);
static ngx_int_t ngx_http_intent_push_ws_subscribed(
    ngx_http_intent_push_ws_t *ws, ngx_int_t rc, ngx_str_t *id);
static ngx_int_t ngx_http_intent_push_ws_unsubscribe(
    ngx_http_intent_push_ws_t *ws, ngx_str_t *id);
static ngx_int_t ngx_http_intent_push_ws_unsubscribe_user(
    ngx_http_intent_push_ws_t *ws, int64_t since);
static void ngx_http_intent_push_ws_error(ngx_http_intent_push_ws_t *ws,
    ngx_str_t *id, const char *detail);

static void ngx_http_intent_push_ws_message(
    ngx_http_intent_push_client_t *client, ngx_http_intent_push_message_t *m);
static void ngx_http_intent_push_ws_missing(
    ngx_http_intent_push_client_t *client, ngx_str_t *id);
static void ngx_http_intent_push_ws_drain(
    ngx_http_intent_push_client_t *client);
static ngx_uint_t ngx_http_intent_push_ws_ready(
    ngx_http_intent_push_client_t *client);
static void ngx_http_intent_push_ws_caught_up(
    ngx_http_intent_push_client_t *client, int64_t at, ngx_uint_t complete);

static void ngx_http_intent_push_ws_frame(ngx_http_intent_push_ws_t *ws,
    ngx_uint_t opcode, u_char *data, size_t len);
static void ngx_http_intent_push_ws_send(ngx_http_intent_push_ws_t *ws,
    u_char *data, size_t len, ngx_http_intent_push_message_t *m);
static void ngx_http_intent_push_ws_queue(ngx_http_intent_push_ws_t *ws,
    u_char *data, size_t len, ngx_http_intent_push_message_t *m);
static void ngx_http_intent_push_ws_write_handler(ngx_event_t *wev);
static ngx_int_t ngx_http_intent_push_ws_flush(ngx_http_intent_push_ws_t *ws);
static void ngx_http_intent_push_ws_drop(ngx_http_intent_push_ws_t *ws,
    ngx_http_intent_push_out_t **first);

static void ngx_http_intent_push_ws_goodbye(ngx_http_intent_push_ws_t *ws,
    ngx_uint_t code, const char *reason);
static void ngx_http_intent_push_ws_half_close(ngx_http_intent_push_ws_t *ws);
static void ngx_http_intent_push_ws_die(ngx_http_intent_push_ws_t *ws);
static void ngx_http_intent_push_ws_free(ngx_http_intent_push_ws_t *ws);


static ngx_http_intent_push_verb_t  ngx_http_intent_push_verbs[] = {

    { "subscribe",
      ngx_http_intent_push_ws_subscribe,
      ngx_http_intent_push_ws_subscribe_user },

    { "unsubscribe",
      ngx_http_intent_push_ws_unsubscribe,
      ngx_http_intent_push_ws_unsubscribe_user },

    { NULL, NULL, NULL }
};


ngx_http_intent_push_transport_t  ngx_http_intent_push_ws_transport = {
    ngx_string("websocket"),
    ngx_http_intent_push_ws_message,
    ngx_http_intent_push_ws_missing,
    ngx_http_intent_push_ws_drain,
    ngx_http_intent_push_ws_ready,
    ngx_http_intent_push_ws_caught_up,
    NULL,
    NULL,
    0
};


void
ngx_http_intent_push_ws_start(ngx_http_intent_push_ws_t *ws, u_char *pos,
    u_char *last)
{
    ngx_event_t       *rev, *wev;
    ngx_connection_t  *c;

    c = ws->connection;
    rev = c->read;
    wev = c->write;

    rev->handler = ngx_http_intent_push_ws_read_handler;
    wev->handler = ngx_http_intent_push_ws_write_handler;

    if (wev->timer_set) {
        ngx_del_timer(wev);
    }

    ngx_add_timer(rev, ws->conf->ping);

    if (c->tcp_nopush == NGX_TCP_NOPUSH_SET) {
        if (ngx_tcp_push(c->fd) == -1) {
            ngx_http_intent_push_ws_die(ws);
            return;
        }

        c->tcp_nopush = NGX_TCP_NOPUSH_UNSET;
    }

    if (ngx_tcp_nodelay(c) != NGX_OK) {
        ngx_http_intent_push_ws_die(ws);
        return;
    }

    /* a client need not wait for the 101 before it sends */

    if (pos < last) {
        ngx_http_intent_push_ws_input(ws, pos, last);
    }

    if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        ngx_http_intent_push_ws_die(ws);
        return;
    }

    if (rev->ready) {
        ngx_post_event(rev, &ngx_posted_events);
    }
}


/* ---- what the peer says ---- */

static void
ngx_http_intent_push_ws_read_handler(ngx_event_t *rev)
{
    ssize_t                     n;
    ngx_uint_t                  turns;
    ngx_connection_t           *c;
    ngx_http_intent_push_ws_t  *ws;

    /* one for all: empty whenever anything else runs */
    static u_char               buf[NGX_HTTP_INTENT_PUSH_READ];

    c = rev->data;
    ws = c->data;

    if (c->close) {

        /* worker_shutdown_timeout */
        ngx_http_intent_push_ws_die(ws);
        return;
    }

    if (rev->timedout) {
        rev->timedout = 0;
        ngx_http_intent_push_ws_timer(ws);
    }

    for (turns = 0;
         rev->ready && ws->state != ngx_http_intent_push_ws_dead;
         turns++)
    {
        if (turns == NGX_HTTP_INTENT_PUSH_TURNS) {
            ngx_post_event(rev, &ngx_posted_next_events);
            return;
        }

        n = c->recv(c, buf, NGX_HTTP_INTENT_PUSH_READ);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == NGX_ERROR || n == 0) {
            ngx_log_debug1(NGX_LOG_DEBUG_HTTP, c->log, 0,
                           "intent push websocket: peer has gone, %z", n);
            ngx_http_intent_push_ws_die(ws);
            return;
        }

        ws->heard = 1;

        if (ws->state == ngx_http_intent_push_ws_open) {
            ngx_http_intent_push_ws_input(ws, buf, buf + n);

#if (NGX_HTTP_SSL)
        } else if (c->ssl && ws->half) {

            /* most likely the peer's close, after which it waits for us */
            ngx_http_intent_push_ws_die(ws);
#endif
        }
    }

    if (ws->state != ngx_http_intent_push_ws_dead
        && ngx_handle_read_event(rev, 0) != NGX_OK)
    {
        ngx_http_intent_push_ws_die(ws);
    }
}


/* the timer of the read event: of pings first, then of the goodbye */

static void
ngx_http_intent_push_ws_timer(ngx_http_intent_push_ws_t *ws)
{
    ngx_connection_t  *c;

    c = ws->connection;

    if (ws->state != ngx_http_intent_push_ws_open) {
        ngx_http_intent_push_ws_die(ws);
        return;
    }

    if (ws->heard) {
        ws->heard = 0;
        ws->pinged = 0;
        ngx_add_timer(c->read, ws->conf->ping);
        return;
    }

    if (ws->pinged) {
        ngx_log_error(NGX_LOG_INFO, c->log, NGX_ETIMEDOUT,
                      "WebSocket did not answer a ping within %Mms",
                      ws->conf->ping_timeout);
        ngx_http_intent_push_ws_die(ws);
        return;
    }

    ws->pinged = 1;
    ngx_add_timer(c->read, ws->conf->ping_timeout);

    ngx_http_intent_push_ws_frame(ws, INTENT_FRAME_PING, NULL, 0);
}


static void
ngx_http_intent_push_ws_input(ngx_http_intent_push_ws_t *ws, u_char *pos,
    u_char *last)
{
    ngx_uint_t              code;
    const uint8_t          *p;
    intent_frame_reader_t  *reader;

    p = pos;
    reader = &ws->reader;

    while (ws->state == ngx_http_intent_push_ws_open) {

        switch (intent_frame_read(reader, &p, last)) {

        case INTENT_FRAME_AGAIN:
            return;

        case INTENT_FRAME_TEXT:
            ngx_http_intent_push_ws_text(ws);
            break;

        case INTENT_FRAME_BINARY:
            ngx_http_intent_push_ws_goodbye(ws, INTENT_CLOSE_UNSUPPORTED,
                                            "only text is taken here");
            break;

        case INTENT_FRAME_PING:
            ngx_http_intent_push_ws_frame(ws, INTENT_FRAME_PONG, reader->data,
                                          reader->len);
            break;

        case INTENT_FRAME_PONG:
            break;

        case INTENT_FRAME_CLOSE:
            ws->answered = 1;
            code = (reader->code == INTENT_CLOSE_NO_STATUS) ? 0 : reader->code;
            ngx_http_intent_push_ws_goodbye(ws, code, "");
            break;

        default: /* INTENT_FRAME_FAILED */
            ngx_log_error(NGX_LOG_INFO, ws->connection->log, 0,
                          "client sent an invalid WebSocket frame: %s",
                          reader->reason);
            ngx_http_intent_push_ws_goodbye(ws, reader->code, reader->reason);
        }
    }

    intent_frame_reset(reader);
}


static void
ngx_http_intent_push_ws_text(ngx_http_intent_push_ws_t *ws)
{
    json_t                       *json, *what;
    int64_t                       since;
    ngx_uint_t                    done;
    ngx_http_intent_push_verb_t  *verb;

    json = json_loadb((char *) ws->reader.data, ws->reader.len,
                      JSON_REJECT_DUPLICATES, NULL);

    if (!json_is_object(json)) {
        ngx_http_intent_push_ws_error(ws, NULL,
                                      "a message should be a JSON object");
        json_decref(json);
        return;
    }

    if (ngx_http_intent_push_ws_since(ws, json, &since) != NGX_OK) {
        json_decref(json);
        return;
    }

    done = 0;

    for (verb = ngx_http_intent_push_verbs; verb->name; verb++) {
        what = json_object_get(json, verb->name);

        if (what) {
            ngx_http_intent_push_ws_verb(ws, verb, what, since);
            done++;
        }
    }

    if (done + (since != 0) != json_object_size(json) || done == 0) {
        ngx_http_intent_push_ws_error(ws, NULL,
                                      "a message should have \"subscribe\" or "
                                      "\"unsubscribe\", and nothing else");
    }

    json_decref(json);
}


/* null: the client has seen nothing yet; without any since: 0 */

static ngx_int_t
ngx_http_intent_push_ws_since(ngx_http_intent_push_ws_t *ws, json_t *json,
    int64_t *since)
{
    json_t  *value;

    *since = 0;
    value = json_object_get(json, "since");

    if (value == NULL) {
        return NGX_OK;
    }

    if (ngx_http_intent_push_since_parse(value, since) != NGX_OK) {
        ngx_http_intent_push_ws_error(ws, NULL, "since should be null or a "
                                                "time as in updatedAt");
        return NGX_DECLINED;
    }

    value = json_object_get(json, "subscribe");

    if (!json_is_string(value)
        || ngx_strcmp(json_string_value(value), NGX_HTTP_INTENT_PUSH_USER)
           != 0)
    {
        ngx_http_intent_push_ws_error(ws, NULL, "since goes with a "
                                      "subscription to \"user\" only");
        return NGX_DECLINED;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_intent_push_since_parse(json_t *value, int64_t *since)
{
    if (json_is_null(value)) {
        *since = NGX_HTTP_INTENT_PUSH_ANEW;
        return NGX_OK;
    }

    if (!json_is_string(value)
        || ngx_http_intent_push_time((u_char *) json_string_value(value),
                                     json_string_length(value), since)
           != NGX_OK
        || *since > ngx_http_intent_now() + NGX_HTTP_INTENT_PUSH_AHEAD)
    {
        return NGX_ERROR;
    }

    *since = ngx_max(*since, 1);

    return NGX_OK;
}


static void
ngx_http_intent_push_ws_verb(ngx_http_intent_push_ws_t *ws,
    ngx_http_intent_push_verb_t *verb, json_t *what, int64_t since)
{
    size_t   i;
    json_t  *id;

    if (json_is_string(what)
        && ngx_strcmp(json_string_value(what), NGX_HTTP_INTENT_PUSH_USER) == 0)
    {
        (void) verb->user(ws, since);
        return;
    }

    if (!json_is_array(what)) {
        ngx_http_intent_push_ws_id(ws, verb, what);
        return;
    }

    json_array_foreach(what, i, id) {
        if (ws->state != ngx_http_intent_push_ws_open) {
            return;
        }

        ngx_http_intent_push_ws_id(ws, verb, id);
    }
}


static void
ngx_http_intent_push_ws_id(ngx_http_intent_push_ws_t *ws,
    ngx_http_intent_push_verb_t *verb, json_t *what)
{
    u_char     bytes[16], text[NGX_HTTP_INTENT_ID_LEN];
    ngx_str_t  id;

    if (!json_is_string(what)
        || ngx_http_intent_id_parse((u_char *) json_string_value(what),
                                    json_string_length(what), bytes)
           != NGX_OK)
    {
        ngx_http_intent_push_ws_error(ws, NULL,
                                      "an intent's id should be a UUID");
        return;
    }

    ngx_http_intent_id_format(bytes, text);

    id.data = text;
    id.len = NGX_HTTP_INTENT_ID_LEN;

    (void) verb->intent(ws, &id);
}


static ngx_int_t
ngx_http_intent_push_ws_subscribe(ngx_http_intent_push_ws_t *ws, ngx_str_t *id)
{
    ngx_int_t  rc;

    rc = ngx_http_intent_push_subscribe(&ws->client, id);

    return ngx_http_intent_push_ws_subscribed(ws, rc, id);
}


static ngx_int_t
ngx_http_intent_push_ws_subscribe_user(ngx_http_intent_push_ws_t *ws,
    int64_t since)
{
    ngx_int_t  rc;

    if (ws->client.user.len == 0) {
        ngx_http_intent_push_ws_error(ws, NULL,
                                      "it is not known here who you are");
        return NGX_DECLINED;
    }

    rc = ngx_http_intent_push_subscribe_user(&ws->client, since);

    if (rc == NGX_OK && since) {
        ws->since = 1;
    }

    return ngx_http_intent_push_ws_subscribed(ws, rc, NULL);
}


static ngx_int_t
ngx_http_intent_push_ws_subscribed(ngx_http_intent_push_ws_t *ws, ngx_int_t rc,
    ngx_str_t *id)
{
    switch (rc) {

    case NGX_OK:
        break;

    case NGX_DECLINED:
        ngx_http_intent_push_ws_error(ws, id,
                                      "there are too many subscriptions");
        break;

    case NGX_BUSY:
        ngx_http_intent_push_ws_error(ws, NULL, "the subscription before has "
                                                "not caught up yet");
        break;

    default: /* NGX_ERROR */
        ngx_http_intent_push_ws_goodbye(ws, INTENT_CLOSE_INTERNAL, "");
    }

    return rc;
}


static ngx_int_t
ngx_http_intent_push_ws_unsubscribe(ngx_http_intent_push_ws_t *ws,
    ngx_str_t *id)
{
    ngx_http_intent_push_unsubscribe(&ws->client, id);

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_push_ws_unsubscribe_user(ngx_http_intent_push_ws_t *ws,
    int64_t since)
{
    ngx_http_intent_push_unsubscribe_user(&ws->client);

    return NGX_OK;
}


/* the details are ours, and need no escapes but that of quotes */

static void
ngx_http_intent_push_ws_error(ngx_http_intent_push_ws_t *ws, ngx_str_t *id,
    const char *detail)
{
    u_char  *p, buf[NGX_HTTP_INTENT_PUSH_DETAIL];

    p = ngx_sprintf(buf, "{\"event\":\"error\",\"intentId\":");

    if (id) {
        p = ngx_sprintf(p, "\"%V\"", id);

    } else {
        p = ngx_cpymem(p, "null", 4);
    }

    p = ngx_sprintf(p, ",\"detail\":\"");
    p = (u_char *) ngx_escape_json(p, (u_char *) detail, ngx_strlen(detail));
    p = ngx_sprintf(p, "\"}");

    ngx_http_intent_push_ws_frame(ws, INTENT_FRAME_TEXT, buf, p - buf);
}


/* ---- what it is told ---- */

static void
ngx_http_intent_push_ws_message(ngx_http_intent_push_client_t *client,
    ngx_http_intent_push_message_t *m)
{
    ngx_http_intent_push_ws_t *ws = (ngx_http_intent_push_ws_t *) client;

    size_t  len;
    u_char  header[INTENT_FRAME_MAX_HEADER];

    if (ws->state != ngx_http_intent_push_ws_open) {
        return;
    }

    /* the first who sends it puts the header before it, for all */

    if (m->frame.len == 0) {
        len = intent_frame_header(header, INTENT_FRAME_TEXT, m->text.len);

        m->frame.data = m->text.data - len;
        m->frame.len = m->text.len + len;
        ngx_memcpy(m->frame.data, header, len);
    }

    ngx_http_intent_push_ws_send(ws, m->frame.data, m->frame.len, m);
}


static void
ngx_http_intent_push_ws_missing(ngx_http_intent_push_client_t *client,
    ngx_str_t *id)
{
    ngx_http_intent_push_ws_t *ws = (ngx_http_intent_push_ws_t *) client;

    ngx_http_intent_push_ws_error(ws, id, "there is no such intent");
}


static void
ngx_http_intent_push_ws_drain(ngx_http_intent_push_client_t *client)
{
    ngx_http_intent_push_ws_t *ws = (ngx_http_intent_push_ws_t *) client;

    /* where the handshake is still on its way out, it is cut short */

    if (ws->state == ngx_http_intent_push_ws_handshake) {
        ws->connection->error = 1;
        ngx_post_event(ws->connection->write, &ngx_posted_events);
        return;
    }

    ngx_http_intent_push_ws_goodbye(ws, INTENT_CLOSE_RESTART,
                                    "the server restarts, come back");
}


/* a half is left for what changes */

static ngx_uint_t
ngx_http_intent_push_ws_ready(ngx_http_intent_push_client_t *client)
{
    ngx_http_intent_push_ws_t *ws = (ngx_http_intent_push_ws_t *) client;

    return ws->out == NULL || ws->queued < ws->conf->buffer / 2;
}


static void
ngx_http_intent_push_ws_caught_up(ngx_http_intent_push_client_t *client,
    int64_t at, ngx_uint_t complete)
{
    ngx_http_intent_push_ws_t *ws = (ngx_http_intent_push_ws_t *) client;

    u_char  *p, buf[NGX_HTTP_INTENT_PUSH_DETAIL];

    /* to those who know of it */

    if (!ws->since) {
        return;
    }

    p = ngx_cpymem(buf, "{\"event\":\"caughtUp\",",
                   sizeof("{\"event\":\"caughtUp\",") - 1);
    p = ngx_http_intent_push_caught_up(p, at, complete);

    ngx_http_intent_push_ws_frame(ws, INTENT_FRAME_TEXT, buf, p - buf);
}


/* a frame of our own; a pong has no more than the ping, an error is short */

static void
ngx_http_intent_push_ws_frame(ngx_http_intent_push_ws_t *ws,
    ngx_uint_t opcode, u_char *data, size_t len)
{
    u_char  *p, frame[INTENT_FRAME_MAX_HEADER + NGX_HTTP_INTENT_PUSH_DETAIL];

    if (ws->state != ngx_http_intent_push_ws_open) {
        return;
    }

    p = frame + intent_frame_header(frame, (uint8_t) opcode, len);
    p = ngx_cpymem(p, data, len);

    ngx_http_intent_push_ws_send(ws, frame, p - frame, NULL);
}


/* m: whose memory it is; NULL: the caller's, for the time of the call */

static void
ngx_http_intent_push_ws_send(ngx_http_intent_push_ws_t *ws, u_char *data,
    size_t len, ngx_http_intent_push_message_t *m)
{
    ssize_t            n;
    ngx_connection_t  *c;

    c = ws->connection;

    if (ws->out == NULL && c->write->ready) {

        n = c->send(c, data, len);

        if (n == NGX_ERROR) {
            ngx_http_intent_push_ws_die(ws);
            return;
        }

        if (n > 0) {
            data += n;
            len -= n;
        }

        if (len == 0) {
            return;
        }
    }

    if (ws->state == ngx_http_intent_push_ws_open
        && len > ws->conf->buffer - ngx_min(ws->queued, ws->conf->buffer))
    {
        ngx_log_error(NGX_LOG_INFO, c->log, 0,
                      "WebSocket reads too slowly, %uz bytes wait for it",
                      ws->queued);

        /* the rest of a frame that has begun has to follow */

        if (ws->out == NULL) {
            ngx_http_intent_push_ws_queue(ws, data, len, m);
        }

        ngx_http_intent_push_ws_goodbye(ws, INTENT_CLOSE_TRY_LATER,
                                        "too slow a reader");
        return;
    }

    ngx_http_intent_push_ws_queue(ws, data, len, m);
}


static void
ngx_http_intent_push_ws_queue(ngx_http_intent_push_ws_t *ws, u_char *data,
    size_t len, ngx_http_intent_push_message_t *m)
{
    ngx_http_intent_push_out_t  *out;

    out = ngx_alloc(sizeof(ngx_http_intent_push_out_t) + (m ? 0 : len),
                    ws->connection->log);
    if (out == NULL) {
        ngx_http_intent_push_ws_die(ws);
        return;
    }

    out->next = NULL;
    out->message = m;

    if (m) {
        ngx_http_intent_push_message_keep(m);
        out->pos = data;

    } else {
        ngx_memcpy(out->data, data, len);
        out->pos = out->data;
    }

    out->last = out->pos + len;

    *ws->last = out;
    ws->last = &out->next;
    ws->queued += len;

    if (ngx_handle_write_event(ws->connection->write, 0) != NGX_OK) {
        ngx_http_intent_push_ws_die(ws);
    }
}


static void
ngx_http_intent_push_ws_write_handler(ngx_event_t *wev)
{
    ngx_connection_t           *c;
    ngx_http_intent_push_ws_t  *ws;

    c = wev->data;
    ws = c->data;

    if (ws->state != ngx_http_intent_push_ws_dead
        && ngx_http_intent_push_ws_flush(ws) == NGX_OK
        && ngx_handle_write_event(wev, 0) == NGX_OK)
    {
        ngx_http_intent_push_more(&ws->client);
        return;
    }

    ngx_http_intent_push_ws_free(ws);
}


static ngx_int_t
ngx_http_intent_push_ws_flush(ngx_http_intent_push_ws_t *ws)
{
    ssize_t                      n;
    ngx_connection_t            *c;
    ngx_http_intent_push_out_t  *out;

    c = ws->connection;

    while (ws->out && c->write->ready) {
        out = ws->out;

        n = c->send(c, out->pos, out->last - out->pos);

        if (n == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (n == NGX_AGAIN) {
            break;
        }

        out->pos += n;
        ws->queued -= n;

        if (out->pos < out->last) {
            continue;
        }

        ws->out = out->next;

        if (ws->out == NULL) {
            ws->last = &ws->out;
        }

        if (out->message) {
            ngx_http_intent_push_message_free(out->message);
        }

        ngx_free(out);
    }

    if (ws->state == ngx_http_intent_push_ws_closing) {
        ngx_http_intent_push_ws_half_close(ws);
    }

    return NGX_OK;
}


static void
ngx_http_intent_push_ws_drop(ngx_http_intent_push_ws_t *ws,
    ngx_http_intent_push_out_t **first)
{
    ngx_http_intent_push_out_t  *out, *next;

    for (out = *first; out; out = next) {
        next = out->next;
        ws->queued -= out->last - out->pos;

        if (out->message) {
            ngx_http_intent_push_message_free(out->message);
        }

        ngx_free(out);
    }

    *first = NULL;
    ws->last = first;
}


/* ---- the end ---- */

/*
 * Sends a close frame (code 0: an empty one), then waits a while for the peer
 * to end the connection: a socket closed with bytes unread would be reset,
 * and the close frame lost.
 */

static void
ngx_http_intent_push_ws_goodbye(ngx_http_intent_push_ws_t *ws,
    ngx_uint_t code, const char *reason)
{
    u_char  *p, frame[INTENT_FRAME_MAX_HEADER + INTENT_FRAME_MAX_CONTROL];
    size_t   len;

    if (ws->state != ngx_http_intent_push_ws_open) {
        return;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ws->connection->log, 0,
                   "intent push websocket close: %ui \"%s\"", code, reason);

    ws->state = ngx_http_intent_push_ws_closing;

    ngx_http_intent_push_unsubscribe_all(&ws->client);

    /* what waits is not for him who does not read, but for what has begun */

    if (code == INTENT_CLOSE_TRY_LATER && ws->out) {
        ngx_http_intent_push_ws_drop(ws, &ws->out->next);
    }

    len = code ? 2 + ngx_strlen(reason) : 0;
    p = frame + intent_frame_header(frame, INTENT_FRAME_CLOSE, len);

    if (code) {
        *p++ = (u_char) (code >> 8);
        *p++ = (u_char) code;
        p = ngx_cpymem(p, reason, len - 2);
    }

    ngx_add_timer(ws->connection->read, NGX_HTTP_INTENT_PUSH_GOODBYE);

    ngx_http_intent_push_ws_send(ws, frame, p - frame, NULL);

    if (ws->state == ngx_http_intent_push_ws_closing) {
        ngx_http_intent_push_ws_half_close(ws);
    }
}


/* all is said: the peer is told so by TCP too, and answers in the same way */

static void
ngx_http_intent_push_ws_half_close(ngx_http_intent_push_ws_t *ws)
{
    ngx_connection_t  *c;

    c = ws->connection;

    if (ws->out || ws->half) {
        return;
    }

    ws->half = 1;

#if (NGX_HTTP_SSL)
    if (c->ssl) {

        /* its end is said when the connection is closed */

        if (ws->answered) {
            ngx_http_intent_push_ws_die(ws);
        }

        return;
    }
#endif

    if (ngx_shutdown_socket(c->fd, NGX_WRITE_SHUTDOWN) == -1) {
        ngx_http_intent_push_ws_die(ws);
    }
}


static void
ngx_http_intent_push_ws_die(ngx_http_intent_push_ws_t *ws)
{
    ws->state = ngx_http_intent_push_ws_dead;

    ngx_http_intent_push_unsubscribe_all(&ws->client);

    ngx_post_event(ws->connection->write, &ngx_posted_events);
}


static void
ngx_http_intent_push_ws_free(ngx_http_intent_push_ws_t *ws)
{
    ngx_connection_t  *c;

    c = ws->connection;

    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, c->log, 0,
                   "intent push websocket freed");

    ngx_http_intent_push_close(&ws->client);
    ngx_http_intent_push_ws_drop(ws, &ws->out);
    intent_frame_reset(&ws->reader);
    ngx_free(ws);

    ngx_http_close_connection(c);
}
