/* bench.h - what the parts of kiln bench share: one way to take a time, one way to tell it. What
 * times convolutions and steps checks first that they are right. */
#ifndef KILN_CLI_BENCH_H
#define KILN_CLI_BENCH_H

#include "json_line.h"
#include "session.h"

#include <kiln/tensor.h>

typedef struct bench {
    session *s;
    double peak; /* FMA operations a second; 0: unknown */
    double copy; /* bytes a second */
    /* Seconds of a network's convolutions, of one step, on the device and by oneDNN (0 without it):
     * bench_conv leaves them here. */
    double convolutions, onednn;
    double bf16_convolutions; /* 0: the device has no bf16 */
} bench;

/* The median of the seconds that once(arg) takes: two runs to warm up, then at least five, more
 * while they take less than half a second together. Stops at a failure, which is once's to record.
 */
double bench_time(kn_status (*once)(void *arg), void *arg, kn_status *status);

/* Waits for a device that works asynchronously; ends the step. */
kn_status bench_wait(kn_ctx *ctx);

/* bench_pictures.c: decoding and resizing. */
kn_status bench_pictures(bench *b);

/* bench_device.c: what copying moves in the memory of a device that has its own. */
kn_status bench_device_copy(bench *b);

/* bench_ops.c: every other kernel of a training. */
kn_status bench_ops(bench *b);

/* bench_conv.c: each convolution of a network, all three passes. */
typedef struct bench_net {
    const char *model;
    int batch, size;
    bool steps_only; /* its convolutions have no table */
} bench_net;
kn_status bench_conv(bench *b, const bench_net *net);

/* bench_step.c: a whole training step, and the prediction of one picture, in f32 and, where the
 * device has it, in bf16. */
kn_status bench_step(bench *b, const bench_net *net);

#endif
