#!/bin/bash
# The decoder under libFuzzer with sanitizers: tests/fuzz/run.sh [SECONDS], 60 unless told.
#
# Half of the time goes to whole files, half to single chunks. The CRC-32C checks are left out, so
# that damage reaches what stands behind them. A finding ends the run with its input's path.
# Environment: KEEP names a folder in which the grown corpora stay.
set -euo pipefail
cd "$(dirname "$0")/../.."

seconds=${1:-60}
python=.venv/bin/python
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
corpora=${KEEP:-$work/corpora}

# Once, on Debian as root; elsewhere the compiler's own message says what is missing.
install_engine() {
    [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null || return 0
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends clang libclang-rt-dev >/dev/null ||
        apt-get install -y -qq --no-install-recommends clang libclang-rt-14-dev >/dev/null
}

build() {
    clang -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -Iedgekit/embed \
        "tests/c/fuzz_$1.c" -o "$work/$1"
}

build file 2>/dev/null || { install_engine && build file; }
build chunk
"$python" -m tests.fuzz.seeds "$work/seeds"

for target in file chunk; do
    mkdir -p "$corpora/$target"
    "$work/$target" -max_total_time=$((seconds / 2)) -max_len=8192 -timeout=10 -rss_limit_mb=1024 \
        -print_final_stats=1 -verbosity=0 -artifact_prefix="$target-" \
        "$corpora/$target" "tests/fuzz/corpus/$target" "$work/seeds/$target" 2>"$work/log" ||
        { cat "$work/log" >&2; exit 1; }
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/log")
    speed=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$work/log")
    echo "$target: $runs runs, $speed a second, no finding"
done
