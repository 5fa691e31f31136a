/* resume.c - see resume.h. */
#include "resume.h"

#include "core/file.h"
#include "interrupt.h"
#include "json_line.h"
#include "shell_word.h"

#include "core/ctx.h"
#include "formats/json.h"
#include "tensor/tensor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char key_args[] = "kiln.args", key_data[] = "kiln.data", key_device[] = "kiln.device";
static const char list_file[] = "pictures.txt";

/* ---- from the run folder ---- */

/* Its words are those of the checkpoint; before the first, those that the folder was made with. */
static int open_words(session *s) {
    struct resume *r = s->resume;
    char *text = NULL;
    kn_error error = {0};
    const char *words = NULL, *from = r->run.path;
    if (r->checkpoint != NULL) {
        words = kn_checkpoint_meta(r->checkpoint, key_args);
        from = kn_checkpoint_path(r->checkpoint);
    } else if (run_folder_text(&r->run, "args.json", &text, &error) == KN_OK)
        words = text;
    if (words != NULL)
        r->json = resume_args_read(words, from, &s->a, &r->words, &error);
    else if (error.status == KN_OK)
        kn_error_set(&error, KN_ERR_ARG,
                     "%s: no training to go on with: it holds neither a checkpoint's arguments nor "
                     "args.json",
                     from);
    free(text);
    return r->json != NULL ? EXIT_DONE : report_error(&s->r, &error);
}

void resume_tell(const train *t) {
    const struct resume *r = t->s->resume;
    char text[KN_ERROR_MAX + KN_PATH_MAX + 32];
    if (r->checkpoint == NULL) {
        report_note(&t->s->r, "%s: no checkpoint was written yet; begins anew", t->run.path);
        return;
    }
    kn_checkpoint_place p = kn_checkpoint_at(r->checkpoint);
    if (kn_checkpoint_passed_over(r->checkpoint) != NULL) {
        snprintf(text, sizeof text, "%s; goes on from %s", kn_checkpoint_passed_over(r->checkpoint),
                 kn_checkpoint_path(r->checkpoint));
        report_warning(&t->s->r, text);
    }
    report_note(&t->s->r, "goes on in epoch %lld of %lld, after batch %lld of %lld",
                (long long)p.epoch, (long long)p.epochs, (long long)p.batch, (long long)p.batches);
}

int resume_open(session *s) {
    kn_error error = {0};
    s->resume = calloc(1, sizeof *s->resume);
    if (s->resume == NULL)
        return report_fail(&s->r, EXIT_DEVICE, "out of memory: a training to go on with");
    int code = run_folder_take(s, &s->resume->run, s->a.resume);
    if (code != EXIT_DONE)
        return code;
    if (kn_checkpoint_open(&s->resume->checkpoint, s->resume->run.path, NULL, &error) != KN_OK)
        return report_error(&s->r, &error);
    return open_words(s);
}

bool resume_has_checkpoint(const session *s) {
    return s->resume != NULL && s->resume->checkpoint != NULL;
}

void resume_close(session *s) {
    if (s->resume == NULL)
        return;
    kn_checkpoint_close(s->resume->checkpoint);
    resume_args_free(s->resume->json);
    run_folder_leave(&s->resume->run);
    free(s->resume);
    s->resume = NULL;
}

/* ---- the data ---- */

static int refuse_data(const train *t, const kn_text *now) {
    char words[512] = "";
    char *before = NULL;
    kn_error error = {0};
    if (run_folder_text(&t->run, list_file, &before, &error) != KN_OK)
        return report_error(&t->s->r, &error);
    if (before != NULL)
        data_list_difference(before, now->data != NULL ? now->data : "", words, sizeof words);
    free(before);
    return report_fail(&t->s->r, EXIT_DATA, "%s: is not the data that this training began with%s%s",
                       t->s->a.word[0], words[0] != '\0' ? ": " : "", words);
}

int resume_check_data(train *t) {
    kn_text now = {0};
    if (data_list(t, &now, t->data_hash) != KN_OK) {
        kn_text_free(&now);
        return session_fail(t->s);
    }
    char want[68];
    const kn_checkpoint *c = t->s->resume->checkpoint;
    const char *had = c != NULL ? kn_checkpoint_meta(c, key_data) : NULL;
    snprintf(want, sizeof want, "\"%s\"", t->data_hash);
    int code =
        c == NULL || (had != NULL && strcmp(had, want) == 0) ? EXIT_DONE : refuse_data(t, &now);
    kn_text_free(&now);
    return code;
}

/* Another device computes other last digits; the same one does not, with the same plan file. */
static kn_status compare_device(const train *t) {
    const char *text = kn_checkpoint_meta(t->s->resume->checkpoint, key_device);
    const char *now = kn_device_name(kn_device_default(t->s->ctx));
    char wrong[KN_JSON_MESSAGE];
    json_t *had = NULL;
    if (text != NULL && kn_json_read(text, strlen(text), 0, &had, wrong) == KN_ERR_MEMORY)
        return kn_fail(t->s->ctx, KN_ERR_MEMORY, "out of memory: the device of the checkpoint");
    const char *name = json_string_value(json_object_get(had, "name"));
    if (name != NULL && strcmp(name, now) != 0) {
        char warning[KN_ERROR_MAX];
        snprintf(warning, sizeof warning,
                 "began on device %.64s, goes on on %.64s: the last digits will differ", name, now);
        report_warning(&t->s->r, warning);
    }
    json_decref(had);
    return KN_OK;
}

kn_status resume_learner(train *t) {
    if (!resume_has_checkpoint(t->s))
        return KN_OK;
    kn_status status = compare_device(t);
    return status != KN_OK ? status : kn_learner_resume(t->learner, t->s->resume->checkpoint);
}

/* ---- checkpoints ---- */

static bool wanted(void *user) {
    (void)user;
    bool end = interrupt_last_batch();
    return interrupt_take_save() || end;
}

/* The device, and the file of its choices, without which its bits may differ. */
static void describe_device(train *t) {
    kn_text *out = &t->device_words;
    const kn_device *d = kn_device_default(t->s->ctx);
    line_open(out);
    line_string(out, "name", kn_device_name(d));
    line_string(out, "about", kn_device_about(d));
    if (!kn_device_is_host(d))
        line_string(out, "plans", t->s->ctx->plans);
    line_close(out);
}

/* What a resumed training compares itself with. */
static kn_status write_list(train *t) {
    char path[PATH_MAX];
    kn_text list = {0};
    kn_error error = {0};
    if (!run_folder_file(&t->run, list_file, path))
        return kn_fail(t->s->ctx, KN_ERR_IO, "%.64s...: the path is too long", t->run.path);
    kn_status status = data_list(t, &list, t->data_hash);
    if (status == KN_OK) {
        kn_file_write(path, list.data, list.length, &error);
        status = kn_fail_with(t->s->ctx, &error);
    }
    kn_text_free(&list);
    return status;
}

kn_callback *resume_checkpoint_cb(train *t) {
    if (!resume_has_checkpoint(t->s) && write_list(t) != KN_OK)
        return NULL;
    run_folder_args(t->s, &t->words);
    describe_device(t);
    if (t->words.failed || t->device_words.failed) {
        kn_fail(t->s->ctx, KN_ERR_MEMORY, "out of memory: the arguments");
        return NULL;
    }
    snprintf(t->data_word, sizeof t->data_word, "\"%s\"", t->data_hash);
    t->meta[0] = (kn_st_meta){key_args, t->words.data};
    t->meta[1] = (kn_st_meta){key_data, t->data_word};
    t->meta[2] = (kn_st_meta){key_device, t->device_words.data};
    return kn_checkpoint_cb(t->s->ctx, (kn_checkpoint_opts){.folder = t->run.path,
                                                            .every = t->s->a.checkpoint_every,
                                                            .wanted = wanted,
                                                            .meta = t->meta,
                                                            .metas = (int)KN_COUNT(t->meta)});
}

void resume_command(const train *t, kn_text *out) {
    shell_word(out, t->s->program);
    kn_text_append(out, " train --resume", 15);
    shell_word(out, t->run.path);
}
