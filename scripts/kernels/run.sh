#!/bin/sh
# In the guest, as its first process: a machine as a node is after boot, the tests, and the end.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
. /guest/settings
mount -t tmpfs tmpfs /run
mkdir -p /run/tmp /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
# The lab's folders of this guest alone; those that the shared /tmp shows are another machine's.
export TMPDIR=/run/tmp DOTNET_CLI_TELEMETRY_OPTOUT=1
hostname guest
ip link set lo up
ulimit -n 20000
echo "guest: Linux $(uname -r) on $(uname -m)"
status=0
if [ -z "$filters" ]; then
    bash "$repository/scripts/kernels/quick.sh" "$repository" </dev/null || status=1
fi
if [ -z "$quick" ]; then
    # Patterns of names, for xunit and not for this shell.
    set -f
    # shellcheck disable=SC2086
    "$tests" -noColor -noLogo -reporter verbose -maxThreads 2 \
        -trait Ring=Kernels -trait Ring=OnlyKernels $filters </dev/null || status=1
fi
echo "$status" >/guest/status
sync
exec busybox poweroff -f
