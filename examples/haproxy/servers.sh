#!/bin/sh
# Start the two servers of servers.conf in the directory $MY_SERVERS, as ../own-failover does, and keep them until this script ends.
here=$(dirname "$(readlink -f "$0")")
mkdir -p "$MY_SERVERS" && cp "$here/servers.conf" "$MY_SERVERS" || exit
exec "$here/../own-failover/servers.sh" semisync
