# Wallets that are contracts: whatever a node says of one that cannot be run is a
# no, and is asked once; only what is the node's own trouble is no answer.

use strict;
use warnings;

use lib 't/lib';
use HoldingRpc;
use IntentTest qw(wait_for);
use Test::More;

my $t = IntentTest->new(start => 0, workers => 1, anvil => {}, api => 'intent_signature optional; client_body_buffer_size 128k;',
    chain => { poll_interval => '50ms', eip712_domain => '"Gate of wallets"' });
my $rpc = HoldingRpc->new($t);
my %conf = $rpc->conf;
$t->{chain}{rpc} = delete $conf{rpc_uri};
$t->write_conf(%conf);
$t->nginx_start;
wait_for(sub { $t->metric('intent_signer_balance_wei', chain => 'dev') }, 20, 'the lane');

my $nonce = 1;

sub signed {
    return $t->post('/api/intents', {
        type => 'transfer', params => { recipient => $t->fresh_address, amount => '1' },
        userId => $t->fresh_address, nonce => $nonce++, expiresAt => time + 600,
        signature => '0x' . '12' x 40 })->{status};
}

sub asked {
    my $n = 0;
    $n += $t->metric('intent_rpc_requests_total', chain => 'dev', outcome => $_) // 0 for qw(error);
    return $n;
}

for my $words ('stack limit reached 1024 (1023)', 'execution aborted (timeout = 5s)',
    'return data out of bounds', 'write protection', 'execution reverted: rate limit',
    'execution reverted: header not found', 'out of gas')
{
    my $before = asked();
    $rpc->refuse($words, 'eth_call');
    is(signed(), 401, "$words: no");
    is(asked() - $before, 1, 'one node is asked, once');
    $rpc->release;
}

unlike($t->error_log, qr/\[error\]/, 'that is no error of anybody\'s');

for my $words ('header not found', 'node is syncing') {
    $rpc->refuse($words, 'eth_call');
    is(signed(), 503, "$words: nobody can tell");
    $rpc->release;
}

is($t->metric('intent_rpc_breaker_state', chain => 'dev') // 0, 0, 'the node is used all the time');

# a wallet that changed its mind: who has had no answer is told what was kept

my $wallet = $t->fresh_address;
my $body = { type => 'transfer', params => { recipient => $t->address(5), amount => '1' },
             userId => $wallet, nonce => $nonce++, expiresAt => time + 600, signature => '0x12' };

$t->rpc('anvil_setCode', $wallet, '0x631626ba7e60e01b60005260206000f3');
my $kept = $t->post('/api/intents', $body, { 'Idempotency-Key' => 'mind' });
is($kept->{status}, 202, 'a wallet says yes');

$t->rpc('anvil_setCode', $wallet, '0x60006000fd');
is($t->post('/api/intents', { %$body, nonce => $nonce++ }, { 'Idempotency-Key' => 'other' })->{status}, 401, 'then no');

my $replayed = $t->post('/api/intents', $body, { 'Idempotency-Key' => 'mind' });
is("$replayed->{status} $replayed->{content}", "202 $kept->{content}", 'the first answer all the same');

# many at once: they wait for each other, and too many are told so

sub signed_bodies {
    return [ map { {
        type => 'transfer', params => { recipient => $t->address(5), amount => '1' },
        userId => $t->fresh_address, nonce => $nonce++, expiresAt => time + 600,
        signature => '0x' . '12' x 40 } } 1 .. $_[0] ];
}

sub statuses {
    die $_[0]{content} if ref $_[0]{json} ne "ARRAY";
    my %n;
    $n{ $_->{status} }++ for @{ $_[0]{json} };
    return join ' ', map { "$_:$n{$_}" } sort keys %n;
}

is(statuses($t->post('/api/intents', signed_bodies(100))), '401:100', 'an array of a hundred');

sub unheard { $t->metric('intents_rejected_total', reason => 'signature') }

my $before = unheard();
$rpc->hold('before', 'eth_call');

my @children = map {
    my $child = $_;
    my $pid = fork // die "fork: $!";

    if (!$pid) {
        my $said = statuses($t->post('/api/intents', signed_bodies(100)));
        $t->write_file($t->dir . "/many.$child", $said);
        POSIX::_exit(0);
    }
    $pid;
} 1 .. 7;

wait_for(sub { unheard() - $before == 156 }, 20, 'those beyond the queue to be refused');
$rpc->release;
waitpid $_, 0 for @children;

my %all;
for my $child (1 .. 7) {
    my $said = $t->read_file($t->dir . "/many.$child");
    $all{$1} += $2 while $said =~ /(\d+):(\d+)/g;
}

is($all{401} + $all{503}, 700, '32 are asked at a time, and 512 wait; the others are told at once');
cmp_ok($all{401}, '>', 32, "who waited is asked in turn ($all{401})");

# nobody answers: those who wait are not kept for each other's time limits

$rpc->hold('before', 'eth_call');
my $began = time;
is(statuses($t->post('/api/intents', signed_bodies(100))), '503:100', 'a node that hangs');
cmp_ok(time - $began, '<', 20, 'is waited for by all at once');
$rpc->release;

my $told = () = $t->error_log =~ /\[error\] .* did not tell whether/g;
cmp_ok($told, '<', 20, "and is not told of a hundred times ($told)");

wait_for(sub { signed() == 401 }, 20, 'the node to be asked again');

$t->nginx_quit;
$t->clean_ok;
done_testing;
