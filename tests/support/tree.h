/* tree.h - folders of files for tests of scanning: made below the folder for temporary files,
 * removed whole. */
#ifndef KN_TEST_TREE_H
#define KN_TEST_TREE_H

#include <stddef.h>

enum { TREE_PATH = 4096 };

/* Makes an empty folder; fails the test when it cannot. */
void tree_make(char root[TREE_PATH]);

/* Writes root/relative, making the folders above it. */
void tree_put(const char *root, const char *relative, const void *data, size_t bytes);

/* The same, with something that is no picture: for tests that only look at names. */
void tree_touch(const char *root, const char *relative);

/* Makes root/relative and the folders above it. */
void tree_folder(const char *root, const char *relative);

/* Removes the folder and all below it; links are removed, not followed. */
void tree_remove(const char *root);

#endif
