#!/bin/sh
# stop.sh NAME: an orderly shutdown. HandlerSocket ends first, or the shutdown may lose acknowledged writes: docs/replication.md.
. "$(dirname "$0")/common.sh"
sql "$1" "UNINSTALL PLUGIN IF EXISTS handlersocket"
sql "$1" "SHUTDOWN"
gone() { ! alive "$1"; }
within 30 gone "$1" || fail "$1 still runs"
