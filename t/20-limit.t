# Rate limits: what passes, what is said in headers, logs, variables and metrics,
# what a configuration may say, what a reload keeps. None of it needs an intent.

use strict;
use warnings;

use lib 't/lib';
use IntentTest qw(free_port wait_for);
use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(sleep time);

my $zones = <<'END';
    intent_limit_zone $arg_k zone=submit:1m rate=3r/15m;
    intent_limit_zone $arg_o zone=other:1m rate=2r/1h;
    intent_limit_zone $arg_k$remote_addr zone=address:1m rate=1r/1h;
    limit_req_zone $arg_slow zone=slow:1m rate=1r/m;
END

my $http2 = free_port;
my $locations = <<'END';
        location / {
            intent_limit zone=submit;
            try_files /none @ok;
        }

        location /both {
            intent_limit zone=submit;
            intent_limit zone=other;
            try_files /none @ok;
        }

        location /dry {
            intent_limit zone=submit dry_run;
            try_files /none @ok;
        }

        location /mixed {
            intent_limit zone=submit dry_run;
            intent_limit zone=other;
            try_files /none @ok;
        }

        location /twice {
            intent_limit zone=submit;
            try_files /none /again;
        }

        location /again {
            intent_limit zone=submit;
            proxy_pass http://127.0.0.1:$PORT/empty;
        }

        location /page {
            intent_limit zone=submit;
            error_page 429 =503 /busy;
            try_files /none @ok;
        }

        location /named {
            intent_limit zone=submit;
            error_page 429 @busy;
            try_files /none @ok;
        }

        location /missing { intent_limit zone=submit; root $DIR; }

        location /small {
            intent_limit zone=submit;
            client_max_body_size 10;
            try_files /none @ok;
        }

        location /early { intent_limit zone=submit; return 301 /; }

        location /first {
            intent_limit zone=other;
            try_files /none /second?$args;
        }

        location /second { intent_limit zone=submit; try_files /none @ok; }

        location /guarded {
            intent_limit zone=submit;
            satisfy any;
            allow 127.0.0.2;
            deny all;
            auth_request /may;
            try_files /none @ok;
        }

        location = /may { internal; intent_limit zone=submit; try_files /none $http_x_may; }
        location = /yes { internal; return 204; }
        location = /no  { internal; return 403; }

        location /slow {
            intent_limit zone=submit;
            limit_req zone=slow;
            try_files /none @ok;
        }

        location /real {
            intent_limit zone=address;
            set_real_ip_from 127.0.0.1;
            real_ip_header X-Real-IP;
            try_files /none @ok;
        }

        location = /busy  { internal; default_type text/plain; alias $DIR/busy.txt; }
        location = /empty { return 204; }
        location @busy    { return 200 "busy\n"; }
        location @ok      { return 200 "ok\n"; }
        location /free    { try_files /none @ok; }
        location /metrics { intent_metrics; }
END

sub conf {
    my (%part) = (zones => $zones, http => '', server => '', locations => $locations, @_);

    my $module = $ENV{TEST_NGINX_INTENT_MODULE}
        ? "load_module $ENV{TEST_NGINX_INTENT_MODULE};" : '';
    my $user = $> == 0 ? 'user nobody nogroup;' : '';

    return <<"END";
$module
$user
worker_processes 2;
error_log \$DIR/error.log info;
pid \$DIR/nginx.pid;

events { worker_connections 1024; }

http {
    log_format limit '\$request_method \$uri \$status \$intent_limit_status \$intent_limit_remaining';
    access_log \$DIR/access.log limit;
    client_body_temp_path \$DIR/temp/body;
    proxy_temp_path \$DIR/temp/proxy;
    fastcgi_temp_path \$DIR/temp/fastcgi;
    uwsgi_temp_path \$DIR/temp/uwsgi;
    scgi_temp_path \$DIR/temp/scgi;

    intent_zone intents 4m;
$part{zones}
    $part{http}

    server {
        listen 127.0.0.1:\$PORT;
        listen 127.0.0.1:$http2 http2;
        $part{server}
$part{locations}
    }
}
END
}

my $t = IntentTest->new(services => [], anvil => 0, conf => conf(), start => 0);

$t->write_file($t->dir . '/busy.txt', "busy, too\n", 0644);
$t->write_conf;
$t->nginx_start;

my $detail = 'Too many intents created, please try again later';
my $problem = qq({"type":"about:blank","title":"Too Many Requests","status":429,"detail":"$detail"});
my $next = 0;

sub key { 'k' . $next++ }
sub post_to { my ($uri, $body) = @_; $t->http('POST', $uri, {}, $body // '{}') }
sub statuses { my ($n, $uri) = @_; join ' ', map { post_to($uri)->{status} } 1 .. $n }
sub metric { $t->metric('intent_limit_requests_total', zone => $_[0], result => $_[1]) }

# A reload, and a worker that has the new configuration, as its policy tells; the
# connection that is kept alive may be to an old one.

sub reload {
    my ($policy, %part) = @_;

    $t->nginx_reload(%part ? (conf => conf(%part)) : ());
    wait_policy($policy);
}

sub wait_policy {
    my $policy = shift;

    wait_for(sub {
        delete $t->{http_client};
        ($t->get('/?k=x')->{headers}{'ratelimit-policy'} // '') eq $policy;
    }, 10, "the policy $policy");
}

sub wait_logged {
    my $line = shift;
    wait_for(sub { $t->access_log =~ $line }, 5, "$line in the access log, it has "
                                                 . substr $t->access_log, -300);
    pass("logged: $line");
}

# One connection, many requests: what comes back until $n answers are complete.

sub raw {
    my ($text, $n) = @_;

    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $t->port)
        or die "connect: $!";
    print $socket $text;
    return answers($socket, $n);
}

sub answers {
    my ($socket, $n) = @_;

    my ($in, @answers) = ('');
    my $select = IO::Select->new($socket);
    my $deadline = time + 10;

    while (@answers < $n) {
        if ($in =~ /^(HTTP.*?\r\n\r\n)/s) {
            my $head = $1;
            my ($length) = $head =~ /^content-length: (\d+)/im;
            $length = 0 if $head =~ /^HTTP\S+ (?:1\d\d|204)/ || !defined $length;

            if (length($in) >= length($head) + $length) {
                push @answers, substr $in, 0, length($head) + $length, '';
                next;
            }
        }

        die "answers: @answers, and then: $in\n" if time > $deadline;
        next unless $select->can_read(0.2);
        sysread $socket, $in, 65536, length $in or last;
    }

    push @answers, eof_of($socket, $answers[-1] =~ /\r\nConnection: close\r\n/ ? 10 : 0.2) if wantarray;
    return @answers;
}

# Has the other side acknowledged all, or refused it?

sub sent_all {
    my $n = pack 'i', 0;
    return ioctl($_[0], 0x5411, $n) ? unpack('i', $n) == 0 : 1;     # SIOCOUTQ
}

sub eof_of {
    my ($socket, $seconds) = @_;
    return 'open' unless IO::Select->new($socket)->can_read($seconds);
    return sysread($socket, my $more, 1) ? 'more' : 'closed';
}


subtest 'as many as the rate says' => sub {
    my $k = key();

    for my $left (2, 1, 0) {
        my $r = post_to("/?k=$k");
        is($r->{status}, 200, 'passed');
        is($r->{content}, "ok\n", 'the content');
        is($r->{headers}{'ratelimit-policy'}, '"submit";q=3;w=900', 'RateLimit-Policy');
        like($r->{headers}{ratelimit}, qr/^"submit";r=$left;t=(?:900|89\d)$/, "RateLimit: $left");
        is($r->{headers}{'retry-after'}, undef, 'no Retry-After');
    }

    my $r = post_to("/?k=$k");
    is($r->{status}, 429, 'one more is too many');
    is($r->{content}, $problem, 'it says so');
    is($r->{headers}{'content-type'}, 'application/problem+json', 'Content-Type');
    like($r->{headers}{ratelimit}, qr/^"submit";r=0;t=(\d+)$/, 'RateLimit: 0');
    my ($seconds) = $r->{headers}{ratelimit} =~ /t=(\d+)/;
    is($r->{headers}{'retry-after'}, $seconds, 'Retry-After says the same as t');
    cmp_ok($seconds, '>', 890, 'it is nearly');
    cmp_ok($seconds, '<=', 900, 'the time of the rate');

    is(post_to('/?k=' . key())->{status}, 200, 'another key has its own');
    like($t->error_log, qr/\[error\] .*limiting intents by zone "submit", 1 more, 0 of 3 remain, retry in \d+ s, client/,
         'the error log');
    unlike($t->error_log, qr/zone "submit"[^\n]*\Q$k\E\D[^\n]*, client/, 'the log names no key');
    wait_logged(qr{^POST / 200 PASSED 2$}m);
    wait_logged(qr{^POST / 429 REJECTED 0$}m);
};

subtest 'only POSTs count' => sub {
    my $k = key();

    for (1 .. 5) {
        my $r = $t->get("/?k=$k");
        is($r->{status}, 200, 'a GET');
        is($r->{headers}{'ratelimit-policy'}, '"submit";q=3;w=900', 'RateLimit-Policy');
        is($r->{headers}{ratelimit}, '"submit";r=3;t=900', 'RateLimit');
    }

    post_to("/?k=$k");
    like($t->http('HEAD', "/?k=$k")->{headers}{ratelimit}, qr/^"submit";r=2;/, 'HEAD sees it');
    is($t->http('PUT', "/?k=$k", {}, 'x')->{status}, 200, 'PUT');
    is($t->http('DELETE', "/?k=$k")->{status}, 200, 'DELETE');
    is(statuses(3, "/?k=$k"), '200 200 429', 'the rest of the POSTs');
    is($t->get("/?k=$k")->{status}, 200, 'a GET passes still');
    like($t->get("/?k=$k")->{headers}{ratelimit}, qr/^"submit";r=0;t=\d+$/, 'and sees none left');
    is($t->get("/?k=$k")->{headers}{'retry-after'}, undef, 'without a Retry-After');
    wait_logged(qr{^GET / 200 - 0$}m);

    my $r = $t->get("/missing?k=$k");
    is($r->{status}, 404, 'an answer of nginx itself');
    like($r->{headers}{ratelimit}, qr/^"submit";r=0;/, 'has it, too');
};

subtest 'answers that come before the limits' => sub {
    my $k = key();
    my $r = post_to("/small?k=$k", 'x' x 11);

    is($r->{status}, 413, 'a body that is too large');
    is($r->{headers}{'ratelimit-policy'}, '"submit";q=3;w=900', 'has RateLimit-Policy');
    is($r->{headers}{ratelimit}, '"submit";r=3;t=900', 'and RateLimit, and is not counted');

    my ($early) = raw("POST /early?k=$k HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 1);
    like($early, qr/^HTTP\S+ 301 .*\r\nRateLimit: "submit";r=3;t=900\r\n/s, 'a return has it, too');
    wait_logged(qr{^POST /early 301 - 3$}m);

    is(statuses(4, "/?k=$k"), '200 200 200 429', 'the limit is full');
    $r = post_to("/small?k=$k", 'x' x 11);
    is($r->{status}, 413, 'it is said what is wrong for ever');
    like($r->{headers}{ratelimit}, qr/^"submit";r=0;t=\d+$/, 'and what remains');
    is($r->{headers}{'retry-after'}, undef, 'without a Retry-After');

    my ($bad) = raw("POST /?k=$k HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 1);
    like($bad, qr/^HTTP\S+ 400 /, 'what is not HTTP has no location');
};

subtest 'other modules' => sub {
    my $k = key();

    my $guarded = sub { $t->http($_[0], "/guarded?k=$k", { 'X-May' => $_[1] }, $_[2]) };

    is($guarded->('POST', '/no', '{}')->{status}, 403, 'refused by a subrequest');
    like($guarded->('GET', '/no')->{headers}{ratelimit}, qr/^"submit";r=2;/, 'counted once');
    is($guarded->('POST', '/yes', '{}')->{status}, 200, 'satisfied');

    my $slow = key();
    is(post_to("/slow?k=$slow&slow=$slow")->{status}, 200, 'limit_req lets one pass');
    my $r = post_to("/slow?k=$slow&slow=$slow");
    is($r->{status}, 503, 'and not two');
    like($r->{headers}{ratelimit}, qr/^"submit";r=2;/, 'which is not counted');

    # that of a location changes the address in the same phase

    my $real = key();
    my @from = map { $t->post("/real?k=$real", '', { 'X-Real-IP' => "10.0.0.$_" })->{status} } 1, 2, 1;
    is("@from", '200 200 429', 'addresses are as realip leaves them');
};

# curl takes no answer that comes before all of its body is sent, so it is Node.

subtest 'HTTP/2' => sub {
    my $k = key();
    my $program = <<'END';
        const [url, path] = process.argv.slice(1);
        const c = require('http2').connect(url);
        const one = (method, headers, body) => new Promise((done, fail) => {
            const r = c.request({ ':method': method, ':path': path, ...headers });
            let said, text = '';
            r.on('response', h => said = h);
            r.on('data', d => text += d);
            r.on('error', fail);
            r.on('close', () => done([said[':status'], said.ratelimit, said['retry-after'], text.trim()].join(' ')));
            body === undefined ? r.end() : r.end(body);
        });
        (async () => {
            for (let i = 0; i < 4; i++) console.log(await one('POST', {}, 'x'.repeat(30000)));
            console.log(await one('POST', { expect: '100-continue' }, 'x'));
            console.log(await one('HEAD', {}));
            c.close();
        })();
END
    open my $out, '-|', 'node', '-e', $program, "http://127.0.0.1:$http2", "/?k=$k" or die "node: $!";
    chomp(my @got = <$out>);
    close $out;

    like($got[0], qr/^200 "submit";r=2;t=900  ok$/, 'the first');
    like($got[2], qr/^200 "submit";r=0;t=\d+  ok$/, 'the third');
    like($got[$_], qr/^429 "submit";r=0;t=(\d+) \1 \Q$problem\E$/, "answer $_") for 3, 4;
    like($got[5], qr/^200 "submit";r=0;t=\d+  $/, 'a HEAD after them, on the same connection');
};

subtest 'rejected ones are not counted' => sub {
    my $k = key();

    is(statuses(20, "/?k=$k"), join(' ', (200) x 3, (429) x 17), '20 at once');
    my $r = post_to("/?k=$k");
    cmp_ok($r->{headers}{'retry-after'}, '<=', 900, 'nobody is punished for knocking');
};

subtest 'an empty key is not limited' => sub {
    is(statuses(5, '/'), '200 200 200 200 200', 'POSTs');
    is(post_to('/')->{headers}{ratelimit}, undef, 'no header');
    is($t->get('/free')->{headers}{ratelimit}, undef, 'nor where there is no limit');
    is(statuses(5, '/both?o=' . key()), '200 200 429 429 429', 'the other limit is');
    is($t->get('/both?o=' . key())->{headers}{'ratelimit-policy'}, '"other";q=2;w=3600',
       'whose policy alone is told');

    # nothing was counted before the redirect, so this is not the second time
    my $k = key();
    is(statuses(4, "/first?k=$k"), '200 200 200 429', 'a redirect to where there is a key');
    is(statuses(3, "/first?k=$k&o=" . key()), '200 200 429', 'the first that counts, counts');
};

subtest 'several limits: all or nothing' => sub {
    my ($k, $o) = (key(), key());

    my $r = post_to("/both?k=$k&o=$o");
    is($r->{headers}{'ratelimit-policy'}, '"other";q=2;w=3600, "submit";q=3;w=900',
       'RateLimit-Policy is a list');
    like($r->{headers}{ratelimit}, qr/^"other";r=1;t=\d+, "submit";r=2;t=\d+$/, 'and RateLimit');

    is(statuses(9, "/both?k=$k&o=$o"), join(' ', 200, (429) x 8), 'one of them refuses');
    like($t->get("/both?k=$k&o=$o")->{headers}{ratelimit}, qr/^"other";r=0;t=\d+, "submit";r=1;/,
         'the other did not count');
    cmp_ok(post_to("/both?k=$k&o=$o")->{headers}{'retry-after'}, '>', 3500,
           'Retry-After is of the one that refuses');

    # the other way round: full is the one that comes last
    my $p = key();
    is(statuses(3, "/?k=$p"), '200 200 200', 'one is full');
    is(statuses(4, "/both?k=$p&o=$o.2"), '429 429 429 429', 'the other refuses all');
    like($t->get("/both?k=$p&o=$o.2")->{headers}{ratelimit}, qr/^"other";r=2;t=3600, "submit";r=0/,
         'and the one before counted nothing');
};

subtest 'dry run' => sub {
    my ($k, $o) = (key(), key());

    is(statuses(5, "/dry?k=$k"), '200 200 200 200 200', 'all pass');
    my $r = post_to("/dry?k=$k");
    is($r->{headers}{ratelimit}, undef, 'clients are told nothing');
    is($r->{headers}{'retry-after'}, undef, 'nothing at all');
    wait_logged(qr{^POST /dry 200 REJECTED_DRY_RUN 0$}m);
    like($t->error_log, qr/\[warn\] .*limiting intents, dry run, by zone "submit", 1 more, 0 of 3 remain, /,
         'the error log');

    # what it would have refused is not counted there, and counted where there is room
    is(statuses(5, "/mixed?k=$k&o=$o"), '200 200 429 429 429', 'with another limit');
    is(post_to("/mixed?k=$k&o=$o")->{headers}{'ratelimit-policy'}, '"other";q=2;w=3600',
       'which is the one that clients see');
    wait_logged(qr{^POST /mixed 200 REJECTED_DRY_RUN 0$}m);
    wait_logged(qr{^POST /mixed 429 REJECTED 0$}m);
};

subtest 'metrics' => sub {
    my ($k, $o) = (key(), key());
    my @before = map { metric(@$_) } my @which = (
        [qw(submit passed)], [qw(submit rejected)], [qw(submit rejected_dry_run)],
        [qw(other passed)], [qw(other rejected)], [qw(other rejected_dry_run)],
    );

    statuses(5, "/?k=$k");
    statuses(3, "/dry?k=$k");
    statuses(4, "/both?k=$k.2&o=$o");
    $t->get("/?k=$k");

    my @after = map { metric(@$_) } @which;
    is(join(' ', map { $after[$_] - $before[$_] } 0 .. $#which), '5 2 3 2 2 0',
       'passed, rejected and rejected_dry_run of two zones');
};

subtest 'redirects and proxied content count once' => sub {
    my $k = key();

    is(statuses(4, "/twice?k=$k"), '204 204 204 429', 'an internal redirect');
    my $r = $t->get("/twice?k=$k");
    like($r->{headers}{ratelimit}, qr/^"submit";r=0;t=\d+$/, 'one header, on what a proxy says');
    is(ref $r->{headers}{'ratelimit-policy'}, '', 'and one policy');
};

subtest 'error_page' => sub {
    my $k = key();

    is(statuses(4, "/page?k=$k"), '200 200 200 503', 'is obeyed');
    my $r = post_to("/page?k=$k");
    is($r->{content}, "busy, too\n", 'the page');
    like($r->{headers}{ratelimit}, qr/^"submit";r=0;t=\d+$/, 'RateLimit is there');
    is($r->{headers}{'ratelimit-policy'}, '"submit";q=3;w=900', 'so is the policy');
    like($r->{headers}{'retry-after'}, qr/^\d+$/, 'and Retry-After');
    wait_logged(qr{^GET /busy 503 REJECTED 0$}m);

    $r = post_to("/named?k=$k");
    is($r->{content}, "busy\n", 'a named location');
    is($r->{status}, 429, 'the status stays');
    like($r->{headers}{'retry-after'}, qr/^\d+$/, 'Retry-After');
};

subtest 'the connection lives on' => sub {
    my $k = key();
    my $head = "Host: localhost\r\n";
    my $body = 'x' x 30000;
    my $length = length $body;

    statuses(3, "/?k=$k");

    my @a = raw("POST /?k=$k HTTP/1.1\r\n${head}Content-Length: 2\r\n\r\n{}"
                . "POST /?k=$k HTTP/1.1\r\n${head}Content-Length: $length\r\n\r\n$body"
                . "POST /?k=$k HTTP/1.1\r\n${head}Transfer-Encoding: chunked\r\n\r\n"
                . "7530\r\n$body\r\n0\r\n\r\n"
                . "POST /?k=$k HTTP/1.1\r\n${head}Content-Length: 0\r\n\r\n"
                . "GET /free HTTP/1.1\r\n$head\r\n", 5);
    is(join(' ', map { /^HTTP\S+ (\d+)/ } @a), '429 429 429 429 200', 'bodies are thrown away');
    is($a[5], 'open', 'the connection is open');
    like($a[1], qr/\Q$problem\E$/, 'the answer');

    @a = raw("POST /?k=$k HTTP/1.1\r\n${head}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n", 1);
    like($a[0], qr/^HTTP\S+ 429 .*\r\nConnection: close\r\n/s, 'nobody asks for a body in vain');
    is($a[1], 'closed', 'the connection is closed then') or diag(@a);

    # one who sends it all the same, and late, can still read the answer
    my $late = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $t->port) or die $!;
    print $late "POST /?k=$k HTTP/1.1\r\n${head}Content-Length: $length\r\nExpect: 100-continue\r\n\r\n";
    IO::Select->new($late)->can_read(5);
    local $SIG{PIPE} = 'IGNORE';
    syswrite $late, substr $body, 0, 20000;
    wait_for(sub { sent_all($late) }, 5, 'the body to arrive');
    is(syswrite($late, substr $body, 20000), $length - 20000, 'a body that comes late is read')
        or diag($!);
    my $in = '';
    1 while sysread $late, $in, 65536, length $in;
    like($in, qr/^HTTP\S+ 429 .*\Q$problem\E$/s, 'and so is the answer');

    @a = raw("POST /?k=" . key() . " HTTP/1.1\r\n${head}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"
             . '12345', 2);
    like("@a", qr/^HTTP\S+ 100 .*HTTP\S+ 200 /s, 'where it passes, the body is asked for');

    @a = raw("POST /?k=$k HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}", 1);
    like($a[0], qr/^HTTP\S+ 429 .*\Q$problem\E$/s, 'HTTP/1.0');
};

subtest 'the window slides' => sub {
    reload('"slide";q=10;w=1', zones => <<'END', locations => <<'END2');
    intent_limit_zone $arg_k zone=slide:1m rate=10r/1s;
END
        location / { intent_limit zone=slide; try_files /none @ok; }
        location @ok { return 200; }
        location /metrics { intent_metrics; }
END2
    my $k = key();

    my $end = time + 4.5;
    my (@sent, @got);
    my ($asked, $idle) = (time, 0);

    while (time < $end) {
        my $before = time;
        $idle += $before - $asked if $before - $asked > 0.05;    # somebody else had the machine
        $asked = $before;
        my $status = post_to("/?k=$k")->{status};

        if ($status == 200) {
            push @sent, $before;
            push @got, time;
        }
        sleep 0.003 * rand;
    }

    # the first was counted after it was sent, the twelfth before it was answered;
    # a worker's clock is that of its last event. Eleven: two have one time in it.
    my $worst = 10;

    for my $i (11 .. $#got) {
        my $span = $got[$i] - $sent[$i - 11];
        $worst = $span if $span < $worst;
    }

    cmp_ok($worst, '>=', 0.99, sprintf 'no second has more than 11 (12 took %.3f s)', $worst);
    cmp_ok(scalar @got, '>=', 40 - 10 * $idle, @got . ' passed in 4.5 seconds');
    cmp_ok(scalar @got, '<=', 51, 'which is what the rate allows');

    ok((grep { post_to("/?k=$k")->{status} == 429 } 1 .. 100), 'now it is full');
    my $r = post_to('/?k=' . key());
    is($r->{headers}{ratelimit}, '"slide";r=9;t=1', 'a second is a second');
};

subtest 'who keeps the rate is not refused' => sub {
    reload('"slide";q=20;w=1', zones => <<'END', locations => <<'END2');
    intent_limit_zone $arg_k zone=slide:2m rate=20r/1s;
END
        location / { intent_limit zone=slide; try_files /none @ok; }
        location @ok { return 200; }
        location /metrics { intent_metrics; }
END2
    my $k = key();

    # not twenty a second, from the answer on: what comes late is not hurried after

    my @got;

    for (1 .. 80) {
        push @got, post_to("/?k=$k")->{status};
        sleep 1 / 19.5;
    }

    is(scalar(grep { $_ != 200 } @got), 0, '80 in more than four seconds');
};

subtest 'Retry-After is kept' => sub {
    my $k = key();

    my $r;
    for (1 .. 200) { $r = post_to("/?k=$k"); last if $r->{status} == 429 }
    is($r->{status}, 429, 'full');
    is($r->{headers}{'retry-after'}, 1, 'for a second');
    sleep $r->{headers}{'retry-after'} + 0.01;        # a tick of the kernel's coarse clock
    is(post_to("/?k=$k")->{status}, 200, 'then it passes');
};

subtest 'what nginx -t says' => sub {
    my @wrong = (
        [ 'intent_limit_zone $arg_k zone=a:1m rate=100;',
          'invalid rate "rate=100", it should be like "rate=100r/15m"' ],
        [ 'intent_limit_zone $arg_k zone=a:1m rate=0r/1s;', 'it should be like "rate=100r/15m"' ],
        [ 'intent_limit_zone $arg_k zone=a:1m rate=-1r/1s;', 'it should be like "rate=100r/15m"' ],
        [ 'intent_limit_zone $arg_k zone=a:1m rate=1r/s;', 'it should be like "rate=100r/15m"' ],
        [ 'intent_limit_zone $arg_k zone=a:1m rate=1r/;', 'it should be like "rate=100r/15m"' ],
        [ 'intent_limit_zone $arg_k zone=a:1m rate=1r/10ms;', 'it should be like "rate=100r/15m"' ],
        [ 'intent_limit_zone $arg_k zone=a:1m rate=1r/0s;', 'in a time from 1s to 24d' ],
        [ 'intent_limit_zone $arg_k zone=a:1m rate=1r/25d;', 'in a time from 1s to 24d' ],
        [ 'intent_limit_zone $arg_k zone=a:1m rate=2000000000r/1s;', 'it should be 1000000000 at the most' ],
        [ 'intent_limit_zone $arg_k zone=a:1m rate=99999999999999999999r/1s;', 'it should be like' ],
        [ 'intent_limit_zone $arg_k zone=a rate=1r/1s;',
          'invalid zone "zone=a", it should be like "zone=submit:10m"' ],
        [ 'intent_limit_zone $arg_k zone=:1m rate=1r/1s;', 'it should be like "zone=submit:10m"' ],
        [ 'intent_limit_zone $arg_k zone=a:big rate=1r/1s;', 'it should be like "zone=submit:10m"' ],
        [ 'intent_limit_zone $arg_k zone=a:8k rate=1r/1s;', 'is too small, it should be "32k" at the least' ],
        [ 'intent_limit_zone $arg_k zone=a:1m zone=b:1m;', 'must have a "rate" parameter, like "rate=100r/15m"' ],
        [ 'intent_limit_zone $arg_k rate=1r/1s rate=2r/1s;', 'must have a "zone" parameter, like "zone=submit:10m"' ],
        [ 'intent_limit_zone $arg_k zone=a:1m burst=5;', 'invalid parameter "burst=5", it should be "zone=name:size" or "rate=100r/15m"' ],
        [ 'intent_limit_zone $arg_k zone=a:1m;', 'invalid number of arguments' ],
        [ 'intent_limit_zone $nothing zone=a:1m rate=1r/1s;', 'unknown "nothing" variable' ],
        [ "intent_limit_zone \$arg_k zone=a\xc3\xa4:1m rate=1r/1s;", 'printable ASCII' ],
        [ 'intent_limit_zone $arg_k zone=' . 'a' x 65 . ':1m rate=1r/1s;', 'of 64 printable' ],
        [ 'intent_limit_zone $arg_k zone=a:1m rate=1r/1s; intent_limit_zone $arg_o zone=a:1m rate=1r/1s;',
          'intent_limit_zone "a" is already bound to key "$arg_k"' ],
        [ 'limit_req_zone $arg_k zone=a:1m rate=1r/s; intent_limit_zone $arg_k zone=a:1m rate=1r/1s;',
          'is already declared for a different use' ],
        [ 'intent_limit zone=a;', 'there is no zone "a" for intent_limit, it should be one of an intent_limit_zone in '
                                  . $t->dir . '/test.conf:' ],
        [ 'intent_limit;', 'invalid number of arguments' ],
        [ 'intent_limit a;', 'invalid parameter "a", it should be "zone=name", and "dry_run" after it' ],
        [ 'intent_limit zone=;', 'must have a "zone" parameter, like "zone=submit"' ],
        [ 'intent_limit zone=submit dry;', 'invalid parameter "dry"' ],
        [ 'intent_limit dry_run;', 'must have a "zone" parameter, like "zone=submit"' ],
        [ 'intent_limit zone=submit; intent_limit zone=submit dry_run;', '"intent_limit" directive is duplicate' ],
    );

    for (@wrong) {
        my ($text, $emerg) = @$_;
        my ($ok, $said) = $t->nginx_test(conf => conf(http => $text));
        ok(!$ok, "refused: $text");
        like($said, qr/\[emerg\].*\Q$emerg\E/, 'and it says why');
    }

    for my $right ('intent_limit_zone $arg_k$http_x zone=a:32k rate=1000000000r/24d; intent_limit zone=a dry_run;',
                   'intent_limit zone=submit;', 'intent_limit dry_run zone=late; intent_limit_zone x zone=late:1m rate=1r/1h;') {
        my ($ok, $said) = $t->nginx_test(conf => conf(http => $right));
        ok($ok, "taken: $right") or diag($said);
    }
};

subtest 'inherited as a whole' => sub {
    reload('"submit";q=3;w=900', http => 'intent_limit zone=submit;', locations => <<'END');
        location /here { try_files /none @ok; }
        location /own { intent_limit zone=other; try_files /none @ok; }
        location @ok { return 200; }
END
    my ($k, $o) = (key(), key());
    is($t->get("/here?k=$k&o=$o")->{headers}{'ratelimit-policy'}, '"submit";q=3;w=900', 'from http');
    is($t->get("/own?k=$k&o=$o")->{headers}{'ratelimit-policy'}, '"other";q=2;w=3600', 'or its own');
    is(statuses(4, "/here?k=$k&o=$o"), '200 200 200 429', 'it limits');
};

subtest 'names are escaped' => sub {
    reload('"a\\"b,c;d";q=1;w=60',
        zones => "intent_limit_zone \$arg_k 'zone=a\"b,c;d:1m' rate=1r/1m;",
        locations => q(
            location / { intent_limit 'zone=a"b,c;d'; try_files /none @ok; }
            location @ok { return 200; }
            location /metrics { intent_metrics; }));
    pass('in RateLimit-Policy, a string of RFC 9651');
    post_to('/?k=1');
    wait_for(sub { $t->get('/metrics')->{content}
                   =~ /^intent_limit_requests_total\{zone="a\\"b,c;d",result="passed"\} 1$/m },
             5, 'the metric');
    pass('a quote in a name');
};

subtest 'a reload keeps what was counted' => sub {
    reload('"submit";q=3;w=900', zones => $zones);

    my $k = key();
    is(statuses(2, "/?k=$k"), '200 200', 'two of three');

    my @old = $t->nginx_reload;
    wait_for(sub { !grep { $t->alive($_) } @old }, 10, 'the old workers to exit');
    delete $t->{http_client};
    is(statuses(2, "/?k=$k"), '200 429', 'a reload');

    (my $more = $zones) =~ s/3r\/15m/5r\/10m/;
    reload('"submit";q=5;w=600', zones => $more);
    is(statuses(3, "/?k=$k"), '200 200 429', 'another rate: two more of five');

    reload('"submit";q=3;w=900', zones => $zones);
    my $r = post_to("/?k=$k");
    is($r->{status}, 429, 'fewer than were counted');
    like($r->{headers}{ratelimit}, qr/^"submit";r=0;t=(?:900|8\d\d)$/, 'none remain');

    (my $bad = $zones) =~ s/\$arg_k/\$arg_x/;
    $t->write_conf(conf => conf(zones => $bad));
    $t->nginx_signal('HUP');
    wait_for(sub { $t->error_log =~ /\[emerg\] .*intent_limit_zone "submit" uses the "\$arg_x" key while previously it used the "\$arg_k" key/ },
             10, 'another key to be refused');
    is(post_to("/?k=$k")->{status}, 429, 'another key: refused, and the old one still holds');

    (my $size = $zones) =~ s/submit:1m/submit:2m/;
    $t->nginx_reload(conf => conf(zones => $size));
    wait_for(sub { delete $t->{http_client}; post_to("/?k=$k")->{status} == 200 }, 10,
             'a zone of another size to be new');
    pass('another size: a new zone');
};

$t->nginx_quit;
$t->clean_ok(allow => qr/while previously it used the/);

done_testing;
