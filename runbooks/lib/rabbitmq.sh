# Sourced by the steps of rabbitmq_queue. NODE is the name of the node, AT the folder with its cookie, AS the user whom both belong to.

fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

# Debian's own `rabbitmqctl` in the PATH always takes the node of the package.
CTL=/usr/lib/rabbitmq/bin/rabbitmqctl

ctl() {
  local command=(env HOME="$AT" "$CTL" --quiet ${NODE:+--node "$NODE"} "$@")
  if [ "$(id -un)" = "$AS" ]; then (cd "$AT" && exec "${command[@]}"); else (cd "$AT" && exec runuser -u "$AS" -- "${command[@]}"); fi
}
