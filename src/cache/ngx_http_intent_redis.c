
/*
 * A Redis session in the event loop.
 *
 * The socket is nginx's own and hiredis is used for what it is best at, the
 * protocol.  Its asynchronous context would add an allocation for each
 * command, and asserts: a reply out of turn would abort a worker that serves
 * a thousand others.
 */


#include "ngx_http_intent_redis.h"


#define NGX_HTTP_INTENT_REDIS_MIN_DELAY    100      /* ms */
#define NGX_HTTP_INTENT_REDIS_MAX_DELAY    2000
#define NGX_HTTP_INTENT_REDIS_PING         2000

#define NGX_HTTP_INTENT_REDIS_READ         65536
#define NGX_HTTP_INTENT_REDIS_OUT          16384
#define NGX_HTTP_INTENT_REDIS_KEEP_OUT     (1024 * 1024)
#define NGX_HTTP_INTENT_REDIS_MAX_OUT      (16 * 1024 * 1024)
#define NGX_HTTP_INTENT_REDIS_MAX_PENDING  65536


typedef enum {
    ngx_http_intent_redis_down = 0,
    ngx_http_intent_redis_connecting,
    ngx_http_intent_redis_handshaking,
    ngx_http_intent_redis_up,
    ngx_http_intent_redis_closed
} ngx_http_intent_redis_state_e;


/* a command that waits for its reply */
typedef struct {
    ngx_queue_t                        queue;
    ngx_msec_t                         deadline;
    ngx_http_intent_redis_reply_pt     handler;
    void                              *data;
} ngx_http_intent_redis_command_t;


struct ngx_http_intent_redis_s {
    ngx_http_intent_redis_conf_t      *conf;
    ngx_pool_t                        *pool;
    ngx_log_t                         *log;

    ngx_http_intent_redis_state_e      state;
    ngx_http_intent_redis_state_pt     handler;
    void                              *data;

    ngx_peer_connection_t              peer;
    redisReader                       *reader;

    u_char                            *start;       /* output */
    u_char                            *pos;
    u_char                            *last;
    u_char                            *end;

    ngx_queue_t                        pending;
    ngx_queue_t                        free;
    ngx_uint_t                         npending;

    ngx_http_intent_redis_message_pt   message;

    ngx_uint_t                         addr;        /* the next to be tried */
    ngx_msec_t                         delay;       /* before that */
    ngx_uint_t                         complained;
    ngx_log_t                          quiet;       /* for connect() again */

    ngx_event_t                        timeout;     /* connect, command */
    ngx_event_t                        wakeup;      /* reconnect, ping */
    ngx_connection_t                   dumb;        /* what the timers' debug
                                                       messages read fd of */
};


static void ngx_http_intent_redis_connect(ngx_http_intent_redis_t *rd);
static ngx_int_t ngx_http_intent_redis_test_connect(
    ngx_http_intent_redis_t *rd);
static void ngx_http_intent_redis_handshake(ngx_http_intent_redis_t *rd);
static void ngx_http_intent_redis_greeted(void *data, redisReply *reply);
static void ngx_http_intent_redis_ready(void *data, redisReply *reply);

static u_char *ngx_http_intent_redis_room(ngx_http_intent_redis_t *rd,
    size_t size);
static void ngx_http_intent_redis_command(ngx_http_intent_redis_t *rd,
    ngx_uint_t n, ngx_str_t *args, ngx_http_intent_redis_reply_pt handler);

static void ngx_http_intent_redis_write_handler(ngx_event_t *wev);
static void ngx_http_intent_redis_read_handler(ngx_event_t *rev);
static ngx_int_t ngx_http_intent_redis_process(ngx_http_intent_redis_t *rd);
static ngx_uint_t ngx_http_intent_redis_is_message(redisReply *reply);
static void ngx_http_intent_redis_dispatch(ngx_http_intent_redis_t *rd,
    redisReply *reply);

static void ngx_http_intent_redis_timeout_handler(ngx_event_t *ev);
static void ngx_http_intent_redis_wakeup_handler(ngx_event_t *ev);
static ngx_uint_t ngx_http_intent_redis_level(ngx_http_intent_redis_t *rd);
static void ngx_http_intent_redis_lost(ngx_http_intent_redis_t *rd);
static void ngx_http_intent_redis_disconnect(ngx_http_intent_redis_t *rd);


ngx_http_intent_redis_t *
ngx_http_intent_redis_create(ngx_pool_t *pool,
    ngx_http_intent_redis_conf_t *conf, ngx_log_t *log,
    ngx_http_intent_redis_state_pt state, void *data)
{
    ngx_http_intent_redis_t  *rd;

    rd = ngx_pcalloc(pool, sizeof(ngx_http_intent_redis_t));
    if (rd == NULL) {
        return NULL;
    }

    rd->conf = conf;
    rd->pool = pool;
    rd->log = log;
    rd->quiet = *log;
    rd->quiet.log_level = NGX_LOG_ALERT;
    rd->handler = state;
    rd->data = data;
    rd->delay = NGX_HTTP_INTENT_REDIS_MIN_DELAY;

    ngx_queue_init(&rd->pending);
    ngx_queue_init(&rd->free);

    rd->dumb.fd = (ngx_socket_t) -1;
    rd->dumb.data = rd;

    rd->timeout.handler = ngx_http_intent_redis_timeout_handler;
    rd->timeout.data = &rd->dumb;
    rd->timeout.log = log;

    rd->wakeup.handler = ngx_http_intent_redis_wakeup_handler;
    rd->wakeup.data = &rd->dumb;
    rd->wakeup.log = log;
    rd->wakeup.cancelable = 1;

    ngx_http_intent_redis_connect(rd);

    return rd;
}


ngx_uint_t
ngx_http_intent_redis_is_up(ngx_http_intent_redis_t *rd)
{
    return rd->state == ngx_http_intent_redis_up;
}


static void
ngx_http_intent_redis_connect(ngx_http_intent_redis_t *rd)
{
    ngx_int_t          rc;
    ngx_addr_t        *addr;
    ngx_connection_t  *c;

    addr = &rd->conf->addrs[rd->addr++ % rd->conf->naddrs];

    ngx_memzero(&rd->peer, sizeof(ngx_peer_connection_t));

    rd->peer.sockaddr = addr->sockaddr;
    rd->peer.socklen = addr->socklen;
    rd->peer.name = &addr->name;
    rd->peer.get = ngx_event_get_peer;
    rd->peer.log = rd->complained ? &rd->quiet : rd->log;
    rd->peer.log_error = NGX_ERROR_INFO;

    rd->state = ngx_http_intent_redis_connecting;

    ngx_log_debug1(NGX_LOG_DEBUG_EVENT, rd->log, 0,
                   "intent redis connect to %V", &addr->name);

    rc = ngx_event_connect_peer(&rd->peer);

    if (rc != NGX_OK && rc != NGX_AGAIN) {
        rd->complained = 1;
        ngx_http_intent_redis_lost(rd);
        return;
    }

    c = rd->peer.connection;
    c->data = rd;
    c->log = rd->log;
    c->read->log = rd->log;
    c->write->log = rd->log;
    c->read->handler = ngx_http_intent_redis_read_handler;
    c->write->handler = ngx_http_intent_redis_write_handler;

    rd->reader = redisReaderCreate();

    if (rd->reader) {
        rd->reader->maxbuf = 2 * NGX_HTTP_INTENT_REDIS_READ;
    }

    if (rd->reader == NULL
        || (addr->sockaddr->sa_family != AF_UNIX
            && ngx_tcp_nodelay(c) != NGX_OK))
    {
        ngx_http_intent_redis_lost(rd);
        return;
    }

    /* nobody waits for a session that is not up, so an exit need not either */

    rd->timeout.cancelable = 1;
    ngx_add_timer(&rd->timeout, rd->conf->timeout);

    if (rc == NGX_OK) {
        ngx_http_intent_redis_handshake(rd);
    }
}


static ngx_int_t
ngx_http_intent_redis_test_connect(ngx_http_intent_redis_t *rd)
{
    int         err;
    socklen_t   len;
    ngx_uint_t  level;

    err = 0;
    len = sizeof(int);

    /* BSDs and Linux return 0 and set a pending error in err */

    if (getsockopt(rd->peer.connection->fd, SOL_SOCKET, SO_ERROR,
                   (void *) &err, &len)
        == -1)
    {
        err = ngx_socket_errno;
    }

    if (err) {
        level = ngx_http_intent_redis_level(rd);
        ngx_log_error(level, rd->log, err,
                      "redis %V: connect() to %V failed",
                      &rd->conf->name, rd->peer.name);
        ngx_http_intent_redis_lost(rd);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_http_intent_redis_handshake(ngx_http_intent_redis_t *rd)
{
    u_char      db[NGX_INT_T_LEN];
    ngx_str_t   args[3];
    ngx_uint_t  n;

    ngx_log_debug1(NGX_LOG_DEBUG_EVENT, rd->log, 0,
                   "intent redis handshake with %V", rd->peer.name);

    rd->state = ngx_http_intent_redis_handshaking;

    if (rd->conf->password.len) {
        n = 1;
        ngx_str_set(&args[0], "AUTH");

        if (rd->conf->user.len) {
            args[n++] = rd->conf->user;
        }

        args[n++] = rd->conf->password;

        ngx_http_intent_redis_command(rd, n, args,
                                      ngx_http_intent_redis_greeted);
    }

    if (rd->conf->db) {
        ngx_str_set(&args[0], "SELECT");
        args[1].data = db;
        args[1].len = ngx_sprintf(db, "%ui", rd->conf->db) - db;

        ngx_http_intent_redis_command(rd, 2, args,
                                      ngx_http_intent_redis_greeted);
    }

    /* a server that still reads its data from disk refuses only this one */

    ngx_str_set(&args[0], "PING");
    ngx_http_intent_redis_command(rd, 1, args, ngx_http_intent_redis_ready);
}


static void
ngx_http_intent_redis_greeted(void *data, redisReply *reply)
{
    ngx_http_intent_redis_t  *rd = data;

    ngx_uint_t  level;

    if (reply == NULL || reply->type != REDIS_REPLY_ERROR) {
        return;
    }

    level = ngx_http_intent_redis_level(rd);
    ngx_log_error(level, rd->log, 0,
                  "redis %V refused the session: \"%*s\"",
                  &rd->conf->name, reply->len, reply->str);

    ngx_http_intent_redis_lost(rd);
}


static void
ngx_http_intent_redis_ready(void *data, redisReply *reply)
{
    ngx_http_intent_redis_t  *rd = data;

    if (reply == NULL || reply->type == REDIS_REPLY_ERROR) {
        ngx_http_intent_redis_greeted(data, reply);
        return;
    }

    if (rd->complained) {
        ngx_log_error(NGX_LOG_NOTICE, rd->log, 0,
                      "redis %V is back", &rd->conf->name);
        rd->complained = 0;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_EVENT, rd->log, 0,
                   "intent redis up: %V", rd->peer.name);

    ngx_del_timer(&rd->timeout);
    ngx_add_timer(&rd->wakeup, NGX_HTTP_INTENT_REDIS_PING);

    rd->state = ngx_http_intent_redis_up;
    rd->delay = NGX_HTTP_INTENT_REDIS_MIN_DELAY;

    if (rd->handler) {
        rd->handler(rd->data, 1);
    }
}


void
ngx_http_intent_redis_on_message(ngx_http_intent_redis_t *rd,
    ngx_http_intent_redis_message_pt handler)
{
    rd->message = handler;
}


ngx_uint_t
ngx_http_intent_redis_pending(ngx_http_intent_redis_t *rd)
{
    return rd->npending;
}


u_char *
ngx_http_intent_redis_begin(ngx_http_intent_redis_t *rd, size_t size)
{
    if (rd->state != ngx_http_intent_redis_up
        || rd->npending == NGX_HTTP_INTENT_REDIS_MAX_PENDING)
    {
        return NULL;
    }

    return ngx_http_intent_redis_room(rd, size);
}


/* room for the bytes of a command, and for the record of it */

static u_char *
ngx_http_intent_redis_room(ngx_http_intent_redis_t *rd, size_t size)
{
    u_char                           *p;
    size_t                            used, total;
    ngx_http_intent_redis_command_t  *cmd;

    if (ngx_queue_empty(&rd->free)) {
        cmd = ngx_palloc(rd->pool, sizeof(ngx_http_intent_redis_command_t));
        if (cmd == NULL) {
            return NULL;
        }

        ngx_queue_insert_head(&rd->free, &cmd->queue);
    }

    if (size <= (size_t) (rd->end - rd->last)) {
        return rd->last;
    }

    used = rd->last - rd->pos;

    if (size > NGX_HTTP_INTENT_REDIS_MAX_OUT - used) {
        return NULL;
    }

    total = ngx_max(2 * (used + size), NGX_HTTP_INTENT_REDIS_OUT);

    p = ngx_alloc(total, rd->log);
    if (p == NULL) {
        return NULL;
    }

    if (rd->start) {
        ngx_memcpy(p, rd->pos, used);
        ngx_free(rd->start);
    }

    rd->start = p;
    rd->pos = p;
    rd->last = p + used;
    rd->end = p + total;

    return rd->last;
}


void
ngx_http_intent_redis_commit(ngx_http_intent_redis_t *rd, u_char *last,
    ngx_http_intent_redis_reply_pt handler, void *data)
{
    ngx_queue_t                      *q;
    ngx_event_t                      *wev;
    ngx_http_intent_redis_command_t  *cmd;

    rd->last = last;

    q = ngx_queue_head(&rd->free);
    ngx_queue_remove(q);
    ngx_queue_insert_tail(&rd->pending, q);
    rd->npending++;

    cmd = ngx_queue_data(q, ngx_http_intent_redis_command_t, queue);

    cmd->handler = handler;
    cmd->data = data;
    cmd->deadline = ngx_current_msec + rd->conf->timeout;

    if (rd->state == ngx_http_intent_redis_up) {

        /* the worker does not exit before this was answered or given up */
        rd->timeout.cancelable = 0;

        if (!rd->timeout.timer_set) {
            ngx_add_timer(&rd->timeout, rd->conf->timeout);
        }
    }

    /* so that all commands of this turn leave in one write */

    wev = rd->peer.connection->write;

    if (wev->ready) {
        ngx_post_event(wev, &ngx_posted_events);
    }
}


static void
ngx_http_intent_redis_command(ngx_http_intent_redis_t *rd, ngx_uint_t n,
    ngx_str_t *args, ngx_http_intent_redis_reply_pt handler)
{
    u_char      *p;
    size_t       size;
    ngx_uint_t   i;

    size = NGX_HTTP_INTENT_REDIS_HEAD_LEN;

    for (i = 0; i < n; i++) {
        size += ngx_http_intent_redis_bulk_len(args[i].len);
    }

    p = ngx_http_intent_redis_room(rd, size);

    if (p == NULL) {

        /* the session does not get on without it: let the timer end it */
        return;
    }

    p = ngx_http_intent_redis_head(p, n);

    for (i = 0; i < n; i++) {
        p = ngx_http_intent_redis_bulk(p, args[i].data, args[i].len);
    }

    ngx_http_intent_redis_commit(rd, p, handler, rd);
}


u_char *
ngx_http_intent_redis_head(u_char *p, ngx_uint_t args)
{
    return ngx_sprintf(p, "*%ui\r\n", args);
}


u_char *
ngx_http_intent_redis_bulk(u_char *p, u_char *data, size_t len)
{
    p = ngx_sprintf(p, "$%uz\r\n", len);
    p = ngx_cpymem(p, data, len);
    *p++ = CR; *p++ = LF;

    return p;
}


static void
ngx_http_intent_redis_write_handler(ngx_event_t *wev)
{
    ssize_t                   n;
    ngx_uint_t                level;
    ngx_connection_t         *c;
    ngx_http_intent_redis_t  *rd;

    c = wev->data;
    rd = c->data;

    if (rd->state == ngx_http_intent_redis_connecting) {
        if (ngx_http_intent_redis_test_connect(rd) != NGX_OK) {
            return;
        }

        ngx_http_intent_redis_handshake(rd);
    }

    while (rd->pos < rd->last && wev->ready) {
        n = c->send(c, rd->pos, rd->last - rd->pos);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == NGX_ERROR) {
            level = ngx_http_intent_redis_level(rd);
            ngx_log_error(level, rd->log,
                          ngx_socket_errno,
                          "redis %V: the connection broke", &rd->conf->name);
            ngx_http_intent_redis_lost(rd);
            return;
        }

        rd->pos += n;
    }

    if (rd->pos == rd->last) {
        rd->pos = rd->start;
        rd->last = rd->start;

        if (rd->end - rd->start > NGX_HTTP_INTENT_REDIS_KEEP_OUT) {
            ngx_free(rd->start);
            rd->start = rd->pos = rd->last = rd->end = NULL;
        }
    }

    if (ngx_handle_write_event(wev, 0) != NGX_OK) {
        ngx_http_intent_redis_lost(rd);
    }
}


static void
ngx_http_intent_redis_read_handler(ngx_event_t *rev)
{
    ssize_t                   n;
    ngx_uint_t                level;
    ngx_connection_t         *c;
    ngx_http_intent_redis_t  *rd;

    /* one for all sessions: empty whenever anything else runs */
    static u_char             buf[NGX_HTTP_INTENT_REDIS_READ];

    c = rev->data;
    rd = c->data;

    if (rd->state == ngx_http_intent_redis_connecting) {

        /* either it failed, or the write event will tell that it did not */
        (void) ngx_http_intent_redis_test_connect(rd);
        return;
    }

    do {
        n = c->recv(c, buf, NGX_HTTP_INTENT_REDIS_READ);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == NGX_ERROR || n == 0) {
            level = ngx_http_intent_redis_level(rd);
            ngx_log_error(level, rd->log,
                          n ? ngx_socket_errno : 0,
                          "redis %V closed the connection", &rd->conf->name);
            ngx_http_intent_redis_lost(rd);
            return;
        }

        if (redisReaderFeed(rd->reader, (char *) buf, n) != REDIS_OK
            || ngx_http_intent_redis_process(rd) != NGX_OK)
        {
            /* a handler may have ended the session itself */

            if (rd->peer.connection == c) {
                level = ngx_http_intent_redis_level(rd);
                ngx_log_error(level, rd->log, 0,
                              "redis %V does not speak its protocol: %s",
                              &rd->conf->name, rd->reader->errstr);
                ngx_http_intent_redis_lost(rd);
            }

            return;
        }

    } while (rev->ready);

    if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        ngx_http_intent_redis_lost(rd);
    }
}


/* NGX_ERROR: the session was lost, or should be */

static ngx_int_t
ngx_http_intent_redis_process(ngx_http_intent_redis_t *rd)
{
    void                             *reply;
    ngx_uint_t                        level;
    redisReader                      *reader;
    ngx_queue_t                      *q;
    ngx_http_intent_redis_command_t  *cmd;

    reader = rd->reader;

    for ( ;; ) {

        if (redisReaderGetReply(reader, &reply) != REDIS_OK) {
            return NGX_ERROR;
        }

        if (reply == NULL) {
            return NGX_OK;
        }

        if (rd->message && ngx_http_intent_redis_is_message(reply)) {
            ngx_http_intent_redis_dispatch(rd, reply);
            freeReplyObject(reply);
            continue;
        }

        if (ngx_queue_empty(&rd->pending)) {

            /* what Redis says before it closes: too many clients, a kill */

            level = ngx_http_intent_redis_level(rd);
            ngx_log_error(level, rd->log, 0,
                          "redis %V spoke out of turn", &rd->conf->name);
            freeReplyObject(reply);
            ngx_http_intent_redis_lost(rd);
            return NGX_ERROR;
        }

        q = ngx_queue_head(&rd->pending);
        ngx_queue_remove(q);
        ngx_queue_insert_head(&rd->free, q);
        rd->npending--;

        if (rd->npending == 0) {
            rd->timeout.cancelable = 1;
        }

        cmd = ngx_queue_data(q, ngx_http_intent_redis_command_t, queue);

        if (cmd->handler) {
            cmd->handler(cmd->data, reply);
        }

        freeReplyObject(reply);

        if (rd->reader != reader) {
            return NGX_ERROR;
        }
    }
}


static ngx_uint_t
ngx_http_intent_redis_is_message(redisReply *reply)
{
    return reply->type == REDIS_REPLY_ARRAY
           && reply->elements == 3
           && reply->element[0]->type == REDIS_REPLY_STRING
           && reply->element[1]->type == REDIS_REPLY_STRING
           && reply->element[2]->type == REDIS_REPLY_STRING
           && ngx_strcmp(reply->element[0]->str, "message") == 0;
}


static void
ngx_http_intent_redis_dispatch(ngx_http_intent_redis_t *rd, redisReply *reply)
{
    ngx_str_t  channel, message;

    channel.len = reply->element[1]->len;
    channel.data = (u_char *) reply->element[1]->str;

    message.len = reply->element[2]->len;
    message.data = (u_char *) reply->element[2]->str;

    ngx_log_debug2(NGX_LOG_DEBUG_EVENT, rd->log, 0,
                   "intent redis message on %V, %uz bytes",
                   &channel, message.len);

    rd->message(rd->data, &channel, &message);
}


static void
ngx_http_intent_redis_timeout_handler(ngx_event_t *ev)
{
    ngx_uint_t                        level;
    ngx_msec_int_t                    left;
    ngx_connection_t                 *dumb;
    ngx_http_intent_redis_t          *rd;
    ngx_http_intent_redis_command_t  *cmd;

    dumb = ev->data;
    rd = dumb->data;

    if (rd->state == ngx_http_intent_redis_up) {

        if (ngx_queue_empty(&rd->pending)) {
            return;
        }

        /* the timer runs on while commands come and go: see what it is */

        cmd = ngx_queue_data(ngx_queue_head(&rd->pending),
                             ngx_http_intent_redis_command_t, queue);

        left = (ngx_msec_int_t) (cmd->deadline - ngx_current_msec);

        if (left > 0) {
            ngx_add_timer(&rd->timeout, (ngx_msec_t) left);
            return;
        }
    }

    level = ngx_http_intent_redis_level(rd);
    ngx_log_error(level, rd->log, NGX_ETIMEDOUT,
                  "redis %V did not answer within %Mms",
                  &rd->conf->name, rd->conf->timeout);

    ngx_http_intent_redis_lost(rd);
}


static void
ngx_http_intent_redis_wakeup_handler(ngx_event_t *ev)
{
    ngx_str_t                 ping = ngx_string("PING");
    ngx_connection_t         *dumb;
    ngx_http_intent_redis_t  *rd;

    dumb = ev->data;
    rd = dumb->data;

    if (rd->state == ngx_http_intent_redis_down) {
        ngx_http_intent_redis_connect(rd);
        return;
    }

    /* a silent server is noticed by the command that it does not answer */

    if (ngx_queue_empty(&rd->pending)) {
        ngx_http_intent_redis_command(rd, 1, &ping, NULL);
    }

    ngx_add_timer(&rd->wakeup, NGX_HTTP_INTENT_REDIS_PING);
}


/* one outage is complained of once; not for a macro's argument */

static ngx_uint_t
ngx_http_intent_redis_level(ngx_http_intent_redis_t *rd)
{
    if (rd->complained) {
        return NGX_LOG_INFO;
    }

    rd->complained = 1;

    return NGX_LOG_ERR;
}


static void
ngx_http_intent_redis_lost(ngx_http_intent_redis_t *rd)
{
    ngx_uint_t                        was_up;
    ngx_queue_t                      *q, pending;
    ngx_http_intent_redis_command_t  *cmd;

    was_up = (rd->state == ngx_http_intent_redis_up);

    rd->state = ngx_http_intent_redis_down;

    ngx_http_intent_redis_disconnect(rd);

    /* half of the delay is chance, so that workers do not come all at once */

    ngx_add_timer(&rd->wakeup,
                  rd->delay / 2 + ngx_random() % (rd->delay / 2 + 1));

    rd->delay = ngx_min(rd->delay * 3 / 2, NGX_HTTP_INTENT_REDIS_MAX_DELAY);

    ngx_log_debug2(NGX_LOG_DEBUG_EVENT, rd->log, 0,
                   "intent redis down: %V, pending:%ui",
                   &rd->conf->name, rd->npending);

    ngx_queue_init(&pending);

    if (!ngx_queue_empty(&rd->pending)) {
        ngx_queue_add(&pending, &rd->pending);
        ngx_queue_init(&rd->pending);
    }

    rd->npending = 0;

    while (!ngx_queue_empty(&pending)) {
        q = ngx_queue_head(&pending);
        ngx_queue_remove(q);
        ngx_queue_insert_head(&rd->free, q);

        cmd = ngx_queue_data(q, ngx_http_intent_redis_command_t, queue);

        if (cmd->handler) {
            cmd->handler(cmd->data, NULL);
        }
    }

    if (was_up && rd->handler) {
        rd->handler(rd->data, 0);
    }
}


static void
ngx_http_intent_redis_disconnect(ngx_http_intent_redis_t *rd)
{
    if (rd->timeout.timer_set) {
        ngx_del_timer(&rd->timeout);
    }

    if (rd->wakeup.timer_set) {
        ngx_del_timer(&rd->wakeup);
    }

    if (rd->peer.connection) {
        ngx_close_connection(rd->peer.connection);
        rd->peer.connection = NULL;
    }

    if (rd->reader) {
        redisReaderFree(rd->reader);
        rd->reader = NULL;
    }

    if (rd->start) {
        ngx_free(rd->start);
        rd->start = rd->pos = rd->last = rd->end = NULL;
    }
}


void
ngx_http_intent_redis_close(ngx_http_intent_redis_t *rd)
{
    rd->state = ngx_http_intent_redis_closed;

    ngx_http_intent_redis_disconnect(rd);
}
