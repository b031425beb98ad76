# Words for the firewall, sourced by steps.

fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

is_active() {
  local status
  status=$(ufw status)
  grep -qx 'Status: active' <<< "$status"
}

# Of LIMITED, {"5432": ["10.0.0.0/24"]}, a line for each: 5432 10.0.0.0/24
limits() {
  python3 - << 'END' || fail "limited is a map of ports and lists of addresses: {\"5432\": [\"10.0.0.0/24\"]}"
import ipaddress, json, os, sys
for port, addresses in json.loads(os.environ["LIMITED"]).items():
    assert 1 <= int(port) <= 65535 and isinstance(addresses, list) and addresses, f"{port}: {addresses}"
    for address in addresses:
        print(port, ipaddress.ip_network(address))
END
}

# The connections of ssh from another machine, as ADDRESS:PORT and the processes that have them.
connections() {
  ss --no-header --tcp --numeric --processes state established "sport = :$SSH_PORT" |
    awk '{ here = $3; there = $4; sub(/:[0-9]+$/, "", here); address = there; sub(/:[0-9]+$/, "", address); if (address != here) print there, $5 }'
}

# Whoever is connected to ssh from another machine, as ADDRESS:PORT.
comers() { connections | cut -d ' ' -f 1; }

# Those of them who have logged in. Until then sshd does not call itself `sshd: somebody@pts/0`, or @notty.
sessions() {
  local there processes process
  connections | while read -r there processes; do
    for process in $(grep -o 'pid=[0-9]*' <<< "$processes"); do
      # It may have ended meanwhile.
      if grep -qaE '^sshd[a-z-]*: [^ ]+@' "/proc/${process#pid=}/cmdline" 2> /dev/null; then echo "$there"; break; fi
    done
  done
}

# Seconds since the host was started: no clock that is set moves them.
uptime_seconds() { local now; read -r now _ < /proc/uptime; echo "${now%.*}"; }

# allow SECONDS: from now on, until it is taken back.
allow() {
  echo $(($(uptime_seconds) + $1)) > "$STATE/until.new"
  mv "$STATE/until.new" "$STATE/until"
}

# Nothing is decided, and somebody is there to take it back.
is_watched() { [ ! -e "$STATE/decided" ] && ! flock --nonblock "$STATE/watched" true; }

# Takes it back when the time is over, unless it was decided otherwise.
watch() {
  while [ "$(uptime_seconds)" -lt "$(cat "$STATE/until")" ]; do
    [ ! -e "$STATE/decided" ] || return 0
    sleep 0.2
  done
  mkdir "$STATE/decided" || return 0
  until bash -euo pipefail -c '. "$STATE/firewall.sh"; take_back'; do sleep 5; done
}

# As it was before: the rules, and whether there were any. Once or more often, one after the other.
take_back() {
  (
    flock 8
    ufw --force disable || true # the files below decide
    cp -a "$STATE/ufw/." /etc/ufw/
    cat "$STATE/default" > /etc/default/ufw
    if [ "$ACTIVE" = true ]; then ufw --force enable; else ufw --force disable; fi
  ) 8> "$STATE/lock"
}
