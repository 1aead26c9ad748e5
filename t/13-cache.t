# The cache: what is in Redis, when it is asked, what is told on its channels,
# and that without it, or with one that is silent, every answer is right.

use strict;
use warnings;

use lib 't/lib';
use HTTP::Tiny;
use IO::Select;
use IntentTest qw(wait_for);
use Test::More;
use Time::HiRes qw(sleep time);

# transactions are mined when the test says so

my $t = IntentTest->new(
    workers => 2,
    chain   => { poll_interval => '100ms' },
    anvil   => { 'no-mining' => undef },
    redis   => 'prefix=gw: ttl=20s timeout=500ms',
    api     => 'add_header X-Cache $intent_cache_status always;',
    http    => q(log_format cache '$request_method $status $intent_id $intent_cache_status';),
    server  => 'access_log $DIR/cache.log cache;',
);

my $client = HTTP::Tiny->new(timeout => 20);     # a connection for each request

sub submitted { $t->post_intent('transfer', { recipient => $t->address(5), amount => '7' }) }
sub ended { my $id = shift; wait_for(sub { $t->mine; stored($id) eq 'success' }, 20,
                                     "success of $id in Postgres") }
sub stored { scalar $t->psql("SELECT status FROM intents WHERE id = '$_[0]'") }
sub key { "gw:$_[0]:status" }
sub kept { $t->redis_cli('--raw', 'GET', key($_[0])) }

# (X-Cache, body, seconds that it took)

sub asked {
    my $id = shift;

    my $start = time;
    my $r = $client->get($t->url("/api/intents/$id"));
    return ($r->{headers}{'x-cache'} // '', $r->{content}, time - $start, $r->{status});
}

sub wait_cache {
    my ($id, $wanted, $timeout) = @_;

    my ($cache, $body);
    wait_for(sub { ($cache, $body) = asked($id); $cache eq $wanted }, $timeout // 10,
             sub { "$wanted for $id, it is $cache" });
    return $body;
}

# Redis is stopped (since mark, or now), and both connections of each worker have been given up

sub silence {
    my $mark = shift;

    if (!defined $mark) {
        wait_for(sub {
            my @away = $t->error_log =~ /\[(?:error|crit)\] \d+#\d+: (?:\*\d+ )?.*redis 127/g;
            my @back = $t->error_log =~ /redis \S+ is back/g;
            @away == @back;
        }, 10, 'all connections to Redis to be back');

        $mark = length $t->error_log;
        $t->pause('redis');
    }

    wait_for(sub {
        my %lines;
        $lines{$_}++ for substr($t->error_log, $mark)
                         =~ /\[error\] (\d+)#\d+: redis \S+ did not answer within 500ms/g;
        2 == grep { $_ == 2 } values %lines;
    }, 10, 'the workers to notice that Redis is silent');
}

# An intent that waits for its block, with its status in Redis: asked for, so that
# it comes there even if the worker of its lane has not yet found Redis again.

sub waiting {
    my $id = submitted()->{intentId};

    wait_for(sub { asked($id); kept($id) =~ /"executing"/ }, 10, 'executing in Redis');
    return $id;
}

# What GETs tell after an outage, until there were some hits: { "HIT success" => 7 }

sub seen {
    my $id = shift;

    my %seen;
    my $deadline = time + 20;

    while (time < $deadline && ($seen{'HIT success'} // 0) < 200) {
        my ($cache, $body) = asked($id);
        $seen{"$cache " . status($body)}++;
    }

    return \%seen;
}

sub status { IntentTest::decode($_[0])->{status} }

# What the access log has of an intent's GETs, which is written after the answer

sub logged {
    my ($id, $wanted) = @_;

    my $is;
    wait_for(sub { $is = join ' ', $t->read_file("$t->{dir}/cache.log") =~ /^GET 200 $id (\S+)\n/mg;
                   $is eq $wanted }, 10, sub { "\"$wanted\" in the access log, it has \"$is\"" });
}


subtest 'a GET is answered from Redis' => sub {
    my $id = submitted()->{intentId};

    ended($id);
    wait_for(sub { kept($id) =~ /"success"/ }, 5, 'success in Redis');

    my $hits = $t->metric('intent_cache_requests_total', result => 'hit');
    my ($cache, $body, undef, $status) = asked($id);

    logged($id, 'HIT');
    is($status, 200, 'it is answered');
    is($cache, 'HIT', 'it is a hit');
    is(status($body), 'success', 'the status is that of the end');
    is(kept($id), $body, 'Redis has exactly the JSON that GET answers');
    is($t->metric('intent_cache_requests_total', result => 'hit'), $hits + 1, 'it is counted');

    my $ttl = $t->redis_cli('TTL', key($id));
    cmp_ok($ttl, '>', 0, 'the key goes by itself');
    cmp_ok($ttl, '<=', 20, 'after ttl at the most');

    # what says HIT has asked nobody else

    $t->redis_cli('SET', key($id), '{"mark":1}');
    is((asked($id))[1], '{"mark":1}', 'a hit is what Redis has');
    logged($id, 'HIT HIT');

    # gone from Redis

    my $misses = $t->metric('intent_cache_requests_total', result => 'miss');

    $t->redis_cli('DEL', key($id));
    my ($miss, $again) = asked($id);

    logged($id, 'HIT HIT MISS');
    is($miss, 'MISS', 'a key that is gone is a miss');
    is($again, $body, 'Postgres gives the same JSON');
    is($t->metric('intent_cache_requests_total', result => 'miss'), $misses + 1, 'it is counted');

    wait_for(sub { kept($id) eq $body }, 5, 'the key to be back');
    is((asked($id))[0], 'HIT', 'the miss has put it there again');

    $ttl = $t->redis_cli('TTL', key($id));
    ok($ttl > 0 && $ttl <= 20, 'for ttl at the most');

    logged($id, 'HIT HIT MISS HIT');
    pass('the access log tells it too');
};

subtest 'what is not there' => sub {
    my $id = '01a20310-edce-7523-95f1-f3557e7bf05a';
    my ($cache, undef, undef, $status) = asked($id);

    is($status, 404, 'is not found');
    is($cache, 'MISS', 'by Postgres');
    is($t->redis_cli('EXISTS', key($id)), 0, 'and not kept');
};

subtest 'each change is told on the channel of the intent' => sub {
    my $redis = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $t->{redis_port})
        or die "redis: $!";
    my $in = '';

    # ("pmessage", pattern, channel, message), or what Redis answers otherwise

    my $read = sub {
        my $deadline = time + 10;

        while (1) {
            if ($in =~ /^\*(\d+)\r\n/) {
                my ($n, $at, @all) = ($1, $+[0]);

                while (@all < $n) {
                    pos($in) = $at;

                    if ($in =~ /\G:(\d+)\r\n/gc) {
                        push @all, $1;
                        $at = pos $in;
                        next;
                    }

                    $in =~ /\G\$(\d+)\r\n/gc or last;
                    my $start = pos $in;
                    last if length $in < $start + $1 + 2;
                    push @all, substr $in, $start, $1;
                    $at = $start + $1 + 2;
                }

                if (@all == $n) {
                    substr($in, 0, $at) = '';
                    return @all;
                }
            }

            die "nothing on the channel\n" if time > $deadline;
            IO::Select->new($redis)->can_read(0.1) or next;
            sysread $redis, $in, 65536, length $in or die "redis has closed\n";
        }
    };

    syswrite $redis, "PSUBSCRIBE gw:*\r\n";
    is(($read->())[0], 'psubscribe', 'subscribed');

    my $posted = submitted();
    my $id = $posted->{intentId};
    my (@told, $mined);

    until (@told && $told[-1]{status} eq 'success') {
        my (undef, undef, $channel, $message) = $read->();
        next if $channel ne "gw:$id";

        my $intent = IntentTest::decode($message);
        push @told, $intent;

        is($message, (asked($id))[1], 'success is told with the JSON that GET answers')
            if $intent->{status} eq 'success';

        if ($intent->{txHash} && !$mined++) {
            wait_for(sub { $t->rpc('eth_getTransactionByHash', $intent->{txHash}) }, 10,
                     'the transaction at the node');
            $t->mine;
        }
    }

    my @statuses;
    for (@told) { push @statuses, $_->{status} if !@statuses || $statuses[-1] ne $_->{status} }

    is("@statuses", 'pending executing success', 'pending, executing, success');
    is(join(' ', map { $_->{version} } @told), join(' ', 1 .. @told),
       'each version is told once, and in order');
    is_deeply($told[0], $posted, 'the first is what the POST was answered');
    is(scalar($t->psql("SELECT version FROM intents WHERE id = '$id'")), $told[-1]{version},
       'the last is what Postgres has');
};

subtest 'Redis is silent' => sub {
    my $id = waiting();
    my ($before, undef) = asked($id);
    is($before, 'HIT', 'it is there');

    my $mark = length $t->error_log;
    $t->pause('redis');

    my ($cache, $body, $seconds, $status) = asked($id);
    is($status, 200, 'a GET is answered');
    is($cache, 'BYPASS', 'by Postgres');
    is(status($body), 'executing', 'with the status');
    cmp_ok($seconds, '<', 4, sprintf 'within timeout and a little (%.2f s)', $seconds);

    # once it is known, nobody waits

    silence($mark);
    my @slowest = sort { $b <=> $a } map { (asked($id))[2] } 1 .. 30;
    cmp_ok($slowest[3], '<', 0.3, 'then GETs do not wait for it');      # the machine may, now and then

    # a change that Redis does not hear of

    ended($id);
    is(status((asked($id))[1]), 'success', 'GET tells a change from Postgres');

    my $started = time;
    my $post = submitted();
    cmp_ok(time - $started, '<', 4, 'a POST does not wait for Redis');

    $t->resume('redis');

    my $seen = seen($id);

    ok($seen->{'HIT success'}, 'back, it answers again');
    is_deeply([ grep { !/success/ } keys %$seen ], [], 'and no status of before')
        or diag(explain($seen));

    ended($post->{intentId});
    is(status(wait_cache($post->{intentId}, 'HIT')), 'success', 'what came meanwhile too');
};

subtest 'Redis is gone' => sub {
    my $id = waiting();

    $t->kill('redis');

    my ($cache, $body, $seconds, $status) = asked($id);
    is("$status $cache", '200 BYPASS', 'a GET is answered by Postgres');
    is(status($body), 'executing', 'with the status');
    cmp_ok($seconds, '<', 4, sprintf 'soon (%.2f s)', $seconds);

    my $errors = $t->metric('intent_cache_requests_total', result => 'error');
    asked($id);
    is($t->metric('intent_cache_requests_total', result => 'error'), $errors + 1, 'it is counted');

    ended($id);
    is(status((asked($id))[1]), 'success', 'GET tells a change');

    my $other = submitted()->{intentId};
    ended($other);
    is(status((asked($other))[1]), 'success', 'an intent goes its way');

    $t->restart('redis');
    is(status(wait_cache($_, 'HIT')), 'success', 'back, it is asked again') for $id, $other;
};

$t->nginx_quit;
$t->clean_ok;

done_testing;
