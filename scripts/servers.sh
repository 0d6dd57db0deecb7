# Sourced by ./dev: the programs that tests and drills need. Where apt-get may be used they are installed; elsewhere these
# functions say what is missing and succeed, because the harness and the tests report it again (and fail without it where CI=true).
PLUGIN_DIRS="/usr/lib/mysql/plugin /usr/lib64/mysql/plugin /usr/lib64/mariadb/plugin /usr/lib/x86_64-linux-gnu/mariadb19/plugin"

say() { printf 'dev: %s\n' "$*" >&2; }
die() { say "$*"; exit 2; }
have() { command -v "$1" >/dev/null 2>&1; }
have_apt() { [ "$(id -u)" = 0 ] && have apt-get; }

UPDATED='' # the package lists are fetched once
apt_install() {
    if ! have_apt; then
        say "missing here, and no right to install it (as root: apt-get install $*)"
        return 1
    fi
    log=$(mktemp)
    say "installing $* with apt-get (about a minute)"
    [ -n "$UPDATED" ] || { apt-get update >"$log" 2>&1 && UPDATED=1; } || true # the installation says what cannot be found
    if ! DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" >>"$log" 2>&1
    then
        tail -n 20 "$log" >&2
        rm -f "$log"
        say "apt-get could not install $*"
        return 1
    fi
    rm -f "$log"
}

have_mariadb() {
    (PATH="$PATH:/usr/sbin:/usr/libexec" && have mariadbd) || return 1
    for dir in $PLUGIN_DIRS; do
        [ -e "$dir/handlersocket.so" ] && return 0
    done
    return 1
}

setup_mariadb() { have_mariadb || apt_install mariadb-server || true; }

setup_haproxy() { (PATH="$PATH:/usr/sbin" && have haproxy) || apt_install haproxy || true; }

setup_chromium() { have chromium || have chromium-browser || have google-chrome || apt_install chromium || true; }

# Debian 12 has only Redis, from which Valkey comes.
setup_valkey() { have valkey-server || have redis-server || apt_install valkey-server || apt_install redis-server || true; }

# mysqlclient is built from source, with these.
setup_client_headers() { have mariadb_config || apt_install libmariadb-dev pkg-config gcc python3-dev; }

# A container engine. Where none runs, start one; `end_started` ends it.
ENGINE='' ENGINE_LOG='' IMAGES=''
setup_engine() {
    if ! docker version >/dev/null 2>&1; then
        have dockerd || apt_install docker.io || return 0
        have docker || apt_install docker-cli || return 0
        start_engine || return 0
    fi
    have mmdebstrap || apt_install mmdebstrap || true # builds the base images that cannot be pulled
}

start_engine() {
    docker version >/dev/null 2>&1 && return # the installation may have started it
    say "starting dockerd"
    ENGINE_LOG=$(mktemp)
    # In its own session, so that Ctrl-C leaves it to the tests, which still need it. Without the rules for IPv6, which no server
    # here uses: dockerd starts two programs for each rule, thousands in a run of the tests.
    setsid dockerd --ip6tables=false >"$ENGINE_LOG" 2>&1 &
    ENGINE=$!
    tries=0
    until docker version >/dev/null 2>&1; do
        tries=$((tries + 1))
        if [ "$tries" -gt 120 ] || ! kill -0 "$ENGINE" 2>/dev/null; then
            say "dockerd did not start:"
            tail -n 5 "$ENGINE_LOG" >&2
            return 1
        fi
        sleep 0.5
    done
}

# Start providing the servers' images in the background; `await_images` waits for them.
start_images() {
    docker version >/dev/null 2>&1 || return 0
    (
        trap '[ -z "$child" ] || kill "$child" 2>/dev/null || true' EXIT
        trap 'exit 143' TERM
        for version in 10.11 11.8; do
            "$VENV/bin/hs-drill" cluster image --server-version "$version" &
            child=$!
            wait "$child"
        done
    ) &
    IMAGES=$!
}

await_images() {
    [ -z "$IMAGES" ] || wait "$IMAGES" || say "the images for containers could not be provided"
    IMAGES=
}

end_started() {
    for pid in $COMPILING $IMAGES $ENGINE; do # the engine last: the others may be using it
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    rm -f $ENGINE_LOG
}
