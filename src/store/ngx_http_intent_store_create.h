
/*
 * What the files share that keep new intents: ngx_http_intent_store_create.c
 * sends batches, ngx_http_intent_store_insert.c makes their statement,
 * ngx_http_intent_store_first.c finds what was there already.
 */


#ifndef _NGX_HTTP_INTENT_STORE_CREATE_H_INCLUDED_
#define _NGX_HTTP_INTENT_STORE_CREATE_H_INCLUDED_


#include "ngx_http_intent_store_private.h"


/* a transition that waits, or is in a batch */
typedef struct {
    ngx_queue_t                       queue;
    ngx_http_intent_transition_t     *transition;
    ngx_msec_t                        deadline;
    ngx_uint_t                        row;      /* its first in the batch */
    ngx_uint_t                        unknown;  /* a part may be kept */
} ngx_http_intent_store_item_t;


typedef struct {
    ngx_pool_t                       *pool;
    ngx_http_intent_store_session_t  *session;
    ngx_queue_t                       items;
    ngx_uint_t                        nitems;
    ngx_uint_t                        rows;
    size_t                            bytes;    /* of params */
    ngx_uint_t                        admission; /* there may be duplicates */
    ngx_http_intent_change_t        **missing;  /* by row; NULL: kept */
    double                            start;
    ngx_http_intent_pg_query_t        query;
} ngx_http_intent_store_batch_t;


/*
 * Makes the query of a batch, but for its handler.  The last column of the
 * first row of its answer says whether it was in time; where there may be
 * duplicates, the first column of the others has the number of a row that was
 * not kept, from one.
 */
ngx_int_t ngx_http_intent_store_insert(ngx_http_intent_store_batch_t *b);

/*
 * Takes a batch whose INSERT has been committed, and did not keep some of its
 * rows: those that res names by their numbers, in all rows but the first.
 */
void ngx_http_intent_store_first(ngx_http_intent_store_batch_t *b,
    PGresult *res);

/* answers a transition that is in no queue */
void ngx_http_intent_store_item_done(ngx_http_intent_store_item_t *item,
    ngx_int_t rc);

/* has the items sent again in a moment; leaves the queue empty */
void ngx_http_intent_store_create_later(ngx_queue_t *items);


#endif /* _NGX_HTTP_INTENT_STORE_CREATE_H_INCLUDED_ */
