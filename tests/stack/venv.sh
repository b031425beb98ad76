#!/usr/bin/env bash
# The Python of the demo service: made once below target/, and again when a list of packages changes. Prints its folder.
# Its packages are kept as wheels beside it, so that a runbook can install them without the network.
set -euo pipefail
cd "$(dirname "$0")"
target=${CARGO_TARGET_DIR:-../../target}
mkdir -p "$target/stack"
venv=$(realpath "$target")/stack/python-$(cat ./*.txt service/requirements.txt | sha256sum | cut -c 1-12)
exec 9> "$venv.lock"
flock 9
if [ ! -e "$venv/complete" ]; then
  rm -rf "$venv"
  {
    python3 -m venv "$venv"
    "$venv/bin/pip" download --quiet --only-binary :all: --dest "$venv/wheels" -r requirements.txt
    "$venv/bin/pip" install --quiet --no-index --find-links "$venv/wheels" -r requirements.txt
  } >&2
  touch "$venv/complete"
fi
echo "$venv"
