# Words for alerts, sourced by steps. PROMETHEUS and ALERTMANAGER are their addresses, PATIENCE milliseconds.

# The names of the alerts that fire. (The series ALERTS remembers for five minutes what fired before a restart.)
firing() {
  local said
  said=$(curl --silent --show-error --fail --max-time 10 "$PROMETHEUS/api/v1/alerts") || fail "$PROMETHEUS does not answer"
  python3 -c 'import json, sys
alerts = json.load(sys.stdin)["data"]["alerts"]
print(*sorted({it["labels"]["alertname"] for it in alerts if it["state"] == "firing"}))' <<< "$said"
}

# counted CHANNEL: how many messages it has taken, and how many not. (`notifications_total` would count those that nobody took, too.)
counted() {
  local said
  said=$(curl --silent --show-error --fail --max-time 10 "$ALERTMANAGER/metrics") || fail "$ALERTMANAGER does not answer"
  awk -v asked="alertmanager_notification_requests_total{integration=\"$1\"}" -v refused="alertmanager_notification_requests_failed_total{integration=\"$1\"}" \
    '$1 == asked { n = $2 } $1 == refused { not = $2 } END { print n - not, not + 0 }' <<< "$said"
}

# await WHAT COMMAND ...: until it succeeds.
await() {
  local what=$1 end=$((SECONDS + PATIENCE / 1000))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$end" ] || fail "$what, after $PATIENCE ms"
    sleep 0.2
  done
}

# Trouble goes on for as long as it is waited for.
fires() { case " $(firing) " in *" $1 "*) ;; *) make && return 1 ;; esac; }
still_taken() { has_taken "$@" || { make && return 1; }; }
is_quiet() { local burning && burning=$(firing) && [ -z "$burning" ]; }

# has_taken CHANNEL TAKEN REFUSED: whether it has taken so many; one more that it has not taken is the end.
has_taken() {
  local taken refused
  read -r taken refused <<< "$(counted "$1")"
  [ "$refused" -le "$3" ] || fail "something fires, and $1 takes nothing of it: the log of Alertmanager says why"
  [ "$taken" -ge "$2" ]
}

# alarm 'CHANNEL ...' ALERT ...: makes trouble with `make`, again and again, until each ALERT fires and each CHANNEL was told of each; ends it
# with `mend`, and waits until nothing fires and each was told that, too.
alarm() {
  local channels=$1 channel alert count began=$SECONDS
  local -A taken=() refused=()
  shift
  count=$#
  for channel in $channels; do read -r "taken[$channel]" "refused[$channel]" <<< "$(counted "$channel")"; done
  trap mend EXIT
  for alert; do await "$alert does not fire" fires "$alert"; done
  for channel in $channels; do
    await "$* fires, and $channel was not told" still_taken "$channel" "$((taken[$channel] + count))" "${refused[$channel]}"
  done
  echo "$*: fired, and taken by $channels, after $((SECONDS - began)) s"
  mend
  trap - EXIT
  await "it still fires: $(firing)" is_quiet
  for channel in $channels; do
    await "$channel was not told that $* is over" has_taken "$channel" "$((taken[$channel] + 2 * count))" "${refused[$channel]}"
  done
  echo "$* $((SECONDS - began))" >> "$RUNWARD_WORKSPACE/alarms"
}
