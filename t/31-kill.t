# kill -9 of every nginx process at twenty random moments under load, each time
# started again: what was answered with 202 is carried out, and nothing twice.

use strict;
use warnings;

use lib 't/lib';
use ExactlyOnce;
use IntentTest;
use POSIX qw(WNOHANG);
use Test::More;
use Time::HiRes qw(sleep);

my $kills = 20;

my $t = IntentTest->new(
    workers => 2,
    chain   => { max_in_flight => 512, poll_interval => '100ms', confirmations => 2 },
    anvil   => { 'block-time' => 1, 'gas-limit' => 300_000_000 },
);

my $run = ExactlyOnce->new($t);
my $killer = fork // die "fork: $!";

if ($killer == 0) {
    for (1 .. $kills) {
        sleep 0.3 + rand 1.2;
        $t->nginx_kill;
        $t->nginx_start;
    }

    POSIX::_exit(0);
}

# in bursts, so that the chain, which makes a block a second, can follow

until (waitpid($killer, WNOHANG) == $killer) {
    $run->load(count => 100, connections => 16, timeout => 60);
    sleep 0.3;
}

is($?, 0, "nginx was killed $kills times");

my $accepted = keys %{ $run->{accepted} };
my $unknown = keys %{ $run->{unknown} };

cmp_ok($accepted, '>', 500, "$accepted POSTs were answered with 202");
diag("$accepted accepted, $unknown without an answer");

$run->check_ok(timeout => 180);

$t->nginx_quit;
$t->clean_ok;

done_testing;
