/* counted.h - an allocator for tests: it counts, and it fails where it is told to. */
#ifndef KN_TEST_COUNTED_H
#define KN_TEST_COUNTED_H

#include <kiln/base.h>

#include <stdatomic.h>

typedef struct counted {
    _Atomic long made;    /* calls of alloc so far, failed ones too */
    _Atomic long live;    /* blocks in use */
    _Atomic long refused; /* calls that failed as told */
    long fail_at;         /* the call of alloc that fails, from 1; 0: none */
    bool fail_after;      /* and every call after it */
} counted;

/* c must outlive what is allocated. */
kn_allocator counted_allocator(counted *c);

/* A context on that device whose memory all comes from c; fails the test when there is none. */
kn_ctx *counted_ctx(counted *c, const char *device);

/* Frees the context, and fails the test unless all that was allocated is free again. */
void counted_ctx_free(counted *c, kn_ctx *ctx);

#endif
