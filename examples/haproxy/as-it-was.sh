#!/bin/sh
# as-it-was.sh NAME: start a server that is down, open for writes. So does systemd, if no read_only=1 is in its configuration.
here=$(dirname "$(readlink -f "$0")")
. "$here/../own-failover/common.sh"
sed -i 's/^read-only = 1$/read-only = 0/' "$MY_SERVERS/$1/my.cnf"
trap 'sed -i "s/^read-only = 0$/read-only = 1/" "$MY_SERVERS/$1/my.cnf"' EXIT
"$here/../own-failover/start.sh" "$1"
