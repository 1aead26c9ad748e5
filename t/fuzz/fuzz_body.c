
/*
 * The body of a POST, from its bytes to a checked intent and its calldata,
 * under libFuzzer.  It is nginx itself, which has read a configuration with
 * types of every kind; only the request is made by hand, for each input.
 *
 * The first byte of the input says in which location.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_intent_api.h"
#include "ngx_http_intent_chain.h"


#define FUZZ_LOCATIONS  8


#define fuzz_check(expr)                                                      \
    if (!(expr)) {                                                            \
        fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #expr);    \
        abort();                                                              \
    }


static char *fuzz_location(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static ngx_int_t fuzz_write(const char *dir, const char *name,
    const char *text);
static ngx_cycle_t *fuzz_cycle(char *dir);
static void fuzz_request(ngx_http_conf_ctx_t *location, ngx_pool_t *pool,
    const uint8_t *data, size_t len);
static void fuzz_item(ngx_http_intent_api_ctx_t *ctx, json_t *json);
static void fuzz_problem(ngx_http_request_t *r, ngx_uint_t status,
    const char *detail, ngx_array_t *faults);
static void fuzz_intent(ngx_http_request_t *r, ngx_http_intent_type_t *type,
    ngx_http_intent_t *in);


static ngx_command_t  fuzz_commands[] = {

    { ngx_string("intent_fuzz"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      fuzz_location,
      0,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  fuzz_module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_intent_fuzz_module = {
    NGX_MODULE_V1,
    &fuzz_module_ctx,                      /* module context */
    fuzz_commands,                         /* module directives */
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


static const char  fuzz_conf[] =
    "error_log stderr emerg;\n"
    "events { }\n"
    "http {\n"
    "    access_log off;\n"
    "    intent_zone intents 4m;\n"
    "    intent_postgres \"hostaddr=127.0.0.1 port=1 dbname=none\";\n"

    "    intent_chain dev {\n"
    "        chain_id 31337;\n"
    "        rpc /_rpc;\n"
    "        signer key_file=key;\n"
    "        max_fee 500gwei;\n"
    "    }\n"

    "    intent_type transfer {\n"
    "        param recipient address;\n"
    "        param amount uint256 positive;\n"
    "        param token address optional;\n"
    "        call to=$token function=\"transfer(address,uint256)\""
    "             args=$recipient,$amount when=$token;\n"
    "        call to=$recipient value=$amount;\n"
    "    }\n"

    "    intent_type all {\n"
    "        param a address default=0x0000000000000000000000000000000000000001;"
    "\n"
    "        param u uint256 optional min=10 max=1000000000000000000000000;\n"
    "        param i int256 optional min=-5 max=5;\n"
    "        param d decimal=18 optional positive max=1.5;\n"
    "        param b bytes optional length=2-40;\n"
    "        param w bytes32 optional;\n"
    "        param o bool optional;\n"
    "        param s string optional length=1-64;\n"
    "        param e enum=slow|fast default=slow;\n"
    "        call to=$a unless=$o args=$u,$i,$d,$b,$w,$s,$e,$user,$id,$deadline"
    "             function=\"f(uint256,int8,uint256,bytes,bytes32,string,"
                              "string,string,string,uint64)\""
    "             when=$u when=$i when=$d when=$b when=$w when=$s;\n"
    "        call to=$a value=1;\n"
    "    }\n"

    /* whose calls not all params fit, and some of an intent's own do not */

    "    intent_type some {\n"
    "        param u uint256 optional;\n"
    "        param i int256 optional min=-300 max=300;\n"
    "        param b bytes optional length=4;\n"
    "        param n decimal=2 optional;\n"
    "        param t string \"default=x y\";\n"
    "        param o bool default=true;\n"
    "        call to=$user when=$u function=\"f(uint8,address,uint64,bytes)\""
    "             args=$u,$user,$nonce,$signature;\n"
    "        call to=$user when=$i function=\"g(int8,uint32,string)\""
    "             args=$i,$deadline,$t;\n"
    "        call to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=$n"
    "             when=$b when=$n unless=$o function=\"h(bytes4,int128,bool)\""
    "             args=$b,$n,$o;\n"
    "    }\n"

    "    server {\n"
    "        listen unix:%s/socket;\n"
    "        location /_rpc { internal; proxy_pass http://127.0.0.1:1; }\n"
    "        location /a { intent_api; intent_fuzz; }\n"
    "        location /b { intent_api; intent_fuzz;"
    "                      intent_user $http_user; }\n"
    "        location /c { intent_api; intent_fuzz;"
    "                      intent_signature optional; }\n"
    "        location /d { intent_api; intent_fuzz;"
    "                      intent_signature required; }\n"
    "        location /e { intent_api; intent_fuzz; intent_user alice;"
    "                      intent_signature optional; }\n"
    "        location /f { intent_api; intent_fuzz;"
    "                      intent_signature optional; intent_user"
    "                      0x90F79bf6EB2c4f870365E785982E1f101E93b906; }\n"
    "    }\n"
    "}\n";


/* for the first location */
static const uint8_t  fuzz_valid[] =
    "\0{\"type\":\"transfer\",\"params\":{\"amount\":\"5\",\"recipient\":"
    "\"0x70997970C51812dc3A010C7d01b50e0d17dc79C8\"}}";


/* for the third: by the key 7c85…07a6, in the domain of "dev" */
static const uint8_t  fuzz_signed[] =
    "\2{\"type\":\"transfer\",\"params\":{\"amount\":\"5\",\"recipient\":"
    "\"0x70997970C51812dc3A010C7d01b50e0d17dc79C8\"},\"userId\":"
    "\"0x90F79bf6EB2c4f870365E785982E1f101E93b906\",\"expiresAt\":1796000000,"
    "\"signature\":\"0xd071ba3272aab716fb1041770c0c3597c5d5deebae93"
    "3feeb0ac17dc3a2d7c007cea9abfcad9f90baf6ea2f3e0a2c525dce2d7a86901"
    "8a3e8fdbd6ebd2963d721c\"}";


/* it is always the same second here, or what was signed would expire */
static ngx_time_t            fuzz_now = { 1795000000, 0, 0 };

static ngx_log_t            *fuzz_log;
static ngx_http_conf_ctx_t   fuzz_locations[FUZZ_LOCATIONS];
static ngx_uint_t            fuzz_nlocations;
static ngx_uint_t            fuzz_taken;


int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);


static char *
fuzz_location(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_conf_ctx_t  *ctx;

    if (fuzz_nlocations == FUZZ_LOCATIONS) {
        return "stands in too many locations";
    }

    ctx = cf->ctx;
    fuzz_locations[fuzz_nlocations++] = *ctx;

    return NGX_CONF_OK;
}


int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    char          dir[] = "/tmp/intent-fuzz-XXXXXX";
    char          text[sizeof(fuzz_conf) + sizeof(dir)];
    uint8_t       entropy[32];
    ngx_cycle_t  *cycle;

    ngx_argc = *argc;
    ngx_argv = *argv;
    ngx_os_argv = *argv;

    if (mkdtemp(dir) == NULL) {
        abort();
    }

    *ngx_sprintf((u_char *) text, fuzz_conf, dir) = '\0';

    if (fuzz_write(dir, "nginx.conf", text) != NGX_OK
        || fuzz_write(dir, "key", "0xac0974bec39a17e36ba4a6b4d238ff944bacb478"
                                  "cbed5efcae784d7bf4f2ff80\n")
           != NGX_OK)
    {
        abort();
    }

    cycle = fuzz_cycle(dir);

    if (cycle == NULL || fuzz_nlocations == 0) {
        abort();
    }

    ngx_cycle = cycle;

    ngx_memzero(entropy, sizeof(entropy));
    fuzz_check(evm_secp256k1_init(entropy) == EVM_OK);

    *ngx_sprintf((u_char *) text, "rm -r %s", dir) = '\0';
    fuzz_check(system(text) == 0);

    /* a fuzzer that gets nothing accepted looks at half of the code */

    ngx_cached_time = &fuzz_now;

    LLVMFuzzerTestOneInput(fuzz_valid, sizeof(fuzz_valid) - 1);
    fuzz_check(fuzz_taken == 1);

    LLVMFuzzerTestOneInput(fuzz_signed, sizeof(fuzz_signed) - 1);
    fuzz_check(fuzz_taken == 2);

    return 0;
}


static ngx_int_t
fuzz_write(const char *dir, const char *name, const char *text)
{
    int      fd;
    char     path[128];
    ssize_t  n;

    *ngx_sprintf((u_char *) path, "%s/%s", dir, name) = '\0';

    fd = open(path, O_WRONLY|O_CREAT|O_TRUNC, 0600);
    if (fd == -1) {
        return NGX_ERROR;
    }

    n = write(fd, text, ngx_strlen(text));
    close(fd);

    return n == (ssize_t) ngx_strlen(text) ? NGX_OK : NGX_ERROR;
}


/* what main() does until there is a configuration */

static ngx_cycle_t *
fuzz_cycle(char *dir)
{
    static u_char       prefix[128], conf[128];
    static ngx_cycle_t  init;

    ngx_pid = ngx_getpid();
    ngx_time_init();

    init.prefix.data = prefix;
    init.prefix.len = ngx_sprintf(prefix, "%s/%Z", dir) - prefix - 1;
    init.conf_prefix = init.prefix;

    init.conf_file.data = conf;
    init.conf_file.len = ngx_sprintf(conf, "%s/nginx.conf%Z", dir) - conf - 1;

    fuzz_log = ngx_log_init(prefix, (u_char *) "stderr");

    init.log = fuzz_log;
    ngx_cycle = &init;

    init.pool = ngx_create_pool(1024, fuzz_log);

    if (init.pool == NULL
        || ngx_os_init(fuzz_log) != NGX_OK
        || ngx_crc32_table_init() != NGX_OK
        || ngx_preinit_modules() != NGX_OK)
    {
        return NULL;
    }

    ngx_slab_sizes_init();

    return ngx_init_cycle(&init);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    ngx_pool_t  *pool;

    if (len == 0) {
        return 0;
    }

    pool = ngx_create_pool(4096, fuzz_log);
    if (pool == NULL) {
        return 0;
    }

    fuzz_request(&fuzz_locations[data[0] % fuzz_nlocations], pool, data + 1,
                 len - 1);

    ngx_destroy_pool(pool);

    return 0;
}


static void
fuzz_request(ngx_http_conf_ctx_t *location, ngx_pool_t *pool,
    const uint8_t *data, size_t len)
{
    size_t                      i;
    json_t                     *root;
    ngx_str_t                   body;
    ngx_array_t                 faults;
    ngx_http_request_t         *r;
    ngx_http_core_main_conf_t  *cmcf;
    ngx_http_intent_api_ctx_t  *ctx;

    r = ngx_pcalloc(pool, sizeof(ngx_http_request_t));
    ctx = ngx_pcalloc(pool, sizeof(ngx_http_intent_api_ctx_t));

    if (r == NULL || ctx == NULL) {
        return;
    }

    ctx->post = ngx_pcalloc(pool, sizeof(ngx_http_intent_api_post_t));
    if (ctx->post == NULL) {
        return;
    }

    r->pool = pool;
    r->main = r;
    r->main_conf = location->main_conf;
    r->srv_conf = location->srv_conf;
    r->loc_conf = location->loc_conf;

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_core_module);

    r->connection = ngx_pcalloc(pool, sizeof(ngx_connection_t));
    r->variables = ngx_pcalloc(pool, cmcf->variables.nelts
                                     * sizeof(ngx_http_variable_value_t));
    r->ctx = ngx_pcalloc(pool, ngx_http_max_module * sizeof(void *));

    if (r->connection == NULL || r->variables == NULL || r->ctx == NULL) {
        return;
    }

    r->connection->log = fuzz_log;
    r->connection->pool = pool;

    ngx_http_set_ctx(r, ctx, ngx_http_intent_api_module);

    /* a block of its own, so that a read past the end is seen */

    body.len = len;
    body.data = ngx_pnalloc(pool, len ? len : 1);

    if (body.data == NULL
        || ngx_array_init(&faults, pool, 2, sizeof(ngx_http_intent_fault_t))
           != NGX_OK)
    {
        return;
    }

    ngx_memcpy(body.data, data, len);

    ctx->request = r;
    ctx->post->body = body;

    if (ngx_http_intent_api_user(r, ctx) != NGX_OK) {
        return;
    }

    root = ngx_http_intent_api_load(&body, &faults);

    if (root == NULL) {
        fuzz_problem(r, NGX_HTTP_BAD_REQUEST, NULL, &faults);
        return;
    }

    if (json_is_array(root)) {
        for (i = 0; i < json_array_size(root) && i < 4; i++) {
            fuzz_item(ctx, json_array_get(root, i));
        }

    } else {
        fuzz_item(ctx, root);
    }

    json_decref(root);
}


/* whoever is refused is told why */

static void
fuzz_item(ngx_http_intent_api_ctx_t *ctx, json_t *json)
{
    ngx_int_t                    rc;
    ngx_http_intent_api_item_t  *item;

    item = ngx_pcalloc(ctx->request->pool, sizeof(ngx_http_intent_api_item_t));
    if (item == NULL) {
        return;
    }

    item->ctx = ctx;

    rc = ngx_http_intent_api_parse(item, json);

    if (rc == NGX_OK && item->is_signed) {
        rc = ngx_http_intent_api_check_signature(item);
    }

    if (rc == NGX_OK) {
        fuzz_taken++;
        fuzz_intent(ctx->request, item->type, &item->intent);
        return;
    }

    /* there is no node to ask: what if it had said no? */

    if (rc == NGX_AGAIN) {
        rc = ngx_http_intent_api_wallet_said(item, NGX_DECLINED);
    }

    fuzz_check(rc == NGX_DECLINED && item->problem.status >= 400);

    fuzz_problem(ctx->request, item->problem.status, item->problem.detail,
                 &item->problem.faults);
}


/* the answer is JSON, whatever of the body it cites */

static void
fuzz_problem(ngx_http_request_t *r, ngx_uint_t status, const char *detail,
    ngx_array_t *faults)
{
    json_t     *problem;
    ngx_str_t   json;

    fuzz_check(detail || faults->nelts);

    json = ngx_http_intent_api_problem_json(r->pool, status, detail, faults);

    problem = json_loadb((char *) json.data, json.len, JSON_REJECT_DUPLICATES,
                         NULL);
    fuzz_check(problem);
    json_decref(problem);
}


/* what was taken can be carried out, or says why not */

static void
fuzz_intent(ngx_http_request_t *r, ngx_http_intent_type_t *type,
    ngx_http_intent_t *in)
{
    json_t                  *params;
    ngx_int_t                rc;
    ngx_str_t                err, json, again;
    ngx_array_t              faults;
    ngx_http_intent_call_t   call;

    ngx_str_null(&err);

    rc = ngx_http_intent_type_call(type, in, r->pool, &call, &err);
    fuzz_check(rc == NGX_OK || (rc == NGX_DECLINED && err.len));

    json = ngx_http_intent_json(r->pool, in);

    params = json_loadb((char *) json.data, json.len, JSON_REJECT_DUPLICATES,
                        NULL);
    fuzz_check(params);
    json_decref(params);

    /* what is kept is a valid body's params, and canonical: it stays as it is */

    params = json_loadb((char *) in->params.data, in->params.len,
                        JSON_REJECT_DUPLICATES, NULL);

    fuzz_check(params);

    if (ngx_array_init(&faults, r->pool, 2, sizeof(ngx_http_intent_fault_t))
        != NGX_OK)
    {
        json_decref(params);
        return;
    }

    rc = ngx_http_intent_type_check(type, params, &faults, r->pool, &again);

    json_decref(params);

    fuzz_check(rc == NGX_OK
               && again.len == in->params.len
               && ngx_memcmp(again.data, in->params.data, again.len) == 0);
}
