# Postgres stopped and started, Redis killed, anvil started anew with its
# state, each in the middle of a run: everything accepted is carried out once.

use strict;
use warnings;

use lib 't/lib';
use ExactlyOnce;
use IntentTest;
use Test::More;
use Time::HiRes qw(sleep);

my $t = IntentTest->new(
    workers => 2,
    chain   => { max_in_flight => 512, poll_interval => '100ms' },
    anvil   => { 'block-time' => 1, 'gas-limit' => 300_000_000 },
);

my $count = 2500;

my %outage = (

    'Postgres is stopped and started' => sub {
        $t->stop('postgres');
        sleep 1;
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
        sleep 1;
        $t->start('redis');
    },

    'Redis hangs for two seconds' => sub {
        $t->pause('redis');
        sleep 2;
        $t->resume('redis');
    },

    'anvil is stopped and started with its state' => sub {
        $t->stop('anvil');
        sleep 1;
        $t->start('anvil');
    },

    'anvil hangs for two seconds' => sub {
        $t->pause('anvil');
        sleep 2;
        $t->resume('anvil');
    },
);

for my $name (sort keys %outage) {
    subtest $name => sub {
        my $run = ExactlyOnce->new($t);
        my $done;

        $run->load(count => $count, connections => 32, timeout => 120, each => sub {
            return if $done || $_[0] < $count / 3;
            $done = 1;
            $outage{$name}->();
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
