
/*
 * Hashes of typed data: https://eips.ethereum.org/EIPS/eip-712, for structs
 * whose members are all elementary.
 */


#include "evm_internal.h"


static void evm_eip712_text(evm_keccak_t *keccak, const char *text,
    size_t len);
static void evm_eip712_value(evm_keccak_t *keccak, const evm_abi_type_t *type,
    const evm_abi_value_t *value);


/* the members in the order of the EIP; what is not there is left out */

static const char  evm_eip712_domain_type[] =
    "EIP712Domain(string name,string version,uint256 chainId)";

static const char  evm_eip712_domain_contract_type[] =
    "EIP712Domain(string name,string version,uint256 chainId,"
    "address verifyingContract)";


void
evm_eip712_domain(const char *name, size_t name_len, const char *version,
    size_t version_len, uint64_t chain_id, const uint8_t *verifying_contract,
    uint8_t out[32])
{
    uint8_t       word[32];
    evm_u256_t    id;
    evm_keccak_t  keccak;

    evm_keccak_init(&keccak);

    if (verifying_contract) {
        evm_eip712_text(&keccak, evm_eip712_domain_contract_type,
                        sizeof(evm_eip712_domain_contract_type) - 1);

    } else {
        evm_eip712_text(&keccak, evm_eip712_domain_type,
                        sizeof(evm_eip712_domain_type) - 1);
    }

    evm_eip712_text(&keccak, name, name_len);
    evm_eip712_text(&keccak, version, version_len);

    evm_u256_set(&id, chain_id);
    evm_u256_to_be(&id, word);
    evm_keccak_update(&keccak, word, 32);

    if (verifying_contract) {
        memset(word, 0, 32 - EVM_ADDRESS_LEN);
        memcpy(word + 32 - EVM_ADDRESS_LEN, verifying_contract,
               EVM_ADDRESS_LEN);
        evm_keccak_update(&keccak, word, 32);
    }

    evm_keccak_final(&keccak, out);
}


/* a type's text, and a string, are there by their hashes */

static void
evm_eip712_text(evm_keccak_t *keccak, const char *text, size_t len)
{
    uint8_t  hash[32];

    evm_keccak256(text, len, hash);
    evm_keccak_update(keccak, hash, 32);
}


int
evm_eip712_struct(const char *type_string, size_t len,
    const evm_abi_type_t *types, const evm_abi_value_t *values, size_t n,
    uint8_t out[32])
{
    size_t        i;
    evm_keccak_t  keccak;

    for (i = 0; i < n; i++) {
        if (evm_abi_check(&types[i], &values[i]) != EVM_OK) {
            return EVM_RANGE;
        }
    }

    evm_keccak_init(&keccak);
    evm_eip712_text(&keccak, type_string, len);

    for (i = 0; i < n; i++) {
        evm_eip712_value(&keccak, &types[i], &values[i]);
    }

    evm_keccak_final(&keccak, out);

    return EVM_OK;
}


static void
evm_eip712_value(evm_keccak_t *keccak, const evm_abi_type_t *type,
    const evm_abi_value_t *value)
{
    if (evm_abi_is_dynamic(type)) {
        evm_eip712_text(keccak, (const char *) value->data, value->len);
        return;
    }

    evm_keccak_update(keccak, value->word, 32);
}


void
evm_eip712_digest(const uint8_t domain[32], const uint8_t hash[32],
    uint8_t out[32])
{
    uint8_t  message[2 + 32 + 32];

    message[0] = 0x19;
    message[1] = 0x01;
    memcpy(message + 2, domain, 32);
    memcpy(message + 34, hash, 32);

    evm_keccak256(message, sizeof(message), out);
}
