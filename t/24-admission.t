# What may enter, request by request: arrays of intents, Idempotency-Key, the
# types as they are told, lists, DELETE. Sections of this file:
#
#     --- post      the body of a POST to /api/intents, application/json
#     --- detail, faults
#                   as in 11-api.t; a fault of an argument is "?name detail"
#     --- items     of an array: one line an item, its status and, of a problem,
#                   pointer and detail of its first fault
#     --- type      members of the first type that /types tells, as JSON; a key
#                   with dots goes down

use strict;
use warnings;

use lib 't/lib';
use Intent 'no_plan';
use JSON::PP;
use Test::More;

my $json = JSON::PP->new->utf8->canonical->allow_nonref;

add_block_preprocessor(sub {
    my $block = shift;

    $block->set_value(no_error_log => "[alert]\n[crit]") unless defined $block->error_log;

    if (defined(my $body = $block->post)) {
        chomp $body;
        $block->set_value(request => "POST /api/intents\n$body");
        my $more = $block->more_headers;
        $block->set_value(more_headers => "Content-Type: application/json\n"
                                          . (defined $more ? $more : ''));
    }

    $block->set_value(error_code => defined $block->faults ? 400
                                  : defined $block->items  ? 200
                                  : defined $block->post   ? 202 : 200)
        unless defined $block->error_code;

    $block->set_value(response_headers => 'Content-Type: application/problem+json')
        if (defined $block->faults || defined $block->detail)
           and !defined $block->response_headers;
});

sub lines {
    join '', map { my $where = defined $_->{parameter} ? "?$_->{parameter}" : $_->{pointer};
                   "$where $_->{detail}\n" } @{ $_[-1]{errors} // [] };
}

sub at {
    my ($value, $path) = @_;

    for my $key (split /\./, $path) {
        $value = ref $value eq 'ARRAY' ? $value->[$key] : $value->{$key};
    }

    return $value;
}

add_response_body_check(sub {
    my ($block, $body) = @_;

    my $name = $block->name;
    my $detail = $block->detail;
    my $faults = $block->faults;

    ($detail) = map { s/^\S* //r } grep { length } split /\n/, $faults
        if defined $faults && !defined $detail;

    if (defined $detail) {
        chomp $detail;
        my $problem = decode_json($body);
        cmp_ok($problem->{status}, '==', $block->error_code, "$name - status");
        is($problem->{detail}, $detail, "$name - detail");
        is(lines($problem), $faults // '', "$name - faults");
    }

    if (defined $block->items) {
        my $items = decode_json($body);
        my $text = join '', map {
            my $item = $_;
            my $end = '';

            if (my $intent = $item->{intent}) {
                like($item->{location}, qr{^/api/intents/\Q$intent->{intentId}\E$},
                     "$name - location");
                is($intent->{status}, 'pending', "$name - intent");
            } else {
                my $problem = $item->{problem};
                is($problem->{status}, $item->{status}, "$name - status of an item");
                ($end) = ($problem->{errors} ? lines($problem) : "- $problem->{detail}")
                         =~ /^(.*)/;
            }

            "$item->{status}" . ($end eq '' ? '' : " $end") . "\n";
        } @$items;

        is($text, $block->items, "$name - items");
    }

    if (defined $block->type) {
        my $type = decode_json($body)->{types}[0];
        my $expected = decode_json($block->type);
        is($json->encode([ at($type, $_) ]), $json->encode([ $expected->{$_} ]), "$name - $_")
            for sort keys %$expected;
    }
});

repeat_each(1);
no_shuffle();
run_tests();

__DATA__

=== TEST 1: an array of intents
--- post
[{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}},
 {"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"6"}}]
--- items
202
202


=== TEST 2: an array of one
--- post
[{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}}]
--- items
202


=== TEST 3: each item is judged by itself, its pointers begin with it
--- post
[{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"0"}},
 7,
 {"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}},
 [],
 {"type":"swap","params":{}},
 {}]
--- items
400 /params/amount Transfer amount must be positive
400  an intent must be a JSON object
202
400  an intent must be a JSON object
400 /type unknown type "swap"
400  Missing required fields


=== TEST 4: an empty array
--- post
[]
--- error_code: 400
--- detail
an array must have 1 to 100 intents


=== TEST 5: an array that is too long
--- api_more
intent_batch 2;
--- post
[1,2,3]
--- error_code: 400
--- detail
an array must have 1 to 2 intents


=== TEST 6: an array as long as it may be
--- api_more
intent_batch 2;
--- post
[1,2]
--- items
400  an intent must be a JSON object
400  an intent must be a JSON object


=== TEST 7: intent_batch is inherited
--- http_more
intent_batch 1;
--- post
[1,2]
--- error_code: 400
--- detail
an array must have 1 to 1 intents


=== TEST 8: an array that cannot be read is refused as a whole
--- post
[{"type":"transfer","type":"transfer"}]
--- faults
 the body cannot be read as JSON: duplicate object key near '"type"', at line 1, column 26 (byte 26)


=== TEST 9: a batch of a thousand
--- api_more
intent_batch 1000; client_body_buffer_size 256k;
--- post eval
'[' . CORE::join(',', ('{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}}') x 1000) . ']'
--- items eval
"202\n" x 1000


=== TEST 10: each item of an array counts in intent_limit
--- http_more
intent_limit_zone $binary_remote_addr zone=batch10:1m rate=3r/15m;
--- api_more
intent_limit zone=batch10;
--- post
[{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}},
 {"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}},
 {"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}}]
--- items
202
202
202


=== TEST 11: all of an array, or none of it; the request is one all the same
--- http_more
intent_limit_zone $binary_remote_addr zone=batch11:1m rate=2r/15m;
--- api_more
intent_limit zone=batch11;
--- post
[{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}},
 {"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}},
 {"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}}]
--- error_code: 429
--- response_headers_like
Retry-After: \d+
Content-Type: application/problem\+json
RateLimit: "batch11";r=1;t=\d+
--- detail
Too many intents created, please try again later


=== TEST 12: a key in quotes
--- more_headers
Idempotency-Key: "8e03978e-40d5-43dd-bc93-6894a57f9324"
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}}


=== TEST 13: a key without quotes
--- more_headers
Idempotency-Key: 8e03978e:40d5/43dd,bc93;a=b
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}}


=== TEST 14: a key of 255 characters
--- more_headers eval
'Idempotency-Key: "' . 'k' x 254 . '\\"' . '"'
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}}


=== TEST 15: a key of 256 characters
--- more_headers eval
'Idempotency-Key: ' . 'k' x 256
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}}
--- error_code: 400
--- detail
Idempotency-Key must be a string of 1 to 255 visible characters of ASCII, like "8e03978e-40d5-43dd-bc93"


=== TEST 16: an empty key
--- more_headers
Idempotency-Key: ""
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}}
--- error_code: 400
--- detail
Idempotency-Key must be a string of 1 to 255 visible characters of ASCII, like "8e03978e-40d5-43dd-bc93"


=== TEST 17: a header without a key
--- more_headers
Idempotency-Key:
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}}
--- error_code: 400
--- detail
Idempotency-Key must be a string of 1 to 255 visible characters of ASCII, like "8e03978e-40d5-43dd-bc93"


=== TEST 18: a key with a space
--- more_headers
Idempotency-Key: a b
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}}
--- error_code: 400
--- detail
Idempotency-Key must be a string of 1 to 255 visible characters of ASCII, like "8e03978e-40d5-43dd-bc93"


=== TEST 19: a key with one quote
--- more_headers
Idempotency-Key: "a
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}}
--- error_code: 400
--- detail
Idempotency-Key must be a string of 1 to 255 visible characters of ASCII, like "8e03978e-40d5-43dd-bc93"


=== TEST 20: a key that ends in a backslash
--- more_headers
Idempotency-Key: "a\"
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}}
--- error_code: 400
--- detail
Idempotency-Key must be a string of 1 to 255 visible characters of ASCII, like "8e03978e-40d5-43dd-bc93"


=== TEST 21: a key that escapes what needs no escape
--- more_headers
Idempotency-Key: "a\b"
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}}
--- error_code: 400
--- detail
Idempotency-Key must be a string of 1 to 255 visible characters of ASCII, like "8e03978e-40d5-43dd-bc93"


=== TEST 22: a key that is not ASCII
--- more_headers eval
"Idempotency-Key: \xc3\xa4"
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}}
--- error_code: 400
--- detail
Idempotency-Key must be a string of 1 to 255 visible characters of ASCII, like "8e03978e-40d5-43dd-bc93"


=== TEST 23: two keys
--- more_headers
Idempotency-Key: a
Idempotency-Key: b
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}}
--- error_code: 400
--- detail
there must be one Idempotency-Key


=== TEST 24: the types, without signatures
--- request
GET /api/intents/types
--- response_headers_like
Content-Type: application/json
Cache-Control: no-cache
ETag: "[0-9a-f]{32}"
--- type
{"name":"transfer","label":"transfer","chain":"dev","eip712":null,
 "schema.$schema":"https://json-schema.org/draft/2020-12/schema","schema.type":"object",
 "schema.required":["type","params"],"schema.additionalProperties":false,
 "schema.properties.type":{"const":"transfer"},"schema.properties.chain":{"enum":["dev"]},
 "schema.properties.nonce":null,"schema.properties.signature":null,"schema.dependentSchemas":null}


=== TEST 25: the types, where intents may be signed
--- api_more
intent_signature optional;
--- request
GET /api/intents/types
--- type
{"schema.required":["type","params"],
 "schema.dependentRequired":{"nonce":["signature"],"signature":["expiresAt","userId"]},
 "schema.properties.signature.type":"string",
 "eip712.primaryType":"Transfer","eip712.domain.chainId":31337,"eip712.domains.dev.chainId":31337,
 "eip712.types.Transfer":[{"name":"recipient","type":"address"},{"name":"amount","type":"uint256"},
   {"name":"token","type":"address"},{"name":"user","type":"address"},
   {"name":"nonce","type":"uint256"},{"name":"deadline","type":"uint256"}],
 "eip712.types.EIP712Domain":[{"name":"name","type":"string"},{"name":"version","type":"string"},
   {"name":"chainId","type":"uint256"}]}


=== TEST 26: the types, where intents must be signed
--- http_more
intent_signature required;
--- request
GET /api/intents/types
--- type
{"schema.required":["type","params","expiresAt","signature","userId"],"eip712.primaryType":"Transfer"}


=== TEST 27: HEAD of the types
--- request
HEAD /api/intents/types
--- response_headers_like
Content-Type: application/json
ETag: "[0-9a-f]{32}"


=== TEST 28: the types have no slash at the end
--- request
GET /api/intents/types/
--- error_code: 404
--- detail
there is nothing at this path


=== TEST 29: the types at another location are told as they are there
--- config_more
        location /v2/ { intent_api; intent_signature required; }
--- request
GET /v2/types
--- type
{"schema.required":["type","params","expiresAt","signature","userId"]}


=== TEST 30: types that no signature can tell apart
--- intent_types
intent_type odd { label odd; param to address; call to=$to value=1; }
intent_type Odd { label Odd; param to address; call to=$to value=2; }
--- api_more
intent_signature optional;
--- must_die
--- error_log
cannot be told apart by a signature


=== TEST 31: those types without signatures
--- intent_types
intent_type odd { label odd; param to address; call to=$to value=1; }
intent_type Odd { label Odd; param to address; call to=$to value=2; }
--- request
GET /api/intents/types
--- type
{"name":"odd"}


=== TEST 32: lists are for those who are known
--- api_more
intent_user $http_x_user;
--- request
GET /api/intents
--- error_code: 403
--- detail
only a known caller has intents to be listed


=== TEST 33: a list whose arguments are wrong
--- api_more
intent_user $http_x_user;
--- more_headers
X-User: nobody-at-all
--- request
GET /api/intents?status=gone&limit=0&cursor=x
--- faults
?status status must be one or several of pending, executing, success, failed, expired and cancelled, separated by commas
?limit limit must be a number from 1 to 100
?cursor cursor must be that of an answer before


=== TEST 34: a list whose limit is too large
--- api_more
intent_user $http_x_user;
--- more_headers
X-User: nobody-at-all
--- request
GET /api/intents?limit=101
--- faults
?limit limit must be a number from 1 to 100


=== TEST 35: a list by no status
--- api_more
intent_user $http_x_user;
--- more_headers
X-User: nobody-at-all
--- request
GET /api/intents?status=
--- faults
?status status must be one or several of pending, executing, success, failed, expired and cancelled, separated by commas


=== TEST 36: a caller whose name is too long
--- api_more
intent_user $http_x_user;
--- more_headers eval
"X-User: " . "u" x 257
--- request
GET /api/intents
--- error_code: 403
--- detail
the caller's name must be UTF-8 of up to 256 characters


=== TEST 37: signatures where there are none
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"signature":"0x","nonce":"1"}
--- faults
/nonce signatures are not enabled here
/signature signatures are not enabled here


=== TEST 38: no signature where there must be one
--- api_more
intent_signature required;
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}}
--- error_code: 401
--- response_headers
Content-Type: application/problem+json
WWW-Authenticate: EIP712 types="/api/intents/types"
--- detail
a signature is required here
--- faults
/signature a signature is required here


=== TEST 39: no signature where there may be one
--- api_more
intent_signature optional;
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}}


=== TEST 40: what a signature needs
--- api_more
intent_signature optional;
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"signature":"0x","userId":"alice"}
--- faults
/expiresAt is required in a signed intent
/userId userId of a signed intent must be the signer's address


=== TEST 41: a deadline between two seconds
--- api_more
intent_signature optional;
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"signature":"0x","userId":"0x00000000219ab540356cBB839Cbe05303d7705Fa","expiresAt":"2099-01-01T00:00:00.0001Z"}
--- faults
/expiresAt expiresAt of a signed intent must be whole seconds


=== TEST 42: a nonce without a signature
--- api_more
intent_signature optional;
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"nonce":"1"}
--- faults
/nonce nonce is that of a signed intent, and there is no signature


=== TEST 43: nonces
--- api_more
intent_signature optional;
--- post eval
my $begin = '{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"userId":"0x00000000219ab540356cBB839Cbe05303d7705Fa","signature":"0x","expiresAt":' . (time + 86400);
'[' . CORE::join(',', map { "$begin$_}" } (map { ",\"nonce\":$_" }
    '"x"', '"01"', -1, 9007199254740992,
    '"115792089237316195423570985008687907853269984665640564039457584007913129639936"',
    '"115792089237316195423570985008687907853269984665640564039457584007913129639935"',
    9007199254740991), '') . ']'
--- items
400 /nonce nonce must be a whole number below 2^256, in a string of decimal digits
400 /nonce nonce must be a whole number below 2^256, in a string of decimal digits
400 /nonce nonce must be a whole number below 2^256, in a string of decimal digits
400 /nonce nonce must be a whole number below 2^256, in a string of decimal digits
400 /nonce nonce must be a whole number below 2^256, in a string of decimal digits
401 /signature signature must have 65 bytes (r, s, v) or 64 (EIP-2098), and no contract wallet at userId accepts it
401 /signature signature must have 65 bytes (r, s, v) or 64 (EIP-2098), and no contract wallet at userId accepts it
401 /signature signature must have 65 bytes (r, s, v) or 64 (EIP-2098), and no contract wallet at userId accepts it


=== TEST 44: signatures that are none
--- api_more
intent_signature optional; client_body_buffer_size 64k;
--- post eval
my $begin = '{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"userId":"0x00000000219ab540356cBB839Cbe05303d7705Fa","expiresAt":' . (time + 86400) . ',"signature":';
'[' . CORE::join(',', map { "$begin$_}" }
    7, 'null', '""', '"0"', '"0x0"', '"00"', '"0xzz"', '"0x' . '00' x 4097 . '"',
    '"0x' . '11' x 64 . '02"', '"0x' . '11' x 32 . 'ff' x 32 . '1b"', '"0x' . 'ff' x 32 . '11' x 32 . '1b"',
    '"0x' . '00' x 65 . '"', '"0x' . '11' x 63 . '"') . ']'
--- items
400 /signature signature must be a string of 0x and an even number of hex digits, for at most 4096 bytes
400 /signature signature must be a string of 0x and an even number of hex digits, for at most 4096 bytes
400 /signature signature must be a string of 0x and an even number of hex digits, for at most 4096 bytes
400 /signature signature must be a string of 0x and an even number of hex digits, for at most 4096 bytes
400 /signature signature must be a string of 0x and an even number of hex digits, for at most 4096 bytes
400 /signature signature must be a string of 0x and an even number of hex digits, for at most 4096 bytes
400 /signature signature must be a string of 0x and an even number of hex digits, for at most 4096 bytes
400 /signature signature must be a string of 0x and an even number of hex digits, for at most 4096 bytes
401 /signature the last byte of signature, v, must be 27, 28, 0 or 1, and no contract wallet at userId accepts it
401 /signature s of signature is in the upper half, where it is refused (EIP-2), and no contract wallet at userId accepts it
401 /signature signature was made by no key, and no contract wallet at userId accepts it
401 /signature signature was made by no key, and no contract wallet at userId accepts it
401 /signature signature must have 65 bytes (r, s, v) or 64 (EIP-2098), and no contract wallet at userId accepts it


=== TEST 45: who calls is no address, and cannot have signed
--- api_more
intent_signature optional; intent_user $http_x_user;
--- more_headers
X-User: alice
--- post eval
'{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"signature":"0x","expiresAt":' . (time + 86400) . '}'
--- error_code: 403
--- detail
signature must be the caller's own, whose name is no address
--- faults
/signature signature must be the caller's own, whose name is no address


=== TEST 46: an address is one user, in any case
--- api_more
intent_user $http_x_user;
--- more_headers
X-User: 0x70997970c51812dc3a010c7d01b50e0d17dc79c8
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"userId":"0x70997970C51812DC3A010C7D01B50E0D17DC79C8"}
--- response_body_like chomp
"userId":"0x70997970C51812dc3A010C7d01b50e0d17dc79C8"


=== TEST 47: a signature says whose it is
--- api_more
intent_signature optional;
--- post eval
'{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"signature":"0x","expiresAt":' . (time + 86400) . '}'
--- faults
/userId is required in a signed intent


=== TEST 48: also where intent_user says nothing
--- api_more
intent_signature optional; intent_user $http_x_user;
--- post eval
'{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"signature":"0x","expiresAt":' . (time + 86400) . '}'
--- faults
/userId is required in a signed intent


=== TEST 49: where intent_user says an address, that is whose it is
--- api_more
intent_signature optional; intent_user $http_x_user;
--- more_headers
X-User: 0x00000000219ab540356cBB839Cbe05303d7705Fa
--- post eval
'{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"signature":"0x","expiresAt":' . (time + 86400) . '}'
--- error_code: 401
--- faults
/signature signature must have 65 bytes (r, s, v) or 64 (EIP-2098), and no contract wallet at userId accepts it


=== TEST 50: the types, where intent_user says who calls
--- api_more
intent_signature required; intent_user $http_x_user;
--- request
GET /api/intents/types
--- type
{"schema.required":["type","params","expiresAt","signature"],
 "schema.dependentRequired":{"nonce":["signature"],"signature":["expiresAt"]}}


=== TEST 51: a deadline too far ahead
--- api_more
intent_signature optional;
--- post eval
'{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"userId":"0x00000000219ab540356cBB839Cbe05303d7705Fa","signature":"0x","expiresAt":' . (time + 31 * 86400 + 3600) . '}'
--- faults
/expiresAt expiresAt of a signed intent must be at most 31 days ahead


=== TEST 52: one just near enough
--- api_more
intent_signature optional;
--- post eval
'{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"userId":"0x00000000219ab540356cBB839Cbe05303d7705Fa","signature":"0x","expiresAt":' . (time + 31 * 86400 - 3600) . '}'
--- error_code: 401
--- faults
/signature signature must have 65 bytes (r, s, v) or 64 (EIP-2098), and no contract wallet at userId accepts it


=== TEST 53: without a signature it may be far ahead
--- api_more
intent_signature optional;
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"expiresAt":4102444800}


=== TEST 54: what calls ask of userId, expiresAt and nonce
--- intent_types
intent_type claim {
    label  claim;
    param  for  address  optional;
    call   to=$for function="f(address)" args=$user when=$for;
    call   to=$user function="f(uint32,uint8,uint16)" args=$deadline,$nonce,$nonce;
}
--- request
GET /api/intents/types
--- type
{"name":"claim","schema.allOf":[
 {"if":{"properties":{"params":{"type":"object","required":["for"]}}},
  "then":{"properties":{"userId":{"type":"string","pattern":"^0x[0-9a-fA-F]{40}$"}},
    "required":["userId"],
    "anyOf":[{"required":["signature"]},{"properties":{"userId":{"type":"string","format":"eip55"}}}]},
  "else":{"properties":{"userId":{"type":"string","pattern":"^0x[0-9a-fA-F]{40}$"},
      "expiresAt":{"anyOf":[{"type":"integer","maximum":4294967295},{"type":"string"}]},
      "nonce":{"allOf":[
        {"anyOf":[{"type":"string","pattern":"^(?:(?:[0-9]|(?:2(?:5[0-5]|[0-4][0-9])|1[0-9]{2})|[1-9][0-9]))$"},
          {"type":"integer","minimum":0,"maximum":255}]},
        {"anyOf":[{"type":"string","pattern":"^(?:(?:[0-9]|(?:6(?:5(?:5(?:3[0-5]|[0-2][0-9])|[0-4][0-9]{2})|[0-4][0-9]{3})|[1-5][0-9]{4})|[1-9][0-9]{1,3}))$"},
          {"type":"integer","minimum":0,"maximum":65535}]}]}},
    "required":["userId"],
    "anyOf":[{"required":["signature"]},{"properties":{"userId":{"type":"string","format":"eip55"}}}]}}]}


=== TEST 55: where intent_user says who calls, userId may be left out
--- api_more
intent_user $http_x_user;
--- intent_types
intent_type claim { label claim; call to=$user value=1; }
--- request
GET /api/intents/types
--- type
{"schema.required":["type","params"],
 "schema.allOf":[{"properties":{"userId":{"type":"string","pattern":"^0x[0-9a-fA-F]{40}$"}}}]}


=== TEST 56: a userId ends no header that it is in
--- api_more
add_header X-User $intent_user always;
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"userId":"a\r\nX-Evil: 1"}
--- response_headers
X-User: a\r\nX-Evil: 1
! X-Evil


=== TEST 57: what limit_except lets in is answered by the API
--- api_more
limit_except GET { allow 127.0.0.1; deny all; }
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}}
--- response_headers_like
Location: /api/intents/[0-9a-f-]{36}
