package LyingSigner;

# A remote signer in front of an anvil, which has the keys: it has what it is
# asked for signed, or something else, or answers what no signer should.
#
#     my $signer = LyingSigner->new($t);              before $t's nginx starts
#     $signer->mode('value');
#
# The modes are below; what it was asked for is counted: asked(), and of those
# in batches: batches().

use strict;
use warnings;

use HTTP::Tiny;
use IO::Socket::INET;
use JSON::PP;
use POSIX ();

# what of the transaction is another one

my %lies = (
    value => sub { $_[0]{value} = '0x7777' },
    nonce => sub { $_[0]{nonce} = sprintf '0x%x', 1 + hex $_[0]{nonce} },
    key   => sub { $_[0]{from} = $_[1]->address(1) },
    to    => sub { $_[0]{to} = $_[1]->address(7) },
    data  => sub { $_[0]{data} = '0x1234' },
    gas   => sub { $_[0]{gas} = '0x7a120' },
    fee   => sub { $_[0]{maxFeePerGas} = '0x174876e800' },
    tip   => sub { $_[0]{maxPriorityFeePerGas} = '0x1' },
    type  => sub { my $tx = shift; $tx->{gasPrice} = delete $tx->{maxFeePerGas};
                   delete $tx->{maxPriorityFeePerGas} },
);

# what of the answer is wrong

my %junk = (
    junk   => sub { 'hello' },
    empty  => sub { '0x' },
    null   => sub { undef },
    number => sub { 17 },
    half   => sub { substr $_[0], 0, 2 + int(length($_[0]) / 4) * 2 },
    more   => sub { $_[0] . '00' },
    long   => sub { $_[0] . '00' x 5000 },
    no_raw => sub { { tx => {} } },
);

our @WRONG = (sort(keys %lies), sort keys %junk);


sub new {
    my ($class, $t) = @_;

    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0,
                                       Listen => 64, ReuseAddr => 1) or die "listen: $!";
    my $self = bless { t => $t, port => $listen->sockport, dir => $t->dir }, $class;

    $self->mode('right');

    my $parent = $$;
    $self->{pid} = fork // die "fork: $!";

    if ($self->{pid} == 0) {
        $SIG{PIPE} = 'IGNORE';
        setpgrp;

        while (getppid == $parent) {
            my $ready = '';
            vec($ready, fileno $listen, 1) = 1;
            next unless select $ready, undef, undef, 0.5;
            my $client = $listen->accept or next;
            eval { $self->serve($client) };
            close $client;
        }

        POSIX::_exit(0);
    }

    close $listen;
    return $self;
}

sub port { $_[0]{port} }

sub mode {
    my ($self, $mode) = @_;
    $self->{t}->write_file("$self->{dir}/signer.new", $mode);
    rename "$self->{dir}/signer.new", "$self->{dir}/signer" or die "rename: $!";
}

sub lines { grep { /^$_[1]$/ } split /\n/, $_[0]{t}->read_file("$_[0]{dir}/signer.log") }
sub asked { scalar $_[0]->lines(qr/\S+ \S+/) }
sub batches { scalar $_[0]->lines('batch') }

sub count {
    my ($self, $line) = @_;
    open my $file, '>>', "$self->{dir}/signer.log" or die "signer.log: $!";
    print $file "$line\n";
    close $file;
}

sub serve {
    my ($self, $client) = @_;

    my $in = '';
    my ($head, $body);

    while (1) {
        sysread $client, $in, 65536, length $in or return;
        ($head, $body) = split /\r\n\r\n/, $in, 2;
        next unless defined $body;
        last if length $body >= ($head =~ /^content-length: *(\d+)/im)[0];
    }

    my $mode = $self->{t}->read_file("$self->{dir}/signer");
    my $question = decode_json($body);
    my $batch = ref $question eq 'ARRAY';

    $self->count('batch') if $batch;

    return if $mode eq 'away';
    return say_it($client, 500, 'oops') if $mode eq 'http_500';
    return say_it($client, 200, '<html>') if $mode eq 'page';
    return say_it($client, 400, encode_json({ jsonrpc => '2.0', id => undef,
        error => { code => -32700, message => 'Parse error' } }))
        if $batch && $mode =~ /one_by_one/;

    my @answers = map { $self->sign($mode, $_) } $batch ? @$question : $question;
    my $status = (!$batch && $mode =~ /one_by_one/ && $answers[0]{error}) ? 400 : 200;
    my $text = encode_json($batch ? \@answers : $answers[0]);

    return print $client "HTTP/1.0 200 OK\r\nContent-Length: ", length $text, "\r\n\r\n",
                         substr $text, 0, length($text) / 2
        if $mode eq 'half_body';

    say_it($client, $status, $text);
}

sub say_it {
    my ($client, $status, $text) = @_;
    print $client "HTTP/1.0 $status Status\r\nContent-Type: application/json\r\n",
                  'Content-Length: ', length $text, "\r\n\r\n$text";
}

sub sign {
    my ($self, $mode, $item) = @_;

    my $tx = $item->{params}[0];
    my $answer = { jsonrpc => '2.0', id => $item->{id} };

    $self->count("$item->{method} " . hex $tx->{nonce});

    # one of them only, the others as they should be

    ($mode, my $value) = split / /, $mode;
    $mode = 'right' if defined $value && hex($tx->{value}) != $value;

    return { %$answer, error => { code => -32000, message => 'not by my rules' } }
        if $mode =~ /refuse/;

    $lies{$mode}->($tx, $self->{t}) if $lies{$mode};

    my $result = $self->{t}->rpc_raw('eth_signTransaction', $tx);
    return { %$answer, error => $result->{error} } if $result->{error};

    my $raw = $result->{result};
    $raw = $raw->{raw} if ref $raw;

    $raw = $junk{$mode}->($raw) if $junk{$mode};
    $raw = { raw => $raw, tx => { hash => '0x00' } } if $mode eq 'object';

    return { %$answer, result => $raw };
}

sub DESTROY { my $s = shift; kill 'KILL', $s->{pid} if $s->{pid} && kill 0, $s->{pid} }

1;
