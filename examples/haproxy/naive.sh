#!/bin/sh
# The naive failover: when the primary has not answered three times in a row, the replica takes its place.
. "$(dirname "$(readlink -f "$0")")/../own-failover/common.sh"
primary=$(names | head -1)
replica=$(names | tail -1)

failed=0
until [ "$failed" = 3 ]; do
    sleep 0.5
    if PATIENCE=5 sql "$primary" "DO 1" 2>/dev/null; then failed=0; else failed=$((failed + 1)); fi
done
sql "$replica" "STOP SLAVE; RESET SLAVE ALL; SET GLOBAL read_only=0"
echo "$replica is the primary now"
