
/*
 * Calls with arguments of elementary types:
 * https://docs.soliditylang.org/en/latest/abi-spec.html
 */


#include "evm_internal.h"


typedef struct {
    const char      *name;
    size_t           len;
    evm_abi_type_e   type;
    unsigned         size;
} evm_abi_name_t;


static int evm_abi_size_parse(const char *s, size_t len, unsigned *size);
static int evm_abi_identifier(const char *s, size_t len);
static int evm_abi_args_parse(const char *s, size_t len,
    evm_abi_function_t *fn, const char **err);
static const char *evm_abi_type_error(const char *s, size_t len);
static void evm_abi_selector(const char *name, size_t len,
    evm_abi_function_t *fn);
static size_t evm_abi_type_name(const evm_abi_type_t *t, char *out);
static int evm_abi_is_filled(const uint8_t *p, size_t len, uint8_t with);


/* the types that have one size, and "uint" and "int", which mean 256 bits */

static const evm_abi_name_t  evm_abi_names[] = {
    { "address", 7, EVM_ABI_ADDRESS, 0 },
    { "bool",    4, EVM_ABI_BOOL,    0 },
    { "bytes",   5, EVM_ABI_BYTES,   0 },
    { "string",  6, EVM_ABI_STRING,  0 },
    { "uint",    4, EVM_ABI_UINT,  256 },
    { "int",     3, EVM_ABI_INT,   256 },
    { NULL,      0, 0,               0 }
};


/* the stems that take a size, with its unit and limit */

static const evm_abi_name_t  evm_abi_stems[] = {
    { "uint",    4, EVM_ABI_UINT,         256 },
    { "int",     3, EVM_ABI_INT,          256 },
    { "bytes",   5, EVM_ABI_FIXED_BYTES,   32 },
    { NULL,      0, 0,                      0 }
};


/* the longest canonical name */
#define EVM_ABI_TYPE_NAME_LEN  (sizeof("uint256") - 1)


int
evm_abi_type_parse(const char *s, size_t len, evm_abi_type_t *t)
{
    unsigned               size;
    const evm_abi_name_t  *name;

    for (name = evm_abi_names; name->name; name++) {
        if (len == name->len && memcmp(s, name->name, len) == 0) {
            t->type = name->type;
            t->size = name->size;
            return EVM_OK;
        }
    }

    for (name = evm_abi_stems; name->name; name++) {

        if (len <= name->len || memcmp(s, name->name, name->len) != 0) {
            continue;
        }

        if (evm_abi_size_parse(s + name->len, len - name->len, &size)
            != EVM_OK)
        {
            return EVM_ERROR;
        }

        if (size > name->size
            || (name->type != EVM_ABI_FIXED_BYTES && size % 8))
        {
            return EVM_ERROR;
        }

        t->type = name->type;
        t->size = size;

        return EVM_OK;
    }

    return EVM_ERROR;
}


/* 1 to 999 without leading zeros */

static int
evm_abi_size_parse(const char *s, size_t len, unsigned *size)
{
    size_t    i;
    unsigned  v;

    if (len > 3 || s[0] == '0') {
        return EVM_ERROR;
    }

    v = 0;

    for (i = 0; i < len; i++) {

        if (s[i] < '0' || s[i] > '9') {
            return EVM_ERROR;
        }

        v = v * 10 + (unsigned) (s[i] - '0');
    }

    *size = v;

    return EVM_OK;
}


int
evm_abi_function_parse(const char *s, size_t len, evm_abi_function_t *fn,
    const char **err)
{
    int                  rc;
    size_t               name;
    const char          *paren, *why;
    evm_abi_function_t   f;

    why = NULL;
    rc = EVM_ERROR;

    paren = len ? memchr(s, '(', len) : NULL;
    name = paren ? (size_t) (paren - s) : len;

    if (paren == NULL || s[len - 1] != ')') {
        why = "must be of the form name(type,type)";

    } else if (evm_abi_identifier(s, name) != EVM_OK) {
        why = "the function's name must be an identifier: letters, digits, "
              "\"_\" and \"$\", no digit first";

    } else {
        memset(&f, 0, sizeof(f));
        rc = evm_abi_args_parse(paren + 1, len - name - 2, &f, &why);
    }

    if (rc != EVM_OK) {
        if (err) {
            *err = why;
        }

        return rc;
    }

    evm_abi_selector(s, name, &f);

    *fn = f;

    return EVM_OK;
}


static int
evm_abi_identifier(const char *s, size_t len)
{
    char    c;
    size_t  i;

    for (i = 0; i < len; i++) {

        c = s[i];

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
            || c == '_' || c == '$')
        {
            continue;
        }

        if (c >= '0' && c <= '9' && i) {
            continue;
        }

        return EVM_ERROR;
    }

    return len ? EVM_OK : EVM_ERROR;
}


/* what is between the parentheses */

static int
evm_abi_args_parse(const char *s, size_t len, evm_abi_function_t *fn,
    const char **err)
{
    size_t       n;
    const char  *comma, *end;

    if (len == 0) {
        return EVM_OK;
    }

    end = s + len;

    for ( ;; ) {

        comma = (s < end) ? memchr(s, ',', (size_t) (end - s)) : NULL;
        n = (size_t) ((comma ? comma : end) - s);

        if (fn->nargs == EVM_ABI_MAX_ARGS) {
            *err = "more than 32 arguments are not supported";
            return EVM_RANGE;
        }

        if (evm_abi_type_parse(s, n, &fn->args[fn->nargs]) != EVM_OK) {
            *err = evm_abi_type_error(s, n);
            return EVM_ERROR;
        }

        fn->nargs++;

        if (comma == NULL) {
            return EVM_OK;
        }

        s = comma + 1;
    }
}


static const char *
evm_abi_type_error(const char *s, size_t len)
{
    if (len == 0) {
        return "an argument's type is missing";
    }

    if (memchr(s, ' ', len) || memchr(s, '\t', len)) {
        return "spaces and argument names are not allowed";
    }

    if (memchr(s, '[', len) || memchr(s, '(', len)) {
        return "arrays and tuples are not supported";
    }

    return "the types are address, bool, string, bytes, bytes1 to bytes32, "
           "uint8 to uint256 and int8 to int256 in steps of 8";
}


static void
evm_abi_selector(const char *name, size_t len, evm_abi_function_t *fn)
{
    char          type[EVM_ABI_TYPE_NAME_LEN];
    uint8_t       hash[32];
    unsigned      i;
    evm_keccak_t  keccak;

    evm_keccak_init(&keccak);
    evm_keccak_update(&keccak, name, len);
    evm_keccak_update(&keccak, "(", 1);

    for (i = 0; i < fn->nargs; i++) {

        if (i) {
            evm_keccak_update(&keccak, ",", 1);
        }

        len = evm_abi_type_name(&fn->args[i], type);
        evm_keccak_update(&keccak, type, len);
    }

    evm_keccak_update(&keccak, ")", 1);
    evm_keccak_final(&keccak, hash);

    memcpy(fn->selector, hash, 4);
}


/* the canonical name, at most EVM_ABI_TYPE_NAME_LEN; returns its length */

static size_t
evm_abi_type_name(const evm_abi_type_t *t, char *out)
{
    size_t                 len;
    unsigned               scale;
    const evm_abi_name_t  *name;

    name = t->size ? evm_abi_stems : evm_abi_names;

    while (name->type != t->type) {
        name++;
    }

    len = name->len;
    memcpy(out, name->name, len);

    if (t->size == 0) {
        return len;
    }

    for (scale = 100; scale; scale /= 10) {
        if (t->size >= scale) {
            out[len++] = (char) ('0' + t->size / scale % 10);
        }
    }

    return len;
}


size_t
evm_abi_encoded_len(const evm_abi_function_t *fn,
    const evm_abi_value_t *values)
{
    size_t    len, tail;
    unsigned  i;

    len = 4 + 32 * (size_t) fn->nargs;

    for (i = 0; i < fn->nargs; i++) {

        if (!evm_abi_is_dynamic(&fn->args[i])) {
            continue;
        }

        /* the length and the data, padded */

        tail = values[i].len;

        if (tail > SIZE_MAX - 63 || ((tail + 63) & ~(size_t) 31)
                                    > SIZE_MAX - len)
        {
            return SIZE_MAX;
        }

        len += (tail + 63) & ~(size_t) 31;
    }

    return len;
}


int
evm_abi_encode(const evm_abi_function_t *fn, const evm_abi_value_t *values,
    uint8_t *out, size_t *n)
{
    size_t                  len, pad;
    uint8_t                *head, *tail;
    unsigned                i;
    evm_u256_t              word;
    const evm_abi_value_t  *v;

    for (i = 0; i < fn->nargs; i++) {
        if (evm_abi_check(&fn->args[i], &values[i]) != EVM_OK) {
            return EVM_RANGE;
        }
    }

    len = evm_abi_encoded_len(fn, values);

    if (len > *n || len == SIZE_MAX) {
        return EVM_NOSPACE;
    }

    memcpy(out, fn->selector, 4);

    head = out + 4;
    tail = head + 32 * (size_t) fn->nargs;

    for (i = 0; i < fn->nargs; i++, head += 32) {

        v = &values[i];

        if (!evm_abi_is_dynamic(&fn->args[i])) {
            memcpy(head, v->word, 32);
            continue;
        }

        evm_u256_set(&word, (uint64_t) (tail - out - 4));
        evm_u256_to_be(&word, head);

        evm_u256_set(&word, v->len);
        evm_u256_to_be(&word, tail);
        tail += 32;

        if (v->len) {
            memcpy(tail, v->data, v->len);
            tail += v->len;
        }

        pad = (32 - v->len % 32) % 32;
        memset(tail, 0, pad);
        tail += pad;
    }

    *n = len;

    return EVM_OK;
}


int
evm_abi_is_dynamic(const evm_abi_type_t *t)
{
    return t->type == EVM_ABI_BYTES || t->type == EVM_ABI_STRING;
}


int
evm_abi_check(const evm_abi_type_t *t, const evm_abi_value_t *v)
{
    int       ok;
    size_t    high;
    uint8_t   sign;

    switch (t->type) {

    case EVM_ABI_UINT:
        ok = evm_abi_is_filled(v->word, 32 - t->size / 8, 0);
        break;

    case EVM_ABI_INT:

        /* the bytes above repeat the sign, the top bit of those that count */

        high = 32 - t->size / 8;
        sign = (v->word[high] & 0x80) ? 0xff : 0;
        ok = evm_abi_is_filled(v->word, high, sign);
        break;

    case EVM_ABI_ADDRESS:
        ok = evm_abi_is_filled(v->word, 32 - EVM_ADDRESS_LEN, 0);
        break;

    case EVM_ABI_BOOL:
        ok = evm_abi_is_filled(v->word, 31, 0) && v->word[31] <= 1;
        break;

    case EVM_ABI_FIXED_BYTES:
        ok = evm_abi_is_filled(v->word + t->size, 32 - t->size, 0);
        break;

    default: /* EVM_ABI_BYTES, EVM_ABI_STRING */
        ok = (v->len == 0 || v->data != NULL);
        break;
    }

    return ok ? EVM_OK : EVM_RANGE;
}


static int
evm_abi_is_filled(const uint8_t *p, size_t len, uint8_t with)
{
    size_t  i;

    for (i = 0; i < len; i++) {
        if (p[i] != with) {
            return 0;
        }
    }

    return 1;
}
