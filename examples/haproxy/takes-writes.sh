#!/bin/sh
# HAProxy's check of a server, which it names in its environment: healthy is the server that takes writes.
. "$(dirname "$(readlink -f "$0")")/../own-failover/common.sh"
[ "$(PATIENCE=2 sql "$HAPROXY_SERVER_NAME" "SELECT @@read_only")" = 0 ]
