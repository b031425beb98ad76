# Sourced by the steps of the runbooks for Redis. SOCKET or HOST and PORT say where the server is; the password is in
# REDISCLI_AUTH, which redis-cli reads, and is never an argument.

fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

# One command; an error of the server is an exit code, which redis-cli does not do by itself.
redis() {
  if [ -n "$SOCKET" ]; then redis-cli -e -s "$SOCKET" "$@"; else redis-cli -e -h "$HOST" -p "$PORT" "$@"; fi
}

# info SECTION NAME: a line of `info`.
info() { redis info "$1" | tr -d '\r' | awk -F : -v name="$2" '$1 == name { print $2 }'; }

# setting NAME
setting() { redis config get "$1" | tail -n 1; }

# How many keys that do not expire each database holds, as lines `db0 3`. `redis` may be another command: `lasting redis`
lasting() { "$@" info keyspace | tr -d '\r' | awk -F '[:=,]' '/^db/ { if ($3 > $5) print $1, $3 - $5 }'; }

# How many keys a server read from its dump when it started, with those that had expired since.
read_keys() { "$@" info persistence | tr -d '\r' | awk -F : '/^rdb_last_load_keys_(loaded|expired):/ { keys += $2 } END { print keys + 0 }'; }

# loaded COMMAND ...: waits until the server that COMMAND asks has read what it has on disk; for a minute, until it answers at all.
loaded() {
  local said silent=0
  until said=$("$@" info persistence 2> /dev/null | tr -d '\r') && grep -q '^loading:0$' <<< "$said"; do
    case $said in *loading:1*) silent=0 ;; *) silent=$((silent + 1)) ;; esac
    [ "$silent" -lt 600 ] || fail "Redis does not answer a minute after it was started: its log says why"
    sleep 0.1
  done
}

# whole DUMP: it has its checksums beside it, they are right, and Redis itself can read it.
whole() {
  # Asked in a condition, it goes on after what fails: so nothing may fail unnoticed.
  . lib/whole.sh && unchanged "$1" keys || fail "$1 was not looked at: the runbook has no lib/whole.sh among its files"
  redis-check-rdb "$1" > /dev/null || fail "$1 cannot be read by Redis"
}

# scratch FOLDER COMMAND ...: a server of its own over the dump FOLDER/data, while COMMAND runs; `apart` asks it.
scratch() {
  local folder=$1 server code=0
  shift
  apart=$(mktemp -d) # short: the path of a socket has at most 107 bytes
  # Where memory runs out, this one goes and not the one that people work with.
  (echo 1000 > /proc/self/oom_score_adj && exec redis-server --port 0 --unixsocket "$apart/socket" --dir "$folder" --dbfilename data --save '' --appendonly no \
    --logfile "$apart/log") &
  server=$!
  until [ -S "$apart/socket" ]; do
    kill -0 "$server" 2> /dev/null || { cat "$apart/log" >&2; fail "Redis does not start over the dump"; }
    sleep 0.05
  done
  loaded apart
  "$@" || code=$?
  kill "$server"
  wait "$server" || true # it was told to go
  rm -rf -- "$apart"
  return "$code"
}
apart() { env -u REDISCLI_AUTH redis-cli -e -s "$apart/socket" "$@"; }
