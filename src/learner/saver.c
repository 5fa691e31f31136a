/* saver.c - see saver.h. */
#include "learner/saver.h"

#include "core/json_text.h"
#include "formats/sha256.h"
#include "nn/module.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* ---- the metadata: each value a JSON text of its own ---- */

static void arch_text(kn_text *t, const kn_model_info *info) {
    kn_text_append(t, "{\"model\":", 9);
    kn_text_json_string(t, info->arch);
    kn_text_printf(t, ",\"classes\":%d}", info->vocab != NULL ? info->vocab->count : 0);
}

static void classes_text(kn_text *t, const kn_vocab *vocab) {
    kn_text_append(t, "[", 1);
    for (int i = 0; vocab != NULL && i < vocab->count; i++) {
        kn_text_append(t, ",", i > 0);
        kn_text_json_string(t, vocab->name[i]);
    }
    kn_text_append(t, "]", 1);
}

/* Nine digits bring an f32 back exactly. */
static void three(kn_text *t, const char *key, const float value[3]) {
    kn_text_printf(t, ",\"%s\":[", key);
    for (int c = 0; c < 3; c++) {
        kn_text_append(t, ",", c > 0);
        kn_text_number(t, value[c], 9);
    }
    kn_text_append(t, "]", 1);
}

static void input_text(kn_text *t, const kn_model_info *info) {
    kn_text_printf(t, "{\"size\":%d,\"resize\":\"%s\"", info->size, kn_resize_name(info->resize));
    three(t, "mean", info->norm->mean);
    three(t, "std", info->norm->std);
    kn_text_printf(t, ",\"batch_size\":%d}", info->batch_size);
}

/* Seventeen digits bring a double back exactly; JSON's readers take no whole number as large as a
 * seed may be. */
static void held_out_text(kn_text *t, const kn_held_out *h) {
    kn_text_printf(t, "{\"valid_pct\":");
    kn_text_number(t, h->valid_pct, 17);
    kn_text_printf(t, ",\"seed\":\"%" PRIu64 "\",\"files_sha256\":\"%s\"}", h->seed,
                   h->files_sha256);
}

static bool make_texts(kn_saver *s) {
    kn_text *texts[] = {&s->arch, &s->classes, &s->input, &s->held_out};
    for (size_t i = 0; i < KN_COUNT(texts); i++)
        texts[i]->length = 0; /* the room of the time before stays */
    arch_text(&s->arch, s->info);
    classes_text(&s->classes, s->info->vocab);
    input_text(&s->input, s->info);
    if (kn_sha256_is_hex(s->info->held_out.files_sha256)) /* else it is not written */
        held_out_text(&s->held_out, &s->info->held_out);
    return !s->arch.failed && !s->classes.failed && !s->input.failed && !s->held_out.failed;
}

/* ---- an allocator over memory taken before ---- */

/* Requests that no longer fit go to the context's allocator. */
static void *arena_alloc(void *user, size_t bytes, size_t align) {
    kn_saver *s = user;
    size_t at = (s->arena_used + align - 1) / align * align;
    if (at > s->arena_size || bytes > s->arena_size - at)
        return kn_mem_alloc(&s->ctx->allocator, bytes);
    s->arena_used = at + bytes;
    return s->arena + at;
}

static void arena_free(void *user, void *p) {
    kn_saver *s = user;
    if ((unsigned char *)p < s->arena || (unsigned char *)p >= s->arena + s->arena_size)
        kn_mem_free(&s->ctx->allocator, p);
}

/* ---- the saver ---- */

kn_status kn_saver_init(kn_saver *s, kn_module *model, const kn_model_info *info) {
    kn_ctx *ctx = kn_module_ctx(model);
    *s = (kn_saver){.ctx = ctx, .model = model, .info = info, .changes = kn_module_changes(model)};
    s->arch.allocator = s->classes.allocator = s->input.allocator = s->held_out.allocator =
        &ctx->allocator;
    kn_status status = kn_module_state_list(model, &s->list);
    if (status != KN_OK)
        return status;
    size_t bytes = 0, names = 0;
    for (int i = 0; i < s->list.count; i++) {
        bytes += kn_tensor_bytes(kn_named_tensor(&s->list.item[i]));
        names += strlen(s->list.item[i].name) + sizeof(char *);
    }
    s->entry = kn_calloc(ctx, (size_t)s->list.count + 1, sizeof *s->entry, "saving a model");
    s->data = kn_alloc(ctx, bytes + 1, "saving a model");
    if (s->entry == NULL || s->data == NULL || !make_texts(s))
        return kn_fail(ctx, KN_ERR_MEMORY, "out of memory: saving a model");
    /* The header's text doubles as it grows: the last three sizes together are under four times it.
     */
    size_t header = names + (size_t)s->list.count * 160 + s->arch.length + s->classes.length * 2 +
                    s->input.length + s->held_out.length + 1024;
    s->arena_size = header * 8;
    s->arena = kn_alloc(ctx, s->arena_size, "saving a model");
    return s->arena != NULL ? KN_OK : KN_ERR_MEMORY;
}

static kn_status check_names(const kn_saver *s, const char *path) {
    const kn_model_info *info = s->info;
    const kn_loaded_model *loaded = NULL;
    if (info->arch != NULL && strlen(info->arch) >= sizeof loaded->arch)
        return kn_fail(s->ctx, KN_ERR_ARG, "%s: the model's name has %zu bytes, expected below %zu",
                       path, strlen(info->arch), sizeof loaded->arch);
    for (int i = 1; i < info->vocab->count; i++)
        if (strcmp(info->vocab->name[i - 1], info->vocab->name[i]) >= 0)
            return kn_fail(s->ctx, KN_ERR_ARG,
                           "%s: a model file needs classes in order, each once; \"%s\" stands "
                           "before \"%s\"",
                           path, info->vocab->name[i - 1], info->vocab->name[i]);
    return KN_OK;
}

static kn_status check_held_out(const kn_saver *s, const char *path) {
    const kn_held_out *h = &s->info->held_out;
    if (h->valid_pct == 0 ||
        (h->valid_pct > 0 && h->valid_pct < 100 && kn_sha256_is_hex(h->files_sha256)))
        return KN_OK;
    return kn_fail(
        s->ctx, KN_ERR_ARG,
        "%s: of pictures held out, a model file takes a percentage above 0 and below 100 "
        "(%g), and a SHA-256 of 64 hex digits",
        path, h->valid_pct);
}

/* What kn_model_load would refuse is not written. */
static kn_status check_info(const kn_saver *s, const char *path) {
    const kn_model_info *info = s->info;
    bool good = info->size >= 1 && info->size <= KN_MODEL_MAX_SIZE && info->batch_size >= 1 &&
                info->batch_size <= KN_MODEL_MAX_BATCH && info->vocab != NULL &&
                info->vocab->count >= 1;
    for (int c = 0; c < 3; c++)
        good = good && isfinite(info->norm->mean[c]) && isfinite(info->norm->std[c]) &&
               info->norm->std[c] > 0;
    kn_status status = good ? check_names(s, path) : KN_OK;
    if (good)
        return status == KN_OK ? check_held_out(s, path) : status;
    return kn_fail(
        s->ctx, KN_ERR_ARG,
        "%s: a model file needs classes, a size (%d) and a batch size (%d) of 1 or more, "
        "and a measured normalisation",
        path, info->size, info->batch_size);
}

kn_status kn_saver_write(kn_saver *s, const char *path) {
    kn_status checked = check_info(s, path);
    if (checked != KN_OK)
        return checked;
    unsigned char *data = s->data;
    for (int i = 0; i < s->list.count; i++) {
        const kn_tensor *t = kn_named_tensor(&s->list.item[i]);
        size_t bytes = kn_tensor_bytes(t);
        kn_status status = kn_tensor_read(s->ctx, t, data, bytes);
        if (status != KN_OK)
            return status;
        s->entry[i] = (kn_st_entry){.name = s->list.item[i].name,
                                    .dtype = kn_tensor_dtype(t),
                                    .shape = *kn_tensor_shape(t),
                                    .data = data};
        data += bytes;
    }
    if (!make_texts(s))
        return kn_fail(s->ctx, KN_ERR_MEMORY, "%s: no memory to write it", path);
    const kn_st_meta meta[] = {{"kiln.version", "\"" KN_VERSION "\""},
                               {"kiln.arch", s->arch.data},
                               {"kiln.classes", s->classes.data},
                               {"kiln.input", s->input.data},
                               {"kiln.held_out", s->held_out.data}};
    int metas = (int)KN_COUNT(meta) - (s->info->held_out.valid_pct == 0);
    kn_allocator arena = {.alloc = arena_alloc, .free = arena_free, .user = s};
    s->arena_used = 0;
    return kn_st_write(path, s->entry, s->list.count, meta, metas, &arena, &s->ctx->error);
}

void kn_saver_free(kn_saver *s) {
    if (s->ctx == NULL)
        return;
    kn_named_free(s->ctx, &s->list);
    kn_free(s->ctx, s->entry);
    kn_free(s->ctx, s->data);
    kn_free(s->ctx, s->arena);
    kn_text_free(&s->arch);
    kn_text_free(&s->classes);
    kn_text_free(&s->input);
    kn_text_free(&s->held_out);
    *s = (kn_saver){0};
}

kn_status kn_model_save(kn_module *model, const kn_model_info *info, const char *path) {
    kn_saver s;
    if (model == NULL)
        return KN_ERR_STATE;
    kn_status status = kn_saver_init(&s, model, info);
    if (status == KN_OK)
        status = kn_saver_write(&s, path);
    kn_saver_free(&s);
    return status;
}
