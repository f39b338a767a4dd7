# shellcheck shell=bash
step "A cloud, and two sites behind NAT: no route leads into either"
say "  cloud 198.51.100.1 (relay) ──┬── nat-1 ── edge-1 192.168.1.10 (pod 10.244.2.10)" \
    "  relay-2 198.51.100.2 ────────┴── nat-2 ── edge-2 192.168.2.10 (pod 10.244.3.10)"
set_mesh_stage
write_mesh_config
expect "edge-1 cannot reach the pod at edge-2" bash -c "! ip netns exec $stage-pod-edge-1 curl -sf --max-time 1 http://10.244.3.10:8080/"
for node in cloud relay-2 edge-1 edge-2; do start_mesh_agent "$node"; done

step "Services are reached all the same: edge to cloud, cloud to edge, edge to edge over the relay"
within 20 answers_from pod-edge-1 10.96.20.3 pod-edge-2 || true
within 20 answers_from pod-edge-2 10.96.20.2 pod-edge-1 || true
show pod-edge-1 curl -s --max-time 3 http://10.96.20.1/
expect "edge-1 to the cloud, TCP" within 10 answers_from pod-edge-1 10.96.20.1 pod-cloud
expect "the cloud to edge-1, TCP" within 10 answers_from pod-cloud 10.96.20.2 pod-edge-1
expect "edge-1 to edge-2, TCP" within 10 answers_from pod-edge-1 10.96.20.3 pod-edge-2
expect "edge-1 to the cloud, UDP" within 10 udp_answers_from pod-edge-1 10.96.20.1 pod-cloud
expect "edge-1 to edge-2, UDP" within 10 udp_answers_from pod-edge-1 10.96.20.3 pod-edge-2
show edge-1 edgemesh-agent status --config-file "$files/mesh/edge-1.yaml"

step "The relay in use is killed, and the other takes over"
relay=$(relay_between edge-1 edge-2)
relay=${relay:-cloud}
killed=${EPOCHREALTIME/./}
command_line "$relay" "kill -9 ${mesh_agents[$relay]}"
kill -9 "${mesh_agents[$relay]}"
expect "within 10 s edge-1 reaches edge-2 again" within 10 answers_from pod-edge-1 10.96.20.3 pod-edge-2
say "It took $(((${EPOCHREALTIME/./} - killed) / 1000)) ms, now over $(relay_between edge-1 edge-2)."

step "A route between the two sites opens, and the service moves to the direct path by itself"
command_line nat-1 "ip route add 192.168.2.0/24, 10.244.3.0/24 via 198.51.100.12    (and the other way round on nat-2)"
for network in 192.168.2.0/24 10.244.3.0/24; do ip -n "$stage-nat-1" route add "$network" via 198.51.100.12; done
for network in 192.168.1.0/24 10.244.2.0/24; do ip -n "$stage-nat-2" route add "$network" via 198.51.100.11; done
expect "edge-1 has met edge-2 at its pods' gateway, and sends straight to the pod" within 20 goes edge-1 10.244.3.10 direct
show pod-edge-1 curl -s --max-time 3 http://10.96.20.3/
expect "the pod sees the client itself: no proxy is between them" within 5 bash -c "ip netns exec $stage-pod-edge-1 curl -sf --max-time 2 http://10.96.20.3/ | grep -q 'asked by 10.244.2.10$'"
show edge-1 edgemesh-agent status --config-file "$files/mesh/edge-1.yaml"
