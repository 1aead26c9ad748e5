
/*
 * The record and its JSON.
 */


#include "ngx_http_intent_core.h"


typedef struct {
    ngx_str_t  name;
    ngx_str_t  before;      /* the message, around the type's label */
    ngx_str_t  after;
} ngx_http_intent_status_t;


static ngx_str_t *ngx_http_intent_label(ngx_str_t *type);
static size_t ngx_http_intent_json_len(ngx_http_intent_t *in,
    ngx_str_t *label);
static u_char *ngx_http_intent_json_string(u_char *p, ngx_str_t *s);
static u_char *ngx_http_intent_json_time(u_char *p, int64_t msec);


static ngx_http_intent_status_t  ngx_http_intent_statuses[] = {

    { ngx_string("pending"),
      ngx_string("Your request is being processed..."),
      ngx_null_string },

    { ngx_string("executing"),
      ngx_string("Executing your "),
      ngx_string("...") },

    { ngx_string("success"),
      ngx_string("Successfully completed your "),
      ngx_string("!") },

    { ngx_string("failed"),
      ngx_string("There was an issue with your "),
      ngx_string(". Please try again.") },

    { ngx_string("expired"),
      ngx_string("Your "),
      ngx_string(" expired before it could be executed.") },

    { ngx_string("cancelled"),
      ngx_string("Your "),
      ngx_string(" was cancelled.") },

    { ngx_string("unknown"),
      ngx_string("Processing your request..."),
      ngx_null_string }
};


/* what a type is called that the configuration has no more */
static ngx_str_t  ngx_http_intent_default_label = ngx_string("transaction");


void
ngx_http_intent_clear(ngx_http_intent_t *in)
{
    ngx_memzero(in, sizeof(ngx_http_intent_t));

    in->status = NGX_HTTP_INTENT_NEW;
    in->block_number = -1;
    in->gas_used = -1;
    in->expires_at = -1;
}


ngx_str_t *
ngx_http_intent_status_name(ngx_uint_t status)
{
    return &ngx_http_intent_statuses[ngx_min(status,
                                             NGX_HTTP_INTENT_STATUSES)].name;
}


ngx_int_t
ngx_http_intent_status_parse(ngx_str_t *name)
{
    ngx_uint_t  i;
    ngx_str_t  *s;

    for (i = 0; i < NGX_HTTP_INTENT_STATUSES; i++) {
        s = &ngx_http_intent_statuses[i].name;

        if (s->len == name->len
            && ngx_memcmp(s->data, name->data, s->len) == 0)
        {
            return i;
        }
    }

    return NGX_ERROR;
}


ngx_uint_t
ngx_http_intent_is_final(ngx_uint_t status)
{
    return status != NGX_HTTP_INTENT_PENDING
           && status != NGX_HTTP_INTENT_EXECUTING
           && status < NGX_HTTP_INTENT_STATUSES;
}


int64_t
ngx_http_intent_now(void)
{
    ngx_time_t  *tp;

    tp = ngx_timeofday();

    return (int64_t) tp->sec * 1000 + tp->msec;
}


u_char *
ngx_http_intent_time(u_char *p, int64_t msec)
{
    ngx_tm_t  tm;

    ngx_gmtime((time_t) (msec / 1000), &tm);

    return ngx_sprintf(p, "%4d-%02d-%02dT%02d:%02d:%02d.%03dZ",
                       tm.ngx_tm_year, tm.ngx_tm_mon, tm.ngx_tm_mday,
                       tm.ngx_tm_hour, tm.ngx_tm_min, tm.ngx_tm_sec,
                       (int) (msec % 1000));
}


static ngx_str_t *
ngx_http_intent_label(ngx_str_t *type)
{
    ngx_uint_t                     i;
    ngx_http_intent_name_t       **types;
    ngx_http_intent_main_conf_t   *imcf;

    imcf = ngx_http_intent_main_conf();
    types = imcf->types.elts;

    for (i = 0; i < imcf->types.nelts; i++) {
        if (types[i]->name.len == type->len
            && ngx_memcmp(types[i]->name.data, type->data, type->len) == 0)
        {
            return &types[i]->label;
        }
    }

    return &ngx_http_intent_default_label;
}


static size_t
ngx_http_intent_json_len(ngx_http_intent_t *in, ngx_str_t *label)
{
    size_t      len;
    ngx_str_t  *s[] = { &in->id, &in->type, &in->chain, &in->user_id,
                        &in->tx_hash, &in->gas_cost, &in->error, label };
    ngx_uint_t  i;

    /* the fixed text with its longest message, times, eight numbers */

    len = 512 + 3 * NGX_HTTP_INTENT_TIME_LEN + 8 * NGX_INT64_LEN;

    for (i = 0; i < sizeof(s) / sizeof(s[0]); i++) {
        len += s[i]->len + ngx_escape_json(NULL, s[i]->data, s[i]->len);
    }

    return len + in->params.len;
}


static u_char *
ngx_http_intent_json_string(u_char *p, ngx_str_t *s)
{
    if (s->len == 0) {
        return ngx_cpymem(p, "null", 4);
    }

    *p++ = '"';
    p = (u_char *) ngx_escape_json(p, s->data, s->len);
    *p++ = '"';

    return p;
}


static u_char *
ngx_http_intent_json_time(u_char *p, int64_t msec)
{
    if (msec < 0) {
        return ngx_cpymem(p, "null", 4);
    }

    *p++ = '"';
    p = ngx_http_intent_time(p, msec);
    *p++ = '"';

    return p;
}


#define ngx_http_intent_json_key(p, key)                                      \
    ngx_cpymem(p, ",\"" key "\":", sizeof(",\"" key "\":") - 1)


ngx_str_t
ngx_http_intent_json(ngx_pool_t *pool, ngx_http_intent_t *in)
{
    u_char                    *p;
    ngx_str_t                  json, *label;
    ngx_http_intent_status_t  *st;

    st = &ngx_http_intent_statuses[ngx_min(in->status,
                                           NGX_HTTP_INTENT_STATUSES)];
    label = ngx_http_intent_label(&in->type);

    json.len = 0;
    json.data = ngx_pnalloc(pool, ngx_http_intent_json_len(in, label));
    if (json.data == NULL) {
        return json;
    }

    p = ngx_cpymem(json.data, "{\"intentId\":", sizeof("{\"intentId\":") - 1);
    p = ngx_http_intent_json_string(p, &in->id);
    p = ngx_http_intent_json_key(p, "type");
    p = ngx_http_intent_json_string(p, &in->type);
    p = ngx_http_intent_json_key(p, "status");
    p = ngx_http_intent_json_string(p, &st->name);

    p = ngx_http_intent_json_key(p, "message");
    *p++ = '"';
    p = ngx_cpymem(p, st->before.data, st->before.len);

    if (st->after.len) {
        p = (u_char *) ngx_escape_json(p, label->data, label->len);
        p = ngx_cpymem(p, st->after.data, st->after.len);
    }

    *p++ = '"';

    p = ngx_http_intent_json_key(p, "chain");
    p = ngx_http_intent_json_string(p, &in->chain);
    p = ngx_http_intent_json_key(p, "userId");
    p = ngx_http_intent_json_string(p, &in->user_id);
    p = ngx_http_intent_json_key(p, "params");
    p = ngx_cpymem(p, in->params.data, in->params.len);

    p = ngx_http_intent_json_key(p, "attempts");
    p = ngx_sprintf(p, "%ui", in->attempts);
    p = ngx_http_intent_json_key(p, "txHash");
    p = ngx_http_intent_json_string(p, &in->tx_hash);

    p = ngx_http_intent_json_key(p, "blockNumber");
    p = (in->block_number < 0) ? ngx_cpymem(p, "null", 4)
                               : ngx_sprintf(p, "%L", in->block_number);
    p = ngx_http_intent_json_key(p, "confirmations");
    p = ngx_sprintf(p, "%ui", in->confirmations);

    p = ngx_http_intent_json_key(p, "gasUsed");
    p = (in->gas_used < 0) ? ngx_cpymem(p, "null", 4)
                           : ngx_sprintf(p, "%L", in->gas_used);
    p = ngx_http_intent_json_key(p, "gasCost");
    p = ngx_http_intent_json_string(p, &in->gas_cost);
    p = ngx_http_intent_json_key(p, "error");
    p = ngx_http_intent_json_string(p, &in->error);

    p = ngx_http_intent_json_key(p, "version");
    p = ngx_sprintf(p, "%ui", in->version);
    p = ngx_http_intent_json_key(p, "createdAt");
    p = ngx_http_intent_json_time(p, in->created_at);
    p = ngx_http_intent_json_key(p, "updatedAt");
    p = ngx_http_intent_json_time(p, in->updated_at);
    p = ngx_http_intent_json_key(p, "expiresAt");
    p = ngx_http_intent_json_time(p, in->expires_at);
    *p++ = '}';

    json.len = p - json.data;

    return json;
}
