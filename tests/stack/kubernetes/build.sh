#!/usr/bin/env bash
# Kubernetes for tests, built from Debian's source package, of which Debian itself builds only kubectl: made once below target/, which
# takes minutes. Prints the folder of its programs.
set -euo pipefail
cd "$(dirname "$0")"
target=${CARGO_TARGET_DIR:-../../../target}
version='1.20.5+really1.20.2-1.1+deb12u1' reflect=1.0.2-2
mkdir -p "$target/stack"
made=$(realpath "$target")/stack/kubernetes-$(sha256sum < build.sh | cut -c 1-12)
exec 9> "$made.lock"
flock 9
if [ -e "$made/complete" ]; then
  echo "$made"
  exit
fi
rm -rf "$made"
mkdir -p "$made/lists/partial" "$made/go/src/k8s.io"
{
  # The source, proved by apt: with a list of archives of its own, since most machines have none of sources.
  echo 'deb-src http://deb.debian.org/debian bookworm main' > "$made/sources.list"
  get=(apt-get -qq -o Dir::Etc::SourceList="$made/sources.list" -o Dir::Etc::SourceParts=- -o Dir::State::Lists="$made/lists" -o APT::Sandbox::User=root)
  (cd "$made" && "${get[@]}" update && "${get[@]}" --download-only source "kubernetes=$version" "golang-github-modern-go-reflect2=$reflect")
  source=$made/go/src/k8s.io/kubernetes
  dpkg-source --no-check -x "$made"/kubernetes_*.dsc "$source" # apt has checked it
  # Its own copy of this library is older than what Go 1.18 has changed: it writes where it must not, and the API server dies of it.
  rm -r "$source/vendor/github.com/modern-go/reflect2"
  dpkg-source --no-check -x "$made"/golang-github-modern-go-reflect2_*.dsc "$source/vendor/github.com/modern-go/reflect2"

  export PATH=/usr/lib/go-1.19/bin:$PATH GO111MODULE=off GOFLAGS='' GOPATH=$made/go GOCACHE=$made/cache CGO_ENABLED=0
  cd "$source"
  # What the API server says about itself is generated.
  go build -o "$made/" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
  packages=$(grep -rl --include='*.go' -e '+k8s:openapi-gen=true' pkg staging/src | xargs -n 1 dirname | sort -u |
    sed -e 's#^staging/src/#k8s.io/kubernetes/vendor/#' -e 's#^pkg/#k8s.io/kubernetes/pkg/#' | paste -sd ,)
  "$made/openapi-gen" --logtostderr -i "$packages" -p k8s.io/kubernetes/pkg/generated/openapi -O zz_generated.openapi \
    -h hack/boilerplate/boilerplate.generatego.txt -r "$made/report"
  # Without it nobody could say which version it is.
  version() { printf -- '-X k8s.io/kubernetes/vendor/k8s.io/%s.gitVersion=v1.20.2 ' component-base/version client-go/pkg/version; }
  go build -ldflags "-s -w $(version)" -o "$made/" \
    ./cmd/kube-apiserver ./cmd/kube-controller-manager ./cmd/kube-scheduler ./cmd/kube-proxy ./cmd/kubelet ./cmd/kubectl
  gcc -Os -static -o "$made/pause" build/pause/linux/pause.c
  cd "$made"
  rm -rf go cache lists report openapi-gen sources.list -- *.dsc *.tar.*
} >&2
touch "$made/complete"
echo "$made"
