
/*
 * What nodes mean by their error messages.  Codes say little: the same ones
 * mean different things to different clients.  The strings are those of
 * geth, reth, erigon, nethermind, besu, anvil and arbitrum, as their sources
 * have them.
 */


#include "ngx_http_intent_rpc_class.h"


#define NGX_HTTP_INTENT_RPC_MESSAGE  512

/* JSON-RPC 2.0 */
#define NGX_HTTP_INTENT_RPC_NO_METHOD  -32601

/* geth's and anvil's; openethereum's and nethermind's */
#define NGX_HTTP_INTENT_RPC_REVERTED   3
#define NGX_HTTP_INTENT_RPC_VM_ERROR   -32015


typedef struct {
    ngx_uint_t   class;
    const char  *text;
} ngx_http_intent_rpc_text_t;


static ngx_uint_t ngx_http_intent_rpc_says_revert(ngx_str_t *message);
static ngx_uint_t ngx_http_intent_rpc_contains(ngx_str_t *message,
    const char **texts);


/*
 * Of code that was run.  What follows these words are the contract's own, and
 * anybody may write a contract: nothing else is looked for in such a message.
 */
static const char  *ngx_http_intent_rpc_reverts[] = {
    "revert",
    "vm exception",
    "vm execution error",
    "evm error",
    NULL
};

/* revm's, of the sender, and no contract's words are in it */
static const char  *ngx_http_intent_rpc_evm_funds[] = {
    "evm error outoffund",
    "evm error: outoffund",
    NULL
};

/* looked through in this order, in lower case; "=": the whole message */
static ngx_http_intent_rpc_text_t  ngx_http_intent_rpc_texts[] = {

    /* "known transaction" is in it, and it means the opposite */
    { NGX_HTTP_INTENT_RPC_UNKNOWN, "unknown transaction" },

    { NGX_HTTP_INTENT_RPC_FATAL, "intrinsic gas" },
    { NGX_HTTP_INTENT_RPC_FATAL, "intrinsicgas" },
    { NGX_HTTP_INTENT_RPC_FATAL, "exceeds block gas limit" },
    { NGX_HTTP_INTENT_RPC_FATAL, "gas limit reached" },
    { NGX_HTTP_INTENT_RPC_FATAL, "exceeds max transaction gas limit" },
    { NGX_HTTP_INTENT_RPC_FATAL, "oversized data" },
    { NGX_HTTP_INTENT_RPC_FATAL, "invalid sender" },
    { NGX_HTTP_INTENT_RPC_FATAL, "failed to recover sender" },
    { NGX_HTTP_INTENT_RPC_FATAL, "invalid signature" },
    { NGX_HTTP_INTENT_RPC_FATAL, "invalid chain id" },
    { NGX_HTTP_INTENT_RPC_FATAL, "wrong chainid" },
    { NGX_HTTP_INTENT_RPC_FATAL, "negative value" },
    { NGX_HTTP_INTENT_RPC_FATAL, "gas uint64 overflow" },
    { NGX_HTTP_INTENT_RPC_FATAL, "max initcode size exceeded" },
    { NGX_HTTP_INTENT_RPC_FATAL, "transaction type not supported" },
    { NGX_HTTP_INTENT_RPC_FATAL,
      "max priority fee per gas higher than max fee per gas" },
    { NGX_HTTP_INTENT_RPC_FATAL, "sender not an eoa" },
    { NGX_HTTP_INTENT_RPC_FATAL, "nonce has max value" },

    { NGX_HTTP_INTENT_RPC_FUNDS, "outoffunds" },

    { NGX_HTTP_INTENT_RPC_REVERT, "invalid opcode" },
    { NGX_HTTP_INTENT_RPC_REVERT, "out of gas" },
    { NGX_HTTP_INTENT_RPC_REVERT, "stack underflow" },
    { NGX_HTTP_INTENT_RPC_REVERT, "invalid jump destination" },

    { NGX_HTTP_INTENT_RPC_NONCE_LOW, "nonce too low" },
    { NGX_HTTP_INTENT_RPC_NONCE_LOW, "oldnonce" },
    { NGX_HTTP_INTENT_RPC_NONCE_LOW, "invalid transaction nonce" },
    { NGX_HTTP_INTENT_RPC_NONCE_LOW, "nonce has already been used" },
    { NGX_HTTP_INTENT_RPC_NONCE_LOW, "invalid nonce; got" },
    { NGX_HTTP_INTENT_RPC_NONCE_LOW, "incorrect account sequence" },
    { NGX_HTTP_INTENT_RPC_NONCE_LOW, "=mined" },

    { NGX_HTTP_INTENT_RPC_REPLACEMENT,
      "replacement transaction underpriced" },
    { NGX_HTTP_INTENT_RPC_REPLACEMENT, "could not replace existing tx" },
    { NGX_HTTP_INTENT_RPC_REPLACEMENT,
      "existing transaction had higher priority" },
    { NGX_HTTP_INTENT_RPC_REPLACEMENT,
      "another transaction with same nonce" },
    { NGX_HTTP_INTENT_RPC_REPLACEMENT, "replacement fee too low" },
    { NGX_HTTP_INTENT_RPC_REPLACEMENT,
      "insufficient gas price to replace existing transaction" },

    { NGX_HTTP_INTENT_RPC_KNOWN, "already known" },
    { NGX_HTTP_INTENT_RPC_KNOWN, "known transaction" },
    { NGX_HTTP_INTENT_RPC_KNOWN, "alreadyknown" },
    { NGX_HTTP_INTENT_RPC_KNOWN, "already imported" },
    { NGX_HTTP_INTENT_RPC_KNOWN, "existing txn with same hash" },
    { NGX_HTTP_INTENT_RPC_KNOWN, "same hash was already imported" },
    { NGX_HTTP_INTENT_RPC_KNOWN, "tx already exists in cache" },
    { NGX_HTTP_INTENT_RPC_KNOWN, "alreadyimported" },
    { NGX_HTTP_INTENT_RPC_KNOWN, "ownnoncealreadyused" },

    { NGX_HTTP_INTENT_RPC_UNDERPRICED, "transaction underpriced" },
    { NGX_HTTP_INTENT_RPC_UNDERPRICED,
      "max fee per gas less than block base fee" },
    { NGX_HTTP_INTENT_RPC_UNDERPRICED, "fee too low" },
    { NGX_HTTP_INTENT_RPC_UNDERPRICED, "feetoolow" },
    { NGX_HTTP_INTENT_RPC_UNDERPRICED, "gas price too low" },
    { NGX_HTTP_INTENT_RPC_UNDERPRICED,
      "priority fee below minimum required" },
    { NGX_HTTP_INTENT_RPC_UNDERPRICED,
      "gas price below configured minimum" },
    { NGX_HTTP_INTENT_RPC_UNDERPRICED, "below current base fee" },
    { NGX_HTTP_INTENT_RPC_UNDERPRICED, "underpriced" },

    { NGX_HTTP_INTENT_RPC_GAP, "nonce too high" },
    { NGX_HTTP_INTENT_RPC_GAP, "nonce too far in" },
    { NGX_HTTP_INTENT_RPC_GAP, "noncegap" },
    { NGX_HTTP_INTENT_RPC_GAP, "nonce gap" },
    { NGX_HTTP_INTENT_RPC_GAP, "too distant from current sender nonce" },
    { NGX_HTTP_INTENT_RPC_GAP, "future transaction tries to replace" },
    { NGX_HTTP_INTENT_RPC_GAP, "transaction with a lower nonce exists" },

    { NGX_HTTP_INTENT_RPC_FUNDS, "insufficient funds" },
    { NGX_HTTP_INTENT_RPC_FUNDS, "insufficientfunds" },
    { NGX_HTTP_INTENT_RPC_FUNDS, "upfront cost exceeds account balance" },
    { NGX_HTTP_INTENT_RPC_FUNDS, "not enough funds" },
    { NGX_HTTP_INTENT_RPC_FUNDS, "would cause overdraft" },
    { NGX_HTTP_INTENT_RPC_FUNDS, "user cant pay the bills" },

    { NGX_HTTP_INTENT_RPC_BACKPRESSURE, "pool is full" },
    { NGX_HTTP_INTENT_RPC_BACKPRESSURE, "pool full" },
    { NGX_HTTP_INTENT_RPC_BACKPRESSURE, "spammer" },
    { NGX_HTTP_INTENT_RPC_BACKPRESSURE, "account limit exceeded" },
    { NGX_HTTP_INTENT_RPC_BACKPRESSURE, "queue full" },
    { NGX_HTTP_INTENT_RPC_BACKPRESSURE, "syncing" },
    { NGX_HTTP_INTENT_RPC_BACKPRESSURE, "initial sync" },
    { NGX_HTTP_INTENT_RPC_BACKPRESSURE, "pool not enabled" },
    { NGX_HTTP_INTENT_RPC_BACKPRESSURE, "over rate limit" },
    { NGX_HTTP_INTENT_RPC_BACKPRESSURE, "rate limit" },
    { NGX_HTTP_INTENT_RPC_BACKPRESSURE, "too many requests" },
    { NGX_HTTP_INTENT_RPC_BACKPRESSURE, "already reserved" },

    { NGX_HTTP_INTENT_RPC_FEE_CAP, "exceeds the configured cap" },
    { NGX_HTTP_INTENT_RPC_FEE_CAP, "transaction fee cap exceeded" },

    { 0, NULL }
};


/* providers' words for "too many requests", which not all say by HTTP */
static const char  *ngx_http_intent_rpc_limits[] = {
    "rate limit",
    "rate-limit",
    "ratelimit",
    "too many requests",
    "request limit",
    "request count exceeded",
    "compute units",
    "exceeded the quota",
    "quota exceeded",
    NULL
};

/* and for a method that is none */
static const char  *ngx_http_intent_rpc_unknown_methods[] = {
    "method not found",
    "method not supported",
    "unsupported method",
    "method is not available",
    "does not exist/is not available",
    "method is not whitelisted",
    "method not allowed",
    NULL
};


/* and for a block, or its state, that a node does not have, or not yet */
static const char  *ngx_http_intent_rpc_no_states[] = {
    "header not found",
    "block not found",
    "unknown block",
    "missing trie node",
    "state not available",
    "state is not available",
    "state unavailable",
    "historical state",
    NULL
};


static ngx_str_t  ngx_http_intent_rpc_classes[] = {
    ngx_string("known"),
    ngx_string("nonce_low"),
    ngx_string("gap"),
    ngx_string("replacement"),
    ngx_string("underpriced"),
    ngx_string("backpressure"),
    ngx_string("funds"),
    ngx_string("fee_cap"),
    ngx_string("revert"),
    ngx_string("fatal"),
    ngx_string("unknown")
};


ngx_uint_t
ngx_http_intent_rpc_classify(ngx_str_t *message)
{
    u_char                       text[NGX_HTTP_INTENT_RPC_MESSAGE + 1];
    size_t                       len;
    ngx_http_intent_rpc_text_t  *t;

    if (ngx_http_intent_rpc_says_revert(message)) {
        return NGX_HTTP_INTENT_RPC_REVERT;
    }

    len = ngx_min(message->len, NGX_HTTP_INTENT_RPC_MESSAGE);

    ngx_strlow(text, message->data, len);
    text[len] = '\0';

    for (t = ngx_http_intent_rpc_texts; t->text; t++) {
        if (t->text[0] == '=' ? ngx_strcmp(text, t->text + 1) == 0
                              : ngx_strstr(text, t->text) != NULL)
        {
            return t->class;
        }
    }

    return NGX_HTTP_INTENT_RPC_UNKNOWN;
}


ngx_uint_t
ngx_http_intent_rpc_is_revert(int64_t code, ngx_str_t *message)
{
    if (code == NGX_HTTP_INTENT_RPC_REVERTED
        || ngx_http_intent_rpc_says_revert(message))
    {
        return 1;
    }

    /* nethermind says so of a sender who cannot pay, too */

    return code == NGX_HTTP_INTENT_RPC_VM_ERROR
           && ngx_http_intent_rpc_classify(message)
              != NGX_HTTP_INTENT_RPC_FUNDS;
}


static ngx_uint_t
ngx_http_intent_rpc_says_revert(ngx_str_t *message)
{
    const char  **text;

    for (text = ngx_http_intent_rpc_evm_funds; *text; text++) {
        if (message->len >= ngx_strlen(*text)
            && ngx_strncasecmp(message->data, (u_char *) *text,
                               ngx_strlen(*text))
               == 0)
        {
            return 0;
        }
    }

    return ngx_http_intent_rpc_contains(message, ngx_http_intent_rpc_reverts);
}


ngx_uint_t
ngx_http_intent_rpc_is_limit(int64_t code, ngx_str_t *message)
{
    static const char  *senders[] = { "sender", NULL };

    if (code == NGX_HTTP_TOO_MANY_REQUESTS) {
        return 1;
    }

    if (ngx_http_intent_rpc_is_revert(code, message)) {
        return 0;
    }

    /* "sender is over rate limit": another node would say the same */

    return ngx_http_intent_rpc_contains(message, ngx_http_intent_rpc_limits)
           && !ngx_http_intent_rpc_contains(message, senders);
}


ngx_uint_t
ngx_http_intent_rpc_is_unknown_method(int64_t code, ngx_str_t *message)
{
    if (code == NGX_HTTP_INTENT_RPC_NO_METHOD) {
        return 1;
    }

    return !ngx_http_intent_rpc_is_revert(code, message)
           && ngx_http_intent_rpc_contains(message,
                                         ngx_http_intent_rpc_unknown_methods);
}


ngx_uint_t
ngx_http_intent_rpc_is_no_state(ngx_str_t *message)
{
    return !ngx_http_intent_rpc_says_revert(message)
           && ngx_http_intent_rpc_contains(message,
                                           ngx_http_intent_rpc_no_states);
}


static ngx_uint_t
ngx_http_intent_rpc_contains(ngx_str_t *message, const char **texts)
{
    u_char  text[NGX_HTTP_INTENT_RPC_MESSAGE + 1];
    size_t  len;

    len = ngx_min(message->len, NGX_HTTP_INTENT_RPC_MESSAGE);

    ngx_strlow(text, message->data, len);
    text[len] = '\0';

    for ( /* void */ ; *texts; texts++) {
        if (ngx_strstr(text, *texts)) {
            return 1;
        }
    }

    return 0;
}


ngx_str_t *
ngx_http_intent_rpc_class_name(ngx_uint_t class)
{
    return &ngx_http_intent_rpc_classes[ngx_min(class,
                                            NGX_HTTP_INTENT_RPC_UNKNOWN)];
}
