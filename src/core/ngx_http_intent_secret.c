
/*
 * Secrets of the configuration.
 */


#include "ngx_http_intent_secret.h"

#include <sys/mman.h>


static void ngx_http_intent_secret_wipe(void *data);


u_char *
ngx_http_intent_secret_page(ngx_conf_t *cf)
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

    cln->handler = ngx_http_intent_secret_wipe;
    cln->data = page;

#ifdef MADV_DONTDUMP
    (void) madvise(page, ngx_pagesize, MADV_DONTDUMP);
#endif

    return page;
}


static void
ngx_http_intent_secret_wipe(void *data)
{
    ngx_explicit_memzero(data, ngx_pagesize);

    (void) munmap(data, ngx_pagesize);
}


ngx_int_t
ngx_http_intent_secret_read(ngx_conf_t *cf, const char *what,
    ngx_str_t *path, ngx_uint_t private, u_char *text, size_t size,
    size_t *len)
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

    if (private && (ngx_file_access(&fi) & 0077)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%s \"%V\" can be read by others, "
                           "make it \"chmod 600\"", what, path);
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


void
ngx_http_intent_secret_lock(u_char *page)
{
    /* what the system does not grant is no reason not to start */

    (void) mlock(page, ngx_pagesize);
}
