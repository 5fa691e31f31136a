/* plugin.c - finds and loads libkiln_cuda.so, so that one program serves machines with CUDA and
 * without; says what is missing where it cannot. */
#include "backend/plugin.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char plugin_file[] = "libkiln_cuda.so";

/* From an installed program's folder to its libraries'. */
#ifndef KN_LIB_FROM_BIN
#define KN_LIB_FROM_BIN "../lib"
#endif

/* ---- where it may be ---- */

static bool folder_of(const char *file, char folder[PATH_MAX]) {
    const char *slash = strrchr(file, '/');
    if (slash == NULL || slash - file >= PATH_MAX)
        return false;
    snprintf(folder, PATH_MAX, "%.*s", (int)(slash - file), file);
    return true;
}

static bool program_folder(char folder[PATH_MAX]) {
    char file[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", file, sizeof file - 1);
    if (length < 0)
        return false;
    file[length] = '\0';
    return folder_of(file, folder);
}

/* Of the program itself where libkiln is linked into it. */
static bool library_folder(char folder[PATH_MAX]) {
    Dl_info info;
    return dladdr(plugin_file, &info) != 0 && info.dli_fname != NULL &&
           folder_of(info.dli_fname, folder);
}

static bool is_in(const char *folder, const char *below, char path[PATH_MAX]) {
    int length = snprintf(path, PATH_MAX, "%s%s/%s", folder, below, plugin_file);
    return length < PATH_MAX && access(path, F_OK) == 0;
}

static bool find(char path[PATH_MAX]) {
    const char *told = getenv("KILN_PLUGINS");
    char folder[PATH_MAX];
    if (told != NULL && told[0] != '\0')
        return is_in(told, "", path);
    if (program_folder(folder) &&
        (is_in(folder, "", path) || is_in(folder, "/" KN_LIB_FROM_BIN, path)))
        return true;
    return library_folder(folder) && is_in(folder, "", path);
}

/* ---- loading it ---- */

const kn_backend *kn_plugin_cuda(kn_error *error) {
    static const kn_plugin_abi abi = KN_PLUGIN_ABI;
    char path[PATH_MAX];
    if (!find(path)) {
        kn_error_set(error, KN_ERR_DEVICE,
                     "%s was not found in $KILN_PLUGINS, beside the program or beside the library "
                     "(it is built where CUDA's compiler is)",
                     plugin_file);
        return NULL;
    }
    if (dlopen("libcuda.so.1", RTLD_NOW) == NULL) {
        kn_error_set(error, KN_ERR_DEVICE, "there is no NVIDIA driver here: %s", dlerror());
        return NULL;
    }
    void *plugin = dlopen(path, RTLD_NOW);
    if (plugin == NULL) { /* names the plugin, or what it needs: cuDNN, cuBLAS */
        kn_error_set(error, KN_ERR_DEVICE, "%s could not be loaded: %s", path, dlerror());
        return NULL;
    }
    kn_plugin_entry *entry = NULL;
    *(void **)&entry = dlsym(plugin, KN_PLUGIN_SYMBOL); /* as POSIX has it */
    if (entry == NULL) {
        kn_error_set(error, KN_ERR_DEVICE, "%s is no plugin of Kiln: it lacks %s", path,
                     KN_PLUGIN_SYMBOL);
        return NULL;
    }
    return entry(&abi, error);
}
