# Words for a service in Kubernetes, sourced by steps. NAMESPACE, APP and IMAGE say which; KUBECONFIG is empty for the usual one.

fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

[ -n "$KUBECONFIG" ] || unset KUBECONFIG

kube() { kubectl --namespace "$NAMESPACE" --request-timeout=60s "$@"; }

# A job that brings the tables to where the image wants them.
migration() {
  cat << END
apiVersion: batch/v1
kind: Job
metadata: {name: $APP-migrate}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      automountServiceAccountToken: false
      containers:
        - name: migrate
          image: $IMAGE
          command: [alembic, upgrade, head]
          env: [{name: REDIS_SOCKET, value: ""}]
          envFrom: [{secretRef: {name: $APP}}]
END
}

await_job() {
  local end=$((SECONDS + 1500)) state
  while true; do
    state=$(kube get job "$1" -o 'jsonpath={.status.succeeded} {.status.failed}')
    case $state in
      1*) return ;;
      *' '[1-9]*) kube logs "job/$1" >&2 || true; fail "$1 failed: its tables are as they were" ;; # there may be no log to show
    esac
    [ "$SECONDS" -lt "$end" ] || fail "$1 has not ended: kubectl -n $NAMESPACE describe job $1"
    sleep 1
  done
}

# What keeps its pods from being ready.
why() {
  kube get pods -l "app=$APP" >&2
  kube get events --field-selector type=Warning --sort-by=.lastTimestamp | tail -n 5 >&2
}
