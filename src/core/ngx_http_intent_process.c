
/*
 * Notices that the worker begins to exit gracefully.  nginx has no hook for
 * that, but it runs the read handler of every idle connection then; so we
 * keep one that has no socket.
 */


#include "ngx_http_intent_core.h"


typedef struct {
    ngx_http_intent_drain_pt   handler;
    void                      *data;
} ngx_http_intent_drain_t;


static void ngx_http_intent_drain_handler(ngx_event_t *rev);
static void ngx_http_intent_drain_timeout(ngx_event_t *ev);


static ngx_connection_t  *ngx_http_intent_watcher;
static ngx_array_t       *ngx_http_intent_drains;
static ngx_uint_t         ngx_http_intent_holds;

/* what a timer's debug message reads the fd of */
static ngx_connection_t   ngx_http_intent_dumb;
static ngx_event_t        ngx_http_intent_grace;


ngx_int_t
ngx_http_intent_drain_init_process(ngx_cycle_t *cycle)
{
    ngx_connection_t  *c;

    ngx_http_intent_holds = 0;

    ngx_http_intent_drains = ngx_array_create(cycle->pool, 4,
                                              sizeof(ngx_http_intent_drain_t));
    if (ngx_http_intent_drains == NULL) {
        return NGX_ERROR;
    }

    ngx_http_intent_dumb.fd = (ngx_socket_t) -1;

    ngx_memzero(&ngx_http_intent_grace, sizeof(ngx_event_t));
    ngx_http_intent_grace.handler = ngx_http_intent_drain_timeout;
    ngx_http_intent_grace.data = &ngx_http_intent_dumb;
    ngx_http_intent_grace.log = cycle->log;

    c = ngx_get_connection(0, cycle->log);
    if (c == NULL) {
        return NGX_ERROR;
    }

    /* -1 would be taken for a free connection, 0 and up for an open socket */

    c->fd = (ngx_socket_t) -2;
    c->idle = 1;
    c->read->handler = ngx_http_intent_drain_handler;
    c->read->log = cycle->log;
    c->write->log = cycle->log;

    ngx_http_intent_watcher = c;

    return NGX_OK;
}


void
ngx_http_intent_drain_exit_process(void)
{
    ngx_connection_t  *c;

    c = ngx_http_intent_watcher;

    if (c) {
        ngx_http_intent_watcher = NULL;
        c->fd = 0;
        ngx_free_connection(c);
        c->fd = (ngx_socket_t) -1;
    }
}


ngx_int_t
ngx_http_intent_on_drain(ngx_http_intent_drain_pt handler, void *data)
{
    ngx_http_intent_drain_t  *d;

    d = ngx_array_push(ngx_http_intent_drains);
    if (d == NULL) {
        return NGX_ERROR;
    }

    d->handler = handler;
    d->data = data;

    return NGX_OK;
}


static void
ngx_http_intent_drain_handler(ngx_event_t *rev)
{
    ngx_uint_t                i;
    ngx_http_intent_drain_t  *d;

    ngx_http_intent_drain_exit_process();

    ngx_log_debug1(NGX_LOG_DEBUG_EVENT, ngx_cycle->log, 0,
                   "intent drain, holds:%ui", ngx_http_intent_holds);

    if (ngx_http_intent_holds) {
        ngx_add_timer(&ngx_http_intent_grace, NGX_HTTP_INTENT_DRAIN_TIMEOUT);
    }

    d = ngx_http_intent_drains->elts;

    for (i = 0; i < ngx_http_intent_drains->nelts; i++) {
        d[i].handler(d[i].data);
    }
}


void
ngx_http_intent_hold(void)
{
    if (ngx_http_intent_holds++ == 0
        && ngx_exiting
        && !ngx_http_intent_grace.timedout
        && !ngx_http_intent_grace.timer_set)
    {
        ngx_add_timer(&ngx_http_intent_grace, NGX_HTTP_INTENT_DRAIN_TIMEOUT);
    }
}


void
ngx_http_intent_release(void)
{
    if (--ngx_http_intent_holds == 0 && ngx_http_intent_grace.timer_set) {
        ngx_del_timer(&ngx_http_intent_grace);
    }
}


static void
ngx_http_intent_drain_timeout(ngx_event_t *ev)
{
    ngx_log_error(NGX_LOG_WARN, ev->log, 0,
                  "intent: %ui tasks did not end in time, "
                  "the worker exits without them", ngx_http_intent_holds);
}
