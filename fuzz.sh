#!/usr/bin/env bash
# Feeds every decoder with mutations of good input for so many minutes in all (default 10), and fails on what it does not declare.
# The search is led by the branches that inputs reach: the product's assemblies are instrumented by SharpFuzz, in a copy.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/machine.sh
source "$root/scripts/machine.sh"

minutes=${1:-10}
[[ $minutes =~ ^[1-9][0-9]*$ ]] || fail "takes a number of minutes, like: ./fuzz.sh 30"
need_dotnet
compile build "$root/tests/EdgeMesh.Tests" -c Release -v quiet || fail "the build failed; the lines above say where."
tool="$root/artifacts/sharpfuzz"
[ -x "$tool/sharpfuzz" ] || dotnet tool install SharpFuzz.CommandLine --version 2.3.0 --tool-path "$tool" >/dev/null \
    || fail "SharpFuzz could not be installed; the lines above say why."
copy="$root/artifacts/fuzz"
rm -rf "$copy"
cp -r "$root/tests/EdgeMesh.Tests/bin/Release/net10.0" "$copy"
trace=$(find "$tool/.store" -path '*/net10.0/*' -name SharpFuzz.Common.dll | head -n 1)
cp "$trace" "$copy/"
# With the list of assemblies the runtime would not find the one that was added.
rm "$copy/EdgeMesh.Tests.deps.json"
for assembly in EdgeMesh EdgeMesh.Agent EdgeMesh.Dns EdgeMesh.Kubernetes EdgeMesh.LibP2P EdgeMesh.Linux EdgeMesh.Net EdgeMesh.Netfilter; do
    name=$assembly.dll
    [ "$assembly" != EdgeMesh.Agent ] || name=edgemesh-agent.dll
    "$tool/sharpfuzz" "$copy/$name" || fail "$name could not be instrumented; the lines above say why."
done
EDGEMESH_FUZZ_TRACE="$copy/SharpFuzz.Common.dll" EDGEMESH_FUZZ_MINUTES=$minutes \
    "$copy/EdgeMesh.Tests" -class 'EdgeMesh.Tests.Fuzzing.*' -parallel none -noColor -noLogo -showLiveOutput
