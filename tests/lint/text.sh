#!/bin/sh
# text.sh SOURCE - rules that grep can check: each C file says first what it is, none is longer than
# a sitting, nothing is left for later, no path of somebody's machine, no tab, no trailing blank.
cd "$1" || exit 1
status=0

complain() {
    echo "$1"
    status=1
}

forbid() { # PATTERN WHAT FILE...
    pattern=$1 what=$2
    shift 2
    hits=$(grep -nE "$pattern" "$@" /dev/null)
    [ -z "$hits" ] || complain "$what:
$hits"
}

for file in include/kiln/*.h src/*/*.[ch] src/*/*/*.cu src/*/*/*.cuh cli/*.[ch] cli/*/*.[ch] examples/*.c bench/*.c tests/*.[ch] \
    tests/support/*.[ch] tests/support/*/*.[ch]; do
    [ -e "$file" ] || continue
    name=$(basename "$file")
    case $(head -n 1 "$file") in
    "/* $name - "*) ;;
    *) complain "$file:1: the first line is not '/* $name - what it is'" ;;
    esac
    lines=$(wc -l <"$file")
    [ "$lines" -le 500 ] || complain "$file: $lines lines, over 500"
done

written=$(find . \( -path './build*' -o -path ./.git -o -path ./runs -o -path ./.cache \) -prune -o \
    -type f \( -name '*.[ch]' -o -name '*.sh' -o -name '*.py' -o -name '*.md' -o -name '*.cmake' \
    -o -name '*.cc' -o -name '*.txt' -o -name '*.in' -o -name '*.json' -o -path './.ci/run' \) \
    ! -path './tests/lint/text.sh' -print)
# shellcheck disable=SC2086 # a list of paths without blanks
{
    forbid 'TODO|FIXME|XXX:' 'left for later' $written
    forbid '(^|[^A-Za-z0-9_.-])/(home|work|root|Users|mnt)/' 'a path of one machine' $written
    forbid '[[:blank:]]$' 'blanks at the end of a line' $written
    forbid "$(printf '\t')" 'a tab' $written
}
exit $status
