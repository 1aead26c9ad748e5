# Signers from version 3 keystores: what opens, with which password, and what
# nginx -t says of the others. Each section "store" names a file made below.

use strict;
use warnings;

use lib 't/lib';
use Intent 'no_plan';
use File::Temp qw(tempdir);
use JSON::PP;

my $dir = tempdir(CLEANUP => 1);
my $json = JSON::PP->new->canonical;

sub file {
    my ($name, $text, $mode) = @_;

    open my $file, '>', "$dir/$name" or die "$name: $!";
    print $file $text;
    close $file or die "$name: $!";
    chmod $mode // 0600, "$dir/$name";
    $ENV{ 'TEST_NGINX_FILE_' . uc $name } = "$dir/$name";
}

# One key twice: as ethers makes it with scrypt (in its own JavaScript), and the
# example of the definition (Web3 Secret Storage) with PBKDF2

my %scrypt = (
    cipher => 'aes-128-ctr',
    cipherparams => { iv => '6975ee74171b27ce83ac13e6384bd0f1' },
    ciphertext => 'f7bb92e7a2c014d1da3496e73af4d177cb87ed21b595b0c89fbfd3f24db48eef',
    kdf => 'scrypt',
    kdfparams => { dklen => 32, n => 262144, r => 8, p => 1,
        salt => '5ef166a3a44cc4ab938ba2ae633661c48f4e5e246d6c5b7a6eb80b7110092848' },
    mac => '0eb0225c141fd16a2eb1785e2c2510374f46cdf7619f6aabb43cad372f9737f0',
);
my %pbkdf2 = (
    cipher => 'aes-128-ctr',
    cipherparams => { iv => '6087dab2f9fdbbfaddc31a909735c1e6' },
    ciphertext => '5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46',
    kdf => 'pbkdf2',
    kdfparams => { c => 262144, dklen => 32, prf => 'hmac-sha256',
        salt => 'ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd' },
    mac => '517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2',
);

sub store { my ($name, $crypto, %more) = @_; file($name, $json->encode({ version => 3, crypto => $crypto, %more })) }

sub changed { my ($of, @pairs) = @_; return { %$of, @pairs } }

store('scrypt', \%scrypt);
store('pbkdf2', \%pbkdf2);
store('old', \%scrypt, version => 1);
store('cipher', changed(\%scrypt, cipher => 'aes-128-cbc'));
store('iv', changed(\%scrypt, cipherparams => { iv => '83' }));
store('text', changed(\%scrypt, ciphertext => 'd1' x 31));
store('mac', changed(\%scrypt, mac => 'zz' x 32));
store('kdf', changed(\%scrypt, kdf => 'argon2id'));
store('greedy', changed(\%scrypt, kdfparams => { %{ $scrypt{kdfparams} }, n => 2 ** 40 }));
store('odd', changed(\%scrypt, kdfparams => { %{ $scrypt{kdfparams} }, n => 1000 }));
store('prf', changed(\%pbkdf2, kdfparams => { %{ $pbkdf2{kdfparams} }, prf => 'hmac-md5' }));
store('flipped', changed(\%scrypt, ciphertext => 'e' . substr $scrypt{ciphertext}, 1));
file('junk', "not json\n");
file('password', "testpassword\n");
file('windows', "testpassword\r\n");
file('bare', 'testpassword');
file('wrong', "testPassword\n");
file('empty', '');
file('open', "testpassword\n", 0644);

# and what ethers makes, of a key and a password with more than ASCII in it

my $password = "pässwörd \xe2\x9c\x93";
file('ethers_password', $password);
my $key = '0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d';
my $made = do {
    open my $pipe, '-|', 'node', '-e', <<'END', $key, "$dir/ethers_password" or die "node: $!";
const { encryptKeystoreJsonSync } = require('ethers');
const [ key, file ] = process.argv.slice(1);
const address = '0x70997970C51812dc3A010C7d01b50e0d17dc79C8';
process.stdout.write(encryptKeystoreJsonSync({ address, privateKey: key },
    require('fs').readFileSync(file), { scrypt: { N: 4096, r: 8, p: 1 } }));
END
    local $/; <$pipe>;
};
file('ethers', $made);

add_block_preprocessor(sub {
    my $block = shift;

    my $store = $block->store;
    my $password = $block->password // 'password';
    my $lines = "        chain_id 31337;\n        rpc /_rpc/dev;\n        max_fee 500gwei;\n";

    $lines .= defined $store
        ? "        signer keystore=\$TEST_NGINX_FILE_\U$store\E password_file=\$TEST_NGINX_FILE_\U$password\E;\n"
        : $block->signer;

    $block->set_value(intent_chain => $lines);

    if (defined(my $emerg = $block->emerg)) {
        $block->set_value(must_die => 1);
        $block->set_value(error_log => $emerg);
        $block->set_value(no_error_log => "testpassword\ntestPassword");
        return;
    }

    $block->set_value(request => 'GET /metrics');
    $block->set_value(no_error_log => "[alert]\n[crit]\n[emerg]\ntestpassword");
});

repeat_each(1);
no_shuffle();
run_tests();

__DATA__

=== TEST 1: scrypt
--- store: scrypt
--- response_body_like: intent_lane_in_flight\{chain="dev",signer="0x008AeEda4D805471dF9b2A5B0f38A0C3bCBA786b"\}


=== TEST 2: PBKDF2
--- store: pbkdf2
--- response_body_like: intent_lane_in_flight\{chain="dev",signer="0x008AeEda4D805471dF9b2A5B0f38A0C3bCBA786b"\}


=== TEST 3: as ethers makes it, with a password of more than ASCII
--- store: ethers
--- password: ethers_password
--- response_body_like: intent_lane_in_flight\{chain="dev",signer="0x70997970C51812dc3A010C7d01b50e0d17dc79C8"\}


=== TEST 4: the end of the line may be Windows'
--- store: scrypt
--- password: windows
--- response_body_like: intent_lane_in_flight


=== TEST 5: or none
--- store: scrypt
--- password: bare
--- response_body_like: intent_lane_in_flight


=== TEST 6: a wrong password
--- store: scrypt
--- password: wrong
--- emerg eval
qr/the password in ".*wrong" does not open keystore ".*scrypt"/


=== TEST 7: none at all
--- store: pbkdf2
--- password: empty
--- emerg eval
qr/the password in ".*empty" does not open keystore ".*pbkdf2"/


=== TEST 8: one flipped bit of the key
--- store: flipped
--- emerg eval
qr/the password in ".*password" does not open keystore ".*flipped"/


=== TEST 9: others cannot read the password
--- store: scrypt
--- password: open
--- emerg eval
qr/open" can be read by others, make it "chmod 600"/


=== TEST 10: version 1
--- store: old
--- emerg
is none of version 3: "version" should be 3


=== TEST 11: no JSON
--- store: junk
--- emerg
is none of version 3: "version" should be 3


=== TEST 12: another cipher
--- store: cipher
--- emerg
is none of version 3: "cipher" should be "aes-128-ctr"


=== TEST 13: a short iv
--- store: iv
--- emerg
is none of version 3: "iv" should be 16 bytes


=== TEST 14: a short key
--- store: text
--- emerg
is none of version 3: "ciphertext" should be 32 bytes


=== TEST 15: a mac that is none
--- store: mac
--- emerg
is none of version 3: "mac" should be 32 bytes


=== TEST 16: another derivation
--- store: kdf
--- emerg
is none of version 3: "kdf" should be "scrypt" or "pbkdf2"


=== TEST 17: one that would take all memory
--- store: greedy
--- emerg
is none of version 3: "n", "r" and "p" of scrypt should be sane


=== TEST 18: a number that is no power of two
--- store: odd
--- emerg
is none of version 3: "n", "r" and "p" of scrypt should be sane


=== TEST 19: another function in PBKDF2
--- store: prf
--- emerg
is none of version 3: "c" of pbkdf2 should be sane


=== TEST 20: no file
--- signer
        signer keystore=/nonexistent password_file=$TEST_NGINX_FILE_PASSWORD;
--- emerg
open() "/nonexistent" failed


=== TEST 21: a keystore needs a password
--- signer
        signer keystore=$TEST_NGINX_FILE_SCRYPT;
--- emerg
it should be "key_file=/path/to/key", "keystore=/path/to/keystore password_file=/path" or "remote=/uri


=== TEST 22: a key file needs none
--- signer
        signer key_file=$TEST_NGINX_KEY_FILE password_file=$TEST_NGINX_FILE_PASSWORD;
--- emerg
it should be "key_file=/path/to/key", "keystore=
