
/*
 * Signatures a second of one core: make -C t/unit O=<directory> bench
 */


#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "evm.h"


#define BENCH_SIGNATURES  20000
#define BENCH_DATA_LEN    68


int
main(void)
{
    double           seconds;
    size_t           n;
    uint8_t          key[32], data[BENCH_DATA_LEN], hash[32];
    uint8_t          raw[EVM_TX_MAX_LEN(BENCH_DATA_LEN)];
    evm_tx_t         tx;
    unsigned         i;
    struct timespec  from, to;

    memset(key, 0x46, sizeof(key));
    memset(data, 0xa9, sizeof(data));
    memset(&tx, 0, sizeof(tx));

    tx.chain_id = 31337;
    tx.gas_limit = 100000;
    evm_u256_set(&tx.max_fee_per_gas, 30000000000ULL);
    evm_u256_set(&tx.max_priority_fee_per_gas, 1000000000ULL);
    tx.data = data;
    tx.data_len = sizeof(data);

    if (evm_secp256k1_init(key) != EVM_OK) {
        return 1;
    }

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);

    for (i = 0; i < BENCH_SIGNATURES; i++) {

        tx.nonce = i;
        n = sizeof(raw);

        if (evm_tx_sign(&tx, key, raw, &n, hash) != EVM_OK) {
            return 1;
        }
    }

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);

    seconds = (double) (to.tv_sec - from.tv_sec)
              + (double) (to.tv_nsec - from.tv_nsec) / 1e9;

    printf("evm_tx_sign: %.0f signatures/s, %.1f us each\n",
           BENCH_SIGNATURES / seconds, seconds / BENCH_SIGNATURES * 1e6);

    evm_secp256k1_done();

    return 0;
}
