# Reorganisations during a run: what the gateway says in the end agrees with
# the chain that is left.

use strict;
use warnings;

use lib 't/lib';
use IntentTest qw(wait_for);
use Test::More;
use Time::HiRes qw(sleep time);

my $confirmations = 4;

my $types = <<'END';
        intent_type transfer {
            label  "transfer";
            param  recipient  address;
            param  amount     uint256  positive;
            call   to=$recipient value=$amount;
        }
END

sub gateway {
    return IntentTest->new(
        types => $types,
        anvil => { 'no-mining' => undef, @_ },
        chain => { confirmations => $confirmations, poll_interval => '50ms',
                   replace_after => '5s' });
}

sub finished {
    my $t = shift;
    return $t->psql("SELECT count(*) FROM intents
                     WHERE status IN ('pending', 'executing')") == 0;
}

# Everything that the database says was carried out is on the chain that is
# left, in the block it names, once.

sub agrees_ok {
    my ($t, $recipient, $n) = @_;

    my $mined = $t->mined_by($t->address(0));
    my (%block, %times);

    for my $transaction (map { @$_ } values %$mined) {
        $block{ $transaction->{hash} } = hex $transaction->{blockNumber};
        $times{ hex $transaction->{value} }++ if lc($transaction->{to}) eq $recipient;
    }

    my @rows = map { [ split /\|/ ] } $t->psql(
        "SELECT params->>'amount', status, '0x' || encode(tx_hash, 'hex'), block_number
         FROM intents");

    is(scalar(grep { $_->[1] eq 'success' } @rows), $n, 'all are successful');
    ok(!(grep { ($block{ $_->[2] } // -1) != $_->[3] } @rows),
       'each is in the block that its intent names');
    ok(!(grep { ($times{ $_->[0] } // 0) != 1 } @rows), 'each is on the chain once');
    is($t->psql("SELECT count(*) FROM intent_transactions
                 WHERE state IN ('live', 'replaced')"), 0, 'nothing is left');
}


# anvil_reorg takes blocks back and makes as many others, without what was in
# them.

for my $depth (1 .. $confirmations - 1) {
    subtest "blocks that are replaced, $depth deep" => sub {
        my $t = gateway();
        my $recipient = $t->fresh_address;
        my $n = 0;

        for my $round (1 .. 4) {
            my @intents = map {
                $t->post_intent('transfer', { recipient => $recipient, amount => ++$n })
            } 1 .. 10;

            # those of the rounds before are there again, too

            wait_for(sub { hex $t->rpc('txpool_status')->{pending} >= $n }, 30,
                     'the pool to have them');
            $t->mine;

            my $watched = $intents[3]{intentId};
            my $seen;
            wait_for(sub { $seen = $t->get_intent($watched);
                           defined $seen->{blockNumber} }, 20, 'the block to be told');
            $t->mine($depth - 1) if $depth > 1;

            $t->rpc('anvil_reorg', $depth, []);

            my $now;
            wait_for(sub { $now = $t->get_intent($watched);
                           ($now->{version} > $seen->{version}) }, 20, 'it to be noticed');
            ok(!defined $now->{blockNumber} || $now->{blockNumber} > $seen->{blockNumber},
               'it is not in that block any more');
            is($now->{status}, 'executing', 'and still under way');
        }

        wait_for(sub { $t->mine; sleep 0.05; finished($t) }, 90, 'all to end');
        agrees_ok($t, $recipient, $n);

        $t->nginx_quit;
        $t->clean_ok;
    };
}


# Back to what was: blocks, balances, nonces and the pool, while the gateway
# runs on.

subtest 'a chain that is set back' => sub {
    my $t = gateway();
    my $recipient = $t->fresh_address;
    my $n = 0;

    for my $depth (1 .. $confirmations - 1) {
        my $snapshot = $t->rpc('evm_snapshot');

        $t->post_intent('transfer', { recipient => $recipient, amount => ++$n }) for 1 .. 10;
        wait_for(sub { hex $t->rpc('txpool_status')->{pending} >= 10 }, 30,
                 'the pool to have them');
        $t->mine($depth);

        wait_for(sub { $t->psql("SELECT count(*) FROM intents WHERE block_number IS NOT NULL
                                 AND status = 'executing'") >= 10 }, 20, 'the block to be told');

        $t->rpc('evm_revert', $snapshot);
        $t->mine(1);
    }

    wait_for(sub { $t->mine; sleep 0.05; finished($t) }, 90, 'all to end');
    agrees_ok($t, $recipient, $n);

    $t->nginx_quit;
    $t->clean_ok;
};


# At any moment, while blocks come and intents too.

subtest 'reorganisations at any moment' => sub {
    my $t = gateway();
    my $recipient = $t->fresh_address;
    my $n = 0;
    my $end = time + 15;

    while (time < $end) {
        $t->post_intent('transfer', { recipient => $recipient, amount => ++$n })
            for 1 .. 1 + int rand 8;
        $t->mine(1 + int rand 2);
        sleep 0.15;

        next if rand() < 0.6 || $t->block_number < 10;
        $t->rpc('anvil_reorg', 1 + int rand($confirmations - 1), []);
    }

    wait_for(sub { $t->mine; sleep 0.05; finished($t) }, 90, 'all to end');
    diag("$n intents");
    agrees_ok($t, $recipient, $n);

    $t->nginx_quit;
    $t->clean_ok;
};


done_testing;
