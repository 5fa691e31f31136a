/* activation_files.c - see activation_files.h. */
#include "learner/activation_files.h"

#include "core/file.h"
#include "core/text.h"

#include <kiln/chart.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

/* As RFC 4180 has it: in quotes, the name's own doubled, where it needs them. */
static void add_name(kn_text *t, const char *name) {
    bool quoted = strpbrk(name, ",\"\r\n") != NULL;
    kn_text_append(t, "\"", quoted);
    for (; *name != '\0'; name++) {
        kn_text_append(t, "\"", *name == '"');
        kn_text_append(t, name, 1);
    }
    kn_text_append(t, "\"", quoted);
}

/* A row a record and layer. */
static void add_row(kn_text *t, const kn_activations *a, int layer, int record) {
    size_t at = (size_t)layer * (size_t)a->records + (size_t)record;
    const double column[] = {a->mean[at], a->std[at], a->near_zero[at]};
    t->length = 0;
    kn_text_printf(t, "%.0f,", a->batch[record]);
    add_name(t, a->name[layer]);
    for (size_t c = 0; c < KN_COUNT(column); c++) {
        kn_text_append(t, ",", 1);
        if (isfinite(column[c])) /* else an empty cell, as in history.csv */
            kn_text_number(t, column[c], 9);
    }
    kn_text_append(t, "\n", 1);
}

static kn_status write_csv(kn_ctx *ctx, const kn_activations *a, const char *path) {
    static const char head[] = "batch,layer,mean,std,near_zero\n";
    kn_text row = {.allocator = &ctx->allocator};
    kn_writer file;
    kn_writer_open(&file, path, &ctx->error);
    kn_writer_append(&file, head, sizeof head - 1);
    for (int k = 0; k < a->records && !row.failed; k++)
        for (int i = 0; i < a->layers && !row.failed; i++) {
            add_row(&row, a, i, k);
            if (!row.failed)
                kn_writer_append(&file, row.data, row.length);
        }
    kn_status status = KN_OK;
    if (row.failed) {
        kn_writer_abort(&file);
        status = kn_fail(ctx, KN_ERR_MEMORY, "%s: no memory to write it", path);
    } else
        status = kn_writer_commit(&file);
    kn_text_free(&row);
    return status;
}

static kn_status write_svg(kn_ctx *ctx, const kn_activations *a, const char *path) {
    static const char *const titles[] = {"Mean of each layer's output", "Standard deviation",
                                         "Share near zero (at most 0.05 from it)"};
    static const char *const units[] = {"mean", "deviation", "share"};
    enum { HEIGHT = 300, FEW = 6, LEGEND = 170 /* of many layers, as high as it gets */ };
    const double *const table[] = {a->mean, a->std, a->near_zero};
    kn_series *series = kn_calloc(ctx, (size_t)a->layers * KN_COUNT(table) + 1, sizeof *series,
                                  "the activations' chart");
    if (series == NULL)
        return KN_ERR_MEMORY;
    kn_chart chart[KN_COUNT(table)];
    for (size_t c = 0; c < KN_COUNT(table); c++) {
        kn_series *own = series + c * (size_t)a->layers;
        for (int i = 0; i < a->layers; i++)
            own[i] = (kn_series){.name = a->name[i],
                                 .x = a->batch,
                                 .y = table[c] + (size_t)i * (size_t)a->records,
                                 .count = a->records};
        chart[c] = (kn_chart){.title = titles[c],
                              .x_title = "training batches",
                              .y_title = units[c],
                              .series = own,
                              .series_count = a->layers,
                              .height = a->layers > FEW ? HEIGHT + LEGEND : HEIGHT};
    }
    kn_status status = kn_charts_write(chart, KN_COUNT(chart), path, &ctx->allocator, &ctx->error);
    kn_free(ctx, series);
    return status;
}

kn_status kn_activation_files_write(kn_ctx *ctx, const kn_activations *a, const char *folder) {
    char path[KN_PATH_MAX];
    kn_status status = kn_path_join(path, folder, "activations.csv", &ctx->error);
    if (status == KN_OK)
        status = write_csv(ctx, a, path);
    if (status == KN_OK)
        status = kn_path_join(path, folder, "activations.svg", &ctx->error);
    return status == KN_OK ? write_svg(ctx, a, path) : status;
}
