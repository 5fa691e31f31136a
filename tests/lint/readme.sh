#!/bin/sh
# readme.sh SOURCE BUILD - runs README.md. Its blocks marked sh are run in order, in a temporary
# folder that holds photos/; its C program, named by its first comment, is written there before.
# The command and the library are those of an installed tree.
set -eu
readme=$1/README.md
build=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake --install "$build" --prefix "$work/prefix" >/dev/null
lib=$(dirname "$(find "$work/prefix" -name libkiln.a)")
export PATH="$work/prefix/bin:$PATH" PKG_CONFIG_PATH="$lib/pkgconfig" LD_LIBRARY_PATH="$lib"
export KILN_HOME="${KILN_HOME:-$work/cache}"
mkdir "$work/here"
cd "$work/here"

# Two classes of pictures, from those that Kiln draws.
kiln check shapes >/dev/null
shapes=$(find "$KILN_HOME" -type d -path '*shapes*/train' | head -n 1)
name() { find "$shapes" -mindepth 1 -maxdepth 1 -type d | sort | sed -n "$1p"; }
class=0
for flower in rose tulip; do
    class=$((class + 1))
    mkdir -p "photos/$flower"
    number=0
    find "$(name $class)" -name '*.jpg' | sort | head -n 40 | while read -r picture; do
        number=$((number + 1))
        cp "$picture" "photos/$flower/$(printf '%04d' $number).jpg"
    done
done

block() { # LANGUAGE
    awk -v open="\`\`\`$1" '$0 == "```" { inside = 0 } inside { print } $0 == open { inside = 1 }' "$readme"
}
block c >program.c
program=$(sed -nE '1s|^/\* ([a-z_]+\.c) - .*|\1|p' program.c)
mv program.c "$program"

block sh >commands
[ "$(wc -l <commands)" -ge 5 ] || { echo "README.md has hardly any sh block" && exit 1; }
sed -i '1i set -eux' commands
sh commands
