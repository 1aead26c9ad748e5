
/*
 * What a Socket.IO client says: Engine.IO's packets, and in their messages
 * those of Socket.IO, whatever brought them.
 */


#include "ngx_http_intent_push_socketio.h"

#include <jansson.h>


#define NGX_HTTP_INTENT_SOCKETIO_ANSWER  512


/* an event under way */
typedef struct {
    ngx_http_intent_socketio_record_t  *record;     /* locked */
    ngx_http_intent_push_loc_conf_t    *conf;
    const char                         *fault;
    int64_t                             since;
    ngx_uint_t                          leave;
} ngx_http_intent_socketio_event_t;


static ngx_int_t ngx_http_intent_socketio_receive(ngx_str_t *id,
    intent_socketio_packet_t *packet, json_t *json,
    ngx_http_intent_push_loc_conf_t *conf);
static ngx_int_t ngx_http_intent_socketio_root(
    ngx_http_intent_socketio_record_t *record,
    intent_socketio_packet_t *packet, json_t *json,
    ngx_http_intent_push_loc_conf_t *conf);
static ngx_int_t ngx_http_intent_socketio_connect(
    ngx_http_intent_socketio_record_t *record,
    ngx_http_intent_push_loc_conf_t *conf);
static ngx_int_t ngx_http_intent_socketio_other_name(
    ngx_http_intent_socketio_record_t *record,
    intent_socketio_packet_t *packet, ngx_http_intent_push_loc_conf_t *conf);
static void ngx_http_intent_socketio_disconnect(
    ngx_http_intent_socketio_record_t *record);
static ngx_int_t ngx_http_intent_socketio_event(
    ngx_http_intent_socketio_record_t *record,
    intent_socketio_packet_t *packet, json_t *json,
    ngx_http_intent_push_loc_conf_t *conf);
static void ngx_http_intent_socketio_since(
    ngx_http_intent_socketio_event_t *event, json_t *options);
static void ngx_http_intent_socketio_what(
    ngx_http_intent_socketio_event_t *event, json_t *what);
static void ngx_http_intent_socketio_user(
    ngx_http_intent_socketio_event_t *event);
static void ngx_http_intent_socketio_intent(
    ngx_http_intent_socketio_event_t *event, json_t *what);
static void ngx_http_intent_socketio_leave_intent(
    ngx_http_intent_socketio_event_t *event, ngx_str_t *id);


ngx_int_t
ngx_http_intent_socketio_packet(ngx_str_t *id, const u_char *data, size_t len,
    ngx_http_intent_push_loc_conf_t *conf, ngx_log_t *log)
{
    json_t                             *json;
    ngx_int_t                           rc;
    intent_socketio_packet_t            packet;
    ngx_http_intent_socketio_record_t  *record;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, log, 0,
                   "intent push socketio packet: %uz bytes, type %d",
                   len, len ? data[0] : 0);

    if (len == 0) {
        return NGX_ERROR;
    }

    switch (data[0]) {

    case INTENT_ENGINEIO_CLOSE:
        ngx_http_intent_socketio_end(id);
        return NGX_DONE;

    case INTENT_ENGINEIO_PONG:
        record = ngx_http_intent_socketio_lock(id);

        if (record == NULL) {
            return NGX_DONE;
        }

        ngx_http_intent_socketio_heard(record, conf);
        ngx_http_intent_socketio_unlock();

        return NGX_OK;

    case INTENT_ENGINEIO_NOOP:
        return NGX_OK;

    case INTENT_ENGINEIO_MESSAGE:
        break;

    default:
        return NGX_ERROR;
    }

    if (intent_socketio_parse(&packet, data + 1, len - 1) != 0) {
        return NGX_ERROR;
    }

    json = NULL;

    if (packet.data_len) {
        json = json_loadb((const char *) packet.data, packet.data_len,
                          JSON_REJECT_DUPLICATES, NULL);
        if (json == NULL) {
            return NGX_ERROR;
        }
    }

    rc = ngx_http_intent_socketio_receive(id, &packet, json, conf);

    json_decref(json);

    return rc;
}


static ngx_int_t
ngx_http_intent_socketio_receive(ngx_str_t *id,
    intent_socketio_packet_t *packet, json_t *json,
    ngx_http_intent_push_loc_conf_t *conf)
{
    ngx_int_t                           rc;
    ngx_pid_t                           owner;
    ngx_uint_t                          worker;
    ngx_http_intent_socketio_record_t  *record;

    record = ngx_http_intent_socketio_lock(id);

    if (record == NULL) {
        return NGX_DONE;
    }

    owner = record->owner;
    worker = record->worker;

    if (packet->name_len == 1) {
        rc = ngx_http_intent_socketio_root(record, packet, json, conf);

    } else {
        rc = ngx_http_intent_socketio_other_name(record, packet, conf);
    }

    ngx_http_intent_socketio_unlock();

    if (rc == NGX_OK) {
        ngx_http_intent_socketio_wake(id, owner, worker);
    }

    return rc;
}


static ngx_int_t
ngx_http_intent_socketio_root(ngx_http_intent_socketio_record_t *record,
    intent_socketio_packet_t *packet, json_t *json,
    ngx_http_intent_push_loc_conf_t *conf)
{
    if (packet->type == INTENT_SOCKETIO_CONNECT) {

        if (record->connected || (json && !json_is_object(json))) {
            return NGX_ERROR;
        }

        return ngx_http_intent_socketio_connect(record, conf);
    }

    if (!record->connected) {
        return NGX_ERROR;
    }

    switch (packet->type) {

    case INTENT_SOCKETIO_DISCONNECT:
        ngx_http_intent_socketio_disconnect(record);
        return NGX_OK;

    case INTENT_SOCKETIO_EVENT:
        return ngx_http_intent_socketio_event(record, packet, json, conf);

    default: /* INTENT_SOCKETIO_ACK: nothing of ours asks for one */
        return (json_is_array(json) && packet->id_len) ? NGX_OK : NGX_ERROR;
    }
}


/* the id of the session is a secret: what the page sees is another one */

static ngx_int_t
ngx_http_intent_socketio_connect(ngx_http_intent_socketio_record_t *record,
    ngx_http_intent_push_loc_conf_t *conf)
{
    u_char     buf[NGX_HTTP_INTENT_ID_LEN];
    ngx_str_t  pieces[3];

    if (ngx_http_intent_id(buf) != NGX_OK) {
        return NGX_ERROR;
    }

    record->connected = 1;
    record->connect = 0;

    ngx_str_set(&pieces[0], "40{\"sid\":\"");
    pieces[1].data = buf;
    pieces[1].len = NGX_HTTP_INTENT_ID_LEN;
    ngx_str_set(&pieces[2], "\"}");

    return (ngx_http_intent_socketio_send(record, pieces, 3, conf) == NGX_OK)
           ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_intent_socketio_other_name(
    ngx_http_intent_socketio_record_t *record,
    intent_socketio_packet_t *packet, ngx_http_intent_push_loc_conf_t *conf)
{
    ngx_str_t  pieces[3];

    if (packet->type != INTENT_SOCKETIO_CONNECT) {
        return NGX_ERROR;
    }

    ngx_str_set(&pieces[0], "44");
    pieces[1].data = (u_char *) packet->name;
    pieces[1].len = packet->name_len;
    ngx_str_set(&pieces[2], ",{\"message\":\"Invalid namespace\"}");

    return (ngx_http_intent_socketio_send(record, pieces, 3, conf) == NGX_OK)
           ? NGX_OK : NGX_ERROR;
}


static void
ngx_http_intent_socketio_disconnect(ngx_http_intent_socketio_record_t *record)
{
    ngx_uint_t                         i;
    ngx_http_intent_socketio_entry_t  *entry;

    record->connected = 0;
    record->watched = 0;

    for (i = 0; i < record->n; i++) {
        entry = &record->entries[i];

        entry->change = ngx_http_intent_socketio_leave;
        entry->watched = 0;
        entry->version = 0;
    }

    if (record->by_user) {
        record->by_user = 0;
        record->since = 0;
        record->user_change = ngx_http_intent_socketio_leave;
    }
}


/* ---- events ---- */

static ngx_int_t
ngx_http_intent_socketio_event(ngx_http_intent_socketio_record_t *record,
    intent_socketio_packet_t *packet, json_t *json,
    ngx_http_intent_push_loc_conf_t *conf)
{
    u_char                            *p, buf[NGX_HTTP_INTENT_SOCKETIO_ANSWER];
    ngx_str_t                          answer;
    const char                        *name;
    ngx_http_intent_socketio_event_t   event;

    name = json_string_value(json_array_get(json, 0));

    if (name == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(&event, sizeof(event));
    event.record = record;
    event.conf = conf;
    event.leave = (ngx_strcmp(name, "unsubscribe") == 0);

    if (event.leave || ngx_strcmp(name, "subscribe") == 0) {
        ngx_http_intent_socketio_since(&event, json_array_get(json, 2));
        ngx_http_intent_socketio_what(&event, json_array_get(json, 1));

    } else {
        event.fault = "there are only the events subscribe and unsubscribe";
    }

    p = buf;

    if (packet->id_len) {
        p = ngx_sprintf(p, "43%*s[", packet->id_len, packet->id);

    } else if (event.fault) {
        p = ngx_sprintf(p, "42[\"intentError\",");

    } else {
        return NGX_OK;
    }

    /* faults are our own words, in which nothing has to be escaped */

    if (event.fault) {
        p = ngx_sprintf(p, "{\"%s\":%s,\"detail\":\"%s\"}]",
                        packet->id_len ? "ok" : "intentId",
                        packet->id_len ? "false" : "null", event.fault);

    } else {
        p = ngx_sprintf(p, "{\"ok\":true}]");
    }

    answer.data = buf;
    answer.len = p - buf;

    return (ngx_http_intent_socketio_send(record, &answer, 1, conf) == NGX_OK)
           ? NGX_OK : NGX_ERROR;
}


static void
ngx_http_intent_socketio_since(ngx_http_intent_socketio_event_t *event,
    json_t *options)
{
    json_t  *since;

    since = json_object_get(options, "since");

    if (since
        && ngx_http_intent_push_since_parse(since, &event->since) != NGX_OK)
    {
        event->fault = "since should be null or a time as in updatedAt";
    }
}


static void
ngx_http_intent_socketio_what(ngx_http_intent_socketio_event_t *event,
    json_t *what)
{
    size_t   i;
    json_t  *id;

    if (event->fault) {
        return;
    }

    if (json_is_string(what)
        && ngx_strcmp(json_string_value(what), "user") == 0)
    {
        ngx_http_intent_socketio_user(event);
        return;
    }

    if (!json_is_array(what)) {
        ngx_http_intent_socketio_intent(event, what);
        return;
    }

    json_array_foreach(what, i, id) {
        ngx_http_intent_socketio_intent(event, id);
    }
}


static void
ngx_http_intent_socketio_user(ngx_http_intent_socketio_event_t *event)
{
    ngx_http_intent_socketio_record_t  *record;

    record = event->record;

    if (record->user.len == 0) {
        event->fault = "it is not known here who you are";
        return;
    }

    if (record->by_user == !event->leave
        && (event->leave || event->since == 0))
    {
        return;
    }

    record->by_user = !event->leave;
    record->asked = (!event->leave && event->since);
    record->since = event->leave ? 0 : event->since;
    record->user_change = event->leave ? ngx_http_intent_socketio_leave
                                       : ngx_http_intent_socketio_rejoin;
}


static void
ngx_http_intent_socketio_intent(ngx_http_intent_socketio_event_t *event,
    json_t *what)
{
    u_char                              bytes[16];
    u_char                              text[NGX_HTTP_INTENT_ID_LEN];
    ngx_str_t                           id;
    ngx_http_intent_socketio_entry_t   *entry;
    ngx_http_intent_socketio_record_t  *record;

    record = event->record;

    if (!json_is_string(what)
        || ngx_http_intent_id_parse((u_char *) json_string_value(what),
                                    json_string_length(what), bytes)
           != NGX_OK)
    {
        event->fault = "an intent's id should be a UUID";
        return;
    }

    ngx_http_intent_id_format(bytes, text);

    id.data = text;
    id.len = NGX_HTTP_INTENT_ID_LEN;

    if (event->leave) {
        ngx_http_intent_socketio_leave_intent(event, &id);
        return;
    }

    entry = ngx_http_intent_socketio_entry(record, &id);

    if (entry && entry->watched) {
        return;
    }

    if (record->watched == event->conf->subscriptions) {
        event->fault = "there are too many subscriptions";
        return;
    }

    if (entry == NULL) {
        entry = ngx_http_intent_socketio_entry_add(record, &id, event->conf);
        if (entry == NULL) {
            event->fault = "there is no room for it";
            return;
        }
    }

    entry->version = 0;
    entry->watched = 1;
    entry->change = ngx_http_intent_socketio_rejoin;
    record->watched++;
}


/* what is of the user may be told on, so it is kept what was told */

static void
ngx_http_intent_socketio_leave_intent(
    ngx_http_intent_socketio_event_t *event, ngx_str_t *id)
{
    ngx_http_intent_socketio_entry_t  *entry;

    entry = ngx_http_intent_socketio_entry(event->record, id);

    if (entry && entry->watched) {
        entry->watched = 0;
        entry->change = ngx_http_intent_socketio_leave;
        event->record->watched--;
    }
}
