# The program for arm64 as a file and as a process of this machine. Sourced by kernels.sh.
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # root, cache, passed and failed are the caller's

# run_program_tests: adds to passed and failed. The program's system calls are this machine's.
run_program_tests() {
    local output="$cache/program.log" good=0 bad=1 begun=$SECONDS status=0
    compile build "$root/tests/EdgeMesh.HostTests" -c Release -v quiet -p:RunAnalyzers=false || fail "the host tests could not be built; the lines above say why."
    EDGEMESH_AGENT_ARM64="$(agent_folder arm64)/edgemesh-agent" "$root/tests/EdgeMesh.HostTests/bin/Release/net10.0/EdgeMesh.HostTests" \
        -noColor -noLogo -trait Ring=OnlyArm64 </dev/null 2>&1 | tee "$output" || status=$?
    if [[ $(tail -n 1 "$output") =~ Total:\ ([0-9]+),\ Errors:\ 0,\ Failed:\ ([0-9]+) ]]; then
        good=$((BASH_REMATCH[1] - BASH_REMATCH[2])) bad=${BASH_REMATCH[2]}
        [ "$status" = 0 ] || [ "$bad" != 0 ] || bad=1
    fi
    passed=$((passed + good))
    failed=$((failed + bad))
    echo "The program for arm64: $good passed, $bad failed in $((SECONDS - begun)) s"
}
