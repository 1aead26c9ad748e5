
/*
 * Private keys.
 */


#include "ngx_http_intent_signer.h"
#include "ngx_http_intent_secret.h"

#include <openssl/rand.h>


#define NGX_HTTP_INTENT_KEY_TEXT  256


static ngx_int_t ngx_http_intent_signer_parse(u_char *text, size_t len,
    u_char key[EVM_KEY_LEN]);


ngx_int_t
ngx_http_intent_signer_init(ngx_log_t *log)
{
    u_char     entropy[32];
    ngx_int_t  rc;

    if (RAND_bytes(entropy, sizeof(entropy)) == 1
        && evm_secp256k1_init(entropy) == EVM_OK)
    {
        rc = NGX_OK;

    } else {
        ngx_log_error(NGX_LOG_EMERG, log, 0,
                      "intent: no random numbers, or no memory");
        rc = NGX_ERROR;
    }

    evm_wipe(entropy, sizeof(entropy));

    return rc;
}


ngx_http_intent_signer_t *
ngx_http_intent_signer_key_file(ngx_conf_t *cf, ngx_str_t *path)
{
    u_char                     text[NGX_HTTP_INTENT_KEY_TEXT];
    size_t                     len;
    ngx_int_t                  rc;
    ngx_http_intent_signer_t  *signer;

    signer = ngx_http_intent_signer_create(cf);

    if (signer == NULL
        || ngx_http_intent_signer_read(cf, path, 1, text, sizeof(text), &len)
           != NGX_OK)
    {
        return NULL;
    }

    rc = ngx_http_intent_signer_parse(text, len, signer->key);

    evm_wipe(text, sizeof(text));

    if (rc != NGX_OK || ngx_http_intent_signer_finish(cf, signer) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "key file \"%V\" does not hold a private key: "
                           "64 hexadecimal digits are expected", path);
        return NULL;
    }

    return signer;
}


ngx_http_intent_signer_t *
ngx_http_intent_signer_remote(ngx_conf_t *cf, ngx_str_t *uri,
    ngx_str_t *address)
{
    ngx_http_intent_signer_t        *signer;
    ngx_http_intent_rpc_endpoint_t  *e;

    signer = ngx_pcalloc(cf->pool, sizeof(ngx_http_intent_signer_t));
    if (signer == NULL) {
        return NULL;
    }

    if (evm_address_parse((char *) address->data, address->len,
                          signer->address)
        != EVM_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid address \"%V\" of a remote signer, it "
                           "should be \"0x\" and 40 hexadecimal digits, in "
                           "mixed case with the right checksum", address);
        return NULL;
    }

    signer->name.len = EVM_ADDRESS_STR_LEN;
    signer->name.data = ngx_pnalloc(cf->pool, EVM_ADDRESS_STR_LEN);
    signer->remote = ngx_array_create(cf->pool, 1,
                                      sizeof(ngx_http_intent_rpc_endpoint_t));

    if (signer->name.data == NULL || signer->remote == NULL) {
        return NULL;
    }

    evm_address_format(signer->address, (char *) signer->name.data);

    e = ngx_array_push(signer->remote);
    if (e == NULL) {
        return NULL;
    }

    ngx_memzero(e, sizeof(ngx_http_intent_rpc_endpoint_t));

    e->uri = *uri;
    e->weight = 1;
    e->file = cf->conf_file->file.name;
    e->line = cf->conf_file->line;

    return signer;
}


ngx_http_intent_signer_t *
ngx_http_intent_signer_create(ngx_conf_t *cf)
{
    ngx_http_intent_signer_t  *signer;

    signer = ngx_pcalloc(cf->pool, sizeof(ngx_http_intent_signer_t));
    if (signer == NULL) {
        return NULL;
    }

    signer->key = ngx_http_intent_secret_page(cf);

    if (signer->key == NULL
        || ngx_http_intent_signer_init(cf->log) != NGX_OK)
    {
        return NULL;
    }

    return signer;
}


ngx_int_t
ngx_http_intent_signer_finish(ngx_conf_t *cf, ngx_http_intent_signer_t *signer)
{
    signer->name.len = EVM_ADDRESS_STR_LEN;
    signer->name.data = ngx_pnalloc(cf->pool, EVM_ADDRESS_STR_LEN);

    if (signer->name.data == NULL
        || evm_key_address(signer->key, signer->address) != EVM_OK)
    {
        return NGX_ERROR;
    }

    evm_address_format(signer->address, (char *) signer->name.data);

    return NGX_OK;
}


ngx_int_t
ngx_http_intent_signer_read(ngx_conf_t *cf, ngx_str_t *path,
    ngx_uint_t secret, u_char *text, size_t size, size_t *len)
{
    return ngx_http_intent_secret_read(cf, "key file", path, secret, text,
                                       size, len);
}


static ngx_int_t
ngx_http_intent_signer_parse(u_char *text, size_t len, u_char key[EVM_KEY_LEN])
{
    ngx_int_t   v;
    ngx_uint_t  i;

    while (len && (text[len - 1] == LF || text[len - 1] == CR
                   || text[len - 1] == ' '))
    {
        len--;
    }

    if (len > 2 && text[0] == '0' && (text[1] | 0x20) == 'x') {
        text += 2;
        len -= 2;
    }

    if (len != 2 * EVM_KEY_LEN) {
        return NGX_ERROR;
    }

    for (i = 0; i < EVM_KEY_LEN; i++) {
        v = ngx_hextoi(text + 2 * i, 2);
        if (v == NGX_ERROR) {
            return NGX_ERROR;
        }

        key[i] = (u_char) v;
    }

    return NGX_OK;
}


void
ngx_http_intent_signer_lock(ngx_http_intent_signer_t *signer)
{
    if (signer->remote) {
        return;
    }

    ngx_http_intent_secret_lock(signer->key);
}


ngx_int_t
ngx_http_intent_signer_sign(ngx_http_intent_signer_t *signer,
    ngx_pool_t *pool, evm_tx_t *tx, ngx_str_t *raw, u_char hash[32])
{
    size_t  n;

    n = EVM_TX_MAX_LEN(tx->data_len);

    raw->data = ngx_pnalloc(pool, n);
    if (raw->data == NULL) {
        return NGX_ERROR;
    }

    if (evm_tx_sign(tx, signer->key, raw->data, &n, hash) != EVM_OK) {
        return NGX_ERROR;
    }

    raw->len = n;

    return NGX_OK;
}
