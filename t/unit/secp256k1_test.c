
/*
 * Keys, signatures and recovery.
 */


#include <nettle/sha2.h>

#include "unit.h"


#define SECP256K1_ORDER                                                      \
    "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"

/* the order less one, halved */
#define SECP256K1_HALF                                                       \
    "7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0"


static int
secp256k1_setup(void **state)
{
    uint8_t  entropy[32];

    (void) state;

    memset(entropy, 0x42, sizeof(entropy));

    return evm_secp256k1_init(entropy);
}


static int
secp256k1_teardown(void **state)
{
    (void) state;

    evm_secp256k1_done();

    return 0;
}


/*
 * The generator's address; the EIP-155 example's; accounts 0 to 2 of hardhat
 * and anvil.
 */

static void
secp256k1_addresses(void **state)
{
    size_t                 i;
    char                   text[EVM_ADDRESS_STR_LEN + 1];
    uint8_t                key[32], address[20];
    static const struct {
        const char  *key;
        const char  *address;
    } vectors[] = {
        { "0000000000000000000000000000000000000000000000000000000000000001",
          "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf" },
        { "4646464646464646464646464646464646464646464646464646464646464646",
          "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F" },
        { "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
          "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266" },
        { "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
          "0x70997970C51812dc3A010C7d01b50e0d17dc79C8" },
        { "5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
          "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC" }
    };

    (void) state;

    for (i = 0; i < unit_count(vectors); i++) {
        unit_hex(vectors[i].key, key);
        memset(text, 0, sizeof(text));

        assert_int_equal(evm_key_address(key, address), EVM_OK);
        evm_address_format(address, text);
        assert_string_equal(text, vectors[i].address);
    }
}


static void
secp256k1_keys_out_of_range(void **state)
{
    size_t            i;
    uint8_t           key[32], hash[32], address[20], before[20];
    const char       *bad[] = {
        "0000000000000000000000000000000000000000000000000000000000000000",
        SECP256K1_ORDER,
        "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364142",
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
    };
    evm_signature_t   sig, untouched;

    (void) state;

    memset(hash, 1, sizeof(hash));
    memset(address, 0xee, sizeof(address));
    memset(before, 0xee, sizeof(before));
    memset(&untouched, 0xee, sizeof(untouched));
    sig = untouched;

    for (i = 0; i < unit_count(bad); i++) {
        unit_hex(bad[i], key);

        assert_int_equal(evm_key_address(key, address), EVM_RANGE);
        assert_int_equal(evm_sign(hash, key, &sig), EVM_RANGE);
    }

    assert_memory_equal(address, before, sizeof(address));
    assert_memory_equal(&sig, &untouched, sizeof(sig));

    /* the largest that is a key */

    unit_hex(SECP256K1_ORDER, key);
    key[31]--;
    assert_int_equal(evm_key_address(key, address), EVM_OK);
    assert_int_equal(evm_sign(hash, key, &sig), EVM_OK);
}


/*
 * The vectors for RFC 6979 with SHA-256 on this curve that trezor-crypto,
 * CoreBitcoin, dcrd and others share (bitcointalk topic 285142); s is low.
 */

static void
secp256k1_signs_as_rfc_6979(void **state)
{
    size_t                 i;
    uint8_t                key[32], hash[32], address[20], signer[20];
    evm_signature_t        sig;
    struct sha256_ctx      sha256;
    static const struct {
        const char  *key;
        const char  *message;
        const char  *r;
        const char  *s;
    } vectors[] = {
        { "cca9fbcc1b41e5a95d369eaa6ddcff73b61a4efaa279cfc6567e8daa39cbaf50",
          "sample",
          "af340daf02cc15c8d5d08d7735dfe6b98a474ed373bdb5fbecf7571be52b3842",
          "5009fb27f37034a9b24b707b7c6b79ca23ddef9e25f7282e8a797efe53a8f124"
        },
        { "0000000000000000000000000000000000000000000000000000000000000001",
          "Satoshi Nakamoto",
          "934b1ea10a4b3c1757e2b0c017d0b6143ce3c9a7e6a4a49860d7a6ab210ee3d8",
          "2442ce9d2b916064108014783e923ec36b49743e2ffa1c4496f01a512aafd9e5"
        },
        { "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364140",
          "Satoshi Nakamoto",
          "fd567d121db66e382991534ada77a6bd3106f0a1098c231e47993447cd6af2d0",
          "6b39cd0eb1bc8603e159ef5c20a5c8ad685a45b06ce9bebed3f153d10d93bed5"
        },
        { "f8b8af8ce3c7cca5e300d33939540c10d45ce001b8f252bfbc57ba0342904181",
          "Alan Turing",
          "7063ae83e7f62bbb171798131b4a0564b956930092b33b07b395615d9ec7e15c",
          "58dfcc1e00a35e1572f366ffe34ba0fc47db1e7189759b9fb233c5b05ab388ea"
        },
        { "0000000000000000000000000000000000000000000000000000000000000001",
          "All those moments will be lost in time, like tears in rain. "
          "Time to die...",
          "8600dbd41e348fe5c9465ab92d23e3db8b98b873beecd930736488696438cb6b",
          "547fe64427496db33bf66019dacbf0039c04199abb0122918601db38a72cfc21"
        },
        { "e91671c46231f833a6406ccbea0e3e392c76c167bac1cb013f6f1013980455c2",
          "There is a computer disease that anybody who works with computers "
          "knows about. It's a very serious disease and it interferes "
          "completely with the work. The trouble with computers is that you "
          "'play' with them!",
          "b552edd27580141f3b2a5463048cb7cd3e047b97c9f98076c32dbdf85a68718b",
          "279fa72dd19bfae05577e06c7c0c1900c371fcd5893f7e1d56a37d30174671f6"
        }
    };

    (void) state;

    for (i = 0; i < unit_count(vectors); i++) {

        unit_hex(vectors[i].key, key);

        sha256_init(&sha256);
        sha256_update(&sha256, strlen(vectors[i].message),
                      (const uint8_t *) vectors[i].message);
        sha256_digest(&sha256, 32, hash);

        assert_int_equal(evm_sign(hash, key, &sig), EVM_OK);
        unit_assert_hex(sig.r, 32, vectors[i].r);
        unit_assert_hex(sig.s, 32, vectors[i].s);

        /* the parity is the one that gives the key back */

        assert_int_equal(evm_key_address(key, address), EVM_OK);
        assert_int_equal(evm_recover(hash, &sig, signer), EVM_OK);
        assert_memory_equal(signer, address, 20);

        sig.y_parity ^= 1;

        if (evm_recover(hash, &sig, signer) == EVM_OK) {
            assert_memory_not_equal(signer, address, 20);
        }
    }
}


/* the example of https://eips.ethereum.org/EIPS/eip-155 */

static void
secp256k1_signs_the_example_of_eip_155(void **state)
{
    size_t           n;
    uint8_t          data[64], hash[32], key[32];
    evm_u256_t       v;
    char             dec[EVM_U256_DEC_LEN + 1];
    evm_signature_t  sig;

    (void) state;

    n = unit_hex("ec098504a817c800825208943535353535353535353535353535353535"
                 "353535880de0b6b3a764000080018080", data);

    evm_keccak256(data, n, hash);
    unit_assert_hex(hash, 32, "daf5a779ae972f972197303d7b574746c7ef83eadac0f2"
                              "791ad23db92e4c8e53");

    memset(key, 0x46, sizeof(key));
    assert_int_equal(evm_sign(hash, key, &sig), EVM_OK);

    /* v is 37: chain 1 and an even y */

    assert_int_equal(sig.y_parity, 0);

    evm_u256_from_be(&v, sig.r, 32);
    dec[evm_u256_to_dec(&v, dec)] = '\0';
    assert_string_equal(dec, "1851546126437335137320000266585302861245105657"
                             "8545711640558177340181847433846");

    evm_u256_from_be(&v, sig.s, 32);
    dec[evm_u256_to_dec(&v, dec)] = '\0';
    assert_string_equal(dec, "4694850730463894750994076364903035875990990257"
                             "6025900602547168820602576006531");
}


static void
secp256k1_refuses_signatures(void **state)
{
    uint8_t          hash[32], key[32], signer[20], before[20];
    evm_u256_t       order, s;
    evm_signature_t  good, sig;

    (void) state;

    memset(hash, 7, sizeof(hash));
    memset(key, 9, sizeof(key));
    memset(signer, 0xee, sizeof(signer));
    memset(before, 0xee, sizeof(before));

    assert_int_equal(evm_sign(hash, key, &good), EVM_OK);

    sig = good;
    sig.y_parity = 2;
    assert_int_equal(evm_recover(hash, &sig, signer), EVM_ERROR);

    /* as a number that would be 0 or negative somewhere */

    sig.y_parity = 0x80000000u;
    assert_int_equal(evm_recover(hash, &sig, signer), EVM_ERROR);

    /* an x above the order, which 2 and 3 mean elsewhere, is on the curve */

    memset(sig.r, 0, 32);

    for (sig.r[31] = 1; sig.r[31] < 32; sig.r[31]++) {
        sig.y_parity = 2 + sig.r[31] % 2;
        assert_int_equal(evm_recover(hash, &sig, signer), EVM_ERROR);
    }

    /* the twin with a high s is the same key's, and still refused */

    sig = good;
    sig.y_parity ^= 1;
    unit_hex(SECP256K1_ORDER, sig.r);
    evm_u256_from_be(&order, sig.r, 32);
    evm_u256_from_be(&s, good.s, 32);
    assert_int_equal(evm_u256_sub(&s, &order, &s), EVM_OK);
    evm_u256_to_be(&s, sig.s);
    memcpy(sig.r, good.r, 32);
    assert_int_equal(evm_recover(hash, &sig, signer), EVM_RANGE);

    /* the edge between low and high */

    sig = good;
    unit_hex(SECP256K1_HALF, sig.s);
    assert_int_equal(evm_recover(hash, &sig, before), EVM_OK);
    memset(before, 0xee, sizeof(before));
    sig.s[31]++;
    assert_int_equal(evm_recover(hash, &sig, signer), EVM_RANGE);

    memset(sig.s, 0xff, 32);
    assert_int_equal(evm_recover(hash, &sig, signer), EVM_RANGE);

    sig = good;
    memset(sig.s, 0, 32);
    assert_int_equal(evm_recover(hash, &sig, signer), EVM_ERROR);

    sig = good;
    memset(sig.r, 0, 32);
    assert_int_equal(evm_recover(hash, &sig, signer), EVM_ERROR);

    unit_hex(SECP256K1_ORDER, sig.r);
    assert_int_equal(evm_recover(hash, &sig, signer), EVM_ERROR);

    memset(sig.r, 0xff, 32);
    assert_int_equal(evm_recover(hash, &sig, signer), EVM_ERROR);

    /* x = 5 is on no point of this curve */

    memset(sig.r, 0, 32);
    sig.r[31] = 5;
    assert_int_equal(evm_recover(hash, &sig, signer), EVM_ERROR);

    assert_memory_equal(signer, before, 20);
}


static void
secp256k1_without_its_context(void **state)
{
    uint8_t          bytes[32], address[20];
    evm_signature_t  sig;

    memset(bytes, 3, sizeof(bytes));

    assert_int_equal(evm_sign(bytes, bytes, &sig), EVM_OK);

    evm_secp256k1_done();
    evm_secp256k1_done();

    assert_int_equal(evm_key_address(bytes, address), EVM_ERROR);
    assert_int_equal(evm_recover(bytes, &sig, address), EVM_ERROR);
    assert_int_equal(evm_sign(bytes, bytes, &sig), EVM_ERROR);

    /* and again, twice, as after fork() */

    assert_int_equal(secp256k1_setup(state), EVM_OK);
    assert_int_equal(secp256k1_setup(state), EVM_OK);
    assert_int_equal(evm_recover(bytes, &sig, address), EVM_OK);
}


static void
secp256k1_wipes(void **state)
{
    uint8_t  key[32], zero[32];

    (void) state;

    memset(zero, 0, sizeof(zero));
    memset(key, 0x46, sizeof(key));

    evm_wipe(NULL, 0);
    evm_wipe(key, 31);
    assert_memory_equal(key, zero, 31);
    assert_int_equal(key[31], 0x46);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(secp256k1_addresses),
        cmocka_unit_test(secp256k1_keys_out_of_range),
        cmocka_unit_test(secp256k1_signs_as_rfc_6979),
        cmocka_unit_test(secp256k1_signs_the_example_of_eip_155),
        cmocka_unit_test(secp256k1_refuses_signatures),
        cmocka_unit_test(secp256k1_without_its_context),
        cmocka_unit_test(secp256k1_wipes),
    };

    return cmocka_run_group_tests_name("secp256k1", tests, secp256k1_setup,
                                       secp256k1_teardown);
}
