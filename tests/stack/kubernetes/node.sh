#!/usr/bin/env bash
# A Kubernetes of one node beside a Docker daemon of ../images/dockerd.sh, in whose process ids, mounts and network it has to be
# started. They end it when they end, and nothing of it is left.
#
#   node.sh PROGRAMS RUN: RUN is the daemon's. RUN/kubernetes gets `kubeconfig`, whose address holds in the daemon's network, and the logs.
set -euo pipefail
shopt -s inherit_errexit
programs=$1 run=$2 here=$2/kubernetes
export DOCKER_HOST=unix://$run/docker.sock
cd "$here"

# What a kubelet writes to whole machines, it writes here.
mount -t tmpfs tmpfs /var/log
mkdir -p /run/lib/upper /run/lib/work
mount -t overlay -o lowerdir=/var/lib,upperdir=/run/lib/upper,workdir=/run/lib/work overlay /var/lib
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
  kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  own=/run/$(tr / . <<< "${setting%=*}")
  echo "${setting#*=}" > "$own"
  mount --bind "$own" "/proc/sys/${setting%=*}"
done

# The first process of every pod.
tar -C "$programs" -c pause | docker import --change 'ENTRYPOINT ["/pause"]' - pause:3.2 > /dev/null

openssl genrsa -out accounts.key 2048 2> /dev/null
openssl rsa -in accounts.key -pubout -out accounts.pub 2> /dev/null
token=$(openssl rand -hex 16)
(umask 077 && echo "$token,admin,1,system:masters" > tokens)
mkdir certificates

serve() {
  local name=$1
  shift
  "$@" > "$name.log" 2>&1 &
}
serve etcd etcd --data-dir etcd --unsafe-no-fsync --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
  --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 --initial-cluster default=http://127.0.0.1:2380
serve apiserver "$programs/kube-apiserver" --etcd-servers http://127.0.0.1:2379 --bind-address 127.0.0.1 --secure-port 6443 \
  --cert-dir certificates --token-auth-file tokens --authorization-mode RBAC --allow-privileged --kubelet-preferred-address-types InternalIP --service-cluster-ip-range 10.213.0.0/24 \
  --service-account-issuer https://kubernetes.default.svc --service-account-signing-key-file accounts.key --service-account-key-file accounts.pub

authority=$here/certificates/apiserver.crt
up() { [ "$(curl -s --cacert "$authority" --header "Authorization: Bearer $token" https://127.0.0.1:6443/readyz)" = ok ]; }
until [ -e "$authority" ] && up; do
  [ "$(jobs -r | wc -l)" = 2 ] || { tail -n 5 ./*.log >&2; exit 1; }
  sleep 0.2
done
(umask 077 && cat > kubeconfig.new) << END
apiVersion: v1
kind: Config
clusters: [{name: node, cluster: {server: "https://127.0.0.1:6443", certificate-authority: $authority}}]
users: [{name: admin, user: {token: $token}}]
contexts: [{name: node, context: {cluster: node, user: admin}}]
current-context: node
END
mv kubeconfig.new kubeconfig

serve controllers "$programs/kube-controller-manager" --kubeconfig kubeconfig --leader-elect=false --bind-address 127.0.0.1 --port 0 \
  --allocate-node-cidrs --cluster-cidr 10.214.0.0/16 --service-account-private-key-file accounts.key --root-ca-file "$authority"
serve scheduler "$programs/kube-scheduler" --kubeconfig kubeconfig --leader-elect=false --bind-address 127.0.0.1 --port 0
serve proxy "$programs/kube-proxy" --kubeconfig kubeconfig --hostname-override node --proxy-mode iptables --cluster-cidr 10.214.0.0/16 \
  --conntrack-max-per-core 0 --conntrack-min 0 --conntrack-tcp-timeout-established 0 --conntrack-tcp-timeout-close-wait 0
cat > kubelet.yaml << END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 0.0.0.0 # of its own network, in which the API server looks for it
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
cgroupRoot: /$(cat "$run/groups")
cgroupsPerQOS: false
enforceNodeAllocatable: []
failSwapOn: false
resolvConf: /etc/resolv.conf
# The disk is that of the machine, and its images are not for a kubelet to tidy up.
evictionHard: {nodefs.available: 1%, imagefs.available: 1%, memory.available: 100Mi}
imageGCHighThresholdPercent: 100
END
serve kubelet "$programs/kubelet" --config kubelet.yaml --kubeconfig kubeconfig --root-dir "$here/kubelet" --cert-dir "$here/certificates" \
  --volume-plugin-dir "$here/plugins" --hostname-override node --container-runtime docker --docker-endpoint "$DOCKER_HOST" \
  --network-plugin kubenet --cni-bin-dir /usr/lib/cni --pod-infra-container-image pause:3.2 --v 2
# None of them ends by itself.
while [ "$(jobs -r | wc -l)" = 6 ]; do sleep 1; done
tail -n 5 ./*.log >&2
exit 1
