/* bench_pictures.c - pictures a second: decoded, and decoded and resized, on one processor; and in
 * batches by a loader's threads. */
#include "bench.h"

#include "core/ctx.h"
#include "formats/picture.h"

#include <kiln/data.h>

#include <math.h>
#include <stdio.h>

enum { SIDE = 64, MADE_SIDE = 224, MADE = 64, QUALITY = 90, LOADED = 512, BATCH = 128 };

typedef struct files {
    bench *b;
    kn_image_reader reader;
    kn_text *file; /* [count]: bytes of JPEG or PNG */
    int count;
    bool resize;
    uint8_t out[SIDE * SIDE * 3];
    kn_error error;
} files;

/* Noise over gradients: about as many bytes as a photograph of the size. */
static kn_status make_file(files *f, int i) {
    kn_ctx *ctx = f->b->s->ctx;
    uint8_t *pixels = kn_alloc(ctx, (size_t)MADE_SIDE * MADE_SIDE * 3, "a picture");
    uint32_t state = (uint32_t)i + 1;
    if (pixels == NULL)
        return KN_ERR_MEMORY;
    for (int p = 0; p < MADE_SIDE * MADE_SIDE * 3; p++) {
        state = state * 1664525U + 1013904223U;
        int x = p / 3 % MADE_SIDE, y = p / 3 / MADE_SIDE;
        pixels[p] = (uint8_t)((x * (1 + p % 3) + y * (3 - p % 3)) / 4 % 224 + (int)(state >> 27));
    }
    kn_status status = kn_encode_jpeg("a made picture", pixels, MADE_SIDE, MADE_SIDE, QUALITY,
                                      &f->file[i], &f->error);
    kn_free(ctx, pixels);
    return status;
}

static kn_status decode_all(void *arg) {
    files *f = arg;
    for (int i = 0; i < f->count; i++) {
        kn_image image;
        kn_status status = kn_image_decode(&f->reader, f->file[i].data, f->file[i].length,
                                           "a picture", &image, &f->error);
        if (status == KN_OK && f->resize)
            status = kn_image_resize(&f->reader, image.pixels, image.height, image.width, f->out,
                                     SIDE, SIDE, &f->error);
        if (status != KN_OK)
            return status;
    }
    return KN_OK;
}

/* ---- the loader alone ---- */

/* The same pictures again and again. */
typedef struct made_set {
    kn_dataset base;
    const files *f;
} made_set;

static int64_t made_len(const kn_dataset *ds) {
    (void)ds;
    return LOADED;
}

static kn_status made_get(const kn_dataset *ds, kn_sample *s) {
    const files *f = ((const made_set *)ds)->f;
    const kn_text *file = &f->file[s->index % f->count];
    kn_image image;
    *s->label = 0;
    kn_status status =
        kn_image_decode(s->reader, file->data, file->length, "a picture", &image, s->error);
    return status != KN_OK ? status
                           : kn_image_resize(s->reader, image.pixels, image.height, image.width,
                                             s->slot, SIDE, SIDE, s->error);
}

static kn_status load_all(void *arg) {
    kn_loader *l = arg;
    kn_batch batch;
    bool got = true;
    kn_status status = kn_loader_start(l, 0);
    while (status == KN_OK && got) {
        status = kn_loader_next(l, &batch, &got);
        if (got)
            kn_loader_release(l, &batch);
    }
    return status;
}

static kn_status time_loader(files *f, int *workers, double *seconds) {
    static const kn_dataset_class cls = {.len = made_len, .get = made_get};
    made_set set = {.base = {.cls = &cls, .height = SIDE, .width = SIDE}, .f = f};
    kn_loader *l = kn_loader_new(f->b->s->ctx, &set.base, BATCH, (kn_loader_opts){.shuffle = true});
    if (l == NULL)
        return kn_ctx_status(f->b->s->ctx);
    kn_status status = KN_OK;
    *seconds = bench_time(load_all, l, &status);
    *workers = kn_loader_workers(l);
    kn_loader_free(l);
    return status;
}

static void tell_loader(const files *f, int workers, double seconds) {
    kn_text t = {0};
    if (f->b->s->r.json) {
        line_open(&t);
        line_string(&t, "event", "bench");
        line_string(&t, "what", "loader");
        line_int(&t, "threads", workers);
        line_real(&t, "img_per_s", LOADED / seconds);
        line_close(&t);
    } else
        kn_text_printf(&t, "loader    %.0f pictures a second on %d thread%s, in batches of %d\n",
                       LOADED / seconds, workers, workers == 1 ? "" : "s", BATCH);
    report_out(&f->b->s->r, &t);
}

/* ---- all of it ---- */

static void tell(const files *f, const char *what, const char *text, double seconds) {
    kn_text t = {0};
    if (f->b->s->r.json) {
        line_open(&t);
        line_string(&t, "event", "bench");
        line_string(&t, "what", what);
        line_int(&t, "pictures", f->count);
        line_real(&t, "img_per_s", f->count / seconds);
        line_close(&t);
    } else
        kn_text_printf(&t, "%-9s %.0f pictures a second on one processor, %s\n", what,
                       f->count / seconds, text);
    report_out(&f->b->s->r, &t);
}

kn_status bench_pictures(bench *b) {
    kn_ctx *ctx = b->s->ctx;
    files *f = kn_calloc(ctx, 1, sizeof *f, "pictures");
    if (f == NULL)
        return KN_ERR_MEMORY;
    f->b = b;
    f->count = MADE;
    f->file = kn_calloc(ctx, MADE, sizeof *f->file, "pictures");
    kn_status status = f->file != NULL ? KN_OK : KN_ERR_MEMORY;
    for (int i = 0; i < MADE && status == KN_OK; i++)
        status = make_file(f, i);
    char text[64];
    snprintf(text, sizeof text, "JPEGs of %d by %d", MADE_SIDE, MADE_SIDE);
    double seconds = status == KN_OK ? bench_time(decode_all, f, &status) : NAN;
    if (status == KN_OK)
        tell(f, "decode", text, seconds);
    f->resize = true;
    snprintf(text, sizeof text, "to %d by %d", SIDE, SIDE);
    seconds = status == KN_OK ? bench_time(decode_all, f, &status) : NAN;
    if (status == KN_OK)
        tell(f, "resize", text, seconds);
    int workers = 0;
    if (status == KN_OK)
        status = time_loader(f, &workers, &seconds);
    if (status == KN_OK)
        tell_loader(f, workers, seconds);
    for (int i = 0; i < MADE && f->file != NULL; i++)
        kn_text_free(&f->file[i]);
    kn_image_reader_free(&f->reader);
    kn_fail_with(ctx, &f->error);
    kn_free(ctx, f->file);
    kn_free(ctx, f);
    return status;
}
