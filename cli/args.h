/* args.h - what the command line says. One table row describes each option: its name, the commands
 * it belongs to, its range, its default. Parsing, refusing and --help all read that table, so they
 * cannot disagree. */
#ifndef KILN_CLI_ARGS_H
#define KILN_CLI_ARGS_H

#include <kiln/base.h>

/* Bits, so that an option can belong to several. */
typedef enum command_id {
    CMD_TRAIN = 1,
    CMD_PREDICT = 2,
    CMD_EVAL = 4,
    CMD_CHECK = 8,
    CMD_INFO = 16,
    CMD_DOCTOR = 32,
    CMD_LR_FIND = 64,
    CMD_EXPLAIN = 128,
    CMD_BENCH = 256,
    CMD_ALL = 511
} command_id;

/* Those that train: what --lr finds is true only for the very same training. */
#define FIT_COMMANDS (CMD_TRAIN | CMD_LR_FIND)

typedef struct command {
    const char *name;
    command_id id; /* 0: not in this version */
    const char *words;
    const char *summary;
    const char *examples;
    const char *details;      /* may be NULL */
    int min_words, max_words; /* the first is MODEL where has_model is set, and --weights takes its
                                 place */
    bool has_model;
} command;

/* The i-th command; NULL past the last. */
const command *command_at(int i);
const command *command_find(const char *name);

enum { OPTIONS_MOST = 128 };

/* Texts are borrowed from argv or from the table. */
typedef struct args {
    const command *command; /* NULL: kiln --help or --version */
    char **word;            /* [words]: DATA, MODEL, IMAGE...; borrowed from argv */
    int words;
    const char *recipe, *model, *sched, *opt, *aug, *resize, *dtype, *device, *on_bad_image;
    const char *mode; /* of lr-find */
    const char *class_weights, *cache, *decode;
    const char *only;                     /* of bench */
    const char *output, *weights;         /* NULL: not given */
    const char *resume;                   /* the run folder to go on with; NULL: a new training */
    const char *data_path, *weights_path; /* the folder that DATA is, and the file that --weights
                                             is, once they are known */
    double checkpoint_every;              /* seconds */
    int epochs, batch_size, img_size, accumulate;
    int fine_tune;        /* 0: not; epochs counts them all */
    int patience;         /* 0: all epochs */
    int workers, threads; /* 0: the processors */
    int max_image_memory; /* MiB */
    int cache_memory;     /* MiB; 0: a quarter of what is free */
    int top;
    uint64_t seed;
    double lr; /* 0: auto */
    double momentum, wd, warmup, clip, ema, mixup, cutmix, smoothing, valid_pct;
    double mean[3], std[3]; /* NaN and 0: not given */
    double crop_min;        /* 0: that of aug */
    bool nesterov, no_bias_wd, no_flip, freeze_norm;
    bool activations;
    bool sheet;
    bool tta, shapes, json, quiet, verbose, help, version;
    bool given[OPTIONS_MOST]; /* the i-th option has its value, which is no default */
    /* It stood on the line, here or where a training began that goes on. */
    bool typed[OPTIONS_MOST];
} args;

typedef enum option_kind {
    KIND_FLAG,   /* bool */
    KIND_INT,    /* int, from min to max */
    KIND_COUNT,  /* int, from min to max, or "auto": 0 */
    KIND_SEED,   /* uint64_t */
    KIND_REAL,   /* double, from min to max */
    KIND_RATE,   /* the same, or "auto": 0 */
    KIND_RGB,    /* double[3], from min to max */
    KIND_CHOICE, /* const char *: one of choices */
    KIND_MODEL,  /* const char *: a name kn_model_new knows */
    KIND_TEXT    /* const char *: anything but nothing */
} option_kind;

typedef struct option {
    const char *name;
    unsigned commands; /* 0: not in this version */
    bool with_sheet;   /* check takes it only together with --sheet */
    char letter;       /* the short form; 0: none */
    option_kind kind;
    size_t at;           /* offsetof(args, ...) */
    const char *start;   /* the value when neither given nor the recipe's; NULL: zero */
    const char *shown;   /* what --help calls the default when start does not say it */
    const char *value;   /* what --help calls the value */
    const char *choices; /* "a|b|c:N": of the last any number */
    const char *help;
    double min, max;
    bool above_min, below_max; /* the limit itself is outside */
} option;

/* The i-th option; NULL past the last. */
const option *option_at(int i);

/* The value of an option that is not given: what the recipe sets for a command that has recipes,
 * else start. NULL: zero. */
const char *option_default(const option *o, unsigned commands, const char *recipe);

/* Converts a value and puts it into *a. KN_ERR_ARG names option, value and what is expected. */
kn_status option_set(const option *o, const char *text, args *a, kn_error *error);

/* Reads the command line; the words move to the front of argv. KN_ERR_ARG says what is wrong with
 * it. */
kn_status args_parse(int argc, char **argv, args *a, kn_error *error);

/* Whether the option stood on the line. */
bool args_given(const args *a, const char *name);

/* --decode fast. */
bool args_fast_decode(const args *a);

/* Whether --json is among the arguments, however wrong the rest: errors then go to stdout too. */
bool args_want_json(int argc, char **argv);

/* ---- recipes.c: options set many at once ---- */

#define RECIPE_DEFAULT  "quick"
#define RECIPE_COMMANDS (FIT_COMMANDS | CMD_CHECK) /* those that have the option */

/* What a recipe sets an option to; NULL: nothing, or there is no such recipe. */
const char *recipe_value(const char *recipe, const char *name);

/* The i-th recipe's name; NULL past the last. */
const char *recipe_name(int i);

/* The batch size for so many training pictures where a recipe says batch: with few, smaller, for 20
 * steps an epoch, but no less than 8. The chapter's stays. */
int recipe_batch(const char *recipe, int pictures, int batch);

/* The epochs of --epochs auto on so many training pictures, at least 1. A recipe that is NULL or
 * not known has the default's. */
int recipe_epochs(const char *recipe, int pictures);

/* suggest.c: of the names that next(user, i) lists up to NULL, the one that typed was probably
 * meant to be; NULL when none is near. */
const char *suggest(const char *typed, const char *(*next)(const void *user, int i),
                    const void *user);

#endif
