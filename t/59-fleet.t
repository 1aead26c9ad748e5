# Several owners of the same lanes, one at a time: two nginx on one Postgres,
# one of them killed again and again; an owner that is stopped, and wakes up
# when another one has its lane.

use strict;
use warnings;

use lib 't/lib';
use ExactlyOnce;
use HoldingRpc;
use IntentTest qw(wait_for);
use Test::More;
use Time::HiRes qw(sleep time);

my $seconds = $ENV{INTENT_FLEET_SECONDS} // 30;


# the worker that has the lane, and its session, as the log has them

sub owner_backend {
    my ($t, $worker) = @_;
    my @pids = $t->error_log =~
        / $worker#\d+: intent postgres session "executor" is up, .*backend (\d+)/g;
    return $pids[-1];
}

sub owner_worker {
    my $t = shift;
    my ($pid) = ($t->error_log =~ /.*\[notice\] (\d+)#.*this worker has the lane/s);
    return $pid;
}


for my $moment ('at any time', 'while it sends') {
    subtest "an owner that is stopped $moment, and wakes up when another one has its lane" => sub {
        my $t = IntentTest->new(start => 0, workers => 2,
            chain => { poll_interval => '50ms', confirmations => 2 });
        my $rpc = HoldingRpc->new($t);
        my %conf = $rpc->conf;
        $t->{chain}{rpc} = delete $conf{rpc_uri};
        $t->write_conf(%conf);
        $t->nginx_start;

        my $run = ExactlyOnce->new($t);
        $run->load(count => 20, connections => 1);
        $run->wait_finished;

        for my $round (1 .. 3) {
            my $worker = owner_worker($t);
            my $backend = owner_backend($t, $worker);

            $rpc->hold('before', 'eth_sendRawTransaction') if $moment eq 'while it sends';
            $run->load(count => 30, connections => 1);
            $rpc->wait_held if $moment eq 'while it sends';

            kill 'STOP', $worker;

            # its session does not outlive this: the server gives up on it

            $t->psql("SELECT pg_terminate_backend($backend)");
            $rpc->release if $moment eq 'at any time';

            wait_for(sub { owner_worker($t) != $worker }, 20, 'another worker to take the lane');

            # both hold transactions of the same nonces now; held ones go first

            $rpc->release;
            sleep 0.3 * $round if $moment eq 'at any time';
            kill 'CONT', $worker;

            $run->wait_finished(60);
        }

        like($t->error_log, qr/the lane of \S+ is lost with the session/, 'it sees that it lost it');
        $run->check_ok;

        $t->nginx_quit;
        $t->clean_ok;
    };
}


subtest "two nginx, one of them killed every few seconds, for $seconds s" => sub {
    my %option = (
        workers  => 2,
        accounts => 2,
        chain    => { poll_interval => '100ms', confirmations => 2, max_in_flight => 128 },
        anvil    => { 'block-time' => 1, 'gas-limit' => 300_000_000 },
    );

    my $t = IntentTest->new(%option);
    my $other = IntentTest->new(%option, services => [], start => 0);
    $other->{"${_}_port"} = $t->{"${_}_port"} for qw(postgres redis anvil);
    $other->write_conf;
    $other->nginx_start;

    my $run = ExactlyOnce->new($t, signers => [ $t->address(0), $t->address(1) ]);

    # it says how long nothing was written while there was something to do

    pipe my $read, my $write;
    my $watch = fork // die "fork: $!";

    if ($watch == 0) {
        my ($since, $longest, $last) = (time, 0, '');
        open STDERR, '>', '/dev/null';
        $SIG{TERM} = sub { syswrite $write, "$longest\n"; POSIX::_exit(0) };

        while (1) {
            my ($signers) = join ' ', $t->psql(
                "SELECT signer, next_nonce, (SELECT count(*) FROM intents i
                     WHERE i.claimed_by = l.signer AND i.status IN ('success', 'failed'))
                 FROM intent_lanes l");
            my $unfinished = $run->unfinished;

            if ($signers ne $last || $unfinished == 0) { ($since, $last) = (time, $signers) }
            elsif (time - $since > $longest) { $longest = time - $since }

            sleep 0.1;
        }
    }

    close $write;

    my $kills = 0;
    my $killer = fork // die "fork: $!";

    if ($killer == 0) {
        my $end = time + $seconds;

        while (time < $end) {
            sleep 2 + rand 2;
            my $victim = (rand) < 0.5 ? $t : $other;
            $victim->nginx_kill;
            sleep rand 1;
            $victim->nginx_start;
        }

        POSIX::_exit(0);
    }

    my $end = time + $seconds;

    while (time < $end) {
        $run->load(count => 60, connections => 8, timeout => 60, retry => 0);
        sleep 0.3;
    }

    waitpid $killer, 0;
    is($?, 0, 'they were killed, and started again');

    $run->check_ok(timeout => 90);
    diag(scalar(keys %{ $run->{accepted} }) . ' accepted');

    kill 'TERM', $watch;
    my $longest = <$read>;
    waitpid $watch, 0;
    chomp $longest;
    cmp_ok($longest, '<', 10, sprintf 'no lane was idle over 10 s (%.1f s)', $longest);

    $_->nginx_quit for $t, $other;
    $_->clean_ok for $t, $other;
};


done_testing;
