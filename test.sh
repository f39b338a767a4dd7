#!/usr/bin/env bash
# Installs what the tests need, builds, runs every test, and ends with a line `N passed, N failed`.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/machine.sh
source "$root/scripts/machine.sh"
# shellcheck source=scripts/debian.sh
source "$root/scripts/debian.sh"

[ $# = 0 ] || fail "takes no arguments. To run some of the tests: tests/EdgeMesh.Tests/bin/Release/net10.0/EdgeMesh.Tests -class 'EdgeMesh.Tests.Catalog.*'"
need_dotnet
need_programs ip:iproute2 iptables-nft:iptables iptables-legacy:iptables nft:nftables conntrack:conntrack \
    curl:curl nginx:nginx-light socat:socat dig:bind9-dnsutils unbound:unbound dnsperf:dnsperf musl-gcc:musl-tools ps:procps node:nodejs npm:npm \
    qemu-aarch64-static:qemu-user-static systemd-analyze:systemd
need_linker x64
need_linker arm64
# Real js-libp2p nodes, for the interop tests; what the lock file names, and only when that has changed.
if ! cmp -s "$root/tests/interop-js/package-lock.json" "$root/tests/interop-js/node_modules/.edgemesh-lock.json"; then
    (cd "$root/tests/interop-js" && npm ci --no-progress --loglevel=error </dev/null) || fail "npm could not install the packages of tests/interop-js; the lines above say why."
    cp "$root/tests/interop-js/package-lock.json" "$root/tests/interop-js/node_modules/.edgemesh-lock.json"
fi

started=$SECONDS
begun=$SECONDS
compile build "$root/EdgeMesh.slnx" -c Release -v quiet || fail "the build failed; the lines above say where."
# The analyzers have just seen every line.
publish_agent "$(machine_arch)" -p:RunAnalyzers=false || fail "the program could not be published; the lines above say why."
# What follows from what has to be the same on the other processor. On an arm64 machine, that is what all tests show.
if [ "$(machine_arch)" != arm64 ]; then
    publish_native tests/EdgeMesh.Arm64Tests arm64 "$root/artifacts/arm64-tests" -p:RunAnalyzers=false \
        || fail "the pure tests could not be published for arm64; the lines above say why."
    # Used by debian.sh.
    # shellcheck disable=SC2034
    arch=arm64
    unpack_packages "$root/artifacts/arm64-root" libc6 openssl
fi
echo "Built in $((SECONDS - begun)) s"
# Host tests run the program that users get, not a debug build.
export EDGEMESH_AGENT="$root/artifacts/edgemesh-agent/edgemesh-agent"

passed=0
failed=0
output=$(mktemp)
trap 'rm -f "$output"' EXIT

# run_tests NAME COMMAND...: runs them, and adds what its last line sums up.
run_tests() {
    local name=$1 begun=$SECONDS status=0 good bad
    shift
    "$@" </dev/null 2>&1 | tee "$output" || status=$?
    # "   EdgeMesh.Tests  Total: 6, Errors: 0, Failed: 0, Skipped: 0, Not Run: 0, Time: 1.124s"
    if [[ $(grep -E ' Total: [0-9]+, Errors: ' "$output" | tail -n 1) =~ Total:\ ([0-9]+),\ Errors:\ ([0-9]+),\ Failed:\ ([0-9]+),\ Skipped:\ ([0-9]+),\ Not\ Run:\ ([0-9]+) ]]; then
        # A test that was not run has shown nothing, so it counts as failed.
        bad=$((BASH_REMATCH[2] + BASH_REMATCH[3] + BASH_REMATCH[4] + BASH_REMATCH[5]))
        good=$((BASH_REMATCH[1] - BASH_REMATCH[3] - BASH_REMATCH[4] - BASH_REMATCH[5]))
        if [ "${BASH_REMATCH[1]}" = 0 ]; then
            echo "$name ran no test at all"
            bad=1
        elif [ "$status" != 0 ] && [ "$bad" = 0 ]; then
            echo "$name ended with $status although no test failed"
            bad=1
        fi
    else
        echo "$name ended with $status before it could sum up"
        good=0
        bad=1
    fi
    passed=$((passed + good))
    failed=$((failed + bad))
    echo "$name: $good passed, $bad failed in $((SECONDS - begun)) s"
}

for project in $(grep -l '<IsTestProject>true' "$root"/tests/*/*.csproj); do
    name=$(basename "$project" .csproj)
    # What only other kernels or processors can do is for ./kernels.sh.
    run_tests "$name" "$(dirname "$project")/bin/Release/net10.0/$name" -noColor -noLogo -trait- Ring=OnlyKernels -trait- Ring=OnlyArm64
done
if [ "$(machine_arch)" != arm64 ]; then
    run_tests EdgeMesh.Arm64Tests qemu-aarch64-static -L "$root/artifacts/arm64-root" "$root/artifacts/arm64-tests/EdgeMesh.Tests"
fi

[ $((passed + failed)) -gt 0 ] || failed=1
echo "All of it took $((SECONDS - started)) s"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
