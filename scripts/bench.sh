#!/usr/bin/env bash
# Measure the suite beside its peers, on a real cluster with a Docker daemon:
# scripts/bench.sh [-quick] [-only dispatch,start,change,noop,build,push]
set -euo pipefail
cd "$(dirname "$0")/.."

make build
go run ./test/cluster up bench
settings=$(go run ./test/cluster env)
eval "$settings"
PATH=$PWD/bin:$PATH
export PATH

tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
go build -o "$tools/bench" ./bench
"$tools/bench" "$@"
