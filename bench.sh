#!/usr/bin/env bash
# Compares the ways to an endpoint on this machine, all in one run: direct, kube-proxy's rules, our kernel path, our process, and
# between two nodes the tunnel.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/machine.sh
source "$root/scripts/machine.sh"
# shellcheck source=bench/stage.sh
source "$root/bench/stage.sh"
# shellcheck source=bench/paths.sh
source "$root/bench/paths.sh"
# shellcheck source=bench/far.sh
source "$root/bench/far.sh"
# shellcheck source=bench/columns.sh
source "$root/bench/columns.sh"
# shellcheck source=bench/report.sh
source "$root/bench/report.sh"

usage() {
    fail "usage: ./bench.sh [--quick] [--paths PATH,…] [--columns COLUMN,…] [--rounds N] [--seconds N]
       ./bench.sh --micro [FILTER]
       ./bench.sh --promises [--pause SECONDS]
       ./bench.sh --names [--rounds N] [--seconds N]
  --quick    shorter and therefore rougher: under two minutes. A full run takes about ten
  --paths    some of: ${all_paths[*]} (direct is always measured)
  --columns  some of: ${all_columns[*]}
  --rounds   how often everything is measured, in turn; the median counts
  --seconds  how long each measurement takes
  --promises what each path makes of half-closes, resets and early answers, beside other proxies: the table of docs/forwarding.md
  --names    questions for names a second, beside unbound: the table of docs/dns.md
  --micro    single parts of the program instead, with BenchmarkDotNet; FILTER is its glob, such as '*Plan*'
A full run with nothing left out is kept in bench/results.md; every run writes artifacts/bench.json."
}

rounds=3 seconds=3 quick='' whole=yes
paths=("${all_paths[@]}")
columns=("${all_columns[@]}")
while [ $# -gt 0 ]; do
    case "$1" in
    --micro)
        [ $# -le 2 ] || usage
        need_dotnet
        exec dotnet run --project "$root/bench/EdgeMesh.Bench" -c Release -- --filter "${2:-*}" --artifacts "$root/artifacts/micro"
        ;;
    --promises)
        shift
        exec "$root/bench/promises.sh" "$@"
        ;;
    --names)
        shift
        exec "$root/bench/names.sh" "$@"
        ;;
    --quick) quick=yes rounds=2 seconds=1 ;;
    --paths | --columns | --rounds | --seconds)
        [ $# -ge 2 ] || usage
        whole=''
        case "$1" in
        --paths) IFS=, read -ra paths <<<"$2" && choose_paths ;;
        --columns) IFS=, read -ra columns <<<"$2" && known_columns ;;
        --rounds) rounds=$2 ;;
        --seconds) seconds=$2 ;;
        esac
        shift
        ;;
    *) usage ;;
    esac
    shift
done
[[ $rounds =~ ^[1-9][0-9]?$ && $seconds =~ ^[1-9][0-9]?$ ]] || fail "rounds and seconds are numbers from 1 to 99."
[ -z "$quick" ] || whole=''

need_root "it makes network namespaces and loads rules into them; nothing outside of these is touched"
need_bridge_netfilter
need_programs ip:iproute2 iptables:iptables iptables-restore:iptables nft:nftables curl:curl sysctl:procps \
    nginx:nginx-light iperf3:iperf3 sockperf:sockperf wrk:wrk
need_agent

strike_at_end

begun=$SECONDS
set_stage
for path in "${paths[@]}"; do
    "prepare_$path"
    prove_path "$path"
done

for ((round = 1; round <= rounds; round++)); do
    # Neighbours in time are compared, so the paths take turns within a column.
    for column in "${columns[@]}"; do
        show_progress "round $round of $rounds: $column"
        for path in "${paths[@]}"; do
            measure "$round" "$path" "$column"
        done
    done
    for path in "${paths[@]}"; do
        note_memory "$round" "$path"
    done
done
show_progress ""

mkdir -p "$root/artifacts"
write_json >"$root/artifacts/bench.json"
print_tables
if [ -n "$whole" ]; then
    "$root/bench/names.sh" --rounds "$rounds" --seconds "$seconds" | tee "$files/names.txt"
    write_results >"$root/bench/results.md"
    echo "Kept in bench/results.md"
fi
echo "Took $((SECONDS - begun)) s; artifacts/bench.json has every single figure."
