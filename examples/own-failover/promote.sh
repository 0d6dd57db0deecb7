#!/bin/sh
# promote.sh NAME [unfenced]: fence the primary, and let NAME take its place.
here=$(dirname "$(readlink -f "$0")")
. "$here/common.sh"
old=$(cat "$MY_SERVERS/primary")
[ "$old" != "$1" ] || fail "$1 is the primary"
[ -n "$(replica "$1" Master_Host)" ] || fail "$1 is no replica"
# Unfenced, the old primary stays as it is. That is how two servers come to take writes.
[ "${2:-}" = unfenced ] || "$here/fence.sh" "$old"

# Apply what was fetched. Don't stop the applying with the fetching: that would discard it.
sql "$1" "STOP SLAVE IO_THREAD"
fetched=$(replica "$1" Gtid_IO_Pos)
[ "$(sql "$1" "SELECT MASTER_GTID_WAIT('$fetched', 15)")" = 0 ] || fail "$1 does not apply what it has fetched"
sql "$1" "STOP SLAVE; RESET SLAVE ALL"

for name in $(names); do
    [ "$name" != "$1" ] && [ "$name" != "$old" ] && [ -n "$(PATIENCE=3 replica "$name" Master_Host)" ] || continue
    "$here/follow.sh" "$name" "$1" || echo "$name does not follow $1" >&2
done
"$here/open.sh" "$1"
