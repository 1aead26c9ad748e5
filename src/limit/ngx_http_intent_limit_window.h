
/*
 * The pure part of the limiter, which builds and is tested without nginx: who
 * has counted how much within the last period, and the hash that stands for
 * a key.
 */


#ifndef _NGX_HTTP_INTENT_LIMIT_WINDOW_H_INCLUDED_
#define _NGX_HTTP_INTENT_LIMIT_WINDOW_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>


#define NGX_HTTP_INTENT_LIMIT_SPANS    8

/* ms: it is to fit in 32 bits */
#define NGX_HTTP_INTENT_LIMIT_PERIOD   (24 * 86400 * 1000U)

#define NGX_HTTP_INTENT_LIMIT_NEVER    UINT32_MAX


/*
 * A window that slides over the counts of one key: a log of which each eighth
 * of the limit has one line.  A span is counts that followed on each other,
 * limit / 8 of them; where that is no whole number it is one more or less, so
 * that eight spans in a row are always limit.  All of a span are forgotten
 * a period after its start, that is, after the first of them.
 *
 * Nothing is forgotten late.  So whoever keeps the policy, that is, who has
 * not more than limit in any period, is never refused, however they come.
 *
 * Forgotten early are the others of the one span that has begun before the
 * period and goes on in it.  So a period, wherever it begins, sees at the most
 * a span less one more than the limit, and m periods on end that many more
 * than m times the limit: who takes them early waits for them later.  A limit
 * of up to 8 is exact, and so is a burst, to the millisecond.
 *
 * All zero: nothing was counted.  Times are milliseconds of a clock that does
 * not go backwards; a period is NGX_HTTP_INTENT_LIMIT_PERIOD at the most.
 */
typedef struct {
    uint16_t                       epoch;     /* high bits of the last start */
    uint8_t                        nspans;
    uint8_t                        last;      /* which of the eight it is */
    uint32_t                       limit;     /* that the spans are made for */
    uint32_t                       count;     /* of the last span */
    uint32_t                       starts[NGX_HTTP_INTENT_LIMIT_SPANS];
} ngx_http_intent_limit_window_t;             /* low bits, the oldest first */


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

/* counts n more, with which no more than limit are used */
void ngx_http_intent_limit_window_add(ngx_http_intent_limit_window_t *w,
    uint64_t now, uint32_t period, uint64_t limit, uint32_t n);

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
