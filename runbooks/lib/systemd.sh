# Words for a unit of systemd, sourced by steps. MANAGER is system or user, UNIT the name of the service without its end.

. lib/supervisor.sh # fail, await_well

units() {
  if [ "$MANAGER" = user ]; then systemctl --user --no-pager "$@"; else systemctl --no-pager "$@"; fi
}

# What the manager knows of the unit: ActiveState, MainPID, NRestarts ...
property() { units show --value --property "$1" "$UNIT.service"; }

# Starts the unit, or starts it again, with what is in its file now; also after the next start of the machine.
start_unit() {
  units daemon-reload
  units enable --quiet "$UNIT.service"
  units restart "$UNIT.service"
}
