
/*
 * Private keys: read once by the master, kept in a page that is neither
 * swapped nor dumped, wiped with the configuration.
 */


#include "ngx_http_intent_signer.h"

#include <sys/mman.h>
#include <openssl/rand.h>


#define NGX_HTTP_INTENT_KEY_TEXT  256


static ngx_int_t ngx_http_intent_signer_parse(u_char *text, size_t len,
    u_char key[EVM_KEY_LEN]);
static u_char *ngx_http_intent_signer_page(ngx_conf_t *cf);
static void ngx_http_intent_signer_wipe(void *data);


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

    signer->key = ngx_http_intent_signer_page(cf);

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
    ssize_t          n;
    ngx_fd_t         fd;
    ngx_int_t        rc;
    ngx_file_info_t  fi;

    if (ngx_conf_full_name(cf->cycle, path, 1) != NGX_OK) {
        return NGX_ERROR;
    }

    fd = ngx_open_file(path->data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_open_file_n " \"%V\" failed", path);
        return NGX_ERROR;
    }

    rc = NGX_ERROR;

    if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_fd_info_n " \"%V\" failed", path);
        goto done;
    }

    if (secret && (ngx_file_access(&fi) & 0077)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "key file \"%V\" can be read by others, "
                           "make it \"chmod 600\"", path);
        goto done;
    }

    n = read(fd, text, size);

    if (n == -1) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_read_fd_n " \"%V\" failed", path);
        goto done;
    }

    *len = n;
    rc = NGX_OK;

done:

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_log_error(NGX_LOG_ALERT, cf->log, ngx_errno,
                      ngx_close_file_n " \"%V\" failed", path);
    }

    return rc;
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


static u_char *
ngx_http_intent_signer_page(ngx_conf_t *cf)
{
    u_char              *page;
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NULL;
    }

    page = mmap(NULL, ngx_pagesize, PROT_READ|PROT_WRITE,
                MAP_PRIVATE|MAP_ANONYMOUS, -1, 0);

    if (page == MAP_FAILED) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, ngx_errno, "mmap() failed");
        return NULL;
    }

    cln->handler = ngx_http_intent_signer_wipe;
    cln->data = page;

#ifdef MADV_DONTDUMP
    (void) madvise(page, ngx_pagesize, MADV_DONTDUMP);
#endif

    return page;
}


static void
ngx_http_intent_signer_wipe(void *data)
{
    evm_wipe(data, EVM_KEY_LEN);

    (void) munmap(data, ngx_pagesize);
}


void
ngx_http_intent_signer_lock(ngx_http_intent_signer_t *signer)
{
    if (signer->remote) {
        return;
    }

    /* what the system does not grant is no reason not to start */

    (void) mlock(signer->key, ngx_pagesize);
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
