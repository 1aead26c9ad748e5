
/*
 * The directives of the Socket.IO transport, its zone, and the pipes by which
 * one worker wakes another.
 */


#include "ngx_http_intent_push_socketio.h"

#include <ngx_channel.h>


#define NGX_HTTP_INTENT_SOCKETIO_WAKES  64      /* read at once */


typedef struct {
    size_t                               size;
    ngx_uint_t                           used;
    ngx_shm_zone_t                      *zone;
} ngx_http_intent_socketio_main_conf_t;


static ngx_int_t ngx_http_intent_socketio_postconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_intent_socketio_init_zone(ngx_shm_zone_t *zone,
    void *data);
static void *ngx_http_intent_socketio_create_main_conf(ngx_conf_t *cf);
static char *ngx_http_intent_socketio(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_http_intent_socketio_init_module(ngx_cycle_t *cycle);
static void ngx_http_intent_socketio_close_pipes(void *data);
static ngx_int_t ngx_http_intent_socketio_init_process(ngx_cycle_t *cycle);
static void ngx_http_intent_socketio_woken(ngx_event_t *rev);


static ngx_command_t  ngx_http_intent_socketio_commands[] = {

    { ngx_string("intent_socketio"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_intent_socketio,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("intent_socketio_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_intent_socketio_main_conf_t, size),
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_intent_socketio_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_intent_socketio_postconfiguration, /* postconfiguration */

    ngx_http_intent_socketio_create_main_conf, /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_intent_socketio_module = {
    NGX_MODULE_V1,
    &ngx_http_intent_socketio_module_ctx,  /* module context */
    ngx_http_intent_socketio_commands,     /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_http_intent_socketio_init_module,  /* init module */
    ngx_http_intent_socketio_init_process, /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


typedef struct {
    ngx_uint_t                           n;
    int                                (*fds)[2];
} ngx_http_intent_socketio_pipes_t;

/* one for each worker, made before the workers are */
static ngx_http_intent_socketio_pipes_t  *ngx_http_intent_socketio_pipes;


void
ngx_http_intent_socketio_wake_there(ngx_str_t *id, ngx_uint_t worker)
{
    ngx_http_intent_socketio_pipes_t  *pipes;

    pipes = ngx_http_intent_socketio_pipes;

    if (pipes == NULL || worker >= pipes->n) {
        return;
    }

    /*
     * Where the pipe is full, or the worker is of an older configuration, it
     * will see for itself a little later.
     */

    if (write(pipes->fds[worker][1], id->data, NGX_HTTP_INTENT_SOCKETIO_ID_LEN)
        == -1
        && ngx_errno != NGX_EAGAIN)
    {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, ngx_errno,
                      "worker %ui could not be woken", worker);
    }
}


static void
ngx_http_intent_socketio_woken(ngx_event_t *rev)
{
    u_char             buf[NGX_HTTP_INTENT_SOCKETIO_WAKES
                           * NGX_HTTP_INTENT_SOCKETIO_ID_LEN];
    ssize_t            n;
    ngx_str_t          id;
    ngx_connection_t  *c;

    c = rev->data;
    id.len = NGX_HTTP_INTENT_SOCKETIO_ID_LEN;

    /* whole ids: a write of so few bytes is not split */

    for ( ;; ) {
        n = read(c->fd, buf, sizeof(buf));

        if (n == -1 && ngx_errno == NGX_EINTR) {
            continue;
        }

        if (n <= 0) {
            break;
        }

        for (id.data = buf; id.data + id.len <= buf + n; id.data += id.len) {
            ngx_http_intent_socketio_wake_here(&id);
        }
    }
}


/* ---- configuration ---- */

static ngx_int_t
ngx_http_intent_socketio_postconfiguration(ngx_conf_t *cf)
{
    ngx_str_t                              name;
    ngx_http_intent_socketio_main_conf_t  *smcf;

    smcf = ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_intent_socketio_module);

    if (!smcf->used) {
        return NGX_OK;
    }

    if (smcf->size == NGX_CONF_UNSET_SIZE) {
        smcf->size = 8 * 1024 * 1024;
    }

    if (smcf->size < 8 * ngx_pagesize) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"intent_socketio_zone\" should be %uz bytes at "
                           "the least", 8 * ngx_pagesize);
        return NGX_ERROR;
    }

    ngx_str_set(&name, "intent_socketio");

    smcf->zone = ngx_shared_memory_add(cf, &name, smcf->size,
                                       &ngx_http_intent_socketio_module);
    if (smcf->zone == NULL) {
        return NGX_ERROR;
    }

    smcf->zone->init = ngx_http_intent_socketio_init_zone;

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_socketio_init_zone(ngx_shm_zone_t *zone, void *data)
{
    ngx_slab_pool_t                     *pool;
    ngx_http_intent_socketio_records_t  *records;

    pool = (ngx_slab_pool_t *) zone->shm.addr;

    if (data || zone->shm.exists) {
        zone->data = pool->data;
        return NGX_OK;
    }

    records = ngx_slab_alloc(pool, sizeof(ngx_http_intent_socketio_records_t));
    if (records == NULL) {
        return NGX_ERROR;
    }

    /* what there is no room for is told to its client */
    pool->log_nomem = 0;
    pool->data = records;
    zone->data = records;

    ngx_rbtree_init(&records->rbtree, &records->sentinel,
                    ngx_str_rbtree_insert_value);
    ngx_queue_init(&records->queue);

    return NGX_OK;
}


static void *
ngx_http_intent_socketio_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_intent_socketio_main_conf_t  *smcf;

    smcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_intent_socketio_main_conf_t));
    if (smcf == NULL) {
        return NULL;
    }

    smcf->size = NGX_CONF_UNSET_SIZE;

    return smcf;
}


static char *
ngx_http_intent_socketio(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_intent_socketio_main_conf_t  *smcf = conf;

    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler == ngx_http_intent_socketio_handler) {
        return "is duplicate";
    }

    clcf->handler = ngx_http_intent_socketio_handler;
    smcf->used = 1;

    return NGX_CONF_OK;
}


/* ---- processes ---- */

static ngx_int_t
ngx_http_intent_socketio_init_module(ngx_cycle_t *cycle)
{
    ngx_uint_t                             i;
    ngx_core_conf_t                       *ccf;
    ngx_pool_cleanup_t                    *cln;
    ngx_http_intent_socketio_pipes_t      *pipes;
    ngx_http_intent_socketio_main_conf_t  *smcf;

    ngx_http_intent_socketio_pipes = NULL;

    smcf = ngx_http_cycle_get_module_main_conf(cycle,
                                              ngx_http_intent_socketio_module);

    if (smcf == NULL || !smcf->used || ngx_test_config) {
        return NGX_OK;
    }

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    pipes = ngx_pcalloc(cycle->pool, sizeof(ngx_http_intent_socketio_pipes_t));
    cln = ngx_pool_cleanup_add(cycle->pool, 0);

    if (pipes == NULL || cln == NULL) {
        return NGX_ERROR;
    }

    pipes->fds = ngx_pcalloc(cycle->pool,
                             ngx_max(ccf->worker_processes, 1)
                             * sizeof(*pipes->fds));
    if (pipes->fds == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_intent_socketio_close_pipes;
    cln->data = pipes;

    for (i = 0; i < (ngx_uint_t) ngx_max(ccf->worker_processes, 1); i++) {

        if (pipe(pipes->fds[i]) == -1) {
            ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                          "pipe() failed");
            return NGX_ERROR;
        }

        pipes->n++;

        if (ngx_nonblocking(pipes->fds[i][0]) == -1
            || ngx_nonblocking(pipes->fds[i][1]) == -1
            || fcntl(pipes->fds[i][0], F_SETFD, FD_CLOEXEC) == -1
            || fcntl(pipes->fds[i][1], F_SETFD, FD_CLOEXEC) == -1)
        {
            ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                          "fcntl() of a pipe failed");
            return NGX_ERROR;
        }
    }

    ngx_http_intent_socketio_pipes = pipes;

    return NGX_OK;
}


static void
ngx_http_intent_socketio_close_pipes(void *data)
{
    ngx_http_intent_socketio_pipes_t *pipes = data;

    ngx_uint_t  i;

    for (i = 0; i < pipes->n; i++) {
        (void) close(pipes->fds[i][0]);
        (void) close(pipes->fds[i][1]);
    }
}


static ngx_int_t
ngx_http_intent_socketio_init_process(ngx_cycle_t *cycle)
{
    ngx_http_intent_socketio_pipes_t      *pipes;
    ngx_http_intent_socketio_main_conf_t  *smcf;

    smcf = ngx_http_cycle_get_module_main_conf(cycle,
                                              ngx_http_intent_socketio_module);

    if (smcf == NULL || !smcf->used || !ngx_http_intent_is_worker()) {
        return NGX_OK;
    }

    ngx_http_intent_socketio_pool = (ngx_slab_pool_t *) smcf->zone->shm.addr;
    ngx_http_intent_socketio_records = smcf->zone->data;

    ngx_http_intent_socketio_init_sessions();

    pipes = ngx_http_intent_socketio_pipes;

    if (pipes == NULL || ngx_worker >= pipes->n) {
        return NGX_OK;
    }

    return ngx_add_channel_event(cycle, pipes->fds[ngx_worker][0],
                                 NGX_READ_EVENT,
                                 ngx_http_intent_socketio_woken);
}
