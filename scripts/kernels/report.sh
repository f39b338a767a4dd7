# What came of a guest's tests: counted, and as a column of the table in docs/kernels.md. Sourced by kernels.sh.
# shellcheck shell=bash
# shellcheck disable=SC2154 # root, arch and cache are the caller's

# test_lines FOLDER: "class.method<TAB>Pass|Fail|Begun" for each test that console.log tells of.
test_lines() {
    # "    EdgeMesh.HostTests.Class.Method(arguments) [STARTING]", later "... [FINISHED] Time: 1.2s", and "... [FAIL]" before it.
    sed -nE 's/^ +EdgeMesh\.HostTests\.(([A-Za-z0-9_]+\.)+[A-Za-z0-9_]+)(.*) \[(STARTING|FINISHED|FAIL)\].*/\1\t\3\t\4/p' "$1/console.log" | awk -F '\t' '
        { key = $1 FS $2 }
        $3 == "STARTING" { order[++count] = key }
        $3 != "STARTING" { said[key] = said[key] $3 }
        END { for (i = 1; i <= count; i++) { split(order[i], part, FS); print part[1] FS (said[order[i]] == "FINISHED" ? "Pass" : said[order[i]] ? "Fail" : "Begun") } }'
}

# count_results FOLDER: sets good and bad. A guest that did not end its run has shown nothing, whatever passed in it.
count_results() {
    good=$(test_lines "$1" | grep -c $'\tPass$' || true)
    bad=$(test_lines "$1" | grep -cv $'\tPass$' || true)
    if [ ! -e "$1/status" ] || [ $((good + bad)) = 0 ] || { [ "$(cat "$1/status")" != 0 ] && [ "$bad" = 0 ]; }; then
        bad=$((bad + 1))
    fi
}

# keep_results KERNEL FOLDER: rewrites what ended here in this kernel's column, and leaves the rest; of a kernel of another build, nothing.
keep_results() {
    local page="$root/docs/kernels.md" table
    table=$(mktemp)
    test_lines "$2" | awk -F '\t' -v key="$1 $arch" -v release="$(kernel_release "$1")" -v page="$page" '
        # A row of the table as it stands: | test | cell | cell |
        function sorted(list, count,    i, j, each) {
            for (i = 2; i <= count; i++) {
                each = list[i]
                for (j = i - 1; j > 0 && list[j] > each; j--) list[j + 1] = list[j]
                list[j + 1] = each
            }
        }
        function cells(line, into) { gsub(/^\| *| *\|$/, "", line); return split(line, into, / *\| */) }
        BEGIN {
            while ((getline line < page) > 0) {
                if (line == "<!-- results -->") { inside = 1; continue }
                if (line == "<!-- end of results -->") inside = 0
                if (!inside || line !~ /^\|/ || line ~ /^\|---/) continue
                count = cells(line, field)
                if (!columns) { columns = count; for (i = 2; i <= count; i++) heading[i] = field[i]; continue }
                for (i = 2; i <= count; i++) kept[field[1], heading[i]] = field[i]
                order[++rows] = field[1]; known[field[1]] = 1
            }
            mine = key ": " release; shown[mine] = 1
            for (i = 2; i <= columns; i++) if (index(heading[i], key ":") != 1) shown[heading[i]] = 1
        }
        $2 != "Begun" {
            all[$1]++; if ($2 == "Pass") passed[$1]++
            if (!known[$1]) { known[$1] = 1; order[++rows] = $1 }
        }
        END {
            for (test in all) kept[test, mine] = (passed[test] == all[test] ? all[test] " passed" : "**" all[test] - passed[test] " of " all[test] " failed**")
            for (each in shown) headings[++n] = each
            sorted(headings, n); sorted(order, rows)
            printf "| test |"; for (i = 1; i <= n; i++) printf " %s |", headings[i]
            printf "\n|---|"; for (i = 1; i <= n; i++) printf "---|"; print ""
            for (r = 1; r <= rows; r++) {
                row = ""; any = 0
                for (i = 1; i <= n; i++) { cell = kept[order[r], headings[i]]; if (cell != "") any = 1; row = row " " cell " |" }
                if (any) print "| " order[r] " |" row
            }
        }' >"$table"
    sed -i -e "/^<!-- results -->$/,/^<!-- end of results -->$/{/^<!-- /!d}" -e "/^<!-- results -->$/r $table" "$page"
    rm -f "$table"
}
