# Words for certificates, sourced by steps. ROOT is the folder of the service, whose nginx serves what root/tls/live points to.

. lib/nginx.sh

# days FILE: so many whole days it is still valid; -1 where there is none, or it is over.
days() {
  local end left
  [ -f "$1" ] || { echo -1; return; }
  end=$(openssl x509 -in "$1" -noout -enddate) || fail "$1 is no certificate"
  left=$(($(date -d "${end#notAfter=}" +%s) - $(date +%s)))
  if [ "$left" -lt 0 ]; then echo -1; else echo $((left / 86400)); fi
}

# serial FILE
serial() { openssl x509 -in "$1" -noout -serial; }

# served [OPTIONS]: the certificate that clients of DOMAIN get.
served() { openssl s_client -connect "$CONNECT:$HTTPS_PORT" -servername "$DOMAIN" "$@" < /dev/null 2> /dev/null; }

# await WHAT COMMAND ...: for ten seconds, which a reload never takes.
await() {
  local what=$1 asked
  shift
  for ((asked = 0; asked < 50; asked++)); do
    if "$@"; then return; fi
    sleep 0.2
  done
  fail "$what"
}
