# Attempts: how many, when, and what is told of them meanwhile and in the end.

use strict;
use warnings;

use lib 't/lib';
use HoldingRpc;
use IntentTest qw(wait_for);
use Test::More;
use Time::HiRes qw(sleep time);

my $types = <<'END';
        intent_type transfer {
            label  "transfer";
            param  recipient  address;
            param  amount     uint256  positive;
            call   to=$recipient value=$amount;
        }

        intent_type unchecked {
            label  "unchecked transfer";
            param  recipient  address;
            param  amount     uint256  positive;
            call   to=$recipient value=$amount gas=100000;
        }
END

sub gateway {
    my (%chain) = @_;
    my $anvil = delete $chain{anvil} // {};

    my $t = IntentTest->new(start => 0, types => $types, anvil => $anvil,
        chain => { poll_interval => '50ms', %chain });
    my $rpc = HoldingRpc->new($t);
    my %conf = $rpc->conf;
    $t->{chain}{rpc} = delete $conf{rpc_uri};
    $t->write_conf(%conf);
    $t->nginx_start;
    wait_for(sub { $t->metric('intent_signer_balance_wei', chain => 'dev') }, 20, 'the lane');
    return ($t, $rpc);
}


subtest 'attempts, each twice as late as the one before, over a crash' => sub {
    my ($t, $rpc) = gateway(retry => 'attempts=5 backoff=400ms max_backoff=1s');

    # what each attempt left behind, however seldom we look

    $t->psql('CREATE TABLE attempts (id uuid, n int8, delay float8, error text, status text);
        CREATE FUNCTION attempted() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO attempts VALUES (NEW.id, NEW.attempts,
                extract(epoch FROM NEW.next_attempt_at - now()), NEW.error, NEW.status);
            RETURN NULL;
        END $$;
        CREATE TRIGGER attempted AFTER UPDATE ON intents FOR EACH ROW
        WHEN (NEW.attempts > OLD.attempts AND NEW.claimed_by IS NULL)
        EXECUTE FUNCTION attempted()');

    $rpc->refuse('the database is on strike', 'eth_estimateGas');
    my $intent = $t->post_intent('transfer', { recipient => $t->fresh_address, amount => '1' });
    my $id = $intent->{intentId};

    my @delay = (undef, 0.4, 0.8, 1.0, 1.0);
    my $before;

    for my $attempt (1 .. 4) {
        my ($delay, $error, $status);
        wait_for(sub {
            ($delay, $error, $status) = split /\|/, $t->psql(
                "SELECT delay, error, status FROM attempts WHERE id = '$id' AND n = $attempt") // '';
            $status;
        }, 20, "attempt $attempt");

        is($status, 'pending', "attempt $attempt: still pending");
        cmp_ok($delay, '>=', $delay[$attempt] * 0.98, "the next one after $delay s");
        cmp_ok($delay, '<', $delay[$attempt] * 1.1 + 0.2, 'and not much later');
        is($error, 'the database is on strike', 'the reason is kept');
        wait_for(sub { $t->get_intent($id)->{attempts} >= $attempt }, 20, 'it to be told');

        next if $attempt != 2;
        $t->nginx_kill;
        $before = $t->psql("SELECT count(*) FROM attempts WHERE id = '$id'");
        $t->nginx_start;
    }

    $intent = $t->wait_intent($id, 'failed');
    is($intent->{attempts}, 5, 'it fails with the last one');
    is($intent->{error}, 'the database is on strike', 'and says why');
    is($t->psql("SELECT string_agg(n::text, ' ') FROM attempts WHERE id = '$id'"), '1 2 3 4', 'each once');
    is($t->metric('intent_retries_total', chain => 'dev', reason => 'unknown'), 4 - $before,
       'they are counted');

    # one that gets better

    my $better = $t->post_intent('transfer', { recipient => $t->fresh_address, amount => '1' });
    wait_for(sub { $t->get_intent($better->{intentId})->{attempts} >= 2 }, 20, 'two attempts');
    $rpc->release;
    $better = $t->wait_intent($better->{intentId}, 'success');
    is($better->{error}, undef, 'leaves no error behind');
    is($better->{attempts}, 1 + $t->psql("SELECT count(*) FROM attempts WHERE id = '$better->{intentId}'"),
       'and its attempts');

    $t->nginx_quit;
    $t->clean_ok;
};


subtest 'reverts are final, and in words' => sub {
    my ($t, $rpc) = gateway();

    # code that reverts with a custom error, a panic, Error(string), nothing

    my %code = (
        'custom error 0xcf479181' => '63cf47918160e01b60005260046000fd',
        'panic 0x11 (arithmetic overflow)'
            => '634e487b7160e01b600052601160045260246000fd',
        'out of cheese' => '6308c379a060e01b6000526020600452600d6024526c6f7574206f66'
                         . '2063686565736560981b60445260646000fd',
        'execution reverted' => '60006000fd',
    );

    for my $words (sort keys %code) {
        my $address = $t->fresh_address;
        $t->rpc('anvil_setCode', $address, "0x$code{$words}");

        # before it is sent, and when it was

        for my $type ('transfer', 'unchecked') {
            my $intent = $t->post_intent($type, { recipient => $address, amount => '1' });
            $intent = $t->wait_intent($intent->{intentId}, 'failed');
            like($intent->{error}, qr/\Q$words\E$/, "$type: $intent->{error}");
            is($intent->{attempts}, 1, 'at the first attempt');
        }
    }

    $t->nginx_quit;
    $t->clean_ok;
};


# anybody may write a contract, and what it says is nothing that the node says

sub reverts_with {
    my ($reason) = @_;
    my $padded = $reason . "\0" x (-length($reason) % 32);
    my $data = '08c379a0' . sprintf('%064x%064x', 32, length $reason) . unpack 'H*', $padded;
    my $len = sprintf '%04x', length($data) / 2;
    return "0x61${len}600e60003961${len}6000fd$data";
}

subtest "a contract's words are not the node's" => sub {
    my ($t, $rpc) = gateway(anvil => { 'block-time' => 1 });

    my @words = ('rate limit', 'Too Many Requests', 'exceeded the quota', 'method not found',
        'the method eth_estimateGas does not exist/is not available', 'unknown transaction',
        'outoffunds', 'EVM error OutOfFunds', 'nonce too low', 'already known', 'mined',
        'insufficient funds for gas * price + value', 'replacement transaction underpriced',
        'txpool is full', 'syncing', 'intrinsic gas too low', 'header not found', 'underpriced',
        'invalid sender', "a\0b", "\xff\xfe\xc0\x80", 'x' x 3000);

    # all of them with good ones between, before they are sent and when they were

    for my $type ('transfer', 'unchecked') {
        my (@bad, @good);

        for my $words (@words) {
            my $address = $t->fresh_address;
            $t->rpc('anvil_setCode', $address, reverts_with($words));
            push @bad, { recipient => $address, amount => '1' };
        }

        my @answers = map { {
            bad => $t->post_intent($type, $_),
            good => $t->post_intent($type, { recipient => $t->fresh_address, amount => '1' }),
        } } @bad;

        for my $i (0 .. $#words) {
            my $intent = $t->wait_intent($answers[$i]{bad}{intentId}, 'failed');
            my $words = $words[$i] =~ /^[ -~]+$/ ? substr($words[$i], 0, 200) : '';
            like($intent->{error}, qr/^execution reverted.*\Q$words\E/s,
                 "$type: " . substr $intent->{error}, 0, 80);
            is($intent->{attempts}, 1, 'at the first attempt');

            $intent = $t->wait_intent($answers[$i]{good}{intentId}, 'success');
            is($intent->{attempts}, 1, 'and the one beside it at its first');
        }
    }

    is($t->metric('intent_rpc_breaker_state', chain => 'dev') // 0, 0, 'the node is used');

    for my $outcome ('failed', 'limited') {
        is($t->metric('intent_rpc_requests_total', chain => 'dev', outcome => $outcome) // 0, 0,
           "none of its answers was $outcome");
    }

    unlike($t->error_log, qr/\[(?:warn|error|crit|alert)\].* intent (?:chain|rpc)/,
           'and nothing is said against it');

    $t->nginx_quit;
    $t->clean_ok;
};


# other nodes tell it in other ways

subtest 'reverts without a code, and without data' => sub {
    my ($t, $rpc) = gateway();

    for my $words ('execution reverted: rate limit', 'VM execution error.',
        'VM Exception while processing transaction: revert method not found')
    {
        $rpc->refuse($words, 'eth_estimateGas');

        my $intent = $t->post_intent('transfer', { recipient => $t->fresh_address, amount => '1' });
        $intent = $t->wait_intent($intent->{intentId}, 'failed');
        is($intent->{error}, $words, $words);
        is($intent->{attempts}, 1, 'at the first attempt');
        $rpc->release;
    }

    is($t->metric('intent_rpc_requests_total', chain => 'dev', outcome => 'limited') // 0, 0,
       'that is no limit');

    # and this is one

    $rpc->refuse('rate limit', 'eth_estimateGas');
    my $intent = $t->post_intent('transfer', { recipient => $t->fresh_address, amount => '1' });
    wait_for(sub {
        $t->metric('intent_rpc_requests_total', chain => 'dev', outcome => 'limited');
    }, 20, 'a limit');
    $rpc->release;
    $t->wait_intent($intent->{intentId}, 'success');

    $t->nginx_quit;
    $t->clean_ok;
};


done_testing;
