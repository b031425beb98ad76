#!/usr/bin/env bash
# Installs what building and testing need and this machine lacks. Sourced by try.sh and test.sh.
# Usage: need PROGRAM PACKAGE ... for Debian packages; everything else is said in words.

packages_listed=
need() {
  if command -v "$1" >/dev/null; then return; fi
  if ! command -v apt-get >/dev/null; then
    echo "missing: $1. Install it with this system's packages ($2), then run this again." >&2
    exit 1
  fi
  local sudo=()
  if [ "$(id -u)" != 0 ]; then sudo=(sudo); fi
  echo "installing $2 for $1" >&2
  if [ -z "$packages_listed" ]; then
    "${sudo[@]}" apt-get update -qq
    packages_listed=yes
  fi
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${@:2}" >&2
}

if ! command -v cargo >/dev/null; then
  echo "missing: cargo. Install Rust 1.95 or newer with rustup, then run this again." >&2
  exit 1
fi
need cc gcc libc6-dev
