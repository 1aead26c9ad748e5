# A page of another origin uses the API as docs/operations.md says it can: what is
# there is what nginx is configured with here, and Chromium is who obeys CORS.

use strict;
use warnings;

use lib 't/lib';
use IntentTest qw(free_port);
use Test::More;

my ($page, $stranger) = (free_port(), free_port());
my $docs = IntentTest->read_file('docs/operations.md');

my ($section) = $docs =~ /^## Pages of another origin\n(.*?)^## /ms or die "no such section\n";
my ($map) = $section =~ /^( {4}map .*?^ {4}\}\n)/ms or die "no map\n";
my ($api) = $section =~ /^ {4}location \/api\/intents \{\n {8}intent_api;\n(.*?)^ {4}\}\n/ms
    or die "no location\n";

s/\Qhttps:\/\/app.example.com\E/http:\/\/127.0.0.1:$page/g for $map, $api;

my $t = IntentTest->new(
    http => "intent_limit_zone \$binary_remote_addr zone=few:1m rate=6r/1h; $map" . join('', map { "
        server {
            listen 127.0.0.1:$_;
            location = /empty.html { default_type text/html; return 200 '<!DOCTYPE html><link rel=icon href=data:,>'; }
        }" } $page, $stranger),
    api  => "$api intent_limit zone=few; intent_user \$http_authorization;",
);

sub visit {
    my ($from) = @_;

    my $out = IntentTest::decode(scalar
        `node t/push/origin.cjs $t->{dir} http://127.0.0.1:$from/empty.html @{[ $t->url('/api/intents') ]}`);
    die "$out->{error}\n" if $out->{error};
    return $out;
}

my $out = visit($page);

is($out->{post}{status}, 202, 'POST with an Idempotency-Key');
like($out->{post}{headers}{location}, qr{^/api/intents/[0-9a-f-]{36}$}, 'Location is seen');
like($out->{post}{headers}{ratelimit}, qr/^"few";r=5;t=\d+$/, 'RateLimit');
is($out->{post}{headers}{'ratelimit-policy'}, '"few";q=6;w=3600', 'RateLimit-Policy');

is($out->{again}{status}, 202, 'again');
is($out->{again}{headers}{'idempotency-replayed'}, 'true', 'Idempotency-Replayed');
is($out->{again}{body}, $out->{post}{body}, 'the same answer');

is($out->{wrong}{status}, 400, 'what is wrong');
like($out->{wrong}{body}, qr/Missing required fields/, 'can be read');

is($out->{types}{status}, 200, 'types');
like($out->{types}{headers}{etag}, qr/^"/, 'ETag');
is($out->{unchanged}{status}, 304, 'If-None-Match may be said');

is_deeply([ map { $_->{status} } @{ $out->{events} } ], [ sort_of($out->{events}) ], 'events');
is($out->{events}[-1]{status}, 'success', 'up to the last');
is($out->{websocket}, 'success', 'a WebSocket');

is($out->{list}{status}, 200, 'the list of who is authorized');
like($out->{list}{headers}{link}, qr/rel="next"/, 'Link');
is($out->{cancel}{status}, 409, 'DELETE');

is($out->{many}{status}, 429, 'too many');
like($out->{many}{headers}{'retry-after'}, qr/^\d+$/, 'Retry-After');
like($out->{many}{body}, qr/Too many intents created/, 'says so');

is($t->metric('intent_limit_requests_total', zone => 'few', result => 'passed'), 6,
   'preflights are not counted');

# each status that was told, in the order of the states

sub sort_of {
    my $i = 0;
    my %order = map { $_ => $i++ } qw(pending executing success);
    return sort { $order{$a} <=> $order{$b} } map { $_->{status} } @{ $_[0] };
}

$out = visit($stranger);

for my $name (qw(post types list)) {
    like($out->{$name}{failed}, qr/Failed to fetch/, "from elsewhere: no $name");
}

is($out->{websocket}, 'refused', 'from elsewhere: no WebSocket');
is($t->psql('select count(*) from intents'), 3, 'nothing came of it');

$t->nginx_quit;
$t->clean_ok;
done_testing;
