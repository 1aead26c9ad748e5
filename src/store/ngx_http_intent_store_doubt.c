
/*
 * Changes that end an intent, and of which it is not known whether they were
 * made: the session was lost before the answer came.  Who waits for these
 * intents is to be told of them, and the cache is not to say what was before;
 * so Postgres is asked until it has them, or can have them no more.
 *
 * Other changes need not be told late, for another one follows them.
 */


#include "ngx_http_intent_store_private.h"


#define NGX_HTTP_INTENT_STORE_DOUBT_MAX   4096
#define NGX_HTTP_INTENT_STORE_DOUBT_ASK   256
#define NGX_HTTP_INTENT_STORE_DOUBT_POOL  16384

/* ms, until it is asked again: at first, at most */
#define NGX_HTTP_INTENT_STORE_DOUBT_SOON  100
#define NGX_HTTP_INTENT_STORE_DOUBT_LATE  2000


typedef struct {
    u_char                            id[16];
    ngx_uint_t                        from;
    ngx_uint_t                        version;
    int64_t                           updated_at;
    ngx_msec_t                        until;    /* it may be made */
} ngx_http_intent_store_doubted_t;


typedef struct {
    ngx_http_intent_store_doubted_t  *changes;
    ngx_uint_t                        n;
    ngx_uint_t                        asked;    /* the first, under way */
    ngx_msec_t                        asked_at;
    ngx_pool_t                       *pool;     /* of what is under way */
    ngx_msec_t                        delay;
    ngx_event_t                       again;
    ngx_connection_t                  dumb;     /* the event's own data */
    ngx_http_intent_store_read_t      read;
} ngx_http_intent_store_doubting_t;


static void ngx_http_intent_store_doubt_ask(
    ngx_http_intent_store_doubting_t *db);
static ngx_int_t ngx_http_intent_store_doubt_build(
    ngx_http_intent_store_doubting_t *db);
static void ngx_http_intent_store_doubt_handler(
    ngx_http_intent_store_read_t *rd, ngx_int_t rc, PGresult *res);
static void ngx_http_intent_store_doubt_tell(
    ngx_http_intent_store_doubting_t *db, PGresult *res);
static void ngx_http_intent_store_doubt_told(ngx_http_intent_transition_t *t,
    ngx_int_t rc);
static void ngx_http_intent_store_doubt_drop(
    ngx_http_intent_store_doubting_t *db);
static void ngx_http_intent_store_doubt_later(
    ngx_http_intent_store_doubting_t *db);
static void ngx_http_intent_store_doubt_again(ngx_event_t *ev);


/*
 * Which of them were made.  One that somebody else made has another time; if
 * it were the same, to the millisecond, it would only be told twice.
 */

static ngx_http_intent_pg_stmt_t  ngx_http_intent_store_doubt_stmt = {
    "intent_doubt",

    "SELECT " NGX_HTTP_INTENT_STORE_COLUMNS ", number"
    " FROM unnest($1::uuid[], $2::int8[], $3::timestamptz[])"
    " WITH ORDINALITY AS d (d_id, d_version, d_updated_at, number)"
    " JOIN intents ON id = d_id"
    " WHERE version = d_version AND updated_at = d_updated_at",

    3,

    { NGX_HTTP_INTENT_PG_UUID_ARRAY, NGX_HTTP_INTENT_PG_INT8_ARRAY,
      NGX_HTTP_INTENT_PG_TIMESTAMPTZ_ARRAY }
};


static ngx_http_intent_store_doubting_t  ngx_http_intent_store_doubting;


void
ngx_http_intent_store_doubt(ngx_http_intent_transition_t *t)
{
    ngx_uint_t                         i;
    ngx_http_intent_t                 *in;
    ngx_http_intent_store_worker_t    *w;
    ngx_http_intent_store_doubted_t   *d;
    ngx_http_intent_store_doubting_t  *db;

    w = ngx_http_intent_store_worker();
    db = &ngx_http_intent_store_doubting;

    for (i = 0; i < t->nchanges; i++) {
        in = t->changes[i].intent;

        if (!ngx_http_intent_is_final(in->status)) {
            continue;
        }

        if (db->changes == NULL) {
            db->changes = ngx_palloc(w->pool,
                                     NGX_HTTP_INTENT_STORE_DOUBT_MAX
                                     * sizeof(ngx_http_intent_store_doubted_t));
        }

        if (db->changes == NULL || db->n == NGX_HTTP_INTENT_STORE_DOUBT_MAX) {
            ngx_log_error(NGX_LOG_WARN, t->log, 0,
                          "intent store: intent \"%V\" may have ended and "
                          "nobody is told, there are too many", &in->id);
            continue;
        }

        d = &db->changes[db->n];

        if (ngx_http_intent_id_parse(in->id.data, in->id.len, d->id)
            != NGX_OK)
        {
            continue;
        }

        d->from = t->changes[i].from;
        d->version = in->version;
        d->updated_at = in->updated_at;

        /*
         * By then the server has ended the statement, or has never had it; one
         * that was sent before it may have taken as long.
         */

        d->until = ngx_current_msec + 2 * w->conf->pg.timeout;

        /* an exiting worker waits for it */

        if (db->n++ == 0) {
            db->delay = 0;
            ngx_http_intent_hold();
        }
    }

    ngx_http_intent_store_doubt_ask(db);
}


static void
ngx_http_intent_store_doubt_ask(ngx_http_intent_store_doubting_t *db)
{
    if (db->n == 0 || db->asked || db->again.timer_set) {
        return;
    }

    db->asked = ngx_min(db->n, NGX_HTTP_INTENT_STORE_DOUBT_ASK);
    db->asked_at = ngx_current_msec;

    db->pool = ngx_create_pool(NGX_HTTP_INTENT_STORE_DOUBT_POOL,
                               ngx_http_intent_store_worker()->log);

    if (db->pool
        && ngx_http_intent_store_doubt_build(db) == NGX_OK
        && ngx_http_intent_store_read(&db->read) == NGX_OK)
    {
        return;
    }

    if (db->pool) {
        ngx_destroy_pool(db->pool);
    }

    db->asked = 0;

    ngx_http_intent_store_doubt_later(db);
}


static ngx_int_t
ngx_http_intent_store_doubt_build(ngx_http_intent_store_doubting_t *db)
{
    ngx_uint_t                        i;
    ngx_http_intent_pg_array_t        ids, versions, times;
    ngx_http_intent_store_doubted_t  *d;

    if (ngx_http_intent_pg_array_begin(&ids, db->pool,
                                       NGX_HTTP_INTENT_PG_UUID,
                                       db->asked * (4 + 16))
        != NGX_OK
        || ngx_http_intent_pg_array_begin(&versions, db->pool,
                                          NGX_HTTP_INTENT_PG_INT8,
                                          db->asked * (4 + 8))
           != NGX_OK
        || ngx_http_intent_pg_array_begin(&times, db->pool,
                                          NGX_HTTP_INTENT_PG_TIMESTAMPTZ,
                                          db->asked * (4 + 8))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < db->asked; i++) {
        d = &db->changes[i];

        if (ngx_http_intent_pg_array_bytes(&ids, d->id, 16) != NGX_OK
            || ngx_http_intent_pg_array_int8(&versions, (int64_t) d->version)
               != NGX_OK
            || ngx_http_intent_pg_array_time(&times, d->updated_at) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    ngx_memzero(&db->read, sizeof(ngx_http_intent_store_read_t));

    ngx_http_intent_pg_param_array(&db->read.query, 0, &ids);
    ngx_http_intent_pg_param_array(&db->read.query, 1, &versions);
    ngx_http_intent_pg_param_array(&db->read.query, 2, &times);

    db->read.query.stmt = &ngx_http_intent_store_doubt_stmt;
    db->read.handler = ngx_http_intent_store_doubt_handler;
    db->read.data = db;

    return NGX_OK;
}


static void
ngx_http_intent_store_doubt_handler(ngx_http_intent_store_read_t *rd,
    ngx_int_t rc, PGresult *res)
{
    ngx_uint_t                         n;
    ngx_http_intent_store_doubting_t  *db;

    db = rd->data;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, db->pool->log, 0,
                   "intent store: %ui changes in doubt, rc:%i", db->asked, rc);

    n = db->n;

    switch (rc) {

    case NGX_OK:
        ngx_http_intent_store_doubt_tell(db, res);
        ngx_http_intent_store_doubt_drop(db);
        break;

    case NGX_ERROR:
        ngx_log_error(NGX_LOG_ERR, db->pool->log, 0,
                      "intent store: the server refused to read: %s: %s",
                      ngx_http_intent_pg_sqlstate(res),
                      ngx_http_intent_pg_message(res));

        ngx_http_intent_store_doubt_drop(db);
        break;

    default: /* Postgres is away */
        break;
    }

    if (db->n < n) {
        db->delay = 0;
    }

    ngx_destroy_pool(db->pool);
    db->asked = 0;

    if (db->n == 0) {
        ngx_http_intent_release();
        return;
    }

    ngx_http_intent_store_doubt_later(db);
}


/* the observers are told as they are of any change */

static void
ngx_http_intent_store_doubt_tell(ngx_http_intent_store_doubting_t *db,
    PGresult *res)
{
    int                               row;
    int64_t                           number;
    ngx_uint_t                        n;
    ngx_http_intent_t                *intents;
    ngx_http_intent_change_t         *changes;
    ngx_http_intent_transition_t      t;
    ngx_http_intent_store_doubted_t  *d;

    n = (ngx_uint_t) PQntuples(res);

    intents = ngx_palloc(db->pool, (n + 1) * sizeof(ngx_http_intent_t));
    changes = ngx_pcalloc(db->pool, (n + 1) * sizeof(ngx_http_intent_change_t));

    if (n == 0 || intents == NULL || changes == NULL) {
        return;
    }

    ngx_memzero(&t, sizeof(ngx_http_intent_transition_t));

    t.changes = changes;
    t.handler = ngx_http_intent_store_doubt_told;
    t.log = db->pool->log;

    for (row = 0; row < (int) n; row++) {
        number = ngx_http_intent_pg_int8(res, row,
                                         NGX_HTTP_INTENT_STORE_NCOLUMNS, 0);

        if (number < 1 || number > (int64_t) db->asked
            || ngx_http_intent_store_read_row(res, row, db->pool,
                                              &intents[t.nchanges])
               != NGX_OK)
        {
            continue;
        }

        d = &db->changes[number - 1];
        d->until = db->asked_at;

        changes[t.nchanges].intent = &intents[t.nchanges];
        changes[t.nchanges].from = d->from;
        changes[t.nchanges].to = intents[t.nchanges].status;

        t.nchanges++;
    }

    if (t.nchanges) {
        ngx_http_intent_transition_done(&t, NGX_OK);
    }
}


static void
ngx_http_intent_store_doubt_told(ngx_http_intent_transition_t *t, ngx_int_t rc)
{
    ngx_log_error(NGX_LOG_NOTICE, t->log, 0,
                  "intent store: %ui intents had ended when a session was "
                  "lost, and are told of now", t->nchanges);
}


/* those whose time was over when they were asked for */

static void
ngx_http_intent_store_doubt_drop(ngx_http_intent_store_doubting_t *db)
{
    ngx_uint_t                        i, n;
    ngx_http_intent_store_doubted_t  *d;

    d = db->changes;
    n = 0;

    for (i = 0; i < db->n; i++) {
        if (i >= db->asked
            || (ngx_msec_int_t) (d[i].until - db->asked_at) > 0)
        {
            d[n++] = d[i];
        }
    }

    db->n = n;
}


/* a worker that exits is kept by the hold, and not by the timer */

static void
ngx_http_intent_store_doubt_later(ngx_http_intent_store_doubting_t *db)
{
    db->delay = db->delay
                ? ngx_min(db->delay * 2, NGX_HTTP_INTENT_STORE_DOUBT_LATE)
                : NGX_HTTP_INTENT_STORE_DOUBT_SOON;

    db->dumb.fd = (ngx_socket_t) -1;

    db->again.handler = ngx_http_intent_store_doubt_again;
    db->again.data = &db->dumb;
    db->again.log = ngx_http_intent_store_worker()->log;
    db->again.cancelable = 1;

    ngx_add_timer(&db->again, db->delay);
}


static void
ngx_http_intent_store_doubt_again(ngx_event_t *ev)
{
    ngx_http_intent_store_doubt_ask(&ngx_http_intent_store_doubting);
}
