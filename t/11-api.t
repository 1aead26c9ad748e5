# intent_api: what nginx -t says of a wrong one, which answer each request gets,
# and what is said of each wrong body. Sections of this file:
#
#     --- emerg     what nginx says instead of starting
#     --- post      the body of a POST to /api/intents, application/json unless
#                   there is a section "more_headers"
#     --- detail    what a problem says, as application/problem+json
#     --- faults    pointer and detail of each member of "errors", one a line;
#                   the first of them is the problem's detail
#     --- kept      members of an intent that was taken

use strict;
use warnings;

use lib 't/lib';
use Intent 'no_plan';
use JSON::PP;
use Test::More;

add_block_preprocessor(sub {
    my $block = shift;

    if (defined(my $emerg = $block->emerg)) {
        $block->set_value(must_die => 1);
        $block->set_value(error_log => $emerg);
        return;
    }

    $block->set_value(no_error_log => "[alert]\n[crit]");

    if (defined(my $body = $block->post)) {
        chomp $body;
        $block->set_value(request => "POST /api/intents\n$body");
        $block->set_value(more_headers => 'Content-Type: application/json')
            unless defined $block->more_headers;
        $block->set_value(error_code => defined $block->faults ? 400 : 202)
            unless defined $block->error_code;
    }

    $block->set_value(response_headers => 'Content-Type: application/problem+json')
        if defined $block->faults || defined $block->detail
           and !defined $block->response_headers;
});

my %title = (400 => 'Bad Request', 403 => 'Forbidden', 404 => 'Not Found',
             401 => 'Unauthorized', 405 => 'Method Not Allowed', 409 => 'Conflict', 413 => 'Content Too Large',
             415 => 'Unsupported Media Type');

add_response_body_check(sub {
    my ($block, $body) = @_;

    my $detail = $block->detail;
    my $faults = $block->faults;
    my $name = $block->name;

    ($detail) = map { s/^\S* //r } grep { length } split /\n/, $faults
        if defined $faults && !defined $detail;

    if (defined $detail) {
        chomp $detail;
        my $problem = decode_json($body);

        is($problem->{type}, 'about:blank', "$name - type");
        is($problem->{title}, $title{ $block->error_code }, "$name - title");
        cmp_ok($problem->{status}, '==', $block->error_code, "$name - status");
        is($problem->{detail}, Encode::decode_utf8($detail), "$name - detail");
        is(join('', map { "$_->{pointer} $_->{detail}\n" } @{ $problem->{errors} // [] }),
           Encode::decode_utf8($faults // ''), "$name - faults");
    }

    if (defined $block->kept) {
        my $intent = decode_json($body);
        my $kept = decode_json($block->kept);

        is_deeply($intent->{$_}, $kept->{$_}, "$name - $_") for sort keys %$kept;
    }
});

repeat_each(1);
no_shuffle();
run_tests();

__DATA__

=== TEST 1: it needs a zone
--- intent_zone
--- emerg
intent_zone


=== TEST 2: it needs a store
--- intent_postgres
--- intent_chain
 
--- emerg
intent_api needs "intent_postgres", in which intents are kept


=== TEST 3: it needs a type
--- intent_types
 
--- emerg
intent_api needs an "intent_type"


=== TEST 4: it needs a chain
--- intent_chain
 
--- emerg
intent_api needs an "intent_chain"


=== TEST 5: its location is no regular expression
--- config_more
        location ~ ^/other { intent_api; }
--- emerg
"intent_api" directive cannot be used in a location given by a regular expression


=== TEST 6: its location is not a named one
--- config_more
        location @other { intent_api; }
--- emerg
"intent_api" directive cannot be used in a named location


=== TEST 7: it stands in a location
--- config_more
        intent_api;
--- emerg
"intent_api" directive is not allowed here


=== TEST 8: it is given once
--- api_more
intent_api;
--- emerg
"intent_api" directive is duplicate


=== TEST 9: intent_user is given once
--- api_more
intent_user a; intent_user b;
--- emerg
"intent_user" directive is duplicate


=== TEST 10: an intent is accepted
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}}
--- response_headers_like
Content-Type: application/json
Location: /api/intents/[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}
--- kept
{"type":"transfer","status":"pending","message":"Your request is being processed...","chain":"dev","userId":null,"params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"attempts":0,"txHash":null,"blockNumber":null,"confirmations":0,"gasUsed":null,"gasCost":null,"error":null,"version":1,"expiresAt":null}


=== TEST 11: a slash at the end is the same path
--- request
POST /api/intents/
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}}
--- more_headers
Content-Type: application/json
--- error_code: 202
--- kept
{"type":"transfer"}


=== TEST 12: a location may end with a slash
--- config_more
        location /v2/ { intent_api; }
--- request
POST /v2/
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}}
--- more_headers
Content-Type: application/json
--- error_code: 202
--- response_headers_like
Location: /v2/[-0-9a-f]{36}


=== TEST 13: Location is a path that can be asked for
--- config_more
        location "/a b" { intent_api; }
--- request
POST /a%20b
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}}
--- more_headers
Content-Type: application/json
--- error_code: 202
--- response_headers_like
Location: /a%20b/[-0-9a-f]{36}


=== TEST 14: an exact location takes intents
--- config_more
        location = /exact { intent_api; }
--- request
POST /exact
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}}
--- more_headers
Content-Type: application/json
--- error_code: 202
--- response_headers_like
Location: /exact/[-0-9a-f]{36}


=== TEST 15: the media type application/json; charset=utf-8
--- more_headers
Content-Type: application/json; charset=utf-8
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}}


=== TEST 16: the media type APPLICATION/JSON
--- more_headers
Content-Type: APPLICATION/JSON
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}}


=== TEST 17: the media type application/vnd.intent+json
--- more_headers
Content-Type: application/vnd.intent+json
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}}


=== TEST 18: the media type application/json ; a=b
--- more_headers
Content-Type: application/json ; a=b
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}}


=== TEST 19: the media type text/json is not taken
--- more_headers
Content-Type: text/json
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}}
--- error_code: 415
--- detail
the body must be application/json


=== TEST 20: the media type application/jsonx is not taken
--- more_headers
Content-Type: application/jsonx
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}}
--- error_code: 415
--- detail
the body must be application/json


=== TEST 21: the media type application/x-www-form-urlencoded is not taken
--- more_headers
Content-Type: application/x-www-form-urlencoded
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}}
--- error_code: 415
--- detail
the body must be application/json


=== TEST 22: the media type application/json+xml is not taken
--- more_headers
Content-Type: application/json+xml
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}}
--- error_code: 415
--- detail
the body must be application/json


=== TEST 23: a body without a media type is not taken
--- more_headers
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}}
--- error_code: 415
--- detail
the body must be application/json


=== TEST 24: the chain may be named
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"chain":"dev"}
--- kept
{"chain":"dev"}


=== TEST 25: a chain that does not exist
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"chain":"main"}
--- error_code: 400
--- faults
/chain unknown chain "main"


=== TEST 26: a chain without a name
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"chain":""}
--- error_code: 400
--- faults
/chain unknown chain ""


=== TEST 27: a chain that is a number
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"chain":1}
--- error_code: 400
--- faults
/chain chain must be a string


=== TEST 28: userId is kept
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"userId":"\u00e4 \"b\""}
--- kept
{"userId":"\u00e4 \"b\""}


=== TEST 29: userId is not empty
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"userId":""}
--- error_code: 400
--- faults
/userId userId must be a string of 1 to 256 characters


=== TEST 30: userId is a string
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"userId":7}
--- error_code: 400
--- faults
/userId userId must be a string of 1 to 256 characters


=== TEST 31: userId is not too long
--- post eval
'{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"userId":"' . "\xc3\xa4" x 257 . '"}'
--- error_code: 400
--- faults
/userId userId must be a string of 1 to 256 characters


=== TEST 32: userId may be as long as that, in characters
--- post eval
'{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"userId":"' . "\xf0\x9f\x98\x80" x 256 . '"}'
--- kept eval
'{"userId":"' . '\ud83d\ude00' x 256 . '"}' 


=== TEST 33: expiresAt "2099-01-31T09:00:00Z"
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"expiresAt":"2099-01-31T09:00:00Z"}
--- kept
{"expiresAt":"2099-01-31T09:00:00.000Z"}


=== TEST 34: expiresAt "2096-02-29t23:59:59.1239+05:30"
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"expiresAt":"2096-02-29t23:59:59.1239+05:30"}
--- kept
{"expiresAt":"2096-02-29T18:29:59.123Z"}


=== TEST 35: expiresAt "2098-12-31T23:59:60-00:30" is no time
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"expiresAt":"2098-12-31T23:59:60-00:30"}
--- error_code: 400
--- faults
/expiresAt expiresAt must be a time like "2030-01-31T09:00:00Z" (RFC 3339) or Unix seconds


=== TEST 36: expiresAt "9999-12-31T00:00:00Z" is no time
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"expiresAt":"9999-12-31T00:00:00Z"}
--- error_code: 400
--- faults
/expiresAt expiresAt must be a time like "2030-01-31T09:00:00Z" (RFC 3339) or Unix seconds


=== TEST 37: expiresAt 4.1024448e9
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"expiresAt":4.1024448e9}
--- kept
{"expiresAt":"2100-01-01T00:00:00.000Z"}


=== TEST 38: expiresAt 253402300799
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"expiresAt":253402300799}
--- kept
{"expiresAt":"9999-12-31T23:59:59.000Z"}


=== TEST 39: expiresAt 4102444800
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"expiresAt":4102444800}
--- kept
{"expiresAt":"2100-01-01T00:00:00.000Z"}


=== TEST 40: expiresAt "2020-01-31T09:00:00Z" has passed
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"expiresAt":"2020-01-31T09:00:00Z"}
--- error_code: 400
--- faults
/expiresAt expiresAt must be in the future


=== TEST 41: expiresAt 0 has passed
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"expiresAt":0}
--- error_code: 400
--- faults
/expiresAt expiresAt must be in the future


=== TEST 42: expiresAt 1606000000 has passed
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"expiresAt":1606000000}
--- error_code: 400
--- faults
/expiresAt expiresAt must be in the future


=== TEST 43: expiresAt "tomorrow" is no time
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"expiresAt":"tomorrow"}
--- error_code: 400
--- faults
/expiresAt expiresAt must be a time like "2030-01-31T09:00:00Z" (RFC 3339) or Unix seconds


=== TEST 44: expiresAt "2099-02-29T09:00:00Z" is no time
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"expiresAt":"2099-02-29T09:00:00Z"}
--- error_code: 400
--- faults
/expiresAt expiresAt must be a time like "2030-01-31T09:00:00Z" (RFC 3339) or Unix seconds


=== TEST 45: expiresAt "2099-01-31 09:00:00Z" is no time
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"expiresAt":"2099-01-31 09:00:00Z"}
--- error_code: 400
--- faults
/expiresAt expiresAt must be a time like "2030-01-31T09:00:00Z" (RFC 3339) or Unix seconds


=== TEST 46: expiresAt "2099-01-31T09:00:00" is no time
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"expiresAt":"2099-01-31T09:00:00"}
--- error_code: 400
--- faults
/expiresAt expiresAt must be a time like "2030-01-31T09:00:00Z" (RFC 3339) or Unix seconds


=== TEST 47: expiresAt "2099-01-31T24:00:00Z" is no time
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"expiresAt":"2099-01-31T24:00:00Z"}
--- error_code: 400
--- faults
/expiresAt expiresAt must be a time like "2030-01-31T09:00:00Z" (RFC 3339) or Unix seconds


=== TEST 48: expiresAt "2099-01-31T09:00:00.Z" is no time
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"expiresAt":"2099-01-31T09:00:00.Z"}
--- error_code: 400
--- faults
/expiresAt expiresAt must be a time like "2030-01-31T09:00:00Z" (RFC 3339) or Unix seconds


=== TEST 49: expiresAt "2099-13-01T09:00:00Z" is no time
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"expiresAt":"2099-13-01T09:00:00Z"}
--- error_code: 400
--- faults
/expiresAt expiresAt must be a time like "2030-01-31T09:00:00Z" (RFC 3339) or Unix seconds


=== TEST 50: expiresAt "9999-12-31T23:59:59-01:00" is no time
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"expiresAt":"9999-12-31T23:59:59-01:00"}
--- error_code: 400
--- faults
/expiresAt expiresAt must be a time like "2030-01-31T09:00:00Z" (RFC 3339) or Unix seconds


=== TEST 51: expiresAt 253402300800 is no time
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"expiresAt":253402300800}
--- error_code: 400
--- faults
/expiresAt expiresAt must be a time like "2030-01-31T09:00:00Z" (RFC 3339) or Unix seconds


=== TEST 52: expiresAt -1 is no time
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"expiresAt":-1}
--- error_code: 400
--- faults
/expiresAt expiresAt must be a time like "2030-01-31T09:00:00Z" (RFC 3339) or Unix seconds


=== TEST 53: expiresAt 4102444800.5 is no time
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"expiresAt":4102444800.5}
--- error_code: 400
--- faults
/expiresAt expiresAt must be a time like "2030-01-31T09:00:00Z" (RFC 3339) or Unix seconds


=== TEST 54: expiresAt null is no time
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"expiresAt":null}
--- error_code: 400
--- faults
/expiresAt expiresAt must be a time like "2030-01-31T09:00:00Z" (RFC 3339) or Unix seconds


=== TEST 55: expiresAt true is no time
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"expiresAt":true}
--- error_code: 400
--- faults
/expiresAt expiresAt must be a time like "2030-01-31T09:00:00Z" (RFC 3339) or Unix seconds


=== TEST 56: a nonce
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"nonce":1}
--- error_code: 400
--- faults
/nonce signatures are not enabled here


=== TEST 57: a signature
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"signature":"0x"}
--- error_code: 400
--- faults
/signature signatures are not enabled here


=== TEST 58: a member that is not known
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"amount":1}
--- error_code: 400
--- faults
/amount unknown member "amount"


=== TEST 59: a member that is not known, escaped
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"a~/\"\u0007":1}
--- error_code: 400
--- faults
/a~0~1" unknown member "a~/""


=== TEST 60: no members
--- post
{}
--- error_code: 400
--- faults
 Missing required fields
/type is required
/params is required


=== TEST 61: no type
--- post
{"params":{}}
--- error_code: 400
--- faults
 Missing required fields
/type is required


=== TEST 62: no params
--- post
{"type":"transfer"}
--- error_code: 400
--- faults
 Missing required fields
/params is required


=== TEST 63: a type that is not known
--- post
{"type":"swap","params":{"a":1}}
--- error_code: 400
--- faults
/type unknown type "swap"


=== TEST 64: a type that is a number
--- post
{"type":1,"params":{}}
--- error_code: 400
--- faults
/type type must be a string


=== TEST 65: no param
--- post
{"type":"transfer","params":{}}
--- error_code: 400
--- faults
/params Transfer requires recipient and amount
/params/recipient is required
/params/amount is required


=== TEST 66: an amount of zero
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"0"}}
--- error_code: 400
--- faults
/params/amount Transfer amount must be positive


=== TEST 67: every fault of a body
--- post
{"type":"transfer","params":{"amount":"0","x":1},"chain":"main","expiresAt":1,"y":2}
--- error_code: 400
--- faults
/params Transfer requires recipient and amount
/params/recipient is required
/params/amount Transfer amount must be positive
/params/x Transfer has no param "x"
/chain unknown chain "main"
/expiresAt expiresAt must be in the future
/y unknown member "y"


=== TEST 68: there is an end to telling faults
--- post eval
'{"type":"transfer","params":{' . CORE::join(',', map { "\"p$_\":1" } 1 .. 500) . '}}'
--- error_code: 400
--- faults eval
"/params Transfer requires recipient and amount\n/params/recipient is required\n/params/amount is required\n"
. CORE::join '', map { "/params/p$_ Transfer has no param \"p$_\"\n" } 1 .. 97


=== TEST 69: an empty body
--- request
POST /api/intents
--- more_headers
Content-Type: application/json
Content-Length: 0
--- error_code: 400
--- faults
 the body is empty, it must be a JSON object


=== TEST 70: an array, where none is taken
--- api_more
intent_batch 0;
--- post
[{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}}]
--- error_code: 400
--- faults
 the body must be a JSON object


=== TEST 71: a number
--- post
5
--- error_code: 400
--- faults
 the body cannot be read as JSON: '[' or '{' expected near '5', at line 1, column 1 (byte 1)


=== TEST 72: something after the body
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}} x
--- error_code: 400
--- faults
 the body cannot be read as JSON: end of file expected near 'x', at line 1, column 102 (byte 102)


=== TEST 73: a member twice
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"type":"transfer"}
--- error_code: 400
--- faults
 the body cannot be read as JSON: duplicate object key near '"type"', at line 1, column 106 (byte 106)


=== TEST 74: a param twice
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5","amount":"6"}}
--- error_code: 400
--- faults
 the body cannot be read as JSON: duplicate object key near '"amount"', at line 1, column 107 (byte 107)


=== TEST 75: a fault in the third line
--- post
{

  "a": x}
--- error_code: 400
--- faults
 the body cannot be read as JSON: invalid token near 'x', at line 3, column 8 (byte 11)


=== TEST 76: a real number that is too large
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":1e400}}
--- error_code: 400
--- faults
 the body cannot be read as JSON: real number overflow near '1e400', at line 1, column 100 (byte 100)


=== TEST 77: an integer that is too large for JSON
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":18446744073709551616}}
--- error_code: 400
--- faults
 the body cannot be read as JSON: too big integer near '18446744073709551616', at line 1, column 115 (byte 115)


=== TEST 78: a NUL character
--- post
{"type":"\u0000"}
--- error_code: 400
--- faults
 the body cannot be read as JSON: \u0000 is not allowed, at line 1, column 16 (byte 16)


=== TEST 79: a NUL byte
--- post eval
"{\"a\":\0}"
--- error_code: 400
--- faults
 the body cannot be read as JSON: a NUL byte, at line 1, column 6 (byte 6)


=== TEST 80: invalid UTF-8
--- post eval
"{\"a\":\"\xff\"}"
--- error_code: 400
--- faults
 the body cannot be read as JSON: unable to decode byte 0xff near '"', at line 1, column 7 (byte 7)


=== TEST 81: half a surrogate pair
--- post
{"a":"\ud800"}
--- error_code: 400
--- faults
 the body cannot be read as JSON: invalid Unicode '\uD800' near '"\ud800"', at line 1, column 13 (byte 13)


=== TEST 82: seventeen levels
--- post
[[[[[[[[[[[[[[[[[
--- error_code: 400
--- faults
 the body cannot be read as JSON: more than 16 levels, at line 1, column 17 (byte 17)


=== TEST 83: an object that does not end
--- post
{"type":"transfer"
--- error_code: 400
--- faults
 the body cannot be read as JSON: '}' expected near end of file, at line 1, column 18 (byte 18)


=== TEST 84: two bodies
--- post
{"a":1}{"b":2}
--- error_code: 400
--- faults
 the body cannot be read as JSON: end of file expected near '{', at line 1, column 8 (byte 8)


=== TEST 85: a comma too many
--- post
{"a":1,}
--- error_code: 400
--- faults
 the body cannot be read as JSON: string or '}' expected near '}', at line 1, column 8 (byte 8)


=== TEST 86: a byte order mark
--- post eval
"\xef\xbb\xbf{}"
--- error_code: 400
--- faults
 the body cannot be read as JSON: a byte order mark, at line 1, column 1 (byte 1)


=== TEST 87: an overlong encoding
--- post eval
"{\"a\":\"\xc0\x80\"}"
--- error_code: 400
--- faults
 the body cannot be read as JSON: unable to decode byte 0xc0 near '"', at line 1, column 7 (byte 7)


=== TEST 88: a control character in a string
--- post eval
"{\"a\":\"\x01\"}"
--- error_code: 400
--- faults
 the body cannot be read as JSON: control character 0x1 near '"', at line 1, column 6 (byte 6)


=== TEST 89: a NUL character in a member's name
--- post
{"a\u0000b":1}
--- error_code: 400
--- faults
 the body cannot be read as JSON: NUL byte in object key not supported near '"a\u0000b"', at line 1, column 11 (byte 11)


=== TEST 90: a member twice, deep inside
--- post
{"type":"transfer","params":{"x":[{"y":1,"y":2}]}}
--- error_code: 400
--- faults
 the body cannot be read as JSON: duplicate object key near '"y"', at line 1, column 44 (byte 44)


=== TEST 91: not a number
--- post
{"a":NaN}
--- error_code: 400
--- faults
 the body cannot be read as JSON: invalid token near 'NaN', at line 1, column 8 (byte 8)


=== TEST 92: a number with a leading zero
--- post
{"a":01}
--- error_code: 400
--- faults
 the body cannot be read as JSON: invalid token near '0', at line 1, column 6 (byte 6)


=== TEST 93: brackets in a string are no levels
--- post
{"a":"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["}
--- error_code: 400
--- faults
 Missing required fields
/type is required
/params is required
/a unknown member "a"


=== TEST 94: a body larger than client_body_buffer_size
--- api_more
client_body_buffer_size 64;
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}}
--- error_code: 413
--- detail
the body is larger than this server takes


=== TEST 95: a body larger than client_max_body_size
--- api_more
client_max_body_size 64;
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}}
--- error_code: 413
--- detail
the body is larger than this server takes


=== TEST 96: a body as large as client_max_body_size
--- api_more
client_max_body_size 100;
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}}


=== TEST 97: client_max_body_size 0 is no limit but the buffer
--- api_more
client_max_body_size 0;
--- post eval
'{' . ' ' x 100_000 . '}'
--- error_code: 413
--- detail
the body is larger than this server takes


=== TEST 98: a body in chunks
--- raw_request eval
"POST /api/intents HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
. CORE::join('', map { sprintf "1\r\n%s\r\n", $_ } split //, '{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}}') . "0\r\n\r\n"
--- error_code: 202


=== TEST 99: a body in chunks that is too large
--- api_more
client_max_body_size 64;
--- raw_request eval
"POST /api/intents HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
. "40\r\n" . ' ' x 64 . "\r\n1\r\n \r\n0\r\n\r\n"
--- error_code: 413
--- detail
the body is larger than this server takes


=== TEST 100: a body in chunks that are none
--- raw_request eval
"POST /api/intents HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
--- error_code: 400
--- detail
the body is not framed as HTTP demands


=== TEST 101: GET of the collection by nobody
--- request
GET /api/intents
--- error_code: 403
--- detail
only a known caller has intents to be listed


=== TEST 102: PUT of the collection
--- request
PUT /api/intents
--- error_code: 405
--- response_headers
Allow: GET, HEAD, POST
Content-Type: application/problem+json
--- detail
this path does not take the method


=== TEST 103: DELETE of the collection
--- request
DELETE /api/intents
--- error_code: 405
--- response_headers
Allow: GET, HEAD, POST
Content-Type: application/problem+json
--- detail
this path does not take the method


=== TEST 104: PATCH of the collection
--- request
PATCH /api/intents
--- error_code: 405
--- response_headers
Allow: GET, HEAD, POST
Content-Type: application/problem+json
--- detail
this path does not take the method


=== TEST 105: OPTIONS of the collection
--- request
OPTIONS /api/intents
--- error_code: 405
--- response_headers
Allow: GET, HEAD, POST
Content-Type: application/problem+json
--- detail
this path does not take the method


=== TEST 106: POST of an intent
--- request
POST /api/intents/01a202f9-7fed-73f4-a678-b3056b437c87
--- error_code: 405
--- response_headers
Allow: GET, HEAD, DELETE
Content-Type: application/problem+json
--- detail
this path does not take the method


=== TEST 107: PUT of an intent
--- request
PUT /api/intents/01a202f9-7fed-73f4-a678-b3056b437c87
--- error_code: 405
--- response_headers
Allow: GET, HEAD, DELETE
Content-Type: application/problem+json
--- detail
this path does not take the method


=== TEST 108: POST of the types
--- request
POST /api/intents/types
--- error_code: 405
--- response_headers
Allow: GET, HEAD
Content-Type: application/problem+json
--- detail
this path does not take the method


=== TEST 109: intent_signature has three values
--- api_more
intent_signature on;
--- emerg
invalid value "on"


=== TEST 110: intent_batch has an end
--- api_more
intent_batch 1001;
--- emerg
value must be between 0 and 1000


=== TEST 111: intent_batch is a number
--- api_more
intent_batch many;
--- emerg
"intent_batch" directive invalid number


=== TEST 112: an intent that does not exist
--- request
GET /api/intents/00000000-0000-7000-8000-000000000000
--- error_code: 404
--- detail
there is no such intent


=== TEST 113: nothing is at /api/intents/1
--- request
GET /api/intents/1
--- error_code: 404
--- detail
there is nothing at this path


=== TEST 114: nothing is at /api/intents/01a202f9-7fed-73f4-a678-b3056b437c8
--- request
GET /api/intents/01a202f9-7fed-73f4-a678-b3056b437c8
--- error_code: 404
--- detail
there is nothing at this path


=== TEST 115: nothing is at /api/intents/01a202f9-7fed-73f4-a678-b3056b437c87/
--- request
GET /api/intents/01a202f9-7fed-73f4-a678-b3056b437c87/
--- error_code: 404
--- detail
there is nothing at this path


=== TEST 116: nothing is at /api/intentsx
--- request
GET /api/intentsx
--- error_code: 404
--- detail
there is nothing at this path


=== TEST 117: nothing is at /api/intents/01a202f9-7fed-73f4-a678-b3056b437c87/x
--- request
GET /api/intents/01a202f9-7fed-73f4-a678-b3056b437c87/x
--- error_code: 404
--- detail
there is nothing at this path


=== TEST 118: HEAD of what does not exist has no body
--- request
HEAD /api/intents/1
--- error_code: 404
--- response_headers
Content-Type: application/problem+json


=== TEST 119: intent_user says who calls
--- api_more
intent_user $http_x_user;
--- more_headers
Content-Type: application/json
X-User: alice
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}}
--- kept
{"userId":"alice"}


=== TEST 120: userId may repeat it
--- api_more
intent_user $http_x_user;
--- more_headers
Content-Type: application/json
X-User: alice
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"userId":"alice"}
--- kept
{"userId":"alice"}


=== TEST 121: userId cannot be another
--- api_more
intent_user $http_x_user;
--- more_headers
Content-Type: application/json
X-User: alice
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"userId":"bob"}
--- error_code: 403
--- faults
/userId userId must be the caller's own


=== TEST 122: nobody cannot be somebody
--- api_more
intent_user $http_x_user;
--- more_headers
Content-Type: application/json
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"},"userId":"bob"}
--- error_code: 403
--- faults
/userId userId must be the caller's own


=== TEST 123: nobody may call
--- api_more
intent_user $http_x_user;
--- more_headers
Content-Type: application/json
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}}
--- kept
{"userId":null}


=== TEST 124: a caller has a name in UTF-8
--- api_more
intent_user $http_x_user;
--- more_headers eval
"Content-Type: application/json\nX-User: \xff"
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}}
--- error_code: 403
--- detail
the caller's name must be UTF-8 of up to 256 characters


=== TEST 125: intent_user may be inherited
--- config_more
        intent_user $http_x_user;
--- more_headers
Content-Type: application/json
X-User: alice
--- post
{"type":"transfer","params":{"recipient":"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"5"}}
--- kept
{"userId":"alice"}


=== TEST 126: an "if" in the location is the same API
--- api_more
if ($http_x_user) { set $x 1; } client_max_body_size 1k;
--- more_headers
Content-Type: application/json
X-User: alice
--- post eval
'{' . ' ' x 2000 . '}'
--- error_code: 413
--- detail
the body is larger than this server takes
