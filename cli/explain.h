/* explain.h - the page of kiln explain, part by part. */
#ifndef KILN_CLI_EXPLAIN_H
#define KILN_CLI_EXPLAIN_H

#include "core/text.h"
#include "evaluation.h"

typedef struct explain {
    evaluation e;
    int64_t *place; /* [count] in e.p: the top losses, falling */
    int64_t count;
    kn_text page; /* the HTML so far */
} explain;

/* explain_page.c: all above the pictures, and the end. */
void explain_open_page(explain *x);
void explain_close_page(explain *x);

/* The start of a picture's card, up to the caption, with room for two data URIs between: the
 * picture, and with heat the same under its heat map. */
void explain_card(explain *x, int64_t place, const kn_text *picture, const kn_text *heat);

/* explain_pictures.c: a card for each of the top losses. */
kn_status explain_pictures(explain *x);

#endif
