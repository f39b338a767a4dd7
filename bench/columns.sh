# What is measured. measure_COLUMN PATH prints lines "name value"; the units are in the names' titles.
# shellcheck shell=bash

ticks_per_second=$(getconf CLK_TCK)

all_columns=(bulk_1 bulk_4 latency new_connections keep_alive datagrams datagrams_paced)

# For the sockets of client and server: what these lose themselves would count as the path's. The default holds 3 ms at 50,000 a second.
datagram_buffer=$(cat /proc/sys/net/core/{r,w}mem_max <(echo 1048576) | sort -n | head -n 1)

known_columns() {
    local column
    for column in "${columns[@]}"; do
        declare -F "measure_$column" >/dev/null || usage
    done
}

# measure ROUND PATH COLUMN appends lines "round path name value" to the figures.
measure() {
    local round=$1 path=$2 column=$3 name value output
    # Once more, because iperf3 does not repeat the one datagram that begins a UDP measurement.
    output=$("measure_$column" "$path") || output=$("measure_$column" "$path") || fail "$column on path $path could not be measured: $output"
    while read -r name value; do
        [[ $value =~ ^[0-9.]+$ ]] || fail "$column on path $path gave no figure: $output"
        echo "$round $path $name $value" >>"$files/figures"
    done <<<"$output"
}

measure_bulk_1() { bulk "$1" bulk_1 1; }

measure_bulk_4() { bulk "$1" bulk_4 4; }

# bulk PATH NAME STREAMS: Gbit/s that arrive, and what a GB costs the agent.
bulk() {
    local path=$1 name=$2 output before
    before=$(agent_cpu "$path")
    output=$(inside client iperf3 -c "$(target_address "$path")" -p 5201 -t "$seconds" -P "$3" -f m 2>&1) || { echo "$output"; return 1; }
    awk -v name="$name" -v cpu="$(($(agent_cpu "$path") - before))" -v agent="${agent_of[$path]:-}" '
        / receiver$/ {
            split($3, span, "-")
            for (i = 1; i < NF; i++)
                if ($(i + 1) == "Mbits/sec") { rate = $i; time = time_of($0) }
        }
        function time_of(line) { match(line, /-[0-9.]+ +sec/); return substr(line, RSTART + 1, RLENGTH - 4) + 0 }
        END {
            printf "%s %.3f\n", name, rate / 1000
            if (agent && rate) printf "%s_cpu %.4f\n", name, cpu / 1e3 / (rate * time / 8000)
        }' <<<"$output"
}

# Half a round trip of 64 bytes, in microseconds.
measure_latency() {
    local output
    output=$(inside client sockperf ping-pong --tcp -i "$(target_address "$1")" -p 11111 -m 64 -t "$seconds" 2>&1) || { echo "$output"; return 1; }
    awk '/percentile 50.000/ { print "latency_p50", $NF } /percentile 99.000/ { print "latency_p99", $NF }' <<<"$output"
}

# One request per connection; what 1,000 connections cost the agent.
measure_new_connections() {
    local path=$1 before rate
    before=$(agent_cpu "$path")
    rate=$(http_load "$path" -H "Connection: close") || { echo "$rate"; return 1; }
    echo "new_connections $rate"
    [ -z "${agent_of[$path]:-}" ] || awk -v cpu="$(($(agent_cpu "$path") - before))" -v rate="$rate" -v time="$seconds" \
        'BEGIN { printf "new_connections_cpu %.4f\n", cpu / 1e3 / (rate * time / 1000) }'
}

measure_keep_alive() {
    local rate
    rate=$(http_load "$1") || { echo "$rate"; return 1; }
    echo "keep_alive $rate"
}

# http_load PATH OPTION... prints requests per second; a failed request fails the run.
http_load() {
    local path=$1 output
    shift
    output=$(inside client wrk -t 2 -c 32 -d "${seconds}s" "$@" "http://$(target_address "$path"):$(http_port "$path")/" 2>&1) || { echo "$output"; return 1; }
    if grep -qE 'Socket errors|Non-2xx' <<<"$output"; then
        echo "$output"
        return 1
    fi
    awk '/^Requests\/sec:/ { print $2 }' <<<"$output"
}

# Datagrams of 512 bytes per second that arrive, sent as fast as the client can.
measure_datagrams() { datagrams "$1" 0 | awk '{ print "datagrams", $1 }'; }

# 50,000 a second: how many of a thousand are lost.
measure_datagrams_paced() { datagrams "$1" $((50000 * 512 * 8)) | awk '{ print "datagrams_lost", $2 }'; }

# datagrams PATH BITS-PER-SECOND prints what arrives per second, and how many of a thousand do not.
datagrams() {
    local output
    output=$(inside client iperf3 -u -b "$2" -l 512 -w "$datagram_buffer" -c "$(target_address "$1")" -p 5201 -t "$seconds" -f m 2>&1) || { echo "$output"; return 1; }
    awk '/ receiver$/ {
            match($0, /-[0-9.]+ +sec/); time = substr($0, RSTART + 1, RLENGTH - 4)
            match($0, /[0-9]+\/[0-9]+/); split(substr($0, RSTART, RLENGTH), part, "/")
            printf "%.0f %.3f\n", (part[2] - part[1]) / time, 1000 * part[1] / part[2]
        }' <<<"$output"
}

# Milliseconds of CPU that the path's agent has used, threads that ended included; 0 for a path without one.
agent_cpu() {
    local pid=${agent_of[$1]:-} stat
    if [ -z "$pid" ]; then
        echo 0
    else
        # Fields 14 and 15, counted after the name, which may hold anything.
        stat=$(<"/proc/$pid/stat")
        read -ra stat <<<"${stat##*) }"
        echo $(((stat[11] + stat[12]) * 1000 / ticks_per_second))
    fi
}

note_memory() {
    local pid=${agent_of[$2]:-}
    [ -z "$pid" ] || awk -v head="$1 $2" '$1 == "VmRSS:" { printf "%s memory %.1f\n", head, $2 / 1024 }' "/proc/$pid/status" >>"$files/figures"
}
