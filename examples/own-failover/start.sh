#!/bin/sh
# start.sh NAME: start a server that is down. It is read-only, whatever it was before. A server that runs is left as it is.
. "$(dirname "$0")/common.sh"
alive "$1" || echo "$1" 1<>"$MY_SERVERS/control"
up() { [ "$(sql "$1" "SELECT plugin_status FROM information_schema.plugins WHERE plugin_name = 'handlersocket'")" = ACTIVE ]; }
within 25 up "$1" || fail "$1 does not start: $(tail -1 "$MY_SERVERS/$1/log")"
