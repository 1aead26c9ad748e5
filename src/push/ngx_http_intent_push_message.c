
/*
 * A message: the JSON of an intent, as an event.
 *
 * It is serialized once, in one piece of memory, for all who receive it; what
 * transports put around it differs only before and behind.
 */


#include "ngx_http_intent_push_private.h"


#define NGX_HTTP_INTENT_PUSH_HEAD     "{\"intentId\":\""
#define NGX_HTTP_INTENT_PUSH_STATUS   ",\"status\":\""
#define NGX_HTTP_INTENT_PUSH_VERSION  "\"version\":"
#define NGX_HTTP_INTENT_PUSH_UPDATED  "\"updatedAt\":\""

/* "version", three times and what is between them, at the end of the JSON */
#define NGX_HTTP_INTENT_PUSH_TAIL     256


static u_char *ngx_http_intent_push_message_tail(ngx_str_t *json,
    const char *name, size_t len);
static ngx_int_t ngx_http_intent_push_message_version(ngx_str_t *json);
static int64_t ngx_http_intent_push_message_updated(ngx_str_t *json);
static ngx_int_t ngx_http_intent_push_message_status(ngx_str_t *json);


ngx_http_intent_push_message_t *
ngx_http_intent_push_message(ngx_str_t *json, ngx_log_t *log)
{
    u_char                          *p;
    size_t                           len;
    ngx_int_t                        version, status;
    ngx_http_intent_push_message_t  *m;

    len = sizeof(NGX_HTTP_INTENT_PUSH_HEAD) - 1;

    if (json->len < len + NGX_HTTP_INTENT_ID_LEN
        || ngx_memcmp(json->data, NGX_HTTP_INTENT_PUSH_HEAD, len) != 0)
    {
        goto invalid;
    }

    version = ngx_http_intent_push_message_version(json);
    status = ngx_http_intent_push_message_status(json);

    if (version == NGX_ERROR || status == NGX_ERROR) {
        goto invalid;
    }

    m = ngx_alloc(sizeof(ngx_http_intent_push_message_t)
                  + NGX_HTTP_INTENT_PUSH_HEADROOM
                  + sizeof(NGX_HTTP_INTENT_PUSH_EVENT) + json->len, log);
    if (m == NULL) {
        return NULL;
    }

    m->refs = 1;
    m->version = version;
    m->final = ngx_http_intent_is_final(status);
    m->updated_at = ngx_http_intent_push_message_updated(json);
    ngx_str_null(&m->frame);

    p = (u_char *) m + sizeof(ngx_http_intent_push_message_t)
        + NGX_HTTP_INTENT_PUSH_HEADROOM;

    m->text.data = p;
    p = ngx_cpymem(p, NGX_HTTP_INTENT_PUSH_EVENT,
                   sizeof(NGX_HTTP_INTENT_PUSH_EVENT) - 1);

    m->id.data = p + len - 1;
    m->id.len = NGX_HTTP_INTENT_ID_LEN;

    m->members.data = p;
    m->members.len = json->len - 1;

    p = ngx_cpymem(p, json->data + 1, json->len - 1);
    m->text.len = p - m->text.data;

    return m;

invalid:

    ngx_log_error(NGX_LOG_INFO, log, 0,
                  "intent push: %uz bytes that are no intent, ignored",
                  json->len);

    return NULL;
}


void
ngx_http_intent_push_message_free(ngx_http_intent_push_message_t *m)
{
    if (--m->refs == 0) {
        ngx_free(m);
    }
}


/*
 * Where the value of a member begins behind which there are such and times
 * only, while params may hold anything: so it is looked for from the end.
 */

static u_char *
ngx_http_intent_push_message_tail(ngx_str_t *json, const char *name,
    size_t len)
{
    u_char  *p, *start;

    start = json->data + json->len
            - ngx_min(json->len, NGX_HTTP_INTENT_PUSH_TAIL);

    for (p = json->data + json->len - len; p > start; p--) {
        if (ngx_memcmp(p, name, len) == 0) {
            return p + len;
        }
    }

    return NULL;
}


static ngx_int_t
ngx_http_intent_push_message_version(ngx_str_t *json)
{
    u_char  *p, *last, *number;

    number = ngx_http_intent_push_message_tail(json,
                                  NGX_HTTP_INTENT_PUSH_VERSION,
                                  sizeof(NGX_HTTP_INTENT_PUSH_VERSION) - 1);
    if (number == NULL) {
        return NGX_ERROR;
    }

    last = json->data + json->len;

    for (p = number; p < last && *p >= '0' && *p <= '9'; p++) {
        /* void */
    }

    return ngx_atoi(number, p - number);
}


static int64_t
ngx_http_intent_push_message_updated(ngx_str_t *json)
{
    u_char   *p;
    int64_t   msec;

    p = ngx_http_intent_push_message_tail(json, NGX_HTTP_INTENT_PUSH_UPDATED,
                                  sizeof(NGX_HTTP_INTENT_PUSH_UPDATED) - 1);

    if (p == NULL
        || (size_t) (json->data + json->len - p) < NGX_HTTP_INTENT_TIME_LEN
        || ngx_http_intent_push_time(p, NGX_HTTP_INTENT_TIME_LEN, &msec)
           != NGX_OK)
    {
        return 0;
    }

    return msec;
}


/* what comes before it are an id and a type, neither with such a text in it */

static ngx_int_t
ngx_http_intent_push_message_status(ngx_str_t *json)
{
    u_char     *p, *last;
    ngx_str_t   name;

    last = json->data + json->len;

    p = ngx_strnstr(json->data, NGX_HTTP_INTENT_PUSH_STATUS, json->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    name.data = p + sizeof(NGX_HTTP_INTENT_PUSH_STATUS) - 1;

    for (p = name.data; p < last && *p != '"'; p++) {
        /* void */
    }

    name.len = p - name.data;

    return ngx_http_intent_status_parse(&name);
}
