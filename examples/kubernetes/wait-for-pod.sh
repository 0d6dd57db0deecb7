#!/bin/sh
# wait-for-pod.sh HOST: wait until the server's pod is there again, and ready.
set -eu
pod=${1%%.*}
# There may be no pod of this name yet: kubectl wait fails then.
until kubectl get pod "$pod" >/dev/null 2>&1; do sleep 1; done
kubectl wait --for=condition=Ready "pod/$pod" --timeout=240s
