# Several signers of one chain: the lane with the fewest jobs takes the next
# intent, whichever worker or nginx has it, and one that cannot holds up nobody.

use strict;
use warnings;

use lib 't/lib';
use ExactlyOnce;
use IntentTest qw(wait_for);
use Test::More;
use Time::HiRes qw(sleep time);

my %option = (
    accounts => 4,
    chain    => { poll_interval => '100ms', confirmations => 1, max_in_flight => 256 },
    anvil    => { 'block-time' => '0.5', 'gas-limit' => 300_000_000 },
);

my $t = IntentTest->new(%option, workers => 1);
my $run = ExactlyOnce->new($t, signers => [ map { $t->address($_) } 0 .. 3 ]);


# who has each lane, the last one that said so: [ the nginx, the worker's pid ]

sub owners {
    my %owner;

    for my $nginx (@_) {
        my $log = $nginx->error_log;

        while ($log =~ m{ (\d+)#.*this worker has the lane of (0x\w+), epoch (\d+)}g) {
            my ($pid, $signer, $epoch) = ($1, $2, $3);
            $owner{$signer} = [ $nginx, $pid, $epoch ]
                if $t->alive($pid) && $epoch > ($owner{$signer} || [ 0, 0, 0 ])->[2];
        }
    }

    return \%owner;
}

sub wait_lanes { my @nginx = @_; wait_for(sub { 4 == keys %{ owners(@nginx) } }, 30, 'all lanes') }

# carries out what $load submits: how many of it each signer has, as the chain
# has it, and how long it took

sub share {
    my $load = shift;
    my ($block, $from) = ($t->block_number + 1, time);

    $load->();
    $run->wait_finished(40);
    my $took = time - $from;

    my @n = map {
        my $mined = $t->mined_by($t->address($_), $block);
        scalar grep { lc($_->{to} // '') eq lc $run->{recipient} } map { @$_ } values %$mined;
    } 0 .. 3;

    return ($took, @n);
}

sub burst { my $n = shift; return sub { $run->load(count => $n, connections => 16) } }

sub trickle {
    my ($n, $pause) = @_;
    return sub { for (1 .. $n) { $run->load(count => 1, connections => 1); sleep $pause } };
}

sub shared_ok {
    my ($least, $most, $what, $took, @n) = @_;

    my ($low, $high) = (sort { $a <=> $b } @n)[0, -1];
    ok($low >= $least && $high <= $most, sprintf "$what: @n, in %.1f s", $took)
        or diag("each should have from $least to $most");
}

# Between workers a lane waits 20 ms for one with less to do: one that is not run for
# so long, as may be on a busy machine, takes less. So not each time, but soon.

sub soon_shared_ok {
    my ($least, $most, $what, $load) = @_;
    my ($took, @n);

    for my $try (1 .. 4) {
        ($took, @n) = share($load);
        last if !grep { $_ < $least || $_ > $most } @n;
        diag("$what: @n");
    }

    shared_ok($least, $most, $what, $took, @n);
}


# --- one worker has them all ---------------------------------------------------

wait_lanes($t);
share(burst(4));

my @turns = (0) x 4;

for (1 .. 4) {
    my ($took, @n) = share(burst(1));
    $turns[$_] += $n[$_] for 0 .. 3;
}

is("@turns", '1 1 1 1', 'of equals each takes its turn');
shared_ok(60, 140, 'a burst', share(burst(400)));
shared_ok(8, 22, 'what trickles in', share(trickle(60, 0.03)));

# --- two workers ------------------------------------------------------------------

$t->write_conf(workers => 2);
$t->nginx_reload;
wait_for(sub { 2 == keys %{ { map { $_->[1] => 1 } values %{ owners($t) } } } }, 30,
         'lanes in two workers');
pass('each worker has some of the lanes');

soon_shared_ok(40, 180, 'a burst', burst(400));
soon_shared_ok(2, 28, 'what trickles in', trickle(40, 0.03));

# --- one cannot pay for gas, then one for gas, but not for an intent --------------

my $rich = $t->rpc('eth_getBalance', $t->address(2), 'latest');

$t->rpc('anvil_setBalance', $t->address(1), '0x0');
wait_for(sub { $t->error_log =~ /cannot pay for gas/ }, 20, 'one to be without money');

my ($took, @n) = share(sub { burst(80)->(); trickle(20, 0.02)->() });
is(splice(@n, 1, 1), 0, 'who cannot pay for gas takes nothing');
shared_ok(12, 65, 'the others take all', $took, @n);

# 0.0005 ether is enough for a price of 2 gwei, but not for an ether besides

$t->rpc('anvil_setBalance', $t->address(3), '0x1c6bf52634000');
wait_for(sub { $t->metric('intent_signer_balance_wei', signer => $t->address(3)) < 1e15 }, 20,
         'another one to have little');

my @ids = map { $t->post_intent('transfer', { recipient => $t->fresh_address,
                                              amount => '1000000000000000000' })->{intentId} } 1 .. 30;
my @failed = grep { $_->{status} eq 'failed' }
             map { $t->wait_intent($_, qr/^(?:success|failed)$/, 40) } @ids;

is(@failed, 0, 'who cannot pay for what is wanted leaves it to others')
    or diag(map { "$_->{error}\n" } @failed);

$t->rpc('anvil_setBalance', $t->address($_), $rich) for 1, 3;

# --- a worker is killed: the others go on -----------------------------------------

my $victim = (values %{ owners($t) })[0][1];
($took, @n) = share(sub {
    burst(20)->();
    kill 'KILL', $victim;
    trickle(40, 0.03)->();
});
cmp_ok($took, '<', 15, sprintf "a worker that is killed holds up nobody: @n, in %.1f s", $took);
wait_lanes($t);

# --- two nginx -------------------------------------------------------------------------

my $other = IntentTest->new(%option, workers => 2, services => [], start => 0);
$other->{"${_}_port"} = $t->{"${_}_port"} for qw(postgres redis anvil);
$other->write_conf;
$other->nginx_start;

# who is stopped, and loses its session, loses its lanes to whoever comes first

sub has { my $nginx = shift; grep { $_->[0] == $nginx } values %{ owners($t, $other) } }

for (1 .. 12) {
    last if has($other) && has($t);

    my ($nginx, $worker) = @{ (values %{ owners($t, $other) })[0] };
    my ($backend) = $nginx->error_log =~
        /.* $worker#\d+: intent postgres session "executor" is up, [^\n]*backend (\d+)/s;

    kill 'STOP', $worker;
    $t->psql("SELECT pg_terminate_backend($backend)");
    wait_for(sub { !grep { $_->[1] == $worker } values %{ owners($t, $other) } }, 20,
             'its lanes to be taken');
    kill 'CONT', $worker;
    wait_lanes($t, $other);
}

ok(has($other) && has($t), 'each nginx has some of the lanes')
    or die 'there is nothing to see then';
wait_for(sub { my (undef, @n) = share(burst(8)); 4 == grep { $_ } @n }, 90,
         'all of them to take part');
soon_shared_ok(5, 180, 'a burst', burst(240));
soon_shared_ok(2, 28, 'what trickles in', trickle(40, 0.03));

my @stopped = ($other->nginx_pid, $other->workers);
kill 'STOP', @stopped;
($took, @n) = share(sub { burst(40)->(); trickle(10, 0.03)->() });
cmp_ok($took, '<', 12, sprintf "one that is stopped holds up nobody: @n, in %.1f s", $took);
kill 'CONT', @stopped;

$run->check_ok;

$_->nginx_quit for $other, $t;
$t->clean_ok;

done_testing;
