# kill -9 between every two steps of an intent's way, each held open until
# then: what was accepted is carried out, and nothing twice.

use strict;
use warnings;

use lib 't/lib';
use ExactlyOnce;
use HoldingRpc;
use IntentTest qw(wait_for);
use Test::More;
use Time::HiRes qw(sleep);

my $t = IntentTest->new(
    start => 0,
    anvil => { 'block-time' => 1, 'gas-limit' => 300_000_000 },
    chain => { poll_interval => '50ms', confirmations => 2, replace_after => '1s' },
);
my $rpc = HoldingRpc->new($t);
my %conf = $rpc->conf;

$t->{chain}{rpc} = delete $conf{rpc_uri};
$t->write_conf(%conf);
$t->nginx_start;

my $run = ExactlyOnce->new($t);

# a statement of a lane that writes waits for the lane's row

sub lock_lane {
    my $pid = fork // die "fork: $!";

    if ($pid == 0) {
        open STDERR, '>', '/dev/null';
        eval { $t->psql('BEGIN; SELECT 1 FROM intent_lanes FOR UPDATE;
                         SELECT pg_sleep(60) /* holds the lane */') };
        POSIX::_exit(0);
    }

    wait_for(sub { $t->psql(q(SELECT count(*) FROM pg_stat_activity
                   WHERE query LIKE '%holds the lane%' AND wait_event = 'PgSleep')) },
             10, 'the lock');
    return $pid;
}

sub unlock_lane {
    my $pid = shift;
    $t->psql(q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE query LIKE '%holds the lane%' AND pid <> pg_backend_pid()));
    waitpid $pid, 0;
}

sub lane_waits {
    wait_for(sub { $t->psql(q(SELECT count(*) FROM pg_stat_activity
                   WHERE query LIKE '%UPDATE intent_lanes SET next_nonce%'
                   AND wait_event_type = 'Lock')) }, 20, 'the lane to wait');
}

sub killed {
    my ($what) = @_;

    $t->nginx_kill;
    $rpc->release;
    pass("killed $what");
}

sub go_on {
    $t->nginx_start;
    $run->wait_finished(60);
}

sub load { $run->load(count => 15, connections => 4) }

# the first of all, so that the lane is there

load();
$run->wait_finished;

my @points = (
    [ before => 'eth_estimateGas', 'when they were claimed' ],
    [ after  => 'eth_estimateGas', 'when they were estimated' ],
    [ before => 'eth_sendRawTransaction', 'when they were saved' ],
    [ after  => 'eth_sendRawTransaction', 'when they were sent' ],
    [ before => 'eth_getTransactionReceipt', 'when they were mined' ],
    [ after  => 'eth_getTransactionReceipt', 'when their receipts were there' ],
    [ before => 'eth_getBlockByNumber","params":\["0x', 'before their block was looked at' ],
    [ after  => 'eth_getBlockByNumber","params":\["0x', 'when it was' ],
);

for my $point (@points) {
    my ($when, $what, $words) = @$point;

    $rpc->hold($when, $what);
    load();
    $rpc->wait_held;
    killed($words);
    go_on();
}

# a statement that has reached Postgres is carried out when its client is gone

for my $way (0, 1) {
    my $lock = lock_lane();
    load();
    lane_waits();
    killed('while they were saved');
    unlock_lane($lock);
    go_on();
}

{
    $rpc->hold('before', 'eth_getTransactionReceipt');
    load();
    $rpc->wait_held;
    my $lock = lock_lane();
    $rpc->release;
    lane_waits();
    killed('while it was recorded that they were mined');
    unlock_lane($lock);
    go_on();
}

# a replacement: saved and not sent, sent and not heard of

for my $when ('before', 'after') {
    $t->rpc('evm_setIntervalMining', 0);
    load();
    wait_for(sub { hex $t->rpc('txpool_status')->{pending} >= 15 }, 20, 'the pool to have them');

    # the node forgets the first of them, and makes blocks without it

    my ($hash) = $t->psql("SELECT '0x' || encode(hash, 'hex') FROM intent_transactions
                           WHERE state = 'live' ORDER BY nonce LIMIT 1");
    $t->rpc('anvil_dropTransaction', $hash);
    $rpc->hold($when, 'eth_sendRawTransaction');
    $t->mine(3);
    $rpc->wait_held;

    cmp_ok($t->psql("SELECT count(*) FROM intent_transactions WHERE state = 'replaced'"), '>', 0,
           'a replacement is saved');
    killed("$when it was sent");
    $t->rpc('evm_setIntervalMining', 1);
    go_on();
}

$run->check_ok;

is($t->psql("SELECT count(*) FROM intent_transactions WHERE state IN ('live', 'replaced')"), 0,
   'nothing is left');

# a pool that is full

$rpc->refuse('txpool is full', 'eth_sendRawTransaction');
load();
$rpc->wait_held;
sleep 1;
is($t->psql("SELECT count(*) FROM intents WHERE status = 'failed'"), 0,
   'with a full pool nothing fails');
$rpc->release;
$run->check_ok(timeout => 60);

$t->nginx_quit;
$t->clean_ok;

done_testing;
