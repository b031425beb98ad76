# clean.sh PARTIAL TARGET: takes away what publish.sh was not, or only half, done with.
set -euo pipefail
partial=$1 target=$2
if [ -f "$partial/.name" ]; then
  file=$target/$(cat -- "$partial/.name")
  [ -e "$file" ] || rm -f -- "$file".*
fi
rm -rf -- "$partial"
