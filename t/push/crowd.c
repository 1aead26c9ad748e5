
/*
 * Many WebSockets, of one thread: for tests and benchmarks that another client
 * would be the bottleneck of.
 *
 *     crowd open PORT COUNT PATH...
 *
 * opens COUNT connections, in turn to each PATH; what is behind a blank in PATH
 * is sent as a text message.  Says "open COUNT", and after each burst of
 * messages "MESSAGES in SECONDS", from the first to the last; lives until its
 * standard input ends.
 *
 *     crowd churn PORT SECONDS PARALLEL PATH...
 *
 * connects, waits for a message, and ends, in one of five ways; so many at a
 * time, as fast as it goes.  Says "CONNECTIONS in SECONDS, FAILED failed".
 */


#define _GNU_SOURCE

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>


#define ADDRESSES  200
#define BURST      0.3      /* s without a message end one */
#define EVENTS     512


/* how a connection of churn ends */
enum { at_once, reset, after_close, after_finish, after_junk, ways };


typedef struct {
    int        fd;
    int        way;
    int        upgraded;
    unsigned   has;         /* bytes of a header */
    unsigned   ended;       /* it has said so */
    size_t     skip;        /* of a payload */
    unsigned char  head[4];
    char       tail[4];     /* of the answer's head */
} client_t;


static int         epfd, nclients, port, npaths;
static char      **paths;
static client_t   *clients;
static long        begun, opened, messages, failed, open_now;
static double      first, last, until;
static int         churning;
static char        buf[262144];

static void start(client_t *c);


static double
now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return ts.tv_sec + ts.tv_nsec / 1e9;
}


static void
die(const char *what)
{
    printf("error %s: %s\n", what, strerror(errno));
    exit(1);
}


/* a masked frame; the mask is 0 */

static size_t
frame(unsigned char *p, int opcode, const char *data, size_t len)
{
    size_t  n;

    p[0] = 0x80 | opcode;
    n = 2;

    if (len < 126) {
        p[1] = 0x80 | len;

    } else {
        p[1] = 0x80 | 126;
        p[2] = len >> 8;
        p[3] = len & 255;
        n = 4;
    }

    memset(p + n, 0, 4);
    memcpy(p + n + 4, data, len);

    return n + 4 + len;
}


static void
hello(client_t *c)
{
    const char    *path, *text;
    unsigned char  out[4096];
    size_t         n;

    path = paths[begun % npaths];
    text = strchr(path, ' ');

    n = snprintf((char *) out, 1024, "GET %.*s HTTP/1.1\r\nHost: test\r\n"
                 "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                 "Sec-WebSocket-Version: 13\r\n\r\n",
                 (int) (text ? text - path : (long) strlen(path)), path);

    if (text) {
        n += frame(out + n, 1, text + 1, strlen(text + 1));
    }

    if (send(c->fd, out, n, MSG_NOSIGNAL) != (ssize_t) n) {
        die("send");
    }
}


static void
end(client_t *c)
{
    close(c->fd);
    c->fd = -1;
    open_now--;

    if (!churning) {
        printf("closed\n");
        return;
    }

    if (now() < until) {
        start(c);
    }
}


static void
start(client_t *c)
{
    int                 one = 1;
    struct epoll_event  ev;
    struct sockaddr_in  to, from;

    memset(c, 0, sizeof(client_t));
    memset(&to, 0, sizeof(to));

    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    from = to;
    from.sin_port = 0;
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + begun % ADDRESSES);

    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    c->way = begun % ways;

    if (c->fd == -1
        || setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one,
                      sizeof(one))
           == -1
        || bind(c->fd, (struct sockaddr *) &from, sizeof(from)) == -1
        || connect(c->fd, (struct sockaddr *) &to, sizeof(to)) == -1)
    {
        die("connect");
    }

    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));

    hello(c);
    begun++;
    open_now++;

    if (churning && c->way == at_once) {
        end(c);
        return;
    }

    ev.events = EPOLLIN;
    ev.data.ptr = c;

    if (epoll_ctl(epfd, EPOLL_CTL_ADD, c->fd, &ev) == -1) {
        die("epoll_ctl");
    }
}


/* a message has come to a connection of churn; 1: it is another one now */

static int
leave(client_t *c)
{
    ssize_t        n;
    unsigned char  out[16];
    struct linger  linger = { 1, 0 };

    if (c->ended) {
        return 0;
    }

    c->ended = 1;
    n = 0;

    switch (c->way) {

    case reset:
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
        end(c);
        return 1;

    case after_finish:
        shutdown(c->fd, SHUT_WR);
        return 0;

    case after_close:
        n = frame(out, 8, "\x03\xe8", 2);
        break;

    case after_junk:
        n = frame(out, 5, "", 0);
        break;
    }

    if (send(c->fd, out, n, MSG_NOSIGNAL) != n) {
        failed++;
    }

    return 0;
}


static void
take(client_t *c, const unsigned char *p, const unsigned char *e)
{
    size_t         n, head;
    unsigned char  out[16];

    while (p < e && !c->upgraded) {
        memmove(c->tail, c->tail + 1, 3);
        c->tail[3] = *p++;

        if (memcmp(c->tail, "\r\n\r\n", 4) == 0) {
            c->upgraded = 1;

            if (++opened == nclients && !churning) {
                printf("open %ld\n", opened);
            }
        }
    }

    while (p < e) {

        if (c->skip) {
            n = (size_t) (e - p) < c->skip ? (size_t) (e - p) : c->skip;
            c->skip -= n;
            p += n;
            continue;
        }

        c->head[c->has++] = *p++;

        if (c->has < 2 || (c->has < 4 && c->head[1] == 126)) {
            continue;
        }

        head = c->head[1];
        c->skip = (head == 126) ? (size_t) (c->head[2] << 8 | c->head[3])
                                : head;
        c->has = 0;

        if (c->head[0] == 0x89) {
            n = frame(out, 10, "", 0);
            (void) !send(c->fd, out, n, MSG_NOSIGNAL);
        }

        if (c->head[0] != 0x81) {
            continue;
        }

        messages++;

        if (churning && leave(c)) {
            return;
        }
    }
}


static void
readable(client_t *c)
{
    ssize_t  n;

    n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);

    if (n == -1 && errno == EAGAIN) {
        return;
    }

    if (n <= 0) {
        failed += (churning && !c->ended);
        end(c);
        return;
    }

    if (!c->upgraded && n >= 12 && memcmp(buf, "HTTP/1.1 101", 12) != 0) {
        failed++;
        printf("refused %.*s\n", (int) strcspn(buf, "\r\n"), buf);
        end(c);
        return;
    }

    take(c, (unsigned char *) buf, (unsigned char *) buf + n);
}


/* until there is nothing to do any more, or somebody says so */

static void
run(void)
{
    int                 i, n;
    long                shown = 0;
    struct pollfd       in = { 0, POLLIN, 0 };
    struct epoll_event  events[EVENTS];

    for ( ;; ) {
        n = epoll_wait(epfd, events, EVENTS, 100);
        last = (n > 0) ? now() : last;

        for (i = 0; i < n; i++) {
            readable(events[i].data.ptr);
        }

        if (churning) {
            if (open_now == 0 || now() > until + 10) {
                return;
            }

            continue;
        }

        if (messages > shown && first == 0) {
            first = last;
        }

        if (n == 0 && messages != shown && now() - last > BURST) {
            printf("%ld in %.4f\n", messages - shown, last - first);
            shown = messages;
            first = 0;
        }

        if (n == 0 && poll(&in, 1, 0) == 1) {
            return;
        }
    }
}


int
main(int argc, char **argv)
{
    int            i, n;
    double         began;
    struct rlimit  limit = { 1048576, 1048576 };

    if (argc < 5) {
        return 2;
    }

    setvbuf(stdout, NULL, _IOLBF, 0);

    if (setrlimit(RLIMIT_NOFILE, &limit) == -1) {
        getrlimit(RLIMIT_NOFILE, &limit);
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }

    churning = (strcmp(argv[1], "churn") == 0);
    n = churning ? 4 : 3;
    port = atoi(argv[2]);
    nclients = atoi(argv[n]);
    paths = argv + n + 1;
    npaths = argc - n - 1;

    epfd = epoll_create1(0);
    clients = calloc(nclients, sizeof(client_t));

    if (epfd == -1 || clients == NULL || npaths < 1) {
        die("start");
    }

    began = now();
    until = churning ? began + atof(argv[3]) : 0;

    for (i = 0; i < nclients; i++) {
        start(&clients[i]);

        /* the server's queue of new connections is not without an end */

        while (!churning && begun - opened > 400) {
            struct epoll_event  ev;

            if (epoll_wait(epfd, &ev, 1, 5000) != 1) {
                die("epoll_wait");
            }

            readable(ev.data.ptr);
        }
    }

    run();

    if (churning) {
        printf("%ld in %.2f, %ld failed\n", begun, now() - began,
               failed + open_now);
    }

    return 0;
}
