
/*
 * What the files of src/store share: the sessions of a worker, the columns
 * of an intent, the statistics of what is asked of Postgres.
 */


#ifndef _NGX_HTTP_INTENT_STORE_PRIVATE_H_INCLUDED_
#define _NGX_HTTP_INTENT_STORE_PRIVATE_H_INCLUDED_


#include "ngx_http_intent.h"
#include "ngx_http_intent_store.h"
#include "ngx_http_intent_pg.h"


/*
 * The advisory locks under which the schema changes, and which the sweeper
 * has; lanes have others
 */
#define NGX_HTTP_INTENT_STORE_SCHEMA_LOCK  "7597130064459033971"
#define NGX_HTTP_INTENT_STORE_SWEEP_LOCK   7597130064459033972LL

/* the statuses of a finished intent, as the index intents_finished has them */
#define NGX_HTTP_INTENT_STORE_FINISHED                                        \
    "('success', 'failed', 'expired', 'cancelled')"


/* intent_store_seconds{operation} */
typedef enum {
    NGX_HTTP_INTENT_STORE_CREATE = 0,
    NGX_HTTP_INTENT_STORE_ADMIT,
    NGX_HTTP_INTENT_STORE_DUPLICATE,
    NGX_HTTP_INTENT_STORE_UPDATE,
    NGX_HTTP_INTENT_STORE_GET,
    NGX_HTTP_INTENT_STORE_LIST,
    NGX_HTTP_INTENT_STORE_REVOKE,
    NGX_HTTP_INTENT_STORE_EXPIRE,
    NGX_HTTP_INTENT_STORE_RETENTION,
    NGX_HTTP_INTENT_STORE_LANE,
    NGX_HTTP_INTENT_STORE_CLAIM,
    NGX_HTTP_INTENT_STORE_SAVE,
    NGX_HTTP_INTENT_STORE_RECEIPT,
    NGX_HTTP_INTENT_STORE_WEBHOOKS,
    NGX_HTTP_INTENT_STORE_OPERATIONS
} ngx_http_intent_store_operation_e;


typedef struct {
    ngx_http_intent_pg_conf_t    pg;            /* conninfos NULL: not set */
    ngx_uint_t                   connections;   /* of each worker */
    ngx_http_intent_stat_t      *seconds[NGX_HTTP_INTENT_STORE_OPERATIONS];
    ngx_http_intent_stat_t      *batch_size;
    ngx_http_intent_stat_t      *deleted;
    time_t                       retention;     /* seconds; 0: for ever */
} ngx_http_intent_store_main_conf_t;


/* a general session of this worker */
typedef struct {
    ngx_http_intent_pg_t        *pg;
    ngx_uint_t                   batches;       /* INSERTs under way on it */
} ngx_http_intent_store_session_t;


typedef struct {
    ngx_http_intent_store_main_conf_t  *conf;
    ngx_http_intent_store_session_t    *sessions;
    ngx_uint_t                          nsessions;
    ngx_uint_t                          nup;
    ngx_msec_t                          down_since;  /* while nup is 0 */
    ngx_pool_t                         *pool;
    ngx_log_t                          *log;
} ngx_http_intent_store_worker_t;


/* this process's; NULL where there are no sessions */
ngx_http_intent_store_worker_t *ngx_http_intent_store_worker(void);

/* the session with the fewest queries pending; NULL: none is up */
ngx_http_intent_store_session_t *ngx_http_intent_store_session(void);

/* start is what ngx_http_intent_seconds() said when it was asked */
void ngx_http_intent_store_observe(ngx_uint_t operation, double start);
void ngx_http_intent_store_observe_batch(ngx_uint_t size);

/*
 * The session of the lanes, one of its own in each worker, made when it is
 * first asked for.  state is called for every change of it from then on.  To
 * be called in init_process; NULL: no intent_postgres, or no memory.
 */
ngx_http_intent_pg_t *ngx_http_intent_store_executor(
    ngx_http_intent_pg_state_pt state, void *data);


/* ---- new intents: ngx_http_intent_store_create.c ---- */

ngx_int_t ngx_http_intent_store_create_init(
    ngx_http_intent_store_worker_t *w);
/* a general session came up or was lost */
void ngx_http_intent_store_create_wake(void);


/* ---- what nobody was promised: ngx_http_intent_store_revoke.c ---- */

/*
 * Takes the ids of new intents of which it is not known whether they were
 * kept, and whose clients were told that they may not have been.
 */
void ngx_http_intent_store_revoke(ngx_http_intent_transition_t *t);
/* asks Postgres, if there is something to revoke and a session is up */
void ngx_http_intent_store_revoke_wake(void);
/* says what is left when the process ends */
void ngx_http_intent_store_revoke_exit(void);


/* ---- changes: ngx_http_intent_store_update.c ---- */

/*
 * As ngx_http_intent_store_update(), but a row that somebody has at this
 * moment is not waited for: its change is refused.
 */
ngx_int_t ngx_http_intent_store_update_free(ngx_http_intent_transition_t *t);


/* ---- what may have been changed: ngx_http_intent_store_doubt.c ---- */

/*
 * Takes the changes of a transition whose outcome is not known, before its
 * handler is called: the observers are told later of those that were made.
 */
void ngx_http_intent_store_doubt(ngx_http_intent_transition_t *t);


/* ---- the sweeper: ngx_http_intent_store_sweep.c ---- */

typedef struct ngx_http_intent_store_task_s  ngx_http_intent_store_task_t;

/*
 * What one worker of the fleet does, now and then.  run is called when it is
 * time, in the worker that is the sweeper, and has ended when it, or what it
 * has begun, calls ngx_http_intent_store_task_done(), which it does exactly
 * once and which says when it is time again.
 */
struct ngx_http_intent_store_task_s {
    void                       (*run)(ngx_http_intent_store_task_t *task);
    ngx_event_t                  timer;         /* private */
    ngx_uint_t                   running;       /* private */
};

ngx_int_t ngx_http_intent_store_sweep_init(ngx_http_intent_store_worker_t *w);

/* the session that has the sweeper's lock, for what tasks ask of Postgres */
ngx_http_intent_pg_t *ngx_http_intent_store_sweep_session(void);
void ngx_http_intent_store_task_done(ngx_http_intent_store_task_t *task,
    ngx_msec_t delay);

/* pending intents whose time is over: ngx_http_intent_store_expire.c */
extern ngx_http_intent_store_task_t  ngx_http_intent_store_expire;
/* finished ones that are old: ngx_http_intent_store_retention.c */
extern ngx_http_intent_store_task_t  ngx_http_intent_store_retention;
/* what no webhook was told for weeks: ngx_http_intent_store_webhook.c */
extern ngx_http_intent_store_task_t  ngx_http_intent_store_untold;


/* ---- locks of the fleet: ngx_http_intent_store_lock.c ---- */

/*
 * An advisory lock on the executor session, for what one worker of the fleet
 * does: asked for at the start and every two seconds or so from then on, lost
 * with the session.  handler is told of both, and of nothing once it has
 * released it.
 */
typedef struct {
    int64_t                          key;
    void                           (*handler)(void *data, ngx_uint_t held);
    void                            *data;

    /* private */
    ngx_uint_t                       step;
    ngx_uint_t                       draining;
    ngx_http_intent_pg_t            *pg;
    u_char                           param[8];
    ngx_event_t                      timer;
    ngx_connection_t                 dumb;      /* the event's own data */
    ngx_http_intent_pg_query_t       query;
} ngx_http_intent_store_lock_t;

/* of a text: the same number on any host */
int64_t ngx_http_intent_store_lock_key(u_char *text, size_t len);

/* in init_process; key, handler and data are set, all else zeroed */
ngx_int_t ngx_http_intent_store_lock_init(ngx_http_intent_store_lock_t *lock);

/* gives it up, for good: this worker drains */
void ngx_http_intent_store_lock_release(ngx_http_intent_store_lock_t *lock);


/* ---- reads that wait for a session: ngx_http_intent_store_read.c ---- */

typedef struct ngx_http_intent_store_read_s  ngx_http_intent_store_read_t;

/* rc and res as for a query's handler; NGX_DECLINED also: it waited too long */
typedef void (*ngx_http_intent_store_read_pt)(
    ngx_http_intent_store_read_t *rd, ngx_int_t rc, PGresult *res);

/* the query with its statement and values, and the handler are the caller's */
struct ngx_http_intent_store_read_s {
    ngx_http_intent_pg_query_t       query;
    ngx_http_intent_store_read_pt    handler;
    void                            *data;
    ngx_queue_t                      queue;     /* private */
    ngx_msec_t                       deadline;  /* private */
    ngx_uint_t                       retried;   /* private */
};

void ngx_http_intent_store_read_init(ngx_http_intent_store_worker_t *w);
/* NGX_OK: handler will be called once, later; NGX_DECLINED: not */
ngx_int_t ngx_http_intent_store_read(ngx_http_intent_store_read_t *rd);
/* a general session came up or was lost */
void ngx_http_intent_store_read_wake(void);


/* ---- rows ---- */

/* what ngx_http_intent_store_read_row() expects, in this order, in binary */
#define NGX_HTTP_INTENT_STORE_COLUMNS                                         \
    "id, type, status, chain, user_id, params::text, attempts, tx_hash, "     \
    "block_number, confirmations, gas_used, gas_cost::text, error, "          \
    "version, created_at, updated_at, expires_at, signature, nonce::text, "   \
    "webhook"

#define NGX_HTTP_INTENT_STORE_NCOLUMNS  20

/*
 * Fills *in from a row whose first columns are those, strings from pool.
 * NGX_ERROR: no memory, or a row that does not make sense (logged).
 */
ngx_int_t ngx_http_intent_store_read_row(PGresult *res, int row,
    ngx_pool_t *pool, ngx_http_intent_t *in);


/* ---- configuration ---- */

/*
 * Makes of what the user wrote the conninfos to be tried in turn, one for
 * each address, so that no name is left to resolve.  NULL: wrong, or no
 * memory, logged.
 */
ngx_array_t *ngx_http_intent_store_conninfos(ngx_conf_t *cf,
    ngx_str_t *conninfo);

/* an ngx_http_intent_pg_setup_pt that creates or upgrades the schema */
ngx_int_t ngx_http_intent_store_schema(ngx_http_intent_pg_setup_t *s,
    PGresult *res, ngx_log_t *log);


#endif /* _NGX_HTTP_INTENT_STORE_PRIVATE_H_INCLUDED_ */
