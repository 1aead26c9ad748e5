
/*
 * What nodes mean by their error messages.  Codes say little: the same ones
 * mean different things to different clients.  The strings are those of
 * geth, reth, erigon, nethermind, besu, anvil and arbitrum, as their sources
 * have them.
 */


#include "ngx_http_intent_lane.h"


#define NGX_HTTP_INTENT_RPC_MESSAGE  512


typedef struct {
    ngx_uint_t   class;
    const char  *text;
} ngx_http_intent_rpc_text_t;


/* looked through in this order, in lower case */
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

    { NGX_HTTP_INTENT_RPC_REVERT, "revert" },
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

    len = ngx_min(message->len, NGX_HTTP_INTENT_RPC_MESSAGE);

    ngx_strlow(text, message->data, len);
    text[len] = '\0';

    for (t = ngx_http_intent_rpc_texts; t->text; t++) {
        if (ngx_strstr(text, t->text)) {
            return t->class;
        }
    }

    return NGX_HTTP_INTENT_RPC_UNKNOWN;
}


ngx_str_t *
ngx_http_intent_rpc_class_name(ngx_uint_t class)
{
    return &ngx_http_intent_rpc_classes[ngx_min(class,
                                            NGX_HTTP_INTENT_RPC_UNKNOWN)];
}
