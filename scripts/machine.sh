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

# machine_arch: this machine's processor, as .NET calls it.
machine_arch() {
    case $(uname -m) in
        x86_64) echo x64 ;;
        aarch64) echo arm64 ;;
        *) fail "the program is built on and for x86-64 and arm64, and this machine is $(uname -m)." ;;
    esac
}

need_dotnet() {
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

# need_linker ARCH: what links the native compiler's object file, for this machine or for the other one.
need_linker() {
    if [ "$1" = "$(machine_arch)" ]; then
        need_programs gcc:gcc objcopy:binutils
        [ -e /usr/include/stdio.h ] || install_packages libc6-dev || fail "apt-get could not install libc6-dev; the lines above say why."
        return
    fi
    local triple debian
    case $1 in
        arm64) triple=aarch64-linux-gnu debian=arm64 ;;
        x64) triple=x86_64-linux-gnu debian=amd64 ;;
    esac
    need_programs clang:clang "$triple-gcc:gcc-${triple/_/-}" "$triple-objcopy:binutils-${triple/_/-}"
    [ -e "/usr/$triple/include/stdio.h" ] || install_packages "libc6-dev-$debian-cross" \
        || fail "apt-get could not install libc6-dev-$debian-cross; the lines above say why."
}

# agent_folder ARCH: where the program for it is published to; that for this machine is where it has always been.
agent_folder() {
    if [ "$1" = "$(machine_arch)" ]; then echo "$root/artifacts/edgemesh-agent"; else echo "$root/artifacts/edgemesh-agent-$1"; fi
}

# publish_agent ARCH [OPTION...]: the native program and its symbols, to agent_folder ARCH.
publish_agent() { publish_native src/EdgeMesh.Agent "$1" "$(agent_folder "$1")" "${@:2}"; }

# publish_native PROJECT ARCH FOLDER [OPTION...]
publish_native() {
    local project=$1 arch=$2 folder=$3 cross=()
    shift 3
    need_linker "$arch"
    if [ "$arch" != "$(machine_arch)" ]; then
        case $arch in
            arm64) cross=(-p:CppCompilerAndLinker=clang -p:ObjCopyName=aarch64-linux-gnu-objcopy) ;;
            x64) cross=(-p:CppCompilerAndLinker=clang -p:ObjCopyName=x86_64-linux-gnu-objcopy) ;;
        esac
    fi
    local log
    log=$(mktemp)
    compile publish "$root/$project" -c Release -p:NativeRuntime="linux-$arch" -o "$folder" -v quiet "${cross[@]}" "$@" 2>&1 | tee "$log"
    local status=${PIPESTATUS[0]} missing
    # "error NU1101: Unable to find package runtime.linux-arm64.Microsoft.DotNet.ILCompiler. ..."
    missing=$(grep -oE "NU110[0-9]: Unable to (find|download) package [^ ]+" "$log" | grep -oE "[^ ]+$" | sed 's/\.$//' | sort -u | tr '\n' ' ')
    rm -f "$log"
    [ -z "$missing" ] || echo "For linux-$arch the package feed lacks: $missing" >&2
    return "$status"
}
