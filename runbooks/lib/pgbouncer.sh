# Sourced by the steps of pg_pool. FOLDER is that of the pool, LISTEN its port, AS the user whom it belongs to.
. lib/postgres.sh

as_pool() {
  if [ "$(id -un)" = "$AS" ]; then (cd "$FOLDER" && exec "$@"); else (cd "$FOLDER" && exec runuser -u "$AS" -- "$@"); fi
}

# The process of the pool, where it runs: a file with a number may be about another process by now.
process() {
  local number
  number=$(cat -- "$FOLDER/pgbouncer.pid" 2> /dev/null) && [ "$(readlink -- "/proc/$number/cwd")" = "$(readlink -f -- "$FOLDER")" ] && echo "$number"
}
running() { process > /dev/null; }

# Whether it answers: its console lets in the user whom it belongs to.
answers() { as_pool psql -XAtq -h "$FOLDER" -p "$LISTEN" -U pgbouncer -d pgbouncer -c "$1"; }

# Starts it, or has it read its settings again, and waits until it has.
take_over() {
  local said before
  if running; then
    before=$(stat -c %s -- "$FOLDER/pgbouncer.log")
    said=$(answers reload 2>&1) || { echo "$said" >&2; return 1; }
    # An error in them is only in its log; the console shows what is in force.
    said=$(tail -c "+$((before + 1))" -- "$FOLDER/pgbouncer.log")
    ! grep -E 'ERROR|FATAL' <<< "$said" >&2
  else
    as_pool pgbouncer -q -d pgbouncer.ini || { tail -n 5 -- "$FOLDER/pgbouncer.log" >&2; return 1; }
    for _ in {1..100}; do
      if answers 'show version' > /dev/null 2>&1; then return 0; fi
      sleep 0.1
    done
    tail -n 5 -- "$FOLDER/pgbouncer.log" >&2
    return 1
  fi
}

# As it was before this run: RUNNING says whether there was a pool.
back() {
  local name
  for name in pgbouncer.ini users.txt; do
    if [ -e "$RUNWARD_WORKSPACE/before/$name" ]; then
      cp -p -- "$RUNWARD_WORKSPACE/before/$name" "$FOLDER/.$name.back"
      mv -T -- "$FOLDER/.$name.back" "$FOLDER/$name"
    else
      rm -f -- "$FOLDER/$name"
    fi
  done
  if [ "$RUNNING" = true ]; then
    take_over || fail "the pool does not go back to its settings of before (see above)"
  elif running; then
    kill -INT "$(process)"
    while running; do sleep 0.1; done
  fi
}
