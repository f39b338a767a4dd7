# shellcheck shell=bash
step "The agent is killed, and traffic flows through kube-proxy's rules"
taken=$(connections KUBE-SERVICES "demo/web:http cluster IP")
killed=${EPOCHREALTIME/./}
printf '   %snode$ kill -9 %s%s\n' "$dim" "$agent_pid" "$plain"
kill -9 "$agent_pid"
expect "within 5 s demo/web is answered again, with no agent" within 5 inside client curl -sf --max-time 1 http://10.96.10.1/
say "It took $(((${EPOCHREALTIME/./} - killed) / 1000)) ms: our rules hold only while the agent's heartbeat is fresh, and the kernel looks at that itself."
ask client 10.96.10.1 12 | tee "$files/killed" | sed 's/^/     /'
expect "twelve more requests were all answered" bash -c "! grep -q 'no answer' '$files/killed'"
expect "kube-proxy's rule of demo/web took them" [ "$(connections KUBE-SERVICES "demo/web:http cluster IP")" -ge $((taken + 12)) ]

step "The next start heals, and a stop in good order leaves nothing behind"
start_agent
answered_by_agent() { local before; before=$(connections EDGEMESH-PORTALS-CONTAINER demo/web:http); inside client curl -sf --max-time 1 http://10.96.10.1/ && [ "$(connections EDGEMESH-PORTALS-CONTAINER demo/web:http)" -gt "$before" ]; }
expect "demo/web is ours again" within 5 answered_by_agent
printf '   %snode$ kill -TERM %s%s\n' "$dim" "$agent_pid" "$plain"
kill -TERM "$agent_pid"
expect "the agent ends" within 30 agent_is_gone
expect "demo/web is answered" inside client curl -sf --max-time 3 http://10.96.10.1/
show node "$root/artifacts/edgemesh-agent/edgemesh-agent" cleanup --config-file "$files/edgemesh-agent.yaml"
inside node iptables-save -t nat | grep -v '^#' | sed 's/\[.*\]//' >"$files/nat-after"
expect "the nat table has every rule that it had before, and none besides" diff <(sort "$files/nat-before") <(sort "$files/nat-after")
