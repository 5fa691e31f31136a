/* bench_device.c - the memory of a device that has its own: what copying moves there. */
#include "bench.h"

#include "tensor/tensor.h"

enum { COPIES = 20 };
static const int64_t bytes = 1 << 30; /* far more than a cache holds */

typedef struct copier {
    kn_ctx *ctx;
    kn_tensor from, to;
} copier;

static kn_status copy(void *arg) {
    copier *c = arg;
    kn_status status = KN_OK;
    for (int i = 0; i < COPIES && status == KN_OK; i++)
        status = kn_tensor_copy(c->ctx, &c->to, &c->from);
    return status == KN_OK ? bench_wait(c->ctx) : status;
}

static void tell(bench *b, kn_device *d) {
    kn_text t = {0};
    if (b->s->r.json) {
        line_open(&t);
        line_string(&t, "event", "bench");
        line_string(&t, "what", "machine");
        line_string(&t, "device", kn_device_about(d));
        line_real(&t, "copy_gb_per_s", b->copy * 1e-9);
        line_close(&t);
    } else
        kn_text_printf(&t, "device    %s\ncopying   %.0f GB/s, read and written\n",
                       kn_device_about(d), b->copy * 1e-9);
    report_out(&b->s->r, &t);
}

kn_status bench_device_copy(bench *b) {
    copier c = {.ctx = b->s->ctx};
    kn_device *d = kn_device_default(c.ctx);
    kn_status status = kn_tensor_init(c.ctx, &c.from, d, KN_U8, KN_SHAPE(bytes));
    if (status == KN_OK)
        status = kn_tensor_init(c.ctx, &c.to, d, KN_U8, KN_SHAPE(bytes));
    double seconds = status == KN_OK ? bench_time(copy, &c, &status) / COPIES : 0;
    kn_tensor_clear(&c.from);
    kn_tensor_clear(&c.to);
    if (status != KN_OK)
        return status;
    b->copy = 2 * (double)bytes / seconds;
    tell(b, d);
    return KN_OK;
}
