# docs/api.md, docs/directives.md and README.md against the server that they
# describe: each configuration in them is one that nginx takes, each message of
# "nginx -t" is said, each fault has the pointer and the words that the tables
# have, each request gets the answer that stands below it, and the programs run.
#
# What cannot be tried so is in %untried, with the reason; a row that is in no
# list here is a failure, so a new one needs a way to be tried.

use strict;
use warnings;
use utf8;

use lib 't/lib';
use Encode qw(decode_utf8 encode_utf8);
use IntentTest qw(wait_for free_port);
use JSON::PP;
use MIME::Base64 qw(encode_base64);
use Test::More;

binmode Test::More->builder->$_, ':utf8' for qw(output failure_output todo_output);

my $json = JSON::PP->new->utf8->canonical->allow_nonref;

sub slurp {
    open my $file, '<:encoding(UTF-8)', $_[0] or die "$_[0]: $!";
    local $/;
    return scalar <$file>;
}

my ($api, $directives, $readme) = map { slurp($_) } qw(docs/api.md docs/directives.md README.md);
my $operations = slurp('docs/operations.md');
my $source = join '', map { slurp($_) } glob 'src/*/*.c';

# The rows of the table below a line, each a list of its cells

sub table {
    my ($text, $before) = @_;

    $text =~ /^\Q$before\E.*?\n\n(?=\|)((?:\|[^\n]*\n)+)/ms or die "no table after \"$before\"\n";
    my (undef, undef, @rows) = split /\n/, $1;

    return map {
        my @cells = split /(?<!\\)\|/, s/^\|//r, -1;
        pop @cells;
        [ map { s/^\s+|\s+$//gr =~ s/\\\|/|/gr } @cells ]
    } @rows;
}

# The literals of a cell: `"01"`, `"x"` are two

sub literals { grep { defined } $_[0] =~ /`` (.+?) ``|`([^`]+)`/g }

# "…" stands for what differs from time to time

sub like_text {
    my ($text) = @_;
    my $pattern = join '.*', map { quotemeta } split /…/, $text, -1;
    return qr/^$pattern$/s;
}

# The indented blocks, each with the line that it begins at and its section

sub blocks {
    my ($text) = @_;

    my (@blocks, $block, $section);
    my ($line, $blank, $fence) = (0, 1, 0);

    for (split /\n/, $text) {
        $line++;
        if (/^```/) { $fence = !$fence; undef $block; next }
        if (!$fence && /^#+ (.*)/) { $section = $1 }
        if ($fence || /^    / || ($block && /^$/)) {
            undef $block if /^    \$ /;
            if (!$block) {
                next if !$fence && !$blank;
                push @blocks, $block = { line => $line, section => $section // '', text => '' };
            }
            $block->{text} .= ($fence ? $_ : s/^    //r) . "\n";
        } else {
            undef $block;
        }
        $blank = /^\s*$/ || /-->/;
    }

    s/\n+\z/\n/ for map { $_->{text} } @blocks;
    return @blocks;
}

my $t = IntentTest->new(start => 0, workers => 2, anvil => { 'block-time' => '0.5' },
                        chain => { poll_interval => '50ms' }, postgres => 'timeout=1s');


# Each directive with its flags, those of blocks by the block's own

my %flags;

while ($source =~ /\{\s*ngx_string\("(\w+)"\),\s*((?:NGX_\w+|\||\s)+),\s*\w+,\s*(?:NGX_\w+|0),/g) {
    my ($name, $flags) = ($1, $2);
    $flags{$name} = [ sort $flags =~ /NGX_(\w+)/g ] if $flags =~ /NGX_\w*CONF/;
}

cmp_ok(scalar keys %flags, '>', 35, 'directives of the source');

sub contexts {
    my %is = map { $_ => 1 } @_;

    return 'intent_chain' if $is{HTTP_INTENT_CHAIN_CONF};
    return 'intent_type' if $is{HTTP_INTENT_TYPE_CONF};
    return join ', ', map { $is{$_->[0]} ? $_->[1] : () }
        [ HTTP_MAIN_CONF => 'http' ], [ HTTP_SRV_CONF => 'server' ],
        [ HTTP_LOC_CONF => 'location' ], [ HTTP_SIF_CONF => 'if in server' ],
        [ HTTP_LIF_CONF => 'if in location' ];
}

# --- configurations ----------------------------------------------------------

# The statements of a piece of nginx.conf: [first word, text]

sub statements {
    my ($text) = @_;

    my (@statements, $statement);
    my ($depth, $words) = (0, '');

    while ($text =~ /\G(\s+|#.*|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[{};]|(?:[^\s{};"'\\]|\\.)+)/gc) {
        my $token = $1;
        next if $token =~ /^#/;
        next if !defined $statement && $token =~ /^\s/;

        $statement .= $token;
        $depth++ if $token eq '{';
        $depth-- if $token eq '}';

        if ($depth == 0 && $token =~ /^[;}]$/) {
            push @statements, [ $statement =~ /^(\S+?)[\s;]/, $statement ];
            undef $statement;
        }
    }

    die "not a configuration: $text\n" if defined $statement || $depth;
    return @statements;
}

# What nginx -t would look for and is not on this host

sub at_home {
    my ($text) = @_;

    for ($text) {
        s{/etc/nginx/|/var/www/}{\$DIR/etc/}g;
        s/host=db1,db2/host=127.0.0.1,localhost/;
        s{/etc/ssl/certs/ca-certificates\.crt}{\$DIR/etc/ca.crt};
        s/\b(?:node[12]|db[12]|web3signer\.internal|rpc\.example\.com|shop\.example)(?=[:\/; ])/127.0.0.1/g;
    }

    return $text;
}

my $TRANSFER = $t->default_types;

# A whole configuration in which these statements are where they belong,
# instead of those of ours that have their place

sub conf_of {
    my ($text) = @_;

    my (%at, %named);
    my $chain = $t->chain_text;

    for (statements(at_home($text))) {
        my ($name, $statement) = @$_;
        my $context = contexts(@{ $flags{$name} // [] });
        my ($second) = $statement =~ /^\S+\s+(?:=\s+)?([^\s;{]+)/;

        if ($context eq 'intent_chain') {
            $chain =~ s/^\s*$name .*\n//mg unless $at{chain} && $at{chain} =~ /^$name /m;
            $at{chain} .= "$statement\n";
        } elsif ($context eq 'intent_type') {
            $at{type} .= "$statement\n";
        } elsif ($name eq 'intent_chain') {
            $chain = "$statement\n";
        } elsif ($name eq 'location' || $name eq 'listen') {
            $at{server} .= "$statement\n";
        } elsif ($name =~ /^(?:upstream|log_format|map|server)$/ || $context eq 'http') {
            $at{http} .= "$statement\n";
        } elsif ($name =~ /^(?:load_module|user)$/) {
            $at{main} .= "$statement\n";
        } elsif ($name =~ /^intent_(?:metrics|stub_status|health|socketio)$/) {
            $at{server} .= "location = /it { $statement }\n";
        } else {
            $at{api} .= "$statement\n" unless $name eq 'intent_api';
        }

        $named{"$name $second"} = 1 if defined $second;
        $named{$name} = 1;
    }

    $_ //= '' for @at{qw(main http server api chain type)};
    $chain =~ s/(\}\s*)\z/$at{chain}$1/;

    if ($at{type}) {
        my $first = $at{type} =~ /^param/m ? '' : 'param a address;';
        my $call = $at{type} =~ /^call/m ? '' : 'call to=$a value=1;';
        $at{http} .= "intent_type piece {\n$first\n$at{type}\n$call\n}\n";
    }

    my $http = join "\n", map { $named{ $_->[0] } ? () : $_->[1] }
        [ intent_zone => 'intent_zone intents 32m;' ],
        [ intent_postgres => 'intent_postgres "host=127.0.0.1 port=$POSTGRES_PORT user=intents";' ],
        [ intent_redis => 'intent_redis 127.0.0.1:$REDIS_PORT;' ],
        [ 'intent_type transfer' => $TRANSFER ];

    for my $zone (qw(submit user)) {
        $http .= "intent_limit_zone \$binary_remote_addr zone=$zone:1m rate=100r/15m;\n"
            unless $at{http} =~ /zone=$zone:/;
    }

    my %uri = map { $_ => 1 } "$chain$at{http}$at{api}" =~ m{(/_\w+(?:/\w+)*)}g;
    my $locations = join "\n", map {
        $at{server} =~ m{location (?:= )?\Q$_\E\s} ? ()
            : "location $_ { internal; proxy_pass http://127.0.0.1:1; }"
    } sort keys %uri;

    my $own = $named{'location /api/intents'} ? '' : "location /api/intents { intent_api; $at{api} }";
    my $module = $t->{module} ne '' ? "load_module $t->{module};" : '';

    return <<"END";
$module
error_log \$DIR/error.log;
pid \$DIR/test.pid;
$at{main}
events { worker_connections 1024; }
http {
    access_log off;
@{[ map { "${_}_temp_path \$DIR/temp/$_; " } qw(client_body proxy fastcgi uwsgi scgi) ]}
$http
$at{http}
$chain
    server {
        listen 127.0.0.1:\$PORT;
        $own
        $locations
        $at{server}
    }
}
END
}

# The files that the examples name

my $etc = $t->dir . '/etc';
mkdir $_ for $etc, "$etc/intent", "$etc/intents";
$t->write_file("$etc/intent/relayer.key", "$IntentTest::KEYS[0]\n", 0600);
$t->write_file("$etc/intent/shop.secret", 'whsec_' . encode_base64('s' x 32), 0600);
$t->write_file("$etc/htpasswd", "alice:{PLAIN}secret\n");
my $out = qx(openssl req -x509 -newkey rsa:2048 -nodes -days 2 -batch -subj /CN=shop.example -keyout $etc/ca.key -out $etc/ca.crt 2>&1);


# --- directives --------------------------------------------------------------

for my $name (sort keys %flags) {
    next if $name eq 'include';          # nginx's own, taken in intent_type, too

    my $section = $directives =~ /^(##+ \Q$name\E\n.*?)(?=^##|\z)/ms ? $1 : '';
    my $context = contexts(@{ $flags{$name} });
    my $parent = $directives =~ /.*^## (\w+).*?^### \Q$name\E\n/ms ? $1 : '';

    ok($section, "$name has a section") or next;
    like($section, qr/^\*\*Syntax:\*\* `\Q$name\E[ ;]/m, "$name: Syntax");
    like($section, qr/^\*\*Default:\*\* \S/m, "$name: Default");

    if ($context =~ /^intent_/) {
        is($parent, $context, "$name: in the section of its block");
    } else {
        like($section, qr/^\*\*Context:\*\* \Q$context\E$/m, "$name: Context");
    }

    # the default is one that could be written
    for my $default ($section =~ /^\*\*Default:\*\* `(\Q$name\E .*;)`/mg) {
        my ($good, $said) = $t->nginx_test(conf => conf_of($default));
        ok($good, "$name: $default") or diag($said);
    }
}

# Every heading is a directive, and the list at the top has them all

for my $name ($directives =~ /^#{2,3} (\w+)$/mg) {
    next unless $name =~ /_/ || $name =~ /^[a-z]/;
    ok($flags{$name}, "there is a directive \"$name\"");
}



# --- the configurations of the pages -----------------------------------------

sub is_conf { $_[0] =~ /\A(?!HTTP)[a-z_]+[\s;]/ && $_[0] =~ /[;}]\s*(?:#.*)?\z/ && $_[0] !~ /=>|\bconst \w+ =|^curl/m }

my $confs = 0;

for my $page ([ 'directives.md', $directives ], [ 'api.md', $api ], [ 'operations.md', $operations ]) {
    my %map;                             # those before, of which a block may use the variable

    for my $block (grep { is_conf($_->{text}) } blocks($page->[1])) {
        next if $block->{text} =~ /\A(?:let|import|socket|function|GRANT|SELECT)\b/;
        $map{$2} = $1 while $block->{text} =~ /^(map \S+ (\$\w+) \{.*?^\})/msg;

        my @maps = map { $map{$_} } grep {
            $block->{text} =~ /\Q$_\E\b/ && $block->{text} !~ /^map /m } sort keys %map;
        my ($good, $said) = $t->nginx_test(conf => conf_of(join "\n", @maps, $block->{text}));
        ok($good, "$page->[0]:$block->{line}: nginx takes it") or diag("$block->{text}$said");
        $confs++;
    }
}

cmp_ok($confs, '>', 20, 'configurations tried');

# README's, whole

{
    my ($text) = grep { /^load_module/ } map { $_->{text} } blocks($readme);

    $text =~ s{^load_module .*}{$t->{module} ne '' ? "load_module $t->{module};" : ''}me;
    $text =~ s{^user .*}{}m;
    $text =~ s{/run/nginx.pid}{\$DIR/test.pid};
    $text =~ s{/var/log/nginx}{\$DIR}g;
    $text =~ s/port=5432/port=\$POSTGRES_PORT/;
    $text =~ s/127\.0\.0\.1:8080/127.0.0.1:\$PORT/;
    my ($good, $said) = $t->nginx_test(conf => at_home($text));
    ok($good, 'README.md: nginx takes it') or diag($said);
}


# --- what nginx -t says ------------------------------------------------------

# Each row of the table, by how it begins, and a configuration of which it is
# said. A sub gets the whole configuration, else it is a piece of one.

sub without { my $name = shift; sub { s/^\s*$name\b.*;\n//mgr } }

sub of_type { "intent_type t {\n$_[0]\n}" }

my $p = 'param recipient address; param amount uint256; param token address optional;';
my $keystore = '{"version":3,"address":"f39fd6e51aad88f6f4ce6ab8827279cfffb92266","crypto":{'
    . '"cipher":"aes-128-ctr","cipherparams":{"iv":"' . '00' x 16 . '"},"ciphertext":"' . '00' x 32
    . '","kdf":"pbkdf2","kdfparams":{"dklen":32,"c":2,"prf":"hmac-sha256","salt":"' . '00' x 32
    . '"},"mac":"' . '00' x 32 . '"}}';

$t->write_file("$etc/open.key", "$IntentTest::KEYS[0]\n", 0644);
$t->write_file("$etc/empty.key", "x\n", 0600);
$t->write_file("$etc/password", "x\n", 0600);
$t->write_file("$etc/keystore", $keystore, 0600);
$t->write_file("$etc/keystore1", $keystore =~ s/"version":3/"version":1/r, 0600);
$t->write_file("$etc/keystore-kdf", $keystore =~ s/"kdf":"pbkdf2","kdfparams":\{.*?\}/"kdf":"scrypt","kdfparams":{"dklen":32,"n":262144,"r":1,"p":1,"salt":"00"}/r, 0600);

my @said = (
    [ '"intent_metrics" needs a zone', sub { 'PLAIN location = /m { intent_metrics; }' } ],
    [ 'zone "intents" is too small', 'intent_zone intents 8k;' ],
    [ '"intent_chain" needs "intent_postgres"', sub { s/^intent_postgres .*\n//mr } ],
    [ 'invalid parameter of "intent_postgres" after', 'intent_postgres host=127.0.0.1 dbname=intents;' ],
    [ 'invalid conninfo in', 'intent_postgres "hst=127.0.0.1";' ],
    [ 'host not found in "intent_postgres"', 'intent_postgres "host=none.invalid";' ],
    [ 'intent_chain "dev" needs "max_fee', without('max_fee') ],
    [ 'invalid amount "10"', 'min_balance 10;' ],
    [ 'invalid fee "500"', 'max_fee 500;' ],
    [ 'can be read by others, make it', 'signer key_file=$DIR/etc/open.key;' ],
    [ 'does not hold a private key', 'signer key_file=$DIR/etc/empty.key;' ],
    [ 'the password in', 'signer keystore=$DIR/etc/keystore password_file=$DIR/etc/password;' ],
    [ 'is none of version 3', 'signer keystore=$DIR/etc/keystore1 password_file=$DIR/etc/password;' ],
    [ 'could not be decrypted', 'signer keystore=$DIR/etc/keystore-kdf password_file=$DIR/etc/password;' ],
    [ 'needs "address=0x...", whose', 'signer remote=/_signer;' ],
    [ 'invalid remote signer "_signer"', 'signer remote=_signer address=0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266;' ],
    [ 'invalid address "0x12" of a remote signer', 'signer remote=/_signer address=0x12;' ],
    [ 'no server has a location for signer', sub { conf_of('signer remote=/_signer address=0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266;') =~ s/location \/_signer \{.*\}\n//r } ],
    [ 'the location of signer', 'signer remote=/_signer address=0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266; location /_signer { proxy_pass http://127.0.0.1:1; }' ],
    [ 'invalid parameter of "signer"', 'signer ' . 'ab' x 32 . ';' ],
    [ 'is in intent_chain "dev" and "twin"', sub { my $c = $_; my ($chain) = $c =~ /(^\s*intent_chain dev \{.*?^\s*\}\n)/ms; $c =~ s/\Q$chain\E/$chain . $chain =~ s{dev \{}{twin \{}r/er } ],
    [ 'no server has a location for rpc', sub { s{rpc /_rpc/dev;}{rpc /elsewhere;}r } ],
    [ '[warn] the location of rpc', 'location /_rpc/dev { proxy_pass http://127.0.0.1:1; }' ],
    [ '[warn] intents are signed', 'intent_signature optional;' ],
    [ 'param cannot be called "nonce"', of_type('param nonce uint256;') ],
    [ 'param cannot be called "toString"', of_type('param toString uint256;') ],
    [ 'invalid type "enum=a|b|a"', of_type('param a enum=a|b|a;') ],
    [ '"$user" does not fit argument 1', of_type("$p call to=\$recipient function=f(uint256) args=\$user;") ],
    [ 'unknown param "$toke"', of_type("$p call to=\$toke value=1;") ],
    [ 'invalid function', of_type("$p call to=\$token function=transfer(adress,uint256) args=\$recipient,\$amount when=\$token;") ],
    [ 'takes 2 arguments', of_type("$p call to=\$token function=transfer(address,uint256) args=\$recipient when=\$token;") ],
    [ 'param "recipient" does not fit', of_type("$p call to=\$recipient function=f(uint256) args=\$recipient;") ],
    [ 'unknown word', of_type("$p call to=\$recipient function=\"transfer(address, uint256)\" args=\$recipient,\$amount;") ],
    [ 'call uses the optional param', of_type("$p call to=\$token value=1;") ],
    [ 'call is never made', of_type("$p call to=\$recipient value=1; call to=\$token value=1 when=\$token;") ],
    [ '"intent_api" directive cannot', 'location ~ /api/intents { intent_api; }' ],
    [ 'intent_type "x" in', of_type('') =~ s/.*//sr . "intent_type x { param a address; call to=\$a value=1; }\nintent_type X { param a address; call to=\$a value=1; }\nintent_signature required;" ],
    [ 'intent_type "eIP712Domain"', "intent_type eIP712Domain { param a address; call to=\$a value=1; }\nintent_signature required;" ],
    [ 'there is no zone "x"', 'intent_limit zone=x;' ],
    [ 'invalid rate "rate=100"', 'intent_limit_zone $remote_user zone=submit:1m rate=100;' ],
    [ '"intent_retention" is for', sub { 'PLAIN intent_retention 1d;' } ],
    [ 'invalid origin "example.com"', 'intent_push_origin example.com;' ],
    [ 'value must be between 1 and 10000', 'confirmations 0;' ],
);

my %by_start = (
    'intent_limit_zone "submit" uses' => 'a reload: see t/20-limit.t',
    'intent_zone "intents" has no room' => 'a start with thousands of values: see t/14-metrics.t',
);

for my $row (table($directives, 'Each mistake is an `[emerg]` that says')) {
    my ($message) = literals($row->[0]);
    my ($reason) = map { $by_start{$_} } grep { index($message, $_) == 0 } keys %by_start;

    if ($reason) {
        note("not tried: $message: $reason");
        next;
    }

    my ($try) = grep { index($message, $_->[0]) >= 0 } @said;
    ok($try, "nginx -t: $message") or next;

    my $conf = $try->[1];
    if (ref $conf) {
        local $_ = conf_of('');
        $conf = $conf->();
        $conf = "$1\nevents { }\nhttp {\naccess_log off;\n"
                . ($conf =~ /location/ ? "server { $conf }" : $conf) . "\n}\n"
            if $conf =~ s/^PLAIN // && conf_of('') =~ /\A(.*?)^events/ms;
    } else {
        $conf = conf_of($conf);
    }

    my ($good, $told) = $t->nginx_test(conf => $conf);
    my $pattern = join '.*', map { quotemeta } split /…/, $message =~ s/^\[\w+\] //r, -1;
    like($told, qr/$pattern/, "nginx -t says: $message");
    is($good ? 'warn' : 'emerg', $message =~ /^\[warn\]/ ? 'warn' : 'emerg', '  and takes it or not');
    like($told, qr/\[(?:emerg|warn)\].* in \S+:\d+/, '  with file and line')
        unless $message =~ /needs a zone|"dev" and "twin"|"intent_retention" is/;      # of no line, of two
}


# --- a gateway of the types of directives.md ---------------------------------

my %type;

for my $block (grep { is_conf($_->{text}) } blocks($directives)) {
    $type{$1} = $2 while $block->{text} =~ /^intent_type (\w+) (\{.*?^\})/msg;
}

is(join(' ', sort keys %type), 'order stake swap transfer', 'the types of directives.md');

my $types = join "\n", map { "intent_type $_ $type{$_}" } sort keys %type;
my %to = map { lc $_ => 1 } "$types$directives" =~ /\b(0x[0-9a-fA-F]{40})\b/g;

my ($common, $alice) = ('intent_api; intent_signature optional;',
    'auth_basic "intents"; auth_basic_user_file $DIR/etc/htpasswd; intent_user $remote_user;');

$t->write_conf(
    chain  => { %{ $t->{chain} }, eip712_domain => '"Intent Demo" version=1' },
    types  => $types,
    http   => <<'END' . join('', map { "$_\n" } grep { /^log_format/ } map { $_->{text} } blocks($directives)),
        intent_limit_zone $binary_remote_addr zone=submit:1m rate=1000r/1m;
        intent_limit_zone $uri                zone=few:1m    rate=4r/15m;
        intent_limit_zone $binary_remote_addr zone=tried:1m  rate=1r/1s;
        intent_chain parked { chain_id 31338; rpc /_rpc/parked; signer key_file=$KEY_FILE;
                              max_fee 1gwei; eip712_domain "Intent Demo" version=1; }
END
    api    => 'intent_signature optional; intent_limit zone=submit;',
    server => <<"END",
        access_log \$DIR/intent.log intent;
        add_header X-Variables "\$intent_id|\$intent_type|\$intent_status|\$intent_user|\$intent_cache_status|\$intent_limit_status|\$intent_limit_remaining" always;
        location /my/intents       { $common $alice intent_limit zone=submit; }
        location /table/intents    { $common }
        location /off/intents      { intent_api; }
        location /required/intents { intent_api; intent_signature required; }
        location /one/intents      { intent_api; intent_batch 0; }
        location /few/intents      { intent_api; intent_limit zone=few; }
        location /tried/intents    { intent_api; intent_limit zone=tried; }
        location /narrow/intents   { intent_api; intent_push_connections 1; }
        location /hooked/intents   { intent_api; intent_webhook /_webhook; }
        location = /_webhook       { internal; return 204; }
        location /named/intents    { $common intent_user \$arg_user; }
        location /_rpc/parked      { internal; proxy_pass http://127.0.0.1:1; }
        location = /health         { intent_health; }
        location /socket.io/       { intent_socketio; }
END
);
$t->nginx_start;

# What the calls go to is a contract that takes everything

$t->rpc('anvil_setCode', $_, '0x00') for grep { $_ !~ /^0x(?:0+|7099.*|f39f.*)$/ } sort keys %to;

my $R = '0x70997970C51812dc3A010C7d01b50e0d17dc79C8';

my %good = (
    transfer => { recipient => $R, amount => '5' },
    order    => { token => $R, to => $R, amount => '1' },
);

sub body_of { $json->encode({ type => $_[0], params => { %{ $good{ $_[0] } }, %{ $_[1] // {} } } }) }

# A body with members that are text, as they stand in the table

sub body_with {
    my ($type, $members, %params) = @_;

    my %all = (type => "\"$type\"", params => '{' . join(',', map {
        qq("$_":$params{$_})
    } sort keys %params) . '}', %$members);

    return encode_utf8('{' . join(',', map { qq("$_":$all{$_}) } sort keys %all) . '}');
}

sub is_fault {
    my ($answer, $status, $pointer, $detail, $name) = @_;

    my $problem = $answer->{json} // {};
    my @found = grep {
        ($_->{pointer} // '') eq $pointer && $_->{detail} =~ like_text($detail)
    } @{ $problem->{errors} // [] };

    ok($answer->{status} == $status && @found, $name)
        or diag("$answer->{status} $answer->{content}");
    return $problem;
}


# --- faults of a body --------------------------------------------------------

my %members = map { $_ => $json->encode($good{transfer}{$_}) } keys %{ $good{transfer} };

for my $row (table($api, '### Faults of a body')) {
    my ($body, $pointer, $detail) = @$row;
    my ($of) = literals($pointer);
    my @tries;

    next if $body =~ /, where (?:\[a call\]|the function)/;      # t/13-calldata.t

    if ($body eq 'empty') {
        @tries = [ '/table/intents', '' ];
    } elsif ($body eq '') {
        @tries = [ '/table/intents', '{}' ];
    } elsif ($body =~ /a NUL byte|the byte 0xff|a byte order mark/) {
        @tries = [ '/table/intents', join '', map { /^`(.*)`$/ ? $1 : $_ }
            map { /NUL/ ? "\0" : /0xff/ ? "\xff" : /mark/ ? "\xef\xbb\xbf" : $_ } split /, /, $body ];
    } elsif ($body =~ /where intent_signature is off/) {
        for my $name (literals($pointer)) {
            my $member = substr $name, 1;
            push @tries, [ '/off/intents', body_with('transfer', { $member => '"1"' }, %members), $name ];
        }
    } else {
        my ($text) = literals($body);
        my ($name, $value) = ($text // '') =~ /^"(\w+)":(.*)$/;

        push @tries, [ $body =~ /intent_batch 0/ ? '/one/intents' : '/table/intents',
                       defined $name ? body_with('transfer', { $name => $value }, %members)
                       : $text ] if defined $text;
    }

    ok(@tries, "row \"$body\"") or next;

    for my $try (@tries) {
        my ($path, $text, $at) = @$try;
        my $answer = $t->post($path, $text);

        # in an array the problem is that of the item
        $answer = { status => $answer->{json}[0]{status}, content => $answer->{content},
                    json => $answer->{json}[0]{problem} } if ref $answer->{json} eq 'ARRAY';
        my $where = $at // $of // '';
        is_fault($answer, 400, $where, $detail, "$body: $detail");
    }
}


# --- faults of params --------------------------------------------------------

my %prose = (
    'absent'          => undef,
    '2^256 and more'  => '"' . Math::BigInt->new(2)->bpow(256) . '"',
    '2^255 and more'  => '"' . Math::BigInt->new(2)->bpow(255) . '"',
    '10^60'           => '"1' . '0' x 60 . '"',
    '`root` and `fast`' => { root => '"0x' . '00' x 32 . '"', fast => 'true' },
);
my %tried;

for my $row (table($api, 'Of params, of [transfer]')) {
    my ($param, $value, $pointer, $detail) = @$row;
    my ($of) = literals($pointer);

    $tried{$_} = 1 for grep { defined } map { /^(\w+)/ ? $1 : () } literals($param);
    $tried{$_} = 1 for $param =~ /\b(length|min|max|positive)\b/g;

    my @values = exists $prose{$value} ? $prose{$value}
        : $value eq '' ? $prose{absent} : literals($value);
    ok(@values, "row \"$param\", $value") or next;

    my $type = $detail =~ /^Token order|type "order"/ ? 'order' : 'transfer';
    my ($name) = $of =~ m{^/params/(\w+)};
    $name //= 'recipient';

    for my $one (@values) {
        my %params = map { $_ => $json->encode($good{$type}{$_}) } keys %{ $good{$type} };
        if (ref $one) { %params = (%params, %$one) }
        elsif (defined $one) { $params{$name} = $one; $params{fast} = 'true' if $name eq 'tip' }
        else { delete $params{$name} }

        is_fault($t->post('/table/intents', body_with($type, {}, %params)), 400, $of,
                 $detail, "$param " . ($one // 'absent') . ": $detail");
    }
}

# Every type of a param and every constraint is in an example that is run

my $params = join "\n", map { "$type{$_}" } keys %type;

for my $row (table($directives, 'A member of `params`; up to 64')) {
    my ($name) = map { /^(\w+)/ } literals($row->[0]);
    ok($params =~ /^\s*param\s+\w+\s+$name\b/m, "an example has a $name");
    ok($tried{$name}, "and there is a fault of it");
}

for my $name (qw(optional default= positive min= max= length=)) {
    ok($params =~ /^\s*param\s.* \Q$name\E/m, "an example has $name");
    my $plain = $name =~ s/=//r;
    ok($tried{$plain}, "and there is a fault of it") unless $name =~ /optional|default/;
}


# --- requests and their answers ----------------------------------------------

# The words of a line as a shell takes them

sub words {
    my ($line) = @_;
    my @words;

    $line =~ s/\s+# .*//;
    while ($line =~ /\G\s*((?:'[^']*'|"[^"]*"|[^\s'"]+)+)/g) {
        push @words, $1 =~ s/'([^']*)'|"([^"]*)"/$1 \/\/ $2/ger;
    }

    return @words;
}

my %real;                                # an id of the page => of this gateway

# An intent for an example that is about one which the page has not made before

sub made_for {
    my ($answer, $path, @auth) = @_;

    my $parked = $answer =~ /"status":"cancelled"/;
    my $intent = $t->post($path, { type => 'transfer', params => $good{transfer},
                                   $parked ? (chain => 'parked') : () }, @auth)->{json};
    $t->wait_intent($intent->{intentId}, 'success') if $answer =~ /\\"success\\"/;
    return $intent->{intentId};
}

sub perform {
    my ($line, $answer) = @_;

    my (undef, @words) = words($line);
    my ($method, $headers, $body, $url) = ('GET', {}, undef, undef);

    while (defined(my $word = shift @words)) {
        if ($word eq '-H') { my ($n, $v) = shift(@words) =~ /^(.*?): (.*)$/; $headers->{$n} = $v }
        elsif ($word eq '-d') { $body = shift @words; $method = 'POST' }
        elsif ($word eq '-X') { $method = shift @words }
        elsif ($word eq '-u') { $headers->{Authorization} = 'Basic ' . encode_base64(shift @words, '') }
        elsif ($word !~ /^-/) { $url = $word }
    }

    $url =~ s{^\$URL}{/api/intents};
    $url =~ s{^\$MY}{/my/intents};
    $url =~ s{^http://127\.0\.0\.1:8080}{};

    my ($base) = $url =~ m{^(/\w+/intents)};
    my $basic = $headers->{Authorization} ? { Authorization => $headers->{Authorization} } : {};

    $url =~ s{\b(01a2\w{4}-\w{4}-7\w{3}-\w{4}-\w{12})\b}{
        $real{$1} //= made_for($answer, $base, $basic) }e;

    # a signature has its time: another one is made for it
    if (defined $body && $body =~ /"signature":"0x/) {
        my $fresh = signed_body();
        $fresh =~ s/"amount":"5"/"amount":"6"/ if $body =~ /"amount":"6"/;
        $body = $fresh;
    }

    my $times = $line =~ /the second time/ ? 2 : 1;
    my $response;
    $response = $t->http($method, $url, $headers, defined $body ? encode_utf8($body) : ())
        for 1 .. $times;
    return $response;
}

# The names of all members, with the kind of their values

sub shape {
    my ($value, $at) = @_;

    return map { shape($value->{$_}, "$at.$_") } sort keys %$value if ref $value eq 'HASH';
    return map { shape($_, "$at\[]") } @$value if ref $value eq 'ARRAY';
    return $at;
}

# What differs between two answers to the same request, taken out

sub plain {
    my ($text) = @_;

    for ($text) {
        s/\b\w{8}-\w{4}-7\w{3}-\w{4}-\w{12}\b/ID/g;
        s/0x[0-9a-fA-F]{64}\b/HASH/g;
        s/recovers to 0x\w{40}/recovers to SIGNER/g;
        s/"\d{4}-\d\d-\d\dT[\d:.]+Z"/"TIME"/g;
        s/cursor=[\w-]+/cursor=CURSOR/g;
        s/^"\w{32}"$/"ETAG"/;
    }

    return $text;
}

my %not_compared = map { $_ => 1 }
    qw(date content-length ratelimit ratelimit-policy x-variables);

sub is_answer {
    my ($got, $documented, $name) = @_;

    my ($head, $body) = $documented =~ /^HTTP/ ? split(/\n\n/, $documented, 2) : ('', $documented);

    if ($head ne '') {
        my ($status, @headers) = split /\n/, $head;
        my %is = map { /^([\w-]+): (.*)$/ ? (lc $1 => plain($2)) : () } @headers;
        my %was = map { $_ => plain($got->{headers}{$_}) } keys %{ $got->{headers} };
        delete @$_{ keys %not_compared } for \%is, \%was;

        is("$got->{protocol} $got->{status} $got->{reason}", $status, "$name: the status")
            unless $documented =~ /"breaker"/;           # one of our chains has no node
        is_deeply(\%was, \%is, "$name: the headers") or diag(explain(\%was));
    }

    $body = (split /\n\n/, $body // '')[0] // '';
    chomp $body;
    my $content = decode_utf8($got->{content});

    if ($body =~ /^retry:/) {
        like($content, qr/\Aretry: \d+\n\n(?:id: \d+\nevent: intentUpdate\ndata: \{.*\}\n\n)+\z/,
             "$name: the stream");
    } elsif ($body =~ /…/ || $body !~ /^[\[{]/) {
        my @missing = grep { $content !~ /"\Q$_\E":/ } $body =~ /"([\w\$-]+)":/g;
        is("@missing", '', "$name: the members");

        my ($params) = $body =~ /"params":(\{.*?\})/;
        is($content =~ /"params":(\{.*?\})/ && $1, $params, "$name: the params")
            if $params && $content =~ /"status":"pending"/ && $content !~ /^\{"intents"/;
    } else {
        my ($is, $was) = ($json->decode($content), $json->decode(encode_utf8($body)));
        my $fixed = $body =~ /"type":"about:blank"|"status":"pending"/ && $body !~ /^\[/;

        if ($fixed) {
            my @texts = map { plain(decode_utf8($json->encode($_))) =~ s/"expiresAt":"TIME"/"expiresAt":null/r } $is, $was;
            s/"(nonce|expiresAt)":[^,}]*//g for @texts;
            is($texts[0], $texts[1], "$name: the answer");
        } else {
            my ($here, $there) = map { my %seen; join "\n", grep { !$seen{$_}++ } shape($_, '') } $is, $was;
            is($here, $there, "$name: the members");
        }
    }
}

# The programs of api.md run as they stand, with the modules of the tests

my $programs = $t->dir . '/programs';
my $modules = $ENV{NODE_PATH} // 'build/node/node_modules';
mkdir $programs;
symlink $modules =~ m{^/} ? $modules : $ENV{PWD} . "/$modules", "$programs/node_modules"
    or die "node_modules: $!";

sub program {
    my ($name, $text, @arguments) = @_;

    $t->write_file("$programs/$name", encode_utf8($text));
    open my $pipe, '-|', 'node', "$programs/$name", @arguments or die "node: $!";
    my $said = do { local $/; <$pipe> } // '';
    close $pipe or die "$name failed: $said\n";
    return decode_utf8($said);
}

my ($sign) = grep { m{node sign\.mjs} } map { $_->{text} } blocks($api);
my $signed_body;

sub signed_body {
    $signed_body //= do {
        my $only = $sign =~ s/^const answer = .*//msr . "console.log(JSON.stringify(body));\n";
        my $said = program('only.mjs', $only, $t->url('/table/intents'));
        chomp $said;
        $said;
    };
}

my $run = 0;
my %made;

# what alice has before she asks for a list

$t->post('/my/intents', { type => 'transfer', params => $good{transfer} },
         { Authorization => 'Basic ' . encode_base64('alice:secret', '') }) for 1 .. 3;

for my $page ([ 'api.md', $api ], [ 'directives.md', $directives ]) {
    for my $block (grep { $_->{text} =~ /^\$ curl/ } blocks($page->[1])) {
        my ($line, $answer) = split /\n/, $block->{text}, 2;
        my $name = "$page->[0]:$block->{line}";

        # see t/63-socketio.t
        next if $line =~ /socket\.io|…&sid/;

        my $got = perform($line =~ s/^\$ //r, $answer);
        is_answer($got, $answer, $name);
        diag("$line\n$got->{content}") if $ENV{INTENT_SHOW};

        my ($old) = $answer =~ /"intentId":"([\w-]+)"/;
        my $new = ref $got->{json} eq 'HASH' ? $got->{json}{intentId} : undef;

        $real{$old} = $new if $old && $new;
        push @{ $made{ $page->[0] } }, $new if $new;
        $run++;
    }
}

cmp_ok($run, '>=', 17, "requests made: $run");

# The data of transactions, one word a line, or all in one

my %of_intent;

for my $block (blocks($directives)) {
    $block->{text} =~ /\A0x([0-9a-f]{8})\b/ or next;
    my $data = join '', $block->{text} =~ /^(?:0x)?([0-9a-f]{8,})\b/mg;

    my ($found) = grep { $_ eq "0x$data" } map { $of_intent{$_} //= do {
        my $hash = $t->wait_intent($_, 'success')->{txHash};
        $t->rpc('eth_getTransactionByHash', $hash)->{input};
    } } @{ $made{'directives.md'} };
    ok($found, "directives.md:$block->{line}: that is what reaches the chain");
}


# --- signatures --------------------------------------------------------------

my $now = time;
my $mine = { type => 'transfer', params => $good{transfer}, chain => 'dev', nonce => '1',
             expiresAt => $now + 3600, key => $t->key(3) };
my $on_parked = { %$mine, chain => 'parked' };

$t->write_file("$programs/jobs", $json->encode({
    types => $t->get('/table/intents/types')->{json}{types}, jobs => [ $mine, $on_parked ] }));

my ($signed, $parked) = map { $json->decode($_) } qx(node t/lib/sign.mjs $programs/jobs);
my $of_no_key = '0x' . '0' x 63 . '5' . '0' x 63 . '1' . '1b';

sub signed_with {
    my ($path, %change) = @_;

    my %body = (type => 'transfer', params => $good{transfer}, userId => $t->address(3), nonce => '1',
                expiresAt => $now + 3600, signature => $signed->{signature}, %change);
    delete @body{ grep { !defined $body{$_} } keys %body };
    return $t->post($path, \%body);
}

is(signed_with('/table/intents')->{status}, 202, 'signed, and taken');
is(signed_with('/table/intents', signature => $signed->{compact})->{status}, 200, 'the same in 64 bytes');

my @of_signatures = (
    [ 'a signature is required', '/required/intents', map { ($_ => undef) } qw(signature nonce) ],
    [ 'signature must have 65 bytes', signature => '0x' . 'ab' x 10 ],
    [ 'the last byte of signature', signature => $signed->{signature} =~ s/..$/05/r ],
    [ 's of signature is in', signature => $signed->{high} ],
    [ 'signature was made by no key', signature => $of_no_key ],
    [ 'signature recovers to', params => { %{ $good{transfer} }, amount => '6' } ],
    [ 'signature must be the caller', '/named/intents?user=alice', userId => undef ],
    [ 'userId may be a contract', chain => 'parked', userId => $R ],
    [ 'signature must be a string', signature => 'x' ],
    [ 'nonce must be a whole', nonce => 'x' ],
    [ 'nonce is that of', signature => undef ],
    [ 'is required in a signed intent', '/expiresAt', expiresAt => undef ],
    [ 'is required in a signed intent', '/userId', userId => undef ],
    [ 'expiresAt of a signed intent must be whole', expiresAt => POSIX::strftime('%FT%T.5Z', gmtime $now + 3600) ],
    [ 'expiresAt of a signed intent must be at most', expiresAt => $now + 40 * 86400 ],
    [ 'userId of a signed intent', userId => 'bob' ],
    [ 'Transfer token must be left out', params => { %{ $good{transfer} }, token => '0x' . '0' x 40 } ],
);

for my $row (table($api, "The same with `\"amount\":\"6\"`")) {
    my ($status, $pointer, $detail) = @$row;
    my ($of) = literals($pointer);

    my ($try) = grep { index($detail, $_->[0]) == 0 && ($_->[1] !~ m{^/(?:expiresAt|userId)$} || $_->[1] eq $of) }
                @of_signatures;
    ok($try, "row: $status $detail") or next;

    my (undef, @change) = @$try;
    my $path = @change % 2 ? shift @change : '/table/intents';
    $path = '/table/intents' if $path =~ m{^/(?:expiresAt|userId)$};
    my $answer = signed_with($path, @change);

    if (defined $of) {
        is_fault($answer, $status, $of, $detail, "$status $of: $detail");
    } else {
        is("$answer->{status} $answer->{json}{detail}", "$status $detail", "$status: $detail");
    }

    is($answer->{headers}{'www-authenticate'}, sprintf('EIP712 types="%s/types"', $path),
       '  with WWW-Authenticate') if $status == 401;
}


# --- problems ----------------------------------------------------------------

# An answer as it comes: for requests that HTTP::Tiny would not make. What comes
# without end is read to the end of its head.

sub raw {
    my ($text, $keep) = @_;

    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $t->{port}, Timeout => 5)
        or die "connect: $!\n";
    syswrite $socket, $text =~ s/\n/\r\n/gr;

    my ($in, $length) = ('', undef);
    my $select = IO::Select->new($socket);

    while (!defined $length || length($in =~ s/.*?\r\n\r\n//sr) < $length) {
        $select->can_read(5) && sysread $socket, $in, 65536, length $in or last;
        $length = $in =~ /^content-length: (\d+)/im ? $1 : 0 if $in =~ /\r\n\r\n/;
    }

    push @$keep, $socket if $keep;
    my ($head, $body) = split /\r\n\r\n/, $in, 2;
    my ($status) = $head =~ m{^HTTP/1\.1 (\d+)};
    my %headers = map { /^([\w-]+): (.*)$/ ? (lc $1 => $2) : () } split /\r\n/, $head;
    return { status => $status, content => $body, headers => \%headers,
             json => $body =~ /^\{/ ? $json->decode($body) : undef };
}

my $hello = "GET /api/intents/stream HTTP/1.1\nHost: 127.0.0.1:$t->{port}\nConnection: Upgrade\n"
          . "Upgrade: websocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n";
my $transfer = { type => 'transfer', params => $good{transfer} };
my $as_alice = { Authorization => 'Basic ' . encode_base64('alice:secret', '') };
my $of_alice = $t->post('/my/intents', $transfer, $as_alice)->{json}{intentId};
my $none = '01a20000-0000-7000-8000-000000000000';
my @streams;

my @of_problems = (
    [ 400, 'the body is not framed', sub { raw("POST /api/intents HTTP/1.1\nHost: x\nContent-Type: application/json\nTransfer-Encoding: chunked\n\nzz\n") } ],
    [ 400, 'an array must have', sub { $t->post('/api/intents', '[]') } ],
    [ 400, 'Idempotency-Key must be', sub { $t->post('/api/intents', $transfer, { 'Idempotency-Key' => 'a b' }) } ],
    [ 400, 'there must be one', sub { $t->post('/api/intents', $transfer, { 'Idempotency-Key' => [ 'a', 'b' ] }) } ],
    [ 400, 'Sec-WebSocket-Key is not', sub { raw($hello =~ s/dGhl/d/r . "\n") } ],
    [ 400, 'an opening handshake', sub { raw("${hello}Content-Length: 1\n\nx") } ],
    [ 403, 'userId must be', sub { $t->post('/my/intents', { %$transfer, userId => 'bob' }, $as_alice) } ],
    [ 403, 'the caller\'s name', sub { $t->post('/named/intents?user=' . 'a' x 257, $transfer) } ],
    [ 403, 'signature must be', sub { signed_with('/named/intents?user=alice', userId => undef) } ],
    [ 403, 'only a known caller has intents to be listed', sub { $t->get('/api/intents') } ],
    [ 403, 'the intent is another', sub { $t->http('DELETE', "/named/intents/$of_alice?user=bob") } ],
    [ 403, 'only a known caller has intents to watch', sub { $t->get('/api/intents/events') } ],
    [ 403, 'pages from this', sub { raw("${hello}Origin: https://other.example\n\n") } ],
    [ 404, 'there is nothing', sub { $t->get('/api/intents/a/b') } ],
    [ 404, 'there is no such', sub { $t->get("/api/intents/$none") } ],
    [ 405, 'this path does not', sub { $t->http('PUT', '/api/intents') } ],
    [ 409, 'the Idempotency-Key', sub { $t->post('/api/intents', body_of('transfer', { amount => $_ }), { 'Idempotency-Key' => 'once' }) for '1'; $t->post('/api/intents', $transfer, { 'Idempotency-Key' => 'once' }) } ],
    [ 409, 'the status of', sub { $t->wait_intent($of_alice, 'success'); $t->http('DELETE', "/my/intents/$of_alice", $as_alice) } ],
    [ 413, 'the body is larger', sub { $t->post('/api/intents', '{"a":"' . 'a' x 20000 . '"}') } ],
    [ 415, 'the body must be', sub { $t->http('POST', '/api/intents', { 'Content-Type' => 'text/plain' }, '{}') } ],
    [ 415, 'the body must have no', sub { $t->post('/api/intents', '{}', { 'Content-Encoding' => 'gzip' }) } ],
    [ 426, 'this is a WebSocket', sub { $t->get('/api/intents/stream') } ],
    [ 426, 'only "Sec', sub { raw($hello =~ s/: 13/: 12/r . "\n") } ],
    [ 429, 'Too many', sub { my $last; $last = $t->post('/few/intents', $transfer) for 1 .. 5; $last } ],
    [ 429, 'there are too many', sub {
        my $id = $t->post('/api/intents', { %$transfer, chain => 'parked' })->{json}{intentId};
        # of one worker: the third finds its worker's place taken
        my ($refused) = grep { $_->{status} == 429 } map {
            raw("GET /narrow/intents/$id/events HTTP/1.1\nHost: x\n\n", \@streams) } 1 .. 3;
        return $refused } ],
    [ 503, 'userId may be', sub { signed_with('/table/intents', chain => 'parked', userId => $R) } ],

    # the others when Postgres is away, and in this order
    [ 503, 'the intent could not be kept', sub { $t->kill('postgres'); $t->post('/api/intents', $transfer) } ],
    [ 503, 'the intent cannot be read', sub { $t->get("/api/intents/$none") } ],
    [ 503, 'intents cannot be read', sub { $t->get('/my/intents', $as_alice) } ],
    [ 503, 'the intent could not be cancelled', sub { $t->http('DELETE', "/api/intents/$none") } ],
);

my %not_tried = (
    'that of the first'     => 'the tables below, and the example of a list',
    '[of signatures]'       => 'the table of signatures',
    'the intent cannot be kept' => 'a row that Postgres refuses: t/23-store.t',
    'Internal Server Error' => 'no memory',
    'Service Unavailable'   => 'a worker that is about to exit: t/33-reload.t',
);

my @later;

for my $row (table($api, '## Problems')) {
    my ($status, $when, $details) = @$row;

    if (my ($reason) = map { $not_tried{$_} } grep { index($details, $_) == 0 } keys %not_tried) {
        note("not tried: $status $details: $reason");
        next;
    }

    for my $detail (split /; (?=an opening|only "Sec)/, $details) {
        my ($try) = grep { $_->[0] == $status && index($detail, $_->[1]) == 0 } @of_problems;
        ok($try, "row: $status $detail") or next;

        push @later, [ $status, $when, $detail, $try->[2] ];
    }
}

sub is_problem {
    my ($status, $when, $detail, $do) = @{ $_[0] };

    my $answer = $do->() // {};
    my $problem = $answer->{json} // {};

    # an example of a status is that of another one
    $detail =~ s/status of the intent is "\w+"/status of the intent is "…"/;
    like(($answer->{status} // '') . ' ' . ($problem->{detail} // ''), like_text("$status $detail"),
         "$status: $detail") or diag($answer->{content});
    is($answer->{headers}{'content-type'}, 'application/problem+json', '  is a problem');

    for my $header (literals($when)) {
        my ($name, $value) = $header =~ /^([A-Z][\w-]*[a-z])(?:: (.*))?$/ or next;
        my $is = $answer->{headers}{lc $name};
        defined $value && $name ne 'Allow' ? is($is, $value, "  with $name")
                                           : ok(defined $is, "  with $name");
    }
}

my @away = grep { $_->[1] =~ /Postgres/ } @later;
is_problem($_) for grep { $_->[1] !~ /Postgres/ } @later;
close $_ for @streams;

for ([ '', 'GET, HEAD, POST' ], [ "/$none", 'GET, HEAD, DELETE' ], [ '/types', 'GET, HEAD' ],
     [ '/events', 'GET, HEAD' ], [ "/$none/events", 'GET, HEAD' ], [ '/stream', 'GET' ])
{
    is($t->http('PUT', "/api/intents$_->[0]")->{headers}{allow}, $_->[1], "Allow of $_->[0]");
    like($api, qr/`(?:Allow: )?\Q$_->[1]\E`/, '  is in the table');
}

# Too many: the block of the 202 and that of the 429

{
    my ($first) = grep { $_->{section} eq 'Too many' } blocks($api);
    my $left = $t->post('/few/intents/', $transfer);         # another key: a path of its own

    for my $name (qw(RateLimit-Policy RateLimit)) {
        my ($is) = $first->{text} =~ /^$name: (.*)$/m;
        is($left->{headers}{lc $name} =~ s/"few"/"submit"/r, $is, "$name of the first of 4");
    }
}


# --- variables, logs, metrics ------------------------------------------------

my @variables = $directives =~ /^`\$(intent_\w+)`$/mg;
my %known = map { $_ => 1 } $source =~ /\{ ngx_string\("(intent_\w+)"\), NULL,\s*ngx_http_intent_\w*variable/g;

is(join(' ', sort @variables), join(' ', sort keys %known), 'the variables');

sub variables {
    my ($answer) = @_;
    my %is; @is{ qw(id type status user cache limit remaining) } = split /\|/, $answer->{headers}{'x-variables'}, -1;
    return \%is;
}

{
    my $made = $t->post('/my/intents', $transfer, $as_alice);
    my $is = variables($made);
    my $id = $made->{json}{intentId};

    is_deeply([ @$is{qw(id type status user cache limit)} ],
              [ $id, 'transfer', 'pending', 'alice', '', 'PASSED' ], 'variables of a POST');
    like($is->{remaining}, qr/^\d+$/, 'what remains');

    $t->wait_intent($id, 'success');
    is_deeply([ @{ variables($t->get("/api/intents/$id")) }{qw(type status user cache limit)} ],
              [ 'transfer', 'success', 'alice', 'HIT', '' ], 'of a GET');
    is(variables($t->get("/api/intents/$none"))->{cache}, 'MISS', 'of one that is not there');
    is(variables($t->post('/few/intents', $transfer))->{limit}, 'REJECTED', 'of too many');
    is(variables($t->post('/api/intents', [ $transfer, $transfer ]))->{id}, '', 'of an array');
    is(variables($t->get('/my/intents', $as_alice))->{user}, 'alice', 'of a list');

    my ($lines) = map { $_->{text} } grep { $_->{section} eq 'Embedded variables' && $_->{text} =~ /^127/ } blocks($directives);
    my $log = $t->read_file($t->dir . '/intent.log');

    for (split /\n/, $lines) {
        my ($method, $rest) = /"(\w+) \S+ HTTP\/1\.1" (.*)$/;
        my $pattern = join '\\S+', map { quotemeta } split /[0-9a-f-]{36}/, $rest, -1;
        like($log, qr/^127\.0\.0\.1 "$method \S+ HTTP\/1\.1" $pattern$/m, "the line of a $method");
    }
}

{
    $t->post('/hooked/intents', $transfer);

    my $scrape = $t->get('/metrics')->{content};
    my %type_of = $scrape =~ /^# TYPE (\S+) (\w+)$/mg;
    my %labels;

    while ($scrape =~ /^(\w+?)(?:_bucket|_sum|_count)?(?:\{(.*)\})? \S+$/mg) {
        my ($name, $text) = ($1, $2 // '');
        $name = "$1" unless $type_of{$name};
        $labels{$name} = join ', ', grep { $_ ne 'le' } $text =~ /(\w+)="/g;
    }

    my %documented = map { ((literals($_->[0]))[0] => $_) } table($operations, '`location = /metrics');

    is(join("\n", sort keys %type_of), join("\n", sort keys %documented), 'the metrics');

    for my $name (sort keys %documented) {
        my ($is, $of) = ($labels{$name} // '', $documented{$name}[1]);
        is(join(' ', sort split /, /, $is), join(' ', sort split /, /, $of), "$name: its labels");
        like($documented{$name}[2], qr/^$type_of{$name}\b|^1$/, "$name: a $type_of{$name}");
    }
}


# --- programs ----------------------------------------------------------------

like(program('sign.mjs', $sign, $t->url('/table/intents')), qr/ 20[02] \{"intentId":/,
     'what viem signs from …/types alone');

{
    my ($other) = map { $_->{text} } grep { $_->{text} =~ /EIP712Domain, \.\.\.structs/ } blocks($api);
    my $with = $sign;

    $with =~ s{^import .* from 'viem/accounts';}{import { Wallet } from 'ethers';}m;
    $with =~ s{privateKeyToAccount\(}{new Wallet(};
    $with =~ s{^ +const signature = await .*?\}\);\n}{$other}ms or die;
    $with =~ s{\b7, }{8, };
    like(program('ethers.mjs', $with, $t->url('/table/intents')), qr/ 202 \{"intentId":/, 'and with ethers');
}

{
    my ($submit) = map { $_->{text} } grep { $_->{text} =~ m{^// submit\.mjs} } blocks($api);
    $t->write_file("$programs/submit.mjs", $submit);

    my $said = program('twice.mjs', <<'END', $t->url('/tried/intents'), $json->encode($transfer));
        import { submit } from './submit.mjs';
        const [url, body] = [process.argv[2], JSON.parse(process.argv[3])];
        const said = [];
        for (const key of ['one', 'one']) {
            const answer = await submit(url, body, key);
            said.push([answer.status, (await answer.json()).intentId]);
        }
        console.log(JSON.stringify(said));
END
    my $answers = $json->decode($said);
    is(join(' ', map { $_->[0] } @$answers), '202 202', 'submit waits as long as it is told');
    is($answers->[0][1], $answers->[1][1], 'one key, one intent');
}

{
    my ($ajv) = map { $_->{text} } grep { $_->{text} =~ /^import Ajv/ } blocks($api);
    my $said = program('ajv.mjs', <<"END", $t->url('/table/intents'));
const url = process.argv[2];
${ajv}console.log([{ amount: '2.25' }, { amount: '33' }].map((params) => valid({ type: 'stake', params })).join());
END
    is($said, "true,false\n", 'ajv on the schema');
}

# those for a browser: t/65-page.t, t/68-catch-up.t

is_problem($_) for @away;

$t->clean_ok;
done_testing;
