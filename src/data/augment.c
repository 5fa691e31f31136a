/* augment.c - a picture becomes a sample: each kind of augmentation draws, then acts. */
#include "data/augment.h"

#include "core/ctx.h"
#include "formats/picture.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* ---- presets ---- */

static const struct {
    const char *name;
    kn_augment augment;
} presets[] = {
    {.name = "none"},
    /* For data that is already much alike, or few epochs. */
    {"light", {.crop_min = 0.6F, .flip = 0.5F, .flip_alternates = true}},
    /* What small residual networks are usually trained with at low resolution. */
    {"standard", {.crop_min = 0.35F, .flip = 0.5F, .flip_alternates = true}},
    /* For many epochs or few pictures. */
    {"strong",
     {.crop_min = 0.35F,
      .flip = 0.5F,
      .flip_alternates = true,
      .rotate = 10,
      .rotate_p = 0.75F,
      .brightness = 0.3F,
      .contrast = 0.3F,
      .saturation = 0.3F,
      .erase_p = 0.25F}},
};

const char *kn_augment_preset_name(int i) {
    return i >= 0 && (size_t)i < KN_COUNT(presets) ? presets[i].name : NULL;
}

bool kn_augment_preset(const char *name, kn_augment *out) {
    for (size_t i = 0; i < KN_COUNT(presets); i++)
        if (strcmp(name, presets[i].name) == 0) {
            *out = presets[i].augment;
            return true;
        }
    return false;
}

bool kn_augment_varies(const kn_augment *a) {
    return a->crop_min > 0 || a->flip > 0 || (a->rotate > 0 && a->rotate_p > 0) ||
           a->brightness > 0 || a->contrast > 0 || a->saturation > 0 || a->erase_p > 0;
}

kn_status kn_augment_check(const kn_augment *a, kn_error *error) {
    const struct {
        const char *name;
        float value, most;
    } fields[] = {
        {"crop_min", a->crop_min, 1},      {"flip", a->flip, 1},
        {"rotate", a->rotate, 180},        {"rotate_p", a->rotate_p, 1},
        {"brightness", a->brightness, 10}, {"contrast", a->contrast, 10},
        {"saturation", a->saturation, 10}, {"erase_p", a->erase_p, 1},
    };
    assert(a->rotate_edge >= 0 && a->rotate_edge <= KN_EDGE_REPEAT);
    assert(a->erase_fill >= 0 && a->erase_fill <= KN_ERASE_NOISE);
    for (size_t i = 0; i < KN_COUNT(fields); i++)
        if (!(fields[i].value >= 0 && fields[i].value <= fields[i].most))
            return kn_error_set(error, KN_ERR_ARG, "augmentation: %s is %g, expected 0 to %g",
                                fields[i].name, (double)fields[i].value, (double)fields[i].most);
    return KN_OK;
}

/* ---- a sample ---- */

static kn_rng stream(kn_sample_id id, kn_augment_kind kind) {
    return kn_rng_at(id.seed, KN_RANDOM_AUGMENT, (uint16_t)kind, id.epoch, id.sample);
}

bool kn_draw_flip(const kn_augment *a, kn_sample_id id) {
    kn_sample_id drawn = id;
    if (a->flip_alternates)
        drawn.epoch = 0;
    kn_rng rng = stream(drawn, KN_AUGMENT_FLIP);
    bool flipped = kn_rng_uniform(&rng) < a->flip;
    bool opposite = a->flip_alternates && a->flip > 0 && id.epoch % 2 == 1;
    return flipped != opposite;
}

static kn_status resize(kn_image_reader *r, const kn_image *image, const kn_image_opts *opts,
                        kn_sample_id id, uint8_t *out, int out_h, int out_w, kn_error *error) {
    int h = image->height, w = image->width;
    if (opts->augment.crop_min == 0)
        return kn_image_fit(r, image->pixels, h, w, opts->resize, out, out_h, out_w, error);
    kn_rng rng = stream(id, KN_AUGMENT_CROP);
    kn_rect c = kn_draw_crop(&rng, h, w, (double)opts->augment.crop_min);
    kn_box box = {(float)c.left, (float)c.top, (float)(c.left + c.width),
                  (float)(c.top + c.height)};
    return kn_image_resize_box(r, image->pixels, h, w, box, out, out_h, out_w, error);
}

static kn_status rotate(kn_image_reader *r, const kn_augment *a, kn_sample_id id, uint8_t *pixels,
                        int h, int w, kn_error *error) {
    size_t bytes = (size_t)h * (size_t)w * 3;
    kn_rng rng = stream(id, KN_AUGMENT_ROTATE);
    if (a->rotate == 0 || kn_rng_uniform(&rng) >= a->rotate_p)
        return KN_OK;
    double degrees = (2 * (double)kn_rng_uniform(&rng) - 1) * (double)a->rotate;
    uint8_t *copy = kn_reader_room(r, &r->augment, bytes);
    if (copy == NULL)
        return kn_error_set(error, KN_ERR_MEMORY, "rotation: out of memory: %zu bytes", bytes);
    memcpy(copy, pixels, bytes);
    kn_rotate(copy, h, w, degrees, a->rotate_edge, pixels);
    return KN_OK;
}

static float draw_factor(kn_sample_id id, kn_augment_kind kind, float strength) {
    kn_rng rng = stream(id, kind);
    float least = strength < 1 ? 1 - strength : 0;
    return least + (1 + strength - least) * kn_rng_uniform(&rng);
}

static void colour(const kn_augment *a, kn_sample_id id, uint8_t *pixels, int h, int w) {
    static const uint8_t orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                         {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    static void (*const change[3])(uint8_t *, int, int, float) = {kn_brightness, kn_contrast,
                                                                  kn_saturation};
    const float strength[3] = {a->brightness, a->contrast, a->saturation};
    kn_rng rng = stream(id, KN_AUGMENT_COLOUR_ORDER);
    const uint8_t *order = orders[kn_rng_below(&rng, 6)];
    for (int i = 0; i < 3; i++) {
        int k = order[i];
        if (strength[k] > 0)
            change[k](pixels, h, w,
                      draw_factor(id, (kn_augment_kind)(KN_AUGMENT_BRIGHTNESS + k), strength[k]));
    }
}

static void erase(const kn_augment *a, kn_sample_id id, uint8_t *pixels, int h, int w) {
    kn_rng rng = stream(id, KN_AUGMENT_ERASE);
    if (kn_rng_uniform(&rng) >= a->erase_p)
        return;
    kn_rect rect = kn_draw_erased(&rng, h, w);
    kn_erase(pixels, h, w, rect, a->erase_fill, &rng);
}

kn_status kn_image_sample(kn_image_reader *r, const kn_image *image, const kn_image_opts *opts,
                          kn_sample_id id, uint8_t *out, int out_h, int out_w, kn_error *error) {
    const kn_augment *a = &opts->augment;
    kn_status status = resize(r, image, opts, id, out, out_h, out_w, error);
    if (status != KN_OK)
        return status;
    if (kn_draw_flip(a, id))
        kn_flip(out, out_h, out_w);
    status = rotate(r, a, id, out, out_h, out_w, error);
    if (status != KN_OK)
        return status;
    colour(a, id, out, out_h, out_w);
    erase(a, id, out, out_h, out_w);
    return KN_OK;
}
