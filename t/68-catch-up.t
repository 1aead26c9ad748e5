# Who comes back is told what was finished while he was away: by WebSocket, Server-Sent
# Events and Socket.IO; and who comes while nothing can be read is told so.

use strict;
use warnings;

use lib 't/lib';
use IO::Select;
use IO::Socket::INET;
use HTTP::Tiny;
use IntentTest qw(wait_for);
use Test::More;
use Time::HiRes qw(sleep time);

# Postgres does not wait for a disk here, which may take longer than its timeout

my $t = IntentTest->new(
    options  => { postgres => [ '-c', 'fsync=off' ] },
    workers  => 2,
    anvil    => { 'no-mining' => undef },
    postgres => 'timeout=1s',
    redis    => 'timeout=500ms',
    api      => 'intent_user $http_x_user; intent_push_connections 0;',
    server   => 'location /socket.io/ { intent_socketio; intent_user $http_x_user; }',
);

sub submit {
    my ($user) = @_;
    my $r = $t->post('/api/intents', { type => 'transfer',
        params => { recipient => $t->fresh_address, amount => '7' } }, { 'X-User' => $user });
    return $r->{json}{intentId} // die "$r->{status} $r->{content}";
}

sub finished { my @ids = @_; wait_for(sub { $t->mine; !grep { $t->get_intent($_)->{status} ne 'success' } @ids }, 20, 'success') }

# a socket on which something was sent, and what has come

sub ask {
    my ($text) = @_;
    my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $t->port) or die $!;
    print $s $text;
    return { socket => $s, in => '' };
}

sub more {
    my ($c, $done, $what, $timeout) = @_;

    my $deadline = time + ($timeout // 10);
    until ($done->($c->{in})) {
        die "waited for $what, there is:\n$c->{in}\n" if time > $deadline;
        IO::Select->new($c->{socket})->can_read(0.05) or next;
        sysread $c->{socket}, $c->{in}, 65536, length $c->{in} or die "the end, before $what:\n$c->{in}\n";
    }
}

# ID VERSION STATUS of all that was told

sub told { my ($c) = @_;
           return map { my $m = IntentTest::decode("{$_}"); "$m->{intentId} $m->{version} $m->{status}" }
                  $c->{in} =~ /\{(?:"event":"intentUpdate",)?("intentId":(?:[^{}]|\{[^{}]*\})*)\}/g }

sub is_told {
    my ($c, $name, @ids) = @_;
    my @told = told($c);
    my %n;
    $n{$_}++ for @told;
    is(join(' ', grep { $n{$_} > 1 } sort keys %n), '', "$name: none twice");
    is(join(' ', sort map { /^(\S+) \d+ success/ ? $1 : () } @told), join(' ', sort @ids), "$name: what was finished");
}

sub websocket {
    my ($user, $message) = @_;
    my $c = ask("GET /api/intents/stream HTTP/1.1\r\nHost: test\r\nX-User: $user\r\nUpgrade: websocket\r\n"
        . "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n");
    more($c, sub { $_[0] =~ /\r\n\r\n/ }, 'the handshake');
    say_frame($c, $message);
    return $c;
}

sub say_frame { my ($c, $data) = @_;
                print { $c->{socket} } pack('CC', 0x81, 0x80 | length $data) . "\0\0\0\0$data" }

sub events {
    my ($user, $last) = @_;
    return ask("GET /api/intents/events HTTP/1.1\r\nHost: test\r\nX-User: $user\r\n"
               . ($last ? "Last-Event-ID: $last\r\n" : '') . "\r\n");
}

sub caught { my ($c) = @_; more($c, sub { $_[0] =~ /caughtUp.*?"complete":true\}/s }, 'caughtUp');
             return $c->{in} =~ /caughtUp.*?"since":"([^"]+)"/s ? $1 : undef }


# whether that is all

sub complete { my ($c, $timeout) = @_;
               more($c, sub { $_[0] =~ /caughtUp.*?"complete":(?:true|false)\}/s }, 'caughtUp', $timeout);
               return $c->{in} =~ /caughtUp.*?"complete":(true|false)\}/s ? $1 : undef }


# alone, and with another one who keeps the topic alive

for my $company (0, 1) {
    my $with = $company ? 'in company' : 'alone';
    my $user = "user$company";
    my @stay = $company ? map { events($user) } 1 .. 4 : ();
    more($_, sub { $_[0] =~ /retry/ }, 'the other one') for @stay;

    subtest "WebSocket, $with" => sub {
        my $old = submit($user);
        finished($old);
        my $first = submit($user);

        my $c = websocket($user, '{"subscribe":"user","since":null}');
        my $since = caught($c);
        is_told($c, 'who comes first');

        # what is on its way to this worker may come a moment later

        more($c, sub { $_[0] =~ /"intentId":"$first"[^{}]*"status":"(?:pending|executing)"/ },
             'what is unfinished');
        close $c->{socket};

        my $second = submit($user);
        finished($first, $second);
        my $third = submit($user);

        # nothing is repeated that was finished long before; what was a few seconds ago may be

        $t->psql("UPDATE intents SET updated_at = updated_at - interval '1 minute' WHERE id = '$old'");

        $c = websocket($user, qq({"subscribe":"user","since":"$since"}));
        caught($c);
        is_told($c, 'who comes back', $first, $second);
        more($c, sub { $_[0] =~ /"intentId":"$third"/ }, 'the unfinished one');

        finished($third);
        more($c, sub { $_[0] =~ /"intentId":"$third"[^{}]*"status":"success"/ }, 'a live one');
        is_told($c, 'then', $first, $second, $third);

        # asking again tells again

        $c->{in} = '';
        say_frame($c, qq({"subscribe":"user","since":"$since"}));
        caught($c);
        is_told($c, 'who asks again', $first, $second, $third);

        $c = websocket($user, '{"subscribe":"user"}');
        say_frame($c, '{"subscribe":"user","since":"x"}');
        more($c, sub { $_[0] =~ /"event":"error"[^}]*since should be/ }, 'an error');
        say_frame($c, qq({"subscribe":"$first","since":null}));
        more($c, sub { $_[0] =~ /since goes with/ }, 'another error');
        is_told($c, 'without since nothing that is finished');
        unlike($c->{in}, qr/caughtUp/, 'nor a word of it');
        close $c->{socket};
    };

    subtest "events, $with" => sub {
        $t->psql("UPDATE intents SET updated_at = updated_at - interval '1 minute'");
        my $c = events($user);
        more($c, sub { $_[0] =~ /^id: (\d+)$/m }, 'an id before anything is told');
        my ($last) = $c->{in} =~ /^id: (\d+)$/m;
        close $c->{socket};

        my $first = submit($user);
        finished($first);
        $c = events($user, $last);
        caught($c);
        is_told($c, 'who comes back', $first);
        my $second = submit($user);
        more($c, sub { $_[0] =~ /"$second"[^{}]*"executing"/ }, 'a new one');
        ($last) = $c->{in} =~ /.*^id: (\S+)$/ms;
        like($last, qr/^\d+:$second:2$/, 'an id of time, intent and version');
        close $c->{socket};

        finished($second);
        my $third = submit($user);
        $c = events($user, $last);
        caught($c);
        is(scalar(grep { /^$second \d+ success/ } told($c)), 1, 'who comes back again');
        more($c, sub { $_[0] =~ /"intentId":"$third"/ }, 'the unfinished one');
        finished($third);
        more($c, sub { $_[0] =~ /"intentId":"$third"[^{}]*"status":"success"/ }, 'a live one');

        # the last of all is not told again

        ($last) = $c->{in} =~ /.*^id: (\d+:$third:\d+)$/ms;
        close $c->{socket};
        $c = events($user, $last);
        caught($c);
        ok(!grep({ /^$third/ } told($c)), 'not what came with that id');
        close $c->{socket};

        for my $bad ('x', '1:2:3', "99999999999999999999999:$third:1", ":$third:1", '-5') {
            $c = events($user, $bad);
            more($c, sub { $_[0] =~ m{^HTTP/1.1 200 .*retry}s }, "\"$bad\" to be taken");
            close $c->{socket};
        }
    };

    subtest "Socket.IO, $with" => sub {
        $t->psql("UPDATE intents SET updated_at = updated_at - interval '1 minute'");
        my $connect = sub {
            my $poll = sub {
                my ($method, $query, $body) = @_;
                return $t->http($method, "/socket.io/?EIO=4&transport=polling$query", { 'X-User' => $user },
                                defined $body ? $body : ())->{content};
            };
            my ($sid) = $poll->('GET', '') =~ /"sid":"([\w-]+)"/;
            $poll->('POST', "&sid=$sid", '40');
            $poll->('POST', "&sid=$sid", qq(42["subscribe","user",{"since":$_[0]}]));
            my $c = { in => '' };
            my $deadline = time + 10;
            $c->{in} .= $poll->('GET', "&sid=$sid") . "\n"
                until $c->{in} =~ /\["caughtUp",\{"since":"([^"]+)","complete":true\}\]/ || time > $deadline;
            $c->{since} = $1 // die "no caughtUp: $c->{in}";
            $poll->('POST', "&sid=$sid", '1');
            return $c;
        };
        my $c = $connect->('null');
        is_told($c, 'who comes first');
        my $first = submit($user);
        finished($first);
        is_told($connect->(qq("$c->{since}")), 'who comes back', $first);
        is_told($connect->('null'), 'who says null');
    };

    close $_->{socket} for @stay;
}

subtest 'one at a time' => sub {
    my $c = websocket('alice', '{"subscribe":"user","since":null}');
    caught($c);
    my $again = '{"subscribe":"user","since":"2026-01-01T00:00:00Z"}';
    print { $c->{socket} } map { pack('CC', 0x81, 0x80 | length $_) . "\0\0\0\0$_" } ($again) x 3;
    more($c, sub { 2 == (() = $_[0] =~ /"event":"error"[^}]*has not caught up yet/g) && 2 == (() = $_[0] =~ /caughtUp/g) },
         'two errors, and that it has caught up');
    pass('who asks again before is told so');
    close $c->{socket};
};

subtest 'the worker of a polling session dies' => sub {
    my $poll = sub {
        my ($method, $query, $body) = @_;
        return HTTP::Tiny->new(keep_alive => 0, timeout => 10)->request($method,
            $t->url("/socket.io/?EIO=4&transport=polling$query"),
            { headers => { 'X-User' => 'erin' }, defined $body ? (content => $body) : () })->{content};
    };
    my $id = submit('erin');
    my ($sid) = $poll->('GET', '') =~ /"sid":"([\w-]+)"/;
    $poll->('POST', "&sid=$sid", '40');
    $poll->('POST', "&sid=$sid", '42["subscribe","user"]');
    my ($in, $deadline) = ('', time + 10);
    $in .= $poll->('GET', "&sid=$sid") until $in =~ /$id[^{}]*"executing"/ || time > $deadline;
    sleep 0.1 while $poll->('POST', "&sid=$sid", '3') ne 'ok';

    my @old = $t->workers;
    kill 'KILL', @old;
    wait_for(sub { my @w = $t->workers; @w == 2 && !grep { my $o = $_; grep { $o == $_ } @w } @old }, 10, 'new workers');
    finished($id);

    ($in, $deadline) = ('', time + 10);
    $in .= $poll->('GET', "&sid=$sid") . "\n" until $in =~ /$id[^{}]*"success"|^1$|"code"/m || time > $deadline;
    like($in, qr/$id[^{}]*"success"/, 'another one tells what was finished meanwhile');
    is(() = $in =~ /$id[^{}]*"success"/g, 1, 'once');
    $poll->('POST', "&sid=$sid", '1');
};

subtest 'a limit of what is told' => sub {
    $t->psql(q{INSERT INTO intents (id, type, chain, user_id, params, status, version, created_at, updated_at, next_attempt_at)
               SELECT ('01890000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'transfer', 'dev', 'many', '{}',
                      'failed', 3, now(), now(), now() FROM generate_series(1, 600) AS n});
    my $c = websocket('many', '{"subscribe":"user","since":"2020-01-01T00:00:00Z"}');
    more($c, sub { $_[0] =~ /caughtUp.*"complete":false\}/s }, 'caughtUp');
    is(scalar(told($c)), 512, 'as many as are told');
    close $c->{socket};

    # what is just as many is all

    $t->psql(q{DELETE FROM intents WHERE user_id = 'many' AND id > '01890000-0000-7000-8000-000000000200'});
    $c = websocket('many', '{"subscribe":"user","since":"2020-01-01T00:00:00Z"}');
    is(complete($c), 'true', 'no more than that');
    my @told = map { /^(\S+)/ } told($c);
    is(scalar(@told), 512, 'all there are');
    is("@told", join(' ', sort @told), 'the oldest first');
    close $c->{socket};
};

subtest 'an old one that has just been finished' => sub {
    $t->psql(q{INSERT INTO intents (id, type, chain, user_id, params, status, version, created_at, updated_at, next_attempt_at)
               SELECT ('01891000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'transfer', 'dev', 'patient', '{}',
                      'success', 3, now(), CASE n WHEN 1 THEN now() ELSE now() - interval '1 hour' END, now()
               FROM generate_series(1, 514) AS n});
    my $last = int((time - 60) * 1000);
    my $c = events('patient', $last);
    is(complete($c), 'false', 'who comes back knows that something may be missing');
    is(scalar(told($c)), 0, 'it is behind 512 others');
    close $c->{socket};

    $t->psql(q{DELETE FROM intents WHERE user_id = 'patient' AND id > '01891000-0000-7000-8000-000000000200'});
    $c = events('patient', $last);
    caught($c);
    is_told($c, 'among 512', '01891000-0000-7000-8000-000000000001');
    close $c->{socket};
};

subtest 'who comes and goes' => sub {
    my $lists = sub { ($t->metric('intent_store_seconds_count', operation => 'list') // 0) + 0 };
    my $c = websocket('many', '{"subscribe":"user","since":null}');
    caught($c);
    my $before = $lists->();
    my @pair = ('{"unsubscribe":"user"}', '{"subscribe":"user","since":"2020-01-01T00:00:00Z"}');
    $c->{in} = '';
    print { $c->{socket} } join '', map { pack('CC', 0x81, 0x80 | length $_) . "\0\0\0\0$_" } (@pair) x 300;
    complete($c, 20);
    is(scalar(told($c)), 512, 'the last one is told all');
    cmp_ok($lists->() - $before, '<', 60, 'but one read at a time is under way');
    close $c->{socket};
};

subtest 'who does not read' => sub {
    $t->psql(q{INSERT INTO intents (id, type, chain, user_id, params, status, version, created_at, updated_at, next_attempt_at)
               SELECT ('01892000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'transfer', 'dev', 'large',
                      json_build_object('note', repeat(md5(n::text), 32 * 15)), 'success', 3, now(), now(), now()
               FROM generate_series(1, 512) AS n});
    my $lists = sub { ($t->metric('intent_store_seconds_count', operation => 'list') // 0) + 0 };
    my $memory = sub {
        my $sum = 0;
        $sum += $t->read_file("/proc/$_/status") =~ /VmRSS:\s+(\d+)/ ? $1 : 0 for $t->workers;
        return $sum;
    };
    my ($lists_before, $memory_before) = ($lists->(), $memory->());
    my @c = map { events('large', '1000:') } 1 .. 16;
    wait_for(sub { $lists->() >= $lists_before + @c + 1 }, 20, 'all of them to be read for');
    more($_, sub { $_[0] =~ /intentUpdate/ }, 'the first one') for @c;
    my $grown = $memory->() - $memory_before;
    cmp_ok($grown, '<', 40000, "16 clients who could be told 8 MB each: KB of the workers ($grown)")
        unless $ENV{SANITIZE} || $ENV{INTENT_VALGRIND};     # which keep what is freed

    # what was read and not taken is read again

    complete($c[0], 20);
    my @told = $c[0]{in} =~ /^id: \d+:([\w-]+):3$/mg;
    is(scalar(@told), 512, 'who reads then is told all');
    is("@told", join(' ', sort @told), 'in order');
    close $_->{socket} for @c;
};

subtest 'a time that has not come' => sub {
    for my $last ('9223372036854775807:', '9223372036854775807', '99999999999999:') {
        my $c = events('alice', $last);
        more($c, sub { $_[0] =~ /^id: (\d+)$/m }, 'an id');
        my ($id) = $c->{in} =~ /^id: (\d+)$/m;
        cmp_ok($id, '<', (time + 60) * 1000, "Last-Event-ID: $last: it begins now");
        close $c->{socket};
    }
    my $c = websocket('alice', '{"subscribe":"user","since":"9998-01-01T00:00:00Z"}');
    more($c, sub { $_[0] =~ /"event":"(?:error|caughtUp)"[^}]*\}/ }, 'an answer');
    like($c->{in}, qr/since should be/, 'a message: an error');
    close $c->{socket};
};

subtest 'without Postgres and Redis' => sub {
    my $id = submit('alice');
    $t->stop('redis');
    $t->stop('postgres');

    for my $path ("/api/intents/$id/events", '/api/intents/events') {
        my $begin = time;
        my $r = $t->http('GET', $path, { 'X-User' => 'alice' });
        is($r->{status}, 503, "$path: 503");
        ok($r->{headers}{'retry-after'}, 'with Retry-After');
        cmp_ok(time - $begin, '<', 6, 'soon');
    }

    # who has come before is told when they are back

    my $c = websocket('alice', '{"subscribe":"user","since":"2020-01-01T00:00:00Z"}');
    $t->restart('postgres');
    $t->restart('redis');
    more($c, sub { $_[0] =~ /caughtUp/ }, 'caughtUp', 20);
    ok(scalar(grep { /^$id/ } told($c)), 'a WebSocket waits until they are back');
    close $c->{socket};
};

wait_for(sub { !grep { ($t->metric('intent_push_subscriptions', transport => $_) // 0) + 0 } qw(websocket sse) }, 10,
         'no subscription to be left');
$t->nginx_quit;
$t->clean_ok;
done_testing;
