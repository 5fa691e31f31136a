/* tree.c - see tree.h. */
#include "support/tree.h"

#include "support/check.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void tree_make(char root[TREE_PATH]) {
    const char *folder = getenv("TMPDIR");
    snprintf(root, TREE_PATH, "%s/kiln-tree-XXXXXX", folder != NULL ? folder : "/tmp");
    if (mkdtemp(root) == NULL)
        fail_msg("%s: %s", root, strerror(errno));
}

/* Makes every folder whose name ends before a slash of path, from the given one on. */
static void make_above(char *path, size_t from) {
    for (char *c = path + from; (c = strchr(c, '/')) != NULL; c++) {
        *c = '\0';
        if (mkdir(path, 0777) != 0 && errno != EEXIST)
            fail_msg("%s: %s", path, strerror(errno));
        *c = '/';
    }
}

static void make_path(char path[TREE_PATH], const char *root, const char *relative,
                      const char *end) {
    int length = snprintf(path, TREE_PATH, "%s/%s%s", root, relative, end);
    assert_true(length > 0 && length < TREE_PATH);
    make_above(path, strlen(root) + 1);
}

void tree_folder(const char *root, const char *relative) {
    char path[TREE_PATH];
    make_path(path, root, relative, "/");
}

void tree_put(const char *root, const char *relative, const void *data, size_t bytes) {
    char path[TREE_PATH];
    make_path(path, root, relative, "");
    FILE *file = fopen(path, "wb");
    if (file == NULL)
        fail_msg("%s: %s", path, strerror(errno));
    size_t written = bytes > 0 ? fwrite(data, 1, bytes, file) : 0;
    assert_int_equal(fclose(file), 0);
    assert_int_equal(written, bytes);
}

void tree_touch(const char *root, const char *relative) {
    tree_put(root, relative, "no picture", 10);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at) {
    (void)st;
    (void)type;
    (void)at;
    if (remove(path) != 0)
        fail_msg("%s: cannot remove: %s", path, strerror(errno));
    return 0;
}

void tree_remove(const char *root) {
    assert_int_equal(nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}
