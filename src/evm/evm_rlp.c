
/*
 * Recursive length prefix:
 * https://ethereum.org/developers/docs/data-structures-and-encoding/rlp/
 */


#include "evm_internal.h"


/* the longest payload whose length is in the first byte */
#define EVM_RLP_SHORT  55


static void evm_rlp_header(evm_rlp_t *rlp, uint8_t base, size_t len);
static void evm_rlp_append(evm_rlp_t *rlp, const void *p, size_t len);
static int evm_rlp_length(const uint8_t *p, const uint8_t *end, size_t n,
    size_t *len);


void
evm_rlp_bytes(evm_rlp_t *rlp, const void *p, size_t len)
{
    size_t  start;

    start = rlp->len;

    evm_rlp_bytes_header(rlp, p, len);
    evm_rlp_append(rlp, p, len);

    if (rlp->overflow) {
        /* no header without its payload */
        rlp->len = start;
    }
}


void
evm_rlp_bytes_header(evm_rlp_t *rlp, const void *p, size_t len)
{
    if (len == 1 && *(const uint8_t *) p < 0x80) {
        /* such a byte is its own encoding */
        return;
    }

    evm_rlp_header(rlp, 0x80, len);
}


void
evm_rlp_u256(evm_rlp_t *rlp, const evm_u256_t *v)
{
    size_t   i;
    uint8_t  be[32];

    evm_u256_to_be(v, be);

    for (i = 0; i < sizeof(be) && be[i] == 0; i++) { /* void */ }

    evm_rlp_bytes(rlp, be + i, sizeof(be) - i);
}


void
evm_rlp_u64(evm_rlp_t *rlp, uint64_t v)
{
    evm_u256_t  wide;

    evm_u256_set(&wide, v);
    evm_rlp_u256(rlp, &wide);
}


void
evm_rlp_list(evm_rlp_t *rlp, size_t len)
{
    evm_rlp_header(rlp, 0xc0, len);
}


static void
evm_rlp_header(evm_rlp_t *rlp, uint8_t base, size_t len)
{
    size_t   n, v;
    uint8_t  header[1 + sizeof(size_t)];

    if (len <= EVM_RLP_SHORT) {
        header[0] = (uint8_t) (base + len);
        evm_rlp_append(rlp, header, 1);
        return;
    }

    n = 0;

    for (v = len; v; v >>= 8) {
        n++;
    }

    header[0] = (uint8_t) (base + EVM_RLP_SHORT + n);

    for (v = n; v; v--) {
        header[v] = (uint8_t) len;
        len >>= 8;
    }

    evm_rlp_append(rlp, header, 1 + n);
}


static void
evm_rlp_append(evm_rlp_t *rlp, const void *p, size_t len)
{
    if (rlp->overflow || len > rlp->size - rlp->len) {
        rlp->overflow = 1;
        return;
    }

    if (len) {
        memcpy(rlp->buf + rlp->len, p, len);
        rlp->len += len;
    }
}


int
evm_rlp_next(const uint8_t **p, const uint8_t *end, const uint8_t **data,
    size_t *len, int *list)
{
    size_t          n;
    uint8_t         prefix, base;
    const uint8_t  *q;

    q = *p;

    if (q >= end) {
        return EVM_ERROR;
    }

    prefix = *q;

    if (prefix < 0x80) {
        *data = q;
        *len = 1;
        *list = 0;
        *p = q + 1;
        return EVM_OK;
    }

    q++;
    base = (prefix < 0xc0) ? 0x80 : 0xc0;
    n = prefix - base;

    if (n > EVM_RLP_SHORT) {

        prefix = (uint8_t) (n - EVM_RLP_SHORT);

        if (evm_rlp_length(q, end, prefix, &n) != EVM_OK) {
            return EVM_ERROR;
        }

        q += prefix;
    }

    if (n > (size_t) (end - q)) {
        return EVM_ERROR;
    }

    if (base == 0x80 && n == 1 && *q < 0x80) {
        return EVM_ERROR;
    }

    *data = q;
    *len = n;
    *list = (base == 0xc0);
    *p = q + n;

    return EVM_OK;
}


/* a length of n bytes; more than EVM_RLP_SHORT, or it is not canonical */

static int
evm_rlp_length(const uint8_t *p, const uint8_t *end, size_t n, size_t *len)
{
    size_t  i, v;

    if (n > sizeof(size_t) || n > (size_t) (end - p) || p[0] == 0) {
        return EVM_ERROR;
    }

    v = 0;

    for (i = 0; i < n; i++) {
        v = (v << 8) | p[i];
    }

    if (v <= EVM_RLP_SHORT) {
        return EVM_ERROR;
    }

    *len = v;

    return EVM_OK;
}
