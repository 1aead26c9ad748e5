
/*
 * How a change comes to a topic, and from there to its subscribers.
 *
 * Thousands are not told in one turn of the event loop, for others of the
 * worker's connections would wait.  The messages of a topic are rounds: one
 * after the other goes to all subscribers, as many in a turn as are few, so
 * each of them is told in order.  Who comes meanwhile begins with what the
 * topic knows last, and its serial number then tells which rounds he need not
 * hear.
 */


#include "ngx_http_intent_push_private.h"


#define NGX_HTTP_INTENT_PUSH_ENTRIES  1024      /* of a user, remembered */

/* subscribers told in a turn: some 2 ms */
#define NGX_HTTP_INTENT_PUSH_TURN     256


/* a message on its way to the subscribers of a topic */
typedef struct {
    ngx_queue_t                        queue;
    ngx_http_intent_push_message_t    *message;
    ngx_uint_t                         serial;
} ngx_http_intent_push_round_t;


static void ngx_http_intent_push_user_name(ngx_str_t *user, ngx_str_t *name,
    u_char *buf);
static void ngx_http_intent_push_fan(ngx_http_intent_push_topic_t *topic);
static ngx_int_t ngx_http_intent_push_fan_round(
    ngx_http_intent_push_topic_t *topic, ngx_http_intent_push_round_t *round);
static void ngx_http_intent_push_turn_handler(ngx_event_t *ev);
static ngx_int_t ngx_http_intent_push_remember(
    ngx_http_intent_push_topic_t *topic, ngx_http_intent_push_message_t *m,
    ngx_uint_t silent);
static ngx_int_t ngx_http_intent_push_remember_user(
    ngx_http_intent_push_topic_t *topic, ngx_http_intent_push_message_t *m,
    ngx_uint_t silent);
static void ngx_http_intent_push_forget(
    ngx_http_intent_push_entries_t *entries,
    ngx_http_intent_push_entry_t *entry);


void
ngx_http_intent_push_tell_init(ngx_http_intent_push_hub_t *hub)
{
    ngx_queue_init(&hub->fan);

    hub->turn.handler = ngx_http_intent_push_turn_handler;
    hub->turn.data = &hub->dumb;
    hub->turn.log = hub->log;
}


void
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


void
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

void
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
    ngx_http_intent_push_round_t  *round;

    if (topic->dead) {
        return;
    }

    round = ngx_alloc(sizeof(ngx_http_intent_push_round_t),
                      ngx_http_intent_push_hub->log);
    if (round == NULL) {
        ngx_http_intent_push_poll(topic);
        return;
    }

    if (ngx_http_intent_push_remember(topic, m, 0) != NGX_OK) {
        ngx_free(round);
        return;
    }

    ngx_http_intent_push_message_keep(m);

    round->message = m;
    round->serial = topic->serial;
    ngx_queue_insert_tail(&topic->rounds, &round->queue);

    /* behind others of this topic it waits for its turn */

    if (!topic->in_fan && !topic->telling) {
        ngx_http_intent_push_fan(topic);
    }
}


/* the topic may be gone then */

static void
ngx_http_intent_push_fan(ngx_http_intent_push_topic_t *topic)
{
    ngx_queue_t                   *q;
    ngx_http_intent_push_hub_t    *hub;
    ngx_http_intent_push_round_t  *round;

    hub = ngx_http_intent_push_hub;
    topic->telling = 1;

    while (!ngx_queue_empty(&topic->rounds)) {
        q = ngx_queue_head(&topic->rounds);
        round = ngx_queue_data(q, ngx_http_intent_push_round_t, queue);

        if (ngx_http_intent_push_fan_round(topic, round) == NGX_AGAIN) {
            topic->in_fan = 1;
            ngx_queue_insert_tail(&hub->fan, &topic->fan);
            break;
        }

        ngx_queue_remove(q);
        ngx_http_intent_push_message_free(round->message);
        ngx_free(round);
    }

    topic->telling = 0;

    ngx_http_intent_push_topic_release(topic);
}


/* NGX_AGAIN: others of the worker's connections want their turn */

static ngx_int_t
ngx_http_intent_push_fan_round(ngx_http_intent_push_topic_t *topic,
    ngx_http_intent_push_round_t *round)
{
    ngx_queue_t                          *q;
    ngx_http_intent_push_topic_t         *by_id;
    ngx_http_intent_push_client_t        *client;
    ngx_http_intent_push_message_t       *m;
    ngx_http_intent_push_subscription_t  *sub;

    m = round->message;
    by_id = topic->entries ? ngx_http_intent_push_find(&m->id) : NULL;

    for (q = topic->next ? topic->next : ngx_queue_head(&topic->subscribers);
         q != ngx_queue_sentinel(&topic->subscribers);
         q = topic->next)
    {
        topic->next = q;
        sub = ngx_queue_data(q, ngx_http_intent_push_subscription_t,
                             of_topic);
        client = sub->client;

        /* who came later, as all behind him, began with it */

        if (sub->serial >= round->serial) {
            break;
        }

        if (ngx_http_intent_push_enough()) {
            return NGX_AGAIN;
        }

        topic->next = ngx_queue_next(q);

        if (by_id && ngx_http_intent_push_subscription(client, by_id)) {
            continue;
        }

        /*
         * Nothing else will be told of it; but by the user's topic, maybe,
         * which must not tell it again.
         */

        if (m->final && topic->entries == NULL && !client->by_user) {
            ngx_http_intent_push_leave(sub);
        }

        ngx_http_intent_push_tell(client, m);
    }

    topic->next = NULL;

    return NGX_OK;
}


void
ngx_http_intent_push_tell(ngx_http_intent_push_client_t *client,
    ngx_http_intent_push_message_t *m)
{
    ngx_http_intent_push_hub_t  *hub;

    hub = ngx_http_intent_push_hub;

    if (hub->told++ == 0) {
        ngx_post_event(&hub->turn, &ngx_posted_next_events);
    }

    ngx_http_intent_stat_inc(client->transport->stats->messages, 1);

    client->transport->message(client, m);
}


ngx_uint_t
ngx_http_intent_push_enough(void)
{
    return ngx_http_intent_push_hub->told >= NGX_HTTP_INTENT_PUSH_TURN;
}


/* topics take turns, too */

static void
ngx_http_intent_push_turn_handler(ngx_event_t *ev)
{
    ngx_queue_t                   *q;
    ngx_http_intent_push_hub_t    *hub;
    ngx_http_intent_push_topic_t  *topic;

    hub = ngx_http_intent_push_hub;
    hub->told = 0;

    while (!ngx_queue_empty(&hub->fan) && !ngx_http_intent_push_enough()) {
        q = ngx_queue_head(&hub->fan);
        ngx_queue_remove(q);

        topic = ngx_queue_data(q, ngx_http_intent_push_topic_t, fan);
        topic->in_fan = 0;

        ngx_http_intent_push_fan(topic);
    }
}


void
ngx_http_intent_push_forget_rounds(ngx_http_intent_push_topic_t *topic)
{
    ngx_queue_t                   *q;
    ngx_http_intent_push_round_t  *round;

    if (topic->in_fan) {
        ngx_queue_remove(&topic->fan);
        topic->in_fan = 0;
    }

    while (!ngx_queue_empty(&topic->rounds)) {
        q = ngx_queue_head(&topic->rounds);
        ngx_queue_remove(q);

        round = ngx_queue_data(q, ngx_http_intent_push_round_t, queue);
        ngx_http_intent_push_message_free(round->message);
        ngx_free(round);
    }
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


void
ngx_http_intent_push_failed(ngx_http_intent_push_topic_t *topic)
{
    ngx_queue_t                          *q;
    ngx_http_intent_push_client_t        *client;
    ngx_http_intent_push_subscription_t  *sub;

    for (q = ngx_queue_head(&topic->subscribers);
         q != ngx_queue_sentinel(&topic->subscribers);
         q = ngx_queue_next(q))
    {
        sub = ngx_queue_data(q, ngx_http_intent_push_subscription_t,
                             of_topic);
        client = sub->client;

        if (client->transport->failed) {
            client->transport->failed(client);
        }
    }
}


/* ---- what was told ---- */

ngx_int_t
ngx_http_intent_push_known(ngx_http_intent_push_topic_t *topic,
    ngx_http_intent_push_message_t *m)
{
    return (ngx_http_intent_push_remember(topic, m, 1) == NGX_ERROR)
           ? NGX_ERROR : NGX_OK;
}


/* NGX_DECLINED: that is not news */

static ngx_int_t
ngx_http_intent_push_remember(ngx_http_intent_push_topic_t *topic,
    ngx_http_intent_push_message_t *m, ngx_uint_t silent)
{
    if (topic->entries) {
        return ngx_http_intent_push_remember_user(topic, m, silent);
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
    topic->serial++;

    if (m->final) {
        topic->final = 1;

        ngx_http_intent_cache_unwatch(&topic->watch);
        ngx_http_intent_push_read_cancel(topic);
    }

    return NGX_OK;
}


ngx_http_intent_push_entry_t *
ngx_http_intent_push_entry(ngx_http_intent_push_entries_t *entries,
    ngx_str_t *id)
{
    return (ngx_http_intent_push_entry_t *)
           ngx_str_rbtree_lookup(&entries->rbtree, id,
                                 ngx_crc32_short(id->data, id->len));
}


static ngx_int_t
ngx_http_intent_push_remember_user(ngx_http_intent_push_topic_t *topic,
    ngx_http_intent_push_message_t *m, ngx_uint_t silent)
{
    ngx_http_intent_push_entry_t    *entry, *oldest;
    ngx_http_intent_push_entries_t  *entries;

    entries = topic->entries;
    entry = ngx_http_intent_push_entry(entries, &m->id);

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
        entry->node.node.key = ngx_crc32_short(entry->id,
                                               NGX_HTTP_INTENT_ID_LEN);
        entry->round = entries->round;

        ngx_rbtree_insert(&entries->rbtree, &entry->node.node);
        ngx_queue_insert_tail(&entries->queue, &entry->queue);
        entries->n++;
    }

    entry->version = m->version;
    entry->serial = silent ? 0 : ++topic->serial;
    entry->message = NULL;

    if (!m->final) {
        ngx_http_intent_push_message_keep(m);
        entry->message = m;
    }

    return NGX_OK;
}


void
ngx_http_intent_push_forget_all(ngx_http_intent_push_entries_t *entries)
{
    ngx_queue_t                   *q;
    ngx_http_intent_push_entry_t  *entry;

    while (!ngx_queue_empty(&entries->queue)) {
        q = ngx_queue_head(&entries->queue);
        entry = ngx_queue_data(q, ngx_http_intent_push_entry_t, queue);
        ngx_http_intent_push_forget(entries, entry);
    }
}


static void
ngx_http_intent_push_forget(ngx_http_intent_push_entries_t *entries,
    ngx_http_intent_push_entry_t *entry)
{
    ngx_http_intent_push_snapshots_skip(entries, entry);

    ngx_rbtree_delete(&entries->rbtree, &entry->node.node);
    ngx_queue_remove(&entry->queue);
    entries->n--;

    if (entry->message) {
        ngx_http_intent_push_message_free(entry->message);
    }

    ngx_free(entry);
}
