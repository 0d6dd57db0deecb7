#!/bin/sh
# rejoin.sh NAME: make a former primary a replica, from where the new primary took over. It does not ask whether it has more.
others=$(dirname "$(readlink -f "$0")")/../../own-failover
. "$others/common.sh"
primary=$(cat "$MY_SERVERS/primary")
"$others/start.sh" "$1"
# On the new primary this stays the last transaction that it had replicated before it was promoted.
elected=$(sql "$primary" "SELECT @@gtid_slave_pos")
sql "$1" "SET GLOBAL rpl_semi_sync_master_enabled=0; STOP SLAVE; RESET MASTER; SET GLOBAL gtid_slave_pos='$elected'"
"$others/follow.sh" "$1" "$primary"
