#!/bin/sh
# switch-over.sh HOST: let the operator make this server the primary, as planned. The object's name is that of the pods.
set -eu
pod=${1%%.*}
kubectl patch mariadb "${pod%-*}" --type=merge \
    --patch="{\"spec\":{\"replication\":{\"primary\":{\"podIndex\":${pod##*-}}}}}"
