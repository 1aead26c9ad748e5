# intent_health: what it says while all works, and of each thing that does not;
# and min_balance.

use strict;
use warnings;

use lib 't/lib';
use IntentTest qw(wait_for);
use Test::More;
use Time::HiRes qw(time);

my $t = IntentTest->new(
    workers => 2,
    chain => { min_balance => '5ether' },
    server => 'location /health { intent_health; }',
);

sub health { $t->get('/health') }

sub wait_health {
    my ($status, $what, $timeout) = @_;

    my $last;
    ok(eval { wait_for(sub { $last = health(); $last->{json}{status} eq $status },
                       $timeout // 30, $what) }, $what)
        or diag($last->{content});
    return $last;
}

# --- all is well ------------------------------------------------------------------

my $r = wait_health('up', 'it comes up');

wait_for(sub { $r = health(); defined $r->{json}{chains}[0]{rpc}[0]{head} }, 30,
         'the first poll of the node');

is($r->{status}, 200, 'with status 200');
is($r->{headers}{'content-type'}, 'application/json', 'JSON');
is($r->{headers}{'cache-control'}, 'no-store', 'not to be kept');
is_deeply($r->{json}{down}, [], 'nothing is down');
is($r->{json}{store}, 'up', 'the store');
is($r->{json}{cache}, 'up', 'the cache');

my ($chain) = @{ $r->{json}{chains} };
is($chain->{chain}, 'dev', 'the chain');
is($chain->{rpc}[0]{rpc}, '/_rpc/dev', 'its node');
is($chain->{rpc}[0]{breaker}, 'closed', 'is used');
like($chain->{rpc}[0]{head}, qr/^\d+$/, 'and its head is known');
is($chain->{lanes}[0]{signer}, $t->address(0), 'the lane');
ok($chain->{lanes}[0]{owner}, 'has an owner');

my $head = $t->http('HEAD', '/health');
is($head->{status}, 200, 'HEAD');
is($head->{headers}{'content-length'}, length $r->{content}, 'tells the length');
is($head->{content} // '', '', 'and sends nothing');
is($t->post('/health', '{}')->{status}, 405, 'POST is not allowed');

# --- Redis: it works without -------------------------------------------------------

$t->stop('redis');
$r = wait_health('degraded', 'without Redis it is degraded');
is($r->{status}, 200, 'which is 200');
is_deeply($r->{json}{down}, [ 'cache' ], 'and named');
$t->start('redis');
wait_health('up', 'Redis is back');

# --- the node ------------------------------------------------------------------------

# one that hangs is known long before the proxy's 60 s are over

$t->pause('anvil');
my $from = time;
$t->submit('transfer', { recipient => $t->fresh_address, amount => '1' });
$r = wait_health('down', 'a node that hangs is no node', 15);
cmp_ok(time - $from, '<', 12, sprintf 'which is known after %.1f s', time - $from);
ok($r->{json}{chains}[0]{rpc}[0]{slow}, 'it is slow');
is($r->{json}{chains}[0]{rpc}[0]{breaker}, 'closed', 'for its breaker is closed yet');
is_deeply($r->{json}{down}, [ 'rpc /_rpc/dev of chain dev' ], 'and it is named');
$t->resume('anvil');
wait_health('up', 'it answers again');

$t->kill('anvil');
$t->submit('transfer', { recipient => $t->fresh_address, amount => '1' });
$r = wait_health('down', 'without a node it is down');
is($r->{status}, 503, 'which is 503');
is_deeply($r->{json}{down}, [ 'rpc /_rpc/dev of chain dev' ], 'and named');
$t->start('anvil');
wait_health('up', 'the node is back');

# --- Postgres ---------------------------------------------------------------------------

$t->stop('postgres');
$r = wait_health('down', 'without Postgres it is down');
is($r->{status}, 503, 'which is 503');
ok((grep { $_ eq 'store' } @{ $r->{json}{down} }), 'and named');

ok(eval { wait_for(sub { grep { /^lane of 0x\w+ of chain dev$/ } @{ health()->{json}{down} } },
                   30, 'the lane to be without an owner') }, 'in time nobody has the lane')
    or diag($@);

$t->start('postgres');
wait_health('up', 'Postgres is back, and somebody has the lane');

# --- the signer's money ---------------------------------------------------------------------

is($t->metric('intent_signer_balance_low'), 0, 'the signer has enough');

$t->rpc('anvil_setBalance', $t->address(0), '0x3782dace9d900000');     # 4 ether
ok(eval { wait_for(sub { $t->metric('intent_signer_balance_low') == 1 }, 20, 'low') },
   'less than min_balance is told') or diag($@);
like($t->error_log, qr/0xf39F\w+ has less than its "min_balance"/, 'and logged');

# an intent of before may have been paid for since

like($t->metric('intent_signer_balance_wei'), qr/^(?:4000|3999)\d{15}$/, 'and how much it is');

$t->rpc('anvil_setBalance', $t->address(0), '0x4563918244f40000');     # 5 ether
ok(eval { wait_for(sub { $t->metric('intent_signer_balance_low') == 0 }, 20, 'enough') },
   'enough again') or diag($@);

# --- what it costs ----------------------------------------------------------------------------

wait_for(sub { !$t->psql(q(SELECT count(*) FROM intents WHERE status IN ('pending', 'executing'))) },
         60, 'what came while something was away to be done');

my $used = $t->metric('intent_gas_used_total', type => 'transfer', chain => 'dev');
my $intent = $t->post_intent('transfer', { recipient => $t->fresh_address, amount => '1' });
my $done = $t->wait_intent($intent->{intentId}, 'success');

my $gas = sub { $t->metric('intent_gas_used_total', type => 'transfer', chain => 'dev') - $used };
eval { wait_for(sub { $gas->() }, 10, 'it to be counted') };
is($gas->(), $done->{gasUsed}, 'gas is counted');
cmp_ok($t->metric('intent_gas_cost_wei_total', type => 'transfer', chain => 'dev'), '>=',
       $done->{gasCost}, 'and its cost');

$t->nginx_quit;
$t->clean_ok;

done_testing;
