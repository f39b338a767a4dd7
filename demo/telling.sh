# How the demo speaks: numbered steps, the command, its real output, and what was expected of it.
# shellcheck shell=bash

if [ -t 1 ]; then
    bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
else
    bold='' dim='' green='' red='' plain=''
fi

step_number=0
expectations_met=0
expectations_missed=0

step() {
    step_number=$((step_number + 1))
    printf '\n%s%d. %s%s\n' "$bold" "$step_number" "$1" "$plain"
}

say() { printf '   %s\n' "$@"; }

# command_line WHERE TEXT prints a command without running it.
command_line() { printf '   %s%s$ %s%s\n' "$dim" "$1" "$2" "$plain"; }

# The words as a person would type them: quotes only where they are needed.
quoted() {
    local word line=''
    for word in "$@"; do
        [[ $word != *[[:space:]\;\|\&\>]* ]] || word="\"$word\""
        line+="${line:+ }$word"
    done
    printf '%s' "$line"
}

# show WHERE COMMAND... prints the command as a person would type it there, runs it, and prints what it says.
show() {
    local where=$1
    shift
    command_line "$where" "$(quoted "$@")"
    # Long comments in rules are the point; long lines are left to the terminal.
    inside "$where" "$@" 2>&1 | sed 's/^/     /'
    return "${PIPESTATUS[0]}"
}

# expect WHAT COMMAND... runs the command silently: its exit status says whether it is so.
expect() {
    local what=$1
    shift
    if "$@" >/dev/null 2>&1; then
        expectations_met=$((expectations_met + 1))
        printf '   %sPASS%s  %s\n' "$green" "$plain" "$what"
    else
        expectations_missed=$((expectations_missed + 1))
        printf '   %sFAIL%s  %s\n' "$red" "$plain" "$what"
    fi
}

# within SECONDS COMMAND... asks again until it is so.
within() {
    local until=$((${EPOCHREALTIME/./} + $1 * 1000000))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "${EPOCHREALTIME/./}" -lt "$until" ] || return 1
        read -rt 0.05 <> <(:) || true
    done
}

summary() {
    printf '\n%sSummary:%s %d as expected, %d not\n' "$bold" "$plain" "$expectations_met" "$expectations_missed"
    [ "$expectations_missed" = 0 ]
}
