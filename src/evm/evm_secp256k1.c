
/*
 * Keys and signatures, by libsecp256k1 with its recovery module.
 */


#include <secp256k1.h>
#include <secp256k1_recovery.h>

#include "evm_internal.h"


static void evm_secp256k1_illegal(const char *message, void *data);
static void evm_pubkey_address(const secp256k1_pubkey *pubkey,
    uint8_t address[20]);


static secp256k1_context  *evm_secp256k1_ctx;


/* half the group order, the largest s that EIP-2 allows */

static const uint8_t  evm_secp256k1_half_order[32] = {
    0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0x5d, 0x57, 0x6e, 0x73, 0x57, 0xa4, 0x50, 0x1d,
    0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0
};


int
evm_secp256k1_init(const uint8_t entropy[32])
{
    secp256k1_context  *ctx;

    ctx = secp256k1_context_create(SECP256K1_CONTEXT_NONE);
    if (ctx == NULL) {
        return EVM_ERROR;
    }

    /* the default one calls abort() */

    secp256k1_context_set_illegal_callback(ctx, evm_secp256k1_illegal, NULL);

    /* blinds the multiplication with the key against side channels */

    if (!secp256k1_context_randomize(ctx, entropy)) {
        secp256k1_context_destroy(ctx);
        return EVM_ERROR;
    }

    evm_secp256k1_done();

    evm_secp256k1_ctx = ctx;

    return EVM_OK;
}


void
evm_secp256k1_done(void)
{
    if (evm_secp256k1_ctx) {
        secp256k1_context_destroy(evm_secp256k1_ctx);
        evm_secp256k1_ctx = NULL;
    }
}


/* the function that found the argument illegal returns 0 after this */

static void
evm_secp256k1_illegal(const char *message, void *data)
{
    (void) message;
    (void) data;
}


int
evm_key_address(const uint8_t key[32], uint8_t address[20])
{
    secp256k1_pubkey  pubkey;

    if (evm_secp256k1_ctx == NULL) {
        return EVM_ERROR;
    }

    if (!secp256k1_ec_pubkey_create(evm_secp256k1_ctx, &pubkey, key)) {
        return EVM_RANGE;
    }

    evm_pubkey_address(&pubkey, address);

    return EVM_OK;
}


static void
evm_pubkey_address(const secp256k1_pubkey *pubkey, uint8_t address[20])
{
    size_t   len;
    uint8_t  point[65], hash[32];

    len = sizeof(point);

    secp256k1_ec_pubkey_serialize(evm_secp256k1_ctx, point, &len, pubkey,
                                  SECP256K1_EC_UNCOMPRESSED);

    /* without the 0x04 that says "uncompressed" */

    evm_keccak256(point + 1, 64, hash);
    memcpy(address, hash + 12, EVM_ADDRESS_LEN);
}


int
evm_sign(const uint8_t hash[32], const uint8_t key[32], evm_signature_t *sig)
{
    int                                    rc, recid;
    uint8_t                                rs[64];
    secp256k1_ecdsa_recoverable_signature  rsig;

    if (evm_secp256k1_ctx == NULL) {
        return EVM_ERROR;
    }

    if (!secp256k1_ec_seckey_verify(evm_secp256k1_ctx, key)) {
        return EVM_RANGE;
    }

    /* NULL is RFC 6979, and the library makes s low */

    rc = secp256k1_ecdsa_sign_recoverable(evm_secp256k1_ctx, &rsig, hash, key,
                                          NULL, NULL);
    if (!rc) {
        return EVM_ERROR;
    }

    secp256k1_ecdsa_recoverable_signature_serialize_compact(evm_secp256k1_ctx,
                                                            rs, &recid, &rsig);

    if (recid > 1) {
        /* an x not below the order; Ethereum has no way to write it */
        return EVM_ERROR;
    }

    memcpy(sig->r, rs, 32);
    memcpy(sig->s, rs + 32, 32);
    sig->y_parity = (unsigned) recid;

    return EVM_OK;
}


int
evm_recover(const uint8_t hash[32], const evm_signature_t *sig,
    uint8_t address[20])
{
    uint8_t                                rs[64];
    secp256k1_pubkey                       pubkey;
    secp256k1_ecdsa_recoverable_signature  rsig;

    if (evm_secp256k1_ctx == NULL || sig->y_parity > 1) {
        return EVM_ERROR;
    }

    if (memcmp(sig->s, evm_secp256k1_half_order, 32) > 0) {
        return EVM_RANGE;
    }

    memcpy(rs, sig->r, 32);
    memcpy(rs + 32, sig->s, 32);

    if (!secp256k1_ecdsa_recoverable_signature_parse_compact(
            evm_secp256k1_ctx, &rsig, rs, (int) sig->y_parity))
    {
        return EVM_ERROR;
    }

    if (!secp256k1_ecdsa_recover(evm_secp256k1_ctx, &pubkey, &rsig, hash)) {
        return EVM_ERROR;
    }

    evm_pubkey_address(&pubkey, address);

    return EVM_OK;
}


int
evm_signature_parse(const uint8_t *p, size_t len, evm_signature_t *sig)
{
    unsigned  v;

    switch (len) {

    case 64:

        /* EIP-2098: a low s leaves its highest bit to the parity */

        v = p[32] >> 7;
        break;

    case 65:
        v = p[64];

        if (v == 27 || v == 28) {
            v -= 27;
        }

        break;

    default:
        return EVM_ERROR;
    }

    if (v > 1) {
        return EVM_ERROR;
    }

    memcpy(sig->r, p, 32);
    memcpy(sig->s, p + 32, 32);
    sig->y_parity = v;

    if (len == 64) {
        sig->s[0] &= 0x7f;
    }

    return EVM_OK;
}


void
evm_wipe(void *p, size_t len)
{
    if (len == 0) {
        return;
    }

    memset(p, 0, len);

    /* the compiler must think that somebody looks at the zeros */

    __asm__ __volatile__ ("" : : "r" (p) : "memory");
}
