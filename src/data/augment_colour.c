/* augment_colour.c - brightness, contrast, saturation and erasing, in place. The first three blend
 * with another picture as Pillow's ImageEnhance does, to the byte: in float, truncated, with the
 * grey of ITU-R 601 in fixed point. */
#include "core/multiversion.h"
#include "data/augment.h"

#include <string.h>

static inline uint8_t blend(float from, float to, float factor) {
    float value = from + factor * (to - from);
    value = value > 0 ? value : 0;
    return (uint8_t)(int)(value < 255 ? value : 255);
}

static inline int grey_of(const uint8_t *pixel) {
    return (pixel[0] * 19595 + pixel[1] * 38470 + pixel[2] * 7471 + 0x8000) >> 16;
}

KN_MULTIVERSION static void blend_all(uint8_t *bytes, size_t count, float from, float factor) {
    for (size_t i = 0; i < count; i++)
        bytes[i] = blend(from, bytes[i], factor);
}

void kn_brightness(uint8_t *pixels, int h, int w, float factor) {
    blend_all(pixels, (size_t)h * (size_t)w * 3, 0, factor);
}

KN_MULTIVERSION static uint64_t sum_grey(const uint8_t *pixels, size_t count) {
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (unsigned)grey_of(pixels + i * 3);
    return sum;
}

void kn_contrast(uint8_t *pixels, int h, int w, float factor) {
    size_t count = (size_t)h * (size_t)w;
    int mean = (int)((double)sum_grey(pixels, count) / (double)count + 0.5);
    blend_all(pixels, count * 3, (float)mean, factor);
}

KN_MULTIVERSION static void saturate(uint8_t *pixels, size_t count, float factor) {
    for (size_t i = 0; i < count; i++, pixels += 3) {
        float grey = (float)grey_of(pixels);
        for (int c = 0; c < 3; c++)
            pixels[c] = blend(grey, pixels[c], factor);
    }
}

void kn_saturation(uint8_t *pixels, int h, int w, float factor) {
    saturate(pixels, (size_t)h * (size_t)w, factor);
}

/* ---- erasing ---- */

static void mean_colour(const uint8_t *pixels, size_t count, uint8_t mean[3]) {
    uint64_t sum[3] = {0};
    for (size_t i = 0; i < count; i++)
        for (int c = 0; c < 3; c++)
            sum[c] += pixels[i * 3 + (size_t)c];
    for (int c = 0; c < 3; c++)
        mean[c] = (uint8_t)((double)sum[c] / (double)count + 0.5);
}

/* Four bytes a draw; each row begins with a new one. */
static void noise(uint8_t *bytes, int count, kn_rng *rng) {
    uint32_t word = 0;
    for (int i = 0; i < count; i++, word >>= 8) {
        if (i % 4 == 0)
            word = kn_rng_u32(rng);
        bytes[i] = (uint8_t)word;
    }
}

void kn_erase(uint8_t *pixels, int h, int w, kn_rect rect, kn_erase_fill fill, kn_rng *rng) {
    uint8_t mean[3];
    if (fill == KN_ERASE_MEAN)
        mean_colour(pixels, (size_t)h * (size_t)w, mean);
    for (int y = rect.top; y < rect.top + rect.height; y++) {
        uint8_t *row = pixels + ((ptrdiff_t)y * w + rect.left) * 3;
        if (fill == KN_ERASE_NOISE)
            noise(row, rect.width * 3, rng);
        for (int x = 0; x < rect.width && fill == KN_ERASE_MEAN; x++)
            memcpy(row + (ptrdiff_t)x * 3, mean, 3);
    }
}
