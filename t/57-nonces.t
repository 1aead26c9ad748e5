# Nonces: those that others take, that the node loses, and that the chain
# forgets; and what is read again when there is much of it.

use strict;
use warnings;

use lib 't/lib';
use ExactlyOnce;
use IntentTest qw(wait_for);
use POSIX qw(WNOHANG);
use Test::More;
use Time::HiRes qw(sleep time);


subtest 'another program with the same key, and a forgetful node, during 500 intents' => sub {
    my $t = IntentTest->new(
        anvil => { 'block-time' => 1, 'gas-limit' => 300_000_000 },
        chain => { max_in_flight => 64, poll_interval => '50ms', replace_after => '3s' });
    my $run = ExactlyOnce->new($t);
    wait_for(sub { $t->metric('intent_signer_balance_wei', chain => 'dev') }, 20, 'the lane');

    my $thief = fork // die "fork: $!";

    if ($thief == 0) {
        my ($stolen, $dropped) = (0, 0);
        my $end = time + 14;

        while (time < $end) {
            $stolen++ if eval { $t->rpc('eth_sendTransaction', {
                from => $t->address(0), to => $t->address(7), value => '0x1',
                # sometimes at a nonce that the gateway has, and more dearly
                rand() < 0.5 ? () : (
                    nonce => sprintf('0x%x', $t->nonce($t->address(0)) + int rand 5),
                    gas => '0x5208', maxFeePerGas => '0x2540be400',
                    maxPriorityFeePerGas => '0x12a05f200') }) };

            if (rand() < 0.3) {
                my @pool = eval { map { $_->{hash} } map { values %$_ }
                                  values %{ $t->rpc('txpool_content')->{pending} } };
                $dropped += @pool && eval { $t->rpc('anvil_dropTransaction', $pool[rand @pool]); 1 }
                            ? 1 : 0;
            }

            sleep 0.2 * rand;
        }

        diag("$stolen nonces were taken, $dropped transactions dropped");
        POSIX::_exit($stolen > 5 && $dropped > 2 ? 0 : 1);
    }

    for (1 .. 10) {
        $run->load(count => 50, connections => 8);
        sleep 1;
    }

    waitpid $thief, 0;
    is($?, 0, 'nonces were taken, and transactions dropped');

    $run->check_ok(timeout => 120);

    my $lost = () = $t->error_log =~ /was used by somebody else/g;
    cmp_ok($lost, '>', 0, "$lost intents had to get another nonce");

    $t->nginx_quit;
    $t->clean_ok;
};


subtest 'settled transactions that fall out of the chain' => sub {
    my $t = IntentTest->new(anvil => { 'no-mining' => undef },
        chain => { confirmations => 1, poll_interval => '50ms' });
    my $recipient = $t->fresh_address;

    my $carry_out = sub {
        my $amount = shift;
        my $intent = $t->post_intent('transfer',
                                     { recipient => $recipient, amount => $amount });
        wait_for(sub { $t->mine; sleep 0.05;
                       $t->get_intent($intent->{intentId})->{status} eq 'success' },
                 60, "$amount to be mined");
    };

    $carry_out->($_) for 1 .. 3;
    my $nonce = $t->nonce($t->address(0));

    # while nothing is under way, and then while something is

    my $gone = $t->nonce($t->address(0));
    my $depth = 0;
    $depth++ while hex $t->rpc('eth_getTransactionCount', $t->address(0),
                               sprintf '0x%x', $t->block_number - $depth) > 1;
    $t->rpc('anvil_reorg', $depth, []);
    $t->rpc('anvil_dropTransaction', $_) for map { $_->{hash} } map { values %$_ }
        map { values %$_ } values %{ $t->rpc('txpool_content') };
    cmp_ok($t->nonce($t->address(0)), '<', $nonce, 'the chain has forgotten nonces');

    my $intent = $t->post_intent('transfer', { recipient => $recipient, amount => 10 });
    wait_for(sub { $t->mine; sleep 0.1;
                   $t->get_intent($intent->{intentId})->{status} eq 'success' }, 60,
             'the gap to be seen, and filled');

    like($t->error_log, qr/it has forgotten nonces/, 'the log tells');
    $carry_out->(11);

    $t->nginx_quit;
    $t->clean_ok;
};


subtest 'more unfinished transactions than are read in one go' => sub {
    my $n = 2300;
    my $t = IntentTest->new(
        anvil => { 'no-mining' => undef, 'gas-limit' => 300_000_000 },
        chain => { max_in_flight => 5000, poll_interval => '100ms' });
    my $run = ExactlyOnce->new($t);

    $run->load(count => $n, connections => 32);
    wait_for(sub { $t->psql("SELECT count(*) FROM intent_transactions
                             WHERE state = 'live'") == $n }, 60, 'all to be signed');

    $t->nginx_kill;

    # and one that a crash left without any: its transaction was never sent

    my $hash = $t->psql("UPDATE intent_transactions SET state = 'dropped'
                         WHERE nonce = $n - 1 RETURNING '0x' || encode(hash, 'hex')");
    $t->rpc('anvil_dropTransaction', substr $hash, 0, 66);

    $t->nginx_start;

    wait_for(sub { $t->error_log =~ /epoch 2, $n unfinished/ }, 30, 'all to be read');

    my $miner = sub { $t->mine; sleep 0.2; $run->unfinished == 0 };
    wait_for($miner, 120, 'all to end');
    $run->check_ok;

    $t->nginx_quit;
    $t->clean_ok;
};


subtest 'a signer that is taken out of the configuration' => sub {
    my $t = IntentTest->new(anvil => { 'no-mining' => undef }, accounts => 2,
        chain => { poll_interval => '50ms', max_in_flight => 4 });
    my @intents = map {
        $t->post_intent('transfer', { recipient => $t->fresh_address, amount => '1' })
    } 1 .. 6;
    $t->wait_intent($_->{intentId}, 'executing') for @intents;

    my ($n) = $t->psql("SELECT count(*) FROM intents
                        WHERE claimed_by = '\\x" . lc(substr $t->address(1), 2) . "'");
    cmp_ok($n, '>', 0, "$n of them are those of the second one");

    $t->nginx_quit;
    $t->write_conf(accounts => 1);
    $t->nginx_start;

    my $address = lc $t->address(1);
    wait_for(sub { $t->error_log =~
        /\[warn\].* $n executing intents of chain "dev" are those of signer $address, which/ },
        20, 'the log to tell');

    # back again, they end

    $t->nginx_quit;
    $t->write_conf(accounts => 2);
    $t->nginx_start;
    wait_for(sub { $t->mine; sleep 0.1;
                   $t->psql("SELECT count(*) FROM intents WHERE status = 'executing'") == 0 },
             30, 'all to end');

    $t->nginx_quit;
    $t->clean_ok;
};


done_testing;
