#!/bin/sh
# follow.sh NAME PRIMARY: replicate from this primary, and acknowledge what is fetched.
. "$(dirname "$0")/common.sh"
sql "$1" "STOP SLAVE; SET GLOBAL rpl_semi_sync_slave_enabled=1;
    CHANGE MASTER TO master_port=$(port_of "$2"), $(cat "$MY_SERVERS/repl.sql"); START SLAVE"
follows() { [ "$(replica "$1" 'Slave_[IS][OQ]L*_Running' | xargs)" = "Yes Yes" ]; }
within 5 follows "$1" || fail "$1 does not replicate from $2: $(replica "$1" Last_IO_Error) $(replica "$1" Last_SQL_Error)"
