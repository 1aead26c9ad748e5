package ExactlyOnce;

# The promise: every intent that was answered with 202 is carried out, and none
# is carried out twice, whatever happened meanwhile.
#
#     my $run = ExactlyOnce->new($t);
#     $run->load(count => 10000, each => sub { ... kill something ... });
#     $run->check_ok;
#
# Each intent sends an amount of its own (1 wei, 2 wei, ...) to an address
# nobody else sends to, so that the chain alone tells which were carried out,
# and how often.

use strict;
use warnings;

use IntentTest qw(wait_for wei);
use Math::BigInt;
use Test::More ();
use Time::HiRes qw(sleep time);


sub new {
    my ($class, $t, %option) = @_;

    return bless {
        t => $t, next => 1, recipient => $t->fresh_address, accepted => {},
        unknown => {}, refused => {}, signers => [ $t->address(0) ], %option,
    }, $class;
}


# Takes what IntentTest's load takes. Remembers what was accepted (202), what
# may have been (no answer), and what was refused.

sub load {
    my ($run, %option) = @_;

    my $first = $run->{next};
    $run->{next} += $option{count};

    my @answers = $run->{t}->load(
        %option,
        body => sub {
            my $amount = $first + $_[0];
            return qq({"type":"transfer","params":{"recipient":"$run->{recipient}",)
                 . qq("amount":"$amount"}});
        },
    );

    for my $answer (@answers) {
        my $amount = $first + $answer->{index};

        if ($answer->{status} == 202) {
            my ($id) = $answer->{body} =~ /"intentId":"([^"]+)"/;
            $run->{accepted}{$amount} = $id;
        }
        elsif ($answer->{status}) { $run->{refused}{$amount} = $answer->{status} }
        else                      { $run->{unknown}{$amount} = 1 }
    }

    return $run;
}


sub unfinished {
    my $run = shift;

    my $n = eval {
        $run->{t}->psql(q(SELECT count(*) FROM intents
                          WHERE status IN ('pending', 'executing')))
    };
    return $n // -1;
}

sub wait_finished {
    my ($run, $timeout) = @_;

    wait_for(sub { $run->unfinished == 0 }, $timeout // 120,
             sub { 'all intents to end, unfinished: ' . $run->unfinished });
}


# What the database knows of an amount, for a person.

sub story {
    my ($run, $amount) = @_;

    return join "\n", "amount $amount:", $run->{t}->psql(
        "SELECT i.id, i.status, i.version, i.attempts, t.nonce, t.state,
                t.block_number, encode(t.hash, 'hex'), t.created_at
         FROM intents i LEFT JOIN intent_transactions t ON t.intent_id = i.id
         WHERE i.params->>'amount' = '$amount'
         AND lower(i.params->>'recipient') = '$run->{recipient}'
         ORDER BY t.created_at");
}


# Everything, as tests with names.

sub check_ok {
    my ($run, %option) = @_;

    my $t = $run->{t};
    local $Test::Builder::Level = $Test::Builder::Level + 1;

    eval { $run->wait_finished($option{timeout}); 1 }
        or return Test::More::fail("all intents ended: $@");

    # what was accepted, and what the database says of it

    my %status = map { split /\|/ } $t->psql('SELECT id, status FROM intents');
    my %accepted = %{ $run->{accepted} };
    my @not = grep { ($status{ $accepted{$_} } // 'lost') ne 'success' }
              keys %accepted;

    Test::More::ok(!@not, scalar(keys %accepted) . ' accepted, all of them successful')
        or Test::More::diag(scalar(@not) . ' are not, such as '
            . join ', ', map { "$accepted{$_}: " . ($status{ $accepted{$_} } // 'lost') }
                             @not[0 .. ($#not < 4 ? $#not : 4)]);

    # what the chain says

    my (%mined, $sum);
    $sum = wei(0);

    for my $signer (@{ $run->{signers} }) {
        my $mined = $t->mined_by($signer);

        for my $transaction (map { @$_ } values %$mined) {
            next if lc($transaction->{to} // '') ne lc $run->{recipient};
            my $amount = hex $transaction->{value};
            $mined{$amount}++;
            $sum += $amount;
        }
    }

    my @twice = grep { $mined{$_} > 1 } keys %mined;
    Test::More::ok(!@twice, 'none was carried out twice')
        or Test::More::diag("such as\n" . join "\n", map { $run->story($_) }
                                @twice[0 .. ($#twice < 2 ? $#twice : 2)]);

    my @never = grep { !$mined{$_} } keys %accepted;
    Test::More::ok(!@never, 'none that was accepted is missing on the chain')
        or Test::More::diag(scalar(@never) . ' are');

    my @refused = grep { $mined{$_} } keys %{ $run->{refused} };
    Test::More::ok(!@refused, 'none that was refused is on the chain')
        or Test::More::diag(scalar(@refused) . ' are');

    # a connection cut by a kill tells nothing; one that nginx closed itself
    # before it read the request does

    if ($option{unanswered} // 1) {
        my @kept = grep { $mined{$_} } keys %{ $run->{unknown} };
        Test::More::diag(scalar(@kept) . ' of ' . scalar(keys %{ $run->{unknown} })
            . ' without an answer were carried out') if %{ $run->{unknown} };
    } else {
        my @kept = grep { $mined{$_} } keys %{ $run->{unknown} };
        Test::More::ok(!@kept, scalar(keys %{ $run->{unknown} })
                               . ' got no answer, none of them was kept')
            or Test::More::diag(scalar(@kept) . ' were');
    }

    Test::More::is($t->balance($run->{recipient})->bstr, $sum->bstr,
                   'the recipient has the sum of it, to the wei');

    return 1;
}


1;
