#!/usr/bin/env bash
# A Docker daemon that touches nothing of the machine: it has process ids, mounts and a network of its own, so with its first process
# everything goes that it made: containers, mounts, bridges, rules. Other daemons may run beside it.
#
#   dockerd.sh STORE RUN [OPTION...]: its images and containers are kept below STORE, one daemon at a time; RUN gets its socket
#   `docker.sock`, `init`, the number of its first process, which says where its network is (nsenter --net=/proc/$(cat RUN/init)/ns/net),
#   and `groups`, the control group of what it starts
set -euo pipefail
here=$(dirname "$0")
data=$1/docker-$(cat "$here"/{Dockerfile,make.sh,postgres.sh} | sha256sum | cut -c 1-12) run=$2
mkdir -p "$data"
exec 9> "$data.lock"
flock 9

inside='
set -eu
mount -t tmpfs tmpfs /run
echo "nameserver 10.0.2.3" > /run/resolv.conf # slirp4netns answers there
mount --bind /run/resolv.conf "$(readlink -f /etc/resolv.conf)"
ip link set lo up
touch "$2/inside"
until ip -4 -o address show tap0 2> /dev/null | grep -q inet; do sleep 0.02; done
dockerd --data-root "$1" --exec-root /run/docker --pidfile /run/docker.pid --host "unix://$2/docker.sock" \
  --storage-driver overlay2 --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/$3" --log-level warn "${@:4}" &
wait
'
groups=runward-$$
echo "$groups" > "$run/groups"
setpriv --pdeathsig KILL unshare --mount --net --pid --fork --kill-child=KILL --mount-proc \
  bash -c "$inside" dockerd "$data" "$run" "$groups" "${@:3}" 9>&- &
outside=$!
slirp=
end() {
  kill -KILL "$outside" $slirp 2> /dev/null || true # one of them may have died by itself
  wait "$outside" || true
  # They can be removed when the kernel has buried who was in them.
  for _ in {1..100}; do
    find /sys/fs/cgroup -depth -type d -path "*/$groups*" -exec rmdir {} \; 2> /dev/null || true
    [ -n "$(find /sys/fs/cgroup -maxdepth 2 -name "$groups")" ] || break
    sleep 0.05
  done
}
trap end EXIT
trap exit TERM INT

until [ -e "$run/inside" ]; do
  kill -0 "$outside" 2> /dev/null || { echo "error: this needs root, and the right to make namespaces" >&2; exit 1; }
  sleep 0.02
done
init=$(cat "/proc/$outside/task/$outside/children")
echo "${init% }" > "$run/init"
setpriv --pdeathsig KILL slirp4netns --configure --mtu=65520 "${init% }" tap0 9>&- &
slirp=$!
wait "$outside"
