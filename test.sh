#!/bin/sh
# test.sh - installs what tests need, builds, runs every test, and ends with one line that counts
# them: on a release build, under AddressSanitizer and UndefinedBehaviorSanitizer, and what has
# threads of its own under ThreadSanitizer. Exits 1 if any failed.
set -u
cd "$(dirname "$0")" || exit 1
. tools/packages.sh

usage() {
    cat <<'END'
usage: ./test.sh [--full] [--device NAME]
  --full         the long tests too (KILN_TEST_FULL=1), all of them built by clang, those of the
                 library under ThreadSanitizer and valgrind, and the fuzzers
  --device NAME  the device that tests of a device run on (KILN_TEST_DEVICE): auto, cpu, cuda, reference
Tests that need real pictures look in KILN_TEST_DATA, an Imagenette folder with train/ and val/.
END
}

full=no
long=OFF
timeout=300
while [ $# -gt 0 ]; do
    case $1 in
    --full)
        full=yes
        long=ON
        timeout=3600
        export KILN_TEST_FULL=1
        ;;
    --device)
        [ $# -ge 2 ] || { usage >&2; exit 2; }
        export KILN_TEST_DEVICE="$2"
        shift
        ;;
    --help)
        usage
        exit 0
        ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
    shift
done

packages="$build_packages g++ libcmocka-dev clang-format clang-tidy binutils"
[ $full = no ] || packages="$packages clang libomp-dev libclang-rt-dev valgrind"
# shellcheck disable=SC2086 # a list
install_packages $packages || exit 1

jobs=$(nproc)
logs=

# leg PRESET TESTS FOLDER TARGET OPTION... - builds, runs the tests of the preset TESTS, keeps the log
# for counting. A build that fails, or has no test, counts as one failed test.
leg() {
    preset=$1 tests=$2 folder=$3 target=$4
    shift 4
    echo "== $(basename "$folder")" >&2
    log=$folder/Testing/Temporary/LastTest.log
    rm -f "$log"
    if configure "$preset" "$folder" -DKILN_TESTS=ON -DKILN_WERROR=ON "$@" &&
        quietly "$folder/build.log" cmake --build "$folder" --target "$target"; then
        ctest --preset "$tests" -j "$jobs" --no-label-summary | grep -vE '^ +Start +[0-9]+: '
        grep -qs ' Testing: ' "$log" || broken "$log" 'no test was found'
    else
        broken "$log" build
    fi
    logs="$logs $log"
}

broken() { # LOG WHAT
    mkdir -p "$(dirname "$1")"
    printf '1/1 Testing: %s\nTest Failed.\n' "$2" >"$1"
}

# fuzz NAME RUNS - so many runs of a fuzzer on its corpus, which grows. Counts as one test.
fuzz() {
    log=$PWD/build-fuzz/$1.log
    printf '1/1 Testing: fuzz %s, %s runs\n' "$1" "$2" >"$log"
    if "build-fuzz/tests/fuzz_$1" -runs="$2" -max_len=8192 -artifact_prefix="build-fuzz/$1-" \
        "build-fuzz/corpus/$1" >"build-fuzz/$1.out" 2>&1; then
        echo "Test Passed." >>"$log"
    else
        tail -n 40 "build-fuzz/$1.out" | tee -a "$log"
        echo "Test Failed." >>"$log"
    fi
    logs="$logs $log"
}

# From here on what tests write, tens of gigabytes with --full, stays in memory, if that has room.
write_to_memory() {
    room=$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 { print $4 }')
    [ -z "${TMPDIR:-}" ] && [ "${room:-0}" -ge 4000000 ] || return 0
    TMPDIR=$(mktemp -d /dev/shm/kiln-tests-XXXXXX 2>/dev/null) || { unset TMPDIR; return 0; }
    export TMPDIR
    chmod 755 "$TMPDIR" # some tests are somebody else for a while
    trap 'rm -rf "$TMPDIR"' EXIT
    trap 'exit 1' INT TERM
}

[ $full = no ] || write_to_memory
leg release release build all -DKILN_TEST_TIMEOUT="$timeout" -DKILN_LONG_TESTS="$long"
[ $full = yes ] || write_to_memory # the release build has written to the disk
leg asan asan build-asan all -DKILN_TEST_TIMEOUT=$((timeout * 3))
if [ $full = no ]; then
    leg tsan tsan build-tsan thread_tests -DKILN_TEST_TIMEOUT=$((timeout * 3))
else
    leg tsan tsan-all build-tsan all -DKILN_TEST_TIMEOUT=$((timeout * 3))
    leg valgrind valgrind build-valgrind all -DKILN_TEST_TIMEOUT=$((timeout * 3))
    leg clang clang build-clang all -DKILN_TEST_TIMEOUT="$timeout"
    echo "== build-fuzz" >&2
    if configure fuzz build-fuzz && quietly build-fuzz/build.log cmake --build build-fuzz --target fuzzers; then
        for name in safetensors exif args resume checkpoint cache archive; do
            fuzz "$name" 1000000
        done
        fuzz picture 100000
    else
        broken build-fuzz/build-failed.log 'build of the fuzzers'
        logs="$logs build-fuzz/build-failed.log"
    fi
fi

# shellcheck disable=SC2086 # a list
{
    reasons=$(cat $logs | grep -aE '^SKIPPED: ' | sort | uniq -c | sort -rn)
    counts=$(cat $logs | awk -f tests/count.awk)
}
if [ -n "$reasons" ]; then
    echo "Skipped, how often and why:"
    echo "$reasons"
fi
# shellcheck disable=SC2086 # three numbers
set -- $counts
echo "$1 passed, $2 failed, $3 skipped"
[ "$2" = 0 ]
