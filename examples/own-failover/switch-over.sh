#!/bin/sh
# switch-over.sh NAME: planned. The primary ends when its replicas have everything; NAME takes its place; it comes back.
here=$(dirname "$(readlink -f "$0")")
. "$here/common.sh"
old=$(cat "$MY_SERVERS/primary")
[ "$old" != "$1" ] || fail "$1 is the primary"
sql "$old" "UNINSTALL PLUGIN IF EXISTS handlersocket"
sql "$old" "SHUTDOWN WAIT FOR ALL SLAVES"
gone() { ! alive "$1"; }
within 30 gone "$old" || fail "$old still runs"
"$here/promote.sh" "$1"
"$here/rejoin.sh" "$old"
