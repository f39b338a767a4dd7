#!/usr/bin/env bash
# Usage: ./build.sh [--arch x64|arm64|all] [--deb]
# Publishes the program, for this machine unless --arch names another, and prints where it is: artifacts/edgemesh-agent/edgemesh-agent,
# for the other processor artifacts/edgemesh-agent-ARCH/edgemesh-agent. --deb makes a Debian package of each.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/machine.sh
source "$root/scripts/machine.sh"
# shellcheck source=scripts/deb.sh
source "$root/scripts/deb.sh"

arch=$(machine_arch)
deb=
while [ $# -gt 0 ]; do
    case $1 in
        --arch)
            arch=${2-}
            shift 2 || fail "--arch wants x64, arm64 or all."
            ;;
        --deb)
            deb=yes
            shift
            ;;
        *) fail "'$1' is not known. Usage: ./build.sh [--arch x64|arm64|all] [--deb]" ;;
    esac
done
case $arch in
    x64 | arm64) archs=("$arch") ;;
    all) archs=(x64 arm64) ;;
    *) fail "there is no --arch '$arch': x64, arm64 or all." ;;
esac

need_dotnet
for arch in "${archs[@]}"; do
    folder=$(agent_folder "$arch")
    # Only what left over from an older build could be mistaken for this one.
    rm -rf "$folder"
    publish_agent "$arch" || fail "the build for $arch failed; the lines above say where."
    echo "$folder/edgemesh-agent"
    [ -z "$deb" ] || make_deb "$arch" || fail "the package for $arch could not be made; the lines above say why."
done
