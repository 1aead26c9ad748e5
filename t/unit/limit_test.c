
/*
 * The limiter's arithmetic against a log that remembers every request, over
 * random and hostile loads: what the sliding window promises holds for each
 * period, wherever it begins.
 */


#include "unit.h"

#include "../../src/limit/ngx_http_intent_limit_window.c"
#include "../../src/limit/ngx_http_intent_limit_hash.c"


#define MODEL_MAX  200000
#define DAY        (86400 * 1000U)


typedef struct {
    uint64_t  times[MODEL_MAX];
    size_t    n;
} model_t;


static model_t  model;


/* of which the window knows one time only */

static uint64_t
span_size(uint64_t limit)
{
    return (limit + NGX_HTTP_INTENT_LIMIT_SPANS - 1)
           / NGX_HTTP_INTENT_LIMIT_SPANS;
}


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


/* no period has more than most: the one after them is a period later */

static void
model_assert_most(uint64_t most, uint64_t period)
{
    size_t  i;

    for (i = most; i < model.n; i++) {
        assert_true(model.times[i] - model.times[i - most] >= period);
    }
}


/* nor have several on end much more than is theirs */

static void
model_assert_limit(uint64_t limit, uint64_t period)
{
    unsigned  m;

    for (m = 1; m <= 10; m++) {
        model_assert_most(m * limit + span_size(limit) - 1, m * period);
    }
}


/* one who would like n; did they pass? */

static int
request(ngx_http_intent_limit_window_t *w, uint64_t now, uint32_t period,
    uint64_t limit, uint32_t n)
{
    int                             passed;
    uint64_t                        used, logged, wait;
    ngx_http_intent_limit_window_t  before;

    before = *w;
    used = ngx_http_intent_limit_window_used(w, now, period);
    logged = model_count(now, period);

    /* nothing is forgotten late, and early not more than all of a span but
       its first */
    assert_true(used <= logged);
    assert_true(logged <= used + span_size(limit) - 1);

    wait = ngx_http_intent_limit_window_wait(w, now, period, limit, n);
    passed = (used + n <= limit);

    assert_true((wait == 0) == passed);
    assert_memory_equal(w, &before, sizeof(before));

    if (passed) {
        ngx_http_intent_limit_window_add(w, now, period, limit, n);
        model_add(now, n);

        assert_true(ngx_http_intent_limit_window_used(w, now, period)
                    == used + n);
        return 1;
    }

    if (n > limit) {
        assert_true(wait == NGX_HTTP_INTENT_LIMIT_NEVER);
        return 0;
    }

    /* they pass when it says so, and not before */
    assert_true(wait <= period);
    assert_true(ngx_http_intent_limit_window_used(w, now + wait, period) + n
                <= limit);
    assert_true(ngx_http_intent_limit_window_used(w, now + wait - 1, period)
                + n > limit);
    return 0;
}


/* what is forgotten first is forgotten when it says so */

static void
assert_until(const ngx_http_intent_limit_window_t *w, uint64_t now,
    uint32_t period)
{
    uint64_t  used, until;

    used = ngx_http_intent_limit_window_used(w, now, period);
    until = ngx_http_intent_limit_window_until(w, now, period);

    if (used == 0) {
        assert_true(until == 0);
        return;
    }

    assert_true(until > 0 && until <= period);
    assert_true(ngx_http_intent_limit_window_used(w, now + until - 1, period)
                == used);
    assert_true(ngx_http_intent_limit_window_used(w, now + until, period)
                < used);
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

    case 6:
        return period / NGX_HTTP_INTENT_LIMIT_SPANS;

    default:
        return 0;
    }
}


static void
test_random_loads(void **state)
{
    uint32_t                        period, limit, n;
    uint64_t                        seed, now;
    unsigned                        run, i;
    ngx_http_intent_limit_window_t  w;

    (void) state;

    seed = 20261122;

    for (run = 0; run < 4000; run++) {
        memset(&w, 0, sizeof(w));
        model.n = 0;

        period = 1000 * (1 + unit_random(&seed) % ((run & 1) ? 3 : 100000));
        limit = 1 + unit_random(&seed) % ((run & 2) ? 20 : 200);

        /* some of them cross the 32 bits that a span remembers */
        now = (run & 4) ? (1ULL << 32) - unit_random(&seed) % (2 * period)
                        : unit_random(&seed) >> 20;

        for (i = 0; i < 400; i++) {
            now += random_step(&seed, period, limit);
            n = (unit_random(&seed) >> 62) ? 1
                : 1 + unit_random(&seed) % (limit + limit / 8 + 1);

            (void) request(&w, now, period, limit, n);
            assert_until(&w, now, period);
        }

        model_assert_limit(limit, period);

        if (limit <= NGX_HTTP_INTENT_LIMIT_SPANS) {
            model_assert_most(limit, period);
        }
    }
}


/* whoever takes all that is given, in every way, gets the limit in the long run */

static void
test_greedy(void **state)
{
    size_t                          i;
    uint64_t                        seed, now, end;
    unsigned                        pattern;
    ngx_http_intent_limit_window_t  w;

    static const uint64_t  limits[] = { 1, 7, 8, 9, 15, 17, 100, 129, 1000 };

    (void) state;

    seed = 3;

    for (i = 0; i < unit_count(limits); i++) {
        for (pattern = 0; pattern < 6; pattern++) {
            memset(&w, 0, sizeof(w));
            model.n = 0;
            end = 20 * 10000 - 1;

            for (now = 0; now <= end; now++) {

                switch (pattern) {

                case 0:                    /* without a break */
                    break;

                case 1:                    /* a trickle, then all at once */
                    if (now % 1250 != 0 && now % 1250 != 1249) {
                        continue;
                    }
                    break;

                case 2:                    /* one early, the others late */
                    if (now % 10000 != 0 && now % 10000 != 9999) {
                        continue;
                    }
                    break;

                case 3:                    /* about a tenth of the time */
                    if (unit_random(&seed) % 10) {
                        continue;
                    }
                    break;

                case 4:                    /* as Retry-After says */
                    now += ngx_http_intent_limit_window_wait(&w, now, 10000,
                                                             limits[i], 1);
                    break;

                case 5:                    /* the first eighth at an even pace */
                    if (now < 10000 && now % 80) {
                        continue;
                    }
                    break;
                }

                do {
                    if (!request(&w, now, 10000, limits[i], 1)) {
                        break;
                    }
                } while (pattern != 2 || now % 10000);

                assert_true(model.n <= 21 * limits[i] + span_size(limits[i]));
            }

            model_assert_limit(limits[i], 10000);
        }
    }
}


/* a boundary: how much more may come, and that it is no more than that */

static void
test_boundary(void **state)
{
    uint64_t                        base;
    unsigned                        i, n;
    ngx_http_intent_limit_window_t  w;

    (void) state;

    for (base = 0; base < 2000; base += 7) {
        memset(&w, 0, sizeof(w));
        model.n = 0;

        /* one opens the window, 99 come at its very end */

        assert_true(request(&w, base, 1000, 100, 1));
        assert_true(request(&w, base + 999, 1000, 100, 99));

        for (n = 0, i = 1000; i < 1999; i++) {
            while (request(&w, base + i, 1000, 100, 1)) {
                n++;
            }
        }

        assert_int_equal(n, 100 / 8);
        assert_true(request(&w, base + 1999, 1000, 100, 87));
        model_assert_limit(100, 1000);
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
        ngx_http_intent_limit_window_add(&w, at, 900000, 100, 100);

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


/* one who sends evenly at the very rate is never refused, nor are batches */

static void
test_even(void **state)
{
    size_t                          i, k, b;
    uint64_t                        base, now, j, steps;
    ngx_http_intent_limit_window_t  w;

    static const uint64_t  limits[] = { 1, 2, 3, 5, 10, 99, 100, 1000 };
    static const uint32_t  periods[] = { 1000, 900 * 1000, DAY };
    static const uint32_t  batches[] = { 1, 2, 5, 10, 25, 50, 100 };

    (void) state;

    for (i = 0; i < unit_count(limits) * unit_count(batches); i++) {
        b = i % unit_count(batches);
        steps = limits[i / unit_count(batches)] / batches[b];

        if (steps * batches[b] != limits[i / unit_count(batches)]) {
            continue;
        }

        for (k = 0; k < 4 * unit_count(periods); k++) {
            memset(&w, 0, sizeof(w));
            base = (1ULL << 32) - k * 333;

            for (j = 0; j < 4 * steps + 10; j++) {
                now = base + j * periods[k / 4] / steps;

                assert_true(ngx_http_intent_limit_window_wait(&w, now,
                                     periods[k / 4], steps * batches[b],
                                     batches[b])
                            == 0);
                ngx_http_intent_limit_window_add(&w, now, periods[k / 4],
                                                 steps * batches[b],
                                                 batches[b]);
            }
        }
    }
}


/* one who keeps the policy by a log of their own is never refused either */

static void
test_keeps_policy(void **state)
{
    uint32_t                        limit, n;
    uint64_t                        seed, now;
    unsigned                        run, i, sent;
    ngx_http_intent_limit_window_t  w;

    (void) state;

    seed = 5;

    for (run = 0; run < 500; run++) {
        memset(&w, 0, sizeof(w));
        model.n = 0;
        now = unit_random(&seed) >> 20;
        limit = 1 + unit_random(&seed) % 300;
        sent = 0;

        for (i = 0; i < 1000; i++) {
            now += random_step(&seed, 60000, limit);
            n = 1 + unit_random(&seed) % ((limit + 3) / 4);

            if (model_count(now, 60000) + n > limit) {
                continue;
            }

            assert_true(request(&w, now, 60000, limit, n));
            sent++;
        }

        assert_true(sent > 10);
        model_assert_most(limit, 60000);
    }
}


/*
 * Who comes by chance, on the average at load of the rate: which share passes,
 * and which would a log of all let pass?
 */

static double
poisson_share(double load, int logged)
{
    uint64_t                        seed, now;
    unsigned                        came, passed;
    ngx_http_intent_limit_window_t  w;

    memset(&w, 0, sizeof(w));
    model.n = 0;
    seed = 7;
    came = 0;
    passed = 0;

    for (now = 0; came < 50000; now++) {

        if ((unit_random(&seed) >> 11) / 9007199254740992.0 > load / 100) {
            continue;
        }

        came++;

        if (!logged) {
            passed += request(&w, now, 10000, 100, 1);

        } else if (model_count(now, 10000) < 100) {
            model_add(now, 1);
            passed++;
        }
    }

    model_assert_limit(100, 10000);

    return (double) passed / came;
}


static void
test_poisson(void **state)
{
    size_t  i;
    double  ours, logs;

    static const double  loads[] = { 0.5, 0.8, 0.95, 1.0 };

    (void) state;

    for (i = 0; i < unit_count(loads); i++) {
        ours = poisson_share(loads[i], 0);
        logs = poisson_share(loads[i], 1);

        print_message("by chance at %.2f of the rate: %.4f pass, a log of all "
                      "lets %.4f pass\n", loads[i], ours, logs);
        assert_true(ours >= logs);
    }
}


/*
 * A reload may change the rate: nothing is forgotten late, whatever it is, nor
 * early by much, also while old and new workers are at it in turns.
 */

static void
test_changed_rate(void **state)
{
    uint32_t                        period, n;
    uint64_t                        seed, now, used, limit, other, size;
    unsigned                        run, i;
    ngx_http_intent_limit_window_t  w;

    (void) state;

    seed = 11;

    for (run = 0; run < 3000; run++) {
        memset(&w, 0, sizeof(w));
        model.n = 0;
        now = (1ULL << 32) - unit_random(&seed) % 200000;
        period = 60000;
        limit = 1 + unit_random(&seed) % 300;
        other = limit;
        size = span_size(limit);

        for (i = 0; i < 600; i++) {

            if (i % 100 == 99) {
                other = limit;
                limit = 1 + unit_random(&seed) % 300;
                size = (size < span_size(limit)) ? span_size(limit) : size;

            } else if ((run & 2) && unit_random(&seed) >> 63) {
                used = limit;
                limit = other;
                other = used;
            }

            if (i % 100 == 49 && (run & 1)) {
                period = 1000 * (1 + unit_random(&seed) % 100);
            }

            now += random_step(&seed, period, limit);
            n = 1 + unit_random(&seed) % 3;

            used = ngx_http_intent_limit_window_used(&w, now, period);
            assert_true(used <= model_count(now, period));

            /* nor early by much, but that a longer period brings none back */
            assert_true((run & 1)
                        || model_count(now, period) <= used + 2 * size);

            if (used + n <= limit) {
                ngx_http_intent_limit_window_add(&w, now, period, limit, n);
                model_add(now, n);
                assert_true(w.nspans <= NGX_HTTP_INTENT_LIMIT_SPANS);
                assert_true(ngx_http_intent_limit_window_used(&w, now, period)
                            == used + n);

            } else if (n <= limit) {
                used = ngx_http_intent_limit_window_wait(&w, now, period,
                                                         limit, n);
                assert_true(used > 0 && used <= period);
                assert_true(ngx_http_intent_limit_window_used(&w, now + used,
                                                              period)
                            + n <= limit);
                assert_true(ngx_http_intent_limit_window_used(&w,
                                                              now + used - 1,
                                                              period)
                            + n > limit);
            }
        }
    }
}


/* what is counted under one rate counts under the next one */

static void
test_rate_up_and_down(void **state)
{
    unsigned                        i;
    ngx_http_intent_limit_window_t  w;

    (void) state;

    memset(&w, 0, sizeof(w));
    model.n = 0;

    for (i = 0; i < 100; i++) {
        assert_true(request(&w, i * 600, 60000, 100, 1));
    }

    /* ten times as many: 900 more, and what was is forgotten as before */

    assert_true(ngx_http_intent_limit_window_used(&w, 59999, 60000) == 100);
    ngx_http_intent_limit_window_add(&w, 59999, 60000, 1000, 900);
    assert_true(ngx_http_intent_limit_window_wait(&w, 59999, 60000, 1000, 1)
                == 1);

    /* a tenth: nothing passes until 9 are left, in finer spans then */

    assert_true(ngx_http_intent_limit_window_wait(&w, 59999, 60000, 10, 1)
                == 60000);
    ngx_http_intent_limit_window_add(&w, 119999, 60000, 10, 1);
    assert_int_equal(w.limit, 10);
    assert_int_equal(w.count, 1);

    /* a longer period does not bring back what was forgotten */

    assert_true(ngx_http_intent_limit_window_used(&w, 120000, 600000) == 1);
}


/* a worker killed in the middle of a copy leaves any mixture of two windows */

static void
test_torn(void **state)
{
    size_t                          i;
    uint64_t                        seed, now;
    unsigned                        run, cut;
    uint32_t                        wait;
    ngx_http_intent_limit_window_t  w, old;

    (void) state;

    seed = 13;

    for (run = 0; run < 20000; run++) {
        memset(&w, 0, sizeof(w));
        memset(&old, 0, sizeof(old));
        now = (1ULL << 32) - unit_random(&seed) % 20000;

        for (i = 0; i < unit_random(&seed) % 20; i++) {
            now += random_step(&seed, 10000, 20);
            old = w;

            if (ngx_http_intent_limit_window_used(&w, now, 10000) < 20) {
                ngx_http_intent_limit_window_add(&w, now, 10000, 20, 1);
            }
        }

        /* in words, from either end */
        cut = 4 * (unit_random(&seed) % (sizeof(w) / 4));
        memcpy((run & 1) ? (char *) &w : (char *) &w + cut,
               (run & 1) ? (char *) &old : (char *) &old + cut,
               (run & 1) ? cut : sizeof(w) - cut);

        wait = ngx_http_intent_limit_window_wait(&w, now, 10000, 20, 1);
        assert_true(wait <= 10000);

        if (wait == 0) {
            ngx_http_intent_limit_window_add(&w, now, 10000, 30, 1);
        }

        assert_true(w.nspans <= NGX_HTTP_INTENT_LIMIT_SPANS);
        assert_true(ngx_http_intent_limit_window_used(&w, now + 10000, 10000)
                    == 0);
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
        cmocka_unit_test(test_greedy),
        cmocka_unit_test(test_boundary),
        cmocka_unit_test(test_burst),
        cmocka_unit_test(test_even),
        cmocka_unit_test(test_keeps_policy),
        cmocka_unit_test(test_poisson),
        cmocka_unit_test(test_changed_rate),
        cmocka_unit_test(test_rate_up_and_down),
        cmocka_unit_test(test_torn),
        cmocka_unit_test(test_hash),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
