# shellcheck shell=bash
step "Pods ask the agent for names"
printf 'nameserver 169.254.96.16\nsearch demo.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n' >"$files/resolv.conf"
say "As kubelet writes it into pods of an edge node:"
show client cat "$files/resolv.conf"
in_pod() { inside client unshare --mount sh -c 'mount --bind "$0" /etc/resolv.conf && exec "$@"' "$files/resolv.conf" "$@"; }
answered_by_name() { in_pod curl -sf --max-time 3 http://web/ | grep -q '^pod-[12] at '; }
command_line client "curl -s http://web/"
in_pod curl -s --max-time 3 http://web/ | sed 's/^/     /'
expect "the name web leads to a pod of demo/web" answered_by_name
show node edgemesh-agent dns web.demo.svc.cluster.local --config-file "$files/edgemesh-agent.yaml"
