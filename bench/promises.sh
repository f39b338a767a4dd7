#!/usr/bin/env bash
# What each path makes of the ends of a connection, case by case, and what other proxies make of them: the table of
# docs/forwarding.md. A service of one endpoint, a client that acts a case and a server that acts its other side.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/machine.sh
source "$root/scripts/machine.sh"
# shellcheck source=bench/stage.sh
source "$root/bench/stage.sh"
# shellcheck source=bench/paths.sh
source "$root/bench/paths.sh"
# shellcheck source=bench/far.sh
source "$root/bench/far.sh"

pause=150
if [ "${1:-}" = --pause ] && [[ ${2:-} =~ ^[1-9][0-9]{0,3}$ ]]; then
    pause=$2
elif [ $# -gt 0 ]; then
    fail "usage: ./bench.sh --promises [--pause SECONDS]
  --pause  how long the reader of the last case pauses; 150"
fi

need_root "it makes network namespaces and loads rules into them; nothing outside of these is touched"
need_programs ip:iproute2 iptables:iptables iptables-restore:iptables nft:nftables curl:curl sysctl:procps \
    nginx:nginx-light haproxy:haproxy socat:socat python3:python3
stream_module=/usr/lib/nginx/modules/ngx_stream_module.so
[ -e "$stream_module" ] || install_packages libnginx-mod-stream || fail "apt-get could not install libnginx-mod-stream; the lines above say why."
need_agent

case_port=7000

# The web server shows that a path stands; the cases have a port of their own.
service_ports() {
    cat <<PORTS
http tcp 80 8080
case tcp $case_port $case_port
PORTS
}

start_servers() { start_web; }

# set_proxy_node NAME: a node without an agent that has the service's address itself.
set_proxy_node() {
    set_node "$1"
    mkdir -p "$files/$1"
    ip -n "$stage-$1" address add "$(service_address "$1")/32" dev lo
}

# forwarded NAME: listen address and port, target and port, of each port of the service.
forwarded() {
    local port target
    while read -r _ _ port target; do
        echo "$(service_address "$1") $port $(pod_address "$1") $target"
    done < <(service_ports)
}

prepare_nginx() {
    set_proxy_node nginx
    {
        echo "load_module $stream_module;"
        echo "pid $files/nginx/nginx.pid;"
        echo "error_log $files/nginx/agent.log;"
        echo "events { worker_connections 1024; }"
        echo "stream {"
        forwarded nginx | while read -r address port pod target; do
            echo "server { listen $address:$port; proxy_pass $pod:$target; proxy_timeout 1h; }"
        done
        echo "}"
    } >"$files/nginx/nginx.conf"
    inside nginx nginx -e "$files/nginx/agent.log" -c "$files/nginx/nginx.conf" </dev/null
}

prepare_haproxy() {
    set_proxy_node haproxy
    {
        printf 'defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n'
        forwarded haproxy | while read -r address port pod target; do
            printf 'listen port-%s\n  bind %s:%s\n  server pod %s:%s\n' "$port" "$address" "$port" "$pod" "$target"
        done
    } >"$files/haproxy/haproxy.cfg"
    start inside haproxy haproxy -f "$files/haproxy/haproxy.cfg"
}

prepare_socat() {
    set_proxy_node socat
    while read -r address port pod target; do
        start inside socat socat "TCP-LISTEN:$port,bind=$address,fork,reuseaddr" "TCP:$pod:$target"
    done < <(forwarded socat)
}

strike_at_end

version() { "$@" 2>&1 | grep -oE '[0-9]+\.[0-9]+' | head -n 1; }

declare -A column=(
    [direct]="direct"
    [userspace]="user mode"
    [tunnel]="tunnel"
    [nginx]="nginx $(version nginx -v) stream"
    [haproxy]="HAProxy $(version haproxy -v)"
    [socat]="socat $(version socat -V)"
)

set_stage
columns=()
for path in direct userspace tunnel nginx haproxy socat; do
    "prepare_$path"
    within 20 path_answers "$path" || fail_with_log "$path" "its service does not answer"
    columns+=("${column[$path]}=$(target_address "$path"):$case_port")
done
[ "$(inside tunnel "$EDGEMESH_AGENT" status 2>/dev/null | grep -c tunnel)" -gt 0 ] || fail_with_log tunnel "its agent does not say that it has a tunnel"
python3 "$root/bench/promises.py" "$stage-client" "$stage-backend" "$case_port" "$pause" "${columns[@]}"
