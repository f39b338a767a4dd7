# shellcheck shell=bash
step "The agent is killed, and traffic flows through kube-proxy's rules"
# A request that was answered, and that kube-proxy's rule counted.
answered_by_kube_proxy() {
    local before
    before=$(connections KUBE-SERVICES "demo/web:http cluster IP")
    inside client curl -sf --max-time 1 http://10.96.10.1/ && [ "$(connections KUBE-SERVICES "demo/web:http cluster IP")" -gt "$before" ]
}

answered_by_agent() {
    local before
    before=$(connections EDGEMESH-PORTALS-CONTAINER demo/web:http)
    inside client curl -sf --max-time 1 http://10.96.10.1/ && [ "$(connections EDGEMESH-PORTALS-CONTAINER demo/web:http)" -gt "$before" ]
}

killed=${EPOCHREALTIME/./}
command_line node "kill -9 $agent_pid"
kill -9 "$agent_pid"
expect "within 5 s demo/web is answered by way of kube-proxy" within 5 answered_by_kube_proxy
say "It took $(((${EPOCHREALTIME/./} - killed) / 1000)) ms: our rules hold only while the agent's heartbeat is fresh, and the kernel looks at that itself."
taken=$(connections KUBE-SERVICES "demo/web:http cluster IP")
say "Twelve requests; kube-proxy's rules know a third endpoint, a pod of another node:"
ask client 10.96.10.1 12 | tee "$files/killed" | sed 's/^/     /'
expect "all twelve were answered" bash -c "! grep -q 'no answer' '$files/killed'"
expect "kube-proxy's rule of demo/web took all twelve" [ "$(connections KUBE-SERVICES "demo/web:http cluster IP")" = $((taken + 12)) ]

step "The next start heals"
start_agent
expect "demo/web is ours again" within 5 answered_by_agent
