
/*
 * The sweeper: the one worker of the fleet that ends what has expired and
 * deletes what is old.  It is whoever has an advisory lock, on its executor
 * session: with that session it loses the lock, at once, and another worker
 * finds it free when it next tries.  Two at a time would do no harm, for what
 * tasks write is checked in each row; it would only be work done twice.
 */


#include "ngx_http_intent_store_private.h"


#define NGX_HTTP_INTENT_STORE_SWEEP_RETRY  2000     /* ms, more or less */
#define NGX_HTTP_INTENT_STORE_SWEEP_TASKS  3


typedef enum {
    NGX_HTTP_INTENT_STORE_SWEEP_AWAY = 0,           /* no session */
    NGX_HTTP_INTENT_STORE_SWEEP_WAITING,            /* for the next attempt */
    NGX_HTTP_INTENT_STORE_SWEEP_ASKING,
    NGX_HTTP_INTENT_STORE_SWEEP_HELD,
    NGX_HTTP_INTENT_STORE_SWEEP_ENDED               /* this worker drains */
} ngx_http_intent_store_sweep_step_e;


typedef struct {
    ngx_http_intent_pg_t            *pg;
    ngx_log_t                       *log;
    ngx_uint_t                       step;
    ngx_uint_t                       draining;
    ngx_http_intent_store_task_t    *tasks[NGX_HTTP_INTENT_STORE_SWEEP_TASKS];
    ngx_uint_t                       ntasks;
    ngx_event_t                      timer;
    ngx_connection_t                 dumb;      /* the events' own data */
    ngx_http_intent_pg_query_t       query;
} ngx_http_intent_store_sweep_t;


static void ngx_http_intent_store_sweep_task(
    ngx_http_intent_store_task_t *task);
static void ngx_http_intent_store_sweep_state(ngx_http_intent_pg_t *pg,
    ngx_uint_t up, void *data);
static void ngx_http_intent_store_sweep_wait(void);
static void ngx_http_intent_store_sweep_ask(ngx_event_t *ev);
static void ngx_http_intent_store_sweep_asked(ngx_http_intent_pg_query_t *q,
    ngx_int_t rc, PGresult *res);
static void ngx_http_intent_store_sweep_run(ngx_event_t *ev);
static void ngx_http_intent_store_sweep_stop(void);
static void ngx_http_intent_store_sweep_drain(void *data);
static void ngx_http_intent_store_sweep_unlock(void);
static void ngx_http_intent_store_sweep_unlocked(
    ngx_http_intent_pg_query_t *q, ngx_int_t rc, PGresult *res);


static ngx_http_intent_pg_stmt_t  ngx_http_intent_store_sweep_lock_stmt = {
    "sweep_lock",
    "SELECT pg_try_advisory_lock(" NGX_HTTP_INTENT_STORE_SWEEP_LOCK ")",
    0, { 0 }
};


static ngx_http_intent_pg_stmt_t  ngx_http_intent_store_sweep_unlock_stmt = {
    "sweep_unlock",
    "SELECT pg_advisory_unlock(" NGX_HTTP_INTENT_STORE_SWEEP_LOCK ")",
    0, { 0 }
};


static ngx_http_intent_store_sweep_t  ngx_http_intent_store_sweep;


ngx_int_t
ngx_http_intent_store_sweep_init(ngx_http_intent_store_worker_t *w)
{
    ngx_http_intent_store_sweep_t  *sw;

    sw = &ngx_http_intent_store_sweep;

    ngx_memzero(sw, sizeof(ngx_http_intent_store_sweep_t));

    sw->log = w->log;
    sw->dumb.fd = (ngx_socket_t) -1;

    sw->timer.handler = ngx_http_intent_store_sweep_ask;
    sw->timer.data = &sw->dumb;
    sw->timer.log = w->log;
    sw->timer.cancelable = 1;

    ngx_http_intent_store_sweep_task(&ngx_http_intent_store_expire);
    ngx_http_intent_store_sweep_task(&ngx_http_intent_store_untold);

    if (w->conf->retention) {
        ngx_http_intent_store_sweep_task(&ngx_http_intent_store_retention);
    }

    sw->pg = ngx_http_intent_store_executor(ngx_http_intent_store_sweep_state,
                                            sw);
    if (sw->pg == NULL) {
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
    return ngx_http_intent_store_sweep.pg;
}


/* ---- the lock ---- */


static void
ngx_http_intent_store_sweep_state(ngx_http_intent_pg_t *pg, ngx_uint_t up,
    void *data)
{
    ngx_http_intent_store_sweep_t *sw = data;

    if (sw->step == NGX_HTTP_INTENT_STORE_SWEEP_ENDED) {
        return;
    }

    if (up) {
        ngx_http_intent_store_sweep_wait();
        return;
    }

    if (sw->step == NGX_HTTP_INTENT_STORE_SWEEP_HELD) {
        ngx_log_error(NGX_LOG_NOTICE, sw->log, 0,
                      "intent sweeper: this worker is it no longer, its "
                      "session was lost");
    }

    sw->step = sw->draining ? NGX_HTTP_INTENT_STORE_SWEEP_ENDED
                            : NGX_HTTP_INTENT_STORE_SWEEP_AWAY;

    ngx_http_intent_store_sweep_stop();
}


/* not all at once: the workers of a host come up together */

static void
ngx_http_intent_store_sweep_wait(void)
{
    ngx_msec_t                      delay;
    ngx_http_intent_store_sweep_t  *sw;

    sw = &ngx_http_intent_store_sweep;

    delay = sw->step == NGX_HTTP_INTENT_STORE_SWEEP_AWAY
            ? (ngx_msec_t) ngx_random() % 100 + 1
            : NGX_HTTP_INTENT_STORE_SWEEP_RETRY
              * (80 + (ngx_msec_t) ngx_random() % 41) / 100;

    sw->step = NGX_HTTP_INTENT_STORE_SWEEP_WAITING;

    ngx_add_timer(&sw->timer, delay);
}


static void
ngx_http_intent_store_sweep_ask(ngx_event_t *ev)
{
    ngx_http_intent_store_sweep_t  *sw;

    sw = &ngx_http_intent_store_sweep;

    ngx_memzero(&sw->query, sizeof(ngx_http_intent_pg_query_t));

    sw->query.stmt = &ngx_http_intent_store_sweep_lock_stmt;
    sw->query.handler = ngx_http_intent_store_sweep_asked;

    if (ngx_http_intent_pg_query(sw->pg, &sw->query) == NGX_OK) {
        sw->step = NGX_HTTP_INTENT_STORE_SWEEP_ASKING;
    }

    /* else it was lost a moment ago, and that will be told */
}


static void
ngx_http_intent_store_sweep_asked(ngx_http_intent_pg_query_t *q, ngx_int_t rc,
    PGresult *res)
{
    ngx_uint_t                      i;
    ngx_http_intent_store_sweep_t  *sw;

    sw = &ngx_http_intent_store_sweep;

    if (rc == NGX_OK && ngx_http_intent_pg_bool(res, 0, 0)) {

        sw->step = NGX_HTTP_INTENT_STORE_SWEEP_HELD;

        if (sw->draining) {
            ngx_http_intent_store_sweep_unlock();
            return;
        }

        ngx_log_error(NGX_LOG_NOTICE, sw->log, 0,
                      "intent sweeper: this worker is it");

        for (i = 0; i < sw->ntasks; i++) {
            if (!sw->tasks[i]->running) {
                ngx_add_timer(&sw->tasks[i]->timer, 1);
            }
        }

        return;
    }

    if (sw->draining) {
        sw->step = NGX_HTTP_INTENT_STORE_SWEEP_ENDED;
        return;
    }

    if (rc == NGX_OK || rc == NGX_ERROR) {
        ngx_http_intent_store_sweep_wait();
    }

    /* else the session was lost, and that will be told */
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

    if (sw->step != NGX_HTTP_INTENT_STORE_SWEEP_HELD) {
        return;
    }

    if (sw->draining) {
        ngx_http_intent_store_sweep_unlock();
        return;
    }

    ngx_add_timer(&task->timer, delay);
}


static void
ngx_http_intent_store_sweep_stop(void)
{
    ngx_uint_t                      i;
    ngx_http_intent_store_sweep_t  *sw;

    sw = &ngx_http_intent_store_sweep;

    if (sw->timer.timer_set) {
        ngx_del_timer(&sw->timer);
    }

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

    switch (sw->step) {

    case NGX_HTTP_INTENT_STORE_SWEEP_HELD:
        ngx_http_intent_store_sweep_unlock();
        break;

    case NGX_HTTP_INTENT_STORE_SWEEP_ASKING:
        break;

    default:
        sw->step = NGX_HTTP_INTENT_STORE_SWEEP_ENDED;
    }
}


/* when what is under way has ended; each end comes here */

static void
ngx_http_intent_store_sweep_unlock(void)
{
    ngx_uint_t                      i;
    ngx_http_intent_store_sweep_t  *sw;

    sw = &ngx_http_intent_store_sweep;

    for (i = 0; i < sw->ntasks; i++) {
        if (sw->tasks[i]->running) {
            return;
        }
    }

    sw->step = NGX_HTTP_INTENT_STORE_SWEEP_ENDED;

    ngx_memzero(&sw->query, sizeof(ngx_http_intent_pg_query_t));

    sw->query.stmt = &ngx_http_intent_store_sweep_unlock_stmt;
    sw->query.handler = ngx_http_intent_store_sweep_unlocked;

    (void) ngx_http_intent_pg_query(sw->pg, &sw->query);
}


/* whatever came of it: with the session, the lock is free as well */

static void
ngx_http_intent_store_sweep_unlocked(ngx_http_intent_pg_query_t *q,
    ngx_int_t rc, PGresult *res)
{
    ngx_log_error(NGX_LOG_INFO, ngx_http_intent_store_sweep.log, 0,
                  "intent sweeper: given up by this worker");
}
