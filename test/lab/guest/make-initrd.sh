#!/bin/sh
# Packs the initramfs of the QEMU backend: busybox with its libraries, the modules that reach the host, qemu-init.sh.
#   make-initrd.sh MODULES OUT      MODULES: lib/modules/RELEASE of the unpacked kernel. Does nothing when OUT is fresh.
set -eu
modules=$1 out=$2 here=$(cd "$(dirname "$0")" && pwd)
if [ -e "$out" ] && [ ! "$here/qemu-init.sh" -nt "$out" ] && [ ! "$0" -nt "$out" ] && [ ! "$modules" -nt "$out" ]; then exit 0; fi
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root/bin" "$root/modules"
cp "$here/qemu-init.sh" "$root/init" && chmod +x "$root/init"
busybox=$(command -v busybox)
cp "$busybox" "$root/bin/busybox"
ldd "$busybox" 2>/dev/null | grep -o '/[^ ]*' | while read -r library; do
  mkdir -p "$root$(dirname "$library")" && cp -L "$library" "$root$library"
done
ln -s busybox "$root/bin/sh"
# In the order in which they need one another.
for module in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci netfs fscache 9pnet 9pnet_virtio 9p overlay; do
  file=$(find "$modules" -name "$module.ko" -print -quit)
  [ -n "$file" ] || continue # built into this kernel
  cp "$file" "$root/modules/" && echo "$module.ko" >>"$root/modules/order"
done
(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$out.$$"
mv "$out.$$" "$out"
