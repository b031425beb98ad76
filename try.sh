#!/usr/bin/env bash
# Builds runward and runs a real runbook with it: a verified backup of this repository's docs into ./backups.
set -euo pipefail
cd "$(dirname "$0")"
. ./setup.sh
cargo build --quiet --locked --package runward
exec ./target/debug/runward run runbooks/backup_files.yaml -p source=docs -p target=backups "$@"
