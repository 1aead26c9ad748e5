
/*
 * Signatures as Standard Webhooks has them (standardwebhooks.com): HMAC-SHA256
 * over "{id}.{timestamp}.{body}", in base64, one for each secret.
 */


#include "ngx_http_intent_webhook_private.h"

#include <nettle/hmac.h>


#define NGX_HTTP_INTENT_WEBHOOK_TEXT    1024
#define NGX_HTTP_INTENT_WEBHOOK_PREFIX  "whsec_"


static ngx_int_t ngx_http_intent_webhook_parse(u_char *text, size_t len,
    ngx_http_intent_webhook_secret_t *secret);
static u_char *ngx_http_intent_webhook_hmac(u_char *p,
    ngx_http_intent_webhook_secret_t *secret, ngx_str_t *id,
    ngx_str_t *timestamp, ngx_str_t *body);


char *
ngx_http_intent_webhook_secret(ngx_conf_t *cf, ngx_http_intent_webhook_t *wh,
    ngx_str_t *path)
{
    u_char                             text[NGX_HTTP_INTENT_WEBHOOK_TEXT];
    size_t                             len;
    ngx_int_t                          rc;
    ngx_http_intent_webhook_secret_t  *secret;

    if (wh->nsecrets == NGX_HTTP_INTENT_WEBHOOK_SECRETS) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "more than %d \"secret_file=\" of one webhook",
                           NGX_HTTP_INTENT_WEBHOOK_SECRETS);
        return NGX_CONF_ERROR;
    }

    if (ngx_http_intent_secret_read(cf, "secret file", path, 1, text,
                                    sizeof(text), &len)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    secret = &wh->secrets[wh->nsecrets];
    secret->key = ngx_http_intent_secret_page(cf);

    if (secret->key == NULL) {
        ngx_explicit_memzero(text, sizeof(text));
        return NGX_CONF_ERROR;
    }

    rc = ngx_http_intent_webhook_parse(text, len, secret);

    ngx_explicit_memzero(text, sizeof(text));

    if (rc != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "secret file \"%V\" does not hold a secret: "
                           "\"" NGX_HTTP_INTENT_WEBHOOK_PREFIX "\" and "
                           "base64, or a text, of %d to %d bytes", path,
                           NGX_HTTP_INTENT_WEBHOOK_MIN_SECRET,
                           NGX_HTTP_INTENT_WEBHOOK_MAX_SECRET);
        return NGX_CONF_ERROR;
    }

    wh->nsecrets++;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_intent_webhook_parse(u_char *text, size_t len,
    ngx_http_intent_webhook_secret_t *secret)
{
    size_t     prefix;
    ngx_str_t  src, dst;

    prefix = sizeof(NGX_HTTP_INTENT_WEBHOOK_PREFIX) - 1;

    while (len && (text[len - 1] == LF || text[len - 1] == CR)) {
        len--;
    }

    if (len > NGX_HTTP_INTENT_WEBHOOK_MAX_SECRET * 4 / 3 + prefix + 4) {
        return NGX_ERROR;
    }

    /* a page has room for any of them */

    dst.data = secret->key;

    if (len > prefix
        && ngx_memcmp(text, NGX_HTTP_INTENT_WEBHOOK_PREFIX, prefix) == 0)
    {
        src.data = text + prefix;
        src.len = len - prefix;

        if (ngx_decode_base64(&dst, &src) != NGX_OK) {
            return NGX_ERROR;
        }

    } else {
        ngx_memcpy(dst.data, text, len);
        dst.len = len;
    }

    secret->len = dst.len;

    return dst.len >= NGX_HTTP_INTENT_WEBHOOK_MIN_SECRET
           && dst.len <= NGX_HTTP_INTENT_WEBHOOK_MAX_SECRET
           ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_http_intent_webhook_sign(ngx_http_intent_webhook_t *wh,
    ngx_http_intent_post_t *post, ngx_str_t *id, ngx_uint_t version,
    ngx_str_t *body)
{
    u_char      *p;
    ngx_str_t    msg, timestamp, signature;
    ngx_uint_t   i;

    msg.data = ngx_pnalloc(post->pool, id->len + 1 + NGX_INT_T_LEN);
    timestamp.data = ngx_pnalloc(post->pool, NGX_TIME_T_LEN);
    signature.data = ngx_pnalloc(post->pool, (wh->nsecrets + 1)
                         * (sizeof("v1, ")
                            + ngx_base64_encoded_length(SHA256_DIGEST_SIZE)));

    if (msg.data == NULL || timestamp.data == NULL || signature.data == NULL) {
        return NGX_ERROR;
    }

    msg.len = ngx_sprintf(msg.data, "%V.%ui", id, version) - msg.data;
    timestamp.len = ngx_sprintf(timestamp.data, "%T", ngx_time())
                    - timestamp.data;

    p = signature.data;

    for (i = 0; i < wh->nsecrets; i++) {
        if (i) {
            *p++ = ' ';
        }

        p = ngx_http_intent_webhook_hmac(p, &wh->secrets[i], &msg, &timestamp,
                                         body);
    }

    signature.len = p - signature.data;

    if (ngx_http_intent_post_header(post, "webhook-id", "webhook-id", &msg)
        != NGX_OK
        || ngx_http_intent_post_header(post, "webhook-timestamp",
                                       "webhook-timestamp", &timestamp)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (wh->nsecrets == 0) {
        return NGX_OK;
    }

    return ngx_http_intent_post_header(post, "webhook-signature",
                                       "webhook-signature", &signature);
}


static u_char *
ngx_http_intent_webhook_hmac(u_char *p,
    ngx_http_intent_webhook_secret_t *secret, ngx_str_t *id,
    ngx_str_t *timestamp, ngx_str_t *body)
{
    u_char                  mac[SHA256_DIGEST_SIZE];
    ngx_str_t               src, dst;
    struct hmac_sha256_ctx  ctx;

    hmac_sha256_set_key(&ctx, secret->len, secret->key);
    hmac_sha256_update(&ctx, id->len, id->data);
    hmac_sha256_update(&ctx, 1, (uint8_t *) ".");
    hmac_sha256_update(&ctx, timestamp->len, timestamp->data);
    hmac_sha256_update(&ctx, 1, (uint8_t *) ".");
    hmac_sha256_update(&ctx, body->len, body->data);
    hmac_sha256_digest(&ctx, sizeof(mac), mac);

    ngx_explicit_memzero(&ctx, sizeof(ctx));

    p = ngx_cpymem(p, "v1,", 3);

    src.data = mac;
    src.len = sizeof(mac);
    dst.data = p;

    ngx_encode_base64(&dst, &src);

    return p + dst.len;
}
