#!/bin/sh
# reset.sh [async|semisync]: bring back all servers as servers.sh made them, to rehearse again.
here=$(dirname "$(readlink -f "$0")")
. "$here/common.sh"
[ $# = 0 ] || echo "$1" >"$MY_SERVERS/replication"
for name in $(names); do "$here/fence.sh" "$name"; done
for name in $(names); do
    rm -r "$MY_SERVERS/$name/data"
    cp -a "$MY_SERVERS/$name/backup" "$MY_SERVERS/$name/data"
    sed -i 's/^server-id = [10]*\([0-9]\)$/server-id = \1/' "$MY_SERVERS/$name/my.cnf"
    echo "$name" 1<>"$MY_SERVERS/control"
done
for name in $(names); do "$here/start.sh" "$name"; done
"$here/open.sh" "$(names | head -1)"
