# The paths that are compared. prepare_PATH makes its node and everything on it; prove_path shows that connections take it.
# shellcheck shell=bash

all_paths=(direct bare kube_proxy iptables nftables userspace far tunnel relayed)

declare -A path_title=(
    [direct]="direct, no NAT"
    [bare]="direct, no rules"
    [kube_proxy]="kube-proxy's rules"
    [iptables]="kernel path, iptables"
    [nftables]="kernel path, nftables"
    [userspace]="user-mode path"
    [far]="direct, two nodes"
    [tunnel]="tunnel, two nodes"
    [relayed]="tunnel over a relay"
)

# path -> process id of its agent
declare -A agent_of=()

choose_paths() {
    local path
    for path in "${paths[@]}"; do
        [[ -v path_title[$path] ]] || usage
    done
    # Ratios are to the direct path, those of the tunnel to the direct path between two nodes.
    local chosen=" direct ${paths[*]} "
    [[ $chosen != *" tunnel "* && $chosen != *" relayed "* ]] || chosen+="far "
    paths=()
    for path in "${all_paths[@]}"; do
        [[ $chosen != *" $path "* ]] || paths+=("$path")
    done
}

# The reference: a node as kube-proxy leaves it, which therefore tracks connections, and clients that use the pod's address.
prepare_direct() {
    set_node direct
    load_kube_proxy direct
}

# What connection tracking and kube-proxy's filter rules cost by themselves.
prepare_bare() { set_node bare; }

prepare_kube_proxy() {
    set_node kube_proxy
    load_kube_proxy kube_proxy
    kube_proxy_rules | inside kube_proxy iptables-restore --noflush
}

prepare_iptables() { prepare_agent iptables iptables auto; }

prepare_nftables() { prepare_agent nftables nftables auto; }

prepare_userspace() { prepare_agent userspace auto userspace; }

load_kube_proxy() { inside "$1" iptables-restore "$root/tests/fixtures/kube-proxy/iptables.rules"; }

# The rules that kube-proxy would write for our service, in the words of the fixture.
kube_proxy_rules() {
    local service pod port name protocol target chain
    service=$(service_address kube_proxy) pod=$(pod_address kube_proxy)
    echo "*nat"
    while read -r name protocol port target; do
        chain=${name^^}BENCHBENCHBENCH
        chain=${chain:0:16}
        cat <<RULES
:KUBE-SVC-$chain - [0:0]
:KUBE-SEP-$chain - [0:0]
-I KUBE-SERVICES -d $service/32 -p $protocol -m comment --comment "bench/bench:$name cluster IP" -m $protocol --dport $port -j KUBE-SVC-$chain
-A KUBE-SVC-$chain ! -s 10.244.0.0/16 -d $service/32 -p $protocol -m comment --comment "bench/bench:$name cluster IP" -m $protocol --dport $port -j KUBE-MARK-MASQ
-A KUBE-SVC-$chain -m comment --comment "bench/bench:$name -> $pod:$target" -j KUBE-SEP-$chain
-A KUBE-SEP-$chain -s $pod/32 -m comment --comment "bench/bench:$name" -j KUBE-MARK-MASQ
-A KUBE-SEP-$chain -p $protocol -m comment --comment "bench/bench:$name" -m $protocol -j DNAT --to-destination $pod:$target
RULES
    done < <(service_ports)
    echo COMMIT
}

# name, protocol, port, target port
service_ports() {
    cat <<'PORTS'
http tcp 80 8080
bulk tcp 5201 5201
datagrams udp 5201 5201
latency tcp 11111 11111
PORTS
}

# prepare_agent PATH BACKEND DATAPATH: a node as users have it: kube-proxy's rules (for other services), and the agent.
prepare_agent() {
    local path=$1
    set_node "$path"
    load_kube_proxy "$path"
    mkdir -p "$files/$path/manifests"
    cat >"$files/$path/edgemesh-agent.yaml" <<CONFIG
apiVersion: agent.edgemesh.config.kubeedge.io/v1alpha1
kind: EdgeMeshAgent
commonConfig:
  stateDir: $files/$path/state
modules:
  edgeProxy:
    enable: true
    backend: $2
    dataPath: $3
CONFIG
    write_manifest "$path" >"$files/$path/manifests/bench.yaml"
    run_agent "$path" "$files/$path/manifests" peer-node
}

# run_agent NODE MANIFESTS NAME: with the configuration that stands in the node's folder.
run_agent() {
    local node=$1
    env -u KUBERNETES_PORT -u KUBERNETES_SERVICE_HOST -u KUBECONFIG \
        ip netns exec "$stage-$node" "$EDGEMESH_AGENT" run \
        --config-file "$files/$node/edgemesh-agent.yaml" --manifests "$2" --node-name "$3" \
        </dev/null >"$files/$node/agent.log" 2>&1 &
    agent_of[$node]=$!
    disown $!
    within 20 inside "$node" curl -sf --max-time 1 http://127.0.0.1:9999/readyz || fail_with_log "$node" "its agent is not ready"
}

write_manifest() {
    local name protocol port target
    cat <<MANIFEST
apiVersion: v1
kind: Service
metadata: {name: bench, namespace: bench}
spec:
  clusterIP: $(service_address "$1")
  ports:
$(service_ports | while read -r name protocol port target; do
        echo "  - {name: $name, protocol: ${protocol^^}, port: $port, targetPort: $target}"
    done)
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: bench-1, namespace: bench, labels: {kubernetes.io/service-name: bench}}
addressType: IPv4
ports:
$(service_ports | while read -r name protocol port target; do
        echo "- {name: $name, protocol: ${protocol^^}, port: $target}"
    done)
endpoints:
- {addresses: [$(pod_address "$1")], conditions: {ready: true}, nodeName: peer-node}
MANIFEST
}

# Where clients of a path connect to.
target_address() { if is_direct "$1"; then pod_address "$1"; else service_address "$1"; fi; }

http_port() { if is_direct "$1"; then echo 8080; else echo 80; fi; }

is_direct() { [[ $1 = direct || $1 = bare || $1 = far ]]; }

# A path that is not taken must not be measured: nobody else answers for the service on an agent's node, and whether the
# pod sees the client or the node tells the kernel's way from the process's.
prove_path() {
    local path=$1 seen expected
    expected=$(client_address "$path")
    case "$path" in
    userspace) expected=$(node_address "$path") ;;
    tunnel | relayed) expected=$(node_address "${path}_other") ;;
    esac
    within 5 path_answers "$path" || fail_with_log "$path" "http://$(target_address "$path"):$(http_port "$path")/ does not answer"
    seen=$(inside client curl -s --max-time 2 "http://$(target_address "$path"):$(http_port "$path")/")
    [ "$seen" = "$expected" ] || fail_with_log "$path" "the pod sees $seen and not $expected, so connections go another way"
}

path_answers() { inside client curl -sf --max-time 1 "http://$(target_address "$1"):$(http_port "$1")/"; }

fail_with_log() {
    cat "$files/$1/agent.log" >&2 2>/dev/null || true
    fail "path $1 cannot be measured: $2."
}
