/* bad_images.h - --on-bad-image skip: the pictures that were left out, and why. */
#ifndef KILN_CLI_BAD_IMAGES_H
#define KILN_CLI_BAD_IMAGES_H

#include "train.h"

/* Keeps bad_images.txt of the run folder up to date: a line for each, its path and what is wrong
 * with it, written as soon as one is met. */
kn_callback *bad_images_cb(train *t);

/* How many were met, by this process. */
int bad_images_count(const train *t);

/* How many bad_images.txt of the run names, those of before it was resumed, too; 0 if it cannot be
 * read. */
int bad_images_named(const train *t);

/* What was left out of an evaluation, a warning each. */
void bad_images_warn(session *s, const kn_loader *loader);

/* bad_images.txt of those, if there are any. */
kn_status bad_images_write(kn_ctx *ctx, const run_folder *run, const kn_loader *loader);

/* What --on-bad-image says. */
bool bad_images_skipped(const args *a);

#endif
