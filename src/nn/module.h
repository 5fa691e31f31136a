/* module.h - inside of parameters and modules. */
#ifndef KN_NN_MODULE_H
#define KN_NN_MODULE_H

#include "tensor/tensor.h"

#include <kiln/module.h>

struct kn_param {
    kn_tensor value; /* value.grad is &grad, value.grad_live says whether it stands for zeros */
    kn_tensor grad;
    int owners; /* modules that registered it */
    int group;
};

/* A forward or a backward hook. */
typedef struct kn_hook {
    int id; /* 0: removed while hooks ran */
    kn_hook_fn forward;
    kn_backward_hook_fn backward;
    void *user;
} kn_hook;

typedef struct kn_hooks {
    kn_hook *item;
    size_t count, capacity;
} kn_hooks;

/* A registered thing and its name. */
typedef struct kn_entry {
    char *name;
    void *thing;
} kn_entry;

typedef struct kn_entries {
    kn_entry *item;
    size_t count, capacity;
} kn_entries;

struct kn_module_state {
    kn_ctx *ctx;
    kn_module *parent; /* NULL: a root */
    uint64_t changes;  /* of what is registered, and of devices, here and below */
    kn_entries params, buffers, children; /* kn_param *, kn_tensor *, kn_module * */
    kn_hooks forward_hooks, backward_hooks;
    int last_hook;
    int running_hooks; /* depth: removal waits with closing the gap */
    bool training;
    bool frozen_norm; /* stays in evaluation mode while the rest trains */
    /* Of a packed root. */
    bool packed;
    uint64_t packed_changes; /* changes when it was packed */
    kn_pack pack;
    kn_tensor values, grads;
};

/* A number that moves when what is registered in m or below it changes, or goes to another device.
 */
uint64_t kn_module_changes(const kn_module *m);

/* To say so. */
void kn_module_changed(kn_module *m);

/* Exchanges all parameters' values with those of another tensor that lies as pack->values does;
 * nothing is copied. */
void kn_module_exchange(kn_module *root, const kn_pack *pack, kn_tensor *values);

static inline kn_tensor *kn_named_tensor(const kn_named *named) {
    return named->param != NULL ? kn_param_value(named->param) : named->buffer;
}

#endif
