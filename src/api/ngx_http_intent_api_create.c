
/*
 * POST of an intent, or of an array of them: check, keep.
 *
 * Each item goes its own way: read, its signature checked, a contract wallet
 * asked perhaps, kept.  The request waits until all have come to an end.
 */


#include "ngx_http_intent_api.h"
#include "ngx_http_intent_limit.h"
#include "ngx_http_intent_webhook.h"


/*
 * A signer is recovered in some 50 to 100 us: so many in a turn of the event
 * loop, so that other requests do not wait for a whole batch of them.
 */
#define NGX_HTTP_INTENT_API_SIGNATURES  8


static ngx_int_t ngx_http_intent_api_take(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx);
static ngx_int_t ngx_http_intent_api_take_batch(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx, ngx_int_t *answer);
static ngx_int_t ngx_http_intent_api_refuse_post(ngx_http_request_t *r,
    ngx_uint_t status, ngx_uint_t reason, const char *detail);
static void ngx_http_intent_api_run(ngx_http_intent_api_ctx_t *ctx);
static void ngx_http_intent_api_run_later(ngx_http_intent_api_ctx_t *ctx);
static void ngx_http_intent_api_run_handler(ngx_event_t *ev);
static void ngx_http_intent_api_begin_item(
    ngx_http_intent_api_item_t *item, json_t *json);
static void ngx_http_intent_api_refused(ngx_http_intent_api_item_t *item,
    ngx_array_t **refused);
static void ngx_http_intent_api_look_back(ngx_http_intent_api_ctx_t *ctx,
    ngx_array_t *refused);
static void ngx_http_intent_api_recall_handler(void *data, ngx_int_t rc);
static void ngx_http_intent_api_looked_back(ngx_array_t *refused,
    ngx_int_t rc);
static void ngx_http_intent_api_wallet_handler(void *data, ngx_int_t rc);
static void ngx_http_intent_api_go_on(ngx_http_intent_api_item_t *item,
    ngx_int_t rc);
static ngx_int_t ngx_http_intent_api_keep(ngx_http_intent_api_item_t *item);
static void ngx_http_intent_api_kept_handler(ngx_http_intent_transition_t *t,
    ngx_int_t rc);
static ngx_int_t ngx_http_intent_api_unfit(ngx_http_intent_api_item_t *item);
static ngx_int_t ngx_http_intent_api_known(ngx_http_intent_api_item_t *item);
static ngx_int_t ngx_http_intent_api_not_kept(
    ngx_http_intent_api_item_t *item);
static void ngx_http_intent_api_done(ngx_http_intent_api_ctx_t *ctx);


ngx_int_t
ngx_http_intent_api_create(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx)
{
    ctx->post = ngx_pcalloc(r->pool, sizeof(ngx_http_intent_api_post_t));
    if (ctx->post == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_intent_api_read(r, ctx);
}


ngx_int_t
ngx_http_intent_api_accept(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx)
{
    ngx_int_t                    rc;
    const char                  *why;
    ngx_array_t                  faults;
    ngx_http_intent_api_post_t  *post;

    post = ctx->post;

    if (ngx_http_intent_api_key(r, post, &why) != NGX_OK) {
        return ngx_http_intent_api_refuse_post(r, NGX_HTTP_BAD_REQUEST,
                                             NGX_HTTP_INTENT_REJECTED_INVALID,
                                             why);
    }

    rc = ngx_http_intent_api_user(r, ctx);

    if (rc == NGX_DECLINED) {
        return ngx_http_intent_api_refuse_post(r, NGX_HTTP_FORBIDDEN,
                                               NGX_HTTP_INTENT_REJECTED_USER,
                                               ngx_http_intent_api_bad_user);
    }

    if (rc != NGX_OK
        || ngx_array_init(&faults, r->pool, 1, sizeof(ngx_http_intent_fault_t))
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    post->root = ngx_http_intent_api_load(&post->body, &faults);

    if (post->root) {
        return ngx_http_intent_api_take(r, ctx);
    }

    if (faults.nelts == 0) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_http_intent_api_rejected(NULL, NGX_HTTP_INTENT_REJECTED_JSON);

    return ngx_http_intent_api_problem(r, NGX_HTTP_BAD_REQUEST, NULL, &faults);
}


/* of the root, which is freed when all items were made of it */

static ngx_int_t
ngx_http_intent_api_take(ngx_http_request_t *r, ngx_http_intent_api_ctx_t *ctx)
{
    ngx_int_t                    answer;
    ngx_http_intent_api_post_t  *post;

    post = ctx->post;
    post->nitems = 1;

    if (ngx_http_intent_api_take_batch(r, ctx, &answer) != NGX_OK) {
        json_decref(post->root);
        return answer;
    }

    post->items = ngx_pcalloc(r->pool, post->nitems
                                       * sizeof(ngx_http_intent_api_item_t));
    if (post->items == NULL) {
        json_decref(post->root);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* one more than there is to wait for, until all have been begun */

    post->waiting = 1;

    ngx_http_intent_api_run(ctx);

    if (post->waiting == 0) {
        return ngx_http_intent_api_answer_post(r, ctx);
    }

    ngx_http_intent_api_wait(r);

    return NGX_BUSY;
}


/*
 * NGX_OK: the body may be taken, as one intent or as many; else it has been
 * answered, with *answer for ngx_http_finalize_request().
 */

static ngx_int_t
ngx_http_intent_api_take_batch(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx, ngx_int_t *answer)
{
    size_t                           n;
    u_char                           detail[64 + NGX_INT_T_LEN];
    ngx_http_intent_api_loc_conf_t  *alcf;

    alcf = ngx_http_get_module_loc_conf(r, ngx_http_intent_api_module);

    if (!json_is_array(ctx->post->root) || alcf->batch == 0) {
        return NGX_OK;
    }

    n = json_array_size(ctx->post->root);

    if (n == 0 || n > (size_t) alcf->batch) {
        ngx_sprintf(detail, "an array must have 1 to %i intents%Z",
                    alcf->batch);

        *answer = ngx_http_intent_api_refuse_post(r, NGX_HTTP_BAD_REQUEST,
                                              NGX_HTTP_INTENT_REJECTED_BATCH,
                                              (char *) detail);
        return NGX_DECLINED;
    }

    if (n > 1 && ngx_http_intent_limit_charge(r, n - 1) == NGX_DECLINED) {
        *answer = ngx_http_intent_api_refuse_post(r,
                                              NGX_HTTP_TOO_MANY_REQUESTS,
                                              NGX_HTTP_INTENT_REJECTED_LIMIT,
                                              NGX_HTTP_INTENT_LIMIT_DETAIL);
        return NGX_DECLINED;
    }

    ctx->post->nitems = n;
    ctx->post->batch = 1;

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_api_refuse_post(ngx_http_request_t *r, ngx_uint_t status,
    ngx_uint_t reason, const char *detail)
{
    ngx_http_intent_api_rejected(NULL, reason);

    return ngx_http_intent_api_problem(r, status, detail, NULL);
}


/* ---- the items ---- */


/* begins the next ones, and, after the last, takes back the one of waiting */

static void
ngx_http_intent_api_run(ngx_http_intent_api_ctx_t *ctx)
{
    json_t                      *json;
    ngx_uint_t                   n;
    ngx_http_intent_api_item_t  *item;
    ngx_http_intent_api_post_t  *post;

    post = ctx->post;
    n = 0;

    while (post->next < post->nitems) {

        if (n == NGX_HTTP_INTENT_API_SIGNATURES) {
            ngx_http_intent_api_run_later(ctx);
            return;
        }

        item = &post->items[post->next];
        json = post->batch ? json_array_get(post->root, post->next)
                           : post->root;

        item->ctx = ctx;
        post->next++;

        ngx_http_intent_api_begin_item(item, json);

        n += item->is_signed;
    }

    json_decref(post->root);
    post->root = NULL;

    if (post->refused) {
        ngx_http_intent_api_look_back(ctx, post->refused);
    }

    post->waiting--;
}


static void
ngx_http_intent_api_run_later(ngx_http_intent_api_ctx_t *ctx)
{
    ngx_event_t  *ev;

    ev = &ctx->post->event;

    ctx->post->dumb.fd = (ngx_socket_t) -1;
    ctx->post->dumb.data = ctx;

    ev->handler = ngx_http_intent_api_run_handler;
    ev->data = &ctx->post->dumb;
    ev->log = ctx->request->connection->log;

    /* no timer keeps an exiting worker from forgetting it */

    ngx_http_intent_hold();
    ngx_post_event(ev, &ngx_posted_next_events);
}


static void
ngx_http_intent_api_run_handler(ngx_event_t *ev)
{
    ngx_connection_t            *c;
    ngx_http_request_t          *r;
    ngx_http_intent_api_ctx_t   *ctx;
    ngx_http_intent_api_post_t  *post;

    c = ev->data;
    ctx = c->data;
    post = ctx->post;
    r = ctx->request;

    ngx_http_intent_release();

    ngx_http_set_log_request(r->connection->log, r);

    /* what nobody waits for any more is not begun */

    if (r->connection->error) {
        post->nitems = post->next;
    }

    post->waiting++;
    ngx_http_intent_api_run(ctx);

    ngx_http_intent_api_done(ctx);
}


static void
ngx_http_intent_api_begin_item(ngx_http_intent_api_item_t *item,
    json_t *json)
{
    ngx_int_t                   rc;
    ngx_http_intent_api_ctx_t  *ctx;

    ctx = item->ctx;

    rc = ngx_http_intent_api_parse(item, json);

    if (!ctx->post->batch) {
        ctx->intent = &item->intent;
        ctx->type = item->type;
    }

    if (rc == NGX_OK && item->is_signed) {
        rc = ngx_http_intent_api_check_signature(item);
    }

    if (rc == NGX_AGAIN) {
        rc = ngx_http_intent_api_ask_wallet(item,
                                          ngx_http_intent_api_wallet_handler);
        if (rc == NGX_OK) {
            ctx->post->waiting++;
            return;
        }
    }

    if (rc == NGX_DECLINED) {
        ngx_http_intent_api_refused(item, &ctx->post->refused);
        return;
    }

    ngx_http_intent_api_go_on(item, rc);
}


/*
 * What is refused now may have been taken before, with the same key: its client
 * has had no answer, and is to have the first one.
 */

static void
ngx_http_intent_api_refused(ngx_http_intent_api_item_t *item,
    ngx_array_t **refused)
{
    ngx_int_t                     rc;
    ngx_pool_t                   *pool;
    ngx_http_intent_api_item_t  **elt;

    pool = item->ctx->request->pool;

    rc = ngx_http_intent_api_refused_admission(item);

    if (rc == NGX_OK && *refused == NULL) {
        *refused = ngx_array_create(pool, 4, sizeof(item));
    }

    if (rc == NGX_OK) {
        elt = *refused ? ngx_array_push(*refused) : NULL;

        if (elt) {
            *elt = item;
            return;
        }

        rc = NGX_ERROR;
    }

    ngx_http_intent_api_go_on(item, rc);
}


/* all that were refused in one query, for there may be many */

static void
ngx_http_intent_api_look_back(ngx_http_intent_api_ctx_t *ctx,
    ngx_array_t *refused)
{
    ngx_uint_t                     i;
    ngx_http_intent_api_item_t   **item;
    ngx_http_intent_admission_t  **admissions;

    admissions = ngx_palloc(ctx->request->pool,
                            refused->nelts
                            * sizeof(ngx_http_intent_admission_t *));

    item = refused->elts;

    for (i = 0; admissions && i < refused->nelts; i++) {
        admissions[i] = item[i]->admission;
    }

    if (admissions
        && ngx_http_intent_store_recall(admissions, refused->nelts,
                                        ngx_http_intent_api_recall_handler,
                                        refused)
           == NGX_OK)
    {
        ctx->post->waiting++;
        return;
    }

    ngx_http_intent_api_looked_back(refused, NGX_ERROR);
}


static void
ngx_http_intent_api_recall_handler(void *data, ngx_int_t rc)
{
    ngx_array_t *refused = data;

    ngx_http_request_t           *r;
    ngx_http_intent_api_item_t  **item;

    item = refused->elts;
    r = item[0]->ctx->request;

    ngx_http_set_log_request(r->connection->log, r);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "intent api recall: %i, %ui keys", rc, refused->nelts);

    ngx_http_intent_api_looked_back(refused, rc);

    ngx_http_intent_api_done(item[0]->ctx);
}


static void
ngx_http_intent_api_looked_back(ngx_array_t *refused, ngx_int_t rc)
{
    ngx_int_t                     known;
    ngx_uint_t                    i;
    ngx_http_intent_api_item_t  **item;

    item = refused->elts;

    for (i = 0; i < refused->nelts; i++) {

        if (rc != NGX_OK) {
            known = ngx_http_intent_api_not_kept(item[i]);

        } else if (item[i]->admission->duplicate
                   == NGX_HTTP_INTENT_DUPLICATE_KEY)
        {
            known = ngx_http_intent_api_known(item[i]);

        } else {
            known = NGX_DECLINED;
        }

        if (known != NGX_OK) {
            ngx_http_intent_api_go_on(item[i], known);
        }
    }
}


static void
ngx_http_intent_api_wallet_handler(void *data, ngx_int_t rc)
{
    ngx_http_intent_api_item_t  *item = data;

    ngx_array_t         *refused;
    ngx_http_request_t  *r;

    r = item->ctx->request;

    ngx_http_set_log_request(r->connection->log, r);

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "intent api wallet: %i", rc);

    rc = ngx_http_intent_api_wallet_said(item, rc);

    /* what nobody waits for any more is not kept */

    if (r->connection->error) {
        rc = NGX_ERROR;
    }

    refused = NULL;

    if (rc == NGX_DECLINED) {
        ngx_http_intent_api_refused(item, &refused);

    } else {
        ngx_http_intent_api_go_on(item, rc);
    }

    if (refused) {
        ngx_http_intent_api_look_back(item->ctx, refused);
    }

    ngx_http_intent_api_done(item->ctx);
}


/* with what is known of an item now: it is kept, or its answer is known */

static void
ngx_http_intent_api_go_on(ngx_http_intent_api_item_t *item, ngx_int_t rc)
{
    if (rc == NGX_OK) {
        rc = ngx_http_intent_api_keep(item);
    }

    switch (rc) {

    case NGX_OK:
        item->ctx->post->waiting++;
        break;

    case NGX_DECLINED:
        item->status = item->problem.status;
        ngx_http_intent_api_rejected(item->type, item->problem.reason);
        break;

    default: /* NGX_ERROR */
        item->status = NGX_HTTP_INTERNAL_SERVER_ERROR;
        item->problem.detail = NULL;
        item->problem.faults.nelts = 0;
    }
}


/* NGX_OK: the store has the intent now; else as for problems */

static ngx_int_t
ngx_http_intent_api_keep(ngx_http_intent_api_item_t *item)
{
    ngx_http_intent_t             *in;
    ngx_http_intent_transition_t  *t;

    in = &item->intent;

    if (ngx_http_intent_id(item->id_buffer) != NGX_OK
        || ngx_http_intent_api_admission(item) != NGX_OK)
    {
        return NGX_ERROR;
    }

    in->id.data = item->id_buffer;
    in->id.len = NGX_HTTP_INTENT_ID_LEN;

    in->webhook = ngx_http_intent_webhook_uri(item->ctx->request);
    in->created_at = ngx_http_intent_now();
    in->updated_at = in->created_at;

    item->change.intent = in;
    item->change.to = NGX_HTTP_INTENT_PENDING;

    t = &item->transition;

    t->changes = &item->change;
    t->nchanges = 1;
    t->record = ngx_http_intent_store_create;
    t->handler = ngx_http_intent_api_kept_handler;
    t->data = item;
    t->log = item->ctx->request->connection->log;

    if (ngx_http_intent_transition(t) == NGX_OK) {
        return NGX_OK;
    }

    return ngx_http_intent_api_not_kept(item);
}


static void
ngx_http_intent_api_kept_handler(ngx_http_intent_transition_t *t, ngx_int_t rc)
{
    ngx_http_intent_api_item_t  *item = t->data;

    ngx_http_request_t  *r;

    r = item->ctx->request;

    ngx_http_set_log_request(r->connection->log, r);

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "intent api kept: %i, refused:%ui, intent %V", rc,
                   item->change.refused, &item->intent.id);

    if (rc == NGX_ERROR) {
        rc = ngx_http_intent_api_unfit(item);

    } else if (rc != NGX_OK) {
        rc = ngx_http_intent_api_not_kept(item);

    } else if (item->change.refused) {
        rc = ngx_http_intent_api_known(item);

    } else {

        /* it is there and will be made, whether or not the client is */

        item->status = NGX_HTTP_ACCEPTED;
        ngx_http_intent_chain_wake(&item->intent.chain);
    }

    if (rc == NGX_DECLINED) {
        item->status = item->problem.status;
        ngx_http_intent_api_rejected(item->type, item->problem.reason);
    }

    ngx_http_intent_api_done(item->ctx);
}


/* it was there before; as for problems */

static ngx_int_t
ngx_http_intent_api_known(ngx_http_intent_api_item_t *item)
{
    switch (item->admission ? item->admission->duplicate
                            : NGX_HTTP_INTENT_DUPLICATE_NONE)
    {

    case NGX_HTTP_INTENT_DUPLICATE_KEY:
        item->status = NGX_HTTP_ACCEPTED;
        item->replayed = 1;
        break;

    case NGX_HTTP_INTENT_DUPLICATE_DIGEST:
        item->status = NGX_HTTP_OK;
        break;

    case NGX_HTTP_INTENT_DUPLICATE_OTHER:
        item->problem.status = NGX_HTTP_CONFLICT;
        item->problem.reason = NGX_HTTP_INTENT_REJECTED_DUPLICATE;
        item->problem.detail = "the Idempotency-Key was used for another "
                               "request";
        return NGX_DECLINED;

    default: /* NGX_HTTP_INTENT_DUPLICATE_NONE */
        return ngx_http_intent_api_not_kept(item);
    }

    item->intent = item->admission->first;

    ngx_http_intent_api_replayed(item->type, !item->replayed);

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_api_not_kept(ngx_http_intent_api_item_t *item)
{
    item->problem.status = NGX_HTTP_SERVICE_UNAVAILABLE;
    item->problem.reason = NGX_HTTP_INTENT_REJECTED_STORE;
    item->problem.detail = "the intent could not be kept, "
                           "please try again later";
    item->problem.faults.nelts = 0;

    return NGX_DECLINED;
}


/* Postgres refused it, and would again */

static ngx_int_t
ngx_http_intent_api_unfit(ngx_http_intent_api_item_t *item)
{
    item->problem.status = NGX_HTTP_INTERNAL_SERVER_ERROR;
    item->problem.reason = NGX_HTTP_INTENT_REJECTED_STORE;
    item->problem.detail = "the intent cannot be kept";

    return NGX_DECLINED;
}


/* in a callback, last: an answer that was waited for has come */

static void
ngx_http_intent_api_done(ngx_http_intent_api_ctx_t *ctx)
{
    ngx_http_request_t  *r;

    if (--ctx->post->waiting) {
        return;
    }

    r = ctx->request;

    ngx_http_intent_api_resume(r);

    ngx_http_intent_api_finalize(r, r->connection->error
                                    ? NGX_ERROR
                                    : ngx_http_intent_api_answer_post(r, ctx));
}
