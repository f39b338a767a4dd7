# The second stage: nodes in the cloud and in two LANs behind NAT, a pod on each, all of network namespaces.
# shellcheck shell=bash

mesh_places=(wan nat-1 nat-2 cloud edge-1 edge-2 relay-2 pod-cloud pod-edge-1 pod-edge-2)

set_mesh_stage() {
    local place number=0
    for place in "${mesh_places[@]}"; do
        ip netns add "$stage-$place"
        ip -n "$stage-$place" link set lo up
        inside "$place" sysctl -qw net.ipv4.ip_forward=1
    done
    ip -n "$stage-wan" link add wan0 type bridge
    ip -n "$stage-wan" link set wan0 up
    join wan wan0 cloud 198.51.100.1
    join wan wan0 relay-2 198.51.100.2
    join wan wan0 nat-1 198.51.100.11
    join wan wan0 nat-2 198.51.100.12
    for number in 1 2; do
        ip -n "$stage-nat-$number" link add lan0 type bridge
        ip -n "$stage-nat-$number" link set lan0 up
        ip -n "$stage-nat-$number" address add "192.168.$number.1/24" dev lan0
        join "nat-$number" lan0 "edge-$number" "192.168.$number.10"
        ip -n "$stage-edge-$number" route add default via "192.168.$number.1"
        ip -n "$stage-nat-$number" route add "10.244.$((number + 1)).0/24" via "192.168.$number.10"
        # What goes out is masqueraded; what was not asked for does not come in.
        inside "nat-$number" iptables-restore <<'RULES'
*nat
-A POSTROUTING -d 192.168.0.0/16 -j ACCEPT
-A POSTROUTING -d 10.244.0.0/16 -j ACCEPT
-A POSTROUTING -o eth0 -j MASQUERADE
COMMIT
*filter
-A FORWARD -i eth0 -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
-A FORWARD -i eth0 -s 192.168.0.0/16 -j ACCEPT
-A FORWARD -i eth0 -s 10.244.0.0/16 -j ACCEPT
-A FORWARD -i eth0 -j DROP
COMMIT
RULES
    done
    number=0
    for place in cloud edge-1 edge-2; do
        number=$((number + 1))
        ip -n "$stage-$place" link add cni0 type bridge
        ip -n "$stage-$place" link set cni0 up
        ip -n "$stage-$place" address add "10.244.$number.1/24" dev cni0
        join "$place" cni0 "pod-$place" "10.244.$number.10"
        ip -n "$stage-pod-$place" route add default via "10.244.$number.1"
        start_pod "pod-$place"
        inside "pod-$place" socat "UDP4-RECVFROM:5353,fork" "SYSTEM:echo pod-$place" </dev/null >/dev/null 2>&1 &
        disown $!
    done
    inside cloud iptables-restore "$root/tests/fixtures/kube-proxy/iptables.rules"
}

# join WHERE BRIDGE WHO ADDRESS plugs a place into a bridge.
join() {
    ip -n "$stage-$1" link add "to-$3" type veth peer name eth0 netns "$stage-$3"
    ip -n "$stage-$1" link set "to-$3" master "$2" up
    ip -n "$stage-$3" link set eth0 up
    ip -n "$stage-$3" address add "$4/24" dev eth0
}

publish_mesh_service() { # NAME CLUSTER-IP NODE POD-ADDRESS
    cat >"$files/mesh/manifests/$1.yaml" <<EOF2
apiVersion: v1
kind: Service
metadata: {name: $1, namespace: demo}
spec:
  clusterIP: $2
  ports:
  - {name: http, port: 80, targetPort: 8080}
  - {name: dns, port: 53, targetPort: 5353, protocol: UDP}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: $1-1, namespace: demo, labels: {kubernetes.io/service-name: $1}}
addressType: IPv4
ports:
- {name: http, port: 8080}
- {name: dns, port: 5353, protocol: UDP}
endpoints:
- {addresses: [$4], conditions: {ready: true}, nodeName: $3}
EOF2
}

write_mesh_config() {
    mkdir -p "$files/mesh/manifests"
    (umask 077 && head -c 32 /dev/urandom | base64 >"$files/mesh/psk")
    publish_mesh_service in-cloud 10.96.20.1 cloud 10.244.1.10
    publish_mesh_service at-edge-1 10.96.20.2 edge-1 10.244.2.10
    publish_mesh_service at-edge-2 10.96.20.3 edge-2 10.244.3.10
    cat >"$files/mesh/edgemesh-agent.yaml" <<EOF2
apiVersion: agent.edgemesh.config.kubeedge.io/v1alpha1
kind: EdgeMeshAgent
commonConfig:
  stateDir: /var/lib/edgemesh
modules:
  edgeProxy:
    enable: true
  edgeTunnel:
    enable: true
    psk:
      path: $files/mesh/psk
    relayNodes:
    - nodeName: cloud
      advertiseAddress: [198.51.100.1]
    - nodeName: relay-2
      advertiseAddress: [198.51.100.2]
EOF2
}

declare -A mesh_agents

start_mesh_agent() {
    local node=$1
    mkdir -p "$files/mesh/$node"
    sed "s|/var/lib/edgemesh|$files/mesh/$node|" "$files/mesh/edgemesh-agent.yaml" >"$files/mesh/$node.yaml"
    env -u KUBERNETES_PORT -u KUBERNETES_SERVICE_HOST -u KUBECONFIG \
        ip netns exec "$stage-$node" "$root/artifacts/edgemesh-agent/edgemesh-agent" run \
        --config-file "$files/mesh/$node.yaml" --manifests "$files/mesh/manifests" --node-name "$node" \
        </dev/null >>"$files/mesh/$node.log" 2>&1 &
    mesh_agents[$node]=$!
    disown "${mesh_agents[$node]}"
}

# answers_from POD ADDRESS WHO
answers_from() { inside "$1" curl -sf --max-time 2 "http://$2/" | grep -q "^$3 "; }

udp_answers_from() { [ "$(inside "$1" socat -T2 - "UDP4:$2:53" <<<who)" = "$3" ]; }

way_of() { inside "$1" edgemesh-agent status -o json --config-file "$files/mesh/$1.yaml" | grep -A4 "\"endpoint\": \"$2:8080\"" | sed -n 's/.*"way": "\([a-z]*\)".*/\1/p' | head -1; }

goes() { [ "$(way_of "$1" "$2")" = "$3" ]; }

relay_between() {
    inside "$1" edgemesh-agent status -o json --config-file "$files/mesh/$1.yaml" \
        | grep -A6 "\"name\": \"$2\"" | sed -n 's/.*"relay": "\([a-z0-9-]*\)".*/\1/p' | head -1
}
