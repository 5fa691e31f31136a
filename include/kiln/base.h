/* base.h - status codes, errors, the context, allocation, logging: what every other header needs.
 *
 * Two kinds of failure, two treatments. A bug in the caller's code (a NULL context, an enum out of
 * range) asserts. Everything that can happen to a correct program - a damaged file, a full disk, no
 * memory, shapes that do not fit - is reported: ordinary functions return a kn_status, functions
 * that build a tensor or an object return NULL, and the first error stays in the context until
 * kn_error_take. Every op passes a NULL tensor through, so one check at the end of an expression
 * suffices. */
#ifndef KILN_BASE_H
#define KILN_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KN_VERSION "0.1.0"

#if defined(__GNUC__)
#define KN_API               __attribute__((visibility("default")))
#define KN_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define KN_NODISCARD         __attribute__((warn_unused_result))
#else
#define KN_API
#define KN_PRINTF(fmt, args)
#define KN_NODISCARD
#endif

/* 0, or why it failed. */
typedef enum kn_status {
    KN_OK = 0,
    KN_ERR_MEMORY = -1, /* an allocation failed */
    KN_ERR_IO = -2, /* open, read, write, sync or rename failed: the message has path and reason */
    KN_ERR_DATA =
        -3, /* the data is at fault: a damaged picture, an unknown class, an empty folder */
    KN_ERR_FORMAT = -4, /* a file of ours (model, checkpoint) is malformed */
    KN_ERR_SHAPE = -5,  /* shapes or element types that do not fit: the message has both */
    KN_ERR_DEVICE = -6, /* a device is missing, failed, or two tensors live on different ones */
    KN_ERR_ARG = -7,    /* a value outside its range that a user may have typed */
    KN_ERR_STATE = -8,  /* not now: a second backward, a flow outside its scope */
    KN_ERR_LIMIT = -9,  /* a documented limit was exceeded */
} kn_status;

/* "memory", "io", ...; never NULL. */
KN_API const char *kn_status_name(kn_status status);

enum { KN_ERROR_MAX = 1024 };

/* The first failure of a sequence. Zero-initialise it; functions that may run on any thread (image
 * reading, kn_dataset's get) take one by pointer instead of a context. */
typedef struct kn_error {
    kn_status status;
    char message[KN_ERROR_MAX]; /* one line, no newline; empty when status is KN_OK */
} kn_error;

/* Records the failure if *error holds none yet (error may be NULL). Returns status. */
KN_API kn_status kn_error_set(kn_error *error, kn_status status, const char *format, ...)
    KN_PRINTF(3, 4);
KN_API kn_status kn_error_setv(kn_error *error, kn_status status, const char *format, va_list args);

/* Where memory comes from. Both functions may be called from several threads at once. alloc returns
 * NULL when it has none; align is a power of two, at least sizeof(void *). */
typedef struct kn_allocator {
    void *(*alloc)(void *user, size_t bytes, size_t align);
    void (*free)(void *user, void *pointer);
    void *user;
} kn_allocator;

typedef enum kn_log_level { KN_LOG_DEBUG, KN_LOG_INFO, KN_LOG_WARNING } kn_log_level;

/* Receives one line without its newline. The library itself never prints. */
typedef void (*kn_log_fn)(void *user, kn_log_level level, const char *line);

/* Everything hangs from a context: devices, step memory, the tape, the first error. It belongs to
 * one thread. There are no globals, so two threads may each have their own. */
typedef struct kn_ctx kn_ctx;

typedef struct kn_ctx_opts {
    kn_allocator allocator; /* zero: aligned_alloc and free */
    kn_log_fn log;          /* NULL: silence */
    void *log_user;
    uint64_t seed; /* of everything random: initialisation, shuffles (0 is a seed like others) */
    /* Compute threads, up to 1,024; 0: the processors this process may run on. They are OpenMP's,
     * whose settings are afterwards as they were. As with every program that uses it, a process
     * made by fork after something was computed cannot compute: fork first. */
    int threads;
    const char *device; /* "cpu"; "cuda", "cuda:N"; "onednn" (cpu with every convolution and product
                           by oneDNN), "reference" (plain loops), both to compare with; "auto";
                           NULL: "auto", which is cuda where it works, else cpu */
    /* A file where a device that times several ways to compute something keeps which was the
     * quickest: runs with the same file compute the same bits. It is made when needed. NULL:
     * nothing is timed, the first way is taken. */
    const char *plans;
} kn_ctx_opts;

/* On success *out is owned by the caller: kn_ctx_free. On failure *out is NULL and *error (which
 * may be NULL) says why. The device is opened at its first use. */
KN_API KN_NODISCARD kn_status kn_ctx_new(kn_ctx **out, kn_ctx_opts opts, kn_error *error);

/* Frees the context and every step tensor and device it owns. Modules, optimizers, loaders and
 * learners made with it must be freed before. NULL is allowed. */
KN_API void kn_ctx_free(kn_ctx *ctx);

/* Which step of the training it is, for what is random in a model (dropout). The Learner sets it
 * before every training batch. */
KN_API void kn_ctx_set_step(kn_ctx *ctx, uint32_t step);

KN_API uint64_t kn_ctx_seed(const kn_ctx *ctx);
KN_API int kn_ctx_threads(const kn_ctx *ctx);
KN_API const kn_allocator *kn_ctx_allocator(const kn_ctx *ctx);

/* The processors this process may run on (its affinity mask), at least 1. */
KN_API int kn_cpu_count(void);

/* Records a failure in the context if it holds none yet. Returns status. */
KN_API kn_status kn_fail(kn_ctx *ctx, kn_status status, const char *format, ...) KN_PRINTF(3, 4);

/* The same, from an error filled elsewhere; an error that holds KN_OK is ignored. */
KN_API kn_status kn_fail_with(kn_ctx *ctx, const kn_error *error);

/* KN_OK while nothing failed. */
KN_API kn_status kn_ctx_status(const kn_ctx *ctx);

/* Returns the first error since the last take, and clears it. */
KN_API kn_error kn_error_take(kn_ctx *ctx);

/* Sends a line to the context's log hook. */
KN_API void kn_report(kn_ctx *ctx, kn_log_level level, const char *format, ...) KN_PRINTF(3, 4);

#ifdef __cplusplus
}
#endif
#endif
