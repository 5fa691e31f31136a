/* sheet.h - pictures beside each other with a line or two under each, as one SVG that needs no
 * other file: what a batch looks like, or what a model got wrong. */
#ifndef KILN_SHEET_H
#define KILN_SHEET_H

#include <kiln/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kn_sheet {
    const char *title;     /* may be NULL */
    const uint8_t *pixels; /* [count,height,width,3]: RGB */
    int count, height, width;
    const char *const *caption; /* [count]: a line under each, shortened in its middle to fit */
    const char *const *note;    /* [count]: a second, paler line; may be NULL */
    int columns;                /* 1 to 64; 0: 8 */
} kn_sheet;

/* Writes the sheet to path, through a temporary name: after a failure an older file is intact.
 * Pictures are shown 96 pixels large, and held inside as JPEG of at most 144. Light and dark, as
 * the viewer prefers. KN_ERR_ARG for no picture, for more than 4096, and for columns out of range.
 */
KN_API KN_NODISCARD kn_status kn_sheet_write(const kn_sheet *sheet, const char *path,
                                             const kn_allocator *allocator, kn_error *error);

#ifdef __cplusplus
}
#endif
#endif
