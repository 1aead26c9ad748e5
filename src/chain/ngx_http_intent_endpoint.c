
/*
 * The health of nodes, and the choice between them.
 *
 * What is in shared memory are single words, written without a lock: two
 * workers that write at once lose one of two averages of the same thing.  Only
 * a change of state is by compare and set, so that one of them does it, and
 * says so.
 */


#include "ngx_http_intent_endpoint.h"
#include "ngx_http_intent_lane.h"


#define NGX_HTTP_INTENT_ENDPOINT_LABELS    256

/* how long a breaker is open: at first, at most; what a node may ask for */
#define NGX_HTTP_INTENT_ENDPOINT_BACKOFF   1000
#define NGX_HTTP_INTENT_ENDPOINT_LONGEST   30000
#define NGX_HTTP_INTENT_ENDPOINT_REST      300000
/* what was well for so long, and twice as long as not, is forgiven */
#define NGX_HTTP_INTENT_ENDPOINT_FORGIVE   10000
#define NGX_HTTP_INTENT_ENDPOINT_NO_SEND   60000

#define NGX_HTTP_INTENT_ENDPOINT_FAILURES  3     /* in a row open it */
#define NGX_HTTP_INTENT_ENDPOINT_SUCCESSES 2     /* in a row close it */

/* blocks: behind by that again, or by that at once; fallen back; ahead */
#define NGX_HTTP_INTENT_ENDPOINT_LAG       3
#define NGX_HTTP_INTENT_ENDPOINT_FAR       15
#define NGX_HTTP_INTENT_ENDPOINT_BACK      64
#define NGX_HTTP_INTENT_ENDPOINT_AHEAD     10000

/* an average's weight of the past, of 16; an average of 1 */
#define NGX_HTTP_INTENT_ENDPOINT_PAST      14
#define NGX_HTTP_INTENT_ENDPOINT_ONE       65536

/* microseconds: below, one node is as fast as another */
#define NGX_HTTP_INTENT_ENDPOINT_FAST      10000

#define NGX_HTTP_INTENT_ENDPOINT_TICK      100
#define NGX_HTTP_INTENT_ENDPOINT_GAP       500   /* between probes of one */
#define NGX_HTTP_INTENT_ENDPOINT_BUSY      2000
#define NGX_HTTP_INTENT_ENDPOINT_IDLE      10000
#define NGX_HTTP_INTENT_ENDPOINT_KEPT      60000

/*
 * Where there is another node to go to, one that does not answer is not
 * waited for as long as the proxy would
 */
#define NGX_HTTP_INTENT_ENDPOINT_TIMEOUT   10000
#define NGX_HTTP_INTENT_ENDPOINT_PROBE     3000

/* ms without any answer, after which others are asked */
#define NGX_HTTP_INTENT_ENDPOINT_SLOW      2000


/* why a breaker is open, the more the worse */
typedef enum {
    NGX_HTTP_INTENT_ENDPOINT_LAGGING = 0,
    NGX_HTTP_INTENT_ENDPOINT_RESTING,
    NGX_HTTP_INTENT_ENDPOINT_FAILING,
    NGX_HTTP_INTENT_ENDPOINT_LYING
} ngx_http_intent_endpoint_why_e;


/* times are of ngx_current_msec, which all processes of a host share */
typedef struct {
    ngx_atomic_t   state;
    ngx_atomic_t   why;
    ngx_atomic_t   until;          /* open */
    ngx_atomic_t   trips;
    ngx_atomic_t   closed_at;
    ngx_atomic_t   failures;       /* in a row */
    ngx_atomic_t   successes;      /* in a row, since it was opened */
    ngx_atomic_t   errors;         /* average, of ONE */
    ngx_atomic_t   latency;        /* average, microseconds */
    ngx_atomic_t   head;           /* + 1; 0: not known */
    ngx_atomic_t   told_at;        /* the head */
    ngx_atomic_t   behind;         /* answers in a row */
    ngx_atomic_t   asked_at;
    ngx_atomic_t   owes_since;     /* an answer to anything; 0: none */
    ngx_atomic_t   used_at;        /* by other than a probe */
    ngx_atomic_t   probed_at;
    ngx_atomic_t   no_send_until;  /* 0: it takes transactions */
} ngx_http_intent_endpoint_health_t;


typedef struct {
    ngx_event_t    timer;
    ngx_array_t   *endpoints;
} ngx_http_intent_endpoint_prober_t;


#define ngx_http_intent_endpoint_health(e)                                    \
    ((ngx_http_intent_endpoint_health_t *) (e)->health->addr)

#define ngx_http_intent_endpoint_backoff(trips)                               \
    ((ngx_msec_t) NGX_HTTP_INTENT_ENDPOINT_BACKOFF << ngx_min(trips, 5))

/* is the time t still to come? */
#define ngx_http_intent_endpoint_before(t)                                    \
    ((ngx_msec_int_t) ((ngx_msec_t) (t) - ngx_current_msec) > 0)


static ngx_int_t ngx_http_intent_endpoint_stats(ngx_conf_t *cf,
    ngx_http_intent_rpc_endpoint_t *e);
static ngx_uint_t ngx_http_intent_endpoint_rank(
    ngx_http_intent_rpc_endpoint_t *e, ngx_uint_t purpose);
static ngx_http_intent_rpc_endpoint_t *ngx_http_intent_endpoint_draw(
    ngx_array_t *endpoints, ngx_uint_t *ranks, ngx_uint_t best);
static ngx_http_intent_rpc_endpoint_t *ngx_http_intent_endpoint_oldest(
    ngx_array_t *endpoints, ngx_uint_t *ranks, ngx_uint_t best);
static uint64_t ngx_http_intent_endpoint_cost(
    ngx_http_intent_rpc_endpoint_t *e);
static int64_t ngx_http_intent_endpoint_best(
    ngx_http_intent_rpc_endpoint_t *e, ngx_uint_t lagging, ngx_uint_t *n);

static ngx_uint_t ngx_http_intent_endpoint_others_work(
    ngx_http_intent_rpc_endpoint_t *e);
static void ngx_http_intent_endpoint_failed(ngx_http_intent_jsonrpc_t *j);
static ngx_int_t ngx_http_intent_endpoint_check(ngx_http_intent_jsonrpc_t *j);
static ngx_int_t ngx_http_intent_endpoint_check_head(
    ngx_http_intent_jsonrpc_t *j, int64_t head);
static void ngx_http_intent_endpoint_open(ngx_http_intent_jsonrpc_t *j,
    ngx_uint_t why, ngx_msec_t rest, const char *fmt, ...);
static void ngx_http_intent_endpoint_close(
    ngx_http_intent_rpc_endpoint_t *e);
static void ngx_http_intent_endpoint_average(ngx_atomic_t *average,
    ngx_atomic_uint_t value);

static void ngx_http_intent_endpoint_tick(ngx_event_t *ev);
static ngx_uint_t ngx_http_intent_endpoint_is_due(
    ngx_http_intent_rpc_endpoint_t *e);
static void ngx_http_intent_endpoint_probe(ngx_http_intent_rpc_endpoint_t *e);
static void ngx_http_intent_endpoint_probed(void *data,
    ngx_http_intent_jsonrpc_t *j, ngx_int_t rc);


/* what a timer's debug message reads the fd of */
static ngx_connection_t  ngx_http_intent_endpoint_dumb;


ngx_int_t
ngx_http_intent_endpoints_init(ngx_conf_t *cf, ngx_array_t *endpoints,
    ngx_str_t *chain, uint64_t chain_id)
{
    u_char                           text[NGX_HTTP_INTENT_ENDPOINT_LABELS];
    ngx_str_t                        key;
    ngx_uint_t                       i;
    ngx_http_intent_rpc_endpoint_t  *e;

    e = endpoints->elts;

    for (i = 0; i < endpoints->nelts; i++) {

        e[i].peers = endpoints;
        e[i].chain = *chain;
        e[i].chain_id = chain_id;

        key.data = text;
        key.len = ngx_snprintf(text, sizeof(text), "endpoint:%V:%uL:%V",
                               chain, chain_id, &e[i].uri)
                  - text;

        e[i].health = ngx_http_intent_shared_add(cf, &key,
                                   sizeof(ngx_http_intent_endpoint_health_t));

        if (e[i].health == NULL
            || ngx_http_intent_endpoint_stats(cf, &e[i]) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_endpoint_stats(ngx_conf_t *cf,
    ngx_http_intent_rpc_endpoint_t *e)
{
    static const char  *help = "Calls to chain nodes, by outcome.";
    static double       buckets[] = { 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                      0.1, 0.25, 0.5, 1, 2.5, 5, 10 };

    u_char                   text[NGX_HTTP_INTENT_ENDPOINT_LABELS], *p;
    ngx_str_t                labels;
    ngx_uint_t               i;
    static char             *outcomes[] = { "ok", "error", "failed",
                                            "limited" };
    ngx_http_intent_stat_t  *counters[4];

    labels.data = text;

    p = ngx_snprintf(text, sizeof(text), "chain=\"%V\",endpoint=\"%V\"",
                     &e->chain, &e->uri);
    labels.len = p - text;

    e->seconds = ngx_http_intent_histogram_add(cf, "intent_rpc_seconds",
                     "Time until the answer of a chain node.", &labels,
                     buckets, sizeof(buckets) / sizeof(buckets[0]));

    e->head = ngx_http_intent_stat_add(cf, NGX_HTTP_INTENT_GAUGE,
                     "intent_chain_head_block",
                     "The latest block that a chain node told.", &labels);

    e->breaker = ngx_http_intent_stat_add(cf, NGX_HTTP_INTENT_GAUGE,
                     "intent_rpc_breaker_state",
                     "Whether a chain node is used: 0 closed (it is), "
                     "1 half-open (it is tried), 2 open (it is left).",
                     &labels);

    for (i = 0; i < 4; i++) {
        labels.len = ngx_snprintf(p, text + sizeof(text) - p,
                                  ",outcome=\"%s\"", outcomes[i])
                     - text;

        counters[i] = ngx_http_intent_stat_add(cf, NGX_HTTP_INTENT_COUNTER,
                          "intent_rpc_requests_total", help, &labels);

        if (counters[i] == NULL) {
            return NGX_ERROR;
        }
    }

    e->ok = counters[0];
    e->refused = counters[1];
    e->failed = counters[2];
    e->limited = counters[3];

    if (e->seconds == NULL || e->head == NULL || e->breaker == NULL) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* 0: nothing is known against it; where there is one only, it is not asked */

static ngx_uint_t
ngx_http_intent_endpoint_rank(ngx_http_intent_rpc_endpoint_t *e,
    ngx_uint_t purpose)
{
    ngx_http_intent_endpoint_health_t  *h;

    h = ngx_http_intent_endpoint_health(e);

    if (purpose == NGX_HTTP_INTENT_ENDPOINT_SEND
        && h->no_send_until
        && ngx_http_intent_endpoint_before(h->no_send_until))
    {
        return 9;
    }

    switch (h->state) {

    case NGX_HTTP_INTENT_ENDPOINT_CLOSED:

        if (ngx_http_intent_endpoint_is_slow(e)) {
            return 2;
        }

        return (h->failures || h->head == 0) ? 1 : 0;

    case NGX_HTTP_INTENT_ENDPOINT_HALF_OPEN:
        return 2;

    default:

        if (h->why == NGX_HTTP_INTENT_ENDPOINT_RESTING
            && ngx_http_intent_endpoint_before(h->until))
        {
            return 8;
        }

        return 3 + h->why;
    }
}


ngx_http_intent_rpc_endpoint_t *
ngx_http_intent_endpoint_choose(ngx_array_t *endpoints, ngx_uint_t purpose,
    ngx_http_intent_rpc_endpoint_t *except)
{
    ngx_uint_t                       i, n, best, ranks[NGX_HTTP_INTENT_ENDPOINTS];
    ngx_http_intent_rpc_endpoint_t  *e;

    e = endpoints->elts;
    n = endpoints->nelts;

    if (n == 1) {
        return e;
    }

    best = 10;

    for (i = 0; i < n; i++) {
        ranks[i] = ngx_http_intent_endpoint_rank(&e[i], purpose);

        /* it has just failed, whatever may be known of it by now */

        if (&e[i] == except && ranks[i] == 0) {
            ranks[i] = 1;
        }

        best = ngx_min(best, ranks[i]);
    }

    for (i = 0; i < n; i++) {
        if (ranks[i] == best && &e[i] != except) {
            break;
        }
    }

    if (i == n) {
        return except;
    }

    if (except) {
        ranks[except - e] = 10;
    }

    return best < 3 ? ngx_http_intent_endpoint_draw(endpoints, ranks, best)
                    : ngx_http_intent_endpoint_oldest(endpoints, ranks, best);
}


/* of those that are about as good as the best, one by weight */

static ngx_http_intent_rpc_endpoint_t *
ngx_http_intent_endpoint_draw(ngx_array_t *endpoints, ngx_uint_t *ranks,
    ngx_uint_t best)
{
    uint64_t                         least;
    ngx_uint_t                       i, n, pass, sum, lot;
    ngx_http_intent_rpc_endpoint_t  *e, *found;

    e = endpoints->elts;
    n = endpoints->nelts;
    least = UINT64_MAX;

    for (i = 0; i < n; i++) {
        if (ranks[i] == best) {
            least = ngx_min(least, ngx_http_intent_endpoint_cost(&e[i]));
        }
    }

    lot = 0;
    found = e;

    for (pass = 0; pass < 2; pass++) {
        sum = 0;

        for (i = 0; i < n; i++) {

            if (ranks[i] != best
                || ngx_http_intent_endpoint_cost(&e[i]) / 3 > least)
            {
                continue;
            }

            sum += e[i].weight;

            if (pass == 1 && lot < sum) {
                return &e[i];
            }

            found = &e[i];
        }

        lot = sum ? ngx_random() % sum : 0;
    }

    return found;
}


static ngx_http_intent_rpc_endpoint_t *
ngx_http_intent_endpoint_oldest(ngx_array_t *endpoints, ngx_uint_t *ranks,
    ngx_uint_t best)
{
    ngx_uint_t                          i, n;
    ngx_msec_t                          age, oldest;
    ngx_http_intent_rpc_endpoint_t     *e, *found;
    ngx_http_intent_endpoint_health_t  *h;

    e = endpoints->elts;
    n = endpoints->nelts;
    found = NULL;
    oldest = 0;

    for (i = 0; i < n; i++) {
        h = ngx_http_intent_endpoint_health(&e[i]);
        age = ngx_current_msec - h->asked_at;

        if (ranks[i] == best && (found == NULL || age > oldest)) {
            found = &e[i];
            oldest = age;
        }
    }

    return found;
}


static uint64_t
ngx_http_intent_endpoint_cost(ngx_http_intent_rpc_endpoint_t *e)
{
    uint64_t                            latency;
    ngx_http_intent_endpoint_health_t  *h;

    h = ngx_http_intent_endpoint_health(e);
    latency = ngx_max(h->latency, NGX_HTTP_INTENT_ENDPOINT_FAST);

    /* one that fails every tenth call is as one that is twice as slow */

    return latency + latency * 10 * h->errors / NGX_HTTP_INTENT_ENDPOINT_ONE;
}


ngx_uint_t
ngx_http_intent_endpoint_keep(ngx_array_t *endpoints, ngx_uint_t current,
    ngx_msec_t *chosen_at)
{
    ngx_uint_t                       rank;
    ngx_http_intent_rpc_endpoint_t  *e, *chosen;

    e = endpoints->elts;
    current %= endpoints->nelts;

    if (endpoints->nelts == 1) {
        return 0;
    }

    rank = ngx_http_intent_endpoint_rank(&e[current],
                                         NGX_HTTP_INTENT_ENDPOINT_READ);

    if (rank == 0
        && *chosen_at
        && ngx_current_msec - *chosen_at < NGX_HTTP_INTENT_ENDPOINT_KEPT)
    {
        return current;
    }

    chosen = ngx_http_intent_endpoint_choose(endpoints,
                                             NGX_HTTP_INTENT_ENDPOINT_READ,
                                             NULL);

    /* no change for one that is no better, unless none is well: in turn then */

    if (rank
        && rank < 3
        && rank <= ngx_http_intent_endpoint_rank(chosen,
                                              NGX_HTTP_INTENT_ENDPOINT_READ))
    {
        return current;
    }

    *chosen_at = ngx_current_msec;

    return chosen - e;
}


ngx_http_intent_rpc_endpoint_t *
ngx_http_intent_endpoint_for_send(ngx_array_t *endpoints, ngx_uint_t current)
{
    ngx_http_intent_rpc_endpoint_t     *e;
    ngx_http_intent_endpoint_health_t  *h;

    e = endpoints->elts;
    e += current % endpoints->nelts;
    h = ngx_http_intent_endpoint_health(e);

    if (h->no_send_until == 0
        || !ngx_http_intent_endpoint_before(h->no_send_until))
    {
        return e;
    }

    return ngx_http_intent_endpoint_choose(endpoints,
                                           NGX_HTTP_INTENT_ENDPOINT_SEND,
                                           NULL);
}


ngx_uint_t
ngx_http_intent_endpoint_next(ngx_array_t *endpoints, ngx_uint_t current)
{
    ngx_http_intent_rpc_endpoint_t  *e;

    e = endpoints->elts;

    return ngx_http_intent_endpoint_choose(endpoints,
                                           NGX_HTTP_INTENT_ENDPOINT_READ,
                                           &e[current % endpoints->nelts])
           - e;
}


ngx_msec_t
ngx_http_intent_endpoint_wait(ngx_array_t *endpoints)
{
    ngx_uint_t                          i;
    ngx_msec_t                          wait;
    ngx_http_intent_rpc_endpoint_t     *e;
    ngx_http_intent_endpoint_health_t  *h;

    e = endpoints->elts;
    wait = NGX_HTTP_INTENT_ENDPOINT_REST;

    for (i = 0; i < endpoints->nelts; i++) {
        h = ngx_http_intent_endpoint_health(&e[i]);

        if (h->state == NGX_HTTP_INTENT_ENDPOINT_CLOSED
            || h->why != NGX_HTTP_INTENT_ENDPOINT_RESTING
            || !ngx_http_intent_endpoint_before(h->until))
        {
            return 0;
        }

        wait = ngx_min(wait, h->until - ngx_current_msec);
    }

    return wait;
}


ngx_uint_t
ngx_http_intent_endpoint_state(ngx_http_intent_rpc_endpoint_t *e)
{
    return ngx_http_intent_endpoint_health(e)->state;
}


ngx_uint_t
ngx_http_intent_endpoint_is_slow(ngx_http_intent_rpc_endpoint_t *e)
{
    ngx_msec_t                          since;
    ngx_http_intent_endpoint_health_t  *h;

    h = ngx_http_intent_endpoint_health(e);
    since = h->owes_since;

    return since && !ngx_http_intent_endpoint_before(
                                        since + NGX_HTTP_INTENT_ENDPOINT_SLOW);
}


int64_t
ngx_http_intent_endpoint_head(ngx_http_intent_rpc_endpoint_t *e)
{
    return (int64_t) ngx_http_intent_endpoint_health(e)->head - 1;
}


char *
ngx_http_intent_endpoint_state_name(ngx_uint_t state)
{
    static char  *names[] = { "closed", "half-open", "open" };

    return names[ngx_min(state, NGX_HTTP_INTENT_ENDPOINT_OPEN)];
}


/*
 * The highest head of the others that are used: told before this one is
 * asked, it is one that this one could know by then.  Those that lag count
 * where it is this one that is judged: it may be what they lag behind.
 */

static int64_t
ngx_http_intent_endpoint_best(ngx_http_intent_rpc_endpoint_t *e,
    ngx_uint_t lagging, ngx_uint_t *n)
{
    int64_t                             best;
    ngx_uint_t                          i;
    ngx_http_intent_rpc_endpoint_t     *peers;
    ngx_http_intent_endpoint_health_t  *h;

    best = -1;
    *n = 0;
    peers = e->peers->elts;

    for (i = 0; i < e->peers->nelts; i++) {
        h = ngx_http_intent_endpoint_health(&peers[i]);

        if (&peers[i] != e
            && (h->state == NGX_HTTP_INTENT_ENDPOINT_CLOSED
                || (lagging && h->why == NGX_HTTP_INTENT_ENDPOINT_LAGGING))
            && h->head)
        {
            best = ngx_max(best, (int64_t) h->head - 1);
            (*n)++;
        }
    }

    return best;
}


void
ngx_http_intent_endpoint_asked(ngx_http_intent_jsonrpc_t *j)
{
    ngx_uint_t                          n;
    ngx_http_intent_rpc_endpoint_t     *e;
    ngx_http_intent_endpoint_health_t  *h;

    e = j->endpoint;
    h = ngx_http_intent_endpoint_health(e);

    j->best = ngx_http_intent_endpoint_best(e, 0, &n);

    h->asked_at = ngx_current_msec;

    if (h->owes_since == 0) {
        h->owes_since = ngx_current_msec | 1;
    }

    if (!j->probe) {
        h->used_at = ngx_current_msec;
    }

    /* a poll is as little work as a probe, and worth no more time */

    if (j->rpc->timeout == 0 && e->peers->nelts > 1) {
        j->rpc->timeout =
                    (j->head_item && ngx_http_intent_endpoint_others_work(e))
                    ? NGX_HTTP_INTENT_ENDPOINT_PROBE
                    : NGX_HTTP_INTENT_ENDPOINT_TIMEOUT;
    }
}


static ngx_uint_t
ngx_http_intent_endpoint_others_work(ngx_http_intent_rpc_endpoint_t *e)
{
    ngx_uint_t                       i;
    ngx_http_intent_rpc_endpoint_t  *peers;

    peers = e->peers->elts;

    for (i = 0; i < e->peers->nelts; i++) {

        if (&peers[i] != e
            && ngx_http_intent_endpoint_state(&peers[i])
               == NGX_HTTP_INTENT_ENDPOINT_CLOSED
            && !ngx_http_intent_endpoint_is_slow(&peers[i]))
        {
            return 1;
        }
    }

    return 0;
}


void
ngx_http_intent_endpoint_answered(ngx_http_intent_jsonrpc_t *j, ngx_int_t rc)
{
    double                              elapsed;
    ngx_http_intent_endpoint_health_t  *h;

    h = ngx_http_intent_endpoint_health(j->endpoint);

    ngx_http_intent_endpoint_average(&h->errors,
                              rc == NGX_OK ? 0 : NGX_HTTP_INTENT_ENDPOINT_ONE);

    /* an answer, be it a bad one; 504 is nginx's own word for none */

    if (!j->rpc->late
        && j->rpc->status != 0
        && j->rpc->status != NGX_HTTP_GATEWAY_TIME_OUT)
    {
        h->owes_since = 0;
    }

    if (rc != NGX_OK) {
        h->successes = 0;
        ngx_http_intent_endpoint_failed(j);
        return;
    }

    elapsed = (ngx_http_intent_seconds() - j->start) * 1e6;
    ngx_http_intent_endpoint_average(&h->latency,
                                     (ngx_atomic_uint_t) elapsed);

    h->failures = 0;

    if (ngx_http_intent_endpoint_check(j) != NGX_OK) {
        h->successes = 0;
        return;
    }

    if (h->state == NGX_HTTP_INTENT_ENDPOINT_CLOSED) {
        return;
    }

    /* one that lagged or lied has to say where it is now */

    if (j->head_item == 0
        && (h->why == NGX_HTTP_INTENT_ENDPOINT_LAGGING
            || h->why == NGX_HTTP_INTENT_ENDPOINT_LYING))
    {
        return;
    }

    if (++h->successes >= NGX_HTTP_INTENT_ENDPOINT_SUCCESSES
        || j->endpoint->peers->nelts == 1)
    {
        ngx_http_intent_endpoint_close(j->endpoint);
        return;
    }

    if (ngx_atomic_cmp_set(&h->state, NGX_HTTP_INTENT_ENDPOINT_OPEN,
                           NGX_HTTP_INTENT_ENDPOINT_HALF_OPEN))
    {
        ngx_http_intent_stat_set(j->endpoint->breaker,
                                 NGX_HTTP_INTENT_ENDPOINT_HALF_OPEN);
    }
}


static void
ngx_http_intent_endpoint_failed(ngx_http_intent_jsonrpc_t *j)
{
    ngx_http_intent_endpoint_health_t  *h;

    h = ngx_http_intent_endpoint_health(j->endpoint);

    if (j->limited || j->rpc->retry_after) {
        ngx_http_intent_endpoint_open(j, NGX_HTTP_INTENT_ENDPOINT_RESTING,
                                      j->rpc->retry_after, "%V", &j->reason);
        return;
    }

    if (j->lacks && ngx_strcmp(j->lacks, "eth_sendRawTransaction") == 0) {
        h->no_send_until = (ngx_current_msec
                            + NGX_HTTP_INTENT_ENDPOINT_NO_SEND) | 1;
        return;
    }

    if (j->lacks) {
        ngx_http_intent_endpoint_open(j, NGX_HTTP_INTENT_ENDPOINT_LYING, 0,
                                      "%V", &j->reason);
        return;
    }

    if (++h->failures >= NGX_HTTP_INTENT_ENDPOINT_FAILURES
        || h->state != NGX_HTTP_INTENT_ENDPOINT_CLOSED)
    {
        ngx_http_intent_endpoint_open(j, NGX_HTTP_INTENT_ENDPOINT_FAILING, 0,
                                      "%V", &j->reason);
    }
}


/* a node may answer well, and yet be of no use */

static ngx_int_t
ngx_http_intent_endpoint_check(ngx_http_intent_jsonrpc_t *j)
{
    json_t   *result;
    int64_t   id, head;

    if (j->chain_item
        && ngx_http_intent_json_int(
                      ngx_http_intent_jsonrpc_result(j, j->chain_item - 1),
                      &id)
           == NGX_OK
        && (uint64_t) id != j->endpoint->chain_id)
    {
        ngx_http_intent_endpoint_open(j, NGX_HTTP_INTENT_ENDPOINT_LYING, 0,
                               "it is on chain %L, \"chain_id\" says %uL", id,
                               j->endpoint->chain_id);
        return NGX_ERROR;
    }

    if (j->head_item == 0) {
        return NGX_OK;
    }

    result = ngx_http_intent_jsonrpc_result(j, j->head_item - 1);

    if (json_is_object(result)) {
        result = json_object_get(result, "number");
    }

    if (ngx_http_intent_json_int(result, &head) != NGX_OK) {
        ngx_http_intent_endpoint_open(j, NGX_HTTP_INTENT_ENDPOINT_FAILING, 0,
                                      "it does not tell its latest block");
        return NGX_ERROR;
    }

    return ngx_http_intent_endpoint_check_head(j, head);
}


static ngx_int_t
ngx_http_intent_endpoint_check_head(ngx_http_intent_jsonrpc_t *j,
    int64_t head)
{
    int64_t                             before, others;
    ngx_uint_t                          n;
    ngx_http_intent_rpc_endpoint_t     *e;
    ngx_http_intent_endpoint_health_t  *h;

    e = j->endpoint;
    h = ngx_http_intent_endpoint_health(e);

    before = (int64_t) h->head - 1;

    h->head = head + 1;
    h->told_at = ngx_current_msec;

    ngx_http_intent_stat_set(e->head, (double) head);

    if (e->peers->nelts == 1) {
        return NGX_OK;
    }

    if (head + NGX_HTTP_INTENT_ENDPOINT_BACK < before
        && h->state == NGX_HTTP_INTENT_ENDPOINT_CLOSED)
    {
        ngx_http_intent_endpoint_open(j, NGX_HTTP_INTENT_ENDPOINT_LYING, 0,
                                      "its head went from block %L back to "
                                      "%L", before, head);
        return NGX_ERROR;
    }

    /* of two, either may be right; three of which two agree can be judged */

    others = ngx_http_intent_endpoint_best(e, 1, &n);

    if (n > 1 && head - NGX_HTTP_INTENT_ENDPOINT_AHEAD > others) {
        ngx_http_intent_endpoint_open(j, NGX_HTTP_INTENT_ENDPOINT_LYING, 0,
                                      "its head is block %L, that of all "
                                      "others %L or less", head, others);
        return NGX_ERROR;
    }

    if (head + NGX_HTTP_INTENT_ENDPOINT_LAG >= j->best) {
        h->behind = 0;
        return NGX_OK;
    }

    if (++h->behind > 1 || head + NGX_HTTP_INTENT_ENDPOINT_FAR < j->best) {
        ngx_http_intent_endpoint_open(j, NGX_HTTP_INTENT_ENDPOINT_LAGGING, 0,
                                      "its head is block %L, %L others know",
                                      head, j->best);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* rest 0: as long as is usual */

static void
ngx_http_intent_endpoint_open(ngx_http_intent_jsonrpc_t *j, ngx_uint_t why,
    ngx_msec_t rest, const char *fmt, ...)
{
    u_char                              text[NGX_MAX_ERROR_STR / 2], *p;
    va_list                             args;
    ngx_uint_t                          state, level;
    ngx_msec_t                          backoff, well;
    ngx_http_intent_rpc_endpoint_t     *e;
    ngx_http_intent_endpoint_health_t  *h;

    e = j->endpoint;
    h = ngx_http_intent_endpoint_health(e);
    state = h->state;

    /* others that had begun before it was opened, and tell the same */

    if (state == NGX_HTTP_INTENT_ENDPOINT_OPEN
        && why <= h->why
        && rest == 0
        && ngx_http_intent_endpoint_before(h->until))
    {
        return;
    }

    well = ngx_current_msec - h->closed_at;

    if (state == NGX_HTTP_INTENT_ENDPOINT_CLOSED
        && well > NGX_HTTP_INTENT_ENDPOINT_FORGIVE
        && well / 2 > ngx_http_intent_endpoint_backoff(h->trips))
    {
        h->trips = 0;
    }

    backoff = ngx_http_intent_endpoint_backoff(h->trips);
    backoff = ngx_min(backoff, NGX_HTTP_INTENT_ENDPOINT_LONGEST);
    backoff += ngx_random() % (backoff / 10);
    backoff = ngx_max(backoff, ngx_min(rest, NGX_HTTP_INTENT_ENDPOINT_REST));

    h->trips++;
    h->successes = 0;
    h->why = why;
    h->until = ngx_current_msec + backoff;

    if (state != NGX_HTTP_INTENT_ENDPOINT_OPEN
        && !ngx_atomic_cmp_set(&h->state, state,
                               NGX_HTTP_INTENT_ENDPOINT_OPEN))
    {
        return;
    }

    ngx_http_intent_stat_set(e->breaker, NGX_HTTP_INTENT_ENDPOINT_OPEN);

    va_start(args, fmt);
    p = ngx_vslprintf(text, text + sizeof(text), fmt, args);
    va_end(args);

    /* once, when it begins */

    level = (state == NGX_HTTP_INTENT_ENDPOINT_CLOSED) ? NGX_LOG_WARN
                                                       : NGX_LOG_INFO;

    ngx_log_error(level, ngx_cycle->log, 0,
                  "intent chain \"%V\": rpc \"%V\" is left for %M ms: %*s",
                  &e->chain, &e->uri, backoff, (size_t) (p - text), text);
}


static void
ngx_http_intent_endpoint_close(ngx_http_intent_rpc_endpoint_t *e)
{
    ngx_uint_t                          state;
    ngx_http_intent_endpoint_health_t  *h;

    h = ngx_http_intent_endpoint_health(e);
    state = h->state;

    if (state == NGX_HTTP_INTENT_ENDPOINT_CLOSED
        || !ngx_atomic_cmp_set(&h->state, state,
                               NGX_HTTP_INTENT_ENDPOINT_CLOSED))
    {
        return;
    }

    h->closed_at = ngx_current_msec;
    h->behind = 0;

    ngx_http_intent_stat_set(e->breaker, NGX_HTTP_INTENT_ENDPOINT_CLOSED);

    ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                  "intent chain \"%V\": rpc \"%V\" is used again", &e->chain,
                  &e->uri);
}


static void
ngx_http_intent_endpoint_average(ngx_atomic_t *average,
    ngx_atomic_uint_t value)
{
    ngx_atomic_uint_t  old;

    old = *average;

    *average = (old * NGX_HTTP_INTENT_ENDPOINT_PAST
                + value * (16 - NGX_HTTP_INTENT_ENDPOINT_PAST)) / 16;
}


ngx_int_t
ngx_http_intent_endpoints_start(ngx_cycle_t *cycle, ngx_array_t *endpoints)
{
    ngx_http_intent_endpoint_prober_t  *prober;

    prober = ngx_pcalloc(cycle->pool,
                         sizeof(ngx_http_intent_endpoint_prober_t));
    if (prober == NULL) {
        return NGX_ERROR;
    }

    ngx_http_intent_endpoint_dumb.fd = (ngx_socket_t) -1;

    prober->endpoints = endpoints;
    prober->timer.handler = ngx_http_intent_endpoint_tick;
    prober->timer.data = &ngx_http_intent_endpoint_dumb;
    prober->timer.log = cycle->log;
    prober->timer.cancelable = 1;

    /* heads are compared with those that are known: soon, not at once */

    ngx_add_timer(&prober->timer, 1);

    return NGX_OK;
}


static void
ngx_http_intent_endpoint_tick(ngx_event_t *ev)
{
    ngx_uint_t                          i;
    ngx_atomic_uint_t                   probed_at;
    ngx_http_intent_rpc_endpoint_t     *e;
    ngx_http_intent_endpoint_health_t  *h;
    ngx_http_intent_endpoint_prober_t  *prober;

    prober = (ngx_http_intent_endpoint_prober_t *)
        ((u_char *) ev - offsetof(ngx_http_intent_endpoint_prober_t, timer));

    if (ngx_exiting) {
        return;
    }

    e = prober->endpoints->elts;

    for (i = 0; i < prober->endpoints->nelts; i++) {
        h = ngx_http_intent_endpoint_health(&e[i]);
        probed_at = h->probed_at;

        /* one of the workers does it */

        if (ngx_http_intent_endpoint_is_due(&e[i])
            && ngx_atomic_cmp_set(&h->probed_at, probed_at,
                                  ngx_current_msec))
        {
            ngx_http_intent_endpoint_probe(&e[i]);
        }
    }

    ngx_add_timer(&prober->timer, NGX_HTTP_INTENT_ENDPOINT_TICK);
}


static ngx_uint_t
ngx_http_intent_endpoint_is_due(ngx_http_intent_rpc_endpoint_t *e)
{
    ngx_uint_t                          i;
    ngx_msec_t                          age, used, now;
    ngx_http_intent_rpc_endpoint_t     *peers;
    ngx_http_intent_endpoint_health_t  *h;

    now = ngx_current_msec;
    h = ngx_http_intent_endpoint_health(e);

    if (h->probed_at && now - h->probed_at < NGX_HTTP_INTENT_ENDPOINT_GAP) {
        return 0;
    }

    if (h->state != NGX_HTTP_INTENT_ENDPOINT_CLOSED) {
        return !ngx_http_intent_endpoint_before(h->until)
               || h->state == NGX_HTTP_INTENT_ENDPOINT_HALF_OPEN;
    }

    /* what one that is well and alone is like does not matter */

    if (e->peers->nelts == 1) {
        return 0;
    }

    if (h->head == 0 || h->failures || h->behind
        || ngx_http_intent_endpoint_is_slow(e))
    {
        return 1;
    }

    /* no head is old while the chain is used */

    used = NGX_HTTP_INTENT_ENDPOINT_IDLE;
    peers = e->peers->elts;

    for (i = 0; i < e->peers->nelts; i++) {
        used = ngx_min(used, now
                       - ngx_http_intent_endpoint_health(&peers[i])->used_at);
    }

    age = now - h->told_at;

    return age >= (used < NGX_HTTP_INTENT_ENDPOINT_BUSY
                   ? NGX_HTTP_INTENT_ENDPOINT_BUSY
                   : NGX_HTTP_INTENT_ENDPOINT_IDLE);
}


static void
ngx_http_intent_endpoint_probe(ngx_http_intent_rpc_endpoint_t *e)
{
    ngx_http_intent_jsonrpc_t  *j;

    j = ngx_http_intent_jsonrpc_create();
    if (j == NULL) {
        return;
    }

    if (ngx_http_intent_jsonrpc_add(j, "eth_chainId", 1, "") != NGX_OK
        || ngx_http_intent_jsonrpc_add(j, "eth_getBlockByNumber", 16,
                                       "\"latest\",false")
           != NGX_OK)
    {
        ngx_http_intent_jsonrpc_destroy(j);
        return;
    }

    j->probe = 1;
    j->rpc->timeout = NGX_HTTP_INTENT_ENDPOINT_PROBE;

    (void) ngx_http_intent_jsonrpc_send(j, e, ngx_http_intent_endpoint_probed,
                                        NULL);
}


/* what there is to learn from it has been learnt */

static void
ngx_http_intent_endpoint_probed(void *data, ngx_http_intent_jsonrpc_t *j,
    ngx_int_t rc)
{
    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "intent endpoint \"%V\" probed: %i, \"%V\"",
                   &j->endpoint->uri, rc, &j->reason);
}
