/* plugin.h - a backend that is loaded at run time: what it and libkiln agree on. */
#ifndef KN_BACKEND_PLUGIN_H
#define KN_BACKEND_PLUGIN_H

#include "backend/backend.h"

/* Both sides were compiled from the same headers, or the plugin is refused. */
typedef struct kn_plugin_abi {
    char version[16]; /* KN_VERSION */
    size_t device, table, bf16;
} kn_plugin_abi;

#define KN_PLUGIN_ABI                                                                              \
    {                                                                                              \
        KN_VERSION, sizeof(struct kn_device), sizeof(struct kn_backend),                           \
            sizeof(struct kn_bf16_kernels)                                                         \
    }

/* The one symbol that a plugin exports. NULL and *error when it does not fit the library, or when
 * the machine has no device for it; the message names what is missing. */
typedef const kn_backend *kn_plugin_entry(const kn_plugin_abi *library, kn_error *error);

#define KN_PLUGIN_SYMBOL "kn_plugin_backend"

/* The table in libkiln_cuda.so, which is looked for in the folder $KILN_PLUGINS, beside the
 * program, where an installed program's libraries are, and beside libkiln. Once loaded it stays. */
const kn_backend *kn_plugin_cuda(kn_error *error);

#endif
