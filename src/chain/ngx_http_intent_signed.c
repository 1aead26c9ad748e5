
/*
 * Signed intents: the EIP-712 domain of a chain, and wallets that are
 * contracts (EIP-1271), which nobody but the chain can ask.
 */


#include "ngx_http_intent_lane.h"
#include "ngx_http_intent_signed.h"


#define NGX_HTTP_INTENT_SIGNED_TEXT      64      /* bytes of name, version */

#define NGX_HTTP_INTENT_SIGNED_UNDER_WAY 32      /* of a chain, in a worker */
#define NGX_HTTP_INTENT_SIGNED_WAITING   512     /* of all chains, there */
#define NGX_HTTP_INTENT_SIGNED_PATIENCE  5000    /* ms, to be asked at all */
#define NGX_HTTP_INTENT_SIGNED_TRIES     2       /* endpoints asked */
#define NGX_HTTP_INTENT_SIGNED_TIMEOUT   5000    /* ms, for each of them */

/*
 * The caller is anybody and so is the contract: more than any wallet needs,
 * and less than nodes spend on a call of their own accord
 */
#define NGX_HTTP_INTENT_SIGNED_GAS       "0x4c4b40"


typedef struct {
    ngx_queue_t                       queue;
    ngx_msec_t                        since;     /* when it was queued */
    ngx_pool_t                       *pool;
    ngx_http_intent_chain_conf_t     *chain;
    ngx_str_t                         params;
    ngx_uint_t                        tries;
    ngx_http_intent_rpc_endpoint_t   *endpoint;  /* asked last */
    ngx_http_intent_signature_pt      handler;
    void                             *data;
} ngx_http_intent_signed_t;


static ngx_int_t ngx_http_intent_signed_text(ngx_conf_t *cf, ngx_str_t *text);
static ngx_http_intent_chain_conf_t *ngx_http_intent_signed_chain(
    ngx_str_t *name);
static ngx_int_t ngx_http_intent_signed_begin(ngx_http_intent_signed_t *s);
static ngx_int_t ngx_http_intent_signed_params(ngx_http_intent_signed_t *s,
    u_char wallet[EVM_ADDRESS_LEN], u_char digest[EVM_HASH_LEN],
    ngx_str_t *signature);
static ngx_int_t ngx_http_intent_signed_ask(ngx_http_intent_signed_t *s);
static void ngx_http_intent_signed_answered(void *data,
    ngx_http_intent_jsonrpc_t *j, ngx_int_t rc);
static ngx_int_t ngx_http_intent_signed_judge(ngx_http_intent_jsonrpc_t *j);
static void ngx_http_intent_signed_end(ngx_http_intent_signed_t *s,
    ngx_int_t rc);
static void ngx_http_intent_signed_next(ngx_http_intent_chain_conf_t *chain);
static void ngx_http_intent_signed_tell(ngx_http_intent_signed_t *s,
    ngx_int_t rc);


static ngx_uint_t  ngx_http_intent_signed_waiting;


char *
ngx_http_intent_signed_domain(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t                 *value, s;
    ngx_uint_t                 i;
    ngx_http_intent_domain_t  *domain;

    domain = (ngx_http_intent_domain_t *) ((char *) conf + cmd->offset);

    if (domain->name.data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_http_intent_signed_text(cf, &value[1]) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    domain->name = value[1];

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "version=", 8) == 0) {
            s.data = value[i].data + 8;
            s.len = value[i].len - 8;

            if (ngx_http_intent_signed_text(cf, &s) != NGX_OK) {
                return NGX_CONF_ERROR;
            }

            domain->version = s;
            continue;
        }

        if (ngx_strncmp(value[i].data, "verifying_contract=", 19) == 0
            && evm_address_parse((char *) value[i].data + 19,
                                 value[i].len - 19,
                                 domain->verifying_contract)
               == EVM_OK)
        {
            domain->has_contract = 1;
            continue;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\", it should be "
                           "\"version=1\" or \"verifying_contract=0x...\" "
                           "with an address of 40 hex digits, whose "
                           "checksum is right if it is of mixed case",
                           &value[i]);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* wallets show it to people: text, and not much of it */

static ngx_int_t
ngx_http_intent_signed_text(ngx_conf_t *cf, ngx_str_t *text)
{
    u_char    *p, *last;
    uint32_t   ch;

    p = text->data;
    last = p + text->len;

    if (text->len == 0 || text->len > NGX_HTTP_INTENT_SIGNED_TEXT) {
        goto invalid;
    }

    while (p < last) {

        ch = (*p < 0x80) ? *p++ : ngx_utf8_decode(&p, last - p);

        if (ch < 0x20 || ch == 0x7f || ch > 0x10ffff) {
            goto invalid;
        }
    }

    return NGX_OK;

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid name or version \"%V\" of a domain, it should "
                       "be UTF-8 text of 1 to %d bytes", text,
                       NGX_HTTP_INTENT_SIGNED_TEXT);
    return NGX_ERROR;
}


void
ngx_http_intent_signed_init_domain(ngx_http_intent_domain_t *domain,
    uint64_t chain_id)
{
    if (domain->name.data == NULL) {
        ngx_str_set(&domain->name, "Intent Gateway");
    }

    if (domain->version.data == NULL) {
        ngx_str_set(&domain->version, "1");
    }

    domain->chain_id = chain_id;

    evm_eip712_domain((char *) domain->name.data, domain->name.len,
                      (char *) domain->version.data, domain->version.len,
                      chain_id,
                      domain->has_contract ? domain->verifying_contract : NULL,
                      domain->separator);
}


static ngx_http_intent_chain_conf_t *
ngx_http_intent_signed_chain(ngx_str_t *name)
{
    ngx_uint_t                           i;
    ngx_http_intent_chain_conf_t       **chains;
    ngx_http_intent_chain_main_conf_t   *cmcf;

    cmcf = ngx_http_cycle_get_module_main_conf(ngx_cycle,
                                               ngx_http_intent_chain_module);
    chains = cmcf->chains.elts;

    for (i = 0; i < cmcf->chains.nelts; i++) {
        if (name->len == chains[i]->name.len
            && ngx_memcmp(name->data, chains[i]->name.data, name->len) == 0)
        {
            return chains[i];
        }
    }

    return NULL;
}


ngx_http_intent_domain_t *
ngx_http_intent_chain_domain(ngx_str_t *name)
{
    ngx_http_intent_chain_conf_t  *chain;

    chain = ngx_http_intent_signed_chain(name);

    return chain ? &chain->domain : NULL;
}


void
ngx_http_intent_chain_need_domain(ngx_conf_t *cf)
{
    ngx_http_intent_chain_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf,
                                              ngx_http_intent_chain_module);
    cmcf->need_domain = 1;
}


ngx_int_t
ngx_http_intent_chain_check_signature(ngx_str_t *chain,
    u_char wallet[EVM_ADDRESS_LEN], u_char digest[EVM_HASH_LEN],
    ngx_str_t *signature, ngx_http_intent_signature_pt handler, void *data)
{
    ngx_pool_t                    *pool;
    ngx_http_intent_signed_t      *s;
    ngx_http_intent_chain_conf_t  *conf;

    conf = ngx_http_intent_signed_chain(chain);

    if (conf == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_intent_signed_waiting == NGX_HTTP_INTENT_SIGNED_WAITING
        || ngx_http_intent_endpoint_wait(&conf->endpoints))
    {
        return NGX_DECLINED;
    }

    pool = ngx_create_pool(1024, ngx_cycle->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    s = ngx_pcalloc(pool, sizeof(ngx_http_intent_signed_t));

    if (s == NULL) {
        ngx_destroy_pool(pool);
        return NGX_ERROR;
    }

    s->pool = pool;
    s->handler = handler;
    s->data = data;
    s->chain = conf;

    if (ngx_http_intent_signed_params(s, wallet, digest, signature) != NGX_OK
        || ngx_http_intent_signed_begin(s) != NGX_OK)
    {
        ngx_destroy_pool(pool);
        return NGX_ERROR;
    }

    ngx_http_intent_hold();

    return NGX_OK;
}


/* at once, or when those before it have been answered */

static ngx_int_t
ngx_http_intent_signed_begin(ngx_http_intent_signed_t *s)
{
    ngx_http_intent_chain_conf_t  *chain;

    chain = s->chain;

    if (chain->signed_under_way == NGX_HTTP_INTENT_SIGNED_UNDER_WAY
        || !ngx_queue_empty(&chain->signed_waiting))
    {
        s->since = ngx_current_msec;

        ngx_queue_insert_tail(&chain->signed_waiting, &s->queue);
        ngx_http_intent_signed_waiting++;

        return NGX_OK;
    }

    if (ngx_http_intent_signed_ask(s) != NGX_OK) {
        return NGX_ERROR;
    }

    chain->signed_under_way++;

    return NGX_OK;
}


/* isValidSignature(bytes32 hash, bytes signature) */

static ngx_int_t
ngx_http_intent_signed_params(ngx_http_intent_signed_t *s,
    u_char wallet[EVM_ADDRESS_LEN], u_char digest[EVM_HASH_LEN],
    ngx_str_t *signature)
{
    static u_char  selector[] = { 0x16, 0x26, 0xba, 0x7e };

    char        to[EVM_ADDRESS_STR_LEN];
    u_char     *data, *hex, *p;
    size_t      len, padded;
    evm_u256_t  n;

    padded = (signature->len + 31) / 32 * 32;
    len = sizeof(selector) + 3 * 32 + padded;

    data = ngx_pcalloc(s->pool, len);
    hex = ngx_pnalloc(s->pool, 2 + 2 * len);

    s->params.data = ngx_pnalloc(s->pool, 128 + 2 * len);

    if (data == NULL || hex == NULL || s->params.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(data, selector, sizeof(selector));
    p = ngx_cpymem(p, digest, EVM_HASH_LEN);

    evm_u256_set(&n, 2 * 32);
    evm_u256_to_be(&n, p);

    evm_u256_set(&n, signature->len);
    evm_u256_to_be(&n, p + 32);

    ngx_memcpy(p + 64, signature->data, signature->len);

    evm_address_format(wallet, to);

    p = ngx_sprintf(s->params.data,
                    "{\"to\":\"%*s\",\"gas\":\"" NGX_HTTP_INTENT_SIGNED_GAS
                    "\",\"data\":\"%*s\"},\"latest\"",
                    (size_t) EVM_ADDRESS_STR_LEN, to,
                    evm_hex_encode(data, len, (char *) hex), hex);

    s->params.len = p - s->params.data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_intent_signed_ask(ngx_http_intent_signed_t *s)
{
    ngx_http_intent_jsonrpc_t  *j;

    j = ngx_http_intent_jsonrpc_create();
    if (j == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_intent_jsonrpc_add(j, "eth_call", s->params.len, "%V",
                                    &s->params)
        != NGX_OK)
    {
        ngx_http_intent_jsonrpc_destroy(j);
        return NGX_ERROR;
    }

    s->endpoint = ngx_http_intent_endpoint_choose(&s->chain->endpoints,
                                              NGX_HTTP_INTENT_ENDPOINT_READ,
                                              s->endpoint);
    s->tries++;

    j->rpc->timeout = NGX_HTTP_INTENT_SIGNED_TIMEOUT;

    return ngx_http_intent_jsonrpc_send(j, s->endpoint,
                                        ngx_http_intent_signed_answered, s);
}


static void
ngx_http_intent_signed_answered(void *data, ngx_http_intent_jsonrpc_t *j,
    ngx_int_t rc)
{
    ngx_http_intent_signed_t  *s = data;

    ngx_uint_t  level;

    if (rc == NGX_OK) {
        rc = ngx_http_intent_signed_judge(j);
    }

    if (rc != NGX_ERROR) {
        ngx_http_intent_signed_end(s, rc);
        return;
    }

    /* anybody can have this said, as often as they like */

    level = (s->chain->signed_told == ngx_time()) ? NGX_LOG_INFO : NGX_LOG_ERR;
    s->chain->signed_told = ngx_time();

    ngx_log_error(level, ngx_cycle->log, 0,
                  "intent chain \"%V\": rpc \"%V\" did not tell whether a "
                  "signature is good: %V", &s->chain->name,
                  &j->endpoint->uri, &j->reason);

    if (s->tries < NGX_HTTP_INTENT_SIGNED_TRIES
        && ngx_http_intent_signed_ask(s) == NGX_OK)
    {
        return;
    }

    ngx_http_intent_signed_end(s, NGX_ERROR);
}


/*
 * A contract that says anything but yes says no, and so does one that cannot
 * be run to its end, for which every node has words of its own.
 */

static ngx_int_t
ngx_http_intent_signed_judge(ngx_http_intent_jsonrpc_t *j)
{
    static char  magic[] = "0x1626ba7e00000000000000000000000000000000"
                           "000000000000000000000000";

    json_t     *result;
    ngx_str_t   message;

    result = ngx_http_intent_jsonrpc_result(j, 0);

    if (json_is_string(result)) {

        /* as Solidity reads a bytes4: one whole word, and more is no harm */

        return ngx_strncasecmp((u_char *) json_string_value(result),
                               (u_char *) magic, sizeof(magic) - 1)
               == 0 ? NGX_OK : NGX_DECLINED;
    }

    if (result) {
        ngx_str_set(&j->reason, "the result of eth_call is not a string");
        return NGX_ERROR;
    }

    message = ngx_http_intent_jsonrpc_error(j, 0);

    if (ngx_http_intent_rpc_classify(&message)
           == NGX_HTTP_INTENT_RPC_BACKPRESSURE
        || ngx_http_intent_rpc_is_no_state(&message))
    {
        j->reason = message;
        return NGX_ERROR;
    }

    ngx_log_error(NGX_LOG_INFO, ngx_cycle->log, 0,
                  "intent rpc \"%V\" says no to a contract's signature: %V",
                  &j->endpoint->uri, &message);

    return NGX_DECLINED;
}


static void
ngx_http_intent_signed_end(ngx_http_intent_signed_t *s, ngx_int_t rc)
{
    ngx_http_intent_chain_conf_t  *chain;

    chain = s->chain;
    chain->signed_under_way--;

    ngx_http_intent_signed_tell(s, rc);

    ngx_http_intent_signed_next(chain);
}


/* some wait only while others are asked: the end of those is soon enough */

static void
ngx_http_intent_signed_next(ngx_http_intent_chain_conf_t *chain)
{
    ngx_queue_t               *q;
    ngx_http_intent_signed_t  *s;

    while (!ngx_queue_empty(&chain->signed_waiting)
           && chain->signed_under_way < NGX_HTTP_INTENT_SIGNED_UNDER_WAY)
    {
        q = ngx_queue_head(&chain->signed_waiting);
        s = ngx_queue_data(q, ngx_http_intent_signed_t, queue);

        ngx_queue_remove(q);
        ngx_http_intent_signed_waiting--;

        if (ngx_current_msec - s->since > NGX_HTTP_INTENT_SIGNED_PATIENCE
            || ngx_http_intent_endpoint_wait(&chain->endpoints)
            || ngx_http_intent_signed_ask(s) != NGX_OK)
        {
            ngx_http_intent_signed_tell(s, NGX_ERROR);
            continue;
        }

        chain->signed_under_way++;
    }
}


static void
ngx_http_intent_signed_tell(ngx_http_intent_signed_t *s, ngx_int_t rc)
{
    s->handler(s->data, rc);

    ngx_http_intent_release();
    ngx_destroy_pool(s->pool);
}
