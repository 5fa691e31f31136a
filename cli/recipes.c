/* recipes.c - the values that --recipe sets, as somebody would give them. Every recipe sets what
 * the chapter's does; an option that it leaves out keeps the default of its row in options.c. */
#include "args.h"

#include <stddef.h>
#include <string.h>

typedef struct setting {
    const char *option, *value; /* without the dashes */
} setting;

/* A folder of photos, some minutes, no questions. */
static const setting quick[] = {
    {"model", "xresnet18"}, {"epochs", "auto"},  {"batch-size", "64"}, {"img-size", "96"},
    {"resize", "crop"},     {"aug", "standard"}, {"lr", "auto"},       {"sched", "flat-cos"},
    {"opt", "muon"},        {"momentum", "0"},   {"wd", "0.01"},       {"smoothing", "0.1"},
    {"dtype", "f32"},       {NULL, NULL},
};

/* More time for more: larger pictures, more passes, and a rate by measurement (docs/design.md,
 * "Measured"). */
static const setting best[] = {
    {"model", "xresnet18"}, {"epochs", "auto"},  {"batch-size", "64"}, {"img-size", "128"},
    {"resize", "crop"},     {"aug", "standard"}, {"lr", "0.025"},      {"sched", "flat-cos"},
    {"opt", "muon"},        {"momentum", "0"},   {"wd", "0.01"},       {"smoothing", "0.1"},
    {"dtype", "f32"},       {NULL, NULL},
};

/* Chapter 19 of the fastai book. */
static const setting chapter[] = {
    {"model", "simple_cnn"}, {"epochs", "8"},   {"batch-size", "128"}, {"img-size", "64"},
    {"resize", "squash"},    {"aug", "none"},   {"lr", "0.1"},         {"sched", "one-cycle"},
    {"opt", "sgd"},          {"momentum", "0"}, {"wd", "0"},           {"smoothing", "0"},
    {"dtype", "f32"},        {NULL, NULL},
};

/* How long "--epochs auto" is: few pictures need more passes, many need fewer. The help of
 * --epochs says these numbers. */
typedef struct budget {
    int shown;       /* training pictures in all */
    int least, most; /* epochs */
} budget;

static const budget short_one = {30000, 4, 40}, long_one = {45000, 5, 60};

static const struct {
    const char *name;
    const setting *setting; /* up to one without a name */
    const budget *budget;
} recipes[] = {
    {"quick", quick, &short_one}, {"best", best, &long_one}, {"chapter", chapter, &short_one}};

const char *recipe_name(int i) {
    return i >= 0 && (size_t)i < sizeof recipes / sizeof recipes[0] ? recipes[i].name : NULL;
}

const char *recipe_value(const char *recipe, const char *name) {
    for (int i = 0; recipe != NULL && recipe_name(i) != NULL; i++) {
        if (strcmp(recipe_name(i), recipe) != 0)
            continue;
        for (const setting *s = recipes[i].setting; s->option != NULL; s++)
            if (strcmp(s->option, name) == 0)
                return s->value;
    }
    return NULL;
}

int recipe_batch(const char *recipe, int pictures, int batch) {
    enum { STEPS = 20, LEAST = 8 };
    if (recipe != NULL && strcmp(recipe, "chapter") == 0)
        return batch;
    int most = pictures / STEPS / LEAST * LEAST;
    most = most < LEAST ? LEAST : most;
    return batch < most ? batch : most;
}

int recipe_epochs(const char *recipe, int pictures) {
    const budget *b = &short_one;
    for (int i = 0; recipe_name(i) != NULL; i++)
        if (recipe != NULL && strcmp(recipe_name(i), recipe) == 0)
            b = recipes[i].budget;
    int epochs = b->shown / pictures + (b->shown % pictures > 0);
    return epochs < b->least ? b->least : epochs > b->most ? b->most : epochs;
}
