/* weights.c - filling a module from a file of tensors, and the fingerprint of its weights. */
#include "core/text.h"
#include "formats/sha256.h"
#include "learner/weights.h"

#include <kiln/model_file.h>
#include <kiln/safetensors.h>

#include <stdlib.h>
#include <string.h>

static kn_tensor *tensor_of(const kn_named *named) {
    return named->param != NULL ? kn_param_value(named->param) : named->buffer;
}

/* ---- loading ---- */

/* Appends "; word name" for everything that does not fit. */
static void differences(kn_text *t, const kn_named_list *own, const kn_st_file *file) {
    char a[KN_SHAPE_TEXT], b[KN_SHAPE_TEXT];
    for (int i = 0; i < own->count; i++) {
        const kn_tensor *tensor = tensor_of(&own->item[i]);
        const kn_st_entry *e = kn_st_find(file, own->item[i].name);
        if (e == NULL)
            kn_text_printf(t, "; missing %s", own->item[i].name);
        else if (!kn_shape_equal(&e->shape, kn_tensor_shape(tensor)) ||
                 e->dtype != kn_tensor_dtype(tensor))
            kn_text_printf(t, "; %s is %s %s, expected %s %s", own->item[i].name,
                           kn_dtype_name(e->dtype), kn_shape_text(&e->shape, a),
                           kn_dtype_name(kn_tensor_dtype(tensor)),
                           kn_shape_text(kn_tensor_shape(tensor), b));
    }
    for (int i = 0; i < file->tensors; i++) {
        bool known = false;
        for (int j = 0; j < own->count && !known; j++)
            known = strcmp(own->item[j].name, file->tensor[i].name) == 0;
        if (!known)
            kn_text_printf(t, "; unknown %s", file->tensor[i].name);
    }
}

static kn_status fill(kn_ctx *ctx, const kn_named_list *own, const kn_st_file *file) {
    kn_status status = KN_OK;
    for (int i = 0; i < own->count && status == KN_OK; i++) {
        kn_tensor *t = tensor_of(&own->item[i]);
        size_t bytes = (size_t)kn_tensor_numel(t) * kn_dtype_size(kn_tensor_dtype(t));
        status = kn_tensor_write(ctx, t, kn_st_find(file, own->item[i].name)->data, bytes);
    }
    return status;
}

kn_status kn_weights_fill(kn_module *model, const kn_st_file *file, const char *path) {
    kn_ctx *ctx = kn_module_ctx(model);
    kn_named_list own;
    kn_status status = kn_module_state_list(model, &own);
    if (status != KN_OK)
        return status;
    kn_text text = {.allocator = &ctx->allocator};
    differences(&text, &own, file);
    if (text.failed)
        status = kn_fail(ctx, KN_ERR_MEMORY, "%s: no memory to compare it with the model", path);
    else if (text.length > 0)
        status = kn_fail(ctx, KN_ERR_FORMAT, "%s: does not fit the model: %s", path, text.data + 2);
    else
        status = fill(ctx, &own, file);
    kn_text_free(&text);
    kn_named_free(ctx, &own);
    return status;
}

kn_status kn_weights_load(kn_module *model, const char *path) {
    kn_ctx *ctx = kn_module_ctx(model);
    kn_st_file *file;
    kn_error error = {0};
    if (kn_st_open(&file, path, &ctx->allocator, &error) != KN_OK)
        return kn_fail_with(ctx, &error);
    kn_status status = kn_weights_fill(model, file, path);
    kn_st_close(file);
    return status;
}

/* ---- fingerprint ---- */

static int by_name(const void *a, const void *b) {
    return strcmp(((const kn_named *)a)->name, ((const kn_named *)b)->name);
}

kn_status kn_weights_sha256(kn_module *model, char hex[65]) {
    kn_ctx *ctx = kn_module_ctx(model);
    kn_named_list own;
    hex[0] = '\0';
    kn_status status = kn_module_state_list(model, &own);
    if (status != KN_OK)
        return status;
    qsort(own.item, (size_t)own.count, sizeof *own.item, by_name);
    kn_sha256 h;
    kn_sha256_begin(&h);
    for (int i = 0; i < own.count && status == KN_OK; i++) {
        const kn_tensor *t = tensor_of(&own.item[i]);
        size_t bytes = (size_t)kn_tensor_numel(t) * kn_dtype_size(kn_tensor_dtype(t));
        void *data = kn_alloc(ctx, bytes + 1, "a fingerprint");
        status = data == NULL ? KN_ERR_MEMORY : kn_tensor_read(ctx, t, data, bytes);
        if (status == KN_OK)
            kn_sha256_add(&h, data, bytes);
        kn_free(ctx, data);
    }
    kn_status hashed = kn_sha256_end(&h, hex, &ctx->error);
    kn_named_free(ctx, &own);
    return status != KN_OK ? status : hashed;
}
