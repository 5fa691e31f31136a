/* augment.h - the pieces of augmentation: what is drawn, apart from what is done with it, so that
 * each can be tested alone. */
#ifndef KN_DATA_AUGMENT_H
#define KN_DATA_AUGMENT_H

#include <kiln/augment.h>
#include <kiln/random.h>

/* The layer of each kind's stream. Part of the format of a reproducible run: append, never
 * renumber. */
typedef enum kn_augment_kind {
    KN_AUGMENT_CROP = 0,
    KN_AUGMENT_FLIP = 1,
    KN_AUGMENT_ROTATE = 2,
    KN_AUGMENT_COLOUR_ORDER = 3,
    KN_AUGMENT_BRIGHTNESS = 4,
    KN_AUGMENT_CONTRAST = 5,
    KN_AUGMENT_SATURATION = 6,
    KN_AUGMENT_ERASE = 7,
} kn_augment_kind;

/* Whether anything is drawn at all. */
bool kn_augment_varies(const kn_augment *a);

/* ---- drawing ---- */

typedef struct kn_rect {
    int left, top, width, height;
} kn_rect;

/* torchvision's RandomResizedCrop.get_params with scale (least, 1) and ratio (3/4, 4/3). */
kn_rect kn_draw_crop(kn_rng *rng, int h, int w, double least);

/* torchvision's RandomErasing.get_params; empty when ten tries found none. */
kn_rect kn_draw_erased(kn_rng *rng, int h, int w);

/* Whether this sample is mirrored in this epoch. */
bool kn_draw_flip(const kn_augment *a, kn_sample_id id);

/* ---- doing; pixels are u8 [h,w,3] ---- */

void kn_flip(uint8_t *pixels, int h, int w);

/* Counter-clockwise around the middle, from in to out. */
void kn_rotate(const uint8_t *in, int h, int w, double degrees, kn_edge edge, uint8_t *out);

/* Blends with black, with the mean grey, and with the picture's own grey; 1 changes nothing. */
void kn_brightness(uint8_t *pixels, int h, int w, float factor);
void kn_contrast(uint8_t *pixels, int h, int w, float factor);
void kn_saturation(uint8_t *pixels, int h, int w, float factor);

/* rng gives the noise. */
void kn_erase(uint8_t *pixels, int h, int w, kn_rect rect, kn_erase_fill fill, kn_rng *rng);

#endif
