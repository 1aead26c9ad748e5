# Many watchers, and what is much for one of them: other connections have their turn
# while thousands are told; a snapshot of hundreds comes as it is read; sessions that
# never connect end; a worker that is killed leaves nothing in the gauges.

use strict;
use warnings;

use lib 't/lib';
use IO::Select;
use IO::Socket::INET;
use IPC::Open2;
use IntentTest qw(wait_for);
use Test::More;
use Time::HiRes qw(sleep time);

my $crowd = $ENV{INTENT_TEST_CONNECTIONS} || 3000;
my @pids;

END { local $?; kill 'KILL', @pids if @pids }

sub gateway {
    return IntentTest->new(
        workers => 1,
        anvil   => { 'no-mining' => undef },
        main    => 'worker_rlimit_nofile 20000;',
        api     => 'intent_user $http_x_user; intent_push_connections 0;',
        server  => 'location /socket.io/ { intent_socketio; intent_user $http_x_user; intent_push_connections 0;
                                           intent_socketio_connect_timeout 2s; }
                    location /small { intent_api; intent_user $http_x_user; intent_push_buffer_size 4k; }',
        @_,
    );
}

my $t = gateway(start => 0);
$t->{port} = IntentTest::free_port();
$t->write_conf(conf => $t->conf_text =~ s/worker_connections 4096;/worker_connections 16384;/r);
$t->nginx_start;

my $program = $t->dir . '/crowd';
system('cc', '-O2', '-o', $program, 't/push/crowd.c') == 0 or die "crowd.c does not compile\n";

sub submit {
    my ($user) = @_;
    my $r = $t->post('/api/intents', { type => 'transfer',
        params => { recipient => $t->fresh_address, amount => '7' } }, { 'X-User' => $user });
    return $r->{json}{intentId} // die "$r->{status} $r->{content}";
}

# what Redis would carry: the intent as it is, of another version

my ($redis, %json);

sub publish {
    my ($id, @versions) = @_;
    my $json = $json{$id} //= $t->get("/api/intents/$id")->{content};
    $redis //= IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $t->{redis_port}) or die $!;
    for my $version (@versions) {
        (my $news = $json) =~ s/"version":\d+/"version":$version/;
        print $redis map { my @w = @$_; '*' . @w . "\r\n", map { '$' . length($_) . "\r\n$_\r\n" } @w }
                         [ 'PUBLISH', "intent:$id", $news ];
        <$redis>;
    }
}

sub start {
    my @command = @_;
    my $pid = open2(my $out, my $in, @command);
    push @pids, $pid;
    return { pid => $pid, out => $out, to => $in, in => '' };
}

sub line {
    my ($p, $match, $timeout) = @_;
    my $deadline = time + ($timeout // 30);
    while (time < $deadline) {
        return $1 if $p->{in} =~ s/^.*?($match)[^\n]*\n//s;
        IO::Select->new($p->{out})->can_read(0.05) or next;
        sysread $p->{out}, $p->{in}, 65536, length $p->{in} or last;
    }
    die "no $match, but: $p->{in}\n";
}

# so many messages came, in one burst or, on a busy machine, in several

sub messages {
    my ($p, $n, $timeout) = @_;
    my $sum = 0;

    $sum += line($p, qr/\d+ in \S+/, $timeout) =~ s/ .*//r while $sum < $n;
    is($sum, $n, "$n messages");
}


subtest 'others have their turn while thousands are told' => sub {
    my $id = submit('alice');
    $t->wait_intent($id, 'executing');
    my $c = start($program, 'open', $t->port, $crowd, qq(/api/intents/stream {"subscribe":"$id"}));

    line($c, "open $crowd", 60);
    messages($c, $crowd);
    is($t->metric('intent_push_connections', transport => 'websocket') + 0, $crowd, 'all are counted');

    # one worker: what it answers while it tells is told between two turns

    my $between = 0;

    for my $version (100 .. 104) {
        my $before = $t->metric('intent_push_messages_total', transport => 'websocket');
        publish($id, $version);
        my $n;
        my $deadline = time + 10;
        do {
            $n = $t->metric('intent_push_messages_total', transport => 'websocket') - $before;
            $between++ if $n > 0 && $n < $crowd;
        } until $n >= $crowd || time > $deadline;
        is($n, $crowd, "version $version is told to all");
        messages($c, $crowd);
    }

    cmp_ok($between, '>', 0, "$between answers came between");

    # three at once: one after the other, to each

    publish($id, 200, 201, 202);
    messages($c, 3 * $crowd, 20);

    kill 'KILL', $c->{pid};
    wait_for(sub { $t->metric('intent_push_connections', transport => 'websocket') == 0 }, 20, 'all to be gone');
    is($t->metric('intent_push_subscriptions', transport => 'websocket') + 0, 0, 'with their subscriptions');
};

subtest 'who comes and goes meanwhile' => sub {
    my @ids = map { submit('bob') } 1 .. 3;
    $t->wait_intent($_, 'executing') for @ids;
    my $c = start('node', 't/push/churn.cjs', $t->port, '/api/intents/stream', 600, 3, @ids);
    my ($version, $end) = (1000, time + 3);

    while (time < $end) { $version += 3; publish($_, $version, $version + 1, $version + 2) for @ids; sleep 0.01 }

    my $out = IntentTest::decode(line($c, qr/\{.*\}/));
    is(join(', ', @{ $out->{wrong} }), '', 'none is told something old');
    cmp_ok($out->{messages}, '>', 1000, "$out->{messages} messages, $out->{connections} connections");
    wait_for(sub { $t->metric('intent_push_connections', transport => 'websocket') == 0 }, 20, 'all to be gone');
};

subtest 'hundreds of unfinished intents' => sub {
    my $n = 300;
    my @ids = map { submit('carol') } 1 .. $n;
    my %want = map { $_ => 1 } @ids;
    my $poll = sub {
        my ($method, $query, $body) = @_;
        return $t->http($method, "/socket.io/?EIO=4&transport=polling$query", { 'X-User' => 'carol' },
                        defined $body ? $body : ())->{content};
    };
    my $gather = sub {
        my ($subscribe, $want) = @_;
        my ($sid) = $poll->('GET', '') =~ /"sid":"([\w-]+)"/;
        $poll->('POST', "&sid=$sid", '40');
        $poll->('POST', "&sid=$sid", $subscribe);
        my (%seen, $bytes, $in);
        $bytes = 0;
        my $deadline = time + 20;
        while (keys %seen < $want && time < $deadline) {
            $in = $poll->('GET', "&sid=$sid");
            last if $in eq '1' || $in =~ /"code"/;
            $bytes = length $in if length $in > $bytes;
            $seen{$1}++ while $in =~ /"intentId":"([^"]+)"/g;
        }
        is($poll->('POST', "&sid=$sid", '1'), 'ok', 'the session is still there');
        cmp_ok($bytes, '<', 70000, "at most $bytes bytes at a time");
        return scalar grep { $want{$_} } keys %seen;
    };

    is($gather->('42["subscribe","user"]', $n), $n, 'Socket.IO by polling: all');
    is($gather->('42["subscribe",' . IntentTest::encode([ @ids[ 0 .. 249 ] ]) . ']', 250), 250, 'and 250 by their ids');

    # a client that does not read at first, and a small buffer: nothing is lost

    for (['events', "GET /small/events HTTP/1.1\r\nHost: test\r\nX-User: carol\r\n\r\n" ],
         ['WebSocket', "GET /small/stream HTTP/1.1\r\nHost: test\r\nX-User: carol\r\nUpgrade: websocket\r\n"
            . "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            . pack('CC', 0x81, 0x80 | 20) . "\0\0\0\0" . '{"subscribe":"user"}' ])
    {
        my ($name, $request) = @$_;
        my $s = IO::Socket::INET->new(Proto => 'tcp') or die $!;
        setsockopt $s, Socket::SOL_SOCKET(), Socket::SO_RCVBUF(), 8192;
        connect $s, Socket::pack_sockaddr_in($t->port, Socket::inet_aton('127.0.0.1')) or die $!;
        print $s $request;
        my ($in, %seen) = ('');
        my $deadline = time + 20;
        while (keys %seen < $n && time < $deadline) {
            IO::Select->new($s)->can_read(0.1) or next;
            sysread $s, $in, 4096, length $in or last;
            $seen{$1}++ while $in =~ /"intentId":"([^"]+)"/g;
            $in = substr $in, -100 if length $in > 100;
        }
        is(scalar(grep { $want{$_} } keys %seen), $n, "$name: all");
        close $s;
    }
};

subtest 'a session that never connects' => sub {
    my $begin = time;
    my ($sid) = $t->get('/socket.io/?EIO=4&transport=polling')->{content} =~ /"sid":"([\w-]+)"/;
    is($t->get("/socket.io/?EIO=4&transport=polling&sid=$sid")->{content}, '1', 'is ended');
    cmp_ok(time - $begin, '<', 10, 'long before a ping');
    cmp_ok(time - $begin, '>', 1.9, 'not before its time');

    ($sid) = $t->get('/socket.io/?EIO=4&transport=polling')->{content} =~ /"sid":"([\w-]+)"/;
    $t->http('POST', "/socket.io/?EIO=4&transport=polling&sid=$sid", {}, '40');
    like($t->get("/socket.io/?EIO=4&transport=polling&sid=$sid")->{content}, qr/^40/, 'one that does');
    sleep 2.2;
    is($t->http('POST', "/socket.io/?EIO=4&transport=polling&sid=$sid", {}, '1')->{content}, 'ok', 'lives on');
};

subtest 'a worker is killed' => sub {
    my $id = submit('dave');
    my $c = start('node', 't/push/tail.cjs', $t->url('/api/intents'), 'sse', $id, '', 20);
    my $d = start('node', 't/push/tail.cjs', $t->url('/api/intents'), 'ws', $id, '', 20);
    wait_for(sub { $t->metric('intent_push_subscriptions') == 40 }, 20, 'all to be there');

    kill 'KILL', $c->{pid}, $d->{pid};
    kill 'STOP', my $worker = ($t->workers)[0];
    kill 'KILL', $worker;
    wait_for(sub { my $m = eval { $t->metric('intent_push_subscriptions') }; defined $m && $m == 0 }, 20,
             sub { 'no subscription, but ' . $t->metric('intent_push_subscriptions') });
    is($t->metric('intent_push_connections') + 0, 0, 'nothing of it is in the gauges');

    my $e = start('node', 't/push/tail.cjs', $t->url('/api/intents'), 'ws', $id, '', 5);
    wait_for(sub { $t->metric('intent_push_connections') == 5 }, 20, 'new ones to be counted');
    $t->nginx_reload;
    wait_for(sub { $t->metric('intent_push_connections') == 0 }, 20, 'none after a reload');
    kill 'KILL', $e->{pid};
};

$t->nginx_quit;
$t->clean_ok;
done_testing;
