# The way of requests through intent_api: bodies however they arrive, clients
# that go away, GET from the cache and without it, the variables of the log,
# what is answered while the store is away.

use strict;
use warnings;

use lib 't/lib';
use IntentTest qw(wait_for free_port);
use IO::Select;
use IO::Socket::INET;
use Socket qw(SOL_SOCKET SO_LINGER IPPROTO_TCP TCP_NODELAY);
use Test::More;
use Time::HiRes qw(sleep);

my $http2 = free_port;

my $t = IntentTest->new(
    workers => 1,
    anvil   => { 'block-time' => 1 },
    main    => 'worker_shutdown_timeout 1s;',
    http    => <<'END',
    log_format intent '$request_method $status $intent_id $intent_type $intent_status '
                      '$intent_user $intent_cache_status';
END
    server  => <<"END",
        listen 127.0.0.1:$http2 http2;
        access_log \$DIR/intent.log intent;
        location /users { intent_api; intent_user \$http_x_user; }
END
);

my %transfer = (type => 'transfer',
                params => { recipient => $t->address(5), amount => '7' });
my $body = IntentTest->encode(\%transfer);

# Not yet there until nginx has written the whole line.

sub last_log {
    my $pattern = shift;
    my $line;

    wait_for(sub {
        ($line) = grep { /$pattern/ } reverse split /\n/, $t->read_file($t->dir . '/intent.log');
        $line;
    }, 5, sub { "a line like $pattern in intent.log" });

    return $line;
}

# --- an intent's life --------------------------------------------------------

my $created = $t->post('/users', { %transfer }, { 'X-User' => 'alice' });
is($created->{status}, 202, 'accepted');
my $id = $created->{json}{intentId};
is($created->{headers}{location}, "/users/$id", 'Location');
is($created->{json}{userId}, 'alice', 'whose it is');
is(last_log(qr/^POST 202 \Q$id\E/), "POST 202 $id transfer pending alice -",
   'the log of a POST');

$t->wait_intent($id, 'success');

my $get = $t->get("/api/intents/$id");
is($get->{json}{status}, 'success', 'GET');
is($get->{headers}{'cache-control'}, 'no-cache', 'no cache on the way may keep it');

my $upper = $t->get('/api/intents/' . uc $id);
is($upper->{content}, $get->{content}, 'the id may be in upper case');

my $head = $t->http('HEAD', "/api/intents/$id");
is($head->{status}, 200, 'HEAD');
is($head->{headers}{'content-length'}, length $get->{content}, 'HEAD: length of what GET has');

# --- the cache ---------------------------------------------------------------

like(last_log(qr/^GET 200 \Q$id\E/), qr/^GET 200 $id transfer success alice HIT$/,
     'GET from the cache');

$t->redis_cli('del', "intent:$id:status");
is($t->get("/api/intents/$id")->{content}, $get->{content}, 'the store says the same');
is(last_log(qr/^GET 200 $id transfer success .* (?:MISS|BYPASS)$/), "GET 200 $id transfer success alice MISS",
   'GET from the store');

wait_for(sub { $t->redis_cli('exists', "intent:$id:status") }, 5, 'the cache to be filled');
is($t->redis_cli('get', "intent:$id:status"), $get->{content}, 'the cache has it again');

$t->kill('redis');
is($t->get("/api/intents/$id")->{content}, $get->{content}, 'without Redis');
is(last_log(qr/^GET 200 $id transfer success .* BYPASS$/), "GET 200 $id transfer success alice BYPASS", 'without Redis: the log');
$t->start('redis');
wait_for(sub { $t->get("/api/intents/$id");
               $t->redis_cli('exists', "intent:$id:status") }, 20, 'Redis to be used again');

my $nobody = '00000000-0000-7000-8000-000000000000';
is($t->get("/api/intents/$nobody")->{status}, 404, 'an intent that never was');
is(last_log(qr/^GET 404/), "GET 404 $nobody - - - MISS", 'its log');

# --- bodies ------------------------------------------------------------------

my $head_of_post = "POST /api/intents HTTP/1.1\r\nHost: localhost\r\n"
                   . "Content-Type: application/json\r\n";

sub connection {
    my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $t->port) or die $!;
    setsockopt $s, IPPROTO_TCP, TCP_NODELAY, 1;
    return $s;
}

# The status codes of n answers, and whether the connection was closed then.

sub answers {
    my ($s, $n) = @_;
    my ($in, $closed) = ('', '');
    my $select = IO::Select->new($s);
    my @status;

    while ($select->can_read(@status < $n || $in =~ /\r\nConnection: close\r\n/ ? 10 : 0.2)) {
        if (!sysread $s, $in, 65536, length $in) {
            $closed = ' closed';
            last;
        }

        @status = $in =~ m{HTTP/1\.1 (\d+) }g;
    }

    return "@status$closed";
}

sub pieces {
    my ($s, @pieces) = @_;
    for my $piece (@pieces) { syswrite $s, $piece; sleep 0.002 }
}

my $length = "Content-Length: " . length($body) . "\r\n\r\n";
my $chunked = "Transfer-Encoding: chunked\r\n\r\n";
my @chunks = map { sprintf "%x\r\n%s\r\n", length, $_ } $body =~ /(.{1,7})/sg;
my $padded = $body . ' ' x 7000;

my $s = connection();
pieces($s, split //, "$head_of_post$length$body");
is(answers($s, 1), '202', 'byte by byte');

$s = connection();
pieces($s, "$head_of_post$chunked", @chunks, "0\r\n\r\n");
is(answers($s, 1), '202', 'chunk by chunk');

$s = connection();
syswrite $s, join '', "$head_of_post$chunked", @chunks, "0\r\n\r\n", $head_of_post, $length, $body;
is(answers($s, 2), '202 202', 'chunks and the next request at once');

$s = connection();
syswrite $s, "$head_of_post$length$body" x 5;
is(answers($s, 5), '202 202 202 202 202', 'five requests at once');

$s = connection();
pieces($s, $head_of_post . 'Content-Length: ' . length($padded) . "\r\n\r\n",
       $padded =~ /(.{1,1000})/sg);
is(answers($s, 1), '202', 'a large body in pieces');

$s = connection();
syswrite $s, $head_of_post . $chunked
    . join('', map { "1\r\n$_\r\n" } split //, $padded) . "0\r\n\r\n";
is(answers($s, 1), '202', 'a large body in chunks of a byte');

$s = connection();
syswrite $s, "${head_of_post}Expect: 100-continue\r\n$length";
is(answers($s, 1), '100', 'a client that asks first is told to go on');
syswrite $s, $body;
is(answers($s, 1), '202', 'and does');

$s = connection();
syswrite $s, "${head_of_post}Expect: 100-continue\r\nContent-Length: 100000\r\n\r\n";
is(answers($s, 1), '413 closed', 'a client that asks first is told that it is too much');

$s = connection();
syswrite $s, "${head_of_post}Content-Length: 3000000\r\n\r\n" . ' ' x 3_000_000;
is(answers($s, 1), '413 closed', 'megabytes');

$s = connection();
{
    local $SIG{PIPE} = 'IGNORE';
    syswrite $s, "$head_of_post$chunked";
    defined syswrite $s, "400\r\n" . ' ' x 1024 . "\r\n" or last for 1 .. 3000;
}
like(answers($s, 1), qr/^413/, 'chunks without end');

$s = connection();
pieces($s, "$head_of_post$chunked", $chunks[0], "zz\r\n");
is(answers($s, 1), '400 closed', 'a chunk that is none');

$s = connection();
syswrite $s, "GET /api/intents/$id HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc"
    . "PUT /api/intents HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc"
    . "$head_of_post$length$body";
is(answers($s, 3), '200 405 202', 'bodies that nobody reads');

# --- clients that go away ----------------------------------------------------

for my $i (1 .. 200) {
    $s = connection();
    syswrite $s, $i % 2 ? "$head_of_post$length$body" : $head_of_post . $length . substr $body, 0, 20;
    setsockopt $s, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0 if $i % 3;
    close $s;
}

for my $i (1 .. 200) {
    $s = connection();
    syswrite $s, "GET /api/intents/" . ($i % 2 ? $id : $nobody) . " HTTP/1.1\r\nHost: localhost\r\n\r\n";
    setsockopt $s, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0 if $i % 3;
    close $s;
}

is($t->post('/api/intents', $body)->{status}, 202, 'after those who went away');

# --- HTTP/2 ------------------------------------------------------------------

sub curl {
    my @curl = (qw(curl -s -m 10 --http2-prior-knowledge -o /dev/null),
                '-w', '%{http_version} %{http_code}', @_);
    open my $out, '-|', @curl or die "curl: $!";
    return join '', <$out>;
}

my $url = "http://127.0.0.1:$http2/api/intents";
my @post = ('-H', 'Content-Type: application/json', '--data-binary');

$t->write_file($t->dir . '/padded', $padded);

is(curl($url, @post, $body), '2 202', 'HTTP/2');
is(curl($url, @post, '@' . $t->dir . '/padded'), '2 202', 'HTTP/2: a large body');
is(curl($url, '-X', 'POST', '-H', 'Content-Type: application/json', '-T', $t->dir . '/padded'),
   '2 202', 'HTTP/2: a large body that is uploaded');
is(curl("$url/$id"), '2 200', 'HTTP/2: GET');

# --- what is turned away is counted ------------------------------------------

my %rejected = map { $_ => $t->metric('intents_rejected_total', reason => $_) }
               qw(json invalid media_type user);

$t->post('/api/intents', '{');
$t->post('/api/intents', { type => 'swap', params => {} });
$t->post('/api/intents', { type => 'transfer', params => {} });
$t->post('/api/intents', $body, { 'Content-Type' => 'text/plain' });
$t->post('/users', { %transfer, userId => 'bob' }, { 'X-User' => 'alice' });

is($t->metric('intents_rejected_total', reason => 'json', type => ''),
   $rejected{json} + 1, 'rejected: not JSON');
is($t->metric('intents_rejected_total', reason => 'invalid', type => ''),
   $rejected{invalid} + 1, 'rejected: of no type');
is($t->metric('intents_rejected_total', reason => 'invalid', type => 'transfer'),
   1, 'rejected: of a type');
is($t->metric('intents_rejected_total', reason => 'media_type'),
   $rejected{media_type} + 1, 'rejected: the media type');
is($t->metric('intents_rejected_total', reason => 'user', type => 'transfer'),
   $rejected{user} + 1, 'rejected: the user');

# --- no store ----------------------------------------------------------------

$t->get("/api/intents/$id");
$t->stop('postgres');

my $refused = $t->post('/api/intents', $body);
is($refused->{status}, 503, 'POST without a store');
is($refused->{headers}{'retry-after'}, 1, 'when to come again');
is($refused->{headers}{'content-type'}, 'application/problem+json', 'as a problem');
is($refused->{json}{detail}, 'the intent could not be kept, please try again later', 'what it says');
cmp_ok($t->metric('intents_rejected_total', reason => 'store', type => 'transfer'), '>=', 1,
       'rejected: the store');

is($t->get("/api/intents/$id")->{json}{status}, 'success', 'what is in the cache is served');

my $unread = $t->get("/api/intents/$nobody");
is($unread->{status}, 503, 'GET without a store');
is($unread->{headers}{'retry-after'}, 1, 'when to come again');
is($unread->{headers}{'content-type'}, 'application/problem+json', 'as a problem');

$t->start('postgres');
wait_for(sub { $t->get("/api/intents/$nobody")->{status} == 404 }, 20, 'the store to be back');
is($t->post('/api/intents', $body)->{status}, 202, 'the store is back');

# --- waiting while the worker ends -------------------------------------------

# A request that waits for the store outlives its client and its worker's patience.

$t->pause('postgres');
$s = connection();
syswrite $s, "$head_of_post$length$body";
my $s2 = connection();
syswrite $s2, "GET /api/intents/$nobody HTTP/1.1\r\nHost: localhost\r\n\r\n";
sleep 0.2;
$t->nginx_reload;
close $s2;
sleep 1.5;
$t->resume('postgres');
wait_for(sub { $t->post('/api/intents', $body)->{status} == 202 }, 20, 'the new worker to take intents');
wait_for(sub { $t->workers == 1 }, 60, 'the old worker to be gone');

$t->nginx_quit;
$t->clean_ok;
done_testing;
