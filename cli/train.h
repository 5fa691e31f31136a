/* train.h - what kiln train holds together, and the parts that make it. A part is one idea: data,
 * model, optimizer, callbacks; train_open makes what every command that trains needs. */
#ifndef KILN_CLI_TRAIN_H
#define KILN_CLI_TRAIN_H

#include "run_folder.h"

#include <kiln/activations.h>
#include <kiln/callbacks.h>
#include <kiln/lr_find.h>
#include <kiln/metrics.h>
#include <kiln/model_file.h>
#include <kiln/safetensors.h>

typedef struct train {
    session *s;
    kn_split split;
    kn_dataset *train_set, *valid_set;
    kn_dataset *train_kept, *valid_kept; /* these, with --cache */
    kn_loaders loaders;
    kn_module *model;
    kn_weights_report weights; /* of --weights */
    kn_normalize norm;
    kn_model_info info;
    run_folder run;
    kn_learner *learner;
    kn_predictions best;   /* of the model that was saved, on the validation pictures */
    kn_lr_found found;     /* by --lr auto */
    double seconds;        /* of the fit; of all epochs, if it was resumed */
    kn_text pictures;      /* of the first batch, for the page */
    bool went_on;          /* that is the first since the training was resumed */
    char folder[PATH_MAX]; /* that DATA is */
    char weights_file[PATH_MAX];
    /* What goes into each checkpoint: the arguments, which data, and on which device. */
    kn_text words, device_words;
    char data_hash[65], data_word[68];
    kn_st_meta meta[3];
} train;

/* train_setup.c: data and model, and into the arguments what "auto" became; the data is told.
 * EXIT_DONE or the exit code, reported. train_close must follow in any case. */
int train_open(train *t);
void train_close(train *t);

/* The parts, each with the context's error set on failure. */
kn_status train_open_data(train *t, const char *folder);
kn_resize_method train_resize(const train *t); /* once the data is open */
void train_close_data(train *t);
/* train_data.c: those pictures as a training sees them, and how they are read: for check too, whose
 * t holds only s. */
kn_dataset *train_set(train *t, const kn_labelled *items, int count);
kn_loader_opts train_loading(const args *a);
void train_tell_room(const train *t);  /* after the first epoch, if there is a better way */
void train_tell_cache(const train *t); /* with --verbose; what went wrong in any case */
kn_status train_open_model(train *t);
kn_status train_open_learner(train *t);

/* A learner for the trial of a rate: with what the options say of the training, without what keeps
 * or shows it. The caller's to free; NULL on failure. */
kn_learner *train_trial_learner(train *t);

/* train_optimizer.c: a kn_opt_fn; user is the args. */
kn_optimizer *train_optimizer(kn_module *model, double lr, void *user);

/* train_loss.c: what --class-weights asks for, [classes] and the caller's to free; NULL: none. */
kn_status train_class_weights(train *t, float **weights);

/* train_callbacks.c: adds those of the commands (a CMD bit or more) that the options want. */
kn_status train_add_callbacks(train *t, kn_learner *l, unsigned commands);

/* lr_find.c: for --lr auto, puts the rate into the arguments and says so. EXIT_DONE or the exit
 * code, reported. */
int train_find_rate(train *t);
kn_lr_find_opts lr_find_options(const args *a);

/* lr_find_report.c: while it goes on, and what was found. */
typedef struct lr_report {
    train *t;
    int steps;    /* told so far */
    bool events;  /* each step is an event of its own */
    bool bar;     /* a line stands on the terminal */
    double drawn; /* when, in seconds */
} lr_report;
void lr_find_on_step(void *user, int step, const kn_lr_point *point); /* user is an lr_report */
void lr_find_wipe(lr_report *r);
kn_status lr_find_write(const train *t, const kn_lr_found *found); /* lr_find.csv and .svg */
kn_status lr_find_draw(kn_ctx *ctx, const kn_lr_found *found, int width, int height, kn_text *out);
void lr_find_tell(const train *t, const kn_lr_found *found);

/* lr_find_read.c: the curve that the run's folder holds, if --lr auto made one; else none. */
kn_status lr_find_read(const train *t, kn_lr_found *found);

/* train_report.c */
void train_tell_data(train *t);
void train_tell_weights(train *t);                          /* when there are any */
void train_on_epoch(void *user, const kn_history_row *row); /* user is the train */
void train_tell_rate(train *t, const kn_lr_suggestion *found);
kn_status train_tell_done(train *t);

#endif
