#!/bin/bash
# In the guest: the agent on a node of network namespaces beside what kube-proxy wrote, asked by a client pod and by the node itself.
# Few programs and no .NET, so that each kernel takes two or three minutes. It prints what it begins and how that ended as xunit does.
# Usage: quick.sh REPOSITORY, with EDGEMESH_AGENT naming the program.
set -u
repository=$1
agent=$EDGEMESH_AGENT
files=$(mktemp -d)
web=10.96.10.1:80 dns=10.96.10.5:53
failures=0

in_node() { ip netns exec quick-node "$@"; }

# The pods' servers say by which port they were reached: 8080 and 5353 is where kube-proxy's rules lead, 8081 and 5354 the agent's.
make_stage() {
    local role pod
    for role in node client pods; do
        ip netns add "quick-$role"
        ip -n "quick-$role" link set lo up
    done
    for role in client pods; do
        ip link add "$role" netns quick-node type veth peer name eth0 netns "quick-$role"
        ip -n quick-node link set "$role" up
        ip -n "quick-$role" link set eth0 up
    done
    ip -n quick-node addr add 10.244.0.1/32 dev client
    ip -n quick-client addr add 10.244.0.100/32 dev eth0
    ip -n quick-node route add 10.244.0.100 dev client
    for role in 10.244.0.11 10.244.0.12 10.244.1.13 10.244.0.51 10.244.0.52; do
        ip -n quick-pods addr add "$role/32" dev eth0
        ip -n quick-node route add "$role" dev pods src 10.244.0.1
    done
    for role in client pods; do
        ip -n "quick-$role" route add 10.244.0.1 dev eth0
        ip -n "quick-$role" route add default via 10.244.0.1
    done
    ip -n quick-node link add uplink type bridge
    ip -n quick-node addr add 10.200.0.2/24 dev uplink
    ip -n quick-node link set uplink up
    ip -n quick-node route add default via 10.200.0.1
    in_node sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
    for role in 8080:kube-proxy 8081:agent; do
        ip netns exec quick-pods socat "TCP4-LISTEN:${role%:*},fork,reuseaddr" "SYSTEM:echo ${role#*:}" 2>/dev/null &
    done
    # Each at its own address: an answer from another one would be nobody's.
    for role in 5353:kube-proxy 5354:agent; do
        for pod in 10.244.0.51 10.244.0.52; do
            ip netns exec quick-pods socat "UDP4-RECVFROM:${role%:*},bind=$pod,fork" "SYSTEM:echo ${role#*:}" 2>/dev/null &
        done
    done
}

# strike_stage: ends what make_stage started.
strike_stage() {
    local role
    for role in node client pods; do
        ip netns pids "quick-$role" 2>/dev/null | xargs -r kill -9 2>/dev/null
        ip netns del "quick-$role"
    done
    wait
} 2>/dev/null

write_kube_proxys_rules() {
    local fixtures="$repository/tests/fixtures/kube-proxy"
    case $1 in
    iptables-nft | iptables-legacy) in_node "$1-restore" --noflush <"$fixtures/iptables.rules" ;;
    nftables) in_node nft -f "$fixtures/nftables.nft" ;;
    ipvs)
        in_node iptables-nft -t mangle -N KUBE-KUBELET-CANARY
        ip -n quick-node link add kube-ipvs0 type dummy
        ip -n quick-node addr add 10.96.10.1/32 dev kube-ipvs0
        ip -n quick-node addr add 10.96.10.5/32 dev kube-ipvs0
        in_node ipvsadm -A -t "$web" -s rr && in_node ipvsadm -a -t "$web" -r 10.244.0.11:8080 -m
        in_node ipvsadm -A -u "$dns" -s rr && in_node ipvsadm -a -u "$dns" -r 10.244.0.51:5353 -m
        in_node sh -c 'echo 1 >/proc/sys/net/ipv4/vs/conntrack'
        in_node iptables-nft -t nat -A POSTROUTING -m ipvs --ipvs -m addrtype --src-type LOCAL -j MASQUERADE
        ;;
    esac
}

write_manifests() {
    local through=$1 each name address protocol port target endpoint
    mkdir -p "$files/manifests"
    for each in web:10.96.10.1:TCP:80:8081:10.244.0.11 dns:10.96.10.5:UDP:53:5354:10.244.0.51; do
        IFS=: read -r name address protocol port target endpoint <<<"$each"
        cat >"$files/manifests/$name.yaml" <<-END
		apiVersion: v1
		kind: Service
		metadata: {name: $name, namespace: demo}
		spec: {type: ClusterIP, clusterIP: $address, clusterIPs: [$address], ports: [{name: main, port: $port, targetPort: $target, protocol: $protocol}]}
		---
		apiVersion: discovery.k8s.io/v1
		kind: EndpointSlice
		metadata: {name: $name-v4, namespace: demo, labels: {kubernetes.io/service-name: $name}}
		addressType: IPv4
		ports: [{name: main, port: $target, protocol: $protocol}]
		endpoints: [{addresses: [$endpoint], conditions: {ready: true}, nodeName: peer-node}]
		END
    done
    cat >"$files/agent.yaml" <<-END
	apiVersion: agent.edgemesh.config.kubeedge.io/v1alpha1
	kind: EdgeMeshAgent
	commonConfig: {stateDir: $files/state}
	modules: {edgeProxy: {enable: true, dataPath: $through}}
	END
}

start_agent() {
    ip netns exec quick-node "$agent" run --config-file "$files/agent.yaml" --manifests "$files/manifests" --node-name node >"$files/log" 2>&1 &
    running=$!
    eventually 90 ready || { echo "not ready:"; tail -n 20 "$files/log"; return 1; }
}

ready() { [ "$(in_node curl -s -o /dev/null -w '%{http_code}' -m 10 http://127.0.0.1:9999/readyz)" = 200 ]; }

# ask FROM tcp|udp: who answered.
ask() {
    local place=$web
    [ "$2" = tcp ] || place=$dns
    # One read: what of a datagram is not read at once is lost.
    # shellcheck disable=SC2016
    ip netns exec "quick-$1" timeout 8 bash -c 'exec 3<>"/dev/$0/${1%:*}/${1#*:}" && echo who >&3 && dd bs=512 count=1 status=none <&3' "$2" "$place" 2>/dev/null
}

# eventually SECONDS COMMAND...
eventually() {
    local until=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$until" ] || return 1
        sleep 0.3
    done
}

is_answered_by() { [ "$(ask "$2" "$3")" = "$1" ]; }

# all_answered_by WHO: the client and the node, over TCP and UDP.
all_answered_by() {
    local from protocol
    for from in client node; do
        for protocol in tcp udp; do
            eventually 30 is_answered_by "$1" "$from" "$protocol" \
                || { echo "      $from over $protocol was not answered by $1 but by '$(ask "$from" "$protocol")'"; return 1; }
        done
    done
}

# test NAME COMMAND...: ends this setup when it fails, since the rest would fail with it.
test_that() {
    local name="EdgeMesh.HostTests.Quick.$1($setup)" begun=$SECONDS status=0
    shift
    echo "    $name [STARTING]"
    "$@" || status=1
    [ "$status" = 0 ] || { failures=$((failures + 1)); echo "    $name [FAIL]"; }
    echo "    $name [FINISHED] Time: $((SECONDS - begun))s"
    return "$status"
}

takes() { start_agent && all_answered_by agent; }

keeps_the_order() {
    # kube-proxy starts again: it writes its rules anew, above everything where it can.
    case $1 in
    iptables-*) in_node "$1" -t nat -I PREROUTING -j KUBE-SERVICES && in_node "$1" -t nat -I OUTPUT -j KUBE-SERVICES ;;
    esac
    write_kube_proxys_rules "$1" || return 1
    all_answered_by agent
}

fails_open() {
    kill -9 "$running"
    wait "$running" 2>/dev/null
    if [ "$1" = userspace ]; then all_answered_by kube-proxy; else sleep 6 && all_answered_by agent; fi
}

cleans_up() {
    start_agent || return 1
    all_answered_by agent || return 1
    kill "$running"
    wait "$running" || { echo "      it ended with $?"; return 1; }
    in_node "$agent" cleanup --config-file "$files/agent.yaml" >"$files/log" 2>&1 || { cat "$files/log"; return 1; }
    if { in_node iptables-nft-save; in_node iptables-legacy-save; in_node nft list ruleset; ip -n quick-node link; } 2>/dev/null | grep -i edgemesh; then
        return 1
    fi
    all_answered_by kube-proxy
}

beside() {
    local kube_proxy=$1 through=$2
    setup="beside: $1, through: $2"
    make_stage
    write_manifests "$through"
    write_kube_proxys_rules "$kube_proxy"
    test_that KubeProxyAnswersBeforeTheAgent all_answered_by kube-proxy \
        && test_that TheAgentTakesBothServicesFromPodAndNode takes \
        && { [ "$kube_proxy" = ipvs ] || test_that AndKeepsThemWhenKubeProxyWritesAgain keeps_the_order "$kube_proxy"; } \
        && test_that AKilledAgentTakesNothingFromKubeProxy fails_open "$through" \
        && test_that TheNextStartHealsAndCleanupLeavesNothing cleans_up
    strike_stage
}

for kube_proxy in iptables-nft iptables-legacy nftables ipvs; do
    [ "$kube_proxy" != ipvs ] || modprobe -q ip_vs || { echo "      this kernel has no IPVS" && continue; }
    for through in userspace auto; do
        beside "$kube_proxy" "$through"
    done
done
rm -rf "$files"
[ "$failures" = 0 ]
