
/* as much of nginx as what is tested here needs, where it needs no more */


#ifndef _NGX_HTTP_INTENT_H_INCLUDED_
#define _NGX_HTTP_INTENT_H_INCLUDED_


#include <ctype.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>


typedef unsigned char  u_char;
typedef uintptr_t      ngx_uint_t;

typedef struct {
    size_t   len;
    u_char  *data;
} ngx_str_t;


#define NGX_HTTP_TOO_MANY_REQUESTS  429

#define ngx_string(str)             { sizeof(str) - 1, (u_char *) str }
#define ngx_min(a, b)               ((a) < (b) ? (a) : (b))
#define ngx_strcmp(s1, s2)          strcmp((const char *) s1, (const char *) s2)
#define ngx_strlen(s)               strlen((const char *) s)
#define ngx_strncasecmp(s1, s2, n)                                            \
    strncasecmp((const char *) (s1), (const char *) (s2), n)
#define ngx_strstr(s1, s2)          strstr((const char *) s1, (const char *) s2)


static inline void
ngx_strlow(u_char *dst, u_char *src, size_t n)
{
    while (n--) {
        *dst++ = (u_char) tolower(*src++);
    }
}


#endif /* _NGX_HTTP_INTENT_H_INCLUDED_ */
