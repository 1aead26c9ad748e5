
/*
 * Keccak-256.  Nettle's SHA3-256 is the same sponge with another padding
 * (0x06 of FIPS 202 where Ethereum kept the 0x01 of the submission), so only
 * its permutation can be used.
 */


#include "evm_internal.h"


static void evm_keccak_absorb(struct sha3_state *state, const uint8_t *p);


void
evm_keccak256(const void *data, size_t len, uint8_t out[32])
{
    evm_keccak_t  ctx;

    evm_keccak_init(&ctx);
    evm_keccak_update(&ctx, data, len);
    evm_keccak_final(&ctx, out);
}


void
evm_keccak_init(evm_keccak_t *ctx)
{
    memset(&ctx->state, 0, sizeof(ctx->state));
    ctx->used = 0;
}


void
evm_keccak_update(evm_keccak_t *ctx, const void *data, size_t len)
{
    size_t          n;
    const uint8_t  *p;

    if (len == 0) {
        /* memcpy() must not see the NULL that an empty message may have */
        return;
    }

    p = data;

    if (ctx->used) {
        n = EVM_KECCAK_RATE - ctx->used;

        if (n > len) {
            n = len;
        }

        memcpy(ctx->block + ctx->used, p, n);

        ctx->used += n;
        p += n;
        len -= n;

        if (ctx->used < EVM_KECCAK_RATE) {
            return;
        }

        evm_keccak_absorb(&ctx->state, ctx->block);
        ctx->used = 0;
    }

    while (len >= EVM_KECCAK_RATE) {
        evm_keccak_absorb(&ctx->state, p);

        p += EVM_KECCAK_RATE;
        len -= EVM_KECCAK_RATE;
    }

    memcpy(ctx->block, p, len);
    ctx->used = len;
}


void
evm_keccak_final(evm_keccak_t *ctx, uint8_t out[32])
{
    int  i;

    memset(ctx->block + ctx->used, 0, EVM_KECCAK_RATE - ctx->used);

    /* with 135 bytes in the block both ends of the padding are one byte */

    ctx->block[ctx->used] = 0x01;
    ctx->block[EVM_KECCAK_RATE - 1] |= 0x80;

    evm_keccak_absorb(&ctx->state, ctx->block);

    for (i = 0; i < 32; i++) {
        out[i] = (uint8_t) (ctx->state.a[i / 8] >> (8 * (i % 8)));
    }
}


static void
evm_keccak_absorb(struct sha3_state *state, const uint8_t *p)
{
    int       i, j;
    uint64_t  lane;

    for (i = 0; i < EVM_KECCAK_RATE / 8; i++) {

        lane = 0;

        for (j = 7; j >= 0; j--) {
            lane = (lane << 8) | p[8 * i + j];
        }

        state->a[i] ^= lane;
    }

    sha3_permute(state);
}
