
/*
 * Server-Sent Events: a response that does not end, through nginx's filters,
 * over whatever version of HTTP.
 *
 * Messages come from anywhere in the event loop; they are queued, and written
 * by the request's write handler in a turn of its own.
 */


#include "ngx_http_intent_push_private.h"


/* what comes before data in an event */
#define NGX_HTTP_INTENT_PUSH_SSE_HEAD  (NGX_HTTP_INTENT_ID_LEN               \
                                        + 2 * NGX_INT64_LEN + 64)

#define NGX_HTTP_INTENT_PUSH_CAUGHT    "event: caughtUp\ndata: {"


/*
 * One event, or a comment.  Filters may look at a buffer again after it was
 * sent, so these are of the request's pool, and used again.
 */
typedef struct ngx_http_intent_push_item_s  ngx_http_intent_push_item_t;

struct ngx_http_intent_push_item_s {
    ngx_http_intent_push_item_t      *next;
    ngx_http_intent_push_message_t   *message;     /* NULL: a comment */
    ngx_chain_t                       links[3];
    ngx_buf_t                         bufs[3];     /* head, members, end */
    u_char                            head[NGX_HTTP_INTENT_PUSH_SSE_HEAD];
};


typedef struct {
    ngx_http_intent_push_client_t     client;
    ngx_http_request_t               *request;
    ngx_http_intent_push_caller_t     caller;
    ngx_http_intent_push_loc_conf_t  *conf;

    ngx_str_t                         id;          /* empty: the user's */
    ngx_uint_t                        version;     /* Last-Event-ID */
    ngx_str_t                         seen_id;     /* of a user's: whose
                                                      version that is */
    int64_t                           since;       /* of a user's: that he has
                                                      seen; 0: nothing */
    int64_t                           began;       /* his since, if nothing
                                                      reaches him */
    int64_t                           position;    /* what will be his since */

    ngx_http_intent_push_item_t      *items;       /* not yet sent as a whole */
    ngx_http_intent_push_item_t     **last;
    ngx_http_intent_push_item_t      *next;        /* not yet given to
                                                      the filters */
    ngx_http_intent_push_item_t      *free;
    ngx_event_t                       ping;

    unsigned                          opened:1;
    unsigned                          started:1;
    unsigned                          seen:1;      /* there is such an intent */
    unsigned                          missing:1;
    unsigned                          failed:1;    /* it cannot be read now */
    unsigned                          caught_up:1;
    unsigned                          answered:1;  /* otherwise */
    unsigned                          over:1;      /* nothing will follow */
    unsigned                          known:1;     /* all that he has */
    unsigned                          slow:1;
} ngx_http_intent_push_sse_t;


static ngx_int_t ngx_http_intent_push_sse_open(
    ngx_http_intent_push_sse_t *sse, ngx_str_t *id);
static void ngx_http_intent_push_sse_last_id(ngx_http_intent_push_sse_t *sse,
    ngx_uint_t user);

static void ngx_http_intent_push_sse_message(
    ngx_http_intent_push_client_t *client, ngx_http_intent_push_message_t *m);
static void ngx_http_intent_push_sse_missing(
    ngx_http_intent_push_client_t *client, ngx_str_t *id);
static void ngx_http_intent_push_sse_drain(
    ngx_http_intent_push_client_t *client);
static ngx_uint_t ngx_http_intent_push_sse_ready(
    ngx_http_intent_push_client_t *client);
static void ngx_http_intent_push_sse_caught_up(
    ngx_http_intent_push_client_t *client, int64_t at, ngx_uint_t complete);
static void ngx_http_intent_push_sse_failed(
    ngx_http_intent_push_client_t *client);
static void ngx_http_intent_push_sse_ping(ngx_event_t *ev);

static ngx_http_intent_push_item_t *ngx_http_intent_push_sse_item(
    ngx_http_intent_push_sse_t *sse);
static void ngx_http_intent_push_sse_link(ngx_http_intent_push_item_t *item,
    ngx_uint_t n, u_char *pos, u_char *last);
static void ngx_http_intent_push_sse_queue(ngx_http_intent_push_sse_t *sse,
    ngx_http_intent_push_item_t *item);
static size_t ngx_http_intent_push_sse_queued(ngx_http_intent_push_sse_t *sse);
static void ngx_http_intent_push_sse_wake(ngx_http_intent_push_sse_t *sse);

static void ngx_http_intent_push_sse_write_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_intent_push_sse_start(
    ngx_http_intent_push_sse_t *sse);
static ngx_int_t ngx_http_intent_push_sse_begin(
    ngx_http_intent_push_sse_t *sse);
static ngx_int_t ngx_http_intent_push_sse_write(
    ngx_http_intent_push_sse_t *sse);
static void ngx_http_intent_push_sse_free_sent(
    ngx_http_intent_push_sse_t *sse);
static void ngx_http_intent_push_sse_release(void *data);
static void ngx_http_intent_push_sse_cleanup(void *data);


ngx_http_intent_push_transport_t  ngx_http_intent_push_sse_transport = {
    ngx_string("sse"),
    ngx_http_intent_push_sse_message,
    ngx_http_intent_push_sse_missing,
    ngx_http_intent_push_sse_drain,
    ngx_http_intent_push_sse_ready,
    ngx_http_intent_push_sse_caught_up,
    ngx_http_intent_push_sse_failed,
    NULL,
    0
};


ngx_int_t
ngx_http_intent_push_sse(ngx_http_request_t *r, ngx_str_t *id,
    ngx_http_intent_push_caller_t *caller)
{
    ngx_int_t                    rc;
    ngx_pool_cleanup_t          *release;
    ngx_http_cleanup_t          *cln;
    ngx_http_intent_push_sse_t  *sse;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    if (id == NULL && caller->user.len == 0) {
        return caller->problem(r, NGX_HTTP_FORBIDDEN,
                               "only a known caller has intents to watch");
    }

    sse = ngx_pcalloc(r->pool, sizeof(ngx_http_intent_push_sse_t));
    cln = ngx_http_cleanup_add(r, 0);
    release = ngx_pool_cleanup_add(r->pool, 0);

    if (sse == NULL || cln == NULL || release == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    sse->request = r;
    sse->caller = *caller;
    sse->conf = ngx_http_get_module_loc_conf(r, ngx_http_intent_push_module);
    sse->last = &sse->items;

    ngx_http_intent_push_sse_last_id(sse, id == NULL);

    sse->client.user.len = caller->user.len;
    sse->client.user.data = ngx_pstrdup(r->pool, &caller->user);

    if (sse->client.user.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = ngx_http_intent_push_sse_cleanup;
    cln->data = sse;

    /* what HTTP/2 still has to send is looked at until the very end */

    release->handler = ngx_http_intent_push_sse_release;
    release->data = sse;

    ngx_http_set_ctx(r, sse, ngx_http_intent_push_module);

    rc = ngx_http_intent_push_sse_open(sse, id);

    switch (rc) {

    case NGX_OK:
        break;

    case NGX_DECLINED:
        return caller->problem(r, NGX_HTTP_TOO_MANY_REQUESTS,
                               "there are too many connections from your "
                               "address");

    case NGX_ABORT:
        return caller->problem(r, NGX_HTTP_SERVICE_UNAVAILABLE, NULL);

    default: /* NGX_ERROR */
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->main->count++;
    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_intent_push_sse_write_handler;

    if (ngx_handle_read_event(r->connection->read, 0) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (r->connection->read->ready) {
        ngx_post_event(r->connection->read, &ngx_posted_events);
    }

    return NGX_DONE;
}


static ngx_int_t
ngx_http_intent_push_sse_open(ngx_http_intent_push_sse_t *sse, ngx_str_t *id)
{
    ngx_int_t            rc;
    ngx_http_request_t  *r;

    r = sse->request;

    rc = ngx_http_intent_push_open(&sse->client,
                                   &ngx_http_intent_push_sse_transport, r);
    if (rc != NGX_OK) {
        return rc;
    }

    sse->opened = 1;

    sse->ping.handler = ngx_http_intent_push_sse_ping;
    sse->ping.data = r->connection;
    sse->ping.log = r->connection->log;
    sse->ping.cancelable = 1;

    ngx_add_timer(&sse->ping, sse->conf->ping);

    if (id) {
        sse->id.len = id->len;
        sse->id.data = ngx_pstrdup(r->pool, id);

        if (sse->id.data == NULL) {
            return NGX_ERROR;
        }

        return ngx_http_intent_push_subscribe(&sse->client, &sse->id);
    }

    return ngx_http_intent_push_subscribe_user(&sse->client, sse->since);
}


/*
 * A browser that comes back says what it has seen: of an intent its version;
 * of a user's intents a time, and the intent and version that it came with.
 */

static void
ngx_http_intent_push_sse_last_id(ngx_http_intent_push_sse_t *sse,
    ngx_uint_t user)
{
    off_t       at;
    u_char     *p, *last;
    ngx_int_t   n;
    ngx_str_t  *value;

    sse->began = ngx_http_intent_now();
    sse->position = sse->began;

    value = ngx_http_intent_push_header(sse->request, "last-event-id");

    if (value == NULL) {
        return;
    }

    p = value->data;
    last = p + value->len;

    if (user) {
        p = ngx_strlchr(p, last, ':');
        p = p ? p : last;

        /* milliseconds of today are more than 32 bits hold */

        at = ngx_atoof(value->data, p - value->data);

        if (at <= 0 || at > sse->began + NGX_HTTP_INTENT_PUSH_AHEAD) {
            return;
        }

        sse->since = at;
        sse->began = at;
        sse->position = at;

        if (last - p <= NGX_HTTP_INTENT_ID_LEN + 2) {
            return;
        }

        sse->seen_id.data = p + 1;
        sse->seen_id.len = NGX_HTTP_INTENT_ID_LEN;
        p += NGX_HTTP_INTENT_ID_LEN + 2;
    }

    n = ngx_atoi(p, last - p);
    sse->version = (n == NGX_ERROR) ? 0 : n;
}


/* ---- what the hub says ---- */

static void
ngx_http_intent_push_sse_message(ngx_http_intent_push_client_t *client,
    ngx_http_intent_push_message_t *m)
{
    ngx_http_intent_push_sse_t *sse = (ngx_http_intent_push_sse_t *) client;

    u_char                       *p;
    ngx_http_intent_push_item_t  *item;

    static u_char  end[] = "\n\n";

    if (sse->over) {
        return;
    }

    sse->seen = 1;
    sse->over = (sse->id.len && m->final);

    if (m->version <= sse->version
        && (sse->id.len
            || (sse->seen_id.len
                && ngx_memcmp(sse->seen_id.data, m->id.data,
                              NGX_HTTP_INTENT_ID_LEN)
                   == 0)))
    {
        /* a 204 if that was all: it ends an EventSource for good */

        sse->known = sse->over;
        ngx_http_intent_push_sse_wake(sse);
        return;
    }

    item = ngx_http_intent_push_sse_item(sse);

    if (item) {
        ngx_http_intent_push_message_keep(m);
        item->message = m;

        p = ngx_cpymem(item->head, "id: ", 4);

        if (sse->id.len == 0) {

            /* who has not caught up begins again where he began */

            if (sse->caught_up) {
                sse->position = ngx_max(sse->position, m->updated_at);
            }

            p = ngx_sprintf(p, "%L:%V:", sse->position, &m->id);
        }

        p = ngx_sprintf(p, "%ui\nevent: intentUpdate\ndata: {", m->version);

        ngx_http_intent_push_sse_link(item, 0, item->head, p);
        ngx_http_intent_push_sse_link(item, 1, m->members.data,
                                      m->members.data + m->members.len);
        ngx_http_intent_push_sse_link(item, 2, end, end + 2);
        ngx_http_intent_push_sse_queue(sse, item);
    }

    ngx_http_intent_push_sse_wake(sse);
}


static void
ngx_http_intent_push_sse_missing(ngx_http_intent_push_client_t *client,
    ngx_str_t *id)
{
    ngx_http_intent_push_sse_t *sse = (ngx_http_intent_push_sse_t *) client;

    sse->missing = 1;

    ngx_http_intent_push_sse_wake(sse);
}


/* the response ends, and the client comes back to another worker */

static void
ngx_http_intent_push_sse_drain(ngx_http_intent_push_client_t *client)
{
    ngx_http_intent_push_sse_t *sse = (ngx_http_intent_push_sse_t *) client;

    ngx_http_intent_push_unsubscribe_all(client);

    sse->over = 1;
    sse->slow = (sse->items && sse->items != sse->next);

    ngx_http_intent_push_sse_wake(sse);
}


/* a half is left for what changes */

static ngx_uint_t
ngx_http_intent_push_sse_ready(ngx_http_intent_push_client_t *client)
{
    ngx_http_intent_push_sse_t *sse = (ngx_http_intent_push_sse_t *) client;

    return ngx_http_intent_push_sse_queued(sse) < sse->conf->buffer / 2;
}


static void
ngx_http_intent_push_sse_caught_up(ngx_http_intent_push_client_t *client,
    int64_t at, ngx_uint_t complete)
{
    ngx_http_intent_push_sse_t *sse = (ngx_http_intent_push_sse_t *) client;

    u_char                       *p;
    ngx_http_intent_push_item_t  *item;

    sse->caught_up = 1;
    sse->position = ngx_max(sse->position, at);

    if (sse->since && !sse->over) {
        item = ngx_http_intent_push_sse_item(sse);

        if (item) {
            p = ngx_sprintf(item->head, "id: %L\n", sse->position);
            p = ngx_cpymem(p, NGX_HTTP_INTENT_PUSH_CAUGHT,
                           sizeof(NGX_HTTP_INTENT_PUSH_CAUGHT) - 1);
            p = ngx_http_intent_push_caught_up(p, at, complete);
            *p++ = LF; *p++ = LF;

            ngx_http_intent_push_sse_link(item, 0, item->head, p);
            ngx_http_intent_push_sse_queue(sse, item);
        }
    }

    ngx_http_intent_push_sse_wake(sse);
}


static void
ngx_http_intent_push_sse_failed(ngx_http_intent_push_client_t *client)
{
    ngx_http_intent_push_sse_t *sse = (ngx_http_intent_push_sse_t *) client;

    if (!sse->started) {
        sse->failed = 1;
        ngx_http_intent_push_sse_wake(sse);
    }
}


/* what stands between takes a silent connection for a dead one */

static void
ngx_http_intent_push_sse_ping(ngx_event_t *ev)
{
    ngx_connection_t             *c;
    ngx_http_request_t           *r;
    ngx_http_intent_push_sse_t   *sse;
    ngx_http_intent_push_item_t  *item;

    static u_char  comment[] = ":\n\n";

    c = ev->data;
    r = c->data;
    sse = ngx_http_get_module_ctx(r, ngx_http_intent_push_module);

    ngx_add_timer(ev, sse->conf->ping);

    if (!sse->started || sse->over) {
        return;
    }

    item = ngx_http_intent_push_sse_item(sse);

    if (item) {
        ngx_http_intent_push_sse_link(item, 0, comment, comment + 3);
        ngx_http_intent_push_sse_queue(sse, item);
        ngx_http_intent_push_sse_wake(sse);
    }
}


/* ---- what waits to be written ---- */

static ngx_http_intent_push_item_t *
ngx_http_intent_push_sse_item(ngx_http_intent_push_sse_t *sse)
{
    ngx_http_intent_push_item_t  *item;

    item = sse->free;

    if (item) {
        sse->free = item->next;

    } else {
        item = ngx_palloc(sse->request->pool,
                          sizeof(ngx_http_intent_push_item_t));
        if (item == NULL) {

            /* rather than to leave something out */
            sse->slow = 1;
            return NULL;
        }
    }

    ngx_memzero(item, sizeof(ngx_http_intent_push_item_t));

    return item;
}


static void
ngx_http_intent_push_sse_link(ngx_http_intent_push_item_t *item, ngx_uint_t n,
    u_char *pos, u_char *last)
{
    ngx_buf_t  *b;

    b = &item->bufs[n];

    b->start = pos;
    b->pos = pos;
    b->last = last;
    b->end = last;
    b->memory = 1;
    b->tag = (ngx_buf_tag_t) &ngx_http_intent_push_module;

    item->links[n].buf = b;

    if (n) {
        item->links[n - 1].next = &item->links[n];
    }
}


static void
ngx_http_intent_push_sse_queue(ngx_http_intent_push_sse_t *sse,
    ngx_http_intent_push_item_t *item)
{
    size_t  size;

    *sse->last = item;
    sse->last = &item->next;

    if (sse->next == NULL) {
        sse->next = item;
    }

    size = ngx_http_intent_push_sse_queued(sse);

    if (size > sse->conf->buffer && sse->items != item) {
        ngx_log_error(NGX_LOG_INFO, sse->request->connection->log, 0,
                      "client of events reads too slowly, "
                      "%uz bytes wait for it", size);
        sse->slow = 1;
    }
}


/* only where something waits is there anything to count */

static size_t
ngx_http_intent_push_sse_queued(ngx_http_intent_push_sse_t *sse)
{
    size_t                        size;
    ngx_uint_t                    i;
    ngx_http_intent_push_item_t  *item;

    size = 0;

    for (item = sse->items; item; item = item->next) {
        for (i = 0; i < 3; i++) {
            size += item->bufs[i].last - item->bufs[i].pos;
        }
    }

    return size;
}


static void
ngx_http_intent_push_sse_wake(ngx_http_intent_push_sse_t *sse)
{
    ngx_post_event(sse->request->connection->write, &ngx_posted_events);
}


/* ---- writing ---- */

static void
ngx_http_intent_push_sse_write_handler(ngx_http_request_t *r)
{
    ngx_int_t                    rc;
    ngx_event_t                 *wev;
    ngx_connection_t            *c;
    ngx_http_core_loc_conf_t    *clcf;
    ngx_http_intent_push_sse_t  *sse;

    c = r->connection;
    wev = c->write;
    sse = ngx_http_get_module_ctx(r, ngx_http_intent_push_module);

    if (wev->timedout) {
        ngx_log_error(NGX_LOG_INFO, c->log, NGX_ETIMEDOUT,
                      "client timed out");
        c->timedout = 1;
        ngx_http_finalize_request(r, NGX_HTTP_REQUEST_TIME_OUT);
        return;
    }

    if (c->error || sse->slow) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }

    if (!sse->started) {
        rc = ngx_http_intent_push_sse_start(sse);

        /* an answer that could not be written yet is nginx's to finish */

        if (rc == NGX_AGAIN && !sse->answered) {
            return;
        }

        if (rc != NGX_OK || r->header_only || sse->answered) {
            ngx_http_finalize_request(r, rc);
            return;
        }
    }

    rc = ngx_http_intent_push_sse_write(sse);

    if (rc == NGX_ERROR) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }

    if (sse->over) {
        ngx_http_finalize_request(r, rc);
        return;
    }

    if (c->buffered || r->buffered) {
        clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

        if (!wev->timer_set) {
            ngx_add_timer(wev, clcf->send_timeout);
        }

    } else if (wev->timer_set) {
        ngx_del_timer(wev);
    }

    if (ngx_handle_write_event(wev, 0) != NGX_OK) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }

    ngx_http_intent_push_more(&sse->client);
}


/* NGX_AGAIN: it is not known yet what there is to tell */

static ngx_int_t
ngx_http_intent_push_sse_start(ngx_http_intent_push_sse_t *sse)
{
    ngx_http_request_t  *r;

    r = sse->request;

    if (sse->missing) {
        sse->answered = 1;
        return sse->caller.problem(r, NGX_HTTP_NOT_FOUND,
                                   "there is no such intent");
    }

    if (!sse->seen && !sse->caught_up) {

        if (!sse->over && !sse->failed) {
            return NGX_AGAIN;
        }

        sse->answered = 1;
        return sse->caller.problem(r, NGX_HTTP_SERVICE_UNAVAILABLE, NULL);
    }

    sse->started = 1;

    if (sse->known) {
        sse->answered = 1;
        r->header_only = 1;
        r->headers_out.status = NGX_HTTP_NO_CONTENT;
        r->headers_out.content_length_n = -1;

        return ngx_http_send_header(r);
    }

    return ngx_http_intent_push_sse_begin(sse);
}


static ngx_int_t
ngx_http_intent_push_sse_begin(ngx_http_intent_push_sse_t *sse)
{
    ngx_int_t            rc;
    ngx_buf_t           *b;
    ngx_chain_t          out;
    ngx_http_request_t  *r;

    r = sse->request;

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = -1;
    ngx_str_set(&r->headers_out.content_type, "text/event-stream");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;

    if (ngx_http_intent_push_add_header(r, "Cache-Control", "no-store",
                                        sizeof("no-store") - 1)
        != NGX_OK
        || ngx_http_intent_push_add_header(r, "X-Accel-Buffering", "no", 2)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b = ngx_create_temp_buf(r->pool, sizeof("retry: \nid: \n\n")
                                     + NGX_INT_T_LEN + NGX_INT64_LEN);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->last = ngx_sprintf(b->last, "retry: %M\n", sse->conf->retry);

    /* where he begins who comes back before anything was told */

    if (sse->id.len == 0) {
        b->last = ngx_sprintf(b->last, "id: %L\n", sse->began);
    }

    *b->last++ = LF;
    b->flush = 1;

    out.buf = b;
    out.next = NULL;

    return (ngx_http_output_filter(r, &out) == NGX_ERROR) ? NGX_ERROR
                                                          : NGX_OK;
}


static ngx_int_t
ngx_http_intent_push_sse_write(ngx_http_intent_push_sse_t *sse)
{
    ngx_int_t                     rc;
    ngx_buf_t                    *b;
    ngx_uint_t                    n;
    ngx_chain_t                  *out, **ll;
    ngx_http_intent_push_item_t  *item;

    out = NULL;
    ll = &out;

    for (item = sse->next; item; item = item->next) {
        n = item->message ? 2 : 0;

        *ll = &item->links[0];
        ll = &item->links[n].next;
        item->bufs[n].flush = 1;
    }

    sse->next = NULL;

    if (sse->over) {
        *ll = ngx_alloc_chain_link(sse->request->pool);
        b = ngx_calloc_buf(sse->request->pool);

        if (*ll == NULL || b == NULL) {
            return NGX_ERROR;
        }

        b->last_buf = 1;
        b->last_in_chain = 1;

        (*ll)->buf = b;
        (*ll)->next = NULL;
    }

    rc = ngx_http_output_filter(sse->request, out);

    ngx_http_intent_push_sse_free_sent(sse);

    return rc;
}


/* the message is not needed any more, the buffers for another one */

static void
ngx_http_intent_push_sse_free_sent(ngx_http_intent_push_sse_t *sse)
{
    ngx_uint_t                    i;
    ngx_http_intent_push_item_t  *item;

    while (sse->items && sse->items != sse->next) {
        item = sse->items;

        for (i = 0; i < 3; i++) {
            if (item->bufs[i].pos != item->bufs[i].last) {
                return;
            }
        }

        sse->items = item->next;

        if (sse->items == NULL) {
            sse->last = &sse->items;
        }

        if (item->message) {
            ngx_http_intent_push_message_free(item->message);
        }

        item->next = sse->free;
        sse->free = item;
    }
}


static void
ngx_http_intent_push_sse_cleanup(void *data)
{
    ngx_http_intent_push_sse_t *sse = data;

    if (sse->opened) {
        ngx_http_intent_push_close(&sse->client);
    }

    if (sse->ping.timer_set) {
        ngx_del_timer(&sse->ping);
    }

    sse->over = 1;
}


static void
ngx_http_intent_push_sse_release(void *data)
{
    ngx_http_intent_push_sse_t *sse = data;

    ngx_http_intent_push_item_t  *item;

    for (item = sse->items; item; item = item->next) {
        if (item->message) {
            ngx_http_intent_push_message_free(item->message);
        }
    }
}
