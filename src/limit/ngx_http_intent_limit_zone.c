
/*
 * A zone in shared memory: one array of entries, made with the zone, found
 * through a hash table, and forgotten in the order of their last use.  Nothing
 * is ever allocated, so nothing can leak, and nothing fails for lack of room.
 *
 * A worker may be killed at any moment.  The master then unlocks what the
 * worker had locked, and "dirty" tells the next one that it may have been half
 * done: all links are made anew from the entries themselves.
 */


#include "ngx_http_intent_limit_private.h"

#include <openssl/rand.h>


#define NGX_HTTP_INTENT_LIMIT_MAGIC    0x696e746c696d6974ULL
#define NGX_HTTP_INTENT_LIMIT_VERSION  2

/* more than a worker that was busy may be behind */
#define NGX_HTTP_INTENT_LIMIT_BEHIND   60000


static ngx_int_t ngx_http_intent_limit_create_zone(ngx_shm_zone_t *shm_zone,
    ngx_slab_pool_t *shpool);
static ngx_int_t ngx_http_intent_limit_zone_log_ctx(ngx_shm_zone_t *shm_zone,
    ngx_slab_pool_t *shpool);
static size_t ngx_http_intent_limit_header_size(void);
static void ngx_http_intent_limit_zone_rebuild(
    ngx_http_intent_limit_zone_t *zone, ngx_log_t *log);
static void ngx_http_intent_limit_zone_clock(
    ngx_http_intent_limit_shared_t *shared);
static void ngx_http_intent_limit_zone_forget(
    ngx_http_intent_limit_zone_t *zone, uint32_t entry);
static void ngx_http_intent_limit_zone_link(
    ngx_http_intent_limit_zone_t *zone, uint32_t entry);
static void ngx_http_intent_limit_zone_push(
    ngx_http_intent_limit_zone_t *zone, uint32_t entry);
static void ngx_http_intent_limit_zone_unlink(
    ngx_http_intent_limit_zone_t *zone, uint32_t entry);


ngx_int_t
ngx_http_intent_limit_init_zone(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_http_intent_limit_zone_t  *old = data;

    ngx_slab_pool_t                 *shpool;
    ngx_http_intent_limit_zone_t    *zone;
    ngx_http_intent_limit_shared_t  *shared;

    zone = shm_zone->data;
    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (old
        && (zone->key.value.len != old->key.value.len
            || ngx_strncmp(zone->key.value.data, old->key.value.data,
                           zone->key.value.len)
               != 0))
    {
        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                      "intent_limit_zone \"%V\" uses the \"%V\" key "
                      "while previously it used the \"%V\" key, "
                      "give the zone another name",
                      &shm_zone->shm.name, &zone->key.value, &old->key.value);
        return NGX_ERROR;
    }

    if (old == NULL && !shm_zone->shm.exists
        && ngx_http_intent_limit_create_zone(shm_zone, shpool) != NGX_OK)
    {
        return NGX_ERROR;
    }

    shared = shpool->data;

    if (shared == NULL
        || shared->magic != NGX_HTTP_INTENT_LIMIT_MAGIC
        || shared->version != NGX_HTTP_INTENT_LIMIT_VERSION
        || shared->size != shm_zone->shm.size)
    {
        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                      "intent_limit_zone \"%V\" was made by another version "
                      "of the module, restart nginx or give the zone another "
                      "name", &shm_zone->shm.name);
        return NGX_ERROR;
    }

    zone->shpool = shpool;
    zone->shared = shared;
    zone->buckets = (uint32_t *) ((u_char *) shared
                                  + ngx_http_intent_limit_header_size());
    zone->entries = (ngx_http_intent_limit_entry_t *)
                        (zone->buckets + shared->nbuckets);

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_limit_create_zone(ngx_shm_zone_t *shm_zone,
    ngx_slab_pool_t *shpool)
{
    size_t                           size, room;
    uint32_t                         nbuckets;
    ngx_http_intent_limit_shared_t  *shared;

    if (ngx_http_intent_limit_zone_log_ctx(shm_zone, shpool) != NGX_OK) {
        return NGX_ERROR;
    }

    size = shpool->pfree * ngx_pagesize;

    shared = ngx_slab_alloc(shpool, size);
    if (shared == NULL) {
        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                      "intent_limit_zone \"%V\" is too small",
                      &shm_zone->shm.name);
        return NGX_ERROR;
    }

    /* two or three keys in a bucket, when the zone is full */

    room = size - ngx_http_intent_limit_header_size();
    nbuckets = 16;

    while (nbuckets * 2 <= room / sizeof(ngx_http_intent_limit_entry_t)
           && nbuckets < 1U << 30)
    {
        nbuckets *= 2;
    }

    room -= nbuckets * sizeof(uint32_t);

    /* the entries are not written to, for the pages may never be needed */

    ngx_memzero(shared, ngx_http_intent_limit_header_size()
                        + nbuckets * sizeof(uint32_t));

    shared->nbuckets = nbuckets;
    shared->nentries = ngx_min(room / sizeof(ngx_http_intent_limit_entry_t),
                               UINT32_MAX)
                       - 1;

    if (RAND_bytes((u_char *) shared->secret, sizeof(shared->secret)) != 1) {
        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                      "no random numbers for intent_limit_zone \"%V\"",
                      &shm_zone->shm.name);
        return NGX_ERROR;
    }

    shared->seen = ngx_current_msec;
    shared->size = shm_zone->shm.size;
    shared->version = NGX_HTTP_INTENT_LIMIT_VERSION;
    shared->magic = NGX_HTTP_INTENT_LIMIT_MAGIC;

    shpool->data = shared;

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_limit_zone_log_ctx(ngx_shm_zone_t *shm_zone,
    ngx_slab_pool_t *shpool)
{
    size_t  len;

    len = sizeof(" in intent_limit_zone \"\"") + shm_zone->shm.name.len;

    shpool->log_ctx = ngx_slab_alloc(shpool, len);
    if (shpool->log_ctx == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(shpool->log_ctx, " in intent_limit_zone \"%V\"%Z",
                &shm_zone->shm.name);

    return NGX_OK;
}


static size_t
ngx_http_intent_limit_header_size(void)
{
    /* so that no entry is in two cache lines */

    return ngx_align(sizeof(ngx_http_intent_limit_shared_t),
                     sizeof(ngx_http_intent_limit_entry_t));
}


void
ngx_http_intent_limit_zone_lock(ngx_http_intent_limit_zone_t *zone,
    ngx_log_t *log)
{
    ngx_shmtx_lock(&zone->shpool->mutex);

    if (zone->shared->dirty) {
        ngx_http_intent_limit_zone_rebuild(zone, log);
    }

    ngx_http_intent_limit_zone_clock(zone->shared);
}


void
ngx_http_intent_limit_zone_unlock(ngx_http_intent_limit_zone_t *zone)
{
    ngx_shmtx_unlock(&zone->shpool->mutex);
}


void
ngx_http_intent_limit_zone_begin(ngx_http_intent_limit_zone_t *zone)
{
    zone->shared->dirty = 1;
    ngx_memory_barrier();
}


void
ngx_http_intent_limit_zone_end(ngx_http_intent_limit_zone_t *zone)
{
    ngx_memory_barrier();
    zone->shared->dirty = 0;
}


/*
 * ngx_current_msec is monotonic where the system has such a clock, but each
 * worker has read it at another time, and not every system has.  So only steps
 * forward are taken over, and one far back means that the clock was set.
 */

static void
ngx_http_intent_limit_zone_clock(ngx_http_intent_limit_shared_t *shared)
{
    ngx_msec_int_t  ms;

    ms = (ngx_msec_int_t) (ngx_current_msec - shared->seen);

    if (ms > 0) {
        shared->clock += ms;
        shared->seen = ngx_current_msec;

    } else if (ms < -NGX_HTTP_INTENT_LIMIT_BEHIND) {
        shared->seen = ngx_current_msec;
    }
}


/*
 * The order of use is lost, which matters for a full zone only; what every key
 * has counted is not.
 */

static void
ngx_http_intent_limit_zone_rebuild(ngx_http_intent_limit_zone_t *zone,
    ngx_log_t *log)
{
    uint32_t                         i, n;
    ngx_http_intent_limit_entry_t   *e;
    ngx_http_intent_limit_shared_t  *shared;

    shared = zone->shared;

    ngx_http_intent_limit_zone_begin(zone);

    ngx_memzero(zone->buckets, shared->nbuckets * sizeof(uint32_t));

    shared->newest = 0;
    shared->oldest = 0;
    shared->free = 0;
    n = 0;

    for (i = 1; i <= shared->nused; i++) {
        e = &zone->entries[i];

        if (ngx_http_intent_limit_window_is_empty(&e->window)) {
            e->chain = shared->free;
            shared->free = i;
            continue;
        }

        ngx_http_intent_limit_zone_link(zone, i);
        ngx_http_intent_limit_zone_push(zone, i);
        n++;
    }

    ngx_http_intent_limit_zone_end(zone);

    ngx_log_error(NGX_LOG_WARN, log, 0,
                  "intent_limit_zone \"%V\": a worker died while it changed "
                  "the zone, rebuilt with %uD keys", &zone->name, n);
}


uint32_t
ngx_http_intent_limit_zone_find(ngx_http_intent_limit_zone_t *zone,
    uint64_t hash)
{
    uint32_t  i;

    i = zone->buckets[hash & (zone->shared->nbuckets - 1)];

    while (i && zone->entries[i].hash != hash) {
        i = zone->entries[i].chain;
    }

    return i;
}


uint32_t
ngx_http_intent_limit_zone_insert(ngx_http_intent_limit_zone_t *zone,
    uint64_t hash)
{
    uint32_t                         i;
    ngx_http_intent_limit_entry_t   *e;
    ngx_http_intent_limit_shared_t  *shared;

    shared = zone->shared;

    if (shared->free) {
        i = shared->free;
        shared->free = zone->entries[i].chain;

    } else if (shared->nused < shared->nentries) {
        i = shared->nused + 1;

        /* it is not used before there is something in it */
        ngx_memzero(&zone->entries[i], sizeof(ngx_http_intent_limit_entry_t));
        ngx_memory_barrier();
        shared->nused = i;

    } else {
        i = shared->oldest;
        ngx_http_intent_limit_zone_forget(zone, i);
    }

    e = &zone->entries[i];

    ngx_memzero(&e->window, sizeof(ngx_http_intent_limit_window_t));
    ngx_memory_barrier();
    e->hash = hash;

    ngx_http_intent_limit_zone_link(zone, i);
    ngx_http_intent_limit_zone_push(zone, i);

    return i;
}


void
ngx_http_intent_limit_zone_touch(ngx_http_intent_limit_zone_t *zone,
    uint32_t entry)
{
    if (zone->shared->newest != entry) {
        ngx_http_intent_limit_zone_unlink(zone, entry);
        ngx_http_intent_limit_zone_push(zone, entry);
    }
}


static void
ngx_http_intent_limit_zone_forget(ngx_http_intent_limit_zone_t *zone,
    uint32_t entry)
{
    uint32_t  *link;

    ngx_http_intent_limit_zone_unlink(zone, entry);

    link = &zone->buckets[zone->entries[entry].hash
                          & (zone->shared->nbuckets - 1)];

    while (*link != entry) {
        link = &zone->entries[*link].chain;
    }

    *link = zone->entries[entry].chain;
}


static void
ngx_http_intent_limit_zone_link(ngx_http_intent_limit_zone_t *zone,
    uint32_t entry)
{
    uint32_t                       *bucket;
    ngx_http_intent_limit_entry_t  *e;

    e = &zone->entries[entry];
    bucket = &zone->buckets[e->hash & (zone->shared->nbuckets - 1)];

    e->chain = *bucket;
    *bucket = entry;
}


static void
ngx_http_intent_limit_zone_push(ngx_http_intent_limit_zone_t *zone,
    uint32_t entry)
{
    ngx_http_intent_limit_entry_t   *e;
    ngx_http_intent_limit_shared_t  *shared;

    shared = zone->shared;
    e = &zone->entries[entry];

    e->newer = 0;
    e->older = shared->newest;

    if (shared->newest) {
        zone->entries[shared->newest].newer = entry;

    } else {
        shared->oldest = entry;
    }

    shared->newest = entry;
}


static void
ngx_http_intent_limit_zone_unlink(ngx_http_intent_limit_zone_t *zone,
    uint32_t entry)
{
    ngx_http_intent_limit_entry_t   *e;
    ngx_http_intent_limit_shared_t  *shared;

    shared = zone->shared;
    e = &zone->entries[entry];

    if (e->newer) {
        zone->entries[e->newer].older = e->older;

    } else {
        shared->newest = e->older;
    }

    if (e->older) {
        zone->entries[e->older].newer = e->newer;

    } else {
        shared->oldest = e->newer;
    }
}
