# Ten thousand intents into two workers, three times over: every 202 reaches
# success, the sum on the chain is exact, and the workers do not grow.

use strict;
use warnings;

use lib 't/lib';
use ExactlyOnce;
use IntentTest;
use Test::More;

my $count = $ENV{INTENT_TEST_COUNT} || 10_000;

my $t = IntentTest->new(
    workers => 2,
    chain   => { max_in_flight => 2048, poll_interval => '100ms' },
    anvil   => { 'block-time' => 1, 'gas-limit' => 300_000_000 },
);

# Private memory of a worker that has just been given work and of one that has
# done it differ by its pools and libpq's and hiredis' buffers; a leak of 100
# bytes for each intent would be 1 MB a round.

sub memory {
    my $sum = 0;

    for my $pid ($t->workers) {
        open my $file, '<', "/proc/$pid/smaps_rollup" or next;
        /^Private_\w+: +(\d+) kB/ and $sum += $1 for <$file>;
    }

    return $sum;
}

my $run = ExactlyOnce->new($t);
my @memory;

for my $round (1 .. 3) {
    $run->load(count => $count, connections => 64, timeout => 120);
    $run->wait_finished(180);
    push @memory, memory();
}

diag("private memory of the workers after each round, kB: @memory");

is(scalar(keys %{ $run->{accepted} }), 3 * $count, 'every POST was answered with 202');
$run->check_ok;

cmp_ok($memory[2] - $memory[1], '<', 900, 'memory is flat from the second round to the third');

is($t->metric('intents_submitted_total', type => 'transfer', status => 'success'),
   3 * $count, 'the metrics have counted them');
ok(eval { wait_for(sub { $t->metric('intent_lane_in_flight', chain => 'dev') == 0 }, 20, 'the lane') },
   'nothing is in flight any more');

$t->nginx_quit;
$t->clean_ok;

done_testing;
