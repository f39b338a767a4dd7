#!/usr/bin/env bash
# Boots kernels that users have, under software emulation, and runs the host tests of the kernel ring inside. Ends with a line
# `N passed, N failed`; the last result of each test is kept in docs/kernels.md.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/machine.sh
source "$root/scripts/machine.sh"
# shellcheck source=scripts/debian.sh
source "$root/scripts/debian.sh"
# shellcheck source=scripts/kernels/packages.sh
source "$root/scripts/kernels/packages.sh"
# shellcheck source=scripts/kernels/guest.sh
source "$root/scripts/kernels/guest.sh"
# shellcheck source=scripts/kernels/program.sh
source "$root/scripts/kernels/program.sh"
# shellcheck source=scripts/kernels/report.sh
source "$root/scripts/kernels/report.sh"

usage() {
    fail "usage: ./kernels.sh [--kernel VERSION] [--arch x64|arm64] [--quick] [--built] [FILTER...]
  --kernel   some of: ${known_kernels[*]}, with commas between (default: 6.1,6.12)
  --arch     the processor that is emulated (default: this machine's)
  --quick    the agent beside each kind of kube-proxy, asked by a script
  --built    takes the program and the tests as they were built last
  FILTER     only tests whose full name contains one of them
Emulation is ten times slower than the machine and more: a kernel takes an hour or so, with --quick ten minutes."
}

kernels=6.1,6.12 arch=$(machine_arch) built='' quick='' filters=()
while [ $# -gt 0 ]; do
    case $1 in
    --kernel | --arch)
        [ $# -ge 2 ] || usage
        case $1 in --kernel) kernels=$2 ;; --arch) arch=$2 ;; esac
        shift
        ;;
    --built) built=yes ;;
    --quick) quick=yes ;;
    -*) usage ;;
    *) filters+=("-method" "*$1*") ;;
    esac
    shift
done
[[ $arch == x64 || $arch == arm64 ]] || usage
IFS=, read -ra kernels <<<"$kernels"
for kernel in "${kernels[@]}"; do
    [[ " ${known_kernels[*]} " == *" $kernel "* ]] || usage
done

need_root "the guest reads this machine's files as they are"
need_dotnet
need_programs ip:iproute2 iptables-nft:iptables iptables-legacy:iptables nft:nftables conntrack:conntrack curl:curl \
    nginx:nginx-light socat:socat ps:procps wg:wireguard-tools ipvsadm:ipvsadm modprobe:kmod cpio:cpio xz:xz-utils busybox:busybox-static \
    "$([ "$arch" = x64 ] && echo qemu-system-x86_64:qemu-system-x86 || echo qemu-system-aarch64:qemu-system-arm)"
[ "$arch" = "$(machine_arch)" ] || need_programs qemu-aarch64-static:qemu-user-static

cache="$root/artifacts/kernels/$arch"
mkdir -p "$cache"
[ -n "$built" ] || build_for_guest
passed=0 failed=0
if [ "$arch" != "$(machine_arch)" ]; then
    make_root
    # Before any kernel: the program itself, as far as no kernel part of ours is needed.
    [ "$arch" != arm64 ] || [ ${#filters[@]} -gt 0 ] || run_program_tests
fi
for kernel in "${kernels[@]}"; do
    begun=$SECONDS
    fetch_kernel "$kernel"
    echo "$(kernel_release "$kernel") on $arch"
    run_guest "$kernel" || true
    count_results "$cache/out" || true
    keep_results "$kernel" "$cache/out"
    passed=$((passed + good))
    failed=$((failed + bad))
    echo "$kernel on $arch: $good passed, $bad failed in $((SECONDS - begun)) s"
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
