
/*
 * 256-bit integers at their edges; the second opinion on decimals and doubles
 * is the C library's strtod().
 */


#include "unit.h"


#define U256_MAX_DEC                                                         \
    "115792089237316195423570985008687907853269984665640564039457584007913"  \
    "129639935"

#define U256_MAX_HEX                                                         \
    "0xffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"


static evm_u256_t
u256(const char *s)
{
    evm_u256_t  v;

    assert_int_equal(evm_u256_from_dec(&v, s, strlen(s)), EVM_OK);

    return v;
}


static void
u256_assert(const evm_u256_t *v, const char *want)
{
    char  out[EVM_U256_DEC_LEN + 1];

    out[evm_u256_to_dec(v, out)] = '\0';
    assert_string_equal(out, want);
}


static evm_u256_t
u256_random(uint64_t *seed)
{
    int         i;
    evm_u256_t  v;
    uint64_t    shift;

    /* of every size, not nearly all of 256 bits */

    shift = unit_random(seed) % 5;

    for (i = 0; i < 4; i++) {
        v.w[i] = (i < (int) shift) ? unit_random(seed) : 0;
    }

    if (shift) {
        v.w[shift - 1] >>= unit_random(seed) % 64;
    }

    return v;
}


static void
u256_compares(void **state)
{
    evm_u256_t  a, b, zero;

    (void) state;

    evm_u256_set(&zero, 0);
    assert_true(evm_u256_is_zero(&zero));

    /* 2^64 is above 2^64 - 1 although its low word is below */

    a = u256("18446744073709551616");
    b = u256("18446744073709551615");

    assert_false(evm_u256_is_zero(&a));
    assert_true(evm_u256_cmp(&a, &b) > 0);
    assert_true(evm_u256_cmp(&b, &a) < 0);
    assert_int_equal(evm_u256_cmp(&a, &a), 0);

    /* only the top word set */

    evm_u256_set(&a, 0);
    a.w[3] = 1;
    assert_false(evm_u256_is_zero(&a));
    assert_true(evm_u256_cmp(&a, &b) > 0);
}


static void
u256_adds_and_subtracts(void **state)
{
    evm_u256_t  a, b, max, r;

    (void) state;

    max = u256(U256_MAX_DEC);
    evm_u256_set(&a, 1);

    r = a;
    assert_int_equal(evm_u256_add(&r, &max, &a), EVM_RANGE);
    u256_assert(&r, "1");

    assert_int_equal(evm_u256_sub(&r, &max, &a), EVM_OK);
    assert_int_equal(evm_u256_add(&r, &r, &a), EVM_OK);
    u256_assert(&r, U256_MAX_DEC);

    /* a borrow through every word */

    evm_u256_set(&b, 0);
    b.w[3] = 1;
    assert_int_equal(evm_u256_sub(&r, &b, &a), EVM_OK);
    u256_assert(&r, "62771017353866807638357894232076664161023554444640345"
                    "12895");

    r = b;
    assert_int_equal(evm_u256_sub(&r, &a, &b), EVM_RANGE);
    assert_int_equal(evm_u256_cmp(&r, &b), 0);

    /* the result in the place of an operand */

    assert_int_equal(evm_u256_sub(&b, &b, &a), EVM_OK);
    assert_int_equal(evm_u256_cmp(&b, &b), 0);
    u256_assert(&b, "62771017353866807638357894232076664161023554444640345"
                    "12895");
    assert_int_equal(evm_u256_sub(&b, &b, &b), EVM_OK);
    assert_true(evm_u256_is_zero(&b));
}


static void
u256_multiplies(void **state)
{
    evm_u256_t  a, b, r;

    (void) state;

    /* (2^128 - 1)^2 fits, 2^128 * 2^128 does not */

    a = u256("340282366920938463463374607431768211455");
    assert_int_equal(evm_u256_mul(&r, &a, &a), EVM_OK);
    u256_assert(&r, "115792089237316195423570985008687907852589419931798687"
                    "112530834793049593217025");

    b = u256("340282366920938463463374607431768211456");
    r = a;
    assert_int_equal(evm_u256_mul(&r, &b, &b), EVM_RANGE);
    assert_int_equal(evm_u256_cmp(&r, &a), 0);

    /* what does not fit may be in the highest word of all */

    evm_u256_set(&a, 0);
    a.w[3] = 1ULL << 63;
    assert_int_equal(evm_u256_mul(&r, &a, &a), EVM_RANGE);
    assert_int_equal(evm_u256_mul_u64(&r, &a, 2), EVM_RANGE);
    assert_int_equal(evm_u256_mul_u64(&r, &a, 1), EVM_OK);
    assert_int_equal(evm_u256_cmp(&r, &a), 0);

    a = u256("1000000000000000000");
    assert_int_equal(evm_u256_mul_u64(&a, &a, 30000000000ULL), EVM_OK);
    u256_assert(&a, "30000000000000000000000000000");
}


static void
u256_divides(void **state)
{
    int         i;
    uint64_t    seed, b, rest;
    evm_u256_t  a, q, r;

    (void) state;

    seed = 1;

    for (i = 0; i < 10000; i++) {

        a = u256_random(&seed);
        b = unit_random(&seed) >> unit_random(&seed) % 64;

        if (b == 0) {
            continue;
        }

        rest = evm_u256_div_u64(&q, &a, b);
        assert_true(rest < b);

        /* a = q * b + rest */

        assert_int_equal(evm_u256_mul_u64(&q, &q, b), EVM_OK);
        evm_u256_set(&r, rest);
        assert_int_equal(evm_u256_add(&q, &q, &r), EVM_OK);
        assert_int_equal(evm_u256_cmp(&q, &a), 0);
    }

    a = u256("7");
    assert_int_equal(evm_u256_div_u64(&a, &a, 0), 0);
    assert_true(evm_u256_is_zero(&a));
}


static void
u256_decimal(void **state)
{
    size_t       i;
    evm_u256_t   v;
    const char  *same[] = {
        "0", "1", "9", "10", "9999999999999999999", "10000000000000000000",
        "18446744073709551615", "18446744073709551616",
        "100000000000000000000000000000000000000",
        "340282366920938463463374607431768211456", U256_MAX_DEC
    };
    const char  *bad[] = {
        "", "00", "01", "+1", "-1", " 1", "1 ", "1.0", "1e3", "0x1", "1/",
        "1:", "a",
        /* too long, but first of all no number */
        ("1111111111111111111111111111111111111111111111111111111111111111"
         "1111111111111111x")
    };
    const char  *large[] = {
        /* 2^256, a number of 78 nines, and one of 79 digits */
        ("115792089237316195423570985008687907853269984665640564039457584007"
         "913129639936"),
        ("999999999999999999999999999999999999999999999999999999999999999999"
         "999999999999"),
        ("100000000000000000000000000000000000000000000000000000000000000000"
         "0000000000000")
    };

    (void) state;

    for (i = 0; i < unit_count(same); i++) {
        v = u256(same[i]);
        u256_assert(&v, same[i]);
    }

    evm_u256_set(&v, 42);

    for (i = 0; i < unit_count(bad); i++) {
        assert_int_equal(evm_u256_from_dec(&v, bad[i], strlen(bad[i])),
                         EVM_ERROR);
    }

    for (i = 0; i < unit_count(large); i++) {
        assert_int_equal(evm_u256_from_dec(&v, large[i], strlen(large[i])),
                         EVM_RANGE);
    }

    u256_assert(&v, "42");
}


static void
u256_hexadecimal(void **state)
{
    char         out[EVM_U256_HEX_LEN + 1];
    size_t       i;
    evm_u256_t   v;
    const char  *vectors[][3] = {
        { "0x0", "0", "0x0" },
        { "0x00", "0", "0x0" },
        { "0x1f", "31", "0x1f" },
        { "0x01F", "31", "0x1f" },
        { "0xdeadBEEF", "3735928559", "0xdeadbeef" },
        { "0x10000000000000000", "18446744073709551616",
          "0x10000000000000000" },
        { U256_MAX_HEX, U256_MAX_DEC, U256_MAX_HEX }
    };
    const char  *bad[] = {
        "", "0", "0x", "0X1", "1f", "x1", "0xg", "0x1 ", "0x-1", "0x0x1",
        "0x/", "0x:", "0x@", "0xG", "0x`"
    };

    (void) state;

    for (i = 0; i < unit_count(vectors); i++) {
        assert_int_equal(evm_u256_from_hex(&v, vectors[i][0],
                                           strlen(vectors[i][0])),
                         EVM_OK);
        u256_assert(&v, vectors[i][1]);

        out[evm_u256_to_hex(&v, out)] = '\0';
        assert_string_equal(out, vectors[i][2]);
    }

    evm_u256_set(&v, 42);

    for (i = 0; i < unit_count(bad); i++) {
        assert_int_equal(evm_u256_from_hex(&v, bad[i], strlen(bad[i])),
                         EVM_ERROR);
    }

    assert_int_equal(evm_u256_from_hex(&v, U256_MAX_HEX "0", 67), EVM_RANGE);
    u256_assert(&v, "42");
}


static void
u256_big_endian(void **state)
{
    uint8_t     be[33];
    evm_u256_t  v;

    (void) state;

    v = u256("258");
    evm_u256_to_be(&v, be);
    unit_assert_hex(be, 32, "000000000000000000000000000000000000000000000000"
                            "0000000000000102");

    assert_int_equal(evm_u256_from_be(&v, be + 30, 2), EVM_OK);
    u256_assert(&v, "258");

    assert_int_equal(evm_u256_from_be(&v, NULL, 0), EVM_OK);
    assert_true(evm_u256_is_zero(&v));

    memset(be, 0xff, sizeof(be));
    assert_int_equal(evm_u256_from_be(&v, be, 32), EVM_OK);
    u256_assert(&v, U256_MAX_DEC);

    evm_u256_set(&v, 42);
    assert_int_equal(evm_u256_from_be(&v, be, 33), EVM_RANGE);
    u256_assert(&v, "42");
}


static void
u256_to_64_bits(void **state)
{
    uint64_t    n;
    evm_u256_t  v;

    (void) state;

    n = 42;

    v = u256("18446744073709551616");
    assert_int_equal(evm_u256_to_u64(&v, &n), EVM_RANGE);

    evm_u256_set(&v, 0);
    v.w[3] = 1;
    assert_int_equal(evm_u256_to_u64(&v, &n), EVM_RANGE);
    assert_int_equal(n, 42);

    v = u256("18446744073709551615");
    assert_int_equal(evm_u256_to_u64(&v, &n), EVM_OK);
    assert_true(n == UINT64_MAX);
}


static void
u256_to_the_nearest_double(void **state)
{
    int          i;
    char         out[EVM_U256_DEC_LEN + 1];
    uint64_t     seed;
    evm_u256_t   v;
    const char  *edges[] = {
        "0", "1", "9007199254740991", "9007199254740992",
        /* ties, to the even side either way, and one just above a tie */
        "9007199254740993", "9007199254740995",
        "18446744073709551615", "36893488147419107328",
        "36893488147419107329", "36893488147419115520",
        "680564733841876926926749214863536422912", U256_MAX_DEC
    };

    (void) state;

    for (i = 0; i < (int) unit_count(edges); i++) {
        v = u256(edges[i]);
        assert_true(evm_u256_to_double(&v) == strtod(edges[i], NULL));
    }

    /* a tie at every width, then one bit above it far below */

    for (i = 54; i < 256; i++) {

        evm_u256_set(&v, 0);
        v.w[(i - 1) / 64] |= 1ULL << (i - 1) % 64;
        v.w[(i - 54) / 64] |= 1ULL << (i - 54) % 64;

        out[evm_u256_to_dec(&v, out)] = '\0';
        assert_true(evm_u256_to_double(&v) == strtod(out, NULL));

        v.w[0] |= 1;

        out[evm_u256_to_dec(&v, out)] = '\0';
        assert_true(evm_u256_to_double(&v) == strtod(out, NULL));
    }

    seed = 2;

    for (i = 0; i < 20000; i++) {
        v = u256_random(&seed);
        out[evm_u256_to_dec(&v, out)] = '\0';
        assert_true(evm_u256_to_double(&v) == strtod(out, NULL));
    }
}


static void
u256_goes_there_and_back(void **state)
{
    int         i;
    char        out[EVM_U256_DEC_LEN];
    size_t      len;
    uint8_t     be[32];
    uint64_t    seed;
    evm_u256_t  v, back;

    (void) state;

    seed = 3;

    for (i = 0; i < 20000; i++) {

        v = u256_random(&seed);

        len = evm_u256_to_dec(&v, out);
        assert_int_equal(evm_u256_from_dec(&back, out, len), EVM_OK);
        assert_memory_equal(&back, &v, sizeof(v));

        len = evm_u256_to_hex(&v, out);
        assert_int_equal(evm_u256_from_hex(&back, out, len), EVM_OK);
        assert_memory_equal(&back, &v, sizeof(v));

        evm_u256_to_be(&v, be);
        assert_int_equal(evm_u256_from_be(&back, be, 32), EVM_OK);
        assert_memory_equal(&back, &v, sizeof(v));
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(u256_compares),
        cmocka_unit_test(u256_adds_and_subtracts),
        cmocka_unit_test(u256_multiplies),
        cmocka_unit_test(u256_divides),
        cmocka_unit_test(u256_decimal),
        cmocka_unit_test(u256_hexadecimal),
        cmocka_unit_test(u256_big_endian),
        cmocka_unit_test(u256_to_64_bits),
        cmocka_unit_test(u256_to_the_nearest_double),
        cmocka_unit_test(u256_goes_there_and_back),
    };

    return cmocka_run_group_tests_name("u256", tests, NULL, NULL);
}
