# Rate limits under load: exactly as many as the rate says from parallel clients
# over two workers, through a reload; more keys than fit; a worker killed again and
# again in the middle of it; a binary upgrade.

use strict;
use warnings;

use lib 't/lib';
use IntentTest qw(wait_for);
use IO::Select;
use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(sleep time);

# a sanitizer makes each request dearer
my $keys = $ENV{INTENT_TEST_KEYS} || ($ENV{SANITIZE} ? 100_000 : 1_000_000);
my $kills = $ENV{INTENT_TEST_KILLS} || 40;

sub conf {
    my ($workers, $zones, $limits, $log) = @_;

    my $module = $ENV{TEST_NGINX_INTENT_MODULE}
        ? "load_module $ENV{TEST_NGINX_INTENT_MODULE};" : '';
    my $user = $> == 0 ? 'user nobody nogroup;' : '';
    $log //= 'error';

    return <<"END";
$module
$user
worker_processes $workers;
error_log \$DIR/error.log $log;
pid \$DIR/nginx.pid;

# for the new binary of an upgrade
env ASAN_OPTIONS;
env LSAN_OPTIONS;
env UBSAN_OPTIONS;

events { worker_connections 1024; }

http {
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path \$DIR/temp/body;
    proxy_temp_path \$DIR/temp/proxy;
    fastcgi_temp_path \$DIR/temp/fastcgi;
    uwsgi_temp_path \$DIR/temp/uwsgi;
    scgi_temp_path \$DIR/temp/scgi;

    intent_zone intents 4m;
    $zones

    server {
        listen 127.0.0.1:\$PORT;

        location / {
            $limits
            try_files /none \@ok;
        }

        location \@ok     { return 200; }
        location /metrics { intent_metrics; }
        location /pid     { return 200 \$pid; }
    }
}
END
}

my $t = IntentTest->new(services => [], anvil => 0, start => 0);

sub begin {
    my @conf = @_;
    $t->nginx_quit if $t->nginx_pid;
    delete $t->{http_client};
    unlink $t->dir . '/error.log';
    $t->write_conf(conf => conf(@conf));
    $t->nginx_start;
}

sub metric { $t->metric('intent_limit_requests_total', zone => $_[0], result => $_[1]) }

# POSTs to these URIs over one connection, many at a time; the statuses. No answer
# is a 0, where death is expected; what was not sent is sent over another connection.

sub pipeline {
    my ($uris, %option) = @_;

    my $depth = $option{depth} // 200;
    my $deadline = time + ($option{timeout} // 60);
    my ($at, $socket, @statuses) = (0);

    while ($at < @$uris) {
        my $last = $at + $depth - 1;
        $last = $#$uris if $last > $#$uris;

        $socket ||= IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $t->port,
                                          Timeout => 5);
        if (!$socket) {
            die "connect: $!\n" if time > $deadline || !$option{mortal};
            sleep 0.005;
            next;
        }

        my $text = join '', map { "POST $_ HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n" }
                            @$uris[$at .. $last];
        my $sent = syswrite $socket, $text;
        my @got = $sent && $sent == length $text ? answers($socket, $last - $at + 1, $deadline) : ();

        die "$at of " . @$uris . ": no answer\n" if @got <= $last - $at && !$option{mortal};

        if (@got <= $last - $at) {
            close $socket;
            undef $socket;
            push @got, (0) x ($last - $at + 1 - @got);
        }

        push @statuses, @got;
        $at = $last + 1;
    }

    return @statuses;
}

sub answers {
    my ($socket, $n, $deadline) = @_;

    my ($in, @got) = ('');
    my $select = IO::Select->new($socket);

    while (@got < $n) {
        die "no answer for too long\n" if time > $deadline;
        next unless $select->can_read(1);
        sysread $socket, $in, 262144, length $in or last;

        # the body of a 429 is 122 bytes, that of a 200 has none
        while ($in =~ /\G.*?HTTP\/1\.1 (\d+)[^\n]*\n.*?\r\n\r\n/gcs) {
            push @got, $1;
        }

        $in = substr $in, pos($in) // 0;
    }

    return @got;
}

sub tally {
    my %n;
    $n{$_}++ for @_;
    return join ' ', map { "$_:$n{$_}" } sort keys %n;
}

# Each in a process of its own; what they return, as lines.

sub parallel {
    my ($n, $do) = @_;

    my @pipes = map {
        my $i = $_;
        my $pid = open my $pipe, '-|' // die "fork: $!";

        if (!$pid) {
            my @lines = eval { $do->($i) };
            print "died: $@" if $@;
            print map { "$_\n" } @lines;
            close STDOUT;
            POSIX::_exit(0);
        }
        $pipe;
    } 0 .. $n - 1;

    my @lines = map { my $pipe = $_; <$pipe> } @pipes;
    close $_ for @pipes;
    chomp @lines;
    return @lines;
}


subtest 'exactly as many' => sub {
    begin(2, 'intent_limit_zone $binary_remote_addr zone=submit:1m rate=100r/15m;',
          'intent_limit zone=submit;', 'crit');

    # each client over many connections, so that both workers have some

    my @lines = parallel(8, sub {
        my @got;

        for (1 .. 10) {
            my ($pid) = HTTP::Tiny->new->get($t->url('/pid'))->{content} =~ /(\d+)/;
            push @got, "worker $pid", pipeline([ ('/') x 40 ], depth => 4);
        }
        return @got;
    });

    my %worker = map { $_ => 1 } map { /worker (\d+)/ ? $1 : () } @lines;
    my @got = grep { /^\d+$/ } @lines;

    is(tally(@got), '200:100 429:3100', '8 clients with 400 each: 100 passed');
    is(scalar(grep { /died/ } @lines), 0, 'all were answered') or diag(grep { /died/ } @lines);
    is(metric('submit', 'passed'), 100, 'the metric: passed');
    is(metric('submit', 'rejected'), 3100, 'and rejected');

    my @old = $t->nginx_reload;
    wait_for(sub { !grep { $t->alive($_) } @old }, 10, 'the old workers to exit');
    is(tally(pipeline([ ('/') x 100 ])), '429:100', 'none after a reload');
    delete $t->{http_client};

    my @during = parallel(3, sub {
        my $i = shift;
        return pipeline([ ('/') x 3000 ], depth => 1, mortal => 1) if $i;

        for (1 .. 5) {
            my @old = $t->nginx_reload;
            wait_for(sub { !grep { $t->alive($_) } @old }, 10, 'the old workers to exit');
        }
        return;
    });
    unlike(tally(@during), qr/200/, 'nor through five of them (' . tally(@during) . ')');
    like(tally(@during), qr/429:/, 'while clients are answered');
};

subtest 'a million keys' => sub {
    begin(2, 'intent_limit_zone $arg_k zone=keys:64m rate=1r/1h;', 'intent_limit zone=keys;');

    my $started = time;
    my @lines = parallel(2, sub {
        my $i = shift;
        my $n = $keys / 2;
        return tally(pipeline([ map { '/?k=' . ($i * $n + $_) } 0 .. $n - 1 ], timeout => 240));
    });

    is("@lines", '200:' . $keys / 2 . ' 200:' . $keys / 2, "$keys keys passed once");
    diag(sprintf '%d keys in %.1f s', $keys, time - $started);

    is(tally(pipeline([ map { "/?k=$_" } 0 .. 999, $keys / 2 .. $keys / 2 + 999,
                        $keys - 1000 .. $keys - 1 ])),
       '429:3000', 'all are remembered: the first, the last, and those between');
    is(metric('keys', 'passed'), $keys, 'the metric');

    return if $keys < 1_000_000;            # the zone is not full

    # what has been asked for just now stays, the oldest goes

    my @more = map { "/?k=more$_" } 1 .. 100_000;
    is(tally(pipeline(\@more)), '200:100000', 'more keys than fit');
    is(tally(pipeline([ map { "/?k=$_" } 0 .. 999 ])), '429:1000', 'what was used last is kept');
    is(tally(pipeline([ map { "/?k=$_" } 1000 .. 1999 ])), '200:1000', 'the oldest are forgotten');
    is(tally(pipeline([ @more[0 .. 999] ])), '429:1000', 'and not the others');
    is($t->error_log =~ s/^.*limiting intents.*\n//mgr, '', 'no error');
};

subtest 'the oldest is forgotten first' => sub {
    begin(1, 'intent_limit_zone $arg_k zone=small:32k rate=1r/1h;', 'intent_limit zone=small;', 'crit');

    # how many does it keep? The last that passes again is the first that is kept.

    my @all = map { "/?k=$_" } 1 .. 2000;
    is(tally(pipeline(\@all)), '200:2000', 'a full zone takes all that come');

    my @kept = grep { (pipeline([ "/?k=$_" ], depth => 1))[0] == 429 } reverse 1500 .. 2000;
    my $room = @kept;
    cmp_ok($room, '>', 300, "it keeps $room keys");
    is("@kept", join(' ', reverse 2001 - $room .. 2000), 'the youngest ones');

    # one that is used every now and then stays, also when it is refused

    begin(1, 'intent_limit_zone $arg_k zone=small:32k rate=1r/1h;', 'intent_limit zone=small;', 'crit');
    my @used = pipeline([ map { ($_ % ($room - 1)) ? "/?k=$_" : '/?k=used' } 0 .. 5 * $room ]);
    my @again = @used[ grep { $_ && $_ % ($room - 1) == 0 } 0 .. $#used ];
    is(tally(@again), '429:' . @again, 'who knocks is not forgotten');

    my @forgotten = pipeline([ '/?k=once', (map { "/?k=m$_" } 1 .. $room), '/?k=once' ]);
    is($forgotten[-1], 200, 'who does not is');
    $t->clean_ok;
};

subtest 'kill -9' => sub {
    # many zones, so that workers are with them most of the time
    my @names = map { "z$_" } 10 .. 49;
    my $limit = 200;

    begin(3, join("\n", map { "intent_limit_zone \$arg_k zone=$_:64k rate=${limit}r/1h;" } @names),
          join("\n", map { "intent_limit zone=$_;" } reverse @names), 'crit');

    # clients with a hundred keys, of which each may pass $limit times

    my $stop = $t->dir . '/stop';
    my $reader = fork_clients($stop, 3, 100);

    my ($killed, $locked, $deadline) = (0, 0, time + 60);

    while (time < $deadline && ($killed < $kills || !$locked)) {
        my @workers = $t->workers;

        if (@workers) {
            kill 'KILL', $workers[rand @workers];
            $killed++;
        }

        sleep 0.02 + rand 0.05;
        $locked = () = $t->error_log =~ /shared memory zone "z\d+" was locked by/g;
    }

    $t->write_file($stop, '');
    my @lines = $reader->();
    diag("$killed kills, with $locked locks held");

    my %passed;
    my $unanswered = 0;

    for (@lines) {
        if (/^(\d+) (\d+)$/) { $passed{$1} += $2 }
        elsif (/^unanswered (\d+)/) { $unanswered += $1 }
        else { fail($_) }
    }

    cmp_ok($killed, '>=', $kills, "$killed workers were killed");
    cmp_ok($locked, '>', 0, 'some while they held locks');
    is(scalar(grep { $_ > $limit } values %passed), 0, 'no key passed more often than it may');

    # all that it may, but for those whose answer was lost

    wait_for(sub { $t->workers == 3 }, 10, 'all workers');
    my %rest;

    for my $key (1 .. 100) {
        my @got = pipeline([ ("/?k=$key") x ($limit + 1) ]);
        $rest{$key} = grep { $_ == 200 } @got;
        $passed{$key} += $rest{$key};
        is($got[-1], 429, "key $key is full") unless $got[-1] == 429;
    }

    my $lost = 0;
    $lost += $limit - $passed{$_} for 1 .. 100;
    is(scalar(grep { $_ > $limit } values %passed), 0, 'nor after it');
    cmp_ok($lost, '<=', $unanswered, "what is missing ($lost) was never answered ($unanswered)");

    # nothing is locked, nothing has leaked: as many keys fit as in a new zone

    my @fresh = map { "/?k=f$_" } 1 .. 3000;
    is(tally(pipeline(\@fresh)), '200:3000', 'new keys');
    my $kept = kept(\@fresh);

    $t->nginx_restart;
    is(tally(pipeline(\@fresh)), '200:3000', 'the same in a new zone');
    is($kept, kept(\@fresh), "which keeps as many: $kept");

    $t->nginx_quit;
    $t->clean_ok(allow => qr/was locked by/);
};

# How many of the last are still known; asking makes no new ones.

sub kept {
    my $uris = shift;
    my $n = 0;

    for my $uri (reverse @$uris) {
        my $r = $t->get($uri);
        last unless ($r->{headers}{ratelimit} // '') =~ /r=199/;
        $n++;
    }

    return $n;
}

# Clients that go on until there is a file, whatever happens to their connections;
# what they return: how often each key passed, and how many had no answer.

sub fork_clients {
    my ($stop, $n, $nkeys) = @_;

    my @pipes = map {
        my $i = $_;
        my $pid = open my $pipe, '-|' // die "fork: $!";

        if (!$pid) {
            srand $i;
            my (%passed, $unanswered);
            $unanswered = 0;

            my $died = !eval {
                while (! -e $stop) {
                    my @k = map { 1 + int rand $nkeys } 1 .. 20;
                    my @got = pipeline([ map { "/?k=$_" } @k ], depth => 20, mortal => 1,
                                       timeout => 20);
                    for (0 .. $#k) {
                        $passed{$k[$_]}++ if $got[$_] == 200;
                        $unanswered++ if $got[$_] == 0;
                    }
                }
                1;
            };

            print "client $i: $@" if $died;
            print map { "$_ $passed{$_}\n" } keys %passed;
            print "unanswered $unanswered\n";
            close STDOUT;
            POSIX::_exit(0);
        }

        $t->write_file($t->dir . "/client$i.pid", $pid);
        $pipe;
    } 1 .. $n;

    return sub {
        my @lines = map { my $pipe = $_; <$pipe> } @pipes;
        close $_ for @pipes;
        unlink map { $t->dir . "/client$_.pid" } 1 .. $n;
        chomp @lines;
        return @lines;
    };
}

subtest 'binary upgrade' => sub {
    begin(2, 'intent_limit_zone $arg_k zone=submit:1m rate=5r/1h;', 'intent_limit zone=submit;', 'warn');
    is(tally(pipeline([ ('/?k=a') x 6 ])), '200:5 429:1', 'before');

    my $old = $t->nginx_pid;
    kill 'USR2', $old;
    wait_for(sub { -e $t->dir . '/nginx.pid.oldbin' && ($t->nginx_pid // $old) != $old
                   && $t->workers == 2 }, 15, 'a new master');
    kill 'QUIT', $old;
    wait_for(sub { !$t->alive($old) }, 15, 'the old master to exit');

    # its memory is its own: the new one counts anew, and limits
    is(tally(pipeline([ ('/?k=a') x 6 ])), '200:5 429:1', 'after: a new zone');

    $t->nginx_quit;
    $t->clean_ok;
};

done_testing;
