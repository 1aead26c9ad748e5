# Clients that ask and do not read: their requests go away when they do, and the
# worker forgets none of them. And clients that ask before they send a body, which
# is refused: what they send then is no request of its own, nor eats the next one.

use strict;
use warnings;

use lib 't/lib';
use IntentTest qw(wait_for free_port);
use IO::Select;
use IO::Socket::INET;
use Socket;
use Test::More;
use Time::HiRes qw(sleep time);

my ($http2, $slow) = (free_port, free_port);

my $t = IntentTest->new(
    workers => 1,
    anvil   => {},
    api     => 'intent_batch 10;',
    http    => 'intent_limit_zone $http_x_key zone=none:1m rate=1r/1h; keepalive_requests 10000;'
               . 'log_format intent "$request_method $status [$intent_id] [$intent_type] '
               . '[$intent_status] [$intent_user]";',
    server  => <<"END_SERVER",
        listen 127.0.0.1:$http2 http2;
        listen 127.0.0.1:$slow sndbuf=8k rcvbuf=8k;
        access_log \$DIR/intent.log intent;
        location /connections { stub_status; }
        location /limited { intent_api; intent_limit zone=none; }
END_SERVER
);

my $json = "Content-Type: application/json\r\n";

# the one that asks is among them

sub writing {
    my ($n) = $t->get('/connections')->{content} =~ /Writing: (\d+)/;
    return $n - 1;
}

sub gone_ok {
    my $name = shift;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $gone = eval { wait_for(sub { writing() == 0 }, 10, sub { 'no connection that writes' }); 1 };
    ok($gone, $name) or diag($t->get('/connections')->{content});
}


# --- HTTP/2, a window of 0 -----------------------------------------------------

$t->write_file($t->dir . '/window.mjs', <<'END');
import http2 from 'node:http2';
const [port, method, path, body, count] = process.argv.slice(2);
const client = http2.connect(`http://127.0.0.1:${port}`, { settings: { initialWindowSize: 0 } });
let answered = 0;
client.on('error', () => {});
client.on('connect', () => {
    for (let i = 0; i < Number(count); i++) {
        const stream = client.request({ ':method': method, ':path': path,
                                        'content-type': 'application/json' });
        stream.on('error', () => {});
        stream.on('response', (headers) => {
            if (++answered === Number(count)) done(headers[':status']);
        });
        stream.end(body);
    }
});
function done(status) {
    console.log(`${answered} ${status}`);
    client.destroy();
    setTimeout(() => process.exit(0), 50);
}
setTimeout(() => done('not all'), 15000);
END

my $intent = IntentTest->encode({ type => 'transfer',
                                  params => { recipient => lc $t->fresh_address, amount => '1' } });
my $finished = $t->post('/api/intents', $intent)->{json}{intentId};
$t->wait_intent($finished, 'success');
my $nothing = '01a203c4-e3d3-7239-8368-a00900b0cddf';

for my $case (
    [ 'what is no JSON',            400, 'POST',   '/api/intents', '[no json' ],
    [ 'what is no intent',          400, 'POST',   '/api/intents', '{}' ],
    [ 'an array too long',          400, 'POST',   '/api/intents', '[' . join(',', (1) x 11) . ']' ],
    [ 'an array of what is none',   200, 'POST',   '/api/intents', '[1,2]' ],
    [ 'intents',                    202, 'POST',   '/api/intents', $intent ],
    [ 'DELETE of no intent',        404, 'DELETE', "/api/intents/$nothing", '' ],
    [ 'DELETE too late',            409, 'DELETE', "/api/intents/$finished", '' ],
    [ 'GET',                        200, 'GET',    "/api/intents/$finished", '' ],
    [ 'GET of no intent',           404, 'GET',    "/api/intents/$nothing", '' ],
    [ 'GET of the types',           200, 'GET',    '/api/intents/types', '' ],
    [ 'no path',                    404, 'GET',    '/api/intents/nothing', '' ],
) {
    my ($name, $status, $method, $path, $body) = @$case;
    open my $node, '-|', 'node', $t->dir . '/window.mjs', $http2, $method, $path, $body, 20
        or die "node: $!";
    my $said = <$node>;
    close $node;
    is($said, "20 $status\n", "HTTP/2, $name: 20 answers whose bodies have no window");
    gone_ok("HTTP/2, $name: gone with the client");
}


# --- HTTP/1.1, pipelined, not read ---------------------------------------------

# the buffers of the socket are full long before all answers are written

sub stall {
    my ($request, $count) = @_;

    socket my $socket, PF_INET, SOCK_STREAM, 0 or die "$!";
    setsockopt $socket, SOL_SOCKET, SO_RCVBUF, pack 'i', 2048;
    connect $socket, sockaddr_in($slow, inet_aton('127.0.0.1')) or die "$!";
    $socket->blocking(0);

    my ($all, $sent, $idle) = ($request x $count, 0, time + 1);

    while ($sent < length $all && time < $idle) {
        my $n = syswrite $socket, $all, 1 << 20, $sent;
        $n ? ($sent += $n, $idle = time + 1) : sleep 0.02;
    }

    return wantarray ? ($socket, substr $all, $sent) : $socket;
}

my $bad = '{' . join(',', map { '"' . ('u' x 150) . "$_\":1" } 1 .. 40) . '}';

for my $case (
    [ 'POST', "POST /api/intents HTTP/1.1\r\nHost: a\r\n${json}Content-Length: "
              . length($bad) . "\r\n\r\n$bad" ],
    [ 'DELETE', "DELETE /api/intents/$nothing HTTP/1.1\r\nHost: a\r\n\r\n" ],
) {
    my ($name, $request) = @$case;
    my $socket = stall($request, 900);
    my $still = 0;
    ok(eval { wait_for(sub { ($still = writing() == 1 ? $still + 1 : 0) == 10 }, 20,
                       sub { 'an answer that is not read' }); 1 },
       "HTTP/1.1, $name: the server waits for its client");
    close $socket;
    gone_ok("HTTP/1.1, $name: and goes with it");
}


# --- variables of an answer that is written late ---------------------------------

# read from Postgres, for the cache has no more of it than its JSON

$t->kill('redis');
wait_for(sub { $t->get("/api/intents/$finished")->{status} == 200 }, 20, 'a GET without Redis');
$t->write_file($t->dir . '/intent.log', '');
$t->nginx_signal('USR1');
wait_for(sub { $t->get("/api/intents/$finished"); -s $t->dir . '/intent.log' }, 20, 'the log');

my ($reader, $more) = stall("GET /api/intents/$finished HTTP/1.1\r\nHost: a\r\n\r\n", 600);
my ($read, $answers, $limit) = ('', 0, time + 20);

while ($answers < 600 && time < $limit) {
    substr($more, 0, syswrite($reader, $more) // 0) = '';
    sysread($reader, $read, 65536, length $read) or sleep 0.01;
    $answers = () = $read =~ /HTTP\/1.1 200 /g;
}

close $reader;
is($answers, 600, '600 GETs, which are read late');
wait_for(sub { (() = $t->read_file($t->dir . '/intent.log') =~ /^GET/mg) > 600 }, 20, 'the log');
is_deeply([ grep { !/^GET 200 \[$finished\] \[transfer\] \[success\] \[-\]$/ }
            $t->read_file($t->dir . '/intent.log') =~ /^(.*)\n/mg ],
          [], 'each of them is logged with its intent');
$t->restart('redis');


# --- a body that is not asked for ------------------------------------------------

sub talk {
    my ($head, $body) = @_;

    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $t->port) or die "$!";
    syswrite $socket, "$head\r\nHost: a\r\nContent-Length: " . length($body)
                      . "\r\nExpect: 100-continue\r\n\r\n";

    my ($answer, $select) = ('', IO::Select->new($socket));
    sysread $socket, $answer, 65536 if $select->can_read(10);
    local $SIG{PIPE} = 'IGNORE';
    syswrite $socket, $body;
    shutdown $socket, 1;

    my ($rest, $end) = ('', time + 10);
    while (time < $end && $select->can_read($end - time)) {
        sysread($socket, $rest, 65536, length $rest) or last;
    }

    return ($answer, $rest, time < $end);
}

my $smuggled = "GET /api/intents/types HTTP/1.1\r\nHost: a\r\n\r\n";

$t->post('/limited', '{}', { 'X-Key' => 'k' });

for my $case (
    [ 415, "POST /api/intents HTTP/1.1\r\nContent-Type: text/plain" ],
    [ 404, "POST /api/intents/nothing HTTP/1.1\r\n${json}X: y" ],
    [ 405, "POST /api/intents/types HTTP/1.1\r\n${json}X: y" ],
    [ 429, "POST /limited HTTP/1.1\r\n${json}X-Key: k" ],
    [ 413, "POST /api/intents HTTP/1.1\r\n${json}X: y", $smuggled x 1000 ],
) {
    my ($status, $head, $body) = @$case;
    my ($answer, $rest, $closed) = talk($head, $body // $smuggled);
    like($answer, qr{^HTTP/1.1 $status }, "$status, not 100");
    like($answer, qr{\r\nConnection: close\r\n}, "$status: is the last answer");
    unlike($rest, qr{HTTP/1}, "$status: the body is no request");
    ok($closed, "$status: the connection ends");
}

my ($answer) = talk("POST /api/intents HTTP/1.1\r\n${json}X: y", $intent);
like($answer, qr{^HTTP/1.1 100 }, 'a body that is wanted is asked for');

$t->nginx_quit;
unlike($t->error_log, qr/open socket/, 'no socket is left');
$t->clean_ok;
done_testing;
