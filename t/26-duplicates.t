# Idempotency-Key: however often a request comes, there is one intent, and all
# hear of it what the first did; another request with its key is told so.

use strict;
use warnings;

use lib 't/lib';
use IntentTest qw(wait_for);
use POSIX ();
use Test::More;

my $t = IntentTest->new(
    workers => 2,
    chain   => { poll_interval => '50ms' },
    anvil   => { 'block-time' => 1 },
    http    => 'set_real_ip_from 127.0.0.1; real_ip_header X-Real-IP;',
    api     => 'intent_user $http_x_user; client_body_buffer_size 64k;',
    server  => 'location /other { intent_api; }',
);

sub body {
    my ($amount, $to) = @_;
    return qq({"type":"transfer","params":{"recipient":"$to","amount":"$amount"}});
}

sub post { my ($body, %headers) = @_; $t->post('/api/intents', $body, \%headers) }

my $count = 500;

# 500 at once, by two workers

my $to = $t->fresh_address;
my @answers = $t->load(
    count => $count, connections => 100,
    body => sub { body(7, $to) },
    headers => sub { { 'Idempotency-Key' => 'five-hundred' } },
);

is(scalar(grep { $_->{status} == 202 } @answers), $count, "$count answers of 202");
is(scalar(keys %{{ map { $_->{body} => 1 } @answers }}), 1, 'all the same');
is($t->psql('select count(*) from intents'), 1, 'one intent');

my $first = $answers[0]{body};
my $id = IntentTest->decode($first)->{intentId};
like($first, qr/"status":"pending".*"version":1,/, 'as it was at first');

is($t->metric('intents_submitted_total', status => 'pending'), 1, 'one was submitted');
is($t->metric('intents_replayed_total', by => 'key'), $count - 1, 'the others are counted apart');
is($t->metric('intents_rejected_total'), 0, 'and none is rejected');

# when it is carried out, too; it is not carried out again

my $intent = $t->wait_intent($id, 'success');
is($t->balance($to), 7, 'carried out once');

my $again = post(body(7, $to), 'Idempotency-Key' => '"five-hundred"');
is($again->{status}, 202, 'later: 202');
is($again->{content}, $first, 'later: the first answer');
is($again->{headers}{location}, "/api/intents/$id", 'later: Location');
is($again->{headers}{'idempotency-replayed'}, 'true', 'later: Idempotency-Replayed');

my $new = post(body(8, $to), 'Idempotency-Key' => 'a-new-one');
is($new->{status}, 202, 'a new key');
is($new->{headers}{'idempotency-replayed'}, undef, 'is no replay');

# the same key, another request

my $other = post(body(9, $to), 'Idempotency-Key' => 'five-hundred');
is($other->{status}, 409, 'another body: 409');
is($other->{json}{detail}, 'the Idempotency-Key was used for another request', 'says so');
is($other->{headers}{'content-type'}, 'application/problem+json', 'as a problem');
is($t->metric('intents_rejected_total', reason => 'duplicate'), 1, 'is counted');

is(post(body(7, $to) . ' ', 'Idempotency-Key' => 'five-hundred')->{status}, 409,
   'a space is another body');
is($t->post('/other', body(7, $to), { 'Idempotency-Key' => 'five-hundred' })->{status}, 409,
   'another API is another request');

# two requests, one key, at once: one of them is kept

@answers = $t->load(
    count => 200, connections => 100,
    body => sub { body(100 + $_[0] % 2, $to) },
    headers => sub { { 'Idempotency-Key' => 'either' } },
);

my %status;
$status{ $_->{index} % 2 }{ $_->{status} }++ for @answers;
my ($won) = grep { $status{$_}{202} } 0, 1;
is_deeply($status{$won}, { 202 => 100 }, 'one request is taken, each time');
is_deeply($status{1 - $won}, { 409 => 100 }, 'the other never');
is(scalar(keys %{{ map { $_->{body} => 1 } grep { $_->{status} == 202 } @answers }}), 1,
   'equal answers again');

# whose key it is

sub id_of { my $r = shift; $r->{status} == 202 or die $r->{content}; $r->{json}{intentId} }

my %ids = map { my ($name, %headers) = @$_;
    my @two = map { id_of(post(body(11, $to), 'Idempotency-Key' => 'mine', %headers)) } 1, 2;
    is($two[0], $two[1], "$name: one intent");
    ($two[0] => 1)
} [ 'alice', 'X-User' => 'alice' ], [ 'bob', 'X-User' => 'bob' ], [ 'nobody' ],
  [ 'nobody elsewhere', 'X-Real-IP' => '192.0.2.7' ],
  [ 'nobody in IPv6', 'X-Real-IP' => '2001:db8::7' ];

is(scalar(keys %ids), 5, 'each has keys of its own');

is(id_of(post(body(11, $to), 'Idempotency-Key' => 'mine', 'X-User' => 'alice',
              'X-Real-IP' => '192.0.2.8')),
   id_of(post(body(11, $to), 'Idempotency-Key' => 'mine', 'X-User' => 'alice')),
   'a user may move');

my $lower = id_of(post(body(12, $to), 'Idempotency-Key' => 'case', 'X-User' => lc $t->address(1)));
is(id_of(post(body(12, $to), 'Idempotency-Key' => 'case', 'X-User' => $t->address(1))), $lower,
   'an address is one user in any case');

# arrays: the key is that of each item, the fingerprint that of all

my $batch = '[' . join(',', map { body($_, $to) } 21 .. 25) . ']';
my $kept = post($batch, 'Idempotency-Key' => 'batch');
is($kept->{status}, 200, 'an array');
is($kept->{headers}{'idempotency-replayed'}, undef, 'is new');

my $replay = post($batch, 'Idempotency-Key' => 'batch');
is($replay->{status}, 200, 'the array again');
is($replay->{content}, $kept->{content}, 'the same answer');
is($replay->{headers}{'idempotency-replayed'}, 'true', 'and it says so');

my $changed = post('[' . join(',', map { body($_, $to) } 21 .. 24, 26) . ']',
                   'Idempotency-Key' => 'batch');
is_deeply([ map { $_->{status} } @{ $changed->{json} } ], [ (409) x 5 ], 'another array');

# what of an array was not kept is, the next time

$t->psql(<<'END');
create function no_thirteen() returns trigger language plpgsql as $$
begin
    if new.params->>'amount' = '13' then raise exception 'no thirteen'; end if;
    return new;
end $$;
create trigger no_thirteen before insert on intents for each row execute function no_thirteen();
END

$batch = '[' . join(',', map { body($_, $to) } 12, 13, 14) . ',{"type":"none"}]';
my $part = post($batch, 'Idempotency-Key' => 'part');
is_deeply([ map { $_->{status} } @{ $part->{json} } ], [ 202, 500, 202, 400 ],
          'one row is refused, the others are kept');

my $unfit = post(body(13, $to));
is($unfit->{status}, 500, 'one that Postgres refuses');
is($unfit->{headers}{'content-type'}, 'application/problem+json', 'with a problem');
is($unfit->{json}{detail}, 'the intent cannot be kept', 'which says so');
is($unfit->{headers}{'retry-after'}, undef, 'and is not to be tried again');

$t->psql('drop trigger no_thirteen on intents');

my $whole = post($batch, 'Idempotency-Key' => 'part');
is_deeply([ map { $_->{status} } @{ $whole->{json} } ], [ 202, 202, 202, 400 ], 'then that one too');
is_deeply($whole->{json}[$_], $part->{json}[$_], "item $_ is the one before") for 0, 2;
is(post($batch, 'Idempotency-Key' => 'part')->{content}, $whole->{content}, 'and so it stays');

# 50 arrays at once

@answers = $t->load(
    count => 50, connections => 50,
    body => sub { '[' . join(',', map { body($_, $to) } 31 .. 50) . ']' },
    headers => sub { { 'Idempotency-Key' => 'batches' } },
);

is(scalar(keys %{{ map { $_->{body} => 1 } @answers }}), 1, '50 arrays at once: one answer');
is($t->psql(q(select count(*) from intents where (params->>'amount')::int between 31 and 50)), 20,
   'each item once');

# what was taken in time is told when its time is over, too

my $till = time + 5;
my $brief = sub { body(51, $to) =~ s/\}$/,"expiresAt":$till}/r };
my %answers = (
    one   => post($brief->(), 'Idempotency-Key' => 'brief'),
    array => post('[' . $brief->() . ',1]', 'Idempotency-Key' => 'briefs'),
);
is_deeply([ map { $_->{status} } @answers{qw(one array)}, @{ $answers{array}{json} } ],
          [ 202, 200, 202, 400 ], 'two with little time');
wait_for(sub { time > $till }, 20, 'their time to be over');

my $late = post($brief->(), 'Idempotency-Key' => 'brief');
is($late->{status}, 202, 'the same after it: 202');
is($late->{content}, $answers{one}{content}, 'the first answer');
is($late->{headers}{location}, $answers{one}{headers}{location}, 'its Location');
is($late->{headers}{'idempotency-replayed'}, 'true', 'replayed');
is(post('[' . $brief->() . ',1]', 'Idempotency-Key' => 'briefs')->{content},
   $answers{array}{content}, 'and so in an array');

$late = post($brief->(), 'Idempotency-Key' => 'too-late');
is($late->{status}, 400, 'another key is too late');
is($late->{json}{errors}[0]{pointer}, '/expiresAt', 'which is said');
is(post(body(52, $to) =~ s/\}$/,"expiresAt":$till}/r, 'Idempotency-Key' => 'brief')->{status}, 400,
   'so is another body');
is(post($brief->(), 'Idempotency-Key' => 'brief', 'X-User' => 'alice')->{status}, 400,
   'and so is it for somebody else');
is($t->psql(q(select count(*) from intents where params->>'amount' = '51')), 2, 'there are two');

# nor does another configuration make the first answer another

$t->nginx_reload(types => $t->default_types =~ s/positive/positive max=5/r);
wait_for(sub { my $new = 0; $new += post(body(7, $to))->{status} == 400 for 1 .. 8; $new == 8 }, 20,
         'what is new to be refused');
is(post(body(7, $to), 'Idempotency-Key' => 'five-hundred')->{content}, $first,
   'what is not has its first answer');
$t->kill('postgres');
wait_for(sub { post(body(1, $to))->{status} == 503 }, 20, 'Postgres to be away');
is(post(body(7, $to), 'Idempotency-Key' => 'five-hundred')->{status}, 503,
   'what cannot be looked for is not refused for good');
is(post(body(7, $to))->{status}, 400, 'what has no key is');
$t->start('postgres');
wait_for(sub { post(body(7, $to), 'Idempotency-Key' => 'five-hundred')->{status} == 202 }, 20,
         'Postgres');
my @old = $t->nginx_reload(types => undef);
wait_for(sub { !grep { $t->alive($_) } @old }, 20, 'the old workers, of which one may not have found Postgres yet');

# an array of which all is refused: one question, not one for each

sub asked { $t->metric('intent_store_seconds_count', operation => 'duplicate') // 0 }

my $asked = asked();
my $wrong = post('[' . join(',', (1) x 100) . ']', 'Idempotency-Key' => 'wrong');
is(scalar(grep { $_->{status} == 400 } @{ $wrong->{json} }), 100, 'a hundred that are no intents');
is(asked() - $asked, 1, 'their keys are looked for at once');

# 500 at once, by two nginx of two workers each

my $other_nginx = IntentTest->new(workers => 2, services => [], start => 0, accounts => 1);
$other_nginx->{"${_}_port"} = $t->{"${_}_port"} for qw(postgres redis anvil);
$other_nginx->write_conf(chain => $t->{chain}, http => $t->{http}, api => $t->{api});
$other_nginx->nginx_start;

my @pipes = map {
    my $nginx = $_;
    my $pid = open my $pipe, '-|' // die "fork: $!";

    if (!$pid) {
        print map { "$_->{status} $_->{body}\n" } $nginx->load(
            count => $count / 2, connections => 50, retry => 1,     # of a 503, as clients do
            body => sub { body(77, $to) }, headers => sub { { 'Idempotency-Key' => 'two-nginx' } });
        close STDOUT;
        POSIX::_exit(0);
    }
    $pipe;
} $t, $other_nginx;

my @lines = map { my $pipe = $_; <$pipe> } @pipes;
is(scalar(grep { /^202 / } @lines), $count, "$count answers of 202 by two nginx")
    or diag(grep { !/^202 / } @lines);
is(scalar(keys %{{ map { $_ => 1 } @lines }}), 1, 'all the same');
is($t->psql(q(select count(*) from intents where params->>'amount' = '77')), 1, 'one intent');
$other_nginx->nginx_quit;
$other_nginx->clean_ok;

# a reload and a kill change nothing

$t->nginx_reload;
is(post(body(7, $to), 'Idempotency-Key' => 'five-hundred')->{content}, $first, 'after a reload');

$t->nginx_quit;
$t->clean_ok;
done_testing;
