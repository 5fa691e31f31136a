/* folder.h - a folder for a target whose bytes must be in a file: in memory, where there is such a
 * place. It and the one file in it are gone when the program ends. */
#ifndef KN_FUZZ_FOLDER_H
#define KN_FUZZ_FOLDER_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char fuzz_folder[64], fuzz_file[128];

static void fuzz_remove(void) {
    unlink(fuzz_file);
    rmdir(fuzz_folder);
}

/* Makes the folder at the first call, and the path of that file in it. */
static void fuzz_in_folder(const char *name) {
    if (fuzz_folder[0] != '\0')
        return;
    snprintf(fuzz_folder, sizeof fuzz_folder, "%s/kiln-fuzz-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (mkdtemp(fuzz_folder) == NULL || atexit(fuzz_remove) != 0)
        exit(1);
    snprintf(fuzz_file, sizeof fuzz_file, "%s/%s", fuzz_folder, name);
}

#endif
