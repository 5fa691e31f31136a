/* sheet.c - see include/kiln/sheet.h. */
#include "formats/sheet.h"

#include "core/base64.h"
#include "core/file.h"
#include "formats/chart_parts.h"
#include "formats/picture.h"

#include <assert.h>
#include <math.h>

enum {
    COLUMNS = 8,
    MOST_COLUMNS = 64,
    MOST = 4096,
    SIDE = 96,   /* pixels of a picture on the sheet */
    KEPT = 144,  /* and inside: a sharp screen has more */
    COARSE = 48, /* smaller pictures show their pixels instead of a blur */
    GAP = 12,
    LINE = 16,
    QUALITY = 90,
};

/* ---- a picture ---- */

/* Both sides shrunk alike, so that the longer is KEPT. */
static void shrink(int *h, int *w) {
    int longer = *h > *w ? *h : *w;
    if (longer <= KEPT)
        return;
    *h = (int)fmax(1, round((double)*h * KEPT / longer));
    *w = (int)fmax(1, round((double)*w * KEPT / longer));
}

kn_status kn_sheet_picture(kn_text *t, kn_image_reader *r, const uint8_t *pixels, int h, int w,
                           kn_error *error) {
    int small_h = h, small_w = w;
    shrink(&small_h, &small_w);
    if (small_h != h || small_w != w) {
        uint8_t *small = kn_scratch_get(&r->pixels, (size_t)small_h * (size_t)small_w * 3, error);
        if (small == NULL)
            return KN_ERR_MEMORY;
        kn_status status = kn_image_resize(r, pixels, h, w, small, small_h, small_w, error);
        if (status != KN_OK)
            return status;
        pixels = small;
    }
    kn_text jpeg = {.allocator = t->allocator};
    kn_status status = kn_encode_jpeg("a sheet", pixels, small_h, small_w, QUALITY, &jpeg, error);
    if (status == KN_OK) {
        kn_text_printf(t, "data:image/jpeg;base64,");
        kn_text_base64(t, jpeg.data, jpeg.length);
    }
    kn_text_free(&jpeg);
    return status;
}

/* ---- the sheet ---- */

static kn_status write_tile(kn_text *t, const kn_sheet *s, kn_image_reader *r, int i, double x,
                            double y, kn_error *error) {
    const uint8_t *pixels = s->pixels + (size_t)i * (size_t)s->height * (size_t)s->width * 3;
    kn_text_printf(t, "<image");
    kn_chart_attribute(t, "x", x);
    kn_chart_attribute(t, "y", y);
    kn_text_printf(t, " width=\"%d\" height=\"%d\"%s href=\"", SIDE, SIDE,
                   s->height < COARSE && s->width < COARSE ? " style=\"image-rendering: pixelated\""
                                                           : "");
    kn_status status = kn_sheet_picture(t, r, pixels, s->height, s->width, error);
    kn_text_printf(t, "\"><title>");
    kn_chart_text(t, s->caption[i], KN_CHART_SMALL, INFINITY);
    kn_text_printf(t, "</title></image>\n");
    static const char middle[] = " text-anchor=\"middle\"";
    kn_chart_label(t, x + SIDE / 2.0, y + SIDE + LINE - 2, KN_CHART_SMALL, SIDE + GAP - 6, middle,
                   s->caption[i]);
    if (s->note != NULL)
        kn_chart_label(t, x + SIDE / 2.0, y + SIDE + 2 * LINE - 2, KN_CHART_SMALL, SIDE + GAP - 6,
                       " class=\"tick\" text-anchor=\"middle\"", s->note[i]);
    return status;
}

kn_status kn_sheet_svg(kn_text *t, const kn_sheet *s, kn_error *error) {
    int columns = s->columns != 0 ? s->columns : COLUMNS;
    if (columns > s->count)
        columns = s->count;
    int rows = (s->count + columns - 1) / columns, lines = s->note != NULL ? 2 : 1;
    int tile = SIDE + lines * LINE + GAP, top = s->title != NULL ? 46 : KN_CHART_EDGE;
    int width = 2 * KN_CHART_EDGE + columns * (SIDE + GAP) - GAP;
    kn_chart_open(t, s->title != NULL ? s->title : "pictures", width,
                  top + rows * tile - GAP + KN_CHART_EDGE);
    if (s->title != NULL)
        kn_chart_words(t, KN_CHART_EDGE, 28, KN_CHART_TITLE,
                       (width - 2 * KN_CHART_EDGE) / KN_CHART_BOLD, " font-weight=\"600\"",
                       s->title);
    kn_image_reader reader = {.allocator = t->allocator};
    kn_status status = KN_OK;
    for (int i = 0; i < s->count && status == KN_OK; i++) {
        int row = i / columns, column = i % columns;
        status = write_tile(t, s, &reader, i, KN_CHART_EDGE + column * (SIDE + GAP),
                            top + row * tile, error);
    }
    kn_image_reader_free(&reader);
    kn_text_printf(t, "</svg>\n");
    if (status == KN_OK && t->failed)
        status = kn_error_set(error, KN_ERR_MEMORY, "no memory to draw the sheet");
    return status;
}

kn_status kn_sheet_write(const kn_sheet *s, const char *path, const kn_allocator *allocator,
                         kn_error *error) {
    if (s->count < 1 || s->count > MOST || s->columns < 0 || s->columns > MOST_COLUMNS)
        return kn_error_set(error, KN_ERR_ARG,
                            "%s: a sheet of %d pictures in %d columns, expected 1 to %d in at most "
                            "%d",
                            path, s->count, s->columns, MOST, MOST_COLUMNS);
    assert(s->pixels != NULL && s->caption != NULL && s->height > 0 && s->width > 0);
    kn_text text = {.allocator = allocator};
    kn_status status = kn_sheet_svg(&text, s, error);
    if (status == KN_OK)
        status = kn_file_write(path, text.data, text.length, error);
    kn_text_free(&text);
    return status;
}
