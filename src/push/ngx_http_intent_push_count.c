
/*
 * How many are connected and subscribed at the moment.
 *
 * What a process has added it takes off when its clients go; one that is
 * killed does not.  So each keeps its part in shared memory, under its pid, and
 * a worker that begins takes off the parts of those that have gone.
 */


#include "ngx_http_intent_push_private.h"

#include <signal.h>


/* processes at a time, those of earlier configurations too */
#define NGX_HTTP_INTENT_PUSH_SHARES      64

/* by a worker that takes off what was left */
#define NGX_HTTP_INTENT_PUSH_TAKEN       ((ngx_atomic_uint_t) -1)


typedef struct {
    ngx_atomic_t    pid;        /* 0: free */
    ngx_atomic_t    counts[NGX_HTTP_INTENT_PUSH_TRANSPORTS]
                          [NGX_HTTP_INTENT_PUSH_GAUGES];
} ngx_http_intent_push_share_t;


static void ngx_http_intent_push_share_gone(
    ngx_http_intent_push_share_t *share);
static void ngx_http_intent_push_share_clear(
    ngx_http_intent_push_share_t *share);


/* of this process; NULL: none */
static ngx_http_intent_push_share_t      *ngx_http_intent_push_share;
static ngx_http_intent_push_transport_t  *ngx_http_intent_push_counted
                                          [NGX_HTTP_INTENT_PUSH_TRANSPORTS];


ngx_int_t
ngx_http_intent_push_stats_add(ngx_conf_t *cf,
    ngx_http_intent_push_stats_t *stats, ngx_str_t *transport)
{
    u_char     *p;
    ngx_str_t   labels, key;

    p = ngx_pnalloc(cf->pool, sizeof("transport=\"\"") + transport->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    labels.data = p;
    labels.len = ngx_sprintf(p, "transport=\"%V\"", transport) - p;

    stats->gauges[NGX_HTTP_INTENT_PUSH_CONNECTIONS] =
        ngx_http_intent_stat_add(cf, NGX_HTTP_INTENT_GAUGE,
                                 "intent_push_connections",
                                 "Clients that are connected, and sessions of "
                                 "Socket.IO.", &labels);

    stats->gauges[NGX_HTTP_INTENT_PUSH_SUBSCRIPTIONS] =
        ngx_http_intent_stat_add(cf, NGX_HTTP_INTENT_GAUGE,
                                 "intent_push_subscriptions",
                                 "What clients watch at the moment.", &labels);

    stats->messages =
        ngx_http_intent_stat_add(cf, NGX_HTTP_INTENT_COUNTER,
                                 "intent_push_messages_total",
                                 "Updates given to clients.", &labels);

    ngx_str_set(&key, "push/shares");

    stats->shares = ngx_http_intent_shared_add(cf, &key,
                                      NGX_HTTP_INTENT_PUSH_SHARES
                                      * sizeof(ngx_http_intent_push_share_t));

    return (stats->gauges[NGX_HTTP_INTENT_PUSH_CONNECTIONS]
            && stats->gauges[NGX_HTTP_INTENT_PUSH_SUBSCRIPTIONS]
            && stats->messages && stats->shares)
           ? NGX_OK : NGX_ERROR;
}


void
ngx_http_intent_push_stats_init(ngx_http_intent_push_transport_t *transport,
    ngx_http_intent_push_stats_t *stats, ngx_uint_t number)
{
    ngx_uint_t                     i;
    ngx_http_intent_push_share_t  *share;

    transport->stats = stats;
    transport->number = number;
    ngx_http_intent_push_counted[number] = transport;

    share = stats->shares->addr;

    if (share == NULL || number + 1 < NGX_HTTP_INTENT_PUSH_TRANSPORTS) {
        return;
    }

    for (i = 0; i < NGX_HTTP_INTENT_PUSH_SHARES; i++) {
        ngx_http_intent_push_share_gone(&share[i]);
    }

    for (i = 0; i < NGX_HTTP_INTENT_PUSH_SHARES; i++) {

        if (share[i].pid == 0
            && ngx_atomic_cmp_set(&share[i].pid, 0, ngx_pid))
        {
            ngx_http_intent_push_share = &share[i];
            return;
        }
    }
}


/* where its process has gone, what that had is taken off */

static void
ngx_http_intent_push_share_gone(ngx_http_intent_push_share_t *share)
{
    ngx_atomic_uint_t  pid;

    pid = share->pid;

    /* a new process may have the number of an old one */

    if (pid == 0 || pid == NGX_HTTP_INTENT_PUSH_TAKEN
        || (pid != (ngx_atomic_uint_t) ngx_pid
            && (kill((ngx_pid_t) pid, 0) == 0 || ngx_errno != NGX_ESRCH))
        || !ngx_atomic_cmp_set(&share->pid, pid, NGX_HTTP_INTENT_PUSH_TAKEN))
    {
        return;
    }

    ngx_http_intent_push_share_clear(share);
    share->pid = 0;
}


static void
ngx_http_intent_push_share_clear(ngx_http_intent_push_share_t *share)
{
    ngx_int_t                          n;
    ngx_uint_t                         i, j;
    ngx_http_intent_push_transport_t  *transport;

    for (i = 0; i < NGX_HTTP_INTENT_PUSH_TRANSPORTS; i++) {
        transport = ngx_http_intent_push_counted[i];

        for (j = 0; transport && j < NGX_HTTP_INTENT_PUSH_GAUGES; j++) {
            n = (ngx_int_t) share->counts[i][j];
            share->counts[i][j] = 0;

            if (n) {
                ngx_http_intent_stat_sum(transport->stats->gauges[j], -(double) n);
            }
        }
    }
}


void
ngx_http_intent_push_count(ngx_http_intent_push_transport_t *transport,
    ngx_uint_t gauge, ngx_int_t n)
{
    if (ngx_http_intent_push_share) {
        ngx_http_intent_push_share->counts[transport->number][gauge] += n;
    }

    ngx_http_intent_stat_sum(transport->stats->gauges[gauge], n);
}
