
/*
 * The intent record, its states and its one transition function, ids, the
 * shared-memory statistics, and the life of a worker.  Every room includes
 * this header; it includes no other room's.
 */


#ifndef _NGX_HTTP_INTENT_H_INCLUDED_
#define _NGX_HTTP_INTENT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


#define NGX_HTTP_INTENT_VERSION      "0.1.0"

#define NGX_HTTP_INTENT_ID_LEN       36      /* a UUID in text form */
#define NGX_HTTP_INTENT_TIME_LEN     (sizeof("1970-01-01T00:00:00.000Z") - 1)


/* ---- the record ---- */

typedef enum {
    NGX_HTTP_INTENT_PENDING = 0,
    NGX_HTTP_INTENT_EXECUTING,
    NGX_HTTP_INTENT_SUCCESS,
    NGX_HTTP_INTENT_FAILED,
    NGX_HTTP_INTENT_EXPIRED,
    NGX_HTTP_INTENT_CANCELLED,
    NGX_HTTP_INTENT_STATUSES,

    /* where an intent comes from that did not exist before */
    NGX_HTTP_INTENT_NEW = NGX_HTTP_INTENT_STATUSES
} ngx_http_intent_status_e;


typedef struct {
    ngx_str_t                   id;             /* 36 characters, lower case */
    ngx_str_t                   type;
    ngx_str_t                   chain;
    ngx_str_t                   user_id;        /* empty: null */
    ngx_str_t                   params;         /* a JSON object, canonical */
    ngx_str_t                   tx_hash;        /* "0x…", empty: null */
    ngx_str_t                   gas_cost;       /* wei, decimal; empty: null */
    ngx_str_t                   error;          /* empty: null */

    /* who is told of its changes: the uri of an intent_webhook; not in the
       JSON */
    ngx_str_t                   webhook;        /* empty: nobody */

    /* of a signed intent, for its call; not in the JSON */
    ngx_str_t                   nonce;          /* decimal; empty: null */
    ngx_str_t                   signature;      /* bytes; empty: null */

    ngx_uint_t                  status;         /* ngx_http_intent_status_e */
    ngx_uint_t                  attempts;
    ngx_uint_t                  confirmations;
    ngx_uint_t                  version;        /* 1 when created */

    int64_t                     block_number;   /* -1: null */
    int64_t                     gas_used;       /* -1: null */

    /* milliseconds since the Unix epoch */
    int64_t                     created_at;
    int64_t                     updated_at;
    int64_t                     expires_at;     /* -1: null */
} ngx_http_intent_t;


/* all null, all empty, status NGX_HTTP_INTENT_NEW, version 0 */
void ngx_http_intent_clear(ngx_http_intent_t *in);

/* the word the API uses; NULL-safe for any number: "unknown" */
ngx_str_t *ngx_http_intent_status_name(ngx_uint_t status);

/* NGX_ERROR for an unknown word */
ngx_int_t ngx_http_intent_status_parse(ngx_str_t *name);

/* success, failed, expired, cancelled */
ngx_uint_t ngx_http_intent_is_final(ngx_uint_t status);

/* what the JSON of an intent begins with instead of "{" where it is an event */
#define NGX_HTTP_INTENT_EVENT  "{\"event\":\"intentUpdate\","

/*
 * The JSON of an intent exactly as GET answers it, from the pool.  An empty
 * string (data NULL): no memory.
 */
ngx_str_t ngx_http_intent_json(ngx_pool_t *pool, ngx_http_intent_t *in);

/* RFC 3339, UTC, milliseconds; writes NGX_HTTP_INTENT_TIME_LEN bytes */
u_char *ngx_http_intent_time(u_char *p, int64_t msec);

/* milliseconds since the epoch, from the cached time */
int64_t ngx_http_intent_now(void);


/* ---- ids: UUIDv7, RFC 9562 ---- */

/* writes NGX_HTTP_INTENT_ID_LEN bytes; NGX_ERROR: no random numbers */
ngx_int_t ngx_http_intent_id(u_char *out);

/* text of either case into 16 bytes; NGX_ERROR: not a UUID */
ngx_int_t ngx_http_intent_id_parse(u_char *data, size_t len, u_char out[16]);

/* 16 bytes into NGX_HTTP_INTENT_ID_LEN characters */
void ngx_http_intent_id_format(u_char in[16], u_char *out);


/* ---- transitions ---- */

/*
 * One change of one intent.  The caller sets intent and to, and the fields
 * of *intent that change with it (tx_hash, error, …); status, version and
 * updated_at are the transition's to set.  to may be the status the intent
 * already has: a change of fields only.
 */
typedef struct {
    ngx_http_intent_t          *intent;
    ngx_uint_t                  to;
    ngx_uint_t                  from;           /* set by the transition */
    int64_t                     was_updated_at; /* private */
    ngx_uint_t                  refused;        /* set by record: Postgres
                                                   holds another version of
                                                   it, nothing was written */
    void                       *data;           /* the record function's;
                                                   NULL for most */
} ngx_http_intent_change_t;


typedef struct ngx_http_intent_transition_s  ngx_http_intent_transition_t;

struct ngx_http_intent_transition_s {
    ngx_http_intent_change_t   *changes;
    ngx_uint_t                  nchanges;

    /*
     * Starts to write all changes in one commit and returns NGX_OK, or
     * NGX_DECLINED where it cannot take them now; calls
     * ngx_http_intent_transition_done() exactly once if it returned NGX_OK,
     * never before it has returned.
     */
    ngx_int_t                 (*record)(ngx_http_intent_transition_t *t);
    void                       *record_data;

    /*
     * rc NGX_OK: committed, but for changes marked refused; NGX_ERROR:
     * nothing was written, the intents are as they were before;
     * NGX_ABORT: not known, the intents are as they were before and must be
     * read again before they are used.
     */
    void                      (*handler)(ngx_http_intent_transition_t *t,
                                         ngx_int_t rc);
    void                       *data;
    ngx_log_t                  *log;
};


/*
 * The one way in which a status changes: checks every change against the
 * status machine, has the store commit them, and only then tells the
 * observers (cache, metrics, push).  *t, its changes and the intents belong
 * to the caller and must live until handler was called.
 *
 * NGX_OK: handler will be called once.  NGX_DECLINED: the store is full or
 * away, nothing changed, handler is not called.  NGX_ERROR: a change is not
 * in the status machine (a bug, logged as an alert), nothing changed.
 */
ngx_int_t ngx_http_intent_transition(ngx_http_intent_transition_t *t);

void ngx_http_intent_transition_done(ngx_http_intent_transition_t *t,
    ngx_int_t rc);


/* called after the commit of a change; from is NGX_HTTP_INTENT_NEW at birth */
typedef void (*ngx_http_intent_observer_pt)(ngx_http_intent_t *in,
    ngx_uint_t from);

/* during configuration only */
ngx_int_t ngx_http_intent_observe(ngx_conf_t *cf,
    ngx_http_intent_observer_pt observer);


/* ---- what the configuration names ---- */

typedef struct {
    ngx_str_t                   name;
    ngx_str_t                   label;          /* types only */
} ngx_http_intent_name_t;

/*
 * Types, chains and webhooks register here, so that rooms that do not know
 * theirs can list them.  The pointer stays valid for the life of the configuration and
 * label may be set later; NULL: no memory.
 */
ngx_http_intent_name_t *ngx_http_intent_add_type(ngx_conf_t *cf,
    ngx_str_t *name);
ngx_http_intent_name_t *ngx_http_intent_add_chain(ngx_conf_t *cf,
    ngx_str_t *name);

ngx_http_intent_name_t *ngx_http_intent_add_webhook(ngx_conf_t *cf,
    ngx_str_t *uri);

/* arrays of ngx_http_intent_name_t *, complete from postconfiguration on */
ngx_array_t *ngx_http_intent_types(ngx_conf_t *cf);
ngx_array_t *ngx_http_intent_chains(ngx_conf_t *cf);
ngx_array_t *ngx_http_intent_webhooks(ngx_conf_t *cf);

/*
 * A directive's name=value parameters, from args[first] on: NGX_ERROR where a
 * name is given twice, which is logged as an [emerg], without the values.
 */
ngx_int_t ngx_http_intent_conf_unique(ngx_conf_t *cf, ngx_uint_t first);

/* NGX_OK if intent_zone is set, else logs an [emerg] that names who needs it */
ngx_int_t ngx_http_intent_need_zone(ngx_conf_t *cf, char *who);


/* ---- answers ---- */

/* a header of the answer; name and what value points to are not copied */
ngx_int_t ngx_http_intent_add_header(ngx_http_request_t *r, const char *name,
    ngx_str_t *value);


/* ---- statistics in shared memory ---- */

typedef enum {
    NGX_HTTP_INTENT_COUNTER = 0,    /* 64-bit integer */
    NGX_HTTP_INTENT_SUM,            /* a counter in double: wei */
    NGX_HTTP_INTENT_GAUGE,          /* double, one for the host */
    NGX_HTTP_INTENT_HISTOGRAM
} ngx_http_intent_stat_kind_e;


typedef struct {
    ngx_str_t                   family;         /* "intent_retries_total" */
    ngx_str_t                   help;
    ngx_str_t                   labels;         /* "type=\"swap\"", or empty */
    ngx_uint_t                  kind;
    double                     *buckets;        /* upper bounds, ascending */
    ngx_uint_t                  nbuckets;
    ngx_uint_t                  index;          /* private */
} ngx_http_intent_stat_t;


/*
 * During configuration: makes a statistic, or finds the one of the same
 * family and labels.  labels is the inside of the braces, with values taken
 * from the configuration only and already escaped; family, help and buckets
 * must be static.  NULL: no memory.  Without an intent_zone the statistic
 * exists and counts nothing.
 */
ngx_http_intent_stat_t *ngx_http_intent_stat_add(ngx_conf_t *cf,
    ngx_uint_t kind, const char *family, const char *help, ngx_str_t *labels);
ngx_http_intent_stat_t *ngx_http_intent_histogram_add(ngx_conf_t *cf,
    const char *family, const char *help, ngx_str_t *labels, double *buckets,
    ngx_uint_t nbuckets);

/* at run time, from any worker, without a lock */
void ngx_http_intent_stat_inc(ngx_http_intent_stat_t *st, ngx_uint_t n);
void ngx_http_intent_stat_sum(ngx_http_intent_stat_t *st, double v);
void ngx_http_intent_stat_set(ngx_http_intent_stat_t *st, double v);
void ngx_http_intent_stat_observe(ngx_http_intent_stat_t *st, double v);

/* over all workers; of a histogram: the count of observations */
double ngx_http_intent_stat_value(ngx_http_intent_stat_t *st);
/*
 * Cumulative counts of a histogram's buckets, nbuckets + 1 of them (the last
 * is +Inf), and the sum of what was observed.
 */
void ngx_http_intent_stat_histogram(ngx_http_intent_stat_t *st,
    uint64_t *counts, double *sum);

/*
 * All statistics, an array of ngx_http_intent_stat_t *, those of a family
 * next to each other.
 */
ngx_array_t *ngx_http_intent_stats(void);

/* seconds from a monotonic clock, for what intent_*_seconds observe */
double ngx_http_intent_seconds(void);


/* ---- other state in shared memory ---- */

typedef struct {
    ngx_str_t                   key;
    size_t                      size;
    void                       *addr;
} ngx_http_intent_shared_t;

/*
 * During configuration: asks for size bytes of the zone, zeroed when they are
 * made, and the same ones in every worker and after a reload with the same
 * key and size.  addr is NULL until the configuration is taken, and without an
 * intent_zone; whoever may be killed writes there, so it is not trusted, and
 * nothing in it is a lock.  NULL: no memory.
 */
ngx_http_intent_shared_t *ngx_http_intent_shared_add(ngx_conf_t *cf,
    ngx_str_t *key, size_t size);


/* ---- the life of a worker ---- */

/* does this process serve requests?  to be asked in init_process hooks */
ngx_uint_t ngx_http_intent_is_worker(void);

/*
 * handler is called once when the worker begins to exit gracefully (reload,
 * quit, binary upgrade); called in init_process.  What has to go on keeps
 * the process alive with hold and release; after
 * NGX_HTTP_INTENT_DRAIN_TIMEOUT it ends all the same.
 */
#define NGX_HTTP_INTENT_DRAIN_TIMEOUT  30000    /* ms */

typedef void (*ngx_http_intent_drain_pt)(void *data);

ngx_int_t ngx_http_intent_on_drain(ngx_http_intent_drain_pt handler,
    void *data);
void ngx_http_intent_hold(void);
void ngx_http_intent_release(void);


extern ngx_module_t  ngx_http_intent_module;


#endif /* _NGX_HTTP_INTENT_H_INCLUDED_ */
