
/* private to src/push: what its own files share, transports apart */


#ifndef _NGX_HTTP_INTENT_PUSH_PRIVATE_H_INCLUDED_
#define _NGX_HTTP_INTENT_PUSH_PRIVATE_H_INCLUDED_


#include "ngx_http_intent.h"
#include "ngx_http_intent_cache.h"
#include "ngx_http_intent_push.h"
#include "ngx_http_intent_push_hub.h"


/* where a page may be from that connects */
#define NGX_HTTP_INTENT_PUSH_ORIGIN_SELF  0x01
#define NGX_HTTP_INTENT_PUSH_ORIGIN_ANY   0x02


typedef struct {
    ngx_uint_t                          origin;     /* bits */
    ngx_array_t                        *origins;    /* ngx_str_t */
    ngx_uint_t                          connections;
    ngx_uint_t                          subscriptions;
    size_t                              buffer;
    size_t                              message_size;
    ngx_msec_t                          ping;
    ngx_msec_t                          ping_timeout;
    ngx_msec_t                          retry;
} ngx_http_intent_push_loc_conf_t;


/* an intent of a user */
typedef struct {
    ngx_str_node_t                      node;       /* by id */
    ngx_queue_t                         queue;      /* from the oldest */
    ngx_uint_t                          version;
    ngx_uint_t                          round;
    ngx_http_intent_push_message_t     *message;    /* NULL: final */
    u_char                              id[NGX_HTTP_INTENT_ID_LEN];
} ngx_http_intent_push_entry_t;


/* those of the topic of a user */
typedef struct {
    ngx_rbtree_t                        rbtree;
    ngx_rbtree_node_t                   sentinel;
    ngx_queue_t                         queue;
    ngx_uint_t                          n;
    ngx_uint_t                          round;      /* of reading the list */
    int64_t                             since;      /* somebody watches */
} ngx_http_intent_push_entries_t;


/*
 * What is watched, by one client or by thousands: an intent, or a user's
 * intents.  What was told last is the same for all subscribers; who comes
 * later begins with it.
 */
typedef struct {
    ngx_str_node_t                      node;       /* of the hub */
    ngx_http_intent_cache_watch_t       watch;
    ngx_queue_t                         subscribers;
    ngx_queue_t                        *next;       /* while they are told */
    ngx_queue_t                         polled;
    ngx_queue_t                         read;
    ngx_uint_t                          reading;    /* under way */

    ngx_http_intent_push_message_t     *last;       /* of an intent */
    ngx_http_intent_push_entries_t     *entries;    /* NULL: an intent */

    unsigned                            up:1;       /* Redis tells changes */
    unsigned                            live:1;     /* was read */
    unsigned                            final:1;
    unsigned                            telling:1;
    unsigned                            in_polled:1;
    unsigned                            in_read:1;
    unsigned                            dead:1;

    u_char                              name[1];
} ngx_http_intent_push_topic_t;


/* reads of Postgres that leave together */
typedef struct ngx_http_intent_push_batch_s  ngx_http_intent_push_batch_t;


/* of this worker */
typedef struct {
    ngx_rbtree_t                        topics;
    ngx_rbtree_node_t                   sentinel;
    ngx_queue_t                         polled;     /* not told by Redis */
    ngx_queue_t                         reads;      /* that wait */
    ngx_uint_t                          nreads;     /* under way */
    ngx_http_intent_push_batch_t       *batch;      /* NULL: none yet */

    ngx_queue_t                         clients;
    ngx_queue_t                         drained;    /* clients, told so */

    ngx_rbtree_t                        addresses;
    ngx_rbtree_node_t                   address_sentinel;

    ngx_http_intent_cache_watch_t       missed;
    ngx_event_t                         poll;
    ngx_event_t                         pump;
    ngx_event_t                         drain;
    ngx_connection_t                    dumb;
    ngx_log_t                          *log;
    unsigned                            draining:1;
} ngx_http_intent_push_hub_t;


/* NULL: this process has none */
extern ngx_http_intent_push_hub_t  *ngx_http_intent_push_hub;


/* ---- messages ---- */

/* of the JSON of an intent; NULL: it is none, or no memory */
ngx_http_intent_push_message_t *ngx_http_intent_push_message(
    ngx_str_t *json, ngx_log_t *log);


/* ---- the hub ---- */

ngx_int_t ngx_http_intent_push_hub_init(ngx_cycle_t *cycle);
void ngx_http_intent_push_observer(ngx_http_intent_t *in, ngx_uint_t from);

/* tells its subscribers, if it is news to them; the topic may be gone then */
void ngx_http_intent_push_told(ngx_http_intent_push_topic_t *topic,
    ngx_http_intent_push_message_t *m);

/* there is no such intent; the topic may be gone then */
void ngx_http_intent_push_nothing(ngx_http_intent_push_topic_t *topic);

/* frees it if nobody needs it any more */
void ngx_http_intent_push_topic_release(ngx_http_intent_push_topic_t *topic);


/* ---- reading ---- */

void ngx_http_intent_push_read_init(ngx_http_intent_push_hub_t *hub);
/* soon, by the cache where it is the first time, else by the store */
void ngx_http_intent_push_read(ngx_http_intent_push_topic_t *topic);
/* once a second, until Redis tells changes */
void ngx_http_intent_push_poll(ngx_http_intent_push_topic_t *topic);
void ngx_http_intent_push_read_cancel(ngx_http_intent_push_topic_t *topic);


/* ---- transports ---- */

extern ngx_http_intent_push_transport_t  ngx_http_intent_push_ws_transport;
extern ngx_http_intent_push_transport_t  ngx_http_intent_push_sse_transport;


#endif /* _NGX_HTTP_INTENT_PUSH_PRIVATE_H_INCLUDED_ */
