# What a lane does when the chain is not as it was thought to be.

use strict;
use warnings;

use lib 't/lib';
use IntentTest qw(wait_for wei);
use Test::More;
use Time::HiRes qw(sleep);

my $types = <<'END';
        intent_type transfer {
            label  "transfer";
            param  recipient  address;
            param  amount     uint256  positive;
            call   to=$recipient value=$amount;
        }

        intent_type greedy {
            label  "transfer with more gas than a block has";
            param  recipient  address;
            call   to=$recipient value=1 gas=900000000;
        }

        intent_type unchecked {
            label  "unchecked token transfer";
            param  token      address;
            param  recipient  address;
            param  amount     uint256;
            call   to=$token function="transfer(address,uint256)"
                   args=$recipient,$amount gas=100000;
        }
END

sub mined_once {
    my ($t, $intent, $what) = @_;

    my ($n) = $t->psql("SELECT count(*) FROM intent_transactions
                        WHERE intent_id = '$intent->{intentId}' AND state = 'mined'");
    is($n, 1, "$what: one transaction was mined");
}


subtest 'a transaction that the node will never take' => sub {
    my $t = IntentTest->new(anvil => {}, types => $types);
    my $recipient = $t->fresh_address;

    my $greedy = $t->post_intent('greedy', { recipient => $recipient });
    my $next = $t->post_intent('transfer', { recipient => $recipient, amount => '5' });

    $greedy = $t->wait_intent($greedy->{intentId}, 'failed');
    like($greedy->{error}, qr/gas/i, "fails, and says why: $greedy->{error}");

    $t->wait_intent($next->{intentId}, 'success');
    is($t->balance($recipient)->bstr, '5', 'and the one behind it goes on');

    $t->nginx_quit;
    $t->clean_ok;
};


subtest 'a call that reverts when it is mined' => sub {
    my $t = IntentTest->new(anvil => {}, types => $types);
    my $token = $t->deploy_token;

    my $intent = $t->post_intent('unchecked',
        { token => $token, recipient => $t->fresh_address, amount => '1' });

    $intent = $t->wait_intent($intent->{intentId}, 'failed');

    is($intent->{error}, 'execution reverted: transfer amount exceeds balance',
       'the reason is told');
    like($intent->{txHash}, qr/^0x/, 'there is a transaction');
    cmp_ok($intent->{gasUsed}, '>', 21000, 'which has used gas');
    cmp_ok($intent->{gasCost}, '>', 0, 'and cost something');

    $t->nginx_quit;
    $t->clean_ok;
};


subtest 'nonces used by another program with the same key' => sub {
    my $t = IntentTest->new(anvil => { 'block-time' => 1 }, types => $types);
    my $recipient = $t->fresh_address;
    my @intents;

    for my $round (1 .. 5) {
        push @intents, $t->post_intent('transfer', { recipient => $recipient, amount => '1' });

        # anvil signs for its own accounts; the gateway may be quicker
        wait_for(sub { eval { $t->rpc('eth_sendTransaction',
            { from => $t->address(0), to => $t->address(7), value => '0x1' }) } },
            10, 'anvil to take it');
        $t->mine;

        push @intents, $t->post_intent('transfer', { recipient => $recipient, amount => '1' });
    }

    for my $intent (@intents) {
        $t->wait_intent($intent->{intentId}, 'success', 60);
        mined_once($t, $intent, 'each intent');
    }

    is($t->balance($recipient)->bstr, '10', 'the sum is right');

    $t->nginx_quit;
    $t->clean_ok;
};


subtest 'transactions that the node forgets' => sub {
    my $t = IntentTest->new(anvil => { 'no-mining' => undef }, types => $types);
    my $recipient = $t->fresh_address;

    my @intents = map {
        $t->post_intent('transfer', { recipient => $recipient, amount => '1' })
    } 1 .. 3;

    my @executing = map { $t->wait_intent($_->{intentId}, 'executing') } @intents;

    $t->rpc('anvil_dropTransaction', $executing[0]{txHash});
    $t->rpc('anvil_dropTransaction', $executing[1]{txHash});
    my $begin = time;

    wait_for(sub { $t->mine;
                   $t->get_intent($intents[2]{intentId})->{status} eq 'success' },
             60, 'the forgotten ones to be sent again');

    # and not only when nothing was heard of them for long, which is 15 s

    cmp_ok(time - $begin, '<', 12, 'soon');

    for my $i (0 .. 2) {
        my $intent = $t->wait_intent($intents[$i]{intentId}, 'success');
        is($intent->{txHash}, $executing[$i]{txHash}, 'the same transaction');
    }

    is($t->balance($recipient)->bstr, '3', 'the sum is right');

    $t->nginx_quit;
    $t->clean_ok;
};


subtest 'a reorganisation' => sub {
    my $t = IntentTest->new(anvil => { 'no-mining' => undef }, types => $types,
                            chain => { confirmations => 3, poll_interval => '50ms' });
    my $recipient = $t->fresh_address;

    my $intent = $t->post_intent('transfer', { recipient => $recipient, amount => '9' });
    $t->wait_intent($intent->{intentId}, 'executing');
    my $version;

    $t->mine;
    wait_for(sub { my $i = $t->get_intent($intent->{intentId});
                   $version = $i->{version};
                   defined $i->{blockNumber} }, 10, 'the block to be told');

    # the block is taken back, and another one without it comes, before the gateway
    # sees that it is gone

    my $block = $t->block_number;
    my @workers = $t->workers;
    kill 'STOP', @workers;
    $t->rpc('anvil_rollback', 1);
    $t->rpc('anvil_dropTransaction', $_)
        for map { $_->{hash} } map { values %$_ }
            values %{ $t->rpc('txpool_content')->{pending} };
    $t->mine(2);
    kill 'CONT', @workers;

    wait_for(sub { my $i = $t->get_intent($intent->{intentId});
                   $i->{status} eq 'executing' && !defined $i->{blockNumber}
                   && $i->{version} > $version }, 10, 'the block to be taken back');
    is($t->balance($recipient)->bstr, '0', 'the transaction is not on the chain');

    wait_for(sub { $t->mine;
                   $t->get_intent($intent->{intentId})->{status} eq 'success' },
             60, 'it to be mined again');

    $intent = $t->get_intent($intent->{intentId});
    cmp_ok($intent->{blockNumber}, '>', $block, 'in a later block');
    cmp_ok($intent->{confirmations}, '>=', 3, 'as deep as it should be');
    is($t->balance($recipient)->bstr, '9', 'once');
    mined_once($t, $intent, 'it');

    $t->nginx_quit;
    $t->clean_ok;
};


subtest 'a test chain that starts from nothing again' => sub {
    my $t = IntentTest->new(anvil => {}, types => $types);
    my $recipient = $t->fresh_address;

    for (1 .. 3) {
        my $intent = $t->post_intent('transfer', { recipient => $recipient, amount => '1' });
        $t->wait_intent($intent->{intentId}, 'success');
    }

    $t->nginx_quit;
    $t->rpc('anvil_reset');
    is($t->nonce($t->address(0)), 0, 'the chain has forgotten the signer');
    $t->nginx_start;

    my $intent = $t->post_intent('transfer', { recipient => $recipient, amount => '4' });
    $t->wait_intent($intent->{intentId}, 'success');
    is($t->balance($recipient)->bstr, '4', 'the gateway goes on from there');

    $t->nginx_quit;
    $t->clean_ok;
};


subtest 'a test chain that starts from nothing under a running gateway' => sub {
    my $t = IntentTest->new(anvil => { 'block-time' => 1 }, types => $types,
                            chain => { poll_interval => '50ms' });
    my $recipient = $t->fresh_address;

    for (1 .. 3) {
        my $intent = $t->post_intent('transfer', { recipient => $recipient, amount => '1' });
        $t->wait_intent($intent->{intentId}, 'success');
    }

    $t->rpc('anvil_reset');

    my $intent = $t->post_intent('transfer', { recipient => $recipient, amount => '4' });
    $t->wait_intent($intent->{intentId}, 'success', 60);
    is($t->balance($recipient)->bstr, '4', 'the gateway goes on from there');

    $t->nginx_quit;
    $t->clean_ok;
};


subtest 'more than the signer has' => sub {
    my $t = IntentTest->new(anvil => {}, types => $types,
        chain => { retry => 'attempts=3 backoff=100ms' });
    my $recipient = $t->fresh_address;

    my $dear = $t->post_intent('transfer',
        { recipient => $recipient, amount => '999999999999999999999999999' });
    my $next = $t->post_intent('transfer', { recipient => $recipient, amount => '5' });

    $t->wait_intent($next->{intentId}, 'success');
    is($t->balance($recipient)->bstr, '5', 'holds up nobody');

    $dear = $t->wait_intent($dear->{intentId}, 'failed');
    like($dear->{error}, qr/insufficient funds/i, "fails, and says why: $dear->{error}");
    is($dear->{attempts}, 3, 'after as many attempts as there should be');

    $t->nginx_quit;
    $t->clean_ok;
};


subtest 'more than the signer has at one time' => sub {
    my $t = IntentTest->new(anvil => { 'block-time' => 1 }, types => $types);
    my $recipient = $t->fresh_address;

    # 1 ether; the price is at most twice the base fee and a tip

    $t->rpc('anvil_setBalance', $t->address(0), '0xde0b6b3a7640000');
    wait_for(sub { ($t->metric('intent_signer_balance_wei', chain => 'dev') // 0) == 1e18 },
             20, 'the lane to look');

    my @intents = map {
        $t->post_intent('transfer', { recipient => $recipient, amount => '300000000000000000' })
    } 1 .. 3;
    my $fourth = $t->post_intent('transfer',
        { recipient => $recipient, amount => '90000000000000000' });

    $t->wait_intent($_->{intentId}, 'success') for @intents, $fourth;
    is($t->balance($recipient)->bstr, '990000000000000000', 'what fits is carried out');

    # two that only fit one after the other: the second waits, and nobody hangs; no
    # block is made until there is money

    $t->rpc('anvil_setBalance', $t->address(0), '0xde0b6b3a7640000');
    wait_for(sub { $t->metric('intent_signer_balance_wei', chain => 'dev') == 1e18 },
             20, 'the lane to look');
    $t->rpc('evm_setIntervalMining', 0);

    @intents = map {
        $t->post_intent('transfer', { recipient => $recipient, amount => '600000000000000000' })
    } 1 .. 2;

    $t->wait_intent($intents[0]{intentId}, qr/executing|success/);
    $t->rpc('anvil_setBalance', $t->address(0), '0x1bc16d674ec80000');
    $t->rpc('evm_setIntervalMining', 1);
    $t->wait_intent($_->{intentId}, 'success') for @intents;
    is($t->balance($recipient)->bstr, '2190000000000000000', 'one after the other');

    $t->nginx_quit;
    $t->clean_ok;
};


subtest 'a signer that cannot pay for gas' => sub {
    my $t = IntentTest->new(anvil => { 'block-time' => 1 }, types => $types,
        chain => { retry => 'attempts=2 backoff=100ms' });
    my $recipient = $t->fresh_address;

    $t->rpc('anvil_setBalance', $t->address(0), '0x1');
    wait_for(sub { $t->error_log =~ /cannot pay for gas/ }, 20, 'the log to tell');

    my $intent = $t->post_intent('transfer', { recipient => $recipient, amount => '5' });
    sleep 2;
    is($t->get_intent($intent->{intentId})->{status}, 'pending', 'the intent waits');
    is($t->metric('intent_signer_balance_wei', chain => 'dev'), 1, 'the metric tells');

    $t->rpc('anvil_setBalance', $t->address(0), '0xde0b6b3a7640000');
    $t->wait_intent($intent->{intentId}, 'success');
    is($t->balance($recipient)->bstr, '5', 'and is carried out when there is money');

    $t->nginx_quit;
    $t->clean_ok;
};


subtest 'money that goes between the look and the sending' => sub {
    my $t = IntentTest->new(anvil => { 'no-mining' => undef }, types => $types,
        chain => { poll_interval => '10s', retry => 'attempts=3 backoff=100ms' });
    my $recipient = $t->fresh_address;

    # the lane knows of 10,000 ether; there is one left when it sends

    wait_for(sub { $t->metric('intent_signer_balance_wei', chain => 'dev') }, 10,
             'the lane to look');
    $t->rpc('anvil_setBalance', $t->address(0), '0xde0b6b3a7640000');

    my $dear = $t->post_intent('unchecked', { token => $recipient,
        recipient => $recipient, amount => '1' });
    my $intent = $t->post_intent('transfer',
        { recipient => $recipient, amount => '5000000000000000000' });

    wait_for(sub { $t->mine;
                   $t->get_intent($intent->{intentId})->{status} eq 'failed' },
             60, 'it to fail');

    like($t->get_intent($intent->{intentId})->{error}, qr/insufficient funds/i, 'for that reason');
    is($t->balance($recipient)->bstr, '0', 'nothing was sent');

    my $next = $t->post_intent('transfer', { recipient => $recipient, amount => '5' });
    wait_for(sub { $t->mine;
                   $t->get_intent($next->{intentId})->{status} eq 'success' },
             60, 'the next one to be carried out');
    is($t->balance($recipient)->bstr, '5', 'the lane goes on');

    $t->nginx_quit;
    $t->clean_ok;
};


subtest 'a node of another chain' => sub {
    my $t = IntentTest->new(anvil => { 'chain-id' => 5 }, types => $types);

    my $intent = $t->post_intent('transfer',
        { recipient => $t->fresh_address, amount => '1' });

    wait_for(sub { $t->error_log =~ /is on chain 5, "chain_id" says 31337/ }, 10,
             'the log to tell');
    is($t->get_intent($intent->{intentId})->{status}, 'pending', 'nothing is sent');
    is($t->nonce($t->address(0)), 0, 'the signer did nothing');

    $t->nginx_quit;
    $t->clean_ok;
};


done_testing;
