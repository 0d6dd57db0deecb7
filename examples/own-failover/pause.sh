#!/bin/sh
# pause.sh NAME: the server accepts connections and answers nothing, as when its machine swaps, or its disk hangs.
. "$(dirname "$0")/common.sh"
kill -STOP "$(cat "$MY_SERVERS/$1/pid")"
