#!/bin/bash
# As the image of the Postgres project: the first start makes the cluster, the user, and a database. The password comes from
# a file, or from the environment, where everybody sees it who may look at the container.
set -euo pipefail
user=${POSTGRES_USER:-postgres}
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  umask 077
  cat "${POSTGRES_PASSWORD_FILE:-/dev/stdin}" <<< "${POSTGRES_PASSWORD:-}" > /tmp/password
  initdb --username "$user" --pwfile /tmp/password \
    --auth-local peer --auth-host scram-sha-256 --encoding UTF8 > /dev/null
  # Whoever gets into the container is the user of its database.
  sed -i 's/^local *all .*/local all all trust/' "$PGDATA/pg_hba.conf"
  echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
  pg_ctl --wait start -o "-c listen_addresses=''" > /dev/null
  [ "${POSTGRES_DB:-$user}" = postgres ] || createdb --username "$user" "${POSTGRES_DB:-$user}"
  pg_ctl --wait stop > /dev/null
  rm /tmp/password
fi
exec postgres -c "listen_addresses=*" "$@"
