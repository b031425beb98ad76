#!/bin/sh
# The archive_command of Postgres that backup_incremental.yaml and restore_pitr.yaml rely on:
#
#   archive_mode = on
#   archive_command = '/usr/local/lib/runward/archive_wal.sh "%p" "%f" /backup/app/wal'
#
# 0 only when the file is whole under its name, and on disk. A file that is there already is right if it is the same (the server was
# cut off before it knew), and never overwritten otherwise: then another server archives into this folder.
set -eu
from=$1 name=$2 to=$3
if [ -e "$to/$name" ]; then
  cmp -s -- "$from" "$to/$name" && sync -- "$to/$name" "$to" && exit 0
  echo "archive_wal: $to/$name is there with another content: does another server archive into this folder?" >&2
  exit 1
fi
cp -- "$from" "$to/.$name.new"
sync -- "$to/.$name.new"
mv -T -- "$to/.$name.new" "$to/$name"
sync -- "$to"
