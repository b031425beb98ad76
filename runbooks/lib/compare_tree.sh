# compare_tree.sh FOLDER TREE MANIFEST LISTS
#
# Succeeds if FOLDER holds exactly what TREE (of list_tree.sh) and MANIFEST (of sha256sum) describe: the same paths and
# no others, of the same types, with the same modes, owners, sizes and times, links that point to the same places, and
# files with the same content. LISTS is a folder for what it has to write down.
#
# Whoever is not root cannot give files away, nor keep the set-user-ID, set-group-ID and sticky bits of others: then
# owners and these bits are left out of the comparison.
set -euo pipefail
folder=$1 tree=$2 manifest=$3 lists=$4

bash "$(dirname -- "$0")/list_tree.sh" "$folder" "$lists"
comparable() {
  if [ "$(id -u)" = 0 ]; then
    cat
  else
    LC_ALL=C sed -z -E 's/^([fd]) [0-7]*([0-7]{3}) [0-9]+:[0-9]+ /\1 \2 /; s/^l - [0-9]+:[0-9]+ /l - /' | LC_ALL=C sort -z
  fi
}
comparable < "$tree" > "$lists/expected"
comparable < "$lists/tree" > "$lists/found"

show() { # at most 20 names, newlines and control characters made visible
  head -z -n 20 | while IFS= read -r -d '' record; do printf '  %s\n' "${record@Q}"; done
}
if ! cmp -s -- "$lists/expected" "$lists/found"; then
  echo "these should be there and are not (type, mode, owner, size, time, path):" >&2
  LC_ALL=C comm -z -23 -- "$lists/expected" "$lists/found" > "$lists/missing"
  show < "$lists/missing" >&2
  echo "these are there and should not be:" >&2
  LC_ALL=C comm -z -13 -- "$lists/expected" "$lists/found" > "$lists/surplus"
  show < "$lists/surplus" >&2
  exit 1
fi

# Every file has a line in the manifest, and every line is right.
files=$(tr -cd '\0' < "$lists/files" | wc -c)
lines=$(wc -l < "$manifest")
if [ "$files" != "$lines" ]; then
  echo "there are $files files, but the manifest has checksums of $lines" >&2
  exit 1
fi
if [ "$files" -gt 0 ]; then
  manifest=$(realpath -- "$manifest")
  cd -- "$folder"
  LC_ALL=C sha256sum --check --strict --quiet -- "$manifest"
fi
