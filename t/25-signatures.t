# Signed intents: made by viem from /types alone, they are taken; with one bit
# changed anywhere, they are not; the same one again is the same intent; contract
# wallets are asked; what was signed reaches the chain as viem encodes it.

use strict;
use warnings;

use lib 't/lib';
use IntentTest qw(wait_for word);
use IO::Socket::INET;
use Math::BigInt;
use POSIX 'strftime';
use Socket ();
use Test::More;

# the same each time, for a failure is not to come by chance; "random" looks for others

my $seed = $ENV{INTENT_TEST_SEED} || 20261122;
$seed = int rand 1 << 31 if $seed eq 'random';
srand $seed;
diag("INTENT_TEST_SEED=$seed");

my $function = 'execute(address,uint256,uint64,bytes,string,uint256,int256,bytes4,bytes32,bool,string)';

my $t = IntentTest->new(
    workers  => 2,
    accounts => 1,
    anvil    => { 'block-time' => 1 },
    chain    => { poll_interval => '50ms', max_in_flight => 64,
                  eip712_domain => '"Intent Gate" version=7 '
                      . 'verifying_contract=0x00000000219ab540356cBB839Cbe05303d7705Fa' },
    http     => 'intent_chain other { chain_id 31338; rpc /_rpc/dev; signer key_file=$KEY_FILE; '
              . 'confirmations 1; max_fee 500gwei; }'
              . 'set_real_ip_from 127.0.0.1; real_ip_header X-Real-IP;',
    api      => 'intent_signature optional; client_body_buffer_size 512k;',
    server   => 'location /must { intent_api; intent_signature required; client_body_buffer_size 512k; } '
              . 'location /mine { intent_api; intent_signature optional; intent_user $http_x_user; } '
              . 'location /none { intent_api; }',
    types    => <<"END",
        intent_type transfer {
            label  "transfer";
            param  recipient  address;
            param  amount     uint256  positive;
            param  token      address  optional;
            call   to=\$token     function="transfer(address,uint256)" args=\$recipient,\$amount when=\$token;
            call   to=\$recipient value=\$amount;
        }

        intent_type gift {
            label  "gift";
            param  recipient  address;
            param  amount     uint256  positive;
            param  token      address  optional;
            call   to=\$recipient value=\$amount;
        }

        intent_type order {
            label  "order";
            param  to     address;
            param  u      uint256  optional;
            param  i      int256   default=-1;
            param  d      decimal=6;
            param  b4     bytes    length=4;
            param  b32    bytes32;
            param  f      bool     default=false;
            param  s      string;
            param  e      enum=red|green|blue;
            call   to=\$to gas=400000 function="$function"
                   args=\$user,\$nonce,\$deadline,\$signature,\$s,\$d,\$i,\$b4,\$b32,\$f,\$e;
        }
END
);

my ($key, $signer) = ($IntentTest::KEYS[3], $t->address(3));
my $expires = 86400 + time;
my $date = strftime('%Y-%m-%dT%H:%M:%S', gmtime $expires);

sub pick { $_[rand @_] }
sub hex_bytes { '0x' . join '', map { sprintf '%02x', rand 256 } 1 .. $_[0] }
sub number { Math::BigInt->from_hex(hex_bytes(32))->bmod(Math::BigInt->new(2)->bpow($_[0]))->bstr }

# what the client makes of intents, with its key, from what /types told

sub sign {
    my ($path, @jobs) = @_;

    my $types = $t->get("$path/types");
    $types->{status} == 200 or die $types->{content};
    $t->write_file($t->dir . '/jobs.json',
        IntentTest->encode({ types => $types->{json}{types},
                             jobs => [ map { { key => $key, expiresAt => $expires, %$_ } } @jobs ] }));

    open my $node, '-|', 'node', 't/lib/sign.mjs', $t->dir . '/jobs.json' or die "node: $!";
    my @signed = map { IntentTest->decode($_) } <$node>;
    close $node or die "the client failed\n";
    @signed == @jobs or die "the client signed only " . @signed . "\n";
    return @signed;
}

sub body {
    my ($job, $signature, %more) = @_;

    my %body = ((map { $_ => $job->{$_} } grep { exists $job->{$_} } qw(type params chain nonce)),
                expiresAt => $job->{expiresAt} // $expires, signature => $signature,
                userId => $job->{user} // $signer, %more);

    return { map { $_ => $body{$_} } grep { defined $body{$_} } keys %body };
}

sub post {
    my ($body, $path, %headers) = @_;
    return $t->post($path // '/api/intents', $body, \%headers);
}

sub transfer { { type => 'transfer',
                 params => { recipient => lc $t->fresh_address, amount => '1' }, @_ } }

sub refused_ok {
    my ($response, $status, $detail, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is($response->{status}, $status, "$name: $status") or diag($response->{content});
    like($response->{json}{detail}, $detail, "$name: why");
}


# --- the types ---------------------------------------------------------------

my $types = $t->get('/api/intents/types');
my $etag = $types->{headers}{etag};
like($etag, qr/^"[0-9a-f]{32}"$/, 'a strong ETag');
is_deeply($types->{json}{types}[0]{eip712}{domain},
          { name => 'Intent Gate', version => '7', chainId => 31337,
            verifyingContract => '0x00000000219ab540356cBB839Cbe05303d7705Fa' }, 'the domain');
is($types->{json}{types}[0]{eip712}{domains}{other}{chainId}, 31338, 'and the other one');

my $same = $t->get('/api/intents/types', { 'If-None-Match' => $etag });
is($same->{status}, 304, 'If-None-Match: 304');
is($same->{content} // '', '', 'without a body');
is($same->{headers}{etag}, $etag, 'with its ETag');
is($t->get('/api/intents/types', { 'If-None-Match' => '"x"' })->{status}, 200, 'another: 200');
is($t->get('/api/intents/types', { 'If-None-Match' => qq("x", W/$etag) })->{status}, 304,
   'one of several');
isnt($t->get('/none/types')->{headers}{etag}, $etag, 'another location, another ETag');
is($t->get('/none/types')->{json}{types}[0]{eip712}, undef, 'and no EIP-712');
is($t->get('/api/intents/types')->{content}, $types->{content}, 'the same from each worker')
    for 1 .. 4;


# --- taken -------------------------------------------------------------------

my $job = transfer(nonce => '115792089237316195423570985008687907853269984665640564039457584007913129639935');
my ($signed) = sign('/api/intents', $job);
is($signed->{signer}, $signer, 'viem signs');
is($signed->{ethers}, $signed->{signature}, 'and ethers the same');

my $first = post(body($job, $signed->{signature}));
is($first->{status}, 202, 'taken') or diag($first->{content});
is($first->{json}{userId}, $signer, 'the signer is the user, as EIP-55 has it');
is($first->{json}{expiresAt}, "$date.000Z", 'the deadline');

my $id = $first->{json}{intentId};

for my $again (
    [ 'again',                  body($job, $signed->{signature}) ],
    [ 'as EIP-2098 has it',     body($job, $signed->{compact}) ],
    [ 'with v of 0 or 1',       body($job, substr($signed->{signature}, 0, -2)
                                     . sprintf '%02x', hex(substr $signed->{signature}, -2) - 27) ],
    [ 'with the deadline as a date', body($job, $signed->{signature},
                                          expiresAt => "$date.0+00:00") ],
    [ 'with the signer named',  body($job, $signed->{signature}, userId => lc $signer) ],
    [ 'with the chain named',   body($job, $signed->{signature}, chain => 'dev') ],
    [ 'with a key',             body($job, $signed->{signature}), 'Idempotency-Key' => 'new' ],
) {
    my ($name, $body, %headers) = @$again;
    my $r = post($body, undef, %headers);
    is($r->{status}, 200, "$name: 200") or diag($r->{content});
    is($r->{content}, $first->{content}, "$name: the first answer");
    is($r->{headers}{location}, "/api/intents/$id", "$name: Location");
    is($r->{headers}{'idempotency-replayed'}, undef, "$name: no replay of a key");
}

is($t->psql('select count(*) from intents'), 1, 'one intent');
is($t->metric('intents_replayed_total', by => 'signature'), 7, 'the others are counted apart');
is($t->metric('intents_submitted_total', status => 'pending'), 1, 'and were not submitted');

is(post(body($job, $signed->{signature}), '/must')->{status}, 200, 'there is one wherever it is sent');
refused_ok(post({ type => 'transfer', params => $job->{params} }, '/must'), 401,
           qr/^a signature is required here$/, 'no signature');

# many at once: one is new

($job) = transfer();
($signed) = sign('/api/intents', $job);
my @answers = $t->load(count => 200, connections => 100, body => sub {
    IntentTest->encode(body($job, $_[0] % 2 ? $signed->{signature} : $signed->{compact})) });
my %count;
$count{ $_->{status} }++ for @answers;
is_deeply(\%count, { 202 => 1, 200 => 199 }, '200 at once: one is new');
is(scalar(keys %{{ map { $_->{body} => 1 } @answers }}), 1, 'and all answers are equal');

# an array of 100 of them, two of which are one

my @jobs = map { transfer(nonce => $_) } 1 .. 99;
my @signed = sign('/api/intents', @jobs);
my $batch = post([ map { body($jobs[$_], $signed[$_]{signature}) } 0 .. 98, 0 ]);
my @status = map { $_->{status} } @{ $batch->{json} };
is("@status[1 .. 98]", join(' ', (202) x 98), 'an array of signed intents');
is(join(' ', sort @status[0, 99]), '200 202', 'of which two are one');
is($batch->{json}[0]{intent}{intentId}, $batch->{json}[99]{intent}{intentId}, 'the same');

# keys: the signer's

@jobs = map { transfer(nonce => 200 + $_) } 0, 1;
@signed = sign('/api/intents', @jobs);
my $text = IntentTest->encode(body($jobs[0], $signed[0]{signature}));
is(post($text, undef, 'Idempotency-Key' => 'k')->{status}, 202, 'a signed intent with a key');
my $replay = post($text, undef, 'Idempotency-Key' => 'k', 'X-Real-IP' => '192.0.2.9');
is($replay->{status}, 202, 'is replayed from anywhere');
is($replay->{headers}{'idempotency-replayed'}, 'true', 'and says so');
is(post(body($jobs[1], $signed[1]{signature}), undef, 'Idempotency-Key' => 'k')->{status}, 409,
   'another one with that key: 409');


# --- refused -----------------------------------------------------------------

$job = transfer(nonce => '300', params => { recipient => lc $t->fresh_address, amount => '2',
                                            token => lc $t->fresh_address });
($signed) = sign('/api/intents', $job);
my $signature = $signed->{signature};

refused_ok(post(body($job, $signed->{high})), 401, qr/upper half.*EIP-2/, 'a high s');
refused_ok(post(body($job, $signature . '00')), 401, qr/^signature must have 65 bytes/, 'a byte more');
refused_ok(post(body($job, substr($signature, 0, -2) . '1d')), 401, qr/^the last byte.* v, /, 'v of 29');
refused_ok(post(body($job, '0x' . 'ff' x 32 . '01' x 32 . '1b')), 401, qr/made by no key/, 'no r');
refused_ok(post(body($job, $signature, userId => $t->address(4))), 401,
           qr/^signature recovers to 0x[0-9a-fA-F]{40}, not to userId/, 'another user');
is(post(body($job, $signature, userId => $t->address(4)))->{headers}{'www-authenticate'},
   'EIP712 types="/api/intents/types"', 'WWW-Authenticate');

refused_ok(post(body($job, $signature, userId => undef)), 400, qr/^is required in a signed intent$/,
           'nobody named');
refused_ok(post(body($job, $signature, userId => undef), '/mine', 'X-User' => $t->address(4)), 401,
           qr/^signature recovers to 0x[0-9a-fA-F]{40}, not to userId/, 'another caller');
refused_ok(post(body($job, $signature, userId => undef), '/mine', 'X-User' => 'alice'), 403,
           qr/whose name is no address/, 'a caller that cannot sign');
refused_ok(post(body($job, $signature, expiresAt => 32 * 86400 + time)), 400,
           qr/^expiresAt of a signed intent must be at most 31 days ahead$/, 'a deadline too far ahead');
refused_ok(post(body($job, $signature, userId => $signer), '/mine', 'X-User' => $t->address(4)), 403,
           qr/^userId must be the caller's own$/, 'a caller who names another');
refused_ok(post(body($job, $signature), '/none'), 400, qr/^signatures are not enabled here$/,
           'where there are none');

# one bit, anywhere

sub flip_hex { my ($hex, $bit) = @_;
    my $at = 2 + int $bit / 4;
    substr($hex, $at, 1) = sprintf '%x', hex(substr $hex, $at, 1) ^ (1 << $bit % 4);
    return $hex }

sub flip_number { my ($n, $bit) = @_;
    my $x = Math::BigInt->new($n);
    return $x->copy->bxor(Math::BigInt->new(2)->bpow($bit))->bstr }

sub with { my ($param, $value) = @_;
    my $body = body($job, $signature, userId => $signer);
    return { %$body, params => { %{ $body->{params} }, $param => $value } } }

my @flipped = (
    (map { body($job, flip_hex($signature, $_), userId => $signer) } 0 .. 4 * (length($signature) - 2) - 1),
    (map { body($job, flip_hex($signed->{compact}, $_), userId => $signer) } 0 .. 511),
    (map { with(recipient => flip_hex($job->{params}{recipient}, $_)) } 0 .. 159),
    (map { with(token => flip_hex($job->{params}{token}, $_)) } 0 .. 159),
    (map { with(amount => flip_number('2', $_)) } 0 .. 255),
    (map { body($job, $signature, userId => $signer, nonce => flip_number('300', $_)) } 0 .. 255),
    (map { body($job, $signature, userId => $signer, expiresAt => 0 + flip_number($expires, $_)) } 0 .. 36),
    (map { body($job, $signature, userId => flip_hex(lc $signer, $_)) } 0 .. 159),
    body($job, $signature, userId => $signer, chain => 'other'),
    body($job, $signature, userId => $signer, type => 'gift'),
);

my $without = with(amount => '2');
delete $without->{params}{token};
push @flipped, $without;

@answers = $t->load(count => scalar @flipped, connections => 16, timeout => 180,
                    body => sub { IntentTest->encode($flipped[ $_[0] ]) });
%count = ();
$count{ $_->{status} }++ for @answers;
is($count{202} // 0, 0, 'of ' . @flipped . ' with one bit changed none is taken');
is($count{200} // 0, 0, 'nor known');
cmp_ok($count{401}, '>', 0.9 * @flipped, 'most for their signature');
diag(join ', ', map { "$_: $count{$_}" } sort keys %count);

# nobody is named, and the signer that is recovered is not believed to be the user

delete $_->{userId} for @flipped;
@answers = $t->load(count => scalar @flipped, connections => 16, timeout => 180,
                    body => sub { IntentTest->encode($flipped[ $_[0] ]) });
%count = ();
$count{ $_->{status} }++ for @answers;
is_deeply(\%count, { 400 => scalar @flipped }, 'without userId none is looked at');

my $right = post(body($job, $signature, userId => undef), '/mine', 'X-User' => lc $signer);
is($right->{status}, 202, 'as it was signed it is taken') or diag($right->{content});
is($right->{json}{userId}, $signer, 'and is the caller\'s');

# two users with one message have two intents, whoever comes first

$job = transfer(nonce => '350');
my @two = sign('/api/intents', $job, { %$job, key => $IntentTest::KEYS[4] });
isnt($two[0]{digest}, $two[1]{digest}, 'two users, two digests');

my $yes = $t->receipt($t->rpc('eth_sendTransaction', { from => $t->address(9),
    data => '0x602b80600b6000396000f37f1626ba7e' . '00' x 28 . '60005260206000f3' }))->{contractAddress};
my @three = (post(body($job, '0x', userId => $yes)),
             map { post(body($job, $two[$_]{signature}, userId => $t->address(3 + $_))) } 0, 1);
is(join(' ', map { $_->{status} } @three), '202 202 202', 'all are new, a wallet that accepts all, too')
    or diag(join "\n", map { $_->{content} } @three);
is(lc join(' ', map { $_->{json}{userId} } @three), lc join(' ', $yes, $t->address(3), $t->address(4)),
   'each is its user\'s');

# for another chain it is signed with that one's domain

my $elsewhere = transfer(nonce => '400', chain => 'other');
($signed) = sign('/api/intents', $elsewhere);
$right = post(body($elsewhere, $signed->{signature}, userId => $signer));
is($right->{status}, 202, 'signed for the other chain') or diag($right->{content});


# --- the schema --------------------------------------------------------------

# ajv, on the schema that is told, says of each body what the server says; 401
# is beyond a schema

my $hex = substr $signature, 2;
my %value = (
    nonce     => [ '', qw(0 1 -1 1.5 1e3 5.0 -0.0 9007199254740991 9007199254740992 null true), map { qq("$_") }
                   '0', '00', '1', '-1', ' 1', '', 'x', '1e3', '9' x 77, '9' x 78,
                   map { '11579208923731619542357098500868790785326998466564056403945758400791312963993' . $_ }
                   5, 6 ],
    expiresAt => [ '', qw(4102444800 4102444800.0 4.1e9 4102444800.5 253402300799 253402300800 null),
                   map { qq("$_") } 'x', '', (map { "2100-01-01T00:00:00$_" } '', 'Z', 'z', '.0Z',
                   '.000000z', '.5Z', '.0001Z', '.10Z', '.Z', '+01:00', '.00+23:59', '.01-00:00',
                   '+24:00', '+0100'), '2100-01-01t00:00:00Z', '2100-01-01 00:00:00Z',
                   '2100-02-29T00:00:00Z', '2104-02-29T00:00:00Z', '2100-04-31T00:00:00Z',
                   '2100-01-01T23:59:60Z', '9999-12-30T23:59:59-23:59', '9999-12-31T00:00:00+23:59' ],
    userId    => [ '', '""', '7', map { qq("$_") } 'alice', $signer, lc $signer, '0x' . uc substr($signer, 2),
                   '0X' . substr($signer, 2), "$signer ", '0x12' ],
    signature => [ '', '7', map { qq("$_") } '', '0x', "0x$hex", $hex, "0X$hex", "0x${hex}0", "0x${hex}zz",
                   '0x' . uc $hex, '0x' . 'aa' x 4096, '0x' . 'aa' x 4097 ],
);

# most members are right, or most bodies were wrong

my %good = (nonce => [ '', 0, '"1"' ], expiresAt => [ $expires, qq("$date.0Z") ],
            userId => [ qq("$signer") ], signature => [ qq("0x$hex") ]);

for my $mode ('/api/intents', '/must') {
    my @bodies = map {
        join ',', qq({"type":"transfer"), '"params":' . IntentTest->encode($job->{params}),
            (map { my $v = pick(rand() < 0.3 ? @{ $value{$_} } : @{ $good{$_} });
                   $v eq '' ? () : qq("$_":$v) } sort keys %value)
    } 1 .. 1500;
    $_ .= '}' for @bodies;

    $t->write_file($t->dir . '/judge.mjs', <<'END');
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
const require = createRequire(process.env.NODE_PATH + '/');
const ajv = new (require('ajv/dist/2020').default)({ strict: false });
require('ajv-formats').default(ajv);
ajv.addFormat('eip55', true);
const { types, bodies } = JSON.parse(readFileSync(process.argv[2]));
const validate = ajv.compile(types[0].schema);
for (const body of bodies) console.log(validate(JSON.parse(body)) ? 1 : 0);
END
    $t->write_file($t->dir . '/judge.json', IntentTest->encode(
        { types => $t->get("$mode/types")->{json}{types}, bodies => \@bodies }));
    open my $ajv, '-|', 'node', $t->dir . '/judge.mjs', $t->dir . '/judge.json' or die "node: $!";
    chomp(my @verdicts = <$ajv>);
    close $ajv;
    is(scalar @verdicts, scalar @bodies, "$mode: ajv judges");

    my (@differ, %both);

    for (my $n = 0; $n < @bodies; $n += 50) {
        my $r = post('[' . join(',', @bodies[$n .. $n + 49]) . ']', $mode);
        $r->{status} == 200 or die $r->{content};

        for my $i (0 .. 49) {
            my $item = $r->{json}[$i];
            my $valid = $item->{status} == 400 ? 0 : 1;

            # what a schema cannot know

            $valid = 1 if $item->{status} == 400
                && !grep { $_->{detail} !~ /at most 31 days ahead$/ } @{ $item->{problem}{errors} };
            $valid = 0 if ($item->{problem}{detail} // '') eq 'a signature is required here';
            $both{$valid}++;
            push @differ, "$bodies[$n + $i]: $verdicts[$n + $i], " . IntentTest->encode($item)
                if $valid != $verdicts[$n + $i];
        }
    }

    is(scalar @differ, 0, "$mode: and so does the server") or diag(join "\n", @differ[0 .. 3]);
    diag("$mode: valid $both{1}, not $both{0}");
}


# --- contract wallets --------------------------------------------------------

my $code = IntentTest->decode($t->read_file('t/lib/contracts/Wallet.json'))->{bytecode};
my $wallet = $t->receipt($t->rpc('eth_sendTransaction', {
    from => $t->address(9), data => $code . word($t->address(3)) . word($t->address(4)) }))
    ->{contractAddress};

$job = transfer(nonce => '500', user => $wallet);
my ($one) = sign('/api/intents', $job);
my ($other) = sign('/api/intents', { %$job, key => $IntentTest::KEYS[4] });
my $both = $one->{signature} . substr($other->{signature}, 2);

refused_ok(post(body($job, $both, userId => $signer)), 401, qr/^signature must have 65 bytes/, 'a wallet must be named');
refused_ok(post(body($job, $one->{signature}, userId => $wallet)), 401,
           qr/^signature recovers to \Q$signer\E, not to userId, and no contract wallet/,
           'one of two owners');
refused_ok(post(body($job, '0x' . substr($other->{signature}, 2) . substr($one->{signature}, 2),
                     userId => $wallet)),
           401, qr/and no contract wallet at userId accepts it$/, 'in the wrong order');
refused_ok(post(body($job, flip_hex($both, 77), userId => $wallet)), 401, qr/no contract wallet/,
           'a bit in it');
refused_ok(post(body($job, $both, userId => $wallet), '/mine', 'X-User' => $signer), 403,
           qr/^userId must be the caller's own$/, 'a caller that is not the wallet');

my $taken = post(body($job, $both, userId => $wallet));
is($taken->{status}, 202, 'both owners: taken') or diag($taken->{content});
is(lc $taken->{json}{userId}, lc $wallet, 'the wallet is the user');
$t->wait_intent($taken->{json}{intentId}, 'success');
is(post(body($job, $both, userId => lc $wallet))->{content}, $taken->{content}, 'again: the same');

$job = transfer(nonce => '501', user => $wallet);
($one) = sign('/api/intents', $job);
refused_ok(post(body($job, '0x', userId => $wallet)), 401, qr/no contract wallet/, 'not approved');
$t->receipt($t->rpc('eth_sendTransaction', { from => $t->address(3), to => $wallet,
    data => '0x' . substr($t->rpc('web3_sha3', '0x' . unpack 'H*', 'approve(bytes32)'), 2, 8)
            . substr($one->{digest}, 2) }));
$taken = post(body($job, '0x', userId => $wallet));
is($taken->{status}, 202, 'approved on the chain: taken') or diag($taken->{content});

@jobs = map { transfer(nonce => 510 + $_, user => $_ % 2 ? $wallet : $signer) } 0 .. 19;
my @ones = sign('/api/intents', @jobs);
my @others = sign('/api/intents', map { { %$_, key => $IntentTest::KEYS[4] } } @jobs);
$batch = post([ map { body($jobs[$_], $ones[$_]{signature} . substr($others[$_]{signature}, 2)) } 0 .. 19 ]);
is(join(' ', map { $_->{status} } @{ $batch->{json} }), join(' ', (401, 202) x 10),
   'wallets in an array, each asked by itself');


# clients that do not wait for the answer

@jobs = map { transfer(nonce => 700 + $_) } 0 .. 59;
@ones = sign('/api/intents', @jobs);

for my $n (0 .. 19) {
    my $text = IntentTest->encode([ map { body($jobs[$_], $ones[$_]{signature}, userId =>
        $_ % 3 ? $signer : $wallet) } 3 * $n .. 3 * $n + 2, $n % 2 ? (0 .. 59) : () ]);
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $t->port) or die "$!";
    syswrite $socket, "POST /api/intents HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        . 'Content-Length: ' . length($text) . "\r\n\r\n$text";
    setsockopt $socket, Socket::SOL_SOCKET(), Socket::SO_LINGER(), pack 'll', 1, 0 if $n % 4 > 1;
    close $socket;
}

is(post(body($jobs[0], $ones[0]{signature}))->{json}{userId}, $signer, 'others are served');


# --- on the chain ------------------------------------------------------------

my $calls = $ENV{INTENT_TEST_CALLDATA} || 60;

@jobs = map {
    { type => 'order', nonce => number(256), expiresAt => $expires + $_, params => {
        to => hex_bytes(20), d => int(rand 1000) . '.' . (1 + int rand 999999),
        b4 => hex_bytes(4), b32 => hex_bytes(32), s => pick('a', "\x{e4}\x{1f600}\"\\\n"),
        e => pick('red', 'green', 'blue'),
        (rand() < 0.5 ? (i => '-1' . number(240)) : ()),
        (rand() < 0.5 ? (u => '1' . number(240)) : ()),
        (rand() < 0.5 ? (f => pick(JSON::PP::true, JSON::PP::false)) : ()) } }
} 1 .. $calls;

@signed = sign('/api/intents', @jobs);

my @ids;
for my $n (0 .. $#jobs) {

    # who signed is who signed, in whichever case the address is written

    my $r = post(body($jobs[$n], $signed[$n]{signature},
                      userId => $n % 2 ? $signer : $signer =~ tr/a-fA-F/A-Fa-f/r));
    is($r->{status}, 202, "order $n") or diag($r->{content}) if $r->{status} != 202;
    push @ids, $r->{json}{intentId};
}
is(scalar(grep { defined } @ids), $calls, "$calls intents of all types of params are taken");

$t->write_file($t->dir . '/encode.mjs', <<'END');
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
const [signature, file] = process.argv.slice(2);
const { encodeFunctionData, parseAbi, parseUnits } = createRequire(process.env.NODE_PATH + '/')('viem');
const abi = parseAbi(['function ' + signature]);
for (const { job: { params, nonce, expiresAt }, signer, sig } of JSON.parse(readFileSync(file)))
    console.log(encodeFunctionData({ abi, args: [ signer, BigInt(nonce), BigInt(expiresAt), sig,
        params.s, parseUnits(params.d, 6), BigInt(params.i ?? -1), params.b4, params.b32,
        params.f ?? false, params.e ] }));
END
$t->write_file($t->dir . '/calls.json', IntentTest->encode([ map {
    { job => $jobs[$_], signer => $signer, sig => $signed[$_]{signature} } } 0 .. $#jobs ]));

open my $viem, '-|', 'node', $t->dir . '/encode.mjs', $function, $t->dir . '/calls.json' or die "node: $!";
chomp(my @expected = <$viem>);
close $viem;

my $wrong = 0;

for my $n (0 .. $#jobs) {
    my $intent = $t->wait_intent($ids[$n], qr/^(?:success|failed)$/, 60);
    my $tx = $t->rpc('eth_getTransactionByHash', $intent->{txHash});
    next if $tx->{input} eq $expected[$n];
    $wrong++ or diag("first difference, of $ids[$n]:\n$tx->{input}\n$expected[$n]");
}

is($wrong, 0, '$user, $nonce, $deadline and $signature reach the chain as viem encodes them');

# DELETE: the signer's alone

$t->pause('anvil');
$job = transfer(nonce => '600');
($signed) = sign('/api/intents', $job);
$id = post(body($job, $signed->{signature}))->{json}{intentId};

is($t->http('DELETE', "/api/intents/$id")->{status}, 403, 'DELETE by who knows the id');
is($t->http('DELETE', "/mine/$id", { 'X-User' => $t->address(4) })->{status}, 403, 'by another');
is($t->http('DELETE', "/mine/$id", { 'X-User' => lc $signer })->{status}, 200, 'by the signer');

# no node, no contract to ask

refused_ok(post(body(transfer(nonce => '601'), $signed->{signature}, userId => $wallet)), 503,
           qr/^userId may be a contract wallet, and no node could be asked/, 'without a node')
    if $t->kill('anvil') || 1;

$t->nginx_quit;
$t->clean_ok;
done_testing;
