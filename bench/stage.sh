# The stage: one client pod and one backend pod, and between them one node per path, all of network namespaces. Each node
# has its own bridge, so that every path stands all the time and switching between them changes nothing.
# shellcheck shell=bash

stage=edgemesh-bench-$$
files=''
# name of a node -> its number, which is part of its addresses
declare -A node_number=()

inside() {
    local where=$1
    shift
    ip netns exec "$stage-$where" "$@"
}

pod_address() { echo "10.244.${node_number[$1]}.11"; }

client_address() { echo "10.244.${node_number[$1]}.100"; }

node_address() { echo "10.244.${node_number[$1]}.1"; }

service_address() { echo "10.96.${node_number[$1]}.10"; }

set_stage() {
    files=$(mktemp -d "/tmp/$stage.XXXXXX")
    local place
    for place in client backend; do
        set_place "$place"
    done
    start_servers
}

set_place() {
    ip netns add "$stage-$1"
    ip -n "$stage-$1" link set lo up
}

# set_node NAME: a node of its own, with both pods on one bridge, as the CNI plug-ins of most clusters make it: with hairpin mode, and
# what goes from pod to pod passes netfilter.
set_node() {
    local node=$1 number
    number=$((${#node_number[@]} + 1))
    node_number[$node]=$number
    set_place "$node"
    inside "$node" sysctl -qw net.ipv4.ip_forward=1
    ip -n "$stage-$node" link add cni0 type bridge
    ip -n "$stage-$node" link set cni0 up
    ip -n "$stage-$node" address add "$(node_address "$node")/24" dev cni0
    inside "$node" sysctl -qw net.bridge.bridge-nf-call-iptables=1
    bridge_pod "$node" client "$(client_address "$node")"
    bridge_pod "$node" backend "$(pod_address "$node")"
    ip -n "$stage-client" route add "$(service_address "$node")/32" via "$(node_address "$node")" dev "eth$number" src "$(client_address "$node")"
}

# bridge_pod NODE PLACE ADDRESS: one more card of the place, a port of the node's bridge.
bridge_pod() {
    local node=$1 place=$2 card=eth${node_number[$1]}
    ip -n "$stage-$node" link add "to-$place" type veth peer name "$card" netns "$stage-$place"
    ip -n "$stage-$node" link set "to-$place" master cni0 up
    ip -n "$stage-$node" link set "to-$place" type bridge_slave hairpin on
    ip -n "$stage-$place" link set "$card" up
    ip -n "$stage-$place" address add "$3/24" dev "$card"
}

# Between two nodes, where no pods share a bridge.
# wire NODE PLACE ADDRESS REACHED...: a wire, the place's address on it, and what the place reaches over it.
wire() {
    local node=$1 place=$2 address=$3 gateway reached
    shift 3
    gateway=$(node_address "$node")
    ip -n "$stage-$node" link add "to-$place" type veth peer name "eth${node_number[$node]}" netns "$stage-$place"
    ip -n "$stage-$node" link set "to-$place" up
    ip -n "$stage-$node" address add "$gateway/32" dev "to-$place"
    ip -n "$stage-$node" route add "$address/32" dev "to-$place" src "$gateway"
    ip -n "$stage-$place" link set "eth${node_number[$node]}" up
    ip -n "$stage-$place" address add "$address/32" dev "eth${node_number[$node]}"
    ip -n "$stage-$place" route add "$gateway/32" dev "eth${node_number[$node]}" src "$address"
    for reached in "$@"; do
        ip -n "$stage-$place" route add "$reached/32" via "$gateway" dev "eth${node_number[$node]}" src "$address"
    done
}

# nginx, an iperf3 and a sockperf server: the same ones for every path.
start_servers() {
    start_web
    start inside backend iperf3 -s -p 5201
    start inside backend sockperf server --tcp -i 0.0.0.0 -p 11111
}

start_web() {
    mkdir -p "$files/backend"
    cat >"$files/backend/nginx.conf" <<CONF
pid $files/backend/nginx.pid;
error_log $files/backend/error.log;
worker_processes auto;
events { worker_connections 1024; }
http {
    access_log off;
    keepalive_requests 100000000;
    server { listen 8080 backlog=4096; location / { default_type text/plain; return 200 "\$remote_addr\n"; } }
}
CONF
    inside backend nginx -e "$files/backend/error.log" -c "$files/backend/nginx.conf" </dev/null
}

# start COMMAND... in the background; its output is shown only if something fails.
start() {
    "$@" </dev/null >>"$files/servers.log" 2>&1 &
    # Without this the shell would announce its end.
    disown $!
}

# within SECONDS COMMAND... asks again until it is so.
within() {
    local until=$((${EPOCHREALTIME/./} + $1 * 1000000))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "${EPOCHREALTIME/./}" -lt "$until" ] || return 1
        read -rt 0.05 <> <(:) || true
    done
}

# need_agent: EDGEMESH_AGENT, or what is built now.
need_agent() {
    [ -z "${EDGEMESH_AGENT:-}" ] || return 0
    need_dotnet
    echo "Building the agent"
    publish_agent "$(machine_arch)" || fail "the agent could not be built; the lines above say why."
    # For bench/names.sh too, which a full run starts.
    export EDGEMESH_AGENT=$root/artifacts/edgemesh-agent/edgemesh-agent
}

# strike_at_end: however this script ends, nothing of the stage stays.
strike_at_end() {
    trap 'status=$?; trap - EXIT INT TERM; strike_stage; exit "$status"' EXIT
    trap 'echo; echo "Interrupted: cleaning up."; exit 130' INT TERM
}

strike_stage() {
    local place pid
    # A namespace of the benchmark holds nothing but what the benchmark started.
    for place in client backend "${!node_number[@]}"; do
        for pid in $(ip netns pids "$stage-$place" 2>/dev/null); do
            kill -9 "$pid" 2>/dev/null || true
        done
        ip netns delete "$stage-$place" 2>/dev/null || true
    done
    [ -z "$files" ] || rm -rf "$files"
}
