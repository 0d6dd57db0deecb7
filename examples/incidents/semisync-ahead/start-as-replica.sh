#!/bin/sh
# start-as-replica.sh NAME: start a former primary that crashed. It takes back what is in its binary log and not committed in its
# engine: with AFTER_SYNC these are the transactions that no replica has acknowledged.
others=$(dirname "$(readlink -f "$0")")/../../own-failover
. "$others/common.sh"
sed -i '/^init-rpl-role/d' "$MY_SERVERS/$1/my.cnf"
echo "init-rpl-role = SLAVE" >>"$MY_SERVERS/$1/my.cnf"
"$others/start.sh" "$1"
# Not when it is started as the primary that it may be by then: that would take back what its replicas have.
sed -i '/^init-rpl-role/d' "$MY_SERVERS/$1/my.cnf"
