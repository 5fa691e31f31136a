#!/bin/sh
# compare_chapter.sh - the chapter's job, by Kiln and by another program, in turns.
#
#     bench/compare_chapter.sh [-n RUNS] [-k KILN] DATA COMMAND...
#
# Kiln trains on DATA as the chapter does, for eight epochs; COMMAND is whatever does the same job,
# given whole, for example
#
#     bench/compare_chapter.sh ~/imagenette python3 peer.py ~/imagenette --epochs 8 --seed {}
#
# A word {} in it stands for the number of the run, which is Kiln's seed too. Each is run RUNS times
# (5), the one that goes first changing every time, after all files were read once. A time is that of
# the whole process, from its start to its end. An accuracy is the last number that the program prints
# as "valid_acc": NUMBER. Prints each run, the medians and their ratio, and the machine.
set -eu

usage() {
    echo "usage: $0 [-n RUNS] [-k KILN] DATA COMMAND..." >&2
    exit 2
}

runs=5
kiln=$(dirname "$0")/../build/kiln
while getopts n:k: option; do
    case $option in
    n) runs=$OPTARG ;;
    k) kiln=$OPTARG ;;
    *) usage ;;
    esac
done
shift $((OPTIND - 1))
[ $# -ge 2 ] || usage
case $runs in '' | 0* | *[!0-9]*) usage ;; esac
data=$1
shift
[ -d "$data" ] || { echo "$0: $data is not a folder" >&2; exit 2; }
[ -x "$kiln" ] || { echo "$0: $kiln is not there; build it first, or name it with -k" >&2; exit 2; }

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# ---- one run: its seconds and its accuracy go to $folder/NAME.times and NAME.accs ----

run() {
    name=$1
    shift
    began=$(date +%s.%N)
    "$@" >"$folder/out" 2>"$folder/err" || {
        echo "$0: run $number of $name failed; its last words:" >&2
        tail -n 5 "$folder/out" "$folder/err" >&2
        exit 1
    }
    ended=$(date +%s.%N)
    seconds=$(echo "$began $ended" | awk '{ printf "%.2f", $2 - $1 }')
    accuracy=$(sed -n 's/.*"valid_acc": *\([0-9.e+-]*\).*/\1/p' "$folder/out" | tail -n 1)
    [ -n "$accuracy" ] || { echo "$0: $name printed no \"valid_acc\"" >&2; exit 1; }
    echo "$seconds" >>"$folder/$name.times"
    echo "$accuracy" >>"$folder/$name.accs"
    printf '%3d  %-6s %8.2f s  accuracy %.4f\n' "$number" "$name" "$seconds" "$accuracy"
}

run_kiln() {
    run kiln "$kiln" train "$data" --recipe chapter --seed "$number" --json \
        -o "$folder/run.$number"
}

# Rebuilds the command word by word, {} replaced.
run_other() {
    left=$#
    while [ "$left" -gt 0 ]; do
        word=$1
        shift
        [ "$word" != "{}" ] || word=$number
        set -- "$@" "$word"
        left=$((left - 1))
    done
    run other "$@"
}

# ---- the machine ----

versions() {
    "$kiln" --version
    if text=$("$1" -c 'import platform, torch, PIL
print("python", platform.python_version(), "torch", torch.__version__, "pillow", PIL.__version__)' \
        2>/dev/null); then
        echo "$text"
    else
        "$1" --version 2>&1 | head -n 1
    fi
}

sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1
echo "$(nproc) processors, $(awk '/^MemTotal/ { printf "%.0f", $2 / 1048576 }' /proc/meminfo) GiB," \
    "load before: $(cut -d' ' -f1-3 /proc/loadavg)"
versions "$1"
echo "other: $*"

# ---- the runs ----

find "$data" -type f -exec cat {} + >/dev/null
number=1
while [ "$number" -le "$runs" ]; do
    if [ $((number % 2)) -eq 1 ]; then
        run_kiln
        run_other "$@"
    else
        run_other "$@"
        run_kiln
    fi
    number=$((number + 1))
done

median() {
    sort -n "$1" | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'
}

mean() {
    awk '{ sum += $1 } END { printf "%.4f", sum / NR }' "$1"
}

echo "median seconds: kiln $(median "$folder/kiln.times"), other $(median "$folder/other.times")"
echo "mean accuracy:  kiln $(mean "$folder/kiln.accs"), other $(mean "$folder/other.accs")"
echo "$(median "$folder/kiln.times") $(median "$folder/other.times")" |
    awk '{ printf "Kiln is %.2f times as fast\n", $2 / $1 }'
