#!/usr/bin/env bash
# What a reader need not check, fastest first: formatting, scripts, generated
# files, the plugin index, vet and staticcheck, and known vulnerabilities where
# their database can be reached.
set -euo pipefail
cd "$(dirname "$0")/.."

staticcheck=honnef.co/go/tools/cmd/staticcheck@v0.8.0
govulncheck=golang.org/x/vuln/cmd/govulncheck@v1.8.0

# If this cannot install what is missing, it says what to install.
go run ./test/cluster install lint || command -v git shellcheck >/dev/null

unformatted=$(git ls-files '*.go' | xargs gofmt -l)
if [ -n "$unformatted" ]; then
  echo "gofmt would change:" && echo "$unformatted"
  exit 1
fi
git ls-files '*.sh' .ci/run | xargs shellcheck
echo "generated files"
schemas=$(mktemp -d)
trap 'rm -rf "$schemas"' EXIT
cp schemas/*.json "$schemas"
go run ./schemas/generate
for file in schemas/*.json; do
  cmp "$file" "$schemas/${file##*/}" || { echo "$file was out of date: commit the output of 'make generate'"; exit 1; }
done
echo "plugin index"
go run ./scripts/dist check
for module in . examples/fleet examples/fleet/harmony-fleet examples/dockerfile; do
  echo "vet and staticcheck: $module"
  (cd "$module" && go vet ./... && go run "$staticcheck" ./...)
done
# The database of vulnerabilities is a service that not every machine reaches.
if report=$(go run "$govulncheck" ./... 2>&1); then
  echo "govulncheck: the code calls no known vulnerability"
elif grep -q '^Vulnerability #' <<<"$report"; then
  echo "$report"
  exit 1
else
  echo "govulncheck: its database cannot be reached from here, skipped"
fi
