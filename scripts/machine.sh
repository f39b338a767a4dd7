# What a machine must have before anything can be built, tested or shown. Sourced by the scripts at the root.
# shellcheck shell=bash

# Tools of an administrator are not on every user's path.
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
export DOTNET_NOLOGO=1 DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_SKIP_FIRST_TIME_EXPERIENCE=1
# A build that leaves servers behind keeps the pipes of whoever waits for this script open. The compiler's is worth having while
# the projects are built, by a name of our own (msbuild reads it from here), so that just this one can be ended.
export MSBUILDDISABLENODEREUSE=1 UseSharedCompilation=true SharedCompilationId="edgemesh-$$"

fail() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

need_root() {
    [ "$(id -u)" = 0 ] || fail "this needs root, because $1. Run: sudo $0${2:+ $2}"
}

# On a stage with pods on one bridge. kubeadm asks for it too: without it kube-proxy's rules do not hold from pod to pod.
need_bridge_netfilter() {
    [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ] || fail "its pods stand on one bridge, which needs bridge netfilter, as a node of Kubernetes does. Run: modprobe br_netfilter"
}

need_dotnet() {
    # A program for another machine would be made without a word, and would not start here.
    [ "$(uname -m)" = x86_64 ] || fail "the program is built for x86-64 only so far, and this machine is $(uname -m)."
    command -v dotnet >/dev/null || fail "the .NET SDK 10 is missing. Install it from https://dotnet.microsoft.com/download and run this again."
    local version
    version=$(cd "$root" && dotnet --version 2>&1) || fail "the .NET SDK here does not fit global.json: $version"
}

# need_programs PROGRAM:PACKAGE... installs the packages whose program is missing.
need_programs() {
    local pair missing=()
    for pair in "$@"; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || fail "these programs are missing, and there is no apt-get to install them: ${missing[*]}"
    [ "$(id -u)" = 0 ] || fail "these packages are missing: ${missing[*]}. Install them, or run this as root and it will."
    echo "Installing ${missing[*]}"
    install_packages "${missing[@]}" || fail "apt-get could not install ${missing[*]}; the lines above say why."
}

install_packages() (
    # Packages shall not start their services on this machine: nginx runs inside namespaces only.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q </dev/null && apt-get install -qy --no-install-recommends "$@" </dev/null
)

# compile COMMAND...: dotnet, without the server that it leaves.
compile() {
    local status=0 process
    dotnet "$@" </dev/null || status=$?
    for process in $(grep -lsF -e "-pipename:$SharedCompilationId" /proc/[0-9]*/cmdline); do
        kill "${process//[^0-9]/}" 2>/dev/null || true
    done
    return "$status"
}

# publish_agent [OPTION...]: the native program and its symbols, to artifacts/edgemesh-agent/.
publish_agent() {
    # The native compiler leaves an object file; the system's compiler driver links it.
    need_programs gcc:gcc objcopy:binutils
    [ -e /usr/include/stdio.h ] || install_packages libc6-dev || fail "apt-get could not install libc6-dev; the lines above say why."
    compile publish "$root/src/EdgeMesh.Agent" -c Release -r linux-x64 -o "$root/artifacts/edgemesh-agent" -v quiet "$@"
}
