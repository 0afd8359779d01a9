#!/usr/bin/env bash
# Compares `raincheck logs` with what people use now, on made-up logs: 1.1 GB in 40 gzip files unless said otherwise.
#
#   benches/logs.sh [SIZE] [FILES]      RUNS=5 JOBS=2 ROWS=robots GOACCESS=yes
#
# ROWS leaves out the rows that do not begin so. goaccess takes more than a minute for it, and so runs only if asked. Each row
# is the median of RUNS, the peers taking turns.
set -euo pipefail
cd "$(dirname "$0")/.."
size=${1:-1.1GB} files=${2:-40} runs=${RUNS:-5} jobs=${JOBS:-2}

need=()
for tool in igzip:isal zcat:gzip rg:ripgrep goaccess:goaccess mawk:mawk; do
    command -v "${tool%%:*}" >/dev/null || need+=("${tool##*:}")
done
if [ ${#need[@]} -gt 0 ]; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${need[@]}"
fi
raincheck=${RAINCHECK:-}
if [ -z "$raincheck" ]; then
    cargo build --release --quiet -p raincheck-cli
    raincheck=target/release/raincheck
fi

dir=${DIR:-target/bench-logs/$size-$files}
if [ ! -f "$dir/access-$(printf %03d "$files").log.gz" ]; then
    "$raincheck" logs --sample "$size" --into "$dir" --files "$files" --bad-share 0 --quiet
fi
plain=$dir.log
[ -f "$plain" ] || cat "$dir"/*.gz | gzip -dc >"$plain"

export dir plain raincheck jobs
declare -A commands=(
    ['robots: raincheck']='"$raincheck" logs -q -j"$jobs" --hosts-of /robots.txt --format plain "$dir"'
    ['robots: igzip | grep, xargs']='ls "$dir"/*.gz | xargs -P"$jobs" -n1 sh -c '\''igzip -dc "$0" | grep -F /robots.txt'\'' | cut -d" " -f1 | sort -u'
    ['robots: zcat | grep, xargs']='ls "$dir"/*.gz | xargs -P"$jobs" -n1 sh -c '\''zcat "$0" | grep -F /robots.txt'\'' | cut -d" " -f1 | sort -u'
    ['robots: rg -z']='rg -z -j"$jobs" -I -F /robots.txt "$dir" | cut -d" " -f1 | sort -u'
    ['report: raincheck, overview']='"$raincheck" logs -q -j"$jobs" "$dir"'
    ['report: raincheck, top paths, hosts, statuses']='"$raincheck" logs -q -j"$jobs" --top paths,hosts,statuses "$dir"'
    ['report: raincheck, one plain file']='"$raincheck" logs -q -j"$jobs" "$plain"'
    ['report: zcat | mawk, three tops, xargs']='ls "$dir"/*.gz | xargs -P"$jobs" -n1 sh -c '\''zcat "$0" | mawk "{h[\$1]++; p[\$7]++; s[\$9]++} END {for (k in h) print k, h[k]; for (k in p) print k, p[k]; for (k in s) print k, s[k]}"'\'' | sort | wc -l'
)
order=("robots: raincheck" "robots: igzip | grep, xargs" "robots: zcat | grep, xargs" "robots: rg -z"
    "report: raincheck, overview" "report: raincheck, top paths, hosts, statuses" "report: raincheck, one plain file"
    "report: zcat | mawk, three tops, xargs")
rows=()
for row in "${order[@]}"; do [[ $row == "${ROWS:-}"* ]] && rows+=("$row"); done

declare -A times
once() {
    local start end
    start=$(date +%s%N)
    bash -c "${commands[$1]}" >/dev/null
    end=$(date +%s%N)
    times[$1]+="$(((end - start) / 1000)) "
}
median() { tr ' ' '\n' <<<"$1" | grep . | sort -n | sed -n "$(((runs + 1) / 2))p"; }

for row in "${rows[@]}"; do bash -c "${commands[$row]}" >/dev/null; done
for ((run = 0; run < runs; run++)); do
    for row in "${rows[@]}"; do once "$row"; done
done

printf '%s in %s files, %s jobs, median of %s\n\n' "$size" "$files" "$jobs" "$runs"
printf '%-50s %9s %7s\n' what seconds ratio
for row in "${rows[@]}"; do
    case $row in
    robots:*) base=$(median "${times[robots: raincheck]}") ;;
    *) base=$(median "${times[report: raincheck, overview]}") ;;
    esac
    LC_ALL=C awk -v row="$row" -v us="$(median "${times[$row]}")" -v base="$base" \
        'BEGIN { printf "%-50s %9.3f %6.2fx\n", row, us / 1e6, us / base }'
done
if [ "${GOACCESS:-}" = yes ]; then
    start=$(date +%s%N)
    gzip -dc "$dir"/*.gz | goaccess - --no-global-config --log-format=COMBINED -o "$dir.goaccess.json" >/dev/null 2>&1
    end=$(date +%s%N)
    LC_ALL=C awk -v us="$(((end - start) / 1000))" -v base="$(median "${times[report: raincheck, overview]}")" \
        'BEGIN { printf "%-50s %9.3f %6.2fx   (once)\n", "report: goaccess", us / 1e6, us / base }'
fi
