/* memory_left.h - how much memory the kernel would still give to this process. */
#ifndef KN_DATA_MEMORY_LEFT_H
#define KN_DATA_MEMORY_LEFT_H

#include <stdint.h>

/* In bytes: of the machine, and of every control group (version 2 or 1) that the process is in,
 * from its own up to the outermost that can be seen, as a container or a batch system sets them.
 * What a group uses of the page cache and has not touched lately counts as free: it is given up
 * first. root stands before all paths: "" but in tests. 0 where the kernel says nothing. */
uint64_t kn_memory_left(const char *root);

#endif
