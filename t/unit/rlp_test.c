
/*
 * RLP against the examples of its page on ethereum.org and rlptest.json of
 * ethereum/tests.
 */


#include "unit.h"


#define RLP_55_ZEROS                                                         \
    "0000000000000000000000000000000000000000000000000000000000000000000000" \
    "0000000000000000000000000000000000000000"

#define RLP_LOREM  "Lorem ipsum dolor sit amet, consectetur adipisicing elit"


typedef struct {
    const char  *input;
    int          list;
    size_t       header;
    size_t       len;
} rlp_item_t;


static uint8_t  rlp_buf[2048];


static evm_rlp_t
rlp_new(size_t size)
{
    evm_rlp_t  rlp;

    memset(rlp_buf, 0xee, sizeof(rlp_buf));

    rlp.buf = rlp_buf;
    rlp.size = size;
    rlp.len = 0;
    rlp.overflow = 0;

    return rlp;
}


static void
rlp_assert_bytes(const char *payload, const char *want)
{
    size_t     len;
    uint8_t    bytes[64];
    evm_rlp_t  rlp;

    len = unit_hex(payload, bytes);
    rlp = rlp_new(sizeof(rlp_buf));

    evm_rlp_bytes(&rlp, bytes, len);

    assert_int_equal(rlp.overflow, 0);
    unit_assert_hex(rlp_buf, rlp.len, want);
}


static void
rlp_writes_strings(void **state)
{
    size_t     i;
    uint8_t    kilobyte[1024];
    evm_rlp_t  rlp;

    (void) state;

    rlp_assert_bytes("", "80");
    rlp_assert_bytes("00", "00");
    rlp_assert_bytes("01", "01");
    rlp_assert_bytes("0f", "0f");
    rlp_assert_bytes("7f", "7f");
    rlp_assert_bytes("80", "8180");
    rlp_assert_bytes("0400", "820400");
    rlp_assert_bytes("646f67", "83646f67");

    /* 55 bytes are the last with the short header, 56 the first with a long */

    rlp = rlp_new(sizeof(rlp_buf));
    evm_rlp_bytes(&rlp, RLP_LOREM, 55);
    assert_int_equal(rlp.len, 56);
    unit_assert_hex(rlp_buf, 1, "b7");

    rlp = rlp_new(sizeof(rlp_buf));
    evm_rlp_bytes(&rlp, RLP_LOREM, 56);
    assert_int_equal(rlp.len, 58);
    unit_assert_hex(rlp_buf, 2, "b838");
    assert_memory_equal(rlp_buf + 2, RLP_LOREM, 56);

    for (i = 0; i < sizeof(kilobyte); i++) {
        kilobyte[i] = (uint8_t) i;
    }

    rlp = rlp_new(sizeof(rlp_buf));
    evm_rlp_bytes(&rlp, kilobyte, sizeof(kilobyte));
    assert_int_equal(rlp.len, 1027);
    unit_assert_hex(rlp_buf, 3, "b90400");
    assert_memory_equal(rlp_buf + 3, kilobyte, sizeof(kilobyte));

    /* an empty string may be at NULL */

    rlp = rlp_new(sizeof(rlp_buf));
    evm_rlp_bytes(&rlp, NULL, 0);
    unit_assert_hex(rlp_buf, rlp.len, "80");
}


static void
rlp_writes_integers(void **state)
{
    size_t                 i;
    evm_rlp_t              rlp;
    evm_u256_t             v;
    static const struct {
        const char  *number;
        const char  *want;
    } vectors[] = {
        { "0", "80" },
        { "1", "01" },
        { "16", "10" },
        { "79", "4f" },
        { "127", "7f" },
        { "128", "8180" },
        { "1000", "8203e8" },
        { "1024", "820400" },
        { "100000", "830186a0" },
        { "18446744073709551615", "88ffffffffffffffff" },
        { "18446744073709551616", "89010000000000000000" },
        { "83729609699884896815286331701780722",
          "8f102030405060708090a0b0c0d0e0f2" },
        { "105315505618206987246253880190783558935785933862974822347068935681",
          "9c0100020003000400050006000700080009000a000b000c000d000e01" }
    };

    (void) state;

    for (i = 0; i < unit_count(vectors); i++) {

        assert_int_equal(evm_u256_from_dec(&v, vectors[i].number,
                                           strlen(vectors[i].number)),
                         EVM_OK);

        rlp = rlp_new(sizeof(rlp_buf));
        evm_rlp_u256(&rlp, &v);
        unit_assert_hex(rlp_buf, rlp.len, vectors[i].want);

        if (v.w[1] | v.w[2] | v.w[3]) {
            continue;
        }

        rlp = rlp_new(sizeof(rlp_buf));
        evm_rlp_u64(&rlp, v.w[0]);
        unit_assert_hex(rlp_buf, rlp.len, vectors[i].want);
    }
}


static void
rlp_writes_lists(void **state)
{
    int        i;
    evm_rlp_t  rlp;

    (void) state;

    rlp = rlp_new(sizeof(rlp_buf));
    evm_rlp_list(&rlp, 0);
    unit_assert_hex(rlp_buf, rlp.len, "c0");

    rlp = rlp_new(sizeof(rlp_buf));
    evm_rlp_list(&rlp, 8);
    evm_rlp_bytes(&rlp, "cat", 3);
    evm_rlp_bytes(&rlp, "dog", 3);
    unit_assert_hex(rlp_buf, rlp.len, "c88363617483646f67");

    /* three, as sets: [ [], [[]], [ [], [[]] ] ] */

    rlp = rlp_new(sizeof(rlp_buf));
    evm_rlp_list(&rlp, 7);
    evm_rlp_list(&rlp, 0);
    evm_rlp_list(&rlp, 1);
    evm_rlp_list(&rlp, 0);
    evm_rlp_list(&rlp, 3);
    evm_rlp_list(&rlp, 0);
    evm_rlp_list(&rlp, 1);
    evm_rlp_list(&rlp, 0);
    unit_assert_hex(rlp_buf, rlp.len, "c7c0c1c0c3c0c1c0");

    /* longList1 of rlptest.json */

    rlp = rlp_new(sizeof(rlp_buf));
    evm_rlp_list(&rlp, 64);

    for (i = 0; i < 4; i++) {
        evm_rlp_list(&rlp, 15);
        evm_rlp_bytes(&rlp, "asdf", 4);
        evm_rlp_bytes(&rlp, "qwer", 4);
        evm_rlp_bytes(&rlp, "zxcv", 4);
    }

    unit_assert_hex(rlp_buf, rlp.len,
                    "f840cf84617364668471776572847a786376cf84617364668471"
                    "776572847a786376cf84617364668471776572847a786376cf84"
                    "617364668471776572847a786376");
}


static void
rlp_overflow_writes_nothing(void **state)
{
    size_t     size;
    uint8_t    untouched[64];
    evm_rlp_t  rlp;

    (void) state;

    memset(untouched, 0xee, sizeof(untouched));

    for (size = 0; size < 58; size++) {
        rlp = rlp_new(size);
        evm_rlp_bytes(&rlp, RLP_LOREM, 56);

        assert_int_equal(rlp.overflow, 1);
        assert_int_equal(rlp.len, 0);

        /* what would still fit does not follow it */

        evm_rlp_bytes(&rlp, "dog", 3);
        evm_rlp_u64(&rlp, 1);
        evm_rlp_list(&rlp, 0);

        assert_int_equal(rlp.overflow, 1);
        assert_int_equal(rlp.len, 0);
        assert_memory_equal(rlp_buf + size, untouched, 64);
    }

    rlp = rlp_new(58);
    evm_rlp_bytes(&rlp, RLP_LOREM, 56);
    assert_int_equal(rlp.overflow, 0);
    assert_int_equal(rlp.len, 58);

    rlp = rlp_new(2);
    evm_rlp_list(&rlp, 256);
    assert_int_equal(rlp.overflow, 1);
    assert_int_equal(rlp.len, 0);

    rlp = rlp_new(3);
    evm_rlp_list(&rlp, 256);
    assert_int_equal(rlp.overflow, 0);
    unit_assert_hex(rlp_buf, rlp.len, "f90100");
}


static void
rlp_reads_items(void **state)
{
    int                      list;
    size_t                   i, n, len;
    uint8_t                 *exact;
    const uint8_t           *p, *data;
    static const rlp_item_t  items[] = {
        { "00", 0, 0, 1 },
        { "7f", 0, 0, 1 },
        { "80", 0, 1, 0 },
        { "8180", 0, 1, 1 },
        { "83646f67", 0, 1, 3 },
        { "c0", 1, 1, 0 },
        { "c88363617483646f67", 1, 1, 8 },
        /* only the outer item is looked at: what is in here is malformed */
        { "c181", 1, 1, 1 }
    };

    (void) state;

    for (i = 0; i < unit_count(items); i++) {

        n = unit_hex(items[i].input, rlp_buf);
        exact = unit_exact(rlp_buf, n);
        p = exact;

        assert_int_equal(evm_rlp_next(&p, exact + n, &data, &len, &list),
                         EVM_OK);
        assert_ptr_equal(p, exact + n);
        assert_ptr_equal(data, exact + items[i].header);
        assert_int_equal(len, items[i].len);
        assert_int_equal(list, items[i].list);

        free(exact);
    }
}


static void
rlp_reads_one_after_the_other(void **state)
{
    int             list;
    size_t          n, len;
    const uint8_t  *p, *end, *data;

    (void) state;

    n = unit_hex("0f83646f67c20102", rlp_buf);
    p = rlp_buf;
    end = rlp_buf + n;

    assert_int_equal(evm_rlp_next(&p, end, &data, &len, &list), EVM_OK);
    unit_assert_hex(data, len, "0f");

    assert_int_equal(evm_rlp_next(&p, end, &data, &len, &list), EVM_OK);
    unit_assert_hex(data, len, "646f67");
    assert_false(list);

    assert_int_equal(evm_rlp_next(&p, end, &data, &len, &list), EVM_OK);
    unit_assert_hex(data, len, "0102");
    assert_true(list);

    assert_ptr_equal(p, end);
    assert_int_equal(evm_rlp_next(&p, end, &data, &len, &list), EVM_ERROR);
}


static void
rlp_refuses_what_is_not_canonical(void **state)
{
    int             list;
    size_t          i, n, len;
    uint8_t        *exact;
    const uint8_t  *p, *data;
    const char     *bad[] = {
        /* nothing; a byte that needs no header */
        "", "8100", "8101", "817f",
        /* past the end: the payload, the length, a length of 2^64 - 1 */
        "81", "83646f", "b8", "b9", "b904", "b90400", "c1", "c20f",
        "bfffffffffffffffff", "ffffffffffffffffff", "bfffffffffffffffff00",
        "ffffffffffffffffff00", "bf7fffffffffffffff00", "f8", "f938",
        /* a long header for what a short one holds */
        "b800", "b80101",
        "b837" RLP_55_ZEROS,
        "f800", "f80100",
        "f837" RLP_55_ZEROS,
        /* a length with a zero in front */
        "b90038" RLP_55_ZEROS "00",
        "f90038" RLP_55_ZEROS "00"
    };

    (void) state;

    for (i = 0; i < unit_count(bad); i++) {

        n = unit_hex(bad[i], rlp_buf);
        exact = unit_exact(rlp_buf, n);

        p = exact;
        data = NULL;
        len = 42;
        list = 42;

        assert_int_equal(evm_rlp_next(&p, exact + n, &data, &len, &list),
                         EVM_ERROR);

        assert_ptr_equal(p, exact);
        assert_null(data);
        assert_int_equal(len, 42);
        assert_int_equal(list, 42);

        free(exact);
    }
}


/* what is read and written again must be the same bytes, whatever they are */

static void
rlp_accepts_only_what_it_writes(void **state)
{
    int             i, list;
    size_t          n, len, j, accepted;
    uint8_t         bytes[80], *exact;
    uint64_t        seed;
    evm_rlp_t       rlp;
    const uint8_t  *p, *data;

    (void) state;

    seed = 4;
    accepted = 0;

    for (i = 0; i < 200000; i++) {

        n = unit_random(&seed) % sizeof(bytes);

        for (j = 0; j < n; j++) {
            bytes[j] = (uint8_t) unit_random(&seed);
        }

        if (n > 2 && i % 2) {
            bytes[0] = (i % 4 == 1) ? 0xb8 : 0xf8;
            bytes[1] = (uint8_t) (n - 2);
        }

        exact = unit_exact(bytes, n);
        p = exact;

        if (evm_rlp_next(&p, exact + n, &data, &len, &list) == EVM_OK) {

            accepted++;
            rlp = rlp_new(sizeof(rlp_buf));

            if (list) {
                evm_rlp_list(&rlp, len);
                memcpy(rlp.buf + rlp.len, data, len);
                rlp.len += len;

            } else {
                evm_rlp_bytes(&rlp, data, len);
            }

            assert_int_equal(rlp.len, p - exact);
            assert_memory_equal(rlp_buf, exact, rlp.len);
        }

        free(exact);
    }

    assert_true(accepted > 10000);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(rlp_writes_strings),
        cmocka_unit_test(rlp_writes_integers),
        cmocka_unit_test(rlp_writes_lists),
        cmocka_unit_test(rlp_overflow_writes_nothing),
        cmocka_unit_test(rlp_reads_items),
        cmocka_unit_test(rlp_reads_one_after_the_other),
        cmocka_unit_test(rlp_refuses_what_is_not_canonical),
        cmocka_unit_test(rlp_accepts_only_what_it_writes),
    };

    return cmocka_run_group_tests_name("rlp", tests, NULL, NULL);
}
