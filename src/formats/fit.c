/* fit.c - the three ways to make a picture of another aspect a given size. The formulas are those
 * of Pillow's ImageOps.fit and ImageOps.pad, and rint rounds halves to even as Python's round does.
 */
#include "core/ctx.h"

#include <kiln/image.h>

#include <math.h>
#include <string.h>

static const char *const names[] = {"squash", "crop", "pad"};

const char *kn_resize_name(kn_resize_method method) {
    return (size_t)method < KN_COUNT(names) ? names[method] : NULL;
}

bool kn_resize_find(const char *name, kn_resize_method *method) {
    for (size_t i = 0; i < KN_COUNT(names); i++)
        if (strcmp(name, names[i]) == 0) {
            *method = (kn_resize_method)i;
            return true;
        }
    return false;
}

/* The largest box of the output's aspect, from the middle. */
static kn_box crop_box(int h, int w, int out_h, int out_w) {
    double aspect = (double)out_w / out_h, width = w, height = h;
    if (width / height > aspect)
        width = aspect * height;
    else if (width / height < aspect)
        height = width / aspect;
    double left = (w - width) * 0.5, top = (h - height) * 0.5;
    return (kn_box){(float)left, (float)top, (float)(left + width), (float)(top + height)};
}

static int side(double exact) {
    return exact < 1 ? 1 : (int)rint(exact);
}

/* From [h,w,3], closely packed at the start of out, to its place in [out_h,out_w,3]. From the last
 * row up, so that no row is overwritten before it moved. */
static void centre(uint8_t *out, int h, int w, int out_h, int out_w) {
    size_t row = (size_t)w * 3, out_row = (size_t)out_w * 3;
    size_t top = (size_t)rint((out_h - h) * 0.5), left = (size_t)rint((out_w - w) * 0.5) * 3;
    for (size_t y = (size_t)h; y-- > 0;) {
        uint8_t *to = out + (top + y) * out_row;
        memmove(to + left, out + y * row, row);
        memset(to + left + row, 0, out_row - left - row);
        memset(to, 0, left);
    }
    memset(out, 0, top * out_row);
    memset(out + (top + (size_t)h) * out_row, 0, ((size_t)(out_h - h) - top) * out_row);
}

static kn_status pad(kn_image_reader *r, const uint8_t *pixels, int h, int w, uint8_t *out,
                     int out_h, int out_w, kn_error *error) {
    double aspect = (double)w / h;
    int new_h = out_h, new_w = out_w;
    if (aspect > (double)out_w / out_h)
        new_h = side((double)h / w * out_w);
    else if (aspect < (double)out_w / out_h)
        new_w = side(aspect * out_h);
    kn_status status = kn_image_resize(r, pixels, h, w, out, new_h, new_w, error);
    if (status == KN_OK)
        centre(out, new_h, new_w, out_h, out_w);
    return status;
}

kn_status kn_image_fit(kn_image_reader *r, const uint8_t *pixels, int h, int w,
                       kn_resize_method method, uint8_t *out, int out_h, int out_w,
                       kn_error *error) {
    bool sized = h >= 1 && w >= 1 && out_h >= 1 && out_w >= 1;
    if (method == KN_RESIZE_CROP && sized)
        return kn_image_resize_box(r, pixels, h, w, crop_box(h, w, out_h, out_w), out, out_h, out_w,
                                   error);
    if (method == KN_RESIZE_PAD && sized)
        return pad(r, pixels, h, w, out, out_h, out_w, error);
    return kn_image_resize(r, pixels, h, w, out, out_h, out_w, error); /* refuses bad sizes, too */
}
