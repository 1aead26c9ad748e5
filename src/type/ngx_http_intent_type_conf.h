
/* private to src/type */


#ifndef _NGX_HTTP_INTENT_TYPE_CONF_H_INCLUDED_
#define _NGX_HTTP_INTENT_TYPE_CONF_H_INCLUDED_


#include "ngx_http_intent_type.h"


/* where label, chain, param and call stand: a bit nginx does not use */
#define NGX_HTTP_INTENT_TYPE_CONF  0x00100000

/* the integers that every JSON reader has exactly: RFC 7493, 2.2 */
#define NGX_HTTP_INTENT_MAX_EXACT  9007199254740991LL

/* the bits of a uint64_t, in which calls keep sets of params */
#define NGX_HTTP_INTENT_TYPE_MAX_PARAMS  64


/* ---- values ---- */

/* the constraints that a row of the table knows */
#define NGX_HTTP_INTENT_VALUE_POSITIVE  0x01
#define NGX_HTTP_INTENT_VALUE_MIN       0x02
#define NGX_HTTP_INTENT_VALUE_MAX       0x04
#define NGX_HTTP_INTENT_VALUE_LENGTH    0x08

#define NGX_HTTP_INTENT_VALUE_NUMBER    (NGX_HTTP_INTENT_VALUE_POSITIVE       \
                                         |NGX_HTTP_INTENT_VALUE_MIN           \
                                         |NGX_HTTP_INTENT_VALUE_MAX)

/* kept as a JSON literal, not as a string */
#define NGX_HTTP_INTENT_VALUE_BARE      0x10


#define NGX_HTTP_INTENT_VALUE_NEGATIVE      "must not be negative"
#define NGX_HTTP_INTENT_VALUE_NOT_POSITIVE  "must be positive"


typedef struct ngx_http_intent_param_s       ngx_http_intent_param_t;
typedef struct ngx_http_intent_value_type_s  ngx_http_intent_value_type_t;


typedef struct {
    ngx_str_t                      text;      /* canonical, not yet escaped */
    evm_u256_t                     number;    /* two's complement; an enum's
                                                 index; a bool's 0 or 1 */
    ngx_uint_t                     negative;
    ngx_str_t                      data;      /* what the ABI calls bytes */
    u_char                         buffer[128];
} ngx_http_intent_value_t;


struct ngx_http_intent_value_type_s {
    ngx_str_t                      name;
    ngx_uint_t                     flags;

    /* the ABI types that take it, as bits of evm_abi_type_e */
    ngx_uint_t                     abi;

    /* the one that it has in the struct that is signed */
    ngx_str_t                      member;

    /* what is told when a value is not of the type at all */
    const char                    *expects;

    /*
     * What stands after "=" in the configuration ("decimal=18"); returns
     * NULL, or what it should be.  A type without it takes nothing there.
     */
    const char                  *(*setup)(ngx_conf_t *cf,
                                          ngx_http_intent_param_t *param,
                                          ngx_str_t *argument);

    /*
     * Fills the value, whose strings may point into json.  NGX_DECLINED:
     * *why says what it must be; NGX_ERROR: no memory.
     */
    ngx_int_t                    (*parse)(ngx_http_intent_param_t *param,
                                          json_t *json, ngx_pool_t *pool,
                                          ngx_http_intent_value_t *value,
                                          const char **why);
};


ngx_http_intent_value_type_t *ngx_http_intent_value_type(ngx_str_t *name);

/* the row that reads a literal for an argument of this ABI type */
ngx_http_intent_value_type_t *ngx_http_intent_value_type_abi(
    evm_abi_type_t *abi);

/* a value from the text of a directive; lives as long as the pool */
ngx_int_t ngx_http_intent_value_literal(ngx_http_intent_param_t *param,
    ngx_str_t *text, ngx_pool_t *pool, ngx_http_intent_value_t *value,
    const char **why);

/* as ngx_memcmp(), by the numbers' signs */
ngx_int_t ngx_http_intent_value_cmp(ngx_http_intent_value_t *a,
    ngx_http_intent_value_t *b);

/* of two's complement */
void ngx_http_intent_value_negate(evm_u256_t *number);

/* NGX_DECLINED: the number does not fit the ABI type's bits */
ngx_int_t ngx_http_intent_value_abi(ngx_http_intent_value_t *value,
    evm_abi_type_t *abi, evm_abi_value_t *out);


/* ---- params ---- */

struct ngx_http_intent_param_s {
    ngx_str_t                      name;
    ngx_http_intent_value_type_t  *type;
    const char                    *expects;

    ngx_uint_t                     places;    /* decimal= */
    ngx_array_t                   *words;     /* enum=, ngx_str_t */

    ngx_http_intent_value_t       *preset;    /* default= */
    ngx_http_intent_value_t       *min;
    ngx_http_intent_value_t       *max;
    const char                    *min_why;
    const char                    *max_why;

    size_t                         min_length;
    size_t                         max_length;
    const char                    *length_why;

    unsigned                       optional:1;
    unsigned                       positive:1;
};


/* may the params of an intent lack it? */
#define ngx_http_intent_param_may_lack(param)                                 \
    ((param)->optional && (param)->preset == NULL)


char *ngx_http_intent_type_param(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* index, or NGX_ERROR */
ngx_int_t ngx_http_intent_param_find(ngx_http_intent_type_t *type,
    const u_char *name, size_t len);

/* parses and checks; as a row's parse */
ngx_int_t ngx_http_intent_param_check(ngx_http_intent_param_t *param,
    json_t *json, ngx_pool_t *pool, ngx_http_intent_value_t *value,
    const char **why);


/* ---- ranges, of params that are numbers ---- */

typedef struct {
    evm_u256_t                     number;    /* two's complement, scaled */
    ngx_uint_t                     negative;
} ngx_http_intent_bound_t;


typedef struct {
    ngx_http_intent_bound_t        low;
    ngx_http_intent_bound_t        high;      /* both belong to it */
} ngx_http_intent_range_t;


/* no pattern is longer */
#define NGX_HTTP_INTENT_PATTERN_LEN  16384

/* what the type of a param and its constraints allow; may be empty */
void ngx_http_intent_range(ngx_http_intent_param_t *param,
    ngx_http_intent_range_t *range);

/* what an integer of the ABI has */
void ngx_http_intent_range_type(ngx_http_intent_range_t *range,
    evm_abi_type_t *abi);

/* leaves of it what fits the ABI type; 0: that is all of it */
ngx_uint_t ngx_http_intent_range_narrow(ngx_http_intent_range_t *range,
    evm_abi_type_t *abi);

ngx_uint_t ngx_http_intent_range_is_empty(ngx_http_intent_range_t *range);

ngx_uint_t ngx_http_intent_range_has(ngx_http_intent_range_t *range,
    ngx_http_intent_value_t *value);

/*
 * A regular expression (ECMA-262, also Perl's, Python's and RE2's) for the
 * texts of the numbers of a range that is not empty; returns its length, 0:
 * it would be longer than NGX_HTTP_INTENT_PATTERN_LEN.
 */
size_t ngx_http_intent_range_pattern(ngx_http_intent_range_t *range,
    ngx_uint_t places, u_char *pattern);

/* the JSON numbers that are taken of it; 0: none */
ngx_uint_t ngx_http_intent_range_exact(ngx_http_intent_range_t *range,
    ngx_uint_t places, int64_t *low, int64_t *high);


/* ---- calls ---- */

typedef enum {
    NGX_HTTP_INTENT_OPERAND_LITERAL = 0,
    NGX_HTTP_INTENT_OPERAND_PARAM,
    NGX_HTTP_INTENT_OPERAND_USER,
    NGX_HTTP_INTENT_OPERAND_ID,
    NGX_HTTP_INTENT_OPERAND_DEADLINE,
    NGX_HTTP_INTENT_OPERAND_NONCE,
    NGX_HTTP_INTENT_OPERAND_SIGNATURE
} ngx_http_intent_operand_e;


typedef struct {
    ngx_uint_t                     source;    /* ngx_http_intent_operand_e */
    ngx_uint_t                     param;     /* its index */
    evm_abi_type_t                 abi;
    evm_abi_value_t                literal;
} ngx_http_intent_operand_t;


typedef struct {
    /* sets of params, by index */
    uint64_t                       when;
    uint64_t                       unless;
    uint64_t                       used;

    ngx_http_intent_operand_t      to;
    ngx_http_intent_operand_t      value;
    uint64_t                       gas;

    evm_abi_function_t            *function;  /* NULL: no calldata */
    ngx_http_intent_operand_t     *args;
} ngx_http_intent_type_call_t;


char *ngx_http_intent_type_call_conf(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* the call that these params make; NULL: none */
ngx_http_intent_type_call_t *ngx_http_intent_type_choose(
    ngx_http_intent_type_t *type, json_t *params);

/*
 * The value of an operand; values are those of the type's params.
 * NGX_DECLINED: it does not fit the ABI type; of the user: it is no address.
 */
ngx_int_t ngx_http_intent_operand_value(ngx_http_intent_operand_t *op,
    ngx_http_intent_value_t **values, ngx_http_intent_t *in,
    evm_abi_value_t *out);


/* ---- types ---- */

typedef struct {
    u_char                        *file;
    ngx_uint_t                     line;
} ngx_http_intent_type_place_t;


struct ngx_http_intent_type_s {
    ngx_http_intent_name_t        *name;
    ngx_str_t                      title;     /* the label, capitalised */
    ngx_str_t                      chain;
    ngx_str_t                      required;  /* "recipient and amount" */

    ngx_array_t                    params;    /* ngx_http_intent_param_t */
    ngx_array_t                    calls;     /* ngx_http_intent_type_call_t */
    ngx_uint_t                     bound;     /* a call may not take each user,
                                                 deadline or nonce */

    /* what is signed: "Transfer", "Transfer(address recipient,...)" */
    ngx_str_t                      struct_name;
    ngx_str_t                      struct_type;
    evm_abi_type_t                *members;   /* of the struct */

    ngx_http_intent_type_place_t   place;
    ngx_http_intent_type_place_t   chain_place;
};


typedef struct {
    ngx_array_t                    types;     /* ngx_http_intent_type_t * */

    /* of the directive that needs types to be signed; file NULL: none */
    ngx_http_intent_type_place_t   signable;
} ngx_http_intent_type_main_conf_t;


/* the one whose block is being read */
#define ngx_http_intent_type_current(tmcf)                                    \
    (((ngx_http_intent_type_t **) (tmcf)->types.elts)                         \
     [(tmcf)->types.nelts - 1])


/* where the directive stands that is being read */
ngx_http_intent_type_place_t ngx_http_intent_type_place(ngx_conf_t *cf);

/* at the end of a block: the struct that is signed; NGX_ERROR: no memory */
ngx_int_t ngx_http_intent_type_struct_init(ngx_conf_t *cf,
    ngx_http_intent_type_t *type);

/* NGX_ERROR was logged: types that cannot be told apart by a signature */
ngx_int_t ngx_http_intent_type_check_signable(ngx_conf_t *cf,
    ngx_http_intent_type_main_conf_t *tmcf);

/* "a", "a and b", "a, b and c" of strings; data NULL: no memory */
ngx_str_t ngx_http_intent_type_list(ngx_pool_t *pool, ngx_array_t *words,
    const char *before);

/* as jansson reads it: strings that are to stand in JSON must be */
ngx_uint_t ngx_http_intent_type_is_utf8(ngx_str_t *text);

/*
 * Behind the "=" of a word, as in function="f(address)": nginx takes quotes
 * away only around a whole word.
 */
void ngx_http_intent_type_unquote(ngx_str_t *value);

/* letters, digits, "_", no digit first, at most 64 */
ngx_uint_t ngx_http_intent_type_is_identifier(ngx_str_t *name);


#endif /* _NGX_HTTP_INTENT_TYPE_CONF_H_INCLUDED_ */
