# The pure tests, compiled for arm64 as the program is. Sourced by kernels.sh.
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # root, cache, built, passed and failed are the caller's

# run_pure_tests: adds to passed and failed. Their system calls are this machine's; the libraries are Debian's for that processor.
run_pure_tests() {
    local folder="$cache/pure" output="$cache/pure.log" good=0 bad=1 begun=$SECONDS status=0
    [ -n "$built" ] || publish_native tests/EdgeMesh.Arm64Tests arm64 "$folder" \
        || fail "the pure tests for arm64 could not be published; the lines above say why."
    qemu-aarch64-static -L "$cache/root" "$folder/EdgeMesh.Tests" </dev/null 2>&1 | tee "$output" || status=$?
    if [[ $(tail -n 1 "$output") =~ Total:\ ([0-9]+),\ Errors:\ 0,\ Failed:\ ([0-9]+) ]]; then
        good=$((BASH_REMATCH[1] - BASH_REMATCH[2])) bad=${BASH_REMATCH[2]}
        [ "$status" = 0 ] || [ "$bad" != 0 ] || bad=1
    fi
    passed=$((passed + good))
    failed=$((failed + bad))
    echo "The pure tests compiled for arm64: $good passed, $bad failed in $((SECONDS - begun)) s"
}
