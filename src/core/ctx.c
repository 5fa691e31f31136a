/* ctx.c - the context: errors, allocation, logging. Everything else hangs from it. */
#include "core/ctx.h"

#include "core/utf8.h"

#include <assert.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* ---- status and errors ---- */

const char *kn_status_name(kn_status status) {
    switch (status) {
    case KN_OK:
        return "ok";
    case KN_ERR_MEMORY:
        return "memory";
    case KN_ERR_IO:
        return "io";
    case KN_ERR_DATA:
        return "data";
    case KN_ERR_FORMAT:
        return "format";
    case KN_ERR_SHAPE:
        return "shape";
    case KN_ERR_DEVICE:
        return "device";
    case KN_ERR_ARG:
        return "argument";
    case KN_ERR_STATE:
        return "state";
    case KN_ERR_LIMIT:
        return "limit";
    }
    return "unknown";
}

/* A text that was cut ends behind a whole character, if it is UTF-8. */
static void end_whole(char *text) {
    size_t end = strlen(text), begin = end;
    while (begin > 0 && end - begin < 3 && ((unsigned char)text[begin - 1] & 0xC0) == 0x80)
        begin--;
    if (begin > 0 && (unsigned char)text[begin - 1] >= 0xC0 &&
        kn_utf8_length(text + begin - 1, end - begin + 1) == 0)
        text[begin - 1] = '\0';
}

kn_status kn_error_setv(kn_error *error, kn_status status, const char *format, va_list args) {
    if (error == NULL || error->status != KN_OK)
        return status;
    error->status = status;
    int length = vsnprintf(error->message, sizeof error->message, format, args);
    if (length >= (int)sizeof error->message)
        end_whole(error->message);
    /* One line, whatever a path may hold. */
    for (char *c = error->message; *c != '\0'; c++)
        if (*c == '\n' || *c == '\r')
            *c = ' ';
    return status;
}

kn_status kn_error_set(kn_error *error, kn_status status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    kn_error_setv(error, status, format, args);
    va_end(args);
    return status;
}

kn_status kn_fail(kn_ctx *ctx, kn_status status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    kn_error_setv(&ctx->error, status, format, args);
    va_end(args);
    return status;
}

kn_status kn_fail_with(kn_ctx *ctx, const kn_error *error) {
    if (error->status != KN_OK && ctx->error.status == KN_OK)
        ctx->error = *error;
    return error->status;
}

kn_status kn_ctx_status(const kn_ctx *ctx) {
    return ctx->error.status;
}

kn_error kn_error_take(kn_ctx *ctx) {
    kn_error taken = ctx->error;
    ctx->error.status = KN_OK;
    ctx->error.message[0] = '\0';
    return taken;
}

/* ---- memory ---- */

/* Large buffers begin at a huge page and ask for such pages: a pass over activations would
 * otherwise need a new translation every 4 KiB. */
enum { HUGE_PAGE = 2 << 20, LEAST_HUGE = 4 << 20 };

static void *default_alloc(void *user, size_t bytes, size_t align) {
    (void)user;
    bool huge = bytes >= LEAST_HUGE;
    align = huge ? HUGE_PAGE : align;
    if (bytes > SIZE_MAX - align)
        return NULL;
    size_t unit = huge ? KN_ALIGN : align, size = (bytes + unit - 1) / unit * unit;
    void *p = NULL;
    if (huge)
        p = posix_memalign(&p, align, size) == 0 ? p : NULL;
    else
        p = aligned_alloc(align, size);
#ifdef MADV_HUGEPAGE
    if (huge && p != NULL)
        (void)madvise(p, size / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
#endif
    return p;
}

static void default_free(void *user, void *p) {
    (void)user;
    free(p);
}

const kn_allocator kn_default_allocator = {default_alloc, default_free, NULL};

static const kn_allocator *or_default(const kn_allocator *allocator) {
    return allocator != NULL && allocator->alloc != NULL ? allocator : &kn_default_allocator;
}

void *kn_mem_alloc(const kn_allocator *allocator, size_t bytes) {
    const kn_allocator *a = or_default(allocator);
    return bytes == 0 ? NULL : a->alloc(a->user, bytes, KN_ALIGN);
}

void *kn_mem_calloc(const kn_allocator *allocator, size_t count, size_t size) {
    if (size != 0 && count > SIZE_MAX / size)
        return NULL;
    void *p = kn_mem_alloc(allocator, count * size);
    if (p != NULL)
        memset(p, 0, count * size);
    return p;
}

void kn_mem_free(const kn_allocator *allocator, void *p) {
    const kn_allocator *a = or_default(allocator);
    if (p != NULL)
        a->free(a->user, p);
}

char *kn_mem_strdup(const kn_allocator *allocator, const char *text) {
    size_t bytes = strlen(text) + 1;
    char *copy = kn_mem_alloc(allocator, bytes);
    if (copy != NULL)
        memcpy(copy, text, bytes);
    return copy;
}

bool kn_mem_grow(const kn_allocator *allocator, void **array, size_t *capacity, size_t want,
                 size_t size) {
    if (want <= *capacity)
        return true;
    size_t grown = *capacity < 8 ? 8 : *capacity;
    while (grown < want) {
        if (grown > SIZE_MAX / 2)
            return false;
        grown *= 2;
    }
    if (grown > SIZE_MAX / size)
        return false;
    void *larger = kn_mem_alloc(allocator, grown * size);
    if (larger == NULL)
        return false;
    if (*array != NULL)
        memcpy(larger, *array, *capacity * size);
    kn_mem_free(allocator, *array);
    *array = larger;
    *capacity = grown;
    return true;
}

void *kn_alloc(kn_ctx *ctx, size_t bytes, const char *what) {
    void *p = kn_mem_alloc(&ctx->allocator, bytes);
    if (p == NULL)
        kn_fail(ctx, KN_ERR_MEMORY, "out of memory: %zu bytes for %s", bytes, what);
    return p;
}

void *kn_calloc(kn_ctx *ctx, size_t count, size_t size, const char *what) {
    void *p = kn_mem_calloc(&ctx->allocator, count, size);
    if (p == NULL)
        kn_fail(ctx, KN_ERR_MEMORY, "out of memory: %zu times %zu bytes for %s", count, size, what);
    return p;
}

void kn_free(kn_ctx *ctx, void *p) {
    kn_mem_free(&ctx->allocator, p);
}

char *kn_strdup(kn_ctx *ctx, const char *text) {
    char *copy = kn_mem_strdup(&ctx->allocator, text);
    if (copy == NULL)
        kn_fail(ctx, KN_ERR_MEMORY, "out of memory: copying \"%s\"", text);
    return copy;
}

/* ---- the context ---- */

int kn_cpu_count(void) {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    int count = CPU_COUNT(&set);
    return count > 0 ? count : 1;
}

kn_status kn_ctx_new(kn_ctx **out, kn_ctx_opts opts, kn_error *error) {
    assert(out != NULL);
    *out = NULL;
    if ((opts.allocator.alloc == NULL) != (opts.allocator.free == NULL))
        return kn_error_set(error, KN_ERR_ARG, "context: an allocator needs both alloc and free");
    if (opts.threads < 0 || opts.threads > 1024)
        return kn_error_set(error, KN_ERR_ARG, "context: %d compute threads, expected 0 to 1024",
                            opts.threads);
    const char *device = opts.device != NULL ? opts.device : "auto";
    if (opts.plans != NULL && strlen(opts.plans) >= sizeof(((kn_ctx *)NULL)->plans))
        return kn_error_set(error, KN_ERR_ARG, "context: the plan file's path is too long");
    kn_ctx *ctx = kn_mem_calloc(&opts.allocator, 1, sizeof *ctx);
    if (ctx == NULL)
        return kn_error_set(error, KN_ERR_MEMORY, "out of memory: the context");
    ctx->allocator = opts.allocator.alloc != NULL ? opts.allocator : kn_default_allocator;
    ctx->log = opts.log;
    ctx->log_user = opts.log_user;
    ctx->seed = opts.seed;
    ctx->threads = opts.threads > 0 ? opts.threads : kn_cpu_count();
    snprintf(ctx->device, sizeof ctx->device, "%s", device);
    snprintf(ctx->plans, sizeof ctx->plans, "%s", opts.plans != NULL ? opts.plans : "");
    *out = ctx;
    return KN_OK;
}

void kn_ctx_free(kn_ctx *ctx) {
    if (ctx == NULL)
        return;
    if (ctx->engine_free != NULL)
        ctx->engine_free(ctx);
    kn_allocator allocator = ctx->allocator;
    kn_mem_free(&allocator, ctx);
}

void kn_ctx_set_step(kn_ctx *ctx, uint32_t step) {
    ctx->step = step;
}

uint64_t kn_ctx_seed(const kn_ctx *ctx) {
    return ctx->seed;
}

int kn_ctx_threads(const kn_ctx *ctx) {
    return ctx->threads;
}

const kn_allocator *kn_ctx_allocator(const kn_ctx *ctx) {
    return &ctx->allocator;
}

void kn_report(kn_ctx *ctx, kn_log_level level, const char *format, ...) {
    if (ctx->log == NULL)
        return;
    char line[KN_ERROR_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    ctx->log(ctx->log_user, level, line);
}
