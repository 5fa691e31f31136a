/* heat_picture.c - see heat_picture.h. */
#include "heat_picture.h"

#include <math.h>

/* From a place on the picture to the two cells beside it: a cell's value is that of its middle. */
static void cells(int at, int size, int map_size, int *low, int *high, float *part) {
    float place = ((float)at + 0.5F) * (float)map_size / (float)size - 0.5F;
    float start = floorf(place);
    *low = start < 0 ? 0 : (int)start;
    *high = (int)start + 1 < map_size ? (int)start + 1 : map_size - 1;
    *part = place - start;
}

/* Red, then yellow. */
static const float warm[2][3] = {{214, 40, 20}, {255, 226, 80}};

/* The picture turns grey, so that all colour is heat. */
static void tint(uint8_t *pixel, float heat) {
    float grey = 0.299F * (float)pixel[0] + 0.587F * (float)pixel[1] + 0.114F * (float)pixel[2];
    float cover = 0.6F * heat, light = 0.6F + 0.4F * heat;
    for (int c = 0; c < 3; c++) {
        float colour = warm[0][c] + heat * (warm[1][c] - warm[0][c]);
        float mixed = (1 - cover) * light * grey + cover * colour;
        pixel[c] = (uint8_t)lrintf(fminf(fmaxf(mixed, 0), 255));
    }
}

void heat_picture(uint8_t *pixels, int h, int w, const float *heat, int map_h, int map_w) {
    for (int y = 0; y < h; y++) {
        int top, bottom;
        float down;
        cells(y, h, map_h, &top, &bottom, &down);
        for (int x = 0; x < w; x++) {
            int left, right;
            float across;
            cells(x, w, map_w, &left, &right, &across);
            const float *above = heat + top * map_w, *below = heat + bottom * map_w;
            float upper = above[left] + across * (above[right] - above[left]);
            float lower = below[left] + across * (below[right] - below[left]);
            tint(pixels + ((int64_t)y * w + x) * 3, upper + down * (lower - upper));
        }
    }
}
