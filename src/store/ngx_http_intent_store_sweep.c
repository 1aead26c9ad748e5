
/*
 * The sweeper: the one worker of the fleet that ends what has expired and
 * deletes what is old.  It is whoever has its lock.  Two at a time would do no
 * harm, for what tasks write is checked in each row; it would only be work done
 * twice.
 */


#include "ngx_http_intent_store_private.h"


#define NGX_HTTP_INTENT_STORE_SWEEP_TASKS  3


typedef struct {
    ngx_http_intent_store_lock_t     lock;
    ngx_log_t                       *log;
    ngx_uint_t                       held;
    ngx_uint_t                       draining;
    ngx_http_intent_store_task_t    *tasks[NGX_HTTP_INTENT_STORE_SWEEP_TASKS];
    ngx_uint_t                       ntasks;
    ngx_connection_t                 dumb;      /* the events' own data */
} ngx_http_intent_store_sweep_t;


static void ngx_http_intent_store_sweep_task(
    ngx_http_intent_store_task_t *task);
static void ngx_http_intent_store_sweep_held(void *data, ngx_uint_t held);
static void ngx_http_intent_store_sweep_run(ngx_event_t *ev);
static void ngx_http_intent_store_sweep_stop(void);
static void ngx_http_intent_store_sweep_drain(void *data);
static void ngx_http_intent_store_sweep_release(void);


static ngx_http_intent_store_sweep_t  ngx_http_intent_store_sweep;


ngx_int_t
ngx_http_intent_store_sweep_init(ngx_http_intent_store_worker_t *w)
{
    ngx_http_intent_store_sweep_t  *sw;

    sw = &ngx_http_intent_store_sweep;

    ngx_memzero(sw, sizeof(ngx_http_intent_store_sweep_t));

    sw->log = w->log;
    sw->dumb.fd = (ngx_socket_t) -1;

    ngx_http_intent_store_sweep_task(&ngx_http_intent_store_expire);
    ngx_http_intent_store_sweep_task(&ngx_http_intent_store_untold);

    if (w->conf->retention) {
        ngx_http_intent_store_sweep_task(&ngx_http_intent_store_retention);
    }

    sw->lock.key = NGX_HTTP_INTENT_STORE_SWEEP_LOCK;
    sw->lock.handler = ngx_http_intent_store_sweep_held;
    sw->lock.data = sw;

    if (ngx_http_intent_store_lock_init(&sw->lock) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_intent_on_drain(ngx_http_intent_store_sweep_drain, sw);
}


static void
ngx_http_intent_store_sweep_task(ngx_http_intent_store_task_t *task)
{
    ngx_http_intent_store_sweep_t  *sw;

    sw = &ngx_http_intent_store_sweep;

    sw->tasks[sw->ntasks++] = task;

    /* a timer's debug message reads the fd of data, the first field of it */

    ngx_memzero(&task->timer, sizeof(ngx_event_t));

    task->timer.handler = ngx_http_intent_store_sweep_run;
    task->timer.data = &sw->dumb;
    task->timer.log = sw->log;
    task->timer.cancelable = 1;
    task->running = 0;
}


ngx_http_intent_pg_t *
ngx_http_intent_store_sweep_session(void)
{
    return ngx_http_intent_store_sweep.lock.pg;
}


static void
ngx_http_intent_store_sweep_held(void *data, ngx_uint_t held)
{
    ngx_http_intent_store_sweep_t *sw = data;

    ngx_uint_t  i;

    sw->held = held;

    if (!held) {
        ngx_log_error(NGX_LOG_NOTICE, sw->log, 0,
                      "intent sweeper: this worker is it no longer, its "
                      "session was lost");

        ngx_http_intent_store_sweep_stop();
        return;
    }

    ngx_log_error(NGX_LOG_NOTICE, sw->log, 0,
                  "intent sweeper: this worker is it");

    for (i = 0; i < sw->ntasks; i++) {
        if (!sw->tasks[i]->running) {
            ngx_add_timer(&sw->tasks[i]->timer, 1);
        }
    }
}


/* ---- its tasks ---- */


static void
ngx_http_intent_store_sweep_run(ngx_event_t *ev)
{
    ngx_http_intent_store_task_t  *task;

    task = (ngx_http_intent_store_task_t *)
               ((u_char *) ev - offsetof(ngx_http_intent_store_task_t, timer));

    task->running = 1;
    task->run(task);
}


void
ngx_http_intent_store_task_done(ngx_http_intent_store_task_t *task,
    ngx_msec_t delay)
{
    ngx_http_intent_store_sweep_t  *sw;

    sw = &ngx_http_intent_store_sweep;

    task->running = 0;

    if (sw->draining) {
        ngx_http_intent_store_sweep_release();
        return;
    }

    if (sw->held) {
        ngx_add_timer(&task->timer, delay);
    }
}


static void
ngx_http_intent_store_sweep_stop(void)
{
    ngx_uint_t                      i;
    ngx_http_intent_store_sweep_t  *sw;

    sw = &ngx_http_intent_store_sweep;

    for (i = 0; i < sw->ntasks; i++) {
        if (sw->tasks[i]->timer.timer_set) {
            ngx_del_timer(&sw->tasks[i]->timer);
        }
    }
}


/* ---- drain ---- */


static void
ngx_http_intent_store_sweep_drain(void *data)
{
    ngx_http_intent_store_sweep_t *sw = data;

    sw->draining = 1;

    ngx_http_intent_store_sweep_stop();
    ngx_http_intent_store_sweep_release();
}


/* when what is under way has ended; each end comes here */

static void
ngx_http_intent_store_sweep_release(void)
{
    ngx_uint_t                      i;
    ngx_http_intent_store_sweep_t  *sw;

    sw = &ngx_http_intent_store_sweep;

    if (!sw->held) {
        return;
    }

    for (i = 0; i < sw->ntasks; i++) {
        if (sw->tasks[i]->running) {
            return;
        }
    }

    sw->held = 0;

    ngx_http_intent_store_lock_release(&sw->lock);

    ngx_log_error(NGX_LOG_INFO, sw->log, 0,
                  "intent sweeper: given up by this worker");
}
