# shellcheck shell=bash
step "A stop in good order, and cleanup, leave nothing behind"
stop_agent
show node edgemesh-agent cleanup --config-file "$files/edgemesh-agent.yaml"
expect "demo/web is answered by way of kube-proxy" answered_by_kube_proxy
inside node iptables-save -t nat | grep -v '^#' | sed 's/\[.*\]//' >"$files/nat-after"
expect "the nat table has every rule that it had before, and none besides" diff <(sort "$files/nat-before") <(sort "$files/nat-after")
