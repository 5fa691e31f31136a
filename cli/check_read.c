/* check_read.c - see check_read.h. Threads take files one by one from a counter and write each into
 * its own result, so they need no lock. */
#include "check_read.h"
#include "report.h"

#include "core/ctx.h"
#include "formats/sha256.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef struct work {
    const kn_files *files;
    const kn_allocator *allocator;
    check_opts opts;
    check_result *result;
    atomic_int next, done;
    atomic_bool no_memory;
} work;

static kn_status hash_pixels(const kn_image *image, char hex[65], kn_error *error) {
    const int32_t size[] = {image->width, image->height};
    kn_sha256 h;
    kn_sha256_begin(&h);
    kn_sha256_add(&h, size, sizeof size);
    kn_sha256_add(&h, image->pixels, (size_t)image->width * (size_t)image->height * 3);
    return kn_sha256_end(&h, hex, error);
}

static void read_one(work *w, kn_image_reader *reader, int i) {
    kn_image image;
    kn_error error = {0};
    check_result *r = &w->result[i];
    kn_status status = kn_image_read(reader, w->files->path[i], &image, &error);
    if (status == KN_ERR_MEMORY)
        atomic_store(&w->no_memory, true);
    else if (status != KN_OK) {
        r->error = kn_mem_strdup(w->allocator, error.message);
        if (r->error == NULL)
            atomic_store(&w->no_memory, true);
    } else {
        r->width = image.width;
        r->height = image.height;
        r->form = image.form;
        r->bits = image.bits;
        r->orientation = image.orientation;
        status = hash_pixels(&image, r->pixels, &error);
        if (status != KN_OK) /* the library has no memory */
            atomic_store(&w->no_memory, true);
    }
}

static void *run(void *argument) {
    work *w = argument;
    kn_image_reader reader = {.allocator = w->allocator, .max_memory = w->opts.max_memory};
    int i;
    while ((i = atomic_fetch_add(&w->next, 1)) < w->files->count && !atomic_load(&w->no_memory)) {
        read_one(w, &reader, i);
        atomic_fetch_add(&w->done, 1);
    }
    kn_image_reader_free(&reader);
    return NULL;
}

static void draw_until_done(work *w) {
    const struct timespec tenth = {.tv_nsec = 100000000};
    char line[96];
    int done;
    while ((done = atomic_load(&w->done)) < w->files->count && !atomic_load(&w->no_memory)) {
        snprintf(line, sizeof line, "reading %d/%d", done, w->files->count);
        report_bar(line);
        nanosleep(&tenth, NULL);
    }
    report_bar("");
}

kn_status check_read_all(kn_ctx *ctx, const kn_files *files, check_opts opts,
                         check_result *result) {
    work w = {.files = files, .allocator = kn_ctx_allocator(ctx), .opts = opts, .result = result};
    int workers = opts.workers > 0 ? opts.workers : kn_cpu_count(), started = 0, code = 0;
    if (workers > files->count)
        workers = files->count;
    pthread_t *thread = kn_calloc(ctx, (size_t)workers, sizeof *thread, "threads");
    if (thread == NULL)
        return KN_ERR_MEMORY;
    while (started < workers && code == 0) {
        code = pthread_create(&thread[started], NULL, run, &w);
        started += code == 0;
    }
    if (started > 0 && opts.bar)
        draw_until_done(&w);
    for (int i = 0; i < started; i++)
        pthread_join(thread[i], NULL);
    kn_free(ctx, thread);
    if (started == 0)
        return kn_fail(ctx, KN_ERR_MEMORY, "cannot start a thread: %s", strerror(code));
    if (atomic_load(&w.no_memory))
        return kn_fail(ctx, KN_ERR_MEMORY, "out of memory: reading the pictures");
    return KN_OK;
}
