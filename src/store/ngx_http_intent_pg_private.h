
/*
 * A session, as the two files see it that make it: ngx_http_intent_pg.c asks
 * and answers, ngx_http_intent_pg_connect.c connects and closes.
 */


#ifndef _NGX_HTTP_INTENT_PG_PRIVATE_H_INCLUDED_
#define _NGX_HTTP_INTENT_PG_PRIVATE_H_INCLUDED_


#include "ngx_http_intent_pg.h"
#include <ngx_event.h>


#define NGX_HTTP_INTENT_PG_MIN_BACKOFF   100      /* ms */
#define NGX_HTTP_INTENT_PG_LINE          512

#define NGX_HTTP_INTENT_PG_GREETING_SQL                                       \
    "SET statement_timeout TO %M;"                                            \
    "SET tcp_keepalives_idle TO 10;"                                          \
    "SET tcp_keepalives_interval TO 5;"                                       \
    "SET tcp_keepalives_count TO 3;"                                          \
    "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"


typedef enum {
    NGX_HTTP_INTENT_PG_IDLE = 0,    /* until the next attempt */
    NGX_HTTP_INTENT_PG_CONNECTING,
    NGX_HTTP_INTENT_PG_GREETING,
    NGX_HTTP_INTENT_PG_SETUP,
    NGX_HTTP_INTENT_PG_UP,
    NGX_HTTP_INTENT_PG_LOST,        /* closed, its queries are unanswered */
    NGX_HTTP_INTENT_PG_CLOSED
} ngx_http_intent_pg_step_e;


struct ngx_http_intent_pg_s {
    PGconn                          *conn;
    ngx_connection_t                *connection;
    ngx_http_intent_pg_conf_t       *conf;
    const char                      *name;
    ngx_log_t                       *log;

    ngx_uint_t                       step;

    ngx_queue_t                      waiting;   /* for the turn's end */
    ngx_queue_t                      sent;
    ngx_uint_t                       pending;   /* in both */
    PGresult                        *result;    /* of the first in sent */

    ngx_array_t                      prepared;  /* of stmt * */

    ngx_connection_t                 dumb;      /* the events' own data */
    ngx_event_t                      send;      /* posted */
    ngx_event_t                      report;    /* posted */
    ngx_event_t                      limit;     /* timer of the queries */
    ngx_event_t                      retry;     /* timer of the attempts */

    ngx_http_intent_pg_setup_t       setup;
    char                             greeting[sizeof(
                                         NGX_HTTP_INTENT_PG_GREETING_SQL)
                                         + NGX_INT_T_LEN];
    int64_t                          clock;     /* the server's, from ours */

    char                             farewell[NGX_HTTP_INTENT_PG_LINE];

    ngx_uint_t                       address;   /* which conninfo */
    uint32_t                        *reasons;   /* last logged, by address */
    ngx_uint_t                       failures;  /* attempts, one after other */
    ngx_msec_t                       backoff;

    ngx_http_intent_pg_state_pt      state;
    void                            *data;
    unsigned                         was_up:1;
};


/* ---- ngx_http_intent_pg.c ---- */

/* writes what libpq has gathered; the session may be lost after it */
void ngx_http_intent_pg_flush(ngx_http_intent_pg_t *pg);
/* NGX_ERROR: the server has closed the session */
ngx_int_t ngx_http_intent_pg_consume(ngx_http_intent_pg_t *pg);
/* of the connection's two events */
void ngx_http_intent_pg_handler(ngx_event_t *ev);

/* ---- ngx_http_intent_pg_connect.c ---- */

/* the socket of a session that is being made is ready */
void ngx_http_intent_pg_poll(ngx_http_intent_pg_t *pg);
void ngx_http_intent_pg_setup_read(ngx_http_intent_pg_t *pg);

/* closes it at once, logs why, and has its queries answered soon */
void ngx_http_intent_pg_lost(ngx_http_intent_pg_t *pg, const char *why);
void ngx_http_intent_pg_disconnect(ngx_http_intent_pg_t *pg);
/* lets go of the socket, which remains libpq's */
void ngx_http_intent_pg_detach(ngx_http_intent_pg_t *pg);

/* same: the address was good a moment ago */
void ngx_http_intent_pg_schedule(ngx_http_intent_pg_t *pg, ngx_uint_t same);
void ngx_http_intent_pg_retry_handler(ngx_event_t *ev);

/* keeps what the server says last */
void ngx_http_intent_pg_remember(ngx_http_intent_pg_t *pg,
    const PGresult *res);
/* makes one line of a text, of NGX_HTTP_INTENT_PG_LINE at most; returns it */
char *ngx_http_intent_pg_line(const char *text, char *line);


#endif /* _NGX_HTTP_INTENT_PG_PRIVATE_H_INCLUDED_ */
