# shellcheck shell=bash
step "Requests are spread over both pods"
show client curl -s http://10.96.10.1/
taken=$(connections KUBE-SERVICES demo/web:http)
say "Ten requests of the client pod:"
ask client 10.96.10.1 10 | tee "$files/from-client" | sed 's/^/     /'
say "Ten requests of the node itself:"
ask node 10.96.10.1 10 | tee "$files/from-node" | sed 's/^/     /'
expect "from the client pod, pod-1 and pod-2 answered 5 times each" diff "$files/from-client" <(printf 'pod-1: 5 times\npod-2: 5 times\n')
expect "from the node, pod-1 and pod-2 answered 5 times each" diff "$files/from-node" <(printf 'pod-1: 5 times\npod-2: 5 times\n')
expect "kube-proxy's rule of demo/web saw none of them" [ "$(connections KUBE-SERVICES demo/web:http)" = "$taken" ]
show node edgemesh-agent status --config-file "$files/edgemesh-agent.yaml"
