#!/bin/sh
# headers.sh SOURCE - every public header compiles alone, as C11 and as C++11; every private one as
# C11. So a file may include any of them first. But for those that are meant to be read in several
# times, each time for another type: they say so.
cd "$1" || exit 1
status=0
warnings="-Wall -Wextra -Werror"
for header in include/kiln/*.h src/*/*.h cli/*.h cli/*/*.h; do
    [ -e "$header" ] || continue
    ! sed 5q "$header" | tr '\n' ' ' | grep -q 'several times' || continue
    # shellcheck disable=SC2086 # a list of options
    echo 'typedef int not_empty;' | ${CC:-cc} -std=c11 -pedantic $warnings -Wstrict-prototypes -D_GNU_SOURCE -DKN_HAVE_ONEDNN=1 \
        -Iinclude -Isrc -Icli -include "$header" -fsyntax-only -x c - || status=1
done
for header in include/kiln/*.h; do
    # shellcheck disable=SC2086
    ${CXX:-c++} -std=c++11 $warnings -Iinclude -include "$header" -fsyntax-only -x c++ /dev/null ||
        status=1
done
exit $status
