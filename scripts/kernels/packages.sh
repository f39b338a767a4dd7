# Kernels that users have, of Debian's packages, and the root of a guest whose processor is not this machine's. Sourced by kernels.sh.
# shellcheck shell=bash
# shellcheck disable=SC2154 # root, arch and cache are the caller's

known_kernels=(5.10 6.1 6.12)

suite_of() { [ "$1" = 5.10 ] && echo bullseye || echo own; }

# fetch_kernel KERNEL: boot/vmlinuz-* and lib/modules/* of Debian's newest build of it, below $cache/linux-KERNEL.
fetch_kernel() {
    local kernel=$1 suite name meta
    local folder="$cache/linux-$kernel"
    [ ! -e "$folder/complete" ] || return 0
    suite=$(suite_of "$kernel")
    # 6.1 is the kernel of the release itself, 6.12 the one that it carries beside it.
    case $kernel in 6.12) meta=linux-image-6.12-$(debian_arch) ;; *) meta=linux-image-$(debian_arch) ;; esac
    apt_for "$suite" update >/dev/null || fail "Debian's package lists could not be read; the lines above say why."
    name=$(apt_for "$suite" --simulate install --no-install-recommends "$meta" | awk -v kernel="linux-image-$kernel." '$1 == "Inst" && index($2, kernel) == 1 { print $2 }')
    [ -n "$name" ] || fail "Debian has no kernel $kernel for $arch here: $meta is missing from its package lists, or of another version."
    apt_for "$suite" download "$name" >/dev/null || fail "the package $name could not be fetched; the lines above say why."
    rm -rf "$folder"
    mkdir -p "$folder"
    dpkg-deb --extract "$root/artifacts/debian/$arch-$suite/${name}"_*.deb "$folder"
    rm "$root/artifacts/debian/$arch-$suite/${name}"_*.deb
    depmod --basedir "$folder" "$(basename "$folder"/lib/modules/*)"
    touch "$folder/complete"
}

kernel_release() { basename "$cache/linux-$1"/lib/modules/*; }

# make_root: the root folder of a guest whose processor is not this machine's, in $cache/root.
make_root() {
    local folder="$cache/root" link
    [ ! -e "$folder/complete" ] || return 0
    unpack_packages "$folder" base-files base-passwd bash coreutils dash sed grep mawk findutils tar util-linux mount procps kmod \
        busybox-static iproute2 iptables nftables conntrack curl ca-certificates nginx-light socat ipvsadm wireguard-tools openssl \
        libstdc++6 zlib1g
    # What the packages' scripts would have done.
    cp "$folder/usr/share/base-passwd/passwd.master" "$folder/etc/passwd"
    cp "$folder/usr/share/base-passwd/group.master" "$folder/etc/group"
    for link in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
        ln -sf "${link/tables/tables-nft}" "$folder/usr/sbin/$link"
    done
    mkdir -p "$folder/proc" "$folder/sys" "$folder/dev" "$folder/run" "$folder/tmp"
    touch "$folder/complete"
}
