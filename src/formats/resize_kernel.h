/* resize_kernel.h - the two loops that resizing spends its time in. */
#ifndef KN_FORMATS_RESIZE_KERNEL_H
#define KN_FORMATS_RESIZE_KERNEL_H

#include <stddef.h>
#include <stdint.h>

enum {
    KN_WEIGHT_BITS = 22, /* of a filter's weight, after the point */
    KN_LOW_BITS = 11,    /* of a weight in its lower half; the upper one then is below 2^13 */
    KN_TAP_LANES = 16,   /* taps are padded with zero weights to a multiple of this, */
    KN_FEW_TAPS = 8,     /* or to this many where that is enough */
};

/* Output i, of count, is the sum over k < taps of line[first[i] + k] * weight(i, k), rounded to a
 * byte, where weight is high * 2^KN_LOW_BITS + low. */
typedef struct kn_filter {
    int count, taps;
    const int *first;
    const int16_t *high, *low; /* [count,taps] */
} kn_filter;

typedef struct kn_resize_kernels {
    /* RGB pixels into a line of 16-bit numbers for each channel. */
    void (*split)(const uint8_t *in, int pixels, int16_t *red, int16_t *green, int16_t *blue);
    /* out[i * 3] for every output: one channel of a row. */
    void (*filter)(const kn_filter *f, const int16_t *line, uint8_t *out);
    /* out[x] for every x below bytes: the sum over k < taps of in[k * down + x] * weight(k),
     * rounded to a byte. Of an odd number of taps one more weight is read, which must be zero. */
    void (*add_rows)(const uint8_t *in, ptrdiff_t down, int taps, const int16_t *high,
                     const int16_t *low, ptrdiff_t bytes, uint8_t *out);
} kn_resize_kernels;

extern const kn_resize_kernels kn_resize_plain;

/* The processor's best; the same bytes from each. */
const kn_resize_kernels *kn_resize_best(void);

#endif
