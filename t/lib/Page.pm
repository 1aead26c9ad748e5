package Page;

# The page of docs/demo, as a gateway serves it:
#
#     my $t = IntentTest->new(start => 0, ...);
#     $t->write_conf(server => Page::server($t));
#     $t->nginx_start;
#
# server($t, examples => { type => { param => value } }): what the form begins with. The
# page and the stock Socket.IO client are copied into the folder of $t, for the
# workers of root's nginx are nobody, who may not be let into this one.
#
# tls($t, PORT): what a server listens with for https, wss and HTTP/2; the
# certificate, $t->{dir}/tls.crt, is made for it, and signed by itself.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Copy qw(copy);
use JSON::PP;

my $root = abs_path(dirname(__FILE__) . '/../..');
my $json = JSON::PP->new->utf8->canonical;


sub server {
    my ($t, %option) = @_;

    my $modules = $ENV{INTENT_NODE_MODULES} // "$root/build/node/node_modules";
    my $page = $t->read_file("$root/docs/demo/index.html");

    if ($option{examples}) {
        my $examples = $json->encode($option{examples}) =~ s/</\\u003c/gr;
        $page =~ s{(id="examples">).*?(</script>)}{$1$examples$2}s
            or die "the page has no place for examples\n";
    }

    mkdir "$t->{dir}/www";
    $t->write_file("$t->{dir}/www/index.html", $page);
    copy("$modules/socket.io-client/dist/socket.io.js", "$t->{dir}/www/socket.io.js")
        or die "the client of Socket.IO: $!\n";
    chmod 0755, "$t->{dir}/www";
    chmod 0644, glob "$t->{dir}/www/*";

    return <<'END';
        location = / {
            root $DIR/www;
            types { }
            default_type "text/html; charset=utf-8";
            try_files /index.html =404;
        }

        location = /socket.io/socket.io.js {
            alias $DIR/www/socket.io.js;
            types { }
            default_type "text/javascript; charset=utf-8";
        }

        location /socket.io/ { intent_socketio; }
END
}

sub tls {
    my ($t, $port) = @_;

    my ($key, $certificate) = map { "$t->{dir}/tls.$_" } 'key', 'crt';

    my $said = -e $certificate ? '' : qx(
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -batch -subj /CN=127.0.0.1 \\
            -addext subjectAltName=IP:127.0.0.1 -keyout $key -out $certificate 2>&1);
    die "openssl: $said" unless -e $certificate;

    return <<"END";
        listen 127.0.0.1:$port ssl http2;
        ssl_certificate $certificate;
        ssl_certificate_key $key;
END
}

1;
