
/*
 * Reads wait for a session, as new intents do: a worker that has just begun
 * has none yet, and its clients should not be told that Postgres is away.
 */


#include "ngx_http_intent_store_private.h"


#define NGX_HTTP_INTENT_STORE_READS  1024


typedef struct {
    ngx_http_intent_store_worker_t   *worker;
    ngx_queue_t                       queue;    /* by deadline */
    ngx_uint_t                        waiting;
    ngx_event_t                       wake;     /* posted */
    ngx_event_t                       timer;    /* of the first in the queue */
    ngx_connection_t                  dumb;     /* the events' own data */
} ngx_http_intent_store_reading_t;


static ngx_int_t ngx_http_intent_store_read_send(
    ngx_http_intent_store_read_t *rd);
static ngx_int_t ngx_http_intent_store_read_wait(
    ngx_http_intent_store_read_t *rd);
static void ngx_http_intent_store_read_query_handler(
    ngx_http_intent_pg_query_t *q, ngx_int_t rc, PGresult *res);
static void ngx_http_intent_store_read_handler(ngx_event_t *ev);
static void ngx_http_intent_store_read_timeout(ngx_event_t *ev);


static ngx_http_intent_store_reading_t  ngx_http_intent_store_reading;


void
ngx_http_intent_store_read_init(ngx_http_intent_store_worker_t *w)
{
    ngx_http_intent_store_reading_t  *rg;

    rg = &ngx_http_intent_store_reading;

    ngx_memzero(rg, sizeof(ngx_http_intent_store_reading_t));

    rg->worker = w;

    ngx_queue_init(&rg->queue);

    rg->dumb.fd = (ngx_socket_t) -1;

    rg->wake.handler = ngx_http_intent_store_read_handler;
    rg->wake.data = &rg->dumb;
    rg->wake.log = w->log;

    rg->timer.handler = ngx_http_intent_store_read_timeout;
    rg->timer.data = &rg->dumb;
    rg->timer.log = w->log;
}


ngx_int_t
ngx_http_intent_store_read(ngx_http_intent_store_read_t *rd)
{
    ngx_http_intent_store_worker_t  *w;

    w = ngx_http_intent_store_worker();

    if (w == NULL) {
        return NGX_DECLINED;
    }

    rd->query.handler = ngx_http_intent_store_read_query_handler;
    rd->deadline = ngx_current_msec + w->conf->pg.timeout;

    if (ngx_http_intent_store_read_send(rd) == NGX_OK) {
        return NGX_OK;
    }

    return ngx_http_intent_store_read_wait(rd);
}


void
ngx_http_intent_store_read_wake(void)
{
    if (ngx_http_intent_store_reading.waiting) {
        ngx_post_event(&ngx_http_intent_store_reading.wake,
                       &ngx_posted_events);
    }
}


static ngx_int_t
ngx_http_intent_store_read_send(ngx_http_intent_store_read_t *rd)
{
    ngx_http_intent_store_session_t  *session;

    session = ngx_http_intent_store_session();

    if (session == NULL) {
        return NGX_DECLINED;
    }

    return ngx_http_intent_pg_query(session->pg, &rd->query);
}


/* NGX_DECLINED: Postgres has been away for so long that there is no point */

static ngx_int_t
ngx_http_intent_store_read_wait(ngx_http_intent_store_read_t *rd)
{
    ngx_msec_t                        timeout;
    ngx_http_intent_store_worker_t   *w;
    ngx_http_intent_store_reading_t  *rg;

    rg = &ngx_http_intent_store_reading;
    w = rg->worker;
    timeout = w->conf->pg.timeout;

    if ((w->nup == 0 && ngx_current_msec - w->down_since >= timeout)
        || rg->waiting == NGX_HTTP_INTENT_STORE_READS)
    {
        return NGX_DECLINED;
    }

    ngx_queue_insert_tail(&rg->queue, &rd->queue);
    rg->waiting++;

    if (!rg->timer.timer_set) {
        ngx_add_timer(&rg->timer, timeout);
    }

    return NGX_OK;
}


static void
ngx_http_intent_store_read_query_handler(ngx_http_intent_pg_query_t *q,
    ngx_int_t rc, PGresult *res)
{
    ngx_http_intent_store_read_t  *rd;

    rd = ngx_queue_data(q, ngx_http_intent_store_read_t, query);

    /* the session was lost, another may be up; a read does no harm */

    if ((rc == NGX_ABORT || rc == NGX_DECLINED) && !rd->retried) {
        rd->retried = 1;

        if (ngx_http_intent_store_read_send(rd) == NGX_OK
            || ngx_http_intent_store_read_wait(rd) == NGX_OK)
        {
            return;
        }
    }

    rd->handler(rd, rc, res);
}


static void
ngx_http_intent_store_read_handler(ngx_event_t *ev)
{
    ngx_queue_t                      *queue;
    ngx_http_intent_store_read_t     *rd;
    ngx_http_intent_store_reading_t  *rg;

    rg = &ngx_http_intent_store_reading;

    while (!ngx_queue_empty(&rg->queue)) {
        queue = ngx_queue_head(&rg->queue);
        rd = ngx_queue_data(queue, ngx_http_intent_store_read_t, queue);

        if (ngx_http_intent_store_read_send(rd) != NGX_OK) {
            return;
        }

        ngx_queue_remove(queue);
        rg->waiting--;
    }

    if (rg->timer.timer_set) {
        ngx_del_timer(&rg->timer);
    }
}


static void
ngx_http_intent_store_read_timeout(ngx_event_t *ev)
{
    ngx_queue_t                      *queue;
    ngx_msec_int_t                    left;
    ngx_http_intent_store_read_t     *rd;
    ngx_http_intent_store_reading_t  *rg;

    rg = &ngx_http_intent_store_reading;

    while (!ngx_queue_empty(&rg->queue)) {
        queue = ngx_queue_head(&rg->queue);
        rd = ngx_queue_data(queue, ngx_http_intent_store_read_t, queue);

        left = (ngx_msec_int_t) (rd->deadline - ngx_current_msec);

        if (left > 0) {
            ngx_add_timer(&rg->timer, (ngx_msec_t) left);
            return;
        }

        ngx_queue_remove(queue);
        rg->waiting--;

        rd->handler(rd, NGX_DECLINED, NULL);
    }
}
