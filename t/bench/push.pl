# ./build.sh bench push
#
# Watchers, against Debian's libnginx-mod-nchan in the same nginx: memory of idle
# WebSockets, one update to 8,000 of them, 1,000 updates to 8 each, and connections
# that come and go (INTENT_PUSH_SECONDS, 10 by default). Read by t/bench/run.

use strict;
use warnings;

use IO::Select;

use constant {
    IDLE     => $ENV{INTENT_PUSH_IDLE} || 10_000,
    WATCHERS => $ENV{INTENT_PUSH_WATCHERS} || 8_000,
    TOPICS   => 1000,
    CHURN    => $ENV{INTENT_PUSH_SECONDS} || 10,
    PARALLEL => $ENV{INTENT_PUSH_PARALLEL} || 64,
};

our ($here, $root, $recipient);
my ($crowd, @crowds);

END { local $?; kill 'KILL', $_->{pid} for @crowds }

sub push_figures {
    # nothing changes but what is published here: the node answers 503

    my $t = gateway(workers => 1, services => [qw(postgres redis)], rpc => 'return 503;', start => 0,
                    api => 'intent_push_connections 0; intent_push_ping 1h;');

    $t->{port} = IntentTest::free_port();
    my $conf = $t->conf_text;
    $conf =~ s/worker_connections \d+;/worker_connections 16384;/;
    $conf =~ s/access_log \S+;/access_log off;/g;
    $conf =~ s/^events/worker_rlimit_nofile 20000;\n\nevents/m;
    $t->write_conf(conf => $conf);
    $t->nginx_start;

    $crowd = $t->dir . '/crowd';
    system('cc', '-O2', '-o', $crowd, "$root/t/push/crowd.c") == 0 or die "crowd.c does not compile\n";

    my $nchan = nchan($t);
    my @ids = map { post($t)->{intentId} } 1 .. TOPICS;

    push_idle($t, $nchan, $ids[0]);
    push_fan($t, $nchan, 'one update to ' . WATCHERS, 'fan', $ids[0]);
    push_fan($t, $nchan, TOPICS . ' updates to ' . WATCHERS / TOPICS . ' each', 'many', @ids);
    push_churn($t, $ids[0]);

    $nchan->{stop}->() if $nchan;
    finish($t);
}

# The same binary with nchan, one worker; undef where it is not to be had.

sub nchan {
    my $t = shift;

    my $module = "$root/build/nchan/usr/lib/nginx/modules/ngx_nchan_module.so";
    -e $module or system(<<"END_SH") == 0 or do { note('libnginx-mod-nchan is not to be had: ours only'); return };
mkdir -p $root/build/nchan && cd $root/build/nchan \\
    && apt-get download libnginx-mod-nchan >/dev/null 2>&1 && dpkg -x libnginx-mod-nchan_*.deb .
END_SH

    my $port = IntentTest::free_port();
    my $dir = $t->dir . '/nchan';
    my $pid_file = $t->dir . '/nchan.pid';      # what is there is ended, whatever happens
    my $user = $> == 0 ? 'user nobody nogroup;' : '';
    mkdir $dir;
    $t->write_file("$dir/nginx.conf", <<"END_CONF");
load_module $module;
$user
worker_processes 1;
worker_rlimit_nofile 20000;
error_log $dir/error.log warn;
pid $pid_file;
events { worker_connections 16384; }
http {
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path $dir/body;
    proxy_temp_path $dir/proxy; fastcgi_temp_path $dir/fastcgi; uwsgi_temp_path $dir/uwsgi; scgi_temp_path $dir/scgi;
    nchan_shared_memory_size 256m;
    server {
        listen 127.0.0.1:$port backlog=4096;
        location = /pub { nchan_publisher; nchan_channel_id \$arg_id; nchan_message_buffer_length 1; }
        location = /sub { nchan_subscriber websocket; nchan_channel_id \$arg_id; nchan_subscriber_first_message newest; }
    }
}
END_CONF
    system($t->{binary}, '-p', $dir, '-c', 'nginx.conf') == 0 or die "nginx with nchan does not start\n";
    wait_for(sub { -s $pid_file }, 5, 'nchan');
    my $pid = slurp($pid_file) + 0;
    my $worker = wait_for(sub { (IntentTest->children($pid))[0] }, 5, 'its worker');
    return { port => $port, worker => $worker, stop => sub { kill 'TERM', $pid } };
}

sub crowd {
    my ($mode, @arguments) = @_;

    my $pid = open2(my $out, my $in, $crowd, $mode, @arguments);
    push @crowds, { pid => $pid, in => $in, out => $out, text => '' };
    return $crowds[-1];
}

sub said {
    my ($c, $match, $timeout) = @_;

    my $deadline = time + ($timeout // 60);
    while (time < $deadline) {
        if ($c->{text} =~ s/^(.*)\n//) { my $line = $1; return $line if $line =~ $match; next }
        IO::Select->new($c->{out})->can_read(0.1) or next;
        sysread $c->{out}, $c->{text}, 65536, length $c->{text} or last;
    }
    die "crowd said no $match, but: $c->{text}\n";
}

sub leave {
    my $c = shift;
    kill 'KILL', $c->{pid};
    waitpid $c->{pid}, 0;
    @crowds = grep { $_ != $c } @crowds;
}

sub dirty { slurp("/proc/$_[0]/smaps_rollup") =~ /^Private_Dirty:\s+(\d+)/m ? $1 : 0 }
sub cpu_ns { (split ' ', slurp("/proc/$_[0]/schedstat"))[0] }
sub fds { scalar(my @f = glob "/proc/$_[0]/fd/*") }

# Private dirty kilobytes of the worker for each connection

sub push_idle {
    my ($t, $nchan, $id) = @_;

    my $n = IDLE;
    heading("push, idle: $n WebSockets, one worker, kB of its private memory for each");

    my %before;
    my $kb = sub {
        my ($name, $worker, $port, $path) = @_;
        my $before = $before{$worker} //= dirty($worker);
        my $c = crowd('open', $port, $n, $path);
        said($c, qr/^open $n/);
        sleep 1;
        my $each = (dirty($worker) - $before) / $n;
        leave($c);
        say_line(sprintf '  %s: %.2f kB', $name, $each);
        return $each;
    };

    my ($worker) = $t->workers;
    my $path = '/api/intents/stream';
    my $idle = $kb->('ours', $worker, $t->port, $path);
    wait_for(sub { $t->metric('intent_push_connections') == 0 }, 30, 'all to have gone');
    my $each = $kb->('ours, each subscribed', $worker, $t->port, qq($path {"subscribe":"$id"}));
    wait_for(sub { $t->metric('intent_push_connections') == 0 }, 30, 'all to have gone');
    my $theirs = $nchan ? $kb->('nchan', $nchan->{worker}, $nchan->{port}, '/sub?id=idle') : 0;

    smaller('idle', 'kB for an idle WebSocket', [ $idle ], 'nchan', [ $theirs || 1 ], 5);
}

# One message for each id, to WATCHERS in all; who publishes is no part of it, but for what
# a worker does with it: a message from Redis, or a POST.

sub push_fan {
    my ($t, $nchan, $what, $name, @ids) = @_;

    my $text = $t->get("/api/intents/$ids[0]")->{content};
    my ($worker) = $t->workers;
    my $version = 100;

    heading("push, $what: deliveries a second, and microseconds of the worker for each",
            length($text) . ' bytes; ours told by Redis, nchan by POSTs');

    my $c = crowd('open', $t->port, WATCHERS, map { qq(/api/intents/stream {"subscribe":"$_"}) } @ids);
    said($c, qr/^open/);
    said($c, qr/ in /);
    my $d = $nchan && crowd('open', $nchan->{port}, WATCHERS, map { "/sub?id=$_" } @ids);
    said($d, qr/^open/) if $d;

    my $redis = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $t->{redis_port}) or die $!;
    my $http = $nchan && IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $nchan->{port});

    my $ours = sub {
        my @commands = map {
            (my $json = $text) =~ s/"intentId":"[^"]*"/"intentId":"$_"/;
            $json =~ s/"version":\d+/"version":$version/;
            my $channel = "intent:$_";
            sprintf "*3\r\n\$7\r\nPUBLISH\r\n\$%d\r\n%s\r\n\$%d\r\n%s\r\n", length $channel, $channel, length $json, $json;
        } @ids;
        $version++;
        return measured($c, $worker, $redis, @commands);
    };
    my $theirs = sub {
        my $n = length $text;
        return measured($d, $nchan->{worker}, $http,
            map { "POST /pub?id=$_ HTTP/1.1\r\nHost: test\r\nContent-Length: $n\r\n\r\n$text" } @ids);
    };

    $ours->(), $nchan && $theirs->();       # once, for what is done once
    my (@rate, @us, @nchan_rate, @nchan_us);

    rounds(sub {
        my ($rate, $us) = $ours->();
        push @rate, $rate; push @us, $us;
        ($rate, $us) = $nchan ? $theirs->() : (1, 1);
        push @nchan_rate, $rate; push @nchan_us, $us;
        return sprintf 'ours %s/s, %.2f us, nchan %s/s, %.2f us', number($rate[-1]), $us[-1],
                       number($nchan_rate[-1]), $nchan_us[-1];
    }, \@us, \@nchan_us);

    figure("push_$name", "deliveries/s, $what", \@rate, 'nchan', \@nchan_rate, 1);
    smaller("push_${name}_cpu", 'us of CPU each', \@us, 'nchan', \@nchan_us);
    leave($_) for grep { $_ } $c, $d;
}

sub measured {
    my ($c, $worker, $socket, @commands) = @_;

    my $before = cpu_ns($worker);
    print $socket @commands or die $!;
    my ($n, $seconds) = said($c, qr/ in /) =~ /^(\d+) in (\S+)/;
    my $after = cpu_ns($worker);
    $n == WATCHERS or die "$n messages came, not " . WATCHERS . "\n";
    IO::Select->new($socket)->can_read(0) and sysread $socket, my $answers, 1 << 20;
    return ($n / ($seconds || 0.001), ($after - $before) / $n / 1000);
}

# What comes and goes, and what is left of it

sub push_churn {
    my ($t, $id) = @_;

    my ($worker) = $t->workers;
    my $seconds = CHURN;
    heading("push, churn: connect, subscribe, be told, and end in one of five ways; $seconds s, "
            . PARALLEL . ' at a time, one worker');

    my $path = qq(/api/intents/stream {"subscribe":"$id"});
    my $once = sub {
        my ($for) = @_;
        my $c = crowd('churn', $t->port, $for, PARALLEL, $path);
        my $line = said($c, qr/failed/, $for + 30);
        leave($c);
        wait_for(sub { $t->metric('intent_push_connections') == 0 && $t->metric('intent_push_subscriptions') == 0 },
                 30, 'nothing to be left');
        return $line =~ /^(\d+) in (\S+), (\d+) failed/;
    };

    $once->(2);
    my @before = (dirty($worker), fds($worker));
    my ($n, $took, $failed) = $once->($seconds);
    my @after = (dirty($worker), fds($worker));

    note(sprintf '%d connections, %.0f/s, %d failed; private memory %d kB before, %d after, files %d, %d',
         $n, $n / $took, $failed, $before[0], $after[0], $before[1], $after[1]);
    figure('push_churn', 'connects and disconnects/s', [ $n / $took ], 'wanted', [ 5000 ], 1);
    $failed == 0 or die "$failed connections failed\n";
    $after[1] <= $before[1] + 2 or die "files are left open\n";
}

sub smaller {
    my ($name, $what, $ours, $baseline, $theirs, $target) = @_;

    $target //= median(@$theirs);
    figure($name, $what, $ours, $baseline, $theirs, 0, { target => sprintf('%.1f', $target), less => JSON::PP::true, unit => '',
           ok => median(@$ours) <= $target ? JSON::PP::true : JSON::PP::false });
}

1;
