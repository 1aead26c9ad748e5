
/*
 * Revert data for a person.  It is whatever the contract chose to return,
 * and ends in logs and answers, so nothing in it is believed.
 */


#include "evm_internal.h"


#define EVM_REVERT_SELECTOR_LEN  4

/* "panic ", a word in hex, " (" and the longest meaning, ")" */
#define EVM_REVERT_PANIC_LEN     160


typedef struct {
    uint64_t     code;
    const char  *meaning;
} evm_panic_t;


static size_t evm_revert_error(const uint8_t *data, size_t len, char *out,
    size_t size);
static size_t evm_revert_panic(const uint8_t *data, size_t len, char *out,
    size_t size);
static size_t evm_revert_custom(const uint8_t *selector, char *out,
    size_t size);
static size_t evm_revert_unknown(char *out, size_t size);
static size_t evm_revert_copy(const char *s, size_t len, char *out,
    size_t size);
static int evm_revert_word(const uint8_t *data, size_t len, size_t offset,
    size_t *v);
static const char *evm_revert_panic_meaning(uint64_t code);
static size_t evm_revert_text(const uint8_t *p, size_t len, char *out,
    size_t size);
static size_t evm_utf8_len(const uint8_t *p, size_t len);


static const uint8_t  evm_revert_error_selector[EVM_REVERT_SELECTOR_LEN] = {
    0x08, 0xc3, 0x79, 0xa0
};

static const uint8_t  evm_revert_panic_selector[EVM_REVERT_SELECTOR_LEN] = {
    0x4e, 0x48, 0x7b, 0x71
};


/*
 * https://docs.soliditylang.org/en/latest/control-structures.html
 * #panic-via-assert-and-error-via-require
 */

static const evm_panic_t  evm_panics[] = {
    { 0x00, "generic panic" },
    { 0x01, "assertion failed" },
    { 0x11, "arithmetic overflow" },
    { 0x12, "division by zero" },
    { 0x21, "invalid enum value" },
    { 0x22, "invalid storage byte array" },
    { 0x31, "pop from an empty array" },
    { 0x32, "array index out of bounds" },
    { 0x41, "out of memory" },
    { 0x51, "call of an uninitialized function" },
    { 0, NULL }
};


size_t
evm_abi_revert_reason(const uint8_t *data, size_t len, char *out, size_t size)
{
    const uint8_t  *args;

    if (len < EVM_REVERT_SELECTOR_LEN) {
        return evm_revert_unknown(out, size);
    }

    args = data + EVM_REVERT_SELECTOR_LEN;
    len -= EVM_REVERT_SELECTOR_LEN;

    if (memcmp(data, evm_revert_error_selector, EVM_REVERT_SELECTOR_LEN)
        == 0)
    {
        return evm_revert_error(args, len, out, size);
    }

    if (memcmp(data, evm_revert_panic_selector, EVM_REVERT_SELECTOR_LEN)
        == 0)
    {
        return evm_revert_panic(args, len, out, size);
    }

    return evm_revert_custom(data, out, size);
}


static size_t
evm_revert_error(const uint8_t *data, size_t len, char *out, size_t size)
{
    size_t  offset, n;

    if (evm_revert_word(data, len, 0, &offset) != EVM_OK
        || evm_revert_word(data, len, offset, &n) != EVM_OK
        || n > len - offset - 32
        || n == 0)
    {
        return evm_revert_unknown(out, size);
    }

    return evm_revert_text(data + offset + 32, n, out, size);
}


static size_t
evm_revert_panic(const uint8_t *data, size_t len, char *out, size_t size)
{
    char         text[EVM_REVERT_PANIC_LEN], *p;
    uint64_t     code;
    evm_u256_t   word;
    const char  *meaning;

    if (len < 32) {
        return evm_revert_unknown(out, size);
    }

    (void) evm_u256_from_be(&word, data, 32);

    meaning = NULL;

    memcpy(text, "panic ", 6);
    p = text + 6;

    if (evm_u256_to_u64(&word, &code) == EVM_OK && code <= 0xff) {

        /* two digits, as the Solidity documentation writes the codes */

        p += evm_hex_encode(data + 31, 1, p);
        meaning = evm_revert_panic_meaning(code);

    } else {
        p += evm_u256_to_hex(&word, p);
    }

    if (meaning) {
        *p++ = ' ';
        *p++ = '(';

        memcpy(p, meaning, strlen(meaning));
        p += strlen(meaning);

        *p++ = ')';
    }

    return evm_revert_copy(text, (size_t) (p - text), out, size);
}


static const char *
evm_revert_panic_meaning(uint64_t code)
{
    const evm_panic_t  *panic;

    for (panic = evm_panics; panic->meaning; panic++) {
        if (panic->code == code) {
            return panic->meaning;
        }
    }

    return NULL;
}


static size_t
evm_revert_custom(const uint8_t *selector, char *out, size_t size)
{
    char    text[sizeof("custom error 0x12345678")];
    size_t  len;

    len = sizeof("custom error ") - 1;

    memcpy(text, "custom error ", len);
    len += evm_hex_encode(selector, EVM_REVERT_SELECTOR_LEN, text + len);

    return evm_revert_copy(text, len, out, size);
}


static size_t
evm_revert_unknown(char *out, size_t size)
{
    return evm_revert_copy("execution reverted",
                           sizeof("execution reverted") - 1, out, size);
}


static size_t
evm_revert_copy(const char *s, size_t len, char *out, size_t size)
{
    if (len > size) {
        len = size;
    }

    if (len) {
        memcpy(out, s, len);
    }

    return len;
}


/* the word at offset, which must be all there and fit a size_t */

static int
evm_revert_word(const uint8_t *data, size_t len, size_t offset, size_t *v)
{
    uint64_t    n;
    evm_u256_t  word;

    if (len < 32 || offset > len - 32) {
        return EVM_ERROR;
    }

    (void) evm_u256_from_be(&word, data + offset, 32);

    if (evm_u256_to_u64(&word, &n) != EVM_OK || n > SIZE_MAX) {
        return EVM_ERROR;
    }

    *v = (size_t) n;

    return EVM_OK;
}


static size_t
evm_revert_text(const uint8_t *p, size_t len, char *out, size_t size)
{
    size_t  i, n, used;

    used = 0;

    for (i = 0; i < len; i += n) {

        n = evm_utf8_len(p + i, len - i);

        /* C0 and DEL are one byte, C1 is U+0080 to U+009F in two */

        if (n == 0 || p[i] < 0x20 || p[i] == 0x7f
            || (p[i] == 0xc2 && p[i + 1] < 0xa0))
        {
            if (used == size) {
                break;
            }

            out[used++] = '?';
            n = n ? n : 1;
            continue;
        }

        if (n > size - used) {
            break;
        }

        memcpy(out + used, p + i, n);
        used += n;
    }

    return used;
}


/*
 * The bytes of the character at p, 0 where it is none: the well-formed
 * sequences of table 3-7 of the Unicode standard.
 */

static size_t
evm_utf8_len(const uint8_t *p, size_t len)
{
    size_t   i, n;
    uint8_t  low, high;

    if (p[0] < 0x80) {
        return 1;
    }

    if (p[0] < 0xc2 || p[0] > 0xf4) {
        return 0;
    }

    n = (p[0] < 0xe0) ? 2 : (p[0] < 0xf0) ? 3 : 4;

    if (n > len) {
        return 0;
    }

    /* the second byte keeps out overlong forms, surrogates and > U+10FFFF */

    low = (p[0] == 0xe0) ? 0xa0 : (p[0] == 0xf0) ? 0x90 : 0x80;
    high = (p[0] == 0xed) ? 0x9f : (p[0] == 0xf4) ? 0x8f : 0xbf;

    if (p[1] < low || p[1] > high) {
        return 0;
    }

    for (i = 2; i < n; i++) {
        if (p[i] < 0x80 || p[i] > 0xbf) {
            return 0;
        }
    }

    return n;
}
