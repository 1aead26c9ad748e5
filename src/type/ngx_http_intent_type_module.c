
/*
 * The intent_type blocks.
 */


#include "ngx_http_intent_type_conf.h"


static ngx_int_t ngx_http_intent_type_postconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_intent_type_check_chain(ngx_conf_t *cf,
    ngx_http_intent_type_t *type);
static void *ngx_http_intent_type_create_main_conf(ngx_conf_t *cf);
static char *ngx_http_intent_type_block(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_http_intent_type_t *ngx_http_intent_type_add(ngx_conf_t *cf,
    ngx_http_intent_type_main_conf_t *tmcf, ngx_str_t *name);
static char *ngx_http_intent_type_complete(ngx_conf_t *cf,
    ngx_http_intent_type_t *type);
static char *ngx_http_intent_type_label_conf(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_intent_type_chain_conf(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);


static ngx_command_t  ngx_http_intent_type_commands[] = {

    { ngx_string("intent_type"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      ngx_http_intent_type_block,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("label"),
      NGX_HTTP_INTENT_TYPE_CONF|NGX_CONF_TAKE1,
      ngx_http_intent_type_label_conf,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("chain"),
      NGX_HTTP_INTENT_TYPE_CONF|NGX_CONF_TAKE1,
      ngx_http_intent_type_chain_conf,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("param"),
      NGX_HTTP_INTENT_TYPE_CONF|NGX_CONF_2MORE,
      ngx_http_intent_type_param,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("call"),
      NGX_HTTP_INTENT_TYPE_CONF|NGX_CONF_1MORE,
      ngx_http_intent_type_call_conf,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("include"),
      NGX_HTTP_INTENT_TYPE_CONF|NGX_CONF_TAKE1,
      ngx_conf_include,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_intent_type_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_intent_type_postconfiguration, /* postconfiguration */

    ngx_http_intent_type_create_main_conf, /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_intent_type_module = {
    NGX_MODULE_V1,
    &ngx_http_intent_type_module_ctx,      /* module context */
    ngx_http_intent_type_commands,         /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


ngx_http_intent_type_t *
ngx_http_intent_type_find(ngx_str_t *name)
{
    ngx_uint_t                          i;
    ngx_http_intent_type_t            **types;
    ngx_http_intent_type_main_conf_t   *tmcf;

    tmcf = ngx_http_cycle_get_module_main_conf(ngx_cycle,
                                               ngx_http_intent_type_module);
    types = tmcf->types.elts;

    for (i = 0; i < tmcf->types.nelts; i++) {
        if (types[i]->name->name.len == name->len
            && ngx_memcmp(types[i]->name->name.data, name->data, name->len)
               == 0)
        {
            return types[i];
        }
    }

    return NULL;
}


ngx_str_t *
ngx_http_intent_type_name(ngx_http_intent_type_t *type)
{
    return &type->name->name;
}


ngx_str_t *
ngx_http_intent_type_label(ngx_http_intent_type_t *type)
{
    return &type->name->label;
}


ngx_str_t *
ngx_http_intent_type_chain(ngx_http_intent_type_t *type)
{
    return &type->chain;
}


ngx_uint_t
ngx_http_intent_type_is_identifier(ngx_str_t *name)
{
    u_char      ch;
    ngx_uint_t  i;

    for (i = 0; i < name->len; i++) {
        ch = name->data[i];

        if ((ch | 0x20) >= 'a' && (ch | 0x20) <= 'z') {
            continue;
        }

        if (ch == '_' || (i && ch >= '0' && ch <= '9')) {
            continue;
        }

        return 0;
    }

    return name->len && name->len <= 64;
}


ngx_uint_t
ngx_http_intent_type_is_utf8(ngx_str_t *text)
{
    json_t      *json;
    ngx_uint_t   valid;

    json = json_stringn((char *) text->data, text->len);
    valid = (json != NULL);
    json_decref(json);

    return valid;
}


void
ngx_http_intent_type_unquote(ngx_str_t *value)
{
    u_char  ch;

    if (value->len < 2) {
        return;
    }

    ch = value->data[0];

    if ((ch == '"' || ch == '\'') && value->data[value->len - 1] == ch) {
        value->data++;
        value->len -= 2;
    }
}


ngx_http_intent_type_place_t
ngx_http_intent_type_place(ngx_conf_t *cf)
{
    ngx_http_intent_type_place_t  place;

    place.file = cf->conf_file->file.name.data;
    place.line = cf->conf_file->line;

    return place;
}


ngx_str_t
ngx_http_intent_type_list(ngx_pool_t *pool, ngx_array_t *words,
    const char *before)
{
    u_char      *p;
    size_t       len;
    ngx_str_t    list, *word;
    ngx_uint_t   i;

    word = words->elts;
    len = ngx_strlen(before) + 1;

    for (i = 0; i < words->nelts; i++) {
        len += word[i].len + sizeof(" and ") - 1;
    }

    list.len = 0;
    list.data = ngx_pnalloc(pool, len);
    if (list.data == NULL) {
        return list;
    }

    p = ngx_cpymem(list.data, before, ngx_strlen(before));

    for (i = 0; i < words->nelts; i++) {
        if (i) {
            p = (i == words->nelts - 1) ? ngx_cpymem(p, " and ", 5)
                                        : ngx_cpymem(p, ", ", 2);
        }

        p = ngx_cpymem(p, word[i].data, word[i].len);
    }

    list.len = p - list.data;
    *p = '\0';

    return list;
}


static ngx_int_t
ngx_http_intent_type_postconfiguration(ngx_conf_t *cf)
{
    ngx_uint_t                          i;
    ngx_http_intent_type_t            **types;
    ngx_http_intent_type_main_conf_t   *tmcf;

    tmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_intent_type_module);
    types = tmcf->types.elts;

    for (i = 0; i < tmcf->types.nelts; i++) {
        if (types[i]->chain.len
            && ngx_http_intent_type_check_chain(cf, types[i]) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return tmcf->signable.file ? ngx_http_intent_type_check_signable(cf, tmcf)
                               : NGX_OK;
}


static ngx_int_t
ngx_http_intent_type_check_chain(ngx_conf_t *cf, ngx_http_intent_type_t *type)
{
    ngx_uint_t                i;
    ngx_array_t              *chains;
    ngx_http_intent_name_t  **chain;

    chains = ngx_http_intent_chains(cf);
    chain = chains->elts;

    for (i = 0; i < chains->nelts; i++) {
        if (chain[i]->name.len == type->chain.len
            && ngx_memcmp(chain[i]->name.data, type->chain.data,
                          type->chain.len)
               == 0)
        {
            return NGX_OK;
        }
    }

    /* cf has left the block: intent_chain may stand below intent_type */

    ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                  "there is no intent_chain \"%V\" for intent_type \"%V\" "
                  "in %s:%ui", &type->chain, &type->name->name,
                  type->chain_place.file, type->chain_place.line);

    return NGX_ERROR;
}


static void *
ngx_http_intent_type_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_intent_type_main_conf_t  *tmcf;

    tmcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_intent_type_main_conf_t));
    if (tmcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&tmcf->types, cf->pool, 4,
                       sizeof(ngx_http_intent_type_t *))
        != NGX_OK)
    {
        return NULL;
    }

    return tmcf;
}


static char *
ngx_http_intent_type_block(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_intent_type_main_conf_t  *tmcf = conf;

    char                     *rv;
    ngx_str_t                *value;
    ngx_uint_t                i;
    ngx_conf_t                save;
    ngx_http_intent_type_t   *type, **types;

    value = cf->args->elts;

    if (!ngx_http_intent_type_is_identifier(&value[1])) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid intent_type name \"%V\", it should be up "
                           "to 64 letters, digits and \"_\", no digit first",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    types = tmcf->types.elts;

    for (i = 0; i < tmcf->types.nelts; i++) {
        if (types[i]->name->name.len == value[1].len
            && ngx_memcmp(types[i]->name->name.data, value[1].data,
                          value[1].len)
               == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate intent_type \"%V\", "
                               "each needs a name of its own", &value[1]);
            return NGX_CONF_ERROR;
        }
    }

    type = ngx_http_intent_type_add(cf, tmcf, &value[1]);
    if (type == NULL) {
        return NGX_CONF_ERROR;
    }

    save = *cf;
    cf->cmd_type = NGX_HTTP_INTENT_TYPE_CONF;

    rv = ngx_conf_parse(cf, NULL);

    *cf = save;

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    return ngx_http_intent_type_complete(cf, type);
}


static ngx_http_intent_type_t *
ngx_http_intent_type_add(ngx_conf_t *cf,
    ngx_http_intent_type_main_conf_t *tmcf, ngx_str_t *name)
{
    ngx_http_intent_type_t  *type, **types;

    type = ngx_pcalloc(cf->pool, sizeof(ngx_http_intent_type_t));
    if (type == NULL) {
        return NULL;
    }

    type->name = ngx_http_intent_add_type(cf, name);
    if (type->name == NULL) {
        return NULL;
    }

    type->name->label = *name;
    type->place = ngx_http_intent_type_place(cf);

    if (ngx_array_init(&type->params, cf->pool, 4,
                       sizeof(ngx_http_intent_param_t))
        != NGX_OK
        || ngx_array_init(&type->calls, cf->pool, 2,
                          sizeof(ngx_http_intent_type_call_t))
           != NGX_OK)
    {
        return NULL;
    }

    types = ngx_array_push(&tmcf->types);
    if (types == NULL) {
        return NULL;
    }

    *types = type;

    return type;
}


/* what is made once at the end of a block, so that no check has to */

static char *
ngx_http_intent_type_complete(ngx_conf_t *cf, ngx_http_intent_type_t *type)
{
    ngx_str_t                *word;
    ngx_uint_t                i;
    ngx_array_t               words;
    ngx_http_intent_param_t  *params;

    if (type->calls.nelts == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no \"call\" in intent_type \"%V\", it should say "
                           "what such an intent does, "
                           "like \"call to=$recipient value=$amount;\"",
                           &type->name->name);
        return NGX_CONF_ERROR;
    }

    type->title.len = type->name->label.len;
    type->title.data = ngx_pstrdup(cf->pool, &type->name->label);
    if (type->title.data == NULL) {
        return NGX_CONF_ERROR;
    }

    type->title.data[0] = ngx_toupper(type->title.data[0]);

    if (ngx_array_init(&words, cf->temp_pool, 4, sizeof(ngx_str_t))
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    params = type->params.elts;

    for (i = 0; i < type->params.nelts; i++) {
        if (params[i].optional) {
            continue;
        }

        word = ngx_array_push(&words);
        if (word == NULL) {
            return NGX_CONF_ERROR;
        }

        *word = params[i].name;
    }

    type->required = ngx_http_intent_type_list(cf->pool, &words, "");
    if (type->required.data == NULL) {
        return NGX_CONF_ERROR;
    }

    return (ngx_http_intent_type_struct_init(cf, type) == NGX_OK)
           ? NGX_CONF_OK : NGX_CONF_ERROR;
}


static char *
ngx_http_intent_type_label_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_intent_type_main_conf_t  *tmcf = conf;

    ngx_str_t               *value;
    ngx_http_intent_type_t  *type;

    value = cf->args->elts;
    type = ngx_http_intent_type_current(tmcf);

    if (type->name->label.data != type->name->name.data) {
        return "is duplicate";
    }

    if (value[1].len == 0) {
        return "is empty, it should be what users call such an intent, "
               "like \"transfer\"";
    }

    if (!ngx_http_intent_type_is_utf8(&value[1])) {
        return "is not valid UTF-8, it should be";
    }

    type->name->label = value[1];

    return NGX_CONF_OK;
}


static char *
ngx_http_intent_type_chain_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_intent_type_main_conf_t  *tmcf = conf;

    ngx_str_t               *value;
    ngx_http_intent_type_t  *type;

    value = cf->args->elts;
    type = ngx_http_intent_type_current(tmcf);

    if (type->chain.data) {
        return "is duplicate";
    }

    if (value[1].len == 0) {
        return "is empty, it should name an intent_chain";
    }

    type->chain = value[1];
    type->chain_place = ngx_http_intent_type_place(cf);

    return NGX_CONF_OK;
}
