
/*
 * How a session begins and ends: the steps of connecting, the texts it runs
 * before it is up, its socket, the time until the next attempt.
 */


#include "ngx_http_intent_pg_private.h"


#define NGX_HTTP_INTENT_PG_MAX_BACKOFF   5000     /* ms */
#define NGX_HTTP_INTENT_PG_SLOW_TIMEOUT  60000


static void ngx_http_intent_pg_connect(ngx_http_intent_pg_t *pg);
static void ngx_http_intent_pg_greet(ngx_http_intent_pg_t *pg);
static ngx_int_t ngx_http_intent_pg_greeted(ngx_http_intent_pg_t *pg,
    PGresult *res);
static void ngx_http_intent_pg_setup_send(ngx_http_intent_pg_t *pg,
    const char *sql, ngx_msec_t timeout);
static void ngx_http_intent_pg_setup_next(ngx_http_intent_pg_t *pg,
    PGresult *res);
static void ngx_http_intent_pg_up(ngx_http_intent_pg_t *pg);

static ngx_int_t ngx_http_intent_pg_attach(ngx_http_intent_pg_t *pg,
    ngx_uint_t write);

static void ngx_http_intent_pg_notice(void *data, const PGresult *res);


static void
ngx_http_intent_pg_connect(ngx_http_intent_pg_t *pg)
{
    char  **conninfo;

    conninfo = pg->conf->conninfos->elts;

    pg->step = NGX_HTTP_INTENT_PG_CONNECTING;
    pg->farewell[0] = '\0';
    pg->conn = PQconnectStart(conninfo[pg->address]);

    ngx_log_debug3(NGX_LOG_DEBUG_EVENT, pg->log, 0,
                   "intent postgres \"%s\": connect, address %ui, fd:%d",
                   pg->name, pg->address,
                   pg->conn ? PQsocket(pg->conn) : -1);

    if (pg->conn == NULL) {
        ngx_http_intent_pg_lost(pg, "no memory");
        return;
    }

    if (PQstatus(pg->conn) == CONNECTION_BAD) {
        ngx_http_intent_pg_lost(pg, PQerrorMessage(pg->conn));
        return;
    }

    (void) PQsetNoticeReceiver(pg->conn, ngx_http_intent_pg_notice, pg);

    ngx_add_timer(&pg->retry, pg->conf->timeout);

    if (ngx_http_intent_pg_attach(pg, 1) != NGX_OK) {
        ngx_http_intent_pg_lost(pg, "its socket cannot be watched");
    }
}


void
ngx_http_intent_pg_poll(ngx_http_intent_pg_t *pg)
{
    ngx_int_t                  rc;
    PostgresPollingStatusType  status;

    /*
     * libpq may close this socket and go on with a new one, which may have
     * the same number; so it is never watched over a call
     */

    ngx_http_intent_pg_detach(pg);

    status = PQconnectPoll(pg->conn);

    ngx_log_debug3(NGX_LOG_DEBUG_EVENT, pg->log, 0,
                   "intent postgres \"%s\": connect poll:%d fd:%d",
                   pg->name, status, PQsocket(pg->conn));

    switch (status) {

    case PGRES_POLLING_READING:
        rc = ngx_http_intent_pg_attach(pg, 0);
        break;

    case PGRES_POLLING_WRITING:
        rc = ngx_http_intent_pg_attach(pg, 1);
        break;

    case PGRES_POLLING_OK:
        rc = ngx_http_intent_pg_attach(pg, 0);

        if (rc == NGX_OK) {
            ngx_http_intent_pg_greet(pg);
        }

        break;

    default:
        ngx_http_intent_pg_lost(pg, PQerrorMessage(pg->conn));
        return;
    }

    if (rc != NGX_OK) {
        ngx_http_intent_pg_lost(pg, "its socket cannot be watched");
    }
}


/*
 * The server gives up a statement a little before we do.  Then we know that
 * it did nothing, and none is still at work when its session was given up.
 * And its clock is read, for statements that must not begin too late.
 */

static void
ngx_http_intent_pg_greet(ngx_http_intent_pg_t *pg)
{
    if (PQsetnonblocking(pg->conn, 1) != 0) {
        ngx_http_intent_pg_lost(pg, PQerrorMessage(pg->conn));
        return;
    }

    (void) ngx_sprintf((u_char *) pg->greeting,
                       NGX_HTTP_INTENT_PG_GREETING_SQL "%Z",
                       pg->conf->timeout - pg->conf->timeout / 10);

    pg->step = NGX_HTTP_INTENT_PG_GREETING;
    pg->clock = (int64_t) ngx_current_msec;

    ngx_http_intent_pg_setup_send(pg, pg->greeting, pg->conf->timeout);
}


static ngx_int_t
ngx_http_intent_pg_greeted(ngx_http_intent_pg_t *pg, PGresult *res)
{
    off_t  now;

    if (PQresultStatus(res) != PGRES_TUPLES_OK || PQntuples(res) != 1) {
        ngx_http_intent_pg_lost(pg, ngx_http_intent_pg_message(res));
        return NGX_ERROR;
    }

    now = ngx_atoof((u_char *) PQgetvalue(res, 0, 0),
                    PQgetlength(res, 0, 0));

    if (now == NGX_ERROR) {
        ngx_http_intent_pg_lost(pg, "the server does not know the time");
        return NGX_ERROR;
    }

    pg->clock = (int64_t) now - pg->clock;

    return NGX_OK;
}


static void
ngx_http_intent_pg_setup_send(ngx_http_intent_pg_t *pg, const char *sql,
    ngx_msec_t timeout)
{
    if (!PQsendQuery(pg->conn, sql)) {
        ngx_http_intent_pg_lost(pg, PQerrorMessage(pg->conn));
        return;
    }

    ngx_del_timer(&pg->retry);
    ngx_add_timer(&pg->retry, timeout);

    ngx_http_intent_pg_flush(pg);
}


void
ngx_http_intent_pg_setup_read(ngx_http_intent_pg_t *pg)
{
    PGresult  *res;

    if (ngx_http_intent_pg_consume(pg) != NGX_OK) {
        ngx_http_intent_pg_lost(pg, PQerrorMessage(pg->conn));
        return;
    }

    while (!PQisBusy(pg->conn)) {

        res = PQgetResult(pg->conn);

        if (res) {
            /* of several statements in a text the last one speaks */
            PQclear(pg->result);
            pg->result = res;
            continue;
        }

        res = pg->result;
        pg->result = NULL;

        ngx_http_intent_pg_setup_next(pg, res);
        PQclear(res);

        return;
    }

    ngx_http_intent_pg_flush(pg);
}


static void
ngx_http_intent_pg_setup_next(ngx_http_intent_pg_t *pg, PGresult *res)
{
    ngx_int_t  rc;

    if (PQstatus(pg->conn) != CONNECTION_OK) {
        ngx_http_intent_pg_lost(pg, PQerrorMessage(pg->conn));
        return;
    }

    rc = NGX_OK;

    if (pg->step == NGX_HTTP_INTENT_PG_GREETING) {

        if (ngx_http_intent_pg_greeted(pg, res) != NGX_OK) {
            return;
        }

        pg->step = NGX_HTTP_INTENT_PG_SETUP;
        ngx_memzero(&pg->setup, sizeof(ngx_http_intent_pg_setup_t));
        res = NULL;
    }

    if (pg->conf->setup) {
        pg->setup.slow = 0;
        rc = pg->conf->setup(&pg->setup, res, pg->log);
    }

    if (rc == NGX_AGAIN) {
        ngx_http_intent_pg_setup_send(pg, pg->setup.sql,
                                      pg->setup.slow
                                      ? NGX_HTTP_INTENT_PG_SLOW_TIMEOUT
                                      : pg->conf->timeout);
        return;
    }

    if (rc != NGX_OK) {
        ngx_http_intent_pg_lost(pg, "it could not be set up");
        return;
    }

    ngx_http_intent_pg_up(pg);
}


static void
ngx_http_intent_pg_up(ngx_http_intent_pg_t *pg)
{
    ngx_uint_t  level;

    if (!PQenterPipelineMode(pg->conn)) {
        ngx_http_intent_pg_lost(pg, PQerrorMessage(pg->conn));
        return;
    }

    ngx_del_timer(&pg->retry);

    level = pg->failures ? NGX_LOG_NOTICE : NGX_LOG_INFO;

    ngx_log_error(level, pg->log, 0,
                  "intent postgres session \"%s\" is up, server %d, "
                  "backend %d", pg->name, PQserverVersion(pg->conn),
                  PQbackendPID(pg->conn));

    pg->step = NGX_HTTP_INTENT_PG_UP;
    pg->was_up = 1;
    pg->failures = 0;
    pg->backoff = NGX_HTTP_INTENT_PG_MIN_BACKOFF;
    ngx_memzero(pg->reasons, pg->conf->conninfos->nelts * sizeof(uint32_t));

    if (pg->state) {
        pg->state(pg, 1, pg->data);
    }
}


/* ---- the end, and the next attempt ---- */


void
ngx_http_intent_pg_lost(ngx_http_intent_pg_t *pg, const char *why)
{
    char        line[NGX_HTTP_INTENT_PG_LINE];
    uint32_t    reason;
    ngx_uint_t  level;

    /* the server's own word says more than libpq's on a closed socket */

    (void) ngx_http_intent_pg_line(pg->farewell[0] ? pg->farewell : why, line);

    /* the same again and again while it is away is not news */

    reason = ngx_crc32_short((u_char *) line, ngx_strlen(line));
    level = pg->reasons[pg->address] == reason ? NGX_LOG_INFO : NGX_LOG_ERR;
    pg->reasons[pg->address] = reason;

    if (pg->was_up) {
        ngx_log_error(level, pg->log, 0,
                      "intent postgres session \"%s\" was lost: %s, "
                      "%ui queries unanswered", pg->name, line, pg->pending);

    } else {
        ngx_log_error(level, pg->log, 0,
                      "intent postgres session \"%s\" failed: %s",
                      pg->name, line);
    }

    ngx_http_intent_pg_disconnect(pg);

    pg->step = NGX_HTTP_INTENT_PG_LOST;

    ngx_post_event(&pg->report, &ngx_posted_events);
}


void
ngx_http_intent_pg_disconnect(ngx_http_intent_pg_t *pg)
{
    if (pg->retry.timer_set) {
        ngx_del_timer(&pg->retry);
    }

    if (pg->send.posted) {
        ngx_delete_posted_event(&pg->send);
    }

    ngx_http_intent_pg_detach(pg);

    PQclear(pg->result);
    pg->result = NULL;

    PQfinish(pg->conn);
    pg->conn = NULL;

    pg->prepared.nelts = 0;
}


/*
 * An address that was good is tried again, then all in turn; the wait grows
 * with each round.  Jitter keeps the workers of many hosts from coming back
 * as one.
 */

void
ngx_http_intent_pg_schedule(ngx_http_intent_pg_t *pg, ngx_uint_t same)
{
    ngx_msec_t  delay;

    delay = pg->backoff * (80 + ngx_random() % 41) / 100;

    pg->failures++;

    if (!same) {
        pg->address = (pg->address + 1) % pg->conf->conninfos->nelts;
    }

    if (pg->failures % pg->conf->conninfos->nelts == 0) {
        pg->backoff = ngx_min(pg->backoff * 3 / 2,
                              NGX_HTTP_INTENT_PG_MAX_BACKOFF);
    }

    pg->step = NGX_HTTP_INTENT_PG_IDLE;

    ngx_log_debug2(NGX_LOG_DEBUG_EVENT, pg->log, 0,
                   "intent postgres \"%s\": next attempt in %M ms",
                   pg->name, delay);

    ngx_add_timer(&pg->retry, delay);
}


void
ngx_http_intent_pg_retry_handler(ngx_event_t *ev)
{
    u_char                 why[NGX_HTTP_INTENT_PG_LINE];
    ngx_connection_t      *c;
    ngx_http_intent_pg_t  *pg;

    c = ev->data;
    pg = c->data;

    if (pg->step == NGX_HTTP_INTENT_PG_IDLE) {
        ngx_http_intent_pg_connect(pg);
        return;
    }

    (void) ngx_snprintf(why, NGX_HTTP_INTENT_PG_LINE,
                        "no connection to \"%s\", port %s, in time%Z",
                        PQhost(pg->conn), PQport(pg->conn));
    why[NGX_HTTP_INTENT_PG_LINE - 1] = '\0';

    ngx_http_intent_pg_lost(pg, (char *) why);
}


/* ---- the socket ---- */


static ngx_int_t
ngx_http_intent_pg_attach(ngx_http_intent_pg_t *pg, ngx_uint_t write)
{
    int                fd;
    ngx_connection_t  *c;

    fd = PQsocket(pg->conn);

    if (fd < 0) {
        return NGX_ERROR;
    }

    c = ngx_get_connection(fd, pg->log);

    if (c == NULL) {
        return NGX_ERROR;
    }

    c->data = pg;
    c->number = ngx_atomic_fetch_add(ngx_connection_counter, 1);

    c->read->handler = ngx_http_intent_pg_handler;
    c->read->log = pg->log;
    c->write->handler = ngx_http_intent_pg_handler;
    c->write->log = pg->log;

    pg->connection = c;

    if (write) {
        return ngx_add_event(c->write, NGX_WRITE_EVENT, NGX_LEVEL_EVENT);
    }

    return ngx_add_event(c->read, NGX_READ_EVENT, NGX_LEVEL_EVENT);
}


/*
 * Before PQfinish(), which closes the socket.  Where libpq has closed it
 * already, the kernel has forgotten it, and the number may be another's.
 */

void
ngx_http_intent_pg_detach(ngx_http_intent_pg_t *pg)
{
    ngx_uint_t         flags;
    ngx_connection_t  *c;

    c = pg->connection;

    if (c == NULL) {
        return;
    }

    flags = PQsocket(pg->conn) == c->fd ? 0 : NGX_CLOSE_EVENT;

    if (c->read->active) {
        (void) ngx_del_event(c->read, NGX_READ_EVENT, flags);
    }

    if (c->write->active) {
        (void) ngx_del_event(c->write, NGX_WRITE_EVENT, flags);
    }

    if (c->read->posted) {
        ngx_delete_posted_event(c->read);
    }

    if (c->write->posted) {
        ngx_delete_posted_event(c->write);
    }

    c->read->closed = 1;
    c->write->closed = 1;

    ngx_free_connection(c);
    c->fd = (ngx_socket_t) -1;

    pg->connection = NULL;
}


/* ---- what the server says ---- */


static void
ngx_http_intent_pg_notice(void *data, const PGresult *res)
{
    ngx_http_intent_pg_t  *pg = data;

    char  line[NGX_HTTP_INTENT_PG_LINE];

    ngx_log_error(NGX_LOG_INFO, pg->log, 0,
                  "intent postgres session \"%s\": the server says: %s",
                  pg->name, ngx_http_intent_pg_line(
                      ngx_http_intent_pg_message((PGresult *) res), line));

    ngx_http_intent_pg_remember(pg, res);
}


/* after FATAL and PANIC the server closes the session */

void
ngx_http_intent_pg_remember(ngx_http_intent_pg_t *pg, const PGresult *res)
{
    char  *severity;

    severity = PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);

    if (severity
        && (ngx_strcmp(severity, "FATAL") == 0
            || ngx_strcmp(severity, "PANIC") == 0))
    {
        (void) ngx_http_intent_pg_line(
                   ngx_http_intent_pg_message((PGresult *) res),
                   pg->farewell);
    }
}


/* libpq's messages have several lines; those with a tab are hints */

char *
ngx_http_intent_pg_line(const char *text, char *line)
{
    char  *p, *last;

    p = line;
    last = line + NGX_HTTP_INTENT_PG_LINE - 1;

    for ( /* void */ ; *text && p < last; text++) {

        while (text[0] == '\n' && text[1] == '\t') {
            text += 1 + strcspn(text + 1, "\n");
        }

        if (*text == '\0') {
            break;
        }

        if (*text != '\n' && *text != ' ') {
            *p++ = *text;

        } else if (p > line && p[-1] != ' ') {
            *p++ = ' ';
        }
    }

    while (p > line && p[-1] == ' ') {
        p--;
    }

    *p = '\0';

    return line;
}
