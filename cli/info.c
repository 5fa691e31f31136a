/* info.c - kiln info: the layers of a model, what they put out, and what they cost. */
#include "column.h"
#include "info_batch.h"
#include "json_line.h"
#include "number.h"

#include <kiln/layers.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MAX_NAME = 256, CHAPTER_CLASSES = 10, CHAPTER_SIZE = 64 };

/* One module without children. */
typedef struct layer {
    char name[MAX_NAME], about[128];
    kn_module *module; /* borrowed */
    kn_shape out;      /* rank 0 until the forward pass */
    int64_t numbers, macs;
} layer;

typedef struct info {
    session *s;
    kn_loaded_model m;
    layer *layer;
    size_t layers, room;
    kn_shape in, out;
    int64_t numbers, macs; /* of the whole model; MACs of the batch */
} info;

/* Else --model names an architecture. */
static bool has_file(const info *f) {
    return f->s->a.model == NULL;
}

/* ---- gathering ---- */

static kn_status add_layer(info *f, kn_module *module, const char *name) {
    void *array = f->layer;
    if (!kn_mem_grow(NULL, &array, &f->room, f->layers + 1, sizeof *f->layer))
        return kn_fail(f->s->ctx, KN_ERR_MEMORY, "out of memory: the list of layers");
    f->layer = array;
    layer *l = &f->layer[f->layers++];
    *l = (layer){.module = module, .numbers = kn_module_numel(module)};
    snprintf(l->name, sizeof l->name, "%s", name);
    if (module->cls->describe != NULL)
        module->cls->describe(module, l->about, sizeof l->about);
    return KN_OK;
}

static kn_status gather(info *f, kn_module *module, const char *name) {
    kn_status status = KN_OK;
    int children = kn_module_child_count(module);
    if (children == 0)
        return add_layer(f, module, name);
    for (int i = 0; i < children && status == KN_OK; i++) {
        char below[MAX_NAME];
        int length = snprintf(below, sizeof below, "%s%s%s", name, name[0] != '\0' ? "." : "",
                              kn_module_child_name(module, i));
        if (length < 0 || (size_t)length >= sizeof below)
            return kn_fail(f->s->ctx, KN_ERR_LIMIT, "%s: the name is too long", name);
        status = gather(f, kn_module_child_at(module, i), below);
    }
    return status;
}

/* A hook on every layer; one that is called twice counts twice. */
static kn_tensor *on_forward(void *user, kn_module *module, kn_tensor *x, kn_tensor *y) {
    info *f = user;
    for (size_t i = 0; i < f->layers; i++) {
        layer *l = &f->layer[i];
        if (l->module != module)
            continue;
        l->out = *kn_tensor_shape(y);
        if (module->cls->macs != NULL)
            l->macs += module->cls->macs(module, kn_tensor_shape(x), &l->out);
    }
    return y;
}

static kn_status forward(info *f, kn_tensor *x) {
    kn_ctx *ctx = f->s->ctx;
    for (size_t i = 0; i < f->layers; i++)
        if (kn_module_add_hook(f->layer[i].module, on_forward, f) == 0)
            return kn_fail(ctx, KN_ERR_MEMORY, "out of memory: a hook");
    if (kn_module_to(f->m.model, kn_device_default(ctx)) != KN_OK)
        return kn_ctx_status(ctx);
    f->in = *kn_tensor_shape(x);
    kn_tensor *y = kn_forward(f->m.model, x);
    if (y != NULL)
        f->out = *kn_tensor_shape(y);
    kn_step_end(ctx);
    f->numbers = kn_module_numel(f->m.model);
    for (size_t i = 0; i < f->layers; i++)
        f->macs += f->layer[i].macs;
    return kn_ctx_status(ctx);
}

/* ---- telling ---- */

static void json_shape(kn_text *t, const char *key, const kn_shape *shape) {
    line_array_open(t, key);
    for (int i = 0; i < shape->rank; i++)
        line_int(t, NULL, shape->dim[i]);
    line_array_close(t);
}

static void tell_json(const info *f, kn_text *t) {
    bool file = has_file(f);
    line_open(t);
    line_string(t, "event", "info");
    line_string(t, "model", f->m.arch);
    if (file) {
        line_array_open(t, "classes");
        for (int i = 0; i < f->m.vocab.count; i++)
            line_string(t, NULL, f->m.vocab.name[i]);
        line_array_close(t);
        line_string(t, "resize", kn_resize_name(f->m.resize));
        line_array_open(t, "mean");
        for (int c = 0; c < 3; c++)
            line_real(t, NULL, (double)f->m.norm.mean[c]);
        line_array_close(t);
        line_array_open(t, "std");
        for (int c = 0; c < 3; c++)
            line_real(t, NULL, (double)f->m.norm.std[c]);
        line_array_close(t);
        line_string(t, "version", f->m.version);
    }
    json_shape(t, "input", &f->in);
    json_shape(t, "output", &f->out);
    line_int(t, "parameters", f->numbers);
    line_int(t, "macs", f->macs / f->in.dim[0]);
    line_array_open(t, "layers");
    for (size_t i = 0; i < f->layers; i++) {
        const layer *l = &f->layer[i];
        line_object_open(t, NULL);
        line_string(t, "name", l->name);
        line_string(t, "kind", l->module->cls->name);
        json_shape(t, "output", &l->out);
        line_int(t, "parameters", l->numbers);
        line_int(t, "macs", l->macs / f->in.dim[0]);
        line_object_close(t);
    }
    line_array_close(t);
    line_close(t);
}

static void tell_file(const info *f, kn_text *t) {
    const kn_normalize *n = &f->m.norm;
    kn_text_printf(t, "classes  ");
    for (int i = 0; i < f->m.vocab.count; i++) {
        kn_text_append(t, ", ", i > 0 ? 2 : 0);
        column_clean(t, f->m.vocab.name[i]);
    }
    kn_text_printf(t, "\nresize   %s", kn_resize_name(f->m.resize));
    kn_text_printf(t, "\nmean     %.4f, %.4f, %.4f\nstd      %.4f, %.4f, %.4f\n",
                   (double)n->mean[0], (double)n->mean[1], (double)n->mean[2], (double)n->std[0],
                   (double)n->std[1], (double)n->std[2]);
    kn_text_printf(t, "written  by kiln %s\n", f->m.version);
}

/* As wide as the longest name, in whole steps of four. */
static int name_width(const info *f) {
    int width = 12;
    for (size_t i = 0; i < f->layers; i++)
        while (column_width(f->layer[i].name) > width)
            width += 4;
    return width;
}

static void tell_row(kn_text *t, int width, const char *name, const char *kind,
                     const kn_shape *shape, int64_t numbers, int64_t macs, const char *about) {
    char text[KN_SHAPE_TEXT], count[NUMBER_TEXT], cost[NUMBER_TEXT];
    column_text(t, name, width);
    kn_text_printf(t, " %-14s %-18s %12s %14s%s%s\n", kind, kn_shape_text(shape, text),
                   number_text(numbers, count), number_text(macs, cost),
                   about[0] != '\0' ? "  " : "", about);
}

static void tell_shape(kn_text *t, int width, const char *name, const kn_shape *shape) {
    char text[KN_SHAPE_TEXT];
    column_text(t, name, width);
    kn_text_printf(t, " %s\n", kn_shape_text(shape, text));
}

static void tell_shapes(const info *f, kn_text *t) {
    int width = name_width(f);
    tell_shape(t, width, "input", &f->in);
    for (size_t i = 0; i < f->layers; i++)
        tell_shape(t, width, f->layer[i].name, &f->layer[i].out);
}

static void tell(const info *f, kn_text *t) {
    int64_t batch = f->in.dim[0];
    int width = name_width(f);
    char text[KN_SHAPE_TEXT];
    kn_text_printf(t, "model    %s\n", f->m.arch);
    if (has_file(f))
        tell_file(f, t);
    kn_text_append(t, "\n", 1);
    column_text(t, "layer", width);
    kn_text_printf(t, " %-14s %-18s %12s %14s\n", "kind", "output", "numbers", "MACs a picture");
    column_text(t, "input", width);
    kn_text_printf(t, " %-14s %s\n", "", kn_shape_text(&f->in, text));
    for (size_t i = 0; i < f->layers; i++) {
        const layer *l = &f->layer[i];
        tell_row(t, width, l->name, l->module->cls->name, &l->out, l->numbers, l->macs / batch,
                 l->about);
    }
    tell_row(t, width, "total", "", &f->out, f->numbers, f->macs / batch, "");
}

/* ---- the command ---- */

static int open_model(info *f) {
    session *s = f->s;
    if (has_file(f))
        return model_open(s, &f->m);
    f->m.size = s->a.img_size > 0 ? s->a.img_size : CHAPTER_SIZE;
    snprintf(f->m.arch, sizeof f->m.arch, "%s", s->a.model);
    f->m.model = kn_model_empty(s->ctx, s->a.model, CHAPTER_CLASSES);
    return f->m.model != NULL ? EXIT_DONE : session_fail(s);
}

/* What DATA's first pictures, or zeros, are on their way through the model. */
static int look(info *f) {
    session *s = f->s;
    int file = has_file(f) ? 1 : 0, code;
    kn_grad_enable(s->ctx, false);
    kn_module_train(f->m.model, false);
    kn_tensor *x = info_batch(s, &f->m, s->a.words > file ? s->a.word[file] : NULL, &code);
    if (x != NULL && (gather(f, f->m.model, "") != KN_OK || forward(f, x) != KN_OK))
        code = session_fail(s);
    return code;
}

int info_run(session *s) {
    info f = {.s = s};
    int code = open_model(&f);
    if (code == EXIT_DONE)
        code = look(&f);
    if (code == EXIT_DONE) {
        kn_text t = {0};
        if (s->r.json)
            tell_json(&f, &t);
        else if (s->a.shapes)
            tell_shapes(&f, &t);
        else
            tell(&f, &t);
        report_out(&s->r, &t);
    }
    kn_mem_free(NULL, f.layer);
    kn_loaded_model_free(s->ctx, &f.m);
    return code;
}
