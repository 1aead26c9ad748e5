# Rows that Postgres does not take, of an intent or of its transaction: they
# concern that intent alone.

use strict;
use warnings;

use lib 't/lib';
use IntentTest qw(wait_for);
use Test::More;

sub gateway {
    my $t = IntentTest->new(anvil => { 'block-time' => 1 },
                            chain => { poll_interval => '50ms' });
    wait_for(sub { $t->psql("SELECT to_regclass('intents')") }, 20, 'the schema');
    return $t;
}

sub post {
    my ($t, $recipient, $n) = @_;
    return map { $t->post_intent('transfer', { recipient => $recipient, amount => $_ }) } 1 .. $n;
}

sub trigger {
    my ($t, $table, $when, $condition, $state) = @_;

    $t->psql("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \$\$
              BEGIN
                  IF $condition THEN
                      RAISE EXCEPTION 'not this one' USING ERRCODE = '$state';
                  END IF;
                  RETURN NEW;
              END \$\$;
              CREATE TRIGGER refuse BEFORE $when ON $table
              FOR EACH ROW EXECUTE FUNCTION refuse()");
}


for my $state ('23514', '22001', 'P0001') {
    subtest "a transaction that cannot be saved, SQLSTATE $state" => sub {
        my $t = gateway();
        my $recipient = $t->fresh_address;

        trigger($t, 'intent_transactions', 'INSERT', "(SELECT params->>'amount' FROM intents
                WHERE id = NEW.intent_id) IN ('13', '27')", $state);

        my @intents = post($t, $recipient, 40);

        for my $i (grep { !/^(?:12|26)$/ } 0 .. 39) {
            $t->wait_intent($intents[$i]{intentId}, 'success');
        }

        my $intent = $t->wait_intent($intents[12]{intentId}, 'failed');
        is($intent->{error}, 'its transaction could not be saved', 'it fails, and says why');
        $t->wait_intent($intents[26]{intentId}, 'failed');

        is($t->balance($recipient)->bstr, 820 - 13 - 27, 'nothing was sent for it');
        unlike($t->error_log, qr/gave up the lane|is lost/, 'the lane was never given up');

        my $last = $t->post_intent('transfer', { recipient => $recipient, amount => '100' });
        $t->wait_intent($last->{intentId}, 'success');

        is($t->psql("SELECT count(*) FROM intent_transactions WHERE state <> 'mined'"), 0,
           'no nonce is left over');

        $t->nginx_quit;
        $t->clean_ok;
    };
}


subtest 'deadlocks' => sub {
    my $t = gateway();
    my $recipient = $t->fresh_address;

    $t->psql('CREATE SEQUENCE refused');
    trigger($t, 'intents', 'UPDATE', "NEW.status <> 'pending' AND random() < 0.5
            AND nextval('refused') <= 12", '40P01');

    my @intents = post($t, $recipient, 20);
    $t->wait_intent($_->{intentId}, 'success') for @intents;
    cmp_ok($t->psql('SELECT last_value FROM refused'), '>=', 12, 'there were some');
    is($t->balance($recipient)->bstr, 210, 'each once');
    is($t->psql("SELECT count(*) FROM intents WHERE attempts = 1 AND gas_cost > 0"), 20,
       'and nobody noticed');
    unlike($t->error_log, qr/gave up the lane|is lost/, 'the lane was never given up');

    $t->nginx_quit;
    $t->clean_ok;
};


subtest 'an outcome that cannot be recorded' => sub {
    my $t = gateway();
    my $recipient = $t->fresh_address;

    trigger($t, 'intents', 'UPDATE', "NEW.status = 'success'
            AND NEW.params->>'amount' = '13'", '23514');

    my @intents = post($t, $recipient, 40);
    $t->wait_intent($intents[$_]{intentId}, 'success') for grep { $_ != 12 } 0 .. 39;

    wait_for(sub { $t->error_log =~ /\[crit\].*"$intents[12]{intentId}", cannot be recorded/ },
             20, 'the log to tell');
    is($t->get_intent($intents[12]{intentId})->{status}, 'executing', 'it is left as it was');
    unlike($t->error_log, qr/gave up the lane|is lost/, 'the lane was never given up');

    my $last = $t->post_intent('transfer', { recipient => $recipient, amount => '100' });
    $t->wait_intent($last->{intentId}, 'success');

    # when the reason is gone the next one to have the lane finds it

    $t->psql('DROP TRIGGER refuse ON intents');
    $t->nginx_reload;
    $t->wait_intent($intents[12]{intentId}, 'success', 40);
    is($t->balance($recipient)->bstr, 820 + 100, 'once');

    $t->nginx_quit;
    $t->clean_ok;
};


subtest 'what cannot be recorded for its words' => sub {
    my $t = gateway();
    my $recipient = $t->fresh_address;

    trigger($t, 'intents', 'UPDATE', 'NEW.gas_cost IS NOT NULL', '22003');

    my @intents = post($t, $recipient, 5);
    $t->wait_intent($_->{intentId}, 'success') for @intents;
    ok(!defined $t->get_intent($intents[0]{intentId})->{gasCost}, 'is recorded without them');

    $t->nginx_quit;
    $t->clean_ok;
};


done_testing;
