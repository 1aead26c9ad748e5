
/*
 * What the unit tests share.  Bytes come from unit_hex(), not from the code
 * under test, so that an error there does not cancel out.
 */


#ifndef _UNIT_H_INCLUDED_
#define _UNIT_H_INCLUDED_


#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "evm.h"


#define unit_count(a)  (sizeof(a) / sizeof((a)[0]))


/* digits without "0x", of which each two are a byte; returns their number */

static inline size_t
unit_hex(const char *s, void *out)
{
    char      pair[3];
    size_t    n;
    uint8_t  *p;

    p = out;
    pair[2] = '\0';

    for (n = 0; s[2 * n]; n++) {
        assert_true(s[2 * n + 1] != '\0');

        pair[0] = s[2 * n];
        pair[1] = s[2 * n + 1];
        p[n] = (uint8_t) strtoul(pair, NULL, 16);
    }

    return n;
}


/* got must be the bytes that want says in hex */

#define unit_assert_hex(got, len, want)                                      \
    unit_compare_hex(got, len, want, __FILE__, __LINE__)

static inline void
unit_compare_hex(const void *got, size_t len, const char *want,
    const char *file, int line)
{
    char           *text;
    size_t          i;
    const uint8_t  *p;

    p = got;
    text = malloc(2 * len + 1);

    for (i = 0; i < len; i++) {
        snprintf(text + 2 * i, 3, "%02x", p[i]);
    }

    text[2 * len] = '\0';

    if (strcmp(text, want) != 0) {
        print_error("got  %s\nwant %s\n", text, want);
        free(text);
        _fail(file, line);
        return;
    }

    free(text);
}


/* the same numbers in every run (xorshift64*), for a failure to come back */

static inline uint64_t
unit_random(uint64_t *seed)
{
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;

    return *seed * 0x2545f4914f6cdd1dULL;
}


/* a copy with nothing after it, so that the sanitizer sees a read beyond */

static inline uint8_t *
unit_exact(const void *p, size_t len)
{
    uint8_t  *copy;

    copy = malloc(len);

    if (len) {
        assert_non_null(copy);
        memcpy(copy, p, len);
    }

    return copy;
}


#endif /* _UNIT_H_INCLUDED_ */
