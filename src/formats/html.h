/* html.h - the parts of a page that needs no other file: headings, tables, charts, pictures. It
 * reads well on a phone and on a desk, light and dark. Whatever text a caller gives is escaped. */
#ifndef KN_FORMATS_HTML_H
#define KN_FORMATS_HTML_H

#include "core/text.h"

/* Appends s as text, also fit for an attribute in double quotes. What is not UTF-8 becomes U+FFFD.
 */
void kn_html_text(kn_text *t, const char *s);

/* The page up to its first section. subtitle may be NULL; refresh: seconds after which a viewer
 * loads it anew, 0: never. */
void kn_html_open(kn_text *t, const char *title, const char *subtitle, int refresh);
void kn_html_close(kn_text *t);

void kn_html_section(kn_text *t, const char *heading);
void kn_html_section_end(kn_text *t);

/* A few figures in large type: between open and close, any number of facts. */
void kn_html_facts_open(kn_text *t);
void kn_html_fact(kn_text *t, const char *name, const char *value);
void kn_html_facts_close(kn_text *t);

/* A table: numbers below heads, the marked row in bold. */
void kn_html_table_open(kn_text *t, const char *const *heads, int count);
/* The same where the first columns, 1 or 2, hold words. */
void kn_html_words_table_open(kn_text *t, const char *const *heads, int count, int words);
void kn_html_row(kn_text *t, const char *const *cells, int count, bool marked);
void kn_html_table_close(kn_text *t);

/* A list of names and values. marked: in bold. */
void kn_html_pairs_open(kn_text *t);
void kn_html_pair(kn_text *t, const char *name, const char *value, bool marked);
void kn_html_pairs_close(kn_text *t);

/* A sentence. */
void kn_html_note(kn_text *t, const char *s);

/* A command line, which may be copied. */
void kn_html_code(kn_text *t, const char *line);

/* A drawing (SVG as text) for a desk and one for a phone: the page shows the one that fits. A
 * drawing that is wider than the screen all the same can be moved. */
enum { KN_HTML_WIDE = 750, KN_HTML_NARROW = 334 }; /* pixels that they have */
void kn_html_drawing(kn_text *t, const kn_text *wide, const kn_text *narrow);

/* Pictures in a grid; uri as kn_sheet_picture appends it. */
void kn_html_grid_open(kn_text *t);
void kn_html_picture(kn_text *t, const char *uri, const char *caption);
void kn_html_grid_close(kn_text *t);

/* Pictures with what is to be said about each. over is laid over the picture, and shown by one
 * switch for all; NULL: there is none. */
typedef struct kn_html_card {
    const char *picture, *over; /* data URIs */
    const char *head;           /* in bold */
    const char *text;           /* and after it, marked as a mistake: */
    const char *wrong;          /* NULL: none */
    const char *note;
    const char *path; /* also what stands for the picture where it cannot be seen */
} kn_html_card;

void kn_html_cards_open(kn_text *t, const char *switch_label /* NULL: no switch */);
void kn_html_put_card(kn_text *t, const kn_html_card *card);
void kn_html_cards_close(kn_text *t);

#endif
