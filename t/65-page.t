# The page of docs/demo in Chromium: an intent submitted by its form is seen live, over each
# transport, with and without TLS, over a reload, and what is refused is said.

use strict;
use warnings;

use lib 't/lib';
use IntentTest qw(free_port);
use Page;
use Test::More;

my $tls = free_port();

sub gateway {
    my (%option) = @_;

    my $t = IntentTest->new(start => 0, anvil => { 'no-mining' => undef }, chain => { confirmations => 2 });
    my $listen = delete $option{tls} ? Page::tls($t, $tls) : '';

    $t->write_conf(
        server => Page::server($t) . $listen,
        types  => $t->default_types . '
            intent_type note {
                label  "note";
                param  text  string;
                call   to=0x1111111111111111111111111111111111111111 value=1;
            }',
        %option);
    $t->nginx_start;
    return $t;
}

sub page {
    my ($t, $url, @more) = @_;

    my $out = IntentTest::decode(scalar `node t/push/page.cjs $t->{dir} $url http://127.0.0.1:$t->{anvil_port}/ @more`);
    die "$out->{error}\n" if $out->{error};
    return $out;
}

# What is shown of an intent from its beginning to its end

sub cards_ok {
    my ($t, $out, $name) = @_;
    my %seen;

    for my $card (@{ $out->{cards} }) {
        my ($transport) = $card->{title} =~ /^transfer over (.*)$/;
        my $intent = $t->get_intent($card->{id});
        my @told = grep { $_->[0] !~ /POST/ } @{ $card->{updates} };
        my @versions = map { $_->[1] } @told;

        $seen{$transport} = 1;
        is($card->{seen}, 'pending executing success', "$name, $transport: each status is shown")
            or diag(explain($card));
        is($card->{steps}, 'pending done, executing done, success done', 'as steps');
        is($card->{message}, 'Successfully completed your transfer!', 'and in words');
        is("@versions", join(' ', $versions[0] .. $intent->{version}), 'each update, once');
        is($card->{shown}{transaction}, $intent->{txHash}, 'the hash');
        is("$card->{shown}{block} $card->{shown}{gas}", "$intent->{blockNumber} 21000", 'block and gas');
        is($card->{shown}{cost}, "$intent->{gasCost} wei", 'and cost');
        is($card->{connection}, 'done', 'the connection is over');
        is(scalar(grep { $_->[2] !~ /^\d+ ms$/ || $_->[3] !~ /^-?\d+ ms$/ } @{ $card->{updates} }), 0, 'times');
    }

    is(join(' ', sort keys %seen), 'EventSource Socket.IO WebSocket', "$name: the three transports");
    like("@{ $out->{open} }", qr/^WebSocket EventSource Socket\.IO, (?:websocket|polling)$/, 'and they said so');
}

subtest 'submitted by the form, watched live' => sub {
    my $t = gateway(http => 'intent_limit_zone $binary_remote_addr zone=few:1m rate=5r/1h;',
                    api  => 'intent_limit zone=few;');
    local $ENV{INTENT_PAGE_MISTAKES} = 1;
    my $out = page($t, $t->url('/'));
    my $wrong = $out->{mistakes};

    cards_ok($t, $out, 'plain');

    my $source = $t->get('/')->{content};
    my $client = "const socket = io(); socket.emit('subscribe', intentId); socket.on('intentUpdate', "
                 . '(data) => updateIntentStatus(data.intentId, data.status));';
    like($source, qr/^ *\Q$client\E$/m, 'the Socket.IO client is the promised one, word for word');
    unlike($source, qr/(?:inner|outer|insertAdjacent|set)HTML|document\.write|\beval\b|https?:(?!\/\/www\.w3\.org)/,
           'nothing is made of HTML or comes from elsewhere');

    like($wrong->{problem}, qr/^400: .*Transfer/, 'a 400 is told');
    is($wrong->{role}, 'alert', 'as an alert');
    like($wrong->{faults}{recipient}, qr/must be an address.* true$/, 'at the field');
    like($wrong->{faults}{amount}, qr/must be positive.* true$/, 'at each that is wrong');
    like($wrong->{faults}{token}, qr/^ false$/, 'and at no other');

    is($wrong->{after}, '', 'it goes when the next one is taken');
    is($wrong->{note}{shown}{text}, '<b>bold</b><img src=x onerror=alert(1)>', 'markup is shown as text');
    is($wrong->{note}{markup}, 0, 'and is none');

    is($wrong->{left} =~ s/for \d+ s//r, '0 left ', 'how many may follow is told');
    like($wrong->{many}, qr/^429: Too many intents created, please try again later \(in \d+ s\)$/, 'a 429 is told');

    # the browser itself notes that an answer was an error

    my @noted = grep { $_->{text} =~ /^Failed to load resource: .* status of (?:400|429) / } @{ $out->{console} };
    is(scalar @noted, 2, 'the console has the two answers that were errors');
    is(scalar @{ $out->{console} }, 2, 'and no other error') or diag(explain($out->{console}));

    $t->nginx_quit;
    $t->clean_ok;
};

subtest 'https, wss, HTTP/2; a reload meanwhile' => sub {
    my $t = gateway(tls => 1);
    my $out = page($t, "https://127.0.0.1:$tls/", "$t->{dir}/nginx.pid");

    cards_ok($t, $out, 'TLS');
    is(join(' ', keys %{{ map { $_ => 1 } @{ $out->{protocols} } }}), 'h2', 'the API is asked over HTTP/2');
    is(scalar @{ $out->{console} }, 0, 'no error in the console') or diag(explain($out->{console}));

    $t->nginx_quit;        # what is open is logged at its end

    my %line = map { ($t->access_log =~ m{"GET (/\S*?$_\S*) (HTTP/\S+)" (\d+)}) ? ($_ => "$2 $3") : () }
               '/events', '/stream', 'transport=websocket', 'transport=polling';
    is_deeply(\%line, { '/events' => 'HTTP/2.0 200', '/stream' => 'HTTP/1.1 101',
                        'transport=websocket' => 'HTTP/1.1 101', 'transport=polling' => 'HTTP/2.0 200' },
              'events and polls over HTTP/2, WebSockets over HTTP/1.1') or diag($t->access_log);

    $t->clean_ok;
};

done_testing;
