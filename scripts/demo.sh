#!/usr/bin/env bash
# Release the three apps of examples/fleet to staging and production of a real
# cluster: the kit's own, or with CLUSTER=current that of your kube context.
set -euo pipefail
cd "$(dirname "$0")/.."

bold=$(tput bold 2>/dev/null || true)
plain=$(tput sgr0 2>/dev/null || true)
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
run() {
  say "\$ $*"
  "$@"
}

say "A cluster: Kubernetes, containerd and a registry on this machine (20 seconds, after the builds that it names)"
go run ./test/cluster up
settings=$(go run ./test/cluster env)
eval "$settings"
PATH=$PWD/bin:$PATH
export PATH

bin=$PWD/bin
cd examples/fleet
run harmony plan --all
run harmony release --all --output text
run harmony status
run kubectl get pods --namespace fleet-production
run kubectl get --raw /api/v1/namespaces/fleet-production/services/http:fleet-operator:8080/proxy/devices

cat <<END

${bold}Look around${plain} (in a shell of your own)
  eval "\$(go run ./test/cluster env)"; export PATH="$bin:\$PATH"
  kubectl get pods --all-namespaces
  harmony diff fleet-operator --target production
  cd examples/fleet && harmony release --all     # once more: everything is unchanged

${bold}Clean up${plain}
  make cluster-down
END
