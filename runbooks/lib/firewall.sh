# Words for the firewall, sourced by steps.

fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

is_active() { ufw status | grep -qx 'Status: active'; }

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

# Whoever is connected to ssh from another machine, as ADDRESS:PORT.
comers() {
  ss --no-header --tcp --numeric state established "sport = :$SSH_PORT" |
    awk '{ here = $3; there = $4; sub(/:[0-9]+$/, "", here); address = there; sub(/:[0-9]+$/, "", address); if (address != here) print there }'
}

# As it was before: the rules, and whether there were any.
take_back() {
  local before=$RUNWARD_WORKSPACE/before
  ufw --force disable
  cp -a "$before/ufw/." /etc/ufw/
  cat "$before/default" > /etc/default/ufw
  [ "$ACTIVE" = false ] || ufw --force enable
}
