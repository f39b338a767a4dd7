#!/usr/bin/env bash
# Publishes the program to artifacts/edgemesh-agent/edgemesh-agent.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/machine.sh
source "$root/scripts/machine.sh"

need_dotnet
# Only what left over from an older build could be mistaken for this one.
rm -rf "$root/artifacts/edgemesh-agent"
publish_agent || fail "the build failed; the lines above say where."
echo "$root/artifacts/edgemesh-agent/edgemesh-agent"
