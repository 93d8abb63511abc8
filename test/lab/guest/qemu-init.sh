#!/bin/sh
# First process of a QEMU guest, from the initramfs: reaches the host's root file system over 9p, puts a throw-away
# overlay on it and goes on with stage 2 of init.sh. The counterpart of init.sh's stage 1; nothing else belongs here.
/bin/busybox mkdir -p /proc /sys /dev /low /rw /root
/bin/busybox --install -s /bin
mount -t proc proc /proc
give_up() { echo "lab guest: $*"; sleep 1; echo o >/proc/sysrq-trigger; sleep 10; }
while read -r module; do insmod "/modules/$module" || give_up "cannot load $module"; done </modules/order
for word in $(cat /proc/cmdline); do
  case $word in
    lab.work=*) export LAB_WORK="${word#*=}" ;;
    lab.name=*) export LAB_NAME="${word#*=}" ;;
    lab.modules=*) export LAB_MODULES="${word#*=}" ;;
    lab.init=*) init=${word#*=} ;;
  esac
done
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro host /low || give_up "cannot mount the host"
mount -t tmpfs -o size=75% tmpfs /rw && mkdir /rw/upper /rw/work
mount -t overlay overlay -o lowerdir=/low,upperdir=/rw/upper,workdir=/rw/work /root || give_up "cannot mount the overlay"
mkdir -p /root/lib/modules
export LAB_STAGE=2 LAB_GUEST=qemu LAB_PORT=/dev/ttyS PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
umount /proc
exec switch_root /root /bin/sh "$init"
