
/*
 * The C side of compare.mjs.  Reads one command a line, its words parted by
 * single spaces, and answers each with one line: what the function gives, or
 * "error <code>".  Byte strings are "0x..." both ways; "-" is no address.
 *
 *     keccak <bytes>
 *     dec <number>                            the number in hex
 *     hex <number>                            the number in decimal
 *     address <text>                          with its checksum
 *     key <key>                               its address
 *     call <signature> [<word or bytes>]...   the calldata
 *     sign <key> <chain id> <nonce> <priority fee> <max fee> <gas limit>
 *          <to> <value> <data>                the raw transaction and its hash
 *     decode <raw>                            from, hash and the fields
 *     reason <bytes>                          the text's bytes
 *     domain <name> <version> <chain id> <contract>
 *                                             its separator; texts as bytes
 *     struct <encodeType> [<type> <word or bytes>]...
 *                                             hashStruct()
 *     digest <domain> <struct>
 *     signer <hash> <signature>               who signed it
 */


#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "evm.h"


#define DRIVER_MAX_WORDS  80
#define DRIVER_MAX_BYTES  (1024 * 1024)


typedef struct {
    char     *word[DRIVER_MAX_WORDS];
    unsigned  n;
} driver_line_t;

typedef int (*driver_handler_pt)(const driver_line_t *line);

typedef struct {
    const char         *name;
    unsigned            min;
    driver_handler_pt   handler;
} driver_command_t;


static void driver_split(char *s, driver_line_t *line);
static int driver_run(const driver_line_t *line);
static int driver_bytes(const char *s, uint8_t *out, size_t *n);
static int driver_fixed(const char *s, uint8_t *out, size_t n);
static int driver_number(const char *s, evm_u256_t *v);
static int driver_u64(const char *s, uint64_t *v);
static void driver_print_bytes(const uint8_t *p, size_t len, char end);
static void driver_print_number(const evm_u256_t *v, char end);
static void driver_print_u64(uint64_t v, char end);
static int driver_keccak(const driver_line_t *line);
static int driver_dec(const driver_line_t *line);
static int driver_hex(const driver_line_t *line);
static int driver_address(const driver_line_t *line);
static int driver_key(const driver_line_t *line);
static int driver_call(const driver_line_t *line);
static int driver_sign(const driver_line_t *line);
static int driver_decode(const driver_line_t *line);
static int driver_reason(const driver_line_t *line);
static int driver_domain(const driver_line_t *line);
static int driver_struct(const driver_line_t *line);
static int driver_digest(const driver_line_t *line);
static int driver_signer(const driver_line_t *line);


static const driver_command_t  driver_commands[] = {
    { "keccak",   2, driver_keccak },
    { "dec",      2, driver_dec },
    { "hex",      2, driver_hex },
    { "address",  2, driver_address },
    { "key",      2, driver_key },
    { "call",     2, driver_call },
    { "sign",    10, driver_sign },
    { "decode",   2, driver_decode },
    { "reason",   2, driver_reason },
    { "domain",   5, driver_domain },
    { "struct",   2, driver_struct },
    { "digest",   3, driver_digest },
    { "signer",   3, driver_signer },
    { NULL,       0, NULL }
};


static uint8_t  driver_in[DRIVER_MAX_BYTES];
static uint8_t  driver_out[2 * DRIVER_MAX_BYTES];


int
main(void)
{
    int             rc;
    char           *s;
    size_t          size;
    ssize_t         n;
    uint8_t         entropy[32];
    driver_line_t   line;

    memset(entropy, 0x42, sizeof(entropy));

    if (evm_secp256k1_init(entropy) != EVM_OK) {
        return 1;
    }

    s = NULL;
    size = 0;

    while ((n = getline(&s, &size, stdin)) > 0) {

        if (s[n - 1] == '\n') {
            s[n - 1] = '\0';
        }

        driver_split(s, &line);
        rc = driver_run(&line);

        if (rc != EVM_OK) {
            printf("error %d\n", rc);
        }
    }

    free(s);
    evm_secp256k1_done();

    return 0;
}


static void
driver_split(char *s, driver_line_t *line)
{
    line->n = 0;

    while (s && line->n < DRIVER_MAX_WORDS) {
        line->word[line->n++] = strsep(&s, " ");
    }
}


static int
driver_run(const driver_line_t *line)
{
    const driver_command_t  *command;

    for (command = driver_commands; command->name; command++) {
        if (line->n >= command->min
            && strcmp(line->word[0], command->name) == 0)
        {
            return command->handler(line);
        }
    }

    fprintf(stderr, "no such command: \"%s\" of %u words\n", line->word[0],
            line->n);
    exit(2);
}


static int
driver_bytes(const char *s, uint8_t *out, size_t *n)
{
    return evm_hex_decode(s, strlen(s), out, n);
}


static int
driver_fixed(const char *s, uint8_t *out, size_t n)
{
    size_t  len;

    len = n;

    if (driver_bytes(s, out, &len) != EVM_OK || len != n) {
        return EVM_ERROR;
    }

    return EVM_OK;
}


static int
driver_number(const char *s, evm_u256_t *v)
{
    return evm_u256_from_dec(v, s, strlen(s));
}


static int
driver_u64(const char *s, uint64_t *v)
{
    evm_u256_t  wide;

    if (driver_number(s, &wide) != EVM_OK) {
        return EVM_ERROR;
    }

    return evm_u256_to_u64(&wide, v);
}


static void
driver_print_bytes(const uint8_t *p, size_t len, char end)
{
    size_t       n;
    static char  text[2 + 4 * DRIVER_MAX_BYTES];

    n = evm_hex_encode(p, len, text);
    fwrite(text, 1, n, stdout);
    putchar(end);
}


static void
driver_print_number(const evm_u256_t *v, char end)
{
    char  text[EVM_U256_DEC_LEN];

    fwrite(text, 1, evm_u256_to_dec(v, text), stdout);
    putchar(end);
}


static void
driver_print_u64(uint64_t v, char end)
{
    evm_u256_t  wide;

    evm_u256_set(&wide, v);
    driver_print_number(&wide, end);
}


static int
driver_keccak(const driver_line_t *line)
{
    size_t   n;
    uint8_t  hash[32];

    n = sizeof(driver_in);

    if (driver_bytes(line->word[1], driver_in, &n) != EVM_OK) {
        return EVM_ERROR;
    }

    evm_keccak256(driver_in, n, hash);
    driver_print_bytes(hash, 32, '\n');

    return EVM_OK;
}


static int
driver_dec(const driver_line_t *line)
{
    int         rc;
    char        text[EVM_U256_HEX_LEN];
    evm_u256_t  v;

    rc = driver_number(line->word[1], &v);
    if (rc != EVM_OK) {
        return rc;
    }

    fwrite(text, 1, evm_u256_to_hex(&v, text), stdout);
    putchar('\n');

    return EVM_OK;
}


static int
driver_hex(const driver_line_t *line)
{
    int         rc;
    evm_u256_t  v;

    rc = evm_u256_from_hex(&v, line->word[1], strlen(line->word[1]));
    if (rc != EVM_OK) {
        return rc;
    }

    driver_print_number(&v, '\n');

    return EVM_OK;
}


static int
driver_address(const driver_line_t *line)
{
    int      rc;
    char     text[EVM_ADDRESS_STR_LEN];
    uint8_t  address[20];

    rc = evm_address_parse(line->word[1], strlen(line->word[1]), address);
    if (rc != EVM_OK) {
        return rc;
    }

    evm_address_format(address, text);
    printf("%.*s\n", EVM_ADDRESS_STR_LEN, text);

    return EVM_OK;
}


static int
driver_key(const driver_line_t *line)
{
    int      rc;
    uint8_t  key[32], address[20];

    if (driver_fixed(line->word[1], key, 32) != EVM_OK) {
        return EVM_ERROR;
    }

    rc = evm_key_address(key, address);
    if (rc != EVM_OK) {
        return rc;
    }

    driver_print_bytes(address, 20, '\n');

    return EVM_OK;
}


static int
driver_call(const driver_line_t *line)
{
    int                  rc;
    size_t               n, used;
    unsigned             i;
    evm_abi_value_t      values[EVM_ABI_MAX_ARGS];
    evm_abi_function_t   fn;

    rc = evm_abi_function_parse(line->word[1], strlen(line->word[1]), &fn,
                                NULL);
    if (rc != EVM_OK) {
        return rc;
    }

    if (line->n != fn.nargs + 2) {
        return EVM_ERROR;
    }

    memset(values, 0, sizeof(values));
    used = 0;

    for (i = 0; i < fn.nargs; i++) {

        if (fn.args[i].type != EVM_ABI_BYTES
            && fn.args[i].type != EVM_ABI_STRING)
        {
            if (driver_fixed(line->word[2 + i], values[i].word, 32)
                != EVM_OK)
            {
                return EVM_ERROR;
            }

            continue;
        }

        n = sizeof(driver_in) - used;

        if (driver_bytes(line->word[2 + i], driver_in + used, &n) != EVM_OK) {
            return EVM_ERROR;
        }

        values[i].data = driver_in + used;
        values[i].len = n;
        used += n;
    }

    n = evm_abi_encoded_len(&fn, values);

    rc = evm_abi_encode(&fn, values, driver_out, &n);
    if (rc != EVM_OK) {
        return rc;
    }

    driver_print_bytes(driver_out, n, '\n');

    return EVM_OK;
}


/* "-": there was none before EIP-1559 */

static int
driver_tip(const char *word, evm_tx_t *tx)
{
    if (strcmp(word, "-") == 0) {
        tx->legacy = 1;
        return EVM_OK;
    }

    return driver_number(word, &tx->max_priority_fee_per_gas);
}


static int
driver_sign(const driver_line_t *line)
{
    int           rc;
    size_t        n;
    uint8_t       key[32], hash[32];
    evm_tx_t      tx;
    char *const  *w;

    w = line->word;
    memset(&tx, 0, sizeof(tx));
    tx.data_len = sizeof(driver_in);

    if (driver_fixed(w[1], key, 32) != EVM_OK
        || driver_u64(w[2], &tx.chain_id) != EVM_OK
        || driver_u64(w[3], &tx.nonce) != EVM_OK
        || driver_tip(w[4], &tx) != EVM_OK
        || driver_number(w[5], &tx.max_fee_per_gas) != EVM_OK
        || driver_u64(w[6], &tx.gas_limit) != EVM_OK
        || driver_number(w[8], &tx.value) != EVM_OK
        || driver_bytes(w[9], driver_in, &tx.data_len) != EVM_OK)
    {
        return EVM_ERROR;
    }

    tx.data = driver_in;

    if (strcmp(w[7], "-") == 0) {
        tx.create = 1;

    } else if (driver_fixed(w[7], tx.to, 20) != EVM_OK) {
        return EVM_ERROR;
    }

    n = EVM_TX_MAX_LEN(tx.data_len);

    rc = evm_tx_sign(&tx, key, driver_out, &n, hash);
    if (rc != EVM_OK) {
        return rc;
    }

    driver_print_bytes(driver_out, n, ' ');
    driver_print_bytes(hash, 32, '\n');

    return EVM_OK;
}


static int
driver_decode(const driver_line_t *line)
{
    int       rc;
    size_t    n;
    uint8_t   from[20], hash[32];
    evm_tx_t  tx;

    n = sizeof(driver_in);

    if (driver_bytes(line->word[1], driver_in, &n) != EVM_OK) {
        return EVM_ERROR;
    }

    rc = evm_tx_decode(driver_in, n, &tx, from, hash);
    if (rc != EVM_OK) {
        return rc;
    }

    driver_print_bytes(from, 20, ' ');
    driver_print_bytes(hash, 32, ' ');
    driver_print_u64(tx.chain_id, ' ');
    driver_print_u64(tx.nonce, ' ');

    if (tx.legacy) {
        fputs("- ", stdout);

    } else {
        driver_print_number(&tx.max_priority_fee_per_gas, ' ');
    }

    driver_print_number(&tx.max_fee_per_gas, ' ');
    driver_print_u64(tx.gas_limit, ' ');

    if (tx.create) {
        fputs("- ", stdout);

    } else {
        driver_print_bytes(tx.to, 20, ' ');
    }

    driver_print_number(&tx.value, ' ');
    driver_print_bytes(tx.data, tx.data_len, '\n');

    return EVM_OK;
}


static int
driver_reason(const driver_line_t *line)
{
    size_t  n;

    n = sizeof(driver_in);

    if (driver_bytes(line->word[1], driver_in, &n) != EVM_OK) {
        return EVM_ERROR;
    }

    n = evm_abi_revert_reason(driver_in, n, (char *) driver_out,
                              sizeof(driver_out));
    driver_print_bytes(driver_out, n, '\n');

    return EVM_OK;
}


static int
driver_domain(const driver_line_t *line)
{
    size_t        name, version;
    uint8_t       contract[20], hash[32];
    uint64_t      chain_id;
    char *const  *w;

    w = line->word;
    name = sizeof(driver_in);

    if (driver_bytes(w[1], driver_in, &name) != EVM_OK) {
        return EVM_ERROR;
    }

    version = sizeof(driver_in) - name;

    if (driver_bytes(w[2], driver_in + name, &version) != EVM_OK
        || driver_u64(w[3], &chain_id) != EVM_OK
        || (strcmp(w[4], "-") != 0
            && driver_fixed(w[4], contract, 20) != EVM_OK))
    {
        return EVM_ERROR;
    }

    evm_eip712_domain((char *) driver_in, name, (char *) driver_in + name,
                      version, chain_id,
                      strcmp(w[4], "-") ? contract : NULL, hash);
    driver_print_bytes(hash, 32, '\n');

    return EVM_OK;
}


static int
driver_struct(const driver_line_t *line)
{
    int               rc;
    size_t            type, n, used;
    uint8_t           hash[32];
    unsigned          i;
    const char       *word;
    evm_abi_type_t    types[DRIVER_MAX_WORDS / 2];
    evm_abi_value_t   values[DRIVER_MAX_WORDS / 2];

    memset(values, 0, sizeof(values));
    type = sizeof(driver_in);

    if (driver_bytes(line->word[1], driver_in, &type) != EVM_OK) {
        return EVM_ERROR;
    }

    used = type;

    for (i = 0; 2 * i + 3 < line->n; i++) {
        word = line->word[2 * i + 2];

        if (evm_abi_type_parse(word, strlen(word), &types[i]) != EVM_OK) {
            return EVM_ERROR;
        }

        n = sizeof(driver_in) - used;
        word = line->word[2 * i + 3];

        if (driver_bytes(word, driver_in + used, &n) != EVM_OK) {
            return EVM_ERROR;
        }

        if (types[i].type == EVM_ABI_BYTES || types[i].type == EVM_ABI_STRING)
        {
            values[i].data = driver_in + used;
            values[i].len = n;
            used += n;

        } else if (driver_fixed(word, values[i].word, 32) != EVM_OK) {
            return EVM_ERROR;
        }
    }

    rc = evm_eip712_struct((char *) driver_in, type, types, values, i, hash);

    if (rc == EVM_OK) {
        driver_print_bytes(hash, 32, '\n');
    }

    return rc;
}


static int
driver_digest(const driver_line_t *line)
{
    uint8_t  domain[32], hash[32], digest[32];

    if (driver_fixed(line->word[1], domain, 32) != EVM_OK
        || driver_fixed(line->word[2], hash, 32) != EVM_OK)
    {
        return EVM_ERROR;
    }

    evm_eip712_digest(domain, hash, digest);
    driver_print_bytes(digest, 32, '\n');

    return EVM_OK;
}


static int
driver_signer(const driver_line_t *line)
{
    int              rc;
    size_t           n;
    uint8_t          hash[32], address[20];
    evm_signature_t  sig;

    n = sizeof(driver_in);

    if (driver_fixed(line->word[1], hash, 32) != EVM_OK
        || driver_bytes(line->word[2], driver_in, &n) != EVM_OK)
    {
        return EVM_ERROR;
    }

    rc = evm_signature_parse(driver_in, n, &sig);

    if (rc == EVM_OK) {
        rc = evm_recover(hash, &sig, address);
    }

    if (rc == EVM_OK) {
        driver_print_bytes(address, 20, '\n');
    }

    return rc;
}
