
/* private to src/push: the parts of the Socket.IO transport */


#ifndef _NGX_HTTP_INTENT_PUSH_SOCKETIO_H_INCLUDED_
#define _NGX_HTTP_INTENT_PUSH_SOCKETIO_H_INCLUDED_


#include "ngx_http_intent_push_private.h"
#include "ngx_http_intent_push_websocket.h"
#include "ngx_http_intent_push_socketio_packet.h"


#define NGX_HTTP_INTENT_SOCKETIO_ID_LEN  22     /* base64url of 16 bytes */


/* ---- records: sessions, in memory that all workers share ---- */

typedef enum {
    ngx_http_intent_socketio_no_change = 0,
    ngx_http_intent_socketio_join,      /* the owner is a new one */
    ngx_http_intent_socketio_rejoin,    /* the client asks from the start */
    ngx_http_intent_socketio_leave
} ngx_http_intent_socketio_change_e;


/* an intent that is watched, or was told */
typedef struct {
    ngx_uint_t                           version;   /* that was told */
    unsigned                             change:2;  /* not known to the hub */
    unsigned                             watched:1;
    u_char                               id[NGX_HTTP_INTENT_ID_LEN];
} ngx_http_intent_socketio_entry_t;


/* an Engine.IO packet that the client has not got */
typedef struct ngx_http_intent_socketio_out_s  ngx_http_intent_socketio_out_t;

struct ngx_http_intent_socketio_out_s {
    ngx_http_intent_socketio_out_t      *next;
    size_t                               len;
    u_char                               data[1];
};


/*
 * What a session is, wherever its requests go.  Its owner is the worker that
 * a client's poll or WebSocket came to last: it subscribes in its hub, and
 * goes on after the poll was answered, so that nothing is missed until the
 * next one.  Versions say what is news when another becomes the owner.
 */
typedef struct {
    ngx_str_node_t                       node;      /* by id */
    ngx_queue_t                          queue;     /* by deadline */

    ngx_msec_t                           ping;      /* when; 0: was sent */
    ngx_msec_t                           deadline;  /* of the pong */
    ngx_msec_t                           connect;   /* until when it has to */
    ngx_pid_t                            owner;
    ngx_uint_t                           worker;    /* the owner's number */

    ngx_http_intent_socketio_entry_t    *entries;
    ngx_uint_t                           n;
    ngx_uint_t                           size;
    ngx_uint_t                           watched;

    ngx_http_intent_socketio_out_t      *out;
    ngx_http_intent_socketio_out_t     **last;
    size_t                               queued;

    ngx_str_t                            user;
    int64_t                              since;     /* of the user's intents,
                                                       until that is told */
    int64_t                              alive;     /* was its owner, ms */

    unsigned                             user_change:2;
    unsigned                             by_user:1;
    unsigned                             asked:1;   /* for since */
    unsigned                             connected:1;
    unsigned                             polling:1; /* a poll waits */
    unsigned                             upgrading:1;
    unsigned                             websocket:1;

    u_char                               id[NGX_HTTP_INTENT_SOCKETIO_ID_LEN];
    u_char                               data[1];
} ngx_http_intent_socketio_record_t;


/*
 * Locks all records, and finds one; NULL: there is none, nothing is locked.
 * What is done until the unlock does not call the hub, and waits for nothing.
 */
ngx_http_intent_socketio_record_t *ngx_http_intent_socketio_lock(
    ngx_str_t *id);
void ngx_http_intent_socketio_unlock(void);

/* writes the id of a new one, unlocked; NGX_DECLINED: there is no room */
ngx_int_t ngx_http_intent_socketio_create(u_char *id, ngx_str_t *user,
    ngx_uint_t websocket, ngx_http_intent_push_loc_conf_t *conf);

/* these want the lock */
void ngx_http_intent_socketio_delete(
    ngx_http_intent_socketio_record_t *record);
void ngx_http_intent_socketio_heard(ngx_http_intent_socketio_record_t *record,
    ngx_http_intent_push_loc_conf_t *conf);
ngx_http_intent_socketio_entry_t *ngx_http_intent_socketio_entry(
    ngx_http_intent_socketio_record_t *record, ngx_str_t *id);
/* NULL: no room */
ngx_http_intent_socketio_entry_t *ngx_http_intent_socketio_entry_add(
    ngx_http_intent_socketio_record_t *record, ngx_str_t *id,
    ngx_http_intent_push_loc_conf_t *conf);
void ngx_http_intent_socketio_entry_delete(
    ngx_http_intent_socketio_record_t *record,
    ngx_http_intent_socketio_entry_t *entry);
/* a packet of some pieces; NGX_DECLINED: too much waits for the client */
ngx_int_t ngx_http_intent_socketio_send(
    ngx_http_intent_socketio_record_t *record, ngx_str_t *pieces,
    ngx_uint_t n, ngx_http_intent_push_loc_conf_t *conf);
/* frees those packets that the caller has copied */
void ngx_http_intent_socketio_sent(ngx_http_intent_socketio_record_t *record,
    ngx_uint_t n);
/* this worker is the owner now */
void ngx_http_intent_socketio_own(ngx_http_intent_socketio_record_t *record);


/* ---- sessions: the part that a worker has in them ---- */

typedef struct ngx_http_intent_socketio_request_s
    ngx_http_intent_socketio_request_t;


typedef struct {
    ngx_http_intent_push_client_t        client;
    ngx_str_node_t                       node;      /* by id */
    ngx_event_t                          event;
    ngx_http_intent_push_loc_conf_t     *conf;
    ngx_http_intent_socketio_request_t  *poll;
    ngx_http_intent_socketio_request_t  *websocket;
    ngx_msec_t                           until;     /* another is the owner */
    unsigned                             slow:1;
    unsigned                             over:1;
    unsigned                             drained:1;
    unsigned                             held:1;    /* subscriptions wait until
                                                       others are told */
    u_char                               id[NGX_HTTP_INTENT_SOCKETIO_ID_LEN];
    u_char                               user[1];
} ngx_http_intent_socketio_session_t;


/* a poll, or a WebSocket; in the request's pool */
struct ngx_http_intent_socketio_request_s {
    ngx_http_request_t                  *request;
    ngx_http_intent_push_loc_conf_t     *conf;
    ngx_http_intent_socketio_session_t  *session;   /* NULL: not attached */
    ngx_str_t                            id;
    ngx_str_t                            user;

    unsigned                             ready:1;   /* a poll is to end */
    unsigned                             noop:1;    /* with nothing to tell */
    unsigned                             over:1;

    /* of a WebSocket */
    unsigned                             open:1;
    unsigned                             probing:1;
    unsigned                             probed:1;
    unsigned                             closing:1;
    unsigned                             half:1;
    unsigned                             dead:1;

    intent_frame_reader_t                reader;
    u_char                              *out;       /* ngx_alloc()'ed */
    u_char                              *pos;
    u_char                              *last;
};


/*
 * The session of this worker, or a new one of the address of r; as
 * ngx_http_intent_push_open() returns.
 */
ngx_int_t ngx_http_intent_socketio_session(ngx_http_request_t *r,
    ngx_str_t *id, ngx_str_t *user,
    ngx_http_intent_socketio_session_t **session);

/* something has changed; in whichever worker that is to be noticed */
void ngx_http_intent_socketio_wake(ngx_str_t *id, ngx_pid_t owner,
    ngx_uint_t worker);
void ngx_http_intent_socketio_wake_here(ngx_str_t *id);
void ngx_http_intent_socketio_wake_there(ngx_str_t *id, ngx_uint_t worker);

/* its session does without it from now on */
void ngx_http_intent_socketio_detach(ngx_http_intent_socketio_request_t *sr);

/*
 * What a client says, over whichever transport.  NGX_ERROR: the session is
 * to be ended; NGX_DONE: it has been.
 */
ngx_int_t ngx_http_intent_socketio_packet(ngx_str_t *id, const u_char *data,
    size_t len, ngx_http_intent_push_loc_conf_t *conf, ngx_log_t *log);

/* ends it, wherever */
void ngx_http_intent_socketio_end(ngx_str_t *id);

void ngx_http_intent_socketio_init_sessions(void);


/* ---- requests ---- */

ngx_int_t ngx_http_intent_socketio_handler(ngx_http_request_t *r);

/* in a turn of its own */
void ngx_http_intent_socketio_poll_wake(
    ngx_http_intent_socketio_request_t *sr);

/* the id of a session is empty for a new one */
ngx_int_t ngx_http_intent_socketio_websocket(
    ngx_http_intent_socketio_request_t *sr);
void ngx_http_intent_socketio_websocket_flush(
    ngx_http_intent_socketio_request_t *sr);
void ngx_http_intent_socketio_websocket_close(
    ngx_http_intent_socketio_request_t *sr, ngx_uint_t code);

ngx_int_t ngx_http_intent_socketio_error(ngx_http_request_t *r,
    ngx_uint_t code);
ngx_int_t ngx_http_intent_socketio_refused(ngx_http_request_t *r,
    ngx_int_t rc);
/* "0{…}", in memory of the pool */
ngx_int_t ngx_http_intent_socketio_open_packet(ngx_http_request_t *r,
    ngx_str_t *id, ngx_uint_t websocket, ngx_str_t *packet);


extern ngx_http_intent_push_transport_t  ngx_http_intent_socketio_transport;
extern ngx_module_t                      ngx_http_intent_socketio_module;


/* ---- the zone ---- */

typedef struct {
    ngx_rbtree_t                         rbtree;
    ngx_rbtree_node_t                    sentinel;
    ngx_queue_t                          queue;
} ngx_http_intent_socketio_records_t;

extern ngx_slab_pool_t                     *ngx_http_intent_socketio_pool;
extern ngx_http_intent_socketio_records_t  *ngx_http_intent_socketio_records;


#endif /* _NGX_HTTP_INTENT_PUSH_SOCKETIO_H_INCLUDED_ */
