# intent_zone, intent_postgres and intent_redis: what nginx -t says of wrong
# ones, and that right ones start. Sections of this file:
#
#     --- postgres  what stands behind the conninfo
#     --- redis     what stands behind the address
#     --- emerg     what nginx says instead of starting
#     --- never     what it does not say then

use strict;
use warnings;

use lib 't/lib';
use Intent 'no_plan';
use IntentTest qw(wait_for);
use File::Temp qw(tempdir);

my $dir = tempdir(CLEANUP => 1);
chmod 0755, $dir;

sub password_file {
    my ($name, $text, $mode) = @_;

    my $path = "$dir/$name.password";

    if (defined $text) {
        open my $file, '>', $path or die "$path: $!";
        print $file $text;
        close $file or die "$path: $!";
        chmod $mode // 0600, $path or die "$path: $!";
    }

    $ENV{ 'TEST_NGINX_PASSWORD_' . uc $name } = $path;
}

password_file('right', "hunter2\r\n", 0640);
password_file('open', "hunter2\n", 0604);
password_file('empty', "\n");
password_file('long', 'x' x 4096);
password_file('missing');

add_block_preprocessor(sub {
    my $block = shift;

    $block->set_value(intent_postgres => "$Intent::part{intent_postgres} " . $block->postgres)
        if defined $block->postgres;
    $block->set_value(intent_redis => "$Intent::part{intent_redis} " . $block->redis)
        if defined $block->redis;

    if (defined(my $emerg = $block->emerg)) {
        $block->set_value(must_die => 1);
        $block->set_value(error_log => $emerg);
        $block->set_value(no_error_log => $block->never) if defined $block->never;
        return;
    }

    # a POST that is answered has been committed, and a GET after it is from
    # Redis, if that takes what we say to it

    return $block->set_value(no_error_log => "[alert]\n[crit]\n[emerg]")
        if defined $block->request;

    $block->set_value('request', 'POST /api/intents' . "\n"
        . '{"type":"transfer","params":{"recipient":'
        . '"0x00000000219ab540356cBB839Cbe05303d7705Fa","amount":"1"}}');
    $block->set_value(more_headers => 'Content-Type: application/json');
    $block->set_value(error_code => 202);
    $block->set_value(no_error_log => "[alert]\n[crit]\n[emerg]\n[error]")
        unless defined $block->no_error_log || defined $block->error_log;
});

# what Redis answers is told whenever that is, the POST does not wait for it

add_response_body_check(sub {
    my $block = shift;

    my $told = $block->error_log // return;
    eval { wait_for(sub {
        open my $log, '<', $Test::Nginx::Util::ErrLogFile or return 0;
        grep { $_ =~ $told } <$log>;
    }, 20, 'the log') };
});

worker_connections(256);
repeat_each(1);
no_shuffle();
run_tests();

__DATA__

=== TEST 1: a zone has a size
--- intent_zone
intents
--- emerg
invalid number of arguments in "intent_zone" directive


=== TEST 2: the size is one
--- intent_zone
intents lots
--- emerg
invalid zone size "lots", it should be like "32m"


=== TEST 3: of 1m at the least
--- intent_zone
intents 1023k
--- emerg
zone "intents" is too small, it should be "1m" at the least


=== TEST 4: 1m is enough
--- intent_zone
intents 1m


=== TEST 5: what many types need is not in 1m
--- intent_zone
intents 1m
--- intent_types eval
CORE::join '', map { "    intent_type t$_ { call to=0x00000000219ab540356cBB839Cbe05303d7705Fa value=1; }\n" } 1 .. 200
--- emerg
make it larger


=== TEST 6: there is one zone
--- http_more
    intent_zone  other 1m;
--- emerg
"intent_zone" directive is duplicate


=== TEST 7: intent_metrics needs a zone
--- intent_zone
--- config
        location = /metrics { intent_metrics; }
--- intent_chain
 
--- emerg
"intent_metrics" needs a zone, add "intent_zone intents 32m;" to the http block


=== TEST 8: Postgres, with all that there is
--- postgres: connections=1 timeout=20s schema=auto


=== TEST 9: many connections, a schema that is there
--- postgres: schema=off timeout=1m connections=64


=== TEST 10: a URI, a name that is resolved now
where localhost is ::1 first, that address is tried in vain
--- intent_postgres
postgresql://intents@localhost:$TEST_NGINX_POSTGRES_PORT/intents
--- no_error_log
[alert]
[crit]


=== TEST 11: a connection at the least
--- postgres: connections=0
--- emerg
invalid number of connections in "connections=0", it should be from 1 to 64, for each worker


=== TEST 12: 64 connections at the most
--- postgres: connections=65
--- emerg
invalid number of connections in "connections=65"


=== TEST 13: connections is a number
--- postgres: connections=few
--- emerg
invalid number of connections in "connections=few"


=== TEST 14: the timeout has a lower bound
--- postgres: timeout=99ms
--- emerg
invalid time in "timeout=99ms", it should be like "timeout=5s", and "100ms" at the least


=== TEST 15: the timeout is a time
--- postgres: timeout=never
--- emerg
invalid time in "timeout=never"


=== TEST 16: schema is auto or off
--- postgres: schema=on
--- emerg
invalid parameter of "intent_postgres" after the conninfo, which is one string in quotes; there are "connections=", "timeout=", "schema=auto" and "schema=off"


=== TEST 17: a conninfo without its quotes is not repeated
--- intent_postgres
host=127.0.0.1 password=hunter2
--- emerg
invalid parameter of "intent_postgres" after the conninfo
--- never
hunter2


=== TEST 18: the conninfo is one
--- intent_postgres
"hst=127.0.0.1"
--- emerg
invalid conninfo in "intent_postgres": invalid connection option "hst"


=== TEST 19: a conninfo without a name for its value
--- intent_postgres
"127.0.0.1"
--- emerg
invalid conninfo in "intent_postgres": missing "="


=== TEST 20: a password in a conninfo that cannot be read is not repeated
--- intent_postgres
"host=127.0.0.1 password=hun ter2"
--- emerg
invalid conninfo in "intent_postgres": 
--- never
ter2"


=== TEST 21: nor in a URI
--- intent_postgres
"postgresql://intents:hunter2@127.0.0.1:54x/intents?hst=1"
--- emerg
"intent_postgres"
--- never
hunter2


=== TEST 22: no service
--- intent_postgres
"service=intents"
--- emerg
"service" is not supported in "intent_postgres", name the host and the database instead


=== TEST 23: the host is there
--- intent_postgres
"host=nowhere.invalid dbname=intents"
--- emerg
host not found in "intent_postgres" "nowhere.invalid"


=== TEST 24: as many hosts as ports
--- intent_postgres
"host=127.0.0.1,127.0.0.2 port=1,2,3"
--- emerg
"intent_postgres" has 2 hosts, 0 hostaddrs and 3 ports, there should be as many of each, or one port for all


=== TEST 25: the first host is away, the second takes it
--- intent_postgres
"host=127.0.0.1,127.0.0.1 port=1,$TEST_NGINX_POSTGRES_PORT dbname=intents user=intents"
--- no_error_log
[alert]
[emerg]


=== TEST 26: there is one Postgres
--- http_more
    intent_postgres  "host=127.0.0.1";
--- emerg
"intent_postgres" directive is duplicate


=== TEST 27: it has a conninfo
--- http_more
    intent_postgres;
--- emerg
invalid number of arguments in "intent_postgres" directive


=== TEST 28: it stands in http
--- config_more
        intent_postgres  "host=127.0.0.1";
--- emerg
"intent_postgres" directive is not allowed here


=== TEST 29: a port is a number up to 65535
--- intent_postgres
"host=127.0.0.1 port=65536 dbname=intents user=intents"
--- emerg
invalid port "65536" in "intent_postgres", it should be a number from 1 to 65535


=== TEST 30: Redis, with all that needs no password
--- redis: db=15 prefix=gw: ttl=1s timeout=1500ms


=== TEST 31: Redis needs not be there
--- intent_redis


=== TEST 32: a password that Redis does not ask for is told
--- redis: password_file=$TEST_NGINX_PASSWORD_RIGHT
--- error_log eval
qr/redis .*AUTH/i


=== TEST 33: the password is not
--- redis: password_file=$TEST_NGINX_PASSWORD_RIGHT
--- no_error_log
hunter2
[alert]


=== TEST 34: an unknown parameter
--- redis: tls=on
--- emerg
invalid parameter of "intent_redis"


=== TEST 35: a parameter without a value
--- redis: prefix=
--- emerg
invalid parameter of "intent_redis"


=== TEST 36: the password does not stand in the configuration
--- redis: password=hunter2
--- emerg
invalid parameter
--- never
hunter2


=== TEST 37: db is a number
--- redis: db=first
--- emerg
invalid redis database "first", it should be a number like "0"


=== TEST 38: ttl is a time
--- redis: ttl=long
--- emerg
invalid ttl "long", it should be whole seconds like "30s"


=== TEST 39: in whole seconds
--- redis: ttl=500ms
--- emerg
invalid ttl "500ms", it should be whole seconds like "30s"


=== TEST 40: ttl is some time
--- redis: ttl=0
--- emerg
invalid ttl "0", it should be whole seconds like "30s"


=== TEST 41: timeout is a time
--- redis: timeout=short
--- emerg
invalid timeout "short", it should be a time like "500ms"


=== TEST 42: timeout is some time
--- redis: timeout=0
--- emerg
invalid timeout "0", it should be a time like "500ms"


=== TEST 43: a user has a password
--- redis: user=intents
--- emerg
user "intents" has no password, add "password_file=path"


=== TEST 44: the password file is there
--- redis: password_file=$TEST_NGINX_PASSWORD_MISSING
--- emerg
missing.password" failed (2: No such file or directory)


=== TEST 45: others cannot read it
--- redis: password_file=$TEST_NGINX_PASSWORD_OPEN
--- emerg
open.password", chmod it to 0600 or 0640


=== TEST 46: it is not empty
--- redis: password_file=$TEST_NGINX_PASSWORD_EMPTY
--- emerg
empty.password" should hold a password of 1 to 4095 bytes


=== TEST 47: nor too long
--- redis: password_file=$TEST_NGINX_PASSWORD_LONG
--- emerg
long.password" should hold a password of 1 to 4095 bytes


=== TEST 48: the address is one
--- intent_redis
127.0.0.1:70000
--- emerg
invalid port in the address "127.0.0.1:70000" of redis, it should be like "127.0.0.1:6379" or "unix:/path"


=== TEST 49: the host is there
--- intent_redis
nowhere.invalid
--- emerg
host not found in the address "nowhere.invalid" of redis


=== TEST 50: there is one Redis
--- http_more
    intent_redis  127.0.0.1;
--- emerg
"intent_redis" directive is duplicate


=== TEST 51: it has an address
--- http_more
    intent_redis;
--- emerg
invalid number of arguments in "intent_redis" directive


=== TEST 52: a number that no Redis has for a database
--- redis: db=99999999999999999999
--- emerg
invalid redis database "99999999999999999999"


=== TEST 53: retention is a time
--- http_more
    intent_retention  7d;


=== TEST 54: or off
--- http_more
    intent_retention  off;


=== TEST 55: or none, which is the same
--- http_more
    intent_retention  0;


=== TEST 56: a time that is none
--- http_more
    intent_retention  long;
--- emerg
invalid time "long" in "intent_retention", it should be whole seconds like "30d", at most "100y", or "off" to keep all


=== TEST 57: less than a second
--- http_more
    intent_retention  500ms;
--- emerg
invalid time "500ms" in "intent_retention"


=== TEST 58: longer than Postgres counts
--- http_more
    intent_retention  1000y;
--- emerg
invalid time "1000y" in "intent_retention"


=== TEST 59: there is one retention
--- http_more
    intent_retention  7d;
    intent_retention  8d;
--- emerg
"intent_retention" directive is duplicate


=== TEST 60: it stands in http
--- config_more
        intent_retention  7d;
--- emerg
"intent_retention" directive is not allowed here


=== TEST 61: what is kept nowhere cannot be deleted
--- config
        location / { return 200; }
--- intent_postgres
--- http_more
    intent_retention  7d;
--- emerg
"intent_retention" is for what is kept in Postgres, add "intent_postgres" to the http block


=== TEST 62: each of Postgres' parameters is given once
--- postgres: connections=1 timeout=1s connections=2
--- emerg
duplicate parameter "connections=" of "intent_postgres"


=== TEST 63: also where both say the same
--- postgres: schema=off schema=off
--- emerg
duplicate parameter "schema=" of "intent_postgres"


=== TEST 64: and of Redis'
--- redis: ttl=30s db=1 ttl=40s
--- emerg
duplicate parameter "ttl=" of "intent_redis"
--- never
40s


=== TEST 65: libpq would take the last of two
--- intent_postgres
"host=127.0.0.1 password='it\\'s host=hunter2' port=5432 user=intents host = 127.0.0.2"
--- emerg
duplicate parameter "host=" in the conninfo of "intent_postgres"
--- never
hunter2


=== TEST 66: a name in a value is none
--- intent_postgres
"host=127.0.0.1 port=$TEST_NGINX_POSTGRES_PORT dbname=intents user=intents application_name='host=a port=b user= \\' dbname=c'"


=== TEST 67: the shortest timeout that there is
--- postgres: timeout=100ms
--- request
GET /metrics
--- response_body_like: intents_submitted_total
