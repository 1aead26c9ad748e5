
/*
 * Statistics in shared memory.
 *
 * The zone holds a directory of keys (family and labels) and, for each slot,
 * a row of 64-bit values.  A worker adds to the row of its slot, so that no
 * cache line is written by two workers; since old and new workers share slots
 * during a reload, and with many workers always, the additions are atomic
 * all the same.  A value is the sum of its column.
 *
 * Keys are only ever appended, by the master while it reads a configuration.
 * An index therefore means the same in every configuration, and a reload
 * that adds a type moves nothing under the feet of the old workers.
 */


#include "ngx_http_intent_core.h"


#define NGX_HTTP_INTENT_STAT_MAGIC    0x696e74656e740001ULL
#define NGX_HTTP_INTENT_STAT_LAYOUT   2
#define NGX_HTTP_INTENT_STAT_SLOTS    16
#define NGX_HTTP_INTENT_STAT_KEY_LEN  232
#define NGX_HTTP_INTENT_STAT_NONE     ((ngx_uint_t) -1)


typedef struct {
    uint32_t                     hash;
    uint16_t                     len;
    uint16_t                     cells;
    uint32_t                     index;
    u_char                       data[NGX_HTTP_INTENT_STAT_KEY_LEN];
} ngx_http_intent_stat_key_t;


typedef struct {
    uint64_t                     magic;
    uint64_t                     layout;
    size_t                       size;      /* of the zone */

    ngx_uint_t                   nkeys;
    ngx_uint_t                   max_keys;
    ngx_uint_t                   ncells;
    ngx_uint_t                   max_cells; /* in a row */

    ngx_http_intent_stat_key_t  *keys;
    ngx_atomic_t                *cells;     /* SLOTS rows of max_cells */

    ngx_http_intent_block_t     *blocks;    /* what is no statistic */
} ngx_http_intent_stat_zone_t;


typedef union {
    uint64_t                     n;
    double                       d;
} ngx_http_intent_stat_double_t;


static ngx_int_t ngx_http_intent_stat_create_zone(ngx_shm_zone_t *zone,
    ngx_slab_pool_t *shpool);
static ngx_int_t ngx_http_intent_stat_place(ngx_shm_zone_t *zone,
    ngx_http_intent_stat_t *st);
static ngx_uint_t ngx_http_intent_stat_cells(ngx_http_intent_stat_t *st);
static void ngx_http_intent_stat_add_double(ngx_uint_t index, double v);
static double ngx_http_intent_stat_column(ngx_uint_t index,
    ngx_uint_t is_double);
static int ngx_libc_cdecl ngx_http_intent_stat_cmp(const void *one,
    const void *two);


/* this worker's row, and the first one; NULL without a zone */
static ngx_atomic_t  *ngx_http_intent_stat_row;
static ngx_atomic_t  *ngx_http_intent_stat_rows;
static ngx_uint_t     ngx_http_intent_stat_width;


ngx_http_intent_stat_t *
ngx_http_intent_histogram_add(ngx_conf_t *cf, const char *family,
    const char *help, ngx_str_t *labels, double *buckets, ngx_uint_t nbuckets)
{
    ngx_uint_t                     i;
    ngx_http_intent_stat_t        *st, **stats;
    ngx_http_intent_main_conf_t   *imcf;

    imcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_intent_module);
    stats = imcf->stats.elts;

    for (i = 0; i < imcf->stats.nelts; i++) {
        st = stats[i];

        if (ngx_strcmp(st->family.data, family) == 0
            && st->labels.len == (labels ? labels->len : 0)
            && (labels == NULL
                || ngx_memcmp(st->labels.data, labels->data, labels->len)
                   == 0))
        {
            return st;
        }
    }

    st = ngx_pcalloc(cf->pool, sizeof(ngx_http_intent_stat_t));
    if (st == NULL) {
        return NULL;
    }

    st->family.data = (u_char *) family;
    st->family.len = ngx_strlen(family);
    st->help.data = (u_char *) help;
    st->help.len = ngx_strlen(help);
    st->kind = NGX_HTTP_INTENT_HISTOGRAM;
    st->buckets = buckets;
    st->nbuckets = nbuckets;
    st->index = NGX_HTTP_INTENT_STAT_NONE;

    if (labels && labels->len) {
        st->labels.len = labels->len;
        st->labels.data = ngx_pstrdup(cf->pool, labels);
        if (st->labels.data == NULL) {
            return NULL;
        }
    }

    stats = ngx_array_push(&imcf->stats);
    if (stats == NULL) {
        return NULL;
    }

    *stats = st;

    return st;
}


ngx_http_intent_stat_t *
ngx_http_intent_stat_add(ngx_conf_t *cf, ngx_uint_t kind, const char *family,
    const char *help, ngx_str_t *labels)
{
    ngx_http_intent_stat_t  *st;

    st = ngx_http_intent_histogram_add(cf, family, help, labels, NULL, 0);

    if (st) {
        st->kind = kind;
    }

    return st;
}


ngx_int_t
ngx_http_intent_stat_init_zone(ngx_shm_zone_t *zone, void *data)
{
    ngx_http_intent_main_conf_t  *oimcf = data;

    ngx_uint_t                     i;
    ngx_slab_pool_t               *shpool;
    ngx_http_intent_stat_t       **stats;
    ngx_http_intent_main_conf_t   *imcf;
    ngx_http_intent_stat_zone_t   *z;

    imcf = zone->data;
    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    if (oimcf == NULL && !zone->shm.exists) {

        if (ngx_http_intent_stat_create_zone(zone, shpool) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    z = shpool->data;

    if (z == NULL
        || z->magic != NGX_HTTP_INTENT_STAT_MAGIC
        || z->layout != NGX_HTTP_INTENT_STAT_LAYOUT
        || z->size != zone->shm.size)
    {
        ngx_log_error(NGX_LOG_EMERG, zone->shm.log, 0,
                      "intent_zone \"%V\" was made by another version of "
                      "the module, restart nginx or change the zone's name",
                      &zone->shm.name);
        return NGX_ERROR;
    }

    stats = imcf->stats.elts;

    for (i = 0; i < imcf->stats.nelts; i++) {
        if (ngx_http_intent_stat_place(zone, stats[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    ngx_qsort(stats, imcf->stats.nelts, sizeof(ngx_http_intent_stat_t *),
              ngx_http_intent_stat_cmp);

    return ngx_http_intent_shared_init_zone(zone, &imcf->shared, &z->blocks);
}


static ngx_int_t
ngx_http_intent_stat_create_zone(ngx_shm_zone_t *zone, ngx_slab_pool_t *shpool)
{
    size_t                        room;
    ngx_http_intent_stat_zone_t  *z;

    z = ngx_slab_calloc(shpool, sizeof(ngx_http_intent_stat_zone_t));
    if (z == NULL) {
        return NGX_ERROR;
    }

    /* half of the zone: the rest is for the health of lanes and endpoints */

    room = zone->shm.size / 2;

    z->max_keys = room / 3 / sizeof(ngx_http_intent_stat_key_t);
    z->max_cells = room / 3 * 2
                   / (NGX_HTTP_INTENT_STAT_SLOTS * sizeof(ngx_atomic_t));

    /* rows end where a cache line ends, and the one fetched next to it */
    z->max_cells -= z->max_cells % (128 / sizeof(ngx_atomic_t));

    z->keys = ngx_slab_alloc(shpool,
                             z->max_keys * sizeof(ngx_http_intent_stat_key_t));
    z->cells = ngx_slab_calloc(shpool, z->max_cells * sizeof(ngx_atomic_t)
                                       * NGX_HTTP_INTENT_STAT_SLOTS);

    if (z->keys == NULL || z->cells == NULL) {
        ngx_log_error(NGX_LOG_EMERG, zone->shm.log, 0,
                      "intent_zone \"%V\" is too small", &zone->shm.name);
        return NGX_ERROR;
    }

    z->layout = NGX_HTTP_INTENT_STAT_LAYOUT;
    z->size = zone->shm.size;
    z->magic = NGX_HTTP_INTENT_STAT_MAGIC;

    shpool->data = z;

    return NGX_OK;
}


static ngx_uint_t
ngx_http_intent_stat_cells(ngx_http_intent_stat_t *st)
{
    /* a histogram has its buckets, +Inf, and the sum */

    return (st->kind == NGX_HTTP_INTENT_HISTOGRAM) ? st->nbuckets + 2 : 1;
}


static ngx_int_t
ngx_http_intent_stat_place(ngx_shm_zone_t *zone, ngx_http_intent_stat_t *st)
{
    u_char                       *p, text[NGX_HTTP_INTENT_STAT_KEY_LEN];
    size_t                        len;
    uint32_t                      hash;
    ngx_uint_t                    i, n;
    ngx_slab_pool_t              *shpool;
    ngx_http_intent_stat_key_t   *key;
    ngx_http_intent_stat_zone_t  *z;

    shpool = (ngx_slab_pool_t *) zone->shm.addr;
    z = shpool->data;

    p = ngx_snprintf(text, sizeof(text), "%V{%V}", &st->family, &st->labels);
    len = p - text;

    n = ngx_http_intent_stat_cells(st);
    hash = ngx_crc32_short(text, len);

    for (i = 0; i < z->nkeys; i++) {
        key = &z->keys[i];

        if (key->hash == hash && key->len == len && key->cells == n
            && ngx_memcmp(key->data, text, len) == 0)
        {
            st->index = key->index;
            return NGX_OK;
        }
    }

    if (len == sizeof(text)
        || z->nkeys == z->max_keys || z->ncells + n > z->max_cells)
    {
        ngx_log_error(NGX_LOG_EMERG, zone->shm.log, 0,
                      "intent_zone \"%V\" has no room for the metric \"%*s\", "
                      "make it larger", &zone->shm.name, len, text);
        return NGX_ERROR;
    }

    key = &z->keys[z->nkeys];

    key->hash = hash;
    key->len = (uint16_t) len;
    key->cells = (uint16_t) n;
    key->index = (uint32_t) z->ncells;
    ngx_memcpy(key->data, text, len);

    z->nkeys++;
    z->ncells += n;

    st->index = key->index;

    return NGX_OK;
}


static int ngx_libc_cdecl
ngx_http_intent_stat_cmp(const void *one, const void *two)
{
    int                      rc;
    ngx_http_intent_stat_t  *a, *b;

    a = *(ngx_http_intent_stat_t **) one;
    b = *(ngx_http_intent_stat_t **) two;

    rc = ngx_strcmp(a->family.data, b->family.data);

    if (rc == 0) {
        rc = ngx_memn2cmp(a->labels.data, b->labels.data,
                          a->labels.len, b->labels.len);
    }

    return rc;
}


void
ngx_http_intent_stat_init_process(ngx_http_intent_main_conf_t *imcf)
{
    ngx_slab_pool_t              *shpool;
    ngx_http_intent_stat_zone_t  *z;

    if (imcf->zone == NULL) {
        ngx_http_intent_stat_row = NULL;
        ngx_http_intent_stat_rows = NULL;
        return;
    }

    shpool = (ngx_slab_pool_t *) imcf->zone->shm.addr;
    z = shpool->data;

    ngx_http_intent_stat_width = z->max_cells;
    ngx_http_intent_stat_rows = z->cells;
    ngx_http_intent_stat_row = z->cells + z->max_cells
                               * (ngx_worker % NGX_HTTP_INTENT_STAT_SLOTS);
}


void
ngx_http_intent_stat_inc(ngx_http_intent_stat_t *st, ngx_uint_t n)
{
    if (ngx_http_intent_stat_row) {
        (void) ngx_atomic_fetch_add(&ngx_http_intent_stat_row[st->index], n);
    }
}


static void
ngx_http_intent_stat_add_double(ngx_uint_t index, double v)
{
    ngx_atomic_t                   *cell;
    ngx_http_intent_stat_double_t   old, sum;

    cell = &ngx_http_intent_stat_row[index];

    do {
        old.n = *cell;
        sum.d = old.d + v;

    } while (!ngx_atomic_cmp_set(cell, old.n, sum.n));
}


void
ngx_http_intent_stat_sum(ngx_http_intent_stat_t *st, double v)
{
    if (ngx_http_intent_stat_row) {
        ngx_http_intent_stat_add_double(st->index, v);
    }
}


void
ngx_http_intent_stat_set(ngx_http_intent_stat_t *st, double v)
{
    ngx_http_intent_stat_double_t  value;

    if (ngx_http_intent_stat_rows) {
        value.d = v;
        ngx_http_intent_stat_rows[st->index] = value.n;
    }
}


void
ngx_http_intent_stat_observe(ngx_http_intent_stat_t *st, double v)
{
    ngx_uint_t  i;

    if (ngx_http_intent_stat_row == NULL) {
        return;
    }

    for (i = 0; i < st->nbuckets; i++) {
        if (v <= st->buckets[i]) {
            break;
        }
    }

    (void) ngx_atomic_fetch_add(&ngx_http_intent_stat_row[st->index + i], 1);

    ngx_http_intent_stat_add_double(st->index + st->nbuckets + 1, v);
}


static double
ngx_http_intent_stat_column(ngx_uint_t index, ngx_uint_t is_double)
{
    uint64_t                        n;
    double                          d;
    ngx_uint_t                      i;
    ngx_http_intent_stat_double_t   value;

    n = 0;
    d = 0;

    for (i = 0; i < NGX_HTTP_INTENT_STAT_SLOTS; i++) {
        value.n = ngx_http_intent_stat_rows[i * ngx_http_intent_stat_width
                                            + index];
        n += value.n;

        if (is_double) {
            d += value.d;
        }
    }

    return is_double ? d : (double) n;
}


double
ngx_http_intent_stat_value(ngx_http_intent_stat_t *st)
{
    double      sum;
    ngx_uint_t  i;

    if (ngx_http_intent_stat_rows == NULL) {
        return 0;
    }

    if (st->kind != NGX_HTTP_INTENT_HISTOGRAM) {
        return ngx_http_intent_stat_column(st->index,
                                       st->kind != NGX_HTTP_INTENT_COUNTER);
    }

    sum = 0;

    for (i = 0; i <= st->nbuckets; i++) {
        sum += ngx_http_intent_stat_column(st->index + i, 0);
    }

    return sum;
}


void
ngx_http_intent_stat_histogram(ngx_http_intent_stat_t *st, uint64_t *counts,
    double *sum)
{
    uint64_t    n;
    ngx_uint_t  i;

    if (ngx_http_intent_stat_rows == NULL) {
        ngx_memzero(counts, (st->nbuckets + 1) * sizeof(uint64_t));
        *sum = 0;
        return;
    }

    n = 0;

    for (i = 0; i <= st->nbuckets; i++) {
        n += (uint64_t) ngx_http_intent_stat_column(st->index + i, 0);
        counts[i] = n;
    }

    *sum = ngx_http_intent_stat_column(st->index + st->nbuckets + 1, 1);
}


ngx_array_t *
ngx_http_intent_stats(void)
{
    return &ngx_http_intent_main_conf()->stats;
}


double
ngx_http_intent_seconds(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (double) ts.tv_sec + (double) ts.tv_nsec / 1e9;
}
