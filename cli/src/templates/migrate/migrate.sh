#!/usr/bin/env bash
# Applies the files of $SQL to $DATABASE, each once. Usage: migrate.sh pending|apply|verify
set -euo pipefail
shopt -s nullglob

fail() { echo "error: $*" >&2; exit 1; }
# Waits for other writers; stops at the first error. Without BEGIN and COMMIT each call is a transaction.
sql() { sqlite3 -bail -cmd ".timeout 60000" "$DATABASE" "$@"; }

# One at a time, whoever starts it. The kernel gives the lock back when this process is gone.
exec 9> "$DATABASE.migrate.lock"
flock --nonblock 9 || fail "another migration of $DATABASE is under way"

[ "$1" != apply ] ||
  sql 'CREATE TABLE IF NOT EXISTS schema_migrations (name TEXT PRIMARY KEY, sha256 TEXT NOT NULL, applied_at TEXT NOT NULL)'
table=$(sql "SELECT count(*) FROM sqlite_master WHERE name = 'schema_migrations'")

pending=()
for file in "$SQL"/*.sql; do
  name=$(basename -- "$file")
  [[ $name =~ ^[0-9]{4}_[a-z0-9_]+\.sql$ ]] || fail "$name: call it 0001_what_it_does.sql"
  # The BEGIN of a trigger stands alone in its line.
  ! grep -qiE '^[[:space:]]*(BEGIN[[:space:]a-z]*;|COMMIT|ROLLBACK)' "$file" || fail "$name: no BEGIN; or COMMIT, please"
  sha256=$(sha256sum < "$file" | cut -d ' ' -f 1)
  known=$([ "$table" = 0 ] || sql "SELECT sha256 FROM schema_migrations WHERE name = '$name'")
  case "$known" in
    "$sha256") ;;
    "") pending+=("$file $sha256") ;;
    *) fail "$name was changed after it was applied: write a new migration" ;;
  esac
done

case "$1" in
  pending)
    for entry in "${pending[@]}"; do echo "pending: ${entry% *}"; done
    echo "count=${#pending[@]}" >> "$RUNWARD_OUTPUT"
    ;;
  apply)
    for entry in "${pending[@]}"; do
      file=${entry% *} sha256=${entry##* }
      name=$(basename -- "$file")
      # The change and the note that it was made are one transaction: both are there, or neither is.
      {
        echo 'BEGIN IMMEDIATE;'
        cat -- "$file"
        printf '\n;\n'
        echo "INSERT INTO schema_migrations VALUES ('$name', '$sha256', strftime('%Y-%m-%dT%H:%M:%SZ', 'now'));"
        echo 'COMMIT;'
      } | sql
      echo "applied $name"
    done
    ;;
  verify)
    [ "${#pending[@]}" = 0 ] || fail "not applied: ${pending[*]%% *}"
    ;;
  *) fail "usage: migrate.sh pending|apply|verify" ;;
esac
