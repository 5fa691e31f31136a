/* root.c - see root.h. */
#include "support/root.h"

#include "support/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

char root[TREE_PATH];

const char *root_path(const char *relative) {
    static char path[TREE_PATH + 256];
    snprintf(path, sizeof path, "%s/%s", root, relative);
    return path;
}

bool root_has(const char *relative) {
    struct stat st;
    return stat(root_path(relative), &st) == 0;
}

void root_read(const char *relative, char *text, size_t size) {
    FILE *f = fopen(root_path(relative), "rb");
    if (f == NULL)
        fail_msg("%s is missing", root_path(relative));
    size_t length = fread(text, 1, size, f);
    fclose(f);
    if (length == size)
        fail_msg("%s is longer than %zu bytes", root_path(relative), size - 1);
    text[length] = '\0';
}

char *root_text(const char *relative) {
    struct stat st = {0};
    if (stat(root_path(relative), &st) != 0)
        fail_msg("%s is missing", root_path(relative));
    size_t size = (size_t)st.st_size + 1;
    char *text = malloc(size);
    assert_non_null(text);
    root_read(relative, text, size);
    return text;
}

int root_make(void **state) {
    (void)state;
    tree_make(root);
    return 0;
}

int root_remove(void **state) {
    (void)state;
    tree_remove(root);
    return 0;
}
