# The store: one intent for each key, whatever is lost; what expires, on time
# and once; what is old, deleted while POSTs go on; one sweeper in the fleet; an
# upgrade of the schema. No chain: what is pending stays so.

use strict;
use warnings;

use lib 't/lib';
use DeafPostgres;
use IntentTest qw(wait_for);
use Test::More;
use Time::HiRes qw(sleep time);

my $recipient = '0x00000000219ab540356cBB839Cbe05303d7705Fa';

sub body {
    my ($amount, %more) = @_;

    return IntentTest->encode({ type => 'transfer', %more,
        params => { recipient => $recipient, amount => "$amount" } });
}

# A gateway without a node. With on => another one: a second instance, as on
# another host, of the same fleet.

sub gateway {
    my %option = @_;

    my $first = delete $option{on};
    my $begin = delete $option{begin} // 1;

    my $t = IntentTest->new(
        workers  => 2,
        services => $first ? [] : [qw(postgres redis)],
        rpc      => 'return 503;',
        start    => 0,
        %option,
    );

    if ($first) {
        @$t{qw(postgres_port redis_port)} = @$first{qw(postgres_port redis_port)};
    }

    $t->write_conf;
    $t->nginx_start if $begin;
    return $t;
}

# Rows that never went through the gateway: $n finished ones

sub old_rows {
    my ($t, $n, %option) = @_;

    my $columns = join '', map { ", $_" } sort keys %{ $option{more} || {} };
    my $values = join '', map { ", $option{more}{$_}" } sort keys %{ $option{more} || {} };

    $t->psql("insert into intents (id, type, status, chain, params, version, created_at,"
             . " updated_at, next_attempt_at$columns) select gen_random_uuid(), 'transfer',"
             . " '$option{status}', 'dev', '{}', 3, now() - interval '$option{age}',"
             . " now() - interval '$option{age}' - i * interval '1 ms', now() $values"
             . " from generate_series(1, $n) i");
}

# Which process is the sweeper: Postgres knows its session, its log whose that is

my $held = "from pg_locks where locktype = 'advisory' and granted"
           . ' and ((classid::bigint << 32) | objid::bigint) = 7597130064459033972';
my $holders = "select count(*) $held";

sub sweeper {
    my ($backend) = $_[0]->psql("select pid $held");
    my ($pid) = map { $_->error_log =~ /(\d+)#.*"executor" is up, .* backend $backend$/m ? $1 : () }
                @_ if $backend;
    return $pid;
}

sub sweepers { scalar grep { /intent sweeper: this worker is it$/ }
               map { split /\n/, $_->error_log } @_ }


# --- an upgrade --------------------------------------------------------------

{
    my $t = gateway(begin => 0);
    my $schema = do { local $/; <DATA> };

    $t->psql($schema);
    $t->psql("insert into intents (id, type, status, chain, user_id, params, idempotency_key,"
             . ' version, created_at, updated_at, next_attempt_at, expires_at)'
             . " select ('00000000-0000-7000-8000-00000000000' || i)::uuid, 'transfer', s, 'dev',"
             . " 'alice', '{\"a\": 1}', case when i < 3 then 'k' || i end, 1,"
             . " now() - interval '40 days', now() - interval '40 days', now(), null"
             . " from unnest(array['pending', 'executing', 'success', 'failed'])"
             . ' with ordinality as u (s, i)');
    $t->psql("insert into intent_transactions (hash, chain_id, signer, nonce, intent_id, raw, state)"
             . " select decode(lpad(to_hex(i), 64, '0'), 'hex'), 31337,"
             . " decode(repeat('01', 20), 'hex'), i,"
             . " ('00000000-0000-7000-8000-00000000000' || i)::uuid, '', s"
             . " from unnest(array['mined', 'live', 'mined']) with ordinality as u (s, i)");

    # a few thousand more, so that what reads them all would be seen
    old_rows($t, 3000, status => 'success', age => '1 day', more => { user_id => "'bob'" });

    # as the manual has it: an index may be there before
    $t->psql('create index intents_user_id_id on intents (user_id, id) where user_id is not null');

    $t->nginx_start;
    wait_for(sub { my $v = $t->psql('select max(version) from intent_schema'); $v == 4 }, 20,
             'the schema');
    is(join(' ', $t->psql('select version from intent_schema order by 1')), '1 2 3 4',
       'version 1 became 2, then 3, then 4');

    wait_for(sub { $t->psql("select count(*) from intents where user_id = 'alice'") == 2 }, 20,
             'retention');
    is(join(' ', $t->psql("select status from intents where user_id = 'alice' order by id")),
       'pending executing', 'finished rows of 40 days are gone, unfinished ones are not');
    is($t->psql("select count(*) from intents where user_id = 'bob'"), 3000, 'nor those of a day');
    is(join(' ', $t->psql('select nonce from intent_transactions order by 1')), '1 2',
       'what was signed for them went with them');

    my $pending = $t->get_intent('00000000-0000-7000-8000-000000000001');
    is($pending->{status}, 'pending', 'a row of before is read');

    is($t->submit('transfer', { recipient => $recipient, amount => '1' })->{status}, 202,
       'and a new one taken');
    is($t->psql("select count(*) from pg_indexes where indexname in ('intents_idempotency_key',"
                . " 'intents_user_id_status')"), 0, 'the old indexes are gone');
    is($t->psql('select count(*) from pg_index where not indisvalid'), 0, 'no index is invalid');
    $t->clean_ok(name => 'no alert in an upgrade');
}


# --- one key -----------------------------------------------------------------

{
    my $t = gateway();

    for my $round (1 .. 3) {
        my @answers = $t->load(
            count => 500, connections => 250, body => sub { body(1000000) },
            headers => sub { +{ 'Idempotency-Key' => "\"one-$round\"" } });

        my %answer;
        $answer{"$_->{status} $_->{body}"}++ for @answers;
        is(keys %answer, 1, '500 POSTs with one key at a time: one answer')
            or diag(join "\n", map { "$answer{$_} x $_" } keys %answer);
        like((keys %answer)[0], qr/^202 /, 'which is 202');

        my @rows = $t->psql('select id from intents where idempotency_key like '
                            . "'%one-$round%'");
        is(@rows, 1, 'and one intent');
        is($t->psql('select count(*) from intents'), $round, 'and nothing else');
    }

    my $first = $t->post('/api/intents', body(7), { 'Idempotency-Key' => '"seven"' });
    my $id = $first->{json}{intentId};

    # whatever became of it
    $t->psql("update intents set status = 'success', version = 4, attempts = 2, error = 'x',"
             . " tx_hash = decode(repeat('11', 32), 'hex'), block_number = 5, gas_used = 6,"
             . " gas_cost = 7, confirmations = 8, updated_at = now() where id = '$id'");

    my $again = $t->post('/api/intents', body(7), { 'Idempotency-Key' => '"seven"' });
    is($again->{content}, $first->{content}, 'the answer is the first one, to the letter');

    $t->psql("delete from intents where id = '$id'");
    $again = $t->post('/api/intents', body(7), { 'Idempotency-Key' => '"seven"' });
    is($again->{status}, 202, 'a key whose intent is gone');
    isnt($again->{json}{intentId}, $id, 'is as good as new');

    # somebody has the row: it is not answered with, and not waited for in vain
    my $holder = fork // die "fork: $!";
    if ($holder == 0) {
        $t->psql("begin; update intents set error = 'x' where idempotency_key like '%seven%';"
                 . ' select pg_sleep(1.5); rollback');
        POSIX::_exit(0);
    }
    wait_for(sub { $t->psql("select count(*) from pg_stat_activity where query like"
                            . " '%pg_sleep(1.5)%' and pid <> pg_backend_pid()") > 0 }, 10,
             'the holder');
    my $before = $t->metric('intent_store_seconds_count', operation => 'duplicate');
    my $held = $t->post('/api/intents', body(7), { 'Idempotency-Key' => '"seven"' });
    is($held->{content}, $again->{content}, 'a row that is locked is waited for');
    cmp_ok($t->metric('intent_store_seconds_count', operation => 'duplicate') - $before, '<', 300,
           'and not in a busy loop');
    waitpid $holder, 0;

    $t->clean_ok;
}


# --- it is not known whether the first was kept ---------------------------------

{
    my $b = gateway(workers => 1);
    my $between = DeafPostgres->new($b->{postgres_port}, 1.5);
    my $a = gateway(on => $b, workers => 1, postgres => 'timeout=2s', begin => 0);
    local $a->{postgres_port} = $between->port;
    $a->write_conf;
    $a->nginx_start;

    my $rows = "select count(*) from intents where idempotency_key like '%%%s%%'";

    my $unknown = sub {
        my $key = shift;

        is($a->submit('transfer', { recipient => $recipient, amount => '1' })->{status}, 202,
           'Postgres answers');
        $between->lose;
        my $answer = $a->post('/api/intents', body(1), { 'Idempotency-Key' => "\"$key\"" });
        is($answer->{status}, 503, 'Postgres keeps it, and its answer is lost: 503');
        is($b->psql(sprintf $rows, $key), 1, 'it is there');
    };

    my $revoked = sub {
        my $n = () = $a->error_log =~ /\d+ intents revoked, of/g;
        $between->hang_up;
        my @revoked;
        wait_for(sub { (@revoked = $a->error_log =~ /(\d+) intents revoked, of/g) > $n }, 20,
                 'a revocation');
        return $revoked[-1];
    };

    $unknown->('gone');
    is($revoked->(), 1, 'it is revoked when Postgres is back');
    is($b->psql(sprintf $rows, 'gone'), 0, 'and gone');
    is($b->post('/api/intents', body(1), { 'Idempotency-Key' => '"gone"' })->{status}, 202,
       'its client comes again');
    is($b->psql(sprintf $rows, 'gone'), 1, 'there is one');

    $unknown->('again');
    my $again = $b->post('/api/intents', body(1), { 'Idempotency-Key' => '"again"' });
    is($again->{status}, 202, 'its client comes again, to another instance, before it is revoked');
    is($revoked->(), 0, 'then it is not');
    is($b->psql("select id from intents where idempotency_key like '%again%'"),
       $again->{json}{intentId}, 'what the client was told is there');

    $unknown->('other');
    my $other = $b->post('/api/intents', body(2), { 'Idempotency-Key' => '"other"' });
    is($other->{status}, 409, 'another body with that key is told so');
    is($revoked->(), 1, 'and does not keep the first, which nobody was told of');

    # somebody has the row just then, and then the server is in trouble

    $unknown->('locked');
    my $unlock = lock_row($b, "idempotency_key like '%locked%'");
    $between->hang_up;
    wait_for(sub { $a->submit('transfer', { recipient => $recipient, amount => '1' })->{status} == 202 },
             20, 'Postgres to be back');
    is($a->submit('transfer', { recipient => $recipient, amount => '1' })->{status}, 202,
       'a row that is locked is nobody else\'s trouble') for 1 .. 3;
    is($b->psql(sprintf $rows, 'locked'), 1, 'it is not revoked yet');
    $unlock->();
    wait_for(sub { $b->psql(sprintf $rows, 'locked') == 0 }, 20, 'it is revoked when it is free');

    for my $state ('55P03', '57014', '40P01') {
        $unknown->($state);
        $b->psql('create function refuse() returns trigger language plpgsql as'
                 . " 'begin raise exception using errcode = ''$state''; end';"
                 . ' create trigger refuse before delete on intents for each row'
                 . ' execute function refuse()');
        $between->hang_up;
        wait_for(sub { $a->error_log =~ /are not revoked yet: $state/ }, 20, $state);
        is($b->psql(sprintf $rows, $state), 1, "$state: it is there");
        $b->psql('drop function refuse cascade');
        wait_for(sub { $b->psql(sprintf $rows, $state) == 0 }, 20, 'it is revoked all the same');
    }

    # a cancellation, and its answer is lost

    my $gone = $a->post_intent('transfer', { recipient => $recipient, amount => '1' })->{intentId};
    is($b->get_intent($gone)->{status}, 'pending', 'the cache has it as pending');

    $b->psql('create function held() returns trigger language plpgsql as'
             . " 'begin perform pg_advisory_xact_lock(7); return new; end';"
             . ' create trigger held before update on intents for each row'
             . ' execute function held()');
    my $release = $b->advisory_lock(7);
    my $answer = later(sub { $a->http('DELETE', "/api/intents/$gone")->{status} });
    wait_for(sub { $b->psql('select count(*) from pg_locks where objid = 7 and not granted') },
             20, 'the cancellation');
    $between->lose;
    $release->();
    wait_for(sub { $b->psql("select status from intents where id = '$gone'") eq 'cancelled' }, 10,
             'it to be cancelled');
    wait_for(sub { $a->error_log =~ /"store" was lost: the server did not answer in time/ }, 10,
             'the session to be given up');
    $between->hang_up;
    like($answer->(), qr/^(200|503)$/, 'its client is told so, or to try again');
    wait_for(sub { $b->get_intent($gone)->{status} eq 'cancelled' }, 15, 'the cache to be told');
    is($a->metric('intents_submitted_total', status => 'cancelled'), 1, 'it is counted');
    is($a->http('DELETE', "/api/intents/$gone")->{status}, 200, 'who comes again is told');
    is($a->metric('intents_submitted_total', status => 'cancelled'), 1, 'it is counted once');
    $b->psql('drop function held cascade');

    $_->clean_ok for $a, $b;
}


# --- a commit that waits for a standby, and is ended there ----------------------

{
    my $t = gateway(workers => 1, postgres => 'timeout=10s');
    is($t->submit('transfer', { recipient => $recipient, amount => '1' })->{status}, 202, 'all is well');
    my $there = $t->psql('select count(*) from intents');

    standby($t, 'nobody');

    my ($answer) = later(sub { $t->post('/api/intents', body(1))->{status} });
    my $waiting = "from pg_stat_activity where wait_event = 'SyncRep'";
    wait_for(sub { $t->psql("select count(*) $waiting") }, 20, 'a commit that waits');
    $t->psql("select pg_terminate_backend(pid) $waiting");
    is($answer->(), 202, 'it was committed here, as is seen when it is sent again');

    standby($t, '');
    is($t->psql('select count(*) from intents'), $there + 1, 'it is there once');
    is($t->submit('transfer', { recipient => $recipient, amount => '1' })->{status}, 202, 'all is well');

    # and where the server says no more than that it was ended

    $t->psql('create function refuse() returns trigger language plpgsql as'
             . " 'begin raise exception using errcode = ''57014''; end';"
             . ' create trigger refuse before insert on intents for each row'
             . ' execute function refuse()');
    ($answer) = later(sub { $t->post('/api/intents', body(1))->{status} });
    wait_for(sub { $t->error_log =~ /is sent again: 57014/ }, 20, 'it is sent again');
    $t->psql('drop function refuse cascade');
    is($answer->(), 202, 'and taken then');
    is($t->psql('select count(*) from intents'), $there + 3, 'once');

    $t->clean_ok;
}


# --- a row that somebody else has ------------------------------------------------

{
    my $t = gateway(workers => 1, postgres => 'connections=1');
    my $intent = $t->post_intent('transfer', { recipient => $recipient, amount => '1' });
    my $id = $intent->{intentId};

    my $unlock = lock_row($t, "id = '$id'");
    my ($answer) = later(sub { $t->http('DELETE', "/api/intents/$id")->{status} });
    my $began = time;

    for (1 .. 20) {
        is($t->submit('transfer', { recipient => $recipient, amount => '1' })->{status}, 202,
           'whoever comes after it is served');
        sleep 0.01;
    }

    cmp_ok(time - $began, '<', 5, 'and at once');
    is($t->psql("select status from intents where id = '$id'"), 'pending', 'it is as it was');
    $unlock->();
    is($answer->(), 200, 'the one that wanted it has it then');
    is($t->psql("select status from intents where id = '$id'"), 'cancelled', 'and changed it');

    $t->clean_ok;
}

sub as_postgres {
    my ($t, @sql) = @_;

    for my $sql (@sql) {
        system('psql', '-h', "$t->{dir}/postgres", '-p', $t->{postgres_port}, '-U', 'postgres',
               '-XAtqo', '/dev/null', '-d', 'intents', '-c', $sql) == 0
            or die "psql failed: $sql\n";
    }
}

# The checkpointer tells all others of it: it has heard of it before a session that
# shows it began, and obeys before it makes a checkpoint

sub standby {
    my ($t, $name) = @_;

    as_postgres($t, "alter system set synchronous_standby_names = '$name'", 'select pg_reload_conf()');
    wait_for(sub { $t->psql('show synchronous_standby_names') eq $name }, 20, 'the configuration');
    as_postgres($t, 'checkpoint');
}

# Somebody has the row, until the sub is called

sub lock_row {
    my ($t, $where) = @_;

    my $pid = open my $pipe, '|-', "psql -h $t->{dir}/postgres -p $t->{postgres_port} -U intents"
                                   . ' -XAtq -d intents >/dev/null'
        or die "psql: $!";
    $pipe->autoflush(1);
    print $pipe "begin; select 1 from intents where $where for update;\n";
    wait_for(sub { ($t->psql("with free as (select 1 from intents where $where for update skip locked)"
                            . ' select count(*) from free'))[0] == 0 }, 20, 'the lock');
    return sub { print $pipe "rollback;\n\\q\n"; close $pipe };
}

# What a sub says that is run meanwhile

sub later {
    my $sub = shift;

    my $pid = open my $pipe, '-|';
    die "fork: $!" if !defined $pid;

    if ($pid == 0) {
        print $sub->();
        close STDOUT;
        POSIX::_exit(0);
    }

    return sub { my $said = do { local $/; <$pipe> }; close $pipe; $said };
}


# --- sessions are lost, Postgres stops and comes back -------------------------

{
    my $t = gateway(postgres => 'timeout=1s');
    my $end = time + ($ENV{INTENT_TEST_SECONDS} || 15);
    my (%kept, %seen, $status, $n);
    my $round = 0;

    my $murderer = fork // die "fork: $!";
    if ($murderer == 0) {
        for (my $i = 0; time < $end; $i++) {
            eval { $t->psql('select pg_terminate_backend(pid) from pg_stat_activity'
                     . " where application_name <> 'psql' and backend_type = 'client backend'"
                     . ' and random() < 0.5') };
            sleep 0.2;
            next if $i % 8;

            # those that are at work go on when nobody waits for them any more
            my @backends = eval { $t->psql('select pid from pg_stat_activity'
                . " where application_name <> 'psql' and backend_type = 'client backend'") };
            kill 'STOP', @backends;
            sleep 2;
            kill 'CONT', @backends;
        }
        POSIX::_exit(0);
    }

    while (time < $end) {
        $round++;
        my %index;

        # each key ten times or so; who is told 503 comes no more
        my @answers = $t->load(
            count => 400, connections => 64, timeout => 60, body => sub { body(1000000) },
            headers => sub { +{ 'Idempotency-Key' => sprintf '"%d-%d"', $round, $_[0] % 40 } });

        for (@answers) {
            $seen{ $_->{status} }++;
            push @{ $kept{ sprintf '%d-%d', $round, $_->{index} % 40 } },
                IntentTest->decode($_->{body})->{intentId} if $_->{status} == 202;
        }
    }

    waitpid $murderer, 0;
    diag(join ', ', map { "$seen{$_} x $_" } sort keys %seen);
    cmp_ok($seen{202}, '>', 100, 'some were kept');

    # what is to be revoked is, when all is well again
    wait_for(sub { $t->submit('transfer', { recipient => $recipient, amount => '1' })->{status} == 202 },
             20, 'all to be well');
    $t->nginx_quit;

    my %row;
    for ($t->psql("select replace(idempotency_key, '\"', ''), id from intents"
                  . ' where idempotency_key is not null')) {
        my ($key, $id) = split /\|/;
        $row{$key} = $id;
    }

    my ($wrong, $lost) = (0, 0);
    for my $key (keys %kept) {
        my %ids = map { $_ => 1 } @{ $kept{$key} };
        $wrong++ if keys %ids > 1;
        $lost++ unless $row{$key} && $ids{ $row{$key} };
    }

    is($wrong, 0, 'nobody was told of two intents of one key');
    is($lost, 0, 'what was told is there');

    my @orphans = grep { !$kept{$_} } keys %row;
    cmp_ok(@orphans, '<=', 2, 'what nobody was told is not')
        or diag("@orphans");
    diag(scalar(keys %kept) . ' keys kept, ' . @orphans . ' that nobody was told of');
    $t->clean_ok;
}


# --- a user's own -------------------------------------------------------------

{
    my $t = gateway(api => 'intent_user $http_x_user;');

    for my $user (qw(alice bob)) {
        for ($t->load(count => 60, connections => 4, body => sub { body(1) },
                      headers => sub { +{ 'X-User' => $user } })) {
            $_->{status} == 202 or die "POST: $_->{status} $_->{body}\n";
        }
    }

    $t->psql("update intents set status = 'expired', version = 2 where user_id = 'alice' and id in"
             . " (select id from intents where user_id = 'alice' order by id limit 20)");
    $t->psql("update intents set status = 'failed', version = 2 where user_id = 'alice' and id in"
             . " (select id from intents where user_id = 'alice' order by id desc limit 5)");

    for ([ '', 'true' ],
         [ '&status=expired', "status = 'expired'" ],
         [ '&status=expired,failed', "status in ('expired', 'failed')" ],
         [ '&status=success', 'false' ])
    {
        my ($arguments, $where) = @$_;
        my (@ids, $cursor);
        my $pages = 0;

        do {
            my $page = $t->get("/api/intents?limit=7$arguments" . ($cursor ? "&cursor=$cursor" : ''),
                               { 'X-User' => 'alice' })->{json};
            push @ids, map { $_->{intentId} } @{ $page->{intents} };
            $cursor = $page->{cursor};
        } while $cursor && ++$pages < 20;

        is_deeply(\@ids, [ $t->psql("select id from intents where user_id = 'alice' and $where"
                                    . ' order by id desc') ],
                  "pages of seven of alice's, newest first: $where, " . @ids);
    }

    # a user who has half of a large table: only what is answered is read

    my $n = 50000;
    $t->psql('insert into intents (id, type, status, chain, user_id, params, version, created_at,'
             . " updated_at, next_attempt_at) select ('01a00000' || lpad(to_hex(i), 8, '0')"
             . " || '7000800000000000')::uuid, 'transfer', case when i <= 6 then 'failed'"
             . " else 'success' end, 'dev', case when i % 2 = 0 then 'carol'"
             . " else 'user' || i % 1000 end, '{}', 3, now(), now(), now()"
             . " from generate_series(1, $n) i");
    $t->psql('analyze intents');

    my $read = sub {
        $t->psql('select sum(idx_tup_read) + (select seq_tup_read from pg_stat_user_tables'
                 . " where relname = 'intents') from pg_stat_user_indexes where relname = 'intents'");
    };
    my $scans = sub {
        $t->psql("select sum(idx_scan) from pg_stat_user_indexes where relname = 'intents'");
    };

    for (['status=failed', 3], ['status=expired,cancelled', 0], ['status=pending,success,failed', 7], ['', 7]) {
        my ($arguments, $some) = @$_;
        my ($before, $scanned) = ($read->(), $scans->());
        my $asked = 0;

        wait_for(sub {
            my $page = $t->get("/api/intents?limit=7&$arguments", { 'X-User' => 'carol' });
            $page->{status} == 200 && @{ $page->{json}{intents} } == $some
                or die "GET: $page->{content}\n";
            $asked++;
            return $scans->() > $scanned + 10;
        }, 20, 'it to be counted');

        # other lists, and what the server of statistics has not heard of yet, are among it
        cmp_ok($read->() - $before, '<', 1000 + 40 * $asked, "few rows are read: $arguments");
    }

    $t->clean_ok;
}


# --- expiry -------------------------------------------------------------------

{
    my $a = gateway(postgres => 'timeout=1s');
    my $b = gateway(on => $a, postgres => 'timeout=1s');
    my @both = ($a, $b);
    my %due;

    wait_for(sub { sweeper(@both) }, 10, 'a sweeper');
    is($a->psql($holders), 1, 'one sweeper in the fleet');

    # what does not expire, in between
    my $stays = $a->post_intent('transfer', { recipient => $recipient, amount => '1' },
                                expiresAt => rfc3339(time + 3600));

    for my $t (@both) {
        my $start = time;

        for ($t->load(count => 400, connections => 16,
                      body => sub { body(1, expiresAt => rfc3339($start + 5 + $_[0] / 200)) })) {
            $_->{status} == 202 or die "POST: $_->{status} $_->{body}\n";
            my $intent = IntentTest->decode($_->{body});
            $due{ $intent->{intentId} } = $intent->{expiresAt};
        }
    }
    is(keys %due, 800, '800 intents that expire from 5 to 7 seconds later');

    wait_for(sub { $a->psql("select count(*) from intents where status = 'expired'") == 800 }, 20,
             'all to expire');

    is($a->psql("select string_agg(distinct version::text, ' ') from intents"
                . " where status = 'expired'"), '2', 'each changed once');
    my $late = $a->psql('select max(extract(epoch from updated_at - expires_at)) from intents'
                        . " where status = 'expired'");
    my $early = $a->psql('select min(extract(epoch from updated_at - expires_at)) from intents'
                         . " where status = 'expired'");
    cmp_ok($late, '<', 1.5, 'on time');
    cmp_ok($early, '>', -0.1, 'and not before');
    diag("expired from $early to $late s late");

    my $told = sub {
        my $n = 0;
        $n += $_->metric('intents_submitted_total', status => 'expired') for @both;
        return $n;
    };
    eval { wait_for(sub { $told->() >= 800 }, 10, 'all to be told') };
    is($told->(), 800, 'each told once, by both instances together');
    is($a->wait_intent((keys %due)[0], 'expired', 5)->{status}, 'expired', 'and to be read');
    is($a->get_intent($stays->{intentId})->{status}, 'pending', 'one whose time is not over is not');

    # one that comes while the sweeper sleeps, in an instance that is not it
    my ($other) = grep { my $t = $_; !grep { $_ == sweeper(@both) } $t->workers } @both;
    my $soon = $other->post_intent('transfer', { recipient => $recipient, amount => '1' },
                                           expiresAt => rfc3339(time + 1));
    $b->wait_intent($soon->{intentId}, 'expired', 5);
    cmp_ok($a->psql('select extract(epoch from updated_at - expires_at) from intents'
                    . " where id = '$soon->{intentId}'"), '<', 1.5, 'a short one, on time too');

    # a row that somebody has is not waited for
    my @ids = map { $_->post_intent('transfer', { recipient => $recipient, amount => '1' },
                                    expiresAt => rfc3339(time + 2))->{intentId} } @both;
    my $holder = fork // die "fork: $!";
    if ($holder == 0) {
        $a->psql("begin; select 1 from intents where id = '$ids[0]' for update;"
                 . ' select pg_sleep(4); commit');
        POSIX::_exit(0);
    }
    $b->wait_intent($ids[1], 'expired', 3.5);
    $b->wait_intent($ids[0], 'expired', 8);
    waitpid $holder, 0;

    # the sweeper is killed
    my $killed = sweeper(@both);
    my $sweepers = sweepers(@both);
    kill 'KILL', $killed;
    my $killed_at = time;
    wait_for(sub { sweepers(@both) > $sweepers }, 10, 'another sweeper');
    cmp_ok(time - $killed_at, '<', 4, 'a killed sweeper has a successor within seconds');
    is($a->psql($holders), 1, 'one');

    # the sweeper hangs: the server ends its session
    my $hangs = sweeper(@both);
    $sweepers = sweepers(@both);
    kill 'STOP', $hangs;
    my $stopped_at = time;
    wait_for(sub { sweepers(@both) > $sweepers }, 20, 'a sweeper instead of one that hangs');
    diag(sprintf 'a sweeper that hangs had a successor after %.1f s', time - $stopped_at);
    is($a->psql($holders), 1, 'one');
    kill 'CONT', $hangs;
    wait_for(sub { grep { $_->error_log =~ /$hangs#.*this worker is it no longer/ } @both }, 10,
             'it to see that');

    # a reload of the instance that has it
    my ($at) = grep { my $t = $_; grep { $_ == sweeper(@both) } $t->workers } @both;
    $sweepers = sweepers(@both);
    my $old = sweeper(@both);
    $at->nginx_reload;
    wait_for(sub { sweepers(@both) > $sweepers }, 10, 'a sweeper after a reload');
    isnt(wait_for(sub { sweeper(@both) }, 10, 'a holder'), $old, 'a reload hands it over');
    like($at->error_log, qr/$old#.*intent sweeper: given up by this worker/, 'at once');

    # its session is lost, and Postgres is away for a moment in the middle of it
    my $start = time;
    $a->load(count => 600, connections => 16,
             body => sub { body(1, expiresAt => rfc3339($start + 2 + $_[0] / 300)) });
    sleep($start + 2.5 - time) if $start + 2.5 > time;
    $a->kill('postgres');
    $a->start('postgres');
    wait_for(sub { $a->psql("select count(*) from intents where status = 'pending'") == 1 }, 30,
             'the rest to expire');
    is($a->psql("select string_agg(distinct version::text, ' ') from intents"
                . " where status = 'expired'"), '2', 'each once, over a crash of Postgres');

    # a server that refuses
    $a->psql('create function refuse() returns trigger language plpgsql as'
             . " 'begin raise exception ''no''; end';"
             . ' create trigger refuse before update on intents for each row'
             . ' execute function refuse()');
    my $refused = $a->post_intent('transfer', { recipient => $recipient, amount => '1' },
                                  expiresAt => rfc3339(time + 1));
    wait_for(sub { grep { $_->error_log =~ /refused to change 1 intents, "$refused->{intentId}"/ }
                   @both }, 10, 'a refusal');
    $a->psql('drop trigger refuse on intents');
    $a->wait_intent($refused->{intentId}, 'expired', 20);
    pass('a refusal is told, and tried again');

    $_->clean_ok for @both;
    $_->nginx_quit for @both;
    $_->clean_ok for @both;
    ok(eval { wait_for(sub { $a->psql($holders) == 0 }, 10, 'its session to end') },
       'nobody is it when all are gone');
    is($b, $b, 'kept until here');
}

sub rfc3339 {
    my $time = shift;
    my @t = gmtime $time;
    return sprintf '%04d-%02d-%02dT%02d:%02d:%02d.%03dZ', $t[5] + 1900, $t[4] + 1, @t[3, 2, 1, 0],
                   ($time - int $time) * 1000;
}


# --- retention ----------------------------------------------------------------

{
    my $rows = $ENV{INTENT_TEST_ROWS} || 20000;
    my $t = gateway(http => 'intent_retention off;');

    is($t->submit('transfer', { recipient => $recipient, amount => '1' })->{status}, 202,
       'the schema is there');

    old_rows($t, $rows, status => 'success', age => '2 hours');
    $t->psql("insert into intent_transactions (hash, chain_id, signer, nonce, intent_id, raw, state)"
             . " select sha256(id::text::bytea), 31337,"
             . " decode(repeat('01', 20), 'hex'), row_number() over (), id, 'raw', 'mined'"
             . ' from intents where version = 3');
    old_rows($t, 100, status => $_, age => '2 hours') for qw(failed expired cancelled);

    my %stay = (
        pending     => { status => 'pending', age => '3 hours' },
        executing   => { status => 'executing', age => '3 hours' },
        young       => { status => 'success', age => '30 minutes' },
        signed      => { status => 'success', age => '3 hours', more => {
                         digest => "sha256(('signed' || i)::bytea)",
                         expires_at => "now() - interval '50 minutes'" } },
        for_ever    => { status => 'cancelled', age => '3 hours', more => {
                         digest => "sha256(('for ever' || i)::bytea)" } },
        unfinished  => { status => 'failed', age => '3 hours', more => { error => "'unfinished'" } },
    );

    # more of those that are passed over than a batch has
    old_rows($t, 700, %{ $stay{$_} }) for sort keys %stay;
    old_rows($t, 100, status => 'success', age => '3 hours', more => {
             digest => "sha256(('gone' || i)::bytea)",
             expires_at => "now() - interval '70 minutes'" });
    $t->psql("insert into intent_transactions (hash, chain_id, signer, nonce, intent_id, raw, state)"
             . " select sha256(id::text::bytea), 1,"
             . " decode(repeat('02', 20), 'hex'), row_number() over (), id, 'raw',"
             . " case when row_number() over () % 2 = 0 then 'live' else 'replaced' end"
             . " from intents where error = 'unfinished'");
    $t->psql("insert into intent_transactions (hash, chain_id, signer, nonce, raw, state, created_at)"
             . " select sha256(i::text::bytea), 1, decode(repeat('03', 20), 'hex'),"
             . " i, 'raw', s, now() - interval '2 hours' from unnest(array['mined', 'dropped',"
             . " 'live', 'replaced']) with ordinality as u (s, i)");
    $t->psql('analyze intents');

    my $all = $t->psql('select count(*) from intents');
    my $quiet = posts($t, sub { $_[0] >= 2 });
    is($t->metric('intents_deleted_total'), 0, 'off: nothing is deleted');

    my @old = $t->nginx_reload(http => 'intent_retention 1h;');
    my $began = time;
    wait_for(sub { !grep { $t->alive($_) } @old }, 20, 'the old workers to exit');
    wait_for(sub { $t->metric('intents_deleted_total') > 0 }, 20, 'retention');

    my $busy = posts($t, sub { $t->metric('intents_deleted_total') >= $rows + 400 });
    my $took = time - $began;

    wait_for(sub { $t->error_log =~ /\[info\].*intent retention: (\d+) finished intents deleted/ },
             20, 'the end of a pass');
    is($t->metric('intents_deleted_total'), $rows + 400, 'all that is old is deleted, and counted');
    is($t->psql('select count(*) from intents') - $quiet->{n} - $busy->{n},
       $all - $rows - 400, 'and nothing else');
    is($t->psql('select count(*) from intents where updated_at'
                . " < now() - interval '90 minutes'"), 5 * 700, 'what may not go stays');
    is(join(' ', $t->psql('select count(*) from intent_transactions where intent_id is not null')),
       700, 'transactions went with their intents');
    is(join(' ', $t->psql('select state from intent_transactions where intent_id is null'
                          . ' order by nonce')),
       'live replaced', 'so did those that filled gaps');

    diag(sprintf '%d rows in %.1f s; POST alone: p50 %.1f p99 %.1f ms, meanwhile: p50 %.1f p99 %.1f ms (%d)',
         $rows + 400, $took, @$quiet{qw(p50 p99)}, @$busy{qw(p50 p99 n)});
    cmp_ok($busy->{p50}, '<', 10 * $quiet->{p50} + 20, 'POSTs go on meanwhile');

    # refused: told, with fewer rows tried again, and nothing else suffers
    $t->psql('create function refuse() returns trigger language plpgsql as'
             . " 'begin raise exception ''no''; end';"
             . ' create trigger refuse before delete on intents for each row'
             . ' execute function refuse()');
    old_rows($t, 10, status => 'success', age => '2 hours');
    $t->nginx_reload(http => 'intent_retention 59m;');
    wait_for(sub { $t->error_log =~ /intent retention: the server refused to delete/ }, 20,
             'a refusal');
    is($t->submit('transfer', { recipient => $recipient, amount => '1' })->{status}, 202,
       'a refusal to delete is nobody else\'s');

    $t->clean_ok;
    $t->nginx_quit;
    $t->clean_ok;
}

# those that may not go are not read again and again

{
    my $n = 5000;
    my $t = gateway(workers => 1, http => 'intent_retention off;');
    is($t->submit('transfer', { recipient => $recipient, amount => '1' })->{status}, 202, 'the schema');

    old_rows($t, $n, status => 'expired', age => '3 hours', more => {
             digest => "sha256(('far' || i)::bytea)", expires_at => "now() + interval '30 days'" });
    old_rows($t, 300, status => 'success', age => '2 hours');
    $t->psql('analyze intents');
    $t->nginx_reload(http => 'intent_retention 2s;');

    my $deleted = sub { $t->metric('intents_deleted_total') };
    my $batches = sub { $t->metric('intent_store_seconds_count', operation => 'retention') // 0 };
    my $read = sub {
        select undef, undef, undef, 0.1;
        $t->psql("select idx_tup_read from pg_stat_user_indexes where indexrelname = 'intents_finished'");
    };

    wait_for(sub { $deleted->() == 300 }, 60, 'those that may go');
    wait_for(sub { $t->error_log =~ /finished intents deleted/ }, 20, 'the end of a pass');

    wait_for(sub { $read->() >= $n + 300 }, 60, 'what that pass read');

    my ($before, $began) = ($batches->(), $read->());
    wait_for(sub { $batches->() >= $before + 6 }, 60, 'passes');
    my $again = $read->() - $began;
    cmp_ok($again, '<', $n, "passes after it read $again entries of the index");

    old_rows($t, 50, status => 'success', age => '10 seconds');
    wait_for(sub { $deleted->() == 350 }, 20, 'what grows old meanwhile goes');
    is($t->psql("select count(*) from intents where status = 'expired'"), $n, 'what may not is there');

    # a row that somebody has holds up nobody: the lanes ask on the same session
    old_rows($t, 1, status => 'failed', age => '-3 seconds', more => { error => "'held'" });
    my $unlock = lock_row($t, "error = 'held'");
    wait_for(sub { $t->psql("select updated_at < now() - interval '2 seconds' from intents"
                            . " where error = 'held'") eq 't' }, 20, 'it to be old');

    # a pass may have been at it by now: what is not behind it is what has finished since
    old_rows($t, 50, status => 'success', age => '0 seconds');
    wait_for(sub { $deleted->() == 400 }, 20, sub { 'the others to go, ' . $deleted->() . ' are gone' });
    is($t->psql("select count(*) from pg_locks where not granted"), 0, 'nobody waits for it');
    unlike($t->error_log, qr/intent retention: the server refused/, 'or has waited in vain');
    is($t->psql("select count(*) from intents where error = 'held'"), 1, 'it stays');
    $unlock->();

    $t->clean_ok;
}

# POSTs one after the other, until it is enough: how long they took

sub posts {
    my ($t, $enough) = @_;

    my $start = time;
    my @took;

    my $body = body(1);
    my $request = "POST /api/intents HTTP/1.1\r\nHost: localhost\r\n"
                  . "Content-Type: application/json\r\nContent-Length: " . length($body)
                  . "\r\n\r\n$body";

    do {
        my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $t->port)
            or die "connect: $!\n";

        for (1 .. 50) {
            my ($before, $in) = (time, '');
            syswrite $socket, $request;
            sysread $socket, $in, 65536, length $in
                or die "a POST got no answer\n" until $in =~ /\r\n\r\n\{.*\}$/s;
            $in =~ m{^HTTP/1\.1 202} or die "POST: $in\n";
            push @took, 1000 * (time - $before);
        }
    } until $enough->(time - $start);

    my @sorted = sort { $a <=> $b } @took;
    return { n => scalar @took, p50 => $sorted[ @took / 2 ], p99 => $sorted[ @took * 0.99 ] };
}

done_testing;

# the schema that version 1 made

__DATA__
CREATE TABLE intent_schema (version int PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE intents ( id uuid PRIMARY KEY, type text NOT NULL, status text NOT NULL CHECK (status
    IN ( 'pending', 'executing', 'success', 'failed', 'expired', 'cancelled')), chain text NOT NULL,
    user_id text, params json NOT NULL, attempts int NOT NULL DEFAULT 0, tx_hash bytea CHECK
    (octet_length(tx_hash) = 32), block_number bigint, confirmations int NOT NULL DEFAULT 0,
    gas_used bigint, gas_cost numeric, error text, version int NOT NULL DEFAULT 1, created_at
    timestamptz NOT NULL, updated_at timestamptz NOT NULL, expires_at timestamptz, idempotency_key
    text, next_attempt_at timestamptz NOT NULL, claimed_by bytea CHECK (octet_length(claimed_by) =
    20)) WITH ( fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold
    = 1000, autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 1);
CREATE INDEX intents_status_created_at ON intents (status, created_at);
CREATE INDEX intents_pending ON intents (chain, next_attempt_at) WHERE status = 'pending';
CREATE INDEX intents_user_id_status ON intents (user_id, status) WHERE user_id IS NOT NULL;
CREATE INDEX intents_expires_at ON intents (expires_at) WHERE expires_at IS NOT NULL AND status =
    'pending';
CREATE UNIQUE INDEX intents_idempotency_key ON intents (user_id, idempotency_key) WHERE
    idempotency_key IS NOT NULL;
CREATE INDEX intents_claimed ON intents (chain, claimed_by) WHERE claimed_by IS NOT NULL AND status
    IN ('pending', 'executing');
CREATE TABLE intent_transactions ( hash bytea PRIMARY KEY CHECK (octet_length(hash) = 32), chain_id
    bigint NOT NULL, signer bytea NOT NULL CHECK (octet_length(signer) = 20), nonce bigint NOT NULL
    CHECK (nonce >= 0), intent_id uuid REFERENCES intents(id) ON DELETE CASCADE, raw bytea NOT NULL,
    gas_limit bigint, max_fee_per_gas numeric, max_priority_fee_per_gas numeric, state text NOT NULL
    DEFAULT 'live' CHECK (state IN ( 'live', 'replaced', 'mined', 'dropped')), block_number bigint,
    block_hash bytea, created_at timestamptz NOT NULL DEFAULT now()) WITH ( fillfactor = 85,
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 1);
CREATE UNIQUE INDEX intent_transactions_live ON intent_transactions (chain_id, signer, nonce) WHERE
    state = 'live';
CREATE INDEX intent_transactions_unfinished ON intent_transactions (chain_id, signer, nonce) WHERE
    state IN ('live', 'replaced');
CREATE INDEX intent_transactions_intent_id ON intent_transactions (intent_id);
CREATE TABLE intent_lanes ( chain_id bigint NOT NULL, signer bytea NOT NULL CHECK
    (octet_length(signer) = 20), next_nonce bigint NOT NULL DEFAULT 0, epoch bigint NOT NULL DEFAULT
    0, updated_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (chain_id, signer)) WITH
    (fillfactor = 10, autovacuum_vacuum_cost_delay = 0);
INSERT INTO intent_schema (version) VALUES (1);
