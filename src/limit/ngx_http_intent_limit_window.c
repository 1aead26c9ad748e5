
/*
 * A sliding window in five counters.  Plain C, no nginx.
 */


#include <string.h>

#include "ngx_http_intent_limit_window.h"


#define SPANS  NGX_HTTP_INTENT_LIMIT_SPANS


static uint64_t ngx_http_intent_limit_window_time(
    const ngx_http_intent_limit_window_t *w, size_t i);
static uint64_t ngx_http_intent_limit_window_age(
    const ngx_http_intent_limit_window_t *w, size_t i, uint64_t now);
static void ngx_http_intent_limit_window_push(
    ngx_http_intent_limit_window_t *w);


static uint64_t
ngx_http_intent_limit_window_time(const ngx_http_intent_limit_window_t *w,
    size_t i)
{
    uint64_t  newest;

    /*
     * When the newest was counted, the others were younger than a period,
     * so the low bits are enough for the difference.
     */

    newest = (uint64_t) w->epoch << 32 | w->spans[0].last;

    return newest - (uint32_t) (w->spans[0].last - w->spans[i].last);
}


static uint64_t
ngx_http_intent_limit_window_age(const ngx_http_intent_limit_window_t *w,
    size_t i, uint64_t now)
{
    uint64_t  then;

    then = ngx_http_intent_limit_window_time(w, i);

    return (now > then) ? now - then : 0;
}


uint64_t
ngx_http_intent_limit_window_used(const ngx_http_intent_limit_window_t *w,
    uint64_t now, uint32_t period)
{
    size_t    i;
    uint64_t  used;

    used = 0;

    for (i = 0; i < SPANS; i++) {
        if (w->spans[i].count
            && ngx_http_intent_limit_window_age(w, i, now) < period)
        {
            used += w->spans[i].count;
        }
    }

    return used;
}


uint32_t
ngx_http_intent_limit_window_wait(const ngx_http_intent_limit_window_t *w,
    uint64_t now, uint32_t period, uint64_t limit, uint64_t n)
{
    size_t    i;
    uint64_t  age, used;

    if (n > limit) {
        return NGX_HTTP_INTENT_LIMIT_NEVER;
    }

    used = ngx_http_intent_limit_window_used(w, now, period);

    if (used + n <= limit) {
        return 0;
    }

    for (i = SPANS; i-- > 0; ) {
        age = ngx_http_intent_limit_window_age(w, i, now);

        if (w->spans[i].count == 0 || age >= period) {
            continue;
        }

        used -= w->spans[i].count;

        if (used + n <= limit) {
            return (uint32_t) (period - age);
        }
    }

    return 0;
}


uint32_t
ngx_http_intent_limit_window_until(const ngx_http_intent_limit_window_t *w,
    uint64_t now, uint32_t period)
{
    size_t    i;
    uint64_t  age;

    for (i = SPANS; i-- > 0; ) {
        age = ngx_http_intent_limit_window_age(w, i, now);

        if (w->spans[i].count && age < period) {
            return (uint32_t) (period - age);
        }
    }

    return 0;
}


void
ngx_http_intent_limit_window_add(ngx_http_intent_limit_window_t *w,
    uint64_t now, uint32_t period, uint32_t n)
{
    size_t                          i, live;
    uint32_t                        part;
    uint64_t                        newest;
    ngx_http_intent_limit_window_t  next;

    memset(&next, 0, sizeof(ngx_http_intent_limit_window_t));

    newest = 0;
    live = 0;

    for (i = 0; i < SPANS; i++) {
        if (w->spans[i].count
            && ngx_http_intent_limit_window_age(w, i, now) < period)
        {
            if (live == 0) {
                newest = ngx_http_intent_limit_window_time(w, i);
            }

            next.spans[live++] = w->spans[i];
        }
    }

    part = period / NGX_HTTP_INTENT_LIMIT_PARTS
           + (period % NGX_HTTP_INTENT_LIMIT_PARTS != 0);

    /* the clock of a caller may be a tick behind that of another */

    if (now < newest) {
        now = newest;
    }

    if (live == 0 || now / part != newest / part) {
        ngx_http_intent_limit_window_push(&next);
    }

    next.epoch = (uint32_t) (now >> 32);
    next.spans[0].last = (uint32_t) now;
    next.spans[0].count += n;

    /* at once, for a process may be killed in here at any moment */

    *w = next;
}


static void
ngx_http_intent_limit_window_push(ngx_http_intent_limit_window_t *w)
{
    ngx_http_intent_limit_span_t  *spans;

    spans = w->spans;

    /*
     * There is no room only where the period is longer than it was: the two
     * oldest become one, which is forgotten when the younger would have been.
     */

    if (spans[SPANS - 1].count) {
        spans[SPANS - 1].count += spans[SPANS - 2].count;
        spans[SPANS - 1].last = spans[SPANS - 2].last;
        memmove(&spans[1], &spans[0], (SPANS - 2) * sizeof(spans[0]));

    } else {
        memmove(&spans[1], &spans[0], (SPANS - 1) * sizeof(spans[0]));
    }

    spans[0].last = 0;
    spans[0].count = 0;
}


int
ngx_http_intent_limit_window_is_empty(const ngx_http_intent_limit_window_t *w)
{
    size_t  i;

    for (i = 0; i < SPANS; i++) {
        if (w->spans[i].count) {
            return 0;
        }
    }

    return 1;
}
