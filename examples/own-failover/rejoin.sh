#!/bin/sh
# rejoin.sh NAME: make a former primary a replica. If it has writes that the new primary lacks, they are given up: its backup is
# brought back, and gets everything since from the new primary.
here=$(dirname "$(readlink -f "$0")")
. "$here/common.sh"
primary=$(cat "$MY_SERVERS/primary")
[ "$primary" != "$1" ] || fail "$1 is the primary"
# While HandlerSocket's clients are connected, SET GLOBAL read_only=1 waits. A server that was restarted is read-only already.
alive "$1" && [ "$(PATIENCE=3 sql "$1" "SELECT @@read_only")" = 1 ] || "$here/fence.sh" "$1"
"$here/start.sh" "$1"
sql "$1" "SET GLOBAL rpl_semi_sync_master_enabled=0; STOP SLAVE; SET GLOBAL gtid_slave_pos=@@gtid_binlog_pos"
"$here/follow.sh" "$1" "$primary" && exit
"$here/fence.sh" "$1"
cd "$MY_SERVERS/$1"
rm -r data && cp -a backup data
# A replica skips what has its own server id. So under the old one it would skip what it had written itself since the backup.
sed -i 's/^server-id = \([0-9]*\)$/server-id = 10\1/' my.cnf
"$here/start.sh" "$1"
sql "$1" "STOP SLAVE; SET GLOBAL gtid_slave_pos=@@gtid_binlog_pos"
"$here/follow.sh" "$1" "$primary"
