# What is paid for gas: replacements, the ceiling, nodes that want more.

use strict;
use warnings;

use lib 't/lib';
use IntentTest qw(wait_for wei);
use JSON::PP ();
use Test::More;

my $types = <<'END';
        intent_type transfer {
            label  "transfer";
            param  recipient  address;
            param  amount     uint256  positive;
            call   to=$recipient value=$amount;
        }
END

sub gwei { wei($_[0]) * 1_000_000_000 }
sub hex_of { wei($_[0])->as_hex }

# Blocks of this base fee, until something is so; each is empty for what pays
# less.

sub mine_at {
    my ($t, $fee, $done, $timeout, $what) = @_;

    wait_for(sub {
        $t->rpc('anvil_setNextBlockBaseFeePerGas', hex_of($fee));
        $t->mine;
        return $done->();
    }, $timeout, $what);
}

sub finished {
    my $t = shift;
    return $t->psql("SELECT count(*) FROM intents
                     WHERE status IN ('pending', 'executing')") == 0;
}

# Of every nonce one transaction was mined, the others were dropped, each paid
# an eighth more than the one before it, and none more than it may.

sub fees_ok {
    my ($t, $max_fee, $n) = @_;

    is($t->psql("SELECT count(*) FROM intents WHERE status = 'success'"), $n,
       'all intents are successful');
    is($t->psql("SELECT count(*) FROM intent_transactions WHERE state = 'mined'"), $n,
       'one transaction of each was mined');
    is($t->psql("SELECT count(*) FROM intent_transactions
                 WHERE state IN ('live', 'replaced')"), 0, 'nothing is left');
    is($t->psql("SELECT count(*) FROM intent_transactions
                 WHERE max_fee_per_gas > $max_fee"), 0, 'no fee is above max_fee');
    is($t->psql("SELECT count(*) FROM (
                     SELECT max_fee_per_gas AS fee, max_priority_fee_per_gas AS tip,
                            lag(max_fee_per_gas) OVER w AS fee_before,
                            lag(max_priority_fee_per_gas) OVER w AS tip_before
                     FROM intent_transactions
                     WINDOW w AS (PARTITION BY nonce ORDER BY max_fee_per_gas)) x
                 WHERE fee < fee_before * 1.125 OR tip < tip_before * 1.125"), 0,
       'each replacement pays an eighth more in both fields');
}


subtest 'a base fee that rises twentyfold while transactions wait' => sub {
    my $n = 150;
    my $t = IntentTest->new(anvil => { 'no-mining' => undef }, types => $types,
        chain => { max_fee => '100gwei', replace_after => '1s', poll_interval => '100ms' });
    my $recipient = $t->fresh_address;

    $t->post_intent('transfer', { recipient => $recipient, amount => '1' }) for 1 .. $n;
    wait_for(sub { hex $t->rpc('txpool_status')->{pending} == $n }, 30, 'the pool to have all');

    my $first = $t->psql('SELECT max(max_fee_per_gas) FROM intent_transactions');
    my $high = wei($first) * 10;

    $t->rpc('anvil_setNextBlockBaseFeePerGas', hex_of($high));
    $t->mine;
    is($t->nonce($t->address(0)), 0, "nothing that pays $first is mined at $high");

    mine_at($t, $high, sub { finished($t) }, 60, 'all to be replaced and mined');

    fees_ok($t, gwei(100), $n);
    is($t->balance($recipient)->bstr, $n, 'the sum is right');
    is($t->nonce($t->address(0)), $n, 'no other nonce was used');
    cmp_ok($t->metric('intent_retries_total', chain => 'dev', reason => 'underpriced'), '>=', $n,
           'and counted');

    my $intent = $t->psql("SELECT count(*) FROM intents i JOIN intent_transactions t
                           ON t.intent_id = i.id AND t.hash = i.tx_hash AND t.state = 'mined'
                           AND i.attempts = 1");
    is($intent, $n, 'each intent has the hash of what was mined, and took one attempt');

    $t->nginx_quit;
    $t->clean_ok;
};


subtest 'a base fee above max_fee' => sub {
    my $t = IntentTest->new(anvil => { 'no-mining' => undef }, types => $types,
        chain => { max_fee => '6gwei', replace_after => '500ms', poll_interval => '50ms' });
    my $recipient = $t->fresh_address;

    $t->post_intent('transfer', { recipient => $recipient, amount => '1' }) for 1 .. 5;
    wait_for(sub { hex $t->rpc('txpool_status')->{pending} == 5 }, 30, 'the pool to have all');

    my $end = time + 4;
    mine_at($t, gwei(20), sub { time > $end }, 20, 'some time');

    is($t->nonce($t->address(0)), 0, 'nothing is mined');
    is($t->psql("SELECT count(*) FROM intents WHERE status = 'executing'"), 5,
       'and nothing failed for that');
    is($t->psql("SELECT max(max_fee_per_gas) FROM intent_transactions"), gwei(6)->bstr,
       'all that may be paid is offered');
    cmp_ok($t->psql("SELECT max(n) FROM (SELECT count(*) AS n FROM intent_transactions
                     GROUP BY nonce) x"), '<=', 7, 'and not again and again');

    # a node that has lost them gets the same bytes again

    my @hashes = $t->psql("SELECT '0x' || encode(hash, 'hex') FROM intent_transactions
                           WHERE state = 'live'");
    $t->rpc('anvil_dropTransaction', $_) for @hashes;

    # new ones, which the node does not even take

    my $before = $t->metric('intent_rpc_requests_total', chain => 'dev');
    $t->post_intent('transfer', { recipient => $recipient, amount => '1' }) for 1 .. 3;
    $end = time + 3;
    mine_at($t, gwei(20), sub { time > $end }, 20, 'some time');
    is($t->psql("SELECT count(*) FROM intents WHERE status = 'executing'"), 8,
       'new intents wait, too');
    cmp_ok($t->metric('intent_rpc_requests_total', chain => 'dev') - $before, '<', 3000,
           'and the node is not asked all the time');

    mine_at($t, gwei(1), sub { finished($t) }, 60, 'the fee to be low enough');
    fees_ok($t, gwei(6), 8);
    is_deeply([ sort @hashes ],
              [ sort $t->psql("SELECT '0x' || encode(hash, 'hex') FROM intent_transactions
                               WHERE state = 'mined' AND nonce < 5") ], 'the same transactions');

    $t->nginx_quit;
    $t->clean_ok;
};


subtest 'whichever of two is mined' => sub {
    my $t = IntentTest->new(anvil => { 'no-mining' => undef }, types => $types,
        chain => { replace_after => '500ms', poll_interval => '50ms' });
    my $recipient = $t->fresh_address;

    my $intent = $t->post_intent('transfer', { recipient => $recipient, amount => '3' });
    my $first = $t->wait_intent($intent->{intentId}, 'executing')->{txHash};
    wait_for(sub { $t->rpc('eth_getTransactionByHash', $first) }, 10, 'the node to have it');

    my ($raw) = $t->psql("SELECT '0x' || encode(raw, 'hex') FROM intent_transactions");

    # blocks without it

    my $second;
    $t->rpc('anvil_dropTransaction', $first);
    $t->mine(3);
    wait_for(sub { $second = $t->get_intent($intent->{intentId})->{txHash};
                   $second ne $first }, 20, 'it to be replaced');

    wait_for(sub { $t->rpc('eth_getTransactionByHash', $second) }, 10, 'the node to have it');
    my ($live) = $t->psql("SELECT count(*) FROM intent_transactions WHERE state = 'live'");
    is($live, 1, 'one is live');

    # and now the first one after all; the gateway is stopped meanwhile, or it may send
    # the other one again between two of these

    my @workers = $t->workers;
    kill 'STOP', @workers;

    wait_for(sub {
        my @hashes = $t->psql("SELECT '0x' || encode(hash, 'hex') FROM intent_transactions");
        $t->rpc('anvil_dropTransaction', $_) for @hashes;
        eval { $t->rpc('eth_sendRawTransaction', $raw) };
        return if grep { $_ ne $first && $t->rpc('eth_getTransactionByHash', $_) } @hashes;
        $t->mine;
        $t->rpc('eth_getTransactionReceipt', $first);
    }, 20, 'the first one to be mined');

    kill 'CONT', @workers;

    my $last = $t->wait_intent($intent->{intentId}, 'success');
    is($last->{txHash}, $first, 'the intent names what was mined');
    is($t->balance($recipient)->bstr, '3', 'once');
    fees_ok($t, gwei(500), 1);

    $t->nginx_quit;
    $t->clean_ok;
};


subtest 'a crash between a replacement and its sending' => sub {
    my $t = IntentTest->new(anvil => { 'no-mining' => undef }, types => $types,
        chain => { replace_after => '500ms', poll_interval => '50ms' });
    my $recipient = $t->fresh_address;

    $t->post_intent('transfer', { recipient => $recipient, amount => '1' }) for 1 .. 20;
    wait_for(sub { hex $t->rpc('txpool_status')->{pending} == 20 }, 30, 'the pool to have all');

    # killed when it has begun to replace them, or some of them

    for my $fee (10, 30, 80) {
        my $n = $t->psql('SELECT count(*) FROM intent_transactions');
        mine_at($t, gwei($fee),
                sub { finished($t)
                      || $t->psql('SELECT count(*) FROM intent_transactions') > $n },
                30, 'a replacement');
        $t->nginx_kill;
        $t->nginx_start;
    }

    mine_at($t, gwei(80), sub { finished($t) }, 60, 'all to end');
    fees_ok($t, gwei(500), 20);
    is($t->balance($recipient)->bstr, '20', 'the sum is right');

    $t->nginx_quit;
    $t->clean_ok;
};


subtest 'a transaction of somebody else in the way, that pays more' => sub {
    my $t = IntentTest->new(anvil => { 'no-mining' => undef }, types => $types,
        chain => { max_fee => '100gwei', replace_after => '500ms', poll_interval => '50ms' });
    my $recipient = $t->fresh_address;

    my $intent = $t->post_intent('transfer', { recipient => $recipient, amount => '3' });
    my $first = $t->wait_intent($intent->{intentId}, 'executing')->{txHash};
    wait_for(sub { $t->rpc('eth_getTransactionByHash', $first) }, 10, 'the node to have it');

    $t->rpc('eth_sendTransaction', { from => $t->address(0), to => $t->address(7),
        value => '0x1', nonce => '0x0', gas => '0x5208',
        maxFeePerGas => hex_of(gwei(20)), maxPriorityFeePerGas => hex_of(gwei(15)) });
    ok(!$t->rpc('eth_getTransactionByHash', $first), 'it has taken its place');

    # blocks in which neither is

    mine_at($t, gwei(60), sub { my $hash = $t->get_intent($intent->{intentId})->{txHash};
                                $hash ne $first && $t->rpc('eth_getTransactionByHash', $hash) },
            30, 'ours to pay more than that');

    mine_at($t, gwei(60), sub { finished($t) }, 30, 'it to be mined');
    fees_ok($t, gwei(100), 1);
    is($t->balance($recipient)->bstr, '3', 'once');

    $t->nginx_quit;
    $t->clean_ok;
};


subtest 'a chain without EIP-1559' => sub {
    my $t = IntentTest->new(
        anvil => { hardfork => 'berlin', 'gas-price' => 3_000_000_000, 'no-mining' => undef },
        types => $types,
        chain => { max_fee => '20gwei', replace_after => '500ms', poll_interval => '50ms' });
    my $recipient = $t->fresh_address;

    ok(!defined $t->rpc('eth_getBlockByNumber', 'latest', JSON::PP::false)->{baseFeePerGas},
       'there is no base fee');

    $t->post_intent('transfer', { recipient => $recipient, amount => '1' }) for 1 .. 30;
    wait_for(sub { hex $t->rpc('txpool_status')->{pending} == 30 }, 30, 'the pool to have all');

    my ($hash) = $t->psql("SELECT '0x' || encode(hash, 'hex') FROM intent_transactions
                           WHERE nonce = 0");
    my $tx = $t->rpc('eth_getTransactionByHash', $hash);
    is($tx->{type}, '0x0', 'a legacy transaction');
    is(hex $tx->{v}, 2 * 31337 + 35 + (hex($tx->{v}) + 1) % 2, 'with the chain id in it');
    is($tx->{gasPrice}, hex_of(gwei(3)), 'at the price of the node');

    # some of them are not mined, and replaced

    my @dropped = $t->psql("SELECT '0x' || encode(hash, 'hex') FROM intent_transactions
                            WHERE nonce BETWEEN 0 AND 4");
    $t->rpc('anvil_dropTransaction', $_) for @dropped;
    $t->mine(3);

    wait_for(sub { $t->psql("SELECT count(*) FROM intent_transactions
                             WHERE state = 'replaced'") >= 5 }, 20, 'replacements');
    $t->nginx_kill;
    $t->nginx_start;

    wait_for(sub { $t->mine; finished($t) }, 60, 'all to end');

    fees_ok($t, gwei(20), 30);
    is($t->balance($recipient)->bstr, '30', 'the sum is right');

    my ($cost) = $t->psql('SELECT max(gas_cost / gas_used) FROM intents');
    cmp_ok($cost, '>=', 3e9, 'the cost is known');

    $t->nginx_quit;
    $t->clean_ok;
};


subtest 'replace_after off' => sub {
    my $t = IntentTest->new(anvil => { 'no-mining' => undef }, types => $types,
        chain => { replace_after => 'off', poll_interval => '50ms' });

    $t->post_intent('transfer', { recipient => $t->fresh_address, amount => '3' });
    wait_for(sub { hex $t->rpc('txpool_status')->{pending} == 1 }, 30, 'the pool to have it');

    my $end = time + 3;
    mine_at($t, gwei(20), sub { time > $end }, 20, 'some time');
    is($t->psql('SELECT count(*) FROM intent_transactions'), 1, 'nothing is replaced');

    mine_at($t, gwei(1), sub { finished($t) }, 20, 'it to end');
    fees_ok($t, gwei(500), 1);

    $t->nginx_quit;
    $t->clean_ok;
};


done_testing;
