# Read by the other scripts: which servers there are, and how to ask one.
set -eu
: "${MY_SERVERS:?must be the directory of the servers}"

names() { while read -r name _; do case $name in '' | '#'*) ;; *) echo "$name" ;; esac; done <"$MY_SERVERS/servers.conf"; }
port_of() { while read -r name port _; do [ "$name" != "$1" ] || echo "$port"; done <"$MY_SERVERS/servers.conf"; }
fail() { echo "$*" >&2; exit 1; }

# client NAME OPTIONS: a server that hangs fails after a while, as one that is down does at once.
client() {
    port=$(port_of "$1"); shift
    timeout "${PATIENCE:-20}" mariadb --defaults-file="$MY_SERVERS/client.cnf" --connect-timeout=2 --port="$port" "$@"
}

# sql NAME STATEMENTS: one line for each row
sql() { client "$1" --batch --skip-column-names --execute="$2"; }

# replica NAME FIELD: a field of SHOW SLAVE STATUS; empty on a server that is no replica
replica() { client "$1" --execute='SHOW SLAVE STATUS\G' | sed -n "s/^ *$2: //p"; }

# alive NAME: whether its process runs. Another one may have got its number since.
alive() {
    pid=$(cat "$MY_SERVERS/$1/pid" 2>/dev/null) || return 1
    tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF "$MY_SERVERS/$1/my.cnf "
}

# within SECONDS COMMAND...: repeat the command until it succeeds
within() {
    deadline=$(($(date +%s) + $1)); shift
    until "$@" 2>/dev/null; do
        [ "$(date +%s)" -le $deadline ] || return 1
        sleep 0.1
    done
}
