
/*
 * UUIDv7, RFC 9562, section 5.7: 48 bits of Unix time in milliseconds, the
 * rest random, so that ids made one after the other stand next to each other
 * in the indexes.
 */


#include "ngx_http_intent_core.h"

#include <openssl/rand.h>


#define NGX_HTTP_INTENT_RANDOM  512

/* a call of RAND_bytes() costs far more than the ten bytes an id needs */
static u_char      ngx_http_intent_random[NGX_HTTP_INTENT_RANDOM];
static ngx_uint_t  ngx_http_intent_random_used = NGX_HTTP_INTENT_RANDOM;


void
ngx_http_intent_id_init_process(void)
{
    /* what the master had left must not be handed out by every worker */
    ngx_http_intent_random_used = NGX_HTTP_INTENT_RANDOM;
}


ngx_int_t
ngx_http_intent_id(u_char *out)
{
    u_char   id[16];
    int64_t  now;

    if (ngx_http_intent_random_used + 10 > NGX_HTTP_INTENT_RANDOM) {

        if (RAND_bytes(ngx_http_intent_random, NGX_HTTP_INTENT_RANDOM) != 1) {
            return NGX_ERROR;
        }

        ngx_http_intent_random_used = 0;
    }

    now = ngx_http_intent_now();

    id[0] = (u_char) (now >> 40);
    id[1] = (u_char) (now >> 32);
    id[2] = (u_char) (now >> 24);
    id[3] = (u_char) (now >> 16);
    id[4] = (u_char) (now >> 8);
    id[5] = (u_char) now;

    ngx_memcpy(&id[6], &ngx_http_intent_random[ngx_http_intent_random_used],
               10);
    ngx_http_intent_random_used += 10;

    id[6] = (u_char) (0x70 | (id[6] & 0x0f));      /* version 7 */
    id[8] = (u_char) (0x80 | (id[8] & 0x3f));      /* variant 10 */

    ngx_http_intent_id_format(id, out);

    return NGX_OK;
}


ngx_int_t
ngx_http_intent_id_parse(u_char *data, size_t len, u_char out[16])
{
    size_t      i;
    ngx_int_t   v;
    ngx_uint_t  n;

    if (len != NGX_HTTP_INTENT_ID_LEN) {
        return NGX_ERROR;
    }

    for (i = 0, n = 0; i < len; i++) {

        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (data[i] != '-') {
                return NGX_ERROR;
            }

            continue;
        }

        v = ngx_hextoi(&data[i], 1);
        if (v == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (n & 1) {
            out[n / 2] = (u_char) (out[n / 2] | v);

        } else {
            out[n / 2] = (u_char) (v << 4);
        }

        n++;
    }

    return NGX_OK;
}


void
ngx_http_intent_id_format(u_char in[16], u_char *out)
{
    static const ngx_uint_t  at[] = { 0, 4, 6, 8, 10, 16 };

    ngx_uint_t  i;

    for (i = 0; i < 5; i++) {
        if (i) {
            *out++ = '-';
        }

        out = ngx_hex_dump(out, &in[at[i]], at[i + 1] - at[i]);
    }
}
