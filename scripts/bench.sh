#!/usr/bin/env bash
# Measure the suite and its peers, on a real cluster with a Docker daemon:
# scripts/bench.sh [-quick] [-only dispatch,start,change,noop,build,push,deploy,takeback,checks,monorepo,list]
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

# Targets with many clusters, simulated: the growth of time and memory up to 500.
case " $* " in
*" -only "*) ;;
*) go test -run '^$' -bench Fleet -benchtime 5x ./internal/deploy/fan ;;
esac
