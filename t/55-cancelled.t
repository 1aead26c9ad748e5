# Intents that are cancelled, or expire, while a lane has them: each is carried
# out once or not at all, no nonce is lost, and the lane does not stand still.

use strict;
use warnings;

use lib 't/lib';
use IntentTest qw(wait_for);
use Test::More;
use Time::HiRes qw(sleep time);

my $count = 0;

# each update is what the API's DELETE writes

my $cancel = "UPDATE intents SET status = 'cancelled', version = version + 1,
              updated_at = now() WHERE status = 'pending' AND random() < 0.3";

my $t = IntentTest->new(
    accounts => 1,
    chain    => { max_in_flight => 128, poll_interval => '50ms', confirmations => 1 },
    anvil    => { 'block-time' => 1, 'gas-limit' => 300_000_000 },
);
my $recipient = $t->fresh_address;

wait_for(sub { $t->post_intent('transfer', { recipient => $t->fresh_address, amount => '1' }) },
         20, 'Postgres');

# between a signature and its commit there are some milliseconds, here ten more

$t->psql(q{CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
           BEGIN
               IF current_setting('application_name') = 'nginx-intent' THEN
                   PERFORM pg_sleep(0.01);
               END IF;
               RETURN NULL;
           END $$;
           CREATE TRIGGER slow BEFORE UPDATE ON intents FOR EACH STATEMENT EXECUTE FUNCTION slow()});

my $canceller = fork // die "fork: $!";

if ($canceller == 0) {
    $t->psql("DO \$\$ BEGIN FOR i IN 1 .. 6000 LOOP $cancel; COMMIT;
              PERFORM pg_sleep(0.004); END LOOP; END \$\$");
    POSIX::_exit(0);
}

my %id;

sub left_over { my $n = () = $t->error_log =~ /nonce \d+ is left over/g; return $n }

# of these, those that an intent took: one that was signed with them at one time, or
# the next one where there was none behind them; others are filled

sub taken_over {
    my $nonces = join ',', $t->error_log =~ /nonce (\d+) is left over/g or return 0;
    return $t->psql("SELECT count(*) FROM intent_transactions
                     WHERE intent_id IS NOT NULL AND nonce IN ($nonces)");
}

sub enough {
    my ($cancelled, $not) = split /\|/, $t->psql("SELECT count(*) FILTER (WHERE status = 'cancelled'),
        count(*) FILTER (WHERE status IN ('executing', 'success')) FROM intents");
    return $cancelled > 30 && $not > 30 && left_over();
}

for my $round (0 .. 19) {
    last if $round > 5 && enough();

    my @answers = $t->load(count => 100, connections => 16, body => sub {
        my $amount = 1 + $_[0] + $round * 100;
        return qq({"type":"transfer","params":{"recipient":"$recipient","amount":"$amount"}});
    });

    for my $answer (@answers) {
        my ($id) = $answer->{body} =~ /"intentId":"([^"]+)"/;
        $id{ 1 + $answer->{index} + $round * 100 } = $id if $answer->{status} == 202;
    }

    $count += 100;
}

is(scalar keys %id, $count, 'all were accepted');

wait_for(sub { $t->psql("SELECT count(*) FROM intents
                         WHERE status IN ('pending', 'executing')") == 0 },
         60, 'all to end');

kill 'TERM', $canceller;
waitpid $canceller, 0;

my %status = map { split /\|/ } $t->psql('SELECT id, status FROM intents');
my $mined = $t->mined_by($t->address(0));
my %on_chain;
$on_chain{ hex $_->{value} }++ for grep { lc($_->{to}) eq $recipient } map { @$_ } values %$mined;

my @cancelled = grep { $status{ $id{$_} } eq 'cancelled' } keys %id;
my @success = grep { $status{ $id{$_} } eq 'success' } keys %id;

is(@cancelled + @success, $count, @cancelled . ' were cancelled, ' . @success . ' carried out');
cmp_ok(scalar @cancelled, '>', 20, 'enough of one');
cmp_ok(scalar @success, '>', 20, 'and of the other');

ok(!(grep { $on_chain{$_} } @cancelled), 'nothing that was cancelled is on the chain');
ok(!(grep { ($on_chain{$_} // 0) != 1 } @success), 'the others are, once each');

my $left_over = left_over();
cmp_ok($left_over, '>', 0, "$left_over were cancelled between their signature and its commit");

my $fillers = $t->psql('SELECT count(*) FROM intent_transactions WHERE intent_id IS NULL');
is($t->nonce($t->address(0)), 1 + @success + $fillers, "every nonce is used, $fillers for nothing");
cmp_ok($fillers, '<=', $left_over, 'that is, for what was left over');
diag(taken_over() . " of $left_over that were left over were taken by other intents");
is($t->psql("SELECT count(*) FROM intent_transactions WHERE state IN ('live', 'replaced')"), 0,
   'nothing is left');
unlike($t->error_log, qr/gave up the lane|is lost/, 'the lane was never given up');

# and it goes on at once

my $last = $t->post_intent('transfer', { recipient => $recipient, amount => '1000' });
$t->wait_intent($last->{intentId}, 'success', 10);

$t->nginx_quit;
$t->clean_ok;

done_testing;
