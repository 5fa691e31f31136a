/* place.h - the folder that the data sets lie in: one program at a time works on one of them, and
 * its folder appears under its name whole or not at all. */
#ifndef KILN_DOWNLOAD_PLACE_H
#define KILN_DOWNLOAD_PLACE_H

#include "report.h"

#include <limits.h>

typedef struct place {
    int lock; /* -1: not held */
    char folder[PATH_MAX];
    char final[PATH_MAX];  /* FOLDER/NAME */
    char unpack[PATH_MAX]; /* FOLDER/NAME.unpack: while the lock is held, ours */
    char lock_path[PATH_MAX];
} place;

/* Makes the folder, waits for the lock, and removes what a program that died has left of its
 * unpacking. place_close must follow. KN_ERR_STATE: asked to stop while it waited. */
kn_status place_open(place *p, const report *r, const char *folder, const char *name,
                     kn_error *error);

/* Whether the data set is there. */
bool place_filled(const place *p);

/* Fails when fewer bytes are free. */
kn_status place_room(const place *p, int64_t bytes, kn_error *error);

/* Makes the empty folder to unpack into. */
kn_status place_make(place *p, kn_error *error);

/* Syncs what was unpacked and gives it its final name. An archive whose only entry at the top is a
 * folder becomes that folder. */
kn_status place_commit(place *p, kn_error *error);

/* Removes what was unpacked and not committed, and gives the lock back. */
void place_close(place *p);

#endif
