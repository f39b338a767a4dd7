# shellcheck shell=bash
step "The agent starts on a folder of manifests, without any cluster"
write_config
say "First in user mode, where every connection goes through the agent's own process:"
show node cat "$files/edgemesh-agent.yaml"
show node ls "$files/manifests"
start_agent
say "Its log:"
sed 's/^/     /' "$files/agent.log" | tail -n 15
expect "it is ready" inside node curl -sf http://127.0.0.1:9999/readyz

step "Our chains come before kube-proxy's"
within 5 has_rule EDGEMESH-PORTALS-CONTAINER demo/web:http || true
show node iptables -t nat -nL PREROUTING --line-numbers
show node iptables -t nat -nL OUTPUT --line-numbers
show node iptables -t nat -nL EDGEMESH-PORTALS-CONTAINER
expect "the jumps are first in PREROUTING (what pods send) and OUTPUT (what the node sends)" jumps_are_first
expect "demo/web has its rule in EDGEMESH-PORTALS-CONTAINER" has_rule EDGEMESH-PORTALS-CONTAINER demo/web:http
expect "demo/web has its rule in EDGEMESH-PORTALS-HOST" has_rule EDGEMESH-PORTALS-HOST demo/web:http
expect "the rule leads to the agent's listener on edgemesh0, as in the documents" leads_to_listener demo/web:http
