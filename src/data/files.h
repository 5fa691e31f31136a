/* files.h - scanning only some folders of a root: what the split needs beyond the public scan. */
#ifndef KN_DATA_FILES_H
#define KN_DATA_FILES_H

#include "core/ctx.h"

#include <kiln/data.h>

/* Like kn_files_scan, but only below root/folders[i]; paths stay relative to root. A folder without
 * a picture is KN_ERR_DATA naming it. The last is the one whose folders are
 * classes: of it empty ones are noted. Here too kn_files_free must follow. */
kn_status kn_files_scan_folders(kn_ctx *ctx, const char *root, const char *const *folders,
                                int count, kn_files *out);

/* Whether a folder of that name is one of a set ("train", "Validation", "test", ...), not a class:
 * split.c. */
bool kn_is_set_name(const char *name);

#endif
