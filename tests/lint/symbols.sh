#!/bin/sh
# symbols.sh SOURCE BUILD - what the built library calls, exports and keeps. It never prints, exits
# or aborts (an assertion excepted), jumps out of a function only in the image codec's file, exports
# exactly the functions its headers declare, and has no variable that several contexts would share.
# And kiln links neither libcurl nor libarchive, nor anything of CUDA.
cd "$1" || exit 1
static=$2/libkiln.a
shared=$2/libkiln.so
status=0

complain() {
    echo "$1:"
    echo "$2" | sed 's/^/    /'
    status=1
}

calls=$(nm -A -u "$static" | sed 's/__\([a-z]*\)_chk$/\1/; s/@.*//' |
    grep -E ' U (v?printf|puts|putchar|putc|perror|psignal|std(out|err)|_?_?exit|quick_exit|abort)$')
[ -z "$calls" ] || complain "the library prints or ends the process" "$calls"

jumps=$(nm -A -u "$static" | grep -E ' U _*(sig)?(set|long)jmp(_chk)?$' | grep -v ':image\.c\.o:')
[ -z "$jumps" ] || complain "a jump outside src/formats/image.c" "$jumps"

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

nm -D --defined-only "$shared" | awk '{ print $3 }' | sort >"$work/exported"
foreign=$(grep -v '^kn_' "$work/exported")
[ -z "$foreign" ] || complain "exported without the prefix kn_" "$foreign"

# The headers, macros expanded, mark what they export; a name is what stands before the parameters.
echo '#include <kiln/kiln.h>' |
    ${CC:-cc} -std=c11 -E -P -Iinclude -x c - | tr '\n' ' ' | sed 's/;/;\n/g' |
    sed -nE 's/.*visibility\("default"\)\)\)(.*)/\1/p' |
    sed -E 's/__attribute__\(\(([^()]|\([^()]*\))*\)\)//g' |
    sed -nE 's/^[^(]*[ *](kn_[a-z0-9_]+)[[:space:]]*(\(|;|\[).*/\1/p' | sort -u >"$work/declared"
missing=$(nm -D -u "$shared" | grep -E ' kn_')
[ -z "$missing" ] || complain "called, not defined anywhere" "$missing"
missing=$(comm -23 "$work/declared" "$work/exported")
[ -z "$missing" ] || complain "declared in a public header, not defined" "$missing"
extra=$(comm -13 "$work/declared" "$work/exported")
[ -z "$extra" ] || complain "exported, in no public header" "$extra"

# Constant tables with pointers lie in .data.rel.ro and may stay.
globals=$(objdump -t "$static" | grep -E ' O (\.data|\.bss|\.tdata|\.tbss|\*COM\*)(\.[^[:space:]]*)?[[:space:]]' |
    grep -vE '\.data\.rel\.ro')
[ -z "$globals" ] || complain "mutable variables outside any context" "$globals"

# kiln starts without what only kiln-download needs.
needed=$(objdump -p "$2/kiln" | grep -E 'NEEDED +lib(curl|archive|ssl)\.')
[ -z "$needed" ] || complain "kiln links what belongs to kiln-download" "$needed"

# The plugin for CUDA is found at run time: kiln links nothing of it, and it shows one function.
needed=$(objdump -p "$2/kiln" "$shared" | grep -E 'NEEDED +lib(cuda|cudart|cudnn|cublas)')
[ -z "$needed" ] || complain "CUDA is linked, not loaded" "$needed"
if [ -e "$2/libkiln_cuda.so" ]; then
    exported=$(nm -D --defined-only "$2/libkiln_cuda.so" | awk '{ print $3 }')
    [ "$exported" = kn_plugin_backend ] || complain "exported by the plugin" "$exported"
    missing=$(nm -D -u "$2/libkiln_cuda.so" | grep -E ' kn_')
    [ -z "$missing" ] || complain "called by the plugin, not in it" "$missing"
fi

exit $status
