#!/bin/busybox sh
# The guest's first process: the shared root under a layer in memory, then scripts/kernels/run.sh in it.
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
while read -r module; do
    insmod "/modules/$module" || echo "init: $module was refused"
done </modules/order
shared=trans=virtio,version=9p2000.L,msize=512000
mount -t 9p -o "ro,cache=loose,$shared" root /lower || poweroff -f
mount -t tmpfs tmpfs /over
mkdir -p /over/upper /over/work
mount -t overlay -o lowerdir=/lower,upperdir=/over/upper,workdir=/over/work overlay /new || poweroff -f
mkdir -p /new/proc /new/sys /new/dev /new/run /new/guest
mount -t 9p -o "$shared" out /new/guest || poweroff -f
. /new/guest/settings
# Where the root is not this machine's own, the repository is shared beside it, at its own place.
if [ ! -e "/new$repository/kernels.sh" ]; then
    mkdir -p "/new$repository"
    mount -t 9p -o "ro,cache=loose,$shared" repository "/new$repository" || poweroff -f
fi
mkdir -p /new/usr/lib
rm -rf /new/usr/lib/modules
ln -s "$modules" /new/usr/lib/modules
for each in proc sys dev; do
    mount --move "/$each" "/new/$each"
done
exec switch_root /new /bin/sh "$repository/scripts/kernels/run.sh"
