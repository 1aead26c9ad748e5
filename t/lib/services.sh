#!/usr/bin/env bash
#
# The services that the gateway stands on, private to one run: Postgres, Redis
# and anvil, each on a free port of 127.0.0.1, with all they keep in one folder.
#
#   INTENT_RUN=/path/to/folder services.sh COMMAND [SERVICE] [OPTION...]
#
#   init                  make the folder ready
#   start SERVICE [...]   start it, return when it answers; the options are
#                         given to the server itself, and kept for a restart:
#                             start anvil --block-time 1 --chain-id 31337
#                             start postgres -c fsync=off
#                             start redis --maxmemory 64mb
#   stop SERVICE          ask it to end, as its own administrator would
#   kill SERVICE          SIGKILL, its children too
#   restart SERVICE       stop, then start on the same port with what it kept
#   pause SERVICE         SIGSTOP: the port is open, and nobody answers
#   resume SERVICE        SIGCONT
#   port SERVICE          print its port
#   env                   print the ports and paths as shell assignments
#   end                   kill everything of this folder, nginx too
#   guard PID             return at once; when process PID is gone: end, and
#                         remove the folder. So that nothing outlives a test
#                         that was itself killed
#
# Postgres is reached by psql -h $INTENT_RUN/postgres -U postgres too. Redis and
# Postgres keep their port over a restart, anvil its port and its chain.

set -euo pipefail

RUN=${INTENT_RUN:?INTENT_RUN must name the folder of this run}
DEADLINE=${INTENT_SERVICE_DEADLINE:-60}


say() { printf 'services: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }


# --- processes ---------------------------------------------------------------

# A zombie does not count: nobody may be there to reap it in a container.

alive() {
    local stat

    [ -n "${1:-}" ] && { stat=$(cat "/proc/$1/stat"); } 2>/dev/null || return 1
    stat=${stat##*) }
    [ "${stat:0:1}" != Z ]
}

pid_of() { cat "$RUN/$1.pid" 2>/dev/null || true; }

descendants() {
    local child

    # shellcheck disable=SC2013
    for child in $(cat "/proc/$1/task/"*/children 2>/dev/null); do
        descendants "$child"
        echo "$child"
    done
}

# wait_gone PID SECONDS

wait_gone() {
    local tries=$(($2 * 20))

    while alive "$1"; do
        [ $((tries--)) -gt 0 ] || return 1
        sleep 0.05
    done
}

# The parent is stopped first, or it would start anew what is killed below it.

kill_tree() {
    local pids

    alive "$1" || return 0
    kill -STOP "$1" 2>/dev/null || true
    pids="$(descendants "$1") $1"
    # shellcheck disable=SC2086
    kill -KILL $pids 2>/dev/null || true

    for pid in $pids; do
        wait_gone "$pid" 10 || say "process $pid does not go away"
    done
}

# daemon NAME COMMAND...: in a session of its own, its pid in NAME.pid

daemon() {
    local name=$1; shift

    setsid "$@" </dev/null >>"$RUN/$name.log" 2>&1 &
    echo $! > "$RUN/$name.pid"
    disown
}


# --- ports -------------------------------------------------------------------

# Below the ephemeral range, so that no client's socket takes it meanwhile.

random_port() {
    local port

    while :; do
        port=$((10240 + (RANDOM * 32768 + RANDOM) % 22000))
        reserved $port || (: > "/dev/tcp/127.0.0.1/$port") 2>/dev/null ||
            { echo $port; return; }
    done
}

# By a test (free_port of IntentTest.pm), or for a service that may be away.

reserved() {
    grep -qE "@intent-port-$1@*$" /proc/net/unix ||
        grep -qsx "$1" "${RUN%/*}"/intent-*/*.port
}

# Another run may have been quicker; only who holds the socket has the port.

holds_port() {
    local inode hex

    printf -v hex '%04X' "$2"
    inode=$(awk -v p=":$hex" '$2 ~ p"$" && $4 == "0A" { print $10; exit }' \
                /proc/net/tcp)
    [ -n "$inode" ] &&
        [ -n "$(find "/proc/$1/fd" -lname "socket:\\[$inode\\]" 2>/dev/null)" ]
}

# wait_ready NAME: 0 it answers and has its port, 1 it ended

wait_ready() {
    local pid port until

    pid=$(pid_of "$1"); port=$(cat "$RUN/$1.port")
    until=$((SECONDS + DEADLINE))

    while alive "$pid"; do
        if holds_port "$pid" "$port" && "answers_$1"; then
            return 0
        fi

        if [ $SECONDS -ge $until ]; then
            kill_tree "$pid"
            tail -n 20 "$RUN/$1.log" >&2
            die "$1 did not answer within $DEADLINE s"
        fi

        sleep 0.05
    done

    return 1
}


# --- postgres ----------------------------------------------------------------

postgres_bin() {
    local dir

    for dir in $(printf '%s\n' /usr/lib/postgresql/*/bin /usr/pgsql-*/bin |
                 sort -rV) $(dirname "$(command -v postgres || echo .)")
    do
        if [ -x "$dir/postgres" ] && [ -x "$dir/initdb" ]; then
            echo "$dir"; return
        fi
    done

    die "no postgres server here (Debian: apt-get install postgresql)"
}

# Postgres refuses to run as root.

as_postgres() {
    if [ "$(id -u)" = 0 ]; then
        cd / && exec setpriv --reuid postgres --regid postgres --init-groups \
                             -- "$@"
    fi

    exec "$@"
}

launch_postgres() {
    local bin dir=$RUN/postgres

    bin=$(postgres_bin)

    if [ ! -d "$dir/data" ]; then
        mkdir -p "$dir"
        [ "$(id -u)" != 0 ] || chown postgres "$dir"

        (as_postgres "$bin/initdb" -D "$dir/data" -U postgres -A trust -N \
                     -E UTF8 --locale=C.UTF-8) >>"$RUN/postgres.log" 2>&1 ||
            { tail -n 20 "$RUN/postgres.log" >&2; die "initdb failed"; }
    fi

    forget_postgres

    # mmap: a killed server leaves nothing in /dev/shm

    daemon postgres "${BASH:-bash}" "$0" exec-as-postgres "$bin/postgres" \
        -D "$dir/data" -p "$(cat "$RUN/postgres.port")" -k "$dir" \
        -c listen_addresses=127.0.0.1 -c max_connections=200 \
        -c shared_buffers=128MB -c dynamic_shared_memory_type=mmap \
        -c unix_socket_permissions=0777 -c max_wal_size=2GB "$@"
}

# A killed server leaves its lock files and its one System V segment (the last
# line of postmaster.pid says which). The next one would clear them away itself,
# but not while the old one is a zombie that nobody reaps.

forget_postgres() {
    local lock=$RUN/postgres/data/postmaster.pid id

    [ -e "$lock" ] && ! alive "$(head -n 1 "$lock")" || return 0

    id=$(sed -n '7s/^ *[0-9]* *//p' "$lock")
    [ -z "$id" ] || ipcrm -m "$id" 2>/dev/null || true
    rm -f "$lock" "$RUN/postgres/".s.PGSQL.*
}

sql() { psql -h "$RUN/postgres" -p "$(cat "$RUN/postgres.port")" -U postgres \
             -XAtq "$@" </dev/null; }

answers_postgres() {
    [ "$(sql -d postgres -c 'select 1' 2>/dev/null)" = 1 ] || return 1

    if [ ! -e "$RUN/postgres.made" ]; then
        sql -d postgres -c 'create role intents login' \
                        -c 'create database intents owner intents' >/dev/null
        : > "$RUN/postgres.made"
    fi
}

stop_postgres() { kill -INT "$1"; }       # "fast": sessions are cut, data kept


# --- redis -------------------------------------------------------------------

launch_redis() {
    mkdir -p "$RUN/redis"

    daemon redis redis-server --bind 127.0.0.1 --dir "$RUN/redis" \
        --port "$(cat "$RUN/redis.port")" --save '' --appendonly no \
        --unixsocket "$RUN/redis/redis.sock" --unixsocketperm 777 \
        --daemonize no "$@"
}

# NOAUTH is an answer

answers_redis() {
    case $(timeout 2 redis-cli -s "$RUN/redis/redis.sock" ping 2>&1) in
        PONG | *NOAUTH*) ;;
        *) return 1 ;;
    esac
}

stop_redis() { kill -TERM "$1"; }


# --- anvil -------------------------------------------------------------------

launch_anvil() {
    local anvil=${INTENT_ANVIL:-anvil} rest=" $* "

    command -v "$anvil" >/dev/null ||
        die "no anvil here: ./build.sh installs it, INTENT_ANVIL names it"

    mkdir -p "$RUN/anvil"

    [[ $rest == *" --chain-id "* ]]   || set -- "$@" --chain-id 31337
    [[ $rest == *" --state"* ]]       || set -- "$@" --state "$RUN/anvil/state"

    HOME=$RUN/anvil daemon anvil "$anvil" --host 127.0.0.1 \
        --port "$(cat "$RUN/anvil.port")" --quiet "$@"
}

ask_anvil() {
    [[ $(curl -fsS -m "${3:-2}" -H 'Content-Type: application/json' \
             -d '{"jsonrpc":"2.0","id":1,"method":"'"$1"'","params":['"${2:-}"']}' \
             "http://127.0.0.1:$(cat "$RUN/anvil.port")/" 2>/dev/null) \
        == *result* ]]
}

answers_anvil() { ask_anvil eth_chainId; }

# It writes its state when it ends: the blocks first, then the accounts, so that
# a block that is made meanwhile would be in the accounts only, or was shown to
# clients and is in neither. So no block is made any more, and one that is being
# made is waited for, as a balance does.

stop_anvil() {
    ask_anvil evm_setIntervalMining 0 20 &&
        ask_anvil eth_getBalance \
                  '"0x0000000000000000000000000000000000000000","latest"' 20 || true
    kill -INT "$1"
}


# --- commands ----------------------------------------------------------------

known() {
    case ${1:-} in
        postgres | redis | anvil) ;;
        *) die "no such service: \"${1:-}\"; there are postgres, redis, anvil" ;;
    esac
}

init() {
    mkdir -p "$RUN"
    chmod 755 "$RUN"          # the user postgres and nginx's workers pass here
}

start() {
    local name=$1 tries=10 fixed=
    shift

    ! alive "$(pid_of "$name")" || die "$name is running already"
    [ -d "$RUN" ] || init

    if [ $# -gt 0 ]; then
        printf '%s\n' "$@" > "$RUN/$name.options"
    elif [ -s "$RUN/$name.options" ]; then
        mapfile -t options < "$RUN/$name.options"
        set -- "${options[@]}"
    fi

    [ ! -e "$RUN/$name.port" ] || fixed=yes

    while [ $((tries--)) -gt 0 ]; do
        [ -n "$fixed" ] || random_port > "$RUN/$name.port"

        "launch_$name" "$@"

        if wait_ready "$name"; then
            return
        fi

        sleep 0.1
    done

    tail -n 20 "$RUN/$name.log" >&2
    [ -n "$fixed" ] || rm -f "$RUN/$name.port"
    die "$name did not start"
}

stop() {
    local pid

    pid=$(pid_of "$1")
    alive "$pid" || return 0

    "stop_$1" "$pid"
    kill -CONT "$pid" 2>/dev/null || true     # a paused one hears nothing

    wait_gone "$pid" "$DEADLINE" || {
        kill_tree "$pid"
        die "$1 did not stop within $DEADLINE s and was killed"
    }
}

# Of this run, and not another process that was given the number anew: it names
# the folder in its arguments or its environment, or works in it.

ours() {
    alive "$1" || return 1
    grep -qaF "$RUN" "/proc/$1/cmdline" "/proc/$1/environ" 2>/dev/null ||
        [[ $(readlink "/proc/$1/cwd" 2>/dev/null) == "$RUN"* ]]
}

end_all() {
    local pid

    for pid in "$@"; do
        case $pid in *[!0-9]* | '' | 1) continue ;; esac

        if [ "$pid" != $$ ] && ours "$pid"; then
            kill_tree "$pid"
        fi
    done
}

end() {
    # shellcheck disable=SC2046
    end_all $(cat "$RUN"/*.pid 2>/dev/null)
    forget_postgres
}

guard() {
    setsid "${BASH:-bash}" "$0" guard-now "$1" </dev/null >/dev/null 2>&1 &
    echo $! > "$RUN/guard.pid"
    disown
}

# What was there is remembered, in case that somebody removes the folder.

guard_now() {
    local known=

    while alive "$1" && [ -d "$RUN" ]; do
        known=$(cat "$RUN"/*.pid 2>/dev/null) || true
        sleep 1
    done

    if [ ! -d "$RUN" ]; then
        # shellcheck disable=SC2086
        end_all $known
        return 0
    fi

    end
    [ -n "${INTENT_KEEP:-}" ] || rm -rf "$RUN"
}

environment() {
    local name

    for name in postgres redis anvil; do
        [ ! -e "$RUN/$name.port" ] ||
            echo "TEST_NGINX_${name^^}_PORT=$(cat "$RUN/$name.port")"
    done

    echo "INTENT_RUN=$RUN"
}

case ${1:-} in
    init)      init ;;
    start)     known "${2:-}"; shift; start "$@" ;;
    stop)      known "${2:-}"; stop "$2" ;;
    restart)   known "${2:-}"; stop "$2"; start "$2" ;;
    kill)      known "${2:-}"; kill_tree "$(pid_of "$2")" ;;
    pause)     known "${2:-}"; kill -STOP "$(pid_of "$2")" ;;
    resume)    known "${2:-}"; kill -CONT "$(pid_of "$2")" ;;
    port)      known "${2:-}"; cat "$RUN/$2.port" ;;
    env)       environment ;;
    end)       end ;;
    guard)     guard "${2:?guard needs a process id}" ;;
    guard-now) guard_now "$2" ;;
    exec-as-postgres) shift; as_postgres "$@" ;;
    *)         sed -n '/^#   init/,/^#$/s/^# *//p' "$0" >&2; exit 2 ;;
esac
