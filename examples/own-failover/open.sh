#!/bin/sh
# open.sh NAME: let a server take writes that replicates from nobody, and record that it is the primary.
. "$(dirname "$0")/common.sh"
# Not before a replica is attached that acknowledges: the first commit would wait for one.
[ "$(cat "$MY_SERVERS/replication")" != semisync ] || sql "$1" "SET GLOBAL rpl_semi_sync_master_enabled=1"
sql "$1" "SET GLOBAL read_only=0"
echo "$1" >"$MY_SERVERS/primary"
