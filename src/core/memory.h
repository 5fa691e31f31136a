/* memory.h - how much memory the kernel has for this process. */
#ifndef KN_CORE_MEMORY_H
#define KN_CORE_MEMORY_H

#include <stdint.h>

/* In bytes: of the machine, and of every control group (version 2 or 1) that the process is in,
 * from its own up to the outermost that can be seen, as a container or a batch system sets them. */
typedef struct kn_memory {
    uint64_t own;   /* what this process has written to, and still has */
    uint64_t left;  /* free, or page cache that nobody touched lately, which is given up first */
    uint64_t reach; /* and all page cache, and swap: what is left under pressure */
    /* The same of the groups alone, whose count is exact; of the machine, other parts of the kernel
     * may give up more (ZFS's cache). UINT64_MAX: they are not limited. */
    uint64_t reach_in_groups;
    uint64_t most; /* that there is, used or not, swap too */
} kn_memory;

/* most is 0 where the kernel says nothing. root stands before all paths: "" but in tests. */
kn_memory kn_memory_now(const char *root);

#endif
