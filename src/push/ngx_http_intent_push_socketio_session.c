
/*
 * What a worker has to do with a session: as its owner it subscribes in the
 * hub, sends the pings, and ends it; everything is done in a turn of its own,
 * after a wake.
 */


#include "ngx_http_intent_push_socketio.h"


#define NGX_HTTP_INTENT_SOCKETIO_CHECK   1000   /* ms, should a wake be lost */
#define NGX_HTTP_INTENT_SOCKETIO_ASKED   32     /* not told yet */
#define NGX_HTTP_INTENT_SOCKETIO_LINGER  2000   /* ms, until the next owner
                                                   has what we have */


static ngx_http_intent_socketio_session_t *ngx_http_intent_socketio_find(
    ngx_str_t *id);
static void ngx_http_intent_socketio_run(ngx_event_t *ev);
static void ngx_http_intent_socketio_lost(
    ngx_http_intent_socketio_session_t *session);
static void ngx_http_intent_socketio_over(
    ngx_http_intent_socketio_session_t *session);
static void ngx_http_intent_socketio_sync(
    ngx_http_intent_socketio_session_t *session);
static ngx_uint_t ngx_http_intent_socketio_next_change(
    ngx_http_intent_socketio_session_t *session, ngx_str_t *id);
static ngx_int_t ngx_http_intent_socketio_apply(
    ngx_http_intent_socketio_session_t *session, ngx_uint_t change,
    ngx_str_t *id);
static void ngx_http_intent_socketio_apply_failed(
    ngx_http_intent_socketio_session_t *session, ngx_str_t *id);
static void ngx_http_intent_socketio_message(
    ngx_http_intent_push_client_t *client, ngx_http_intent_push_message_t *m);
static ngx_int_t ngx_http_intent_socketio_news(
    ngx_http_intent_socketio_record_t *record,
    ngx_http_intent_push_message_t *m, ngx_http_intent_push_loc_conf_t *conf);
static void ngx_http_intent_socketio_missing(
    ngx_http_intent_push_client_t *client, ngx_str_t *id);
static void ngx_http_intent_socketio_drain(
    ngx_http_intent_push_client_t *client);
static ngx_uint_t ngx_http_intent_socketio_ready(
    ngx_http_intent_push_client_t *client);
static void ngx_http_intent_socketio_caught_up(
    ngx_http_intent_push_client_t *client, int64_t at, ngx_uint_t complete);


ngx_http_intent_push_transport_t  ngx_http_intent_socketio_transport = {
    ngx_string("socketio"),
    ngx_http_intent_socketio_message,
    ngx_http_intent_socketio_missing,
    ngx_http_intent_socketio_drain,
    ngx_http_intent_socketio_ready,
    ngx_http_intent_socketio_caught_up,
    NULL,
    NULL,
    0
};


/* of this worker */
static ngx_rbtree_t       ngx_http_intent_socketio_sessions;
static ngx_rbtree_node_t  ngx_http_intent_socketio_sentinel;


void
ngx_http_intent_socketio_init_sessions(void)
{
    ngx_rbtree_init(&ngx_http_intent_socketio_sessions,
                    &ngx_http_intent_socketio_sentinel,
                    ngx_str_rbtree_insert_value);
}


ngx_int_t
ngx_http_intent_socketio_session(ngx_http_request_t *r, ngx_str_t *id,
    ngx_str_t *user, ngx_http_intent_socketio_session_t **session)
{
    ngx_int_t                            rc;
    ngx_http_intent_socketio_record_t   *record;
    ngx_http_intent_socketio_session_t  *s;

    s = ngx_http_intent_socketio_find(id);

    if (s) {
        *session = s;
        return s->drained ? NGX_ABORT : NGX_OK;
    }

    s = ngx_calloc(sizeof(ngx_http_intent_socketio_session_t) + user->len,
                   ngx_cycle->log);
    if (s == NULL) {
        return NGX_ERROR;
    }

    s->conf = ngx_http_get_module_loc_conf(r, ngx_http_intent_push_module);

    ngx_memcpy(s->user, user->data, user->len);
    s->client.user.data = s->user;
    s->client.user.len = user->len;

    rc = ngx_http_intent_push_open(&s->client,
                                   &ngx_http_intent_socketio_transport, r);
    if (rc != NGX_OK) {
        ngx_free(s);
        return rc;
    }

    /* the record has counted them */
    s->client.max_subscriptions += 2;

    ngx_memcpy(s->id, id->data, NGX_HTTP_INTENT_SOCKETIO_ID_LEN);
    s->node.str.data = s->id;
    s->node.str.len = NGX_HTTP_INTENT_SOCKETIO_ID_LEN;
    s->node.node.key = ngx_crc32_short(s->id, NGX_HTTP_INTENT_SOCKETIO_ID_LEN);

    ngx_rbtree_insert(&ngx_http_intent_socketio_sessions, &s->node.node);

    s->event.handler = ngx_http_intent_socketio_run;
    s->event.data = s;
    s->event.log = ngx_cycle->log;
    s->event.cancelable = 1;

    /* what a session that was here before has asked of the hub has ended */

    record = ngx_http_intent_socketio_lock(id);

    if (record) {
        if (record->owner == ngx_pid) {
            record->owner = NGX_INVALID_PID;
        }

        ngx_http_intent_socketio_unlock();
    }

    *session = s;

    return NGX_OK;
}


static ngx_http_intent_socketio_session_t *
ngx_http_intent_socketio_find(ngx_str_t *id)
{
    ngx_str_node_t  *node;

    node = ngx_str_rbtree_lookup(&ngx_http_intent_socketio_sessions, id,
                                 ngx_crc32_short(id->data, id->len));
    if (node == NULL) {
        return NULL;
    }

    return (ngx_http_intent_socketio_session_t *)
               ((u_char *) node
                - offsetof(ngx_http_intent_socketio_session_t, node));
}


void
ngx_http_intent_socketio_wake(ngx_str_t *id, ngx_pid_t owner,
    ngx_uint_t worker)
{
    if (owner == ngx_pid) {
        ngx_http_intent_socketio_wake_here(id);

    } else {
        ngx_http_intent_socketio_wake_there(id, worker);
    }
}


void
ngx_http_intent_socketio_wake_here(ngx_str_t *id)
{
    ngx_http_intent_socketio_session_t  *session;

    session = ngx_http_intent_socketio_find(id);

    if (session) {
        ngx_post_event(&session->event, &ngx_posted_events);
    }
}


void
ngx_http_intent_socketio_end(ngx_str_t *id)
{
    ngx_pid_t                           owner;
    ngx_uint_t                          worker;
    ngx_http_intent_socketio_record_t  *record;

    record = ngx_http_intent_socketio_lock(id);

    if (record) {
        owner = record->owner;
        worker = record->worker;

        ngx_http_intent_socketio_delete(record);
        ngx_http_intent_socketio_unlock();

        ngx_http_intent_socketio_wake(id, owner, worker);
    }
}


void
ngx_http_intent_socketio_detach(ngx_http_intent_socketio_request_t *sr)
{
    ngx_http_intent_socketio_session_t  *session;

    session = sr->session;

    if (session == NULL) {
        return;
    }

    sr->session = NULL;

    if (session->poll == sr) {
        session->poll = NULL;
    }

    if (session->websocket == sr) {
        session->websocket = NULL;
    }

    ngx_post_event(&session->event, &ngx_posted_events);
}


/* ---- the turn of a session ---- */

static void
ngx_http_intent_socketio_run(ngx_event_t *ev)
{
    ngx_uint_t                           ready;
    ngx_msec_t                           now, timer;
    ngx_str_t                            ping;
    ngx_http_intent_socketio_record_t   *record;
    ngx_http_intent_socketio_session_t  *session;

    session = ev->data;
    ev->timedout = 0;

    record = ngx_http_intent_socketio_lock(&session->node.str);

    if (record == NULL) {
        ngx_http_intent_socketio_over(session);
        return;
    }

    if (record->owner != ngx_pid) {
        ngx_http_intent_socketio_unlock();
        ngx_http_intent_socketio_lost(session);
        return;
    }

    now = ngx_current_msec;

    if (session->drained) {

        /* a poll goes on in another worker, where it asks next */

        record->polling = 0;

        if (record->websocket) {
            ngx_http_intent_socketio_delete(record);
        }

        ngx_http_intent_socketio_unlock();
        ngx_http_intent_socketio_over(session);
        return;
    }

    if ((ngx_msec_int_t) (record->deadline - now) <= 0
        || (record->connect && (ngx_msec_int_t) (record->connect - now) <= 0)
        || (record->websocket && session->websocket == NULL))
    {
        ngx_http_intent_socketio_delete(record);
        ngx_http_intent_socketio_unlock();
        ngx_http_intent_socketio_over(session);
        return;
    }

    if (record->ping && (ngx_msec_int_t) (record->ping - now) <= 0) {
        ngx_str_set(&ping, "2");
        record->ping = 0;
        (void) ngx_http_intent_socketio_send(record, &ping, 1, session->conf);
    }

    timer = (record->ping ? record->ping : record->deadline) - now;

    if (record->connect) {
        timer = ngx_min(timer, record->connect - now);
    }

    record->alive = ngx_http_intent_now();

    ngx_http_intent_socketio_unlock();

    session->until = 0;

    ngx_http_intent_socketio_sync(session);

    if (!session->websocket) {
        timer = ngx_min(timer, NGX_HTTP_INTENT_SOCKETIO_CHECK);
    }

    ngx_add_timer(ev, ngx_max(timer, 1));

    ngx_http_intent_push_more(&session->client);

    if (session->websocket) {
        ngx_http_intent_socketio_websocket_flush(session->websocket);
    }

    if (session->poll == NULL) {
        return;
    }

    record = ngx_http_intent_socketio_lock(&session->node.str);

    if (record) {
        ready = (record->out || record->upgrading || record->websocket);
        session->poll->noop = (record->upgrading || record->websocket);

        ngx_http_intent_socketio_unlock();

        if (ready) {
            ngx_http_intent_socketio_poll_wake(session->poll);
        }
    }
}


/* another worker is the owner: it has asked for all that we watch */

static void
ngx_http_intent_socketio_lost(ngx_http_intent_socketio_session_t *session)
{
    ngx_msec_int_t  left;

    if (session->poll) {
        session->poll->noop = 1;
        session->poll->over = 1;
        ngx_http_intent_socketio_poll_wake(session->poll);
    }

    if (session->websocket || session->drained) {
        ngx_http_intent_socketio_over(session);
        return;
    }

    if (session->until == 0) {
        session->until = ngx_current_msec + NGX_HTTP_INTENT_SOCKETIO_LINGER;
        session->until += (session->until == 0);
    }

    left = session->until - ngx_current_msec;

    if (left > 0 || session->poll) {
        ngx_add_timer(&session->event, ngx_max(left, 1));
        return;
    }

    ngx_http_intent_socketio_over(session);
}


/* there is no such session any more, or not here */

static void
ngx_http_intent_socketio_over(ngx_http_intent_socketio_session_t *session)
{
    ngx_uint_t                           code;
    ngx_http_intent_socketio_request_t  *poll, *websocket;

    poll = session->poll;
    websocket = session->websocket;

    if (poll) {
        poll->over = 1;
        poll->noop |= session->drained;
        poll->session = NULL;
        ngx_http_intent_socketio_poll_wake(poll);
    }

    if (websocket) {
        code = session->slow ? INTENT_CLOSE_TRY_LATER
               : session->drained ? INTENT_CLOSE_RESTART
               : INTENT_CLOSE_NORMAL;

        websocket->session = NULL;
        ngx_http_intent_socketio_websocket_close(websocket, code);
    }

    if (session->event.timer_set) {
        ngx_del_timer(&session->event);
    }

    ngx_http_intent_push_close(&session->client);

    if (session->event.posted) {
        ngx_delete_posted_event(&session->event);
    }

    ngx_rbtree_delete(&ngx_http_intent_socketio_sessions,
                      &session->node.node);
    ngx_free(session);
}


/* ---- what the hub has to know ---- */

static void
ngx_http_intent_socketio_sync(ngx_http_intent_socketio_session_t *session)
{
    u_char      buf[NGX_HTTP_INTENT_ID_LEN];
    ngx_int_t   rc;
    ngx_str_t   id;
    ngx_uint_t  change;

    id.data = buf;

    for ( ;; ) {
        change = ngx_http_intent_socketio_next_change(session, &id);

        if (change == ngx_http_intent_socketio_no_change) {
            return;
        }

        rc = ngx_http_intent_socketio_apply(session, change, &id);

        /* busy: who was the owner before has not told all yet, and goes on */

        if (rc != NGX_OK && rc != NGX_BUSY) {
            ngx_http_intent_socketio_apply_failed(session, &id);
        }
    }
}


/* an empty id: the user */

static ngx_uint_t
ngx_http_intent_socketio_next_change(
    ngx_http_intent_socketio_session_t *session, ngx_str_t *id)
{
    ngx_uint_t                          i, n, change;
    ngx_http_intent_socketio_entry_t   *entry, *found;
    ngx_http_intent_socketio_record_t  *record;

    record = ngx_http_intent_socketio_lock(&session->node.str);

    if (record == NULL) {
        return ngx_http_intent_socketio_no_change;
    }

    change = record->user_change;
    record->user_change = ngx_http_intent_socketio_no_change;
    id->len = 0;

    if (change != ngx_http_intent_socketio_no_change) {
        ngx_http_intent_socketio_unlock();
        return change;
    }

    /* who leaves makes room for who comes */

    found = NULL;
    n = 0;

    for (i = 0; i < record->n; i++) {
        entry = &record->entries[i];

        if (entry->change == ngx_http_intent_socketio_leave) {
            found = entry;
            break;
        }

        if (entry->change && found == NULL) {
            found = entry;
        }

        n += (entry->watched && !entry->change && entry->version == 0);
    }

    /* a client that asks for much is told no more at a time than it takes */

    session->held = (found
                     && found->change != ngx_http_intent_socketio_leave
                     && (n >= NGX_HTTP_INTENT_SOCKETIO_ASKED
                         || record->queued > session->conf->buffer / 2));

    if (found && !session->held) {
        change = found->change;
        found->change = ngx_http_intent_socketio_no_change;

        ngx_memcpy(id->data, found->id, NGX_HTTP_INTENT_ID_LEN);
        id->len = NGX_HTTP_INTENT_ID_LEN;
    }

    ngx_http_intent_socketio_unlock();

    return change;
}


/*
 * The hub tells what is known only to him who comes, so he who asks again
 * from the start has to leave before.
 */

static ngx_int_t
ngx_http_intent_socketio_apply(ngx_http_intent_socketio_session_t *session,
    ngx_uint_t change, ngx_str_t *id)
{
    int64_t                             since;
    ngx_http_intent_socketio_record_t  *record;

    if (change != ngx_http_intent_socketio_join) {

        if (id->len) {
            ngx_http_intent_push_unsubscribe(&session->client, id);

        } else {
            ngx_http_intent_push_unsubscribe_user(&session->client);
        }

        if (change == ngx_http_intent_socketio_leave) {
            return NGX_OK;
        }
    }

    if (id->len) {
        return ngx_http_intent_push_subscribe(&session->client, id);
    }

    since = 0;
    record = ngx_http_intent_socketio_lock(&session->node.str);

    if (record) {
        since = record->since;
        ngx_http_intent_socketio_unlock();
    }

    return ngx_http_intent_push_subscribe_user(&session->client, since);
}


static void
ngx_http_intent_socketio_apply_failed(
    ngx_http_intent_socketio_session_t *session, ngx_str_t *id)
{
    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "Socket.IO session could not subscribe, it is ended");

    ngx_http_intent_socketio_end(&session->node.str);
}


/* ---- what the hub says ---- */

static void
ngx_http_intent_socketio_message(ngx_http_intent_push_client_t *client,
    ngx_http_intent_push_message_t *m)
{
    ngx_http_intent_socketio_session_t *session =
                                  (ngx_http_intent_socketio_session_t *) client;

    ngx_int_t                           rc;
    ngx_pid_t                           owner;
    ngx_uint_t                          worker;
    ngx_http_intent_socketio_record_t  *record;

    record = ngx_http_intent_socketio_lock(&session->node.str);

    if (record == NULL) {
        ngx_post_event(&session->event, &ngx_posted_events);
        return;
    }

    rc = ngx_http_intent_socketio_news(record, m, session->conf);

    owner = record->owner;
    worker = record->worker;

    if (rc == NGX_ERROR) {
        ngx_http_intent_socketio_delete(record);
        session->slow = 1;
    }

    ngx_http_intent_socketio_unlock();

    if (rc == NGX_ERROR) {
        ngx_log_error(NGX_LOG_INFO, ngx_cycle->log, 0,
                      "Socket.IO client reads too slowly, "
                      "its session is ended");
    }

    if (rc == NGX_OK && session->websocket && owner == ngx_pid) {
        ngx_http_intent_socketio_websocket_flush(session->websocket);

        if (session->held) {
            ngx_post_event(&session->event, &ngx_posted_next_events);
        }

        return;
    }

    if (rc != NGX_DECLINED) {
        ngx_http_intent_socketio_wake(&session->node.str, owner, worker);
    }
}


/*
 * NGX_DECLINED: it is not; NGX_ERROR: there is no room for it.  Both the old
 * and the new owner come here for a while, and the hub tells a newcomer what
 * the client may know.
 */

static ngx_int_t
ngx_http_intent_socketio_news(ngx_http_intent_socketio_record_t *record,
    ngx_http_intent_push_message_t *m, ngx_http_intent_push_loc_conf_t *conf)
{
    ngx_str_t                          pieces[3];
    ngx_http_intent_socketio_entry_t  *entry;

    entry = ngx_http_intent_socketio_entry(record, &m->id);

    if (!record->by_user && (entry == NULL || !entry->watched)) {
        return NGX_DECLINED;
    }

    if (entry == NULL) {
        entry = ngx_http_intent_socketio_entry_add(record, &m->id, conf);
        if (entry == NULL) {
            return NGX_ERROR;
        }
    }

    if (m->version <= entry->version) {
        return NGX_DECLINED;
    }

    entry->version = m->version;

    if (m->final && entry->watched) {
        entry->watched = 0;
        entry->change = ngx_http_intent_socketio_leave;
        record->watched--;
    }

    ngx_str_set(&pieces[0], "42[\"intentUpdate\",{");
    pieces[1] = m->members;
    ngx_str_set(&pieces[2], "]");

    return (ngx_http_intent_socketio_send(record, pieces, 3, conf) == NGX_OK)
           ? NGX_OK : NGX_ERROR;
}


static void
ngx_http_intent_socketio_missing(ngx_http_intent_push_client_t *client,
    ngx_str_t *id)
{
    ngx_http_intent_socketio_session_t *session =
                                  (ngx_http_intent_socketio_session_t *) client;

    ngx_str_t                           pieces[3];
    ngx_pid_t                           owner;
    ngx_uint_t                          worker;
    ngx_http_intent_socketio_entry_t   *entry;
    ngx_http_intent_socketio_record_t  *record;

    record = ngx_http_intent_socketio_lock(&session->node.str);

    if (record == NULL) {
        return;
    }

    owner = record->owner;
    worker = record->worker;
    entry = ngx_http_intent_socketio_entry(record, id);

    if (entry && entry->watched) {
        record->watched--;
        ngx_http_intent_socketio_entry_delete(record, entry);

        ngx_str_set(&pieces[0], "42[\"intentError\",{\"intentId\":\"");
        pieces[1] = *id;
        ngx_str_set(&pieces[2], "\",\"detail\":\"there is no such intent\"}]");

        (void) ngx_http_intent_socketio_send(record, pieces, 3, session->conf);
    }

    ngx_http_intent_socketio_unlock();

    ngx_http_intent_socketio_wake(&session->node.str, owner, worker);
}


static void
ngx_http_intent_socketio_drain(ngx_http_intent_push_client_t *client)
{
    ngx_http_intent_socketio_session_t *session =
                                  (ngx_http_intent_socketio_session_t *) client;

    session->drained = 1;

    ngx_post_event(&session->event, &ngx_posted_events);
}


/* a half is left for what changes */

static ngx_uint_t
ngx_http_intent_socketio_ready(ngx_http_intent_push_client_t *client)
{
    ngx_http_intent_socketio_session_t *session =
                                  (ngx_http_intent_socketio_session_t *) client;

    ngx_uint_t                          ready;
    ngx_http_intent_socketio_record_t  *record;

    record = ngx_http_intent_socketio_lock(&session->node.str);

    if (record == NULL) {
        return 0;
    }

    ready = record->queued < session->conf->buffer / 2;

    ngx_http_intent_socketio_unlock();

    return ready;
}


static void
ngx_http_intent_socketio_caught_up(ngx_http_intent_push_client_t *client,
    int64_t at, ngx_uint_t complete)
{
    ngx_http_intent_socketio_session_t *session =
                                  (ngx_http_intent_socketio_session_t *) client;

    u_char                              buf[NGX_HTTP_INTENT_PUSH_CAUGHT_UP];
    ngx_str_t                           pieces[3];
    ngx_http_intent_socketio_record_t  *record;

    record = ngx_http_intent_socketio_lock(&session->node.str);

    if (record == NULL) {
        return;
    }

    /* whoever is the owner; but another event may wait for its change */

    if (record->user_change == ngx_http_intent_socketio_no_change) {

        if (record->asked) {
            ngx_str_set(&pieces[0], "42[\"caughtUp\",{");
            pieces[1].data = buf;
            pieces[1].len = ngx_http_intent_push_caught_up(buf, at, complete)
                            - buf;
            ngx_str_set(&pieces[2], "]");

            (void) ngx_http_intent_socketio_send(record, pieces, 3,
                                                 session->conf);
        }

        record->asked = 0;
        record->since = 0;
    }

    ngx_http_intent_socketio_unlock();

    ngx_post_event(&session->event, &ngx_posted_events);
}
