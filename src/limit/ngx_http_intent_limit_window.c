
/*
 * A sliding window: a log of the times at which spans of counts began.
 * Plain C, no nginx.
 */


#include <string.h>

#include "ngx_http_intent_limit_window.h"


#define SPANS  NGX_HTTP_INTENT_LIMIT_SPANS


static uint64_t ngx_http_intent_limit_window_start(
    const ngx_http_intent_limit_window_t *w, size_t i);
static uint64_t ngx_http_intent_limit_window_full(
    const ngx_http_intent_limit_window_t *w, size_t i);
static size_t ngx_http_intent_limit_window_first(
    const ngx_http_intent_limit_window_t *w, uint64_t now, uint32_t period);
static void ngx_http_intent_limit_window_copy(
    ngx_http_intent_limit_window_t *w,
    const ngx_http_intent_limit_window_t *from, size_t first);
static uint32_t ngx_http_intent_limit_window_room(
    const ngx_http_intent_limit_window_t *w);
static void ngx_http_intent_limit_window_open(
    ngx_http_intent_limit_window_t *w, uint64_t start);


uint64_t
ngx_http_intent_limit_window_used(const ngx_http_intent_limit_window_t *w,
    uint64_t now, uint32_t period)
{
    size_t  first;

    first = ngx_http_intent_limit_window_first(w, now, period);

    if (first == w->nspans) {
        return 0;
    }

    return ngx_http_intent_limit_window_full(w, first) + w->count;
}


uint32_t
ngx_http_intent_limit_window_wait(const ngx_http_intent_limit_window_t *w,
    uint64_t now, uint32_t period, uint64_t limit, uint64_t n)
{
    size_t  i;

    if (n > limit) {
        return NGX_HTTP_INTENT_LIMIT_NEVER;
    }

    if (ngx_http_intent_limit_window_used(w, now, period) + n <= limit) {
        return 0;
    }

    i = ngx_http_intent_limit_window_first(w, now, period);

    while (i + 1 < w->nspans
           && ngx_http_intent_limit_window_full(w, i + 1) + w->count + n
              > limit)
    {
        i++;
    }

    return period
           - (uint32_t) (now - ngx_http_intent_limit_window_start(w, i));
}


uint32_t
ngx_http_intent_limit_window_until(const ngx_http_intent_limit_window_t *w,
    uint64_t now, uint32_t period)
{
    size_t  first;

    first = ngx_http_intent_limit_window_first(w, now, period);

    if (first == w->nspans) {
        return 0;
    }

    return period
           - (uint32_t) (now - ngx_http_intent_limit_window_start(w, first));
}


static uint64_t
ngx_http_intent_limit_window_start(const ngx_http_intent_limit_window_t *w,
    size_t i)
{
    uint32_t  low;
    uint64_t  last;

    /*
     * When the last span began, the others were younger than a period, so the
     * low bits are enough for the difference.
     */

    low = w->starts[w->nspans - 1];
    last = (uint64_t) w->epoch << 32 | low;

    return last - (uint32_t) (low - w->starts[i]);
}


/* the counts of the spans from i on, but for the last: each of them is full */

static uint64_t
ngx_http_intent_limit_window_full(const ngx_http_intent_limit_window_t *w,
    size_t i)
{
    uint64_t  begin, end;

    end = SPANS + w->last;
    begin = end - (w->nspans - 1 - i);

    return w->limit * end / SPANS - w->limit * begin / SPANS;
}


/* the first span that is not forgotten, nspans: all are */

static size_t
ngx_http_intent_limit_window_first(const ngx_http_intent_limit_window_t *w,
    uint64_t now, uint32_t period)
{
    size_t  i;

    for (i = 0; i < w->nspans; i++) {
        if (now - ngx_http_intent_limit_window_start(w, i) < period) {
            break;
        }
    }

    return i;
}


void
ngx_http_intent_limit_window_add(ngx_http_intent_limit_window_t *w,
    uint64_t now, uint32_t period, uint64_t limit, uint32_t n)
{
    uint32_t                        room;
    uint64_t                        used;
    ngx_http_intent_limit_window_t  next;

    memset(&next, 0, sizeof(ngx_http_intent_limit_window_t));
    next.limit = (uint32_t) limit;

    used = ngx_http_intent_limit_window_used(w, now, period);

    if (used) {

        /* made for less before a reload, they do as long as there is room */

        if (w->limit < limit && used + n <= w->limit) {
            next.limit = w->limit;
        }

        ngx_http_intent_limit_window_copy(&next, w,
                         ngx_http_intent_limit_window_first(w, now, period));
    }

    while (n) {
        room = ngx_http_intent_limit_window_room(&next);

        if (room == 0) {
            ngx_http_intent_limit_window_open(&next, now);
            continue;
        }

        room = (n < room) ? n : room;
        next.count += room;
        n -= room;
    }

    /* at once, for a process may be killed in here at any moment */

    *w = next;
}


/*
 * What is not forgotten, in spans of another limit perhaps: each of them
 * begins with the span that its first was in.
 */

static void
ngx_http_intent_limit_window_copy(ngx_http_intent_limit_window_t *w,
    const ngx_http_intent_limit_window_t *from, size_t first)
{
    size_t    i;
    uint64_t  full, used, n;

    if (w->limit == from->limit) {
        *w = *from;
        w->nspans = (uint8_t) (w->nspans - first);
        memmove(w->starts, &w->starts[first], w->nspans * sizeof(uint32_t));
        return;
    }

    full = ngx_http_intent_limit_window_full(from, first);
    used = full + from->count;
    i = first;

    for (n = 0; n < used; n += w->count) {

        while (i + 1U < from->nspans
               && n >= full - ngx_http_intent_limit_window_full(from, i + 1))
        {
            i++;
        }

        do {
            ngx_http_intent_limit_window_open(w,
                                 ngx_http_intent_limit_window_start(from, i));
            w->count = ngx_http_intent_limit_window_room(w);
        } while (w->count == 0);

        if (w->count > used - n) {
            w->count = (uint32_t) (used - n);
        }
    }
}


/* how many more the last span takes; where there can be no other, any */

static uint32_t
ngx_http_intent_limit_window_room(const ngx_http_intent_limit_window_t *w)
{
    uint32_t  size;

    if (w->nspans == 0) {
        return 0;
    }

    if (w->nspans == SPANS) {
        return UINT32_MAX - w->count;
    }

    size = (uint32_t) ((uint64_t) w->limit * (w->last + 1) / SPANS
                       - (uint64_t) w->limit * w->last / SPANS);

    return (size > w->count) ? size - w->count : 0;
}


static void
ngx_http_intent_limit_window_open(ngx_http_intent_limit_window_t *w,
    uint64_t start)
{
    w->last = w->nspans ? (uint8_t) ((w->last + 1) % SPANS) : 0;
    w->epoch = (uint16_t) (start >> 32);
    w->starts[w->nspans++] = (uint32_t) start;
    w->count = 0;
}


int
ngx_http_intent_limit_window_is_empty(const ngx_http_intent_limit_window_t *w)
{
    return w->nspans == 0;
}
