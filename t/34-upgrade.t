# A binary upgrade, a quit and reloads with another number of workers, each in
# the middle of a run: no accepted intent is lost, none is carried out twice,
# the lanes go from worker to worker, no alert.

use strict;
use warnings;

use lib 't/lib';
use ExactlyOnce;
use IntentTest qw(wait_for);
use Test::More;
use Time::HiRes qw(sleep time);

my $t = IntentTest->new(
    workers  => 2,
    accounts => 2,
    chain    => { max_in_flight => 512, poll_interval => '100ms' },
    anvil    => { 'block-time' => 1, 'gas-limit' => 300_000_000 },
);

my @signers = map { $t->address($_) } 0, 1;

# { signer => pid of the worker that has its lane }, as the log tells

sub lanes {
    my %lane;

    for (split /\n/, $t->error_log) {
        $lane{$2} = $1 if /(\d+)#\d+: intent chain "dev": this worker has the lane of (0x\w+)/;
        delete $lane{$2}
            if /(\d+)#\d+: intent chain "dev": this worker gave up the lane of (0x\w+)/
               && ($lane{$2} // 0) == $1;
    }

    return \%lane;
}

sub wait_lanes {
    my $master = shift;

    wait_for(sub {
        my %worker = map { $_ => 1 } $t->children($master);
        my $lanes = lanes();
        2 == grep { $worker{ $lanes->{$_} // 0 } } @signers;
    }, 40, "workers of $master to have both lanes");
}

sub pid_in { my ($pid) = $t->read_file("$t->{dir}/$_[0]") =~ /^(\d+)$/m; $pid }

subtest 'binary upgrade' => sub {
    my $run = ExactlyOnce->new($t, signers => \@signers);
    my $old = $t->nginx_pid;
    my @old = $t->workers;
    my ($new, %step);

    wait_lanes($old);

    $run->load(count => 600, connections => 8, timeout => 60, each => sub {
        my $n = shift;

        if ($n >= 150 && !$step{usr2}++) {
            kill 'USR2', $old;
            wait_for(sub { $new = pid_in('nginx.pid');
                           $new && $new != $old && -e "$t->{dir}/nginx.pid.oldbin"
                           && $t->children($new) >= 2 }, 20, 'a new master and its workers');
        }

        if ($n >= 300 && !$step{winch}++) {
            kill 'WINCH', $old;
        }
    });

    isnt($new, $old, 'there is a new master');
    wait_for(sub { !grep { $t->alive($_) } @old }, 20, 'the old workers to exit');
    pass('the old workers have exited');
    ok($t->alive($old), 'the old master has not');

    wait_lanes($new);
    pass('the new workers have both lanes');

    kill 'QUIT', $old;
    wait_for(sub { !$t->alive($old) }, 20, 'the old master to exit');
    pass('the old master has exited');

    $run->load(count => 50, connections => 4);
    is(scalar(keys %{ $run->{accepted} }) + keys %{ $run->{unknown} }, 650,
       'none was refused');
    $run->check_ok(timeout => 60, unanswered => 0);
    ok(! -e "$t->{dir}/nginx.pid.oldbin", 'the pid file is the new one');
};

subtest 'quit with intents in flight' => sub {
    my $run = ExactlyOnce->new($t, signers => \@signers);

    $t->rpc('evm_setIntervalMining', 0);        # no block ends them meanwhile
    $run->load(count => 300, connections => 8);
    cmp_ok($run->unfinished, '>', 0, 'intents are in flight');

    my $started = time;
    $t->nginx_quit(20);
    my $seconds = time - $started;

    cmp_ok($seconds, '<', 5, sprintf 'nginx has exited within a few seconds (%.2f s)', $seconds);
    cmp_ok($run->unfinished, '>', 0, 'before all of them ended');

    $t->rpc('evm_setIntervalMining', 1);
    $t->nginx_start;
    $run->check_ok(timeout => 60, unanswered => 0);
};

subtest 'another number of workers' => sub {
    my $run = ExactlyOnce->new($t, signers => \@signers);

    for my $workers (4, 1, 2) {
        my @old;

        $run->load(count => 120, connections => 8, timeout => 60, each => sub {
            @old = $t->nginx_reload(workers => $workers) if $_[0] == 40;
        });

        wait_for(sub { !grep { $t->alive($_) } @old }, 35, 'the old workers to exit');
        wait_for(sub { $t->workers == $workers }, 10, "$workers workers");
        pass("a reload makes it $workers");
        wait_lanes($t->nginx_pid);
        pass('which have both lanes');
    }

    $run->check_ok(timeout => 60, unanswered => 0);
};

unlike($t->error_log, qr/did not end in time/, 'no worker had to leave work behind');

$t->nginx_quit;
$t->clean_ok;

done_testing;
