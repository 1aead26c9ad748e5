
/*
 * The records of Socket.IO sessions, in shared memory: any worker answers any
 * request of a session.
 */


#include "ngx_http_intent_push_socketio.h"

#include <openssl/rand.h>
#include <signal.h>


#define NGX_HTTP_INTENT_SOCKETIO_MORE     256   /* told, not watched */
#define NGX_HTTP_INTENT_SOCKETIO_EXPIRED  5000  /* ms; its owner has died */
#define NGX_HTTP_INTENT_SOCKETIO_ALIVE    1500  /* ms; so often it runs */


static void ngx_http_intent_socketio_expire(void);
static ngx_uint_t ngx_http_intent_socketio_orphan(
    ngx_http_intent_socketio_record_t *record);


ngx_slab_pool_t                     *ngx_http_intent_socketio_pool;
ngx_http_intent_socketio_records_t  *ngx_http_intent_socketio_records;


ngx_http_intent_socketio_record_t *
ngx_http_intent_socketio_lock(ngx_str_t *id)
{
    uint32_t         hash;
    ngx_str_node_t  *node;

    hash = ngx_crc32_short(id->data, id->len);

    ngx_shmtx_lock(&ngx_http_intent_socketio_pool->mutex);

    node = ngx_str_rbtree_lookup(&ngx_http_intent_socketio_records->rbtree, id,
                                 hash);
    if (node == NULL) {
        ngx_shmtx_unlock(&ngx_http_intent_socketio_pool->mutex);
    }

    return (ngx_http_intent_socketio_record_t *) node;
}


void
ngx_http_intent_socketio_unlock(void)
{
    ngx_shmtx_unlock(&ngx_http_intent_socketio_pool->mutex);
}


ngx_int_t
ngx_http_intent_socketio_create(u_char *id, ngx_str_t *user,
    ngx_uint_t websocket, ngx_http_intent_push_loc_conf_t *conf)
{
    u_char                              bytes[16];
    ngx_str_t                           src, dst;
    ngx_http_intent_socketio_record_t  *record;

    if (RAND_bytes(bytes, sizeof(bytes)) != 1) {
        return NGX_ERROR;
    }

    src.data = bytes;
    src.len = sizeof(bytes);
    dst.data = id;

    ngx_encode_base64url(&dst, &src);

    ngx_shmtx_lock(&ngx_http_intent_socketio_pool->mutex);

    ngx_http_intent_socketio_expire();

    record = ngx_slab_calloc_locked(ngx_http_intent_socketio_pool,
                                    sizeof(ngx_http_intent_socketio_record_t)
                                    + user->len);
    if (record == NULL) {
        ngx_shmtx_unlock(&ngx_http_intent_socketio_pool->mutex);
        return NGX_DECLINED;
    }

    ngx_memcpy(record->id, id, NGX_HTTP_INTENT_SOCKETIO_ID_LEN);
    ngx_memcpy(record->data, user->data, user->len);

    record->node.str.data = record->id;
    record->node.str.len = NGX_HTTP_INTENT_SOCKETIO_ID_LEN;
    record->node.node.key = ngx_crc32_short(id,
                                            NGX_HTTP_INTENT_SOCKETIO_ID_LEN);
    record->user.data = record->data;
    record->user.len = user->len;
    record->last = &record->out;
    record->websocket = websocket;
    record->owner = ngx_pid;
    record->worker = ngx_worker;

    ngx_rbtree_insert(&ngx_http_intent_socketio_records->rbtree,
                      &record->node.node);
    ngx_queue_insert_tail(&ngx_http_intent_socketio_records->queue,
                          &record->queue);

    if (conf->connect_timeout) {
        record->connect = ngx_current_msec + conf->connect_timeout;
    }

    record->alive = ngx_http_intent_now();

    ngx_http_intent_socketio_heard(record, conf);

    ngx_shmtx_unlock(&ngx_http_intent_socketio_pool->mutex);

    return NGX_OK;
}


/* those whose owner should have ended them, but has died */

static void
ngx_http_intent_socketio_expire(void)
{
    ngx_queue_t                        *q, *records;
    ngx_http_intent_socketio_record_t  *record;

    records = &ngx_http_intent_socketio_records->queue;

    while (!ngx_queue_empty(records)) {
        q = ngx_queue_head(records);
        record = ngx_queue_data(q, ngx_http_intent_socketio_record_t, queue);

        if ((ngx_msec_int_t) (ngx_current_msec - record->deadline)
            < NGX_HTTP_INTENT_SOCKETIO_EXPIRED)
        {
            return;
        }

        ngx_http_intent_socketio_delete(record);
    }
}


void
ngx_http_intent_socketio_delete(ngx_http_intent_socketio_record_t *record)
{
    ngx_http_intent_socketio_out_t  *out, *next;

    ngx_rbtree_delete(&ngx_http_intent_socketio_records->rbtree,
                      &record->node.node);
    ngx_queue_remove(&record->queue);

    for (out = record->out; out; out = next) {
        next = out->next;
        ngx_slab_free_locked(ngx_http_intent_socketio_pool, out);
    }

    if (record->entries) {
        ngx_slab_free_locked(ngx_http_intent_socketio_pool, record->entries);
    }

    ngx_slab_free_locked(ngx_http_intent_socketio_pool, record);
}


void
ngx_http_intent_socketio_heard(ngx_http_intent_socketio_record_t *record,
    ngx_http_intent_push_loc_conf_t *conf)
{
    record->ping = ngx_current_msec + conf->ping;
    record->deadline = record->ping + conf->ping_timeout;

    if (record->ping == 0) {
        record->ping = 1;
    }

    ngx_queue_remove(&record->queue);
    ngx_queue_insert_tail(&ngx_http_intent_socketio_records->queue,
                          &record->queue);
}


ngx_http_intent_socketio_entry_t *
ngx_http_intent_socketio_entry(ngx_http_intent_socketio_record_t *record,
    ngx_str_t *id)
{
    ngx_uint_t  i;

    for (i = 0; i < record->n; i++) {
        if (ngx_memcmp(record->entries[i].id, id->data, NGX_HTTP_INTENT_ID_LEN)
            == 0)
        {
            return &record->entries[i];
        }
    }

    return NULL;
}


ngx_http_intent_socketio_entry_t *
ngx_http_intent_socketio_entry_add(ngx_http_intent_socketio_record_t *record,
    ngx_str_t *id, ngx_http_intent_push_loc_conf_t *conf)
{
    ngx_uint_t                         i, size;
    ngx_http_intent_socketio_entry_t  *entries, *entry;

    if (record->n == conf->subscriptions + NGX_HTTP_INTENT_SOCKETIO_MORE) {

        /* the oldest of what is over most likely */

        for (i = 0; i < record->n; i++) {
            entry = &record->entries[i];

            if (!entry->watched && !entry->change) {
                ngx_http_intent_socketio_entry_delete(record, entry);
                break;
            }
        }
    }

    if (record->n == record->size) {
        size = record->size ? 2 * record->size : 4;

        entries = ngx_slab_alloc_locked(ngx_http_intent_socketio_pool,
                               size * sizeof(ngx_http_intent_socketio_entry_t));
        if (entries == NULL) {
            return NULL;
        }

        if (record->entries) {
            ngx_memcpy(entries, record->entries,
                       record->n * sizeof(ngx_http_intent_socketio_entry_t));
            ngx_slab_free_locked(ngx_http_intent_socketio_pool,
                                 record->entries);
        }

        record->entries = entries;
        record->size = size;
    }

    entry = &record->entries[record->n++];

    ngx_memzero(entry, sizeof(ngx_http_intent_socketio_entry_t));
    ngx_memcpy(entry->id, id->data, NGX_HTTP_INTENT_ID_LEN);

    return entry;
}


void
ngx_http_intent_socketio_entry_delete(
    ngx_http_intent_socketio_record_t *record,
    ngx_http_intent_socketio_entry_t *entry)
{
    ngx_uint_t  i;

    i = entry - record->entries;
    record->n--;

    ngx_memmove(entry, entry + 1,
                (record->n - i) * sizeof(ngx_http_intent_socketio_entry_t));
}


ngx_int_t
ngx_http_intent_socketio_send(ngx_http_intent_socketio_record_t *record,
    ngx_str_t *pieces, ngx_uint_t n, ngx_http_intent_push_loc_conf_t *conf)
{
    u_char                          *p;
    size_t                           len;
    ngx_uint_t                       i;
    ngx_http_intent_socketio_out_t  *out;

    len = 0;

    for (i = 0; i < n; i++) {
        len += pieces[i].len;
    }

    /* a single one is let through, however long */

    if (record->queued && record->queued + len > conf->buffer) {
        return NGX_DECLINED;
    }

    out = ngx_slab_alloc_locked(ngx_http_intent_socketio_pool,
                                sizeof(ngx_http_intent_socketio_out_t) + len);
    if (out == NULL) {
        return NGX_DECLINED;
    }

    out->next = NULL;
    out->len = len;
    p = out->data;

    for (i = 0; i < n; i++) {
        p = ngx_cpymem(p, pieces[i].data, pieces[i].len);
    }

    *record->last = out;
    record->last = &out->next;
    record->queued += len;

    return NGX_OK;
}


void
ngx_http_intent_socketio_sent(ngx_http_intent_socketio_record_t *record,
    ngx_uint_t n)
{
    ngx_http_intent_socketio_out_t  *out;

    while (n--) {
        out = record->out;

        record->out = out->next;
        record->queued -= out->len;

        ngx_slab_free_locked(ngx_http_intent_socketio_pool, out);
    }

    if (record->out == NULL) {
        record->last = &record->out;
    }
}


void
ngx_http_intent_socketio_own(ngx_http_intent_socketio_record_t *record)
{
    ngx_uint_t  i, orphan;

    if (record->owner == ngx_pid) {
        return;
    }

    orphan = ngx_http_intent_socketio_orphan(record);

    record->owner = ngx_pid;
    record->worker = ngx_worker;

    for (i = 0; i < record->n; i++) {
        if (record->entries[i].watched
            && record->entries[i].change == ngx_http_intent_socketio_no_change)
        {
            record->entries[i].change = ngx_http_intent_socketio_join;
        }
    }

    if (!record->by_user) {
        return;
    }

    if (record->user_change == ngx_http_intent_socketio_no_change) {
        record->user_change = ngx_http_intent_socketio_join;
    }

    /* what was finished since then was told to none */

    if (orphan && record->since <= 0) {
        record->since = record->alive;
    }
}


/* has its owner died, or been stopped? */

static ngx_uint_t
ngx_http_intent_socketio_orphan(ngx_http_intent_socketio_record_t *record)
{
    if (record->owner == NGX_INVALID_PID
        || (kill(record->owner, 0) == -1 && ngx_errno == NGX_ESRCH))
    {
        return 1;
    }

    return ngx_http_intent_now() - record->alive
           > NGX_HTTP_INTENT_SOCKETIO_ALIVE;
}
