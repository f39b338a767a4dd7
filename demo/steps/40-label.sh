# shellcheck shell=bash
step "The label service.edgemesh.kubeedge.io/service-proxy-name leaves a service to kube-proxy"
sed -i '0,/^  namespace: demo$/s//  namespace: demo\n  labels:\n    service.edgemesh.kubeedge.io\/service-proxy-name: ""/' "$files/manifests/np.yaml"
show node head -n 8 "$files/manifests/np.yaml"
expect "within 2 s demo/np has no rule in EDGEMESH-PORTALS-CONTAINER" within 2 has_no_rule EDGEMESH-PORTALS-CONTAINER demo/np:http
expect "and none in EDGEMESH-PORTALS-HOST" within 2 has_no_rule EDGEMESH-PORTALS-HOST demo/np:http
show node iptables -t nat -nL EDGEMESH-PORTALS-CONTAINER
taken=$(connections KUBE-SERVICES "demo/np:http cluster IP")
ask client 10.96.10.4 10 | tee "$files/labelled" | sed 's/^/     /'
expect "every request was answered" bash -c "! grep -q 'no answer' '$files/labelled'"
expect "kube-proxy's rule of demo/np took all ten" [ "$(connections KUBE-SERVICES "demo/np:http cluster IP")" = $((taken + 10)) ]
expect "demo/web is still ours" has_rule EDGEMESH-PORTALS-CONTAINER demo/web:http
