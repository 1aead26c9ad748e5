
/* private to src/api */


#ifndef _NGX_HTTP_INTENT_API_H_INCLUDED_
#define _NGX_HTTP_INTENT_API_H_INCLUDED_


#include "ngx_http_intent.h"
#include "ngx_http_intent_type.h"
#include "ngx_http_intent_store.h"
#include "ngx_http_intent_chain.h"


/* why a POST was turned away: the label "reason" of intents_rejected_total */
typedef enum {
    NGX_HTTP_INTENT_REJECTED_JSON = 0,
    NGX_HTTP_INTENT_REJECTED_INVALID,
    NGX_HTTP_INTENT_REJECTED_SIGNATURE,
    NGX_HTTP_INTENT_REJECTED_USER,
    NGX_HTTP_INTENT_REJECTED_DUPLICATE,
    NGX_HTTP_INTENT_REJECTED_BATCH,
    NGX_HTTP_INTENT_REJECTED_LIMIT,
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


/* intent_signature */
typedef enum {
    NGX_HTTP_INTENT_SIGNATURE_OFF = 0,
    NGX_HTTP_INTENT_SIGNATURE_OPTIONAL,
    NGX_HTTP_INTENT_SIGNATURE_REQUIRED
} ngx_http_intent_signature_e;


/* characters of a userId, and bytes: all of UTF-8 */
#define NGX_HTTP_INTENT_API_MAX_USER       256

/* bytes of a contract wallet's signature */
#define NGX_HTTP_INTENT_API_MAX_SIGNATURE  4096

/* the last second of the year 9999, which is the last that RFC 3339 has */
#define NGX_HTTP_INTENT_API_MAX_SECONDS    253402300799LL

/*
 * How far ahead the deadline of a signed intent may be: its digest has to be
 * kept until then.
 */
#define NGX_HTTP_INTENT_API_MAX_DAYS       31

/* the integers that every JSON reader has exactly: RFC 7493, 2.2 */
#define NGX_HTTP_INTENT_API_MAX_EXACT      9007199254740991LL


/* what GET .../types answers at a location, once it was asked for */
typedef struct {
    ngx_str_t                      json;      /* data NULL: not yet */
    ngx_str_t                      etag;
} ngx_http_intent_api_types_t;


typedef struct {
    ngx_str_t                      prefix;    /* as Location has it; data
                                                 NULL: no intent_api here */
    size_t                         skip;      /* of r->uri */
    size_t                         max_body;
    ngx_http_complex_value_t      *user;
    ngx_uint_t                     signature; /* ngx_http_intent_signature_e */
    ngx_int_t                      batch;     /* items; 0: no arrays */
    ngx_http_intent_api_types_t   *types;
} ngx_http_intent_api_loc_conf_t;


/* the counters of one type; those of no type have an empty name */
typedef struct {
    ngx_str_t                        type;
    ngx_http_intent_stat_t          *rejected
                                         [NGX_HTTP_INTENT_REJECTED_REASONS];
    ngx_http_intent_stat_t          *replayed[2];
} ngx_http_intent_api_stats_t;


typedef struct {
    ngx_uint_t                       used;
    ngx_uint_t                       has_users;  /* of any location */
    ngx_array_t                      stats;  /* ngx_http_intent_api_stats_t */
    ngx_array_t                      types;  /* ngx_str_t, with a zero */
    ngx_array_t                      chains; /* the same */
} ngx_http_intent_api_main_conf_t;


/* what an intent is answered with instead of itself */
typedef struct {
    ngx_uint_t                     status;
    ngx_uint_t                     reason;    /* ngx_http_intent_rejected_e */
    const char                    *detail;    /* NULL: that of the
                                                 first fault */
    ngx_array_t                    faults;    /* ngx_http_intent_fault_t */
} ngx_http_intent_problem_t;


typedef struct ngx_http_intent_api_ctx_s   ngx_http_intent_api_ctx_t;


/* one intent of a POST, until it is known what to answer */
typedef struct {
    ngx_http_intent_api_ctx_t     *ctx;
    ngx_http_intent_type_t        *type;      /* once known */
    ngx_http_intent_t              intent;

    /* the answer: the intent or, from 400 on, the problem */
    ngx_uint_t                     status;    /* 0: not known yet */
    ngx_http_intent_problem_t      problem;

    ngx_http_intent_change_t       change;
    ngx_http_intent_transition_t   transition;
    ngx_http_intent_admission_t   *admission; /* NULL: can be no duplicate */

    unsigned                       is_signed:1;
    unsigned                       whole_seconds:1;   /* has expiresAt */
    unsigned                       replayed:1;        /* its key was known */

    const char                    *why;       /* it did not recover */

    u_char                         id_buffer[NGX_HTTP_INTENT_ID_LEN];
    u_char                         digest[EVM_HASH_LEN];
    u_char                         signer[EVM_ADDRESS_LEN]; /* recovered */
    u_char                         owner[EVM_ADDRESS_LEN];  /* userId */
    u_char                         user_buffer[EVM_ADDRESS_STR_LEN];
} ngx_http_intent_api_item_t;


/* a POST, from its body on */
typedef struct {
    ngx_str_t                      body;
    size_t                         body_size;

    json_t                        *root;      /* while items are made of it */
    ngx_http_intent_api_item_t    *items;
    ngx_uint_t                     nitems;
    ngx_uint_t                     next;      /* the first not yet read */
    ngx_uint_t                     waiting;   /* answers to come */
    ngx_uint_t                     batch;     /* the body is an array */
    ngx_array_t                   *refused;   /* ..._item_t *, whose keys
                                                 are to be looked for */
    ngx_event_t                    event;     /* the next turn's items */
    ngx_connection_t               dumb;      /* of that event */

    ngx_str_t                      key;       /* Idempotency-Key */
    u_char                         fingerprint[32];
} ngx_http_intent_api_post_t;


struct ngx_http_intent_api_ctx_s {
    ngx_http_request_t            *request;

    ngx_str_t                      id;        /* of a path, lower case */
    ngx_str_t                      json;      /* as the cache had it */
    ngx_uint_t                     cache_status;

    ngx_str_t                      user;      /* who calls, once known */
    ngx_http_intent_t             *intent;    /* NULL: none, or many */
    ngx_http_intent_type_t        *type;      /* of a POST of one */

    ngx_http_intent_api_post_t    *post;

    u_char                         id_buffer[NGX_HTTP_INTENT_ID_LEN];
};


/* ---- handlers, as nginx's content handlers ---- */

ngx_int_t ngx_http_intent_api_create(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx);
ngx_int_t ngx_http_intent_api_get(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx);
ngx_int_t ngx_http_intent_api_list(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx);
ngx_int_t ngx_http_intent_api_stream(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx);
ngx_int_t ngx_http_intent_api_events(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx);
ngx_int_t ngx_http_intent_api_cancel(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx);
ngx_int_t ngx_http_intent_api_get_types(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx);


/* ---- POST ---- */

/*
 * NGX_BUSY is what our own functions say of an answer that is still to come.
 * It is not NGX_AGAIN, for that says of an answer that was given that the
 * client has not read it yet.
 */

/*
 * Reads the body into ctx->post, then calls ngx_http_intent_api_accept();
 * returns as a content handler does.
 */
ngx_int_t ngx_http_intent_api_read(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx);

/*
 * The body is whole.  NGX_BUSY: the answer comes later; else it is for
 * ngx_http_finalize_request().
 */
ngx_int_t ngx_http_intent_api_accept(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx);

/* what the items came to; returns what is for ngx_http_finalize_request() */
ngx_int_t ngx_http_intent_api_answer_post(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx);


/* ---- bodies ---- */

/*
 * The JSON of a body, a new reference.  NULL: there is a fault that says why;
 * without one there was no memory.
 */
json_t *ngx_http_intent_api_load(ngx_str_t *body, ngx_array_t *faults);

/*
 * Makes the intent of an item of JSON.  NGX_DECLINED: the item's problem says
 * why not; NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_intent_api_parse(ngx_http_intent_api_item_t *item,
    json_t *json);

/*
 * RFC 3339 into milliseconds since the epoch, and whether that is all of it,
 * without a fraction of a second; NGX_ERROR: not such a time.
 */
ngx_int_t ngx_http_intent_api_time(const u_char *p, size_t len,
    int64_t *msec, ngx_uint_t *whole);

/* is it UTF-8 throughout, without NUL? */
ngx_uint_t ngx_http_intent_api_is_utf8(ngx_str_t *s);

/* of the expression that ngx_http_intent_api_time() follows */
extern const char  ngx_http_intent_api_time_pattern[];


/* ---- who calls ---- */

/*
 * Sets ctx->user to what intent_user says, an address in its EIP-55 form;
 * empty where it says nothing.  NGX_DECLINED: it cannot be a user's name;
 * NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_intent_api_user(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx);

/*
 * The beginning of a request that has no body and is about the caller's own:
 * the body is discarded, ctx->user is set.  NGX_DECLINED: it is answered
 * already, or is to be, and *answer is what the handler returns.
 */
ngx_int_t ngx_http_intent_api_enter(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx, ngx_int_t *answer);

extern const char  ngx_http_intent_api_bad_user[];

/* "0x" and 40 hex digits of any case: an address */
ngx_uint_t ngx_http_intent_api_is_address(ngx_str_t *s,
    u_char address[EVM_ADDRESS_LEN]);

/* addresses are the same in any case */
ngx_uint_t ngx_http_intent_api_same_user(ngx_str_t *a, ngx_str_t *b);


/* ---- signatures ---- */

/*
 * The digest of a signed item, whose userId is an address, and who signed it.
 * NGX_OK: the signer is its user; NGX_AGAIN: the user may be a contract that
 * says so, it is to be asked with ngx_http_intent_api_ask_wallet();
 * NGX_DECLINED: the problem says what is wrong; NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_intent_api_check_signature(
    ngx_http_intent_api_item_t *item);

/*
 * Asks the contract that userId names; handler is called once, later, with the
 * item.  NGX_DECLINED: not possible, the problem says so, handler is not
 * called.
 */
ngx_int_t ngx_http_intent_api_ask_wallet(ngx_http_intent_api_item_t *item,
    ngx_http_intent_signature_pt handler);

/* in that handler, with what it was told; returns as check_signature does */
ngx_int_t ngx_http_intent_api_wallet_said(ngx_http_intent_api_item_t *item,
    ngx_int_t rc);

/* NGX_DECLINED, with one fault; NGX_ERROR: no memory */
ngx_int_t ngx_http_intent_api_deny(ngx_http_intent_api_item_t *item,
    ngx_uint_t status, ngx_uint_t reason, const char *pointer,
    const char *detail);


/* ---- Idempotency-Key ---- */

/*
 * Sets post->key and fingerprint; the key stays empty where there is none.
 * NGX_DECLINED: *why says what is wrong with it.
 */
ngx_int_t ngx_http_intent_api_key(ngx_http_request_t *r,
    ngx_http_intent_api_post_t *post, const char **why);

/* makes item->admission, if there is a need; NGX_ERROR: no memory */
ngx_int_t ngx_http_intent_api_admission(ngx_http_intent_api_item_t *item);

/*
 * Of an item that is refused: makes item->admission, for its key to be looked
 * for.  NGX_DECLINED: nothing was kept with its key; NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_intent_api_refused_admission(
    ngx_http_intent_api_item_t *item);


/* ---- answers: what they return is for ngx_http_finalize_request() ---- */

/* JSON of a pool that lives as long as the request */
ngx_int_t ngx_http_intent_api_send(ngx_http_request_t *r, ngx_uint_t status,
    ngx_str_t *json);

/* the same with 200, as what may have changed when it is asked for again */
ngx_int_t ngx_http_intent_api_send_current(ngx_http_request_t *r,
    ngx_str_t *json);

/*
 * RFC 9457.  detail NULL: there is nothing to add to the status; faults NULL:
 * there is no member "errors".  The pointer of a fault is one of RFC 6901,
 * or "?" and the name of an argument of the request.
 */
ngx_int_t ngx_http_intent_api_problem(ngx_http_request_t *r, ngx_uint_t status,
    const char *detail, ngx_array_t *faults);

/* its JSON alone; data NULL: no memory */
ngx_str_t ngx_http_intent_api_problem_json(ngx_pool_t *pool,
    ngx_uint_t status, const char *detail, ngx_array_t *faults);

/* the path of an intent; data NULL: no memory */
ngx_str_t ngx_http_intent_api_location(ngx_http_request_t *r,
    ngx_http_intent_t *in);


/*
 * Before a request is refused whose body was not read.  Who asks with
 * "Expect: 100-continue" whether to send it is not told to; nobody knows then
 * if it comes all the same, so that no other request can follow on the
 * connection: RFC 9110, 10.1.1.  As ngx_http_discard_request_body() returns.
 */
ngx_int_t ngx_http_intent_api_discard(ngx_http_request_t *r);


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


/* ---- statistics; type may be NULL ---- */

/* counts an intent that was not taken */
void ngx_http_intent_api_rejected(ngx_http_intent_type_t *type,
    ngx_uint_t reason);

/* counts one that was there already, by its signature or its key */
void ngx_http_intent_api_replayed(ngx_http_intent_type_t *type,
    ngx_uint_t by_signature);

/* during configuration; type empty: the counters of what names none */
ngx_int_t ngx_http_intent_api_add_stats(ngx_conf_t *cf,
    ngx_http_intent_api_main_conf_t *amcf, ngx_str_t *type);


/* ---- names of the configuration, each followed by a zero ---- */

/* the names of all chains, ngx_str_t */
ngx_array_t *ngx_http_intent_api_chains(void);
/* the same of all types */
ngx_array_t *ngx_http_intent_api_type_names(void);


/* ---- variables ---- */

ngx_int_t ngx_http_intent_api_add_variables(ngx_conf_t *cf);


extern ngx_module_t  ngx_http_intent_api_module;


#endif /* _NGX_HTTP_INTENT_API_H_INCLUDED_ */
