#!/bin/sh
# root.sh PROGRAM FOLDER
# Assembles the root folder of the image: the agent, iptables with both backends, nft, OpenSSL's libraries, and what these load, from
# the packages that are installed where it runs. The Dockerfile and a host test use it, so that what lacks is missed without a registry.
set -eu
program=$1
root=$2

fail() {
    echo "root.sh: $*" >&2
    exit 1
}

mkdir -p "$root"
[ -z "$(ls -A "$root")" ] || fail "$root is not empty"
mkdir -p "$root/usr/bin" "$root/usr/sbin" "$root/usr/lib/modules" "$root/usr/local/bin" "$root/etc" "$root/proc" "$root/sys" "$root/dev" \
    "$root/run" "$root/tmp" "$root/var/lib/edgemesh"
for folder in bin sbin lib; do ln -s "usr/$folder" "$root/$folder"; done
if [ -L /lib64 ]; then mkdir -p "$root/usr/lib64" && ln -s usr/lib64 "$root/lib64"; fi
chmod 1777 "$root/tmp"

# take FILE: the file, with the links that lead to it.
take() {
    [ -e "$1" ] || fail "$1 is not here; are iptables, nftables and libssl3 installed?"
    [ ! -e "$root$1" ] || return 0
    mkdir -p "$root$(dirname "$1")"
    if [ -L "$1" ]; then
        cp -P "$1" "$root$1"
        case $(readlink "$1") in
            /*) take "$(readlink "$1")" ;;
            *) take "$(cd "$(dirname "$1")" && realpath -s -m "$(readlink "$1")")" ;;
        esac
        return 0
    fi
    cp "$1" "$root$1"
}

# take_libraries FILE...: what the files are linked with, directly or not.
take_libraries() {
    # "libm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x...)" and "/lib64/ld-linux-x86-64.so.2 (0x...)"
    for library in $(ldd "$@" 2>/dev/null | grep -E '=>|^[[:space:]]+/' | grep -oE '/[^ ]+\.so[^ :]*' | sort -u); do take "$library"; done
}

cp "$program" "$root/usr/local/bin/edgemesh-agent"
chmod 0755 "$root/usr/local/bin/edgemesh-agent"

for name in iptables ip6tables; do
    for variant in "" -nft -legacy; do
        for part in "" -save -restore; do take "/usr/sbin/$name$variant$part"; done
    done
done
take /usr/sbin/nft
# What rules are made of; loaded by name.
extensions=$(dpkg -L iptables libxtables12 | grep -E '/xtables/lib.*\.so$' || true)
[ -n "$extensions" ] || fail "no package brings the extensions of iptables (…/xtables/libxt_*.so)"
# shellcheck disable=SC2086 # A list of names without blanks.
cp -P --parents $extensions "$root"
# What an extension is linked with is named in it. OpenSSL is loaded by name, when a certificate or a key is first needed.
# shellcheck disable=SC2086 # A list of names without blanks.
names=$(grep -aohE 'lib[A-Za-z0-9_+-]+\.so\.[0-9]+' $extensions | sort -u)
libraries=
for library in $names libssl.so.3 libcrypto.so.3; do
    path=$(ldconfig -p | grep -F "$library " | grep -oE '/[^ ]+$' | head -n 1)
    [ -n "$path" ] || fail "$library is not here; are iptables and OpenSSL 3 installed?"
    take "$path"
    libraries="$libraries $path"
done
# shellcheck disable=SC2086 # A list of names without blanks.
take_libraries "$program" /usr/sbin/nft /usr/sbin/xtables-nft-multi /usr/sbin/xtables-legacy-multi $libraries

printf 'root:x:0:0:root:/:/\n' >"$root/etc/passwd"
printf 'root:x:0:\n' >"$root/etc/group"
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
