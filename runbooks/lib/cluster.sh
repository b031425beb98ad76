# Sourced by the steps that start and stop servers of Postgres on this machine. AS is the user whom they belong to.

# As in postgres.sh, but as the user of the server, whom it lets in without a password where `peer` is in its pg_hba.conf.
sql() { as_owner psql --no-psqlrc --no-align --tuples-only --quiet --field-separator=$'\t' --no-password -v ON_ERROR_STOP=1 "$@"; }

# The programs of the version that made a data folder: Debian keeps them out of the PATH. `of_version DATA`
of_version() {
  local bin
  [ -f "$1/PG_VERSION" ] || fail "$1 is no data folder of Postgres"
  bin=/usr/lib/postgresql/$(cat -- "$1/PG_VERSION")/bin
  [ ! -d "$bin" ] || PATH=$bin:$PATH
  installed pg_ctl postgres pg_controldata
}

# Postgres does not run as root. In the root folder, because that user may not be allowed to be where the step is.
as_owner() {
  if [ "$(id -un)" = "$AS" ]; then (cd / && exec "$@"); else (cd / && exec runuser -u "$AS" -- "$@"); fi
}

# May this user start servers as AS?
may_start() {
  id -u "$AS" > /dev/null 2>&1 || fail "there is no user $AS"
  [ "$(id -un)" = "$AS" ] || [ "$(id -u)" = 0 ] || fail "$(id -un) cannot start a server as $AS: run this as $AS or as root"
}

# These paths come to stand in settings of Postgres that a shell reads.
plain() {
  local path
  for path; do
    case $path in *[!A-Za-z0-9._/-]*) fail "in the path $path only letters, digits and . _ / - may stand" ;; esac
  done
}

# control DATA WHAT: a line of pg_controldata.
control() { (export LC_ALL=C && as_owner pg_controldata "$1") | sed -n "s/^$2: *//p" | grep .; }

# Whether a server runs over this data folder. pg_ctl takes one that was just killed, and that nobody has buried yet, for alive.
runs() {
  as_owner pg_ctl status -D "$1" > /dev/null 2>&1 && readlink -- "/proc/$(head -n 1 -- "$1/postmaster.pid")/exe" > /dev/null
}

# start DATA [OPTIONS]: until it lets people in; what it says is in DATA/start.log.
start() {
  as_owner pg_ctl start -w -t 40000 -D "$1" -l "$1/start.log" -o "${2:-}" > /dev/null || {
    tail -n 20 -- "$1/start.log" >&2
    fail "the server over $1 does not start (its last words are above)"
  }
}

# stop DATA MODE, if it runs.
stop() { if runs "$1"; then as_owner pg_ctl stop -w -t 3600 -D "$1" -m "$2" > /dev/null; fi; }

# Whether a process is at home in this folder.
inhabited() {
  local process folder
  folder=$(readlink -f -- "$1")
  for process in /proc/[0-9]*; do
    [ "$(readlink -- "$process/cwd" 2> /dev/null)" != "$folder" ] || return 0
  done
  return 1
}
