/* touches.cuh - which memory a command reads and writes: what a graph needs to run commands side by
 * side.
 *
 * Of a kernel the types of its parameters tell: it reads behind a pointer to const, and is taken to
 * write behind another. A struct that it is given is one of those below. How far behind a pointer a
 * kernel goes the type does not tell; it is taken to be the whole allocation, or what
 * kn_cuda_extent said. */
#ifndef KN_BACKEND_CUDA_TOUCHES_CUH
#define KN_BACKEND_CUDA_TOUCHES_CUH

extern "C" {
#include "backend/backend.h"
}

#include <cuda_runtime.h>

#include <initializer_list>
#include <type_traits>

enum { KN_MOST_TOUCHES = 24 }; /* of a command */

struct kn_touch {
    const void *at; /* not NULL */
    size_t bytes;   /* 0: the allocation that it lies in */
    bool written;
};

struct kn_touches {
    kn_touch of[KN_MOST_TOUCHES];
    int count; /* more than KN_MOST_TOUCHES: some are not there */
};

static inline void kn_touches_add(kn_touches *t, const void *at, bool written) {
    if (at == NULL)
        return;
    if (t->count < KN_MOST_TOUCHES)
        t->of[t->count] = {at, 0, written};
    t->count++;
}

/* ---- of a kernel's arguments ---- */

/* A kernel's struct parameter that holds no pointer. */
template <typename T> struct kn_has_no_pointers : std::false_type {};
#define KN_HAS_NO_POINTERS(name)                                                                   \
    template <> struct kn_has_no_pointers<name> : std::true_type {}
KN_HAS_NO_POINTERS(kn_bcast);
KN_HAS_NO_POINTERS(kn_conv_dims);
KN_HAS_NO_POINTERS(kn_matmul_dims);
KN_HAS_NO_POINTERS(kn_mix_box);
KN_HAS_NO_POINTERS(kn_norm_dims);
KN_HAS_NO_POINTERS(kn_pool_dims);
KN_HAS_NO_POINTERS(kn_sgd_rule);
KN_HAS_NO_POINTERS(kn_adam_rule);
KN_HAS_NO_POINTERS(uint2);
KN_HAS_NO_POINTERS(uint4);

template <typename T> static inline void kn_touches_of(kn_touches *t, T *pointer) {
    kn_touches_add(t, pointer, !std::is_const<T>::value);
}

template <typename T> static inline void kn_touches_of(kn_touches *t, const T &value) {
    static_assert(!std::is_class<T>::value || kn_has_no_pointers<T>::value,
                  "which memory does it tell a kernel?");
    (void)t;
    (void)value;
}

static inline void kn_touches_of(kn_touches *t, const kn_norm_state &s) {
    for (const void *read : {s.weight, s.bias})
        kn_touches_add(t, read, false);
    for (const void *written : {s.running_mean, s.running_var, s.mean, s.inv_std})
        kn_touches_add(t, written, true);
    kn_touches_add(t, s.batches, true);
}

static inline void kn_touches_of(kn_touches *t, const kn_loss_terms &s) {
    kn_touches_add(t, s.class_weights, false);
    kn_touches_add(t, s.target, false);
    kn_touches_add(t, s.target2, false);
    kn_touches_add(t, s.lambda, false);
}

#endif
