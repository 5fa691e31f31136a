/* predict_files.h - the pictures that predict was given, as a dataset that goes on where one cannot
 * be read. */
#ifndef KILN_CLI_PREDICT_FILES_H
#define KILN_CLI_PREDICT_FILES_H

#include <kiln/data.h>

typedef struct predict_item {
    const char *path; /* borrowed from argv or from a scan */
    char *error;      /* why it could not be read; NULL: it could, or was not yet tried */
} predict_item;

typedef struct predict_files {
    kn_dataset base; /* a sample that cannot be read is black, and its item says why */
    kn_ctx *ctx;
    kn_image_opts opts;
    predict_item *item;
    size_t count, room;
    kn_files *scan; /* [scans]: what the folders hold */
    size_t scans, scan_room;
} predict_files;

/* Lists the words, folders in sorted order; one that cannot be listed is an item with an error.
 * opts: without augmentation. KN_ERR_MEMORY alone fails. predict_files_free must follow in any
 * case. */
kn_status predict_files_open(predict_files *f, kn_ctx *ctx, char *const *word, int words, int size,
                             kn_image_opts opts);
void predict_files_free(predict_files *f);

#endif
