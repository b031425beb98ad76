#!/usr/bin/env bash
# `./test.sh`: everything that has to be green before a change lands. Installs what it needs.
# `./test.sh long`: the tests of runbooks that take minutes each (Docker, Prometheus, RabbitMQ, a certificate authority ...).
set -euo pipefail
cd "$(dirname "$0")"
. ./setup.sh
need dash dash
need dot graphviz
need python3 python3
need nginx nginx-light
need openssl openssl
need setpriv util-linux
need strace strace
need flock util-linux
need curl curl
need cmark-gfm cmark-gfm
need sqlite3 sqlite3
need groff groff-base
need tmux tmux
need /usr/bin/time time # bash has a word of that name
need make make
need setsid util-linux
need ssh openssh-client
need /usr/sbin/sshd openssh-server
need stty coreutils
need redis-server redis-server
need faketime faketime
need aiosmtpd python3-aiosmtpd
need systemd-analyze systemd
need wrk wrk
need logrotate logrotate
need jq jq
need iostat sysstat
need zstd zstd
need hardlink util-linux
need ss iproute2
need git git
need ps procps
need pgbouncer pgbouncer
need rsync rsync
need age age
need npm nodejs npm
if ! python3 -c 'import ensurepip' 2>/dev/null; then need "a python3 with venv" python3-venv; fi
initdb=$(compgen -G '/usr/lib/postgresql/*/bin/initdb' | head -n 1 || true) # Debian keeps it out of the PATH
need "${initdb:-initdb}" postgresql
need psql postgresql-client
need pg_dump postgresql-client
need promtool prometheus
need ufw ufw iptables
need iptables iptables
if ! cargo nextest --version >/dev/null 2>&1; then
  cargo install --quiet --locked cargo-nextest
fi

# Tests of runbooks mostly wait: they take one slot each, twice as many as there are cores; all others take two (.config/nextest.toml).
slots=$((2 * $(nproc)))

if [ "${1-}" = long ]; then
  need dockerd docker.io
  need docker-compose docker-compose
  need docker-registry docker-registry
  need debootstrap debootstrap
  need slirp4netns slirp4netns
  need rabbitmqctl rabbitmq-server
  need amtool prometheus-alertmanager
  need prometheus-postgres-exporter prometheus-postgres-exporter
  need prometheus-redis-exporter prometheus-redis-exporter
  need pebble pebble
  need certbot certbot
  # For a Kubernetes, which is built from its source the first time: a quarter of an hour.
  need etcd etcd-server
  need /usr/lib/go-1.19/bin/go golang-1.19-go
  need /usr/lib/cni/bridge containernetworking-plugins
  need dpkg-source dpkg-dev
  bash tests/stack/venv.sh >/dev/null
  bash tests/stack/kubernetes/build.sh >/dev/null
  cargo nextest run --workspace --locked --no-fail-fast --test-threads "$slots" --run-ignored only
  exec cargo run --quiet --locked --package runward-library -- coverage --check-long
fi

cargo fmt --all --check
cargo clippy --quiet --workspace --all-targets --locked -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --quiet --workspace --no-deps --locked
rm -rf "${CARGO_TARGET_DIR:-target}/evidence"
bash tests/stack/venv.sh >/dev/null
cargo nextest run --workspace --locked --no-fail-fast --test-threads "$slots"
# What the page says is executed was seen by these very tests.
cargo run --quiet --locked --package runward-library -- coverage --check
