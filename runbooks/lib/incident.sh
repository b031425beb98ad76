# Words for an incident, sourced by steps. ROOT is the folder of the service, URL where it answers.

. lib/nginx.sh

# By a name of its own: what an incident asks is not among what clients asked (`loss`).
ask() { curl --silent --max-time 10 --user-agent runward-incident "$@"; }

# Whether what changes something is refused, as `degrade` says it. Who does not answer at all refuses nothing.
refused() {
  local said
  said=$(ask --request POST "$URL/health") || return 1
  [[ $said == *'only reading is possible'* ]]
}

# in_force yes|no: waits until that is so, five times in a row: then no worker of nginx from before the reload is left.
in_force() {
  local now alike=0 end=$((SECONDS + 30))
  while [ "$alike" -lt 5 ]; do
    [ "$SECONDS" -lt "$end" ] || return 1
    if refused; then now=yes; else now=no; fi
    if [ "$now" = "$1" ]; then alike=$((alike + 1)); else alike=0; fi
    sleep 0.1
  done
}
