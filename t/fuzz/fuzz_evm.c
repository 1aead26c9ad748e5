
/*
 * Every decoder of src/evm under libFuzzer: the first byte says which, the
 * rest is what it gets.  Besides not crashing, what is decoded has to come
 * back the same when it is encoded again.
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
    fuzz_tx
};


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
    evm_u256_t  a, b, r;

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
    uint8_t              hash[32];
    const uint8_t       *nul;
    evm_abi_value_t      values[EVM_ABI_MAX_ARGS];
    evm_abi_function_t   fn;

    nul = memchr(data, '\0', len);

    if (nul == NULL) {
        return;
    }

    text = (size_t) (nul - data);

    if (evm_abi_function_parse((const char *) data, text, &fn, NULL) != EVM_OK
        || fuzz_abi_values(nul + 1, len - text - 1, &fn, values) != EVM_OK)
    {
        return;
    }

    (void) evm_eip712_struct((const char *) data, text, fn.args, values,
                             fn.nargs, hash);
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
