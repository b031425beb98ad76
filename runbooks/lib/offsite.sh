# Sourced by the steps of backup_offsite and restore_offsite. HOST is the other machine, as ssh knows it; TO the folder there.

fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

installed() {
  local tool
  for tool; do command -v "$tool" > /dev/null || fail "not installed: $tool (apt-get install age rsync openssh-client coreutils)"; done
}

# A script on the other machine, in the folder of the copies; what it reads comes in on standard input.
there() { ssh -o BatchMode=yes -o ConnectTimeout=20 -- "$HOST" "set -e; cd -- $(printf %q "$TO"); $1"; }

# Never half a file under its name, never a file anew; a line that is silent for a minute is broken. `carry FROM/ TO/ [OPTION ...]`
carry() {
  local from=$1 to=$2
  shift 2
  rsync --recursive --times --partial-dir=.rsync-partial --delay-updates --fsync --timeout=60 --secluded-args --rsh='ssh -o BatchMode=yes -o ConnectTimeout=20' "$@" -- "$from" "$to"
}
