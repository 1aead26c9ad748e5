
/*
 * Addresses and their EIP-55 checksum:
 * https://eips.ethereum.org/EIPS/eip-55
 */


#include "evm_internal.h"


void
evm_address_format(const uint8_t a[20], char *out)
{
    int      i;
    uint8_t  hash[32], nibble;

    evm_hex_encode(a, EVM_ADDRESS_LEN, out);

    /* the checksum hashes the lower-case digits, not the bytes */

    evm_keccak256(out + 2, 2 * EVM_ADDRESS_LEN, hash);

    for (i = 0; i < 2 * EVM_ADDRESS_LEN; i++) {

        nibble = (i % 2) ? hash[i / 2] & 0xf : hash[i / 2] >> 4;

        if (nibble >= 8 && out[2 + i] >= 'a') {
            out[2 + i] -= 'a' - 'A';
        }
    }
}


int
evm_address_parse(const char *s, size_t len, uint8_t out[20])
{
    int      lower, upper;
    char     checked[EVM_ADDRESS_STR_LEN];
    size_t   i, n;
    uint8_t  a[EVM_ADDRESS_LEN];

    if (len != EVM_ADDRESS_STR_LEN) {
        return EVM_ERROR;
    }

    n = sizeof(a);

    if (evm_hex_decode(s, len, a, &n) != EVM_OK) {
        return EVM_ERROR;
    }

    lower = 0;
    upper = 0;

    for (i = 2; i < len; i++) {
        lower |= (s[i] >= 'a');
        upper |= (s[i] >= 'A' && s[i] <= 'F');
    }

    if (lower && upper) {
        evm_address_format(a, checked);

        if (memcmp(checked, s, len) != 0) {
            return EVM_CHECKSUM;
        }
    }

    memcpy(out, a, sizeof(a));

    return EVM_OK;
}
