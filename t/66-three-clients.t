# npm's ws, EventSource in Chromium and the stock socket.io-client, of one intent each run: each is
# told pending, executing and success in order, none missed or repeated, whichever worker and
# whichever nginx it came to. t/push/three.cjs says what a run is.

use strict;
use warnings;

use lib 't/lib';
use IO::Handle;
use IPC::Open2;
use IntentTest qw(free_port wait_for);
use Page;
use Test::More;
use Time::HiRes qw(time);

my $runs = $ENV{INTENT_CLIENT_RUNS} || 6;
my $parallel = $ENV{INTENT_CLIENT_PARALLEL} || 20;

my %option = (
    start    => 0,
    accounts => 2,
    chain    => { confirmations => 2 },
    api      => 'intent_user $arg_user; intent_push_connections 0; intent_push_retry 100ms;
                 keepalive_timeout 0;',
);

# Each stream of events has a connection of its own (over HTTP/2 a stream), as WebSockets have.
# One set of services, one browser; nginx in front of them, again and again

my $t = IntentTest->new(%option);
my $tls = Page::tls($t, free_port());
my $c = clients($t);

# Connections are spread over the workers by the kernel, else few of them take all.

sub serve {
    my ($t, $name, %more) = @_;

    my $listen = delete $more{listen} // 'listen 127.0.0.1:' . free_port() . ';';
    $listen =~ s/^(\s*listen.*);/$1 reuseport;/;
    my ($port) = $listen =~ /:(\d+)/;

    $t->{by_worker} = "$t->{dir}/$name.log";
    $t->write_conf(%more,
        http => qq(log_format by_worker '\$pid \$status \$server_protocol \$request_uri';
                   access_log $t->{by_worker} by_worker;),
        chain  => { %{ $t->{chain} }, rpc => '/_rpc/gate' },
        server => qq(
            $listen
            location = /blank { types { } default_type text/html; return 200 '<link rel=icon href=data:,>'; }
            location /socket.io/ { intent_socketio; intent_user \$arg_user; intent_push_connections 0; }
            location /_rpc/gate {
                internal;
                proxy_pass http://127.0.0.1:$c->{port}/;
                proxy_http_version 1.1;
                proxy_set_header Connection "";
            }));
    $t->nginx_start;
    return ($listen =~ /ssl/ ? 'https' : 'http') . "://127.0.0.1:$port";
}

sub clients {
    my ($t) = @_;

    local $ENV{NODE_EXTRA_CA_CERTS} = "$t->{dir}/tls.crt";
    my $pid = open2(my $out, my $in, 'node', 't/push/three.cjs', $t->{dir}, "http://127.0.0.1:$t->{anvil_port}/");
    $t->write_file("$t->{dir}/clients.pid", "$pid\n");
    my $c = { pid => $pid, in => $in, out => $out };
    $c->{port} = told($c)->{port};
    return $c;
}

sub told {
    my ($c) = @_;

    my $line = readline $c->{out} // die "the clients have ended\n";
    my $told = IntentTest::decode($line);
    die $told->{error} if $told->{error};
    return $told;
}

sub watch_ok {
    my (@pairs) = @_;

    my $begin = time;
    my $n = 2 * int(($runs + 1) / 2);
    print { $c->{in} } IntentTest::encode({ pairs => \@pairs, runs => $n, parallel => $parallel }), "\n";
    $c->{in}->flush;
    my $out = told($c);

    for my $client (qw(ws sse socketio)) {
        my %seen = map { $_ => $out->{seen}{$_}{$client} } qw(id user race);

        is($seen{$_}{'pending executing success'} // 0, $n / 2, "$client, by $_: pending, executing, success")
            or diag(explain($seen{$_})) for qw(id user);

        my $late = 0;
        $late += $seen{race}{$_} // 0 for 'pending executing success', 'executing success', 'success';
        is($late, $n / 2, "$client, who comes somewhat later: the rest") or diag(explain($seen{race}));
    }

    is($out->{nfaults}, 0, 'none missed, none twice, none of others, in order') or diag(explain($out->{faults}));
    is_deeply($out->{transports}, { websocket => $n * 3 / 2 }, 'Socket.IO was upgraded')
        or diag(explain($out->{transports}));
    diag(sprintf '%d runs of three clients, and %d who came later: %.1f s', $n, $n / 2, time - $begin);
}

# Which workers had them, and how many each; a stream is logged at its end

my @all = ('stream', 'events', '?EIO');

sub workers {
    my (@t) = @_;
    my %by;

    for my $t (@t) {
        for (split /\n/, $t->read_file($t->{by_worker})) {
            my ($pid, $what) = m{^(\d+) \d+ \S+ /(?:api/intents/)?(?:\S*/)?(stream|events|\?EIO)} or next;
            $by{$what}{$pid}++;
        }
    }

    return map { $_ => [ sort { $b <=> $a } values %{ $by{$_} } ] } @all;
}

# The kernel draws the worker of a connection by lot: now and then one has all of the
# nine WebSockets, and there is nothing to see.  Then there are more runs.

sub watch_spread_ok {
    my ($least, $t, @pairs) = @_;
    my %by;

    for (1 .. 10) {
        watch_ok(@pairs);
        %by = workers(@$t);
        last if $least <= (sort { $a <=> $b } map { scalar @{ $by{$_} } } @all)[0];
    }

    $_->nginx_quit for @$t;
    %by = workers(@$t);
    cmp_ok(scalar @{ $by{$_} }, '>=', $least, "several workers had $_ (@{ $by{$_} })") for @all;
}


for my $workers (2, 4) {
    subtest "$workers workers" => sub {
        my $url = serve($t, $workers, workers => $workers);

        watch_spread_ok($runs < 40 ? 2 : $workers, [ $t ], [ $url, $url ]);
    };
}

subtest 'two nginx: submitted to one, watched at the other' => sub {
    my $other = IntentTest->new(%option, services => []);
    $other->{"${_}_port"} = $t->{"${_}_port"} for qw(postgres redis anvil);
    my @urls = map { serve($_, 'two', workers => 2) } $t, $other;

    watch_spread_ok($runs < 40 ? 2 : 4, [ $t, $other ], [ @urls ], [ reverse @urls ]);
    $other->clean_ok;
};

subtest 'TLS: wss, events over HTTP/2, https' => sub {
    my $url = serve($t, 'tls', listen => $tls);

    watch_ok([ $url, $url ]);
    $t->nginx_quit;

    my $log = $t->read_file($t->{by_worker});
    like($log, qr{^\d+ 101 HTTP/1\.1 /api/intents/stream}m, 'wss');
    like($log, qr{^\d+ 200 HTTP/2\.0 /api/intents/\S+/events}m, 'events over HTTP/2');
    like($log, qr{^\d+ 101 HTTP/1\.1 /socket\.io/\S*transport=websocket}m, 'Socket.IO');
};

close $c->{in};
waitpid $c->{pid}, 0;
$t->clean_ok;

done_testing;
