#!/bin/sh
# stop-replication.sh NAME: fetch nothing more from the primary.
. "$(dirname "$0")/common.sh"
sql "$1" "STOP SLAVE IO_THREAD"
