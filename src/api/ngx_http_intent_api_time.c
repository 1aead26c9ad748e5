
/*
 * Times that users write.
 */


#include "ngx_http_intent_api.h"


/* days from the 1st of March of the year -400 to 1970-01-01 */
#define NGX_HTTP_INTENT_API_EPOCH  (719468 + 146097)


static ngx_int_t ngx_http_intent_api_digits(const u_char *p, size_t n);
static ngx_int_t ngx_http_intent_api_days(ngx_int_t year, ngx_int_t month);
static ngx_int_t ngx_http_intent_api_clock(const u_char *p, int64_t *seconds);
static ngx_int_t ngx_http_intent_api_fraction(const u_char **p,
    const u_char *last, ngx_uint_t *whole);
static ngx_int_t ngx_http_intent_api_offset(const u_char *p, size_t len,
    int64_t *seconds);


/*
 * The same in words that JSON Schema has, so that a client's verdict is ours.
 * The last day of all is left out, for west of Greenwich it ends in the year
 * 10000, and so are leap seconds, of which each validator thinks otherwise.
 */

#define NGX_HTTP_INTENT_API_LEAP  "(0[48]|[2468][048]|[13579][26])"

#define NGX_HTTP_INTENT_API_NOT_9999                                          \
    "([0-8][0-9]{3}|9[0-8][0-9]{2}|99[0-8][0-9]|999[0-8])"

const char  ngx_http_intent_api_time_pattern[] =
    "^([0-9]{4}-((0[13578]|10)-(0[1-9]|[12][0-9]|3[01])"
    "|(0[469]|1[12])-(0[1-9]|[12][0-9]|30)"
    "|02-(0[1-9]|1[0-9]|2[0-8]))"
    "|" NGX_HTTP_INTENT_API_NOT_9999 "-12-31"
    "|([0-9]{2}" NGX_HTTP_INTENT_API_LEAP
    "|([02468][048]|[13579][26])00)-02-29)"
    "[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]+)?"
    "([Zz]|(\\+|-)([01][0-9]|2[0-3]):[0-5][0-9])$";


ngx_int_t
ngx_http_intent_api_time(const u_char *p, size_t len, int64_t *msec,
    ngx_uint_t *whole)
{
    int64_t        days, seconds, offset;
    ngx_int_t      year, month, day, fraction;
    const u_char  *last;

    /* "1985-04-12T23:20:50.52Z": RFC 3339, 5.6 */

    if (len < sizeof("1985-04-12T23:20:50Z") - 1
        || p[4] != '-' || p[7] != '-' || (p[10] | 0x20) != 't'
        || ngx_http_intent_api_clock(p + 11, &seconds) != NGX_OK)
    {
        return NGX_ERROR;
    }

    last = p + len;

    year = ngx_http_intent_api_digits(p, 4);
    month = ngx_http_intent_api_digits(p + 5, 2);
    day = ngx_http_intent_api_digits(p + 8, 2);

    if (year == NGX_ERROR || month < 1 || month > 12
        || day < 1 || day > ngx_http_intent_api_days(year, month)
        || (year == 9999 && month == 12 && day == 31))
    {
        return NGX_ERROR;
    }

    p += sizeof("1985-04-12T23:20:50") - 1;

    fraction = ngx_http_intent_api_fraction(&p, last, whole);

    if (fraction == NGX_ERROR
        || ngx_http_intent_api_offset(p, last - p, &offset) != NGX_OK)
    {
        return NGX_ERROR;
    }

    /*
     * Years that begin with March end with the leap day; 400 of them more,
     * which is a whole cycle of the calendar, so that none is negative.
     */

    if (month < 3) {
        month += 12;
        year--;
    }

    year += 400;

    days = 365 * year + year / 4 - year / 100 + year / 400
           + (153 * (month - 3) + 2) / 5 + day - 1
           - NGX_HTTP_INTENT_API_EPOCH;

    *msec = (days * 86400 + seconds - offset) * 1000 + fraction;

    return NGX_OK;
}


/* NGX_ERROR, or the number */

static ngx_int_t
ngx_http_intent_api_digits(const u_char *p, size_t n)
{
    return ngx_atoi((u_char *) p, n);
}


static ngx_int_t
ngx_http_intent_api_days(ngx_int_t year, ngx_int_t month)
{
    static u_char  days[] = { 31, 28, 31, 30, 31, 30,
                              31, 31, 30, 31, 30, 31 };

    if (month == 2
        && ((year % 4 == 0 && year % 100 != 0) || year % 400 == 0))
    {
        return 29;
    }

    return days[month - 1];
}


/* "23:20:50" */

static ngx_int_t
ngx_http_intent_api_clock(const u_char *p, int64_t *seconds)
{
    ngx_int_t  hour, min, sec;

    hour = ngx_http_intent_api_digits(p, 2);
    min = ngx_http_intent_api_digits(p + 3, 2);
    sec = ngx_http_intent_api_digits(p + 6, 2);

    if (hour == NGX_ERROR || min == NGX_ERROR || sec == NGX_ERROR
        || p[2] != ':' || p[5] != ':' || hour > 23 || min > 59 || sec > 59)
    {
        return NGX_ERROR;
    }

    *seconds = hour * 3600 + min * 60 + sec;

    return NGX_OK;
}


/* ".52", any number of digits, into milliseconds */

static ngx_int_t
ngx_http_intent_api_fraction(const u_char **pp, const u_char *last,
    ngx_uint_t *whole)
{
    ngx_int_t      msec, scale;
    const u_char  *p;

    p = *pp;
    msec = 0;
    *whole = 1;

    if (*p != '.') {
        return 0;
    }

    p++;

    for (scale = 100; p < last && *p >= '0' && *p <= '9'; p++) {
        msec += (*p - '0') * scale;
        scale /= 10;
        *whole &= (*p == '0');
    }

    if (p == *pp + 1) {
        return NGX_ERROR;
    }

    *pp = p;

    return msec;
}


/* "Z", "+02:00" */

static ngx_int_t
ngx_http_intent_api_offset(const u_char *p, size_t len, int64_t *seconds)
{
    ngx_int_t  hour, min;

    if (len == 1 && (*p | 0x20) == 'z') {
        *seconds = 0;
        return NGX_OK;
    }

    if (len != sizeof("+02:00") - 1 || (*p != '+' && *p != '-')
        || p[3] != ':')
    {
        return NGX_ERROR;
    }

    hour = ngx_http_intent_api_digits(p + 1, 2);
    min = ngx_http_intent_api_digits(p + 4, 2);

    if (hour == NGX_ERROR || min == NGX_ERROR || hour > 23 || min > 59) {
        return NGX_ERROR;
    }

    *seconds = (hour * 3600 + min * 60) * ((*p == '-') ? -1 : 1);

    return NGX_OK;
}
