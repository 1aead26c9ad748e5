
/*
 * Background posts.
 *
 * nginx has subrequests, which bring the operator's whole proxy_* and
 * upstream configuration with them, but only below a client's request.  So
 * each post makes a request without a client: a connection without a socket,
 * a main request that does nothing, and below it one background subrequest.
 * A body filter takes the answer off before it would go to the connection,
 * so that no buffer directive of the location bounds it.
 */


#include "ngx_http_intent_core.h"
#include "ngx_http_intent_post.h"


#define NGX_HTTP_INTENT_POST_POOL  4096


static ngx_int_t ngx_http_intent_post_make_request(
    ngx_http_intent_post_t *post, ngx_http_conf_ctx_t *ctx);
static ngx_int_t ngx_http_intent_post_make_subrequest(
    ngx_http_intent_post_t *post, ngx_str_t *body);
static ngx_int_t ngx_http_intent_post_set_body(ngx_http_request_t *sr,
    ngx_str_t *body);
static ngx_int_t ngx_http_intent_post_set_headers(ngx_http_request_t *sr,
    ngx_http_intent_post_t *post);
static void ngx_http_intent_post_empty_handler(ngx_event_t *ev);
static void ngx_http_intent_post_write_handler(ngx_event_t *wev);
static u_char *ngx_http_intent_post_log_error(ngx_log_t *log, u_char *buf,
    size_t len);
static ngx_int_t ngx_http_intent_post_body_filter(ngx_http_request_t *r,
    ngx_chain_t *in);
static void ngx_http_intent_post_append(ngx_http_intent_post_t *post,
    u_char *data, size_t len);
static ngx_int_t ngx_http_intent_post_ended(ngx_http_request_t *sr,
    void *data, ngx_int_t rc);
static ngx_msec_t ngx_http_intent_post_retry_after(ngx_http_upstream_t *u);
static void ngx_http_intent_post_done(ngx_event_t *ev);
static void ngx_http_intent_post_close(ngx_http_intent_post_t *post);
static void ngx_http_intent_post_cancelled(ngx_event_t *ev);
static void ngx_http_intent_post_late(ngx_event_t *ev);
static void ngx_http_intent_post_abort(ngx_http_intent_post_t *post);
static size_t ngx_http_intent_post_find_location(
    ngx_http_location_tree_node_t *node, u_char *uri, size_t len,
    ngx_http_core_loc_conf_t **clcf);


static ngx_http_output_body_filter_pt  ngx_http_intent_post_next_body_filter;

/* all that are under way */
static ngx_queue_t  ngx_http_intent_posts;

static ngx_str_t    ngx_http_intent_post_method = ngx_string("POST");
static ngx_str_t    ngx_http_intent_post_root = ngx_string("/");
static ngx_str_t    ngx_http_intent_post_addr = ngx_string("127.0.0.1");


void
ngx_http_intent_post_init_process(void)
{
    ngx_queue_init(&ngx_http_intent_posts);
}


ngx_http_intent_post_t *
ngx_http_intent_post_create(const char *name)
{
    ngx_pool_t              *pool;
    ngx_http_intent_post_t  *post;

    pool = ngx_create_pool(NGX_HTTP_INTENT_POST_POOL, ngx_cycle->log);
    if (pool == NULL) {
        return NULL;
    }

    post = ngx_pcalloc(pool, sizeof(ngx_http_intent_post_t));
    if (post == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    post->pool = pool;
    post->name = name;
    post->rc = NGX_ERROR;

    return post;
}


void
ngx_http_intent_post_destroy(ngx_http_intent_post_t *post)
{
    ngx_destroy_pool(post->pool);
}


ngx_int_t
ngx_http_intent_post_header(ngx_http_intent_post_t *post, const char *key,
    const char *lowcase, ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    if (post->headers == NULL) {
        post->headers = ngx_array_create(post->pool, 4,
                                         sizeof(ngx_table_elt_t));
        if (post->headers == NULL) {
            return NGX_ERROR;
        }
    }

    h = ngx_array_push(post->headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = 1;
    h->key.len = ngx_strlen(key);
    h->key.data = (u_char *) key;
    h->lowcase_key = (u_char *) lowcase;
    h->value = *value;

    return NGX_OK;
}


ngx_int_t
ngx_http_intent_post_send(ngx_http_intent_post_t *post, ngx_str_t *uri,
    ngx_http_conf_ctx_t *ctx, ngx_str_t *body,
    ngx_http_intent_post_pt handler, void *data)
{
    post->handler = handler;
    post->data = data;
    post->uri = *uri;

    if (ngx_http_intent_post_make_request(post, ctx) != NGX_OK) {
        ngx_destroy_pool(post->pool);
        return NGX_ERROR;
    }

    ngx_queue_insert_tail(&ngx_http_intent_posts, &post->queue);

    if (ngx_http_intent_post_make_subrequest(post, body) != NGX_OK) {
        ngx_http_intent_post_close(post);
        return NGX_ERROR;
    }

    post->deadline.handler = ngx_http_intent_post_late;
    post->deadline.data = post->connection;
    post->deadline.log = ngx_cycle->log;
    post->deadline.cancelable = 1;

    ngx_add_timer(&post->deadline, post->timeout);

    /* there is no event that would start it */

    ngx_http_run_posted_requests(post->connection);

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_post_make_request(ngx_http_intent_post_t *post,
    ngx_http_conf_ctx_t *ctx)
{
    ngx_event_t            *rev, *wev;
    ngx_connection_t       *c;
    ngx_http_request_t     *r;
    struct sockaddr_in     *sin;
    ngx_http_connection_t  *hc;

    /* not from ngx_cycle: it would take one of worker_connections */

    c = ngx_pcalloc(post->pool, sizeof(ngx_connection_t));
    rev = ngx_pcalloc(post->pool, sizeof(ngx_event_t));
    wev = ngx_pcalloc(post->pool, sizeof(ngx_event_t));
    hc = ngx_pcalloc(post->pool, sizeof(ngx_http_connection_t));
    sin = ngx_pcalloc(post->pool, sizeof(struct sockaddr_in));

    if (c == NULL || rev == NULL || wev == NULL || hc == NULL || sin == NULL) {
        return NGX_ERROR;
    }

    post->log = *ngx_cycle->log;
    post->log.handler = ngx_http_intent_post_log_error;
    post->log.data = &post->log_ctx;
    post->log.action = NULL;
    post->log_ctx.connection = c;

    rev->index = NGX_INVALID_INDEX;
    rev->data = c;
    rev->log = &post->log;
    rev->handler = ngx_http_intent_post_empty_handler;
    rev->active = 1;

    wev->index = NGX_INVALID_INDEX;
    wev->data = c;
    wev->log = &post->log;
    wev->handler = ngx_http_intent_post_write_handler;
    wev->write = 1;
    wev->active = 1;
    wev->ready = 1;

    sin->sin_family = AF_INET;
    sin->sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    c->fd = (ngx_socket_t) -1;
    c->read = rev;
    c->write = wev;
    c->pool = post->pool;
    c->log = &post->log;
    c->tcp_nodelay = NGX_TCP_NODELAY_DISABLED;
    c->tcp_nopush = NGX_TCP_NOPUSH_DISABLED;
    c->sockaddr = (struct sockaddr *) sin;
    c->socklen = sizeof(struct sockaddr_in);
    c->local_sockaddr = c->sockaddr;
    c->local_socklen = c->socklen;
    c->addr_text = ngx_http_intent_post_addr;
    c->number = ngx_atomic_fetch_add(ngx_connection_counter, 1);

    hc->conf_ctx = ctx;
    c->data = hc;

    r = ngx_http_create_request(c);
    if (r == NULL) {
        return NGX_ERROR;
    }

    c->data = r;

    /* nobody waits for the main request, nothing of it is logged */

    r->logged = 1;
    r->uri = post->uri;
    r->unparsed_uri = post->uri;
    r->method = NGX_HTTP_POST;
    r->method_name = ngx_http_intent_post_method;
    r->http_version = NGX_HTTP_VERSION_11;
    r->read_event_handler = ngx_http_request_empty_handler;
    r->write_event_handler = ngx_http_request_empty_handler;

    ngx_http_set_ctx(r, post, ngx_http_intent_module);

    post->connection = c;
    post->request = r;

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_post_make_subrequest(ngx_http_intent_post_t *post,
    ngx_str_t *body)
{
    ngx_http_request_t          *r, *sr;
    ngx_http_post_subrequest_t  *ps;

    r = post->request;

    ps = ngx_palloc(r->pool, sizeof(ngx_http_post_subrequest_t));
    if (ps == NULL) {
        return NGX_ERROR;
    }

    ps->handler = ngx_http_intent_post_ended;
    ps->data = post;

    if (ngx_http_subrequest(r, &post->uri, NULL, &sr, ps,
                            NGX_HTTP_SUBREQUEST_IN_MEMORY
                            |NGX_HTTP_SUBREQUEST_BACKGROUND)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    post->subrequest = sr;

    sr->method = NGX_HTTP_POST;
    sr->method_name = ngx_http_intent_post_method;

    /* no client_max_body_size: it is not a client's body */

    sr->discard_body = 1;

    /*
     * Nodes answer at "/" only: that is what a proxy_pass without a path
     * shall ask for, not for the name of our location
     */

    sr->unparsed_uri = ngx_http_intent_post_root;
    sr->valid_unparsed_uri = 1;

    /*
     * Whose turn it is to write: of others the event pipe holds the answer
     * back, in a file where proxy_buffers are too few for it
     */

    post->connection->data = sr;

    if (ngx_http_intent_post_set_body(sr, body) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_intent_post_set_headers(sr, post);
}


static ngx_int_t
ngx_http_intent_post_set_body(ngx_http_request_t *sr, ngx_str_t *body)
{
    ngx_buf_t                *b;
    ngx_chain_t              *cl;
    ngx_http_request_body_t  *rb;

    rb = ngx_pcalloc(sr->pool, sizeof(ngx_http_request_body_t));
    b = ngx_calloc_buf(sr->pool);
    cl = ngx_alloc_chain_link(sr->pool);

    if (rb == NULL || b == NULL || cl == NULL) {
        return NGX_ERROR;
    }

    b->pos = body->data;
    b->last = body->data + body->len;
    b->start = b->pos;
    b->end = b->last;
    b->memory = 1;
    b->last_buf = 1;

    cl->buf = b;
    cl->next = NULL;

    rb->bufs = cl;
    rb->buf = b;
    sr->request_body = rb;
    sr->headers_in.content_length_n = body->len;

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_post_set_headers(ngx_http_request_t *sr,
    ngx_http_intent_post_t *post)
{
    ngx_uint_t        i;
    ngx_table_elt_t  *h, *headers;

    if (ngx_list_init(&sr->headers_in.headers, sr->pool, 4,
                      sizeof(ngx_table_elt_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    h = ngx_list_push(&sr->headers_in.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));
    h->hash = 1;
    ngx_str_set(&h->key, "Content-Type");
    ngx_str_set(&h->value, "application/json");
    h->lowcase_key = (u_char *) "content-type";

    sr->headers_in.content_type = h;

    if (post->headers == NULL) {
        return NGX_OK;
    }

    headers = post->headers->elts;

    for (i = 0; i < post->headers->nelts; i++) {
        h = ngx_list_push(&sr->headers_in.headers);
        if (h == NULL) {
            return NGX_ERROR;
        }

        *h = headers[i];
    }

    return NGX_OK;
}


static void
ngx_http_intent_post_empty_handler(ngx_event_t *ev)
{
    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, ev->log, 0,
                   "intent post empty handler");
}


/* what delays a request, as limit_req does, sets a timer on its connection */

static void
ngx_http_intent_post_write_handler(ngx_event_t *wev)
{
    ngx_connection_t        *c;
    ngx_http_request_t      *r, *sr;
    ngx_http_intent_post_t  *post;

    c = wev->data;
    r = c->data;
    post = ngx_http_get_module_ctx(r->main, ngx_http_intent_module);
    sr = post->subrequest;

    if (wev->timedout) {
        wev->timedout = 0;
        wev->delayed = 0;
    }

    if (sr == NULL || sr->done) {
        return;
    }

    sr->write_event_handler(sr);

    ngx_http_run_posted_requests(c);
}


static u_char *
ngx_http_intent_post_log_error(ngx_log_t *log, u_char *buf, size_t len)
{
    u_char                  *p;
    ngx_http_request_t      *r;
    ngx_http_log_ctx_t      *ctx;
    ngx_http_intent_post_t  *post;

    p = buf;

    if (log->action) {
        p = ngx_snprintf(buf, len, " while %s", log->action);
        len -= p - buf;
        buf = p;
    }

    ctx = log->data;
    r = ctx->current_request;

    if (r == NULL) {
        return p;
    }

    post = ngx_http_get_module_ctx(r->main, ngx_http_intent_module);

    p = ngx_snprintf(buf, len, ", intent %s: \"%V\"",
                     post ? post->name : "post", &r->uri);
    len -= p - buf;
    buf = p;

    if (r->upstream && r->upstream->peer.name) {
        p = ngx_snprintf(buf, len, ", upstream: \"%V\"",
                         r->upstream->peer.name);
    }

    return p;
}


void
ngx_http_intent_post_init_filter(void)
{
    ngx_http_intent_post_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_intent_post_body_filter;
}


static ngx_int_t
ngx_http_intent_post_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_buf_t               *b;
    ngx_chain_t             *cl;
    ngx_http_intent_post_t  *post;

    /* by the main request: an internal redirect clears r->ctx */

    if (r == r->main || r->connection->fd != (ngx_socket_t) -1) {
        return ngx_http_intent_post_next_body_filter(r, in);
    }

    post = ngx_http_get_module_ctx(r->main, ngx_http_intent_module);

    if (post == NULL) {
        return ngx_http_intent_post_next_body_filter(r, in);
    }

    for (cl = in; cl; cl = cl->next) {
        b = cl->buf;

        if (ngx_buf_in_memory(b)) {
            ngx_http_intent_post_append(post, b->pos, b->last - b->pos);
            b->pos = b->last;

        } else if (b->in_file) {
            /* the copy filter should have read it */
            post->overflow = (post->max_body != 0);
            b->file_pos = b->file_last;
        }
    }

    return NGX_OK;
}


static void
ngx_http_intent_post_append(ngx_http_intent_post_t *post, u_char *data,
    size_t len)
{
    u_char  *p;
    size_t   size;

    if (post->max_body == 0 || post->overflow || post->no_memory
        || len == 0)
    {
        return;
    }

    if (len > post->max_body - post->body.len) {
        post->overflow = 1;
        return;
    }

    if (post->body.len + len > post->size) {

        size = ngx_max(post->size * 2, post->body.len + len);
        size = ngx_max(size, 4096);

        p = ngx_palloc(post->pool, size);
        if (p == NULL) {
            post->no_memory = 1;
            return;
        }

        if (post->body.len) {
            ngx_memcpy(p, post->body.data, post->body.len);
            (void) ngx_pfree(post->pool, post->body.data);
        }

        post->body.data = p;
        post->size = size;
    }

    ngx_memcpy(post->body.data + post->body.len, data, len);
    post->body.len += len;
}


/*
 * Runs inside of the subrequest's finalization: nothing may be freed or
 * started here, and only NGX_OK keeps nginx from answering the client that
 * does not exist.
 */

static ngx_int_t
ngx_http_intent_post_ended(ngx_http_request_t *sr, void *data,
    ngx_int_t rc)
{
    ngx_http_intent_post_t  *post = data;

    ngx_uint_t            failed;
    ngx_http_upstream_t  *u;

    failed = 0;

    if (sr->connection->error || sr->buffered) {
        sr->connection->error = 0;
        sr->buffered = 0;
        failed = 1;
    }

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        post->status = rc;

    } else if (rc == NGX_OK) {
        post->status = sr->headers_out.status;

    } else {
        failed = 1;
    }

    /* a body cut short by the node arrives with rc 0 and status 200 */

    u = sr->upstream;

    if (u && (post->status == NGX_HTTP_TOO_MANY_REQUESTS
              || post->status == NGX_HTTP_SERVICE_UNAVAILABLE))
    {
        post->retry_after = ngx_http_intent_post_retry_after(u);
    }

    if (u && post->status == NGX_HTTP_OK) {

        if (u->buffering ? (u->pipe && u->pipe->length > 0)
                         : (u->length > 0))
        {
            failed = 1;
        }
    }

    if (post->overflow) {
        ngx_log_error(NGX_LOG_ERR, sr->connection->log, 0,
                      "intent %s answer is larger than %uz bytes",
                      post->name, post->max_body);
        failed = 1;
    }

    post->rc = (failed || post->no_memory) ? NGX_ERROR : NGX_OK;

    ngx_log_debug5(NGX_LOG_DEBUG_HTTP, sr->connection->log, 0,
                   "intent %s \"%V\" done: rc:%i status:%ui size:%uz",
                   post->name, &post->uri, post->rc, post->status,
                   post->body.len);

    post->done.handler = ngx_http_intent_post_done;
    post->done.data = post->connection;
    post->done.log = ngx_cycle->log;

    ngx_post_event(&post->done, &ngx_posted_events);

    return NGX_OK;
}


/* RFC 9110, 10.2.3: seconds, or a date; ms */

static ngx_msec_t
ngx_http_intent_post_retry_after(ngx_http_upstream_t *u)
{
    time_t            t;
    ngx_int_t         n;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    part = &u->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return 0;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].key.len == sizeof("Retry-After") - 1
            && ngx_strncasecmp(h[i].key.data, (u_char *) "Retry-After",
                               sizeof("Retry-After") - 1)
               == 0)
        {
            break;
        }
    }

    n = ngx_atoi(h[i].value.data, h[i].value.len);

    if (n == NGX_ERROR) {
        t = ngx_parse_http_time(h[i].value.data, h[i].value.len);
        n = (t == NGX_ERROR) ? 0 : ngx_max(t - ngx_time(), 0);
    }

    return (ngx_msec_t) ngx_min(n, 86400) * 1000;
}


static void
ngx_http_intent_post_done(ngx_event_t *ev)
{
    ngx_connection_t        *c;
    ngx_http_request_t      *r;
    ngx_http_intent_post_t  *post;

    c = ev->data;
    r = c->data;
    post = ngx_http_get_module_ctx(r->main, ngx_http_intent_module);

    if (post->handler) {
        post->handler(post->data, post);
    }

    ngx_http_intent_post_close(post);
}


static void
ngx_http_intent_post_close(ngx_http_intent_post_t *post)
{
    ngx_connection_t  *c;

    c = post->connection;

    ngx_queue_remove(&post->queue);

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

    if (c->read->posted) {
        ngx_delete_posted_event(c->read);
    }

    if (c->write->posted) {
        ngx_delete_posted_event(c->write);
    }

    if (post->done.posted) {
        ngx_delete_posted_event(&post->done);
    }

    if (post->deadline.timer_set) {
        ngx_del_timer(&post->deadline);
    }

    ngx_http_free_request(post->request, 0);
    ngx_destroy_pool(post->pool);
}


void
ngx_http_intent_post_give_up(ngx_http_intent_post_t *post)
{
    ngx_msec_t  begun;

    if (post->deadline.timer_set) {
        begun = post->deadline.timer.key - post->timeout;

        post->timeout = ngx_current_msec - begun;
        ngx_add_timer(&post->deadline, 1);
    }
}


void
ngx_http_intent_post_cancel(ngx_http_intent_post_t *post)
{
    post->handler = NULL;

    /* not at once: this may be called from anywhere inside of the request */

    if (!post->done.posted) {
        post->done.handler = ngx_http_intent_post_cancelled;
        post->done.data = post->connection;
        post->done.log = ngx_cycle->log;

        ngx_post_event(&post->done, &ngx_posted_events);
    }
}


static void
ngx_http_intent_post_cancelled(ngx_event_t *ev)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    c = ev->data;
    r = c->data;

    ngx_http_intent_post_abort(ngx_http_get_module_ctx(r->main,
                                              ngx_http_intent_module));
}


static void
ngx_http_intent_post_late(ngx_event_t *ev)
{
    ngx_connection_t        *c;
    ngx_http_request_t      *r;
    ngx_http_intent_post_t  *post;

    c = ev->data;
    r = c->data;
    post = ngx_http_get_module_ctx(r->main, ngx_http_intent_module);

    ngx_log_error(NGX_LOG_ERR, ev->log, 0,
                  "intent %s \"%V\" did not end in %M ms, it is given up",
                  post->name, &post->uri, post->timeout);

    post->rc = NGX_ERROR;
    post->late = 1;

    if (post->handler) {
        post->handler(post->data, post);
    }

    ngx_http_intent_post_abort(post);
}


static void
ngx_http_intent_post_abort(ngx_http_intent_post_t *post)
{
    ngx_http_cleanup_t  *cln;

    post->handler = NULL;

    /* the upstream's: closes its connection and lets the main go */

    cln = post->request->cleanup;
    post->request->cleanup = NULL;

    while (cln) {
        if (cln->handler) {
            cln->handler(cln->data);
        }

        cln = cln->next;
    }

    ngx_http_intent_post_close(post);
}


void
ngx_http_intent_post_abort_all(void)
{
    ngx_queue_t  *q;

    /* a process that serves nothing has not made it */

    if (ngx_http_intent_posts.next == NULL) {
        return;
    }

    while (!ngx_queue_empty(&ngx_http_intent_posts)) {
        q = ngx_queue_head(&ngx_http_intent_posts);

        ngx_http_intent_post_abort(ngx_queue_data(q, ngx_http_intent_post_t,
                                                 queue));
    }
}


/*
 * What posts stands at the http level or in another server than its location.
 * The server is the one whose location matches the longest part of the uri.
 */

ngx_http_conf_ctx_t *
ngx_http_intent_post_find_server(ngx_conf_t *cf, ngx_str_t *uri,
    ngx_uint_t *internal)
{
    size_t                       len, longest;
    ngx_uint_t                   i;
    ngx_http_conf_ctx_t         *ctx;
    ngx_http_core_loc_conf_t    *clcf, *found;
    ngx_http_core_srv_conf_t   **cscfp;
    ngx_http_core_main_conf_t   *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    cscfp = cmcf->servers.elts;

    ctx = NULL;
    longest = 0;

    for (i = 0; i < cmcf->servers.nelts; i++) {

        clcf = cscfp[i]->ctx->loc_conf[ngx_http_core_module.ctx_index];
        found = NULL;

        len = ngx_http_intent_post_find_location(clcf->static_locations,
                                                uri->data, uri->len, &found);

        /* a location / would take everything, and is never meant */

        if (found && len > longest && len > 1) {
            longest = len;
            ctx = cscfp[i]->ctx;
            *internal = found->internal;
        }
    }

    return ctx;
}


/* walks the tree as nginx does when it looks for a static location */

static size_t
ngx_http_intent_post_find_location(ngx_http_location_tree_node_t *node,
    u_char *uri, size_t len, ngx_http_core_loc_conf_t **clcf)
{
    size_t     n, matched, longest;
    ngx_int_t  rc;

    matched = 0;
    longest = 0;

    while (node) {
        n = ngx_min(len, (size_t) node->len);
        rc = ngx_filename_cmp(uri, node->name, n);

        if (rc != 0) {
            node = (rc < 0) ? node->left : node->right;
            continue;
        }

        if (len > (size_t) node->len) {

            uri += n;
            len -= n;
            matched += n;

            if (node->inclusive) {
                *clcf = node->inclusive;
                longest = matched;
                node = node->tree;
                continue;
            }

            /* exact only: not this one, but something longer may be */

            uri -= n;
            len += n;
            matched -= n;
            node = node->right;
            continue;
        }

        if (len == (size_t) node->len) {

            if (node->exact || node->inclusive) {
                *clcf = node->exact ? node->exact : node->inclusive;
                longest = matched + n;
            }

            break;
        }

        node = node->left;
    }

    return longest;
}
