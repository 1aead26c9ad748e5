# Two nodes with faults on every third call, and two lanes: all that was
# accepted is carried out, once, to the wei.

use strict;
use warnings;

use lib 't/lib';
use ExactlyOnce;
use FaultyRpc;
use IntentTest;
use Test::More;
use Time::HiRes qw(time);

my $count = $ENV{INTENT_FAULTS_COUNT} // 2000;
my $seed = $ENV{INTENT_FAULTS_SEED} // int rand 1_000_000;
diag "seed $seed";

my %rates = (
    delay => 0.05, reset_before => 0.02, reset_after => 0.04, error_5xx => 0.03,
    limit => 0.005, limit_after => 0.005, limit_200 => 0.02, truncate => 0.02,
    junk => 0.01, html => 0.01, duplicate => 0.02, contradict => 0.01,
    reorder => 0.02, missing => 0.02, wrong_id => 0.01, no_method => 0.01,
    stale => 0.02,
);

my $sum = 0;
$sum += $_ for values %rates;
cmp_ok($sum, '>=', 0.3, sprintf 'faults on %.0f %% of the calls', 100 * $sum);

my $t = IntentTest->new(start => 0, workers => 2, accounts => 2,
                        anvil => { 'block-time' => 1 });
$t->mine(10);

my @nodes = map { FaultyRpc->new($t, $_, seed => $seed++) } qw(a b);

$t->{http} = FaultyRpc->upstreams(@nodes);
$t->{server} = FaultyRpc->locations(@nodes);
$t->{chain} = { rpc => [ map { "/_rpc/$_->{name}" } @nodes ],
                poll_interval => '250ms', confirmations => 2, max_in_flight => 512,
                retry => 'attempts=50 backoff=100ms max_backoff=1s' };
$t->write_conf;
$t->nginx_start;

my $run = ExactlyOnce->new($t, signers => [ $t->address(0), $t->address(1) ]);

$_->set(rates => \%rates, delay_ms => 500, retry_after => 1, stale_blocks => 5) for @nodes;

sub unseen {
    my %seen = map { %{ $_->told->{counts}{faults} } } @nodes;
    return grep { !$seen{$_} } sort keys %rates;
}

my $from = time;
$run->load(count => $count, connections => 32, timeout => 120);

# chance may have left some kinds out

for (1 .. 30) {
    last if unseen() <= 2;
    $run->load(count => 50, connections => 32)->wait_finished(180);
    $count += 50;
}

$run->check_ok(timeout => 180, unanswered => 0);
diag sprintf '%d intents in %.0f s', $count, time - $from;

is(scalar(keys %{ $run->{accepted} }), $count, 'all were accepted: faults of nodes are not the users\'');

for my $node (@nodes) {
    my $counts = $node->told->{counts};
    my $faults = 0;
    $faults += $_ for values %{ $counts->{faults} };

    # that is chance, too: five standard deviations

    my $mean = $sum * $counts->{calls};

    cmp_ok($faults, '>=', $mean - 5 * sqrt($mean * (1 - $sum)),
           "node $node->{name}: $faults faults in $counts->{calls} calls");
}

my @unseen = unseen();
ok(@unseen <= 2, 'of nearly every kind') or diag "not seen: @unseen";

$t->nginx_quit;
$t->clean_ok;

done_testing;
