# Socket.IO: the stock client with its default options sees each change once and in order,
# whichever worker its requests come to; and the protocol, word by word.

use strict;
use warnings;

use lib 't/lib';
use IntentTest qw(wait_for);
use HTTP::Tiny;
use Test::More;
use Time::HiRes qw(time);

my $runs = $ENV{INTENT_TEST_RUNS} || 40;

sub gateway {
    my (%option) = @_;
    my $location = delete $option{location} // '';
    my $more = delete $option{more} // '';

    return IntentTest->new(
        chain  => { poll_interval => '100ms' },
        api    => 'intent_user $http_x_user;',
        server => "location /socket.io/ { intent_socketio; intent_user \$http_x_user;
                       intent_push_connections 0; $location } $more",
        %option,
    );
}

sub client { my ($t, @args) = @_;
             return IntentTest::decode(scalar `node t/push/socketio.cjs @{[ $t->url ]} @args`) }

# a request on a connection of its own, so that any worker may get it; what is about
# pings has a place of its own, so that all else has time

our $path = '/socket.io/';

sub ask {
    my ($t, $method, $query, $body, $headers) = @_;

    return HTTP::Tiny->new(keep_alive => 0, timeout => 20)->request($method,
        $t->url("$path?$query"), { headers => $headers // {},
                                         defined $body ? (content => $body) : () });
}

my $polling = 'EIO=4&transport=polling';

sub sid { my ($t) = @_; my $r = ask($t, 'GET', $polling);
          $r->{content} =~ /"sid":"([\w-]{22})"/ or die "$r->{status} $r->{content}"; return $1 }

sub connected { my ($t) = @_; my $sid = sid($t);
                ask($t, 'POST', "$polling&sid=$sid", '40');
                ask($t, 'GET', "$polling&sid=$sid")->{content} =~ /^40\{"sid":"[^"]+"\}$/ or die;
                return $sid }

sub error_is { my ($r, $status, $code, $name) = @_;
               is("$r->{status} " . (IntentTest::decode($r->{content})->{code} // ''),
                  "$status $code", $name) or diag($r->{content}) }

for my $workers (split /,/, $ENV{WK} // '2,4') {
    subtest "$workers workers" => sub {
        my $t = gateway(workers => $workers, anvil => { 'block-time' => 1 });

        my %in_time;

        for my $mode (map { ($_) x 5 } qw(default polling websocket user)) {
            next if defined $in_time{$mode} && ($ENV{SANITIZE} || $in_time{$mode} >= $runs / 2);
            my $out = client($t, $mode, $runs, 10, 60);

            is($out->{nfaults}, 0, "$mode: none missed, none twice, in order")
                or diag(explain($out->{faults}));

            my $all = $out->{seen}{'pending executing success'} // 0;
            my $rest = $mode eq 'user' ? 0 : $out->{seen}{'executing success'} // 0;

            # who subscribes after the end, on a busy machine, sees the end

            my $late = $mode eq 'user' ? 0 : $out->{seen}{success} // 0;
            $in_time{$mode} += $all + $rest;

            is($all + $rest + $late, $runs, "$mode: pending, executing, success ($all from pending)")
                or diag(explain($out->{seen}));
            is($out->{transports}{ $mode eq 'polling' ? 'polling' : 'websocket' }, $runs,
               "$mode: by the right transport") or diag(explain($out->{transports}));
        }

        for my $mode (sort keys %in_time) {
            cmp_ok($in_time{$mode}, '>=', $runs / 2, "$mode: enough of them came in time") if !$ENV{SANITIZE};
        }

        wait_for(sub { $t->metric('intent_push_subscriptions', transport => 'socketio') == 0 }, 10,
                 'no subscription is left');
        cmp_ok($t->metric('intent_push_messages_total', transport => 'socketio'), '>=', 8 * $runs,
               'messages are counted');

        $t->nginx_quit;
        $t->clean_ok;
    };
}

subtest 'acks, errors, namespaces' => sub {
    my $t = gateway(workers => 4, anvil => { 'no-mining' => undef }, location => 'intent_push_subscriptions 2;');
    my $id = $t->post_intent('transfer', { recipient => $t->fresh_address, amount => '7' })->{intentId};
    my $out = IntentTest::decode(scalar `node t/push/socketio-acks.cjs @{[ $t->url ]} $id`);

    for my $transport (qw(polling websocket)) {
        my $o = $out->{$transport};

        ok($o->{subscribe}{ok}, "$transport: an ack");
        is($o->{update}, $id, "$transport: what it is now is told");
        is($o->{again}, $id, "$transport: and again to who comes back");
        like($o->{bad}{detail}, qr/UUID/, "$transport: an ack that says what is wrong");
        like($o->{many}{detail}, qr/too many/, "$transport: too many subscriptions");
        like($o->{user}{detail}, qr/who you are/, "$transport: nobody has no intents");
        like($o->{event}{detail}, qr/only the events/, "$transport: another event");
        is($o->{missing}{detail}, 'there is no such intent', "$transport: an unknown intent");
        like($o->{error}{detail}, qr/UUID/, "$transport: an error where no ack was wanted");
        is($o->{namespace}, 'Invalid namespace', "$transport: another namespace");
    }

    $t->nginx_quit;
    $t->clean_ok;
};

subtest 'the protocol' => sub {
    my $location = 'intent_push_message_size 1k; intent_push_origin self https://shop.example;';
    my $t = gateway(workers => 4, location => "$location intent_push_ping 25s 20s;",
                    more => "location /pings/socket.io/ { intent_socketio; intent_push_connections 0; $location
                                 intent_push_ping 1s 2s; }");

    error_is(ask($t, 'GET', 'EIO=4&transport=smoke'), 400, 0, 'an unknown transport');
    error_is(ask($t, 'GET', 'EIO=4'), 400, 0, 'no transport');
    error_is(ask($t, 'GET', "$polling&sid=nobody"), 400, 1, 'an unknown session');
    error_is(ask($t, 'POST', $polling, '40'), 400, 2, 'a handshake by POST');
    error_is(ask($t, 'GET', 'EIO=4&transport=websocket'), 400, 3, 'no upgrade');
    error_is(ask($t, 'GET', 'EIO=3&transport=polling'), 400, 5, 'another version');
    error_is(ask($t, 'GET', 'transport=polling'), 400, 5, 'no version');
    error_is(ask($t, 'GET', $polling, undef, { Origin => 'https://evil.example' }), 403, 4, 'an origin');

    my $r = ask($t, 'GET', $polling, undef, { Origin => 'https://shop.example' });
    my $open = IntentTest::decode(substr $r->{content}, 1);
    is($r->{headers}{'access-control-allow-origin'}, 'https://shop.example', 'CORS');
    is($r->{headers}{'access-control-allow-credentials'}, 'true', 'with credentials');
    is_deeply([ @{$open}{qw(upgrades pingInterval pingTimeout maxPayload)} ],
              [ ['websocket'], 25000, 20000, 1024 ], 'the handshake');

    {
        local $path = '/pings/socket.io/';
        $open = IntentTest::decode(substr ask($t, 'GET', $polling)->{content}, 1);
        is_deeply([ @{$open}{qw(pingInterval pingTimeout)} ], [ 1000, 2000 ], 'the pings of this place');
    }

    $r = ask($t, 'OPTIONS', $polling, undef, { Origin => 'https://shop.example',
             'Access-Control-Request-Headers' => 'x-user' });
    is("$r->{status} $r->{headers}{'access-control-allow-headers'}", '204 x-user', 'a preflight');

    my $sid;

    {
        local $path = '/pings/socket.io/';
        my $begin = time;
        $sid = connected($t);
        is(ask($t, 'GET', "$polling&sid=$sid")->{content}, '2', 'a ping');
        is(ask($t, 'POST', "$polling&sid=$sid", '3')->{content}, 'ok', 'is answered');
        is(ask($t, 'GET', "$polling&sid=$sid")->{content}, '2', 'and comes again');
        $r = ask($t, 'GET', "$polling&sid=$sid");
        is($r->{content}, '1', 'without an answer the session ends');
        cmp_ok(time - $begin, '>', 3.8, 'not before its time');
        error_is(ask($t, 'GET', "$polling&sid=$sid"), 400, 1, 'and is unknown then');
    }

    $sid = connected($t);
    is(ask($t, 'POST', "$polling&sid=$sid", "42[\"x\"]\x{1e}420[\"subscribe\",7]")->{content}, 'ok', 'two packets');
    like(ask($t, 'GET', "$polling&sid=$sid")->{content},
         qr/^42\["intentError",\{[^}]*\}\]\x1e430\[\{"ok":false,"detail":"[^"]*UUID"\}\]$/, 'and their answers');
    is(ask($t, 'POST', "$polling&sid=$sid", '1')->{content}, 'ok', 'the client ends it');
    error_is(ask($t, 'GET', "$polling&sid=$sid"), 400, 1, 'and it has ended');

    for my $bad ('', 'abc', '4', '4abc', '42', '42{}', '42[1]', '42["subscribe"', '40', '45-["x"]', '0', '2', '5',
                 'bAQID', '43[]', '42/other,["x"]', '4212345678901234567["x"]', "3\x{1e}") {
        $sid = connected($t);
        error_is(ask($t, 'POST', "$polling&sid=$sid", $bad), 400, 3, "malformed: \"$bad\"");
        error_is(ask($t, 'GET', "$polling&sid=$sid"), 400, 1, 'ends the session');
    }

    $sid = sid($t);
    error_is(ask($t, 'POST', "$polling&sid=$sid", '42["subscribe","x"]'), 400, 3, 'before CONNECT');

    $sid = connected($t);
    is(ask($t, 'POST', "$polling&sid=$sid", '4' . 'x' x 1024)->{status}, 413, 'more than maxPayload');
    is(ask($t, 'POST', "$polling&sid=$sid", '44/admin')->{status}, 400, 'CONNECT_ERROR is ours');
    $sid = connected($t);
    ask($t, 'POST', "$polling&sid=$sid", '40/admin,');
    is(ask($t, 'GET', "$polling&sid=$sid")->{content}, '44/admin,{"message":"Invalid namespace"}', 'a namespace');

    # all left and others taken, at once

    $sid = connected($t);
    my @ids = map { sprintf '01890000-0000-7000-8000-%012x', $_ } 1 .. 512;
    my $event = sub { my ($name, @what) = @_; "421[\"$name\"," . IntentTest::encode(\@what) . ']' };
    is(ask($t, 'POST', "$polling&sid=$sid", join "\x{1e}", $event->('subscribe', @ids[ 0 .. 9 ]),
           $event->('unsubscribe', @ids[ 0 .. 9 ]), $event->('subscribe', @ids[ 10 .. 11 ]))->{content}, 'ok',
       'many at once');
    like(ask($t, 'GET', "$polling&sid=$sid")->{content}, qr/"ok":true.*"ok":true.*"ok":true/s, 'are taken');

    # whose it is not

    $r = ask($t, 'GET', $polling, undef, { 'X-User' => 'alice' });
    my ($hers) = $r->{content} =~ /"sid":"([\w-]+)"/;
    error_is(ask($t, 'GET', "$polling&sid=$hers", undef, { 'X-User' => 'eve' }), 400, 1, "another's session");

    # two polls at a time

    my $out = IntentTest::decode(scalar `node t/push/socketio-raw.cjs @{[ $t->url ]} /pings`);
    is($out->{overlap}, '200 1, 400', 'two polls at a time end the session');
    is($out->{probe}, '3probe 200 6', 'a probe ends the poll');
    is($out->{upgraded}, '40', 'and what was polled goes on');
    is($out->{after}, '400 3', 'no more polls then');
    is($out->{binary}, 'close 1003', 'binary');
    is($out->{junk}, 'close 1000', 'junk over WebSocket');
    is($out->{ping}, '2', 'a ping over WebSocket');
    is($out->{timeout}, 'close 1000', 'and the end without an answer');

    $t->nginx_quit;
    $t->clean_ok;
};

subtest 'a reload, and a worker that dies' => sub {
    my $t = gateway(workers => 2, anvil => { 'no-mining' => undef });
    my $id = $t->post_intent('transfer', { recipient => $t->fresh_address, amount => '7' })->{intentId};
    $t->wait_intent($id, 'executing');

    my $pid = open my $out, '-|', 'node', 't/push/socketio-stay.cjs', $t->url, $id or die;
    my @seen;
    my $next = sub { my ($match) = @_;
                     local $SIG{ALRM} = sub { die "no $match, but @seen" };
                     alarm 30;
                     while (defined(my $l = <$out>)) { chomp $l; push @seen, $l; last if $l =~ $match }
                     alarm 0;
                     like($seen[-1], $match, "$match") };

    $next->(qr/^polling executing/);
    $next->(qr/^websocket executing/) unless grep { /^websocket executing/ } @seen;

    $t->nginx_reload;
    $next->(qr/^websocket disconnect/);
    $next->(qr/^websocket executing/);
    ok(!grep({ /^polling disconnect/ } @seen), 'polls go on over a reload');

    kill 'KILL', $t->workers;
    $next->(qr/^websocket disconnect/);
    my %again = ();
    while (keys %again < 2) { $next->(qr/ executing/); $seen[-1] =~ /^(\w+)/ and $again{$1}++ }
    pass('both are told again');

    $t->rpc('evm_setIntervalMining', 1);
    my %end = ();
    while (keys %end < 2) { $next->(qr/ success/); $seen[-1] =~ /^(\w+)/ and $end{$1}++ }
    pass('and hear of the end');

    kill 'KILL', $pid;
    close $out;
    $t->nginx_quit;
};

subtest 'a zone of its own' => sub {
    my $t = gateway(anvil => { 'no-mining' => undef }, start => 0, http => 'intent_socketio_zone 1k;');

    my ($ok, $said) = $t->nginx_test;
    ok(!$ok, 'one that is too small is refused');
    like($said, qr/\[emerg\] "intent_socketio_zone" should be \d+ bytes at the least/, 'with what it should be');

    $t->write_conf(http => 'intent_socketio_zone 64k;');
    $t->nginx_start;

    my $first = connected($t);
    my ($sessions, $r) = (0);
    for (1 .. 2000) {
        $r = ask($t, 'GET', $polling);
        last if $r->{status} != 200;
        $sessions++;
    }

    is($r->{status}, 503, "it is full after $sessions sessions");
    is(ask($t, 'POST', "$polling&sid=$first", '42["subscribe","user"]')->{status}, 200,
       'who has one goes on');
    is(ask($t, 'POST', "$polling&sid=$first", '1')->{status}, 200, 'and closes it');
    wait_for(sub { ask($t, 'GET', $polling)->{status} == 200 }, 60, 'room for another');

    $t->nginx_quit;
};

done_testing;
