#!/bin/sh
# stop-replication.sh NAME...: fetch nothing more from the primary.
. "$(dirname "$0")/common.sh"
for name; do sql "$name" "STOP SLAVE IO_THREAD"; done
