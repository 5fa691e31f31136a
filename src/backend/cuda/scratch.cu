/* scratch.cu - memory for what a kernel needs only while it runs. With one place for all, each
 * command that uses it would have to wait for the one before. */
#include "backend/cuda/cuda.cuh"

#include <cstdlib>

enum {
    RINGS = 3,
    PLACES = 64, /* of a ring, at most */
    GROWTHS = 24,
    COUNTERS = 64 /* places of counters */
};

/* The larger, the fewer. */
static const struct {
    int places;
    size_t most; /* bytes */
} kind[RINGS] = {{PLACES, 1 << 20}, {8, 32 << 20}, {1, SIZE_MAX}};
static const size_t LEAST = 64 << 10; /* bytes of a place */

/* An old piece stays until the device is closed: a recorded graph may point into it. Each is at
 * least twice as large as the one before, so they are few, and no larger together than the last. */
struct place {
    void *piece[GROWTHS]; /* the last is in use, of so many bytes */
    int pieces;
    size_t bytes;
};

struct ring {
    place places[PLACES];
    int next; /* of a run's */
};

struct kn_cuda_scratches {
    ring rings[RINGS];
    unsigned *counters;
    int next_counters;
};

kn_cuda_scratches *kn_cuda_scratches_new(kn_device *d) {
    size_t bytes = COUNTERS * KN_CUDA_COUNTERS * sizeof(unsigned);
    kn_cuda_scratches *s = static_cast<kn_cuda_scratches *>(calloc(1, sizeof *s));
    if (s == NULL) {
        kn_cuda_fail(d, KN_ERR_MEMORY, "out of memory: scratch of device cuda:%d", d->ordinal);
        return NULL;
    }
    s->counters = static_cast<unsigned *>(kn_cuda_alloc(d, bytes));
    kn_status status =
        kn_cuda_check(d, s->counters != NULL ? cudaSuccess : cudaErrorMemoryAllocation, "counters");
    if (status == KN_OK)
        status = kn_cuda_check(d, cudaMemsetAsync(s->counters, 0, bytes, kn_cuda_of(d)->stream),
                               "counters"); /* on any other stream it might come too late */
    if (status == KN_OK)
        return s;
    kn_cuda_scratches_free(d, s);
    return NULL;
}

static void free_place(kn_device *d, place *p) {
    for (int i = 0; i < p->pieces; i++)
        kn_cuda_release(d, p->piece[i]);
}

void kn_cuda_scratches_free(kn_device *d, kn_cuda_scratches *s) {
    if (s == NULL)
        return;
    for (ring &r : s->rings)
        for (place &p : r.places)
            free_place(d, &p);
    kn_cuda_release(d, s->counters);
    free(s);
}

void kn_cuda_scratches_rewind(kn_cuda_scratches *s) {
    for (ring &r : s->rings)
        r.next = 0;
    s->next_counters = 0;
}

void *kn_cuda_scratch(kn_device *d, size_t bytes) {
    int size = 0;
    while (bytes > kind[size].most)
        size++;
    ring *r = &kn_cuda_of(d)->scratches->rings[size];
    place *p = &r->places[r->next++ % kind[size].places];
    if (p->pieces > 0 && bytes <= p->bytes)
        return p->piece[p->pieces - 1];
    size_t want = p->bytes > 0 ? 2 * p->bytes : LEAST;
    while (want < bytes)
        want *= 2;
    void *piece = p->pieces < GROWTHS ? kn_cuda_alloc(d, want) : NULL;
    if (piece == NULL) {
        kn_cuda_fail(d, KN_ERR_MEMORY, "out of memory on device cuda:%d: %zu bytes of scratch",
                     d->ordinal, want);
        return NULL;
    }
    p->piece[p->pieces++] = piece;
    p->bytes = want;
    return piece;
}

/* A place's counters are a block of their own for what waits for what: their extent is told. */
unsigned *kn_cuda_counters(kn_device *d) {
    kn_cuda_scratches *s = kn_cuda_of(d)->scratches;
    unsigned *c = s->counters + s->next_counters++ % COUNTERS * KN_CUDA_COUNTERS;
    kn_cuda_extent(d, c, KN_CUDA_COUNTERS * sizeof *c);
    return c;
}
