# Medians, ratios, and the three forms in which they are shown.
# shellcheck shell=bash

# name|title|digits|c: compared with the direct path
figure_titles() {
    cat <<'TITLES'
bulk_1|bulk, 1 stream, Gbit/s|1|c
bulk_4|bulk, 4 streams, Gbit/s|1|c
latency_p50|latency p50, us|1|c
latency_p99|latency p99, us|1|c
new_connections|new connections/s|0|c
keep_alive|keep-alive requests/s|0|c
datagrams|UDP datagrams/s|0|c
datagrams_lost|lost of 1,000 UDP datagrams at 50,000/s|2|
bulk_1_cpu|agent CPU s per GB, 1 stream|3|
bulk_4_cpu|agent CPU s per GB, 4 streams|3|
new_connections_cpu|agent CPU s per 1,000 connections|4|
memory|agent RSS, MB|0|
TITLES
}

show_progress() {
    if [ -t 1 ]; then
        printf '\r\e[K%s' "$1"
    elif [ -n "$1" ]; then
        echo "$1"
    fi
}

# summarize prints "path name median ratio" (ratio "-" where there is none): the median over the rounds, and the median of
# each round's ratio to the direct path of that round; the tunnel is compared with the direct path between two nodes.
summarize() {
    awk '
        function median(list, count,   i, j, swap) {
            for (i = 2; i <= count; i++)
                for (j = i; j > 1 && list[j] < list[j - 1]; j--) { swap = list[j]; list[j] = list[j - 1]; list[j - 1] = swap }
            return count % 2 ? list[(count + 1) / 2] : (list[count / 2] + list[count / 2 + 1]) / 2
        }
        { value[$1, $2, $3] = $4; if ($1 > rounds) rounds = $1; key[$2 " " $3] = 1 }
        END {
            for (each in key) {
                split(each, part, " ")
                count = ratios = 0
                reference = part[1] == "tunnel" || part[1] == "relayed" ? "far" : "direct"
                for (round = 1; round <= rounds; round++) {
                    if (!((round, part[1], part[2]) in value)) continue
                    own[++count] = value[round, part[1], part[2]]
                    if (value[round, reference, part[2]] > 0) ratio[++ratios] = own[count] / value[round, reference, part[2]]
                }
                printf "%s %s %s\n", each, median(own, count), ratios ? sprintf("%.3f", median(ratio, ratios)) : "-"
            }
        }' "$files/figures"
}

# table SEPARATOR-STYLE: a markdown table, columns are paths.
table() {
    local path header='|' rule='|---|'
    for path in "${paths[@]}"; do
        header+=" | ${path_title[$path]}"
        rule+='---:|'
    done
    echo "$header |"
    echo "$rule"
    awk -F '|' -v paths="${paths[*]}" '
        FNR == NR { split($0, word, " "); value[word[1], word[2]] = word[3]; ratio[word[1], word[2]] = word[4]; next }
        {
            count = split(paths, path, " ")
            line = "| " $2
            some = 0
            for (i = 1; i <= count; i++) {
                cell = ""
                if ((path[i], $1) in value) {
                    some = 1
                    cell = grouped(sprintf("%." $3 "f", value[path[i], $1]))
                    if ($4 == "c" && i > 1) cell = cell " = **" sprintf("%.2f", ratio[path[i], $1]) "**"
                }
                line = line " | " cell
            }
            if (some) print line " |"
        }
        function grouped(text,   whole, rest) {
            whole = text; rest = ""
            if (index(text, ".")) { whole = substr(text, 1, index(text, ".") - 1); rest = substr(text, index(text, ".")) }
            while (length(whole) > 3) { rest = "," substr(whole, length(whole) - 2) rest; whole = substr(whole, 1, length(whole) - 3) }
            return whole rest
        }' <(summarize) <(figure_titles)
}

print_tables() {
    echo
    table | sed 's/\*\*//g' | column -t -s '|' -o '|'
    echo
    echo "Median of $rounds rounds of $seconds s per measurement; after '=' the median ratio to the direct path of the same round."
}

machine() {
    local model memory
    model=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1)
    memory=$(awk '$1 == "MemTotal:" { printf "%.0f", $2 / 1048576 }' /proc/meminfo)
    echo "${model:-$(uname -m)}, $(nproc) cores, $memory GB, Linux $(uname -r), TCP $(sysctl -n net.ipv4.tcp_congestion_control)"
}

write_json() {
    local tools
    tools="iperf3 $(iperf3 --version | awk 'NR == 1 { print $2 }'), iptables $(iptables --version | awk '{ print $2 }'), nft $(nft --version | awk '{ print $2 }')"
    printf '{\n  "machine": "%s",\n  "tools": "%s",\n  "rounds": %d,\n  "seconds": %d,\n  "figures": [\n' "$(machine)" "$tools" "$rounds" "$seconds"
    awk '{ printf "%s    {\"round\": %d, \"path\": \"%s\", \"figure\": \"%s\", \"value\": %s}", (NR > 1 ? ",\n" : ""), $1, $2, $3, $4 }' "$files/figures"
    printf '\n  ],\n  "medians": [\n'
    summarize | sort | awk '{ printf "%s    {\"path\": \"%s\", \"figure\": \"%s\", \"value\": %s, \"ratio\": %s}", (NR > 1 ? ",\n" : ""), $1, $2, $3, ($4 == "-" ? "null" : $4) }'
    printf '\n  ]\n}\n'
}

write_results() {
    cat <<HEAD
# The last full run of ./bench.sh
$(machine). $rounds rounds of $seconds s per measurement, all paths in turn; the median counts. After "=" stands the
median of the ratios to the direct path of the same round: this is what holds from machine to machine. The tunnel is compared
with the direct path between the same two nodes; its agent is the one near the client.

HEAD
    table
    echo
    # Questions for names, as bench/names.sh sums them up.
    grep -E '^\||^The agent' "$files/names.txt" | sed 's/^The agent/\n&/'
    echo
    cat "$root/bench/reading.md"
}
