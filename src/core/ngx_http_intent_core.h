
/* private to src/core */


#ifndef _NGX_HTTP_INTENT_CORE_H_INCLUDED_
#define _NGX_HTTP_INTENT_CORE_H_INCLUDED_


#include "ngx_http_intent.h"


typedef struct {
    ngx_shm_zone_t             *zone;
    ngx_array_t                 types;      /* ngx_http_intent_name_t * */
    ngx_array_t                 chains;     /* ngx_http_intent_name_t * */
    ngx_array_t                 webhooks;   /* ngx_http_intent_name_t * */
    ngx_array_t                 observers;  /* ngx_http_intent_observer_pt */
    ngx_array_t                 stats;      /* ngx_http_intent_stat_t * */
    ngx_array_t                 shared;     /* ngx_http_intent_shared_t * */
} ngx_http_intent_main_conf_t;


/* in the zone */
typedef struct ngx_http_intent_block_s  ngx_http_intent_block_t;

struct ngx_http_intent_block_s {
    ngx_http_intent_block_t    *next;
    size_t                      size;
    size_t                      len;        /* of the key */
    u_char                     *key;
    void                       *data;
};


/* the main conf of the running cycle; NULL without an http block */
ngx_http_intent_main_conf_t *ngx_http_intent_main_conf(void);

ngx_int_t ngx_http_intent_stat_init_zone(ngx_shm_zone_t *zone, void *data);
ngx_int_t ngx_http_intent_shared_init_zone(ngx_shm_zone_t *zone,
    ngx_array_t *shared, ngx_http_intent_block_t **blocks);
void ngx_http_intent_stat_init_process(ngx_http_intent_main_conf_t *imcf);

void ngx_http_intent_id_init_process(void);

/* background posts: the filter that gathers answers; the queue; the end */
void ngx_http_intent_post_init_filter(void);
void ngx_http_intent_post_init_process(void);
/* ends all at once: no handler is called */
void ngx_http_intent_post_abort_all(void);

ngx_int_t ngx_http_intent_drain_init_process(ngx_cycle_t *cycle);
void ngx_http_intent_drain_exit_process(void);


#endif /* _NGX_HTTP_INTENT_CORE_H_INCLUDED_ */
