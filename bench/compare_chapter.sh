#!/bin/sh
# compare_chapter.sh - the chapter's eight epochs on Kiln and on another program, in turn, so that a
# machine whose speed drifts treats both alike. Prints each run's seconds and accuracy, the medians and
# the ratio.
#
# usage: compare_chapter.sh KILN DATA RUNS COMMAND...
#   KILN     the kiln binary
#   DATA     an Imagenette folder
#   RUNS     how often each runs; 5 or more for a figure to quote
#   COMMAND  the other program and its arguments; its JSON lines must end with one of an epoch that
#            holds "valid_acc": for PyTorch, the chapter's program with --epochs 8 --one-cycle
set -eu
[ $# -ge 4 ] || { sed -n '6,12s/^# \{0,1\}//p' "$0" >&2; exit 2; }
kiln=$1 data=$2 runs=$3
shift 3
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT INT TERM

# timed NAME COMMAND... - runs it and appends "seconds accuracy" to NAME.
timed() {
    name=$1
    shift
    began=$(date +%s.%N)
    "$@" >"$folder/out" 2>"$folder/err" || { cat "$folder/err" >&2; exit 1; }
    ended=$(date +%s.%N)
    accuracy=$(sed -n 's/.*"valid_acc": *\([0-9.]*\).*/\1/p' "$folder/out" | tail -n 1)
    echo "$began $ended $accuracy" | awk '{ printf "%.2f %s\n", $2 - $1, $3 }' >>"$folder/$name"
    echo "$name $(tail -n 1 "$folder/$name")"
}

median() { # COLUMN FILE
    sort -n -k "$1" "$folder/$2" | awk -v c="$1" '{ v[NR] = $c }
        END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

echo "run  seconds  validation accuracy"
i=1
while [ "$i" -le "$runs" ]; do
    timed kiln "$kiln" train "$data" --json --quiet --seed "$i" --output "$folder/run-$i"
    timed other "$@"
    i=$((i + 1))
done
echo "median seconds: kiln $(median 1 kiln), other $(median 1 other)"
echo "$(median 1 other) $(median 1 kiln)" | awk '{ printf "kiln is %.2f times as fast\n", $1 / $2 }'
echo "median accuracy: kiln $(median 2 kiln), other $(median 2 other)"
sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | sort | uniq -c
