#!/bin/sh
# layers.sh SOURCE - includes run down only. A floor never includes a higher one, rooms on one floor
# never include each other, vendor headers stay in src/backend/, image codecs in src/formats/image.c,
# libcurl and libarchive in cli/download/, and examples see the public headers alone.
cd "$1" || exit 1
status=0

floor() {
    case $1 in
    core) echo 1 ;;
    backend | formats) echo 2 ;;
    tensor) echo 3 ;;
    ops | data) echo 4 ;;
    nn) echo 5 ;;
    optim) echo 6 ;;
    learner) echo 7 ;;
    *) echo unknown ;;
    esac
}

complain() {
    echo "$1"
    status=1
}

# FILE:LINE:#include "ROOM/..." of every file below a folder.
includes() {
    grep -rnE '^[[:space:]]*#[[:space:]]*include' "$@" --include='*.[ch]' --include='*.cu' --include='*.cuh'
}

for folder in src/*/; do
    room=$(basename "$folder")
    here=$(floor "$room")
    [ "$here" != unknown ] || complain "src/$room is on no floor: give it one in tests/lint/layers.sh"
done

found=$(includes src | sed -nE 's/^([^:]*):([0-9]+):[^"]*"([^"]*)".*/\1 \2 \3/p')
while read -r file line path; do
    [ -n "$file" ] || continue
    from=$(echo "$file" | cut -d/ -f2)
    to=${path%%/*}
    if [ "$path" = "$to" ] || [ "$(floor "$to")" = unknown ]; then
        complain "$file:$line: include \"$path\" as \"ROOM/FILE.h\""
    elif [ "$from" != "$to" ] && [ "$(floor "$from")" -le "$(floor "$to")" ]; then
        complain "$file:$line: $from (floor $(floor "$from")) includes $to (floor $(floor "$to"))"
    fi
done <<END
$found
END

forbid() { # PATTERN ALLOWED WHAT FOLDER...
    pattern=$1 allowed=$2 what=$3
    shift 3
    hits=$(includes "$@" | grep -E "$pattern" | grep -vE "^($allowed)")
    [ -z "$hits" ] || complain "$what:
$hits"
}
forbid '[<"](oneapi/|dnnl|cuda_|cudnn|cublas|nccl)' 'src/backend/' \
    'a vendor header outside src/backend/' src include cli examples
forbid '[<"](jpeglib|jerror|png|turbojpeg)\.h' 'src/formats/image\.c:' \
    'an image codec outside src/formats/image.c' src include cli examples
forbid '[<"](curl/|archive(_entry)?\.h)' 'cli/download/' \
    'libcurl or libarchive outside cli/download/' src include cli examples
forbid '"(learner|optim|nn|ops|data|tensor|backend)/' 'none:' \
    'kiln-download includes more of the library than src/core and src/formats' cli/download
forbid '"download/' 'cli/download/' 'the command includes a part of kiln-download' src cli
forbid '"' 'none:' 'an example includes more than the public headers' examples
forbid '"' 'none:' 'a public header includes a private one' include

exit $status
