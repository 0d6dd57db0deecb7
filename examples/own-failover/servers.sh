#!/bin/bash
# Start the servers of servers.conf in the directory $MY_SERVERS, replicating from the first one, and keep them until this script
# ends. It stands for what your servers have already, and for systemd: start.sh asks it to start a server again.
#
#   MY_SERVERS=/tmp/mine ./servers.sh [async|semisync]
#
# HandlerSocket's writes go through a FEDERATED twin, or they would not replicate: docs/replication.md.
here=$(dirname "$(readlink -f "$0")")
mkdir -p "$MY_SERVERS" && chmod 755 "$MY_SERVERS" && cd "$MY_SERVERS" || exit
[ -e servers.conf ] || cp "$here/servers.conf" .
. "$here/common.sh"
[ ! -e client.cnf ] || fail "$MY_SERVERS has servers already: remove it before you start others there"
PATH=$PATH:/usr/sbin
echo "${1:-semisync}" >replication
secret() { od -An -N12 -tx1 /dev/urandom | tr -d ' \n'; }
admin=$(secret) repl=$(secret) drill=$(secret) load=$(secret) self=$(secret) read=$(secret) write=$(secret)

umask 077
cat >client.cnf <<EOF
[client]
protocol = tcp
host = 127.0.0.1
user = admin
password = $admin
EOF
cat >repl.sql <<EOF
master_host='127.0.0.1', master_user='repl', master_password='$repl', master_use_gtid=slave_pos, master_connect_retry=1
EOF
# What the harness needs to know: . \$MY_SERVERS/env
cat >env <<EOF
export MY_SERVERS='$MY_SERVERS'
export TRIO_HS_READ_SECRET=$read TRIO_HS_WRITE_SECRET=$write
export TRIO_HS_SQL_USER=drill TRIO_HS_SQL_PASSWORD=$drill TRIO_HS_LOAD_USER=app TRIO_HS_LOAD_PASSWORD=$load
EOF
# At each start, before a server takes connections. The run's account has the privileges of docs/scenarios.md, and no more.
cat >accounts.sql <<EOF
SET sql_log_bin=0;
CREATE USER IF NOT EXISTS admin@127.0.0.1 IDENTIFIED BY '$admin';
GRANT ALL PRIVILEGES ON *.* TO admin@127.0.0.1;
CREATE USER IF NOT EXISTS repl@127.0.0.1 IDENTIFIED BY '$repl';
GRANT REPLICATION SLAVE ON *.* TO repl@127.0.0.1;
CREATE USER IF NOT EXISTS drill@127.0.0.1 IDENTIFIED BY '$drill';
GRANT PROCESS, SLAVE MONITOR, BINLOG MONITOR ON *.* TO drill@127.0.0.1;
GRANT SELECT, INSERT ON drill.* TO drill@127.0.0.1;
GRANT SELECT ON drill_wt.* TO drill@127.0.0.1;
CREATE USER IF NOT EXISTS app@127.0.0.1 IDENTIFIED BY '$load';
GRANT SELECT, INSERT, UPDATE, DELETE ON drill.* TO app@127.0.0.1;
CREATE USER IF NOT EXISTS self_drill@127.0.0.1 IDENTIFIED BY '$self';
GRANT SELECT, INSERT, UPDATE, DELETE ON drill.* TO self_drill@127.0.0.1;
EOF

configuration() { # NAME ID SQL READ WRITE
    [ "$(id -u)" != 0 ] || as_root="user = root"
    cat <<EOF
[mariadbd]
${as_root:-}
datadir = $MY_SERVERS/$1/data
init-file = $MY_SERVERS/accounts.sql
socket = sql.sock
pid-file = server.pid
bind-address = 127.0.0.1
port = $3
skip-name-resolve
# Only a promotion opens a server to writes, whatever it was before it was restarted.
read-only = 1
server-id = $2
log-bin = binlog
log-slave-updates
binlog-format = ROW
gtid-strict-mode
sync-binlog = 1
innodb-flush-log-at-trx-commit = 1
slave-net-timeout = 10
# A primary is made to wait for a replica by promote.sh. It waits for no other than these, so one of them has every write.
rpl-semi-sync-slave-enabled = $([ "$2" -gt 2 ] && echo 0 || echo 1)
rpl-semi-sync-master-timeout = 86400000
# How long STOP SLAVE may wait for a primary that does not answer.
rpl-semi-sync-slave-kill-conn-timeout = 1
rpl-semi-sync-master-wait-point = AFTER_SYNC
plugin-maturity = beta
plugin-load-add = handlersocket.so
plugin-load-add = ha_federatedx.so
handlersocket-address = 127.0.0.1
handlersocket-port = $4
handlersocket-port-wr = $5
handlersocket-plain-secret = $read
handlersocket-plain-secret-wr = $write
handlersocket-threads-wr = 1
handlersocket-threads = 2
handlersocket-verbose = 0
innodb-log-file-size = 32M
innodb-buffer-pool-size = 64M
performance-schema = OFF
EOF
}

run() { # NAME: its process ends with this script, however that ends
    setpriv --pdeathsig KILL mariadbd --defaults-file="$MY_SERVERS/$1/my.cnf" >>"$MY_SERVERS/$1/log" 2>&1 &
    echo $! >"$MY_SERVERS/$1/pid"
}

echo "creating the servers in $MY_SERVERS"
mariadb-install-db --no-defaults --datadir="$MY_SERVERS/template" --force --skip-test-db --skip-name-resolve \
    --innodb-log-file-size=32M --tmpdir="$MY_SERVERS" >install.log 2>&1 || { grep -m 3 ERROR install.log >&2; fail "see $MY_SERVERS/install.log"; }
id=0
for name in $(names); do
    id=$((id + 1))
    mkdir -p "$name" && cp -a template "$name/data"
    # shellcheck disable=SC2046
    configuration "$name" $id $(awk -v name="$name" '$1 == name { print $2, $3, $4 }' servers.conf) >"$name/my.cnf"
    run "$name"
done
rm -r template
trap 'kill -KILL $(jobs -p) 2>/dev/null' EXIT
trap 'exit' INT TERM HUP

first=$(names | head -1)
for name in $(names); do
    within 60 sql "$name" "DO 1" || fail "$name does not start: see $MY_SERVERS/$name/log"
    [ "$name" = "$first" ] || sql "$name" "CHANGE MASTER TO master_port=$(port_of "$first"), $(cat repl.sql); START SLAVE"
done
columns="id BIGINT NOT NULL, grp INT NOT NULL, n BIGINT NOT NULL DEFAULT 0,
    payload VARCHAR(100) CHARACTER SET latin1 NOT NULL, PRIMARY KEY (id), KEY grp (grp, id)"
sql "$first" "CREATE DATABASE drill; CREATE TABLE drill.t ($columns) ENGINE=InnoDB;
    CREATE DATABASE shop; CREATE TABLE shop.orders (id INT PRIMARY KEY, what VARCHAR(20));
    INSERT INTO shop.orders SELECT seq, CONCAT('order ', seq) FROM shop.seq_1_to_1000"
everything=$(sql "$first" "SELECT @@gtid_binlog_pos")
for name in $(names); do
    [ "$name" = "$first" ] || [ "$(sql "$name" "SELECT MASTER_GTID_WAIT('$everything', 30)")" = 0 ] ||
        fail "$name does not replicate"
    sql "$name" "SET sql_log_bin=0; CREATE DATABASE drill_wt;
        CREATE SERVER self_drill FOREIGN DATA WRAPPER mysql
            OPTIONS (HOST '127.0.0.1', PORT $(port_of "$name"), USER 'self_drill', PASSWORD '$self', DATABASE 'drill');
        CREATE TABLE drill_wt.t ($columns) ENGINE=FEDERATED CONNECTION='self_drill/t'"
done
# Last night's backup: rejoin.sh brings it back where an old primary has writes that nobody else has.
for name in $(names); do sql "$name" "SHUTDOWN"; done
wait
for name in $(names); do cp -a "$name/data" "$name/backup" && run "$name"; done
for name in $(names); do within 60 sql "$name" "DO 1" || fail "$name does not start: see $MY_SERVERS/$name/log"; done
"$here/open.sh" "$first"

mkfifo control
echo "the servers are up: . $MY_SERVERS/env"
while read -r name <>control; do run "$name"; done
