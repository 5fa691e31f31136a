/* tensor.h - dense tensors, the memory of a step, and reverse-mode differentiation.
 *
 * A tensor is dense and row-major, of rank 0 to 8; there are no strides, so a reshape shares the
 * buffer and a permute copies. Images are [N,H,W,C] everywhere.
 *
 * Lifetimes: what an op returns belongs to the context's current step and is gone after kn_step_end
 * (a debug build traps its use after that). Nothing has to be freed. Buffers go back to a pool, so
 * a warm step allocates nothing:
 *   - kn_backward returns a buffer after its last use in the backward pass;
 *   - without a tape, a module's forward returns all that it allocated but its result.
 * kn_keep holds a tensor to the end of the step. Copying out (kn_tensor_read, kn_item) is the only
 * way beyond it. */
#ifndef KILN_TENSOR_H
#define KILN_TENSOR_H

#include <kiln/base.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { KN_MAX_RANK = 8 };

/* i64: in files, and a norm layer's counter of batches; f16: in files only. */
typedef enum kn_dtype { KN_F32, KN_BF16, KN_U8, KN_I32, KN_I64, KN_F16 } kn_dtype;

KN_API size_t kn_dtype_size(kn_dtype dtype);      /* bytes an element */
KN_API const char *kn_dtype_name(kn_dtype dtype); /* "f32", ... */

typedef struct kn_shape {
    int rank; /* 0: one number */
    int64_t dim[KN_MAX_RANK];
} kn_shape;

/* KN_SHAPE(8, 32, 32, 3): a kn_shape (C only; C++ writes kn_shape{4, {8, 32, 32, 3}}). */
#define KN_SHAPE(...)                                                                              \
    ((kn_shape){(int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), {__VA_ARGS__}})
#ifdef __cplusplus
#define KN_SCALAR (kn_shape{0, {0}})
#else
#define KN_SCALAR ((kn_shape){0, {0}})
#endif

KN_API int64_t kn_shape_numel(const kn_shape *shape); /* 1 for rank 0 */
KN_API bool kn_shape_equal(const kn_shape *a, const kn_shape *b);

/* "[8,32,32,3]" into text; returns text. 192 bytes always suffice. */
enum { KN_SHAPE_TEXT = 192 };
KN_API const char *kn_shape_text(const kn_shape *shape, char text[KN_SHAPE_TEXT]);

/* ---- devices ---- */

typedef struct kn_device kn_device;

/* Opens a device, once a context, by the names of kn_ctx_opts.device; owned by the context. NULL
 * and KN_ERR_DEVICE when there is no such device. */
KN_API kn_device *kn_device_open(kn_ctx *ctx, const char *name);

/* The device new tensors and parameters go to: the one named in kn_ctx_opts until changed. */
KN_API kn_device *kn_device_default(kn_ctx *ctx);
KN_API void kn_device_use(kn_ctx *ctx, kn_device *device);
KN_API const char *kn_device_name(const kn_device *device);

/* One line about the library behind the device, for example "oneDNN 2.6.3, AVX-512". */
KN_API const char *kn_device_about(const kn_device *device);

/* Whether activations can be of that type on the device: f32 always, bf16 on "reference" and
 * "cuda", and on "cpu" where the processor has AVX-512 BF16. */
KN_API bool kn_device_can(const kn_device *device, kn_dtype dtype);

/* ---- tensors ---- */

typedef struct kn_tensor kn_tensor;

KN_API kn_tensor *kn_zeros(kn_ctx *ctx, kn_dtype dtype, kn_shape shape);
KN_API kn_tensor *kn_full(kn_ctx *ctx, kn_shape shape, float value); /* f32 */

/* A copy of numel elements in host memory. */
KN_API kn_tensor *kn_from(kn_ctx *ctx, kn_dtype dtype, kn_shape shape, const void *data);

/* Of the NULL of an earlier failure: f32, rank 0, and 0 numbers. */
KN_API kn_dtype kn_tensor_dtype(const kn_tensor *t);
KN_API const kn_shape *kn_tensor_shape(const kn_tensor *t);
KN_API int64_t kn_tensor_dim(const kn_tensor *t, int axis); /* axis may be negative: from the end */
KN_API int64_t kn_tensor_numel(const kn_tensor *t);
KN_API kn_device *kn_tensor_device(const kn_tensor *t);

/* Copies all elements to or from host memory; bytes must be numel times the element's size. */
KN_API kn_status kn_tensor_read(kn_ctx *ctx, const kn_tensor *t, void *out, size_t bytes);
KN_API kn_status kn_tensor_write(kn_ctx *ctx, kn_tensor *t, const void *data, size_t bytes);

/* Copies all elements of from, of to's shape, type and device, into to: how a user's own code
 * changes a parameter or a buffer. Not differentiable. A NULL from: the context's error. */
KN_API kn_status kn_tensor_copy(kn_ctx *ctx, kn_tensor *to, const kn_tensor *from);

/* The value of a one-element tensor; NaN and a recorded error when t is NULL or larger. */
KN_API double kn_item(kn_ctx *ctx, const kn_tensor *t);

/* Holds t to the end of the step. Returns t. */
KN_API kn_tensor *kn_keep(kn_ctx *ctx, kn_tensor *t);

/* A copy of t on another device; t itself when it is there. Not differentiable. */
KN_API kn_tensor *kn_to(kn_ctx *ctx, kn_tensor *t, kn_device *device);

/* Ends the step: every step tensor is gone, the tape is empty. */
KN_API void kn_step_end(kn_ctx *ctx);

/* Bytes taken from the devices so far, for tensors of the step and of modules, in use or pooled. */
KN_API size_t kn_step_memory(const kn_ctx *ctx);

/* ---- the tape ---- */

/* Turns recording on or off; returns what it was. On at first. Recording needs an input that wants
 * a gradient: a parameter, or a tensor marked by kn_require_grad. */
KN_API bool kn_grad_enable(kn_ctx *ctx, bool on);

/* Marks a tensor that no op produced (kn_from, ...) as wanting a gradient. Returns t. */
KN_API kn_tensor *kn_require_grad(kn_ctx *ctx, kn_tensor *t);

/* The gradient of t, of its shape, after kn_backward; NULL when it has none. Kept for leaves
 * (tensors marked by kn_require_grad) and for kept tensors. */
KN_API kn_tensor *kn_grad(kn_ctx *ctx, kn_tensor *t);

/* The same values, cut off from the tape. Shares the buffer. */
KN_API kn_tensor *kn_detach(kn_ctx *ctx, kn_tensor *t);

/* Walks the tape from its last op to its first and adds d(loss)/d(p) to every leaf's and
 * parameter's gradient. loss has one element. The tape is used up: to go back from anything else
 * that was recorded before is KN_ERR_STATE, and so is a backward within a backward hook. So is one
 * that needs an operand or a result which was written to since (kn_tensor_write, kn_tensor_copy, an
 * optimizer's step), or a module that was freed or moved to another device; and one that would add
 * to a gradient before reading it as an operand. Then no gradient is given. */
KN_API kn_status kn_backward(kn_ctx *ctx, kn_tensor *loss);

#ifdef __cplusplus
}
#endif
#endif
