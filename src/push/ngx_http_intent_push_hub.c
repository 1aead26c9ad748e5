
/*
 * The hub: who watches what, and how changes come to them.
 *
 * A topic is what is watched, and its subscribers have all been told the same,
 * so one version is kept for each topic and not for each subscriber.  A topic
 * comes to life in this order: Redis confirms the subscription, the intent is
 * read, its subscribers are told; so no change can fall between.  Who joins a
 * topic that lives is told what it told last.
 */


#include "ngx_http_intent_push_private.h"


#define NGX_HTTP_INTENT_PUSH_ENTRIES       1024    /* of a user, remembered */

#define NGX_HTTP_INTENT_PUSH_DRAIN_SLICE   128     /* clients */
#define NGX_HTTP_INTENT_PUSH_DRAIN_PAUSE   20      /* ms */


typedef struct {
    ngx_queue_t                        of_topic;
    ngx_queue_t                        of_client;
    ngx_http_intent_push_topic_t      *topic;
    ngx_http_intent_push_client_t     *client;
} ngx_http_intent_push_subscription_t;


static ngx_http_intent_push_topic_t *ngx_http_intent_push_find(
    ngx_str_t *name);
static ngx_http_intent_push_topic_t *ngx_http_intent_push_topic(
    ngx_str_t *prefix, ngx_str_t *name);
static ngx_http_intent_push_entries_t *ngx_http_intent_push_entries(void);
static ngx_int_t ngx_http_intent_push_join(
    ngx_http_intent_push_client_t *client, ngx_str_t *prefix,
    ngx_str_t *name);
static void ngx_http_intent_push_catch_up(
    ngx_http_intent_push_subscription_t *sub);
static void ngx_http_intent_push_tell(ngx_http_intent_push_client_t *client,
    ngx_http_intent_push_message_t *m);
static ngx_http_intent_push_subscription_t *ngx_http_intent_push_subscription(
    ngx_http_intent_push_client_t *client,
    ngx_http_intent_push_topic_t *topic);
static void ngx_http_intent_push_leave(
    ngx_http_intent_push_subscription_t *sub);
static void ngx_http_intent_push_user_name(ngx_str_t *user, ngx_str_t *name,
    u_char *buf);

static void ngx_http_intent_push_watch_handler(void *data,
    ngx_str_t *message);
static void ngx_http_intent_push_watch_ready(void *data, ngx_uint_t up);
static void ngx_http_intent_push_missed_handler(void *data,
    ngx_str_t *message);
static ngx_int_t ngx_http_intent_push_remember(
    ngx_http_intent_push_topic_t *topic, ngx_http_intent_push_message_t *m);
static ngx_int_t ngx_http_intent_push_remember_user(
    ngx_http_intent_push_topic_t *topic, ngx_http_intent_push_message_t *m);
static void ngx_http_intent_push_forget(
    ngx_http_intent_push_entries_t *entries,
    ngx_http_intent_push_entry_t *entry);

static ngx_int_t ngx_http_intent_push_address_add(
    ngx_http_intent_push_client_t *client, ngx_http_request_t *r,
    ngx_uint_t max);
static ngx_http_intent_push_address_t *ngx_http_intent_push_address_find(
    u_char *data, size_t len, uint32_t hash);
static void ngx_http_intent_push_address_insert(ngx_rbtree_node_t *temp,
    ngx_rbtree_node_t *node, ngx_rbtree_node_t *sentinel);
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
    ngx_rbtree_init(&hub->addresses, &hub->address_sentinel,
                    ngx_http_intent_push_address_insert);
    ngx_queue_init(&hub->clients);
    ngx_queue_init(&hub->drained);

    hub->log = cycle->log;
    hub->dumb.fd = (ngx_socket_t) -1;

    hub->drain.handler = ngx_http_intent_push_drain_handler;
    hub->drain.data = &hub->dumb;
    hub->drain.log = cycle->log;

    ngx_str_set(&hub->missed.node.str, NGX_HTTP_INTENT_CACHE_MISSED);
    hub->missed.handler = ngx_http_intent_push_missed_handler;

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

    return NGX_OK;
}


void
ngx_http_intent_push_close(ngx_http_intent_push_client_t *client)
{
    ngx_http_intent_push_hub_t      *hub;
    ngx_http_intent_push_address_t  *address;

    hub = ngx_http_intent_push_hub;

    ngx_http_intent_push_unsubscribe_all(client);

    address = client->address;

    if (address && --address->count == 0) {
        ngx_rbtree_delete(&hub->addresses, &address->node);
        ngx_free(address);
    }

    client->address = NULL;

    ngx_queue_remove(&client->queue);

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
                                     id);
}


ngx_int_t
ngx_http_intent_push_subscribe_user(ngx_http_intent_push_client_t *client)
{
    return ngx_http_intent_push_join(client,
                                     &ngx_http_intent_push_user_prefix,
                                     &client->user);
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
    ngx_str_t *prefix, ngx_str_t *name)
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

    ngx_queue_insert_tail(&topic->subscribers, &sub->of_topic);
    ngx_queue_insert_tail(&client->subscriptions, &sub->of_client);
    client->nsubscriptions++;

    if (topic->entries) {
        client->by_user = 1;
    }

    ngx_http_intent_stat_sum(client->transport->subscriptions, 1);

    ngx_http_intent_push_catch_up(sub);

    return NGX_OK;
}


/* what the topic told before the client came; sub may be gone then */

static void
ngx_http_intent_push_catch_up(ngx_http_intent_push_subscription_t *sub)
{
    ngx_uint_t                      telling;
    ngx_queue_t                    *q;
    ngx_http_intent_push_entry_t   *entry;
    ngx_http_intent_push_topic_t   *topic;
    ngx_http_intent_push_client_t  *client;

    topic = sub->topic;
    client = sub->client;

    telling = topic->telling;
    topic->telling = 1;

    if (topic->last) {
        if (topic->final && !client->by_user) {
            ngx_http_intent_push_leave(sub);
        }

        ngx_http_intent_push_tell(client, topic->last);
    }

    if (topic->entries) {
        for (q = ngx_queue_head(&topic->entries->queue);
             q != ngx_queue_sentinel(&topic->entries->queue);
             q = ngx_queue_next(q))
        {
            entry = ngx_queue_data(q, ngx_http_intent_push_entry_t, queue);

            if (entry->message) {
                ngx_http_intent_push_tell(client, entry->message);
            }

            /* it has closed itself */

            if (client->nsubscriptions == 0) {
                break;
            }
        }
    }

    topic->telling = telling;

    ngx_http_intent_push_topic_release(topic);
}


static void
ngx_http_intent_push_tell(ngx_http_intent_push_client_t *client,
    ngx_http_intent_push_message_t *m)
{
    ngx_http_intent_stat_inc(client->transport->messages, 1);

    client->transport->message(client, m);
}


static ngx_http_intent_push_subscription_t *
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


static void
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
    }

    ngx_http_intent_stat_sum(sub->client->transport->subscriptions, -1);

    ngx_free(sub);

    ngx_http_intent_push_topic_release(topic);
}


/* ---- topics ---- */

static ngx_http_intent_push_topic_t *
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

    entries->since = ngx_http_intent_now();

    return entries;
}


void
ngx_http_intent_push_topic_release(ngx_http_intent_push_topic_t *topic)
{
    ngx_queue_t                   *q;
    ngx_http_intent_push_entry_t  *entry;

    if (topic->telling || !ngx_queue_empty(&topic->subscribers)) {
        return;
    }

    if (!topic->dead) {
        topic->dead = 1;

        ngx_rbtree_delete(&ngx_http_intent_push_hub->topics,
                          &topic->node.node);
        ngx_http_intent_cache_unwatch(&topic->watch);
        ngx_http_intent_push_read_cancel(topic);
    }

    /* what reads for it will come here again */

    if (topic->reading) {
        return;
    }

    if (topic->entries) {
        while (!ngx_queue_empty(&topic->entries->queue)) {
            q = ngx_queue_head(&topic->entries->queue);
            entry = ngx_queue_data(q, ngx_http_intent_push_entry_t, queue);
            ngx_http_intent_push_forget(topic->entries, entry);
        }

        ngx_free(topic->entries);
    }

    if (topic->last) {
        ngx_http_intent_push_message_free(topic->last);
    }

    ngx_free(topic);
}


/* ---- how a change comes ---- */

static void
ngx_http_intent_push_watch_handler(void *data, ngx_str_t *message)
{
    ngx_http_intent_push_topic_t  *topic = data;

    ngx_http_intent_push_message_t  *m;

    m = ngx_http_intent_push_message(message, ngx_http_intent_push_hub->log);

    if (m) {
        ngx_http_intent_push_told(topic, m);
        ngx_http_intent_push_message_free(m);
    }
}


static void
ngx_http_intent_push_watch_ready(void *data, ngx_uint_t up)
{
    ngx_http_intent_push_topic_t  *topic = data;

    topic->up = up;

    if (up) {
        ngx_http_intent_push_read_cancel(topic);
        ngx_http_intent_push_read(topic);

    } else {
        ngx_http_intent_push_poll(topic);
    }
}


/* somebody could not publish: everything may have changed */

static void
ngx_http_intent_push_missed_handler(void *data, ngx_str_t *message)
{
    ngx_rbtree_t       *topics;
    ngx_rbtree_node_t  *node;

    topics = &ngx_http_intent_push_hub->topics;

    if (topics->root == topics->sentinel) {
        return;
    }

    for (node = ngx_rbtree_min(topics->root, topics->sentinel);
         node;
         node = ngx_rbtree_next(topics, node))
    {
        ngx_http_intent_push_read((ngx_http_intent_push_topic_t *) node);
    }
}


/* of this worker's own changes: for those whom Redis does not tell them */

void
ngx_http_intent_push_observer(ngx_http_intent_t *in, ngx_uint_t from)
{
    u_char                          *buf;
    ngx_str_t                        json, name;
    ngx_uint_t                       i;
    ngx_pool_t                      *pool;
    ngx_http_intent_push_hub_t      *hub;
    ngx_http_intent_push_topic_t    *topic, *topics[2];
    ngx_http_intent_push_message_t  *m;

    hub = ngx_http_intent_push_hub;

    if (hub == NULL || ngx_queue_empty(&hub->polled)) {
        return;
    }

    pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, hub->log);
    if (pool == NULL) {
        return;
    }

    topics[0] = ngx_http_intent_push_find(&in->id);
    topics[1] = NULL;

    if (in->user_id.len) {
        buf = ngx_pnalloc(pool, sizeof(NGX_HTTP_INTENT_CACHE_USER)
                                + in->user_id.len);
        if (buf) {
            ngx_http_intent_push_user_name(&in->user_id, &name, buf);
            topics[1] = ngx_http_intent_push_find(&name);
        }
    }

    m = NULL;

    for (i = 0; i < 2; i++) {
        topic = topics[i];

        if (topic == NULL || topic->up) {
            continue;
        }

        if (m == NULL) {
            json = ngx_http_intent_json(pool, in);
            m = json.data ? ngx_http_intent_push_message(&json, hub->log)
                          : NULL;
            if (m == NULL) {
                break;
            }
        }

        ngx_http_intent_push_told(topic, m);
    }

    if (m) {
        ngx_http_intent_push_message_free(m);
    }

    ngx_destroy_pool(pool);
}


static void
ngx_http_intent_push_user_name(ngx_str_t *user, ngx_str_t *name, u_char *buf)
{
    name->data = buf;
    name->len = ngx_sprintf(buf, NGX_HTTP_INTENT_CACHE_USER "%V", user) - buf;
}


void
ngx_http_intent_push_told(ngx_http_intent_push_topic_t *topic,
    ngx_http_intent_push_message_t *m)
{
    ngx_queue_t                          *q;
    ngx_http_intent_push_topic_t         *by_id;
    ngx_http_intent_push_client_t        *client;
    ngx_http_intent_push_subscription_t  *sub;

    if (topic->dead || topic->telling) {
        return;
    }

    if (ngx_http_intent_push_remember(topic, m) != NGX_OK) {
        return;
    }

    by_id = topic->entries ? ngx_http_intent_push_find(&m->id) : NULL;

    topic->telling = 1;

    for (q = ngx_queue_head(&topic->subscribers);
         q != ngx_queue_sentinel(&topic->subscribers);
         q = topic->next)
    {
        topic->next = ngx_queue_next(q);
        sub = ngx_queue_data(q, ngx_http_intent_push_subscription_t,
                             of_topic);
        client = sub->client;

        if (by_id && ngx_http_intent_push_subscription(client, by_id)) {
            continue;
        }

        /*
         * Nothing else will be told of it; but by the user's topic, maybe,
         * which must not tell it again.
         */

        if (topic->final && !client->by_user) {
            ngx_http_intent_push_leave(sub);
        }

        ngx_http_intent_push_tell(client, m);
    }

    topic->next = NULL;
    topic->telling = 0;

    ngx_http_intent_push_topic_release(topic);
}


void
ngx_http_intent_push_nothing(ngx_http_intent_push_topic_t *topic)
{
    ngx_queue_t                          *q;
    ngx_str_t                             id;
    ngx_http_intent_push_client_t        *client;
    ngx_http_intent_push_subscription_t  *sub;

    if (topic->dead || topic->live || topic->telling) {
        return;
    }

    id = topic->node.str;
    topic->telling = 1;

    while (!ngx_queue_empty(&topic->subscribers)) {
        q = ngx_queue_head(&topic->subscribers);
        sub = ngx_queue_data(q, ngx_http_intent_push_subscription_t,
                             of_topic);
        client = sub->client;

        ngx_http_intent_push_leave(sub);
        client->transport->missing(client, &id);
    }

    topic->telling = 0;

    ngx_http_intent_push_topic_release(topic);
}


/* NGX_DECLINED: that is not news */

static ngx_int_t
ngx_http_intent_push_remember(ngx_http_intent_push_topic_t *topic,
    ngx_http_intent_push_message_t *m)
{
    if (topic->entries) {
        return ngx_http_intent_push_remember_user(topic, m);
    }

    if (m->id.len != topic->node.str.len
        || ngx_memcmp(m->id.data, topic->node.str.data, m->id.len) != 0)
    {
        return NGX_DECLINED;
    }

    if (topic->last) {
        if (m->version <= topic->last->version) {
            return NGX_DECLINED;
        }

        ngx_http_intent_push_message_free(topic->last);
    }

    ngx_http_intent_push_message_keep(m);

    topic->last = m;
    topic->live = 1;

    if (m->final) {
        topic->final = 1;

        ngx_http_intent_cache_unwatch(&topic->watch);
        ngx_http_intent_push_read_cancel(topic);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_push_remember_user(ngx_http_intent_push_topic_t *topic,
    ngx_http_intent_push_message_t *m)
{
    uint32_t                         hash;
    ngx_http_intent_push_entry_t    *entry, *oldest;
    ngx_http_intent_push_entries_t  *entries;

    entries = topic->entries;
    hash = ngx_crc32_short(m->id.data, m->id.len);

    entry = (ngx_http_intent_push_entry_t *)
            ngx_str_rbtree_lookup(&entries->rbtree, &m->id, hash);

    if (entry) {
        entry->round = entries->round;

        if (m->version <= entry->version) {
            return NGX_DECLINED;
        }

        if (entry->message) {
            ngx_http_intent_push_message_free(entry->message);
        }

    } else {
        if (entries->n == NGX_HTTP_INTENT_PUSH_ENTRIES) {
            oldest = ngx_queue_data(ngx_queue_head(&entries->queue),
                                    ngx_http_intent_push_entry_t, queue);
            ngx_http_intent_push_forget(entries, oldest);
        }

        entry = ngx_alloc(sizeof(ngx_http_intent_push_entry_t),
                          ngx_http_intent_push_hub->log);
        if (entry == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(entry->id, m->id.data, NGX_HTTP_INTENT_ID_LEN);

        entry->node.str.data = entry->id;
        entry->node.str.len = NGX_HTTP_INTENT_ID_LEN;
        entry->node.node.key = hash;
        entry->round = entries->round;

        ngx_rbtree_insert(&entries->rbtree, &entry->node.node);
        ngx_queue_insert_tail(&entries->queue, &entry->queue);
        entries->n++;
    }

    entry->version = m->version;
    entry->message = NULL;

    if (!m->final) {
        ngx_http_intent_push_message_keep(m);
        entry->message = m;
    }

    return NGX_OK;
}


static void
ngx_http_intent_push_forget(ngx_http_intent_push_entries_t *entries,
    ngx_http_intent_push_entry_t *entry)
{
    ngx_rbtree_delete(&entries->rbtree, &entry->node.node);
    ngx_queue_remove(&entry->queue);
    entries->n--;

    if (entry->message) {
        ngx_http_intent_push_message_free(entry->message);
    }

    ngx_free(entry);
}


/* ---- how many come from an address ---- */

static ngx_int_t
ngx_http_intent_push_address_add(ngx_http_intent_push_client_t *client,
    ngx_http_request_t *r, ngx_uint_t max)
{
    size_t                           len;
    u_char                          *data;
    uint32_t                         hash;
    struct sockaddr                 *sa;
    ngx_http_intent_push_hub_t      *hub;
    ngx_http_intent_push_address_t  *address;

    hub = ngx_http_intent_push_hub;
    sa = r->connection->sockaddr;

    switch (sa->sa_family) {

#if (NGX_HAVE_INET6)
    case AF_INET6:

        /* who has an address there has the whole /64 */
        data = ((struct sockaddr_in6 *) sa)->sin6_addr.s6_addr;
        len = 8;
        break;
#endif

    case AF_INET:
        data = (u_char *) &((struct sockaddr_in *) sa)->sin_addr;
        len = sizeof(in_addr_t);
        break;

    default:    /* a socket of this host, behind which all come as one */
        return NGX_OK;
    }

    if (max == 0) {
        return NGX_OK;
    }

    hash = ngx_crc32_short(data, len);
    address = ngx_http_intent_push_address_find(data, len, hash);

    if (address == NULL) {
        address = ngx_calloc(sizeof(ngx_http_intent_push_address_t) + len,
                             hub->log);
        if (address == NULL) {
            return NGX_ERROR;
        }

        address->node.key = hash;
        address->len = (u_short) len;
        ngx_memcpy(address->data, data, len);

        ngx_rbtree_insert(&hub->addresses, &address->node);
    }

    if (address->count >= max) {
        return NGX_DECLINED;
    }

    address->count++;
    client->address = address;

    return NGX_OK;
}


static ngx_http_intent_push_address_t *
ngx_http_intent_push_address_find(u_char *data, size_t len, uint32_t hash)
{
    ngx_int_t                        rc;
    ngx_rbtree_node_t               *node, *sentinel;
    ngx_http_intent_push_address_t  *address;

    node = ngx_http_intent_push_hub->addresses.root;
    sentinel = ngx_http_intent_push_hub->addresses.sentinel;

    while (node != sentinel) {

        if (hash != node->key) {
            node = (hash < node->key) ? node->left : node->right;
            continue;
        }

        address = (ngx_http_intent_push_address_t *) node;

        rc = ngx_memn2cmp(data, address->data, len, address->len);

        if (rc == 0) {
            return address;
        }

        node = (rc < 0) ? node->left : node->right;
    }

    return NULL;
}


static void
ngx_http_intent_push_address_insert(ngx_rbtree_node_t *temp,
    ngx_rbtree_node_t *node, ngx_rbtree_node_t *sentinel)
{
    ngx_rbtree_node_t               **p;
    ngx_http_intent_push_address_t   *a, *b;

    for ( ;; ) {

        if (node->key != temp->key) {
            p = (node->key < temp->key) ? &temp->left : &temp->right;

        } else {
            a = (ngx_http_intent_push_address_t *) node;
            b = (ngx_http_intent_push_address_t *) temp;

            p = (ngx_memn2cmp(a->data, b->data, a->len, b->len) < 0)
                ? &temp->left : &temp->right;
        }

        if (*p == sentinel) {
            break;
        }

        temp = *p;
    }

    *p = node;
    node->parent = temp;
    node->left = sentinel;
    node->right = sentinel;
    ngx_rbt_red(node);
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
