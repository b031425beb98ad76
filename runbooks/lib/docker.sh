# Words for containers, sourced by steps. DOCKER_HOST is the daemon; PROJECT and ROOT, the folder of compose.yaml, where there are
# several that belong together.

fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

# The daemon answers, or the run ends here.
daemon() {
  command -v docker > /dev/null || fail "not installed: docker (apt-get install docker.io)"
  local said
  said=$(docker version --format '{{.Server.Version}}' 2>&1) || fail "no Docker answers at $DOCKER_HOST: $said"
  echo "Docker $said at $DOCKER_HOST"
}

# Compose as a plugin of docker, or as the program it was before.
compose() {
  if docker compose version > /dev/null 2>&1; then
    docker compose --project-name "$PROJECT" --project-directory "$ROOT" --file "$ROOT/compose.yaml" "$@"
  else
    docker-compose --project-name "$PROJECT" --project-directory "$ROOT" --file "$ROOT/compose.yaml" "$@"
  fi
}

here() { docker image inspect "$1" > /dev/null 2>&1; }

# `running healthy 0`: the state of a container, its health (`-` where nothing asks for it), and how often it was started anew.
look() { docker inspect --format '{{.State.Status}} {{with .State.Health}}{{.Status}}{{else}}-{{end}} {{.RestartCount}}' "$1"; }

# Waits until these containers run and are well, for at most SECONDS together. One that ends, or is started anew meanwhile, will not
# be; what was started anew long before says nothing.
await_containers() {
  local end=$((SECONDS + $1)) container state health restarts unasked=
  local -A begun=()
  shift
  [ "$#" -gt 0 ] || fail "there is no container to wait for"
  for container in "$@"; do
    read -r state health "begun[$container]" < <(look "$container") || fail "the container $container is gone"
    [ "$health" != - ] || unasked=yes
  done
  # Nobody asks some of them whether they are well: one that crashes at once needs a moment to show it.
  [ -z "$unasked" ] || sleep 2
  for container in "$@"; do
    while read -r state health restarts < <(look "$container") && [ "$state $health" != "running healthy" ] && [ "$state $health" != "running -" ]; do
      case $state in exited | dead) break ;; esac
      [ "$restarts" = "${begun[$container]}" ] || break
      [ "$SECONDS" -lt "$end" ] || break
      sleep 0.2
    done
    read -r state health restarts < <(look "$container") || fail "the container $container is gone"
    case "$state $health $restarts" in
      "running healthy ${begun[$container]}" | "running - ${begun[$container]}") ;;
      *)
        docker logs --tail 20 "$container" >&2 || true # it says why, where it said anything
        fail "$(docker inspect --format '{{.Name}}' "$container") is $state, its health $health, started anew $((restarts - begun[$container])) times"
        ;;
    esac
  done
}

# Creates a container of this name, as the words after it say, and starts it. One that cannot be started, its port being taken, is not
# left behind; one that an earlier attempt had created already is started.
start() {
  local name=$1
  shift
  [ "$(docker inspect --format '{{.State.Status}}' "$name" 2> /dev/null)" = created ] || docker create --name "$name" "$@"
  docker start "$name" || {
    docker rm --force "$name" > /dev/null
    fail "$name cannot be started, see above"
  }
}

# Lets the containers of a version serve; .env says so, too, for whoever uses Compose by hand.
serve() {
  sed "s/^VERSION=.*/VERSION=$1/" "$ROOT/.env" > "$ROOT/.env.new"
  chmod 0600 "$ROOT/.env.new"
  mv -T "$ROOT/.env.new" "$ROOT/.env"
  VERSION=$1 compose up -d --remove-orphans
}

# A password that is made once. Its folder lets nobody in; in a container the file is read by whoever its program is.
password() {
  local folder=${1%/*}
  mkdir -p "$folder"
  chmod 0700 "$folder"
  if [ ! -s "$1" ]; then
    head -c 24 /dev/urandom | base64 | tr -d '\n/+=' > "$1.new"
    mv -T "$1.new" "$1"
  fi
  chmod 0444 "$1"
}
