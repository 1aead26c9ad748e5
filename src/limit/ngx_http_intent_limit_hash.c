
/*
 * SipHash-2-4 with a 64-bit result, after "SipHash: a fast short-input PRF".
 * Plain C, no nginx.
 */


#include <string.h>

#include "ngx_http_intent_limit_window.h"


#define rotate(x, n)  (((x) << (n)) | ((x) >> (64 - (n))))


static void ngx_http_intent_limit_hash_rounds(uint64_t v[4], int n);
static uint64_t ngx_http_intent_limit_hash_word(const uint8_t *p, size_t len);


uint64_t
ngx_http_intent_limit_hash(const uint64_t secret[2], const void *data,
    size_t len)
{
    uint64_t        v[4], word;
    const uint8_t  *p, *end;

    v[0] = secret[0] ^ 0x736f6d6570736575ULL;
    v[1] = secret[1] ^ 0x646f72616e646f6dULL;
    v[2] = secret[0] ^ 0x6c7967656e657261ULL;
    v[3] = secret[1] ^ 0x7465646279746573ULL;

    p = data;
    end = p + (len & ~(size_t) 7);

    for ( /* void */ ; p < end; p += 8) {
        word = ngx_http_intent_limit_hash_word(p, 8);

        v[3] ^= word;
        ngx_http_intent_limit_hash_rounds(v, 2);
        v[0] ^= word;
    }

    word = ngx_http_intent_limit_hash_word(p, len & 7) | (uint64_t) len << 56;

    v[3] ^= word;
    ngx_http_intent_limit_hash_rounds(v, 2);
    v[0] ^= word;

    v[2] ^= 0xff;
    ngx_http_intent_limit_hash_rounds(v, 4);

    return v[0] ^ v[1] ^ v[2] ^ v[3];
}


static void
ngx_http_intent_limit_hash_rounds(uint64_t v[4], int n)
{
    while (n--) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = rotate(v[1], 13) ^ v[0];
        v[3] = rotate(v[3], 16) ^ v[2];
        v[0] = rotate(v[0], 32);

        v[2] += v[1];
        v[0] += v[3];
        v[1] = rotate(v[1], 17) ^ v[2];
        v[3] = rotate(v[3], 21) ^ v[0];
        v[2] = rotate(v[2], 32);
    }
}


static uint64_t
ngx_http_intent_limit_hash_word(const uint8_t *p, size_t len)
{
    uint64_t  word;

    /* little-endian; compilers make one load of it where len is 8 */

    word = 0;

    while (len--) {
        word = word << 8 | p[len];
    }

    return word;
}
