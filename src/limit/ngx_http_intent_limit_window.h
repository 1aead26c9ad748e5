
/*
 * The pure part of the limiter, which builds and is tested without nginx: who
 * has counted how much within the last period, and the hash that stands for
 * a key.
 */


#ifndef _NGX_HTTP_INTENT_LIMIT_WINDOW_H_INCLUDED_
#define _NGX_HTTP_INTENT_LIMIT_WINDOW_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>


/* parts of a period that are told apart, and counters for them */
#define NGX_HTTP_INTENT_LIMIT_PARTS    4
#define NGX_HTTP_INTENT_LIMIT_SPANS    (NGX_HTTP_INTENT_LIMIT_PARTS + 1)

/* ms: twice as much is to fit in 32 bits */
#define NGX_HTTP_INTENT_LIMIT_PERIOD   (24 * 86400 * 1000U)

#define NGX_HTTP_INTENT_LIMIT_NEVER    UINT32_MAX


typedef struct {
    uint32_t                       last;      /* the low bits of a time */
    uint32_t                       count;
} ngx_http_intent_limit_span_t;


/*
 * A window that slides over the counts of one key.  A span counts those that
 * came within one part of a period; all of them are forgotten together,
 * a whole period after the last of them.  So no period, wherever it begins,
 * sees more pass than its limit; and what is forgotten late, for others of its
 * span came later, is so by a part at the most.  A burst is forgotten to
 * the millisecond.
 *
 * All zero: nothing was counted.  Times are milliseconds of a clock that does
 * not go backwards; a period is NGX_HTTP_INTENT_LIMIT_PERIOD at the most.
 */
typedef struct {
    uint32_t                       epoch;     /* the high bits of the newest */
    ngx_http_intent_limit_span_t   spans[NGX_HTTP_INTENT_LIMIT_SPANS];
} ngx_http_intent_limit_window_t;            /* the newest span is the first */


/* how many were counted in the period before now */
uint64_t ngx_http_intent_limit_window_used(
    const ngx_http_intent_limit_window_t *w, uint64_t now, uint32_t period);

/*
 * ms until n more would pass if nothing else came: 0 where they do now,
 * NGX_HTTP_INTENT_LIMIT_NEVER where n is more than the limit.
 */
uint32_t ngx_http_intent_limit_window_wait(
    const ngx_http_intent_limit_window_t *w, uint64_t now, uint32_t period,
    uint64_t limit, uint64_t n);

/* ms until the first of them is forgotten, 0 where none was counted */
uint32_t ngx_http_intent_limit_window_until(
    const ngx_http_intent_limit_window_t *w, uint64_t now, uint32_t period);

void ngx_http_intent_limit_window_add(ngx_http_intent_limit_window_t *w,
    uint64_t now, uint32_t period, uint32_t n);

/* was nothing ever counted? */
int ngx_http_intent_limit_window_is_empty(
    const ngx_http_intent_limit_window_t *w);


/*
 * SipHash-2-4 (Aumasson and Bernstein, 2012): without the secret nobody can
 * choose keys that collide.
 */
uint64_t ngx_http_intent_limit_hash(const uint64_t secret[2],
    const void *data, size_t len);


#endif /* _NGX_HTTP_INTENT_LIMIT_WINDOW_H_INCLUDED_ */
