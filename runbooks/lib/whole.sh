# Sourced where a dump is looked at.

# unchanged DUMP COMPANION: both, and their checksums, are there and right: it is what publish.sh gave its name.
unchanged() {
  local name=${1##*/}
  [ -f "$1" ] || fail "the dump $1 does not exist"
  [ -f "$1.sha256" ] && [ -f "$1.$2" ] || fail "$1.sha256 or $1.$2 is missing: without them nobody can tell whether the dump is whole"
  awk -v name="$name" '$2 == name { found = 1 } END { exit !found }' "$1.sha256" || fail "$1.sha256 has no checksum of $name"
  (cd -- "$(dirname -- "$1")" && sha256sum --check --strict --quiet -- "$name.sha256") ||
    fail "$1 is damaged or cut short: its checksum is another one. Take an older dump."
}
