#!/bin/sh
# The mended failover: it makes sure that the old primary takes no more writes, and that the replica has all of them.
here=$(dirname "$(readlink -f "$0")")
. "$here/../own-failover/common.sh"
primary=$(names | head -1)
replica=$(names | tail -1)

failed=0
until [ "$failed" = 3 ]; do
    sleep 0.5
    if PATIENCE=5 sql "$primary" "DO 1" 2>/dev/null; then failed=0; else failed=$((failed + 1)); fi
done

# 1. The old primary may only be slow. It must be gone before another one takes its place. If that fails, this script ends.
"$here/../own-failover/fence.sh" "$primary"

# 2. The replica may have fetched more than it has applied, and RESET SLAVE would discard that.
sql "$replica" "STOP SLAVE IO_THREAD"
fetched=$(replica "$replica" Gtid_IO_Pos)
[ "$(sql "$replica" "SELECT MASTER_GTID_WAIT('$fetched', 15)")" = 0 ] || fail "$replica does not apply what it has fetched"

# 3. Now it may take writes. HAProxy sees that by itself.
sql "$replica" "STOP SLAVE; RESET SLAVE ALL; SET GLOBAL read_only=0"
echo "$replica is the primary now"
