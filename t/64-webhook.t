# intent_webhook: each change of an intent is told to a receiver, in order, at
# least once, whatever becomes of the receiver. What becomes of nginx and of
# Postgres is in 64-webhook-faults.t.
#
# INTENT_WEBHOOK_SECONDS is how long the receiver is away, 8 unless told.

use strict;
use warnings;

use lib 't/lib';
use IntentTest qw(wait_for);
use Test::More;
use Time::HiRes qw(sleep time);
use Time::Local qw(timegm);
use WebhookReceiver;

my $away = $ENV{INTENT_WEBHOOK_SECONDS} // 8;
my $count = $ENV{INTENT_WEBHOOK_COUNT} // 120;

my $t = IntentTest->new(
    start    => 0,
    workers  => 2,
    accounts => 2,
    anvil    => { 'block-time' => 1, 'gas-limit' => 300_000_000 },
);

my $receiver = WebhookReceiver->new($t);
my %conf = $receiver->conf(server => <<'END');
        location = /_nobody { internal; proxy_pass http://127.0.0.1:1; }
        location /nobody { intent_api; intent_webhook /_nobody; }
END

sub milliseconds {
    my ($y, $m, $d, $h, $i, $s, $ms) = $_[0] =~ /(\d+)-(\d+)-(\d+)T(\d+):(\d+):(\d+)\.(\d+)Z/;
    return timegm($s, $i, $h, $d, $m - 1, $y) * 1000 + $ms;
}

sub rss { $t->read_file("/proc/$_[0]/status") =~ /VmRSS:\s+(\d+)/ ? $1 : 0 }


# --- configuration -----------------------------------------------------------

$t->write_file("$t->{dir}/open.secret", $receiver->{raw}, 0644);
$t->write_file("$t->{dir}/short.secret", 'whsec_c2hvcnQ=', 0600);
$t->write_file("$t->{dir}/bad.secret", 'whsec_' . '!' x 40, 0600);

for (
    [ 'a bad uri', 'webhook', qr{invalid webhook "webhook", it should be the uri} ],
    [ 'no location', '/_none', qr{no server has a location for webhook "/_none", add "location /_none \{} ],
    [ 'no file', '/_webhook secret_file=/nowhere', qr{open\(\) "/nowhere" failed} ],
    [ 'a bad parameter', '/_webhook secret=x', qr{invalid parameter "secret=x"} ],
    [ 'too few in flight', '/_webhook max_in_flight=0', qr{invalid parameter "max_in_flight=0"} ],
    [ 'too old', '/_webhook max_age=31d', qr{invalid parameter "max_age=31d"} ],
    [ 'no time', '/_webhook timeout=0', qr{invalid parameter "timeout=0"} ],
    [ 'twice', '/_webhook; intent_webhook off', qr{"intent_webhook" directive is duplicate} ],
    [ 'a file for all', '/_webhook secret_file=$DIR/open.secret', qr{secret file ".*" can be read by others} ],
    [ 'a short secret', '/_webhook secret_file=$DIR/short.secret', qr{does not hold a secret} ],
    [ 'no base64', '/_webhook secret_file=$DIR/bad.secret', qr{does not hold a secret} ],
) {
    my ($name, $api, $said) = @$_;
    my ($ok, $out) = $t->nginx_test(%conf, api => "intent_webhook $api;");
    ok(!$ok && $out =~ $said && $out !~ /c2hvcnQ|plain text|!!!/, "$name: [emerg], and no secret in it")
        or diag($out);
}

{
    my ($ok, $out) = $t->nginx_test(%conf, server => $conf{server}
        . 'location /other { intent_api; intent_webhook /_webhook secret_file=$DIR/raw.secret; }');
    ok(!$ok && $out =~ m{webhook "/_webhook" has other parameters in}, 'another secret for one uri: [emerg]');

    ($ok, $out) = $t->nginx_test(%conf, server => $conf{server} =~ s/nobody \{ internal;/nobody {/r
        . 'location /other { intent_api; intent_webhook /_webhook; }');
    ok($ok && $out =~ m{the location of webhook "/_nobody" is not internal},
       'the same uri alone is the same webhook; one that clients can call is warned of') or diag($out);
}


# --- all is well -------------------------------------------------------------

$t->write_conf(%conf);
$t->nginx_start;

{
    my @ids = $receiver->submit($count);
    $receiver->finished;
    $receiver->all_told;
    $receiver->check('a receiver that takes all', \@ids);

    my @told = $receiver->told;
    my ($first) = grep { $_->{event}{version} == 1 } @told;
    is_deeply([ @$first{qw(method path)}, $first->{headers}{'content-type'}, $first->{event}{event} ],
              [ 'POST', '/hook', 'application/json', 'intentUpdate' ], 'the request');

    my $last = (grep { $_->{event}{intentId} eq $ids[0] } @told)[-1]{event};
    delete $last->{event};
    is_deeply($last, $t->get_intent($ids[0]), 'the last of an intent is what GET answers');

    wait_for(sub { $t->metric('intent_webhook_deliveries_total', result => 'delivered') == @told }, 20,
             'what was delivered is counted');
    is($t->metric('intent_webhook_deliveries_total', result => 'failed'), 0, 'nothing failed');
    is($t->metric('intent_webhook_seconds_count'), scalar @told, 'how long each took is known');
    is($t->metric('intent_webhook_delay_seconds_count'), scalar @told, 'and how late it was');
    wait_for(sub { $t->metric('intent_webhook_waiting', webhook => '/_webhook') == 0 }, 10, 'the gauge');
    like($t->get('/intent_status')->{content}, qr{^Webhook webhook="/_webhook" closed waiting 0 $}m,
         'the status page');

    # one after the other, or on a busy machine they wait for each other; who only looks
    # does it once a second, and these are submitted when it has just been done

    my @late;

    for (1 .. 11) {
        my ($id) = $receiver->submit(1);
        my $told;
        wait_for(sub { ($told) = grep { $_->{event}{intentId} eq $id } $receiver->told }, 20, 'it to be told');
        push @late, $told->{at} - milliseconds($told->{event}{createdAt});
    }

    @late = sort { $a <=> $b } @late;
    cmp_ok($late[7], '<', 300, "it is told at once, not when somebody looks: after @late ms");
    $receiver->finished;
    $receiver->all_told;

    $receiver->forget;
    $receiver->submit(5, path => '/untold');
    $receiver->finished;
    is($t->psql('select count(*) from intents where webhook is null'), 5, 'off: no webhook');
    is($receiver->waiting + $receiver->told, 0, 'and no row in the outbox');
}


# --- a receiver that is away -------------------------------------------------

{
    $receiver->forget;
    $receiver->stop;

    my $start = time;
    my @ids = $receiver->submit($count);

    wait_for(sub { $t->get('/intent_status')->{content} =~ m{"/_webhook" (?:half-)?open waiting [1-9]} },
             15, 'the breaker to open');
    $receiver->finished;
    sleep 0.1 while time < $start + $away;

    my $failed = $t->metric('intent_webhook_deliveries_total', result => 'failed');
    cmp_ok($failed, '<', 60 + $away, "away for $away s: $failed attempts in vain");

    my $back = time;
    $receiver->start;
    $receiver->all_told(40);
    note(sprintf 'all was told %.1f s after it was back', time - $back);

    $receiver->check('a receiver that was away', \@ids);
    like($t->error_log, qr/\[warn\].*webhook "\S+" has not taken \d+ in a row/, 'the log says so');
}


# --- one that refuses some, hangs, redirects ---------------------------------

{
    $receiver->forget;
    $receiver->mode(fail => 0.3);
    my @ids = $receiver->submit($count / 2);
    $receiver->finished;
    $receiver->all_told(40);
    $receiver->check('a receiver that fails for three of ten', \@ids);
    cmp_ok(scalar(grep { $_->{answered} == 500 } $receiver->told), '>', $count / 4, 'which it did');

    # one that it never takes holds up no other; nobody is asked for it by then

    $receiver->forget;
    my $poison = lc $t->fresh_address;
    $receiver->mode(hang => 0.05, refuse => { $poison => 422 });
    my ($bad) = $receiver->submit(1, body => { params => { amount => '1', recipient => $poison } });
    @ids = $receiver->submit(40);
    $receiver->finished;
    wait_for(sub { $t->psql("select count(*) from intent_webhooks where intent_id <> '$bad'") == 0 },
             60, 'the others to be told');
    $receiver->check('one refused for ever, some not answered', \@ids, twice => 1);

    my @bad;
    wait_for(sub { 2 <= (@bad = grep { $_->{event}{intentId} eq $bad } $receiver->told) }, 20,
             'what was refused to be tried again');
    is(scalar(grep { $_->{event}{version} > 1 } @bad), 0, 'later versions of it wait');

    $receiver->mode(refuse => { $poison => 410 });
    $t->psql('update intent_webhooks set next_attempt_at = now()');
    $receiver->all_told(40);
    like($t->error_log, qr/\[error\].*version 1 of intent $bad is given up, it is not wanted/, '410: given up');
    is($t->metric('intent_webhook_deliveries_total', result => 'given_up'), $t->get_intent($bad)->{version},
       'and counted');

    $receiver->forget;
    $receiver->mode(status => 302, headers => { Location => '/elsewhere' });
    @ids = $receiver->submit(1);
    wait_for(sub { $receiver->told }, 10, 'a redirect');
    $receiver->mode;
    $receiver->finished;
    $receiver->all_told;
    $receiver->check('a redirect is not followed, and is a failure', \@ids);
    is(scalar(grep { $_->{path} eq '/elsewhere' } $receiver->told), 0, 'nobody went there');
}

# --- what one intent is always answered, and rows that cannot be told ----------

sub rows {
    my ($prefix, $n, $status, $bytes) = @_;
    $t->psql('insert into intent_webhooks (intent_id, version, webhook, type, status, chain, params, attempts,'
             . ' confirmations, created_at, updated_at, queued_at, next_attempt_at)'
             . " select ('$prefix-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 1, '/_webhook', 'transfer',"
             . " '$status', 'dev', json_build_object('recipient', '0x', 'note', repeat('x', $bytes)), 0, 0, now(),"
             . " now(), now() - interval '1 hour', now() - interval '1 minute' from generate_series(1, $n) n");
}

sub left { $t->psql("select count(*) from intent_webhooks where intent_id::text like '$_[0]%'") }

{
    # too busy, it says, whenever it is told of one intent

    $receiver->forget;
    my $busy = lc $t->fresh_address;
    $receiver->mode(refuse => { $busy => 503 }, headers => { 'Retry-After' => 1 });
    my ($bad) = $receiver->submit(1, body => { params => { amount => '1', recipient => $busy } });
    my (@ids, $start);

    for ($start = time; time < $start + 8; sleep 0.4) {
        push @ids, $receiver->submit(1);
    }

    $receiver->finished;
    wait_for(sub { $t->psql("select count(*) from intent_webhooks where intent_id <> '$bad'") == 0 },
             10, 'the others to be told');
    $receiver->check('503 and Retry-After for one, always', \@ids);

    my $failures = $t->psql("select failures from intent_webhooks where intent_id = '$bad' and version = 1");
    ok($failures >= 3 && $failures <= 6, "its failures count, and it waits for longer each time: $failures");
    my $alone = () = $t->error_log =~ /asks to be left alone/g;
    is($alone, 1, 'the others were left alone once');

    my @late = sort { $a <=> $b } map { $_->{at} - milliseconds($_->{event}{createdAt}) }
               grep { $_->{event}{version} == 1 && $_->{event}{intentId} ne $bad } $receiver->told;
    note("ms from creation to the receiver: median $late[@late / 2], last $late[-1]");
    cmp_ok($late[@late / 2], '<', 900, 'most of the others were told at once');
    cmp_ok($late[-1], '<', 3000, 'and all soon');
    $t->psql("delete from intent_webhooks where intent_id = '$bad'");

    # rows of a newer version, more than are read at once, before all others

    $receiver->forget;
    $receiver->mode;
    rows('eeeeeeee', 70, 'paused', 1);
    @ids = $receiver->submit(5);
    wait_for(sub { 5 <= grep { $_->{event}{version} == 1 } $receiver->told }, 20, 'those behind them');
    wait_for(sub { $t->psql("select count(*) from intent_webhooks where status = 'paused' and failures = 1"
                            . " and next_attempt_at > now() + interval '4 minutes'") == 70 }, 20, 'them to wait');
    $receiver->finished;
    $receiver->check('behind rows that are not understood', \@ids);
    my $said = () = $t->error_log =~ /\[error\].*webhook.*version 1 of intent eeeeeeee\S+ is not understood/g;
    is($said, 70, 'the log has each of them once');
    $t->psql("delete from intent_webhooks where status = 'paused'");

    # large ones: read a few at a time, and all of them

    my ($before) = sort { $b <=> $a } map { rss($_) } $t->workers;
    rows('dddddddd', 30, 'pending', 400_000);
    wait_for(sub { left('dddddddd') == 0 }, 20, '30 of 400 kB to be told');
    my ($after) = sort { $b <=> $a } map { rss($_) } $t->workers;
    note("the largest worker: $before kB, $after kB");
    cmp_ok($after - $before, '<', 20_000, 'without all of them in memory at once');
    my @large = map { $_->{event}{intentId} } grep { length(($_->{event}{params} // {})->{note} // '') == 400_000 }
                $receiver->told;
    my %large = map { $_ => 1 } @large;
    is(scalar(grep { /^dddddddd/ } keys %large), 30, 'each was told');
    cmp_ok(@large - 30, '<=', $receiver->unheard(\%large), 'and once, if the answer came in time');
    $receiver->forget;

    # what is too old: of one intent nothing, for its version 1 was just tried

    is($t->psql(q{
        begin;
        insert into intent_webhooks (intent_id, version, webhook, type, status, chain, params, attempts,
            confirmations, created_at, updated_at, queued_at, next_attempt_at)
        select ('bbbbbbbb-0000-7000-8000-00000000000' || i)::uuid, v, '/_old', 'transfer', 'pending', 'dev', '{}',
            0, 0, now(), now(), now() - interval '4 days',
            case when i = 2 and v = 1 then now() else now() - interval '4 days' end
        from generate_series(1, 2) i, generate_series(1, 2) v;
        create temp table n on commit drop as
            select intent_webhook_forget('/_old', now() - interval '3 days', 500) as first;
        select first || ' ' || (select string_agg(right(intent_id::text, 1) || '.' || version, ' '
                                                  order by intent_id, version)
                                from intent_webhooks where webhook = '/_old')
            || ' ' || intent_webhook_forget('/_old', now() - interval '3 days', 500)
            || ' ' || intent_webhook_forget('/_old', now() - interval '3 days', 500) from n;
        rollback}), '1 1.2 2.1 2.2 1 0', 'what is too old is given up in order');
}


unlike($t->error_log, qr/refused "webhook|refused to delete what/, 'Postgres refused no statement');
unlike($t->error_log, qr/plain text|whsec_/, 'no secret is in the log');

$t->nginx_quit;
$t->clean_ok;
done_testing;
