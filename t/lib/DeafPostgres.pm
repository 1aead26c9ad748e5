package DeafPostgres;

# Stands between a gateway and its Postgres, and loses what is said: what the
# server has done, and nobody was told of.
#
#     my $between = DeafPostgres->new($t->{postgres_port});
#     local $t->{postgres_port} = $between->port;     before $t's nginx starts
#     $between->lose;     from now on nothing that the server says comes through,
#                         and half a second later nothing that it is told
#     $between->hang_up;  all sessions of that time end, new ones are heard

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use POSIX ();
use Time::HiRes qw(sleep time);


sub new {
    my ($class, $to) = @_;

    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0,
                                       Listen => 64, ReuseAddr => 1) or die "listen: $!\n";
    my $self = bless { port => $listen->sockport, owner => $$ }, $class;

    $self->{pid} = fork // die "fork: $!";
    return $self if $self->{pid};

    my ($deaf, %other, %server, %socket) = (0);
    my $all = IO::Select->new($listen);

    my $drop = sub {
        for my $socket (@_) {
            $all->remove($socket);
            delete $_->{$socket} for \(%server, %other, %socket);
            close $socket;
        }
    };

    $SIG{USR1} = sub { $deaf = time };
    $SIG{USR2} = sub { $deaf = 0; $drop->(values %socket) };

    while (getppid() != 1) {
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

            if ($deaf && ($server{$socket} || time > $deaf + 0.5)) {
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
sub lose { kill 'USR1', $_[0]{pid} }
sub hang_up { kill 'USR2', $_[0]{pid} }

sub DESTROY {
    my $self = shift;

    return if $self->{owner} != $$;
    local $?;
    kill 'KILL', $self->{pid};
    waitpid $self->{pid}, 0;
}

1;
