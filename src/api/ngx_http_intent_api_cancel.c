
/*
 * DELETE of an intent: it is cancelled, if nothing has been sent.  Postgres
 * decides the race with a lane: the change is refused if the intent is not
 * what it was when it was read, and then it is read again.
 */


#include "ngx_http_intent_api.h"


/* a lane touches a pending intent once in an attempt */
#define NGX_HTTP_INTENT_API_CANCEL_TRIES  5


typedef struct {
    ngx_http_intent_api_ctx_t     *ctx;
    ngx_http_intent_t              intent;
    ngx_uint_t                     tries;
    ngx_http_intent_change_t       change;
    ngx_http_intent_transition_t   transition;
} ngx_http_intent_api_cancel_t;


static ngx_int_t ngx_http_intent_api_cancel_read(
    ngx_http_intent_api_cancel_t *cancel);
static void ngx_http_intent_api_cancel_read_handler(void *data, ngx_int_t rc,
    ngx_http_intent_t *in);
static ngx_int_t ngx_http_intent_api_cancel_judge(
    ngx_http_intent_api_cancel_t *cancel);
static ngx_uint_t ngx_http_intent_api_cancel_allowed(
    ngx_http_intent_api_cancel_t *cancel);
static ngx_int_t ngx_http_intent_api_cancel_write(
    ngx_http_intent_api_cancel_t *cancel);
static void ngx_http_intent_api_cancel_written_handler(
    ngx_http_intent_transition_t *t, ngx_int_t rc);
static ngx_int_t ngx_http_intent_api_cancel_answer(
    ngx_http_intent_api_cancel_t *cancel);
static ngx_int_t ngx_http_intent_api_cancel_too_late(
    ngx_http_intent_api_cancel_t *cancel);
static ngx_int_t ngx_http_intent_api_cancel_failed(
    ngx_http_intent_api_cancel_t *cancel);


ngx_int_t
ngx_http_intent_api_cancel(ngx_http_request_t *r,
    ngx_http_intent_api_ctx_t *ctx)
{
    ngx_int_t                      rc;
    ngx_http_intent_api_cancel_t  *cancel;

    if (ngx_http_intent_api_enter(r, ctx, &rc) != NGX_OK) {
        return rc;
    }

    cancel = ngx_pcalloc(r->pool, sizeof(ngx_http_intent_api_cancel_t));

    if (cancel == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cancel->ctx = ctx;

    rc = ngx_http_intent_api_cancel_read(cancel);

    if (rc != NGX_BUSY) {
        return rc;
    }

    r->main->count++;

    return NGX_DONE;
}


/* NGX_BUSY: a handler will be called; else as for an answer */

static ngx_int_t
ngx_http_intent_api_cancel_read(ngx_http_intent_api_cancel_t *cancel)
{
    ngx_http_request_t  *r;

    r = cancel->ctx->request;

    cancel->tries++;

    if (ngx_http_intent_store_get(&cancel->ctx->id, r->pool,
                                  ngx_http_intent_api_cancel_read_handler,
                                  cancel)
        != NGX_OK)
    {
        return ngx_http_intent_api_cancel_failed(cancel);
    }

    ngx_http_intent_api_wait(r);

    return NGX_BUSY;
}


static void
ngx_http_intent_api_cancel_read_handler(void *data, ngx_int_t rc,
    ngx_http_intent_t *in)
{
    ngx_http_intent_api_cancel_t  *cancel = data;

    ngx_http_request_t  *r;

    r = cancel->ctx->request;

    ngx_http_intent_api_resume(r);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "intent api cancel: %i, intent %V", rc, &cancel->ctx->id);

    if (r->connection->error) {
        ngx_http_intent_api_finalize(r, NGX_ERROR);
        return;
    }

    switch (rc) {

    case NGX_OK:
        cancel->intent = *in;
        cancel->ctx->intent = &cancel->intent;

        rc = ngx_http_intent_api_cancel_judge(cancel);
        break;

    case NGX_DECLINED:
        rc = ngx_http_intent_api_problem(r, NGX_HTTP_NOT_FOUND,
                                         "there is no such intent", NULL);
        break;

    default: /* NGX_ERROR */
        rc = ngx_http_intent_api_cancel_failed(cancel);
    }

    if (rc != NGX_BUSY) {
        ngx_http_intent_api_finalize(r, rc);
    }
}


static ngx_int_t
ngx_http_intent_api_cancel_judge(ngx_http_intent_api_cancel_t *cancel)
{
    if (!ngx_http_intent_api_cancel_allowed(cancel)) {
        return ngx_http_intent_api_problem(cancel->ctx->request,
                                           NGX_HTTP_FORBIDDEN,
                                           "the intent is another user's",
                                           NULL);
    }

    switch (cancel->intent.status) {

    case NGX_HTTP_INTENT_PENDING:
        return ngx_http_intent_api_cancel_write(cancel);

    case NGX_HTTP_INTENT_CANCELLED:
        return ngx_http_intent_api_cancel_answer(cancel);

    default:
        return ngx_http_intent_api_cancel_too_late(cancel);
    }
}


/*
 * Where intent_user knows callers, a user's intents are that user's.  Where no
 * location has it, userId is what somebody said, and knowing the id has to do;
 * where another has, the user may have been known there.  Who signed is more
 * than said, and is never another.
 */

static ngx_uint_t
ngx_http_intent_api_cancel_allowed(ngx_http_intent_api_cancel_t *cancel)
{
    ngx_str_t                        *user;
    ngx_http_intent_t                *in;
    ngx_http_intent_api_main_conf_t  *amcf;

    amcf = ngx_http_get_module_main_conf(cancel->ctx->request,
                                         ngx_http_intent_api_module);
    in = &cancel->intent;
    user = &cancel->ctx->user;

    if (in->user_id.len == 0
        || (!amcf->has_users && in->nonce.len == 0
            && in->signature.len == 0))
    {
        return 1;
    }

    return user->len && ngx_http_intent_api_same_user(user, &in->user_id);
}


static ngx_int_t
ngx_http_intent_api_cancel_write(ngx_http_intent_api_cancel_t *cancel)
{
    ngx_http_request_t            *r;
    ngx_http_intent_transition_t  *t;

    r = cancel->ctx->request;

    cancel->change.intent = &cancel->intent;
    cancel->change.to = NGX_HTTP_INTENT_CANCELLED;

    t = &cancel->transition;

    t->changes = &cancel->change;
    t->nchanges = 1;
    t->record = ngx_http_intent_store_update;
    t->handler = ngx_http_intent_api_cancel_written_handler;
    t->data = cancel;
    t->log = r->connection->log;

    if (ngx_http_intent_transition(t) != NGX_OK) {
        return ngx_http_intent_api_cancel_failed(cancel);
    }

    ngx_http_intent_api_wait(r);

    return NGX_BUSY;
}


static void
ngx_http_intent_api_cancel_written_handler(ngx_http_intent_transition_t *t,
    ngx_int_t rc)
{
    ngx_http_intent_api_cancel_t  *cancel = t->data;

    ngx_http_request_t  *r;

    r = cancel->ctx->request;

    ngx_http_intent_api_resume(r);

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "intent api cancelled: %i, refused:%ui, intent %V", rc,
                   cancel->change.refused, &cancel->intent.id);

    if (r->connection->error) {
        ngx_http_intent_api_finalize(r, NGX_ERROR);
        return;
    }

    if (rc == NGX_OK && !cancel->change.refused) {
        rc = ngx_http_intent_api_cancel_answer(cancel);

    } else if ((rc != NGX_OK && rc != NGX_ABORT)
               || cancel->tries == NGX_HTTP_INTENT_API_CANCEL_TRIES)
    {
        rc = ngx_http_intent_api_cancel_failed(cancel);

    } else {
        rc = ngx_http_intent_api_cancel_read(cancel);
    }

    if (rc != NGX_BUSY) {
        ngx_http_intent_api_finalize(r, rc);
    }
}


static ngx_int_t
ngx_http_intent_api_cancel_answer(ngx_http_intent_api_cancel_t *cancel)
{
    ngx_str_t            json;
    ngx_http_request_t  *r;

    r = cancel->ctx->request;

    json = ngx_http_intent_json(r->pool, &cancel->intent);
    if (json.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_intent_api_send(r, NGX_HTTP_OK, &json);
}


static ngx_int_t
ngx_http_intent_api_cancel_too_late(ngx_http_intent_api_cancel_t *cancel)
{
    u_char               detail[128];
    ngx_http_request_t  *r;

    r = cancel->ctx->request;

    ngx_sprintf(detail, "the status of the intent is \"%V\", only a pending "
                "one can be cancelled%Z",
                ngx_http_intent_status_name(cancel->intent.status));

    return ngx_http_intent_api_problem(r, NGX_HTTP_CONFLICT, (char *) detail,
                                       NULL);
}


static ngx_int_t
ngx_http_intent_api_cancel_failed(ngx_http_intent_api_cancel_t *cancel)
{
    return ngx_http_intent_api_problem(cancel->ctx->request,
                                       NGX_HTTP_SERVICE_UNAVAILABLE,
                                       "the intent could not be cancelled at "
                                       "the moment, please try again later",
                                       NULL);
}
