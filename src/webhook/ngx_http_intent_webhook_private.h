
/* private to src/webhook */


#ifndef _NGX_HTTP_INTENT_WEBHOOK_PRIVATE_H_INCLUDED_
#define _NGX_HTTP_INTENT_WEBHOOK_PRIVATE_H_INCLUDED_


#include "ngx_http_intent.h"
#include "ngx_http_intent_post.h"
#include "ngx_http_intent_secret.h"
#include "ngx_http_intent_cache.h"
#include "ngx_http_intent_store.h"
#include "ngx_http_intent_store_webhook.h"
#include "ngx_http_intent_webhook.h"


/* so many at once, while one is replaced by another */
#define NGX_HTTP_INTENT_WEBHOOK_SECRETS     4

/* bytes of a secret */
#define NGX_HTTP_INTENT_WEBHOOK_MIN_SECRET  24
#define NGX_HTTP_INTENT_WEBHOOK_MAX_SECRET  256


/* the values of intent_webhook_breaker */
typedef enum {
    NGX_HTTP_INTENT_WEBHOOK_CLOSED = 0,
    NGX_HTTP_INTENT_WEBHOOK_HALF_OPEN,      /* one is told, to see */
    NGX_HTTP_INTENT_WEBHOOK_OPEN            /* nobody answers: a pause */
} ngx_http_intent_webhook_breaker_e;


typedef struct {
    u_char                            *key;     /* in a page of its own */
    size_t                             len;
} ngx_http_intent_webhook_secret_t;


/* intent_webhook */
typedef struct {
    ngx_str_t                          uri;
    ngx_array_t                       *args;    /* of ngx_str_t, as written */
    ngx_http_conf_ctx_t               *ctx;     /* of the server it is in */
    ngx_str_t                          file;
    ngx_uint_t                         line;

    ngx_http_intent_webhook_secret_t   secrets
                                           [NGX_HTTP_INTENT_WEBHOOK_SECRETS];
    ngx_uint_t                         nsecrets;
    ngx_uint_t                         max_in_flight;
    ngx_msec_t                         timeout;
    time_t                             max_age;

    ngx_http_intent_stat_t            *delivered;
    ngx_http_intent_stat_t            *failed;
    ngx_http_intent_stat_t            *given_up;
    ngx_http_intent_stat_t            *waiting;
    ngx_http_intent_stat_t            *breaker;
    ngx_http_intent_stat_t            *seconds; /* of a POST */
    ngx_http_intent_stat_t            *delay;   /* from the commit */

    struct ngx_http_intent_webhook_queue_s  *queue; /* of this worker */
} ngx_http_intent_webhook_t;


typedef struct ngx_http_intent_webhook_queue_s
    ngx_http_intent_webhook_queue_t;


/* one version of an intent, from when it was read until it is settled */
typedef struct {
    ngx_queue_t                        queue;
    ngx_pool_t                        *pool;
    ngx_http_intent_webhook_queue_t   *owner;
    ngx_str_t                          body;
    ngx_str_t                          id;      /* of the intent, in text */
    ngx_uint_t                         failures;
    ngx_msec_t                         age;     /* when it was read */
    ngx_msec_t                         read_at;
    double                             start;   /* of the POST */
    ngx_http_intent_post_t            *post;    /* while it is under way */
    ngx_http_intent_store_told_t       told;
} ngx_http_intent_webhook_delivery_t;


/* what a worker does for a webhook */
struct ngx_http_intent_webhook_queue_s {
    ngx_http_intent_webhook_t         *webhook;
    ngx_http_intent_store_webhook_t   *store;
    ngx_http_intent_cache_watch_t      watch;
    ngx_log_t                         *log;

    /* of ngx_http_intent_webhook_delivery_t */
    ngx_queue_t                        ready;
    ngx_queue_t                        flying;
    ngx_queue_t                        told;    /* to be settled */
    ngx_queue_t                        settling;
    ngx_uint_t                         n;       /* in all of them */
    size_t                             bytes;   /* of their bodies */
    ngx_uint_t                         nflying;
    ngx_uint_t                         nsettling;
    ngx_uint_t                         asked;   /* rows, of a fetch */

    ngx_uint_t                         breaker; /* ..._breaker_e */
    ngx_uint_t                         row;     /* failures in a row */
    ngx_msec_t                         pause;   /* the last one */

    ngx_event_t                        poll;    /* timer */
    ngx_event_t                        open;    /* timer: the end of a pause */
    ngx_event_t                        grace;   /* timer, when draining */
    ngx_event_t                        wake;    /* posted */
    ngx_connection_t                   dumb;    /* the events' own data */
    ngx_msec_t                         counted_at;
    ngx_msec_t                         forgot_at;

    unsigned                           held:1;  /* this worker tells it */
    unsigned                           up:1;    /* Postgres can be asked */
    unsigned                           due:1;   /* there may be more */
    unsigned                           later:1; /* settling was refused */
    unsigned                           fetching:1;
    unsigned                           counting:1;
    unsigned                           forgetting:1;
    unsigned                           draining:1;
    unsigned                           watched:1;
};


/* ---- configuration: ngx_http_intent_webhook_module.c ---- */

/* of this worker's configuration; NULL: there is none of that uri */
ngx_http_intent_webhook_t *ngx_http_intent_webhook_find(ngx_str_t *uri);


/* ---- secrets and signatures: ngx_http_intent_webhook_signature.c ---- */

/* reads a "secret_file="; NGX_CONF_ERROR: an [emerg] was logged */
char *ngx_http_intent_webhook_secret(ngx_conf_t *cf,
    ngx_http_intent_webhook_t *wh, ngx_str_t *path);

/*
 * Sets the headers of Standard Webhooks: id, timestamp and, if there is a
 * secret, signature.  NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_intent_webhook_sign(ngx_http_intent_webhook_t *wh,
    ngx_http_intent_post_t *post, ngx_str_t *id, ngx_uint_t version,
    ngx_str_t *body);


/* ---- the queue: ngx_http_intent_webhook_queue.c ---- */

/* in init_process; NGX_ERROR: no memory */
ngx_int_t ngx_http_intent_webhook_queue_init(ngx_cycle_t *cycle,
    ngx_http_intent_webhook_t *wh);
void ngx_http_intent_webhook_queue_exit(ngx_http_intent_webhook_t *wh);

/* there is something new */
void ngx_http_intent_webhook_queue_wake(ngx_http_intent_webhook_queue_t *q);

/* does what can be done: at the end of each callback */
void ngx_http_intent_webhook_queue_run(ngx_http_intent_webhook_queue_t *q);

void ngx_http_intent_webhook_queue_pause(ngx_http_intent_webhook_queue_t *q,
    ngx_msec_t pause);


/* ---- a delivery: ngx_http_intent_webhook_delivery.c ---- */

/*
 * Of a row of Postgres.  NGX_DECLINED: it is not understood, which will be
 * settled; NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_intent_webhook_delivery(
    ngx_http_intent_webhook_queue_t *q, void *rows, ngx_uint_t i);

/* posts it, from ready to flying; NGX_ERROR: no memory, it stays */
ngx_int_t ngx_http_intent_webhook_delivery_send(
    ngx_http_intent_webhook_delivery_t *d);

/* takes it out of its queue, and ends its POST if there is one */
void ngx_http_intent_webhook_delivery_destroy(
    ngx_http_intent_webhook_delivery_t *d);


#endif /* _NGX_HTTP_INTENT_WEBHOOK_PRIVATE_H_INCLUDED_ */
