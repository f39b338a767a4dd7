#!/usr/bin/env bash
# Feeds every decoder with mutations of good input for so many minutes in all (default 10), and fails on what it does not declare.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/machine.sh
source "$root/scripts/machine.sh"

minutes=${1:-10}
[[ $minutes =~ ^[1-9][0-9]*$ ]] || fail "takes a number of minutes, like: ./fuzz.sh 30"
need_dotnet
compile build "$root/tests/EdgeMesh.Tests" -c Release -v quiet || fail "the build failed; the lines above say where."
EDGEMESH_FUZZ_MINUTES=$minutes "$root/tests/EdgeMesh.Tests/bin/Release/net10.0/EdgeMesh.Tests" -class 'EdgeMesh.Tests.Fuzzing.*' -parallel none -noColor -noLogo
