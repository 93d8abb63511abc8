#!/bin/sh
# Gets a fresh checkout ready: node_modules, dist/, and on request what the lab needs.
#   sh tools/bootstrap.sh            packages of npm (with Node 24 in node_modules/.bin) and dist/
#   sh tools/bootstrap.sh lab        + the Debian packages of the User-Mode Linux lab
#   sh tools/bootstrap.sh lab qemu   + QEMU and a Debian kernel for the second lab backend
#   sh tools/bootstrap.sh cluster    + etcd and the Kubernetes programs of the tests against a real API server (built once, 6 minutes)
#   sh tools/bootstrap.sh charts     + helm and kubeconform (built once, 2 minutes)
# Needs: a Debian 12 host for the lab, Node 20 or later and npm for the rest. Does nothing twice.
# It is NOT an installer of the product.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ipvs-operator

say() { echo "bootstrap: $*" >&2; }
fail() { echo "bootstrap: $*" >&2; exit 1; }

# step WHAT COMMAND...: says what, runs it, and shows a person a dot each second. The command's exit code is its own.
step() {
  what=$1 ticker='' code=0
  shift
  if [ -t 2 ]; then
    printf 'bootstrap: %s ' "$what" >&2
    # It ends with this script even when nobody stops it, and must not keep the lock.
    (exec 9>&-; while sleep 1 && kill -0 $$ 2>/dev/null; do printf . >&2; done) &
    ticker=$!
  else
    say "$what"
  fi
  "$@" || code=$?
  [ -z "$ticker" ] || { kill "$ticker" 2>/dev/null || true; wait "$ticker" 2>/dev/null || true; echo >&2; }
  return $code
}

case $root in *[[:space:]]*) fail "the lab cannot live in a folder with a space in its name: $root" ;; esac

# One bootstrap at a time in this checkout. flock is util-linux, which Debian always has.
mkdir -p .lab
if command -v flock >/dev/null 2>&1; then exec 9>.lab/bootstrap.lock; flock 9; fi

npm_packages() {
  stamp=node_modules/.package-lock.installed
  if [ -x node_modules/.bin/node ]; then
    cmp -s package-lock.json "$stamp" && return 0
    # Installed by hand with npm: take it when it is not older than the lock file.
    if [ ! -e "$stamp" ] && [ ! package-lock.json -nt node_modules/.package-lock.json ]; then
      cp package-lock.json "$stamp"
      return 0
    fi
  fi
  command -v npm >/dev/null 2>&1 || fail "npm is missing; type: apt-get install -y nodejs npm"
  npm_ci() { npm ci --no-audit --no-fund --loglevel=error >.lab/npm-ci.log 2>&1; }
  step "installing npm packages (npm ci)" npm_ci || { cat .lab/npm-ci.log >&2; fail "npm ci failed"; }
  [ -x node_modules/.bin/node ] || fail "no Node 24 for this machine ($(uname -sm)): node_modules/.bin/node is missing"
  cp package-lock.json "$stamp"
}

build() {
  [ -n "$(find src -name '*.ts' -print -quit)" ] || return 0
  if [ -e dist/.built ] && [ -z "$(find src tsconfig.json tsconfig.build.json package-lock.json -newer dist/.built -print -quit)" ]; then
    return 0
  fi
  # Into a new folder and swapped at the end: a running process never sees half a build.
  rm -rf .lab/dist && mkdir -p .lab/dist && touch .lab/dist/.built
  compile() { PATH=$root/node_modules/.bin:$PATH tsc -p tsconfig.build.json --outDir .lab/dist >&2; }
  step "building dist/" compile || fail "the sources do not compile"
  rm -rf .lab/dist.old
  [ ! -e dist ] || mv dist .lab/dist.old
  mv .lab/dist dist
  rm -rf .lab/dist.old
}

missing_packages() {
  for package in "$@"; do
    case $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) in installed) ;; *) printf ' %s' "$package" ;; esac
  done
}

debian_packages() {
  command -v dpkg-query >/dev/null 2>&1 || fail "the lab needs Debian 12 (apt packages: $*)"
  missing=$(missing_packages "$@")
  [ -n "$missing" ] || return 0
  if [ "$(id -u)" = 0 ]; then as_root=; elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then as_root=sudo; else
    fail "packages are missing; as root, type: apt-get update && apt-get install -y --no-install-recommends$missing"
  fi
  install="env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends$missing"
  apt_install() { $as_root $install >.lab/apt.log 2>&1; }
  apt_again() { $as_root apt-get update >>.lab/apt.log 2>&1 || true; $as_root $install >>.lab/apt.log 2>&1; }
  if ! step "installing Debian packages:$missing" apt_install; then
    step "once more, with fresh package lists" apt_again || { tail -20 .lab/apt.log >&2; fail "apt-get install failed; type: apt-get update && apt-get install -y --no-install-recommends$missing"; }
  fi
  missing=$(missing_packages "$@")
  [ -z "$missing" ] || fail "still missing after apt-get install:$missing"
}

# Debian's User-Mode Linux keeps 2.6 KB of floating-point state a process. On a CPU with AMX the host's kernel
# wants 11 KB back and refuses less (EFAULT), and the guest dies at once. A preloaded ptrace() fills the gap.
uml_xstate() {
  grep -qw amx_tile /proc/cpuinfo || return 0
  library=$cache/uml-xstate-$(cksum <test/lab/guest/uml-xstate.c | cut -d' ' -f1).so
  [ -e "$library" ] || {
    command -v cc >/dev/null 2>&1 || debian_packages gcc libc6-dev
    mkdir -p "$cache"
    cc -O2 -shared -fPIC -o "$library.$$" test/lab/guest/uml-xstate.c && mv "$library.$$" "$library"
  }
  ln -sfn "$library" .lab/uml-xstate.so
}

debian_kernel() {
  ln -sfn "$cache/kernel" .lab/kernel
  if [ -e "$cache/kernel/name" ] && [ -e "$cache/kernel/boot/vmlinuz-$(cat "$cache/kernel/name")" ]; then return 0; fi
  find_kernel() { apt-cache depends linux-image-amd64 2>/dev/null | sed -n 's/.*Depends: linux-image-\(6[^ ]*-amd64\)$/\1/p' | head -1; }
  name=$(find_kernel)
  if [ -z "$name" ]; then
    [ "$(id -u)" != 0 ] || apt-get update >.lab/apt.log 2>&1 || true
    name=$(find_kernel)
  fi
  [ -n "$name" ] || fail "apt knows no kernel image; as root, type: apt-get update"
  say "downloading Debian's kernel $name (70 MB, to $cache/kernel, not installed)"
  rm -rf "$cache/kernel.new" && mkdir -p "$cache/kernel.new/deb"
  (cd "$cache/kernel.new/deb" && apt-get download "linux-image-$name") >.lab/apt.log 2>&1 || {
    if [ "$(id -u)" = 0 ]; then apt-get update >>.lab/apt.log 2>&1 || true; fi
    (cd "$cache/kernel.new/deb" && apt-get download "linux-image-$name") >>.lab/apt.log 2>&1 || { tail -5 .lab/apt.log >&2; fail "cannot download linux-image-$name"; }
  }
  dpkg-deb -x "$cache"/kernel.new/deb/*.deb "$cache/kernel.new"
  /sbin/depmod -b "$cache/kernel.new" "$name"
  rm -rf "$cache/kernel.new/deb" "$cache/kernel.new/usr/share" "$cache/kernel"
  echo "$name" >"$cache/kernel.new/name"
  mv "$cache/kernel.new" "$cache/kernel"
}

# etcd out of Debian's package, unpacked and not installed: the installed package starts a server, and this machine asked for none.
debian_etcd() {
  if command -v etcd >/dev/null 2>&1 || [ -x "${KUBEBUILDER_ASSETS:-/nowhere}/etcd" ] || [ -x "$cache/etcd/usr/bin/etcd" ]; then return 0; fi
  command -v apt-get >/dev/null 2>&1 || fail "etcd is missing: put one on PATH (3.4 or later)"
  rm -rf "$cache/etcd.new" && mkdir -p "$cache/etcd.new/deb"
  download() { (cd "$cache/etcd.new/deb" && apt-get download etcd-server) >>.lab/apt.log 2>&1; }
  get_etcd() {
    download || {
      if [ "$(id -u)" = 0 ]; then apt-get update >>.lab/apt.log 2>&1 || true; fi
      download
    }
  }
  step "downloading etcd (Debian's etcd-server, 8 MB, to $cache/etcd, not installed)" get_etcd || { tail -5 .lab/apt.log >&2; fail "cannot download etcd-server; as root, type: apt-get update"; }
  dpkg-deb -x "$cache"/etcd.new/deb/*.deb "$cache/etcd.new"
  rm -rf "$cache/etcd.new/deb" "$cache/etcd"
  mv "$cache/etcd.new" "$cache/etcd"
}

npm_packages
for part in "$@"; do
  case $part in
    lab)
      debian_packages user-mode-linux kmod ipvsadm iproute2 iptables busybox tcpdump util-linux procps
      uml_xstate
      ;;
    qemu)
      debian_packages qemu-system-x86 nftables cpio kmod busybox gzip
      debian_kernel
      ;;
    cluster)
      debian_etcd
      sh test/tools/build.sh .lab/bin etcd kube-apiserver kube-controller-manager kubectl
      ;;
    charts) sh test/tools/build.sh .lab/bin helm kubeconform ;;
    *) fail "unknown part: $part (lab, qemu, cluster, charts)" ;;
  esac
done
build
