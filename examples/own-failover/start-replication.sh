#!/bin/sh
# start-replication.sh NAME: go on. A server that was promoted meanwhile has nothing to go on with.
. "$(dirname "$0")/common.sh"
[ -z "$(replica "$1" Master_Host)" ] || sql "$1" "START SLAVE"
