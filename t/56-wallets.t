# Wallets that are contracts: whatever a node says of one that cannot be run is a
# no, and is asked once; only what is the node's own trouble is no answer.

use strict;
use warnings;

use lib 't/lib';
use HoldingRpc;
use IntentTest qw(wait_for);
use Test::More;

my $t = IntentTest->new(start => 0, anvil => {}, api => 'intent_signature optional;',
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

$t->nginx_quit;
$t->clean_ok;
done_testing;
