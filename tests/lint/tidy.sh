#!/bin/sh
# tidy.sh SOURCE BUILD - clang-tidy, with the checks of .clang-tidy, on the library and the command;
# on tests and examples what clang itself warns of. Of the former a file that passed is not read again
# until it, a header, or .clang-tidy changes.
#
# Nine tenths of the time are the analyzer's, which follows each function through its states: in full
# (KILN_TEST_FULL) as many as it likes, else a tenth of them.
cd "$1" || exit 1
if ! command -v clang-tidy >/dev/null; then
    echo "SKIPPED: clang-tidy is not installed"
    exit 77
fi
passed=$2/tidy
depth=
[ -n "${KILN_TEST_FULL:-}" ] ||
    depth='--extra-arg=-Xclang --extra-arg=-analyzer-config --extra-arg=-Xclang --extra-arg=max-nodes=20000'
mkdir -p "$passed"
base=$depth$(cat .clang-tidy include/kiln/*.h src/*/*.h cli/*.h cli/*/*.h "$2/CMakeCache.txt" 2>/dev/null | sha256sum)

# Runs on one file; its name is the second argument.
# shellcheck disable=SC2016 # expanded by the inner shell
one='
key=$(echo "$3" | cat - "$2" | sha256sum | cut -c1-64)
[ ! -e "$1/tidy/$key" ] || exit 0
out=$(clang-tidy --quiet -p "$1" $4 "$2" 2>&1)
if [ $? -eq 0 ]; then : >"$1/tidy/$key"; else echo "$out"; exit 1; fi'
find src cli -name '*.c' | {
    if grep -q '^KILN_ONEDNN:.*=OFF' "$2/CMakeCache.txt"; then grep -v /onednn; else cat; fi
} | {
    if [ -x "$2/kiln-download" ]; then cat; else grep -v ^cli/download/; fi
} | sort | xargs -P "$(nproc)" -I{} sh -c "$one" sh "$2" {} "$base" "$depth" &&
    # With none but the compiler's it does not start.
    find tests examples -name '*.c' |
    sort | xargs -P "$(nproc)" -I{} clang-tidy --quiet -p "$2" \
    '--checks=-*,clang-diagnostic-*,readability-misleading-indentation' {}
