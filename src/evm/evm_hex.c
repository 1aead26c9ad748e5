
/*
 * Hexadecimal with the "0x" that JSON-RPC requires.
 */


#include "evm_internal.h"


const char  evm_hex_digits[] = "0123456789abcdef";


int
evm_hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }

    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }

    return -1;
}


int
evm_hex_decode(const char *s, size_t len, uint8_t *out, size_t *n)
{
    size_t  i;

    if (len < 2 || len % 2 || s[0] != '0' || s[1] != 'x') {
        return EVM_ERROR;
    }

    s += 2;
    len -= 2;

    /* a pass of its own, for nothing may be written on error */

    for (i = 0; i < len; i++) {
        if (evm_hex_value(s[i]) < 0) {
            return EVM_ERROR;
        }
    }

    if (len / 2 > *n) {
        return EVM_NOSPACE;
    }

    for (i = 0; i < len / 2; i++) {
        out[i] = (uint8_t) ((evm_hex_value(s[2 * i]) << 4)
                            | evm_hex_value(s[2 * i + 1]));
    }

    *n = len / 2;

    return EVM_OK;
}


size_t
evm_hex_encode(const uint8_t *p, size_t len, char *out)
{
    size_t  i;

    *out++ = '0';
    *out++ = 'x';

    for (i = 0; i < len; i++) {
        *out++ = evm_hex_digits[p[i] >> 4];
        *out++ = evm_hex_digits[p[i] & 0xf];
    }

    return 2 + 2 * len;
}
