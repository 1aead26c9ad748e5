# A worker that has just begun has no session with Postgres yet: those who read
# wait for it, and are not told that Postgres is away.

use strict;
use warnings;

use lib 't/lib';
use IntentTest qw(wait_for);
use Test::More;
use Time::HiRes qw(sleep time);

my $recipient = '0x00000000219ab540356cBB839Cbe05303d7705Fa';

my $t = IntentTest->new(
    workers  => 2,
    services => [qw(postgres redis)],
    rpc      => 'return 503;',
    api      => 'intent_user alice;',
);

my $intent = $t->post_intent("transfer", { recipient => $recipient, amount => "5" });

my %seen;

for (1 .. 20) {
    $t->nginx_restart;
    $t->redis_cli('flushall');

    $seen{get}{ $t->get("/api/intents/$intent->{intentId}")->{status} }++;
    $seen{list}{ $t->get('/api/intents')->{status} }++;

    $t->nginx_reload;
    $t->redis_cli('flushall');

    $seen{list}{ $t->get('/api/intents')->{status} }++;
    $seen{delete}{ $t->http('DELETE', "/api/intents/$intent->{intentId}")->{status} }++;
}

is_deeply(\%seen, { get => { 200 => 20 }, list => { 200 => 40 }, delete => { 200 => 20 } },
          'whoever asks first is answered');

# without Postgres nobody waits for longer than its timeout

$t->kill('postgres');
wait_for(sub { $t->get('/api/intents')->{status} == 503 }, 20, 'a 503 without Postgres');

my $start = time;
is($t->get('/api/intents')->{status}, 503, 'Postgres is away');
cmp_ok(time - $start, '<', 10, 'and that is told in time');

$t->end;
done_testing;
