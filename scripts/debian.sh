# Debian's packages for a processor, fetched and unpacked into a folder of ours, never installed. Sourced by kernels.sh and test.sh.
# shellcheck shell=bash
# shellcheck disable=SC2154 # root and arch are the caller's

debian_arch() { [ "$arch" = x64 ] && echo amd64 || echo arm64; }

# apt_for SUITE COMMAND...: apt-get with a state of its own, so that this machine's lists, locks and architectures stay out of it.
# SUITE: this machine's own sources, or the release that has the kernel.
apt_for() {
    local suite=$1 state debian sources=()
    shift
    debian=$(debian_arch)
    state="$root/artifacts/debian/$arch-$suite"
    mkdir -p "$state/lists/partial" "$state/archives/partial"
    : >>"$state/status"
    if [ "$suite" != own ]; then
        local mirror
        mirror=$(grep -rhoE 'https?://[^ ]+/debian/?( |$)' /etc/apt/sources.list /etc/apt/sources.list.d 2>/dev/null | head -n 1 | tr -d ' ' || true)
        [ -n "$mirror" ] || fail "apt's sources on this machine name no mirror of Debian, where $suite would be looked for."
        printf 'deb %s %s main\ndeb %s-security %s-security main\n' "$mirror" "$suite" "${mirror%/}" "$suite" >"$state/sources.list"
        sources=(-o "Dir::Etc::sourcelist=$state/sources.list" -o Dir::Etc::sourceparts=/dev/null)
    fi
    (cd "$state" && apt-get -q "${sources[@]}" -o "Dir::State=$state" -o "Dir::State::status=$state/status" -o "Dir::Cache=$state" \
        -o "APT::Architecture=$debian" -o "APT::Architectures=$debian" -o APT::Sandbox::User=root "$@") </dev/null
}

# unpack_packages FOLDER PACKAGE...: these and what they depend on, as a root folder in which none of their scripts has run.
unpack_packages() {
    local folder=$1 archives="$root/artifacts/debian/$arch-own/archives" link package
    shift
    apt_for own update >/dev/null || fail "Debian's package lists could not be read; the lines above say why."
    rm -f "$archives"/*.deb
    apt_for own --yes --download-only --no-install-recommends install "$@" >/dev/null \
        || fail "packages for $arch could not be fetched; the lines above say why."
    rm -rf "$folder"
    mkdir -p "$folder"
    for link in bin sbin lib; do
        mkdir -p "$folder/usr/$link"
        ln -s "usr/$link" "$folder/$link"
    done
    for package in "$archives"/*.deb; do
        # Debian 12's packages still have files in /bin and /lib, which are links by now; dpkg-deb --extract would put folders there.
        dpkg-deb --fsys-tarfile "$package" | tar -x --keep-directory-symlink -C "$folder"
    done
    rm -f "$archives"/*.deb
}
