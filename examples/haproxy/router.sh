#!/bin/bash
# router.sh naive|mended: HAProxy and the script that fails over, until this script ends.
here=$(dirname "$(readlink -f "$0")")
. "$here/../own-failover/common.sh"
PATH=$PATH:/usr/sbin
# HAProxy runs a check without our environment.
printf '#!/bin/sh\nMY_SERVERS=%q exec %q\n' "$MY_SERVERS" "$here/takes-writes.sh" >"$MY_SERVERS/check"
chmod +x "$MY_SERVERS/check"
trap 'kill $(jobs -p) 2>/dev/null' EXIT
trap 'exit' INT TERM HUP
setpriv --pdeathsig KILL haproxy -db -f "$here/$1.cfg" &
setpriv --pdeathsig KILL "$here/$1.sh" &
wait
