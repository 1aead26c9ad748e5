
/*
 * Several lanes of one chain: which of them takes the next intent.
 *
 * Each tells the others of its host, in shared memory, that it is there and
 * how many jobs it has.  The one with the fewest claims, so many that it has a
 * little more than the next; of equals the one that has waited longest.  In
 * one worker it claims for all: what it finds nothing of is not asked for
 * again.  Lanes of other hosts are not heard of: who has something to do gives
 * them a moment, the longer, the more it has to do.
 *
 * Nobody waits for anybody for longer than such a moment, so that one who has
 * died, or hangs, holds up nothing.
 */


#include "ngx_http_intent_lane.h"


/* claimed at once, more than the next one has: as much as is soon signed */
#define NGX_HTTP_INTENT_SHARE_QUANTUM  32

/* ms: for one with less to do; between two signs of life; dead */
#define NGX_HTTP_INTENT_SHARE_MOMENT   20
#define NGX_HTTP_INTENT_SHARE_BEAT     250
#define NGX_HTTP_INTENT_SHARE_DEAD     1000

/* ms for which one that could not pay for an intent leaves them to others */
#define NGX_HTTP_INTENT_SHARE_SHORT    10000

/* a load: it takes nothing now */
#define NGX_HTTP_INTENT_SHARE_AWAY     ((ngx_atomic_uint_t) -1)


/* single words, written by the lane's owner only; times as in endpoint.c */
typedef struct {
    ngx_atomic_t   alive_at;      /* 0: never, or it was given up */
    ngx_atomic_t   load;          /* jobs */
    ngx_atomic_t   turn;          /* the higher, the later it took some */
} ngx_http_intent_share_t;


/* what a lane sees of the others */
typedef struct {
    ngx_http_intent_lane_t        *first;     /* to claim, maybe this one */
    ngx_atomic_uint_t              least;     /* load of the others */
    ngx_uint_t                     claiming;  /* one in this worker does */
    ngx_uint_t                     elsewhere; /* another host has one */
} ngx_http_intent_share_view_t;


#define ngx_http_intent_share(lane)                                           \
    ((ngx_http_intent_share_t *) (lane)->share->addr)

/* short_at is never 0, so that it may be to come by a millisecond */
#define ngx_http_intent_share_is_short(lane, ms)                              \
    ((lane)->short_at                                                         \
     && (ngx_msec_int_t) (ngx_current_msec - (lane)->short_at) < (ms))


static void ngx_http_intent_share_beat(ngx_event_t *ev);
static void ngx_http_intent_share_tell(ngx_http_intent_lane_t *lane);
static ngx_uint_t ngx_http_intent_share_takes(ngx_http_intent_lane_t *lane);
static void ngx_http_intent_share_look(ngx_http_intent_lane_t *lane,
    ngx_http_intent_share_view_t *view);
static ngx_uint_t ngx_http_intent_share_before(ngx_http_intent_lane_t *lane,
    ngx_http_intent_lane_t *other);
static ngx_uint_t ngx_http_intent_share_waits(ngx_http_intent_lane_t *lane,
    ngx_msec_t moment);
static void ngx_http_intent_share_give_back(ngx_http_intent_lane_t *lane,
    ngx_queue_t *queue);
static void ngx_http_intent_share_wake(ngx_http_intent_lane_t *lane);


/* what a timer's debug message reads the fd of */
static ngx_connection_t  ngx_http_intent_share_dumb;


ngx_int_t
ngx_http_intent_share_init(ngx_conf_t *cf, ngx_http_intent_lane_t *lane)
{
    u_char     text[256];
    ngx_str_t  key;

    key.data = text;
    key.len = ngx_snprintf(text, sizeof(text), "share:%uL:%V",
                           lane->conf->chain_id, &lane->signer->name)
              - text;

    lane->share = ngx_http_intent_shared_add(cf, &key,
                                             sizeof(ngx_http_intent_share_t));

    return lane->share ? NGX_OK : NGX_ERROR;
}


void
ngx_http_intent_share_begin(ngx_http_intent_lane_t *lane)
{
    if (lane->conf->signers.nelts == 1) {
        return;
    }

    ngx_http_intent_share_dumb.fd = (ngx_socket_t) -1;

    lane->turn_at = 0;
    lane->turn.handler = ngx_http_intent_share_beat;
    lane->turn.data = &ngx_http_intent_share_dumb;
    lane->turn.log = lane->log;
    lane->turn.cancelable = 1;

    ngx_add_timer(&lane->turn, NGX_HTTP_INTENT_SHARE_BEAT);
}


void
ngx_http_intent_share_end(ngx_http_intent_lane_t *lane)
{
    if (lane->conf->signers.nelts == 1) {
        return;
    }

    if (lane->turn.timer_set) {
        ngx_del_timer(&lane->turn);
    }

    /* who had it when this worker did not is who it is told of */

    if (lane->locked) {
        ngx_http_intent_share(lane)->alive_at = 0;
        ngx_http_intent_share_wake(lane);
    }
}


static void
ngx_http_intent_share_beat(ngx_event_t *ev)
{
    ngx_http_intent_lane_t  *lane;

    lane = (ngx_http_intent_lane_t *)
                    ((u_char *) ev - offsetof(ngx_http_intent_lane_t, turn));

    if (lane->state != NGX_HTTP_INTENT_LANE_RUNNING) {
        return;
    }

    ngx_add_timer(&lane->turn, NGX_HTTP_INTENT_SHARE_BEAT);

    ngx_http_intent_share_tell(lane);

    if (lane->claim_due) {
        ngx_http_intent_lane_post(lane);
    }
}


static void
ngx_http_intent_share_tell(ngx_http_intent_lane_t *lane)
{
    ngx_atomic_uint_t         before;
    ngx_http_intent_share_t  *share;

    share = ngx_http_intent_share(lane);
    before = share->load;

    share->load = ngx_http_intent_share_takes(lane)
                  ? lane->njobs + lane->claim.busy
                  : NGX_HTTP_INTENT_SHARE_AWAY;
    share->alive_at = ngx_current_msec | 1;

    /* others may have left something to it */

    if (share->load == NGX_HTTP_INTENT_SHARE_AWAY && before != share->load) {
        ngx_http_intent_share_wake(lane);
    }
}


static ngx_uint_t
ngx_http_intent_share_takes(ngx_http_intent_lane_t *lane)
{
    return lane->rpc_ok
           && lane->head >= 0
           && !lane->broke
           && lane->njobs < lane->conf->max_in_flight
           && !ngx_http_intent_share_is_short(lane,
                                              NGX_HTTP_INTENT_SHARE_SHORT)
           && !ngx_http_intent_lane_sign_waits(lane)
           && !(lane->sign_failures && !ngx_queue_empty(&lane->ready))
           && !ngx_http_intent_endpoint_is_slow(
                                        ngx_http_intent_lane_endpoint(lane));
}


static void
ngx_http_intent_share_look(ngx_http_intent_lane_t *lane,
    ngx_http_intent_share_view_t *view)
{
    ngx_uint_t                i;
    ngx_msec_t                age;
    ngx_http_intent_lane_t   *other;
    ngx_http_intent_share_t  *share;

    ngx_memzero(view, sizeof(ngx_http_intent_share_view_t));
    view->first = lane;
    view->least = NGX_HTTP_INTENT_SHARE_AWAY;

    for (i = 0; i < lane->conf->signers.nelts; i++) {
        other = &lane->conf->lanes[i];

        if (other == lane) {
            continue;
        }

        view->claiming |= (other->claim.busy != 0);

        share = ngx_http_intent_share(other);

        /* another worker's clock may be ahead by a turn of its loop */

        age = ngx_current_msec - share->alive_at;

        if (share->alive_at == 0
            || (ngx_msec_int_t) age > NGX_HTTP_INTENT_SHARE_DEAD)
        {
            view->elsewhere |= ngx_http_intent_lane_is_seen(other);
            continue;
        }

        if (share->load == NGX_HTTP_INTENT_SHARE_AWAY) {
            continue;
        }

        view->least = ngx_min(view->least, share->load);

        if (ngx_http_intent_share_before(other, view->first)) {
            view->first = other;
        }
    }
}


static ngx_uint_t
ngx_http_intent_share_before(ngx_http_intent_lane_t *lane,
    ngx_http_intent_lane_t *other)
{
    ngx_http_intent_share_t  *one, *two;

    one = ngx_http_intent_share(lane);
    two = ngx_http_intent_share(other);

    if (one->load != two->load) {
        return one->load < two->load;
    }

    if (one->turn != two->turn) {
        return one->turn < two->turn;
    }

    return lane < other;
}


ngx_uint_t
ngx_http_intent_share_claim(ngx_http_intent_lane_t *lane, ngx_uint_t n)
{
    ngx_uint_t                     i, most;
    ngx_http_intent_lane_t        *lanes;
    ngx_http_intent_share_view_t   view;

    if (lane->conf->signers.nelts == 1) {
        return n;
    }

    /* is it able to pay?  the first poll tells */

    if (lane->head < 0) {
        return 0;
    }

    ngx_http_intent_share_look(lane, &view);

    /* what is claimed in this worker will tell whether there is more */

    if (view.claiming) {
        return 0;
    }

    if (view.first != lane) {

        if (view.first->state == NGX_HTTP_INTENT_LANE_RUNNING) {
            view.first->claim_due = 1;
            ngx_http_intent_lane_post(view.first);
            return 0;
        }

        /* what it takes nothing of now is not to be waited for */

        if (!ngx_http_intent_share_takes(lane)
            || ngx_http_intent_share_waits(lane,
                                           NGX_HTTP_INTENT_SHARE_MOMENT))
        {
            return 0;
        }

    } else if (view.elsewhere && lane->njobs && !lane->more
               && ngx_http_intent_share_waits(lane,
                       ngx_min(lane->njobs, NGX_HTTP_INTENT_SHARE_MOMENT)))
    {
        return 0;
    }

    lanes = lane->conf->lanes;

    for (i = 0; i < lane->conf->signers.nelts; i++) {
        lanes[i].turn_at = 0;

        if (lanes[i].state == NGX_HTTP_INTENT_LANE_RUNNING
            && ngx_http_intent_share(&lanes[i])->load
               != NGX_HTTP_INTENT_SHARE_AWAY)
        {
            lanes[i].claim_due = 0;
        }
    }

    /* to see whether it can again it needs no more than one */

    if (!ngx_http_intent_share_is_short(lane,
                                        2 * NGX_HTTP_INTENT_SHARE_SHORT))
    {
        lane->short_at = 0;
    }

    if (view.least != NGX_HTTP_INTENT_SHARE_AWAY
        && (lane->sign_failures || lane->short_at))
    {
        return 1;
    }

    /* little, out of turn: the others are late, not away */

    most = (view.first == lane) ? NGX_HTTP_INTENT_SHARE_QUANTUM
                                : NGX_HTTP_INTENT_SHARE_QUANTUM / 4;

    if (view.least != NGX_HTTP_INTENT_SHARE_AWAY && view.least > lane->njobs) {
        most += view.least - lane->njobs;
    }

    return ngx_min(n, most);
}


/* 1: it is not over yet */

static ngx_uint_t
ngx_http_intent_share_waits(ngx_http_intent_lane_t *lane, ngx_msec_t moment)
{
    if (lane->turn_at == 0) {
        lane->turn_at = (ngx_current_msec + moment) | 1;

        /* nginx leaves a timer where it is that is to be moved by little */

        if (lane->turn.timer_set) {
            ngx_del_timer(&lane->turn);
        }

        ngx_add_timer(&lane->turn, moment + 1);
        return 1;
    }

    return (ngx_msec_int_t) (lane->turn_at - ngx_current_msec) > 0;
}


void
ngx_http_intent_share_claimed(ngx_http_intent_lane_t *lane, ngx_uint_t n,
    ngx_uint_t more)
{
    ngx_uint_t               i;
    ngx_atomic_uint_t        turn;
    ngx_http_intent_lane_t  *lanes;

    if (lane->conf->signers.nelts == 1) {
        return;
    }

    lanes = lane->conf->lanes;
    turn = 0;

    for (i = 0; i < lane->conf->signers.nelts; i++) {
        lanes[i].more = more;

        if (more) {
            lanes[i].claim_due = 1;
        }

        turn = ngx_max(turn, ngx_http_intent_share(&lanes[i])->turn);
    }

    if (n) {
        ngx_http_intent_share(lane)->turn = turn + 1;
    }

    ngx_http_intent_share_tell(lane);
    ngx_http_intent_share_wake(lane);
}


/* those of this worker that would claim */

static void
ngx_http_intent_share_wake(ngx_http_intent_lane_t *lane)
{
    ngx_uint_t               i;
    ngx_http_intent_lane_t  *lanes;

    lanes = lane->conf->lanes;

    for (i = 0; i < lane->conf->signers.nelts; i++) {
        if (lanes[i].state == NGX_HTTP_INTENT_LANE_RUNNING
            && lanes[i].claim_due
            && &lanes[i] != lane)
        {
            ngx_http_intent_lane_post(&lanes[i]);
        }
    }
}


void
ngx_http_intent_lane_share(ngx_http_intent_lane_t *lane)
{
    ngx_http_intent_share_view_t  view;

    if (lane->conf->signers.nelts == 1) {
        return;
    }

    ngx_http_intent_share_tell(lane);

    /* what this signer cannot do is not to wait where another one can */

    if (!lane->broke && !ngx_http_intent_lane_sign_waits(lane)) {
        return;
    }

    if (ngx_queue_empty(&lane->claimed) && ngx_queue_empty(&lane->ready)) {
        return;
    }

    ngx_http_intent_share_look(lane, &view);

    if (view.least != NGX_HTTP_INTENT_SHARE_AWAY) {
        ngx_http_intent_share_give_back(lane, &lane->claimed);
        ngx_http_intent_share_give_back(lane, &lane->ready);
    }
}


static void
ngx_http_intent_share_give_back(ngx_http_intent_lane_t *lane,
    ngx_queue_t *queue)
{
    ngx_queue_t            *q, *next;
    ngx_http_intent_job_t  *job;

    for (q = ngx_queue_head(queue); q != ngx_queue_sentinel(queue); q = next) {
        next = ngx_queue_next(q);
        job = ngx_http_intent_job(q);

        if (job->tx.nonce < 0
            && job->intent.status == NGX_HTTP_INTENT_PENDING)
        {
            ngx_http_intent_job_release(lane, job);
        }
    }
}
