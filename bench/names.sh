#!/usr/bin/env bash
# Questions for names a second, beside a resolver that is known to be fast (unbound, with the same names and the same upstream), in one run and in turn.
# The client is a pod; 2,000 services; a fifth each of A, AAAA, search-list misses, names of the world, and SRV.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/machine.sh
source "$root/scripts/machine.sh"
# shellcheck source=bench/stage.sh
source "$root/bench/stage.sh"

rounds=3 seconds=5
while [ $# -gt 0 ]; do
    [[ $1 =~ ^--(rounds|seconds)$ && ${2:-} =~ ^[1-9][0-9]?$ ]] || fail "usage: ./bench.sh --names [--rounds N] [--seconds N]"
    declare "${1#--}=$2"
    shift 2
done

need_root "it makes network namespaces and loads rules into them; nothing outside of these is touched"
need_programs ip:iproute2 nft:nftables sysctl:procps curl:curl dig:bind9-dnsutils dnsperf:dnsperf unbound:unbound
need_agent

services=2000
zone=svc.cluster.local
yardstick=10.96.255.53

start_servers() { :; }

strike_at_end

unbound_file() {
    cat <<CONF
server:
  interface: $1
  access-control: 0.0.0.0/0 allow
  username: ""
  chroot: ""
  pidfile: ""
  directory: "$files"
  use-syslog: no
  do-daemonize: no
  num-threads: 1
  module-config: "iterator"
  local-zone: "10.in-addr.arpa" nodefault
CONF
    cat
    printf 'remote-control:\n  control-enable: no\n'
}

set_stage
set_node names
mkdir -p "$files/names/manifests"
ip -n "$stage-client" route add 169.254.96.16/32 via "$(node_address names)" dev eth1 src "$(client_address names)"
ip -n "$stage-client" route add "$yardstick/32" via "$(node_address names)" dev eth1 src "$(client_address names)"
ip -n "$stage-names" address add "$yardstick/32" dev lo

for ((i = 0; i < services; i++)); do
    ip4="10.97.$((i / 250)).$((i % 250 + 1))"
    printf -- '---\napiVersion: v1\nkind: Service\nmetadata: {name: s%d, namespace: demo}\nspec: {type: ClusterIP, clusterIP: %s, clusterIPs: ["%s"], ports: [{name: http, port: 80}]}\n' "$i" "$ip4" "$ip4"
done >"$files/names/manifests/services.yaml"
echo "nameserver $(pod_address names)" >"$files/names/resolv.conf"
cat >"$files/names/agent.yaml" <<CONF
commonConfig:
  stateDir: $files/names/state
modules:
  edgeProxy:
    enable: true
  edgeDNS:
    enable: true
    resolvConf: $files/names/resolv.conf
CONF

# The world: 1,000 names.
for ((i = 0; i < 1000; i++)); do
    echo "  local-data: \"n$i.example. 300 IN A 192.0.2.$((i % 250 + 1))\""
done | { echo '  local-zone: "." static' && cat; } | unbound_file "$(pod_address names)" >"$files/world.conf"
start inside backend unbound -d -c "$files/world.conf"

# The yardstick: the same services as its own data, all else cached from the same upstream.
{
    echo "  local-zone: \"cluster.local\" static"
    echo "  local-data: \"cluster.local. 30 IN SOA ns.cluster.local. root.cluster.local. 1 3600 600 86400 30\""
    for ((i = 0; i < services; i++)); do
        echo "  local-data: \"s$i.demo.$zone. 30 IN A 10.97.$((i / 250)).$((i % 250 + 1))\""
        echo "  local-data: \"_http._tcp.s$i.demo.$zone. 30 IN SRV 0 100 80 s$i.demo.$zone.\""
    done
    printf 'forward-zone:\n  name: "."\n  forward-addr: %s\n' "$(pod_address names)"
} | unbound_file "$yardstick" >"$files/yardstick.conf"
start inside names unbound -d -c "$files/yardstick.conf"

for ((i = 0; i < services; i++)); do
    printf 's%d.demo.%s A\ns%d.demo.%s AAAA\ns%d.%s.demo.%s A\nn%d.example A\n_http._tcp.s%d.demo.%s SRV\n' \
        "$i" "$zone" "$i" "$zone" "$i" "$zone" "$zone" "$((i % 1000))" "$i" "$zone"
done >"$files/questions"

inside names "$EDGEMESH_AGENT" run --config-file "$files/names/agent.yaml" --manifests "$files/names/manifests" --node-name names >"$files/names/agent.log" 2>&1 &
disown $!

answers() { inside client dig +short +tries=1 +time=1 "@$1" "s1999.demo.$zone" A | grep -qx 10.97.7.250; }
for server in 169.254.96.16 "$yardstick"; do
    within 30 answers "$server" || fail "the names are not answered at $server: $(tail -n 5 "$files/names/agent.log")"
done

for id in $(ip netns pids "$stage-names"); do
    [ "$(cat "/proc/$id/comm")" != edgemesh-agent ] || agent=$id
done

cpu_ticks() { awk '{print $14 + $15}' "/proc/$1/stat"; }

# ask SERVER: questions a second, average latency in ms, lost
ask() {
    inside client dnsperf -s "$1" -d "$files/questions" -l "$seconds" -c 8 -q 200 2>/dev/null |
        awk '/Queries per second/ {q = $4} /Average Latency/ {l = $4 * 1000} /Queries lost/ {n = $3} END {printf "%.0f %.2f %d\n", q, l, n}'
}

median() { sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }

declare -A rate=() latency=() lost=()
for ((round = 1; round <= rounds; round++)); do
    for server in 169.254.96.16 "$yardstick"; do
        before=$(cpu_ticks "$agent")
        read -r q l n < <(ask "$server")
        rate[$server]+="$q "
        latency[$server]+="$l "
        lost[$server]=$((${lost[$server]:-0} + n))
        [ "$server" = "$yardstick" ] || echo "round $round: $q questions/s, $l ms, $n lost; the agent used $(($(cpu_ticks "$agent") - before)) ticks of 10 ms in $seconds s"
    done
done

echo
echo "| $services services, client in a pod, $(nproc) cores | questions a second | average latency | lost |"
echo "|---|---|---|---|"
for server in 169.254.96.16 "$yardstick"; do
    [ "$server" = "$yardstick" ] && who="unbound $(unbound -V | awk '/^Version/ {print $2}'), one thread" || who="edgemesh-agent"
    # shellcheck disable=SC2086
    echo "| $who | $(printf '%s\n' ${rate[$server]} | median) | $(printf '%s\n' ${latency[$server]} | median) ms | ${lost[$server]} |"
done
echo "The agent's memory afterwards: $(awk '/VmRSS/ {printf "%.0f MB", $2 / 1024}' "/proc/$agent/status")"
