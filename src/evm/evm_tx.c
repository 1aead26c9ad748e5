
/*
 * Transactions: https://eips.ethereum.org/EIPS/eip-1559
 *
 *     0x02 || rlp([chain_id, nonce, max_priority_fee_per_gas,
 *                  max_fee_per_gas, gas_limit, to, value, data, access_list,
 *                  y_parity, r, s])
 *
 * and before that, with the chain id of EIP-155:
 *
 *     rlp([nonce, gas_price, gas_limit, to, value, data, v, r, s])
 *
 * where v is 35 + 2 * chain_id + y_parity, and what is signed has chain_id, 0
 * and 0 in place of v, r and s.
 *
 * What is signed ends at the access list.  All forms are made of three
 * pieces, head, data and tail, so that the calldata is never copied only to
 * be hashed.
 */


#include "evm_internal.h"


#define EVM_TX_TYPE       0x02

/* the type and two list or string headers, 2 * 9 + 1; the fields, 147 */
#define EVM_TX_HEAD_LEN   192

/* the empty access list and y parity, or v, then r and s: 9 + 33 + 33 */
#define EVM_TX_TAIL_LEN   75

/* v of a legacy transaction is below 2^64 */
#define EVM_TX_LEGACY_V   35
#define EVM_TX_LEGACY_MAX_CHAIN_ID  ((UINT64_MAX - EVM_TX_LEGACY_V - 1) / 2)


typedef struct {
    uint8_t  bytes[EVM_TX_HEAD_LEN];
    size_t   len;
} evm_tx_head_t;

/* a transaction as it is read: the rest of the list */
typedef struct {
    const uint8_t  *pos;
    const uint8_t  *end;
} evm_tx_reader_t;


static int evm_tx_head(const evm_tx_t *tx, size_t tail_len,
    evm_tx_head_t *head);
static void evm_tx_fields(const evm_tx_t *tx, evm_rlp_t *rlp);
static size_t evm_tx_unsigned_tail(const evm_tx_t *tx,
    uint8_t tail[EVM_TX_TAIL_LEN]);
static size_t evm_tx_tail(const evm_tx_t *tx, const evm_signature_t *sig,
    uint8_t tail[EVM_TX_TAIL_LEN]);
static void evm_tx_scalar(evm_rlp_t *rlp, const uint8_t be[32]);
static int evm_tx_read(evm_tx_reader_t *r, evm_tx_t *tx,
    evm_signature_t *sig);
static int evm_tx_read_legacy(evm_tx_reader_t *r, evm_tx_t *tx,
    evm_signature_t *sig);
static int evm_tx_read_v(evm_tx_reader_t *r, evm_tx_t *tx,
    evm_signature_t *sig);
static int evm_tx_read_scalars(evm_tx_reader_t *r, evm_signature_t *sig);
static int evm_tx_read_bytes(evm_tx_reader_t *r, const uint8_t **data,
    size_t *len);
static int evm_tx_read_u256(evm_tx_reader_t *r, evm_u256_t *v);
static int evm_tx_read_u64(evm_tx_reader_t *r, uint64_t *v);
static int evm_tx_read_to(evm_tx_reader_t *r, evm_tx_t *tx);
static int evm_tx_read_access_list(evm_tx_reader_t *r);
static int evm_tx_read_signature(evm_tx_reader_t *r, evm_signature_t *sig);


int
evm_tx_signing_hash(const evm_tx_t *tx, uint8_t hash[32])
{
    size_t         tail_len;
    uint8_t        tail[EVM_TX_TAIL_LEN];
    evm_keccak_t   keccak;
    evm_tx_head_t  head;

    if (tx->legacy && tx->chain_id > EVM_TX_LEGACY_MAX_CHAIN_ID) {
        return EVM_RANGE;
    }

    tail_len = evm_tx_unsigned_tail(tx, tail);

    if (evm_tx_head(tx, tail_len, &head) != EVM_OK) {
        return EVM_RANGE;
    }

    evm_keccak_init(&keccak);
    evm_keccak_update(&keccak, head.bytes, head.len);
    evm_keccak_update(&keccak, tx->data, tx->data_len);
    evm_keccak_update(&keccak, tail, tail_len);
    evm_keccak_final(&keccak, hash);

    return EVM_OK;
}


int
evm_tx_sign(const evm_tx_t *tx, const uint8_t key[32], uint8_t *raw,
    size_t *n, uint8_t hash[32])
{
    int              rc;
    size_t           len, tail_len;
    uint8_t          digest[32], tail[EVM_TX_TAIL_LEN];
    evm_tx_head_t    head;
    evm_signature_t  sig;

    rc = evm_tx_signing_hash(tx, digest);
    if (rc != EVM_OK) {
        return rc;
    }

    rc = evm_sign(digest, key, &sig);
    if (rc != EVM_OK) {
        return rc;
    }

    tail_len = evm_tx_tail(tx, &sig, tail);

    rc = evm_tx_head(tx, tail_len, &head);
    if (rc != EVM_OK) {
        return rc;
    }

    len = head.len + tx->data_len + tail_len;

    if (len > *n) {
        return EVM_NOSPACE;
    }

    memcpy(raw, head.bytes, head.len);

    if (tx->data_len) {
        memcpy(raw + head.len, tx->data, tx->data_len);
    }

    memcpy(raw + head.len + tx->data_len, tail, tail_len);

    evm_keccak256(raw, len, hash);
    *n = len;

    return EVM_OK;
}


/* everything before the bytes of data, for a list that tail_len more end */

static int
evm_tx_head(const evm_tx_t *tx, size_t tail_len, evm_tx_head_t *head)
{
    uint8_t    buf[EVM_TX_HEAD_LEN];
    evm_rlp_t  fields, rlp;

    if (tx->data_len > SIZE_MAX - 512) {
        return EVM_RANGE;
    }

    fields.buf = buf;
    fields.size = sizeof(buf);
    fields.len = 0;
    fields.overflow = 0;

    evm_tx_fields(tx, &fields);

    head->bytes[0] = EVM_TX_TYPE;

    rlp.buf = head->bytes;
    rlp.size = sizeof(head->bytes);
    rlp.len = tx->legacy ? 0 : 1;
    rlp.overflow = 0;

    evm_rlp_list(&rlp, fields.len + tx->data_len + tail_len);

    memcpy(head->bytes + rlp.len, buf, fields.len);
    head->len = rlp.len + fields.len;

    return EVM_OK;
}


static void
evm_tx_fields(const evm_tx_t *tx, evm_rlp_t *rlp)
{
    if (!tx->legacy) {
        evm_rlp_u64(rlp, tx->chain_id);
    }

    evm_rlp_u64(rlp, tx->nonce);

    if (!tx->legacy) {
        evm_rlp_u256(rlp, &tx->max_priority_fee_per_gas);
    }

    evm_rlp_u256(rlp, &tx->max_fee_per_gas);
    evm_rlp_u64(rlp, tx->gas_limit);
    evm_rlp_bytes(rlp, tx->to, tx->create ? 0 : EVM_ADDRESS_LEN);
    evm_rlp_u256(rlp, &tx->value);
    evm_rlp_bytes_header(rlp, tx->data, tx->data_len);
}


static size_t
evm_tx_unsigned_tail(const evm_tx_t *tx, uint8_t tail[EVM_TX_TAIL_LEN])
{
    evm_rlp_t  rlp;

    rlp.buf = tail;
    rlp.size = EVM_TX_TAIL_LEN;
    rlp.len = 0;
    rlp.overflow = 0;

    if (tx->legacy) {
        evm_rlp_u64(&rlp, tx->chain_id);
        evm_rlp_u64(&rlp, 0);
        evm_rlp_u64(&rlp, 0);

    } else {
        evm_rlp_list(&rlp, 0);
    }

    return rlp.len;
}


static size_t
evm_tx_tail(const evm_tx_t *tx, const evm_signature_t *sig,
    uint8_t tail[EVM_TX_TAIL_LEN])
{
    evm_rlp_t  rlp;

    rlp.buf = tail;
    rlp.size = EVM_TX_TAIL_LEN;
    rlp.len = 0;
    rlp.overflow = 0;

    if (tx->legacy) {
        evm_rlp_u64(&rlp, EVM_TX_LEGACY_V + 2 * tx->chain_id + sig->y_parity);

    } else {
        evm_rlp_list(&rlp, 0);
        evm_rlp_u64(&rlp, sig->y_parity);
    }

    evm_tx_scalar(&rlp, sig->r);
    evm_tx_scalar(&rlp, sig->s);

    return rlp.len;
}


/* r and s are integers: one in 256 begins with a zero that must go */

static void
evm_tx_scalar(evm_rlp_t *rlp, const uint8_t be[32])
{
    evm_u256_t  v;

    (void) evm_u256_from_be(&v, be, 32);
    evm_rlp_u256(rlp, &v);
}


int
evm_tx_decode(const uint8_t *raw, size_t len, evm_tx_t *tx, uint8_t from[20],
    uint8_t hash[32])
{
    int              rc, list;
    size_t           n;
    uint8_t          digest[32], signer[20];
    evm_tx_t         t;
    const uint8_t   *p;
    evm_signature_t  sig;
    evm_tx_reader_t  r;

    if (len < 2) {
        return EVM_ERROR;
    }

    /* a legacy one begins with its list, which the next check finds */

    p = (raw[0] == EVM_TX_TYPE) ? raw + 1 : raw;

    if (evm_rlp_next(&p, raw + len, &r.pos, &n, &list) != EVM_OK
        || !list || p != raw + len)
    {
        return EVM_ERROR;
    }

    r.end = r.pos + n;

    rc = (raw[0] == EVM_TX_TYPE) ? evm_tx_read(&r, &t, &sig)
                                 : evm_tx_read_legacy(&r, &t, &sig);

    if (rc != EVM_OK || r.pos != r.end) {
        return EVM_ERROR;
    }

    /* the encoding is canonical, so this hashes the very bytes of raw */

    if (evm_tx_signing_hash(&t, digest) != EVM_OK
        || evm_recover(digest, &sig, signer) != EVM_OK)
    {
        return EVM_ERROR;
    }

    *tx = t;
    memcpy(from, signer, sizeof(signer));
    evm_keccak256(raw, len, hash);

    return EVM_OK;
}


static int
evm_tx_read(evm_tx_reader_t *r, evm_tx_t *tx, evm_signature_t *sig)
{
    memset(tx, 0, sizeof(*tx));

    if (evm_tx_read_u64(r, &tx->chain_id) != EVM_OK
        || evm_tx_read_u64(r, &tx->nonce) != EVM_OK
        || evm_tx_read_u256(r, &tx->max_priority_fee_per_gas) != EVM_OK
        || evm_tx_read_u256(r, &tx->max_fee_per_gas) != EVM_OK
        || evm_tx_read_u64(r, &tx->gas_limit) != EVM_OK
        || evm_tx_read_to(r, tx) != EVM_OK
        || evm_tx_read_u256(r, &tx->value) != EVM_OK
        || evm_tx_read_bytes(r, &tx->data, &tx->data_len) != EVM_OK
        || evm_tx_read_access_list(r) != EVM_OK)
    {
        return EVM_ERROR;
    }

    return evm_tx_read_signature(r, sig);
}


static int
evm_tx_read_legacy(evm_tx_reader_t *r, evm_tx_t *tx, evm_signature_t *sig)
{
    memset(tx, 0, sizeof(*tx));

    tx->legacy = 1;

    if (evm_tx_read_u64(r, &tx->nonce) != EVM_OK
        || evm_tx_read_u256(r, &tx->max_fee_per_gas) != EVM_OK
        || evm_tx_read_u64(r, &tx->gas_limit) != EVM_OK
        || evm_tx_read_to(r, tx) != EVM_OK
        || evm_tx_read_u256(r, &tx->value) != EVM_OK
        || evm_tx_read_bytes(r, &tx->data, &tx->data_len) != EVM_OK
        || evm_tx_read_v(r, tx, sig) != EVM_OK)
    {
        return EVM_ERROR;
    }

    tx->max_priority_fee_per_gas = tx->max_fee_per_gas;

    return evm_tx_read_scalars(r, sig);
}


/* 27 and 28 are from before EIP-155: good on every chain, so on none here */

static int
evm_tx_read_v(evm_tx_reader_t *r, evm_tx_t *tx, evm_signature_t *sig)
{
    uint64_t  v;

    if (evm_tx_read_u64(r, &v) != EVM_OK || v < EVM_TX_LEGACY_V + 2) {
        return EVM_ERROR;
    }

    v -= EVM_TX_LEGACY_V;

    tx->chain_id = v / 2;
    sig->y_parity = (unsigned) (v % 2);

    return EVM_OK;
}


static int
evm_tx_read_bytes(evm_tx_reader_t *r, const uint8_t **data, size_t *len)
{
    int  list;

    if (evm_rlp_next(&r->pos, r->end, data, len, &list) != EVM_OK || list) {
        return EVM_ERROR;
    }

    return EVM_OK;
}


static int
evm_tx_read_u256(evm_tx_reader_t *r, evm_u256_t *v)
{
    size_t          len;
    const uint8_t  *data;

    if (evm_tx_read_bytes(r, &data, &len) != EVM_OK) {
        return EVM_ERROR;
    }

    /* an integer has no leading zeros, and zero itself no bytes */

    if (len && data[0] == 0) {
        return EVM_ERROR;
    }

    return evm_u256_from_be(v, data, len);
}


static int
evm_tx_read_u64(evm_tx_reader_t *r, uint64_t *v)
{
    evm_u256_t  wide;

    if (evm_tx_read_u256(r, &wide) != EVM_OK) {
        return EVM_ERROR;
    }

    return evm_u256_to_u64(&wide, v);
}


static int
evm_tx_read_to(evm_tx_reader_t *r, evm_tx_t *tx)
{
    size_t          len;
    const uint8_t  *data;

    if (evm_tx_read_bytes(r, &data, &len) != EVM_OK) {
        return EVM_ERROR;
    }

    if (len == 0) {
        tx->create = 1;
        return EVM_OK;
    }

    if (len != EVM_ADDRESS_LEN) {
        return EVM_ERROR;
    }

    memcpy(tx->to, data, len);

    return EVM_OK;
}


static int
evm_tx_read_access_list(evm_tx_reader_t *r)
{
    int             list;
    size_t          len;
    const uint8_t  *data;

    if (evm_rlp_next(&r->pos, r->end, &data, &len, &list) != EVM_OK
        || !list || len)
    {
        return EVM_ERROR;
    }

    return EVM_OK;
}


static int
evm_tx_read_signature(evm_tx_reader_t *r, evm_signature_t *sig)
{
    uint64_t  parity;

    if (evm_tx_read_u64(r, &parity) != EVM_OK || parity > 1) {
        return EVM_ERROR;
    }

    sig->y_parity = (unsigned) parity;

    return evm_tx_read_scalars(r, sig);
}


static int
evm_tx_read_scalars(evm_tx_reader_t *r, evm_signature_t *sig)
{
    evm_u256_t  v;

    if (evm_tx_read_u256(r, &v) != EVM_OK) {
        return EVM_ERROR;
    }

    evm_u256_to_be(&v, sig->r);

    if (evm_tx_read_u256(r, &v) != EVM_OK) {
        return EVM_ERROR;
    }

    evm_u256_to_be(&v, sig->s);

    return EVM_OK;
}
