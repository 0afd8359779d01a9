#!/usr/bin/env bash
# `raincheck run` beside xargs, GNU parallel and a bare spawn loop: so many commands that do nothing.
#
#   benches/run.sh [COMMANDS] [ROUNDS]      10,000 commands and 5 rounds, unless said
#
# Each round runs all of them one after the other, so that a slow minute of the machine slows them all. Printed are the
# medians for each command, and the ratio of raincheck to it. The peers come from Debian.
#
# The bare loop is the limit: threads that start a command and wait for it, and do nothing else. All commands are given one
# argument, since that is more work for /bin/true than none: with one it looks up the language for its `--help`.
set -euo pipefail
cd "$(dirname "$0")/.."

count=${1:-10000}
rounds=${2:-5}
jobs=2

for need in xargs:findutils parallel:parallel; do
    command -v "${need%%:*}" >/dev/null || sudo apt-get install --yes "${need##*:}" || apt-get install --yes "${need##*:}"
done
[ -n "${RAINCHECK:-}" ] || cargo build --quiet --release -p raincheck-cli
raincheck=${RAINCHECK:-target/release/raincheck}
scratch=$(mktemp -d)
trap 'rm -r "$scratch"' EXIT
rustc --edition 2024 -O -o "$scratch/spawn" benches/spawn.rs
seq "$count" >"$scratch/inputs"
mkdir "$scratch/home"
touch "$scratch/home/will-cite"

names=("raincheck run" "  -k --joblog" "xargs -n1" "GNU parallel" "bare spawn loop")
run() {
    case $1 in
    0) "$raincheck" run --quiet --jobs $jobs /bin/true <"$scratch/inputs" ;;
    1) "$raincheck" run --quiet --jobs $jobs --keep-order --joblog "$scratch/log" /bin/true <"$scratch/inputs" ;;
    2) xargs -P$jobs -n1 /bin/true <"$scratch/inputs" ;;
    # A tenth of the inputs: it takes too long for more.
    3) head -n $((count / 10)) "$scratch/inputs" | PARALLEL_HOME=$scratch/home parallel -j$jobs /bin/true ;;
    4) "$scratch/spawn" $jobs "$count" /bin/true 1 ;;
    esac >/dev/null
}

for _ in $(seq "$rounds"); do
    for which in "${!names[@]}"; do
        begin=$(date +%s%N)
        run "$which"
        end=$(date +%s%N)
        [ "$which" = 3 ] && scale=10 || scale=1
        echo $(((end - begin) * scale / count / 1000)) >>"$scratch/times.$which"
    done
done

median() { sort -n "$1" | sed -n "$(((rounds + 1) / 2))p"; }
ours=$(median "$scratch/times.0")
printf '%s commands, %s at a time, median of %s rounds\n\n' "$count" "$jobs" "$rounds"
printf '%-18s %11s %8s\n' '' 'us/command' 'ratio'
for which in "${!names[@]}"; do
    median=$(median "$scratch/times.$which")
    printf '%-18s %11s %8s\n' "${names[$which]}" "$median" "$(awk "BEGIN { printf \"%.2f\", $ours / $median }")"
done
