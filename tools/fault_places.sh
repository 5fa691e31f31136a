#!/bin/sh
# fault_places.sh KILN TRIED - how many calls in the program KILN can fail (memory, files, threads,
# processes), and which of them no test made fail: TRIED holds the addresses behind the calls that
# were on the way to a failed one, a line each, as tests/test_cli_faults writes them.
#
# Calls of memory are counted where the program asks its own functions for it. A function's last call
# that became a jump has no address of its own: such are counted apart.
set -eu
[ $# = 2 ] || { sed -n '2,3s/^# //p' "$0" >&2; exit 2; }
objdump -d --no-show-raw-insn "$1" | awk -v tried="$2" '
    BEGIN {
        own = "kn_mem_alloc kn_mem_calloc kn_mem_strdup kn_mem_grow kn_alloc kn_calloc"
        system_ = "malloc calloc realloc aligned_alloc posix_memalign open openat fopen close read pread " \
            "fgets write pwrite fsync syncfs rename linkat unlink unlinkat rmdir mkdir stat lstat fstat " \
            "fstatat statvfs access readlink realpath opendir fdopendir readdir flock futimens madvise " \
            "pthread_create pthread_mutex_init pthread_cond_init pipe2 posix_spawn"
        n = split(own, name, " ")
        for (i = 1; i <= n; i++) wanted["<" name[i] ">"] = inner[name[i]] = 1
        n = split(system_, name, " ")
        for (i = 1; i <= n; i++) wanted["<" name[i] "@plt>"] = 1
        while ((getline line < tried) > 0) was[line] = 1
    }
    /^[0-9a-f]+ <.*>:$/ { in_ = substr($2, 2, length($2) - 3); behind = ""; next }
    behind != "" { # the line after a call
        at = $1
        sub(/:$/, "", at)
        total++
        if (at in was) failed++
        else missing[++left] = in_ " calls " behind
        behind = ""
    }
    ($2 == "call" || $2 == "jmp") && ($NF in wanted) {
        what = $NF
        gsub(/[<>]|@plt/, "", what)
        if (in_ in inner && what in inner) next # one of the functions above by another
        if ($2 == "jmp") jumps++
        else behind = what
    }
    END {
        for (i = 1; i <= left; i++) print "not failed: " missing[i] | "sort | uniq -c"
        close("sort | uniq -c")
        printf "%d places that call, %d of them were failed; %d jumps\n", total, failed, jumps
    }'
