
/*
 * Pure C building blocks for Ethereum: no nginx, no event loop, no I/O,
 * no global state but the secp256k1 context.  Everything here can be called
 * with hostile input.
 *
 * Unless said otherwise a function returns EVM_OK or one of the negative
 * codes below and then has written nothing.  Buffers belong to the caller;
 * nothing is allocated here except where a pair create/free says so.
 */


#ifndef _EVM_H_INCLUDED_
#define _EVM_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>


#define EVM_OK           0
#define EVM_ERROR       -1   /* malformed input */
#define EVM_RANGE       -2   /* well formed, but does not fit */
#define EVM_CHECKSUM    -3   /* mixed-case address, wrong EIP-55 checksum */
#define EVM_NOSPACE     -4   /* the output buffer is too small */


#define EVM_ADDRESS_LEN      20
#define EVM_ADDRESS_STR_LEN  42     /* "0x" and 40 digits, no trailing zero */
#define EVM_HASH_LEN         32
#define EVM_HASH_STR_LEN     66
#define EVM_KEY_LEN          32
#define EVM_U256_DEC_LEN     78     /* digits of 2^256 - 1 */
#define EVM_U256_HEX_LEN     66


/* ---- Keccak-256, as Ethereum has it (the padding before FIPS 202) ---- */

void evm_keccak256(const void *data, size_t len, uint8_t out[32]);


/* ---- unsigned 256-bit integers ---- */

/* w[0] is the least significant word */
typedef struct {
    uint64_t  w[4];
} evm_u256_t;


void evm_u256_set(evm_u256_t *r, uint64_t v);
int evm_u256_is_zero(const evm_u256_t *a);
/* <0, 0, >0 as a is below, equal to, above b */
int evm_u256_cmp(const evm_u256_t *a, const evm_u256_t *b);
/* these return EVM_RANGE where the result does not fit; r may be a or b */
int evm_u256_add(evm_u256_t *r, const evm_u256_t *a, const evm_u256_t *b);
int evm_u256_sub(evm_u256_t *r, const evm_u256_t *a, const evm_u256_t *b);
int evm_u256_mul(evm_u256_t *r, const evm_u256_t *a, const evm_u256_t *b);
int evm_u256_mul_u64(evm_u256_t *r, const evm_u256_t *a, uint64_t b);
/* r = a / b, returns the remainder; by 0 both are 0, as the EVM has it */
uint64_t evm_u256_div_u64(evm_u256_t *r, const evm_u256_t *a, uint64_t b);
/* EVM_RANGE where a does not fit 64 bits */
int evm_u256_to_u64(const evm_u256_t *a, uint64_t *v);
/* the nearest double */
double evm_u256_to_double(const evm_u256_t *a);

/*
 * Decimal digits only, no sign, no leading zeros but "0" itself, at least
 * one digit.  EVM_RANGE from 2^256 on.
 */
int evm_u256_from_dec(evm_u256_t *r, const char *s, size_t len);
/*
 * "0x" and 1 to 64 hex digits of either case, leading zeros allowed (nodes
 * are not all strict about the QUANTITY rule).  EVM_RANGE for more digits.
 */
int evm_u256_from_hex(evm_u256_t *r, const char *s, size_t len);
/* at most EVM_U256_DEC_LEN digits, no trailing zero; returns their number */
size_t evm_u256_to_dec(const evm_u256_t *a, char *out);
/* QUANTITY: "0x0", "0x1f"; at most EVM_U256_HEX_LEN; returns the length */
size_t evm_u256_to_hex(const evm_u256_t *a, char *out);
void evm_u256_to_be(const evm_u256_t *a, uint8_t out[32]);
/* big-endian, len <= 32, else EVM_RANGE */
int evm_u256_from_be(evm_u256_t *r, const uint8_t *p, size_t len);


/* ---- hexadecimal ---- */

/*
 * "0x" and an even number of hex digits into bytes; "0x" is empty.  *n is
 * the capacity on entry, the length on return.
 */
int evm_hex_decode(const char *s, size_t len, uint8_t *out, size_t *n);
/*
 * Writes "0x" and 2 * len lower-case digits, no trailing zero; returns the
 * number of characters, 2 + 2 * len.
 */
size_t evm_hex_encode(const uint8_t *p, size_t len, char *out);


/* ---- addresses (EIP-55) ---- */

/*
 * "0x" and 40 hex digits.  All lower or all upper case is taken as it is;
 * mixed case must carry the right checksum, else EVM_CHECKSUM.
 */
int evm_address_parse(const char *s, size_t len, uint8_t out[20]);
/* with the EIP-55 checksum, EVM_ADDRESS_STR_LEN bytes, no trailing zero */
void evm_address_format(const uint8_t a[20], char *out);


/* ---- RLP, writing ---- */

/*
 * Items are appended to buf; a call that would pass size sets overflow, and
 * it and all after it write nothing, so that one check at the end is enough.
 */
typedef struct {
    uint8_t   *buf;
    size_t     size;
    size_t     len;
    unsigned   overflow;
} evm_rlp_t;

void evm_rlp_bytes(evm_rlp_t *rlp, const void *p, size_t len);
/* the shortest big-endian form, 0 as the empty string */
void evm_rlp_u256(evm_rlp_t *rlp, const evm_u256_t *v);
void evm_rlp_u64(evm_rlp_t *rlp, uint64_t v);
/* the header of a list whose payload has len bytes */
void evm_rlp_list(evm_rlp_t *rlp, size_t len);

/*
 * Reading.  Canonical RLP only (the shortest length form, no leading zeros
 * in lengths).  Takes the next item off *p; [*data, *data + *len) is its
 * payload, *list tells which kind it is.  EVM_ERROR on anything malformed
 * or running past end.
 */
int evm_rlp_next(const uint8_t **p, const uint8_t *end, const uint8_t **data,
    size_t *len, int *list);


/* ---- ABI ---- */

typedef enum {
    EVM_ABI_UINT = 0,        /* uint8 .. uint256, "uint" */
    EVM_ABI_INT,             /* int8 .. int256, "int" */
    EVM_ABI_ADDRESS,
    EVM_ABI_BOOL,
    EVM_ABI_FIXED_BYTES,     /* bytes1 .. bytes32 */
    EVM_ABI_BYTES,           /* dynamic */
    EVM_ABI_STRING           /* dynamic */
} evm_abi_type_e;

typedef struct {
    evm_abi_type_e  type;
    unsigned        size;    /* bits of (u)int, bytes of fixed bytes, else 0 */
} evm_abi_type_t;

#define EVM_ABI_MAX_ARGS  32

typedef struct {
    uint8_t         selector[4];
    unsigned        nargs;
    evm_abi_type_t  args[EVM_ABI_MAX_ARGS];
} evm_abi_function_t;

/*
 * A value to encode.  For numbers, bool (0 or 1) and address: word, as its
 * big-endian 32-byte ABI word (two's complement for negative int; an address
 * in the low 20 bytes); for fixed bytes: word, left-aligned; for bytes and
 * string: data and len.
 */
typedef struct {
    uint8_t         word[32];
    const uint8_t  *data;
    size_t          len;
} evm_abi_value_t;

/* one elementary type name; "uint" is uint256; anything else EVM_ERROR */
int evm_abi_type_parse(const char *s, size_t len, evm_abi_type_t *t);

/*
 * "name(type,type)": elementary types only, no spaces, at most
 * EVM_ABI_MAX_ARGS (EVM_RANGE beyond).  Computes the selector over the
 * canonical form (uint becomes uint256).  On error, where err is not NULL,
 * *err points to a constant sentence that says what is wrong.
 */
int evm_abi_function_parse(const char *s, size_t len, evm_abi_function_t *fn,
    const char **err);

/*
 * The bytes that evm_abi_encode() will write: 4, the head and the tails;
 * SIZE_MAX where a size_t does not hold them.
 */
size_t evm_abi_encoded_len(const evm_abi_function_t *fn,
    const evm_abi_value_t *values);

/*
 * Selector and arguments, as viem's encodeFunctionData.  values has fn->nargs
 * elements; a value that does not fit its type (a uint8 of 300, a bool of 2,
 * an address with high bytes set, bytes4 with more than 4 bytes) is EVM_RANGE.
 * *n is the capacity on entry, the length on return.  Strings are not checked
 * for UTF-8.
 */
int evm_abi_encode(const evm_abi_function_t *fn, const evm_abi_value_t *values,
    uint8_t *out, size_t *n);

/*
 * Words for a person from revert data: the string of Error(string) (control
 * characters and invalid UTF-8 replaced by '?'), "panic 0x11 (arithmetic
 * overflow)" with the meaning Solidity gives the code, "custom error
 * 0x12345678" for other selectors, "execution reverted" for an empty string
 * and for no or malformed data.  Writes at most size bytes, no trailing zero,
 * cut at a UTF-8 boundary; returns the length.
 */
size_t evm_abi_revert_reason(const uint8_t *data, size_t len, char *out,
    size_t size);


/* ---- EIP-712, structs of elementary types ---- */

/*
 * The domain separator over name, version and chainId, and, where it is not
 * NULL, verifyingContract.
 */
void evm_eip712_domain(const char *name, size_t name_len, const char *version,
    size_t version_len, uint64_t chain_id, const uint8_t *verifying_contract,
    uint8_t out[32]);

/*
 * hashStruct() of a struct whose encodeType() is the text type_string
 * ("Mail(address to,string contents)"); as many types as values, and what a
 * value is as for evm_abi_encode().  EVM_RANGE: a value does not fit its
 * type.
 */
int evm_eip712_struct(const char *type_string, size_t len,
    const evm_abi_type_t *types, const evm_abi_value_t *values, size_t n,
    uint8_t out[32]);

/* what is signed: keccak256(0x1901 || domain || struct) */
void evm_eip712_digest(const uint8_t domain[32], const uint8_t hash[32],
    uint8_t out[32]);


/* ---- secp256k1 ---- */

/*
 * Makes the context (randomised with 32 bytes of the caller's entropy) that
 * the functions below use; to be called once in a process before them, again
 * after fork() if the children shall have their own.  EVM_ERROR: no memory,
 * and a context that was there before stays.  Without it they all return
 * EVM_ERROR.
 */
int evm_secp256k1_init(const uint8_t entropy[32]);
void evm_secp256k1_done(void);

/* EVM_RANGE where key is 0 or not below the group order */
int evm_key_address(const uint8_t key[32], uint8_t address[20]);

/* r and s big-endian, s low (EIP-2), RFC 6979 nonce; y_parity 0 or 1 */
typedef struct {
    uint8_t   r[32];
    uint8_t   s[32];
    unsigned  y_parity;
} evm_signature_t;

/* EVM_RANGE as for evm_key_address() */
int evm_sign(const uint8_t hash[32], const uint8_t key[32],
    evm_signature_t *sig);
/* EVM_ERROR where there is no such key; high s is EVM_RANGE */
int evm_recover(const uint8_t hash[32], const evm_signature_t *sig,
    uint8_t address[20]);

/*
 * The forms in which a signature comes: r, s and v (27, 28, 0 or 1) of 65
 * bytes, or r and yParityAndS of 64 (EIP-2098).  EVM_ERROR for anything else.
 * Whether s is low is evm_recover()'s to say.
 */
int evm_signature_parse(const uint8_t *p, size_t len, evm_signature_t *sig);

/* clears memory in a way the compiler does not take away */
void evm_wipe(void *p, size_t len);


/* ---- transactions ---- */

/*
 * EIP-1559 (type 2), access list always empty; or, for chains that do not
 * know it, what there was before (EIP-155), where max_fee_per_gas is the price
 * of gas and max_priority_fee_per_gas is not used.
 */
typedef struct {
    uint64_t        chain_id;                   /* legacy: below 2^63 - 18 */
    uint64_t        nonce;
    evm_u256_t      max_priority_fee_per_gas;   /* wei */
    evm_u256_t      max_fee_per_gas;            /* wei */
    uint64_t        gas_limit;
    unsigned        legacy;
    unsigned        create;                     /* no "to": a new contract */
    uint8_t         to[20];
    evm_u256_t      value;                      /* wei */
    const uint8_t  *data;
    size_t          data_len;
} evm_tx_t;

/* no signed transaction with data_len bytes of data is longer */
#define EVM_TX_MAX_LEN(data_len)  ((data_len) + 512)

/*
 * The hash that is signed: keccak256(0x02 || rlp([...])), legacy without the
 * 0x02.  EVM_RANGE: a data_len beyond all memory, a chain id too high.  Nothing here checks what a node checks (fees,
 * the intrinsic gas, the nonce below 2^64 - 1).
 */
int evm_tx_signing_hash(const evm_tx_t *tx, uint8_t hash[32]);

/*
 * Signs and serialises: raw is what eth_sendRawTransaction takes, hash the
 * transaction's.  *n is the capacity on entry, the length on return.  raw must
 * not overlap tx->data.  EVM_RANGE as for evm_key_address(), EVM_NOSPACE.
 */
int evm_tx_sign(const evm_tx_t *tx, const uint8_t key[32], uint8_t *raw,
    size_t *n, uint8_t hash[32]);

/*
 * The reverse, for signed bytes that came from elsewhere (a remote signer):
 * fills tx (its data points into raw; both fees of a legacy one are its price
 * of gas), the signer's address and the hash.  EVM_ERROR for anything that is
 * not exactly one canonical signed transaction of type 2, or legacy with a
 * chain id: a non-empty access list, a high s, a chain id, nonce or gas limit
 * beyond 64 bits too.
 */
int evm_tx_decode(const uint8_t *raw, size_t len, evm_tx_t *tx,
    uint8_t from[20], uint8_t hash[32]);


#endif /* _EVM_H_INCLUDED_ */
