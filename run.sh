#!/bin/sh
# run.sh - from a fresh clone to a trained model: installs what is missing, builds, trains on the
# pictures that Kiln draws itself, and predicts one of them. Does nothing twice.
set -eu
cd "$(dirname "$0")"
. tools/packages.sh

if [ $# -gt 0 ]; then
    echo "usage: ./run.sh    installs, builds and trains; for all else see build/kiln --help" >&2
    exit 2
fi

# shellcheck disable=SC2086,SC2154 # a list, set in packages.sh
install_packages $build_packages

[ -x build/kiln ] || echo "Building build/kiln ..." >&2
configure release build
quietly build/build.log cmake --build build --target kiln_cli

# The last finished run, and the binary that made it.
last=runs/.run.sh
binary=$(sha256sum build/kiln | cut -d ' ' -f 1)
run=
if [ -f "$last" ]; then
    read -r made_by run <"$last"
    [ "$made_by" = "$binary" ] && [ -f "$run/model.safetensors" ] || run=
fi
if [ -n "$run" ]; then
    echo "Trained before by this build:"
    echo "model     $run/model.safetensors"
    echo "history   $run/history.csv"
    echo "pictures  $(cd "$run" && echo *.svg)"
else
    number=1
    while [ -e "runs/shapes-$number" ]; do
        number=$((number + 1))
    done
    run=runs/shapes-$number
    mkdir -p runs
    # 2,000 pictures are few: more and smaller steps than the recipe takes for Imagenette.
    build/kiln train shapes --recipe chapter --epochs 30 --batch-size 32 --output "$run"
    echo "$binary $run" >"$last"
fi
echo

cache=${KILN_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/kiln}
shapes=$(printf '%s\n' "$cache"/shapes-*/valid | sort -V | tail -n 1)
picture=$(find "$shapes" -name '*.jpg' | sort | head -n 1)
echo "\$ build/kiln predict $run/model.safetensors $picture"
build/kiln predict "$run/model.safetensors" "$picture"
