# publish.sh PARTIAL TARGET FILE
#
# Gives what lies in the folder PARTIAL its final names in the folder TARGET: `data` becomes FILE, any other NAME becomes
# FILE.NAME, and FILE.sha256 holds the checksums of all of them. On disk first, then the names, that of the data last: a
# power cut leaves all of it, or no FILE.
set -euo pipefail
partial=$1 target=$2 file=$3
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }
final() { if [ "$1" = data ]; then echo "$file"; else echo "$file.$1"; fi; }

[ -f "$partial/data" ] || fail "what this run made was cleaned away when it failed: start a new run"
[ ! -e "$target/$file" ] || fail "$target/$file is there already: did another backup begin in the same second? Start a new run."
cd -- "$partial"
for name in *; do
  printf '%s  %s\n' "$(sha256sum < "$name" | cut -d ' ' -f 1)" "$(final "$name")"
done > .sha256
sync -- * .sha256
printf '%s\n' "$file" > .name # so that clean.sh can take back names without the data
mv -T -- .sha256 "$target/$file.sha256"
for name in *; do
  [ "$name" = data ] || mv -T -- "$name" "$target/$(final "$name")"
done
mv -T -- data "$target/$file"
sync -- "$target"
