
/*
 * The limiter's arithmetic against a model that remembers every request,
 * over random loads: what the sliding window promises holds for each period,
 * wherever it begins.
 */


#include "unit.h"

#include "../../src/limit/ngx_http_intent_limit_window.c"
#include "../../src/limit/ngx_http_intent_limit_hash.c"


#define MODEL_MAX  20000


typedef struct {
    uint64_t  times[MODEL_MAX];
    size_t    n;
} model_t;


static model_t  model;


/* how many came within ms before now, now included */

static uint64_t
model_count(uint64_t now, uint64_t ms)
{
    size_t    i;
    uint64_t  count;

    count = 0;

    for (i = model.n; i-- > 0 && now - model.times[i] < ms; ) {
        count++;
    }

    return count;
}


static void
model_add(uint64_t now, uint32_t n)
{
    while (n--) {
        assert_true(model.n < MODEL_MAX);
        model.times[model.n++] = now;
    }
}


/* no period has more than limit: the one after the limit is a period later */

static void
model_assert_limit(uint64_t limit, uint64_t period)
{
    size_t  i;

    for (i = limit; i < model.n; i++) {
        assert_true(model.times[i] - model.times[i - limit] >= period);
    }
}


/* the time to the next: bursts, a steady pace, pauses about a period long */

static uint64_t
random_step(uint64_t *seed, uint32_t period, uint32_t limit)
{
    switch (unit_random(seed) >> 60) {

    case 0:
        return unit_random(seed) % (2 * (uint64_t) period);

    case 1:
        return period - 1 + unit_random(seed) % 3;

    case 2:
    case 3:
    case 4:
        return unit_random(seed) % (2 * (period / limit + 1));

    case 5:
        return 1;

    default:
        return 0;
    }
}


static void
test_random_loads(void **state)
{
    uint32_t                        period, limit, n, part, wait;
    uint64_t                        seed, now, used;
    unsigned                        run, i, passed;
    ngx_http_intent_limit_window_t  w, before;

    (void) state;

    seed = 20261122;

    for (run = 0; run < 3000; run++) {
        memset(&w, 0, sizeof(w));
        model.n = 0;

        period = 1000 * (1 + unit_random(&seed) % ((run & 1) ? 3 : 100000));
        limit = 1 + unit_random(&seed) % ((run & 2) ? 3 : 200);
        part = (period + NGX_HTTP_INTENT_LIMIT_PARTS - 1)
               / NGX_HTTP_INTENT_LIMIT_PARTS;

        /* some of them cross the 32 bits that a span remembers */
        now = (run & 4) ? (1ULL << 32) - unit_random(&seed) % (2 * period)
                        : unit_random(&seed) >> 20;

        for (i = 0; i < 400; i++) {
            now += random_step(&seed, period, limit);
            n = (unit_random(&seed) >> 62) ? 1 : 1 + unit_random(&seed) % 5;

            before = w;
            used = ngx_http_intent_limit_window_used(&w, now, period);

            /* all that came in the period, and nothing much older */
            assert_true(used >= model_count(now, period));
            assert_true(used <= model_count(now, (uint64_t) period + part));

            wait = ngx_http_intent_limit_window_wait(&w, now, period, limit,
                                                     n);
            passed = (used + n <= limit);

            assert_true((wait == 0) == passed);
            assert_memory_equal(&w, &before, sizeof(w));

            if (passed) {
                ngx_http_intent_limit_window_add(&w, now, period, n);
                model_add(now, n);

                assert_true(ngx_http_intent_limit_window_used(&w, now, period)
                            == used + n);
                continue;
            }

            if (n > limit) {
                assert_true(wait == NGX_HTTP_INTENT_LIMIT_NEVER);
                continue;
            }

            /* they pass when it says so, and not before */
            assert_true(wait <= period);
            assert_true(ngx_http_intent_limit_window_used(&w, now + wait,
                                                          period)
                        + n <= limit);
            assert_true(ngx_http_intent_limit_window_used(&w, now + wait - 1,
                                                          period)
                        + n > limit);
        }

        model_assert_limit(limit, period);
    }
}


/* what the issue asks for: the limit twice about a boundary cannot pass */

static void
test_boundary(void **state)
{
    uint64_t                        base, at, n;
    ngx_http_intent_limit_window_t  w;

    (void) state;

    /* one opens the window, 99 come at its very end */

    for (base = 0; base < 2000; base += 7) {
        memset(&w, 0, sizeof(w));

        ngx_http_intent_limit_window_add(&w, base, 1000, 1);
        ngx_http_intent_limit_window_add(&w, base + 999, 1000, 99);

        n = 0;

        for (at = base + 1000; at < base + 1999; at++) {
            while (ngx_http_intent_limit_window_used(&w, at, 1000) < 100) {
                ngx_http_intent_limit_window_add(&w, at, 1000, 1);
                n++;
            }
        }

        assert_true(n <= 1);

        /* and then they do, a part of the period later at the latest */
        assert_true(ngx_http_intent_limit_window_used(&w, base + 2249, 1000)
                    == 0);
    }
}


/* a burst is forgotten a period later, to the millisecond */

static void
test_burst(void **state)
{
    uint64_t                        at;
    ngx_http_intent_limit_window_t  w;

    (void) state;

    for (at = 0; at < 5000; at += 13) {
        memset(&w, 0, sizeof(w));
        ngx_http_intent_limit_window_add(&w, at, 900000, 100);

        assert_true(ngx_http_intent_limit_window_wait(&w, at, 900000, 100, 1)
                    == 900000);
        assert_true(ngx_http_intent_limit_window_until(&w, at + 1, 900000)
                    == 899999);
        assert_true(ngx_http_intent_limit_window_used(&w, at + 899999, 900000)
                    == 100);
        assert_true(ngx_http_intent_limit_window_used(&w, at + 900000, 900000)
                    == 0);
        assert_true(ngx_http_intent_limit_window_until(&w, at + 900000, 900000)
                    == 0);
    }
}


/* one who keeps four fifths of the rate is never turned away */

static void
test_steady(void **state)
{
    uint32_t                        limit;
    uint64_t                        now, step;
    unsigned                        i;
    ngx_http_intent_limit_window_t  w;

    (void) state;

    for (limit = 10; limit <= 1000; limit += 99) {
        memset(&w, 0, sizeof(w));

        now = 12345;
        step = 100000 * 5 / 4 / limit + 1;

        for (i = 0; i < 5 * limit; i++, now += step) {
            assert_true(ngx_http_intent_limit_window_wait(&w, now, 100000,
                                                          limit, 1)
                        == 0);
            ngx_http_intent_limit_window_add(&w, now, 100000, 1);
        }
    }
}


/* a reload may change the rate: what counts under the new one is not less */

static void
test_changed_period(void **state)
{
    size_t                          i;
    uint64_t                        now, used;
    ngx_http_intent_limit_window_t  w;

    static const uint64_t  at[] = { 0, 249, 498, 747, 996, 1100 };

    (void) state;

    memset(&w, 0, sizeof(w));
    model.n = 0;

    /* all spans are in use, as narrow as those of a second are */

    for (i = 0; i < unit_count(at); i++) {
        ngx_http_intent_limit_window_add(&w, at[i], 1000, 1);
        model_add(at[i], 1);
    }

    for (i = 0; i < NGX_HTTP_INTENT_LIMIT_SPANS; i++) {
        assert_int_not_equal(w.spans[i].count, 0);
    }

    /* now a minute: older ones are put together, and none is lost */

    for (now = 1100; now < 200000; now += 50) {
        used = ngx_http_intent_limit_window_used(&w, now, 60000);

        assert_true(used >= model_count(now, 60000));
        assert_true(used <= model_count(now, 75000));

        if ((now - 1100) % 7000 == 0) {
            ngx_http_intent_limit_window_add(&w, now, 60000, 1);
            model_add(now, 1);
        }
    }
}


/* the authors' vectors: key 00..0f, messages 00..len-1 */

static void
test_hash(void **state)
{
    size_t    i;
    uint8_t   message[64];
    uint64_t  secret[2];

    static const struct {
        size_t    len;
        uint64_t  hash;
    } vectors[] = {
        { 0, 0x726fdb47dd0e0e31ULL },
        { 1, 0x74f839c593dc67fdULL },
        { 2, 0x0d6c8009d9a94f5aULL },
        { 3, 0x85676696d7fb7e2dULL },
        { 7, 0xab0200f58b01d137ULL },
        { 8, 0x93f5f5799a932462ULL },
        { 15, 0xa129ca6149be45e5ULL },
        { 63, 0x958a324ceb064572ULL },
    };

    (void) state;

    secret[0] = 0x0706050403020100ULL;
    secret[1] = 0x0f0e0d0c0b0a0908ULL;

    for (i = 0; i < sizeof(message); i++) {
        message[i] = (uint8_t) i;
    }

    for (i = 0; i < unit_count(vectors); i++) {
        assert_true(ngx_http_intent_limit_hash(secret, message, vectors[i].len)
                    == vectors[i].hash);
    }

    assert_int_equal(sizeof(ngx_http_intent_limit_window_t), 44);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_random_loads),
        cmocka_unit_test(test_boundary),
        cmocka_unit_test(test_burst),
        cmocka_unit_test(test_steady),
        cmocka_unit_test(test_changed_period),
        cmocka_unit_test(test_hash),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
