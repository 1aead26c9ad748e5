
/*
 * Hexadecimal and addresses.
 */


#include "unit.h"


/* https://eips.ethereum.org/EIPS/eip-55#test-cases */

static const char  *address_eip55[] = {
    /* all caps */
    "0x52908400098527886E0F7030069857D2E4169EE7",
    "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
    /* all lower */
    "0xde709f2102306220921060314715629080e2fb77",
    "0x27b1fdb04752bbc536007a920d24acb045561c26",
    /* normal */
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
    "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb"
};


static void
address_has_the_checksum_of_eip_55(void **state)
{
    char     out[EVM_ADDRESS_STR_LEN + 1];
    size_t   i;
    uint8_t  a[20];

    (void) state;

    for (i = 0; i < unit_count(address_eip55); i++) {
        assert_int_equal(unit_hex(address_eip55[i] + 2, a), 20);

        memset(out, 0, sizeof(out));
        evm_address_format(a, out);
        assert_string_equal(out, address_eip55[i]);
    }
}


static void
address_parses_with_a_checksum_or_none(void **state)
{
    char     text[EVM_ADDRESS_STR_LEN];
    size_t   i, j;
    uint8_t  a[20], got[20];

    (void) state;

    for (i = 0; i < unit_count(address_eip55); i++) {

        unit_hex(address_eip55[i] + 2, a);

        assert_int_equal(evm_address_parse(address_eip55[i], 42, got),
                         EVM_OK);
        assert_memory_equal(got, a, 20);

        memcpy(text, address_eip55[i], 42);

        for (j = 2; j < 42; j++) {
            text[j] |= (text[j] >= 'A') ? 0x20 : 0;
        }

        memset(got, 0, 20);
        assert_int_equal(evm_address_parse(text, 42, got), EVM_OK);
        assert_memory_equal(got, a, 20);

        for (j = 2; j < 42; j++) {
            text[j] &= (text[j] >= 'a') ? ~0x20 : ~0;
        }

        memset(got, 0, 20);
        assert_int_equal(evm_address_parse(text, 42, got), EVM_OK);
        assert_memory_equal(got, a, 20);
    }
}


/* the case of any one letter changed */

static void
address_with_a_wrong_checksum_is_refused(void **state)
{
    char     text[EVM_ADDRESS_STR_LEN];
    size_t   i, j;
    uint8_t  got[20], before[20];

    (void) state;

    memset(before, 0xee, 20);
    memset(got, 0xee, 20);

    for (i = 4; i < unit_count(address_eip55); i++) {
        for (j = 2; j < 42; j++) {

            memcpy(text, address_eip55[i], 42);

            if (text[j] < 'A') {
                continue;
            }

            text[j] ^= 0x20;

            assert_int_equal(evm_address_parse(text, 42, got), EVM_CHECKSUM);
            assert_memory_equal(got, before, 20);
        }
    }
}


static void
address_malformed_is_refused(void **state)
{
    size_t       i;
    uint8_t      got[20];
    const char  *bad[] = {
        "", "0x", "0x52908400098527886E0F7030069857D2E4169EE",
        "0x52908400098527886E0F7030069857D2E4169EE7a",
        "52908400098527886E0F7030069857D2E4169EE7",
        "52908400098527886E0F7030069857D2E4169EE700",
        "0X52908400098527886E0F7030069857D2E4169EE7",
        "0x52908400098527886E0F7030069857D2E4169EEg",
        "0x52908400098527886E0F7030069857D2E4169EE ",
        " 0x2908400098527886E0F7030069857D2E4169EE7"
    };

    (void) state;

    for (i = 0; i < unit_count(bad); i++) {
        assert_int_equal(evm_address_parse(bad[i], strlen(bad[i]), got),
                         EVM_ERROR);
    }
}


static void
hex_decodes(void **state)
{
    size_t       n, i;
    uint8_t      out[4];
    const char  *bad[] = {
        "", "0", "x0", "00", "0X00", "0x0", "0x000", "0x0g", "0x 1", "0x-1",
        "0x00\n", "0x@0", "0x/0", "0x:0", "0x`0", "0xG0"
    };

    (void) state;

    n = sizeof(out);
    assert_int_equal(evm_hex_decode("0x00fFAb19", 10, out, &n), EVM_OK);
    assert_int_equal(n, 4);
    unit_assert_hex(out, 4, "00ffab19");

    n = 0;
    assert_int_equal(evm_hex_decode("0x", 2, out, &n), EVM_OK);
    assert_int_equal(n, 0);

    n = 3;
    assert_int_equal(evm_hex_decode("0x11223344", 10, out, &n), EVM_NOSPACE);
    assert_int_equal(n, 3);
    unit_assert_hex(out, 4, "00ffab19");

    n = sizeof(out);

    for (i = 0; i < unit_count(bad); i++) {
        assert_int_equal(evm_hex_decode(bad[i], strlen(bad[i]), out, &n),
                         EVM_ERROR);
    }

    /* the error is at the end: the bytes before it are not written either */

    assert_int_equal(evm_hex_decode("0x1122z3", 8, out, &n), EVM_ERROR);
    unit_assert_hex(out, 4, "00ffab19");
}


static void
hex_encodes(void **state)
{
    char           out[11];
    const uint8_t  bytes[4] = { 0x00, 0xff, 0xab, 0x19 };

    (void) state;

    memset(out, 0, sizeof(out));
    assert_int_equal(evm_hex_encode(bytes, 4, out), 10);
    assert_string_equal(out, "0x00ffab19");

    memset(out, 0, sizeof(out));
    assert_int_equal(evm_hex_encode(NULL, 0, out), 2);
    assert_string_equal(out, "0x");
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(address_has_the_checksum_of_eip_55),
        cmocka_unit_test(address_parses_with_a_checksum_or_none),
        cmocka_unit_test(address_with_a_wrong_checksum_is_refused),
        cmocka_unit_test(address_malformed_is_refused),
        cmocka_unit_test(hex_decodes),
        cmocka_unit_test(hex_encodes),
    };

    return cmocka_run_group_tests_name("address", tests, NULL, NULL);
}
