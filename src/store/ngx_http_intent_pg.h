
/*
 * A Postgres session in the event loop: asynchronous connect, pipeline mode,
 * statements prepared on first use, time limits, reconnection with backoff.
 * Private to src/store: other rooms go through ngx_http_intent_store.h.
 */


#ifndef _NGX_HTTP_INTENT_PG_H_INCLUDED_
#define _NGX_HTTP_INTENT_PG_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <libpq-fe.h>


#define NGX_HTTP_INTENT_PG_MAX_PARAMS  32


/* type Oids of pg_type.dat, which never change */
#define NGX_HTTP_INTENT_PG_BOOL         16
#define NGX_HTTP_INTENT_PG_BYTEA        17
#define NGX_HTTP_INTENT_PG_INT8         20
#define NGX_HTTP_INTENT_PG_INT4         23
#define NGX_HTTP_INTENT_PG_TEXT         25
#define NGX_HTTP_INTENT_PG_UUID         2950
#define NGX_HTTP_INTENT_PG_TIMESTAMPTZ  1184
#define NGX_HTTP_INTENT_PG_BYTEA_ARRAY  1001
#define NGX_HTTP_INTENT_PG_INT8_ARRAY   1016
#define NGX_HTTP_INTENT_PG_TEXT_ARRAY   1009
#define NGX_HTTP_INTENT_PG_UUID_ARRAY   2951
#define NGX_HTTP_INTENT_PG_TIMESTAMPTZ_ARRAY  1185


/* static: the text of a statement and the types of its parameters */
typedef struct {
    const char                      *name;
    const char                      *sql;
    ngx_uint_t                       nparams;
    Oid                              types[NGX_HTTP_INTENT_PG_MAX_PARAMS];
} ngx_http_intent_pg_stmt_t;


typedef struct ngx_http_intent_pg_query_s  ngx_http_intent_pg_query_t;

/*
 * rc NGX_OK: res holds the rows, in binary form.  NGX_ERROR: the server
 * refused the statement, it changed nothing, res says why.  NGX_ABORT: the
 * session was lost or the time was up after the statement had been sent, so
 * that its outcome is not known; res NULL.  NGX_DECLINED: it was never sent;
 * res NULL.  res is cleared after the handler returns.
 */
typedef void (*ngx_http_intent_pg_query_pt)(ngx_http_intent_pg_query_t *q,
    ngx_int_t rc, PGresult *res);

/*
 * Each query is a transaction of its own (a Sync follows each), and NGX_OK is
 * said only after the answer to that Sync: then it is committed.  The memory,
 * and that of the values, belongs to the caller, zeroed before it is filled,
 * and must live until handler was called, which happens exactly once for each
 * query that ngx_http_intent_pg_query() took, never from within that call.
 * Queries of a session are answered in the order in which they were given,
 * but for one whose prepared statement the server has lost: it is prepared
 * and run again, behind the others.
 */
struct ngx_http_intent_pg_query_s {
    ngx_queue_t                      queue;      /* private */
    ngx_http_intent_pg_stmt_t       *stmt;
    const char                      *values[NGX_HTTP_INTENT_PG_MAX_PARAMS];
    int                              lengths[NGX_HTTP_INTENT_PG_MAX_PARAMS];
    ngx_http_intent_pg_query_pt      handler;
    void                            *data;
    ngx_msec_t                       deadline;   /* private */
    unsigned                         preparing:1; /* private */
    unsigned                         retried:1;  /* private */
};


typedef struct {
    ngx_uint_t                       step;       /* the hook's own, 0 first */
    ngx_uint_t                       version;    /* the hook's own */
    const char                      *sql;        /* what to run next */
    ngx_uint_t                       slow;       /* it may take a minute */
} ngx_http_intent_pg_setup_t;

/*
 * What a fresh session runs before it is up, outside of pipeline mode, where
 * one text may hold several statements.  Called with res NULL first, then
 * with the last result of each text, which may be an error.  NGX_AGAIN: run
 * s->sql and call again; NGX_OK: that was all; NGX_ERROR: the session is of
 * no use (the hook has logged why), another is tried later.
 */
typedef ngx_int_t (*ngx_http_intent_pg_setup_pt)(
    ngx_http_intent_pg_setup_t *s, PGresult *res, ngx_log_t *log);


typedef struct {
    /* each a NUL-terminated conninfo with one hostaddr or socket directory */
    ngx_array_t                     *conninfos;  /* of char * */
    ngx_msec_t                       timeout;    /* of connect, of a query */
    ngx_http_intent_pg_setup_pt      setup;      /* may be NULL */
} ngx_http_intent_pg_conf_t;


typedef struct ngx_http_intent_pg_s  ngx_http_intent_pg_t;

/* up: 1 when the session is ready for queries, 0 when it was lost */
typedef void (*ngx_http_intent_pg_state_pt)(ngx_http_intent_pg_t *pg,
    ngx_uint_t up, void *data);

/*
 * Makes a session and starts to connect; tries again for ever, with backoff
 * and jitter.  state may be NULL.  When a session is lost, first every query
 * on it gets its answer (NGX_ABORT or NGX_DECLINED), then state is called.
 * name is for the log: "store", "executor".
 */
ngx_http_intent_pg_t *ngx_http_intent_pg_create(ngx_pool_t *pool,
    ngx_http_intent_pg_conf_t *conf, const char *name,
    ngx_http_intent_pg_state_pt state, void *data);

/* NGX_DECLINED while the session is not up: handler is not called then */
ngx_int_t ngx_http_intent_pg_query(ngx_http_intent_pg_t *pg,
    ngx_http_intent_pg_query_t *q);

ngx_uint_t ngx_http_intent_pg_is_up(ngx_http_intent_pg_t *pg);

/*
 * What the server's clock says now, in milliseconds since the epoch, at most
 * one round trip late; of a session that is up.
 */
int64_t ngx_http_intent_pg_server_time(ngx_http_intent_pg_t *pg);

/* queries taken and not yet answered */
ngx_uint_t ngx_http_intent_pg_pending(ngx_http_intent_pg_t *pg);

/*
 * Closes the session and does not open it again; for exit_process.  No
 * handler is called for what was pending.
 */
void ngx_http_intent_pg_close(ngx_http_intent_pg_t *pg);

/*
 * Drops the session now and connects again: what held its locks is lost.
 * Handlers and state are called later, not from within.
 */
void ngx_http_intent_pg_reset(ngx_http_intent_pg_t *pg);


/* ---- parameters and results, binary form ---- */

/*
 * Set parameter n; copies go to pool; NGX_ERROR: no memory.  The array
 * functions take count elements; see each.
 */
ngx_int_t ngx_http_intent_pg_param_int8(ngx_http_intent_pg_query_t *q,
    ngx_uint_t n, ngx_pool_t *pool, int64_t v);
/* milliseconds since the Unix epoch */
ngx_int_t ngx_http_intent_pg_param_time(ngx_http_intent_pg_query_t *q,
    ngx_uint_t n, ngx_pool_t *pool, int64_t msec);
/* text, bytea, uuid (16 bytes); not copied; data NULL: null */
void ngx_http_intent_pg_param_bytes(ngx_http_intent_pg_query_t *q,
    ngx_uint_t n, u_char *data, size_t len);

/*
 * An array parameter is built in a pool: begin, one call for each element,
 * then set.  The bytes are copied.  size_hint: of all elements, with 4 bytes
 * for the length of each; more than that grows by copying.
 */
typedef struct {
    ngx_array_t                      bytes;      /* of u_char, private */
    ngx_uint_t                       count;
    ngx_uint_t                       nulls;
    Oid                              element;
} ngx_http_intent_pg_array_t;

ngx_int_t ngx_http_intent_pg_array_begin(ngx_http_intent_pg_array_t *a,
    ngx_pool_t *pool, Oid element, size_t size_hint);
ngx_int_t ngx_http_intent_pg_array_int8(ngx_http_intent_pg_array_t *a,
    int64_t v);
ngx_int_t ngx_http_intent_pg_array_time(ngx_http_intent_pg_array_t *a,
    int64_t msec);
ngx_int_t ngx_http_intent_pg_array_bytes(ngx_http_intent_pg_array_t *a,
    u_char *data, size_t len);
ngx_int_t ngx_http_intent_pg_array_null(ngx_http_intent_pg_array_t *a);
void ngx_http_intent_pg_param_array(ngx_http_intent_pg_query_t *q,
    ngx_uint_t n, ngx_http_intent_pg_array_t *a);

/*
 * A field of a row; nothing is copied, a null gives the value named.  int2,
 * int4 and int8 are told apart by their length.
 */
int64_t ngx_http_intent_pg_int8(PGresult *res, int row, int col,
    int64_t null);
/* of a boolean: 1 or 0; null is 0 */
ngx_uint_t ngx_http_intent_pg_bool(PGresult *res, int row, int col);
/* milliseconds since the epoch; infinity gives null, too */
int64_t ngx_http_intent_pg_time(PGresult *res, int row, int col,
    int64_t null);
/* len 0 and data NULL for null */
ngx_str_t ngx_http_intent_pg_bytes(PGresult *res, int row, int col);

/*
 * SQLSTATE and message of an error result, for the log; never NULL.  Without
 * the server's DETAIL, which quotes whole rows.
 */
const char *ngx_http_intent_pg_sqlstate(PGresult *res);
const char *ngx_http_intent_pg_message(PGresult *res);


#endif /* _NGX_HTTP_INTENT_PG_H_INCLUDED_ */
