
/*
 * One delivery: its POST, and what the answer means.
 *
 * 2xx: it was taken.  410: it is not wanted, and never will be.  Else it has
 * failed: where the receiver cannot be reached, or says that it has too much
 * to do, that is not the intent's fault; where it answers, it may be.
 */


#include "ngx_http_intent_webhook_private.h"


#define NGX_HTTP_INTENT_WEBHOOK_POOL      512
#define NGX_HTTP_INTENT_WEBHOOK_ROW_POOL  1024

/* ms, until a delivery that failed is tried again: at first, at most */
#define NGX_HTTP_INTENT_WEBHOOK_BACKOFF   1000
#define NGX_HTTP_INTENT_WEBHOOK_REFUSED   300000    /* by an answer */
#define NGX_HTTP_INTENT_WEBHOOK_UNHEARD   30000     /* no answer */
#define NGX_HTTP_INTENT_WEBHOOK_PAUSED    5000      /* nor for others */

/* ms, until a row that is not understood is read again */
#define NGX_HTTP_INTENT_WEBHOOK_UNREAD    300000

/* failures in a row, without one that was taken */
#define NGX_HTTP_INTENT_WEBHOOK_FAILURES  10

/* ms, that a receiver may ask to be left alone */
#define NGX_HTTP_INTENT_WEBHOOK_AFTER     300000

#define NGX_HTTP_INTENT_WEBHOOK_GONE      410


static ngx_int_t ngx_http_intent_webhook_read(
    ngx_http_intent_webhook_delivery_t *d, void *rows, ngx_uint_t i,
    ngx_pool_t *pool);
static ngx_int_t ngx_http_intent_webhook_unread(
    ngx_http_intent_webhook_delivery_t *d);
static ngx_int_t ngx_http_intent_webhook_body(
    ngx_http_intent_webhook_delivery_t *d, ngx_pool_t *pool,
    ngx_http_intent_t *in);
static void ngx_http_intent_webhook_answered(void *data,
    ngx_http_intent_post_t *post);
static void ngx_http_intent_webhook_taken(
    ngx_http_intent_webhook_delivery_t *d);
static void ngx_http_intent_webhook_not_taken(
    ngx_http_intent_webhook_delivery_t *d, ngx_http_intent_post_t *post);
static void ngx_http_intent_webhook_see(
    ngx_http_intent_webhook_delivery_t *d, ngx_http_intent_post_t *post,
    ngx_msec_t after);
static ngx_uint_t ngx_http_intent_webhook_unheard(
    ngx_http_intent_post_t *post);
static void ngx_http_intent_webhook_give_up(
    ngx_http_intent_webhook_delivery_t *d, ngx_http_intent_post_t *post);
static ngx_msec_t ngx_http_intent_webhook_backoff(ngx_uint_t failures,
    ngx_msec_t max);


ngx_int_t
ngx_http_intent_webhook_delivery(ngx_http_intent_webhook_queue_t *q,
    void *rows, ngx_uint_t i)
{
    ngx_int_t                            rc;
    ngx_pool_t                          *pool, *temp;
    ngx_http_intent_webhook_delivery_t  *d;

    pool = ngx_create_pool(NGX_HTTP_INTENT_WEBHOOK_POOL, q->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    d = ngx_pcalloc(pool, sizeof(ngx_http_intent_webhook_delivery_t));
    temp = ngx_create_pool(NGX_HTTP_INTENT_WEBHOOK_ROW_POOL, q->log);

    if (d == NULL || temp == NULL) {
        rc = NGX_ERROR;

    } else {
        d->pool = pool;
        d->owner = q;
        d->read_at = ngx_current_msec;

        rc = ngx_http_intent_webhook_read(d, rows, i, temp);
    }

    if (temp) {
        ngx_destroy_pool(temp);
    }

    if (rc == NGX_ERROR) {
        ngx_destroy_pool(pool);
        return NGX_ERROR;
    }

    q->n++;
    q->bytes += d->body.len;
    ngx_queue_insert_tail(rc == NGX_OK ? &q->ready : &q->told, &d->queue);

    return rc;
}


/* only what is sent is kept: params may be large, and many are read ahead */

static ngx_int_t
ngx_http_intent_webhook_read(ngx_http_intent_webhook_delivery_t *d,
    void *rows, ngx_uint_t i, ngx_pool_t *pool)
{
    ngx_int_t          rc;
    ngx_http_intent_t  in;

    rc = ngx_http_intent_store_webhook_row(rows, i, pool, &in, &d->failures,
                                           &d->age);

    if (in.id.len == 0
        || ngx_http_intent_id_parse(in.id.data, in.id.len, d->told.id)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    d->told.version = in.version;

    d->id.len = in.id.len;
    d->id.data = ngx_pstrdup(d->pool, &in.id);

    if (d->id.data == NULL) {
        return NGX_ERROR;
    }

    if (rc != NGX_OK) {
        return ngx_http_intent_webhook_unread(d);
    }

    return ngx_http_intent_webhook_body(d, pool, &in);
}


/*
 * Of a newer version, perhaps, or written by hand.  It goes behind the others,
 * which it would be read before for ever; an update may understand it.
 */

static ngx_int_t
ngx_http_intent_webhook_unread(ngx_http_intent_webhook_delivery_t *d)
{
    ngx_http_intent_webhook_t  *wh;

    wh = d->owner->webhook;

    d->told.counts = 1;
    d->told.delay = NGX_HTTP_INTENT_WEBHOOK_UNREAD;

    if ((time_t) (d->age / 1000) >= wh->max_age) {
        d->told.done = 1;
        ngx_http_intent_stat_inc(wh->given_up, 1);
    }

    ngx_log_error(NGX_LOG_ERR, d->owner->log, 0,
                  "intent webhook \"%V\": version %ui of intent %V is not "
                  "understood, it is %s", &wh->uri, d->told.version, &d->id,
                  d->told.done ? "given up, it is older than max_age"
                               : "read again in 5 minutes");

    return NGX_DECLINED;
}


/* what a status and a push have, as an event */

static ngx_int_t
ngx_http_intent_webhook_body(ngx_http_intent_webhook_delivery_t *d,
    ngx_pool_t *pool, ngx_http_intent_t *in)
{
    u_char     *p;
    ngx_str_t   json;

    json = ngx_http_intent_json(pool, in);

    if (json.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_pnalloc(d->pool, sizeof(NGX_HTTP_INTENT_EVENT) + json.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    d->body.data = p;
    p = ngx_cpymem(p, NGX_HTTP_INTENT_EVENT,
                   sizeof(NGX_HTTP_INTENT_EVENT) - 1);
    p = ngx_cpymem(p, json.data + 1, json.len - 1);
    d->body.len = p - d->body.data;

    return NGX_OK;
}


ngx_int_t
ngx_http_intent_webhook_delivery_send(ngx_http_intent_webhook_delivery_t *d)
{
    ngx_str_t                         body;
    ngx_http_intent_post_t           *post;
    ngx_http_intent_webhook_t        *wh;
    ngx_http_intent_webhook_queue_t  *q;

    q = d->owner;
    wh = q->webhook;

    post = ngx_http_intent_post_create("webhook");
    if (post == NULL) {
        return NGX_ERROR;
    }

    /* of the post's pool: one that is cancelled may outlive the delivery */

    body.len = d->body.len;
    body.data = ngx_pstrdup(post->pool, &d->body);

    if (body.data == NULL
        || ngx_http_intent_webhook_sign(wh, post, &d->id, d->told.version,
                                        &body)
           != NGX_OK)
    {
        ngx_http_intent_post_destroy(post);
        return NGX_ERROR;
    }

    post->timeout = wh->timeout;
    d->start = ngx_http_intent_seconds();

    if (ngx_http_intent_post_send(post, &wh->uri, wh->ctx, &body,
                                  ngx_http_intent_webhook_answered, d)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, q->log, 0,
                   "intent webhook \"%V\": version %ui of %V is sent",
                   &wh->uri, d->told.version, &d->id);

    d->post = post;

    ngx_queue_remove(&d->queue);
    ngx_queue_insert_tail(&q->flying, &d->queue);
    q->nflying++;

    return NGX_OK;
}


void
ngx_http_intent_webhook_delivery_destroy(
    ngx_http_intent_webhook_delivery_t *d)
{
    if (d->post) {
        ngx_http_intent_post_cancel(d->post);
        d->owner->nflying--;
    }

    ngx_queue_remove(&d->queue);
    d->owner->n--;
    d->owner->bytes -= d->body.len;

    ngx_destroy_pool(d->pool);
}


static void
ngx_http_intent_webhook_answered(void *data, ngx_http_intent_post_t *post)
{
    ngx_http_intent_webhook_delivery_t *d = data;

    ngx_http_intent_webhook_t        *wh;
    ngx_http_intent_webhook_queue_t  *q;

    q = d->owner;
    wh = q->webhook;

    d->post = NULL;
    q->nflying--;

    ngx_queue_remove(&d->queue);
    ngx_queue_insert_tail(&q->told, &d->queue);

    ngx_http_intent_stat_observe(wh->seconds,
                                 ngx_http_intent_seconds() - d->start);

    ngx_log_debug5(NGX_LOG_DEBUG_HTTP, q->log, 0,
                   "intent webhook \"%V\": version %ui of %V, rc:%i "
                   "status:%ui", &wh->uri, d->told.version, &d->id, post->rc,
                   post->status);

    /* a body nobody reads may have been cut short; the status was said */

    if (post->status >= NGX_HTTP_OK
        && post->status < NGX_HTTP_SPECIAL_RESPONSE
        && !post->late)
    {
        ngx_http_intent_webhook_taken(d);

    } else {
        ngx_http_intent_webhook_not_taken(d, post);
    }

    ngx_http_intent_webhook_queue_run(q);
}


static void
ngx_http_intent_webhook_taken(ngx_http_intent_webhook_delivery_t *d)
{
    ngx_http_intent_webhook_t        *wh;
    ngx_http_intent_webhook_queue_t  *q;

    q = d->owner;
    wh = q->webhook;

    d->told.done = 1;
    q->row = 0;

    ngx_http_intent_stat_inc(wh->delivered, 1);
    ngx_http_intent_stat_observe(wh->delay,
                     (d->age + (ngx_current_msec - d->read_at)) / 1000.0);

    if (q->breaker != NGX_HTTP_INTENT_WEBHOOK_CLOSED) {
        ngx_log_error(NGX_LOG_NOTICE, q->log, 0,
                      "intent webhook \"%V\" takes what it is told again",
                      &wh->uri);

        ngx_http_intent_webhook_queue_pause(q, 0);
    }
}


static void
ngx_http_intent_webhook_not_taken(ngx_http_intent_webhook_delivery_t *d,
    ngx_http_intent_post_t *post)
{
    time_t                            age;
    ngx_uint_t                        unheard;
    ngx_msec_t                        after, max;
    ngx_http_intent_webhook_queue_t  *q;

    q = d->owner;
    age = (time_t) ((d->age + (ngx_current_msec - d->read_at)) / 1000);
    unheard = ngx_http_intent_webhook_unheard(post);
    after = ngx_min(post->retry_after, NGX_HTTP_INTENT_WEBHOOK_AFTER);

    ngx_http_intent_stat_inc(q->webhook->failed, 1);

    ngx_log_error(NGX_LOG_INFO, q->log, 0,
                  "intent webhook \"%V\": version %ui of intent %V was not "
                  "taken, status %ui", &q->webhook->uri, d->told.version,
                  &d->id, post->status);

    if (post->status == NGX_HTTP_INTENT_WEBHOOK_GONE
        || age >= q->webhook->max_age)
    {
        ngx_http_intent_webhook_give_up(d, post);
        return;
    }

    /* one that was refused before tells nothing new of the receiver */

    if (unheard || d->failures == 0) {
        q->row++;
    }

    /* while nobody answers, one that goes to see is not made to wait long */

    max = unheard ? NGX_HTTP_INTENT_WEBHOOK_UNHEARD
                  : NGX_HTTP_INTENT_WEBHOOK_REFUSED;

    if (q->breaker != NGX_HTTP_INTENT_WEBHOOK_CLOSED) {
        max = NGX_HTTP_INTENT_WEBHOOK_PAUSED;
    }

    d->told.counts = 1;
    d->told.delay = ngx_http_intent_webhook_backoff(d->failures, max);
    d->told.delay = ngx_max(d->told.delay, after);

    /* what one intent is always answered is not said of the others */

    ngx_http_intent_webhook_see(d, post, d->failures == 0 ? after : 0);
}


/* what a failure tells of the receiver: whether the webhook pauses */

static void
ngx_http_intent_webhook_see(ngx_http_intent_webhook_delivery_t *d,
    ngx_http_intent_post_t *post, ngx_msec_t after)
{
    ngx_http_intent_webhook_queue_t  *q;

    q = d->owner;

    if (q->breaker == NGX_HTTP_INTENT_WEBHOOK_OPEN) {
        return;
    }

    if (q->breaker == NGX_HTTP_INTENT_WEBHOOK_CLOSED) {

        if (after) {
            ngx_log_error(NGX_LOG_NOTICE, q->log, 0,
                          "intent webhook \"%V\" asks to be left alone for "
                          "%M ms", &q->webhook->uri, after);

        } else if (q->row >= NGX_HTTP_INTENT_WEBHOOK_FAILURES) {
            ngx_log_error(NGX_LOG_WARN, q->log, 0,
                          "intent webhook \"%V\" has not taken %ui in a row, "
                          "the last with status %ui: it is asked now and "
                          "then, what it is to be told is kept",
                          &q->webhook->uri, q->row, post->status);

        } else {
            return;
        }
    }

    ngx_http_intent_webhook_queue_pause(q, ngx_max(after, 1));
}


static ngx_uint_t
ngx_http_intent_webhook_unheard(ngx_http_intent_post_t *post)
{
    switch (post->status) {

    case 0:
    case NGX_HTTP_CLIENT_CLOSED_REQUEST:
    case NGX_HTTP_TOO_MANY_REQUESTS:
    case NGX_HTTP_BAD_GATEWAY:
    case NGX_HTTP_SERVICE_UNAVAILABLE:
    case NGX_HTTP_GATEWAY_TIME_OUT:
        return 1;
    }

    return 0;
}


static void
ngx_http_intent_webhook_give_up(ngx_http_intent_webhook_delivery_t *d,
    ngx_http_intent_post_t *post)
{
    d->told.done = 1;

    ngx_http_intent_stat_inc(d->owner->webhook->given_up, 1);

    ngx_log_error(NGX_LOG_ERR, d->owner->log, 0,
                  "intent webhook \"%V\": version %ui of intent %V is given "
                  "up, %s, the last status is %ui", &d->owner->webhook->uri,
                  d->told.version, &d->id,
                  post->status == NGX_HTTP_INTENT_WEBHOOK_GONE
                  ? "it is not wanted" : "it is older than max_age",
                  post->status);
}


/* doubled for each failure, a fifth more or less */

static ngx_msec_t
ngx_http_intent_webhook_backoff(ngx_uint_t failures, ngx_msec_t max)
{
    ngx_msec_t  ms;

    ms = (ngx_msec_t) NGX_HTTP_INTENT_WEBHOOK_BACKOFF << ngx_min(failures, 10);
    ms = ngx_min(ms, max);

    return ms * (80 + (ngx_msec_t) ngx_random() % 41) / 100;
}
