# Postgres stopped and started, Redis killed, anvil started anew with its
# state, each in the middle of a run: everything accepted is carried out once.
# What is gone is gone for INTENT_TEST_OUTAGE seconds.

use strict;
use warnings;

use lib 't/lib';
use ExactlyOnce;
use IntentTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $seconds = $ENV{INTENT_TEST_OUTAGE} // 2;

my $t = IntentTest->new(
    workers => 2,
    chain   => { max_in_flight => 512, poll_interval => '100ms' },
    anvil   => { 'block-time' => 1, 'gas-limit' => 300_000_000 },
);

my $count = 2500;

my %outage = (

    'Postgres is stopped and started' => sub {
        $t->stop('postgres');
        sleep $seconds;
        is($t->submit('transfer', { recipient => $t->address(5), amount => '1' })->{status},
           503, 'without Postgres a POST is answered with 503');
        $t->start('postgres');
    },

    'Postgres is killed' => sub {
        $t->kill('postgres');
        $t->start('postgres');
    },

    'Postgres hangs for two seconds' => sub {
        $t->pause('postgres');
        sleep 2;
        $t->resume('postgres');
    },

    'Redis is killed' => sub {
        $t->kill('redis');
        go_on($_[0]);
        $t->start('redis');
    },

    'Redis hangs for two seconds' => sub {
        $t->pause('redis');
        sleep 2;
        $t->resume('redis');
    },

    'anvil is stopped and started with its state' => sub {
        $t->stop('anvil');
        go_on($_[0]);
        $t->start('anvil');
    },

    'anvil hangs for two seconds' => sub {
        $t->pause('anvil');
        sleep 2;
        $t->resume('anvil');
    },
);

# POSTs are taken all the time

sub go_on {
    my $run = shift;
    my $accepted = keys %{ $run->{accepted} };
    my $end = time + $seconds;

    do {
        $run->load(count => 10, connections => 4);
        sleep 0.5;
    } while (time < $end);

    is(keys(%{ $run->{accepted} }) % 10, $accepted % 10, 'all POSTs meanwhile were accepted');
}

for my $name (sort keys %outage) {
    subtest $name => sub {
        my $run = ExactlyOnce->new($t);
        my $done;

        $run->load(count => $count, connections => 32, timeout => 120 + $seconds, each => sub {
            return if $done || $_[0] < $count / 3;
            $done = 1;
            $outage{$name}->($run);
        });

        ok(keys %{ $run->{accepted} }, 'POSTs were accepted');
        $run->check_ok(timeout => 120);
    };
}

# and a status is served without Redis

$t->kill('redis');
my $intent = $t->post_intent('transfer', { recipient => $t->address(5), amount => '7' });
$t->wait_intent($intent->{intentId}, 'success');
pass('without Redis an intent goes its way, and GET tells');

$t->nginx_quit;
$t->clean_ok;

done_testing;
