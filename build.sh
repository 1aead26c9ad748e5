#!/usr/bin/env bash
#
# The one door: builds the module, and runs it, its tests and its benchmarks,
# with everything that each needs. On Debian it installs the packages that are
# missing (as root, or with sudo); elsewhere it says what is missing.
# All it makes is in build/ and in a folder of its own in /tmp.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
BUILD=$ROOT/build
DEBIAN_MIRROR=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
JOBS=${JOBS:-$(nproc 2>/dev/null || echo 2)}
MODULE=ngx_http_intent_module.so
RUN=


usage() {
    cat >&2 <<END
usage: ./build.sh VERB

    build            the module, against Debian's nginx-dev
    demo [--once]    a gateway to play with, until Ctrl-C; with --once, one
                     intent's way, and 0 only if it ended in success
    test [FILE...]   everything in t/, or only these files of t/
    fuzz [SECONDS [TARGET...]]
                     bodies, src/evm's decoders and WebSocket frames,
                     ten minutes unless told otherwise
    bench            what it does in a second, against baselines
    soak [TIMES]     the tests of crashes and faults, long
    clean            remove build/

    NGX_SRC=dir      build nginx and the module from this source tree
    SANITIZE=address the same with sanitizers, in nginx and in the module; the
                     source is Debian's unless NGX_SRC names one
    CC=clang         another compiler
END
    exit 2
}

say() { printf '==> %s\n' "$*"; }
die() { printf 'build.sh: %s\n' "$*" >&2; exit 1; }


# --- the end, however it comes -----------------------------------------------

# shellcheck disable=SC2317
cleanup() {
    local status=$? child

    trap - EXIT INT TERM HUP
    [ -z "${POLICY:-}" ] || as_root rm -f /usr/sbin/policy-rc.d

    for child in $(jobs -p); do
        kill -TERM -- "-$child" 2>/dev/null || true
    done
    wait 2>/dev/null || true

    if [ -n "$RUN" ]; then
        INTENT_RUN=$RUN "$ROOT/t/lib/services.sh" end || true
        [ -n "${INTENT_KEEP:-}" ] || rm -rf "$RUN"
    fi

    exit "$status"
}

trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# In the background, so that a signal to this script is obeyed at once, and in
# a process group of its own, so that all of it can be ended. Should this script
# be killed, the guard ends what has a .pid in the private folder.

supervise() {
    setsid "$@" </dev/null &
    [ -z "$RUN" ] || echo $! > "$RUN/supervised.pid"
    wait $!
}

# A folder for services; whatever becomes of this process, it will be cleared.

private_folder() {
    RUN=$(mktemp -d "${TMPDIR:-/tmp}/intent-XXXXXXXX")
    export INTENT_RUN=$RUN
    "$ROOT/t/lib/services.sh" init
    "$ROOT/t/lib/services.sh" guard $$
}


# --- packages ----------------------------------------------------------------

# A name, or name:command for what may be there from elsewhere.

BUILD_PACKAGES=(gcc:cc make:make pkg-config:pkg-config libpq-dev libhiredis-dev
                libjansson-dev libsecp256k1-dev nettle-dev libssl-dev)
NGINX_PACKAGES=(nginx:nginx nginx-dev)
SOURCE_PACKAGES=(libc6-dev libpcre2-dev zlib1g-dev)
RUN_PACKAGES=(postgresql redis-server:redis-server curl:curl procps:ps perl
              nodejs:node npm:npm)
TEST_PACKAGES=(libcmocka-dev prometheus:promtool openssl:openssl chromium)
BENCH_PACKAGES=(wrk:wrk)

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        command -v sudo >/dev/null ||
            die "this needs root: $* (install sudo, or run it yourself)"
        sudo "$@"
    fi
}

apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive LC_ALL=C apt-get -q -y \
        -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 \
        -o Acquire::Retries=3 --no-install-recommends "$@"
}

# Twice or more, for the lock on the lists has no timeout and mirrors have moods.
# What was downloaded is kept, and what was cut short is brought to its end first.

apt_try() {
    local log=$BUILD/apt.log try

    for try in 1 2 3 4 5; do
        if apt_get "$@" >>"$log" 2>&1; then
            return 0
        fi
        sleep "$try"
        as_root env DEBIAN_FRONTEND=noninteractive dpkg --configure -a >>"$log" 2>&1 || true
    done

    tail -n 30 "$log" >&2
    return 1
}

missing() {
    local wanted

    for wanted in "$@"; do
        case $wanted in
            *:*) command -v "${wanted#*:}" >/dev/null && continue ;;
        esac

        [ "$(dpkg-query -W -f '${db:Status-Status}' "${wanted%%:*}" 2>/dev/null)" \
          = installed ] || echo "${wanted%%:*}"
    done
}

# One at a time in one checkout.

build_lock() {
    mkdir -p "$BUILD"
    exec 8>"$BUILD/.lock"
    flock 8
}

build_unlock() { exec 8>&-; }

# Debian starts what it installs. Only the programs are wanted here, so where
# an init runs, it is told no while packages are set up, and not to start
# them at the next boot.

policy_begin() {
    [ -d /run/systemd/system ] && [ ! -e /usr/sbin/policy-rc.d ] || return 0

    POLICY=yes
    printf '#!/bin/sh\n# intent gateway, build.sh: gone in a minute\nexit 101\n' |
        as_root tee /usr/sbin/policy-rc.d >/dev/null
    as_root chmod 755 /usr/sbin/policy-rc.d
}

policy_end() {
    local package

    [ -n "${POLICY:-}" ] || return 0
    as_root rm -f /usr/sbin/policy-rc.d
    POLICY=

    for package in "$@"; do
        case $package in
            nginx | postgresql | redis-server | prometheus)
                as_root systemctl disable --quiet "$package" 2>/dev/null || true ;;
        esac
    done
}

# A second checkout may be at the same.

apt_lock() {
    local lock=/tmp/.intent-gateway-apt.lock

    [ -e $lock ] || (umask 0; : > $lock) 2>/dev/null || true
    exec 9<$lock
    flock 9
}

apt_unlock() { exec 9<&-; }

packages() {
    local names

    mapfile -t names < <(missing "$@")
    [ ${#names[@]} -gt 0 ] || return 0

    if ! command -v apt-get >/dev/null; then
        say "not a Debian; these may be missing: ${names[*]}"
        return 0
    fi

    apt_lock
    mapfile -t names < <(missing "$@")

    if [ ${#names[@]} -gt 0 ]; then
        say "installing packages: ${names[*]} (log: build/apt.log)"
        policy_begin
        apt_try update || say "apt-get update failed; going on with the old lists"
        apt_try install "${names[@]}" || die "could not install ${names[*]}"
        policy_end "${names[@]}"
    fi

    apt_unlock
}

# apt with lists of its own, so that the machine's sources stay as they are:
# apt_aside FOLDER "deb ..." ARGUMENT... Signatures are checked; not their age,
# for a mirror's copy of unstable may be some weeks old.

apt_aside() {
    local dir=$1 line=$2; shift 2

    mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
    printf '%s\n' "$line" > "$dir/sources.list"

    (cd "$dir" && LC_ALL=C apt-get -q -y \
         -o Dir::Etc::SourceList="$dir/sources.list" \
         -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists="$dir/lists" \
         -o Dir::Cache="$dir/cache" -o APT::Sandbox::User= \
         -o Acquire::Check-Valid-Until=false "$@") \
         >>"$BUILD/apt.log" 2>&1
}

keyring() {
    echo "signed-by=/usr/share/keyrings/debian-archive-keyring.gpg"
}

has_test_nginx() { perl -MTest::Nginx::Socket -e 1 >/dev/null 2>&1; }

test_nginx() {
    local dir=$BUILD/test-nginx deb

    has_test_nginx && return

    # Debian has it since trixie's successor; it is Perl, and bookworm has all
    # that it depends on
    if command -v apt-get >/dev/null; then
        say "installing Test::Nginx from Debian unstable's libtest-nginx-perl"
        packages debian-archive-keyring
        deb="deb [$(keyring)] $DEBIAN_MIRROR unstable main"

        if apt_aside "$dir" "$deb" update &&
           apt_aside "$dir" "$deb" download libtest-nginx-perl
        then
            apt_lock
            has_test_nginx || apt_try install "$dir"/libtest-nginx-perl_*.deb || true
            apt_unlock
        fi
        rm -rf "$dir/lists" "$dir/cache"
    fi

    has_test_nginx && return

    say "installing Test::Nginx from CPAN"
    packages cpanminus:cpanm
    as_root cpanm --quiet --notest Test::Nginx ||
        die "no Test::Nginx, neither from Debian nor from CPAN"
}

# anvil, viem and the like, as t/lib/node/package-lock.json has them

node_tools() {
    local dir=$BUILD/node stamp anvil arch

    case $(uname -m) in
        x86_64)  arch=linux-amd64 ;;
        aarch64) arch=linux-arm64 ;;
        *)       die "npm has no anvil for this machine ($(uname -sm))" ;;
    esac

    build_lock
    stamp=$(cat "$ROOT"/t/lib/node/package*.json | sha256sum)

    if [ "$(cat "$dir/stamp" 2>/dev/null)" != "$stamp" ]; then
        say "installing anvil and the other npm tools in build/node"
        rm -rf "$dir"
        mkdir -p "$dir"
        cp "$ROOT"/t/lib/node/package*.json "$ROOT/t/lib/node/.npmrc" "$dir/"

        # force: the packages of anvil are for amd64, and ask for node 20, which
        # only their wrapper needs; the programs are used without it
        (cd "$dir" && npm ci --force --ignore-scripts --no-audit --no-fund \
                             --loglevel=error >"$BUILD/npm.log" 2>&1) ||
            { cat "$BUILD/npm.log" >&2; die "npm ci failed"; }

        # the lock file was made where the registry had only these for amd64
        if [ ! -d "$dir/node_modules/@foundry-rs/anvil-$arch" ]; then
            (cd "$dir" && npm install --no-save --force --ignore-scripts \
                 "@foundry-rs/anvil-$arch@$(sed -n \
                     's/.*anvil-linux-amd64": "\(.*\)".*/\1/p' package.json)" \
                 >>"$BUILD/npm.log" 2>&1) || die "npm has no anvil for $arch"
        fi

        printf '%s\n' "$stamp" > "$dir/stamp"
    fi

    # the program itself, not the script of node that would stand before it
    anvil=$dir/node_modules/@foundry-rs/anvil-$arch/bin/anvil
    [ -x "$anvil" ] || die "there is no anvil in build/node; remove that folder"

    build_unlock

    export INTENT_ANVIL=$anvil NODE_PATH=$dir/node_modules
    export INTENT_NODE_MODULES=$NODE_PATH
    PATH=$(printf '%s:' "$dir"/node_modules/@foundry-rs/*-"$arch"/bin)$PATH
}


# --- build -------------------------------------------------------------------

NGINX_FLAGS=(--with-compat --with-debug --with-threads --with-http_ssl_module
             --with-http_v2_module --with-http_realip_module
             --with-http_stub_status_module --with-http_auth_request_module)

# Our files and nginx's headers are to be clean with these. nginx does without
# -Wunused-parameter itself: its handlers have one signature.

WARNINGS="-Wall -Wextra -Werror -Wno-unused-parameter"

# configure DIR STAMP COMMAND...: only when something has changed since

configure() {
    local dir=$1 stamp; shift

    stamp=$(printf '%s\n' "$@" "$CC"
            cat "$ROOT/config"; cd "$ROOT" && echo src/*/*.c src/*/*.h)

    if [ ! -e "$dir/Makefile" ] ||
       [ "$(cat "$dir/stamp" 2>/dev/null)" != "$stamp" ]
    then
        say "configuring in ${dir#"$ROOT"/}"
        mkdir -p "$dir"
        "$@" >"$dir/configure.log" 2>&1 ||
            { tail -n 25 "$dir/configure.log" >&2; die "configure failed"; }
        printf '%s\n' "$stamp" > "$dir/stamp"
    fi
}

run_make() {
    make --no-print-directory -k -j "$JOBS" "$@" >"$BUILD/make.log" 2>&1 || {
        grep -vE '^([^ ]*/)?[a-z]*(cc|clang)[^ ]* -c |^	' "$BUILD/make.log" |
            grep -E -A 6 '(error|warning):|undefined reference|\*\*\*' >&2 ||
            tail -n 30 "$BUILD/make.log" >&2
        die "the build failed; all of it is in build/make.log"
    }
}

# The modules are put before the copy filter only if configure saw them as the
# filters they are in part: said by ngx_module_order in a shared object, by
# their place in nginx itself.

check_order() {
    local dir=$1 order

    if [ -z "${SANITIZE:-}" ]; then
        order=$(sed -n '/ngx_module_order/,/NULL/s/.*"\(.*\)".*/\1/p' \
                    "$dir/ngx_http_intent_module_modules.c")
        [ "$(head -n 1 <<<"$order")" = ngx_http_intent_module ] || order=
    else
        order=$(sed -n '/ngx_module_names/,/NULL/s/.*"\(.*\)".*/\1/p' \
                    "$dir/ngx_modules.c" | sed -n '/^ngx_http_intent_module$/,$p')
    fi

    [ "$(grep -v '^ngx_http_intent_' <<<"$order" | head -n 1)" \
      = ngx_http_copy_filter_module ] ||
        die "the order of the modules in $dir is not what the filter needs"
}

build_for_debian() {
    local source=/usr/share/nginx/src out=$BUILD/debian

    [ -r $source/conf_flags ] ||
        die "no nginx-dev here; name an nginx source tree with NGX_SRC"

    [ "$CC" = cc ] || out=$out-${CC##*/}

    # shellcheck source=/dev/null
    . $source/conf_flags

    cd $source
    configure "$out" ./configure "${NGX_CONF_FLAGS[@]}" --with-cc="$CC" \
        --with-cc-opt="${CFLAGS:-}" \
        --add-dynamic-module="$ROOT" --builddir="$out"

    say "building the module in ${out#"$ROOT"/}"
    run_make -f "$out/Makefile" modules \
        CFLAGS="-pipe -O2 -g $WARNINGS ${CFLAGS:-}"
    cd "$ROOT"

    NGINX=$(command -v nginx || echo /usr/sbin/nginx)
    OUT=$out
}

# Debian's nginx source, the upstream tarball alone: it is the same release as
# the binary's, and the file that changes least often.

fetch_source() {
    local dir=$BUILD/nginx-source suite line

    NGX_SRC=$(echo "$dir"/nginx-*/)
    [ ! -d "$NGX_SRC" ] || return 0

    # shellcheck source=/dev/null
    suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-bookworm}")
    line="deb-src [$(keyring)] $DEBIAN_MIRROR $suite main"

    say "fetching the source of Debian's nginx"
    mkdir -p "$dir"
    apt_aside "$dir" "$line" update
    apt_aside "$dir" "$line" source --download-only --tar-only nginx ||
        { tail -n 5 "$BUILD/apt.log" >&2; die "no source; NGX_SRC names one"; }
    tar -C "$dir" -xzf "$dir"/nginx_*.orig.tar.gz
    rm -rf "$dir/lists" "$dir/cache"

    NGX_SRC=$(echo "$dir"/nginx-*/)
}

# nginx and the module from a source tree. It is copied first: configure writes
# into the tree it runs in, and the tree may be somebody's.

build_from_source() {
    local objects version out core link="" add=--add-dynamic-module configure=./configure

    [ -n "${NGX_SRC:-}" ] || fetch_source

    version=$(sed -n 's/^#define NGINX_VERSION *"\(.*\)"/\1/p' \
              "$NGX_SRC/src/core/nginx.h" 2>/dev/null) || true
    [ -n "$version" ] || die "NGX_SRC: no nginx source tree in \"$NGX_SRC\""

    out=$BUILD/nginx-$version
    [ "$CC" = cc ] || out=$out-${CC##*/}
    core="-O2 -fno-omit-frame-pointer"

    if [ -n "${SANITIZE:-}" ]; then
        out=$out-$SANITIZE

        # Every allocation from a pool is one of its own, or the sanitizer sees
        # only the pools; a part of nginx, for what is unloaded before the exit
        # cannot be looked at; and nginx itself is not clean for UBSan. Copying no
        # bytes from an empty ngx_str_t is how nginx is written, and harmless.
        core="$core -DNGX_DEBUG_PALLOC=1 -fsanitize=$SANITIZE -Wno-error"
        link="-fsanitize=$SANITIZE,undefined -fno-sanitize=nonnull-attribute"
        link="$link -fno-sanitize-recover=undefined"
        add=--add-module
    fi

    mkdir -p "$out"
    cp -ru "$NGX_SRC/." "$out/source"
    [ -x "$out/source/configure" ] || configure=auto/configure

    cd "$out/source"
    configure "$out/objs" $configure --prefix="$out" --with-cc="$CC" \
        --with-cc-opt="$core ${CFLAGS:-}" --with-ld-opt="$link" \
        --builddir="$out/objs" "${NGINX_FLAGS[@]}" \
        $add="$ROOT"

    say "building the module in ${out#"$ROOT"/}"

    if [ -n "${SANITIZE:-}" ]; then
        mapfile -t objects < <(sed -n 's|^\([^ ]*/addon/[^ ]*\.o\):.*|\1|p' \
                                   "$out/objs/Makefile")
        run_make -f "$out/objs/Makefile" "${objects[@]}" \
            CFLAGS="-pipe -g $core $WARNINGS $link ${CFLAGS:-}"
    else
        run_make -f "$out/objs/Makefile" modules \
            CFLAGS="-pipe -g $core $WARNINGS ${CFLAGS:-}"
    fi

    say "building nginx $version in ${out#"$ROOT"/}"
    run_make -f "$out/objs/Makefile" binary
    cd "$ROOT"

    NGINX=$out/objs/nginx
    OUT=$out/objs
}

# build PACKAGE...: all that the verb needs is installed in one go

build() {
    local from_source=${NGX_SRC:-}${SANITIZE:-}

    CC=${CC:-cc}
    mkdir -p "$BUILD"

    case $CC in *clang*) BUILD_PACKAGES+=("$CC:$CC") ;; esac

    if [ -n "$from_source" ]; then
        packages "${BUILD_PACKAGES[@]}" "${SOURCE_PACKAGES[@]}" "$@"
    else
        packages "${BUILD_PACKAGES[@]}" "${NGINX_PACKAGES[@]}" "$@"
    fi

    build_lock
    if [ -n "$from_source" ]; then
        build_from_source
    else
        build_for_debian
    fi

    check_order "$OUT"
    build_unlock

    # empty where it is a part of nginx
    export TEST_NGINX_BINARY=$NGINX TEST_NGINX_INTENT_MODULE=
    [ -n "${SANITIZE:-}" ] || TEST_NGINX_INTENT_MODULE=$OUT/$MODULE
}

verb_build() {
    build
    "$NGINX" -v

    if [ -n "$TEST_NGINX_INTENT_MODULE" ]; then
        say "built; in nginx.conf, at the top:"
        echo "load_module $TEST_NGINX_INTENT_MODULE;"
    else
        say "built: $NGINX, the module is a part of it"
    fi
}


# --- the other verbs ---------------------------------------------------------

# What every test finds in its environment; t/lib/Intent.pm and IntentTest.pm
# read it.

test_environment() {
    local assignment

    for service in postgres redis anvil; do
        say "starting $service"
        case $service in
            anvil) "$ROOT/t/lib/services.sh" start anvil --block-time 1 ;;
            *)     "$ROOT/t/lib/services.sh" start $service ;;
        esac
    done

    while read -r assignment; do
        export "${assignment?}"
    done < <("$ROOT/t/lib/services.sh" env)

    (umask 077
     echo 0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80 \
         > "$RUN/relayer.key")

    export TEST_NGINX_KEY_FILE=$RUN/relayer.key
    export TEST_NGINX_SERVROOT=$RUN/servroot
    TEST_NGINX_PORT=$(perl -I"$ROOT/t/lib" -MIntentTest=free_port -e 'print free_port')
    echo "$TEST_NGINX_PORT" > "$RUN/nginx.port"     # reserved, also between two blocks
    export TEST_NGINX_PORT TEST_NGINX_CLIENT_PORT=$TEST_NGINX_PORT
    export TEST_NGINX_SERVER_PORT=127.0.0.1:$TEST_NGINX_PORT
}

# Reports go to files, where IntentTest.pm looks for its own and sanitizer_reports
# for those of Test::Nginx's blocks.

sanitizer_environment() {
    local log=log_path=$RUN/sanitizer

    # commas: Test::Nginx takes the options apart and puts the block's name in
    export SANITIZE
    export ASAN_OPTIONS="detect_leaks=1,${ASAN_OPTIONS:+$ASAN_OPTIONS,}$log"
    export UBSAN_OPTIONS="print_stacktrace=1,${UBSAN_OPTIONS:+$UBSAN_OPTIONS,}$log"
    export LSAN_OPTIONS="suppressions=$ROOT/t/lib/lsan.suppress,print_suppressions=0${LSAN_OPTIONS:+,$LSAN_OPTIONS}"
}

sanitizer_reports() {
    local report found=

    for report in "$RUN"/sanitizer*; do
        [ -s "$report" ] || continue
        found=yes
        head -n 60 "$report"
    done

    [ -z "$found" ] || die "the sanitizer had something to say"
}

verb_test() {
    local files=() shared file

    build "${RUN_PACKAGES[@]}" "${TEST_PACKAGES[@]}"
    test_nginx
    node_tools

    if [ $# = 0 ]; then
        say "unit tests"
        mkdir -p "$BUILD/unit"
        supervise make --no-print-directory -C "$ROOT/t/unit" O="$BUILD/unit" \
            CC="$CC" check driver

        say "src/evm against viem"
        export INTENT_EVM_DRIVER=$BUILD/unit/evm_driver
        supervise node "$ROOT/t/evm/compare.mjs"

        [ -n "${SANITIZE:-}" ] || { build_fuzzers; fuzz 60; }
    fi

    private_folder
    test_environment
    [ -z "${SANITIZE:-}" ] || sanitizer_environment

    if [ $# -gt 0 ]; then
        files=("$@")
    else
        files=("$ROOT/t/lib/selftest.t")
        for file in "$ROOT"/t/*.t; do
            [ ! -e "$file" ] || files+=("$file")
        done
    fi

    # Those of Test::Nginx share their services and its folder, so they come one
    # after the other; all others have their own, and mostly wait.

    say "tests"
    cd "$ROOT"
    shared=$(grep -lE '^use (Intent|Test::Nginx)\b' "${files[@]#"$ROOT"/}" | paste -sd , || true)
    supervise prove --timer -It/lib -j "${TEST_JOBS:-3}" \
        --rules "seq={$shared}" --rules 'par=**' "${files[@]#"$ROOT"/}"
    sanitizer_reports
}

# The fuzzers: src/evm by itself, and the bodies in an nginx whose main() gives
# way to libFuzzer's.

build_fuzzers() {
    local CC=clang out=$BUILD/fuzz flags runtime objects configure=./configure

    packages "${BUILD_PACKAGES[@]}" "${SOURCE_PACKAGES[@]}" clang:clang
    runtime=$(clang -dumpversion)
    packages "libclang-rt-${runtime%%.*}-dev"
    [ -n "${NGX_SRC:-}" ] || fetch_source

    flags="-g -O1 -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined"
    flags="$flags -fno-sanitize=nonnull-attribute,function -fno-sanitize-recover=undefined"

    build_lock
    mkdir -p "$out"
    cp -ru "$NGX_SRC/." "$out/source"
    [ -x "$out/source/configure" ] || configure=auto/configure

    cd "$out/source"
    configure "$out/objs" $configure --prefix="$out" --with-cc=clang \
        --builddir="$out/objs" --with-cc-opt="-O1 -DNGX_DEBUG_PALLOC=1" \
        --error-log-path=stderr --without-http_rewrite_module --without-pcre \
        --without-http_gzip_module --without-http_fastcgi_module \
        --without-http_uwsgi_module --without-http_scgi_module \
        --without-http_grpc_module --without-http_memcached_module \
        --add-module="$ROOT" --add-module="$ROOT/t/fuzz"

    # nginx itself is not looked at, but what it allocates is; its main() and
    # what else has that name get another

    say "building the fuzzers in ${out#"$ROOT"/}"
    mapfile -t objects < <(sed -n 's|^\([^ ]*/addon/[^ ]*\.o\):.*|\1|p' \
                               "$out/objs/Makefile")
    run_make -f "$out/objs/Makefile" "${objects[@]}" \
        CFLAGS="-pipe $flags -DNGX_DEBUG_PALLOC=1 -Dmain=nginx_main $WARNINGS"
    run_make -f "$out/objs/Makefile" binary LINK="clang -fsanitize=fuzzer,address,undefined" \
        CFLAGS="-pipe -g -O1 -fsanitize=address -DNGX_DEBUG_PALLOC=1 -Dmain=nginx_main"
    cp "$out/objs/nginx" "$out/body"

    cd "$ROOT"
    # shellcheck disable=SC2086
    clang $flags -fsanitize=fuzzer -std=gnu11 -Wall -Wextra -Werror -Isrc/evm \
        -o "$out/evm" t/fuzz/fuzz_evm.c src/evm/*.c -lsecp256k1 -lnettle
    # shellcheck disable=SC2086
    clang $flags -fsanitize=fuzzer -std=gnu11 -Wall -Wextra -Werror -Isrc/push \
        -o "$out/frame" t/fuzz/fuzz_frame.c src/push/ngx_http_intent_push_frame.c
    build_unlock
}

# fuzz SECONDS TARGET...: side by side; what is new goes into build/fuzz/corpus,
# what makes one fail into build/fuzz

fuzz() {
    local seconds=$1 target pids=() pid status=0; shift

    [ $# -gt 0 ] || set -- evm body frame

    for target in "$@"; do
        [ -x "$BUILD/fuzz/$target" ] || die "there is no fuzzer \"$target\""
        say "fuzzing $target for $seconds s"
        mkdir -p "$BUILD/fuzz/corpus/$target"
        setsid "$BUILD/fuzz/$target" -max_total_time="$seconds" -timeout=5 \
            -max_len=4096 -rss_limit_mb=2048 -verbosity=1 -print_final_stats=1 \
            -dict="$ROOT/t/fuzz/$target.dict" \
            -artifact_prefix="$BUILD/fuzz/$target-" \
            "$BUILD/fuzz/corpus/$target" "$ROOT/t/fuzz/corpus/$target" \
            </dev/null >"$BUILD/fuzz/$target.log" 2>&1 &
        pids+=($!)
    done

    for pid in "${pids[@]}"; do
        wait "$pid" || status=1
    done

    for target in "$@"; do
        grep -E 'stat::number_of_executed|stat::new_units|SUMMARY|not so' \
            "$BUILD/fuzz/$target.log" | sed "s/^/$target: /" || true
    done

    [ $status = 0 ] || die "a fuzzer found something: build/fuzz/*.log"
}

verb_fuzz() {
    build_fuzzers
    fuzz "${@:-600}"
}

verb_demo() {
    case ${1:-} in '' | --once) ;; *) usage ;; esac

    build "${RUN_PACKAGES[@]}"
    node_tools

    cd "$ROOT"
    exec perl -It/lib t/lib/demo.pl "$@"
}

# bench and soak: programs of their own, which start what they measure with
# t/lib/services.sh (in $INTENT_RUN) or IntentTest.pm

verb_run() {
    local program=$ROOT/t/$1/run; shift

    if [ ! -x "$program" ]; then
        say "there is no ${program#"$ROOT"/} yet; nothing to run"
        exit 0
    fi

    build "${RUN_PACKAGES[@]}" "${BENCH_PACKAGES[@]}"
    node_tools
    private_folder
    cd "$ROOT"
    supervise "$program" "$@"
}

main() {
    local verb

    [ $# -gt 0 ] || usage
    verb=$1; shift

    case $verb in
        build)        [ $# = 0 ] || usage; verb_build ;;
        demo)         verb_demo "$@" ;;
        test)         verb_test "$@" ;;
        fuzz)         verb_fuzz "$@" ;;
        bench | soak) verb_run "$verb" "$@" ;;
        clean)        rm -rf "$BUILD" ;;
        *)            usage ;;
    esac
}

# On one line: bash reads on in this file, which may have been edited meanwhile.

main "$@"; exit
