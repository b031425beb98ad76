# The folders of the releases that something serves, sourced by steps: whatever current, blue and green of ROOT point to.
# A release among them is never deleted.

served() {
  local link
  for link in "$ROOT/current" "$ROOT/blue" "$ROOT/green"; do
    [ ! -L "$link" ] || readlink -f -- "$link" || true # it points to nothing: that serves nothing
  done
}

is_served() {
  local all
  all=$(served)
  grep -qxF -- "$(readlink -f -- "$1")" <<< "$all"
}
