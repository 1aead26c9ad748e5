package FaultyRpc;

# Nodes that have faults (faulty-rpc.mjs) before the anvil of a test:
#
#     my $node = FaultyRpc->new($t, 'a');
#     ... proxy_pass http://127.0.0.1:$node->{port}/ ...
#     $node->set(rates => { reset_after => 0.1 }, lag => 20);
#     $node->told->{counts}{faults}{reset_after};
#
# FaultyRpc->locations($t, @nodes) is what to add to IntentTest's conf: the
# internal locations /_rpc/NAME, one for each.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use HTTP::Tiny;
use IntentTest qw(wait_for);
use JSON::PP;

my $program = abs_path(dirname(__FILE__)) . '/faulty-rpc.mjs';
my $json = JSON::PP->new->utf8->canonical;


sub new {
    my ($class, $t, $name, %settings) = @_;

    my $out = "$t->{dir}/faulty-$name.out";
    my $pid = fork // die "fork: $!";

    if ($pid == 0) {
        open STDIN, '<', '/dev/null';
        open STDOUT, '>', $out or die "$out: $!";
        chdir $t->{dir};
        exec 'node', $program, '--upstream', "http://127.0.0.1:$t->{anvil_port}/",
             '--seed', delete $settings{seed} // 1;
        die "node: $!";
    }

    # what has a .pid there is ended with the test, however it ends

    $t->write_file("$t->{dir}/faulty-$name.pid", "$pid\n");

    my $ports = wait_for(sub {
        my ($line) = $t->read_file($out) =~ /^(\{.*\})$/m or return;
        $json->decode($line);
    }, 30, "faulty-rpc.mjs $name to listen");

    my $node = bless { %$ports, name => $name, pid => $pid,
                       client => HTTP::Tiny->new(timeout => 10) }, $class;
    $node->set(%settings) if %settings;
    return $node;
}

sub set {
    my ($node, %settings) = @_;

    my $response = $node->{client}->post("http://127.0.0.1:$node->{control}/",
        { content => $json->encode(\%settings) });
    $response->{success} or die "$node->{name}: $response->{content}\n";
    return $json->decode($response->{content});
}

sub told {
    my $node = shift;

    my $response = $node->{client}->get("http://127.0.0.1:$node->{control}/");
    $response->{success} or die "$node->{name}: $response->{content}\n";
    return $json->decode($response->{content});
}

sub calls { $_[0]->told->{counts}{calls} }

sub end {
    my $node = shift;

    my $pid = delete $node->{pid} or return;
    local $?;
    kill 'KILL', $pid;
    waitpid $pid, 0;
}

sub DESTROY { local ($?, $@, $!); $_[0]->end }

sub locations {
    my ($class, @nodes) = @_;

    return join '', map { <<"END" } @nodes;
        location /_rpc/$_->{name} {
            internal;
            proxy_pass http://rpc_$_->{name}/;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }
END
}

sub upstreams {
    my ($class, @nodes) = @_;

    # a peer that fails is not left alone by nginx: that is the module's to do

    return join '', map {
        "upstream rpc_$_->{name} { server 127.0.0.1:$_->{port} max_fails=0; keepalive 16; }\n"
    } @nodes;
}

1;
