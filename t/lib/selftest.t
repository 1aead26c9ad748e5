# The test harness itself: each service of a private set starts, is killed,
# comes back on its port with what it kept, and nothing of it remains.

use strict;
use warnings;

use lib 't/lib';
use IntentTest qw(wait_for free_port word);
use Test::More;
use Time::HiRes qw(time);

my $t = IntentTest->new(
    start => 0,
    anvil => { 'block-time' => '0.2', balance => 5000 },
);
my $dir = $t->dir;

sub pid_of { my $pid = $t->read_file("$dir/$_[0].pid"); $pid + 0 }

# postgres: a committed row survives a stop and a kill -9

is($t->psql('show fsync'), 'on', 'postgres is as durable as in production');
$t->psql('create table kept (i int)');
$t->psql('insert into kept values (1)');
$t->restart('postgres');
is($t->psql('select sum(i) from kept'), '1', 'postgres: restarted');
$t->psql('insert into kept values (2)');
$t->kill('postgres');
ok(!IntentTest::alive(pid_of('postgres')), 'postgres: killed');
ok(!IO::Socket::INET->new("127.0.0.1:$t->{postgres_port}"), 'postgres: nobody answers');
$t->start('postgres');
is($t->psql('select sum(i) from kept'), '3', 'postgres: started after a kill');
is_deeply([ $t->psql('select i, -i from kept order by i') ], [ '1|-1', '2|-2' ],
          'postgres: rows');

# redis: keeps nothing

my $port = $t->{redis_port};
$t->redis_cli('set', 'a', 'b');
is($t->redis_cli('get', 'a'), 'b', 'redis: answers');
$t->kill('redis');
$t->start('redis');
is($t->{redis_port}, $port, 'redis: the same port');
is($t->redis_cli('get', 'a'), '', 'redis: empty after a kill');

$t->pause('redis');
my $socket = IO::Socket::INET->new("127.0.0.1:$port");
print $socket "PING\r\n";
ok(!IO::Select->new($socket)->can_read(0.3), 'redis: silent while paused');
$t->resume('redis');
ok(IO::Select->new($socket)->can_read(5), 'redis: answers when resumed');

# anvil: its chain survives a stop

my $to = $t->fresh_address;
is($t->balance($t->address(3)), '5' . '0' x 21, 'anvil: options are obeyed');
my $hash = $t->rpc('eth_sendTransaction',
                   { from => $t->address(1), to => $to, value => '0x7' });
is($t->receipt($hash)->{status}, '0x1', 'anvil: a transaction is mined');
my $height = $t->block_number;
$t->restart('anvil');
cmp_ok($t->block_number, '>=', $height, 'anvil: no block lost over a restart');
is($t->balance($to), 7, 'anvil: nor a balance');
is($t->receipt($hash)->{status}, '0x1', 'anvil: nor a receipt');
is(scalar @{ $t->mined_by($t->address(1))->{0} }, 1, 'anvil: one nonce, one transaction');

my $token = $t->deploy_token(supply => 1000);
$t->token_transfer($token, $t->address(9), $to, 400);
is($t->token_balance($token, $to), 400, 'token: transferred');

my %call = (from => $t->address(1), to => $token);
like(eval { $t->rpc('eth_call', { %call, data => '0xa9059cbb' . word($to) . word(5) },
                    'latest') } // $@,
     qr/transfer amount exceeds balance/, 'token: a sentence in the revert');
like(eval { $t->rpc('eth_call', { %call, data => '0x23b872dd' . word($to) . word($to)
                                                 . word(5) }, 'latest') } // $@,
     qr/192b9e4e/, 'token: an error of its own in the revert');

# waiting

my $begin = time;
ok(!eval { wait_for(sub { 0 }, 0.2, 'nothing') }, 'wait_for ends at its deadline');
like($@, qr/waited 0.2 s in vain for nothing/, 'and says so');
cmp_ok(time - $begin, '<', 5, 'in time');

# the end

my @pids = map { pid_of($_) } qw(postgres redis anvil);
push @pids, map { IntentTest::children($_) } @pids;
$t->end;
is(scalar(grep { IntentTest::alive($_) } @pids), 0, 'no process remains');
ok(!-e $dir, 'nor a file');

# A test that is itself killed

my $reader;
my $child = open($reader, '-|') // die "fork: $!";

if ($child == 0) {
    my $other = IntentTest->new(start => 0, services => [qw(redis postgres)]);
    $| = 1;
    print $other->dir, "\n", $other->read_file($other->dir . '/postgres.pid');
    sleep 60;
    exit 0;
}

chomp(my $orphan = <$reader>);
chomp(my $pid = <$reader>);
kill 'KILL', $child;
waitpid $child, 0;
wait_for(sub { !-e $orphan && !IntentTest::alive($pid) }, 20, 'the guard');
pass('what a killed test leaves is cleared away');

done_testing;
