#!/usr/bin/env bash
# `raincheck hash` beside the tools it replaces, on files that are the same each time. Prints medians and ratios.
#
#   benches/hash.sh [RUNS]     (5 unless said; takes some minutes and 4.2 GB below $TMPDIR, which it gives back)
#
# It needs openssl, for the data and for the limit. The newest b3sum is installed into the temporary folder, unless
# B3SUM names one: that of a distribution can be years old, and slower.
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${1:-5}

cargo build --release --quiet -p raincheck-cli
ours=$PWD/target/release/raincheck
work=$(mktemp -d "${TMPDIR:-/tmp}/raincheck-hash.XXXXXX")
trap 'rm -rf "$work"' EXIT

[ -n "${B3SUM:-}" ] || cargo install --quiet --root "$work" b3sum
b3sum=${B3SUM:-$work/bin/b3sum}

# openssl ends when `head` has enough, and that is no failure.
seeded() {
    { openssl enc -aes-128-ctr -nosalt -pbkdf2 -pass pass:raincheck -in /dev/zero 2>/dev/null || true; } | head -c "$1"
}
cd "$work"
mkdir many tiny
seeded 2000000000 >one
split --bytes=2000000 --suffix-length=3 --numeric-suffixes one many/
head -c 2000000 one | split --bytes=100 --suffix-length=5 --numeric-suffixes - tiny/
cores=$(nproc)

# seconds COMMAND: how long it takes.
seconds() {
    local start=$EPOCHREALTIME
    bash -c "$1" >/dev/null
    local end=$EPOCHREALTIME
    echo "$((${end/./} - ${start/./}))" | awk '{ printf "%.3f\n", $1 / 1e6 }'
}

median() { sort -n | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'; }

# compare WHAT OURS PEER...: the commands in turn, again and again, so that a slow minute is everyone's.
compare() {
    local what=$1 run index
    shift
    local commands=("$@")
    rm -f times.*
    for ((run = 0; run <= runs; run++)); do
        for index in "${!commands[@]}"; do
            # The first round warms the page cache, and is not counted.
            if [ "$run" = 0 ]; then seconds "${commands[index]}" >/dev/null; else seconds "${commands[index]}" >>"times.$index"; fi
        done
    done
    local best
    best=$(median <times.0)
    printf '\n%s\n' "$what"
    for index in "${!commands[@]}"; do
        local time
        time=$(median <"times.$index")
        local shown=${commands[index]//$b3sum/b3sum}
        shown=${shown//$ours/raincheck}
        awk -v t="$time" -v b="$best" -v c="$shown" 'BEGIN { printf "  %7.3f s  %6.2f x  %s\n", t, t / b, c }'
    done
}

limit() {
    openssl speed -seconds 1 -bytes 131072 -evp "$1" 2>/dev/null | awk -v cores="$cores" '
        END { sub("k", "", $NF); printf "  %7.3f s            openssl speed: %s on %d cores, no reading\n", 2e9 / ($NF * 1e3 * cores), $1, cores }'
}

printf '%d cores, medians of %d runs; the second column is the time in units of ours\n' "$cores" "$runs"
compare '2 GB in 1,000 files, SHA-256' \
    "$ours hash many" \
    "find many -type f -print0 | xargs -0 -P$cores -n1 sha256sum" \
    "find many -type f -print0 | xargs -0 -P$cores -n100 sha256sum" \
    "sha256sum many/*"
limit sha256
compare '2 GB in 1,000 files, BLAKE3' "$ours hash -a blake3 many" "$b3sum many/*"
compare '2 GB in one file, BLAKE3' "$ours hash -a blake3 one" "$b3sum one"
compare '20,000 files of 100 bytes' \
    "$ours hash tiny" "sha256sum tiny/*" "$ours hash -a blake3 tiny" "$b3sum tiny/*"
