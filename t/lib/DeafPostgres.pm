package DeafPostgres;

# Stands between a gateway and its Postgres, and loses what is said: what the
# server has done, and nobody was told of.
#
#     my $between = DeafPostgres->new($t->{postgres_port}, 0.5);
#     local $t->{postgres_port} = $between->port;     before $t's nginx starts
#     $between->lose;     from now on nothing that the server says comes through,
#                         and half a second later (less than the gateway's
#                         timeout) nothing that it is told
#     $between->hang_up;  all sessions of that time end, new ones are heard

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use POSIX ();
use Time::HiRes qw(sleep time);


sub new {
    my ($class, $to, $later) = @_;

    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0,
                                       Listen => 64, ReuseAddr => 1) or die "listen: $!\n";
    pipe my $heard, my $tell or die "pipe: $!\n";
    my $self = bless { port => $listen->sockport, owner => $$, heard => $heard }, $class;

    $self->{pid} = fork // die "fork: $!";
    return $self if $self->{pid};

    my ($deaf, $over, %other, %server, %socket) = (0, 0);
    my $all = IO::Select->new($listen);

    my $drop = sub {
        for my $socket (@_) {
            $all->remove($socket);
            delete $_->{$socket} for \(%server, %other, %socket);
            close $socket;
        }
    };

    $SIG{USR1} = sub { $deaf = time; syswrite $tell, '.' };
    $SIG{USR2} = sub { $over = 1 };

    while (getppid() != 1) {
        if ($over) {
            ($deaf, $over) = (0, 0);
            $drop->(values %socket);
            syswrite $tell, '.';
        }

        for my $socket ($all->can_read(0.1)) {
            if ($socket == $listen) {
                my $client = $listen->accept or next;
                my $server = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $to)
                    or next;
                $socket{$_} = $_ for $client, $server;
                $server{$server} = 1;
                $other{$client} = $server;
                $other{$server} = $client;
                $all->add($client, $server);
                next;
            }

            next unless $other{$socket};

            if ($deaf && ($server{$socket} || time > $deaf + $later)) {
                sleep 0.01;
                next;
            }

            my $n = sysread $socket, my $data, 65536;
            if ($n) { syswrite $other{$socket}, $data } else { $drop->($other{$socket}, $socket) }
        }
    }

    POSIX::_exit(0);
}

sub port { $_[0]{port} }
sub lose { $_[0]->signal('USR1') }
sub hang_up { $_[0]->signal('USR2') }

# Returns when it is so

sub signal {
    my ($self, $signal) = @_;

    kill $signal, $self->{pid};
    sysread $self->{heard}, my $done, 1;
}

sub DESTROY {
    my $self = shift;

    return if $self->{owner} != $$;
    local $?;
    kill 'KILL', $self->{pid};
    waitpid $self->{pid}, 0;
}

1;
