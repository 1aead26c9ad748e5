# ./build.sh demo [--once]: a gateway to play with. Everything of it is private
# to this run; see IntentTest.pm, which the tests use to the same end.

use strict;
use warnings;

use lib 't/lib';
use IntentTest;
use JSON::PP;
use Page;
use POSIX qw(strftime);
use Time::HiRes qw(sleep time);

$| = 1;
$SIG{INT} = $SIG{TERM} = $SIG{HUP} = sub { print "\n"; say("stopping"); exit 130 };

my $once = grep { $_ eq '--once' } @ARGV;
my $json = JSON::PP->new->utf8->canonical;
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

# The gateway's own accounts: the signer is the first one of anvil, and the
# contracts are deployed by the last.

sub deploy {
    my ($name, @words) = @_;

    open my $file, '<', "t/lib/contracts/$name.json" or die "$name.json: $!";
    my $contract = JSON::PP->new->decode(do { local $/; <$file> });
    my $receipt = $t->receipt($t->rpc('eth_sendTransaction', {
        from => $t->address(9),
        data => $contract->{bytecode} . join '', map { IntentTest::word($_) } @words,
    }));

    $receipt->{status} eq '0x1' or die "$name was not deployed\n";
    return $receipt->{contractAddress};
}

# Submits one, and shows what becomes of it: the intent as it was at last.

sub carry_out {
    my ($type, %params) = @_;

    my $body = $json->encode({ type => $type, params => \%params });
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
        $intent = $json->decode(scalar `curl -sS $url`);
        my $line = status_line($intent);

        if ($line ne $seen) {
            printf "%6.2f s  %s  %s\n", time - $begin, $line, $intent->{message};
            $seen = $line;
        }

        last if $intent->{status} =~ /^(?:success|failed|expired|cancelled)$/;
        sleep 0.05;
    }

    print "\n";
    return $intent;
}

sub status_line {
    my $i = shift;
    my $line = $i->{status};

    $line .= "  hash $i->{txHash}" if $i->{txHash};
    $line .= "  block $i->{blockNumber}" if defined $i->{blockNumber};
    $line .= "  gas $i->{gasUsed}  cost $i->{gasCost} wei" if defined $i->{gasUsed};
    $line .= "  confirmations $i->{confirmations}" if $i->{confirmations};
    $line .= '  ' . $json->encode($i->{error}) if $i->{error};

    return $line;
}

say("starting Postgres, Redis and anvil (a block each second), and nginx with ",
    "two workers");

$t = IntentTest->new(
    workers => 2,
    start   => 0,
    anvil   => { 'block-time' => 1 },
    chain   => {
        confirmations => 2, poll_interval => '500ms',
        retry => 'attempts=5 backoff=1s max_backoff=60s',
        eip712_domain => '"Intent Demo" version=1',
    },
);

# Three contracts, and what the signer needs to swap: tokens, and the leave of
# the exchange to take them. All before nginx runs, for then the signer's
# nonces are its own.

my $supply = '1000000000000000000000000';
my ($gold, $silver) = (deploy('Token', $supply), deploy('Token', $supply));
my ($exchange, $staking) = (deploy('Exchange'), deploy('Staking'));

$t->token_transfer($gold, $t->address(9), $t->address(0), '1000000000000000000000');
$t->token_transfer($silver, $t->address(9), $exchange, '100000000000000000000000');
$t->receipt($t->rpc('eth_sendTransaction', {
    from => $t->address(0), to => $gold,
    data => '0x095ea7b3' . IntentTest::word($exchange) . 'f' x 64,
}));

my $types = <<"END";
        intent_type swap {
            label  "swap";
            param  tokenIn       address;
            param  tokenOut      address;
            param  amountIn      decimal=18  positive;
            param  minAmountOut  decimal=18  positive;
            param  recipient     address;

            call   to=$exchange
                   function="swap(address,address,uint256,uint256,address,uint256)"
                   args=\$tokenIn,\$tokenOut,\$amountIn,\$minAmountOut,\$recipient,\$deadline;
        }

        intent_type stake {
            label  "stake";
            param  amount     decimal=18  positive max=32;
            param  validator  address     default=0x0000000000000000000000000000000000000000;
            param  referral   string      default= length=0-32;

            call   to=$staking value=\$amount
                   function="stake(address,string)" args=\$validator,\$referral;
        }
END

my $recipient = $t->fresh_address;
my $amount = '1500000000000000000';

my %transfer = (recipient => $recipient, amount => $amount);
my %swap = (tokenIn => $gold, tokenOut => $silver, amountIn => '10.5', minAmountOut => '20',
            recipient => $recipient);
my %stake = (amount => '2.25', referral => 'demo');

# The same again for who has a name, which alone can be asked for a list

my $of_alice = <<'END';
        location /my/intents {
            intent_api;
            intent_signature      optional;
            intent_limit          zone=submit;
            auth_basic            "intents";
            auth_basic_user_file  $DIR/htpasswd;
            intent_user           $remote_user;
        }

END

$t->write_file($t->dir . '/htpasswd', "alice:{PLAIN}secret\n");
$t->write_conf(
    types  => $t->default_types . "\n$types",
    http   => 'intent_limit_zone $binary_remote_addr zone=submit:1m rate=100r/1m;',
    api    => 'intent_signature optional; intent_limit zone=submit;',
    server => $of_alice . Page::server($t, examples => {
        transfer => \%transfer, swap => \%swap, stake => \%stake }),
);
$t->nginx_start;

# The page, and what it needs beside the gateway itself

sub page_answers {
    my ($page, $client) = map { $t->get($_) } '/', '/socket.io/socket.io.js';

    return 1 if $page->{content} =~ m{<title>Intent gateway</title>.*</html>}s
                && $page->{headers}{'content-type'} =~ m{^text/html}
                && $client->{content} =~ /socket\.io/i
                && $client->{headers}{'content-type'} =~ m{^text/javascript};

    say("the page: $page->{status}, the client of Socket.IO: $client->{status}");
    return 0;
}

print "\n";
say("transfer: 1.5 ETH to $recipient, who has ", ether($t->balance($recipient)));
print "\n";

my $intent = carry_out('transfer', %transfer);
my $good = $intent->{status} eq 'success'
           && $t->balance($recipient) == IntentTest::wei($amount);

say('the recipient has ', ether($t->balance($recipient)), ' ETH');
print "\n";
say("swap: 10.5 of the token $gold for at least 20 of $silver");
print "\n";

my $swap = carry_out('swap', %swap);

$good &&= $swap->{status} eq 'success'
          && $t->token_balance($silver, $recipient) == IntentTest::wei('21000000000000000000');

say('the recipient has ', ether($t->token_balance($silver, $recipient)), ' of it');
print "\n";
say('stake: 2.25 ETH, the validator left to the contract');
print "\n";

my $stake = carry_out('stake', %stake);

$good &&= $stake->{status} eq 'success'
          && $t->balance($staking) == IntentTest::wei('2250000000000000000');

say('the contract has ', ether($t->balance($staking)), ' ETH');

$good = page_answers() && $good;

if (!$good) {
    say('that is not what was asked for; the error log:');
    print log_lines();
}

if ($once) {
    say($good ? 'done' : 'failed');
    exit($good ? 0 : 1);
}

my $dir = $t->dir;
my ($submit, $my) = map { $t->url($_) } '/api/intents', '/my/intents';
my $url = "$submit/$intent->{intentId}";
my ($metrics, $status) = map { $t->url($_) } '/metrics', '/intent_status';
my ($body, $of_token, $of_swap, $too_much, $of_stake) = map { $json->encode($_) }
    { type => 'transfer', params => \%transfer },
    { type => 'transfer', params => { recipient => $recipient, amount => '5', token => $gold } },
    { type => 'swap', params => \%swap },
    { type => 'swap', params => { %swap, minAmountOut => '1000' } },
    { type => 'stake', params => \%stake };

print <<"END";

The gateway runs until Ctrl-C. In a browser: open @{[ bold($t->url('/')) ]}

To play with:

  submit       curl -i -H 'Content-Type: application/json' -d '$body' $submit
  its status   curl $url
  a mistake    curl -i -H 'Content-Type: application/json' -d '{"type":"transfer","params":{"amount":"-1"}}' $submit
  a token      curl -i -H 'Content-Type: application/json' -d '$of_token' $submit
  a swap       curl -i -H 'Content-Type: application/json' -d '$of_swap' $submit
  one refused  curl -i -H 'Content-Type: application/json' -d '$too_much' $submit
  a stake      curl -i -H 'Content-Type: application/json' -d '$of_stake' $submit
  alice's      curl -i -u alice:secret -H 'Content-Type: application/json' -d '$body' $my
  a list       curl -i -u alice:secret $my
  the types    curl $submit/types
  metrics      curl $metrics
  status page  curl $status
  the record   psql -h $dir/postgres -p $t->{postgres_port} -U intents intents -c 'select * from intents'
  the cache    redis-cli -p $t->{redis_port} monitor
  the chain    http://127.0.0.1:$t->{anvil_port}
  nginx.conf   $dir/nginx.conf
  its log      tail -f $dir/error.log

END

sleep 3600 while 1;
