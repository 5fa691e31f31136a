/* ctx.h - the context's inside, and the allocation helpers that the library uses throughout. */
#ifndef KN_CORE_CTX_H
#define KN_CORE_CTX_H

#include <kiln/base.h>

struct kn_ctx {
    kn_allocator allocator;
    kn_log_fn log;
    void *log_user;
    uint64_t seed;
    int threads;
    char device[32];
    char plans[1024];    /* of devices that measure: kn_ctx_opts.plans */
    uint16_t init_layer; /* initialised parameters so far: the layer of their random streams */
    bool no_init;        /* new parameters stay zeros: they are about to be filled */
    uint16_t dropouts;   /* made so far: likewise */
    uint32_t step;       /* of the training: kn_ctx_set_step */
    uint64_t serial;     /* source of numbers that are never given twice */
    kn_error error;
    /* The tensor floor's state. Made there at the first use, so that this floor needs not know it.
     */
    struct kn_engine *engine;
    void (*engine_free)(struct kn_ctx *ctx);
};

/* A cache line, and the widest vector register. */
enum { KN_ALIGN = 64 };

/* The process-wide default: aligned_alloc and free. */
extern const kn_allocator kn_default_allocator;

/* allocator may be NULL: the default. NULL when there is none or bytes is 0. */
void *kn_mem_alloc(const kn_allocator *allocator, size_t bytes);
void *kn_mem_calloc(const kn_allocator *allocator, size_t count, size_t size);
void kn_mem_free(const kn_allocator *allocator, void *p);
char *kn_mem_strdup(const kn_allocator *allocator, const char *text);

/* Grows an array of *capacity elements to hold at least want, doubling; *array may be NULL. False,
 * and nothing changed, when there is no memory. */
bool kn_mem_grow(const kn_allocator *allocator, void **array, size_t *capacity, size_t want,
                 size_t size);

/* The same with the context's allocator; failure is recorded in the context. what names the
 * purpose. */
void *kn_alloc(kn_ctx *ctx, size_t bytes, const char *what);
void *kn_calloc(kn_ctx *ctx, size_t count, size_t size, const char *what);
void kn_free(kn_ctx *ctx, void *p);
char *kn_strdup(kn_ctx *ctx, const char *text);

/* Number of elements of a true array. */
#define KN_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
