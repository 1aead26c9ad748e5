# Signers that are elsewhere: anvil has the keys of its accounts and offers
# eth_signTransaction, as Web3Signer and clef do.

use strict;
use warnings;

use lib 't/lib';
use ExactlyOnce;
use IntentTest qw(wait_for wei);
use LyingSigner;
use Test::More;

my $address = $IntentTest::ADDRESSES[0];
my $wrong = qr/is not what it was asked for/;

sub gateway {
    my (%option) = @_;

    return IntentTest->new(
        %option,
        chain => { signer => "remote=/_signer address=$address", %{ $option{chain} || {} } },
        server => 'location = /_signer { internal; proxy_pass http://127.0.0.1:$ANVIL_PORT/; }',
    );
}

# one whose signer may lie

sub liar {
    my (%option) = @_;

    my $t = IntentTest->new(
        %option, start => 0,
        chain => { signer => "remote=/_signer address=$address", poll_interval => '50ms',
                   retry => 'attempts=5 backoff=100ms max_backoff=300ms',
                   %{ $option{chain} || {} } },
    );
    my $signer = LyingSigner->new($t);
    my $port = $signer->port;

    $t->write_conf(server =>
        "location = /_signer { internal; proxy_pass http://127.0.0.1:$port/; }");
    $t->nginx_start;
    wait_for(sub { $t->psql("SELECT to_regclass('intent_transactions')") }, 20, 'the tables');

    return ($t, $signer);
}

sub no_key_here {
    my $t = shift;
    $t->{chain}{signer} =~ /key/ and die;
    unlink $t->key_file;
}

sub ends_ok {
    my ($t, %option) = @_;
    $t->nginx_quit;
    $t->clean_ok(%option);
}

sub saved { $_[0]->psql('SELECT count(*) FROM intent_transactions') }

sub finished {
    $_[0]->psql("SELECT count(*) FROM intents WHERE status IN ('pending', 'executing')") == 0;
}


subtest 'what nginx -t says' => sub {
    my $t = gateway();
    no_key_here($t);

    my $location = 'location = /_signer { internal; proxy_pass http://127.0.0.1:1/; }';
    my $good = "remote=/_signer address=$address";

    for (
        [ 'remote=/_signer', $location, 'signer "remote=/_signer" needs "address=0x..."' ],
        [ 'remote=/_signer key=0x12', $location, 'signer "remote=/_signer" needs "address=0x..."' ],
        [ "remote=_signer address=$address", $location,
          'invalid remote signer "_signer", it should be the uri of an internal location, '
          . 'like "/_signer"' ],
        [ "remote=http://127.0.0.1/ address=$address", $location, 'invalid remote signer' ],
        [ 'remote=/_signer address=0x12', $location,
          'invalid address "0x12" of a remote signer' ],
        [ 'remote=/_signer address=0xF39Fd6e51aad88F6F4ce6aB8827279cffFb92266', $location,
          'with the right checksum' ],
        [ $good, '', 'no server has a location for signer "remote=/_signer", add '
                     . '"location /_signer { internal; proxy_pass ...; }" in ' ],
        [ $good, 'location = /_signer { proxy_pass http://127.0.0.1:1/; }',
          'the location of signer "remote=/_signer" is not internal: clients could have '
          . 'anything signed' ],
        [ [ $good, $good ], $location, "duplicate signer $address" ],
    ) {
        my ($signer, $server, $words) = @$_;
        my ($ok, $out) = $t->nginx_test(chain => { %{ $t->{chain} }, signer => $signer },
                                        server => $server);
        ok(!$ok && $out =~ /\[emerg\].*\Q$words\E/, $words) or diag($out);
    }

    my ($ok, $out) = $t->nginx_test(server => $location, chain => { %{ $t->{chain} },
        signer => [ $good, 'remote=/_signer address=' . lc $t->address(1),
                    'remote=/_signer address=' . $t->address(2) ] });
    ok($ok, 'one that has three keys') or diag($out);

    ends_ok($t);
};


subtest 'transfers, a reload, kill -9' => sub {
    my $t = gateway(anvil => { 'block-time' => 1, 'gas-limit' => 300_000_000 });
    no_key_here($t);

    my $run = ExactlyOnce->new($t);

    $run->load(count => 400, connections => 16, each => sub {
        my $n = shift;
        $t->nginx_reload if $n == 150;

        if ($n == 300) {
            $t->nginx_kill;
            $t->nginx_start;
        }
    });

    $run->check_ok;
    is($t->metric('intent_retries_total', reason => 'signer'), 0, 'nothing was asked twice');
    ends_ok($t);
};


subtest 'a token' => sub {
    my $t = gateway(anvil => { 'block-time' => 1 });
    my $token = $t->deploy_token(from => $t->address(9));
    my $recipient = $t->fresh_address;
    $t->token_transfer($token, $t->address(9), $address, 1000);

    my @ids = map { $t->post_intent('transfer', { recipient => $recipient, amount => "$_",
                                                  token => $token })->{intentId} } 1 .. 10;
    $t->wait_intent($_, 'success') for @ids;
    is($t->token_balance($token, $recipient)->bstr, 55, 'the recipient has the sum');
    is($t->token_balance($token, $address)->bstr, 945, 'the signer has the rest');
    ends_ok($t);
};


subtest 'much data, and two signers at one place' => sub {
    my $t = gateway(accounts => 2, types => <<"END",
        intent_type call {
            label  "call";
            param  to    address;
            param  data  string;
            call   to=\$to function="note(string)" args=\$data;
        }
END
        chain => { signer => [ map { "remote=/_signer address=$IntentTest::ADDRESSES[$_]" } 0, 1 ] });

    my $note = 'x' x 3000;
    my @ids = map { $t->post_intent('call', { to => $t->address(5), data => $note })->{intentId} }
              1 .. 20;
    $t->wait_intent($_, 'success') for @ids;

    is($t->psql("SELECT count(*) FROM intent_transactions WHERE octet_length(raw) > 3000
                 AND state = 'mined'"), 20, 'with their data');
    ends_ok($t);
};


subtest 'a chain without EIP-1559' => sub {
    my $t = gateway(anvil => { 'block-time' => 1, hardfork => 'istanbul' });
    my $recipient = $t->fresh_address;
    my @ids = map { $t->post_intent('transfer', { recipient => $recipient, amount => '2' })
                      ->{intentId} } 1 .. 5;
    $t->wait_intent($_, 'success') for @ids;
    is($t->balance($recipient)->bstr, 10, 'legacy transactions are signed, too');
    ends_ok($t);
};


subtest 'replacements' => sub {
    my $n = 30;
    my ($t, $signer) = liar(anvil => { 'no-mining' => undef },
        chain => { max_fee => '100gwei', replace_after => '1s', poll_interval => '100ms' });
    my $recipient = $t->fresh_address;

    $t->post_intent('transfer', { recipient => $recipient, amount => '1' }) for 1 .. $n;
    wait_for(sub { hex $t->rpc('txpool_status')->{pending} == $n }, 30, 'the pool to have all');

    my $high = wei($t->psql('SELECT max(max_fee_per_gas) FROM intent_transactions')) * 10;
    my $mine = sub {
        my ($done, $what) = @_;
        wait_for(sub { $t->rpc('anvil_setNextBlockBaseFeePerGas', wei($high)->as_hex);
                       $t->mine; $done->() }, 60, $what);
    };

    # a signer that is away when they are due, and then lies, changes nothing

    $signer->mode('away');
    $mine->(sub { $t->error_log =~ /does not sign/ }, 'the signer to be missed');
    $signer->mode('tip');
    $mine->(sub { $t->error_log =~ /its priority fee differs/ }, 'a lie');
    is(saved($t), $n, 'nothing was saved');
    is($t->psql("SELECT count(*) FROM intents WHERE status = 'executing'"), $n,
       'all are on their way');

    $signer->mode('refuse');
    $mine->(sub { $t->error_log =~ /refuses it: not by my rules, it is asked again/ },
            'a replacement to be refused');
    is(saved($t), $n, 'nothing was saved');

    $signer->mode('right');
    $mine->(sub { finished($t) }, 'all to be replaced and mined');
    is($t->psql("SELECT count(*) FROM intents WHERE status = 'success'"), $n, 'all are successful');
    is($t->balance($recipient)->bstr, $n, 'the sum is right');
    is($t->psql("SELECT count(*) FROM intent_transactions WHERE state = 'mined'"), $n,
       'one transaction of each was mined');
    is($t->nonce($address), $n, 'no other nonce was used');
    ends_ok($t, allow => $wrong);
};


subtest 'a replacement is mined while the signer is away' => sub {
    my ($t, $signer) = liar(anvil => { 'no-mining' => undef },
        chain => { replace_after => '500ms' });
    my $intent = $t->post_intent('transfer', { recipient => $t->fresh_address, amount => '1' });
    my $first = $t->wait_intent($intent->{intentId}, 'executing')->{txHash};
    wait_for(sub { hex $t->rpc('txpool_status')->{pending} == 1 }, 30, 'the pool to have it');

    my ($raw) = $t->psql("SELECT '0x' || encode(raw, 'hex') FROM intent_transactions");
    $signer->mode('away');
    wait_for(sub { $t->rpc('anvil_dropTransaction', $first); $t->mine;
                   $t->error_log =~ /does not sign/ }, 30, 'the signer to be missed');
    wait_for(sub { eval { $t->rpc('eth_sendRawTransaction', $raw) }; $t->mine;
                   $t->get_intent($intent->{intentId})->{status} eq 'success' },
             30, 'the first one to be seen');
    is(saved($t), 1, 'there was one');
    ends_ok($t);
};


subtest 'lies, junk and half answers' => sub {
    my ($t, $signer) = liar(anvil => { 'block-time' => 1 });
    my $run = ExactlyOnce->new($t);
    my $log = '';

    for my $mode (@LyingSigner::WRONG, qw(away http_500 page half_body)) {
        my $before = saved($t);
        my $asked = $t->metric('intent_retries_total', reason => 'signer');
        $signer->mode($mode);
        $run->load(count => 3);
        wait_for(sub { $t->metric('intent_retries_total', reason => 'signer') >= $asked + 3 }, 20,
                 "$mode to be met");
        is(saved($t), $before, "$mode: nothing is saved");

        $signer->mode('right');
        wait_for(sub { finished($t) }, 20, "the end of $mode");
    }

    is($t->psql("SELECT count(*) FROM intents WHERE status = 'failed'"), 0, 'nothing failed');
    $run->check_ok;

    for my $words ('value', 'nonce', '"to"', 'data', 'gas', 'price of gas', 'priority fee', 'type') {
        like($t->error_log, qr/\[alert\].*asked for: its $words differs; it is not used/, $words);
    }

    like($t->error_log, qr/\[alert\].*another key has signed it/, 'another key');
    like($t->error_log, qr/\[alert\].*no signed transaction/, 'junk');
    is(() = $t->error_log =~ /\[error\].*does not sign: /g, @LyingSigner::WRONG + 4,
       'not being able to go on is told once each time');
    like($t->error_log, qr/does not sign: HTTP status 502/, 'away');
    like($t->error_log, qr/\[notice\].*signs again/, 'and its end');
    unlike($t->error_log, qr/0x02f8|0x02f9/, 'no transaction is in the log');
    ends_ok($t, allow => $wrong);
};


subtest 'one that the signer refuses' => sub {
    for my $mode ('refuse 13', 'refuse_one_by_one 13') {
        my ($t, $signer) = liar(anvil => { 'block-time' => 1 }, workers => 1);
        my $recipient = $t->fresh_address;
        $signer->mode($mode);

        my @ids = map { $t->post_intent('transfer', { recipient => $recipient, amount => "$_" })
                          ->{intentId} } 10 .. 29;
        $t->wait_intent($ids[$_], 'success') for grep { $_ != 3 } 0 .. $#ids;
        my $failed = $t->wait_intent($ids[3], 'failed');

        like(IntentTest::encode($failed), qr/the signer refuses it: not by my rules/,
             "$mode: with its words");
        is($t->balance($recipient)->bstr, 390 - 13, 'all others are sent');
        is($t->nonce($address), 19, 'no nonce was used for it');
        is(saved($t), 19, 'nothing was saved of it');
        is($t->metric('intent_retries_total', reason => 'signer'), 4, 'it was tried five times');
        ends_ok($t);
    }
};


subtest 'one that it always signs wrongly does not keep others' => sub {
    my ($t, $signer) = liar(anvil => { 'block-time' => 1 }, workers => 1);
    $signer->mode('value 1');
    my $one = $t->post_intent('transfer', { recipient => $t->fresh_address, amount => '1' });
    wait_for(sub { $t->error_log =~ $wrong }, 20, 'it to be asked for');

    my @ids = map { $t->post_intent('transfer', { recipient => $t->fresh_address, amount => '2' })
                      ->{intentId} } 1 .. 30;
    $t->wait_intent($_, 'success') for @ids;
    is($t->get_intent($one->{intentId})->{status}, 'pending', 'it waits');

    $signer->mode('object');
    $t->wait_intent($one->{intentId}, 'success');
    is($t->nonce($address), 31, 'all nonces are used');
    ends_ok($t, allow => $wrong);
};


subtest 'a signer that takes no batches' => sub {
    my ($t, $signer) = liar(anvil => { 'block-time' => 1 }, workers => 1);
    my $run = ExactlyOnce->new($t);
    $signer->mode('one_by_one');
    $run->load(count => 100, connections => 16);
    $run->check_ok;
    is($signer->batches, 1, 'one was enough to know');
    like($t->error_log, qr/\[notice\].*at once: HTTP status 400, it is asked for one by one/, 'told');
    ends_ok($t);
};


subtest 'a gap is filled' => sub {
    my ($t, $signer) = liar(anvil => { 'no-mining' => undef });
    my @ids = map { $t->post_intent('transfer', { recipient => $t->fresh_address, amount => '1' })
                      ->{intentId} } 1 .. 3;
    wait_for(sub { hex $t->rpc('txpool_status')->{pending} == 3 }, 20, 'the pool to have all');

    # the first one is gone, from the node and from Postgres; nobody uses its nonce

    $t->nginx_kill;
    $t->rpc('anvil_dropAllTransactions');
    my ($id) = $t->psql('SELECT intent_id FROM intent_transactions WHERE nonce = 0');
    $t->psql("DELETE FROM intent_transactions WHERE nonce = 0;
              DELETE FROM intents WHERE id = '$id'");
    $signer->mode('away');
    $t->nginx_start;
    wait_for(sub { $t->error_log =~ /does not sign/ }, 20, 'the signer to be missed');
    $signer->mode('right');

    wait_for(sub { $t->mine; $t->nonce($address) == 3 }, 30, 'the others to be mined');
    like($t->error_log, qr/nonce 0 of \S+ has nothing to send, it is filled/, 'filled');
    ends_ok($t);
};


subtest 'an intent that expires meanwhile' => sub {
    my ($t, $signer) = liar(anvil => { 'block-time' => 1 });
    $signer->mode('away');
    my $one = $t->post_intent('transfer', { recipient => $t->fresh_address, amount => '1' },
                              expiresAt => int(time) + 3);
    my $two = $t->post_intent('transfer', { recipient => $t->fresh_address, amount => '1' });
    $t->wait_intent($one->{intentId}, 'expired');
    $signer->mode('right');
    $t->wait_intent($two->{intentId}, 'success');
    is(saved($t), 1, 'nothing was saved of it');
    ends_ok($t);
};


done_testing;
