# Lists of one's own intents, and DELETE: an intent is cancelled or carried out,
# never both.

use strict;
use warnings;

use lib 't/lib';
use DeafPostgres;
use IntentTest qw(wait_for);
use HTTP::Tiny;
use POSIX ();
use Test::More;

my $t = IntentTest->new(
    workers => 2,
    chain   => { poll_interval => '50ms' },
    anvil   => { 'block-time' => 1 },
    http    => 'log_format intent "$request_method $uri $status [$intent_user] [$intent_id] '
               . '[$intent_type] [$intent_status]";',
    api     => 'intent_user $http_x_user; intent_batch 100; client_body_buffer_size 64k;'
               . 'access_log $DIR/intent.log intent;',
    server  => 'location /open/ { intent_api; }'
               . 'location /slash/ { intent_api; intent_user $http_x_user; }',
);

sub body {
    my ($amount, $to) = @_;
    return { type => 'transfer', params => { recipient => $to, amount => "$amount" } };
}

sub post_many {
    my ($user, @bodies) = @_;
    my $r = $t->post('/api/intents', \@bodies, { $user ? ('X-User' => $user) : () });
    die $r->{content} if $r->{status} != 200 || grep { $_->{status} != 202 } @{ $r->{json} };
    return map { $_->{intent} } @{ $r->{json} };
}

sub list { my ($user, $args) = @_; $t->get("/api/intents$args", { 'X-User' => $user }) }

sub cancel {
    my ($id, $user, $path) = @_;
    $t->http('DELETE', ($path // '/api/intents') . "/$id", { $user ? ('X-User' => $user) : () });
}

# a node that does not answer: what is posted stays pending

my $to = $t->fresh_address;
$t->post_intent('transfer', body(1, $to)->{params});
wait_for(sub { $t->balance($to) == 1 }, 20, 'the first intent');
$t->pause('anvil');

# lists

my @mine = map { post_many('alice', map { body($_, $to) } 1 .. 15) } 1 .. 3;
post_many('bob', body(77, $to));

my (@pages, @listed);
my $args = '?limit=20&user=%3Ca%3E';

while (1) {
    my $page = list('alice', $args);
    is($page->{status}, 200, "GET $args");
    push @pages, scalar @{ $page->{json}{intents} };
    push @listed, @{ $page->{json}{intents} };

    my $link = $page->{headers}{link};
    my $cursor = $page->{json}{cursor};
    last if !defined $cursor || @pages > 5;

    is($link, "</api/intents?limit=20&user=%3Ca%3E&cursor=$cursor>; rel=\"next\"", 'Link');
    ($args) = $link =~ m{^</api/intents(.*)>};
}

is("@pages", '20 20 5', 'pages');
is_deeply([ map { $_->{intentId} } @listed ],
          [ reverse sort map { $_->{intentId} } @mine ], 'all of alice, the newest first');
is(scalar(grep { $_->{userId} ne 'alice' } @listed), 0, 'and nobody else');
is_deeply($listed[-1], $t->get_intent($listed[-1]{intentId}), 'as GET answers them');

my $page = list('alice', '');
is(scalar @{ $page->{json}{intents} }, 20, '20 if nothing is said');
is($page->{headers}{'cache-control'}, 'no-cache', 'Cache-Control');

is(list('alice', '?limit=45')->{json}{cursor}, undef, 'no cursor after the last');
is(list('alice', '?limit=45')->{headers}{link}, undef, 'and no Link');
is(scalar @{ list('alice', '?limit=100&status=pending')->{json}{intents} }, 45, 'by status');
is_deeply(list('alice', '?status=success%2Cfailed')->{json}, { intents => [], cursor => undef },
          'by two that none has');
is_deeply(list('nobody', '')->{json}, { intents => [], cursor => undef }, 'of nobody');
is_deeply(list('alice', '?cursor=AZoAAAAAcACAAAAAAAAAAA')->{json}{intents}, [],
          'older than all there are');
is($t->http('HEAD', '/api/intents', { 'X-User' => 'alice' })->{status}, 200, 'HEAD');

$page = $t->get('/slash/?limit=40', { 'X-User' => 'alice' });
my ($next) = $page->{headers}{link} =~ m{^<(/slash/\?limit=40&cursor=[^>]+)>};
is(scalar @{ $t->get($next, { 'X-User' => 'alice' })->{json}{intents} }, 5,
   'Link of a location that ends with a slash');

# cancel

my $id = $mine[0]{intentId};

is(cancel($id)->{status}, 403, 'nobody may not');
is(cancel($id, 'bob')->{json}{detail}, q(the intent is another user's), 'nor may bob');

my $r = cancel($id, 'alice');
is($r->{status}, 200, 'alice may');
is($r->{json}{status}, 'cancelled', 'it is cancelled');
is($r->{json}{message}, 'Your transfer was cancelled.', 'message');
is($r->{json}{version}, 2, 'version');
is_deeply($t->get_intent($id), $r->{json}, 'GET says the same');

my $again = cancel($id, 'alice');
is($again->{status}, 200, 'again: 200');
is_deeply($again->{json}, $r->{json}, 'and the same intent');

is($t->metric('intents_submitted_total', status => 'cancelled'), 1, 'counted once');
is(list('alice', '?status=cancelled')->{json}{intents}[0]{intentId}, $id, 'listed as cancelled');

like($t->read_file($t->dir . '/intent.log'),
     qr{^DELETE /api/intents/$id 200 \[alice\] \[$id\] \[transfer\] \[cancelled\]$}m, 'variables');
like($t->read_file($t->dir . '/intent.log'),
     qr{^GET /api/intents 200 \[alice\] \[-\] \[-\] \[-\]$}m, 'variables of a list');

is(cancel('00000000-0000-7000-8000-000000000000', 'alice')->{status}, 404, 'none: 404');

my ($unowned) = post_many('', body(5, $to));
is(cancel($unowned->{intentId}, 'alice')->{status}, 200, 'who knows the id of what is nobody\'s');
is(cancel($mine[1]{intentId}, '', '/open')->{status}, 403,
   'where no caller is known, the intents of those who are known elsewhere are theirs');
is(cancel($mine[1]{intentId}, 'alice', '/open')->{status}, 403, 'whatever is said there');
is(cancel($mine[1]{intentId}, 'alice')->{status}, 200, 'where they are known they may');
($unowned) = post_many('', body(5, $to));
is(cancel($unowned->{intentId}, '', '/open')->{status}, 200, 'and who knows the id of what is nobody\'s');

my ($address) = post_many(lc $t->address(1), body(6, $to));
is($address->{userId}, $t->address(1), 'an address in its EIP-55 form');
is(cancel($address->{intentId}, $t->address(1))->{status}, 200, 'is one user in any case');
is(scalar @{ list(lc $t->address(1), '')->{json}{intents} }, 1, 'in lists, too');

# what was cancelled is not carried out, all else is

$t->resume('anvil');

my $sum = 1 + 77 - 1 - 2;
$sum += $_ for map { 1 .. 15 } 1 .. 3;

wait_for(sub { $t->psql(q(select count(*) from intents where status in ('pending', 'executing')))
               == 0 }, 60, 'all to be finished');
is($t->balance($to)->bstr, $sum, 'what was not cancelled was paid');

$r = cancel($mine[2]{intentId}, 'alice');
is($r->{status}, 409, 'too late: 409');
is($r->{json}{detail}, 'the status of the intent is "success", only a pending one can be cancelled',
   'which names the status');

# 1000 of them against the lane

my ($children, $rounds, $size) = (4, 10, 25);
my @pids;

for my $child (1 .. $children) {
    my $pid = fork // die "fork: $!";

    if (!$pid) {
        my $http = HTTP::Tiny->new(timeout => 60);
        open my $out, '>', $t->dir . "/race.$child" or POSIX::_exit(1);

        for my $round (1 .. $rounds) {
            srand $child * 1000 + $round;
            my @to = map { $t->fresh_address } 1 .. $size;
            my $answer = $http->post($t->url('/api/intents'), {
                headers => { 'Content-Type' => 'application/json' },
                content => IntentTest->encode([ map { body(1, $_) } @to ]),
            });
            my $items = IntentTest->decode($answer->{content});
            grep { $_->{status} != 202 } @$items and die "POST: $answer->{content}";

            # the later ones have had the time to be sent
            for my $i (0 .. $size - 1) {
                my $gone = $http->request('DELETE', $t->url($items->[$i]{location}));
                print $out "$items->[$i]{intent}{intentId} $to[$i] $gone->{status} ",
                    IntentTest->decode($gone->{content})->{status}, "\n";
            }
        }

        close $out;
        POSIX::_exit(0);
    }

    push @pids, $pid;
}

for (@pids) { waitpid $_, 0; is($?, 0, 'a client ended well') }

my @race = map { chomp; [ split ' ' ] }
           map { split /^/, $t->read_file($t->dir . "/race.$_") } 1 .. $children;
is(scalar @race, $children * $rounds * $size, 'as many as there should be');

wait_for(sub { $t->psql(q(select count(*) from intents where status in ('pending', 'executing')))
               == 0 }, 120, 'all to be finished');

my %status = map { split /\|/ } $t->psql('select id, status from intents');
my (%seen, @wrong);

# all balances in one call
my $answer = HTTP::Tiny->new(timeout => 60)->post("http://127.0.0.1:$t->{anvil_port}/", {
    headers => { 'Content-Type' => 'application/json' },
    content => IntentTest->encode([ map {
        { jsonrpc => '2.0', id => $_, method => 'eth_getBalance', params => [ $race[$_][1], 'latest' ] }
    } 0 .. $#race ]),
});
my %balance = map { $_->{id} => hex $_->{result} } @{ IntentTest->decode($answer->{content}) };

for my $n (0 .. $#race) {
    my ($id, $to, $code, $said) = @{ $race[$n] };
    my $paid = $balance{$n};

    $seen{"$code $status{$id} $paid"}++;
    push @wrong, "@{ $race[$n] }: $status{$id}, paid $paid"
        unless $code == 200 ? $said eq 'cancelled' && $status{$id} eq 'cancelled' && $paid == 0
             : $code == 409 && $status{$id} eq 'success' && $paid == 1;
}

is("@wrong", '', 'each was cancelled and not paid, or paid and DELETE said 409');
diag(join ', ', map { "$_: $seen{$_}" } sort keys %seen);
ok($seen{'200 cancelled 0'}, 'some were cancelled');
ok($seen{'409 success 1'}, 'some were carried out');

# without Postgres

$t->kill('postgres');
wait_for(sub { list('alice', '')->{status} == 503 }, 20, 'a list without Postgres');
$r = list('alice', '');
is($r->{status}, 503, 'a list without Postgres');
is($r->{headers}{'retry-after'}, 1, 'Retry-After');
is(cancel($mine[2]{intentId}, 'alice')->{status}, 503, 'DELETE without Postgres');

$t->nginx_quit;
$t->clean_ok;

# where no location knows who calls

$t = IntentTest->new(workers => 1, anvil => { 'block-time' => 1 });
$t->pause('anvil');
$r = $t->post('/api/intents', { %{ body(1, $to) }, userId => 'alice' });
is(cancel($r->{json}{intentId})->{status}, 200, 'where no location knows callers, an id does');
$t->resume('anvil');
$t->nginx_quit;
$t->clean_ok;

# how an intent ended is told, if the answer to that commit was lost

$t = IntentTest->new(workers => 1, anvil => {}, postgres => 'timeout=1s', start => 0);
my $between = DeafPostgres->new($t->{postgres_port}, 0.5);
{
    local $t->{postgres_port} = $between->port;
    $t->write_conf;
}
$t->nginx_start;
$t->wait_intent($t->post_intent('transfer', body(1, $to)->{params})->{intentId}, 'success');
$t->psql('create function held() returns trigger language plpgsql as'
         . q( 'begin if new.status = ''success'' then perform pg_advisory_xact_lock(7); end if; return new; end';)
         . ' create trigger held before update on intents for each row execute function held()');
my $release = $t->advisory_lock(7);
$id = $t->post_intent('transfer', body(1, $to)->{params})->{intentId};
wait_for(sub { $t->psql('select count(*) from pg_locks where objid = 7 and not granted') }, 20, 'the record');
$between->lose;
$release->();
wait_for(sub { $t->psql("select status from intents where id = '$id'") eq 'success' }, 10,
         'it to be recorded');
wait_for(sub { $t->error_log =~ /"executor" was lost: the server did not answer in time/ }, 10,
         'the session to be given up');
$between->hang_up;
wait_for(sub { $t->get_intent($id)->{status} eq 'success' }, 10, 'the cache to be told');
is($t->metric('intents_submitted_total', status => 'success'), 2, 'a success, told and counted');
like($t->error_log, qr/1 intents had ended when a session was lost, and are told of now/, 'late');
$t->nginx_quit;
$t->clean_ok;
done_testing;
