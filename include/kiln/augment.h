/* augment.h - from a decoded picture to a sample: resizing, and random changes that leave the class
 * as it is, so that a network never sees quite the same picture twice.
 *
 * All of it works on bytes, on the loader's threads, and is a function: of (seed, epoch, sample)
 * and the options, through kn_rng_at(seed, KN_RANDOM_AUGMENT, kind, epoch, sample). Each kind draws
 * from a stream of its own, so turning one off does not move what another draws. The order is
 * fixed:
 *
 *   random resized crop, or else the resize method; mirror; rotation; brightness, contrast and
 *   saturation in an order of their own; random erasing. */
#ifndef KILN_AUGMENT_H
#define KILN_AUGMENT_H

#include <kiln/image.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What lies beyond a picture's edge. */
typedef enum kn_edge {
    KN_EDGE_REFLECT, /* the picture mirrored at its edge: c b a | a b c */
    KN_EDGE_REPEAT   /* the pixel at the edge: a a a | a b c */
} kn_edge;

typedef enum kn_erase_fill {
    KN_ERASE_MEAN, /* the picture's own mean colour */
    KN_ERASE_NOISE /* each byte uniform */
} kn_erase_fill;

/* Zero is off, kind by kind, and changes no byte. */
typedef struct kn_augment {
    /* Random resized crop (Szegedy et al., "Going Deeper with Convolutions", 2014; here
     * torchvision's): a part with at least this share of the picture's area, of an aspect between
     * 3/4 and 4/3, is resized to the sample. 0 < crop_min <= 1; the resize method is not used. */
    float crop_min;
    /* The probability of a mirror image, left for right. With flip_alternates only the first epoch
     * draws, and each later one shows the opposite of the one before (Jordan, "94% on CIFAR-10 in
     * 3.29 Seconds on a Single GPU", 2024): two epochs in a row never show the same side. */
    float flip;
    bool flip_alternates;
    /* With probability rotate_p by an angle uniform in +-rotate degrees around the middle,
     * bilinear. */
    float rotate, rotate_p;
    kn_edge rotate_edge;
    /* torchvision's ColorJitter: factors uniform in [max(0, 1 - x), 1 + x], in one of the six
     * orders; bytes equal those of Pillow's ImageEnhance. */
    float brightness, contrast, saturation;
    /* Random erasing (Zhong et al., 2017; here torchvision's): with this probability a rectangle of
     * 2% to 33% of the sample, of an aspect between 0.3 and 3.3, is filled. */
    float erase_p;
    kn_erase_fill erase_fill;
} kn_augment;

/* "none", "light", "standard", "strong"; NULL past the last. */
KN_API const char *kn_augment_preset_name(int i);

/* False when no preset has that name. */
KN_API bool kn_augment_preset(const char *name, kn_augment *out);

/* KN_ERR_ARG, naming the field, when a value is out of its range. */
KN_API kn_status kn_augment_check(const kn_augment *a, kn_error *error);

/* How a picture becomes a sample. */
typedef struct kn_image_opts {
    kn_resize_method resize;
    kn_augment augment; /* of training pictures; leave it zero for those to validate on */
    /* Large JPEGs are decoded smaller, though never below the sample's size (least_side of
     * kn_image_reader). Changes pixels a little; leave it for pictures to validate on. */
    bool fast_decode;
} kn_image_opts;

/* Which sample of a run: what its augmentation depends on. */
typedef struct kn_sample_id {
    uint64_t seed;
    uint32_t epoch, sample;
} kn_sample_id;

/* Makes a picture a sample u8 [out_h,out_w,3]. The options must pass kn_augment_check. Fails as
 * kn_image_resize does. */
KN_API kn_status kn_image_sample(kn_image_reader *r, const kn_image *image,
                                 const kn_image_opts *opts, kn_sample_id id, uint8_t *out,
                                 int out_h, int out_w, kn_error *error);

#ifdef __cplusplus
}
#endif
#endif
