/* fuzz_safetensors.c - the bytes of a model file. */
#include "target.h"

#include "formats/safetensors_parts.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    kn_st_file *file;
    kn_error error = {0};
    void *bytes = malloc(size > 0 ? size : 1); /* which the reader takes */
    if (bytes == NULL)
        return 0;
    memcpy(bytes, data, size);
    if (kn_st_parse(&file, "fuzz", bytes, size, NULL, &error) != KN_OK)
        return 0;
    unsigned sum = 0;
    for (int i = 0; i < file->tensors; i++) { /* every byte is there */
        const unsigned char *at = file->tensor[i].data;
        size_t count =
            (size_t)kn_shape_numel(&file->tensor[i].shape) * kn_dtype_size(file->tensor[i].dtype);
        for (size_t k = 0; k < count; k++)
            sum += at[k];
    }
    for (int i = 0; i < file->metas; i++)
        sum += (unsigned)strlen(file->meta[i].key) + (unsigned)strlen(file->meta[i].value);
    kn_st_close(file);
    return sum == 1 ? -1 : 0;
}
