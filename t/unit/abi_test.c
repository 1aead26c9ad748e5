
/*
 * Signatures, selectors and calldata.
 */


#include "unit.h"


#define W_ZERO31                                                             \
    "00000000000000000000000000000000000000000000000000000000000000"

#define W_ONES31                                                             \
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"


static evm_abi_function_t
abi_function(const char *s)
{
    const char          *err;
    evm_abi_function_t   fn;

    err = "";

    if (evm_abi_function_parse(s, strlen(s), &fn, &err) != EVM_OK) {
        fail_msg("%s: %s", s, err);
    }

    return fn;
}


static void
abi_types(void **state)
{
    char                   name[16];
    size_t                 i;
    unsigned               size, ok;
    evm_abi_type_t         t;
    static const struct {
        const char      *name;
        evm_abi_type_e   type;
        unsigned         size;
    } good[] = {
        { "uint", EVM_ABI_UINT, 256 },
        { "int", EVM_ABI_INT, 256 },
        { "address", EVM_ABI_ADDRESS, 0 },
        { "bool", EVM_ABI_BOOL, 0 },
        { "bytes", EVM_ABI_BYTES, 0 },
        { "string", EVM_ABI_STRING, 0 }
    };
    const char  *bad[] = {
        "", "u", "uin", "uint0", "uint08", "uint008", "uint2568", "uint-8",
        "uint8 ", " uint8", "Uint8", "uint256x", "uint+8", "bytes0",
        "bytes01", "bytes ", "bytes[]", "uint8[2]", "addres", "addressx",
        "address payable", "boolean", "byte", "function", "fixed",
        "ufixed128x18", "tuple", "strings", "int4294967304", "uint1e1"
    };

    (void) state;

    for (i = 0; i < unit_count(good); i++) {
        assert_int_equal(evm_abi_type_parse(good[i].name,
                                            strlen(good[i].name), &t),
                         EVM_OK);
        assert_int_equal(t.type, good[i].type);
        assert_int_equal(t.size, good[i].size);
    }

    for (size = 1; size < 1000; size++) {

        ok = (size % 8 == 0 && size <= 256);

        snprintf(name, sizeof(name), "uint%u", size);
        assert_int_equal(evm_abi_type_parse(name, strlen(name), &t),
                         ok ? EVM_OK : EVM_ERROR);

        if (ok) {
            assert_int_equal(t.type, EVM_ABI_UINT);
            assert_int_equal(t.size, size);
        }

        assert_int_equal(evm_abi_type_parse(name + 1, strlen(name) - 1, &t),
                         ok ? EVM_OK : EVM_ERROR);

        if (ok) {
            assert_int_equal(t.type, EVM_ABI_INT);
        }

        ok = (size <= 32);

        snprintf(name, sizeof(name), "bytes%u", size);
        assert_int_equal(evm_abi_type_parse(name, strlen(name), &t),
                         ok ? EVM_OK : EVM_ERROR);

        if (ok) {
            assert_int_equal(t.type, EVM_ABI_FIXED_BYTES);
            assert_int_equal(t.size, size);
        }
    }

    t.type = EVM_ABI_BOOL;
    t.size = 42;

    for (i = 0; i < unit_count(bad); i++) {
        assert_int_equal(evm_abi_type_parse(bad[i], strlen(bad[i]), &t),
                         EVM_ERROR);
    }

    assert_int_equal(t.type, EVM_ABI_BOOL);
    assert_int_equal(t.size, 42);
}


/* from EIP-20, EIP-721, EIP-1155 and the Solidity documentation */

static void
abi_selectors(void **state)
{
    size_t                 i;
    evm_abi_function_t     fn;
    static const struct {
        const char  *signature;
        const char  *selector;
        unsigned     nargs;
    } vectors[] = {
        { "totalSupply()", "18160ddd", 0 },
        { "decimals()", "313ce567", 0 },
        { "balanceOf(address)", "70a08231", 1 },
        { "transfer(address,uint256)", "a9059cbb", 2 },
        { "transfer(address,uint)", "a9059cbb", 2 },
        { "approve(address,uint256)", "095ea7b3", 2 },
        { "transferFrom(address,address,uint256)", "23b872dd", 3 },
        { "safeTransferFrom(address,address,uint256,bytes)", "b88d4fde", 4 },
        { "safeTransferFrom(address,address,uint256,uint256,bytes)",
          "f242432a", 5 },
        { "supportsInterface(bytes4)", "01ffc9a7", 1 },
        { "baz(uint32,bool)", "cdcd77c0", 2 },
        { "Error(string)", "08c379a0", 1 },
        { "Panic(uint256)", "4e487b71", 1 }
    };

    (void) state;

    for (i = 0; i < unit_count(vectors); i++) {
        fn = abi_function(vectors[i].signature);
        unit_assert_hex(fn.selector, 4, vectors[i].selector);
        assert_int_equal(fn.nargs, vectors[i].nargs);
    }

    fn = abi_function("f(uint,int8,bytes,bytes7)");
    assert_int_equal(fn.args[0].type, EVM_ABI_UINT);
    assert_int_equal(fn.args[0].size, 256);
    assert_int_equal(fn.args[1].type, EVM_ABI_INT);
    assert_int_equal(fn.args[1].size, 8);
    assert_int_equal(fn.args[2].type, EVM_ABI_BYTES);
    assert_int_equal(fn.args[2].size, 0);
    assert_int_equal(fn.args[3].type, EVM_ABI_FIXED_BYTES);
    assert_int_equal(fn.args[3].size, 7);
}


static void
abi_signatures_refused(void **state)
{
    int                  rc;
    size_t               i, n;
    uint8_t             *exact;
    const char          *err;
    evm_abi_function_t   fn, before;
    const char          *bad[] = {
        "", "(", ")", "()", "f", "f(", "f)", "f()x", "f() ", " f()",
        "f( )", "f(uint256, bool)", "f(uint256 a)", "f(,)", "f(uint8,)",
        "f(,uint8)", "f(uint8,,bool)", "f(uint8[])", "f(uint8[2])",
        "f((uint8,bool))", "f(tuple)", "f(function)", "f(uint7)",
        "f(uint264)", "f(bytes33)", "f(bytes0)", "f(Uint8)", "1f()",
        "f-g()", "f.g(uint8)", "f(uint8))", "f((uint8)", "f()()",
        "f(uint8)(bool)", "\xc3\xa9()", "f\n()", "f(uint8;bool)"
    };

    (void) state;

    memset(&before, 0x5a, sizeof(before));
    fn = before;

    for (i = 0; i < unit_count(bad); i++) {

        n = strlen(bad[i]);
        exact = unit_exact(bad[i], n);
        err = NULL;

        rc = evm_abi_function_parse((char *) exact, n, &fn, &err);
        free(exact);

        if (rc != EVM_ERROR || err == NULL) {
            fail_msg("\"%s\" gave %d, %s", bad[i], rc, err ? err : "(null)");
        }

        assert_memory_equal(&fn, &before, sizeof(fn));
    }

    /* nobody wants the sentence; a zero byte inside */

    assert_int_equal(evm_abi_function_parse("f", 1, &fn, NULL), EVM_ERROR);
    assert_int_equal(evm_abi_function_parse("f\0()", 4, &fn, NULL),
                     EVM_ERROR);

    assert_int_equal(evm_abi_function_parse("f(uint8[])", 10, &fn, &err),
                     EVM_ERROR);
    assert_string_equal(err, "arrays and tuples are not supported");
}


static void
abi_takes_32_arguments(void **state)
{
    int                  i;
    char                 s[512];
    const char          *err;
    evm_abi_function_t   fn;

    (void) state;

    strcpy(s, "f(bool");

    for (i = 1; i < 32; i++) {
        strcat(s, ",bool");
    }

    strcat(s, ")");
    fn = abi_function(s);
    assert_int_equal(fn.nargs, 32);

    s[strlen(s) - 1] = '\0';
    strcat(s, ",bool)");

    err = NULL;
    assert_int_equal(evm_abi_function_parse(s, strlen(s), &fn, &err),
                     EVM_RANGE);
    assert_non_null(err);
}


/* baz(69, true) of the ABI specification */

static void
abi_encodes_the_example_of_the_specification(void **state)
{
    size_t              n;
    uint8_t             out[68];
    evm_abi_value_t     values[2];
    evm_abi_function_t  fn;

    (void) state;

    fn = abi_function("baz(uint32,bool)");

    memset(values, 0, sizeof(values));
    values[0].word[31] = 69;
    values[1].word[31] = 1;

    assert_int_equal(evm_abi_encoded_len(&fn, values), 68);

    n = sizeof(out);
    assert_int_equal(evm_abi_encode(&fn, values, out, &n), EVM_OK);
    unit_assert_hex(out, n,
        "cdcd77c0"
        "0000000000000000000000000000000000000000000000000000000000000045"
        "0000000000000000000000000000000000000000000000000000000000000001");
}


/* revert("Not enough Ether provided.") of the Solidity documentation */

static void
abi_encodes_a_string(void **state)
{
    size_t              n;
    uint8_t             out[100];
    evm_abi_value_t     value;
    evm_abi_function_t  fn;

    (void) state;

    fn = abi_function("Error(string)");

    /* the word of a dynamic value is not looked at */

    memset(&value, 0xff, sizeof(value));
    value.data = (const uint8_t *) "Not enough Ether provided.";
    value.len = 26;

    n = sizeof(out);
    assert_int_equal(evm_abi_encode(&fn, &value, out, &n), EVM_OK);
    unit_assert_hex(out, n,
        "08c379a0"
        "0000000000000000000000000000000000000000000000000000000000000020"
        "000000000000000000000000000000000000000000000000000000000000001a"
        "4e6f7420656e6f7567682045746865722070726f76696465642e000000000000");
}


/*
 * The layout that the specification gives f(uint256,uint32[],bytes10,bytes),
 * with bytes for the array: the offsets count from after the selector.
 */

static void
abi_lays_out_heads_and_tails(void **state)
{
    size_t              n;
    uint8_t             out[512], word[32];
    evm_abi_value_t     values[4];
    evm_abi_function_t  fn;

    (void) state;

    fn = abi_function("f(uint256,bytes,bytes10,string)");

    memset(values, 0, sizeof(values));
    values[0].word[30] = 0x01;
    values[0].word[31] = 0x23;
    memset(word, 0xaa, sizeof(word));
    values[1].data = word;
    values[1].len = 32;
    memcpy(values[2].word, "1234567890", 10);
    values[3].data = (const uint8_t *) "Hello, world!";
    values[3].len = 13;

    n = sizeof(out);
    assert_int_equal(evm_abi_encode(&fn, values, out, &n), EVM_OK);
    assert_int_equal(n, evm_abi_encoded_len(&fn, values));
    unit_assert_hex(out + 4, n - 4,
        "0000000000000000000000000000000000000000000000000000000000000123"
        "0000000000000000000000000000000000000000000000000000000000000080"
        "3132333435363738393000000000000000000000000000000000000000000000"
        "00000000000000000000000000000000000000000000000000000000000000c0"
        "0000000000000000000000000000000000000000000000000000000000000020"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "000000000000000000000000000000000000000000000000000000000000000d"
        "48656c6c6f2c20776f726c642100000000000000000000000000000000000000");

    /* empty ones have a length word and nothing else; NULL is fine */

    values[1].data = NULL;
    values[1].len = 0;
    values[3].len = 0;

    n = sizeof(out);
    assert_int_equal(evm_abi_encode(&fn, values, out, &n), EVM_OK);
    unit_assert_hex(out + 36, n - 36,
        "0000000000000000000000000000000000000000000000000000000000000080"
        "3132333435363738393000000000000000000000000000000000000000000000"
        "00000000000000000000000000000000000000000000000000000000000000a0"
        "0000000000000000000000000000000000000000000000000000000000000000"
        "0000000000000000000000000000000000000000000000000000000000000000");
}


static void
abi_needs_the_whole_space(void **state)
{
    size_t              n, size, want;
    uint8_t             out[164], before[164];
    evm_abi_value_t     values[2];
    evm_abi_function_t  fn;

    (void) state;

    fn = abi_function("f(bytes,bool)");

    memset(values, 0, sizeof(values));
    values[0].data = (const uint8_t *) "123456789012345678901234567890123";
    values[0].len = 33;

    want = 4 + 2 * 32 + 32 + 64;
    assert_int_equal(evm_abi_encoded_len(&fn, values), want);
    assert_int_equal(sizeof(out), want);

    memset(out, 0xee, sizeof(out));
    memset(before, 0xee, sizeof(before));

    for (size = 0; size < want; size++) {
        n = size;
        assert_int_equal(evm_abi_encode(&fn, values, out, &n), EVM_NOSPACE);
        assert_int_equal(n, size);
        assert_memory_equal(out, before, sizeof(out));
    }

    n = want;
    assert_int_equal(evm_abi_encode(&fn, values, out, &n), EVM_OK);
    assert_int_equal(n, want);

    /* lengths whose sum wraps around */

    values[0].len = SIZE_MAX;
    assert_true(evm_abi_encoded_len(&fn, values) == SIZE_MAX);
    assert_int_equal(evm_abi_encode(&fn, values, out, &n), EVM_NOSPACE);

    values[0].len = SIZE_MAX - 100;
    assert_true(evm_abi_encoded_len(&fn, values) == SIZE_MAX);
    n = SIZE_MAX;
    assert_int_equal(evm_abi_encode(&fn, values, out, &n), EVM_NOSPACE);
}


static void
abi_values_must_fit(void **state)
{
    size_t                 i, n;
    uint8_t                out[128];
    evm_abi_value_t        value;
    evm_abi_function_t     fn;
    static const struct {
        const char  *signature;
        const char  *word;
        int          rc;
    } vectors[] = {
        { "f(uint8)", W_ZERO31 "ff", EVM_OK },
        { "f(uint8)", "0000000000000000000000000000000000000000000000000000"
          "00000000012c", EVM_RANGE },
        { "f(uint8)", "80000000000000000000000000000000000000000000000000"
          "00000000000000", EVM_RANGE },
        { "f(uint256)", W_ONES31 "ff", EVM_OK },
        { "f(uint248)", W_ONES31 "ff", EVM_RANGE },
        { "f(uint248)", "00" W_ONES31, EVM_OK },

        /* -128 to 127 */
        { "f(int8)", W_ZERO31 "7f", EVM_OK },
        { "f(int8)", W_ZERO31 "80", EVM_RANGE },
        { "f(int8)", W_ONES31 "80", EVM_OK },
        { "f(int8)", W_ONES31 "7f", EVM_RANGE },
        { "f(int8)", "7f" W_ONES31, EVM_RANGE },
        { "f(int256)", "80" W_ZERO31, EVM_OK },
        { "f(int248)", "80" W_ZERO31, EVM_RANGE },
        { "f(int248)", "ff80" "000000000000000000000000000000000000000000"
          "000000000000000000", EVM_OK },

        { "f(bool)", W_ZERO31 "00", EVM_OK },
        { "f(bool)", W_ZERO31 "01", EVM_OK },
        { "f(bool)", W_ZERO31 "02", EVM_RANGE },
        { "f(bool)", "01" W_ZERO31, EVM_RANGE },

        { "f(address)", "000000000000000000000000ffffffffffffffffffffffff"
          "ffffffffffffffff", EVM_OK },
        { "f(address)", "000000000000000000000001ffffffffffffffffffffffff"
          "ffffffffffffffff", EVM_RANGE },

        { "f(bytes1)", "ff" W_ZERO31, EVM_OK },
        { "f(bytes4)", "ffffffff00000000000000000000000000000000000000000000"
          "000000000000", EVM_OK },
        { "f(bytes4)", "ffffffff01000000000000000000000000000000000000000000"
          "000000000000", EVM_RANGE },
        { "f(bytes4)", "ffffffff00000000000000000000000000000000000000000000"
          "000000000001", EVM_RANGE },
        { "f(bytes31)", W_ONES31 "00", EVM_OK },
        { "f(bytes31)", W_ONES31 "01", EVM_RANGE },
        { "f(bytes32)", W_ONES31 "ff", EVM_OK }
    };

    (void) state;

    for (i = 0; i < unit_count(vectors); i++) {

        fn = abi_function(vectors[i].signature);

        memset(&value, 0, sizeof(value));
        assert_int_equal(unit_hex(vectors[i].word, value.word), 32);

        n = sizeof(out);
        memset(out, 0xee, sizeof(out));

        if (evm_abi_encode(&fn, &value, out, &n) != vectors[i].rc) {
            fail_msg("%s of %s", vectors[i].signature, vectors[i].word);
        }

        if (vectors[i].rc == EVM_OK) {
            assert_int_equal(n, 36);
            unit_assert_hex(out + 4, 32, vectors[i].word);

        } else {
            assert_int_equal(n, sizeof(out));
            unit_assert_hex(out, 4, "eeeeeeee");
        }
    }

    fn = abi_function("f(bytes)");
    memset(&value, 0, sizeof(value));
    value.len = 1;
    n = sizeof(out);
    assert_int_equal(evm_abi_encode(&fn, &value, out, &n), EVM_RANGE);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(abi_types),
        cmocka_unit_test(abi_selectors),
        cmocka_unit_test(abi_signatures_refused),
        cmocka_unit_test(abi_takes_32_arguments),
        cmocka_unit_test(abi_encodes_the_example_of_the_specification),
        cmocka_unit_test(abi_encodes_a_string),
        cmocka_unit_test(abi_lays_out_heads_and_tails),
        cmocka_unit_test(abi_needs_the_whole_space),
        cmocka_unit_test(abi_values_must_fit),
    };

    return cmocka_run_group_tests_name("abi", tests, NULL, NULL);
}
