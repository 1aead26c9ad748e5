# Watching intents live: each change is told once and in order, from whichever
# worker, with Redis, without it, and while it is away; a reload tells everybody to
# come back and leaves no socket open.

use strict;
use warnings;

use lib 't/lib';
use IntentTest qw(wait_for);
use IO::Select;
use Test::More;
use Time::HiRes qw(sleep time);

my $runs = $ENV{INTENT_TEST_RUNS} || 40;
my @tails;

END { local $?; kill 'KILL', $_->{pid} for @tails }

sub gateway {
    return IntentTest->new(
        chain => { poll_interval => '100ms' },
        api   => 'intent_user $http_x_user; intent_push_connections 0; intent_push_retry 100ms;',
        main  => 'worker_rlimit_nofile 16384;',
        @_,
    );
}

# What a program of t/push tells, line by line

sub tail {
    my ($t, @args) = @_;

    my $pid = open my $out, '-|', 'node', 't/push/tail.cjs', $t->url('/api/intents'), @args
        or die "node: $!";
    my $tail = { pid => $pid, out => $out, lines => [], in => '' };
    push @tails, $tail;
    return $tail;
}

sub take {
    my ($tail) = @_;

    while (IO::Select->new($tail->{out})->can_read(0)) {
        sysread $tail->{out}, $tail->{in}, 65536, length $tail->{in} or last;
    }
    push @{ $tail->{lines} }, $1 while $tail->{in} =~ s/^(.*)\n//;
    return @{ $tail->{lines} };
}

sub lines { my ($tail, $match) = @_; return grep { /$match/ } take($tail) }

sub told {
    my ($tail, $match, $n, $timeout) = @_;

    wait_for(sub { lines($tail, $match) >= ($n // 1) }, $timeout // 20,
             sub { "$match, there is:\n" . join "\n", take($tail) });
}

sub end { my $tail = shift; kill 'KILL', $tail->{pid}; close $tail->{out}; @tails = grep { $_ != $tail } @tails }

# versions of an intent in the order in which they were told: each later than the one before

sub in_order_ok {
    my ($tail, $id, $name) = @_;

    my @versions = map { /^$id (\d+)/ ? $1 : () } take($tail);
    my $wrong = grep { $versions[$_] <= $versions[ $_ - 1 ] } 1 .. $#versions;
    ok(@versions && !$wrong, "$name: versions @versions");
}

sub submit { my ($t, $user) = @_;
             my $r = $t->http('POST', '/api/intents',
                 { 'Content-Type' => 'application/json', 'X-User' => $user },
                 IntentTest::encode({ type => 'transfer',
                                      params => { recipient => $t->fresh_address, amount => '7' } }));
             $r->{status} == 202 or die "$r->{status} $r->{content}\n";
             return IntentTest::decode($r->{content})->{intentId} }


for my $workers ($ENV{WK} ? split(/,/, $ENV{WK}) : (2, 4)) {
    subtest "$workers workers" => sub {
        my $t = gateway(workers => $workers, anvil => { 'block-time' => 1 });
        my $url = $t->url('/api/intents');

        for my $kind (qw(ws ws-user sse sse-user)) {
            my $in_time = 0;

            for (1 .. 5) {
                my $out = IntentTest::decode(scalar `node t/push/watch.cjs $url $kind $runs 10 60`);

                is($out->{nfaults}, 0, "$kind: none missed, none twice, in order")
                    or diag(explain($out->{faults}));

                my $all = $out->{seen}{'pending executing success'} // 0;
                my $rest = $kind =~ /user/ ? 0 : $out->{seen}{'executing success'} // 0;

                # who subscribes after the end, on a busy machine, sees the end

                my $late = $kind =~ /user/ ? 0 : $out->{seen}{late} // 0;

                is($all + $rest + $late, $runs, "$kind: pending, executing, success ($all from pending)")
                    or diag(explain($out->{seen}));

                $in_time += $all + $rest;
                last if $in_time >= $runs / 2;
            }

            cmp_ok($in_time, '>=', $runs / 2, "$kind: enough of them came in time");
        }

        # a worker hears of the end of a connection when it looks

        ok(eval { wait_for(sub { $t->metric('intent_push_subscriptions', transport => $_) == 0 }, 20, 'none') },
           "no subscription of $_ is left") for qw(websocket sse);
        cmp_ok($t->metric('intent_push_messages_total', transport => 'websocket'), '>=', 5 * $runs,
               'messages are counted');

        $t->nginx_quit;
        $t->clean_ok;
    };
}

subtest 'Redis is killed, and back' => sub {
    my $t = gateway(workers => 2, anvil => { 'no-mining' => undef });
    my $id = submit($t, 'alice');
    my @tail = (tail($t, 'ws', $id), tail($t, 'sse', $id), tail($t, 'ws', 'user', 'alice'),
                tail($t, 'sse', 'user', 'alice'));

    told($_, qr/^$id \d+ executing/) for @tail;

    # how many workers have watchers of the user

    my ($channel) = $t->redis_cli('PUBSUB', 'CHANNELS', 'intent:user:*');
    my $watching = sub { ($t->redis_cli('PUBSUB', 'NUMSUB', $channel) =~ /(\d+)$/)[0] // 0 };
    my $workers = $watching->();

    $t->kill('redis');

    # one that begins without Redis, and one whose whole life is without it

    push @tail, tail($t, 'ws', $id), tail($t, 'sse', $id);
    told($_, qr/^$id \d+ executing/) for @tail[ 4, 5 ];
    my $other = submit($t, 'alice');
    told($_, qr/^$other/) for @tail[ 2, 3 ];

    my $ended = wait_for(sub { $t->mine; scalar $t->psql("SELECT status FROM intents WHERE id = '$id'") eq 'success'
                               && time }, 20, 'success');
    told($_, qr/^$id \d+ success/, 1, 5) for @tail;
    cmp_ok(time - $ended, '<', 2.5, sprintf 'told without Redis in %.1f s', time - $ended);
    told($tail[1], qr/^end/);
    told($tail[1], qr/^gone/);

    wait_for(sub { $t->mine; lines($tail[2], qr/^$other \d+ success/) && lines($tail[3], qr/^$other \d+ success/) },
             20, 'the other one');

    # it is back: told by Redis again, by every worker

    $t->restart('redis');
    wait_for(sub { my @back = $t->error_log =~ /redis \S+ is back/g; @back >= 4 }, 20,
             'two sessions of each worker to be back');
    wait_for(sub { $watching->() == $workers }, 20, 'the user to be watched in Redis');
    my $third = submit($t, 'alice');
    wait_for(sub { $t->mine; lines($tail[2], qr/^$third \d+ success/) && lines($tail[3], qr/^$third \d+ success/) },
             20, 'the third one');
    is(scalar lines($tail[2], qr/^$third 1 pending/), 1, 'from the first');

    for my $i (0 .. 5) { in_order_ok($tail[$i], $id, "connection $i") }
    for my $i (2, 3) { in_order_ok($tail[$i], $_, "connection $i") for $other, $third }

    end($_) for @tail;
    wait_for(sub { $t->redis_cli('PUBSUB', 'CHANNELS', 'intent:user:*') eq '' }, 10,
             'nothing to be subscribed that nobody watches');
    pass('what nobody watches is not subscribed');

    $t->nginx_quit;
    $t->clean_ok;
};

subtest 'Redis is silent while an intent changes' => sub {
    my $t = gateway(workers => 2, anvil => { 'no-mining' => undef });
    my $id = submit($t, 'bob');
    my @tail = (tail($t, 'ws', $id), tail($t, 'ws', 'user', 'bob'));

    told($_, qr/^$id \d+ executing/) for @tail;
    $t->pause('redis');
    wait_for(sub { $t->mine; scalar $t->psql("SELECT status FROM intents WHERE id = '$id'") eq 'success' }, 20, 'success');
    told($_, qr/^$id \d+ success/, 1, 6) for @tail;
    $t->resume('redis');
    my $other = submit($t, 'bob');
    wait_for(sub { $t->mine; lines($tail[1], qr/^$other \d+ success/) }, 20, 'another one');
    in_order_ok($_, $id, 'in order') for @tail;
    is(scalar lines($_, qr/^$id \d+ success/), 1, 'success is told once') for @tail;
    end($_) for @tail;

    $t->nginx_quit;
    $t->clean_ok;
};

subtest 'without intent_redis' => sub {
    my $t = gateway(workers => 2, start => 0, anvil => { 'block-time' => 1 });

    $t->{port} = IntentTest::free_port();
    $t->write_conf(conf => $t->conf_text =~ s/^\s*intent_redis.*?;$//mr);
    $t->nginx_start;

    my $user = tail($t, 'ws', 'user', 'carol');
    told($user, qr/^open/);
    my @ids = map { submit($t, 'carol') } 1 .. 10;
    my @tail = map { tail($t, $_, $ids[0]) } qw(ws sse);

    told($_, qr/^$ids[0] \d+ success/) for @tail;
    told($user, qr/^$_ \d+ success/) for @ids;
    in_order_ok($user, $_, 'of the user') for @ids;
    in_order_ok($_, $ids[0], 'of the intent') for @tail;
    is(scalar lines($user, qr/^$_ \d+ success/), 1, 'success is told once') for @ids;
    end($_) for $user, @tail;

    $t->nginx_quit;
    $t->clean_ok;
};

subtest 'a reload under connections' => sub {
    my $n = $ENV{INTENT_TEST_CONNECTIONS} || 500;
    my $t = gateway(workers => 2, anvil => { 'no-mining' => undef });
    my $id = submit($t, 'dave');
    my $ws = tail($t, 'ws', $id, '', $n);
    my $sse = tail($t, 'sse', $id, '', 50);

    told($ws, qr/^$id \d+ executing/, $n, 60);
    told($sse, qr/^$id \d+ executing/, 50);

    my $started = time;
    my @old = $t->workers;
    $t->nginx_reload;

    told($ws, qr/^close 1012/, $n, 30);
    is(scalar lines($ws, qr/^close 1012/), $n, 'each WebSocket is closed with 1012');
    wait_for(sub { !grep { $t->alive($_) } @old }, 30, 'the old workers to exit');
    diag(sprintf 'the old workers have exited after %.1f s', time - $started);

    # one that comes back at once may come to the other old worker, which has not heard yet

    wait_for(sub { my $ends = lines($sse, qr/^end/); $ends >= 50 && lines($sse, qr/^open/) == 50 + $ends }, 30,
             'each stream of events to end, and to be opened again');
    pass('each stream of events ends, and is opened again');

    wait_for(sub { $t->mine; lines($sse, qr/^$id \d+ success/) >= 50 }, 20, 'success for those who came back');
    told($sse, qr/^gone/, 50);
    pass('who came back is told the rest');
    is(scalar lines($sse, qr/^error/), 0, 'no error');
    end($_) for $ws, $sse;

    $t->nginx_quit;
    unlike($t->error_log, qr/open socket|did not end in time/, 'no socket is left open');
    $t->clean_ok;
};

done_testing;
