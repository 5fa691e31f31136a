#!/bin/sh
# format.sh SOURCE - clang-format would change nothing.
cd "$1" || exit 1
if ! command -v clang-format >/dev/null; then
    echo "SKIPPED: clang-format is not installed"
    exit 77
fi
find include src cli examples bench tests -name '*.[ch]' -exec clang-format --dry-run -Werror {} +
