
/*
 * Revert data, well-formed and hostile.
 */


#include "unit.h"


#define W0     "00000000000000000000000000000000000000000000000000000000000000"
#define W0_24  "000000000000000000000000000000000000000000000000"
#define ERROR  "08c379a0"
#define PANIC  "4e487b71"


static void
revert_assert(const char *data, const char *want)
{
    char      out[256];
    size_t    n, len;
    uint8_t   bytes[512], *exact;

    n = unit_hex(data, bytes);
    exact = unit_exact(bytes, n);

    memset(out, 0, sizeof(out));
    len = evm_abi_revert_reason(exact, n, out, sizeof(out) - 1);
    free(exact);

    assert_string_equal(out, want);
    assert_int_equal(len, strlen(want));
}


/* one word of text at the usual offset */

static void
revert_assert_text(const char *text, size_t len, const char *want)
{
    char   data[512], *p;
    size_t i;

    assert_true(len <= 32);

    p = data + sprintf(data, "%s", ERROR W0 "20" W0);
    p += sprintf(p, "%02x", (unsigned) len);

    for (i = 0; i < 32; i++) {
        p += sprintf(p, "%02x", i < len ? (uint8_t) text[i] : 0);
    }

    revert_assert(data, want);
}


static void
revert_error(void **state)
{
    (void) state;

    /* of the Solidity documentation */

    revert_assert(ERROR W0 "20" W0 "1a"
        "4e6f7420656e6f7567682045746865722070726f76696465642e000000000000",
        "Not enough Ether provided.");

    /* no padding; another offset; the last byte of the last word */

    revert_assert(ERROR W0 "20" W0 "02" "6869", "hi");
    revert_assert(ERROR W0 "40" W0 "ff" W0 "02" "6869", "hi");
    revert_assert(ERROR W0 "20" W0 "20"
        "4141414141414141414141414141414141414141414141414141414141414142",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB");

    /* UTF-8 of two, three and four bytes */

    revert_assert_text("\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", 11,
                       "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
}


static void
revert_error_text_is_cleaned(void **state)
{
    (void) state;

    revert_assert_text("a\nb\0c\x7f" "d\x1b[31m", 12, "a?b?c?d?[31m");

    /* C1 controls, and U+00A0, the first that is none */

    revert_assert_text("\xc2\x80\xc2\x9f\xc2\xa0", 6, "??\xc2\xa0");

    /* a lone continuation, truncated sequences at the end */

    revert_assert_text("\x80" "a", 2, "?a");
    revert_assert_text("a\xc3", 2, "a?");
    revert_assert_text("a\xc2", 2, "a?");
    revert_assert_text("a\xe2\x82", 3, "a??");
    revert_assert_text("a\xf0\x9f\x98", 4, "a???");

    /* overlong, a surrogate, above U+10FFFF, bytes that never occur */

    revert_assert_text("\xc0\xaf\xc1\xbf", 4, "????");
    revert_assert_text("\xe0\x80\xaf", 3, "???");
    revert_assert_text("\xe0\x9f\xbf", 3, "???");
    revert_assert_text("\xf0\x8f\xbf\xbf", 4, "????");
    revert_assert_text("\xed\xa0\x80", 3, "???");
    revert_assert_text("\xf4\x90\x80\x80", 4, "????");
    revert_assert_text("\xf5\x80\x80\x80\xff", 5, "?????");

    /* their neighbours */

    revert_assert_text("\xe0\xa0\x80\xed\x9f\xbf\xf4\x8f\xbf\xbf", 10,
                       "\xe0\xa0\x80\xed\x9f\xbf\xf4\x8f\xbf\xbf");
}


static void
revert_error_malformed(void **state)
{
    (void) state;

    revert_assert("", "execution reverted");
    revert_assert("08", "execution reverted");
    revert_assert("08c379", "execution reverted");
    revert_assert(ERROR, "execution reverted");
    revert_assert(ERROR W0, "execution reverted");
    revert_assert(ERROR W0 "20", "execution reverted");
    revert_assert(ERROR W0 "20" W0, "execution reverted");

    /* an empty string tells nothing */

    revert_assert(ERROR W0 "20" W0 "00", "execution reverted");

    /* the text one byte short; an offset to or past the end */

    revert_assert(ERROR W0 "20" W0 "03" "6869", "execution reverted");
    revert_assert(ERROR W0 "21" W0 "02" "6869", "execution reverted");
    revert_assert(ERROR W0 "40" W0 "02" "6869", "execution reverted");
    revert_assert(ERROR W0 "ff" W0 "02" "6869", "execution reverted");

    /* numbers that wrap around in 64 or 256 bits */

    revert_assert(ERROR W0_24 "ffffffffffffffff" W0 "02" "6869",
                  "execution reverted");
    revert_assert(ERROR W0_24 "ffffffffffffffe0" W0 "02" "6869",
                  "execution reverted");
    revert_assert(ERROR W0 "20" W0_24 "ffffffffffffffff" "6869",
                  "execution reverted");
    revert_assert(ERROR W0 "20" "01" W0 "6869", "execution reverted");
    revert_assert(ERROR "01" W0 W0 "02" "6869", "execution reverted");
}


static void
revert_panic(void **state)
{
    (void) state;

    revert_assert(PANIC W0 "00", "panic 0x00 (generic panic)");
    revert_assert(PANIC W0 "01", "panic 0x01 (assertion failed)");
    revert_assert(PANIC W0 "11", "panic 0x11 (arithmetic overflow)");
    revert_assert(PANIC W0 "12", "panic 0x12 (division by zero)");
    revert_assert(PANIC W0 "21", "panic 0x21 (invalid enum value)");
    revert_assert(PANIC W0 "22", "panic 0x22 (invalid storage byte array)");
    revert_assert(PANIC W0 "31", "panic 0x31 (pop from an empty array)");
    revert_assert(PANIC W0 "32", "panic 0x32 (array index out of bounds)");
    revert_assert(PANIC W0 "41", "panic 0x41 (out of memory)");
    revert_assert(PANIC W0 "51",
                  "panic 0x51 (call of an uninitialized function)");

    revert_assert(PANIC W0 "99", "panic 0x99");
    revert_assert(PANIC "0000000000000000000000000000000000000000000000000000"
                  "000000000111", "panic 0x111");
    revert_assert(PANIC "11" W0, "panic 0x1100000000000000000000000000000000"
                  "000000000000000000000000000000");

    revert_assert(PANIC, "execution reverted");
    revert_assert(PANIC W0, "execution reverted");
}


static void
revert_custom(void **state)
{
    (void) state;

    revert_assert("12345678", "custom error 0x12345678");
    revert_assert("deadbeef" W0 "01", "custom error 0xdeadbeef");
    revert_assert("00000000", "custom error 0x00000000");
}


/* at every size, no byte beyond it is written and no character is cut */

static void
revert_is_cut_at_a_character(void **state)
{
    char         out[64];
    size_t       n, len, size;
    uint8_t      bytes[256], *exact;
    const char  *text;

    (void) state;

    text = "a\xc3\xa9" "b\xe2\x82\xac" "c\xf0\x9f\x98\x80?";

    n = unit_hex(ERROR W0 "20" W0 "0d"
                 "61c3a962e282ac63f09f988007", bytes);
    exact = unit_exact(bytes, n);

    for (size = 0; size < 20; size++) {

        memset(out, 0x55, sizeof(out));
        len = evm_abi_revert_reason(exact, n, out, size);

        assert_true(len <= size);
        assert_memory_equal(out, text, len);
        assert_int_equal(out[len], 0x55);

        /* it ends before a character's first byte or at the end */

        assert_true((text[len] & 0xc0) != 0x80);
        assert_true(size - len < 4 || len == 13);
    }

    free(exact);

    for (size = 0; size < 20; size++) {
        memset(out, 0x55, sizeof(out));
        len = evm_abi_revert_reason(NULL, 0, out, size);
        assert_int_equal(len, size < 18 ? size : 18);
        assert_memory_equal(out, "execution reverted", len);
        assert_int_equal(out[len], 0x55);
    }
}


static int
revert_is_clean(const char *s, size_t len)
{
    size_t  i;

    for (i = 0; i < len; i++) {
        if ((uint8_t) s[i] < 0x20 || s[i] == 0x7f) {
            return 0;
        }
    }

    return 1;
}


/* for the sanitizers above all */

static void
revert_survives_noise(void **state)
{
    int       i;
    char     *out;
    size_t    n, j, len, size;
    uint8_t   bytes[160], *exact;
    uint64_t  seed;

    (void) state;

    seed = 5;

    for (i = 0; i < 100000; i++) {

        memset(bytes, 0, sizeof(bytes));
        n = unit_random(&seed) % sizeof(bytes);
        unit_hex((i % 3) ? ERROR W0 "20" : PANIC, bytes);

        if (i % 3) {
            bytes[67] = (uint8_t) unit_random(&seed) % 100;
        }

        for (j = 68; j < n; j++) {
            bytes[j] = (uint8_t) unit_random(&seed);
        }

        if (n) {
            bytes[unit_random(&seed) % n] ^= (uint8_t) unit_random(&seed);
        }

        size = unit_random(&seed) % 100;
        exact = unit_exact(bytes, n);
        out = malloc(size);

        len = evm_abi_revert_reason(exact, n, out, size);

        assert_true(len <= size);
        assert_true(revert_is_clean(out, len));

        free(exact);
        free(out);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(revert_error),
        cmocka_unit_test(revert_error_text_is_cleaned),
        cmocka_unit_test(revert_error_malformed),
        cmocka_unit_test(revert_panic),
        cmocka_unit_test(revert_custom),
        cmocka_unit_test(revert_is_cut_at_a_character),
        cmocka_unit_test(revert_survives_noise),
    };

    return cmocka_run_group_tests_name("revert", tests, NULL, NULL);
}
