/* spin.c - see spin.h. By default libgomp's threads turn in a loop for milliseconds after each
 * piece of work, on processors that the loader's threads and other programs need. Sleeping at once
 * costs a wake-up at every convolution. In between lies a wait about as long as the gap between two
 * pieces; with ten times this one an epoch beside a busy program takes a third longer
 * (docs/performance.md). */
#include "spin.h"

#include <stdlib.h>
#include <unistd.h>

void spin_less(char **argv) {
    if (getenv("OMP_WAIT_POLICY") != NULL || getenv("GOMP_SPINCOUNT") != NULL)
        return;
    if (setenv("GOMP_SPINCOUNT", "1000", 1) == 0)
        execv("/proc/self/exe",
              argv); /* where it cannot, the run is slower and otherwise the same */
}
