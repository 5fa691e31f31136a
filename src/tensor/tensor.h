/* tensor.h - inside of tensors, step memory and the tape, for ops and modules to build on. */
#ifndef KN_TENSOR_TENSOR_H
#define KN_TENSOR_TENSOR_H

#include "backend/backend.h"
#include "core/ctx.h"

#include <kiln/tensor.h>

/* ---- storage: a counted buffer on a device, from its pool ---- */

typedef struct kn_storage {
    struct kn_pool *pool;
    void *data;
    int refs;
    int bin; /* size class */
    /* Move when a tensor that lives here is written to: the first with any, the second when that
     * may be all of it. */
    uint64_t version, whole;
    struct kn_storage *next; /* in its bin while free, else unused */
} kn_storage;

kn_storage *kn_storage_get(kn_ctx *ctx, kn_device *device, size_t bytes);
void kn_storage_drop(kn_storage *s); /* one reference less; NULL is allowed */

/* Is its memory the host's? Else it works asynchronously, too. */
bool kn_device_is_host(const kn_device *device);

/* ---- tensors ---- */

struct kn_tensor {
    kn_ctx *ctx;
    kn_device *device;
    kn_dtype dtype;
    kn_shape shape;
    int64_t numel;
    kn_storage *storage; /* NULL: released, or borrowed memory */
    void *data;
    bool alive;    /* false after the step: use is a bug that debug builds trap */
    bool model;    /* outlives the step: a parameter, a buffer, a pack */
    bool released; /* its buffer went back to the pool before the step's end */
    bool kept;
    bool wants_grad;
    bool grad_live;     /* grad holds something; if not, it stands for zeros */
    kn_tensor *grad;    /* a leaf's or kept tensor's gradient; for a parameter of model lifetime */
    int node;           /* index on the tape of what made it; -1: nothing */
    uint64_t tape;      /* which tape that was */
    uint64_t id;        /* of a model tensor; 0 for a step tensor */
    uint64_t version;   /* moves, with its storage's, when its data changes */
    bool part;          /* of a storage that others have parts of: their changes are not its own */
    kn_tensor *of;      /* a view's: the tensor whose data it shows, whose changes are its own */
    kn_tensor *grad_of; /* the tensor whose gradient this is */
    bool zeros;         /* of a gradient that is not live: its zeros are written */
};

/* Asserts that t is not from an ended step; false and an error when its buffer was released. */
bool kn_tensor_usable(kn_ctx *ctx, const char *op, const kn_tensor *t);

/* A step tensor with room for its elements, contents undefined. NULL with the error set. */
kn_tensor *kn_tensor_new(kn_ctx *ctx, kn_device *device, kn_dtype dtype, kn_shape shape);

/* A step tensor over memory that the caller keeps alive to the step's end (host devices only). */
kn_tensor *kn_tensor_borrow(kn_ctx *ctx, kn_device *device, kn_dtype dtype, kn_shape shape,
                            const void *data);

/* Another view of t's buffer with a shape of as many elements. */
kn_tensor *kn_tensor_alias(kn_ctx *ctx, kn_tensor *t, kn_shape shape);

/* Gives t's buffer back early. t stays a tensor, unusable. Kept and model tensors are left alone.
 */
void kn_tensor_release(kn_tensor *t);

/* A model tensor in place, zeroed. Free with kn_tensor_clear. */
kn_status kn_tensor_init(kn_ctx *ctx, kn_tensor *t, kn_device *device, kn_dtype dtype,
                         kn_shape shape);
/* The same with contents undefined: memory that is not touched is not taken from the system. */
kn_status kn_tensor_reserve(kn_ctx *ctx, kn_tensor *t, kn_device *device, kn_dtype dtype,
                            kn_shape shape);
/* Moves a model tensor to a place in a shared buffer; the old one is dropped. It counts as no
 * change: who finds other data there touches the tensor. */
void kn_tensor_place(kn_tensor *t, kn_storage *storage, size_t byte_offset);
/* Exchanges what two model tensors of the same shape, type and device hold; nothing is copied, and
 * both have changed. */
void kn_tensor_exchange(kn_tensor *a, kn_tensor *b);
void kn_tensor_clear(kn_tensor *t);
void kn_tensor_touch(kn_tensor *t); /* its data changes */
/* Moves whenever the data may have changed, also through another tensor on the same storage. */
uint64_t kn_tensor_version(const kn_tensor *t);

/* Releases every step tensor made since the mark but the one given. Does nothing while recording:
 * the tape holds them then. */
size_t kn_step_mark(kn_ctx *ctx);
void kn_step_release_since(kn_ctx *ctx, size_t mark, const kn_tensor *result);

/* ---- the tape ---- */

typedef struct kn_node kn_node;

enum { KN_NODE_INPUTS = 5, KN_NODE_OUT = KN_NODE_INPUTS, KN_NODE_ARGS = 192 };

typedef struct kn_op {
    const char *name;
    /* Adds to the gradients of the node's inputs, given d(loss)/d(out), of out's type. */
    kn_status (*backward)(kn_ctx *ctx, kn_node *node, const void *dy);
    /* For which inputs' gradients, a bit each, backward reads the data of in[i]; at KN_NODE_OUT,
     * that of the result. Data that was written to since is refused. */
    uint8_t reads[KN_NODE_INPUTS + 1];
    bool owned; /* args begin with a pointer to what has to be there until backward */
} kn_op;

struct kn_node {
    const kn_op *op;
    kn_tensor *in[KN_NODE_INPUTS];
    kn_tensor *out;
    uint64_t version[KN_NODE_INPUTS + 1]; /* of the data that the op saw, and made */
    bool lost;                            /* an input that it needs, or its owner, was freed */
    bool needed;                          /* by the loss that backward begins at */
    /* What backward needs beside inputs and output: dims, options, saved tensors. */
    _Alignas(16) unsigned char args[KN_NODE_ARGS];
};

/* Would an op on these inputs be recorded? (Inputs may be NULL here: absent.) */
bool kn_recording(const kn_ctx *ctx, kn_tensor *const *in, int count);

/* Records out = op(in...) when recording applies, with a copy of args. False with the error set
 * when there is no memory. */
bool kn_tape_record(kn_ctx *ctx, const kn_op *op, kn_tensor *out, kn_tensor *const *in, int count,
                    const void *args, size_t args_size);

/* Before a model tensor, or what owns a node, is freed: what needs it cannot go back. */
void kn_tape_lose(kn_ctx *ctx, const void *freed);

/* Where a backward writes d(loss)/d(t), numel of t's type: the gradient itself, or a temporary that
 * close then adds to what is there. NULL when t wants none (or is NULL), when *status is a failure
 * already, or on failure: then *status says so. Where it gave a pointer, close must follow, with
 * the status of the kernel that wrote there. */
typedef struct kn_grad_slot {
    kn_tensor *t;
    kn_storage *temporary;
    void *data;
} kn_grad_slot;

void *kn_grad_open(kn_ctx *ctx, kn_tensor *t, kn_grad_slot *slot, kn_status *status);
kn_status kn_grad_close(kn_grad_slot *slot, kn_status status);

static inline size_t kn_tensor_bytes(const kn_tensor *t) {
    return (size_t)t->numel * kn_dtype_size(t->dtype);
}
static inline const float *kn_f32(const kn_tensor *t) {
    return t->data;
}
static inline float *kn_f32_out(kn_tensor *t) {
    return t->data;
}

#endif
