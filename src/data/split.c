/* split.c - which pictures train, which validate, and the class of each.
 *
 * A picture's class is the first folder on its way from the root, or from train/ and val/: it may
 * lie in folders of that class's own. The validation pictures are those of a folder of their own,
 * or a seeded fraction of each class, so that a class of few pictures is not left out of validation
 * by chance. */
#include "core/utf8.h"
#include "data/files.h"

#include <kiln/random.h>

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

static const char train_folder[] = "train";

typedef struct work {
    kn_ctx *ctx;
    const char *root;
    kn_split_opts opts;
    kn_split *out;
    const char *valid_folder; /* "val", "valid" or "validation"; NULL: there is none */
    bool has_train;
    bool *held;     /* of each file: it validates */
    int32_t *label; /* of each file */
} work;

/* ---- the layout of root ---- */

static bool is_folder(const char *root, const char *name) {
    char path[PATH_MAX];
    struct stat st;
    int length = snprintf(path, sizeof path, "%s/%s", root, name);
    return length > 0 && (size_t)length < sizeof path && stat(path, &st) == 0 &&
           S_ISDIR(st.st_mode);
}

static kn_status find_layout(work *w) {
    static const char *const names[] = {"val", "valid", "validation"};
    for (size_t i = 0; i < KN_COUNT(names); i++) {
        if (!is_folder(w->root, names[i]))
            continue;
        if (w->valid_folder != NULL)
            return kn_fail(w->ctx, KN_ERR_DATA,
                           "%s: holds both %s/ and %s/, expected one validation folder", w->root,
                           w->valid_folder, names[i]);
        w->valid_folder = names[i];
    }
    w->has_train = is_folder(w->root, train_folder);
    w->out->by_folder = w->valid_folder != NULL && (w->has_train || w->opts.valid_only);
    if (w->out->by_folder && !w->has_train && w->opts.vocab == NULL)
        return kn_fail(w->ctx, KN_ERR_DATA, "%s: holds no train/ to take the classes from",
                       w->root);
    return KN_OK;
}

static kn_status scan(work *w) {
    kn_files *files = &w->out->files;
    if (!w->out->by_folder)
        return kn_files_scan(w->ctx, w->root, files);
    const char *folders[] = {w->valid_folder, train_folder};
    bool needs_train = !w->opts.valid_only || w->opts.vocab == NULL;
    return kn_files_scan_folders(w->ctx, w->root, folders, needs_train ? 2 : 1, files);
}

/* ---- what a path says ---- */

static const char *relative(const work *w, int i) {
    return w->out->files.path[i] + w->out->files.root_length + 1;
}

/* Whether a relative path begins with folder/. */
static bool is_below(const char *path, const char *folder) {
    size_t length = strlen(folder);
    return strncmp(path, folder, length) == 0 && path[length] == '/';
}

/* Where the name of the class folder begins in the path of a picture whose place was checked. */
static const char *class_begin(const work *w, int i) {
    const char *path = relative(w, i);
    return w->out->by_folder ? strchr(path, '/') + 1 : path;
}

static void class_name(const work *w, int i, char name[PATH_MAX]) {
    const char *begin = class_begin(w, i);
    size_t length = strcspn(begin, "/");
    memcpy(name, begin, length);
    name[length] = '\0';
}

/* Whether it lies in a folder of the class folder. */
static bool is_deeper(const work *w, int i) {
    const char *begin = class_begin(w, i);
    return strchr(strchr(begin, '/') + 1, '/') != NULL;
}

static kn_status check_place(work *w, int i) {
    const char *path = w->out->files.path[i], *rest = strchr(relative(w, i), '/');
    if (rest != NULL && w->out->by_folder)
        rest = strchr(rest + 1, '/');
    if (rest == NULL)
        return kn_fail(w->ctx, KN_ERR_DATA, "%s: lies in no class folder", path);
    if (w->out->by_folder || strchr(rest + 1, '/') == NULL)
        return KN_OK;
    /* A class may be called train or val; then its pictures lie right in that folder. */
    if (w->has_train && is_below(relative(w, i), train_folder))
        return kn_fail(w->ctx, KN_ERR_DATA,
                       "%s: holds train/ but none of val/, valid/, validation/; name %s/train to "
                       "hold out a fraction of it",
                       w->root, w->root);
    if (w->valid_folder != NULL && is_below(relative(w, i), w->valid_folder))
        return kn_fail(w->ctx, KN_ERR_DATA, "%s: holds %s/ but no train/", w->root,
                       w->valid_folder);
    return KN_OK;
}

static kn_status check_places(work *w) {
    kn_status status = KN_OK;
    for (int i = 0; i < w->out->files.count && status == KN_OK; i++) {
        status = check_place(w, i);
        w->held[i] =
            w->out->by_folder ? !is_below(relative(w, i), train_folder) : w->opts.valid_only;
    }
    return status;
}

/* ---- classes ---- */

/* The class names of the pictures that define them, one per run of files of one class. */
static kn_status collect(work *w, char **names, int *count) {
    char name[PATH_MAX];
    for (int i = 0; i < w->out->files.count; i++) {
        if (w->out->by_folder && w->held[i])
            continue;
        class_name(w, i, name);
        if (*count > 0 && strcmp(names[*count - 1], name) == 0)
            continue;
        if (!kn_utf8_valid(name, strlen(name))) /* a model file could not hold it */
            return kn_fail(w->ctx, KN_ERR_DATA, "%s: the name of its folder is not UTF-8",
                           w->out->files.path[i]);
        names[*count] = kn_strdup(w->ctx, name);
        if (names[*count] == NULL)
            return KN_ERR_MEMORY;
        (*count)++;
    }
    return KN_OK;
}

bool kn_is_set_name(const char *name) {
    static const char *const sets[] = {"train", "training", "test",       "testing",
                                       "val",   "valid",    "validation", "validating"};
    for (size_t i = 0; i < KN_COUNT(sets); i++)
        if (strcasecmp(name, sets[i]) == 0)
            return true;
    return false;
}

/* Folders that were not meant as classes, as far as that can be seen. */
static kn_status check_classes(work *w) {
    const kn_vocab *vocab = &w->out->vocab;
    bool sets = true, deeper = false;
    for (int c = 0; c < vocab->count; c++)
        sets = sets && kn_is_set_name(vocab->name[c]);
    for (int i = 0; i < w->out->files.count; i++)
        deeper = deeper || is_deeper(w, i);
    if (sets && deeper && vocab->count > 1)
        return kn_fail(
            w->ctx, KN_ERR_DATA,
            "%s: its folders %s and %s look like sets, not like classes; name them train "
            "and val",
            w->root, vocab->name[0], vocab->name[1]);
    const char *part = w->out->by_folder ? "/train" : "", *only = vocab->name[0];
    if (vocab->count < 2 && deeper)
        return kn_fail(w->ctx, KN_ERR_DATA,
                       "%s%s: holds one class (%s), expected at least two class folders; if those "
                       "are in %s, give that folder",
                       w->root, part, only, only);
    if (vocab->count < 2)
        return kn_fail(w->ctx, KN_ERR_DATA,
                       "%s%s: holds one class (%s), expected at least two class folders", w->root,
                       part, only);
    return KN_OK;
}

static kn_status find_classes(work *w) {
    kn_vocab *vocab = &w->out->vocab;
    const kn_vocab *given = w->opts.vocab;
    if (given != NULL)
        return kn_vocab_from(w->ctx, (const char *const *)given->name, given->count, vocab);
    char **names =
        kn_calloc(w->ctx, (size_t)w->out->files.count, sizeof *names, "the files' classes");
    if (names == NULL)
        return KN_ERR_MEMORY;
    int count = 0;
    kn_status status = collect(w, names, &count);
    if (status == KN_OK)
        status = kn_vocab_from(w->ctx, (const char *const *)names, count, vocab);
    for (int i = 0; i < count; i++)
        kn_free(w->ctx, names[i]);
    kn_free(w->ctx, names);
    return status == KN_OK ? check_classes(w) : status;
}

static kn_status label_files(work *w) {
    char name[PATH_MAX];
    for (int i = 0; i < w->out->files.count; i++) {
        const char *path = w->out->files.path[i];
        class_name(w, i, name);
        w->label[i] = kn_vocab_index(&w->out->vocab, name);
        if (w->label[i] < 0)
            return kn_fail(w->ctx, KN_ERR_DATA, "%.*s: the class \"%s\" is not among the %d %s",
                           (int)(class_begin(w, i) - path) + (int)strlen(name), path, name,
                           w->out->vocab.count,
                           w->opts.vocab != NULL ? "of the model" : "of the training folders");
    }
    return KN_OK;
}

/* ---- the fraction ---- */

/* How many of n pictures of a class validate: the nearest number, but some and not all. */
static int held_of(int n, double percent) {
    if (n < 2)
        return 0;
    int held = (int)(n * percent / 100 + 0.5);
    return held < 1 ? 1 : held > n - 1 ? n - 1 : held;
}

/* Lists the files class by class (a counting sort): those of class c are member[end[c - 1]] to
 * member[end[c] - 1]. end has one entry a class, zero at first. */
static void group_by_class(const work *w, int *member, int *end) {
    int count = w->out->files.count, classes = w->out->vocab.count;
    for (int i = 0; i < count; i++)
        if (w->label[i] + 1 < classes)
            end[w->label[i] + 1]++;
    for (int c = 1; c < classes; c++)
        end[c] += end[c - 1];
    for (int i = 0; i < count; i++)
        member[end[w->label[i]]++] = i;
}

/* Which pictures of a class are held out is a function of the seed, the class's number and its
 * size: another class that grows does not change it. */
static kn_status hold_out(work *w) {
    size_t count = (size_t)w->out->files.count, classes = (size_t)w->out->vocab.count;
    int *member = kn_alloc(w->ctx, count * sizeof *member, "the split");
    int *end = kn_calloc(w->ctx, classes, sizeof *end, "the split");
    uint32_t *order = kn_alloc(w->ctx, count * sizeof *order, "the split");
    kn_status status = member != NULL && end != NULL && order != NULL ? KN_OK : KN_ERR_MEMORY;
    uint64_t seed = w->opts.seed != NULL ? *w->opts.seed : kn_ctx_seed(w->ctx);
    double percent = w->opts.valid_pct != 0 ? w->opts.valid_pct : 20;
    int held_in_all = 0;
    if (status == KN_OK)
        group_by_class(w, member, end);
    for (int c = 0, begin = 0; c < w->out->vocab.count && status == KN_OK; begin = end[c++]) {
        int n = end[c] - begin, held = held_of(n, percent);
        kn_shuffle(seed, KN_RANDOM_SPLIT, (uint32_t)c, order, (uint32_t)n);
        for (int i = 0; i < held; i++)
            w->held[member[begin + (int)order[i]]] = true;
        held_in_all += held;
    }
    if (status == KN_OK && held_in_all == 0)
        status = kn_fail(w->ctx, KN_ERR_DATA,
                         "%s: no class has two pictures, so none can be held out to validate on",
                         w->root);
    kn_free(w->ctx, member);
    kn_free(w->ctx, end);
    kn_free(w->ctx, order);
    return status;
}

/* ---- the result ---- */

static kn_status emit(work *w) {
    kn_split *out = w->out;
    int train = 0, valid = 0;
    for (int i = 0; i < out->files.count; i++)
        (*(w->held[i] ? &valid : &train))++;
    if (w->opts.valid_only)
        train = 0;
    out->valid = kn_calloc(w->ctx, (size_t)valid, sizeof *out->valid, "the validation pictures");
    if (train > 0)
        out->train = kn_calloc(w->ctx, (size_t)train, sizeof *out->train, "the training pictures");
    if (out->valid == NULL || (train > 0 && out->train == NULL))
        return KN_ERR_MEMORY;
    for (int i = 0; i < out->files.count; i++) {
        kn_labelled item = {out->files.path[i], w->label[i]};
        if (w->held[i])
            out->valid[out->valid_count++] = item;
        else if (train > 0)
            out->train[out->train_count++] = item;
    }
    return KN_OK;
}

static kn_status run(work *w) {
    kn_status status = find_layout(w);
    if (status == KN_OK)
        status = scan(w);
    if (status != KN_OK)
        return status;
    size_t count = (size_t)w->out->files.count;
    w->held = kn_calloc(w->ctx, count, sizeof *w->held, "the split");
    w->label = kn_calloc(w->ctx, count, sizeof *w->label, "the labels");
    if (w->held == NULL || w->label == NULL)
        return KN_ERR_MEMORY;
    status = check_places(w);
    if (status == KN_OK)
        status = find_classes(w);
    if (status == KN_OK)
        status = label_files(w);
    if (status == KN_OK && !w->out->by_folder && !w->opts.valid_only)
        status = hold_out(w);
    return status == KN_OK ? emit(w) : status;
}

kn_status kn_split_folder(kn_ctx *ctx, const char *root, kn_split_opts opts, kn_split *out) {
    *out = (kn_split){0};
    /* Written so that NaN fails too. */
    if (opts.valid_pct != 0 && !(opts.valid_pct > 0 && opts.valid_pct < 100))
        return kn_fail(ctx, KN_ERR_ARG,
                       "validation percentage: %g, expected more than 0 and less than 100",
                       opts.valid_pct);
    work w = {.ctx = ctx, .root = root, .opts = opts, .out = out};
    kn_status status = run(&w);
    kn_free(ctx, w.held);
    kn_free(ctx, w.label);
    if (status != KN_OK)
        kn_split_free(ctx, out);
    return status;
}

void kn_split_free(kn_ctx *ctx, kn_split *split) {
    kn_free(ctx, split->train);
    kn_free(ctx, split->valid);
    kn_vocab_free(ctx, &split->vocab);
    kn_files_free(ctx, &split->files);
    *split = (kn_split){0};
}
