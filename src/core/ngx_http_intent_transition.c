
/*
 * The status machine, and the one way through it.
 */


#include "ngx_http_intent_core.h"


#define NGX_HTTP_INTENT_TO(status)  (1 << (status))


/* from which status an intent may go to which; a bug where it may not */
static ngx_uint_t  ngx_http_intent_machine[] = {

    /* pending */
    NGX_HTTP_INTENT_TO(NGX_HTTP_INTENT_PENDING)
    |NGX_HTTP_INTENT_TO(NGX_HTTP_INTENT_EXECUTING)
    |NGX_HTTP_INTENT_TO(NGX_HTTP_INTENT_EXPIRED)
    |NGX_HTTP_INTENT_TO(NGX_HTTP_INTENT_CANCELLED),

    /* executing */
    NGX_HTTP_INTENT_TO(NGX_HTTP_INTENT_EXECUTING)
    |NGX_HTTP_INTENT_TO(NGX_HTTP_INTENT_SUCCESS)
    |NGX_HTTP_INTENT_TO(NGX_HTTP_INTENT_FAILED),

    /* success, failed, expired, cancelled */
    0, 0, 0, 0,

    /* new */
    NGX_HTTP_INTENT_TO(NGX_HTTP_INTENT_PENDING)
};


static void ngx_http_intent_transition_undo(ngx_http_intent_change_t *ch);


ngx_int_t
ngx_http_intent_transition(ngx_http_intent_transition_t *t)
{
    int64_t                    now;
    ngx_int_t                  rc;
    ngx_uint_t                 i;
    ngx_http_intent_t         *in;
    ngx_http_intent_change_t  *ch;

    for (i = 0; i < t->nchanges; i++) {
        ch = &t->changes[i];
        in = ch->intent;

        if (in->status > NGX_HTTP_INTENT_NEW
            || ch->to >= NGX_HTTP_INTENT_STATUSES
            || !(ngx_http_intent_machine[in->status]
                 & NGX_HTTP_INTENT_TO(ch->to)))
        {
            ngx_log_error(NGX_LOG_ALERT, t->log, 0,
                          "intent %V cannot go from \"%V\" to \"%V\"",
                          &in->id, ngx_http_intent_status_name(in->status),
                          ngx_http_intent_status_name(ch->to));
            return NGX_ERROR;
        }
    }

    now = ngx_http_intent_now();

    for (i = 0; i < t->nchanges; i++) {
        ch = &t->changes[i];
        in = ch->intent;

        ch->from = in->status;
        ch->was_updated_at = in->updated_at;
        ch->refused = 0;

        in->status = ch->to;
        in->version++;
        in->updated_at = now;

        /*
         * What a duplicate is told is made of the row as it is then, which
         * knows when it was created and not when this was
         */

        if (ch->from == NGX_HTTP_INTENT_NEW) {
            in->updated_at = in->created_at;
        }
    }

    rc = t->record(t);

    if (rc != NGX_OK) {
        for (i = 0; i < t->nchanges; i++) {
            ngx_http_intent_transition_undo(&t->changes[i]);
        }
    }

    return rc;
}


void
ngx_http_intent_transition_done(ngx_http_intent_transition_t *t, ngx_int_t rc)
{
    ngx_uint_t                    i, n;
    ngx_http_intent_change_t     *ch;
    ngx_http_intent_observer_pt  *observers;
    ngx_http_intent_main_conf_t  *imcf;

    imcf = ngx_http_intent_main_conf();
    observers = imcf->observers.elts;

    for (i = 0; i < t->nchanges; i++) {
        ch = &t->changes[i];

        if (rc != NGX_OK || ch->refused) {
            ngx_http_intent_transition_undo(ch);
            continue;
        }

        ngx_log_debug4(NGX_LOG_DEBUG_HTTP, t->log, 0,
                       "intent %V: %V -> %V, version %ui", &ch->intent->id,
                       ngx_http_intent_status_name(ch->from),
                       ngx_http_intent_status_name(ch->to),
                       ch->intent->version);

        for (n = 0; n < imcf->observers.nelts; n++) {
            observers[n](ch->intent, ch->from);
        }
    }

    t->handler(t, rc);
}


static void
ngx_http_intent_transition_undo(ngx_http_intent_change_t *ch)
{
    ch->intent->status = ch->from;
    ch->intent->version--;
    ch->intent->updated_at = ch->was_updated_at;
}
