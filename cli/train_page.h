/* train_page.h - report.html: a training as one page for people. */
#ifndef KILN_CLI_TRAIN_PAGE_H
#define KILN_CLI_TRAIN_PAGE_H

#include "train.h"

typedef enum page_state {
    PAGE_TRAINING, /* a viewer loads it anew now and then */
    PAGE_DONE,
    PAGE_INTERRUPTED,
    PAGE_FAILED
} page_state;

/* Writes report.html into the run folder, whole or not at all. */
kn_status train_page_write(train *t, page_state state);

/* Of all epochs, and parts of them, whichever process ran them. */
double train_page_seconds(const train *t);

/* train_page_cb.c: takes the pictures of the first training batch for sheet.svg and the page, and
 * writes the page at the ends of epochs, not more often than every few seconds. */
kn_callback *train_page_cb(train *t);

#endif
