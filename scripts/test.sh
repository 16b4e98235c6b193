#!/usr/bin/env bash
# The one test command. It brings up a real cluster first, where this machine can
# run one, and takes it away again unless it was up before.
set -euo pipefail
cd "$(dirname "$0")/.."

# Nobody debugs what is built here: without DWARF it takes a quarter less time.
export GOFLAGS="${GOFLAGS:-} -gcflags=all=-dwarf=false -ldflags=-w"

gotestsum=gotest.tools/gotestsum@v1.13.0
ci=${CI:-}

can_run_cluster() {
  [ "${CLUSTER:-}" = current ] || { [ "$(uname -s)" = Linux ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }
}

trap 'exit 130' INT TERM
if can_run_cluster; then
  # With a cluster of the user's, the tools are the user's as well.
  go run ./test/cluster install test || [ "${CLUSTER:-}" = current ]
fi
scripts/lint.sh
if can_run_cluster; then
  if ! go run ./test/cluster status >/dev/null 2>&1 && [ "${CLUSTER:-}" != current ]; then
    trap 'go run ./test/cluster down' EXIT
  fi
  go run ./test/cluster up test
  settings=$(go run ./test/cluster env)
  eval "$settings"
  # With CLUSTER=current these are the user's own; tests of what is missing are skipped.
  HARMONY_TEST_KUBECONFIG=${KUBECONFIG:-$HOME/.kube/config}
  HARMONY_TEST_REGISTRY=${HARMONY_REGISTRY:-}
  HARMONY_TEST_DOCKER=${DOCKER_HOST:-}
  HARMONY_TEST_HELM=$(command -v helm || true)
  HARMONY_TEST_BUILDKITD=$(command -v buildkitd || true)
  HARMONY_TEST_BUILDCTL=$(command -v buildctl || true)
  HARMONY_TEST_SOPS=$(command -v sops || true)
  export HARMONY_TEST_SOPS HARMONY_TEST_KUBECONFIG HARMONY_TEST_REGISTRY HARMONY_TEST_DOCKER
  export HARMONY_TEST_HELM HARMONY_TEST_BUILDKITD HARMONY_TEST_BUILDCTL
fi
unset HARMONY_REGISTRY HARMONY_TOPOLOGY KUBECONFIG DOCKER_HOST

log=$(mktemp)
run() {
  go run "$gotestsum" --format pkgname-and-test-fails --jsonfile "$log.part" -- -timeout 20m "$@" || failed=1
  cat "$log.part" >>"$log" && rm "$log.part"
}

failed=
export CI=$ci
CGO_ENABLED=1 run -race ./pkg/... ./internal/pipeline ./internal/cli/term ./internal/plugins/discovery ./internal/cli/process ./internal/plugins/process ./internal/publish/charts ./cmd/harmony
run ./...
for module in examples/fleet examples/fleet/harmony-fleet examples/dockerfile; do
  (cd "$module" && go test ./...) || failed=1
done

# On CI a test that is skipped is a failure, but for seeds of fuzz targets, and
# for what needs the Rust toolchain of the machine.
if [ "$ci" = true ]; then
  if grep '"Action":"skip"' "$log" | grep -oE '"Package":"[^"]*","Test":"[^"]*"' | grep -vE '"Test":"(Fuzz|TestRust)'; then
    echo "these tests were skipped; on CI that is a failure"
    failed=1
  fi
fi
skipped=$(grep -c '"Action":"output".*needs the test cluster' "$log" || true)
rm -f "$log"
if [ "$skipped" -gt 0 ]; then
  echo
  echo "!!! $skipped CLUSTER TESTS WERE SKIPPED: this machine runs no test cluster (it takes root on Debian, or CLUSTER=current) !!!"
fi
[ -z "$failed" ]
