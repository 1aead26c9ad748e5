
/*
 * Webhooks: who is told of each change of an intent by a POST.
 */


#ifndef _NGX_HTTP_INTENT_WEBHOOK_H_INCLUDED_
#define _NGX_HTTP_INTENT_WEBHOOK_H_INCLUDED_


#include "ngx_http_intent.h"


/*
 * What intent_webhook says where the request is: the uri of the webhook, for
 * new intents; empty: none.
 */
ngx_str_t ngx_http_intent_webhook_uri(ngx_http_request_t *r);


extern ngx_module_t  ngx_http_intent_webhook_module;


#endif /* _NGX_HTTP_INTENT_WEBHOOK_H_INCLUDED_ */
