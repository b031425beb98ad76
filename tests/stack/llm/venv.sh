#!/usr/bin/env bash
# The Python of the language model: made once below target/. Prints its folder. The packages need nothing but each other here.
set -euo pipefail
cd "$(dirname "$0")"
target=${CARGO_TARGET_DIR:-../../../target}
mkdir -p "$target/stack"
venv=$(realpath "$target")/stack/llm-$(sha256sum < requirements.txt | cut -c 1-12)
exec 9> "$venv.lock"
flock 9
if [ ! -e "$venv/complete" ]; then
  rm -rf "$venv"
  {
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --only-binary :all: --no-deps -r requirements.txt
  } >&2
  touch "$venv/complete"
fi
echo "$venv"
