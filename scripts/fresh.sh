#!/usr/bin/env bash
# Prove that the project sets up a new machine: a Debian root made with
# debootstrap, with Go and nothing installed by hand, runs the
# project's own set-up, and then has every tool that a test or script calls.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "make fresh needs root" && exit 3; }
command -v debootstrap >/dev/null || apt-get install -qq --yes --no-install-recommends debootstrap

root=$(mktemp -d /var/tmp/harmony-fresh.XXXXXX)
clean() {
  for folder in dev/pts dev proc; do
    umount "$root/$folder" 2>/dev/null || true
  done
  # Nothing of the machine's own is removed: what is still mounted stays.
  grep -q " $root/" /proc/mounts || rm -rf --one-file-system "$root"
}
trap clean EXIT
trap 'exit 130' INT TERM
release=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
# shellcheck disable=SC2016 # apt-get's own variable
mirror=$(apt-get indextargets --format '$(REPO_URI)' "Codename: $release" | head -1)
debootstrap --variant=minbase --include=ca-certificates "$release" "$root" "$mirror" >"$root.log" 2>&1 ||
  { tail -20 "$root.log" && exit 1; }
rm -f "$root.log"
# The mirrors and proxies of this machine, as a new machine has its own.
cp -rL /etc/apt/sources.list* /etc/apt/apt.conf.d /etc/resolv.conf /etc/hosts "$root/tmp/"
(cd "$root/tmp" && cp -r sources.list* apt.conf.d ../etc/apt/ && cp resolv.conf hosts ../etc/)
mkdir -p "$root/usr/local" "$root/src/harmony"
cp -a "$(go env GOROOT)" "$root/usr/local/go"
git ls-files -z | xargs -0 cp --parents -t "$root/src/harmony"
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
mount --bind /dev/pts "$root/dev/pts"

settings=()
for name in GOPROXY GOSUMDB GONOSUMDB GOFLAGS GOINSECURE; do
  settings+=("$name=$(go env "$name")")
done
inside() {
  env -i HOME=/root PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "${settings[@]}" \
    chroot "$root" /bin/bash -c "cd /src/harmony && $1"
}
start=$SECONDS
inside 'go run ./test/cluster install bench'
echo "set up in $((SECONDS - start)) s"

# Programs by their names in Go code and in scripts, less those that the kit or
# the suite builds, that the code goes without, or that are words of a test.
built='kubectl|helm|buildkitd|buildctl|crane|ko|k3d|kind|harmony|harmony-.*|bench'
optional='rustc|cargo|debootstrap|security|wincred|osxkeychain'
missing=
for tool in $({
  git ls-files '*.go' | xargs grep -hoE '(exec\.Command(Context)?\((ctx, |t\.Context\(\), |context\.Background\(\), )?|LookPath\()"[a-z][a-z0-9-]+"' | grep -oE '"[^"]+"' | tr -d '"'
  cat <<<"apt-get bash cat chroot cmp cp env expand find grep head install mktemp sed sha256sum sort tail tput tr umount xargs gofmt shellcheck make ip iptables mount nsenter containerd docker dockerd docker-registry redis-server skopeo sshd ssh podman python3 jq xz busybox gcc setpriv unshare"
} | sort -u); do
  if [[ ! $tool =~ ^($built|$optional)$ ]] && ! inside "command -v $tool" >/dev/null; then
    missing="$missing $tool"
  fi
done
[ -z "$missing" ] || { echo "missing after the set-up:$missing" && exit 1; }
echo "every tool is there"
