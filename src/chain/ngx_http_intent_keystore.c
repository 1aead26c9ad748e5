
/*
 * Keys in the form in which geth, ethers and others keep them: Web3 Secret
 * Storage, version 3.  A password opens it, by way of scrypt or PBKDF2, which
 * are slow on purpose; so this is done once, by the master, when it reads the
 * configuration.
 */


#include "ngx_http_intent_signer.h"

#include <jansson.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>


#define NGX_HTTP_INTENT_KEYSTORE_TEXT      8192
#define NGX_HTTP_INTENT_KEYSTORE_PASSWORD  1024
#define NGX_HTTP_INTENT_KEYSTORE_SALT      128

/* scrypt's memory, and the rounds of PBKDF2: more is no key file but a trap */
#define NGX_HTTP_INTENT_KEYSTORE_MEMORY    (1024 * 1024 * 1024)
#define NGX_HTTP_INTENT_KEYSTORE_ROUNDS    100000000


typedef struct {
    u_char      iv[16];
    u_char      ciphertext[EVM_KEY_LEN];
    u_char      mac[32];
    u_char      salt[NGX_HTTP_INTENT_KEYSTORE_SALT];
    size_t      salt_len;

    ngx_uint_t  scrypt;
    uint64_t    n;
    uint64_t    r;
    uint64_t    p;
    int         rounds;
} ngx_http_intent_keystore_t;


static ngx_int_t ngx_http_intent_keystore_parse(
    ngx_http_intent_keystore_t *ks, u_char *text, size_t len,
    const char **err);
static ngx_int_t ngx_http_intent_keystore_kdf(ngx_http_intent_keystore_t *ks,
    const char *kdf, json_t *params, const char **err);
static ngx_int_t ngx_http_intent_keystore_hex(json_t *v, u_char *out,
    size_t *len);
static ngx_int_t ngx_http_intent_keystore_open(
    ngx_http_intent_keystore_t *ks, u_char *password, size_t len,
    u_char key[EVM_KEY_LEN]);


ngx_http_intent_signer_t *
ngx_http_intent_signer_keystore(ngx_conf_t *cf, ngx_str_t *path,
    ngx_str_t *password_file)
{
    u_char                       text[NGX_HTTP_INTENT_KEYSTORE_TEXT];
    u_char                       password[NGX_HTTP_INTENT_KEYSTORE_PASSWORD];
    size_t                       len, password_len;
    ngx_int_t                    rc;
    const char                  *err;
    ngx_http_intent_signer_t    *signer;
    ngx_http_intent_keystore_t   ks;

    signer = ngx_http_intent_signer_create(cf);

    if (signer == NULL
        || ngx_http_intent_signer_read(cf, path, 0, text, sizeof(text), &len)
           != NGX_OK)
    {
        return NULL;
    }

    if (ngx_http_intent_keystore_parse(&ks, text, len, &err) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "keystore \"%V\" is none of version 3: %s", path,
                           err);
        return NULL;
    }

    if (ngx_http_intent_signer_read(cf, password_file, 1, password,
                                    sizeof(password), &password_len)
        != NGX_OK)
    {
        return NULL;
    }

    /* as an editor leaves it: with the end of the line */

    if (password_len && password[password_len - 1] == LF) {
        password_len--;
    }

    if (password_len && password[password_len - 1] == CR) {
        password_len--;
    }

    rc = ngx_http_intent_keystore_open(&ks, password, password_len,
                                       signer->key);

    evm_wipe(password, sizeof(password));

    if (rc == NGX_DECLINED) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the password in \"%V\" does not open keystore "
                           "\"%V\"", password_file, path);
        return NULL;
    }

    if (rc != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "keystore \"%V\" could not be decrypted: OpenSSL "
                           "does not take its \"kdfparams\", or has no "
                           "memory for them", path);
        return NULL;
    }

    if (ngx_http_intent_signer_finish(cf, signer) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "keystore \"%V\" does not hold a private key",
                           path);
        return NULL;
    }

    return signer;
}


static ngx_int_t
ngx_http_intent_keystore_parse(ngx_http_intent_keystore_t *ks, u_char *text,
    size_t len, const char **err)
{
    size_t       n;
    json_t      *root, *crypto, *params;
    ngx_int_t    rc;
    const char  *cipher, *kdf;

    ngx_memzero(ks, sizeof(ngx_http_intent_keystore_t));

    rc = NGX_ERROR;
    cipher = NULL;
    kdf = NULL;

    root = json_loadb((char *) text, len, JSON_REJECT_DUPLICATES, NULL);

    crypto = json_object_get(root, "crypto");

    if (crypto == NULL) {
        crypto = json_object_get(root, "Crypto");
    }

    params = json_object_get(crypto, "kdfparams");
    cipher = json_string_value(json_object_get(crypto, "cipher"));
    kdf = json_string_value(json_object_get(crypto, "kdf"));

    if (json_integer_value(json_object_get(root, "version")) != 3) {
        *err = "\"version\" should be 3";
        goto done;
    }

    if (cipher == NULL || ngx_strcmp(cipher, "aes-128-ctr") != 0) {
        *err = "\"cipher\" should be \"aes-128-ctr\"";
        goto done;
    }

    n = sizeof(ks->iv);

    if (ngx_http_intent_keystore_hex(
            json_object_get(json_object_get(crypto, "cipherparams"), "iv"),
            ks->iv, &n)
        != NGX_OK
        || n != sizeof(ks->iv))
    {
        *err = "\"iv\" should be 16 bytes";
        goto done;
    }

    n = sizeof(ks->ciphertext);

    if (ngx_http_intent_keystore_hex(json_object_get(crypto, "ciphertext"),
                                     ks->ciphertext, &n)
        != NGX_OK
        || n != sizeof(ks->ciphertext))
    {
        *err = "\"ciphertext\" should be 32 bytes";
        goto done;
    }

    n = sizeof(ks->mac);

    if (ngx_http_intent_keystore_hex(json_object_get(crypto, "mac"), ks->mac,
                                     &n)
        != NGX_OK
        || n != sizeof(ks->mac))
    {
        *err = "\"mac\" should be 32 bytes";
        goto done;
    }

    rc = ngx_http_intent_keystore_kdf(ks, kdf ? kdf : "", params, err);

done:

    json_decref(root);

    return rc;
}


static ngx_int_t
ngx_http_intent_keystore_kdf(ngx_http_intent_keystore_t *ks, const char *kdf,
    json_t *params, const char **err)
{
    json_int_t   n, r, p, c;
    const char  *prf;

    ks->salt_len = sizeof(ks->salt);

    if (ngx_http_intent_keystore_hex(json_object_get(params, "salt"), ks->salt,
                                     &ks->salt_len)
        != NGX_OK)
    {
        *err = "\"salt\" should be bytes";
        return NGX_ERROR;
    }

    if (json_integer_value(json_object_get(params, "dklen")) != 32) {
        *err = "\"dklen\" should be 32";
        return NGX_ERROR;
    }

    if (ngx_strcmp(kdf, "scrypt") == 0) {

        n = json_integer_value(json_object_get(params, "n"));
        r = json_integer_value(json_object_get(params, "r"));
        p = json_integer_value(json_object_get(params, "p"));

        if (n < 2 || (n & (n - 1)) || r < 1 || r > 1024 || p < 1 || p > 1024
            || n > NGX_HTTP_INTENT_KEYSTORE_MEMORY / 128 / r)
        {
            *err = "\"n\", \"r\" and \"p\" of scrypt should be sane";
            return NGX_ERROR;
        }

        ks->scrypt = 1;
        ks->n = n;
        ks->r = r;
        ks->p = p;

        return NGX_OK;
    }

    if (ngx_strcmp(kdf, "pbkdf2") == 0) {

        c = json_integer_value(json_object_get(params, "c"));
        prf = json_string_value(json_object_get(params, "prf"));

        if (c < 1 || c > NGX_HTTP_INTENT_KEYSTORE_ROUNDS
            || prf == NULL || ngx_strcmp(prf, "hmac-sha256") != 0)
        {
            *err = "\"c\" of pbkdf2 should be sane, \"prf\" should be "
                   "\"hmac-sha256\"";
            return NGX_ERROR;
        }

        ks->rounds = (int) c;

        return NGX_OK;
    }

    *err = "\"kdf\" should be \"scrypt\" or \"pbkdf2\"";

    return NGX_ERROR;
}


/* hex digits, with or without 0x */

static ngx_int_t
ngx_http_intent_keystore_hex(json_t *v, u_char *out, size_t *len)
{
    size_t       i, n;
    u_char      *p;
    ngx_int_t    byte;
    const char  *s;

    s = json_string_value(v);

    if (s == NULL) {
        return NGX_ERROR;
    }

    if (s[0] == '0' && (s[1] | 0x20) == 'x') {
        s += 2;
    }

    n = ngx_strlen(s);
    p = (u_char *) s;

    if (n % 2 || n / 2 > *len) {
        return NGX_ERROR;
    }

    for (i = 0; i < n / 2; i++) {

        byte = ngx_hextoi(p + 2 * i, 2);
        if (byte == NGX_ERROR) {
            return NGX_ERROR;
        }

        out[i] = (u_char) byte;
    }

    *len = n / 2;

    return NGX_OK;
}


/* NGX_DECLINED: not with this password */

static ngx_int_t
ngx_http_intent_keystore_open(ngx_http_intent_keystore_t *ks,
    u_char *password, size_t len, u_char key[EVM_KEY_LEN])
{
    int              n, ok;
    u_char           derived[32], data[16 + EVM_KEY_LEN], mac[32];
    ngx_int_t        rc;
    EVP_CIPHER_CTX  *ctx;

    rc = NGX_ERROR;
    ctx = EVP_CIPHER_CTX_new();

    if (ctx == NULL) {
        return NGX_ERROR;
    }

    ok = ks->scrypt
         ? EVP_PBE_scrypt((char *) password, len, ks->salt, ks->salt_len,
                          ks->n, ks->r, ks->p,
                          2 * (uint64_t) NGX_HTTP_INTENT_KEYSTORE_MEMORY,
                          derived, sizeof(derived))
         : PKCS5_PBKDF2_HMAC((char *) password, (int) len, ks->salt,
                             (int) ks->salt_len, ks->rounds, EVP_sha256(),
                             sizeof(derived), derived);

    if (ok != 1) {
        goto done;
    }

    ngx_memcpy(data, derived + 16, 16);
    ngx_memcpy(data + 16, ks->ciphertext, EVM_KEY_LEN);
    evm_keccak256(data, sizeof(data), mac);

    if (CRYPTO_memcmp(mac, ks->mac, sizeof(mac)) != 0) {
        rc = NGX_DECLINED;
        goto done;
    }

    if (EVP_DecryptInit_ex(ctx, EVP_aes_128_ctr(), NULL, derived, ks->iv) == 1
        && EVP_DecryptUpdate(ctx, key, &n, ks->ciphertext, EVM_KEY_LEN) == 1
        && n == EVM_KEY_LEN)
    {
        rc = NGX_OK;
    }

done:

    EVP_CIPHER_CTX_free(ctx);

    evm_wipe(derived, sizeof(derived));
    evm_wipe(data, sizeof(data));

    return rc;
}
