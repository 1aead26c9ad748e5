
/*
 * Subscriptions, on a session of their own.
 *
 * They come and go with those who watch: SUBSCRIBE and UNSUBSCRIBE of single
 * channels, pipelined, a bounded number of them under way.  A confirmation
 * says the channel only, so each command has a serial number: the answer to
 * an earlier SUBSCRIBE must not be taken for that to a later one, for between
 * them the channel was not subscribed.
 */


#include "ngx_http_intent_cache_private.h"


#define NGX_HTTP_INTENT_CACHE_SUBSCRIBES  1024      /* under way */


typedef struct {
    ngx_rbtree_t              rbtree;       /* by channel */
    ngx_rbtree_node_t         sentinel;
    ngx_queue_t               waiting;      /* for their SUBSCRIBE */
    ngx_uint_t                serial;

    ngx_event_t               send;
    ngx_connection_t          dumb;
} ngx_http_intent_cache_watches_t;


static void ngx_http_intent_cache_watch_state(void *data, ngx_uint_t up);
static void ngx_http_intent_cache_watch_enqueue(
    ngx_http_intent_cache_watch_t *w);
static void ngx_http_intent_cache_watch_send(ngx_event_t *ev);
static ngx_int_t ngx_http_intent_cache_watch_command(const char *command,
    ngx_str_t *channel, ngx_http_intent_redis_reply_pt handler, void *data);
static void ngx_http_intent_cache_subscribed(void *data, redisReply *reply);
static void ngx_http_intent_cache_message(void *data, ngx_str_t *channel,
    ngx_str_t *message);
static ngx_http_intent_cache_watch_t *ngx_http_intent_cache_watch_find(
    ngx_str_t *channel);


static ngx_http_intent_cache_watches_t  *ngx_http_intent_cache_watches;


ngx_int_t
ngx_http_intent_cache_watch_init(ngx_http_intent_cache_t *cache)
{
    ngx_http_intent_cache_watches_t  *watches;

    watches = ngx_pcalloc(cache->pool,
                          sizeof(ngx_http_intent_cache_watches_t));
    if (watches == NULL) {
        return NGX_ERROR;
    }

    ngx_rbtree_init(&watches->rbtree, &watches->sentinel,
                    ngx_str_rbtree_insert_value);
    ngx_queue_init(&watches->waiting);

    watches->dumb.fd = (ngx_socket_t) -1;
    watches->send.handler = ngx_http_intent_cache_watch_send;
    watches->send.data = &watches->dumb;
    watches->send.log = cache->log;

    ngx_http_intent_cache_watches = watches;

    return NGX_OK;
}


ngx_int_t
ngx_http_intent_cache_watch(ngx_http_intent_cache_watch_t *w)
{
    ngx_http_intent_cache_t          *cache;
    ngx_http_intent_cache_watches_t  *watches;

    cache = ngx_http_intent_cache;

    if (cache == NULL) {
        return NGX_DECLINED;
    }

    if (cache->subscriber == NULL) {
        cache->subscriber = ngx_http_intent_redis_create(cache->pool,
                                           &cache->conf->redis, cache->log,
                                           ngx_http_intent_cache_watch_state,
                                           NULL);
        if (cache->subscriber == NULL) {
            return NGX_ERROR;
        }

        ngx_http_intent_redis_on_message(cache->subscriber,
                                         ngx_http_intent_cache_message);
    }

    watches = ngx_http_intent_cache_watches;

    w->node.node.key = ngx_crc32_short(w->node.str.data, w->node.str.len);
    w->watched = 1;

    ngx_rbtree_insert(&watches->rbtree, &w->node.node);

    if (ngx_http_intent_redis_is_up(cache->subscriber)) {
        ngx_http_intent_cache_watch_enqueue(w);
    }

    return NGX_OK;
}


void
ngx_http_intent_cache_unwatch(ngx_http_intent_cache_watch_t *w)
{
    if (!w->watched || ngx_http_intent_cache == NULL) {
        return;
    }

    ngx_rbtree_delete(&ngx_http_intent_cache_watches->rbtree, &w->node.node);
    w->watched = 0;

    if (w->waiting) {
        ngx_queue_remove(&w->queue);
        w->waiting = 0;
    }

    /* without room for it now: done with the next message on the channel */

    if (w->sent) {
        (void) ngx_http_intent_cache_watch_command("UNSUBSCRIBE",
                                           &w->node.str,
                                           ngx_http_intent_cache_subscribed,
                                           NULL);
    }

    w->sent = 0;
    w->up = 0;
}


ngx_int_t
ngx_http_intent_cache_subscribe(ngx_str_t *channel,
    ngx_http_intent_cache_message_pt handler, void *data)
{
    ngx_http_intent_cache_watch_t  *w;

    if (ngx_http_intent_cache == NULL) {
        return NGX_DECLINED;
    }

    w = ngx_pcalloc(ngx_http_intent_cache->pool,
                    sizeof(ngx_http_intent_cache_watch_t));
    if (w == NULL) {
        return NGX_ERROR;
    }

    w->node.str = *channel;
    w->handler = handler;
    w->data = data;

    return ngx_http_intent_cache_watch(w);
}


static void
ngx_http_intent_cache_watch_state(void *data, ngx_uint_t up)
{
    ngx_rbtree_t                     *tree;
    ngx_rbtree_node_t                *node, *next;
    ngx_http_intent_cache_watch_t    *w;

    tree = &ngx_http_intent_cache_watches->rbtree;

    if (tree->root == tree->sentinel) {
        return;
    }

    for (node = ngx_rbtree_min(tree->root, tree->sentinel);
         node;
         node = next)
    {
        next = ngx_rbtree_next(tree, node);
        w = (ngx_http_intent_cache_watch_t *) node;

        if (up) {
            ngx_http_intent_cache_watch_enqueue(w);
            continue;
        }

        if (w->waiting) {
            ngx_queue_remove(&w->queue);
            w->waiting = 0;
        }

        w->sent = 0;

        if (w->up) {
            w->up = 0;

            if (w->ready) {
                w->ready(w->data, 0);
            }
        }
    }
}


static void
ngx_http_intent_cache_watch_enqueue(ngx_http_intent_cache_watch_t *w)
{
    ngx_queue_insert_tail(&ngx_http_intent_cache_watches->waiting, &w->queue);
    w->waiting = 1;

    ngx_post_event(&ngx_http_intent_cache_watches->send, &ngx_posted_events);
}


static void
ngx_http_intent_cache_watch_send(ngx_event_t *ev)
{
    ngx_queue_t                      *q;
    ngx_http_intent_redis_t          *rd;
    ngx_http_intent_cache_watch_t    *w;
    ngx_http_intent_cache_watches_t  *watches;

    watches = ngx_http_intent_cache_watches;
    rd = ngx_http_intent_cache->subscriber;

    while (!ngx_queue_empty(&watches->waiting)
           && ngx_http_intent_redis_pending(rd)
              < NGX_HTTP_INTENT_CACHE_SUBSCRIBES)
    {
        q = ngx_queue_head(&watches->waiting);
        w = ngx_queue_data(q, ngx_http_intent_cache_watch_t, queue);

        w->serial = ++watches->serial;

        if (ngx_http_intent_cache_watch_command("SUBSCRIBE", &w->node.str,
                                             ngx_http_intent_cache_subscribed,
                                             (void *) w->serial)
            != NGX_OK)
        {
            /* the session ends, or an answer will bring us here again */
            return;
        }

        ngx_queue_remove(q);
        w->waiting = 0;
        w->sent = 1;
    }
}


static ngx_int_t
ngx_http_intent_cache_watch_command(const char *command, ngx_str_t *channel,
    ngx_http_intent_redis_reply_pt handler, void *data)
{
    u_char                             *p, *bulk;
    size_t                              len;
    ngx_http_intent_redis_t            *rd;
    ngx_http_intent_cache_main_conf_t  *conf;

    rd = ngx_http_intent_cache->subscriber;
    conf = ngx_http_intent_cache->conf;
    len = conf->prefix.len + channel->len;

    p = ngx_http_intent_redis_begin(rd, NGX_HTTP_INTENT_REDIS_HEAD_LEN
                        + ngx_http_intent_redis_bulk_len(sizeof("UNSUBSCRIBE"))
                        + ngx_http_intent_redis_bulk_len(len));
    if (p == NULL) {
        return NGX_DECLINED;
    }

    bulk = ngx_http_intent_redis_head(p, 2);
    bulk = ngx_http_intent_redis_bulk(bulk, (u_char *) command,
                                      ngx_strlen(command));

    p = ngx_sprintf(bulk, "$%uz\r\n%V", len, &conf->prefix);
    p = ngx_cpymem(p, channel->data, channel->len);
    *p++ = CR; *p++ = LF;

    ngx_http_intent_redis_commit(rd, p, handler, data);

    return NGX_OK;
}


/*
 * ["subscribe", channel, number]; data: the serial number of the command, 0
 * of an UNSUBSCRIBE
 */

static void
ngx_http_intent_cache_subscribed(void *data, redisReply *reply)
{
    ngx_str_t                         channel;
    ngx_uint_t                        level;
    ngx_http_intent_cache_t          *cache;
    ngx_http_intent_cache_watch_t    *w;
    ngx_http_intent_cache_watches_t  *watches;

    cache = ngx_http_intent_cache;
    watches = ngx_http_intent_cache_watches;

    if (reply == NULL) {
        return;
    }

    if (!ngx_queue_empty(&watches->waiting)) {
        ngx_post_event(&watches->send, &ngx_posted_events);
    }

    if (reply->type == REDIS_REPLY_ERROR) {

        /* by an ACL: nothing is told, then, and who watches has to read */

        level = cache->watch_refused ? NGX_LOG_INFO : NGX_LOG_ERR;
        ngx_log_error(level, cache->log, 0,
                      "redis %V refused a subscription: \"%*s\"",
                      &cache->conf->redis.name, reply->len, reply->str);
        cache->watch_refused = 1;
        return;
    }

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3
        || reply->element[1]->type != REDIS_REPLY_STRING)
    {
        return;
    }

    channel.len = reply->element[1]->len;
    channel.data = (u_char *) reply->element[1]->str;

    w = ngx_http_intent_cache_watch_find(&channel);

    if (w == NULL || !w->sent || w->serial != (ngx_uint_t) data) {
        return;
    }

    cache->watch_refused = 0;
    w->up = 1;

    if (w->ready) {
        w->ready(w->data, 1);
    }
}


static void
ngx_http_intent_cache_message(void *data, ngx_str_t *channel,
    ngx_str_t *message)
{
    size_t                          prefix;
    ngx_str_t                       name;
    ngx_http_intent_cache_watch_t  *w;

    w = ngx_http_intent_cache_watch_find(channel);

    if (w) {
        w->handler(w->data, message);
        return;
    }

    /* an UNSUBSCRIBE is under way, or there was no room for it */

    prefix = ngx_http_intent_cache->conf->prefix.len;

    if (channel->len < prefix) {
        return;
    }

    name.data = channel->data + prefix;
    name.len = channel->len - prefix;

    (void) ngx_http_intent_cache_watch_command("UNSUBSCRIBE", &name,
                                           ngx_http_intent_cache_subscribed,
                                           NULL);
}


/* channel is one that we have subscribed to, so it has the prefix */

static ngx_http_intent_cache_watch_t *
ngx_http_intent_cache_watch_find(ngx_str_t *channel)
{
    uint32_t    hash;
    ngx_str_t   name, *prefix;

    prefix = &ngx_http_intent_cache->conf->prefix;

    if (channel->len < prefix->len) {
        return NULL;
    }

    name.len = channel->len - prefix->len;
    name.data = channel->data + prefix->len;

    hash = ngx_crc32_short(name.data, name.len);

    return (ngx_http_intent_cache_watch_t *)
           ngx_str_rbtree_lookup(&ngx_http_intent_cache_watches->rbtree,
                                 &name, hash);
}


ngx_uint_t
ngx_http_intent_cache_watching(void)
{
    return ngx_http_intent_cache
           && ngx_http_intent_cache->subscriber
           && ngx_http_intent_redis_is_up(ngx_http_intent_cache->subscriber);
}
