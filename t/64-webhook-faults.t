# Other ends of an intent than success; webhooks while nginx and Postgres are
# killed, reloaded and restarted, with two nginx on one Postgres; and an upgrade
# from a schema without them.

use strict;
use warnings;

use lib 't/lib';
use IntentTest qw(wait_for);
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);
use WebhookReceiver;

my $count = $ENV{INTENT_WEBHOOK_COUNT} // 60;

my %option = (
    start    => 0,
    workers  => 2,
    accounts => 2,
    anvil    => { 'block-time' => 1, 'gas-limit' => 300_000_000 },
    postgres => 'timeout=2s',
);

my $t = IntentTest->new(%option);
my $other = IntentTest->new(%option, services => []);
$other->{"${_}_port"} = $t->{"${_}_port"} for qw(postgres redis anvil);

my $receiver = WebhookReceiver->new($t);
my %conf = $receiver->conf;

for my $gateway ($t, $other) {
    $gateway->write_conf(%conf);
    $gateway->nginx_start;
}

sub tellers { my $pid = wait_for(sub { $receiver->teller($t, $other) }, 10, 'one who tells'); $pid }


# --- an upgrade, with rows from before ---------------------------------------

{
    my ($before) = $receiver->submit(1, path => '/untold');
    $_->nginx_quit for $t, $other;

    # version 3, as it was
    $t->psql('drop trigger intents_webhook_insert on intents; drop trigger intents_webhook_update on intents;'
             . ' drop trigger intents_webhook_delete on intents; drop function intent_webhook_queue;'
             . ' drop function intent_webhook_settle; drop function intent_webhook_due;'
             . ' drop function intent_webhook_forget;'
             . ' drop table intent_webhooks; alter table intents drop column webhook;'
             . ' delete from intent_schema where version = 4');

    $_->nginx_start for $t, $other;
    wait_for(sub { $t->psql('select max(version) from intent_schema') == 4 }, 20, 'the schema');

    my @ids = $receiver->submit(3);
    $receiver->finished;
    $receiver->all_told;
    $receiver->check('after an upgrade from version 3', \@ids);
    is($t->get_intent($before)->{status}, 'success', 'a row of before has ended');
    is(scalar(grep { $_->{event}{intentId} eq $before } $receiver->told), 0, 'and nobody is told of it');
    is($t->psql('select count(*) from pg_stat_user_tables where relname = \'intent_webhooks\''), 1, 'there is one table');
}


# --- who tells is killed, again and again ------------------------------------

{
    $receiver->forget;
    $receiver->mode(delay => 20);
    my (@ids, $killed);

    for my $round (1 .. 3) {
        push @ids, $receiver->submit($count / 3, to => $round & 1 ? $t : $other, connections => 4);

        # while it has some under way
        my $told = () = $receiver->told;
        wait_for(sub { $receiver->told > $told || $receiver->waiting == 0 }, 10, 'a delivery');
        my $pid = tellers();
        kill 'KILL', $pid;
        $killed = time;
        wait_for(sub { my $now = $receiver->teller($t, $other); $now && $now != $pid }, 10, 'another to tell');
        note(sprintf 'another tells after %.1f s', time - $killed);
        cmp_ok(time - $killed, '<', 5, 'another worker tells within seconds');
    }

    $receiver->finished;
    $receiver->all_told;
    $receiver->check('who tells was killed three times', \@ids, twice => 1);
}


# --- all of one nginx is killed; the other is reloaded ------------------------

{
    $receiver->forget;
    my @ids = $receiver->submit($count / 2);
    my ($victim) = grep { my $g = $_; grep { $_ == tellers() } $g->workers } $t, $other;
    my $left = $victim == $t ? $other : $t;

    $victim->nginx_kill;
    push @ids, $receiver->submit($count / 2, to => $left);
    my @old = $left->nginx_reload;
    push @ids, $receiver->submit(10, to => $left);
    $victim->nginx_start;
    wait_for(sub { !grep { IntentTest::alive($_) } @old }, 20, 'the old workers to exit');

    $receiver->finished;
    $receiver->all_told;
    $receiver->check('a whole nginx killed, the other one reloaded', \@ids, twice => 1);
}


# --- Postgres is restarted ---------------------------------------------------

{
    $receiver->forget;
    my $done = 0;
    my @ids = $receiver->submit($count, connections => 4, any => 1);
    wait_for(sub { $receiver->told }, 10, 'a delivery');
    $t->restart('postgres');
    push @ids, $receiver->submit(5, retry => 1);

    $receiver->finished;
    $receiver->all_told;
    $receiver->check('Postgres restarted', \@ids, twice => 1);
}


# --- SIGTERM under way; quit waits for what is under way -----------------------

{
    $receiver->forget;
    $receiver->mode(delay => 300);
    my @ids = $receiver->submit(10);
    wait_for(sub { $receiver->told }, 10, 'a delivery');
    $_->nginx_stop for $t, $other;
    $_->nginx_start for $t, $other;
    $receiver->mode;
    $receiver->finished;
    $receiver->all_told;
    $receiver->check('stopped under way', \@ids, twice => 1);

    $receiver->forget;
    $receiver->mode(delay => 300);
    @ids = $receiver->submit(10);
    wait_for(sub { $receiver->told }, 10, 'a delivery');
    $_->nginx_quit for $t, $other;
    $_->nginx_start for $t, $other;
    $receiver->mode;
    $receiver->finished;
    $receiver->all_told;
    $receiver->check('quit under way', \@ids);
}

# --- quit, while what was told cannot be written -------------------------------

{
    $receiver->forget;

    # a row that somebody has locked is read, told, and not deleted

    $t->psql('insert into intent_webhooks (intent_id, version, webhook, type, status, chain, params, attempts,'
             . " confirmations, created_at, updated_at, next_attempt_at) values ('eeeeeeee-0000-7000-8000-000000000001',"
             . " 1, '/_webhook', 'transfer', 'pending', 'dev', '{}', 0, 0, now(), now(), now() + interval '1 hour')");

    my $pid = fork // die "fork: $!";

    if ($pid == 0) {
        open STDERR, '>', '/dev/null';
        eval { $t->psql("begin; update intent_webhooks set next_attempt_at = now() where version = 1"
                        . " and intent_id = 'eeeeeeee-0000-7000-8000-000000000001'; commit;"
                        . ' begin; select 1 from intent_webhooks for update; select pg_sleep(41); rollback') };
        POSIX::_exit(0);
    }

    wait_for(sub { $receiver->told }, 10, 'it to be told');
    my $start = time;
    $_->nginx_quit for $t, $other;
    my $took = time - $start;
    cmp_ok($took, '<', 16, sprintf 'workers exit soon after 5 s, in %.1f s for two', $took);

    $t->psql("select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep(41)%'"
             . ' and pid <> pg_backend_pid()');
    waitpid $pid, 0;
    $_->nginx_start for $t, $other;
    $receiver->all_told;
}


# --- other ends --------------------------------------------------------------

{
    $receiver->forget;
    my ($failed) = $receiver->submit(1, body => { params => { amount => '9' x 40 } });
    $t->wait_intent($failed, 'failed');

    $t->stop('anvil');
    my @ids = $receiver->submit(3);
    is($t->http('DELETE', "/api/intents/$ids[0]")->{status}, 200, 'cancelled');

    my $soon = POSIX::strftime('%Y-%m-%dT%H:%M:%SZ', gmtime(time + 5));
    my ($expired) = $receiver->submit(1, body => { expiresAt => $soon, params => { amount => '7' } });

    # as a revocation does it
    $t->psql("delete from intents where id = '$ids[1]'");

    wait_for(sub { 2 <= grep { $_->{event}{status} eq 'cancelled' } $receiver->told }, 30, 'cancelled to be told');
    wait_for(sub { grep { $_->{event}{status} eq 'expired' } $receiver->told }, 30, 'expired to be told');

    $receiver->check('cancelled', [ $ids[0] ], way => qr/^pending( pending)* cancelled$/);
    $receiver->check('failed', [ $failed ], way => qr/^pending( pending)* executing failed$/);
    $receiver->check('expired', [ $expired ], way => qr/^pending( pending)* expired$/);

    my ($revoked) = grep { $_->{event}{intentId} eq $ids[1] && $_->{event}{status} eq 'cancelled' } $receiver->told;
    is($revoked->{event}{error}, 'the intent was revoked', 'who was told of an intent is told that it was revoked');
}

# but where a row was locked

unlike($_->error_log, qr/refused "webhook\w+" of webhook "\S+": (?!57014|55P03)|refused to delete what/,
       'Postgres refused no statement')
    for $t, $other;

$_->nginx_quit for $t, $other;
$_->clean_ok for $t, $other;
done_testing;
