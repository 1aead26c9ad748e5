
/*
 * What nobody else is to know: read once by the master, kept in a page that is
 * neither swapped nor dumped, wiped with the configuration.
 */


#ifndef _NGX_HTTP_INTENT_SECRET_H_INCLUDED_
#define _NGX_HTTP_INTENT_SECRET_H_INCLUDED_


#include "ngx_http_intent.h"


/* a page of zeroes for a secret; NULL: an [emerg] was logged, or no memory */
u_char *ngx_http_intent_secret_page(ngx_conf_t *cf);

/*
 * Reads size bytes of a file at the most; what it is called in messages, "key
 * file"; private 1: if nobody else can read it.  *path becomes a full one.
 * NGX_ERROR: an [emerg] was logged.
 */
ngx_int_t ngx_http_intent_secret_read(ngx_conf_t *cf, const char *what,
    ngx_str_t *path, ngx_uint_t private, u_char *text, size_t size,
    size_t *len);

/* keeps the page out of swap; locks are not inherited by workers */
void ngx_http_intent_secret_lock(u_char *page);


#endif /* _NGX_HTTP_INTENT_SECRET_H_INCLUDED_ */
