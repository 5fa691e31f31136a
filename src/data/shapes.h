/* shapes.h - one picture of the shapes data set. */
#ifndef KN_DATA_SHAPES_H
#define KN_DATA_SHAPES_H

#include <kiln/data.h>

/* Sorted bytewise, so that a figure's number is its class in the vocab. */
const char *kn_shapes_class(int figure);

/* Draws picture index of a split (0: training, 1: validation) into u8
 * [KN_SHAPES_SIZE,KN_SHAPES_SIZE,3]: a function of its arguments alone. */
void kn_shapes_draw(uint64_t seed, uint32_t split, uint32_t index, int figure, uint8_t *pixels);

#endif
