
/*
 * The hub: who watches what.
 *
 * A topic is what is watched, and its subscribers have all been told the same,
 * so one version is kept for each topic and not for each subscriber.  A topic
 * comes to life in this order: Redis confirms the subscription, the intent is
 * read, its subscribers are told; so no change can fall between.  Who joins a
 * topic that lives is told what it told last.
 */


#include "ngx_http_intent_push_private.h"


#define NGX_HTTP_INTENT_PUSH_DRAIN_SLICE   128     /* clients */
#define NGX_HTTP_INTENT_PUSH_DRAIN_PAUSE   20      /* ms */


static ngx_http_intent_push_topic_t *ngx_http_intent_push_topic(
    ngx_str_t *prefix, ngx_str_t *name);
static ngx_http_intent_push_entries_t *ngx_http_intent_push_entries(void);
static ngx_int_t ngx_http_intent_push_join(
    ngx_http_intent_push_client_t *client, ngx_str_t *prefix,
    ngx_str_t *name, int64_t since);
static void ngx_http_intent_push_catch_up(
    ngx_http_intent_push_subscription_t *sub);
static void ngx_http_intent_push_drain(void *data);
static void ngx_http_intent_push_drain_handler(ngx_event_t *ev);


static ngx_str_t  ngx_http_intent_push_no_prefix = ngx_null_string;
static ngx_str_t  ngx_http_intent_push_user_prefix =
                                       ngx_string(NGX_HTTP_INTENT_CACHE_USER);


ngx_http_intent_push_hub_t  *ngx_http_intent_push_hub;


ngx_int_t
ngx_http_intent_push_hub_init(ngx_cycle_t *cycle)
{
    ngx_http_intent_push_hub_t  *hub;

    hub = ngx_pcalloc(cycle->pool, sizeof(ngx_http_intent_push_hub_t));
    if (hub == NULL) {
        return NGX_ERROR;
    }

    ngx_rbtree_init(&hub->topics, &hub->sentinel, ngx_str_rbtree_insert_value);
    ngx_queue_init(&hub->since);
    ngx_queue_init(&hub->clients);
    ngx_queue_init(&hub->drained);

    hub->log = cycle->log;
    hub->dumb.fd = (ngx_socket_t) -1;

    hub->drain.handler = ngx_http_intent_push_drain_handler;
    hub->drain.data = &hub->dumb;
    hub->drain.log = cycle->log;

    ngx_str_set(&hub->missed.node.str, NGX_HTTP_INTENT_CACHE_MISSED);
    hub->missed.handler = ngx_http_intent_push_missed_handler;

    ngx_http_intent_push_address_init(hub);
    ngx_http_intent_push_tell_init(hub);
    ngx_http_intent_push_read_init(hub);

    ngx_http_intent_push_hub = hub;

    return ngx_http_intent_on_drain(ngx_http_intent_push_drain, NULL);
}


/* ---- clients ---- */

ngx_int_t
ngx_http_intent_push_open(ngx_http_intent_push_client_t *client,
    ngx_http_intent_push_transport_t *transport, ngx_http_request_t *r)
{
    ngx_int_t                         rc;
    ngx_http_intent_push_hub_t       *hub;
    ngx_http_intent_push_loc_conf_t  *plcf;

    hub = ngx_http_intent_push_hub;
    plcf = ngx_http_get_module_loc_conf(r, ngx_http_intent_push_module);

    if (ngx_exiting || hub->draining) {
        return NGX_ABORT;
    }

    rc = ngx_http_intent_push_address_add(client, r, plcf->connections);

    if (rc != NGX_OK) {
        return rc;
    }

    client->transport = transport;
    client->max_subscriptions = plcf->subscriptions;
    ngx_queue_init(&client->subscriptions);
    ngx_queue_insert_tail(&hub->clients, &client->queue);

    ngx_http_intent_push_count(transport, NGX_HTTP_INTENT_PUSH_CONNECTIONS, 1);

    return NGX_OK;
}


void
ngx_http_intent_push_close(ngx_http_intent_push_client_t *client)
{
    ngx_http_intent_push_hub_t  *hub;

    hub = ngx_http_intent_push_hub;

    ngx_http_intent_push_unsubscribe_all(client);
    ngx_http_intent_push_snapshot_disown(client);
    ngx_http_intent_push_address_remove(client);
    ngx_queue_remove(&client->queue);

    ngx_http_intent_push_count(client->transport,
                               NGX_HTTP_INTENT_PUSH_CONNECTIONS, -1);

    if (hub->draining
        && ngx_queue_empty(&hub->clients) && ngx_queue_empty(&hub->drained))
    {
        hub->draining = 0;

        if (hub->drain.timer_set) {
            ngx_del_timer(&hub->drain);
        }

        ngx_http_intent_release();
    }
}


void
ngx_http_intent_push_unsubscribe_all(ngx_http_intent_push_client_t *client)
{
    ngx_queue_t                          *q;
    ngx_http_intent_push_subscription_t  *sub;

    while (!ngx_queue_empty(&client->subscriptions)) {
        q = ngx_queue_head(&client->subscriptions);
        sub = ngx_queue_data(q, ngx_http_intent_push_subscription_t,
                             of_client);
        ngx_http_intent_push_leave(sub);
    }
}


ngx_int_t
ngx_http_intent_push_subscribe(ngx_http_intent_push_client_t *client,
    ngx_str_t *id)
{
    return ngx_http_intent_push_join(client, &ngx_http_intent_push_no_prefix,
                                     id, 0);
}


ngx_int_t
ngx_http_intent_push_subscribe_user(ngx_http_intent_push_client_t *client,
    int64_t since)
{
    if (since && client->by_user) {

        /* one at a time, for each is read from Postgres */

        if (client->snapshot) {
            return NGX_BUSY;
        }

        ngx_http_intent_push_unsubscribe_user(client);
    }

    return ngx_http_intent_push_join(client,
                                     &ngx_http_intent_push_user_prefix,
                                     &client->user, since);
}


void
ngx_http_intent_push_unsubscribe(ngx_http_intent_push_client_t *client,
    ngx_str_t *id)
{
    ngx_http_intent_push_topic_t         *topic;
    ngx_http_intent_push_subscription_t  *sub;

    topic = ngx_http_intent_push_find(id);

    if (topic) {
        sub = ngx_http_intent_push_subscription(client, topic);

        if (sub) {
            ngx_http_intent_push_leave(sub);
        }
    }
}


void
ngx_http_intent_push_unsubscribe_user(ngx_http_intent_push_client_t *client)
{
    ngx_queue_t                          *q;
    ngx_http_intent_push_subscription_t  *sub;

    for (q = ngx_queue_head(&client->subscriptions);
         q != ngx_queue_sentinel(&client->subscriptions);
         q = ngx_queue_next(q))
    {
        sub = ngx_queue_data(q, ngx_http_intent_push_subscription_t,
                             of_client);

        if (sub->topic->entries) {
            ngx_http_intent_push_leave(sub);
            return;
        }
    }
}


static ngx_int_t
ngx_http_intent_push_join(ngx_http_intent_push_client_t *client,
    ngx_str_t *prefix, ngx_str_t *name, int64_t since)
{
    ngx_http_intent_push_topic_t         *topic;
    ngx_http_intent_push_subscription_t  *sub;

    topic = ngx_http_intent_push_topic(prefix, name);
    if (topic == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_intent_push_subscription(client, topic)) {
        return NGX_OK;
    }

    if (client->nsubscriptions >= client->max_subscriptions) {
        ngx_http_intent_push_topic_release(topic);
        return NGX_DECLINED;
    }

    sub = ngx_alloc(sizeof(ngx_http_intent_push_subscription_t),
                    ngx_http_intent_push_hub->log);
    if (sub == NULL) {
        ngx_http_intent_push_topic_release(topic);
        return NGX_ERROR;
    }

    sub->topic = topic;
    sub->client = client;
    sub->serial = topic->serial;

    ngx_queue_insert_tail(&topic->subscribers, &sub->of_topic);
    ngx_queue_insert_tail(&client->subscriptions, &sub->of_client);
    client->nsubscriptions++;

    ngx_http_intent_push_count(client->transport,
                               NGX_HTTP_INTENT_PUSH_SUBSCRIPTIONS, 1);

    if (topic->entries == NULL) {
        ngx_http_intent_push_catch_up(sub);
        return NGX_OK;
    }

    client->by_user = 1;

    if (ngx_http_intent_push_snapshot(sub, since) != NGX_OK) {
        ngx_http_intent_push_leave(sub);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* what the topic told before the client came; sub may be gone then */

static void
ngx_http_intent_push_catch_up(ngx_http_intent_push_subscription_t *sub)
{
    ngx_uint_t                      telling;
    ngx_http_intent_push_topic_t   *topic;
    ngx_http_intent_push_client_t  *client;

    topic = sub->topic;
    client = sub->client;

    if (topic->last == NULL) {
        return;
    }

    telling = topic->telling;
    topic->telling = 1;

    if (topic->final && !client->by_user) {
        ngx_http_intent_push_leave(sub);
    }

    ngx_http_intent_push_tell(client, topic->last);

    topic->telling = telling;

    ngx_http_intent_push_topic_release(topic);
}


ngx_http_intent_push_subscription_t *
ngx_http_intent_push_subscription(ngx_http_intent_push_client_t *client,
    ngx_http_intent_push_topic_t *topic)
{
    ngx_queue_t                          *q;
    ngx_http_intent_push_subscription_t  *sub;

    for (q = ngx_queue_head(&client->subscriptions);
         q != ngx_queue_sentinel(&client->subscriptions);
         q = ngx_queue_next(q))
    {
        sub = ngx_queue_data(q, ngx_http_intent_push_subscription_t,
                             of_client);

        if (sub->topic == topic) {
            return sub;
        }
    }

    return NULL;
}


void
ngx_http_intent_push_leave(ngx_http_intent_push_subscription_t *sub)
{
    ngx_http_intent_push_topic_t  *topic;

    topic = sub->topic;

    if (topic->next == &sub->of_topic) {
        topic->next = ngx_queue_next(topic->next);
    }

    ngx_queue_remove(&sub->of_topic);
    ngx_queue_remove(&sub->of_client);
    sub->client->nsubscriptions--;

    if (topic->entries) {
        sub->client->by_user = 0;
        ngx_http_intent_push_snapshot_end(sub->client);
    }

    ngx_http_intent_push_count(sub->client->transport,
                               NGX_HTTP_INTENT_PUSH_SUBSCRIPTIONS, -1);

    ngx_free(sub);

    ngx_http_intent_push_topic_release(topic);
}


/* ---- topics ---- */

ngx_http_intent_push_topic_t *
ngx_http_intent_push_find(ngx_str_t *name)
{
    uint32_t  hash;

    hash = ngx_crc32_short(name->data, name->len);

    return (ngx_http_intent_push_topic_t *)
           ngx_str_rbtree_lookup(&ngx_http_intent_push_hub->topics, name,
                                 hash);
}


/* that of this name, or a new one */

static ngx_http_intent_push_topic_t *
ngx_http_intent_push_topic(ngx_str_t *prefix, ngx_str_t *name)
{
    size_t                         len;
    u_char                        *p;
    ngx_int_t                      rc;
    ngx_str_t                      full;
    ngx_http_intent_push_hub_t    *hub;
    ngx_http_intent_push_topic_t  *topic, *known;

    hub = ngx_http_intent_push_hub;
    len = prefix->len + name->len;

    if (hub->missed.watched == 0) {
        (void) ngx_http_intent_cache_watch(&hub->missed);
    }

    topic = ngx_calloc(sizeof(ngx_http_intent_push_topic_t) + len, hub->log);
    if (topic == NULL) {
        return NULL;
    }

    p = ngx_cpymem(topic->name, prefix->data, prefix->len);
    ngx_memcpy(p, name->data, name->len);

    full.data = topic->name;
    full.len = len;

    known = ngx_http_intent_push_find(&full);

    if (known) {
        ngx_free(topic);
        return known;
    }

    if (prefix->len) {
        topic->entries = ngx_http_intent_push_entries();
        if (topic->entries == NULL) {
            ngx_free(topic);
            return NULL;
        }
    }

    ngx_queue_init(&topic->subscribers);
    ngx_queue_init(&topic->rounds);

    topic->node.str = full;
    topic->node.node.key = ngx_crc32_short(full.data, full.len);
    ngx_rbtree_insert(&hub->topics, &topic->node.node);

    topic->watch.node.str = full;
    topic->watch.handler = ngx_http_intent_push_watch_handler;
    topic->watch.ready = ngx_http_intent_push_watch_ready;
    topic->watch.data = topic;

    rc = ngx_http_intent_cache_watch(&topic->watch);

    ngx_http_intent_push_poll(topic);

    if (rc != NGX_OK || !ngx_http_intent_cache_watching()) {
        ngx_http_intent_push_read(topic);
    }

    return topic;
}


static ngx_http_intent_push_entries_t *
ngx_http_intent_push_entries(void)
{
    ngx_http_intent_push_entries_t  *entries;

    entries = ngx_calloc(sizeof(ngx_http_intent_push_entries_t),
                         ngx_http_intent_push_hub->log);
    if (entries == NULL) {
        return NULL;
    }

    ngx_rbtree_init(&entries->rbtree, &entries->sentinel,
                    ngx_str_rbtree_insert_value);
    ngx_queue_init(&entries->queue);
    ngx_queue_init(&entries->snapshots);

    entries->since = ngx_http_intent_now();

    return entries;
}


void
ngx_http_intent_push_topic_release(ngx_http_intent_push_topic_t *topic)
{
    if (topic->telling || !ngx_queue_empty(&topic->subscribers)) {
        return;
    }

    if (!topic->dead) {
        topic->dead = 1;

        ngx_rbtree_delete(&ngx_http_intent_push_hub->topics,
                          &topic->node.node);
        ngx_http_intent_cache_unwatch(&topic->watch);
        ngx_http_intent_push_read_cancel(topic);
        ngx_http_intent_push_forget_rounds(topic);
    }

    /* what reads for it will come here again */

    if (topic->reading) {
        return;
    }

    if (topic->entries) {
        ngx_http_intent_push_forget_all(topic->entries);
        ngx_free(topic->entries);
    }

    if (topic->last) {
        ngx_http_intent_push_message_free(topic->last);
    }

    ngx_free(topic);
}


/* ---- the end of the worker ---- */

static void
ngx_http_intent_push_drain(void *data)
{
    ngx_http_intent_push_hub_t  *hub;

    hub = ngx_http_intent_push_hub;

    if (ngx_queue_empty(&hub->clients)) {
        return;
    }

    /* the first release of it may come from the handler itself */

    hub->draining = 1;
    ngx_http_intent_hold();

    ngx_http_intent_push_drain_handler(&hub->drain);
}


/*
 * All at once they would come back all at once, and the writes would hold up
 * what else the worker still has to do.
 */

static void
ngx_http_intent_push_drain_handler(ngx_event_t *ev)
{
    ngx_uint_t                      n;
    ngx_queue_t                    *q;
    ngx_http_intent_push_hub_t     *hub;
    ngx_http_intent_push_client_t  *client;

    hub = ngx_http_intent_push_hub;

    for (n = 0; n < NGX_HTTP_INTENT_PUSH_DRAIN_SLICE; n++) {

        if (ngx_queue_empty(&hub->clients)) {
            return;
        }

        q = ngx_queue_head(&hub->clients);
        client = ngx_queue_data(q, ngx_http_intent_push_client_t, queue);

        ngx_queue_remove(q);
        ngx_queue_insert_tail(&hub->drained, q);

        client->transport->drain(client);
    }

    if (hub->draining) {
        ngx_add_timer(ev, NGX_HTTP_INTENT_PUSH_DRAIN_PAUSE);
    }
}
