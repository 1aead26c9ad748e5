
/*
 * State in shared memory that is no statistic: the health of endpoints and
 * lanes.  Blocks are only ever added, by the master while it takes a
 * configuration, and found again by their keys: workers neither allocate nor
 * lock anything, so one that is killed leaves nothing behind.
 */


#include "ngx_http_intent_core.h"


static ngx_http_intent_block_t *ngx_http_intent_shared_block(
    ngx_slab_pool_t *shpool, ngx_http_intent_shared_t *shared);


ngx_http_intent_shared_t *
ngx_http_intent_shared_add(ngx_conf_t *cf, ngx_str_t *key, size_t size)
{
    ngx_http_intent_shared_t     *shared, **sp;
    ngx_http_intent_main_conf_t  *imcf;

    imcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_intent_module);

    shared = ngx_pcalloc(cf->pool, sizeof(ngx_http_intent_shared_t));
    if (shared == NULL) {
        return NULL;
    }

    shared->size = size;
    shared->key.len = key->len;
    shared->key.data = ngx_pstrdup(cf->pool, key);

    sp = ngx_array_push(&imcf->shared);

    if (shared->key.data == NULL || sp == NULL) {
        return NULL;
    }

    *sp = shared;

    return shared;
}


ngx_int_t
ngx_http_intent_shared_init_zone(ngx_shm_zone_t *zone, ngx_array_t *array,
    ngx_http_intent_block_t **blocks)
{
    ngx_uint_t                  i;
    ngx_slab_pool_t            *shpool;
    ngx_http_intent_block_t    *b;
    ngx_http_intent_shared_t  **shared;

    shpool = (ngx_slab_pool_t *) zone->shm.addr;
    shared = array->elts;

    for (i = 0; i < array->nelts; i++) {

        for (b = *blocks; b; b = b->next) {
            if (b->len == shared[i]->key.len
                && b->size == shared[i]->size
                && ngx_memcmp(b->key, shared[i]->key.data, b->len) == 0)
            {
                break;
            }
        }

        if (b == NULL) {
            b = ngx_http_intent_shared_block(shpool, shared[i]);

            if (b == NULL) {
                ngx_log_error(NGX_LOG_EMERG, zone->shm.log, 0,
                              "intent_zone \"%V\" has no room for \"%V\", "
                              "make it larger", &zone->shm.name,
                              &shared[i]->key);
                return NGX_ERROR;
            }

            b->next = *blocks;
            *blocks = b;
        }

        shared[i]->addr = b->data;
    }

    return NGX_OK;
}


static ngx_http_intent_block_t *
ngx_http_intent_shared_block(ngx_slab_pool_t *shpool,
    ngx_http_intent_shared_t *shared)
{
    ngx_http_intent_block_t  *b;

    b = ngx_slab_calloc(shpool, sizeof(ngx_http_intent_block_t));
    if (b == NULL) {
        return NULL;
    }

    b->len = shared->key.len;
    b->size = shared->size;
    b->key = ngx_slab_alloc(shpool, shared->key.len);
    b->data = ngx_slab_calloc(shpool, shared->size);

    if (b->key == NULL || b->data == NULL) {
        return NULL;
    }

    ngx_memcpy(b->key, shared->key.data, shared->key.len);

    return b;
}
