
/*
 * What nodes mean: every string of appendix A (chains.md), as the clients'
 * sources have it, numbers and all.
 */


#include "unit.h"

#include "../../src/chain/ngx_http_intent_rpc_class.c"


typedef struct {
    ngx_uint_t   class;
    const char  *message;
} case_t;


static case_t  cases[] = {

    { NGX_HTTP_INTENT_RPC_KNOWN, "already known" },
    { NGX_HTTP_INTENT_RPC_KNOWN, "known transaction: 0xabcdef" },
    { NGX_HTTP_INTENT_RPC_KNOWN, "Known transaction" },
    { NGX_HTTP_INTENT_RPC_KNOWN, "existing txn with same hash" },
    { NGX_HTTP_INTENT_RPC_KNOWN, "transaction already imported" },
    { NGX_HTTP_INTENT_RPC_KNOWN,
      "Transaction with the same hash was already imported" },
    { NGX_HTTP_INTENT_RPC_KNOWN, "AlreadyKnown" },
    { NGX_HTTP_INTENT_RPC_KNOWN, "OwnNonceAlreadyUsed" },
    { NGX_HTTP_INTENT_RPC_KNOWN, "alreadyknown" },
    { NGX_HTTP_INTENT_RPC_KNOWN,
      "known transaction. transaction with hash 0xab is already in the "
      "system" },
    { NGX_HTTP_INTENT_RPC_KNOWN, "tx already exists in cache" },
    { NGX_HTTP_INTENT_RPC_KNOWN, "Pool(AlreadyImported)" },

    /* it contains "known transaction" */
    { NGX_HTTP_INTENT_RPC_UNKNOWN, "unknown transaction" },

    { NGX_HTTP_INTENT_RPC_NONCE_LOW, "nonce too low" },
    { NGX_HTTP_INTENT_RPC_NONCE_LOW,
      "nonce too low: next nonce 12, tx nonce 7" },
    { NGX_HTTP_INTENT_RPC_NONCE_LOW, "Nonce too low" },
    { NGX_HTTP_INTENT_RPC_NONCE_LOW, "OldNonce, Current nonce: 12" },
    { NGX_HTTP_INTENT_RPC_NONCE_LOW, "invalid transaction nonce" },
    { NGX_HTTP_INTENT_RPC_NONCE_LOW, "nonce has already been used" },
    { NGX_HTTP_INTENT_RPC_NONCE_LOW,
      "invalid nonce; got 7, expected 12: invalid sequence" },
    { NGX_HTTP_INTENT_RPC_NONCE_LOW,
      "account sequence mismatch: incorrect account sequence" },
    { NGX_HTTP_INTENT_RPC_NONCE_LOW, "mined" },

    { NGX_HTTP_INTENT_RPC_GAP, "nonce too high" },
    { NGX_HTTP_INTENT_RPC_GAP, "Nonce too high" },
    { NGX_HTTP_INTENT_RPC_GAP,
      "Transaction nonce is too distant from current sender nonce" },
    { NGX_HTTP_INTENT_RPC_GAP, "nonce too far in future" },
    { NGX_HTTP_INTENT_RPC_GAP,
      "NonceGap, Future nonce. Expected nonce: 12" },
    { NGX_HTTP_INTENT_RPC_GAP, "delegation nonce gap" },
    { NGX_HTTP_INTENT_RPC_GAP,
      "future transaction tries to replace pending" },
    { NGX_HTTP_INTENT_RPC_GAP,
      "An invalid transaction with a lower nonce exists" },

    { NGX_HTTP_INTENT_RPC_REPLACEMENT,
      "replacement transaction underpriced" },
    { NGX_HTTP_INTENT_RPC_REPLACEMENT,
      "Replacement transaction underpriced" },
    { NGX_HTTP_INTENT_RPC_REPLACEMENT, "could not replace existing tx" },
    { NGX_HTTP_INTENT_RPC_REPLACEMENT,
      "An existing transaction had higher priority" },
    { NGX_HTTP_INTENT_RPC_REPLACEMENT,
      "There is another transaction with same nonce in the queue" },
    { NGX_HTTP_INTENT_RPC_REPLACEMENT, "replacement fee too low" },
    { NGX_HTTP_INTENT_RPC_REPLACEMENT,
      "insufficient gas price to replace existing transaction" },

    { NGX_HTTP_INTENT_RPC_UNDERPRICED, "transaction underpriced" },
    { NGX_HTTP_INTENT_RPC_UNDERPRICED,
      "transaction underpriced: gas tip cap 0, minimum needed 1" },
    { NGX_HTTP_INTENT_RPC_UNDERPRICED, "underpriced" },
    { NGX_HTTP_INTENT_RPC_UNDERPRICED, "fee too low" },
    { NGX_HTTP_INTENT_RPC_UNDERPRICED,
      "Gas price below configured minimum gas price" },
    { NGX_HTTP_INTENT_RPC_UNDERPRICED,
      "Gas price below current base fee" },
    { NGX_HTTP_INTENT_RPC_UNDERPRICED,
      "max fee per gas less than block base fee: address 0xab, "
      "maxFeePerGas: 1, baseFee: 7" },
    { NGX_HTTP_INTENT_RPC_UNDERPRICED,
      "transaction priority fee below minimum required priority fee 1000" },
    { NGX_HTTP_INTENT_RPC_UNDERPRICED, "FeeTooLow, MaxFeePerGas too low" },
    { NGX_HTTP_INTENT_RPC_UNDERPRICED, "FeeTooLowToCompete" },
    { NGX_HTTP_INTENT_RPC_UNDERPRICED, "gas price too low" },

    { NGX_HTTP_INTENT_RPC_BACKPRESSURE, "txpool is full" },
    { NGX_HTTP_INTENT_RPC_BACKPRESSURE, "pending sub-pool is full" },
    { NGX_HTTP_INTENT_RPC_BACKPRESSURE, "baseFee sub-pool is full" },
    { NGX_HTTP_INTENT_RPC_BACKPRESSURE, "queued sub-pool is full" },
    { NGX_HTTP_INTENT_RPC_BACKPRESSURE, "spammer" },
    { NGX_HTTP_INTENT_RPC_BACKPRESSURE, "account limit exceeded" },
    { NGX_HTTP_INTENT_RPC_BACKPRESSURE, "queue full" },
    { NGX_HTTP_INTENT_RPC_BACKPRESSURE,
      "sequencer pending tx pool full, please try again" },
    { NGX_HTTP_INTENT_RPC_BACKPRESSURE, "sender is over rate limit" },
    { NGX_HTTP_INTENT_RPC_BACKPRESSURE, "node is syncing" },
    { NGX_HTTP_INTENT_RPC_BACKPRESSURE,
      "Transaction pool not enabled yet" },
    { NGX_HTTP_INTENT_RPC_BACKPRESSURE,
      "Initial sync is still in progress" },

    { NGX_HTTP_INTENT_RPC_FUNDS,
      "insufficient funds for gas * price + value" },
    { NGX_HTTP_INTENT_RPC_FUNDS,
      "insufficient funds for gas * price + value: have 5 want 7" },
    { NGX_HTTP_INTENT_RPC_FUNDS,
      "Insufficient funds for gas * price + value" },
    { NGX_HTTP_INTENT_RPC_FUNDS, "insufficient funds for transfer" },
    { NGX_HTTP_INTENT_RPC_FUNDS, "Upfront cost exceeds account balance" },
    { NGX_HTTP_INTENT_RPC_FUNDS, "insufficient funds" },
    { NGX_HTTP_INTENT_RPC_FUNDS, "not enough funds for gas" },
    { NGX_HTTP_INTENT_RPC_FUNDS, "transaction would cause overdraft" },
    { NGX_HTTP_INTENT_RPC_FUNDS, "InsufficientFunds, Balance is 0" },
    { NGX_HTTP_INTENT_RPC_FUNDS, "user cant pay the bills" },

    { NGX_HTTP_INTENT_RPC_FEE_CAP,
      "tx fee (1.20 ether) exceeds the configured cap (1.00 ether)" },
    { NGX_HTTP_INTENT_RPC_FEE_CAP,
      "tx fee (12 wei) exceeds the configured cap (10 wei)" },
    { NGX_HTTP_INTENT_RPC_FEE_CAP, "Transaction fee cap exceeded" },

    { NGX_HTTP_INTENT_RPC_FATAL,
      "intrinsic gas too low: have 20000, want 21000" },
    { NGX_HTTP_INTENT_RPC_FATAL, "IntrinsicGas" },
    { NGX_HTTP_INTENT_RPC_FATAL, "Intrinsic gas exceeds gas limit" },
    { NGX_HTTP_INTENT_RPC_FATAL, "exceeds block gas limit" },
    { NGX_HTTP_INTENT_RPC_FATAL,
      "Transaction gas limit exceeds block gas limit" },
    { NGX_HTTP_INTENT_RPC_FATAL, "gas limit reached" },
    { NGX_HTTP_INTENT_RPC_FATAL, "exceeds max transaction gas limit" },
    { NGX_HTTP_INTENT_RPC_FATAL,
      "intrinsic gas too high -- CallGasCostMoreThanGasLimit" },
    { NGX_HTTP_INTENT_RPC_FATAL, "oversized data" },
    { NGX_HTTP_INTENT_RPC_FATAL, "invalid sender" },
    { NGX_HTTP_INTENT_RPC_FATAL, "failed to recover sender" },
    { NGX_HTTP_INTENT_RPC_FATAL, "Invalid signature" },
    { NGX_HTTP_INTENT_RPC_FATAL, "negative value" },
    { NGX_HTTP_INTENT_RPC_FATAL, "gas uint64 overflow" },
    { NGX_HTTP_INTENT_RPC_FATAL, "max initcode size exceeded" },
    { NGX_HTTP_INTENT_RPC_FATAL, "transaction type not supported" },
    { NGX_HTTP_INTENT_RPC_FATAL,
      "invalid chain id for signer: have 1 want 5" },
    { NGX_HTTP_INTENT_RPC_FATAL, "invalid chain ID" },
    { NGX_HTTP_INTENT_RPC_FATAL, "Wrong chainId" },
    { NGX_HTTP_INTENT_RPC_FATAL,
      "max priority fee per gas higher than max fee per gas" },
    { NGX_HTTP_INTENT_RPC_FATAL, "sender not an eoa" },
    { NGX_HTTP_INTENT_RPC_FATAL, "nonce has max value" },

    { NGX_HTTP_INTENT_RPC_REVERT, "execution reverted" },
    { NGX_HTTP_INTENT_RPC_REVERT, "execution reverted: too late" },
    { NGX_HTTP_INTENT_RPC_REVERT, "VM Exception while processing "
                                  "transaction: revert" },
    { NGX_HTTP_INTENT_RPC_REVERT, "EVM error OutOfGas" },
    { NGX_HTTP_INTENT_RPC_REVERT, "EVM error InvalidFEOpcode" },
    { NGX_HTTP_INTENT_RPC_REVERT, "VM execution error." },

    /* what follows is the contract's, and it may be any of the others */
    { NGX_HTTP_INTENT_RPC_REVERT, "execution reverted: rate limit" },
    { NGX_HTTP_INTENT_RPC_REVERT, "execution reverted: method not found" },
    { NGX_HTTP_INTENT_RPC_REVERT, "execution reverted: unknown transaction" },
    { NGX_HTTP_INTENT_RPC_REVERT, "execution reverted: outoffunds" },
    { NGX_HTTP_INTENT_RPC_REVERT, "Execution reverted: EVM error OutOfFunds" },
    { NGX_HTTP_INTENT_RPC_REVERT, "execution reverted: nonce too low" },
    { NGX_HTTP_INTENT_RPC_REVERT, "execution reverted: already known" },
    { NGX_HTTP_INTENT_RPC_REVERT, "execution reverted: invalid signature" },
    { NGX_HTTP_INTENT_RPC_REVERT,
      "execution reverted: insufficient funds for gas * price + value" },
    { NGX_HTTP_INTENT_RPC_REVERT,
      "VM Exception while processing transaction: revert rate limit" },
    { NGX_HTTP_INTENT_RPC_REVERT, "Reverted: syncing" },
    { NGX_HTTP_INTENT_RPC_REVERT,
      "RPC error: execution reverted: txpool is full" },

    /* no code was run, and no contract asked */
    { NGX_HTTP_INTENT_RPC_FUNDS, "EVM error OutOfFunds" },
    { NGX_HTTP_INTENT_RPC_FUNDS, "evm error: OutOfFunds" },
    { NGX_HTTP_INTENT_RPC_FUNDS, "OutOfFunds" },

    /* of blobs and of delegations: later */
    { NGX_HTTP_INTENT_RPC_BACKPRESSURE, "address already reserved" },
    { NGX_HTTP_INTENT_RPC_BACKPRESSURE, "authority already reserved" },

    { NGX_HTTP_INTENT_RPC_UNKNOWN, "" },
    { NGX_HTTP_INTENT_RPC_UNKNOWN, "internal error" },
    { NGX_HTTP_INTENT_RPC_UNKNOWN, "determined" },
    { NGX_HTTP_INTENT_RPC_UNKNOWN, "header not found" },
};


static ngx_str_t
text(const char *s)
{
    return (ngx_str_t) { strlen(s), (u_char *) s };
}


static void
test_classes(void **state)
{
    size_t      i;
    ngx_str_t   message, *is, *should;

    (void) state;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        message = text(cases[i].message);

        is = ngx_http_intent_rpc_class_name(
                                     ngx_http_intent_rpc_classify(&message));
        should = ngx_http_intent_rpc_class_name(cases[i].class);

        if (is != should) {
            fail_msg("\"%s\" is %s, not %s", cases[i].message, is->data,
                     should->data);
        }
    }
}


/* a provider wraps the node's words in its own, at any length */

static void
test_long(void **state)
{
    char        long_text[2000];
    ngx_str_t   message;

    (void) state;

    memset(long_text, 'x', sizeof(long_text));
    memcpy(long_text + 400, "NONCE TOO LOW", 13);

    message.data = (u_char *) long_text;
    message.len = sizeof(long_text);

    assert_int_equal(ngx_http_intent_rpc_classify(&message),
                     NGX_HTTP_INTENT_RPC_NONCE_LOW);

    /* not beyond its end */

    message.len = 412;

    assert_int_equal(ngx_http_intent_rpc_classify(&message),
                     NGX_HTTP_INTENT_RPC_UNKNOWN);
}


static void
test_limit(void **state)
{
    size_t       i;
    ngx_str_t    message;
    const char  *limits[] = {
        "rate limit exceeded", "Too Many Requests",
        "daily request count exceeded, request rate limited",
        "50/second request limit reached - reduce calls per second",
        "Your app has exceeded its compute units per second capacity"
    };
    const char  *others[] = {
        "sender is over rate limit", "exceeds block gas limit",
        "account limit exceeded", "execution reverted", ""
    };

    (void) state;

    for (i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        message = text(limits[i]);
        if (!ngx_http_intent_rpc_is_limit(-32005, &message)) {
            fail_msg("\"%s\" is a limit", limits[i]);
        }
    }

    for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        message = text(others[i]);
        if (ngx_http_intent_rpc_is_limit(-32005, &message)) {
            fail_msg("\"%s\" is no limit", others[i]);
        }
    }

    message = text("whatever");
    assert_true(ngx_http_intent_rpc_is_limit(429, &message));
}


static void
test_unknown_method(void **state)
{
    ngx_str_t  message;

    (void) state;

    message = text("whatever");
    assert_true(ngx_http_intent_rpc_is_unknown_method(-32601, &message));
    assert_false(ngx_http_intent_rpc_is_unknown_method(-32000, &message));

    message = text("the method eth_feeHistory does not exist/is not "
                   "available");
    assert_true(ngx_http_intent_rpc_is_unknown_method(-32000, &message));

    message = text("Method not found");
    assert_true(ngx_http_intent_rpc_is_unknown_method(0, &message));

    /* of a transaction, not of a method */

    message = text("transaction type not supported");
    assert_false(ngx_http_intent_rpc_is_unknown_method(-32000, &message));
}


static void
test_revert(void **state)
{
    size_t       i;
    ngx_str_t    message;
    const char  *reverts[] = {
        "execution reverted: rate limit",
        "execution reverted: Too Many Requests",
        "execution reverted: method not found",
        "Execution reverted: method not supported",
        "VM Exception while processing transaction: reverted with reason "
        "string 'rate limit'",
        "Reverted: rate limit", "EVM error rate limit"
    };
    const char  *limits[] = {
        "rate limit", "rate limit exceeded", "too many requests"
    };

    (void) state;

    for (i = 0; i < sizeof(reverts) / sizeof(reverts[0]); i++) {
        message = text(reverts[i]);

        if (!ngx_http_intent_rpc_is_revert(-32000, &message)
            || ngx_http_intent_rpc_is_limit(-32000, &message)
            || ngx_http_intent_rpc_is_unknown_method(-32000, &message)
            || ngx_http_intent_rpc_is_no_state(&message))
        {
            fail_msg("\"%s\" is a revert", reverts[i]);
        }
    }

    /* by the code alone */

    for (i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        message = text(limits[i]);

        assert_true(ngx_http_intent_rpc_is_revert(3, &message));
        assert_false(ngx_http_intent_rpc_is_limit(3, &message));
        assert_true(ngx_http_intent_rpc_is_revert(-32015, &message));
        assert_false(ngx_http_intent_rpc_is_limit(-32015, &message));

        /* a node's own */

        assert_false(ngx_http_intent_rpc_is_revert(-32005, &message));
        assert_true(ngx_http_intent_rpc_is_limit(-32005, &message));
        assert_true(ngx_http_intent_rpc_is_limit(-32000, &message));
    }

    message = text("method not found");
    assert_true(ngx_http_intent_rpc_is_revert(3, &message));
    assert_false(ngx_http_intent_rpc_is_unknown_method(3, &message));
    assert_false(ngx_http_intent_rpc_is_revert(-32601, &message));

    /* the sender's money, which nethermind tells with the same code */

    message = text("insufficient funds for transfer");
    assert_false(ngx_http_intent_rpc_is_revert(-32015, &message));

    message = text("EVM error OutOfFunds");
    assert_false(ngx_http_intent_rpc_is_revert(-32603, &message));
}


static void
test_no_state(void **state)
{
    ngx_str_t  message;

    (void) state;

    message = text("header not found");
    assert_true(ngx_http_intent_rpc_is_no_state(&message));

    message = text("missing trie node 0xab (path ) state 0xcd is not "
                   "available");
    assert_true(ngx_http_intent_rpc_is_no_state(&message));

    message = text("execution reverted: header not found");
    assert_false(ngx_http_intent_rpc_is_no_state(&message));

    message = text("stack limit reached 1024 (1023)");
    assert_false(ngx_http_intent_rpc_is_no_state(&message));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_unknown_method),
        cmocka_unit_test(test_revert),
        cmocka_unit_test(test_no_state),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
