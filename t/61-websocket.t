# The WebSocket at …/stream: the handshake, frames as RFC 6455 has them, what
# clients may say, limits, pings, slow readers.

use strict;
use warnings;

use lib 't/lib';
use IO::Select;
use IO::Socket::INET;
use IntentTest qw(wait_for);
use Test::More;
use Time::HiRes qw(sleep time);

my $t = IntentTest->new(
    workers => 2,
    anvil   => { 'block-time' => 1 },
    api     => 'intent_user $http_x_user;
                intent_push_connections 0;
                intent_push_message_size 100000;
                intent_push_subscriptions 3;',
    server  => q(
        location /strict {
            intent_api;
            intent_push_origin https://wallet.example https://*.pages.example:8443;
        }
        location /two    { intent_api; intent_push_connections 2; }
        location /pinged { intent_api; intent_push_ping 300ms 2s; }
        location /narrow { intent_api; intent_push_buffer_size 4k; }
        location /open { intent_api; intent_push_origin any; }
        location /own  { intent_api; }
    ),
);

my %socket = (
    Host => 'test', Upgrade => 'websocket', Connection => 'Upgrade',
    'Sec-WebSocket-Key' => 'dGhlIHNhbXBsZSBub25jZQ==', 'Sec-WebSocket-Version' => 13,
);

# (socket, head of the answer, what came behind it)

sub handshake {
    my ($path, $header, %option) = @_;

    my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $t->port) or die $!;
    my %h = (%socket, %{ $header // {} });
    my $version = $option{version} // '1.1';

    print $s "GET $path HTTP/$version\r\n",
        (map { "$_: $h{$_}\r\n" } grep { defined $h{$_} } sort keys %h), "\r\n";
    my $in = read_until($s, '', sub { $_[0] =~ /\r\n\r\n/ });
    my ($head, $rest) = split /\r\n\r\n/, $in, 2;
    return ($s, $head, $rest // '');
}

sub read_until {
    my ($s, $in, $done, $timeout) = @_;

    my $deadline = time + ($timeout // 10);
    until ($done->($in)) {
        die "nothing comes, there is: $in\n" if time > $deadline;
        IO::Select->new($s)->can_read(0.1) or next;
        sysread $s, $in, 65536, length $in or last;
    }
    return $in;
}

sub frame {
    my ($op, $data) = @_;

    my $n = length $data;
    my $head = $n < 126 ? pack('CC', 0x80 | $op, 0x80 | $n)
                        : pack('CCn', 0x80 | $op, 0xfe, $n);
    return $head . "\0\0\0\0" . $data;
}

# one message as the server sends it: (opcode, data); () at the end

sub message {
    my ($s, $in, $timeout) = @_;

    my $size = sub {
        return if length $$in < 2;
        my $n = unpack 'xC', $$in;
        return (2, $n) if $n < 126;
        return if length $$in < 4;
        return (4, unpack 'xxn', $$in) if $n == 126;
        return if length $$in < 10;
        return (10, unpack 'xxQ>', $$in);
    };
    my $whole = sub { my ($head, $n) = $size->(); defined $head && length $$in >= $head + $n };

    $$in = read_until($s, $$in, sub { $$in = $_[0]; $whole->() }, $timeout);
    return unless $whole->();
    my ($head, $n) = $size->();
    my $op = unpack('C', $$in) & 15;
    my $data = substr $$in, $head, $n;
    substr($$in, 0, $head + $n) = '';
    return ($op, $data);
}


subtest 'the opening handshake' => sub {
    my $stream = '/api/intents/stream';

    my (undef, $head) = handshake($stream);
    like($head, qr{^HTTP/1\.1 101 }, 'it is taken');
    like($head, qr/^Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r?$/m, "the RFC's own example");
    like($head, qr/^Upgrade: websocket\r?$/mi, 'Upgrade');
    like($head, qr/^Connection: upgrade\r?$/mi, 'Connection');
    unlike($head, qr/^(?:Content-|Transfer-)/mi, 'nothing of a body');

    for ([ 'a list in Connection', { Connection => 'keep-alive, upgrade' } ],
         [ 'other cases of letters', { Upgrade => 'WebSocket', Connection => 'UPGRADE' } ],
         [ 'several protocols', { Upgrade => 'foo,websocket' } ],
         [ 'extensions and subprotocols', { 'Sec-WebSocket-Extensions' => 'permessage-deflate',
                                            'Sec-WebSocket-Protocol' => 'a, b' } ])
    {
        my ($name, $header) = @$_;
        (undef, $head) = handshake($stream, $header);
        like($head, qr{^HTTP/1\.1 101 }, $name);
        unlike($head, qr/^Sec-WebSocket-(?:Extensions|Protocol)/mi, "$name: none is chosen");
    }

    for ([ 'no Upgrade', 426, { Upgrade => undef } ],
         [ 'another Upgrade', 426, { Upgrade => 'h2c' } ],
         [ 'no Connection', 426, { Connection => undef } ],
         [ 'Connection: close', 426, { Connection => 'close' } ],
         [ 'no version', 426, { 'Sec-WebSocket-Version' => undef } ],
         [ 'version 8', 426, { 'Sec-WebSocket-Version' => 8 } ],
         [ 'version 130', 426, { 'Sec-WebSocket-Version' => 130 } ],
         [ 'no key', 400, { 'Sec-WebSocket-Key' => undef } ],
         [ 'a short key', 400, { 'Sec-WebSocket-Key' => 'dGhlIHNhbXBsZSBub25j' } ],
         [ 'a key that is no base64', 400, { 'Sec-WebSocket-Key' => 'dGhlIHNhbXBsZSBub2*jZQ==' } ],
         [ 'a key of 17 bytes', 400, { 'Sec-WebSocket-Key' => 'dGhlIHNhbXBsZSBub25jZWE=' } ],
         [ 'a body', 400, { 'Content-Length' => 1 } ])
    {
        my ($name, $status, $header) = @$_;
        (undef, $head) = handshake($stream, $header);
        like($head, qr{^HTTP/1\.1 $status @{[ $status == 426 ? 'Upgrade Required' : 'Bad Request' ]}\r?$}m,
             "$name: $status, in words");
        like($head, qr{^Content-Type: application/problem\+json\r?$}m, "$name: a problem document");
        like($head, qr/^Sec-WebSocket-Version: 13\r?$/m, "$name: which version it is")
            if $status == 426;
    }

    (undef, $head) = handshake($stream, {}, version => '1.0');
    like($head, qr{^HTTP/1\.\d 426 }, 'HTTP/1.0: 426');
};

subtest 'origins' => sub {
    my $is = sub {
        my ($path, $origin, $status, $name, %more) = @_;
        my ($s, $head) = handshake($path, { Origin => $origin, %more });
        like($head, qr{^HTTP/1\.1 $status }, $name);
        close $s;
    };

    $is->('/own/stream', undef, 101, 'none: no browser');
    $is->('/own/stream', 'http://test', 101, 'the same host');
    $is->('/own/stream', 'https://TEST', 101, 'the same host, in capitals');
    $is->('/own/stream', 'http://test.example', 403, 'another host');
    $is->('/own/stream', 'http://test:8080', 403, 'another port');
    $is->('/own/stream', 'http://host:8080', 101, 'the same host and port', Host => 'host:8080');
    $is->('/own/stream', 'null', 403, 'null');

    $is->('/open/stream', 'http://evil.example', 101, 'any');

    $is->('/strict/stream', 'https://wallet.example', 101, 'one that is named');
    $is->('/strict/stream', 'http://wallet.example', 403, 'another scheme');
    $is->('/strict/stream', 'https://wallet.example.evil', 403, 'one that begins alike');
    $is->('/strict/stream', 'https://evil-wallet.example', 403, 'one that ends alike');
    $is->('/strict/stream', 'http://test', 403, 'the same host, where it is not named');
    $is->('/strict/stream', 'https://a.pages.example:8443', 101, 'one below');
    $is->('/strict/stream', 'https://a.b.pages.example:8443', 101, 'one below that');
    $is->('/strict/stream', 'https://pages.example:8443', 403, 'not itself');
    $is->('/strict/stream', 'https://apages.example:8443', 403, 'not one that ends alike');
    $is->('/strict/stream', 'https://.pages.example:8443', 403, 'not an empty name');
};

subtest 'frames, as RFC 6455 has them' => sub {
    my $port = $t->port;
    my $started = time;
    my $out = `node t/push/frames.cjs $port /api/intents/stream 100000 2>&1`;

    diag(sprintf "%.1f s", time - $started);
    like($out, qr/^ok (\d+) cases (\d+) connections 0 wrong$/, 'all cases') or diag($out);
    diag($out);
};

subtest 'what a client may say' => sub {
    my ($s, undef, $in) = handshake('/api/intents/stream', { 'X-User' => 'alice' });

    my $told = sub { my ($op, $data) = message($s, \$in); is($op, 1, 'a text'); IntentTest::decode($data) };
    my $say = sub { print $s frame(1, ref $_[0] ? IntentTest::encode($_[0]) : $_[0]) };

    for ([ 'no JSON', 'hello', qr/JSON object/ ],
         [ 'not an object', '[1]', qr/JSON object/ ],
         [ 'an empty object', '{}', qr/subscribe/ ],
         [ 'a member twice', '{"subscribe":"user","subscribe":"user"}', qr/JSON object/ ],
         [ 'a NUL', qq({"subscribe":"user\\u0000"}), qr/JSON object/ ],
         [ 'something unknown', { hello => 1 }, qr/nothing else/ ],
         [ 'no id', { subscribe => 'x' }, qr/UUID/ ],
         [ 'a number', { subscribe => 7 }, qr/UUID/ ],
         [ 'null', '{"unsubscribe":null}', qr/UUID/ ],
         [ 'a list with what is no id', { subscribe => [ 'x' ] }, qr/UUID/ ])
    {
        my ($name, $what, $wanted) = @$_;
        $say->($what);
        my $m = $told->();
        is($m->{event}, 'error', "$name: an error");
        like($m->{detail}, $wanted, "$name: why");
    }

    my $unknown = '01a20310-edce-7523-95f1-f3557e7bf05a';
    $say->({ subscribe => uc $unknown });
    is_deeply($told->(), { event => 'error', intentId => $unknown, detail => 'there is no such intent' },
              'an intent that is not there');

    $say->({ subscribe => [] });
    $say->({ unsubscribe => [ $unknown, $unknown ] });
    $say->({ unsubscribe => 'user' });

    my @ids = map { $t->post_intent('transfer', { recipient => $t->address(5), amount => '7' })->{intentId} } 1 .. 3;
    $t->wait_intent($_, 'success') for @ids;

    $say->({ subscribe => [ map { uc } @ids ] });
    my @got = map { $told->() } 1 .. 3;
    is(join(' ', map { "$_->{event} $_->{status}" } @got), join(' ', ('intentUpdate success') x 3),
       'finished intents are told, and the subscriptions end with that');
    is(join(' ', sort map { $_->{intentId} } @got), join(' ', sort @ids), 'each of them');

    my $get = $t->get_intent($ids[0]);
    my ($one) = grep { $_->{intentId} eq $ids[0] } @got;
    is_deeply({ %$get, event => 'intentUpdate' }, $one, 'it is what GET answers');

    close $s;
};

subtest 'limits' => sub {
    my ($s, undef, $in) = handshake('/api/intents/stream', { 'X-User' => 'bob' });

    # ids that nobody has are read, and gone: pending ones stay; three of them, and a fourth

    $t->rpc('anvil_setIntervalMining', 0);
    my @ids = map { $t->post_intent('transfer', { recipient => $t->address(5), amount => '7' })->{intentId} } 1 .. 4;

    print $s frame(1, IntentTest::encode({ subscribe => \@ids }));
    my ($error, %seen);

    while (!$error || keys %seen < 3) {
        my (undef, $data) = message($s, \$in);
        my $m = IntentTest::decode($data);
        if ($m->{event} eq 'error') { $error = $m } else { $seen{ $m->{intentId} } = $m }
    }

    like($error->{detail}, qr/too many subscriptions/, 'the fourth is too many');
    is($error->{intentId}, $ids[3], 'and it is said which');
    $t->rpc('anvil_setIntervalMining', 1);
    close $s;

    # connections of an address, in each worker

    my @open;
    my $refused;
    for (1 .. 5) {
        my ($c, $head) = handshake('/two/stream');
        push @open, $c if $head =~ / 101 /;
        $refused++ if $head =~ / 429 /;
    }
    cmp_ok(@open, '<=', 4, 'two connections an address, and worker');
    ok($refused, 'more are refused');
    close $_ for @open;
};

subtest 'pings' => sub {
    my ($s, $head, $in) = handshake('/pinged/stream');

    my $started = time;
    my ($op) = message($s, \$in, 10);
    is($op, 9, 'an idle client is pinged');
    print $s frame(10, '');
    ($op) = message($s, \$in, 10);
    is($op, 9, 'and after its pong again');
    is(join(' ', message($s, \$in, 10)), '', 'without a pong the connection ends');
    cmp_ok(time - $started, '>', 2.5, 'in time');
    like($t->error_log, qr/WebSocket did not answer a ping within 2000ms/, 'which is logged');
};

subtest 'a worker is not held up by what is never sent' => sub {
    my ($s, $head, $in) = handshake('/narrow/stream');

    # pings whose pongs are not read: 4k wait at the most, and what the kernel takes

    my $pings = frame(9, 'x' x 125) x 100;
    $s->blocking(0);
    my $sent = 0;
    my $deadline = time + 20;

    until ($t->error_log =~ /WebSocket reads too slowly/ || time > $deadline) {
        my $n = syswrite $s, $pings;
        $sent += $n // 0;
        select undef, undef, undef, 0.001 unless $n;
        last if !defined $n && !$!{EAGAIN};
    }

    like($t->error_log, qr/WebSocket reads too slowly/, "after $sent bytes it is closed");
    $s->blocking(1);

    my ($op, $data, $last) = (0, '');
    while (my @m = eval { message($s, \$in, 5) }) { ($op, $data) = @m }
    ok($op == 8 && unpack('n', $data) == 1013, 'with 1013') or diag("the last was $op");
};

ok(eval { wait_for(sub { $t->metric('intent_push_subscriptions', transport => 'websocket') == 0 }, 20, 'none') },
   'no subscription is left');

$t->nginx_quit;
$t->clean_ok;

done_testing;
