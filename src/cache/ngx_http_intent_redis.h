
/*
 * A Redis session in the event loop: connect, handshake, pipelined commands
 * with a time limit, subscriptions, reconnection with backoff.  Private to
 * src/cache: other rooms go through ngx_http_intent_cache.h.
 */


#ifndef _NGX_HTTP_INTENT_REDIS_H_INCLUDED_
#define _NGX_HTTP_INTENT_REDIS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_event_connect.h>

#include <hiredis/hiredis.h>


typedef struct {
    ngx_str_t                        name;      /* as configured */
    ngx_addr_t                      *addrs;     /* tried one after the other */
    ngx_uint_t                       naddrs;
    ngx_uint_t                       db;
    ngx_str_t                        user;      /* may be empty */
    ngx_str_t                        password;  /* empty: no AUTH */
    ngx_msec_t                       timeout;   /* of connect, of a command */
} ngx_http_intent_redis_conf_t;


typedef struct ngx_http_intent_redis_s  ngx_http_intent_redis_t;

/*
 * reply is NULL when the session was lost before an answer came, and belongs
 * to the session: it is freed after the handler has returned.
 */
typedef void (*ngx_http_intent_redis_reply_pt)(void *data, redisReply *reply);

/*
 * up: 1 when the session takes commands; 0 when it was lost, after every
 * command on it has got its answer.
 */
typedef void (*ngx_http_intent_redis_state_pt)(void *data, ngx_uint_t up);

/* data is that of the state handler */
typedef void (*ngx_http_intent_redis_message_pt)(void *data,
    ngx_str_t *channel, ngx_str_t *message);


/*
 * Makes a session and starts to connect; tries again for ever.  conf must
 * live as long as the session, memory is from pool.  NULL: no memory.
 */
ngx_http_intent_redis_t *ngx_http_intent_redis_create(ngx_pool_t *pool,
    ngx_http_intent_redis_conf_t *conf, ngx_log_t *log,
    ngx_http_intent_redis_state_pt state, void *data);

ngx_uint_t ngx_http_intent_redis_is_up(ngx_http_intent_redis_t *rd);

/*
 * A command is written by its caller, in RESP, where it will be sent from:
 * begin gives room for size bytes, commit takes what was written up to last.
 * All commands of one turn of the event loop leave in one write.  Without a
 * commit nothing is sent.  NULL: the session is not up, or too much waits to
 * be sent or answered.  handler is called exactly once, never from within
 * commit; it may be NULL.
 */
u_char *ngx_http_intent_redis_begin(ngx_http_intent_redis_t *rd, size_t size);
void ngx_http_intent_redis_commit(ngx_http_intent_redis_t *rd, u_char *last,
    ngx_http_intent_redis_reply_pt handler, void *data);

/* commands that wait for their answers */
ngx_uint_t ngx_http_intent_redis_pending(ngx_http_intent_redis_t *rd);

/*
 * From now on the session subscribes to channels, which is its user's to do
 * after each reconnection again, and is of no use for other commands.
 */
void ngx_http_intent_redis_on_message(ngx_http_intent_redis_t *rd,
    ngx_http_intent_redis_message_pt handler);

/* for exit_process: nothing is called any more, pending handlers neither */
void ngx_http_intent_redis_close(ngx_http_intent_redis_t *rd);


/* ---- writing RESP ---- */

/* room for a bulk string of len bytes */
#define ngx_http_intent_redis_bulk_len(len)                                   \
    ((len) + sizeof("$\r\n\r\n") - 1 + NGX_SIZE_T_LEN)

/* room for the head of a command */
#define NGX_HTTP_INTENT_REDIS_HEAD_LEN                                        \
    (sizeof("*\r\n") - 1 + NGX_SIZE_T_LEN)

u_char *ngx_http_intent_redis_head(u_char *p, ngx_uint_t args);
u_char *ngx_http_intent_redis_bulk(u_char *p, u_char *data, size_t len);

#define ngx_http_intent_redis_literal(p, s)                                   \
    ngx_http_intent_redis_bulk(p, (u_char *) s, sizeof(s) - 1)


#endif /* _NGX_HTTP_INTENT_REDIS_H_INCLUDED_ */
