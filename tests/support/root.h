/* root.h - the folder that most test programs work in: empty when their tests begin, gone at the
 * end. */
#ifndef KN_TEST_ROOT_H
#define KN_TEST_ROOT_H

#include "support/tree.h"

extern char root[TREE_PATH];

/* For cmocka, around a test or around all. */
int root_make(void **state);
int root_remove(void **state);

/* The command runs in it, and keeps there what it would keep in the user's home. */
#define HERE                                                                                       \
    (command_opts) {                                                                               \
        .folder = root, .home = root                                                               \
    }

#endif
