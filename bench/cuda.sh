#!/bin/sh
# cuda.sh - all that only a machine with a GPU can show, in one go, for machines that are at hand for
# minutes: each part has a time limit and a log, and one line that says how it went.
#
#     bench/cuda.sh [-b BUILD] [-d DATA] [-o OUT] [PART...]
#
# BUILD (build) has kiln, libkiln_cuda.so and the tests, DATA is an Imagenette folder, OUT (cuda-out)
# gets the logs. Parts, all of them in this order if none is named:
#
#   doctor      what the device is
#   check       every convolution of a step of each model against the plain kernels'
#   tests       the tests that a device is a parameter of, that of a training that moves from device
#               to device among them
#   chapter     the chapter, f32 and bf16: without a plan file, then three times with one; in bf16 with
#               augmentation, pictures kept decoded and not
#   seeds       the chapter in bf16 with two more seeds
#   bench       kiln bench: kernels, what copying moves, steps
#   graphs      steps whose commands come in a line, and side by side, in turn; trainings so and without
#               graphs, whose weights must be the same
#   peers       steps of PyTorch, all arms in bf16, and the bf16 peak of its matrix product; then
#               Kiln's steps again
#   sanitizer   compute-sanitizer over the ops: memcheck, racecheck, initcheck
#
# PyTorch is PYTHON (python3), which may lack it: then that part says so.
set -u
here=$(cd "$(dirname "$0")/.." && pwd)
build=$here/build data= out=$here/cuda-out

usage() {
    sed -n '2,/^set -u/p' "$0" | sed '$d; s/^# \{0,1\}//' >&2
    exit 2
}

while getopts b:d:o: option; do
    case $option in
    b) build=$(cd "$OPTARG" && pwd) || exit 2 ;;
    d) data=$(cd "$OPTARG" && pwd) || exit 2 ;;
    o) out=$OPTARG ;;
    *) usage ;;
    esac
done
shift $((OPTIND - 1))
[ -x "$build/kiln" ] || { echo "$0: $build/kiln is not there; build it first" >&2; exit 2; }
mkdir -p "$out" && out=$(cd "$out" && pwd) || exit 1
cd "$here" || exit 1 # where the tests look for their goldens
export KILN_HOME="$out/home" # with the plan file
kiln=$build/kiln
models="simple_cnn resnet18 xresnet50"
failed=0

# limited SECONDS NAME COMMAND... - its output in OUT/NAME.log; one line of how it went.
limited() {
    seconds=$1 name=$2
    shift 2
    began=$(date +%s.%N)
    timeout -k 5 "$seconds" "$@" >"$out/$name.log" 2>&1
    code=$?
    case $code in 0) word=ok ;; 124 | 137) word="over $seconds s" ;; *) word="exit $code" ;; esac
    [ $code = 0 ] || failed=$((failed + 1))
    echo "$name $word" "$began" "$(date +%s.%N)" |
        awk '{ t = $NF - $(NF - 1); NF -= 2; printf "%-60s %7.2f s\n", $0, t }'
}

part_doctor() {
    limited 60 doctor "$kiln" doctor
    grep '^device cuda' "$out/doctor.log"
}

part_check() {
    for model in $models; do
        KILN_CUDA_CONV=check limited 120 "check.$model" "$kiln" bench --device cuda --only "$model"
        echo "    convolutions that were off: $(grep -c 'is off by' "$out/check.$model.log")"
    done
}

# Whatever takes the device from the environment, or the one that "auto" finds.
part_tests() {
    export KILN_TEST_DEVICE=cuda KILN_BIN="$kiln"
    for test in "$build"/tests/test_*; do
        name=$(basename "$test")
        [ -x "$test" ] || continue
        grep -qs 'test_device\|KILN_TEST_DEVICE\|MODEL_CASE\|run_init\|kn_ctx_new' "$here/tests/$name.c" || continue
        limited 120 "$name" "$test"
    done
    unset KILN_TEST_DEVICE
}

# chapter NAME OPTION... - wall time, epochs, accuracy and hash of one run.
chapter() {
    name=$1
    shift
    rm -rf "$out/run.$name"
    limited 60 "$name" "$kiln" train "$data" --recipe chapter --device cuda --json -o "$out/run.$name" "$@"
    sed -n 's/.*"event":"epoch".*"seconds":\([0-9.]*\).*/\1/p' "$out/$name.log" |
        awk 'NR > 1 { if (min == "" || $1 < min) min = $1; if ($1 > max) max = $1 }
             END { print "    epochs from the second on: " min " to " max " s" }'
    sed -n 's/.*"event":"done".*"weights_sha256":"\([0-9a-f]\{16\}\).*"valid_acc":\([0-9.]*\).*/    \1..., accuracy \2/p' \
        "$out/$name.log"
}

part_chapter() {
    [ -d "$data" ] || { echo "chapter: no data (-d)"; return; }
    rm -rf "$KILN_HOME/plans"
    find "$data" -type f -exec cat {} + >/dev/null
    for dtype in bf16 f32; do
        for run in cold 1 2 3; do
            chapter "chapter.$dtype.$run" --dtype $dtype --seed 42
        done
    done
    for cache in ram off; do
        chapter "chapter.augmented.$cache" --dtype bf16 --aug standard --cache $cache
    done
}

part_seeds() {
    [ -d "$data" ] || { echo "seeds: no data (-d)"; return; }
    for seed in 1 2; do
        chapter "seed.$seed" --dtype bf16 --seed $seed
    done
}

steps() {
    for model in $models; do
        limited 120 "$1.$model" "$kiln" bench --device cuda --only "$model"
        grep -i 'step' "$out/$1.$model.log"
    done
}

part_bench() {
    limited 120 bench.machine "$kiln" bench --device cuda --only machine
    cat "$out/bench.machine.log"
    limited 120 bench.ops "$kiln" bench --device cuda --only ops
    steps bench
}

# Graphs with commands side by side, and with all in a line, in turn.
part_graphs() {
    export KILN_CUDA_STATS=1
    for turn in 1 2; do
        KILN_CUDA_GRAPHS=line steps "line.$turn"
        steps "side.$turn"
        grep -h 'one after another' "$out"/side."$turn".*.log
    done
    unset KILN_CUDA_STATS
    same_weights "bits" --epochs 2
    same_weights "bits.muon" --epochs 1 --model xresnet18 --opt muon --lr 0.02 --img-size 96 -b 64
}

# same_weights NAME OPTION... - one training in bf16 with each kind of graph.
same_weights() {
    [ -d "$data" ] || { echo "$1: no data (-d)"; return; }
    what=$1
    shift
    for kind in 0 line side; do
        KILN_CUDA_GRAPHS=$kind chapter "$what.$kind" --dtype bf16 "$@"
    done
    hashes=$(sed -n 's/.*"weights_sha256":"\([0-9a-f]*\).*/\1/p' "$out/$what.0.log" "$out/$what.line.log" \
        "$out/$what.side.log")
    if [ "$(echo "$hashes" | wc -l)" = 3 ] && [ "$(echo "$hashes" | sort -u | wc -l)" = 1 ]; then
        echo "    $what: the same weights"
    else
        echo "    $what: THE WEIGHTS DIFFER"
        failed=$((failed + 1))
    fi
}

part_peers() {
    python=${PYTHON:-python3}
    if ! "$python" -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
        echo "peers: $python has no PyTorch that sees the device"
        return
    fi
    for pair in "simple_cnn 128 64" "resnet18 32 128" "xresnet50 32 128"; do
        # shellcheck disable=SC2086 # three words
        set -- $pair
        limited 240 "torch.$1" "$python" "$here/bench/torch_step.py" --device cuda --model "$1" --batch "$2" \
            --size "$3" --arm bf16 --arm compile-bf16 --arm capture-bf16 --arm graph-bf16
        cat "$out/torch.$1.log"
    done
    limited 60 torch.peak "$python" "$here/bench/torch_step.py" --device cuda --peak
    cat "$out/torch.peak.log"
    steps again
}

part_sanitizer() {
    for tool in memcheck racecheck initcheck; do
        KILN_TEST_DEVICE=cuda limited 240 "sanitizer.$tool" compute-sanitizer --tool $tool --error-exitcode 9 \
            "$build/tests/test_ops"
        grep 'ERROR SUMMARY\|RACECHECK SUMMARY' "$out/sanitizer.$tool.log"
    done
}

[ $# -gt 0 ] || set -- doctor check tests chapter seeds bench graphs peers sanitizer
for part in "$@"; do
    case $part in
    doctor | check | tests | chapter | seeds | bench | graphs | peers | sanitizer) ;;
    *) usage ;;
    esac
done
for part in "$@"; do
    echo "== $part"
    "part_$part"
done
echo "$failed of the commands failed; logs in $out"
[ $failed = 0 ]
