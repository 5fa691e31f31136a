/* fuzz_checkpoint.c - the bytes of a run's last.ckpt. Where they hold a checksum it is made right
 * first: what is behind it must stand damage, too. */
#include "folder.h"
#include "target.h"

#include "core/file.h"
#include "formats/safetensors_parts.h"
#include "learner/checkpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEX = 64 };

static char *find(char *bytes, size_t size, const char *text) {
    size_t length = strlen(text);
    for (size_t i = 0; i + length <= size; i++)
        if (memcmp(bytes + i, text, length) == 0)
            return bytes + i;
    return NULL;
}

/* The checksum that these bytes should have, in the place of the one that they have. */
static void set_sum(char *bytes, size_t size) {
    kn_st_file *file;
    kn_error error = {0};
    char hex[HEX + 1];
    char *sum = find(bytes, size, KN_CHECKPOINT_SHA256);
    char *quote = sum != NULL ? find(sum, size - (size_t)(sum - bytes), "\\\"") : NULL;
    if (quote == NULL || size - (size_t)(quote - bytes) < HEX + 2)
        return;
    void *copy = malloc(size);
    if (copy == NULL)
        return;
    memcpy(copy, bytes, size);
    if (kn_st_parse(&file, "fuzz", copy, size, NULL, &error) != KN_OK)
        return;
    if (kn_checkpoint_sum(file->tensor, file->tensors, file->meta, file->metas, hex, &error) ==
        KN_OK)
        memcpy(quote + 2, hex, HEX);
    kn_st_close(file);
}

static void put_file(const char *bytes, size_t size) {
    FILE *f = fopen(fuzz_file, "wb");
    if (f == NULL || fwrite(bytes, 1, size, f) != size || fclose(f) != 0)
        exit(1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    kn_checkpoint *c = NULL;
    kn_error error = {0};
    fuzz_in_folder(kn_checkpoint_last);
    char *bytes = malloc(size + 1);
    if (bytes == NULL)
        return 0;
    memcpy(bytes, data, size);
    set_sum(bytes, size);
    put_file(bytes, size);
    free(bytes);
    if (kn_checkpoint_open(&c, fuzz_folder, NULL, &error) != KN_OK || c == NULL)
        return 0;
    kn_checkpoint_place place = kn_checkpoint_at(c);
    const char *arguments = kn_checkpoint_meta(c, "kiln.args");
    bool sane = place.epoch < place.epochs && place.batch <= place.batches &&
                (arguments == NULL || strlen(arguments) < size);
    kn_checkpoint_close(c);
    if (!sane)
        abort();
    return 0;
}
