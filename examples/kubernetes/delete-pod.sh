#!/bin/sh
# delete-pod.sh HOST: end a server at once, as when its node dies. Its StatefulSet makes a new pod with the same name and data.
set -eu
kubectl delete pod "${1%%.*}" --grace-period=0 --force
