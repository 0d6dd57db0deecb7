#!/bin/sh
# resume.sh NAME: end a pause.
. "$(dirname "$0")/common.sh"
kill -CONT "$(cat "$MY_SERVERS/$1/pid")"
