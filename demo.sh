#!/usr/bin/env bash
# Shows the main job on this machine, with no cluster: a node with kube-proxy's rules, pods, and the agent between them.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/machine.sh
source "$root/scripts/machine.sh"
# shellcheck source=demo/telling.sh
source "$root/demo/telling.sh"
# shellcheck source=demo/stage.sh
source "$root/demo/stage.sh"
# shellcheck source=demo/mesh.sh
source "$root/demo/mesh.sh"

keep=''
case "$#${1:-}" in
0) ;;
1--keep) keep=yes ;;
1--clean) need_root "it removes network namespaces" --clean && strike_kept_stages && exit ;;
*) fail "usage: ./demo.sh [--keep | --clean]
  --keep   leave the stage standing at the end, with the agent running, to play with
  --clean  remove what --keep left standing" ;;
esac
need_root "it makes network namespaces and loads rules into them; nothing outside of these is touched" "${1:-}"
need_bridge_netfilter
need_dotnet
need_programs ip:iproute2 iptables:iptables iptables-restore:iptables curl:curl nginx:nginx-light sysctl:procps socat:socat

end() {
    local status=$?
    trap - EXIT INT TERM
    if [ -n "$keep" ] && [ "$status" = 0 ]; then
        say "" "The stage stands, with the agent running. Try:" \
            "  ip netns exec $stage-client curl http://10.96.10.1/" \
            "  ip netns exec $stage-node iptables -t nat -nvL" \
            "  ip netns exec $stage-node artifacts/edgemesh-agent/edgemesh-agent status --config-file $files/edgemesh-agent.yaml" \
            "  edit $files/manifests/web.yaml;  tail -f $files/agent.log" \
            "Remove it with: ./demo.sh --clean"
    else
        strike_stage
    fi
    exit "$status"
}
trap end EXIT
trap 'echo; echo "Interrupted: cleaning up."; keep=""; exit 130' INT TERM

echo "Building the agent"
publish_agent "$(machine_arch)" || fail "the agent could not be built; the lines above say why."
export PATH="$root/artifacts/edgemesh-agent:$PATH"
begun=$SECONDS
for each in "$root"/demo/steps/*.sh; do
    # shellcheck source=/dev/null
    source "$each"
done
[ -z "$keep" ] || start_agent
say "" "The demo took $((SECONDS - begun)) s."
summary
