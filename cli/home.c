/* home.c - the folder where Kiln keeps what it makes for itself, and the built-in data in it. */
#include "session.h"

#include <kiln/data.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Its own seed: the pictures are a fixed data set, --seed is that of the training. */
static const uint64_t shapes_seed = 42;

static kn_status join(char path[PATH_MAX], const char *folder, const char *rest, kn_error *error) {
    int length = snprintf(path, PATH_MAX, "%s%s", folder, rest);
    if (length < 0 || length >= PATH_MAX)
        return kn_error_set(error, KN_ERR_IO, "%s%s: the path is too long", folder, rest);
    return KN_OK;
}

kn_status home_path(char path[PATH_MAX], kn_error *error) {
    const char *own = getenv("KILN_HOME"), *cache = getenv("XDG_CACHE_HOME"),
               *home = getenv("HOME");
    if (own != NULL && own[0] != '\0')
        return join(path, own, "", error);
    if (cache != NULL && cache[0] == '/') /* the XDG rules: a relative one is to be ignored */
        return join(path, cache, "/kiln", error);
    if (home != NULL && home[0] != '\0')
        return join(path, home, "/.cache/kiln", error);
    path[0] = '\0';
    return kn_error_set(error, KN_ERR_IO,
                        "no folder to keep data in: neither KILN_HOME nor HOME is set");
}

static kn_status make_folders(char *path, kn_error *error) {
    for (char *c = path + 1;; c++) {
        if (*c != '/' && *c != '\0')
            continue;
        char end = *c;
        *c = '\0';
        if (mkdir(path, 0777) != 0 && errno != EEXIST)
            return kn_error_set(error, KN_ERR_IO, "%s: cannot make the folder: %s", path,
                                strerror(errno));
        *c = end;
        if (end == '\0')
            return KN_OK;
    }
}

static int shapes_folder(session *s, char path[PATH_MAX]) {
    char home[PATH_MAX];
    kn_error error = {0};
    struct stat st;
    char name[32]; /* with the version: pictures of an older Kiln may lie there too */
    snprintf(name, sizeof name, "/shapes-%d", KN_SHAPES_VERSION);
    if (home_path(home, &error) || make_folders(home, &error) || join(path, home, name, &error))
        return report_error(&s->r, &error);
    if (stat(path, &st) != 0)
        report_note(&s->r, "Drawing the shapes data into %s", path);
    return kn_shapes_write(s->ctx, path, shapes_seed) == KN_OK ? EXIT_DONE : session_fail(s);
}

int data_folder(session *s, const char *name, char path[PATH_MAX]) {
    struct stat st;
    kn_error error = {0};
    if (stat(name, &st) == 0) {
        if (!S_ISDIR(st.st_mode))
            return report_fail(&s->r, EXIT_DATA, "%s: is no folder", name);
        return join(path, name, "", &error) == KN_OK ? EXIT_DONE : report_error(&s->r, &error);
    }
    if (errno != ENOENT)
        return report_fail(&s->r, EXIT_DATA, "%s: %s", name, strerror(errno));
    if (strcmp(name, "shapes") == 0)
        return shapes_folder(s, path);
    if (strcmp(name, "imagenette-160") == 0)
        return report_fail(&s->r, EXIT_USAGE, "imagenette-160 is not in this version");
    return report_fail(&s->r, EXIT_DATA, "%s: no such folder", name);
}
