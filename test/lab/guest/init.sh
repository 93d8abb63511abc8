#!/bin/sh
# First process of a lab guest. Stage 1 (User-Mode Linux only; qemu-init.sh does the same for QEMU) turns the host's
# root file system, mounted read-only, into a throw-away root (overlay on tmpfs). Stage 2, for both, runs the entry
# script that the host left in the work directory.
# It is NOT for tests or topologies: those begin in the entry script. Never run it on a real machine; it refuses to.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

power_off() { sync; echo o >/proc/sysrq-trigger; sleep 10; }
give_up() { echo "lab guest: $*"; power_off; }

if [ -z "$LAB_STAGE" ]; then
  mount -t proc proc /proc || exit 1
  dmesg -n 1
  for word in $(cat /proc/cmdline); do
    case $word in lab.work=*) LAB_WORK=${word#lab.work=} ;; lab.name=*) LAB_NAME=${word#lab.name=} ;; esac
  done
  [ -n "$LAB_WORK" ] || { echo "this is not a lab guest: no lab.work= on the kernel command line"; exit 1; }
  export LAB_WORK LAB_NAME LAB_GUEST=uml LAB_MODULES=/usr/lib/uml/modules LAB_PORT=/dev/tty
  insmod "/usr/lib/uml/modules/$(uname -r)/kernel/fs/overlayfs/overlay.ko" || give_up "cannot load overlay"
  mount -t tmpfs -o size=75% tmpfs /mnt && mkdir /mnt/upper /mnt/work /mnt/root
  mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root || give_up "cannot mount the overlay"
  mkdir -p /mnt/root/lib/modules /mnt/root/oldroot
  # pivot_root in this mount namespace, not a new one: the kernel's module loader looks for modprobe here.
  cd /mnt/root && pivot_root . oldroot && export LAB_STAGE=2 && exec chroot . /bin/sh "$0" </dev/null >/oldroot/dev/console 2>&1
  give_up "pivot_root failed"
fi

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm && mount -t devpts devpts /dev/pts && mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mkdir -p /run/netns /run/home /run/lock "$LAB_WORK"
# The one place of the host that a guest may write to.
case $LAB_GUEST in
  uml) mount -t hostfs none "$LAB_WORK" -o "$LAB_WORK" ;;
  qemu) mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000 work "$LAB_WORK" ;;
esac || give_up "cannot mount $LAB_WORK"
mount --bind "$LAB_MODULES" /lib/modules || give_up "no kernel modules"
hostname lab
ip link set lo up
modprobe ipv6 || give_up "no ipv6 module"
own=$LAB_WORK/$LAB_NAME
export HOME=/run/home
if [ -e "$own/interactive" ]; then
  # Port 1 is a person's terminal; what Debian's minimal installation lacks (ping, arping, nc) comes from busybox.
  mkdir /run/busybox && busybox --install -s /run/busybox && PATH=$PATH:/run/busybox
  setsid -c sh "$own/entry.sh" <>${LAB_PORT}1 >&0 2>&1
else
  # Ports 1 and 2 carry the command's output as it is: no CR before LF, no echo.
  for port in 1 2; do stty -F $LAB_PORT$port raw -echo; done
  sh "$own/entry.sh" </dev/null >${LAB_PORT}1 2>${LAB_PORT}2
fi
echo $? >"$own/exit.tmp" && mv "$own/exit.tmp" "$own/exit"
power_off
