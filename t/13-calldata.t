# What reaches the chain of an intent, of every type of param, is what viem
# would have sent: values as they are, in numbers of every size, and those that
# a signed intent has besides.

use strict;
use warnings;

use lib 't/lib';
use IntentTest qw(wait_for);
use Math::BigInt;
use Test::More;

my $count = $ENV{INTENT_TEST_CALLDATA} || 1000;

# the same each time, for a failure is not to come by chance; "random" looks for others

my $seed = $ENV{INTENT_TEST_SEED} || 20261122;
$seed = int rand 1 << 31 if $seed eq 'random';

srand $seed;
diag("INTENT_TEST_SEED=$seed INTENT_TEST_CALLDATA=$count");

sub pick { $_[rand @_] }
sub hex_bytes { '0x' . CORE::join '', map { sprintf '%02x', rand 256 } 1 .. $_[0] }

# Any number of bits, so that small ones and the largest are met.

sub number {
    my $bits = shift;
    return Math::BigInt->new(2)->bpow($bits)->bsub(1) if rand() < 0.1;
    my $n = Math::BigInt->from_hex(hex_bytes(32));
    return $n->bmod(Math::BigInt->new(2)->bpow(int rand $bits + 1));
}

sub signed_number {
    my $bits = shift;
    return Math::BigInt->new(2)->bpow($bits - 1)->bneg if rand() < 0.1;
    my $n = number($bits - 1);
    return rand() < 0.5 ? $n->bneg : $n;
}

sub decimal {
    my ($n, $places) = @_;
    my ($whole, $fraction) = $n->copy->bdiv(Math::BigInt->new(10)->bpow($places));
    return "$whole" if $fraction->is_zero;
    $fraction = '0' x ($places - length $fraction) . $fraction;
    return "$whole." . ($fraction =~ s/0+$//r);
}

sub text {
    CORE::join '', map { pick('a', "\x{e4}", "\x{1f600}", '"', '\\', "\n", "\x01") } 0 .. rand 40;
}

my $literals = '0x00000000219ab540356cBB839Cbe05303d7705Fa,-5,true,0xABcd,text';

my %function = (
    all => 'f(address,uint8,uint256,int128,uint256,bytes,bytes4,bytes32,bool,string,'
           . 'uint8,string,string,string,uint64,uint256,bytes,address,int16,bool,bytes,string)',
    signed => 'f(address,string,uint256,uint64,bytes,uint256,address,string,bytes,bool,bytes32,'
              . 'int256,string)',
);

# numbers of sizes that chance takes, each of a param that takes all that fits

my @sizes = map { [ pick('u', 'i'), 8 * (1 + int rand 32) ] } 1 .. 12;

$function{sizes} = 'g(' . CORE::join(',', map { ($_->[0] eq 'u' ? 'uint' : 'int') . $_->[1] } @sizes) . ')';

my $sizes = CORE::join "\n", map {
    my ($n, $kind) = ($_, $sizes[$_][0]);
    "            param  n$n  " . ($kind eq 'i' ? 'int256' : pick('uint256', 'decimal=3', 'decimal=77')) . ';';
} 0 .. $#sizes;

my %places;
$places{$1} = $2 while $sizes =~ /n(\d+)  decimal=(\d+)/g;

my $t = IntentTest->new(
    workers => 2,
    anvil   => { 'block-time' => '0.3', 'gas-limit' => 2000000000 },
    http    => 'client_body_buffer_size 1m;',
    server  => 'location /signed { intent_api; intent_signature required; }',
    types   => <<"END",
        intent_type all {
            param  a    address;
            param  u8   uint256    max=255;
            param  u    uint256;
            param  i    int256     min=-170141183460469231731687303715884105728
                                   max=170141183460469231731687303715884105727;
            param  d    decimal=18;
            param  b    bytes;
            param  b4   bytes      length=4;
            param  b32  bytes32;
            param  f    bool;
            param  s    string;
            param  e    enum=red|green|blue;
            param  eth  decimal=18 optional;

            call   to=\$a value=\$eth gas=200000 when=\$eth;
            call   to=\$a gas=2000000 function="$function{all}"
                   args=\$a,\$u8,\$u,\$i,\$d,\$b,\$b4,\$b32,\$f,\$s,\$e,\$e,\$id,\$user,\$deadline,\$nonce,\$signature,$literals;
        }

        intent_type sizes {
$sizes
            call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa gas=2000000
                   function="$function{sizes}"
                   args=@{[ CORE::join ',', map { "\$n$_" } 0 .. $#sizes ]};
        }

        intent_type signed {
            param  amount  decimal=6   positive;
            param  to      address     optional;
            param  note    string      default=none;
            param  data    bytes       length=1-64;
            param  flag    bool        default=true;
            param  hash    bytes32;
            param  delta   int256;
            param  side    enum=buy|sell;

            call   to=\$user gas=2000000 function="$function{signed}" when=\$to
                   args=\$user,\$user,\$nonce,\$deadline,\$signature,\$amount,\$to,\$note,\$data,\$flag,\$hash,\$delta,\$side;
            call   to=\$user gas=2000000
                   function="$function{signed}"
                   args=\$user,\$user,\$nonce,\$deadline,\$signature,\$amount,0x0000000000000000000000000000000000000000,\$note,\$data,\$flag,\$hash,\$delta,\$side;
        }

        intent_type to_user {
            call   to=\$user value=1;
        }

        intent_type bounds {
            call   to=0x1111111111111111111111111111111111111111
                   function="f(uint32,uint8)" args=\$deadline,\$nonce;
        }
END
);

# What is to be POSTed, and the call that should come of it, in which "$id" is
# not known before.

my (@bodies, @calls);

sub make_all {
    my ($u, $i, $d) = (number(256), signed_number(128), number(256));

    my %params = (
        a => hex_bytes(20), u8 => '' . int(rand 256), u => "$u", i => "$i", d => decimal($d, 18),
        b => hex_bytes(int rand 100), b4 => hex_bytes(4), b32 => hex_bytes(32),
        f => pick(JSON::PP::true, JSON::PP::false), s => text(),
        e => pick('red', 'green', 'blue'),
    );
    my $user = pick('', "user \x{e4}");
    my $expires = pick(undef, 4102444800, 99999999999);

    push @bodies, {
        type => 'all', params => \%params,
        length $user ? (userId => $user) : (),
        defined $expires ? (expiresAt => $expires) : (),
    };

    my %color = (red => 0, green => 1, blue => 2);

    push @calls, {
        to   => $params{a},
        function => $function{all},
        args => [ $params{a}, $params{u8}, "$u", "$i", "$d", @params{qw(b b4 b32 f s)},
                  $color{ $params{e} }, $params{e}, '$id', $user,
                  defined $expires ? "$expires" : '18446744073709551615', '0', '0x',
                  '0x00000000219ab540356cBB839Cbe05303d7705Fa', '-5', JSON::PP::true,
                  '0xabcd', 'text' ],
    };
}

sub make_sizes {
    my (%params, @args);

    for my $n (0 .. $#sizes) {
        my ($kind, $bits) = @{ $sizes[$n] };
        my $v = $kind eq 'i' ? signed_number($bits) : number($bits);

        $params{"n$n"} = $places{$n} ? decimal($v, $places{$n}) : "$v";
        push @args, "$v";
    }

    push @bodies, { type => 'sizes', params => \%params };
    push @calls, {
        to   => '0x00000000219ab540356cBB839Cbe05303d7705Fa',
        function => $function{sizes},
        args => \@args,
    };
}

sub node {
    my @arguments = @_;

    open my $node, '-|', 'node', 't/lib/calldata.mjs', @arguments or die "node: $!";
    chomp(my @lines = <$node>);
    close $node or BAIL_OUT("calldata.mjs @arguments failed");
    return @lines;
}

# the scaled amount, and what is not there as the configuration has it

sub signed_call {
    my ($intent, $params, $amount) = @_;

    my $user = $t->address($intent->{account});

    return {
        to   => $user,
        function => $function{signed},
        args => [ $user, $user, $intent->{nonce}, $intent->{deadline}, $intent->{signature}, "$amount",
                  $params->{to} // '0x' . '00' x 20, $params->{note} // 'none', $params->{data},
                  $params->{flag} // JSON::PP::true, @$params{qw(hash delta side)} ],
    };
}

sub make_signed {
    my $n = shift;
    my (@intents, @amounts);

    for (1 .. $n) {
        my $amount = number(256)->badd(1)->bmod(Math::BigInt->new(2)->bpow(255))->badd(1);
        my $account = int rand 10;

        push @amounts, $amount;
        push @intents, {
            type => 'signed', account => $account, key => $t->key($account),
            form => pick('v27', 'v0', 'compact'), nonce => '' . number(256),
            deadline => '' . (time + 86400 + int rand 1000000),
            message => {
                amount => decimal($amount, 6), data => hex_bytes(1 + int rand 64),
                hash => hex_bytes(32), delta => '' . signed_number(256), side => pick('buy', 'sell'),
                rand() < 0.5 ? (to => hex_bytes(20)) : (),
                rand() < 0.5 ? (note => text()) : (),
                rand() < 0.5 ? (flag => pick(JSON::PP::true, JSON::PP::false)) : (),
            },
        };
    }

    $t->write_file($t->dir . '/types.json', $t->get('/signed/types')->{content});
    $t->write_file($t->dir . '/intents.json', IntentTest->encode(\@intents));

    my @signatures = node('sign', $t->dir . '/types.json', $t->dir . '/intents.json');

    for my $n (0 .. $#intents) {
        my $intent = $intents[$n];
        $intent->{signature} = $signatures[$n];

        push @bodies, {
            type => 'signed', params => $intent->{message}, nonce => $intent->{nonce},
            userId => $t->address($intent->{account}),
            expiresAt => 0 + $intent->{deadline}, signature => $intent->{signature},
        };
        push @calls, signed_call($intent, $intent->{message}, $amounts[$n]);
    }
}

# In arrays, for each POST waits for a commit.

sub post {
    my ($path, $first, $last) = @_;

    for (my $n = $first; $n <= $last; $n += 50) {
        my $to = $n + 49 < $last ? $n + 49 : $last;
        my $answer = $t->post($path, [ @bodies[$n .. $to] ]);

        die "not taken: $answer->{status} $answer->{content}\n" unless $answer->{status} == 200;

        for my $i ($n .. $to) {
            my $item = $answer->{json}[ $i - $n ];
            die "not taken: $answer->{content}\n" unless $item->{status} == 202;

            my $id = $item->{intent}{intentId};
            $calls[$i]{id} = $id;
            $_ eq '$id' and $_ = $id for @{ $calls[$i]{args} };
        }
    }
}

make_all() for 1 .. $count / 2;
make_sizes() for 1 .. $count / 4;

my $unsigned = @calls;

make_signed($count - @calls);

post('/api/intents', 0, $unsigned - 1);
post('/signed', $unsigned, $count - 1);

$t->write_file($t->dir . '/calls.json', IntentTest->encode(\@calls));

my @expected = node('encode', $t->dir . '/calls.json');
is(scalar @expected, $count, 'viem encodes them all') or BAIL_OUT('no viem');

wait_for(sub {
    $t->psql("select count(*) from intents where status in ('pending', 'executing')") eq '0';
}, 120, 'the end of all intents');

my %hash = map { split /\|/ } $t->psql("select id, '0x' || encode(tx_hash, 'hex') from intents");
my %tx;

for my $number (0 .. hex $t->rpc('eth_blockNumber')) {
    my $block = $t->rpc('eth_getBlockByNumber', sprintf('0x%x', $number), JSON::PP::true);
    $tx{ $_->{hash} } = $_ for @{ $block->{transactions} };
}

my $wrong = 0;

for my $n (0 .. $count - 1) {
    my $tx = $tx{ $hash{ $calls[$n]{id} } } || {};

    next if ($tx->{input} // '') eq $expected[$n] && lc $tx->{to} eq lc $calls[$n]{to}
            && $tx->{value} eq '0x0' && $tx->{gas} eq '0x1e8480';

    $wrong++ or diag("first difference, of $calls[$n]{id}:\n$tx->{input}\n$expected[$n]");
}

is($wrong, 0, 'calldata');

# the other call, whose value is a scaled decimal

my $to = $t->fresh_address;
my $paid = $t->post_intent('all', {
    a => $to, u8 => 0, u => 0, i => 0, d => 0, b => '0x', b4 => '0x00000000',
    b32 => '0x' . '00' x 32, f => JSON::PP::false, s => '', e => 'red', eth => '0.000000000000000042',
});
$t->wait_intent($paid->{intentId}, 'success');
is($t->balance($to), '42', 'value of a decimal');

# What was signed without a param is no signature for its zero.

my ($without) = grep { $_->{signature} && !exists $_->{params}{to} } @bodies;
my $zero = '0x' . '00' x 20;
my $answer = $t->post('/signed', { %$without, params => { %{ $without->{params} }, to => $zero } });

is($answer->{status}, 400, 'a zero that is given and signed');
is($answer->{json}{errors}[0]{pointer}, '/params/to', 'its pointer');
like($answer->{json}{errors}[0]{detail}, qr/^Signed to must be left out of a signed intent/, 'and detail');

# $user where an address is needed, and is none

$to = $t->fresh_address;
$paid = $t->post_intent('to_user', {}, userId => $to);
$t->wait_intent($paid->{intentId}, 'success');
is($t->balance($to), '1', 'to= of a user');

for my $body ({ userId => 'alice' }, {}) {
    my $refused = $t->post('/api/intents', { type => 'to_user', params => {}, %$body });
    is($refused->{status}, 400, 'a user who is no address');
    is_deeply($refused->{json}{errors}, [ { pointer => '/userId',
              detail => 'userId must be an address, as the call needs it' } ], 'is told so');
}

# a deadline and a nonce that the function cannot take

my %bounds = (type => 'bounds', params => {});

is($t->post('/api/intents', { %bounds, expiresAt => 2 ** 32 - 1 })->{status}, 202, 'a deadline that fits');
is_deeply($t->post('/api/intents', { %bounds, expiresAt => 2 ** 32 })->{json}{errors},
          [ { pointer => '/expiresAt', detail => 'expiresAt must fit uint32 of the call' } ], 'one that does not');
is_deeply($t->post('/signed', { %bounds, expiresAt => time + 60, userId => $to, nonce => '256',
                                signature => '0x' . '11' x 65 })->{json}{errors},
          [ { pointer => '/nonce', detail => 'nonce must fit uint8 of the call' } ], 'a nonce that does not');

$t->nginx_quit;
$t->clean_ok;
done_testing;
