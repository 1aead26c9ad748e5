
/*
 * A Postgres session in the event loop: its life, its queries, its answers.
 *
 * libpq owns the socket; we watch it with a connection of nginx's, level-
 * triggered, for libpq may leave bytes unread.
 *
 * Whatever ends a session goes through ngx_http_intent_pg_lost(), which
 * closes it at once and posts an event that answers the queries left: so no
 * handler is ever called from within a call of the session's user, and none
 * finds the session half closed.
 */


#include "ngx_http_intent_pg_private.h"


static void ngx_http_intent_pg_init_event(ngx_http_intent_pg_t *pg,
    ngx_event_t *ev, ngx_event_handler_pt handler, ngx_uint_t cancelable);

static void ngx_http_intent_pg_send_handler(ngx_event_t *ev);
static ngx_int_t ngx_http_intent_pg_send(ngx_http_intent_pg_t *pg,
    ngx_http_intent_pg_query_t *q);
static ngx_int_t ngx_http_intent_pg_prepare(ngx_http_intent_pg_t *pg,
    ngx_http_intent_pg_query_t *q);
static void ngx_http_intent_pg_forget(ngx_http_intent_pg_t *pg,
    ngx_http_intent_pg_stmt_t *stmt);

static void ngx_http_intent_pg_read(ngx_http_intent_pg_t *pg);
static void ngx_http_intent_pg_results(ngx_http_intent_pg_t *pg);
static void ngx_http_intent_pg_result(ngx_http_intent_pg_t *pg, PGresult *res);
static void ngx_http_intent_pg_answer(ngx_http_intent_pg_t *pg);
static ngx_uint_t ngx_http_intent_pg_again(ngx_http_intent_pg_t *pg,
    ngx_http_intent_pg_query_t *q, PGresult *res);
static void ngx_http_intent_pg_limit_handler(ngx_event_t *ev);

static void ngx_http_intent_pg_report_handler(ngx_event_t *ev);
static void ngx_http_intent_pg_report(ngx_http_intent_pg_t *pg,
    ngx_queue_t *queue, ngx_int_t rc);


/* all parameters and all results are binary */
static int  ngx_http_intent_pg_formats[NGX_HTTP_INTENT_PG_MAX_PARAMS] = {
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1
};


ngx_http_intent_pg_t *
ngx_http_intent_pg_create(ngx_pool_t *pool, ngx_http_intent_pg_conf_t *conf,
    const char *name, ngx_http_intent_pg_state_pt state, void *data)
{
    ngx_http_intent_pg_t  *pg;

    pg = ngx_pcalloc(pool, sizeof(ngx_http_intent_pg_t));
    if (pg == NULL) {
        return NULL;
    }

    if (ngx_array_init(&pg->prepared, pool, 16,
                       sizeof(ngx_http_intent_pg_stmt_t *))
        != NGX_OK)
    {
        return NULL;
    }

    pg->reasons = ngx_pcalloc(pool,
                              conf->conninfos->nelts * sizeof(uint32_t));
    if (pg->reasons == NULL) {
        return NULL;
    }

    pg->conf = conf;
    pg->name = name;
    pg->log = pool->log;
    pg->state = state;
    pg->data = data;
    pg->backoff = NGX_HTTP_INTENT_PG_MIN_BACKOFF;

    ngx_queue_init(&pg->waiting);
    ngx_queue_init(&pg->sent);

    pg->dumb.fd = (ngx_socket_t) -1;
    pg->dumb.data = pg;
    pg->dumb.log = pg->log;

    ngx_http_intent_pg_init_event(pg, &pg->send,
                                  ngx_http_intent_pg_send_handler, 0);
    ngx_http_intent_pg_init_event(pg, &pg->report,
                                  ngx_http_intent_pg_report_handler, 0);

    /* while a query is unanswered, an exiting worker waits for it */

    ngx_http_intent_pg_init_event(pg, &pg->limit,
                                  ngx_http_intent_pg_limit_handler, 0);
    ngx_http_intent_pg_init_event(pg, &pg->retry,
                                  ngx_http_intent_pg_retry_handler, 1);

    /* not at once: no event is handled before the loop has begun */

    ngx_add_timer(&pg->retry, 1);

    return pg;
}


static void
ngx_http_intent_pg_init_event(ngx_http_intent_pg_t *pg, ngx_event_t *ev,
    ngx_event_handler_pt handler, ngx_uint_t cancelable)
{
    ev->handler = handler;
    ev->data = &pg->dumb;
    ev->log = pg->log;
    ev->cancelable = cancelable;
}


ngx_int_t
ngx_http_intent_pg_query(ngx_http_intent_pg_t *pg,
    ngx_http_intent_pg_query_t *q)
{
    if (pg->step != NGX_HTTP_INTENT_PG_UP) {
        return NGX_DECLINED;
    }

    q->deadline = ngx_current_msec + pg->conf->timeout;
    q->preparing = 0;
    q->retried = 0;

    ngx_queue_insert_tail(&pg->waiting, &q->queue);
    pg->pending++;

    if (!pg->limit.timer_set) {
        ngx_add_timer(&pg->limit, pg->conf->timeout);
    }

    /* what is asked in one turn of the loop leaves together */

    ngx_post_event(&pg->send, &ngx_posted_events);

    return NGX_OK;
}


ngx_uint_t
ngx_http_intent_pg_is_up(ngx_http_intent_pg_t *pg)
{
    return pg->step == NGX_HTTP_INTENT_PG_UP;
}


int64_t
ngx_http_intent_pg_server_time(ngx_http_intent_pg_t *pg)
{
    return (int64_t) ngx_current_msec + pg->clock;
}


ngx_uint_t
ngx_http_intent_pg_pending(ngx_http_intent_pg_t *pg)
{
    return pg->pending;
}


void
ngx_http_intent_pg_close(ngx_http_intent_pg_t *pg)
{
    ngx_http_intent_pg_disconnect(pg);

    if (pg->limit.timer_set) {
        ngx_del_timer(&pg->limit);
    }

    if (pg->report.posted) {
        ngx_delete_posted_event(&pg->report);
    }

    pg->step = NGX_HTTP_INTENT_PG_CLOSED;
}


void
ngx_http_intent_pg_reset(ngx_http_intent_pg_t *pg)
{
    if (pg->conn) {
        ngx_http_intent_pg_lost(pg, "it was asked to begin anew");
    }
}


void
ngx_http_intent_pg_handler(ngx_event_t *ev)
{
    ngx_connection_t      *c;
    ngx_http_intent_pg_t  *pg;

    c = ev->data;
    pg = c->data;

    switch (pg->step) {

    case NGX_HTTP_INTENT_PG_CONNECTING:
        ngx_http_intent_pg_poll(pg);
        return;

    case NGX_HTTP_INTENT_PG_GREETING:
    case NGX_HTTP_INTENT_PG_SETUP:
    case NGX_HTTP_INTENT_PG_UP:
        break;

    default:
        return;
    }

    if (ev->write) {
        ngx_http_intent_pg_flush(pg);

    } else if (pg->step == NGX_HTTP_INTENT_PG_UP) {
        ngx_http_intent_pg_read(pg);

    } else {
        ngx_http_intent_pg_setup_read(pg);
    }
}


/* ---- asking ---- */


static void
ngx_http_intent_pg_send_handler(ngx_event_t *ev)
{
    ngx_queue_t                 *queue;
    ngx_connection_t            *c;
    ngx_http_intent_pg_t        *pg;
    ngx_http_intent_pg_query_t  *q;

    c = ev->data;
    pg = c->data;

    while (!ngx_queue_empty(&pg->waiting)) {

        queue = ngx_queue_head(&pg->waiting);
        q = ngx_queue_data(queue, ngx_http_intent_pg_query_t, queue);

        ngx_queue_remove(queue);
        ngx_queue_insert_tail(&pg->sent, queue);

        if (ngx_http_intent_pg_send(pg, q) != NGX_OK) {
            ngx_http_intent_pg_lost(pg, PQerrorMessage(pg->conn));
            return;
        }
    }

    ngx_http_intent_pg_flush(pg);
}


static ngx_int_t
ngx_http_intent_pg_send(ngx_http_intent_pg_t *pg,
    ngx_http_intent_pg_query_t *q)
{
    if (ngx_http_intent_pg_prepare(pg, q) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_log_debug3(NGX_LOG_DEBUG_EVENT, pg->log, 0,
                   "intent postgres \"%s\": send \"%s\", pending:%ui",
                   pg->name, q->stmt->name, pg->pending);

    if (!PQsendQueryPrepared(pg->conn, q->stmt->name, (int) q->stmt->nparams,
                             q->values, q->lengths,
                             ngx_http_intent_pg_formats, 1))
    {
        return NGX_ERROR;
    }

#ifdef LIBPQ_HAS_SEND_PIPELINE_SYNC

    if (!PQsendPipelineSync(pg->conn)) {
        return NGX_ERROR;
    }

#else

    /* before libpq 17 this writes, each time */

    if (!PQpipelineSync(pg->conn)) {
        return NGX_ERROR;
    }

#endif

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_pg_prepare(ngx_http_intent_pg_t *pg,
    ngx_http_intent_pg_query_t *q)
{
    ngx_uint_t                   i;
    ngx_http_intent_pg_stmt_t  **stmt;

    stmt = pg->prepared.elts;

    for (i = 0; i < pg->prepared.nelts; i++) {
        if (stmt[i] == q->stmt) {
            return NGX_OK;
        }
    }

    stmt = ngx_array_push(&pg->prepared);
    if (stmt == NULL) {
        return NGX_ERROR;
    }

    *stmt = q->stmt;
    q->preparing = 1;

    if (!PQsendPrepare(pg->conn, q->stmt->name, q->stmt->sql,
                       (int) q->stmt->nparams, q->stmt->types))
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_http_intent_pg_forget(ngx_http_intent_pg_t *pg,
    ngx_http_intent_pg_stmt_t *stmt)
{
    ngx_uint_t                   i;
    ngx_http_intent_pg_stmt_t  **stmts;

    stmts = pg->prepared.elts;

    for (i = 0; i < pg->prepared.nelts; i++) {
        if (stmts[i] == stmt) {
            stmts[i] = stmts[--pg->prepared.nelts];
            return;
        }
    }
}


void
ngx_http_intent_pg_flush(ngx_http_intent_pg_t *pg)
{
    int           rc;
    ngx_int_t     added;
    ngx_event_t  *wev;

    rc = PQflush(pg->conn);

    /* libpq may have read while it wrote, and closed the socket then */

    if (rc < 0 || PQstatus(pg->conn) != CONNECTION_OK) {
        ngx_http_intent_pg_lost(pg, PQerrorMessage(pg->conn));
        return;
    }

    wev = pg->connection->write;
    added = NGX_OK;

    if (rc == 1 && !wev->active) {
        added = ngx_add_event(wev, NGX_WRITE_EVENT, NGX_LEVEL_EVENT);

    } else if (rc == 0 && wev->active) {
        added = ngx_del_event(wev, NGX_WRITE_EVENT, 0);
    }

    if (added != NGX_OK) {
        ngx_http_intent_pg_lost(pg, "its socket cannot be watched");
    }
}


/* ---- answers ---- */


ngx_int_t
ngx_http_intent_pg_consume(ngx_http_intent_pg_t *pg)
{
    if (!PQconsumeInput(pg->conn)) {
        return NGX_ERROR;
    }

    /*
     * libpq makes room for 8 KB and a TLS record holds up to 16, so that the
     * rest of one may be left inside OpenSSL, where no event tells of it
     */

    if (PQsslInUse(pg->conn) && !PQconsumeInput(pg->conn)) {
        return NGX_ERROR;
    }

    return PQstatus(pg->conn) == CONNECTION_OK ? NGX_OK : NGX_ERROR;
}


static void
ngx_http_intent_pg_read(ngx_http_intent_pg_t *pg)
{
    char       line[NGX_HTTP_INTENT_PG_LINE];
    ngx_int_t  rc;

    rc = ngx_http_intent_pg_consume(pg);

    if (rc == NGX_OK) {
        ngx_http_intent_pg_results(pg);

        /* a handler may have reset the session */

        if (pg->step == NGX_HTTP_INTENT_PG_UP) {
            ngx_http_intent_pg_flush(pg);
        }

        return;
    }

    /*
     * What came before the end still counts.  libpq has closed the socket,
     * and the handlers may open one of the same number.
     */

    (void) ngx_http_intent_pg_line(PQerrorMessage(pg->conn), line);

    ngx_http_intent_pg_detach(pg);

    ngx_http_intent_pg_results(pg);

    if (pg->conn) {
        ngx_http_intent_pg_lost(pg, line);
    }
}


static void
ngx_http_intent_pg_results(ngx_http_intent_pg_t *pg)
{
    PGresult    *res;
    ngx_uint_t   nulls;

    nulls = 0;

    while (pg->conn && !ngx_queue_empty(&pg->sent) && !PQisBusy(pg->conn)) {

        res = PQgetResult(pg->conn);

        if (res) {
            nulls = 0;
            ngx_http_intent_pg_result(pg, res);
            continue;
        }

        /* one ends what a statement gave, two say that there is no more */

        if (++nulls == 2) {
            return;
        }
    }

    /* what the server says unasked, as why it ends, is parsed here */

    if (pg->conn) {
        (void) PQisBusy(pg->conn);
    }
}


static void
ngx_http_intent_pg_result(ngx_http_intent_pg_t *pg, PGresult *res)
{
    ngx_queue_t                 *queue;
    ExecStatusType               status;
    ngx_http_intent_pg_query_t  *q;

    status = PQresultStatus(res);

    queue = ngx_queue_head(&pg->sent);
    q = ngx_queue_data(queue, ngx_http_intent_pg_query_t, queue);

    if (status == PGRES_PIPELINE_SYNC) {
        PQclear(res);
        ngx_http_intent_pg_answer(pg);
        return;
    }

    ngx_http_intent_pg_remember(pg, res);

    if (q->preparing) {
        q->preparing = 0;

        if (status == PGRES_COMMAND_OK) {
            PQclear(res);
            return;
        }

        ngx_http_intent_pg_forget(pg, q->stmt);
    }

    /*
     * The first error is the cause of the others.  One after a good result
     * is that of the commit, which the server does when it sees the Sync.
     */

    if (pg->result
        && (status == PGRES_PIPELINE_ABORTED
            || PQresultStatus(pg->result) == PGRES_FATAL_ERROR))
    {
        PQclear(res);
        return;
    }

    PQclear(pg->result);
    pg->result = res;
}


static void
ngx_http_intent_pg_answer(ngx_http_intent_pg_t *pg)
{
    PGresult                    *res;
    ngx_int_t                    rc;
    ngx_queue_t                 *queue;
    ngx_http_intent_pg_query_t  *q;

    res = pg->result;
    pg->result = NULL;

    queue = ngx_queue_head(&pg->sent);
    q = ngx_queue_data(queue, ngx_http_intent_pg_query_t, queue);

    ngx_queue_remove(queue);

    switch (PQresultStatus(res)) {

    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
        rc = NGX_OK;
        break;

    default:
        rc = NGX_ERROR;

        if (ngx_http_intent_pg_again(pg, q, res)) {
            PQclear(res);
            return;
        }
    }

    if (--pg->pending == 0 && pg->limit.timer_set) {
        ngx_del_timer(&pg->limit);
    }

    ngx_log_debug4(NGX_LOG_DEBUG_EVENT, pg->log, 0,
                   "intent postgres \"%s\": answer to \"%s\", rc:%i, "
                   "pending:%ui", pg->name, q->stmt->name, rc, pg->pending);

    q->handler(q, rc, res);

    PQclear(res);
}


/*
 * A statement that the server does not know any more (26000) did nothing,
 * and can be prepared and run again.  One whose name is taken (42P05), or
 * whose tables have changed under it (0A000), needs a fresh session.
 */

static ngx_uint_t
ngx_http_intent_pg_again(ngx_http_intent_pg_t *pg,
    ngx_http_intent_pg_query_t *q, PGresult *res)
{
    const char  *state;

    state = ngx_http_intent_pg_sqlstate(res);

    if (ngx_strcmp(state, "42P05") == 0 || ngx_strcmp(state, "0A000") == 0) {

        /* the query itself is answered with its error, now */

        ngx_http_intent_pg_lost(pg, ngx_http_intent_pg_message(res));
        return 0;
    }

    if (ngx_strcmp(state, "26000") != 0
        || q->retried
        || pg->step != NGX_HTTP_INTENT_PG_UP)
    {
        return 0;
    }

    ngx_log_error(NGX_LOG_INFO, pg->log, 0,
                  "intent postgres session \"%s\": statement \"%s\" was lost, "
                  "it is prepared again", pg->name, q->stmt->name);

    ngx_http_intent_pg_forget(pg, q->stmt);

    q->retried = 1;
    q->deadline = ngx_current_msec + pg->conf->timeout;

    ngx_queue_insert_tail(&pg->waiting, &q->queue);
    ngx_post_event(&pg->send, &ngx_posted_events);

    return 1;
}


static void
ngx_http_intent_pg_limit_handler(ngx_event_t *ev)
{
    ngx_queue_t                 *queue;
    ngx_connection_t            *c;
    ngx_msec_int_t               left;
    ngx_http_intent_pg_t        *pg;
    ngx_http_intent_pg_query_t  *q;

    c = ev->data;
    pg = c->data;

    queue = ngx_queue_empty(&pg->sent) ? &pg->waiting : &pg->sent;

    if (pg->conn == NULL || ngx_queue_empty(queue)) {
        return;
    }

    q = ngx_queue_data(ngx_queue_head(queue), ngx_http_intent_pg_query_t,
                       queue);

    left = (ngx_msec_int_t) (q->deadline - ngx_current_msec);

    if (left > 0) {
        ngx_add_timer(ev, (ngx_msec_t) left);
        return;
    }

    ngx_http_intent_pg_lost(pg, "the server did not answer in time");
}


/* ---- a lost session ---- */


static void
ngx_http_intent_pg_report_handler(ngx_event_t *ev)
{
    ngx_uint_t             was_up;
    ngx_connection_t      *c;
    ngx_http_intent_pg_t  *pg;

    c = ev->data;
    pg = c->data;

    ngx_http_intent_pg_report(pg, &pg->sent, NGX_ABORT);
    ngx_http_intent_pg_report(pg, &pg->waiting, NGX_DECLINED);

    if (pg->limit.timer_set) {
        ngx_del_timer(&pg->limit);
    }

    was_up = pg->was_up;
    pg->was_up = 0;

    if (was_up && pg->state) {
        pg->state(pg, 0, pg->data);
    }

    if (pg->step == NGX_HTTP_INTENT_PG_LOST) {
        ngx_http_intent_pg_schedule(pg, was_up);
    }
}


static void
ngx_http_intent_pg_report(ngx_http_intent_pg_t *pg, ngx_queue_t *queue,
    ngx_int_t rc)
{
    ngx_queue_t                 *head;
    ngx_http_intent_pg_query_t  *q;

    while (!ngx_queue_empty(queue)) {

        head = ngx_queue_head(queue);
        q = ngx_queue_data(head, ngx_http_intent_pg_query_t, queue);

        ngx_queue_remove(head);
        pg->pending--;

        ngx_log_debug3(NGX_LOG_DEBUG_EVENT, pg->log, 0,
                       "intent postgres \"%s\": no answer to \"%s\", rc:%i",
                       pg->name, q->stmt->name, rc);

        q->handler(q, rc, NULL);
    }
}
