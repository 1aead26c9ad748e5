# ./build.sh demo [--once]: a gateway to play with. Everything of it is private
# to this run; see IntentTest.pm, which the tests use to the same end.

use strict;
use warnings;

use lib 't/lib';
use IntentTest;
use JSON::PP;
use POSIX qw(strftime);
use Time::HiRes qw(sleep time);

$| = 1;
$SIG{INT} = $SIG{TERM} = $SIG{HUP} = sub { print "\n"; say("stopping"); exit 130 };

my $once = grep { $_ eq '--once' } @ARGV;
my $colour = -t STDOUT;
my $t;

sub say { print '==> ', @_, "\n" }
sub bold { $colour ? "\e[1m@_\e[0m" : "@_" }

sub run {
    my ($command) = @_;

    print bold("\$ $command"), "\n";
    my $out = `$command`;
    die "curl failed\n" if $?;
    return $out;
}

sub ether {
    my $text = $_[0]->bstr;
    $text = '0' x (19 - length $text) . $text if length $text < 19;
    $text =~ s/(\d{18})$/.$1/;
    $text =~ s/\.?0+$//;
    return length $text ? $text : '0';
}

# What is worth reading of the error log

sub log_lines {
    my @lines = grep { !/closed keepalive connection/ } split /^/, $t->error_log;
    return @lines > 40 ? @lines[-40 .. -1] : @lines;
}

say("starting Postgres, Redis and anvil (a block each second), and nginx with ",
    "two workers");

my $amount = '1500000000000000000';
$t = IntentTest->new(
    workers => 2,
    anvil   => { 'block-time' => 1 },
    chain   => {
        confirmations => 2, poll_interval => '500ms',
        retry => 'attempts=5 backoff=1s max_backoff=60s',
    },
);

my $recipient = $t->fresh_address;
my $before = $t->balance($recipient);

print "\n";
say("the recipient $recipient has ", ether($before), ' ETH');
say('asking for 1.5 ETH to be sent there');
print "\n";

my $body = qq({"type":"transfer","params":{"recipient":"$recipient","amount":"$amount"}});
my $json = JSON::PP->new->utf8;
my $answer = run("curl -sS -i -X POST -H 'Content-Type: application/json' "
                 . "-d '$body' " . $t->url('/api/intents'));
$answer =~ s/\r//g;
print "$answer\n\n";

my ($text) = $answer =~ /\n\n(.*)$/s;
my $intent = eval { $json->decode($text) };
my $begin = time;

if ($answer !~ /^HTTP\S+ 202/ || !$intent) {
    say('the gateway did not take it; its error log:');
    print log_lines();
    exit 1;
}

my $url = $t->url("/api/intents/$intent->{intentId}");
my $seen = '';

print bold("\$ curl $url"), "   # again and again\n";

while (time - $begin < 60) {
    my $i = $json->decode(scalar `curl -sS $url`);
    my $line = $i->{status};

    $line .= "  hash $i->{txHash}" if $i->{txHash};
    $line .= "  block $i->{blockNumber}" if defined $i->{blockNumber};
    $line .= "  gas $i->{gasUsed}  cost $i->{gasCost} wei" if defined $i->{gasUsed};
    $line .= "  confirmations $i->{confirmations}" if $i->{confirmations};
    $line .= '  ' . $json->encode($i->{error}) if $i->{error};

    if ($line ne $seen) {
        printf "%6.2f s  %s  %s\n", time - $begin, $line, $i->{message};
        $seen = $line;
    }

    $intent = $i;
    last if $i->{status} =~ /^(?:success|failed|expired|cancelled)$/;
    sleep 0.05;
}

my $after = $t->balance($recipient);
my $good = $intent->{status} eq 'success' && $after - $before == IntentTest::wei($amount);

print "\n";
say("the recipient has ", ether($after), ' ETH, ', ether($after - $before), ' more');

if (!$good) {
    say('that is not what was asked for; the error log:');
    print log_lines();
}

if ($once) {
    say($good ? 'done' : 'failed');
    exit($good ? 0 : 1);
}

my $dir = $t->dir;
my $submit = $t->url('/api/intents');
my ($metrics, $status) = map { $t->url($_) } '/metrics', '/intent_status';
my $token = $t->deploy_token;
$t->token_transfer($token, $t->address(9), $t->address(0), 1000000);

print <<"END";

The gateway runs until Ctrl-C. To play with:

  submit       curl -i -H 'Content-Type: application/json' -d '$body' $submit
  its status   curl $url
  a mistake    curl -i -H 'Content-Type: application/json' -d '{"type":"transfer","params":{"amount":"-1"}}' $submit
  a token      curl -i -H 'Content-Type: application/json' -d '{"type":"transfer","params":{"recipient":"$recipient","amount":"5","token":"$token"}}' $submit
  metrics      curl $metrics
  status page  curl $status
  the record   psql -h $dir/postgres -p $t->{postgres_port} -U intents intents -c 'select * from intents'
  the cache    redis-cli -p $t->{redis_port} monitor
  the chain    http://127.0.0.1:$t->{anvil_port}
  nginx.conf   $dir/nginx.conf
  its log      tail -f $dir/error.log

END

sleep 3600 while 1;
