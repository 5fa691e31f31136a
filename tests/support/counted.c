/* counted.c - see counted.h. */
#include "support/counted.h"

#include "support/check.h"

#include "core/ctx.h"

#include <stdlib.h>

static void *count_alloc(void *user, size_t bytes, size_t align) {
    counted *c = user;
    long call = ++c->made;
    if (c->fail_at > 0 && (call == c->fail_at || (c->fail_after && call > c->fail_at))) {
        c->refused++;
        return NULL;
    }
    void *p = kn_default_allocator.alloc(NULL, bytes, align);
    c->live += p != NULL;
    return p;
}

static void count_free(void *user, void *p) {
    counted *c = user;
    c->live--;
    kn_default_allocator.free(NULL, p);
}

kn_allocator counted_allocator(counted *c) {
    return (kn_allocator){count_alloc, count_free, c};
}

kn_ctx *counted_ctx(counted *c, const char *device) {
    kn_ctx *ctx;
    kn_error error = {0};
    kn_ctx_opts opts = {
        .allocator = counted_allocator(c), .seed = 1, .threads = 2, .device = device};
    if (kn_ctx_new(&ctx, opts, &error) != KN_OK)
        fail_msg("no context on %s: %s", device, error.message);
    return ctx;
}

void counted_ctx_free(counted *c, kn_ctx *ctx) {
    kn_ctx_free(ctx);
    if (c->live != 0)
        fail_msg("%ld blocks of %ld were not freed", c->live, c->made);
}
