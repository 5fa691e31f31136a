/* root.c - see root.h. */
#include "support/root.h"

char root[TREE_PATH];

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
