# Makes a Debian package of a published program. Sourced by build.sh.
# shellcheck shell=bash

# agent_says ARCH ARGUMENT...: what the program for it says, on whatever processor this is.
agent_says() {
    local program emulator=()
    program="$(agent_folder "$1")/edgemesh-agent"
    if [ "$1" != "$(machine_arch)" ]; then
        case $1 in
            arm64) emulator=(qemu-aarch64-static -L /usr/aarch64-linux-gnu) ;;
            x64) emulator=(qemu-x86_64-static -L /usr/x86_64-linux-gnu) ;;
        esac
        need_programs "${emulator[0]}:qemu-user-static" >&2
    fi
    shift
    "${emulator[@]}" "$program" "$@" </dev/null
}

# man_page ARCH: from the command line's own help, so that the two cannot differ.
man_page() {
    local arch=$1 version=$2 command
    verbatim() { sed -e 's/\\/\\e/g' -e "s/^\([.']\)/\\\\\&\1/" -e 's/-/\\-/g'; }
    printf '.TH EDGEMESH\\-AGENT 8 "" "edgemesh\\-agent %s" "EdgeMesh"\n' "$version"
    printf '.SH NAME\nedgemesh\\-agent \\- brings connections of Kubernetes services to their endpoints, beside kube\\-proxy\n'
    printf '.SH SYNOPSIS\n.nf\n'
    agent_says "$arch" --help | verbatim
    printf '.fi\n'
    for command in run "config check" status cleanup; do
        printf '.SH %s\n.nf\n' "${command^^}"
        # shellcheck disable=SC2086
        agent_says "$arch" $command --help | verbatim
        printf '.fi\n'
    done
    printf '.SH FILES\n.TP\n/etc/edgemesh/config/edgemesh\\-agent.yaml\nthe configuration; edgemesh\\-agent config default writes every key with what it is for\n'
    printf '.TP\n/var/lib/edgemesh\nthe last good state of services and endpoints\n'
}

# default_config ARCH: what most users need, and every other key in comments.
default_config() {
    agent_says "$1" config minimal
    printf '\n# Every key with its default and what it is for (edgemesh-agent config default); docs/configuration.md has the whole story.\n'
    agent_says "$1" config default | sed 's/^/# /; s/ *$//'
}

# make_deb ARCH [FOLDER [COMPRESSION]]: edgemesh-agent_VERSION_DEBIANARCH.deb, in artifacts unless a folder is named.
make_deb() {
    local arch=$1 into=${2-$root/artifacts} compression=${3-xz} debian version libc folder file
    case $arch in x64) debian=amd64 ;; arm64) debian=arm64 ;; esac
    version=$(sed -n 's/.*<Version>\(.*\)<\/Version>.*/\1/p' "$root/Directory.Build.props")
    need_programs dpkg-deb:dpkg gzip:gzip readelf:binutils
    # The newest version of the C library that a symbol of it is asked for in.
    libc=$(readelf -W --dyn-syms "$(agent_folder "$arch")/edgemesh-agent" | grep -oE 'GLIBC_[0-9.]+' | sed 's/GLIBC_//' | sort -uV | tail -n 1)
    folder=$(mktemp -d)
    chmod 755 "$folder"
    install -D -m 755 "$(agent_folder "$arch")/edgemesh-agent" "$folder/usr/lib/edgemesh-agent/edgemesh-agent"
    mkdir -p "$folder/usr/bin" "$folder/usr/share/man/man8" "$folder/DEBIAN"
    ln -s ../lib/edgemesh-agent/edgemesh-agent "$folder/usr/bin/edgemesh-agent"
    install -D -m 644 "$root/deploy/systemd/edgemesh-agent.service" "$folder/lib/systemd/system/edgemesh-agent.service"
    install -D -m 644 "$root/LICENSE" "$folder/usr/share/doc/edgemesh-agent/copyright"
    mkdir -p "$folder/etc/edgemesh/config"
    default_config "$arch" >"$folder/etc/edgemesh/config/edgemesh-agent.yaml"
    man_page "$arch" "$version" | gzip -9n >"$folder/usr/share/man/man8/edgemesh-agent.8.gz"
    echo /etc/edgemesh/config/edgemesh-agent.yaml >"$folder/DEBIAN/conffiles"
    install -m 755 "$root"/deploy/deb/* "$folder/DEBIAN/"
    cat >"$folder/DEBIAN/control" <<CONTROL
Package: edgemesh-agent
Version: $version
Architecture: $debian
Maintainer: EdgeMesh
Installed-Size: $(du -sk "$folder" | cut -f1)
Depends: libc6 (>= $libc), libssl3 | libssl3t64, iptables | nftables
Section: net
Priority: optional
Description: brings connections of Kubernetes services to their endpoints
 One agent per node, beside kube-proxy. It takes the connections of the services that it handles and brings each one to
 an endpoint: by rules of the kernel wherever these can express it, and over an encrypted tunnel where no route leads.
CONTROL
    file="$into/edgemesh-agent_${version}_$debian.deb"
    dpkg-deb --build --root-owner-group -Z"$compression" "$folder" "$file" >/dev/null
    rm -rf "$folder"
    echo "$file"
}
