
/*
 * Unsigned 256-bit integers: amounts in wei and whatever a uint256 holds.
 */


#include "evm_internal.h"


/* the largest power of ten in a word, and its digits */
#define EVM_U256_CHUNK         10000000000000000000ULL
#define EVM_U256_CHUNK_DIGITS  19


__extension__ typedef unsigned __int128  evm_u128_t;


static uint64_t evm_u256_mul_word(evm_u256_t *r, const evm_u256_t *a,
    uint64_t b, uint64_t carry);
static unsigned evm_u256_bits(const evm_u256_t *a);


static const evm_u256_t  evm_u256_zero;


void
evm_u256_set(evm_u256_t *r, uint64_t v)
{
    *r = evm_u256_zero;
    r->w[0] = v;
}


int
evm_u256_is_zero(const evm_u256_t *a)
{
    return (a->w[0] | a->w[1] | a->w[2] | a->w[3]) == 0;
}


int
evm_u256_cmp(const evm_u256_t *a, const evm_u256_t *b)
{
    int  i;

    for (i = 3; i >= 0; i--) {
        if (a->w[i] != b->w[i]) {
            return (a->w[i] < b->w[i]) ? -1 : 1;
        }
    }

    return 0;
}


int
evm_u256_add(evm_u256_t *r, const evm_u256_t *a, const evm_u256_t *b)
{
    int         i;
    evm_u128_t  t;
    evm_u256_t  sum;

    t = 0;

    for (i = 0; i < 4; i++) {
        t += (evm_u128_t) a->w[i] + b->w[i];
        sum.w[i] = (uint64_t) t;
        t >>= 64;
    }

    if (t) {
        return EVM_RANGE;
    }

    *r = sum;

    return EVM_OK;
}


int
evm_u256_sub(evm_u256_t *r, const evm_u256_t *a, const evm_u256_t *b)
{
    int         i;
    uint64_t    borrow;
    evm_u128_t  t;

    if (evm_u256_cmp(a, b) < 0) {
        return EVM_RANGE;
    }

    borrow = 0;

    for (i = 0; i < 4; i++) {
        t = (evm_u128_t) a->w[i] - b->w[i] - borrow;
        r->w[i] = (uint64_t) t;
        borrow = (uint64_t) (t >> 64) & 1;
    }

    return EVM_OK;
}


int
evm_u256_mul(evm_u256_t *r, const evm_u256_t *a, const evm_u256_t *b)
{
    int         i, j;
    evm_u128_t  t;
    uint64_t    w[8];

    memset(w, 0, sizeof(w));

    for (i = 0; i < 4; i++) {

        t = 0;

        for (j = 0; j < 4; j++) {
            t += (evm_u128_t) a->w[i] * b->w[j] + w[i + j];
            w[i + j] = (uint64_t) t;
            t >>= 64;
        }

        w[i + 4] = (uint64_t) t;
    }

    if (w[4] | w[5] | w[6] | w[7]) {
        return EVM_RANGE;
    }

    memcpy(r->w, w, sizeof(r->w));

    return EVM_OK;
}


int
evm_u256_mul_u64(evm_u256_t *r, const evm_u256_t *a, uint64_t b)
{
    evm_u256_t  product;

    if (evm_u256_mul_word(&product, a, b, 0)) {
        return EVM_RANGE;
    }

    *r = product;

    return EVM_OK;
}


/* r = a * b + carry; returns what does not fit */

static uint64_t
evm_u256_mul_word(evm_u256_t *r, const evm_u256_t *a, uint64_t b,
    uint64_t carry)
{
    int         i;
    evm_u128_t  t;

    for (i = 0; i < 4; i++) {
        t = (evm_u128_t) a->w[i] * b + carry;
        r->w[i] = (uint64_t) t;
        carry = (uint64_t) (t >> 64);
    }

    return carry;
}


uint64_t
evm_u256_div_u64(evm_u256_t *r, const evm_u256_t *a, uint64_t b)
{
    int         i;
    evm_u128_t  t;

    if (b == 0) {
        *r = evm_u256_zero;
        return 0;
    }

    t = 0;

    for (i = 3; i >= 0; i--) {
        t = (t << 64) | a->w[i];
        r->w[i] = (uint64_t) (t / b);
        t %= b;
    }

    return (uint64_t) t;
}


int
evm_u256_to_u64(const evm_u256_t *a, uint64_t *v)
{
    if (a->w[1] | a->w[2] | a->w[3]) {
        return EVM_RANGE;
    }

    *v = a->w[0];

    return EVM_OK;
}


double
evm_u256_to_double(const evm_u256_t *a)
{
    double    d;
    uint64_t  top, rest;
    unsigned  bits, shift, word, bit, i;

    bits = evm_u256_bits(a);

    if (bits <= 64) {
        return (double) a->w[0];
    }

    /*
     * The conversion of the upper 64 bits is the only rounding.  It has 11
     * bits more than it keeps, and the lowest of them stands for all below.
     */

    shift = bits - 64;
    word = shift / 64;
    bit = shift % 64;

    top = a->w[word] >> bit;
    rest = 0;

    if (bit) {
        top |= a->w[word + 1] << (64 - bit);
        rest = a->w[word] << (64 - bit);
    }

    for (i = 0; i < word; i++) {
        rest |= a->w[i];
    }

    d = (double) (top | (rest != 0));

    while (shift--) {
        d *= 2;
    }

    return d;
}


static unsigned
evm_u256_bits(const evm_u256_t *a)
{
    int       i;
    unsigned  n;
    uint64_t  w;

    for (i = 3; i >= 0; i--) {

        if (a->w[i] == 0) {
            continue;
        }

        n = (unsigned) i * 64;

        for (w = a->w[i]; w; w >>= 1) {
            n++;
        }

        return n;
    }

    return 0;
}


int
evm_u256_from_dec(evm_u256_t *r, const char *s, size_t len)
{
    size_t      i;
    uint64_t    chunk, scale;
    evm_u256_t  v;

    if (len == 0 || (len > 1 && s[0] == '0')) {
        return EVM_ERROR;
    }

    /* all of it first, so that garbage is not taken for a large number */

    for (i = 0; i < len; i++) {
        if (s[i] < '0' || s[i] > '9') {
            return EVM_ERROR;
        }
    }

    if (len > EVM_U256_DEC_LEN) {
        return EVM_RANGE;
    }

    v = evm_u256_zero;
    chunk = 0;
    scale = 1;

    for (i = 0; i < len; i++) {

        chunk = chunk * 10 + (uint64_t) (s[i] - '0');
        scale *= 10;

        if (scale == EVM_U256_CHUNK || i == len - 1) {

            if (evm_u256_mul_word(&v, &v, scale, chunk)) {
                return EVM_RANGE;
            }

            chunk = 0;
            scale = 1;
        }
    }

    *r = v;

    return EVM_OK;
}


int
evm_u256_from_hex(evm_u256_t *r, const char *s, size_t len)
{
    size_t      i;
    uint64_t    digit;
    evm_u256_t  v;

    if (len < 3 || s[0] != '0' || s[1] != 'x') {
        return EVM_ERROR;
    }

    for (i = 2; i < len; i++) {
        if (evm_hex_value(s[i]) < 0) {
            return EVM_ERROR;
        }
    }

    if (len > EVM_U256_HEX_LEN) {
        return EVM_RANGE;
    }

    v = evm_u256_zero;

    for (i = 0; i < len - 2; i++) {
        digit = (uint64_t) evm_hex_value(s[len - 1 - i]);
        v.w[i / 16] |= digit << (4 * (i % 16));
    }

    *r = v;

    return EVM_OK;
}


size_t
evm_u256_to_dec(const evm_u256_t *a, char *out)
{
    char       *p, digits[EVM_U256_DEC_LEN + EVM_U256_CHUNK_DIGITS];
    size_t      len;
    uint64_t    chunk;
    unsigned    i;
    evm_u256_t  v;

    v = *a;
    p = digits + sizeof(digits);

    do {
        chunk = evm_u256_div_u64(&v, &v, EVM_U256_CHUNK);

        for (i = 0; i < EVM_U256_CHUNK_DIGITS; i++) {
            *--p = (char) ('0' + chunk % 10);
            chunk /= 10;
        }

    } while (!evm_u256_is_zero(&v));

    while (*p == '0' && p < digits + sizeof(digits) - 1) {
        p++;
    }

    len = (size_t) (digits + sizeof(digits) - p);
    memcpy(out, p, len);

    return len;
}


size_t
evm_u256_to_hex(const evm_u256_t *a, char *out)
{
    size_t    i, len;
    unsigned  bits, n;

    bits = evm_u256_bits(a);
    n = bits ? (bits + 3) / 4 : 1;
    len = 2 + n;

    out[0] = '0';
    out[1] = 'x';

    for (i = 0; i < n; i++) {
        out[len - 1 - i] = evm_hex_digits[(a->w[i / 16] >> (4 * (i % 16)))
                                          & 0xf];
    }

    return len;
}


void
evm_u256_to_be(const evm_u256_t *a, uint8_t out[32])
{
    int  i;

    for (i = 0; i < 32; i++) {
        out[31 - i] = (uint8_t) (a->w[i / 8] >> (8 * (i % 8)));
    }
}


int
evm_u256_from_be(evm_u256_t *r, const uint8_t *p, size_t len)
{
    size_t      i;
    evm_u256_t  v;

    if (len > 32) {
        return EVM_RANGE;
    }

    v = evm_u256_zero;

    for (i = 0; i < len; i++) {
        v.w[i / 8] |= (uint64_t) p[len - 1 - i] << (8 * (i % 8));
    }

    *r = v;

    return EVM_OK;
}
