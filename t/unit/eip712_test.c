
/*
 * EIP-712 by the example that the EIP itself has, and the forms of
 * signatures by those of EIP-2098.
 */


#include "unit.h"


#define EIP712_MAIL_TYPE                                                     \
    "Mail(Person from,Person to,string contents)"                            \
    "Person(string name,address wallet)"

#define EIP712_PERSON_TYPE  "Person(string name,address wallet)"


static int
eip712_setup(void **state)
{
    uint8_t  entropy[32];

    (void) state;

    memset(entropy, 0x42, sizeof(entropy));

    return evm_secp256k1_init(entropy);
}


static int
eip712_teardown(void **state)
{
    (void) state;

    evm_secp256k1_done();

    return 0;
}


static void
eip712_text(evm_abi_value_t *value, const char *text)
{
    value->data = (const uint8_t *) text;
    value->len = strlen(text);
}


static void
eip712_person(const char *name, const char *wallet, uint8_t out[32])
{
    evm_abi_type_t   types[2];
    evm_abi_value_t  values[2];

    memset(values, 0, sizeof(values));

    assert_int_equal(evm_abi_type_parse("string", 6, &types[0]), EVM_OK);
    assert_int_equal(evm_abi_type_parse("address", 7, &types[1]), EVM_OK);

    eip712_text(&values[0], name);
    unit_hex(wallet, values[1].word + 12);

    assert_int_equal(evm_eip712_struct(EIP712_PERSON_TYPE,
                                       strlen(EIP712_PERSON_TYPE), types,
                                       values, 2, out),
                     EVM_OK);
}


/* https://github.com/ethereum/EIPs/blob/master/assets/eip-712/Example.js */

static void
eip712_hashes_the_example(void **state)
{
    uint8_t           contract[20], domain[32], mail[32], digest[32];
    uint8_t           raw[65], signer[20];
    evm_abi_type_t    types[3];
    evm_abi_value_t   values[3];
    evm_signature_t   sig;

    (void) state;

    memset(contract, 0xcc, sizeof(contract));
    evm_eip712_domain("Ether Mail", 10, "1", 1, 1, contract, domain);
    unit_assert_hex(domain, 32, "f2cee375fa42b42143804025fc449deafd50cc031ca2"
                                "57e0b194a650a912090f");

    memset(values, 0, sizeof(values));

    eip712_person("Cow", "cd2a3d9f938e13cd947ec05abc7fe734df8dd826",
                  values[0].word);
    unit_assert_hex(values[0].word, 32, "fc71e5fa27ff56c350aa531bc129ebdf613b"
                                        "772b6604664f5d8dbe21b85eb0c8");

    eip712_person("Bob", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
                  values[1].word);
    unit_assert_hex(values[1].word, 32, "cd54f074a4af31b4411ff6a60c9719dbd559"
                                        "c221c8ac3492d9d872b041d703d1");

    /* a struct within one is there by its hash, as bytes32 is by itself */

    assert_int_equal(evm_abi_type_parse("bytes32", 7, &types[0]), EVM_OK);
    assert_int_equal(evm_abi_type_parse("bytes32", 7, &types[1]), EVM_OK);
    assert_int_equal(evm_abi_type_parse("string", 6, &types[2]), EVM_OK);
    eip712_text(&values[2], "Hello, Bob!");

    assert_int_equal(evm_eip712_struct(EIP712_MAIL_TYPE,
                                       strlen(EIP712_MAIL_TYPE), types,
                                       values, 3, mail),
                     EVM_OK);
    unit_assert_hex(mail, 32, "c52c0ee5d84264471806290a3f2c4cecfc5490626bf912"
                              "d01f240d7a274b371e");

    evm_eip712_digest(domain, mail, digest);
    unit_assert_hex(digest, 32, "be609aee343fb3c4b28e1df9e632fca64fcfaede20f0"
                                "2e86244efddf30957bd2");

    unit_hex("4355c47d63924e8a72e509b65029052eb6c299d53a04e167c5775fd466751c9d"
             "07299936d304c153f6443dfa05f40ff007d72911b6f72307f996231605b91562"
             "1c", raw);

    assert_int_equal(evm_signature_parse(raw, 65, &sig), EVM_OK);
    assert_int_equal(evm_recover(digest, &sig, signer), EVM_OK);
    unit_assert_hex(signer, 20, "cd2a3d9f938e13cd947ec05abc7fe734df8dd826");
}


/* keccak256 of the type, then of "", of "", and 0, by the EIP's words */

static void
eip712_hashes_a_domain_without_a_contract(void **state)
{
    size_t       n;
    uint8_t      encoded[128], want[32], got[32];
    const char  *type;

    (void) state;

    type = "EIP712Domain(string name,string version,uint256 chainId)";

    memset(encoded, 0, sizeof(encoded));
    evm_keccak256(type, strlen(type), encoded);
    n = unit_hex("c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85"
                 "a470", encoded + 32);
    memcpy(encoded + 64, encoded + 32, n);
    evm_keccak256(encoded, sizeof(encoded), want);

    evm_eip712_domain("", 0, "", 0, 0, NULL, got);
    assert_memory_equal(got, want, 32);

    memset(encoded + 120, 0xff, 8);
    evm_keccak256(encoded, sizeof(encoded), want);

    evm_eip712_domain(NULL, 0, NULL, 0, UINT64_MAX, NULL, got);
    assert_memory_equal(got, want, 32);
}


static void
eip712_values_must_fit(void **state)
{
    size_t                 i;
    uint8_t                out[32], before[32];
    evm_abi_type_t         type;
    evm_abi_value_t        value;
    static const struct {
        const char  *type;
        const char  *word;
        int          rc;
    } vectors[] = {
        { "uint8", "00000000000000000000000000000000000000000000000000000000"
                   "000000ff", EVM_OK },
        { "uint8", "00000000000000000000000000000000000000000000000000000000"
                   "00000100", EVM_RANGE },
        { "bool", "000000000000000000000000000000000000000000000000000000000"
                  "0000002", EVM_RANGE },
        { "address", "0000000000000000000000010000000000000000000000000000000"
                     "000000000", EVM_RANGE },
        { "bytes4", "0000000001000000000000000000000000000000000000000000000"
                    "000000000", EVM_RANGE },
        { "int256", "fffffffffffffffffffffffffffffffffffffffffffffffffffffff"
                    "fffffffff", EVM_OK }
    };

    (void) state;

    memset(before, 0xee, sizeof(before));

    for (i = 0; i < unit_count(vectors); i++) {
        memset(&value, 0, sizeof(value));
        memset(out, 0xee, sizeof(out));
        unit_hex(vectors[i].word, value.word);

        assert_int_equal(evm_abi_type_parse(vectors[i].type,
                                            strlen(vectors[i].type), &type),
                         EVM_OK);
        assert_int_equal(evm_eip712_struct("A(a b)", 6, &type, &value, 1,
                                           out),
                         vectors[i].rc);

        if (vectors[i].rc != EVM_OK) {
            assert_memory_equal(out, before, 32);
        }
    }

    /* a string that is not there, and one that is empty */

    assert_int_equal(evm_abi_type_parse("string", 6, &type), EVM_OK);
    memset(&value, 0, sizeof(value));
    assert_int_equal(evm_eip712_struct("A(string b)", 11, &type, &value, 1,
                                       out),
                     EVM_OK);

    value.len = 1;
    assert_int_equal(evm_eip712_struct("A(string b)", 11, &type, &value, 1,
                                       out),
                     EVM_RANGE);

    /* a struct of nothing is the hash of its type's */

    assert_int_equal(evm_eip712_struct("A()", 3, NULL, NULL, 0, out), EVM_OK);
    evm_keccak256("A()", 3, before);
    evm_keccak256(before, 32, before);
    assert_memory_equal(out, before, 32);
}


/* the two examples of https://eips.ethereum.org/EIPS/eip-2098 */

static void
eip712_parses_signatures(void **state)
{
    size_t                 i;
    uint8_t                raw[65], hash[32], signer[20];
    evm_signature_t        sig, compact;
    static const struct {
        const char  *hash;       /* of the message, by EIP-191 */
        const char  *raw;
        const char  *compact;
        unsigned     y_parity;
    } vectors[] = {
        { "a1de988600a42c4b4ab089b619297c17d53cffae5d5120d82d8a92d0bb3b78f2",
          "68a020a209d3d56c46f38cc50a33f704f4a9a10a59377f8dd762ac66910e9b90"
          "7e865ad05c4035ab5792787d4a0297a43617ae897930a6fe4d822b8faea52064"
          "1b",
          "68a020a209d3d56c46f38cc50a33f704f4a9a10a59377f8dd762ac66910e9b90"
          "7e865ad05c4035ab5792787d4a0297a43617ae897930a6fe4d822b8faea52064",
          0 },
        { "ac33ec93c768b669bdb542a85baebaf7342d35fc9ad8fc0bbc1b852c6f8bf021",
          "9328da16089fcba9bececa81663203989f2df5fe1faa6291a45381c81bd17f76"
          "139c6d6b623b42da56557e5e734a43dc83345ddfadec52cbe24d0cc64f550793"
          "1c",
          "9328da16089fcba9bececa81663203989f2df5fe1faa6291a45381c81bd17f76"
          "939c6d6b623b42da56557e5e734a43dc83345ddfadec52cbe24d0cc64f550793",
          1 }
    };

    (void) state;

    for (i = 0; i < unit_count(vectors); i++) {
        unit_hex(vectors[i].hash, hash);
        memset(&sig, 0, sizeof(sig));
        memset(&compact, 0, sizeof(compact));

        unit_hex(vectors[i].raw, raw);
        assert_int_equal(evm_signature_parse(raw, 65, &sig), EVM_OK);
        assert_int_equal(sig.y_parity, vectors[i].y_parity);
        assert_int_equal(evm_recover(hash, &sig, signer), EVM_OK);
        unit_assert_hex(signer, 20,
                        "2e988a386a799f506693793c6a5af6b54dfaabfb");

        raw[64] -= 27;
        assert_int_equal(evm_signature_parse(raw, 65, &compact), EVM_OK);
        assert_memory_equal(&sig, &compact, sizeof(sig));

        memset(&compact, 0, sizeof(compact));
        unit_hex(vectors[i].compact, raw);
        assert_int_equal(evm_signature_parse(raw, 64, &compact), EVM_OK);
        assert_memory_equal(&sig, &compact, sizeof(sig));
    }
}


static void
eip712_refuses_signatures(void **state)
{
    size_t            len;
    uint8_t          *p, raw[66];
    unsigned          v;
    evm_signature_t   sig, untouched;

    (void) state;

    memset(raw, 1, sizeof(raw));
    memset(&sig, 0xee, sizeof(sig));
    memset(&untouched, 0xee, sizeof(untouched));

    for (len = 0; len <= sizeof(raw); len++) {

        if (len == 64 || len == 65) {
            continue;
        }

        p = unit_exact(raw, len);
        assert_int_equal(evm_signature_parse(p, len, &sig), EVM_ERROR);
        free(p);
    }

    for (v = 0; v < 256; v++) {

        if (v == 0 || v == 1 || v == 27 || v == 28) {
            continue;
        }

        raw[64] = (uint8_t) v;
        assert_int_equal(evm_signature_parse(raw, 65, &sig), EVM_ERROR);
    }

    assert_memory_equal(&sig, &untouched, sizeof(sig));

    /* a high s is parsed, and refused by whom it concerns */

    memset(raw, 0xff, sizeof(raw));
    raw[64] = 27;
    assert_int_equal(evm_signature_parse(raw, 65, &sig), EVM_OK);
    assert_int_equal(sig.s[0], 0xff);
    assert_int_equal(evm_recover(raw, &sig, raw), EVM_RANGE);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(eip712_hashes_the_example),
        cmocka_unit_test(eip712_hashes_a_domain_without_a_contract),
        cmocka_unit_test(eip712_values_must_fit),
        cmocka_unit_test(eip712_parses_signatures),
        cmocka_unit_test(eip712_refuses_signatures),
    };

    return cmocka_run_group_tests_name("eip712", tests, eip712_setup,
                                       eip712_teardown);
}
