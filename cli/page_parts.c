/* page_parts.c - see page_parts.h. */
#include "page_parts.h"

#include "formats/chart_parts.h"
#include "formats/html.h"

#include <math.h>
#include <stdio.h>

const char *page_real(double value, const char *format, char text[PAGE_CELL]) {
    if (isfinite(value))
        snprintf(text, PAGE_CELL, format, value);
    else
        snprintf(text, PAGE_CELL, "\xE2\x80\x93");
    return text;
}

void page_confusion(kn_text *t, const kn_confusion *c, char *const *name) {
    kn_matrix_chart chart = {.title = "Confusion",
                             .names = (const char *const *)name,
                             .counts = c->count,
                             .classes = c->classes,
                             .width = KN_HTML_WIDE};
    kn_text wide = {0}, narrow = {0};
    kn_matrix_chart_svg(&wide, &chart);
    chart.width = KN_HTML_NARROW;
    kn_matrix_chart_svg(&narrow, &chart);
    kn_html_section(t, NULL);
    kn_html_drawing(t, &wide, &narrow);
    kn_html_section_end(t);
    kn_text_free(&wide);
    kn_text_free(&narrow);
}
