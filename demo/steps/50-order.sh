# shellcheck shell=bash
step "Somebody pushes our jump down, and it comes back to the front"
say "What happens when kube-proxy starts later: it puts its jump on top."
show node iptables -t nat -D PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
pushed=${EPOCHREALTIME/./}
# In one go, so that the listing shows the disorder before the agent has put it right.
push='iptables -t nat -I PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES; iptables -t nat -nL PREROUTING --line-numbers'
command_line node "$push"
inside node sh -c "$push" | sed 's/^/     /'
expect "within 5 s the jump is first again" within 5 jumps_are_first
say "It took $(((${EPOCHREALTIME/./} - pushed) / 1000)) ms, with the time that the listings took. No redeploy."
show node iptables -t nat -nL PREROUTING --line-numbers
expect "kube-proxy's jump is still there, in second place" [ "$(place_of_jump PREROUTING KUBE-SERVICES)" = 2 ]
