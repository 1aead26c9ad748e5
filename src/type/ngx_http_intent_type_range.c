
/*
 * The numbers that a param may be, and the regular expression that says so to
 * readers of a JSON Schema, whose "minimum" is a double to most of them.
 */


#include "ngx_http_intent_type_conf.h"


typedef struct {
    u_char                        *pos;
    u_char                        *last;
} ngx_http_intent_pattern_t;


/* digits between two bounds of the same length; a bound of NULL is none */
typedef struct {
    u_char                        *low;
    u_char                        *high;
    ngx_uint_t                     n;
    ngx_uint_t                     fraction;  /* it may end at any digit */
} ngx_http_intent_digits_t;


/* a number as it is written, with zeros before it if it has only places */
typedef struct {
    u_char                         text[2 * EVM_U256_DEC_LEN];
    u_char                        *fraction;
    evm_u256_t                     whole;
} ngx_http_intent_scaled_t;


static ngx_int_t ngx_http_intent_bound_cmp(ngx_http_intent_bound_t *a,
    ngx_http_intent_bound_t *b);
static void ngx_http_intent_bound_value(ngx_http_intent_bound_t *bound,
    ngx_http_intent_value_t *value);
static void ngx_http_intent_pattern_signed(ngx_http_intent_pattern_t *p,
    ngx_http_intent_range_t *range, ngx_uint_t places);
static void ngx_http_intent_pattern_scaled(ngx_http_intent_pattern_t *p,
    evm_u256_t *low, evm_u256_t *high, ngx_uint_t places);
static void ngx_http_intent_pattern_edge(ngx_http_intent_pattern_t *p,
    ngx_http_intent_scaled_t *number, u_char *low, u_char *high,
    ngx_uint_t places);
static void ngx_http_intent_pattern_whole(ngx_http_intent_pattern_t *p,
    evm_u256_t *low, evm_u256_t *high);
static void ngx_http_intent_pattern_same(ngx_http_intent_pattern_t *p,
    u_char *low, u_char *high, ngx_uint_t n);
static void ngx_http_intent_pattern_digits(ngx_http_intent_pattern_t *p,
    ngx_http_intent_digits_t *digits, ngx_uint_t i);
static void ngx_http_intent_pattern_choice(ngx_http_intent_pattern_t *p,
    ngx_http_intent_digits_t *digits, ngx_uint_t i);
static void ngx_http_intent_pattern_class(ngx_http_intent_pattern_t *p,
    u_char low, u_char high);
static void ngx_http_intent_pattern_free(ngx_http_intent_pattern_t *p,
    ngx_uint_t min, ngx_uint_t max);
static void ngx_http_intent_pattern_put(ngx_http_intent_pattern_t *p,
    const char *text);
static ngx_uint_t ngx_http_intent_digits_are(u_char *p, ngx_uint_t n,
    u_char digit);
static void ngx_http_intent_scaled(ngx_http_intent_scaled_t *number,
    evm_u256_t *v, ngx_uint_t places);
static int64_t ngx_http_intent_range_clip(ngx_http_intent_bound_t *bound,
    ngx_uint_t places, ngx_uint_t up);


void
ngx_http_intent_range(ngx_http_intent_param_t *param,
    ngx_http_intent_range_t *range)
{
    evm_abi_type_t           abi;
    ngx_http_intent_bound_t  bound;

    abi.size = 256;
    abi.type = (param->type->member.data[0] == 'i') ? EVM_ABI_INT
                                                    : EVM_ABI_UINT;

    ngx_http_intent_range_type(range, &abi);

    if (param->positive) {
        evm_u256_set(&range->low.number, 1);
        range->low.negative = 0;
    }

    if (param->min) {
        ngx_http_intent_bound_value(&bound, param->min);

        if (ngx_http_intent_bound_cmp(&bound, &range->low) > 0) {
            range->low = bound;
        }
    }

    if (param->max) {
        ngx_http_intent_bound_value(&bound, param->max);

        if (ngx_http_intent_bound_cmp(&bound, &range->high) < 0) {
            range->high = bound;
        }
    }
}


/* 0 to 2^n - 1, or -2^(n - 1) to 2^(n - 1) - 1 */

void
ngx_http_intent_range_type(ngx_http_intent_range_t *range, evm_abi_type_t *abi)
{
    ngx_uint_t  i, bits;

    ngx_memzero(range, sizeof(ngx_http_intent_range_t));

    bits = abi->size - (abi->type == EVM_ABI_INT);

    for (i = 0; i < bits; i++) {
        range->high.number.w[i / 64] |= 1ULL << (i % 64);
    }

    if (abi->type == EVM_ABI_INT) {
        range->low.negative = 1;

        for (i = 0; i < 4; i++) {
            range->low.number.w[i] = ~range->high.number.w[i];
        }
    }
}


static void
ngx_http_intent_bound_value(ngx_http_intent_bound_t *bound,
    ngx_http_intent_value_t *value)
{
    bound->number = value->number;
    bound->negative = value->negative;
}


static ngx_int_t
ngx_http_intent_bound_cmp(ngx_http_intent_bound_t *a,
    ngx_http_intent_bound_t *b)
{
    if (a->negative != b->negative) {
        return a->negative ? -1 : 1;
    }

    return evm_u256_cmp(&a->number, &b->number);
}


ngx_uint_t
ngx_http_intent_range_narrow(ngx_http_intent_range_t *range,
    evm_abi_type_t *abi)
{
    ngx_uint_t               narrowed;
    ngx_http_intent_range_t  fits;

    narrowed = 0;
    ngx_http_intent_range_type(&fits, abi);

    if (ngx_http_intent_bound_cmp(&fits.low, &range->low) > 0) {
        range->low = fits.low;
        narrowed = 1;
    }

    if (ngx_http_intent_bound_cmp(&fits.high, &range->high) < 0) {
        range->high = fits.high;
        narrowed = 1;
    }

    return narrowed;
}


ngx_uint_t
ngx_http_intent_range_is_empty(ngx_http_intent_range_t *range)
{
    return ngx_http_intent_bound_cmp(&range->low, &range->high) > 0;
}


ngx_uint_t
ngx_http_intent_range_has(ngx_http_intent_range_t *range,
    ngx_http_intent_value_t *value)
{
    ngx_http_intent_bound_t  bound;

    ngx_http_intent_bound_value(&bound, value);

    return ngx_http_intent_bound_cmp(&bound, &range->low) >= 0
           && ngx_http_intent_bound_cmp(&bound, &range->high) <= 0;
}


size_t
ngx_http_intent_range_pattern(ngx_http_intent_range_t *range,
    ngx_uint_t places, u_char *pattern)
{
    ngx_http_intent_pattern_t  p;

    p.pos = pattern;
    p.last = pattern + NGX_HTTP_INTENT_PATTERN_LEN;

    ngx_http_intent_pattern_put(&p, "^(?:");
    ngx_http_intent_pattern_signed(&p, range, places);
    ngx_http_intent_pattern_put(&p, ")$");

    return (p.pos < p.last) ? p.pos - pattern : 0;
}


static void
ngx_http_intent_pattern_signed(ngx_http_intent_pattern_t *p,
    ngx_http_intent_range_t *range, ngx_uint_t places)
{
    evm_u256_t  low, high;

    if (range->low.negative) {

        /* from the smallest below zero to the largest, without the sign */

        low = range->high.number;
        high = range->low.number;
        ngx_http_intent_value_negate(&high);

        if (range->high.negative) {
            ngx_http_intent_value_negate(&low);

        } else {
            evm_u256_set(&low, 1);
        }

        ngx_http_intent_pattern_put(p, "-(?:");
        ngx_http_intent_pattern_scaled(p, &low, &high, places);
        ngx_http_intent_pattern_put(p, ")");

        if (range->high.negative) {
            return;
        }

        ngx_http_intent_pattern_put(p, "|");
        evm_u256_set(&low, 0);

    } else {
        low = range->low.number;
    }

    ngx_http_intent_pattern_scaled(p, &low, &range->high.number, places);
}


/*
 * Numbers with places: those whose part before the point is between those of
 * the bounds, with any fraction; and the two edges, with a part of them.
 */

static void
ngx_http_intent_pattern_scaled(ngx_http_intent_pattern_t *p, evm_u256_t *low,
    evm_u256_t *high, ngx_uint_t places)
{
    evm_u256_t                one;
    ngx_uint_t                inner;
    ngx_http_intent_scaled_t  from, to;

    ngx_http_intent_scaled(&from, low, places);
    ngx_http_intent_scaled(&to, high, places);

    if (evm_u256_cmp(&from.whole, &to.whole) == 0) {
        ngx_http_intent_pattern_edge(p, &from, from.fraction, to.fraction,
                                     places);
        return;
    }

    inner = 1;
    evm_u256_set(&one, 1);

    if (!ngx_http_intent_digits_are(from.fraction, places, '0')) {
        ngx_http_intent_pattern_edge(p, &from, from.fraction, NULL, places);
        ngx_http_intent_pattern_put(p, "|");
        inner = (evm_u256_add(&from.whole, &from.whole, &one) == EVM_OK);
    }

    if (!ngx_http_intent_digits_are(to.fraction, places, '9')) {
        ngx_http_intent_pattern_edge(p, &to, NULL, to.fraction, places);
        inner = inner && (evm_u256_sub(&to.whole, &to.whole, &one) == EVM_OK)
                && (evm_u256_cmp(&from.whole, &to.whole) <= 0);

        if (inner) {
            ngx_http_intent_pattern_put(p, "|");
        }
    }

    if (!inner) {
        return;
    }

    ngx_http_intent_pattern_put(p, "(?:");
    ngx_http_intent_pattern_whole(p, &from.whole, &to.whole);
    ngx_http_intent_pattern_put(p, ")");

    if (places) {
        ngx_http_intent_pattern_put(p, "(?:\\.");
        ngx_http_intent_pattern_free(p, 1, places);
        ngx_http_intent_pattern_put(p, ")?");
    }
}


/* one number before the point, and fractions between two */

static void
ngx_http_intent_pattern_edge(ngx_http_intent_pattern_t *p,
    ngx_http_intent_scaled_t *number, u_char *low, u_char *high,
    ngx_uint_t places)
{
    u_char                    digits[EVM_U256_DEC_LEN];
    ngx_str_t                 whole;
    ngx_http_intent_digits_t  fraction;

    whole.data = digits;
    whole.len = evm_u256_to_dec(&number->whole, (char *) digits);

    p->pos = ngx_slprintf(p->pos, p->last, "%V", &whole);

    fraction.low = low;
    fraction.high = high;
    fraction.n = places;
    fraction.fraction = 1;

    ngx_http_intent_pattern_digits(p, &fraction, 0);
}


/* whole numbers, by how many digits they have */

static void
ngx_http_intent_pattern_whole(ngx_http_intent_pattern_t *p, evm_u256_t *low,
    evm_u256_t *high)
{
    u_char      from[EVM_U256_DEC_LEN], to[EVM_U256_DEC_LEN];
    u_char      nines[EVM_U256_DEC_LEN], tens[EVM_U256_DEC_LEN];
    ngx_uint_t  shortest, longest;

    ngx_memset(nines, '9', sizeof(nines));
    ngx_memset(tens, '0', sizeof(tens));
    tens[0] = '1';

    shortest = evm_u256_to_dec(low, (char *) from);
    longest = evm_u256_to_dec(high, (char *) to);

    if (shortest == longest) {
        ngx_http_intent_pattern_same(p, from, to, longest);
        return;
    }

    if (ngx_memcmp(from, tens, shortest) != 0) {
        ngx_http_intent_pattern_same(p, from, nines, shortest);
        ngx_http_intent_pattern_put(p, "|");
        shortest++;
    }

    if (ngx_memcmp(to, nines, longest) != 0) {
        ngx_http_intent_pattern_same(p, tens, to, longest);
        longest--;

        if (shortest > longest) {
            return;
        }

        ngx_http_intent_pattern_put(p, "|");
    }

    ngx_http_intent_pattern_put(p, "[1-9]");
    ngx_http_intent_pattern_free(p, shortest - 1, longest - 1);
}


static void
ngx_http_intent_pattern_same(ngx_http_intent_pattern_t *p, u_char *low,
    u_char *high, ngx_uint_t n)
{
    ngx_http_intent_digits_t  digits;

    digits.low = low;
    digits.high = high;
    digits.n = n;
    digits.fraction = 0;

    ngx_http_intent_pattern_digits(p, &digits, 0);
}


/*
 * The digits from the i-th on.  A bound whose rest is the least, or the most,
 * that there can be, is none.  A fraction may end before its bound does, for
 * then it goes on with zeros: where there is no lower bound.
 */

static void
ngx_http_intent_pattern_digits(ngx_http_intent_pattern_t *p,
    ngx_http_intent_digits_t *digits, ngx_uint_t i)
{
    ngx_uint_t                may_end;
    ngx_http_intent_digits_t  rest;

    rest = *digits;

    if (rest.low && ngx_http_intent_digits_are(rest.low + i, rest.n - i, '0'))
    {
        rest.low = NULL;
    }

    if (rest.high
        && ngx_http_intent_digits_are(rest.high + i, rest.n - i, '9'))
    {
        rest.high = NULL;
    }

    if (rest.low == NULL && rest.high == NULL && (i || !rest.fraction)) {
        ngx_http_intent_pattern_free(p, rest.fraction ? 0 : rest.n - i,
                                     rest.n - i);
        return;
    }

    if (i == rest.n) {
        return;
    }

    if (rest.fraction && rest.low == NULL && rest.high
        && ngx_http_intent_digits_are(rest.high + i, rest.n - i, '0'))
    {
        p->pos = (i == 0)
                 ? ngx_slprintf(p->pos, p->last, "(?:\\.0{1,%ui})?", rest.n)
                 : ngx_slprintf(p->pos, p->last, "0{0,%ui}", rest.n - i);
        return;
    }

    may_end = (rest.fraction && rest.low == NULL);

    if (may_end) {
        ngx_http_intent_pattern_put(p, "(?:");
    }

    if (rest.fraction && i == 0) {
        ngx_http_intent_pattern_put(p, "\\.");
    }

    ngx_http_intent_pattern_choice(p, &rest, i);

    if (may_end) {
        ngx_http_intent_pattern_put(p, ")?");
    }
}


/* the i-th digit: one that leaves the rest free, or one of the bounds */

static void
ngx_http_intent_pattern_choice(ngx_http_intent_pattern_t *p,
    ngx_http_intent_digits_t *digits, ngx_uint_t i)
{
    u_char                    low, high;
    ngx_uint_t                n, below, above, choices;
    ngx_http_intent_digits_t  rest;

    n = digits->n - i - 1;
    low = digits->low ? digits->low[i] : '0';
    high = digits->high ? digits->high[i] : '9';

    if (low == high) {
        ngx_http_intent_pattern_class(p, low, low);
        ngx_http_intent_pattern_digits(p, digits, i + 1);
        return;
    }

    below = (digits->low
             && !ngx_http_intent_digits_are(digits->low + i + 1, n, '0'));
    above = (digits->high
             && !ngx_http_intent_digits_are(digits->high + i + 1, n, '9'));

    choices = (low + below <= high - above) + below + above;

    if (choices > 1) {
        ngx_http_intent_pattern_put(p, "(?:");
    }

    if (below) {
        rest = *digits;
        rest.high = NULL;

        ngx_http_intent_pattern_class(p, low, low);
        ngx_http_intent_pattern_digits(p, &rest, i + 1);
        ngx_http_intent_pattern_put(p, (choices > 1) ? "|" : "");
    }

    if (above) {
        rest = *digits;
        rest.low = NULL;

        ngx_http_intent_pattern_class(p, high, high);
        ngx_http_intent_pattern_digits(p, &rest, i + 1);
        ngx_http_intent_pattern_put(p, (choices > 1u + below) ? "|" : "");
    }

    if (low + below <= high - above) {
        ngx_http_intent_pattern_class(p, low + below, high - above);
        ngx_http_intent_pattern_free(p, digits->fraction ? 0 : n, n);
    }

    if (choices > 1) {
        ngx_http_intent_pattern_put(p, ")");
    }
}


static void
ngx_http_intent_pattern_class(ngx_http_intent_pattern_t *p, u_char low,
    u_char high)
{
    p->pos = (low == high)
             ? ngx_slprintf(p->pos, p->last, "%c", low)
             : ngx_slprintf(p->pos, p->last, "[%c-%c]", low, high);
}


static void
ngx_http_intent_pattern_free(ngx_http_intent_pattern_t *p, ngx_uint_t min,
    ngx_uint_t max)
{
    if (max == 0) {
        return;
    }

    if (min != max) {
        p->pos = ngx_slprintf(p->pos, p->last, "[0-9]{%ui,%ui}", min, max);

    } else if (max > 1) {
        p->pos = ngx_slprintf(p->pos, p->last, "[0-9]{%ui}", max);

    } else {
        ngx_http_intent_pattern_put(p, "[0-9]");
    }
}


static void
ngx_http_intent_pattern_put(ngx_http_intent_pattern_t *p, const char *text)
{
    p->pos = ngx_slprintf(p->pos, p->last, "%s", text);
}


static ngx_uint_t
ngx_http_intent_digits_are(u_char *p, ngx_uint_t n, u_char digit)
{
    while (n) {
        n--;

        if (p[n] != digit) {
            return 0;
        }
    }

    return 1;
}


static void
ngx_http_intent_scaled(ngx_http_intent_scaled_t *number, evm_u256_t *v,
    ngx_uint_t places)
{
    size_t  len, zeros;
    u_char  digits[EVM_U256_DEC_LEN];

    len = evm_u256_to_dec(v, (char *) digits);
    zeros = (len > places) ? 0 : places + 1 - len;

    ngx_memset(number->text, '0', zeros);
    ngx_memcpy(number->text + zeros, digits, len);

    number->fraction = number->text + zeros + len - places;

    (void) evm_u256_from_dec(&number->whole, (char *) number->text,
                             zeros + len - places);
}


ngx_uint_t
ngx_http_intent_range_exact(ngx_http_intent_range_t *range, ngx_uint_t places,
    int64_t *low, int64_t *high)
{
    *low = ngx_http_intent_range_clip(&range->low, places, 1);
    *high = ngx_http_intent_range_clip(&range->high, places, 0);

    if (*low > NGX_HTTP_INTENT_MAX_EXACT || *high < -NGX_HTTP_INTENT_MAX_EXACT)
    {
        return 0;
    }

    *low = ngx_max(*low, -NGX_HTTP_INTENT_MAX_EXACT);
    *high = ngx_min(*high, NGX_HTTP_INTENT_MAX_EXACT);

    return *low <= *high;
}


/* the next integer above or below, of those beyond all exact ones just one */

static int64_t
ngx_http_intent_range_clip(ngx_http_intent_bound_t *bound, ngx_uint_t places,
    ngx_uint_t up)
{
    int64_t                   n;
    uint64_t                  whole;
    evm_u256_t                v;
    ngx_http_intent_scaled_t  number;

    v = bound->number;

    if (bound->negative) {
        ngx_http_intent_value_negate(&v);
    }

    ngx_http_intent_scaled(&number, &v, places);

    if (evm_u256_to_u64(&number.whole, &whole) != EVM_OK
        || whole > NGX_HTTP_INTENT_MAX_EXACT)
    {
        whole = NGX_HTTP_INTENT_MAX_EXACT + 1;
    }

    n = bound->negative ? -(int64_t) whole : (int64_t) whole;

    /* only what is not negative has places */

    if (up && !ngx_http_intent_digits_are(number.fraction, places, '0')) {
        n++;
    }

    return n;
}
