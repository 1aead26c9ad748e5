
/*
 * What the files of this folder share and nobody else needs.
 */


#ifndef _EVM_INTERNAL_H_INCLUDED_
#define _EVM_INTERNAL_H_INCLUDED_


#include <string.h>

#include <nettle/sha3.h>

#include "evm.h"


/* bytes absorbed between two permutations: (1600 - 2 * 256) / 8 */
#define EVM_KECCAK_RATE  136


/*
 * Incremental hashing, so that a message made of pieces (a transaction and
 * its calldata) needs no buffer of its own size.
 */
typedef struct {
    struct sha3_state  state;
    uint8_t            block[EVM_KECCAK_RATE];
    size_t             used;
} evm_keccak_t;

void evm_keccak_init(evm_keccak_t *ctx);
void evm_keccak_update(evm_keccak_t *ctx, const void *data, size_t len);
void evm_keccak_final(evm_keccak_t *ctx, uint8_t out[32]);


extern const char  evm_hex_digits[];

/* 0 to 15, or -1 */
int evm_hex_value(char c);

/* the header alone of the byte string that evm_rlp_bytes() would append */
void evm_rlp_bytes_header(evm_rlp_t *rlp, const void *p, size_t len);


/* bytes and string, whose values are data and len */
int evm_abi_is_dynamic(const evm_abi_type_t *t);

/* EVM_RANGE: the value is none of its type */
int evm_abi_check(const evm_abi_type_t *t, const evm_abi_value_t *v);


#endif /* _EVM_INTERNAL_H_INCLUDED_ */
