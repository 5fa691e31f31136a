/* resize_axis.h - the weights of one axis of a resize: Pillow's bicubic, in fixed point. */
#ifndef KN_FORMATS_RESIZE_AXIS_H
#define KN_FORMATS_RESIZE_AXIS_H

#include <stdbool.h>
#include <stdint.h>

/* The input from `from` to `to` becomes out samples. Output i is the sum over k < used[i] of
 * input[begin + first[i] + k] * weight(i, k), where weight is high * 2^KN_LOW_BITS + low. */
typedef struct kn_resize_axis {
    int in, out;
    float from, to;
    int taps;            /* of every output, padding included */
    int begin, count;    /* the input samples that have a weight */
    int *first, *used;   /* [out] */
    int16_t *high, *low; /* [out,taps] */
} kn_resize_axis;

/* Where nothing but a shift by whole samples happens, there is nothing to filter. */
bool kn_resize_axis_copies(const kn_resize_axis *a);

/* Taps that every output needs, padded, when length samples become out. */
int kn_resize_axis_taps(float length, int out);

/* Fills first, used, high, low, begin and count; weights has room for the taps of one output. */
void kn_resize_axis_fill(kn_resize_axis *a, double *weights);

#endif
