package HoldingRpc;

# Stands between a gateway and its anvil, and holds calls: before they are
# passed on, or when they are answered and nobody has been told. So that a
# test stops the gateway between two of its steps, for as long as it likes.
#
#     my $rpc = HoldingRpc->new($t);                  before $t's nginx starts
#     $rpc->hold('before', qr/eth_sendRawTransaction/);
#     ...
#     $rpc->wait_held;
#     $rpc->release;
#
# refuse('txpool is full', qr/.../) answers every item of a call with that error.

use strict;
use warnings;

use IntentTest qw(wait_for free_port);
use IO::Socket::INET;
use POSIX ();
use Time::HiRes qw(sleep);


sub new {
    my ($class, $t) = @_;

    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0,
                                       Listen => 64, ReuseAddr => 1) or die "listen: $!";
    my $self = bless { t => $t, port => $listen->sockport, dir => $t->dir }, $class;

    my $parent = $$;
    $self->{pid} = fork // die "fork: $!";

    if ($self->{pid} == 0) {
        $SIG{CHLD} = 'IGNORE';
        setpgrp;

        while (getppid == $parent) {
            my $ready = '';
            vec($ready, fileno $listen, 1) = 1;
            next if select($ready, undef, undef, 1) <= 0;

            my $client = $listen->accept or next;
            my $child = fork // next;
            if ($child == 0) {
                close $listen;
                eval { $self->serve($client) };
                POSIX::_exit(0);
            }
            close $client;
        }

        CORE::kill('KILL', -$$);
        POSIX::_exit(0);
    }

    close $listen;
    return $self;
}

# what the test's nginx.conf needs

sub conf {
    my $self = shift;
    return (
        rpc_uri => '/_rpc/held',
        server  => "location /_rpc/held {
                        internal;
                        proxy_pass http://127.0.0.1:$self->{port}/;
                        proxy_read_timeout 120s;
                    }",
    );
}

sub file { "$_[0]{dir}/rpc-$_[1]" }

sub write_rule {
    my ($self, @rule) = @_;
    unlink $self->file('held');
    $self->{t}->write_file($self->file('new'), join "\n", @rule);
    rename $self->file('new'), $self->file('rule');
}

sub hold   { my ($self, $when, $what) = @_; $self->write_rule($when, $what) }
sub refuse { my ($self, $words, $what) = @_; $self->write_rule("refuse $words", $what) }

sub release { my $self = shift; unlink $self->file('rule'); }

sub wait_held {
    my ($self, $timeout) = @_;
    wait_for(sub { -e $self->file('held') }, $timeout // 20, 'a call to hold');
}

sub rule {
    my $self = shift;
    my ($when, $what) = split /\n/, $self->{t}->read_file($self->file('rule'));
    return ($when // '', $what // '(?!)');
}

sub serve {
    my ($self, $client) = @_;

    my $in = '';
    my ($head, $body);

    while (1) {
        sysread $client, $in, 65536, length $in or return;
        ($head, $body) = split /\r\n\r\n/, $in, 2;
        next unless defined $body;
        my ($length) = $head =~ /^content-length: *(\d+)/im;
        last if length $body >= ($length // 0);
    }

    my ($when, $what) = $self->rule;
    my $matches = $body =~ /$what/;

    if ($matches && $when =~ /^refuse (.*)/) {
        my $words = $1;
        $self->mark;
        my @ids = $body =~ /"id":(\d+)/g;
        my @items = map { qq({"jsonrpc":"2.0","id":$_,"error":{"code":-32000,)
                          . qq("message":"$words"}}) } @ids;
        my $answer = $body =~ /^\s*\[/ ? '[' . join(',', @items) . ']' : $items[0];
        return $self->answer($client, $answer);
    }

    $self->held if $matches && $when eq 'before';
    my $answer = $self->pass_on($body);
    $self->held if $matches && $when eq 'after';

    $self->answer($client, $answer);
}

sub mark { my $self = shift; $self->{t}->write_file($self->file('held'), '1') }

sub held {
    my $self = shift;
    $self->mark;
    sleep 0.02 while -e $self->file('rule');
}

sub pass_on {
    my ($self, $body) = @_;

    my $response = HTTP::Tiny->new(timeout => 60)->post(
        "http://127.0.0.1:$self->{t}{anvil_port}/",
        { headers => { 'Content-Type' => 'application/json' }, content => $body });
    return $response->{content};
}

sub answer {
    my ($self, $client, $body) = @_;

    my $text = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
             . 'Content-Length: ' . length($body) . "\r\n\r\n$body";
    local $SIG{PIPE} = 'IGNORE';

    while (length $text) {
        my $n = syswrite $client, $text or return;
        substr($text, 0, $n) = '';
    }
}

sub DESTROY {
    my $self = shift;
    CORE::kill('KILL', -$self->{pid}) if $self->{pid} && $self->{pid} != $$ && getppid != $self->{pid};
}

1;
