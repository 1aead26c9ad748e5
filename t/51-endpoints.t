# Several nodes of one chain, some of which are not what they should be: the
# work goes on with the others, at once, and each comes back when it is well.

use strict;
use warnings;

use lib 't/lib';
use FaultyRpc;
use IntentTest;
use Test::More;
use Time::HiRes qw(time);

my ($poll, $block) = (0.25, 0.5);

my $t = IntentTest->new(start => 0, workers => 2, anvil => { 'block-time' => $block });
$t->mine(30);

my @nodes = map { FaultyRpc->new($t, $_) } qw(a b c);
my ($one, $two, $three) = @nodes;

$t->{http} = FaultyRpc->upstreams(@nodes);
$t->{server} = FaultyRpc->locations(@nodes)
    . 'location = /health { intent_health; }';
$t->{chain} = { rpc => [ map { "/_rpc/$_->{name}" } @nodes ],
                poll_interval => '250ms', confirmations => 1 };

sub breaker {
    my $node = shift;
    return $t->metric('intent_rpc_breaker_state', endpoint => "/_rpc/$node->{name}") // -1;
}

sub wait_breaker {
    my ($node, $state, $what, $timeout) = @_;
    ok(eval { wait_for(sub { breaker($node) == $state }, $timeout // 20,
                       "breaker $state of $node->{name}, it is " . breaker($node)) },
       $what) or diag($@);
}

sub carry_out {
    my $timeout = shift // 30;
    my $from = time;
    my $intent = $t->post_intent('transfer', { recipient => $t->fresh_address,
                                               amount => '1' });
    $t->wait_intent($intent->{intentId}, 'success', $timeout);
    return time - $from;
}

sub best { my $best; for (1 .. $_[0]) { my $s = carry_out(); $best = $s if !defined $best || $s < $best } $best }

sub logged { my ($text, $name) = @_; like($t->error_log, $text, $name) }


# Their first answers take longer than others; a slow one is not what is looked at

for my $node ((@nodes) x 5) {
    my $response = $node->{client}->post("http://127.0.0.1:$node->{port}/",
        { content => '{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber","params":[]}' });
    $response->{success} or die "$node->{name}: $response->{content}\n";
}


# --- from the start: one lags, one answers 500 -----------------------------------

$two->set(lag => 20);
$three->set(status => 500);

$t->write_conf;
$t->nginx_start;

# An intent needs the rest of one block to be mined, and a poll to be seen;
# another poll is what a bad node may cost. A second more for a busy machine.

my @took = map { carry_out() } 1 .. 6;
my ($worst) = sort { $b <=> $a } @took[1 .. 5];

cmp_ok($worst, '<', $block + 3 * $poll + 1, sprintf 'neither delays execution (%s s)',
       join ' ', map { sprintf '%.2f', $_ } @took);

# what the work itself asked of them, whatever the machine was busy with: a poll
# each at the most, and the one intent that came before anybody could know

for my $node ($two, $three) {
    my $asked = $node->told->{counts}{methods};
    my %of = map { $_ => $asked->{$_} // 0 }
             qw(eth_getBalance eth_estimateGas eth_sendRawTransaction eth_getTransactionReceipt);

    ok(!(grep { $_ > 1 } values %of), "$node->{name} was polled once at the most, and then left")
        or diag join ', ', map { "$_: $of{$_}" } sort keys %of;
}

wait_breaker($two, 2, 'the one that lags is left');
wait_breaker($three, 2, 'the one that answers 500 is left');
is(breaker($one), 0, 'the good one is used');

logged(qr{rpc "/_rpc/b" is left for \d+ ms: its head is block \d+, \d+ others know},
       'and the log says why: it lags');
logged(qr{rpc "/_rpc/c" is left for \d+ ms: HTTP status 500}, 'it answers 500');

my $page = $t->get('/intent_status')->{content};
like($page, qr{/_rpc/b" open}, 'the status page tells');

my $health = $t->get('/health');
is($health->{status}, 200, 'one good node is enough for health');
is($health->{json}{status}, 'degraded', 'but not for all of it');

# --- they get well ---------------------------------------------------------------

$two->set(lag => 0);
$three->set(status => 0);

wait_breaker($two, 0, 'a node that caught up is used again');
wait_breaker($three, 0, 'a node that answers again is used again');

logged(qr{rpc "/_rpc/b" is used again}, 'and the log says so');

wait_for(sub { $t->get('/health')->{json}{status} eq 'up' }, 10, 'health');
pass('health is up');

# --- each kind of nonsense, of the one that is used --------------------------------

my %nonsense = (
    'resets connections'        => [ { gone => \1 }, { gone => \0 }, qr{rpc "/_rpc/%s" is left for \d+ ms: (?:HTTP status 502|no whole answer)} ],
    'is of another chain'       => [ { chain_id => 5 }, { chain_id => undef }, qr{rpc "/_rpc/%s" is left for \d+ ms: it is on chain 5, "chain_id" says 31337} ],
    'answers with pages'        => [ { rates => { html => 1 } }, { rates => {} }, qr{rpc "/_rpc/%s" is left for \d+ ms: a page for people} ],
    'answers junk'              => [ { rates => { junk => 1 } }, { rates => {} }, qr{rpc "/_rpc/%s" is left for \d+ ms: not JSON} ],
    'cuts answers short'        => [ { rates => { truncate => 1 } }, { rates => {} }, qr{rpc "/_rpc/%s" is left for \d+ ms: no whole answer} ],
    'leaves answers out'        => [ { rates => { missing => 1 } }, { rates => {} }, qr{rpc "/_rpc/%s" is left for \d+ ms: (?:no answer to item|not JSON|neither)} ],
    'answers with wrong ids'    => [ { rates => { wrong_id => 1 } }, { rates => {} }, qr{rpc "/_rpc/%s" is left for \d+ ms: an answer with a wrong id} ],
    'contradicts itself'        => [ { rates => { contradict => 1 } }, { rates => {} }, qr{rpc "/_rpc/%s" is left for \d+ ms: an answer with a wrong id} ],
    'says it is too much in 200' => [ { rates => { limit_200 => 1 } }, { rates => {} }, qr{rpc "/_rpc/%s" is left for \d+ ms: rate limit exceeded} ],
    'says it is too much in 429' => [ { rates => { limit => 1 } }, { rates => {} }, qr{rpc "/_rpc/%s" is left for \d+ ms: HTTP status 429} ],
    'lacks a method'            => [ { lacks => [ 'eth_getTransactionReceipt' ] }, { lacks => [] }, qr{rpc "/_rpc/%s" is left for \d+ ms: it does not know eth_getTransactionReceipt} ],
    'goes far back'             => [ { lag => 28 }, { lag => 0 }, qr{rpc "/_rpc/%s" is left for \d+ ms: its head} ],
    'makes blocks up'           => [ { ahead => 1_000_000 }, { ahead => 0 }, qr{rpc "/_rpc/%s" is left for \d+ ms: its head is block \d+, that of all others} ],
);

# which one does the lane use?  the one that is asked most

sub used {
    my %before = map { $_ => $_->told->{counts}{methods}{eth_getBalance} // 0 } @nodes;
    my $found;
    wait_for(sub {
        carry_out();
        ($found) = grep { ($_->told->{counts}{methods}{eth_getBalance} // 0) > $before{$_} + 1 } @nodes;
    }, 20, 'the node that is used');
    return $found;
}

for my $what (sort keys %nonsense) {
    my ($bad, $good, $log) = @{ $nonsense{$what} };

    subtest "a node that $what" => sub {
        wait_for(sub { !grep { breaker($_) } @nodes }, 60, 'all to be well');

        my $node = used();
        my $length = length $t->error_log;

        $node->set(%$bad);

        my $took = eval { best(2) };
        ok(defined $took && $took < $block + 3 * $poll + 1,
           sprintf 'does not hold up the work for long (%.2f s)', $took // -1) or diag $@;

        my $pattern = "$log"; $pattern =~ s/%s/$node->{name}/;

        ok(eval { wait_for(sub { substr($t->error_log, $length) =~ $pattern }, 20, $what) },
           'is left, for that reason')
            or diag join "\n", grep { m{rpc "} } split /\n/, substr $t->error_log, $length;

        $node->set(%$good);
        wait_breaker($node, 0, 'and is used again, when it is well', 60);
    };
}

# --- one that hangs: it takes connections, and answers nothing ---------------------

subtest 'a node that hangs' => sub {
    wait_for(sub { !grep { breaker($_) } @nodes }, 60, 'all to be well');

    my $node = used();
    my $slow = sub {
        my ($rpc) = grep { $_->{rpc} eq "/_rpc/$node->{name}" }
                    @{ $t->get('/health')->{json}{chains}[0]{rpc} };
        return $rpc;
    };

    ok(!$slow->()->{slow}, 'is not slow before');

    kill 'STOP', $node->{pid};

    my $from = time;
    my $intent = $t->post_intent('transfer', { recipient => $t->fresh_address, amount => '1' });
    my $told;

    ok(eval { wait_for(sub { $told = $slow->(); $told->{slow} }, 10, 'slow') },
       sprintf 'is told to be slow (after %.1f s)', time - $from) or diag $@;
    is($told->{breaker}, 'closed', 'before its breaker opens');

    $t->wait_intent($intent->{intentId}, 'success', 30);
    cmp_ok(time - $from, '<', 3 + $block + 3 * $poll + 2,
           sprintf 'the work goes on with another one (after %.1f s)', time - $from);

    cmp_ok(best(2), '<', $block + 3 * $poll + 1, 'and is not held up then');
    is($t->get('/health')->{json}{status}, 'degraded', 'health says what it is');

    kill 'CONT', $node->{pid};

    ok(eval { wait_for(sub { !$slow->()->{slow} }, 30, 'not slow') }, 'it answers again')
        or diag $@;
    wait_breaker($node, 0, 'and is used again', 60);
};

# --- what is no fault ---------------------------------------------------------------

my $before = () = $t->error_log =~ /is left for/g;
$_->set(rates => { reorder => 0.5, duplicate => 0.5 }) for @nodes;
best(2);
my $after = () = $t->error_log =~ /is left for/g;
is($after, $before, 'answers in any order, and twice the same, are answers');

$_->set(rates => {}, lacks => [ 'eth_feeHistory' ]) for @nodes;
best(2);
$after = () = $t->error_log =~ /is left for/g;
is($after, $before, 'eth_feeHistory can be done without');
$_->set(lacks => []) for @nodes;

# --- a node for reading only ----------------------------------------------------------

{
    my $node = used();
    $node->set(lacks => [ 'eth_sendRawTransaction' ]);
    cmp_ok(best(2), '<', 5, 'transactions go to another node than one that takes none');
    is(breaker($node), 0, 'which is still good for reading');
    $node->set(lacks => []);
}

# --- 429 with Retry-After, of all of them: they rest -------------------------------------

{
    # one that is left for what was before is asked again sooner

    wait_breaker($_, 0, "$_->{name} is in use", 60) for @nodes;

    $_->set(rates => { limit_after => 1 }, retry_after => 10) for @nodes;
    my $end = time + 9;
    wait_for(sub { 3 == grep { breaker($_) == 2 } @nodes }, 20, 'all to be left');

    # what was on its way by then

    my $all = sub { my $n = 0; $n += $_->calls for @nodes; $n };
    my ($calls, $since) = ($all->(), time);

    wait_for(sub {
        my $n = $all->();
        ($calls, $since) = ($n, time) if $n != $calls;
        time - $since > 0.5;
    }, 5, 'the last answers');

    wait_for(sub { time > $since + 3 || time > $end }, 10, 'much of the time they asked for');
    cmp_ok(time, '>', $since + 1.5, 'a while');
    is($all->() - $calls, 0, 'no node is asked while all rest');

    is($t->get('/health')->{status}, 503, 'and health says so');

    $_->set(rates => {}) for @nodes;
    ok(eval { carry_out(); 1 }, 'then it goes on') or diag $@;
}

# --- all of them away for a while ---------------------------------------------------------

{
    $_->set(gone => \1) for @nodes;
    my $intent = $t->post_intent('transfer', { recipient => $t->fresh_address, amount => '1' });
    wait_for(sub { 3 == grep { breaker($_) == 2 } @nodes }, 30, 'all to be left');
    is($t->get('/health')->{status}, 503, 'health: 503, no node');

    $_->set(gone => \0) for @nodes;
    my $from = time;
    $t->wait_intent($intent->{intentId}, 'success', 30);
    cmp_ok(time - $from, '<', 8, sprintf 'work goes on soon after they are back (%.1f s)', time - $from);
    wait_breaker($_, 0, "$_->{name} is used again", 60) for @nodes;
}

# --- where all of them are slow, there is none to leave them for --------------------------

$_->set(slow_ms => 3300) for @nodes;
ok(eval { carry_out(60); 1 }, 'with nodes that take 3.3 s for an answer') or diag $@;
$_->set(slow_ms => 0) for @nodes;
wait_breaker($_, 0, "$_->{name} is used again", 60) for @nodes;

# --- what is known outlives a reload ----------------------------------------------------

$three->set(lag => 20);
wait_breaker($three, 2, 'one lags');
$t->nginx_reload;
is(breaker($three), 2, 'it is known after a reload');
$three->set(lag => 0);

# --- one that lies from the start, and is the first to be believed ------------------------

$one->set(ahead => 1_000_000);
$t->nginx_restart;
wait_breaker($one, 2, 'blocks that only one of three knows are made up');
wait_breaker($two, 0, 'the others are right');
wait_breaker($three, 0, 'both of them');
ok(eval { carry_out(); 1 }, 'and used') or diag $@;

$t->nginx_quit;
$t->clean_ok;

done_testing;
