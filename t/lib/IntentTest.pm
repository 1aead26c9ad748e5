package IntentTest;

# A gateway of its own for one test: private Postgres, Redis and anvil
# (services.sh), and an nginx with the module, on free ports of 127.0.0.1, all
# in one folder that goes when the test does, however the test ends.
#
#     use lib 't/lib';
#     use IntentTest;
#     use Test::More;
#
#     my $t = IntentTest->new(workers => 2, anvil => { 'block-time' => 1 });
#
#     my $intent = $t->post_intent('transfer',
#                                  { recipient => $t->address(5), amount => '7' });
#     $t->wait_intent($intent->{intentId}, 'success');
#     $t->clean_ok;
#     done_testing;
#
# new() takes
#
#     workers      => 2
#     accounts     => 1            signers: anvil's first accounts, a lane each
#     chain        => { ... }      values of intent_chain; undef leaves one out
#     types        => 'text'       instead of the intent_type of DESIGN.md
#     main, events, http, server, api
#                  => 'text'       added in that block (api: the location
#                                  of intent_api); $PORT, $DIR, $POSTGRES_PORT,
#                                  $REDIS_PORT, $ANVIL_PORT, $KEY_FILE are replaced
#     rpc          => 'text'       added in the internal location of the chain
#     postgres, redis
#                  => 'text'       added to intent_postgres, intent_redis
#     log_level    => 'info'
#     anvil        => { option => value } or 0: as --option value; undef for
#                                  an option without one. Without block-time
#                                  every transaction gets a block at once: for
#                                  one after the other, as anvil now and then
#                                  keeps one "queued" that came meanwhile
#     services     => [qw(postgres redis anvil)]
#     options      => { postgres => ['-c', 'fsync=off'] }
#     conf         => 'text'       the whole nginx.conf, instead of all above
#     start        => 1            0: neither conf nor nginx, do it later
#
# What fails here dies: a test has nothing to go on with.

use strict;
use warnings;

use Cwd qw(abs_path);
use Exporter qw(import);
use File::Basename qw(dirname);
use File::Path qw(remove_tree);
use File::Spec ();
use File::Temp qw(tempdir);
use HTTP::Tiny;
use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use JSON::PP;
use Math::BigInt;
use POSIX ();
use Scalar::Util qw(weaken);
use Socket qw(IPPROTO_TCP TCP_NODELAY);
use Test::More ();
use Time::HiRes qw(sleep time);

our @EXPORT = qw(wait_for);
our @EXPORT_OK = qw(wait_for free_port wei word);

my $lib = abs_path(dirname(__FILE__));
my $services = "$lib/services.sh";
my $json = JSON::PP->new->utf8->canonical;
my %live;

# The keys of the mnemonic that every development chain starts with
# ("test test ... junk"): known to all, worth nothing.

our @KEYS = map { "0x$_" } qw(
    ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80
    59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d
    5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a
    7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6
    47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a
    8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba
    92db14e403b83dfe3df233f83dfa3a0d7096f21ca9b0d6d6b8d88b2b4ec1564e
    4bbbf85ce3377467afe5d46f804f221813b2bb87f24d81f60f1fcdbf7cbf4356
    dbda1821b80551c9d65939329250298aa3472ba22feea921c0cf5d620ea67b97
    2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6
);

our @ADDRESSES = map { "0x$_" } qw(
    f39Fd6e51aad88F6F4ce6aB8827279cffFb92266
    70997970C51812dc3A010C7d01b50e0d17dc79C8
    3C44CdDdB6a900fa2b585dd299e03d12FA4293BC
    90F79bf6EB2c4f870365E785982E1f101E93b906
    15d34AAf54267DB7D7c367839AAf71A00a2C6A65
    9965507D1a55bcC2695C58ba16FB37d819B0A4dc
    976EA74026E726554dB657fA54763abd0C3a0aa9
    14dC79964da2C08b23698B3D3cc7Ca32193d9955
    23618e81E3f5cdF7f54C3d65f7FBc0aBf5B21E8f
    a0Ee7A142d267C1f36714E4a8F75612F20a79720
);


# --- life --------------------------------------------------------------------

sub new {
    my ($class, %option) = @_;

    my $dir = tempdir('intent-XXXXXXXX', TMPDIR => 1, CLEANUP => 0);
    chmod 0755, $dir;

    my $t = bless {
        workers   => 2,
        accounts  => 1,
        chain     => {},
        log_level => 'info',
        anvil     => { 'block-time' => 1 },
        services  => [qw(postgres redis anvil)],
        options   => {},
        start     => 1,
        binary    => absolute($ENV{TEST_NGINX_BINARY} || 'nginx'),
        module    => $ENV{TEST_NGINX_INTENT_MODULE} // '',
        %option,
        dir       => $dir,
        owner     => $$,
    }, $class;

    $live{$t} = $t;
    $t->{reference} = "$t";
    weaken($live{$t});

    $t->service('guard', $$);

    for my $name (@{ $t->{services} }) {
        next if $name eq 'anvil' && !$t->{anvil};

        $t->start($name, @{ $t->{options}{$name}
            || ($name eq 'anvil' ? [ $t->anvil_options ] : []) });
    }

    for my $i (0 .. $t->{accounts} - 1) {
        $t->write_file($t->key_file($i), "$KEYS[$i]\n", 0600);
    }

    if ($t->{start}) {
        $t->write_conf;
        $t->nginx_start;
    }

    return $t;
}

# nginx starts its next binary without looking in PATH.

sub absolute {
    my $program = shift;

    return $program if $program =~ m{/};
    my ($path) = grep { -x } map { "$_/$program" }
                 split(/:/, $ENV{PATH} // ''), '/usr/sbin', '/usr/local/sbin';
    return $path // $program;
}

sub anvil_options {
    my $t = shift;

    return map { ("--$_", defined $t->{anvil}{$_} ? $t->{anvil}{$_} : ()) }
           sort keys %{ $t->{anvil} };
}

# Ends everything, nginx too, and removes the folder. Also done when the object
# goes, and at the end of the program. INTENT_KEEP=1 keeps the folder.

sub end {
    my $t = shift;

    return if $t->{ended} || $t->{owner} != $$;
    $t->{ended} = 1;

    local ($?, $@, $!);

    $t->nginx_kill if -e "$t->{dir}/nginx.pid";
    eval { $t->service('end') };

    if ($ENV{INTENT_KEEP}) {
        Test::More::diag("kept: $t->{dir}");
        return;
    }

    remove_tree($t->{dir}, { safe => 0 });
}

sub DESTROY { my $t = shift; delete $live{ $t->{reference} }; $t->end }

END { $_->end for grep { $_ } values %live }

for my $signal (qw(INT TERM HUP)) {
    $SIG{$signal} ||= sub { exit 130 };
}
$SIG{PIPE} = 'IGNORE';


sub dir { $_[0]{dir} }
sub port { $_[0]{port} }
sub url { "http://127.0.0.1:$_[0]{port}" . ($_[1] // '') }
sub key { $KEYS[ $_[1] // 0 ] }
sub address { $ADDRESSES[ $_[1] // 0 ] }
sub key_file { "$_[0]{dir}/relayer" . ($_[1] // 0) . '.key' }

# An address that nobody has used: its balance is what this test sent there.

sub fresh_address { sprintf '0x%s', join '', map { sprintf '%02x', int rand 256 } 1 .. 20 }

sub write_file {
    my ($t, $path, $text, $mode) = @_;

    open my $file, '>', $path or die "$path: $!";
    chmod $mode, $path if defined $mode;
    print $file $text;
    close $file or die "$path: $!";
    return $path;
}

sub read_file {
    my ($t, $path) = @_;

    open my $file, '<', $path or return '';
    local $/;
    return scalar <$file> // '';
}


# --- services ----------------------------------------------------------------

sub service {
    my ($t, @command) = @_;

    local $ENV{INTENT_RUN} = $t->{dir};
    local ($?, $!);

    open my $pipe, '-|', $services, @command or die "$services: $!";
    my $out = do { local $/; <$pipe> } // '';
    close $pipe or die "services.sh @command failed\n";

    chomp $out;
    return $out;
}

sub start   { my ($t, $name, @options) = @_; $t->service('start', $name, @options);
              $t->{"${name}_port"} = $t->service('port', $name) }
sub stop    { $_[0]->service('stop', $_[1]) }
sub kill    { $_[0]->service('kill', $_[1]) }
sub restart { $_[0]->service('restart', $_[1]) }
sub pause   { $_[0]->service('pause', $_[1]) }
sub resume  { $_[0]->service('resume', $_[1]) }

# Rows as lines, columns separated by "|"; one value is just that value.

sub psql {
    my ($t, $sql) = @_;

    my $pid = open my $pipe, '-|',
        'psql', '-h', "$t->{dir}/postgres", '-p', $t->{postgres_port},
        '-U', 'intents', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', 'intents',
        '-c', $sql
        or die "psql: $!";
    my $out = do { local $/; <$pipe> } // '';
    close $pipe or die "psql failed: $sql\n";

    chomp $out;
    return wantarray ? split(/\n/, $out) : $out;
}

# Somebody has this advisory lock, until the sub is called

sub advisory_lock {
    my ($t, $key) = @_;

    open my $pipe, '|-', "psql -h $t->{dir}/postgres -p $t->{postgres_port} -U intents -XAtq"
                         . ' -d intents >/dev/null' or die "psql: $!";
    $pipe->autoflush(1);
    print $pipe "select pg_advisory_lock($key);\n";
    wait_for(sub { $t->psql("select count(*) from pg_locks where objid = $key and granted") }, 20, 'the lock');
    return sub { print $pipe "\\q\n"; close $pipe };
}

sub redis_cli {
    my ($t, @command) = @_;

    open my $pipe, '-|', 'redis-cli', '-p', $t->{redis_port}, @command
        or die "redis-cli: $!";
    my $out = do { local $/; <$pipe> } // '';
    close $pipe;
    chomp $out;
    return $out;
}


# --- nginx.conf --------------------------------------------------------------

sub default_types {
    return <<'END';
        intent_type transfer {
            label  "transfer";
            param  recipient  address;
            param  amount     uint256  positive;
            param  token      address  optional;
            call   to=$token     function="transfer(address,uint256)" args=$recipient,$amount when=$token;
            call   to=$recipient value=$amount;
        }
END
}

sub chain_text {
    my $t = shift;

    my %value = (
        chain_id      => 31337,
        rpc           => '/_rpc/dev',
        signer        => [ map { 'key_file=' . $t->key_file($_) }
                               0 .. $t->{accounts} - 1 ],
        confirmations => 1,
        poll_interval => '100ms',
        max_in_flight => 256,
        max_fee       => '500gwei',
        retry         => 'attempts=5 backoff=200ms max_backoff=5s',
        %{ $t->{chain} },
    );

    my $text = "        intent_chain dev {\n";

    for my $name (sort keys %value) {
        my $value = $value{$name};
        next unless defined $value;
        $text .= "            $name $_;\n"
            for ref $value ? @$value : ($value);
    }

    return "$text        }\n";
}

sub conf_text {
    my $t = shift;

    my $module = $t->{module} ne '' ? "load_module $t->{module};" : '';
    my $user = $> == 0 ? 'user nobody nogroup;' : '';
    my $types = $t->{types} // $t->default_types;
    my $chain = $t->{anvil} ? $t->chain_text : '';
    my $upstream = $t->{anvil}
        ? 'upstream dev_rpc { server 127.0.0.1:$ANVIL_PORT; keepalive 32; }' : '';
    my ($rpc, $main, $events, $http, $server, $api) =
        map { $t->{$_} // '' } qw(rpc main events http server api);
    my ($postgres, $redis) = map { $t->{$_} // '' } qw(postgres redis);

    my $rpc_location = $t->{anvil} ? <<"END" : '';
        location /_rpc/dev {
            internal;
            proxy_pass http://dev_rpc/;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            $rpc
        }
END

    return <<"END";
$module
$user
worker_processes $t->{workers};
error_log \$DIR/error.log $t->{log_level};
pid \$DIR/nginx.pid;
$main

events {
    worker_connections 4096;
    $events
}

http {
    default_type application/octet-stream;
    access_log \$DIR/access.log;
    client_body_temp_path \$DIR/temp/body;
    proxy_temp_path \$DIR/temp/proxy;
    fastcgi_temp_path \$DIR/temp/fastcgi;
    uwsgi_temp_path \$DIR/temp/uwsgi;
    scgi_temp_path \$DIR/temp/scgi;

    intent_zone      intents 32m;
    intent_postgres  "host=127.0.0.1 port=\$POSTGRES_PORT dbname=intents user=intents" $postgres;
    intent_redis     127.0.0.1:\$REDIS_PORT $redis;

    $upstream

$chain
$types
    $http

    server {
        listen 127.0.0.1:\$PORT;

        location /api/intents {
            intent_api;
            $api
        }

        location = /metrics       { intent_metrics; }
        location = /intent_status { intent_stub_status; }

$rpc_location
        $server
    }
}
END
}

# write_conf(http => ..., ...) changes what new() was given, for a reload.

sub write_conf {
    my ($t, %option) = @_;

    @$t{ keys %option } = values %option;
    $t->{port} ||= free_port();
    $t->write_file("$t->{dir}/nginx.conf", $t->expand($t->{conf} // $t->conf_text));
}

sub expand {
    my ($t, $text) = @_;

    my %value = (
        PORT => $t->{port}, DIR => $t->{dir},
        POSTGRES_PORT => $t->{postgres_port} // 1,
        REDIS_PORT => $t->{redis_port} // 1,
        ANVIL_PORT => $t->{anvil_port} // 1,
        KEY_FILE => $t->key_file,
    );
    my $names = join '|', sort { length $b <=> length $a } keys %value;

    $text =~ s/\$($names)\b/$value{$1}/g;
    return $text;
}


# --- nginx -------------------------------------------------------------------

sub nginx_command {
    my $t = shift;

    my @valgrind = $ENV{INTENT_VALGRIND}
        ? (qw(valgrind --quiet --leak-check=full --trace-children=yes
              --errors-for-leak-kinds=definite --num-callers=30),
           "--log-file=$t->{dir}/valgrind.%p",
           -e "$lib/valgrind.suppress" ? "--suppressions=$lib/valgrind.suppress" : (),
           split ' ', $ENV{INTENT_VALGRIND} eq '1' ? '' : $ENV{INTENT_VALGRIND})
        : ();

    return (@valgrind, $t->{binary}, '-p', "$t->{dir}/",
            @_ ? @_ : ('-c', 'nginx.conf', '-e', "$t->{dir}/error.log"));
}

# Runs nginx in the foreground: (exit status, all it said).

sub nginx_run {
    my ($t, @arguments) = @_;

    mkdir "$t->{dir}/temp";

    my $out = "$t->{dir}/nginx.out";
    my $pid = fork // die "fork: $!";

    if ($pid == 0) {
        # what only reads its configuration and exits frees nothing
        $ENV{ASAN_OPTIONS} = join ',', grep { defined && length }
            $ENV{ASAN_OPTIONS}, "log_path=$t->{dir}/sanitizer",
            @arguments ? 'detect_leaks=0' : ();
        $ENV{UBSAN_OPTIONS} = join ',', grep { defined && length }
            $ENV{UBSAN_OPTIONS}, "log_path=$t->{dir}/sanitizer,print_stacktrace=1";

        # the workers of root's nginx are not root, and write their reports here
        chmod 0777, $t->{dir} if $ENV{SANITIZE} || $ENV{INTENT_VALGRIND};

        open STDIN, '<', '/dev/null';
        open STDOUT, '>', $out;
        open STDERR, '>&', \*STDOUT;
        exec { ($t->nginx_command)[0] } $t->nginx_command(@arguments)
            or POSIX::_exit(127);
    }

    local $?;
    waitpid $pid, 0;
    my $status = $? >> 8 || $?;
    return ($status, $t->read_file($out));
}

# nginx -t of the configuration as it is, or with these changes, which do not
# stay: (true or false, what it said). Nothing of it is in the error log.

sub nginx_test {
    my ($t, %option) = @_;

    local @$t{ keys %option } = values %option;
    $t->{port} ||= free_port();

    my $text = $t->expand($t->{conf} // $t->conf_text);
    $text =~ s{\Q$t->{dir}\E/error\.log}{$t->{dir}/test.log}g;
    $t->write_file("$t->{dir}/test.conf", $text);

    my ($status, $out) = $t->nginx_run('-t', '-c', 'test.conf',
                                       '-e', "$t->{dir}/test.log");
    return ($status == 0, $out);
}

sub nginx_start {
    my $t = shift;

    for my $try (1 .. 20) {
        my ($status, $out) = $t->nginx_run;

        if ($status == 0) {
            wait_for(sub { $t->nginx_pid && $t->workers }, 20, 'the workers of nginx');
            $t->{nginx_group} = getpgrp $t->nginx_pid;
            return;
        }

        die "nginx does not start:\n$out" unless $out =~ /Address already in use/;

        # somebody else took the port; once it was ours it stays the same
        if ($t->{nginx_group}) {
            sleep 0.2;
        } else {
            delete $t->{port};
            unlink "$t->{dir}/error.log";
            $t->write_conf;
        }
    }

    die "nginx found no free port\n";
}

sub nginx_pid {
    my $t = shift;

    my ($pid) = $t->read_file("$t->{dir}/nginx.pid") =~ /^(\d+)$/m;
    return $pid && alive($pid) ? $pid : undef;
}

# The workers of the current master, those shutting down too.

sub workers {
    my $t = shift;

    my $pid = $t->nginx_pid or return;
    return grep { comm($_) =~ /nginx|memcheck/ } children($pid);
}

sub nginx_signal {
    my ($t, $signal) = @_;

    my $pid = $t->nginx_pid or die "nginx does not run\n";
    CORE::kill($signal, $pid);
}

# Returns when a worker of the new configuration answers the port, that is when
# there are workers that were not there before. The old ones may live on.

sub nginx_reload {
    my ($t, %option) = @_;

    my %old = map { $_ => 1 } $t->workers;
    $t->write_conf(%option) if %option;
    delete $t->{http_client};                # an old worker closes what is idle
    $t->nginx_signal('HUP');
    wait_for(sub { grep { !$old{$_} } $t->workers }, 30, 'workers after a reload');
    return keys %old;
}

sub nginx_quit {
    my ($t, $timeout) = @_;
    $t->nginx_end('QUIT', $timeout // 30);
}

sub nginx_stop {
    my ($t, $timeout) = @_;
    $t->nginx_end('TERM', $timeout // 30);
}

sub nginx_end {
    my ($t, $signal, $timeout) = @_;

    my $pid = $t->nginx_pid or return;
    my @all = ($pid, children($pid));
    CORE::kill($signal, $pid);
    wait_for(sub { !grep { alive($_) } @all }, $timeout, "nginx to end at SIG$signal");
}

# SIGKILL to every process of nginx at one moment: masters, workers, also those
# of a binary upgrade or a reload under way. They are one process group.

sub nginx_kill {
    my $t = shift;

    my $pid = $t->nginx_pid;
    my $group = $t->{nginx_group} || ($pid && getpgrp $pid) or return;

    CORE::kill('KILL', -$group);
    wait_for(sub { !grep { my @f = stat_fields($_); @f && $f[3] == $group && alive($_) }
                   processes() }, 10, 'nginx to be gone');
    unlink glob "$t->{dir}/nginx.pid*";
}

sub nginx_restart { my $t = shift; $t->nginx_quit; $t->nginx_start }


# --- logs --------------------------------------------------------------------

sub error_log { my $t = shift; $t->read_file("$t->{dir}/error.log") }
sub access_log { my $t = shift; $t->read_file("$t->{dir}/access.log") }

# What no run may have said: lines of the error log, reports of a sanitizer or
# of valgrind. allow => qr/.../ takes some out.

sub faults {
    my ($t, %option) = @_;

    my @faults = grep { /\[(?:alert|emerg)\]|open socket left|Sanitizer|runtime error:/ }
                 split /\n/, $t->error_log . $t->read_file("$t->{dir}/nginx.out");

    # a kill -9 of a worker by the test is told as an alert
    @faults = grep { !/exited on signal 9\b/ } @faults;
    @faults = grep { $_ !~ $option{allow} } @faults if $option{allow};

    for my $report (glob "$t->{dir}/sanitizer.* $t->{dir}/valgrind.*") {
        my $text = $t->read_file($report);
        my @lines = split /\n/, $text;
        push @faults, join "\n", "$report:", @lines > 60 ? @lines[0 .. 59] : @lines
            if $text =~ /\S/;
    }

    return @faults;
}

sub clean_ok {
    my ($t, %option) = @_;

    my @faults = $t->faults(%option);
    local $Test::Builder::Level = $Test::Builder::Level + 1;

    Test::More::ok(!@faults, $option{name} // 'no alert, no sanitizer report')
        or Test::More::diag(join "\n", @faults > 20 ? (@faults[0 .. 19], '...') : @faults);
}


# --- HTTP --------------------------------------------------------------------

# http('POST', '/api/intents', { header => value }, $body): a response of
# HTTP::Tiny, its body decoded in {json} where it is JSON. status 599: no answer.

sub http {
    my ($t, $method, $path, $headers, $body) = @_;

    $t->{http_client} ||= HTTP::Tiny->new(timeout => 20, keep_alive => 1);

    my $response = $t->{http_client}->request($method, $t->url($path), {
        headers => $headers || {},
        defined $body ? (content => $body) : (),
    });

    if (($response->{headers}{'content-type'} // '') =~ m{^application/(?:\w+\+)?json\b}) {
        $response->{json} = eval { decode($response->{content}) };
    }

    return $response;
}

sub get { my ($t, $path, $headers) = @_; $t->http('GET', $path, $headers) }

# post('/api/intents', $perl_data or $text)

sub post {
    my ($t, $path, $data, $headers) = @_;

    $t->http('POST', $path, { 'Content-Type' => 'application/json', %{ $headers || {} } },
             ref $data ? encode($data) : $data);
}

sub submit {
    my ($t, $type, $params, %more) = @_;
    $t->post('/api/intents', { type => $type, params => $params, %more });
}

# The intent; dies unless the answer is 202.

sub post_intent {
    my ($t, @arguments) = @_;

    my $response = $t->submit(@arguments);
    $response->{status} == 202
        or die "POST was answered $response->{status}: $response->{content}\n";
    return $response->{json};
}

sub get_intent {
    my ($t, $id) = @_;

    my $response = $t->get("/api/intents/$id");
    return $response->{status} == 200 ? $response->{json} : undef;
}

# The intent, once its status is the one named (or matches): dies at the deadline,
# and at once if the intent has ended otherwise.

sub wait_intent {
    my ($t, $id, $status, $timeout) = @_;

    $status = qr/^\Q$status\E$/ unless ref $status;
    my ($intent, $last);

    wait_for(sub {
        $intent = $t->get_intent($id) or return 0;
        $last = encode($intent);
        return 1 if $intent->{status} =~ $status;
        die "intent $id ended otherwise: $last\n"
            if $intent->{status} =~ /^(?:success|failed|expired|cancelled)$/;
        return 0;
    }, $timeout // 30, sub { "intent $id, now " . ($last // 'not there') });

    return $intent;
}

# metric('intents_submitted_total', type => 'transfer'): the sum over all lines
# of that name whose labels agree.

sub metric {
    my ($t, $name, %label) = @_;

    my ($sum, $found) = (0, 0);

    for (split /\n/, $t->get('/metrics')->{content}) {
        my ($labels, $value) = /^\Q$name\E(?:\{(.*)\})? (\S+)$/ or next;
        next if grep { ($labels // '') !~ /(?:^|,)$_="\Q$label{$_}\E"/ } keys %label;
        $sum += $value;
        $found = 1;
    }

    return $found ? $sum : undef;
}


# Many POSTs over many connections, through whatever happens to the server:
#
#     my @answers = $t->load(count => 10000, connections => 64,
#                            body => sub { my $i = shift; $json_text },
#                            retry => 0, each => sub { my ($n) = @_; ... });
#
# An answer is { index, status, body }; status 0 means that none came (the
# connection broke: the intent may or may not have been kept). With retry => 1
# such a POST, and a 503, is sent again until it is answered; give body an
# Idempotency-Key through headers => sub { ... } if that matters. each is called
# between answers with the number of them: the place to kill something.
# Dies after timeout (120 s).

sub load {
    my ($t, %option) = @_;

    my $count = $option{count};
    my $path = $option{path} // '/api/intents';
    my $deadline = time + ($option{timeout} // 120);
    my $select = IO::Select->new;
    my (@answers, %connection);
    my @todo;                            # to be sent again
    my ($next, $answered) = (0, 0);

    my $take = sub {
        return shift @todo if @todo;
        return $next < $count ? $next++ : undef;
    };

    my $send = sub {
        my ($c, $i) = @_;

        my $body = $option{body}->($i);
        my $headers = $option{headers} ? $option{headers}->($i) : {};

        my $text = "POST $path HTTP/1.1\r\nHost: localhost\r\n"
            . "Content-Type: application/json\r\n"
            . join('', map { "$_: $headers->{$_}\r\n" } sort keys %$headers)
            . 'Content-Length: ' . length($body) . "\r\n\r\n$body";

        @$c{qw(index in)} = ($i, '');
        syswrite($c->{socket}, $text);   # small: goes whole, or the socket is dead
    };

    my $drop = sub {
        my $c = shift;
        $select->remove($c->{socket});
        delete $connection{ fileno $c->{socket} };
        close $c->{socket};
    };

    my $answer = sub {
        my ($i, $status, $body) = @_;

        if ($option{retry} && ($status == 0 || $status == 503)) {
            push @todo, $i;
            sleep 0.002;
            return;
        }

        $answers[$i] = { index => $i, status => $status, body => $body };
        $answered++;
        $option{each}->($answered) if $option{each};
    };

    while ($answered < $count) {
        die "load: $answered of $count answered at the deadline\n" if time > $deadline;

        while (keys %connection < ($option{connections} // 64)) {
            my $i = $take->();
            last unless defined $i;

            my $socket = IO::Socket::INET->new(
                PeerAddr => '127.0.0.1', PeerPort => $t->{port}, Timeout => 5);

            if (!$socket) {              # nginx is down: nothing was sent
                push @todo, $i;
                sleep 0.01;
                last;
            }

            setsockopt $socket, IPPROTO_TCP, TCP_NODELAY, 1;
            my $c = $connection{ fileno $socket } = { socket => $socket };
            $select->add($socket);
            $send->($c, $i);
        }

        for my $socket ($select->can_read(0.1)) {
            my $c = $connection{ fileno $socket } or next;
            my $n = sysread $socket, $c->{in}, 65536, length $c->{in};

            if (!$n) {
                $drop->($c);
                $answer->($c->{index}, 0, '') if defined $c->{index};
                next;
            }

            my ($head, $body) = split /\r\n\r\n/, $c->{in}, 2;
            next unless defined $body;
            my ($length) = $head =~ /^content-length: *(\d+)/im;
            next if length $body < ($length // 0);

            my ($status) = $head =~ m{^HTTP/1\.1 (\d+)};
            my $i = delete $c->{index};
            my $close = $head =~ /^connection: *close/im || !defined $length;

            $answer->($i, $status, $body);
            my $more = $close ? undef : $take->();

            if (defined $more) { $send->($c, $more) } else { $drop->($c) }
        }
    }

    $drop->($_) for values %connection;
    return @answers;
}


# --- chain -------------------------------------------------------------------

# The result of a JSON-RPC call to anvil; dies with the node's words.

sub rpc {
    my ($t, $method, @params) = @_;

    my $answer = $t->rpc_raw($method, @params);
    die "$method: " . encode($answer->{error}) . "\n" if $answer->{error};
    return $answer->{result};
}

sub rpc_raw {
    my ($t, $method, @params) = @_;

    $t->{rpc_client} ||= HTTP::Tiny->new(timeout => 30);
    my $response = $t->{rpc_client}->post("http://127.0.0.1:$t->{anvil_port}/", {
        headers => { 'Content-Type' => 'application/json' },
        content => encode({ jsonrpc => '2.0', id => 1, method => $method,
                            params => \@params }),
    });

    $response->{success} or die "$method: $response->{status} $response->{content}\n";
    return decode($response->{content});
}

# wei as Math::BigInt: compare with ==, print as a decimal string

sub wei { Math::BigInt->new($_[-1]) }

sub balance { my ($t, $address) = @_; wei($t->rpc('eth_getBalance', $address, 'latest')) }
sub block_number { my $t = shift; hex $t->rpc('eth_blockNumber') }
sub nonce { my ($t, $address) = @_; hex $t->rpc('eth_getTransactionCount', $address, 'latest') }
sub mine { my ($t, $blocks) = @_; $t->rpc('anvil_mine', sprintf '0x%x', $blocks // 1) }

# Every transaction of one sender that has been mined: nonce => [ hashes ].

sub mined_by {
    my ($t, $sender, $from) = @_;

    my %mined;

    for my $number ($from // 0 .. $t->block_number) {
        my $block = $t->rpc('eth_getBlockByNumber', sprintf('0x%x', $number), JSON::PP::true);
        for my $transaction (@{ $block->{transactions} }) {
            next if lc $transaction->{from} ne lc $sender;
            push @{ $mined{ hex $transaction->{nonce} } }, $transaction;
        }
    }

    return \%mined;
}

# A 32-byte ABI word of an address or a number

sub word {
    my $value = $_[-1];

    return ('0' x 24) . lc substr($value, 2) if $value =~ /^0x[0-9a-fA-F]{40}$/;
    my $hex = substr(Math::BigInt->new($value)->as_hex, 2);
    return ('0' x (64 - length $hex)) . $hex;
}

# The address of a Token (contracts/Token.sol), its supply minted to the deployer,
# which is the last account unless from says otherwise: a signer's nonces are
# the gateway's own.

sub deploy_token {
    my ($t, %option) = @_;

    my $token = decode($t->read_file("$lib/contracts/Token.json"));
    my $hash = $t->rpc('eth_sendTransaction', {
        from => $option{from} // $t->address(9),
        data => $token->{bytecode} . word($option{supply} // '1000000000000000000000000'),
    });

    my $receipt = $t->receipt($hash);
    $receipt->{status} eq '0x1' or die "the token was not deployed\n";
    return $receipt->{contractAddress};
}

sub receipt {
    my ($t, $hash, $timeout) = @_;

    my $receipt;
    wait_for(sub { $receipt = $t->rpc('eth_getTransactionReceipt', $hash) },
             $timeout // 30, "the receipt of $hash");
    return $receipt;
}

sub token_balance {
    my ($t, $token, $address) = @_;

    return wei($t->rpc('eth_call',
        { to => $token, data => '0x70a08231' . word($address) }, 'latest'));
}

# A token transfer from one of anvil's own accounts

sub token_transfer {
    my ($t, $token, $from, $to, $amount) = @_;

    return $t->receipt($t->rpc('eth_sendTransaction',
        { from => $from, to => $token,
          data => '0xa9059cbb' . word($to) . word($amount) }));
}


# --- the rest ----------------------------------------------------------------

sub encode { $json->encode($_[-1]) }
sub decode { $json->decode($_[-1]) }

# wait_for(sub { true at last }, seconds, 'what is waited for'): its value.

sub wait_for {
    my ($done, $timeout, $what) = @_;

    my $deadline = time + ($timeout // 30);
    my $pause = 0.005;

    while (1) {
        my $value = $done->();
        return $value if $value;

        if (time > $deadline) {
            $what = $what->() if ref $what;
            die "waited $timeout s in vain for $what\n";
        }

        sleep $pause;
        $pause *= 1.3 if $pause < 0.1;
    }
}

# Free now, and until this program ends no other test's: a name among the abstract
# sockets says so. Nor that of a service that is away for a while (its .port).
# Whoever binds it must still be ready to try another.

my @reserved;

sub free_port {
    my %named = map { __PACKAGE__->read_file($_) =~ /^(\d+)$/m ? ($1 => 1) : () }
                glob File::Spec->tmpdir . '/intent-*/*.port';

    for (1 .. 100) {
        my $port = 10240 + int rand 22000;
        next if $named{$port};

        my $name = IO::Socket::UNIX->new(Local => "\0intent-port-$port", Listen => 1)
            or next;
        my $socket = IO::Socket::INET->new(
            LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 1)
            or next;

        push @reserved, $name;
        return $port;
    }

    die "no free port\n";
}

sub stat_fields {
    open my $file, '<', "/proc/$_[0]/stat" or return;
    my $line = <$file> // return;
    return ($line =~ /^\d+ \((.*)\) (.*)$/s) ? ($1, split ' ', $2) : ();
}

# A zombie is not alive.

sub alive { my @f = stat_fields($_[-1]); @f && $f[1] !~ /^[ZX]/ }
sub comm { my @f = stat_fields($_[-1]); $f[0] // '' }

sub processes { map { m{(\d+)$} ? $1 : () } glob '/proc/[0-9]*' }

sub children {
    my $parent = $_[-1];
    return grep { my @f = stat_fields($_); @f && $f[2] == $parent && $f[1] !~ /^[ZX]/ }
           processes();
}

1;
