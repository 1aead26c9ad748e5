
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
    ngx_msec_t                          connect_timeout;    /* Socket.IO */
} ngx_http_intent_push_loc_conf_t;


/* an intent of a user */
typedef struct {
    ngx_str_node_t                      node;       /* by id */
    ngx_queue_t                         queue;      /* from the oldest */
    ngx_uint_t                          version;
    ngx_uint_t                          round;
    ngx_uint_t                          serial;     /* of what was told last,
                                                       0: read for snapshots */
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
    ngx_queue_t                         snapshots;  /* not told as a whole */
} ngx_http_intent_push_entries_t;


/*
 * What is watched, by one client or by thousands: an intent, or a user's
 * intents.  What was told last is the same for all subscribers; who comes
 * later begins with it.
 */
typedef struct {
    ngx_str_node_t                      node;       /* of the hub */
    ngx_http_intent_cache_watch_t       watch;
    ngx_queue_t                         subscribers;    /* as they came */
    ngx_queue_t                         rounds;     /* messages to tell */
    ngx_queue_t                        *next;       /* subscriber of the first
                                                       round; NULL: the first */
    ngx_uint_t                          serial;     /* of the last message */
    ngx_queue_t                         fan;
    ngx_queue_t                         polled;
    ngx_queue_t                         read;
    ngx_uint_t                          reading;    /* under way */

    ngx_http_intent_push_message_t     *last;       /* of an intent */
    ngx_http_intent_push_entries_t     *entries;    /* NULL: an intent */

    unsigned                            up:1;       /* Redis tells changes */
    unsigned                            live:1;     /* was read */
    unsigned                            final:1;
    unsigned                            telling:1;
    unsigned                            in_fan:1;
    unsigned                            in_polled:1;
    unsigned                            in_read:1;
    unsigned                            dead:1;

    u_char                              name[1];
} ngx_http_intent_push_topic_t;


typedef struct {
    ngx_queue_t                         of_topic;
    ngx_queue_t                         of_client;
    ngx_http_intent_push_topic_t       *topic;
    ngx_http_intent_push_client_t      *client;
    ngx_uint_t                          serial;     /* of the topic, when it
                                                       came */
} ngx_http_intent_push_subscription_t;


/* reads of Postgres that leave together */
typedef struct ngx_http_intent_push_batch_s  ngx_http_intent_push_batch_t;


/* of this worker */
typedef struct {
    ngx_rbtree_t                        topics;
    ngx_rbtree_node_t                   sentinel;
    ngx_queue_t                         fan;        /* topics with rounds */
    ngx_uint_t                          told;       /* in this turn */
    ngx_event_t                         turn;

    ngx_queue_t                         polled;     /* not told by Redis */
    ngx_queue_t                         reads;      /* that wait */
    ngx_uint_t                          nreads;     /* under way */
    ngx_http_intent_push_batch_t       *batch;      /* NULL: none yet */

    ngx_queue_t                         since;      /* snapshots that wait for
                                                       such a read */
    ngx_uint_t                          nsince;     /* under way */

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

/* that of an intent, or of a user, by NGX_HTTP_INTENT_CACHE_USER and name */
ngx_http_intent_push_topic_t *ngx_http_intent_push_find(ngx_str_t *name);

ngx_http_intent_push_subscription_t *ngx_http_intent_push_subscription(
    ngx_http_intent_push_client_t *client,
    ngx_http_intent_push_topic_t *topic);
void ngx_http_intent_push_leave(ngx_http_intent_push_subscription_t *sub);

/* frees it if nobody needs it any more */
void ngx_http_intent_push_topic_release(ngx_http_intent_push_topic_t *topic);


/* ---- telling ---- */

void ngx_http_intent_push_tell_init(ngx_http_intent_push_hub_t *hub);
void ngx_http_intent_push_observer(ngx_http_intent_t *in, ngx_uint_t from);

/* of the topic's watch */
void ngx_http_intent_push_watch_handler(void *data, ngx_str_t *message);
void ngx_http_intent_push_watch_ready(void *data, ngx_uint_t up);
void ngx_http_intent_push_missed_handler(void *data, ngx_str_t *message);

/*
 * Tells its subscribers, if it is news to them, not all of them in this turn
 * of the loop; the topic may be gone then.
 */
void ngx_http_intent_push_told(ngx_http_intent_push_topic_t *topic,
    ngx_http_intent_push_message_t *m);

/* of a user: as if it had been told, for snapshots; NGX_ERROR: no memory */
ngx_int_t ngx_http_intent_push_known(ngx_http_intent_push_topic_t *topic,
    ngx_http_intent_push_message_t *m);

/* one client, now */
void ngx_http_intent_push_tell(ngx_http_intent_push_client_t *client,
    ngx_http_intent_push_message_t *m);

/* has this turn of the loop told enough of them?  the next one will come */
ngx_uint_t ngx_http_intent_push_enough(void);

/* there is no such intent; the topic may be gone then */
void ngx_http_intent_push_nothing(ngx_http_intent_push_topic_t *topic);

/* it could not be read for the first time */
void ngx_http_intent_push_failed(ngx_http_intent_push_topic_t *topic);

/* what is remembered of an intent of a user; NULL: nothing */
ngx_http_intent_push_entry_t *ngx_http_intent_push_entry(
    ngx_http_intent_push_entries_t *entries, ngx_str_t *id);

/* before it is freed: what is not told, and what is remembered */
void ngx_http_intent_push_forget_rounds(ngx_http_intent_push_topic_t *topic);
void ngx_http_intent_push_forget_all(ngx_http_intent_push_entries_t *entries);


/* ---- snapshots: what a client of a user's topic begins with ---- */

ngx_int_t ngx_http_intent_push_snapshot(
    ngx_http_intent_push_subscription_t *sub, int64_t since);
/* the client does not want it any more */
void ngx_http_intent_push_snapshot_end(ngx_http_intent_push_client_t *client);
/* the client goes */
void ngx_http_intent_push_snapshot_disown(
    ngx_http_intent_push_client_t *client);
/* the topic was read for the first time */
void ngx_http_intent_push_snapshots_go(ngx_http_intent_push_topic_t *topic);
/* the entry will be gone */
void ngx_http_intent_push_snapshots_skip(
    ngx_http_intent_push_entries_t *entries,
    ngx_http_intent_push_entry_t *entry);


/* ---- how many come from an address ---- */

void ngx_http_intent_push_address_init(ngx_http_intent_push_hub_t *hub);
/* as ngx_http_intent_push_open() returns */
ngx_int_t ngx_http_intent_push_address_add(
    ngx_http_intent_push_client_t *client, ngx_http_request_t *r,
    ngx_uint_t max);
void ngx_http_intent_push_address_remove(
    ngx_http_intent_push_client_t *client);


/* ---- statistics ---- */

/* during configuration */
ngx_int_t ngx_http_intent_push_stats_add(ngx_conf_t *cf,
    ngx_http_intent_push_stats_t *stats, ngx_str_t *transport);
/*
 * In a worker, from number 0 on; with the last one takes off what processes
 * have left that did not end by themselves.
 */
void ngx_http_intent_push_stats_init(
    ngx_http_intent_push_transport_t *transport,
    ngx_http_intent_push_stats_t *stats, ngx_uint_t number);
void ngx_http_intent_push_count(ngx_http_intent_push_transport_t *transport,
    ngx_uint_t gauge, ngx_int_t n);


/* ---- reading ---- */

void ngx_http_intent_push_read_init(ngx_http_intent_push_hub_t *hub);
/* soon, by the cache where it is the first time, else by the store */
void ngx_http_intent_push_read(ngx_http_intent_push_topic_t *topic);
/* once a second, until Redis tells changes */
void ngx_http_intent_push_poll(ngx_http_intent_push_topic_t *topic);
void ngx_http_intent_push_read_cancel(ngx_http_intent_push_topic_t *topic);
/* tells it; NGX_ERROR: no memory; the topic may be gone then */
ngx_int_t ngx_http_intent_push_tell_row(ngx_http_intent_push_topic_t *topic,
    ngx_pool_t *pool, ngx_http_intent_t *in);
/* NULL: it is not among them */
ngx_http_intent_t *ngx_http_intent_push_found(ngx_array_t *intents,
    ngx_str_t *id);
/* is it later than what was told, or finished since somebody watches? */
ngx_uint_t ngx_http_intent_push_is_news(ngx_http_intent_push_topic_t *topic,
    ngx_http_intent_t *in);


/*
 * Members of an object, and its end, that tell who has caught up:
 * NGX_HTTP_INTENT_PUSH_CAUGHT_UP bytes at the most.
 */
#define NGX_HTTP_INTENT_PUSH_CAUGHT_UP  64

/* what is further ahead of now is no time that anybody has been told */
#define NGX_HTTP_INTENT_PUSH_AHEAD      86400000    /* ms */

u_char *ngx_http_intent_push_caught_up(u_char *p, int64_t at,
    ngx_uint_t complete);


/* ---- requests ---- */

/* the first one of that name, which is in lower case; NULL: there is none */
ngx_str_t *ngx_http_intent_push_header(ngx_http_request_t *r,
    const char *name);
ngx_int_t ngx_http_intent_push_add_header(ngx_http_request_t *r,
    const char *name, const char *value, size_t len);


/* ---- transports ---- */

extern ngx_http_intent_push_transport_t  ngx_http_intent_push_ws_transport;
extern ngx_http_intent_push_transport_t  ngx_http_intent_push_sse_transport;


#endif /* _NGX_HTTP_INTENT_PUSH_PRIVATE_H_INCLUDED_ */
