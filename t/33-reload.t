# A reload twice a second for a minute, under load: no intent and no answer is
# lost, the lanes go from worker to worker, no alert.

use strict;
use warnings;

use lib 't/lib';
use ExactlyOnce;
use IntentTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $seconds = $ENV{INTENT_TEST_SECONDS} || 60;

my $t = IntentTest->new(
    workers => 2,
    chain   => { max_in_flight => 512, poll_interval => '100ms' },
    anvil   => { 'block-time' => 1, 'gas-limit' => 300_000_000 },
);

my $run = ExactlyOnce->new($t);

my $reloader = fork // die "fork: $!";

if ($reloader == 0) {
    my $end = time + $seconds;

    while (time < $end) {
        kill 'HUP', $t->nginx_pid;
        sleep 0.5;
    }

    POSIX::_exit(0);
}

my $end = time + $seconds;
my $rounds = 0;

while (time < $end) {
    $run->load(count => 150, connections => 8, timeout => 60);
    $rounds++;
    sleep 0.5;
}

waitpid $reloader, 0;
is($?, 0, "reloaded twice a second for $seconds seconds");

# A POST sent on a connection that nginx closes at that moment, idle, gets no
# answer: it must not have been kept then

my $unknown = keys %{ $run->{unknown} };
my $accepted = keys %{ $run->{accepted} };

diag("$rounds rounds, $accepted accepted, $unknown without an answer");

$run->check_ok(timeout => 120, unanswered => 0);

wait_for(sub { $t->workers == 2 }, 40, 'the old workers to exit');
pass('the old workers have exited');

my $log = $t->error_log;
unlike($log, qr/did not end in time/, 'no worker had to leave work behind');

$t->nginx_quit;
$t->clean_ok;

done_testing;
