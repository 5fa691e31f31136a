#!/bin/sh
# install.sh SOURCE BUILD - installs into a temporary prefix, moves it, and builds programs against
# it: C through pkg-config (shared and static), C and C++ through find_package. Each must print the
# chapter's count of parameters.
set -eu
source=$1/tests/install
build=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake --install "$build" --prefix "$work/first" >/dev/null
mv "$work/first" "$work/moved" # both packages must find their files wherever the prefix lies
prefix=$work/moved
CC=$(sed -n 's/^CMAKE_C_COMPILER:[^=]*=//p' "$build/CMakeCache.txt") # its OpenMP goes with it
export CC
case $CC in *clang) export CXX="$CC++" ;; esac
pc=$(dirname "$(find "$prefix" -name kiln.pc)")
lib=$(dirname "$pc")
export PKG_CONFIG_PATH="$pc"

check() { # PROGRAM
    printed=$("$1")
    if [ "$printed" != 98730 ]; then
        echo "$1 printed '$printed' instead of 98730"
        exit 1
    fi
    echo "$1: $printed"
}

cd "$work"
# shellcheck disable=SC2046 # pkg-config prints a list
"$CC" -std=c11 -Wall -Wextra -Werror $(pkg-config --cflags kiln) "$source/main.c" -o pc_shared \
    $(pkg-config --libs kiln) -Wl,-rpath,"$lib"
check ./pc_shared

mkdir static_only
cp "$lib/libkiln.a" static_only/
# shellcheck disable=SC2046
"$CC" -std=c11 -Wall -Wextra -Werror $(pkg-config --cflags kiln) "$source/main.c" -o pc_static \
    -Lstatic_only $(pkg-config --static --libs kiln | sed "s|-L$prefix[^ ]*||")
if ldd ./pc_static | grep -q libkiln; then
    echo "pc_static was linked to the shared library"
    exit 1
fi
check ./pc_static

cmake -S "$source" -B "$work/consumer" -DCMAKE_PREFIX_PATH="$prefix" >/dev/null
cmake --build "$work/consumer" >/dev/null
for program in c_shared c_static cc_shared cc_static; do
    check "$work/consumer/$program"
done

if [ -x "$build/kiln" ]; then
    "$prefix/bin/kiln" --version
fi
if [ -x "$build/kiln-download" ]; then
    "$prefix/bin/kiln" doctor | grep "^kiln-download *$prefix/bin/kiln-download (" # beside it
fi
