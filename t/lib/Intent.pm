package Intent;

# What every block of a Test::Nginx .t needs, so that the block has only what it
# is about:
#
#     use lib 't/lib';
#     use Intent 'no_plan';
#
#     repeat_each(1);
#     run_tests();
#
#     __DATA__
#
#     === TEST 1: an intent is taken
#     --- request
#     POST /api/intents
#     {"type":"transfer","params":{"recipient":"0x...","amount":"1"}}
#     --- more_headers
#     Content-Type: application/json
#     --- error_code: 202
#
# A block that has no http_config or config gets those of DESIGN.md's example,
# on the services that build.sh started. These sections change them:
#
#     --- http_more       added to http
#     --- config_more     added to server
#     --- api_more        added in the location of intent_api
#     --- intent_zone, intent_postgres, intent_redis
#                         the arguments of that directive; empty: none of it
#     --- intent_chain    the lines of the intent_chain block, instead of ours
#     --- intent_types    the intent_type blocks, instead of ours
#
# The same texts are in %Intent::part for a .t that puts them together otherwise.
# $TEST_NGINX_POSTGRES_PORT, _REDIS_PORT, _ANVIL_PORT and _KEY_FILE are replaced
# everywhere.

use strict;
use warnings;

our $module;

BEGIN {
    $module = $ENV{TEST_NGINX_INTENT_MODULE} // '';
    $ENV{TEST_NGINX_LOAD_MODULES} = join ' ',
        grep { length } $ENV{TEST_NGINX_LOAD_MODULES} // '', $module;

    for my $name (qw(POSTGRES_PORT REDIS_PORT ANVIL_PORT KEY_FILE)) {
        defined $ENV{"TEST_NGINX_$name"}
            or die "TEST_NGINX_$name is not set: run this with ./build.sh test FILE\n";
    }
}

# build.sh says 127.0.0.1:port where Test::Nginx knows a port alone, so that it
# listens there only; it adds 1 to that for a port that is not used here.

$SIG{__WARN__} = sub {
    warn @_ unless $_[0] =~ /isn't numeric in addition .*Nginx.Util\.pm/;
};

# A busy machine takes its time: 3 s are Test::Nginx's own idea

BEGIN { $ENV{TEST_NGINX_TIMEOUT} //= 30 }

use Test::Nginx::Socket -Base;

our %part = (
    intent_zone => 'intents 32m',

    intent_postgres => '"host=127.0.0.1 port=$TEST_NGINX_POSTGRES_PORT '
                       . 'dbname=intents user=intents"',

    intent_redis => '127.0.0.1:$TEST_NGINX_REDIS_PORT',

    intent_chain => <<'END',
        chain_id       31337;
        rpc            /_rpc/dev;
        signer         key_file=$TEST_NGINX_KEY_FILE;
        confirmations  1;
        poll_interval  100ms;
        max_in_flight  256;
        max_fee        500gwei;
        retry          attempts=5 backoff=200ms max_backoff=5s;
END

    intent_types => <<'END',
    intent_type transfer {
        label  "transfer";
        param  recipient  address;
        param  amount     uint256  positive;
        param  token      address  optional;
        call   to=$token     function="transfer(address,uint256)" args=$recipient,$amount when=$token;
        call   to=$recipient value=$amount;
    }
END

    upstream => <<'END',
    upstream dev_rpc {
        server 127.0.0.1:$TEST_NGINX_ANVIL_PORT;
        keepalive 32;
    }
END

    rpc_location => <<'END',
        location /_rpc/dev {
            internal;
            proxy_pass http://dev_rpc/;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }
END
);

our $http = sub {
    my $block = shift;

    my %is = map {
        my $own = $block->$_;
        ($_ => defined $own ? $own : $part{$_});
    } qw(intent_zone intent_postgres intent_redis intent_chain intent_types);

    my $text = '';

    for my $name (qw(intent_zone intent_postgres intent_redis)) {
        my $value = $is{$name};
        $value =~ s/^\s+|\s+$//g;
        $text .= "    $name $value;\n" if length $value;
    }

    $text .= $part{upstream};
    $text .= "    intent_chain dev {\n$is{intent_chain}    }\n"
        if $is{intent_chain} =~ /\S/;
    $text .= $is{intent_types};

    return $text . ($block->http_more // '');
};

our $config = sub {
    my $block = shift;
    my $api = $block->api_more // '';
    my $more = $block->config_more // '';

    return <<"END";
        location /api/intents {
            intent_api;
            $api
        }

        location = /metrics       { intent_metrics; }
        location = /intent_status { intent_stub_status; }

$part{rpc_location}
        $more
END
};

add_block_preprocessor(sub {
    my $block = shift;

    $block->set_value('http_config', $http->($block))
        unless defined $block->http_config;
    $block->set_value('config', $config->($block))
        unless defined $block->config;
});

1;
