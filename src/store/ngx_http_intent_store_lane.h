
/*
 * What a lane keeps in Postgres.  All of it goes through the worker's
 * executor session, which holds the advisory locks of the worker's lanes:
 * when that session is lost, so are the lanes, at once.  Handlers are called
 * exactly once for each call that returned NGX_OK, never before it has
 * returned, and always before the session's loss is told.
 */


#ifndef _NGX_HTTP_INTENT_STORE_LANE_H_INCLUDED_
#define _NGX_HTTP_INTENT_STORE_LANE_H_INCLUDED_


#include "ngx_http_intent.h"


/* who writes; belongs to the caller, must outlive every call */
typedef struct {
    ngx_str_t                    chain;         /* its configured name */
    int64_t                      chain_id;
    u_char                       signer[20];
    int64_t                      epoch;         /* set by open */
    int64_t                      next_nonce;    /* set by open, then the
                                                   lane's: saved by write */
} ngx_http_intent_store_lane_t;


/* a signed transaction, as it is saved before it is sent */
typedef struct {
    u_char                       hash[32];
    int64_t                      nonce;
    ngx_str_t                    intent_id;     /* empty: a gap is filled */
    ngx_str_t                    raw;
    int64_t                      gas_limit;
    ngx_str_t                    max_fee;       /* wei, decimal */
    ngx_str_t                    max_priority_fee;
    ngx_str_t                    state;         /* when loaded */
} ngx_http_intent_store_tx_t;


/* what became of a transaction */
typedef struct {
    u_char                       hash[32];
    const char                  *state;         /* live replaced mined dropped */
    int64_t                      block_number;  /* -1: null */
    u_char                       block_hash[32];
} ngx_http_intent_store_tx_state_t;


/*
 * The record_data of ngx_http_intent_store_lane_write().  delays, where not
 * NULL, has an element for each change of the transition: -1 keeps the lane's
 * claim, else the claim is given up and the intent may be claimed again after
 * so many milliseconds.
 */
typedef struct {
    ngx_http_intent_store_lane_t      *lane;
    int64_t                           *delays;
    ngx_http_intent_store_tx_t        *txs;
    ngx_uint_t                         ntxs;
    ngx_http_intent_store_tx_state_t  *states;
    ngx_uint_t                         nstates;
    ngx_uint_t                         refused;  /* set: Postgres does not
                                                    take one of the rows;
                                                    nothing was written, and
                                                    the lane may go on */
    ngx_uint_t                         transient; /* it may do so again */
} ngx_http_intent_store_write_t;


typedef struct ngx_http_intent_store_rows_s  ngx_http_intent_store_rows_t;

/* rc NGX_OK, NGX_DECLINED (see each call), NGX_ERROR; rows during the call */
typedef void (*ngx_http_intent_store_lane_pt)(void *data, ngx_int_t rc,
    ngx_http_intent_store_rows_t *rows);

/* the session came up, or was lost; to be called in init_process */
typedef void (*ngx_http_intent_store_session_pt)(void *data, ngx_uint_t up);

ngx_int_t ngx_http_intent_store_lane_session(
    ngx_http_intent_store_session_pt handler, void *data);


/* takes the lane's advisory lock; NGX_DECLINED: somebody has it */
ngx_int_t ngx_http_intent_store_lane_lock(ngx_http_intent_store_lane_t *lane,
    ngx_http_intent_store_lane_pt handler, void *data);

/*
 * Raises the epoch, which shuts out whoever had the lane before, gives up
 * claims on intents for which nothing was saved, and reads next_nonce.
 */
ngx_int_t ngx_http_intent_store_lane_open(ngx_http_intent_store_lane_t *lane,
    ngx_http_intent_store_lane_pt handler, void *data);

/*
 * A page of the lane's unfinished transactions with their intents, those of
 * nonces above "after" (-1: from the first), by nonce, the live one first.
 * No rows: there are no more.
 */
ngx_int_t ngx_http_intent_store_lane_load(ngx_http_intent_store_lane_t *lane,
    int64_t after, ngx_http_intent_store_lane_pt handler, void *data);

/*
 * A page of the lane's executing intents that have no such transaction
 * (nonce -1): a crash between two commits.  After an id, NULL: from the first.
 */
ngx_int_t ngx_http_intent_store_lane_load_rest(
    ngx_http_intent_store_lane_t *lane, ngx_str_t *after,
    ngx_http_intent_store_lane_pt handler, void *data);

/*
 * What none of these lanes will carry on: executing intents of other signers
 * or chains, and pending ones of other chains; lanes[0] asks.
 */
ngx_int_t ngx_http_intent_store_lane_strays(
    ngx_http_intent_store_lane_t **lanes, ngx_uint_t n,
    ngx_http_intent_store_lane_pt handler, void *data);

/* claims up to n pending intents */
ngx_int_t ngx_http_intent_store_lane_claim(ngx_http_intent_store_lane_t *lane,
    ngx_uint_t n, ngx_http_intent_store_lane_pt handler, void *data);

/* gives up what is claimed and not executing, and the lock */
ngx_int_t ngx_http_intent_store_lane_close(ngx_http_intent_store_lane_t *lane,
    ngx_http_intent_store_lane_pt handler, void *data);

/* ends the session, and with it all locks; it is opened again */
void ngx_http_intent_store_lane_reset(void);

/*
 * A record function: in one commit, changes intents, saves transactions and
 * tells what became of others, provided that the lane's epoch still holds.
 * A transaction of an intent whose change was refused is not saved.  The
 * transition's rc is NGX_ERROR where the epoch does not hold or Postgres
 * refused: the lane is lost then, unless "refused" is set.  nchanges may be 0.
 */
ngx_int_t ngx_http_intent_store_lane_write(ngx_http_intent_transition_t *t);


ngx_uint_t ngx_http_intent_store_rows(ngx_http_intent_store_rows_t *rows);

/* row i of strays: how many; the strings are the row's, signer may be empty */
int64_t ngx_http_intent_store_stray(ngx_http_intent_store_rows_t *rows,
    ngx_uint_t i, ngx_str_t *chain, ngx_str_t *signer);

/*
 * Row i of load and claim, strings from the pool; tx NULL after claim.
 * in->id is empty for a filled gap.
 */
ngx_int_t ngx_http_intent_store_row(ngx_http_intent_store_rows_t *rows,
    ngx_uint_t i, ngx_pool_t *pool, ngx_http_intent_t *in,
    ngx_http_intent_store_tx_t *tx);


#endif /* _NGX_HTTP_INTENT_STORE_LANE_H_INCLUDED_ */
