
/*
 * Idempotency-Key: draft-ietf-httpapi-idempotency-key-header.
 */


#include "ngx_http_intent_api.h"

#include <openssl/evp.h>


#define NGX_HTTP_INTENT_API_MAX_KEY  255


static ngx_int_t ngx_http_intent_api_parse_key(ngx_pool_t *pool,
    ngx_str_t *value, ngx_str_t *key);
static ngx_int_t ngx_http_intent_api_fingerprint(ngx_http_request_t *r,
    ngx_http_intent_api_post_t *post);
static ngx_int_t ngx_http_intent_api_scope(ngx_http_intent_api_item_t *item,
    ngx_str_t *scope);


static ngx_str_t  ngx_http_intent_api_key_name =
    ngx_string("Idempotency-Key");


ngx_int_t
ngx_http_intent_api_key(ngx_http_request_t *r,
    ngx_http_intent_api_post_t *post, const char **why)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h, *found;

    found = NULL;
    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].key.len != ngx_http_intent_api_key_name.len
            || ngx_strncasecmp(h[i].key.data,
                               ngx_http_intent_api_key_name.data,
                               h[i].key.len)
               != 0)
        {
            continue;
        }

        if (found) {
            *why = "there must be one Idempotency-Key";
            return NGX_DECLINED;
        }

        found = &h[i];
    }

    if (found == NULL) {
        return NGX_OK;
    }

    if (ngx_http_intent_api_parse_key(r->pool, &found->value, &post->key)
        != NGX_OK)
    {
        *why = "Idempotency-Key must be a string of 1 to 255 visible "
               "characters of ASCII, like \"8e03978e-40d5-43dd-bc93\"";
        return NGX_DECLINED;
    }

    if (ngx_http_intent_api_fingerprint(r, post) != NGX_OK) {
        *why = "Idempotency-Key cannot be used at the moment";
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/*
 * A string of RFC 8941, 3.3.3; or, as most clients send it, the same without
 * the quotes.
 */

static ngx_int_t
ngx_http_intent_api_parse_key(ngx_pool_t *pool, ngx_str_t *value,
    ngx_str_t *key)
{
    u_char      *p, *last, *dst;
    ngx_uint_t   quoted;

    p = value->data;
    last = p + value->len;
    quoted = (value->len >= 2 && *p == '"' && last[-1] == '"');

    if (quoted) {
        p++;
        last--;
    }

    dst = ngx_pnalloc(pool, value->len + 1);
    if (dst == NULL) {
        return NGX_ERROR;
    }

    key->data = dst;

    for ( /* void */ ; p < last; p++) {

        if (quoted && *p == '\\') {
            p++;

            if (p == last || (*p != '"' && *p != '\\')) {
                return NGX_ERROR;
            }

        } else if (*p == '"') {
            return NGX_ERROR;
        }

        if (*p <= 0x20 || *p >= 0x7f) {
            return NGX_ERROR;
        }

        *dst++ = *p;
    }

    key->len = dst - key->data;

    return (key->len && key->len <= NGX_HTTP_INTENT_API_MAX_KEY) ? NGX_OK
                                                                 : NGX_ERROR;
}


/*
 * Of where it was sent to, too: for another API the same body is another
 * request.
 */

static ngx_int_t
ngx_http_intent_api_fingerprint(ngx_http_request_t *r,
    ngx_http_intent_api_post_t *post)
{
    ngx_int_t                        rc;
    EVP_MD_CTX                      *md;
    ngx_http_intent_api_loc_conf_t  *alcf;

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_intent_api_module);

    md = EVP_MD_CTX_new();
    if (md == NULL) {
        return NGX_ERROR;
    }

    rc = (EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1
          && EVP_DigestUpdate(md, alcf->prefix.data, alcf->prefix.len) == 1
          && EVP_DigestUpdate(md, "\n", 1) == 1
          && EVP_DigestUpdate(md, post->body.data, post->body.len) == 1
          && EVP_DigestFinal_ex(md, post->fingerprint, NULL) == 1)
         ? NGX_OK : NGX_ERROR;

    EVP_MD_CTX_free(md);

    return rc;
}


ngx_int_t
ngx_http_intent_api_admission(ngx_http_intent_api_item_t *item)
{
    u_char                         *p;
    ngx_pool_t                     *pool;
    ngx_http_intent_api_post_t     *post;
    ngx_http_intent_admission_t    *admission;

    post = item->ctx->post;
    pool = item->ctx->request->pool;

    if (post->key.len == 0 && !item->is_signed) {
        return NGX_OK;
    }

    admission = ngx_pcalloc(pool, sizeof(ngx_http_intent_admission_t));
    if (admission == NULL) {
        return NGX_ERROR;
    }

    item->admission = admission;
    item->change.data = admission;

    admission->pool = pool;

    if (item->is_signed) {
        admission->digest = item->digest;
    }

    if (post->key.len == 0) {
        return NGX_OK;
    }

    ngx_memcpy(admission->fingerprint, post->fingerprint,
               sizeof(post->fingerprint));

    admission->key = post->key;

    /* items of a batch have keys that no client can send by itself */

    if (post->batch) {
        p = ngx_pnalloc(pool, post->key.len + 1 + NGX_INT_T_LEN);
        if (p == NULL) {
            return NGX_ERROR;
        }

        admission->key.data = p;
        admission->key.len = ngx_sprintf(p, "%V\n%ui", &post->key,
                                         (ngx_uint_t) (item - post->items))
                             - p;
    }

    return ngx_http_intent_api_scope(item, &admission->scope);
}


ngx_int_t
ngx_http_intent_api_refused_admission(ngx_http_intent_api_item_t *item)
{
    u_char      address[EVM_ADDRESS_LEN];
    ngx_str_t  *user_id;

    if (item->ctx->post->key.len == 0) {
        return NGX_DECLINED;
    }

    user_id = &item->intent.user_id;

    /* whoever signed it wrote his address in any case */

    if (item->is_signed && item->ctx->user.len == 0) {

        if (!ngx_http_intent_api_is_address(user_id, address)) {
            return NGX_DECLINED;
        }

        evm_address_format(address, (char *) item->user_buffer);
        user_id->data = item->user_buffer;
    }

    if (ngx_http_intent_api_admission(item) != NGX_OK) {
        return NGX_ERROR;
    }

    /* of what is refused the digest may not be known */

    item->admission->digest = NULL;

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_api_scope(ngx_http_intent_api_item_t *item, ngx_str_t *scope)
{
    u_char              *p;
    ngx_str_t           *whose;
    const char          *kind;
    ngx_http_request_t  *r;

    r = item->ctx->request;

    if (item->ctx->user.len) {
        kind = "user:";
        whose = &item->ctx->user;

    } else if (item->is_signed) {
        kind = "signer:";
        whose = &item->intent.user_id;

    } else {
        kind = "address:";
        whose = &r->connection->addr_text;
    }

    p = ngx_pnalloc(r->pool, sizeof("address:") + whose->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    scope->data = p;
    scope->len = ngx_sprintf(p, "%s%V", kind, whose) - p;

    return NGX_OK;
}
