
/*
 * Background posts: a POST to one of the operator's internal locations, made
 * from a timer or anywhere else, without a client's request.  What the
 * location does with it (proxy_pass, TLS, time limits) is the operator's.
 */


#ifndef _NGX_HTTP_INTENT_POST_H_INCLUDED_
#define _NGX_HTTP_INTENT_POST_H_INCLUDED_


#include "ngx_http_intent.h"


typedef struct ngx_http_intent_post_s  ngx_http_intent_post_t;

typedef void (*ngx_http_intent_post_pt)(void *data,
    ngx_http_intent_post_t *post);

/* what the handler may read; what it points to lives as long as the post */
struct ngx_http_intent_post_s {
    ngx_pool_t                *pool;
    ngx_int_t                  rc;          /* NGX_OK: a whole answer */
    ngx_uint_t                 status;      /* of HTTP; 0: none came */
    ngx_msec_t                 retry_after; /* as the server asks; 0: it does
                                               not */
    ngx_str_t                  body;

    /* what the caller sets: ms for the whole of it, bytes of the answer */
    ngx_msec_t                 timeout;
    size_t                     max_body;    /* 0: nobody reads the answer */

    /* private */
    ngx_queue_t                queue;
    const char                *name;
    ngx_http_intent_post_pt    handler;
    void                      *data;
    ngx_str_t                  uri;
    ngx_array_t               *headers;     /* of ngx_table_elt_t */
    ngx_connection_t          *connection;
    ngx_http_request_t        *request;
    ngx_http_request_t        *subrequest;
    ngx_log_t                  log;
    ngx_http_log_ctx_t         log_ctx;
    ngx_event_t                done;
    ngx_event_t                deadline;
    size_t                     size;        /* of body.data */
    unsigned                   late:1;      /* given up */
    unsigned                   overflow:1;
    unsigned                   no_memory:1;
};


/*
 * A pool for the post and what the caller puts into it; name is what the log
 * calls it: "rpc".  NULL: no memory.
 */
ngx_http_intent_post_t *ngx_http_intent_post_create(const char *name);

/*
 * Adds a header; what it points to is not copied, lowcase is key in lower
 * case.  NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_intent_post_header(ngx_http_intent_post_t *post,
    const char *key, const char *lowcase, ngx_str_t *value);

/*
 * Posts body (application/json) to the location of uri in the server of ctx;
 * neither is copied.  NGX_OK: handler will be called exactly once, never
 * before this returns, and then everything is freed.  NGX_ERROR: it will not
 * be called, and everything is freed.
 */
ngx_int_t ngx_http_intent_post_send(ngx_http_intent_post_t *post,
    ngx_str_t *uri, ngx_http_conf_ctx_t *ctx, ngx_str_t *body,
    ngx_http_intent_post_pt handler, void *data);

/* frees one that was not sent */
void ngx_http_intent_post_destroy(ngx_http_intent_post_t *post);

/* waits no longer: the handler is soon told that no answer came */
void ngx_http_intent_post_give_up(ngx_http_intent_post_t *post);

/* ends it soon: the handler will not be called */
void ngx_http_intent_post_cancel(ngx_http_intent_post_t *post);

/*
 * In postconfiguration: in which server is the location of uri, and is it
 * internal?  NULL: in none.
 */
ngx_http_conf_ctx_t *ngx_http_intent_post_find_server(ngx_conf_t *cf,
    ngx_str_t *uri, ngx_uint_t *internal);


#endif /* _NGX_HTTP_INTENT_POST_H_INCLUDED_ */
