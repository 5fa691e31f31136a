/* backend.c - finds a device's table by its name. */
#include "backend/backend.h"
#include "backend/plugin.h"

#include <stdlib.h>
#include <string.h>

#ifdef KN_HAVE_ONEDNN
#define WITH_ONEDNN ", onednn"
#else
#define WITH_ONEDNN ""
#endif

/* "cuda" or "cuda:N". */
static bool is_cuda(const char *name) {
    char *end;
    if (strcmp(name, "cuda") == 0)
        return true;
    if (strncmp(name, "cuda:", 5) != 0 || name[5] < '0' || name[5] > '9')
        return false;
    return strtol(name + 5, &end, 10) <= 4095 && *end == '\0';
}

static const kn_backend *find_cuda(const char *name, kn_error *error) {
    kn_error why = {.status = KN_OK};
    const kn_backend *backend = kn_plugin_cuda(&why);
    if (backend == NULL)
        kn_error_set(error, why.status, "device %s: %s", name, why.message);
    return backend;
}

const kn_backend *kn_backend_find(const char *name, kn_error *error) {
    if (strcmp(name, "auto") == 0) {
        const kn_backend *cuda = kn_plugin_cuda(NULL);
        return cuda != NULL ? cuda : &kn_backend_cpu;
    }
    if (strcmp(name, "cpu") == 0)
        return &kn_backend_cpu;
    if (strcmp(name, "reference") == 0)
        return &kn_backend_reference;
#ifdef KN_HAVE_ONEDNN
    if (strcmp(name, "onednn") == 0)
        return &kn_backend_onednn;
#endif
    if (is_cuda(name))
        return find_cuda(name, error);
    kn_error_set(error, KN_ERR_ARG,
                 "device %s: unknown; there are auto, cpu, cuda, cuda:N, reference%s", name,
                 WITH_ONEDNN);
    return NULL;
}
