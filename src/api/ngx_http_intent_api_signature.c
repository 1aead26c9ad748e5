
/*
 * Signed intents: EIP-712 over the type's params, the user, a nonce and the
 * deadline.  The user must have signed; one that is a contract is asked
 * (EIP-1271).  As the user is signed, too, whatever is changed in an intent
 * makes it nobody's, not another's, and no two users have one digest.
 */


#include "ngx_http_intent_api.h"


static ngx_int_t ngx_http_intent_api_digest(ngx_http_intent_api_item_t *item);
static const char *ngx_http_intent_api_recover(
    ngx_http_intent_api_item_t *item);
static void ngx_http_intent_api_signed_by_owner(
    ngx_http_intent_api_item_t *item);


ngx_int_t
ngx_http_intent_api_check_signature(ngx_http_intent_api_item_t *item)
{
    ngx_int_t  rc;

    if (!ngx_http_intent_api_is_address(&item->intent.user_id, item->owner)) {
        return NGX_ERROR;
    }

    rc = ngx_http_intent_api_digest(item);

    if (rc != NGX_OK) {
        return rc;
    }

    item->why = ngx_http_intent_api_recover(item);

    if (item->why == NULL
        && ngx_memcmp(item->signer, item->owner, EVM_ADDRESS_LEN) == 0)
    {
        ngx_http_intent_api_signed_by_owner(item);
        return NGX_OK;
    }

    return NGX_AGAIN;
}


static ngx_int_t
ngx_http_intent_api_digest(ngx_http_intent_api_item_t *item)
{
    u_char                     hash[EVM_HASH_LEN];
    ngx_int_t                  rc;
    evm_u256_t                 nonce;
    ngx_http_intent_t         *in;
    ngx_http_intent_domain_t  *domain;

    in = &item->intent;

    if (evm_u256_from_dec(&nonce, (char *) in->nonce.data, in->nonce.len)
        != EVM_OK)
    {
        return NGX_ERROR;
    }

    rc = ngx_http_intent_type_hash(item->type, &in->params, item->owner,
                                   &nonce, (uint64_t) in->expires_at / 1000,
                                   &item->problem.faults,
                                   item->ctx->request->pool, hash);

    if (rc != NGX_OK) {
        return rc;
    }

    domain = ngx_http_intent_chain_domain(&in->chain);

    evm_eip712_digest(domain->separator, hash, item->digest);

    return NGX_OK;
}


/* NULL: item->signer is who signed; else why that is not known */

static const char *
ngx_http_intent_api_recover(ngx_http_intent_api_item_t *item)
{
    ngx_str_t        *p;
    evm_signature_t   sig;

    p = &item->intent.signature;

    if (p->len != 64 && p->len != 65) {
        return "signature must have 65 bytes (r, s, v) or 64 (EIP-2098)";
    }

    if (evm_signature_parse(p->data, p->len, &sig) != EVM_OK) {
        return "the last byte of signature, v, must be 27, 28, 0 or 1";
    }

    switch (evm_recover(item->digest, &sig, item->signer)) {

    case EVM_OK:
        return NULL;

    case EVM_RANGE:
        return "s of signature is in the upper half, "
               "where it is refused (EIP-2)";

    default: /* EVM_ERROR */
        return "signature was made by no key";
    }
}


/* who is kept as the user is written as EIP-55 has it */

static void
ngx_http_intent_api_signed_by_owner(ngx_http_intent_api_item_t *item)
{
    evm_address_format(item->owner, (char *) item->user_buffer);

    item->intent.user_id.data = item->user_buffer;
    item->intent.user_id.len = EVM_ADDRESS_STR_LEN;
}


ngx_int_t
ngx_http_intent_api_ask_wallet(ngx_http_intent_api_item_t *item,
    ngx_http_intent_signature_pt handler)
{
    ngx_http_intent_t  *in;

    in = &item->intent;

    if (ngx_http_intent_chain_check_signature(&in->chain, item->owner,
                                              item->digest, &in->signature,
                                              handler, item)
        == NGX_OK)
    {
        return NGX_OK;
    }

    return ngx_http_intent_api_wallet_said(item, NGX_ERROR);
}


ngx_int_t
ngx_http_intent_api_wallet_said(ngx_http_intent_api_item_t *item, ngx_int_t rc)
{
    u_char       signer[EVM_ADDRESS_STR_LEN + 1];
    const char  *fmt;

    if (rc == NGX_OK) {
        ngx_http_intent_api_signed_by_owner(item);
        return NGX_OK;
    }

    item->problem.reason = NGX_HTTP_INTENT_REJECTED_SIGNATURE;

    if (rc == NGX_ERROR) {
        item->problem.status = NGX_HTTP_SERVICE_UNAVAILABLE;
        item->problem.detail = "userId may be a contract wallet, and no node "
                               "could be asked, please try again later";
        return NGX_DECLINED;
    }

    item->problem.status = NGX_HTTP_UNAUTHORIZED;

    if (item->why) {
        fmt = "%s, and no contract wallet at userId accepts it";

    } else {
        evm_address_format(item->signer, (char *) signer);
        signer[EVM_ADDRESS_STR_LEN] = '\0';

        item->why = (char *) signer;
        fmt = "signature recovers to %s, not to userId, and no contract "
              "wallet at userId accepts it";
    }

    rc = ngx_http_intent_type_fault(&item->problem.faults, "/signature", fmt,
                                    item->why);
    item->why = NULL;

    return (rc == NGX_OK) ? NGX_DECLINED : NGX_ERROR;
}


ngx_int_t
ngx_http_intent_api_deny(ngx_http_intent_api_item_t *item, ngx_uint_t status,
    ngx_uint_t reason, const char *pointer, const char *detail)
{
    item->problem.status = status;
    item->problem.reason = reason;

    if (ngx_http_intent_type_fault(&item->problem.faults, pointer, "%s",
                                   detail)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_DECLINED;
}
