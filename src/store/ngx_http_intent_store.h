
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


/* ---- reading ---- */

/*
 * rc NGX_OK: in holds the intent, its strings from the caller's pool;
 * NGX_DECLINED: there is none; NGX_ERROR: Postgres could not be asked.
 */
typedef void (*ngx_http_intent_store_get_pt)(void *data, ngx_int_t rc,
    ngx_http_intent_t *in);

/*
 * Reads one intent.  pool must live until handler was called.  NGX_DECLINED:
 * no session is up, NGX_ERROR: id is not a UUID, or no memory; handler is
 * not called then.
 */
ngx_int_t ngx_http_intent_store_get(ngx_str_t *id, ngx_pool_t *pool,
    ngx_http_intent_store_get_pt handler, void *data);


extern ngx_module_t  ngx_http_intent_store_module;


#endif /* _NGX_HTTP_INTENT_STORE_H_INCLUDED_ */
