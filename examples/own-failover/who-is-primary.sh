#!/bin/sh
# Print the name of the primary, as the last promotion recorded it.
. "$(dirname "$0")/common.sh"
cat "$MY_SERVERS/primary"
