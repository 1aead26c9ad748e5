# Server-Sent Events at …/{id}/events and …/events.

use strict;
use warnings;

use lib 't/lib';
use IO::Select;
use IO::Socket::INET;
use IntentTest qw(wait_for free_port);
use Test::More;
use Time::HiRes qw(sleep time);

my $h2 = free_port();
my $slow = free_port();

my $t = IntentTest->new(
    workers => 2,
    chain   => { poll_interval => '100ms' },
    anvil   => { 'no-mining' => undef },
    api     => 'intent_user $http_x_user; intent_push_ping 300ms; intent_push_retry 1500ms;',
    http    => 'gzip on; gzip_types *; gzip_min_length 0; gzip_proxied any;',
    server  => qq(
        listen 127.0.0.1:$h2 http2;
        listen 127.0.0.1:$slow sndbuf=4k;
        location /small { intent_api; intent_push_buffer_size 2k; intent_push_ping 1ms;
                          send_timeout 30s; }
        location /few { intent_api; intent_push_connections 1; }
    ),
);

sub submit {
    my ($user) = @_;
    return $t->post('/api/intents', { type => 'transfer',
        params => { recipient => $t->fresh_address, amount => '7' } },
        { $user ? ('X-User' => $user) : () })->{json};
}

sub sent { my $id = shift; wait_for(sub { $t->get_intent($id)->{txHash} }, 20, "$id to be sent") }
sub mined { my $id = shift; wait_for(sub { $t->mine; $t->get_intent($id)->{status} eq 'success' }, 20, 'success') }

# a socket on which GET was sent, and what has come

sub ask {
    my ($path, %header) = @_;

    my $version = delete $header{version} // '1.1';
    my $method = delete $header{method} // 'GET';
    my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $t->port) or die $!;
    print $s "$method $path HTTP/$version\r\nHost: test\r\n",
        (map { "$_: $header{$_}\r\n" } sort keys %header), "\r\n";
    return { socket => $s, in => '' };
}

sub more {
    my ($c, $done, $timeout, $what) = @_;

    my $deadline = time + ($timeout // 10);
    until ($done->($c->{in})) {
        die "waited for " . ($what // 'more') . ", there is:\n$c->{in}\n" if time > $deadline;
        IO::Select->new($c->{socket})->can_read(0.05) or next;
        sysread $c->{socket}, $c->{in}, 65536, length $c->{in} or return 0;
    }
    return 1;
}

# without the chunks

sub body { my ($in) = @_; $in =~ s/^.*?\r\n\r\n//s; $in =~ s/(?:^|\r\n)[0-9a-f]+\r\n//g; $in }


subtest 'the stream of an intent' => sub {
    my $intent = submit();
    my $id = $intent->{intentId};
    my $c = ask("/api/intents/\U$id\E/events", 'Accept-Encoding' => 'identity');

    sent($id);
    more($c, sub { $_[0] =~ /"executing"/ }, 10, 'executing');
    my ($head) = $c->{in} =~ /^(.*?)\r\n\r\n/s;

    like($head, qr{^HTTP/1\.1 200 }, 'it begins');
    like($head, qr{^Content-Type: text/event-stream\r?$}m, 'the content type');
    like($head, qr{^Cache-Control: no-store\r?$}m, 'not to be kept');
    like($head, qr{^X-Accel-Buffering: no\r?$}m, 'nor to be held back');
    like(body($c->{in}), qr/^retry: 1500\n\nid: \d+\nevent: intentUpdate\ndata: \{/, 'retry, then the snapshot');

    more($c, sub { $_[0] =~ /\n:\n\n/ || body($_[0]) =~ /\n\n:\n\n/ }, 5, 'a comment');
    pass('comments keep it alive');

    mined($id);
    more($c, sub { $_[0] =~ /\r\n0\r\n\r\n$/ }, 10, 'the end');
    my @events = body($c->{in}) =~ /^id: (\d+)\nevent: intentUpdate\ndata: (.*)\n$/mg;
    my (@versions, @intents);
    while (my ($version, $data) = splice @events, 0, 2) {
        push @versions, $version;
        push @intents, IntentTest::decode($data);
    }
    is(join(' ', @versions), join(' ', $versions[0] .. $versions[0] + $#versions), 'each version, once');
    is(join(' ', map { $_->{version} } @intents), "@versions", 'the id of an event is the version');
    is_deeply($intents[-1], $t->get_intent($id), 'the last is what GET answers');
    is($intents[-1]{status}, 'success', 'success, and the stream ends');

    # a browser that comes back

    my $last = $versions[-1];
    my %again = (Connection => 'close');
    for ([ 'what it has seen', $last, qr{^HTTP/1\.1 204 }, 0 ],
         [ 'more than there is', $last + 5, qr{^HTTP/1\.1 204 }, 0 ],
         [ 'less', $last - 1, qr{^HTTP/1\.1 200 }, 1 ],
         [ 'nonsense', 'x', qr{^HTTP/1\.1 200 }, 1 ])
    {
        my ($name, $value, $status, $n) = @$_;
        my $d = ask("/api/intents/$id/events", %again, 'Last-Event-ID' => $value);
        more($d, sub { 0 });
        like($d->{in}, $status, "Last-Event-ID is $name");
        is(() = $d->{in} =~ /^event:/mg, $n, "$n events");
    }
};

subtest 'Last-Event-ID of an intent that goes on' => sub {
    my $id = submit()->{intentId};
    sent($id);
    my $version = $t->get_intent($id)->{version};
    my $c = ask("/api/intents/$id/events", 'Last-Event-ID' => $version);

    more($c, sub { $_[0] =~ /retry/ });
    more($c, sub { body($_[0]) =~ /:\n\n/ });
    unlike($c->{in}, qr/^event/m, 'what was seen is not told again');
    mined($id);
    more($c, sub { $_[0] =~ /"success"/ });
    like($c->{in}, qr/^id: ${\($version + 1)}\n/m, 'what comes then is');
    unlike($c->{in}, qr/^id: $version\n/m, 'and nothing else');
};

subtest "a user's intents" => sub {
    my $before = submit('alice')->{intentId};
    my $c = ask('/api/intents/events', 'X-User' => 'alice');

    more($c, sub { $_[0] =~ /$before/ }, 10, 'what is unfinished');
    my $mine = submit('alice')->{intentId};
    my $other = submit('bob')->{intentId};
    more($c, sub { $_[0] =~ /"intentId":"$mine"/ }, 10, 'a new one');
    like($c->{in}, qr/^retry: 1500\nid: \d{13}\n\n/m, 'an id for who comes back before anything is told');
    like($c->{in}, qr/^id: \d{13}:$mine:1\nevent: intentUpdate\ndata: /m, 'an id of a time and both');
    mined($_) for $before, $mine, $other;
    more($c, sub { my $in = $_[0]; 2 == grep { $in =~ /"intentId":"$_"[^\n]*"success"/ } $before, $mine }, 10, 'success');
    unlike($c->{in}, qr/$other/, "nobody else's");
    my @events = $c->{in} =~ /^id: (\S+)$/mg;
    my %seen;
    is(scalar(grep { $seen{$_}++ } @events), 0, 'none twice');
};

subtest 'HEAD, and what is refused' => sub {
    my $id = submit()->{intentId};
    my $r = $t->http('HEAD', "/api/intents/$id/events");
    is($r->{status}, 200, 'HEAD');
    is($r->{headers}{'content-type'}, 'text/event-stream', 'its content type');

    for ([ '/api/intents/01a20310-edce-7523-95f1-f3557e7bf05a/events', 404, 'no such intent' ],
         [ '/api/intents/events', 403, 'nobody in particular' ],
         [ '/api/intents/x/events', 404, 'no id' ])
    {
        my ($path, $status, $name) = @$_;
        $r = $t->get($path);
        is($r->{status}, $status, "$name: $status");
        is($r->{headers}{'content-type'}, 'application/problem+json', 'a problem document');
    }

    is($t->http('POST', "/api/intents/$id/events")->{status}, 405, 'POST: 405');

    my @c = map { ask("/few/$id/events") } 1 .. 4;
    for (@c) { more($_, sub { $_[0] =~ /\r\n\r\n/ }) }
    my $refused = grep { $_->{in} =~ m{^HTTP/1\.1 429 } } @c;
    cmp_ok($refused, '>=', 2, 'too many connections: 429');
};

subtest 'HTTP/1.0, HTTP/2, gzip' => sub {
    my $id = submit()->{intentId};
    my $old = ask("/api/intents/$id/events", version => '1.0');
    sent($id);

    my @curl = ('curl', '-sN', '--max-time', 20);
    open my $two, '-|', @curl, '--http2-prior-knowledge', '-w', '%{http_version}', "http://127.0.0.1:$h2/api/intents/$id/events" or die $!;
    open my $gzip, '-|', @curl, '--compressed', '-H', 'Accept-Encoding: gzip', '-D', "$t->{dir}/head", $t->url("/api/intents/$id/events") or die $!;
    my %curl = (two => { socket => $two, in => '' }, gzip => { socket => $gzip, in => '' });

    more($_, sub { $_[0] =~ /"executing"/ }) for values %curl;
    more($_, sub { () = $_[0] =~ /^:$/mg; $_[0] =~ /^:$/m }) for values %curl;
    mined($id);
    more($_, sub { 0 }, 15) for $old, values %curl;

    like($old->{in}, qr{^HTTP/1\.1 200 }, 'HTTP/1.0');
    like($old->{in}, qr/"success"[^\n]*\n\n$/, 'to its end');
    like($curl{two}{in}, qr/"success"[^\n]*\n\n2$/, 'HTTP/2');
    like($t->read_file("$t->{dir}/head"), qr/^Content-Encoding: gzip/mi, 'gzip');
    like($curl{gzip}{in}, qr/"success"[^\n]*\n\n$/, 'at once, too');
    close $_ for $two, $gzip;
};

subtest 'a client that does not read' => sub {
    my $id = submit()->{intentId};
    my $c = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $slow) or die $!;

    # comments, one each millisecond, into as little room as the kernel gives

    setsockopt $c, Socket::SOL_SOCKET(), Socket::SO_RCVBUF(), 2048;
    print $c "GET /small/$id/events HTTP/1.1\r\nHost: test\r\n\r\n";
    wait_for(sub { $t->error_log =~ /client of events reads too slowly/ }, 60, 'it to be full');
    pass('it is bounded, and closed');
};

is($t->metric('intent_push_subscriptions', transport => 'sse') + 0, 0, 'no subscription is left')
    if wait_for(sub { $t->metric('intent_push_subscriptions', transport => 'sse') + 0 == 0 }, 10, 'no subscription');

$t->nginx_quit;
$t->clean_ok;

done_testing;
