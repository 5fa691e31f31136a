/* engine.h - what the tensor floor keeps in a context; private to src/tensor. */
#ifndef KN_TENSOR_ENGINE_H
#define KN_TENSOR_ENGINE_H

#include "tensor/tensor.h"

/* Size classes: four to a doubling, from 64 bytes to 2^46. */
enum { KN_POOL_BINS = 4 * 41 };

/* What is known of the host's memory, where a device's is that: see kn_host_has_room. */
typedef struct kn_host_room {
    size_t asked, next;   /* bytes since the last look; at how many it looks again */
    uint64_t most, reach; /* of kn_memory, then; 0: nobody looked, or the kernel does not tell */
    bool warned;
    const char *root; /* of kn_memory_now; NULL: "", but in tests */
} kn_host_room;

/* The caching pool of one device: a freed buffer waits in its bin for the next request of its
 * class. */
typedef struct kn_pool {
    kn_device device;
    kn_ctx *ctx;
    size_t taken; /* bytes asked of the device and not given back */
    kn_host_room room;
    kn_storage *bin[KN_POOL_BINS];
    struct kn_pool *next;
} kn_pool;

typedef struct kn_engine {
    kn_pool *pools; /* open devices */
    kn_device *current;
    /* Step tensors, in the order they were made; headers wait in free_header between steps. */
    kn_tensor **live;
    size_t live_count, live_capacity;
    kn_tensor **free_header;
    size_t free_first, free_count, free_capacity; /* a ring: taken first, returned last */
    kn_tensor **block;                            /* headers are made a block at a time */
    size_t block_count, block_capacity;
    /* The tape. */
    kn_node *node;
    size_t node_count, node_capacity;
    uint64_t tape; /* number of the tape under way; kn_backward and kn_step_end begin another */
    bool recording;
    bool in_backward;
} kn_engine;

/* The context's engine, made at the first call; NULL with the error set. */
kn_engine *kn_engine_get(kn_ctx *ctx);

/* Before so many bytes more are asked of the host: its kernel gives what it does not have, and ends
 * the program when that is used. False where there is not so much memory, of the machine at all or
 * now in a group that limits it; a warning, once, where it is short. Looks at it now and then. */
bool kn_host_has_room(kn_pool *pool, size_t bytes);

/* The pool of a device of this context; another context's is a bug. */
kn_pool *kn_pool_of(kn_ctx *ctx, kn_device *device);

/* Returns every free buffer of a device to it. */
void kn_pool_trim(kn_pool *pool);

/* At a step's end, for devices that work behind the caller's back: the same requests get the same
 * addresses in the next step, so that it can be replayed; and what was asked for begins. */
void kn_pools_settle(kn_ctx *ctx);

/* A header for a step tensor, zeroed and on the live list. */
kn_tensor *kn_header_new(kn_ctx *ctx);

void kn_tape_clear(kn_engine *e);

/* Is what the op's backward needs still there, and what it was? */
kn_status kn_node_check(kn_ctx *ctx, const kn_node *node);

/* The same of all that the loss depends on, before any gradient is given. */
kn_status kn_tape_check(kn_ctx *ctx, const kn_tensor *loss);

#endif
