# What goes wrong with watchers, all at a time: those who do not read, connections that come
# and go while Redis is killed and nginx reloaded, thousands who have to come back. Nothing
# leaks, and each is told what it has missed. INTENT_STORM_CONNECTIONS and INTENT_TEST_SECONDS
# make it long.

use strict;
use warnings;

use lib 't/lib';
use IO::Select;
use IPC::Open2;
use IntentTest qw(wait_for);
use Test::More;
use Time::HiRes qw(sleep time);

my $crowd = $ENV{INTENT_STORM_CONNECTIONS} || 500;
my $seconds = $ENV{INTENT_TEST_SECONDS} || 6;
my $keeps = $ENV{SANITIZE} ? 1_048_576 : 0;     # kB, of what was freed
my @pids;

END { local $?; kill 'KILL', @pids if @pids }

my $t = IntentTest->new(
    workers => 2,
    start   => 0,
    anvil   => { 'no-mining' => undef },
    redis   => 'timeout=1s',
    main    => 'worker_rlimit_nofile 20000;',
    api     => 'intent_user $http_x_user; intent_push_connections 0;',
    server  => 'location /short { intent_api; intent_push_connections 0; intent_push_ping 1s 1s; intent_push_buffer_size 4k; }',
);
$t->{port} = IntentTest::free_port();
$t->write_conf(conf => $t->conf_text =~ s/worker_connections 4096;/worker_connections 16384;/r =~ s/access_log \S+;/access_log off;/r);
$t->nginx_start;

my $program = $t->dir . '/crowd';
system('cc', '-O2', '-o', $program, 't/push/crowd.c') == 0 or die "crowd.c does not compile\n";

sub submit {
    my $r = $t->post('/api/intents', { type => 'transfer',
        params => { recipient => $t->fresh_address, amount => '7' } }, { 'X-User' => 'alice' });
    return $r->{json}{intentId} // die "$r->{status} $r->{content}";
}

sub start {
    my $pid = open2(my $out, my $in, @_);
    push @pids, $pid;
    return { pid => $pid, out => $out, in => $in, text => '' };
}

sub said {
    my ($p, $match, $timeout) = @_;
    my $deadline = time + ($timeout // 30);
    while (time < $deadline) {
        return $1 if $p->{text} =~ s/^.*?($match[^\n]*)\n//s;
        IO::Select->new($p->{out})->can_read(0.05) or next;
        sysread $p->{out}, $p->{text}, 65536, length $p->{text} or last;
    }
    die "no $match, but: " . substr($p->{text}, -2000) . "\n";
}

sub ended { my $p = shift; kill 'KILL', $p->{pid}; waitpid $p->{pid}, 0 }

sub nobody { wait_for(sub { $t->metric('intent_push_connections') == 0 && $t->metric('intent_push_subscriptions') == 0 },
                      $_[0] // 30, sub { "nobody, there are " . $t->metric('intent_push_connections') }) }

sub files { scalar(my @f = map { glob "/proc/$_/fd/*" } $t->workers) }
sub dirty { my $n = 0; $t->read_file("/proc/$_/smaps_rollup") =~ /^Private_Dirty:\s+(\d+)/m and $n += $1 for $t->workers; $n }

my $id = submit();
my $json = $t->wait_intent($id, 'executing') && $t->get("/api/intents/$id")->{content};
my $version = 100;
my $short = qq(/short/stream {"subscribe":"$id"});

sub publish { (my $news = $json) =~ s/"version":\d+/'"version":' . $version++/e; $t->redis_cli('PUBLISH', "intent:$id", $news) }


subtest 'connections come and go' => sub {
    my $churn = sub {
        my ($for, $meanwhile) = @_;
        my $c = start($program, 'churn', $t->port, $for, 32, qq(/api/intents/stream {"subscribe":"$id"}));
        $meanwhile->() if $meanwhile;
        my $line = said($c, qr/\d+ in /, $for + 40);
        ended($c);
        nobody();
        return $line =~ /^(\d+) in (\S+), (\d+) failed/;
    };

    $churn->(2);
    my ($files, $dirty) = (files(), dirty());
    my ($n, $took, $failed) = $churn->($seconds);

    is($failed, 0, sprintf '%d connections, %.0f/s, and all were told', $n, $n / $took);
    cmp_ok(files(), '<=', $files + 4, 'no file is left open');
    cmp_ok(dirty() - $dirty, '<', $keeps + 2048, "no memory: $dirty kB before, " . dirty() . ' after');

    my @old = $t->workers;
    ($n, $took, $failed) = $churn->($seconds, sub {
        sleep $seconds / 4;
        $t->kill('redis');
        sleep $seconds / 4;
        $t->restart('redis');
        sleep $seconds / 4;
        $t->nginx_reload;
    });
    diag("$n connections, $failed failed, while Redis was killed and nginx reloaded");
    wait_for(sub { !grep { $t->alive($_) } @old }, 35, 'the old workers to exit');
    cmp_ok(files(), '<=', $files + 4, 'nothing is left open');
};

subtest 'those who do not read, nor answer' => sub {
    wait_for(sub { $t->get('/intent_status')->{status} == 200 && $t->redis_cli('PING') eq 'PONG' }, 10, 'Redis');
    my $dirty = dirty();
    my $c = start($program, 'open', $t->port, $crowd, $short);
    said($c, qr/open $crowd/, 60);
    kill 'STOP', $c->{pid};

    my $end = time + 20;
    do { publish() } until $t->metric('intent_push_connections') == 0 || time > $end;
    nobody(5);
    pass('each is closed');
    ended($c);
    like($t->error_log, qr/WebSocket did not answer a ping within 1000ms/, 'for it did not answer');
    cmp_ok(dirty() - $dirty, '<', $keeps + 4096 + 10 * $crowd, 'memory: what waited has gone');
};

subtest 'all have to come back' => sub {
    my @ids = ($id, map { submit() } 1 .. 3);
    my $c = start('node', 't/push/back.cjs', $t->url('/api/intents'), 'alice', $crowd, @ids);
    said($c, qr/open $crowd/, 90);
    my @old = $t->workers;
    my $begin = time;
    $t->nginx_reload;

    is(said($c, qr/closed $crowd/, 40), "closed $crowd 1012", 'each is told to, with 1012');
    wait_for(sub { $t->mine; !grep { $t->get_intent($_)->{status} ne 'success' } @ids }, 30, 'success');
    wait_for(sub { !grep { $t->alive($_) } @old }, 35, 'the old workers to exit');
    diag(sprintf 'the old workers have exited %.1f s after the reload', time - $begin);

    $begin = time;
    print { $c->{in} } "go\n";
    said($c, qr/back $crowd/, 60);
    diag(sprintf '%d were back and had caught up in %.1f s', $crowd, time - $begin);
    pass('each is told what was finished meanwhile');
    unlike($c->{text}, qr/wrong/, 'and nothing that is old');
    ended($c);
    nobody();
};

$t->nginx_quit;
unlike($t->error_log, qr/\[crit\]|did not end in time/, 'every worker ended in time');
$t->clean_ok;
done_testing;
