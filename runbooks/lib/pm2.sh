# Words for a program under pm2, sourced by steps. BIN is its folder, STATE where it keeps what it knows, NAME how
# it calls the program, which listens at HOST:PORT.
#
# `pm2 start` exits 0 for a program that crashes at once, and `pm2 list` calls it online in between: nothing here looks at either.

fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

export PM2_HOME=${STATE:-$HOME/.pm2}

pm2() { "$BIN/pm2" "$@"; }

# Something about the program: status, cwd, restarts, pid, mode, host, port. Nothing where pm2 does not know it, or does not run: to ask it would start it.
serving() {
  kill -0 "$(cat "$PM2_HOME/pm2.pid" 2> /dev/null)" 2> /dev/null || return 0
  pm2 jlist --silent | node -e '
    const said = require("fs").readFileSync(0, "utf8").split("\n").find((line) => line.startsWith("["));
    const program = JSON.parse(said ?? "[]").find((one) => one.name === process.env.NAME);
    const { status, pm_cwd: cwd, restart_time: restarts, args = [], env = {} } = program?.pm2_env ?? {};
    const mode = args.includes("dev") ? "dev" : "production";
    const known = { status, cwd, restarts, pid: program?.pid, mode, host: env.HOST, port: env.PORT };
    console.log((program && known[process.argv[1]]) ?? "");
  ' "$1"
}

forget() { [ -z "$(serving status)" ] || pm2 delete "$NAME" > /dev/null; }

start_in() {
  local words=(start)
  [ "$MODE" = production ] || words=(run dev)
  (cd "$1" && pm2 start "$(command -v npm)" --name "$NAME" --time -- "${words[@]}")
}

# It answers within LIMIT seconds, has been started once, and is the same process a moment later.
stays_up() {
  local end=$((SECONDS + LIMIT)) process said=
  until said=$(curl --silent --show-error --fail --output /dev/null --max-time 10 "http://$HOST:$PORT/" 2>&1); do
    [ "$(serving restarts)" = 0 ] && [ "$SECONDS" -lt "$end" ] || {
      pm2 logs "$NAME" --nostream --lines 20 >&2
      fail "$NAME does not answer at http://$HOST:$PORT/ ($said), and pm2 has started it anew $(serving restarts) times"
    }
    sleep 0.2
  done
  process=$(serving pid)
  sleep 2
  [ "$(serving status) $(serving restarts) $(serving pid)" = "online 0 $process" ] || fail "$NAME does not stay up: see pm2 logs $NAME"
  echo "$NAME answers at http://$HOST:$PORT/ from $(serving cwd)"
}
