# shellcheck shell=bash
step "With dataPath: auto, the default, the kernel forwards and the agent only keeps the rules"
say "In user mode a pod sees the node as its client:"
show client curl -s http://10.96.10.1/
stop_agent
show node sed -i "s/dataPath: userspace/dataPath: auto/" "$files/edgemesh-agent.yaml"
start_agent
within 5 has_rule EDGEMESH-PORTALS-CONTAINER demo/web:http || true
show node iptables -t nat -nL EDGEMESH-PORTALS-CONTAINER
chain=$(inside node iptables -t nat -S EDGEMESH-PORTALS-CONTAINER | sed -n '/demo\/web:http/s/.* -g //p')
show node iptables -t nat -nL "$chain"
expect "the rule of demo/web leads to a chain with its endpoints, not to the agent" [ -n "$chain" ]
show client curl -s http://10.96.10.1/
expect "now the pod sees the client itself" bash -c "ip netns exec $stage-client curl -sf --max-time 3 http://10.96.10.1/ | grep -q 'asked by 10.244.0.100$'"
ask client 10.96.10.1 10 | tee "$files/kernel" | sed 's/^/     /'
expect "pod-1 and pod-2 answered 5 times each" diff "$files/kernel" <(printf 'pod-1: 5 times\npod-2: 5 times\n')
show node edgemesh-agent status --config-file "$files/edgemesh-agent.yaml"

step "On the kernel path nobody notices that the agent is gone"
command_line node "kill -9 $agent_pid"
kill -9 "$agent_pid"
taken=$(connections EDGEMESH-PORTALS-CONTAINER demo/web:http)
ask client 10.96.10.1 10 | tee "$files/orphaned" | sed 's/^/     /'
expect "all ten were answered, by pod-1 and pod-2 alone" only_both_pods "$files/orphaned"
expect "our rule took all ten" [ "$(connections EDGEMESH-PORTALS-CONTAINER demo/web:http)" = $((taken + 10)) ]
start_agent
