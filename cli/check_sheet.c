/* check_sheet.c - see check_sheet.h. */
#include "check_sheet.h"

#include "train.h"

#include <kiln/sheet.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PICTURES = 64 };

/* ---- which file ---- */

/* Makes an empty file under the first free name: so of two commands at once each gets its own, and
 * nothing is overwritten. *made: the folder was not there before. */
static int take_name(session *s, char path[PATH_MAX], bool *made) {
    const char *folder = s->a.output != NULL ? s->a.output : ".";
    snprintf(path, PATH_MAX, "%s", folder);
    *made = run_folder_make_above(path) && mkdir(folder, 0777) == 0;
    if (!*made && errno != EEXIST)
        return report_fail(&s->r, EXIT_FAILED, "%s: cannot make the folder: %s", folder,
                           strerror(errno));
    for (int n = 1;; n++) {
        char number[16] = "";
        if (n > 1)
            snprintf(number, sizeof number, "-%d", n);
        int length = strcmp(folder, ".") == 0
                         ? snprintf(path, PATH_MAX, "sheet%s.svg", number)
                         : snprintf(path, PATH_MAX, "%s/sheet%s.svg", folder, number);
        if (length < 0 || length >= PATH_MAX)
            return report_fail(&s->r, EXIT_USAGE, "--output: the path is too long");
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0) {
            close(fd);
            return EXIT_DONE;
        }
        if (errno != EEXIST)
            return report_fail(&s->r, EXIT_FAILED, "%s: cannot make it: %s", path, strerror(errno));
    }
}

/* ---- what is on it ---- */

/* The training pictures without the bad ones. The split's files are in path order, as its pictures
 * are. */
static int good_ones(const kn_split *split, const check_result *result, kn_labelled *good) {
    int count = 0;
    for (int i = 0, file = 0; i < split->train_count; i++) {
        while (split->files.path[file] != split->train[i].path)
            file++;
        if (result[file].error == NULL)
            good[count++] = split->train[i];
    }
    return count;
}

static kn_status write_batch(session *s, const kn_split *split, const kn_batch *b,
                             const char *path) {
    const char *caption[PICTURES] = {NULL};
    kn_error error = {0};
    for (int i = 0; i < b->n; i++)
        caption[i] = split->vocab.name[b->labels[i]];
    kn_sheet sheet = {.title = "First training batch",
                      .pixels = b->pixels,
                      .count = b->n,
                      .height = b->height,
                      .width = b->width,
                      .caption = caption};
    kn_status status = kn_sheet_write(&sheet, path, NULL, &error);
    kn_fail_with(s->ctx, &error);
    return status;
}

/* The order is the training's: a batch's size does not change it. */
static kn_status draw(session *s, const kn_split *split, const kn_labelled *good, int count,
                      const char *path) {
    kn_loader_opts opts = train_loading(&s->a);
    opts.shuffle = true;
    train t = {.s = s};
    kn_dataset *set = train_set(&t, good, count);
    kn_loader *loader = kn_loader_new(s->ctx, set, PICTURES, opts);
    kn_batch batch;
    bool got = false;
    kn_status status = loader != NULL ? kn_loader_start(loader, 0) : kn_ctx_status(s->ctx);
    if (status == KN_OK)
        status = kn_loader_next(loader, &batch, &got);
    if (status == KN_OK && got) {
        status = write_batch(s, split, &batch, path);
        kn_loader_release(loader, &batch);
    }
    kn_loader_free(loader);
    kn_dataset_free(set);
    return status;
}

int check_sheet(session *s, const kn_split *split, const check_result *result,
                char path[PATH_MAX]) {
    bool made = false;
    path[0] = '\0';
    kn_labelled *good =
        kn_calloc(s->ctx, (size_t)split->train_count + 1, sizeof *good, "the sheet");
    if (good == NULL)
        return session_fail(s);
    int count = good_ones(split, result, good), code = EXIT_DONE;
    if (count == 0)
        report_note(&s->r, "no sheet: no training picture is good");
    else
        code = take_name(s, path, &made);
    if (count > 0 && code == EXIT_DONE && draw(s, split, good, count, path) != KN_OK) {
        unlink(path); /* the empty file that kept the name */
        code = session_fail(s);
    }
    if (code != EXIT_DONE && made)
        rmdir(s->a.output); /* stays if anyone has put something there */
    kn_free(s->ctx, good);
    return code;
}
