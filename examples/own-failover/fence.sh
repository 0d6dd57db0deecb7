#!/bin/sh
# fence.sh NAME: make sure that a server takes no write any more. Here by SIGKILL; elsewhere by its power switch.
. "$(dirname "$0")/common.sh"
alive "$1" || exit 0
kill -KILL "$(cat "$MY_SERVERS/$1/pid")"
gone() { ! alive "$1"; }
within 10 gone "$1" || fail "$1 still runs"
rm "$MY_SERVERS/$1/pid"
