# The paths between two nodes: client pod, node, router, other node, backend pod; directly, through the tunnel, and through the
# tunnel over a relay on a third node.
# shellcheck shell=bash

# The reference of the two below: every router knows every way.
prepare_far() {
    set_far far
    inside far_router ip route add "$(pod_address far)/32" via "$(outer_address far_other)"
    inside far_router ip route add "$(client_address far)/32" via "$(outer_address far)"
}

prepare_tunnel() {
    set_far tunnel
    start_far tunnel tunnel_other
    start_far_agent tunnel_other bench-other tunnel tunnel_other
    start_far_agent tunnel bench-near tunnel tunnel_other
    await_session tunnel
}

# Neither node can be dialled by the other.
prepare_relayed() {
    set_far relayed
    set_outer_node relayed_relay relayed_router
    local one other
    one=$(outer_address relayed) other=$(outer_address relayed_other)
    inside relayed_router iptables -A FORWARD -s "$one" -d "$other" -j DROP
    inside relayed_router iptables -A FORWARD -s "$other" -d "$one" -j DROP
    start_far relayed relayed_relay
    start_far_agent relayed_relay bench-relay relayed relayed_relay
    start_far_agent relayed_other bench-other relayed relayed_relay
    start_far_agent relayed bench-near relayed relayed_relay
    await_session relayed
}

# set_far PATH: nodes PATH (near the client) and PATH_other (near the backend), and PATH_router between them.
set_far() {
    local path=$1
    set_place "${path}_router"
    # Not a node, but ends like one.
    node_number[${path}_router]=$((${#node_number[@]} + 1))
    inside "${path}_router" sysctl -qw net.ipv4.ip_forward=1
    set_outer_node "$path" "${path}_router"
    set_outer_node "${path}_other" "${path}_router"
    load_kube_proxy "$path"
    load_kube_proxy "${path}_other"
    wire "$path" client "$(client_address "$path")" "$(pod_address "$path")" "$(service_address "$path")"
    wire "${path}_other" backend "$(pod_address "$path")" "$(client_address "$path")"
}

# set_outer_node NODE ROUTER
set_outer_node() {
    local node=$1 router=$2 number
    number=$((${#node_number[@]} + 1))
    node_number[$node]=$number
    set_place "$node"
    inside "$node" sysctl -qw net.ipv4.ip_forward=1
    ip -n "$stage-$node" link add outer type veth peer name "to$number" netns "$stage-$router"
    ip -n "$stage-$node" address add "$(outer_address "$node")/24" dev outer
    ip -n "$stage-$router" address add "172.30.$number.1/24" dev "to$number"
    ip -n "$stage-$node" link set outer up
    ip -n "$stage-$router" link set "to$number" up
    ip -n "$stage-$node" route add default via "172.30.$number.1"
}

outer_address() { echo "172.30.${node_number[$1]}.2"; }

# start_far PATH RELAY: what all agents of a path share.
start_far() {
    mkdir -p "$files/$1/manifests"
    write_manifest "$1" | sed 's/nodeName: peer-node/nodeName: bench-other/' >"$files/$1/manifests/bench.yaml"
    (umask 077 && head -c 32 /dev/urandom | base64 >"$files/$1/psk")
}

# start_far_agent NODE NAME PATH RELAY
start_far_agent() {
    local node=$1 name=$2 path=$3 relay=$4 relay_name=bench-other
    [[ $relay != *_relay ]] || relay_name=bench-relay
    mkdir -p "$files/$node"
    cat >"$files/$node/edgemesh-agent.yaml" <<CONFIG
apiVersion: agent.edgemesh.config.kubeedge.io/v1alpha1
kind: EdgeMeshAgent
commonConfig:
  stateDir: $files/$node/state
modules:
  edgeProxy:
    enable: true
  edgeTunnel:
    enable: true
    psk:
      path: $files/$path/psk
    relayNodes:
    - nodeName: $relay_name
      advertiseAddress: [$(outer_address "$relay")]
CONFIG
    run_agent "$node" "$files/$path/manifests" "$name"
}

await_session() {
    within 20 path_answers "$1" || fail_with_log "$1" "no connection came through the tunnel"
}
