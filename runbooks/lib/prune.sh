# prune.sh FOLDER PREFIX SUFFIX NEW KEEP_DAYS KEEP_COUNT
#
# Deletes of the files PREFIX-YYYYMMDDTHHMMSSZSUFFIX in FOLDER those that were last modified more than KEEP_DAYS x 86,400
# seconds ago (`find -mtime +7` would wait for the eighth day to be over), and those that are more than KEEP_COUNT, the
# oldest first, each with what lies beside it (.sha256 and the like). NEW is always kept. Nothing else is ever looked at.
# The outputs kept and deleted say how many.
set -euo pipefail
folder=$1 prefix=$2 suffix=$3 new=$4 keep_days=$5 keep_count=$6
cd -- "$folder"
oldest=$(($(date +%s) - keep_days * 86400))
kept=0 deleted=0
[ ! -e "$new" ] || kept=1
shopt -s nullglob
found=()
for file in "$prefix"-*Z"$suffix"; do
  stamp=${file#"$prefix-"}
  stamp=${stamp%"$suffix"}
  if [[ $stamp =~ ^[0-9]{8}T[0-9]{6}Z$ && -f $file && ! -L $file && $file != "$new" ]]; then found+=("$file"); fi
done
newest_first() { [ "${#found[@]}" = 0 ] || stat -c '%Y %n' -- "${found[@]}" | LC_ALL=C sort -k 1,1nr -k 2,2r; }
while read -r modified file; do
  if [ "$modified" -lt "$oldest" ]; then
    why="older than $keep_days days"
  elif [ "$kept" -ge "$keep_count" ]; then
    why="$keep_count newer ones are kept"
  else
    kept=$((kept + 1))
    continue
  fi
  rm -f -- "$file" "$file".*
  deleted=$((deleted + 1))
  echo "deleted $file: $why"
done < <(newest_first)
printf 'kept=%s\ndeleted=%s\n' "$kept" "$deleted" >> "$RUNWARD_OUTPUT"
echo "$kept kept, $deleted deleted"
