#!/usr/bin/env bash
# pm2, yarn and pnpm, for the tests of the front end: made once below target/, and again when their list changes. Prints the folder.
set -euo pipefail
cd "$(dirname "$0")"
target=${CARGO_TARGET_DIR:-../../target}
mkdir -p "$target/stack"
tools=$(realpath "$target")/stack/node-$(sha256sum < node/package-lock.json | cut -c 1-12)
exec 9> "$tools.lock"
flock 9
if [ ! -e "$tools/complete" ]; then
  rm -rf "$tools"
  cp -r node "$tools"
  (cd "$tools" && npm ci --ignore-scripts --no-audit --no-fund) >&2
  touch "$tools/complete"
fi
echo "$tools/node_modules/.bin"
