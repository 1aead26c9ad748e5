
/*
 * What an intent may be: the intent_type blocks, the check of a body's params
 * against them, and the call that a type makes of params.
 */


#ifndef _NGX_HTTP_INTENT_TYPE_H_INCLUDED_
#define _NGX_HTTP_INTENT_TYPE_H_INCLUDED_


#include "ngx_http_intent.h"
#include "evm.h"

#include <jansson.h>


typedef struct ngx_http_intent_type_s  ngx_http_intent_type_t;


/* in the running configuration; NULL: no such type */
ngx_http_intent_type_t *ngx_http_intent_type_find(ngx_str_t *name);

ngx_str_t *ngx_http_intent_type_name(ngx_http_intent_type_t *type);
ngx_str_t *ngx_http_intent_type_label(ngx_http_intent_type_t *type);
/* the chain that the type names; empty: the first chain there is */
ngx_str_t *ngx_http_intent_type_chain(ngx_http_intent_type_t *type);

/* ---- checking ---- */

typedef struct {
    ngx_str_t                pointer;   /* RFC 6901, "/params/amount" */
    ngx_str_t                detail;    /* a sentence, no full stop */
} ngx_http_intent_fault_t;


/*
 * Checks params (a JSON object, "/params" of the body) and appends a fault
 * for everything that is wrong (strings from faults->pool).  Where nothing
 * is wrong, *canonical becomes the JSON text that is kept: the params in the
 * order of the configuration, addresses with their checksum, numbers as
 * decimal strings.  NGX_OK, NGX_DECLINED (faults were added), NGX_ERROR (no
 * memory).
 */
ngx_int_t ngx_http_intent_type_check(ngx_http_intent_type_t *type,
    json_t *params, ngx_array_t *faults, ngx_pool_t *pool,
    ngx_str_t *canonical);

/*
 * Appends a fault; pointer and the rest are copied.  fmt as
 * ngx_snprintf() has it.  NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_intent_type_fault(ngx_array_t *faults, const char *pointer,
    const char *fmt, ...);

/*
 * The same for a member of parent; its name may hold anything and is escaped
 * in the pointer.  Both add nothing more once there are very many.
 */
ngx_int_t ngx_http_intent_type_fault_member(ngx_array_t *faults,
    const char *parent, const char *member, const char *fmt, ...);


/* ---- views: what a client needs to make a body, and to sign it ---- */

/*
 * A pattern for texts without NUL and without half a surrogate pair, which
 * cannot be sent.  No two kinds of regular expressions name a surrogate alike,
 * and most do not know look-ahead: so what stands in the class are U+D7FF and
 * U+E000 themselves, between which nothing but surrogates is, and behind it
 * these two are let in again.
 */
#define NGX_HTTP_INTENT_TYPE_TEXT                                             \
    "^[^\\x00\xed\x9f\xbf-\xee\x80\x80]*"                                     \
    "(?:[\xed\x9f\xbf\xee\x80\x80][^\\x00\xed\x9f\xbf-\xee\x80\x80]*)*$"

/*
 * The JSON Schema (2020-12) of params, a new reference; what it accepts is
 * what ngx_http_intent_type_check() accepts.  NULL: no memory.
 */
json_t *ngx_http_intent_type_schema(ngx_http_intent_type_t *type);

/*
 * Adds to the schema of a body, whose member "params" has them, what calls ask
 * of its userId, expiresAt and nonce, as ngx_http_intent_type_bound() does;
 * named: nobody but the body says who the user is.  NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_intent_type_schema_body(ngx_http_intent_type_t *type,
    ngx_uint_t named, json_t *schema);

/*
 * The EIP-712 struct of a signed intent: its name (that of the type, the
 * first letter upper case) and its fields, as "types" of eth_signTypedData_v4
 * has them ([{"name":"recipient","type":"address"}, …, {"name":"user",
 * "type":"address"}, {"name":"nonce","type":"uint256"}, {"name":"deadline",
 * "type":"uint256"}]), a new reference.
 * decimal=N is a uint256 scaled by 10^N, enum a string, a param that is left
 * out its default, or without one the zero of its type.
 */
ngx_str_t *ngx_http_intent_type_struct(ngx_http_intent_type_t *type);
json_t *ngx_http_intent_type_struct_fields(ngx_http_intent_type_t *type);

/*
 * hashStruct() of params (canonical, as the check gave them), the address of
 * who signs, a nonce and a deadline in Unix seconds.  NGX_DECLINED: faults
 * were added, for there are params that may be kept but not signed: an
 * optional one that is given and zero would hash as if it were not; NGX_ERROR:
 * no memory.
 */
ngx_int_t ngx_http_intent_type_hash(ngx_http_intent_type_t *type,
    ngx_str_t *params, u_char user[EVM_ADDRESS_LEN], evm_u256_t *nonce,
    uint64_t deadline, ngx_array_t *faults, ngx_pool_t *pool, u_char hash[32]);

/*
 * While a directive is read: it needs types that a signature can tell apart
 * (no two structs of one name, none called EIP712Domain), which is checked at
 * the end of the configuration.  No param is called "user", "nonce" or
 * "deadline".
 */
void ngx_http_intent_type_need_signable(ngx_conf_t *cf);


/* ---- calling ---- */

typedef struct {
    uint8_t                  to[20];
    evm_u256_t               value;     /* wei */
    ngx_str_t                data;      /* calldata, may be empty */
    uint64_t                 gas;       /* 0: to be estimated */
} ngx_http_intent_call_t;


/*
 * Do the user, the deadline and the nonce of an intent fit its call?  A fault
 * for each that does not is added to faults (pointers into the body).
 * NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_intent_type_bound(ngx_http_intent_type_t *type,
    ngx_http_intent_t *in, ngx_array_t *faults);

/*
 * The call that an intent of this type makes: of the first "call" whose
 * when= and unless= hold.  params is the canonical text that
 * ngx_http_intent_type_check() gave; memory from pool.  NGX_DECLINED: no
 * call holds, or a value does not fit, *err says which; NGX_ERROR: no
 * memory.
 */
ngx_int_t ngx_http_intent_type_call(ngx_http_intent_type_t *type,
    ngx_http_intent_t *in, ngx_pool_t *pool, ngx_http_intent_call_t *call,
    ngx_str_t *err);


extern ngx_module_t  ngx_http_intent_type_module;


#endif /* _NGX_HTTP_INTENT_TYPE_H_INCLUDED_ */
