
/*
 * The intent_chain blocks: what may be written in one, and whether it makes
 * sense.
 */


#include "ngx_http_intent_lane.h"
#include "ngx_http_intent_endpoint.h"
#include "ngx_http_intent_signed.h"


/* a bit that no other context of http configuration has */
#define NGX_HTTP_INTENT_CHAIN_CONF  0x00200000

#define NGX_HTTP_INTENT_CHAIN_TEXT    64
#define NGX_HTTP_INTENT_CHAIN_WEIGHT  1000


typedef struct {
    ngx_str_t   name;
    uint64_t    wei;
} ngx_http_intent_chain_unit_t;


static char *ngx_http_intent_chain_block(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_http_intent_chain_text(ngx_str_t *s,
    const char *others);
static char *ngx_http_intent_chain_check(ngx_conf_t *cf,
    ngx_http_intent_chain_conf_t *chain);
static char *ngx_http_intent_chain_chain_id(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_intent_chain_rpc(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_intent_chain_signer(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static ngx_http_intent_signer_t *ngx_http_intent_chain_remote(ngx_conf_t *cf,
    ngx_http_intent_chain_conf_t *chain);
static char *ngx_http_intent_chain_fee(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_intent_chain_replace_after(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_intent_chain_wei(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_http_intent_chain_parse_wei(ngx_str_t *text,
    evm_u256_t *wei);
static char *ngx_http_intent_chain_retry(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


static ngx_conf_num_bounds_t  ngx_http_intent_chain_confirmations = {
    ngx_conf_check_num_bounds, 1, 10000
};

static ngx_conf_num_bounds_t  ngx_http_intent_chain_in_flight = {
    ngx_conf_check_num_bounds, 1, 100000
};

static ngx_http_intent_chain_unit_t  ngx_http_intent_chain_units[] = {
    { ngx_string("wei"), 1 },
    { ngx_string("gwei"), 1000000000 },
    { ngx_string("ether"), 1000000000000000000 },
    { ngx_null_string, 0 }
};


ngx_command_t  ngx_http_intent_chain_commands[] = {

    { ngx_string("intent_chain"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      ngx_http_intent_chain_block,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("chain_id"),
      NGX_HTTP_INTENT_CHAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_intent_chain_chain_id,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("rpc"),
      NGX_HTTP_INTENT_CHAIN_CONF|NGX_CONF_TAKE12,
      ngx_http_intent_chain_rpc,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("signer"),
      NGX_HTTP_INTENT_CHAIN_CONF|NGX_CONF_TAKE12,
      ngx_http_intent_chain_signer,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("confirmations"),
      NGX_HTTP_INTENT_CHAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_intent_chain_conf_t, confirmations),
      &ngx_http_intent_chain_confirmations },

    { ngx_string("poll_interval"),
      NGX_HTTP_INTENT_CHAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_intent_chain_conf_t, poll_interval),
      NULL },

    { ngx_string("max_in_flight"),
      NGX_HTTP_INTENT_CHAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_intent_chain_conf_t, max_in_flight),
      &ngx_http_intent_chain_in_flight },

    { ngx_string("max_fee"),
      NGX_HTTP_INTENT_CHAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_intent_chain_fee,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_intent_chain_conf_t, max_fee),
      NULL },

    { ngx_string("priority_fee"),
      NGX_HTTP_INTENT_CHAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_intent_chain_fee,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_intent_chain_conf_t, priority_fee),
      NULL },

    { ngx_string("replace_after"),
      NGX_HTTP_INTENT_CHAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_intent_chain_replace_after,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_intent_chain_conf_t, replace_after),
      NULL },

    { ngx_string("min_balance"),
      NGX_HTTP_INTENT_CHAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_intent_chain_wei,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_intent_chain_conf_t, min_balance),
      NULL },

    { ngx_string("retry"),
      NGX_HTTP_INTENT_CHAIN_CONF|NGX_CONF_TAKE123,
      ngx_http_intent_chain_retry,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("eip712_domain"),
      NGX_HTTP_INTENT_CHAIN_CONF|NGX_CONF_TAKE123,
      ngx_http_intent_signed_domain,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_intent_chain_conf_t, domain),
      NULL },

      ngx_null_command
};


static char *
ngx_http_intent_chain_block(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_intent_chain_main_conf_t  *cmcf = conf;

    char                           *rv;
    void                          **confs;
    ngx_str_t                      *value;
    ngx_conf_t                      save;
    ngx_uint_t                      i;
    ngx_http_conf_ctx_t            *ctx;
    ngx_http_intent_chain_conf_t   *chain, **chains, **chainp;

    value = cf->args->elts;
    chains = cmcf->chains.elts;

    for (i = 0; i < cmcf->chains.nelts; i++) {
        if (value[1].len == chains[i]->name.len
            && ngx_strncmp(value[1].data, chains[i]->name.data, value[1].len)
               == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate intent_chain \"%V\"", &value[1]);
            return NGX_CONF_ERROR;
        }
    }

    if (ngx_http_intent_chain_text(&value[1], "_.-") != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid intent_chain \"%V\", its name should be "
                           "at most 64 letters, digits, \"_\", \".\" and "
                           "\"-\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    chain = ngx_pcalloc(cf->pool, sizeof(ngx_http_intent_chain_conf_t));
    ctx = ngx_palloc(cf->pool, sizeof(ngx_http_conf_ctx_t));
    confs = ngx_pcalloc(cf->pool, sizeof(void *) * ngx_http_max_module);

    if (chain == NULL || ctx == NULL || confs == NULL
        || ngx_array_init(&chain->endpoints, cf->pool, 2,
                          sizeof(ngx_http_intent_rpc_endpoint_t))
           != NGX_OK
        || ngx_array_init(&chain->signers, cf->pool, 2,
                          sizeof(ngx_http_intent_signer_t *))
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    chain->name = value[1];
    chain->confirmations = NGX_CONF_UNSET_UINT;
    chain->poll_interval = NGX_CONF_UNSET_MSEC;
    chain->max_in_flight = NGX_CONF_UNSET_UINT;
    chain->replace_after = NGX_CONF_UNSET_MSEC;
    ngx_queue_init(&chain->signed_waiting);
    chain->file = cf->conf_file->file.name.data;
    chain->line = cf->conf_file->line;

    *ctx = *(ngx_http_conf_ctx_t *) cf->ctx;
    ctx->loc_conf = confs;
    confs[ngx_http_intent_chain_module.ctx_index] = chain;

    save = *cf;
    cf->ctx = ctx;
    cf->cmd_type = NGX_HTTP_INTENT_CHAIN_CONF;

    rv = ngx_conf_parse(cf, NULL);

    *cf = save;

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    chainp = ngx_array_push(&cmcf->chains);

    if (chainp == NULL
        || ngx_http_intent_add_chain(cf, &chain->name) == NULL)
    {
        return NGX_CONF_ERROR;
    }

    *chainp = chain;

    return ngx_http_intent_chain_check(cf, chain);
}


/* what may stand in a metric's label, a Redis channel and a log as it is */

static ngx_int_t
ngx_http_intent_chain_text(ngx_str_t *s, const char *others)
{
    size_t  i;
    u_char  ch;

    if (s->len == 0 || s->len > NGX_HTTP_INTENT_CHAIN_TEXT) {
        return NGX_ERROR;
    }

    for (i = 0; i < s->len; i++) {
        ch = s->data[i];

        if ((ch >= '0' && ch <= '9')
            || (ch >= 'a' && ch <= 'z')
            || (ch >= 'A' && ch <= 'Z')
            || ngx_strchr(others, ch))
        {
            continue;
        }

        return NGX_ERROR;
    }

    return NGX_OK;
}


static char *
ngx_http_intent_chain_check(ngx_conf_t *cf,
    ngx_http_intent_chain_conf_t *chain)
{
    char  *missing;

    missing = NULL;

    if (chain->chain_id == 0) {
        missing = "chain_id 1;";

    } else if (chain->endpoints.nelts == 0) {
        missing = "rpc /uri-of-an-internal-location;";

    } else if (chain->signers.nelts == 0) {
        missing = "signer key_file=/path/to/key;";

    } else if (chain->max_fee == 0) {
        missing = "max_fee 500gwei;";
    }

    if (missing) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "intent_chain \"%V\" needs \"%s\"", &chain->name,
                           missing);
        return NGX_CONF_ERROR;
    }

    if (chain->priority_fee > chain->max_fee) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"priority_fee\" of intent_chain \"%V\" is more "
                           "than its \"max_fee\"", &chain->name);
        return NGX_CONF_ERROR;
    }

    ngx_conf_init_uint_value(chain->confirmations, 2);
    ngx_conf_init_msec_value(chain->poll_interval, 1000);
    ngx_conf_init_uint_value(chain->max_in_flight, 64);
    ngx_conf_init_msec_value(chain->replace_after, 60000);

    if (chain->poll_interval < 10) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"poll_interval\" of intent_chain \"%V\" should "
                           "be \"10ms\" at the least", &chain->name);
        return NGX_CONF_ERROR;
    }

    if (chain->attempts == 0) {
        chain->attempts = 5;
    }

    if (chain->backoff == 0) {
        chain->backoff = 1000;
    }

    if (chain->max_backoff == 0) {
        chain->max_backoff = ngx_max(chain->backoff, 60000);
    }

    if (chain->max_backoff < chain->backoff) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"max_backoff\" of intent_chain \"%V\" is less "
                           "than its \"backoff\"", &chain->name);
        return NGX_CONF_ERROR;
    }

    chain->own_domain = (chain->domain.name.data != NULL);
    ngx_http_intent_signed_init_domain(&chain->domain, chain->chain_id);

    return NGX_CONF_OK;
}


static char *
ngx_http_intent_chain_chain_id(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_intent_chain_conf_t  *chain = conf;

    off_t       id;
    ngx_str_t  *value;

    if (chain->chain_id) {
        return "is duplicate";
    }

    value = cf->args->elts;
    id = ngx_atoof(value[1].data, value[1].len);

    if (id <= 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid chain id \"%V\", it should be a number "
                           "from 1 on", &value[1]);
        return NGX_CONF_ERROR;
    }

    chain->chain_id = (uint64_t) id;

    return NGX_CONF_OK;
}


static char *
ngx_http_intent_chain_rpc(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_intent_chain_conf_t  *chain = conf;

    ngx_int_t                        weight;
    ngx_str_t                       *value;
    ngx_uint_t                       i;
    ngx_http_intent_rpc_endpoint_t  *e;

    value = cf->args->elts;
    weight = 1;

    if (value[1].len < 2
        || value[1].data[0] != '/'
        || ngx_http_intent_chain_text(&value[1], "/_.-") != NGX_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid rpc \"%V\", it should be the uri of an "
                           "internal location, like \"/_rpc/dev\"",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    e = chain->endpoints.elts;

    for (i = 0; i < chain->endpoints.nelts; i++) {
        if (e[i].uri.len == value[1].len
            && ngx_memcmp(e[i].uri.data, value[1].data, value[1].len) == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "duplicate rpc \"%V\"",
                               &value[1]);
            return NGX_CONF_ERROR;
        }
    }

    if (cf->args->nelts == 3) {

        weight = (ngx_strncmp(value[2].data, "weight=", 7) == 0)
                 ? ngx_atoi(value[2].data + 7, value[2].len - 7) : NGX_ERROR;

        if (weight < 1 || weight > NGX_HTTP_INTENT_CHAIN_WEIGHT) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\", it should be "
                               "\"weight=1\", %d at the most", &value[2],
                               NGX_HTTP_INTENT_CHAIN_WEIGHT);
            return NGX_CONF_ERROR;
        }
    }

    if (chain->endpoints.nelts == NGX_HTTP_INTENT_ENDPOINTS) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "more than %d rpc in one intent_chain",
                           NGX_HTTP_INTENT_ENDPOINTS);
        return NGX_CONF_ERROR;
    }

    e = ngx_array_push(&chain->endpoints);
    if (e == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(e, sizeof(ngx_http_intent_rpc_endpoint_t));

    e->uri = value[1];
    e->weight = weight;
    e->file = cf->conf_file->file.name;
    e->line = cf->conf_file->line;

    return NGX_CONF_OK;
}


static char *
ngx_http_intent_chain_signer(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_intent_chain_conf_t  *chain = conf;

    ngx_str_t                  *value, path, password;
    ngx_uint_t                  i;
    ngx_http_intent_signer_t   *signer, **signers, **sp;

    value = cf->args->elts;

    path.data = value[1].data + 9;
    path.len = value[1].len - 9;

    if (cf->args->nelts == 2
        && ngx_strncmp(value[1].data, "key_file=", 9) == 0)
    {
        signer = ngx_http_intent_signer_key_file(cf, &path);

    } else if (cf->args->nelts == 3
               && ngx_strncmp(value[1].data, "keystore=", 9) == 0
               && ngx_strncmp(value[2].data, "password_file=", 14) == 0)
    {
        password.data = value[2].data + 14;
        password.len = value[2].len - 14;

        signer = ngx_http_intent_signer_keystore(cf, &path, &password);

    } else if (ngx_strncmp(value[1].data, "remote=", 7) == 0) {

        signer = ngx_http_intent_chain_remote(cf, chain);

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter of \"signer\", which is not "
                           "repeated here, for it may be a key: it should "
                           "be \"key_file=/path/to/key\", \"keystore="
                           "/path/to/keystore password_file=/path\" or "
                           "\"remote=/uri address=0x...\"");
        return NGX_CONF_ERROR;
    }

    if (signer == NULL) {
        return NGX_CONF_ERROR;
    }

    signers = chain->signers.elts;

    for (i = 0; i < chain->signers.nelts; i++) {
        if (ngx_memcmp(signers[i]->address, signer->address, EVM_ADDRESS_LEN)
            == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate signer %V", &signer->name);
            return NGX_CONF_ERROR;
        }
    }

    sp = ngx_array_push(&chain->signers);
    if (sp == NULL) {
        return NGX_CONF_ERROR;
    }

    *sp = signer;

    return NGX_CONF_OK;
}


static ngx_http_intent_signer_t *
ngx_http_intent_chain_remote(ngx_conf_t *cf,
    ngx_http_intent_chain_conf_t *chain)
{
    ngx_str_t                       *value, uri, address;
    ngx_uint_t                       i;
    ngx_http_intent_signer_t        *signer, **signers;
    ngx_http_intent_rpc_endpoint_t  *e;

    value = cf->args->elts;

    uri.data = value[1].data + 7;
    uri.len = value[1].len - 7;

    if (uri.len < 2
        || uri.data[0] != '/'
        || ngx_http_intent_chain_text(&uri, "/_.-") != NGX_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid remote signer \"%V\", it should be the "
                           "uri of an internal location, like \"/_signer\"",
                           &uri);
        return NULL;
    }

    if (cf->args->nelts != 3
        || ngx_strncmp(value[2].data, "address=", 8) != 0)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "signer \"remote=%V\" needs \"address=0x...\", "
                           "whose transactions it signs", &uri);
        return NULL;
    }

    address.data = value[2].data + 8;
    address.len = value[2].len - 8;

    signer = ngx_http_intent_signer_remote(cf, &uri, &address);
    if (signer == NULL) {
        return NULL;
    }

    /* one that has several keys is one place all the same */

    signers = chain->signers.elts;

    for (i = 0; i < chain->signers.nelts; i++) {

        if (signers[i]->remote == NULL) {
            continue;
        }

        e = signers[i]->remote->elts;

        if (e->uri.len == uri.len
            && ngx_memcmp(e->uri.data, uri.data, uri.len) == 0)
        {
            signer->remote = signers[i]->remote;
            break;
        }
    }

    return signer;
}


static char *
ngx_http_intent_chain_fee(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    uint64_t    *fee, n;
    ngx_str_t   *value;
    evm_u256_t   wei;

    fee = (uint64_t *) ((char *) conf + cmd->offset);

    if (*fee) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_http_intent_chain_parse_wei(&value[1], &wei) != NGX_OK
        || evm_u256_to_u64(&wei, &n) != EVM_OK
        || n > INT64_MAX)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid fee \"%V\", it should be a whole number "
                           "and its unit, like \"500gwei\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    *fee = n;

    return NGX_CONF_OK;
}


static char *
ngx_http_intent_chain_wei(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t   *value;
    evm_u256_t  *wei;

    wei = (evm_u256_t *) ((char *) conf + cmd->offset);

    if (!evm_u256_is_zero(wei)) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_http_intent_chain_parse_wei(&value[1], wei) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid amount \"%V\", it should be a whole "
                           "number and its unit, like \"10ether\"",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* a whole number, not 0, and its unit */

static ngx_int_t
ngx_http_intent_chain_parse_wei(ngx_str_t *text, evm_u256_t *wei)
{
    off_t                          n;
    size_t                         digits;
    ngx_str_t                      unit;
    ngx_http_intent_chain_unit_t  *u;

    for (digits = 0; digits < text->len; digits++) {
        if (text->data[digits] < '0' || text->data[digits] > '9') {
            break;
        }
    }

    n = ngx_atoof(text->data, digits);
    unit.data = text->data + digits;
    unit.len = text->len - digits;

    for (u = ngx_http_intent_chain_units; u->name.len; u++) {
        if (u->name.len == unit.len
            && ngx_strncmp(u->name.data, unit.data, unit.len) == 0)
        {
            break;
        }
    }

    if (n <= 0 || u->name.len == 0) {
        return NGX_ERROR;
    }

    evm_u256_set(wei, (uint64_t) n);

    return evm_u256_mul_u64(wei, wei, u->wei) == EVM_OK ? NGX_OK : NGX_ERROR;
}


static char *
ngx_http_intent_chain_replace_after(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_intent_chain_conf_t  *chain = conf;

    ngx_int_t   n;
    ngx_str_t  *value;

    if (chain->replace_after != NGX_CONF_UNSET_MSEC) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len == 3 && ngx_strncmp(value[1].data, "off", 3) == 0) {
        chain->replace_after = 0;
        return NGX_CONF_OK;
    }

    n = ngx_parse_time(&value[1], 0);

    if (n <= 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" of \"replace_after\", it "
                           "should be a time, like \"60s\", or \"off\"",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    chain->replace_after = (ngx_msec_t) n;

    return NGX_CONF_OK;
}


static char *
ngx_http_intent_chain_retry(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_intent_chain_conf_t  *chain = conf;

    ngx_int_t    n;
    ngx_str_t   *value, s;
    ngx_uint_t   i;
    ngx_msec_t  *msec;

    if (chain->attempts || chain->backoff || chain->max_backoff) {
        return "is duplicate";
    }

    if (ngx_http_intent_conf_unique(cf, 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "attempts=", 9) == 0) {

            n = ngx_atoi(value[i].data + 9, value[i].len - 9);
            if (n <= 0) {
                goto invalid;
            }

            chain->attempts = n;
            continue;
        }

        if (ngx_strncmp(value[i].data, "backoff=", 8) == 0) {
            msec = &chain->backoff;
            s.data = value[i].data + 8;
            s.len = value[i].len - 8;

        } else if (ngx_strncmp(value[i].data, "max_backoff=", 12) == 0) {
            msec = &chain->max_backoff;
            s.data = value[i].data + 12;
            s.len = value[i].len - 12;

        } else {
            goto invalid;
        }

        n = ngx_parse_time(&s, 0);
        if (n <= 0) {
            goto invalid;
        }

        *msec = n;
    }

    return NGX_CONF_OK;

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\", it should be "
                       "\"attempts=5\", \"backoff=1s\" or "
                       "\"max_backoff=60s\"", &value[i]);
    return NGX_CONF_ERROR;
}
