# list_tree.sh FOLDER LISTS
#
# Describes everything below FOLDER in four files in the folder LISTS. Each holds records that end with a NUL byte, so
# any name a file system allows is safe in them, and is sorted by byte:
#
#   tree     TYPE MODE OWNER:GROUP SIZE MTIME PATH       for f (file), d (folder) and l (symbolic link: PATH//TARGET)
#   paths    the paths of all of these, each before what is below it
#   files    the paths of the files alone
#   skipped  the paths of everything else: sockets, named pipes, devices
#
# Owners are numbers. SIZE and MTIME (whole seconds) are those of files only: a folder's change with every name in it
# that comes and goes. `//` never occurs in a path, so it ends the path of a link safely.
set -euo pipefail
folder=$1 lists=$2
mkdir -p -- "$lists"
lists=$(cd -- "$lists" && pwd)
for list in tree paths files skipped; do : > "$lists/$list.raw"; done

cd -- "$folder"
LC_ALL=C find . \
  \( -type f -fprintf "$lists/tree.raw" 'f %m %U:%G %s %T@ %p\0' \
     -fprint0 "$lists/paths.raw" -fprint0 "$lists/files.raw" \) -o \
  \( -type d -fprintf "$lists/tree.raw" 'd %m %U:%G 0 - %p\0' -fprint0 "$lists/paths.raw" \) -o \
  \( -type l -fprintf "$lists/tree.raw" 'l - %U:%G 0 - %p//%l\0' -fprint0 "$lists/paths.raw" \) -o \
  -fprint0 "$lists/skipped.raw"

# Fractions of a second differ between file systems.
LC_ALL=C sed -z -E -i 's/^(f [0-7]+ [0-9]+:[0-9]+ [0-9]+ -?[0-9]+)\.[0-9]+ /\1 /' "$lists/tree.raw"
for list in tree paths files skipped; do
  LC_ALL=C sort -z -o "$lists/$list" -- "$lists/$list.raw"
  rm -f -- "$lists/$list.raw"
done
