
/*
 * Every decoder of src/evm under libFuzzer: the first byte says which, the
 * rest is what it gets.  Besides not crashing, what is decoded has to come
 * back the same when it is encoded again.  No fuzzer finds a signature by
 * itself: for what stands behind one the input says what is to be signed, and
 * what is to be spoilt then.
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "evm.h"


#define FUZZ_CHECK(expr)                                                      \
    if (!(expr)) {                                                            \
        fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #expr);    \
        abort();                                                              \
    }


typedef void (*fuzz_target_pt)(const uint8_t *data, size_t len);


static void fuzz_hex(const uint8_t *data, size_t len);
static void fuzz_address(const uint8_t *data, size_t len);
static void fuzz_u256_dec(const uint8_t *data, size_t len);
static void fuzz_u256_hex(const uint8_t *data, size_t len);
static void fuzz_u256_arithmetic(const uint8_t *data, size_t len);
static void fuzz_rlp(const uint8_t *data, size_t len);
static void fuzz_abi_type(const uint8_t *data, size_t len);
static void fuzz_abi_function(const uint8_t *data, size_t len);
static void fuzz_revert(const uint8_t *data, size_t len);
static void fuzz_signature(const uint8_t *data, size_t len);
static void fuzz_eip712(const uint8_t *data, size_t len);
static void fuzz_tx(const uint8_t *data, size_t len);
static void fuzz_sign(const uint8_t *data, size_t len);
static void fuzz_tx_signed(const uint8_t *data, size_t len);
static void fuzz_tx_fields(const uint8_t *data, evm_tx_t *tx);
static void fuzz_tx_same(const evm_tx_t *a, const evm_tx_t *b);
static uint64_t fuzz_u64(const uint8_t *data);
static int fuzz_abi_values(const uint8_t *data, size_t len,
    const evm_abi_function_t *fn, evm_abi_value_t *values);


static fuzz_target_pt  fuzz_targets[] = {
    fuzz_hex,
    fuzz_address,
    fuzz_u256_dec,
    fuzz_u256_hex,
    fuzz_u256_arithmetic,
    fuzz_rlp,
    fuzz_abi_type,
    fuzz_abi_function,
    fuzz_revert,
    fuzz_signature,
    fuzz_eip712,
    fuzz_tx,
    fuzz_sign,
    fuzz_tx_signed
};


/* flags, sizes of the numbers, and the numbers */
#define FUZZ_TX_LEN  (8 + 3 * 32 + 3 * 8 + EVM_ADDRESS_LEN)


int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);


int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    uint8_t  entropy[32];

    (void) argc;
    (void) argv;

    memset(entropy, 7, sizeof(entropy));

    FUZZ_CHECK(evm_secp256k1_init(entropy) == EVM_OK);

    return 0;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    uint8_t  *exact;

    if (len == 0) {
        return 0;
    }

    /* a block of its own, so that a read past the end is seen */

    exact = malloc(len);
    if (exact == NULL) {
        return 0;
    }

    memcpy(exact, data + 1, len - 1);

    fuzz_targets[data[0] % (sizeof(fuzz_targets) / sizeof(fuzz_targets[0]))]
        (exact, len - 1);

    free(exact);

    return 0;
}


static void
fuzz_hex(const uint8_t *data, size_t len)
{
    char     *text;
    size_t    n, i;
    uint8_t  *out;

    n = len;
    out = malloc(len + 1);
    text = malloc(2 * len + 3);

    if (evm_hex_decode((const char *) data, len, out, &n) == EVM_OK) {
        FUZZ_CHECK(evm_hex_encode(out, n, text) == len);

        for (i = 2; i < len; i++) {
            FUZZ_CHECK(text[i] == (data[i] | (data[i] >= 'A' ? 0x20 : 0)));
        }

        if (n) {
            n--;
            FUZZ_CHECK(evm_hex_decode((const char *) data, len, out, &n)
                       == EVM_NOSPACE);
        }
    }

    free(out);
    free(text);
}


static void
fuzz_address(const uint8_t *data, size_t len)
{
    char     text[EVM_ADDRESS_STR_LEN];
    uint8_t  a[20], b[20];

    if (evm_address_parse((const char *) data, len, a) == EVM_OK) {
        evm_address_format(a, text);

        FUZZ_CHECK(evm_address_parse(text, sizeof(text), b) == EVM_OK);
        FUZZ_CHECK(memcmp(a, b, sizeof(a)) == 0);
    }
}


static void
fuzz_u256_dec(const uint8_t *data, size_t len)
{
    char        text[EVM_U256_DEC_LEN];
    evm_u256_t  v;

    if (evm_u256_from_dec(&v, (const char *) data, len) == EVM_OK) {
        FUZZ_CHECK(evm_u256_to_dec(&v, text) == len);
        FUZZ_CHECK(memcmp(text, data, len) == 0);
        (void) evm_u256_to_double(&v);
    }
}


static void
fuzz_u256_hex(const uint8_t *data, size_t len)
{
    char        text[EVM_U256_HEX_LEN];
    size_t      n;
    uint8_t     be[32];
    evm_u256_t  a, b;

    if (evm_u256_from_hex(&a, (const char *) data, len) == EVM_OK) {
        n = evm_u256_to_hex(&a, text);

        FUZZ_CHECK(evm_u256_from_hex(&b, text, n) == EVM_OK);
        FUZZ_CHECK(evm_u256_cmp(&a, &b) == 0);

        evm_u256_to_be(&a, be);

        FUZZ_CHECK(evm_u256_from_be(&b, be, 32) == EVM_OK);
        FUZZ_CHECK(evm_u256_cmp(&a, &b) == 0);
    }
}


static void
fuzz_u256_arithmetic(const uint8_t *data, size_t len)
{
    uint64_t    rest, by;
    evm_u256_t  a, b, r, s;

    if (len < 72) {
        return;
    }

    (void) evm_u256_from_be(&a, data, 32);
    (void) evm_u256_from_be(&b, data + 32, 32);
    memcpy(&by, data + 64, 8);

    if (evm_u256_add(&r, &a, &b) == EVM_OK) {
        FUZZ_CHECK(evm_u256_sub(&r, &r, &b) == EVM_OK);
        FUZZ_CHECK(evm_u256_cmp(&r, &a) == 0);
    }

    evm_u256_set(&s, by);

    if (evm_u256_mul(&r, &a, &s) == EVM_OK) {
        FUZZ_CHECK(evm_u256_mul_u64(&s, &a, by) == EVM_OK);
        FUZZ_CHECK(evm_u256_cmp(&r, &s) == 0);
    }

    if (evm_u256_mul(&r, &a, &b) == EVM_OK) {
        FUZZ_CHECK(evm_u256_mul(&s, &b, &a) == EVM_OK);
        FUZZ_CHECK(evm_u256_cmp(&r, &s) == 0);
    }

    if (evm_u256_to_u64(&a, &rest) == EVM_OK) {
        evm_u256_set(&r, rest);
        FUZZ_CHECK(evm_u256_cmp(&r, &a) == 0);
    }

    rest = evm_u256_div_u64(&r, &a, by);

    if (by) {
        FUZZ_CHECK(rest < by);
        FUZZ_CHECK(evm_u256_mul_u64(&r, &r, by) == EVM_OK);
        evm_u256_set(&b, rest);
        FUZZ_CHECK(evm_u256_add(&r, &r, &b) == EVM_OK);
        FUZZ_CHECK(evm_u256_cmp(&r, &a) == 0);
    }
}


static void
fuzz_rlp(const uint8_t *data, size_t len)
{
    int             list;
    size_t          n;
    evm_rlp_t       rlp;
    const uint8_t  *p, *end, *item, *start;

    p = data;
    end = data + len;

    while (p < end) {
        start = p;

        if (evm_rlp_next(&p, end, &item, &n, &list) != EVM_OK) {
            FUZZ_CHECK(p == start);
            break;
        }

        FUZZ_CHECK(p > start && p <= end && item + n == p);

        /* canonical means that there is no other way to write it */

        rlp.buf = malloc((size_t) (p - start));
        rlp.size = (size_t) (p - start);
        rlp.len = 0;
        rlp.overflow = 0;

        if (list) {
            evm_rlp_list(&rlp, n);
            FUZZ_CHECK(rlp.len == (size_t) (item - start));

        } else {
            evm_rlp_bytes(&rlp, item, n);
            FUZZ_CHECK(rlp.len == rlp.size);
        }

        FUZZ_CHECK(!rlp.overflow && memcmp(rlp.buf, start, rlp.len) == 0);
        free(rlp.buf);

        if (list) {
            fuzz_rlp(item, n);
        }
    }
}


static void
fuzz_abi_type(const uint8_t *data, size_t len)
{
    evm_abi_type_t  type;

    if (evm_abi_type_parse((const char *) data, len, &type) == EVM_OK) {
        FUZZ_CHECK(type.type <= EVM_ABI_STRING);
        FUZZ_CHECK(type.size <= 256);
    }
}


/* "name(type,…)", NUL, what the values are made of */

static void
fuzz_abi_function(const uint8_t *data, size_t len)
{
    size_t               n, text;
    uint8_t             *out;
    const char          *err;
    const uint8_t       *nul;
    evm_abi_value_t      values[EVM_ABI_MAX_ARGS];
    evm_abi_function_t   fn;

    nul = memchr(data, '\0', len);
    text = nul ? (size_t) (nul - data) : len;
    err = NULL;

    if (evm_abi_function_parse((const char *) data, text, &fn, &err)
        != EVM_OK)
    {
        FUZZ_CHECK(err != NULL && *err != '\0');
        return;
    }

    FUZZ_CHECK(fn.nargs <= EVM_ABI_MAX_ARGS);

    if (nul == NULL
        || fuzz_abi_values(nul + 1, len - text - 1, &fn, values) != EVM_OK)
    {
        return;
    }

    n = evm_abi_encoded_len(&fn, values);
    out = malloc(n);

    if (evm_abi_encode(&fn, values, out, &n) == EVM_OK) {
        FUZZ_CHECK(n == evm_abi_encoded_len(&fn, values));
        FUZZ_CHECK(n % 32 == 4 && memcmp(out, fn.selector, 4) == 0);

        n--;
        FUZZ_CHECK(evm_abi_encode(&fn, values, out, &n) == EVM_NOSPACE);
    }

    free(out);
}


static int
fuzz_abi_values(const uint8_t *data, size_t len,
    const evm_abi_function_t *fn, evm_abi_value_t *values)
{
    unsigned  i;

    for (i = 0; i < fn->nargs; i++) {

        memset(&values[i], 0, sizeof(evm_abi_value_t));

        if (fn->args[i].type == EVM_ABI_BYTES
            || fn->args[i].type == EVM_ABI_STRING)
        {
            if (len == 0) {
                return EVM_ERROR;
            }

            values[i].len = data[0] < len ? data[0] : len - 1;
            values[i].data = data + 1;

            data += 1 + values[i].len;
            len -= 1 + values[i].len;
            continue;
        }

        if (len < 32) {
            return EVM_ERROR;
        }

        memcpy(values[i].word, data, 32);
        data += 32;
        len -= 32;
    }

    return EVM_OK;
}


static void
fuzz_revert(const uint8_t *data, size_t len)
{
    char    *out;
    size_t   n, size;

    if (len == 0) {
        return;
    }

    size = data[0];
    out = malloc(size + 1);

    n = evm_abi_revert_reason(data + 1, len - 1, out, size);

    FUZZ_CHECK(n <= size);

    free(out);
}


static void
fuzz_signature(const uint8_t *data, size_t len)
{
    uint8_t          address[20];
    evm_signature_t  sig;

    if (len < 32) {
        return;
    }

    if (evm_signature_parse(data + 32, len - 32, &sig) == EVM_OK) {
        FUZZ_CHECK(len - 32 == 64 || len - 32 == 65);
        FUZZ_CHECK(sig.y_parity <= 1);
        (void) evm_recover(data, &sig, address);
    }
}


/* the types of a function's arguments, as the fields of a struct */

static void
fuzz_eip712(const uint8_t *data, size_t len)
{
    size_t               text;
    uint8_t              hash[32], domain[32], other[32];
    const uint8_t       *nul;
    evm_abi_value_t      values[EVM_ABI_MAX_ARGS];
    evm_abi_function_t   fn;

    nul = memchr(data, '\0', len);

    if (nul == NULL) {
        return;
    }

    text = (size_t) (nul - data);

    evm_eip712_domain((const char *) data, text, (const char *) nul,
                      len - text, len, NULL, domain);

    if (len >= EVM_ADDRESS_LEN) {
        evm_eip712_domain((const char *) data, text, (const char *) nul,
                          len - text, len, data, other);
        FUZZ_CHECK(memcmp(domain, other, 32) != 0);
    }

    if (evm_abi_function_parse((const char *) data, text, &fn, NULL) != EVM_OK
        || fuzz_abi_values(nul + 1, len - text - 1, &fn, values) != EVM_OK)
    {
        return;
    }

    if (evm_eip712_struct((const char *) data, text, fn.args, values,
                          fn.nargs, hash)
        == EVM_OK)
    {
        evm_eip712_digest(domain, hash, other);
        FUZZ_CHECK(memcmp(other, hash, 32) != 0);
    }
}


static void
fuzz_tx(const uint8_t *data, size_t len)
{
    uint8_t   from[20], hash[32], again[32];
    evm_tx_t  tx;

    if (evm_tx_decode(data, len, &tx, from, hash) == EVM_OK) {

        evm_keccak256(data, len, again);

        FUZZ_CHECK(memcmp(hash, again, 32) == 0);
        FUZZ_CHECK(tx.data_len <= len);
        FUZZ_CHECK(evm_tx_signing_hash(&tx, again) == EVM_OK);
    }
}


/* key, hash: what is signed is recovered, in each form, and nothing else is */

static void
fuzz_sign(const uint8_t *data, size_t len)
{
    size_t           bit;
    uint8_t          form[65], address[20], signer[20], hash[32];
    evm_signature_t  sig, parsed;

    if (len < 66) {
        return;
    }

    if (evm_key_address(data, address) != EVM_OK) {
        FUZZ_CHECK(evm_sign(data + 32, data, &sig) == EVM_RANGE);
        return;
    }

    FUZZ_CHECK(evm_sign(data + 32, data, &sig) == EVM_OK);
    FUZZ_CHECK(evm_recover(data + 32, &sig, signer) == EVM_OK);
    FUZZ_CHECK(memcmp(signer, address, 20) == 0);

    memcpy(form, sig.r, 32);
    memcpy(form + 32, sig.s, 32);
    form[64] = (uint8_t) (sig.y_parity + ((data[64] & 1) ? 27 : 0));

    FUZZ_CHECK(evm_signature_parse(form, 65, &parsed) == EVM_OK);
    FUZZ_CHECK(memcmp(&sig, &parsed, sizeof(sig)) == 0);

    form[32] |= (uint8_t) (sig.y_parity << 7);

    FUZZ_CHECK(evm_signature_parse(form, 64, &parsed) == EVM_OK);
    FUZZ_CHECK(memcmp(&sig, &parsed, sizeof(sig)) == 0);

    /* one bit of the hash, or of the signature */

    memcpy(hash, data + 32, 32);
    bit = (size_t) data[65] * (data[64] & 2 ? 2 : 1) % 512;

    if (data[64] & 4) {
        hash[bit / 8 % 32] ^= (uint8_t) (1 << bit % 8);

    } else {
        form[bit / 8] ^= (uint8_t) (1 << bit % 8);
        FUZZ_CHECK(evm_signature_parse(form, 64, &parsed) == EVM_OK);
    }

    FUZZ_CHECK(evm_recover(hash, &parsed, signer) != EVM_OK
               || memcmp(signer, address, 20) != 0);
}


/*
 * A transaction that was signed is read as it was; one with a byte changed,
 * or cut, is another's or none.
 */

static void
fuzz_tx_signed(const uint8_t *data, size_t len)
{
    int             rc;
    size_t          n, pos;
    uint8_t        *raw, key[32], address[20], from[20], hash[32], again[32];
    uint8_t         change;
    evm_tx_t        tx, read;
    const uint8_t  *p;

    if (len < FUZZ_TX_LEN + 3) {
        return;
    }

    fuzz_tx_fields(data, &tx);

    p = data + FUZZ_TX_LEN;
    tx.data = p + 3;
    tx.data_len = len - FUZZ_TX_LEN - 3;

    memset(key, 0x11, sizeof(key));
    FUZZ_CHECK(evm_key_address(key, address) == EVM_OK);

    n = EVM_TX_MAX_LEN(tx.data_len);
    raw = malloc(n);

    rc = evm_tx_sign(&tx, key, raw, &n, hash);

    if (rc != EVM_OK) {
        FUZZ_CHECK(rc == EVM_RANGE && tx.legacy);
        free(raw);
        return;
    }

    raw = realloc(raw, n);

    rc = evm_tx_decode(raw, n, &read, from, again);

    FUZZ_CHECK(rc == EVM_OK);
    FUZZ_CHECK(memcmp(from, address, 20) == 0);
    FUZZ_CHECK(memcmp(hash, again, 32) == 0);
    fuzz_tx_same(&tx, &read);

    pos = ((size_t) p[0] << 8 | p[1]) % n;
    change = p[2];

    raw[pos] ^= change;

    if (change && evm_tx_decode(raw, n, &read, from, again) == EVM_OK) {
        FUZZ_CHECK(memcmp(from, address, 20) != 0);
        FUZZ_CHECK(memcmp(hash, again, 32) != 0);
    }

    raw[pos] ^= change;
    raw = realloc(raw, pos + 1);

    rc = evm_tx_decode(raw, pos, &read, from, again);
    FUZZ_CHECK(rc == EVM_ERROR);

    free(raw);
}


/* each number as long as a byte of the input says */

static void
fuzz_tx_fields(const uint8_t *data, evm_tx_t *tx)
{
    unsigned       i;
    evm_u256_t    *wide[3];
    const uint8_t *p;

    memset(tx, 0, sizeof(evm_tx_t));

    wide[0] = &tx->max_priority_fee_per_gas;
    wide[1] = &tx->max_fee_per_gas;
    wide[2] = &tx->value;

    tx->legacy = data[0] & 1;
    tx->create = (data[0] & 6) == 6;

    p = data + 8;

    for (i = 0; i < 3; i++) {
        (void) evm_u256_from_be(wide[i], p, data[1 + i] % 33);
        p += 32;
    }

    tx->chain_id = 1 + (fuzz_u64(p) >> data[4] % 64) / 2;
    tx->nonce = fuzz_u64(p + 8) >> data[5] % 64;
    tx->gas_limit = fuzz_u64(p + 16) >> data[6] % 64;

    if (!tx->create) {
        memcpy(tx->to, p + 24, EVM_ADDRESS_LEN);
    }

    if (tx->legacy) {
        tx->max_priority_fee_per_gas = tx->max_fee_per_gas;
    }
}


static void
fuzz_tx_same(const evm_tx_t *a, const evm_tx_t *b)
{
    FUZZ_CHECK(a->legacy == b->legacy && a->create == b->create);
    FUZZ_CHECK(a->chain_id == b->chain_id && a->nonce == b->nonce
               && a->gas_limit == b->gas_limit);
    FUZZ_CHECK(evm_u256_cmp(&a->max_fee_per_gas, &b->max_fee_per_gas) == 0);
    FUZZ_CHECK(evm_u256_cmp(&a->max_priority_fee_per_gas,
                            &b->max_priority_fee_per_gas)
               == 0);
    FUZZ_CHECK(evm_u256_cmp(&a->value, &b->value) == 0);
    FUZZ_CHECK(memcmp(a->to, b->to, EVM_ADDRESS_LEN) == 0);
    FUZZ_CHECK(a->data_len == b->data_len
               && (a->data_len == 0
                   || memcmp(a->data, b->data, a->data_len) == 0));
}


static uint64_t
fuzz_u64(const uint8_t *data)
{
    uint64_t  v;

    memcpy(&v, data, sizeof(v));

    return v;
}
