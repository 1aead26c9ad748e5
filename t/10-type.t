# intent_type: what nginx -t says of a wrong one, and what params of a right one
# may be. Sections of this file:
#
#     --- type      the lines of a block "intent_type x"
#     --- emerg     what nginx says instead of starting
#     --- params    the params of an intent of type x that is POSTed
#     --- kept      the params that the answer shows
#     --- faults    pointer and detail of each member of "errors", one a line

use strict;
use warnings;

use lib 't/lib';
use Intent 'no_plan';
use JSON::PP;
use Test::More;

add_block_preprocessor(sub {
    my $block = shift;

    $block->set_value(intent_types => "    intent_type x {\n" . $block->type . "    }\n")
        if defined $block->type;

    if (defined(my $emerg = $block->emerg)) {
        $block->set_value(must_die => 1);
        $block->set_value(error_log => $emerg);
        return;
    }

    if (defined(my $params = $block->params)) {
        chomp $params;
        $block->set_value(request => "POST /api/intents\n{\"type\":\"x\",\"params\":$params"
                          . ($block->members // '') . '}');
        $block->set_value(more_headers => 'Content-Type: application/json');
        $block->set_value(error_code => defined $block->faults ? 400 : 202);
        $block->set_value(no_error_log => "[alert]\n[crit]");
    }
});

add_response_body_check(sub {
    my ($block, $body) = @_;

    my $answer = decode_json($body);

    if (defined(my $kept = $block->kept)) {
        is_deeply($answer->{params}, decode_json($kept), $block->name . ' - params');
    }

    if (defined(my $faults = $block->faults)) {
        is(join('', map { "$_->{pointer} $_->{detail}\n" } @{ $answer->{errors} }),
           Encode::decode_utf8($faults), $block->name . ' - faults');
    }
});

repeat_each(1);
no_shuffle();
run_tests();

__DATA__

=== TEST 1: a type has a name of its own
--- intent_types
    intent_type x { call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1; }
    intent_type x { call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1; }
--- emerg
duplicate intent_type "x", each needs a name of its own


=== TEST 2: a type's name is an identifier
--- intent_types
    intent_type a.b { call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1; }
--- emerg
invalid intent_type name "a.b", it should be up to 64 letters, digits and "_"


=== TEST 3: a type has a call
--- type
        param  a  address;
--- emerg
no "call" in intent_type "x", it should say what such an intent does


=== TEST 4: a label is not empty
--- type
        label  "";
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- emerg
"label" directive is empty, it should be what users call such an intent


=== TEST 5: a label is given once
--- type
        label  a;
        label  b;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- emerg
"label" directive is duplicate


=== TEST 6: a chain is given once
--- type
        chain  dev;
        chain  dev;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- emerg
"chain" directive is duplicate


=== TEST 7: a type's chain exists
--- type
        chain  elsewhere;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- emerg
there is no intent_chain "elsewhere" for intent_type "x" in 


=== TEST 8: other directives do not belong here
--- type
        root  html;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- emerg
"root" directive is not allowed here


=== TEST 9: a param's name is an identifier
--- type
        param  1a  address;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- emerg
invalid param name "1a", it should be up to 64 letters, digits and "_", no digit first


=== TEST 10: a param is not called user
--- type
        param  user  string;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- emerg
param cannot be called "user", for "$user" in a call means something else


=== TEST 11: a param is declared once
--- type
        param  a  address;
        param  a  uint256;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- emerg
duplicate param "a" in intent_type "x", each needs a name of its own


=== TEST 12: a param has a known type
--- type
        param  a  uint8;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- emerg
unknown type "uint8" of param "a", it should be address, uint256, int256, decimal=N, bytes, bytes32, bool, string or enum=a|b|c


=== TEST 13: only some types have an argument
--- type
        param  a  address=1;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- emerg
invalid type "address=1" of param "a", it should have no "="


=== TEST 14: bytes32 has no argument
--- type
        param  a  bytes32=1;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- emerg
invalid type "bytes32=1" of param "a", it should be bytes32 alone


=== TEST 15: decimal has places
--- type
        param  a  decimal;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- emerg
invalid type "decimal" of param "a", it should be decimal=N, with 1 to 77 places


=== TEST 16: decimal has not too many places
--- type
        param  a  decimal=78;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- emerg
invalid type "decimal=78" of param "a", it should be decimal=N, with 1 to 77 places


=== TEST 17: enum has words
--- type
        param  a  enum=;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- emerg
invalid type "enum=" of param "a", it should be enum=a|b|c


=== TEST 18: enum has no empty words
--- type
        param  a  enum=a||b;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- emerg
invalid type "enum=a||b" of param "a", it should be enum=a|b|c


=== TEST 19: a param has known words
--- type
        param  a  uint256  positiv;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- emerg
unknown word "positiv" of param "a", it should be optional, default=, positive, min=, max= or length=


=== TEST 20: positive is for numbers
--- type
        param  a  address  positive;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- emerg
"positive" of param "a" has no meaning for type "address"


=== TEST 21: min is for numbers
--- type
        param  a  string  min=1;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- emerg
"min=1" of param "a" has no meaning for type "string"


=== TEST 22: length is not for numbers
--- type
        param  a  uint256  length=1;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- emerg
"length=1" of param "a" has no meaning for type "uint256"


=== TEST 23: min is of the param's type
--- type
        param  a  uint256  min=-1;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- emerg
invalid value "-1" for param "a", it must not be negative


=== TEST 24: min is not above max
--- type
        param  a  uint256  min=2 max=1;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- emerg
"min=" of param "a" is above its "max=", it should be below


=== TEST 25: length is a range
--- type
        param  a  string  length=5-1;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- emerg
invalid "length=5-1" of param "a", it should be like length=32 or length=1-64


=== TEST 26: a default is of the param's type
--- type
        param  a  bool  default=yes;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- emerg
invalid value "yes" for param "a", it must be true or false


=== TEST 27: a default obeys the constraints
--- type
        param  a  uint256  default=0  positive;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- emerg
the default of param "a" must be positive


=== TEST 28: a call has to=
--- type
        call   value=1;
--- emerg
no "to=" of call, it should be an address or a param of type address


=== TEST 29: a call does something
--- type
        param  a  address;
        call   to=$a;
--- emerg
call does nothing, it should have "value=" or "function="


=== TEST 30: a call has known words
--- type
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa vaule=1;
--- emerg
unknown word "vaule=1" of call, it should be to=, value=, function=, args=, gas=, when= or unless=


=== TEST 31: a word of a call is given once
--- type
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1 value=2;
--- emerg
duplicate "value=" of call


=== TEST 32: a call's param is declared
--- type
        call   to=$a value=1;
--- emerg
unknown param "$a" in to= of call, it should be declared above, like "param a address;"


=== TEST 33: an argument's param is declared
--- type
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa function="f(uint8)" args=$n;
--- emerg
unknown param "$n" in argument 1 of call, it should be declared above, like "param n uint8;"


=== TEST 34: to= is an address
--- type
        param  a  uint256;
        call   to=$a value=1;
--- emerg
param "a" does not fit to= of call: it is of type "uint256" and should fit "address"


=== TEST 35: to= has the right checksum
--- type
        call   to=0x00000000219ab540356cBB839Cbe05303d7705FA value=1;
--- emerg
invalid "0x00000000219ab540356cBB839Cbe05303d7705FA" for to= of call


=== TEST 36: value= is a number
--- type
        param  a  address;
        call   to=$a value=$a;
--- emerg
param "a" does not fit value= of call: it is of type "address" and should fit "uint256"


=== TEST 37: value= is not an enum
--- type
        param  a  enum=x|y;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=$a;
--- emerg
param "a" does not fit value= of call: it is of type "enum" and should fit "uint256"


=== TEST 38: a literal value= is a number
--- type
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1eth;
--- emerg
invalid "1eth" for value= of call, it should be a param like "$name", or a literal, which must be a whole number


=== TEST 39: a function has a form
--- type
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa function=transfer;
--- emerg
invalid function "transfer" of call: must be of the form name(type,type)


=== TEST 40: a function has no spaces
--- type
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa function="transfer(address,uint256 )";
--- emerg
unknown word ")"" of call


=== TEST 41: a function has known types
--- type
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa function="f(uint7)" args=1;
--- emerg
invalid function "f(uint7)" of call: the types are address, bool, string, bytes


=== TEST 42: arrays are not supported
--- type
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa function="f(uint8[])" args=1;
--- emerg
invalid function "f(uint8[])" of call: arrays and tuples are not supported


=== TEST 43: a function gets all its arguments
--- type
        param  a  address;
        call   to=$a function="f(address,uint256)" args=$a;
--- emerg
function "f(address,uint256)" of call takes 2 arguments, "args=" gives 1; it should give one for each


=== TEST 44: a function gets no arguments too many
--- type
        param  a  address;
        call   to=$a function="f()" args=$a;
--- emerg
function "f()" of call takes 0 arguments, "args=" gives 1


=== TEST 45: arguments need a function
--- type
        param  a  address;
        call   to=$a value=1 args=$a;
--- emerg
"args=" of call without a "function=", it should have both


=== TEST 46: an address does not fit a number
--- type
        param  a  address;
        call   to=$a function="f(uint256)" args=$a;
--- emerg
param "a" does not fit argument 1 of call: it is of type "address" and should fit "uint256"


=== TEST 47: a number does not fit an address
--- type
        param  a  uint256;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa function="f(bool,address)" args=true,$a;
--- emerg
param "a" does not fit argument 2 of call: it is of type "uint256" and should fit "address"


=== TEST 48: bytes of any length do not fit bytes4
--- type
        param  a  bytes;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa function="f(bytes4)" args=$a;
--- emerg
param "a" does not fit argument 1 of call: it is of type "bytes" and should fit "bytes4"


=== TEST 49: a literal fits its argument
--- type
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa function="f(uint8)" args=256;
--- emerg
"256" for argument 1 of call does not fit, it should have no more bits than the function takes


=== TEST 50: a literal is of its argument's type
--- type
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa function="f(bool)" args=1;
--- emerg
invalid "1" for argument 1 of call, it should be a param like "$name", or a literal, which must be true or false


=== TEST 51: $user is a string or an address
--- type
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa function="f(uint256)" args=$user;
--- emerg
"$user" does not fit argument 1 of call, it should be used where the function takes a string or an address


=== TEST 52: $deadline is not an amount
--- type
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=$deadline;
--- emerg
"$deadline" does not fit value= of call


=== TEST 53: an optional param is guarded
--- type
        param  a  address  optional;
        call   to=$a value=1;
--- emerg
call uses the optional param "a", it should have "when=$a", or the param a "default="


=== TEST 54: unless= does not guard a param
--- type
        param  a  address  optional;
        call   to=$a value=1 unless=$a;
--- emerg
call uses the optional param "a", it should have "when=$a"


=== TEST 55: when= names a param
--- type
        param  a  address;
        call   to=$a value=1 when=$b;
--- emerg
invalid "when=$b" of call, it should name a param above it in intent_type "x"


=== TEST 56: when= names a param with a dollar
--- type
        param  a  address;
        call   to=$a value=1 when=a;
--- emerg
invalid "when=a" of call, it should name a param above it


=== TEST 57: unless= of a required param never holds
--- type
        param  a  address;
        call   to=$a value=1 unless=$a;
--- emerg
call with "unless=$a" is never made, for the param is always there


=== TEST 58: when= and unless= of one param never hold
--- type
        param  a  address  optional;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1 when=$a unless=$a;
--- emerg
call is never made, "when=" and "unless=" should not name the same param


=== TEST 59: no call stands after one that always holds
--- type
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- emerg
call is never made, for a call before it holds whenever it does


=== TEST 60: gas is a number
--- type
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1 gas=lots;
--- emerg
invalid "gas=lots" of call, it should be a number of gas from 21000 on


=== TEST 61: gas is enough for a transaction
--- type
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1 gas=20999;
--- emerg
invalid "gas=20999" of call


=== TEST 62: an address gets its checksum
--- type
        param  a  address;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":"0x00000000219ab540356cbb839cbe05303d7705fa"}
--- kept
{"a":"0x00000000219ab540356cBB839Cbe05303d7705Fa"}


=== TEST 63: an address may be all upper case
--- type
        param  a  address;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":"0x00000000219AB540356CBB839CBE05303D7705FA"}
--- kept
{"a":"0x00000000219ab540356cBB839Cbe05303d7705Fa"}


=== TEST 64: an address with a wrong checksum
--- type
        param  a  address;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":"0x00000000219ab540356cBB839Cbe05303d7705FA"}
--- faults
/params/a X a is in mixed case and does not match its EIP-55 checksum


=== TEST 65: an address that is too short
--- type
        param  a  address;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":"0x12"}
--- faults
/params/a X a must be an address, a string of 0x and 40 hex digits


=== TEST 66: an address without 0x
--- type
        param  a  address;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":"00000000219ab540356cBB839Cbe05303d7705Fa00"}
--- faults
/params/a X a must be an address, a string of 0x and 40 hex digits


=== TEST 67: an address that is a number
--- type
        param  a  address;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":5}
--- faults
/params/a X a must be an address, a string of 0x and 40 hex digits


=== TEST 68: an address that is null
--- type
        param  a  address;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":null}
--- faults
/params/a X a must be an address, a string of 0x and 40 hex digits


=== TEST 69: a number is kept as a string
--- type
        param  a  uint256;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":5}
--- kept
{"a":"5"}


=== TEST 70: the largest number
--- type
        param  a  uint256;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":"115792089237316195423570985008687907853269984665640564039457584007913129639935"}
--- kept
{"a":"115792089237316195423570985008687907853269984665640564039457584007913129639935"}


=== TEST 71: a number of more than 256 bits
--- type
        param  a  uint256;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":"115792089237316195423570985008687907853269984665640564039457584007913129639936"}
--- faults
/params/a X a must be below 2^256


=== TEST 72: a number below zero
--- type
        param  a  uint256;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":"-1"}
--- faults
/params/a X a must not be negative


=== TEST 73: a JSON number below zero
--- type
        param  a  uint256;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":-1}
--- faults
/params/a X a must not be negative


=== TEST 74: a number with a fraction
--- type
        param  a  uint256;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":1.5}
--- faults
/params/a X a must be a whole number, in a string of decimal digits, for a JSON number with a fraction or an exponent is not exact everywhere


=== TEST 75: a number with leading zeros
--- type
        param  a  uint256;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":"007"}
--- faults
/params/a X a must be a whole number, in a string of decimal digits


=== TEST 76: a number in hexadecimal
--- type
        param  a  uint256;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":"0x10"}
--- faults
/params/a X a must be a whole number, in a string of decimal digits


=== TEST 77: an empty number
--- type
        param  a  uint256;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":""}
--- faults
/params/a X a must be a whole number, in a string of decimal digits


=== TEST 78: a number that is an object
--- type
        param  a  uint256;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":{}}
--- faults
/params/a X a must be a whole number, in a string of decimal digits


=== TEST 79: the largest JSON number that is exact everywhere
--- type
        param  a  uint256;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":9007199254740991}
--- kept
{"a":"9007199254740991"}


=== TEST 80: a JSON number that is not exact everywhere
--- type
        param  a  uint256;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":9007199254740992}
--- faults
/params/a X a must be in a string, for a JSON number of this size is not exact everywhere


=== TEST 81: zero is not positive
--- type
        param  a  uint256  positive;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":"0"}
--- faults
/params/a X a must be positive


=== TEST 82: less than min
--- type
        param  a  uint256  min=5;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":"4"}
--- faults
/params/a X a must be at least 5


=== TEST 83: more than max
--- type
        param  a  uint256  max=5;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":"6"}
--- faults
/params/a X a must be at most 5


=== TEST 84: as much as min and max
--- type
        param  a  uint256  min=5 max=5;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":"5"}
--- kept
{"a":"5"}


=== TEST 85: the least int256
--- type
        param  a  int256;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":"-57896044618658097711785492504343953926634992332820282019728792003956564819968"}
--- kept
{"a":"-57896044618658097711785492504343953926634992332820282019728792003956564819968"}


=== TEST 86: less than an int256
--- type
        param  a  int256;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":"-57896044618658097711785492504343953926634992332820282019728792003956564819969"}
--- faults
/params/a X a must be from -2^255 to 2^255 - 1


=== TEST 87: more than an int256
--- type
        param  a  int256;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":"57896044618658097711785492504343953926634992332820282019728792003956564819968"}
--- faults
/params/a X a must be from -2^255 to 2^255 - 1


=== TEST 88: minus zero
--- type
        param  a  int256;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":"-0"}
--- faults
/params/a X a must be a whole number, in a string of decimal digits


=== TEST 89: an int256 less than a min below zero
--- type
        param  a  int256  min=-5;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":-6}
--- faults
/params/a X a must be at least -5


=== TEST 90: an int256 that is not positive
--- type
        param  a  int256  positive;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":"-1"}
--- faults
/params/a X a must be positive


=== TEST 91: a decimal loses its last zeros
--- type
        param  a  decimal=18;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":"1.50"}
--- kept
{"a":"1.5"}


=== TEST 92: a decimal without a fraction
--- type
        param  a  decimal=18;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":"5.000"}
--- kept
{"a":"5"}


=== TEST 93: the smallest decimal
--- type
        param  a  decimal=18  positive;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":"0.000000000000000001"}
--- kept
{"a":"0.000000000000000001"}


=== TEST 94: the largest decimal
--- type
        param  a  decimal=18;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":"115792089237316195423570985008687907853269984665640564039457.584007913129639935"}
--- kept
{"a":"115792089237316195423570985008687907853269984665640564039457.584007913129639935"}


=== TEST 95: a decimal that is too large when scaled
--- type
        param  a  decimal=18;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":"115792089237316195423570985008687907853269984665640564039457.584007913129639936"}
--- faults
/params/a X a must be below 2^256 when it is scaled


=== TEST 96: a decimal with too many places
--- type
        param  a  decimal=2;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":"1.005"}
--- faults
/params/a X a must be a number like "1.5" with at most 2 places, in a string of decimal digits


=== TEST 97: a decimal without a digit before the point
--- type
        param  a  decimal=2;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":".5"}
--- faults
/params/a X a must be a number like "1.5" with at most 2 places, in a string of decimal digits


=== TEST 98: a decimal without a digit after the point
--- type
        param  a  decimal=2;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":"5."}
--- faults
/params/a X a must be a number like "1.5" with at most 2 places, in a string of decimal digits


=== TEST 99: a decimal with an exponent
--- type
        param  a  decimal=2;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":"1e5"}
--- faults
/params/a X a must be a number like "1.5" with at most 2 places, in a string of decimal digits


=== TEST 100: a decimal that is a JSON number with a fraction
--- type
        param  a  decimal=2;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":1.5}
--- faults
/params/a X a must be a number like "1.5" with at most 2 places, in a string of decimal digits, for a JSON number with a fraction or an exponent is not exact everywhere


=== TEST 101: a decimal below its min
--- type
        param  a  decimal=2  min=0.5;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":"0.49"}
--- faults
/params/a X a must be at least 0.5


=== TEST 102: bytes are kept in lower case
--- type
        param  a  bytes;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":"0xABcd"}
--- kept
{"a":"0xabcd"}


=== TEST 103: no bytes
--- type
        param  a  bytes;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":"0x"}
--- kept
{"a":"0x"}


=== TEST 104: half a byte
--- type
        param  a  bytes;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":"0xabc"}
--- faults
/params/a X a must be a string of 0x and an even number of hex digits


=== TEST 105: too many bytes
--- type
        param  a  bytes  length=1-2;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":"0xabcdef"}
--- faults
/params/a X a must have 1 to 2 bytes


=== TEST 106: too few bytes
--- type
        param  a  bytes  length=4;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":"0xabcdef"}
--- faults
/params/a X a must have 4 bytes


=== TEST 107: bytes32
--- type
        param  a  bytes32;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":"0x1F1F1F1F1F1F1F1F1F1F1F1F1F1F1F1F1F1F1F1F1F1F1F1F1F1F1F1F1F1F1F1F"}
--- kept
{"a":"0x1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f"}


=== TEST 108: bytes32 of 31 bytes
--- type
        param  a  bytes32;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":"0x1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f"}
--- faults
/params/a X a must be a string of 0x and 64 hex digits


=== TEST 109: a bool
--- type
        param  a  bool;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":true}
--- kept
{"a":true}


=== TEST 110: a bool that is a string
--- type
        param  a  bool;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":"true"}
--- faults
/params/a X a must be true or false


=== TEST 111: a string with everything in it
--- type
        param  a  string;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":"\"\\\n\u001f\u00e4\ud83d\ude00"}
--- kept
{"a":"\"\\\n\u001f\u00e4\ud83d\ude00"}


=== TEST 112: a string is counted in characters
--- type
        param  a  string  length=3;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":"\u00e4\u20ac\ud83d\ude00"}
--- kept
{"a":"\u00e4\u20ac\ud83d\ude00"}


=== TEST 113: a string that is too long
--- type
        param  a  string  length=1-3;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":"four"}
--- faults
/params/a X a must have 1 to 3 characters


=== TEST 114: a string that is a number
--- type
        param  a  string;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":5}
--- faults
/params/a X a must be a string


=== TEST 115: a word of an enum
--- type
        param  a  enum=buy|sell;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":"sell"}
--- kept
{"a":"sell"}


=== TEST 116: another word than those of an enum
--- type
        param  a  enum=buy|sell|hold;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":"Sell"}
--- faults
/params/a X a must be one of buy, sell and hold


=== TEST 117: a default is kept with the intent
--- type
        param  a  uint256  default=7;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{}
--- kept
{"a":"7"}


=== TEST 118: a default gives way
--- type
        param  a  uint256  default=7;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":8}
--- kept
{"a":"8"}


=== TEST 119: an optional param that is not there is not kept
--- type
        param  a  uint256  optional;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{}
--- kept
{}


=== TEST 120: all required params are named
--- type
        param  a  address;
        param  b  uint256;
        param  c  bool  optional;
        param  d  string;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"b":"1"}
--- faults
/params X requires a, b and d
/params/a is required
/params/d is required


=== TEST 121: the label is what users read
--- type
        label  "big swap";
        param  a  uint256  positive;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":0}
--- faults
/params/a Big swap a must be positive


=== TEST 122: a param that the type does not have
--- type
        param  a  uint256;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":1,"b":2}
--- faults
/params/b X has no param "b"


=== TEST 123: a pointer is escaped
--- type
        param  a  uint256;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":1,"b/~\"":2}
--- faults
/params/b~1~0" X has no param "b/~""


=== TEST 124: every fault is told
--- type
        param  a  uint256;
        param  b  uint256;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":-1,"c":1}
--- faults
/params X requires a and b
/params/b is required
/params/a X a must not be negative
/params/c X has no param "c"


=== TEST 125: params that are no object
--- type
        param  a  uint256;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
[]
--- faults
/params params must be an object


=== TEST 126: a number fits its argument
--- type
        param  a  uint256;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa function="f(uint8)" args=$a;
--- params
{"a":"256"}
--- faults
/params/a X a must fit uint8


=== TEST 127: a number fits its signed argument
--- type
        param  a  int256;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa function="f(int8)" args=$a;
--- params
{"a":"-129"}
--- faults
/params/a X a must fit int8


=== TEST 128: params that no call takes
--- type
        param  a  uint256  optional;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=$a when=$a;
--- params
{}
--- faults
/params no call of type "x" takes these params



=== TEST 129: less than zero is not positive
--- type
        param  a  uint256  positive;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":"-1"}
--- faults
/params/a X a must be positive


=== TEST 130: a JSON number with a point, though it is a whole one
--- type
        param  a  uint256;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":5.0}
--- faults
/params/a X a must be a whole number, in a string of decimal digits, for a JSON number with a fraction or an exponent is not exact everywhere


=== TEST 131: a JSON number with an exponent
--- type
        param  a  int256;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":1e3}
--- faults
/params/a X a must be a whole number, in a string of decimal digits, for a JSON number with a fraction or an exponent is not exact everywhere


=== TEST 132: a null, though the param is optional
--- type
        param  a  uint256  optional;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{"a":null}
--- faults
/params/a X a must be a whole number, in a string of decimal digits


=== TEST 133: a word of an enum stands there once
--- type
        param  a  enum=a|b|a;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- emerg
invalid type "enum=a|b|a" of param "a", it should have each of its words once


=== TEST 134: a word of an enum is UTF-8
--- type eval
"        param  a  enum=a|\xff;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
"
--- emerg
of param "a", its words should be valid UTF-8


=== TEST 135: a label is UTF-8
--- type eval
"        label  \xff;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
"
--- emerg
"label" directive is not valid UTF-8, it should be


=== TEST 136: a param is not called nonce
--- type
        param  nonce  uint256;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- emerg
param cannot be called "nonce", for "$nonce" in a call means something else


=== TEST 137: $nonce is not an amount
--- type
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=$nonce;
--- emerg
"$nonce" does not fit value= of call, it should be used where the function takes a uint256


=== TEST 138: $signature is bytes
--- type
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa function="f(string)" args=$signature;
--- emerg
"$signature" does not fit argument 1 of call, it should be used where the function takes bytes


=== TEST 139: what is signed is taken by a call
--- type
        param  a  uint256;
        call   to=$user function="f(address,uint64,uint256,bytes)" args=$user,$nonce,$deadline,$signature;
--- members: ,"userId":"0x00000000219ab540356cBB839Cbe05303d7705Fa"
--- params
{"a":"1"}
--- kept
{"a":"1"}


=== TEST 140: two types whose structs have one name cannot both be signed
--- intent_types
    intent_type x { call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1; }
    intent_type X { call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1; }
--- api_more
            intent_signature  optional;
--- emerg
cannot be told apart by a signature, as intent_signature in


=== TEST 141: they can be, where nothing is signed
--- intent_types
    intent_type x { call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1; }
    intent_type X { call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1; }
--- request
POST /api/intents
{"type":"X","params":{}}
--- more_headers
Content-Type: application/json
--- error_code: 202


=== TEST 142: a struct is not called as the domain is
--- intent_types
    intent_type eIP712Domain { call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1; }
--- api_more
            intent_signature  required;
--- emerg
for its struct would be that of the domain; it should have another name


=== TEST 143: a param is not called as what every object of JavaScript has
--- type
        param  toString  uint256;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- emerg
param cannot be called "toString", for every object of a client in JavaScript has something of that name


=== TEST 144: nor as what it is made of
--- type
        param  __proto__  uint256  optional;
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- emerg
param cannot be called "__proto__", for every object


=== TEST 145: a NUL byte is found where an editor has it, behind characters of many bytes
--- type
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- request eval
"POST /api/intents\n{\r\n\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\0"
--- more_headers
Content-Type: application/json
--- error_code: 400
--- faults eval
" the body cannot be read as JSON: a NUL byte, at line 2, column 5 (byte 14)\n"


=== TEST 146: quotes may stand behind the equals sign, as in function="..."
--- type
        param  a  string  default="x";
        param  b  enum="s|l"  default='l';
        param  c  string  "default=\"y z\"";
        param  d  string  default="" length="0-3";
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- params
{}
--- kept
{"a":"x","b":"l","c":"y z","d":""}


=== TEST 147: a body that is compressed is of no use
--- type
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- request
POST /api/intents
{"type":"x","params":{}}
--- more_headers
Content-Type: application/json
content-encoding: gzip
--- error_code: 415
--- response_body_like: the body must have no Content-Encoding


=== TEST 148: identity is what it is without
--- type
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1;
--- request
POST /api/intents
{"type":"x","params":{}}
--- more_headers
Content-Type: application/json
Content-Encoding: Identity
--- error_code: 202


=== TEST 149: $deadline where no date fits
--- type
        call   to=0x00000000219ab540356cBB839Cbe05303d7705Fa function="f(uint24)" args=$deadline;
--- emerg
"$deadline" does not fit argument 1 of call, it should be used where the function takes a uint256, or a uint of 32 bits at least
