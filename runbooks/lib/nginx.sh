# Words for the nginx of a service, sourced by steps. ROOT is the folder of the service.

fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

# nginx reads its sites, if it accepts them. For a moment its workers of before answer, too.
reload() {
  nginx -t -q -p "$ROOT" -c "$ROOT/nginx.conf"
  nginx -p "$ROOT" -c "$ROOT/nginx.conf" -s reload
}
