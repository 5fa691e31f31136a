/* data_folder.c - what DATA means: a folder; or else shapes, which is drawn, or the name of a data
 * set, which is fetched. Both are kept, and are there the next time. */
#include "datasets.h"
#include "fetch.h"
#include "home.h"
#include "session.h"

#include "core/file.h"

#include <kiln/data.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Its own seed: the pictures are a fixed data set, --seed is that of the training. */
static const uint64_t shapes_seed = 42;

static int shapes_folder(session *s, char path[PATH_MAX]) {
    char home[PATH_MAX];
    kn_error error = {0};
    struct stat st;
    char name[32]; /* with the version: pictures of an older Kiln may lie there too */
    snprintf(name, sizeof name, "/shapes-%d", KN_SHAPES_VERSION);
    if (home_path(home, &error) || kn_folder_make(home, &error) ||
        home_join(path, home, name, &error))
        return report_error(&s->r, &error);
    if (stat(path, &st) != 0)
        report_note(&s->r, "Drawing the shapes data into %s", path);
    return kn_shapes_write(s->ctx, path, shapes_seed) == KN_OK ? EXIT_DONE : session_fail(s);
}

static bool is_folder(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int fetched_folder(session *s, const char *name, char path[PATH_MAX]) {
    char home[PATH_MAX], end[DATASET_NAME + 1];
    kn_error error = {0};
    snprintf(end, sizeof end, "/%s", name);
    if (home_path(home, &error) || home_join(path, home, end, &error))
        return report_error(&s->r, &error);
    if (is_folder(path))
        return EXIT_DONE;
    int code = fetch_dataset(&s->r, name, home);
    if (code == EXIT_DONE && !is_folder(path))
        code = report_fail(&s->r, EXIT_FAILED, "%s: is still no folder after the download", path);
    return code;
}

/* For suggest: the names that need no folder. */
static const char *next_name(const void *user, int i) {
    const datasets *known = user;
    if (i == 0)
        return "shapes";
    return i <= known->count ? known->row[i - 1].name : NULL;
}

static int no_folder(session *s, const char *name, const datasets *known) {
    const char *near = strchr(name, '/') == NULL ? suggest(name, next_name, known) : NULL;
    if (near != NULL)
        return report_fail(&s->r, EXIT_DATA, "%s: no such folder; did you mean %s?", name, near);
    return report_fail(&s->r, EXIT_DATA, "%s: no such folder", name);
}

static int named_folder(session *s, const char *name, char path[PATH_MAX]) {
    datasets known;
    kn_error error = {0};
    if (datasets_load(&known, &error) != KN_OK)
        return report_error(&s->r, &error);
    if (datasets_find(&known, name) == NULL)
        return no_folder(s, name, &known);
    return fetched_folder(s, name, path);
}

int data_folder(session *s, const char *name, char path[PATH_MAX]) {
    struct stat st;
    kn_error error = {0};
    if (stat(name, &st) == 0) {
        if (!S_ISDIR(st.st_mode))
            return report_fail(&s->r, EXIT_DATA, "%s: is no folder", name);
        return home_join(path, name, "", &error) == KN_OK ? EXIT_DONE : report_error(&s->r, &error);
    }
    if (errno != ENOENT)
        return report_fail(&s->r, EXIT_DATA, "%s: %s", name, strerror(errno));
    if (strcmp(name, "shapes") == 0)
        return shapes_folder(s, path);
    return named_folder(s, name, path);
}
