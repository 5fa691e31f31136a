#!/bin/sh
# format.sh SOURCE - clang-format would change nothing.
cd "$1" || exit 1
if ! command -v clang-format >/dev/null; then
    echo "SKIPPED: clang-format is not installed"
    exit 77
fi
differs=$(find include src cli examples bench tests \( -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' -o -name '*.cpp' \) \
    -exec clang-format --dry-run -Werror {} + 2>&1 | sed -n 's/ error: .*//p' | cut -d: -f1,2 | uniq)
[ -z "$differs" ] || { echo "clang-format would change:
$differs" && exit 1; }
