
/*
 * Transactions: signed ones from elsewhere, and everything that is nearly
 * one.
 */


#include "unit.h"


#define TX_FIELDS  12

/* 35 + 2 * chain_id + 1 is to fit 64 bits */
#define TX_LEGACY_MAX_CHAIN_ID  0x7fffffffffffffedULL

/* the fields' places in the list */

#define TX_CHAIN_ID     0
#define TX_NONCE        1
#define TX_PRIORITY     2
#define TX_MAX_FEE      3
#define TX_GAS          4
#define TX_TO           5
#define TX_VALUE        6
#define TX_DATA         7
#define TX_ACCESS_LIST  8
#define TX_Y_PARITY     9
#define TX_R            10
#define TX_S            11


typedef struct {
    const char  *key;
    uint64_t     chain_id;
    uint64_t     nonce;
    uint64_t     priority;
    uint64_t     max_fee;
    uint64_t     gas_limit;
    const char  *to;
    uint64_t     value;
    const char  *raw;
    const char  *hash;
} tx_vector_t;


#define TX_KEY_ETHEREUMJS                                                    \
    "8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63"

#define TX_TO_ETHEREUMJS  "000000000000000000000000000000000000aaaa"


/*
 * Ten of ethereumjs (packages/tx/test/json/eip1559.json, without the string
 * header around them; they cover both parities and, at the eighth, an s that
 * begins with a zero nibble), one of web3j (TransactionEncoderTest).
 */

static const tx_vector_t  tx_vectors[] = {
    { TX_KEY_ETHEREUMJS, 7822, 819, 75853, 121212, 35552, TX_TO_ETHEREUMJS,
      43203529,
      "02f870821e8e8203338301284d8301d97c828ae094000000000000000000000000"
      "000000000000aaaa8402933bc980c080a0d067f2167008c59219652f91cbf8788d"
      "bca5f771f6e91e2b7657e85b78b472e0a01d305af9fe81fdba43f0dfcd400ed24d"
      "cace0a7e30d4e85701dcaaf484cd079e",
      "a3bf78ff247cad934aa5fb13e05f11e59c93511523ff8a622e59c3a34700e5c8" },

    { TX_KEY_ETHEREUMJS, 7822, 353, 38850, 136295, 32593, TX_TO_ETHEREUMJS,
      61901619,
      "02f86f821e8e8201618297c283021467827f519400000000000000000000000000"
      "0000000000aaaa8403b08b3380c001a004205678f13fc1d7b10feea6513dfa76e2"
      "4418b6e08097d95c6f93a3b64e536da01d45ad61bfece43862de2cce7d2575a8c1"
      "d08c26c87f3cb5f26d7b0be54a91b2", NULL },

    { TX_KEY_ETHEREUMJS, 7822, 985, 66377, 136097, 68541, TX_TO_ETHEREUMJS,
      32531825,
      "02f871821e8e8203d983010349830213a183010bbd940000000000000000000000"
      "00000000000000aaaa8401f0657180c001a0e6d23c5ecc0f388a4d41a9523c3ad1"
      "71e98083a61288c340b968dfe0903a6741a07319e8d54a4fd8f0c081d3ce093d86"
      "9f9df598481991c8534bfd8f2c163884b4", NULL },

    { TX_KEY_ETHEREUMJS, 7822, 623, 74140, 81173, 57725, TX_TO_ETHEREUMJS,
      21649799,
      "02f870821e8e82026f8301219c83013d1582e17d94000000000000000000000000"
      "000000000000aaaa84014a598780c080a0b107893e4590e177e244493a3f2b59d6"
      "3619ddd82772105d8c96b7fc85ff683da07dc9b9dc054d2f69f9cc540688f6c0da"
      "3b54dd8bd8323f06d0ca26b546a480f1", NULL },

    { TX_KEY_ETHEREUMJS, 7822, 972, 42798, 103466, 65254, TX_TO_ETHEREUMJS,
      94563383,
      "02f86f821e8e8203cc82a72e8301942a82fee69400000000000000000000000000"
      "0000000000aaaa8405a2ec3780c080a02596bfedd3101f7e3c881eec060f83c606"
      "17fb21173ff41a560e02c9c23f02f4a01ef1f7930d31081c06dfd2176046a99442"
      "a88678638a33eb80afa8d2d3389ee0", NULL },

    { TX_KEY_ETHEREUMJS, 7822, 588, 87890, 130273, 37274, TX_TO_ETHEREUMJS,
      99359647,
      "02f870821e8e82024c830157528301fce182919a94000000000000000000000000"
      "000000000000aaaa8405ec1b9f80c001a0404a06f2a9ba9d444e59f03e1b4ce46c"
      "4d7127342aa287a6e9a910b26ff6cc89a04af28549efdfb3e746938d01c92785e9"
      "852eb58c48d6f35cc99961e88f56603a", NULL },

    { TX_KEY_ETHEREUMJS, 7822, 900, 8714, 112705, 76053, TX_TO_ETHEREUMJS,
      30402257,
      "02f870821e8e82038482220a8301b8418301291594000000000000000000000000"
      "000000000000aaaa8401cfe6d180c080a06e1bc9e4645de8bdad2c60424539c2dd"
      "93aacbc06ae94e440629b133a99e9ba7a03d23fdfdd9934c77fe5385a6b4b6c69e"
      "84cdec7814a19d81e648b5852ee5f7eb", NULL },

    { TX_KEY_ETHEREUMJS, 7822, 709, 86252, 94636, 28335, TX_TO_ETHEREUMJS,
      6478043,
      "02f86f821e8e8202c5830150ec830171ac826eaf94000000000000000000000000"
      "000000000000aaaa8362d8db80c001a09880d133cd636f8c8dce32e2c43494b9f2"
      "dc000eee8dc61931e09f866ed04b46a00e44d5c503c7f08b36c8b062c32a963f3d"
      "d20a71e95e3d903bfbe7f4da47cd47", NULL },

    { TX_KEY_ETHEREUMJS, 7822, 939, 45216, 91648, 45047, TX_TO_ETHEREUMJS,
      2782905,
      "02f86e821e8e8203ab82b0a08301660082aff79400000000000000000000000000"
      "0000000000aaaa832a76b980c001a0a0e7d9b07c7ec68f24788a554f993b99d59a"
      "3f08439cc6c942f62ea0341f2aeba078122b9957c146f7c87811bd58a7e9916ca8"
      "c07dabcf875b97bbdef79cb9c197", NULL },

    { TX_KEY_ETHEREUMJS, 7822, 119, 24721, 107729, 62341, TX_TO_ETHEREUMJS,
      65456115,
      "02f86d821e8e778260918301a4d182f38594000000000000000000000000000000"
      "000000aaaa8403e6c7f380c001a0e38e239770801eb995498c821e55ac9c19ae09"
      "184bb27b34be105e02fe3b7615a067c64ca6bd6d9107e85fd581ab2e70a14b637e"
      "b36505bb40861ef9d6e800cab6", NULL },

    { "4646464646464646464646464646464646464646464646464646464646464646",
      1559, 0, 5678, 1100000, 30000,
      "627306090abab3a6e1400e9345bc60c78a8bef57", 123,
      "02f8698206178082162e8310c8e082753094627306090abab3a6e1400e9345bc60"
      "c78a8bef577b80c001a0d1f9ee3bdde4d4e0792c7089b84059fb28e17f494556d8"
      "a775450b1dd6c318a1a038bd3e2fb9e018528e0a41f57c7a32a8d23b2693e0451a"
      "a6ef4519b234466e7f", NULL }
};


/* a transaction in parts, each an RLP item, to be put together wrongly */

typedef struct {
    uint8_t  item[16][128];
    size_t   len[16];
    size_t   n;
} tx_parts_t;


static const char  tx_order[] =
    "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";


static int
tx_setup(void **state)
{
    uint8_t  entropy[32];

    (void) state;

    memset(entropy, 0x42, sizeof(entropy));

    return evm_secp256k1_init(entropy);
}


static int
tx_teardown(void **state)
{
    (void) state;

    evm_secp256k1_done();

    return 0;
}


static evm_tx_t
tx_from_vector(const tx_vector_t *vector)
{
    evm_tx_t  tx;

    memset(&tx, 0, sizeof(tx));

    tx.chain_id = vector->chain_id;
    tx.nonce = vector->nonce;
    evm_u256_set(&tx.max_priority_fee_per_gas, vector->priority);
    evm_u256_set(&tx.max_fee_per_gas, vector->max_fee);
    tx.gas_limit = vector->gas_limit;
    unit_hex(vector->to, tx.to);
    evm_u256_set(&tx.value, vector->value);

    return tx;
}


static void
tx_assert_equal(const evm_tx_t *a, const evm_tx_t *b)
{
    assert_true(a->chain_id == b->chain_id);
    assert_true(a->nonce == b->nonce);
    assert_int_equal(evm_u256_cmp(&a->max_priority_fee_per_gas,
                                  &b->max_priority_fee_per_gas), 0);
    assert_int_equal(evm_u256_cmp(&a->max_fee_per_gas,
                                  &b->max_fee_per_gas), 0);
    assert_true(a->gas_limit == b->gas_limit);
    assert_int_equal(a->legacy, b->legacy);
    assert_int_equal(a->create, b->create);
    assert_memory_equal(a->to, b->to, 20);
    assert_int_equal(evm_u256_cmp(&a->value, &b->value), 0);
    assert_int_equal(a->data_len, b->data_len);

    if (a->data_len) {
        assert_memory_equal(a->data, b->data, a->data_len);
    }
}


/* a refused one must have written nothing */

static int
tx_decode(const uint8_t *raw, size_t len, evm_tx_t *tx, uint8_t from[20],
    uint8_t hash[32])
{
    int       rc;
    uint8_t  *exact;
    evm_tx_t  before;

    memset(&before, 0x5a, sizeof(before));
    memset(tx, 0x5a, sizeof(*tx));
    memset(from, 0x5a, 20);
    memset(hash, 0x5a, 32);

    exact = unit_exact(raw, len);
    rc = evm_tx_decode(exact, len, tx, from, hash);

    if (rc == EVM_OK) {

        /* the data points into what was given */

        assert_true(tx->data >= exact
                    && tx->data + tx->data_len <= exact + len);

        tx->data = raw + (tx->data - exact);

    } else {
        assert_int_equal(rc, EVM_ERROR);
        assert_memory_equal(tx, &before, sizeof(before));
        assert_memory_equal(from, &before, 20);
        assert_memory_equal(hash, &before, 32);
    }

    free(exact);

    return rc;
}


static void
tx_signs_as_others_do(void **state)
{
    size_t    i, n, len;
    uint8_t   key[32], raw[1024], want[1024], hash[32], out[32];
    evm_tx_t  tx;

    (void) state;

    for (i = 0; i < unit_count(tx_vectors); i++) {

        unit_hex(tx_vectors[i].key, key);
        tx = tx_from_vector(&tx_vectors[i]);

        n = EVM_TX_MAX_LEN(0);
        assert_int_equal(evm_tx_sign(&tx, key, raw, &n, hash), EVM_OK);
        unit_assert_hex(raw, n, tx_vectors[i].raw);

        if (tx_vectors[i].hash) {
            unit_assert_hex(hash, 32, tx_vectors[i].hash);
        }

        len = unit_hex(tx_vectors[i].raw, want);
        evm_keccak256(want, len, out);
        assert_memory_equal(hash, out, 32);
    }
}


static void
tx_decodes_what_others_signed(void **state)
{
    size_t    i, len;
    uint8_t   key[32], raw[1024], from[20], hash[32], address[20], out[32];
    evm_tx_t  tx, want;

    (void) state;

    for (i = 0; i < unit_count(tx_vectors); i++) {

        len = unit_hex(tx_vectors[i].raw, raw);
        want = tx_from_vector(&tx_vectors[i]);

        assert_int_equal(tx_decode(raw, len, &tx, from, hash), EVM_OK);
        tx_assert_equal(&tx, &want);

        unit_hex(tx_vectors[i].key, key);
        assert_int_equal(evm_key_address(key, address), EVM_OK);
        assert_memory_equal(from, address, 20);

        evm_keccak256(raw, len, out);
        assert_memory_equal(hash, out, 32);
    }
}


static void
tx_space_and_keys(void **state)
{
    size_t    n, size, len;
    uint8_t   key[32], raw[1024], before[1024], hash[32];
    evm_tx_t  tx;

    (void) state;

    tx = tx_from_vector(&tx_vectors[0]);
    unit_hex(tx_vectors[0].key, key);
    len = strlen(tx_vectors[0].raw) / 2;

    memset(raw, 0xee, sizeof(raw));
    memset(before, 0xee, sizeof(before));
    memset(hash, 0xee, sizeof(hash));

    for (size = 0; size < len; size++) {
        n = size;
        assert_int_equal(evm_tx_sign(&tx, key, raw, &n, hash), EVM_NOSPACE);
        assert_int_equal(n, size);
    }

    memset(key, 0, sizeof(key));
    n = sizeof(raw);
    assert_int_equal(evm_tx_sign(&tx, key, raw, &n, hash), EVM_RANGE);
    assert_int_equal(n, sizeof(raw));

    memset(key, 1, sizeof(key));
    tx.data_len = SIZE_MAX;
    assert_int_equal(evm_tx_sign(&tx, key, raw, &n, hash), EVM_RANGE);
    assert_int_equal(evm_tx_signing_hash(&tx, hash), EVM_RANGE);

    assert_memory_equal(raw, before, sizeof(raw));
    assert_memory_equal(hash, before, sizeof(hash));

    tx.data_len = 0;
    n = len;
    assert_int_equal(evm_tx_sign(&tx, key, raw, &n, hash), EVM_OK);
    assert_int_equal(n, len);
    assert_memory_equal(raw + len, before, sizeof(raw) - len);
}


/* every field at its largest, and data around each length form */

static void
tx_goes_there_and_back(void **state)
{
    size_t         i, j, n, len;
    uint8_t       *data, *raw, key[32], hash[32], signing[32], again[32];
    uint8_t        from[20], address[20];
    evm_tx_t       tx, got;
    const size_t   lens[] = { 0, 1, 2, 31, 32, 54, 55, 56, 57, 255, 256, 257,
                              65535, 65536, 70000 };

    (void) state;

    memset(key, 0x77, sizeof(key));
    assert_int_equal(evm_key_address(key, address), EVM_OK);

    for (i = 0; i < unit_count(lens); i++) {
        for (j = 0; j < 8; j++) {

            len = lens[i];
            data = malloc(len ? len : 1);
            raw = malloc(EVM_TX_MAX_LEN(len));
            assert_non_null(data);
            assert_non_null(raw);

            /* one byte is its own RLP below 0x80 */

            memset(data, (j & 1) ? 0x80 : 0x7f, len);
            memset(&tx, (j & 2) ? 0xff : 0, sizeof(tx));

            tx.create = (j == 1 || j == 5);
            tx.legacy = (j >= 4);

            if (tx.legacy) {
                tx.chain_id = (j & 2) ? TX_LEGACY_MAX_CHAIN_ID : 1;
                tx.max_priority_fee_per_gas = tx.max_fee_per_gas;
            }
            tx.data = data;
            tx.data_len = len;

            if (tx.create) {
                memset(tx.to, 0, sizeof(tx.to));
            }

            n = EVM_TX_MAX_LEN(len);
            assert_int_equal(evm_tx_sign(&tx, key, raw, &n, hash), EVM_OK);

            assert_int_equal(tx_decode(raw, n, &got, from, again), EVM_OK);
            tx_assert_equal(&got, &tx);
            assert_memory_equal(from, address, 20);
            assert_memory_equal(again, hash, 32);

            assert_int_equal(evm_tx_signing_hash(&tx, signing), EVM_OK);
            assert_int_equal(evm_tx_signing_hash(&got, again), EVM_OK);
            assert_memory_equal(again, signing, 32);

            free(data);
            free(raw);
        }
    }
}


static void
tx_cut_or_continued_is_refused(void **state)
{
    size_t    i, len, n;
    uint8_t   raw[1024], from[20], hash[32];
    evm_tx_t  tx;

    (void) state;

    for (i = 0; i < unit_count(tx_vectors); i++) {

        memset(raw, 0, sizeof(raw));
        len = unit_hex(tx_vectors[i].raw, raw);

        for (n = 0; n < len + 16; n++) {
            assert_int_equal(tx_decode(raw, n, &tx, from, hash),
                             n == len ? EVM_OK : EVM_ERROR);
        }
    }
}


/*
 * Each bit: whatever is still a transaction is another one, of somebody else.
 * The property at the end is what makes a transaction's bytes unique.
 */

static void
tx_with_a_bit_flipped(void **state)
{
    size_t    i, bit, len, accepted, refused;
    uint8_t   raw[1024], from[20], hash[32], signer[20], first[32];
    evm_tx_t  tx;

    (void) state;

    accepted = 0;
    refused = 0;

    for (i = 0; i < unit_count(tx_vectors); i++) {

        len = unit_hex(tx_vectors[i].raw, raw);
        assert_int_equal(tx_decode(raw, len, &tx, signer, first), EVM_OK);

        for (bit = 0; bit < 8 * len; bit++) {

            raw[bit / 8] ^= (uint8_t) (1 << bit % 8);

            if (tx_decode(raw, len, &tx, from, hash) == EVM_OK) {
                accepted++;
                assert_memory_not_equal(from, signer, 20);
                assert_memory_not_equal(hash, first, 32);

            } else {
                refused++;
            }

            raw[bit / 8] ^= (uint8_t) (1 << bit % 8);
        }
    }

    assert_true(accepted > 1000);
    assert_true(refused > 1000);
}


static void
tx_survives_noise(void **state)
{
    int       i, changes;
    size_t    len;
    uint8_t   raw[1024], from[20], hash[32];
    evm_tx_t  tx;
    uint64_t  seed;

    (void) state;

    seed = 6;

    for (i = 0; i < 100000; i++) {

        len = unit_hex(tx_vectors[i % unit_count(tx_vectors)].raw, raw);

        for (changes = 1 + i % 4; changes; changes--) {
            raw[unit_random(&seed) % len] = (uint8_t) unit_random(&seed);
        }

        if (i % 5 == 0) {
            len = unit_random(&seed) % (len + 1);
        }

        (void) tx_decode(raw, len, &tx, from, hash);
    }
}


static tx_parts_t
tx_parts(void)
{
    int             list;
    size_t          n, len;
    uint8_t         raw[1024];
    tx_parts_t      parts;
    const uint8_t  *p, *end, *item, *data;

    n = unit_hex(tx_vectors[0].raw, raw);
    p = raw + 1;

    assert_int_equal(evm_rlp_next(&p, raw + n, &data, &len, &list), EVM_OK);

    memset(&parts, 0, sizeof(parts));
    p = data;
    end = data + len;

    while (p < end) {
        item = p;
        assert_int_equal(evm_rlp_next(&p, end, &data, &len, &list), EVM_OK);

        parts.len[parts.n] = (size_t) (p - item);
        memcpy(parts.item[parts.n], item, parts.len[parts.n]);
        parts.n++;
    }

    assert_int_equal(parts.n, TX_FIELDS);

    return parts;
}


static int
tx_decode_parts(const tx_parts_t *parts)
{
    size_t     i, len;
    uint8_t    raw[2048], from[20], hash[32];
    evm_tx_t   tx;
    evm_rlp_t  rlp;

    len = 0;

    for (i = 0; i < parts->n; i++) {
        len += parts->len[i];
    }

    raw[0] = 0x02;

    rlp.buf = raw;
    rlp.size = sizeof(raw);
    rlp.len = 1;
    rlp.overflow = 0;

    evm_rlp_list(&rlp, len);

    for (i = 0; i < parts->n; i++) {
        memcpy(raw + rlp.len, parts->item[i], parts->len[i]);
        rlp.len += parts->len[i];
    }

    return tx_decode(raw, rlp.len, &tx, from, hash);
}


static void
tx_with_a_malformed_field_is_refused(void **state)
{
    size_t                 i;
    tx_parts_t             parts;
    static const struct {
        size_t       field;
        const char  *item;
        int          rc;
    } vectors[] = {
        /* the method itself: a field that is only another is accepted */
        { TX_NONCE, "80", EVM_OK },
        { TX_NONCE, "05", EVM_OK },
        { TX_NONCE, "88ffffffffffffffff", EVM_OK },
        { TX_TO, "80", EVM_OK },
        { TX_DATA, "00", EVM_OK },
        { TX_DATA, "820000", EVM_OK },
        { TX_Y_PARITY, "01", EVM_OK },

        /* integers with leading zeros, or too long, or lists */
        { TX_CHAIN_ID, "00", EVM_ERROR },
        { TX_CHAIN_ID, "8200ff", EVM_ERROR },
        { TX_CHAIN_ID, "89010000000000000000", EVM_ERROR },
        { TX_CHAIN_ID, "c0", EVM_ERROR },
        { TX_CHAIN_ID, "c101", EVM_ERROR },
        { TX_NONCE, "00", EVM_ERROR },
        { TX_NONCE, "820001", EVM_ERROR },
        { TX_NONCE, "8105", EVM_ERROR },
        { TX_NONCE, "89010000000000000000", EVM_ERROR },
        { TX_PRIORITY, "00", EVM_ERROR },
        { TX_PRIORITY, "820080", EVM_ERROR },
        { TX_PRIORITY, "a1010000000000000000000000000000000000000000000000"
          "000000000000000000", EVM_ERROR },
        { TX_MAX_FEE, "00", EVM_ERROR },
        { TX_MAX_FEE, "c0", EVM_ERROR },
        { TX_MAX_FEE, "a1010000000000000000000000000000000000000000000000"
          "000000000000000000", EVM_ERROR },
        { TX_GAS, "00", EVM_ERROR },
        { TX_GAS, "89010000000000000000", EVM_ERROR },
        { TX_VALUE, "00", EVM_ERROR },
        { TX_VALUE, "c0", EVM_ERROR },
        { TX_VALUE, "a1010000000000000000000000000000000000000000000000"
          "000000000000000000", EVM_ERROR },

        /* addresses of 19, 21, 32 and 1 bytes */
        { TX_TO, "9300000000000000000000000000000000000000", EVM_ERROR },
        { TX_TO, "95000000000000000000000000000000000000000000", EVM_ERROR },
        { TX_TO, "a0000000000000000000000000000000000000000000000000"
          "0000000000000000", EVM_ERROR },
        { TX_TO, "00", EVM_ERROR },
        { TX_TO, "c0", EVM_ERROR },
        { TX_TO, "d40000000000000000000000000000000000000000", EVM_ERROR },

        { TX_DATA, "8100", EVM_ERROR },
        { TX_DATA, "c0", EVM_ERROR },
        { TX_DATA, "c20102", EVM_ERROR },
        { TX_DATA, "b80100", EVM_ERROR },
        { TX_DATA, "bfffffffffffffffff", EVM_ERROR },
        { TX_DATA, "", EVM_ERROR },

        /* an access list: a string, one with an entry, one with anything */
        { TX_ACCESS_LIST, "80", EVM_ERROR },
        { TX_ACCESS_LIST, "d7d6940000000000000000000000000000000000000001"
          "c0", EVM_ERROR },
        { TX_ACCESS_LIST, "c1c0", EVM_ERROR },
        { TX_ACCESS_LIST, "c180", EVM_ERROR },
        { TX_ACCESS_LIST, "f800", EVM_ERROR },
        { TX_ACCESS_LIST, "", EVM_ERROR },

        { TX_Y_PARITY, "00", EVM_ERROR },
        { TX_Y_PARITY, "02", EVM_ERROR },
        { TX_Y_PARITY, "1b", EVM_ERROR },
        { TX_Y_PARITY, "25", EVM_ERROR },
        { TX_Y_PARITY, "8101", EVM_ERROR },
        { TX_Y_PARITY, "820100", EVM_ERROR },
        { TX_Y_PARITY, "8501000000" "01", EVM_ERROR },
        { TX_Y_PARITY, "890100000000" "00000000", EVM_ERROR },
        { TX_Y_PARITY, "c0", EVM_ERROR },

        { TX_R, "80", EVM_ERROR },
        { TX_R, "00", EVM_ERROR },
        { TX_R, "05", EVM_ERROR },
        { TX_R, "c0", EVM_ERROR },
        { TX_R, "a0fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e"
          "8cd0364141", EVM_ERROR },
        { TX_R, "a100d067f2167008c59219652f91cbf8788dbca5f771f6e91e2b7657"
          "e85b78b472e0", EVM_ERROR },
        { TX_S, "80", EVM_ERROR },
        { TX_S, "00", EVM_ERROR },
        { TX_S, "c0", EVM_ERROR },
        { TX_S, "a07fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f"
          "46681b20a1", EVM_ERROR },
        { TX_S, "a0fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e"
          "8cd0364141", EVM_ERROR },
        { TX_S, "", EVM_ERROR }
    };

    (void) state;

    parts = tx_parts();
    assert_int_equal(tx_decode_parts(&parts), EVM_OK);

    for (i = 0; i < unit_count(vectors); i++) {

        parts = tx_parts();
        parts.len[vectors[i].field] = unit_hex(vectors[i].item,
                                           parts.item[vectors[i].field]);

        if (tx_decode_parts(&parts) != vectors[i].rc) {
            fail_msg("field %d as %s", (int) vectors[i].field,
                     vectors[i].item);
        }
    }
}


/* the twin signature of the same key: the one malleability that EIP-2 ends */

static void
tx_with_a_high_s_is_refused(void **state)
{
    tx_parts_t  parts;
    uint8_t     order[32];
    evm_u256_t  n, s;

    (void) state;

    parts = tx_parts();

    unit_hex(tx_order, order);
    evm_u256_from_be(&n, order, 32);

    assert_int_equal(parts.len[TX_S], 33);
    evm_u256_from_be(&s, parts.item[TX_S] + 1, 32);
    assert_int_equal(evm_u256_sub(&s, &n, &s), EVM_OK);
    evm_u256_to_be(&s, parts.item[TX_S] + 1);

    assert_int_equal(parts.item[TX_Y_PARITY][0], 0x80);
    parts.item[TX_Y_PARITY][0] = 0x01;

    assert_int_equal(tx_decode_parts(&parts), EVM_ERROR);
}


static void
tx_with_fields_missing_or_more_is_refused(void **state)
{
    size_t      n;
    tx_parts_t  parts;

    (void) state;

    for (n = 0; n < TX_FIELDS; n++) {
        parts = tx_parts();
        parts.n = n;
        assert_int_equal(tx_decode_parts(&parts), EVM_ERROR);
    }

    for (n = TX_FIELDS + 1; n < 16; n++) {
        parts = tx_parts();

        while (parts.n < n) {
            parts.item[parts.n][0] = 0x80;
            parts.len[parts.n++] = 1;
        }

        assert_int_equal(tx_decode_parts(&parts), EVM_ERROR);
    }
}


static void
tx_in_another_envelope_is_refused(void **state)
{
    size_t       i, n, len;
    uint8_t      raw[1024], from[20], hash[32];
    evm_tx_t     tx;
    const char  *others[] = {
        "", "02", "0280", "02c0", "0202", "02b870", "02f8", "02f870",

        /* the EIP-155 example with 28 and 0 for its v, and as if typed */
        "f86c098504a817c800825208943535353535353535353535353535353535353535"
        "880de0b6b3a7640000801ca028ef61340bd939bc2195fe537567866003e1a15d3c"
        "71ff63e1590620aa636276a067cbe9d8997f761aecb703304b3800ccf555c9f3dc"
        "64214b297fb1966a3b6d83",
        "f86c098504a817c800825208943535353535353535353535353535353535353535"
        "880de0b6b3a76400008080a028ef61340bd939bc2195fe537567866003e1a15d3c"
        "71ff63e1590620aa636276a067cbe9d8997f761aecb703304b3800ccf555c9f3dc"
        "64214b297fb1966a3b6d83",
        "02f86c098504a817c8008252089435353535353535353535353535353535353535"
        "35880de0b6b3a76400008025a028ef61340bd939bc2195fe537567866003e1a15d"
        "3c71ff63e1590620aa636276a067cbe9d8997f761aecb703304b3800ccf555c9f3"
        "dc64214b297fb1966a3b6d83"
    };

    (void) state;

    for (i = 0; i < unit_count(others); i++) {
        len = unit_hex(others[i], raw);
        assert_int_equal(tx_decode(raw, len, &tx, from, hash), EVM_ERROR);
    }

    /* every other type byte, and the list with the header of a string */

    len = unit_hex(tx_vectors[0].raw, raw);

    for (n = 0; n < 256; n++) {
        raw[0] = (uint8_t) n;
        assert_int_equal(tx_decode(raw, len, &tx, from, hash),
                         n == 2 ? EVM_OK : EVM_ERROR);
    }

    raw[0] = 0x02;
    raw[1] = 0xb8;
    assert_int_equal(tx_decode(raw, len, &tx, from, hash), EVM_ERROR);

    /* a length form longer than it need be */

    unit_hex(tx_vectors[0].raw, raw);
    memmove(raw + 4, raw + 3, len - 3);
    raw[1] = 0xf9;
    raw[2] = 0x00;
    raw[3] = 0x70;
    assert_int_equal(tx_decode(raw, len + 1, &tx, from, hash), EVM_ERROR);

    /* inside a string, as it is within a block */

    len = unit_hex(tx_vectors[0].raw, raw + 2);
    raw[0] = 0xb8;
    raw[1] = (uint8_t) len;
    assert_int_equal(tx_decode(raw, len + 2, &tx, from, hash), EVM_ERROR);
}


/* the example of EIP-155, with its key */

static void
tx_before_eip_1559(void **state)
{
    size_t             i, n, len;
    uint8_t            key[32], raw[1024], want[1024], hash[32], signing[32];
    uint8_t            from[20], address[20];
    evm_tx_t           tx, got;
    static const char  text[] =
        "f86c098504a817c800825208943535353535353535353535353535353535353535"
        "880de0b6b3a76400008025a028ef61340bd939bc2195fe537567866003e1a15d3c"
        "71ff63e1590620aa636276a067cbe9d8997f761aecb703304b3800ccf555c9f3dc"
        "64214b297fb1966a3b6d83";

    (void) state;

    memset(&tx, 0, sizeof(tx));
    memset(key, 0x46, sizeof(key));
    memset(tx.to, 0x35, sizeof(tx.to));

    tx.legacy = 1;
    tx.chain_id = 1;
    tx.nonce = 9;
    tx.gas_limit = 21000;
    evm_u256_set(&tx.max_fee_per_gas, 20000000000);
    evm_u256_set(&tx.max_priority_fee_per_gas, 20000000000);
    evm_u256_set(&tx.value, 1000000000000000000);

    assert_int_equal(evm_tx_signing_hash(&tx, signing), EVM_OK);
    unit_assert_hex(signing, 32, "daf5a779ae972f972197303d7b574746c7ef83eada"
                                 "c0f2791ad23db92e4c8e53");

    n = sizeof(raw);
    assert_int_equal(evm_tx_sign(&tx, key, raw, &n, hash), EVM_OK);
    unit_assert_hex(raw, n, text);

    len = unit_hex(text, want);
    assert_int_equal(tx_decode(want, len, &got, from, hash), EVM_OK);
    tx_assert_equal(&got, &tx);

    assert_int_equal(evm_key_address(key, address), EVM_OK);
    assert_memory_equal(from, address, 20);

    /* cut, or with a bit flipped, it is nothing, or somebody else's */

    for (i = 0; i < len; i++) {
        assert_int_equal(tx_decode(want, i, &got, from, hash), EVM_ERROR);
    }

    for (i = 0; i < 8 * len; i++) {
        want[i / 8] ^= (uint8_t) (1 << i % 8);

        if (tx_decode(want, len, &got, from, hash) == EVM_OK) {
            assert_memory_not_equal(from, address, 20);
        }

        want[i / 8] ^= (uint8_t) (1 << i % 8);
    }

    /* a v beyond 64 bits */

    tx.chain_id = TX_LEGACY_MAX_CHAIN_ID + 1;
    n = sizeof(raw);
    assert_int_equal(evm_tx_sign(&tx, key, raw, &n, hash), EVM_RANGE);

    tx.chain_id = TX_LEGACY_MAX_CHAIN_ID;
    assert_int_equal(evm_tx_sign(&tx, key, raw, &n, hash), EVM_OK);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(tx_signs_as_others_do),
        cmocka_unit_test(tx_decodes_what_others_signed),
        cmocka_unit_test(tx_space_and_keys),
        cmocka_unit_test(tx_goes_there_and_back),
        cmocka_unit_test(tx_cut_or_continued_is_refused),
        cmocka_unit_test(tx_with_a_bit_flipped),
        cmocka_unit_test(tx_survives_noise),
        cmocka_unit_test(tx_with_a_malformed_field_is_refused),
        cmocka_unit_test(tx_with_a_high_s_is_refused),
        cmocka_unit_test(tx_with_fields_missing_or_more_is_refused),
        cmocka_unit_test(tx_in_another_envelope_is_refused),
        cmocka_unit_test(tx_before_eip_1559),
    };

    return cmocka_run_group_tests_name("tx", tests, tx_setup, tx_teardown);
}
