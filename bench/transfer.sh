#!/bin/sh
# transfer.sh - does transfer pay? Trains on five classes of an Imagenette folder, then on the other
# five with few pictures of each: once from random weights, once fine-tuned from the first model.
#
#     bench/transfer.sh KILN DATA [SEEDS [PICTURES [VALID]]]
#
# KILN is the command, DATA the folder with train/ and val/, SEEDS how many seeds (3), PICTURES of
# each class to learn from (20), VALID of each class to validate on (all). Both ways see the few
# pictures 30 times, with the same network, pictures and augmentation, each at the rate that the
# finder finds for it. Prints a line a seed, and the means.
set -eu

if [ $# -lt 2 ] || [ $# -gt 5 ]; then
    sed -n '2,11s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
kiln=$1 data=$2 seeds=${3:-3} pictures=${4:-20} valid=${5:-100000}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# split FOLDER FIRST LAST COUNT - links the classes FIRST to LAST, COUNT training pictures of each.
split() {
    for class in $(find "$data/train" -mindepth 1 -maxdepth 1 -type d | sort | sed -n "$2,$3p"); do
        name=$(basename "$class")
        mkdir -p "$work/$1/train/$name" "$work/$1/val/$name"
        find "$class" -type f | sort | head -n "$4" | while read -r picture; do
            ln -s "$picture" "$work/$1/train/$name/"
        done
        find "$data/val/$name" -type f | sort | head -n "$valid" | while read -r picture; do
            ln -s "$picture" "$work/$1/val/$name/"
        done
    done
}

# best RUN OPTION... - trains and prints the best validation accuracy.
best() {
    run=$work/$1
    shift
    "$kiln" train --json -q --model xresnet18 --img-size 64 --aug standard -o "$run" "$@" |
        sed -n 's/.*"event":"done".*"best_acc":\([0-9.]*\).*/\1/p'
}

data=$(cd "$data" && pwd)
split many 1 5 100000
split few 6 10 "$pictures"
seed=1
while [ "$seed" -le "$seeds" ]; do
    base=$(best "base$seed" "$work/many" --epochs 15 --lr 0.02 --seed "$seed")
    scratch=$(best "scratch$seed" "$work/few" -b 16 --epochs 30 --seed "$seed")
    tuned=$(best "tuned$seed" "$work/few" -b 16 --fine-tune 29 --seed "$seed" \
        --weights "$work/base$seed/model.safetensors")
    echo "seed $seed: first classes $base, from scratch $scratch, fine-tuned $tuned"
    echo "$scratch $tuned" >>"$work/results"
    seed=$((seed + 1))
done
awk '{ a += $1; b += $2 } END {
    printf "mean: from scratch %.4f, fine-tuned %.4f, difference %.4f\n", a / NR, b / NR, (b - a) / NR
}' "$work/results"
