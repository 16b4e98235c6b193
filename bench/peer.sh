#!/usr/bin/env bash
# What people write without harmony: peer.sh "APP..." "NAMESPACE..."
# in a copy of examples/fleet, with DOCKER and HARMONY_REGISTRY set.
set -euo pipefail
read -ra apps <<<"$1"
read -ra namespaces <<<"$2"
tag=$(git rev-parse --short HEAD)-$(git diff | sha256sum | head -c 12)
image() { echo "$HARMONY_REGISTRY/bench-peer/$1:$tag"; }

for app in "${apps[@]}"; do
  CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags='-s -w' -o "out/$app/app" "./cmd/$app"
  "$DOCKER" build --quiet --file Dockerfile --tag "$(image "$app")" "out/$app"
  "$DOCKER" push --quiet "$(image "$app")"
done
for namespace in "${namespaces[@]}"; do
  for app in "${apps[@]}"; do
    values=()
    [[ $namespace != *-production ]] || values=(--values "charts/$app/production.yaml")
    helm upgrade --install --wait --create-namespace --namespace "$namespace" "fleet-$app" "charts/$app" \
      --set "image=$(image "$app")" "${values[@]}"
  done
done
