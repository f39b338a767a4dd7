# shellcheck shell=bash
step "A node on which kube-proxy runs"
say "  client 10.244.0.100 ──┐" \
    "  pod-1  10.244.0.11  ──┼── node 10.200.0.2 ──── other-node (pod 10.244.1.13)" \
    "  pod-2  10.244.0.12  ──┘"
set_stage
for place in pod-1 pod-2 other-node; do start_pod "$place"; done
load_kube_proxy
inside node iptables-save -t nat | grep -v '^#' | sed 's/\[.*\]//' >"$files/nat-before"
say "Every box is a network namespace. The node has the rules that a real kube-proxy wrote."
show node iptables -t nat -nL PREROUTING --line-numbers
show client curl -s http://10.96.10.1/
expect "the service demo/web (10.96.10.1) is answered by way of kube-proxy" inside client curl -sf --max-time 3 http://10.96.10.1/
