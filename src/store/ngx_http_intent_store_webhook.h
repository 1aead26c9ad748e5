
/*
 * What is to be told to webhooks: the table intent_webhooks, into which every
 * change of an intent with a webhook comes in the commit of that change, and
 * from which it goes when it was told.  For src/webhook.
 */


#ifndef _NGX_HTTP_INTENT_STORE_WEBHOOK_H_INCLUDED_
#define _NGX_HTTP_INTENT_STORE_WEBHOOK_H_INCLUDED_


#include "ngx_http_intent.h"


typedef struct ngx_http_intent_store_webhook_s
    ngx_http_intent_store_webhook_t;

/*
 * held 1: this worker is the one of the fleet that tells this webhook, 0: it
 * is not any more, its session was lost.
 */
typedef void (*ngx_http_intent_store_webhook_held_pt)(void *data,
    ngx_uint_t held);

/* up 1: statements can be run */
typedef void (*ngx_http_intent_store_webhook_up_pt)(void *data,
    ngx_uint_t up);

/*
 * In init_process; *uri lives as long as the process.  NULL: no
 * intent_postgres, or no memory.
 */
ngx_http_intent_store_webhook_t *ngx_http_intent_store_webhook_create(
    ngx_str_t *uri, ngx_http_intent_store_webhook_held_pt held,
    ngx_http_intent_store_webhook_up_pt up, void *data);

/* this worker drains and has ended: another one may begin */
void ngx_http_intent_store_webhook_release(
    ngx_http_intent_store_webhook_t *wh);


/* ---- statements: of each kind one at a time ---- */

typedef struct ngx_http_intent_store_told_s  ngx_http_intent_store_told_t;

/*
 * rc NGX_OK: rows holds n of them, during the call; else NGX_ERROR, and the
 * session may have been lost.
 */
typedef void (*ngx_http_intent_store_webhook_rows_pt)(void *data,
    ngx_int_t rc, void *rows, ngx_uint_t n);
typedef void (*ngx_http_intent_store_webhook_pt)(void *data, ngx_int_t rc,
    ngx_uint_t n);


/* rows that are read in one go */
#define NGX_HTTP_INTENT_STORE_WEBHOOK_BATCH  64

/* with so much in their params, no more are read in that go */
#define NGX_HTTP_INTENT_STORE_WEBHOOK_BYTES  1048576

typedef enum {
    NGX_HTTP_INTENT_STORE_WEBHOOK_DUE = 0,  /* a batch of what is due */
    NGX_HTTP_INTENT_STORE_WEBHOOK_NEXT      /* one of it */
} ngx_http_intent_store_webhook_which_e;

/*
 * What is to be told next: of each intent the lowest version that is left,
 * without the intents whose n ids (of 16 bytes each) are given.  NGX_OK:
 * handler will be called once, later; else not.
 */
ngx_int_t ngx_http_intent_store_webhook_fetch(
    ngx_http_intent_store_webhook_t *wh, ngx_uint_t which, u_char *ids,
    ngx_uint_t n, ngx_http_intent_store_webhook_rows_pt handler);

/*
 * One of those rows: the intent as it was, its strings from pool.  NGX_ERROR:
 * no memory, or it is not understood; its id (unless it is empty), version,
 * failures and age are there all the same.
 */
ngx_int_t ngx_http_intent_store_webhook_row(void *rows, ngx_uint_t i,
    ngx_pool_t *pool, ngx_http_intent_t *in, ngx_uint_t *failures,
    ngx_msec_t *age);


/* what came of telling a version of an intent */
struct ngx_http_intent_store_told_s {
    u_char                        id[16];
    ngx_uint_t                    version;
    ngx_uint_t                    done;     /* not to be told again; else */
    ngx_uint_t                    counts;   /* as a failure of its own */
    ngx_msec_t                    delay;    /* until the next time */
};

/*
 * Writes what came of n of them; returns as fetch does.  This needs no lock:
 * what was told was told.
 */
ngx_int_t ngx_http_intent_store_webhook_settle(
    ngx_http_intent_store_webhook_t *wh, ngx_http_intent_store_told_t *told,
    ngx_uint_t n, ngx_http_intent_store_webhook_pt handler);

/* how many wait, max at the most */
ngx_int_t ngx_http_intent_store_webhook_count(
    ngx_http_intent_store_webhook_t *wh, ngx_uint_t max,
    ngx_http_intent_store_webhook_pt handler);

/*
 * Deletes some of what has waited for longer than max_age seconds: of an
 * intent only the lowest version, so that none is told after a higher one.
 */
ngx_int_t ngx_http_intent_store_webhook_forget(
    ngx_http_intent_store_webhook_t *wh, time_t max_age,
    ngx_http_intent_store_webhook_pt handler);


#endif /* _NGX_HTTP_INTENT_STORE_WEBHOOK_H_INCLUDED_ */
