/* shim.h - what the files of the preloaded library know of each other: whose call it is, and which
 * blocks of memory and files a program still holds at its end. */
#ifndef KN_TEST_SHIM_H
#define KN_TEST_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* ---- places.c: whose call? ---- */

typedef struct place {
    const char *object; /* "kiln", "libjansson.so.4"; NULL: of nobody that is looked at */
    uintptr_t at;       /* the address that a call returns to, from the object's beginning */
    bool program;       /* of the program itself */
} place;

/* A call is known by the way to it: most memory is asked for by way of a few functions. */
enum { WAY = 7, WAY_TEXT = 160 };
typedef struct way {
    place of[WAY]; /* the innermost first */
    int count;     /* 0: of nobody that is looked at */
} way;

/* Looks at the program and at the libraries that work for it alone; or, where only is not NULL, at
 * libraries whose name contains that and at nothing else. */
void places_find(const char *only);
place place_of(const void *caller);
way way_to(const void *caller);
void way_name(const way *w, char text[WAY_TEXT]); /* "OBJECT+OFFSET,OFFSET..." */

/* ---- blocks.c: memory ---- */

void block_given(void *p, size_t size, place from); /* p NULL: nothing */
void block_taken(const void *p);

/* Lines "leak OBJECT+OFFSET BYTES", of blocks that are still there. Their number. */
long blocks_left(FILE *to);

#endif
