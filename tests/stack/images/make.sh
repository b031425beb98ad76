#!/usr/bin/env bash
# Brings a Docker (DOCKER_HOST) to where tests want it: these images, and nothing that an earlier test left behind.
# The first time takes minutes, and the registries of Debian, Python and npm.
set -euo pipefail
cd "$(dirname "$0")"
target=$(mktemp -d)
trap 'rm -rf "$target"' EXIT

kept=(debian:bookworm-slim python:3.11-slim node:18-alpine postgres:15 redis:7-alpine nginx:alpine demo-api:packages demo-api:runtime demo-web:packages)

docker ps --all --quiet | xargs --no-run-if-empty docker rm --force --volumes > /dev/null
docker network prune --force > /dev/null
docker volume ls --quiet | xargs --no-run-if-empty docker volume rm > /dev/null
docker images --format '{{.Repository}}:{{.Tag}}' | grep -vxF "$(printf '%s\n' "${kept[@]}")" | grep -v '<none>' |
  xargs --no-run-if-empty docker rmi --force > /dev/null || true # there are none

here() { docker image inspect "$1" > /dev/null 2>&1; }
build() { DOCKER_BUILDKIT=0 docker build --quiet --network host "$@" > /dev/null; }

if ! here debian:bookworm-slim; then
  debootstrap --variant=minbase --include=ca-certificates bookworm "$target/root" http://deb.debian.org/debian >&2
  {
    echo "deb http://deb.debian.org/debian bookworm main"
    echo "deb http://deb.debian.org/debian bookworm-updates main"
    echo "deb http://deb.debian.org/debian-security bookworm-security main"
  } > "$target/root/etc/apt/sources.list"
  # Daemons start when their container does, not when their package is installed; and who builds an image can build it again.
  printf '#!/bin/sh\nexit 101\n' > "$target/root/usr/sbin/policy-rc.d"
  chmod +x "$target/root/usr/sbin/policy-rc.d"
  echo force-unsafe-io > "$target/root/etc/dpkg/dpkg.cfg.d/unsafe-io"
  # Whom this machine trusts: a company may stand between it and the registries.
  cp --remove-destination /etc/ssl/certs/ca-certificates.crt "$target/root/etc/ssl/certs/ca-certificates.crt"
  rm -rf "$target/root/var/cache/apt/archives"/*.deb "$target/root/var/lib/apt/lists"/*
  tar -C "$target/root" -c . | docker import - debian:bookworm-slim > /dev/null
fi

cp -r . "$target/images"
for image in python:3.11-slim postgres:15 redis:7-alpine nginx:alpine; do
  here "$image" || build --target "${image%%:*}" --tag "$image" "$target/images"
done
if ! here node:18-alpine; then
  # The npm that Debian packages takes 400 packages along.
  (cd "$target" && npm pack --silent npm@10.9.2 > /dev/null && tar -xzf npm-10.9.2.tgz)
  mv "$target/package" "$target/images/npm"
  build --target node --tag node:18-alpine "$target/images"
fi
# What takes long in the images of the demo service: the layers below its own files. Docker finds them again.
for stage in packages runtime; do build --target $stage --tag demo-api:$stage ../service; done
build --target packages --tag demo-web:packages ../web
