# What reaches the chain of an intent, of every type of param, is what viem
# would have sent.

use strict;
use warnings;

use lib 't/lib';
use IntentTest qw(wait_for);
use File::Temp ();
use Math::BigInt;
use Test::More;

my $count = $ENV{INTENT_TEST_CALLDATA} || 100;
my $seed = $ENV{INTENT_TEST_SEED} || int rand 1 << 31;

srand $seed;
diag("INTENT_TEST_SEED=$seed");

my $signature = 'f(address,uint8,uint256,int128,uint256,bytes,bytes4,bytes32,bool,string,'
    . 'uint8,string,string,string,uint64,address,int16,bool,bytes,string)';

my $t = IntentTest->new(
    workers => 1,
    anvil   => { 'block-time' => '0.3' },
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
            call   to=\$a gas=2000000 function="$signature"
                   args=\$a,\$u8,\$u,\$i,\$d,\$b,\$b4,\$b32,\$f,\$s,\$e,\$e,\$id,\$user,\$deadline,0x00000000219ab540356cBB839Cbe05303d7705Fa,-5,true,0xABcd,text;
        }
END
);

sub pick { $_[rand @_] }
sub hex_bytes { '0x' . CORE::join '', map { sprintf '%02x', rand 256 } 1 .. $_[0] }

# Any number of bits, so that small ones and the largest are met.

sub number {
    my $bits = shift;
    return Math::BigInt->new(2)->bpow($bits)->bsub(1) if rand() < 0.1;
    my $n = Math::BigInt->from_hex(hex_bytes(32));
    return $n->bmod(Math::BigInt->new(2)->bpow(int rand $bits + 1));
}

sub decimal {
    my $n = shift;
    my ($whole, $fraction) = $n->copy->bdiv(Math::BigInt->new(10)->bpow(18));
    return "$whole" if $fraction->is_zero;
    $fraction = sprintf '%018s', $fraction;
    return "$whole." . ($fraction =~ s/ /0/gr =~ s/0+$//r);
}

my @calls;

for my $n (1 .. $count) {
    my ($u, $d) = (number(256), number(256));
    my $i = number(127);
    $i->bneg if rand() < 0.5;
    $i = Math::BigInt->new(2)->bpow(127)->bneg if rand() < 0.1;

    my %params = (
        a => hex_bytes(20), u8 => '' . int(rand 256), u => "$u", i => "$i", d => decimal($d),
        b => hex_bytes(int rand 100), b4 => hex_bytes(4), b32 => hex_bytes(32),
        f => pick(JSON::PP::true, JSON::PP::false),
        s => CORE::join('', map { pick('a', "\x{e4}", "\x{1f600}", '"', '\\', "\n", "\x01") } 0 .. rand 40),
        e => pick('red', 'green', 'blue'),
    );
    my $user = pick('', "user \x{e4}");
    my $expires = pick(undef, 4102444800, 99999999999);

    my $intent = $t->post_intent('all', \%params,
                                 length $user ? (userId => $user) : (),
                                 defined $expires ? (expiresAt => $expires) : ());

    my %color = (red => 0, green => 1, blue => 2);

    push @calls, {
        id   => $intent->{intentId},
        to   => $params{a},
        args => [ $params{a}, $params{u8}, "$u", "$i", "$d", @params{qw(b b4 b32 f s)},
                  $color{ $params{e} }, $params{e}, $intent->{intentId}, $user,
                  defined $expires ? "$expires" : '18446744073709551615',
                  '0x00000000219ab540356cBB839Cbe05303d7705Fa', '-5', JSON::PP::true,
                  '0xabcd', 'text' ],
    };
}

# what viem makes of the same values

my $script = File::Temp->new(SUFFIX => '.mjs');
print $script <<'END';
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';

const [signature, file] = process.argv.slice(2);
const { encodeFunctionData, parseAbi } = createRequire(process.env.NODE_PATH + '/')('viem');
const abi = parseAbi(['function ' + signature]);

for (const { args } of JSON.parse(readFileSync(file)))
    console.log(encodeFunctionData({ abi, args: args.map((value, i) =>
        /^u?int/.test(abi[0].inputs[i].type) ? BigInt(value) : value) }));
END
close $script;

$t->write_file($t->dir . '/calls.json', IntentTest->encode(\@calls));

open my $viem, '-|', 'node', "$script", $signature, $t->dir . '/calls.json' or die "node: $!";
chomp(my @expected = <$viem>);
close $viem;
is(scalar @expected, $count, 'viem encodes them all') or BAIL_OUT('no viem');

my $wrong = 0;

for my $n (0 .. $count - 1) {
    my $intent = $t->wait_intent($calls[$n]{id}, qr/^(?:success|failed)$/, 60);
    my $tx = $t->rpc('eth_getTransactionByHash', $intent->{txHash});

    next if $tx->{input} eq $expected[$n] && $tx->{to} eq lc $calls[$n]{to}
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

$t->nginx_quit;
$t->clean_ok;
done_testing;
