# kill -9 of every nginx process at twenty random moments, each time started
# again: what was answered with 202 is carried out, and nothing twice.

use strict;
use warnings;

use lib 't/lib';
use ExactlyOnce;
use IntentTest;
use Test::More;
use Time::HiRes qw(sleep);

my $kills = 20;
my $count = 6000;

my $t = IntentTest->new(
    workers => 2,
    chain   => { max_in_flight => 512, poll_interval => '100ms', confirmations => 2 },
    anvil   => { 'block-time' => 1, 'gas-limit' => 300_000_000 },
);

my $run = ExactlyOnce->new($t);
my @at = sort { $a <=> $b } map { 1 + int rand $count } 1 .. $kills;

diag("kills after @at answers");

$run->load(count => $count, connections => 32, timeout => 200, each => sub {
    my $answered = shift;

    while (@at && $answered >= $at[0]) {
        shift @at;

        # a moment later, so that it hits every step of the lane's work
        sleep rand 0.5;
        $t->nginx_kill;
        $t->nginx_start;
    }
});

is(scalar @at, 0, "nginx was killed $kills times");
cmp_ok(scalar(keys %{ $run->{accepted} }), '>', $count / 2, 'most POSTs were answered with 202');

$run->check_ok(timeout => 180);

$t->nginx_quit;
$t->clean_ok;

done_testing;
