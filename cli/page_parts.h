/* page_parts.h - what the pages of train and explain have in common. */
#ifndef KILN_CLI_PAGE_PARTS_H
#define KILN_CLI_PAGE_PARTS_H

#include "core/text.h"

#include <kiln/metrics.h>

enum { PAGE_CELL = 64 }; /* bytes of a short text */

/* The value as printf's format, of one double, has it; what is no number is a dash. Returns text.
 */
const char *page_real(double value, const char *format, char text[PAGE_CELL]);

/* The confusion matrix, drawn for wide and for narrow windows; name is [classes]. */
void page_confusion(kn_text *t, const kn_confusion *c, char *const *name);

#endif
