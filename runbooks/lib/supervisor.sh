# Words for programs under supervisord, sourced by steps. CONFIG is its configuration, BIN the folder of supervisorctl.
#
# `supervisorctl status` exits 0 for a program that crashes again and again (BACKOFF), and `supervisorctl pid` prints 0 for one that is
# dead, which `kill` takes for one's own process group: so nothing here looks at either; it reads the word that status prints.

fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

ctl() { "$BIN/supervisorctl" -c "$CONFIG" "$@"; }

# What status prints. Its exit code is 3 as soon as any program is not up, and nothing is wrong with that.
status() { ctl status "$@" || true; }

# The state of a program: RUNNING, STOPPED, BACKOFF ...
state() { status "$1" | awk 'NR == 1 { print $2 }'; }

# Its process; nothing where there is none.
process() { status "$1" | sed -n '1s/.* pid \([0-9]*\),.*/\1/p'; }

# A program that was started stays up.
stays_up() {
  while [ "$(state "$1")" = STARTING ]; do sleep 0.2; done
  [ "$(state "$1")" = RUNNING ] || fail "$1 does not stay up: $(status "$1"); its log is named in $CONFIG"
}

# Starts a program, or starts it again with what it finds now, and waits until it stays up.
start_anew() {
  case $(state "$1") in
    RUNNING | STARTING | BACKOFF) ctl stop "$1" ;;
  esac
  ctl start "$1" || true # it says so where startsecs are not over, too; the next line judges
  stays_up "$1"
}

# Takes the configuration over, and starts each of these programs again that has not been by that.
update() {
  local program
  local -A before=()
  for program in "$@"; do before[$program]=$(process "$program"); done
  ctl update "$@" # these alone: others may have changed and serve
  for program in "$@"; do
    if [ -n "${before[$program]}" ] && [ "${before[$program]}" = "$(process "$program")" ]; then
      start_anew "$program"
    else
      stays_up "$program"
    fi
  done
}

# Takes over what changed about the programs that these files name, of before and of now: others may have changed, too, and serve.
update_those() {
  local file names=
  for file; do
    [ ! -e "$file" ] || names+=" $(sed -n 's/^\[program:\(.*\)\]$/\1/p' "$file" | tr '\n' ' ')"
  done
  names=$(tr ' ' '\n' <<< "$names" | sort -u | tr '\n' ' ')
  [ -z "${names// /}" ] || ctl update $names # words: programs have plain names
}

# Stops a program that may be down already.
stop_it() {
  case $(state "$1") in
    RUNNING | STARTING | BACKOFF) ctl stop "$1" ;;
  esac
  case $(state "$1") in
    STOPPED | EXITED | FATAL | ERROR) ;; # ERROR: it does not know such a program
    *) fail "$1 does not stop: $(status "$1")" ;;
  esac
}

# What SOCKET answers at PATH, once it says it is well; asks again for at most SECONDS.
await_well() {
  local socket=$1 path=$2 seconds=$3 said=
  local end=$((SECONDS + seconds))
  until said=$(curl --silent --show-error --fail --max-time 10 --unix-socket "$socket" "http://localhost$path" 2>&1); do
    [ "$SECONDS" -lt "$end" ] || fail "$socket did not answer $path with 200 within $seconds s: $said"
    sleep 0.2
  done
  printf '%s\n' "$said"
}
