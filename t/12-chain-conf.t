# intent_chain: what nginx -t says of a wrong one. Sections of this file:
#
#     --- without   directives of our intent_chain that are left out
#     --- with      lines added to it
#     --- http_more, config_more, ...: see Intent.pm
#     --- emerg     what nginx says instead of starting

use strict;
use warnings;

use lib 't/lib';
use Intent 'no_plan';
use File::Temp qw(tempdir);

# key files of each kind, as $TEST_NGINX_KEY_...

my $dir = tempdir(CLEANUP => 1);
my $one = '59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d';
my $two = '5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a';
my $order = 'fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141';

sub key_file {
    my ($name, $text, $mode) = @_;

    my $path = "$dir/$name.key";

    if (defined $text) {
        open my $file, '>', $path or die "$path: $!";
        print $file $text;
        close $file or die "$path: $!";
        chmod $mode // 0600, $path or die "$path: $!";
    }

    $ENV{ 'TEST_NGINX_KEY_' . uc $name } = $path;
}

key_file('right', "$one\n");
key_file('right0x', "0x$two\r\n", 0400);
key_file('again', "0x\U$one\E \n");
key_file('group', "$one\n", 0640);
key_file('others', "$one\n", 0604);
key_file('missing');
key_file('empty', '');
key_file('short', substr($one, 1) . "\n");
key_file('long', "${one}0\n");
key_file('junk', 'z' x 64 . "\n");
key_file('zero', '0' x 64 . "\n");
key_file('order', "$order\n");
key_file('huge', "$one\n" x 100);

# A database of its own: what others have left pending or executing is claimed by
# lanes here, or warned of

system('psql', '-h', "$ENV{INTENT_RUN}/postgres", '-p', $ENV{TEST_NGINX_POSTGRES_PORT}, '-U', 'postgres',
       '-Xqd', 'postgres', '-c', 'drop database if exists chain_conf',
       '-c', 'create database chain_conf owner intents') == 0
    or die "no database\n";

$Intent::part{intent_postgres} =~ s/dbname=intents/dbname=chain_conf/ or die;

my @chain = (
    [ chain_id => '31337' ],
    [ rpc      => '/_rpc/dev' ],
    [ signer   => 'key_file=$TEST_NGINX_KEY_FILE' ],
    [ max_fee  => '500gwei' ],
);

add_block_preprocessor(sub {
    my $block = shift;

    my %without = map { $_ => 1 } split ' ', $block->without // '';

    $block->set_value(intent_chain => join '',
        (map { "        $_->[0] $_->[1];\n" } grep { !$without{ $_->[0] } } @chain),
        $block->with // '')
        unless defined $block->intent_chain;

    if (defined(my $emerg = $block->emerg)) {
        $block->set_value(must_die => 1);
        $block->set_value(error_log => $emerg);
        return;
    }

    $block->set_value(request => 'GET /metrics') unless defined $block->request;
    $block->set_value(no_error_log => "[alert]\n[crit]\n[emerg]")
        unless defined $block->no_error_log;
});

repeat_each(1);
no_shuffle();
run_tests();

__DATA__

=== TEST 1: chain_id, rpc, signer and max_fee are enough
--- response_body_like
intent_lane_in_flight\{chain="dev",signer="0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"\} \d+
--- no_error_log
[alert]
[crit]
[emerg]
[warn]


=== TEST 2: with all that there is
--- intent_chain
        chain_id       31337;
        rpc            /_rpc/dev;
        rpc            /_rpc/other;
        signer         key_file=$TEST_NGINX_KEY_RIGHT;
        signer         key_file=$TEST_NGINX_KEY_RIGHT0X;
        confirmations  1;
        poll_interval  10ms;
        max_in_flight  100000;
        max_fee        1ether;
        priority_fee   1wei;
        retry          attempts=1 backoff=10ms max_backoff=10ms;
--- config_more
        location = /_rpc/other { internal; proxy_pass http://dev_rpc/; }
--- response_body_like eval
qr{(?=.*chain="dev",endpoint="/_rpc/dev")(?=.*chain="dev",endpoint="/_rpc/other").*
intent_lane_in_flight\{chain="dev",signer="0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"\} 0
intent_lane_in_flight\{chain="dev",signer="0x70997970C51812dc3A010C7d01b50e0d17dc79C8"\} 0}s
--- no_error_log
[alert]
[crit]
[emerg]


=== TEST 3: a chain needs a zone
--- intent_zone
--- config
        location /_rpc/dev { internal; proxy_pass http://dev_rpc/; }
--- emerg
"intent_chain" needs a zone, add "intent_zone intents 32m;" to the http block


=== TEST 4: a chain needs a store
--- intent_postgres
--- config
        location /_rpc/dev { internal; proxy_pass http://dev_rpc/; }
--- emerg
"intent_chain" needs "intent_postgres" in 


=== TEST 5: a chain has a name of its own
--- http_more
    intent_chain dev { chain_id 1; }
--- emerg
duplicate intent_chain "dev"


=== TEST 6: a name of letters and digits
--- http_more
    intent_chain "de v" { chain_id 1; }
--- emerg
invalid intent_chain "de v", its name should be at most 64 letters, digits, "_", "." and "-"


=== TEST 7: a name that is not empty
--- http_more
    intent_chain "" { chain_id 1; }
--- emerg
invalid intent_chain ""


=== TEST 8: a name of 64 letters at the most
--- http_more eval
'    intent_chain ' . 'c' x 65 . ' { chain_id 1; }'
--- emerg
its name should be at most 64 letters


=== TEST 9: a chain has a name
--- http_more
    intent_chain { chain_id 1; }
--- emerg
invalid number of arguments in "intent_chain" directive


=== TEST 10: it stands in http
--- config_more
        intent_chain other { chain_id 1; }
--- emerg
"intent_chain" directive is not allowed here


=== TEST 11: its directives stand in it only
--- config_more
        confirmations 2;
--- emerg
"confirmations" directive is not allowed here


=== TEST 12: no others stand in it
--- with
        root html;
--- emerg
"root" directive is not allowed here


=== TEST 13: a chain has an id
--- without: chain_id
--- emerg
intent_chain "dev" needs "chain_id 1;"


=== TEST 14: the id is a number
--- without: chain_id
--- with
        chain_id  0x7a69;
--- emerg
invalid chain id "0x7a69", it should be a number from 1 on


=== TEST 15: from 1 on
--- without: chain_id
--- with
        chain_id  0;
--- emerg
invalid chain id "0", it should be a number from 1 on


=== TEST 16: that fits
--- without: chain_id
--- with
        chain_id  99999999999999999999;
--- emerg
invalid chain id "99999999999999999999", it should be a number from 1 on


=== TEST 17: there is one id
--- with
        chain_id  31337;
--- emerg
"chain_id" directive is duplicate


=== TEST 18: a chain has an rpc
--- without: rpc
--- emerg
intent_chain "dev" needs "rpc /uri-of-an-internal-location;"


=== TEST 19: rpc is a uri, not a url
--- without: rpc
--- with
        rpc  http://127.0.0.1:8545/;
--- emerg
invalid rpc "http://127.0.0.1:8545/", it should be the uri of an internal location, like "/_rpc/dev"


=== TEST 20: rpc is more than a slash
--- without: rpc
--- with
        rpc  /;
--- emerg
invalid rpc "/", it should be


=== TEST 21: rpc has no arguments
--- without: rpc
--- with
        rpc  /_rpc/dev?key=1;
--- emerg
invalid rpc "/_rpc/dev?key=1", it should be


=== TEST 22: each rpc is there once
--- with
        rpc  /_rpc/dev;
--- emerg
duplicate rpc "/_rpc/dev"


=== TEST 23: there is a location for it
--- with
        rpc  /elsewhere;
--- config_more
        location ~ ^/elsewhere { internal; proxy_pass http://dev_rpc; }
--- emerg
no server has a location for rpc "/elsewhere", add "location /elsewhere { internal; proxy_pass ...; }" in 


=== TEST 24: the location / (Test::Nginx has one) is not one for it
--- with
        rpc  /elsewhere;
--- emerg
no server has a location for rpc "/elsewhere"


=== TEST 25: the location should be internal
--- with
        rpc  /open;
--- config_more
        location /open { proxy_pass http://dev_rpc/; }
--- error_log
the location of rpc "/open" is not internal: clients can call the node in


=== TEST 26: a chain has a signer
--- without: signer
--- emerg
intent_chain "dev" needs "signer key_file=/path/to/key;"


=== TEST 27: a signer is a file
--- with
        signer  0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d;
--- emerg
it should be "key_file=/path/to/key"


=== TEST 28: a key that stands in the configuration is not repeated
--- with
        signer  0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d;
--- must_die
--- error_log
invalid parameter of "signer"
--- no_error_log
59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d


=== TEST 29: the file is there
--- with
        signer  key_file=$TEST_NGINX_KEY_MISSING;
--- emerg
missing.key" failed (2: No such file or directory)


=== TEST 30: its group cannot read it
--- with
        signer  key_file=$TEST_NGINX_KEY_GROUP;
--- emerg
group.key" can be read by others, make it "chmod 600"


=== TEST 31: nor can others
--- with
        signer  key_file=$TEST_NGINX_KEY_OTHERS;
--- emerg
others.key" can be read by others, make it "chmod 600"


=== TEST 32: it holds a key
--- with
        signer  key_file=$TEST_NGINX_KEY_JUNK;
--- emerg
junk.key" does not hold a private key: 64 hexadecimal digits are expected


=== TEST 33: not nothing
--- with
        signer  key_file=$TEST_NGINX_KEY_EMPTY;
--- emerg
empty.key" does not hold a private key


=== TEST 34: not less
--- with
        signer  key_file=$TEST_NGINX_KEY_SHORT;
--- emerg
short.key" does not hold a private key


=== TEST 35: not more
--- with
        signer  key_file=$TEST_NGINX_KEY_LONG;
--- emerg
long.key" does not hold a private key


=== TEST 36: not several
--- with
        signer  key_file=$TEST_NGINX_KEY_HUGE;
--- emerg
huge.key" does not hold a private key


=== TEST 37: 0 is no key
--- with
        signer  key_file=$TEST_NGINX_KEY_ZERO;
--- emerg
zero.key" does not hold a private key


=== TEST 38: nor is the order of the curve
--- with
        signer  key_file=$TEST_NGINX_KEY_ORDER;
--- emerg
order.key" does not hold a private key


=== TEST 39: a directory is no key file
--- with
        signer  key_file=/;
--- emerg
key file "/" can be read by others


=== TEST 40: each signer is there once, whatever its file
--- with
        signer  key_file=$TEST_NGINX_KEY_RIGHT;
        signer  key_file=$TEST_NGINX_KEY_AGAIN;
--- emerg
duplicate signer 0x70997970C51812dc3A010C7d01b50e0d17dc79C8


=== TEST 41: what is wrong is told without the key
--- with
        signer  key_file=$TEST_NGINX_KEY_LONG;
--- must_die
--- error_log
does not hold a private key
--- no_error_log
59c6995e998f97a5a0044966f0945389


=== TEST 42: a chain has a max_fee
--- without: max_fee
--- emerg
intent_chain "dev" needs "max_fee 500gwei;"


=== TEST 43: a fee has a unit
--- without: max_fee
--- with
        max_fee  500;
--- emerg
invalid fee "500", it should be a whole number and its unit, like "500gwei"


=== TEST 44: one that is known
--- without: max_fee
--- with
        max_fee  500mwei;
--- emerg
invalid fee "500mwei", it should be a whole number


=== TEST 45: it is a whole number
--- without: max_fee
--- with
        max_fee  1.5gwei;
--- emerg
invalid fee "1.5gwei", it should be a whole number


=== TEST 46: it is not nothing
--- without: max_fee
--- with
        max_fee  0gwei;
--- emerg
invalid fee "0gwei", it should be a whole number


=== TEST 47: it has a number
--- without: max_fee
--- with
        max_fee  gwei;
--- emerg
invalid fee "gwei", it should be a whole number


=== TEST 48: it fits
--- without: max_fee
--- with
        max_fee  10ether;
--- emerg
invalid fee "10ether"


=== TEST 49: there is one max_fee
--- with
        max_fee  1gwei;
--- emerg
"max_fee" directive is duplicate


=== TEST 50: the priority fee is a fee
--- with
        priority_fee  2;
--- emerg
invalid fee "2", it should be a whole number and its unit, like "500gwei"


=== TEST 51: there is one priority fee
--- with
        priority_fee  2gwei;
        priority_fee  2gwei;
--- emerg
"priority_fee" directive is duplicate


=== TEST 52: the priority fee is within the max_fee
--- with
        priority_fee  501gwei;
--- emerg
"priority_fee" of intent_chain "dev" is more than its "max_fee"


=== TEST 52a: replace_after is a time, or off
--- with
        replace_after  soon;
--- emerg
invalid value "soon" of "replace_after", it should be a time, like "60s", or "off"


=== TEST 52b: and there is one
--- with
        replace_after  off;
        replace_after  1s;
--- emerg
"replace_after" directive is duplicate


=== TEST 53: confirmations has bounds
--- with
        confirmations  0;
--- emerg
value must be between 1 and 10000


=== TEST 54: and an upper one
--- with
        confirmations  10001;
--- emerg
value must be between 1 and 10000


=== TEST 55: confirmations is a number
--- with
        confirmations  two;
--- emerg
invalid number in


=== TEST 56: there is one confirmations
--- with
        confirmations  2;
        confirmations  2;
--- emerg
"confirmations" directive is duplicate


=== TEST 57: poll_interval has a lower bound
--- with
        poll_interval  9ms;
--- emerg
"poll_interval" of intent_chain "dev" should be "10ms" at the least


=== TEST 58: poll_interval is a time
--- with
        poll_interval  often;
--- emerg
"poll_interval" directive invalid value


=== TEST 59: there is one poll_interval
--- with
        poll_interval  1s;
        poll_interval  1s;
--- emerg
"poll_interval" directive is duplicate


=== TEST 60: max_in_flight has bounds
--- with
        max_in_flight  0;
--- emerg
value must be between 1 and 100000


=== TEST 61: and an upper one
--- with
        max_in_flight  100001;
--- emerg
value must be between 1 and 100000


=== TEST 62: there is one max_in_flight
--- with
        max_in_flight  64;
        max_in_flight  64;
--- emerg
"max_in_flight" directive is duplicate


=== TEST 63: retry has three parameters
--- with
        retry  times=3;
--- emerg
invalid parameter "times=3", it should be "attempts=5", "backoff=1s" or "max_backoff=60s"


=== TEST 64: there is one attempt at the least
--- with
        retry  attempts=0;
--- emerg
invalid parameter "attempts=0", it should be


=== TEST 65: a backoff is a time
--- with
        retry  backoff=soon;
--- emerg
invalid parameter "backoff=soon", it should be


=== TEST 66: a backoff is some time
--- with
        retry  backoff=0;
--- emerg
invalid parameter "backoff=0", it should be


=== TEST 67: the longest backoff is not the shorter one
--- with
        retry  backoff=2s max_backoff=1s;
--- emerg
"max_backoff" of intent_chain "dev" is less than its "backoff"


=== TEST 68: there is one retry
--- with
        retry  attempts=1;
        retry  attempts=1;
--- emerg
"retry" directive is duplicate


=== TEST 69: retry is not empty
--- with
        retry;
--- emerg
invalid number of arguments in "retry" directive


=== TEST 70: two chains are not the same lane
--- http_more
    intent_chain twin {
        chain_id  31337;
        rpc       /_rpc/dev;
        signer    key_file=$TEST_NGINX_KEY_FILE;
        max_fee   1gwei;
    }
--- emerg
0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266


=== TEST 71: a domain has a name
--- with
        eip712_domain  "";
--- emerg
invalid name or version "" of a domain, it should be UTF-8 text of 1 to 64 bytes


=== TEST 72: a name that is text
--- with
        eip712_domain  "a	b";
--- emerg
of a domain, it should be UTF-8 text of 1 to 64 bytes


=== TEST 73: and a version that is text
--- with
        eip712_domain  Gate version=;
--- emerg
invalid name or version "" of a domain


=== TEST 74: its contract is an address
--- with
        eip712_domain  Gate verifying_contract=0x70997970c51812dc3A010C7d01b50e0d17dc79C8;
--- emerg
invalid parameter "verifying_contract=0x70997970c51812dc3A010C7d01b50e0d17dc79C8", it should be "version=1" or "verifying_contract=0x..."


=== TEST 75: a domain has no salt
--- with
        eip712_domain  Gate salt=0x01;
--- emerg
invalid parameter "salt=0x01"


=== TEST 76: there is one domain
--- with
        eip712_domain  Gate;
        eip712_domain  Gate;
--- emerg
"eip712_domain" directive is duplicate


=== TEST 77: a whole one
--- with
        eip712_domain  "Ünë Gate" version=2 verifying_contract=0x70997970C51812dc3A010C7d01b50e0d17dc79C8;
--- response_body_like: intent_lane_in_flight


=== TEST 78: a node may have a weight
--- without: rpc
--- with
        rpc  /_rpc/dev weight=3;
--- response_body_like: intent_rpc_breaker_state\{chain="dev",endpoint="/_rpc/dev"\} 0


=== TEST 79: of 1 at the least
--- without: rpc
--- with
        rpc  /_rpc/dev weight=0;
--- emerg
invalid parameter "weight=0", it should be "weight=1", 1000 at the most


=== TEST 80: and 1000 at the most
--- without: rpc
--- with
        rpc  /_rpc/dev weight=1001;
--- emerg
invalid parameter "weight=1001", it should be


=== TEST 81: nothing else
--- without: rpc
--- with
        rpc  /_rpc/dev backup;
--- emerg
invalid parameter "backup", it should be "weight=1"


=== TEST 82: min_balance may be more than fits 64 bits
--- with
        min_balance  100000ether;
--- response_body_like: intent_signer_balance_low\{chain="dev",signer="0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"\} \d


=== TEST 83: it is an amount
--- with
        min_balance  1.5ether;
--- emerg
invalid amount "1.5ether", it should be a whole number and its unit, like "10ether"


=== TEST 84: there is one min_balance
--- with
        min_balance  1ether;
        min_balance  1ether;
--- emerg
"min_balance" directive is duplicate


=== TEST 85: intents are signed for a domain of one's own
--- api_more
        intent_signature optional;
--- response_body_like: intent_lane_in_flight
--- error_log eval
qr/\[warn\] .*intent_chain "dev" has no "eip712_domain".* write "eip712_domain 'Name of your service';" in .*nginx.conf:\d+/


=== TEST 86: which it has
--- with
        eip712_domain  "My Gate";
--- api_more
        intent_signature optional;
--- response_body_like: intent_lane_in_flight
--- no_error_log
[warn]


=== TEST 87: or does not need
--- api_more
        intent_signature off;
--- response_body_like: intent_lane_in_flight
--- no_error_log
[warn]


=== TEST 88: each parameter of retry is given once
--- with
        retry  backoff=1s backoff=2s;
--- emerg
duplicate parameter "backoff=" of "retry"
