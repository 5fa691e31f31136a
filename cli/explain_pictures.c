/* explain_pictures.c - the pictures with the highest losses, as the model saw them and with what
 * spoke for its prediction. A few at a time, so that many take no more memory than few. */
#include "explain.h"
#include "heat_picture.h"

#include "core/base64.h"
#include "formats/picture.h"

#include <kiln/grad_cam.h>

#include <math.h>

enum { AT_ONCE = 16, LONGER_SIDE = 240, QUALITY = 82 };

/* The pictures at hand. */
typedef struct few {
    explain *x;
    kn_image_reader reader;
    kn_scratch thumbnail;
    uint8_t *inputs; /* [AT_ONCE,size,size,3]: what the model sees */
    int32_t label[AT_ONCE], predicted[AT_ONCE];
    int64_t first; /* of x->place */
    int n;
    kn_heat heat; /* without values when there is none */
    kn_error error;
} few;

static const kn_labelled *item_of(const few *f, int i) {
    const evaluation *e = &f->x->e;
    return &e->split.valid[e->p.index[f->x->place[f->first + i]]];
}

/* ---- heat ---- */

static kn_status read_inputs(few *f) {
    const evaluation *e = &f->x->e;
    size_t each = (size_t)e->m.size * (size_t)e->m.size * 3;
    kn_status status = KN_OK;
    for (int i = 0; i < f->n && status == KN_OK; i++) {
        int64_t place = f->x->place[f->first + i];
        kn_sample sample = {.index = e->p.index[place],
                            .slot = f->inputs + (size_t)i * each,
                            .label = &f->label[i],
                            .reader = &f->reader,
                            .error = &f->error};
        status = e->set->cls->get(e->set, &sample);
        f->predicted[i] = e->p.predicted[place];
    }
    return status;
}

static kn_status find_heat(few *f) {
    evaluation *e = &f->x->e;
    kn_batch batch = {.n = f->n, .height = e->m.size, .width = e->m.size, .pixels = f->inputs};
    kn_heat_free(e->s->ctx, &f->heat);
    kn_status status = read_inputs(f);
    if (status != KN_OK)
        return kn_fail_with(e->s->ctx, &f->error);
    return kn_grad_cam(e->m.model, &e->m.norm, &batch, f->predicted, &f->heat);
}

/* ---- cards ---- */

/* The part of the picture that the model sees: all of it, in its own aspect, where it is squashed.
 */
static kn_status thumbnail(few *f, const char *path, int *h, int *w) {
    kn_resize_method method = f->x->e.m.resize;
    kn_image image;
    kn_status status = kn_image_read(&f->reader, path, &image, &f->error);
    if (status != KN_OK)
        return status;
    int longer = image.height > image.width ? image.height : image.width;
    *h = *w = longer < LONGER_SIDE ? longer : LONGER_SIDE;
    if (method == KN_RESIZE_SQUASH) {
        *w = (int)fmax(1, round((double)*w * image.width / longer));
        *h = (int)fmax(1, round((double)*h * image.height / longer));
    }
    uint8_t *pixels = kn_scratch_get(&f->thumbnail, (size_t)*h * (size_t)*w * 3, &f->error);
    if (pixels == NULL)
        return KN_ERR_MEMORY;
    return kn_image_fit(&f->reader, image.pixels, image.height, image.width, method, pixels, *h, *w,
                        &f->error);
}

static kn_status put_uri(few *f, const char *path, int h, int w, kn_text *out) {
    kn_text jpeg = {0};
    kn_status status = kn_encode_jpeg(path, f->thumbnail.data, h, w, QUALITY, &jpeg, &f->error);
    out->length = 0;
    if (status == KN_OK) {
        kn_text_printf(out, "data:image/jpeg;base64,");
        kn_text_base64(out, jpeg.data, jpeg.length);
    }
    kn_text_free(&jpeg);
    return status;
}

static kn_status put_card(few *f, int i, kn_text *picture, kn_text *heat) {
    const char *path = item_of(f, i)->path;
    int h, w;
    kn_status status = thumbnail(f, path, &h, &w);
    if (status == KN_OK)
        status = put_uri(f, path, h, w, picture);
    if (status == KN_OK && f->heat.values != NULL) {
        int cells = f->heat.height * f->heat.width;
        heat_picture(f->thumbnail.data, h, w, f->heat.values + (int64_t)i * cells, f->heat.height,
                     f->heat.width);
        status = put_uri(f, path, h, w, heat);
    }
    if (picture->failed || heat->failed)
        f->x->page.failed = true;
    else if (status == KN_OK)
        explain_card(f->x, f->x->place[f->first + i], picture,
                     f->heat.values != NULL ? heat : NULL);
    return kn_fail_with(f->x->e.s->ctx, &f->error);
}

static kn_status put_cards(few *f) {
    kn_text picture = {0}, heat = {0};
    kn_status status = KN_OK;
    for (; f->first < f->x->count && status == KN_OK; f->first += f->n) {
        f->n = f->x->count - f->first < AT_ONCE ? (int)(f->x->count - f->first) : AT_ONCE;
        status = find_heat(f);
        for (int i = 0; i < f->n && status == KN_OK; i++)
            status = put_card(f, i, &picture, &heat);
    }
    kn_text_free(&picture);
    kn_text_free(&heat);
    return status;
}

kn_status explain_pictures(explain *x) {
    kn_ctx *ctx = x->e.s->ctx;
    const args *a = &x->e.s->a;
    size_t each = (size_t)x->e.m.size * (size_t)x->e.m.size * 3;
    few f = {.x = x, .reader = {.max_memory = (size_t)a->max_image_memory << 20}};
    f.inputs = kn_calloc(ctx, AT_ONCE, each, "the pictures to explain");
    kn_status status = f.inputs != NULL ? put_cards(&f) : KN_ERR_MEMORY;
    kn_heat_free(ctx, &f.heat);
    kn_scratch_free(&f.thumbnail);
    kn_image_reader_free(&f.reader);
    kn_free(ctx, f.inputs);
    return status;
}
