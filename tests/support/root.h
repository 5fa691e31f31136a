/* root.h - the folder that most test programs work in: empty when their tests begin, gone at the
 * end. */
#ifndef KN_TEST_ROOT_H
#define KN_TEST_ROOT_H

#include "support/tree.h"

#include <stdbool.h>

extern char root[TREE_PATH];

/* The path of a file in it, until the next call. */
const char *root_path(const char *relative);
bool root_has(const char *relative);

/* What a file in it holds, and a 0 behind. The test fails where it cannot be read. */
void root_read(const char *relative, char *text, size_t size);
char *root_text(const char *relative); /* owned: free it */

/* For cmocka, around a test or around all. */
int root_make(void **state);
int root_remove(void **state);

/* The command runs in it, and keeps there what it would keep in the user's home. */
#define HERE                                                                                       \
    (command_opts) {                                                                               \
        .folder = root, .home = root                                                               \
    }

#endif
