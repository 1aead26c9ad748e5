# The JSON Schema that GET .../types serves takes what the server takes, and
# nothing else: both judge the same bodies, for types of every kind of param and
# every constraint. t/lib/agreement.mjs makes types and bodies, from a seed.

use strict;
use warnings;

use lib 't/lib';
use IntentTest;
use Test::More;

my $count = $ENV{INTENT_TEST_AGREEMENT} || 20000;

# the same each time, for a failure is not to come by chance; "random" looks for others

my $seed = $ENV{INTENT_TEST_SEED} || 20261122;
$seed = int rand 1 << 31 if $seed eq 'random';

diag("INTENT_TEST_SEED=$seed INTENT_TEST_AGREEMENT=$count");

sub program {
    my @arguments = @_;

    open my $node, '-|', 'node', 't/lib/agreement.mjs', @arguments or die "node: $!";
    my $out = do { local $/; <$node> } // '';
    close $node or die "agreement.mjs @arguments failed\n";
    return $out;
}

# No node answers at that port: intents are taken and wait.

my $chain = <<'END';
        intent_chain %s {
            chain_id  %d;
            rpc       /_rpc/none;
            signer    key_file=$KEY_FILE;
            max_fee   500gwei;
        }
END

my $t = IntentTest->new(
    workers  => 2,
    anvil    => 0,
    services => [qw(postgres redis)],
    types    => sprintf($chain, 'dev', 31337) . sprintf($chain, 'other', 31338)
                . program('types', $seed),
    server   => 'location /_rpc/none { internal; proxy_pass http://127.0.0.1:1/; } '
              . 'location /signed { intent_api; intent_signature optional; }',
);

my $begin = time;
my $result = JSON::PP->new->utf8->decode(program('run', $seed, $t->url('/api/intents'), $count));

diag(sprintf 'types of %d bytes; taken %d, refused %d in %d s', $result->{bytes},
     $result->{taken}, $result->{refused}, time - $begin);

for my $name (sort keys %{ $result->{broken} }) {
    diag(sprintf '  %-10s taken %5d  refused %5d', $name,
         @{ $result->{broken}{$name} }{qw(taken refused)});
}

is(scalar @{ $result->{differences} }, 0, 'the same verdict every time');

for my $difference (@{ $result->{differences} }[0 .. 4]) {
    diag(JSON::PP->new->canonical->pretty->allow_nonref->encode($difference)) if $difference;
}

# a test of nothing but mistakes, or of none, would show nothing

cmp_ok($result->{taken}, '>', $count / 5, 'enough are taken');
cmp_ok($result->{refused}, '>', $count / 5, 'enough are refused');
is(scalar(grep { $_->{taken} } values %{ $result->{types} }),
   scalar(keys %{ $result->{types} }), 'some of each type')
    or diag(join ' ', 'none of:', grep { !$result->{types}{$_}{taken} } sort keys %{ $result->{types} });

is($t->psql('select count(*) from intents'), $result->{taken}, 'what was taken is kept');


# Patterns are for clients in any language. Perl's, and so PCRE's, name no
# surrogates; RE2, which is Go's and Rust's, knows no look-ahead either.

sub patterns {
    my $node = shift;

    return map { patterns($_) } @$node if ref $node eq 'ARRAY';
    return () unless ref $node eq 'HASH';
    return map { $_ eq 'pattern' && !ref $node->{$_} ? $node->{$_} : patterns($node->{$_}) }
           sort keys %$node;
}

my $served = $t->get('/signed/types')->{json};
my %pattern = map { $_ => 1 } patterns($served);

is(join("\n", grep { /\\[^x.+]|\(\?[^:]/ || !eval { qr/$_/ } } sort keys %pattern), '',
   'patterns have nothing that is of one language');
cmp_ok(scalar(keys %pattern), '>', 20, 'of ' . keys(%pattern));

my ($text) = map { $_->{schema}{properties}{userId}{pattern} } @{ $served->{types} };

is(join(' ', map { /$text/ ? 1 : 0 } '', "a\x{d7fe}\x{d7ff}\x{e000}\x{e001}\x{10ffff}",
        'u0019', "\0", "a\0", "\x{e000}\0"), '1 1 1 0 0 0', 'a text is any text without NUL');

$t->nginx_quit;
done_testing;
