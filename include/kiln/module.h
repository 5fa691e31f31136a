/* module.h - Parameter, Module and hooks.
 *
 * A module is a const class (its functions) and an object that starts with a kn_module. It
 * registers its parameters, buffers and children by name, so that parameters(), names like
 * "layers.0.weight", saving and moving to a device work on any module, yours included
 * (examples/module.c). */
#ifndef KILN_MODULE_H
#define KILN_MODULE_H

#include <kiln/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kn_module kn_module;

/* ---- parameters ---- */

/* A tensor that is trained: f32, alive until its module is freed. A module may be given one that
 * another registered (kn_module_share_param): it then counts, moves and is saved once. */
typedef struct kn_param kn_param;

/* The parameter as an op's operand. The pointer stays valid; the data moves in kn_module_pack. A
 * NULL p (whose registration failed): NULL. */
KN_API kn_tensor *kn_param_value(kn_param *p);

/* Its gradient, same shape: zeros when nothing was added since the last zeroing. NULL p: NULL. */
KN_API kn_tensor *kn_param_grad(kn_param *p);
KN_API bool kn_param_has_grad(const kn_param *p); /* was anything added since the last zeroing? */
KN_API void kn_param_zero_grad(kn_param *p);

/* Whoever writes a parameter's data otherwise than through kn_tensor_write or an optimizer calls
 * this, so that a backend's packed copies are made anew. */
KN_API void kn_param_touch(kn_param *p);

enum { KN_MAX_GROUPS = 16 };

KN_API int kn_param_group(const kn_param *p);           /* the optimizer's group, 0 at first */
KN_API void kn_param_set_group(kn_param *p, int group); /* from 0 to below KN_MAX_GROUPS */
KN_API bool kn_param_frozen(const kn_param *p);
KN_API void kn_param_freeze(kn_param *p, bool frozen); /* frozen: no gradient, no step */

/* ---- the module ---- */

typedef struct kn_module_class {
    const char *name;
    /* The result, a step tensor; NULL with the context's error set. */
    kn_tensor *(*forward)(kn_module *m, kn_ctx *ctx, kn_tensor *x);
    /* Frees what the object owns beside registered things; may be NULL. */
    void (*free)(kn_module *m);
    /* One line such as "3 -> 16, kernel 3, stride 2" into text; may be NULL. */
    void (*describe)(const kn_module *m, char *text, size_t size);
    /* Multiply-accumulates of one forward for an input and output of these shapes, children
     * excluded; may be NULL: 0. */
    int64_t (*macs)(const kn_module *m, const kn_shape *x, const kn_shape *y);
    /* Normalises by statistics of the batch: freezing what is around it leaves it in training. */
    bool norm;
} kn_module_class;

struct kn_module {
    const kn_module_class *cls;
    struct kn_module_state *state; /* private */
};

/* A NULL module, parameter or child, of an earlier failure, is passed on: what returns a status
 * returns KN_ERR_STATE, what returns something NULL or 0. Not so kn_module_ctx, and what asks for
 * one child, hook or parameter. */

/* A zeroed object of the given size whose first member is a kn_module. NULL on lack of memory. */
KN_API void *kn_module_new(kn_ctx *ctx, const kn_module_class *cls, size_t size);

/* Frees the module, its children, and the parameters no other module shares. NULL is allowed. */
KN_API void kn_module_free(kn_module *m);

/* Registration, in the order that parameters() keeps. Names are copied. NULL (and the context's
 * error) on failure; a module whose constructor failed is freed by kn_module_free as any other. */
KN_API kn_param *kn_module_param(kn_module *m, const char *name, kn_shape shape); /* zeros */
KN_API kn_param *kn_module_share_param(kn_module *m, const char *name, kn_param *p);
KN_API kn_tensor *kn_module_buffer(kn_module *m, const char *name, kn_dtype dtype, kn_shape shape);
/* Takes ownership of child, also when memory fails. Returns child. NULL child: NULL. A module has
 * one parent: one that is a child already, or holds m, is KN_ERR_ARG, one of another context
 * KN_ERR_STATE, and stays whose it is. */
KN_API kn_module *kn_module_child(kn_module *m, const char *name, kn_module *child);

/* Calls the module: its forward between its hooks. NULL m or x: NULL. */
KN_API kn_tensor *kn_forward(kn_module *m, kn_tensor *x);

KN_API kn_ctx *kn_module_ctx(const kn_module *m);
KN_API bool kn_module_training(const kn_module *m);
/* And its children; a norm layer that is frozen stays in evaluation. */
KN_API void kn_module_train(kn_module *m, bool training);
KN_API int kn_module_child_count(const kn_module *m);
KN_API kn_module *kn_module_child_at(const kn_module *m, int i);
KN_API const char *kn_module_child_name(const kn_module *m, int i);

/* ---- the parameters and buffers of a module and all below it, each once, in registration order
 * ---- */

typedef struct kn_named {
    const char *name; /* "layers.0.weight"; owned by the list */
    kn_param *param;  /* or NULL: */
    kn_tensor *buffer;
} kn_named;

typedef struct kn_named_list {
    kn_named *item;
    int count;
} kn_named_list;

/* Parameters, and with buffers also those (after their module's parameters). Free the list with
 * kn_named_free. */
KN_API KN_NODISCARD kn_status kn_module_parameters(kn_module *m, kn_named_list *out);
KN_API KN_NODISCARD kn_status kn_module_state_list(kn_module *m, kn_named_list *out);
KN_API void kn_named_free(kn_ctx *ctx, kn_named_list *list);
KN_API int64_t kn_module_numel(kn_module *m); /* numbers in all parameters */

/* Moves all parameters and buffers to a device; unpacks. */
KN_API kn_status kn_module_to(kn_module *m, kn_device *device);

/* ---- groups by depth, and freezing: for transfer ---- */

/* Parts the parameters, in registration order, into count + 1 groups: group i + 1 begins at the
 * first parameter at or below start[i] ("layer3", "fc"). KN_ERR_ARG, and nothing changed, when
 * there is no such parameter after the beginning of the group before; KN_ERR_LIMIT for
 * KN_MAX_GROUPS or more. */
KN_API kn_status kn_module_split(kn_module *m, const char *const *start, int count);

/* How many groups there are: the highest in use, plus 1. 0: the context's error. */
KN_API int kn_module_groups(kn_module *m);

typedef struct kn_freeze_opts {
    /* Norm layers too: their parameters stay, and they normalise by their running statistics, which
     * stay as well. Without it they go on training, as in fastai (train_bn): the statistics of the
     * new pictures are not those of the old. */
    bool norm;
} kn_freeze_opts;

/* Freezes the parameters of groups below group, and lets the others train. 0: all train. */
KN_API void kn_module_freeze_below(kn_module *m, int group, kn_freeze_opts opts);

/* Freezes all parameters of m and what is below it, or lets them all train. */
KN_API void kn_module_freeze(kn_module *m, bool frozen, kn_freeze_opts opts);

/* ---- packing: all values in one buffer and all gradients in another, in registration order ----
 */

typedef struct kn_segment {
    int64_t offset, length; /* in numbers */
    int group;
    bool frozen;
    kn_param *param;
} kn_segment;

/* What kn_module_pack built. Owned by the module; valid until its structure changes or it is packed
 * again. values and grads are f32 [total]; grads holds something only where kn_param_has_grad. */
typedef struct kn_pack {
    kn_tensor *values, *grads;
    kn_segment *segment;
    int count;
    uint64_t serial; /* differs after every packing */
} kn_pack;

/* Idempotent. kn_param pointers stay valid, data pointers do not. */
KN_API const kn_pack *kn_module_pack(kn_module *m);

/* ---- hooks ---- */

/* Called after a module's forward with its input and output. A hook may return another tensor to
 * stand for the output, y itself to leave it, or NULL with the context's error set to fail. */
typedef kn_tensor *(*kn_hook_fn)(void *user, kn_module *m, kn_tensor *x, kn_tensor *y);

/* Several may be registered; they run in that order. Returns an id above 0 for removal, or 0 on
 * lack of memory. A hook turns off the fusion of what is inside the module and changes no bit. */
KN_API int kn_module_add_hook(kn_module *m, kn_hook_fn fn, void *user);

/* Called in the backward pass, once for each call of the module, with the gradients of the loss
 * with respect to the module's output, dy, and to its input, dx (torch's
 * register_full_backward_hook gives the same two). dx is what comes through this module alone, also
 * where others use the same input; NULL when the input wants no gradient. The hook returns what is
 * to stand for dx, of its shape: dx itself to leave it; or NULL with the context's error set to
 * fail the backward pass. It may compute with ops (nothing is recorded) and hold dx or dy to the
 * step's end by kn_keep. */
typedef kn_tensor *(*kn_backward_hook_fn)(void *user, kn_module *m, kn_tensor *dx, kn_tensor *dy);

/* As kn_module_add_hook. Without a tape a backward hook is not called; nor is it when the module's
 * output does not depend on the input that wants a gradient. It changes no bit of the gradients,
 * unless the module uses its input several times and others use it too: a sum of three has an
 * order.
 */
KN_API int kn_module_add_backward_hook(kn_module *m, kn_backward_hook_fn fn, void *user);

KN_API void kn_module_remove_hook(kn_module *m, int id); /* of either kind */
KN_API bool kn_module_hooked(const kn_module *m);        /* has it a hook of either kind? */

#ifdef __cplusplus
}
#endif
#endif
