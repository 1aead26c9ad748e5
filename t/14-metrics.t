# The metrics: a page that promtool finds nothing to say about, counters that
# agree with what was done, over two workers and over reloads.

use strict;
use warnings;

use lib 't/lib';
use IntentTest qw(wait_for wei);
use Test::More;

my $t = IntentTest->new(
    workers => 2,
    chain   => { poll_interval => '50ms' },
    anvil   => {},                          # a block for each transaction
    http    => q(log_format worker '$request_method $pid';),
    server  => 'access_log $DIR/workers.log worker;',
);

my %params = (recipient => $t->address(5), amount => '3');

sub page { $t->get('/metrics')->{content} }
sub lines { my $name = shift; join "\n", page() =~ /^(\Q$name\E[{ ].*)$/mg }
sub submitted { $t->metric('intents_submitted_total', type => 'transfer', status => $_[0]) }
sub rejected { $t->metric('intents_rejected_total', @_) }

# The worker says what it did to Postgres first, and counts then

sub wait_metric {
    my ($wanted, @metric) = @_;

    my $is;
    wait_for(sub { ($is = $t->metric(@metric) // 'none') eq $wanted }, 10,
             sub { "@metric to be $wanted, it is $is" });
    pass("@metric is $wanted");
}

subtest 'before anything' => sub {
    is(submitted($_), 0, "$_: 0") for qw(pending executing success failed expired cancelled);
    is($t->metric('intent_resolution_time_seconds_count', type => 'transfer'), 0,
       'nothing has ended');
    like(lines('intent_build_info'), qr/^intent_build_info\{version="[^"]+",nginx="[\d.]+"\} 1$/,
         'intent_build_info');
    like($t->get('/intent_status')->{content},
         qr{\AActive intents: 0 \nsubmitted success failed expired cancelled\n 0 0 0 0 0 \nPending: 0 Executing: 0 \nNode chain="dev",endpoint="/_rpc/dev" closed head \d+ \n\z},
         'intent_stub_status');
};

my @ids;

subtest 'intents over many connections' => sub {
    # until both workers have had some

    wait_for(sub {
        push @ids, map { IntentTest::decode($_->{body})->{intentId} }
            $t->load(count => 60, connections => 20, body => sub {
                IntentTest::encode({ type => 'transfer', params => \%params }) });

        my %pid = map { $_ => 1 } $t->read_file("$t->{dir}/workers.log") =~ /^POST (\d+)$/mg;
        keys %pid == 2;
    }, 20, 'POSTs at both workers');

    my $count = @ids;

    # one that fails on the chain's word: the signer has none of that token

    my $token = $t->deploy_token;
    my $bad = $t->post_intent('transfer', { %params, amount => '5', token => $token })
                ->{intentId};
    $t->wait_intent($_, 'success') for @ids;
    $t->wait_intent($bad, 'failed');

    wait_metric($count + 1, 'intents_submitted_total', type => 'transfer', status => 'pending');
    wait_metric($count, 'intents_submitted_total', type => 'transfer', status => 'success');
    wait_metric(1, 'intents_submitted_total', type => 'transfer', status => 'failed');
    wait_metric($count + 1, 'intents_submitted_total', type => 'transfer',
                status => 'executing');
    is(submitted($_), 0, "no $_") for qw(expired cancelled);
};

subtest 'how long it took' => sub {
    my @buckets = page() =~ /^intent_resolution_time_seconds_bucket\{type="transfer",le="([^"]+)"\}/mg;
    is("@buckets", '1 5 10 30 60 300 600 1800 +Inf', 'the buckets');

    wait_metric(@ids + 1, 'intent_resolution_time_seconds_count', type => 'transfer');

    my @counts = page() =~ /^intent_resolution_time_seconds_bucket\{.*\} (\d+)$/mg;
    is("@counts", join(' ', sort { $a <=> $b } @counts), 'each has what the one before has');
    is($counts[-1], @ids + 1, 'the last has all');

    # within the bounds of what Postgres knows, by a second for each

    my $sum = $t->metric('intent_resolution_time_seconds_sum', type => 'transfer');
    my $known = $t->psql('SELECT sum(extract(epoch FROM updated_at - created_at)) FROM intents');
    cmp_ok(abs($sum - $known), '<', 1 + @ids * 0.1, "the sum is that of Postgres ($sum, $known)");
};

subtest 'gas' => sub {
    my ($used, $cost) = (wei(0), wei(0));

    for my $intent (map { $t->get_intent($_) } @ids) {
        $used += $intent->{gasUsed};
        $cost += wei($intent->{gasCost});
    }

    cmp_ok($used, '>=', 21000 * @ids, 'it was used');
    is($t->metric('intent_gas_used_total', type => 'transfer', chain => 'dev'), "$used",
       'intent_gas_used_total is the sum of gasUsed');

    my $metric = $t->metric('intent_gas_cost_wei_total', type => 'transfer', chain => 'dev');
    cmp_ok($metric, '>', 0, 'it cost something');
    cmp_ok(abs($metric / $cost->numify - 1), '<', 1e-12,
           'intent_gas_cost_wei_total is the sum of gasCost');
};

subtest 'what is refused' => sub {
    my @refused = (
        [ json       => '',         '{"type":' ],
        [ invalid    => '',         '{"type":"nothing","params":{}}' ],
        [ invalid    => 'transfer', '{"type":"transfer","params":{"amount":"0"}}' ],
        [ media_type => '',         '{}', { 'Content-Type' => 'text/plain' } ],
        [ too_large  => '',         ' ' x 40_000 ],
    );

    my $pending = submitted('pending');

    for (@refused) {
        my ($reason, $type, $body, $headers) = @$_;
        my $before = rejected(type => $type, reason => $reason);
        my $all = rejected();
        my $status = $t->post('/api/intents', $body, $headers)->{status};

        is(rejected(type => $type, reason => $reason), $before + 1,
           "$status is counted: type \"$type\", reason $reason");
        is(rejected(), $all + 1, 'and once only');
    }

    is(submitted('pending'), $pending, 'none was submitted');
};

subtest 'the page' => sub {
    my $answer = $t->get('/metrics');
    my $page = $answer->{content};

    is($answer->{status}, 200, 'there is one');
    is($answer->{headers}{'content-type'}, 'text/plain; version=0.0.4; charset=utf-8',
       'its type');

    my %head;
    $head{$_}++ for $page =~ /^# TYPE (\S+)/mg;
    is_deeply([ grep { $head{$_} > 1 } keys %head ], [], 'each family is there once');

    is($t->http('HEAD', '/metrics')->{status}, 200, 'HEAD');
    is($t->post('/metrics', '{}')->{status}, 405, 'POST is not allowed');
    is($t->http('DELETE', '/metrics')->{status}, 405, 'nor is DELETE');
    is($t->post('/intent_status', '{}')->{status}, 405, 'POST of the other page');

    like($t->get('/intent_status')->{content},
         qr/\AActive intents: 0 \nsubmitted success failed expired cancelled\n ${\(@ids + 1)} ${\scalar @ids} 1 0 0 \nPending: 0 Executing: 0 \nNode chain="dev",endpoint="\/_rpc\/dev" closed head [1-9]\d* \n\z/,
         'intent_stub_status');

    SKIP: {
        skip 'no promtool here', 1 if system('command -v promtool >/dev/null') != 0;

        my $file = $t->write_file("$t->{dir}/page", $page);
        my $said = `promtool check metrics < $file 2>&1`;
        ok($? == 0 && $said eq '', 'promtool has nothing to say') or diag($said);
    }
};

subtest 'over reloads' => sub {
    my $counters = sub {
        join "\n", grep { /^intents?_(?:submitted|rejected|resolution|gas)/ && !/type="other"/ }
                   split /\n/, page();
    };
    my $before = $counters->();

    # the workers that were there are gone, so those of now have answered

    my $settle = sub { my @old = @_;
                       wait_for(sub { !grep { $t->alive($_) } @old }, 20, 'the old workers') };

    $settle->($t->nginx_reload);
    is($counters->(), $before, 'the values are the same');

    $settle->($t->nginx_reload(types => $t->default_types . <<'END'));
        intent_type other {
            param  to  address;
            call   to=$to value=1;
        }
END
    is($counters->(), $before, 'a new type changes none');
    is($t->metric('intents_submitted_total', type => 'other'), 0, 'it has its own');

    my $id = $t->post_intent('other', { to => $t->address(5) })->{intentId};
    $t->wait_intent($id, 'success');
    wait_metric(1, 'intents_submitted_total', type => 'other', status => 'success');
    is($counters->(), $before, 'what it counts is its own');

    # a type that comes first, and one that goes

    $settle->($t->nginx_reload(types => <<'END' . $t->default_types));
        intent_type another {
            param  to  address;
            call   to=$to value=1;
        }
END
    is($counters->() =~ s/^.*type="another".*\n?//mgr, $before,
       'nor does the place in the configuration');
    is($t->metric('intents_submitted_total', type => 'another'), 0, 'what comes begins at 0');
    is($t->metric('intents_submitted_total', type => 'other'), undef, 'what is gone is not told');
};

$t->nginx_quit;
$t->clean_ok;

done_testing;
