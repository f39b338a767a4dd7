# shellcheck shell=bash
step "Requests are spread over both pods"
show client curl -s http://10.96.10.1/
taken=$(connections KUBE-SERVICES demo/web:http)
say "Ten requests of the client pod:"
ask client 10.96.10.1 10 | tee "$files/from-client" | sed 's/^/     /'
say "Ten requests of the node itself:"
ask node 10.96.10.1 10 | tee "$files/from-node" | sed 's/^/     /'
# The agent's data path has a loop per core, each of which takes turns by itself: not always five and five.
expect "from the client pod, both pods answered, and nobody else" only_both_pods "$files/from-client"
expect "from the node, both pods answered, and nobody else" only_both_pods "$files/from-node"
expect "kube-proxy's rule of demo/web saw none of them" [ "$(connections KUBE-SERVICES demo/web:http)" = "$taken" ]
show node edgemesh-agent status --config-file "$files/edgemesh-agent.yaml"
