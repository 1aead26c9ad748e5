
/*
 * The hub of a worker, for transports.  A transport keeps an
 * ngx_http_intent_push_client_t for each of its connections, says what that
 * subscribes to, and is called with messages.  Private to src/push.
 */


#ifndef _NGX_HTTP_INTENT_PUSH_HUB_H_INCLUDED_
#define _NGX_HTTP_INTENT_PUSH_HUB_H_INCLUDED_


#include "ngx_http_intent.h"
#include "ngx_http_intent_cache.h"


/* what a message begins with where it is an event of its own */
#define NGX_HTTP_INTENT_PUSH_EVENT     NGX_HTTP_INTENT_EVENT

/* bytes before a message's text, for the WebSocket transport */
#define NGX_HTTP_INTENT_PUSH_HEADROOM  10


/* ---- messages: one for all who receive it ---- */

/*
 * Counted: who keeps one beyond the call takes a reference.  Nothing in it is
 * changed but frame, which is the WebSocket transport's.
 */
typedef struct {
    ngx_uint_t     refs;
    ngx_uint_t     version;     /* of the intent */
    ngx_uint_t     final;       /* no other one will follow */
    int64_t        updated_at;  /* milliseconds since the epoch; 0: unknown */
    ngx_str_t      id;
    ngx_str_t      text;        /* {"event":"intentUpdate","intentId":…} */
    ngx_str_t      members;     /* the intent's JSON behind its "{" */
    ngx_str_t      frame;
} ngx_http_intent_push_message_t;

#define ngx_http_intent_push_message_keep(m)  (m)->refs++
void ngx_http_intent_push_message_free(ngx_http_intent_push_message_t *m);


/* ---- transports ---- */

typedef struct ngx_http_intent_push_client_s  ngx_http_intent_push_client_t;
typedef struct ngx_http_intent_push_snapshot_s
    ngx_http_intent_push_snapshot_t;


#define NGX_HTTP_INTENT_PUSH_TRANSPORTS  3

/* what goes up and down, each process' share in it known */
typedef enum {
    NGX_HTTP_INTENT_PUSH_CONNECTIONS = 0,
    NGX_HTTP_INTENT_PUSH_SUBSCRIPTIONS,
    NGX_HTTP_INTENT_PUSH_GAUGES
} ngx_http_intent_push_gauge_e;


typedef struct {
    ngx_http_intent_stat_t    *gauges[NGX_HTTP_INTENT_PUSH_GAUGES];
    ngx_http_intent_stat_t    *messages;
    ngx_http_intent_shared_t  *shares;      /* that processes have in gauges */
} ngx_http_intent_push_stats_t;


typedef struct {
    ngx_str_t      name;        /* the label "transport" */

    /*
     * Takes a message, in the order of versions, none of them twice.  In any
     * of these a client may be closed and its subscriptions changed, but its
     * memory has to last until the next turn of the event loop.
     */
    void         (*message)(ngx_http_intent_push_client_t *client,
                            ngx_http_intent_push_message_t *m);

    /* there is no such intent, the subscription is gone */
    void         (*missing)(ngx_http_intent_push_client_t *client,
                            ngx_str_t *id);

    /*
     * The worker exits: to tell the peer, and to close within seconds.  The
     * process lives until all clients are closed.
     */
    void         (*drain)(ngx_http_intent_push_client_t *client);

    /*
     * Of a snapshot, which is not worth a client's connection: may more of it
     * be told now?  If not, ngx_http_intent_push_more() is called later.
     */
    ngx_uint_t   (*ready)(ngx_http_intent_push_client_t *client);

    /*
     * All is told that the client of ngx_http_intent_push_subscribe_user() had
     * to know, as of at; complete 0: there is more than is told.  NULL: none
     * of its business.
     */
    void         (*caught_up)(ngx_http_intent_push_client_t *client,
                              int64_t at, ngx_uint_t complete);

    /*
     * What is watched could not be read for the first time, and is tried
     * again.  NULL: none of its business.
     */
    void         (*failed)(ngx_http_intent_push_client_t *client);

    /* the module's */
    ngx_http_intent_push_stats_t  *stats;
    ngx_uint_t                     number;
} ngx_http_intent_push_transport_t;


typedef struct {
    ngx_rbtree_node_t                   node;
    ngx_uint_t                          count;
    u_short                             len;
    u_char                              data[1];
} ngx_http_intent_push_address_t;


/* in memory of the transport, zeroed; only user is its to set */
struct ngx_http_intent_push_client_s {
    ngx_str_t                           user;   /* lives as long as this */

    /* the hub's */
    ngx_http_intent_push_transport_t   *transport;
    ngx_http_intent_push_address_t     *address;
    ngx_queue_t                         queue;
    ngx_queue_t                         subscriptions;
    ngx_uint_t                          nsubscriptions;
    ngx_uint_t                          max_subscriptions;
    ngx_http_intent_push_snapshot_t    *snapshot;   /* NULL: all is told */
    ngx_http_intent_push_snapshot_t    *ended;      /* one whose read is still
                                                       under way */
    ngx_uint_t                          by_user;
};


/*
 * NGX_DECLINED: there are too many from this address (intent_push_connections);
 * NGX_ABORT: the worker exits; NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_intent_push_open(ngx_http_intent_push_client_t *client,
    ngx_http_intent_push_transport_t *transport, ngx_http_request_t *r);

/* ends all subscriptions, and the process no longer waits for this client */
void ngx_http_intent_push_close(ngx_http_intent_push_client_t *client);

/*
 * What the intent is now will be told, and then each change; where the hub
 * knows it already, before this returns.  A subscription ends by itself after
 * a final status, unless the client watches its user's intents too.  id is of
 * NGX_HTTP_INTENT_ID_LEN, in lower case, and copied.  To subscribe to what is
 * subscribed does nothing.  NGX_DECLINED: there are too many subscriptions;
 * NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_intent_push_subscribe(
    ngx_http_intent_push_client_t *client, ngx_str_t *id);
void ngx_http_intent_push_unsubscribe(ngx_http_intent_push_client_t *client,
    ngx_str_t *id);

/*
 * The intents of client->user, which must not be empty: those that are
 * unfinished, then each new one and each change.  What the client also watches
 * by its id is told once.  since: those, too, that were finished since then, in
 * milliseconds, and a while before, for clocks differ; 0: none; ANEW: none,
 * either.  Who asks with since where it is subscribed is told all anew;
 * NGX_BUSY: the first time is not over.
 */
#define NGX_HTTP_INTENT_PUSH_ANEW  -1

ngx_int_t ngx_http_intent_push_subscribe_user(
    ngx_http_intent_push_client_t *client, int64_t since);
void ngx_http_intent_push_unsubscribe_user(
    ngx_http_intent_push_client_t *client);

/* the transport is ready again for the rest of a snapshot, if there is one */
void ngx_http_intent_push_more(ngx_http_intent_push_client_t *client);

/* before a connection that still says goodbye is closed */
void ngx_http_intent_push_unsubscribe_all(
    ngx_http_intent_push_client_t *client);


#endif /* _NGX_HTTP_INTENT_PUSH_HUB_H_INCLUDED_ */
