
/* the keys transactions are signed with; private to src/chain */


#ifndef _NGX_HTTP_INTENT_SIGNER_H_INCLUDED_
#define _NGX_HTTP_INTENT_SIGNER_H_INCLUDED_


#include "ngx_http_intent.h"
#include "ngx_http_intent_rpc.h"
#include "evm.h"


typedef struct {
    u_char        address[EVM_ADDRESS_LEN];
    ngx_str_t     name;     /* the address, with its checksum */
    u_char       *key;      /* 32 bytes, in a page that no core dump has */
    ngx_array_t  *remote;   /* of one ..._rpc_endpoint_t, which has the key;
                               NULL: it is here */
} ngx_http_intent_signer_t;


/* what signing needs, in the master and again in each worker; logs */
ngx_int_t ngx_http_intent_signer_init(ngx_log_t *log);

/*
 * Reads "key_file=": 64 hex digits, with or without 0x.  The key is wiped
 * when the configuration's pool is destroyed.  NULL: an [emerg] was logged.
 */
ngx_http_intent_signer_t *ngx_http_intent_signer_key_file(ngx_conf_t *cf,
    ngx_str_t *path);

/*
 * Reads "keystore=", which the text in password_file opens: a version 3 file
 * as geth makes it.  NULL: an [emerg] was logged.
 */
ngx_http_intent_signer_t *ngx_http_intent_signer_keystore(ngx_conf_t *cf,
    ngx_str_t *path, ngx_str_t *password_file);

/*
 * "remote=" and "address=": somebody else has the key, and signs when asked.
 * In which server uri is, postconfiguration finds.  NULL: an [emerg] was
 * logged.
 */
ngx_http_intent_signer_t *ngx_http_intent_signer_remote(ngx_conf_t *cf,
    ngx_str_t *uri, ngx_str_t *address);

/* the parts of key_file and keystore: a signer with room for its key; what the key is
 * known by, NGX_ERROR where it is none; a file, secret 1: if nobody else can
 * read it, else an [emerg] was logged */
ngx_http_intent_signer_t *ngx_http_intent_signer_create(ngx_conf_t *cf);
ngx_int_t ngx_http_intent_signer_finish(ngx_conf_t *cf,
    ngx_http_intent_signer_t *signer);
ngx_int_t ngx_http_intent_signer_read(ngx_conf_t *cf, ngx_str_t *path,
    ngx_uint_t secret, u_char *text, size_t size, size_t *len);

/* keeps the key out of swap; locks are not inherited by workers */
void ngx_http_intent_signer_lock(ngx_http_intent_signer_t *signer);

/* NGX_ERROR: the transaction cannot be signed; *raw and *hash from pool */
ngx_int_t ngx_http_intent_signer_sign(ngx_http_intent_signer_t *signer,
    ngx_pool_t *pool, evm_tx_t *tx, ngx_str_t *raw, u_char hash[32]);


#endif /* _NGX_HTTP_INTENT_SIGNER_H_INCLUDED_ */
