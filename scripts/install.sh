#!/usr/bin/env bash
# Install the suite: scripts/install.sh [FOLDER]
# Copies the binaries in FOLDER, or builds them first, into $PREFIX/bin (default
# ~/.local/bin). All of them or none: a partial install is refused.
set -euo pipefail

commands=(harmony harmony-build harmony-publish harmony-chart harmony-deploy harmony-smoke harmony-monitor harmony-registry harmony-devices harmony-plugin)
source_folder=${1:-}
target=${PREFIX:-$HOME/.local}/bin

fail() {
  echo "install.sh: $*" >&2
  exit 1
}

if [ -z "$source_folder" ]; then
  cd "$(dirname "$0")/.."
  command -v go >/dev/null || fail "no go on PATH; install Go 1.26 or later, or name a folder with the binaries"
  make build
  source_folder=bin
fi

# Every binary is there and of one version before anything is copied.
version=
for command in "${commands[@]}"; do
  file=$source_folder/$command
  if [ ! -f "$file" ] || [ ! -x "$file" ]; then
    fail "$file is missing: nothing was installed"
  fi
  if [ "$command" = harmony ]; then
    this=$("$file" version | awk '{print $2}') || fail "$file does not run here: nothing was installed"
  else
    this=$("$file" version) || fail "$file does not run here: nothing was installed"
  fi
  [ -n "$this" ] || fail "$file does not report its version: nothing was installed"
  [ "${version:=$this}" = "$this" ] || fail "$file is of version $this, harmony of $version: nothing was installed"
done

# harmony refuses plugins in a folder that others can write, whatever the umask is.
[ -d "$target" ] || install -d -m 755 "$target" || fail "cannot make $target: nothing was installed"
for command in "${commands[@]}"; do
  [ ! -d "$target/$command" ] || fail "$target/$command is a folder: nothing was installed"
done
new=$(mktemp -d "$target/.harmony-install.XXXXXX") || fail "cannot write to $target: nothing was installed"
trap 'rm -rf "$new"' EXIT
for command in "${commands[@]}"; do
  install -m 0755 "$source_folder/$command" "$new/$command" || fail "copying $command failed: nothing was installed"
done
# Renames within one folder: each is whole or not at all, and nothing that can
# run out of space comes after the first.
for command in "${commands[@]}"; do
  mv -f "$new/$command" "$target/$command"
done

echo "installed harmony $version: ${commands[*]} into $target"
case ":$PATH:" in
  *":$target:"*) ;;
  *) echo "add it to your PATH:  export PATH=\"$target:\$PATH\"" ;;
esac
