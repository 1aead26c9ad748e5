
/* private to src/limit */


#ifndef _NGX_HTTP_INTENT_LIMIT_PRIVATE_H_INCLUDED_
#define _NGX_HTTP_INTENT_LIMIT_PRIVATE_H_INCLUDED_


#include "ngx_http_intent_limit.h"
#include "ngx_http_intent_limit_window.h"


typedef enum {
    NGX_HTTP_INTENT_LIMIT_NONE = 0,           /* nothing was counted */
    NGX_HTTP_INTENT_LIMIT_PASSED,
    NGX_HTTP_INTENT_LIMIT_REJECTED,
    NGX_HTTP_INTENT_LIMIT_REJECTED_DRY_RUN,
    NGX_HTTP_INTENT_LIMIT_RESULTS
} ngx_http_intent_limit_result_e;


/* one cache line for a key; an index of 0 is none */
typedef struct {
    uint64_t                          hash;
    uint32_t                          chain;  /* the next of its bucket,
                                                 or the next free one */
    uint32_t                          newer;
    uint32_t                          older;
    ngx_http_intent_limit_window_t    window;
} ngx_http_intent_limit_entry_t;


/* what a zone has in shared memory; buckets and entries come after it */
typedef struct {
    uint64_t                          magic;
    uint64_t                          version;
    uint64_t                          size;   /* of the zone */

    uint64_t                          secret[2];

    uint64_t                          clock;  /* ms since the zone was made */
    ngx_msec_t                        seen;   /* what ngx_current_msec was */

    uint32_t                          nbuckets;   /* a power of two */
    uint32_t                          nentries;
    uint32_t                          nused;  /* those above never were */
    uint32_t                          free;
    uint32_t                          newest;
    uint32_t                          oldest;

    volatile uint32_t                 dirty;  /* links may be half-written */
} ngx_http_intent_limit_shared_t;


typedef struct {
    ngx_http_intent_limit_shared_t   *shared;
    ngx_slab_pool_t                  *shpool;
    uint32_t                         *buckets;
    ngx_http_intent_limit_entry_t    *entries;    /* the first is not used */

    ngx_http_complex_value_t          key;
    ngx_str_t                         name;
    ngx_str_t                         quoted;     /* the name as RFC 9651
                                                     and Prometheus quote */
    ngx_str_t                         policy;     /* in RateLimit-Policy */
    ngx_uint_t                        limit;
    uint32_t                          period;     /* ms */

    ngx_http_intent_stat_t           *stats[NGX_HTTP_INTENT_LIMIT_RESULTS];
} ngx_http_intent_limit_zone_t;


typedef struct {
    ngx_shm_zone_t                   *shm_zone;
    ngx_http_intent_limit_zone_t     *zone;       /* once all are known */
    ngx_uint_t                        dry_run;
    ngx_str_t                         file;
    ngx_uint_t                        line;
} ngx_http_intent_limit_t;


typedef struct {
    ngx_array_t                       limits;     /* ngx_http_intent_limit_t,
                                                     by the names of zones */
} ngx_http_intent_limit_loc_conf_t;


/* what one limit says of a request */
typedef struct {
    ngx_http_intent_limit_t          *limit;
    uint64_t                          hash;       /* of the key */

    uint32_t                          entry;      /* while it is locked */
    ngx_uint_t                        refused;

    ngx_uint_t                        remaining;
    uint32_t                          until;      /* ms, how long that holds */
    uint32_t                          wait;       /* ms, 0: it may pass; that
                                                     of what never may is
                                                     the period */
} ngx_http_intent_limit_state_t;


typedef struct {
    ngx_uint_t                        result;
    ngx_uint_t                        nstates;
    ngx_http_intent_limit_state_t    *states;     /* without empty keys */
} ngx_http_intent_limit_ctx_t;


/* ---- requests ---- */

ngx_int_t ngx_http_intent_limit_handler(ngx_http_request_t *r);
ngx_int_t ngx_http_intent_limit_header_filter_init(ngx_conf_t *cf);

/* that of the main request, also after an internal redirect; NULL: none */
ngx_http_intent_limit_ctx_t *ngx_http_intent_limit_get_ctx(
    ngx_http_request_t *r);

/* ms in seconds, never too few */
ngx_uint_t ngx_http_intent_limit_seconds(uint32_t ms);


/* ---- decisions ---- */

/* says what the limits have left, and counts nothing */
void ngx_http_intent_limit_peek(ngx_http_intent_limit_ctx_t *ctx,
    ngx_log_t *log);

/*
 * Counts n in every limit, but for those in dry run that are full, or in none.
 * Sets ctx->result and says what is left.
 */
void ngx_http_intent_limit_count(ngx_http_intent_limit_ctx_t *ctx, uint32_t n,
    ngx_log_t *log);


/* ---- zones ---- */

ngx_int_t ngx_http_intent_limit_init_zone(ngx_shm_zone_t *shm_zone,
    void *data);

/*
 * Locks and repairs the zone, if need be, and advances its clock.  Whoever
 * holds locks of more than one took them in the order of the names.
 */
void ngx_http_intent_limit_zone_lock(ngx_http_intent_limit_zone_t *zone,
    ngx_log_t *log);
void ngx_http_intent_limit_zone_unlock(ngx_http_intent_limit_zone_t *zone);

/* the rest with the lock held; what changes links or counts is between */
void ngx_http_intent_limit_zone_begin(ngx_http_intent_limit_zone_t *zone);
void ngx_http_intent_limit_zone_end(ngx_http_intent_limit_zone_t *zone);

/* an index of entries, 0: there is none */
uint32_t ngx_http_intent_limit_zone_find(ngx_http_intent_limit_zone_t *zone,
    uint64_t hash);

/* never fails: where the zone is full, the oldest is forgotten */
uint32_t ngx_http_intent_limit_zone_insert(ngx_http_intent_limit_zone_t *zone,
    uint64_t hash);

void ngx_http_intent_limit_zone_touch(ngx_http_intent_limit_zone_t *zone,
    uint32_t entry);


#endif /* _NGX_HTTP_INTENT_LIMIT_PRIVATE_H_INCLUDED_ */
