#!/bin/sh
# coverage.sh [OUT] - which lines and branches the tests run: builds with the preset coverage, runs all
# tests, and prints a table, the least covered files last; OUT (build-coverage/report) gets a page a
# file. Not counted: the branch of an assertion that fails, which ends the process; and
# cli_recipes, whose trainings take half an hour without optimisation.
set -u
cd "$(dirname "$0")/.." || exit 1
. tools/packages.sh
# shellcheck disable=SC2086 # a list
install_packages $build_packages libcmocka-dev gcovr || exit 1
out=${1:-build-coverage/report}

configure coverage build-coverage -DKILN_TESTS=ON -DKILN_TEST_TIMEOUT=1800 || exit 1
quietly build-coverage/build.log cmake --build build-coverage || exit 1
find build-coverage -name '*.gcda' -delete
ctest --test-dir build-coverage -j "$(nproc)" -LE release -E "^cli_recipes$" --no-label-summary >build-coverage/tests.log 2>&1 ||
    echo "some tests failed: build-coverage/tests.log" >&2
mkdir -p "$out"
gcovr -r . --object-directory build-coverage -f 'src/' --exclude-unreachable-branches \
    --exclude-branches-by-pattern '.*assert\(.*' -j "$(nproc)" \
    --json-summary build-coverage/summary.json --json-summary-pretty --html-details "$out/index.html" >build-coverage/gcovr.log 2>&1 || {
    tail -n 20 build-coverage/gcovr.log >&2
    exit 1
}
awk -F'[:,]' '
    function share(a, b) { return b > 0 ? 100 * a / b : 100 }
    /"branch_covered"/ { bc = $2 + 0 }
    /"branch_total"/ { bt = $2 + 0 }
    /"filename"/ { gsub(/[" ]/, "", $2); file = $2 }
    /"line_covered"/ { lc = $2 + 0 }
    /"line_total"/ {
        lt = $2 + 0
        if (file == "")
            next
        split(file, part, "/")
        room = part[2]
        rooms[room] = 1
        RB[room] += bc; RT[room] += bt; RL[room] += lc; RM[room] += lt
        AB += bc; AT += bt; AL += lc; AM += lt
        printf "%5.1f %5.1f %4d %s\n", share(bc, bt), share(lc, lt), bt - bc, file | "sort -rn"
        file = ""
    }
    END {
        close("sort -rn")
        print "branches and lines covered, %, and branches that are not:"
        for (room in rooms)
            printf "%5.1f %5.1f %4d src/%s\n", share(RB[room], RT[room]), share(RL[room], RM[room]), RT[room] - RB[room], room
        printf "%5.1f %5.1f %4d the library\n", share(AB, AT), share(AL, AM), AT - AB
    }' build-coverage/summary.json
