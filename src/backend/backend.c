/* backend.c - finds a device's table by its name. */
#include "backend/backend.h"

#include <string.h>

#ifdef KN_HAVE_ONEDNN
#define WITH_ONEDNN ", onednn"
#else
#define WITH_ONEDNN ""
#endif

const kn_backend *kn_backend_find(const char *name, kn_error *error) {
    if (strcmp(name, "cpu") == 0 || strcmp(name, "auto") == 0)
        return &kn_backend_cpu;
    if (strcmp(name, "reference") == 0)
        return &kn_backend_reference;
#ifdef KN_HAVE_ONEDNN
    if (strcmp(name, "onednn") == 0)
        return &kn_backend_onednn;
#endif
    if (strncmp(name, "cuda", 4) == 0)
        kn_error_set(error, KN_ERR_DEVICE, "device %s: this Kiln was built without CUDA", name);
    else
        kn_error_set(error, KN_ERR_ARG, "device %s: unknown; there are auto, cpu, reference%s",
                     name, WITH_ONEDNN);
    return NULL;
}
