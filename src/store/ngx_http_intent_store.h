
/*
 * The record of everything, in Postgres.  All calls return at once; what
 * they do is told to a handler later.  A handler is called exactly once for
 * each call that returned NGX_OK, never before that call has returned.
 */


#ifndef _NGX_HTTP_INTENT_STORE_H_INCLUDED_
#define _NGX_HTTP_INTENT_STORE_H_INCLUDED_


#include "ngx_http_intent.h"


/* is there an intent_postgres?  during and after configuration */
ngx_uint_t ngx_http_intent_store_configured(ngx_conf_t *cf);

/* is at least one session of this worker up? */
ngx_uint_t ngx_http_intent_store_is_up(void);


/* ---- new intents ---- */

/*
 * A record function for ngx_http_intent_transition() (NEW to pending):
 * gathers the intents of all transitions under way into one INSERT.  It
 * declines when the queue is full or no session has been up for a while.  A
 * lost session is waited for up to the timeout, and the batch is sent again:
 * the ids make that safe.  If it then is still not known whether the intents
 * were kept, rc is NGX_ABORT and they are revoked as soon as Postgres is
 * back, unless they have begun to execute.  rc NGX_DECLINED: Postgres was
 * away all the time, or could not do it now; NGX_ERROR: it refused the intent
 * itself, and would again.
 */
ngx_int_t ngx_http_intent_store_create(ngx_http_intent_transition_t *t);


/* what an intent turned out to be that was there already */
typedef enum {
    NGX_HTTP_INTENT_DUPLICATE_NONE = 0,
    NGX_HTTP_INTENT_DUPLICATE_KEY,      /* same key, same request */
    NGX_HTTP_INTENT_DUPLICATE_OTHER,    /* same key, another request */
    NGX_HTTP_INTENT_DUPLICATE_DIGEST    /* the same signed intent */
} ngx_http_intent_duplicate_e;


/*
 * The data of a change from NEW, NULL for an intent that is nobody's
 * duplicate: what makes it the same as another.  Zeroed before it is filled;
 * the strings are the caller's and live until the transition's handler was
 * called.  Where a change is refused, duplicate says why, and first is the
 * intent that is kept, as it was when it was created (pending, version 1), its
 * strings from pool.
 */
typedef struct {
    ngx_str_t                   scope;          /* whose key it is:
                                                   "user:alice",
                                                   "address:127.0.0.1" */
    ngx_str_t                   key;            /* empty: none */
    u_char                      fingerprint[32]; /* of the request */
    u_char                     *digest;         /* EIP-712, 32 bytes; NULL:
                                                   not signed */
    ngx_pool_t                 *pool;

    ngx_uint_t                  duplicate;      /* ..._duplicate_e */
    ngx_http_intent_t           first;
} ngx_http_intent_admission_t;


/*
 * rc NGX_OK: duplicate of each admission says whether there is an intent of
 * its key, and first what it was; NGX_ERROR: Postgres could not say so now.
 */
typedef void (*ngx_http_intent_store_recall_pt)(void *data, ngx_int_t rc);

/*
 * Looks for the intents of n keys (1 at the least) at once, of requests that
 * are none themselves any more; what is found is not revoked.  Digests are not
 * looked for.  The array lives as long as the pool of the first.  Returns as
 * get does.
 */
ngx_int_t ngx_http_intent_store_recall(
    ngx_http_intent_admission_t **admissions, ngx_uint_t n,
    ngx_http_intent_store_recall_pt handler, void *data);


/* ---- changes ---- */

/*
 * A record function for changes of a pending intent that no lane makes
 * (cancelled, expired): written where the intent is still pending and of the
 * version it was read with, else the change is refused.  A lane that has
 * claimed it finds out when it saves its transaction, which then is not saved.
 * One change waits for whoever has the row at this moment, for a second at
 * most; of several, those whose row somebody has are refused.  rc as of any transition, and
 * NGX_DECLINED where the session was lost before anything was sent.
 */
ngx_int_t ngx_http_intent_store_update(ngx_http_intent_transition_t *t);


/* ---- reading ---- */

/*
 * rc NGX_OK: in is the intent, it and its strings from the caller's pool;
 * NGX_DECLINED: there is none; NGX_ERROR: Postgres could not be asked.
 */
typedef void (*ngx_http_intent_store_get_pt)(void *data, ngx_int_t rc,
    ngx_http_intent_t *in);

/*
 * Reads one intent.  pool must live until handler was called.  NGX_DECLINED:
 * Postgres has been away for a while (shortly, it is waited for), or too many
 * wait already; NGX_ERROR: id is not a UUID, or no memory; handler is
 * not called then.
 */
ngx_int_t ngx_http_intent_store_get(ngx_str_t *id, ngx_pool_t *pool,
    ngx_http_intent_store_get_pt handler, void *data);


typedef struct {
    ngx_str_t                   user_id;        /* never empty */
    ngx_uint_t                  statuses;       /* bits, 1 << status; 0: any */
    ngx_str_t                   before;         /* an id, those older than it;
                                                   empty: from the newest */
    ngx_uint_t                  limit;
    int64_t                     since;          /* milliseconds, of
                                                   ..._store_changed() only */
} ngx_http_intent_list_t;

/* rc as for get, without NGX_DECLINED; an array of ngx_http_intent_t */
typedef void (*ngx_http_intent_store_list_pt)(void *data, ngx_int_t rc,
    ngx_array_t *intents);

/*
 * A user's intents, newest first, whenever they have changed; returns as get
 * does; *list is copied.
 */
ngx_int_t ngx_http_intent_store_list(ngx_http_intent_list_t *list,
    ngx_pool_t *pool, ngx_http_intent_store_list_pt handler, void *data);


/*
 * The ids of those that have changed since list->since, newest first: limit at
 * the most, from among the limit newest of each of list->statuses.  ids is an
 * array of u_char[16]; complete 0: there are more of these statuses, so there
 * may be more that have changed.  Returns as get does; *list is copied.
 */
typedef void (*ngx_http_intent_store_changed_pt)(void *data, ngx_int_t rc,
    ngx_array_t *ids, ngx_uint_t complete);

ngx_int_t ngx_http_intent_store_changed(ngx_http_intent_list_t *list,
    ngx_pool_t *pool, ngx_http_intent_store_changed_pt handler, void *data);


/* an intent, and the version of it that is known; 0: none is */
typedef struct {
    ngx_str_t                   id;
    ngx_uint_t                  version;
} ngx_http_intent_known_t;

/*
 * Of n intents those that are of a later version, in any order; returns as get
 * does; *known is copied.
 */
ngx_int_t ngx_http_intent_store_newer(ngx_http_intent_known_t *known,
    ngx_uint_t n, ngx_pool_t *pool, ngx_http_intent_store_list_pt handler,
    void *data);


extern ngx_module_t  ngx_http_intent_store_module;


#endif /* _NGX_HTTP_INTENT_STORE_H_INCLUDED_ */
