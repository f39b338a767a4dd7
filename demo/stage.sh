# The stage of the demo: a node, a client pod, two backend pods and a pod of another node, all of network namespaces.
# shellcheck shell=bash

stage=edgemesh-demo-$$
places=(node client pod-1 pod-2 other-node)
files=''
agent_pid=''

inside() {
    local where=$1
    shift
    ip netns exec "$stage-$where" "$@"
}

# Pods stand on one bridge, as the CNI plug-ins of most clusters make it: with hairpin mode, and what goes from pod to pod passes netfilter.
set_stage() {
    files=$(mktemp -d "/tmp/$stage.XXXXXX")
    local place
    for place in "${places[@]}"; do
        ip netns add "$stage-$place"
        ip -n "$stage-$place" link set lo up
    done
    inside node sysctl -qw net.ipv4.ip_forward=1

    ip -n "$stage-node" link add uplink type veth peer name eth0 netns "$stage-other-node"
    ip -n "$stage-node" link set uplink up
    ip -n "$stage-node" address add 10.200.0.2/24 dev uplink
    ip -n "$stage-other-node" link set eth0 up
    ip -n "$stage-other-node" address add 10.200.0.1/24 dev eth0
    ip -n "$stage-other-node" address add 10.244.1.13/32 dev lo
    ip -n "$stage-other-node" route add 10.244.0.0/24 via 10.200.0.2
    ip -n "$stage-node" route add default via 10.200.0.1

    ip -n "$stage-node" link add cni0 type bridge
    ip -n "$stage-node" link set cni0 up
    ip -n "$stage-node" address add 10.244.0.1/24 dev cni0
    inside node sysctl -qw net.bridge.bridge-nf-call-iptables=1
    wire_pod client 10.244.0.100
    wire_pod pod-1 10.244.0.11 10.244.0.41
    wire_pod pod-2 10.244.0.12 10.244.0.42
}

wire_pod() {
    local pod=$1 address
    shift
    ip -n "$stage-node" link add "to-$pod" type veth peer name eth0 netns "$stage-$pod"
    ip -n "$stage-node" link set "to-$pod" master cni0 up
    ip -n "$stage-node" link set "to-$pod" type bridge_slave hairpin on
    ip -n "$stage-$pod" link set eth0 up
    for address in "$@"; do
        ip -n "$stage-$pod" address add "$address/24" dev eth0
    done
    ip -n "$stage-$pod" route add default via 10.244.0.1
}

load_kube_proxy() {
    inside node iptables-restore "$root/tests/fixtures/kube-proxy/iptables.rules"
}

start_pod() {
    local place=$1
    mkdir -p "$files/$place"
    cat >"$files/$place/nginx.conf" <<EOF
pid $files/$place/nginx.pid;
error_log $files/$place/error.log;
events { worker_connections 64; }
worker_processes 1;
http {
    access_log off;
    server { listen 8080; location / { default_type text/plain; return 200 "$place at \$server_addr, asked by \$remote_addr\n"; } }
}
EOF
    inside "$place" nginx -e "$files/$place/error.log" -c "$files/$place/nginx.conf" </dev/null
}

write_config() {
    mkdir -p "$files/manifests"
    cp "$root"/demo/manifests/*.yaml "$files/manifests/"
    cat >"$files/edgemesh-agent.yaml" <<EOF
apiVersion: agent.edgemesh.config.kubeedge.io/v1alpha1
kind: EdgeMeshAgent
commonConfig:
  stateDir: $files/state
modules:
  edgeProxy:
    enable: true
    dataPath: userspace
  edgeDNS:
    enable: true
EOF
}

start_agent() {
    env -u KUBERNETES_PORT -u KUBERNETES_SERVICE_HOST -u KUBECONFIG \
        ip netns exec "$stage-node" "$root/artifacts/edgemesh-agent/edgemesh-agent" run \
        --config-file "$files/edgemesh-agent.yaml" --manifests "$files/manifests" --node-name peer-node \
        </dev/null >>"$files/agent.log" 2>&1 &
    agent_pid=$!
    # Without this the shell would announce the end of a process that is killed on purpose.
    disown "$agent_pid"
    within 20 agent_is_ready_or_gone || true
    if ! agent_is_ready >/dev/null; then
        say "The agent is not ready. Its log:"
        sed 's/^/     /' "$files/agent.log"
        return 1
    fi
}

# stop_agent waits for its end as a person would: new connections go elsewhere at once, open ones may end.
stop_agent() {
    command_line node "kill -TERM $agent_pid"
    kill -TERM "$agent_pid"
    expect "the agent ends" within 30 agent_is_gone
}

agent_is_ready() { inside node curl -sf --max-time 1 http://127.0.0.1:9999/readyz; }

agent_is_ready_or_gone() { agent_is_ready || agent_is_gone; }

agent_is_gone() { ! kill -0 "$agent_pid" 2>/dev/null; }

# Where the jump to a chain stands in a chain of the nat table: 1 is first, nothing: not there.
place_of_jump() {
    inside node iptables -t nat -nL "$1" --line-numbers | awk -v target="$2" '$2 == target { print $1; exit }'
}

jumps_are_first() {
    [ "$(place_of_jump PREROUTING EDGEMESH-PORTALS-CONTAINER)" = 1 ] && [ "$(place_of_jump OUTPUT EDGEMESH-PORTALS-HOST)" = 1 ]
}

has_rule() { inside node iptables -t nat -nL "$1" | grep -qF "/* $2 */"; }

leads_to_listener() { inside node iptables -t nat -nL EDGEMESH-PORTALS-CONTAINER | grep -F "/* $1 */" | grep -q 'to:169.254.96.16:'; }

has_no_rule() { ! has_rule "$1" "$2"; }

# connections CHAIN TEXT: how many connections the chain's rules with this text have taken.
connections() {
    inside node iptables -t nat -nvxL "$1" | awk -v text="$2" 'index($0, text) { sum += $1 } END { print sum + 0 }'
}

# ask WHERE ADDRESS TIMES prints each answer's pod and how often it answered.
ask() {
    local i
    for ((i = 0; i < $3; i++)); do
        inside "$1" curl -s --max-time 3 "http://$2/" || echo "no answer"
    done | sed 's/ at .*//' | sort | uniq -c | sed 's/^ *\([0-9]*\) \(.*\)/\2: \1 times/'
}

# only_both_pods FILE, of what ask has printed.
only_both_pods() { [ "$(cut -d: -f1 "$1" | xargs)" = 'pod-1 pod-2' ]; }

strike_stage() {
    local place pid
    # A namespace of the demo holds nothing but what the demo started.
    for place in "${places[@]}" "${mesh_places[@]}"; do
        for pid in $(ip netns pids "$stage-$place" 2>/dev/null); do
            kill -9 "$pid" 2>/dev/null || true
        done
        ip netns delete "$stage-$place" 2>/dev/null || true
    done
    [ -z "$files" ] || rm -rf "$files"
}

# Removes every stage that --keep left standing; those of demos that run are left alone.
strike_kept_stages() {
    local place number kept=0
    for number in $(ip netns list | sed -n 's/^edgemesh-demo-\([0-9]*\)-node.*/\1/p'); do
        ! grep -qa demo.sh "/proc/$number/cmdline" 2>/dev/null || continue
        stage=edgemesh-demo-$number
        for files in /tmp/"$stage".*; do
            strike_stage
        done
        kept=$((kept + 1))
    done
    echo "$kept removed"
}
