/* fingerprint.c - one number for all weights of a module: equal fingerprints, equal weights. */
#include "core/ctx.h"
#include "formats/sha256.h"
#include "nn/module.h"

#include <kiln/model_file.h>

#include <stdlib.h>
#include <string.h>

static int by_name(const void *a, const void *b) {
    return strcmp(((const kn_named *)a)->name, ((const kn_named *)b)->name);
}

kn_status kn_weights_sha256(kn_module *model, char hex[65]) {
    hex[0] = '\0';
    if (model == NULL)
        return KN_ERR_STATE;
    kn_ctx *ctx = kn_module_ctx(model);
    kn_named_list own;
    kn_status status = kn_module_state_list(model, &own);
    if (status != KN_OK)
        return status;
    qsort(own.item, (size_t)own.count, sizeof *own.item, by_name);
    kn_sha256 h;
    kn_sha256_begin(&h);
    for (int i = 0; i < own.count && status == KN_OK; i++) {
        const kn_tensor *t = kn_named_tensor(&own.item[i]);
        size_t bytes = kn_tensor_bytes(t);
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
