#!/bin/sh
# kill.sh NAME: SIGKILL, as when the power fails.
. "$(dirname "$0")/common.sh"
alive "$1" || fail "$1 is not running"
kill -KILL "$(cat "$MY_SERVERS/$1/pid")"
gone() { ! alive "$1"; }
within 10 gone "$1" || fail "$1 still runs"
rm "$MY_SERVERS/$1/pid"
