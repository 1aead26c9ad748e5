
/* private to src/api */


#ifndef _NGX_HTTP_INTENT_API_H_INCLUDED_
#define _NGX_HTTP_INTENT_API_H_INCLUDED_


#include "ngx_http_intent.h"
#include "ngx_http_intent_type.h"


/* why a POST was turned away: the label "reason" of intents_rejected_total */
typedef enum {
    NGX_HTTP_INTENT_REJECTED_JSON = 0,
    NGX_HTTP_INTENT_REJECTED_INVALID,
    NGX_HTTP_INTENT_REJECTED_USER,
    NGX_HTTP_INTENT_REJECTED_MEDIA_TYPE,
    NGX_HTTP_INTENT_REJECTED_TOO_LARGE,
    NGX_HTTP_INTENT_REJECTED_STORE,
    NGX_HTTP_INTENT_REJECTED_REASONS
} ngx_http_intent_rejected_e;


typedef enum {
    NGX_HTTP_INTENT_CACHE_NONE = 0,
    NGX_HTTP_INTENT_CACHE_HIT,
    NGX_HTTP_INTENT_CACHE_MISS,
    NGX_HTTP_INTENT_CACHE_BYPASS
} ngx_http_intent_cache_status_e;


typedef struct {
    ngx_str_t                      prefix;    /* as Location has it; data
                                                 NULL: no intent_api here */
    size_t                         skip;      /* of r->uri */
    size_t                         max_body;
    ngx_http_complex_value_t      *user;
} ngx_http_intent_api_loc_conf_t;


/* what a request is answered with instead of an intent */
typedef struct {
    ngx_uint_t                     status;
    ngx_uint_t                     reason;    /* ngx_http_intent_rejected_e */
    const char                    *detail;    /* NULL: that of the
                                                 first fault */
    ngx_array_t                    faults;    /* ngx_http_intent_fault_t */
} ngx_http_intent_problem_t;


typedef struct {
    ngx_http_request_t            *request;

    ngx_str_t                      id;        /* of a GET, lower case */
    ngx_str_t                      json;      /* as the cache had it */
    ngx_uint_t                     cache_status;

    ngx_http_intent_type_t        *type;      /* of a POST, once known */
    ngx_str_t                      user;      /* who calls, once known */
    ngx_http_intent_t             *intent;

    ngx_str_t                      body;
    size_t                         body_size;

    ngx_http_intent_change_t       change;
    ngx_http_intent_transition_t   transition;

    u_char                         id_buffer[NGX_HTTP_INTENT_ID_LEN];
} ngx_http_intent_api_ctx_t;


/* ---- handlers, as nginx's content handlers ---- */

ngx_int_t ngx_http_intent_api_create(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx);
ngx_int_t ngx_http_intent_api_get(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx);


/* ---- bodies ---- */

/*
 * Makes ctx->intent of ctx->body.  NGX_DECLINED: *problem says why not;
 * NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_intent_api_parse(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx, ngx_http_intent_problem_t *problem);

/* RFC 3339 into milliseconds since the epoch; NGX_ERROR: not such a time */
ngx_int_t ngx_http_intent_api_time(const u_char *p, size_t len,
    int64_t *msec);

/* is it UTF-8 throughout, without NUL? */
ngx_uint_t ngx_http_intent_api_is_utf8(ngx_str_t *s);


/* ---- answers: what they return is for ngx_http_finalize_request() ---- */

/* JSON of a pool that lives as long as the request */
ngx_int_t ngx_http_intent_api_send(ngx_http_request_t *r, ngx_uint_t status,
    ngx_str_t *json);

/*
 * RFC 9457.  detail NULL: there is nothing to add to the status; faults NULL:
 * there is no member "errors".
 */
ngx_int_t ngx_http_intent_api_problem(ngx_http_request_t *r, ngx_uint_t status,
    const char *detail, ngx_array_t *faults);

/* value is not copied */
ngx_int_t ngx_http_intent_api_header(ngx_http_request_t *r, const char *name,
    ngx_str_t *value);


/* ---- what happens while a handler is away ---- */

/*
 * A request that waits is not freed, whatever becomes of the client; to be
 * called once a callback is certain.  Its count is the caller's.
 */
void ngx_http_intent_api_wait(ngx_http_request_t *r);

/* in the callback, first; c->error may be set by then */
void ngx_http_intent_api_resume(ngx_http_request_t *r);

/* in the callback, last: r may be gone then */
void ngx_http_intent_api_finalize(ngx_http_request_t *r, ngx_int_t rc);

/* counts a POST that was not taken; type may be NULL */
void ngx_http_intent_api_rejected(ngx_http_intent_type_t *type,
    ngx_uint_t reason);


extern ngx_module_t  ngx_http_intent_api_module;


#endif /* _NGX_HTTP_INTENT_API_H_INCLUDED_ */
