package WebhookReceiver;

# A receiver of webhooks (webhook-receiver.cjs) for the gateway of a test, and
# what must hold of all that it was told:
#
#     my $receiver = WebhookReceiver->new($t);
#     $t->write_conf($receiver->conf);
#     $t->nginx_start;
#     my @ids = $receiver->submit(100);
#     $receiver->finished; $receiver->all_told;
#     $receiver->check('name', \@ids);
#
# It is ended and begun again with stop and start; mode(fail => 0.3) says how it
# behaves from then on.

use strict;
use warnings;

use HTTP::Tiny;
use IntentTest qw(wait_for free_port);
use MIME::Base64;
use Test::More ();
use Time::HiRes qw(sleep time);

sub new {
    my ($class, $t) = @_;

    my $r = bless {
        t      => $t,
        port   => free_port(),
        file   => "$t->{dir}/receiver.log",
        secret => 'whsec_' . encode_base64(join('', map { chr int rand 256 } 1 .. 32), ''),
        raw    => 'a secret of plain text, long enough',
    }, $class;

    $t->write_file("$t->{dir}/webhook.secret", "$r->{secret}\n", 0600);
    $t->write_file("$t->{dir}/raw.secret", $r->{raw}, 0600);
    $r->start;
    return $r;
}

# What to add to IntentTest's configuration. Paths are those of the first $t,
# so that another instance may have the same.

sub conf {
    my ($r, %more) = @_;

    my $dir = $r->{t}{dir};

    return (
        http   => "upstream receiver { server 127.0.0.1:$r->{port} max_fails=0; keepalive 16; }",
        api    => "intent_webhook /_webhook secret_file=$dir/webhook.secret"
                  . " secret_file=$dir/raw.secret max_in_flight=16 timeout=5s;",
        server => <<"END" . ($more{server} // ''),
        location = /_webhook {
            internal;
            proxy_pass http://receiver/hook;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }
        location /untold { intent_api; intent_webhook off; }
END
    );
}

sub start {
    my $r = shift;

    my $out = "$r->{t}{dir}/receiver.out";

    unlink $out;
    $r->{pid} = fork // die "fork: $!";

    if ($r->{pid} == 0) {
        open STDIN, '<', '/dev/null';
        open STDOUT, '>', $out or die "$out: $!";
        exec 'node', 't/lib/webhook-receiver.cjs', $r->{port}, $r->{file}, $r->{secret},
             encode_base64($r->{raw}, '');
        die "node: $!";
    }

    # what has a .pid there is ended with the test, however it ends

    $r->{t}->write_file("$r->{t}{dir}/receiver.pid", "$r->{pid}\n");
    wait_for(sub { $r->{t}->read_file($out) =~ /listening/ }, 20, 'the receiver');
}

sub stop {
    my $r = shift;

    my $pid = delete $r->{pid} or return;
    local $?;
    kill 'KILL', $pid;
    waitpid $pid, 0;
}

sub DESTROY { local ($?, $@, $!); $_[0]->stop }

sub mode {
    my ($r, %mode) = @_;

    my $response = HTTP::Tiny->new->post("http://127.0.0.1:$r->{port}/_mode",
                                         { content => IntentTest::encode(\%mode) });
    $response->{success} or die "the receiver: $response->{content}";
}

# A line that is being written has no end yet.

sub told {
    my $r = shift;
    return map { IntentTest::decode($_) } $r->{t}->read_file($r->{file}) =~ /^(\{.*\})$/mg;
}

sub forget { my $r = shift; truncate $r->{file}, 0 or die "$r->{file}: $!" }


# --- intents -----------------------------------------------------------------

sub submit {
    my ($r, $n, %option) = @_;

    my $body = delete $option{body} // { params => { amount => '7' } };
    my @answers = ($option{to} // $r->{t})->load(
        count => $n, connections => 16, timeout => 60, %option,
        body => sub {
            IntentTest::encode({ type => 'transfer', %$body, params => {
                recipient => IntentTest->fresh_address, %{ $body->{params} } } });
        });

    my @bad = grep { $_->{status} != 202 } @answers;
    die "POST was answered $bad[0]{status}\n" if @bad && !$option{any};
    return map { IntentTest::decode($_->{body})->{intentId} } grep { $_->{status} == 202 } @answers;
}

sub waiting { $_[0]{t}->psql('select count(*) from intent_webhooks') }

sub finished {
    my ($r, $timeout) = @_;
    wait_for(sub { $r->{t}->psql("select count(*) from intents where status in ('pending', 'executing')") == 0 },
             $timeout // 60, 'all intents to end');
}

sub all_told {
    my ($r, $timeout) = @_;
    wait_for(sub { $r->waiting == 0 }, $timeout // 30,
             sub { 'the outbox, ' . $r->waiting . ' left' });
}

# How often an answer for one of these did not come in time, by proxy_pass (504) or by
# the webhook's own timeout (0): then it is told again.

sub unheard {
    my ($r, $want) = @_;
    return scalar grep { $want->{$_} }
           $r->{t}->error_log =~ /version \d+ of intent (\S+) was not taken, status (?:0|504)$/mg;
}

# What must hold of whatever happened: every version of every intent was taken,
# in order; a version came only when the one before it had been taken; what came
# twice is the one that was told last, and either nobody heard in time that it was
# taken (as the log says), or it may be (twice => 1).

sub check {
    my ($r, $name, $ids, %option) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $way = $option{way} // qr/^pending( (?:pending|executing|success))* success$/;
    my %version = map { split /\|/ } $r->{t}->psql('select id, version from intents');
    my %want = map { $_ => 1 } @$ids;
    my (%taken, %status, @wrong);
    my $twice = 0;

    for my $told ($r->told) {
        my ($id, $n) = @{ $told->{event} }{qw(intentId version)};
        next if !$want{$id};
        my $taken = $taken{$id} // 0;

        push @wrong, "the signature of $id $n" if !$told->{good};
        push @wrong, "the id of $id $n" if $told->{headers}{'webhook-id'} ne "$id.$n";
        push @wrong, "$id: $n came when $taken had been taken" if $n > $taken + 1 || $n < $taken;

        next if ($told->{answered} || 0) !~ /^2/;
        $twice++ if $n <= $taken;
        $taken{$id} = $n if $n > $taken;
        push @{ $status{$id} }, $told->{event}{status};
    }

    for my $id (@$ids) {
        my ($taken, $version) = ($taken{$id} // 0, $version{$id} // -1);
        my $statuses = join ' ', @{ $status{$id} // [] };

        push @wrong, "$id: $taken were taken of $version" if $taken != $version;
        push @wrong, "$id: $statuses" if $statuses !~ $way;
    }

    push @wrong, "$twice came twice" if $twice > $r->unheard(\%want) && !$option{twice};

    Test::More::ok(!@wrong, "$name: " . @$ids . ' intents, every change in order, signed')
        or Test::More::diag(join "\n", @wrong > 10 ? (@wrong[0 .. 9], '...') : @wrong);
    Test::More::note("$twice came twice") if $twice;
}

# Which worker tells: Postgres knows its session, the log whose that is.

sub backend {
    my $r = shift;
    return $r->{t}->psql("select pid from pg_locks where locktype = 'advisory' and granted"
        . ' and ((classid::bigint << 32) | objid::bigint) = ' . lock_key());
}

sub teller {
    my ($r, @gateways) = @_;

    my $backend = $r->backend or return;
    my ($pid) = map { $_->error_log =~ /(\d+)#.*"executor" is up, .* backend $backend$/m ? $1 : () }
                @gateways ? @gateways : $r->{t};
    return $pid;
}

# FNV-1a of what src/store has, as a signed number

sub lock_key {
    use integer;
    no warnings 'portable';
    my $h = -0x340d631b7bdddcdb;
    $h = ($h ^ ord) * 0x100000001b3 for split //, 'intent webhook /_webhook';
    return $h;
}

1;
