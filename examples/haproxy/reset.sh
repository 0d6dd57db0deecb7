#!/bin/sh
# reset.sh: bring back both servers as servers.sh made them, to rehearse again.
exec "$(dirname "$(readlink -f "$0")")/../own-failover/reset.sh" semisync
